//! What two policy sets make of one request, and which of them lets more happen.
//!
//! Pure: whoever has requests (recorded ones, or witnesses that an analysis found) asks here. What cannot
//! be told to be as narrow as before counts as wider.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::PolicySet;
use super::decide::{Allowance, Decision, Permit};
use super::explain::why;
use super::syntax::ast::Duration;
use crate::context::{ExchangeContext, Hop, MayAct};
use crate::oauth::error::ErrorCode;

/// What one policy set makes of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Side {
    /// Nothing is issued.
    Refused(Refusal),
    /// A token may be issued.
    Permitted(Box<Grant>),
}

/// See [`Side`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What the client is told.
    pub code: ErrorCode,
    /// A word from a closed set.
    pub reason: &'static str,
    /// The reason in words.
    pub why: String,
    /// The rules that refuse; none where none was left.
    pub rules: Vec<String>,
}

/// See [`Side`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// What people call the processor.
    pub processor: String,
    /// The rule that permits.
    pub rule: String,
    /// The most that may be issued.
    pub allowance: Allowance,
    /// How long the token may live, in seconds.
    pub lifetime: i64,
    /// Whether the subject's own scope does not bound what is granted.
    pub beyond_subject: bool,
    /// The processor's own parameters but for the subject, by name.
    pub parameters: Map<String, Json>,
}

/// What becomes of a request that is decided otherwise than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// What it was.
    pub before: Side,
    /// What it is.
    pub after: Side,
    /// What differs, where something is permitted before and after.
    pub differences: Vec<Difference>,
    /// Whether something may happen that could not.
    pub widens: bool,
    /// The request: the values of what the decisions rest on, by path.
    pub witness: Map<String, Json>,
}

/// See [`Change`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChangeKind {
    /// Refused, and now permitted.
    Opened,
    /// Permitted by one processor, and now by another.
    Processor,
    /// Permitted, and now within other bounds or with other parameters.
    Bounds,
    /// Permitted, and now refused.
    Closed,
    /// Refused, and now with another code.
    Code,
}

impl ChangeKind {
    /// All of them, what opens most first.
    pub const ALL: [Self; 5] = [
        Self::Opened,
        Self::Processor,
        Self::Bounds,
        Self::Closed,
        Self::Code,
    ];

    /// A word for machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Processor => "processor",
            Self::Bounds => "bounds",
            Self::Closed => "closed",
            Self::Code => "code",
        }
    }

    /// The same for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Opened => "refused → permitted",
            Self::Processor => "another processor",
            Self::Bounds => "other bounds or parameters",
            Self::Closed => "permitted → refused",
            Self::Code => "refused with another code",
        }
    }
}

/// One thing in which two permits differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What it is called: `scope`, `lifetime`, or a parameter.
    pub what: String,
    /// What it was; null where it was not there.
    pub before: Json,
    /// What it is.
    pub after: Json,
    /// Whether more may happen for it.
    pub widens: bool,
}

/// Decides one request with two sets, each in its own context. `name_old` and `name_new` say what people
/// call a processor. `None` where nothing changes that anybody outside could see.
pub fn compare<A, B>(
    old: &PolicySet<A>,
    new: &PolicySet<B>,
    context_old: &ExchangeContext,
    context_new: &ExchangeContext,
    name_old: impl Fn(&A) -> String,
    name_new: impl Fn(&B) -> String,
) -> Option<Change> {
    let mut witness = old.facts(context_old);
    witness.extend(new.facts(context_new));
    changed(
        side(old, context_old, name_old),
        side(new, context_new, name_new),
        witness,
    )
}

/// What a set makes of a request.
pub fn side<P>(set: &PolicySet<P>, context: &ExchangeContext, name: impl Fn(&P) -> String) -> Side {
    match set.decide(context) {
        Decision::Permit(processor, permit) => {
            Side::Permitted(Box::new(grant(name(processor), &permit)))
        }
        Decision::Deny(denial) => {
            let mut rules: Vec<String> = denial.rule.iter().map(|(id, _)| id.to_string()).collect();
            for id in denial.reason.rules() {
                if !rules.contains(&id.to_string()) {
                    rules.push(id.to_string());
                }
            }
            Side::Refused(Refusal {
                code: denial.code,
                reason: denial.reason.name(),
                why: why(&denial.reason),
                rules,
            })
        }
    }
}

fn grant(processor: String, permit: &Permit<'_>) -> Grant {
    let parameters = permit.parameters().iter();
    Grant {
        processor,
        rule: permit.rule().to_string(),
        lifetime: permit.allowance().expires_at.since(permit.context().now),
        allowance: permit.allowance().clone(),
        beyond_subject: permit.beyond_subject(),
        parameters: parameters
            .filter(|(name, _)| **name != "sub")
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

/// What becomes of a request for which these came out.
#[must_use]
pub fn changed(before: Side, after: Side, witness: Map<String, Json>) -> Option<Change> {
    let mut differences = Vec::new();
    let (kind, widens) = match (&before, &after) {
        (Side::Refused(was), Side::Refused(is)) => {
            if was.code == is.code {
                return None;
            }
            (ChangeKind::Code, false)
        }
        (Side::Refused(_), Side::Permitted(_)) => (ChangeKind::Opened, true),
        (Side::Permitted(_), Side::Refused(_)) => (ChangeKind::Closed, false),
        (Side::Permitted(was), Side::Permitted(is)) => {
            differences = self::differences(was, is);
            let widens = differences.iter().any(|one| one.widens);
            if was.processor != is.processor {
                // What another processor makes of the same bounds is not for this place to know.
                (ChangeKind::Processor, true)
            } else if differences.is_empty() {
                return None;
            } else {
                (ChangeKind::Bounds, widens)
            }
        }
    };
    Some(Change {
        kind,
        before,
        after,
        differences,
        widens,
        witness,
    })
}

fn differences(was: &Grant, is: &Grant) -> Vec<Difference> {
    let (a, b) = (&was.allowance, &is.allowance);
    let mut found = Vec::new();
    let mut differ = |what: &str, before: Json, after: Json, widens: bool| {
        if before != after {
            found.push(Difference {
                what: what.to_owned(),
                before,
                after,
                widens,
            });
        }
    };
    let names = |set: &BTreeSet<_>| {
        set.iter()
            .map(|name: &std::sync::Arc<str>| &**name)
            .collect()
    };
    differ(
        "audience",
        names(&a.audience),
        names(&b.audience),
        !b.audience.is_subset(&a.audience),
    );
    differ(
        "scope",
        a.scope.to_string().into(),
        b.scope.to_string().into(),
        !b.scope.is_subset(&a.scope),
    );
    differ(
        "lifetime",
        was.lifetime.into(),
        is.lifetime.into(),
        is.lifetime > was.lifetime,
    );
    differ(
        "token_type",
        a.token_type.name().into(),
        b.token_type.name().into(),
        true,
    );
    differ(
        "sub",
        a.subject.as_str().into(),
        b.subject.as_str().into(),
        true,
    );
    differ(
        "act",
        Hop::nested_json(&a.act),
        Hop::nested_json(&b.act),
        !all_are_written(&a.act, &b.act),
    );
    let may_act = |allowance: &Allowance| allowance.may_act.as_ref().map(MayAct::claim);
    differ(
        "may_act",
        may_act(a).into(),
        may_act(b).into(),
        b.may_act.is_some(),
    );
    differ(
        "beyond_subject",
        was.beyond_subject.into(),
        is.beyond_subject.into(),
        is.beyond_subject,
    );
    let parameters: BTreeSet<&String> = was.parameters.keys().chain(is.parameters.keys()).collect();
    for name in parameters {
        let value = |grant: &Grant| grant.parameters.get(name).cloned().unwrap_or_default();
        // What a claim is good for, others know: one that is new, different or gone may open something.
        differ(name, value(was), value(is), true);
    }
    found
}

/// Whether every actor of a chain stands in another, in the same order.
fn all_are_written(before: &[Hop], after: &[Hop]) -> bool {
    let mut rest = after.iter();
    before.iter().all(|hop| rest.any(|other| other == hop))
}

impl Side {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Refused(refusal) => json!({
                "decision": "refuse",
                "error": refusal.code.as_str(),
                "reason": refusal.reason,
                "detail": refusal.why,
                "rules": refusal.rules,
            }),
            Self::Permitted(grant) => {
                let allowed = &grant.allowance;
                json!({
                    "decision": "permit",
                    "processor": grant.processor,
                    "rule": grant.rule,
                    "audience": allowed.audience.iter().map(|name| &**name).collect::<Vec<_>>(),
                    "scope": allowed.scope.to_string(),
                    "lifetime": grant.lifetime,
                    "token_type": allowed.token_type.name(),
                    "sub": allowed.subject.as_str(),
                    "act": Hop::nested_json(&allowed.act),
                    "may_act": allowed.may_act.as_ref().map(MayAct::to_json),
                    "beyond_subject": grant.beyond_subject,
                    "parameters": grant.parameters,
                })
            }
        }
    }

    /// Who decided, without the bounds: requests that are decided alike have it in common.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Refused(refusal) => {
                format!("refused, {}: {}", refusal.code.as_str(), refusal.why)
            }
            Self::Permitted(grant) => format!("{} by {}", grant.processor, grant.rule),
        }
    }

    /// The bounds of a permit in a few words, without what a person could be known by.
    #[must_use]
    pub fn bounds(&self) -> Option<String> {
        let Self::Permitted(grant) = self else {
            return None;
        };
        let allowed = &grant.allowance;
        let audience: Vec<&str> = allowed.audience.iter().map(|name| &**name).collect();
        let scope = match allowed.scope.is_empty() {
            true => "no scope".to_owned(),
            false => format!("scope {}", allowed.scope),
        };
        let beyond = if grant.beyond_subject {
            ", beyond subject"
        } else {
            ""
        };
        Some(format!(
            "audience {}, {scope}{beyond}, {}",
            audience.join(" "),
            Duration::of(grant.lifetime)
        ))
    }
}

impl Change {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let differences = self.differences.iter();
        json!({
            "kind": self.kind.name(),
            "widens": self.widens,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "differences": differences.map(Difference::to_json).collect::<Vec<_>>(),
            "request": self.witness,
        })
    }
}

impl Difference {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "what": self.what,
            "before": self.before,
            "after": self.after,
            "widens": self.widens,
        })
    }

    /// Both values in words; values that a person could be known by are left out where `private`.
    #[must_use]
    pub fn text(&self, private: bool) -> String {
        let hidden = private
            && !matches!(
                &*self.what,
                "audience" | "scope" | "lifetime" | "token_type" | "beyond_subject"
            );
        if hidden {
            return format!("{} differs", self.what);
        }
        let value = |value: &Json| match value {
            Json::Null => "nothing".to_owned(),
            Json::Object(object) if object.is_empty() => "nothing".to_owned(),
            Json::String(text) if text.is_empty() => "nothing".to_owned(),
            Json::String(text) => text.clone(),
            Json::Array(items) if items.iter().all(Json::is_string) => {
                let items: Vec<&str> = items.iter().filter_map(Json::as_str).collect();
                items.join(" ")
            }
            Json::Number(seconds) if self.what == "lifetime" => {
                Duration::of(seconds.as_i64().unwrap_or_default()).to_string()
            }
            other => other.to_string(),
        };
        format!(
            "{}: {} → {}",
            self.what,
            value(&self.before),
            value(&self.after)
        )
    }
}
