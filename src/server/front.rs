//! What a listener does, whatever is said on it: accepts, turns away, shakes hands, keeps the deadlines of a
//! connection, and lets go of it.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;

use super::activity::{Activity, Deadlines, Watched};
use super::load::{Counter, Guest, Load, Peers, Place};
use super::respond::Response;
use super::{Gateway, Phase};
use crate::metrics::Present;
use crate::snapshot::Settings;
use crate::tls::ServerTls;

/// The most headers a request may have.
const MAX_HEADERS: usize = 64;
/// The most bytes of headers, which is hyper's read buffer too.
const MAX_HEAD: usize = 32 * 1024;
/// HTTP/2: requests at once on one connection.
const MAX_STREAMS: u32 = 100;
/// HTTP/2: what may be on its way here without being asked for, for one request and for all of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// HTTP/2: how often a silent peer is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// How long accepting pauses where there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// A socket that is open, and that nobody accepts on yet.
#[derive(Debug)]
pub(crate) enum Socket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket, and its file, which goes with it.
    Unix(std::os::unix::net::UnixListener, Option<SocketFile>),
}

impl Socket {
    /// Accepts on it, within the runtime that this is called in.
    pub(crate) fn listen(self) -> std::io::Result<Listener> {
        Ok(match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Listener::Tcp(TcpListener::from_std(socket)?)
            }
            Self::Unix(socket, file) => {
                socket.set_nonblocking(true)?;
                Listener::Unix(UnixListener::from_std(socket)?, file)
            }
        })
    }
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, and its file.
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "it is there to go with the listener")] Option<SocketFile>,
    ),
}

/// The file of a Unix socket that was made here.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    pub(crate) fn new(path: PathBuf) -> std::io::Result<Self> {
        let id = identity(&path)?;
        Ok(Self { path, id })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own there.
        if identity(&self.path).is_ok_and(|id| id == self.id) {
            let _ = std::fs::remove_file(&self.path); // or it has gone meanwhile
        }
    }
}

/// Device and inode.
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// An address.
    Remote(SocketAddr),
    /// A user of this machine, who may open the Unix socket.
    Local {
        /// The user's number, where the system says it.
        uid: Option<u32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(address) => address.fmt(f),
            Self::Local { uid: Some(uid) } => write!(f, "uid {uid}"),
            Self::Local { uid: None } => f.write_str("local"),
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What is particular about a listener.
#[derive(Clone, Copy)]
pub(crate) struct Front {
    /// What metrics call it.
    pub name: &'static str,
    /// The phase in which it accepts no more.
    pub until: Phase,
    /// Its limits, as they are configured now.
    pub limits: fn(&Gateway, &Settings) -> Limits,
    /// Where its connections, and those of each peer, are counted.
    pub counts: fn(&Load, Peer) -> (&Arc<Counter>, &Peers),
}

/// The limits of a listener.
#[derive(Clone)]
pub(crate) struct Limits {
    pub connections: usize,
    pub per_peer: usize,
    pub head: Duration,
    pub idle: Duration,
    pub write: Duration,
    pub tls: Option<ServerTls>,
}

/// What a connection takes up.
type Room = (Place, Option<Guest>, Present);

/// Serves until its phase has come, and every connection that was accepted.
pub(crate) async fn serve<S, A>(listener: Listener, gateway: Arc<Gateway>, front: Front, handle: S)
where
    S: Fn(Request<Incoming>, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let mut phase = gateway.phase.subscribe();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = phase.wait_for(|phase| *phase >= front.until) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                welcome(stream, peer, &gateway, front, &handle);
            }
            Err(error) => {
                // Out of file descriptors, most likely: they come back as connections end.
                if !failing {
                    tracing::warn!(listener = front.name, %error, "cannot accept connections for now");
                }
                failing = true;
                gateway.services.metrics.connection(front.name, "failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // Who has connected already is not reset, but served.
    while let Some(Ok((stream, peer))) = accept(&listener).now_or_never() {
        welcome(stream, peer, &gateway, front, &handle);
    }
}

async fn accept(listener: &Listener) -> std::io::Result<(Stream, Peer)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            Ok((Stream::Tcp(stream), Peer::Remote(peer)))
        }
        Listener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            let uid = stream.peer_cred().ok().map(|peer| peer.uid());
            Ok((Stream::Unix(stream), Peer::Local { uid }))
        }
    }
}

/// Serves a connection in a task of its own, or turns it away.
fn welcome<S, A>(stream: Stream, peer: Peer, gateway: &Arc<Gateway>, front: Front, handle: &S)
where
    S: Fn(Request<Incoming>, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let snapshot = gateway.live.load();
    let limits = (front.limits)(gateway, &snapshot.settings);
    let Some(room) = room(gateway, front, &limits, &snapshot.settings, peer) else {
        gateway
            .services
            .metrics
            .connection(front.name, "turned_away");
        return;
    };
    gateway.services.metrics.connection(front.name, "accepted");
    let (gateway, handle) = (Arc::clone(gateway), handle.clone());
    tokio::spawn(async move {
        match (stream, &limits.tls) {
            (Stream::Unix(stream), _) => {
                converse(stream, None, peer, &gateway, front, &limits, handle).await
            }
            (Stream::Tcp(stream), None) => {
                converse(stream, None, peer, &gateway, front, &limits, handle).await;
            }
            (Stream::Tcp(stream), Some(tls)) => {
                let shaken = tokio::time::timeout(limits.head, tls.accept(stream)).await;
                let stream = match shaken {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        gateway.services.metrics.tls_handshake("failed");
                        tracing::debug!(%peer, %error, "no TLS handshake");
                        return;
                    }
                    Err(_) => {
                        gateway.services.metrics.tls_handshake("timeout");
                        return;
                    }
                };
                gateway.services.metrics.tls_handshake("ok");
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                converse(stream, Some(http2), peer, &gateway, front, &limits, handle).await;
            }
        }
        drop(room);
    });
}

fn room(
    gateway: &Gateway,
    front: Front,
    limits: &Limits,
    settings: &Settings,
    peer: Peer,
) -> Option<Room> {
    let (counter, peers) = (front.counts)(&gateway.load, peer);
    let place = counter.enter(limits.connections)?;
    let guest = guest(peers, settings, peer, limits.per_peer)?;
    let open = gateway.services.metrics.connection_open(front.name);
    Some((place, guest, open))
}

/// A peer's part in what is counted by peers; whoever has no address has none, nor has a proxy, behind which
/// stand many. `None` where a peer has as much as it may.
pub(super) fn guest(
    peers: &Peers,
    settings: &Settings,
    peer: Peer,
    most: usize,
) -> Option<Option<Guest>> {
    match peer.ip().filter(|ip| !settings.trusts(*ip)) {
        Some(ip) => peers.enter(ip, most).map(Some),
        None => Some(None),
    }
}

/// One connection to its end. `http2` is what was agreed on with TLS; without that, the client's first bytes
/// say it.
async fn converse<I, S, A>(
    stream: I,
    http2: Option<bool>,
    peer: Peer,
    gateway: &Arc<Gateway>,
    front: Front,
    limits: &Limits,
    handle: S,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Fn(Request<Incoming>, Peer) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let activity = Arc::new(Activity::new());
    let mut phase = gateway.phase.subscribe();
    let service = service_fn({
        let (activity, phase) = (Arc::clone(&activity), phase.clone());
        move |request: Request<Incoming>| {
            let multiplexed = request.version() == Version::HTTP_2;
            let running = activity.begin(multiplexed);
            let answer = handle(request, peer);
            let phase = phase.clone();
            async move {
                let mut response = answer.await;
                if !multiplexed && *phase.borrow() >= Phase::Draining {
                    // Whoever keeps connections open finds another process for the next request.
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                drop(running);
                Ok::<_, Infallible>(response)
            }
        }
    });
    let mut timed = TimeoutStream::new(Watched::new(stream, Arc::clone(&activity)));
    // hyper has no deadline for a client that does not read what it asked for.
    timed.set_write_timeout(Some(limits.write));
    let builder = builder(http2);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Box::pin(timed)), service));
    let deadlines = Deadlines {
        head: limits.head,
        idle: limits.idle,
    };
    let mut leave = pin!(async {
        let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
        // Whoever has just connected is about to ask: the answer is the last one, and the head has its deadline.
        activity.used().await;
        // HTTP/2 can say that it is leaving without losing a request: as soon as it is known.
        if !activity.is_http2() {
            let _ = phase.wait_for(|phase| *phase >= front.until).await;
        }
    });
    let mut leaving = false;
    let mut linger = pin!(tokio::time::sleep(Duration::MAX));
    let mut over = pin!(activity.over(deadlines));
    let ended = loop {
        tokio::select! {
            // What is here already is taken in before anything is closed.
            biased;
            ended = connection.as_mut() => break ended,
            () = leave.as_mut(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
                linger.as_mut().reset(Instant::now() + limits.write);
            }
            () = linger.as_mut(), if leaving => {
                if !activity.is_running() {
                    // Its answers are there; it does not take them.
                    break Ok(());
                }
                linger.as_mut().reset(Instant::now() + limits.write);
            }
            () = over.as_mut() => {
                // Nothing runs. HTTP/2 is told so; whoever does not finish a head, or says nothing, is not.
                connection.as_mut().graceful_shutdown();
                let patience = match activity.is_http2() {
                    true => limits.write,
                    false => Duration::ZERO,
                };
                break tokio::time::timeout(patience, connection.as_mut()).await.unwrap_or(Ok(()));
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

fn builder(http2: Option<bool>) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    match http2 {
        Some(true) => builder.http2_only(),
        Some(false) => builder.http1_only(),
        None => builder,
    }
}

impl Peer {
    /// The address, where there is one.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Remote(address) => Some(address.ip()),
            Self::Local { .. } => None,
        }
    }
}
