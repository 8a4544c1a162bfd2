//! A recorded request as another configuration would see it: the tokens are the same, but what is read of
//! them, who the clients are and whom it trusts is its own.

use serde_json::{Map, Value as Json};

use super::{PARTIES, REDACTED, Stated, is_always};
use crate::oauth::error::ErrorCode;
use crate::oauth::token_type::TokenType;
use crate::policy::schema::{CLIENT_ATTRIBUTES, IssuerSchema, Schema};

/// Why a policy is not asked about a recorded request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotAsked {
    /// It is refused before that: the code and the reason in words.
    Refused(ErrorCode, String),
    /// The record does not say enough.
    Unknown(String),
}

/// The table that a configuration would make of a request that was recorded under another.
///
/// # Errors
/// When the request does not get to the policy, or nobody can tell.
pub fn refit(facts: &Map<String, Json>, schema: &Schema) -> Result<Map<String, Json>, NotAsked> {
    let hidden = |(path, value): (&String, &Json)| {
        (value.as_str() == Some(REDACTED)).then(|| format!("`{path}` is redacted"))
    };
    if let Some(reason) = facts.iter().find_map(hidden) {
        return Err(NotAsked::Unknown(reason));
    }
    let mut facts = facts.clone();
    client(&mut facts, schema)?;
    for party in PARTIES {
        if facts.contains_key(&party.path("issuer")) {
            self::party(&mut facts, party, schema)?;
        }
    }
    Ok(facts)
}

/// The client has the names and attributes of its registration here.
fn client(facts: &mut Map<String, Json>, schema: &Schema) -> Result<(), NotAsked> {
    let text = |path: &str| facts.get(path).and_then(Json::as_str);
    let Some(id) = text("client.id") else {
        return Err(NotAsked::Unknown("`client.id` is not in it".to_owned()));
    };
    let named = |client: &&_| {
        let client: &crate::policy::schema::ClientSchema = client;
        client.id.as_str() == id
    };
    let Some(client) = schema.clients.iter().find(named) else {
        let reason = format!("client `{id}` is not registered");
        return Err(NotAsked::Refused(ErrorCode::InvalidClient, reason));
    };
    if let Some(method) = text("client.auth")
        && !client.auth.contains(&method)
    {
        let reason = format!("client `{id}` may not authenticate with {method}");
        return Err(NotAsked::Refused(ErrorCode::InvalidClient, reason));
    }
    facts.retain(|path, _| path != "client.names" && !path.starts_with(CLIENT_ATTRIBUTES));
    Ok(())
}

/// A token is read as its issuer is configured here.
fn party(facts: &mut Map<String, Json>, party: Stated, schema: &Schema) -> Result<(), NotAsked> {
    let refused = |reason| Err(NotAsked::Refused(ErrorCode::InvalidRequest, reason));
    let path = party.path("issuer");
    let alias = facts.get(&path).and_then(Json::as_str).unwrap_or_default();
    let Some(issuer) = schema.issuer(alias) else {
        return refused(format!("issuer `{alias}` is not trusted"));
    };
    let ty = facts.get(&party.path("token_type")).and_then(Json::as_str);
    if let Some(ty) = ty.and_then(|ty| TokenType::from_name(ty).ok())
        && !issuer.token_types.contains(&ty)
    {
        let name = ty.name();
        return refused(format!("issuer `{alias}` gives no token of type {name}"));
    }
    tenants(facts, party, issuer)?;
    let declared = |path: &str| {
        let name = path.strip_prefix(party.claims);
        name.is_none_or(|name| issuer.claims.contains_key(name))
    };
    let scope = party.path("scope");
    facts.retain(|path, _| declared(path) && (issuer.has_scope || *path != scope));
    Ok(())
}

fn tenants(
    facts: &Map<String, Json>,
    party: Stated,
    issuer: &IssuerSchema,
) -> Result<(), NotAsked> {
    for (name, tenants) in &issuer.tenants {
        let path = format!("{}{name}", party.claims);
        let Some(value) = facts.get(&path) else {
            return Err(NotAsked::Unknown(format!("`{path}` is not in it")));
        };
        let claim = issuer.claims.get(name);
        let value = claim.and_then(|claim| claim.ty.read(value));
        if !value.is_some_and(|value| value.is_one_of(tenants)) {
            let reason = format!("`{path}` is no tenant of this realm");
            return Err(NotAsked::Refused(ErrorCode::InvalidRequest, reason));
        }
    }
    Ok(())
}

/// Whether a record may lack what the request had: only what rules asked for was recorded. Some things
/// follow from others, and a chain that is not there is empty.
#[must_use]
pub fn unrecorded(path: &str, facts: &Map<String, Json>) -> bool {
    const FOLLOW: [&str; 3] = ["subject.chain", "subject.chain.depth", "subject.expires_in"];
    let of_request = ["subject.", "actor.", "conn."];
    let acted = !path.starts_with("actor.") || facts.contains_key("actor.issuer");
    !facts.contains_key(path)
        && !FOLLOW.contains(&path)
        && acted
        && of_request.iter().any(|begins| path.starts_with(begins))
        && !is_always(path)
}
