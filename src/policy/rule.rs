//! The checked rule: data, not closures, so that it can be indexed, explained and proved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pattern::{Glob, UriPattern};
use super::schema::AttributeRef;
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
}

/// A rule that forbids an exchange. What it does not mention is unconstrained.
#[derive(Clone, Debug)]
pub struct DenyRule {
    /// Its full name.
    pub id: RuleId,
    /// Where its name stands.
    pub span: Span,
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
    /// `actor`, where it was written; this build meets no delegated subject, so that `none` and
    /// `client` both hold for every request that gets as far as the policy.
    pub actor: Option<Span>,
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

/// The clients of `by`.
#[derive(Clone, Debug)]
pub enum Clients {
    /// These ids.
    Ids(BTreeSet<ClientId>),
    /// Ids of this form.
    Like(Vec<Glob>),
}

/// One alternative of `to`.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub enum ResourceMatch {
    /// One of these.
    Equal(Vec<Uri>),
    /// One of these patterns.
    Pattern(Vec<UriPattern>),
}

/// What an audience must match.
#[derive(Clone, Debug)]
pub enum AudienceMatch {
    /// One of these.
    Equal(BTreeSet<Arc<str>>),
    /// One of these patterns.
    Like(Vec<Glob>),
}

/// A condition in negation normal form: only atoms are negated.
#[derive(Clone, Debug)]
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

/// An attribute, or a default in its absence.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The attribute.
    pub attribute: AttributeRef,
    /// `?? c`.
    pub default: Option<Constant>,
}

/// A constant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Constant {
    /// Text, or a name.
    Text(Arc<str>),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A canonical URI.
    Uri(Uri),
}

/// How an atom tests.
#[derive(Clone, Debug)]
pub enum Test {
    /// `present p`
    Present,
    /// `p == c`
    Equals(Constant),
    /// `p in [..]`
    In(Vec<Constant>),
    /// `p == q`
    EqualsAttribute(Operand),
    /// `p in S`
    InAttribute(AttributeRef),
    /// `p like "glob"`, text
    Like(Glob),
    /// `p like "…"`, URI
    LikeUri(UriPattern),
    /// `p under "…"` or a list of them
    Under(Vec<UriPattern>),
    /// `S has c`
    Has(Constant),
    /// `S has p`
    HasAttribute(Operand),
    /// `S only [..]`: not empty, and every member is listed
    Only(Vec<Constant>),
    /// `S == [..]`
    SetEquals(Vec<Constant>),
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
            | Self::Like(_)
            | Self::LikeUri(_)
            | Self::Under(_)
            | Self::Has(_)
            | Self::Only(_)
            | Self::SetEquals(_) => None,
        }
    }
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
    /// How long the token may live, in seconds, the processor's maximum applied.
    pub lifetime: i64,
    /// Whether the processor can carry a scope; if not, the rule matches only when none is asked for.
    pub carries_scope: bool,
    /// The processor's own parameters, `sub` among them.
    pub parameters: BTreeMap<&'static str, Template>,
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
