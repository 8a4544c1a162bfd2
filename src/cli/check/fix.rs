//! `cambist check --fix`: the only place that writes into a configuration directory.
//!
//! A file is replaced whole or not at all, only inside the directory, and only while it still holds what
//! the findings are about. Files that cannot be written are named; nothing else is lost by that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Checked, complain, found};
use crate::cli::replace;
use crate::config::MANIFEST;
use crate::diagnostic::{Diagnostics, Replacement, SourceText};

/// Loads, fixes, and loads again, until a pass changes nothing. Gives the last load.
pub(super) fn until_nothing_changes(dir: &Path, load: impl Fn() -> Checked) -> Checked {
    let mut failed = BTreeSet::new();
    let mut fixed = BTreeSet::new();
    let mut loaded = load();
    // One fix may uncover the next: a parse shows one slip at a time. Every pass takes findings away, but
    // for fixes that undo each other; a text that was here before ends it.
    let mut states: BTreeSet<Vec<String>> = BTreeSet::new();
    loop {
        let (findings, sources) = found(&loaded);
        let planned = plan(findings, sources);
        let state = planned
            .keys()
            .map(|file| format!("{file} {}", sources.text(file).unwrap_or_default()))
            .collect();
        if !states.insert(state) {
            break;
        }
        let mut changed = false;
        for (file, changes) in planned {
            if failed.contains(&file) {
                continue;
            }
            match rewrite(dir, &file, &changes, sources) {
                Ok(()) => {
                    changed = true;
                    changes.iter().for_each(|change| change.say(sources));
                    fixed.insert(file);
                }
                Err(reason) => {
                    complain(&format!("not fixed {}: {reason}\n", sources.shown(&file)));
                    failed.insert(file);
                }
            }
        }
        if !changed {
            break;
        }
        loaded = load();
    }
    if fixed.iter().any(|file| file.ends_with(".policy")) && dir.join(MANIFEST).exists() {
        complain(&format!(
            "{MANIFEST} must be written anew: `sha256sum *.policy > {MANIFEST}`\n"
        ));
    }
    loaded
}

/// One finding's only fix.
struct Change {
    title: String,
    edits: Vec<Replacement>,
}

impl Change {
    /// `fixed FILE:LINE: title`.
    fn say(&self, sources: &SourceText) {
        if let Some(first) = self.edits.first() {
            let (line, _) = sources.line_column(&first.span).unwrap_or_default();
            let file = sources.shown(&first.span.file);
            complain(&format!("fixed {file}:{line}: {}\n", self.title));
        }
    }
}

/// What to change in which file: of fixes that overlap, the first; the others may come in a later pass.
fn plan(findings: &Diagnostics, sources: &SourceText) -> BTreeMap<Arc<str>, Vec<Change>> {
    let mut files: BTreeMap<Arc<str>, Vec<Change>> = BTreeMap::new();
    for finding in findings.sorted() {
        let Some((fix, edits)) = finding.only_offer(sources) else {
            continue;
        };
        let Some(first) = edits.first() else { continue };
        let changes = files.entry(Arc::clone(&first.span.file)).or_default();
        let mut others = changes.iter().flat_map(|change| &change.edits);
        if !others.any(|other| edits.iter().any(|edit| edit.overlaps(other))) {
            let title = fix.title.clone();
            changes.push(Change { title, edits });
        }
    }
    files
}

/// Replaces a file with its fixed text.
fn rewrite(dir: &Path, file: &str, changes: &[Change], sources: &SourceText) -> Result<(), String> {
    let path = inside(dir, file)?;
    let mut edits: Vec<&Replacement> = changes.iter().flat_map(|change| &change.edits).collect();
    edits.sort();
    let read = sources.text(file).unwrap_or_default();
    replace::rewrite(&path, |now| {
        let now = std::str::from_utf8(now).ok()?;
        if !same(read, now, &edits) {
            return None;
        }
        let mut out = now.to_owned();
        // From the end, so that the places before stay where they are.
        for edit in edits.into_iter().rev() {
            out.replace_range(edit.span.start..edit.span.end, &edit.text);
        }
        Some(out)
    })
}

/// Where a file really is, if that is inside the directory.
fn inside(dir: &Path, file: &str) -> Result<PathBuf, String> {
    let said = |error: std::io::Error| error.to_string();
    let path = dir.join(file).canonicalize().map_err(said)?;
    if !path.starts_with(dir.canonicalize().map_err(said)?) {
        return Err("it is outside of the configuration directory".to_owned());
    }
    Ok(path)
}

/// Whether a file still holds what was read. Secrets were starred out when it was read and may differ;
/// what an edit replaces may not.
fn same(read: &str, now: &str, edits: &[&Replacement]) -> bool {
    read.len() == now.len()
        && read
            .bytes()
            .zip(now.bytes())
            .all(|(read, now)| read == now || read == b'*')
        && edits.iter().all(|edit| {
            let range = edit.span.start..edit.span.end;
            now.get(range.clone()).is_some() && now.get(range.clone()) == read.get(range)
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::diagnostic::{Diagnostic, Span};

    fn finding(file: &Arc<str>, range: std::ops::Range<usize>, replacement: &str) -> Diagnostic {
        let span = Span::new(file, range);
        let message = format!("{span:?} {replacement}");
        let title = format!("write {replacement}");
        Diagnostic::error("E1006", message)
            .at(&span)
            .fix(title, &span, replacement)
    }

    fn titles(files: &BTreeMap<Arc<str>, Vec<Change>>) -> Vec<&str> {
        let all = files.values().flatten();
        all.map(|change| change.title.as_str()).collect()
    }

    #[test]
    fn of_fixes_that_overlap_the_first_is_made_and_of_several_for_one_finding_none() {
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        let mut sources = SourceText::default();
        sources.insert(Arc::clone(&a), Arc::from("0123456789"));
        sources.insert(Arc::clone(&b), Arc::from("0123456789"));
        let choice = finding(&a, 8..9, "x").fix("write y", &Span::new(&a, 8..9), "y");
        let findings: Diagnostics = [
            finding(&a, 2..5, "second"),
            finding(&a, 1..3, "first"),
            finding(&a, 5..6, "third"),
            finding(&b, 2..5, "other file"),
            finding(&a, 7..7, "inserted"),
            finding(&a, 7..7, "inserted too"),
            finding(&a, 9..10, "hidden").concealed(),
            finding(&a, 9..11, "beyond the end"),
            choice,
        ]
        .into_iter()
        .collect();
        let planned = plan(&findings, &sources);
        assert_eq!(
            titles(&planned),
            [
                "write first",
                "write third",
                "write inserted",
                "write other file"
            ]
        );
    }

    #[test]
    fn a_file_that_has_changed_since_it_was_read_is_left_alone() {
        let dir = std::env::temp_dir().join(format!("cambist-fix-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file: Arc<str> = Arc::from("f");
        let on_disk = |text: &str| fs::write(dir.join("f"), text).unwrap();
        let edits = vec![Replacement {
            span: Span::new(&file, 0..1),
            text: "xyz".to_owned(),
        }];
        let change = [Change {
            title: String::new(),
            edits,
        }];
        let mut sources = SourceText::default();
        // A secret, starred out when it was read.
        sources.insert(Arc::clone(&file), Arc::from("a: ****\n"));
        let refused = Err("it has changed since it was read".to_owned());
        for changed in ["b: \"s\"\n", "a: \"s3cr\"\n", "a; 1234\n", ""] {
            on_disk(changed);
            assert_eq!(rewrite(&dir, "f", &change, &sources), refused, "{changed}");
            assert_eq!(fs::read_to_string(dir.join("f")).unwrap(), changed);
        }
        on_disk("a: s3cr\n");
        assert_eq!(rewrite(&dir, "f", &change, &sources), Ok(()));
        assert_eq!(fs::read_to_string(dir.join("f")).unwrap(), "xyz: s3cr\n");
        // What was starred out itself is never replaced.
        sources.insert(Arc::clone(&file), Arc::from("****: x\n"));
        on_disk("s3cr: x\n");
        assert_eq!(rewrite(&dir, "f", &change, &sources), refused);
        fs::remove_dir_all(&dir).unwrap();
    }
}
