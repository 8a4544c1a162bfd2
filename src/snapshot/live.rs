//! The handle on what is live: what runs, how the last load went, what changed before, and who asks for
//! another one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use super::Snapshot;
use crate::oauth::NumericDate;
use crate::oauth::id::RealmName;
use crate::swap::Swap;

/// How many changes are remembered; the audit has them all.
const CHANGES: usize = 50;

/// How the last load went. What runs may be older than what is on disk; this says so.
#[derive(Clone, Debug)]
pub struct LastLoad {
    /// When, in seconds.
    pub at: NumericDate,
    /// `applied`, `unchanged`, `rejected` or `needs_restart`.
    pub result: &'static str,
    /// What it was about: findings, or keys that need a restart.
    pub details: serde_json::Value,
    /// The realms that are not what is on disk; all of them, where it was the root that was rejected.
    pub out_of_step: BTreeSet<RealmName>,
}

/// Why something was loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The process started.
    Start,
    /// Something happened to the files.
    Files,
    /// It was time to look.
    Poll,
    /// SIGHUP.
    Signal,
    /// Somebody asked for it through the admin API.
    Asked {
        /// Who.
        principal: String,
    },
}

impl Cause {
    /// A word for records and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Files => "files",
            Self::Poll => "poll",
            Self::Signal => "signal",
            Self::Asked { .. } => "api",
        }
    }
}

/// A record of one change: of what runs, or of what is on disk and cannot run.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// When (RFC 3339).
    pub time: String,
    /// `config`, as the audit calls such a record.
    pub event: &'static str,
    /// `start`, `files`, `poll`, `signal` or `api`.
    pub cause: &'static str,
    /// Who asked for it, where somebody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// `applied`, `rejected` or `needs_restart`; `unchanged` where what is on disk is again what runs.
    pub result: &'static str,
    /// The hash of what ran before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The hash of what runs now, or would run.
    pub new: String,
    /// The files and variables that were read and differ.
    #[serde(skip_serializing_if = "Names::is_empty")]
    pub files: Names,
    /// The rules, denies, lists, defs, tests and proofs that differ, by realm.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub items: BTreeMap<String, Names>,
    /// The realms that are not taken as they are on disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<String>,
    /// What is wrong with them, or which keys need a restart; a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// What is different between two sets of named things.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Names {
    /// There now, and not before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// There before, and not now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// There both times, and not the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

impl Names {
    /// The difference of two sets, whose values say what each thing is.
    #[must_use]
    pub fn between<'a>(
        old: impl IntoIterator<Item = (&'a String, &'a String)>,
        new: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        let mut left: BTreeMap<&String, &String> = old.into_iter().collect();
        let mut names = Self::default();
        for (name, is) in new {
            match left.remove(name) {
                None => names.added.push(name.clone()),
                Some(was) if was != is => names.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        names.removed = left.into_keys().cloned().collect();
        names
    }

    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What somebody who asked for a reload is told.
#[derive(Clone, Debug, Serialize)]
pub struct ReloadAnswer {
    /// `applied`, `unchanged`, `rejected` or `needs_restart`.
    pub result: &'static str,
    /// The hash of what runs now.
    pub config: String,
    /// The realms that are not taken as they are on disk.
    pub rejected: Vec<String>,
    /// Findings, or the keys that need a restart.
    pub details: serde_json::Value,
}

/// Somebody asks for a reload.
#[derive(Debug)]
pub struct Ask {
    /// Who.
    pub principal: String,
    /// Where the answer goes.
    pub answer: oneshot::Sender<ReloadAnswer>,
}

/// The handle on what is live.
#[derive(Debug)]
pub struct Live {
    snapshot: Swap<Snapshot>,
    last_load: Swap<LastLoad>,
    watch: Swap<String>,
    changes: Mutex<VecDeque<Arc<Change>>>,
    asks: Mutex<Vec<Ask>>,
    asked: Arc<Notify>,
}

impl Live {
    /// Goes live with the first snapshot; these realms are not in it as they are on disk.
    #[must_use]
    pub fn new(
        first: Snapshot,
        out_of_step: BTreeSet<RealmName>,
        details: serde_json::Value,
    ) -> Self {
        let last = LastLoad {
            at: first.loaded_at,
            result: "applied",
            details,
            out_of_step,
        };
        Self {
            snapshot: Swap::new(first),
            last_load: Swap::new(last),
            watch: Swap::new("off".to_owned()),
            changes: Mutex::default(),
            asks: Mutex::default(),
            asked: Arc::default(),
        }
    }

    /// What is live now.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load()
    }

    /// Replaces it for every request that begins from now on.
    pub fn publish(&self, next: Arc<Snapshot>) {
        self.snapshot.store(next);
    }

    /// How the last load went.
    #[must_use]
    pub fn last_load(&self) -> Arc<LastLoad> {
        self.last_load.load()
    }

    /// Records how a load went.
    pub fn note(&self, last: LastLoad) {
        self.last_load.store(Arc::new(last));
    }

    /// How changes on disk are noticed, for people.
    #[must_use]
    pub fn watch(&self) -> Arc<String> {
        self.watch.load()
    }

    /// Records how changes on disk are noticed.
    pub fn note_watch(&self, state: String) {
        self.watch.store(Arc::new(state));
    }

    /// The last changes, the latest first.
    #[must_use]
    pub fn changes(&self) -> Vec<Arc<Change>> {
        held(&self.changes).iter().rev().cloned().collect()
    }

    /// Remembers a change.
    pub fn note_change(&self, change: Arc<Change>) {
        let mut changes = held(&self.changes);
        if changes.len() == CHANGES {
            changes.pop_front();
        }
        changes.push_back(change);
    }

    /// Asks for a reload. The answer comes when one that began from now on has ended; never, where nobody
    /// reloads.
    #[must_use]
    pub fn ask(&self, principal: String) -> oneshot::Receiver<ReloadAnswer> {
        let (answer, answered) = oneshot::channel();
        held(&self.asks).push(Ask { principal, answer });
        self.asked.notify_one();
        answered
    }

    /// Who has asked since this was called last.
    #[must_use]
    pub fn asks(&self) -> Vec<Ask> {
        std::mem::take(&mut *held(&self.asks))
    }

    /// Told whenever somebody asks.
    #[must_use]
    pub fn asked(&self) -> Arc<Notify> {
        Arc::clone(&self.asked)
    }
}

fn held<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
