//! What is said of an answer: the finding, with the request that shows it.

use super::solve::Why;
use super::witness::Witness;
use crate::diagnostic::{Diagnostic, Span};
use crate::oauth::id::RuleId;
use crate::policy::rule::{Claim, Proof};

/// A finding, and the name of the question where it has no answer: by that name a configuration accepts it.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) diagnostic: Diagnostic,
    /// The rules and denies that it is about.
    pub(super) rules: Vec<RuleId>,
    pub(super) unknown: Option<String>,
}

impl Finding {
    /// Says which rules it is about.
    pub(super) fn about<'r>(mut self, rules: impl IntoIterator<Item = &'r RuleId>) -> Self {
        self.rules.extend(rules.into_iter().cloned());
        self
    }
}

impl From<Diagnostic> for Finding {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            diagnostic,
            rules: Vec::new(),
            unknown: None,
        }
    }
}

/// A request under a heading, as lines of a note.
fn shown(heading: &str, witness: &Witness) -> String {
    let mut note = heading.to_owned();
    for line in witness.lines() {
        note.push_str("\n  ");
        note.push_str(&line);
    }
    note
}

/// How it is known that a request shows what it is said to show.
const CONFIRMED: &str = "confirmed by the evaluator that decides";

impl Finding {
    /// Two rules match the same request and select differently.
    pub(super) fn overlap(
        rules: [(&RuleId, &Span, String); 2],
        witness: &Witness,
        narrower: Option<(&RuleId, &RuleId)>,
        apart: Option<(RuleId, String)>,
    ) -> Self {
        let [(one, at, first), (other, there, second)] = rules;
        let message = format!(
            "rules `{one}` and `{other}` can select different outcomes for the same request"
        );
        let mut problem = Diagnostic::error("E0501", message)
            .at(at)
            .label(first)
            .related(there, second)
            .note(shown(
                &format!("this request matches both ({CONFIRMED}):"),
                witness,
            ));
        problem = match narrower {
            Some((narrow, wide)) => problem
                .note(format!(
                    "`{narrow}` matches nothing that `{wide}` does not (proved)"
                ))
                .help(format!(
                    "if the narrower rule should win, add to `{narrow}`: overrides {}",
                    within(wide, narrow)
                )),
            None => problem.help(format!(
                "if one of them should win, say so in it: `overrides {}` in `{one}`, or `overrides {}` in `{other}`",
                within(other, one),
                within(one, other)
            )),
        };
        problem = problem.help(match apart {
            Some((rule, condition)) => format!("or keep them apart, in `{rule}`: when {condition}"),
            None => {
                "or keep them apart by what they are for: `from`, `by`, `to` or `actor`".to_owned()
            }
        });
        Self::from(problem).about([one, other])
    }

    /// There may be more of them.
    pub(super) fn more_overlaps(shown: usize) -> Self {
        let message = format!("{shown} pairs of rules overlap; others were not looked at");
        Diagnostic::error("E0501", message)
            .help("begin with those that are shown")
            .into()
    }

    /// No request is decided by a rule.
    pub(super) fn unreachable(rule: &RuleId, at: &Span, reasons: &[String]) -> Self {
        let problem = match reasons {
            [] => Diagnostic::warning("E0502", format!("no request matches rule `{rule}`")).note(
                "its headers and conditions contradict each other, or what a request can be (proved)",
            ),
            reasons => Diagnostic::warning("E0503", format!("rule `{rule}` is never selected"))
                .note(format!("every request that it matches is {} (proved)", some_of(reasons))),
        };
        Self::from(problem.at(at).help("correct it, or delete it")).about([rule])
    }

    /// No request is refused by a deny.
    pub(super) fn vacuous_deny(deny: &RuleId, at: &Span) -> Self {
        let message = format!("no request matches deny `{deny}`: it protects nothing");
        let problem = Diagnostic::error("E0502", message)
            .at(at)
            .note("its headers and conditions contradict each other, or what a request can be (proved)")
            .help("correct it, or delete it");
        Self::from(problem).about([deny])
    }

    /// A condition holds of everything that the headers let pass.
    pub(super) fn always_true(rule: &RuleId, at: &Span, condition: &str) -> Self {
        let message = format!("this condition of `{rule}` always holds");
        Diagnostic::warning("E0506", message)
            .at(at)
            .note(format!(
                "no request that the headers let pass fails `{condition}` (proved)"
            ))
            .help("delete it, or correct what it was meant to say")
            .into()
    }

    /// Two rules, of which one overrides the other, never match the same request.
    pub(super) fn useless_override(rule: &RuleId, at: &Span, other: &RuleId) -> Self {
        let message = format!(
            "`overrides {}` in `{rule}` has no effect",
            within(other, rule)
        );
        Diagnostic::warning("E0507", message)
            .at(at)
            .note("no request matches both rules (proved)")
            .help("delete it")
            .into()
    }

    /// A claim does not hold.
    pub(super) fn counterexample(
        proof: &Proof,
        claim: &Claim,
        by: Option<(&RuleId, &Span, String)>,
        decided: &str,
        witness: &Witness,
    ) -> Self {
        let message = format!("proof `{}` fails", proof.name);
        let problem = Diagnostic::error("E0705", message).at(&claim.span);
        let problem = match by {
            Some((rule, at, outcome)) => {
                let problem = problem
                    .related(at, format!("`{rule}` selects it: {outcome}"))
                    .note(shown(&format!("for this request ({CONFIRMED}):"), witness));
                match decided {
                    "" => problem,
                    refused => problem.note(format!(
                        "it is {refused} in the end; a proof does not count what only the permit can tell"
                    )),
                }
            }
            None => problem
                .note(shown(
                    &format!("this request is decided otherwise ({CONFIRMED}):"),
                    witness,
                ))
                .note(format!("it is {decided}")),
        };
        problem
            .help("correct the rules; or the proof, if this is meant")
            .into()
    }

    /// A claim about no request.
    pub(super) fn idle_claim(proof: &Proof, claim: &Claim) -> Self {
        let message = format!(
            "no request meets the condition of this claim of `{}`: it holds whatever the rules say",
            proof.name
        );
        Diagnostic::warning("E0502", message)
            .at(&claim.span)
            .help("correct the condition, or delete the claim")
            .into()
    }

    /// A rule that should be is never selected.
    pub(super) fn not_reachable(
        proof: &Proof,
        claim: &Claim,
        rule: &RuleId,
        at: &Span,
        reasons: &[String],
    ) -> Self {
        let message = format!("proof `{}` fails: `{rule}` is never selected", proof.name);
        let reason = match reasons {
            [] => "no request matches it".to_owned(),
            reasons => format!("every request that it matches is {}", some_of(reasons)),
        };
        Diagnostic::error("E0705", message)
            .at(&claim.span)
            .related(at, reason)
            .help("correct the rule, or what stands in its way")
            .into()
    }

    /// Two rules that should be disjoint match the same request.
    pub(super) fn not_disjoint(
        proof: &Proof,
        claim: &Claim,
        rules: [(&RuleId, &Span); 2],
        witness: &Witness,
    ) -> Self {
        let [(one, at), (other, there)] = rules;
        let message = format!(
            "proof `{}` fails: `{one}` and `{other}` are not disjoint",
            proof.name
        );
        Diagnostic::error("E0705", message)
            .at(&claim.span)
            .related(at, "matches it")
            .related(there, "matches it too")
            .note(shown(
                &format!("this request matches both ({CONFIRMED}):"),
                witness,
            ))
            .help("correct the rules; or the proof, if this is meant")
            .into()
    }

    /// What must be known for the load is not.
    pub(super) fn unknown(name: &str, about: &str, at: Option<&Span>, why: &Why) -> Self {
        let message = format!("it cannot be proved {about}");
        let problem = Diagnostic::error("E0902", message)
            .note(why.to_string())
            .help(format!(
                "simplify what it rests on; or accept it by name in the configuration: `accept_unknown: [\"{name}\"]`"
            ));
        Self {
            diagnostic: match at {
                Some(span) => problem.at(span),
                None => problem,
            },
            rules: Vec::new(),
            unknown: Some(name.to_owned()),
        }
    }

    /// A claim that is neither shown nor refuted.
    pub(super) fn unproved(proof: &Proof, number: usize, claim: &Claim, why: &Why) -> Self {
        let name = format!("proof {} {} #{}", proof.module, proof.name, number + 1);
        let about = format!("what `{}` claims here", proof.name);
        Self::unknown(&name, &about, Some(&claim.span), why)
    }

    /// What would only be advice is not known.
    pub(super) fn unsure(about: &str, at: &Span, why: &Why) -> Self {
        Diagnostic::warning("E0902", format!("it cannot be said {about}"))
            .at(at)
            .note(why.to_string())
            .into()
    }
}

/// Reasons in words, the first of them where they are many.
fn some_of(reasons: &[String]) -> String {
    const SHOWN: usize = 6;
    let first: Vec<&str> = reasons.iter().take(SHOWN).map(String::as_str).collect();
    match reasons.len().saturating_sub(SHOWN) {
        0 => first.join(", or "),
        more => format!("{}, or kept from it by {more} others", first.join(", or ")),
    }
}

/// A rule's name as it is written in the file of another.
fn within(rule: &RuleId, other: &RuleId) -> String {
    match rule.module == other.module {
        true => rule.name.to_string(),
        false => rule.to_string(),
    }
}
