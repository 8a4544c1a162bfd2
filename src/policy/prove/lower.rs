//! Rules, denies and conditions as propositions: clause by clause what the evaluator does.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::domain::Language;
use super::formula::Formula;
use super::model::{Granted, Known, Leaf, Model, Node, Place};
use crate::oauth::id::IssuerAlias;
use crate::oauth::scope::Scopes;
use crate::oauth::target::ResourceRegistry;
use crate::oauth::token_type::TokenType;
use crate::oauth::uri::Uri;
use crate::policy::pattern::{Host, UriPattern};
use crate::policy::rule::{
    ActorForm, ActorMatch, Atom, Comparison, Condition, Constant, DenyRule, FromIssuer, Headers,
    IssuedTest, MemberTest, Operand, ResourceMatch, TargetsMatch, Test, UseRule,
};
use crate::policy::schema::Value;

impl<'a> Model<'a> {
    /// A question as a proposition.
    pub(super) fn lower<P>(
        &mut self,
        formula: &Formula<'a, P>,
        resources: &'a ResourceRegistry,
    ) -> Node {
        match formula {
            Formula::All(parts) => {
                let parts: Vec<Node> = parts.iter().map(|p| self.lower(p, resources)).collect();
                Node::all(parts)
            }
            Formula::Any(parts) => {
                let parts: Vec<Node> = parts.iter().map(|p| self.lower(p, resources)).collect();
                Node::any(parts)
            }
            Formula::Not(part) => self.lower(part, resources).not(),
            Formula::Rule(rule) => {
                let parts = [
                    self.rule_headers(rule),
                    self.condition(&rule.scope_when, None),
                    self.condition(&rule.when, None),
                ];
                Node::all(parts)
            }
            Formula::Headers(rule) => self.rule_headers(rule),
            Formula::Deny(deny) => {
                let parts = [self.deny_headers(deny), self.condition(&deny.when, None)];
                Node::all(parts)
            }
            Formula::DenyHeaders(deny) => self.deny_headers(deny),
            Formula::Condition(condition) => self.condition(condition, None),
            Formula::Granted(rule) => self.permits(rule, resources),
            Formula::Issued(rule, test) => {
                let test = self.issued(rule, test, resources);
                let permits = self.permits(rule, resources);
                Node::all([test, permits])
            }
        }
    }

    fn rule_headers<P>(&mut self, rule: &'a UseRule<P>) -> Node {
        let headers = &rule.headers;
        let mut parts = self.common(headers);
        // A rule always says who acts.
        parts.push(match &headers.actor {
            Some(actor) => self.actor(&actor.value),
            None => Node::Constant(false),
        });
        if let Some(to) = &headers.to {
            let forms = to.value.iter().map(|form| self.targets(form));
            let forms: Vec<Node> = forms.collect();
            parts.push(Node::any(forms));
        }
        if !rule.outcome.carries_scope {
            let asked = self.at("request.scope");
            parts.push(self.present(asked).not());
        }
        Node::all(parts)
    }

    fn deny_headers(&mut self, deny: &'a DenyRule) -> Node {
        let headers = &deny.headers;
        let mut parts = self.common(headers);
        if let Some(actor) = &headers.actor {
            parts.push(self.deny_actor(&actor.value.form));
        }
        if let Some(to) = &headers.to {
            let forms = to.value.iter().map(|form| self.deny_targets(form));
            let forms: Vec<Node> = forms.collect();
            parts.push(Node::any(forms));
        }
        Node::all(parts)
    }

    /// The headers that mean the same in rules and denies.
    fn common(&mut self, headers: &'a Headers) -> Vec<Node> {
        let mut parts = Vec::new();
        if let Some(by) = &headers.by {
            let schema = self.schema;
            let clients = self.clients.iter().filter(|client| {
                let entry = schema.clients.get(**client);
                entry.is_some_and(|entry| by.value.contain(&entry.id))
            });
            let clients = clients.map(|client| Node::Leaf(Leaf::Client(*client)));
            parts.push(Node::any(clients.collect::<Vec<Node>>()));
        }
        if let Some(from) = &headers.from {
            let issuers = from.value.iter().map(|from| self.from(from));
            let issuers: Vec<Node> = issuers.collect();
            parts.push(Node::any(issuers));
        }
        if let Some(via) = &headers.via {
            let grant = self.at("request.grant_type");
            parts.push(self.is(grant, text(&via.value)));
        }
        if let Some(issue) = &headers.issue {
            let asked = self.at("request.requested_token_type");
            let absent = self.present(asked).not();
            let equal = self.is(asked, text(issue.value.name()));
            let default = Node::Constant(issue.value == TokenType::AccessToken);
            parts.push(Node::any([equal, Node::all([absent, default])]));
        }
        parts
    }

    fn from(&mut self, from: &FromIssuer) -> Node {
        let alias = BTreeSet::from([Arc::from(from.alias.as_str())]);
        let of = self.issuer_in("subject", alias);
        let Some(token_type) = &from.token_type else {
            return of;
        };
        let variable = self.at("subject.token_type");
        let as_type = self.is(variable, text(token_type.name()));
        Node::all([of, as_type])
    }

    fn actor_from(&mut self, aliases: &BTreeSet<IssuerAlias>) -> Node {
        let aliases = aliases.iter().map(|alias| Arc::from(alias.as_str()));
        self.issuer_in("actor", aliases.collect())
    }

    fn actor(&mut self, matcher: &ActorMatch) -> Node {
        let ActorMatch {
            form,
            may_act_ignored,
        } = matcher;
        let acting = self.actor_exists();
        let not_another = |model: &mut Self| match may_act_ignored {
            true => Node::Constant(true),
            false => {
                let there = model.may_act_exists();
                let named = model.may_act_names();
                Node::any([there.not(), named])
            }
        };
        match form {
            ActorForm::None => {
                let acted = self.hop_exists(0);
                let named = match may_act_ignored {
                    true => Node::Constant(true),
                    false => self.may_act_exists().not(),
                };
                Node::all([acting.not(), acted.not(), named])
            }
            ActorForm::Client => Node::all([acting.not(), not_another(self)]),
            ActorForm::Named(from) => {
                let parts = [
                    acting,
                    self.actor_from(from),
                    self.may_act_exists(),
                    self.may_act_names(),
                ];
                Node::all(parts)
            }
            ActorForm::Required(from) => {
                Node::all([acting, self.actor_from(from), not_another(self)])
            }
            ActorForm::Optional(from) => {
                let of = self.actor_from(from);
                Node::all([Node::any([acting.not(), of]), not_another(self)])
            }
        }
    }

    fn deny_actor(&mut self, form: &ActorForm) -> Node {
        let acting = self.actor_exists();
        match form {
            ActorForm::None => {
                let parts = [
                    acting.not(),
                    self.hop_exists(0).not(),
                    self.may_act_exists().not(),
                ];
                Node::all(parts)
            }
            ActorForm::Client => acting.not(),
            ActorForm::Named(from) => {
                let parts = [
                    acting,
                    self.actor_from(from),
                    self.may_act_exists(),
                    self.may_act_names(),
                ];
                Node::all(parts)
            }
            ActorForm::Required(from) => Node::all([acting, self.actor_from(from)]),
            ActorForm::Optional(from) => {
                let of = self.actor_from(from);
                Node::any([acting.not(), of])
            }
        }
    }

    /// Whether `may_act`, where it is there, names who acts (RFC 8693 §4.4).
    fn may_act_names(&mut self) -> Node {
        let schema = self.schema;
        let own = IssuerAlias::own();
        let [said, sub, client_id] =
            ["issuer", "sub", "client_id"].map(|name| self.of_may_act(name));
        let there = [said, sub, client_id].map(|variable| self.present(variable));
        let [issuer_said, sub_said, client_said] = there;
        let acting = self.actor_exists();

        // An actor token's party.
        let issuer = self.at("actor.issuer");
        let mut unsaid = Vec::new();
        for of in &schema.issuers {
            let within = self.issuer_in("subject", BTreeSet::from([Arc::from(of.alias.as_str())]));
            let meant = schema.issuers.iter().map(|issuer| &issuer.alias);
            let meant = meant.filter(|alias| Self::may_mean(of, alias));
            let meant: BTreeSet<Arc<str>> = meant.map(|alias| Arc::from(alias.as_str())).collect();
            let acts = self.issuer_in("actor", meant);
            unsaid.push(Node::all([within, acts]));
        }
        let same_issuer = self.same(said, issuer);
        let of_issuer = Node::any([
            Node::all([issuer_said.clone(), same_issuer]),
            Node::all([issuer_said.clone().not(), Node::any(unsaid)]),
        ]);
        let actor_sub = self.at("actor.sub");
        let actor_client = self.at("actor.client_id");
        let by_sub = self.same(sub, actor_sub);
        let by_client = self.same(client_id, actor_sub);
        let named = Node::any([
            Node::all([sub_said.clone(), by_sub]),
            Node::all([sub_said.clone().not(), by_client]),
        ]);
        let issued_to = self.same(client_id, actor_client);
        let issued_to = client_said.clone().implies(issued_to);
        let actor = Node::all([acting.clone(), of_issuer, named, issued_to]);

        // The client.
        let own_said = self.is(said, text(own.as_str()));
        let meant = schema
            .issuers
            .iter()
            .filter(|issuer| Self::may_mean(issuer, &own));
        let meant = meant
            .map(|issuer| Arc::from(issuer.alias.as_str()))
            .collect();
        let within = self.issuer_in("subject", meant);
        let of_issuer = Node::any([
            Node::all([issuer_said.clone(), own_said]),
            Node::all([issuer_said.clone().not(), within]),
        ]);
        let about_clients = Node::all([issuer_said.not(), sub_said.clone().not()]);
        let mut mine = Vec::new();
        for client in self.clients.clone() {
            let Some(entry) = schema.clients.get(client) else {
                continue;
            };
            let names = Arc::new(entry.names.clone());
            let sub = self.is(sub, Language::Texts(Arc::clone(&names)));
            let client_id = self.is(client_id, Language::Texts(names));
            mine.push(Node::all([
                Node::Leaf(Leaf::Client(client)),
                sub_said.clone().implies(sub),
                client_said.clone().implies(client_id),
            ]));
        }
        let client = Node::all([
            acting.not(),
            Node::any([of_issuer, about_clients]),
            Node::any(mine),
        ]);
        Node::any([actor, client])
    }

    /// For a rule: what is not named is not there, and every target matches.
    fn targets(&mut self, form: &'a TargetsMatch) -> Node {
        let [resource, audience] = self.kinds_of_targets();
        let some = self.some_target();
        let TargetsMatch::Parts {
            resource: resources,
            audience: audiences,
        } = form
        else {
            return any_or_none(form, some);
        };
        let other_resource = match resources {
            None => self.has_some(resource),
            Some(matcher) => self.has(resource, Language::Resource(matcher), true),
        };
        let other_audience = match audiences {
            None => self.has_some(audience),
            Some(matcher) => self.has(audience, Language::Audience(matcher), true),
        };
        Node::all([some, other_resource.not(), other_audience.not()])
    }

    /// For a deny: some target matches.
    fn deny_targets(&mut self, form: &'a TargetsMatch) -> Node {
        let [resource, audience] = self.kinds_of_targets();
        let TargetsMatch::Parts {
            resource: resources,
            audience: audiences,
        } = form
        else {
            return any_or_none(form, self.some_target());
        };
        let matches = [
            resources
                .as_ref()
                .map(|matcher| self.has(resource, Language::Resource(matcher), false)),
            audiences
                .as_ref()
                .map(|matcher| self.has(audience, Language::Audience(matcher), false)),
        ];
        Node::any(matches.into_iter().flatten())
    }

    fn kinds_of_targets(&mut self) -> [usize; 2] {
        [self.at("resource"), self.at("audience")]
    }

    fn some_target(&mut self) -> Node {
        let kinds = self.kinds_of_targets();
        Node::any(kinds.map(|kind| self.has_some(kind)))
    }

    fn condition(&mut self, condition: &'a Condition, hop: Option<usize>) -> Node {
        match condition {
            Condition::All(parts) => {
                let parts: Vec<Node> = parts.iter().map(|p| self.condition(p, hop)).collect();
                Node::all(parts)
            }
            Condition::Any(parts) => {
                let parts: Vec<Node> = parts.iter().map(|p| self.condition(p, hop)).collect();
                Node::any(parts)
            }
            Condition::Atom(atom) => {
                let node = self.atom(atom, hop);
                if atom.negated { node.not() } else { node }
            }
        }
    }

    /// A test without its negation; of what is absent it does not hold.
    fn atom(&mut self, atom: &'a Atom, hop: Option<usize>) -> Node {
        match &atom.test {
            Test::AnyHop(condition) => {
                let mut each = Vec::new();
                for hop in 0..self.depth {
                    let there = self.hop_exists(hop);
                    each.push(Node::all([there, self.condition(condition, Some(hop))]));
                }
                return Node::any(each);
            }
            Test::EveryHop(condition) => {
                let mut each = vec![self.hop_exists(0)];
                for hop in 0..self.depth {
                    let there = self.hop_exists(hop);
                    each.push(there.implies(self.condition(condition, Some(hop))));
                }
                return Node::all(each);
            }
            _ => {}
        }
        let places = self.places(&atom.left.attribute, hop);
        let mut found = Vec::new();
        let mut there = Vec::new();
        for place in places {
            there.push(self.there(&place));
            found.push(self.at_place(&place, &atom.test));
        }
        if let Some(default) = &atom.left.default {
            let test = self.of_known(&Known::One(default.clone()), &atom.test, None);
            found.push(Node::all([Node::any(there).not(), test]));
        }
        Node::any(found)
    }

    /// Whether there is a value at a place.
    fn there(&self, place: &Place) -> Node {
        match place {
            Place::Variable(variable) => self.present(*variable),
            Place::Presence(node) => node.clone(),
            Place::Choices(choices) => {
                let there = choices.iter().filter(|(_, value)| value.is_some());
                Node::any(there.map(|(when, _)| when.clone()).collect::<Vec<_>>())
            }
        }
    }

    fn at_place(&mut self, place: &Place, test: &'a Test) -> Node {
        match place {
            Place::Presence(node) => match test {
                Test::Present => node.clone(),
                _ => Node::Constant(false),
            },
            Place::Variable(variable) => self.of_variable(*variable, test),
            Place::Choices(choices) => {
                let mut each = Vec::new();
                for (when, value) in choices {
                    if let Some(value) = value {
                        let holds = self.of_known(value, test, Some(when));
                        each.push(Node::all([when.clone(), holds]));
                    }
                }
                Node::any(each)
            }
        }
    }

    fn of_variable(&mut self, variable: usize, test: &'a Test) -> Node {
        let one = |constant: &Constant| Language::One(constant.clone());
        match test {
            Test::Present => self.present(variable),
            Test::Equals(constant) => self.is(variable, one(constant)),
            Test::EqualsAttribute(other) => self.equal(variable, other),
            Test::InAttribute(set) => {
                let mut each = Vec::new();
                for place in self.places(set, None) {
                    each.push(match &place {
                        Place::Variable(set) => self.member(variable, *set),
                        Place::Presence(_) => Node::Constant(false),
                        Place::Choices(choices) => {
                            let mut each = Vec::new();
                            for (when, value) in choices {
                                if let Some(Known::Set(set)) = value {
                                    let set = Language::Texts(Arc::clone(set));
                                    each.push(Node::all([when.clone(), self.is(variable, set)]));
                                }
                            }
                            Node::any(each)
                        }
                    });
                }
                Node::any(each)
            }
            Test::Has(constant) => self.has(variable, one(constant), false),
            Test::HasAttribute(other) => {
                let mut each = Vec::new();
                let mut there = Vec::new();
                for place in self.places(&other.attribute, None) {
                    there.push(self.there(&place));
                    each.push(match &place {
                        Place::Variable(element) => self.member(*element, variable),
                        Place::Presence(_) => Node::Constant(false),
                        Place::Choices(choices) => {
                            let mut each = Vec::new();
                            for (when, value) in choices {
                                if let Some(Known::One(value)) = value {
                                    let has = self.has(variable, one(value), false);
                                    each.push(Node::all([when.clone(), has]));
                                }
                            }
                            Node::any(each)
                        }
                    });
                }
                if let Some(default) = &other.default {
                    let has = self.has(variable, one(default), false);
                    each.push(Node::all([Node::any(there).not(), has]));
                }
                Node::any(each)
            }
            Test::HasAny(list) => self.has(variable, Language::OneOf(list), false),
            Test::HasAll(list) => {
                let mut each = vec![self.set_there(variable)];
                for constant in list.iter() {
                    each.push(self.has(variable, one(constant), false));
                }
                Node::all(each)
            }
            Test::Only(list) => {
                let other = self.has(variable, Language::OneOf(list), true);
                Node::all([self.has_some(variable), other.not()])
            }
            Test::SetEquals(list) => {
                let mut each = vec![self.set_there(variable)];
                for constant in list.iter() {
                    each.push(self.has(variable, one(constant), false));
                }
                each.push(self.has(variable, Language::OneOf(list), true).not());
                Node::all(each)
            }
            Test::Count(comparison, limit) => self.count(variable, *comparison, *limit),
            Test::AnyMember(inner) => match language(&inner.test) {
                Some(language) => self.has(variable, language, inner.negated),
                None => Node::Constant(false),
            },
            Test::EveryMember(inner) => match language(&inner.test) {
                Some(language) => {
                    let other = self.has(variable, language, !inner.negated);
                    Node::all([self.has_some(variable), other.not()])
                }
                None => Node::Constant(false),
            },
            Test::AnyHop(_) | Test::EveryHop(_) => Node::Constant(false),
            Test::In(_)
            | Test::Compare(..)
            | Test::Prefixes(_)
            | Test::Hours(_)
            | Test::Like(_)
            | Test::LikeUri(_)
            | Test::Under(_) => match language(test) {
                Some(language) => self.is(variable, language),
                None => Node::Constant(false),
            },
        }
    }

    /// A set is there, be it empty.
    fn set_there(&self, variable: usize) -> Node {
        match self.variables.get(variable) {
            Some(set) if set.many => self.present(variable),
            _ => Node::Constant(false),
        }
    }

    fn equal(&mut self, variable: usize, other: &'a Operand) -> Node {
        let mut each = Vec::new();
        let mut there = Vec::new();
        for place in self.places(&other.attribute, None) {
            there.push(self.there(&place));
            each.push(match &place {
                Place::Variable(other) => self.same(variable, *other),
                Place::Presence(_) => Node::Constant(false),
                Place::Choices(choices) => {
                    let mut each = Vec::new();
                    for (when, value) in choices {
                        if let Some(Known::One(value)) = value {
                            let equal = self.is(variable, Language::One(value.clone()));
                            each.push(Node::all([when.clone(), equal]));
                        }
                    }
                    Node::any(each)
                }
            });
        }
        if let Some(default) = &other.default {
            let equal = self.is(variable, Language::One(default.clone()));
            each.push(Node::all([Node::any(there).not(), equal]));
        }
        Node::any(each)
    }

    /// A test of a value that is known; `when` is the choice that it was known by.
    fn of_known(&mut self, known: &Known, test: &'a Test, when: Option<&Node>) -> Node {
        match test {
            Test::EqualsAttribute(other) => match known {
                Known::One(value) => self.equals_known(value, other, when),
                Known::Set(_) => Node::Constant(false),
            },
            Test::InAttribute(set) => {
                let Known::One(value) = known else {
                    return Node::Constant(false);
                };
                let mut each = Vec::new();
                for place in self.places(set, None) {
                    each.push(match &place {
                        Place::Variable(set) => {
                            self.has(*set, Language::One(value.clone()), false)
                        }
                        Place::Presence(_) => Node::Constant(false),
                        Place::Choices(choices) => among(choices, when, |other| {
                            matches!((other, value), (Known::Set(set), Constant::Text(text)) if set.contains(text))
                        }),
                    });
                }
                Node::any(each)
            }
            Test::HasAttribute(other) => {
                let Known::Set(set) = known else {
                    return Node::Constant(false);
                };
                let mut each = Vec::new();
                let mut there = Vec::new();
                for place in self.places(&other.attribute, None) {
                    there.push(self.there(&place));
                    each.push(match &place {
                        Place::Variable(element) => {
                            self.is(*element, Language::Texts(Arc::clone(set)))
                        }
                        Place::Presence(_) => Node::Constant(false),
                        Place::Choices(choices) => among(choices, when, |other| {
                            matches!(other, Known::One(Constant::Text(text)) if set.contains(text))
                        }),
                    });
                }
                if let Some(Constant::Text(default)) = &other.default {
                    let has = Node::Constant(set.contains(default));
                    each.push(Node::all([Node::any(there).not(), has]));
                }
                Node::any(each)
            }
            other => Node::Constant(passes(known, other)),
        }
    }

    fn equals_known(&mut self, value: &Constant, other: &'a Operand, when: Option<&Node>) -> Node {
        let mut each = Vec::new();
        let mut there = Vec::new();
        for place in self.places(&other.attribute, None) {
            there.push(self.there(&place));
            each.push(match &place {
                Place::Variable(other) => self.is(*other, Language::One(value.clone())),
                Place::Presence(_) => Node::Constant(false),
                Place::Choices(choices) => among(
                    choices,
                    when,
                    |other| matches!(other, Known::One(other) if other == value),
                ),
            });
        }
        if let Some(default) = &other.default {
            let equal = Node::Constant(default == value);
            each.push(Node::all([Node::any(there).not(), equal]));
        }
        Node::any(each)
    }

    /// If a rule decides, it does not refuse because nothing of what was asked for is left.
    fn permits<P>(&mut self, rule: &'a UseRule<P>, resources: &'a ResourceRegistry) -> Node {
        let asked = self.at("request.scope");
        let asked = self.has_some(asked);
        Node::any([asked.not(), self.granted(rule, None, resources)])
    }

    fn issued<P>(
        &mut self,
        rule: &'a UseRule<P>,
        test: &'a IssuedTest,
        resources: &'a ResourceRegistry,
    ) -> Node {
        match test {
            IssuedTest::Scope(test) => self.granted(rule, Some(test), resources),
            IssuedTest::Audience(test) => self.issued_audience(rule, test, resources),
            IssuedTest::Lifetime(comparison, seconds) => {
                let at_least = |model: &mut Self, least: i64| {
                    let mut parts = vec![Node::Constant(rule.outcome.lifetime >= least)];
                    let language = || Language::Compare(Comparison::AtLeast, least);
                    let left = model.at("subject.expires_in");
                    parts.push(model.is(left, language()));
                    let acting = model.actor_exists();
                    let left = model.at("actor.expires_in");
                    let left = model.is(left, language());
                    parts.push(acting.implies(left));
                    Node::all(parts)
                };
                let more = seconds.saturating_add(1);
                match comparison {
                    Comparison::AtLeast => at_least(self, *seconds),
                    Comparison::Greater => at_least(self, more),
                    Comparison::Less => at_least(self, *seconds).not(),
                    Comparison::AtMost => at_least(self, more).not(),
                    Comparison::Equal => {
                        let parts = [at_least(self, *seconds), at_least(self, more).not()];
                        Node::all(parts)
                    }
                }
            }
        }
    }

    /// Whether some scope token would be granted (that passes a test).
    fn granted<P>(
        &mut self,
        rule: &'a UseRule<P>,
        test: Option<&'a MemberTest>,
        resources: &'a ResourceRegistry,
    ) -> Node {
        let outcome = &rule.outcome;
        if !outcome.carries_scope {
            return Node::Constant(false);
        }
        self.grants = true;
        let schema = self.schema;
        let scope = self.at("scope");
        let mut within = Vec::new();
        if let Some(test) = test {
            let Some(language) = language(&test.test) else {
                return Node::Constant(false);
            };
            within.push((self.add(scope, language), test.negated));
        }
        if let Some(ceiling) = &outcome.scope_ceiling {
            within.push((self.add(scope, Language::Scopes(ceiling)), false));
        }
        for name in outcome.audience.iter().flatten() {
            if let Some(offered) = offered_by_name(resources, name) {
                within.push((self.add(scope, texts(&offered)), false));
            }
        }
        let without = schema.issuers.iter().filter(|issuer| !issuer.has_scope);
        let without = without
            .map(|issuer| Arc::from(issuer.alias.as_str()))
            .collect();
        let free = match outcome.beyond_subject {
            true => Node::Constant(true),
            false => self.issuer_in("subject", without),
        };
        let resource = self.at("resource");
        let audience = self.at("audience");
        let mut offered = Vec::new();
        for (place, entry) in resources.0.iter().enumerate() {
            let Some(scopes) = &entry.scopes else {
                continue;
            };
            let here = Language::Registered(resources, Some(place));
            let asked = self.has(resource, here, false);
            let offers = self.add(scope, Language::Scopes(scopes));
            offered.push((asked, offers));
        }
        // By the names of audiences, where the rule does not choose them.
        if outcome.audience.is_none() {
            let names: BTreeSet<&str> = resources.0.iter().map(|e| e.audience.as_str()).collect();
            for name in names {
                if let Some(scopes) = resources.offered(name) {
                    let asked = self.has(audience, text(name), false);
                    let offers = self.add(scope, texts(&scopes));
                    offered.push((asked, offers));
                }
            }
        }
        Node::Leaf(Leaf::Granted(Box::new(Granted {
            within,
            free,
            offered,
        })))
    }

    fn add(&mut self, variable: usize, language: Language<'a>) -> usize {
        match self.has(variable, language, false) {
            Node::Leaf(Leaf::Has(_, language, _)) => language,
            _ => 0,
        }
    }

    /// Whether some audience of what is issued may pass a test.
    fn issued_audience<P>(
        &mut self,
        rule: &'a UseRule<P>,
        test: &'a MemberTest,
        resources: &'a ResourceRegistry,
    ) -> Node {
        let Some(wanted) = language(&test.test) else {
            return Node::Constant(false);
        };
        let passes = |name: &str| wanted.contains(&Constant::Text(Arc::from(name))) != test.negated;
        if let Some(names) = &rule.outcome.audience {
            return Node::Constant(names.iter().any(|name| passes(name)));
        }
        let resource = self.at("resource");
        let audience = self.at("audience");
        let mut each = vec![self.has(audience, wanted.clone(), test.negated)];
        for (place, entry) in resources.0.iter().enumerate() {
            if passes(entry.audience.as_str()) {
                let here = Language::Registered(resources, Some(place));
                each.push(self.has(resource, here, false));
            }
        }
        each.push(self.issued_as_sent(rule, &wanted, test.negated, resources));
        Node::any(each)
    }

    /// A resource that no entry names is issued as it was sent. A constant names one, however it is spelled;
    /// of a pattern, only the beginning is held against the rule's hosts, so that this may say too much.
    fn issued_as_sent<P>(
        &mut self,
        rule: &'a UseRule<P>,
        wanted: &Language<'a>,
        negated: bool,
        resources: &'a ResourceRegistry,
    ) -> Node {
        let resource = self.at("resource");
        let constants: Option<Vec<&Constant>> = match wanted {
            Language::One(constant) => Some(vec![constant]),
            Language::OneOf(list) => Some(list.iter().collect()),
            _ => None,
        };
        if let (Some(constants), false) = (constants, negated) {
            let mut each = Vec::new();
            for constant in constants {
                let Constant::Text(text) = constant else {
                    continue;
                };
                if let Ok(uri) = text.parse::<Uri>()
                    && resources.find(&uri).is_none()
                {
                    each.push(self.has(resource, Language::One(Constant::Uri(uri)), false));
                }
            }
            return Node::any(each);
        }
        if let (Language::Like(glob), false) = (wanted, negated) {
            let begins = glob.source().split('*').next().unwrap_or_default();
            if !may_begin(&rule.headers, begins) {
                return Node::Constant(false);
            }
            // So that resources of this form are told apart, and tried first.
            if let Ok(pattern) = UriPattern::like(glob.source()) {
                let pattern = Arc::new(pattern.any_query());
                let form = self.has(resource, Language::Form(pattern), false);
                return Node::any([form, self.may_be_sent(resources)]);
            }
        }
        self.may_be_sent(resources)
    }

    /// A resource that no entry names might be spelled so that it passes: what rests on this is unknown.
    fn may_be_sent(&mut self, resources: &'a ResourceRegistry) -> Node {
        let resource = self.at("resource");
        let other = self.has(resource, Language::Registered(resources, None), false);
        let doubt = self.doubt("audience");
        Node::all([other, doubt])
    }
}

/// Whether a resource that the rule takes may be spelled so that it begins like this. Scheme and host may be
/// spelled in either case; what follows may be percent-encoded.
fn may_begin(headers: &Headers, begins: &str) -> bool {
    let fits = |origin: &str| {
        let length = begins.len().min(origin.len());
        match (begins.get(..length), origin.get(..length)) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => true,
        }
    };
    let pattern = |pattern: &UriPattern| {
        let (scheme, host, authority, _) = pattern.parts();
        let origin = format!("{scheme}://");
        if host == Host::Exact {
            return fits(&format!("{origin}{authority}"));
        }
        let Some(rest) = begins.get(origin.len()..).filter(|_| fits(&origin)) else {
            return fits(&origin);
        };
        match (host, rest.split_once('.'), rest.split_once('/')) {
            // One label, and then the rest of the host.
            (Host::OneLabel, Some((label, _)), _) => fits(&format!("{origin}{label}.{authority}")),
            // The host is whole: it ends as it must.
            (_, _, Some((host, _))) => {
                let host = host.to_ascii_lowercase();
                host.split(':').next().is_some_and(|host| {
                    let authority = authority.split(':').next().unwrap_or_default();
                    host.ends_with(&format!(".{authority}"))
                })
            }
            _ => true,
        }
    };
    let form = |form: &TargetsMatch| match form {
        TargetsMatch::Any => true,
        TargetsMatch::None => false,
        TargetsMatch::Parts { resource, .. } => match resource {
            None => false,
            Some(ResourceMatch::Equal(uris)) => uris.iter().any(|uri| fits(uri.origin())),
            Some(ResourceMatch::Pattern(patterns)) => patterns.iter().any(pattern),
        },
    };
    headers
        .to
        .as_ref()
        .is_none_or(|to| to.value.iter().any(form))
}

/// The choices that pass; where the choice is made already, that one.
fn among(
    choices: &[(Node, Option<Known>)],
    when: Option<&Node>,
    passes: impl Fn(&Known) -> bool,
) -> Node {
    let client = |node: &Node| match node {
        Node::Leaf(Leaf::Client(client)) => Some(*client),
        _ => None,
    };
    let made = when.and_then(client);
    let possible = |node: &Node| match (made, client(node)) {
        (Some(made), Some(other)) => made == other,
        _ => true,
    };
    let chosen = choices
        .iter()
        .filter(|(node, value)| possible(node) && value.as_ref().is_some_and(&passes));
    Node::any(chosen.map(|(node, _)| node.clone()).collect::<Vec<_>>())
}

/// What a test asks of one value, where it compares with constants.
fn language(test: &Test) -> Option<Language<'_>> {
    Some(match test {
        Test::Equals(constant) => Language::One(constant.clone()),
        Test::In(list) => Language::OneOf(list),
        Test::Compare(comparison, limit) => Language::Compare(*comparison, *limit),
        Test::Prefixes(prefixes) => Language::Prefixes(prefixes),
        Test::Hours(hours) => Language::Hours(hours),
        Test::Like(glob) => Language::Like(glob),
        Test::LikeUri(pattern) => Language::LikeUri(pattern),
        Test::Under(patterns) => Language::Under(patterns),
        _ => return None,
    })
}

/// A test of constants on a value that is known.
fn passes(known: &Known, test: &Test) -> bool {
    let value = match known {
        Known::One(constant) => constant.value(),
        Known::Set(set) => Value::Set(set),
    };
    crate::policy::decide::plain_test(test, value)
}

fn text(text: &str) -> Language<'static> {
    Language::One(Constant::Text(Arc::from(text)))
}

fn texts(scopes: &Scopes) -> Language<'static> {
    Language::Texts(Arc::new(scopes.as_set().clone()))
}

/// What a name that a rule gives is good at, as the evaluator works it out.
fn offered_by_name(resources: &ResourceRegistry, name: &str) -> Option<Scopes> {
    if resources.has_audience(name) {
        return resources.offered(name);
    }
    let entry = name.parse().ok().and_then(|uri| resources.find(&uri));
    entry.and_then(|entry| entry.scopes.clone())
}

/// `any target` and `no target`, which mean the same in rules and denies.
fn any_or_none(form: &TargetsMatch, some: Node) -> Node {
    match form {
        TargetsMatch::None => some.not(),
        TargetsMatch::Any | TargetsMatch::Parts { .. } => some,
    }
}
