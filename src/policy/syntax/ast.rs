//! The tree of a policy file: what was written and where, nothing resolved.

use crate::diagnostic::Span;
use std::sync::Arc;

/// Something and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// A piece of text that stands somewhere: a name, a string's content, a path.
pub type Text = Spanned<Arc<str>>;

/// A file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// `module NAME`.
    pub module: Text,
    /// Its rules and denies, in the order written.
    pub items: Vec<Item>,
}

/// A `rule` or a `deny`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Which of the two.
    pub kind: ItemKind,
    /// Its name.
    pub name: Text,
    /// Its clauses, in the order written.
    pub clauses: Vec<Spanned<Clause>>,
    /// The whole of it.
    pub span: Span,
}

/// What an [`Item`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemKind {
    /// It lets an exchange happen.
    Rule,
    /// It forbids one.
    Deny,
}

/// One clause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Clause {
    /// `from`; `None` is `from any issuer`.
    From(Option<Vec<IssuerRef>>),
    /// `by`; `None` is `by any client`.
    By(Option<Matcher>),
    /// `to`, alternatives joined with `or`.
    To(Vec<TargetsForm>),
    /// `actor`.
    Actor {
        /// The form.
        form: ActorForm,
        /// `, may_act ignored`.
        may_act_ignored: Option<Span>,
    },
    /// `via`.
    Via(Text),
    /// `issue`.
    Issue(Text),
    /// `when`.
    When(Condition),
    /// `use`.
    Use {
        /// The processor.
        processor: Text,
        /// Its parameters.
        parameters: Vec<Parameter>,
    },
    /// `because`.
    Because(Text),
    /// `tell`.
    Tell(Text),
    /// `error`.
    Error(Text),
}

impl Clause {
    /// The word that it begins with.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::From(_) => "from",
            Self::By(_) => "by",
            Self::To(_) => "to",
            Self::Actor { .. } => "actor",
            Self::Via(_) => "via",
            Self::Issue(_) => "issue",
            Self::When(_) => "when",
            Self::Use { .. } => "use",
            Self::Because(_) => "because",
            Self::Tell(_) => "tell",
            Self::Error(_) => "error",
        }
    }
}

/// An issuer of a `from` clause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssuerRef {
    /// Its alias.
    pub alias: Text,
    /// `as TYPE`.
    pub token_type: Option<Text>,
}

/// How strings are compared in a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matcher {
    /// Equal, `under` or `like`.
    pub kind: MatchKind,
    /// One or more strings; one of them must match.
    pub strings: Vec<Text>,
}

/// See [`Matcher`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MatchKind {
    /// No word: equal.
    Equal,
    /// `under`.
    Under,
    /// `like`.
    Like,
}

/// One alternative of a `to` clause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetsForm {
    /// `any target`.
    Any,
    /// `no target`.
    None,
    /// `resource M, audience N`.
    Parts(Vec<Target>),
}

/// One part of a `to` clause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// `true` for `resource`, `false` for `audience`.
    pub resource: bool,
    /// What it must match.
    pub matcher: Matcher,
    /// The whole part.
    pub span: Span,
}

/// The form of an `actor` clause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActorForm {
    /// `none`.
    None,
    /// `client`.
    Client,
    /// `named`, `required` or `optional`, `from` issuers.
    Token(Text, Vec<Text>),
}

/// A condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// All of them.
    And(Vec<Self>),
    /// One of them.
    Or(Vec<Self>),
    /// The contrary.
    Not(Box<Self>),
    /// `present p`, `absent p`.
    Presence {
        /// `present`?
        present: bool,
        /// The attribute.
        path: Text,
        /// The whole.
        span: Span,
    },
    /// `a OP b`.
    Comparison {
        /// The left side.
        left: Operand,
        /// The operator.
        operator: Spanned<Operator>,
        /// The right side.
        right: Operand,
        /// The whole.
        span: Span,
    },
}

/// A comparison's operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `in`
    In,
    /// `not in`
    NotIn,
    /// `like`
    Like,
    /// `not like`
    NotLike,
    /// `under`
    Under,
    /// `has`
    Has,
    /// `only`
    Only,
}

impl Operator {
    /// As it is written.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Like => "like",
            Self::NotLike => "not like",
            Self::Under => "under",
            Self::Has => "has",
            Self::Only => "only",
        }
    }
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operand {
    /// `[a, b]`
    List(Vec<Spanned<Literal>>, Span),
    /// A constant.
    Literal(Spanned<Literal>),
    /// An attribute, and `?? c`.
    Path(Text, Option<Spanned<Literal>>),
}

impl Operand {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> &Span {
        match self {
            Self::List(_, span) => span,
            Self::Literal(literal) => &literal.span,
            Self::Path(path, _) => &path.span,
        }
    }
}

/// A constant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Literal {
    /// `"…"`, escapes resolved.
    String(Arc<str>),
    /// `12`
    Int(i64),
    /// `true`
    Bool(bool),
    /// `5m`, in seconds.
    Duration(i64),
}

/// A parameter of `use`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: Text,
    /// Its value; several are joined with `&`.
    pub values: Vec<Spanned<Value>>,
}

/// A value in a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// `at_most 5m`, in seconds.
    AtMost(i64),
    /// `[a, b]`
    List(Vec<Spanned<Literal>>),
    /// A constant.
    Literal(Literal),
    /// An attribute, or `requested`.
    Path(Arc<str>),
}
