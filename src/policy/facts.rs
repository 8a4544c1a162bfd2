//! A context as a flat table of paths and JSON values, and back.
//!
//! The audit writes one for every decision; `explain` reads one, from an audit record, from a file or
//! from flags. What is not given gets what the realm's configuration or a plain request would have.

mod actors;
mod refit;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

pub use refit::{NotAsked, refit, unrecorded};

use super::schema::{
    ACTOR_CLAIMS, ATTRIBUTES, AttributeRef, CLAIMS, CLIENT_ATTRIBUTES, ClientSchema, IssuerSchema,
    Schema,
};
use crate::context::{Attributes, ClientFacts, ExchangeContext, Party, RequestFacts};
use crate::oauth::NumericDate;
use crate::oauth::claims::{ClaimType, strings};
use crate::oauth::id::{Issuer, IssuerAlias, RequestId};
use crate::oauth::scope::Scopes;
use crate::oauth::target::Targets;
use crate::oauth::token_type::TokenType;

/// The time of the decision, in seconds.
pub const NOW: &str = "now";
/// When the subject token ends to be valid, in seconds.
pub const SUBJECT_EXP: &str = "subject.exp";
/// When the actor token ends to be valid, in seconds.
pub const ACTOR_EXP: &str = "actor.exp";
/// What stands in an audit record for a value that was configured not to be shown.
pub const REDACTED: &str = "[redacted]";
/// Where a request came from that does not say (RFC 5737: an address that nobody has).
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A party of a request, and where a table states it.
#[derive(Clone, Copy, Debug)]
pub struct Stated {
    /// What its paths begin with.
    pub name: &'static str,
    /// Its declared claims.
    pub claims: &'static str,
    /// When its token ends to be valid.
    pub exp: &'static str,
}

impl Stated {
    /// The path of one of its attributes.
    #[must_use]
    pub fn path(self, attribute: &str) -> String {
        format!("{}.{attribute}", self.name)
    }

    /// Its issuer, as stated.
    #[must_use]
    pub fn issuer<'s>(
        self,
        facts: &Map<String, Json>,
        schema: &'s Schema,
    ) -> Option<&'s IssuerSchema> {
        let alias = facts.get(&self.path("issuer")).and_then(Json::as_str);
        alias.and_then(|alias| schema.issuer(alias))
    }
}

/// The subject.
pub const SUBJECT: Stated = Stated {
    name: "subject",
    claims: CLAIMS,
    exp: SUBJECT_EXP,
};
/// The party of the actor token.
pub const ACTOR: Stated = Stated {
    name: "actor",
    claims: ACTOR_CLAIMS,
    exp: ACTOR_EXP,
};
/// Both.
pub const PARTIES: [Stated; 2] = [SUBJECT, ACTOR];

/// What every decision rests on, whatever the rules mention.
const ALWAYS: [&str; 17] = [
    "client.id",
    "client.auth",
    "subject.issuer",
    "subject.sub",
    "subject.token_type",
    "subject.scope",
    "subject.chain",
    "subject.may_act",
    "actor.issuer",
    "actor.sub",
    "actor.token_type",
    "actor.client_id",
    "resource",
    "audience",
    "request.scope",
    "request.requested_token_type",
    "request.grant_type",
];

/// The attributes that every decision rests on.
pub(super) fn always() -> impl Iterator<Item = AttributeRef> {
    ATTRIBUTES
        .iter()
        .filter(|attribute| ALWAYS.contains(&attribute.path))
        .map(AttributeRef::Fixed)
}

/// Whether every record has a path, where there is a value.
#[must_use]
pub fn is_always(path: &str) -> bool {
    ALWAYS.contains(&path)
        || path.starts_with("subject.act.")
        || path.starts_with("subject.may_act")
}

/// Paths that a table may have.
pub fn known_paths(schema: &Schema) -> BTreeSet<String> {
    let fixed = ATTRIBUTES.iter().map(|attribute| attribute.path.to_owned());
    let claims = schema
        .issuers
        .iter()
        .flat_map(|issuer| issuer.claims.keys())
        .flat_map(|name| PARTIES.map(|party| format!("{}{name}", party.claims)));
    let attributes = schema
        .client_attributes
        .keys()
        .map(|name| format!("{CLIENT_ATTRIBUTES}{name}"));
    fixed
        .chain(claims)
        .chain(attributes)
        .chain(PARTIES.map(|party| party.exp.to_owned()))
        .collect()
}

/// Adds what a real request would have in any case, where the table does not say it: a client, an issuer,
/// the claims that it requires. Gives the paths that were added.
pub fn placeholders(facts: &mut Map<String, Json>, schema: &Schema) -> Vec<String> {
    let mut added = Vec::new();
    let mut add = |facts: &mut Map<String, Json>, path: String, value: Json| {
        if !facts.contains_key(&path) {
            facts.insert(path.clone(), value);
            added.push(path);
        }
    };
    if let Some(client) = schema.clients.first() {
        add(facts, "client.id".to_owned(), client.id.as_str().into());
    }
    let others = |issuer: &&IssuerSchema| !issuer.alias.is_own();
    if let Some(issuer) = schema.issuers.iter().find(others) {
        let alias = issuer.alias.as_str();
        add(facts, "subject.issuer".to_owned(), alias.into());
    }
    for party in PARTIES {
        let Some(issuer) = party.issuer(facts, schema) else {
            continue;
        };
        for (name, claim) in &issuer.claims {
            let tenant = issuer.tenants.get(name).and_then(|tenants| tenants.first());
            let value = match (tenant, claim.optional) {
                (Some(tenant), _) => written(tenant, claim.ty),
                (None, false) => placeholder(claim.ty),
                (None, true) => continue,
            };
            add(facts, format!("{}{name}", party.claims), value);
        }
    }
    added
}

/// A tenant as a token writes it.
fn written(tenant: &str, ty: ClaimType) -> Json {
    let typed = match ty {
        ClaimType::Int | ClaimType::Bool => serde_json::from_str(tenant).ok(),
        ClaimType::String | ClaimType::Uri | ClaimType::StringSet => None,
    };
    typed.unwrap_or_else(|| tenant.into())
}

fn placeholder(ty: ClaimType) -> Json {
    match ty {
        ClaimType::String => "placeholder".into(),
        ClaimType::Int => 0.into(),
        ClaimType::Bool => false.into(),
        ClaimType::Uri => "https://placeholder.example".into(),
        ClaimType::StringSet => Json::Array(Vec::new()),
    }
}

/// A context from a table.
///
/// # Errors
/// Every entry that is unknown, of the wrong type, or not shown in the record.
pub fn assemble(
    facts: &Map<String, Json>,
    schema: &Schema,
    now: NumericDate,
) -> Result<ExchangeContext, Vec<String>> {
    Assembler::new(schema).assemble(facts, now)
}

/// Makes contexts of many tables: what a realm has is looked up once.
#[derive(Debug)]
pub struct Assembler<'s> {
    schema: &'s Schema,
    /// The paths that a table may have.
    known: BTreeSet<String>,
    /// The clients, by every name of theirs.
    clients: HashMap<&'s str, &'s ClientSchema>,
}

impl<'s> Assembler<'s> {
    /// For one realm.
    #[must_use]
    pub fn new(schema: &'s Schema) -> Self {
        let names = schema
            .clients
            .iter()
            .flat_map(|client| client.names.iter().map(move |name| (&**name, client)));
        Self {
            schema,
            known: known_paths(schema),
            clients: names.collect(),
        }
    }

    /// See [`assemble`].
    ///
    /// # Errors
    /// Every entry that is unknown, of the wrong type, or not shown in the record.
    pub fn assemble(
        &self,
        facts: &Map<String, Json>,
        now: NumericDate,
    ) -> Result<ExchangeContext, Vec<String>> {
        assembled(self, facts, now)
    }
}

fn assembled(
    Assembler {
        schema,
        known,
        clients,
    }: &Assembler<'_>,
    facts: &Map<String, Json>,
    now: NumericDate,
) -> Result<ExchangeContext, Vec<String>> {
    let mut reader = Reader {
        facts,
        problems: Vec::new(),
    };
    for path in facts.keys().filter(|path| !known.contains(*path)) {
        reader.problems.push(format!("unknown attribute `{path}`"));
    }
    for (path, _) in facts
        .iter()
        .filter(|(_, value)| value.as_str() == Some(REDACTED))
    {
        reader
            .problems
            .push(format!("the value of `{path}` is redacted in this record"));
    }
    let now = NumericDate(reader.int(NOW).unwrap_or(now.0));
    let client = reader.client(schema, clients);
    let subject = reader.party(SUBJECT, schema, known, now);
    let acting = facts.keys().any(|path| path.starts_with("actor."));
    let actor = acting.then(|| reader.party(ACTOR, schema, known, now));
    let own = IssuerAlias::own().as_str().parse::<Issuer>().ok();
    let request = reader.request(schema);
    let peer = reader.parsed("conn.ip").unwrap_or(NOWHERE);
    let id: Option<RequestId> = "explain".parse().ok();
    match (reader.problems.is_empty(), client, subject, id.zip(own)) {
        (true, Some(client), Some(subject), Some((id, own))) => Ok(ExchangeContext::assemble(
            id,
            request,
            client,
            subject,
            actor.flatten(),
            own,
            peer,
            now,
        )),
        _ => Err(reader.problems),
    }
}

struct Reader<'a> {
    facts: &'a Map<String, Json>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn wrong(&mut self, path: &str, wanted: &str) {
        self.problems.push(format!("`{path}` must be {wanted}"));
    }

    fn text(&mut self, path: &str) -> Option<Arc<str>> {
        match self.facts.get(path) {
            None => None,
            Some(Json::String(text)) => Some(Arc::from(&**text)),
            Some(_) => {
                self.wrong(path, "a string");
                None
            }
        }
    }

    fn parsed<T: std::str::FromStr>(&mut self, path: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(path)?;
        text.parse()
            .map_err(|error| self.problems.push(format!("`{path}`: `{text}` {error}")))
            .ok()
    }

    fn int(&mut self, path: &str) -> Option<i64> {
        let value = self.facts.get(path)?;
        let number = value.as_i64();
        if number.is_none() {
            self.wrong(path, "a whole number");
        }
        number
    }

    fn set(&mut self, path: &str) -> Option<BTreeSet<Arc<str>>> {
        let value = self.facts.get(path)?;
        let items = strings(value).map(|items| items.into_iter().map(Arc::from).collect());
        if items.is_none() {
            self.wrong(path, "a list of strings");
        }
        items
    }

    /// A list of scope tokens, or one string of them as on the wire.
    fn scopes(&mut self, path: &str) -> Option<Scopes> {
        let value = self.facts.get(path)?;
        let scopes = match value {
            Json::String(text) => text.parse().ok(),
            other => strings(other).and_then(|items| Scopes::from_tokens(items).ok()),
        };
        if scopes.is_none() {
            self.wrong(path, "a scope");
        }
        scopes
    }

    fn family<'s>(
        &mut self,
        prefix: &str,
        types: impl Iterator<Item = (&'s Arc<str>, ClaimType)>,
        into: &mut Attributes,
    ) {
        for (name, ty) in types {
            let path = format!("{prefix}{name}");
            if let Some(value) = self.facts.get(&path) {
                match ty.read(value) {
                    Some(value) => drop(into.insert(Arc::clone(name), value)),
                    None => self.wrong(&path, &format!("of type {}", ty.name())),
                }
            }
        }
    }

    fn client(
        &mut self,
        schema: &Schema,
        clients: &HashMap<&str, &ClientSchema>,
    ) -> Option<ClientFacts> {
        let Some(name) = self.text("client.id") else {
            self.problems.push("`client.id` is missing".to_owned());
            return None;
        };
        let registered = clients.get(&*name);
        let id = match registered {
            Some(client) => client.id.clone(),
            None => self.parsed("client.id")?,
        };
        let names = self
            .set("client.names")
            .or_else(|| registered.map(|client| client.names.clone()));
        let mut attributes = registered
            .map(|client| client.attributes.clone())
            .unwrap_or_default();
        self.family(
            CLIENT_ATTRIBUTES,
            schema.client_attributes.iter().map(|(n, t)| (n, *t)),
            &mut attributes,
        );
        let asked = self.text("client.auth");
        let auth = match asked {
            None => {
                let registered = registered.and_then(|client| client.auth.first());
                let method = registered.or(schema.auth_methods.first());
                method.copied().unwrap_or("")
            }
            Some(text) => match schema.auth_methods.iter().find(|method| **method == &*text) {
                Some(method) => method,
                None => {
                    self.wrong(
                        "client.auth",
                        "a client authentication method of this build",
                    );
                    ""
                }
            },
        };
        Some(ClientFacts {
            names: names.unwrap_or_else(|| [name].into()),
            id,
            auth,
            attributes,
        })
    }

    fn issuer<'s>(&mut self, party: Stated, schema: &'s Schema) -> Option<&'s IssuerSchema> {
        let path = party.path("issuer");
        let alias = self.text(&path);
        let found = match &alias {
            Some(alias) => schema.issuer(alias),
            None if party.name == ACTOR.name => None,
            // The only issuer that is not ourselves.
            None => {
                let mut others = schema
                    .issuers
                    .iter()
                    .filter(|issuer| !issuer.alias.is_own());
                others.next().filter(|_| others.next().is_none())
            }
        };
        if found.is_none() {
            let aliases: Vec<&str> = schema
                .issuers
                .iter()
                .map(|issuer| issuer.alias.as_str())
                .collect();
            self.problems.push(format!(
                "`{path}` must be one of `{}`",
                aliases.join("`, `")
            ));
        }
        found
    }

    fn party(
        &mut self,
        stated: Stated,
        schema: &Schema,
        known: &BTreeSet<String>,
        now: NumericDate,
    ) -> Option<Party> {
        let issuer = self.issuer(stated, schema)?;
        for path in self.facts.keys() {
            if let Some(name) = path.strip_prefix(stated.claims)
                && !issuer.claims.contains_key(name)
                && known.contains(path)
            {
                let problem = format!("`{path}`: `{}` declares no such claim", issuer.alias);
                self.problems.push(problem);
            }
        }
        let scope = stated.path("scope");
        if !issuer.has_scope && self.facts.contains_key(&scope) {
            let problem = format!("`{scope}`: tokens of `{}` have no scope", issuer.alias);
            self.problems.push(problem);
        }
        let mut claims = Attributes::new();
        self.family(
            stated.claims,
            issuer.claims.iter().map(|(name, claim)| (name, claim.ty)),
            &mut claims,
        );
        for (name, tenants) in &issuer.tenants {
            let path = format!("{}{name}", stated.claims);
            match claims.get(name) {
                Some(value) if value.is_one_of(tenants) => {}
                Some(_) => self.wrong(&path, "a tenant of this realm: others' tokens are refused"),
                None => self.problems.push(format!("`{path}` is missing")),
            }
        }
        let token_type = match self.text(&stated.path("token_type")) {
            Some(text) => TokenType::from_name(&text).ok(),
            None => issuer.token_types.first().cloned(),
        };
        if token_type.is_none() {
            self.wrong(&stated.path("token_type"), "a token type");
        }
        let sub = stated.path("sub");
        let sub = if self.facts.contains_key(&sub) {
            self.parsed(&sub)
        } else {
            "someone".parse().ok()
        };
        let (chain, may_act) = match stated.name == SUBJECT.name {
            true => (self.chain(issuer, schema), self.may_act(issuer, schema)),
            // One that has either is no actor token.
            false => (Vec::new(), None),
        };
        Some(Party {
            issuer: issuer.alias.clone(),
            issuer_id: issuer.alias.as_str().parse::<Issuer>().ok()?,
            subject: sub?,
            token_type: token_type?,
            expires_at: self
                .int(stated.exp)
                .map(NumericDate)
                .or_else(|| Some(now.plus(self.int(&stated.path("expires_in"))?)))
                .unwrap_or_else(|| now.plus(3600)),
            scope: self.scopes(&scope),
            has_scope: issuer.has_scope,
            audience: self.set(&stated.path("aud")),
            client_id: self.text(&stated.path("client_id")),
            acr: self.text(&stated.path("acr")),
            amr: self.set(&stated.path("amr")),
            auth_time: self
                .int(&stated.path("auth_age"))
                .map(|age| NumericDate(now.0.saturating_sub(age))),
            chain,
            may_act,
            token_id: None,
            claims,
        })
    }

    fn request(&mut self, schema: &Schema) -> RequestFacts {
        let mut targets = Targets {
            resources: Vec::new(),
            audiences: self.set("audience").unwrap_or_default(),
        };
        let resources = self.facts.get("resource").map(strings);
        if let Some(None) = resources {
            self.wrong("resource", "a list of URIs");
        }
        for text in resources.flatten().unwrap_or_default() {
            match text.parse() {
                Ok(uri) => targets.resources.push(uri),
                Err(error) => self.problems.push(format!("`resource`: `{text}` {error}")),
            }
        }
        let requested = self.text("request.requested_token_type").and_then(|text| {
            let requested = TokenType::from_name(&text).ok();
            if requested.is_none() {
                self.wrong("request.requested_token_type", "a token type");
            }
            requested
        });
        // `scope` alone states what was asked for; a record has `request.scope` where it was sent.
        let scope = self.scopes("request.scope").or_else(|| {
            let effective = self.scopes("scope")?;
            let whole = self.scopes("subject.scope").unwrap_or_default();
            (effective != whole).then_some(effective)
        });
        let asked = self.text("request.grant_type");
        let grant_type = match &asked {
            None => schema.grant_types.first().copied(),
            Some(text) => schema
                .grant_types
                .iter()
                .copied()
                .find(|known| *known == &**text),
        };
        if grant_type.is_none() {
            self.wrong("request.grant_type", "a grant type of this build");
        }
        RequestFacts {
            grant_type: grant_type.unwrap_or(""),
            requested_token_type: requested,
            scope,
            targets,
        }
    }
}
