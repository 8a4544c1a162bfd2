//! `keys:` and `key_rotation:`: our signing keys. The first one signs, all of them are published; a new one
//! waits until verifiers know it, also after a start, and an old one stays as long as its tokens may be out.

use std::sync::Arc;

use super::Sources;
use super::realm::Ground;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::jose::{Algorithm, KeyError, SigningKey, SigningKeys, Succession};
use crate::section::{Node, Seconds, Section};
use crate::snapshot::{EphemeralKey, Realm, Settings};

/// How long a new key is published before it signs, in seconds, unless configured otherwise.
const NOTICE: i64 = 600;
/// The longest that this may be.
const MAX_NOTICE: i64 = 7 * 86_400;
/// The longest that the published keys may be kept by those who fetch them, in seconds.
const MAX_AGE: i64 = 300;

/// What configuration says of our keys.
pub(super) struct Keys {
    pub keys: SigningKeys,
    /// Those among them that were made for this process.
    pub ephemeral: Vec<EphemeralKey>,
    /// How long the published keys may be kept by those who fetch them, in seconds.
    pub max_age: i64,
}

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
    ground: &Ground<'_>,
    current: Option<&Realm>,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Option<Keys> {
    let now = ground.services.clock.now();
    let notice = notice(root, problems);
    let node = root.require("keys", problems)?;
    let span = node.span.clone();
    let (before, _) = problems.counts();
    let mut reader = Reader {
        settings: ground.settings,
        sources,
        kept: current
            .map(|current| current.ephemeral.clone())
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
    // Half of the time that they have: nobody who keeps them so long misses a new key.
    let max_age = (notice / 2).min(MAX_AGE);
    let made = match current {
        None => SigningKeys::started(keys, now, notice),
        Some(current) => current.keys.succeed(
            keys,
            Succession {
                now,
                notice,
                max_age: current.jwks_max_age,
                longest: current.longest_lifetime(),
                in_flight: ground.in_flight,
            },
        ),
    };
    match made {
        Ok(keys) => Some(Keys {
            keys,
            ephemeral,
            max_age,
        }),
        Err(error) => {
            let problem = Diagnostic::error("E1011", error.to_string()).at(&span);
            problems.push(match error {
                KeyError::AlgChanged => problem.help("give it a `kid` of its own"),
                KeyError::KidInUse => problem.help("give the new key another `kid`, or none"),
                _ => problem,
            });
            None
        }
    }
}

/// `key_rotation: { publish_before_use: 10m }`.
fn notice(root: &mut Section, problems: &mut Diagnostics) -> i64 {
    let mut section = root.section_or_empty("key_rotation", problems);
    let Some(node) = section.take("publish_before_use") else {
        section.falls_back("publish_before_use", Seconds(NOTICE));
        section.finish(problems);
        return NOTICE;
    };
    section.finish(problems);
    match node.parse::<Seconds>(problems) {
        Some(Seconds(seconds)) if seconds <= MAX_NOTICE => seconds,
        Some(_) => {
            let message = "`publish_before_use` must be at most 7d";
            problems.push(Diagnostic::error("E1006", message).at(&node.span));
            NOTICE
        }
        None => NOTICE,
    }
}

impl Reader<'_> {
    fn key(&mut self, node: Node) -> Option<Arc<SigningKey>> {
        let span = node.span.clone();
        let mut section = node.section(self.problems)?;
        let ephemeral = section.take("ephemeral");
        let file = section.take("file");
        let env = section.take("env");
        let kid = section
            .take("kid")
            .and_then(|node| node.text(self.problems));
        let alg = section.take("alg");
        section.finish(self.problems);
        match (ephemeral, file, env) {
            (Some(node), None, None) => {
                if let Some(alg) = alg {
                    let message = "an ephemeral key has its algorithm behind `ephemeral`";
                    self.problems
                        .push(Diagnostic::error("E1006", message).at(&alg.span));
                }
                self.ephemeral(&node, kid)
            }
            (None, file, env) if file.is_some() != env.is_some() => {
                let algorithm: Option<Algorithm> = match &alg {
                    Some(alg) => Some(alg.parse(self.problems)?),
                    None => None,
                };
                let in_file = file.is_some();
                let node = file.or(env)?;
                let name = node.text(self.problems)?;
                let sources = &mut *self.sources;
                let pem = sources.private_key(&name, in_file, &node.span, self.problems)?;
                let key = finish(SigningKey::from_pem(&pem), &node.span, self.problems)?;
                let span = alg.map_or(node.span, |alg| alg.span);
                let key = match algorithm {
                    Some(algorithm) => finish(key.for_algorithm(algorithm), &span, self.problems)?,
                    None => key,
                };
                Some(named(key, kid.as_deref()))
            }
            _ => {
                let problem = Diagnostic::error(
                    "E1005",
                    "a key is one of `{ file: PATH }`, `{ env: NAME }` and `{ ephemeral: ES256 }`",
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
                let key = finish(made, &node.span, self.problems)?;
                let key = named(key, kid.as_deref());
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

fn named(key: SigningKey, kid: Option<&str>) -> Arc<SigningKey> {
    Arc::new(match kid {
        Some(kid) => key.with_kid(kid.to_owned()),
        None => key,
    })
}

fn finish(
    key: Result<SigningKey, KeyError>,
    span: &Span,
    problems: &mut Diagnostics,
) -> Option<SigningKey> {
    key.map_err(|error| problems.push(Diagnostic::error("E1011", error.to_string()).at(span)))
        .ok()
}
