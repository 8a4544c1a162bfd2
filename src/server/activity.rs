//! What is going on on one connection, and how long that may go on: between two requests, and from the first
//! byte of a request's head to its last. hyper has one deadline for both, and none before it knows which
//! version of HTTP it speaks.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub head: Duration,
    pub idle: Duration,
}

/// What is going on on a connection. Times are milliseconds since the first of all connections.
#[derive(Debug)]
pub(super) struct Activity {
    /// Requests whose head is here, and whose answer is not there yet.
    running: AtomicUsize,
    /// Whether there was a request ever.
    used: AtomicBool,
    /// Told when there is one.
    first: Notify,
    /// Whether it speaks HTTP/2, where bytes may come that begin no request.
    http2: AtomicBool,
    /// When it last became idle.
    idle_since: AtomicU64,
    /// When the first byte came since; 0 where none did.
    head_since: AtomicU64,
}

/// A request on a connection; it runs until this is dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            running: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            first: Notify::new(),
            http2: AtomicBool::new(false),
            idle_since: AtomicU64::new(now()),
            head_since: AtomicU64::new(0),
        }
    }

    /// A request's head is here.
    pub(super) fn begin(self: &Arc<Self>, http2: bool) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.http2.store(http2, Ordering::SeqCst);
        if !self.used.swap(true, Ordering::SeqCst) {
            self.first.notify_waiters();
        }
        self.head_since.store(0, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::SeqCst)
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::SeqCst) > 0
    }

    /// Waits until there was a request.
    pub(super) async fn used(&self) {
        loop {
            let first = self.first.notified();
            if self.used.load(Ordering::SeqCst) {
                return;
            }
            first.await;
        }
    }

    fn read(&self) {
        if self.running.load(Ordering::SeqCst) == 0 {
            let none = self.head_since.compare_exchange(
                0,
                now().max(1),
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            let _ = none; // it began before
        }
    }

    /// How long it may go on as it is: nothing left where its time is over.
    fn left(&self, deadlines: Deadlines) -> Duration {
        if self.running.load(Ordering::SeqCst) > 0 {
            // What runs has deadlines of its own.
            return deadlines.idle;
        }
        let idle = self.idle_since.load(Ordering::SeqCst);
        let head = self.head_since.load(Ordering::SeqCst);
        let (since, most) = match (self.used.load(Ordering::SeqCst), self.is_http2(), head) {
            (false, ..) => (idle, deadlines.head),
            (true, false, 1..) => (head, deadlines.head),
            (true, ..) => (idle, deadlines.idle),
        };
        most.saturating_sub(Duration::from_millis(now().saturating_sub(since)))
    }

    /// Waits until its time is over.
    pub(super) async fn over(&self, deadlines: Deadlines) {
        // A head that begins meanwhile has less time than an idle connection has left.
        let step = deadlines
            .head
            .min(deadlines.idle)
            .min(Duration::from_secs(5));
        loop {
            let left = self.left(deadlines);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(step).max(Duration::from_millis(5))).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.idle_since.store(now(), Ordering::SeqCst);
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn now() -> u64 {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGINNING.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A connection whose reads are noticed.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
