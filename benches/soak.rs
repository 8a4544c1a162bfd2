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

#[path = "load.rs"]
mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use load::{Server, ask};
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
    let server = Server::start("");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(soak(&server, count, most));
}

async fn soak(server: &Server, count: usize, most: Option<Duration>) {
    let idle = server.resident();
    println!("idle: {idle:.1} MB, looked after at {}", server.admin);
    let requests = server.requests();
    let address = server.address;
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
                    let (mut buffer, mut turn) = (Vec::new(), n);
                    let more = |left: usize| left.checked_sub(1);
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
                        .is_ok()
                        && until.is_none_or(|until| Instant::now() < until)
                    {
                        let request = &requests[turn % requests.len()];
                        let status = ask(&mut stream, request, &mut buffer).await.unwrap();
                        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&buffer));
                        done.fetch_add(1, Ordering::Relaxed);
                        turn += CONNECTIONS;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("an exchange failed");
        }
        let resident = server.resident();
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
