//! What may be issued: computed once at the decision, checked once against what a provider made.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::decision::{Denial, Permit, Reason};
use crate::context::{ExchangeContext, Hop, MAX_DEPTH, MayAct};
use crate::oauth::NumericDate;
use crate::oauth::error::ErrorCode;
use crate::oauth::id::Subject;
use crate::oauth::response::{Fact, IssuedToken};
use crate::oauth::scope::Scopes;
use crate::oauth::target::ResourceRegistry;
use crate::oauth::token_type::TokenType;
use crate::policy::rule::{Outcome, ParameterValue, Piece, Template, UseRule};
use crate::policy::schema::{AttributeRef, Value};

/// The most that may be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Exact strings for `aud`; what is issued must be among them.
    pub audience: BTreeSet<Arc<str>>,
    /// The scope that may be granted.
    pub scope: Scopes,
    /// The latest expiry.
    pub expires_at: NumericDate,
    /// The only token type.
    pub token_type: TokenType,
    /// The only subject.
    pub subject: Subject,
    /// The actors that the token must name, the outermost first (RFC 8693 §4.1); of none, no `act`.
    pub act: Vec<Hop>,
    /// The `may_act` that the token must carry on, where nobody has taken it up yet.
    pub may_act: Option<MayAct>,
}

/// The values of a processor's own parameters.
pub type Parameters = BTreeMap<&'static str, serde_json::Value>;

/// A value holds the character that stands behind it in its template, so that two different requests
/// could get the same text.
struct Collision;

impl Template {
    /// The attributes in it.
    pub fn attributes(&self) -> impl Iterator<Item = &AttributeRef> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Attribute(attribute) => Some(attribute),
            Piece::Text(_) => None,
        })
    }

    /// The text in one context; `None` when an attribute is absent.
    fn render(&self, context: &ExchangeContext) -> Result<Option<String>, Collision> {
        let mut out = String::new();
        for (index, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Attribute(attribute) => {
                    let value = match attribute.get(context) {
                        Some(Value::Text(text)) => text.to_owned(),
                        Some(Value::Uri(uri)) => uri.raw().to_owned(),
                        Some(Value::Int(number)) => number.to_string(),
                        Some(Value::Ip(ip)) => ip.to_string(),
                        Some(
                            Value::Bool(_)
                            | Value::Set(_)
                            | Value::Uris(_)
                            | Value::Hops(_)
                            | Value::Hop(_)
                            | Value::MayAct(_),
                        )
                        | None => return Ok(None),
                    };
                    if let Some(Piece::Text(next)) = self.0.get(index + 1)
                        && next.chars().next().is_some_and(|c| value.contains(c))
                    {
                        return Err(Collision);
                    }
                    out.push_str(&value);
                }
            }
        }
        Ok(Some(out))
    }

    /// Text that is the same for equal templates and for no others.
    fn identity(&self) -> Vec<String> {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => format!("{text:?}"),
            Piece::Attribute(attribute) => attribute.path(),
        };
        self.0.iter().map(piece).collect()
    }
}

impl ParameterValue {
    /// Whether it begins with what a token says, and not with whose token it is.
    fn begins_open(&self) -> bool {
        let open = |attribute: &AttributeRef| !attribute.is_issuer();
        match self {
            Self::Text(template) => {
                matches!(template.0.first(), Some(Piece::Attribute(first)) if open(first))
            }
            Self::Attribute(attribute) => open(attribute),
            Self::Int(_) | Self::Bool(_) | Self::Strings(_) | Self::Map(_) => false,
        }
    }

    /// The value in one context; `None` when an attribute that it needs is absent.
    fn render(&self, context: &ExchangeContext) -> Result<Option<serde_json::Value>, Collision> {
        Ok(match self {
            Self::Text(template) => template.render(context)?.map(Into::into),
            Self::Attribute(attribute) => attribute.get(context).map(Value::to_json),
            Self::Int(number) => Some((*number).into()),
            Self::Bool(truth) => Some((*truth).into()),
            Self::Strings(texts) => Some(
                texts
                    .iter()
                    .map(|text| serde_json::Value::from(&**text))
                    .collect(),
            ),
            Self::Map(entries) => {
                let mut object = serde_json::Map::new();
                for (name, value) in entries {
                    if let Some(value) = value.render(context)? {
                        object.insert(name.to_string(), value);
                    }
                }
                Some(object.into())
            }
        })
    }

    /// For messages and comparisons: as policies write it, but for maps, whose order is theirs.
    pub(in crate::policy) fn shown(&self) -> String {
        match self {
            Self::Text(template) => {
                let piece = |piece: &Piece| match piece {
                    Piece::Text(text) => text.replace('\\', "\\\\").replace('"', "\\\""),
                    Piece::Attribute(attribute) => format!("${{{}}}", attribute.path()),
                };
                let pieces: Vec<String> = template.0.iter().map(piece).collect();
                format!("\"{}\"", pieces.concat())
            }
            Self::Attribute(attribute) => attribute.path(),
            Self::Int(number) => number.to_string(),
            Self::Bool(truth) => truth.to_string(),
            Self::Strings(texts) => format!("{texts:?}"),
            Self::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", value.shown()))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }

    /// Text that is the same for equal values and for no others.
    fn identity(&self) -> String {
        match self {
            Self::Text(template) => format!("text {:?}", template.identity()),
            Self::Attribute(attribute) => format!("attribute {}", attribute.path()),
            Self::Int(number) => format!("int {number}"),
            Self::Bool(truth) => format!("bool {truth}"),
            Self::Strings(texts) => format!("strings {texts:?}"),
            Self::Map(entries) => {
                let entries: BTreeMap<&str, String> = entries
                    .iter()
                    .map(|(name, value)| (&**name, value.identity()))
                    .collect();
                format!("map {entries:?}")
            }
        }
    }
}

impl<P: std::fmt::Debug> Outcome<P> {
    /// Text that is the same for equal outcomes and for no others.
    pub(in crate::policy) fn identity(&self) -> String {
        let parameters: BTreeMap<&str, String> = self
            .parameters
            .iter()
            .map(|(name, value)| (*name, value.identity()))
            .collect();
        format!(
            "{:?} {:?} {:?} {:?} {} {} {} {parameters:?}",
            self.processor,
            self.issue,
            self.audience,
            self.scope_ceiling,
            self.beyond_subject,
            self.acts,
            self.lifetime
        )
    }
}

/// Computes what a matching rule permits.
pub(super) fn permit<'a, P>(
    rule: &'a UseRule<P>,
    context: &'a ExchangeContext,
    resources: &ResourceRegistry,
    given: &BTreeSet<Arc<str>>,
) -> Result<Permit<'a>, Denial> {
    let refuse = |code, reason| Denial {
        code,
        reason,
        rule: Some((rule.id.clone(), rule.span.clone())),
        because: None,
        tell: None,
    };
    let outcome = &rule.outcome;
    let mut parameters = Parameters::new();
    for (name, value) in &outcome.parameters {
        let value = value
            .render(context)
            .ok()
            .flatten()
            .ok_or_else(|| refuse(ErrorCode::InvalidRequest, Reason::Template(name)))?;
        parameters.insert(name, value);
    }
    let subject = match parameters.get("sub") {
        Some(value) => value
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| refuse(ErrorCode::InvalidRequest, Reason::Template("sub")))?,
        None => context.subject.subject.clone(),
    };
    // What is ours already has its name, whoever gave it; any other issuer could choose one that a rule
    // makes of another's subject.
    let as_it_is = outcome
        .parameters
        .get("sub")
        .is_none_or(ParameterValue::begins_open);
    if as_it_is && !context.subject.issuer.is_own() && begins_with_one(subject.as_str(), given) {
        return Err(refuse(ErrorCode::InvalidRequest, Reason::SubjectTaken));
    }
    let audience = audience_of(outcome, context, resources);
    let scope = granted_scope(outcome, context, &audience, resources);
    let asked = context
        .request
        .scope
        .as_ref()
        .is_some_and(|scope| !scope.is_empty());
    if asked && scope.is_empty() {
        return Err(refuse(ErrorCode::InvalidScope, Reason::NothingGranted));
    }
    let mut expires_at = context.now.plus(outcome.lifetime);
    let actor = context
        .actor
        .as_ref()
        .map(|actor| (actor, Reason::ActorExpires));
    for (party, reason) in std::iter::once((&context.subject, Reason::SubjectExpires)).chain(actor)
    {
        expires_at = expires_at.min(party.expires_at);
        if expires_at.since(context.now) < 1 {
            return Err(refuse(ErrorCode::InvalidRequest, reason));
        }
    }
    let (act, may_act) = delegation(rule, context);
    if act.len() > MAX_DEPTH {
        return Err(refuse(ErrorCode::InvalidRequest, Reason::ChainTooLong));
    }
    let allowance = Allowance {
        audience,
        scope,
        expires_at,
        token_type: outcome.issue.clone(),
        subject,
        act,
        may_act,
    };
    Ok(Permit {
        rule: &rule.id,
        span: &rule.span,
        beyond_subject: outcome.beyond_subject,
        allowance,
        parameters,
        context,
    })
}

/// Whether a text begins with one of others, of which there may be as many as rules.
fn begins_with_one(text: &str, others: &BTreeSet<Arc<str>>) -> bool {
    let mut text = text;
    // Whatever lies between the beginning of a text and that text begins so too: the greatest that is not
    // after the text is one, or all that are lie before where the two part.
    while let Some(last) = others
        .range::<str, _>((Bound::Unbounded, Bound::Included(text)))
        .next_back()
    {
        if text.starts_with(&**last) {
            return true;
        }
        let same = text.chars().zip(last.chars()).take_while(|(a, b)| a == b);
        let common: usize = same.map(|(a, _)| a.len_utf8()).sum();
        text = text.get(..common).unwrap_or_default();
    }
    false
}

/// Who acts, over those who acted before. The subject's own chain is never lost, and its `may_act` only
/// where the acting party has been written down instead.
fn delegation<P>(rule: &UseRule<P>, context: &ExchangeContext) -> (Vec<Hop>, Option<MayAct>) {
    let mut act = context.subject.chain.clone();
    if !rule.outcome.acts {
        return (act, context.subject.may_act.clone());
    }
    let acting = context.acting_hop();
    // Whoever acts once more after itself has not changed.
    if act.first() != Some(&acting) {
        act.insert(0, acting);
    }
    (act, None)
}

/// Effective scope ∩ the subject's (unless `beyond subject`, which needs a ceiling) ∩ the rule's ceiling ∩
/// what every target offers. A token without scope of an issuer that has scopes grants none; an issuer without scopes (`scope: none`) has nothing
/// to bound with, its rules have a ceiling instead (E0608).
fn granted_scope<P>(
    outcome: &Outcome<P>,
    context: &ExchangeContext,
    audience: &BTreeSet<Arc<str>>,
    resources: &ResourceRegistry,
) -> Scopes {
    let mut scope = context.scope.clone();
    if context.subject.has_scope && !outcome.beyond_subject {
        scope = context
            .subject
            .scope
            .as_ref()
            .map(|source| scope.intersection(source))
            .unwrap_or_default();
    }
    if let Some(ceiling) = &outcome.scope_ceiling {
        scope = scope.intersection(ceiling);
    }
    for resource in &context.request.targets.resources {
        if let Some(offered) = resources
            .find(resource)
            .and_then(|entry| entry.scopes.as_ref())
        {
            scope = scope.intersection(offered);
        }
    }
    // What the token will be good at counts, by whatever name it was asked for.
    for name in audience {
        let offered = if resources.has_audience(name) {
            resources.offered(name)
        } else {
            let entry = name.parse().ok().and_then(|uri| resources.find(&uri));
            entry.and_then(|entry| entry.scopes.clone())
        };
        if let Some(offered) = offered {
            scope = scope.intersection(&offered);
        }
    }
    if outcome.carries_scope {
        scope
    } else {
        Scopes::default()
    }
}

/// The rule's constants; else, target by target, the registry's name for a resource, or what was sent.
fn audience_of<P>(
    outcome: &Outcome<P>,
    context: &ExchangeContext,
    resources: &ResourceRegistry,
) -> BTreeSet<Arc<str>> {
    if let Some(constant) = &outcome.audience {
        return constant.clone();
    }
    let targets = &context.request.targets;
    let of_resources = targets
        .resources
        .iter()
        .map(|uri| match resources.find(uri) {
            Some(entry) => Arc::from(entry.audience.as_str()),
            None => Arc::from(uri.raw()),
        });
    of_resources
        .chain(targets.audiences.iter().cloned())
        .collect()
}

/// A token that was held against its permit.
#[derive(Debug)]
pub struct Confined(IssuedToken);

impl std::ops::Deref for Confined {
    type Target = IssuedToken;
    fn deref(&self) -> &IssuedToken {
        &self.0
    }
}

/// What a token has that its permit does not allow, or that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfineError {
    /// A known fact lies outside the permit.
    #[error("the {0} of the issued token is outside what was permitted")]
    Outside(&'static str),
    /// A fact is not known.
    #[error("the {0} of the issued token is not known")]
    Unknown(&'static str),
}

impl Permit<'_> {
    /// Holds an issued token against the permit: the only place where that is done.
    ///
    /// # Errors
    /// The first fact that is outside the permit, or unknown.
    pub fn confine(&self, issued: IssuedToken) -> Result<Confined, ConfineError> {
        let allowed = &self.allowance;
        if issued.issued_token_type != allowed.token_type {
            return Err(ConfineError::Outside("type"));
        }
        let facts = &issued.facts;
        known("audience", &facts.audience, |value| {
            !value.is_empty() && value.is_subset(&allowed.audience)
        })?;
        known("scope", &facts.scope, |value| {
            value.is_subset(&allowed.scope)
        })?;
        known("expiry", &facts.expires_at, |value| {
            *value <= allowed.expires_at
        })?;
        known("subject", &facts.subject, |value| *value == allowed.subject)?;
        known("actor", &facts.act, |value| {
            *value == Hop::act_claim(&allowed.act)
        })?;
        known("leave to act", &facts.may_act, |value| {
            *value == allowed.may_act.as_ref().map(MayAct::claim)
        })?;
        known("binding", &facts.confirmation, Option::is_none)?;
        Ok(Confined(issued))
    }
}

fn known<T>(
    what: &'static str,
    fact: &Fact<T>,
    allowed: impl Fn(&T) -> bool,
) -> Result<(), ConfineError> {
    match fact.value() {
        None => Err(ConfineError::Unknown(what)),
        Some(value) if allowed(value) => Ok(()),
        Some(_) => Err(ConfineError::Outside(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_found_among_many() {
        let mut texts = vec![String::new()];
        for _ in 0..4 {
            let longer = texts
                .iter()
                .flat_map(|text| ["a", "b", "é"].map(|c| format!("{text}{c}")));
            texts.extend(longer.collect::<Vec<String>>());
        }
        texts.sort();
        texts.dedup();
        for step in [1, 2, 3, 5, 7, 11, 29] {
            let others = texts
                .iter()
                .skip(step)
                .step_by(step)
                .map(|text| Arc::from(&**text));
            let others: BTreeSet<Arc<str>> = others.collect();
            for text in &texts {
                let expected = others.iter().any(|other| text.starts_with(&**other));
                assert_eq!(begins_with_one(text, &others), expected, "{text} {step}");
            }
        }
    }
    use crate::diagnostic::Span;
    use crate::oauth::id::RuleId;
    use crate::oauth::response::Facts;
    use crate::oauth::secret::RawToken;
    use crate::policy::facts;
    use crate::policy::schema::{IssuerSchema, Schema};

    fn context() -> ExchangeContext {
        let issuer = IssuerSchema {
            alias: "op".parse().unwrap(),
            local: true,
            token_types: vec![TokenType::AccessToken],
            has_scope: true,
            claims: BTreeMap::new(),
            may_act_namespace: BTreeSet::new(),
            tenancy: Vec::new(),
            tenants: BTreeMap::new(),
        };
        let schema = Schema {
            issuers: vec![issuer],
            grant_types: vec!["token_exchange"],
            ..Schema::default()
        };
        let json = serde_json::json!({ "client.id": "c", "subject.sub": "alice" });
        facts::assemble(json.as_object().unwrap(), &schema, NumericDate(1000)).unwrap()
    }

    fn issued() -> IssuedToken {
        IssuedToken {
            token: RawToken::new("t".to_owned()),
            issued_token_type: TokenType::AccessToken,
            token_type: "Bearer",
            token_id: None,
            facts: Facts {
                audience: Fact::Signed(["a".into()].into()),
                scope: Fact::Signed("x".parse().unwrap()),
                expires_at: Fact::Signed(NumericDate(1060)),
                subject: Fact::Signed("alice".parse().unwrap()),
                act: Fact::Signed(None),
                may_act: Fact::Signed(None),
                confirmation: Fact::Signed(None),
            },
        }
    }

    #[test]
    fn a_token_outside_its_permit_is_refused_fact_by_fact() {
        type Change = fn(&mut IssuedToken);
        let outside: [(&str, Change); 9] = [
            ("type", |t| t.issued_token_type = TokenType::IdToken),
            ("audience", |t| {
                t.facts.audience = Fact::Signed(["a".into(), "b".into()].into())
            }),
            ("audience", |t| {
                t.facts.audience = Fact::Signed(BTreeSet::new())
            }),
            ("scope", |t| {
                t.facts.scope = Fact::Verified("x z".parse().unwrap())
            }),
            ("expiry", |t| {
                t.facts.expires_at = Fact::Claimed(NumericDate(1061))
            }),
            ("subject", |t| {
                t.facts.subject = Fact::Signed("bob".parse().unwrap())
            }),
            ("actor", |t| {
                t.facts.act = Fact::Signed(Some(serde_json::json!({ "sub": "x" })))
            }),
            ("binding", |t| {
                t.facts.confirmation = Fact::Signed(Some(serde_json::json!({})))
            }),
            ("audience", |t| {
                t.facts.audience = Fact::Signed(["A".into()].into())
            }),
        ];
        let unknown: [(&str, Change); 6] = [
            ("audience", |t| t.facts.audience = Fact::Unknown),
            ("scope", |t| t.facts.scope = Fact::Unknown),
            ("expiry", |t| t.facts.expires_at = Fact::Unknown),
            ("subject", |t| t.facts.subject = Fact::Unknown),
            ("actor", |t| t.facts.act = Fact::Unknown),
            ("binding", |t| t.facts.confirmation = Fact::Unknown),
        ];
        let context = context();
        let rule = RuleId {
            module: "m".into(),
            name: "r".into(),
        };
        let span = Span::new(&Arc::from("f"), 0..0);
        let permit = Permit {
            rule: &rule,
            span: &span,
            allowance: Allowance {
                audience: ["a".into()].into(),
                scope: "x y".parse().unwrap(),
                expires_at: NumericDate(1060),
                token_type: TokenType::AccessToken,
                subject: "alice".parse().unwrap(),
                act: Vec::new(),
                may_act: None,
            },
            parameters: Parameters::new(),
            beyond_subject: false,
            context: &context,
        };
        assert!(permit.confine(issued()).is_ok());
        for (what, change) in outside {
            let mut token = issued();
            change(&mut token);
            assert_eq!(
                permit.confine(token).unwrap_err(),
                ConfineError::Outside(what)
            );
        }
        for (what, change) in unknown {
            let mut token = issued();
            change(&mut token);
            assert_eq!(
                permit.confine(token).unwrap_err(),
                ConfineError::Unknown(what)
            );
        }
    }

    #[test]
    fn a_registered_name_is_bounded_by_its_own_entries_and_any_other_by_where_it_lies() {
        use crate::oauth::target::{RegisteredResource, ResourceRegistry};
        let entry = |under: &str, audience: &str, scopes: &str| RegisteredResource {
            under: under.parse().unwrap(),
            audience: audience.parse().unwrap(),
            scopes: Some(scopes.parse().unwrap()),
        };
        let registry = ResourceRegistry(vec![
            entry("https://h.example/api", "https://h.example", "api"),
            entry("https://h.example", "https://h.example", "web"),
            entry("https://pay.example/v2", "pay-api", "read"),
        ]);
        let outcome = Outcome {
            processor: (),
            issue: TokenType::AccessToken,
            audience: None,
            scope_ceiling: None,
            beyond_subject: false,
            acts: false,
            lifetime: 60,
            carries_scope: true,
            parameters: BTreeMap::new(),
        };
        for (resource, audience, constant, granted) in [
            (Some("https://h.example/api/x"), None, None, "api"),
            (Some("https://h.example/x"), None, None, "web"),
            (None, Some("https://h.example"), None, "api web"),
            (None, Some("pay-api"), None, "read"),
            (None, Some("https://pay.example/v2/y"), None, "read"),
            (Some("https://other.example"), None, Some("pay-api"), "read"),
            (None, Some("elsewhere"), None, "admin api read web"),
        ] {
            let mut context = context();
            context.scope = "admin api read web".parse().unwrap();
            context.subject.scope = Some(context.scope.clone());
            context.request.targets.resources =
                resource.iter().map(|r| r.parse().unwrap()).collect();
            context.request.targets.audiences = audience.iter().map(|a| Arc::from(*a)).collect();
            let outcome = Outcome {
                audience: constant.map(|name: &str| [Arc::from(name)].into()),
                ..outcome.clone()
            };
            let audience = audience_of(&outcome, &context, &registry);
            let scope = granted_scope(&outcome, &context, &audience, &registry);
            assert_eq!(scope.to_string(), granted, "{resource:?} {audience:?}");
        }
    }
}
