//! The root file, and the realm that it describes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clients::Us;
use super::reader::Reader;
use super::{Sources, clients, issuers, keys, outbound, policies, processors, settings};
use crate::client::{ClientSet, METHODS};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::exchange::GRANTS;
use crate::oauth::id::{Issuer, RealmName};
use crate::oauth::target::{Audience, RegisteredResource, ResourceRegistry};
use crate::oauth::token_type::TokenType;
use crate::oauth::uri::Uri;
use crate::policy::facts;
use crate::policy::schema::{ProcessorSchema, Schema};
use crate::provider::Material;
use crate::section::Section;
use crate::services::Services;
use crate::snapshot::{Realm, RulePlace, Settings, Snapshot};
use crate::store::Limits;

/// What a root file says.
pub(super) struct Parts {
    pub realm: Realm,
    pub settings: Settings,
}

/// Reads the whole file; `None` goes with at least one problem.
pub(super) fn snapshot(
    mut root: Section,
    sources: &mut Sources,
    services: &Services,
    current: Option<&Snapshot>,
    problems: &mut Diagnostics,
) -> Option<Parts> {
    if let Some(node) = root.take("realms") {
        let problem = Diagnostic::error("E1008", "`realms:` (several realms) is not in this build")
            .at(&node.span);
        problems.push(problem.help("write the one realm's keys in this file"));
    }
    let read = settings::settings(&mut root, sources, problems);
    let services = outbound::services(&mut root, sources, services, current, problems);
    let defaults = processors::defaults(&mut root, problems);
    let realm = realm(
        &mut root,
        read.settings.as_ref(),
        &defaults,
        sources,
        &services,
        current,
        read.redact,
        problems,
    );
    if let Some(settings) = &read.settings {
        settings::audit_file(settings, read.audit_at.as_ref(), sources, problems);
    }
    if let (Some(realm), Some(settings), Some(at)) = (&realm, &read.settings, &read.behind_proxy)
        && settings.trusted_proxies.is_empty()
        && realm.policies.mentions("conn.ip")
    {
        let message = "policies test `conn.ip`, which is the proxy's address for every request";
        let problem = Diagnostic::warning("E1019", message).at(at);
        let help = "say whose X-Forwarded-For is believed: `trusted_proxies: [10.0.0.0/8]`";
        problems.push(problem.help(help));
    }
    root.finish(problems);
    Some(Parts {
        realm: realm?,
        settings: read.settings?,
    })
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one load, each named"
)]
fn realm(
    root: &mut Section,
    settings: Option<&Settings>,
    defaults: &BTreeMap<&'static str, Section>,
    sources: &mut Sources,
    services: &Services,
    current: Option<&Snapshot>,
    redact: Vec<(String, Span)>,
    problems: &mut Diagnostics,
) -> Option<Realm> {
    let (before, _) = problems.counts();
    let issuer = own_issuer(root, problems);
    let token_path = token_path(root, issuer.as_ref(), problems);
    let now = services.clock.now();
    let own = keys::signing_keys(root, settings, sources, now, current, problems);
    let keys = own.as_ref().map(|own| &own.keys);
    let resources = resources(root, problems);
    let us = issuer.as_ref().map(|(issuer, uri)| Us {
        issuer: issuer.as_str().to_owned(),
        token_endpoint: format!("{}{token_path}", uri.origin()),
    });
    let known: Vec<_> = current
        .iter()
        .flat_map(|current| current.realm.known_remotes())
        .collect();
    let name = RealmName::default();
    let mut reader = Reader {
        sources,
        services,
        realm: &name,
        known: &known,
        problems,
    };
    let (clients, client_schemas, client_attributes) =
        clients::clients(root, us.as_ref(), &mut reader);
    let (id, uri) = issuer.unzip();
    let issuers = issuers::issuers(root, id.as_ref().zip(keys), &mut reader);
    let limits = replay(root, problems);
    let clients = ClientSet::new(clients, Arc::clone(&services.single_use), limits);
    let material = id.as_ref().zip(keys).map(|(issuer, keys)| Material {
        services,
        issuer,
        keys,
    });
    let processors = processors::processors(root, defaults, material.as_ref(), problems);
    // Without the names of a sound realm, every rule would be at fault for somebody else's mistake.
    let sound = problems.counts().0 == before;
    let files = policies::files(root, sources, problems);
    let own_types: Vec<TokenType> = issuers
        .iter()
        .flat_map(|(_, schemas)| schemas.iter().flat_map(|schema| &schema.token_types))
        .filter(|token_type| matches!(token_type, TokenType::Other(_)))
        .cloned()
        .collect();
    let schema = Schema {
        issuers: issuers
            .as_ref()
            .map(|(_, schemas)| schemas.clone())
            .unwrap_or_default(),
        clients: client_schemas,
        client_attributes,
        auth_methods: METHODS.iter().map(|method| method.name).collect(),
        grant_types: GRANTS.iter().map(|grant| grant.name).collect(),
        processors: processors
            .iter()
            .map(|(id, p)| (Arc::from(id.as_str()), taking(&p.schema, &own_types)))
            .collect(),
        resources,
    };
    if !sound {
        return None;
    }
    redactable(&redact, &schema, problems);
    let (policies, trials) = policies::compile(&files, &schema, &processors, problems)?;
    let (issuer, uri, own, (issuers, _)) = (id?, uri?, own?, issuers?);
    let metadata = metadata(&issuer, &uri, &token_path, &clients);
    let text = sources.source_text();
    let rules = policies.rules().iter().map(|r| (&r.id, &r.span, &r.doc));
    let denies = policies.denies().iter().map(|d| (&d.id, &d.span, &d.doc));
    let places = rules.chain(denies).map(|(id, span, doc)| {
        let place = RulePlace {
            at: text.place(span),
            doc: doc.clone(),
        };
        (id.clone(), place)
    });
    Some(Realm {
        name,
        places: places.collect(),
        metadata_path: format!(
            "/.well-known/oauth-authorization-server{}",
            uri.path().trim_end_matches('/')
        ),
        jwks_path: jwks_path(&uri),
        jwks: own.keys.jwks().to_string(),
        jwks_max_age: own.max_age,
        net: services.net.clone(),
        issuers,
        clients,
        keys: own.keys,
        ephemeral: own.ephemeral,
        processors,
        policies,
        trials,
        schema,
        metadata,
        token_path,
        issuer,
        redact: redact.into_iter().map(|(path, _)| path).collect(),
    })
}

/// A type of the realm's own is verified as a `jwt` is, and goes wherever a `jwt` goes.
fn taking(processor: &ProcessorSchema, own_types: &[TokenType]) -> ProcessorSchema {
    let mut processor = processor.clone();
    if processor.accepts.contains(&TokenType::Jwt) {
        processor.accepts.extend_from_slice(own_types);
    }
    processor
}

fn own_issuer(root: &mut Section, problems: &mut Diagnostics) -> Option<(Issuer, Uri)> {
    let node = root.require("issuer", problems)?;
    let issuer: Issuer = node.parse(problems)?;
    let uri: Uri = node.parse(problems)?;
    // RFC 8414 §2: https, no query, no fragment. Metadata would not be found under another spelling.
    let loopback = uri.scheme() == "http" && uri.authority().is_some_and(is_loopback);
    if (uri.scheme() != "https" && !loopback) || uri.has_query() || !uri.is_canonical() {
        let message = "our issuer identifier must be a canonical `https` URI without a query (RFC 8414 section 2)";
        let problem = Diagnostic::error("E1006", message).at(&node.span);
        problems.push(match uri.is_canonical() {
            true => problem
                .help("it is only a name: the listener may still speak plain HTTP on loopback"),
            false => problem.rewrite(issuer.as_str(), uri.canonical()),
        });
        return None;
    }
    Some((issuer, uri))
}

fn is_loopback(authority: &str) -> bool {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn token_path(
    root: &mut Section,
    issuer: Option<&(Issuer, Uri)>,
    problems: &mut Diagnostics,
) -> String {
    let base = issuer.map_or("", |(_, uri)| uri.path().trim_end_matches('/'));
    let default = format!("{base}/token");
    let Some(node) = root.take("token_path") else {
        return default;
    };
    let Some(text) = node.text(problems) else {
        return default;
    };
    let canonical = format!("https://host{text}")
        .parse::<Uri>()
        .is_ok_and(|uri| uri.is_canonical() && !uri.has_query());
    let taken =
        issuer.is_some_and(|(_, uri)| *text == jwks_path(uri)) || text.starts_with("/.well-known/");
    if !canonical || taken || text.len() < 2 || !text.starts_with('/') {
        let message = format!("`{text}` is not a path that a token endpoint can have");
        problems.push(
            Diagnostic::error("E1006", message)
                .at(&node.span)
                .help("for example `/token`"),
        );
    }
    text.to_string()
}

fn jwks_path(issuer: &Uri) -> String {
    format!("{}/jwks", issuer.path().trim_end_matches('/'))
}

/// RFC 8414 §2, from what is loaded.
fn metadata(issuer: &Issuer, uri: &Uri, token_path: &str, clients: &ClientSet) -> String {
    let grants: Vec<&str> = GRANTS.iter().map(|grant| grant.grant_type).collect();
    let mut document = serde_json::json!({
        "issuer": issuer.as_str(),
        "token_endpoint": format!("{}{token_path}", uri.origin()),
        "jwks_uri": format!("{}{}", uri.origin(), jwks_path(uri)),
        "response_types_supported": [],
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported": clients.methods(),
    });
    let algorithms = clients.assertion_algorithms();
    let names: Vec<&str> = algorithms.iter().map(|alg| alg.as_str()).collect();
    if let (Some(members), false) = (document.as_object_mut(), names.is_empty()) {
        let member = "token_endpoint_auth_signing_alg_values_supported";
        members.insert(member.to_owned(), names.into());
    }
    document.to_string()
}

/// `replay: { capacity: 1000000, per_client: 250000 }`: how much of what is good for one use is remembered.
fn replay(root: &mut Section, problems: &mut Diagnostics) -> Limits {
    const MOST: usize = 100_000_000;
    let Some(mut section) = root.section("replay", problems) else {
        return Limits::default();
    };
    let capacity = settings::count(&mut section, "capacity", Limits::CAPACITY, MOST, problems);
    let share = Limits::new(capacity).per_owner;
    let per_owner = settings::count(&mut section, "per_client", share, capacity, problems);
    section.finish(problems);
    Limits {
        capacity,
        per_owner,
    }
}

fn resources(root: &mut Section, problems: &mut Diagnostics) -> ResourceRegistry {
    let mut registry = ResourceRegistry::default();
    let Some(section) = root.section("resources", problems) else {
        return registry;
    };
    for (key, node) in section.into_entries() {
        let Some(mut entry) = node.section_of(&key, problems) else {
            continue;
        };
        let under_node = entry.require("under", problems);
        let under: Option<Uri> = under_node.as_ref().and_then(|node| node.parse(problems));
        let audience: Option<Audience> = entry
            .require("audience", problems)
            .and_then(|node| node.parse(problems));
        let scopes = entry
            .take("scopes")
            .and_then(|node| clients::scopes(node, problems));
        entry.finish(problems);
        let (Some(under), Some(audience), Some(node)) = (under, audience, under_node) else {
            continue;
        };
        if !under.is_canonical() || under.has_query() || under.authority().is_none() {
            let problem = Diagnostic::error(
                "E1006",
                "`under` must be a canonical URI with a host and without a query",
            );
            problems.push(
                problem
                    .at(&node.span)
                    .rewrite(under.raw(), under.canonical()),
            );
        }
        let same = |other: &&RegisteredResource| {
            other.under.origin() == under.origin()
                && other.under.path().trim_end_matches('/') == under.path().trim_end_matches('/')
        };
        if registry.0.iter().find(same).is_some() {
            let message = format!("`{}` has the same `under` as another resource", key.name);
            problems.push(Diagnostic::error("E1006", message).at(&node.span));
        }
        registry.0.push(RegisteredResource {
            under,
            audience,
            scopes,
        });
    }
    registry
}

/// A misspelled path would show what was meant to be hidden.
fn redactable(redact: &[(String, Span)], schema: &Schema, problems: &mut Diagnostics) {
    let known = facts::known_paths(schema);
    for (path, span) in redact.iter().filter(|(path, _)| !known.contains(path)) {
        let problem =
            Diagnostic::error("E1006", format!("`{path}` is no attribute of this realm")).at(span);
        problems.push(problem.suggest(path, known.iter().map(String::as_str)));
    }
}
