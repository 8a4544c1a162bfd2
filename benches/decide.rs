//! What a decision costs as rules grow: the index, the same rules one by one, closures written by hand, and
//! a hash table by hand, which is the limit.
//!
//! `cargo bench --bench decide`; with names of workloads and sizes for some of them:
//! `cargo bench --bench decide -- ci adversarial 100 10000`. The engines of others are in `benches/peers`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

#[path = "rounds.rs"]
#[allow(dead_code)]
mod rounds;
#[path = "workloads.rs"]
#[allow(dead_code)]
mod workloads;

use rounds::{Load, compare};
use workloads::{NAMES, closures, hash_index, indexed, loaded, permitted, scanned};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs benches too; this is no test.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let named = |name: &&str| arguments.iter().any(|argument| argument == *name);
    let mut names: Vec<&'static str> = NAMES.into_iter().filter(named).collect();
    if names.is_empty() {
        names = NAMES.to_vec();
    }
    let mut sizes: Vec<usize> = arguments
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let engines: [Load<'_>; 5] = [
        ("hash table by hand", &|workload| {
            Box::new(hash_index(workload))
        }),
        ("Cambist, which rule", &|workload| {
            Box::new(indexed(loaded(workload)))
        }),
        ("Cambist, and what it permits", &|workload| {
            Box::new(permitted(loaded(workload)))
        }),
        ("closures by hand, all called", &|workload| {
            Box::new(closures(workload))
        }),
        ("Cambist without its index", &|workload| {
            Box::new(scanned(loaded(workload)))
        }),
    ];
    println!("Medians of interleaved rounds, per decision.");
    for name in names {
        compare(name, &sizes, &engines, "Cambist, which rule");
    }
}
