//! `client_secret_basic`: HTTP Basic with form-encoded id and secret (RFC 6749 §2.3.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ClientError, Method, Presented, Proof, Takes, secret};
use crate::oauth::form::decode;
use crate::oauth::request::TokenRequest;
use crate::oauth::secret::Secret;

/// The table entry.
pub static METHOD: Method = Method {
    name: "client_secret_basic",
    doc: "HTTP Basic authentication with the client's id and secret, both form-encoded first",
    takes: Takes::Secrets,
    present,
    verify: secret::verify,
};

fn present(request: &TokenRequest) -> Result<Option<Presented<'_>>, ClientError> {
    let Some(header) = request.authorization.first() else {
        return Ok(None);
    };
    let (scheme, encoded) = header
        .expose()
        .split_once(' ')
        .ok_or(ClientError::Malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(ClientError::Malformed);
    }
    let decoded = STANDARD
        .decode(encoded.trim())
        .map_err(|_| ClientError::Malformed)?;
    let decoded = zeroize::Zeroizing::new(decoded);
    let colon = decoded
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(ClientError::Malformed)?;
    let (id, secret) = decoded.split_at(colon);
    let secret = secret.get(1..).unwrap_or_default();
    let client_id = decode(id).map_err(|_| ClientError::Malformed)?;
    let secret = Secret::new(decode(secret).map_err(|_| ClientError::Malformed)?);
    if client_id.is_empty() || secret.expose().is_empty() {
        return Err(ClientError::Malformed);
    }
    Ok(Some(Presented {
        client_id,
        proof: Proof::Secret(secret),
    }))
}
