//! The exchange request (RFC 8693 §2.1): every rule of that section, once.

use std::net::IpAddr;

use super::error::ErrorCode;
use super::form::{FormError, TokenForm};
use super::id::NameError;
use super::scope::Scopes;
use super::secret::{RawToken, Secret};
use super::target::{Audience, MAX_TARGETS, Targets};
use super::token_type::TokenType;
use super::uri::{Uri, UriError};

/// What reached the token endpoint, HTTP gone.
#[derive(Debug)]
pub struct TokenRequest {
    /// The address that it came from.
    pub peer: IpAddr,
    /// The decoded body.
    pub form: TokenForm,
    /// The `Authorization` headers, as sent; more than one is an error of client authentication.
    pub authorization: Vec<Secret>,
    /// The names of those headers of [`UNSUPPORTED`] that were sent.
    pub unsupported_headers: Vec<&'static str>,
}

/// Where something that this build cannot honour stands in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A form parameter.
    Parameter,
    /// An HTTP header; the name in lower case.
    Header,
}

/// A parameter or header that has a meaning which this build cannot give it. To ignore it would
/// answer another question than the one asked, so it is refused by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsupported {
    /// Parameter or header.
    pub place: Place,
    /// Its name on the wire.
    pub name: &'static str,
    /// The code of the refusal.
    pub code: ErrorCode,
}

/// All of them.
pub static UNSUPPORTED: &[Unsupported] = &[
    parameter("authorization_details", ErrorCode::InvalidRequest), // RFC 9396 §2
    parameter("request_context", ErrorCode::InvalidRequest),       // transaction tokens
    parameter("request_details", ErrorCode::InvalidRequest),       // transaction tokens
    header("dpop", ErrorCode::InvalidRequest),                     // RFC 9449 §5
    header("oauth-client-attestation", ErrorCode::InvalidClient), // attestation-based client authentication
    header("oauth-client-attestation-pop", ErrorCode::InvalidClient),
];

const fn parameter(name: &'static str, code: ErrorCode) -> Unsupported {
    Unsupported {
        place: Place::Parameter,
        name,
        code,
    }
}

const fn header(name: &'static str, code: ErrorCode) -> Unsupported {
    Unsupported {
        place: Place::Header,
        name,
        code,
    }
}

/// The validated parameters of RFC 8693 §2.1.
#[derive(Debug)]
pub struct ExchangeRequest {
    /// `resource` and `audience`.
    pub targets: Targets,
    /// `scope`, where it was sent.
    pub scope: Option<Scopes>,
    /// `requested_token_type`, where it was sent.
    pub requested_token_type: Option<TokenType>,
    /// `subject_token`.
    pub subject_token: RawToken,
    /// `subject_token_type`.
    pub subject_token_type: TokenType,
    /// `actor_token` and `actor_token_type`, which come together or not at all.
    pub actor: Option<(RawToken, TokenType)>,
}

/// Why a request is not an exchange request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body is not a form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A required parameter is absent or empty.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// RFC 8693 §2.1: MUST NOT be included when `actor_token` is not.
    #[error("`actor_token_type` was sent without `actor_token`")]
    ActorTypeAlone,
    /// A parameter has a value that its syntax does not allow.
    #[error("`{parameter}` {problem}")]
    Malformed {
        /// The parameter.
        parameter: &'static str,
        /// What is wrong, in words that follow the name.
        problem: NameError,
    },
    /// `resource` is not a URI that we accept.
    #[error("`resource` {0}")]
    Resource(UriError),
    /// `audience` is not a name that we accept.
    #[error("`audience` {0}")]
    Audience(NameError),
    /// `scope` is not a scope.
    #[error("`scope` {0}")]
    Scope(NameError),
    /// More than [`MAX_TARGETS`].
    #[error("too many targets: `resource` and `audience` may be sent {MAX_TARGETS} times in all")]
    TooManyTargets,
    /// Something of [`UNSUPPORTED`].
    #[error("`{}` is not supported by this server", .0.name)]
    Unsupported(Unsupported),
}

impl RequestError {
    /// The code of RFC 6749 §5.2 or RFC 8693 §2.2.2.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Resource(_) | Self::Audience(_) | Self::TooManyTargets => {
                ErrorCode::InvalidTarget
            }
            Self::Scope(_) => ErrorCode::InvalidScope,
            Self::Unsupported(entry) => entry.code,
            Self::Form(_) | Self::Missing(_) | Self::ActorTypeAlone | Self::Malformed { .. } => {
                ErrorCode::InvalidRequest
            }
        }
    }
}

impl TryFrom<&TokenRequest> for ExchangeRequest {
    type Error = RequestError;

    fn try_from(request: &TokenRequest) -> Result<Self, RequestError> {
        let form = &request.form;
        let actor = match (
            form.value("actor_token"),
            token_type(form, "actor_token_type")?,
        ) {
            (Some(token), Some(token_type)) => Some((RawToken::new(token.to_owned()), token_type)),
            (Some(_), None) => return Err(RequestError::Missing("actor_token_type")),
            (None, Some(_)) => return Err(RequestError::ActorTypeAlone),
            (None, None) => None,
        };
        refuse_unsupported(request)?;
        let subject_token = form
            .value("subject_token")
            .ok_or(RequestError::Missing("subject_token"))?;
        let subject_token_type = token_type(form, "subject_token_type")?
            .ok_or(RequestError::Missing("subject_token_type"))?;
        Ok(Self {
            targets: targets(form)?,
            scope: form
                .value("scope")
                .map(str::parse)
                .transpose()
                .map_err(RequestError::Scope)?,
            requested_token_type: token_type(form, "requested_token_type")?,
            subject_token: RawToken::new(subject_token.to_owned()),
            subject_token_type,
            actor,
        })
    }
}

fn refuse_unsupported(request: &TokenRequest) -> Result<(), RequestError> {
    let sent = |entry: &&Unsupported| match entry.place {
        Place::Parameter => request.form.value(entry.name).is_some(),
        Place::Header => request.unsupported_headers.contains(&entry.name),
    };
    match UNSUPPORTED.iter().find(sent) {
        Some(entry) => Err(RequestError::Unsupported(*entry)),
        None => Ok(()),
    }
}

fn token_type(
    form: &TokenForm,
    parameter: &'static str,
) -> Result<Option<TokenType>, RequestError> {
    let malformed = |problem| RequestError::Malformed { parameter, problem };
    form.value(parameter)
        .map(str::parse)
        .transpose()
        .map_err(malformed)
}

fn targets(form: &TokenForm) -> Result<Targets, RequestError> {
    let mut targets = Targets::default();
    for value in form.values("resource") {
        let uri: Uri = value.parse().map_err(RequestError::Resource)?;
        if !targets.resources.contains(&uri) {
            targets.resources.push(uri);
        }
    }
    for value in form.values("audience") {
        let audience: Audience = value.parse().map_err(RequestError::Audience)?;
        targets.audiences.insert(audience.as_str().into());
    }
    if form.values("resource").count() + form.values("audience").count() > MAX_TARGETS {
        return Err(RequestError::TooManyTargets);
    }
    Ok(targets)
}
