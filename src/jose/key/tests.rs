//! Which JWKs are taken, which are not, and why.

use super::*;
use crate::jose::SigningKey;
use serde_json::json;

fn jwk(algorithm: Algorithm) -> Value {
    SigningKey::generate(algorithm).unwrap().public_jwk()
}

/// The key with some members replaced, or removed where the replacement is null.
fn with(jwk: &Value, changes: Value) -> Value {
    let mut jwk = jwk.clone();
    let members = jwk.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    jwk
}

fn refusal(jwk: &Value, changes: Value) -> &'static str {
    PublicKey::from_jwk(&with(jwk, changes), &[]).unwrap_err()
}

#[test]
fn members_that_take_a_key_out() {
    let ec = jwk(Algorithm::ES256);
    for (changes, reason) in [
        (json!({"kid": 7}), "kid_malformed"),
        (json!({"kid": ""}), "kid_malformed"),
        (json!({"kid": "k".repeat(257)}), "kid_malformed"),
        (json!({"kty": null}), "kty_missing"),
        (json!({"kty": "ec"}), "kty_unsupported"),
        (json!({"kty": "AKP"}), "kty_unsupported"),
        (json!({"kty": "oct", "k": "AAAA"}), "symmetric"),
        (json!({"d": "AAAA"}), "private_member"),
        (json!({"k": "AAAA"}), "private_member"),
        (json!({"oth": []}), "private_member"),
        (json!({"use": "enc"}), "use_not_sig"),
        (json!({"use": ["sig"]}), "use_not_sig"),
        (json!({"key_ops": "verify"}), "key_ops_malformed"),
        (json!({"key_ops": ["verify", 1]}), "key_ops_malformed"),
        (
            json!({"key_ops": ["verify", "verify"]}),
            "key_ops_malformed",
        ),
        (json!({"key_ops": []}), "key_ops_not_verify"),
        (json!({"key_ops": ["sign"]}), "key_ops_not_verify"),
        (
            json!({"key_ops": ["verify", "encrypt"]}),
            "key_ops_not_verify",
        ),
        (
            json!({"use": null, "key_ops": ["deriveKey"]}),
            "key_ops_not_verify",
        ),
        (json!({"alg": 1}), "alg_malformed"),
        (json!({"alg": "HS256"}), "alg_unsupported"),
        (json!({"alg": "none"}), "alg_unsupported"),
        (json!({"alg": "ECDH-ES"}), "alg_unsupported"),
        (json!({"alg": "ES384"}), "alg_mismatch"),
        (json!({"alg": "RS256"}), "alg_mismatch"),
        (json!({"crv": "P-384"}), "length_wrong"),
        (json!({"crv": "secp256k1"}), "crv_unsupported"),
        (json!({"crv": null}), "member_missing"),
        (json!({"y": null}), "member_missing"),
        (json!({"y": ec["x"]}), "point_invalid"),
        (
            json!({"x": base64url::encode([0; 32]), "y": base64url::encode([0; 32])}),
            "point_invalid",
        ),
        (json!({"x": base64url::encode([1; 33])}), "length_wrong"),
        (json!({"x": "AA=="}), "base64_invalid"),
        (json!({"x": "AB"}), "base64_invalid"),
    ] {
        assert_eq!(refusal(&ec, changes.clone()), reason, "{changes}");
    }
    assert_eq!(
        PublicKey::from_jwk(&json!([]), &[]).unwrap_err(),
        "not_an_object"
    );
    let ed = jwk(Algorithm::EdDSA);
    assert_eq!(refusal(&ed, json!({"crv": "X25519"})), "crv_unsupported");
    assert_eq!(
        refusal(&ed, json!({"x": base64url::encode([1; 31])})),
        "length_wrong"
    );
}

#[test]
fn members_that_do_not() {
    let ec = jwk(Algorithm::ES256);
    for changes in [
        json!({"kid": null}),
        json!({"use": null}),
        json!({"key_ops": ["verify"]}),
        json!({"key_ops": ["sign", "verify"]}),
        json!({"x5c": "not even an array", "x5u": "http://169.254.169.254/", "issuer": "x"}),
    ] {
        assert!(
            PublicKey::from_jwk(&with(&ec, changes.clone()), &[]).is_ok(),
            "{changes}"
        );
    }
}

#[test]
fn rsa_sizes_and_exponents() {
    let rsa = jwk(Algorithm::RS256);
    let modulus = |length: usize, first: u8, last: u8| {
        let mut bytes = vec![0x5a; length];
        bytes[0] = first;
        *bytes.last_mut().unwrap() = last;
        json!({"n": base64url::encode(bytes)})
    };
    for (changes, reason) in [
        (modulus(256, 0x7f, 1), "modulus_too_small"),
        (modulus(128, 0xff, 1), "modulus_too_small"),
        (modulus(1025, 0x01, 1), "modulus_too_large"),
        (modulus(256, 0xff, 2), "modulus_malformed"),
        (modulus(257, 0x00, 1), "modulus_malformed"),
        (json!({"n": ""}), "modulus_malformed"),
        (json!({"e": ""}), "exponent_unsafe"),
        (json!({"e": "AQ"}), "exponent_unsafe"),
        (json!({"e": "Aw"}), "exponent_unsafe"),
        (json!({"e": "AQAA"}), "exponent_unsafe"),
        (json!({"e": "AAEAAQ"}), "exponent_unsafe"),
        (
            json!({"e": base64url::encode([2, 0, 0, 0, 1])}),
            "exponent_unsafe",
        ),
        (json!({"e": base64url::encode([1; 40])}), "exponent_unsafe"),
    ] {
        assert_eq!(refusal(&rsa, changes.clone()), reason, "{changes}");
    }
    for changes in [
        modulus(256, 0x80, 1),
        modulus(1024, 0xff, 1),
        json!({"e": "AQAB"}),
        json!({"e": base64url::encode([1, 255, 255, 255, 255])}),
    ] {
        assert!(
            PublicKey::from_jwk(&with(&rsa, changes.clone()), &[]).is_ok(),
            "{changes}"
        );
    }
}

#[test]
fn one_key_has_one_algorithm() {
    use Algorithm::{ES256, EdDSA, PS256, RS256};
    let bare = |algorithm| with(&jwk(algorithm), json!({"alg": null}));
    let (ec, ed, rsa) = (bare(ES256), bare(EdDSA), bare(RS256));
    let bound = |jwk: &Value, allowed: &[Algorithm]| {
        PublicKey::from_jwk(jwk, allowed).map(|key| key.algorithm())
    };
    assert_eq!(bound(&ec, &[]), Ok(ES256));
    assert_eq!(bound(&ed, &[]), Ok(EdDSA));
    assert_eq!(bound(&rsa, &[]), Ok(RS256));
    assert_eq!(bound(&rsa, &[ES256, PS256]), Ok(PS256));
    assert_eq!(bound(&rsa, &[PS256, PS256]), Ok(PS256));
    assert_eq!(bound(&rsa, &[RS256, PS256]), Err("alg_ambiguous"));
    assert_eq!(bound(&rsa, &[ES256]), Err("alg_not_allowed"));
    assert_eq!(bound(&ec, &[RS256]), Err("alg_not_allowed"));
    let named = with(&rsa, json!({"alg": "PS256"}));
    assert_eq!(bound(&named, &[RS256, PS256]), Ok(PS256));
    assert_eq!(bound(&named, &[RS256]), Err("alg_not_allowed"));
}

#[test]
fn the_example_key_of_rfc_7638() {
    let jwk = json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJ\
              ECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2\
              QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6\
              WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29"
    });
    assert_eq!(
        thumbprint(&jwk),
        Ok("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".into())
    );
    assert_eq!(
        thumbprint(&with(&jwk, json!({"d": "AA"}))),
        Err("private_member")
    );
}

#[test]
fn a_key_does_not_show_its_members() {
    let key = PublicKey::from_jwk(&with(&jwk(Algorithm::ES256), json!({"kid": "a"})), &[]).unwrap();
    assert_eq!(
        format!("{key:?}"),
        "PublicKey { kid: Some(\"a\"), algorithm: ES256, .. }"
    );
}
