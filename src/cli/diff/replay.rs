//! Recorded requests, decided by both configurations. What cannot be replayed is counted, and said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::report::{Audit, Example, Group, Replay};
use crate::oauth::NumericDate;
use crate::oauth::error::ErrorCode;
use crate::oauth::id::RealmName;
use crate::policy::compare::{Refusal, Side, changed, side};
use crate::policy::facts::{self, NotAsked, PARTIES, refit, unrecorded};
use crate::provider::Processor;
use crate::services::Services;
use crate::snapshot::Realm;

/// The two configurations, and what was found so far.
pub(super) struct Replaying<'a> {
    now: NumericDate,
    realms: BTreeMap<RealmName, Pair<'a>>,
    audit: Audit,
}

/// A realm as it is and as it would be.
struct Pair<'a> {
    old: &'a Realm,
    new: &'a Realm,
    replay: Replay,
    /// Places of `replay.groups`, by what its members have in common.
    places: BTreeMap<String, usize>,
}

impl<'a> Replaying<'a> {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            now: services.clock.now(),
            realms: BTreeMap::new(),
            audit: Audit::default(),
        }
    }

    pub(super) fn realm(&mut self, old: &'a Realm, new: &'a Realm) {
        let pair = Pair {
            old,
            new,
            replay: Replay::default(),
            places: BTreeMap::new(),
        };
        self.realms.insert(old.name.clone(), pair);
    }

    /// Replays every request of a file, or of standard input.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&mut self, path: &Path) -> Result<(), String> {
        let failed = |error| format!("cannot read {}: {error}", path.display());
        let mut lines: Box<dyn BufRead> = match path.as_os_str() == "-" {
            true => Box::new(stdin().lock()),
            false => Box::new(BufReader::new(File::open(path).map_err(failed)?)),
        };
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return Ok(());
            }
            if !line.trim_ascii().is_empty() {
                self.line(&line);
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let record = match serde_json::from_slice(line) {
            Ok(Value::Object(record)) if record.contains_key("event") => record,
            _ => {
                self.audit.unreadable += 1;
                return;
            }
        };
        let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("event") != "exchange" {
            self.audit.others += 1;
            return;
        }
        let realm = text("realm");
        let pair = self
            .realms
            .iter_mut()
            .find(|(name, _)| name.as_str() == realm);
        match pair {
            Some((_, pair)) => pair.record(&record, self.now),
            None => {
                *self
                    .audit
                    .of_other_realms
                    .entry(realm.to_owned())
                    .or_default() += 1
            }
        }
    }

    /// What was found in each realm, and about the records as such.
    pub(super) fn finish(self) -> (BTreeMap<RealmName, Replay>, Audit) {
        let replays = self.realms.into_iter().map(|(name, pair)| {
            let mut replay = pair.replay;
            replay.groups.sort_by_key(|group| {
                let change = &group.change;
                let lines = (change.before.line(), change.after.line());
                (!change.widens, change.kind, usize::MAX - group.count, lines)
            });
            (name, replay)
        });
        (replays.collect(), self.audit)
    }
}

impl Pair<'_> {
    fn record(&mut self, record: &Map<String, Value>, now: NumericDate) {
        let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
        let decided = match record.get("context") {
            Some(Value::Object(facts)) => self.decide(facts, text("config"), now),
            _ => Err("ended before the policy was asked".to_owned()),
        };
        let (before, after, witness) = match decided {
            Ok(sides) => sides,
            Err(reason) => {
                *self.replay.not_replayed.entry(reason).or_default() += 1;
                return;
            }
        };
        self.replay.requests += 1;
        // Where OLD says something else than was done, it is not what was in force.
        let otherwise = match &before {
            Side::Permitted(_) => of_policy(text("reason")),
            Side::Refused(_) => text("outcome") == "issued",
        };
        self.replay.otherwise += usize::from(otherwise);
        let Some(change) = changed(before, after, witness) else {
            self.replay.same += 1;
            return;
        };
        let differ = change.differences.iter();
        let differ: Vec<String> = differ
            .map(|one| format!("{} {}", one.what, one.widens))
            .collect();
        let key = format!(
            "{:?} {} {} {differ:?}",
            change.kind,
            change.before.line(),
            change.after.line()
        );
        let place = self.places.entry(key).or_insert(self.replay.groups.len());
        match self.replay.groups.get_mut(*place) {
            Some(group) => group.count += 1,
            None => self.replay.groups.push(Group {
                change,
                count: 1,
                example: Example {
                    request_id: text("request_id").to_owned(),
                    time: text("time").to_owned(),
                },
            }),
        }
    }

    /// What both make of a request, and the request.
    fn decide(
        &mut self,
        facts: &Map<String, Value>,
        config: &str,
        now: NumericDate,
    ) -> Result<(Side, Side, Map<String, Value>), String> {
        let (before, mut witness) = decided(self.old, facts, now)?;
        let (after, seen) =
            decided(self.new, facts, now).map_err(|reason| format!("{reason}, in NEW"))?;
        witness.extend(seen);
        self.absent(facts, config);
        Ok((before, after, witness))
    }

    /// Counts what NEW asks for that was not recorded, since nobody asked for it then.
    fn absent(&mut self, facts: &Map<String, Value>, config: &str) {
        let asked_then = |path: &str| config == self.old.hash && self.old.policies.mentions(path);
        let missing = |path: &&str| {
            unrecorded(path, facts) && declared(path, facts, self.new) && !asked_then(path)
        };
        if config == self.new.hash {
            return;
        }
        for path in self.new.policies.mentioned().filter(missing) {
            *self.replay.absent.entry(path.to_owned()).or_default() += 1;
        }
    }
}

/// Whether a recorded reason is one of [`Reason`](crate::policy::decide::Reason): the policy's own.
fn of_policy(reason: &str) -> bool {
    const REASONS: [&str; 7] = [
        "denied",
        "ambiguous",
        "nothing_granted",
        "subject_expires",
        "actor_expires",
        "chain_too_long",
        "subject_taken",
    ];
    REASONS.contains(&reason) || reason.starts_with("no_rule") || reason == "template_value"
}

/// Whether a token of the request's own issuer can have what a path names.
fn declared(path: &str, facts: &Map<String, Value>, realm: &Realm) -> bool {
    PARTIES.iter().all(|party| {
        let name = path.strip_prefix(party.claims);
        name.is_none_or(|name| {
            let issuer = party.issuer(facts, &realm.schema);
            issuer.is_some_and(|issuer| issuer.claims.contains_key(name))
        })
    })
}

/// What a configuration makes of a recorded request, and what it sees of it.
fn decided(
    realm: &Realm,
    facts: &Map<String, Value>,
    now: NumericDate,
) -> Result<(Side, Map<String, Value>), String> {
    let refused = |code, why| {
        Ok((
            Side::Refused(Refusal {
                code,
                reason: "before_policy",
                why,
                rules: Vec::new(),
            }),
            facts.clone(),
        ))
    };
    for issuer in realm.issuers.iter().filter(|issuer| !issuer.enabled) {
        let alias = issuer.alias.as_str();
        let is = |path: String| facts.get(&path).and_then(Value::as_str) == Some(alias);
        if PARTIES.iter().any(|party| is(party.path("issuer"))) {
            let why = format!("issuer `{alias}` is disabled");
            return refused(ErrorCode::InvalidRequest, why);
        }
    }
    let facts_here = match refit(facts, &realm.schema) {
        Ok(facts) => facts,
        Err(NotAsked::Refused(code, why)) => return refused(code, why),
        Err(NotAsked::Unknown(reason)) => return Err(reason),
    };
    let context = facts::assemble(&facts_here, &realm.schema, now)
        .map_err(|problems| without_values(problems.first()))?;
    let name = |processor: &Arc<Processor>| processor.id.to_string();
    Ok((
        side(&realm.policies, &context, name),
        realm.policies.facts(&context),
    ))
}

/// Why a table is no request, without the values that it holds.
fn without_values(problem: Option<&String>) -> String {
    let problem = problem.map_or("it is no request of this realm", String::as_str);
    match problem.split('`').collect::<Vec<_>>().as_slice() {
        ["", path, _, _, ..] if problem.matches('`').count() > 2 => {
            format!("`{path}` is not what it may be")
        }
        _ => problem.to_owned(),
    }
}
