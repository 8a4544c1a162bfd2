//! Everything that a policy may see and a provider may use of one request.
//!
//! All of it is verified, canonical and typed before it gets here. Raw tokens and secrets have no
//! place in it.

mod delegation;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use delegation::{ActingParty, Hop, MAX_DEPTH, MayAct};

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
    /// Its `may_act` (RFC 8693 §4.4).
    pub may_act: Option<MayAct>,
    /// `jti`, for the audit.
    pub token_id: Option<String>,
    /// The claims that its issuer's configuration declares.
    pub claims: Attributes,
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
    /// The party of the actor token, where there is one.
    pub actor: Option<Party>,
    /// Our own issuer identifier.
    pub own: Issuer,
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
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one request, each named"
    )]
    pub fn new(
        request_id: RequestId,
        grant_type: &'static str,
        request: &ExchangeRequest,
        client: Verified<ClientFacts>,
        subject: Verified<Party>,
        actor: Option<Verified<Party>>,
        own: &Issuer,
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
            actor.map(Verified::into_inner),
            own.clone(),
            peer,
            now,
        )
    }

    /// The same from facts that somebody states, for `explain` and tests of policies: it decides
    /// nothing about real tokens.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one request, each named"
    )]
    pub(crate) fn assemble(
        request_id: RequestId,
        request: RequestFacts,
        client: ClientFacts,
        subject: Party,
        actor: Option<Party>,
        own: Issuer,
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
            actor,
            own,
            request,
            // One spelling of an address, however the socket was bound.
            peer: peer.to_canonical(),
            scope,
            now,
        }
    }
    /// Who acts for the subject, if anybody does.
    #[must_use]
    pub fn acting(&self) -> ActingParty<'_> {
        match &self.actor {
            Some(actor) => ActingParty::Actor(actor),
            None => ActingParty::Client(&self.client),
        }
    }

    /// Whether the subject's `may_act` names who acts; `None` where it has none.
    #[must_use]
    pub fn may_act_names(&self) -> Option<bool> {
        let may_act = self.subject.may_act.as_ref()?;
        Some(may_act.names(self.acting()))
    }

    /// Who acts, as one actor of a chain.
    #[must_use]
    pub fn acting_hop(&self) -> Hop {
        match self.acting() {
            ActingParty::Actor(actor) => Hop {
                issuer: Arc::from(actor.issuer.as_str()),
                iss: Arc::from(actor.issuer_id.as_str()),
                sub: Some(Arc::from(actor.subject.as_str())),
                client_id: actor.client_id.clone(),
            },
            // Not as `sub`: there it could be taken for a user of the same name (RFC 9068 §5).
            ActingParty::Client(client) => Hop {
                issuer: Arc::from(IssuerAlias::own().as_str()),
                iss: Arc::from(self.own.as_str()),
                sub: None,
                client_id: Some(Arc::from(client.id.as_str())),
            },
        }
    }
}
