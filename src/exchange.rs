//! The request line: one straight road from the form to the answer. Read [`exchange`] first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use crate::client::ClientError;
use crate::context::{ClientFacts, ExchangeContext, Party};
use crate::jose::sha256_base64url;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::id::{ClientId, ProcessorId, RequestId};
use crate::oauth::request::{ExchangeRequest, RequestError, TokenRequest};
use crate::oauth::response::ExchangeResponse;
use crate::oauth::secret::RawToken;
use crate::oauth::{NumericDate, TOKEN_EXCHANGE};
use crate::policy::decide::{Allowance, ConfineError, Confined, Reason, Stage};
use crate::policy::{Denial, Permit};
use crate::provider::{Processor, ProviderError};
use crate::snapshot::Realm;
use crate::token::{Role, TokenError};
use crate::trace::phase;

/// A grant type of the token endpoint.
#[derive(Debug)]
pub struct Grant {
    /// `grant_type` on the wire.
    pub grant_type: &'static str,
    /// Its short name in policies (`via`) and audit.
    pub name: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
}

/// All grants of this build.
pub static GRANTS: &[Grant] = &[Grant {
    grant_type: TOKEN_EXCHANGE,
    name: "token_exchange",
    doc: "a token for another (OAuth 2.0 Token Exchange, RFC 8693)",
}];

/// What happened to a request that got no token. For the log; the client is told
/// [`OAuthError`](Self::for_client).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// It is not an exchange request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `grant_type` names no grant of this build.
    #[error("the grant type is not supported")]
    Grant,
    /// Its client was not authenticated.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its subject token was refused.
    #[error("subject_token: {0}")]
    Subject(TokenError),
    /// Its actor token was refused.
    #[error("actor_token: {0}")]
    Actor(TokenError),
    /// The policy refused it.
    #[error("the policy refused the exchange ({})", .0.reason.name())]
    Denied(Box<Denial>),
    /// The processor failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The processor made something that was not permitted.
    #[error(transparent)]
    Confine(#[from] ConfineError),
}

impl From<Denial> for ExchangeError {
    fn from(denial: Denial) -> Self {
        Self::Denied(Box::new(denial))
    }
}

/// One exchange, start to finish.
///
/// # Errors
/// See [`ExchangeError`]; whatever was known until then is in the trail.
pub async fn exchange(
    realm: &Realm,
    incoming: &TokenRequest,
    now: NumericDate,
    trail: &mut Trail,
) -> Result<ExchangeResponse, ExchangeError> {
    let grant = grant(incoming)?;
    let request = ExchangeRequest::try_from(incoming)?; // RFC 8693 §2.1
    let client = realm.clients.authenticate(incoming, now);
    let client = client.instrument(phase!("client")).await;
    let client = client.inspect_err(|_| {
        trail.claimed_client = realm.clients.claimed(incoming).cloned();
    })?; // RFC 6749 §2.3
    let client = trail.client(client);
    // Only now: strangers shall not fill the records with what they like.
    let request = trail.request(request);
    let subject = realm
        .issuers
        .verify(
            &request.subject_token,
            &request.subject_token_type,
            Role::Subject,
            &client.names,
            now,
        )
        .instrument(phase!("subject"))
        .await
        .map_err(ExchangeError::Subject)?; // RFC 7519, RFC 7662
    let subject = trail.subject(subject);
    let actor = match &request.actor {
        None => None,
        Some((token, token_type)) => {
            let verified = realm
                .issuers
                .verify(token, token_type, Role::Actor, &client.names, now)
                .instrument(phase!("actor"))
                .await
                .map_err(ExchangeError::Actor)?; // RFC 8693 §2.1: validated like the subject's
            Some(trail.actor(verified))
        }
    };
    let context = ExchangeContext::new(
        trail.request_id.clone(),
        grant.name,
        &request,
        client,
        subject,
        actor,
        &realm.issuer,
        incoming.peer,
        now,
    );
    trail.context(realm, &context);
    let began = Instant::now();
    let decision = phase!("decide").in_scope(|| realm.policies.decide(&context));
    trail.decision = Some(began.elapsed());
    let (processor, permit) = decision.permitted()?;
    trail.permit(processor, &permit);
    let issued = processor.provider.exchange(&permit);
    let issued = issued.instrument(phase!("process")).await?;
    let issued = phase!("confine").in_scope(|| permit.confine(issued));
    let issued = trail.issued(issued?); // facts of the token ⊆ allowance
    let expires_in = permit.allowance().expires_at.since(now);
    Ok(ExchangeResponse::new(
        &issued,
        &permit.allowance().scope,
        expires_in,
    )) // RFC 8693 §2.2.1
}

fn grant(incoming: &TokenRequest) -> Result<&'static Grant, ExchangeError> {
    let sent = incoming
        .form
        .value("grant_type")
        .ok_or(RequestError::Missing("grant_type"))?;
    GRANTS
        .iter()
        .find(|grant| grant.grant_type == sent)
        .ok_or(ExchangeError::Grant)
}

impl ExchangeError {
    /// The code for the client.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Request(error) => error.code(),
            Self::Grant => ErrorCode::UnsupportedGrantType,
            Self::Client(error) => error.code(),
            Self::Subject(error) | Self::Actor(error) => error.code(),
            Self::Denied(denial) => denial.code,
            Self::Provider(error) => error.code(),
            Self::Confine(_) => ErrorCode::ServerError,
        }
    }

    /// A word for logs and metrics, from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Request(RequestError::Unsupported(_)) => "not_supported",
            Self::Request(_) => "request_malformed",
            Self::Grant => "grant_type",
            Self::Client(error) => error.reason(),
            Self::Subject(error) | Self::Actor(error) => error.reason(),
            Self::Denied(denial) => denial.reason.name(),
            Self::Provider(_) => "provider_failed",
            Self::Confine(_) => "confine",
        }
    }

    /// What the client is told: enough to mend the request, nothing of the policy or of what is behind us.
    #[must_use]
    pub fn for_client(&self) -> OAuthError {
        let text = match self {
            Self::Request(error) => error.to_string(),
            Self::Grant => self.to_string(),
            Self::Client(error) => error.for_client(),
            Self::Subject(error) => format!("subject_token: {}", error.for_client()),
            Self::Actor(error) => format!("actor_token: {}", error.for_client()),
            Self::Denied(denial) => match (&denial.tell, &denial.reason) {
                (Some(tell), _) => tell.to_string(),
                (None, Reason::Ambiguous(_)) => {
                    "the server's policy is in conflict about this request".to_owned()
                }
                (None, Reason::NothingGranted) => {
                    "none of the requested scope can be granted".to_owned()
                }
                (None, Reason::SubjectExpires) => "the subject token is about to expire".to_owned(),
                (None, Reason::ActorExpires) => "the actor token is about to expire".to_owned(),
                (None, Reason::ChainTooLong) => "the chain of actors is too long".to_owned(),
                (None, Reason::NoRule(Stage::Actor)) => {
                    "acting for this subject in this way is not allowed".to_owned()
                }
                (None, _) => match denial.code {
                    ErrorCode::UnauthorizedClient => {
                        "this client may not exchange tokens here".to_owned()
                    }
                    ErrorCode::InvalidTarget => {
                        "no token can be issued for the requested target".to_owned()
                    }
                    ErrorCode::InvalidScope => "the requested scope cannot be granted".to_owned(),
                    _ => "the exchange is not allowed".to_owned(),
                },
            },
            Self::Provider(_) | Self::Confine(_) => "the token could not be issued".to_owned(),
        };
        OAuthError::new(self.code(), text)
    }
}

/// What is known about a request so far, so that one refused at any step is still recorded with its
/// client and subject. Each method records and hands the value on. Holds no token and no secret.
#[derive(Debug)]
pub struct Trail {
    /// The request's id.
    pub request_id: RequestId,
    /// The id of the trace that it belongs to, where there is one.
    pub trace_id: Option<String>,
    /// What was asked for.
    pub asked: Option<Asked>,
    /// The registered client that the request claimed to come from, where it did not prove it.
    pub claimed_client: Option<ClientId>,
    /// The authenticated client.
    pub client: Option<ClientFacts>,
    /// The verified subject.
    pub subject: Option<Party>,
    /// SHA-256 of the subject token, base64url.
    pub subject_token_hash: Option<String>,
    /// The verified actor.
    pub actor: Option<Party>,
    /// SHA-256 of the actor token, base64url.
    pub actor_token_hash: Option<String>,
    /// The facts that the decision rests on.
    pub facts: Option<serde_json::Map<String, serde_json::Value>>,
    /// How long the decision took, where there was one.
    pub decision: Option<Duration>,
    /// The permit, where there is one.
    pub permitted: Option<Permitted>,
    /// What was issued.
    pub issued: Option<Issued>,
}

/// What was asked for, as recorded.
#[derive(Debug)]
pub struct Asked {
    /// `resource`.
    pub resource: Vec<String>,
    /// `audience`.
    pub audience: Vec<String>,
    /// `scope`.
    pub scope: Option<String>,
    /// `requested_token_type`.
    pub requested_token_type: Option<String>,
    /// `subject_token_type`.
    pub subject_token_type: String,
    /// `actor_token_type`, where an actor token was sent.
    pub actor_token_type: Option<String>,
}

/// A permit, as recorded.
#[derive(Debug)]
pub struct Permitted {
    /// `module.rule`.
    pub rule: crate::oauth::id::RuleId,
    /// The processor.
    pub processor: ProcessorId,
    /// The bounds.
    pub allowance: Allowance,
    /// Whether the rule grants past the subject's own scope.
    pub beyond_subject: bool,
}

/// What was issued, as recorded.
#[derive(Debug)]
pub struct Issued {
    /// Its `jti`.
    pub token_id: Option<String>,
    /// SHA-256 of the token, base64url.
    pub token_hash: String,
}

impl Trail {
    /// The beginning of a trail.
    #[must_use]
    pub fn new(request_id: RequestId) -> Self {
        Self {
            request_id,
            trace_id: None,
            asked: None,
            claimed_client: None,
            client: None,
            subject: None,
            subject_token_hash: None,
            actor: None,
            actor_token_hash: None,
            facts: None,
            decision: None,
            permitted: None,
            issued: None,
        }
    }

    fn request(&mut self, request: ExchangeRequest) -> ExchangeRequest {
        self.asked = Some(Asked {
            resource: request
                .targets
                .resources
                .iter()
                .map(|uri| uri.raw().to_owned())
                .collect(),
            audience: request
                .targets
                .audiences
                .iter()
                .map(|name| name.to_string())
                .collect(),
            scope: request.scope.as_ref().map(ToString::to_string),
            requested_token_type: request
                .requested_token_type
                .as_ref()
                .map(|t| t.name().to_owned()),
            subject_token_type: request.subject_token_type.name().to_owned(),
            actor_token_type: request
                .actor
                .as_ref()
                .map(|(_, token_type)| token_type.name().to_owned()),
        });
        let hash = |token: &RawToken| sha256_base64url(token.expose().as_bytes());
        self.subject_token_hash = Some(hash(&request.subject_token));
        self.actor_token_hash = request.actor.as_ref().map(|(token, _)| hash(token));
        request
    }

    fn client(
        &mut self,
        client: crate::proof::Verified<ClientFacts>,
    ) -> crate::proof::Verified<ClientFacts> {
        self.client = Some((*client).clone());
        client
    }

    fn subject(&mut self, subject: crate::proof::Verified<Party>) -> crate::proof::Verified<Party> {
        self.subject = Some((*subject).clone());
        subject
    }

    fn actor(&mut self, actor: crate::proof::Verified<Party>) -> crate::proof::Verified<Party> {
        self.actor = Some((*actor).clone());
        actor
    }

    fn context(&mut self, realm: &Realm, context: &ExchangeContext) {
        self.facts = Some(realm.policies.facts(context));
    }

    fn permit(&mut self, processor: &Arc<Processor>, permit: &Permit<'_>) {
        self.permitted = Some(Permitted {
            rule: permit.rule().clone(),
            processor: processor.id.clone(),
            allowance: permit.allowance().clone(),
            beyond_subject: permit.beyond_subject(),
        });
    }

    fn issued(&mut self, issued: Confined) -> Confined {
        self.issued = Some(Issued {
            token_id: issued.token_id.clone(),
            token_hash: sha256_base64url(issued.token.expose().as_bytes()),
        });
        issued
    }
}
