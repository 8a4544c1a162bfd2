//! Client authentication: exactly one method per request (RFC 6749 §2.3).
//!
//! [`METHODS`] is the open set. Whatever a request says elsewhere about who it comes from, the
//! authenticated client is the only client there is from here on.

mod secret;
mod secret_basic;
mod secret_post;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use secret::{SaltedHash, SecretError};

use crate::context::{Attributes, ClientFacts};
use crate::oauth::error::ErrorCode;
use crate::oauth::id::ClientId;
use crate::oauth::request::TokenRequest;
use crate::oauth::secret::Secret;
use crate::proof::Verified;

/// A client authentication method.
#[derive(Debug)]
pub struct Method {
    /// Its name in RFC 8414's metadata, in configuration and in `client.auth`.
    pub name: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
    /// The credentials of this method in a request, if there are any.
    pub present: fn(&TokenRequest) -> Result<Option<Presented>, ClientError>,
}

/// All methods of this build.
pub static METHODS: &[&Method] = &[&secret_basic::METHOD, &secret_post::METHOD];

/// Credentials as a request presents them.
#[derive(Debug)]
pub struct Presented {
    /// Who it says it is.
    pub client_id: String,
    /// Its proof.
    pub secret: Secret,
}

/// A registered client.
#[derive(Debug)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Its id and identifiers.
    pub names: BTreeSet<Arc<str>>,
    /// Its attributes.
    pub attributes: Attributes,
    /// The secrets for each method it may use; two during a rotation.
    pub secrets: BTreeMap<&'static str, Vec<SaltedHash>>,
}

/// The clients of a realm.
#[derive(Debug)]
pub struct ClientSet {
    clients: BTreeMap<ClientId, Client>,
    /// Compared with where there is no client, so that an unknown id takes as long as a wrong secret.
    nobody: SaltedHash,
}

/// Why a client was not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No credentials at all.
    #[error("client authentication is required")]
    Missing,
    /// More than one method, or the same one twice.
    #[error("a request must authenticate its client in one way only")]
    Several,
    /// An `Authorization` header that is none of ours.
    #[error("the authorization header is not well-formed Basic authentication")]
    Malformed,
    /// Unknown client, wrong secret, or a method that the client may not use: one answer for all.
    #[error("client authentication failed")]
    Failed,
    /// `client_id` names another client than the credentials.
    #[error("`client_id` does not agree with the authenticated client")]
    Disagrees,
}

impl ClientError {
    /// RFC 6749 §5.2.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Several => ErrorCode::InvalidRequest,
            Self::Missing | Self::Malformed | Self::Failed | Self::Disagrees => {
                ErrorCode::InvalidClient
            }
        }
    }

    /// A word for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "client_auth_missing",
            Self::Several => "client_auth_several",
            Self::Malformed => "client_auth_malformed",
            Self::Failed => "client_auth_failed",
            Self::Disagrees => "client_id_disagrees",
        }
    }
}

impl ClientSet {
    /// The clients of a realm. That names are unique was checked by whoever read the configuration.
    #[must_use]
    pub fn new(clients: impl IntoIterator<Item = Client>) -> Self {
        let clients = clients
            .into_iter()
            .map(|client| (client.id.clone(), client))
            .collect();
        Self {
            clients,
            nobody: SaltedHash::unmatchable(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// The methods that some client may use, for the metadata.
    #[must_use]
    pub fn methods(&self) -> Vec<&'static str> {
        let used = |method: &&&Method| {
            self.clients
                .values()
                .any(|client| client.secrets.contains_key(method.name))
        };
        METHODS
            .iter()
            .filter(used)
            .map(|method| method.name)
            .collect()
    }

    /// The registered client that a request claims to come from, whether it proves it or not. For the
    /// record only, and never anything that is not a registered id: a secret may stand in its place.
    #[must_use]
    pub fn claimed(&self, request: &TokenRequest) -> Option<&ClientId> {
        let presented = METHODS
            .iter()
            .find_map(|method| (method.present)(request).ok()?)?;
        let id: ClientId = presented.client_id.parse().ok()?;
        self.clients.get(&id).map(|client| &client.id)
    }

    /// Authenticates the client of a request.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn authenticate(
        &self,
        request: &TokenRequest,
    ) -> Result<Verified<ClientFacts>, ClientError> {
        if request.authorization.len() > 1 {
            return Err(ClientError::Several);
        }
        let mut found: Option<(&'static str, Presented)> = None;
        for method in METHODS {
            if let Some(presented) = (method.present)(request)? {
                if found.is_some() {
                    return Err(ClientError::Several);
                }
                found = Some((method.name, presented));
            }
        }
        let (method, presented) = found.ok_or(ClientError::Missing)?;
        let client = presented
            .client_id
            .parse()
            .ok()
            .and_then(|id: ClientId| self.clients.get(&id));
        let secrets = client.and_then(|client| client.secrets.get(method));
        let matched = match secrets {
            Some(secrets) => secrets.iter().fold(false, |matched, secret| {
                secret.matches(&presented.secret) | matched
            }),
            None => self.nobody.matches(&presented.secret),
        };
        let client = client.filter(|_| matched).ok_or(ClientError::Failed)?;
        if request
            .form
            .value("client_id")
            .is_some_and(|sent| sent != client.id.as_str())
        {
            return Err(ClientError::Disagrees);
        }
        // Vouched for by: one of the client's secrets for this very method.
        Ok(Verified::assertion(ClientFacts {
            id: client.id.clone(),
            names: client.names.clone(),
            auth: method,
            attributes: client.attributes.clone(),
        }))
    }
}
