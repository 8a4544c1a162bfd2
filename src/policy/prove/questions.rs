//! What every load asks: does some request select two outcomes, can every rule be selected, does every
//! condition and every `overrides` matter; and what the policies' own proofs claim.

mod claims;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::ask::{Answer, Ground, ask};
use super::formula::Formula;
use super::pairs::{Keys, Names, candidates, targets_apart, texts_apart};
use super::solve::Why;
use super::verdicts::{Hash, Verdicts, hash};
use super::witness::Witness;
use super::{Finding, Name, spell};
use crate::context::ExchangeContext;
use crate::oauth::id::RuleId;
use crate::policy::PolicySet;
use crate::policy::decide::{Decision, Reason};
use crate::policy::rule::{ActorForm, Atom, Clients, Condition, Constant, Headers, Test, UseRule};
use crate::policy::schema::{AttributeRef, Schema};

/// As many rules and denies may be added to one question, one after the other.
const MAX_ROUNDS: usize = 512;
/// After so many, all denies are added at once.
const ONE_BY_ONE: usize = 16;
/// Up to so many reasons, those that nothing rests on are left out.
const FEW_REASONS: usize = 32;
/// Up to so many pairs of rules above and below an `overrides`, it is worked out whether it orders any.
const LONG_CHAIN: usize = 16;
/// As many overlaps are shown; the first are enough to see what is wrong.
const MAX_OVERLAPS: usize = 100;

/// Everything at hand while questions are asked.
pub(super) struct Questions<'a, P> {
    pub(super) ground: Ground<'a, P>,
    name: Name<'a, P>,
    /// By place in the set.
    rules: Vec<Known>,
    denies: Vec<Hash>,
    /// By place: the rules that override it, at once or by way of others.
    above: HashMap<usize, BTreeSet<usize>>,
    /// The denies that are there now, and which rule overrides which.
    there: HashSet<Hash>,
    names: Names,
    before: Option<&'a Verdicts>,
    pub(super) verdicts: Verdicts,
}

struct Known {
    hash: Hash,
    keys: Keys,
}

/// How a question about what is selected ended.
pub(super) enum Selected {
    /// By this request.
    By(Box<Witness>),
    /// By none, because of these.
    Never(Vec<Because>),
    /// It cannot be said.
    Unknown(Why),
}

/// What keeps a request from being selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Because {
    /// A deny, by place.
    Denied(usize),
    /// A rule that overrides, by place.
    Overridden(usize),
}

impl<'a, P> Questions<'a, P> {
    pub(super) fn new(
        set: &'a PolicySet<P>,
        schema: &'a Schema,
        name: Name<'a, P>,
        before: Option<&'a Verdicts>,
    ) -> Self {
        let ground = Ground::new(set, schema);
        let mut names = Names::default();
        let mut globs: HashMap<String, Vec<String>> = HashMap::new();
        let mut like = |clients: &Clients| {
            let Clients::Like(list) = clients else {
                return Vec::new();
            };
            let key: Vec<&str> = list.iter().map(|glob| glob.source()).collect();
            let ids = globs.entry(key.join("\n")).or_insert_with(|| {
                let places = ground.named(clients).into_iter();
                let clients = places.filter_map(|place| schema.clients.get(place));
                clients.map(|client| client.id.to_string()).collect()
            });
            ids.clone()
        };
        let rules = set.rules().iter().map(|rule| Known {
            hash: hash([spell::rule(rule, &name(&rule.outcome.processor)).as_bytes()]),
            keys: names.of_rule(rule, &mut like),
        });
        let rules: Vec<Known> = rules.collect();
        let denies = set
            .denies()
            .iter()
            .map(|deny| hash([spell::deny(deny).as_bytes()]));
        let denies: Vec<Hash> = denies.collect();
        let above = above(set);
        let hash_of = |place: &usize| rules.get(*place).map_or([0; 32], |rule| rule.hash);
        let over = above.iter().flat_map(|(below, above)| {
            above
                .iter()
                .map(|above| over(&hash_of(above), &hash_of(below)))
        });
        let there = denies.iter().copied().chain(over);
        Self {
            there: there.collect(),
            above,
            rules,
            denies,
            names,
            name,
            before,
            verdicts: Verdicts::new(schema),
            ground,
        }
    }

    pub(super) fn set(&self) -> &'a PolicySet<P> {
        self.ground.set
    }

    fn rule(&self, place: usize) -> Option<&'a UseRule<P>> {
        self.set().rules().get(place)
    }

    fn hash_of(&self, place: usize) -> Hash {
        self.rules.get(place).map_or([0; 32], |rule| rule.hash)
    }

    fn ask(&mut self, formula: &Formula<'_, P>) -> Answer {
        self.verdicts.asked += 1;
        ask(&self.ground, formula)
    }

    /// The rules that override one, at once or by way of others.
    pub(super) fn overriders(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        self.above.get(&place).into_iter().flatten().copied()
    }

    fn outcome(&self, rule: &UseRule<P>) -> String {
        spell::outcome(&rule.outcome, &(self.name)(&rule.outcome.processor))
    }

    /// Whether some request of which `base` holds is decided by rules in these places: no deny matches, and
    /// none of them is overridden. What bars it is added only where it does. `question` names it from one load
    /// to the next.
    pub(super) fn selected(
        &mut self,
        base: &Formula<'a, P>,
        places: &[usize],
        question: Hash,
    ) -> Selected {
        if self.never_before(&question) {
            return Selected::Never(Vec::new());
        }
        let begun = self.ground.work.done();
        let mut because: Vec<Because> = Vec::new();
        for round in 0..MAX_ROUNDS {
            self.all_denies(round, &mut because);
            let formula = self.without(base, &because);
            let witness = match self.ask(&formula) {
                Answer::Unknown(why) => return Selected::Unknown(why),
                Answer::Never => {
                    let because = self.fewest(base, because);
                    let rests_on = because.iter().map(|reason| match reason {
                        Because::Denied(place) => {
                            self.denies.get(*place).copied().unwrap_or([0; 32])
                        }
                        // Not on the rule alone, but on what it overrides.
                        Because::Overridden(place) => {
                            let mut below = places.iter().filter(|below| {
                                let above = self.above.get(below);
                                above.is_some_and(|above| above.contains(place))
                            });
                            let below = below.next().copied().unwrap_or(*place);
                            over(&self.hash_of(*place), &self.hash_of(below))
                        }
                    });
                    let rests_on = rests_on.collect();
                    let cost = self.ground.work.done() - begun;
                    self.verdicts.is_never(question, rests_on, cost);
                    return Selected::Never(because);
                }
                Answer::Of(witness) => witness,
            };
            let bars = self.bars(&witness.context, places);
            if bars.is_empty() {
                return Selected::By(witness);
            }
            because.extend(bars);
        }
        Selected::Unknown(Why::Rounds)
    }

    /// Where one deny after the other stands in the way, all of them are looked at.
    fn all_denies(&self, round: usize, because: &mut Vec<Because>) {
        if round == ONE_BY_ONE {
            because.retain(|reason| matches!(reason, Because::Overridden(_)));
            because.extend((0..self.set().denies().len()).map(Because::Denied));
        }
    }

    fn never_before(&mut self, question: &Hash) -> bool {
        let there = &self.there;
        let kept = self
            .verdicts
            .never(self.before, question, |rule| there.contains(rule));
        kept.is_some_and(|cost| {
            self.ground.work.charge(cost);
            true
        })
    }

    /// What keeps rules in these places from deciding a request.
    pub(super) fn bars(&self, context: &ExchangeContext, places: &[usize]) -> Vec<Because> {
        if let Some(place) = self.set().denying(context).first() {
            return vec![Because::Denied(*place)];
        }
        let above = places.iter().flat_map(|place| self.overriders(*place));
        let mut matching = above.filter(|place| {
            let rule = self.set().rules().get(*place);
            rule.is_some_and(|rule| rule.matches(context))
        });
        matching
            .next()
            .map(Because::Overridden)
            .into_iter()
            .collect()
    }

    fn without(&self, base: &Formula<'a, P>, because: &[Because]) -> Formula<'a, P> {
        let mut parts = vec![base.clone()];
        parts.extend(
            because
                .iter()
                .filter_map(|reason| self.contrary_of(*reason)),
        );
        Formula::All(parts)
    }

    /// That what bars a request does not.
    pub(super) fn contrary_of(&self, because: Because) -> Option<Formula<'a, P>> {
        let barred = match because {
            Because::Denied(place) => self.set().denies().get(place).map(Formula::Deny),
            Because::Overridden(place) => self.rule(place).map(Formula::Rule),
        };
        barred.map(Formula::not)
    }

    /// The same without the reasons that nothing rests on.
    fn fewest(&mut self, base: &Formula<'a, P>, mut because: Vec<Because>) -> Vec<Because> {
        let mut place = match because.len() > FEW_REASONS {
            true => because.len(),
            false => 0,
        };
        while place < because.len() {
            let mut fewer = because.clone();
            fewer.remove(place);
            let formula = self.without(base, &fewer);
            match self.ask(&formula) {
                Answer::Never => because = fewer,
                Answer::Of(_) | Answer::Unknown(_) => place += 1,
            }
        }
        because
    }
}

/// That a rule overrides another.
fn over(above: &Hash, below: &Hash) -> Hash {
    hash([&b"over"[..], above, below])
}

/// By place, the rules that override it, at once or by way of others.
fn above<P>(set: &PolicySet<P>) -> HashMap<usize, BTreeSet<usize>> {
    let mut above: HashMap<usize, BTreeSet<usize>> = HashMap::new();
    for (from, _) in set.overrides() {
        let mut open = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop() {
            for below in set.overridden_by(next) {
                if seen.insert(*below) {
                    above.entry(*below).or_default().insert(from);
                    open.push(*below);
                }
            }
        }
    }
    above
}

impl<'a, P> Questions<'a, P> {
    /// Two rules of different outcomes, of which none overrides the other, that match the same request.
    pub(super) fn overlaps(&mut self, found: &mut Vec<Finding>) {
        let set = self.set();
        let rules = set.rules();
        let keys: Vec<Keys> = self.rules.iter().map(|rule| rule.keys.clone()).collect();
        let ordered = |a: usize, b: usize| {
            let above = |below: usize, over: usize| {
                self.above
                    .get(&below)
                    .is_some_and(|above| above.contains(&over))
            };
            above(a, b) || above(b, a)
        };
        let pairs = candidates(&keys, |a, b| match (rules.get(a), rules.get(b)) {
            (Some(one), Some(other)) => {
                one.outcome_number != other.outcome_number && !ordered(a, b)
            }
            _ => false,
        });
        let Some(pairs) = pairs else {
            let all = "the rules of this realm";
            found.push(Finding::unknown("all rules", all, None, &Why::Pairs));
            return;
        };
        let mut overlaps = 0;
        for (a, b) in pairs {
            if overlaps == MAX_OVERLAPS {
                found.push(Finding::more_overlaps(MAX_OVERLAPS));
                return;
            }
            let (Some(one), Some(other)) = (self.rule(a), self.rule(b)) else {
                continue;
            };
            if targets_apart(one, other) || texts_apart(one, other) {
                continue;
            }
            let (first, second) = (self.hash_of(a), self.hash_of(b));
            let question = hash([&b"overlap"[..], &first, &second]);
            let base = Formula::All(vec![Formula::Rule(one), Formula::Rule(other)]);
            match self.selected(&base, &[a, b], question) {
                Selected::Never(_) => {}
                Selected::Unknown(why) => {
                    let name = format!("{} and {}", one.id, other.id);
                    let about = format!("that `{}` and `{}` are disjoint", one.id, other.id);
                    let finding = Finding::unknown(&name, &about, Some(&one.span), &why);
                    found.push(finding.about([&one.id, &other.id]));
                }
                Selected::By(witness) => {
                    let witness = witness.smaller(&self.ground, |witness| {
                        let context = &witness.context;
                        base.holds(set, context) && self.bars(context, &[a, b]).is_empty()
                    });
                    let finding = self.overlap(one, other, witness);
                    found.push(finding);
                    overlaps += 1;
                }
            }
        }
    }

    fn overlap(&mut self, one: &'a UseRule<P>, other: &'a UseRule<P>, witness: Witness) -> Finding {
        // INVARIANT: what decides for real refuses it, and says why.
        let decision = self.set().decide(&witness.context);
        let ambiguous = matches!(
            &decision,
            Decision::Deny(denial) if matches!(&denial.reason, Reason::Ambiguous(_))
        );
        if !ambiguous {
            let name = format!("{} and {}", one.id, other.id);
            let about = format!("that `{}` and `{}` are disjoint", one.id, other.id);
            let why = Why::Disagreement(vec!["the decision".to_owned()]);
            return Finding::unknown(&name, &about, Some(&one.span), &why)
                .about([&one.id, &other.id]);
        }
        let implies = |questions: &mut Self, a: &'a UseRule<P>, b: &'a UseRule<P>| {
            let narrower = Formula::All(vec![Formula::Rule(a), Formula::Rule(b).not()]);
            matches!(questions.ask(&narrower), Answer::Never)
        };
        let order = match (implies(self, one, other), implies(self, other, one)) {
            (true, false) => Some((one, other)),
            (false, true) => Some((other, one)),
            _ => None,
        };
        let (narrow, wide) = order.unwrap_or((one, other));
        let apart = self.what_separates(narrow, wide);
        Finding::overlap(
            [one, other].map(|rule| (&rule.id, &rule.span, self.outcome(rule))),
            &witness,
            order.map(|(narrow, wide)| (&narrow.id, &wide.id)),
            apart.map(|(rule, condition)| (rule.id.clone(), condition)),
        )
    }

    /// A condition of one rule whose contrary, added to the other, would keep them apart.
    fn what_separates(
        &mut self,
        narrow: &'a UseRule<P>,
        wide: &'a UseRule<P>,
    ) -> Option<(&'a UseRule<P>, String)> {
        for (from, to) in [(narrow, wide), (wide, narrow)] {
            for part in parts(from) {
                let Some(contrary) = self.contrary(part) else {
                    continue;
                };
                // One that the other rule leaves open, so that it matches something still.
                let rest = Formula::All(vec![Formula::Rule(to), Formula::Condition(part).not()]);
                if matches!(self.ask(&rest), Answer::Of(_)) {
                    return Some((to, contrary));
                }
            }
        }
        None
    }

    /// The contrary of a condition, as a rule may say it: of one test, where what may be absent is said to be;
    /// of several, where nothing may. `None` where a rule could not say it so.
    fn contrary(&self, condition: &Condition) -> Option<String> {
        let mut lacking = Vec::new();
        let mut right = false;
        condition.atoms(&mut |atom| {
            let optional = self.may_lack(&atom.left.attribute) && atom.left.default.is_none();
            if optional && !matches!(atom.test, Test::Present) {
                lacking.push((atom.left.attribute.path(), atom.negated));
            }
            right |= atom
                .test
                .right()
                .is_some_and(|(other, default)| self.may_lack(other) && !default);
        });
        match (condition, lacking.as_slice()) {
            _ if right => None,
            (Condition::Atom(atom), lacking) => {
                let contrary = Atom {
                    negated: !atom.negated,
                    ..atom.clone()
                };
                let text = spell::condition(&Condition::Atom(contrary));
                match lacking {
                    // What is absent fails the test, and must pass its contrary.
                    [(path, false)] => Some(format!("(absent {path} or {text})")),
                    _ => Some(text),
                }
            }
            (several, []) => Some(format!("not ({})", spell::condition(several))),
            _ => None,
        }
    }

    fn may_lack(&self, attribute: &AttributeRef) -> bool {
        match attribute {
            AttributeRef::Fixed(fixed) => fixed.optional,
            AttributeRef::ClientAttribute(_) | AttributeRef::ActorClaim(_) => true,
            AttributeRef::Field(field) => field.optional,
            AttributeRef::Claim(name) => self
                .ground
                .schema
                .issuers
                .iter()
                .any(|issuer| issuer.claims.get(name).is_none_or(|claim| claim.optional)),
        }
    }

    /// Rules that no request selects, and rules and denies that no request matches.
    pub(super) fn unreachable(&mut self, found: &mut Vec<Finding>) {
        let set = self.set();
        for (place, rule) in set.rules().iter().enumerate() {
            match self.reach(place) {
                Selected::By(_) => {}
                Selected::Unknown(why) => {
                    let about = format!("whether `{}` can be selected", rule.id);
                    found.push(Finding::unsure(&about, &rule.span, &why).about([&rule.id]));
                }
                Selected::Never(because) => {
                    let reasons: Vec<String> =
                        because.iter().map(|reason| self.reason(*reason)).collect();
                    found.push(Finding::unreachable(&rule.id, &rule.span, &reasons));
                }
            }
        }
        for (place, deny) in set.denies().iter().enumerate() {
            let said = self.denies.get(place).copied().unwrap_or([0; 32]);
            let question = hash([&b"reach"[..], &said]);
            if self.reached_before(&said, |context| deny.matches(context)) {
                continue;
            }
            let begun = self.ground.work.done();
            match self.ask(&Formula::Deny(deny)) {
                Answer::Of(witness) => self.is_reached(said, *witness, begun),
                Answer::Never => {
                    self.is_never(question, begun);
                    found.push(Finding::vacuous_deny(&deny.id, &deny.span));
                }
                Answer::Unknown(why) => {
                    let about = format!("whether `{}` refuses anything", deny.id);
                    found.push(Finding::unsure(&about, &deny.span, &why));
                }
            }
        }
    }

    /// By which request a rule is selected.
    pub(super) fn reach(&mut self, place: usize) -> Selected {
        let Some(rule) = self.rule(place) else {
            return Selected::Never(Vec::new());
        };
        let said = self.hash_of(place);
        let selected = |context: &ExchangeContext| {
            rule.matches(context) && self.bars(context, &[place]).is_empty()
        };
        if let Some((witness, cost)) = self.still_reached(&said, selected) {
            self.verdicts.kept += 1;
            self.ground.work.charge(cost);
            self.verdicts.is_reached(said, witness.facts.clone(), cost);
            return Selected::By(Box::new(witness));
        }
        let begun = self.ground.work.done();
        // One that is never reached is a finding, which must have its reasons each time.
        let mut because: Vec<Because> = Vec::new();
        let base = Formula::Rule(rule);
        for round in 0..MAX_ROUNDS {
            self.all_denies(round, &mut because);
            let formula = self.without(&base, &because);
            match self.ask(&formula) {
                Answer::Unknown(why) => return Selected::Unknown(why),
                Answer::Never => return Selected::Never(self.fewest(&base, because)),
                Answer::Of(witness) => {
                    let bars = self.bars(&witness.context, &[place]);
                    if bars.is_empty() {
                        self.is_reached(said, (*witness).clone(), begun);
                        return Selected::By(witness);
                    }
                    because.extend(bars);
                }
            }
        }
        Selected::Unknown(Why::Rounds)
    }

    fn still_reached(
        &self,
        said: &Hash,
        selected: impl Fn(&ExchangeContext) -> bool,
    ) -> Option<(Witness, usize)> {
        let (facts, cost) = self.verdicts.reached(self.before, said)?;
        let witness = Witness::of(facts, &self.ground)?;
        selected(&witness.context).then_some((witness, cost))
    }

    fn is_reached(&mut self, said: Hash, witness: Witness, begun: usize) {
        let cost = self.ground.work.done() - begun;
        self.verdicts.is_reached(said, witness.facts, cost);
    }

    fn is_never(&mut self, question: Hash, begun: usize) {
        let cost = self.ground.work.done() - begun;
        self.verdicts.is_never(question, Vec::new(), cost);
    }

    fn reached_before(&mut self, said: &Hash, selected: impl Fn(&ExchangeContext) -> bool) -> bool {
        match self.still_reached(said, selected) {
            Some((witness, cost)) => {
                self.verdicts.kept += 1;
                self.ground.work.charge(cost);
                self.verdicts.is_reached(*said, witness.facts, cost);
                true
            }
            None => false,
        }
    }

    fn reason(&self, reason: Because) -> String {
        match reason {
            Because::Denied(place) => match self.set().denies().get(place) {
                Some(deny) => format!("refused by `{}`", deny.id),
                None => String::new(),
            },
            Because::Overridden(place) => match self.rule(place) {
                Some(rule) => format!("taken by `{}`, which overrides it", rule.id),
                None => String::new(),
            },
        }
    }

    /// Conditions that hold of every request that the headers let pass.
    pub(super) fn always_true(&mut self, found: &mut Vec<Finding>) {
        let set = self.set();
        for (place, rule) in set.rules().iter().enumerate() {
            let said = self.hash_of(place);
            for (number, part) in parts(rule).enumerate() {
                if self.plainly_open(part, &rule.headers) {
                    continue;
                }
                let base = [Formula::Headers(rule), Formula::Condition(part).not()];
                self.always(&said, number, base, part, &rule.id, found);
            }
        }
        for (place, deny) in set.denies().iter().enumerate() {
            let said = self.denies.get(place).copied().unwrap_or([0; 32]);
            for (number, part) in conjuncts(&deny.when).enumerate() {
                if self.plainly_open(part, &deny.headers) {
                    continue;
                }
                let base = [Formula::DenyHeaders(deny), Formula::Condition(part).not()];
                self.always(&said, number, base, part, &deny.id, found);
            }
        }
    }

    fn always(
        &mut self,
        said: &Hash,
        number: usize,
        base: [Formula<'a, P>; 2],
        part: &Condition,
        rule: &RuleId,
        found: &mut Vec<Finding>,
    ) {
        let question = hash([&b"always"[..], said, &number.to_be_bytes()]);
        // Whose contrary has a request is remembered by that request.
        let key = hash([&b"open"[..], &question]);
        let [headers, contrary] = base;
        let formula = Formula::All(vec![headers, contrary]);
        let set = self.set();
        if self.reached_before(&key, |context| formula.holds(set, context)) {
            return;
        }
        let begun = self.ground.work.done();
        match self.ask(&formula) {
            Answer::Of(witness) => self.is_reached(key, *witness, begun),
            Answer::Never => {
                let mut span = None;
                part.atoms(&mut |atom| {
                    span.get_or_insert_with(|| atom.span.clone());
                });
                if let Some(span) = span {
                    found.push(Finding::always_true(rule, &span, &spell::condition(part)));
                }
            }
            // It is said of the rule itself, if it matters.
            Answer::Unknown(_) => {}
        }
    }

    /// Whether a condition need not be asked about: a test of what no header speaks of, which some value
    /// fails, or a guard against what the configuration may come to say of a client or a tenant.
    fn plainly_open(&self, condition: &Condition, headers: &Headers) -> bool {
        let mut guards = false;
        condition.atoms(&mut |atom| {
            guards |= match &atom.left.attribute {
                AttributeRef::ClientAttribute(_) => true,
                AttributeRef::Claim(name) | AttributeRef::ActorClaim(name) => {
                    let mut issuers = self.ground.schema.issuers.iter();
                    issuers.any(|issuer| issuer.tenants.contains_key(name))
                }
                AttributeRef::Fixed(_) | AttributeRef::Field(_) => false,
            };
        });
        if guards {
            return true;
        }
        let Condition::Atom(atom) = condition else {
            return false;
        };
        let acted = headers
            .actor
            .as_ref()
            .is_none_or(|actor| actor.value.form != ActorForm::None);
        let path = |attribute: &AttributeRef| match attribute {
            AttributeRef::Fixed(fixed) => fixed.path,
            _ => "",
        };
        let plainly = match (path(&atom.left.attribute), &atom.test) {
            // Where there may be a chain, it may be shorter or longer.
            ("subject.chain.depth", Test::Compare(_, limit)) => acted && (1..=6).contains(limit),
            // Who acts is not the client, as far as headers know.
            ("actor.sub" | "actor.client_id", Test::EqualsAttribute(other)) => {
                path(&other.attribute).starts_with("client.") && acted
            }
            _ => false,
        };
        if plainly && atom.left.default.is_none() && !atom.negated {
            return true;
        }
        let free = match &atom.left.attribute {
            AttributeRef::Fixed(fixed) => matches!(
                fixed.path,
                "scope" | "subject.sub" | "subject.acr" | "subject.amr" | "subject.aud"
            ),
            AttributeRef::Claim(_) => true,
            AttributeRef::ActorClaim(_)
            | AttributeRef::ClientAttribute(_)
            | AttributeRef::Field(_) => false,
        };
        let fails = matches!(
            &atom.test,
            Test::Equals(Constant::Text(_))
                | Test::In(_)
                | Test::Has(_)
                | Test::HasAny(_)
                | Test::HasAll(_)
                | Test::Only(_)
                | Test::SetEquals(_)
        );
        free && fails && atom.left.default.is_none() && !atom.negated
    }

    /// `overrides` that order nothing: of the rules above the one, and of those below the other, none match the
    /// same request.
    pub(super) fn useless_overrides(&mut self, found: &mut Vec<Finding>) {
        let set = self.set();
        let pairs: Vec<(usize, Vec<usize>)> = set
            .overrides()
            .map(|(from, below)| (from, below.to_vec()))
            .collect();
        for (from, below) in pairs {
            for to in below {
                let above: Vec<usize> =
                    std::iter::once(from).chain(self.overriders(from)).collect();
                let lower = self.above.iter().filter(|(_, above)| above.contains(&to));
                let lower: Vec<usize> = std::iter::once(to).chain(lower.map(|(p, _)| *p)).collect();
                // As a rule the two meet, and nothing else needs to be asked. Of a long chain, not all is asked.
                let useful = !matches!(self.meet(from, to), Some(false))
                    || above.len() * lower.len() > LONG_CHAIN
                    || above.iter().any(|one| {
                        let mut lower = lower.iter();
                        lower.any(|other| !matches!(self.meet(*one, *other), Some(false)))
                    });
                if let (false, Some(one), Some(other)) = (useful, self.rule(from), self.rule(to)) {
                    found.push(Finding::useless_override(&one.id, &one.span, &other.id));
                }
            }
        }
    }

    /// Whether two rules match the same request; `None` where that cannot be said.
    fn meet(&mut self, one: usize, other: usize) -> Option<bool> {
        let (Some(a), Some(b)) = (self.rule(one), self.rule(other)) else {
            return Some(false);
        };
        let question = hash([&b"both"[..], &self.hash_of(one), &self.hash_of(other)]);
        let both = Formula::All(vec![Formula::Rule(a), Formula::Rule(b)]);
        let set = self.set();
        if self.reached_before(&question, |context| both.holds(set, context)) {
            return Some(true);
        }
        if self.never_before(&question) {
            return Some(false);
        }
        let begun = self.ground.work.done();
        match self.ask(&both) {
            Answer::Of(witness) => {
                self.is_reached(question, *witness, begun);
                Some(true)
            }
            Answer::Never => {
                self.is_never(question, begun);
                Some(false)
            }
            Answer::Unknown(_) => None,
        }
    }
}

/// The conditions of a rule that must all hold.
fn parts<P>(rule: &UseRule<P>) -> impl Iterator<Item = &Condition> {
    conjuncts(&rule.scope_when).chain(conjuncts(&rule.when))
}

fn conjuncts(condition: &Condition) -> impl Iterator<Item = &Condition> {
    match condition {
        Condition::All(parts) => parts.iter(),
        other => std::slice::from_ref(other).iter(),
    }
}
