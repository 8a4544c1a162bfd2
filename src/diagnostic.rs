//! One form for everything wrong with a file: code, message, place, help.
//!
//! The command line, the log, `/status` and later the editors all print the same thing.

pub mod codes;

mod fix;

mod formats;

mod render;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use fix::{Edit, Fix, Replacement};
pub use formats::Format;
pub use render::Style;

/// A place in a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file, as named relative to the realm's directory.
    pub file: Arc<str>,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// A place in a file.
    #[must_use]
    pub fn new(file: &Arc<str>, range: Range<usize>) -> Self {
        Self {
            file: Arc::clone(file),
            start: range.start,
            end: range.end,
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.file, self.start, self.end)
    }
}

/// Whether a finding stops a load.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// A stable code: `E0204`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop, the user's words in backticks.
    pub message: String,
    /// Where, if a file is at fault.
    pub span: Option<Span>,
    /// What to say at that place.
    pub label: Option<String>,
    /// Other places that matter.
    pub related: Vec<(Span, String)>,
    /// What to do.
    pub help: Vec<String>,
    /// What else is known of it.
    pub notes: Vec<String>,
    /// What a machine could do, if somebody chooses it or there is only one.
    pub fixes: Vec<Fix>,
    /// Whether to name the place without showing its line, which may hold what nobody should see.
    pub concealed: bool,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: None,
            related: Vec::new(),
            help: Vec::new(),
            notes: Vec::new(),
            fixes: Vec::new(),
            concealed: false,
        }
    }

    /// A warning without a place.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, span: &Span) -> Self {
        self.span = Some(span.clone());
        self
    }

    /// Adds what to say at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn related(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.related.push((span.clone(), label.into()));
        self
    }

    /// Names the place without showing its line.
    #[must_use]
    pub fn concealed(mut self) -> Self {
        self.concealed = true;
        self
    }

    /// Adds a line of what is known.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a line of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds "did you mean" when a known name is close to what was written, and the known names where
    /// there are few. What was meant is the author's to say: a name that is near another may be one that
    /// is not declared yet, and to put the other in its place could give its rights away.
    #[must_use]
    pub fn suggest<'a>(self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match close(written, &known).as_slice() {
            [] if (1..=16).contains(&known.len()) => {
                let list: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
                self.help(format!("known here: {}", list.join(", ")))
            }
            [] => self,
            [(_, first), ..] => self.help(format!("did you mean `{first}`?")),
        }
    }

    /// The same for words of the language and of the configuration, which nobody declares: one that is a
    /// single slip away, and the only one, can be put in its place by a machine.
    #[must_use]
    pub fn correct<'a>(self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let suggested = self.suggest(written, known.iter().copied());
        match close(written, &known).as_slice() {
            [(1, first), others @ ..] if others.iter().all(|(other, _)| *other > 2) => {
                suggested.with_word_fix(written, first)
            }
            _ => suggested,
        }
    }
}

/// The known words that may have been meant, each once, with how many letters they are away; the closest
/// first.
#[must_use]
pub fn close<'a>(written: &str, known: &[&'a str]) -> Vec<(usize, &'a str)> {
    // Of paths, what differs counts: a long beginning in common makes nothing alike.
    let last = |word: &str| {
        let at = word.rfind('.').map_or(0, |dot| dot + 1);
        let same = written
            .get(..at)
            .is_some_and(|start| word.starts_with(start));
        word.len() - if same { at } else { 0 }
    };
    let distance =
        |word: &str| strsim::damerau_levenshtein(&written.to_lowercase(), &word.to_lowercase());
    let mut close: Vec<(usize, &str)> = known
        .iter()
        .map(|word| (distance(word), *word))
        .filter(|(distance, word)| *distance <= 1 + last(word) / 4)
        .collect();
    close.sort_unstable();
    close.dedup();
    close
}

/// Everything found, and the text of the files that it is about.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    /// What says the same at the same place; a file may have very many mistakes.
    seen: HashSet<(&'static str, Option<Span>, String)>,
}

impl Diagnostics {
    /// Adds a finding, unless the very same one is there already.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let key = (
            diagnostic.code,
            diagnostic.span.clone(),
            diagnostic.message.clone(),
        );
        if self.seen.insert(key) {
            self.items.push(diagnostic);
        }
    }

    /// Adds all of another list.
    pub fn extend(&mut self, other: Self) {
        other.items.into_iter().for_each(|item| self.push(item));
    }

    /// The same, each without its line.
    #[must_use]
    pub fn concealed(self) -> Self {
        self.items.into_iter().map(Diagnostic::concealed).collect()
    }

    /// Whether any of them stops a load.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.items
            .iter()
            .any(|item| item.severity == Severity::Error)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The findings, by file and place; those without a place first.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut items: Vec<&Diagnostic> = self.items.iter().collect();
        items.sort_by(|a, b| (&a.span, a.code).cmp(&(&b.span, b.code)));
        items
    }

    /// How many errors and warnings.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let errors = self
            .items
            .iter()
            .filter(|item| item.severity == Severity::Error)
            .count();
        (errors, self.items.len() - errors)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::from_iter([diagnostic])
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(items: I) -> Self {
        let mut all = Self::default();
        items.into_iter().for_each(|item| all.push(item));
        all
    }
}

/// The text of files, for excerpts and line numbers. Files that hold secrets are never added.
#[derive(Clone, Debug, Default)]
pub struct SourceText {
    files: BTreeMap<Arc<str>, File>,
    /// The directory that the files' names are relative to, as the user gave it.
    directory: String,
    /// The file that what concerns the whole directory is about.
    root: Option<Arc<str>>,
}

/// A file's text, and where its lines begin.
#[derive(Clone, Debug)]
struct File {
    text: Arc<str>,
    lines: Vec<usize>,
}

impl SourceText {
    /// No files yet, in a directory; `root` is the file that what concerns all of it is about.
    #[must_use]
    pub fn of_directory(directory: &std::path::Path, root: &str) -> Self {
        Self {
            files: BTreeMap::new(),
            directory: directory.display().to_string(),
            root: Some(Arc::from(root)),
        }
    }

    /// A file's name for people: with its directory, so that it can be opened from here.
    #[must_use]
    pub fn shown(&self, file: &str) -> String {
        if self.directory.is_empty() || file.starts_with('/') {
            file.to_owned()
        } else {
            format!("{}/{file}", self.directory.trim_end_matches('/'))
        }
    }

    /// The directory that files' names are relative to, if they are of one.
    #[must_use]
    pub fn directory(&self) -> Option<&str> {
        (!self.directory.is_empty()).then_some(&*self.directory)
    }

    /// Where a finding stands: one that has no place stands at the beginning of the root file.
    #[must_use]
    pub fn whereabouts(&self, finding: &Diagnostic) -> Option<Span> {
        let root = || Some(Span::new(self.root.as_ref()?, 0..0));
        finding.span.clone().or_else(root)
    }

    /// Adds a file.
    pub fn insert(&mut self, file: Arc<str>, text: Arc<str>) {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        self.files.insert(file, File { text, lines });
    }

    /// Adds all files of another one, whose names are relative to the same directory.
    pub fn absorb(&mut self, other: Self) {
        self.files.extend(other.files);
    }

    /// A file's text.
    #[must_use]
    pub fn text(&self, file: &str) -> Option<&str> {
        self.files.get(file).map(|file| &*file.text)
    }

    /// The line and column (both from 1, the column in characters) where a span starts.
    #[must_use]
    pub fn line_column(&self, span: &Span) -> Option<(usize, usize)> {
        self.position(&span.file, span.start)
    }

    /// The line and column one past the end of a span.
    #[must_use]
    pub fn end_line_column(&self, span: &Span) -> Option<(usize, usize)> {
        self.position(&span.file, span.end)
    }

    fn position(&self, file: &str, at: usize) -> Option<(usize, usize)> {
        let file = self.files.get(file)?;
        let line = file.lines.partition_point(|start| *start <= at);
        let start = *file.lines.get(line.checked_sub(1)?)?;
        let column = file.text.get(start..at)?.chars().count() + 1;
        Some((line, column))
    }

    /// `file:line`, as rules are named to people.
    #[must_use]
    pub fn place(&self, span: &Span) -> String {
        match self.line_column(span) {
            Some((line, _)) => format!("{}:{line}", span.file),
            None => span.file.to_string(),
        }
    }
}
