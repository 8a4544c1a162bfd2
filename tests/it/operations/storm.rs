//! Many changes of the configuration under many requests: each is decided by one whole set.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cambist::jose::sha256;
use cambist::reload::reload;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{body, idp, secret, start, subject_token, write_realm};
use crate::support::basic;

const REQUESTS: usize = 10_000;
const RELOADS: usize = 100;
const CONNECTIONS: usize = 16;

/// A rule that matches everything here, or nothing.
fn rule(module: &str, matches: bool) -> String {
    let when = if matches {
        ""
    } else {
        "  when request.scope has \"never\"\n"
    };
    format!(
        "policy 1 module {module}\n\nrule trade {{\n  from idp\n  by client \"rs08\"\n  \
         to resource under \"https://backend.example.com\"\n{when}  use mint {{ scope: [\"api\"] }}\n}}\n"
    )
}

/// Writes a set of which exactly one file has a rule that matches: of a mixture, both would have one, or
/// none. The manifest goes last, so that no mixture is loaded.
fn write(dir: &Path, even: bool, sound: bool) {
    let (a, mut b) = (rule("a", even), rule("b", !even));
    if !sound {
        b.push_str("rule {\n");
    }
    let line = |name: &str, text: &str| {
        let hex: String = sha256(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{hex}  {name}\n")
    };
    let manifest = line("a.policy", &a) + &line("b.policy", &b);
    for (name, text) in [
        ("a.policy", &a),
        ("b.policy", &b),
        ("policies.sha256", &manifest),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
}

/// One answer on a connection that stays open.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> u16 {
    buffer.clear();
    loop {
        assert!(
            stream.read_buf(buffer).await.unwrap() > 0,
            "the connection ended"
        );
        let text = std::str::from_utf8(buffer).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.unwrap().parse::<usize>().unwrap() {
            return head.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}

/// F6: 10,000 requests during 100 reloads, half of them broken, and a loader that also looks in between.
#[tokio::test(flavor = "multi_thread")]
async fn f6_ten_thousand_requests_during_a_hundred_reloads() {
    let (dir, idp) = (tempfile::tempdir().unwrap(), idp());
    let more = "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\n";
    write_realm(
        dir.path(),
        "https://as.example.com",
        more,
        &secret("rs08"),
        &idp,
    );
    let yaml = fs::read_to_string(dir.path().join("cambist.yaml")).unwrap();
    fs::write(
        dir.path().join("cambist.yaml"),
        yaml.replace("[main.policy]", "[a.policy, b.policy]"),
    )
    .unwrap();
    write(dir.path(), true, true);
    let running = start(dir.path()).await;
    let body = body(&subject_token(&idp));
    let request = Arc::new(format!(
        "POST /token HTTP/1.1\r\nHost: as.example.com\r\nAuthorization: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        basic("rs08", &secret("rs08")),
        body.len()
    ));
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (done, request, address) =
                (Arc::clone(&done), Arc::clone(&request), running.address);
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut buffer = Vec::new();
                while done.fetch_add(1, Ordering::SeqCst) < REQUESTS {
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let status = answer(&mut stream, &mut buffer).await;
                    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&buffer));
                }
            })
        })
        .collect();
    let (gateway, at, seen) = (
        Arc::clone(&running.gateway),
        dir.path().to_owned(),
        Arc::clone(&done),
    );
    let reloads = tokio::task::spawn_blocking(move || {
        let (mut applied, mut rejected, mut even) = (0, 0, true);
        for number in 0..RELOADS {
            // Spread over the requests, as far as they keep up.
            while seen.load(Ordering::SeqCst) < number * REQUESTS / RELOADS {
                std::thread::yield_now();
            }
            let sound = number % 2 == 0;
            if sound {
                even = !even;
            }
            write(&at, even, sound);
            match reload(&gateway, &at).name() {
                "applied" => applied += 1,
                "rejected" => rejected += 1,
                other => panic!("{other}"),
            }
        }
        (applied, rejected)
    });
    for client in clients {
        client.await.expect("an exchange failed");
    }
    assert_eq!(reloads.await.unwrap(), (RELOADS / 2, RELOADS / 2));
    assert!(done.load(Ordering::SeqCst) >= REQUESTS);
    // Nothing of the old sets is left.
    assert_eq!(running.gateway.load.exchanges.now(), 0);
    assert!(Arc::strong_count(&running.gateway.live.load()) <= 3);
}
