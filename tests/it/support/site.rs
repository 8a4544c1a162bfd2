//! A web site with a few documents, each as good or as bad as a test wants it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the site does with one request.
#[derive(Clone, Debug)]
pub enum Page {
    /// Answers with these bytes, whatever they are, and closes.
    Raw(Vec<u8>),
    /// The same, after a while.
    Slow(Duration, Vec<u8>),
    /// Takes the request and says nothing until the other side gives up.
    Hang,
    /// Begins a good answer and never comes to its end, a byte at a time.
    Trickle,
}

impl Page {
    /// A whole answer; `headers` are lines that end in CRLF.
    pub fn http(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        Self::Raw(text.into_bytes())
    }

    /// A good JSON document.
    pub fn json(body: &str) -> Self {
        Self::http("200 OK", "Content-Type: application/json\r\n", body)
    }
}

type Script = Box<dyn Fn(&str, &str) -> Page + Send + Sync>;

/// A running site.
pub struct Site {
    /// Where it listens.
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    calls: Arc<Mutex<Vec<String>>>,
    listens: tokio::task::JoinHandle<()>,
}

impl Site {
    /// Starts one; the script gets the path and the whole head.
    pub async fn start(script: impl Fn(&str, &str) -> Page + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (says, seen) = (Arc::clone(&script), Arc::clone(&calls));
        let listens = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&says), Arc::clone(&seen)));
            }
        });
        Self {
            address,
            script,
            calls,
            listens,
        }
    }

    /// Stops listening: whoever comes now is refused.
    pub async fn close(&mut self) {
        self.listens.abort();
        let _ = (&mut self.listens).await;
    }

    /// Says something else from now on.
    pub fn says(&self, script: impl Fn(&str, &str) -> Page + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// The heads of all requests for this path so far.
    pub fn calls(&self, path: &str) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let wanted = format!("GET {path} ");
        let of = |head: &&String| head.starts_with(&wanted);
        calls.iter().filter(of).cloned().collect()
    }
}

async fn answer(mut stream: TcpStream, script: Arc<Mutex<Script>>, calls: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    calls.lock().unwrap().push(head.clone());
    let path = head.split(' ').nth(1).unwrap();
    let page = script.lock().unwrap()(path, &head);
    let bytes = match page {
        Page::Raw(bytes) => bytes,
        Page::Slow(time, bytes) => {
            tokio::time::sleep(time).await;
            bytes
        }
        Page::Hang => {
            let _ = stream.read_buf(&mut Vec::new()).await;
            return;
        }
        Page::Trickle => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return;
        }
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
    // Closing with unread bytes on the other side's way would take the answer back.
    while let Ok(1..) = stream.read_buf(&mut Vec::new()).await {}
}
