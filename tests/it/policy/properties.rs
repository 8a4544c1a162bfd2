//! What holds for every policy and every request.

use cambist::context::ExchangeContext;
use cambist::oauth::id::ProcessorId;
use cambist::policy::decide::Reason;
use cambist::policy::{Decision, PolicySet};

/// The trace says of every rule what the decision found.
pub fn trace_agrees(set: &PolicySet<ProcessorId>, context: &ExchangeContext) {
    let trace = set.trace(context);
    for rule in &trace.rules {
        assert_eq!(rule.matched, rule.misses == 0, "{rule:?}");
    }
    let ids = |deny| {
        let matched = trace
            .rules
            .iter()
            .filter(move |r| r.matched && r.deny == deny);
        matched.map(|rule| rule.id.clone()).collect::<Vec<_>>()
    };
    let (denies, rules) = (ids(true), ids(false));
    match set.decide(context) {
        Decision::Permit(_, permit) => {
            assert!(denies.is_empty());
            assert_eq!(Some(permit.rule()), rules.first());
        }
        Decision::Deny(denial) => match denial.reason {
            Reason::DeniedBy(by) => assert_eq!(by, denies),
            Reason::NoRule(_) => assert!(denies.is_empty() && rules.is_empty()),
            Reason::Ambiguous(several) => {
                assert!(denies.is_empty());
                assert_eq!(several, rules);
            }
            Reason::NothingGranted | Reason::SubjectExpires | Reason::Template(_) => {
                assert!(denies.is_empty());
                assert_eq!(denial.rule.map(|(id, _)| id).as_ref(), rules.first());
            }
        },
    }
    assert_eq!(
        trace.nearest_miss().is_some(),
        rules.is_empty() && trace.rules.iter().any(|r| !r.deny)
    );
}
