//! The keys of others: an issuer's or a client's public keys (RFC 7517 §5), fixed or fetched.
//!
//! A [`KeySource`] is asked for the set that a token is to be checked with. A fixed one always has it. A
//! fetched one ([`Remote`]) has what it last fetched, and never makes a request wait that it can serve:
//! it fetches ahead of time, once for all who wait, within a budget for `kid`s that it has never heard of,
//! and keeps what it has through an outage. What cannot be a key set never replaces one.
//!
//! Knows nothing of issuers, tokens or claims. No URL comes from a token: they are configured, or named by
//! a document at a configured one.

mod document;
mod keeper;
mod pace;
mod remote;

use std::sync::Arc;
use std::time::Duration;

pub use document::{FetchError, Location, metadata};
pub use keeper::keep;
pub use remote::{Look, Remote, Report, Settings, Times};

use crate::jose::{Algorithm, Header, KeySet, PublicKey};

/// Where the public keys of somebody come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// They are in the configuration.
    Fixed(KeySet),
    /// They are fetched.
    Remote(Arc<Remote>),
}

/// There are no keys to check a token with, and it is not the token's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// They could not be fetched.
    #[error("the keys could not be fetched: {0}")]
    Fetch(FetchError),
    /// They are not here yet: they are being fetched, which takes longer than anybody should wait, or their
    /// owner was asked so often for keys that nobody has that it is not asked for this one right now.
    #[error("the keys are not here yet")]
    NotYet,
}

impl KeySource {
    /// The set to check a token with this header with. Waits only where there is no usable set, or none
    /// that has the key; never longer than one fetch may take.
    ///
    /// # Errors
    /// A [`KeysError`] when there is no usable set, or when the key is missing and the owner of the keys
    /// could not be asked for it. A set without the key is given only where none can have it, or where its
    /// owner was asked after the token came.
    pub async fn find(&self, header: &Header) -> Result<KeySet, KeysError> {
        match self {
            Self::Fixed(keys) => Ok(keys.clone()),
            Self::Remote(remote) => remote.find(header).await,
        }
    }

    /// The set as it is now. Causes no look.
    #[must_use]
    pub fn held(&self) -> Option<KeySet> {
        match self {
            Self::Fixed(keys) => Some(keys.clone()),
            Self::Remote(remote) => remote.usable(),
        }
    }

    /// Whether a token could be verified now.
    #[must_use]
    pub fn usable(&self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Remote(remote) => remote.report().usable,
        }
    }

    /// The algorithms that a token may be signed with, as far as configuration says.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        match self {
            Self::Fixed(keys) => keys.keys().iter().map(PublicKey::algorithm).collect(),
            Self::Remote(remote) => match remote.settings().algorithms.as_slice() {
                [] => Algorithm::ALL.to_vec(),
                said => said.to_vec(),
            },
        }
    }

    /// The fetched ones.
    #[must_use]
    pub fn remote(&self) -> Option<&Arc<Remote>> {
        match self {
            Self::Fixed(_) => None,
            Self::Remote(remote) => Some(remote),
        }
    }
}

/// How long what is good for `seconds` is good for, a little less at random: many gateways that began at
/// once shall not ask at once.
fn jittered(time: Duration, least: f64) -> Duration {
    let [random] = crate::jose::random::<1>().unwrap_or_default();
    time.mul_f64(least + (1.0 - least) * f64::from(random) / 255.0)
}
