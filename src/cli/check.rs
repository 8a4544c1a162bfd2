//! `cambist check DIR`: loads it as `serve` would. It touches nothing unless told to with `--fix`, and
//! asks nobody unless told to with `--online`.

mod fix;
mod index;
mod online;

use clap::ValueEnum;

use super::{
    Directory, Exit, FINDINGS, GOOD, complain, complain_about, could_not, counted, say, services,
};
use crate::config::{self, LoadError, Loaded, Tests};
use crate::diagnostic::{self, Diagnostics, SourceText};
use crate::services::Services;
use crate::snapshot::{Realm, Snapshot};

/// Say everything that is wrong with a configuration directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist check policies
  cambist check --format sarif policies > findings.sarif
  cambist check --online policies                 from where the gateway will run
  cambist check --index policies                  how rules are looked up, and what one request can cost

Exit codes: 0 good, 1 findings, 2 could not run.")]
pub(super) struct Check {
    #[command(flatten)]
    directory: Directory,
    /// How findings are printed: text on standard error, the others on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Carry out the fixes that leave nothing to choose, then say what is left.
    #[arg(long)]
    fix: bool,
    /// Ask everybody whose keys are fetched and who is asked about tokens, once, as the gateway would. It only
    /// reads.
    #[arg(long)]
    online: bool,
    /// Say how each realm's rules were indexed, and the most rules that are tested to select one; a refusal looks
    /// at more, to say how far the request got. With `--format json` the output is an object with `findings` and
    /// `index`.
    #[arg(long)]
    index: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people, with excerpts; the first hundred.
    Text,
    /// A JSON array of all.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands of GitHub Actions, for annotations.
    Github,
}

/// What a load gave: its findings, and a snapshot where none of them is an error.
type Checked = Result<Snapshot, Box<LoadError>>;

pub(super) fn run(verb: &Check) -> Exit {
    let services = services()?;
    let dir = &verb.directory.dir;
    if !dir.is_dir() {
        let code = could_not(format!("`{}` is not a directory", dir.display()));
        complain("help: give the directory that holds cambist.yaml\n");
        return Err(code);
    }
    if verb.index && !matches!(verb.format, Format::Text | Format::Json) {
        let code = could_not("`--index` has no SARIF and no annotations");
        complain("help: give `--format json`, or leave it out\n");
        return Err(code);
    }
    let loaded = match verb.fix {
        true => fix::until_nothing_changes(dir, || load(verb, &services)),
        false => load(verb, &services),
    };
    let loaded = match loaded {
        Ok(snapshot) if verb.online => Ok(ask(verb, snapshot)?),
        loaded => loaded,
    };
    let (findings, sources) = found(&loaded);
    match verb.format {
        Format::Text => say_to_people(&loaded, verb.index)?,
        Format::Json if verb.index => say(&with_index(&loaded))?,
        Format::Json => say(&findings.format(diagnostic::Format::Json, sources))?,
        Format::Sarif => say(&findings.format(diagnostic::Format::Sarif, sources))?,
        Format::Github => say(&findings.format(diagnostic::Format::Github, sources))?,
    }
    match loaded {
        Ok(snapshot) if !snapshot.warnings.has_errors() => Ok(GOOD),
        _ => Ok(FINDINGS),
    }
}

/// The snapshot, with what asking everybody found.
fn ask(verb: &Check, mut snapshot: Snapshot) -> Result<Snapshot, u8> {
    let talk = matches!(verb.format, Format::Text);
    let (found, lines) = online::ask(&verb.directory.dir, &snapshot, talk)?;
    snapshot.warnings.extend(found);
    if talk {
        say(&lines)?;
    }
    Ok(snapshot)
}

fn load(verb: &Check, services: &Services) -> Checked {
    config::load(&verb.directory.dir, services, None, Tests::Run).and_then(Loaded::whole)
}

fn found(loaded: &Checked) -> (&Diagnostics, &SourceText) {
    match loaded {
        Ok(snapshot) => (&snapshot.warnings, &snapshot.sources),
        Err(error) => (&error.diagnostics, &error.sources),
    }
}

/// The findings and the index in one object; where nothing was loaded there is no index.
fn with_index(loaded: &Checked) -> String {
    let (findings, sources) = found(loaded);
    let findings = findings.format(diagnostic::Format::Json, sources);
    let findings: serde_json::Value = serde_json::from_str(&findings).unwrap_or_default();
    let index = loaded.as_ref().ok().map(index::json);
    let whole = serde_json::json!({ "findings": findings, "index": index });
    format!("{whole:#}\n")
}

fn say_to_people(loaded: &Checked, with_index: bool) -> Result<(), u8> {
    let (findings, sources) = found(loaded);
    complain_about(findings, sources);
    let snapshot = match loaded {
        Ok(snapshot) if !findings.has_errors() => snapshot,
        _ => {
            complain(&format!("{}\n", counted(findings)));
            return Ok(());
        }
    };
    let plural =
        |count, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let several = snapshot.realms.len() > 1;
    let counts = |realms: &[&Realm]| {
        let sum =
            |count: fn(&Realm) -> usize| realms.iter().map(|realm| count(realm)).sum::<usize>();
        [
            plural(sum(|realm| realm.policies.counts().0), "rule", "rules"),
            plural(sum(|realm| realm.policies.counts().1), "deny", "denies"),
            plural(sum(|realm| realm.tests), "test", "tests"),
            plural(sum(|realm| realm.proofs()), "proof", "proofs"),
            plural(sum(|realm| realm.clients.len()), "client", "clients"),
        ]
        .join(", ")
    };
    for realm in snapshot.realms.values().filter(|_| several) {
        say(&format!(
            "realm {}: {}  {}\n",
            realm.name,
            counts(&[realm]),
            realm.hash
        ))?;
    }
    if with_index {
        say(&index::text(snapshot))?;
    }
    let all: Vec<&Realm> = snapshot.realms.values().map(AsRef::as_ref).collect();
    say(&format!(
        "ok: {}, {}  {}\n",
        counts(&all),
        plural(findings.counts().1, "warning", "warnings"),
        snapshot.hash
    ))
}
