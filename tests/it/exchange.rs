//! Exchanges over HTTP, one file per concern. A test is named after the rule or incident it is about.

pub mod assertions;
mod audit;
pub mod client_auth;
pub mod delegation;
mod introspection;
mod issuers;
mod language;
mod presets;
mod scopes;
mod secrets;
mod subject;
mod targets;

use cambist::jose::Algorithm;
use serde_json::{Value, json};

use crate::support::{Answer, Gateway, Idp, Introspection, NOW, REALM, RULES, Reply};

/// A gateway, and every party that it trusts.
pub struct World {
    pub gateway: Gateway,
    pub idp: Idp,
    pub partner: Idp,
    pub op: Introspection,
}

/// The secret with which the gateway asks the introspection endpoint.
pub const OP_SECRET: &str = "secret-for-the-introspection-endpoint";

impl World {
    /// With the usual realm and rules.
    pub async fn start() -> Self {
        Self::with(|yaml| yaml, RULES).await
    }

    /// With a changed realm and other rules.
    pub async fn with(change: impl Fn(String) -> String, rules: &str) -> Self {
        let op = Introspection::start(|_| Reply::Json(active())).await;
        let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
        let partner = Idp::new("https://partner.example.com", Algorithm::EdDSA);
        let yaml = change(REALM.replace("OP", &op.address.to_string()));
        let (one, two) = (idp.jwks(), partner.jwks());
        let files = [
            ("idp.json", &*one),
            ("partner.json", &*two),
            ("op.secret", OP_SECRET),
        ];
        let gateway = Gateway::start(&yaml, rules, &files).await;
        Self {
            gateway,
            idp,
            partner,
            op,
        }
    }

    /// Refused with this code, and for this reason in the record.
    pub fn refused(&self, what: &str, answer: &Answer, error: &str, reason: &str) {
        let record = self.gateway.last();
        let got = (
            answer.error(),
            record["error"].as_str().unwrap_or("-").to_owned(),
            record["reason"].as_str().unwrap_or("-").to_owned(),
        );
        let want = (error.to_owned(), error.to_owned(), reason.to_owned());
        assert_eq!(got, want, "{what}: {answer:?} {record:#}");
        assert!(!answer.body.contains("access_token"), "{what}: {answer:?}");
        assert_eq!(record["granted"], Value::Null, "{what}");
    }

    /// Issued; gives the claims of the new token.
    pub async fn issued(&self, what: &str, answer: &Answer) -> Value {
        self.gateway.issued(what, answer).await
    }
}

/// What the introspection endpoint says of a good token.
pub fn active() -> Value {
    json!({
        "active": true, "iss": "https://op.example.com", "sub": "bob", "scope": "api profile",
        "token_type": "Bearer", "exp": NOW + 600, "jti": "opaque-1",
    })
}
