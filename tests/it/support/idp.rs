//! An issuer of JWTs: a key, its published half, and tokens as good or as bad as a test wants them.

use cambist::jose::{Algorithm, SigningKey, base64url};
use serde_json::{Value, json};

use super::NOW;

/// An issuer.
pub struct Idp {
    /// Its identifier.
    pub issuer: &'static str,
    /// Its only key.
    pub key: SigningKey,
}

impl Idp {
    /// An issuer with a new key.
    pub fn new(issuer: &'static str, algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm).unwrap();
        Self { issuer, key }
    }

    /// The key set, as `jwks_file` takes it.
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.key.public_jwk()] }).to_string()
    }

    /// A token that the gateway takes as an access token, but for what is changed in `claims`.
    pub fn token(&self, claims: &Value) -> String {
        self.typed("at+jwt", claims)
    }

    /// The same with another `typ`.
    pub fn typed(&self, typ: &str, claims: &Value) -> String {
        let mut claims = claims.clone();
        let members = claims.as_object_mut().unwrap();
        members.entry("iss").or_insert(self.issuer.into());
        self.key.compact(typ, &claims).unwrap()
    }

    /// A token with this very header and payload, signed as it is.
    pub fn raw(&self, header: &str, payload: &str) -> String {
        let input = format!(
            "{}.{}",
            base64url::encode(header),
            base64url::encode(payload)
        );
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", base64url::encode(signature))
    }

    /// The header that [`Self::token`] would write, with some members changed or added.
    pub fn header(&self, changes: &Value) -> String {
        let header = json!({
            "alg": self.key.algorithm().as_str(), "kid": self.key.kid(), "typ": "at+jwt",
        });
        with(&header, changes).to_string()
    }

    /// Claims with this issuer, as text.
    pub fn payload(&self, claims: &Value) -> String {
        with(&json!({ "iss": self.issuer }), claims).to_string()
    }
}

/// The claims of a good token but `iss`, with some changed or added.
pub fn claims(changes: Value) -> Value {
    let good = json!({
        "sub": "alice", "aud": "rs08", "iat": NOW - 10, "exp": NOW + 600,
        "scope": "api profile", "jti": "subject-token-1",
    });
    with(&good, &changes)
}

/// The object with some members changed or added; `null` is a value like any other.
pub fn with(object: &Value, changes: &Value) -> Value {
    let mut object = object.clone();
    let members = object.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    object
}

/// The object without a member that it had.
pub fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    assert!(object.as_object_mut().unwrap().remove(name).is_some());
    object
}
