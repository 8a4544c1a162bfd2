//! What the configuration says, at one instant, whole; and the handle through which it is replaced.
//!
//! INVARIANT: a snapshot never changes. A request loads it once and keeps it to the end.

mod live;
mod routes;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

pub use live::{Ask, Cause, Change, LastLoad, Live, Names, ReloadAnswer};
pub use routes::{Conflict, Endpoint, Routes};
pub use settings::{AdminSettings, AuditSettings, Settings};

use crate::client::ClientSet;
use crate::diagnostic::{Diagnostics, SourceText};
use crate::jose::{Algorithm, SigningKey, SigningKeys};
use crate::keys::Remote;
use crate::net::Net;
use crate::oauth::NumericDate;
use crate::oauth::id::{Issuer, RealmName, RuleId};
use crate::policy::PolicySet;
use crate::policy::prove::Verdicts;
use crate::policy::schema::Schema;
use crate::policy::trial::{self, Trial};
use crate::provider::{Processor, ProcessorSet};
use crate::token::IssuerSet;

/// One issuer's whole configuration.
#[derive(Debug)]
pub struct Realm {
    /// What the root configuration calls it: a label in metrics, records and logs.
    pub name: RealmName,
    /// Our issuer identifier here.
    pub issuer: Issuer,
    /// The path of the token endpoint.
    pub token_path: String,
    /// The path of the metadata document (RFC 8414 §3.1).
    pub metadata_path: String,
    /// The path of our public keys.
    pub jwks_path: String,
    /// The client that its outbound requests go through.
    pub net: Net,
    /// Whose tokens are trusted.
    pub issuers: IssuerSet,
    /// Which clients there are.
    pub clients: ClientSet,
    /// Our keys.
    pub keys: SigningKeys,
    /// Those among them that were made at the start; a reload keeps them.
    pub ephemeral: Vec<EphemeralKey>,
    /// The processors.
    pub processors: ProcessorSet,
    /// The policies.
    pub policies: PolicySet<Arc<Processor>>,
    /// What was proved of them, for the next load.
    pub verdicts: Verdicts,
    /// Where each rule stands, as `file:line`.
    pub places: BTreeMap<RuleId, RulePlace>,
    /// The tests of the policies, for those who run each by itself; a load that ran them all has dropped
    /// them.
    pub trials: Vec<Trial>,
    /// What policies may name, for `explain`.
    pub schema: Schema,
    /// The metadata document.
    pub metadata: String,
    /// The JWKS document.
    pub jwks: String,
    /// How long it may be kept by those who fetch it, in seconds: less than a new key waits.
    pub jwks_max_age: i64,
    /// Attributes whose values the audit does not show.
    pub redact: BTreeSet<String>,
    /// The `Host`s that its endpoints answer; any, where there are none.
    pub hosts: BTreeSet<String>,
    /// SHA-256 over every file that it was read from, the root's too, in base64url.
    pub hash: String,
    /// When it was loaded.
    pub loaded_at: NumericDate,
    /// What it was read from: a hash of each file and variable, by the name that the configuration uses.
    /// For comparisons only: a hash of a secret tells who guesses it.
    pub contents: BTreeMap<String, String>,
    /// What each rule, deny, list, def and test of its policies says, hashed, by what it is called.
    pub items: BTreeMap<String, String>,
    /// The text of the files that hold no secret.
    pub sources: SourceText,
    /// How many tests of its policies were run, and passed.
    pub tests: usize,
    /// Findings that did not stop its load.
    pub warnings: Diagnostics,
}

impl Realm {
    /// The longest that a token lives that this realm issues, in seconds.
    #[must_use]
    pub fn longest_lifetime(&self) -> i64 {
        let processors = self.processors.values();
        processors
            .map(|processor| processor.schema.max_lifetime)
            .max()
            .unwrap_or_default()
    }
}

impl Realm {
    /// How many proofs stand in its policies; all of them hold, or nothing is known of those that are accepted.
    #[must_use]
    pub fn proofs(&self) -> usize {
        self.policies.proofs().len()
    }

    /// Runs the tests of its policies, and drops them.
    pub fn test(&mut self, problems: &mut Diagnostics) {
        let trials = std::mem::take(&mut self.trials);
        self.tests = trials.len();
        for trial in trials {
            let verdict = trial.run(&self.policies, &self.sources, |processor| {
                processor.id.to_string()
            });
            if !verdict.passed() {
                problems.push(trial::failure(&trial, &verdict));
            }
        }
    }

    /// Where the keys of others that are in use come from: issuers' and clients'.
    #[must_use]
    pub fn remotes(&self) -> Vec<Arc<Remote>> {
        let (issuers, clients) = (self.issuers.remotes(), self.clients.remotes());
        issuers.chain(clients).cloned().collect()
    }

    /// Those that are in use, and those of disabled issuers and clients: what was fetched once is at hand when
    /// they are enabled again.
    #[must_use]
    pub fn known_remotes(&self) -> Vec<Arc<Remote>> {
        let issuers = self.issuers.iter();
        let issuers = issuers.filter_map(|issuer| issuer.keys.as_ref()?.remote());
        issuers
            .chain(self.clients.known_remotes())
            .cloned()
            .collect()
    }
}

/// A key that was made at the start, and the configuration that it was made for.
#[derive(Clone, Debug)]
pub struct EphemeralKey {
    /// The configured algorithm.
    pub algorithm: Algorithm,
    /// The configured `kid`.
    pub kid: Option<Arc<str>>,
    /// The key.
    pub key: Arc<SigningKey>,
}

/// Where a rule stands, and what it says of itself.
#[derive(Clone, Debug)]
pub struct RulePlace {
    /// `file:line`.
    pub at: String,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
}

/// Everything loaded, at one instant.
#[derive(Debug)]
pub struct Snapshot {
    /// The realms, by name; there is at least one.
    pub realms: BTreeMap<RealmName, Arc<Realm>>,
    /// Which of them answers what.
    pub routes: Routes,
    /// How the process listens, counts and records.
    pub settings: Settings,
    /// A hash over all that is live.
    pub hash: String,
    /// When it was loaded.
    pub loaded_at: NumericDate,
    /// Every file that was read, or missed; also those of realms that were rejected.
    pub files: BTreeSet<PathBuf>,
    /// What the root was read from, as a realm's [`contents`](Realm::contents).
    pub contents: BTreeMap<String, String>,
    /// The text of the files that hold no secret, the realms' too.
    pub sources: SourceText,
    /// Findings that did not stop the load, the realms' too.
    pub warnings: Diagnostics,
}

impl Snapshot {
    /// A realm by its name; without one, the only one that there is.
    #[must_use]
    pub fn realm(&self, name: Option<&str>) -> Option<&Arc<Realm>> {
        match name {
            Some(name) => self
                .realms
                .iter()
                .find_map(|(known, realm)| (known.as_str() == name).then_some(realm)),
            None => self
                .realms
                .values()
                .next()
                .filter(|_| self.realms.len() == 1),
        }
    }

    /// The first realm by name, where any will do.
    ///
    /// # Panics
    /// Never: nothing without a realm is loaded.
    #[must_use]
    pub fn first(&self) -> &Arc<Realm> {
        #[expect(clippy::expect_used, reason = "a load without a realm fails")]
        self.realms.values().next().expect("there is a realm")
    }

    /// How many rules and denies there are, over all realms.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.realms.values().fold((0, 0), |(rules, denies), realm| {
            let (more, further) = realm.policies.counts();
            (rules + more, denies + further)
        })
    }

    /// Where the keys of others that are in use come from, over all realms.
    #[must_use]
    pub fn remotes(&self) -> Vec<Arc<Remote>> {
        self.realms
            .values()
            .flat_map(|realm| realm.remotes())
            .collect()
    }
}
