//! The token listener: sockets, limits, deadlines, and which path means what.
//!
//! HTTP/1.1 only. Every limit is set here, and hyper's timer with them: without it hyper's own header
//! deadline is silently off.

mod origin;
mod respond;
mod token;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

pub use respond::Response;

use crate::audit::Audit;
use crate::services::Services;
use crate::snapshot::Live;

/// The most headers a request may have.
const MAX_HEADERS: usize = 64;
/// The most bytes of headers, hyper's read buffer.
const MAX_HEAD: usize = 32 * 1024;

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
}

/// Serves until `stop` becomes true, then lets requests in flight finish.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let settings = gateway.live.load().settings.clone();
    let room = Arc::new(Semaphore::new(settings.max_connections));
    let graceful = GracefulShutdown::new();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: they come back as connections end.
                if !failing {
                    tracing::warn!(%error, "cannot accept connections for now");
                }
                failing = true;
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        failing = false;
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            gateway.services.metrics.connection("turned_away");
            continue;
        };
        gateway.services.metrics.connection("accepted");
        let _ = stream.set_nodelay(true);
        // Held by the connection and by what it began, whichever lasts longer.
        let permit = Arc::new(permit);
        let held = Arc::clone(&permit);
        let gateway = Arc::clone(&gateway);
        let service = service_fn(move |request| {
            let gateway = Arc::clone(&gateway);
            let permit = Arc::clone(&permit);
            async move {
                Ok::<_, std::convert::Infallible>(route(&gateway, request, peer, permit).await)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(settings.header_timeout))
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(
                TokioIo::new(with_write_deadline(stream, settings.body_timeout)),
                service,
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended early");
            }
            drop(held);
        });
    }
    drop(listener);
    // As long as a request may take, and time to record and write its answer.
    let drain = Duration::from_secs(settings.request_timeout + 5);
    let all = u32::try_from(settings.max_connections).unwrap_or(u32::MAX);
    let finish = async {
        graceful.shutdown().await;
        // What was begun for clients that have gone since.
        let _ = room.acquire_many(all).await;
    };
    if tokio::time::timeout(drain, finish).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

/// hyper has no deadline for a client that does not read what it asked for.
pub(crate) fn with_write_deadline(
    stream: TcpStream,
    seconds: u64,
) -> Pin<Box<TimeoutStream<TcpStream>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(Duration::from_secs(seconds)));
    Box::pin(stream)
}

/// Which path means what. The configuration is loaded once, and the request keeps it to the end.
async fn route(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    peer: SocketAddr,
    permit: Arc<OwnedSemaphorePermit>,
) -> Response {
    let snapshot = gateway.live.load();
    let realm = &snapshot.realm;
    let path = request.uri().path();
    if path == realm.token_path {
        // In a task of its own: what has begun is recorded, also when the client hangs up.
        let gateway = Arc::clone(gateway);
        let line = tokio::spawn(async move {
            let response = token::answer(&gateway, &snapshot, request, peer).await;
            drop(permit);
            response
        });
        return line.await.unwrap_or_else(|_| respond::failed());
    }
    let (document, max_age) = if path == realm.metadata_path {
        (&realm.metadata, METADATA_MAX_AGE)
    } else if path == realm.jwks_path {
        (&realm.jwks, realm.jwks_max_age)
    } else {
        return respond::not_found();
    };
    match *request.method() {
        Method::GET | Method::HEAD => respond::document(document, max_age),
        _ => respond::not_allowed("GET, HEAD"),
    }
}
