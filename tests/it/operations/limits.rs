//! How much is taken on at once, and what happens beyond that: a fast 503, and the others go on.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use cambist::reload::reload;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::support::{ACCESS_TOKEN, Gateway, Idp, Introspection, NOW, REALM, RULES, Reply, claims};
use cambist::jose::Algorithm;

struct World {
    gateway: Gateway,
    idp: Idp,
    /// Introspection is answered when it is closed.
    gate: Arc<Semaphore>,
}

/// The usual realm with these keys of `server:`. Its introspection endpoint hangs.
async fn world(server: &str) -> World {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let op = Introspection::start(move |_| Reply::Held(Arc::clone(&held))).await;
    let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
    let yaml = REALM.replace("OP", &op.address.to_string());
    let yaml = yaml.replace("timeout: 1s", "timeout: 20s");
    let yaml = yaml.replace(
        "listen: 127.0.0.1:0 }\nadmin",
        &format!("listen: 127.0.0.1:0{server} }}\nadmin"),
    );
    let partner = Idp::new("https://partner.example.com", Algorithm::ES256);
    let files = [
        ("idp.json", &*idp.jwks()),
        ("partner.json", &*partner.jwks()),
        ("op.secret", "a-secret-of-some-length"),
    ];
    let gateway = Gateway::start(&yaml, RULES, &files).await;
    World { gateway, idp, gate }
}

impl World {
    fn load(&self) -> &cambist::server::load::Load {
        &self.gateway.running.gateway.load
    }

    /// Waits until so many exchanges are worked on.
    async fn busy(&self, exchanges: usize) {
        while self.load().exchanges.now() != exchanges {
            tokio::task::yield_now().await;
        }
    }

    async fn good(&self) -> u16 {
        self.gateway
            .trade(&self.idp.token(&claims(json!({}))))
            .await
            .status
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_exchanges_than_allowed_are_answered_at_once_and_unrecorded() {
    let world = world(", max_in_flight: 2, request_timeout: 20s").await;
    let gateway = &world.gateway;
    let rest = async {
        world.busy(2).await;
        let records = gateway.records().len();
        let answer = gateway.trade(&world.idp.token(&claims(json!({})))).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (503, "temporarily_unavailable")
        );
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert_eq!(answer.header("cache-control"), Some("no-cache, no-store"));
        assert_eq!(gateway.records().len(), records);
        // Whoever looks after it, or only wants a document, is not turned away.
        for path in ["/readyz", "/metrics", "/status"] {
            assert_eq!(gateway.admin(path).await.status, 200, "{path}");
        }
        assert_eq!(gateway.get("/jwks").await.status, 200);
        let metrics = gateway.admin("/metrics").await.body;
        for line in [
            "cambist_requests_shed_total{reason=\"exchanges\"} 1\n",
            "cambist_exchanges_in_flight 2\n",
        ] {
            assert!(metrics.contains(line), "{line}{metrics}");
        }
        // The limit follows the configuration.
        let file = gateway.dir().join("cambist.yaml");
        let yaml = fs::read_to_string(&file).unwrap();
        fs::write(&file, yaml.replace("max_in_flight: 2", "max_in_flight: 3")).unwrap();
        assert_eq!(
            reload(&gateway.running.gateway, gateway.dir()).name(),
            "applied"
        );
        assert_eq!(world.good().await, 200);
        world.gate.close();
    };
    let (one, two, ()) = tokio::join!(gateway.trade("opaque-1"), gateway.trade("opaque-2"), rest);
    assert_eq!((one.status, two.status), (400, 400));
    world.busy(0).await;
    assert_eq!(world.good().await, 200);
}

/// Requests that are slow to come take the place of no exchange.
#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_take_nobodys_place() {
    let world = world(", max_in_flight: 1, body_timeout: 20s").await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(world.gateway.running.address)
            .await
            .unwrap();
        let head = crate::support::head(None, 1000);
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    while world.load().requests.now() < 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.good().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_so_many_connections_and_a_trusted_proxy_as_many_as_there_are() {
    let world = world(", max_connections: 9, max_connections_per_peer: 3").await;
    let address = world.gateway.running.address;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    while world.load().connections.now() < 3 {
        tokio::task::yield_now().await;
    }
    let mut turned_away = TcpStream::connect(address).await.unwrap();
    assert_eq!(turned_away.read(&mut [0]).await.unwrap_or(0), 0);
    let file = world.gateway.dir().join("cambist.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    let trusting = yaml.replace(
        "max_connections: 9",
        "trusted_proxies: [127.0.0.0/8], max_connections: 9",
    );
    fs::write(&file, trusting).unwrap();
    assert_eq!(
        reload(&world.gateway.running.gateway, world.gateway.dir()).name(),
        "applied"
    );
    for _ in 0..6 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    while world.load().connections.now() < 9 {
        tokio::task::yield_now().await;
    }
    let mut turned_away = TcpStream::connect(address).await.unwrap();
    assert_eq!(turned_away.read(&mut [0]).await.unwrap_or(0), 0);
    // The admin listener has room of its own, and who leaves makes room.
    assert_eq!(world.gateway.admin("/livez").await.status, 200);
    drop(held);
    world.load().connections.none().await;
    assert_eq!(world.good().await, 200);
}

/// F22: ten times as much as there may be, again and again: all that is accepted is answered, everything else
/// is told so, and nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn ten_times_too_much_is_survived() {
    let world = world(", max_in_flight: 4").await;
    let token = world.idp.token(&claims(json!({ "exp": NOW + 600 })));
    let form = [
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://backend.example.com/api"),
    ];
    let mut counts = (0, 0);
    for _ in 0..5 {
        let burst = (0..40).map(|_| world.gateway.exchange(&form));
        let all = futures_util::future::join_all(burst);
        let answers = tokio::time::timeout(Duration::from_secs(60), all)
            .await
            .unwrap();
        for answer in answers {
            match answer.status {
                200 => counts.0 += 1,
                503 => counts.1 += 1,
                _ => panic!("{answer:?}"),
            }
        }
    }
    assert_eq!(counts.0 + counts.1, 200);
    assert!(counts.0 >= 20, "{counts:?}");
    assert_eq!(world.gateway.records().len(), counts.0);
    assert_eq!(world.load().exchanges.now(), 0);
    assert_eq!(world.good().await, 200);
}

/// HTTP/2 has many requests on a connection; they count like connections do.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_come_are_bounded_for_each_peer() {
    let world =
        world(", max_connections: 12, max_connections_per_peer: 3, body_timeout: 20s").await;
    let stream = TcpStream::connect(world.gateway.running.address)
        .await
        .unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let ask = || {
        // A body that never ends.
        let body = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<hyper::body::Frame<hyper::body::Bytes>, std::convert::Infallible>,
        >());
        let request = hyper::Request::post("http://as.example.com/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .unwrap();
        let mut sender = sender.clone();
        tokio::spawn(async move { sender.send_request(request).await.unwrap().status() })
    };
    let held = [ask(), ask(), ask()];
    while world.load().requests.now() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask().await.unwrap(), 503);
    let metrics = world.gateway.admin("/metrics").await.body;
    assert!(
        metrics.contains("cambist_requests_shed_total{reason=\"requests\"} 1\n"),
        "{metrics}"
    );
    held.iter().for_each(tokio::task::JoinHandle::abort);
    drop(sender);
    world.load().requests.none().await;
    assert_eq!(world.good().await, 200);
}
