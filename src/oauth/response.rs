//! The exchange response (RFC 8693 §2.2.1), and what is known of a token that a provider returns.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::NumericDate;
use super::id::Subject;
use super::scope::Scopes;
use super::secret::RawToken;
use super::token_type::TokenType;

/// One thing known of a token, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// We built and signed it.
    Signed(T),
    /// We checked it in a returned token against a configured issuer's keys.
    Verified(T),
    /// A field of an upstream's answer says so.
    Claimed(T),
    /// Nobody said.
    Unknown,
}

impl<T> Fact<T> {
    /// The value, however it is known.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Signed(value) | Self::Verified(value) | Self::Claimed(value) => Some(value),
            Self::Unknown => None,
        }
    }
}

/// What is known of a token; `confine` compares it with what was permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `aud`.
    pub audience: Fact<BTreeSet<Arc<str>>>,
    /// `scope`.
    pub scope: Fact<Scopes>,
    /// `exp`.
    pub expires_at: Fact<NumericDate>,
    /// `sub`.
    pub subject: Fact<Subject>,
    /// `act` (RFC 8693 §4.1); `None` when the token has none.
    pub act: Fact<Option<serde_json::Value>>,
    /// `may_act` (RFC 8693 §4.4); `None` when the token has none.
    pub may_act: Fact<Option<serde_json::Value>>,
    /// `cnf` (RFC 7800); `None` when the token is a bearer token.
    pub confirmation: Fact<Option<serde_json::Value>>,
}

/// A token that a provider made or fetched. It leaves only after it was confined.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: RawToken,
    /// What it is: `issued_token_type`.
    pub issued_token_type: TokenType,
    /// How it is used: `Bearer`, or `N_A` when it is no access token (RFC 8693 §2.2.1).
    pub token_type: &'static str,
    /// Its `jti` where it has one, for the audit.
    pub token_id: Option<String>,
    /// What is known of it.
    pub facts: Facts,
}

/// A successful answer.
#[derive(Debug)]
pub struct ExchangeResponse {
    body: RawToken,
}

impl ExchangeResponse {
    /// The answer for a token whose scope and expiry are as given. `scope` is always said unless it is
    /// empty, so that a client never has to guess (RFC 8693 §2.2.1).
    #[must_use]
    pub fn new(issued: &IssuedToken, scope: &Scopes, expires_in: i64) -> Self {
        let mut body = serde_json::json!({
            "access_token": issued.token.expose(),
            "issued_token_type": issued.issued_token_type.uri(),
            "token_type": issued.token_type,
            "expires_in": expires_in,
        });
        if let (false, Some(object)) = (scope.is_empty(), body.as_object_mut()) {
            object.insert("scope".to_owned(), scope.to_string().into());
        }
        Self {
            body: RawToken::new(body.to_string()),
        }
    }

    /// The JSON body. It holds the token.
    #[must_use]
    pub fn expose_json(&self) -> &str {
        self.body.expose()
    }
}
