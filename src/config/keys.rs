//! `keys:`: our signing keys. The first one signs, all of them are published.

use std::sync::Arc;

use super::Sources;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::jose::{Algorithm, SigningKey, SigningKeys};
use crate::section::{Node, Section};
use crate::snapshot::{Settings, Snapshot};

pub(super) fn signing_keys(
    root: &mut Section,
    settings: Option<&Settings>,
    sources: &mut Sources,
    current: Option<&Snapshot>,
    problems: &mut Diagnostics,
) -> Option<SigningKeys> {
    let node = root.require("keys", problems)?;
    let span = node.span.clone();
    let (before, _) = problems.counts();
    let mut keys = Vec::new();
    for node in node.list() {
        keys.extend(key(node, settings, sources, current, &keys, problems));
    }
    if problems.counts().0 > before {
        return None;
    }
    SigningKeys::new(keys)
        .map_err(|error| problems.push(Diagnostic::error("E1011", error.to_string()).at(&span)))
        .ok()
}

fn key(
    node: Node,
    settings: Option<&Settings>,
    sources: &mut Sources,
    current: Option<&Snapshot>,
    earlier: &[Arc<SigningKey>],
    problems: &mut Diagnostics,
) -> Option<Arc<SigningKey>> {
    let span = node.span.clone();
    let mut section = node.section(problems)?;
    let ephemeral = section.take("ephemeral");
    let file = section.take("file");
    let kid = section.take("kid").and_then(|node| node.text(problems));
    section.finish(problems);
    match (ephemeral, file) {
        (Some(node), None) => {
            let algorithm: Algorithm = node.parse(problems)?;
            if settings.is_some_and(|settings| !settings.listen.ip().is_loopback()) {
                let message =
                    "an ephemeral key is for trying things out, on a loopback listener only";
                let problem = Diagnostic::error("E1009", message).at(&node.span);
                problems.push(problem.help("make a lasting one: `cambist keys new --out key.pem`, then `keys: [ { file: key.pem } ]`"));
                return None;
            }
            let message = "this key is made anew at every start: tokens signed with it do not outlive the process";
            problems.push(Diagnostic::warning("E1012", message).at(&node.span));
            // A reload must not change the key under tokens that are out.
            let kept = current.and_then(|current| {
                current.realm.keys.iter().find(|key| {
                    key.algorithm() == algorithm
                        && earlier.iter().all(|other| other.kid() != key.kid())
                })
            });
            match kept {
                Some(key) => Some(Arc::clone(key)),
                None => finish(
                    SigningKey::generate(algorithm),
                    kid.as_deref(),
                    &node.span,
                    problems,
                ),
            }
        }
        (None, Some(node)) => {
            let name = node.text(problems)?;
            let pem = zeroize::Zeroizing::new(sources.bytes(&name, Some(&node.span), problems)?);
            sources.warn_if_readable_by_others(&name, &node.span, problems);
            finish(
                SigningKey::from_pem(&pem),
                kid.as_deref(),
                &node.span,
                problems,
            )
        }
        _ => {
            let problem = Diagnostic::error(
                "E1005",
                "a key is either `{ file: PATH }` or `{ ephemeral: ES256 }`",
            );
            problems.push(problem.at(&span));
            None
        }
    }
}

fn finish(
    key: Result<SigningKey, crate::jose::KeyError>,
    kid: Option<&str>,
    span: &crate::diagnostic::Span,
    problems: &mut Diagnostics,
) -> Option<Arc<SigningKey>> {
    match key {
        Ok(key) => Some(Arc::new(match kid {
            Some(kid) => key.with_kid(kid.to_owned()),
            None => key,
        })),
        Err(error) => {
            problems.push(Diagnostic::error("E1011", error.to_string()).at(span));
            None
        }
    }
}
