//! Files and environment, read once per load. The only part of a load that does I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ROOT;
use crate::diagnostic::{Diagnostic, Diagnostics, SourceText, Span};
use crate::jose::sha256_base64url;
use crate::oauth::secret::Secret;
use crate::section::MAX_FILE;
use zeroize::Zeroizing;

/// Everything that one load reads. A file is read once, however often it is asked for: what was checked
/// is what is used.
#[derive(Debug)]
pub struct Sources {
    dir: PathBuf,
    /// What goes before the files' names in findings: the realm's directory as the root names it.
    below: String,
    text: SourceText,
    /// By the name that the configuration uses.
    read: BTreeMap<Name, Read>,
}

/// How the configuration names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Name {
    File(String),
    Variable(String),
}

/// What reading one file, or one environment variable, gave.
#[derive(Debug)]
struct Read {
    /// Where it is; `None` for the environment.
    path: Option<PathBuf>,
    content: Result<Zeroizing<Vec<u8>>, String>,
}

impl Read {
    fn hash(&self) -> String {
        match &self.content {
            Ok(bytes) => sha256_base64url(bytes),
            Err(reason) => reason.clone(),
        }
    }
}

impl Sources {
    /// Nothing read yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            below: String::new(),
            text: SourceText::of_directory(dir, ROOT),
            read: BTreeMap::new(),
        }
    }

    /// Nothing read yet, in a directory that the configuration in `dir` names.
    #[must_use]
    pub fn below(dir: &Path, name: &str) -> Self {
        let below = format!("{}/", name.trim_end_matches('/'));
        Self {
            text: SourceText::of_directory(dir, &format!("{below}{ROOT}")),
            dir: dir.join(name),
            below,
            read: BTreeMap::new(),
        }
    }

    /// A file's name in findings.
    #[must_use]
    pub fn label(&self, name: &str) -> Arc<str> {
        match self.below.as_str() {
            "" => Arc::from(name),
            below => Arc::from(format!("{below}{name}")),
        }
    }

    /// A path as configuration names it: relative to the directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Reads a text file that holds no secret; its text is kept for excerpts.
    pub fn text(
        &mut self,
        name: &str,
        at: Option<&Span>,
        problems: &mut Diagnostics,
    ) -> Option<Arc<str>> {
        let bytes = self.bytes(name, at, problems)?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            problems.push(place(
                Diagnostic::error("E1007", format!("`{name}` is not UTF-8 text")),
                at,
            ));
            return None;
        };
        let text: Arc<str> = Arc::from(text);
        self.text.insert(self.label(name), Arc::clone(&text));
        Some(text)
    }

    /// Reads a file that holds a secret in one line; the line's end is not part of it.
    pub fn secret(&mut self, name: &str, at: &Span, problems: &mut Diagnostics) -> Option<Secret> {
        let bytes = self.bytes(name, Some(at), problems)?;
        self.warn_if_readable_by_others(name, at, problems);
        match std::str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\r', '\n'])) {
            Ok("") => {
                problems.push(Diagnostic::error("E1007", format!("`{name}` is empty")).at(at))
            }
            Ok(text) => return Some(Secret::new(text.to_owned())),
            Err(_) => problems
                .push(Diagnostic::error("E1007", format!("`{name}` is not UTF-8 text")).at(at)),
        }
        None
    }

    /// Reads a private key, in PEM, from a file, or else from the environment.
    pub fn private_key(
        &mut self,
        name: &str,
        in_file: bool,
        at: &Span,
        problems: &mut Diagnostics,
    ) -> Option<Zeroizing<Vec<u8>>> {
        if in_file {
            let pem = self.bytes(name, Some(at), problems)?;
            self.warn_if_readable_by_others(name, at, problems);
            return Some(pem);
        }
        let secret = self.environment(name, at, problems)?;
        Some(Zeroizing::new(secret.expose().as_bytes().to_vec()))
    }

    /// Takes a secret from the environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the environment is read"
    )]
    pub fn environment(
        &mut self,
        name: &str,
        at: &Span,
        problems: &mut Diagnostics,
    ) -> Option<Secret> {
        let value = std::env::var(name).unwrap_or_default();
        if value.is_empty() {
            let problem = Diagnostic::error(
                "E1007",
                format!("the environment variable `{name}` is not set"),
            );
            problems.push(problem.at(at));
            return None;
        }
        let content = Ok(Zeroizing::new(value.clone().into_bytes()));
        let read = Read {
            path: None,
            content,
        };
        self.read.insert(Name::Variable(name.to_owned()), read);
        Some(Secret::new(value))
    }

    /// Reads a file.
    pub fn bytes(
        &mut self,
        name: &str,
        at: Option<&Span>,
        problems: &mut Diagnostics,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let path = self.path(name);
        let entry = self
            .read
            .entry(Name::File(name.to_owned()))
            .or_insert_with(|| Read {
                content: read(&path),
                path: Some(path),
            });
        match &entry.content {
            Ok(bytes) => Some(bytes.clone()),
            Err(reason) => {
                let shown = self.dir.join(name);
                let message = format!("cannot read `{}`: {reason}", shown.display());
                problems.push(place(Diagnostic::error("E1007", message), at));
                None
            }
        }
    }

    /// The files that a glob of the configuration names, in order.
    pub fn glob(&mut self, pattern: &str, at: &Span, problems: &mut Diagnostics) -> Vec<String> {
        // The directory is a name, not a pattern, whatever letters it has.
        let base = std::fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let whole = Path::new(&glob::Pattern::escape(&base.to_string_lossy())).join(pattern);
        let found = match glob::glob(&whole.to_string_lossy()) {
            Ok(found) => found,
            Err(error) => {
                problems
                    .push(Diagnostic::error("E1006", format!("`{pattern}`: {}", error.msg)).at(at));
                return Vec::new();
            }
        };
        let mut names = Vec::new();
        for entry in found {
            match entry {
                Ok(path) => {
                    let below = path.strip_prefix(&base).unwrap_or(&path);
                    // Kubernetes keeps its own directories beside the files, editors their backups.
                    let hidden = |part: &str| part.starts_with('.') && part != "." && part != "..";
                    let name = below.to_string_lossy().into_owned();
                    if !name.split('/').any(hidden) {
                        names.push(name);
                    }
                }
                Err(error) => {
                    problems.push(Diagnostic::error("E1007", error.to_string()).at(at));
                }
            }
        }
        names
    }

    #[cfg(unix)]
    pub(super) fn warn_if_readable_by_others(
        &self,
        name: &str,
        at: &Span,
        problems: &mut Diagnostics,
    ) {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata(self.path(name)).is_ok_and(|meta| meta.mode() & 0o004 != 0) {
            let problem = Diagnostic::warning(
                "E1010",
                format!("`{name}` can be read by everybody on this machine"),
            );
            problems.push(problem.at(at).help(format!("chmod o-r {name}")));
        }
    }

    /// A hash over everything that was read, by the names that the configuration uses: the same files
    /// have the same hash wherever they lie.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut all = String::new();
        for (name, read) in &self.read {
            all.push_str(&format!("{name:?}\0{}\n", read.hash()));
        }
        sha256_base64url(all.as_bytes())
    }

    /// The hash of each by itself, by its name in findings. For comparisons only: a hash of a secret tells
    /// who guesses it.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, String> {
        let entries = self.read.iter().map(|(name, read)| {
            let name = match name {
                Name::File(name) => self.label(name).to_string(),
                Name::Variable(name) => format!("${name}"),
            };
            (name, read.hash())
        });
        entries.collect()
    }

    /// Every file that was read or missed.
    #[must_use]
    pub fn files(&self) -> BTreeSet<PathBuf> {
        self.read
            .values()
            .filter_map(|read| read.path.clone())
            .collect()
    }

    /// Stars out what stands at these places of a file, for excerpts. The text is that of the file as it
    /// was read, with nothing else hidden.
    pub fn conceal(&mut self, name: &str, spans: &[Span]) {
        let Some(Ok(bytes)) = self
            .read
            .get(&Name::File(name.to_owned()))
            .map(|read| &read.content)
        else {
            return;
        };
        let mut bytes = bytes.to_vec();
        for span in spans {
            if let Some(hidden) = bytes.get_mut(span.start..span.end) {
                hidden
                    .iter_mut()
                    .filter(|byte| !byte.is_ascii_whitespace())
                    .for_each(|byte| *byte = b'*');
            }
        }
        if let Ok(text) = String::from_utf8(bytes) {
            self.text.insert(self.label(name), Arc::from(text));
        }
    }

    /// The text of the files that hold no secret.
    #[must_use]
    pub fn into_text(self) -> SourceText {
        self.text
    }

    /// The text read so far.
    #[must_use]
    pub fn source_text(&self) -> &SourceText {
        &self.text
    }
}

fn place(diagnostic: Diagnostic, at: Option<&Span>) -> Diagnostic {
    match at {
        Some(span) => diagnostic.at(span),
        None => diagnostic,
    }
}

/// Regular files of a bounded size only: a FIFO would block the load, `/dev/zero` never end.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let meta = std::fs::metadata(path).map_err(|error| reason(&error))?;
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    let file = std::fs::File::open(path).map_err(|error| reason(&error))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| reason(&error))?;
    if bytes.len() > MAX_FILE {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    Ok(Zeroizing::new(bytes))
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
