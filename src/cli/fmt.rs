//! `cambist fmt PATH…`: policies as they should be written, in either spelling, and from one to the other.
//!
//! What is written is read again first and must say the same; a file is replaced in one step or not at
//! all. A file that cannot be read or written is named, and the others are formatted all the same.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use similar::TextDiff;

use super::replace::{self, Kind};
use super::{COULD_NOT, Exit, FINDINGS, GOOD, complain, complain_about, could_not, say};
use crate::config::spelling;
use crate::diagnostic::{Diagnostics, SourceText};
use crate::policy::syntax::ast::File;
use crate::policy::syntax::{parse, print};
use crate::section::MAX_FILE;

/// Write policies as they should be written.
///
/// A file is rewritten only where that changes it, and keeps its comments. A YAML file with comments is
/// left alone, and said to be: its comments could not be kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist fmt .                                   every *.policy and *.policy.yaml below
  cambist fmt --check policies                    for CI: say what would change, exit 1 if anything
  cambist fmt --to yaml main.policy               the same policy in YAML, on standard output
  cambist fmt --to policy main.policy.yaml --out main.policy

Exit codes: 0 good, 1 findings or (--check, --diff) something would change, 2 could not run, or one
of the files could not be read or written. A YAML file that is left alone is good.")]
pub(super) struct Fmt {
    /// Files, directories, or `-` for standard input and output.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Change nothing; list the files that would change, and exit 1 if there are any.
    #[arg(long, conflicts_with_all = ["diff", "to"])]
    check: bool,
    /// Change nothing; show what would change, and exit 1 if there is anything.
    #[arg(long, conflicts_with = "to")]
    diff: bool,
    /// Write one file in this spelling, to standard output.
    #[arg(long, value_name = "SPELLING")]
    to: Option<Spelling>,
    /// How standard input, or a file whose name does not say it, is spelled.
    #[arg(long, value_name = "SPELLING")]
    from: Option<Spelling>,
    /// With `--to`: the file to write, `*.policy` or `*.policy.yaml` as it is spelled; `-` for standard
    /// output.
    #[arg(long, value_name = "FILE", requires = "to")]
    out: Option<PathBuf>,
}

/// How a policy is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Spelling {
    /// The policy language.
    Policy,
    /// YAML with text of the language in it.
    Yaml,
}

impl Spelling {
    fn of(name: &Path) -> Option<Self> {
        let name = name.file_name()?.to_string_lossy();
        let all = [Self::Policy, Self::Yaml];
        all.into_iter()
            .find(|spelling| name.ends_with(spelling.ending()))
    }

    /// How the names of its files end.
    fn ending(self) -> &'static str {
        match self {
            Self::Policy => ".policy",
            Self::Yaml => ".policy.yaml",
        }
    }
}

pub(super) fn run(verb: &Fmt) -> Exit {
    if let (Some(out), Some(to)) = (&verb.out, verb.to) {
        can_go(out, to)?;
    }
    if verb.paths.iter().any(|path| path.as_os_str() == "-") {
        return match verb.paths.as_slice() {
            [_] => standard_input(verb),
            _ => Err(could_not("`-` stands alone")),
        };
    }
    let mut found = Found::default();
    for path in &verb.paths {
        found.named(path);
    }
    if verb.to.is_some() && found.files.len() > 1 {
        return Err(could_not("`--to` takes one file at a time"));
    }
    let mut code = found.code;
    for path in &found.files {
        let (Ok(ended) | Err(ended)) =
            document(path, verb.from).and_then(|document| one(verb, &document));
        code = code.max(ended);
    }
    Ok(code)
}

/// Whether `--out` names something that a policy of this spelling can be written to.
fn can_go(out: &Path, to: Spelling) -> Result<(), u8> {
    let shown = out.display();
    if out.as_os_str() == "-" {
        return Ok(());
    }
    let kind = replace::kind(out)
        .map_err(|reason| could_not(format!("cannot write `{shown}`: {reason}")))?;
    if kind == Kind::Special || Spelling::of(out) == Some(to) {
        return Ok(());
    }
    let end = to.ending();
    Err(could_not(format!(
        "`--out {shown}` must end in `{end}`, as what is written is spelled"
    )))
}

/// The files to format, each once.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    /// Where they really are.
    seen: BTreeSet<PathBuf>,
    /// What could not be read, as an exit code.
    code: u8,
}

impl Found {
    /// The file itself, whatever it is called, or the policy files below a directory.
    fn named(&mut self, path: &Path) {
        match fs::metadata(path) {
            Err(error) => self.cannot_read(path, error),
            Ok(meta) if !meta.is_dir() => self.file(path),
            Ok(_) => {
                let code = std::mem::take(&mut self.code);
                if !self.below(path) && self.code == GOOD {
                    self.code = could_not(format!("no policy file is in `{}`", path.display()));
                    complain("help: policy files end in `.policy` or `.policy.yaml`\n");
                }
                self.code = self.code.max(code);
            }
        }
    }

    /// The policy files below a directory, by name; what is hidden is passed over. Whether there are any.
    fn below(&mut self, dir: &Path) -> bool {
        let entries = fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.cannot_read(dir, error);
                return false;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut any = false;
        for entry in entries {
            if !entry.file_name().to_string_lossy().starts_with('.') {
                any |= self.entry(&entry.path());
            }
        }
        any
    }

    /// An entry of a directory. Whether there is a policy file in it.
    fn entry(&mut self, path: &Path) -> bool {
        let policy = Spelling::of(path).is_some();
        match fs::metadata(path) {
            // A link to a directory may lead back up.
            Ok(meta) if meta.is_dir() => !path.is_symlink() && self.below(path),
            _ if !policy => false,
            Ok(meta) if meta.is_file() => {
                self.file(path);
                true
            }
            Ok(_) => {
                self.cannot_read(path, "it is not a regular file");
                false
            }
            Err(error) => {
                self.cannot_read(path, error);
                false
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.seen.insert(place) {
            self.files.push(path.to_owned());
        }
    }

    fn cannot_read(&mut self, path: &Path, reason: impl std::fmt::Display) {
        self.code = could_not(format!("cannot read `{}`: {reason}", path.display()));
    }
}

/// A policy that was read.
struct Document {
    name: Arc<str>,
    /// Where it goes; nowhere for standard input.
    path: Option<PathBuf>,
    spelling: Spelling,
    text: String,
}

fn document(path: &Path, from: Option<Spelling>) -> Result<Document, u8> {
    let shown = path.display();
    let spelling = match (Spelling::of(path), from) {
        (Some(named), Some(from)) if named != from => {
            let end = named.ending();
            return Err(could_not(format!(
                "`{shown}` ends in `{end}`, and `--from` says otherwise"
            )));
        }
        (Some(spelling), _) | (None, Some(spelling)) => spelling,
        (None, None) => {
            let message = format!("`{shown}` ends neither in `.policy` nor in `.policy.yaml`");
            let code = could_not(message);
            complain("help: say how it is spelled with `--from policy` or `--from yaml`\n");
            return Err(code);
        }
    };
    let text = fs::File::open(path)
        .and_then(bounded)
        .map_err(|error| could_not(format!("cannot read `{shown}`: {error}")))?;
    Ok(Document {
        text: utf8(&shown.to_string(), text)?,
        name: Arc::from(shown.to_string()),
        path: Some(path.to_owned()),
        spelling,
    })
}

fn standard_input(verb: &Fmt) -> Exit {
    let bytes = bounded(std::io::stdin().lock())
        .map_err(|error| could_not(format!("cannot read standard input: {error}")))?;
    let document = Document {
        text: utf8("-", bytes)?,
        name: Arc::from("-"),
        path: None,
        spelling: verb.from.unwrap_or(Spelling::Policy),
    };
    one(verb, &document)
}

/// What there is to read, but no more than it takes to see that it is too large.
fn bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes as text. What is too large ends anywhere, and is refused for its size.
fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, u8> {
    if bytes.len() > MAX_FILE {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_| {
        complain(&format!("error: `{name}` is not UTF-8 text\n"));
        FINDINGS
    })
}

fn one(verb: &Fmt, document: &Document) -> Exit {
    let name = &document.name;
    let tree = match read(document.spelling, name, &document.text) {
        Ok(tree) => tree,
        Err(found) => return findings(name, &document.text, &found),
    };
    let comments = match document.spelling {
        Spelling::Policy => !tree.comments.is_empty(),
        Spelling::Yaml => spelling::has_comments(name, &document.text),
    };
    let to = verb.to.unwrap_or(document.spelling);
    if comments && verb.to.is_none() && document.spelling == Spelling::Yaml {
        complain(&format!(
            "{name}: left alone: it has comments, which could not be kept\n"
        ));
        if document.path.is_none() && !verb.check && !verb.diff {
            say(&document.text)?;
        }
        return Ok(GOOD);
    }
    if comments && to != document.spelling {
        complain(&format!(
            "{name}: comments that document no item are not kept in the other spelling\n"
        ));
    }
    let written = match write(&tree, document, to) {
        Ok(written) => written,
        Err(found) => return findings(name, &document.text, &found),
    };
    // INVARIANT: what leaves here says what was read.
    let same = read(to, name, &written).is_ok_and(|again| match to {
        Spelling::Policy => again == tree,
        Spelling::Yaml => again == spelling::normal(&tree),
    });
    if !same {
        complain(&format!(
            "error: {name}: left alone: what would be written could not be read again\n"
        ));
        return Err(COULD_NOT);
    }
    if verb.to.is_some() {
        return put(verb.out.as_deref(), document, &written);
    }
    let changes = written != document.text;
    if verb.check || verb.diff {
        if !changes {
            return Ok(GOOD);
        }
        say(&if verb.check {
            format!("{name}\n")
        } else {
            difference(name, &document.text, &written)
        })?;
        return Ok(FINDINGS);
    }
    match &document.path {
        None => say(&written)?,
        Some(path) if changes => {
            let was = document.text.as_bytes();
            let done = replace::rewrite(path, |now| (now == was).then_some(written));
            wrote(path, done)?;
        }
        Some(_) => {}
    }
    Ok(GOOD)
}

/// Writes to `--out`, which is never what was read: standard output if it names nothing else.
fn put(out: Option<&Path>, document: &Document, written: &str) -> Exit {
    let Some(out) = out.filter(|out| out.as_os_str() != "-") else {
        say(written)?;
        return Ok(GOOD);
    };
    let real = |path: &Path| path.canonicalize().ok();
    let source = document.path.as_deref().and_then(real);
    if source.is_some() && source == real(out) {
        let shown = out.display();
        return Err(could_not(format!(
            "`--out {shown}` is the file that is read"
        )));
    }
    let done = replace::put(out, written);
    // A device or a pipe may well be standard output.
    match replace::kind(out) {
        Ok(Kind::Special) if done.is_ok() => {}
        _ => wrote(out, done)?,
    }
    Ok(GOOD)
}

fn wrote(path: &Path, done: Result<(), String>) -> Result<(), u8> {
    let shown = path.display();
    done.map_err(|reason| could_not(format!("cannot write `{shown}`: {reason}")))?;
    say(&format!("wrote {shown}\n"))
}

fn read(spelling: Spelling, name: &Arc<str>, text: &str) -> Result<File, Diagnostics> {
    match spelling {
        Spelling::Policy => parse(name, text),
        Spelling::Yaml => spelling::read(name, text),
    }
}

fn write(tree: &File, document: &Document, to: Spelling) -> Result<String, Diagnostics> {
    match to {
        Spelling::Policy => {
            let source = (document.spelling == Spelling::Policy).then_some(document.text.as_str());
            Ok(print(tree, source))
        }
        Spelling::Yaml => spelling::write(tree),
    }
}

fn findings(name: &Arc<str>, text: &str, found: &Diagnostics) -> Exit {
    let mut sources = SourceText::default();
    // Of what is too large, nothing is shown.
    if text.len() <= MAX_FILE {
        sources.insert(Arc::clone(name), Arc::from(text));
    }
    complain_about(found, &sources);
    Ok(FINDINGS)
}

fn difference(name: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let (before, after) = (format!("a/{name}"), format!("b/{name}"));
    diff.unified_diff().header(&before, &after).to_string()
}
