//! One question, from the rules to a verdict: no request, or this one, or unknown and why.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::domain::{Kind, Language};
use super::formula::Formula;
use super::model::Model;
use super::solve::{Search, Why};
use super::text::Work;
use super::witness::Witness;
use crate::context::MAX_DEPTH;
use crate::oauth::id::ClientId;
use crate::oauth::scope::Scopes;
use crate::policy::PolicySet;
use crate::policy::decide::plain_test;
use crate::policy::facts::Assembler;
use crate::policy::rule::{
    Atom, AudienceMatch, Clients, Condition, Constant, Headers, IssuedTest, Test,
};
use crate::policy::schema::{AttributeRef, ClientSchema, Schema, Value, claim_value};

/// As many requests are tried that the evaluator does not agree with.
const TRIES: usize = 24;
/// Up to so many clients, each is told apart from each.
const FEW: usize = 4;
/// As many as that are, where they must be.
const MANY: usize = 2_000;

/// The answer to a question.
#[derive(Debug)]
pub(in crate::policy) enum Answer {
    /// It holds of no request.
    Never,
    /// It holds of this one, the evaluator says so too.
    Of(Box<Witness>),
    /// It cannot be said.
    Unknown(Why),
}

/// What questions are about.
#[derive(Debug)]
pub(in crate::policy) struct Ground<'a, P> {
    pub(super) set: &'a PolicySet<P>,
    pub(super) schema: &'a Schema,
    pub(super) assembler: Assembler<'a>,
    /// What all questions together took so far.
    pub(super) work: Work,
    /// The schema's clients, by id.
    clients: HashMap<&'a ClientId, usize>,
}

impl<'a, P> Ground<'a, P> {
    pub(in crate::policy) fn new(set: &'a PolicySet<P>, schema: &'a Schema) -> Self {
        let clients = schema.clients.iter().enumerate();
        let clients = clients.map(|(place, client)| (&client.id, place));
        Self {
            set,
            schema,
            assembler: Assembler::new(schema),
            work: Work::default(),
            clients: clients.collect(),
        }
    }

    /// The clients that a header names, by their places.
    pub(super) fn named(&self, clients: &Clients) -> Vec<usize> {
        match clients {
            Clients::Ids(ids) => {
                let places = ids.iter().filter_map(|id| self.clients.get(id));
                places.copied().collect()
            }
            like @ Clients::Like(_) => {
                let all = self.schema.clients.iter().enumerate();
                let named = all.filter(|(_, client)| like.contain(&client.id));
                named.map(|(place, _)| place).collect()
            }
        }
    }
}

/// Of which request a question holds.
pub(in crate::policy) fn ask<P>(ground: &Ground<'_, P>, formula: &Formula<'_, P>) -> Answer {
    let (set, schema) = (ground.set, ground.schema);
    let seen = Seen::of(formula);
    let Some(clients) = clients(ground, formula, &seen) else {
        return Answer::Unknown(Why::Clients);
    };
    let mut model = Model::new(schema, clients, seen.depth());
    let node = model.lower(formula, set.resources());
    let mut no_request = None;
    let found = Search::new(&model, &node, &ground.work).and_then(|mut search| {
        let mut witness = None;
        let found = search.find(TRIES, |assignment| {
            match Witness::confirmed(&model, assignment, formula, ground) {
                Ok(found) => witness = found,
                Err(problem) => no_request = Some(problem),
            }
            witness.is_some()
        })?;
        Ok((found, witness))
    });
    match (found, no_request) {
        (Ok((false, _)), _) => Answer::Never,
        (Ok((true, Some(witness))), _) => Answer::Of(Box::new(witness)),
        // Never seen: what was found was confirmed.
        (Ok((true, None)), _) => Answer::Unknown(Why::Steps),
        (Err(Why::Disagreement(_)), Some(problem)) => Answer::Unknown(Why::NoRequest(problem)),
        (Err(why), _) => Answer::Unknown(why),
    }
}

/// What a question looks at.
#[derive(Default)]
struct Seen<'f> {
    atoms: Vec<&'f Atom>,
    headers: Vec<&'f Headers>,
    issued: Vec<&'f IssuedTest>,
    ceilings: Vec<&'f Scopes>,
    quantified: usize,
    deepest: i64,
}

impl<'f> Seen<'f> {
    fn of<P>(formula: &Formula<'f, P>) -> Self {
        let mut seen = Self::default();
        seen.formula(formula);
        seen
    }

    fn formula<P>(&mut self, formula: &Formula<'f, P>) {
        match formula {
            Formula::All(parts) | Formula::Any(parts) => {
                parts.iter().for_each(|part| self.formula(part));
            }
            Formula::Not(part) => self.formula(part),
            Formula::Rule(rule) => {
                self.headers.push(&rule.headers);
                self.condition(&rule.scope_when);
                self.condition(&rule.when);
            }
            Formula::Headers(rule) => self.headers.push(&rule.headers),
            Formula::Deny(deny) => {
                self.headers.push(&deny.headers);
                self.condition(&deny.when);
            }
            Formula::DenyHeaders(deny) => self.headers.push(&deny.headers),
            Formula::Condition(condition) => self.condition(condition),
            Formula::Granted(rule) => self.ceilings.extend(&rule.outcome.scope_ceiling),
            Formula::Issued(rule, test) => {
                self.ceilings.extend(&rule.outcome.scope_ceiling);
                self.issued.push(test);
            }
        }
    }

    fn condition(&mut self, condition: &'f Condition) {
        condition.atoms(&mut |atom| {
            match &atom.test {
                Test::AnyHop(_) | Test::EveryHop(_) => self.quantified += 1,
                Test::Compare(_, limit) | Test::Equals(Constant::Int(limit)) => {
                    self.deeper(atom, *limit);
                }
                Test::In(list) => {
                    for item in list.iter() {
                        if let Constant::Int(limit) = item {
                            self.deeper(atom, *limit);
                        }
                    }
                }
                // Compared with a number that is not known: any depth may matter.
                Test::EqualsAttribute(_) => self.deeper(atom, i64::MAX),
                _ => {}
            }
            if let Some((right, _)) = atom.test.right()
                && is_depth(right)
            {
                self.deepest = i64::MAX;
            }
            self.atoms.push(atom);
        });
    }

    fn deeper(&mut self, atom: &Atom, limit: i64) {
        if is_depth(&atom.left.attribute) {
            self.deepest = self.deepest.max(limit);
        }
    }

    /// Whether an attribute of the client is compared with another attribute.
    fn compares_clients(&self) -> bool {
        let of_client = |attribute: &AttributeRef| match attribute {
            AttributeRef::ClientAttribute(_) => true,
            AttributeRef::Fixed(fixed) => matches!(fixed.path, "client.id" | "client.names"),
            AttributeRef::Claim(_) | AttributeRef::ActorClaim(_) | AttributeRef::Field(_) => false,
        };
        self.atoms.iter().any(|atom| {
            let right = atom.test.right().map(|(right, _)| right);
            right.is_some_and(|right| of_client(right) || of_client(&atom.left.attribute))
        })
    }

    /// How many actors of a chain are told apart: as many as some quantifier asks for, and one more than any
    /// number that the depth is compared with.
    fn depth(&self) -> usize {
        let deepest = usize::try_from(self.deepest).unwrap_or(MAX_DEPTH);
        (deepest.saturating_add(2) + self.quantified).min(MAX_DEPTH)
    }
}

fn is_depth(attribute: &AttributeRef) -> bool {
    matches!(attribute, AttributeRef::Fixed(fixed) if fixed.path == "subject.chain.depth")
}

/// The clients that a question can be about: those that its headers name, and of those that it does not tell
/// apart, one. Where what clients are called, or have, is compared with what requests say, each is told apart
/// from each; `None` where those are too many.
fn clients<P>(
    ground: &Ground<'_, P>,
    formula: &Formula<'_, P>,
    seen: &Seen<'_>,
) -> Option<Vec<usize>> {
    let schema = ground.schema;
    let mut allowed: Option<BTreeSet<usize>> = None;
    restrict(ground, formula, &mut allowed);
    let allowed: Vec<usize> = match allowed {
        Some(allowed) => allowed.into_iter().collect(),
        None => (0..schema.clients.len()).collect(),
    };
    if allowed.len() <= FEW {
        return Some(allowed);
    }
    if seen.compares_clients() {
        return (allowed.len() <= MANY).then_some(allowed);
    }
    // INVARIANT: two clients of the same signature can be exchanged for each other in any request. Their names
    // are compared with nothing but `may_act`.
    let probes = probes(seen, schema);
    let mut kept: BTreeMap<Signature, usize> = BTreeMap::new();
    for place in allowed {
        if let Some(client) = schema.clients.get(place) {
            kept.entry(signature(client, seen, &probes))
                .or_insert(place);
        }
    }
    let mut kept: Vec<usize> = kept.into_values().collect();
    kept.sort_unstable();
    Some(kept)
}

fn restrict<P>(
    ground: &Ground<'_, P>,
    formula: &Formula<'_, P>,
    allowed: &mut Option<BTreeSet<usize>>,
) {
    let headers = match formula {
        Formula::All(parts) => {
            return parts
                .iter()
                .for_each(|part| restrict(ground, part, allowed));
        }
        Formula::Rule(rule) | Formula::Headers(rule) => &rule.headers,
        Formula::Deny(deny) | Formula::DenyHeaders(deny) => &deny.headers,
        _ => return,
    };
    let Some(by) = &headers.by else { return };
    let named = |place: &usize| {
        let client = ground.schema.clients.get(*place);
        client.is_some_and(|client| by.value.contain(&client.id))
    };
    *allowed = Some(match allowed.take() {
        Some(before) => before.into_iter().filter(named).collect(),
        None => ground.named(&by.value).into_iter().collect(),
    });
}

/// Every text that the question compares with something, and every pattern.
fn probes<'f>(seen: &Seen<'f>, schema: &Schema) -> Vec<Language<'f>> {
    let mut probes = Vec::new();
    fn of<'f>(test: &'f Test, probes: &mut Vec<Language<'f>>) {
        match test {
            Test::Equals(constant) | Test::Has(constant) => {
                probes.push(Language::One(constant.clone()));
            }
            // Each by itself: `has all of` and `==` tell them apart.
            Test::In(list)
            | Test::HasAny(list)
            | Test::HasAll(list)
            | Test::Only(list)
            | Test::SetEquals(list) => {
                probes.extend(list.iter().map(|item| Language::One(item.clone())));
            }
            Test::Like(glob) => probes.push(Language::Like(glob)),
            Test::AnyMember(inner) | Test::EveryMember(inner) => of(&inner.test, probes),
            Test::AnyHop(condition) | Test::EveryHop(condition) => {
                condition.atoms(&mut |atom| of(&atom.test, probes));
            }
            _ => {}
        }
    }
    for atom in &seen.atoms {
        of(&atom.test, &mut probes);
        let defaults = [atom.left.default.as_ref(), right_default(&atom.test)];
        probes.extend(
            defaults
                .into_iter()
                .flatten()
                .map(|d| Language::One(d.clone())),
        );
    }
    for test in &seen.issued {
        if let IssuedTest::Scope(inner) | IssuedTest::Audience(inner) = test {
            of(&inner.test, &mut probes);
        }
    }
    for headers in &seen.headers {
        for form in headers.to.iter().flat_map(|to| &to.value) {
            if let crate::policy::rule::TargetsMatch::Parts {
                audience: Some(audience),
                ..
            } = form
            {
                match audience {
                    AudienceMatch::Equal(names) => probes.extend(
                        names
                            .iter()
                            .map(|name| Language::One(Constant::Text(Arc::clone(name)))),
                    ),
                    AudienceMatch::Like(globs) => probes.extend(globs.iter().map(Language::Like)),
                }
            }
        }
    }
    let constant = |name: &str| Language::One(Constant::Text(Arc::from(name)));
    // What is known of every request speaks of texts too.
    let tenants = schema
        .issuers
        .iter()
        .flat_map(|issuer| issuer.tenants.values());
    probes.extend(tenants.flatten().map(|tenant| constant(tenant)));
    for entry in &schema.resources.0 {
        probes.push(constant(entry.audience.as_str()));
        let scopes = entry.scopes.iter().flat_map(|scopes| scopes.iter());
        probes.extend(scopes.map(constant));
    }
    probes.extend(
        seen.ceilings
            .iter()
            .flat_map(|scopes| scopes.iter())
            .map(constant),
    );
    for kind in [Kind::Name, Kind::ScopeToken, Kind::TokenType] {
        probes.push(Language::Base(kind));
    }
    let aliases = schema
        .issuers
        .iter()
        .map(|issuer| constant(issuer.alias.as_str()));
    probes.extend(aliases);
    probes.extend(schema.auth_methods.iter().map(|name| constant(name)));
    probes.extend(schema.grant_types.iter().map(|name| constant(name)));
    probes.extend(crate::oauth::token_type::TokenType::names().map(constant));
    probes
}

fn right_default(test: &Test) -> Option<&Constant> {
    match test {
        Test::EqualsAttribute(other) | Test::HasAttribute(other) => other.default.as_ref(),
        _ => None,
    }
}

/// What a question can tell of a client: how it fares with tests of its own, and how each of its names fares
/// with everything that texts are tested for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Signature {
    tests: Vec<bool>,
    auth: Vec<&'static str>,
    names: Vec<Vec<bool>>,
}

fn signature(client: &ClientSchema, seen: &Seen<'_>, probes: &[Language<'_>]) -> Signature {
    let mut tests = Vec::new();
    for headers in &seen.headers {
        if let Some(by) = &headers.by {
            tests.push(by.value.contain(&client.id));
        }
    }
    for atom in &seen.atoms {
        let value = match &atom.left.attribute {
            AttributeRef::ClientAttribute(name) => client.attributes.get(name).map(claim_value),
            other => of_client(other, client),
        };
        tests.push(value.is_some());
        tests.push(value.is_some_and(|value| plain_test(&atom.test, value)));
    }
    let probe = |name: &Arc<str>| -> Vec<bool> {
        let value = Constant::Text(Arc::clone(name));
        probes.iter().map(|probe| probe.contains(&value)).collect()
    };
    let mut names: Vec<Vec<bool>> = client.names.iter().map(probe).collect();
    names.sort_unstable();
    Signature {
        tests,
        auth: client.auth.clone(),
        names,
    }
}

/// The value of `client.id` and `client.names`.
fn of_client<'c>(attribute: &AttributeRef, client: &'c ClientSchema) -> Option<Value<'c>> {
    let AttributeRef::Fixed(fixed) = attribute else {
        return None;
    };
    match fixed.path {
        "client.id" => Some(Value::Text(client.id.as_str())),
        "client.names" => Some(Value::Set(&client.names)),
        _ => None,
    }
}
