//! The tracer that the `OTEL_*` variables ask for, and how its spans leave the process.

#[cfg(feature = "otel")]
use std::time::Duration;

#[cfg(feature = "otel")]
use crate::net::{Endpoint, Limits, Net, Outbound};
#[cfg(feature = "otel")]
use crate::oauth::uri::Uri;
#[cfg(feature = "otel")]
use crate::trace::otlp;

/// The process's tracer, where there is one.
#[must_use]
pub(super) struct Tracer {
    #[cfg(feature = "otel")]
    started: Option<otlp::Tracer>,
    /// Why there is none although it was asked for.
    problem: Option<String>,
}

impl Tracer {
    /// Starts the tracer if an endpoint is named, or `OTEL_TRACES_EXPORTER=otlp`, and nothing says otherwise.
    pub(super) fn start() -> Self {
        if !asked_for() {
            return Self::none(None);
        }
        #[cfg(not(feature = "otel"))]
        return Self::none(Some("this build has no feature `otel`".to_owned()));
        #[cfg(feature = "otel")]
        match started() {
            Ok(started) => Self {
                started: Some(started),
                problem: None,
            },
            Err(problem) => Self::none(Some(problem)),
        }
    }

    fn none(problem: Option<String>) -> Self {
        Self {
            #[cfg(feature = "otel")]
            started: None,
            problem,
        }
    }

    /// What hears of the spans.
    #[cfg(feature = "otel")]
    pub(super) fn layer<S>(&self) -> Option<impl tracing_subscriber::Layer<S> + use<S>>
    where
        S: tracing::Subscriber
            + for<'span> tracing_subscriber::registry::LookupSpan<'span>
            + Send
            + Sync,
    {
        self.started.as_ref().map(otlp::Tracer::layer)
    }

    /// What hears of the spans: nobody.
    #[cfg(not(feature = "otel"))]
    pub(super) fn layer(&self) -> Option<tracing_subscriber::layer::Identity> {
        None
    }

    /// Says in the log, which must have begun, why there is no tracer although it was asked for.
    pub(super) fn complain(&self) {
        if let Some(problem) = &self.problem {
            tracing::warn!("there will be no traces: {problem}");
        }
    }
}

/// The value of a variable, where it is set to something.
#[expect(
    clippy::disallowed_methods,
    reason = "OpenTelemetry is set up by its own variables, everywhere the same"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn asked_for() -> bool {
    let exporter = variable("OTEL_TRACES_EXPORTER");
    let endpoint = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let disabled = variable("OTEL_SDK_DISABLED");
    if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return false;
    }
    match exporter.as_deref() {
        None => endpoint.is_some(),
        Some(exporter) => exporter == "otlp",
    }
}

#[cfg(feature = "otel")]
fn started() -> Result<otlp::Tracer, String> {
    let protocol = variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if let Some(other) = protocol.filter(|protocol| protocol != "http/protobuf") {
        return Err(format!(
            "`{other}` is not spoken here, only `http/protobuf`"
        ));
    }
    let certificate = variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_CERTIFICATE"));
    let roots = match certificate {
        None => Vec::new(),
        Some(path) => {
            let pem = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
            Outbound::roots(&pem).map_err(|error| format!("{path} {error}"))?
        }
    };
    // Whoever sets the variables of a process may send it anywhere: a collector is often on this machine, or
    // on the link.
    let anywhere = ["0.0.0.0/0", "::/0"].map(str::parse);
    let allow = anywhere.into_iter().flatten().collect();
    let net = Net::with(Outbound { roots, allow }).map_err(|error| error.to_string())?;
    otlp::Tracer::start(Box::new(move |post| {
        let net = net.clone();
        Box::pin(async move { sent(&net, post).await })
    }))
}

#[cfg(feature = "otel")]
async fn sent(net: &Net, post: otlp::Post) -> Result<(u16, Vec<u8>), String> {
    const LIMITS: Limits = Limits {
        timeout: Duration::from_secs(10),
        max_body: 64 * 1024,
    };
    let uri: Uri = post.url.parse().map_err(|_| "no URL".to_owned())?;
    let endpoint = Endpoint::allow_http(&uri).map_err(|error| error.to_string())?;
    let answer = net.post_bytes(&endpoint, &post.headers, post.body, &LIMITS);
    let answer = answer.await.map_err(|error| error.to_string())?;
    Ok((answer.status, answer.body))
}
