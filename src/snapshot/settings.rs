//! How the process listens, how much it takes on, and where it records. Little of it needs a restart:
//! [`Settings::differences`] says what.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::SaltedHash;
use crate::tls::{Identity, ServerTls};

/// `server:`, `admin:`, `audit:` and `metrics:`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `server.listen`.
    pub listen: SocketAddr,
    /// `server.tls`: the certificates of the token listener; plain HTTP without any.
    pub tls: Option<ServerTls>,
    /// `server.insecure_http` or `server.behind_tls`: plain HTTP beyond loopback is meant.
    pub plain_http: bool,
    /// `server.trusted_proxies`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// `server.max_connections`.
    pub max_connections: usize,
    /// `server.max_connections_per_peer`; trusted proxies may have more.
    pub max_connections_per_peer: usize,
    /// `server.max_in_flight`: exchanges that are worked on at once.
    pub max_in_flight: usize,
    /// `server.header_timeout`: from its first byte to the end of a request's head; TLS handshakes too.
    pub header_timeout: Duration,
    /// `server.body_timeout`: for a request's body, and for a client to take its answer.
    pub body_timeout: Duration,
    /// `server.request_timeout`: for a whole exchange.
    pub request_timeout: Duration,
    /// `server.idle_timeout`: between two requests on a connection.
    pub idle_timeout: Duration,
    /// `server.drain_delay`: from being told to stop to accepting no more connections.
    pub drain_delay: Duration,
    /// `admin:`.
    pub admin: AdminSettings,
    /// `audit:`.
    pub audit: AuditSettings,
    /// `metrics.rules`: how many rules have a counter of their own.
    pub counted_rules: usize,
}

/// `admin:`.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// `admin.listen`.
    pub listen: SocketAddr,
    /// `admin.socket`: a Unix socket beside it; whoever may open it is trusted.
    pub socket: Option<PathBuf>,
    /// `admin.tls`.
    pub tls: Option<ServerTls>,
    /// `admin.insecure_http`: plain HTTP beyond loopback is meant.
    pub plain_http: bool,
    /// `admin.hosts`: names that may stand in `Host`, besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// `admin.tokens`: who may do what needs somebody known, and what each shows for it.
    pub tokens: Vec<(Arc<str>, Vec<SaltedHash>)>,
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
    /// The keys in which two settings differ that only a restart can change: what is bound and opened once.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            (self.listen != other.listen, "server.listen"),
            (self.admin.listen != other.admin.listen, "admin.listen"),
            (self.admin.socket != other.admin.socket, "admin.socket"),
            (self.audit != other.audit, "audit"),
        ]
        .into_iter()
        .filter_map(|(differs, key)| differs.then_some(key))
        .collect()
    }

    /// The certificates of all listeners.
    pub fn certificates(&self) -> impl Iterator<Item = &Identity> {
        let listeners = [&self.tls, &self.admin.tls];
        listeners
            .into_iter()
            .flatten()
            .flat_map(ServerTls::identities)
    }

    /// Whether this peer is a proxy whose word is taken.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|prefix| prefix.contains(&peer))
    }
}
