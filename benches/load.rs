//! What both benches begin with: the real server with the sample realm and an issuer that it trusts, and
//! requests that it answers with tokens.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cambist::clock::Clock;
use cambist::jose::{Algorithm, SigningKey, SigningKeys};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The server, until it is dropped.
pub struct Server {
    child: Child,
    /// Where its token listener is.
    pub address: SocketAddr,
    /// Where its admin listener is.
    pub admin: SocketAddr,
    key: Arc<SigningKey>,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts it, with these keys of `server:`.
    pub fn start(settings: &str) -> Self {
        let key = Arc::new(SigningKey::generate(Algorithm::ES256).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let yaml = include_str!("../policies/cambist.yaml")
            .replace("127.0.0.1:8080", &format!("127.0.0.1:0{settings}"))
            .replace("127.0.0.1:9090", "127.0.0.1:0")
            .replace("issuers:\n", "issuers:\n  corp: { issuer: https://corp.example.com, jwks_file: jwks.json, audience: client, scope: claim, subjects: local }\n");
        fs::write(dir.path().join("cambist.yaml"), yaml).unwrap();
        let policy = include_str!("../policies/main.policy").replace("from  op", "from  op, corp");
        let policy = policy.replace(
            "use   backend-token { scope",
            "use   backend-token { sub: subject.sub, scope",
        );
        fs::write(dir.path().join("main.policy"), policy).unwrap();
        let jwks = SigningKeys::new(vec![Arc::clone(&key)]).unwrap().jwks();
        fs::write(dir.path().join("jwks.json"), jwks.to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cambist"))
            .args(["serve", "--log-format", "json"])
            .arg(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where it listens in its first log line that has an address.
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find(|line| line.contains("token_endpoint"))
            .unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let log: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| {
            let url = log[name].as_str().unwrap().trim_start_matches("http://");
            url.split('/').next().unwrap().parse().unwrap()
        };
        let (address, admin) = (address("token_endpoint"), address("admin"));
        Self {
            child,
            address,
            admin,
            key,
            _dir: dir,
        }
    }

    /// Exchanges of 256 subjects.
    pub fn requests(&self) -> Arc<Vec<String>> {
        let now = Clock::system().now();
        let request = |subject: usize| {
            let claims = serde_json::json!({
                "iss": "https://corp.example.com", "sub": format!("user-{subject}"), "aud": "rs08",
                "scope": "api", "iat": now.0, "exp": now.plus(86_400).0, "jti": format!("{subject}"),
            });
            let token = self.key.compact("at+jwt", &claims).unwrap();
            let body = cambist::demo::toys::BODY.replace(cambist::demo::toys::BEARER, &token);
            format!(
                "POST /as/token.oauth2 HTTP/1.1\r\nHost: as.example.com\r\n\
                 Authorization: Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        Arc::new((0..256).map(request).collect())
    }

    /// Its resident memory in MB.
    pub fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request on a connection that stays open, and the status of its answer.
pub async fn ask(
    stream: &mut TcpStream,
    request: &str,
    buffer: &mut Vec<u8>,
) -> std::io::Result<u16> {
    stream.write_all(request.as_bytes()).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = std::str::from_utf8(buffer).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        if body.len() >= length.parse::<usize>().unwrap() {
            return Ok(head.split(' ').nth(1).unwrap().parse().unwrap());
        }
    }
}
