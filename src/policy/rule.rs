//! The checked rule: data, not closures, so that it can be indexed, explained and proved.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::pattern::{Glob, UriPattern};
use super::schema::{AttributeRef, Value};
use crate::diagnostic::Span;
use crate::oauth::error::ErrorCode;
use crate::oauth::id::{ClientId, IssuerAlias, RuleId};
use crate::oauth::scope::Scopes;
use crate::oauth::token_type::TokenType;
use crate::oauth::uri::Uri;

/// A rule that lets an exchange happen.
#[derive(Clone, Debug)]
pub struct UseRule<P> {
    /// Its full name.
    pub id: RuleId,
    /// Where its name stands.
    pub span: Span,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// Its headers. What a rule does not mention must be absent.
    pub headers: Headers,
    /// The part of `when` that speaks of scope alone.
    pub scope_when: Condition,
    /// The rest of `when`.
    pub when: Condition,
    /// What it selects.
    pub outcome: Outcome<P>,
    /// Rules with equal outcomes have equal numbers.
    pub outcome_number: usize,
    /// The rules that it beats where both match.
    pub overrides: Vec<RuleId>,
}

/// A rule that forbids an exchange. What it does not mention is unconstrained.
#[derive(Clone, Debug)]
pub struct DenyRule {
    /// Its full name.
    pub id: RuleId,
    /// Where its name stands.
    pub span: Span,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// Its headers.
    pub headers: Headers,
    /// Its `when`.
    pub when: Condition,
    /// The code of the refusal.
    pub error: ErrorCode,
    /// For the log and the audit.
    pub because: Option<Arc<str>>,
    /// For the client.
    pub tell: Option<Arc<str>>,
}

/// The headers of a rule; `None` matches everything.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// `from`.
    pub from: Option<Header<Vec<FromIssuer>>>,
    /// `by`.
    pub by: Option<Header<Clients>>,
    /// `to`.
    pub to: Option<Header<Vec<TargetsMatch>>>,
    /// `actor`. A rule always has one: `none` where it says nothing.
    pub actor: Option<Header<ActorMatch>>,
    /// `via`.
    pub via: Option<Header<Arc<str>>>,
    /// `issue`.
    pub issue: Option<Header<TokenType>>,
}

/// A header and where it stands.
#[derive(Clone, Debug)]
pub struct Header<T> {
    /// What it asks.
    pub value: T,
    /// Where it stands; the rule's name when it is a default.
    pub span: Span,
}

/// One issuer of `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromIssuer {
    /// The alias.
    pub alias: IssuerAlias,
    /// `as TYPE`.
    pub token_type: Option<TokenType>,
}

/// The acting party of `actor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorMatch {
    /// The form.
    pub form: ActorForm,
    /// `, may_act ignored`.
    pub may_act_ignored: bool,
}

/// See [`ActorMatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActorForm {
    /// Nobody acts for the subject, and nobody is named to.
    None,
    /// The authenticated client acts; there is no actor token.
    Client,
    /// The party of an actor token from these issuers acts, and the subject's `may_act` names it.
    Named(BTreeSet<IssuerAlias>),
    /// The party of an actor token from these issuers acts.
    Required(BTreeSet<IssuerAlias>),
    /// The same, or the client where there is no actor token.
    Optional(BTreeSet<IssuerAlias>),
}

/// The clients of `by`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Clients {
    /// These ids.
    Ids(BTreeSet<ClientId>),
    /// Ids of this form.
    Like(Vec<Glob>),
}

impl Clients {
    /// Whether a client is meant.
    #[must_use]
    pub fn contain(&self, id: &ClientId) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(id),
            Self::Like(globs) => globs.iter().any(|glob| glob.matches(id.as_str())),
        }
    }
}

/// One alternative of `to`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetsMatch {
    /// At least one target, whatever it is.
    Any,
    /// No target.
    None,
    /// Targets of these forms.
    Parts {
        /// What every resource must match.
        resource: Option<ResourceMatch>,
        /// What every audience must match.
        audience: Option<AudienceMatch>,
    },
}

/// What a resource must match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResourceMatch {
    /// One of these.
    Equal(Vec<Uri>),
    /// One of these patterns.
    Pattern(Vec<UriPattern>),
}

/// What an audience must match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AudienceMatch {
    /// One of these.
    Equal(BTreeSet<Arc<str>>),
    /// One of these patterns.
    Like(Vec<Glob>),
}

/// A condition in negation normal form: only atoms are negated.
#[derive(Clone, PartialEq, Debug)]
pub enum Condition {
    /// All of them; of none, true.
    All(Vec<Self>),
    /// One of them.
    Any(Vec<Self>),
    /// One test.
    Atom(Atom),
}

impl Condition {
    /// The condition that always holds.
    #[must_use]
    pub fn always() -> Self {
        Self::All(Vec::new())
    }

    /// Calls `visit` with every atom.
    pub fn atoms<'a>(&'a self, visit: &mut impl FnMut(&'a Atom)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.atoms(visit)),
            Self::Atom(atom) => visit(atom),
        }
    }
}

/// One test of one attribute. Where the attribute is absent, the test is false and its complement true.
#[derive(Clone, Debug)]
pub struct Atom {
    /// What is tested.
    pub left: Operand,
    /// How.
    pub test: Test,
    /// Whether the complement is meant (`!=`, `not in`, `not (…)`, `absent`).
    pub negated: bool,
    /// Whether a `not` around it is what its own text does not show; for `explain`.
    pub inverted: bool,
    /// Where it stands.
    pub span: Span,
}

/// The same test, wherever it stands.
impl PartialEq for Atom {
    fn eq(&self, other: &Self) -> bool {
        self.negated == other.negated && self.left == other.left && self.test == other.test
    }
}

/// An attribute, or a default in its absence.
#[derive(Clone, PartialEq, Debug)]
pub struct Operand {
    /// The attribute.
    pub attribute: AttributeRef,
    /// `?? c`.
    pub default: Option<Constant>,
}

/// A constant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Constant {
    /// Text, or a name.
    Text(Arc<str>),
    /// A whole number, a duration in seconds, or an instant.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A canonical URI.
    Uri(Uri),
    /// An IP address.
    Ip(IpAddr),
}

impl Constant {
    /// As the value of an attribute.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Int(number) => Value::Int(*number),
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Uri(uri) => Value::Uri(uri),
            Self::Ip(ip) => Value::Ip(*ip),
        }
    }

    /// Its order relative to a value; values that no constant can have come last.
    fn order(&self, value: Value<'_>) -> Ordering {
        let rank = |value: &Value<'_>| match value {
            Value::Text(_) => 0,
            Value::Int(_) => 1,
            Value::Bool(_) => 2,
            Value::Uri(_) => 3,
            Value::Ip(_) => 4,
            Value::Set(_) | Value::Uris(_) | Value::Hops(_) | Value::Hop(_) | Value::MayAct(_) => 5,
        };
        match (self, value) {
            (Self::Text(mine), Value::Text(other)) => (**mine).cmp(other),
            (Self::Int(mine), Value::Int(other)) => mine.cmp(&other),
            (Self::Bool(mine), Value::Bool(other)) => mine.cmp(&other),
            (Self::Uri(mine), Value::Uri(other)) => mine.cmp(other),
            (Self::Ip(mine), Value::Ip(other)) => mine.cmp(&other),
            (mine, other) => rank(&mine.value()).cmp(&rank(&other)),
        }
    }
}

/// A list of constants, for looking up: its order is its own, whatever the author wrote. Rules that name
/// the same list share it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Constants(Arc<[Constant]>);

impl Constants {
    /// A list from what was written.
    #[must_use]
    pub fn new(mut items: Vec<Constant>) -> Self {
        items.sort_unstable();
        items.dedup();
        Self(items.into())
    }

    /// Whether a value is in it.
    #[must_use]
    pub fn contains(&self, value: Value<'_>) -> bool {
        self.0
            .binary_search_by(|constant| constant.order(value))
            .is_ok()
    }

    /// Its members.
    pub fn iter(&self) -> impl Iterator<Item = &Constant> {
        self.0.iter()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Prefixes of addresses: none within another, in order, for looking up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prefixes(Arc<[IpNet]>);

impl Prefixes {
    /// Prefixes from what was written.
    #[must_use]
    pub fn new(items: &[IpNet]) -> Self {
        let items: Vec<IpNet> = items.to_vec();
        let mut apart = IpNet::aggregate(&items);
        apart.sort_unstable_by_key(IpNet::network);
        Self(apart.into())
    }

    /// The prefixes.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }

    /// Whether an address lies in one of them.
    #[must_use]
    pub fn contain(&self, ip: IpAddr) -> bool {
        let after = self.0.partition_point(|prefix| prefix.network() <= ip);
        let last = after.checked_sub(1).and_then(|index| self.0.get(index));
        last.is_some_and(|prefix| prefix.contains(&ip))
    }
}

/// How a number is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// Whether it holds between two numbers.
    #[must_use]
    pub fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

/// A span of the week in a time zone; the end is not part of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Hours {
    /// The time zone.
    pub zone: jiff::tz::TimeZone,
    /// Which days, from Monday.
    pub days: [bool; 7],
    /// The first minute of the day.
    pub from: u16,
    /// The minute after the last.
    pub to: u16,
}

impl Hours {
    /// Whether an instant, in seconds since 1970, lies in it. Local clock time decides: where clocks go
    /// back, an hour comes twice.
    #[must_use]
    pub fn contains(&self, instant: i64) -> bool {
        let Ok(instant) = jiff::Timestamp::from_second(instant) else {
            return false;
        };
        let local = self.zone.to_datetime(instant);
        let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(usize::MAX);
        let minute = u16::try_from(local.hour()).unwrap_or(0) * 60
            + u16::try_from(local.minute()).unwrap_or(0);
        self.days.get(day).copied().unwrap_or(false) && (self.from..self.to).contains(&minute)
    }
}

/// How every member of a set is tested.
#[derive(Clone, PartialEq, Debug)]
pub struct MemberTest {
    /// How.
    pub test: Test,
    /// Whether the complement is meant.
    pub negated: bool,
}

/// How an atom tests.
#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    /// `present p`
    Present,
    /// `p == c`
    Equals(Constant),
    /// `p in [..]`
    In(Constants),
    /// `p < c`, of numbers, durations and instants
    Compare(Comparison, i64),
    /// `p in ["10.0.0.0/8"]`
    Prefixes(Prefixes),
    /// `time in …`, of `now`
    Hours(Box<Hours>),
    /// `p == q`
    EqualsAttribute(Operand),
    /// `p in S`
    InAttribute(AttributeRef),
    /// `p like "glob"`, text
    Like(Glob),
    /// `p like "…"`, URI
    LikeUri(UriPattern),
    /// `p under "…"` or a list of them
    Under(Arc<[UriPattern]>),
    /// `S has c`
    Has(Constant),
    /// `S has p`
    HasAttribute(Operand),
    /// `S has any of [..]`
    HasAny(Constants),
    /// `S has all of [..]`
    HasAll(Constants),
    /// `S only [..]`: not empty, and every member is listed
    Only(Constants),
    /// `S == [..]`, `S is empty`
    SetEquals(Constants),
    /// `count(S) <= 3`
    Count(Comparison, i64),
    /// `any S TEST`; `none` is its complement
    AnyMember(Box<MemberTest>),
    /// `all S TEST`: not empty, and every member passes
    EveryMember(Box<MemberTest>),
    /// `any L where (…)`; `none` is its complement
    AnyHop(Box<Condition>),
    /// `all L where (…)`: not empty, and all pass
    EveryHop(Box<Condition>),
}

impl Test {
    /// The attribute on the right side, and whether it has a default.
    #[must_use]
    pub fn right(&self) -> Option<(&AttributeRef, bool)> {
        match self {
            Self::EqualsAttribute(other) | Self::HasAttribute(other) => {
                Some((&other.attribute, other.default.is_some()))
            }
            Self::InAttribute(other) => Some((other, false)),
            Self::Present
            | Self::Equals(_)
            | Self::In(_)
            | Self::Compare(..)
            | Self::Prefixes(_)
            | Self::Hours(_)
            | Self::Like(_)
            | Self::LikeUri(_)
            | Self::Under(_)
            | Self::Has(_)
            | Self::HasAny(_)
            | Self::HasAll(_)
            | Self::Only(_)
            | Self::SetEquals(_)
            | Self::Count(..)
            | Self::AnyMember(_)
            | Self::EveryMember(_)
            | Self::AnyHop(_)
            | Self::EveryHop(_) => None,
        }
    }
}

/// `prove "…" { … }`: what must hold of every request.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Its module.
    pub module: Arc<str>,
    /// What it shows.
    pub name: Arc<str>,
    /// Where its name stands.
    pub span: Span,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// What it claims; at least one.
    pub claims: Vec<Claim>,
}

/// A claim of a [`Proof`].
#[derive(Clone, Debug)]
pub struct Claim {
    /// The whole of it.
    pub span: Span,
    /// What it says.
    pub kind: ClaimKind,
}

/// What a claim says.
#[derive(Clone, Debug)]
pub enum ClaimKind {
    /// No request of which the condition holds is permitted.
    NeverUse {
        /// With this processor; `None` is any of them.
        processor: Option<Arc<str>>,
        /// Of which requests.
        when: Condition,
    },
    /// Every request of which the condition holds is selected: it matches a rule and no deny. What is
    /// granted may still be refused where nothing is left of it.
    AlwaysUse {
        /// For this processor; `None` is any of them.
        processor: Option<Arc<str>>,
        /// Of which requests.
        when: Condition,
    },
    /// No token that is issued for a request of which the condition holds passes the test.
    NeverIssue {
        /// What is looked at, and how.
        what: IssuedTest,
        /// Of which requests.
        when: Condition,
    },
    /// No request matches the headers and conditions of two of these rules.
    Disjoint(Vec<RuleId>),
    /// Each of these rules is selected for some request; `None` is every rule.
    Reachable(Option<Vec<RuleId>>),
}

/// A test of what is issued.
#[derive(Clone, Debug)]
pub enum IssuedTest {
    /// Of some scope.
    Scope(MemberTest),
    /// Of some audience.
    Audience(MemberTest),
    /// Of the lifetime, in seconds.
    Lifetime(Comparison, i64),
}

/// What a rule selects, and how what is issued is bounded.
#[derive(Clone, Debug)]
pub struct Outcome<P> {
    /// The processor.
    pub processor: P,
    /// The token type to issue.
    pub issue: TokenType,
    /// `audience:`, a set of exact strings.
    pub audience: Option<BTreeSet<Arc<str>>>,
    /// The constants of `scope:`, a ceiling.
    pub scope_ceiling: Option<Scopes>,
    /// `beyond subject`: the subject's own scope does not bound what is granted.
    pub beyond_subject: bool,
    /// Whether the acting party is written into the token: somebody acts, and not `act: dropped`.
    pub acts: bool,
    /// How long the token may live, in seconds, the processor's maximum applied.
    pub lifetime: i64,
    /// Whether the processor can carry a scope; if not, the rule matches only when none is asked for.
    pub carries_scope: bool,
    /// The processor's own parameters, `sub` among them.
    pub parameters: BTreeMap<&'static str, ParameterValue>,
}

/// The value of a processor's own parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParameterValue {
    /// Text with attributes in it.
    Text(Template),
    /// An attribute, with its own type.
    Attribute(AttributeRef),
    /// A whole number, or a duration in seconds.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A list of texts.
    Strings(Vec<Arc<str>>),
    /// Names and values.
    Map(BTreeMap<Arc<str>, Self>),
}

impl ParameterValue {
    /// Calls `visit` with every attribute in it.
    pub fn attributes<'a>(&'a self, visit: &mut impl FnMut(&'a AttributeRef)) {
        match self {
            Self::Text(template) => template.attributes().for_each(visit),
            Self::Attribute(attribute) => visit(attribute),
            Self::Int(_) | Self::Bool(_) | Self::Strings(_) => {}
            Self::Map(entries) => entries.values().for_each(|value| value.attributes(visit)),
        }
    }
}

/// Text with attributes in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(pub Vec<Piece>);

/// A piece of a [`Template`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// As it stands.
    Text(Arc<str>),
    /// `${path}`.
    Attribute(AttributeRef),
}
