//! The compact JWS (RFC 7515 §3.1, §7.1): its parts, and the one way to its claims.
//!
//! Owns which tokens are well formed and the order things are checked in. Does not know the header
//! parameters ([`Header`] does), who may sign with what (a [`KeySet`] does), or what a claim means.

use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use super::{Header, JsonError, KeySet, MAX_KID, Object, base64url, json};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// A compact JWS whose header is understood and whose signature nobody has checked yet.
///
/// The claims come out of [`verify`](Self::verify) only.
pub struct Compact<'a> {
    signing_input: &'a str,
    header: Header,
    payload: Vec<u8>,
    signature: Vec<u8>,
    claims: OnceLock<Result<Object, JsonError>>,
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// A [`JwsError`] when the token is longer than [`MAX_TOKEN`], is not exactly three non-empty
    /// parts of canonical base64url, or has a header that is not strict JSON, has no algorithm this
    /// program speaks, or has a parameter that changes how the rest is read (`crit`, `b64`, `zip`,
    /// `enc`, `cty: JWT`; RFC 7515 §4.1.11, RFC 7797 §6, RFC 8725 §3.11). Keys and key addresses in
    /// the header (`jwk`, `jku`, `x5c`, `x5u`, `x5t`) are never read.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN {
            return Err(JwsError::TooLarge);
        }
        let (signing_input, header, payload, signature) = split(token)?;
        let header = Header::parse(&decode(header)?)?;
        if payload.is_empty() {
            return Err(JwsError::PartEmpty);
        }
        if signature.is_empty() {
            return Err(JwsError::SignatureMissing);
        }
        Ok(Self {
            signing_input,
            header,
            payload: decode(payload)?,
            signature: decode(signature)?,
            claims: OnceLock::new(),
        })
    }

    /// The header, which is not verified either.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The issuer the token claims to be from, **unverified**: good to pick the issuer whose keys
    /// then verify the token, and for nothing else.
    ///
    /// # Errors
    /// [`JwsError::Payload`] when the payload is not a strict JSON object, and
    /// [`JwsError::IssMissing`] or [`JwsError::IssMalformed`] when `iss` is not one JSON string (an
    /// array of issuers is not, RFC 7519 §4.1.1).
    pub fn peek_issuer_unverified(&self) -> Result<String, JwsError> {
        let claims = self
            .claims
            .get_or_init(|| json::parse_object(&self.payload));
        match claims
            .as_ref()
            .map_err(|why| JwsError::Payload(*why))?
            .get("iss")
        {
            Some(Value::String(issuer)) => Ok(issuer.clone()),
            Some(_) => Err(JwsError::IssMalformed),
            None => Err(JwsError::IssMissing),
        }
    }

    /// The claims, **unverified**: good to refuse a token for what it says of itself, and for nothing
    /// else.
    ///
    /// # Errors
    /// [`JwsError::Payload`] when the payload is not a strict JSON object.
    pub fn peek_claims_unverified(&self) -> Result<&Object, JwsError> {
        let claims = self
            .claims
            .get_or_init(|| json::parse_object(&self.payload));
        claims.as_ref().map_err(|why| JwsError::Payload(*why))
    }

    /// Checks the signature with the one key of the set the header points at, and only then gives
    /// the claims (RFC 7515 §5.2).
    ///
    /// # Errors
    /// [`JwsError::KidUnknown`], [`JwsError::KidMissing`] or [`JwsError::AlgNotOfKey`] when that key
    /// is not exactly one, [`JwsError::SignatureInvalid`] when it did not sign this token, and
    /// [`JwsError::Payload`] when it did, but the payload is not a strict JSON object.
    pub fn verify(self, keys: &KeySet) -> Result<Object, JwsError> {
        let key = keys.select(&self.header)?;
        if !key.verify(self.signing_input.as_bytes(), &self.signature) {
            return Err(JwsError::SignatureInvalid);
        }
        self.claims
            .into_inner()
            .unwrap_or_else(|| json::parse_object(&self.payload))
            .map_err(JwsError::Payload)
    }
}

impl fmt::Debug for Compact<'_> {
    /// Shows the header only: a token is a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compact")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Why a token is refused. The messages hold nothing of the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`MAX_TOKEN`].
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLarge,
    /// Not three parts.
    #[error("the token is not a compact JWS of three parts")]
    NotThreeParts,
    /// Five parts, or a header that asks for encryption.
    #[error("the token is encrypted (JWE), a signed one is expected")]
    Jwe,
    /// The header or the payload is empty.
    #[error("a part of the token is empty")]
    PartEmpty,
    /// The signature is empty.
    #[error("the token has no signature")]
    SignatureMissing,
    /// A part is not canonical base64url.
    #[error("a part of the token is not canonical base64url")]
    Base64,
    /// The header is not a strict JSON object.
    #[error("the header is refused: {0}")]
    HeaderJson(JsonError),
    /// `alg` is missing.
    #[error("the header has no `alg`")]
    AlgMissing,
    /// `alg` is not a string.
    #[error("`alg` is not a string")]
    AlgMalformed,
    /// `alg` is `none`, in whatever capitals.
    #[error("`alg` is `none`: the token is not signed")]
    AlgNone,
    /// `alg` is an HMAC.
    #[error("`alg` is symmetric")]
    AlgSymmetric,
    /// `alg` is something else this program does not speak.
    #[error("`alg` is not supported")]
    AlgUnsupported,
    /// `crit` is there; no extension is understood (RFC 7515 §4.1.11).
    #[error("`crit` names extensions that are not understood")]
    Crit,
    /// `b64` is there (RFC 7797).
    #[error("`b64` is not supported")]
    B64,
    /// `zip` is there.
    #[error("`zip` is not supported")]
    Zip,
    /// `cty` is not a string.
    #[error("`cty` is not a string")]
    CtyMalformed,
    /// `cty` says the payload is another JWT.
    #[error("the token contains another token")]
    NestedJwt,
    /// `kid` is not a string of 1 to [`MAX_KID`] bytes.
    #[error("`kid` is not a string of 1 to {MAX_KID} bytes")]
    KidMalformed,
    /// `typ` is not a string.
    #[error("`typ` is not a string")]
    TypMalformed,
    /// No key of the issuer has this `kid`; worth a fresh look at its key set.
    #[error("no key of the issuer has this `kid`")]
    KidUnknown,
    /// No `kid`, and several keys could be meant.
    #[error("the token has no `kid` and the issuer has several keys for its `alg`")]
    KidMissing,
    /// The issuer has no key for this `alg`, or the key named by `kid` is for another one.
    #[error("`alg` is not the algorithm of the issuer's key")]
    AlgNotOfKey,
    /// The signature is not by that key over these bytes.
    #[error("the signature does not verify")]
    SignatureInvalid,
    /// The payload is not a strict JSON object.
    #[error("the payload is refused: {0}")]
    Payload(JsonError),
    /// There is no `iss`.
    #[error("the payload has no `iss`")]
    IssMissing,
    /// `iss` is not a string.
    #[error("`iss` is not a string")]
    IssMalformed,
}

impl JwsError {
    /// The stable code of the reason, for audit records and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "token_too_large",
            Self::NotThreeParts => "not_three_parts",
            Self::Jwe => "jwe_not_jws",
            Self::PartEmpty => "part_empty",
            Self::SignatureMissing => "signature_missing",
            Self::Base64 => "base64_invalid",
            Self::HeaderJson(_) => "header_invalid_json",
            Self::AlgMissing => "alg_missing",
            Self::AlgMalformed => "alg_malformed",
            Self::AlgNone => "alg_none",
            Self::AlgSymmetric => "alg_symmetric",
            Self::AlgUnsupported => "alg_unsupported",
            Self::Crit => "crit_unknown",
            Self::B64 => "b64_unsupported",
            Self::Zip => "zip_unsupported",
            Self::CtyMalformed => "cty_malformed",
            Self::NestedJwt => "nested_jwt",
            Self::KidMalformed => "kid_malformed",
            Self::TypMalformed => "typ_malformed",
            Self::KidUnknown => "kid_unknown",
            Self::KidMissing => "kid_missing",
            Self::AlgNotOfKey => "alg_not_of_key",
            Self::SignatureInvalid => "signature_invalid",
            Self::Payload(_) => "payload_invalid_json",
            Self::IssMissing => "iss_missing",
            Self::IssMalformed => "iss_malformed",
        }
    }
}

/// The claims of a JWS that only its issuer can check, **unverified**, and whatever its header says: good
/// to tell whose it is, and to refuse it for what it says of itself.
///
/// # Errors
/// A [`JwsError`] when it is longer than [`MAX_TOKEN`] or not exactly three parts, or when its payload is
/// not canonical base64url of a strict JSON object.
pub fn claims_unverified(token: &str) -> Result<Object, JwsError> {
    if token.len() > MAX_TOKEN {
        return Err(JwsError::TooLarge);
    }
    let (_, _, payload, _) = split(token)?;
    json::parse_object(&decode(payload)?).map_err(JwsError::Payload)
}

/// What a bearer token looks like from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Three parts: signed, or pretending to be.
    Jws,
    /// Five parts: encrypted.
    Jwe,
    /// Anything else; only its issuer can say what it means.
    Opaque,
}

/// The shape of a token: three or five parts, the first of which decodes to something that starts like a
/// JSON object. Decides which reader gets the token, not whether it is any good; so it is generous: what
/// is a JWS but for a stray sign or a further part must not be shown to whoever looks up opaque tokens.
pub fn shape(token: &str) -> Shape {
    let parts: Vec<&str> = token.split('.').collect();
    let object = |part: &&str| part.trim_start().starts_with('{') || starts_like_an_object(part);
    match parts.len() {
        5 if parts.first().is_some_and(object) => Shape::Jwe,
        3 if parts.first().is_some_and(object) => Shape::Jws,
        // `eyJ` is how `{"` begins in base64url.
        2.. if parts
            .iter()
            .any(|part| part.trim_start().starts_with("eyJ")) =>
        {
            Shape::Jws
        }
        _ => Shape::Opaque,
    }
}

fn starts_like_an_object(part: &str) -> bool {
    let mut letters: String = part
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    // Whole groups of four decode whatever their bits; the beginning is all that matters here.
    while !letters.len().is_multiple_of(4) {
        letters.push('A');
    }
    let decoded = base64url::decode(&letters).unwrap_or_default();
    decoded.trim_ascii_start().starts_with(b"{")
}

/// The signing input and the three parts.
fn split(token: &str) -> Result<(&str, &str, &str, &str), JwsError> {
    let dots = token.bytes().filter(|byte| *byte == b'.').count();
    if dots == 4 {
        return Err(JwsError::Jwe);
    }
    if dots != 2 {
        return Err(JwsError::NotThreeParts);
    }
    let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsError::NotThreeParts)?;
    let (header, payload) = signing_input
        .split_once('.')
        .ok_or(JwsError::NotThreeParts)?;
    if header.is_empty() {
        return Err(JwsError::PartEmpty);
    }
    Ok((signing_input, header, payload, signature))
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    base64url::decode(part).map_err(|_| JwsError::Base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(shape("e30.e30.AA"), Shape::Jws);
        assert_eq!(shape("e30.."), Shape::Jws);
        assert_eq!(shape("e30..AA.AA.AA"), Shape::Jwe);
        for token in [
            "e30.e30.A=",
            "e30=.e30.AA",
            " e30.e30.AA\n",
            "e30.é.A",
            "IHs.e30.AA",
            "{.a.b",
        ] {
            assert_eq!(
                shape(token),
                Shape::Jws,
                "{token}: nearly one, so nobody else is shown it"
            );
        }
        for token in ["", "a.b.c", "e30", "e30.e30", "..", "W10.e30.AA"] {
            assert_eq!(shape(token), Shape::Opaque, "{token}");
        }
    }

    #[test]
    fn the_issuer_is_one_string_or_nothing() {
        let peek = |payload: &str| {
            let token = format!(
                "{}.{}.AA",
                base64url::encode(r#"{"alg":"ES256"}"#),
                base64url::encode(payload)
            );
            Compact::parse(&token).unwrap().peek_issuer_unverified()
        };
        assert_eq!(peek(r#"{"iss":"https://a"}"#), Ok("https://a".into()));
        assert_eq!(
            peek(r#"{"iss":["https://a"]}"#),
            Err(JwsError::IssMalformed)
        );
        assert_eq!(peek(r#"{"iss":null}"#), Err(JwsError::IssMalformed));
        assert_eq!(peek("{}"), Err(JwsError::IssMissing));
        assert_eq!(
            peek(r#"{"iss":"a","iss":"b"}"#),
            Err(JwsError::Payload(JsonError::DuplicateMember))
        );
        assert_eq!(peek("[]"), Err(JwsError::Payload(JsonError::NotAnObject)));
    }

    #[test]
    fn what_is_shown_of_a_token_is_its_header() {
        let token = format!(
            "{}.cGF5bG9hZA.c2ln",
            base64url::encode(r#"{"alg":"ES256"}"#)
        );
        let shown = format!("{:?}", Compact::parse(&token).unwrap());
        assert!(
            shown.contains("ES256") && !shown.contains("payload"),
            "{shown}"
        );
    }
}
