//! A request as the `given` block of a test, as short as it can be.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::context::ExchangeContext;
use crate::diagnostic::Span;
use crate::policy::facts::{ACTOR_EXP, NOW, PARTIES, SUBJECT_EXP, Stated, known_paths};
use crate::policy::schema::{ATTRIBUTES, AttributeRef, Schema, Type};
use crate::policy::syntax::ast::{At, Duration, Field, GivenValue, Literal, Spanned, Test, Text};
use crate::policy::syntax::word;

/// All that policies can see of a request, and when its tokens end.
pub(super) fn table(context: &ExchangeContext, schema: &Schema) -> Map<String, Json> {
    let fixed = ATTRIBUTES.iter().map(AttributeRef::Fixed);
    let claims = schema
        .issuers
        .iter()
        .flat_map(|issuer| issuer.claims.keys());
    let claims = claims.flat_map(|name| {
        [
            AttributeRef::Claim(Arc::clone(name)),
            AttributeRef::ActorClaim(Arc::clone(name)),
        ]
    });
    let of_client = schema.client_attributes.keys();
    let of_client = of_client.map(|name| AttributeRef::ClientAttribute(Arc::clone(name)));
    let mut table: Map<String, Json> = fixed
        .chain(claims)
        .chain(of_client)
        .filter_map(|attribute| Some((attribute.path(), attribute.get(context)?.to_json())))
        .collect();
    table.insert(SUBJECT_EXP.to_owned(), context.subject.expires_at.0.into());
    if let Some(actor) = &context.actor {
        table.insert(ACTOR_EXP.to_owned(), actor.expires_at.0.into());
    }
    table
}

/// Every setting that makes a request with this table.
///
/// # Errors
/// When something of it cannot be written.
pub(super) fn settings(table: &Map<String, Json>, schema: &Schema) -> Result<Vec<Field>, String> {
    let mut settings = Vec::new();
    let add = |settings: &mut Vec<Field>, name: &str, path: &str| {
        if let Some(json) = table.get(path) {
            settings.push(field(name, said(path, json)?));
        }
        Ok::<(), String>(())
    };
    add(&mut settings, "client.id", "client.id")?;
    add(&mut settings, "client.auth", "client.auth")?;
    for party in PARTIES {
        settings.extend(self::party(party, table, schema)?);
    }
    for path in ["resource", "audience"] {
        let asked = table.get(path).and_then(Json::as_array);
        if asked.is_some_and(|set| !set.is_empty()) {
            add(&mut settings, path, path)?;
        }
    }
    add(&mut settings, "scope", "request.scope")?;
    for path in [
        "request.requested_token_type",
        "request.grant_type",
        "conn.ip",
        NOW,
    ] {
        add(&mut settings, path, path)?;
    }
    Ok(settings)
}

/// What a party's token has; the claims that have the name of something else stand by themselves.
fn party(party: Stated, table: &Map<String, Json>, schema: &Schema) -> Result<Vec<Field>, String> {
    let Some(issuer) = party.issuer(table, schema) else {
        return Ok(Vec::new());
    };
    let mut fields = Vec::new();
    for name in [
        "sub",
        "scope",
        "aud",
        "acr",
        "amr",
        "auth_age",
        "expires_in",
        "client_id",
        "token_type",
    ] {
        let path = party.path(name);
        if let Some(json) = table.get(&path) {
            fields.push(field(name, said(&path, json)?));
        }
    }
    let chain = table.get(&party.path("chain")).and_then(Json::as_array);
    // The last one acted first, and stands within all the others.
    let nested = chain.into_iter().flatten().rev().fold(None, |inner, hop| {
        let mut hop = hop.clone();
        if let (Some(object), Some(inner)) = (hop.as_object_mut(), inner) {
            object.insert("act".to_owned(), inner);
        }
        Some(hop)
    });
    for (name, json) in [
        ("act", nested.as_ref()),
        ("may_act", table.get(&party.path("may_act"))),
    ] {
        if let Some(json) = json {
            fields.push(field(name, said(&party.path(name), json)?));
        }
    }
    let known = known_paths(schema);
    let mut apart = Vec::new();
    for name in issuer.claims.keys() {
        let path = format!("{}{name}", party.claims);
        let Some(json) = table.get(&path) else {
            continue;
        };
        let value = said(&path, json)?;
        if !known.contains(&party.path(name)) {
            fields.push(field(name, value));
        } else if word::is_path(&path) {
            apart.push(field(&path, value));
        } else {
            return Err(cannot(&path));
        }
    }
    let alias = issuer.alias.as_str();
    if !word::is_name(alias) {
        return Err(cannot(&party.path("issuer")));
    }
    let whole = GivenValue::Party(text(alias), fields);
    Ok([vec![field(party.name, whole)], apart].concat())
}

fn cannot(path: &str) -> String {
    format!("a test cannot say this of `{path}`")
}

/// The value of a path, in its own unit.
fn said(path: &str, json: &Json) -> Result<GivenValue, String> {
    let attribute = ATTRIBUTES.iter().find(|attribute| attribute.path == path);
    let value = match (attribute.map(|attribute| attribute.ty), json.as_i64()) {
        (Some(Type::Duration), Some(seconds)) => (seconds >= 0).then(|| duration(seconds)),
        (Some(Type::Instant), Some(seconds)) => instant(seconds),
        _ => value(json),
    };
    value.ok_or_else(|| cannot(path))
}

fn instant(seconds: i64) -> Option<GivenValue> {
    let written = jiff::Timestamp::from_second(seconds).ok()?.to_string();
    let literal = Literal::Instant(seconds, Arc::from(written));
    Some(GivenValue::Literal(literal))
}

/// So many seconds, in the largest unit that has no rest.
pub(super) fn duration(seconds: i64) -> GivenValue {
    GivenValue::Literal(Literal::Duration(Duration::of(seconds)))
}

/// A value as tests write it, if they can.
pub(super) fn value(json: &Json) -> Option<GivenValue> {
    Some(match json {
        Json::Array(items) => {
            let items: Option<Vec<Literal>> = items.iter().map(literal).collect();
            GivenValue::List(items?.into_iter().map(spanned).collect())
        }
        Json::Object(object) => {
            // Of an actor, who it is comes first, and those before it last.
            let mut members: Vec<(&String, &Json)> = object.iter().collect();
            let rank = |name: &str| match name {
                "issuer" => 0,
                "iss" => 1,
                "sub" => 2,
                "act" => 4,
                _ => 3,
            };
            members.sort_by_key(|(name, _)| rank(name));
            let fields = members.into_iter().map(|(name, json)| {
                let value = match json {
                    Json::String(alias) if name == "issuer" && word::is_code(alias) => {
                        GivenValue::Word(Arc::from(&**alias))
                    }
                    json => value(json)?,
                };
                word::is_string(name).then(|| field(name, value))
            });
            GivenValue::Fields(fields.collect::<Option<_>>()?)
        }
        other => GivenValue::Literal(literal(other)?),
    })
}

fn literal(json: &Json) -> Option<Literal> {
    match json {
        Json::String(text) if word::is_string(text) => Some(Literal::String(Arc::from(&**text))),
        Json::Number(number) => number.as_i64().map(Literal::Int),
        Json::Bool(truth) => Some(Literal::Bool(*truth)),
        Json::Null | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Leaves out what goes without saying: what can go while the request stays the `same`. The client and whose
/// token it is always stay.
pub(super) fn shorten(test: &mut Test, same: impl Fn(&Test) -> bool) {
    for place in (0..test.given.len()).rev() {
        let stays = |field: &Field| ["client.id", "subject"].contains(&&*field.name.value);
        if test.given.get(place).is_some_and(|field| !stays(field)) {
            attempt(test, &same, |test| drop(test.given.remove(place)));
        }
    }
    for place in 0..test.given.len() {
        let fields = |test: &Test| match test.given.get(place).map(|field| &field.value.value) {
            Some(GivenValue::Party(_, fields)) => fields.len(),
            _ => 0,
        };
        for index in (0..fields(test)).rev() {
            attempt(test, &same, |test| {
                let field = test
                    .given
                    .get_mut(place)
                    .map(|field| &mut field.value.value);
                if let Some(GivenValue::Party(_, fields)) = field {
                    fields.remove(index);
                }
            });
        }
    }
}

fn attempt(test: &mut Test, same: impl Fn(&Test) -> bool, change: impl FnOnce(&mut Test)) {
    let before = test.given.clone();
    change(test);
    if !same(test) {
        test.given = before;
    }
}

/// A setting.
pub(super) fn field(name: &str, value: GivenValue) -> Field {
    Field {
        name: text(name),
        value: spanned(value),
    }
}

/// Text that stands nowhere yet.
pub(super) fn text(text: &str) -> Text {
    spanned(Arc::from(text))
}

/// The same of anything.
pub(super) fn spanned<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        span: at().0,
    }
}

/// No place.
pub(super) fn at() -> At {
    At(Span::new(&Arc::from(""), 0..0))
}
