//! `examples/observability/`: what its rules and its dashboard ask for is there, under the labels that they use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cambist::metrics::{METRICS, PROCESS_METRICS};
use serde_json::Value;

use super::promtool;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/observability")
        .join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&text(name)).unwrap()
}

/// Every rule of a file of groups.
fn rules(name: &str) -> Vec<Value> {
    let groups = yaml(name)["groups"].as_array().unwrap().clone();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    rules.cloned().collect()
}

/// Every expression of the dashboard, with the title of its panel.
fn dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((
                title.to_owned(),
                target["expr"].as_str().unwrap().to_owned(),
            ));
        }
    }
    for loads in dashboard["annotations"]["list"].as_array().unwrap() {
        found.push((
            "annotations".to_owned(),
            loads["expr"].as_str().unwrap().to_owned(),
        ));
    }
    found
}

/// A word of PromQL, or one other character; what stands in quotes is no word.
fn words(expression: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut quoted, mut word) = (false, String::new());
    for c in expression.chars() {
        if !quoted && (c.is_alphanumeric() || "_:$.".contains(c)) {
            word.push(c);
            continue;
        }
        words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        quoted ^= c == '"';
        if !c.is_whitespace() && !quoted {
            words.push(c.to_string());
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// The labels that every series has when it has been scraped.
const SCRAPED: [&str; 2] = ["instance", "job"];

/// The labels of a series by its name, or nothing where there is no such series.
fn labels(name: &str, recorded: &BTreeMap<String, BTreeSet<String>>) -> Option<BTreeSet<String>> {
    let with = |labels: &[&str], more: &[&str]| {
        let all = labels.iter().chain(more).chain(&SCRAPED);
        all.map(|label| (*label).to_owned()).collect()
    };
    if let Some(labels) = recorded.get(name) {
        return Some(labels.clone());
    }
    if name == "up" || PROCESS_METRICS.contains(&name) {
        return Some(with(&[], &[]));
    }
    METRICS.iter().find_map(|metric| {
        match (name.strip_prefix(metric.name)?, metric.buckets.is_empty()) {
            ("", true) | ("_sum" | "_count", false) => Some(with(metric.labels, &[])),
            ("_bucket", false) => Some(with(metric.labels, &["le"])),
            _ => None,
        }
    })
}

/// Checks an expression against what there is; gives the labels that its result may have.
fn check(
    place: &str,
    expression: &str,
    recorded: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<String> {
    let words = words(expression);
    let is_series = |word: &str| {
        ["cambist_", "process_"]
            .iter()
            .any(|start| word.starts_with(start))
            || word == "up"
            || word.contains(':')
    };
    let mut all = BTreeSet::new();
    let mut asked: Option<BTreeSet<String>> = None;
    let mut series = 0;
    for (at, word) in words.iter().enumerate().filter(|(_, word)| is_series(word)) {
        let known = labels(word, recorded);
        let known = known.unwrap_or_else(|| panic!("{place}: there is no `{word}`: {expression}"));
        series += 1;
        let mut rest = words[at + 1..].iter();
        if rest.next().is_some_and(|next| next == "{") {
            let matchers: Vec<&String> = rest.take_while(|word| *word != "}").collect();
            for pair in matchers
                .windows(2)
                .filter(|pair| pair[1] == "=" || pair[1] == "!")
            {
                let label = pair[0].as_str();
                if label.chars().all(|c| c.is_alphanumeric() || c == '_') {
                    assert!(known.contains(label), "{place}: `{word}` has no `{label}`");
                }
            }
        }
        all.extend(known);
    }
    assert!(series > 0, "{place}: no series in {expression}");
    for (at, word) in words.iter().enumerate() {
        if !["by", "on", "without", "ignoring"].contains(&word.as_str()) {
            continue;
        }
        let list = words[at + 2..].iter().take_while(|word| *word != ")");
        let list: BTreeSet<String> = list.filter(|word| *word != ",").cloned().collect();
        for label in &list {
            assert!(
                all.contains(label),
                "{place}: nothing has `{label}`: {expression}"
            );
        }
        if word == "by" {
            asked.get_or_insert_default().extend(list);
        }
    }
    // What begins with a series has its labels, whatever it is compared with.
    match asked {
        Some(asked) if !words.first().is_some_and(|word| is_series(word)) => asked,
        _ => all,
    }
}

fn recorded() -> BTreeMap<String, BTreeSet<String>> {
    let mut recorded = BTreeMap::new();
    for rule in rules("recording.yml") {
        let (name, expression) = (
            rule["record"].as_str().unwrap(),
            rule["expr"].as_str().unwrap(),
        );
        let labels = check(name, expression, &recorded);
        // A name says first what its series are told apart by.
        let level = name.split(':').next().unwrap();
        let told: BTreeSet<String> = labels
            .iter()
            .filter(|label| *label != "le")
            .cloned()
            .collect();
        assert_eq!(
            level.split('_').map(str::to_owned).collect::<BTreeSet<_>>(),
            told,
            "{name}"
        );
        recorded.insert(name.to_owned(), told);
    }
    recorded
}

#[test]
fn every_alert_asks_for_what_there_is_says_what_to_do_and_is_tested() {
    let (recorded, tests) = (recorded(), text("alerts_test.yml"));
    let alerts = rules("alerts.yml");
    assert!(alerts.len() > 20);
    for alert in alerts {
        let name = alert["alert"].as_str().unwrap();
        let labels = check(name, alert["expr"].as_str().unwrap(), &recorded);
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}");
        let said = |part: &str| alert["annotations"][part].as_str().unwrap().to_owned();
        assert!(said("description").len() > 60, "{name}");
        for part in [said("summary"), said("description")] {
            for named in part.split("$labels.").skip(1) {
                let end = named
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap();
                let label = &named[..end];
                assert!(
                    labels.contains(label),
                    "{name}: its alerts have no `{label}`"
                );
            }
        }
        for (what, tested) in [
            (
                "that it fires",
                format!("- {{ labels: 'ALERTS{{alertname=\"{name}\",alertstate=\"firing\""),
            ),
            (
                "when it fires",
                format!("expr: 'ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}'"),
            ),
        ] {
            assert!(tests.contains(&tested), "no test of {name} says {what}");
        }
    }
}

#[test]
fn every_panel_asks_for_what_there_is_and_everything_that_there_is_is_on_one() {
    let expressions = dashboard();
    assert!(expressions.len() > 40);
    let mut seen = BTreeSet::new();
    for (title, expression) in &expressions {
        check(title, expression, &BTreeMap::new());
        seen.extend(words(expression));
    }
    for metric in METRICS.iter() {
        let shown = |end: &str| seen.contains(&format!("{}{end}", metric.name));
        // When that was is what an alert is for.
        let only_alerts = metric.name == "cambist_config_last_reload_success_timestamp_seconds";
        assert!(
            only_alerts || shown("") || shown("_bucket"),
            "{} is on no panel",
            metric.name
        );
    }
}

#[test]
fn what_asks_for_something_else_is_noticed() {
    let noticed = |expression: &str| {
        let check = || check("it", expression, &BTreeMap::new());
        std::panic::catch_unwind(check).is_err()
    };
    assert!(!noticed(
        "sum by (realm) (rate(cambist_exchanges_total{outcome=\"failed\"}[5m]))"
    ));
    for wrong in [
        "cambist_exchange_total",
        "cambist_exchanges_total_count",
        "cambist_exchange_duration_seconds",
        "cambist_exchanges_total{status=\"failed\"}",
        "cambist_exchanges_total{outcome=\"a\",code!~\"b\"}",
        "sum by (client) (cambist_exchanges_total)",
        "cambist_jwks_keys / on (owner) cambist_jwks_age_seconds",
        "vector(1)",
    ] {
        assert!(noticed(wrong), "{wrong}");
    }
}

#[test]
fn promtool_is_content_with_the_rules_and_with_what_the_panels_ask() {
    let dir = tempfile::tempdir().unwrap();
    let rules: Vec<Value> = dashboard()
        .into_iter()
        .enumerate()
        .map(|(at, (_, expression))| {
            let expression = expression.replace("$__rate_interval", "5m");
            serde_json::json!({ "record": format!("panel:{at}"), "expr": expression })
        })
        .collect();
    let rules = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
    let panels = dir.path().join("panels.yml");
    std::fs::write(&panels, rules.to_string()).unwrap();
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    for arguments in [
        ["check", "config", &path(file("prometheus.yml"))],
        ["check", "rules", &path(panels)],
        ["test", "rules", &path(file("alerts_test.yml"))],
    ] {
        // `.ci/run` has it.
        if let Some((content, says)) = promtool(&arguments, "") {
            assert!(content, "{says}");
        }
    }
}
