//! What the configuration says, at one instant, whole; and the handle through which it is replaced.
//!
//! INVARIANT: a snapshot never changes. A request loads it once and keeps it to the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::client::ClientSet;
use crate::diagnostic::{Diagnostics, SourceText};
use crate::jose::{Algorithm, SigningKey, SigningKeys};
use crate::keys::Remote;
use crate::net::Net;
use crate::oauth::NumericDate;
use crate::oauth::id::{Issuer, RealmName, RuleId};
use crate::policy::PolicySet;
use crate::policy::schema::Schema;
use crate::policy::trial::Trial;
use crate::provider::{Processor, ProcessorSet};
use crate::swap::Swap;
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
    /// The realm. Several realms come with a later build.
    pub realm: Realm,
    /// What the listeners and the audit were set up with; a change needs a restart.
    pub settings: Settings,
    /// SHA-256 over every file that was read, in hexadecimal.
    pub hash: String,
    /// When it was loaded.
    pub loaded_at: NumericDate,
    /// Every file that was read.
    pub files: BTreeSet<PathBuf>,
    /// The text of the files that hold no secret.
    pub sources: SourceText,
    /// How many tests of its policies were run, and passed.
    pub tests: usize,
    /// Findings that did not stop the load.
    pub warnings: Diagnostics,
}

/// What only a restart can change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `server.listen`.
    pub listen: std::net::SocketAddr,
    /// `admin.listen`.
    pub admin: std::net::SocketAddr,
    /// `audit:`.
    pub audit: AuditSettings,
    /// `server.trusted_proxies`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// `server.max_connections`.
    pub max_connections: usize,
    /// `server.header_timeout`, in seconds.
    pub header_timeout: u64,
    /// `server.body_timeout`, in seconds.
    pub body_timeout: u64,
    /// `server.request_timeout`, in seconds.
    pub request_timeout: u64,
}

/// Where audit records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditSettings {
    /// One JSON line each on standard output.
    Stdout,
    /// Appended to a file, synced to the disk before the answer leaves if asked.
    File {
        /// The file.
        path: PathBuf,
        /// Whether to sync.
        fsync: bool,
    },
}

impl Settings {
    /// The keys in which two settings differ.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            (self.listen != other.listen, "server.listen"),
            (self.admin != other.admin, "admin.listen"),
            (self.audit != other.audit, "audit"),
            (
                self.trusted_proxies != other.trusted_proxies,
                "server.trusted_proxies",
            ),
            (
                self.max_connections != other.max_connections,
                "server.max_connections",
            ),
            (
                self.header_timeout != other.header_timeout,
                "server.header_timeout",
            ),
            (
                self.body_timeout != other.body_timeout,
                "server.body_timeout",
            ),
            (
                self.request_timeout != other.request_timeout,
                "server.request_timeout",
            ),
        ]
        .into_iter()
        .filter_map(|(differs, key)| differs.then_some(key))
        .collect()
    }
}

/// How the last load went. What runs may be older than what is on disk; this says so.
#[derive(Clone, Debug)]
pub struct LastLoad {
    /// When, in seconds.
    pub at: NumericDate,
    /// `applied`, `unchanged`, `rejected` or `needs_restart`.
    pub result: &'static str,
    /// What it was about: findings, or keys that need a restart.
    pub details: serde_json::Value,
}

/// The handle on what is live, and how the last load went.
#[derive(Debug)]
pub struct Live {
    snapshot: Swap<Snapshot>,
    last_load: Swap<LastLoad>,
    watch: Swap<String>,
}

impl Live {
    /// Goes live with the first snapshot.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        let at = first.loaded_at;
        let last = LastLoad {
            at,
            result: "applied",
            details: serde_json::Value::Null,
        };
        Self {
            snapshot: Swap::new(first),
            last_load: Swap::new(last),
            watch: Swap::new("off".to_owned()),
        }
    }

    /// What is live now.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load()
    }

    /// Replaces it for every request that begins from now on.
    pub fn publish(&self, next: Arc<Snapshot>) {
        self.snapshot.store(next);
    }

    /// How the last load went.
    #[must_use]
    pub fn last_load(&self) -> Arc<LastLoad> {
        self.last_load.load()
    }

    /// Records how a load went.
    pub fn note(&self, last: LastLoad) {
        self.last_load.store(Arc::new(last));
    }

    /// How changes on disk are noticed, for people.
    #[must_use]
    pub fn watch(&self) -> Arc<String> {
        self.watch.load()
    }

    /// Records how changes on disk are noticed.
    pub fn note_watch(&self, state: String) {
        self.watch.store(Arc::new(state));
    }
}
