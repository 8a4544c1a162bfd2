//! An introspection endpoint (RFC 7662) that a test tells what to say, good or bad.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use cambist::oauth::form::TokenForm;

/// What the endpoint does.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with JSON and status 200.
    Json(Value),
    /// Answers with these bytes, whatever they are, and closes.
    Raw(Vec<u8>),
    /// Takes the request and says nothing until the other side gives up.
    Hang,
    /// Says that the token is not active, when this is closed.
    Held(Arc<Semaphore>),
}

impl Reply {
    /// A whole answer of another kind.
    pub fn http(status: &str, kind: &str, body: &str) -> Self {
        Self::Raw(
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    }
}

type Script = Box<dyn Fn(&str) -> Reply + Send + Sync>;

/// A running endpoint.
pub struct Introspection {
    /// Where it listens.
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Introspection {
    /// Starts one; the script gets the token.
    pub async fn start(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (says, seen) = (Arc::clone(&script), Arc::clone(&calls));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&says), Arc::clone(&seen)));
            }
        });
        Self {
            address,
            script,
            calls,
        }
    }

    /// Says something else from now on.
    pub fn says(&self, script: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Every request so far, head and body.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// An address where nobody listens.
    pub async fn nowhere() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }
}

async fn answer(mut stream: TcpStream, script: Arc<Mutex<Script>>, calls: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    let (text, body) = loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                let body = body.to_owned();
                break (text, body);
            }
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    };
    calls.lock().unwrap().push(text);
    let form = TokenForm::parse(body.as_bytes()).unwrap();
    let reply = script.lock().unwrap()(form.value("token").unwrap_or_default());
    let reply = match reply {
        Reply::Held(gate) => {
            assert!(gate.acquire().await.is_err());
            Reply::Json(serde_json::json!({ "active": false }))
        }
        other => other,
    };
    let bytes = match reply {
        Reply::Held(_) => return,
        Reply::Hang => {
            let _ = stream.read_buf(&mut bytes).await;
            return;
        }
        Reply::Raw(bytes) => bytes,
        Reply::Json(body) => {
            let Reply::Raw(bytes) = Reply::http("200 OK", "application/json", &body.to_string())
            else {
                return;
            };
            bytes
        }
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
    // Closing with unread bytes on the other side's way would take the answer back.
    while let Ok(1..) = stream.read_buf(&mut Vec::new()).await {}
}
