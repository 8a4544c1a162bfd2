//! The claims of a verified token (RFC 7519 §4), read with their JSON types.
//!
//! A claim of the wrong type is an error, never an absent one: treating it as absent has let tokens
//! pass that should not have (CVE-2026-25537).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::NumericDate;
use super::uri::Uri;

/// A claim that is there, but not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("claim `{claim}` {problem}")]
pub struct ClaimError {
    /// The claim's name.
    pub claim: String,
    /// What is wrong, in words that follow the name.
    pub problem: &'static str,
}

/// A JSON object of claims.
#[derive(Clone, Default)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Takes a parsed object over. Duplicate members were refused by whoever parsed it.
    #[must_use]
    pub fn new(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// Whether a claim is there, whatever its type, `null` included.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value at a JSON pointer (RFC 6901).
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        let mut parts = pointer
            .strip_prefix('/')?
            .split('/')
            .map(|p| p.replace("~1", "/").replace("~0", "~"));
        let first = self.0.get(&parts.next()?)?;
        parts.try_fold(first, |value, part| match value {
            Value::Object(object) => object.get(&part),
            _ => None,
        })
    }

    /// A claim that must be a string where it is there.
    ///
    /// # Errors
    /// When it is there and not a string.
    pub fn string(&self, name: &str) -> Result<Option<&str>, ClaimError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(error(name, "is not a string")),
        }
    }

    /// A `NumericDate` (RFC 7519 §2). Fractions of a second are cut off towards the past.
    ///
    /// # Errors
    /// When it is there and not a number in a range that makes sense (years 1970 to 9999).
    pub fn date(&self, name: &str) -> Result<Option<NumericDate>, ClaimError> {
        const END_OF_9999: f64 = 253_402_300_799.0;
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let Value::Number(number) = value else {
            return Err(error(name, "is not a number"));
        };
        match (number.as_i64(), number.as_f64()) {
            (_, Some(seconds)) if !(0.0..=END_OF_9999).contains(&seconds) => {
                Err(error(name, "is out of range"))
            }
            (Some(seconds), _) => Ok(Some(NumericDate(seconds))),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "in range, as the arm above saw to"
            )]
            (None, Some(seconds)) => Ok(Some(NumericDate(seconds.floor() as i64))),
            (None, None) => Err(error(name, "is out of range")),
        }
    }

    /// A string or an array of strings, such as `aud` (RFC 7519 §4.1.3). An empty array is an error.
    ///
    /// # Errors
    /// When it is there and anything else, or has an empty member.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, ClaimError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => {
                let strings = strings(value)
                    .ok_or_else(|| error(name, "is not a string or an array of strings"))?;
                if strings.is_empty() || strings.iter().any(|text| text.is_empty()) {
                    return Err(error(name, "is empty or has an empty member"));
                }
                Ok(Some(strings))
            }
        }
    }
}

/// Who a party is: the members of `act` and `may_act` that this program knows (RFC 8693 §4.1, §4.4).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// `iss`
    pub iss: Option<Arc<str>>,
    /// `sub`
    pub sub: Option<Arc<str>>,
    /// `client_id`
    pub client_id: Option<Arc<str>>,
}

/// Whether a text can name a party: it bounds what a chain can grow to, and no control character reaches a
/// log or a token.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1024 && !text.chars().any(char::is_control)
}

impl Identity {
    /// Reads the members that identify; the others are left alone. Nobody is identified without `sub`
    /// and `client_id`.
    fn read(claim: &'static str, object: &Map<String, Value>) -> Result<Self, ClaimError> {
        let member = |name: &str| match object.get(name) {
            None => Ok(None),
            // Bounds what a chain can grow to; no control character reaches a log or a token.
            Some(Value::String(text))
                if !text.is_empty()
                    && text.len() <= 1024
                    && !text.chars().any(char::is_control) =>
            {
                Ok(Some(Arc::from(text.as_str())))
            }
            Some(_) => Err(error(claim, "has a member that is no usable text")),
        };
        let identity = Self {
            iss: member("iss")?,
            sub: member("sub")?,
            client_id: member("client_id")?,
        };
        if identity.sub.is_none() && identity.client_id.is_none() {
            return Err(error(
                claim,
                "names nobody: it has neither `sub` nor `client_id`",
            ));
        }
        Ok(identity)
    }
}

impl Claims {
    /// The actors of `act`, the outermost first; none where there is no such claim. Members that do not
    /// identify (`exp`, `aud`, …) mean nothing within it and are not taken (RFC 8693 §4.1).
    ///
    /// # Errors
    /// When it is anything but nested objects, when one of them names nobody, or when they are more than
    /// `most`.
    pub fn actors(&self, most: usize) -> Result<Vec<Identity>, ClaimError> {
        let mut actors = Vec::new();
        let mut next = self.0.get("act");
        while let Some(value) = next {
            let object = value
                .as_object()
                .ok_or_else(|| error("act", "is not an object"))?;
            if actors.len() == most {
                return Err(error("act", "is a longer chain than is taken"));
            }
            actors.push(Identity::read("act", object)?);
            next = object.get("act");
        }
        Ok(actors)
    }

    /// `may_act`: whom the token allows to act for its subject (RFC 8693 §4.4).
    ///
    /// # Errors
    /// When it is anything but an object, names nobody, or has a member that this program does not know:
    /// a condition that is not understood cannot be said to hold.
    pub fn may_act(&self) -> Result<Option<Identity>, ClaimError> {
        let Some(value) = self.0.get("may_act") else {
            return Ok(None);
        };
        let object = value
            .as_object()
            .ok_or_else(|| error("may_act", "is not an object"))?;
        if object
            .keys()
            .any(|name| !["iss", "sub", "client_id"].contains(&&**name))
        {
            return Err(error("may_act", "has a member that is not understood"));
        }
        Identity::read("may_act", object).map(Some)
    }
}

fn error(claim: &str, problem: &'static str) -> ClaimError {
    ClaimError {
        claim: claim.to_owned(),
        problem,
    }
}

/// A string as a list of one, an array of strings as it is; anything else is `None`.
#[must_use]
pub fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// The type of a claim or client attribute that a realm declares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ClaimType {
    /// A JSON string.
    String,
    /// A JSON integer that fits 64 bits.
    Int,
    /// `true` or `false`.
    Bool,
    /// A string holding a canonical URI.
    Uri,
    /// An array of strings, or one string.
    StringSet,
}

impl ClaimType {
    /// As written in configuration.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("string", Self::String),
        ("int", Self::Int),
        ("bool", Self::Bool),
        ("uri", Self::Uri),
        ("set<string>", Self::StringSet),
    ];

    /// The name in configuration and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, t)| *t == self)
            .map_or("", |(name, _)| name)
    }

    /// A JSON value as this type; `None` when it is of another.
    #[must_use]
    pub fn read(self, value: &Value) -> Option<ClaimValue> {
        match self {
            Self::String => value.as_str().map(|text| ClaimValue::String(text.into())),
            Self::Int => value.as_i64().map(ClaimValue::Int),
            Self::Bool => value.as_bool().map(ClaimValue::Bool),
            Self::Uri => value.as_str()?.parse::<Uri>().ok().map(ClaimValue::Uri),
            Self::StringSet => strings(value)
                .map(|items| ClaimValue::StringSet(items.into_iter().map(Into::into).collect())),
        }
    }
}

/// A typed value of a declared claim or client attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClaimValue {
    /// See [`ClaimType::String`].
    String(Arc<str>),
    /// See [`ClaimType::Int`].
    Int(i64),
    /// See [`ClaimType::Bool`].
    Bool(bool),
    /// See [`ClaimType::Uri`].
    Uri(Uri),
    /// See [`ClaimType::StringSet`].
    StringSet(BTreeSet<Arc<str>>),
}

impl ClaimValue {
    /// Whether it is one of these, as they are written in configuration; of a set, whether all of it is,
    /// and there is something in it.
    #[must_use]
    pub fn is_one_of(&self, texts: &BTreeSet<Arc<str>>) -> bool {
        let is = |text: &str| texts.contains(text);
        match self {
            Self::String(text) => is(text),
            Self::Int(number) => is(&number.to_string()),
            Self::Bool(truth) => is(&truth.to_string()),
            Self::Uri(uri) => is(uri.raw()),
            Self::StringSet(set) => !set.is_empty() && set.iter().all(|text| is(text)),
        }
    }
}

/// A claim that an issuer's configuration declares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimDeclaration {
    /// Its type.
    pub ty: ClaimType,
    /// Whether a token may lack it.
    pub optional: bool,
    /// Where it stands in the token, as a JSON pointer.
    pub pointer: String,
    /// The characters that a `*` in a pattern does not cross.
    pub separators: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: serde_json::Value) -> Claims {
        Claims::new(json.as_object().unwrap().clone())
    }

    #[test]
    fn a_claim_of_the_wrong_type_is_an_error_not_absent() {
        let c = claims(
            serde_json::json!({"iss": ["a"], "exp": "1", "nbf": null, "aud": [], "a": [1], "e": [""]}),
        );
        assert!(c.string("iss").is_err() && c.date("exp").is_err() && c.date("nbf").is_err());
        assert!(c.strings("aud").is_err() && c.strings("a").is_err() && c.strings("e").is_err());
        assert_eq!(c.string("sub"), Ok(None));
    }

    #[test]
    fn numeric_dates_out_of_range_are_refused_and_fractions_cut() {
        let c = claims(
            serde_json::json!({"a": 1.9, "b": -1, "c": 1e300, "d": 253402300799_i64, "e": 1e12, "f": u64::MAX}),
        );
        assert_eq!(c.date("a"), Ok(Some(NumericDate(1))));
        assert_eq!(c.date("d"), Ok(Some(NumericDate(253_402_300_799))));
        for bad in ["b", "c", "e", "f"] {
            assert!(c.date(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn act_and_may_act_are_whole_or_refused() {
        let who = |c: serde_json::Value| claims(c).actors(2);
        assert_eq!(who(serde_json::json!({})), Ok(Vec::new()));
        let two =
            serde_json::json!({ "act": { "sub": "a", "exp": 1, "act": { "client_id": "b" } } });
        assert_eq!(who(two).map(|hops| hops.len()), Ok(2));
        for bad in [
            serde_json::json!(null),
            serde_json::json!("x"),
            serde_json::json!([{ "sub": "x" }]),
            serde_json::json!({}),
            serde_json::json!({ "iss": "x" }),
            serde_json::json!({ "sub": 1 }),
            serde_json::json!({ "sub": "" }),
            serde_json::json!({ "sub": "a\nb" }),
            serde_json::json!({ "sub": "x", "iss": 1 }),
            serde_json::json!({ "sub": "x", "act": null }),
            serde_json::json!({ "sub": "x", "act": { "exp": 1 } }),
        ] {
            assert!(who(serde_json::json!({ "act": bad })).is_err(), "{bad}");
            let may_act = claims(serde_json::json!({ "may_act": bad })).may_act();
            assert!(may_act.is_err(), "{bad}");
        }
        let long = |bytes: usize| serde_json::json!({ "act": { "sub": "x".repeat(bytes) } });
        assert!(who(long(1024)).is_ok() && who(long(1025)).is_err());
        let three = serde_json::json!({ "sub": "a", "act": { "sub": "b", "act": { "sub": "c" } } });
        assert!(who(serde_json::json!({ "act": three })).is_err());
        let unknown = serde_json::json!({ "may_act": { "sub": "x", "email": "y" } });
        assert!(claims(unknown).may_act().is_err());
        assert_eq!(claims(serde_json::json!({})).may_act(), Ok(None));
    }

    #[test]
    fn pointers_follow_rfc6901() {
        let c =
            claims(serde_json::json!({"kubernetes.io": {"namespace": "x", "a/b": 1}, "n": "v"}));
        assert_eq!(
            c.at("/kubernetes.io/namespace").and_then(Value::as_str),
            Some("x")
        );
        assert_eq!(c.at("/kubernetes.io/a~1b").and_then(Value::as_i64), Some(1));
        assert_eq!(c.at("/n").and_then(Value::as_str), Some("v"));
        assert!(c.at("/n/x").is_none() && c.at("n").is_none());
    }
}
