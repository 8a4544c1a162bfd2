//! What is seen of a running process: its log, its metrics, its traces; and that no secret is among it.

mod alerts;
mod logs;
mod scrape;
#[cfg(feature = "otel")]
mod traces;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use cambist::clock::Clock;
use cambist::jose::Algorithm;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exchange::OP_SECRET;
use crate::support::{
    ACCESS_TOKEN, Answer, EXCHANGE, Idp, Introspection, REALM, RULES, Reply, SECRET, basic, call,
    form, with,
};

/// The real binary, serving the usual realm.
struct Served {
    process: Child,
    address: SocketAddr,
    admin: SocketAddr,
    log: Arc<Mutex<String>>,
    reads: Option<JoinHandle<()>>,
    idp: Idp,
    op: Introspection,
    dir: TempDir,
}

impl Served {
    /// Starts it, and waits until it serves.
    async fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let op = Introspection::start(|_| {
            Reply::Json(json!({
                "active": true, "iss": "https://op.example.com", "sub": "bob", "scope": "api",
                "token_type": "Bearer", "exp": now() + 600,
            }))
        })
        .await;
        let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
        let partner = Idp::new("https://partner.example.com", Algorithm::ES256);
        let dir = tempfile::tempdir().unwrap();
        let yaml = REALM.replace("OP", &op.address.to_string());
        let yaml = yaml.replace("server: {", "server: { drain_delay: 0s,");
        for (name, text) in [
            ("cambist.yaml", yaml + "audit: { file: audit.jsonl }\n"),
            ("main.policy", RULES.to_owned()),
            ("idp.json", idp.jwks()),
            ("partner.json", partner.jwks()),
            ("op.secret", OP_SECRET.to_owned()),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
        command.arg("serve").args(arguments).arg(dir.path());
        let ours = |name: &str| name == "CAMBIST_LOG" || name.starts_with("OTEL_");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(ours) {
                command.env_remove(name);
            }
        }
        let mut process = command
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (tell, told) = tokio::sync::oneshot::channel();
        let written = Arc::clone(&log);
        let reads = std::thread::spawn(move || {
            let mut tell = Some(tell);
            for line in lines.map_while(Result::ok) {
                written.lock().unwrap().push_str(&format!("{line}\n"));
                if line.contains("serving")
                    && let Some(tell) = tell.take()
                {
                    let _ = tell.send(addresses(&line));
                }
            }
        });
        let found = told.await;
        let Ok([address, admin]) = found.as_deref() else {
            panic!("it does not serve: {}", log.lock().unwrap());
        };
        Self {
            process,
            address: *address,
            admin: *admin,
            log,
            reads: Some(reads),
            idp,
            op,
            dir,
        }
    }

    /// A token that is good now, but for what is changed.
    fn token(&self, changes: &Value) -> String {
        let claims = json!({
            "sub": "alice", "aud": "rs08", "iat": now() - 10, "exp": now() + 600, "scope": "api",
        });
        self.idp.token(&with(&claims, changes))
    }

    /// Exchanges with further header lines.
    async fn exchange(&self, headers: &str, secret: &str, changes: &[(&str, &str)]) -> Answer {
        let mut parameters = vec![
            ("grant_type", EXCHANGE),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", "https://backend.example.com/api"),
        ];
        parameters.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        parameters.extend(changes);
        let (authorization, body) = (basic("rs08", secret), form(&parameters));
        let request = format!(
            "POST /token HTTP/1.1\r\nHost: as.example.com\r\nAuthorization: {authorization}\r\n\
             {headers}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        call(self.address, request.as_bytes()).await
    }

    /// Asks the admin listener.
    async fn admin(&self, path: &str) -> Answer {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        call(self.admin, request.as_bytes()).await
    }

    /// Its audit records, as text.
    fn records(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("audit.jsonl")).unwrap()
    }

    /// Those of them that are of exchanges.
    fn exchanges_recorded(&self) -> Vec<Value> {
        let records = self.records();
        let records = records
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        records
            .filter(|record: &Value| record["event"] == "exchange")
            .collect()
    }

    /// Asks it to stop, and gives its whole log when it has.
    fn stop(&mut self) -> String {
        let id = self.process.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(killed.success());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        self.reads.take().unwrap().join().unwrap();
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended, unless a test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn now() -> i64 {
    Clock::system().now().0
}

/// The addresses in a log line: that of the token listener comes first.
fn addresses(line: &str) -> Vec<SocketAddr> {
    let starts = line.match_indices("127.0.0.1:");
    let addresses = starts.map(|(at, _)| {
        let text = &line[at..];
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
        text[..end.unwrap_or(text.len())].parse().unwrap()
    });
    addresses.collect()
}

/// `promtool`, where it is installed: what it says of its input, and whether it is content.
fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    use std::io::Write as _;
    let mut command = Command::new("promtool");
    let command = command.args(arguments).stdin(Stdio::piped());
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = process.stdin.take().unwrap();
    // It may have said no before it has read everything.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Some((output.status.success(), text))
}

/// Exchanges of all kinds, good and bad, and the secrets that went in and came out.
async fn exchanges(served: &Served) -> Vec<String> {
    const WRONG: &str = "wrong-secret-that-nobody-may-see";
    const OPAQUE: &str = "opaque-token-that-nobody-may-see";
    let good = served.token(&json!({}));
    let expired = served.token(&json!({ "exp": now() - 100 }));
    let stranger = served.token(&json!({ "iss": "https://stranger.example.com" }));
    let forged = format!("{}.AAAA", good.rsplit_once('.').unwrap().0);
    let mut secrets = vec![SECRET.to_owned(), WRONG.to_owned(), OP_SECRET.to_owned()];
    for (authenticates, status, changes) in [
        (
            SECRET,
            200,
            [("subject_token", good.as_str()), ("scope", "api")],
        ),
        (SECRET, 200, [("subject_token", OPAQUE), ("scope", "api")]),
        (SECRET, 400, [("subject_token", &good), ("scope", "other")]),
        (
            SECRET,
            400,
            [
                ("subject_token", &good),
                ("resource", "https://x.example.com/"),
            ],
        ),
        (
            SECRET,
            400,
            [("subject_token", &good), ("grant_type", "password")],
        ),
        (SECRET, 400, [("subject_token", &expired), ("scope", "api")]),
        (
            SECRET,
            400,
            [("subject_token", &stranger), ("scope", "api")],
        ),
        (SECRET, 400, [("subject_token", &forged), ("scope", "api")]),
        (WRONG, 401, [("subject_token", &good), ("scope", "api")]),
        (
            WRONG,
            401,
            [("subject_token", OPAQUE), ("client_id", OPAQUE)],
        ),
    ] {
        let answer = served.exchange("", authenticates, &changes).await;
        assert_eq!(answer.status, status, "{changes:?}: {answer:?}");
        if status == 200 {
            secrets.push(answer.token());
        }
    }
    served
        .op
        .says(|token| Reply::http("500 Whatever", "text/plain", token));
    let answer = served
        .exchange("", SECRET, &[("subject_token", OPAQUE)])
        .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    secrets.push(OPAQUE.to_owned());
    for token in [&good, &expired, &stranger, &forged] {
        secrets.push(token.clone());
        // Whole, or only the part that makes it good.
        let signature = token.rsplit('.').next().unwrap();
        secrets.extend((signature.len() > 20).then(|| signature.to_owned()));
    }
    for secret in [SECRET, WRONG] {
        secrets.push(basic("rs08", secret)["Basic ".len()..].to_owned());
    }
    secrets
}

/// No secret is in the text; the first letters of one would be one too many.
fn assert_without(place: &str, text: &str, secrets: &[String]) {
    assert!(!text.is_empty(), "{place} is empty");
    for secret in secrets {
        let part = &secret[secret.len().saturating_sub(24)..];
        assert!(!text.contains(part), "{secret} stands in {place}:\n{text}");
    }
}
