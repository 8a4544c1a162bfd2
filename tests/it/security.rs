//! What went wrong in other systems, tried on this one, and the rules that keep it from happening here.
//!
//! [`INCIDENTS`], [`LIBRARIES`] and [`RULES`] are the list. A test says in its name what it shows: `a4_a21_…`
//! replays the incidents A4 and A21, `rules_30_to_33_…` is about four rules. Many stand where the thing is
//! tested anyway (`exchange/`, `jose/`, `keys/`, `wire/`); what belongs to no such place is in here. Each
//! attack has a control beside it: the same request without the attack is answered.

mod clients;
mod requests;
mod supply;
mod tenants;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Token servers.
const INCIDENTS: [&str; 29] = [
    "Keycloak #52691: without `actor_token`, a clean token for a delegated one",
    "CVE-2026-9704: a long `subject_token` dropped, and another grant answered",
    "CVE-2022-1245: any client names any client as audience",
    "CVE-2026-56668: scopes beyond the subject's, tokens of other clients",
    "GHSA-7qjx-gp9h-65qj: a second entry point without the first one's check",
    "Keycloak #48104: a provider that skips the check of permissions",
    "Keycloak #50963: a bound token in, a bearer token out",
    "CVE-2026-18214: a check made for ID tokens and not for access tokens",
    "CVE-2026-1609, CVE-2026-1486: disabled users and issuers accepted",
    "CVE-2026-93999: a token for an audience disabled meanwhile",
    "CVE-2026-11800: algorithm confusion",
    "CVE-2026-16093: an unsigned, unused assertion satisfies a policy",
    "Keycloak #51718: a client writes the attribute that allows it",
    "GHSA-7fpj-9hr8-28vh: a logout token exchanged",
    "CVE-2026-4282: one store without namespaces for all that is used once",
    "CVE-2026-9802: a restart forgets what was used",
    "CVE-2026-37979: introspection answers whom the token is not for",
    "Keycloak #53029: `act` missing from introspection",
    "Keycloak #46718: an exception instead of a decision",
    "CVE-2026-118669: `client_id` of another client decides",
    "CVE-2024-52287: scopes beyond the registration",
    "CVE-2026-70482: tokens issued to any client accepted",
    "CVE-2026-50627, CVE-2024-5798: `aud` unchecked or by substring",
    "CVE-2026-41577: SAML conditions unchecked",
    "CVE-2020-5300, CVE-2020-15222: `jti` of an assertion used twice",
    "CVE-2026-115362: expiry by a sweeper, not at use",
    "shared issuers: subjects by pattern, recycled and colliding names",
    "CVE-2026-46389: client authentication bypassed",
    "octo-sts: a token chooses what is fetched",
];

/// Libraries that read tokens.
const LIBRARIES: [&str; 9] = [
    "CVE-2026-25537: a claim of the wrong type is an absent one",
    "CVE-2025-59420 and others: `crit` ignored",
    "CVE-2025-30144: `iss` as an array",
    "CVE-2020-26160: `aud: []`",
    "CVE-2023-51774: signed and encrypted confused",
    "times below zero and beyond all clocks",
    "CVE-2022-21449, CVE-2018-0114: psychic signatures, a key in the header",
    "CVE-2025-53864: deep JSON",
    "RUSTSEC-2023-0071: the `rsa` crate",
];

/// What must hold.
const RULES: [&str; 38] = [
    "only listed algorithms; one key, one algorithm",
    "`none` and symmetric algorithms never",
    "the whole token or nothing; encrypted and nested ones refused",
    "keys are bound to their issuer",
    "`iss`: a string, byte-equal to a configured issuer",
    "`aud`: what the issuer's `audience` asks, byte-equal",
    "`exp`: a number in the future",
    "`nbf`, `iat`: numbers, not in the future",
    "`sub`: a string that is not empty",
    "`crit` that is unknown or malformed, `b64: false`",
    "members twice, bytes after the end",
    "UTF-8, compact serialization, its letters only",
    "`kid` is opaque; `jku`, `x5u`, `jwk`, `x5c` mean nothing",
    "each kind of token for itself alone",
    "verified as the declared type",
    "POST of a form in UTF-8; nothing from the query",
    "required parameters; `actor_token` with its type",
    "empty is absent, unknown is ignored, repeats are refused",
    "`resource`: absolute, no fragment, canonical, by segment",
    "scope by its syntax and case; all scopes at all targets",
    "one method of client authentication; form-encoded Basic",
    "`client_id` agrees with who authenticated",
    "assertions: `iss` = `sub` = client, `aud` us alone",
    "assertions: `exp`, registered key, `jti` once",
    "client certificates: none from a header",
    "DPoP: refused by name, never ignored",
    "a success has what RFC 8693 §2.2.1 asks and is not stored",
    "the code of each error",
    "401 with WWW-Authenticate; descriptions of allowed letters",
    "`act` is the current actor, earlier ones within",
    "only the current actor decides",
    "`may_act` binds whoever acts",
    "`act` survives, and chains end",
    "both tokens are verified in full",
    "for one audience, the least scope, never longer than its subject",
    "RFC 9068: header and claims of what is issued",
    "bound tokens are refused",
    "clients and users do not collide",
];

/// Who adds an incident or a rule adds a test, and who renames a test keeps its letters.
#[test]
fn every_incident_and_every_rule_has_a_test_named_after_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Vec::new();
    for directory in ["src", "tests/it"] {
        collect(&root.join(directory), &mut tests);
    }
    let mut shown: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for test in &tests {
        for item in items(test) {
            shown.entry(item).or_default().push(test);
        }
    }
    let numbered = |letter: &str, list: &[&'static str]| -> Vec<(String, &'static str)> {
        let number =
            |(index, title): (usize, &&'static str)| (format!("{letter}{}", index + 1), *title);
        list.iter().enumerate().map(number).collect()
    };
    let all = [
        numbered("A", &INCIDENTS),
        numbered("B", &LIBRARIES),
        numbered("rule ", &RULES),
    ]
    .concat();
    for (item, title) in &all {
        println!(
            "{item} ({title}): {}",
            shown
                .get(item)
                .map_or("-".to_owned(), |tests| tests.join(", "))
        );
    }
    let missing: Vec<String> = all
        .iter()
        .filter(|(item, _)| !shown.contains_key(item))
        .map(|(item, title)| format!("{item}: {title}"))
        .collect();
    assert!(missing.is_empty(), "without a test: {missing:#?}");
    let known = |item: &&String| all.iter().any(|(name, _)| name == *item);
    let unknown: Vec<_> = shown.keys().filter(|item| !known(item)).collect();
    assert!(
        unknown.is_empty(),
        "tests of what is not on the list: {unknown:?}"
    );
    // The reader below really read them.
    let distinct: BTreeSet<&String> = tests.iter().collect();
    assert!(distinct.len() > 300, "only {} tests found", distinct.len());
}

#[test]
fn names_of_tests_are_understood() {
    for (name, want) in [
        ("a4_a21_scope", &["A4", "A21"][..]),
        (
            "a1_rules_30_to_33_the_matrix",
            &["A1", "rule 30", "rule 31", "rule 32", "rule 33"],
        ),
        ("rule_1_one_key_2", &["rule 1"]),
        (
            "b4_rules_6_9_and_35_aud",
            &["B4", "rule 6", "rule 9", "rule 35"],
        ),
        ("a_good_token", &[]),
        ("rules_of_the_house", &[]),
        ("attack_a1", &[]),
    ] {
        assert_eq!(items(name), want, "{name}");
    }
}

/// What a test shows, by its name.
fn items(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = name.split('_').peekable();
    while let Some(word) = words.next() {
        let (letter, number) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        match (letter, number.parse::<usize>()) {
            ("a" | "b", Ok(number)) => found.push(format!("{}{number}", letter.to_uppercase())),
            _ if matches!(word, "rule" | "rules") => {
                let mut last: Option<usize> = None;
                while let Some(word) = words
                    .next_if(|word| matches!(*word, "to" | "and") || word.parse::<usize>().is_ok())
                {
                    let until = match (word, last) {
                        ("to", Some(from)) => words
                            .next()
                            .and_then(|word| word.parse().ok())
                            .map(|to: usize| (from + 1, to)),
                        (word, _) => word.parse().ok().map(|number: usize| (number, number)),
                    };
                    let Some((from, to)) = until else { continue };
                    found.extend((from..=to).map(|number| format!("rule {number}")));
                    last = Some(to);
                }
            }
            _ => break,
        }
    }
    found
}

/// The names of all functions that are run as tests (the gate lets none be ignored).
fn collect(dir: &Path, tests: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut awaited = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    awaited = true;
                } else if awaited && !line.starts_with("#[") && !line.starts_with("//") {
                    let name = line.trim_start_matches("async ").strip_prefix("fn ");
                    tests.extend(name.and_then(|name| Some(name.split_once('(')?.0.to_owned())));
                    awaited = false;
                }
            }
        }
    }
}

/// The findings of the usual realm with a change that must not load.
fn load_error(change: impl Fn(String) -> String) -> String {
    load_error_with(change, crate::support::RULES)
}

/// The same with other rules.
fn load_error_with(change: impl Fn(String) -> String, rules: &str) -> String {
    match load(change, rules) {
        Ok(()) => panic!("it loads"),
        Err(findings) => findings,
    }
}

/// Loads the usual realm with a change and some rules; the codes and messages of what is wrong with it.
fn load(change: impl Fn(String) -> String, rules: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let keys = crate::support::Idp::new("x", cambist::jose::Algorithm::ES256).jwks();
    let yaml = change(crate::support::REALM.replace("OP", "127.0.0.1:1"));
    for (name, text) in [
        ("cambist.yaml", yaml.as_str()),
        ("main.policy", rules),
        ("idp.json", &keys),
        ("partner.json", &keys),
        ("op.secret", crate::exchange::OP_SECRET),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let services = cambist::services::Services::new(cambist::clock::Clock::system()).unwrap();
    match crate::support::whole(dir.path(), &services) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{:?}", error.diagnostics)),
    }
}
