//! `auth:` of a client: what it is registered with for each method that it may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Found, Us, secret_from};
use crate::client::{Assertions, Credential, METHODS, SaltedHash, Takes};
use crate::config::Sources;
use crate::config::reader::Reader;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::section::{Key, Node, Section};

/// A secret that a machine did not draw is easily shorter; it is warned about.
const SHORTEST_SECRET: usize = 20;

/// `auth: { METHOD: … }`.
pub(super) fn credentials(
    node: Node,
    client: &str,
    us: Option<&Us>,
    reader: &mut Reader<'_>,
) -> BTreeMap<&'static str, Credential> {
    let mut out = BTreeMap::new();
    let (before, _) = reader.problems.counts();
    let span = node.span.clone();
    let Some(section) = node.section(reader.problems) else {
        return out;
    };
    let entries = section.into_entries();
    let several = entries.len() > 1;
    for (key, node) in entries {
        let Some(method) = METHODS.iter().find(|method| method.name == &*key.name) else {
            reader.problems.push(no_method(&key));
            continue;
        };
        let credential = match method.takes {
            Takes::Secrets => Some(Credential::Secrets(secrets(
                node,
                reader.sources,
                reader.problems,
            ))),
            Takes::Keys => assertions(node, client, &key, us, reader).map(Credential::Assertions),
            Takes::Nothing => {
                public(node, client, &key.span, several, reader.problems);
                Some(Credential::Public)
            }
        };
        out.extend(credential.map(|credential| (method.name, credential)));
    }
    if out.is_empty() && reader.problems.counts().0 == before {
        let problem =
            Diagnostic::error("E1005", "this client has no authentication method").at(&span);
        reader.problems.push(
            problem.help("for example `auth: { client_secret_basic: { secret_sha256: \"…\" } }`"),
        );
    }
    out
}

fn no_method(key: &Key) -> Diagnostic {
    if &*key.name == "client_secret_jwt" {
        let message =
            "`client_secret_jwt` is not offered: its secret would have to lie here in clear";
        let problem = Diagnostic::error("E1006", message).at(&key.span);
        return problem
            .help("use `private_key_jwt`, for which only the client's public key lies here");
    }
    let message = format!(
        "`{}` is no client authentication method of this build",
        key.name
    );
    let problem = Diagnostic::error("E1006", message).at(&key.span);
    problem.correct(&key.name, METHODS.iter().map(|method| method.name))
}

/// `none: {}`.
fn public(node: Node, client: &str, at: &Span, several: bool, problems: &mut Diagnostics) {
    if let Some(section) = node.section(problems) {
        section.finish(problems);
    }
    if several {
        let message =
            "`none` stands alone: a client that need not prove who it is proves nothing otherwise";
        problems.push(Diagnostic::error("E1006", message).at(at));
    }
    let message = format!("anybody can say to be the client `{client}`");
    let problem = Diagnostic::warning("E1030", message).at(at);
    let help = "rules that are for clients with credentials can say `client.auth != \"none\"`";
    problems.push(problem.help(help));
}

/// `private_key_jwt: { jwks_file: PATH }`.
fn assertions(
    node: Node,
    client: &str,
    key: &Key,
    us: Option<&Us>,
    reader: &mut Reader<'_>,
) -> Option<Assertions> {
    let mut section = node.section_of(key, reader.problems)?;
    let span = section.span.clone();
    let (before, _) = reader.problems.counts();
    // Apart from issuers' aliases, which metrics name too.
    let owner = Arc::from(format!("client:{client}"));
    let keys = reader.key_source(&mut section, owner, None);
    let max_lifetime = reader.seconds(
        &mut section,
        "max_lifetime",
        Assertions::LIFETIME,
        1..=Assertions::MAX_LIFETIME,
    );
    let leeway = reader.seconds(
        &mut section,
        "leeway",
        Assertions::LEEWAY,
        0..=Assertions::MAX_LEEWAY,
    );
    let legacy = legacy_audience(&mut section, reader.problems);
    section.finish(reader.problems);
    if keys.is_none() && reader.problems.counts().0 == before {
        let problem = Diagnostic::error("E1005", "this client has no public key").at(&span);
        let help = "give `jwks_file: PATH`, inline `jwks:`, or `jwks_uri: URL`";
        reader.problems.push(problem.help(help));
    }
    let mut audiences = vec![us?.issuer.clone()];
    audiences.extend(us.filter(|_| legacy).map(|us| us.token_endpoint.clone()));
    Some(Assertions {
        keys: keys?,
        audiences,
        max_lifetime,
        leeway,
    })
}

/// `legacy_audience: token_endpoint`, for clients that do not know the issuer identifier as audience.
fn legacy_audience(section: &mut Section, problems: &mut Diagnostics) -> bool {
    let Some(node) = section.take("legacy_audience") else {
        return false;
    };
    match node.text(problems).as_deref() {
        Some("token_endpoint") => true,
        Some(other) => {
            let message = format!("`{other}` is no audience of older clients");
            let problem = Diagnostic::error("E1006", message).at(&node.span);
            problems.push(problem.correct(other, ["token_endpoint"]));
            false
        }
        None => false,
    }
}

/// `{ secret_…: … }`, or a list of two during a rotation.
pub(in crate::config) fn secrets(
    node: Node,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Vec<SaltedHash> {
    let (before, _) = problems.counts();
    let at = node.span.clone();
    let nodes = node.list();
    if nodes.len() > 2 {
        problems.push(
            Diagnostic::error("E1006", "there are at most two secrets, for a rotation").at(&at),
        );
    }
    let secrets: Vec<_> = nodes
        .into_iter()
        .filter_map(|node| salted(node, sources, problems))
        .collect();
    if secrets.is_empty() && problems.counts().0 == before {
        problems.push(Diagnostic::error("E1005", "there is no secret here").at(&at));
    }
    secrets
}

fn salted(node: Node, sources: &mut Sources, problems: &mut Diagnostics) -> Option<SaltedHash> {
    let mut section = node.section(problems)?;
    let span = section.span.clone();
    let hash = section.take("secret_sha256");
    let plain = secret_from(&mut section, sources, problems);
    section.finish(problems);
    match (hash, plain) {
        (Some(node), Found::None) => {
            // The value is not repeated in the message: somebody may have put the secret itself here.
            let parsed = node.text(problems)?.parse();
            parsed
                .map_err(|error| {
                    problems
                        .push(Diagnostic::error("E1006", format!("this {error}")).at(&node.span))
                })
                .ok()
        }
        (None, Found::Secret(secret)) => {
            if secret.expose().len() < SHORTEST_SECRET {
                let problem =
                    Diagnostic::warning("E1013", "this secret is short enough to be guessed");
                problems.push(problem.at(&span).help("draw one: `cambist secret new`"));
            }
            match SaltedHash::new(&secret) {
                Ok(hash) => Some(hash),
                Err(error) => {
                    problems
                        .push(Diagnostic::error("E1006", format!("this secret {error}")).at(&span));
                    None
                }
            }
        }
        (None, Found::Broken) => None,
        _ => {
            let message = "give one of `secret_sha256`, `secret_file` and `secret_env`";
            problems.push(Diagnostic::error("E1005", message).at(&span).concealed());
            None
        }
    }
}
