//! What a question says of the parts of a request: tests of single values, joined with and, or and not.
//!
//! Everything that the evaluator reads is spelled out here once more, as a proposition; and what no request
//! can be otherwise (who declares which claim, whose tokens have a scope) is a fact that goes with it.
//! INVARIANT: a fact holds of every request that ingress lets pass; where that is not sure, there is no fact.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::domain::{Kind, Language};
use crate::context::{Hop, MAX_DEPTH};
use crate::oauth::claims::{ClaimType, ClaimValue};
use crate::oauth::id::IssuerAlias;
use crate::policy::rule::{Comparison, Constant};
use crate::policy::schema::{AttributeRef, IssuerSchema, Schema, Type};

/// A proposition about a request.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Always, or never.
    Constant(bool),
    /// A test.
    Leaf(Leaf),
    /// Not that.
    Not(Box<Self>),
    /// All of them.
    All(Vec<Self>),
    /// One of them.
    Any(Vec<Self>),
}

impl Node {
    pub(super) fn not(self) -> Self {
        match self {
            Self::Constant(truth) => Self::Constant(!truth),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Constant(true) => {}
                Self::Constant(false) => return part,
                Self::All(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Self::Constant(true),
            1 => kept.swap_remove(0),
            _ => Self::All(kept),
        }
    }

    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Constant(false) => {}
                Self::Constant(true) => return part,
                Self::Any(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => Self::Constant(false),
            1 => kept.swap_remove(0),
            _ => Self::Any(kept),
        }
    }

    pub(super) fn implies(self, then: Self) -> Self {
        Self::any([self.not(), then])
    }
}

/// A test of a variable, or of two. Of one that is absent, none holds.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    /// It is there.
    Present(usize),
    /// Its value is in the language.
    Is(usize, usize),
    /// A set that has a member in the language, or one that is not.
    Has(usize, usize, bool),
    /// Both have the same value.
    Same(usize, usize),
    /// The value of the first is a member of the second.
    Member(usize, usize),
    /// As many members.
    Count(usize, Comparison, i64),
    /// The client is this one of the schema's.
    Client(usize),
    /// Some scope token would be granted that passes.
    Granted(Box<Granted>),
}

/// Which scope tokens would be granted.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    /// Languages of `scope`, all of which hold of what is granted; and whether the complement is meant.
    pub within: Vec<(usize, bool)>,
    /// Where this holds, the subject's own scope does not bound what is granted.
    pub free: Node,
    /// Where the first holds, what is granted is in the second.
    pub offered: Vec<(Node, usize)>,
}

/// An attribute of the request that is not fixed.
#[derive(Debug)]
pub(super) struct Variable<'a> {
    /// Its path, as facts have it.
    pub path: String,
    /// What values it, or its members, can have.
    pub kind: Kind,
    /// Whether it is a set.
    pub many: bool,
    /// What it is tested for; the first is what it can be at all.
    pub languages: Vec<Language<'a>>,
    /// The most that its members are counted to.
    pub counted: i64,
    /// Another variable that it is compared with, or itself.
    parent: usize,
}

/// Where the value of an attribute comes from.
#[derive(Clone)]
pub(super) enum Place {
    /// A variable.
    Variable(usize),
    /// One of these, by what holds; `None` is absent.
    Choices(Vec<(Node, Option<Known>)>),
    /// It has no value that is compared, but is there or not.
    Presence(Node),
}

/// A value that is known once a choice is made.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// One value.
    One(Constant),
    /// A set.
    Set(Arc<BTreeSet<Arc<str>>>),
}

/// The variables of one question, and the facts about them.
pub(super) struct Model<'a> {
    pub(super) schema: &'a Schema,
    pub(super) variables: Vec<Variable<'a>>,
    by_path: HashMap<String, usize>,
    /// What holds of every request.
    pub(super) facts: Vec<Node>,
    /// The clients that it may be, by their places in the schema.
    pub(super) clients: Vec<usize>,
    /// How many actors a chain has at most that are told apart.
    pub(super) depth: usize,
    /// Variables of which nothing is known: what holds only where they are there is unknown; and the
    /// attributes that they are about.
    pub(super) doubts: Vec<(usize, &'static str)>,
    /// Whether granted scope is asked for: what several sets share is told apart then.
    pub(super) grants: bool,
}

/// How far a variable's presence is settled.
enum Presence {
    Always,
    Maybe,
    /// Not without the other.
    Under(usize),
    /// With the other, and not without.
    With(usize),
}

impl<'a> Model<'a> {
    pub(super) fn new(schema: &'a Schema, clients: Vec<usize>, depth: usize) -> Self {
        Self {
            schema,
            variables: Vec::new(),
            by_path: HashMap::new(),
            facts: Vec::new(),
            clients,
            depth: depth.min(MAX_DEPTH),
            doubts: Vec::new(),
            grants: false,
        }
    }

    /// The variable at a path, if the question has one.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    fn declare(&mut self, path: &str, kind: Kind, many: bool, presence: Presence) -> (usize, bool) {
        if let Some(number) = self.by_path.get(path) {
            return (*number, false);
        }
        let number = self.variables.len();
        self.variables.push(Variable {
            path: path.to_owned(),
            languages: vec![Language::Base(kind.clone())],
            kind,
            many,
            counted: 0,
            parent: number,
        });
        self.by_path.insert(path.to_owned(), number);
        let there = Node::Leaf(Leaf::Present(number));
        match presence {
            Presence::Always => self.facts.push(there),
            Presence::Maybe => {}
            Presence::Under(other) => {
                self.facts
                    .push(there.implies(Node::Leaf(Leaf::Present(other))));
            }
            Presence::With(other) => {
                let with = Node::Leaf(Leaf::Present(other));
                self.facts.push(there.clone().implies(with.clone()));
                self.facts.push(with.implies(there));
            }
        }
        (number, true)
    }

    /// Something that may be or not, about an attribute.
    pub(super) fn doubt(&mut self, about: &'static str) -> Node {
        let (number, new) = self.declare(
            &format!("doubt {about}"),
            Kind::Flag,
            false,
            Presence::Maybe,
        );
        if new {
            self.doubts.push((number, about));
        }
        self.present(number)
    }

    /// Adds a language to a variable.
    fn language(&mut self, variable: usize, language: Language<'a>) -> usize {
        let Some(variable) = self.variables.get_mut(variable) else {
            return 0;
        };
        variable.languages.push(language);
        variable.languages.len() - 1
    }

    pub(super) fn is(&mut self, variable: usize, language: Language<'a>) -> Node {
        if self.variables.get(variable).is_none_or(|v| v.many) {
            return Node::Constant(false);
        }
        let language = self.language(variable, language);
        Node::Leaf(Leaf::Is(variable, language))
    }

    pub(super) fn has(&mut self, variable: usize, language: Language<'a>, negated: bool) -> Node {
        if self.variables.get(variable).is_none_or(|v| !v.many) {
            return Node::Constant(false);
        }
        let language = self.language(variable, language);
        Node::Leaf(Leaf::Has(variable, language, negated))
    }

    /// Whether a set has a member.
    pub(super) fn has_some(&self, variable: usize) -> Node {
        match self.variables.get(variable) {
            Some(set) if set.many => Node::Leaf(Leaf::Has(variable, 0, false)),
            _ => Node::Constant(false),
        }
    }

    pub(super) fn count(&mut self, variable: usize, comparison: Comparison, limit: i64) -> Node {
        match self.variables.get_mut(variable) {
            Some(set) if set.many => {
                set.counted = set.counted.max(limit);
                Node::Leaf(Leaf::Count(variable, comparison, limit))
            }
            _ => Node::Constant(false),
        }
    }

    /// Whether two variables can be equal; their values are told apart together from now on.
    fn link(&mut self, one: usize, other: usize) -> bool {
        let kinds = (
            self.variables.get(one).map(|v| &v.kind),
            self.variables.get(other).map(|v| &v.kind),
        );
        let (Some(a), Some(b)) = kinds else {
            return false;
        };
        let fit =
            (a.textual() && b.textual()) || std::mem::discriminant(a) == std::mem::discriminant(b);
        if fit {
            let (one, other) = (self.group(one), self.group(other));
            if let Some(root) = self.variables.get_mut(one.max(other)) {
                root.parent = one.min(other);
            }
        }
        fit
    }

    /// The least of the variables that one is compared with, itself among them.
    pub(super) fn group(&self, mut variable: usize) -> usize {
        while let Some(next) = self.variables.get(variable).map(|v| v.parent)
            && next != variable
        {
            variable = next;
        }
        variable
    }

    pub(super) fn same(&mut self, one: usize, other: usize) -> Node {
        let many = |model: &Self, v: usize| model.variables.get(v).is_none_or(|v| v.many);
        if many(self, one) || many(self, other) || !self.link(one, other) {
            return Node::Constant(false);
        }
        if one == other {
            return Node::Leaf(Leaf::Present(one));
        }
        Node::Leaf(Leaf::Same(one, other))
    }

    pub(super) fn member(&mut self, one: usize, set: usize) -> Node {
        let many = |model: &Self, v: usize| model.variables.get(v).map(|v| v.many);
        if many(self, one) != Some(false) || many(self, set) != Some(true) || !self.link(one, set) {
            return Node::Constant(false);
        }
        Node::Leaf(Leaf::Member(one, set))
    }

    pub(super) fn present(&self, variable: usize) -> Node {
        Node::Leaf(Leaf::Present(variable))
    }

    /// Where an attribute's value comes from; several places where issuers declare a claim differently, of
    /// which one at most is there.
    pub(super) fn places(&mut self, attribute: &AttributeRef, hop: Option<usize>) -> Vec<Place> {
        match attribute {
            AttributeRef::Claim(name) => self.claim("subject", name),
            AttributeRef::ActorClaim(name) => self.claim("actor", name),
            AttributeRef::ClientAttribute(name) => {
                let schema = self.schema;
                vec![self.client(|client| {
                    let value = schema.clients.get(client)?.attributes.get(name)?;
                    Some(known(value))
                })]
            }
            AttributeRef::Field(field) => {
                let name = field.path.strip_prefix("it.").unwrap_or_default();
                let hop = hop.unwrap_or_default();
                vec![Place::Variable(self.of_hop(hop, name))]
            }
            AttributeRef::Fixed(fixed) => vec![self.fixed(fixed.path, fixed.ty)],
        }
    }

    fn client(&self, value: impl Fn(usize) -> Option<Known>) -> Place {
        let choice = |client: &usize| (Node::Leaf(Leaf::Client(*client)), value(*client));
        Place::Choices(self.clients.iter().map(choice).collect())
    }

    fn fixed(&mut self, path: &'static str, ty: Type) -> Place {
        let schema = self.schema;
        match path {
            "client.id" => self.client(|client| {
                let id = schema.clients.get(client)?.id.as_str();
                Some(Known::One(Constant::Text(Arc::from(id))))
            }),
            "client.names" => self.client(|client| {
                let names = schema.clients.get(client)?.names.clone();
                Some(Known::Set(Arc::new(names)))
            }),
            "subject.chain" => Place::Presence(Node::Constant(true)),
            "subject.chain.depth" => {
                let depth = |model: &mut Self, depth: usize| {
                    let longer = model.hop_exists(depth);
                    let as_long = match depth {
                        0 => Node::Constant(true),
                        n => model.hop_exists(n - 1),
                    };
                    Node::all([as_long, longer.not()])
                };
                let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
                let most = self.depth;
                Place::Choices(
                    (0..=most)
                        .map(|n| (depth(self, n), Some(Known::One(Constant::Int(number(n))))))
                        .collect(),
                )
            }
            "subject.act" => Place::Presence(self.hop_exists(0)),
            "subject.may_act" => Place::Presence(self.may_act_exists()),
            "subject.act.issuer" => Place::Variable(self.of_hop(0, "issuer")),
            "subject.act.sub" => Place::Variable(self.of_hop(0, "sub")),
            "subject.act.client_id" => Place::Variable(self.of_hop(0, "client_id")),
            path => Place::Variable(self.fixed_variable(path, ty)),
        }
    }

    /// Whether a chain has an actor at a place, the outermost at the first.
    pub(super) fn hop_exists(&mut self, hop: usize) -> Node {
        if hop >= self.depth {
            return Node::Constant(false);
        }
        let flag = self.hop_flag(hop);
        self.present(flag)
    }

    fn hop_flag(&mut self, hop: usize) -> usize {
        let presence = match hop {
            0 => Presence::Maybe,
            later => Presence::Under(self.hop_flag(later - 1)),
        };
        let path = format!("hop{hop}");
        self.declare(&path, Kind::Flag, false, presence).0
    }

    fn of_hop(&mut self, hop: usize, name: &str) -> usize {
        let flag = self.hop_flag(hop);
        self.identity(&format!("hop{hop}"), flag, name)
    }

    /// A member of an actor of the past or to be.
    fn identity(&mut self, of: &str, flag: usize, name: &str) -> usize {
        let kind = match name {
            "issuer" => Kind::OneOf(Arc::new(self.aliases(Some(Hop::UNKNOWN)))),
            _ => Kind::Name,
        };
        let presence = match (name, of) {
            ("issuer", "subject.may_act") => Presence::Under(flag),
            ("issuer", _) => Presence::With(flag),
            _ => Presence::Under(flag),
        };
        let (number, new) = self.declare(&format!("{of}.{name}"), kind, false, presence);
        if new && name != "issuer" {
            // One that has neither `sub` nor `client_id` is nobody.
            let sub = self.identity(of, flag, "sub");
            let client_id = self.identity(of, flag, "client_id");
            let one = Node::any([self.present(sub), self.present(client_id)]);
            let fact = self.present(flag).implies(one);
            self.facts.push(fact);
        }
        number
    }

    pub(super) fn may_act_exists(&mut self) -> Node {
        let flag = self.may_act_flag();
        self.present(flag)
    }

    fn may_act_flag(&mut self) -> usize {
        let path = "subject.may_act";
        self.declare(path, Kind::Flag, false, Presence::Maybe).0
    }

    pub(super) fn of_may_act(&mut self, name: &str) -> usize {
        let flag = self.may_act_flag();
        self.identity("subject.may_act", flag, name)
    }

    pub(super) fn actor_exists(&mut self) -> Node {
        let flag = self.actor_flag();
        self.present(flag)
    }

    fn actor_flag(&mut self) -> usize {
        self.declare("actor", Kind::Flag, false, Presence::Maybe).0
    }

    fn aliases(&self, and: Option<&str>) -> BTreeSet<Arc<str>> {
        let aliases = self.schema.issuers.iter().map(|i| i.alias.as_str());
        aliases.chain(and).map(Arc::from).collect()
    }

    /// A variable by its path; the attribute must be one.
    pub(super) fn at(&mut self, path: &'static str) -> usize {
        let ty = crate::policy::schema::ATTRIBUTES
            .iter()
            .find(|attribute| attribute.path == path)
            .map_or(Type::String, |attribute| attribute.ty);
        self.fixed_variable(path, ty)
    }

    fn fixed_variable(&mut self, path: &'static str, ty: Type) -> usize {
        if let Some(number) = self.by_path.get(path) {
            return *number;
        }
        if let Some(name) = path.strip_prefix("subject.may_act.") {
            return self.of_may_act(name);
        }
        let all = |names: &mut dyn Iterator<Item = &str>| {
            Kind::OneOf(Arc::new(names.map(Arc::from).collect()))
        };
        let schema = self.schema;
        let (party, name) = match path.split_once('.') {
            Some((party @ ("subject" | "actor"), name)) => (party, name),
            _ => ("", path),
        };
        let kind = match (party, name) {
            ("", "client.auth") => all(&mut schema.auth_methods.iter().copied()),
            ("", "request.grant_type") => all(&mut schema.grant_types.iter().copied()),
            ("", "request.requested_token_type") => Kind::TokenType,
            ("", "conn.ip") => Kind::Ip,
            ("", "now") => Kind::Now,
            ("", "resource") => Kind::Uri,
            ("", "audience") => Kind::Name,
            ("", "scope" | "request.scope") | (_, "scope") => Kind::ScopeToken,
            (_, "issuer") => Kind::OneOf(Arc::new(self.aliases(None))),
            (_, "sub") => Kind::Name,
            (_, "token_type") => all(&mut schema
                .issuers
                .iter()
                .flat_map(|issuer| issuer.token_types.iter().map(|t| t.name()))),
            // A token that has ended is refused before.
            (_, "expires_in") => Kind::Int(1, super::hours::LAST),
            (_, "auth_age") => Kind::Int(0, super::hours::LAST),
            _ => Kind::Text,
        };
        let always = matches!(
            (party, name),
            ("subject", "issuer" | "sub" | "token_type" | "expires_in")
                | ("", "client.auth" | "request.grant_type" | "conn.ip" | "now")
                | ("", "resource" | "audience" | "scope")
        );
        let presence = match (party, name) {
            ("actor", "issuer" | "sub" | "token_type" | "expires_in") => {
                Presence::With(self.actor_flag())
            }
            ("actor", _) => Presence::Under(self.actor_flag()),
            _ if always => Presence::Always,
            _ => Presence::Maybe,
        };
        let (number, _) = self.declare(path, kind, ty.is_set(), presence);
        match (party, name) {
            ("subject" | "actor", "token_type") => {
                let of_issuer = |issuer: &IssuerSchema| {
                    let types = issuer.token_types.iter().map(|t| Arc::from(t.name()));
                    Some(Language::Texts(Arc::new(types.collect())))
                };
                self.by_issuer(party, number, of_issuer);
            }
            ("subject" | "actor", "scope") => {
                let with = |issuer: &&IssuerSchema| issuer.has_scope;
                let with = schema.issuers.iter().filter(with);
                let with = with
                    .map(|issuer| Arc::from(issuer.alias.as_str()))
                    .collect();
                let of = self.issuer_in(party, with);
                let fact = self.present(number).implies(of);
                self.facts.push(fact);
            }
            ("", "client.auth") => {
                for client in self.clients.clone() {
                    let Some(entry) = schema.clients.get(client).filter(|c| !c.auth.is_empty())
                    else {
                        continue;
                    };
                    let methods = entry.auth.iter().map(|method| Arc::from(*method)).collect();
                    let one = self.is(number, Language::Texts(Arc::new(methods)));
                    let fact = Node::Leaf(Leaf::Client(client)).implies(one);
                    self.facts.push(fact);
                }
            }
            ("", "scope") => {
                // The effective scope is one of the other two, or none: told apart together.
                let request = self.at("request.scope");
                let subject = self.at("subject.scope");
                self.link(number, request);
                self.link(number, subject);
            }
            _ => {}
        }
        number
    }

    /// The party's issuer is one of these.
    pub(super) fn issuer_in(&mut self, party: &str, aliases: BTreeSet<Arc<str>>) -> Node {
        let path = match party {
            "actor" => "actor.issuer",
            _ => "subject.issuer",
        };
        let issuer = self.at(path);
        self.is(issuer, Language::Texts(Arc::new(aliases)))
    }

    /// Of tokens of each issuer, a value is in a language.
    fn by_issuer(
        &mut self,
        party: &str,
        variable: usize,
        language: impl Fn(&IssuerSchema) -> Option<Language<'a>>,
    ) {
        let schema = self.schema;
        for issuer in &schema.issuers {
            let Some(language) = language(issuer) else {
                continue;
            };
            let of = self.issuer_in(party, BTreeSet::from([Arc::from(issuer.alias.as_str())]));
            let one = self.is(variable, language);
            self.facts.push(of.implies(one));
        }
    }

    fn claim(&mut self, party: &str, name: &Arc<str>) -> Vec<Place> {
        let schema = self.schema;
        let mut types: Vec<ClaimType> = Vec::new();
        for issuer in &schema.issuers {
            if let Some(claim) = issuer.claims.get(name)
                && !types.contains(&claim.ty)
            {
                types.push(claim.ty);
            }
        }
        let several = types.len() > 1;
        let mut places = Vec::new();
        for ty in types {
            let path = match several {
                true => format!("{party}.claims.{name}\u{0}{}", ty.name()),
                false => format!("{party}.claims.{name}"),
            };
            if let Some(number) = self.by_path.get(&path) {
                places.push(Place::Variable(*number));
                continue;
            }
            let kind = match ty {
                ClaimType::String | ClaimType::StringSet => Kind::Text,
                ClaimType::Int => Kind::Int(i64::MIN, i64::MAX),
                ClaimType::Bool => Kind::Bool,
                ClaimType::Uri => Kind::Uri,
            };
            let presence = match party {
                "actor" => Presence::Under(self.actor_flag()),
                _ => Presence::Maybe,
            };
            let many = ty == ClaimType::StringSet;
            let (number, _) = self.declare(&path, kind, many, presence);
            self.declared(party, name, ty, number);
            places.push(Place::Variable(number));
        }
        places
    }

    /// Who declares a claim, who requires it, and which tenants are the realm's own.
    fn declared(&mut self, party: &str, name: &Arc<str>, ty: ClaimType, number: usize) {
        let schema = self.schema;
        let declares =
            |issuer: &&IssuerSchema| issuer.claims.get(name).is_some_and(|claim| claim.ty == ty);
        let alias = |issuer: &IssuerSchema| Arc::<str>::from(issuer.alias.as_str());
        let declaring = schema.issuers.iter().filter(declares).map(alias).collect();
        let requires = |issuer: &&IssuerSchema| {
            let claim = issuer.claims.get(name);
            claim.is_some_and(|claim| claim.ty == ty)
                && (claim.is_some_and(|claim| !claim.optional) || issuer.tenants.contains_key(name))
        };
        let requiring = schema.issuers.iter().filter(requires).map(alias).collect();
        let of = self.issuer_in(party, declaring);
        let fact = self.present(number).implies(of);
        self.facts.push(fact);
        let of = self.issuer_in(party, requiring);
        let fact = of.implies(self.present(number));
        self.facts.push(fact);
        for issuer in schema.issuers.iter().filter(declares) {
            let Some(tenants) = issuer.tenants.get(name) else {
                continue;
            };
            let of = self.issuer_in(party, BTreeSet::from([alias(issuer)]));
            let own = match ty {
                ClaimType::StringSet => {
                    let texts = Arc::new(tenants.clone());
                    let other = self.has(number, Language::Texts(texts), true);
                    Node::all([self.has_some(number), other.not()])
                }
                ClaimType::String => self.is(number, Language::Texts(Arc::new(tenants.clone()))),
                ClaimType::Int | ClaimType::Bool | ClaimType::Uri => {
                    let written = tenants.iter().filter_map(|text| constant(text, ty));
                    let written: Vec<Constant> = written.collect();
                    let each = written
                        .into_iter()
                        .map(|c| self.is(number, Language::One(c)));
                    let each: Vec<Node> = each.collect();
                    Node::any(each)
                }
            };
            self.facts.push(of.implies(own));
        }
    }

    /// Whether the realm's own tokens are among an issuer's namespace for `may_act`.
    pub(super) fn may_mean(issuer: &IssuerSchema, alias: &IssuerAlias) -> bool {
        issuer.alias == *alias || issuer.may_act_namespace.contains(alias)
    }
}

/// A text of the configuration as a value of a type.
fn constant(text: &str, ty: ClaimType) -> Option<Constant> {
    match ty {
        ClaimType::Int => text.parse().ok().map(Constant::Int),
        ClaimType::Bool => text.parse().ok().map(Constant::Bool),
        ClaimType::Uri => text.parse().ok().map(Constant::Uri),
        ClaimType::String | ClaimType::StringSet => Some(Constant::Text(Arc::from(text))),
    }
}

fn known(value: &ClaimValue) -> Known {
    match value {
        ClaimValue::String(text) => Known::One(Constant::Text(Arc::clone(text))),
        ClaimValue::Int(number) => Known::One(Constant::Int(*number)),
        ClaimValue::Bool(truth) => Known::One(Constant::Bool(*truth)),
        ClaimValue::Uri(uri) => Known::One(Constant::Uri(uri.clone())),
        ClaimValue::StringSet(set) => Known::Set(Arc::new(set.clone())),
    }
}
