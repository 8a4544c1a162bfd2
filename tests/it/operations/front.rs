//! What is spoken on the listeners: HTTP/2, TLS, certificates by name and renewed; and what ends a connection.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use cambist::audit::sink::Target;
use cambist::clock::Clock;
use cambist::oauth::NumericDate;
use cambist::reload::{ReloadOutcome, reload};
use cambist::run::{Options, Running};
use cambist::system::Inherited;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{admin, body, idp, secret, start, subject_token, write_realm};
use crate::support::{Idp, basic};

const ONE: (&str, &str) = (
    include_str!("../../data/tls/one.crt"),
    include_str!("../../data/tls/one.key"),
);
const TWO: (&str, &str) = (
    include_str!("../../data/tls/two.crt"),
    include_str!("../../data/tls/two.key"),
);

/// One realm, with these keys of `server:`.
async fn serve(server: &str) -> (Running, TempDir, Idp) {
    let (dir, idp) = (tempfile::tempdir().unwrap(), idp());
    for (name, (certificate, key)) in [("one", ONE), ("two", TWO)] {
        fs::write(dir.path().join(format!("{name}.crt")), certificate).unwrap();
        fs::write(dir.path().join(format!("{name}.key")), key).unwrap();
    }
    let more =
        format!("server: {{ listen: 127.0.0.1:0{server} }}\nadmin: {{ listen: 127.0.0.1:0 }}\n");
    write_realm(
        dir.path(),
        "https://as.example.com",
        &more,
        &secret("rs08"),
        &idp,
    );
    let running = start(dir.path()).await;
    (running, dir, idp)
}

fn exchange(token: &str) -> Request<Full<Bytes>> {
    Request::post("http://as.example.com/token")
        .header("authorization", basic("rs08", &secret("rs08")))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(body(token))))
        .unwrap()
}

async fn over_http2<I>(io: I) -> http2::SendRequest<Full<Bytes>>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// A TLS connection that believes in these certificates alone.
async fn tls(
    running: &Running,
    name: &str,
    roots: &[&str],
    alpn: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    for root in roots {
        for certificate in CertificateDer::pem_slice_iter(root.as_bytes()) {
            store.add(certificate.unwrap()).unwrap();
        }
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(running.address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_exchanges_at_once_on_one_connection_of_http_2() {
    let (running, _dir, idp) = serve("").await;
    let token = subject_token(&idp);
    let stream = TcpStream::connect(running.address).await.unwrap();
    let sender = over_http2(stream).await;
    let answers = (0..50).map(|_| {
        let (mut sender, request) = (sender.clone(), exchange(&token));
        tokio::spawn(async move { sender.send_request(request).await.unwrap() })
    });
    for answer in answers.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (200, Version::HTTP_2)
        );
        assert_eq!(answer.headers()["cache-control"], "no-cache, no-store");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(std::str::from_utf8(&body).unwrap().contains("access_token"));
    }
    assert_eq!(running.gateway.load.connections.now(), 1);
    // HTTP/1.1 goes on beside it, on the same port.
    let stream = TcpStream::connect(running.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = exchange(&token);
    *request.uri_mut() = "/token".parse().unwrap();
    request
        .headers_mut()
        .insert("host", "as.example.com".parse().unwrap());
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, Version::HTTP_11)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_agrees_on_http_2_or_1_1_and_shows_the_certificate_that_was_asked_for() {
    let both = ", tls: [ { cert_file: one.crt, key_file: one.key }, { cert_file: two.crt, key_file: two.key } ]";
    let (running, _dir, idp) = serve(both).await;
    let token = subject_token(&idp);
    let stream = tls(&running, "as.example.com", &[ONE.0], &[b"h2", b"http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let answer = over_http2(stream)
        .await
        .send_request(exchange(&token))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, Version::HTTP_2)
    );
    // By name; whoever asks for a name that nobody has gets the first, and does not believe it.
    assert!(
        tls(&running, "as.example.org", &[TWO.0], &[b"h2"])
            .await
            .is_ok()
    );
    assert!(
        tls(&running, "as.example.org", &[ONE.0], &[b"h2"])
            .await
            .is_err()
    );
    assert!(
        tls(&running, "nobody.example", &[ONE.0, TWO.0], &[b"h2"])
            .await
            .is_err()
    );
    assert!(
        tls(&running, "127.0.0.1", &[ONE.0], &[b"http/1.1"])
            .await
            .is_ok()
    );
    // What we do not speak is not agreed on.
    assert!(
        tls(&running, "as.example.com", &[ONE.0], &[b"h3"])
            .await
            .is_err()
    );
    // Without ALPN it is HTTP/1.1; plain HTTP is no handshake.
    let mut stream = tls(&running, "as.example.com", &[ONE.0], &[])
        .await
        .unwrap();
    let request = "GET /jwks HTTP/1.1\r\nHost: as.example.com\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let plain = super::get(&running, "as.example.com", "/jwks").await;
    assert_eq!(plain.status, 0);
    let metrics = admin(&running, "GET", "/metrics", "").await.body;
    assert!(
        metrics.contains("cambist_tls_handshakes_total{result=\"failed\"}"),
        "{metrics}"
    );
    assert!(
        metrics.contains("cambist_tls_certificate_expiry_timestamp_seconds{file=\"two.crt\"} 4"),
        "{metrics}"
    );
}

/// F26: a new certificate serves the next handshake, and a broken one replaces nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let (running, dir, idp) = serve(", tls: { cert_file: one.crt, key_file: one.key }").await;
    let old = tls(&running, "as.example.com", &[ONE.0], &[b"h2"])
        .await
        .unwrap();
    let mut old = over_http2(old).await;
    fs::write(dir.path().join("one.crt"), TWO.0).unwrap();
    assert_eq!(
        reload(&running.gateway, dir.path()).name(),
        "rejected",
        "half of it"
    );
    assert!(
        tls(&running, "as.example.com", &[ONE.0], &[b"h2"])
            .await
            .is_ok()
    );
    fs::write(dir.path().join("one.key"), TWO.1).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    assert!(
        tls(&running, "as.example.com", &[ONE.0], &[b"h2"])
            .await
            .is_err()
    );
    assert!(
        tls(&running, "as.example.org", &[TWO.0], &[b"h2"])
            .await
            .is_ok()
    );
    // Who was connected stays so.
    let answer = old
        .send_request(exchange(&subject_token(&idp)))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    // Nor is there a restart for TLS to begin or to end.
    let file = dir.path().join("cambist.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        yaml.replace(", tls: { cert_file: one.crt, key_file: one.key }", ""),
    )
    .unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    assert_eq!(
        super::get(&running, "as.example.com", "/jwks").await.status,
        200
    );
}

/// Reads until the other side closes; gives what came, or nothing where it stayed open too long.
async fn closed(mut stream: TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes));
    read.await.ok().map(|_| bytes)
}

/// F19: neither who says nothing, in whatever protocol, nor who says it drop by drop, stays for ever.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_let_go() {
    let times = ", header_timeout: 1s, body_timeout: 1s, idle_timeout: 2s";
    let (running, _dir, _) = serve(times).await;
    let connect = async || TcpStream::connect(running.address).await.unwrap();
    // The first bytes of the HTTP/2 preface, and then nothing; and all of it, and then nothing.
    for said in [
        &b""[..],
        b"PRI * HT",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\n",
    ] {
        let mut stream = connect().await;
        stream.write_all(said).await.unwrap();
        assert!(closed(stream).await.is_some(), "{said:?}");
    }
    // A drop keeps nobody here.
    let mut stream = connect().await;
    stream.write_all(b"GET /jwks HTTP/1.1\r\n").await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let dripping = tokio::spawn(async move {
        while write.write_all(b"X").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), read.read_to_end(&mut bytes)).await;
    dripping.abort();
    assert!(ended.is_ok(), "still open");
    // A TLS handshake has the same time: see `header_timeout`.
    running.gateway.load.connections.none().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let (running, _dir, _) =
        serve(", header_timeout: 1s, tls: { cert_file: one.crt, key_file: one.key }").await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(closed(stream).await, Some(Vec::new()));
    let metrics = admin(&running, "GET", "/metrics", "").await.body;
    assert!(
        metrics.contains("cambist_tls_handshakes_total{result=\"timeout\"} 1"),
        "{metrics}"
    );
}

/// A head that is too large, in either protocol, is refused before it is taken in.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused() {
    let (running, _dir, _) = serve("").await;
    let large = "x".repeat(64 * 1024);
    let mut request = exchange("x");
    request
        .headers_mut()
        .insert("x-large", large.parse().unwrap());
    let stream = TcpStream::connect(running.address).await.unwrap();
    let answer = over_http2(stream).await.send_request(request).await;
    // Our own library may refuse to send it, having been told the limit.
    assert!(answer.is_err() || answer.unwrap().status() == 431);
    let request = format!("GET /jwks HTTP/1.1\r\nHost: x\r\nX-Large: {large}\r\n\r\n");
    let answer = crate::support::call(running.address, request.as_bytes()).await;
    assert!(matches!(answer.status, 0 | 431), "{answer:?}");
    assert_eq!(super::get(&running, "x", "/jwks").await.status, 200);
}

/// RFC 9113 section 8.3.1: `:authority` and `Host` agree, or nobody is asked.
#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_in_one_request_are_none() {
    let (running, _dir, idp) = serve("").await;
    let token = subject_token(&idp);
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut sender = over_http2(stream).await;
    for (host, status) in [
        ("as.example.com", 200),
        ("AS.example.com", 200),
        ("evil.example.com", 400),
    ] {
        let mut request = exchange(&token);
        request.headers_mut().insert("host", host.parse().unwrap());
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
    }
}

/// A socket that others can reach stays protected, whatever `listen` says: also after a reload.
#[tokio::test(flavor = "multi_thread")]
async fn no_reload_bares_a_socket_that_was_handed_over() {
    let (dir, idp) = (tempfile::tempdir().unwrap(), idp());
    let more =
        "server: { listen: 127.0.0.1:0, insecure_http: true }\nadmin: { listen: 127.0.0.1:0 }\n";
    write_realm(
        dir.path(),
        "https://as.example.com",
        more,
        &secret("rs08"),
        &idp,
    );
    let options = Options {
        audit: Some(Target::Memory(Arc::default())),
        inherited: Inherited {
            token: Some(std::net::TcpListener::bind("0.0.0.0:0").unwrap()),
            ..Inherited::default()
        },
        ..Options::of(Clock::fixed(NumericDate(crate::support::NOW)))
    };
    let running = Running::start(dir.path(), options).await.unwrap();
    let file = dir.path().join("cambist.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    fs::write(&file, yaml.replace(", insecure_http: true", "")).unwrap();
    match reload(&running.gateway, dir.path()) {
        ReloadOutcome::Rejected(rejected) => {
            assert_eq!(rejected.error.diagnostics.sorted()[0].code, "E1009");
        }
        other => panic!("{}", other.name()),
    }
    let status = super::status(&running).await;
    assert_eq!(status["realms"]["default"]["in_step"], false);
    assert!(running.gateway.live.load().settings.plain_http);
}

/// A client that takes none of its answer does not hold up the end for longer than anybody may take to read.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_does_not_hold_up_the_end() {
    let (running, _dir, _) = serve(", body_timeout: 1s, request_timeout: 1h").await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://as.example.com/jwks")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let stopped = tokio::time::timeout(Duration::from_secs(20), running.stop()).await;
    assert_eq!(stopped, Ok(true));
    drop(answer);
}
