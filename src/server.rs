//! The token listener: which request is whose, and the phases of a process's life.
//!
//! `front` has the sockets, limits and deadlines, for the admin listener too; `load` counts.

mod activity;
pub(crate) mod front;
pub mod load;
mod origin;
mod respond;
mod token;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Method, Request, Version};
use tokio::sync::watch;

pub use respond::Response;

use crate::audit::Audit;
use crate::services::Services;
use crate::snapshot::{Endpoint, Live, Settings};
use front::{Front, Limits, Listener, Peer};
use load::Load;

/// How long the metadata may be kept by those who fetch it, in seconds.
const METADATA_MAX_AGE: i64 = 60;

/// What a request needs.
#[derive(Debug)]
pub struct Gateway {
    /// The configuration.
    pub live: Live,
    /// The services.
    pub services: Services,
    /// The records.
    pub audit: Audit,
    /// What is going on.
    pub load: Load,
    /// How far its life has come.
    pub phase: watch::Sender<Phase>,
    /// How many connections its file descriptors are enough for, where that is known.
    pub descriptors: Option<usize>,
    /// Which of its listeners others can reach, whatever is configured: sockets may have been handed over.
    pub reach: Reach,
}

/// Which listeners reach beyond this machine.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reach {
    /// The token listener.
    pub token: bool,
    /// The admin listener.
    pub admin: bool,
}

impl Reach {
    /// The section of cambist.yaml that does not say what protects its listener from the network, if there is
    /// one: TLS, or a word that it is meant.
    #[must_use]
    pub fn exposed(self, settings: &Settings) -> Option<&'static str> {
        let admin = &settings.admin;
        if self.token && !settings.plain_http && settings.tls.is_none() {
            Some("server")
        } else if self.admin
            && (admin.tokens.is_empty() || (!admin.plain_http && admin.tls.is_none()))
        {
            Some("admin")
        } else {
            None
        }
    }
}

/// How far a process's life has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves, and says that it will not for long: not ready, and connections end with their answers.
    Draining,
    /// It accepts no more connections, and finishes what it began.
    Stopping,
    /// Nothing is answered any more.
    Stopped,
}

/// Serves until the process stops, and what it has begun by then.
pub(crate) async fn serve(listener: Listener, gateway: Arc<Gateway>) {
    let front = Front {
        name: "token",
        until: Phase::Stopping,
        limits,
        counts: |load, _| (&load.connections, &load.peers),
    };
    let line = Arc::clone(&gateway);
    let handle = move |request, peer| {
        let gateway = Arc::clone(&line);
        async move { route(&gateway, request, peer).await }
    };
    front::serve(listener, Arc::clone(&gateway), front, handle).await;
}

/// Waits for what was begun: connections, and what goes on for clients that have left. Gives whether it all
/// ended in time.
pub(crate) async fn finished(gateway: &Gateway) -> bool {
    let settings = gateway.live.load().settings.clone();
    // As long as a request may take, and time to record and write its answer.
    let most = settings.request_timeout + settings.body_timeout;
    let all = async {
        gateway.load.connections.none().await;
        gateway.load.requests.none().await;
    };
    tokio::time::timeout(most, all).await.is_ok()
}

fn limits(gateway: &Gateway, settings: &Settings) -> Limits {
    let descriptors = gateway.descriptors.unwrap_or(usize::MAX);
    Limits {
        connections: settings.max_connections.min(descriptors),
        // Also where there are fewer than are configured, nobody has all of them.
        per_peer: settings
            .max_connections_per_peer
            .min((descriptors / 4).max(1)),
        head: settings.header_timeout,
        idle: settings.idle_timeout,
        write: settings.body_timeout,
        tls: settings.tls.clone(),
    }
}

/// Whose request it is, and what it asks for. The configuration is loaded once, and the request keeps it to
/// the end.
async fn route(gateway: &Arc<Gateway>, request: Request<Incoming>, peer: Peer) -> Response {
    let snapshot = gateway.live.load();
    let Some(host) = host(&request) else {
        return respond::no_host();
    };
    let Some((realm, endpoint)) = snapshot.routes.find(&host, request.uri().path()) else {
        return respond::not_found();
    };
    let (document, max_age) = match endpoint {
        Endpoint::Token => {
            let realm = Arc::clone(realm);
            // HTTP/2 has many requests on a connection; in all there are no more than of connections.
            let (load, settings) = (&gateway.load, &snapshot.settings);
            let place = load.requests.enter(settings.max_connections);
            let most = settings.max_connections_per_peer;
            let room = place.zip(front::guest(&load.requesting, settings, peer, most));
            let Some(room) = room else {
                gateway.services.metrics.shed("requests");
                return respond::overloaded();
            };
            // In a task of its own: what has begun is recorded, also when the client hangs up.
            let gateway = Arc::clone(gateway);
            let line = tokio::spawn(async move {
                let response = token::answer(&gateway, &snapshot, &realm, request, peer).await;
                drop(room);
                response
            });
            return line.await.unwrap_or_else(|_| respond::failed());
        }
        Endpoint::Metadata => (&realm.metadata, METADATA_MAX_AGE),
        Endpoint::Jwks => (&realm.jwks, realm.jwks_max_age),
    };
    match *request.method() {
        Method::GET | Method::HEAD => respond::document(document, max_age),
        _ => respond::not_allowed("GET, HEAD"),
    }
}

/// The host that a request is for, in lower case, without a port: `:authority`, or `Host`, of which HTTP/1.1
/// has exactly one (RFC 9112 §3.2). HTTP/1.0 may go without; then it is empty. `None` where it is no host.
pub(crate) fn host<B>(request: &Request<B>) -> Option<String> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let authority = match (request.uri().authority(), first, second) {
        (_, _, Some(_)) => return None,
        // RFC 9113 §8.3.1: they must agree. In HTTP/1.1 the request target goes before the header.
        (Some(authority), Some(host), None)
            if request.version() == Version::HTTP_2
                && !host
                    .as_bytes()
                    .eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return None;
        }
        (Some(_), None, None) if request.version() == Version::HTTP_11 => return None,
        (Some(authority), ..) => authority.clone(),
        (None, Some(host), None) if host.is_empty() => return Some(String::new()),
        (None, Some(host), None) => host.to_str().ok()?.parse().ok()?,
        (None, None, None) if request.version() == Version::HTTP_11 => return None,
        (None, None, None) => return Some(String::new()),
    };
    let (host, all) = (authority.host(), authority.as_str());
    // No user information (RFC 9110 §4.2.4), and a port that is one.
    let port = all.strip_prefix(host)?;
    let good = port.is_empty() || port == ":" || authority.port_u16().is_some();
    good.then(|| host.to_ascii_lowercase())
}
