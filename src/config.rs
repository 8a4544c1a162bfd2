//! The config line: files → sections → domain → one snapshot, or every problem.
//!
//! [`load`] is the same at start and at reload. It touches no network, changes nothing, and gives
//! either a whole snapshot or none.

mod clients;
mod issuers;
mod key_source;
mod keys;
mod outbound;
mod policies;
mod processors;
mod reader;
mod root;
mod settings;
mod source;
pub mod spelling;

use std::path::Path;
use std::sync::Arc;

pub use issuers::presets::{PRESETS, Preset};
pub use policies::MANIFEST;
pub use source::Sources;

use crate::diagnostic::{Diagnostic, Diagnostics, SourceText};
use crate::policy::trial;
use crate::section;
use crate::services::Services;
use crate::snapshot::Snapshot;

/// The root file of a configuration directory.
pub const ROOT: &str = "cambist.yaml";

/// Why nothing was loaded.
#[derive(Debug, Clone)]
pub struct LoadError {
    /// Every problem.
    pub diagnostics: Diagnostics,
    /// The text of the files that they are about.
    pub sources: SourceText,
    /// Every file that was read or missed, for the watch.
    pub files: std::collections::BTreeSet<std::path::PathBuf>,
    /// The hash over what was read.
    pub hash: String,
}

/// Loads a directory, and runs the tests of its policies.
///
/// `current` gives what must outlive a reload: ephemeral keys, and those that still sign or whose tokens may
/// be out.
///
/// # Errors
/// Every problem of the load, none twice; every test that failed.
pub fn load(
    dir: &Path,
    services: &Services,
    current: Option<&Snapshot>,
) -> Result<Snapshot, Box<LoadError>> {
    let mut snapshot = untested(dir, services, current)?;
    let mut problems = Diagnostics::default();
    let trials = std::mem::take(&mut snapshot.realm.trials);
    snapshot.tests = trials.len();
    for trial in trials {
        let set = &snapshot.realm.policies;
        let verdict = trial.run(set, &snapshot.sources, |processor| processor.id.to_string());
        if !verdict.passed() {
            problems.push(trial::failure(&trial, &verdict));
        }
    }
    if !problems.has_errors() {
        return Ok(snapshot);
    }
    problems.extend(snapshot.warnings);
    Err(Box::new(LoadError {
        diagnostics: problems,
        sources: snapshot.sources,
        files: snapshot.files,
        hash: snapshot.hash,
    }))
}

/// Loads a directory, its tests ready to run: for those who want to see every one.
///
/// # Errors
/// Every problem of the load, none twice.
pub fn untested(
    dir: &Path,
    services: &Services,
    current: Option<&Snapshot>,
) -> Result<Snapshot, Box<LoadError>> {
    let mut sources = Sources::new(dir);
    let mut problems = Diagnostics::default();
    if !dir.is_dir() {
        let message = format!("`{}` is not a directory", dir.display());
        let problem = Diagnostic::error("E1007", message);
        problems.push(problem.help("give the directory that holds cambist.yaml"));
    }
    let root: Arc<str> = Arc::from(ROOT);
    // Where the directory is missing, it goes without saying that the file is, which is watched for.
    let read = match problems.is_empty() {
        true => sources.text(ROOT, None, &mut problems),
        false => sources.text(ROOT, None, &mut Diagnostics::default()),
    };
    let parsed = read.and_then(|text| {
        match section::parse(&root, &text) {
            Ok(node) => {
                sources.conceal(ROOT, &node.secrets());
                node.section(&mut problems).map(|mut section| {
                    // What the file as a whole lacks is shown at its first line.
                    section.span.end = section.span.start;
                    section
                })
            }
            Err(found) => {
                // Where secrets stand is not known when the file does not parse: no line is shown.
                problems.extend(found.concealed());
                None
            }
        }
    });
    let snapshot = parsed.and_then(|section| {
        root::snapshot(section, &mut sources, services, current, &mut problems)
    });
    match snapshot {
        Some(parts) if !problems.has_errors() => Ok(Snapshot {
            realm: parts.realm,
            settings: parts.settings,
            hash: sources.hash(),
            loaded_at: services.clock.now(),
            files: sources.files(),
            sources: sources.into_text(),
            tests: 0,
            warnings: problems,
        }),
        _ => {
            let (hash, files) = (sources.hash(), sources.files());
            Err(Box::new(LoadError {
                diagnostics: problems,
                sources: sources.into_text(),
                files,
                hash,
            }))
        }
    }
}
