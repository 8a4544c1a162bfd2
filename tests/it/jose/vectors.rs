//! JSONTestSuite and Wycheproof. Their data is in `tests/data`, with origin and licence.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cambist::jose::{Compact, JwksError, JwsError, KeySet, Shape, parse_value, shape};
use serde_json::{Value, json};

#[test]
fn json_test_suite() {
    // Policy beyond RFC 8259: a member name occurs once (RFC 7515 §4, RFC 7519 §4).
    let refused_by_policy = [
        "y_object_duplicated_key.json",
        "y_object_duplicated_key_and_value.json",
    ];
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(data("json-parsing")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let accepted = parse_value(&fs::read(&path).unwrap()).is_ok();
        let expected = match name.as_bytes()[0] {
            b'y' => !refused_by_policy.contains(&name),
            b'n' => false,
            _ => accepted,
        };
        assert_eq!(accepted, expected, "{name}");
        *counts.entry((name.as_bytes()[0], accepted)).or_insert(0) += 1;
    }
    println!("JSONTestSuite: {counts:?}");
    assert_eq!(counts[&(b'y', true)], 93);
    assert_eq!(counts[&(b'y', false)], 2);
    assert_eq!(counts[&(b'n', false)], 188);
}

/// What became of the vectors of one file.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    accepted: usize,
    refused: usize,
    /// Valid tokens refused on purpose, each listed with its reason.
    refused_by_policy: usize,
    /// Groups of symmetric keys: HMAC is not spoken, so nothing of them can be accepted.
    symmetric: usize,
    /// Encrypted tokens: they are not spoken either, valid or not.
    encrypted: usize,
}

#[test]
fn wycheproof_json_web_signature() {
    let mut by_policy = BTreeMap::new();
    for id in [259, 264, 268, 272, 320, 325] {
        by_policy.insert(id, "part_empty"); // a JWT is a claims set, never empty (RFC 7519 §3)
    }
    for id in [346, 350] {
        by_policy.insert(id, "alg_not_of_key"); // key bound to PS256, token PS384 (RFC 8725 §3.1)
    }
    for id in [347, 351] {
        by_policy.insert(id, "crv_unsupported"); // P-521, under the misspelt name ES521
    }
    let counts = run("json_web_signature_test.json", &by_policy, &BTreeMap::new());
    assert_eq!(
        counts,
        Counts {
            accepted: 26,
            refused: 325,
            refused_by_policy: 10,
            symmetric: 40,
            ..Counts::default()
        }
    );
}

#[test]
fn wycheproof_json_web_key() {
    let reasons = BTreeMap::from([
        (6, "use_not_sig"),
        (7, "modulus_roca"),
        (8, "modulus_too_small"),
        (9, "exponent_unsafe"),
        (19, "alg_unsupported"),
        (20, "alg_unsupported"),
        (21, "use_not_sig"),
        (22, "point_invalid"),
        (23, "length_wrong"),
        (24, "member_missing"),
    ]);
    let counts = run("json_web_key_test.json", &BTreeMap::new(), &reasons);
    assert_eq!(
        counts,
        Counts {
            accepted: 1,
            refused: 10,
            symmetric: 15,
            ..Counts::default()
        }
    );
}

#[test]
fn wycheproof_json_web_crypto() {
    let reasons = BTreeMap::from([(46, "modulus_roca")]);
    let counts = run("json_web_crypto_test.json", &BTreeMap::new(), &reasons);
    assert_eq!(
        counts,
        Counts {
            accepted: 2,
            refused: 27,
            symmetric: 20,
            encrypted: 34,
            ..Counts::default()
        }
    );
}

/// B5: not one of a hundred and forty encrypted tokens is read, and all that have the parts of one are
/// known as what they are, so that nobody is asked about them.
#[test]
fn b5_wycheproof_json_web_encryption() {
    let counts = run(
        "json_web_encryption_test.json",
        &BTreeMap::new(),
        &BTreeMap::new(),
    );
    assert_eq!(
        counts,
        Counts {
            encrypted: 139,
            ..Counts::default()
        }
    );
}

/// Runs a file: an invalid token is never accepted, a valid one always but for `by_policy`. Prints what
/// became of them, and why.
fn run(file: &str, by_policy: &BTreeMap<u64, &str>, reasons: &BTreeMap<u64, &str>) -> Counts {
    let vectors = parse_value(&fs::read(data("wycheproof").join(file)).unwrap()).unwrap();
    let mut counts = Counts::default();
    let mut why: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for group in vectors["testGroups"].as_array().unwrap() {
        let symmetric = group.get("public").is_none();
        let keys = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let what = format!("{file} {id} {} {}", group["comment"], test["comment"]);
            let expected = test["result"].as_str().unwrap();
            if let Some(token) = test.get("jwe") {
                let token = token
                    .as_str()
                    .map_or_else(|| token.to_string(), str::to_owned);
                let token = token.as_str();
                let error = Compact::parse(token).expect_err(&what).reason();
                if token.split('.').count() == 5 && !token.starts_with('.') {
                    assert_eq!(shape(token), Shape::Jwe, "{what}");
                    assert_eq!(error, "jwe_not_jws", "{what}");
                }
                counts.encrypted += 1;
                *why.entry((expected, error)).or_default() += 1;
                continue;
            }
            // Some are in the JSON serialization, which is refused as what it is not.
            let token = &test["jws"];
            let token = token
                .as_str()
                .map_or_else(|| token.to_string(), str::to_owned);
            let result = verify(keys, &token);
            if let Some(reason) = reasons.get(&id) {
                assert_eq!(result, Err(*reason), "{what}");
            }
            *why.entry((expected, result.err().unwrap_or("accepted")))
                .or_default() += 1;
            match (symmetric, expected, result) {
                (true, _, Err(_)) => counts.symmetric += 1,
                (false, "valid", Ok(())) => counts.accepted += 1,
                (false, "invalid", Err(_)) => counts.refused += 1,
                (false, "valid", Err(reason)) if by_policy.get(&id) == Some(&reason) => {
                    counts.refused_by_policy += 1;
                }
                (_, expected, got) => panic!("{what}: {expected} gave {got:?}"),
            }
        }
    }
    println!("{file}: {counts:?}");
    println!(
        "  not applicable: {} symmetric, {} encrypted; neither is spoken here",
        counts.symmetric, counts.encrypted
    );
    for ((expected, reason), count) in why {
        println!("  {count:3} {expected}: {reason}");
    }
    counts
}

/// The payloads of the vectors are not JSON objects. That is noticed only after the signature has
/// been found right, so it counts as accepted here.
fn verify(keys: &Value, token: &str) -> Result<(), &'static str> {
    let jwks = match keys.get("keys") {
        Some(_) => keys.clone(),
        None => json!({ "keys": [keys] }),
    };
    let (keys, _) = KeySet::from_jwks_value(&jwks, &[]).map_err(|error| match error {
        JwksError::NoUsableKey(skipped) => skipped[0].reason,
        other => panic!("{other}"),
    })?;
    match Compact::parse(token).and_then(|token| token.verify(&keys)) {
        Ok(_) | Err(JwsError::Payload(_)) => Ok(()),
        Err(error) => Err(error.reason()),
    }
}

fn data(directory: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(directory)
}
