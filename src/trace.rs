//! Which trace a request belongs to (W3C Trace Context), and the spans of its way through the house.
//!
//! The spans are made for a tracer, not for the log: without the feature `otel`, or without an endpoint to
//! send them to, they are disabled where they stand, and cost next to nothing. The trace that a request came
//! with is then handed on as it was.
//!
//! INVARIANT: what a span says comes from closed sets, or is a name of the configuration, or a request's id.
//! No token, no secret, no subject, nothing that a request brought; the trace's own id is 16 bytes of hex.

#[cfg(feature = "otel")]
pub mod otlp;

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::metrics::Upstream;
use crate::oauth::id::{RealmName, RequestId, RuleId};

/// The target of every span that is for a tracer; no log has it.
pub const TARGET: &str = "cambist::span";

/// The header, in and out (W3C Trace Context §3.2).
pub const HEADER: &str = "traceparent";

/// A span for one phase of a request, disabled unless a tracer wants it.
macro_rules! phase {
    ($name:literal) => {
        tracing::debug_span!(target: $crate::trace::TARGET, $name)
    };
}
pub(crate) use phase;

tokio::task_local! {
    /// What the request in this task came with.
    static CAME_WITH: Option<TraceParent>;
}

/// Where in which trace somebody is: the value of a `traceparent` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    sampled: bool,
}

/// Something that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no traceparent")]
pub struct NoTraceParent;

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// W3C Trace Context §3.2.2: lower-case hexadecimal of fixed length, nothing all zeros; a later version
    /// may have more behind a dash.
    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            let all = part.bytes().all(hex);
            all.then(|| u128::from_str_radix(part, 16).ok()).flatten()
        };
        let (version, trace, span, flags) = (number(2), number(32), number(16), number(2));
        let (Some(version), Some(trace), Some(span), Some(flags)) = (version, trace, span, flags)
        else {
            return Err(NoTraceParent);
        };
        let more = parts.next().is_some();
        if version == 0xff || (version == 0 && more) || trace == 0 || span == 0 {
            return Err(NoTraceParent);
        }
        Ok(Self {
            trace,
            span: u64::try_from(span).map_err(|_| NoTraceParent)?,
            sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

impl TraceParent {
    /// What a request says: one header, and that a good one; anything else counts as none.
    pub fn of<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut headers = headers.into_iter();
        let (first, None) = (headers.next()?, headers.next()) else {
            return None;
        };
        std::str::from_utf8(first).ok()?.parse().ok()
    }

    /// The trace's id, as logs and records write it.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

/// The span of one request to the token endpoint; `method` is one of a closed set.
#[must_use]
pub fn server(realm: &RealmName, method: &'static str, route: &str, id: &RequestId) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "exchange",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        http.route = route,
        url.path = route,
        error.type = Empty,
        cambist.realm = realm.as_str(),
        cambist.request_id = id.as_str(),
        cambist.outcome = Empty,
        cambist.reason = Empty,
        cambist.rule = Empty,
        cambist.processor = Empty,
    )
}

/// How a request to the token endpoint ended.
#[derive(Debug)]
pub struct Answered<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `issued`, `refused` or `failed`.
    pub outcome: &'static str,
    /// A word from a closed set; empty where a token was issued.
    pub reason: &'static str,
    /// The rule that permitted or refused.
    pub rule: Option<&'a RuleId>,
    /// The selected processor; empty where none was.
    pub processor: &'a str,
}

/// Writes into the span of a request how it ended.
pub fn answered(span: &Span, answered: &Answered<'_>) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", answered.status);
    span.record("cambist.outcome", answered.outcome);
    for (name, value) in [
        ("cambist.reason", answered.reason),
        ("cambist.processor", answered.processor),
    ] {
        if !value.is_empty() {
            span.record(name, value);
        }
    }
    if let Some(rule) = answered.rule {
        span.record("cambist.rule", tracing::field::display(rule));
    }
    if answered.status >= 500 {
        span.record("error.type", answered.reason);
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of one request to somebody else.
#[must_use]
pub fn client(upstream: &Upstream, method: &'static str) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "request",
        otel.name = %format_args!("{method} {}", upstream.kind),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        error.type = Empty,
        cambist.realm = upstream.realm.as_str(),
        cambist.upstream.kind = upstream.kind,
        cambist.upstream.owner = &*upstream.owner,
    )
}

/// Writes into the span of a request to somebody else how it ended: a status, or a word for why there is none.
pub fn asked(span: &Span, result: Result<u16, &'static str>) {
    if span.is_disabled() {
        return;
    }
    match result {
        Ok(status) => {
            span.record("http.response.status_code", status);
            if status >= 400 {
                span.record("error.type", tracing::field::display(status));
                span.record("otel.status_code", "ERROR");
            }
        }
        Err(reason) => {
            span.record("error.type", reason);
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// Makes a new span the child of what a request came with.
pub fn adopt(span: &Span, parent: Option<TraceParent>) {
    #[cfg(feature = "otel")]
    otlp::adopt(span, parent);
    #[cfg(not(feature = "otel"))]
    let _ = (span, parent);
}

/// Where a span is: in the trace of its tracer, or in the one that its request came with.
#[must_use]
pub fn place(span: &Span, came_with: Option<TraceParent>) -> Option<TraceParent> {
    #[cfg(feature = "otel")]
    if let Some(place) = otlp::place(span) {
        return Some(place);
    }
    let _ = span;
    came_with
}

/// What is sent on to those whom the current task asks.
#[must_use]
pub fn outgoing() -> Option<TraceParent> {
    let came_with = CAME_WITH.try_with(|parent| *parent).ok().flatten();
    place(&Span::current(), came_with)
}

/// Does the work of a request that came with this.
pub fn within<F: Future>(
    came_with: Option<TraceParent>,
    span: Span,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    CAME_WITH.scope(came_with, work).instrument(span)
}

/// Does work that may go on when whoever began it has ended. It belongs to the same trace, and holds nobody's
/// span open.
pub fn detached<F: Future>(
    upstream: &Upstream,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    let parent = outgoing();
    let span = tracing::debug_span!(
        target: TARGET,
        parent: None,
        "fetch",
        cambist.realm = upstream.realm.as_str(),
        cambist.upstream.kind = upstream.kind,
        cambist.upstream.owner = &*upstream.owner,
    );
    adopt(&span, parent);
    within(parent, span, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// W3C Trace Context §3.2.2 and §4.3.
    #[test]
    fn what_is_a_traceparent_and_what_is_none() {
        for (text, sent_on) in [
            (GOOD, GOOD),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            ),
            // Flags that nobody has given a meaning are not sent on.
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
                GOOD,
            ),
            // A later version may have more.
            (
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-else",
                GOOD,
            ),
        ] {
            let parent: TraceParent = text.parse().unwrap();
            assert_eq!(parent.to_string(), sent_on);
            assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        }
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NoTraceParent), "{bad}");
        }
    }

    #[test]
    fn two_headers_are_none() {
        let good = GOOD.as_bytes();
        assert!(TraceParent::of([good]).is_some());
        assert_eq!(TraceParent::of([good, good]), None);
        assert_eq!(TraceParent::of([]), None);
        assert_eq!(TraceParent::of([&b"\xff"[..]]), None);
    }

    #[tokio::test]
    async fn what_a_request_came_with_is_sent_on_by_it_and_by_what_it_began() {
        let parent: TraceParent = GOOD.parse().unwrap();
        let upstream = crate::metrics::Metrics::new().unwrap().upstream(
            &RealmName::default(),
            "keys",
            &std::sync::Arc::from("idp"),
        );
        let began = within(Some(parent), Span::none(), async {
            assert_eq!(outgoing(), Some(parent));
            let began = tokio::spawn(detached(&upstream, async { outgoing() }));
            began.await.unwrap()
        });
        assert_eq!(began.await, Some(parent));
        assert_eq!(outgoing(), None);
    }
}
