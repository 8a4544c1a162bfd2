//! A soak: the real server under load from this process, its memory read as it goes.
//!
//! `cargo bench --bench soak`, `CAMBIST_SOAK=1000000` for more than 100,000 exchanges, or
//! `CAMBIST_SOAK_SECONDS=3600` for as many as an hour takes. It fails when an exchange fails, when the idle server is over 20 MB or the loaded one over 40 MB, or when memory grows
//! from the first quarter to the last by more than a tenth.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cambist::clock::Clock;
use cambist::jose::{Algorithm, SigningKey, SigningKeys};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 32;

fn main() {
    // `cargo test --all-targets` runs benches too; a soak is no test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = number("CAMBIST_SOAK_SECONDS");
    let count = match seconds {
        Some(_) => usize::MAX,
        None => number("CAMBIST_SOAK").unwrap_or(100_000),
    };
    let most = seconds.map(|seconds| Duration::from_secs(seconds as u64));
    let key = Arc::new(SigningKey::generate(Algorithm::ES256).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let yaml = include_str!("../policies/cambist.yaml")
        .replace("127.0.0.1:8080", "127.0.0.1:0")
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
    let mut server = Command::new(env!("CARGO_BIN_EXE_cambist"))
        .args([
            "serve",
            dir.path().to_str().unwrap(),
            "--log-format",
            "json",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let address = address(&mut server);
    let result = std::panic::catch_unwind(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(soak(server.id(), address, &key, count, most));
    });
    server.kill().unwrap();
    server.wait().unwrap();
    if result.is_err() {
        std::process::exit(1);
    }
}

/// The server says where it listens in its first log line that has an address.
fn address(server: &mut std::process::Child) -> SocketAddr {
    let lines = BufReader::new(server.stderr.take().unwrap());
    let mut lines = lines.lines();
    let line = lines
        .by_ref()
        .map(|line| line.unwrap())
        .find(|line| line.contains("token_endpoint"))
        .unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let log: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = log["token_endpoint"].as_str().unwrap();
    url.trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

async fn soak(
    pid: u32,
    address: SocketAddr,
    key: &SigningKey,
    count: usize,
    most: Option<Duration>,
) {
    let idle = resident(pid);
    println!("idle: {idle:.1} MB");
    let now = Clock::system().now();
    let request = |subject: usize| {
        let claims = serde_json::json!({
            "iss": "https://corp.example.com", "sub": format!("user-{subject}"), "aud": "rs08",
            "scope": "api", "iat": now.0, "exp": now.plus(86_400).0, "jti": format!("{subject}"),
        });
        let token = key.compact("at+jwt", &claims).unwrap();
        let body = cambist::demo::toys::BODY.replace(cambist::demo::toys::BEARER, &token);
        format!(
            "POST /as/token.oauth2 HTTP/1.1\r\nHost: as.example.com\r\n\
             Authorization: Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let requests: Arc<Vec<String>> = Arc::new((0..256).map(request).collect());
    let mut seen = Vec::new();
    let started = Instant::now();
    let done = Arc::new(AtomicUsize::new(0));
    for quarter in 1..=4 {
        let left = Arc::new(AtomicUsize::new(count / 4));
        let until = most.map(|most| started + most / 4 * quarter);
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|n| {
                let (left, requests) = (Arc::clone(&left), Arc::clone(&requests));
                let done = Arc::clone(&done);
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut buffer = vec![0; 8192];
                    let mut turn = n;
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                            left.checked_sub(1)
                        })
                        .is_ok()
                        && until.is_none_or(|until| Instant::now() < until)
                    {
                        stream
                            .write_all(requests[turn % requests.len()].as_bytes())
                            .await
                            .unwrap();
                        read_answer(&mut stream, &mut buffer).await;
                        done.fetch_add(1, Ordering::Relaxed);
                        turn += CONNECTIONS;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("an exchange failed");
        }
        let resident = resident(pid);
        let exchanges = done.load(Ordering::Relaxed);
        println!("after {exchanges:>9}: {resident:.1} MB");
        seen.push(resident);
    }
    let seconds = started.elapsed().as_secs_f64();
    let count = done.load(Ordering::Relaxed);
    println!(
        "{count} exchanges in {seconds:.0} s, none failed, {:.0} a second with {CONNECTIONS} connections",
        count as f64 / seconds
    );
    assert!(idle < 20.0, "idle over 20 MB");
    assert!(
        seen.iter().all(|resident| *resident < 40.0),
        "over 40 MB under load"
    );
    assert!(seen[3] <= seen[0] * 1.1, "memory grows");
}

/// One keep-alive answer; anything but a 200 ends the soak.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "the connection ended");
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled]).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            assert!(head.starts_with("HTTP/1.1 200"), "{text}");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            if body.len() >= length.parse::<usize>().unwrap() {
                return;
            }
        }
    }
}

/// Resident memory in MB.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
