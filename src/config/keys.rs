//! `keys:`: our signing keys. The first one signs, all of them are published.

use std::sync::Arc;

use super::Sources;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::jose::{Algorithm, SigningKey, SigningKeys};
use crate::section::{Node, Section};
use crate::snapshot::{EphemeralKey, Settings, Snapshot};

/// Our keys, and those among them that were made for this process.
pub(super) type Keys = (SigningKeys, Vec<EphemeralKey>);

struct Reader<'a> {
    settings: Option<&'a Settings>,
    sources: &'a mut Sources,
    /// Ephemeral keys of the running configuration that no entry has taken yet.
    kept: Vec<EphemeralKey>,
    ephemeral: Vec<EphemeralKey>,
    problems: &'a mut Diagnostics,
}

pub(super) fn signing_keys(
    root: &mut Section,
    settings: Option<&Settings>,
    sources: &mut Sources,
    current: Option<&Snapshot>,
    problems: &mut Diagnostics,
) -> Option<Keys> {
    let node = root.require("keys", problems)?;
    let span = node.span.clone();
    let (before, _) = problems.counts();
    let mut reader = Reader {
        settings,
        sources,
        kept: current
            .map(|current| current.realm.ephemeral.clone())
            .unwrap_or_default(),
        ephemeral: Vec::new(),
        problems,
    };
    let keys: Vec<_> = node
        .list()
        .into_iter()
        .filter_map(|node| reader.key(node))
        .collect();
    let ephemeral = reader.ephemeral;
    if problems.counts().0 > before {
        return None;
    }
    match SigningKeys::new(keys) {
        Ok(keys) => Some((keys, ephemeral)),
        Err(error) => {
            problems.push(Diagnostic::error("E1011", error.to_string()).at(&span));
            None
        }
    }
}

impl Reader<'_> {
    fn key(&mut self, node: Node) -> Option<Arc<SigningKey>> {
        let span = node.span.clone();
        let mut section = node.section(self.problems)?;
        let ephemeral = section.take("ephemeral");
        let file = section.take("file");
        let kid = section
            .take("kid")
            .and_then(|node| node.text(self.problems));
        section.finish(self.problems);
        match (ephemeral, file) {
            (Some(node), None) => self.ephemeral(&node, kid),
            (None, Some(node)) => {
                let name = node.text(self.problems)?;
                let pem = self.sources.bytes(&name, Some(&node.span), self.problems)?;
                self.sources
                    .warn_if_readable_by_others(&name, &node.span, self.problems);
                finish(
                    SigningKey::from_pem(&pem),
                    kid.as_deref(),
                    &node.span,
                    self.problems,
                )
            }
            _ => {
                let problem = Diagnostic::error(
                    "E1005",
                    "a key is either `{ file: PATH }` or `{ ephemeral: ES256 }`",
                );
                self.problems.push(problem.at(&span));
                None
            }
        }
    }

    /// A key for this process. A reload must not change it under tokens that are out, so the running one
    /// is kept where it was made for the same words.
    fn ephemeral(&mut self, node: &Node, kid: Option<Arc<str>>) -> Option<Arc<SigningKey>> {
        let algorithm: Algorithm = node.parse(self.problems)?;
        if self
            .settings
            .is_some_and(|settings| !settings.listen.ip().is_loopback())
        {
            let message = "an ephemeral key is for trying things out, on a loopback listener only";
            let problem = Diagnostic::error("E1009", message).at(&node.span);
            self.problems.push(problem.help(
                "make a lasting one: `cambist keys new --out key.pem`, then `keys: [ { file: key.pem } ]`",
            ));
            return None;
        }
        let message = "this key is made anew at every start: tokens signed with it do not outlive the process";
        self.problems
            .push(Diagnostic::warning("E1012", message).at(&node.span));
        let same = |kept: &EphemeralKey| kept.algorithm == algorithm && kept.kid == kid;
        let entry = match self.kept.iter().position(same) {
            Some(index) => self.kept.remove(index),
            None => {
                let made = SigningKey::generate(algorithm);
                let key = finish(made, kid.as_deref(), &node.span, self.problems)?;
                EphemeralKey {
                    algorithm,
                    kid,
                    key,
                }
            }
        };
        let key = Arc::clone(&entry.key);
        self.ephemeral.push(entry);
        Some(key)
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
