//! Opaque tokens, by asking their issuer (RFC 7662).

use std::sync::Arc;

use super::kind::Said;
use super::party::{Source, party};
use super::{AcceptedType, Expectation, TokenError, TrustedIssuer};
use crate::context::{MAX_DEPTH, Party};
use crate::jose::parse_object;
use crate::metrics::Upstream;
use crate::net::{Answer, Endpoint, Limits, Net, NetError, form_encode};
use crate::oauth::claims::{Claims, Identity};
use crate::oauth::secret::{RawToken, Secret};
use crate::proof::Verified;

/// An issuer's introspection endpoint, and how we authenticate there.
#[derive(Debug)]
pub struct Introspection {
    /// The client that asks.
    pub net: Net,
    /// Whom it asks, as metrics say it.
    pub upstream: Upstream,
    /// Where.
    pub endpoint: Endpoint,
    /// How we say who we are.
    pub credentials: Credentials,
    /// How long and how much.
    pub limits: Limits,
}

/// How we authenticate to an introspection endpoint (RFC 7662 §2.1, RFC 6749 §2.3.1).
#[derive(Debug)]
pub enum Credentials {
    /// Not at all.
    None,
    /// `client_secret_basic`: the whole `Authorization` header.
    Basic(Secret),
    /// `client_secret_post`: in the form.
    Post {
        /// `client_id`.
        client_id: String,
        /// `client_secret`.
        secret: Secret,
    },
}

/// Why an introspection endpoint is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// There was no complete answer.
    #[error(transparent)]
    Net(#[from] NetError),
    /// We were not let in.
    #[error("it refuses our credentials (status {0})")]
    Credentials(u16),
    /// The answer has another status than 200.
    #[error("the answer has the status {0}")]
    Status(u16),
    /// The answer is none to such a question.
    #[error(
        "the answer is no `application/json` object with `active: true` or `false` (RFC 7662 section 2.2)"
    )]
    Answer,
    /// It vouches for anything.
    #[error("it says that a token is active that nobody ever issued")]
    Gullible,
}

impl Introspection {
    /// Asks about a token that nobody ever issued: for whoever wants to know whether it would answer.
    ///
    /// # Errors
    /// Why it would not, or not rightly.
    pub async fn probe(&self) -> Result<(), ProbeError> {
        let nobodys = RawToken::new("cambist-asks-whether-anybody-is-here".to_owned());
        let answer = self.ask(&nobodys, "access_token").await?;
        match answer.status {
            200 => {}
            status @ (401 | 403) => return Err(ProbeError::Credentials(status)),
            status => return Err(ProbeError::Status(status)),
        }
        if !is_json(&answer) {
            return Err(ProbeError::Answer);
        }
        match parse_object(&answer.body)
            .as_ref()
            .map(|object| object.get("active"))
        {
            Ok(Some(serde_json::Value::Bool(false))) => Ok(()),
            Ok(Some(serde_json::Value::Bool(true))) => Err(ProbeError::Gullible),
            _ => Err(ProbeError::Answer),
        }
    }

    async fn ask(&self, token: &RawToken, hint: &str) -> Result<Answer, NetError> {
        let mut form = vec![("token", token.expose()), ("token_type_hint", hint)];
        let authorization = match &self.credentials {
            Credentials::None => None,
            Credentials::Basic(header) => Some(header),
            Credentials::Post { client_id, secret } => {
                form.push(("client_id", client_id));
                form.push(("client_secret", secret.expose()));
                None
            }
        };
        let body = form_encode(form);
        let (net, limits) = (&self.net, &self.limits);
        let accept = "application/json";
        net.post_form(
            &self.upstream,
            &self.endpoint,
            authorization,
            body,
            accept,
            limits,
        )
        .await
    }

    /// Asks, and checks the answer as strictly as a token. `said` is what the token says of itself, where
    /// it says anything.
    pub(super) async fn verify(
        &self,
        issuer: &TrustedIssuer,
        accepted: &AcceptedType,
        token: &RawToken,
        said: Option<Said>,
        expectation: &Expectation<'_>,
    ) -> Result<Verified<Party>, TokenError> {
        let answer = self.ask(token, expectation.token_type.name()).await?;
        if answer.status != 200 {
            return Err(TokenError::BadAnswer(
                "the introspection endpoint answered with an error status",
            ));
        }
        if !is_json(&answer) {
            return Err(TokenError::BadAnswer(
                "the introspection endpoint did not answer with JSON",
            ));
        }
        let object = parse_object(&answer.body).map_err(|_| {
            TokenError::BadAnswer("the introspection endpoint did not answer with a JSON object")
        })?;
        let claims = Claims::new(object);
        match claims.at("/active") {
            Some(serde_json::Value::Bool(true)) => {}
            Some(serde_json::Value::Bool(false)) => return Err(TokenError::Inactive),
            _ => {
                return Err(TokenError::BadAnswer(
                    "the introspection response has no `active` truth value",
                ));
            }
        }
        if claims
            .string("iss")?
            .is_some_and(|iss| iss != issuer.id.as_str())
        {
            return Err(TokenError::OtherIssuer);
        }
        if claims
            .string("token_type")?
            .is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer"))
        {
            return Err(TokenError::NotBearer);
        }
        let mut party = party(
            issuer,
            accepted,
            &claims,
            Source::Introspection,
            expectation,
        )?;
        if let Some(said) = said {
            // An answer that leaves these out would make an ordinary token of one that is not.
            let whole = |identity: Identity| Identity {
                iss: identity.iss.or_else(|| Some(Arc::from(issuer.id.as_str()))),
                ..identity
            };
            let answered = claims.actors(MAX_DEPTH)?.into_iter().map(whole);
            if !said.actors.is_empty() && !said.actors.into_iter().map(whole).eq(answered) {
                return Err(TokenError::Lost("act"));
            }
            if said.may_act.is_some() && said.may_act.map(whole) != claims.may_act()?.map(whole) {
                return Err(TokenError::Lost("may_act"));
            }
            if said.sub.is_some_and(|sub| sub != party.subject.as_str()) {
                return Err(TokenError::Lost("sub"));
            }
            party.expires_at = said
                .end
                .map_or(party.expires_at, |end| end.min(party.expires_at));
        }
        // Vouched for by: the issuer's own answer about this very token, and every check of `party`.
        Ok(Verified::assertion(party))
    }
}

/// Whether an answer says that it is JSON (RFC 7662 §2.2).
fn is_json(answer: &Answer) -> bool {
    let sent = answer.content_type.as_deref().unwrap_or_default();
    let kind = sent.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}
