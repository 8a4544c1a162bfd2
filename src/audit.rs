//! What was decided, on durable record before anybody is told.
//!
//! One JSON object a line. It holds everything that a decision rests on, so that it can be explained
//! and replayed, and no token and no secret: tokens stand there as SHA-256 hashes.

pub mod sink;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::broadcast;

use crate::context::{Hop, Party};
use crate::exchange::{ExchangeError, Trail};
use crate::oauth::error::OAuthError;
use crate::policy::decide::Reason;
use crate::policy::facts::{ACTOR, ACTOR_EXP, REDACTED, SUBJECT, SUBJECT_EXP, Stated};
use crate::snapshot::{AuditSettings, Change, Realm};
use sink::{AuditError, AuditSink, Target};

/// How a request ended.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// A token was issued.
    Issued,
    /// It was refused, or failed, on the request line.
    Refused(&'a ExchangeError),
    /// It was refused before that, or did not get to the end: status, reason, what the client is told.
    Other(&'static str, &'a OAuthError),
}

/// The record writer.
#[derive(Debug)]
pub struct Audit {
    sink: AuditSink,
    /// Records of changes that could not be written yet: they go before everything else.
    waiting: Mutex<VecDeque<String>>,
    tap: broadcast::Sender<Arc<Record>>,
}

/// One record.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// When (RFC 3339).
    pub time: String,
    /// `exchange`, or `probe` for a line that only shows that records can be written.
    pub event: &'static str,
    /// The realm that it was for.
    pub realm: String,
    /// The request's id, as the client was told.
    pub request_id: String,
    /// The id of the trace that it belongs to (W3C Trace Context).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// `issued`, `refused` (the client's or the policy's doing) or `failed` (ours).
    pub outcome: &'static str,
    /// The OAuth error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// A word from a closed set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The reason in words, for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The rule that permitted or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRecord>,
    /// Further rules that refused too, or that conflicted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The selected processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// The authenticated client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Value>,
    /// The verified subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Value>,
    /// The verified actor, where an actor token was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Value>,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Value>,
    /// What was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted: Option<Value>,
    /// The values of the attributes that the decision rests on, by path: `explain` reads them back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Map<String, Value>>,
    /// The hash of the configuration that decided.
    pub config: String,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// A rule, and where it stands.
#[derive(Clone, Debug, Serialize)]
pub struct RuleRecord {
    /// `module.rule`.
    pub id: String,
    /// `file:line`.
    pub at: String,
    /// Its `##` lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
}

impl Audit {
    /// Opens the sink that the settings name.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(settings: &AuditSettings) -> Result<Self, AuditError> {
        Self::to(match settings {
            AuditSettings::Stdout => Target::Stdout,
            AuditSettings::File { path, fsync } => Target::File {
                path: path.clone(),
                fsync: *fsync,
            },
        })
    }

    /// Opens a given sink.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn to(target: Target) -> Result<Self, AuditError> {
        Ok(Self {
            sink: AuditSink::open(target)?,
            waiting: Mutex::default(),
            tap: broadcast::channel(64).0,
        })
    }

    /// The records from now on, for a console. Whoever is too slow misses some.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Record>> {
        self.tap.subscribe()
    }

    /// Writes a record; when this returns, it is written.
    ///
    /// # Errors
    /// When it is not, or that is not known. No token may leave then.
    pub async fn record(&self, record: Record) -> Result<(), AuditError> {
        let line = serde_json::to_string(&record)
            .map_err(|error| AuditError::Failed(std::io::Error::from(error).kind()))?;
        self.catch_up().await?;
        self.sink.write(line).await?;
        let _ = self.tap.send(Arc::new(record)); // nobody listening is fine
        Ok(())
    }

    /// Writes the record of a change of the configuration; if not now, then before the next record of an
    /// exchange, so that no token leaves that rests on a change without a record.
    ///
    /// # Errors
    /// When it is not written, or that is not known.
    pub async fn record_change(&self, change: &Change) -> Result<(), AuditError> {
        let line = serde_json::to_string(change)
            .map_err(|error| AuditError::Failed(std::io::Error::from(error).kind()))?;
        self.waiting().push_back(line);
        self.catch_up().await
    }

    /// Writes what waits, in order. What may have been written, and is not known to be, is written again.
    async fn catch_up(&self) -> Result<(), AuditError> {
        loop {
            let Some(line) = self.waiting().front().cloned() else {
                return Ok(());
            };
            self.sink.write(line.clone()).await?;
            let mut waiting = self.waiting();
            // Somebody else may have written it meanwhile, and it stands there twice.
            if waiting.front() == Some(&line) {
                waiting.pop_front();
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether records can be written: after a failure, by writing one.
    pub async fn probe(&self, time: String) -> bool {
        // What waits is written as soon as anybody looks whether it can be.
        let caught_up = self.catch_up().await.is_ok();
        (caught_up && self.sink.healthy()) || {
            let line = serde_json::json!({ "time": time, "event": "probe" }).to_string();
            self.sink.write(line).await.is_ok()
        }
    }
}

impl Record {
    /// The record of one request.
    #[must_use]
    pub fn new(
        time: String,
        trail: &Trail,
        outcome: &Outcome<'_>,
        realm: &Realm,
        duration: std::time::Duration,
    ) -> Self {
        let shown = Shown(&realm.redact);
        let place = |id: &crate::oauth::id::RuleId| RuleRecord {
            id: id.to_string(),
            at: realm
                .places
                .get(id)
                .map(|place| place.at.clone())
                .unwrap_or_default(),
            doc: realm
                .places
                .get(id)
                .and_then(|place| Some(place.doc.as_ref()?.to_string())),
        };
        let mut record = Self {
            time,
            event: "exchange",
            realm: realm.name.to_string(),
            request_id: trail.request_id.to_string(),
            trace_id: trail.trace_id.clone(),
            outcome: "issued",
            error: None,
            reason: None,
            detail: None,
            rule: trail
                .permitted
                .as_ref()
                .map(|permitted| place(&permitted.rule)),
            also: Vec::new(),
            processor: trail
                .permitted
                .as_ref()
                .map(|permitted| permitted.processor.to_string()),
            client: client(trail, shown),
            subject: party(
                &SUBJECT,
                &trail.subject_token_hash,
                trail.subject.as_ref(),
                shown,
            ),
            actor: party(&ACTOR, &trail.actor_token_hash, trail.actor.as_ref(), shown),
            asked: asked(trail, shown),
            granted: granted(trail, shown),
            context: trail.facts.as_ref().map(|facts| redacted(facts, shown)),
            config: realm.hash.clone(),
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        };
        match outcome {
            Outcome::Issued => {}
            Outcome::Refused(error) => {
                record.refuse(
                    error.code().status(),
                    error.code().as_str(),
                    error.reason(),
                    detail(error),
                );
                if let ExchangeError::Denied(denial) = error {
                    record.rule = denial
                        .rule
                        .as_ref()
                        .map(|(id, _)| place(id))
                        .or(record.rule);
                    if let Reason::DeniedBy(rules) | Reason::Ambiguous(rules) = &denial.reason {
                        record.also = rules.iter().skip(1).map(ToString::to_string).collect();
                    }
                }
            }
            Outcome::Other(reason, error) => {
                record.refuse(
                    error.code.status(),
                    error.code.as_str(),
                    reason,
                    error.description.clone(),
                );
            }
        }
        record
    }

    fn refuse(&mut self, status: u16, error: &'static str, reason: &'static str, detail: String) {
        self.outcome = if status >= 500 { "failed" } else { "refused" };
        (self.error, self.reason, self.detail) = (Some(error), Some(reason), Some(detail));
        self.granted = None;
    }
}

/// What the operator is told: the rule's own words where it has some.
fn detail(error: &ExchangeError) -> String {
    match error {
        ExchangeError::Denied(denial) => match (&denial.because, &denial.reason) {
            (Some(because), _) => because.to_string(),
            (None, Reason::NoRule(stage)) => format!("no rule is left at stage `{}`", stage.name()),
            (None, Reason::Template(name)) => {
                format!("the value for `{name}` is absent or holds its separator")
            }
            (None, _) => error.to_string(),
        },
        other => other.to_string(),
    }
}

/// Shows values but for those whose attributes are configured not to be shown.
#[derive(Clone, Copy)]
struct Shown<'a>(&'a BTreeSet<String>);

/// Who acted and who may act: each can be read from the others.
const ACTORS: &[&str] = &[
    "subject.chain",
    "subject.chain.depth",
    "subject.act",
    "subject.act.issuer",
    "subject.act.sub",
    "subject.act.client_id",
    "subject.may_act",
    "subject.may_act.issuer",
    "subject.may_act.sub",
    "subject.may_act.client_id",
    "actor.issuer",
    "actor.sub",
    "actor.client_id",
];
const SCOPES: &[&str] = &["scope", "request.scope", "subject.scope"];
const NAMES: &[&str] = &["client.id", "client.names"];

/// Attributes that tell others: hiding one on the left hides those on the right.
const TELLING: [(&[&str], &[&str]); 5] = [
    (SCOPES, SCOPES),
    (NAMES, NAMES),
    (ACTORS, ACTORS),
    // A client may be an actor, or named to be one; an actor that says no issuer has the subject's.
    (NAMES, ACTORS),
    (&["subject.issuer"], ACTORS),
];

impl Shown<'_> {
    fn hides(self, path: &str) -> bool {
        let told = |(hidden, told): &&(&[&str], &[&str])| {
            told.contains(&path) && hidden.iter().any(|hidden| self.0.contains(*hidden))
        };
        self.0.contains(path) || TELLING.iter().any(|entry| told(&entry))
    }

    /// The value, unless `path` is hidden.
    fn value(self, path: &str, value: impl Into<Value>) -> Value {
        if self.hides(path) {
            REDACTED.into()
        } else {
            value.into()
        }
    }

    /// The value, unless something that it may be made of is hidden.
    fn made_of(self, hidden: impl Fn(&str) -> bool, value: impl Into<Value>) -> Value {
        if self.0.iter().any(|path| hidden(path)) {
            REDACTED.into()
        } else {
            value.into()
        }
    }
}

fn client(trail: &Trail, shown: Shown<'_>) -> Option<Value> {
    match (&trail.client, &trail.claimed_client) {
        (Some(client), _) => Some(serde_json::json!({
            "id": shown.value("client.id", client.id.as_str()),
            "auth": shown.value("client.auth", client.auth),
        })),
        (None, Some(id)) => Some(serde_json::json!({
            "id": shown.value("client.id", id.as_str()),
            "authenticated": false,
        })),
        (None, None) => None,
    }
}

fn party(
    stated: &Stated,
    hash: &Option<String>,
    party: Option<&Party>,
    shown: Shown<'_>,
) -> Option<Value> {
    let hash = hash.as_ref()?;
    let Some(party) = party else {
        return Some(serde_json::json!({ "token_sha256": hash }));
    };
    let value = |name: &str, value: &str| shown.value(&stated.path(name), value);
    Some(serde_json::json!({
        "token_sha256": hash,
        "issuer": value("issuer", party.issuer.as_str()),
        "sub": value("sub", party.subject.as_str()),
        "token_type": value("token_type", party.token_type.name()),
        "token_id": party.token_id,
        "expires_at": shown.value(stated.exp, party.expires_at.0),
    }))
}

fn asked(trail: &Trail, shown: Shown<'_>) -> Option<Value> {
    let asked = trail.asked.as_ref()?;
    let requested = asked.requested_token_type.clone();
    Some(serde_json::json!({
        "resource": shown.value("resource", asked.resource.clone()),
        "audience": shown.value("audience", asked.audience.clone()),
        "scope": shown.value("request.scope", asked.scope.clone()),
        "requested_token_type": shown.value("request.requested_token_type", requested),
        "subject_token_type": shown.value("subject.token_type", asked.subject_token_type.clone()),
        "actor_token_type": shown.value("actor.token_type", asked.actor_token_type.clone()),
    }))
}

fn granted(trail: &Trail, shown: Shown<'_>) -> Option<Value> {
    let allowance = &trail.permitted.as_ref()?.allowance;
    let issued = trail.issued.as_ref()?;
    let audience: Vec<&str> = allowance.audience.iter().map(|name| &**name).collect();
    let target = |path: &str| matches!(path, "resource" | "audience");
    let told = serde_json::json!({
        "audience": shown.made_of(target, audience),
        "scope": shown.value("scope", allowance.scope.to_string()),
        "expires_at": shown.made_of(|path| [SUBJECT_EXP, ACTOR_EXP].contains(&path), allowance.expires_at.0),
        "token_type": allowance.token_type.name(),
        // A template may hold any attribute.
        "sub": shown.made_of(|path| ["subject.", "actor.", "client."].iter().any(|part| path.starts_with(part)), allowance.subject.as_str()),
        "token_id": issued.token_id,
        "token_sha256": issued.token_hash,
    });
    let Value::Object(mut granted) = told else {
        return None;
    };
    if !allowance.act.is_empty() {
        let act = Hop::nested_json(&allowance.act);
        granted.insert("act".to_owned(), shown.value("subject.chain", act));
    }
    if let Some(may_act) = &allowance.may_act {
        let may_act = shown.value("subject.may_act", may_act.to_json());
        granted.insert("may_act".to_owned(), may_act);
    }
    if trail.permitted.as_ref()?.beyond_subject {
        // More than the subject's token had: to be found again by whoever looks.
        granted.insert("beyond_subject".to_owned(), true.into());
    }
    Some(granted.into())
}

fn redacted(facts: &Map<String, Value>, shown: Shown<'_>) -> Map<String, Value> {
    let entry = |(path, value): (&String, &Value)| (path.clone(), shown.value(path, value.clone()));
    facts.iter().map(entry).collect()
}
