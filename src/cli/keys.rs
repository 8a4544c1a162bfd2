//! `cambist keys list DIR`: our signing keys, and what each is there for at a start now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Exit, GOOD, RealmDirectory, could_not, loaded, say, services};
use crate::clock::rfc3339;
use crate::config::ROOT;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::jose::{KeyState, PublishedKey};
use crate::oauth::NumericDate;
use crate::section::{self, Node, Section};
use crate::snapshot::{Realm, Snapshot};

/// Show the signing keys of a configuration, and what each is there for.
///
/// It is what a start would make of them now. A gateway that runs remembers more: `/status` on its admin listener
/// says what each key is there for in that process.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist keys list policies
  cambist keys list policies --realm corp --json")]
pub(super) struct List {
    #[command(flatten)]
    directory: RealmDirectory,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A realm's own file, and the list of keys in it.
pub(super) struct Listed {
    /// The file.
    pub path: PathBuf,
    /// What findings call it.
    pub label: Arc<str>,
    pub text: String,
    /// All of it.
    pub root: Node,
    /// Where the key `keys` stands.
    pub key: Span,
    /// What stands behind it.
    pub keys: Node,
}

pub(super) fn run(verb: &List) -> Exit {
    let services = services()?;
    let dir = &verb.directory.dir;
    let snapshot = loaded(dir, &services, verb.directory.realm.as_deref())?;
    let now = services.clock.now();
    let mut out = String::new();
    let mut all = Vec::new();
    for realm in verb.directory.realms(&snapshot)? {
        let listed = listed(dir, realm, &snapshot).map_err(could_not)?;
        let entries: Vec<Value> = realm
            .keys
            .iter()
            .zip(listed.keys.clone().list())
            .map(|(key, node)| entry(key, node, realm, &listed, &snapshot, now))
            .collect();
        out.push_str(&text(realm, &listed, &entries));
        all.push(json!({
            "realm": realm.name.as_str(),
            "issuer": realm.issuer.as_str(),
            "file": listed.path.display().to_string(),
            "keys": entries,
        }));
    }
    match verb.json {
        true => say(&format!("{:#}\n", Value::from(all)))?,
        false => say(&out)?,
    }
    Ok(GOOD)
}

/// Reads again where a realm's keys stand.
///
/// # Errors
/// When that has changed since it was loaded.
pub(super) fn listed(dir: &Path, realm: &Realm, snapshot: &Snapshot) -> Result<Listed, String> {
    let (path, label, text, root) = file_of(dir, realm, snapshot)?;
    let found = find(&root, "keys").ok_or_else(|| changed(&path))?;
    Ok(Listed {
        path,
        label,
        text,
        root,
        key: found.0,
        keys: found.1,
    })
}

/// A realm's own file: where it is, what findings call it, what it holds.
///
/// # Errors
/// When it has changed since it was loaded.
pub(super) fn file_of(
    dir: &Path,
    realm: &Realm,
    snapshot: &Snapshot,
) -> Result<(PathBuf, Arc<str>, String, Node), String> {
    let below = directory(dir, realm, snapshot)?;
    let (path, label) = match &below {
        None => (dir.join(ROOT), ROOT.to_owned()),
        Some(name) => (
            dir.join(name).join(ROOT),
            format!("{}/{ROOT}", name.trim_end_matches('/')),
        ),
    };
    let label: Arc<str> = Arc::from(label);
    let (text, root) = parsed(&path, &label)?;
    Ok((path, label, text, root))
}

/// The directory of a realm, as the root names it; nothing where the root is the realm.
fn directory(dir: &Path, realm: &Realm, snapshot: &Snapshot) -> Result<Option<String>, String> {
    let path = dir.join(ROOT);
    let (_, root) = parsed(&path, &Arc::from(ROOT))?;
    let Some((_, realms)) = find(&root, "realms") else {
        return match snapshot.realms.len() {
            1 => Ok(None),
            _ => Err(changed(&path)),
        };
    };
    let (_, named) = find(&realms, realm.name.as_str()).ok_or_else(|| changed(&path))?;
    let text = named.text(&mut Diagnostics::default());
    text.map(|text| Some(text.to_string()))
        .ok_or_else(|| changed(&path))
}

fn parsed(path: &Path, label: &Arc<str>) -> Result<(String, Node), String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let root = section::parse(label, &text).map_err(|_| changed(path))?;
    Ok((text, root))
}

fn changed(path: &Path) -> String {
    format!("`{}` has changed while it was read", path.display())
}

/// The entry of a mapping: where its key stands, and its value.
pub(super) fn find(node: &Node, key: &str) -> Option<(Span, Node)> {
    let section = node.clone().section(&mut Diagnostics::default())?;
    let mut entries = Section::into_entries(section).into_iter();
    let (key, node) = entries.find(|(name, _)| &*name.name == key)?;
    Some((key.span, node))
}

/// The text of an entry of a mapping.
pub(super) fn text_of(node: &Node, key: &str) -> Option<String> {
    let (_, node) = find(node, key)?;
    node.text(&mut Diagnostics::default())
        .map(|text| text.to_string())
}

fn entry(
    key: &PublishedKey,
    node: Node,
    realm: &Realm,
    listed: &Listed,
    snapshot: &Snapshot,
    now: NumericDate,
) -> Value {
    let within = |finding: &&&Diagnostic| {
        let span = finding.span.as_ref();
        span.is_some_and(|span| {
            *span.file == *listed.label && (node.span.start..node.span.end).contains(&span.start)
        })
    };
    let sorted = snapshot.warnings.sorted();
    let warnings = sorted
        .iter()
        .filter(within)
        .map(|finding| format!("{} ({})", finding.message, finding.code));
    let (state, from) = match realm.keys.state(key, now) {
        KeyState::Signs => ("signs", None),
        KeyState::SignsFrom(at) => ("signs_later", Some(rfc3339(at))),
        KeyState::Listed => ("published", None),
        KeyState::Retired => ("retired", None),
    };
    json!({
        "kid": key.kid(),
        "alg": key.algorithm().as_str(),
        "file": text_of(&node, "file"),
        "env": text_of(&node, "env"),
        "ephemeral": text_of(&node, "ephemeral").is_some(),
        "state": state,
        "from": from,
        "thumbprint": key.thumbprint(),
        "warnings": warnings.collect::<Vec<_>>(),
    })
}

fn text(realm: &Realm, listed: &Listed, entries: &[Value]) -> String {
    let of = |entry: &Value, member: &str| entry[member].as_str().unwrap_or_default().to_owned();
    let mut out = format!(
        "{}  {}  ({})\n",
        realm.name,
        realm.issuer,
        listed.path.display()
    );
    for entry in entries {
        let source = match (entry["ephemeral"] == true, of(entry, "env")) {
            (true, _) => "ephemeral".to_owned(),
            (false, name) if !name.is_empty() => format!("${name}"),
            (false, _) => of(entry, "file"),
        };
        let state = match (of(entry, "state").as_str(), of(entry, "from")) {
            ("signs_later", from) => format!("published, signs from {from}"),
            ("published", _) => "published, does not sign".to_owned(),
            (state, _) => state.to_owned(),
        };
        let (kid, alg) = (of(entry, "kid"), of(entry, "alg"));
        out.push_str(&format!("  {kid}  {alg}  {source}  {state}\n"));
        let thumbprint = of(entry, "thumbprint");
        if thumbprint != kid {
            out.push_str(&format!("    thumbprint {thumbprint}\n"));
        }
        for warning in entry["warnings"].as_array().into_iter().flatten() {
            let warning = warning.as_str().unwrap_or_default();
            out.push_str(&format!("    warning: {warning}\n"));
        }
    }
    out
}
