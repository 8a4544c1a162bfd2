//! What holds for every policy and every request.

use std::collections::BTreeSet;

use cambist::context::ExchangeContext;
use cambist::oauth::id::{ProcessorId, RuleId};
use cambist::oauth::scope::Scopes;
use cambist::policy::decide::{Allowance, Reason};
use cambist::policy::generate::{Representative, blocks, representatives};
use cambist::policy::rule::{ActorForm, UseRule};
use cambist::policy::{Decision, PolicySet, facts};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use super::cases::{decided, load};
use super::realm;

const RESOURCES: [&str; 6] = [
    "https://api.example.com/v1",
    "https://api.example.com/v1/orders/7",
    "https://payments.example.com",
    "https://x.example.com/a?b",
    "https://api.example.com.evil.com/v1",
    "urn:a:b",
];
const AUDIENCES: [&str; 5] = ["x", "x:y", "orders", "api", "agent-1"];
const SCOPES: [&str; 5] = ["a", "b", "orders:read", "payments:read", "admin:all"];
const CLIENTS: [&str; 3] = ["rs08", "agent-1", "orders-api"];
const TEXTS: [&str; 4] = ["x", "y", "urn:z", "agent-1"];

/// The text of one condition that checks in a rule and in a deny of any issuer.
fn atom() -> impl Strategy<Value = String> {
    let text = || select(&TEXTS[..]);
    let path = || select(&["subject.acr", "subject.client_id", "client.attr.tier"][..]);
    let scope = || select(&SCOPES[..]);
    let set = || select(&["scope", "subject.scope ", "request.scope "][..]);
    let list = |of: &'static [&'static str]| {
        subsequence(of, 1..=of.len())
            .prop_shuffle()
            .prop_map(quoted)
    };
    prop_oneof![
        (path(), select(&["==", "!="][..]), text())
            .prop_map(|(p, op, t)| format!("{p} ?? \"y\" {op} \"{t}\"")),
        (path(), text()).prop_map(|(p, t)| format!("(present {p} and {p} != \"{t}\")")),
        (path(), list(&TEXTS)).prop_map(|(p, l)| format!("(absent {p} or {p} in {l})")),
        (path(), list(&TEXTS)).prop_map(|(p, l)| format!("(absent {p} or {p} not in {l})")),
        (
            select(&["like", "not like"][..]),
            select(&["urn:*", "*", "a**"][..])
        )
            .prop_map(|(op, g)| format!("subject.sub {op} \"{g}\"")),
        (set(), scope()).prop_map(|(s, c)| has(s, &format!("has \"{c}\""))),
        (set(), select(&["only", "=="][..]), list(&SCOPES))
            .prop_map(|(s, op, l)| has(s, &format!("{op} {l}"))),
        select(&RESOURCES[..]).prop_map(|r| format!("resource has \"{r}\"")),
        list(&AUDIENCES).prop_map(|l| format!("audience only {l}")),
        Just("client.id in audience".to_owned()),
        Just("audience has client.id".to_owned()),
        Just("subject.issuer == \"corp\"".to_owned()),
        Just("subject.token_type != \"id_token\"".to_owned()),
        Just("(present subject.amr and subject.sub in subject.amr)".to_owned()),
        quantified(),
        timely(),
        delegated(),
    ]
}

/// Conditions over who acts, acted or may act.
fn delegated() -> impl Strategy<Value = String> {
    let path = || {
        select(
            &[
                "actor.sub",
                "actor.client_id",
                "subject.act.sub",
                "subject.act.client_id",
                "subject.may_act.sub",
                "subject.may_act.client_id",
            ][..],
        )
    };
    prop_oneof![
        (path(), select(&["==", "!="][..]), select(&TEXTS[..]))
            .prop_map(|(p, op, t)| format!("{p} ?? \"y\" {op} \"{t}\"")),
        path().prop_map(|p| format!("(present {p} and {p} == client.id)")),
        Just("actor.issuer ?? \"self\" == \"agents\"".to_owned()),
        Just("subject.act.issuer ?? \"unknown\" != unknown".to_owned()),
        Just("subject.chain.depth < 2".to_owned()),
    ]
}

/// An `actor` clause.
fn actor() -> impl Strategy<Value = String> {
    let form = select(
        &[
            "none",
            "client",
            "named from agents, corp",
            "required from agents",
            "required from partner, agents",
            "optional from agents, self",
        ][..],
    );
    (form, prop::bool::weighted(0.2)).prop_map(|(form, ignored)| {
        let ignored = ignored && !form.starts_with("named");
        format!(
            "actor {form}{}",
            if ignored { ", may_act ignored" } else { "" }
        )
    })
}

/// Conditions over members, counts, lists and defs.
fn quantified() -> impl Strategy<Value = String> {
    let scope = || select(&SCOPES[..]);
    let quantifier = || select(&["any", "all", "none"][..]);
    let scopes = || {
        subsequence(&SCOPES[..], 1..=SCOPES.len())
            .prop_shuffle()
            .prop_map(quoted)
    };
    let set = || select(&["scope", "subject.scope ", "request.scope "][..]);
    prop_oneof![
        (
            quantifier(),
            select(&["orders:*", "a*", "**", "*"][..]),
            select(&["like", "not like"][..])
        )
            .prop_map(|(q, g, op)| format!("{q} scope {op} \"{g}\"")),
        (quantifier(), scope(), select(&["==", "!="][..]))
            .prop_map(|(q, c, op)| format!("{q} scope {op} \"{c}\"")),
        (quantifier(), scopes(), select(&["in", "not in"][..]))
            .prop_map(|(q, l, op)| format!("{q} scope {op} {l}")),
        quantifier().prop_map(|q| format!("{q} resource under \"https://api.example.com/v1\"")),
        (quantifier(), select(&["==", "in"][..])).prop_map(|(q, op)| match op {
            "in" => format!("{q} audience in @names"),
            _ => format!("{q} audience == \"x\""),
        }),
        (set(), scopes(), select(&["has any of", "has all of"][..]))
            .prop_map(|(s, l, op)| has(s, &format!("{op} {l}"))),
        (
            select(&["scope", "resource", "audience"][..]),
            select(&["==", "!=", "<", "<=", ">", ">="][..]),
            0..4
        )
            .prop_map(|(s, op, n)| format!("count({s}) {op} {n}")),
        select(&["scope", "resource", "audience"][..]).prop_map(|s| format!("{s} is empty")),
        Just("(present subject.acr and subject.acr in @texts)".to_owned()),
        Just("named".to_owned()),
        Just("not named".to_owned()),
    ]
}

/// Conditions over times and addresses.
fn timely() -> impl Strategy<Value = String> {
    let compared = || select(&["<", "<=", ">", ">="][..]);
    prop_oneof![
        (compared(), select(&["1m", "5m", "1h"][..]))
            .prop_map(|(op, d)| format!("subject.auth_age ?? 2h {op} {d}")),
        (compared(), select(&["1s", "30m", "2h"][..])).prop_map(|(op, d)| format!(
            "(present subject.expires_in and subject.expires_in {op} {d})"
        )),
        compared().prop_map(|op| format!("now {op} 2027-01-15T08:00:00Z")),
        select(&["mon..fri", "sat, sun", "08:00..18:00", "fri 00:00..24:00"][..])
            .prop_map(|w| format!("time in \"Europe/Zurich\" {w}")),
        select(&["in", "not in"][..])
            .prop_map(|op| format!("conn.ip {op} [\"10.0.0.0/8\", \"2001:db8::/32\"]")),
        Just("conn.ip != \"10.0.0.1\"".to_owned()),
    ]
}

/// A test of a set that may be absent is guarded, so that it may stand anywhere.
fn has(set: &str, test: &str) -> String {
    match set.strip_suffix(' ') {
        Some(optional) => format!("(present {optional} and {optional} {test})"),
        None => format!("{set} {test}"),
    }
}

fn quoted(items: Vec<&str>) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", items.join(", "))
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|p| format!("({})", p.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|p| format!("({})", p.join(" or "))),
            inner.prop_map(|c| format!("not ({c})")),
        ]
    })
}

/// A clause, and whether a rule needs one of its kind.
fn to() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("any target".to_owned()),
        Just("no target".to_owned()),
        subsequence(&RESOURCES[..], 1..4)
            .prop_shuffle()
            .prop_map(|r| format!("resource {}", quoted(r))),
        Just("resource under \"https://api.example.com/v1\"".to_owned()),
        Just("resource like \"https://*.example.com/*\"".to_owned()),
        subsequence(&AUDIENCES[..], 1..4)
            .prop_shuffle()
            .prop_map(|a| format!("audience {}", quoted(a))),
        Just("resource under \"https://payments.example.com\", audience like \"x*\"".to_owned()),
    ];
    prop::collection::vec(part, 1..3).prop_map(|parts| format!("to {}", parts.join(" or ")))
}

fn by() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("by any client".to_owned()),
        Just("by client like \"agent-*\"".to_owned()),
        subsequence(&CLIENTS[..], 1..3)
            .prop_shuffle()
            .prop_map(|c| format!("by client {}", quoted(c))),
    ]
}

fn from() -> impl Strategy<Value = String> {
    const FROM: [&str; 7] = [
        "from agents",
        "from corp, partner, ci, agents, self",
        "from corp",
        "from corp as access_token",
        "from self, corp",
        "from partner, self",
        "from ci",
    ];
    select(&FROM[..]).prop_map(str::to_owned)
}

#[derive(Clone, Debug)]
struct Item {
    deny: bool,
    clauses: Vec<String>,
    /// Which of the rules before it a rule overrides, if there is one.
    overrides: Option<usize>,
}

fn rule() -> impl Strategy<Value = Item> {
    let ceiling = subsequence(&SCOPES[..], 0..5)
        .prop_shuffle()
        .prop_map(|s| format!("scope: {}", quoted(s)));
    let lifetime = select(&["lifetime: 1h", "lifetime: at_most 5s", "lifetime: 60s"][..])
        .prop_map(str::to_owned);
    let processor = select(&["mint", "mint", "bare"][..]);
    let when = prop::collection::vec(condition().prop_map(|c| format!("when {c}")), 0..3);
    let overrides = prop::option::weighted(0.3, any::<usize>());
    (
        from(),
        by(),
        to(),
        processor,
        ceiling,
        lifetime,
        when,
        overrides,
        (prop::option::of(actor()), any::<bool>()),
    )
        .prop_map(
            |(from, by, to, processor, ceiling, lifetime, when, overrides, (actor, dropped))| {
                // What `bare` makes cannot say who acts.
                let actor = actor.filter(|_| processor != "bare");
                let client = actor
                    .as_ref()
                    .is_some_and(|a| a.starts_with("actor client"));
                let act = if dropped && client {
                    ", act: dropped"
                } else {
                    ""
                };
                let audience = if to.contains("no target") {
                    ", audience: \"home\""
                } else {
                    ""
                };
                // A constant audience is for one host; what names several goes without `no target`.
                let to = if audience.is_empty() {
                    to
                } else {
                    "to no target or audience \"x\"".to_owned()
                };
                let sub = "sub: \"${subject.issuer}|${subject.sub}\"";
                let mut clauses = vec![
                    from,
                    by,
                    to,
                    format!("use {processor} {{ {sub}, {ceiling}, {lifetime}{audience}{act} }}"),
                ];
                // What a rule takes no token of, it cannot speak of.
                let token = actor.as_ref().is_some_and(|actor| actor.contains("from"));
                let acted = actor.as_ref().is_some_and(|actor| {
                    !actor.starts_with("actor none") || actor.ends_with("ignored")
                });
                let of_actor = |when: &String| when.contains("actor.");
                let of_chain = |when: &String| {
                    ["subject.act", "subject.may_act"]
                        .iter()
                        .any(|p| when.contains(p))
                };
                // Of a chain, a rule says how long it may be, and that by itself.
                let depth = |when: &String| {
                    when.contains("chain.depth") && when != "when subject.chain.depth < 2"
                };
                let when = when.into_iter().filter(|when| !depth(when));
                let when =
                    when.filter(|when| (token || !of_actor(when)) && (acted || !of_chain(when)));
                clauses.extend(actor);
                clauses.extend(when);
                Item {
                    deny: false,
                    clauses,
                    overrides,
                }
            },
        )
}

fn deny() -> impl Strategy<Value = Item> {
    let option = |s: BoxedStrategy<String>| prop::option::weighted(0.3, s);
    let when = prop::collection::vec(condition().prop_map(|c| format!("when {c}")), 1..3);
    let error = select(&["invalid_scope", "invalid_target", "unauthorized_client"][..]);
    (
        option(from().boxed()),
        option(by().boxed()),
        option(to().boxed()),
        option(actor().boxed()),
        when,
        error,
    )
        .prop_map(|(from, by, to, actor, when, error)| {
            let actor = actor.filter(|actor| !actor.ends_with("ignored"));
            let token = actor.as_ref().is_none_or(|actor| actor.contains("from"));
            let when = when
                .into_iter()
                .filter(|when| token || !when.contains("actor."));
            let when: Vec<String> = when.collect();
            let clauses = [from, by, to, actor];
            let mut clauses: Vec<String> = clauses.into_iter().flatten().collect();
            clauses.extend(when);
            clauses.push(format!("error {error}"));
            Item {
                deny: true,
                clauses,
                overrides: None,
            }
        })
}

fn policy() -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec(prop_oneof![3 => rule(), 1 => deny()], 1..7)
}

/// What conditions name; in each file by itself.
const DEFINITIONS: &str = "list @names : string = [\"x\", \"orders\"]\n\
    list @texts : string = [\"x\", \"urn:z\"]\n\
    def named = any audience in @names and not (scope is empty)\n";

fn module(number: usize) -> &'static str {
    if number.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    }
}

/// The rule that an item overrides: one with a smaller number, so that there is no circle.
fn overridden(items: &[(usize, Item)], number: usize, item: &Item) -> Option<usize> {
    let mut before: Vec<usize> = items
        .iter()
        .filter(|(other, item)| *other < number && !item.deny)
        .map(|(other, _)| *other)
        .collect();
    before.sort_unstable();
    before.get(item.overrides? % before.len().max(1)).copied()
}

/// The files of a policy: every item is named by its number; even ones stand in one file, odd in another.
fn text(items: &[(usize, Item)]) -> Vec<(String, String)> {
    let file = |parity: usize, module: &str| {
        let mut text = format!("policy 1 module {module}\n{DEFINITIONS}");
        for (number, item) in items.iter().filter(|(number, _)| number % 2 == parity) {
            let kind = if item.deny { "deny" } else { "rule" };
            let overrides = overridden(items, *number, item)
                .map(|other| format!("\n  overrides {}.i{other}", self::module(other)));
            text.push_str(&format!(
                "{kind} i{number} {{\n  {}{}\n}}\n",
                item.clauses.join("\n  "),
                overrides.unwrap_or_default()
            ));
        }
        (format!("{module}.policy"), text)
    };
    vec![file(0, "even"), file(1, "odd")]
}

/// The same text with the members of every list in the opposite order; no member has a comma in it.
fn lists_reversed(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, (list, after))) = rest
        .split_once('[')
        .and_then(|(before, tail)| Some((before, tail.split_once(']')?)))
    {
        let mut members: Vec<&str> = list.split(", ").collect();
        members.reverse();
        out.push_str(&format!("{before}[{}]", members.join(", ")));
        rest = after;
    }
    out + rest
}

fn set_of(files: &[(String, String)]) -> PolicySet<ProcessorId> {
    match load(files) {
        (Ok((set, _)), _) => set,
        (Err(problems), sources) => {
            let shown = problems.render(&sources, cambist::diagnostic::Style::Plain);
            panic!("{shown}\n{files:?}")
        }
    }
}

fn request() -> impl Strategy<Value = Map<String, Value>> {
    let options = (
        prop::option::of(subsequence(&SCOPES[..], 0..4)),
        prop::option::of(subsequence(&SCOPES[..], 0..5)),
        prop::option::of(select(&TEXTS[..])),
        prop::option::of(select(&TEXTS[..])),
        prop::option::of(subsequence(&TEXTS[..], 0..3)),
        prop::option::weighted(0.1, select(&["jwt", "access_token", "saml2"][..])),
        prop::option::of(prop_oneof![0_i64..8000, any::<i64>()]),
        prop::option::of(select(
            &[
                "10.0.0.1",
                "10.9.9.9",
                "192.0.2.7",
                "2001:db8::1",
                "::ffff:10.0.0.1",
            ][..],
        )),
        prop::option::of(prop_oneof![
            realm::NOW - 700_000..realm::NOW + 700_000,
            0_i64..253_402_300_800
        ]),
    );
    let who = || {
        (
            prop::option::of(select(&["corp", "agents", "self", "unknown"][..])),
            prop::option::of(select(&TEXTS[..])),
            select(&TEXTS[..]),
        )
            .prop_map(|(issuer, sub, client_id)| {
                let mut who = Map::new();
                who.extend(issuer.map(|issuer| ("issuer".to_owned(), json!(issuer))));
                match sub {
                    Some(sub) => who.insert("sub".to_owned(), json!(sub)),
                    None => who.insert("client_id".to_owned(), json!(client_id)),
                };
                who
            })
    };
    let delegation = (
        prop::option::weighted(
            0.4,
            (
                select(&["corp", "agents", "partner", "self"][..]),
                select(&TEXTS[..]),
                prop::option::of(select(&TEXTS[..])),
                prop_oneof![4 => 0_i64..4000, 1 => any::<i64>()],
            ),
        ),
        prop_oneof![2 => Just(Vec::new()), 2 => prop::collection::vec(who(), 1..9)],
        prop::option::weighted(0.4, who()),
    );
    (
        select(&CLIENTS[..]),
        select(&["corp", "self", "partner", "ci", "agents"][..]),
        select(&TEXTS[..]),
        subsequence(&RESOURCES[..], 0..3),
        subsequence(&AUDIENCES[..], 0..3),
        prop_oneof![4 => 0_i64..4000, 1 => any::<i64>()],
        options,
        delegation,
    )
        .prop_map(
            |(
                client,
                issuer,
                sub,
                resources,
                audiences,
                exp,
                (requested, scope, acr, issued_to, amr, wanted, age, ip, now),
                (actor, chain, may_act),
            )| {
                let mut facts = Map::new();
                let mut put = |path: &str, value: Value| drop(facts.insert(path.to_owned(), value));
                put("client.id", json!(client));
                put("subject.issuer", json!(issuer));
                put("subject.sub", json!(sub));
                put("resource", json!(resources));
                put("audience", json!(audiences));
                put("subject.exp", json!(realm::NOW.saturating_add(exp)));
                for (path, value) in [
                    ("request.scope", requested.map(|s| json!(s))),
                    (
                        "subject.scope",
                        scope.filter(|_| issuer != "ci").map(|s| json!(s)),
                    ),
                    ("subject.acr", acr.map(|s| json!(s))),
                    ("subject.client_id", issued_to.map(|s| json!(s))),
                    ("subject.amr", amr.map(|s| json!(s))),
                    ("request.requested_token_type", wanted.map(|s| json!(s))),
                    ("subject.auth_age", age.map(|s| json!(s))),
                    ("conn.ip", ip.map(|s| json!(s))),
                    ("now", now.map(|s| json!(s))),
                ] {
                    if let Some(value) = value {
                        put(path, value);
                    }
                }
                if let Some((issuer, sub, client_id, exp)) = actor {
                    put("actor.issuer", json!(issuer));
                    put("actor.sub", json!(sub));
                    put("actor.exp", json!(realm::NOW.saturating_add(exp)));
                    if let Some(client_id) = client_id {
                        put("actor.client_id", json!(client_id));
                    }
                }
                if !chain.is_empty() {
                    put("subject.chain", json!(chain));
                }
                if let Some(may_act) = may_act {
                    put("subject.may_act", json!(may_act));
                }
                facts
            },
        )
}

fn context(facts: &Map<String, Value>) -> ExchangeContext {
    facts::assemble(
        facts,
        &realm::schema(),
        cambist::oauth::NumericDate(realm::NOW),
    )
    .unwrap()
}

fn numbered(items: Vec<Item>) -> Vec<(usize, Item)> {
    items.into_iter().enumerate().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The order of files, rules, clauses and list members never changes a decision.
    #[test]
    fn order_means_nothing(
        (items, shuffled) in policy().prop_map(numbered).prop_flat_map(|items| (Just(items.clone()), Just(items).prop_shuffle())),
        seed in any::<usize>(),
        requests in prop::collection::vec(request(), 8),
    ) {
        let one = set_of(&text(&items));
        let mut shuffled = shuffled;
        for (_, item) in &mut shuffled {
            let turn = seed % item.clauses.len();
            item.clauses.rotate_left(turn);
            item.clauses.iter_mut().for_each(|clause| *clause = lists_reversed(clause));
        }
        let mut files = text(&shuffled);
        files.reverse();
        let other = set_of(&files);
        for facts in &requests {
            let context = context(facts);
            prop_assert_eq!(decided(&one, &context), decided(&other, &context));
        }
    }

    /// What a rule or a deny may ask, a proof may ask; and it decides nothing.
    #[test]
    fn proofs_decide_nothing(
        items in policy(),
        conditions in prop::collection::vec(condition(), 1..4),
        requests in prop::collection::vec(request(), 4),
    ) {
        let files = text(&numbered(items));
        let mut proved = files.clone();
        for (_, text) in &mut proved {
            let claims = conditions.iter().enumerate().map(|(number, condition)| match number % 3 {
                0 => format!("never use when {condition}"),
                1 => format!("always use mint when {condition}"),
                _ => format!("never issue scope in [\"a\"] when {condition}"),
            });
            let claims: Vec<String> = claims.collect();
            text.push_str(&format!("prove \"x\" {{\n{}\n}}\n", claims.join("\n")));
        }
        let (one, other) = (set_of(&files), set_of(&proved));
        prop_assert_eq!(other.proofs().len(), proved.len());
        prop_assert!(other.proofs().iter().all(|proof| proof.claims.len() == conditions.len()));
        for facts in &requests {
            let context = context(facts);
            prop_assert_eq!(decided(&one, &context), decided(&other, &context));
            prop_assert_eq!(one.facts(&context), other.facts(&context));
        }
    }

    /// A test that is written for a request, whatever it is, is read, passes, and is left alone by `fmt`.
    #[test]
    fn generated_tests_pass(items in policy(), requests in prop::collection::vec(request(), 8)) {
        let files = text(&numbered(items));
        let set = set_of(&files);
        let rule = RuleId { module: "even".into(), name: "i0".into() };
        let asked = |facts: &Map<String, Value>| Representative {
            about: "x".to_owned(),
            rule: rule.clone(),
            facts: facts.clone(),
        };
        let asked: Vec<Representative> = requests.iter().map(asked).collect();
        let generated = blocks(&set, &realm::schema(), &asked, ToString::to_string);
        prop_assert!(generated.tests.len() + generated.left_out.len() <= asked.len());
        super::generate::pass(&files, &set, generated);
    }

    /// The same for requests that are found rule by rule.
    #[test]
    fn generated_tests_of_rules_pass(items in policy()) {
        let files = text(&numbered(items));
        let set = set_of(&files);
        let (found, missing) = representatives(&set, &realm::schema());
        let (rules, denies) = set.counts();
        let selected: BTreeSet<&RuleId> = found.iter().map(|one| &one.rule).collect();
        prop_assert_eq!(selected.len() + missing.len(), rules + denies);
        let generated = blocks(&set, &realm::schema(), &found, ToString::to_string);
        super::generate::pass(&files, &set, generated);
    }

    /// What rules are called never changes what is issued.
    #[test]
    fn names_mean_nothing(items in policy(), requests in prop::collection::vec(request(), 8)) {
        let one = text(&numbered(items));
        // Any name still means the same rule; their order is the opposite.
        let renamed: Vec<(String, String)> = one
            .iter()
            .map(|(name, text)| {
                let mut text = text.clone();
                for number in 0..10 {
                    let (from, to) = (format!("i{number}"), format!("r{}", 9 - number));
                    text = text.replace(&from, &to);
                }
                (name.clone(), text)
            })
            .collect();
        let (one, other) = (set_of(&one), set_of(&renamed));
        for facts in &requests {
            let context = context(facts);
            match (one.decide(&context), other.decide(&context)) {
                (Decision::Permit(one, a), Decision::Permit(other, b)) => {
                    prop_assert_eq!((one, a.allowance(), a.parameters()), (other, b.allowance(), b.parameters()));
                }
                (Decision::Deny(one), Decision::Deny(other)) => {
                    // Of several denies, the least name says the code.
                    prop_assert_eq!(one.reason.name(), other.reason.name());
                }
                (one, other) => prop_assert!(false, "{one:?} {other:?}"),
            }
        }
    }

    /// Decisions are total, always the same, explained by the trace, and can be made again from their record.
    #[test]
    fn decisions_are_total_deterministic_and_traced(items in policy(), requests in prop::collection::vec(request(), 8)) {
        let set = set_of(&text(&numbered(items)));
        for facts in &requests {
            let context = context(facts);
            let first = decided(&set, &context);
            prop_assert_eq!(&first, &decided(&set, &context));
            trace_agrees(&set, &context);
            let recorded = self::context(&set.facts(&context));
            prop_assert_eq!(&first, &decided(&set, &recorded));
        }
    }

    /// What is permitted lies within what was asked for, what the subject has and what the rule allows.
    #[test]
    fn permits_are_bounded(items in policy(), requests in prop::collection::vec(request(), 16)) {
        let set = set_of(&text(&numbered(items)));
        let registry = realm::schema().resources;
        for facts in &requests {
            let context = context(facts);
            let Decision::Permit(_, permit) = set.decide(&context) else { continue };
            let rule = set.rules().iter().find(|rule| rule.id == *permit.rule()).unwrap();
            let allowed = permit.allowance();
            prop_assert!(allowed.scope.is_subset(&context.scope));
            if context.subject.has_scope && !rule.outcome.beyond_subject {
                let subject = context.subject.scope.clone().unwrap_or_default();
                prop_assert!(allowed.scope.is_subset(&subject));
            }
            let none = Scopes::default();
            prop_assert!(rule.outcome.scope_ceiling.as_ref().is_none_or(|ceiling| allowed.scope.is_subset(ceiling)));
            prop_assert!(rule.outcome.carries_scope || allowed.scope == none);
            prop_assert!(allowed.expires_at <= context.subject.expires_at);
            prop_assert!(context.actor.as_ref().is_none_or(|actor| allowed.expires_at <= actor.expires_at));
            delegation_is_kept(rule, &context, allowed)?;
            prop_assert!(allowed.expires_at <= context.now.plus(rule.outcome.lifetime));
            prop_assert!(allowed.expires_at.since(context.now) >= 1);
            let targets = &context.request.targets;
            let mut possible: BTreeSet<String> = targets.audiences.iter().map(|a| a.to_string()).collect();
            for resource in &targets.resources {
                possible.insert(resource.raw().to_owned());
                possible.extend(registry.find(resource).map(|entry| entry.audience.as_str().to_owned()));
            }
            possible.extend(rule.outcome.audience.iter().flatten().map(|a| a.to_string()));
            prop_assert!(!allowed.audience.is_empty());
            prop_assert!(allowed.audience.iter().all(|a| possible.contains(&**a)));
        }
    }

    /// No parameter that is left out loosens what the subject's `act` and `may_act` ask: whatever is
    /// permitted of the rest still keeps them.
    #[test]
    fn leaving_a_parameter_out_loosens_no_delegation(items in policy(), requests in prop::collection::vec(request(), 16)) {
        let set = set_of(&text(&numbered(items)));
        for facts in &requests {
            let whole = context(facts);
            for left_out in ["actor.", "request.scope", "resource", "audience", "request.requested_token_type"] {
                let mut rest = facts.clone();
                rest.retain(|path, _| !path.starts_with(left_out));
                let rest = context(&rest);
                prop_assert_eq!(&whole.subject.chain, &rest.subject.chain);
                let Decision::Permit(_, permit) = set.decide(&rest) else { continue };
                let rule = set.rules().iter().find(|rule| rule.id == *permit.rule()).unwrap();
                delegation_is_kept(rule, &rest, permit.allowance())?;
            }
        }
    }

    /// A request that is denied stays denied when it asks for more, unless its deny was warned of.
    #[test]
    fn denies_are_monotone(items in prop::collection::vec(deny(), 1..4), requests in prop::collection::vec((request(), request()), 16)) {
        let unwarned: Vec<Item> = items
            .into_iter()
            .filter(|item| {
                let files = text(&[(0, item.clone())]);
                let (result, sources) = load(&files);
                let warnings = result.unwrap().1;
                !warnings.render(&sources, cambist::diagnostic::Style::Plain).contains("E0330")
            })
            .collect();
        let set = set_of(&text(&numbered(unwarned)));
        for (less, more) in requests {
            let mut grown = less.clone();
            for path in ["resource", "audience"] {
                let both = [&less, &more].into_iter().flat_map(|f| f[path].as_array().unwrap().clone());
                grown.insert(path.to_owned(), Value::Array(both.collect()));
            }
            if less.keys().all(|path| !path.starts_with("actor.")) {
                let actor = more.iter().filter(|(path, _)| path.starts_with("actor."));
                grown.extend(actor.map(|(path, value)| (path.clone(), value.clone())));
            }
            // One more actor, the outermost from now on.
            if let Some(Value::Array(more)) = more.get("subject.chain")
                && let Some(hop) = more.first()
            {
                let chain = less.get("subject.chain").and_then(Value::as_array);
                let mut chain = chain.cloned().unwrap_or_default();
                chain.insert(0, hop.clone());
                grown.insert("subject.chain".to_owned(), chain.into());
            }
            let less = context(&less);
            if let Some(asked) = more.get("request.scope") {
                let mut scope: Vec<Value> = asked.as_array().unwrap().clone();
                scope.extend(less.scope.iter().map(Value::from));
                grown.insert("request.scope".to_owned(), Value::Array(scope));
            }
            let grown = context(&grown);
            let denied = |context: &ExchangeContext| {
                matches!(set.decide(context), Decision::Deny(denial) if matches!(denial.reason, Reason::DeniedBy(_)))
            };
            prop_assert!(!denied(&less) || denied(&grown));
        }
    }
}

/// What a permit owes the subject's own `act` and `may_act`, whatever the request said.
fn delegation_is_kept(
    rule: &UseRule<ProcessorId>,
    context: &ExchangeContext,
    allowed: &Allowance,
) -> Result<(), TestCaseError> {
    let header = &rule.headers.actor.as_ref().unwrap().value;
    let chain = &context.subject.chain;
    // Those who acted before are all there, in their order, and at most one has come to them.
    prop_assert!(allowed.act.ends_with(chain));
    prop_assert!(allowed.act.len() <= chain.len() + 1);
    let appended = rule.outcome.acts;
    prop_assert!(appended || allowed.act == *chain);
    prop_assert!(!appended || allowed.act.first() == Some(&context.acting_hop()));
    // Who brings a token of its own to act with is always written down.
    prop_assert!(context.actor.is_none() || appended);
    match header.form {
        ActorForm::None => prop_assert!(chain.is_empty() && !appended),
        ActorForm::Client => prop_assert!(context.actor.is_none()),
        ActorForm::Named(_) => prop_assert_eq!(context.may_act_names(), Some(true)),
        ActorForm::Required(_) => prop_assert!(context.actor.is_some()),
        ActorForm::Optional(_) => {}
    }
    // A leave to act binds whoever acts; where nobody takes it up, it is carried on.
    prop_assert!(header.may_act_ignored || context.may_act_names() != Some(false));
    match &context.subject.may_act {
        None => prop_assert_eq!(&allowed.may_act, &None),
        Some(_) if appended => prop_assert_eq!(&allowed.may_act, &None),
        said => prop_assert_eq!(&allowed.may_act, said),
    }
    Ok(())
}

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
            .filter(move |r| r.matched && !r.overridden && r.deny == deny);
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
            Reason::NothingGranted
            | Reason::SubjectExpires
            | Reason::ActorExpires
            | Reason::ChainTooLong
            | Reason::SubjectTaken
            | Reason::Template(_) => {
                assert!(denies.is_empty());
                assert_eq!(denial.rule.map(|(id, _)| id).as_ref(), rules.first());
            }
        },
    }
    let missed = trace.rules.iter().any(|rule| !rule.deny) && rules.is_empty();
    assert_eq!(trace.nearest_miss().is_some(), missed);
}
