//! The config line: files → sections → domain → one snapshot, or every problem.
//!
//! [`load`] is the same at start and at reload. It touches no network, changes nothing, and gives
//! a whole snapshot or none: each realm is either all of what is on disk, or all of what ran.

mod clients;
mod issuers;
mod key_source;
mod keys;
mod outbound;
mod policies;
mod processors;
mod reader;
mod realm;
mod root;
pub mod schema;
mod settings;
mod source;
pub mod spelling;
mod tls;

use std::path::Path;

pub use issuers::presets::{PRESETS, Preset};
pub use key_source::{well_known_oauth, well_known_openid};
pub use policies::MANIFEST;
pub use source::Sources;

use crate::diagnostic::{Diagnostic, Diagnostics, SourceText};
use crate::oauth::id::RealmName;
use crate::section::{self, Section};
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
    /// The hash of each file and variable, by its name: what a change is about. For comparisons only.
    pub contents: std::collections::BTreeMap<String, String>,
}

impl LoadError {
    fn of(sources: Sources, diagnostics: Diagnostics) -> Box<Self> {
        let (hash, files) = (sources.hash(), sources.files());
        Box::new(Self {
            contents: sources.contents(),
            diagnostics,
            sources: sources.into_text(),
            files,
            hash,
        })
    }
}

/// Realms that are not what is on disk, since that cannot be loaded.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Which.
    pub realms: Vec<RealmName>,
    /// Why.
    pub error: Box<LoadError>,
}

/// What can go live, and what of the disk cannot.
#[derive(Debug)]
pub struct Loaded {
    /// What can. A realm that is rejected is in it as it runs, if it does.
    pub snapshot: Snapshot,
    /// What cannot.
    pub rejected: Option<Rejected>,
    /// The hash over what is on disk, rejected realms included.
    pub disk: String,
}

impl Loaded {
    /// The same, where no realm was rejected.
    ///
    /// # Errors
    /// Why realms were rejected, and what else there is to say.
    pub fn all(self) -> Result<Self, Box<LoadError>> {
        match self.rejected {
            None => Ok(self),
            Some(mut rejected) => {
                rejected.error.diagnostics.extend(self.snapshot.warnings);
                Err(rejected.error)
            }
        }
    }

    /// The snapshot, where no realm was rejected.
    ///
    /// # Errors
    /// See [`all`](Self::all).
    pub fn whole(self) -> Result<Snapshot, Box<LoadError>> {
        self.all().map(|loaded| loaded.snapshot)
    }
}

/// What becomes of the tests that stand in policies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tests {
    /// They are run; where one fails, its realm is not loaded.
    Run,
    /// They are left in the snapshot, for those who want to see every one.
    Keep,
}

/// Loads a directory, and all realms that it names.
///
/// `current` gives what must outlive a reload: ephemeral keys, and those that still sign or whose tokens may
/// be out; and what goes on in place of a realm that is rejected.
///
/// # Errors
/// Every problem, none twice, where nothing can go live: the root itself cannot be read, or none of its realms.
pub fn load(
    dir: &Path,
    services: &Services,
    current: Option<&Snapshot>,
    tests: Tests,
) -> Result<Loaded, Box<LoadError>> {
    let mut sources = Sources::new(dir);
    let mut problems = Diagnostics::default();
    if !dir.is_dir() {
        let message = format!("`{}` is not a directory", dir.display());
        let problem = Diagnostic::error("E1007", message);
        problems.push(problem.help("give the directory that holds cambist.yaml"));
    }
    // Where the directory is missing, it goes without saying that the file is, which is watched for.
    let read = match problems.is_empty() {
        true => sources.text(ROOT, None, &mut problems),
        false => sources.text(ROOT, None, &mut Diagnostics::default()),
    };
    match read.and_then(|text| section(ROOT, &text, &mut sources, &mut problems)) {
        Some(section) => root::load(dir, section, sources, services, current, tests),
        None => Err(LoadError::of(sources, problems)),
    }
}

/// The whole of a file, its secrets starred out in excerpts.
fn section(
    name: &str,
    text: &str,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Option<Section> {
    match section::parse(&sources.label(name), text) {
        Ok(node) => {
            sources.conceal(name, &node.secrets());
            let mut section = node.section(problems)?;
            // What the file as a whole lacks is shown at its first line.
            section.span.end = section.span.start;
            Some(section)
        }
        Err(found) => {
            // Where secrets stand is not known when the file does not parse: no line is shown.
            problems.extend(found.concealed());
            None
        }
    }
}
