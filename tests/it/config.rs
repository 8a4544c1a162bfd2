//! Directories → findings. A case is one file in `tests/data/config`: files under `-- NAME` lines, a
//! line of dashes, and what a load says. `{sample}` in a case stands for the shipped file of that name,
//! `{data/tls/one.crt}` for that file of the tests' data.
//! `UPDATE_GOLDEN=1 cargo test` rewrites what is behind the dashes.

use std::fs;
use std::path::Path;

use crate::support::whole;
use cambist::clock::Clock;
use cambist::config;
use cambist::diagnostic::Style;
use cambist::services::Services;

const DASHES: &str = "\n----------\n";

fn load(dir: &Path) -> String {
    let services = Services::new(Clock::system()).unwrap();
    let said = match whole(dir, &services) {
        Ok(snapshot) => {
            let (rules, denies) = snapshot.counts();
            let warnings = snapshot.warnings.render(&snapshot.sources, Style::Plain);
            let realms: Vec<&str> = snapshot.realms.keys().map(|name| name.as_str()).collect();
            let realms = match realms.as_slice() {
                ["default"] => String::new(),
                names => format!(", realms {}", names.join(" ")),
            };
            format!("{warnings}ok: rules {rules}, denies {denies}{realms}\n")
        }
        Err(error) => error.diagnostics.render(&error.sources, Style::Plain),
    };
    said.replace(&format!("{}/", dir.display()), "")
        .trim_end()
        .to_owned()
        + "\n"
}

/// Writes the files of a case.
pub fn write_files(dir: &Path, input: &str) {
    let mut name: Option<&str> = None;
    let mut text = String::new();
    let flush = |name: Option<&str>, text: &str| {
        if let Some(name) = name {
            let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("policies")
                .join(name);
            let text = if text.contains("{sample}") {
                text.replace("{sample}\n", &fs::read_to_string(shipped).unwrap())
            } else {
                text.to_owned()
            };
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    };
    for line in input.lines() {
        if let Some(name) = line
            .strip_prefix("{data/")
            .and_then(|rest| rest.strip_suffix('}'))
        {
            let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
            text.push_str(&fs::read_to_string(data.join(name)).unwrap());
            continue;
        }
        if let Some(next) = line.strip_prefix("-- ") {
            flush(name, &text);
            (name, text) = (Some(next), String::new());
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    flush(name, &text);
}

#[test]
fn every_case_says_what_it_should() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(cases).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let (input, expected) = text.split_once(DASHES).unwrap_or((text.trim_end(), ""));
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), input);
        let said = load(dir.path());
        count += 1;
        if update {
            fs::write(&path, format!("{input}{DASHES}{said}")).unwrap();
        } else if said != expected || expected.is_empty() {
            wrong.push(format!(
                "{}\nexpected:\n{expected}\nsaid:\n{said}",
                path.display()
            ));
        }
    }
    assert!(count >= 30, "only {count} cases were found");
    assert!(
        wrong.is_empty(),
        "{} cases differ\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn files_that_are_none_are_refused_and_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("cambist.yaml")).unwrap();
    assert!(load(dir.path()).contains("E1007"));
    fs::remove_dir(dir.path().join("cambist.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("cambist.yaml")).unwrap();
    assert!(load(dir.path()).contains("not a regular file"));
    fs::remove_file(dir.path().join("cambist.yaml")).unwrap();
    std::os::unix::fs::symlink("cambist.yaml", dir.path().join("cambist.yaml")).unwrap();
    assert!(load(dir.path()).contains("E1007"));
    fs::remove_file(dir.path().join("cambist.yaml")).unwrap();
    assert!(load(dir.path()).contains("there is no such file"));
    fs::write(dir.path().join("cambist.yaml"), b"issuer: \xff\n").unwrap();
    assert!(load(dir.path()).contains("not UTF-8"));
}

#[test]
fn a_load_is_the_same_whatever_the_order_of_files() {
    let services = Services::new(Clock::system()).unwrap();
    let sample = include_str!("../../policies/cambist.yaml");
    let rule = |module: &str| {
        // The tests speak of the rules of one module.
        let text = include_str!("../../policies/main.policy");
        text.split("\ntest ")
            .next()
            .unwrap()
            .replace("module main", &format!("module {module}"))
    };
    let mut hashes = Vec::new();
    for names in [["a.policy", "b.policy"], ["b.policy", "a.policy"]] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cambist.yaml"), sample).unwrap();
        for name in names {
            fs::write(dir.path().join(name), rule(&name.replace(".policy", ""))).unwrap();
        }
        let snapshot = whole(dir.path(), &services).unwrap();
        assert_eq!(snapshot.first().policies.counts(), (2, 2));
        let ids: Vec<String> = snapshot
            .first()
            .policies
            .rules()
            .iter()
            .map(|rule| rule.id.to_string())
            .collect();
        hashes.push(ids);
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn a_directory_may_be_spelled_in_any_way_and_the_hash_is_the_same() {
    let services = Services::new(Clock::system()).unwrap();
    let root = tempfile::tempdir().unwrap();
    let mut hashes = std::collections::BTreeSet::new();
    for name in ["plain", ".hidden", "with[1]brackets", "with space", "q?*"] {
        let dir = root.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(
            dir.join("cambist.yaml"),
            include_str!("../../policies/cambist.yaml"),
        )
        .unwrap();
        fs::write(
            dir.join("main.policy"),
            include_str!("../../policies/main.policy"),
        )
        .unwrap();
        for spelled in [
            dir.clone(),
            dir.join("."),
            dir.join(""),
            dir.join("../").join(name),
        ] {
            let loaded = whole(&spelled, &services);
            let snapshot =
                loaded.unwrap_or_else(|e| panic!("{}: {:?}", spelled.display(), e.diagnostics));
            assert_eq!(
                snapshot.first().policies.counts(),
                (1, 1),
                "{}",
                spelled.display()
            );
            hashes.insert(snapshot.hash);
        }
    }
    assert_eq!(hashes.len(), 1);
    // Files beside the directory can be named too.
    let dir = root.path().join("plain");
    let yaml = fs::read_to_string(dir.join("cambist.yaml")).unwrap();
    fs::write(
        dir.join("cambist.yaml"),
        yaml.replace("*.policy", "../.hidden/../q[?][*]/*.policy"),
    )
    .unwrap();
    let found = whole(&dir, &services);
    assert!(
        found.is_err(),
        "a hidden directory below is not looked into"
    );
    let yaml = fs::read_to_string(dir.join("cambist.yaml")).unwrap();
    fs::write(
        dir.join("cambist.yaml"),
        yaml.replace("../.hidden/../", "../"),
    )
    .unwrap();
    assert_eq!(
        whole(&dir, &services).unwrap().first().policies.counts(),
        (1, 1)
    );
}

#[test]
fn a_file_is_read_once_so_that_what_was_checked_is_what_is_used() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "one").unwrap();
    let mut sources = config::Sources::new(dir.path());
    let mut problems = cambist::diagnostic::Diagnostics::default();
    assert_eq!(**sources.bytes("a", None, &mut problems).unwrap(), *b"one");
    fs::write(dir.path().join("a"), "two").unwrap();
    assert_eq!(**sources.bytes("a", None, &mut problems).unwrap(), *b"one");
    assert_eq!(&*sources.text("a", None, &mut problems).unwrap(), "one");
    // Also that there was none.
    assert!(sources.bytes("b", None, &mut problems).is_none());
    fs::write(dir.path().join("b"), "late").unwrap();
    assert!(sources.bytes("b", None, &mut problems).is_none());
}
