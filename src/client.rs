//! Client authentication: exactly one method per request (RFC 6749 §2.3).
//!
//! [`METHODS`] is the open set. Whatever a request says elsewhere about who it comes from, the
//! authenticated client is the only client there is from here on.

mod none;
mod private_key_jwt;
mod secret;
mod secret_basic;
mod secret_post;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use private_key_jwt::{AssertionError, Assertions};
pub use secret::{SaltedHash, SecretError};

use crate::context::{Attributes, ClientFacts};
use crate::jose::{Algorithm, Compact};
use crate::keys::Remote;
use crate::oauth::NumericDate;
use crate::oauth::error::ErrorCode;
use crate::oauth::id::{ClientId, RealmName};
use crate::oauth::request::TokenRequest;
use crate::oauth::secret::Secret;
use crate::proof::Verified;
use crate::store::{Limits, Refusal, SingleUse, Ticket};

/// A future that a function of the table can return.
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A client authentication method.
#[derive(Debug)]
pub struct Method {
    /// Its name in RFC 8414's metadata, in configuration and in `client.auth`.
    pub name: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
    /// What a client is registered with for it.
    pub takes: Takes,
    /// The credentials of this method in a request, if there are any.
    pub present: for<'a> fn(&'a TokenRequest) -> Result<Option<Presented<'a>>, ClientError>,
    /// Whether they are those of the client that they name. Gives what may be used once only.
    pub verify: for<'a> fn(Attempt<'a>) -> BoxFuture<'a, Result<Option<Used>, ClientError>>,
}

/// What a client is registered with for a method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// One secret, or two during a rotation.
    Secrets,
    /// Public keys.
    Keys,
    /// Nothing at all.
    Nothing,
}

/// All methods of this build.
pub static METHODS: &[&Method] = &[
    &secret_basic::METHOD,
    &secret_post::METHOD,
    &private_key_jwt::METHOD,
    &none::METHOD,
];

/// Credentials as a request presents them.
#[derive(Debug)]
pub struct Presented<'a> {
    /// Who it says it is; empty where that cannot be made out.
    pub client_id: String,
    /// Its proof.
    pub proof: Proof<'a>,
}

/// What a request proves its client with.
#[derive(Debug)]
pub enum Proof<'a> {
    /// A secret.
    Secret(Secret),
    /// An assertion, or what is wrong with what stands in its place.
    Assertion(Box<Result<Compact<'a>, AssertionError>>),
    /// Nothing.
    Nothing,
}

/// What a client is registered with for one method.
#[derive(Debug)]
pub enum Credential {
    /// Its secrets; two during a rotation.
    Secrets(Vec<SaltedHash>),
    /// What its assertions must be like.
    Assertions(Assertions),
    /// None: it is a public client.
    Public,
}

/// What a method verifies.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The client that is named and what it is registered with for this method, if there is such a client.
    pub credential: Option<(&'a Client, &'a Credential)>,
    /// What the request has to show.
    pub proof: Proof<'a>,
    /// Compared with where there is no client, so that an unknown id takes as long as a wrong secret. An
    /// assertion for no client is not verified with anything: ids of clients are no secrets.
    pub nobody: &'a SaltedHash,
    /// The time.
    pub now: NumericDate,
}

/// Something that a client may use once, and has now used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Used {
    /// Its identifier.
    pub id: String,
    /// When it was issued, by the client's clock.
    pub issued_at: NumericDate,
    /// How far that clock may be ahead of ours, in seconds.
    pub ahead: i64,
    /// Its end.
    pub until: NumericDate,
    /// Whether it is so new that it was made for this very request.
    pub just_made: bool,
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
    /// Whether it may come at all. Rules may name it all the same.
    pub enabled: bool,
    /// What it is registered with, for each method that it may use.
    pub credentials: BTreeMap<&'static str, Credential>,
}

/// The clients of a realm.
#[derive(Debug)]
pub struct ClientSet {
    clients: BTreeMap<ClientId, Client>,
    nobody: SaltedHash,
    single_use: Arc<SingleUse>,
    limits: Limits,
    /// Whose clients they are: those of another realm are others, whatever they are called.
    realm: RealmName,
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
    /// The client's assertion was refused.
    #[error("the client assertion is refused: {0}")]
    Assertion(#[from] AssertionError),
    /// Its keys could not be fetched, so that nobody knows.
    #[error("the client's keys could not be fetched")]
    NoKeys,
    /// Its assertion is good, but cannot be used up.
    #[error("the client assertion cannot be used: {0}")]
    Unavailable(Refusal),
    /// The client that is named is disabled, whoever named it: what was shown was not looked at.
    #[error("the client is disabled")]
    Disabled,
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
            Self::Unavailable(_) | Self::NoKeys => ErrorCode::TemporarilyUnavailable,
            Self::Missing
            | Self::Malformed
            | Self::Failed
            | Self::Assertion(_)
            | Self::Disabled
            | Self::Disagrees => ErrorCode::InvalidClient,
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
            Self::Assertion(error) => error.reason(),
            Self::NoKeys => "client_keys_unavailable",
            Self::Unavailable(Refusal::Seen) => AssertionError::Replayed.reason(),
            Self::Unavailable(Refusal::BeforeStart) => AssertionError::BeforeStart.reason(),
            Self::Unavailable(Refusal::Forgotten) => "assertion_clock",
            Self::Unavailable(Refusal::Full) => "assertion_no_room",
            Self::Unavailable(Refusal::OwnerFull) => "assertion_no_room_for_client",
            Self::Disabled => "client_disabled",
            Self::Disagrees => "client_id_disagrees",
        }
    }

    /// What the client is told: nothing of which clients there are and what they are registered with.
    #[must_use]
    pub fn for_client(self) -> String {
        match self {
            Self::Missing | Self::Several | Self::Malformed | Self::Failed | Self::Disagrees => {
                self.to_string()
            }
            Self::Assertion(error) if error.may_be_told() => self.to_string(),
            Self::Assertion(_) | Self::Disabled => Self::Failed.to_string(),
            Self::Unavailable(_) | Self::NoKeys => {
                "the client assertion cannot be checked now; come back with a new one".to_owned()
            }
        }
    }
}

impl Client {
    fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.credentials
            .values()
            .filter_map(|credential| match credential {
                Credential::Assertions(assertions) => assertions.keys.remote(),
                Credential::Secrets(_) | Credential::Public => None,
            })
    }
}

impl ClientSet {
    /// The clients of a realm, and where what they use up is remembered. That names are unique was checked
    /// by whoever read the configuration.
    #[must_use]
    pub fn new(
        realm: &RealmName,
        clients: impl IntoIterator<Item = Client>,
        single_use: Arc<SingleUse>,
        limits: Limits,
    ) -> Self {
        let clients = clients
            .into_iter()
            .map(|client| (client.id.clone(), client))
            .collect();
        Self {
            clients,
            nobody: SaltedHash::unmatchable(),
            single_use,
            limits,
            realm: realm.clone(),
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

    /// The methods that some enabled client may use, for the metadata.
    #[must_use]
    pub fn methods(&self) -> Vec<&'static str> {
        METHODS
            .iter()
            .map(|method| method.name)
            .filter(|name| self.enabled().any(|c| c.credentials.contains_key(name)))
            .collect()
    }

    /// The algorithms that enabled clients may sign assertions with, for the metadata (RFC 8414 §2).
    #[must_use]
    pub fn assertion_algorithms(&self) -> BTreeSet<Algorithm> {
        let credentials = self
            .enabled()
            .flat_map(|client| client.credentials.values());
        credentials
            .filter_map(|credential| match credential {
                Credential::Assertions(assertions) => Some(assertions.keys.algorithms()),
                Credential::Secrets(_) | Credential::Public => None,
            })
            .flatten()
            .collect()
    }

    /// Where the keys that are in use come from, for whoever keeps them.
    pub fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.enabled().flat_map(Client::remotes)
    }

    /// The same with those of disabled clients.
    pub fn known_remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.clients.values().flat_map(Client::remotes)
    }

    /// How long after a start the last of its clients' assertions may be refused for having been made
    /// before, in seconds.
    #[must_use]
    pub fn quarantine(&self) -> Option<i64> {
        let credentials = self
            .enabled()
            .flat_map(|client| client.credentials.values());
        let leeways = credentials.filter_map(|credential| match credential {
            Credential::Assertions(assertions) => Some(assertions.leeway),
            Credential::Secrets(_) | Credential::Public => None,
        });
        leeways.max()
    }

    fn enabled(&self) -> impl Iterator<Item = &Client> {
        self.clients.values().filter(|client| client.enabled)
    }

    /// The registered client that a request claims to come from, whether it proves it or not. For the
    /// record only, and never anything that is not a registered id: a secret may stand in its place.
    #[must_use]
    pub fn claimed(&self, request: &TokenRequest) -> Option<&ClientId> {
        let presented = METHODS
            .iter()
            .find_map(|method| (method.present)(request).ok()?)?;
        let client = self.named(&presented.client_id)?;
        Some(&client.id)
    }

    fn named(&self, id: &str) -> Option<&Client> {
        self.clients.get(&id.parse::<ClientId>().ok()?)
    }

    /// Authenticates the client of a request, by exactly one method.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn authenticate(
        &self,
        request: &TokenRequest,
        now: NumericDate,
    ) -> Result<Verified<ClientFacts>, ClientError> {
        let (method, presented) = only_one(request)?;
        let registered = self
            .named(&presented.client_id)
            .and_then(|client| Some((client, client.credentials.get(method.name)?)));
        // A disabled client is nobody: what it is registered with is not looked at, nor fetched.
        let credential = registered.filter(|(client, _)| client.enabled);
        let verified = (method.verify)(Attempt {
            credential,
            proof: presented.proof,
            nobody: &self.nobody,
            now,
        })
        .await;
        let used = match verified {
            Err(ClientError::Failed | ClientError::Missing)
                if registered.is_some() && credential.is_none() =>
            {
                return Err(ClientError::Disabled);
            }
            verified => verified?,
        };
        let (client, _) = credential.ok_or(ClientError::Failed)?;
        if request
            .form
            .value("client_id")
            .is_some_and(|sent| sent != client.id.as_str())
        {
            return Err(ClientError::Disagrees);
        }
        // Last, so that nobody but the client itself can use anything up, and fill the memory of it.
        if let Some(used) = used {
            self.use_up(client, &used, now)?;
        }
        // Vouched for by: the method's `verify`, with what the client is registered with for it.
        Ok(Verified::assertion(ClientFacts {
            id: client.id.clone(),
            names: client.names.clone(),
            auth: method.name,
            attributes: client.attributes.clone(),
        }))
    }

    fn use_up(&self, client: &Client, used: &Used, now: NumericDate) -> Result<(), ClientError> {
        let ticket = Ticket {
            kind: "client_assertion",
            realm: self.realm.as_str(),
            owner: client.id.as_str(),
            id: &used.id,
            issued_at: used.issued_at,
            ahead: used.ahead,
            until: used.until,
        };
        let result = self.single_use.use_up(&ticket, self.limits, now);
        result.map_err(|refusal| match refusal {
            Refusal::Seen => AssertionError::Replayed.into(),
            // A good client comes at a bad moment, and does as it is told: it makes a new one.
            Refusal::BeforeStart if !used.just_made => AssertionError::BeforeStart.into(),
            refusal => ClientError::Unavailable(refusal),
        })
    }
}

/// RFC 6749 §2.3: a client must not use more than one method in a request.
fn only_one(request: &TokenRequest) -> Result<(&'static Method, Presented<'_>), ClientError> {
    if request.authorization.len() > 1 {
        return Err(ClientError::Several);
    }
    let mut found = None;
    for method in METHODS {
        if let Some(presented) = (method.present)(request)? {
            if found.is_some() {
                return Err(ClientError::Several);
            }
            found = Some((*method, presented));
        }
    }
    found.ok_or(ClientError::Missing)
}
