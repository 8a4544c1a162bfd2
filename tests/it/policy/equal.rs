//! The index finds what looking at every rule finds: the same rule, the same permit, the same denial.

use std::collections::BTreeMap;

use cambist::policy::Decision;

use crate::support::random_policies::{Random, context, sample};

/// How many pairs of a policy set and a request; `CAMBIST_PAIRS` in the environment for more.
const PAIRS: usize = 40_000;

#[test]
fn the_index_finds_what_looking_at_every_rule_finds() {
    let said = |name: &str| std::env::var_os(name)?.to_str()?.parse::<usize>().ok();
    let pairs = said("CAMBIST_PAIRS").unwrap_or(PAIRS);
    let seed = said("CAMBIST_SEED").unwrap_or(6) as u64;
    let mut random = Random::new(seed);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut sets, mut seen) = (0, 0);
    while seen < pairs {
        let size = match random.below(10) {
            0..=4 => 1 + random.below(6),
            5..=7 => 5 + random.below(20),
            _ => 30 + random.below(60),
        };
        let sample = sample(&mut random, size);
        sets += 1;
        for _ in 0..300.min(pairs - seen) {
            let context = context(&mut random, &sample.schema);
            let indexed = sample.set.decide(&context);
            let scanned = sample.set.decide_by_scan(&context);
            assert_eq!(
                shown(&indexed),
                shown(&scanned),
                "seed {seed}, set {sets}\n{}\n{context:#?}",
                sample.text
            );
            assert_eq!(
                sample.set.select(&context),
                sample.set.select_by_scan(&context)
            );
            seen += 1;
            *counts.entry(kind(&indexed)).or_default() += 1;
        }
    }
    println!("{sets} policy sets, {seen} pairs, no difference: {counts:?}");
    // A generator that no longer reaches a kind of answer would show nothing about it.
    for kind in [
        "permit",
        "denied",
        "ambiguous",
        "no_rule_for_client",
        "no_rule_for_issuer",
        "no_rule_for_actor",
        "no_rule_for_target",
        "no_rule_for_scope",
        "no_rule",
        "nothing_granted",
    ] {
        assert!(
            counts.contains_key(kind),
            "{kind} never came up: {counts:?}"
        );
    }
}

fn kind<P>(decision: &Decision<'_, P>) -> &'static str {
    match decision {
        Decision::Permit(..) => "permit",
        Decision::Deny(denial) => denial.reason.name(),
    }
}

/// All there is to a decision.
fn shown<P: std::fmt::Debug>(decision: &Decision<'_, P>) -> String {
    match decision {
        Decision::Permit(processor, permit) => format!(
            "{processor:?} {} {:?} {:?}",
            permit.rule(),
            permit.allowance(),
            permit.parameters()
        ),
        Decision::Deny(denial) => format!("{denial:?}"),
    }
}
