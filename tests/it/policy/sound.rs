//! What is proved of policies, held against what the evaluator says of requests.
//!
//! Two ways: every request of a small world, so that "never" and "for this request" both have to be right;
//! and random requests at the boundaries of random policies, for everything that the language has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cambist::context::ExchangeContext;
use cambist::oauth::NumericDate;
use cambist::oauth::id::{ProcessorId, RuleId};
use cambist::policy::prove::{Proved, prove};
use cambist::policy::schema::Schema;
use cambist::policy::syntax::ast::{Clause, Item};
use cambist::policy::{PolicySet, check, facts, parse};
use serde_json::{Map, Value, json};

use super::realm;
use crate::support::random_policies::{Random, context, sample};

fn said(name: &str, otherwise: usize) -> usize {
    let value = std::env::var_os(name).and_then(|value| value.to_str()?.parse().ok());
    value.unwrap_or(otherwise)
}

fn proved(set: &PolicySet<ProcessorId>, schema: &Schema) -> Proved {
    let name = |id: &ProcessorId| id.to_string();
    prove(set, schema, &name, &BTreeSet::new(), None)
}

/// What was concluded, by code: single rules, and pairs.
struct Concluded {
    pairs: BTreeSet<(RuleId, RuleId)>,
    never: BTreeSet<RuleId>,
    unknown: BTreeSet<Vec<RuleId>>,
}

fn concluded(proved: &Proved) -> Concluded {
    let mut concluded = Concluded {
        pairs: BTreeSet::new(),
        never: BTreeSet::new(),
        unknown: BTreeSet::new(),
    };
    for (code, rules) in &proved.conclusions {
        match (*code, rules.as_slice()) {
            ("E0501", [one, other]) => drop(concluded.pairs.insert((one.clone(), other.clone()))),
            ("E0502" | "E0503", [rule]) => drop(concluded.never.insert(rule.clone())),
            ("E0902", rules) => drop(concluded.unknown.insert(rules.to_vec())),
            _ => {}
        }
    }
    concluded
}

/// Pairs of rules of different outcomes that decide a request together, and the rules that decide it.
fn seen(
    set: &PolicySet<ProcessorId>,
    context: &ExchangeContext,
    over: &BTreeMap<RuleId, BTreeSet<RuleId>>,
) -> (BTreeSet<(RuleId, RuleId)>, BTreeSet<RuleId>) {
    let trace = set.trace(context);
    let denied = trace.rules.iter().any(|rule| rule.deny && rule.matched);
    let matching: Vec<&RuleId> = trace
        .rules
        .iter()
        .filter(|rule| !rule.deny && rule.matched)
        .map(|rule| &rule.id)
        .collect();
    if denied {
        return Default::default();
    }
    let beaten = |rule: &RuleId| {
        let above = over.get(rule).into_iter().flatten();
        above.into_iter().any(|above| matching.contains(&above))
    };
    let left: BTreeSet<RuleId> = matching
        .iter()
        .filter(|rule| !beaten(rule))
        .map(|rule| (*rule).clone())
        .collect();
    let outcome = |id: &RuleId| {
        let rule = set.rules().iter().find(|rule| rule.id == *id).unwrap();
        rule.outcome_number
    };
    let mut pairs = BTreeSet::new();
    for one in &left {
        for other in left.iter().filter(|other| *other > one) {
            if outcome(one) != outcome(other) {
                pairs.insert((one.clone(), other.clone()));
            }
        }
    }
    (pairs, left)
}

/// By rule, those that override it, at once or by way of others.
fn over(set: &PolicySet<ProcessorId>) -> BTreeMap<RuleId, BTreeSet<RuleId>> {
    let below: BTreeMap<&RuleId, &Vec<RuleId>> =
        set.rules().iter().map(|r| (&r.id, &r.overrides)).collect();
    let mut over: BTreeMap<RuleId, BTreeSet<RuleId>> = BTreeMap::new();
    for rule in set.rules() {
        let mut open: Vec<&RuleId> = rule.overrides.iter().collect();
        let mut done = BTreeSet::new();
        while let Some(next) = open.pop() {
            if done.insert(next) {
                over.entry(next.clone())
                    .or_default()
                    .insert(rule.id.clone());
                open.extend(below[next].iter());
            }
        }
    }
    over
}

/// What the evaluator finds at random must not have been ruled out.
#[test]
fn no_random_request_refutes_a_proof() {
    let sets = said("CAMBIST_SOUND_SETS", 150);
    let each = said("CAMBIST_SOUND_REQUESTS", 150);
    let mut random = Random::new(said("CAMBIST_SEED", 11) as u64);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut requests = 0;
    for number in 0..sets {
        let size = 2 + random.below(8);
        let sample = sample(&mut random, size);
        let proved = proved(&sample.set, &sample.schema);
        for (code, _) in &proved.conclusions {
            *counts.entry(code).or_default() += 1;
        }
        let found = concluded(&proved);
        let over = over(&sample.set);
        // A witness is confirmed before it is shown; what is not must be called unknown, and why.
        let disagreed = proved.findings.sorted();
        for finding in disagreed {
            let notes = finding.notes.join("\n");
            assert!(
                !notes.contains("disagree"),
                "set {number}: {}\n{notes}\n{}",
                finding.message,
                sample.text
            );
        }
        for _ in 0..each {
            let context = context(&mut random, &sample.schema);
            requests += 1;
            let (pairs, deciding) = seen(&sample.set, &context, &over);
            for (one, other) in &pairs {
                let known = found.pairs.contains(&(one.clone(), other.clone()))
                    || found.unknown.contains(&vec![one.clone(), other.clone()])
                    || found.unknown.contains(&Vec::new());
                assert!(
                    known,
                    "set {number}: {one} and {other} decide a request together, and were proved disjoint\n{}\n{context:#?}",
                    sample.text
                );
            }
            for rule in &deciding {
                assert!(
                    !found.never.contains(rule),
                    "set {number}: {rule} decides a request, and was proved never to\n{}\n{context:#?}",
                    sample.text
                );
            }
        }
    }
    println!("{sets} policy sets, {requests} requests, no proof refuted; findings {counts:?}");
    for code in ["E0501", "E0502", "E0503", "E0506"] {
        assert!(
            counts.contains_key(code),
            "{code} never came up: {counts:?}"
        );
    }
}

/// What is kept from a load before must not outlive what it rests on.
#[test]
fn what_is_kept_from_a_load_before_changes_no_verdict() {
    let sets = said("CAMBIST_KEPT_SETS", 120);
    let mut random = Random::new(said("CAMBIST_SEED", 5) as u64);
    let name = |id: &ProcessorId| id.to_string();
    let (mut done, mut asked, mut kept) = (0, (0, 0), 0);
    while done < sets {
        let size = 3 + random.below(8);
        let sample = sample(&mut random, size);
        let file = parse(&Arc::from("a.policy"), &sample.text).unwrap();
        let mut changed = file.clone();
        let place = random.below(changed.items.len());
        match random.below(3) {
            // A rule, a deny or a list is gone.
            0 => drop(changed.items.remove(place)),
            // A rule overrides nothing any more, or is under no condition.
            one => {
                for item in &mut changed.items {
                    if let Item::Rule(rule) = item
                        && random.chance(30)
                    {
                        rule.clauses.retain(|clause| match &clause.value {
                            Clause::Overrides(_) => one != 1,
                            Clause::When(_) => one != 2,
                            _ => true,
                        });
                    }
                }
            }
        }
        let Ok((set, _)) = check(&[changed], &sample.schema) else {
            continue;
        };
        done += 1;
        let before = proved(&sample.set, &sample.schema).verdicts;
        let cold = proved(&set, &sample.schema);
        let warm = prove(&set, &sample.schema, &name, &BTreeSet::new(), Some(&before));
        assert_eq!(warm.conclusions, cold.conclusions, "{}", sample.text);
        // The same once more, of what was kept and filled in.
        let again = prove(
            &set,
            &sample.schema,
            &name,
            &BTreeSet::new(),
            Some(&warm.verdicts),
        );
        assert_eq!(again.conclusions, cold.conclusions, "{}", sample.text);
        asked.0 += cold.verdicts.counts().0;
        asked.1 += warm.verdicts.counts().0;
        kept += again.verdicts.counts().1;
    }
    println!(
        "{done} changes: {} questions without what was kept, {} with it; {kept} kept of sets that did not change",
        asked.0, asked.1
    );
    assert!(asked.1 < asked.0 / 2, "{asked:?}");
}

// ── every request of a small world ──────────────────────────────────────────────────────────────

const SCOPES: [&str; 3] = ["s:a", "s:b", "t"];
const AUDIENCES: [&str; 3] = ["p", "q:x", "z"];
const ROLES: [Option<&str>; 4] = [None, Some("r1"), Some("r2"), Some("other")];
const LEVELS: [i64; 3] = [1, 2, 3];
const CLIENTS: [&str; 2] = ["rs08", "orders-api"];

fn subsets(of: &[&str]) -> Vec<Vec<String>> {
    (0..1 << of.len())
        .map(|bits| {
            let chosen = of.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1);
            chosen.map(|(_, name)| (*name).to_owned()).collect()
        })
        .collect()
}

/// Every request that the tests of [`small_set`] can tell from others.
fn world(schema: &Schema) -> Vec<ExchangeContext> {
    let mut all = Vec::new();
    let optional = |sets: Vec<Vec<String>>| -> Vec<Option<Vec<String>>> {
        std::iter::once(None)
            .chain(sets.into_iter().map(Some))
            .collect()
    };
    for client in CLIENTS {
        for audience in subsets(&AUDIENCES) {
            for sent in optional(subsets(&SCOPES)) {
                for own in optional(subsets(&SCOPES)) {
                    for role in ROLES {
                        for level in LEVELS {
                            let mut facts = Map::new();
                            let mut add = |path: &str, value: Value| {
                                facts.insert(path.to_owned(), value);
                            };
                            add("client.id", json!(client));
                            add("subject.issuer", json!("corp"));
                            add("audience", json!(audience));
                            sent.iter()
                                .for_each(|scope| add("request.scope", json!(scope)));
                            own.iter()
                                .for_each(|scope| add("subject.scope", json!(scope)));
                            role.iter()
                                .for_each(|role| add("subject.claims.role", json!(role)));
                            add("subject.claims.level", json!(level));
                            all.push(
                                facts::assemble(&facts, schema, NumericDate(realm::NOW)).unwrap(),
                            );
                        }
                    }
                }
            }
        }
    }
    all
}

fn small_condition(random: &mut Random, depth: usize, kind: &str) -> String {
    if depth > 0 && random.chance(45) {
        let word = random.word(&["and", "or"]);
        let parts: Vec<String> = (0..2 + random.below(2))
            .map(|_| small_condition(random, depth - 1, kind))
            .collect();
        return format!("({})", parts.join(&format!(" {word} ")));
    }
    let scope = |random: &mut Random| random.word(&["s:a", "s:b", "t"]);
    let list = |random: &mut Random| {
        let of: Vec<String> = random
            .some(&SCOPES, 2)
            .iter()
            .map(|s| format!("\"{s}\""))
            .collect();
        format!("[{}]", of.join(", "))
    };
    let set = random
        .word(&["scope", "scope", "subject.scope ", "request.scope "])
        .trim();
    // Tests of what may be absent fail open in one direction or the other; there they are said with a guard.
    let (optional, absent) = match set {
        "scope" => (false, ""),
        _ => (true, set),
    };
    let test = match random.below(12) {
        0 => format!("{set} has \"{}\"", scope(random)),
        1 => format!("{set} only {}", list(random)),
        2 => format!("{set} has any of {}", list(random)),
        3 => format!("{set} has all of {}", list(random)),
        4 => format!("{set} == {}", list(random)),
        5 => format!("any {set} like \"s:*\""),
        6 => format!("all {set} like \"s:*\""),
        7 => format!("count({set}) {} 0", random.word(&["<=", ">", "=="])),
        8 => {
            return format!(
                "subject.claims.level {} 2",
                random.word(&["<", ">=", "==", ">", "!="])
            );
        }
        9 => {
            let role = random.word(&["r1", "r2"]);
            return match kind {
                "rule" => format!("subject.claims.role == \"{role}\""),
                _ => format!("(present subject.claims.role and subject.claims.role == \"{role}\")"),
            };
        }
        10 => {
            return format!(
                "{} subject.claims.role",
                random.word(&["present", "absent"])
            );
        }
        _ => {
            return format!(
                "any audience like \"{}\"",
                random.word(&["q:*", "p", "q:**"])
            );
        }
    };
    match (optional, kind) {
        (true, "deny") => format!("(present {absent} and {test})"),
        _ => test,
    }
}

fn small_set(random: &mut Random) -> String {
    let mut text = String::from("policy 1 module m\n\n");
    let rules = 2 + random.below(3);
    for number in 0..rules {
        let client = random.word(&[
            "client \"rs08\"",
            "client [\"rs08\", \"orders-api\"]",
            "any client",
        ]);
        let to = random.word(&[
            "any target",
            "audience [\"p\", \"q:x\"]",
            "audience like \"q:**\"",
            "no target",
        ]);
        let audience = if to == "no target" {
            ", audience: \"n\""
        } else {
            ""
        };
        let when = match random.chance(85) {
            true => format!("  when {}\n", small_condition(random, 2, "rule")),
            false => String::new(),
        };
        let overrides = match number > 0 && random.chance(25) {
            true => format!("  overrides r{}\n", random.below(number)),
            false => String::new(),
        };
        text.push_str(&format!(
            "rule r{number} {{\n  from corp\n  by {client}\n  to {to}\n{when}  use mint {{ lifetime: {}s{audience} }}\n{overrides}}}\n",
            10 + random.below(3)
        ));
    }
    for number in 0..random.below(3) {
        text.push_str(&format!(
            "deny d{number} {{ when {} }}\n",
            small_condition(random, 1, "deny")
        ));
    }
    text
}

/// Both answers have to be right: a request of the world for everything that is said to have one, and none for
/// what is said to have none.
#[test]
fn every_request_of_a_small_world_agrees_with_what_is_proved() {
    // One issuer, so that the world is all there is; the others are never in `from`.
    let mut schema = realm::schema();
    schema
        .issuers
        .retain(|issuer| issuer.alias.as_str() == "corp");
    schema
        .clients
        .retain(|client| CLIENTS.contains(&client.id.as_str()));
    let world = world(&schema);
    let sets = said("CAMBIST_SMALL_SETS", 12);
    let mut random = Random::new(said("CAMBIST_SEED", 3) as u64);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut done = 0;
    while done < sets {
        let text = small_set(&mut random);
        let file = parse(&Arc::from("m.policy"), &text)
            .unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        // Some are refused for other reasons: fail-open tests, most of all.
        let Ok((set, _)) = check(&[file], &schema) else {
            continue;
        };
        done += 1;
        let over = over(&set);
        let mut pairs = BTreeSet::new();
        let mut deciding = BTreeSet::new();
        for context in &world {
            let (more, by) = seen(&set, context, &over);
            pairs.extend(more);
            deciding.extend(by);
        }
        let proved = proved(&set, &schema);
        let found = concluded(&proved);
        assert!(found.unknown.is_empty(), "{text}");
        assert_eq!(found.pairs, pairs, "overlaps\n{text}");
        let never: BTreeSet<RuleId> = set
            .rules()
            .iter()
            .map(|rule| rule.id.clone())
            .filter(|id| !deciding.contains(id))
            .collect();
        let denies: BTreeSet<RuleId> = set.denies().iter().map(|deny| deny.id.clone()).collect();
        let of_rules: BTreeSet<RuleId> = found.never.difference(&denies).cloned().collect();
        assert_eq!(of_rules, never, "rules that are never selected\n{text}");
        let idle: BTreeSet<RuleId> = set
            .denies()
            .iter()
            .filter(|deny| {
                let denied = |context: &ExchangeContext| {
                    let trace = set.trace(context);
                    trace.rules.iter().any(|r| r.id == deny.id && r.matched)
                };
                !world.iter().any(denied)
            })
            .map(|deny| deny.id.clone())
            .collect();
        let of_denies: BTreeSet<RuleId> = found.never.intersection(&denies).cloned().collect();
        assert_eq!(of_denies, idle, "denies that match nothing\n{text}");
        let rules = set.rules().len();
        *counts.entry("pairs that overlap").or_default() += pairs.len();
        *counts.entry("pairs that do not").or_default() += rules * (rules - 1) / 2 - pairs.len();
        *counts.entry("rules that are selected").or_default() += rules - never.len();
        *counts.entry("rules that are not").or_default() += never.len();
        *counts.entry("denies that match nothing").or_default() += idle.len();
    }
    println!(
        "{done} policy sets, {} requests each, 0 disagreements: {counts:?}",
        world.len()
    );
}
