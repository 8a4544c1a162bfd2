//! The admin listener: metrics, health, what is loaded, and reloads. It has a thread of its own, so that it
//! answers when everything else is busy.
//!
//! INVARIANT: what changes something needs somebody who is known, by a token or by being let in at the Unix
//! socket. What only shows something needs that too where the listener reaches beyond this machine.

mod health;
mod status;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Request, StatusCode};

use crate::oauth::secret::Secret;
use crate::server::front::{self, Front, Limits, Peer, Socket};
use crate::server::load::{Counter, Load, Peers};
use crate::server::{self, Gateway, Phase, Response};
use crate::snapshot::Settings;

/// The most connections at once.
const MAX_CONNECTIONS: usize = 64;
/// Of one address: nobody alone keeps probes away.
const MAX_PER_PEER: usize = 16;
/// How long a client may take to send a head or to take an answer, and a connection be idle.
const PATIENCE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);
/// How long a reload may take that somebody waits for.
const RELOAD: Duration = Duration::from_secs(60);

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// The description of this API, in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("admin/openapi.json");

/// What can be asked here.
#[derive(Debug)]
pub struct Route {
    /// `GET` (and `HEAD`), or `POST`.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
}

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everybody who reaches the listener.
    Everybody,
    /// Whoever is known; everybody on this machine, where the listener is on loopback.
    Readers,
    /// Whoever is known.
    Known,
}

/// Everything that can be asked here.
pub static ROUTES: &[Route] = &[
    route("GET", "/livez", Access::Everybody),
    route("GET", "/readyz", Access::Everybody),
    route("GET", "/metrics", Access::Readers),
    route("GET", "/status", Access::Readers),
    route("GET", "/changes", Access::Readers),
    route("GET", "/openapi.json", Access::Readers),
    route("POST", "/reload", Access::Known),
];

const fn route(method: &'static str, path: &'static str, access: Access) -> Route {
    Route {
        method,
        path,
        access,
    }
}

/// Serves these sockets until the process has stopped, in a thread of its own.
///
/// # Errors
/// When there can be no such thread.
pub(crate) fn start(
    sockets: Vec<Socket>,
    address: SocketAddr,
    gateway: Arc<Gateway>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    let listeners = sockets.into_iter().map(Socket::listen);
    let listeners = listeners.collect::<std::io::Result<Vec<_>>>()?;
    drop(guard);
    let open = address.ip().is_loopback();
    let thread = std::thread::Builder::new().name("admin".to_owned());
    thread.spawn(move || {
        runtime.block_on(async {
            let front = Front {
                name: "admin",
                until: Phase::Stopped,
                limits,
                counts,
            };
            let line = Arc::clone(&gateway);
            let handle = move |request, peer| {
                let gateway = Arc::clone(&line);
                async move { answered(&gateway, request, peer, open).await }
            };
            let serving = listeners.into_iter().map(|listener| {
                front::serve(listener, Arc::clone(&gateway), front, handle.clone())
            });
            futures_util::future::join_all(serving).await;
        });
    })
}

/// The Unix socket has places of its own.
fn counts(load: &Load, peer: Peer) -> (&Arc<Counter>, &Peers) {
    let counter = match peer {
        Peer::Local { .. } => &load.local_connections,
        Peer::Remote(_) => &load.admin_connections,
    };
    (counter, &load.admin_peers)
}

fn limits(_: &Gateway, settings: &Settings) -> Limits {
    Limits {
        connections: MAX_CONNECTIONS,
        per_peer: MAX_PER_PEER,
        head: PATIENCE,
        idle: IDLE,
        write: PATIENCE,
        tls: settings.admin.tls.clone(),
    }
}

/// A request and its answer, counted.
async fn answered(
    gateway: &Gateway,
    request: Request<Incoming>,
    peer: Peer,
    open: bool,
) -> Response {
    let snapshot = gateway.live.load();
    let principal = principal(&request, peer, &snapshot.settings);
    let stranger = !open && principal.is_none();
    let path = request.uri().path();
    let route = ROUTES.iter().find(|route| route.path == path);
    let mut response = match misdirected(&request, peer, &snapshot.settings) {
        Some(refused) => refused,
        None => route_of(gateway, &request, route, principal, open).await,
    };
    if stranger {
        // Strangers do not keep a connection.
        response = with(response, CONNECTION, "close");
    }
    let name = route.map_or("other", |route| route.path);
    gateway
        .services
        .metrics
        .admin_request(name, response.status().as_u16());
    response
}

async fn route_of(
    gateway: &Gateway,
    request: &Request<Incoming>,
    route: Option<&Route>,
    principal: Option<String>,
    open: bool,
) -> Response {
    let Some(route) = route else {
        let paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
        return text(
            StatusCode::NOT_FOUND,
            format!("here are {}\n", paths.join(", ")),
        );
    };
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    if read != (route.method == "GET") || (!read && request.method() != Method::POST) {
        let (allow, say) = match route.method {
            "GET" => ("GET, HEAD", "only GET here\n"),
            _ => ("POST", "only POST here\n"),
        };
        return with(
            text(StatusCode::METHOD_NOT_ALLOWED, say.to_owned()),
            ALLOW,
            allow,
        );
    }
    let allowed = match route.access {
        Access::Everybody => true,
        Access::Readers => open || principal.is_some(),
        Access::Known => principal.is_some(),
    };
    if !allowed {
        return unauthorized(&gateway.live.load().settings);
    }
    match route.path {
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => {
            let query = request.uri().query().unwrap_or_default();
            let verbose = query.split('&').any(is_verbose);
            ready(gateway, verbose && (open || principal.is_some())).await
        }
        "/metrics" => answer(StatusCode::OK, METRICS, metrics(gateway)),
        "/status" => json(StatusCode::OK, &status::status(gateway)),
        "/changes" => {
            let changes: Vec<_> = gateway
                .live
                .changes()
                .iter()
                .map(|one| serde_json::json!(**one))
                .collect();
            json(StatusCode::OK, &serde_json::json!({ "changes": changes }))
        }
        "/openapi.json" => answer(StatusCode::OK, JSON, OPENAPI.to_owned()),
        "/reload" => reload(gateway, principal.unwrap_or_default()).await,
        _ => text(StatusCode::NOT_FOUND, "not here\n".to_owned()),
    }
}

/// All metrics, with what only time changes as it is now.
fn metrics(gateway: &Gateway) -> String {
    let (metrics, now) = (&gateway.services.metrics, gateway.services.clock.now());
    for (name, realm) in &gateway.live.load().realms {
        let keys = realm.keys.iter();
        metrics.signing_keys(name, keys.map(|key| realm.keys.state(key, now).name()));
    }
    metrics.clock(now.0);
    metrics.scrape()
}

/// A name that is not ours in `Host`: a page in somebody's browser whose name leads here (DNS rebinding). An
/// address is nobody's name.
fn misdirected(request: &Request<Incoming>, peer: Peer, settings: &Settings) -> Option<Response> {
    if matches!(peer, Peer::Local { .. }) {
        return None;
    }
    let Some(host) = server::host(request) else {
        let say = "a request has exactly one valid Host\n";
        return Some(text(StatusCode::BAD_REQUEST, say.to_owned()));
    };
    let bare = host.trim_matches(['[', ']']);
    let ours = bare.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || settings.admin.hosts.contains(&host);
    (!ours).then(|| {
        let say = "this listener does not go by that name; list it in `admin.hosts`\n";
        text(StatusCode::FORBIDDEN, say.to_owned())
    })
}

/// Who asks: whom the Unix socket let in, or whose token was shown.
fn principal(request: &Request<Incoming>, peer: Peer, settings: &Settings) -> Option<String> {
    if let Peer::Local { uid } = peer {
        return Some(match uid {
            Some(uid) => format!("uid {uid}"),
            None => "the Unix socket".to_owned(),
        });
    }
    let mut sent = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let token = Secret::new(token.trim_start().to_owned());
    // All of them are compared, so that nobody learns which one was nearly right.
    let mut found = None;
    for (name, secrets) in &settings.admin.tokens {
        let matched = secrets
            .iter()
            .fold(false, |matched, secret| secret.matches(&token) | matched);
        if matched {
            found = Some(name.to_string());
        }
    }
    found
}

fn unauthorized(settings: &Settings) -> Response {
    let say = match settings.admin.tokens.is_empty() {
        true => {
            "this needs somebody who is known: a token (`admin.tokens` in cambist.yaml) or the Unix socket (`admin.socket`)\n"
        }
        false => "this needs a token: `Authorization: Bearer …`\n",
    };
    with(
        text(StatusCode::UNAUTHORIZED, say.to_owned()),
        WWW_AUTHENTICATE,
        "Bearer realm=\"cambist admin\"",
    )
}

async fn reload(gateway: &Gateway, principal: String) -> Response {
    if **gateway.live.watch() == *"off" {
        let say = "this process does not reload\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, say.to_owned());
    }
    match tokio::time::timeout(RELOAD, gateway.live.ask(principal)).await {
        Ok(Ok(answer)) => {
            let status = match (answer.result, answer.rejected.is_empty()) {
                ("applied" | "unchanged", true) => StatusCode::OK,
                ("needs_restart", _) => StatusCode::CONFLICT,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            json(status, &serde_json::json!(answer))
        }
        Ok(Err(_)) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the reload did not end; what ran keeps running\n".to_owned(),
        ),
        Err(_) => text(
            StatusCode::GATEWAY_TIMEOUT,
            "the reload takes longer than anybody should wait; see /status\n".to_owned(),
        ),
    }
}

async fn ready(gateway: &Gateway, verbose: bool) -> Response {
    let readiness = health::readiness(gateway).await;
    let (status, say) = match readiness.ready {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    };
    let lines = if verbose {
        readiness.lines
    } else {
        String::new()
    };
    text(status, lines + say)
}

/// `verbose`, with any value or none.
fn is_verbose(parameter: &str) -> bool {
    parameter.split('=').next() == Some("verbose")
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    answer(status, JSON, format!("{body:#}\n"))
}

fn text(status: StatusCode, body: String) -> Response {
    answer(status, TEXT, body)
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let response = with(response, CONTENT_TYPE, kind);
    with(response, CACHE_CONTROL, "no-store")
}

fn with(mut response: Response, name: HeaderName, value: &'static str) -> Response {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    response
}
