//! Golden files: the input, a line of dashes, what must come out.
//!
//! `UPDATE_GOLDEN=1` writes the second part; without it, a difference fails.

use std::fs;
use std::path::{Path, PathBuf};

/// What parts the input from the expected output.
pub const RULER: &str = "----------";

/// One file, read.
pub struct Golden {
    pub path: PathBuf,
    pub input: String,
    pub expected: String,
}

/// All files of one directory of `tests/data/policy`, by name.
pub fn all(dir: &str) -> Vec<Golden> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/policy")
        .join(dir);
    let mut paths: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "policy"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", root.display());
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Golden {
    let text = fs::read_to_string(&path).unwrap();
    let ruler = format!("{RULER}\n");
    let (input, expected) = match text.split_once(&ruler) {
        Some((input, expected)) => (input.to_owned(), expected.to_owned()),
        None => (text, String::new()),
    };
    Golden {
        path,
        input,
        expected,
    }
}

/// Renders every file of a directory and holds it against what the file expects.
pub fn golden(dir: &str, render: impl Fn(&str) -> String) {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut failures = Vec::new();
    for file in all(dir) {
        let actual = format!("{}\n", render(&file.input).trim_end());
        if update {
            if actual != file.expected {
                fs::write(&file.path, format!("{}{RULER}\n{actual}", file.input)).unwrap();
            }
        } else if file.expected.trim().is_empty() {
            failures.push(format!("{}: expects nothing", file.path.display()));
        } else if actual != file.expected {
            let diff = diff(&file.expected, &actual);
            failures.push(format!("{}\n{diff}", file.path.display()));
        }
    }
    assert!(
        failures.is_empty(),
        "{} differ (UPDATE_GOLDEN=1 rewrites them)\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Lines that left (`-`) and came (`+`) between the common start and the common end.
fn diff(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let start = old.iter().zip(&new).take_while(same).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(same)
        .count();
    let gone = old_rest[..old_rest.len() - end]
        .iter()
        .map(|l| format!("- {l}\n"));
    let came = new_rest[..new_rest.len() - end]
        .iter()
        .map(|l| format!("+ {l}\n"));
    let context = old[start.saturating_sub(2)..start]
        .iter()
        .map(|l| format!("  {l}\n"));
    context.chain(gone).chain(came).collect()
}
