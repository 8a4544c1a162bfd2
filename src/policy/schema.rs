//! What policies may name: the attributes of a context, and what a realm has.
//!
//! [`ATTRIBUTES`] is the open set: one entry per attribute, with its type, whether it may be absent,
//! and how it is read. Claims and client attributes are families, typed by the realm. What later
//! builds bring is in [`LATER`], so that naming it is an error that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::context::{Attributes, ExchangeContext};
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
    /// One of a few names.
    Name(Names),
}

/// The names that an attribute of type [`Type::Name`] may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// Aliases of the realm's issuers.
    Issuer,
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
            Self::Name(Names::Issuer) => "issuer alias",
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

/// Paths (and what lies below them) of the language that this build does not bring, and what would.
pub static LATER: &[(&str, &str)] = &[
    ("subject.act", "delegation"),
    ("subject.chain", "delegation"),
    ("subject.may_act", "delegation"),
    ("actor", "delegation"),
    ("subject.cnf", "sender-constrained tokens"),
    ("conn", "connection attributes"),
    ("grant", "stored exchange grants"),
    ("request.details", "authorization details"),
    ("subject.expires_in", "durations"),
    ("subject.auth_age", "durations"),
    ("now", "instants"),
    ("it", "quantifiers"),
];

/// An attribute that a rule names.
#[derive(Clone, Debug)]
pub enum AttributeRef {
    /// One of [`ATTRIBUTES`].
    Fixed(&'static Attribute),
    /// `subject.claims.NAME`.
    Claim(Arc<str>),
    /// `client.attr.NAME`.
    ClientAttribute(Arc<str>),
}

impl AttributeRef {
    /// The path that policies write.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Fixed(attribute) => attribute.path.to_owned(),
            Self::Claim(name) => format!("{CLAIMS}{name}"),
            Self::ClientAttribute(name) => format!("{CLIENT_ATTRIBUTES}{name}"),
        }
    }

    /// Its value in a context; `None` when the context lacks it.
    #[must_use]
    pub fn get<'a>(&self, context: &'a ExchangeContext) -> Option<Value<'a>> {
        match self {
            Self::Fixed(attribute) => (attribute.get)(context),
            Self::Claim(name) => context.subject.claims.get(name).map(claim_value),
            Self::ClientAttribute(name) => context.client.attributes.get(name).map(claim_value),
        }
    }
}

impl PartialEq for AttributeRef {
    fn eq(&self, other: &Self) -> bool {
        self.path() == other.path()
    }
}

impl Eq for AttributeRef {}

/// The family of declared claims.
pub const CLAIMS: &str = "subject.claims.";
/// The family of declared client attributes.
pub const CLIENT_ATTRIBUTES: &str = "client.attr.";

fn claim_value(value: &ClaimValue) -> Value<'_> {
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
    /// The parameters of its own that `use` may give.
    pub parameters: &'static [ParameterSchema],
    /// How long its tokens live by default, in seconds.
    pub lifetime: i64,
    /// How long they may live at most, in seconds.
    pub max_lifetime: i64,
}

/// A text parameter of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParameterSchema {
    /// Its name in `use … { name: … }`.
    pub name: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
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
