//! `cambist explain DIR`: a request from flags, from JSON or from an audit record, held against the
//! policies by the evaluator that decides.

use std::io::Read as _;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{
    COULD_NOT, Exit, FINDINGS, GOOD, RealmDirectory, complain, complain_about_load, could_not,
    one_of, say, services,
};
use crate::config::{self, Tests};
use crate::policy::explain::explain;
use crate::policy::facts::{self, unrecorded};
use crate::snapshot::{AuditSettings, Realm, Snapshot};

/// Say why an exchange is refused or allowed.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    directory: RealmDirectory,
    /// The id of a request in the audit file: from an error answer, a log line or a record.
    #[arg(long, value_name = "REQUEST_ID")]
    id: Option<String>,
    /// The audit file, if not the one that cambist.yaml names.
    #[arg(long, value_name = "FILE", requires = "id")]
    audit: Option<PathBuf>,
    /// A JSON object of attributes and values (`{"client.id": "…"}`), or `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "id")]
    request: Option<PathBuf>,
    /// The client: its id or an identifier.
    #[arg(long)]
    client: Option<String>,
    /// The alias of the subject token's issuer; by default the only one.
    #[arg(long)]
    issuer: Option<String>,
    /// The subject.
    #[arg(long)]
    sub: Option<String>,
    /// The subject token's scope, separated by spaces.
    #[arg(long)]
    subject_scope: Option<String>,
    /// A requested resource; may be repeated.
    #[arg(long)]
    resource: Vec<String>,
    /// A requested audience; may be repeated.
    #[arg(long)]
    audience: Vec<String>,
    /// The requested scope, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// Any other attribute: `--set subject.claims.groups='["hr"]'`. The value is JSON, or else text.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Show every rule, not only those that match or nearly do.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: &Explain) -> Exit {
    let services = services()?;
    // Also where a test fails: that is when one wants to know why.
    let loaded = config::load(&verb.directory.dir, &services, None, Tests::Keep);
    let snapshot = match one_of(loaded, verb.directory.realm.as_deref()) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            complain_about_load(&error);
            return Err(could_not("the configuration has errors"));
        }
    };
    let record = match &verb.id {
        Some(id) => Some(recorded(verb, id, &snapshot).map_err(could_not)?),
        None => None,
    };
    let said = record
        .as_ref()
        .and_then(|record| record.get("realm")?.as_str());
    let realm = verb.directory.one(&snapshot, said)?;
    let mut facts = match &record {
        Some(record) => from_record(record, realm),
        None => from_file(verb),
    }
    .map_err(could_not)?;
    add_flags(verb, &mut facts).map_err(could_not)?;
    let schema = &realm.schema;
    if verb.id.is_none() {
        // A record has all that was looked at; what a person leaves out, a real request would have.
        for path in facts::placeholders(&mut facts, schema) {
            let value = facts.get(&path).cloned().unwrap_or_default();
            complain(&format!("note: not given, taken as: {path} = {value}\n"));
        }
    }
    let context = match facts::assemble(&facts, schema, services.clock.now()) {
        Ok(context) => context,
        Err(problems) => {
            for problem in &problems {
                complain(&format!("error: {problem}\n"));
            }
            if problems
                .iter()
                .any(|problem| problem.starts_with("unknown attribute"))
            {
                let known: Vec<String> = facts::known_paths(schema).into_iter().collect();
                complain(&format!("help: attributes here are {}\n", known.join(", ")));
            }
            return Err(COULD_NOT);
        }
    };
    for issuer in realm.issuers.iter().filter(|issuer| !issuer.enabled) {
        for stated in facts::PARTIES {
            if facts.get(&stated.path("issuer")).and_then(Value::as_str)
                == Some(issuer.alias.as_str())
            {
                let (alias, party) = (&issuer.alias, stated.name);
                complain(&format!(
                    "note: `{alias}` is disabled: this {party}'s token is refused before the policy is asked\n"
                ));
            }
        }
    }
    let explanation = explain(&realm.policies, &context, |processor| {
        processor.id.to_string()
    });
    if verb.json {
        say(&format!("{:#}\n", explanation.to_json(&realm.sources)))?;
    } else {
        say(&explanation.render(&realm.sources, verb.all))?;
        if explanation.permitted {
            say(&format!("\n  issues {:#}\n", explanation.outcome))?;
        }
    }
    if explanation.permitted {
        Ok(GOOD)
    } else {
        Ok(FINDINGS)
    }
}

/// The table to start from: a file's, or an empty one.
fn from_file(verb: &Explain) -> Result<Map<String, Value>, String> {
    let Some(path) = &verb.request else {
        return Ok(Map::new());
    };
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map(|_| text)
            .map_err(|error| error.to_string())?
    } else {
        std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?
    };
    match crate::jose::parse_object(text.as_bytes()) {
        Ok(object) => Ok(object),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The record of a request.
fn recorded(verb: &Explain, id: &str, snapshot: &Snapshot) -> Result<Value, String> {
    let path = match (&verb.audit, &snapshot.settings.audit) {
        (Some(path), _) => path.clone(),
        (None, AuditSettings::File { path, .. }) => path.clone(),
        (None, AuditSettings::Stdout) => {
            return Err("records go to standard output here; give `--audit FILE`".to_owned());
        }
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut records = text
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mine = |record: &Value| record.get("request_id").and_then(Value::as_str) == Some(id);
    records
        .find(mine)
        .ok_or_else(|| format!("{} has no request `{id}`", path.display()))
}

/// The table that a record has.
fn from_record(record: &Value, realm: &Realm) -> Result<Map<String, Value>, String> {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    let recorded = format!("{} {} {}", text("outcome"), text("error"), text("detail"));
    complain(&format!(
        "recorded {}: {}\n",
        text("time"),
        recorded.trim_end()
    ));
    if text("config") != realm.hash {
        complain(
            "note: that was decided by another configuration; this is what the one on disk says\n",
        );
    }
    match record.get("context") {
        Some(Value::Object(facts)) => {
            if text("config") != realm.hash {
                for path in realm
                    .policies
                    .mentioned()
                    .filter(|path| unrecorded(path, facts))
                {
                    complain(&format!(
                        "note: the record has no `{path}`, which no rule may have asked for then; it is taken as absent\n"
                    ));
                }
            }
            Ok(facts.clone())
        }
        _ => Err(format!(
            "this request ended before the policy was asked: {}",
            recorded.trim_end()
        )),
    }
}

fn add_flags(verb: &Explain, facts: &mut Map<String, Value>) -> Result<(), String> {
    let texts = [
        ("client.id", &verb.client),
        ("subject.issuer", &verb.issuer),
        ("subject.sub", &verb.sub),
        ("subject.scope", &verb.subject_scope),
        ("request.scope", &verb.scope),
    ];
    for (path, text) in texts {
        if let Some(text) = text {
            facts.insert(path.to_owned(), text.clone().into());
        }
    }
    for (path, values) in [("resource", &verb.resource), ("audience", &verb.audience)] {
        if !values.is_empty() {
            facts.insert(path.to_owned(), values.clone().into());
        }
    }
    for setting in &verb.set {
        let (path, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("`{setting}` is not PATH=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        facts.insert(path.to_owned(), value);
    }
    Ok(())
}
