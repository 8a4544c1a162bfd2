//! `client_secret_post`: id and secret as form parameters (RFC 6749 §2.3.1).

use super::{ClientError, Method, Presented};
use crate::oauth::request::TokenRequest;
use crate::oauth::secret::Secret;

/// The table entry.
pub static METHOD: Method = Method {
    name: "client_secret_post",
    doc: "the client's id and secret as form parameters",
    present,
};

fn present(request: &TokenRequest) -> Result<Option<Presented>, ClientError> {
    match (
        request.form.value("client_id"),
        request.form.value("client_secret"),
    ) {
        (_, None) => Ok(None),
        (None, Some(_)) if request.authorization.is_empty() => Err(ClientError::Missing),
        (None, Some(_)) => Err(ClientError::Several),
        (Some(id), Some(secret)) => Ok(Some(Presented {
            client_id: id.to_owned(),
            secret: Secret::new(secret.to_owned()),
        })),
    }
}
