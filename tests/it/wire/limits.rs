//! What takes too long, and what comes on one connection.

use std::time::Duration;

use cambist::oauth::NumericDate;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{
    ACCESS_TOKEN, Answer, EXCHANGE, Gateway, Introspection, NOW, REALM, RULES, Reply, SECRET,
    basic, form, head,
};

/// Gives up what was started, one second after.
const IMPATIENT: &str = "server: { listen: 127.0.0.1:0, header_timeout: 1s, body_timeout: 1s, request_timeout: 2s, idle_timeout: 1s }";

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_recorded() {
    let (gateway, _op) = start(IMPATIENT).await;
    let answer = gateway.send(head(None, 100).as_bytes()).await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (408, "invalid_request")
    );
    assert_eq!(gateway.last()["reason"], "body_timeout");
}

#[tokio::test]
async fn a_body_that_is_cut_off_gets_no_token() {
    let (gateway, op) = start("").await;
    let body = request_body();
    let mut stream = TcpStream::connect(gateway.running.address).await.unwrap();
    let request = format!(
        "{}{body}",
        head(Some(&basic("rs08", SECRET)), body.len() + 1)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(!String::from_utf8_lossy(&bytes).contains("access_token"));
    assert_eq!(op.calls().len(), 0);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection_unrecorded() {
    let (gateway, _op) = start(IMPATIENT).await;
    let answer = gateway.send(b"POST /token HTTP/1.1\r\nHost: x\r\n").await;
    assert_eq!((answer.line.as_str(), answer.status), ("", 0));
    assert_eq!(gateway.records(), [] as [serde_json::Value; 0]);
}

/// F19: neither a connection that says nothing nor one that was used stays for ever.
#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (gateway, _op) = start(IMPATIENT).await;
    for (what, request) in [
        ("nothing", ""),
        ("one request", "GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(gateway.running.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes));
        assert!(ended.await.is_ok(), "{what}: still open after 20 seconds");
        assert_eq!(bytes.is_empty(), request.is_empty(), "{what}");
    }
}

/// F17: a request that has begun is answered when the process is told to stop; nobody else is.
#[tokio::test]
async fn stopping_lets_requests_in_flight_finish() {
    let (gateway, _op) = start("").await;
    let address = gateway.running.address;
    let body = request_body();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = head(Some(&basic("rs08", SECRET)), body.len())
        .replace("Connection: close", "Expect: 100-continue");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    let finish = async {
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        Answer::parse(&bytes)
    };
    // The first is polled first: the process is stopping before the body leaves.
    let (_, answer) = tokio::join!(gateway.running.stop(), finish);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_503() {
    let (gateway, op) =
        start(&IMPATIENT.replace("request_timeout: 2s", "request_timeout: 1s")).await;
    op.says(|_| Reply::Hang);
    let answer = gateway.trade("t").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (503, "temporarily_unavailable")
    );
    assert_eq!(answer.header("retry-after"), Some("2"));
    let record = gateway.last();
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("failed"), &json!("deadline"))
    );
    assert_eq!(record["client"]["id"], "rs08");
}

/// The subject token must not have expired when it is judged, which is after the body came.
#[tokio::test]
async fn a_slow_body_does_not_keep_a_token_alive() {
    let (gateway, op) = start("").await;
    op.says(|_| {
        Reply::Json(json!({ "active": true, "sub": "bob", "scope": "api", "exp": NOW + 5 }))
    });
    let body = request_body();
    let mut stream = TcpStream::connect(gateway.running.address).await.unwrap();
    let head = head(Some(&basic("rs08", SECRET)), body.len())
        .replace("Connection", "Expect: 100-continue\r\nConnection");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    gateway.clock.set(NumericDate(NOW + 6));
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let answer = Answer::parse(&bytes);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "invalid_request"),
        "{answer:?}"
    );
    assert_eq!(gateway.last()["reason"], "token_expired");
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let (gateway, _op) = start("").await;
    let body = request_body();
    let good = format!("{}{body}", head(Some(&basic("rs08", SECRET)), body.len()));
    let kept = good.replace("Connection: close\r\n", "");
    let bad = head(None, 0).replace("Connection: close\r\n", "");
    let mut stream = TcpStream::connect(gateway.running.address).await.unwrap();
    stream
        .write_all(format!("{kept}{bad}{good}").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let lines: Vec<&str> = text
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|part| &part[..3])
        .collect();
    assert_eq!(lines, ["200", "400", "200"]);
    assert_eq!(gateway.records().len(), 3);
}

#[tokio::test]
async fn more_connections_than_allowed_are_turned_away() {
    let (gateway, _op) = start("server: { listen: 127.0.0.1:0, max_connections: 1 }").await;
    let mut first = TcpStream::connect(gateway.running.address).await.unwrap();
    first
        .write_all(b"GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut some = [0; 12];
    first.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"HTTP/1.1 200");
    assert_eq!(gateway.get("/jwks").await.status, 0);
    let scrape = gateway.admin("/metrics").await.body;
    assert!(
        scrape.contains("cambist_connections_total{listener=\"token\",result=\"turned_away\"} 1"),
        "{scrape}"
    );
}

/// What has begun is recorded, also when nobody waits for the answer any more.
#[tokio::test]
async fn a_client_that_hangs_up_is_recorded() {
    let (gateway, op) =
        start(&IMPATIENT.replace("request_timeout: 2s", "request_timeout: 1s")).await;
    op.says(|_| Reply::Hang);
    let mut records = gateway.running.gateway.audit.listen();
    let body = request_body();
    let mut stream = TcpStream::connect(gateway.running.address).await.unwrap();
    let request = format!("{}{body}", head(Some(&basic("rs08", SECRET)), body.len()));
    stream.write_all(request.as_bytes()).await.unwrap();
    // The issuer is being asked: the request is under way.
    while op.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(stream);
    let record = tokio::time::timeout(Duration::from_secs(20), records.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (record.outcome, record.reason),
        ("failed", Some("deadline"))
    );
}

/// A client that asks and does not read holds its connection for a while, not for ever.
#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let (gateway, _op) = start(IMPATIENT).await;
    let mut stream = TcpStream::connect(gateway.running.address).await.unwrap();
    let requests = b"GET /jwks HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let flood = async { while stream.write_all(&requests).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), flood)
        .await
        .expect("it still takes what nobody reads");
}

async fn start(server: &str) -> (Gateway, Introspection) {
    let op = Introspection::start(|_| {
        Reply::Json(json!({ "active": true, "sub": "bob", "scope": "api", "exp": NOW + 600 }))
    })
    .await;
    let idp =
        crate::support::Idp::new("https://idp.example.com", cambist::jose::Algorithm::ES256).jwks();
    let mut yaml = REALM
        .replace("OP", &op.address.to_string())
        .replace("timeout: 1s", "timeout: 30s");
    if !server.is_empty() {
        yaml = yaml.replace("server: { listen: 127.0.0.1:0 }", server);
    }
    let files = [
        ("idp.json", &*idp),
        ("partner.json", &*idp),
        ("op.secret", "s"),
    ];
    (Gateway::start(&yaml, RULES, &files).await, op)
}

fn request_body() -> String {
    form(&[
        ("grant_type", EXCHANGE),
        ("subject_token", "t"),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://backend.example.com/api"),
    ])
}
