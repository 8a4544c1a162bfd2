//! `server:`, `admin:` and `audit:`: what only a restart can change.

use std::net::SocketAddr;
use std::path::Path;

use ipnet::IpNet;

use super::policies::{MANIFEST, is_policy};
use super::{ROOT, Sources};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::policy::pattern::prefix;
use crate::section::{Node, Seconds, Section};
use crate::snapshot::{AuditSettings, Settings};

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
pub(super) fn settings(root: &mut Section, sources: &Sources, problems: &mut Diagnostics) -> Read {
    let mut server = root
        .section("server", problems)
        .unwrap_or_else(|| root.empty());
    let server_at = server.span.clone();
    let listen = address(&mut server, "listen", "127.0.0.1:8080", problems);
    let behind_tls = server.flag("behind_tls", problems);
    let insecure = server.flag("insecure_http", problems) | behind_tls;
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
    let trusted_proxies = trusted_proxies(&mut server, problems);
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
        problems.push(
            Diagnostic::error("E1009", message).at(span).help(
                "to be reached from elsewhere, put a proxy that authenticates in front of it",
            ),
        );
    }
    let audit = audit(root, sources, problems);
    let settings = listen
        .zip(admin_listen)
        .map(|((listen, _), (admin, _))| Settings {
            listen,
            admin,
            audit: audit.settings,
            trusted_proxies,
            max_connections,
            header_timeout,
            body_timeout,
            request_timeout,
        });
    Read {
        behind_proxy: behind_tls.then_some(server_at),
        settings,
        redact: audit.redact,
        audit_at: audit.at,
    }
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
