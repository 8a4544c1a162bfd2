//! The root file: listeners, audit, defaults of provider kinds, and the realm.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Sources, clients, issuers, keys, policies};
use crate::client::{ClientSet, METHODS};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::exchange::GRANTS;
use crate::oauth::id::{Issuer, ProcessorId};
use crate::oauth::target::{Audience, RegisteredResource, ResourceRegistry};
use crate::oauth::uri::Uri;
use crate::policy::facts;
use crate::policy::schema::Schema;
use crate::provider::{self, FACTORIES, Material, ProcessorSet};
use crate::section::{Seconds, Section};
use crate::services::Services;
use crate::snapshot::{AuditSettings, Realm, Settings, Snapshot};

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
    let (settings, redact) = settings(&mut root, sources, problems);
    let defaults = defaults(&mut root, problems);
    let realm = realm(
        &mut root,
        settings.as_ref(),
        &defaults,
        sources,
        services,
        current,
        redact,
        problems,
    );
    root.finish(problems);
    Some(Parts {
        realm: realm?,
        settings: settings?,
    })
}

fn settings(
    root: &mut Section,
    sources: &Sources,
    problems: &mut Diagnostics,
) -> (Option<Settings>, Vec<(String, Span)>) {
    let mut server = root
        .section("server", problems)
        .unwrap_or_else(|| root.empty());
    let listen = address(&mut server, "listen", "127.0.0.1:8080", problems);
    let insecure = server.flag("insecure_http", problems) | server.flag("behind_tls", problems);
    if let Some((address, span)) = &listen
        && !address.ip().is_loopback()
        && !insecure
    {
        let message = format!(
            "plain HTTP on {address}, which is not loopback, would show tokens to the network"
        );
        let problem = Diagnostic::error("E1009", message).at(span);
        let problem = problem.help("behind a proxy that ends TLS, say `behind_tls: true`");
        problems.push(problem.help("where the network may see tokens, say `insecure_http: true`"));
    }
    let max_connections = count(&mut server, "max_connections", 10_000, 1_000_000, problems);
    let header_timeout = timeout(&mut server, "header_timeout", 10, problems);
    let body_timeout = timeout(&mut server, "body_timeout", 10, problems);
    let request_timeout = timeout(&mut server, "request_timeout", 30, problems);
    server.finish(problems);
    let mut admin = root
        .section("admin", problems)
        .unwrap_or_else(|| root.empty());
    let admin_listen = address(&mut admin, "listen", "127.0.0.1:9090", problems);
    admin.finish(problems);
    if let Some((address, span)) = &admin_listen
        && !address.ip().is_loopback()
    {
        let message = format!(
            "the admin listener on {address} is not loopback, and has no authentication in this build"
        );
        problems.push(Diagnostic::error("E1009", message).at(span));
    }
    let (audit, redact) = audit(root, sources, problems);
    let settings = listen
        .zip(admin_listen)
        .map(|((listen, _), (admin, _))| Settings {
            listen,
            admin,
            audit,
            max_connections,
            header_timeout,
            body_timeout,
            request_timeout,
        });
    (settings, redact)
}

fn address(
    section: &mut Section,
    key: &'static str,
    default: &str,
    problems: &mut Diagnostics,
) -> Option<(SocketAddr, Span)> {
    let Some(node) = section.take(key) else {
        return default
            .parse()
            .ok()
            .map(|address| (address, section.span.clone()));
    };
    let text = node.text(problems)?;
    match text.parse() {
        Ok(address) => Some((address, node.span)),
        Err(_) => {
            let problem = Diagnostic::error(
                "E1006",
                format!("`{text}` is not an address such as `{default}`"),
            );
            problems.push(
                problem
                    .at(&node.span)
                    .help("an IP address and a port; host names are not looked up"),
            );
            None
        }
    }
}

fn count(
    section: &mut Section,
    key: &'static str,
    default: usize,
    max: usize,
    problems: &mut Diagnostics,
) -> usize {
    let Some(node) = section.take(key) else {
        return default;
    };
    match node.text(problems).and_then(|text| text.parse().ok()) {
        Some(count) if (1..=max).contains(&count) => count,
        _ => {
            problems.push(
                Diagnostic::error("E1006", format!("`{key}` takes a number from 1 to {max}"))
                    .at(&node.span),
            );
            default
        }
    }
}

fn timeout(
    section: &mut Section,
    key: &'static str,
    default: u64,
    problems: &mut Diagnostics,
) -> u64 {
    let Some(node) = section.take(key) else {
        return default;
    };
    match node
        .parse::<Seconds>(problems)
        .map(|seconds| u64::try_from(seconds.0))
    {
        Some(Ok(seconds)) if (1..=3600).contains(&seconds) => seconds,
        None => default,
        Some(_) => {
            problems.push(
                Diagnostic::error("E1006", format!("`{key}` must be from 1s to 1h")).at(&node.span),
            );
            default
        }
    }
}

fn audit(
    root: &mut Section,
    sources: &Sources,
    problems: &mut Diagnostics,
) -> (AuditSettings, Vec<(String, Span)>) {
    let Some(mut section) = root.section("audit", problems) else {
        return (AuditSettings::Stdout, Vec::new());
    };
    let file = section.take("file");
    let fsync = section.flag("fsync", problems);
    let redact = section
        .take("redact")
        .map(crate::section::Node::list)
        .unwrap_or_default();
    let redact = redact
        .iter()
        .filter_map(|node| {
            node.text(problems)
                .map(|text| (text.to_string(), node.span.clone()))
        })
        .collect();
    let span = section.span.clone();
    section.finish(problems);
    let settings = match file.and_then(|node| node.text(problems)) {
        Some(name) => AuditSettings::File {
            path: sources.path(&name),
            fsync,
        },
        None => {
            if fsync {
                problems.push(Diagnostic::error("E1006", "`fsync` needs a `file`").at(&span));
            }
            AuditSettings::Stdout
        }
    };
    (settings, redact)
}

/// `providers:`: what every processor of a kind has unless it says otherwise.
fn defaults(root: &mut Section, problems: &mut Diagnostics) -> BTreeMap<&'static str, Section> {
    let mut out = BTreeMap::new();
    let Some(section) = root.section("providers", problems) else {
        return out;
    };
    for (key, node) in section.into_entries() {
        match provider::factory(&key.name) {
            Some(factory) => {
                if let Some(section) = node.section_of(&key, problems) {
                    out.insert(factory.kind, section);
                }
            }
            None => unknown_kind(&key.name, &key.span, problems),
        }
    }
    out
}

fn unknown_kind(kind: &str, span: &Span, problems: &mut Diagnostics) {
    let problem = Diagnostic::error(
        "E1006",
        format!("no provider is called `{kind}` in this build"),
    )
    .at(span);
    problems.push(problem.suggest(kind, FACTORIES.iter().map(|factory| factory.kind)));
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
    let keys = keys::signing_keys(root, settings, sources, current, problems);
    let resources = resources(root, problems);
    let (clients, client_schemas, client_attributes) = clients::clients(root, sources, problems);
    let clients = ClientSet::new(clients);
    let (id, uri) = issuer.unzip();
    let issuers = issuers::issuers(
        root,
        id.as_ref(),
        keys.as_ref(),
        sources,
        services,
        problems,
    );
    let material = id
        .as_ref()
        .zip(keys.as_ref())
        .map(|(issuer, keys)| Material {
            services,
            issuer,
            keys,
        });
    let processors = processors(root, defaults, material.as_ref(), problems);
    // Without the names of a sound realm, every rule would be at fault for somebody else's mistake.
    let sound = problems.counts().0 == before;
    let files = policies::files(root, sources, problems);
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
            .map(|(id, p)| (Arc::from(id.as_str()), p.schema.clone()))
            .collect(),
        resources,
    };
    if !sound {
        return None;
    }
    redactable(&redact, &schema, problems);
    let policies = policies::compile(&files, &schema, &processors, problems)?;
    let (issuer, uri, keys, (issuers, _)) = (id?, uri?, keys?, issuers?);
    let metadata = metadata(&issuer, &uri, &token_path, &clients);
    let places = policies
        .rules()
        .iter()
        .map(|rule| (rule.id.clone(), sources.source_text().place(&rule.span)));
    let places = places.chain(
        policies
            .denies()
            .iter()
            .map(|d| (d.id.clone(), sources.source_text().place(&d.span))),
    );
    Some(Realm {
        places: places.collect(),
        metadata_path: format!(
            "/.well-known/oauth-authorization-server{}",
            uri.path().trim_end_matches('/')
        ),
        jwks_path: jwks_path(&uri),
        jwks: keys.jwks().to_string(),
        issuers,
        clients,
        keys,
        processors,
        policies,
        schema,
        metadata,
        token_path,
        issuer,
        redact: redact.into_iter().map(|(path, _)| path).collect(),
    })
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
            false => problem.help(format!("write `{}`", uri.canonical())),
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
    serde_json::json!({
        "issuer": issuer.as_str(),
        "token_endpoint": format!("{}{token_path}", uri.origin()),
        "jwks_uri": format!("{}{}", uri.origin(), jwks_path(uri)),
        "response_types_supported": [],
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported": clients.methods(),
    })
    .to_string()
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
                    .help(format!("write `{}`", under.canonical())),
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

fn processors(
    root: &mut Section,
    defaults: &BTreeMap<&'static str, Section>,
    material: Option<&Material<'_>>,
    problems: &mut Diagnostics,
) -> ProcessorSet {
    let mut set = ProcessorSet::new();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let entries = root
        .section("processors", problems)
        .map(Section::into_entries)
        .unwrap_or_default();
    for (key, node) in entries {
        let id = crate::section::name::<ProcessorId>(&key, problems);
        let Some(mut section) = node.section_of(&key, problems) else {
            continue;
        };
        let Some(kind_node) = section.require("provider", problems) else {
            continue;
        };
        let Some(kind) = kind_node.text(problems) else {
            continue;
        };
        let Some(factory) = provider::factory(&kind) else {
            unknown_kind(&kind, &kind_node.span, problems);
            continue;
        };
        if let Some(inherited) = defaults.get(factory.kind) {
            section.inherit(inherited);
            used.insert(factory.kind);
        }
        let Some(id) = id else { continue };
        if let Some(processor) =
            provider::processor(id.clone(), factory, section, material, problems)
        {
            set.insert(id, Arc::new(processor));
        }
    }
    // Defaults that no processor uses are checked all the same: a typing error must not wait there.
    for (kind, section) in defaults.iter().filter(|(kind, _)| !used.contains(**kind)) {
        if let (Some(factory), Ok(id)) = (provider::factory(kind), "unused".parse()) {
            provider::processor(id, factory, section.clone(), material, problems);
        }
    }
    set
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
