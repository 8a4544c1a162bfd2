//! Which rule, if any: everything of a decision but the permit. Nothing is allocated here once a thread
//! has decided something.

use std::cell::RefCell;
use std::collections::HashSet;

use super::PolicySet;
use super::decision::{Decision, Denial, Reason, Stage};
use super::evaluate::{deny_matches, first_failure, passes};
use crate::context::ExchangeContext;
use crate::oauth::error::ErrorCode;
use crate::oauth::id::RuleId;

/// What was selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selection {
    /// A deny matches.
    Denied,
    /// This rule, by its place among [`PolicySet::rules`].
    Rule(usize),
    /// Rules match that select different outcomes.
    Ambiguous,
    /// At this stage no rule was left.
    NoRule(Stage),
}

/// What a thread keeps for its next decision.
#[derive(Default)]
struct Scratch {
    matching: Vec<usize>,
    beaten: HashSet<usize>,
    open: Vec<usize>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl<P> PolicySet<P> {
    /// Decides. Pure: the same context always gets the same answer.
    #[must_use]
    pub fn decide<'a>(&'a self, context: &'a ExchangeContext) -> Decision<'a, P> {
        self.conclude(self.select(context), context)
    }

    /// Which rule is selected, before what it permits is worked out.
    #[must_use]
    pub fn select(&self, context: &ExchangeContext) -> Selection {
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => self.select_rule(context, &mut scratch),
            Err(_) => self.select_rule(context, &mut Scratch::default()),
        })
    }

    fn select_rule(&self, context: &ExchangeContext, scratch: &mut Scratch) -> Selection {
        if self.is_denied(context, &mut scratch.matching) {
            return Selection::Denied;
        }
        self.find_matching(context, &mut scratch.matching);
        if scratch.matching.is_empty() {
            let furthest = self.index.furthest(context, |place, stage| {
                self.rules
                    .get(place)
                    .is_some_and(|rule| passes(rule, stage, context))
            });
            return Selection::NoRule(furthest);
        }
        self.drop_overridden(scratch);
        self.one_outcome(&scratch.matching)
    }

    /// The one outcome that rules select which match and that nothing overrides.
    fn one_outcome(&self, matching: &[usize]) -> Selection {
        let outcome = |place: &usize| self.rules.get(*place).map(|rule| rule.outcome_number);
        match matching.split_first() {
            Some((first, others)) => {
                match others.iter().any(|other| outcome(other) != outcome(first)) {
                    true => Selection::Ambiguous,
                    false => Selection::Rule(*first),
                }
            }
            // Overrides have no circle: one always remains.
            None => Selection::NoRule(Stage::Rest),
        }
    }

    /// Replaces `matching` by the places of all rules that match, in order. One that stands under several of the
    /// request's keys is tested once.
    fn find_matching(&self, context: &ExchangeContext, matching: &mut Vec<usize>) {
        matching.clear();
        self.index.rules(context, |place| matching.push(place));
        matching.sort_unstable();
        matching.dedup();
        matching.retain(|place| {
            let rule = self.rules.get(*place);
            rule.is_some_and(|rule| first_failure(rule, context).is_none())
        });
    }

    /// The places of all rules that match, overridden or not, in order.
    pub(in crate::policy) fn matching(&self, context: &ExchangeContext) -> Vec<usize> {
        let mut matching = Vec::new();
        self.find_matching(context, &mut matching);
        matching
    }

    /// The places of all denies that match, in order.
    pub(in crate::policy) fn denying(&self, context: &ExchangeContext) -> Vec<usize> {
        let mut denying = Vec::new();
        self.may_deny(context, &mut denying);
        denying.retain(|place| self.denies_at(*place, context));
        denying
    }

    fn is_denied(&self, context: &ExchangeContext, scratch: &mut Vec<usize>) -> bool {
        self.may_deny(context, scratch);
        scratch.iter().any(|place| self.denies_at(*place, context))
    }

    /// Replaces `denying` by the places of the denies that a request has keys of, each once, in order.
    fn may_deny(&self, context: &ExchangeContext, denying: &mut Vec<usize>) {
        denying.clear();
        self.index.denies(context, |place| denying.push(place));
        denying.sort_unstable();
        denying.dedup();
    }

    fn denies_at(&self, place: usize, context: &ExchangeContext) -> bool {
        let deny = self.denies.get(place);
        deny.is_some_and(|deny| deny_matches(deny, context))
    }

    /// The matching rules without those that another of them overrides, at once or by way of others.
    pub(super) fn not_overridden(&self, matching: Vec<usize>) -> Vec<usize> {
        let mut scratch = Scratch {
            matching,
            ..Scratch::default()
        };
        self.drop_overridden(&mut scratch);
        scratch.matching
    }

    fn drop_overridden(&self, scratch: &mut Scratch) {
        let Scratch {
            matching,
            beaten,
            open,
        } = scratch;
        if matching.len() < 2 || self.overrides.is_empty() {
            return;
        }
        beaten.clear();
        for rule in matching.iter() {
            open.push(*rule);
            while let Some(next) = open.pop() {
                for below in self.overrides.get(&next).into_iter().flatten() {
                    if beaten.insert(*below) {
                        open.push(*below);
                    }
                }
            }
        }
        matching.retain(|rule| !beaten.contains(rule));
    }

    /// The decision that a selection comes to.
    fn conclude<'a>(
        &'a self,
        selection: Selection,
        context: &'a ExchangeContext,
    ) -> Decision<'a, P> {
        let denial = match selection {
            Selection::Rule(place) => match self.rules.get(place) {
                Some(rule) => {
                    match super::allowance::permit(rule, context, &self.resources, &self.given) {
                        Ok(permit) => return Decision::Permit(&rule.outcome.processor, permit),
                        Err(denial) => denial,
                    }
                }
                None => Denial::by_no_rule(Stage::Rest),
            },
            Selection::NoRule(stage) => Denial::by_no_rule(stage),
            Selection::Denied => self.denied(&self.denying(context)),
            Selection::Ambiguous => self.ambiguous(&self.not_overridden(self.matching(context))),
        };
        Decision::Deny(denial)
    }

    fn denied(&self, denying: &[usize]) -> Denial {
        let denies = || denying.iter().filter_map(|place| self.denies.get(*place));
        match denies().next() {
            Some(first) => Denial {
                code: first.error,
                reason: Reason::DeniedBy(denies().map(|deny| deny.id.clone()).collect()),
                rule: Some((first.id.clone(), first.span.clone())),
                because: first.because.clone(),
                tell: first.tell.clone(),
            },
            None => Denial::by_no_rule(Stage::Rest),
        }
    }

    fn ambiguous(&self, matching: &[usize]) -> Denial {
        let rules = || matching.iter().filter_map(|place| self.rules.get(*place));
        let ids: Vec<RuleId> = rules().map(|rule| rule.id.clone()).collect();
        Denial {
            code: ErrorCode::ServerError,
            reason: Reason::Ambiguous(ids),
            rule: rules()
                .next()
                .map(|first| (first.id.clone(), first.span.clone())),
            because: None,
            tell: None,
        }
    }
}

/// The evaluator that looks at every rule: what the index is held against, in tests and benches.
impl<P> PolicySet<P> {
    /// The same as [`select`](Self::select), rule by rule.
    #[doc(hidden)]
    #[must_use]
    pub fn select_by_scan(&self, context: &ExchangeContext) -> Selection {
        if self.denies.iter().any(|deny| deny_matches(deny, context)) {
            return Selection::Denied;
        }
        let (matching, furthest) = self.scan(context);
        match matching.is_empty() {
            true => Selection::NoRule(furthest),
            false => self.one_outcome(&self.not_overridden(matching)),
        }
    }

    /// The same as [`decide`](Self::decide), rule by rule.
    #[doc(hidden)]
    #[must_use]
    pub fn decide_by_scan<'a>(&'a self, context: &'a ExchangeContext) -> Decision<'a, P> {
        match self.select_by_scan(context) {
            Selection::Denied => {
                let denies = self.denies.iter().enumerate();
                let matching = denies.filter(|(_, deny)| deny_matches(deny, context));
                let places: Vec<usize> = matching.map(|(place, _)| place).collect();
                Decision::Deny(self.denied(&places))
            }
            Selection::Ambiguous => {
                let (matching, _) = self.scan(context);
                Decision::Deny(self.ambiguous(&self.not_overridden(matching)))
            }
            selection => self.conclude(selection, context),
        }
    }

    /// The rules that match, and the furthest stage that any other got to.
    fn scan(&self, context: &ExchangeContext) -> (Vec<usize>, Stage) {
        let mut furthest = Stage::Client;
        let mut matching = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            match first_failure(rule, context) {
                None => matching.push(place),
                Some(stage) => furthest = furthest.max(stage),
            }
        }
        (matching, furthest)
    }
}
