//! `cambist check --online`: everybody that the gateway would ask, asked once, by the code that it would ask with.

use std::path::Path;

use futures_util::future::join_all;

use super::super::keys::{file_of, find};
use super::super::{complain, could_not, runtime};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::jose::PublicKey;
use crate::keys::{FetchError, Look, Remote};
use crate::net::NetError;
use crate::section::Node;
use crate::snapshot::{Realm, Snapshot};
use crate::token::{Introspection, ProbeError, TrustedIssuer};

/// Somebody to ask, and where the file names them.
struct Source<'a> {
    /// What people call it: `issuer idp`.
    name: String,
    at: Span,
    asks: Asks<'a>,
}

enum Asks<'a> {
    Keys(&'a Remote),
    Introspection(&'a Introspection),
}

/// What one of them said: a line, or a finding.
type Said = Result<String, Diagnostic>;

/// Asks everybody. Gives what is wrong, and a line for each that is well.
pub(super) fn ask(
    dir: &Path,
    snapshot: &Snapshot,
    talk: bool,
) -> Result<(Diagnostics, String), u8> {
    let mut sources = Vec::new();
    for realm in snapshot.realms.values() {
        let (_, _, _, root) = file_of(dir, realm, snapshot).map_err(could_not)?;
        sources.extend(of_realm(realm, &root, snapshot.realms.len() > 1));
    }
    if talk && !sources.is_empty() {
        complain(&format!("asking {} …\n", sources.len()));
    }
    let said = runtime()?.block_on(join_all(sources.iter().map(|source| async move {
        let said = source.ask().await;
        if talk {
            let well = if said.is_ok() { "✓" } else { "✗" };
            complain(&format!("  {well} {}\n", source.name));
        }
        said
    })));
    let mut problems = Diagnostics::default();
    let mut lines = String::new();
    for said in said {
        match said {
            Ok(line) => lines.push_str(&line),
            Err(problem) => problems.push(problem),
        }
    }
    Ok((problems, lines))
}

/// Everybody that a realm asks. Who is disabled is not.
fn of_realm<'a>(realm: &'a Realm, root: &Node, several: bool) -> Vec<Source<'a>> {
    let whose = |name: String| match several {
        true => format!("realm {}, {name}", realm.name),
        false => name,
    };
    let mut sources = Vec::new();
    for issuer in realm.issuers.iter().filter(|issuer| issuer.enabled) {
        let alias = issuer.alias.as_str();
        let name = whose(format!("issuer `{alias}`"));
        let at = |keys: &[&str]| place(root, &["issuers", alias], keys);
        sources.extend(of_issuer(issuer, &name, at));
    }
    for remote in realm.clients.remotes() {
        let owner = &remote.settings().owner;
        let id = owner.strip_prefix("client:").unwrap_or(owner);
        sources.push(Source {
            name: whose(format!("client `{id}`")),
            at: place(
                root,
                &["clients", id, "auth", "private_key_jwt"],
                &["jwks_uri"],
            ),
            asks: Asks::Keys(remote),
        });
    }
    sources
}

fn of_issuer<'a>(
    issuer: &'a TrustedIssuer,
    name: &str,
    at: impl Fn(&[&str]) -> Span,
) -> Vec<Source<'a>> {
    let remote = issuer.keys.as_ref().and_then(|keys| keys.remote());
    let keys = remote.map(|remote| Source {
        name: name.to_owned(),
        at: at(&["jwks_uri", "discovery", "preset"]),
        asks: Asks::Keys(remote),
    });
    let introspection = issuer.introspection.as_ref();
    let introspection = introspection.map(|introspection| Source {
        name: name.to_owned(),
        at: at(&["introspection"]),
        asks: Asks::Introspection(introspection),
    });
    keys.into_iter().chain(introspection).collect()
}

/// Where the first of some keys stands that is there, below a path; the path itself as far as it goes.
fn place(root: &Node, path: &[&str], keys: &[&str]) -> Span {
    let mut span = root.span.clone();
    span.end = span.start;
    let mut node = root.clone();
    for name in path {
        let Some((at, below)) = find(&node, name) else {
            return span;
        };
        (span, node) = (at, below);
    }
    let mut found = keys.iter().filter_map(|key| find(&node, key));
    found.next().map_or(span, |(at, _)| at)
}

impl Source<'_> {
    async fn ask(&self) -> Said {
        match &self.asks {
            Asks::Keys(remote) => match remote.look().await {
                Ok(look) => Ok(self.found(&look)),
                Err(error) => Err(self.no_keys(remote, &error)),
            },
            Asks::Introspection(introspection) => match introspection.probe().await {
                Ok(()) => Ok(format!(
                    "{}: answers at {}\n",
                    self.name, introspection.endpoint
                )),
                Err(error) => Err(self.no_answer(introspection, &error)),
            },
        }
    }

    fn found(&self, look: &Look) -> String {
        let keys = look.keys.keys();
        let mut algorithms: Vec<&str> = keys
            .iter()
            .map(PublicKey::algorithm)
            .map(|algorithm| algorithm.as_str())
            .collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let skipped: Vec<String> = look
            .skipped
            .iter()
            .map(|key| format!("key {} ({})", key.index, key.reason))
            .collect();
        let skipped = match skipped.is_empty() {
            true => String::new(),
            false => format!("; not used: {}", skipped.join(", ")),
        };
        let count = match keys.len() {
            1 => "1 key".to_owned(),
            many => format!("{many} keys"),
        };
        format!(
            "{}: {count} ({}) at {}{skipped}\n",
            self.name,
            algorithms.join(", "),
            look.from
        )
    }

    fn no_keys(&self, remote: &Remote, error: &FetchError) -> Diagnostic {
        let message = format!("the keys of {} cannot be had: {error}", self.name);
        let problem = Diagnostic::error("E1040", message).at(&self.at);
        let problem = problem.note(format!("asked at {}", remote.settings().location));
        match error {
            FetchError::Net(error) => network(problem, error),
            FetchError::OtherIssuer => {
                problem.help("`issuer` must be what the metadata says, byte for byte")
            }
            _ => problem,
        }
    }

    fn no_answer(&self, introspection: &Introspection, error: &ProbeError) -> Diagnostic {
        let message = format!("{} cannot be asked about its tokens: {error}", self.name);
        let problem = Diagnostic::error("E1041", message).at(&self.at);
        let problem = problem.note(format!("asked at {}", introspection.endpoint));
        match error {
            ProbeError::Net(error) => network(problem, error),
            ProbeError::Credentials(_) => {
                problem.help("look at `client_id`, the secret and `method` of `introspection`")
            }
            _ => problem,
        }
    }
}

fn network(problem: Diagnostic, error: &NetError) -> Diagnostic {
    match error {
        NetError::Tls(_) => problem.help(
            "where its certificate has a private root, name that: `outbound: { ca_file: ROOTS.pem }`",
        ),
        NetError::Forbidden => problem.help(
            "where that address is meant, list it: `outbound: { allow_addresses: [PREFIX] }`",
        ),
        _ => problem.help("ask from where the gateway will run: another network has other ways out"),
    }
}
