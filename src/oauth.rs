//! The words of the RFCs: wire forms in, wire forms out.
//!
//! Owns the value types of OAuth 2.0 (RFC 6749), Token Exchange (RFC 8693) and Resource
//! Indicators (RFC 8707). Knows no I/O, no clock, no HTTP and no policy.

pub mod claims;
pub mod error;
pub mod form;
pub mod id;
pub mod request;
pub mod response;
pub mod scope;
pub mod secret;
pub mod target;
pub mod token_type;
pub mod uri;

/// The `grant_type` of OAuth 2.0 Token Exchange (RFC 8693 §2.1).
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Seconds since 1970-01-01T00:00:00Z, leap seconds ignored (`NumericDate`, RFC 7519 §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NumericDate(pub i64);

impl NumericDate {
    /// This instant `seconds` later (earlier when negative), saturating at the ends of time.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to `self`; negative when `earlier` is in fact later.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}
