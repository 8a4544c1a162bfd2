//! Why, and why not: every rule against one context, clause by clause, with the same functions that
//! decide.

use std::sync::Arc;

use super::PolicySet;
use super::evaluate::{
    actor_matches, atom_holds, attributes, by_matches, deny_actor_matches, deny_to_matches,
    first_failure, from_matches, holds, issue_matches, scope_is_carried, targets_match,
    via_matches,
};
use crate::context::ExchangeContext;
use crate::diagnostic::Span;
use crate::oauth::id::RuleId;
use crate::policy::rule::{ActorForm, Condition, Headers};
use crate::policy::schema::AttributeRef;

/// Every rule against one context.
#[derive(Debug)]
pub struct Trace {
    /// The denies, then the rules, by id.
    pub rules: Vec<RuleTrace>,
}

/// One rule against one context.
#[derive(Debug)]
pub struct RuleTrace {
    /// Its full name.
    pub id: RuleId,
    /// Where its name stands.
    pub span: Span,
    /// Whether it is a deny.
    pub deny: bool,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// Whether it matches.
    pub matched: bool,
    /// Whether it matches, and another rule that matches overrides it.
    pub overridden: bool,
    /// Its clauses and conditions.
    pub lines: Vec<TraceLine>,
    /// How many of its clauses do not hold.
    pub misses: usize,
    /// How far it got in the funnel; larger is further.
    progress: usize,
}

/// One clause or condition.
#[derive(Debug)]
pub struct TraceLine {
    /// How deep it stands in `or` and `and`.
    pub depth: usize,
    /// Where it stands; the text is the file's.
    pub span: Span,
    /// What it is when it is not written as such: a default, `any of`.
    pub word: Option<&'static str>,
    /// Whether a `not` around it turns its text into the contrary.
    pub inverted: bool,
    /// Whether it holds.
    pub holds: bool,
    /// The values that it looked at: path and JSON (`null` is absent).
    pub values: Vec<(String, serde_json::Value)>,
}

impl Trace {
    /// The rule that would have permitted with the fewest changes; nothing when one matched.
    #[must_use]
    pub fn nearest_miss(&self) -> Option<&RuleTrace> {
        let rules = || self.rules.iter().filter(|rule| !rule.deny);
        if rules().any(|rule| rule.matched) {
            return None;
        }
        rules().min_by_key(|rule| (rule.misses, usize::MAX - rule.progress))
    }
}

impl<P> PolicySet<P> {
    /// Holds every rule against a context, for `explain`. Never computed for a client.
    #[must_use]
    pub fn trace(&self, context: &ExchangeContext) -> Trace {
        let denying = self.denying(context);
        let denies = self.denies.iter().enumerate().map(|(index, deny)| {
            let mut lines = header_lines(&deny.headers, &deny.span, true, context);
            condition_lines(&deny.when, 0, context, &mut lines);
            RuleTrace {
                id: deny.id.clone(),
                span: deny.span.clone(),
                deny: true,
                doc: deny.doc.clone(),
                matched: denying.binary_search(&index).is_ok(),
                overridden: false,
                misses: misses(&lines),
                lines,
                progress: 0,
            }
        });
        let matching = self.matching(context);
        let left = self.not_overridden(matching.clone());
        let rules = self.rules.iter().enumerate().map(|(index, rule)| {
            let matched = matching.binary_search(&index).is_ok();
            let mut lines = header_lines(&rule.headers, &rule.span, false, context);
            if !rule.outcome.carries_scope {
                let holds = scope_is_carried(rule, context);
                lines.push(TraceLine::word("no scope requested", &rule.span, holds));
            }
            condition_lines(&rule.scope_when, 0, context, &mut lines);
            condition_lines(&rule.when, 0, context, &mut lines);
            RuleTrace {
                id: rule.id.clone(),
                span: rule.span.clone(),
                deny: false,
                doc: rule.doc.clone(),
                matched,
                overridden: matched && left.binary_search(&index).is_err(),
                misses: misses(&lines),
                lines,
                progress: first_failure(rule, context).map_or(usize::MAX, |stage| stage as usize),
            }
        });
        Trace {
            rules: denies.chain(rules).collect(),
        }
    }
}

/// How many clauses do not hold.
fn misses(lines: &[TraceLine]) -> usize {
    let missed = |line: &&TraceLine| line.depth == 0 && !line.holds;
    lines.iter().filter(missed).count()
}

impl TraceLine {
    fn word(word: &'static str, span: &Span, holds: bool) -> Self {
        Self {
            depth: 0,
            span: span.clone(),
            word: Some(word),
            inverted: false,
            holds,
            values: Vec::new(),
        }
    }
}

fn header_lines(
    headers: &Headers,
    rule: &Span,
    deny: bool,
    context: &ExchangeContext,
) -> Vec<TraceLine> {
    let mut lines = Vec::new();
    let mut line = |span: &Span, word, holds, paths: &[&str]| {
        let values = paths
            .iter()
            .filter_map(|path| value_of(path, context))
            .collect();
        // A default stands where the rule's name stands: it has no text of its own.
        let word = (span == rule).then_some(word);
        lines.push(TraceLine {
            depth: 0,
            span: span.clone(),
            word,
            inverted: false,
            holds,
            values,
        });
    };
    if let Some(by) = &headers.by {
        line(
            &by.span,
            "by any client",
            by_matches(headers, context),
            &["client.id"],
        );
    }
    if let Some(from) = &headers.from {
        let paths = ["subject.issuer", "subject.token_type"];
        line(
            &from.span,
            "from any issuer",
            from_matches(headers, context),
            &paths,
        );
    }
    if let Some(actor) = &headers.actor {
        let matches = if deny {
            deny_actor_matches(headers, context)
        } else {
            actor_matches(headers, context)
        };
        let paths = [
            "actor.issuer",
            "actor.sub",
            "subject.act",
            "subject.may_act",
        ];
        // What is absent is worth a word only where it was asked for.
        let asked = !matches && actor.value.form != ActorForm::None;
        let present = |path: &&str| value_of(path, context).is_some_and(|(_, v)| !v.is_null());
        let shown: Vec<&str> = paths
            .into_iter()
            .filter(|path| asked || present(path))
            .collect();
        line(&actor.span, "actor none", matches, &shown);
    }
    if let Some(to) = &headers.to {
        let matches = if deny {
            deny_to_matches(headers, context)
        } else {
            to.value.iter().any(|form| targets_match(form, context))
        };
        line(
            &to.span,
            "to any target",
            matches,
            &["resource", "audience"],
        );
    }
    if let Some(via) = &headers.via {
        line(
            &via.span,
            "via token_exchange",
            via_matches(headers, context),
            &["request.grant_type"],
        );
    }
    if let Some(issue) = &headers.issue {
        let paths = ["request.requested_token_type"];
        line(
            &issue.span,
            "issue access_token",
            issue_matches(headers, context),
            &paths,
        );
    }
    lines
}

fn condition_lines(
    condition: &Condition,
    depth: usize,
    context: &ExchangeContext,
    lines: &mut Vec<TraceLine>,
) {
    match condition {
        Condition::All(parts) if depth == 0 => {
            parts
                .iter()
                .for_each(|part| condition_lines(part, depth, context, lines));
        }
        Condition::All(parts) | Condition::Any(parts) => {
            let word = if matches!(condition, Condition::All(_)) {
                "all of"
            } else {
                "any of"
            };
            if let Some(span) = first_span(condition) {
                let holds = holds(condition, context);
                lines.push(TraceLine {
                    depth,
                    span,
                    word: Some(word),
                    inverted: false,
                    holds,
                    values: Vec::new(),
                });
            }
            parts
                .iter()
                .for_each(|part| condition_lines(part, depth + 1, context, lines));
        }
        Condition::Atom(atom) => {
            let mut values = Vec::new();
            attributes(atom, &mut |attribute| {
                values.push(shown(attribute, context))
            });
            let holds = atom_holds(atom, context);
            lines.push(TraceLine {
                depth,
                span: atom.span.clone(),
                word: None,
                inverted: atom.inverted,
                holds,
                values,
            });
        }
    }
}

fn first_span(condition: &Condition) -> Option<Span> {
    let mut first = None;
    condition.atoms(&mut |atom| {
        first.get_or_insert_with(|| atom.span.clone());
    });
    first
}

fn shown(attribute: &AttributeRef, context: &ExchangeContext) -> (String, serde_json::Value) {
    let value = attribute
        .get(context)
        .map_or(serde_json::Value::Null, |value| value.to_json());
    (attribute.path(), value)
}

fn value_of(path: &str, context: &ExchangeContext) -> Option<(String, serde_json::Value)> {
    let attribute = crate::policy::schema::ATTRIBUTES
        .iter()
        .find(|attribute| attribute.path == path)?;
    Some(shown(&AttributeRef::Fixed(attribute), context))
}
