//! Policy engines side by side: Cambist, a hash table and closures written by hand, Cedar, regorus and CEL
//! decide the same requests by the same rules, in one run.
//!
//! From this folder, `cargo run --release`; names of workloads and sizes choose some of them, as in
//! `cargo run --release -- services partners 100 10000`, and `load` the load times alone.
//!
//! How the others are given the rules, and what that costs them or saves them:
//! - All are asked with a request as the gateway has it and put it into their own form, within the time
//!   measured. Cambist and what is written by hand read it as it is.
//! - "Keyed by its author": rules are filed by hand under what the author of each workload knows to be
//!   selective, the same key that the hash table by hand uses; Cambist finds it itself. It is worked out
//!   in Rust for all of them, outside of the engines.
//! - Hosts and paths are split before Cedar, regorus and CEL see them.
//! - regorus stops its machine after 25,000 instructions, which a thousand rules under one key need; that
//!   limit is lifted, and files are kept below the megabyte that it takes.
//! - An engine that would need longer than ten seconds for the whole corpus drops out, at larger sizes too.

#[path = "../../rounds.rs"]
#[allow(dead_code)]
mod rounds;
#[path = "../../workloads.rs"]
#[allow(dead_code)]
mod workloads;

mod cedar;
mod common;
mod rego;

use std::hint::black_box;
use std::process::Command;
use std::str::FromStr as _;
use std::time::Instant;

use rounds::{Load, compare};
use workloads::{NAMES, Workload, closures, hash_index, indexed, load, loaded, permitted, scanned};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
const LOADS: [&str; 6] = [
    "Cambist",
    "Cedar",
    "regorus, as data",
    "regorus, as data, compiled for its machine",
    "regorus, as code",
    "CEL",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, engine, size, paths @ ..] = arguments.as_slice()
        && word == "load-one"
    {
        return load_one(name, engine, size.parse().expect("a size"), paths);
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
    if !arguments.iter().any(|argument| argument == "load") {
        decide(&names, &sizes);
    }
    loads(&names);
}

fn decide(names: &[&'static str], sizes: &[usize]) {
    let engines: [Load<'_>; 11] = [
        ("hash table by hand", &|w| Box::new(hash_index(w))),
        ("Cambist, which rule", &|w| Box::new(indexed(loaded(w)))),
        ("Cambist, and what it permits", &|w| {
            Box::new(permitted(loaded(w)))
        }),
        ("regorus, as data, keyed by its author", &|w| {
            Box::new(rego::as_data(w))
        }),
        ("CEL, keyed by its author", &|w| Box::new(common::keyed(w))),
        ("Cedar, keyed by its author", &|w| Box::new(cedar::keyed(w))),
        ("closures by hand, all called", &|w| Box::new(closures(w))),
        ("Cambist without its index", &|w| {
            Box::new(scanned(loaded(w)))
        }),
        ("CEL, a program for each rule", &|w| {
            Box::new(common::whole(w))
        }),
        ("Cedar, one policy set", &|w| {
            Box::new(cedar::whole(
                cedar_policy::PolicySet::from_str(&cedar::text(w)).expect("Cedar's text"),
            ))
        }),
        ("regorus, as code", &|w| {
            Box::new(rego::as_code(rego::compile(&rego::code(w))))
        }),
    ];
    println!(
        "Medians of interleaved rounds, per decision, with putting the request into each engine's form."
    );
    for name in names {
        compare(name, sizes, &engines, "Cambist, which rule");
    }
}

/// Load times and the most memory, each in a process of its own that has read the text and nothing else.
fn loads(names: &[&'static str]) {
    const SIZE: usize = 10_000;
    println!("\n### Loading {SIZE} rules from text\n");
    println!("| workload | engine | text | median of 5 | memory at most, above the text's |");
    println!("|---|---|---:|---:|---:|");
    let dir = std::env::temp_dir().join(format!("cambist-peers-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder for texts");
    for name in names {
        let workload = Workload::new(name, SIZE);
        for engine in LOADS {
            let texts = match engine {
                "Cambist" => workload.files(),
                "Cedar" => vec![cedar::text(&workload)],
                "regorus, as code" => rego::code(&workload),
                "CEL" => vec![
                    workload
                        .rules
                        .iter()
                        .map(|r| common::text(r) + "\n")
                        .collect(),
                ],
                _ => vec![rego::policy(workload.console), rego::data(&workload)],
            };
            let kib = texts.iter().map(String::len).sum::<usize>() / 1024;
            let paths: Vec<_> = (0..texts.len())
                .map(|part| dir.join(part.to_string()))
                .collect();
            for (path, text) in paths.iter().zip(&texts) {
                std::fs::write(path, text).expect("a text");
            }
            let mut runs: Vec<(f64, u64)> = Vec::new();
            let mut failure = String::new();
            for _ in 0..5 {
                let output = Command::new(std::env::current_exe().expect("this program"))
                    .args(["load-one", name, engine, &SIZE.to_string()])
                    .args(&paths)
                    .output()
                    .expect("a run");
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                match said.split_once(' ') {
                    Some((time, memory)) => runs.push((
                        time.parse().expect("milliseconds"),
                        memory.trim().parse().expect("a number"),
                    )),
                    None => failure = String::from_utf8_lossy(&output.stderr).replace('\n', " "),
                }
            }
            runs.sort_by(|a, b| a.0.total_cmp(&b.0));
            match runs.get(runs.len() / 2) {
                Some((time, memory)) => {
                    println!("| {name} | {engine} | {kib} KiB | {time:.0} ms | {memory} MiB |");
                }
                None => {
                    let why: String = failure.chars().take(160).collect();
                    println!("| {name} | {engine} | {kib} KiB | does not load: {why} | – |");
                }
            }
        }
    }
    std::fs::remove_dir_all(&dir).expect("the folder");
}

fn load_one(name: &str, engine: &str, size: usize, paths: &[String]) {
    let read = |path: &String| std::fs::read_to_string(path).expect("a text");
    let texts: Vec<String> = paths.iter().map(read).collect();
    let schema = match engine {
        "Cambist" => Some(workloads::schema_of(name, size)),
        _ => None,
    };
    // What there was before counts for nobody.
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    let before = status("VmRSS:");
    let begin = Instant::now();
    match (engine, texts.as_slice(), schema) {
        ("Cambist", _, Some(schema)) => keep(load(&texts, &schema)),
        ("Cedar", [text], _) => {
            keep(cedar_policy::PolicySet::from_str(text).expect("Cedar's text"))
        }
        ("regorus, as code", texts, _) => keep(rego::compile(texts)),
        ("CEL", [text], _) => keep(text.lines().map(common::compile).collect::<Vec<_>>()),
        ("regorus, as data", [policy, data], _) => {
            let mut rego = regorus::Engine::new();
            rego.add_policy("rules.rego".to_owned(), policy.clone())
                .expect("Rego");
            rego.add_data_json(data).expect("JSON");
            keep(
                rego.compile_with_entrypoint(&"data.cambist.answer".into())
                    .expect("a policy"),
            );
        }
        (_, [policy, data], _) => keep(rego::machine(policy.clone(), data)),
        other => panic!("{:?}", other.0),
    }
    let time = begin.elapsed().as_secs_f64() * 1e3;
    let memory = status("VmHWM:").saturating_sub(before) / 1024;
    println!("{time} {memory}");
}

/// Loaded engines live until the end of their process: freeing them is not loading them.
fn keep<T>(loaded: T) {
    std::mem::forget(black_box(loaded));
}

/// A line of `/proc/self/status`, in KiB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with(name))
        .expect("the line");
    line.split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a number")
}
