//! The table of codes, its pages, and whether the pages tell the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::whole;
use cambist::clock::Clock;
use cambist::config::PRESETS;
use cambist::diagnostic::codes::CODES;
use cambist::services::Services;

use super::{POLICY, REALM, cambist, realm};

/// Codes that have a page before the sources have them.
const COMING: &[&str] = &[];

/// Pages whose examples this realm cannot show: a character that no page should hold, the other spelling of
/// a policy, processors that no provider of this build makes, more tests than fit on a page,
/// commands of a shell, what needs a policy beside it (of many hostile patterns, for one), and what is only
/// found where somebody is asked.
const NOT_SHOWN: &[&str] = &[
    "E0104", "E0105", "E0612", "E0614", "E0901", "E0902", "E1016", "E1019", "E1020", "E1021",
    "E1023", "E1040", "E1041",
];

/// Every `"E0123"` in the sources but those of the table itself.
fn codes_of_the_sources() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut codes = BTreeSet::new();
    let mut open: Vec<PathBuf> = vec![root];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs")
                && !path.ends_with("diagnostic/codes.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                let literals = text.match_indices("\"E").filter_map(|(at, _)| {
                    let code = text.get(at + 1..at + 6)?;
                    let digits = code.bytes().skip(1).all(|b| b.is_ascii_digit());
                    (digits && text[at + 6..].starts_with('"')).then(|| code.to_owned())
                });
                codes.extend(literals);
            }
        }
    }
    codes
}

#[test]
fn the_codes_of_the_sources_and_of_the_table_are_the_same() {
    let sources = codes_of_the_sources();
    assert!(sources.len() > 50, "the sources were not read");
    let table: BTreeSet<String> = CODES.iter().map(|entry| entry.code.to_owned()).collect();
    let coming: BTreeSet<String> = COMING.iter().map(|code| (*code).to_owned()).collect();
    let without_page: Vec<_> = sources.difference(&table).collect();
    assert!(without_page.is_empty(), "no page: {without_page:?}");
    let unused: BTreeSet<String> = table.difference(&sources).cloned().collect();
    let unused: Vec<_> = unused.difference(&coming).collect();
    assert!(unused.is_empty(), "no finding has these codes: {unused:?}");
}

#[test]
fn every_page_begins_with_its_code_and_title_and_shows_wrong_and_right() {
    assert!(CODES.is_sorted_by(|one, next| one.code < next.code));
    for entry in CODES {
        let code = entry.code;
        let title = format!("# {code}: {}\n\n", entry.title);
        assert!(entry.page.starts_with(&title), "{code}: {}", entry.page);
        assert!(entry.page.ends_with("```\n"), "{code}");
        assert!(!entry.title.ends_with('.'), "{code}");
        let (wrong, right) = (example(entry.page, "Wrong:"), example(entry.page, "Right:"));
        assert_ne!(wrong, right, "{code}");
    }
}

/// The language and the text of the fence that follows a word.
fn example<'a>(page: &'a str, word: &str) -> (&'a str, &'a str) {
    let (_, rest) = page.split_once(&format!("\n{word}\n\n```")).unwrap();
    let (language, rest) = rest.split_once('\n').unwrap();
    (language, rest.split_once("```").unwrap().0)
}

/// The codes that a load of an example finds: a whole policy file, or keys of cambist.yaml. `None` where the
/// example is neither.
fn found((language, text): (&str, &str)) -> Option<BTreeSet<&'static str>> {
    let dir = match language {
        "policy" if text.starts_with("policy ") => realm(&[], text),
        // A policy in its YAML spelling is no part of cambist.yaml.
        "yaml" if !text.starts_with("policy:") => {
            // The example stands in place of the realm's own keys.
            let keys = text.lines().filter(|line| !line.starts_with(' '));
            let keys: Vec<&str> = keys.map(|line| line.split_once(':').unwrap().0).collect();
            assert!(
                keys.iter()
                    .all(
                        |key| ["accept_unknown", "audit", "token_path", "hosts"].contains(key)
                            || REALM.iter().any(|(known, _)| known == key)
                    ),
                "{keys:?}"
            );
            let without: Vec<_> = keys.iter().map(|key| (*key, None)).collect();
            let dir = realm(&without, POLICY);
            let root = dir.path().join("cambist.yaml");
            let yaml = fs::read_to_string(&root).unwrap();
            fs::write(root, yaml + text).unwrap();
            dir
        }
        _ => return None,
    };
    let services = Services::new(Clock::system()).unwrap();
    let findings = match whole(dir.path(), &services) {
        Ok(snapshot) => snapshot.warnings,
        Err(error) => error.diagnostics,
    };
    Some(findings.sorted().iter().map(|item| item.code).collect())
}

#[test]
fn what_a_page_calls_wrong_has_its_code_and_what_it_calls_right_has_not() {
    let mut false_pages = BTreeMap::new();
    let mut not_shown = Vec::new();
    for entry in CODES.iter().filter(|entry| !COMING.contains(&entry.code)) {
        let wrong = found(example(entry.page, "Wrong:"));
        let right = found(example(entry.page, "Right:"));
        match (wrong, right) {
            (Some(wrong), Some(right)) => {
                if !wrong.contains(entry.code) || right.contains(entry.code) {
                    false_pages.insert(entry.code, (wrong, right));
                }
            }
            _ => not_shown.push(entry.code),
        }
    }
    NOT_SHOWN
        .iter()
        .for_each(|code| drop(false_pages.remove(code)));
    assert!(false_pages.is_empty(), "{false_pages:#?}");
    not_shown.retain(|code| !NOT_SHOWN.contains(code));
    assert!(not_shown.is_empty(), "no whole example: {not_shown:?}");
}

/// So that nobody copies a mistake from a page.
#[test]
fn policies_that_a_page_calls_right_give_no_finding_at_all() {
    let mut others = BTreeMap::new();
    for entry in CODES.iter().filter(|entry| !COMING.contains(&entry.code)) {
        let right = example(entry.page, "Right:");
        if right.0 == "policy"
            && !NOT_SHOWN.contains(&entry.code)
            && let Some(mut codes) = found(right)
        {
            // The realm's key is made anew at every start; what goes beyond is always said aloud.
            codes.remove("E1012");
            codes.remove("E0407");
            if !codes.is_empty() {
                others.insert(entry.code, codes);
            }
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn reference_shows_what_a_preset_says_and_why() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, out, err) = cambist(here, &["reference", "presets"]);
    let lines = PRESETS.iter().map(|preset| {
        let first = preset.text.lines().next().unwrap();
        format!("{}  {}\n", preset.name, first.trim_start_matches("# "))
    });
    assert_eq!((code, out, err), (0, lines.collect(), String::new()));
    for preset in PRESETS {
        let (code, out, _) = cambist(here, &["reference", preset.name]);
        assert_eq!((code, &*out), (0, preset.text));
        assert!(out.starts_with("# "), "{}: say what it is for", preset.name);
    }
}

#[test]
fn reference_lists_all_codes_and_prints_one_page() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, out, err) = cambist(here, &["reference"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (topics, codes) = out.split_once("\n\n").unwrap();
    for line in topics.lines() {
        let (topic, about) = line.split_once(' ').unwrap();
        assert!(!about.trim().is_empty(), "{line}");
        let (code, _, err) = cambist(here, &["reference", topic]);
        assert_eq!((code, err.as_str()), (0, ""), "{topic}");
    }
    let listed: Vec<&str> = codes.lines().collect();
    let table: Vec<String> = CODES
        .iter()
        .map(|entry| format!("{}  {}", entry.code, entry.title))
        .collect();
    assert_eq!(listed, table);
    for spelled in ["E0204", "e0204"] {
        let (code, out, err) = cambist(here, &["reference", spelled]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.starts_with("# E0204: unknown attribute\n"), "{out}");
    }
    let (code, out, err) = cambist(here, &["reference", "E02044"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "error: no finding has the code `E02044`\nhelp: did you mean `E0204`?\n\
         help: `cambist reference` lists all topics and codes\n"
    );
    let (code, _, err) = cambist(here, &["reference", "overlap"]);
    assert_eq!(code, 2);
    assert!(!err.contains("did you mean"), "{err}");
}
