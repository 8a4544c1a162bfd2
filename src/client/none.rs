//! `none`: a public client (RFC 6749 §2.1), which says who it is and proves nothing.
//!
//! Only where configuration says so, and never beside a method that proves something: a secret that
//! failed must not become no secret at all.

use super::{
    Attempt, BoxFuture, ClientError, Credential, Method, Presented, Proof, Takes, Used,
    private_key_jwt,
};
use crate::oauth::request::TokenRequest;

/// The table entry.
pub static METHOD: Method = Method {
    name: "none",
    doc: "nothing but a `client_id`: a public client, which anybody can say to be",
    takes: Takes::Nothing,
    present,
    verify,
};

/// A `client_id` and no credentials of whatever kind.
fn present(request: &TokenRequest) -> Result<Option<Presented<'_>>, ClientError> {
    let proves = !request.authorization.is_empty()
        || request.form.value("client_secret").is_some()
        || private_key_jwt::is_sent(request);
    let client_id = request.form.value("client_id").filter(|_| !proves);
    Ok(client_id.map(|id| Presented {
        client_id: id.to_owned(),
        proof: Proof::Nothing,
    }))
}

/// A client that must prove something is told that it must, as an unknown one is.
fn verify(attempt: Attempt<'_>) -> BoxFuture<'_, Result<Option<Used>, ClientError>> {
    let public = matches!(attempt.credential, Some((_, Credential::Public)));
    Box::pin(std::future::ready(match public {
        true => Ok(None),
        false => Err(ClientError::Missing),
    }))
}
