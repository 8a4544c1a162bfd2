//! `clients:` and `client_attributes:`.

mod auth;

pub(super) use auth::secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Sources;
use super::reader::Reader;
use crate::client::Client;
use crate::context::Attributes;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::oauth::claims::ClaimType;
use crate::oauth::id::ClientId;
use crate::oauth::scope::Scopes;
use crate::oauth::secret::Secret;
use crate::policy::schema::ClientSchema;
use crate::section::{Node, Section, Value};

type Registry = (
    Vec<Client>,
    Vec<ClientSchema>,
    BTreeMap<Arc<str>, ClaimType>,
);

/// What clients may call us in an assertion.
pub(super) struct Us {
    pub issuer: String,
    pub token_endpoint: String,
}

/// Reads the clients, what policies may know of them, and the types of their attributes.
pub(super) fn clients(root: &mut Section, us: Option<&Us>, reader: &mut Reader<'_>) -> Registry {
    let types = attribute_types(root, reader.problems);
    let mut clients = Vec::new();
    let mut names: BTreeMap<Arc<str>, Span> = BTreeMap::new();
    let entries = root
        .section("clients", reader.problems)
        .map(Section::into_entries)
        .unwrap_or_default();
    for (key, node) in entries {
        let Some(id) = crate::section::name::<ClientId>(&key, reader.problems) else {
            continue;
        };
        let Some(mut section) = node.section_of(&key, reader.problems) else {
            continue;
        };
        let mut own: BTreeSet<Arc<str>> = [Arc::clone(&key.name)].into();
        claim_name(&mut names, &key.name, &key.span, reader.problems);
        for node in section
            .take("identifiers")
            .map(Node::list)
            .unwrap_or_default()
        {
            if let Some(name) = node.text(reader.problems) {
                claim_name(&mut names, &name, &node.span, reader.problems);
                own.insert(name);
            }
        }
        let enabled = section.flag_or("enabled", true, reader.problems);
        let credentials = match section.require("auth", reader.problems) {
            Some(node) => auth::credentials(node, &key.name, us, reader),
            None => BTreeMap::new(),
        };
        let attributes = attributes(&mut section, &types, reader.problems);
        section.finish(reader.problems);
        clients.push(Client {
            id,
            names: own,
            attributes,
            enabled,
            credentials,
        });
    }
    let schemas = clients.iter().map(|client| ClientSchema {
        id: client.id.clone(),
        names: client.names.clone(),
        attributes: client.attributes.clone(),
        auth: client.credentials.keys().copied().collect(),
    });
    let schemas = schemas.collect();
    (clients, schemas, types)
}

/// Ids and identifiers are one space of names: a rule must mean one client by each.
fn claim_name(
    names: &mut BTreeMap<Arc<str>, Span>,
    name: &Arc<str>,
    span: &Span,
    problems: &mut Diagnostics,
) {
    if let Some(first) = names.insert(Arc::clone(name), span.clone()) {
        let problem =
            Diagnostic::error("E1006", format!("two clients have the name `{name}`")).at(span);
        problems.push(problem.related(&first, "first used here"));
    }
}

fn attribute_types(
    root: &mut Section,
    problems: &mut Diagnostics,
) -> BTreeMap<Arc<str>, ClaimType> {
    let mut types = BTreeMap::new();
    let Some(section) = root.section("client_attributes", problems) else {
        return types;
    };
    for (key, node) in section.into_entries() {
        if !is_word(&key.name) {
            problems.push(not_a_word(&key.name, &key.span));
        }
        if let Some(ty) = claim_type(&node, problems) {
            types.insert(key.name, ty);
        }
    }
    types
}

/// Whether a policy can write `name` behind a dot.
pub(super) fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(super) fn not_a_word(name: &str, span: &Span) -> Diagnostic {
    let message = format!("policies cannot name `{name}`: use letters, digits and `_`");
    Diagnostic::error("E1006", message).at(span)
}

pub(super) fn claim_type(node: &Node, problems: &mut Diagnostics) -> Option<ClaimType> {
    let text = node.text(problems)?;
    let found = ClaimType::NAMES
        .iter()
        .find(|(name, _)| *name == &*text)
        .map(|(_, ty)| *ty);
    if found.is_none() {
        let problem =
            Diagnostic::error("E1006", format!("`{text}` is no type of claim")).at(&node.span);
        problems.push(problem.correct(&text, ClaimType::NAMES.iter().map(|(name, _)| *name)));
    }
    found
}

fn attributes(
    section: &mut Section,
    types: &BTreeMap<Arc<str>, ClaimType>,
    problems: &mut Diagnostics,
) -> Attributes {
    let mut out = Attributes::new();
    let Some(section) = section.section("attributes", problems) else {
        return out;
    };
    for (key, node) in section.into_entries() {
        let Some(ty) = types.get(&key.name) else {
            let message = format!("client attribute `{}` is not declared", key.name);
            let problem = Diagnostic::error("E1002", message).at(&key.span);
            let problem = problem.suggest(&key.name, types.keys().map(|name| &**name));
            problems.push(
                problem.help("declare it in `client_attributes:`, for example `tier: string`"),
            );
            continue;
        };
        let json = json(&node, *ty);
        match json.and_then(|json| ty.read(&json)) {
            Some(value) => drop(out.insert(key.name, value)),
            None => {
                problems.push(
                    Diagnostic::error("E1004", format!("expected a value of type {}", ty.name()))
                        .at(&node.span),
                );
            }
        }
    }
    out
}

fn json(node: &Node, ty: ClaimType) -> Option<serde_json::Value> {
    match (&node.value, ty) {
        (Value::Scalar(text), ClaimType::Int) => text.parse::<i64>().ok().map(Into::into),
        (Value::Scalar(text), ClaimType::Bool) => text.parse::<bool>().ok().map(Into::into),
        (Value::Scalar(text), _) => Some((**text).into()),
        (Value::List(items), ClaimType::StringSet) => items
            .iter()
            .map(|item| json(item, ClaimType::String))
            .collect(),
        _ => None,
    }
}

/// What the secret keys of a section gave.
pub(super) enum Found {
    /// None was written.
    None,
    /// This one.
    Secret(Secret),
    /// One was written that could not be had; it was reported.
    Broken,
}

/// `secret_file` or `secret_env`. A secret is never written in the file itself.
pub(super) fn secret_from(
    section: &mut Section,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Found {
    if let Some(node) = section.take_forbidden("secret") {
        let problem =
            Diagnostic::error("E1006", "a secret does not belong in this file").at(&node.span);
        problems.push(problem.help("use `secret_file: PATH` or `secret_env: NAME`"));
        return Found::Broken;
    }
    let file = section.take("secret_file");
    let environment = section.take("secret_env");
    let secret = match (&file, &environment) {
        (None, None) => return Found::None,
        (Some(node), None) => node
            .text(problems)
            .and_then(|name| sources.secret(&name, &node.span, problems)),
        (None, Some(node)) => node
            .text(problems)
            .and_then(|name| sources.environment(&name, &node.span, problems)),
        (Some(_), Some(node)) => {
            let message = "give one of `secret_file` and `secret_env`";
            problems.push(Diagnostic::error("E1005", message).at(&node.span));
            None
        }
    };
    secret.map_or(Found::Broken, Found::Secret)
}

/// A list of scope tokens.
pub(super) fn scopes(node: Node, problems: &mut Diagnostics) -> Option<Scopes> {
    let span = node.span.clone();
    let texts: Vec<Arc<str>> = node
        .list()
        .iter()
        .filter_map(|node| node.text(problems))
        .collect();
    match Scopes::from_tokens(texts.iter().map(|text| &**text)) {
        Ok(scopes) => Some(scopes),
        Err(error) => {
            problems
                .push(Diagnostic::error("E1006", format!("this list of scopes {error}")).at(&span));
            None
        }
    }
}
