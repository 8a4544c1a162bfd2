//! `cambist reference`: what the tables have, it shows, so that nothing can be added without a word on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cambist::client::METHODS;
use cambist::config::PRESETS;
use cambist::diagnostic::codes::CODES;
use cambist::exchange::GRANTS;
use cambist::metrics::{METRICS, PROCESS_METRICS};
use cambist::oauth::error::ErrorCode;
use cambist::oauth::token_type::TokenType;
use cambist::policy::schema::{ATTRIBUTES, FAMILIES, FIELDS, LATER};
use cambist::provider::FACTORIES;
use serde_json::Value;

use crate::support::cambist;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every topic, and its entries by name.
fn all() -> BTreeMap<String, BTreeMap<String, Value>> {
    let (code, out, errors) = cambist(here(), &["reference", "--format", "json"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let topics: BTreeMap<String, Vec<Value>> = serde_json::from_str(&out).unwrap();
    let topics = topics.into_iter().map(|(topic, entries)| {
        let count = entries.len();
        let named = entries.into_iter();
        let named = named.map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry));
        let named: BTreeMap<_, _> = named.collect();
        assert_eq!(named.len(), count, "{topic}: names are unique");
        (topic, named)
    });
    topics.collect()
}

/// The names that the sources read from the environment of their own accord.
fn variables() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<PathBuf> = vec![here().join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        if path.extension().is_none_or(|ext| ext != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for reads in [
            "env::var(\"",
            "env::var_os(\"",
            "from_env(\"",
            "variable(\"",
        ] {
            let names = text.split(reads).skip(1);
            found.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn every_entry_of_every_table_is_shown_with_its_documentation() {
    let all = all();
    let attributes = ATTRIBUTES.iter().map(|it| it.path);
    let attributes = attributes.chain(FIELDS.iter().map(|it| it.path));
    let attributes = attributes.chain(LATER.iter().map(|(path, _)| *path));
    let attributes = attributes.map(str::to_owned);
    let attributes = attributes.chain(FAMILIES.iter().map(|(path, _)| format!("{path}NAME")));
    let owned = |names: Vec<&str>| {
        names
            .into_iter()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let metrics = METRICS.iter().map(|metric| metric.name);
    let metrics = metrics.chain(PROCESS_METRICS.iter().copied());
    let mut expected: BTreeMap<&str, BTreeSet<String>> = BTreeMap::from([
        ("attributes", attributes.collect()),
        (
            "providers",
            owned(FACTORIES.iter().map(|it| it.kind).collect()),
        ),
        ("methods", owned(METHODS.iter().map(|it| it.name).collect())),
        ("grants", owned(GRANTS.iter().map(|it| it.name).collect())),
        ("token-types", owned(TokenType::names().collect())),
        (
            "errors",
            owned(ErrorCode::ALL.iter().map(|it| it.as_str()).collect()),
        ),
        ("metrics", owned(metrics.collect())),
        ("presets", owned(PRESETS.iter().map(|it| it.name).collect())),
        ("codes", owned(CODES.iter().map(|it| it.code).collect())),
    ]);
    let environment: BTreeSet<String> = all["environment"].keys().cloned().collect();
    let read = variables();
    assert!(
        read.contains("NO_COLOR") && read.is_subset(&environment),
        "{read:?}"
    );
    expected.insert("environment", environment);
    for (topic, entries) in &all {
        let shown: BTreeSet<String> = entries.keys().cloned().collect();
        assert_eq!(shown, expected[topic.as_str()], "{topic}");
        for (name, entry) in entries {
            let doc = entry["doc"].as_str().unwrap();
            assert!(
                doc.len() > 6 && doc.contains(' '),
                "{topic}: {name}: `{doc}` says nothing"
            );
        }
    }
    assert_eq!(all.len(), expected.len(), "a topic has no table here");
}

#[test]
fn what_belongs_to_an_entry_stands_with_it() {
    let all = all();
    assert_eq!(all["errors"]["invalid_client"]["status"], 401);
    assert_eq!(
        all["grants"]["token_exchange"]["grant_type"],
        GRANTS[0].grant_type
    );
    assert_eq!(all["attributes"]["subject.sub"]["type"], "string");
    for factory in FACTORIES {
        let shown = all["providers"][factory.kind]["parameters"]
            .as_array()
            .unwrap();
        for (parameter, shown) in factory.parameters.iter().zip(shown) {
            assert!(shown["name"] == parameter.name && !parameter.doc.is_empty());
        }
        assert_eq!(shown.len(), factory.parameters.len());
    }
    for metric in METRICS {
        let labels = &all["metrics"][metric.name]["labels"];
        assert_eq!(labels, &serde_json::json!(metric.labels));
    }
}

#[test]
fn the_three_formats_show_the_same_entries() {
    for (topic, entries) in all() {
        let (code, text, _) = cambist(here(), &["reference", &topic]);
        assert_eq!(code, 0);
        let (code, page, _) = cambist(here(), &["reference", &topic, "--format", "markdown"]);
        assert_eq!(code, 0);
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
        assert!(page.starts_with(&format!("## {topic}: ")), "{page}");
        assert!(
            rows.iter().all(|row| columns(row) == columns(rows[0])),
            "{page}"
        );
        for name in entries.keys() {
            assert!(
                text.lines()
                    .any(|line| line.starts_with(&format!("{name}  "))),
                "{text}"
            );
            assert!(page.contains(&format!("\n| `{name}` |")), "{page}");
        }
    }
    let (code, _, errors) = cambist(here(), &["reference", "attribute"]);
    assert_eq!(code, 2);
    assert!(errors.contains("did you mean `attributes`?"), "{errors}");
}
