//! What a client is told (RFC 6749 §5.2, RFC 8693 §2.2.2).

use super::id::RequestId;

/// The error codes of the token endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ErrorCode {
    /// RFC 6749 §5.2; also a bad or unacceptable subject or actor token (RFC 8693 §2.2.2).
    InvalidRequest,
    /// RFC 6749 §5.2: client authentication failed.
    InvalidClient,
    /// RFC 6749 §5.2: this client may not use this grant.
    UnauthorizedClient,
    /// RFC 6749 §5.2.
    UnsupportedGrantType,
    /// RFC 6749 §5.2.
    InvalidScope,
    /// RFC 8693 §2.2.2, RFC 8707 §2.
    InvalidTarget,
    /// RFC 6749 §4.1.2.1, taken over for the token endpoint: our own fault.
    ServerError,
    /// RFC 6749 §4.1.2.1, taken over for the token endpoint: come back later.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// All of them, for tables and metrics.
    pub const ALL: [Self; 8] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::ServerError,
        Self::TemporarilyUnavailable,
    ];

    /// The `error` member.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            Self::InvalidRequest
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget => 400,
        }
    }
}

impl ErrorCode {
    /// When it is answered, in one line for the reference.
    #[must_use]
    pub fn doc(self) -> &'static str {
        match self {
            Self::InvalidRequest => {
                "the request is not well formed, asks for what this build cannot honour, or brings a subject or \
                 actor token that is not valid or not acceptable (RFC 6749 section 5.2, RFC 8693 section 2.2.2)"
            }
            Self::InvalidClient => "the client could not be authenticated (RFC 6749 section 5.2)",
            Self::UnauthorizedClient => {
                "no rule lets this client exchange such a token (RFC 6749 section 5.2)"
            }
            Self::UnsupportedGrantType => {
                "`grant_type` is none that is offered (RFC 6749 section 5.2)"
            }
            Self::InvalidScope => {
                "the requested scope is malformed, or more than may be granted (RFC 6749 section 5.2)"
            }
            Self::InvalidTarget => {
                "no rule lets the token go to the requested `resource` or `audience` (RFC 8693 section 2.2.2)"
            }
            Self::ServerError => {
                "our own fault, rules that contradict each other among them; the log and the audit say which"
            }
            Self::TemporarilyUnavailable => {
                "an issuer, its keys or the audit cannot be reached now; try again after `Retry-After`"
            }
        }
    }
}

/// An error answer, ready for the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OAuthError {
    /// The code.
    pub code: ErrorCode,
    /// Text for the client's developer: no secret, no policy, nothing of another party.
    pub description: String,
}

impl OAuthError {
    /// An answer with a description; characters that RFC 6749 §5.2 does not allow become `'` or `?`.
    pub fn new(code: ErrorCode, description: impl Into<String>) -> Self {
        let description = description.into();
        let description = description
            .chars()
            .map(|c| match c {
                '"' | '`' | '\\' => '\'',
                ' '..='~' => c,
                _ => '?',
            })
            .collect();
        Self { code, description }
    }

    /// The JSON body, with the request id for whoever asks the operator about it.
    #[must_use]
    pub fn to_json(&self, request_id: &RequestId) -> String {
        serde_json::json!({
            "error": self.code.as_str(),
            "error_description": self.description,
            "request_id": request_id.as_str(),
        })
        .to_string()
    }
}

/// Whether every character may stand in `error_description` (RFC 6749 §5.2).
#[must_use]
pub fn is_description(text: &str) -> bool {
    text.bytes()
        .all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_hold_only_what_rfc6749_section_5_2_allows() {
        let error = OAuthError::new(ErrorCode::InvalidRequest, "a `b` \"c\" \\ \n é");
        assert_eq!(error.description, "a 'b' 'c' ' ? ?");
        assert!(is_description(&error.description) && !is_description("\""));
    }
}
