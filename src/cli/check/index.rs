//! `cambist check --index DIR`: how each realm's policies were filed, and the most that one request can
//! make the evaluator do.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::policy::decide::{IndexReport, TreeReport};
use crate::snapshot::Snapshot;

/// With more denies than this that every request meets, decisions take noticeably longer.
const MANY: usize = 64;
/// So many of them are named.
const NAMED: usize = 5;

/// For people.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for realm in snapshot.realms.values() {
        let report = realm.policies.index_report();
        let _infallible = write!(
            out,
            "index of realm {}\n{}{}{}",
            realm.name,
            tree("rule", "rules", &report.rules),
            tree("deny", "denies", &report.denies),
            many(&report).map_or(String::new(), |warning| format!("  warning: {warning}\n")),
        );
    }
    out
}

/// For machines: one object by the realms' names.
pub(super) fn json(snapshot: &Snapshot) -> Value {
    let realms = snapshot.realms.values().map(|realm| {
        let report = realm.policies.index_report();
        let shown = json!({
            "rules": tree_json(&report.rules),
            "denies": tree_json(&report.denies),
            "warnings": many(&report).into_iter().collect::<Vec<String>>(),
        });
        (realm.name.to_string(), shown)
    });
    Value::Object(realms.collect())
}

fn tree(one: &str, several: &str, tree: &TreeReport) -> String {
    let count = |count: usize, one: &str, several: &str| {
        let word = if count == 1 { one } else { several };
        format!("{count} {word}")
    };
    let mut out = format!(
        "  {}: {}, the largest of {}; {} met by every request\n",
        count(tree.count, one, several),
        count(tree.buckets, "bucket", "buckets"),
        tree.largest,
        tree.always.len(),
    );
    for asked in &tree.asked {
        let _infallible = writeln!(
            out,
            "    by {}: {} in {}",
            asked.what,
            count(asked.keys, "key", "keys"),
            count(asked.tables, "table", "tables"),
        );
    }
    let _infallible = writeln!(
        out,
        "    worst case: {}, {}",
        count(
            tree.worst.rules,
            &format!("candidate {one}"),
            &format!("candidate {several}")
        ),
        count(tree.worst.tests, "test", "tests"),
    );
    out
}

fn tree_json(tree: &TreeReport) -> Value {
    let asked = tree
        .asked
        .iter()
        .map(|asked| json!({ "what": asked.what, "tables": asked.tables, "keys": asked.keys }));
    json!({
        "count": tree.count,
        "asked": asked.collect::<Vec<Value>>(),
        "buckets": tree.buckets,
        "largest_bucket": tree.largest,
        "met_by_every_request": tree.always.iter().map(ToString::to_string).collect::<Vec<String>>(),
        "worst_case": { "candidates": tree.worst.rules, "tests": tree.worst.tests },
    })
}

/// What is to be said of denies that nothing rare triggers.
fn many(report: &IndexReport) -> Option<String> {
    let always = &report.denies.always;
    if always.len() <= MANY {
        return None;
    }
    let named = always.iter().take(NAMED).map(|id| format!("`{id}`"));
    Some(format!(
        "{} denies are tested for every request, {} and others: give them a `from`, `by` or `to`, or a \
         condition that names a value",
        always.len(),
        named.collect::<Vec<String>>().join(", "),
    ))
}
