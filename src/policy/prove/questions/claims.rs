//! What the policies' own proofs claim.

use std::sync::Arc;

use super::{MAX_ROUNDS, Questions, Selected};
use crate::context::ExchangeContext;
use crate::oauth::id::RuleId;
use crate::policy::compare::{Side, side};
use crate::policy::prove::ask::Answer;
use crate::policy::prove::finding::Finding;
use crate::policy::prove::formula::Formula;
use crate::policy::prove::solve::Why;
use crate::policy::prove::spell;
use crate::policy::prove::verdicts::hash;
use crate::policy::rule::{Claim, ClaimKind, Condition, DenyRule, IssuedTest, Proof, UseRule};

impl<'a, P> Questions<'a, P> {
    /// What the policies' own proofs claim.
    pub(in crate::policy::prove) fn proofs(&mut self, found: &mut Vec<Finding>) {
        let set = self.set();
        for proof in set.proofs() {
            for (number, claim) in proof.claims.iter().enumerate() {
                self.claim(proof, number, claim, found);
            }
        }
    }

    fn claim(
        &mut self,
        proof: &'a Proof,
        number: usize,
        claim: &'a Claim,
        found: &mut Vec<Finding>,
    ) {
        if let ClaimKind::NeverUse { when, .. }
        | ClaimKind::NeverIssue { when, .. }
        | ClaimKind::AlwaysUse { when, .. } = &claim.kind
            && matches!(self.ask(&Formula::Condition(when)), Answer::Never)
        {
            // It would hold whatever the rules say.
            found.push(Finding::idle_claim(proof, claim));
        }
        let named = |name: &Option<Arc<str>>, processor: &str| {
            name.as_ref().is_none_or(|name| **name == *processor)
        };
        match &claim.kind {
            ClaimKind::NeverUse { processor, when } => {
                let of = |questions: &Self, rule: &UseRule<P>| {
                    named(processor, &(questions.name)(&rule.outcome.processor))
                };
                let said = format!("never use {processor:?} when {}", spell::condition(when));
                self.never(proof, claim, &said, when, None, of, found);
            }
            ClaimKind::NeverIssue { what, when } => {
                let said = format!(
                    "never issue {} when {}",
                    spell::issued(what),
                    spell::condition(when)
                );
                self.never(proof, claim, &said, when, Some(what), |_, _| true, found);
            }
            ClaimKind::AlwaysUse { processor, when } => {
                self.always_use(proof, claim, processor.as_deref(), when, found);
            }
            ClaimKind::Disjoint(rules) => {
                let places = self.places(rules);
                for (at, one) in places.iter().enumerate() {
                    for other in places.iter().skip(at + 1) {
                        self.disjoint(proof, claim, *one, *other, found);
                    }
                }
            }
            ClaimKind::Reachable(rules) => {
                let places = match rules {
                    Some(rules) => self.places(rules),
                    None => (0..self.set().rules().len()).collect(),
                };
                for place in places {
                    let Some(rule) = self.rule(place) else {
                        continue;
                    };
                    match self.reach(place) {
                        Selected::By(_) => {}
                        Selected::Unknown(why) => {
                            found.push(Finding::unproved(proof, number, claim, &why));
                        }
                        Selected::Never(because) => {
                            let reasons: Vec<String> =
                                because.iter().map(|reason| self.reason(*reason)).collect();
                            found.push(Finding::not_reachable(
                                proof, claim, &rule.id, &rule.span, &reasons,
                            ));
                        }
                    }
                }
            }
        }
    }

    fn places(&self, rules: &[RuleId]) -> Vec<usize> {
        let all = self.set().rules();
        let place = |id: &RuleId| all.binary_search_by(|rule| rule.id.cmp(id)).ok();
        rules.iter().filter_map(place).collect()
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one claim, each named"
    )]
    fn never(
        &mut self,
        proof: &'a Proof,
        claim: &'a Claim,
        said: &str,
        when: &'a Condition,
        issued: Option<&'a IssuedTest>,
        concerns: impl Fn(&Self, &UseRule<P>) -> bool,
        found: &mut Vec<Finding>,
    ) {
        let keys = self.names.of_condition(when);
        let number = proof
            .claims
            .iter()
            .position(|other| std::ptr::eq(other, claim));
        let number = number.unwrap_or_default();
        for place in 0..self.set().rules().len() {
            let Some(rule) = self.rule(place) else {
                continue;
            };
            let apart = self
                .rules
                .get(place)
                .is_some_and(|known| !known.keys.meet(&keys));
            if apart || !concerns(self, rule) {
                continue;
            }
            let mut parts = vec![
                Formula::Rule(rule),
                Formula::Condition(when),
                Formula::Granted(rule),
            ];
            parts.extend(issued.map(|test| Formula::Issued(rule, test)));
            let question = hash([&b"never"[..], said.as_bytes(), &self.hash_of(place)]);
            let base = Formula::All(parts);
            match self.selected(&base, &[place], question) {
                Selected::Never(_) => {}
                Selected::By(witness) => {
                    let set = self.set();
                    let witness = witness.smaller(&self.ground, |witness| {
                        let context = &witness.context;
                        base.holds(set, context) && self.bars(context, &[place]).is_empty()
                    });
                    let outcome = self.outcome(rule);
                    // Refused for what only the permit can tell: said, but not counted.
                    let decided = side(set, &witness.context, |processor| (self.name)(processor));
                    let in_the_end = match &decided {
                        Side::Refused(_) => decided.line(),
                        Side::Permitted(_) => String::new(),
                    };
                    found.push(Finding::counterexample(
                        proof,
                        claim,
                        Some((&rule.id, &rule.span, outcome)),
                        &in_the_end,
                        &witness,
                    ));
                    // One request is enough; the others may be of the same kind.
                    return;
                }
                Selected::Unknown(why) => {
                    found.push(Finding::unproved(proof, number, claim, &why));
                    return;
                }
            }
        }
    }

    fn disjoint(
        &mut self,
        proof: &'a Proof,
        claim: &'a Claim,
        one: usize,
        other: usize,
        found: &mut Vec<Finding>,
    ) {
        let (Some(a), Some(b)) = (self.rule(one), self.rule(other)) else {
            return;
        };
        let question = hash([&b"disjoint"[..], &self.hash_of(one), &self.hash_of(other)]);
        if self.never_before(&question) {
            return;
        }
        let both = Formula::All(vec![Formula::Rule(a), Formula::Rule(b)]);
        let begun = self.ground.work.done();
        match self.ask(&both) {
            Answer::Never => self.is_never(question, begun),
            Answer::Of(witness) => {
                let set = self.set();
                let witness =
                    witness.smaller(&self.ground, |witness| both.holds(set, &witness.context));
                found.push(Finding::not_disjoint(
                    proof,
                    claim,
                    [(&a.id, &a.span), (&b.id, &b.span)],
                    &witness,
                ));
            }
            Answer::Unknown(why) => {
                let number = proof.claims.iter().position(|c| std::ptr::eq(c, claim));
                found.push(Finding::unproved(
                    proof,
                    number.unwrap_or_default(),
                    claim,
                    &why,
                ));
            }
        }
    }

    /// The rule that decides a request for a processor, if one does.
    fn decided_by(&self, processor: Option<&str>, context: &ExchangeContext) -> Option<usize> {
        self.set().matching(context).into_iter().find(|place| {
            let wanted = self.rule(*place).is_some_and(|rule| {
                processor.is_none_or(|name| *name == *(self.name)(&rule.outcome.processor))
            });
            wanted && self.bars(context, &[*place]).is_empty()
        })
    }

    /// Every request of which the condition holds is decided by a rule of the processor. A request that is,
    /// is set aside with all that the same rule decides, until none is left or one that is not decided so.
    fn always_use(
        &mut self,
        proof: &'a Proof,
        claim: &'a Claim,
        processor: Option<&str>,
        when: &'a Condition,
        found: &mut Vec<Finding>,
    ) {
        let set = self.set();
        let number = proof
            .claims
            .iter()
            .position(|other| std::ptr::eq(other, claim));
        let number = number.unwrap_or_default();
        let mut parts = vec![Formula::Condition(when)];
        for _ in 0..MAX_ROUNDS {
            let witness = match self.ask(&Formula::All(parts.clone())) {
                Answer::Never => return,
                Answer::Unknown(why) => {
                    found.push(Finding::unproved(proof, number, claim, &why));
                    return;
                }
                Answer::Of(witness) => witness,
            };
            let by = self.decided_by(processor, &witness.context);
            let Some((place, rule)) = by.and_then(|place| Some((place, self.rule(place)?))) else {
                let all = Formula::All(parts);
                let witness = witness.smaller(&self.ground, |witness| {
                    let context = &witness.context;
                    all.holds(set, context) && self.decided_by(processor, context).is_none()
                });
                let decided = side(set, &witness.context, |processor| (self.name)(processor));
                let decided = decided.line();
                found.push(Finding::counterexample(
                    proof, claim, None, &decided, &witness,
                ));
                return;
            };
            // Not decided by this rule: it does not match, or something bars it.
            let mut otherwise = vec![Formula::Rule(rule).not()];
            let above = self.overriders(place);
            otherwise.extend(
                above
                    .filter_map(|above| self.rule(above))
                    .map(Formula::Rule),
            );
            otherwise.extend(
                set.denies()
                    .iter()
                    .map(|deny: &DenyRule| Formula::Deny(deny)),
            );
            parts.push(Formula::Any(otherwise));
        }
        found.push(Finding::unproved(proof, number, claim, &Why::Rounds));
    }
}
