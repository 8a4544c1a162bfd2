//! Strict JOSE: signed tokens in compact form, the keys that check them and the keys that make them.
//!
//! Owns everything a JWS is made of: JSON without ambiguity ([`json`]), base64url without
//! ambiguity ([`base64url`]), the compact form ([`jws`]) and its header ([`Header`]), the public keys
//! of an issuer ([`jwk`], [`key`]), our own private keys ([`sign`]) and which of them signs when ([`ring`]).
//!
//! Does not know what a claim means, what time it is, where a key set comes from or which issuer
//! is trusted: it takes bytes and gives a JSON object somebody signed, or the reason why not.
//! Nothing here does I/O. It is the only place that names `jsonwebtoken`, and takes from it the
//! JWK types and their thumbprint; the envelope is our own because the rules of RFC 8725 (one key,
//! one algorithm, `crit` refused, no second reading of a payload) are the point of this program.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{constant_time, digest, rand};

pub mod base64url;
mod header;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod key;
mod pem;
pub mod ring;
mod roca;
pub mod sign;

pub use header::Header;
pub use json::{JsonError, Object, parse_object, parse_value};
pub use jwk::{JwksError, KeySet, SkippedKey};
pub use jws::{Compact, JwsError, Shape, claims_unverified, shape};
pub use key::{PublicKey, thumbprint};
pub use ring::{KeyState, PublishedKey, SigningKeys, Succession};
pub use sign::{KeyError, SigningKey};

/// The longest `kid` taken or given, in bytes.
pub const MAX_KID: usize = 256;

/// A signature algorithm of RFC 7518 §3.1 or RFC 8037 §3.1 this program speaks.
///
/// There is no symmetric algorithm and no `none`, so neither can be configured, selected or
/// fallen back to (RFC 8725 §3.1, §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// EdDSA, here always on Ed25519.
    EdDSA,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
}

impl Algorithm {
    /// Every algorithm, in the order of the declaration.
    pub const ALL: [Self; 9] = [
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
    ];

    /// The name used in `alg` (RFC 7518 §3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
        }
    }

    /// Whether the key is an RSA key; those do not tell by themselves which algorithm they are for.
    pub const fn is_rsa(self) -> bool {
        !matches!(self, Self::ES256 | Self::ES384 | Self::EdDSA)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name is not one of [`Algorithm::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a supported signature algorithm")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// The algorithm of exactly this name; names are case-sensitive (RFC 7515 §4.1.1).
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or(UnknownAlgorithm)
    }
}

/// SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, bytes);
    // SHA-256 gives 32 bytes; `zip` needs no proof of it.
    out.iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    out
}

/// SHA-256 of the bytes in base64url without padding, the form of `jkt`, `x5t#S256` and `ath`.
pub fn sha256_base64url(bytes: &[u8]) -> String {
    base64url::encode(sha256(bytes))
}

/// The system's random source failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the random source failed")]
pub struct RandomError;

/// `N` unpredictable bytes, fit for identifiers and secrets.
///
/// # Errors
/// [`RandomError`] when the random source fails; nothing weaker is used instead.
pub fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithm_names_round_trip_and_are_case_sensitive() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        for name in ["es256", "ES512", "HS256", "none", "Ed25519", "", " ES256"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name:?}");
        }
    }

    #[test]
    fn sha256_of_nothing() {
        assert_eq!(
            sha256_base64url(b""),
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
        );
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }

    #[test]
    fn constant_time_comparison_compares() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"ab"));
        assert!(constant_time_eq(b"", b""));
    }
}
