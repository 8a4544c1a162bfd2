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
use crate::server::{Gateway, with_write_deadline};

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
        "/metrics" => answer(StatusCode::OK, METRICS, gateway.services.metrics.scrape()),
        "/livez" => answer(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            ready(
                gateway,
                request
                    .uri()
                    .query()
                    .is_some_and(|query| query.contains("verbose")),
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

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Ready when exchanges can be answered: something is loaded (always, or the process would not run),
/// and records can be written. A rejected reload is shown, but what runs is sound.
async fn ready(gateway: &Gateway, verbose: bool) -> Response<Full<Bytes>> {
    let audit = gateway
        .audit
        .probe(gateway.services.clock.timestamp())
        .await;
    let last = gateway.live.last_load();
    let snapshot = gateway.live.load();
    let status = if audit {
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
    }
    body.push_str(if audit { "ready\n" } else { "not ready\n" });
    answer(status, TEXT, body)
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
            let (state, from) = match realm.keys.state(key, now) {
                KeyState::Signs => ("signs", None),
                KeyState::SignsFrom(at) => ("signs_later", Some(rfc3339(at))),
                KeyState::Listed => ("published", None),
                KeyState::Retired => ("retired", None),
            };
            serde_json::json!({
                "kid": key.kid(), "alg": key.algorithm().as_str(), "state": state, "from": from,
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
            "clients": realm.clients.len(),
            "processors": realm.processors.values().map(|p| serde_json::json!({ "id": p.id.as_str(), "provider": p.kind })).collect::<Vec<_>>(),
            "keys": keys,
        },
    })
}
