//! The index: which rules a request can match, without looking at the others.
//!
//! It holds numbers of rules only, and finds candidates: whether one matches, the clause functions of
//! `evaluate` say. So it can be wrong in one way only, by missing a rule; `tests/it/policy/equal.rs` holds
//! it against the evaluator that looks at all of them.
//!
//! A refusal's code is that of the stage that the rules reached which got furthest. For each stage there
//! is a tree over what rules ask up to there, each distinct request of that kind once: whether any rule
//! got past the stage is whether that tree finds one.

mod dimension;
mod key;
mod need;
mod report;
mod tree;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::ControlFlow;

pub use report::{Asked, IndexReport, TreeReport};
pub use tree::Bound;

use self::dimension::Dimensions;
use self::key::SpreadState;
use self::need::{Need, Needs, Reader, both};
use self::tree::{Item, Purpose, Tree};
use super::decision::Stage;
use super::evaluate::same_until;
use crate::context::ExchangeContext;
use crate::policy::prove::spell;
use crate::policy::rule::{Condition, DenyRule, Headers, UseRule};

/// The stages that a rule can get past without matching, in order.
const PASSED: [Stage; 5] = [
    Stage::Client,
    Stage::Issuer,
    Stage::Actor,
    Stage::Targets,
    Stage::Scope,
];

/// The trees of one policy set.
#[derive(Clone, Debug)]
pub(super) struct Index {
    dimensions: Dimensions,
    rules: Tree,
    denies: Tree,
    /// By [`PASSED`]: what rules ask up to that stage.
    passed: [Tree; 5],
}

impl Index {
    pub(super) fn new<P>(rules: &[UseRule<P>], denies: &[DenyRule]) -> Self {
        let mut dimensions = Dimensions::default();
        let mut reader = Reader {
            dimensions: &mut dimensions,
        };
        let of_rules: Vec<Stages> = rules.iter().map(|rule| stages(rule, &mut reader)).collect();
        let of_denies: Vec<Needs> = denies
            .iter()
            .map(|deny| both(reader.deny(&deny.headers), reader.condition(&deny.when)))
            .collect();
        let often = Often::new(of_rules.iter().flatten().chain(&of_denies));
        let whole = of_rules.iter().enumerate().filter_map(|(place, stages)| {
            let needs = all(stages)?;
            let tests = rules.get(place).map_or(0, rule_tests);
            Some(often.item(place, tests, needs))
        });
        let whole: Vec<Item<'_>> = whole.collect();
        let denying = of_denies.iter().enumerate().filter_map(|(place, needs)| {
            let needs = needs.as_ref()?.iter().collect();
            let tests = denies.get(place).map_or(0, deny_tests);
            Some(often.item(place, tests, needs))
        });
        let denying: Vec<Item<'_>> = denying.collect();
        let said: Vec<[u64; 5]> = rules.iter().map(said_until).collect();
        let passed = PASSED.map(|stage| {
            let items = distinct(rules, &of_rules, &said, stage, &often);
            Tree::new(&items, &dimensions, Purpose::Rules)
        });
        Self {
            rules: Tree::new(&whole, &dimensions, Purpose::Rules),
            denies: Tree::new(&denying, &dimensions, Purpose::Denies),
            passed,
            dimensions,
        }
    }

    /// Calls `visit` with every rule that a request can match; now and then twice with the same.
    pub(super) fn rules(&self, context: &ExchangeContext, mut visit: impl FnMut(usize)) {
        let _all = self.rules.find(&self.dimensions, context, &mut |rule| {
            visit(rule);
            ControlFlow::Continue(())
        });
    }

    /// The same of denies.
    pub(super) fn denies(&self, context: &ExchangeContext, mut visit: impl FnMut(usize)) {
        let _all = self.denies.find(&self.dimensions, context, &mut |deny| {
            visit(deny);
            ControlFlow::Continue(())
        });
    }

    /// The first stage at which no rule is left, where none matches; `passes` tells whether a rule gets
    /// past a stage.
    pub(super) fn furthest(
        &self,
        context: &ExchangeContext,
        passes: impl Fn(usize, Stage) -> bool,
    ) -> Stage {
        // Who gets past a stage got past all before it, so the last one is found by halves.
        let past =
            PASSED.partition_point(|stage| {
                let Some(tree) = self.passed.get(*stage as usize) else {
                    return false;
                };
                let found = tree.find(&self.dimensions, context, &mut |rule| match passes(
                    rule, *stage,
                ) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                });
                found.is_break()
            });
        match past.checked_sub(1).and_then(|last| PASSED.get(last)) {
            Some(stage) => stage.next(),
            None => Stage::Client,
        }
    }
}

/// What a rule needs, by stage.
type Stages = [Needs; 6];

fn stages<P>(rule: &UseRule<P>, reader: &mut Reader<'_>) -> Stages {
    let headers = &rule.headers;
    let scope = reader.condition(&rule.scope_when);
    let scope = match rule.outcome.carries_scope {
        true => scope,
        false => both(scope, reader.no_scope()),
    };
    [
        reader.by(headers),
        reader.from(headers),
        reader.actor(headers),
        reader.to(headers),
        scope,
        both(reader.rest(headers), reader.condition(&rule.when)),
    ]
}

/// How many headers and conditions a rule has.
fn rule_tests<P>(rule: &UseRule<P>) -> usize {
    tests(&rule.headers, &[&rule.scope_when, &rule.when])
}

fn deny_tests(deny: &DenyRule) -> usize {
    tests(&deny.headers, &[&deny.when])
}

fn tests(headers: &Headers, conditions: &[&Condition]) -> usize {
    let there = [
        headers.from.is_some(),
        headers.by.is_some(),
        headers.to.is_some(),
        headers.actor.is_some(),
        headers.via.is_some(),
        headers.issue.is_some(),
    ];
    let mut count = there.into_iter().filter(|there| *there).count();
    for condition in conditions {
        condition.atoms(&mut |_| count += 1);
    }
    count
}

/// All of them; `None` where no request meets one.
fn all(stages: &[Needs]) -> Option<Vec<&Need>> {
    let mut needs = Vec::new();
    for stage in stages {
        needs.extend(stage.as_ref()?);
    }
    Some(needs)
}

/// One rule for each distinct thing that rules ask up to a stage.
fn distinct<'n, P>(
    rules: &[UseRule<P>],
    of_rules: &'n [Stages],
    said: &[[u64; 5]],
    stage: Stage,
    often: &Often,
) -> Vec<Item<'n>> {
    let mut seen: HashMap<u64, Vec<usize>, SpreadState> = HashMap::default();
    let mut items = Vec::new();
    for (place, (rule, stages)) in rules.iter().zip(of_rules).enumerate() {
        let Some(needs) = all(stages.get(..=stage as usize).unwrap_or_default()) else {
            continue;
        };
        // By what they say: needs alone would be the same of rules that no key tells apart.
        let said = said.get(place).and_then(|said| said.get(stage as usize));
        let said = said.copied().unwrap_or_default();
        let alike = seen.entry(key::joined(0, said)).or_default();
        let known = alike.iter().any(|other| {
            rules
                .get(*other)
                .is_some_and(|other| same_until(stage, other, rule))
        });
        if !known {
            alike.push(place);
            items.push(often.item(place, rule_tests(rule), needs));
        }
    }
    items
}

/// Numbers for what a rule asks up to each stage of [`PASSED`], without the places where it stands.
fn said_until<P>(rule: &UseRule<P>) -> [u64; 5] {
    let headers = &rule.headers;
    let mut hasher = DefaultHasher::new();
    PASSED.map(|stage| {
        match stage {
            Stage::Client => said(headers.by.as_ref().map(|by| &by.value), &mut hasher),
            Stage::Issuer => said(headers.from.as_ref().map(|from| &from.value), &mut hasher),
            Stage::Actor => said(
                headers.actor.as_ref().map(|actor| &actor.value),
                &mut hasher,
            ),
            Stage::Targets => said(headers.to.as_ref().map(|to| &to.value), &mut hasher),
            Stage::Scope | Stage::Rest => {
                rule.outcome.carries_scope.hash(&mut hasher);
                spell::condition(&rule.scope_when).hash(&mut hasher);
            }
        }
        hasher.finish()
    })
}

fn said<T: std::fmt::Debug>(value: Option<&T>, hasher: &mut DefaultHasher) {
    format!("{value:?}").hash(hasher);
}

/// How often each key is needed.
struct Often(HashMap<u64, u32, SpreadState>);

impl Often {
    fn new<'n>(needs: impl Iterator<Item = &'n Needs>) -> Self {
        let mut often: HashMap<u64, u32, SpreadState> = HashMap::default();
        for need in needs.flatten().flatten() {
            for key in &need.keys {
                *often
                    .entry(key::joined(need.dimension, key.hash))
                    .or_default() += 1;
            }
        }
        Self(often)
    }

    fn of(&self, need: &Need) -> u64 {
        let count = |key: &key::Key| self.0.get(&key::joined(need.dimension, key.hash));
        need.keys
            .iter()
            .filter_map(count)
            .map(|count| u64::from(*count))
            .sum()
    }

    /// A rule with, of each dimension, the need that fewest others have.
    fn item<'n>(&self, place: usize, tests: usize, mut needs: Vec<&'n Need>) -> Item<'n> {
        let mut repeated = needs.clone();
        repeated.sort_unstable_by_key(|need| need.dimension);
        if repeated
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.dimension == b.dimension))
        {
            needs.sort_by_key(|need| (need.dimension, self.of(need)));
            needs.dedup_by_key(|need| need.dimension);
        }
        Item {
            rule: u32::try_from(place).unwrap_or(u32::MAX),
            tests,
            needs,
        }
    }
}
