//! From changed files to a new live configuration, all or nothing.

pub mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::config::{self, LoadError};
use crate::metrics::{LoadedRealm, RealmState};
use crate::oauth::id::ProcessorId;
use crate::server::Gateway;
use crate::snapshot::{LastLoad, Snapshot};
use watch::{Cause, Settle, Watch, WatchState};

/// How a reload ended.
#[derive(Debug)]
pub enum ReloadOutcome {
    /// The new configuration is live.
    Applied(Arc<Snapshot>),
    /// What is on disk is what runs.
    Unchanged,
    /// The new configuration has errors; the old one keeps serving.
    Rejected(Box<LoadError>),
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
}

impl ReloadOutcome {
    /// A word for metrics and `/status`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected(_) => "rejected",
            Self::NeedsRestart(_) => "needs_restart",
        }
    }
}

/// Loads the directory once more, and publishes what is sound and new.
pub fn reload(gateway: &Gateway, dir: &Path) -> ReloadOutcome {
    let current = gateway.live.load();
    let began = Instant::now();
    let loaded = config::load(dir, &gateway.services, Some(&current));
    let metrics = &gateway.services.metrics;
    metrics.reload_took(began.elapsed().as_secs_f64());
    let outcome = match loaded {
        Err(error) => ReloadOutcome::Rejected(error),
        Ok(next) if next.hash == current.hash => {
            let now = gateway.services.clock.now();
            let realm = &current.realm;
            if realm.keys.outlived(now, realm.longest_lifetime()) {
                // Only time has passed: keys that nobody needs any more go with the old snapshot.
                tracing::info!("keys that were retired have been dropped");
                gateway.live.publish(Arc::new(next));
            }
            ReloadOutcome::Unchanged
        }
        Ok(next) => match next.settings.differences(&current.settings) {
            fields if !fields.is_empty() => ReloadOutcome::NeedsRestart(Restart {
                fields,
                hash: next.hash,
                files: next.files,
            }),
            _ => {
                let next = Arc::new(next);
                gateway.live.publish(Arc::clone(&next));
                ReloadOutcome::Applied(next)
            }
        },
    };
    note(gateway, &outcome);
    outcome
}

/// Makes status and metrics say what happened.
fn note(gateway: &Gateway, outcome: &ReloadOutcome) {
    let now = gateway.services.clock.now();
    let details = match outcome {
        ReloadOutcome::Applied(_) | ReloadOutcome::Unchanged => serde_json::Value::Null,
        ReloadOutcome::Rejected(error) => error.diagnostics.to_json(&error.sources),
        ReloadOutcome::NeedsRestart(restart) => serde_json::json!(restart.fields),
    };
    let in_step = matches!(
        outcome,
        ReloadOutcome::Applied(_) | ReloadOutcome::Unchanged
    );
    gateway.live.note(LastLoad {
        at: now,
        result: outcome.name(),
        details,
    });
    gateway.services.metrics.reload(outcome.name());
    measure(gateway, in_step);
}

/// Records that the first load is live.
pub fn started(gateway: &Gateway) {
    measure(gateway, true);
}

/// Makes the gauges say what runs, and whether it is what is on disk.
fn measure(gateway: &Gateway, in_step: bool) {
    let metrics = &gateway.services.metrics;
    metrics.in_step(in_step, gateway.services.clock.now().0);
    let snapshot = gateway.live.load();
    metrics.config_hash(&snapshot.hash);
    let realm = &snapshot.realm;
    let (rules, denies) = realm.policies.counts();
    let processors = realm.processors.keys().map(ProcessorId::as_str).collect();
    metrics.realms(&[RealmState {
        name: &realm.name,
        in_step,
        loaded: Some(LoadedRealm {
            rules,
            denies,
            processors,
        }),
    }]);
}

/// Watches and reloads until it is dropped. `tell` gets every outcome that is news.
pub async fn run(
    gateway: Arc<Gateway>,
    dir: PathBuf,
    settle: Settle,
    tell: impl Fn(&ReloadOutcome) + Send,
) {
    let files = |gateway: &Gateway| gateway.live.load().files.clone();
    let mut watched = files(&gateway);
    let mut watch = Watch::start(&watched, settle);
    let mut not_live: Option<String> = None;
    let mut seen = Vec::new();
    // What changed between the first load and the first watch would be seen by nobody else.
    let mut cause = Cause::Poll;
    loop {
        gateway.live.note_watch(match watch.state() {
            WatchState::Events => "file events and a slow poll".to_owned(),
            WatchState::PollOnly { why } => format!("slow poll only ({why})"),
        });
        // Something else in a watched directory, the audit file above all, is no reason to load. The poll
        // asks nobody and reads everything.
        let now = fingerprint(&watched);
        if cause == Cause::Files && now == seen {
            cause = watch.next().await.cause;
            continue;
        }
        let (line, at) = (Arc::clone(&gateway), dir.clone());
        let outcome = match tokio::task::spawn_blocking(move || reload(&line, &at)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a reload did not end; what ran keeps running");
                cause = watch.next().await.cause;
                continue;
            }
        };
        seen = now;
        watched = files(&gateway);
        // What is on disk and not live, found again, is no news.
        let waiting = match &outcome {
            ReloadOutcome::Rejected(error) => Some((&error.files, &error.hash)),
            ReloadOutcome::NeedsRestart(restart) => Some((&restart.files, &restart.hash)),
            ReloadOutcome::Applied(_) | ReloadOutcome::Unchanged => None,
        };
        let asked = matches!(cause, Cause::Signal | Cause::Asked);
        let news = match waiting {
            Some((files, hash)) => {
                watched.extend(files.iter().cloned());
                asked || not_live.replace(hash.clone()).as_ref() != Some(hash)
            }
            None => {
                let back = not_live.take().is_some();
                asked || back || matches!(outcome, ReloadOutcome::Applied(_))
            }
        };
        watch.update(&watched);
        if news {
            tell(&outcome);
        }
        cause = watch.next().await.cause;
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
