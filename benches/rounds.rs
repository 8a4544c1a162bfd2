//! Timing side by side: all engines in every round, one after the other, so that what disturbs the machine
//! disturbs all of them; medians and ratios of one run.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::workloads::{Engine, Workload};

/// How long one engine may take for the whole corpus, before it is left out.
const CAP: Duration = Duration::from_secs(10);
/// How long one engine runs in one round.
const SLICE: Duration = Duration::from_millis(12);
const ROUNDS: usize = 15;

/// An engine that takes part, or why it does not.
pub struct Entry {
    pub name: &'static str,
    engine: Option<Box<dyn Engine>>,
    /// Nanoseconds per decision, round by round.
    times: Vec<f64>,
    /// Decisions of one slice.
    batch: usize,
    pub left_out: Option<String>,
}

impl Entry {
    pub fn new(name: &'static str, engine: Box<dyn Engine>) -> Self {
        Self {
            name,
            engine: Some(engine),
            times: Vec::new(),
            batch: 1,
            left_out: None,
        }
    }

    /// One that has dropped out at a smaller size.
    pub fn absent(name: &'static str) -> Self {
        Self {
            name,
            engine: None,
            times: Vec::new(),
            batch: 1,
            left_out: None,
        }
    }

    /// Whether it takes no part, at larger sizes neither.
    pub fn is_absent(&self) -> bool {
        self.engine.is_none()
    }

    /// The median of the rounds.
    pub fn median(&self) -> Option<f64> {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    }
}

/// Holds every engine against what is expected of the whole corpus, then times them all.
fn run(workload: &Workload, entries: &mut [Entry]) {
    let expected: Vec<_> = workload
        .requests
        .iter()
        .map(|context| workload.expected(context))
        .collect();
    for entry in entries.iter_mut() {
        let Some(engine) = &mut entry.engine else {
            continue;
        };
        let begin = Instant::now();
        for (number, (context, expected)) in workload.requests.iter().zip(&expected).enumerate() {
            let answer = engine.decide(context);
            assert_eq!(
                answer,
                *expected,
                "{} on {}, {} rules, request {number}: {context:?}",
                entry.name,
                workload.name,
                workload.rules.len()
            );
            let spent = begin.elapsed();
            if spent > CAP {
                let each = spent.as_secs_f64() * 1e3 / (number + 1) as f64;
                entry.left_out = Some(format!(
                    "{each:.1} ms each: the corpus would take over {} s",
                    CAP.as_secs()
                ));
                break;
            }
        }
        if entry.left_out.is_some() {
            entry.engine = None;
            continue;
        }
        let each = begin.elapsed().as_secs_f64() / workload.requests.len() as f64;
        entry.batch = ((SLICE.as_secs_f64() / each) as usize).clamp(1, 100_000);
    }
    let mut from = 0;
    for _ in 0..ROUNDS {
        for entry in entries.iter_mut() {
            let Some(engine) = &mut entry.engine else {
                continue;
            };
            let requests = workload
                .requests
                .iter()
                .cycle()
                .skip(from)
                .take(entry.batch);
            let begin = Instant::now();
            for context in requests {
                black_box(engine.decide(black_box(context)));
            }
            let spent = begin.elapsed();
            entry
                .times
                .push(spent.as_secs_f64() * 1e9 / entry.batch as f64);
        }
        from = (from + 641) % workload.requests.len();
    }
}

/// A duration with three figures.
fn shown(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e5 => format!("{:.1} µs", n / 1e3),
        n if n < 1e6 => format!("{:.0} µs", n / 1e3),
        n => format!("{:.1} ms", n / 1e6),
    }
}

/// Prints a table of one workload: engines down, sizes across.
fn table(name: &str, sizes: &[usize], by_size: &[Vec<Entry>]) {
    println!("\n### {name}\n");
    print!("| engine |");
    sizes.iter().for_each(|size| print!(" {size} |"));
    print!("\n|---|");
    sizes.iter().for_each(|_| print!("---:|"));
    println!();
    let Some(first) = by_size.first() else { return };
    for (row, entry) in first.iter().enumerate() {
        print!("| {} |", entry.name);
        for column in by_size {
            match column.get(row).and_then(Entry::median) {
                Some(median) => print!(" {} |", shown(median)),
                None => print!(" – |"),
            }
        }
        println!();
    }
    for (size, column) in sizes.iter().zip(by_size) {
        for entry in column {
            if let Some(why) = &entry.left_out {
                println!("- {} dropped out at {size}: {why}", entry.name);
            }
        }
    }
}

/// The median of an engine by its name.
fn median(column: &[Entry], name: &str) -> Option<f64> {
    column.iter().find(|entry| entry.name == name)?.median()
}

/// How one engine is loaded.
pub type Load<'l> = (&'static str, &'l dyn Fn(&Workload) -> Box<dyn Engine>);

/// All engines at all sizes of one workload, held against each other and timed; prints the table and, as
/// ratios, what `ours` takes of each of the others.
pub fn compare(name: &'static str, sizes: &[usize], engines: &[Load<'_>], ours: &str) {
    let mut columns: Vec<Vec<Entry>> = Vec::new();
    for size in sizes {
        let workload = Workload::new(name, *size);
        let load = |(place, (engine, load)): (usize, &Load<'_>)| {
            let before = columns.last().and_then(|column| column.get(place));
            if before.is_some_and(Entry::is_absent) {
                return Entry::absent(engine);
            }
            let begin = Instant::now();
            let loaded = Entry::new(engine, load(&workload));
            eprintln!(
                "{name}, {size} rules, {engine}: loaded in {:?}",
                begin.elapsed()
            );
            loaded
        };
        let mut entries: Vec<Entry> = engines.iter().enumerate().map(load).collect();
        run(&workload, &mut entries);
        columns.push(entries);
    }
    table(name, sizes, &columns);
    for (size, column) in sizes.iter().zip(&columns) {
        let Some(mine) = median(column, ours) else {
            continue;
        };
        let others = column.iter().filter(|entry| entry.name != ours);
        let ratio = |entry: &Entry| Some(format!("{:.2} × {}", mine / entry.median()?, entry.name));
        let ratios: Vec<String> = others.filter_map(ratio).collect();
        println!("- {ours}, {size} rules: {}", ratios.join("; "));
    }
}
