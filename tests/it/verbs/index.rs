//! `cambist check --index`: how rules were filed, and what one request can cost.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::support::cambist;

/// The sample realm with more policies.
fn realm(more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let yaml = include_str!("../../../policies/cambist.yaml");
    fs::write(dir.path().join("cambist.yaml"), yaml).unwrap();
    let main = include_str!("../../../policies/main.policy");
    fs::write(dir.path().join("main.policy"), format!("{main}\n{more}")).unwrap();
    dir
}

/// A rule for each of many audiences, in two clauses that all of them share.
fn rules(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        write!(
            text,
            "rule r{number} {{\n  from op\n  by client \"https://frontend.example.com\"\n  \
             to audience \"service-{number}\"\n  \
             use backend-token {{ scope: requested & subject.scope & [\"api\"] }}\n}}\n"
        )
        .unwrap();
        text
    })
}

#[test]
fn rules_that_share_all_but_their_target_are_told_apart_by_it() {
    let dir = realm(&rules(100));
    let (code, shown, said) = cambist(dir.path(), &["check", "--index", "."]);
    assert_eq!(code, 0, "{said}");
    let (index, ok) = shown.split_once("ok: ").unwrap();
    assert!(ok.starts_with("101 rules, 1 deny"), "{ok}");
    assert_eq!(
        index,
        "\
index of realm default
  101 rules: 101 buckets, the largest of 1; 0 met by every request
    by first target: 101 keys in 1 table
    worst case: 2 candidate rules, 12 tests
  1 deny: 2 buckets, the largest of 1; 0 met by every request
    by any of subject.scope: 2 keys in 1 table
    worst case: 2 candidate denies, 4 tests
"
    );
    let (code, shown, said) = cambist(dir.path(), &["check", "--index", "--format", "json", "."]);
    assert_eq!((code, &*said), (0, ""));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let findings = shown["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .all(|finding| finding["severity"] != "error")
    );
    let rules = &shown["index"]["default"]["rules"];
    assert_eq!(rules["largest_bucket"], 1);
    assert_eq!(rules["worst_case"]["candidates"], 2);
}

#[test]
fn many_denies_that_nothing_rare_triggers_are_worth_a_word() {
    let denies = |count: usize| {
        (0..count).fold(String::new(), |mut text, number| {
            writeln!(
                text,
                "deny d{number} {{ because \"late\"  when now > 2099-01-{:02}T00:00:00Z }}",
                1 + number % 28
            )
            .unwrap();
            text
        })
    };
    let dir = realm(&denies(64));
    let (code, shown, said) = cambist(dir.path(), &["check", "--index", "."]);
    assert_eq!(code, 0, "{said}");
    assert!(shown.contains("64 met by every request"), "{shown}");
    assert!(!shown.contains("warning: 6"), "{shown}");
    let dir = realm(&denies(65));
    let (code, shown, said) = cambist(dir.path(), &["check", "--index", "."]);
    assert_eq!(code, 0, "{said}");
    assert!(
        shown.contains("  warning: 65 denies are tested for every request, `main.d0`, "),
        "{shown}"
    );
}

#[test]
fn an_index_is_text_or_json_and_needs_rules_that_load() {
    let dir = realm("");
    for format in ["sarif", "github"] {
        let (code, shown, said) =
            cambist(dir.path(), &["check", "--index", "--format", format, "."]);
        assert_eq!((code, &*shown), (2, ""), "{format}");
        assert!(said.contains("`--index` has no SARIF"), "{said}");
    }
    let dir = realm("rule broken {}");
    let (code, shown, _) = cambist(dir.path(), &["check", "--index", "--format", "json", "."]);
    assert_eq!(code, 1);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["index"], Value::Null);
    assert!(!shown["findings"].as_array().unwrap().is_empty());
}
