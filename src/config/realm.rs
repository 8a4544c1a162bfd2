//! A realm: one issuer's whole configuration, from one file and those that it names.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::snapshot::{Realm, RulePlace, Settings};
use crate::store::Limits;

/// What a realm takes from around it.
pub(super) struct Ground<'a> {
    pub name: RealmName,
    /// What the root says of the process, where that could be read.
    pub settings: Option<&'a Settings>,
    /// What processors have of their kinds unless they say otherwise.
    pub defaults: &'a BTreeMap<&'static str, Section>,
    pub services: &'a Services,
    /// How much of what is good for one use is remembered.
    pub limits: Limits,
    /// The realm of this name that runs.
    pub current: Option<&'a Realm>,
    /// How long a request may take that runs, in seconds.
    pub in_flight: i64,
}

/// Reads a realm's keys from a section; what else stands there is left to the caller. `None` goes with at
/// least one problem.
pub(super) fn realm(
    root: &mut Section,
    ground: &Ground<'_>,
    redact: Vec<(String, Span)>,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Option<Realm> {
    let (before, _) = problems.counts();
    let services = &{
        let running: Vec<_> = ground.current.iter().map(|current| &current.net).collect();
        outbound::services(root, sources, ground.services, &running, problems)
    };
    let issuer = own_issuer(root, problems);
    let token_path = token_path(root, issuer.as_ref(), problems);
    let hosts = hosts(root, problems);
    // Another issuer has other keys, whatever its realm is called.
    let same = |current: &&Realm| {
        issuer
            .as_ref()
            .is_none_or(|(issuer, _)| current.issuer == *issuer)
    };
    let running = ground.current.filter(same);
    let own = keys::signing_keys(root, ground, running, sources, problems);
    let keys = own.as_ref().map(|own| &own.keys);
    let resources = resources(root, problems);
    let us = issuer.as_ref().map(|(issuer, uri)| Us {
        issuer: issuer.as_str().to_owned(),
        token_endpoint: format!("{}{token_path}", uri.origin()),
    });
    let known: Vec<_> = ground
        .current
        .iter()
        .flat_map(|current| current.known_remotes())
        .collect();
    let mut reader = Reader {
        realm: &ground.name,
        sources,
        services,
        known: &known,
        problems,
    };
    let (clients, client_schemas, client_attributes) =
        clients::clients(root, us.as_ref(), &mut reader);
    let (id, uri) = issuer.unzip();
    let issuers = issuers::issuers(root, id.as_ref().zip(keys), &mut reader);
    let clients = ClientSet::new(
        &ground.name,
        clients,
        Arc::clone(&services.single_use),
        ground.limits,
    );
    let material = id.as_ref().zip(keys).map(|(issuer, keys)| Material {
        services,
        issuer,
        keys,
    });
    let processors = processors::processors(root, ground.defaults, material.as_ref(), problems);
    // Without the names of a sound realm, every rule would be at fault for somebody else's mistake.
    let sound = problems.counts().0 == before;
    let files = policies::files(root, sources, problems);
    let accepted = policies::accepted(root, problems);
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
    let before = ground.current.map(|current| &current.verdicts);
    let (policies, trials, verdicts) =
        policies::compile(&files, &schema, &processors, &accepted, before, problems)?;
    let (issuer, uri, own, (issuers, _)) = (id?, uri?, own?, issuers?);
    let metadata = metadata(&issuer, &uri, &token_path, &clients);
    let items = policies::items(&files);
    let text = sources.source_text();
    let permits = policies.rules().iter().map(|r| (&r.id, &r.span, &r.doc));
    let denies = policies.denies().iter().map(|d| (&d.id, &d.span, &d.doc));
    let places = permits.chain(denies).map(|(id, span, doc)| {
        let place = RulePlace {
            at: text.place(span),
            doc: doc.clone(),
        };
        (id.clone(), place)
    });
    Some(Realm {
        name: ground.name.clone(),
        hosts,
        hash: sources.hash(),
        loaded_at: ground.services.clock.now(),
        contents: sources.contents(),
        items,
        sources: text.clone(),
        tests: 0,
        warnings: Diagnostics::default(),
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
        verdicts,
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
        root.falls_back("token_path", &default);
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

/// `hosts: [as.example.com]`: the `Host`s that the realm's endpoints answer; any, where it is not said.
fn hosts(root: &mut Section, problems: &mut Diagnostics) -> BTreeSet<String> {
    let Some(node) = root.take("hosts") else {
        return BTreeSet::new();
    };
    let at = node.span.clone();
    let nodes = node.list();
    if nodes.is_empty() {
        let problem = Diagnostic::error(
            "E1005",
            "`hosts` is empty: no request could be for this realm",
        );
        problems.push(problem.at(&at).help("name some, or leave it out for any"));
    }
    nodes
        .iter()
        .filter_map(|node| settings::host(node, problems))
        .collect()
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
