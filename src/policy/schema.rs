//! What policies may name: the attributes of a context, and what a realm has.
//!
//! [`ATTRIBUTES`] is the open set: one entry per attribute, with its type, whether it may be absent,
//! and how it is read. Claims and client attributes are families, typed by the realm. What this build
//! does not bring is in [`LATER`]; naming it is an error that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::context::{Attributes, ExchangeContext, Hop, MayAct, Party};
use crate::oauth::claims::{ClaimDeclaration, ClaimType, ClaimValue};
use crate::oauth::id::{ClientId, IssuerAlias};
use crate::oauth::target::ResourceRegistry;
use crate::oauth::token_type::TokenType;
use crate::oauth::uri::Uri;

/// The type of an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// A canonical URI.
    Uri,
    /// A set of strings.
    Set,
    /// A set of URIs.
    UriSet,
    /// A length of time, in seconds.
    Duration,
    /// A point in time, in seconds since 1970.
    Instant,
    /// An IP address.
    Ip,
    /// A list of actors; `it.NAME` names what each of them has.
    Hops,
    /// One actor, there or not; what it has are attributes of their own.
    Actor,
    /// One of a few names.
    Name(Names),
}

/// The names that an attribute of type [`Type::Name`] may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// Aliases of the realm's issuers.
    Issuer,
    /// The same, and `unknown`.
    HopIssuer,
    /// Client authentication methods.
    AuthMethod,
    /// Short names of token types, or URIs.
    TokenType,
    /// Grant types.
    GrantType,
}

impl Type {
    /// What messages call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Uri => "uri",
            Self::Set => "set of strings",
            Self::UriSet => "set of URIs",
            Self::Duration => "duration",
            Self::Instant => "instant",
            Self::Ip => "ip",
            Self::Hops => "list of actors",
            Self::Actor => "actor",
            Self::Name(Names::Issuer | Names::HopIssuer) => "issuer alias",
            Self::Name(Names::AuthMethod) => "client authentication method",
            Self::Name(Names::TokenType) => "token type",
            Self::Name(Names::GrantType) => "grant type",
        }
    }

    /// Whether it is a set.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::Set | Self::UriSet)
    }
}

impl From<ClaimType> for Type {
    fn from(ty: ClaimType) -> Self {
        match ty {
            ClaimType::String => Self::String,
            ClaimType::Int => Self::Int,
            ClaimType::Bool => Self::Bool,
            ClaimType::Uri => Self::Uri,
            ClaimType::StringSet => Self::Set,
        }
    }
}

/// An attribute's value in one context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// Text, or a name.
    Text(&'a str),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A URI.
    Uri(&'a Uri),
    /// A set of strings.
    Set(&'a BTreeSet<Arc<str>>),
    /// A set of URIs, in the order sent.
    Uris(&'a [Uri]),
    /// An IP address.
    Ip(IpAddr),
    /// A list of actors.
    Hops(&'a [Hop]),
    /// An actor of the past.
    Hop(&'a Hop),
    /// An actor to be.
    MayAct(&'a MayAct),
}

impl Value<'_> {
    /// As JSON, for the audit record and `explain`.
    #[must_use]
    pub fn to_json(self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Int(number) => number.into(),
            Self::Bool(truth) => truth.into(),
            Self::Uri(uri) => uri.raw().into(),
            Self::Set(set) => set
                .iter()
                .map(|item| serde_json::Value::from(&**item))
                .collect(),
            Self::Uris(uris) => uris
                .iter()
                .map(|uri| serde_json::Value::from(uri.raw()))
                .collect(),
            Self::Ip(ip) => ip.to_string().into(),
            Self::Hops(hops) => hops.iter().map(Hop::to_json).collect(),
            Self::Hop(hop) => hop.to_json(),
            Self::MayAct(may_act) => may_act.to_json(),
        }
    }
}

/// An attribute that every realm has.
#[derive(Debug)]
pub struct Attribute {
    /// The path that policies write.
    pub path: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether a context may lack it.
    pub optional: bool,
    /// The characters that a `*` in a pattern does not cross.
    pub separators: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
    get: for<'a> fn(&'a ExchangeContext) -> Option<Value<'a>>,
}

/// What an actor of a list has; policies write `it.NAME`.
#[derive(Debug)]
pub struct Field {
    /// The path that policies write.
    pub path: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether an actor may lack it.
    pub optional: bool,
    /// The characters that a `*` in a pattern does not cross.
    pub separators: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
    get: for<'a> fn(&'a Hop) -> Option<Value<'a>>,
}

/// All of them.
pub static FIELDS: &[Field] = &[
    Field {
        path: "it.issuer",
        ty: Type::Name(Names::HopIssuer),
        optional: false,
        separators: "",
        doc: "the alias of the actor's issuer, or `unknown`",
        get: |hop| Some(Value::Text(&hop.issuer)),
    },
    Field {
        path: "it.sub",
        ty: Type::String,
        optional: true,
        separators: ":/",
        doc: "the actor's `sub`",
        get: |hop| hop.sub.as_deref().map(Value::Text),
    },
    Field {
        path: "it.client_id",
        ty: Type::String,
        optional: true,
        separators: "",
        doc: "the actor's `client_id`",
        get: |hop| hop.client_id.as_deref().map(Value::Text),
    },
];

/// All of them.
pub static ATTRIBUTES: &[Attribute] = &[
    Attribute {
        path: "client.id",
        ty: Type::String,
        optional: false,
        separators: "",
        doc: "the authenticated client's `client_id`",
        get: |c| Some(Value::Text(c.client.id.as_str())),
    },
    Attribute {
        path: "client.names",
        ty: Type::Set,
        optional: false,
        separators: ":/",
        doc: "the client's id and identifiers",
        get: |c| Some(Value::Set(&c.client.names)),
    },
    Attribute {
        path: "client.auth",
        ty: Type::Name(Names::AuthMethod),
        optional: false,
        separators: "",
        doc: "the method that the client authenticated with",
        get: |c| Some(Value::Text(c.client.auth)),
    },
    Attribute {
        path: "subject.issuer",
        ty: Type::Name(Names::Issuer),
        optional: false,
        separators: "",
        doc: "the alias of the issuer that vouches for the subject; `self` for our own tokens",
        get: |c| Some(Value::Text(c.subject.issuer.as_str())),
    },
    Attribute {
        path: "subject.sub",
        ty: Type::String,
        optional: false,
        separators: ":/",
        doc: "the subject token's `sub`",
        get: |c| Some(Value::Text(c.subject.subject.as_str())),
    },
    Attribute {
        path: "subject.token_type",
        ty: Type::Name(Names::TokenType),
        optional: false,
        separators: "",
        doc: "the type under which the subject token was presented and verified",
        get: |c| Some(Value::Text(c.subject.token_type.name())),
    },
    Attribute {
        path: "subject.aud",
        ty: Type::Set,
        optional: true,
        separators: ":/",
        doc: "the subject token's `aud`",
        get: |c| c.subject.audience.as_ref().map(Value::Set),
    },
    Attribute {
        path: "subject.scope",
        ty: Type::Set,
        optional: true,
        separators: ":/",
        doc: "the subject token's scope; absent when the token says nothing",
        get: |c| c.subject.scope.as_ref().map(|s| Value::Set(s.as_set())),
    },
    Attribute {
        path: "subject.client_id",
        ty: Type::String,
        optional: true,
        separators: "",
        doc: "the client that the subject token was issued to",
        get: |c| c.subject.client_id.as_deref().map(Value::Text),
    },
    Attribute {
        path: "subject.acr",
        ty: Type::String,
        optional: true,
        separators: ":/",
        doc: "the subject token's `acr`",
        get: |c| c.subject.acr.as_deref().map(Value::Text),
    },
    Attribute {
        path: "subject.amr",
        ty: Type::Set,
        optional: true,
        separators: ":/",
        doc: "the subject token's `amr`",
        get: |c| c.subject.amr.as_ref().map(Value::Set),
    },
    Attribute {
        path: "subject.expires_in",
        ty: Type::Duration,
        optional: true,
        separators: "",
        doc: "how long the subject token is still valid",
        get: |c| Some(Value::Int(c.subject.expires_at.since(c.now))),
    },
    Attribute {
        path: "subject.auth_age",
        ty: Type::Duration,
        optional: true,
        separators: "",
        doc: "how long ago the subject authenticated, by the token's `auth_time`",
        get: |c| {
            let at = c.subject.auth_time?;
            Some(Value::Int(c.now.since(at).max(0)))
        },
    },
    Attribute {
        path: "subject.chain",
        ty: Type::Hops,
        optional: false,
        separators: "",
        doc: "the actors of the subject token's `act`, the outermost first; only in a `deny`",
        get: |c| Some(Value::Hops(&c.subject.chain)),
    },
    Attribute {
        path: "subject.chain.depth",
        ty: Type::Int,
        optional: false,
        separators: "",
        doc: "how many actors that chain has",
        get: |c| i64::try_from(c.subject.chain.len()).ok().map(Value::Int),
    },
    Attribute {
        path: "subject.act",
        ty: Type::Actor,
        optional: true,
        separators: "",
        doc: "the outermost actor of the subject token's `act`",
        get: |c| c.subject.chain.first().map(Value::Hop),
    },
    Attribute {
        path: "subject.act.issuer",
        ty: Type::Name(Names::HopIssuer),
        optional: true,
        separators: "",
        doc: "the alias of that actor's issuer, or `unknown`",
        get: |c| Some(Value::Text(&c.subject.chain.first()?.issuer)),
    },
    Attribute {
        path: "subject.act.sub",
        ty: Type::String,
        optional: true,
        separators: ":/",
        doc: "that actor's `sub`",
        get: |c| Some(Value::Text(c.subject.chain.first()?.sub.as_deref()?)),
    },
    Attribute {
        path: "subject.act.client_id",
        ty: Type::String,
        optional: true,
        separators: "",
        doc: "that actor's `client_id`",
        get: |c| Some(Value::Text(c.subject.chain.first()?.client_id.as_deref()?)),
    },
    Attribute {
        path: "subject.may_act",
        ty: Type::Actor,
        optional: true,
        separators: "",
        doc: "whom the subject token allows to act for its subject",
        get: |c| c.subject.may_act.as_ref().map(Value::MayAct),
    },
    Attribute {
        path: "subject.may_act.issuer",
        ty: Type::Name(Names::HopIssuer),
        optional: true,
        separators: "",
        doc: "the alias of the issuer that `may_act` names, or `unknown`",
        get: |c| Some(Value::Text(c.subject.may_act.as_ref()?.issuer.as_deref()?)),
    },
    Attribute {
        path: "subject.may_act.sub",
        ty: Type::String,
        optional: true,
        separators: ":/",
        doc: "the `sub` that `may_act` names",
        get: |c| {
            Some(Value::Text(
                c.subject.may_act.as_ref()?.identity.sub.as_deref()?,
            ))
        },
    },
    Attribute {
        path: "subject.may_act.client_id",
        ty: Type::String,
        optional: true,
        separators: "",
        doc: "the `client_id` that `may_act` names",
        get: |c| {
            Some(Value::Text(
                c.subject.may_act.as_ref()?.identity.client_id.as_deref()?,
            ))
        },
    },
    Attribute {
        path: "actor.issuer",
        ty: Type::Name(Names::Issuer),
        optional: true,
        separators: "",
        doc: "the alias of the actor token's issuer; absent without an actor token",
        get: |c| Some(Value::Text(actor(c)?.issuer.as_str())),
    },
    Attribute {
        path: "actor.sub",
        ty: Type::String,
        optional: true,
        separators: ":/",
        doc: "the actor token's `sub`",
        get: |c| Some(Value::Text(actor(c)?.subject.as_str())),
    },
    Attribute {
        path: "actor.token_type",
        ty: Type::Name(Names::TokenType),
        optional: true,
        separators: "",
        doc: "the type under which the actor token was presented and verified",
        get: |c| Some(Value::Text(actor(c)?.token_type.name())),
    },
    Attribute {
        path: "actor.aud",
        ty: Type::Set,
        optional: true,
        separators: ":/",
        doc: "the actor token's `aud`",
        get: |c| actor(c)?.audience.as_ref().map(Value::Set),
    },
    Attribute {
        path: "actor.scope",
        ty: Type::Set,
        optional: true,
        separators: ":/",
        doc: "the actor token's scope; it bounds nothing by itself",
        get: |c| actor(c)?.scope.as_ref().map(|s| Value::Set(s.as_set())),
    },
    Attribute {
        path: "actor.client_id",
        ty: Type::String,
        optional: true,
        separators: "",
        doc: "the client that the actor token was issued to",
        get: |c| actor(c)?.client_id.as_deref().map(Value::Text),
    },
    Attribute {
        path: "actor.acr",
        ty: Type::String,
        optional: true,
        separators: ":/",
        doc: "the actor token's `acr`",
        get: |c| actor(c)?.acr.as_deref().map(Value::Text),
    },
    Attribute {
        path: "actor.amr",
        ty: Type::Set,
        optional: true,
        separators: ":/",
        doc: "the actor token's `amr`",
        get: |c| actor(c)?.amr.as_ref().map(Value::Set),
    },
    Attribute {
        path: "actor.expires_in",
        ty: Type::Duration,
        optional: true,
        separators: "",
        doc: "how long the actor token is still valid",
        get: |c| Some(Value::Int(actor(c)?.expires_at.since(c.now))),
    },
    Attribute {
        path: "actor.auth_age",
        ty: Type::Duration,
        optional: true,
        separators: "",
        doc: "how long ago the actor authenticated, by the token's `auth_time`",
        get: |c| Some(Value::Int(c.now.since(actor(c)?.auth_time?).max(0))),
    },
    Attribute {
        path: "conn.ip",
        ty: Type::Ip,
        optional: false,
        separators: "",
        doc: "the address that the request came from",
        get: |c| Some(Value::Ip(c.peer)),
    },
    Attribute {
        path: "now",
        ty: Type::Instant,
        optional: false,
        separators: "",
        doc: "the time of the decision",
        get: |c| Some(Value::Int(c.now.0)),
    },
    Attribute {
        path: "resource",
        ty: Type::UriSet,
        optional: false,
        separators: "/",
        doc: "the requested resources",
        get: |c| Some(Value::Uris(&c.request.targets.resources)),
    },
    Attribute {
        path: "audience",
        ty: Type::Set,
        optional: false,
        separators: ":/",
        doc: "the requested audiences",
        get: |c| Some(Value::Set(&c.request.targets.audiences)),
    },
    Attribute {
        path: "scope",
        ty: Type::Set,
        optional: false,
        separators: ":/",
        doc: "the effective scope: what was asked for, else the subject's whole scope, else none",
        get: |c| Some(Value::Set(c.scope.as_set())),
    },
    Attribute {
        path: "request.grant_type",
        ty: Type::Name(Names::GrantType),
        optional: false,
        separators: "",
        doc: "the grant type",
        get: |c| Some(Value::Text(c.request.grant_type)),
    },
    Attribute {
        path: "request.requested_token_type",
        ty: Type::Name(Names::TokenType),
        optional: true,
        separators: "",
        doc: "`requested_token_type`, where it was sent",
        get: |c| {
            c.request
                .requested_token_type
                .as_ref()
                .map(|t| Value::Text(t.name()))
        },
    },
    Attribute {
        path: "request.scope",
        ty: Type::Set,
        optional: true,
        separators: ":/",
        doc: "`scope` as it was sent; absent when it was not",
        get: |c| c.request.scope.as_ref().map(|s| Value::Set(s.as_set())),
    },
];

fn actor(context: &ExchangeContext) -> Option<&Party> {
    context.actor.as_ref()
}

/// Paths (and what lies below them) of the language that this build does not bring, and what would.
pub static LATER: &[(&str, &str)] = &[
    ("subject.cnf", "sender-constrained tokens"),
    ("actor.cnf", "sender-constrained tokens"),
    ("conn.mtls", "sender-constrained tokens"),
    ("conn.dpop", "sender-constrained tokens"),
    ("grant", "stored exchange grants"),
    ("request.details", "authorization details"),
];

/// An attribute that a rule names.
#[derive(Clone, Debug)]
pub enum AttributeRef {
    /// One of [`ATTRIBUTES`].
    Fixed(&'static Attribute),
    /// `subject.claims.NAME`.
    Claim(Arc<str>),
    /// `actor.claims.NAME`.
    ActorClaim(Arc<str>),
    /// `client.attr.NAME`.
    ClientAttribute(Arc<str>),
    /// `it.NAME`: of the actor that a quantifier looks at.
    Field(&'static Field),
}

impl AttributeRef {
    /// The path that policies write.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Fixed(attribute) => attribute.path.to_owned(),
            Self::Claim(name) => format!("{CLAIMS}{name}"),
            Self::ActorClaim(name) => format!("{ACTOR_CLAIMS}{name}"),
            Self::ClientAttribute(name) => format!("{CLIENT_ATTRIBUTES}{name}"),
            Self::Field(field) => field.path.to_owned(),
        }
    }

    /// Whether it names the subject's issuer.
    #[must_use]
    pub fn is_issuer(&self) -> bool {
        matches!(self, Self::Fixed(attribute) if attribute.path == "subject.issuer")
    }

    /// Its value in a context; `None` when the context lacks it.
    #[must_use]
    pub fn get<'a>(&self, context: &'a ExchangeContext) -> Option<Value<'a>> {
        self.get_of(context, None)
    }

    /// The same where a quantifier looks at an actor.
    pub(super) fn get_of<'a>(
        &self,
        context: &'a ExchangeContext,
        it: Option<&'a Hop>,
    ) -> Option<Value<'a>> {
        match self {
            Self::Field(field) => (field.get)(it?),
            Self::Fixed(attribute) => (attribute.get)(context),
            Self::Claim(name) => context.subject.claims.get(name).map(claim_value),
            Self::ActorClaim(name) => actor(context)?.claims.get(name).map(claim_value),
            Self::ClientAttribute(name) => context.client.attributes.get(name).map(claim_value),
        }
    }
}

impl AttributeRef {
    /// What tells it from all others, without putting the path together.
    fn identity(&self) -> (u8, &str) {
        match self {
            Self::Fixed(attribute) => (0, attribute.path),
            Self::Claim(name) => (1, name),
            Self::ActorClaim(name) => (2, name),
            Self::ClientAttribute(name) => (3, name),
            Self::Field(field) => (4, field.path),
        }
    }
}

impl PartialEq for AttributeRef {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for AttributeRef {}

impl std::hash::Hash for AttributeRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// The family of declared claims of the subject token.
pub const CLAIMS: &str = "subject.claims.";
/// The family of declared claims of the actor token.
pub const ACTOR_CLAIMS: &str = "actor.claims.";
/// The family of declared client attributes.
pub const CLIENT_ATTRIBUTES: &str = "client.attr.";

/// The families: what a realm declares, by the path that policies write before its name.
pub static FAMILIES: &[(&str, &str)] = &[
    (
        CLAIMS,
        "a claim of the subject token, as `claims:` of its issuer declares it",
    ),
    (
        ACTOR_CLAIMS,
        "a claim of the actor token, as `claims:` of its issuer declares it",
    ),
    (
        CLIENT_ATTRIBUTES,
        "an attribute of the client, as `client_attributes:` declares it",
    ),
];

/// A claim's or attribute's value.
pub(super) fn claim_value(value: &ClaimValue) -> Value<'_> {
    match value {
        ClaimValue::String(text) => Value::Text(text),
        ClaimValue::Int(number) => Value::Int(*number),
        ClaimValue::Bool(truth) => Value::Bool(*truth),
        ClaimValue::Uri(uri) => Value::Uri(uri),
        ClaimValue::StringSet(set) => Value::Set(set),
    }
}

/// What a realm has, as far as policies may speak of it.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// The issuers, [`IssuerAlias::own`] among them.
    pub issuers: Vec<IssuerSchema>,
    /// The clients.
    pub clients: Vec<ClientSchema>,
    /// Declared client attributes.
    pub client_attributes: BTreeMap<Arc<str>, ClaimType>,
    /// The authentication methods of this build.
    pub auth_methods: Vec<&'static str>,
    /// The grant types of this build, by short name.
    pub grant_types: Vec<&'static str>,
    /// The processors.
    pub processors: BTreeMap<Arc<str>, ProcessorSchema>,
    /// The `resources:` registry.
    pub resources: ResourceRegistry,
}

impl Schema {
    /// The issuer with an alias.
    #[must_use]
    pub fn issuer(&self, alias: &str) -> Option<&IssuerSchema> {
        let mut issuers = self.issuers.iter();
        issuers.find(|issuer| issuer.alias.as_str() == alias)
    }
}

/// An issuer, as far as policies may speak of it.
#[derive(Clone, Debug)]
pub struct IssuerSchema {
    /// Its alias.
    pub alias: IssuerAlias,
    /// Whether its subjects are the realm's own (`subjects: local`).
    pub local: bool,
    /// The token types accepted from it.
    pub token_types: Vec<TokenType>,
    /// Whether its tokens have a scope (`scope: none` is `false`).
    pub has_scope: bool,
    /// The claims that its configuration declares.
    pub claims: BTreeMap<Arc<str>, ClaimDeclaration>,
    /// Issuers whose subjects its `may_act` may name without saying so (`may_act_namespace:`).
    pub may_act_namespace: BTreeSet<IssuerAlias>,
    /// The declared claims that tell the tenants of a shared issuer apart (`tenancy:`); none where the
    /// realm pins them, or where the issuer is nobody else's.
    pub tenancy: Vec<Arc<str>>,
    /// The realm's own tenants, by claim: tokens of others are refused.
    pub tenants: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

/// A client, as far as policies may speak of it.
#[derive(Clone, Debug)]
pub struct ClientSchema {
    /// Its id.
    pub id: ClientId,
    /// Its id and identifiers.
    pub names: BTreeSet<Arc<str>>,
    /// Its attributes.
    pub attributes: Attributes,
    /// The methods that it may authenticate with.
    pub auth: Vec<&'static str>,
}

/// A processor, as far as policies may speak of it.
#[derive(Clone, Debug)]
pub struct ProcessorSchema {
    /// The subject token types that it takes.
    pub accepts: Vec<TokenType>,
    /// The token types that it makes.
    pub issues: Vec<TokenType>,
    /// Whether what it makes can carry a scope.
    pub carries_scope: bool,
    /// Whether what it makes can say who acts (`act`, `may_act`).
    pub carries_act: bool,
    /// The parameters of its own that `use` may give.
    pub parameters: &'static [ParameterSchema],
    /// How long its tokens live by default, in seconds.
    pub lifetime: i64,
    /// How long they may live at most, in seconds.
    pub max_lifetime: i64,
}

/// A parameter of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParameterSchema {
    /// Its name in `use … { name: … }`.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParameterKind,
    /// One line for the reference.
    pub doc: &'static str,
}

/// What a parameter takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParameterKind {
    /// Text with attributes in it; all of them must be there.
    Text,
    /// Names and values; a value whose attribute is absent is left out.
    Map {
        /// Names that a rule cannot give, whatever their case.
        reserved: &'static [&'static str],
        /// Names that can only have the value of one attribute.
        own: &'static [(&'static str, &'static str)],
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_paths_are_unique_and_documented() {
        let paths: BTreeSet<&str> = ATTRIBUTES.iter().map(|a| a.path).collect();
        assert_eq!(paths.len(), ATTRIBUTES.len());
        assert!(ATTRIBUTES.iter().all(|a| !a.doc.is_empty()));
        assert!(
            ATTRIBUTES
                .iter()
                .all(|a| LATER.iter().all(|(later, _)| a.path != *later))
        );
    }
}
