//! `cambist config print DIR`: cambist.yaml without its secrets; with `--effective`, as it is in force.
//!
//! What is in force comes from those who read the file: they are watched while they do, and what each got for a key,
//! from the file, from a preset, from `providers:` or from nowhere, is put where it belongs.

mod tree;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value as Json};

use super::keys::file_of;
use super::{
    Exit, FINDINGS, GOOD, RealmDirectory, complain_about_load, could_not, one_of, say, services,
};
use crate::config::{self, ROOT, Tests};
use crate::diagnostic::Span;
use crate::section::{self, Asked, Found, Node, Place, Value, is_secret, observed};
use crate::snapshot::Snapshot;
use tree::Tree;

/// Show a configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Print cambist.yaml without its secrets, as it is written or as it is in force.
    Print(Print),
}

/// Print cambist.yaml without its secrets, as it is written or as it is in force.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist config print policies
  cambist config print policies --effective                what presets, providers: and defaults add
  cambist config print policies --effective --format json | jq '.[\"cambist.yaml\"].server'

Exit codes: 0 good, 1 it does not load, 2 could not run.")]
pub(super) struct Print {
    #[command(flatten)]
    directory: RealmDirectory,
    /// With presets and `providers:` merged in, and what holds where nothing is written.
    #[arg(long)]
    effective: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

/// How a configuration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As it could stand in the file, were the secrets there.
    Yaml,
    /// A JSON object, by file.
    Json,
}

/// What stands for a secret.
const REDACTED: &str = "[redacted]";

/// What readers got, by mapping and key.
type Notes = BTreeMap<Place, Vec<(&'static str, Found)>>;

pub(super) fn run(verb: &Config) -> Exit {
    let Config::Print(verb) = verb;
    let services = services()?;
    let dir = &verb.directory.dir;
    let (loaded, asked) = observed(|| config::load(dir, &services, None, Tests::Keep));
    let snapshot = match one_of(loaded, verb.directory.realm.as_deref()) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            complain_about_load(&error);
            return Ok(FINDINGS);
        }
    };
    let notes = notes(asked);
    let mut trees = Vec::new();
    for (label, text) in files(verb, dir, &snapshot)? {
        let node = section::parse(&label, &text)
            .map_err(|_| could_not(format!("`{label}` has changed while it was read")))?;
        let filled = match verb.effective {
            true => fill(&node, &notes),
            false => plain(&node),
        };
        let starred = starred(&text, &secret_places(&node));
        trees.push((label, filled, starred));
    }
    let out = match (verb.format, verb.effective) {
        (Format::Json, _) => {
            let files = trees
                .iter()
                .map(|(label, tree, _)| (label.to_string(), tree.json()));
            format!("{:#}\n", Json::Object(files.collect::<Map<_, _>>()))
        }
        (Format::Yaml, true) => {
            let files = trees
                .iter()
                .map(|(label, tree, _)| format!("# {label}, as it is in force\n{}", tree.yaml()));
            files.collect::<Vec<_>>().join("---\n")
        }
        (Format::Yaml, false) => {
            let files = trees.iter().map(|(label, _, starred)| {
                let end = if starred.ends_with('\n') { "" } else { "\n" };
                match trees.len() {
                    1 => format!("{starred}{end}"),
                    _ => format!("# {label}\n{starred}{end}"),
                }
            });
            files.collect::<Vec<_>>().join("---\n")
        }
    };
    say(&out)?;
    Ok(GOOD)
}

/// The files that are asked for: the root and every realm's, or that of one realm.
fn files(verb: &Print, dir: &Path, snapshot: &Snapshot) -> Result<Vec<(Arc<str>, String)>, u8> {
    let mut files: Vec<(Arc<str>, String)> = Vec::new();
    if verb.directory.realm.is_none() {
        let path = dir.join(ROOT);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| could_not(format!("cannot read `{}`: {error}", path.display())))?;
        files.push((Arc::from(ROOT), text));
    }
    for realm in verb.directory.realms(snapshot)? {
        let (_, label, text, _) = file_of(dir, realm, snapshot).map_err(could_not)?;
        if files.iter().all(|(known, _)| *known != label) {
            files.push((label, text));
        }
    }
    Ok(files)
}

/// What of a JWK is public (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2): a key set may have more by mistake, which is
/// warned about, and nobody knows what it is.
const OF_PUBLIC_KEYS: [&str; 15] = [
    "kty", "use", "key_ops", "alg", "kid", "x5u", "x5c", "x5t", "x5t#S256", "crv", "x", "y", "n",
    "e", "keys",
];

/// Where what is secret stands.
fn secret_places(root: &Node) -> Vec<Span> {
    fn private(node: &Node, within: bool, found: &mut Vec<Span>) {
        match &node.value {
            Value::Map(entries) => {
                for (key, node) in entries {
                    match within && !OF_PUBLIC_KEYS.contains(&&*key.name) {
                        true => found.push(node.span.clone()),
                        false => private(node, within || &*key.name == "jwks", found),
                    }
                }
            }
            Value::List(items) => items.iter().for_each(|item| private(item, within, found)),
            Value::Scalar(_) | Value::Null => {}
        }
    }
    let mut found = root.secrets();
    private(root, false, &mut found);
    found
}

/// The text, with stars in these places, in the queries of URLs, and in comments that speak of secrets: somebody
/// may have left one there.
fn starred(text: &str, places: &[Span]) -> String {
    let mut ranges: Vec<_> = places.iter().map(|span| span.start..span.end).collect();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let comment = line
            .find('#')
            .filter(|at| *at == 0 || line[..*at].ends_with([' ', '\t']));
        if let Some(at) = comment {
            let said = line[at..].to_ascii_lowercase();
            let named = ["secret", "passw", "token"]
                .iter()
                .any(|word| said.contains(word));
            if named && said.contains([':', '=']) {
                ranges.push(start + at + 1..start + line.len());
            }
        }
        if let Some(query) = line
            .find("://")
            .and_then(|url| Some(url + line[url..].find('?')?))
        {
            ranges.push(start + query + 1..start + line.len());
        }
        start += line.len();
    }
    let secret = |at: usize| ranges.iter().any(|range| range.contains(&at));
    let shown = text
        .char_indices()
        .map(|(at, c)| match secret(at) && !c.is_whitespace() {
            true => '*',
            false => c,
        });
    shown.collect()
}

/// A URL without what follows its `?`.
fn without_query(text: &str) -> Option<String> {
    let url = text.find("://")?;
    let query = url + text.get(url..)?.find('?')?;
    Some(format!("{}?{REDACTED}", text.get(..query)?))
}

/// The same, in a tree.
fn without_private_keys(tree: Tree) -> Tree {
    match tree {
        Tree::Map(members) => {
            let members = members.into_iter().map(|(key, tree)| {
                let tree = match OF_PUBLIC_KEYS.contains(&&*key) {
                    true => without_private_keys(tree),
                    false => Tree::Scalar(Arc::from(REDACTED)),
                };
                (key, tree)
            });
            Tree::Map(members.collect())
        }
        Tree::List(items) => Tree::List(items.into_iter().map(without_private_keys).collect()),
        other => other,
    }
}

fn notes(asked: Vec<Asked>) -> Notes {
    let mut notes = Notes::new();
    for Asked { place, key, found } in asked {
        if matches!(found, Found::Nothing) {
            continue;
        }
        let known = notes.entry(place).or_default();
        // The last word counts.
        known.retain(|(name, _)| *name != key);
        known.push((key, found));
    }
    notes
}

/// What is written.
fn plain(node: &Node) -> Tree {
    fill(node, &Notes::new())
}

/// What is written, and what readers found besides.
fn fill(node: &Node, notes: &Notes) -> Tree {
    match &node.value {
        Value::Null => Tree::Null,
        Value::Scalar(text) => Tree::Scalar(match without_query(text) {
            Some(shown) => Arc::from(shown),
            None => Arc::clone(text),
        }),
        Value::List(items) => Tree::List(items.iter().map(|item| fill(item, notes)).collect()),
        Value::Map(entries) => {
            let place = Place::of(&node.span);
            let said = notes.get(&place).map(Vec::as_slice).unwrap_or_default();
            let mut members: Vec<(Arc<str>, Tree)> = Vec::new();
            for (key, node) in entries {
                // A key with nothing behind it says nothing.
                if !matches!(node.value, Value::Null) || said.is_empty() {
                    let tree = match said.iter().find(|(name, _)| *name == &*key.name) {
                        Some((_, Found::Written(last))) => fill(last, notes),
                        _ => fill(node, notes),
                    };
                    members.push((Arc::clone(&key.name), hidden(&key.name, tree)));
                }
            }
            for (name, found) in said {
                if let Found::Written(node) | Found::Default(node) = found
                    && members.iter().all(|(known, _)| **known != **name)
                {
                    members.push((Arc::from(*name), hidden(name, fill(node, notes))));
                }
            }
            absent(&place, notes, &mut members);
            Tree::Map(members)
        }
    }
}

/// The mappings below a place that are not written, with what holds in them.
fn absent(place: &Place, notes: &Notes, members: &mut Vec<(Arc<str>, Tree)>) {
    for (there, said) in notes {
        let written = Place {
            below: Vec::new(),
            ..there.clone()
        };
        if let (true, [name]) = (written == *place, there.below.as_slice()) {
            let defaults: Vec<(Arc<str>, Tree)> = said
                .iter()
                .filter_map(|(key, found)| match found {
                    Found::Written(node) | Found::Default(node) => {
                        Some((Arc::from(*key), hidden(key, fill(node, notes))))
                    }
                    Found::Nothing => None,
                })
                .collect();
            if !defaults.is_empty() && members.iter().all(|(known, _)| **known != **name) {
                members.push((Arc::from(*name), Tree::Map(defaults)));
            }
        }
    }
}

fn hidden(key: &str, tree: Tree) -> Tree {
    match key {
        key if is_secret(key) => Tree::Scalar(Arc::from(REDACTED)),
        "jwks" => without_private_keys(tree),
        _ => tree,
    }
}
