//! What a diff says, as data and as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::oauth::id::RealmName;
use crate::policy::compare::{Change, ChangeKind};
use crate::policy::prove::Differences;

/// The whole of it.
pub(super) struct Report {
    /// The directories.
    pub(super) old: String,
    pub(super) new: String,
    pub(super) realms: Vec<RealmReport>,
    pub(super) audit: Audit,
}

/// What was found of one realm.
pub(super) struct RealmReport {
    pub(super) name: RealmName,
    pub(super) presence: Presence,
    pub(super) items: Items,
    /// Other files that differ: what they say of keys, addresses, credentials and processors is not compared.
    pub(super) beyond: Vec<String>,
    /// Every change of outcome that there can be; none where only one side has the realm.
    pub(super) possible: Option<Differences>,
    /// What became of recorded requests; none where only one side has the realm, or there is no audit.
    pub(super) replay: Option<Replay>,
}

/// Which sides have a realm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Both,
    /// OLD alone: nothing is issued any more.
    Gone,
    /// NEW alone: whatever it issues was not issued before.
    New,
}

/// Which rules, denies, lists, defs, tests and proofs differ.
#[derive(Default)]
pub(super) struct Items {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) changed: Vec<String>,
}

/// What became of recorded requests.
#[derive(Default)]
pub(super) struct Replay {
    /// How many were decided by both.
    pub(super) requests: usize,
    /// How many of them alike.
    pub(super) same: usize,
    pub(super) groups: Vec<Group>,
    /// How many could not be replayed, by the reason.
    pub(super) not_replayed: BTreeMap<String, usize>,
    /// Attributes that NEW asks for and records do not have, and how many do not.
    pub(super) absent: BTreeMap<String, usize>,
    /// How many ended otherwise than OLD decides them.
    pub(super) otherwise: usize,
}

/// Requests whose decisions change alike.
pub(super) struct Group {
    /// The change of the first of them.
    pub(super) change: Change,
    pub(super) count: usize,
    pub(super) example: Example,
}

/// Where to find a request.
pub(super) struct Example {
    pub(super) request_id: String,
    pub(super) time: String,
}

/// What was said in the audit that is about no request of these realms, or of no use.
#[derive(Default)]
pub(super) struct Audit {
    /// Lines that are no records.
    pub(super) unreadable: usize,
    /// Records of something else: changes of the configuration, probes.
    pub(super) others: usize,
    /// Requests to realms that are not compared.
    pub(super) of_other_realms: BTreeMap<String, usize>,
}

impl Items {
    pub(super) fn between(
        old: Option<&BTreeMap<String, String>>,
        new: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let (Some(old), Some(new)) = (old, new) else {
            return Self::default();
        };
        let names = |of: &BTreeMap<String, String>, keep: &dyn Fn(&String, &String) -> bool| {
            let kept = of.iter().filter(|(name, hash)| keep(name, hash));
            kept.map(|(name, _)| name.clone()).collect()
        };
        Self {
            added: names(new, &|name, _| !old.contains_key(name)),
            removed: names(old, &|name, _| !new.contains_key(name)),
            changed: names(new, &|name, hash| {
                old.get(name).is_some_and(|was| was != hash)
            }),
        }
    }

    /// What they are called, with a sign for what happened to them.
    pub(super) fn signed(&self) -> Vec<String> {
        let sign = |sign: &'static str, names: &[String]| -> Vec<String> {
            names.iter().map(|name| format!("{sign} {name}")).collect()
        };
        [
            sign("+", &self.added),
            sign("-", &self.removed),
            sign("~", &self.changed),
        ]
        .concat()
    }
}

impl Replay {
    /// How many requests changed, and of how many something widens.
    pub(super) fn changes(&self) -> (usize, usize) {
        let count = |wide: bool| {
            let groups = self
                .groups
                .iter()
                .filter(|group| group.change.widens || !wide);
            groups.map(|group| group.count).sum()
        };
        (count(false), count(true))
    }
}

impl RealmReport {
    pub(super) fn widens(&self) -> bool {
        self.presence == Presence::New
            // Keys, addresses and credentials are not compared: they may let in anybody.
            || !self.beyond.is_empty()
            || self
                .replay
                .as_ref()
                .is_some_and(|replay| replay.changes().1 > 0)
            // What is not known to be as narrow as before counts as wider.
            || self.possible.as_ref().is_some_and(|possible| {
                !possible.unknown.is_empty()
                    || possible.changes.iter().any(|one| one.widens)
                    || possible.realm.iter().any(|(_, widens)| *widens)
            })
    }

    fn to_json(&self) -> Value {
        let presence = match self.presence {
            Presence::Both => "both",
            Presence::Gone => "old",
            Presence::New => "new",
        };
        json!({
            "in": presence,
            "widens": self.widens(),
            "items": {
                "added": self.items.added,
                "removed": self.items.removed,
                "changed": self.items.changed,
            },
            "files_not_compared": self.beyond,
            "possible": self.possible.as_ref().map(possible_json),
            "replay": self.replay.as_ref().map(Replay::to_json),
        })
    }
}

fn possible_json(possible: &Differences) -> Value {
    json!({
        "rules_compared": possible.compared,
        "realm": possible
            .realm
            .iter()
            .map(|(what, widens)| json!({ "what": what, "widens": widens }))
            .collect::<Vec<_>>(),
        "unknown": possible.unknown,
        "changes": possible.changes.iter().map(Change::to_json).collect::<Vec<_>>(),
    })
}

impl Replay {
    fn to_json(&self) -> Value {
        let (changed, widened) = self.changes();
        let counts: BTreeMap<&str, usize> = ChangeKind::ALL
            .into_iter()
            .map(|kind| {
                let groups = self.groups.iter().filter(|group| group.change.kind == kind);
                (kind.name(), groups.map(|group| group.count).sum())
            })
            .collect();
        json!({
            "requests": self.requests,
            "same": self.same,
            "changed": changed,
            "widened": widened,
            "kinds": counts,
            "not_replayed": self.not_replayed,
            "taken_as_absent": self.absent,
            "decided_otherwise_then": self.otherwise,
            "changes": self.groups.iter().map(Group::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Group {
    fn to_json(&self) -> Value {
        let mut change = self.change.to_json();
        if let Some(object) = change.as_object_mut() {
            object.insert("count".to_owned(), self.count.into());
            let example =
                json!({ "request_id": self.example.request_id, "time": self.example.time });
            object.insert("example".to_owned(), example);
        }
        change
    }
}

impl Report {
    /// Whether anything may happen that could not.
    pub(super) fn widens(&self) -> bool {
        self.realms.iter().any(RealmReport::widens)
    }

    /// How many requests were replayed.
    pub(super) fn requests(&self) -> usize {
        let replays = self.realms.iter().filter_map(|realm| realm.replay.as_ref());
        replays.map(|replay| replay.requests).sum()
    }

    pub(super) fn to_json(&self) -> Value {
        let realms = self.realms.iter();
        let realms = realms.map(|realm| (realm.name.to_string(), realm.to_json()));
        json!({
            "old": self.old,
            "new": self.new,
            "widens": self.widens(),
            "realms": Value::Object(realms.collect()),
            "audit": {
                "unreadable_lines": self.audit.unreadable,
                "other_records": self.audit.others,
                "of_other_realms": self.audit.of_other_realms,
            },
        })
    }
}
