//! A decision in words: what came out, and every rule clause by clause.

use serde_json::{Value, json};

use super::decide::{Decision, Reason, RuleTrace, Trace, TraceLine};
use crate::context::{ExchangeContext, Hop, MAX_DEPTH, MayAct};
use crate::diagnostic::SourceText;
use crate::policy::PolicySet;

/// A decision, explained.
#[derive(Debug)]
pub struct Explanation {
    /// Whether a token would be issued.
    pub permitted: bool,
    /// One line.
    pub summary: String,
    /// What would be issued, or the refusal.
    pub outcome: Value,
    trace: Trace,
}

/// Decides, and says why. `name` is what people call a processor.
pub fn explain<P>(
    set: &PolicySet<P>,
    context: &ExchangeContext,
    name: impl Fn(&P) -> String,
) -> Explanation {
    let (permitted, summary, outcome) = match set.decide(context) {
        Decision::Permit(processor, permit) => {
            let allowed = permit.allowance();
            let summary = format!("PERMIT by {} with {}", permit.rule(), name(processor));
            let outcome = json!({
                "decision": "permit",
                "rule": permit.rule().to_string(),
                "processor": name(processor),
                "audience": allowed.audience.iter().map(|a| &**a).collect::<Vec<_>>(),
                "scope": allowed.scope.to_string(),
                "expires_in": allowed.expires_at.since(context.now),
                "token_type": allowed.token_type.name(),
                "sub": allowed.subject.as_str(),
                "act": Hop::nested_json(&allowed.act),
                "may_act": allowed.may_act.as_ref().map(MayAct::to_json),
                "beyond_subject": permit.beyond_subject(),
                "parameters": permit.parameters(),
            });
            (true, summary, outcome)
        }
        Decision::Deny(denial) => {
            let why = why(&denial.reason);
            let summary = format!("REFUSE {}: {why}", denial.code.as_str());
            let outcome = json!({
                "decision": "refuse",
                "error": denial.code.as_str(),
                "reason": denial.reason.name(),
                "rule": denial.rule.as_ref().map(|(id, _)| id.to_string()),
                "because": denial.because.as_deref(),
                "tell": denial.tell.as_deref(),
            });
            (false, summary, outcome)
        }
    };
    Explanation {
        permitted,
        summary,
        outcome,
        trace: set.trace(context),
    }
}

/// A refusal's reason in words.
pub(super) fn why(reason: &Reason) -> String {
    match reason {
        Reason::DeniedBy(rules) => format!("denied by {}", list(rules)),
        Reason::Ambiguous(rules) => format!(
            "these rules match and select different outcomes: {}",
            list(rules)
        ),
        Reason::NoRule(stage) => format!("no rule is left at stage `{}`", stage.name()),
        Reason::NothingGranted => "none of the requested scope may be granted".to_owned(),
        Reason::SubjectExpires => "the subject token ends within a second".to_owned(),
        Reason::ActorExpires => "the actor token ends within a second".to_owned(),
        Reason::SubjectTaken => {
            "the subject's name begins like those that a rule's `sub` gives to others".to_owned()
        }
        Reason::ChainTooLong => format!("the chain of actors would be longer than {MAX_DEPTH}"),
        Reason::Template(parameter) => {
            format!("the value for `{parameter}` is absent or holds its separator")
        }
    }
}

fn list(rules: &[crate::oauth::id::RuleId]) -> String {
    rules
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Explanation {
    /// As text: the rules that match, or the nearest miss; all of them where asked.
    #[must_use]
    pub fn render(&self, sources: &SourceText, all: bool) -> String {
        let mut out = format!("{}\n", self.summary);
        let nearest = self.trace.nearest_miss().map(|rule| &rule.id);
        let shown = |rule: &&RuleTrace| all || rule.matched || Some(&rule.id) == nearest;
        for rule in self.trace.rules.iter().filter(shown) {
            let kind = if rule.deny { "deny" } else { "rule" };
            let verdict = match (rule.matched, Some(&rule.id) == nearest) {
                (true, _) if rule.overridden => "matches, but is overridden".to_owned(),
                (true, _) => "matches".to_owned(),
                (false, true) => format!("nearest miss, {} away", rule.misses),
                (false, false) => format!("{} away", rule.misses),
            };
            out.push_str(&format!(
                "\n  {kind} {}  {}  ({verdict})\n",
                rule.id,
                sources.place(&rule.span)
            ));
            for line in rule.doc.iter().flat_map(|doc| doc.lines()) {
                out.push_str(&format!("    ## {line}\n"));
            }
            let texts: Vec<String> = rule.lines.iter().map(|line| text(line, sources)).collect();
            let width = texts
                .iter()
                .map(|text| text.chars().count())
                .max()
                .unwrap_or(0)
                .min(60);
            for (line, text) in rule.lines.iter().zip(&texts) {
                let mark = if line.holds { '✓' } else { '✗' };
                let padding = " ".repeat(width.saturating_sub(text.chars().count()));
                let shown = format!("    {mark} {text}{padding}  {}", values(line));
                out.push_str(shown.trim_end());
                out.push('\n');
            }
        }
        out
    }

    /// As JSON, every rule.
    #[must_use]
    pub fn to_json(&self, sources: &SourceText) -> Value {
        let nearest = self.trace.nearest_miss().map(|rule| rule.id.to_string());
        let rules: Vec<Value> = self
            .trace
            .rules
            .iter()
            .map(|rule| {
                let lines: Vec<Value> = rule
                    .lines
                    .iter()
                    .map(|line| {
                        let values: serde_json::Map<String, Value> = line.values.iter().cloned().collect();
                        json!({ "text": text(line, sources).trim(), "holds": line.holds, "values": values })
                    })
                    .collect();
                json!({
                    "id": rule.id.to_string(),
                    "at": sources.place(&rule.span),
                    "deny": rule.deny,
                    "doc": rule.doc.as_deref(),
                    "matched": rule.matched,
                    "overridden": rule.overridden,
                    "misses": rule.misses,
                    "clauses": lines,
                })
            })
            .collect();
        json!({ "outcome": self.outcome, "summary": self.summary, "nearest_miss": nearest, "rules": rules })
    }
}

/// A clause or condition with its mark and the values that it looked at.
pub(super) fn line(line: &TraceLine, sources: &SourceText) -> String {
    let mark = if line.holds { '✓' } else { '✗' };
    let shown = format!("{mark} {}  {}", text(line, sources), values(line));
    shown.trim_end().to_owned()
}

/// A line as it stands in the file, or its word; indented by its depth.
fn text(line: &TraceLine, sources: &SourceText) -> String {
    let written = || {
        let slice = sources
            .text(&line.span.file)?
            .get(line.span.start..line.span.end)?;
        Some(slice.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let text = line
        .word
        .map(str::to_owned)
        .or_else(written)
        .unwrap_or_default();
    let not = if line.inverted { "not " } else { "" };
    format!("{}{not}{text}", "  ".repeat(line.depth))
}

fn values(line: &TraceLine) -> String {
    let shown = |(path, value): &(String, Value)| match value {
        Value::Null => format!("{path} is absent"),
        value => format!("{path} = {value}"),
    };
    line.values.iter().map(shown).collect::<Vec<_>>().join(", ")
}
