//! A question: what must hold of a request, in the words of checked rules.
//!
//! [`Formula::holds`] asks the production evaluator. It is what every witness is held against: an answer of
//! the solver counts only where the evaluator agrees.

use crate::context::ExchangeContext;
use crate::policy::PolicySet;
use crate::policy::rule::{Condition, DenyRule, IssuedTest, UseRule};

/// What must hold of a request.
#[derive(Debug)]
pub(in crate::policy) enum Formula<'a, P> {
    /// All of them; of none, anything.
    All(Vec<Self>),
    /// One of them; of none, nothing.
    Any(Vec<Self>),
    /// Not that.
    Not(Box<Self>),
    /// A rule's headers and conditions match.
    Rule(&'a UseRule<P>),
    /// A rule's headers match, whatever its conditions say.
    Headers(&'a UseRule<P>),
    /// A deny's headers and conditions match.
    Deny(&'a DenyRule),
    /// A deny's headers match, whatever its conditions say.
    DenyHeaders(&'a DenyRule),
    /// A condition holds.
    Condition(&'a Condition),
    /// If a rule is what decides, something is granted.
    Granted(&'a UseRule<P>),
    /// What a rule would issue, if it is what decides, passes a test.
    Issued(&'a UseRule<P>, &'a IssuedTest),
}

impl<P> Clone for Formula<'_, P> {
    fn clone(&self) -> Self {
        match self {
            Self::All(parts) => Self::All(parts.clone()),
            Self::Any(parts) => Self::Any(parts.clone()),
            Self::Not(part) => Self::Not(part.clone()),
            Self::Rule(rule) => Self::Rule(rule),
            Self::Headers(rule) => Self::Headers(rule),
            Self::Deny(deny) => Self::Deny(deny),
            Self::DenyHeaders(deny) => Self::DenyHeaders(deny),
            Self::Condition(condition) => Self::Condition(condition),
            Self::Granted(rule) => Self::Granted(rule),
            Self::Issued(rule, test) => Self::Issued(rule, test),
        }
    }
}

impl<P> Formula<'_, P> {
    /// The contrary.
    pub(in crate::policy) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Whether it holds of a request, by the evaluator that decides for real.
    pub(in crate::policy) fn holds(&self, set: &PolicySet<P>, context: &ExchangeContext) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(set, context)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(set, context)),
            Self::Not(part) => !part.holds(set, context),
            Self::Rule(rule) => rule.matches(context),
            Self::Headers(rule) => rule.headers_match(context),
            Self::Deny(deny) => deny.matches(context),
            Self::DenyHeaders(deny) => deny.headers_match(context),
            Self::Condition(condition) => condition.holds(context),
            Self::Granted(rule) => set.would_grant(rule, context),
            Self::Issued(rule, test) => set.would_issue(rule, test, context),
        }
    }
}
