//! Claims → party: the rules that hold however a token was verified (RFC 7519 §4.1, RFC 8725 §3).

use super::kind;
use super::{AcceptedType, AudienceRule, Expectation, TokenError, TrustedIssuer};
use crate::context::{Attributes, Hop, MAX_DEPTH, MayAct, Party};
use crate::oauth::NumericDate;
use crate::oauth::claims::{ClaimError, ClaimType, Claims, Identity, is_name, strings};
use crate::oauth::scope::Scopes;
use crate::oauth::token_type::TokenType;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where claims come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// A signed token: `exp` and `aud` are required.
    Jwt,
    /// The same, and its header says that it is an access token.
    AccessJwt,
    /// An introspection response, where RFC 7662 requires neither.
    Introspection,
}

/// Checks the claims of a verified token and reads the party from them.
pub(super) fn party(
    issuer: &TrustedIssuer,
    accepted: &AcceptedType,
    claims: &Claims,
    source: Source,
    expectation: &Expectation<'_>,
) -> Result<Party, TokenError> {
    let says_access = match source {
        Source::AccessJwt => true,
        Source::Jwt => false,
        // Another `token_type` than Bearer was refused before.
        Source::Introspection => claims.has("token_type"),
    };
    kind::check(
        claims,
        says_access,
        expectation.token_type,
        expectation.role,
    )?;
    let now = expectation.now;
    let expires_at = match (claims.date("exp")?, source, issuer.without_exp) {
        (Some(at), _, _) => at,
        (None, Source::Introspection, Some(seconds)) => now.plus(seconds),
        (None, _, _) => return Err(missing("exp")),
    };
    // No leeway here: what has expired for us must not be traded for something that has not.
    if expires_at <= now {
        return Err(TokenError::Expired);
    }
    for name in ["nbf", "iat", "auth_time"] {
        not_in_the_future(claims.date(name)?, name, now, issuer.leeway)?;
    }
    // Some endpoints write an empty list for "we do not say".
    let unsaid = source == Source::Introspection && is_empty_list(claims, "aud");
    let audience = if unsaid { None } else { claims.strings("aud")? };
    let client_id = client(issuer, claims)?;
    let rule = &accepted.audience;
    // A refresh token is for its issuer; whom it was issued to is who may bring it (RFC 6749 §6).
    let to_client = accepted.token_type == TokenType::RefreshToken && *rule == AudienceRule::Client;
    let is_clients = client_id.is_some_and(|id| expectation.client_names.contains(id));
    match (&audience, source, rule) {
        _ if to_client && is_clients => {}
        _ if to_client => return Err(TokenError::WrongAudience),
        (None, Source::Jwt | Source::AccessJwt, _) => return Err(missing("aud")),
        (Some(audience), _, _) if !addressed(rule, audience, expectation) => {
            return Err(TokenError::WrongAudience);
        }
        (None, Source::Introspection, rule) if *rule != AudienceRule::Any => {
            return Err(TokenError::WrongAudience);
        }
        _ => {}
    }
    if accepted.token_type == TokenType::IdToken && *rule == AudienceRule::Client {
        authorized_party(claims, audience.as_deref().unwrap_or_default(), expectation)?;
    }
    let subject = claims.string("sub")?.ok_or_else(|| missing("sub"))?;
    let attributes = declared(issuer, claims)?;
    tenant(issuer, &attributes)?;
    Ok(Party {
        issuer: issuer.alias.clone(),
        issuer_id: issuer.id.clone(),
        subject: subject
            .parse()
            .map_err(|_| malformed("sub", "is not a usable subject"))?,
        token_type: expectation.token_type.clone(),
        expires_at,
        scope: scope(accepted, claims)?,
        has_scope: issuer.has_scope(),
        audience: audience.map(|list| list.into_iter().map(Arc::from).collect()),
        client_id: client_id.map(Arc::from),
        acr: claims.string("acr")?.map(Arc::from),
        amr: amr(claims)?,
        auth_time: claims.date("auth_time")?,
        chain: chain(issuer, claims, expectation)?,
        may_act: may_act(issuer, claims, expectation)?,
        token_id: claims.string("jti")?.map(str::to_owned),
        claims: attributes,
    })
}

/// The actors of `act` (RFC 8693 §4.1). One that says no `iss` has that of the token. One that says that of
/// another issuer of ours does so with that issuer's leave only: carried on, it would stand under our name.
fn chain(
    issuer: &TrustedIssuer,
    claims: &Claims,
    expectation: &Expectation<'_>,
) -> Result<Vec<Hop>, TokenError> {
    let hop = |actor: Identity| {
        let iss = actor.iss.unwrap_or_else(|| Arc::from(issuer.id.as_str()));
        let of = expectation.issuers.alias_of(&iss);
        if let Some(other) = expectation.issuers.known(&iss)
            && other.alias != issuer.alias
            && !issuer.alias.is_own()
            && !issuer.act_namespace.contains(&other.alias)
        {
            return Err(malformed(
                "act",
                "names an actor of an issuer for which it cannot speak",
            ));
        }
        Ok(Hop {
            issuer: of,
            iss,
            sub: actor.sub,
            client_id: actor.client_id,
        })
    };
    claims.actors(MAX_DEPTH)?.into_iter().map(hop).collect()
}

fn may_act(
    issuer: &TrustedIssuer,
    claims: &Claims,
    expectation: &Expectation<'_>,
) -> Result<Option<MayAct>, TokenError> {
    Ok(claims.may_act()?.map(|identity| MayAct {
        issuer: identity
            .iss
            .as_ref()
            .map(|iss| expectation.issuers.alias_of(iss)),
        identity,
        within: (issuer.alias.clone(), issuer.id.clone()),
        namespace: issuer.may_act_namespace.clone(),
    }))
}

/// Some issuers write an empty list for "we do not say".
fn amr(claims: &Claims) -> Result<Option<BTreeSet<Arc<str>>>, TokenError> {
    if is_empty_list(claims, "amr") {
        return Ok(None);
    }
    let strings = claims.strings("amr")?;
    Ok(strings.map(|list| list.into_iter().map(Arc::from).collect()))
}

fn is_empty_list(claims: &Claims, name: &str) -> bool {
    let value = claims.at(&format!("/{name}"));
    value
        .and_then(serde_json::Value::as_array)
        .is_some_and(Vec::is_empty)
}

fn missing(claim: &str) -> TokenError {
    malformed(claim, "is missing")
}

fn malformed(claim: &str, problem: &'static str) -> TokenError {
    TokenError::Claim(ClaimError {
        claim: claim.to_owned(),
        problem,
    })
}

fn not_in_the_future(
    date: Option<NumericDate>,
    name: &'static str,
    now: NumericDate,
    leeway: i64,
) -> Result<(), TokenError> {
    match date {
        Some(date) if date > now.plus(leeway) => Err(TokenError::NotYet(name)),
        _ => Ok(()),
    }
}

/// Byte-equal to one that the rule names; never by prefix or substring.
fn addressed(rule: &AudienceRule, audience: &[&str], expectation: &Expectation<'_>) -> bool {
    match rule {
        AudienceRule::Any => true,
        AudienceRule::Client => audience
            .iter()
            .any(|name| expectation.client_names.contains(*name)),
        AudienceRule::Own => audience.contains(&expectation.issuers.own().as_str()),
        AudienceRule::OneOf(names) => audience.iter().any(|name| names.contains(*name)),
    }
}

/// The client that the token was issued to: the first of the issuer's claims for it that is there. The
/// others are of the right type all the same.
fn client<'a>(issuer: &TrustedIssuer, claims: &'a Claims) -> Result<Option<&'a str>, TokenError> {
    let mut client = None;
    for name in &issuer.client_claims {
        let said = claims.string(name)?;
        if said.is_some_and(|text| !is_name(text)) {
            return Err(malformed(name, "is no usable name"));
        }
        client = client.or(said);
    }
    Ok(client)
}

/// An ID token for several, or one that names the party that it was issued to, was issued to the client
/// that brings it (OpenID Connect Core §3.1.3.7, steps 4 and 5).
fn authorized_party(
    claims: &Claims,
    audience: &[&str],
    expectation: &Expectation<'_>,
) -> Result<(), TokenError> {
    match claims.string("azp")? {
        Some(azp) if expectation.client_names.contains(azp) => Ok(()),
        None if audience.len() == 1 => Ok(()),
        _ => Err(TokenError::WrongAudience),
    }
}

/// A token of a shared issuer is of one of the realm's tenants. Of a claim with several values, all are.
fn tenant(issuer: &TrustedIssuer, attributes: &Attributes) -> Result<(), TokenError> {
    for (claim, tenants) in &issuer.tenants {
        let known = attributes
            .get(claim)
            .is_some_and(|value| value.is_one_of(tenants));
        if !known {
            return Err(TokenError::WrongTenant(Arc::clone(claim)));
        }
    }
    Ok(())
}

/// The scope claim: one string with spaces (RFC 8693 §4.2), or an array of tokens as some issuers write it.
fn scope(accepted: &AcceptedType, claims: &Claims) -> Result<Option<Scopes>, TokenError> {
    let Some(name) = &accepted.scope_claim else {
        return Ok(None);
    };
    let value = match claims.at(&format!("/{}", name.replace('~', "~0").replace('/', "~1"))) {
        None => return Ok(None),
        Some(value) => value,
    };
    let scopes = match value {
        serde_json::Value::String(text) => text.parse().ok(),
        other => strings(other).and_then(|tokens| Scopes::from_tokens(tokens).ok()),
    };
    scopes
        .map(Some)
        .ok_or_else(|| malformed(name, "is not a scope"))
}

/// The declared claims. A required one that is missing, or one of the wrong type, refuses the token.
fn declared(issuer: &TrustedIssuer, claims: &Claims) -> Result<Attributes, TokenError> {
    let mut out = Attributes::new();
    for (name, declaration) in &issuer.claims {
        match claims.at(&declaration.pointer) {
            None if declaration.optional => {}
            None => return Err(missing(name)),
            Some(value) => {
                let typed = declaration.ty.read(value).ok_or_else(|| {
                    let problem = match declaration.ty {
                        ClaimType::String => "is not a string",
                        ClaimType::Int => "is not a whole number",
                        ClaimType::Bool => "is not a truth value",
                        ClaimType::Uri => "is not a canonical URI",
                        ClaimType::StringSet => "is not a list of strings",
                    };
                    malformed(name, problem)
                })?;
                out.insert(Arc::clone(name), typed);
            }
        }
    }
    Ok(out)
}
