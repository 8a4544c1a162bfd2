//! Matching: total, two-valued, no errors, nothing whose order an author could see.

use super::decision::Stage;
use crate::context::{ExchangeContext, Hop};
use crate::oauth::token_type::TokenType;
use crate::policy::rule::{
    ActorForm, ActorMatch, Atom, AudienceMatch, Condition, Constant, DenyRule, FromIssuer, Header,
    Headers, MemberTest, Operand, ResourceMatch, TargetsMatch, Test, UseRule,
};
use crate::policy::schema::{AttributeRef, Value};

/// Whether the headers of a rule match, whatever its conditions say.
pub(super) fn headers_match<P>(rule: &UseRule<P>, context: &ExchangeContext) -> bool {
    let headers = &rule.headers;
    by_matches(headers, context)
        && from_matches(headers, context)
        && actor_matches(headers, context)
        && to_matches(headers, context)
        && scope_is_carried(rule, context)
        && via_matches(headers, context)
        && issue_matches(headers, context)
}

fn to_matches(headers: &Headers, context: &ExchangeContext) -> bool {
    let to = headers.to.as_ref();
    to.is_none_or(|to| to.value.iter().any(|form| targets_match(form, context)))
}

/// The stages of the funnel, in order.
const STAGES: [Stage; 6] = [
    Stage::Client,
    Stage::Issuer,
    Stage::Actor,
    Stage::Targets,
    Stage::Scope,
    Stage::Rest,
];

/// The first stage of the funnel at which a rule does not match; `None` when it matches.
pub(super) fn first_failure<P>(rule: &UseRule<P>, context: &ExchangeContext) -> Option<Stage> {
    let fails = |stage: &Stage| !passes_at(rule, *stage, context);
    STAGES.into_iter().find(fails)
}

/// Whether a rule matches at a stage and at all before it.
pub(super) fn passes<P>(rule: &UseRule<P>, stage: Stage, context: &ExchangeContext) -> bool {
    let mut until = STAGES.into_iter().take_while(|each| *each <= stage);
    until.all(|stage| passes_at(rule, stage, context))
}

fn passes_at<P>(rule: &UseRule<P>, stage: Stage, context: &ExchangeContext) -> bool {
    let headers = &rule.headers;
    match stage {
        Stage::Client => by_matches(headers, context),
        Stage::Issuer => from_matches(headers, context),
        Stage::Actor => actor_matches(headers, context),
        Stage::Targets => to_matches(headers, context),
        Stage::Scope => scope_is_carried(rule, context) && holds(&rule.scope_when, context),
        Stage::Rest => {
            via_matches(headers, context)
                && issue_matches(headers, context)
                && holds(&rule.when, context)
        }
    }
}

/// Whether two rules ask the same at a stage and at all before it.
pub(super) fn same_until<P>(stage: Stage, one: &UseRule<P>, other: &UseRule<P>) -> bool {
    let (a, b) = (&one.headers, &other.headers);
    let mut until = STAGES.into_iter().take_while(|each| *each <= stage);
    until.all(|stage| match stage {
        Stage::Client => same(a.by.as_ref(), b.by.as_ref()),
        Stage::Issuer => same(a.from.as_ref(), b.from.as_ref()),
        Stage::Actor => same(a.actor.as_ref(), b.actor.as_ref()),
        Stage::Targets => same(a.to.as_ref(), b.to.as_ref()),
        Stage::Scope => {
            one.outcome.carries_scope == other.outcome.carries_scope
                && one.scope_when == other.scope_when
        }
        Stage::Rest => {
            same(a.via.as_ref(), b.via.as_ref())
                && same(a.issue.as_ref(), b.issue.as_ref())
                && one.when == other.when
        }
    })
}

/// Whether two headers ask the same, wherever they stand.
fn same<T: PartialEq>(one: Option<&Header<T>>, other: Option<&Header<T>>) -> bool {
    one.map(|header| &header.value) == other.map(|header| &header.value)
}

/// A rule whose processor cannot carry scope matches only when none was requested.
pub(super) fn scope_is_carried<P>(rule: &UseRule<P>, context: &ExchangeContext) -> bool {
    rule.outcome.carries_scope || context.request.scope.is_none()
}

/// Whether a deny matches. Its `to` is existential: *some* requested target matches.
pub(super) fn deny_matches(deny: &DenyRule, context: &ExchangeContext) -> bool {
    deny_headers_match(&deny.headers, context) && holds(&deny.when, context)
}

/// Whether the headers of a deny match, whatever its conditions say.
pub(super) fn deny_headers_match(headers: &Headers, context: &ExchangeContext) -> bool {
    by_matches(headers, context)
        && from_matches(headers, context)
        && deny_actor_matches(headers, context)
        && deny_to_matches(headers, context)
        && via_matches(headers, context)
        && issue_matches(headers, context)
}

pub(super) fn by_matches(headers: &Headers, context: &ExchangeContext) -> bool {
    let by = headers.by.as_ref();
    by.is_none_or(|by| by.value.contain(&context.client.id))
}

pub(super) fn from_matches(headers: &Headers, context: &ExchangeContext) -> bool {
    let party = &context.subject;
    headers.from.as_ref().is_none_or(|header| {
        header.value.iter().any(|FromIssuer { alias, token_type }| {
            *alias == party.issuer
                && token_type
                    .as_ref()
                    .is_none_or(|wanted| *wanted == party.token_type)
        })
    })
}

/// For a rule. What the form does not mention must be absent, and a `may_act` always binds, whether or
/// not there is an actor token: it comes from the subject's own token, not from the request.
pub(super) fn actor_matches(headers: &Headers, context: &ExchangeContext) -> bool {
    let Some(ActorMatch {
        form,
        may_act_ignored,
    }) = headers.actor.as_ref().map(|header| &header.value)
    else {
        return false;
    };
    let actor = context.actor.as_ref().map(|actor| &actor.issuer);
    let named = context.may_act_names();
    let not_another = *may_act_ignored || named != Some(false);
    match form {
        ActorForm::None => {
            actor.is_none()
                && context.subject.chain.is_empty()
                && (*may_act_ignored || named.is_none())
        }
        ActorForm::Client => actor.is_none() && not_another,
        ActorForm::Named(from) => {
            actor.is_some_and(|issuer| from.contains(issuer)) && named == Some(true)
        }
        ActorForm::Required(from) => {
            actor.is_some_and(|issuer| from.contains(issuer)) && not_another
        }
        ActorForm::Optional(from) => {
            actor.is_none_or(|issuer| from.contains(issuer)) && not_another
        }
    }
}

/// For a deny: who acts, whatever `may_act` says; only `named` asks for it.
pub(super) fn deny_actor_matches(headers: &Headers, context: &ExchangeContext) -> bool {
    let Some(header) = &headers.actor else {
        return true;
    };
    let actor = context.actor.as_ref().map(|actor| &actor.issuer);
    match &header.value.form {
        ActorForm::None => {
            actor.is_none() && context.subject.chain.is_empty() && context.subject.may_act.is_none()
        }
        ActorForm::Client => actor.is_none(),
        ActorForm::Named(from) => {
            actor.is_some_and(|issuer| from.contains(issuer))
                && context.may_act_names() == Some(true)
        }
        ActorForm::Required(from) => actor.is_some_and(|issuer| from.contains(issuer)),
        ActorForm::Optional(from) => actor.is_none_or(|issuer| from.contains(issuer)),
    }
}

pub(super) fn via_matches(headers: &Headers, context: &ExchangeContext) -> bool {
    headers
        .via
        .as_ref()
        .is_none_or(|via| *via.value == *context.request.grant_type)
}

/// `issue access_token` also holds where nothing was asked for (RFC 8693 §2.1 leaves the choice to us).
pub(super) fn issue_matches(headers: &Headers, context: &ExchangeContext) -> bool {
    headers
        .issue
        .as_ref()
        .is_none_or(|issue| match &context.request.requested_token_type {
            Some(requested) => *requested == issue.value,
            None => issue.value == TokenType::AccessToken,
        })
}

/// For a rule: every target matches, there is one, and a kind that is not mentioned is empty.
pub(super) fn targets_match(form: &TargetsMatch, context: &ExchangeContext) -> bool {
    let targets = &context.request.targets;
    match form {
        TargetsMatch::Any => !targets.is_empty(),
        TargetsMatch::None => targets.is_empty(),
        TargetsMatch::Parts { resource, audience } => {
            !targets.is_empty()
                && match resource {
                    None => targets.resources.is_empty(),
                    Some(matcher) => targets
                        .resources
                        .iter()
                        .all(|uri| resource_matches(matcher, uri)),
                }
                && match audience {
                    None => targets.audiences.is_empty(),
                    Some(matcher) => targets
                        .audiences
                        .iter()
                        .all(|name| audience_matches(matcher, name)),
                }
        }
    }
}

/// For a deny: some target matches one of the parts.
pub(super) fn deny_to_matches(headers: &Headers, context: &ExchangeContext) -> bool {
    let targets = &context.request.targets;
    headers.to.as_ref().is_none_or(|to| {
        to.value.iter().any(|form| match form {
            TargetsMatch::Any => !targets.is_empty(),
            TargetsMatch::None => targets.is_empty(),
            TargetsMatch::Parts { resource, audience } => {
                let resource = resource.as_ref();
                let audience = audience.as_ref();
                resource.is_some_and(|matcher| {
                    targets
                        .resources
                        .iter()
                        .any(|uri| resource_matches(matcher, uri))
                }) || audience.is_some_and(|matcher| {
                    targets
                        .audiences
                        .iter()
                        .any(|name| audience_matches(matcher, name))
                })
            }
        })
    })
}

fn resource_matches(matcher: &ResourceMatch, uri: &crate::oauth::uri::Uri) -> bool {
    match matcher {
        ResourceMatch::Equal(uris) => uris.contains(uri),
        ResourceMatch::Pattern(patterns) => patterns.iter().any(|pattern| pattern.matches(uri)),
    }
}

fn audience_matches(matcher: &AudienceMatch, name: &str) -> bool {
    match matcher {
        AudienceMatch::Equal(names) => names.contains(name),
        AudienceMatch::Like(globs) => globs.iter().any(|glob| glob.matches(name)),
    }
}

/// Whether a condition holds.
pub(super) fn holds(condition: &Condition, context: &ExchangeContext) -> bool {
    holds_of(condition, context, None)
}

/// The same where a quantifier looks at an actor.
fn holds_of<'a>(condition: &Condition, context: &'a ExchangeContext, it: Option<&'a Hop>) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().all(|part| holds_of(part, context, it)),
        Condition::Any(parts) => parts.iter().any(|part| holds_of(part, context, it)),
        Condition::Atom(atom) => atom_holds_of(atom, context, it),
    }
}

/// Whether a test holds. Absent makes it false, and then its complement true.
pub(super) fn atom_holds(atom: &Atom, context: &ExchangeContext) -> bool {
    atom_holds_of(atom, context, None)
}

fn atom_holds_of<'a>(atom: &Atom, context: &'a ExchangeContext, it: Option<&'a Hop>) -> bool {
    let left = value(&atom.left, context, it);
    left.is_some_and(|left| test_holds(&atom.test, left, context)) != atom.negated
}

/// The value that a test sees: the attribute's, else the default.
fn value<'a>(
    operand: &'a Operand,
    context: &'a ExchangeContext,
    it: Option<&'a Hop>,
) -> Option<Value<'a>> {
    let default = || operand.default.as_ref().map(Constant::value);
    operand.attribute.get_of(context, it).or_else(default)
}

fn test_holds(test: &Test, left: Value<'_>, context: &ExchangeContext) -> bool {
    match test {
        Test::EqualsAttribute(other) => {
            value(other, context, None).is_some_and(|other| left == other)
        }
        Test::InAttribute(set) => set.get(context).is_some_and(|set| has(set, left)),
        Test::HasAttribute(other) => {
            value(other, context, None).is_some_and(|other| has(left, other))
        }
        Test::AnyHop(condition) => hops(left)
            .iter()
            .any(|hop| holds_of(condition, context, Some(hop))),
        Test::EveryHop(condition) => every(hops(left).iter(), |hop| {
            holds_of(condition, context, Some(hop))
        }),
        other => plain_test(other, left),
    }
}

/// Whether a value passes a test that compares with constants; one that looks at a context does not hold.
pub(in crate::policy) fn plain_test(test: &Test, left: Value<'_>) -> bool {
    match test {
        Test::Present => true,
        Test::Equals(wanted) => left == wanted.value(),
        Test::In(wanted) => wanted.contains(left),
        Test::Compare(comparison, limit) => {
            matches!(left, Value::Int(number) if comparison.holds(number, *limit))
        }
        Test::Prefixes(prefixes) => {
            matches!(left, Value::Ip(ip) if prefixes.contain(ip))
        }
        Test::Hours(hours) => matches!(left, Value::Int(instant) if hours.contains(instant)),
        Test::Like(glob) => matches!(left, Value::Text(text) if glob.matches(text)),
        Test::LikeUri(pattern) => matches!(left, Value::Uri(uri) if pattern.matches(uri)),
        Test::Under(patterns) => {
            matches!(left, Value::Uri(uri) if patterns.iter().any(|p| p.matches(uri)))
        }
        Test::Has(wanted) => has(left, wanted.value()),
        Test::HasAny(wanted) => members(left).any(|member| wanted.contains(member)),
        Test::HasAll(wanted) => wanted.iter().all(|wanted| has(left, wanted.value())),
        Test::Only(allowed) => every(members(left), |member| allowed.contains(member)),
        Test::SetEquals(wanted) => {
            wanted.iter().all(|wanted| has(left, wanted.value()))
                && members(left).all(|member| wanted.contains(member))
        }
        Test::Count(comparison, limit) => {
            i64::try_from(members(left).count()).is_ok_and(|count| comparison.holds(count, *limit))
        }
        Test::AnyMember(inner) => members(left).any(|member| member_passes(inner, member)),
        Test::EveryMember(inner) => every(members(left), |member| member_passes(inner, member)),
        Test::EqualsAttribute(_)
        | Test::InAttribute(_)
        | Test::HasAttribute(_)
        | Test::AnyHop(_)
        | Test::EveryHop(_) => false,
    }
}

/// Whether a member of a set passes. Its tests compare with constants only.
pub(super) fn member_passes(inner: &MemberTest, member: Value<'_>) -> bool {
    plain_test(&inner.test, member) != inner.negated
}

/// Whether there is one, and all pass: a quantifier is never vacuous.
fn every<T>(mut items: impl Iterator<Item = T>, passes: impl Fn(T) -> bool) -> bool {
    items.next().is_some_and(&passes) && items.all(passes)
}

fn has(set: Value<'_>, element: Value<'_>) -> bool {
    match (set, element) {
        (Value::Set(set), Value::Text(text)) => set.contains(text),
        (Value::Uris(uris), Value::Uri(uri)) => uris.contains(uri),
        _ => false,
    }
}

/// The members of a set, each once.
fn members(set: Value<'_>) -> impl Iterator<Item = Value<'_>> {
    let (texts, uris) = match set {
        Value::Set(set) => (Some(set), [].as_slice()),
        Value::Uris(uris) => (None, uris),
        _ => (None, [].as_slice()),
    };
    let texts = texts.into_iter().flatten().map(|text| Value::Text(text));
    let uris = uris
        .iter()
        .enumerate()
        .filter(|(index, uri)| !uris.iter().take(*index).any(|earlier| earlier == *uri))
        .map(|(_, uri)| Value::Uri(uri));
    texts.chain(uris)
}

fn hops(list: Value<'_>) -> &[Hop] {
    match list {
        Value::Hops(hops) => hops,
        _ => &[],
    }
}

/// Calls `visit` with every attribute that an atom reads.
pub(super) fn attributes(atom: &Atom, visit: &mut impl FnMut(&AttributeRef)) {
    visit(&atom.left.attribute);
    if let Some((right, _)) = atom.test.right() {
        visit(right);
    }
}
