//! `cambist diff OLD NEW`: what would be decided otherwise, and whether anything widens.

mod replay;
mod report;
mod show;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;

use super::{
    COULD_NOT, Exit, FINDINGS, GOOD, complain_about_load, could_not, one_of, say, services,
};
use crate::config::{self, Tests};
use crate::oauth::id::RealmName;
use crate::policy::prove::{self, Checked, Differences};
use crate::provider::Processor;
use crate::services::Services;
use crate::snapshot::{Realm, Snapshot};
use replay::Replaying;
use report::{Items, Presence, RealmReport, Report};

/// Say which requests two configurations decide differently, and whether anything widens.
///
/// Every change of outcome that some request can have is shown with one such request, worked out from the rules;
/// with `--audit`, every recorded request is decided by both besides, and counted. Something widens where a request is
/// permitted that was refused, or where more may be issued for it: another audience, more scope, a longer
/// life, another subject or token type, an actor less, a claim or parameter that is new or different, or
/// whatever another processor makes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist diff /etc/cambist checkout
  cambist diff /etc/cambist checkout --audit audit.jsonl
  cambist diff old new --audit audit.jsonl --audit audit.jsonl.1 --format markdown

Exit codes: 0 nothing widens, 1 something does, 2 could not run.")]
pub(super) struct Diff {
    /// The configuration directory as it is.
    old: PathBuf,
    /// The configuration directory as it would be.
    new: PathBuf,
    /// Records to replay: an audit file, or `-` for standard input; may be repeated.
    #[arg(long, value_name = "FILE")]
    audit: Vec<PathBuf>,
    /// Only this realm.
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// Exit 0 also where something widens.
    #[arg(long)]
    allow_widening: bool,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object, with every example request whole.
    Json,
    /// For a pull request: without the values that a person could be known by.
    Markdown,
}

pub(super) fn run(verb: &Diff) -> Exit {
    let services = services()?;
    let old = loaded(&verb.old, &services, verb.realm.as_deref())?;
    let new = loaded(&verb.new, &services, verb.realm.as_deref())?;
    let names = names(verb, &old, &new)?;
    let mut replaying = Replaying::new(&services);
    for name in &names {
        if let (Some(old), Some(new)) = (old.realms.get(name), new.realms.get(name)) {
            replaying.realm(old, new);
        }
    }
    for path in &verb.audit {
        replaying.read(path).map_err(could_not)?;
    }
    let (mut replays, audit) = replaying.finish();
    let realms = names.into_iter().map(|name| {
        let pair = (old.realms.get(&name), new.realms.get(&name));
        RealmReport {
            presence: match pair {
                (Some(_), None) => Presence::Gone,
                (None, Some(_)) => Presence::New,
                _ => Presence::Both,
            },
            items: Items::between(items(pair.0), items(pair.1)),
            beyond: pair
                .0
                .zip(pair.1)
                .map_or(Vec::new(), |(old, new)| beyond(old, new)),
            possible: pair.0.zip(pair.1).map(|(old, new)| possible(old, new)),
            replay: replays.remove(&name).filter(|_| !verb.audit.is_empty()),
            name,
        }
    });
    let report = Report {
        old: verb.old.display().to_string(),
        new: verb.new.display().to_string(),
        realms: realms.collect(),
        audit,
    };
    say(&match verb.format {
        Format::Text => report.text(),
        Format::Json => format!("{:#}\n", report.to_json()),
        Format::Markdown => report.markdown(),
    })?;
    // A gate through which nothing went proves nothing.
    if !verb.audit.is_empty() && report.requests() == 0 && names_both(&report) {
        return Err(could_not(
            "there is no recorded request that could be replayed",
        ));
    }
    match report.widens() && !verb.allow_widening {
        true => Ok(FINDINGS),
        false => Ok(GOOD),
    }
}

/// The files of both realms that differ, but for policies.
fn beyond(old: &Realm, new: &Realm) -> Vec<String> {
    let names = old.contents.keys().chain(new.contents.keys());
    let names: BTreeSet<&String> = names.collect();
    let differs = |name: &&String| old.contents.get(*name) != new.contents.get(*name);
    let policy = |name: &str| name.ends_with(".policy") || name.ends_with(".policy.yaml");
    let others = names.into_iter().filter(|name| !policy(name));
    others.filter(differs).cloned().collect()
}

/// Every change of outcome from one realm to another.
fn possible(old: &Realm, new: &Realm) -> Differences {
    let name = |processor: &Arc<Processor>| processor.id.to_string();
    prove::diff(checked(old), checked(new), &name)
}

fn checked(realm: &Realm) -> Checked<'_, Arc<Processor>> {
    Checked {
        set: &realm.policies,
        schema: &realm.schema,
    }
}

fn names_both(report: &Report) -> bool {
    let mut realms = report.realms.iter();
    realms.any(|realm| realm.presence == Presence::Both)
}

fn items(realm: Option<&Arc<Realm>>) -> Option<&std::collections::BTreeMap<String, String>> {
    realm.map(|realm| &realm.items)
}

/// What a directory says, whether or not the tests of its policies pass.
fn loaded(dir: &Path, services: &Services, realm: Option<&str>) -> Result<Snapshot, u8> {
    one_of(config::load(dir, services, None, Tests::Keep), realm).map_err(|error| {
        complain_about_load(&error);
        could_not(format!(
            "the configuration in `{}` has errors",
            dir.display()
        ))
    })
}

/// The realms of both, or the one that is meant.
fn names(verb: &Diff, old: &Snapshot, new: &Snapshot) -> Result<Vec<RealmName>, u8> {
    let mut names: Vec<RealmName> = old
        .realms
        .keys()
        .chain(new.realms.keys())
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    if let Some(wanted) = &verb.realm {
        names.retain(|name| name.as_str() == wanted);
        if names.is_empty() {
            could_not(format!("no realm is called `{wanted}`"));
            return Err(COULD_NOT);
        }
    }
    Ok(names)
}
