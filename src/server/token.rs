//! The token endpoint: HTTP → request, the request line, the record, the answer.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use tracing::Instrument as _;

use super::Gateway;
use super::front::Peer;
use super::origin::{Malformed, origin};
use super::respond::{self, Response};
use crate::audit::{Outcome, Record};
use crate::exchange::{ExchangeError, Trail, exchange};
use crate::jose::random;
use crate::metrics::{Answered, Metrics};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::form::TokenForm;
use crate::oauth::id::{RealmName, RequestId, RuleId};
use crate::oauth::request::{Place, RequestError, TokenRequest, UNSUPPORTED};
use crate::oauth::response::ExchangeResponse;
use crate::oauth::secret::Secret;
use crate::policy::decide::Reason;
use crate::snapshot::{Realm, Settings, Snapshot};
use crate::trace::{self, TraceParent, phase};

/// Whoever has no address is on this machine.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The largest body.
const MAX_BODY: usize = 64 * 1024;

/// Why there is no token.
enum Failure {
    /// The request line said so.
    Exchange(ExchangeError),
    /// HTTP said so, or the server itself.
    Other {
        status: Option<StatusCode>,
        code: ErrorCode,
        reason: &'static str,
        text: &'static str,
    },
}

impl Failure {
    fn http(status: StatusCode, reason: &'static str, text: &'static str) -> Self {
        Self::Other {
            status: Some(status),
            code: ErrorCode::InvalidRequest,
            reason,
            text,
        }
    }
}

/// Answers one request to the token endpoint.
pub(super) async fn answer(
    gateway: &Gateway,
    snapshot: &Snapshot,
    realm: &Realm,
    request: Request<Incoming>,
    peer: Peer,
) -> Response {
    let id = request_id();
    let headers = request.headers().get_all(trace::HEADER).iter();
    let parent = TraceParent::of(headers.map(HeaderValue::as_bytes));
    let span = trace::server(
        &realm.name,
        method(request.method()),
        &realm.token_path,
        &id,
    );
    trace::adopt(&span, parent);
    let mut trail = Trail::new(id);
    trail.trace_id = trace::place(&span, parent).map(|place| place.trace_id());
    let work = traced(gateway, snapshot, realm, request, peer, trail);
    trace::within(parent, span, work).await
}

async fn traced(
    gateway: &Gateway,
    snapshot: &Snapshot,
    realm: &Realm,
    request: Request<Incoming>,
    peer: Peer,
    mut trail: Trail,
) -> Response {
    let started = Instant::now();
    let metrics = &gateway.services.metrics;
    let (id, trace_id) = (trail.request_id.clone(), trail.trace_id.clone());
    let trace_id = trace_id.as_deref();
    let settings = &snapshot.settings;
    let deadline = settings.request_timeout;
    // Held until the record is written. Not before the body is here: who sends slowly takes nobody's place.
    let mut place = None;
    let line = async {
        let incoming = read(request, peer, settings);
        let incoming = incoming.instrument(phase!("request")).await?;
        // As much is worked on as may be; a realm among several has no more than half of it, so that one whose
        // identity provider hangs leaves room for the others.
        let most = settings.max_in_flight;
        let share = match snapshot.realms.len() {
            1 => most,
            _ => most.div_ceil(2),
        };
        let of_realm = gateway.load.realms.enter(realm.name.clone(), share);
        let Some(free) = gateway.load.exchanges.enter(most).zip(of_realm) else {
            return Ok(None);
        };
        place = Some((free, metrics.in_flight()));
        // Not before the body is here: a slow one must not keep a token valid that has expired.
        let now = gateway.services.clock.now();
        exchange(realm, &incoming, now, &mut trail)
            .await
            .map(Some)
            .map_err(Failure::Exchange)
    };
    let result = match tokio::time::timeout(deadline, AssertUnwindSafe(line).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(Failure::Other {
            status: None,
            code: ErrorCode::ServerError,
            reason: "panic",
            text: "the server failed",
        }),
        Err(_elapsed) => Err(Failure::Other {
            status: None,
            code: ErrorCode::TemporarilyUnavailable,
            reason: "deadline",
            text: "the server did not finish in time",
        }),
    };
    let Some(result) = result.transpose() else {
        // Answered at once, counted, and not recorded: nothing was decided.
        metrics.shed("exchanges");
        let response = respond::overloaded();
        trace::answered(
            &tracing::Span::current(),
            &trace::Answered {
                status: response.status().as_u16(),
                outcome: "failed",
                reason: "shed",
                rule: None,
                processor: "",
            },
        );
        return response;
    };
    let (response, outcome_name, reason) = match &result {
        Ok(issued) => (respond::issued(issued, &id), "issued", ""),
        Err(failure) => {
            let (error, status, reason) = match failure {
                Failure::Exchange(error) => (error.for_client(), None, error.reason()),
                Failure::Other {
                    status,
                    code,
                    reason,
                    text,
                } => (OAuthError::new(*code, *text), *status, *reason),
            };
            let outcome = if error.code.status() >= 500 {
                "failed"
            } else {
                "refused"
            };
            (respond::refused(&error, status, &id), outcome, reason)
        }
    };
    let record = record(gateway, realm, &trail, &result, started.elapsed());
    tracing::debug!(
        request_id = %id, realm = %realm.name, trace_id, %peer, outcome = outcome_name, reason, "exchange"
    );
    // INVARIANT: no answer of this endpoint leaves before its record is written.
    let began = Instant::now();
    let recorded = gateway.audit.record(record);
    let recorded = recorded.instrument(phase!("audit")).await;
    metrics.audit_took(began.elapsed().as_secs_f64());
    let (response, outcome_name, reason) = match recorded {
        Ok(()) => (response, outcome_name, reason),
        Err(error) => {
            tracing::error!(request_id = %id, realm = %realm.name, trace_id, %error, "no audit record, so no answer");
            metrics.audit_failure(error.reason());
            let error = OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "the server cannot answer now",
            );
            (
                respond::refused(&error, None, &id),
                "failed",
                "audit_unavailable",
            )
        }
    };
    count(metrics, &realm.name, &trail, &result);
    let processor = trail
        .permitted
        .as_ref()
        .map_or("", |permitted| permitted.processor.as_str());
    trace::answered(
        &tracing::Span::current(),
        &trace::Answered {
            status: response.status().as_u16(),
            outcome: outcome_name,
            reason,
            rule: rule(&trail, &result),
            processor,
        },
    );
    metrics.exchange(&Answered {
        realm: &realm.name,
        outcome: outcome_name,
        reason,
        processor,
        seconds: started.elapsed().as_secs_f64(),
    });
    response
}

/// The rule that permitted or refused, if any did.
fn rule<'a>(trail: &'a Trail, result: &'a Result<ExchangeResponse, Failure>) -> Option<&'a RuleId> {
    match result {
        Err(Failure::Exchange(ExchangeError::Denied(denial))) => {
            denial.rule.as_ref().map(|(rule, _)| rule)
        }
        _ => trail.permitted.as_ref().map(|permitted| &permitted.rule),
    }
}

/// The method of a request, from a closed set.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::POST => "POST",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER", // as the conventions for HTTP spans say it
    }
}

/// Counts what was decided, and by which rules.
fn count(
    metrics: &Metrics,
    realm: &RealmName,
    trail: &Trail,
    result: &Result<ExchangeResponse, Failure>,
) {
    if let Some(took) = trail.decision {
        metrics.decision(realm, took.as_secs_f64());
    }
    if let Some(permitted) = &trail.permitted {
        metrics.rule_decision(realm, &permitted.rule, "permitted");
    }
    let Err(Failure::Exchange(ExchangeError::Denied(denial))) = result else {
        return;
    };
    match (&denial.reason, &denial.rule) {
        (Reason::DeniedBy(rules), _) => {
            for rule in rules {
                metrics.rule_decision(realm, rule, "denied");
            }
        }
        (Reason::Ambiguous(rules), _) => {
            metrics.ambiguous(realm);
            for rule in rules {
                metrics.rule_decision(realm, rule, "ambiguous");
            }
        }
        (_, Some((rule, _))) => metrics.rule_decision(realm, rule, "not_carried_out"),
        (_, None) => {}
    }
}

fn record(
    gateway: &Gateway,
    realm: &Realm,
    trail: &Trail,
    result: &Result<ExchangeResponse, Failure>,
    duration: Duration,
) -> Record {
    let time = gateway.services.clock.timestamp();
    match result {
        Ok(_) => Record::new(time, trail, &Outcome::Issued, realm, duration),
        Err(Failure::Exchange(error)) => {
            Record::new(time, trail, &Outcome::Refused(error), realm, duration)
        }
        Err(Failure::Other {
            code, reason, text, ..
        }) => {
            let error = OAuthError::new(*code, *text);
            Record::new(
                time,
                trail,
                &Outcome::Other(reason, &error),
                realm,
                duration,
            )
        }
    }
}

/// 96 random bits. Without randomness no token can be made either; the request then has no id of its own.
fn request_id() -> RequestId {
    let hex = random::<12>().map(|bytes| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    hex.ok()
        .and_then(|hex| hex.parse().ok())
        .unwrap_or_else(RequestId::unknown)
}

/// POST, a form, a bounded body in bounded time (RFC 6749 §3.2, RFC 8693 §2.1).
async fn read(
    request: Request<Incoming>,
    peer: Peer,
    settings: &Settings,
) -> Result<TokenRequest, Failure> {
    if request.method() != Method::POST {
        return Err(Failure::http(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "the token endpoint takes POST only",
        ));
    }
    if request.uri().query().is_some() {
        let text = "parameters belong in the body, not in the request URI";
        return Err(Failure::http(StatusCode::BAD_REQUEST, "query", text));
    }
    let (head, body) = request.into_parts();
    let peer = peer.ip().unwrap_or(LOCAL);
    let peer = origin(peer, &head.headers, &settings.trusted_proxies).map_err(|Malformed| {
        let text = "X-Forwarded-For holds something that is no address";
        Failure::http(StatusCode::BAD_REQUEST, "forwarded", text)
    })?;
    check_content(&head.headers)?;
    let too_large = || {
        let text = "the body is larger than 64 KiB";
        Failure::http(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text)
    };
    // What is announced as too large is not waited for.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(
        settings.body_timeout,
        Limited::new(body, MAX_BODY).collect(),
    );
    let bytes = match collected.await {
        Ok(Ok(body)) => zeroize::Zeroizing::new(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => {
            return Err(Failure::http(
                StatusCode::BAD_REQUEST,
                "body",
                "the body could not be read",
            ));
        }
        Err(_) => {
            return Err(Failure::http(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the body did not come in time",
            ));
        }
    };
    let form = TokenForm::parse(&bytes)
        .map_err(|error| Failure::Exchange(RequestError::from(error).into()))?;
    let mut authorization = Vec::new();
    for value in head.headers.get_all(AUTHORIZATION) {
        // What is not ASCII is no credential of ours; an empty one is refused as malformed.
        authorization.push(Secret::new(value.to_str().unwrap_or_default().to_owned()));
    }
    let sent = |entry: &&crate::oauth::request::Unsupported| {
        entry.place == Place::Header && head.headers.contains_key(entry.name)
    };
    let unsupported_headers = UNSUPPORTED
        .iter()
        .filter(sent)
        .map(|entry| entry.name)
        .collect();
    Ok(TokenRequest {
        peer,
        form,
        authorization,
        unsupported_headers,
    })
}

/// `application/x-www-form-urlencoded`, UTF-8, not compressed.
fn check_content(headers: &HeaderMap) -> Result<(), Failure> {
    const TEXT: &str = "the body must be application/x-www-form-urlencoded in UTF-8";
    let wrong = || Failure::http(StatusCode::BAD_REQUEST, "content_type", TEXT);
    let mut sent = headers.get_all(CONTENT_TYPE).iter();
    let value = sent
        .next()
        .and_then(|value| value.to_str().ok())
        .ok_or_else(wrong)?;
    let mut parts = value
        .split(';')
        .map(|part| part.trim().to_ascii_lowercase());
    let form = parts
        .next()
        .is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    let utf8 =
        parts.all(|part| part.is_empty() || part == "charset=utf-8" || part == "charset=\"utf-8\"");
    if sent.next().is_some() || !form || !utf8 || headers.contains_key(CONTENT_ENCODING) {
        return Err(wrong());
    }
    Ok(())
}
