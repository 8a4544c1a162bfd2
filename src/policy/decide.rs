//! The decision: exactly one outcome, or a refusal that says why.

mod allowance;
mod coverage;
mod decision;
mod evaluate;
mod index;
mod matching;
mod select;
mod share;
mod trace;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use allowance::{Allowance, ConfineError, Confined, Parameters};
pub use coverage::{ConditionCoverage, Coverage, RuleCoverage};
pub use decision::{Decision, Denial, Permit, Reason, Stage};
pub(in crate::policy) use evaluate::plain_test;
pub use index::{Asked, Bound, IndexReport, TreeReport};
pub use select::Selection;
pub use trace::{RuleTrace, Trace, TraceLine};

use super::rule::{DenyRule, Outcome, ParameterValue, Piece, Proof, UseRule};
use super::schema::{AttributeRef, Value};
use crate::context::ExchangeContext;
use crate::oauth::id::{IssuerAlias, RuleId};
use crate::oauth::target::ResourceRegistry;

/// Checked rules, each selecting a `P`. The engine does not know what a `P` is.
#[derive(Clone, Debug)]
pub struct PolicySet<P> {
    rules: Vec<UseRule<P>>,
    denies: Vec<DenyRule>,
    resources: ResourceRegistry,
    /// `overrides`, by place in `rules`; there is no circle.
    overrides: BTreeMap<usize, Vec<usize>>,
    /// How the subjects begin that rules name: `partner|` of `sub: "partner|${subject.sub}"`.
    given: BTreeSet<Arc<str>>,
    /// What a decision rests on, by path: collected once, since every request records the values.
    mentioned: BTreeMap<String, AttributeRef>,
    proofs: Vec<Proof>,
    /// Where to look for what a request can match; it speaks of rules by place.
    index: index::Index,
}

impl<P> PolicySet<P> {
    pub(super) fn new(
        mut rules: Vec<UseRule<P>>,
        mut denies: Vec<DenyRule>,
        resources: ResourceRegistry,
        issuers: &[IssuerAlias],
    ) -> Self {
        // Ordered by id, so that "the least id" is the first one found and files may come in any order.
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        denies.sort_by(|a, b| a.id.cmp(&b.id));
        share::settle(&mut rules, &mut denies);
        let mentioned = mentioned(&rules, &denies);
        let places: HashMap<&RuleId, usize> = rules
            .iter()
            .enumerate()
            .map(|(index, rule)| (&rule.id, index))
            .collect();
        let overrides = rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| !rule.overrides.is_empty())
            .map(|(index, rule)| {
                let below = rule.overrides.iter().filter_map(|id| places.get(id));
                (index, below.copied().collect())
            })
            .collect();
        Self {
            overrides,
            given: given(&rules, issuers),
            index: index::Index::new(&rules, &denies),
            rules,
            denies,
            resources,
            mentioned,
            proofs: Vec::new(),
        }
    }

    pub(super) fn with_proofs(self, proofs: Vec<Proof>) -> Self {
        Self { proofs, ..self }
    }

    /// Names at load, values at run: replaces what rules select; every name that has no value comes
    /// back.
    ///
    /// # Errors
    /// The `P`s for which `find` found nothing.
    pub fn resolve<Q>(self, mut find: impl FnMut(&P) -> Option<Q>) -> Result<PolicySet<Q>, Vec<P>> {
        let mut rules = Vec::with_capacity(self.rules.len());
        let mut missing = Vec::new();
        for rule in self.rules {
            let Some(processor) = find(&rule.outcome.processor) else {
                missing.push(rule.outcome.processor);
                continue;
            };
            rules.push(UseRule {
                id: rule.id,
                span: rule.span,
                doc: rule.doc,
                overrides: rule.overrides,
                headers: rule.headers,
                scope_when: rule.scope_when,
                when: rule.when,
                outcome: Outcome {
                    processor,
                    issue: rule.outcome.issue,
                    audience: rule.outcome.audience,
                    scope_ceiling: rule.outcome.scope_ceiling,
                    beyond_subject: rule.outcome.beyond_subject,
                    acts: rule.outcome.acts,
                    lifetime: rule.outcome.lifetime,
                    carries_scope: rule.outcome.carries_scope,
                    parameters: rule.outcome.parameters,
                },
                outcome_number: rule.outcome_number,
            });
        }
        if missing.is_empty() {
            Ok(PolicySet {
                rules,
                denies: self.denies,
                resources: self.resources,
                overrides: self.overrides,
                given: self.given,
                mentioned: self.mentioned,
                proofs: self.proofs,
                index: self.index,
            })
        } else {
            Err(missing)
        }
    }

    /// How many rules and denies there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.rules.len(), self.denies.len())
    }

    /// The rules that override others, by place, and those that they name.
    pub(in crate::policy) fn overrides(&self) -> impl Iterator<Item = (usize, &[usize])> {
        self.overrides
            .iter()
            .map(|(from, below)| (*from, below.as_slice()))
    }

    /// The rules that one names in `overrides`, by place.
    pub(in crate::policy) fn overridden_by(&self, place: usize) -> &[usize] {
        self.overrides.get(&place).map_or(&[], Vec::as_slice)
    }

    /// The registry of resources.
    pub(in crate::policy) fn resources(&self) -> &ResourceRegistry {
        &self.resources
    }

    /// The rules that let exchanges happen, by id.
    #[must_use]
    pub fn rules(&self) -> &[UseRule<P>] {
        &self.rules
    }

    /// The rules that forbid them, by id.
    #[must_use]
    pub fn denies(&self) -> &[DenyRule] {
        &self.denies
    }

    /// What must hold of every request, in the order written.
    #[must_use]
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// Whether a decision may rest on an attribute.
    #[must_use]
    pub fn mentions(&self, path: &str) -> bool {
        self.mentioned.contains_key(path)
    }

    /// The paths of the attributes that a decision may rest on.
    pub fn mentioned(&self) -> impl Iterator<Item = &str> {
        self.mentioned.keys().map(String::as_str)
    }

    /// The values, in one context, of the attributes that a decision rests on: those that every
    /// decision reads, and those that some rule mentions. By path.
    #[must_use]
    pub fn facts(&self, context: &ExchangeContext) -> serde_json::Map<String, serde_json::Value> {
        let mut facts: serde_json::Map<String, serde_json::Value> = self
            .mentioned
            .iter()
            .filter_map(|(path, attribute)| match attribute.get(context)? {
                // Nearly every request has no chain; its absence reads the same.
                Value::Hops([]) => None,
                value => Some((path.clone(), value.to_json())),
            })
            .collect();
        facts.insert(super::facts::NOW.to_owned(), context.now.0.into());
        facts.insert(
            super::facts::SUBJECT_EXP.to_owned(),
            context.subject.expires_at.0.into(),
        );
        if let Some(actor) = &context.actor {
            facts.insert(
                super::facts::ACTOR_EXP.to_owned(),
                actor.expires_at.0.into(),
            );
        }
        facts
    }
}

/// What the subjects begin with that templates of `sub` make.
fn given<P>(rules: &[UseRule<P>], issuers: &[IssuerAlias]) -> BTreeSet<Arc<str>> {
    let mut given = BTreeSet::new();
    for rule in rules {
        let Some(ParameterValue::Text(template)) = rule.outcome.parameters.get("sub") else {
            continue;
        };
        match template.0.as_slice() {
            // A constant is one name, and not how others begin.
            [Piece::Text(text), _, ..] => {
                given.insert(Arc::clone(text));
            }
            [Piece::Attribute(issuer), Piece::Text(text), ..] if issuer.is_issuer() => {
                given.extend(
                    issuers
                        .iter()
                        .map(|alias| Arc::from(format!("{alias}{text}"))),
                );
            }
            _ => {}
        }
    }
    given
}

/// The attributes that every decision reads, and those that some rule mentions.
fn mentioned<P>(rules: &[UseRule<P>], denies: &[DenyRule]) -> BTreeMap<String, AttributeRef> {
    let mut mentioned = BTreeMap::new();
    let mut add = |attribute: &AttributeRef| {
        mentioned.insert(attribute.path(), attribute.clone());
    };
    super::facts::always().for_each(|attribute| add(&attribute));
    let conditions = rules
        .iter()
        .flat_map(|rule| [&rule.scope_when, &rule.when])
        .chain(denies.iter().map(|deny| &deny.when));
    for condition in conditions {
        condition.atoms(&mut |atom| evaluate::attributes(atom, &mut add));
    }
    for value in rules
        .iter()
        .flat_map(|rule| rule.outcome.parameters.values())
    {
        value.attributes(&mut add);
    }
    mentioned
}
