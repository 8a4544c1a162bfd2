//! The traces of a process: what a collector gets, by OTLP over HTTP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Served, assert_without, exchanges};
use crate::support::SECRET;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that takes everything: heads and bodies.
async fn collector() -> (String, Arc<Mutex<Vec<(String, Vec<u8>)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let got = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&got);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let keeps = Arc::clone(&keeps);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                        continue;
                    };
                    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                    let head = head.to_ascii_lowercase();
                    let length = head
                        .lines()
                        .find_map(|l| l.strip_prefix("content-length: "));
                    let length: usize = length.unwrap().parse().unwrap();
                    if bytes.len() < end + 4 + length {
                        continue;
                    }
                    let body = bytes[end + 4..end + 4 + length].to_vec();
                    bytes.clear();
                    keeps.lock().unwrap().push((head, body));
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, got)
}

/// The fields of a protobuf message: numbers are as they are, the rest is bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                found.push((key >> 3, Field::Number(varint(&mut bytes))));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        bytes = rest;
        found.push((key >> 3, Field::Bytes(value)));
    }
    found
}

#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// All messages at a path of field numbers.
fn at<'a>(message: &'a [u8], path: &[u64]) -> Vec<&'a [u8]> {
    let Some((first, rest)) = path.split_first() else {
        return vec![message];
    };
    let matching = fields(message)
        .into_iter()
        .filter(|(number, _)| number == first);
    let messages = matching.filter_map(|(_, field)| match field {
        Field::Bytes(bytes) => Some(bytes),
        Field::Number(_) => None,
    });
    messages.flat_map(|message| at(message, rest)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Attributes (`KeyValue`s): text as it is, numbers in digits.
fn attributes(message: &[u8], field: u64) -> BTreeMap<String, String> {
    let pairs = at(message, &[field]).into_iter().map(|pair| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let value = match fields(at(pair, &[2])[0])[0] {
            (_, Field::Number(number)) => number.to_string(),
            (_, Field::Bytes(bytes)) => text(bytes),
        };
        (text(at(pair, &[1])[0]), value)
    });
    pairs.collect()
}

/// A span, as far as it matters here (opentelemetry/proto/trace/v1/trace.proto).
#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    says: BTreeMap<String, String>,
}

fn spans(body: &[u8]) -> Vec<Span> {
    let spans = at(body, &[1, 2, 2]).into_iter().map(|span| Span {
        trace: hex(at(span, &[1])[0]),
        id: hex(at(span, &[2])[0]),
        parent: at(span, &[4])
            .first()
            .map_or_else(String::new, |id| hex(id)),
        name: String::from_utf8(at(span, &[5])[0].to_vec()).unwrap(),
        kind: fields(span)
            .iter()
            .find_map(|field| match field {
                (6, Field::Number(kind)) => Some(*kind),
                _ => None,
            })
            .unwrap(),
        says: attributes(span, 9),
    });
    spans.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_one_span_for_a_request_and_one_for_each_of_its_phases() {
    let (endpoint, got) = collector().await;
    let variables = [
        ("CAMBIST_LOG", "debug"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=exchange"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
    ];
    let mut served = Served::start(&["--log-format", "json"], &variables).await;
    let header = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    let parameters = [("subject_token", "opaque-token-of-the-trace")];
    let answer = served.exchange(&header, SECRET, &parameters).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let asked = served.op.calls().remove(0);
    let mut secrets = exchanges(&served).await;
    secrets.extend([answer.token(), parameters[0].1.to_owned()]);
    let record = served.exchanges_recorded().remove(0);
    assert_eq!(record["trace_id"], TRACE);
    // What was not sent yet is sent at the end.
    let log = served.stop();
    assert_without("the log", &log, &secrets);
    assert!(log.contains(&format!("\"trace_id\":\"{TRACE}\"")), "{log}");

    let got = got.lock().unwrap();
    let mut all = Vec::new();
    for (head, body) in got.iter() {
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nx-tenant: exchange"), "{head}");
        assert_without("an export", &String::from_utf8_lossy(body), &secrets);
        let resource = attributes(at(body, &[1, 1])[0], 1);
        assert_eq!(resource["service.name"], "cambist");
        assert_eq!(resource["deployment.environment.name"], "test");
        all.extend(spans(body));
    }
    let servers: Vec<&Span> = all.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(servers.len(), served.exchanges_recorded().len());

    let ours: Vec<&Span> = all.iter().filter(|span| span.trace == TRACE).collect();
    let named = |name: &str| {
        let mut found = ours.iter().filter(|span| span.name == name);
        let span = found
            .next()
            .unwrap_or_else(|| panic!("{name} is not in {ours:#?}"));
        assert!(found.next().is_none(), "{name} twice");
        *span
    };
    let server = named("POST /token");
    assert_eq!(server.parent, PARENT);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", "/token"),
        ("url.path", "/token"),
        ("cambist.realm", "default"),
        ("cambist.outcome", "issued"),
        ("cambist.rule", "main.asked"),
        ("cambist.processor", "mint"),
        ("cambist.request_id", record["request_id"].as_str().unwrap()),
    ] {
        assert_eq!(
            server.says.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    for phase in [
        "request", "client", "subject", "decide", "process", "confine", "audit",
    ] {
        let span = named(phase);
        assert_eq!(
            (span.parent.as_str(), span.kind),
            (server.id.as_str(), 1),
            "{phase}"
        );
    }
    let client = named("POST introspection");
    assert_eq!(
        (client.parent.as_str(), client.kind),
        (named("subject").id.as_str(), 3)
    );
    assert_eq!(client.says["cambist.upstream.owner"], "op");
    let sent_on = format!("traceparent: 00-{TRACE}-{}-01\r\n", client.id);
    assert!(asked.contains(&sent_on), "{asked}");
    assert_eq!(ours.len(), 9);

    // Nothing but what is meant to be said is said: no subject, no client's address, no place in the code.
    let names = all.iter().flat_map(|span| span.says.keys());
    for name in names {
        assert!(
            ["http.", "cambist.", "url.path", "error.type"]
                .iter()
                .any(|known| name.starts_with(known)),
            "{name}"
        );
    }
    assert!(
        all.iter()
            .all(|span| !span.says.values().any(|value| value == "bob"))
    );
    let refused = servers
        .iter()
        .find(|span| span.says["cambist.outcome"] == "refused");
    assert!(!refused.unwrap().says["cambist.reason"].is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_where_the_variables_say_so() {
    let (endpoint, got) = collector().await;
    for more in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), more];
        let mut served = Served::start(&[], &variables).await;
        let token = served.token(&serde_json::json!({}));
        let answer = served
            .exchange("", SECRET, &[("subject_token", &token)])
            .await;
        assert_eq!(answer.status, 200);
        let log = served.stop();
        assert_eq!(log.contains("no traces"), more.1 == "grpc", "{log}");
    }
    assert!(got.lock().unwrap().is_empty());
}

/// A collector that is not there is no reason to refuse, to wait, or to say so more than once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_is_no_trouble() {
    let nowhere = format!("http://{}", crate::support::Introspection::nowhere().await);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere.as_str()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
    ];
    let mut served = Served::start(&[], &variables).await;
    exchanges(&served).await;
    let log = served.stop();
    assert_eq!(log.matches("traces cannot be sent").count(), 1, "{log}");
}
