//! Rules, denies and conditions as SMT-LIB: what the evaluator does, clause by clause.

use std::collections::BTreeSet;

use cambist::oauth::id::{IssuerAlias, ProcessorId};
use cambist::oauth::scope::Scopes;
use cambist::oauth::target::RegisteredResource;
use cambist::oauth::token_type::TokenType;
use cambist::oauth::uri::Uri;
use cambist::policy::pattern::UriPattern;
use cambist::policy::rule::{
    ActorForm, Atom, AudienceMatch, Clients, Comparison, Condition, Constants, DenyRule, Headers,
    MemberTest, Operand, ResourceMatch, TargetsMatch, Test, UseRule,
};
use cambist::policy::schema::AttributeRef;

use super::request::{OutOfReach, Request, Value, address};
use super::term::{
    Term, UriTerm, all, any, begins, equal, implies, like, literal, not, number, sum,
};

type Translated = Result<Term, OutOfReach>;
type Rule = UseRule<ProcessorId>;

impl Request<'_> {
    /// A rule's headers and conditions match.
    pub fn rule(&mut self, rule: &Rule) -> Translated {
        let headers = &rule.headers;
        let mut parts = self.common(headers)?;
        let actor = headers.actor.as_ref().unwrap();
        let (form, ignored) = (&actor.value.form, actor.value.may_act_ignored);
        parts.push(self.actor(form, ignored)?);
        if let Some(to) = &headers.to {
            let mut forms = Vec::new();
            for form in &to.value {
                forms.push(self.targets(form)?);
            }
            parts.push(any(forms));
        }
        if !rule.outcome.carries_scope {
            let (sent, _) = self.fixed("request.scope")?;
            parts.push(not(sent));
        }
        parts.push(self.condition(&rule.scope_when, None)?);
        parts.push(self.condition(&rule.when, None)?);
        Ok(all(parts))
    }

    /// A deny matches.
    pub fn deny(&mut self, deny: &DenyRule) -> Translated {
        let headers = &deny.headers;
        let mut parts = self.common(headers)?;
        if let Some(actor) = &headers.actor {
            parts.push(self.deny_actor(&actor.value.form)?);
        }
        if let Some(to) = &headers.to {
            let mut forms = Vec::new();
            for form in &to.value {
                forms.push(self.deny_targets(form)?);
            }
            parts.push(any(forms));
        }
        parts.push(self.condition(&deny.when, None)?);
        Ok(all(parts))
    }

    /// `by`, `from`, `via` and `issue`, which rules and denies read alike.
    fn common(&mut self, headers: &Headers) -> Result<Vec<Term>, OutOfReach> {
        let mut parts = Vec::new();
        if let Some(by) = &headers.by {
            let client = self.client();
            parts.push(match &by.value {
                Clients::Ids(ids) => {
                    any(ids.iter().map(|id| equal(&client, &literal(id.as_str()))))
                }
                Clients::Like(globs) => any(globs.iter().map(|glob| like(&client, glob, ""))),
            });
        }
        if let Some(from) = &headers.from {
            let issuer = self.issuer("subject");
            let token_type = self.token_type("subject");
            parts.push(any(from.value.iter().map(|from| {
                let of = equal(&issuer, &literal(from.alias.as_str()));
                let wanted = from.token_type.as_ref();
                let wanted = wanted.map(|wanted| equal(&token_type, &literal(wanted.name())));
                all(std::iter::once(of).chain(wanted))
            })));
        }
        if let Some(via) = &headers.via {
            let (_, value) = self.fixed("request.grant_type")?;
            parts.push(value.equal(&Value::Text(literal(&via.value))));
        }
        if let Some(issue) = &headers.issue {
            let (said, value) = self.fixed("request.requested_token_type")?;
            let wanted = value.equal(&Value::Text(literal(issue.value.name())));
            let plain = issue.value == TokenType::AccessToken;
            parts.push(format!("(ite {said} {wanted} {plain})"));
        }
        Ok(parts)
    }

    fn actor_of(&mut self, from: &BTreeSet<IssuerAlias>) -> Term {
        self.issuer_is("actor", |issuer| from.contains(&issuer.alias))
    }

    fn actor(&mut self, form: &ActorForm, ignored: bool) -> Translated {
        let acting = self.there("actor");
        let said = self.may_act();
        let names = self.may_act_names()?;
        let not_another = match ignored {
            true => "true".to_owned(),
            false => implies(said.clone(), names.clone()),
        };
        Ok(match form {
            ActorForm::None => {
                let chain = self.hops()[0].clone();
                let said = if ignored { "false".to_owned() } else { said };
                all([not(acting), not(chain), not(said)])
            }
            ActorForm::Client => all([not(acting), not_another]),
            ActorForm::Named(from) => all([acting, self.actor_of(from), said, names]),
            ActorForm::Required(from) => all([acting, self.actor_of(from), not_another]),
            ActorForm::Optional(from) => {
                let of = self.actor_of(from);
                all([implies(acting, of), not_another])
            }
        })
    }

    fn deny_actor(&mut self, form: &ActorForm) -> Translated {
        let acting = self.there("actor");
        Ok(match form {
            ActorForm::None => {
                let chain = self.hops()[0].clone();
                all([not(acting), not(chain), not(self.may_act())])
            }
            ActorForm::Client => not(acting),
            ActorForm::Named(from) => {
                let of = self.actor_of(from);
                all([acting, of, self.may_act(), self.may_act_names()?])
            }
            ActorForm::Required(from) => all([acting, self.actor_of(from)]),
            ActorForm::Optional(from) => implies(acting, self.actor_of(from)),
        })
    }

    /// Whether all that `may_act` says, where it is there, is true of who acts (RFC 8693 §4.4).
    fn may_act_names(&mut self) -> Translated {
        let own = IssuerAlias::own();
        let (says_issuer, issuer) = self.identity("subject.may_act", "issuer");
        let (says_sub, sub) = self.identity("subject.may_act", "sub");
        let (says_client, client_id) = self.identity("subject.may_act", "client_id");
        let acting = self.there("actor");
        // Where it says no issuer, that of the token is meant, or one whose names that one may use.
        let mut within = Vec::new();
        for of in &self.schema.issuers {
            let meant =
                |alias: &IssuerAlias| of.alias == *alias || of.may_act_namespace.contains(alias);
            let subject = self.issuer_is("subject", |issuer| issuer.alias == of.alias);
            let actor = self.issuer_is("actor", |issuer| meant(&issuer.alias));
            let actor = format!("(ite {acting} {actor} {})", meant(&own));
            within.push(all([subject, actor]));
        }
        let actor_issuer = self.issuer("actor");
        let said = format!(
            "(ite {acting} {} {})",
            equal(&issuer, &actor_issuer),
            equal(&issuer, &literal(own.as_str()))
        );
        let of_issuer = format!("(ite {says_issuer} {said} {})", any(within));
        let (_, actor_sub) = self.fixed("actor.sub")?;
        let (has_client, actor_client) = self.fixed("actor.client_id")?;
        let (Value::Text(actor_sub), Value::Text(actor_client)) = (actor_sub, actor_client) else {
            unreachable!()
        };
        let actor = all([
            of_issuer.clone(),
            format!(
                "(ite {says_sub} {} {})",
                equal(&sub, &actor_sub),
                equal(&client_id, &actor_sub)
            ),
            implies(
                says_client.clone(),
                all([has_client, equal(&client_id, &actor_client)]),
            ),
        ]);
        let about_clients = all([not(says_issuer), not(says_sub.clone())]);
        let client = all([
            any([of_issuer, about_clients]),
            implies(says_sub, self.is_clients(&sub)),
            implies(says_client, self.is_clients(&client_id)),
        ]);
        Ok(format!("(ite {acting} {actor} {client})"))
    }

    fn members(&mut self, path: &str, test: String) -> Result<Vec<(Term, Value)>, OutOfReach> {
        self.need(path, test, 1);
        match self.fixed(path)? {
            (_, Value::Set(members)) => Ok(members),
            _ => unreachable!(),
        }
    }

    fn targets(&mut self, form: &TargetsMatch) -> Translated {
        let resources = self.members("resource", format!("{form:?}"))?;
        let audiences = self.members("audience", format!("{form:?}"))?;
        let some = any(resources
            .iter()
            .chain(&audiences)
            .map(|(there, _)| there.clone()));
        Ok(match form {
            TargetsMatch::Any => some,
            TargetsMatch::None => not(some),
            TargetsMatch::Parts { resource, audience } => {
                let mut parts = vec![some];
                for (there, value) in &resources {
                    let matches = match resource {
                        None => "false".to_owned(),
                        Some(matcher) => resource_matches(matcher, value),
                    };
                    parts.push(implies(there.clone(), matches));
                }
                for (there, value) in &audiences {
                    let matches = match audience {
                        None => "false".to_owned(),
                        Some(matcher) => audience_matches(matcher, value),
                    };
                    parts.push(implies(there.clone(), matches));
                }
                all(parts)
            }
        })
    }

    fn deny_targets(&mut self, form: &TargetsMatch) -> Translated {
        let resources = self.members("resource", format!("deny {form:?}"))?;
        let audiences = self.members("audience", format!("deny {form:?}"))?;
        let some = any(resources
            .iter()
            .chain(&audiences)
            .map(|(there, _)| there.clone()));
        Ok(match form {
            TargetsMatch::Any => some,
            TargetsMatch::None => not(some),
            TargetsMatch::Parts { resource, audience } => {
                let mut each = Vec::new();
                if let Some(matcher) = resource {
                    let hit = |(there, value): &(Term, Value)| {
                        all([there.clone(), resource_matches(matcher, value)])
                    };
                    each.extend(resources.iter().map(hit));
                }
                if let Some(matcher) = audience {
                    let hit = |(there, value): &(Term, Value)| {
                        all([there.clone(), audience_matches(matcher, value)])
                    };
                    each.extend(audiences.iter().map(hit));
                }
                any(each)
            }
        })
    }

    /// A condition holds; of an actor that a quantifier looks at where there is one.
    pub fn condition(&mut self, condition: &Condition, hop: Option<usize>) -> Translated {
        let each = |request: &mut Self, parts: &[Condition]| {
            let parts = parts.iter().map(|part| request.condition(part, hop));
            parts.collect::<Result<Vec<Term>, OutOfReach>>()
        };
        Ok(match condition {
            Condition::All(parts) => all(each(self, parts)?),
            Condition::Any(parts) => any(each(self, parts)?),
            Condition::Atom(atom) => self.atom(atom, hop)?,
        })
    }

    fn atom(&mut self, atom: &Atom, hop: Option<usize>) -> Translated {
        let Atom { left, test, .. } = atom;
        let separators = self.separators(&left.attribute)?;
        let (there, value) = self.attribute(&left.attribute, hop)?;
        self.counts(&left.attribute, test);
        let holds = all([there.clone(), self.test(test, &value, &separators)?]);
        let holds = match &left.default {
            None => holds,
            Some(default) => {
                let by_default = self.test(test, &Value::of(default), &separators)?;
                any([holds, all([not(there), by_default])])
            }
        };
        Ok(if atom.negated { not(holds) } else { holds })
    }

    /// How many members of a set a test, or its complement, may rest on.
    fn counts(&mut self, left: &AttributeRef, test: &Test) {
        let members = match test {
            Test::HasAll(wanted) | Test::SetEquals(wanted) => wanted.iter().count() + 1,
            Test::Count(_, limit) => usize::try_from(*limit).unwrap_or(0) + 1,
            _ => 1,
        };
        let key = format!("{test:?}");
        if let Test::InAttribute(set) = test {
            self.need(&set.path(), key.clone(), 1);
        }
        self.need(&left.path(), key, members);
    }

    fn operand(&mut self, operand: &Operand) -> Result<Vec<(Term, Value)>, OutOfReach> {
        let (there, value) = self.attribute(&operand.attribute, None)?;
        let default = operand.default.as_ref().map(Value::of);
        let default = default.map(|default| (not(there.clone()), default));
        Ok(std::iter::once((there, value)).chain(default).collect())
    }

    fn test(&mut self, test: &Test, value: &Value, separators: &str) -> Translated {
        Ok(match test {
            Test::EqualsAttribute(other) => {
                let each = self.operand(other)?.into_iter();
                any(each.map(|(there, other)| all([there, value.equal(&other)])))
            }
            Test::InAttribute(set) => {
                let (there, set) = self.attribute(set, None)?;
                all([there, has(&set, value)])
            }
            Test::HasAttribute(other) => {
                let each = self.operand(other)?.into_iter();
                any(each.map(|(there, other)| all([there, has(value, &other)])))
            }
            Test::AnyHop(condition) => {
                let mut each = Vec::new();
                for (hop, there) in hops(value).iter().enumerate() {
                    each.push(all([there.clone(), self.condition(condition, Some(hop))?]));
                }
                any(each)
            }
            Test::EveryHop(condition) => {
                let mut each = vec![hops(value).first().cloned().unwrap_or("false".to_owned())];
                for (hop, there) in hops(value).iter().enumerate() {
                    let holds = self.condition(condition, Some(hop))?;
                    each.push(implies(there.clone(), holds));
                }
                all(each)
            }
            other => plain(other, value, separators)?,
        })
    }

    /// If a rule decides, something is granted: of what is asked for, where scope is.
    pub fn granted(&mut self, rule: &Rule) -> Translated {
        let outcome = &rule.outcome;
        let schema = self.schema;
        let (sent, asked) = self.fixed("request.scope")?;
        let Value::Set(asked) = asked else {
            unreachable!()
        };
        let asked = all([sent, any(asked.into_iter().map(|(there, _)| there))]);
        let scope = self.members("scope", "granted".to_owned())?;
        self.need("subject.scope", "granted".to_owned(), 1);
        let (said, own) = self.fixed("subject.scope")?;
        let has_scope = self.issuer_is("subject", |issuer| issuer.has_scope);
        let resources = self.members("resource", "granted".to_owned())?;
        let audiences = self.members("audience", "granted".to_owned())?;
        for (_, name) in &audiences {
            // Names that are URIs would be looked up as such.
            if let Value::Text(name) = name {
                self.assert(&not(begins(name, "http")));
            }
        }
        let mut each = Vec::new();
        for (there, token) in scope {
            let listed = |scopes: &Scopes| {
                let tokens = scopes.iter();
                any(tokens.map(|one| token.equal(&Value::Text(literal(one)))))
            };
            let mut parts = vec![there];
            if !outcome.beyond_subject {
                let own = all([said.clone(), has(&own, &token)]);
                parts.push(implies(has_scope.clone(), own));
            }
            parts.extend(outcome.scope_ceiling.as_ref().map(listed));
            for (there, uri) in &resources {
                for (place, entry) in schema.resources.0.iter().enumerate() {
                    let longest = all([there.clone(), found(&schema.resources.0, place, uri)]);
                    let offered = entry.scopes.as_ref().map(listed);
                    parts.extend(offered.map(|offered| implies(longest.clone(), offered)));
                    if outcome.audience.is_none() {
                        let offered = schema.resources.offered(entry.audience.as_str());
                        parts.extend(offered.map(|o| implies(longest, listed(&o))));
                    }
                }
            }
            match &outcome.audience {
                Some(names) => {
                    for name in names {
                        if name.parse::<Uri>().is_ok() {
                            return Err(OutOfReach("an audience that is a URI"));
                        }
                        parts.extend(schema.resources.offered(name).map(|o| listed(&o)));
                    }
                }
                None => {
                    for (there, name) in &audiences {
                        for entry in &schema.resources.0 {
                            let of = entry.audience.as_str();
                            let is = name.equal(&Value::Text(literal(of)));
                            let is = all([there.clone(), is]);
                            let offered = schema.resources.offered(of);
                            parts.extend(offered.map(|o| implies(is, listed(&o))));
                        }
                    }
                }
            }
            each.push(all(parts));
        }
        let some = match outcome.carries_scope {
            true => any(each),
            false => "false".to_owned(),
        };
        Ok(implies(asked, some))
    }
}

/// Whether an entry of the registry is the one of a resource: the longest.
fn found(registry: &[RegisteredResource], place: usize, uri: &Value) -> Term {
    let Value::Uri(uri) = uri else { unreachable!() };
    let length = |entry: &RegisteredResource| entry.under.path().trim_end_matches('/').len();
    let own = &registry[place];
    let longer = registry
        .iter()
        .enumerate()
        .filter(|(other, entry)| (length(entry), *other) > (length(own), place));
    let longer = longer.map(|(_, entry)| not(uri.under(&entry.under)));
    all(std::iter::once(uri.under(&own.under)).chain(longer))
}

fn resource_matches(matcher: &ResourceMatch, uri: &Value) -> Term {
    let Value::Uri(uri) = uri else { unreachable!() };
    match matcher {
        ResourceMatch::Equal(uris) => any(uris.iter().map(|one| uri.equal(&UriTerm::of(one)))),
        ResourceMatch::Pattern(patterns) => any(patterns.iter().map(|one| uri.matches(one))),
    }
}

fn audience_matches(matcher: &AudienceMatch, name: &Value) -> Term {
    let Value::Text(name) = name else {
        unreachable!()
    };
    match matcher {
        AudienceMatch::Equal(names) => any(names.iter().map(|one| equal(name, &literal(one)))),
        AudienceMatch::Like(globs) => any(globs.iter().map(|glob| like(name, glob, ":/"))),
    }
}

fn compare(left: &str, how: Comparison, right: i64) -> Term {
    let sign = match how {
        Comparison::Equal => "=",
        Comparison::Less => "bvslt",
        Comparison::AtMost => "bvsle",
        Comparison::Greater => "bvsgt",
        Comparison::AtLeast => "bvsge",
    };
    format!("({sign} {left} {})", number(right))
}

/// A test that compares with constants.
fn plain(test: &Test, value: &Value, separators: &str) -> Translated {
    let one_of = |value: &Value, of: &Constants| {
        any(of.iter().map(|constant| value.equal(&Value::of(constant))))
    };
    Ok(match (test, value) {
        (Test::Present, _) => "true".to_owned(),
        (Test::Equals(constant), value) => value.equal(&Value::of(constant)),
        (Test::In(list), value) => one_of(value, list),
        (Test::Compare(how, limit), Value::Int(left)) => compare(left, *how, *limit),
        (Test::Prefixes(prefixes), Value::Ip(six, of)) => any(prefixes.iter().map(|prefix| {
            let (is_six, least) = address(prefix.network());
            let (_, most) = address(prefix.broadcast());
            let six = equal(six, &is_six.to_string());
            all([
                six,
                format!("(bvule {least} {of})"),
                format!("(bvule {of} {most})"),
            ])
        })),
        (Test::Hours(_), _) => return Err(OutOfReach("hours")),
        (Test::Like(glob), Value::Text(text)) => like(text, glob, separators),
        (Test::LikeUri(pattern), Value::Uri(uri)) => uri.matches(pattern),
        (Test::Under(patterns), Value::Uri(uri)) => under(uri, patterns),
        (Test::Has(constant), set) => has(set, &Value::of(constant)),
        (Test::HasAny(list), Value::Set(members)) => any(members
            .iter()
            .map(|(there, member)| all([there.clone(), one_of(member, list)]))),
        (Test::HasAll(list), set) => {
            all(list.iter().map(|constant| has(set, &Value::of(constant))))
        }
        (Test::Only(list), Value::Set(members)) => {
            every(members, |member| Ok(one_of(member, list)))?
        }
        (Test::SetEquals(list), Value::Set(members)) => {
            let all_there = list.iter().map(|constant| has(value, &Value::of(constant)));
            let no_other = members
                .iter()
                .map(|(there, member)| implies(there.clone(), one_of(member, list)));
            all(all_there.chain(no_other))
        }
        (Test::Count(how, limit), Value::Set(members)) => {
            let mut each = Vec::new();
            for (place, (there, member)) in members.iter().enumerate() {
                let earlier = members.iter().take(place);
                let again =
                    earlier.map(|(earlier, other)| all([earlier.clone(), member.equal(other)]));
                let first = all([there.clone(), not(any(again))]);
                each.push(format!("(ite {first} {} {})", number(1), number(0)));
            }
            compare(&sum(each), *how, *limit)
        }
        (Test::AnyMember(inner), Value::Set(members)) => {
            let mut each = Vec::new();
            for (there, member) in members {
                each.push(all([there.clone(), passes(inner, member, separators)?]));
            }
            any(each)
        }
        (Test::EveryMember(inner), Value::Set(members)) => {
            every(members, |member| passes(inner, member, separators))?
        }
        _ => return Err(OutOfReach("a test of another type")),
    })
}

fn under(uri: &UriTerm, patterns: &[UriPattern]) -> Term {
    any(patterns.iter().map(|pattern| uri.matches(pattern)))
}

fn passes(inner: &MemberTest, member: &Value, separators: &str) -> Translated {
    let holds = plain(&inner.test, member, separators)?;
    Ok(if inner.negated { not(holds) } else { holds })
}

/// Whether there is one, and all pass.
fn every(members: &[(Term, Value)], passes: impl Fn(&Value) -> Translated) -> Translated {
    let mut parts = vec![any(members.iter().map(|(there, _)| there.clone()))];
    for (there, member) in members {
        parts.push(implies(there.clone(), passes(member)?));
    }
    Ok(all(parts))
}

fn has(set: &Value, element: &Value) -> Term {
    match set {
        Value::Set(members) => any(members
            .iter()
            .map(|(there, member)| all([there.clone(), member.equal(element)]))),
        _ => "false".to_owned(),
    }
}

fn hops(value: &Value) -> &[Term] {
    match value {
        Value::Hops(hops) => hops,
        _ => &[],
    }
}
