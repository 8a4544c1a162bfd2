//! The public keys of one issuer (RFC 7517 §5), and which of them a token is checked with.
//!
//! Owns how a set is read, what makes two keys ambiguous, and the choice of exactly one key. Does
//! not know where the set came from or how old it is.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Algorithm, Header, JsonError, JwsError, PublicKey, json, key};

/// The usable public keys of one issuer, each bound to one algorithm. Never empty; a clone shares
/// the keys.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Arc<[PublicKey]>,
}

/// A key of a set that is not used, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkippedKey {
    /// Its place in `keys`, from zero.
    pub index: usize,
    /// Its `kid`, when that is a string of proper length.
    pub kid: Option<String>,
    /// The code of the reason: one of [`PublicKey::from_jwk`], or `kid_ambiguous` when another key
    /// has the same `kid` (or none as well) and the same algorithm.
    pub reason: &'static str,
}

/// Why a key set is of no use at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwksError {
    /// The document is not strict JSON.
    #[error("the key set is refused: {0}")]
    Json(#[from] JsonError),
    /// There is no `keys` array.
    #[error("the key set has no array `keys`")]
    KeysMissing,
    /// Not one key is usable; here is what is wrong with each.
    #[error("none of the {} keys in the set is usable", .0.len())]
    NoUsableKey(Vec<SkippedKey>),
}

impl KeySet {
    /// Reads a JWKS document. `allowed` are the algorithms of the issuer, none meaning all.
    ///
    /// A key that cannot be used is skipped and reported, because issuers publish keys for other
    /// purposes in the same set; see [`PublicKey::from_jwk`] for the reasons. Two keys of the same
    /// `kid` and algorithm are both skipped.
    ///
    /// # Errors
    /// A [`JwksError`] when the document is not a strict JSON object with an array `keys`, or when
    /// no key is left.
    pub fn from_jwks(
        bytes: &[u8],
        allowed: &[Algorithm],
    ) -> Result<(Self, Vec<SkippedKey>), JwksError> {
        Self::from_jwks_value(&Value::Object(json::parse_object(bytes)?), allowed)
    }

    /// As [`from_jwks`](Self::from_jwks), from a value already parsed (a set written in a
    /// configuration, say).
    ///
    /// # Errors
    /// As [`from_jwks`](Self::from_jwks).
    pub fn from_jwks_value(
        value: &Value,
        allowed: &[Algorithm],
    ) -> Result<(Self, Vec<SkippedKey>), JwksError> {
        let set = value.as_object().ok_or(JsonError::NotAnObject)?;
        let jwks = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(JwksError::KeysMissing)?;
        let mut usable = Vec::new();
        let mut skipped = Vec::new();
        for (index, jwk) in jwks.iter().enumerate() {
            match PublicKey::from_jwk(jwk, allowed) {
                Ok(key) => usable.push((index, key)),
                Err(reason) => skipped.push(SkippedKey {
                    index,
                    kid: jwk.as_object().and_then(|jwk| key::kid(jwk).ok().flatten()),
                    reason,
                }),
            }
        }
        let keys = without_ambiguous(usable, &mut skipped);
        skipped.sort_by_key(|key| key.index);
        if keys.is_empty() {
            return Err(JwksError::NoUsableKey(skipped));
        }
        Ok((Self { keys: keys.into() }, skipped))
    }

    /// The keys, in the order of the document.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Whether a later edition of the set might have a key for this token where this one has not: the token
    /// names a `kid` that is not here, or names none and there is no key of its algorithm. Where several are
    /// possible, more would not help. Says nothing about the token's signature.
    #[must_use]
    pub fn lacks(&self, header: &Header) -> bool {
        match self.select(header) {
            Err(JwsError::KidUnknown) => true,
            Err(JwsError::AlgNotOfKey) => header.kid.is_none(),
            _ => false,
        }
    }

    /// The one key for a token: with a `kid`, the key of that `kid` and that algorithm; without,
    /// the only key of that algorithm. No key is ever tried in hope.
    pub(super) fn select(&self, header: &Header) -> Result<&PublicKey, JwsError> {
        let mut of_algorithm = self.keys.iter().filter(|key| key.algorithm() == header.alg);
        let Some(kid) = header.kid.as_deref() else {
            let only = of_algorithm.next().ok_or(JwsError::AlgNotOfKey)?;
            return match of_algorithm.next() {
                None => Ok(only),
                Some(_) => Err(JwsError::KidMissing),
            };
        };
        if let Some(key) = of_algorithm.find(|key| key.kid() == Some(kid)) {
            return Ok(key);
        }
        if self.keys.iter().any(|key| key.kid() == Some(kid)) {
            Err(JwsError::AlgNotOfKey)
        } else {
            Err(JwsError::KidUnknown)
        }
    }
}

/// Moves every key that shares `kid` and algorithm with another one to the skipped.
fn without_ambiguous(
    keys: Vec<(usize, PublicKey)>,
    skipped: &mut Vec<SkippedKey>,
) -> Vec<PublicKey> {
    let mut count: HashMap<(Option<String>, Algorithm), usize> = HashMap::new();
    let name = |key: &PublicKey| (key.kid().map(str::to_owned), key.algorithm());
    for (_, key) in &keys {
        *count.entry(name(key)).or_default() += 1;
    }
    let mut unambiguous = Vec::with_capacity(keys.len());
    for (index, key) in keys {
        if count.get(&name(&key)) == Some(&1) {
            unambiguous.push(key);
        } else {
            skipped.push(SkippedKey {
                index,
                kid: key.kid().map(str::to_owned),
                reason: "kid_ambiguous",
            });
        }
    }
    unambiguous
}

#[cfg(test)]
mod tests {
    use super::super::SigningKey;
    use super::*;
    use serde_json::json;

    fn jwk(algorithm: Algorithm, kid: Option<&str>) -> Value {
        let mut jwk = SigningKey::generate(algorithm).unwrap().public_jwk();
        match kid {
            Some(kid) => jwk["kid"] = json!(kid),
            None => drop(jwk.as_object_mut().unwrap().remove("kid")),
        }
        jwk
    }

    fn set(keys: &[Value]) -> (KeySet, Vec<SkippedKey>) {
        KeySet::from_jwks_value(&json!({ "keys": keys }), &[]).unwrap()
    }

    fn select(set: &KeySet, alg: Algorithm, kid: Option<&str>) -> Result<String, JwsError> {
        let header = Header {
            alg,
            kid: kid.map(str::to_owned),
            typ: None,
        };
        set.select(&header)
            .map(|key| format!("{:?} {}", key.kid(), key.algorithm()))
    }

    #[test]
    fn the_document_must_be_a_key_set() {
        for text in [
            "[]",
            r#"{"keys":1}"#,
            "{}",
            r#"{"keys":[],"keys":[]}"#,
            "nope",
        ] {
            assert!(matches!(
                KeySet::from_jwks(text.as_bytes(), &[]),
                Err(JwksError::Json(_) | JwksError::KeysMissing)
            ));
        }
        assert_eq!(
            KeySet::from_jwks(br#"{"keys":[]}"#, &[]).unwrap_err(),
            JwksError::NoUsableKey(vec![])
        );
    }

    #[test]
    fn a_bad_key_is_reported_and_does_not_spoil_the_others() {
        let (set, skipped) = set(&[
            json!("not a key"),
            json!({"kty": "RSA", "kid": 7, "x5c": "a string"}),
            json!({"kty": "oct", "kid": "mac", "k": "AAAA"}),
            jwk(Algorithm::ES256, Some("good")),
        ]);
        assert_eq!(set.keys().len(), 1);
        let found: Vec<_> = skipped
            .iter()
            .map(|key| (key.index, key.kid.as_deref(), key.reason))
            .collect();
        assert_eq!(
            found,
            [
                (0, None, "not_an_object"),
                (1, None, "kid_malformed"),
                (2, Some("mac"), "symmetric"),
            ]
        );
    }

    #[test]
    fn keys_of_one_name_and_algorithm_are_all_skipped() {
        let (set, skipped) = set(&[
            jwk(Algorithm::ES256, Some("a")),
            jwk(Algorithm::EdDSA, Some("a")),
            jwk(Algorithm::ES256, Some("a")),
        ]);
        assert_eq!(
            select(&set, Algorithm::EdDSA, Some("a")),
            Ok("Some(\"a\") EdDSA".into())
        );
        assert_eq!(
            select(&set, Algorithm::ES256, Some("a")),
            Err(JwsError::AlgNotOfKey)
        );
        let skipped: Vec<_> = skipped.iter().map(|key| (key.index, key.reason)).collect();
        assert_eq!(skipped, [(0, "kid_ambiguous"), (2, "kid_ambiguous")]);
    }

    #[test]
    fn a_token_selects_exactly_one_key_or_none() {
        let (set, _) = set(&[
            jwk(Algorithm::ES256, Some("a")),
            jwk(Algorithm::ES256, Some("b")),
            jwk(Algorithm::EdDSA, None),
        ]);
        assert_eq!(
            select(&set, Algorithm::ES256, Some("b")),
            Ok("Some(\"b\") ES256".into())
        );
        assert_eq!(
            select(&set, Algorithm::EdDSA, None),
            Ok("None EdDSA".into())
        );
        assert_eq!(
            select(&set, Algorithm::ES256, None),
            Err(JwsError::KidMissing)
        );
        assert_eq!(
            select(&set, Algorithm::ES256, Some("c")),
            Err(JwsError::KidUnknown)
        );
        assert_eq!(
            select(&set, Algorithm::EdDSA, Some("c")),
            Err(JwsError::KidUnknown)
        );
        assert_eq!(
            select(&set, Algorithm::EdDSA, Some("a")),
            Err(JwsError::AlgNotOfKey)
        );
        assert_eq!(
            select(&set, Algorithm::RS256, None),
            Err(JwsError::AlgNotOfKey)
        );
    }
}
