//! What was proved, kept for the next load: a verdict holds as long as the rules that it rests on say the
//! same.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};

use crate::jose::sha256;
use crate::policy::schema::Schema;

/// A hash of what a rule says.
pub(super) type Hash = [u8; 32];

/// Verdicts of one realm's policies.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// What the realm has that policies may speak of: another one, and nothing is taken over.
    ground: Hash,
    /// Questions that hold of no request, and the rules besides those in the question that this rests on.
    never: HashMap<Hash, Never>,
    /// Requests by which a rule is selected, as tables in JSON; they are tried again, not believed.
    reached: HashMap<Hash, (Box<str>, usize)>,
    /// How many questions were asked, and how many answered from before.
    pub(super) asked: usize,
    /// See `asked`.
    pub(super) kept: usize,
}

/// That a question holds of no request.
#[derive(Clone, Debug)]
struct Never {
    /// What this rests on besides the rules in the question.
    rests_on: Vec<Hash>,
    /// What it took to find out.
    cost: usize,
}

impl Verdicts {
    /// Those of before that are about the same realm, to be filled again with those that are still of use.
    pub(super) fn new(schema: &Schema) -> Self {
        Self {
            ground: ground(schema),
            ..Self::default()
        }
    }

    /// How many questions were put to the solver, and how many were answered from the load before.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.asked, self.kept)
    }

    /// Whether a question was answered before: of no request, if these rules are there still. Gives what it
    /// took to find out.
    pub(super) fn never(
        &mut self,
        before: Option<&Self>,
        question: &Hash,
        there: impl Fn(&Hash) -> bool,
    ) -> Option<usize> {
        if self.never.contains_key(question) {
            return Some(0);
        }
        let before = before.filter(|before| before.ground == self.ground)?;
        let kept = before.never.get(question)?;
        if !kept.rests_on.iter().all(there) {
            return None;
        }
        self.kept += 1;
        self.never.insert(*question, kept.clone());
        Some(kept.cost)
    }

    pub(super) fn is_never(&mut self, question: Hash, rests_on: Vec<Hash>, cost: usize) {
        self.never.insert(question, Never { rests_on, cost });
    }

    /// A request that selected a rule before, and what it took to find it.
    pub(super) fn reached(
        &self,
        before: Option<&Self>,
        rule: &Hash,
    ) -> Option<(Map<String, Json>, usize)> {
        let before = before.filter(|before| before.ground == self.ground)?;
        let (text, cost) = before.reached.get(rule)?;
        Some((serde_json::from_str(text).ok()?, *cost))
    }

    pub(super) fn is_reached(&mut self, rule: Hash, facts: Map<String, Json>, cost: usize) {
        let text = Json::Object(facts).to_string();
        self.reached.insert(rule, (text.into(), cost));
    }
}

/// A hash of texts, in order.
pub(super) fn hash<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Hash {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&text.len().to_be_bytes());
        bytes.extend_from_slice(text);
    }
    sha256(&bytes)
}

/// Whether two realms are the same to whoever proves something of their policies.
pub(super) fn same_ground(one: &Schema, other: &Schema) -> bool {
    ground(one) == ground(other)
}

/// What proofs rest on besides the rules.
fn ground(schema: &Schema) -> Hash {
    let mut parts: Vec<String> = Vec::new();
    for issuer in &schema.issuers {
        parts.push(format!("{issuer:?}"));
    }
    for client in &schema.clients {
        parts.push(format!("{client:?}"));
    }
    let types: BTreeMap<_, _> = schema.client_attributes.iter().collect();
    parts.push(format!(
        "{types:?} {:?} {:?} {:?}",
        schema.auth_methods, schema.grant_types, schema.resources
    ));
    hash(parts.iter().map(|part| part.as_bytes()))
}
