//! The tracer: spans to an OpenTelemetry collector, by OTLP over HTTP. The only file that names
//! `opentelemetry`.
//!
//! The `OTEL_*` variables say where to, what with and how much; the SDK reads them itself. How bytes are sent
//! is the caller's: this file knows no network.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::WithHttpConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::TraceParent;

/// How long what is left may take to be sent at the end.
const LAST: Duration = Duration::from_secs(3);

/// What is to be posted.
pub struct Post {
    /// Where to.
    pub url: String,
    /// Its headers. May hold secrets.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

/// Posts, and gives the status and the body of the answer, or says why there is none.
pub type Send = Box<
    dyn Fn(
            Post,
        )
            -> Pin<Box<dyn Future<Output = Result<(u16, Vec<u8>), String>> + std::marker::Send>>
        + std::marker::Send
        + Sync,
>;

/// The tracer of the process. What is kept of its spans is sent when it is dropped.
#[derive(Debug)]
pub struct Tracer(SdkTracerProvider);

impl Tracer {
    /// A tracer, set up by the `OTEL_*` variables.
    ///
    /// # Errors
    /// Says what is wrong with the variables.
    pub fn start(send: Send) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let sender = Sender {
            runtime,
            send,
            failing: AtomicBool::new(false),
        };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(sender)
            .build()
            .map_err(|error| error.to_string())?;
        let detected = Resource::builder().build();
        let named = detected.iter().any(|(key, value)| {
            key.as_str() == "service.name" && !value.as_str().starts_with("unknown_service")
        });
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !named {
            resource = resource.with_service_name("cambist");
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(provider))
    }

    /// What makes spans of this house the tracer's; nothing else of what is logged.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span> + std::marker::Send + Sync,
    {
        let ours = Targets::new().with_target(super::TARGET, tracing::Level::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("cambist"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(ours)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST) {
            tracing::warn!(%error, "the last traces may be lost");
        }
    }
}

/// See [`adopt`](super::adopt).
pub(super) fn adopt(span: &Span, parent: Option<TraceParent>) {
    let Some(parent) = parent.filter(|_| !span.is_disabled()) else {
        return;
    };
    let flags = if parent.sampled {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::NOT_SAMPLED
    };
    let parent = SpanContext::new(
        TraceId::from_bytes(parent.trace.to_be_bytes()),
        SpanId::from_bytes(parent.span.to_be_bytes()),
        flags,
        true,
        TraceState::NONE,
    );
    // Fails where no tracer listens, which is fine.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// Where a span is in the tracer's eyes.
pub(super) fn place(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let span = context.span();
    let here = span.span_context();
    here.is_valid().then(|| TraceParent {
        trace: u128::from_be_bytes(here.trace_id().to_bytes()),
        span: u64::from_be_bytes(here.span_id().to_bytes()),
        sampled: here.is_sampled(),
    })
}

/// The exporter's way out. It is asked on the exporter's own thread, which has no runtime.
struct Sender {
    runtime: tokio::runtime::Runtime,
    send: Send,
    failing: AtomicBool,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let headers = head.headers.iter();
        let post = Post {
            url: head.uri.to_string(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: body.to_vec(),
        };
        let answer = self.runtime.block_on((self.send)(post));
        let problem = match &answer {
            Ok((200..=299, _)) => None,
            Ok((status, _)) => Some(format!("the collector answers {status}")),
            Err(error) => Some(error.clone()),
        };
        // Once when it begins and once when it is over, not for every batch.
        match (
            &problem,
            self.failing.swap(problem.is_some(), Ordering::Relaxed),
        ) {
            (Some(error), false) => tracing::warn!(%error, "traces cannot be sent"),
            (None, true) => tracing::info!("traces can be sent again"),
            _ => {}
        }
        let (status, body) = answer?;
        Ok(Response::builder().status(status).body(Bytes::from(body))?)
    }
}

impl HttpClient for Sender {
    fn send_bytes<'a, 'f>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + std::marker::Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move { self.send(request) })
    }
}
