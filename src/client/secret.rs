//! Client secrets at rest: salted SHA-256, compared in constant time.
//!
//! One fast hash is enough for secrets that a machine generated (`cambist secret new` draws 256 bits);
//! it is not for passwords that people think up, which is why the verb makes them.

use std::fmt;
use std::str::FromStr;

use super::{Attempt, BoxFuture, ClientError, Credential, Proof, Used};
use crate::jose::{base64url, constant_time_eq, random, sha256};
use crate::oauth::secret::Secret;

/// `sha256:SALT:HASH`, both base64url; the hash is over the salt's bytes and then the secret's.
#[derive(Clone)]
pub struct SaltedHash {
    salt: Vec<u8>,
    hash: [u8; 32],
}

/// Why a stored hash was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not the form that `cambist secret new` prints.
    #[error("is not of the form `sha256:SALT:HASH` that `cambist secret new` prints")]
    Form,
    /// The system's source of randomness failed.
    #[error("could not be made: the system gives no random bytes")]
    Random,
}

impl SaltedHash {
    /// Hashes a secret with a fresh salt.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(secret: &Secret) -> Result<Self, SecretError> {
        let salt: [u8; 16] = random().map_err(|_| SecretError::Random)?;
        Ok(Self {
            salt: salt.to_vec(),
            hash: digest(&salt, secret),
        })
    }

    /// One that no secret matches, short of a preimage of zero.
    #[must_use]
    pub fn unmatchable() -> Self {
        Self {
            salt: vec![0; 16],
            hash: [0; 32],
        }
    }

    /// Whether this is the secret.
    #[must_use]
    pub fn matches(&self, secret: &Secret) -> bool {
        constant_time_eq(&digest(&self.salt, secret), &self.hash)
    }
}

/// Compares with every secret that the client has for the method, and with one that nobody has where there
/// is no such client.
pub(super) fn verify(attempt: Attempt<'_>) -> BoxFuture<'_, Result<Option<Used>, ClientError>> {
    let matched = match (&attempt.proof, attempt.credential) {
        (Proof::Secret(sent), Some((_, Credential::Secrets(secrets)))) => secrets
            .iter()
            .fold(false, |matched, secret| secret.matches(sent) | matched),
        (Proof::Secret(sent), _) => attempt.nobody.matches(sent),
        (Proof::Assertion(_) | Proof::Nothing, _) => false,
    };
    Box::pin(std::future::ready(match matched {
        true => Ok(None),
        false => Err(ClientError::Failed),
    }))
}

fn digest(salt: &[u8], secret: &Secret) -> [u8; 32] {
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(salt.len() + secret.expose().len()));
    bytes.extend_from_slice(salt);
    bytes.extend_from_slice(secret.expose().as_bytes());
    sha256(&bytes)
}

impl FromStr for SaltedHash {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let rest = text.strip_prefix("sha256:").ok_or(SecretError::Form)?;
        let (salt, hash) = rest.split_once(':').ok_or(SecretError::Form)?;
        let salt = base64url::decode(salt).map_err(|_| SecretError::Form)?;
        let hash = base64url::decode(hash).map_err(|_| SecretError::Form)?;
        let hash: [u8; 32] = hash.try_into().map_err(|_| SecretError::Form)?;
        if salt.len() < 8 || salt.len() > 64 {
            return Err(SecretError::Form);
        }
        Ok(Self { salt, hash })
    }
}

impl fmt::Display for SaltedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sha256:{}:{}",
            base64url::encode(&self.salt),
            base64url::encode(self.hash)
        )
    }
}

impl fmt::Debug for SaltedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_round_trips_and_matches_its_secret_only() {
        let secret = Secret::new("long-secure-random-secret".to_owned());
        let hash: SaltedHash = SaltedHash::new(&secret)
            .unwrap()
            .to_string()
            .parse()
            .unwrap();
        assert!(hash.matches(&secret));
        assert!(!hash.matches(&Secret::new("long-secure-random-secre".to_owned())));
        assert!(!SaltedHash::unmatchable().matches(&secret));
        for bad in [
            "",
            "sha256:",
            "sha256:AA:AA",
            "plain",
            "sha256:AAAAAAAAAAAAAAAAAAAAAA:AA",
        ] {
            assert!(bad.parse::<SaltedHash>().is_err(), "{bad}");
        }
    }
}
