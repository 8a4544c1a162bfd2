//! The evaluator's answers about one rule by itself, for those who prove things of it.

use super::PolicySet;
use super::allowance::permit;
use super::decision::Reason;
use super::evaluate::{
    deny_headers_match, deny_matches, first_failure, headers_match, holds, member_passes,
};
use crate::context::ExchangeContext;
use crate::policy::rule::{Condition, DenyRule, IssuedTest, UseRule};
use crate::policy::schema::Value;

impl<P> UseRule<P> {
    /// Whether its headers and conditions match.
    pub(in crate::policy) fn matches(&self, context: &ExchangeContext) -> bool {
        first_failure(self, context).is_none()
    }

    /// Whether its headers match, whatever its conditions say.
    pub(in crate::policy) fn headers_match(&self, context: &ExchangeContext) -> bool {
        headers_match(self, context)
    }
}

impl DenyRule {
    /// Whether its headers and conditions match.
    pub(in crate::policy) fn matches(&self, context: &ExchangeContext) -> bool {
        deny_matches(self, context)
    }

    /// Whether its headers match, whatever its conditions say.
    pub(in crate::policy) fn headers_match(&self, context: &ExchangeContext) -> bool {
        deny_headers_match(&self.headers, context)
    }
}

impl Condition {
    /// Whether it holds of a request.
    pub(in crate::policy) fn holds(&self, context: &ExchangeContext) -> bool {
        holds(self, context)
    }
}

impl<P> PolicySet<P> {
    /// Whether a rule that decides would grant something, where scope was asked for. Other reasons to refuse
    /// (a template's values, a name that is taken, a chain that is too long) are not counted.
    pub(in crate::policy) fn would_grant(
        &self,
        rule: &UseRule<P>,
        context: &ExchangeContext,
    ) -> bool {
        let permit = permit(rule, context, &self.resources, &self.given);
        !matches!(permit, Err(denial) if denial.reason == Reason::NothingGranted)
    }

    /// Whether what a rule would issue passes a test. Where it grants nothing, nothing does.
    pub(in crate::policy) fn would_issue(
        &self,
        rule: &UseRule<P>,
        test: &IssuedTest,
        context: &ExchangeContext,
    ) -> bool {
        let permit = match permit(rule, context, &self.resources, &self.given) {
            Ok(permit) => permit,
            // What is refused for another reason than scope is not known to fail the test.
            Err(denial) => return denial.reason != Reason::NothingGranted,
        };
        let allowance = &permit.allowance;
        match test {
            IssuedTest::Scope(test) => allowance
                .scope
                .iter()
                .any(|token| member_passes(test, Value::Text(token))),
            IssuedTest::Audience(test) => allowance
                .audience
                .iter()
                .any(|name| member_passes(test, Value::Text(name))),
            IssuedTest::Lifetime(comparison, seconds) => {
                comparison.holds(allowance.expires_at.since(context.now), *seconds)
            }
        }
    }
}
