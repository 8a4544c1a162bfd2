//! The header of a JWS (RFC 7515 §4): which parameters are read, refused and ignored.
//!
//! Does not know the rest of the token, nor any key.

use serde_json::Value;

use super::{Algorithm, JwsError, MAX_KID, Object, json};

/// The header parameters that are used; every other one is either refused or ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// `alg`: what the token says it is signed with;
    /// [`Compact::verify`](super::Compact::verify) holds it against the key.
    pub alg: Algorithm,
    /// `kid`, as sent: opaque, at most [`MAX_KID`] bytes.
    pub kid: Option<String>,
    /// `typ`, as sent; compare [`normalized_typ`](Self::normalized_typ) instead.
    pub typ: Option<String>,
}

impl Header {
    /// `typ` in the form it is compared in: lower case, and without `application/` when that is
    /// all the slash there is (RFC 7515 §4.1.9). `application/AT+JWT` and `at+jwt` are the same.
    pub fn normalized_typ(&self) -> Option<String> {
        self.typ.as_deref().map(normalize_media_type)
    }

    /// Reads the decoded header, the algorithm first.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, JwsError> {
        let header = json::parse_object(bytes).map_err(JwsError::HeaderJson)?;
        let alg = algorithm(&header)?;
        if header.contains_key("crit") {
            return Err(JwsError::Crit);
        }
        if header.contains_key("b64") {
            return Err(JwsError::B64);
        }
        if header.contains_key("zip") {
            return Err(JwsError::Zip);
        }
        if let Some(cty) = text(&header, "cty").map_err(|()| JwsError::CtyMalformed)?
            && normalize_media_type(&cty) == "jwt"
        {
            return Err(JwsError::NestedJwt);
        }
        let kid = text(&header, "kid").map_err(|()| JwsError::KidMalformed)?;
        if kid.as_ref().is_some_and(|kid| !is_kid(kid)) {
            return Err(JwsError::KidMalformed);
        }
        let typ = text(&header, "typ").map_err(|()| JwsError::TypMalformed)?;
        Ok(Self { alg, kid, typ })
    }
}

/// Whether the text is fit to be a `kid`: 1 to [`MAX_KID`] bytes, otherwise opaque.
pub(super) fn is_kid(text: &str) -> bool {
    (1..=MAX_KID).contains(&text.len())
}

/// `alg`, with a reason of its own for each family of attempts (RFC 8725 §2.1).
fn algorithm(header: &Object) -> Result<Algorithm, JwsError> {
    const KEY_MANAGEMENT: [&str; 4] = ["RSA-OAEP", "RSA1_5", "ECDH-ES", "PBES2"];
    let name = match header.get("alg") {
        Some(Value::String(name)) => name,
        Some(_) => return Err(JwsError::AlgMalformed),
        None => return Err(JwsError::AlgMissing),
    };
    if name.eq_ignore_ascii_case("none") {
        return Err(JwsError::AlgNone);
    }
    if ["HS256", "HS384", "HS512"]
        .iter()
        .any(|hmac| name.eq_ignore_ascii_case(hmac))
    {
        return Err(JwsError::AlgSymmetric);
    }
    if header.contains_key("enc")
        || name == "dir"
        || name.ends_with("KW")
        || KEY_MANAGEMENT.iter().any(|prefix| name.starts_with(prefix))
    {
        return Err(JwsError::Jwe);
    }
    name.parse().map_err(|_| JwsError::AlgUnsupported)
}

/// A member that is a string when it is there.
fn text(header: &Object, name: &str) -> Result<Option<String>, ()> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(()),
    }
}

fn normalize_media_type(sent: &str) -> String {
    let lower = sent.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        Some(subtype) if !subtype.contains('/') => subtype.to_owned(),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str) -> Result<Header, JwsError> {
        Header::parse(header.as_bytes())
    }

    #[test]
    fn a_header_is_read() {
        let header = parse(r#"{"alg":"ES256","kid":"a","typ":"at+jwt","x":[1]}"#).unwrap();
        assert_eq!(header.alg, Algorithm::ES256);
        assert_eq!(header.kid.as_deref(), Some("a"));
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    }

    #[test]
    fn each_bad_header_has_its_reason() {
        let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(MAX_KID + 1));
        for (header, reason) in [
            ("[]", "header_invalid_json"),
            (r#"{"alg":"ES256","alg":"ES256"}"#, "header_invalid_json"),
            ("{}", "alg_missing"),
            (r#"{"alg":1}"#, "alg_malformed"),
            (r#"{"alg":null}"#, "alg_malformed"),
            (r#"{"alg":["ES256"]}"#, "alg_malformed"),
            (r#"{"alg":"nOnE"}"#, "alg_none"),
            (r#"{"alg":"HS256"}"#, "alg_symmetric"),
            (r#"{"alg":"hs512"}"#, "alg_symmetric"),
            (r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#, "jwe_not_jws"),
            (r#"{"alg":"dir"}"#, "jwe_not_jws"),
            (r#"{"alg":"A128GCMKW"}"#, "jwe_not_jws"),
            (r#"{"alg":"ES256","enc":"A256GCM"}"#, "jwe_not_jws"),
            (r#"{"alg":"es256"}"#, "alg_unsupported"),
            (r#"{"alg":"ES512"}"#, "alg_unsupported"),
            (r#"{"alg":""}"#, "alg_unsupported"),
            (r#"{"alg":"ES256","crit":[]}"#, "crit_unknown"),
            (r#"{"alg":"ES256","crit":null}"#, "crit_unknown"),
            (r#"{"alg":"ES256","crit":["exp"],"exp":1}"#, "crit_unknown"),
            (r#"{"alg":"ES256","b64":true}"#, "b64_unsupported"),
            (r#"{"alg":"ES256","zip":"DEF"}"#, "zip_unsupported"),
            (r#"{"alg":"ES256","cty":"JWT"}"#, "nested_jwt"),
            (r#"{"alg":"ES256","cty":"application/jwt"}"#, "nested_jwt"),
            (r#"{"alg":"ES256","cty":1}"#, "cty_malformed"),
            (r#"{"alg":"ES256","kid":7}"#, "kid_malformed"),
            (r#"{"alg":"ES256","kid":null}"#, "kid_malformed"),
            (r#"{"alg":"ES256","kid":""}"#, "kid_malformed"),
            (&long, "kid_malformed"),
            (r#"{"alg":"ES256","typ":7}"#, "typ_malformed"),
        ] {
            assert_eq!(parse(header).unwrap_err().reason(), reason, "{header}");
        }
    }

    #[test]
    fn typ_is_normalized_as_a_media_type() {
        for (sent, normal) in [
            ("JWT", "jwt"),
            ("application/at+jwt", "at+jwt"),
            ("Application/AT+JWT", "at+jwt"),
            ("application/a/b", "application/a/b"),
            ("text/plain", "text/plain"),
        ] {
            let header = parse(&format!(r#"{{"alg":"ES256","typ":"{sent}"}}"#)).unwrap();
            assert_eq!(header.normalized_typ().as_deref(), Some(normal));
        }
        assert_eq!(parse(r#"{"alg":"ES256"}"#).unwrap().normalized_typ(), None);
    }
}
