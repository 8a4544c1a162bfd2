//! The admin listener: metrics, health, and what is loaded. Loopback only in this build.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::clock::rfc3339;
use crate::jose::KeyState;
use crate::keys::{KeySource, Report};
use crate::server::{Gateway, with_write_deadline};
use crate::snapshot::Realm;
use crate::token::TrustedIssuer;

/// The most connections at once.
const MAX_CONNECTIONS: usize = 64;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// Serves until `stop` becomes true.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let gateway = Arc::clone(&gateway);
        let service = service_fn(move |request: Request<Incoming>| {
            let gateway = Arc::clone(&gateway);
            async move { Ok::<_, Infallible>(route(&gateway, &request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(with_write_deadline(stream, 10)), service);
        tokio::spawn(async move {
            let _ = connection.await; // whoever scrapes comes back
            drop(permit);
        });
    }
}

async fn route(gateway: &Gateway, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = answer(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET here\n".to_owned(),
        );
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => answer(StatusCode::OK, METRICS, metrics(gateway)),
        "/livez" => answer(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            ready(
                gateway,
                request
                    .uri()
                    .query()
                    .is_some_and(|query| query.split('&').any(is_verbose)),
            )
            .await
        }
        "/status" => answer(StatusCode::OK, JSON, format!("{:#}\n", status(gateway))),
        _ => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "here are /metrics, /livez, /readyz and /status\n".to_owned(),
        ),
    }
}

/// All metrics, with what only time changes as it is now.
fn metrics(gateway: &Gateway) -> String {
    let (metrics, now) = (&gateway.services.metrics, gateway.services.clock.now());
    let snapshot = gateway.live.load();
    let realm = &snapshot.realm;
    let states = realm
        .keys
        .iter()
        .map(|key| realm.keys.state(key, now).name());
    metrics.signing_keys(&realm.name, states);
    metrics.clock(now.0);
    metrics.scrape()
}

/// `verbose`, with any value or none.
fn is_verbose(parameter: &str) -> bool {
    parameter.split('=').next() == Some("verbose")
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Ready when exchanges can be answered: something is loaded (always, or the process would not run),
/// records can be written, the tokens of one issuer at least can be verified, and clients that sign their
/// assertions are not turned away any more for what may have been used before the start. A rejected reload is
/// shown, but what runs is sound; so is an issuer whose keys are not here, where another's are.
async fn ready(gateway: &Gateway, verbose: bool) -> Response<Full<Bytes>> {
    let audit = gateway
        .audit
        .probe(gateway.services.clock.timestamp())
        .await;
    let last = gateway.live.last_load();
    let snapshot = gateway.live.load();
    let issuers = issuers(&snapshot.realm);
    // Our own tokens alone are enough only where nobody else's are expected.
    let verifies = issuers.is_empty() || issuers.iter().any(|issuer| issuer.good);
    let (single_use, now) = (&gateway.services.single_use, gateway.services.clock.now());
    let quarantine = snapshot.realm.clients.quarantine();
    let settled = quarantine.is_none_or(|ahead| single_use.settled(ahead, now));
    let ready = audit && verifies && settled;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut body = String::new();
    if verbose {
        let mark = |good: bool| if good { "[+]" } else { "[-]" };
        let since = rfc3339(snapshot.loaded_at);
        body.push_str(&format!(
            "[+] configuration: {} loaded {since}\n",
            snapshot.hash
        ));
        let in_step = matches!(last.result, "applied" | "unchanged");
        let at = rfc3339(last.at);
        body.push_str(&format!(
            "{} last reload: {} at {at} (what runs is sound)\n",
            mark(in_step),
            last.result
        ));
        body.push_str(&format!("[+] watch: {}\n", gateway.live.watch()));
        body.push_str(&format!("{} audit\n", mark(audit)));
        if quarantine.is_some() {
            body.push_str(&format!(
                "{} client assertions: what may be from before the start is told apart\n",
                mark(settled)
            ));
        }
        for issuer in &issuers {
            let IssuerState { alias, good, says } = issuer;
            body.push_str(&format!("{} issuer {alias}: {says}\n", mark(*good)));
        }
    }
    body.push_str(if ready { "ready\n" } else { "not ready\n" });
    answer(status, TEXT, body)
}

/// How it stands with one issuer.
struct IssuerState<'a> {
    alias: &'a str,
    good: bool,
    says: String,
}

/// Everybody else's tokens that are taken, in the order of the configuration; the disabled issuers' are not.
fn issuers(realm: &Realm) -> Vec<IssuerState<'_>> {
    let issuers = realm.issuers.iter();
    let issuers = issuers.filter(|issuer| issuer.enabled && !issuer.alias.is_own());
    issuers
        .map(|issuer| IssuerState {
            alias: issuer.alias.as_str(),
            good: issuer.can_verify(),
            says: ways(issuer).join("; "),
        })
        .collect()
}

/// The ways in which an issuer's tokens are verified, and how each stands.
fn ways(issuer: &TrustedIssuer) -> Vec<String> {
    let mut ways = Vec::new();
    match &issuer.keys {
        None => {}
        Some(KeySource::Fixed(keys)) => {
            ways.push(format!("{} configured keys", keys.keys().len()));
        }
        Some(KeySource::Remote(remote)) => ways.push(fetched(&remote.report())),
    }
    if issuer.introspection.is_some() {
        ways.push("introspection".to_owned());
    }
    ways
}

fn fetched(report: &Report) -> String {
    let age = report.age.map(|age| age.as_secs());
    let mut says = match (report.usable, age) {
        (true, Some(age)) => format!("{} keys, current {age}s ago", report.keys),
        (false, Some(age)) => format!("keys too old to be used, current {age}s ago"),
        (_, None) => "no keys yet".to_owned(),
    };
    if report.skipped > 0 {
        says.push_str(&format!(", {} not used", report.skipped));
    }
    if let Some(error) = &report.error {
        says.push_str(&format!(", last look failed: {error}"));
    }
    says
}

fn status(gateway: &Gateway) -> serde_json::Value {
    let snapshot = gateway.live.load();
    let last = gateway.live.last_load();
    let realm = &snapshot.realm;
    let now = gateway.services.clock.now();
    let (rules, denies) = realm.policies.counts();
    let keys: Vec<_> = realm
        .keys
        .iter()
        .map(|key| {
            let state = realm.keys.state(key, now);
            let from = match state {
                KeyState::SignsFrom(at) => Some(rfc3339(at)),
                KeyState::Signs | KeyState::Listed | KeyState::Retired => None,
            };
            serde_json::json!({
                "kid": key.kid(), "alg": key.algorithm().as_str(), "state": state.name(), "from": from,
            })
        })
        .collect();
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config": {
            "hash": snapshot.hash,
            "loaded_at": rfc3339(snapshot.loaded_at),
            "files": snapshot.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "warnings": snapshot.warnings.to_json(&snapshot.sources),
        },
        "last_reload": { "at": rfc3339(last.at), "result": last.result, "details": last.details },
        "watch": *gateway.live.watch(),
        "realm": {
            "issuer": realm.issuer.as_str(),
            "token_path": realm.token_path,
            "rules": rules,
            "denies": denies,
            "issuers": realm.issuers.iter().map(|issuer| serde_json::json!({
                "alias": issuer.alias.as_str(),
                "issuer": issuer.id.as_str(),
                "enabled": issuer.enabled,
                "can_verify": issuer.can_verify(),
                "verifies_by": ways(issuer),
            })).collect::<Vec<_>>(),
            "clients": realm.clients.len(),
            "processors": realm.processors.values().map(|p| serde_json::json!({ "id": p.id.as_str(), "provider": p.kind })).collect::<Vec<_>>(),
            "keys": keys,
        },
    })
}
