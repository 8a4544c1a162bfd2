//! The tree of a policy file: what was written and where, nothing resolved.
//!
//! Two trees are equal when they say the same, wherever it stands and whatever comments stand beside it.

use std::ops::Deref;
use std::sync::Arc;

use super::comments::Comment;
use crate::diagnostic::Span;

/// Something and where it stands.
#[derive(Clone, Eq, Debug)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// A place; all places are equal.
#[derive(Clone, Eq, Debug)]
pub struct At(pub Span);

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Deref for At {
    type Target = Span;
    fn deref(&self) -> &Span {
        &self.0
    }
}

/// A piece of text that stands somewhere: a name, a string's content, a path.
pub type Text = Spanned<Arc<str>>;

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// `module NAME`.
    pub module: Text,
    /// What it takes from other modules.
    pub imports: Vec<Import>,
    /// Everything else, in the order written.
    pub items: Vec<Item>,
    /// The comments, but for those that document an item.
    pub comments: Vec<Comment>,
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        (&self.module, &self.imports, &self.items) == (&other.module, &other.imports, &other.items)
    }
}

impl Eq for File {}

impl File {
    /// Its rules and denies.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.items.iter().filter_map(|item| match item {
            Item::Rule(rule) => Some(rule),
            Item::List(_) | Item::Def(_) | Item::Test(_) | Item::Proof(_) => None,
        })
    }

    /// Its lists.
    pub fn lists(&self) -> impl Iterator<Item = &ListDef> {
        self.items.iter().filter_map(|item| match item {
            Item::List(list) => Some(list),
            Item::Rule(_) | Item::Def(_) | Item::Test(_) | Item::Proof(_) => None,
        })
    }

    /// Its defs.
    pub fn defs(&self) -> impl Iterator<Item = &Def> {
        self.items.iter().filter_map(|item| match item {
            Item::Def(def) => Some(def),
            Item::Rule(_) | Item::List(_) | Item::Test(_) | Item::Proof(_) => None,
        })
    }

    /// Its tests.
    pub fn tests(&self) -> impl Iterator<Item = &Test> {
        self.items.iter().filter_map(|item| match item {
            Item::Test(test) => Some(test),
            Item::Rule(_) | Item::List(_) | Item::Def(_) | Item::Proof(_) => None,
        })
    }

    /// Its proofs.
    pub fn proofs(&self) -> impl Iterator<Item = &Proof> {
        self.items.iter().filter_map(|item| match item {
            Item::Proof(proof) => Some(proof),
            Item::Rule(_) | Item::List(_) | Item::Def(_) | Item::Test(_) => None,
        })
    }
}

/// `import @a, b from MODULE`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// The names, lists with their `@`.
    pub names: Vec<Text>,
    /// The module that has them.
    pub module: Text,
    /// The whole of it.
    pub span: At,
}

/// What a file is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// `list @NAME : TYPE = [..]`
    List(ListDef),
    /// `def NAME = CONDITION`
    Def(Def),
    /// `rule` or `deny`.
    Rule(Rule),
    /// `test "…" { … }`
    Test(Test),
    /// `prove "…" { … }`
    Proof(Proof),
}

impl Item {
    /// The whole of it.
    #[must_use]
    pub fn span(&self) -> &Span {
        match self {
            Self::List(list) => &list.span,
            Self::Def(def) => &def.span,
            Self::Rule(rule) => &rule.span,
            Self::Test(test) => &test.span,
            Self::Proof(proof) => &proof.span,
        }
    }

    /// Its `##` lines.
    #[must_use]
    pub fn doc(&self) -> Option<&Arc<str>> {
        match self {
            Self::List(list) => list.doc.as_ref(),
            Self::Def(def) => def.doc.as_ref(),
            Self::Rule(rule) => rule.doc.as_ref(),
            Self::Test(test) => test.doc.as_ref(),
            Self::Proof(proof) => proof.doc.as_ref(),
        }
    }
}

/// `list @NAME : TYPE = [..]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListDef {
    /// Its name, `@` included.
    pub name: Text,
    /// The type of its members.
    pub ty: Text,
    /// The members.
    pub members: Vec<Spanned<Literal>>,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// The whole of it.
    pub span: At,
}

/// `def NAME = CONDITION`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Def {
    /// Its name.
    pub name: Text,
    /// What it stands for.
    pub condition: Condition,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// The whole of it.
    pub span: At,
}

/// A `rule` or a `deny`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Which of the two.
    pub kind: ItemKind,
    /// Its name.
    pub name: Text,
    /// Its clauses, in the order written.
    pub clauses: Vec<Spanned<Clause>>,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// The whole of it.
    pub span: At,
}

/// `test "…" { given { … } expect … }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Test {
    /// What it shows.
    pub name: Text,
    /// What the request has.
    pub given: Vec<Field>,
    /// What must come out.
    pub expect: Spanned<Expectation>,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// The whole of it.
    pub span: At,
}

/// A name and a value, in a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// The path in `given`, the name elsewhere.
    pub name: Text,
    /// The value.
    pub value: Spanned<GivenValue>,
}

/// A value in a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GivenValue {
    /// A constant.
    Literal(Literal),
    /// `[a, b]`
    List(Vec<Spanned<Literal>>),
    /// A name without quotes: an issuer, a method.
    Word(Arc<str>),
    /// `corp { sub: "x" }`
    Party(Text, Vec<Field>),
    /// `{ a: "x" }`
    Fields(Vec<Field>),
}

/// What a test expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expectation {
    /// `use PROCESSOR by RULE { … }`
    Use {
        /// The processor.
        processor: Text,
        /// The rule.
        by: Option<Text>,
        /// What must be issued.
        fields: Vec<Field>,
    },
    /// `refuse CODE by DENY`
    Refuse {
        /// The code of the answer.
        code: Option<Text>,
        /// The deny.
        by: Option<Text>,
    },
}

/// `prove "what holds of every request" { … }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// What it shows.
    pub name: Text,
    /// What is claimed, in the order written.
    pub claims: Vec<Spanned<Claim>>,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    /// The whole of it.
    pub span: At,
}

/// What a proof claims of all requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    /// `never use PROCESSOR when CONDITION`
    NeverUse {
        /// The processor; `None` is any of them.
        processor: Option<Text>,
        /// Of which requests; `None` is all of them.
        when: Option<Condition>,
    },
    /// `always use PROCESSOR when CONDITION`
    AlwaysUse {
        /// The processor; `None` is any of them.
        processor: Option<Text>,
        /// Of which requests.
        when: Condition,
    },
    /// `never issue scope like "…" when CONDITION`
    NeverIssue {
        /// What is looked at.
        what: Spanned<Issued>,
        /// How it is compared.
        operator: Spanned<Operator>,
        /// With what.
        right: Operand,
        /// Of which requests; `None` is all of them.
        when: Option<Condition>,
    },
    /// `disjoint RULE, RULE`
    Disjoint(Vec<Text>),
    /// `reachable RULE, RULE`; `None` is `reachable all`.
    Reachable(Option<Vec<Text>>),
}

/// What of an issued token a proof speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Issued {
    /// Each of its scopes.
    Scope,
    /// Each of its audiences.
    Audience,
    /// How long it lives.
    Lifetime,
}

impl Issued {
    /// As it is written.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Audience => "audience",
            Self::Lifetime => "lifetime",
        }
    }
}

/// What a [`Rule`] is.
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
        may_act_ignored: Option<At>,
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
    /// `overrides`, the names of rules.
    Overrides(Vec<Text>),
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
            Self::Overrides(_) => "overrides",
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
    /// One of these must match.
    pub strings: Strings,
}

/// Strings as they are written, or the name of a list of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Strings {
    /// One or more strings.
    Written(Vec<Text>),
    /// `@list`
    List(Text),
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
    pub span: At,
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
        span: At,
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
        span: At,
    },
    /// `S is empty`.
    Empty {
        /// The set.
        path: Text,
        /// The whole.
        span: At,
    },
    /// `count(S) <= 3`.
    Count {
        /// The set.
        path: Text,
        /// The operator.
        operator: Spanned<Operator>,
        /// The number.
        number: Spanned<i64>,
        /// The whole.
        span: At,
    },
    /// `any S like "…"`: every member is tested by itself.
    Quantified {
        /// `any`, `all` or `none`.
        quantifier: Quantifier,
        /// The set.
        path: Text,
        /// The operator.
        operator: Spanned<Operator>,
        /// What every member is compared with.
        right: Operand,
        /// The whole.
        span: At,
    },
    /// `any L where (…)`: every record is tested by itself, as `it`.
    Where {
        /// `any`, `all` or `none`.
        quantifier: Quantifier,
        /// The list of records.
        path: Text,
        /// What is tested.
        condition: Box<Self>,
        /// The whole.
        span: At,
    },
    /// `time in "ZONE" mon..fri 08:00..18:00`.
    Time {
        /// The time zone.
        zone: Text,
        /// The days, as ranges; none written is every day.
        days: Vec<Spanned<(Day, Day)>>,
        /// From and to, in minutes after midnight; the end is not part of it.
        hours: Option<Spanned<(u16, u16)>>,
        /// The whole.
        span: At,
    },
    /// The name of a `def`.
    Reference(Text),
}

impl Condition {
    /// Where it stands; `and` and `or` have no place of their own.
    #[must_use]
    pub fn span(&self) -> Option<&Span> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.first()?.span(),
            Self::Not(part) => part.span(),
            Self::Reference(name) => Some(&name.span),
            Self::Presence { span, .. }
            | Self::Comparison { span, .. }
            | Self::Empty { span, .. }
            | Self::Count { span, .. }
            | Self::Quantified { span, .. }
            | Self::Where { span, .. }
            | Self::Time { span, .. } => Some(span),
        }
    }
}

/// How many members of a set must pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantifier {
    /// One at least.
    Any,
    /// All, and there is one.
    All,
    /// None.
    None,
}

impl Quantifier {
    /// As it is written.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::All => "all",
            Self::None => "none",
        }
    }
}

/// A day of the week.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// All of them, from Monday.
    pub const ALL: [Self; 7] = [
        Self::Mon,
        Self::Tue,
        Self::Wed,
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
    ];

    /// As it is written.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }
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
    /// `has any of`
    HasAnyOf,
    /// `has all of`
    HasAllOf,
    /// `only`
    Only,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
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
            Self::HasAnyOf => "has any of",
            Self::HasAllOf => "has all of",
            Self::Only => "only",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operand {
    /// `[a, b]`
    List(Vec<Spanned<Literal>>, At),
    /// `@list`
    ListName(Text),
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
            Self::ListName(name) => &name.span,
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
    /// `5m`
    Duration(Duration),
    /// `2026-12-01T00:00:00Z`: seconds since 1970, and how it was written.
    Instant(i64, Arc<str>),
}

/// A duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Duration {
    /// How long it is.
    pub seconds: i64,
    /// The unit that it was written in.
    pub unit: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
}

impl Unit {
    /// Its letter and its length in seconds.
    #[must_use]
    pub fn parts(self) -> (char, i64) {
        match self {
            Self::Second => ('s', 1),
            Self::Minute => ('m', 60),
            Self::Hour => ('h', 3_600),
            Self::Day => ('d', 86_400),
        }
    }
}

impl Duration {
    /// So many seconds, in the largest unit that has no rest.
    #[must_use]
    pub fn of(seconds: i64) -> Self {
        let units = [Unit::Day, Unit::Hour, Unit::Minute];
        let whole = |unit: &Unit| seconds != 0 && seconds % unit.parts().1 == 0;
        let unit = units.into_iter().find(whole).unwrap_or(Unit::Second);
        Self { seconds, unit }
    }
}

impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (letter, length) = self.unit.parts();
        write!(f, "{}{letter}", self.seconds / length)
    }
}

/// A parameter of `use`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: Text,
    /// Its value; several are joined with `&`.
    pub values: Vec<Spanned<Value>>,
    /// `beyond subject`.
    pub beyond: Option<At>,
}

/// A value in a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// `at_most 5m`
    AtMost(Duration),
    /// `[a, b]`
    List(Vec<Spanned<Literal>>),
    /// `@list`
    ListName(Arc<str>),
    /// A constant.
    Literal(Literal),
    /// An attribute, `requested`, or a name.
    Path(Arc<str>),
    /// `{ a: … }`
    Map(Vec<Parameter>),
}
