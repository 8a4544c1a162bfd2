//! Whose tokens are trusted, and the way from a raw token to a verified party.
//!
//! A token that has the shape of a JWT belongs to the issuer that its `iss` names, byte for byte, and
//! to no other; any other token belongs to the one issuer that takes opaque tokens of the declared type.
//! How it is verified follows from the issuer and that type. There is never a second try.

mod introspect;
mod jwt;
mod kind;
mod party;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use introspect::{Credentials, Introspection, ProbeError};
pub use jwt::OTHER_KINDS;

use crate::context::{Hop, Party};
use crate::jose::{Compact, JwsError, Shape, claims_unverified, shape};
use crate::keys::{KeySource, KeysError, Remote};
use crate::net::NetError;
use crate::oauth::NumericDate;
use crate::oauth::claims::{ClaimDeclaration, ClaimError, Claims};
use crate::oauth::error::ErrorCode;
use crate::oauth::id::{Issuer, IssuerAlias};
use crate::oauth::secret::RawToken;
use crate::oauth::token_type::TokenType;
use crate::proof::Verified;

/// Every issuer of a realm, our own tokens' among them.
#[derive(Debug)]
pub struct IssuerSet {
    issuers: Vec<Arc<TrustedIssuer>>,
    own: Issuer,
}

/// An issuer that a realm trusts, and what its tokens must be like.
#[derive(Debug)]
pub struct TrustedIssuer {
    /// What policies call it.
    pub alias: IssuerAlias,
    /// Its identifier: `iss`.
    pub id: Issuer,
    /// Whether its tokens are taken at all (`enabled: false`). It keeps its place, so that no other issuer
    /// is asked about its tokens.
    pub enabled: bool,
    /// The token types accepted from it.
    pub accepts: Vec<AcceptedType>,
    /// The claims that say which client a token was issued to; the first that is there counts.
    pub client_claims: Vec<Arc<str>>,
    /// The claims that policies may see.
    pub claims: BTreeMap<Arc<str>, ClaimDeclaration>,
    /// The claims that must have one of these values: the realm's tenants of a shared issuer.
    pub tenants: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Issuers whose subjects its `may_act` may name without saying so (`may_act_namespace:`).
    pub may_act_namespace: BTreeSet<IssuerAlias>,
    /// Other issuers whose parties its `act` may name (`act_namespace:`).
    pub act_namespace: BTreeSet<IssuerAlias>,
    /// How far its clock may differ from ours, in seconds; for `nbf` and `iat`, never for `exp`.
    pub leeway: i64,
    /// How long an introspected token without `exp` counts as valid; refused where `None`.
    pub without_exp: Option<i64>,
    /// Its keys, for JWTs.
    pub keys: Option<KeySource>,
    /// Its introspection endpoint, for opaque tokens (RFC 7662).
    pub introspection: Option<Introspection>,
}

/// A token type that an issuer's tokens may be presented as.
#[derive(Clone, Debug)]
pub struct AcceptedType {
    /// The type.
    pub token_type: TokenType,
    /// The values of the JOSE header `typ` that go with it, normalised; empty text stands for none.
    pub typ: BTreeSet<String>,
    /// Whom its tokens must be addressed to.
    pub audience: AudienceRule,
    /// Where its tokens keep their scope; `None` for `scope: none`.
    pub scope_claim: Option<String>,
    /// Whether JWTs of this type are checked with the issuer's keys.
    pub by_keys: bool,
    /// Whether the issuer is asked about opaque tokens of this type, and about JWTs that are not checked
    /// with keys.
    pub by_introspection: bool,
}

/// Whom an issuer's tokens must be addressed to (`audience:`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AudienceRule {
    /// Anybody. Only where it is spelled out.
    Any,
    /// The client that brings it: its id or one of its identifiers.
    Client,
    /// Us: our issuer identifier.
    Own,
    /// One of these.
    OneOf(BTreeSet<Arc<str>>),
}

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a JWS that we accept, or its signature is not its issuer's.
    #[error("the token is not acceptable: {0}")]
    Jws(#[from] JwsError),
    /// It is encrypted.
    #[error("encrypted tokens are not accepted")]
    Encrypted,
    /// Its `iss` is none of the realm's issuers.
    #[error("the token's issuer is not known here")]
    UnknownIssuer,
    /// No issuer takes opaque tokens.
    #[error("opaque tokens are not accepted here")]
    OpaqueNotAccepted,
    /// The issuer has no keys and no introspection that could verify it.
    #[error("tokens of this kind are not accepted from their issuer")]
    NoVerifier,
    /// The declared type is none that the issuer's tokens may have.
    #[error("tokens of this issuer are not accepted as the declared type")]
    TypeNotAccepted,
    /// The header `typ` is that of another kind of token (RFC 8725 §3.11).
    #[error("the token's `typ` does not go with the declared type")]
    WrongTyp,
    /// It has `events`, as every security event token does (RFC 8417 §2.2), logout tokens among them,
    /// whatever their `typ`: such a token says that something happened and grants nothing.
    #[error("the token states an event (`events`) and grants nothing")]
    Event,
    /// A claim has the wrong type or is missing.
    #[error("{0}")]
    Claim(#[from] ClaimError),
    /// `exp` is not in the future.
    #[error("the token has expired")]
    Expired,
    /// `nbf`, `iat` or `auth_time` is in the future.
    #[error("the token is not valid yet: `{0}` is in the future")]
    NotYet(&'static str),
    /// It is addressed to somebody else.
    #[error("the token is not addressed to the party that may bring it here")]
    WrongAudience,
    /// It has `cnf`, which this build cannot honour; or it is an actor token with `act` or `may_act`.
    #[error("the token has `{0}`, which cannot be honoured here")]
    Constrained(&'static str),
    /// The token has `act`, `may_act` or `sub`, and what its issuer answers about it says otherwise.
    #[error("the issuer's answer leaves out or changes the `{0}` of the token")]
    Lost(&'static str),
    /// It has a character that no token has.
    #[error("the token has a character that no token may have")]
    Malformed,
    /// It is an ID token, a refresh token or another that gives no access (RFC 8725 §3.11).
    #[error("the token is not an access token")]
    OtherKind,
    /// Introspection says that it is bound to a key, or something else than a bearer token.
    #[error("the token is not a bearer token, and this server supports no other")]
    NotBearer,
    /// Introspection says that it is not active (RFC 7662 §2.2).
    #[error("the token is not active")]
    Inactive,
    /// Introspection names another issuer.
    #[error("the token was issued by somebody else")]
    OtherIssuer,
    /// Its issuer is not to be trusted for now (`enabled: false`).
    #[error("the token's issuer is disabled here")]
    IssuerDisabled {
        /// Whether it was found as the one for opaque tokens.
        opaque: bool,
    },
    /// It belongs to another tenant of its issuer.
    #[error("claim `{0}` is that of another tenant")]
    WrongTenant(Arc<str>),
    /// The issuer's keys could not be had.
    #[error("the token could not be verified now: {0}")]
    Keys(#[from] KeysError),
    /// The issuer could not be asked.
    #[error("the token could not be verified now: {0}")]
    Unavailable(#[from] NetError),
    /// The issuer's answer makes no sense.
    #[error("the token could not be verified now: {0}")]
    BadAnswer(&'static str),
}

impl TokenError {
    /// RFC 8693 §2.2.2: a token that is not valid or not acceptable is `invalid_request`; an issuer
    /// that cannot be asked is not the client's fault.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Keys(_) | Self::Unavailable(_) | Self::BadAnswer(_) => {
                ErrorCode::TemporarilyUnavailable
            }
            _ => ErrorCode::InvalidRequest,
        }
    }

    /// A word for logs and metrics, from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Jws(error) => error.reason(),
            Self::Encrypted => "jwe_not_jws",
            Self::UnknownIssuer => "issuer_unknown",
            Self::OpaqueNotAccepted => "opaque_not_accepted",
            Self::NoVerifier => "no_verifier",
            Self::TypeNotAccepted => "token_type_not_accepted",
            Self::WrongTyp => "typ_wrong",
            Self::Event => "token_is_event",
            Self::Claim(_) => "claim_invalid",
            Self::Expired => "token_expired",
            Self::NotYet(_) => "token_not_yet_valid",
            Self::WrongAudience => "audience_wrong",
            Self::Constrained("act") => "token_has_act",
            Self::Constrained("may_act") => "token_has_may_act",
            Self::Constrained(_) => "token_has_cnf",
            Self::Lost("sub") => "subject_differs",
            Self::Lost(_) => "delegation_lost",
            Self::Malformed => "token_malformed",
            Self::OtherKind => "token_of_other_kind",
            Self::NotBearer => "token_not_bearer",
            Self::Inactive => "token_inactive",
            Self::OtherIssuer => "issuer_differs",
            Self::IssuerDisabled { .. } => "issuer_disabled",
            Self::WrongTenant(_) => "tenant_wrong",
            Self::Keys(_) => "keys_unavailable",
            Self::Unavailable(_) => "issuer_unavailable",
            Self::BadAnswer(_) => "issuer_answer_invalid",
        }
    }

    /// What the client may be told: nothing about the network behind us, nor which issuers were known
    /// here once or whose tenants are.
    #[must_use]
    pub fn for_client(&self) -> String {
        match self {
            Self::Keys(_) | Self::Unavailable(_) | Self::BadAnswer(_) => {
                "the token could not be verified now".to_owned()
            }
            Self::IssuerDisabled { opaque: false } => Self::UnknownIssuer.to_string(),
            Self::IssuerDisabled { opaque: true } => Self::OpaqueNotAccepted.to_string(),
            Self::WrongTenant(_) => {
                "the token belongs to a tenant that is not known here".to_owned()
            }
            other => other.to_string(),
        }
    }
}

/// What a token is brought as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// `subject_token`: of the party on behalf of whom something is asked.
    Subject,
    /// `actor_token`: of the party that acts.
    Actor,
}

/// What a token is verified against, besides its issuer.
pub(crate) struct Expectation<'a> {
    /// The type that it was presented as.
    pub token_type: &'a TokenType,
    /// The names of the client that brought it.
    pub client_names: &'a BTreeSet<Arc<str>>,
    /// What it is brought as.
    pub role: Role,
    /// All issuers of the realm, our own tokens' among them.
    pub issuers: &'a IssuerSet,
    /// The time.
    pub now: NumericDate,
}

impl IssuerSet {
    /// The realm's issuers. That identifiers differ, and that at most one takes opaque tokens, was
    /// checked by whoever read the configuration.
    #[must_use]
    pub fn new(issuers: Vec<Arc<TrustedIssuer>>, own: Issuer) -> Self {
        Self { issuers, own }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &TrustedIssuer> {
        self.issuers.iter().map(|issuer| &**issuer)
    }

    /// Verifies a token: signature or introspection, then every claim.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn verify(
        &self,
        token: &RawToken,
        token_type: &TokenType,
        role: Role,
        client_names: &BTreeSet<Arc<str>>,
        now: NumericDate,
    ) -> Result<Verified<Party>, TokenError> {
        let expectation = Expectation {
            token_type,
            client_names,
            role,
            issuers: self,
            now,
        };
        match shape(token.expose()) {
            Shape::Jwe => Err(TokenError::Encrypted),
            // Only its issuer knows how a refresh token is to be read; that it looks like a JWT tells whose
            // it is, and nothing else.
            Shape::Jws if *token_type == TokenType::RefreshToken => {
                let claims = Claims::new(claims_unverified(token.expose())?);
                let iss = claims.string("iss")?.ok_or(JwsError::IssMissing)?;
                let issuer = self.by_id(iss)?;
                let accepted = issuer.accepted(token_type)?;
                let said = kind::check_unverified(&claims, false, &expectation)?;
                introspected(issuer, accepted, token, Some(said), &expectation).await
            }
            Shape::Jws => {
                let compact = Compact::parse(token.expose())?;
                let issuer = self.by_id(&compact.peek_issuer_unverified()?)?;
                let accepted = issuer.accepted(token_type)?;
                match &issuer.keys {
                    Some(keys) if accepted.by_keys => {
                        jwt::verify(issuer, accepted, compact, keys, &expectation).await
                    }
                    _ => {
                        // The issuer's answer vouches for it; what the token itself says still
                        // binds, even where the answer leaves it out.
                        let said = jwt::check_unverified(accepted, &compact, &expectation)?;
                        introspected(issuer, accepted, token, Some(said), &expectation).await
                    }
                }
            }
            Shape::Opaque => {
                let (issuer, accepted) = self.for_opaque(token_type)?;
                // RFC 6749 appendix A.12, less the space: `Bearer eyJ…` is a slip, not a token.
                if !token.expose().bytes().all(|b| (0x21..=0x7e).contains(&b)) {
                    return Err(TokenError::Malformed);
                }
                introspected(issuer, accepted, token, None, &expectation).await
            }
        }
    }

    /// What would stand against a JWT if it were signed as it should be, without asking anybody: for whoever
    /// wants to see what is wrong with one. It vouches for nothing.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), but for what only keys or the issuer can tell.
    pub fn objection(
        &self,
        token: &RawToken,
        token_type: &TokenType,
        role: Role,
        client_names: &BTreeSet<Arc<str>>,
        now: NumericDate,
    ) -> Result<(), TokenError> {
        let expectation = Expectation {
            token_type,
            client_names,
            role,
            issuers: self,
            now,
        };
        let compact = Compact::parse(token.expose())?;
        let issuer = self.by_id(&compact.peek_issuer_unverified()?)?;
        let accepted = issuer.accepted(token_type)?;
        match issuer.keys {
            Some(_) if accepted.by_keys => jwt::objection(issuer, accepted, &compact, &expectation),
            _ => jwt::check_unverified(accepted, &compact, &expectation).map(drop),
        }
    }

    /// The issuer of this identifier, byte for byte.
    fn by_id(&self, iss: &str) -> Result<&TrustedIssuer, TokenError> {
        match self.known(iss) {
            None => Err(TokenError::UnknownIssuer),
            Some(issuer) if !issuer.enabled => Err(TokenError::IssuerDisabled { opaque: false }),
            Some(issuer) => Ok(issuer),
        }
    }

    /// The one issuer that takes opaque tokens of this type.
    fn for_opaque(
        &self,
        token_type: &TokenType,
    ) -> Result<(&TrustedIssuer, &AcceptedType), TokenError> {
        let mut marked = self
            .iter()
            .filter(|issuer| issuer.introspection.is_some())
            .peekable();
        if marked.peek().is_none() {
            return Err(TokenError::OpaqueNotAccepted);
        }
        let takes = |issuer| {
            let accepted = TrustedIssuer::accepted(issuer, token_type).ok()?;
            accepted.by_introspection.then_some((issuer, accepted))
        };
        match marked.find_map(takes) {
            None => Err(TokenError::TypeNotAccepted),
            Some((issuer, _)) if !issuer.enabled => {
                Err(TokenError::IssuerDisabled { opaque: true })
            }
            Some(found) => Ok(found),
        }
    }

    /// Our issuer identifier.
    fn own(&self) -> &Issuer {
        &self.own
    }

    /// The issuer of this identifier, enabled or not.
    fn known(&self, id: &str) -> Option<&TrustedIssuer> {
        self.iter().find(|issuer| issuer.id.as_str() == id)
    }

    /// The alias of an issuer identifier; `unknown` also where it is disabled, since nobody vouches for it.
    fn alias_of(&self, id: &str) -> Arc<str> {
        let known = self.known(id).filter(|issuer| issuer.enabled);
        Arc::from(known.map_or(Hop::UNKNOWN, |issuer| issuer.alias.as_str()))
    }

    /// Where the keys that are in use come from, for whoever keeps them.
    pub fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.iter()
            .filter(|issuer| issuer.enabled)
            .filter_map(|issuer| issuer.keys.as_ref()?.remote())
    }
}

async fn introspected(
    issuer: &TrustedIssuer,
    accepted: &AcceptedType,
    token: &RawToken,
    said: Option<kind::Said>,
    expectation: &Expectation<'_>,
) -> Result<Verified<Party>, TokenError> {
    match &issuer.introspection {
        Some(introspection) if accepted.by_introspection => {
            introspection
                .verify(issuer, accepted, token, said, expectation)
                .await
        }
        _ => Err(TokenError::NoVerifier),
    }
}

impl TrustedIssuer {
    /// Whether its tokens have a scope, of whatever type. A token of one that has, and of a type that has
    /// none, grants none.
    #[must_use]
    pub fn has_scope(&self) -> bool {
        self.accepts
            .iter()
            .any(|accepted| accepted.scope_claim.is_some())
    }

    /// Whether any of its tokens could be verified now. An introspection endpoint counts: only asking it
    /// would tell.
    #[must_use]
    pub fn can_verify(&self) -> bool {
        self.enabled
            && (self.introspection.is_some() || self.keys.as_ref().is_some_and(KeySource::usable))
    }

    fn accepted(&self, token_type: &TokenType) -> Result<&AcceptedType, TokenError> {
        self.accepts
            .iter()
            .find(|accepted| accepted.token_type == *token_type)
            .ok_or(TokenError::TypeNotAccepted)
    }
}
