//! What broke other JOSE libraries, tried on this one. Each test is named after its incident (`security.rs`
//! has the list).

use std::sync::Arc;

use aws_lc_rs::hmac;
use cambist::jose::{
    Algorithm, Compact, JsonError, JwsError, KeySet, Object, Shape, SigningKey, SigningKeys,
    base64url, shape,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// An issuer with one key.
struct Issuer {
    key: Arc<SigningKey>,
    keys: KeySet,
}

impl Issuer {
    fn new(algorithm: Algorithm) -> Self {
        let key = Arc::new(SigningKey::generate(algorithm).unwrap());
        let keys = SigningKeys::new(vec![key.clone()]).unwrap().verifier();
        Self { key, keys }
    }

    fn token(&self) -> String {
        let claims = json!({"iss": "https://idp.example", "sub": "alice", "aud": "sts"});
        self.key.compact("at+jwt", &claims).unwrap()
    }

    /// A token with any header and payload, rightly signed.
    fn signed(&self, header: &Value, payload: impl AsRef<[u8]>) -> String {
        assemble(header, payload, |input| self.key.sign(input).unwrap())
    }

    fn reason(&self, token: &str) -> &'static str {
        verify(token, &self.keys).unwrap_err().reason()
    }
}

fn assemble(header: &Value, payload: impl AsRef<[u8]>, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.to_string()),
        base64url::encode(payload)
    );
    let signature = sign(input.as_bytes());
    format!("{input}.{}", base64url::encode(signature))
}

fn verify(token: &str, keys: &KeySet) -> Result<Object, JwsError> {
    Compact::parse(token)?.verify(keys)
}

#[test]
fn a11_rule_2_alg_none_in_all_its_capitals() {
    let issuer = Issuer::new(Algorithm::ES256);
    for mask in 0..16_u32 {
        let alg: String = "none"
            .chars()
            .enumerate()
            .map(|(place, letter)| match mask >> place & 1 {
                1 => letter.to_ascii_uppercase(),
                _ => letter,
            })
            .collect();
        let header = json!({"alg": alg, "kid": issuer.key.kid()});
        for signature in [vec![], vec![0; 64]] {
            let token = assemble(&header, "{}", |_| signature.clone());
            assert_eq!(issuer.reason(&token), "alg_none", "{alg}");
        }
    }
}

#[test]
fn a11_rule_2_hs256_with_the_public_key_as_secret() {
    let issuer = Issuer::new(Algorithm::RS256);
    let jwk = issuer.key.public_jwk();
    let modulus = base64url::decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [jwk.to_string().into_bytes(), modulus] {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let header = json!({"alg": "HS256", "kid": issuer.key.kid()});
        let token = assemble(&header, "{}", |input| {
            hmac::sign(&secret, input).as_ref().to_vec()
        });
        assert_eq!(issuer.reason(&token), "alg_symmetric");
    }
}

#[test]
fn b2_rule_10_crit_ignored_as_in_cve_2025_59420() {
    let issuer = Issuer::new(Algorithm::ES256);
    for crit in [json!(["b64"]), json!([]), json!("exp"), json!(null)] {
        let header = json!({"alg": "ES256", "kid": issuer.key.kid(), "crit": crit});
        assert_eq!(issuer.reason(&issuer.signed(&header, "{}")), "crit_unknown");
    }
    let header = json!({"alg": "ES256", "kid": issuer.key.kid(), "b64": false});
    assert_eq!(
        issuer.reason(&issuer.signed(&header, "{}")),
        "b64_unsupported"
    );
}

#[test]
fn b7_rule_13_key_in_the_header_as_in_cve_2018_0114() {
    let issuer = Issuer::new(Algorithm::ES256);
    let attacker = Issuer::new(Algorithm::ES256);
    let header = json!({
        "alg": "ES256",
        "kid": issuer.key.kid(),
        "jwk": attacker.key.public_jwk(),
        "jku": "https://attacker.example/jwks",
        "x5u": "http://169.254.169.254/",
        "x5c": ["AAAA"],
    });
    assert_eq!(
        issuer.reason(&attacker.signed(&header, "{}")),
        "signature_invalid"
    );
    let header = json!({"alg": "ES256", "jwk": attacker.key.public_jwk()});
    assert_eq!(
        issuer.reason(&attacker.signed(&header, "{}")),
        "signature_invalid"
    );
}

#[test]
fn b7_psychic_signatures_cve_2022_21449() {
    for (algorithm, length) in [
        (Algorithm::ES256, 64),
        (Algorithm::ES384, 96),
        (Algorithm::EdDSA, 64),
        (Algorithm::RS256, 256),
    ] {
        let issuer = Issuer::new(algorithm);
        let header = json!({"alg": algorithm.as_str(), "kid": issuer.key.kid()});
        for length in [1, length - 1, length, length + 1, 2 * length] {
            let token = assemble(&header, "{}", |_| vec![0; length]);
            assert_eq!(
                issuer.reason(&token),
                "signature_invalid",
                "{algorithm} {length}"
            );
        }
        // The DER form of r = s = 0.
        let token = assemble(&header, "{}", |_| vec![0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(issuer.reason(&token), "signature_invalid");
    }
}

#[test]
fn a11_rule_1_one_rsa_key_for_two_algorithms() {
    let issuer = Issuer::new(Algorithm::RS256);
    for alg in ["PS256", "RS512", "ES256", "EdDSA"] {
        let header = json!({"alg": alg, "kid": issuer.key.kid()});
        assert_eq!(
            issuer.reason(&issuer.signed(&header, "{}")),
            "alg_not_of_key"
        );
    }
}

#[test]
fn rule_13_kid_of_another_key() {
    let (a, b) = (Issuer::new(Algorithm::ES256), Issuer::new(Algorithm::ES256));
    let both = SigningKeys::new(vec![a.key.clone(), b.key.clone()])
        .unwrap()
        .verifier();
    let reason = |header: Value| {
        verify(&a.signed(&header, "{}"), &both)
            .unwrap_err()
            .reason()
    };
    assert_eq!(
        reason(json!({"alg": "ES256", "kid": b.key.kid()})),
        "signature_invalid"
    );
    assert_eq!(
        reason(json!({"alg": "ES256", "kid": "../../dev/null"})),
        "kid_unknown"
    );
    assert_eq!(reason(json!({"alg": "ES256"})), "kid_missing");
    assert_eq!(a.reason(&b.token()), "kid_unknown");
    assert!(verify(&a.token(), &both).is_ok());
}

#[test]
fn rule_11_members_twice_so_that_two_readers_disagree() {
    let issuer = Issuer::new(Algorithm::ES256);
    let header = json!({"alg": "ES256", "kid": issuer.key.kid()});
    for payload in [
        r#"{"iss":"https://idp.example","iss":"https://evil.example"}"#,
        r#"{"iss":"https://idp.example","\u0069ss":"https://evil.example"}"#,
        r#"{"act":{"sub":"a","sub":"b"}}"#,
    ] {
        assert_eq!(
            verify(&issuer.signed(&header, payload), &issuer.keys),
            Err(JwsError::Payload(JsonError::DuplicateMember))
        );
    }
    let twice = format!(
        "{}.e30.AAAA",
        base64url::encode(r#"{"alg":"ES256","alg":"none"}"#)
    );
    assert_eq!(issuer.reason(&twice), "header_invalid_json");
}

#[test]
fn b3_issuer_as_an_array_cve_2025_30144() {
    let issuer = Issuer::new(Algorithm::ES256);
    let token = issuer.signed(
        &json!({"alg": "ES256"}),
        r#"{"iss":["https://evil.example","https://idp.example"]}"#,
    );
    assert_eq!(
        Compact::parse(&token).unwrap().peek_issuer_unverified(),
        Err(JwsError::IssMalformed)
    );
}

#[test]
fn rule_11_payload_with_bytes_behind_it_or_not_an_object() {
    let issuer = Issuer::new(Algorithm::EdDSA);
    let header = json!({"alg": "EdDSA"});
    for payload in [
        &b"{}{}"[..],
        b"{}\0",
        b"[]",
        b"\"x\"",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
    ] {
        assert_eq!(
            issuer.reason(&issuer.signed(&header, payload)),
            "payload_invalid_json"
        );
    }
}

#[test]
fn rule_12_second_spellings_of_one_token() {
    let issuer = Issuer::new(Algorithm::ES256);
    let token = issuer.token();
    let parts: Vec<&str> = token.split('.').collect();
    for place in 0..3 {
        for suffix in ["=", "==", " ", "\n", "\0", "%3D"] {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[place].push_str(suffix);
            assert_eq!(issuer.reason(&parts.join(".")), "base64_invalid");
        }
    }
    for around in [
        format!(" {token}"),
        format!("{token}\n"),
        format!("Bearer {token}"),
    ] {
        assert_eq!(issuer.reason(&around), "base64_invalid");
    }
    // 64 bytes leave four unused bits in the last letter: fifteen more letters would decode alike.
    let stem = &token[..token.len() - 1];
    let aliases = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .map(|letter| format!("{stem}{letter}"))
        .filter(|alias| *alias != token);
    let (canonical, other): (Vec<_>, Vec<_>) = aliases
        .map(|alias| issuer.reason(&alias))
        .partition(|reason| *reason == "signature_invalid");
    assert_eq!((canonical.len(), other.len()), (3, 60));
    assert!(other.iter().all(|reason| *reason == "base64_invalid"));
    assert!(verify(&token, &issuer.keys).is_ok());
}

#[test]
fn b5_sign_and_encrypt_confusion_cve_2023_51774() {
    let issuer = Issuer::new(Algorithm::RS256);
    let header = base64url::encode(r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#);
    let jwe = format!("{header}.AAAA.AAAA.AAAA.AAAA");
    assert_eq!(shape(&jwe), Shape::Jwe);
    assert_eq!(issuer.reason(&jwe), "jwe_not_jws");
    assert_eq!(issuer.reason(&format!("{header}.AAAA.AAAA")), "jwe_not_jws");
    let nested = issuer.signed(&json!({"alg": "RS256", "cty": "JWT"}), issuer.token());
    assert_eq!(issuer.reason(&nested), "nested_jwt");
}

#[test]
fn parts_missing_or_too_many() {
    let issuer = Issuer::new(Algorithm::ES256);
    let token = issuer.token();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    for (token, reason) in [
        (format!("{input}."), "signature_missing"),
        (format!("{header}..{signature}"), "part_empty"),
        (format!(".{payload}.{signature}"), "part_empty"),
        ("..".into(), "part_empty"),
        (input.to_owned(), "not_three_parts"),
        (String::new(), "not_three_parts"),
        (format!("{token}."), "not_three_parts"),
        (format!("{token}..."), "not_three_parts"),
        (
            format!(
                r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#
            ),
            "not_three_parts",
        ),
    ] {
        assert_eq!(issuer.reason(&token), reason, "{token}");
    }
}

#[test]
fn a2_rule_12_large_tokens_are_not_looked_at() {
    let issuer = Issuer::new(Algorithm::ES256);
    let sized = |length: usize| {
        let claims = json!({"pad": "x".repeat(length)}).to_string();
        issuer.signed(&json!({"alg": "ES256"}), claims)
    };
    assert_eq!(issuer.reason(&sized(17 * 1024)), "token_too_large");
    assert_eq!(issuer.reason(&"x".repeat(17 * 1024)), "token_too_large");
    let large = sized(12_100);
    assert!(large.len() > 16_000);
    assert!(verify(&large, &issuer.keys).is_ok());
}

#[test]
fn b8_deep_json_cve_2025_53864() {
    let issuer = Issuer::new(Algorithm::ES256);
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert_eq!(
        verify(
            &issuer.signed(&json!({"alg": "ES256"}), &deep),
            &issuer.keys
        ),
        Err(JwsError::Payload(JsonError::TooDeep))
    );
    let header = format!(
        r#"{{"alg":"ES256","a":{}1{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let token = format!("{}.e30.AAAA", base64url::encode(header));
    assert_eq!(issuer.reason(&token), "header_invalid_json");
}

#[test]
fn b6_numbers_no_clock_has_seen() {
    let issuer = Issuer::new(Algorithm::ES256);
    let header = json!({"alg": "ES256"});
    for number in [
        "1e308",
        "-1e308",
        "-0.0",
        "1.5",
        "9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
    ] {
        let token = issuer.signed(&header, format!(r#"{{"exp":{number}}}"#));
        assert!(verify(&token, &issuer.keys).is_ok(), "{number}");
    }
    for number in ["1e999", "NaN", "Infinity", "0x10", "01"] {
        let token = issuer.signed(&header, format!(r#"{{"exp":{number}}}"#));
        assert_eq!(issuer.reason(&token), "payload_invalid_json", "{number}");
    }
}

#[test]
fn every_single_byte_matters() {
    let letters: Vec<char> = ('\0'..='\x7f').collect();
    for (algorithm, step) in [
        (Algorithm::ES256, 1),
        (Algorithm::EdDSA, 5),
        (Algorithm::RS256, 7),
    ] {
        let issuer = Issuer::new(algorithm);
        let token = issuer.token();
        assert!(verify(&token, &issuer.keys).is_ok());
        for place in 0..token.len() {
            for letter in letters.iter().skip(place % step).step_by(step) {
                let mut changed = token.clone();
                changed.replace_range(place..=place, &letter.to_string());
                if changed != token {
                    assert!(
                        verify(&changed, &issuer.keys).is_err(),
                        "{place} {letter:?}"
                    );
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r"[A-Za-z0-9_\-.{}=]{0,80}") {
        let _ = Compact::parse(&text);
        let _ = shape(&text);
    }

    #[test]
    fn a19_no_header_makes_it_panic(header in r#"\{"alg":"[A-Za-z0-9+\-]{0,8}"(,"[a-z4-6]{3}":[\[\]{}",0-9a-z]{0,8})?\}"#) {
        let token = format!("{}.e30.AAAA", base64url::encode(header));
        let _ = Compact::parse(&token);
    }
}
