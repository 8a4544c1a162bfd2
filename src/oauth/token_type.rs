//! Token type identifiers (RFC 8693 §3) and the drafts' that follow its pattern.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::id::NameError;

/// A token type: one that has a registered URN, or any other absolute URI.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TokenType {
    /// `urn:ietf:params:oauth:token-type:access_token`
    AccessToken,
    /// `urn:ietf:params:oauth:token-type:refresh_token`
    RefreshToken,
    /// `urn:ietf:params:oauth:token-type:id_token`
    IdToken,
    /// `urn:ietf:params:oauth:token-type:saml1`
    Saml1,
    /// `urn:ietf:params:oauth:token-type:saml2`
    Saml2,
    /// `urn:ietf:params:oauth:token-type:jwt`
    Jwt,
    /// `urn:ietf:params:oauth:token-type:txn_token`
    TxnToken,
    /// `urn:ietf:params:oauth:token-type:id-jag`
    IdJag,
    /// Any other absolute URI, as it was spelled.
    Other(Arc<str>),
}

/// The short name that policies, configuration and audit use, and the URN of the wire.
const NAMED: &[(&str, &str, TokenType)] = &[
    (
        "access_token",
        "urn:ietf:params:oauth:token-type:access_token",
        TokenType::AccessToken,
    ),
    (
        "refresh_token",
        "urn:ietf:params:oauth:token-type:refresh_token",
        TokenType::RefreshToken,
    ),
    (
        "id_token",
        "urn:ietf:params:oauth:token-type:id_token",
        TokenType::IdToken,
    ),
    (
        "saml1",
        "urn:ietf:params:oauth:token-type:saml1",
        TokenType::Saml1,
    ),
    (
        "saml2",
        "urn:ietf:params:oauth:token-type:saml2",
        TokenType::Saml2,
    ),
    (
        "jwt",
        "urn:ietf:params:oauth:token-type:jwt",
        TokenType::Jwt,
    ),
    (
        "txn_token",
        "urn:ietf:params:oauth:token-type:txn_token",
        TokenType::TxnToken,
    ),
    (
        "id_jag",
        "urn:ietf:params:oauth:token-type:id-jag",
        TokenType::IdJag,
    ),
];

impl TokenType {
    /// The identifier of the wire.
    #[must_use]
    pub fn uri(&self) -> &str {
        match self {
            Self::Other(uri) => uri,
            named => NAMED
                .iter()
                .find(|(_, _, t)| t == named)
                .map_or("", |(_, uri, _)| uri),
        }
    }

    /// The short name where there is one, else the URI.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Other(uri) => uri,
            named => NAMED
                .iter()
                .find(|(_, _, t)| t == named)
                .map_or("", |(name, _, _)| name),
        }
    }

    /// A short name (`access_token`), or an identifier of the wire.
    ///
    /// # Errors
    /// When it is neither a short name nor an absolute URI.
    pub fn from_name(text: &str) -> Result<Self, NameError> {
        match NAMED.iter().find(|(name, _, _)| *name == text) {
            Some((_, _, named)) => Ok(named.clone()),
            None => text.parse(),
        }
    }

    /// What it is, in one line for the reference; of any other URI, that it is one.
    #[must_use]
    pub fn doc(&self) -> &'static str {
        match self {
            Self::AccessToken => "an OAuth 2.0 access token, a JWT or opaque (RFC 8693 section 3)",
            Self::RefreshToken => "an OAuth 2.0 refresh token (RFC 8693 section 3)",
            Self::IdToken => "an ID token of OpenID Connect (RFC 8693 section 3)",
            Self::Saml1 => "a SAML 1.1 assertion (RFC 8693 section 3)",
            Self::Saml2 => "a SAML 2.0 assertion (RFC 8693 section 3)",
            Self::Jwt => "a JWT of whatever use (RFC 8693 section 3)",
            Self::TxnToken => "a transaction token (draft-ietf-oauth-transaction-tokens)",
            Self::IdJag => {
                "an identity assertion authorization grant (draft-ietf-oauth-identity-assertion-authz-grant)"
            }
            Self::Other(_) => "a token type that somebody else has defined",
        }
    }

    /// All short names, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _, _)| *name)
    }
}

impl FromStr for TokenType {
    type Err = NameError;

    /// Parses an identifier of the wire; the comparison is exact.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some((_, _, named)) = NAMED.iter().find(|(_, uri, _)| *uri == text) {
            return Ok(named.clone());
        }
        if text.len() > 256 || !text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err(NameError("is not a token type identifier"));
        }
        match text.split_once(':') {
            Some((scheme, rest))
                if !rest.is_empty()
                    && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
            {
                Ok(Self::Other(Arc::from(text)))
            }
            _ => Err(NameError(
                "is not a token type identifier (an absolute URI)",
            )),
        }
    }
}

impl fmt::Display for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
