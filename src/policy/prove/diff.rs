//! What two policy sets make differently of some request, one request for each change of outcome.
//!
//! Rules are held against rules: where a rule of one set and a rule of the other with another outcome decide
//! the same request, and where a rule decides what the other set refuses. Every request that is shown was
//! decided by both, each in its own realm.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};

use super::Name;
use super::ask::{Answer, Ground, ask};
use super::formula::Formula;
use super::ground;
use super::pairs::{Keys, Names, targets_apart, texts_apart};
use super::questions::{Because, Questions};
use super::spell;
use super::witness::Witness;
use crate::context::ExchangeContext;
use crate::oauth::error::ErrorCode;
use crate::policy::PolicySet;
use crate::policy::compare::{Change, Refusal, Side, changed, side};
use crate::policy::facts::{self, NotAsked, refit};
use crate::policy::rule::{
    Clients, Comparison, Constant, DenyRule, IssuedTest, MemberTest, Test, UseRule,
};
use crate::policy::schema::Schema;
use crate::policy::trial::NOW;

/// As many rounds one question may take.
const MAX_ROUNDS: usize = 256;
/// As many scope tokens are tried by which two ceilings differ.
const MAX_TOKENS: usize = 8;

/// A policy set and the realm that it was checked against.
#[derive(Debug)]
pub struct Checked<'a, P> {
    /// The rules.
    pub set: &'a PolicySet<P>,
    /// What they may speak of.
    pub schema: &'a Schema,
}

impl<P> Clone for Checked<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Checked<'_, P> {}

/// What differs between two policy sets.
#[derive(Debug, Default)]
pub struct Differences {
    /// One for each change of outcome, with a request of which it is so.
    pub changes: Vec<Change>,
    /// What differs in the realms themselves: in words, and whether it may let more happen. Rules are held
    /// against rules as if each realm read the same requests, so this stands by itself.
    pub realm: Vec<(String, bool)>,
    /// What could not be worked out: in words.
    pub unknown: Vec<String>,
    /// How many rules were held against the other set.
    pub compared: usize,
}

/// Looks for every change of outcome from one set to another. `name` says what people call a processor.
pub fn diff<P>(old: Checked<'_, P>, new: Checked<'_, P>, name: Name<'_, P>) -> Differences {
    let mut found = Found::default();
    // Forwards, what is new; backwards, what is gone. The request is one of the realm that decides it.
    Direction::new(old, new, name, true).run(&mut found);
    Direction::new(new, old, name, false).run(&mut found);
    codes(old, new, name, &mut found);
    let mut changes: Vec<Change> = found.changes.into_values().collect();
    changes.sort_by_key(|change| (!change.widens, change.kind, change.after.line()));
    Differences {
        changes,
        realm: ground::differences(old.schema, new.schema),
        unknown: found.unknown,
        compared: found.compared,
    }
}

/// Denies that match as before and answer with another code.
fn codes<P>(old: Checked<'_, P>, new: Checked<'_, P>, name: Name<'_, P>, found: &mut Found) {
    let before: BTreeMap<_, _> = old.set.denies().iter().map(|d| (&d.id, d.error)).collect();
    let otherwise = |deny: &&DenyRule| before.get(&deny.id).is_some_and(|was| *was != deny.error);
    let mut changed = new.set.denies().iter().filter(otherwise).peekable();
    // Most of the time there is none, and nothing to prepare for.
    if changed.peek().is_none() {
        return;
    }
    let direction = Direction::new(old, new, name, true);
    for deny in changed {
        if let Answer::Of(witness) = ask(&direction.mine.ground, &Formula::Deny(deny)) {
            direction.add(*witness, found);
        }
    }
}

#[derive(Default)]
struct Found {
    /// By what it was, what it is, and what widens of it.
    changes: BTreeMap<(String, String, Vec<String>), Change>,
    unknown: Vec<String>,
    compared: usize,
}

/// The rules of one set against the other.
struct Direction<'a, P> {
    /// The set whose rules are held against the other.
    mine: Questions<'a, P>,
    /// The other, in its own realm.
    theirs: Questions<'a, P>,
    name: Name<'a, P>,
    /// Whether mine is the new one.
    forwards: bool,
    my_keys: Vec<Keys>,
    their_keys: Vec<Keys>,
    /// The rules of the other set that say the same, by what they say.
    same: HashMap<String, usize>,
    /// Whether all denies say the same in both.
    same_denies: bool,
    same_realm: bool,
}

impl<'a, P> Direction<'a, P> {
    fn new(
        theirs: Checked<'a, P>,
        mine: Checked<'a, P>,
        name: Name<'a, P>,
        forwards: bool,
    ) -> Self {
        let mut names = Names::default();
        let mut keys = |checked: Checked<'a, P>| -> Vec<Keys> {
            let ground = Ground::new(checked.set, checked.schema);
            let like = |clients: &Clients| -> Vec<String> {
                let places = ground.named(clients).into_iter();
                let clients = places.filter_map(|place| checked.schema.clients.get(place));
                clients.map(|client| client.id.to_string()).collect()
            };
            let rules = checked.set.rules().iter();
            rules.map(|rule| names.of_rule(rule, like)).collect()
        };
        let (my_keys, their_keys) = (keys(mine), keys(theirs));
        let said = |checked: Checked<'a, P>| -> Vec<String> {
            let denies = checked.set.denies().iter().map(spell::deny);
            denies.collect()
        };
        let rules = theirs.set.rules().iter().enumerate();
        let same =
            rules.map(|(place, rule)| (spell::rule(rule, &name(&rule.outcome.processor)), place));
        Self {
            same: same.collect(),
            same_denies: said(mine) == said(theirs),
            same_realm: super::verdicts::same_ground(mine.schema, theirs.schema),
            mine: Questions::new(mine.set, mine.schema, name, None),
            theirs: Questions::new(theirs.set, theirs.schema, name, None),
            name,
            forwards,
            my_keys,
            their_keys,
        }
    }

    fn run(mut self, found: &mut Found) {
        let set = self.mine.set();
        for (place, rule) in set.rules().iter().enumerate() {
            if self.unchanged(place, rule) {
                continue;
            }
            found.compared += 1;
            self.against_nothing(place, rule, found);
            let meets = |other: &usize| match (self.my_keys.get(place), self.their_keys.get(*other))
            {
                (Some(mine), Some(theirs)) => mine.meet(theirs),
                _ => true,
            };
            // What two rules make differently is the same from both sides.
            if !self.forwards {
                continue;
            }
            let others: Vec<usize> = (0..self.their_keys.len()).filter(meets).collect();
            for other in others {
                self.against(place, rule, other, found);
            }
        }
    }

    /// Whether a rule says the same in both sets and nothing stands otherwise in its way.
    fn unchanged(&self, place: usize, rule: &UseRule<P>) -> bool {
        let said = spell::rule(rule, &(self.name)(&rule.outcome.processor));
        let Some(other) = self.same.get(&said) else {
            return false;
        };
        let above = |questions: &Questions<'a, P>, place: usize| -> Vec<String> {
            let rules = questions.set().rules();
            let above = questions.overriders(place).filter_map(|p| rules.get(p));
            above
                .map(|rule| spell::rule(rule, &(self.name)(&rule.outcome.processor)))
                .collect()
        };
        self.same_realm
            && self.same_denies
            && above(&self.mine, place) == above(&self.theirs, *other)
    }

    /// Requests that the rule decides and the other set refuses.
    fn against_nothing(&mut self, place: usize, rule: &'a UseRule<P>, found: &mut Found) {
        let mut parts = vec![Formula::Rule(rule), Formula::Granted(rule)];
        for _ in 0..MAX_ROUNDS {
            let witness = match ask(&self.mine.ground, &Formula::All(parts.clone())) {
                Answer::Never => return,
                Answer::Unknown(why) => {
                    found.unknown.push(format!("`{}`: {why}", rule.id));
                    return;
                }
                Answer::Of(witness) => witness,
            };
            if let Some(barred) = self.barred(&witness.context, place) {
                parts.push(barred);
                continue;
            }
            let there = self.there(&witness);
            let decided = there.as_ref().and_then(|context| self.deciding(context));
            match (decided, &there) {
                // Decided there too: set aside with all that the same rule decides.
                (Some(by), Some(_)) => parts.push(self.not_decided_by(by)),
                _ => {
                    self.add(*witness, found);
                    return;
                }
            }
        }
        found
            .unknown
            .push(format!("`{}`: it took too many steps", rule.id));
    }

    /// Requests that both rules decide, differently.
    fn against(&mut self, place: usize, rule: &'a UseRule<P>, other: usize, found: &mut Found) {
        let Some(theirs) = self.theirs.set().rules().get(other) else {
            return;
        };
        let outcome = |rule: &UseRule<P>| {
            spell::outcome(&rule.outcome, &(self.name)(&rule.outcome.processor))
        };
        let equal = outcome(rule) == outcome(theirs);
        let apart = targets_apart(rule, theirs) || texts_apart(rule, theirs);
        // What the same words come to in another realm is looked at rule by rule.
        if apart || (equal && (self.same_realm || rule.id != theirs.id)) {
            return;
        }
        let tests = match equal {
            true => Vec::new(),
            false => tests(rule, theirs),
        };
        let base = vec![
            Formula::Rule(rule),
            Formula::Granted(rule),
            Formula::Rule(theirs),
        ];
        // First any request; then one for each thing that only some show. All of them: what shrinks in one way
        // may grow in another.
        for test in std::iter::once(None).chain(tests.iter().map(Some)) {
            let mut parts = base.clone();
            if let Some((at, test)) = test {
                let of = if *at { rule } else { theirs };
                parts.push(Formula::Issued(of, test));
            }
            match self.both(parts, place, other, rule, found) {
                Some(witness) => drop(self.add(witness, found)),
                None if test.is_none() => return,
                None => {}
            }
        }
    }

    /// A request of a question that a rule of each set decides.
    fn both<'f>(
        &mut self,
        mut parts: Vec<Formula<'f, P>>,
        place: usize,
        other: usize,
        rule: &UseRule<P>,
        found: &mut Found,
    ) -> Option<Witness>
    where
        'a: 'f,
    {
        for _ in 0..MAX_ROUNDS {
            let witness = match ask(&self.mine.ground, &Formula::All(parts.clone())) {
                Answer::Never => return None,
                Answer::Unknown(why) => {
                    found.unknown.push(format!("`{}`: {why}", rule.id));
                    return None;
                }
                Answer::Of(witness) => witness,
            };
            if let Some(barred) = self.barred(&witness.context, place) {
                parts.push(barred);
                continue;
            }
            let Some(there) = self.there(&witness) else {
                return Some(*witness);
            };
            match self.theirs.bars(&there, &[other]).first() {
                None => return Some(*witness),
                Some(because) => parts.extend(self.theirs.contrary_of(*because)),
            }
        }
        None
    }

    /// What keeps the rule from deciding a request, as something that must not be.
    fn barred(&self, context: &ExchangeContext, place: usize) -> Option<Formula<'a, P>> {
        let because: Because = *self.mine.bars(context, &[place]).first()?;
        self.mine.contrary_of(because)
    }

    /// The same request in the other realm; `None` where it cannot be one there.
    fn there(&self, witness: &Witness) -> Option<ExchangeContext> {
        in_realm(&self.theirs.ground, &witness.facts).ok()
    }

    /// The rule of the other set that decides a request, and permits.
    fn deciding(&self, context: &ExchangeContext) -> Option<usize> {
        let set = self.theirs.set();
        let place = set
            .matching(context)
            .into_iter()
            .find(|place| self.theirs.bars(context, &[*place]).is_empty())?;
        let rule = set.rules().get(place)?;
        set.would_grant(rule, context).then_some(place)
    }

    fn not_decided_by(&self, place: usize) -> Formula<'a, P> {
        let set = self.theirs.set();
        let mut otherwise = Vec::new();
        if let Some(rule) = set.rules().get(place) {
            otherwise.push(Formula::Rule(rule).not());
            otherwise.push(Formula::Granted(rule).not());
        }
        let above = self.theirs.overriders(place);
        otherwise.extend(above.filter_map(|p| set.rules().get(p)).map(Formula::Rule));
        otherwise.extend(set.denies().iter().map(Formula::Deny));
        Formula::Any(otherwise)
    }

    /// Adds what both make of a request, if they differ.
    fn add(&self, witness: Witness, found: &mut Found) -> bool {
        let Some(change) = self.change(&witness.facts) else {
            return false;
        };
        // Two changes of the same rules are two where one of them opens more.
        let key = |change: &Change| {
            let wider = change.differences.iter().filter(|one| one.widens);
            let wider = wider.map(|one| one.what.clone()).collect();
            (change.before.line(), change.after.line(), wider)
        };
        let named = key(&change);
        if found.changes.contains_key(&named) {
            return true;
        }
        // The smallest request that is decided like this on both sides.
        let differences = |change: &Change| {
            let named = change.differences.iter().map(|one| one.what.clone());
            named.collect::<Vec<_>>()
        };
        let told = differences(&change);
        let witness = witness.smaller(&self.mine.ground, |smaller| {
            let change = self.change(&smaller.facts);
            change.is_some_and(|change| key(&change) == named && differences(&change) == told)
        });
        let change = self.change(&witness.facts).unwrap_or(change);
        found.changes.insert(named, change);
        true
    }

    /// What becomes of a request.
    fn change(&self, facts: &Map<String, Json>) -> Option<Change> {
        let side_of = |questions: &Questions<'a, P>| match in_realm(&questions.ground, facts) {
            Ok(context) => side(questions.set(), &context, |p| (self.name)(p)),
            Err(refused) => refused,
        };
        let (here, there) = (side_of(&self.mine), side_of(&self.theirs));
        let (before, after) = match self.forwards {
            true => (there, here),
            false => (here, there),
        };
        changed(before, after, facts.clone())
    }
}

/// A request as a realm reads it, with what the realm requires; or how it refuses it before any rule is asked.
fn in_realm<P>(ground: &Ground<'_, P>, facts: &Map<String, Json>) -> Result<ExchangeContext, Side> {
    let mut facts = facts.clone();
    facts::placeholders(&mut facts, ground.schema);
    let refused = |code, why| {
        Side::Refused(Refusal {
            code,
            reason: "before_rules",
            why,
            rules: Vec::new(),
        })
    };
    let facts = refit(&facts, ground.schema).map_err(|reason| match reason {
        NotAsked::Refused(code, why) => refused(code, why),
        NotAsked::Unknown(why) => refused(ErrorCode::InvalidRequest, why),
    })?;
    let context = ground.assembler.assemble(&facts, NOW);
    context.map_err(|problems| refused(ErrorCode::InvalidRequest, problems.join("; ")))
}

/// What shows that two outcomes differ, where not every request does: a longer life, a scope token that only
/// one of them grants. Whether the first rule's issue is meant, and the test.
fn tests<P>(one: &UseRule<P>, other: &UseRule<P>) -> Vec<(bool, IssuedTest)> {
    let mut tests = Vec::new();
    let (a, b) = (one.outcome.lifetime, other.outcome.lifetime);
    if a != b {
        let test = IssuedTest::Lifetime(Comparison::Greater, a.min(b));
        tests.push((a > b, test));
    }
    let ceilings = (&one.outcome.scope_ceiling, &other.outcome.scope_ceiling);
    let mut only = |of: bool, some: &Option<_>, others: &Option<crate::oauth::scope::Scopes>| {
        let some: &Option<crate::oauth::scope::Scopes> = some;
        let tokens = some.iter().flat_map(|scopes| scopes.iter());
        let tokens =
            tokens.filter(|token| others.as_ref().is_none_or(|others| !others.contains(token)));
        for token in tokens.take(MAX_TOKENS) {
            let constant = Constant::Text(std::sync::Arc::from(token));
            let test = Test::Equals(constant);
            tests.push((
                of,
                IssuedTest::Scope(MemberTest {
                    test,
                    negated: false,
                }),
            ));
        }
    };
    only(true, ceilings.0, ceilings.1);
    only(false, ceilings.1, ceilings.0);
    // One that has no ceiling grants what no list names.
    for (of, some, others) in [
        (true, ceilings.0, ceilings.1),
        (false, ceilings.1, ceilings.0),
    ] {
        if let (None, Some(others)) = (some, others) {
            let listed = others
                .iter()
                .map(|t| Constant::Text(std::sync::Arc::from(t)));
            let listed = crate::policy::rule::Constants::new(listed.collect());
            tests.push((
                of,
                IssuedTest::Scope(MemberTest {
                    test: Test::In(listed),
                    negated: true,
                }),
            ));
        }
    }
    tests
}
