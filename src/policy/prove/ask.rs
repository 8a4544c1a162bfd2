//! One question, from the rules to a verdict: no request, or this one, or unknown and why.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::domain::Language;
use super::formula::Formula;
use super::model::Model;
use super::solve::{Search, Why};
use super::text::Work;
use super::witness::Witness;
use crate::context::MAX_DEPTH;
use crate::oauth::id::ClientId;
use crate::policy::PolicySet;
use crate::policy::facts::Assembler;
use crate::policy::rule::{
    Atom, AudienceMatch, Clients, Condition, Constant, Headers, IssuedTest, Test,
};
use crate::policy::schema::{AttributeRef, ClientSchema, Schema, Value};

/// As many requests are tried that the evaluator does not agree with.
const TRIES: usize = 24;
/// Up to so many clients, each is told apart from each.
const FEW: usize = 4;

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
    work: Work,
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
            Clients::Like(globs) => {
                let named = |client: &ClientSchema| {
                    globs.iter().any(|glob| glob.matches(client.id.as_str()))
                };
                let clients = self.schema.clients.iter().enumerate();
                let clients = clients.filter(|(_, client)| named(client));
                clients.map(|(place, _)| place).collect()
            }
        }
    }
}

/// Of which request a question holds.
pub(in crate::policy) fn ask<P>(ground: &Ground<'_, P>, formula: &Formula<'_, P>) -> Answer {
    let (set, schema) = (ground.set, ground.schema);
    let seen = Seen::of(formula);
    let clients = clients(ground, formula, &seen);
    let mut model = Model::new(schema, clients, seen.depth());
    let node = model.lower(formula, set.resources());
    let found = Search::new(&model, &node, &ground.work).and_then(|mut search| {
        let mut witness = None;
        let found = search.find(TRIES, |assignment| {
            witness = Witness::confirmed(&model, assignment, formula, ground);
            witness.is_some()
        })?;
        Ok((found, witness))
    });
    match found {
        Ok((false, _)) => Answer::Never,
        Ok((true, Some(witness))) => Answer::Of(Box::new(witness)),
        // Never seen: what was found was confirmed.
        Ok((true, None)) => Answer::Unknown(Why::Steps),
        Err(why) => Answer::Unknown(why),
    }
}

/// What a question looks at.
#[derive(Default)]
struct Seen<'f> {
    atoms: Vec<&'f Atom>,
    headers: Vec<&'f Headers>,
    issued: Vec<&'f IssuedTest>,
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
            Formula::Granted(_) => {}
            Formula::Issued(_, test) => self.issued.push(test),
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
/// apart, one.
fn clients<P>(ground: &Ground<'_, P>, formula: &Formula<'_, P>, seen: &Seen<'_>) -> Vec<usize> {
    let schema = ground.schema;
    let mut allowed: Option<BTreeSet<usize>> = None;
    restrict(ground, formula, &mut allowed);
    let allowed: Vec<usize> = match allowed {
        Some(allowed) => allowed.into_iter().collect(),
        None => (0..schema.clients.len()).collect(),
    };
    if allowed.len() <= FEW {
        return allowed;
    }
    // INVARIANT: two clients of the same signature can be exchanged for each other in any request.
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
    kept
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
        client.is_some_and(|client| by.value.contain(client.id.as_str()))
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

/// What a question can tell of a client.
type Signature = (
    Vec<bool>,
    Vec<bool>,
    Vec<Vec<bool>>,
    Vec<&'static str>,
    String,
);

fn signature(client: &ClientSchema, seen: &Seen<'_>, probes: &[Language<'_>]) -> Signature {
    let mut tests = Vec::new();
    for headers in &seen.headers {
        if let Some(by) = &headers.by {
            tests.push(by.value.contain(client.id.as_str()));
        }
    }
    // Attributes that are compared with others are told apart by their values, the others by their tests.
    let mut compared = String::new();
    for atom in &seen.atoms {
        let sides = [
            Some(&atom.left.attribute),
            atom.test.right().map(|(right, _)| right),
        ];
        for side in sides.into_iter().flatten() {
            let AttributeRef::ClientAttribute(name) = side else {
                if let Some(names) = of_client(side, client) {
                    tests.push(crate::policy::decide::plain_test(&atom.test, names));
                }
                continue;
            };
            let value = client.attributes.get(name);
            if atom.test.right().is_some() {
                compared.push_str(&format!("{value:?};"));
            } else {
                let value = value.map(crate::policy::schema::claim_value);
                tests.push(value.is_some_and(|v| crate::policy::decide::plain_test(&atom.test, v)));
                tests.push(value.is_some());
            }
        }
    }
    let probe = |text: &str| -> Vec<bool> {
        let value = Constant::Text(Arc::from(text));
        probes.iter().map(|probe| probe.contains(&value)).collect()
    };
    let mut names: Vec<Vec<bool>> = client.names.iter().map(|name| probe(name)).collect();
    names.sort_unstable();
    (
        tests,
        probe(client.id.as_str()),
        names,
        client.auth.clone(),
        compared,
    )
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
