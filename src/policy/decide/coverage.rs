//! What tests have seen of a policy set: which rules matched, which conditions held and did not.

use std::collections::{BTreeMap, BTreeSet};

use super::PolicySet;
use super::evaluate::{atom_holds, deny_headers_match, headers_match};
use crate::context::ExchangeContext;
use crate::diagnostic::Span;
use crate::oauth::id::RuleId;
use crate::policy::rule::Condition;

/// What tests have seen of a policy set.
#[derive(Debug)]
pub struct Coverage {
    /// Every rule and deny, by id.
    pub rules: BTreeMap<RuleId, RuleCoverage>,
}

/// What tests have seen of one rule.
#[derive(Debug)]
pub struct RuleCoverage {
    /// Where its name stands.
    pub span: Span,
    /// Whether it is a deny.
    pub deny: bool,
    /// How many tests it decided.
    pub matched: usize,
    /// Its conditions, in the order of the file.
    pub conditions: Vec<ConditionCoverage>,
}

/// What tests have seen of one condition, where the headers of its rule matched.
#[derive(Debug)]
pub struct ConditionCoverage {
    /// Where it stands.
    pub span: Span,
    /// In how many tests it held.
    pub held: usize,
    /// In how many it did not.
    pub failed: usize,
}

impl RuleCoverage {
    fn new<'a>(
        span: &Span,
        deny: bool,
        conditions: impl IntoIterator<Item = &'a Condition>,
    ) -> Self {
        let mut found: Vec<ConditionCoverage> = Vec::new();
        for condition in conditions {
            condition.atoms(&mut |atom| {
                found.push(ConditionCoverage {
                    span: atom.span.clone(),
                    held: 0,
                    failed: 0,
                });
            });
        }
        Self {
            span: span.clone(),
            deny,
            matched: 0,
            conditions: found,
        }
    }

    fn see<'a>(
        &mut self,
        conditions: impl IntoIterator<Item = &'a Condition>,
        context: &ExchangeContext,
    ) {
        let mut seen = self.conditions.iter_mut();
        for condition in conditions {
            condition.atoms(&mut |atom| {
                if let Some(seen) = seen.next() {
                    match atom_holds(atom, context) {
                        true => seen.held += 1,
                        false => seen.failed += 1,
                    }
                }
            });
        }
    }
}

impl Coverage {
    /// Rules and denies that decided some test, and how many there are.
    #[must_use]
    pub fn rules(&self) -> (usize, usize) {
        let matched = self.rules.values().filter(|rule| rule.matched > 0);
        (matched.count(), self.rules.len())
    }

    /// Conditions that held in some test and did not in another, and how many there are.
    #[must_use]
    pub fn conditions(&self) -> (usize, usize) {
        let all = || self.rules.values().flat_map(|rule| &rule.conditions);
        let both = all().filter(|condition| condition.held > 0 && condition.failed > 0);
        (both.count(), all().count())
    }
}

impl<P> PolicySet<P> {
    /// What no test has seen yet.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let rules = self.rules.iter().map(|rule| {
            let conditions = [&rule.scope_when, &rule.when];
            let coverage = RuleCoverage::new(&rule.span, false, conditions);
            (rule.id.clone(), coverage)
        });
        let denies = self.denies.iter().map(|deny| {
            let coverage = RuleCoverage::new(&deny.span, true, [&deny.when]);
            (deny.id.clone(), coverage)
        });
        Coverage {
            rules: rules.chain(denies).collect(),
        }
    }

    /// Adds what one request sees.
    ///
    /// A rule counts as matched where it is what decides: no deny matches, and no rule overrides it.
    pub fn cover(&self, context: &ExchangeContext, coverage: &mut Coverage) {
        let denying = self.denying(context);
        let deciding = self.not_overridden(self.matching(context));
        let outcomes = deciding.iter().filter_map(|index| self.rules.get(*index));
        let outcomes: BTreeSet<usize> = outcomes.map(|rule| rule.outcome_number).collect();
        let decided = denying.is_empty() && outcomes.len() == 1;
        for (index, rule) in self.rules.iter().enumerate() {
            if let Some(seen) = coverage.rules.get_mut(&rule.id) {
                seen.matched += usize::from(decided && deciding.binary_search(&index).is_ok());
                if headers_match(rule, context) {
                    seen.see([&rule.scope_when, &rule.when], context);
                }
            }
        }
        for (index, deny) in self.denies.iter().enumerate() {
            if let Some(seen) = coverage.rules.get_mut(&deny.id) {
                seen.matched += usize::from(denying.binary_search(&index).is_ok());
                if deny_headers_match(&deny.headers, context) {
                    seen.see([&deny.when], context);
                }
            }
        }
    }
}
