//! Everything that a policy may see and a provider may use of one request.
//!
//! All of it is verified, canonical and typed before it gets here. Raw tokens and secrets have no
//! place in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::oauth::NumericDate;
use crate::oauth::claims::ClaimValue;
use crate::oauth::id::{ClientId, Issuer, IssuerAlias, RequestId, Subject};
use crate::oauth::request::ExchangeRequest;
use crate::oauth::scope::Scopes;
use crate::oauth::target::Targets;
use crate::oauth::token_type::TokenType;
use crate::proof::Verified;

/// Values of declared claims and attributes, by name.
pub type Attributes = BTreeMap<Arc<str>, ClaimValue>;

/// The authenticated client.
#[derive(Clone, Debug)]
pub struct ClientFacts {
    /// Its `client_id`.
    pub id: ClientId,
    /// Its id and its identifiers.
    pub names: BTreeSet<Arc<str>>,
    /// The method it authenticated with, as in RFC 8414's metadata.
    pub auth: &'static str,
    /// What its registration declares.
    pub attributes: Attributes,
}

/// Who a verified token speaks of, and what the token says.
#[derive(Clone, Debug)]
pub struct Party {
    /// The configured issuer that vouches for it.
    pub issuer: IssuerAlias,
    /// That issuer's identifier.
    pub issuer_id: Issuer,
    /// `sub`.
    pub subject: Subject,
    /// The type under which it was presented and verified.
    pub token_type: TokenType,
    /// When it ends to be valid.
    pub expires_at: NumericDate,
    /// Its scope; `None` where the token says nothing.
    pub scope: Option<Scopes>,
    /// Whether its issuer's tokens have scopes at all (`scope: none` is `false`).
    pub has_scope: bool,
    /// Its `aud`.
    pub audience: Option<BTreeSet<Arc<str>>>,
    /// The client it was issued to.
    pub client_id: Option<Arc<str>>,
    /// `acr`.
    pub acr: Option<Arc<str>>,
    /// `amr`.
    pub amr: Option<BTreeSet<Arc<str>>>,
    /// `auth_time`.
    pub auth_time: Option<NumericDate>,
    /// The actors of its `act`, the outermost first (RFC 8693 §4.1).
    pub chain: Vec<Hop>,
    /// `jti`, for the audit.
    pub token_id: Option<String>,
    /// The claims that its issuer's configuration declares.
    pub claims: Attributes,
}

/// One actor of a delegation chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The alias of its issuer, or `unknown`.
    pub issuer: Arc<str>,
    /// Its `sub`.
    pub sub: Option<Arc<str>>,
    /// Its `client_id`.
    pub client_id: Option<Arc<str>>,
}

impl Hop {
    /// The issuer of a hop that says none, or one that the realm does not trust.
    pub const UNKNOWN: &'static str = "unknown";
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    /// The grant type's short name (`token_exchange`).
    pub grant_type: &'static str,
    /// `requested_token_type`.
    pub requested_token_type: Option<TokenType>,
    /// `scope`, where it was sent.
    pub scope: Option<Scopes>,
    /// `resource` and `audience`.
    pub targets: Targets,
}

/// The context in which an exchange is decided and carried out.
#[derive(Clone, Debug)]
pub struct ExchangeContext {
    /// The request's own id.
    pub request_id: RequestId,
    /// The authenticated client.
    pub client: ClientFacts,
    /// The subject.
    pub subject: Party,
    /// What was asked for.
    pub request: RequestFacts,
    /// The address that the request came from.
    pub peer: IpAddr,
    /// The effective scope: what was sent, else the subject's whole scope, else none. Computed once, so
    /// that leaving the parameter out bypasses nothing.
    pub scope: Scopes,
    /// The time of the decision.
    pub now: NumericDate,
}

impl ExchangeContext {
    /// Puts a context together from what was verified.
    #[must_use]
    pub fn new(
        request_id: RequestId,
        grant_type: &'static str,
        request: &ExchangeRequest,
        client: Verified<ClientFacts>,
        subject: Verified<Party>,
        peer: IpAddr,
        now: NumericDate,
    ) -> Self {
        let request = RequestFacts {
            grant_type,
            requested_token_type: request.requested_token_type.clone(),
            scope: request.scope.clone(),
            targets: request.targets.clone(),
        };
        Self::assemble(
            request_id,
            request,
            client.into_inner(),
            subject.into_inner(),
            peer,
            now,
        )
    }

    /// The same from facts that somebody states, for `explain` and tests of policies: it decides
    /// nothing about real tokens.
    pub(crate) fn assemble(
        request_id: RequestId,
        request: RequestFacts,
        client: ClientFacts,
        subject: Party,
        peer: IpAddr,
        now: NumericDate,
    ) -> Self {
        let scope = request
            .scope
            .clone()
            .or_else(|| subject.scope.clone())
            .unwrap_or_default();
        Self {
            request_id,
            client,
            subject,
            request,
            // One spelling of an address, however the socket was bound.
            peer: peer.to_canonical(),
            scope,
            now,
        }
    }
}
