//! What proofs cost at a load: `cargo bench --bench prove [RULES…]`.
//!
//! For each workload of `workloads.rs`: reading, checking (with the index), all proofs from nothing, and all
//! proofs again after one rule has changed (without reading and checking), with the verdicts of the load before. Questions are counted
//! besides, since times of one machine say little about another.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::panic,
    missing_docs
)]

mod workloads;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cambist::oauth::id::ProcessorId;
use cambist::policy::prove::{Verdicts, prove};
use cambist::policy::syntax::ast;
use cambist::policy::{PolicySet, check, parse};
use workloads::{Workload, schema_of};

const NAMES: [&str; 5] = ["services", "ci", "agents", "partners", "adversarial"];

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let out = work();
    (out, start.elapsed())
}

fn main() {
    // `cargo test --all-targets` runs benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let sizes: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let sizes = match sizes.is_empty() {
        true => vec![10, 100, 1_000, 10_000],
        false => sizes,
    };
    println!(
        "| workload | rules | read | check | prove | asked | after one change | asked | kept |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for name in NAMES {
        for size in &sizes {
            row(name, *size);
        }
    }
}

fn row(name: &'static str, size: usize) {
    let workload = Workload::new(name, size);
    let schema = schema_of(name, size);
    let texts = workload.files();
    let read = |texts: &[String]| -> Vec<ast::File> {
        let file = |(n, text): (usize, &String)| {
            parse(&Arc::from(format!("{n}.policy")), text).expect("it reads")
        };
        texts.iter().enumerate().map(file).collect()
    };
    let (files, reading) = timed(|| read(&texts));
    let (set, checking) = timed(|| check(&files, &schema).expect("it checks").0);
    let proof = |set: &PolicySet<ProcessorId>, before: Option<&Verdicts>| {
        let name = |id: &ProcessorId| id.to_string();
        prove(set, &schema, &name, &BTreeSet::new(), before)
    };
    let (cold, proving) = timed(|| proof(&set, None));
    assert!(!cold.findings.has_errors(), "{name}: a workload must load");
    let mut changed = texts.clone();
    if let Some(first) = changed.first_mut() {
        *first = first.replacen("scope only [", "scope only [\"more\", ", 1);
    }
    let other = read(&changed);
    let other = check(&other, &schema).expect("it checks").0;
    let (warm, again) = timed(|| proof(&other, Some(&cold.verdicts)));
    let (asked, kept) = warm.verdicts.counts();
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} | {asked} | {kept} |",
        set.rules().len(),
        ms(reading),
        ms(checking),
        ms(proving),
        cold.verdicts.counts().0,
        ms(again),
    );
}
