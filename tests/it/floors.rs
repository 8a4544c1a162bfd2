//! The mirror of the map in `src/lib.rs`: who uses whom, and who may not know what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file, with its path relative to `src`.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                // Comments and unit tests, which stand last, may speak of anything.
                let text = fs::read_to_string(&path).unwrap();
                let code: Vec<&str> = text
                    .split("#[cfg(test)]")
                    .next()
                    .unwrap()
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .collect();
                found.push((name, code.join("\n")));
            }
        }
    }
    found.sort();
    found
}

/// The top-level module that a file belongs to.
fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

/// The floors as `lib.rs` draws them: module → (floor, place on it).
fn floors() -> BTreeMap<String, (usize, usize)> {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let mut floors = BTreeMap::new();
    for line in map.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let mut words = line.split_whitespace();
        let Some(floor) = words.next().and_then(|word| word.parse::<usize>().ok()) else {
            continue;
        };
        let names = line[2..].trim_start();
        let names = names
            .split("   the ")
            .next()
            .unwrap()
            .split("   one ")
            .next()
            .unwrap();
        let names = names
            .split("  the ")
            .next()
            .unwrap()
            .split("  one ")
            .next()
            .unwrap();
        let names = names.split("  what ").next().unwrap();
        for (place, name) in names.split_whitespace().enumerate() {
            floors.insert(name.to_owned(), (floor, place));
        }
    }
    floors
}

/// Names that follow `crate::` in a file, also inside `use crate::{a, b}`.
fn used(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, _) in code.match_indices("crate::") {
        let rest = &code[index + 7..];
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split_once("};").map_or(list, |(list, _)| list);
            let mut depth = 0;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        names.insert(std::mem::take(&mut word));
                    }
                    c if depth == 0 && (c.is_alphanumeric() || c == '_') => word.push(c),
                    ':' if depth == 0 => depth += 100,
                    _ => {}
                }
                if depth >= 100 && c == ',' {
                    depth = 0;
                }
            }
            names.insert(word);
        } else {
            names.insert(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    names.remove("");
    names
}

#[test]
fn every_module_is_on_the_map_and_every_name_on_the_map_is_a_module() {
    let modules: BTreeSet<String> = sources()
        .iter()
        .map(|(file, _)| room(file).to_owned())
        .filter(|room| room != "lib" && room != "main")
        .collect();
    let mapped: BTreeSet<String> = floors().into_keys().collect();
    assert_eq!(modules, mapped);
}

#[test]
fn a_module_uses_only_what_is_below_it_or_to_its_left() {
    let floors = floors();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let from = room(&file).to_owned();
        let Some(here) = floors.get(&from) else {
            continue;
        };
        for to in used(&code) {
            let Some(there) = floors.get(&to) else {
                continue;
            };
            if to == from {
                continue;
            }
            graph.entry(from.clone()).or_default().insert(to.clone());
            if there >= here {
                wrong.push(format!("{file} uses {to}"));
            }
        }
    }
    for (from, to) in &graph {
        println!(
            "{from:>10} → {}",
            to.iter().cloned().collect::<Vec<_>>().join(" ")
        );
    }
    assert!(graph.len() > 10, "the graph was not read");
    assert!(
        wrong.is_empty(),
        "against the floors:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn each_library_is_known_where_the_map_says() {
    let rules: &[(&str, &[&str])] = &[
        ("serde_yaml::", &["section"]),
        ("arc_swap::", &["swap"]),
        ("notify::", &["reload"]),
        ("prometheus::", &["metrics"]),
        ("opentelemetry::", &["trace"]),
        ("opentelemetry_http::", &["trace"]),
        ("opentelemetry_otlp::", &["trace"]),
        ("opentelemetry_sdk::", &["trace"]),
        ("tracing_opentelemetry::", &["trace"]),
        ("pest::", &["policy/syntax"]),
        ("pest_derive::", &["policy/syntax"]),
        ("batsat::", &["policy/prove/solve"]),
        ("jsonwebtoken::", &["jose"]),
        ("aws_lc_rs::", &["jose"]),
        ("rustls::", &["net", "tls"]),
        ("tokio_rustls::", &["tls"]),
        ("sd_notify::", &["system"]),
        ("listenfd::", &["system"]),
        ("rustix::", &["system"]),
        ("hyper::", &["server", "admin", "demo", "net"]),
        ("hyper_util::", &["server", "admin", "demo", "net"]),
        ("clap::", &["cli", "main"]),
    ];
    for (library, rooms) in rules {
        let known: Vec<String> = sources()
            .into_iter()
            .filter(|(_, code)| {
                code.match_indices(library).any(|(at, _)| {
                    let before = code[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                })
            })
            .map(|(file, _)| file)
            .collect();
        assert!(!known.is_empty(), "nobody uses {library}");
        for file in known {
            assert!(
                rooms.iter().any(|room| file.starts_with(room)),
                "{file} knows {library}"
            );
        }
    }
}

#[test]
fn the_policy_engine_knows_no_provider_no_network_no_clock() {
    for (file, code) in sources()
        .into_iter()
        .filter(|(file, _)| room(file) == "policy")
    {
        for word in [
            "crate::provider",
            "crate::net",
            "crate::clock",
            "crate::section",
            "tokio",
            "SystemTime",
            "std::fs",
        ] {
            assert!(!code.contains(word), "{file} has {word}");
        }
    }
}

#[test]
fn verified_is_asserted_in_a_handful_of_files() {
    let files: Vec<String> = sources()
        .into_iter()
        .filter(|(_, code)| code.contains("::assertion("))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(files, ["client.rs", "token/introspect.rs", "token/jwt.rs"]);
}

#[test]
fn a_policy_cannot_name_a_raw_token() {
    assert!(
        cambist::policy::schema::ATTRIBUTES
            .iter()
            .all(|attribute| !attribute.path.contains("token."))
    );
    for (file, code) in sources()
        .into_iter()
        .filter(|(file, _)| room(file) == "policy" || file == "context.rs")
    {
        assert!(!code.contains("RawToken"), "{file} names RawToken");
    }
}
