//! Overload: ten times as many clients as the server takes on at once, none of which ever waits.
//!
//! `cargo bench --bench overload`. It prints how long what is accepted takes, how long it takes to be turned
//! away, and how long the admin listener takes to answer meanwhile; before, during and after. It fails when
//! anything is neither answered with a token nor turned away, when what is accepted takes more than a second
//! (median), or when the server is slower after than before by more than half.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use load::{Server, ask};
use tokio::net::TcpStream;

/// How many exchanges the server takes on at once.
const IN_FLIGHT: usize = 64;
const PHASE: Duration = Duration::from_secs(10);

fn main() {
    // `cargo test --all-targets` runs benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let server = Server::start(&format!(", max_in_flight: {IN_FLIGHT}"));
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let before = phase("as much as it takes", &server, IN_FLIGHT / 2).await;
            let during = phase("ten times too much", &server, IN_FLIGHT * 10).await;
            let after = phase("as much as it takes", &server, IN_FLIGHT / 2).await;
            println!(
                "{} clients for {IN_FLIGHT} places: {:.0} % of the tokens a second of before, and after it {:.0} %",
                IN_FLIGHT * 10,
                100.0 * during.rate / before.rate,
                100.0 * after.rate / before.rate
            );
            assert!(during.median < Duration::from_secs(1), "what is accepted waits");
            assert!(after.rate > before.rate / 2.0, "it does not recover");
        });
}

struct Seen {
    /// Tokens a second.
    rate: f64,
    /// How long a token took.
    median: Duration,
}

async fn phase(name: &str, server: &Server, clients: usize) -> Seen {
    let (requests, stop) = (server.requests(), Arc::new(AtomicBool::new(false)));
    let address = server.address;
    let tasks: Vec<_> = (0..clients)
        .map(|n| {
            let (requests, stop) = (Arc::clone(&requests), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut buffer, mut turn) = (Vec::new(), n);
                let (mut issued, mut away) = (Vec::new(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    match ask(&mut stream, &requests[turn % requests.len()], &mut buffer).await {
                        Ok(200) => issued.push(begun.elapsed()),
                        Ok(503) => away.push(begun.elapsed()),
                        other => panic!("{other:?}: {}", String::from_utf8_lossy(&buffer)),
                    }
                    turn += 1;
                }
                (issued, away)
            })
        })
        .collect();
    let (mut admin, begun) = (Vec::new(), Instant::now());
    let mut stream = TcpStream::connect(server.admin).await.unwrap();
    let mut buffer = Vec::new();
    while begun.elapsed() < PHASE {
        let asked = Instant::now();
        let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(ask(&mut stream, request, &mut buffer).await.unwrap(), 200);
        admin.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut issued, mut away) = (Vec::new(), Vec::new());
    for task in tasks {
        let (more, further) = task.await.expect("an answer was lost");
        issued.extend(more);
        away.extend(further);
    }
    let rate = issued.len() as f64 / begun.elapsed().as_secs_f64();
    println!("{name}: {clients} clients, {:.1} MB", server.resident());
    let mut median = Duration::ZERO;
    for (what, times) in [
        ("tokens", &mut issued),
        ("turned away", &mut away),
        ("/readyz", &mut admin),
    ] {
        times.sort();
        let at = |part: f64| {
            times
                .get((times.len() as f64 * part) as usize)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "  {:>7} {what:<12} p50 {:>9.2?}  p99 {:>9.2?}  worst {:>9.2?}",
            times.len(),
            at(0.5),
            at(0.99),
            times.last().copied().unwrap_or_default()
        );
        if what == "tokens" {
            median = at(0.5);
        }
    }
    println!("  {rate:.0} tokens a second");
    Seen { rate, median }
}
