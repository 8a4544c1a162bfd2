//! `server:`, `admin:`, `audit:` and `metrics:`: how the process listens, counts and records.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::clients::secrets;
use super::policies::{MANIFEST, is_policy};
use super::{ROOT, Sources, tls};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::oauth::NumericDate;
use crate::oauth::id::PrincipalName;
use crate::oauth::uri::Uri;
use crate::policy::pattern::prefix;
use crate::section::{self, Node, Seconds, Section};
use crate::snapshot::{AdminSettings, AuditSettings, Settings};

/// What these sections say.
pub(super) struct Read {
    /// Where it says that a proxy stands before this listener.
    pub behind_proxy: Option<Span>,
    pub settings: Option<Settings>,
    /// Attributes that the audit does not show, and where they are named.
    pub redact: Vec<(String, Span)>,
    /// Where the audit file is named.
    pub audit_at: Option<Span>,
}

struct Audit {
    settings: AuditSettings,
    redact: Vec<(String, Span)>,
    at: Option<Span>,
}

/// Reads the settings, and the attributes that the audit does not show.
pub(super) fn settings(
    root: &mut Section,
    now: NumericDate,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Read {
    let mut server = root.section_or_empty("server", problems);
    let server_at = server.span.clone();
    let listen = address(&mut server, "listen", "127.0.0.1:8080", problems);
    let behind_tls = server.flag("behind_tls", problems);
    let insecure = server.flag("insecure_http", problems) | behind_tls;
    let has_tls = server.has("tls");
    let tls = tls::tls(&mut server, now, sources, problems);
    if let Some((address, span)) = &listen
        && !address.ip().is_loopback()
        && !insecure
        && !has_tls
    {
        let message = format!(
            "plain HTTP on {address}, which is not loopback, would show tokens to the network"
        );
        let problem = Diagnostic::error("E1009", message).at(span);
        let problem =
            problem.help("give it a certificate: `tls: { cert_file: tls.crt, key_file: tls.key }`");
        let problem = problem.help("behind a proxy that ends TLS, say `behind_tls: true`");
        problems.push(problem.help("where the network may see tokens, say `insecure_http: true`"));
    }
    if behind_tls && has_tls {
        let message = "`tls` ends TLS here, and `behind_tls` says that somebody else does";
        problems.push(Diagnostic::error("E1005", message).at(&server_at));
    }
    let trusted_proxies = trusted_proxies(&mut server, problems);
    let max_connections = count(&mut server, "max_connections", 10_000, 1_000_000, problems);
    let share = (max_connections / 4).max(1);
    let max_connections_per_peer = count(
        &mut server,
        "max_connections_per_peer",
        share,
        max_connections,
        problems,
    );
    let max_in_flight = count(&mut server, "max_in_flight", 512, 100_000, problems);
    let header_timeout = timeout(&mut server, "header_timeout", 10, 1, problems);
    let body_timeout = timeout(&mut server, "body_timeout", 10, 1, problems);
    let request_timeout = timeout(&mut server, "request_timeout", 30, 1, problems);
    let idle_timeout = timeout(&mut server, "idle_timeout", 75, 1, problems);
    let drain_delay = timeout(&mut server, "drain_delay", 5, 0, problems);
    server.finish(problems);
    let admin = admin(root, now, sources, problems);
    let audit = audit(root, sources, problems);
    let counted_rules = counted_rules(root, problems);
    let settings = listen.zip(admin).map(|((listen, _), admin)| Settings {
        listen,
        tls,
        plain_http: insecure,
        trusted_proxies,
        max_connections,
        max_connections_per_peer,
        max_in_flight,
        header_timeout,
        body_timeout,
        request_timeout,
        idle_timeout,
        drain_delay,
        admin,
        audit: audit.settings,
        counted_rules,
    });
    Read {
        behind_proxy: behind_tls.then_some(server_at),
        settings,
        redact: audit.redact,
        audit_at: audit.at,
    }
}

/// `admin: { listen: …, socket: …, tls: …, hosts: […], tokens: { NAME: { secret_file: … } } }`.
fn admin(
    root: &mut Section,
    now: NumericDate,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Option<AdminSettings> {
    let mut admin = root.section_or_empty("admin", problems);
    let listen = address(&mut admin, "listen", "127.0.0.1:9090", problems);
    let socket = admin.take("socket").and_then(|node| node.text(problems));
    let insecure = admin.flag("insecure_http", problems);
    let has_tls = admin.has("tls");
    let tls = tls::tls(&mut admin, now, sources, problems);
    let hosts: Vec<String> = admin
        .take("hosts")
        .map(Node::list)
        .unwrap_or_default()
        .iter()
        .filter_map(|node| host(node, problems))
        .collect();
    let mut tokens = Vec::new();
    if let Some(section) = admin.section("tokens", problems) {
        for (key, node) in section.into_entries() {
            if section::name::<PrincipalName>(&key, problems).is_none() {
                continue;
            }
            let (before, _) = problems.counts();
            let secrets = secrets(node, sources, problems);
            if problems.counts().0 == before {
                tokens.push((key.name, secrets));
            }
        }
    }
    admin.finish(problems);
    let (listen, span) = listen?;
    if !listen.ip().is_loopback() {
        if tokens.is_empty() {
            let message = format!(
                "the admin listener on {listen} is not loopback, and nobody has to say who they are"
            );
            let problem = Diagnostic::error("E1009", message).at(&span);
            problems.push(problem.help(
                "draw a token (`cambist secret new`) and say `tokens: { NAME: { secret_file: admin.token } }`",
            ));
        }
        if !insecure && !has_tls {
            let message = format!(
                "plain HTTP on {listen}, which is not loopback, would show the admin's tokens to the network"
            );
            let problem = Diagnostic::error("E1009", message).at(&span);
            let problem = problem
                .help("give it a certificate: `tls: { cert_file: tls.crt, key_file: tls.key }`");
            problems
                .push(problem.help("where the network may see them, say `insecure_http: true`"));
        }
    }
    Some(AdminSettings {
        listen,
        socket: socket.map(|name| sources.path(&name)),
        tls,
        plain_http: insecure,
        hosts,
        tokens,
    })
}

/// `metrics: { rules: 500 }`: how many rules have a counter of their own; none unless it is said.
fn counted_rules(root: &mut Section, problems: &mut Diagnostics) -> usize {
    let Some(mut section) = root.section("metrics", problems) else {
        return 0;
    };
    let rules = match section.has("rules") {
        true => count(&mut section, "rules", 1, 10_000, problems),
        false => 0,
    };
    section.take("rules");
    section.finish(problems);
    rules
}

/// A host as it stands in `Host`: a name or an address, without a port, in lower case.
pub(super) fn host(node: &Node, problems: &mut Diagnostics) -> Option<String> {
    let text = node.text(problems)?;
    let lower = text.to_ascii_lowercase();
    let bare = format!("https://{lower}/")
        .parse::<Uri>()
        .is_ok_and(|uri| uri.authority() == Some(&lower) && uri.path() == "/" && !uri.has_query());
    // An IPv6 address has colons of its own, in brackets.
    let port = lower
        .rsplit(']')
        .next()
        .is_some_and(|rest| rest.contains(':'));
    if bare && !port {
        return Some(lower);
    }
    let message = format!("`{text}` is no host name or address, without scheme and port");
    let problem = Diagnostic::error("E1006", message).at(&node.span);
    problems.push(problem.help("for example `as.example.com`"));
    None
}

/// `trusted_proxies: [10.0.0.0/8]`: whose word about where a request comes from is taken.
fn trusted_proxies(server: &mut Section, problems: &mut Diagnostics) -> Vec<IpNet> {
    let nodes = server.take("trusted_proxies").map(Node::list);
    let mut prefixes = Vec::new();
    for node in nodes.unwrap_or_default() {
        let Some(text) = node.text(problems) else {
            continue;
        };
        match prefix(&text) {
            Ok(prefix) => prefixes.push(prefix),
            Err(error) => {
                let problem = Diagnostic::error("E1006", format!("`{text}` {error}"));
                problems.push(problem.at(&node.span).help(error.help()));
            }
        }
    }
    prefixes
}

fn address(
    section: &mut Section,
    key: &'static str,
    default: &str,
    problems: &mut Diagnostics,
) -> Option<(SocketAddr, Span)> {
    let Some(node) = section.take(key) else {
        section.falls_back(key, default);
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

/// A number from 1 to `max`.
pub(super) fn count(
    section: &mut Section,
    key: &'static str,
    default: usize,
    max: usize,
    problems: &mut Diagnostics,
) -> usize {
    let Some(node) = section.take(key) else {
        section.falls_back(key, default);
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
    least: u64,
    problems: &mut Diagnostics,
) -> Duration {
    let Some(node) = section.take(key) else {
        section.falls_back(key, Seconds(i64::try_from(default).unwrap_or(i64::MAX)));
        return Duration::from_secs(default);
    };
    let default = Duration::from_secs(default);
    match node
        .parse::<Seconds>(problems)
        .map(|seconds| u64::try_from(seconds.0))
    {
        Some(Ok(seconds)) if (least..=3600).contains(&seconds) => Duration::from_secs(seconds),
        None => default,
        Some(_) => {
            let message = format!("`{key}` must be from {least}s to 1h");
            problems.push(Diagnostic::error("E1006", message).at(&node.span));
            default
        }
    }
}

fn audit(root: &mut Section, sources: &Sources, problems: &mut Diagnostics) -> Audit {
    let Some(mut section) = root.section("audit", problems) else {
        return Audit {
            settings: AuditSettings::Stdout,
            redact: Vec::new(),
            at: None,
        };
    };
    let file = section.take("file");
    let fsync = section.flag("fsync", problems);
    let redact = hidden(&mut section, problems);
    let span = section.span.clone();
    section.finish(problems);
    let at = file.as_ref().map(|node| node.span.clone());
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
    Audit {
        settings,
        redact,
        at,
    }
}

/// `audit: { redact: [..] }` of a realm among several; the rest of `audit:` is the root's.
pub(super) fn redact(realm: &mut Section, problems: &mut Diagnostics) -> Vec<(String, Span)> {
    let Some(mut section) = realm.section("audit", problems) else {
        return Vec::new();
    };
    let redact = hidden(&mut section, problems);
    section.finish(problems);
    redact
}

fn hidden(audit: &mut Section, problems: &mut Diagnostics) -> Vec<(String, Span)> {
    let nodes = audit.take("redact").map(Node::list).unwrap_or_default();
    let texts = nodes.iter().filter_map(|node| {
        node.text(problems)
            .map(|text| (text.to_string(), node.span.clone()))
    });
    texts.collect()
}

/// The audit file must be one that can be appended to, and none that this load reads: strangers' requests
/// are written there.
pub(super) fn audit_file(
    settings: &Settings,
    at: Option<&Span>,
    sources: &Sources,
    problems: &mut Diagnostics,
) {
    let (AuditSettings::File { path, .. }, Some(at)) = (&settings.audit, at) else {
        return;
    };
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if parent.is_some_and(|parent| !parent.is_dir()) {
        // Only a warning: `check` may run elsewhere than `serve`, which says so when it starts.
        let message = "the directory of this file is not there";
        problems.push(Diagnostic::warning("E1018", message).at(at));
        return;
    }
    let read = sources.files();
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let ours = is_policy(&name) || name == ROOT || name == MANIFEST;
    let message = if path.exists() && !path.is_file() {
        "this is not a regular file"
    } else if ours
        || canonical(path).is_some_and(|audit| {
            read.iter()
                .any(|file| canonical(file).as_ref() == Some(&audit))
        })
    {
        "this file belongs to the configuration"
    } else {
        return;
    };
    problems.push(
        Diagnostic::error("E1017", message)
            .at(at)
            .help("records are appended to it, one for every request"),
    );
}
