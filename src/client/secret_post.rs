//! `client_secret_post`: id and secret as form parameters (RFC 6749 §2.3.1).

use super::{ClientError, Method, Presented, Proof, Takes, private_key_jwt, secret};
use crate::oauth::request::TokenRequest;
use crate::oauth::secret::Secret;

/// The table entry.
pub static METHOD: Method = Method {
    name: "client_secret_post",
    doc: "the client's id and secret as form parameters",
    takes: Takes::Secrets,
    present,
    verify: secret::verify,
};

fn present(request: &TokenRequest) -> Result<Option<Presented<'_>>, ClientError> {
    match (
        request.form.value("client_id"),
        request.form.value("client_secret"),
    ) {
        (_, None) => Ok(None),
        (None, Some(_)) => {
            let other = !request.authorization.is_empty() || private_key_jwt::is_sent(request);
            Err(match other {
                true => ClientError::Several,
                false => ClientError::Missing,
            })
        }
        (Some(id), Some(secret)) => Ok(Some(Presented {
            client_id: id.to_owned(),
            proof: Proof::Secret(Secret::new(secret.to_owned())),
        })),
    }
}
