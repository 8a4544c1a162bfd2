//! `cambist fmt PATH…`: policies as they should be written, in either spelling, and from one to the other.
//!
//! What is written is read again first and must say the same; a file is replaced in one step or not at
//! all.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use similar::TextDiff;

use super::{COULD_NOT, Exit, FINDINGS, GOOD, complain, complain_about, could_not, say};
use crate::config::spelling;
use crate::diagnostic::{Diagnostics, SourceText};
use crate::policy::syntax::ast::File;
use crate::policy::syntax::{parse, print};

/// Write policies as they should be written.
///
/// A file is rewritten only where that changes it, and keeps its comments. A YAML file with comments is
/// left alone: its comments could not be kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist fmt .                                   every *.policy and *.policy.yaml below
  cambist fmt --check policies                    for CI: say what would change, exit 1 if anything
  cambist fmt --to yaml main.policy               the same policy in YAML, on standard output
  cambist fmt --to policy main.policy.yaml --out main.policy

Exit codes: 0 good, 1 findings or (--check, --diff) something would change, 2 could not run.")]
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
    /// How standard input, or a file of another name, is spelled.
    #[arg(long, value_name = "SPELLING")]
    from: Option<Spelling>,
    /// With `--to`: the file to write.
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
        if name.ends_with(".policy") {
            Some(Self::Policy)
        } else if name.ends_with(".policy.yaml") {
            Some(Self::Yaml)
        } else {
            None
        }
    }
}

pub(super) fn run(verb: &Fmt) -> Exit {
    if verb.paths.iter().any(|path| path.as_os_str() == "-") {
        return match verb.paths.as_slice() {
            [_] => standard_input(verb),
            _ => Err(could_not("`-` stands alone")),
        };
    }
    let mut code = GOOD;
    let mut files = Vec::new();
    for path in &verb.paths {
        let count = files.len();
        if let Err(error) = find(path, true, &mut files) {
            code = code.max(could_not(format!(
                "cannot read `{}`: {error}",
                path.display()
            )));
        } else if files.len() == count {
            let message = format!("no policy file is in `{}`", path.display());
            code = code.max(could_not(message));
            complain("help: policy files end in `.policy` or `.policy.yaml`\n");
        }
    }
    files.dedup();
    if verb.to.is_some() && files.len() > 1 {
        return Err(could_not("`--to` takes one file at a time"));
    }
    for path in &files {
        let (Ok(ended) | Err(ended)) =
            document(path, verb.from).and_then(|document| one(verb, &document));
        code = code.max(ended);
    }
    Ok(code)
}

/// The file itself, or the policy files below a directory, by name; what is hidden is passed over.
fn find(path: &Path, named: bool, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        if named || Spelling::of(path).is_some() {
            found.push(path.to_owned());
        }
        return Ok(());
    }
    let entries: Result<Vec<_>, _> = fs::read_dir(path)?.collect();
    let mut entries = entries?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // A link to a directory may lead back up.
        let link = entry.file_type()?.is_symlink() && entry.path().is_dir();
        if !link && !entry.file_name().to_string_lossy().starts_with('.') {
            find(&entry.path(), false, found)?;
        }
    }
    Ok(())
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
    let Some(spelling) = Spelling::of(path).or(from) else {
        let message = format!("`{shown}` ends neither in `.policy` nor in `.policy.yaml`");
        let code = could_not(message);
        complain("help: say how it is spelled with `--from policy` or `--from yaml`\n");
        return Err(code);
    };
    let bytes =
        fs::read(path).map_err(|error| could_not(format!("cannot read `{shown}`: {error}")))?;
    let Ok(text) = String::from_utf8(bytes) else {
        complain(&format!("error: `{shown}` is not UTF-8 text\n"));
        return Err(FINDINGS);
    };
    Ok(Document {
        name: Arc::from(shown.to_string()),
        path: Some(path.to_owned()),
        spelling,
        text,
    })
}

fn standard_input(verb: &Fmt) -> Exit {
    let mut text = String::new();
    if let Err(error) = std::io::stdin().lock().read_to_string(&mut text) {
        return Err(could_not(format!("cannot read standard input: {error}")));
    }
    let document = Document {
        name: Arc::from("-"),
        path: None,
        spelling: verb.from.unwrap_or(Spelling::Policy),
        text,
    };
    one(verb, &document)
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
        return if verb.check || verb.diff {
            Ok(FINDINGS)
        } else {
            Ok(GOOD)
        };
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
        return match &verb.out {
            None => {
                say(&written)?;
                Ok(GOOD)
            }
            Some(out) => replaced(out, &written),
        };
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
        None => {
            say(&written)?;
            Ok(GOOD)
        }
        Some(path) if changes => replaced(path, &written),
        Some(_) => Ok(GOOD),
    }
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
    sources.insert(Arc::clone(name), Arc::from(text));
    complain_about(found, &sources);
    Ok(FINDINGS)
}

fn difference(name: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let (before, after) = (format!("a/{name}"), format!("b/{name}"));
    diff.unified_diff().header(&before, &after).to_string()
}

fn replaced(path: &Path, text: &str) -> Exit {
    match replace(path, text) {
        Ok(()) => {
            say(&format!("wrote {}\n", path.display()))?;
            Ok(GOOD)
        }
        Err(error) => Err(could_not(format!(
            "cannot write `{}`: {error}",
            path.display()
        ))),
    }
}

/// Replaces a file in one step: whoever reads it has the old text or the new one. It keeps its
/// permissions, and a link stays a link.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&beside)?;
        if let Ok(meta) = fs::metadata(&path) {
            file.set_permissions(meta.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
