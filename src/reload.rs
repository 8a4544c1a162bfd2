//! From changed files to a new live configuration, all or nothing.

pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::config::{self, LoadError, Loaded, Rejected, Tests};
use crate::diagnostic::{Diagnostic, Severity};
use crate::metrics::{LoadedRealm, RealmState};
use crate::oauth::id::{ProcessorId, RealmName};
use crate::server::Gateway;
use crate::snapshot::{Cause, Change, LastLoad, Names, Realm, ReloadAnswer, Snapshot};
use crate::system::{self, State};
use watch::{Hint, Settle, Watch, WatchState};

/// How a reload ended.
#[derive(Debug)]
pub enum ReloadOutcome {
    /// The new configuration is live; but for realms that were rejected, where any were.
    Applied(Arc<Snapshot>, Option<Rejected>),
    /// What is on disk is what runs.
    Unchanged,
    /// The new configuration has errors; the old one keeps serving.
    Rejected(Rejected),
    /// It is sound, but these keys need a restart; the old one keeps serving, whole.
    NeedsRestart(Restart),
}

/// A sound configuration that only a restart can take.
#[derive(Debug)]
pub struct Restart {
    /// The keys that need it.
    pub fields: Vec<&'static str>,
    /// The hash of what is on disk.
    pub hash: String,
    /// The files that it was read from.
    pub files: BTreeSet<PathBuf>,
    /// The same, with the hash of each.
    contents: BTreeMap<String, String>,
    /// The realms for which what is on disk is not what runs.
    realms: Vec<RealmName>,
    /// The realms that could not be loaded after a restart either.
    rejected: Option<Rejected>,
}

impl ReloadOutcome {
    /// A word for metrics and `/status`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Applied(..) => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected(_) => "rejected",
            Self::NeedsRestart(_) => "needs_restart",
        }
    }

    /// What is on disk and not live, if anything: its hash, and the files to watch for it.
    fn waiting(&self) -> Option<(&str, &BTreeSet<PathBuf>)> {
        match self {
            Self::Rejected(rejected) | Self::Applied(_, Some(rejected)) => {
                Some((&rejected.error.hash, &rejected.error.files))
            }
            Self::NeedsRestart(restart) => Some((&restart.hash, &restart.files)),
            Self::Applied(_, None) | Self::Unchanged => None,
        }
    }

    /// The realms that cannot be loaded as they are on disk, and why, for `/status`.
    fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Applied(_, rejected) => rejected.as_ref(),
            Self::NeedsRestart(restart) => restart.rejected.as_ref(),
            Self::Unchanged => None,
        }
    }

    /// The realms that are not what is on disk.
    fn out_of_step(&self) -> BTreeSet<RealmName> {
        let rejected = self.rejected().into_iter();
        let rejected = rejected.flat_map(|rejected| rejected.realms.clone());
        match self {
            Self::NeedsRestart(restart) => rejected.chain(restart.realms.clone()).collect(),
            _ => rejected.collect(),
        }
    }

    fn details(&self) -> serde_json::Value {
        let found = details(self.rejected());
        match (self, found) {
            (Self::NeedsRestart(restart), serde_json::Value::Array(found)) => {
                let fields = restart.fields.iter().map(|field| serde_json::json!(field));
                fields.chain(found).collect()
            }
            (Self::NeedsRestart(restart), _) => serde_json::json!(restart.fields),
            (_, found) => found,
        }
    }

    /// The same, a line each.
    fn lines(&self) -> Vec<String> {
        let found = lines(self.rejected());
        match self {
            Self::NeedsRestart(restart) => {
                let fields = restart.fields.iter().map(|field| (*field).to_owned());
                fields.chain(found).collect()
            }
            _ => found,
        }
    }
}

/// Why realms are not taken as they are on disk, for `/status`; null where they are.
#[must_use]
pub fn details(rejected: Option<&Rejected>) -> serde_json::Value {
    rejected.map_or(serde_json::Value::Null, |rejected| {
        rejected.error.diagnostics.to_json(&rejected.error.sources)
    })
}

/// How many findings a record of a change has.
const MOST_LINES: usize = 20;

fn lines(rejected: Option<&Rejected>) -> Vec<String> {
    let Some(Rejected { error, .. }) = rejected else {
        return Vec::new();
    };
    let findings = error.diagnostics.sorted();
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    let lines = errors.map(|finding| finding.one_line(&error.sources));
    lines.take(MOST_LINES).collect()
}

/// Loads the directory once more, and publishes what is sound and new.
pub fn reload(gateway: &Gateway, dir: &Path) -> ReloadOutcome {
    let begun = Instant::now();
    let current = gateway.live.load();
    let outcome = match config::load(dir, &gateway.services, Some(&current), Tests::Run) {
        Err(error) => ReloadOutcome::Rejected(Rejected {
            realms: current.realms.keys().cloned().collect(),
            error,
        }),
        Ok(loaded) => take(gateway, &current, loaded),
    };
    note(
        gateway,
        outcome.name(),
        outcome.details(),
        outcome.out_of_step(),
        outcome.waiting().is_none(),
    );
    let metrics = &gateway.services.metrics;
    metrics.reload_took(begun.elapsed().as_secs_f64());
    outcome
}

/// Publishes what was loaded, where it is new and a running process can take it.
fn take(gateway: &Gateway, current: &Snapshot, loaded: Loaded) -> ReloadOutcome {
    let Loaded {
        snapshot: next,
        rejected,
        disk,
    } = loaded;
    let fields = next.settings.differences(&current.settings);
    if !fields.is_empty() {
        let differs = |(name, realm): (&RealmName, &Arc<Realm>)| {
            let running = current.realms.get(name);
            let same = running.is_some_and(|running| running.hash == realm.hash);
            (!same).then(|| name.clone())
        };
        return ReloadOutcome::NeedsRestart(Restart {
            fields,
            hash: disk,
            contents: contents(&next),
            realms: next.realms.iter().filter_map(differs).collect(),
            files: next.files,
            rejected,
        });
    }
    if let Some(key) = gateway.reach.exposed(&next.settings) {
        return ReloadOutcome::Rejected(exposed(key, next, disk));
    }
    if next.hash != current.hash {
        let next = Arc::new(next);
        gateway.live.publish(Arc::clone(&next));
        return ReloadOutcome::Applied(next, rejected);
    }
    let kept = |name| match (next.realms.get(name), current.realms.get(name)) {
        (Some(next), Some(current)) => Arc::ptr_eq(next, current),
        _ => false,
    };
    if !next.realms.keys().all(kept) {
        // Only time has passed: keys that nobody needs any more go with the old realm.
        tracing::info!("keys that were retired have been dropped");
        gateway.live.publish(Arc::new(next));
    }
    match rejected {
        Some(rejected) => ReloadOutcome::Rejected(rejected),
        None => ReloadOutcome::Unchanged,
    }
}

/// Why a configuration is rejected that is sound, and would bare a listener that others can reach: its socket
/// was handed over, so that it is not the one that the configuration speaks of.
fn exposed(key: &'static str, next: Snapshot, hash: String) -> Rejected {
    let message = format!(
        "the listener of `{key}:` can be reached from other machines, whatever `listen` says: its socket was handed over"
    );
    let problem = Diagnostic::error("E1009", message);
    let help = match key {
        "admin" => "it needs `tokens`, and `tls` or `insecure_http: true`",
        _ => "it needs `tls`, or `behind_tls: true`, or `insecure_http: true`",
    };
    Rejected {
        realms: next.realms.keys().cloned().collect(),
        error: Box::new(LoadError {
            contents: contents(&next),
            diagnostics: problem.help(help).into(),
            sources: next.sources,
            files: next.files,
            hash,
        }),
    }
}

/// Makes status and metrics say what happened.
fn note(
    gateway: &Gateway,
    result: &'static str,
    details: serde_json::Value,
    out_of_step: BTreeSet<RealmName>,
    in_step: bool,
) {
    gateway.live.note(LastLoad {
        at: gateway.services.clock.now(),
        result,
        details,
        out_of_step,
    });
    gateway.services.metrics.reload(result);
    measure(gateway, in_step);
}

/// Makes status and metrics say that a reload came to nothing, by a mistake of ours.
fn lost(gateway: &Gateway) {
    let why = "the reload did not end: a mistake of the program, see the log";
    let realms = gateway.live.load().realms.keys().cloned().collect();
    note(gateway, "rejected", serde_json::json!([why]), realms, false);
}

/// Makes the gauges say what runs, and whether it is what is on disk.
fn measure(gateway: &Gateway, in_step: bool) {
    let (metrics, live) = (&gateway.services.metrics, gateway.live.load());
    metrics.in_step(in_step, gateway.services.clock.now().0);
    metrics.config_hash(&live.hash);
    let last = gateway.live.last_load();
    let loaded = live.realms.iter().map(|(name, realm)| {
        let (rules, denies) = realm.policies.counts();
        let processors = realm.processors.keys().map(ProcessorId::as_str).collect();
        RealmState {
            name,
            in_step: !last.out_of_step.contains(name),
            loaded: Some(LoadedRealm {
                rules,
                denies,
                processors,
            }),
        }
    });
    let missing = last.out_of_step.iter();
    let missing = missing.filter(|name| !live.realms.contains_key(*name));
    let missing = missing.map(|name| RealmState {
        name,
        in_step: false,
        loaded: None,
    });
    metrics.realms(&loaded.chain(missing).collect::<Vec<_>>());
    let settings = &live.settings;
    let certificates = settings.certificates();
    metrics.certificates(certificates.map(|one| (one.name(), one.not_after().0)));
    let rules = live.realms.iter().flat_map(|(name, realm)| {
        let rules = realm.places.keys();
        rules.map(move |rule| (name, rule))
    });
    metrics.rules(settings.counted_rules, rules);
}

/// Records that the first load is live.
pub async fn started(gateway: &Gateway, rejected: Option<&Rejected>) {
    measure(gateway, rejected.is_none());
    let live = gateway.live.load();
    let change = Change {
        time: gateway.services.clock.timestamp(),
        event: "config",
        cause: Cause::Start.name(),
        principal: None,
        result: "applied",
        old: None,
        new: live.hash.clone(),
        files: Names::default(),
        items: BTreeMap::new(),
        rejected: names(rejected),
        details: lines(rejected),
    };
    record(gateway, change).await;
}

fn names(rejected: Option<&Rejected>) -> Vec<String> {
    let realms = rejected.map(|rejected| rejected.realms.as_slice());
    realms
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// What changed between what ran and what is on disk now.
fn change(cause: &Cause, time: String, old: &Snapshot, outcome: &ReloadOutcome) -> Change {
    let before = contents(old);
    let (new, after, items) = match outcome {
        ReloadOutcome::Applied(next, rejected) => {
            let mut after = contents(next);
            if let Some(rejected) = rejected {
                after.extend(rejected.error.contents.clone());
            }
            (next.hash.clone(), after, items(old, next))
        }
        ReloadOutcome::Rejected(Rejected { error, .. }) => {
            (error.hash.clone(), error.contents.clone(), BTreeMap::new())
        }
        ReloadOutcome::NeedsRestart(restart) => (
            restart.hash.clone(),
            restart.contents.clone(),
            BTreeMap::new(),
        ),
        ReloadOutcome::Unchanged => (old.hash.clone(), before.clone(), BTreeMap::new()),
    };
    Change {
        time,
        event: "config",
        cause: cause.name(),
        principal: match cause {
            Cause::Asked { principal } => Some(principal.clone()),
            Cause::Start | Cause::Files | Cause::Poll | Cause::Signal => None,
        },
        result: outcome.name(),
        old: Some(old.hash.clone()),
        new,
        files: Names::between(&before, &after),
        items,
        rejected: names(outcome.rejected()),
        details: outcome.lines(),
    }
}

/// What a snapshot was read from, all realms together.
fn contents(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let mut all = snapshot.contents.clone();
    for realm in snapshot.realms.values() {
        all.extend(realm.contents.clone());
    }
    all
}

fn items(old: &Snapshot, new: &Snapshot) -> BTreeMap<String, Names> {
    let none = BTreeMap::new();
    let names: BTreeSet<_> = old.realms.keys().chain(new.realms.keys()).collect();
    let differences = names.into_iter().map(|name| {
        let of = |snapshot: &'_ Snapshot| snapshot.realms.get(name).cloned();
        let (before, after) = (of(old), of(new));
        let before = before.as_ref().map_or(&none, |realm| &realm.items);
        let after = after.as_ref().map_or(&none, |realm| &realm.items);
        (name.to_string(), Names::between(before, after))
    });
    differences.filter(|(_, names)| !names.is_empty()).collect()
}

/// Keeps a record of a change: in the audit, and for `/changes`. A change that cannot be recorded has happened
/// all the same; no token leaves until records can be written again.
async fn record(gateway: &Gateway, change: Change) {
    if let Err(error) = gateway.audit.record_change(&change).await {
        tracing::error!(%error, "the change of the configuration could not be recorded");
        gateway.services.metrics.audit_failure(error.reason());
    }
    gateway.live.note_change(Arc::new(change));
}

/// Watches and reloads until it is dropped. `waiting` is the hash of what is on disk where the start could not
/// take all of it. `tell` gets every outcome that is news.
pub async fn run(
    gateway: Arc<Gateway>,
    dir: PathBuf,
    settle: Settle,
    waiting: Option<String>,
    tell: impl Fn(&ReloadOutcome) + Send,
) {
    let files = |gateway: &Gateway| gateway.live.load().files.clone();
    let mut watched = files(&gateway);
    let mut watch = Watch::start(&watched, settle, gateway.live.asked());
    let mut not_live = waiting;
    let mut seen = Vec::new();
    // What changed between the first load and the first watch would be seen by nobody else.
    let mut hint = Hint::Poll;
    loop {
        gateway.live.note_watch(match watch.state() {
            WatchState::Events => "file events and a slow poll".to_owned(),
            WatchState::PollOnly { why } => format!("slow poll only ({why})"),
        });
        // Something else in a watched directory, the audit file above all, is no reason to load. The poll
        // asks nobody and reads everything.
        let now = fingerprint(&watched);
        if hint == Hint::Files && now == seen {
            hint = watch.next().await;
            continue;
        }
        // Whoever asks from now on is told of the next one.
        let asks = gateway.live.asks();
        let cause = match hint {
            _ if !asks.is_empty() => {
                let who: BTreeSet<&str> = asks.iter().map(|ask| ask.principal.as_str()).collect();
                Cause::Asked {
                    principal: who.into_iter().collect::<Vec<_>>().join(", "),
                }
            }
            Hint::Files => Cause::Files,
            // An ask that another reload has answered.
            Hint::Poll | Hint::Asked => Cause::Poll,
            Hint::Signal => Cause::Signal,
        };
        let asked = matches!(cause, Cause::Signal | Cause::Asked { .. });
        if asked {
            system::tell(State::Reloading);
        }
        let (line, at) = (Arc::clone(&gateway), dir.clone());
        let before = gateway.live.load();
        let outcome = match tokio::task::spawn_blocking(move || reload(&line, &at)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a reload did not end; what ran keeps running");
                lost(&gateway);
                system::tell(State::Ready("a reload did not end; what ran keeps running"));
                hint = watch.next().await;
                continue;
            }
        };
        seen = now;
        watched = files(&gateway);
        // What is on disk and not live, found again, is no news.
        let waiting = outcome
            .waiting()
            .map(|(hash, files)| (hash.to_owned(), files.clone()));
        let applied = matches!(outcome, ReloadOutcome::Applied(..));
        let news = match waiting {
            Some((hash, files)) => {
                watched.extend(files);
                not_live.replace(hash.clone()) != Some(hash) || applied
            }
            None => not_live.take().is_some() || applied,
        };
        watch.update(&watched);
        if news || asked {
            tell(&outcome);
        }
        if news {
            let time = gateway.services.clock.timestamp();
            record(&gateway, change(&cause, time, &before, &outcome)).await;
        }
        if news || asked {
            let status = format!("{}; serving {}", outcome.name(), gateway.live.load().hash);
            system::tell(State::Ready(&status));
        }
        for ask in asks {
            // Whoever has gone meanwhile does not mind.
            let _ = ask.answer.send(ReloadAnswer {
                result: outcome.name(),
                config: gateway.live.load().hash.clone(),
                rejected: names(outcome.rejected()),
                details: outcome.details(),
            });
        }
        hint = watch.next().await;
    }
}

/// What the file system says of one file or directory.
#[derive(PartialEq, Eq, Debug)]
struct FileFacts {
    id: (u64, u64),
    size: u64,
    modified: (i64, i64),
    /// Also when only the permissions changed.
    changed: (i64, i64),
}

/// What the file system says of files and of the directories that they are in, without reading any: a
/// file that was written, replaced, added or removed shows here, one that only grew beside them does not.
fn fingerprint(files: &BTreeSet<PathBuf>) -> Vec<Option<FileFacts>> {
    use std::os::unix::fs::MetadataExt as _;
    let parents: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    let facts = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        let size = if meta.is_dir() { 0 } else { meta.len() };
        Some(FileFacts {
            id: (meta.dev(), meta.ino()),
            size,
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    };
    files
        .iter()
        .map(PathBuf::as_path)
        .chain(parents)
        .map(facts)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn growth_beside_the_files_is_no_change_and_everything_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a.policy"), "a").unwrap();
        fs::write(at("audit.jsonl"), "").unwrap();
        let files: BTreeSet<PathBuf> = [at("a.policy"), at("absent")].into();
        let mut last = fingerprint(&files);
        let mut changed = || {
            let now = fingerprint(&files);
            let changed = now != last;
            last = now;
            changed
        };
        fs::write(at("audit.jsonl"), "{}\n").unwrap();
        assert!(!changed(), "growth beside");
        fs::write(at("a.policy"), "ab").unwrap();
        assert!(changed(), "written");
        fs::write(at(".tmp"), "cd").unwrap();
        assert!(changed(), "added beside: it may match a glob");
        fs::rename(at(".tmp"), at("a.policy")).unwrap();
        assert!(changed(), "replaced");
        fs::remove_file(at("a.policy")).unwrap();
        assert!(changed(), "removed");
        assert!(!changed());
    }
}
