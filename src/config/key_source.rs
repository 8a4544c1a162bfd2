//! Where an issuer's or a client's keys are: in a file, in place, at a URL, or where metadata says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::reader::Reader;
use crate::diagnostic::{Diagnostic, Span};
use crate::jose::{Algorithm, JwksError, KeySet, SkippedKey};
use crate::keys::{KeySource, Location, Remote, Settings, Times};
use crate::net::{Endpoint, EndpointError};
use crate::oauth::id::Issuer;
use crate::oauth::uri::Uri;
use crate::section::{Node, Section, Value};

/// The keys of which there is one at most.
pub(super) const SOURCES: [&str; 4] = ["discovery", "jwks_uri", "jwks_file", "jwks"];

impl Reader<'_> {
    /// `jwks_uri:`, `jwks_file:` or `jwks:`, with `algorithms:` and `fetch:`; for an issuer (whose identifier
    /// is given, if there is one) `discovery:` too. `owner` is what metrics and logs call them.
    pub(super) fn key_source(
        &mut self,
        section: &mut Section,
        owner: Arc<str>,
        issuer: Option<Option<&Issuer>>,
    ) -> Option<KeySource> {
        let (algorithms, algorithms_at) = self.algorithms(section);
        let fetch = section.section("fetch", self.problems);
        let mut found: Vec<(&str, Node)> = Vec::new();
        let offered = |name: &&str| *name != "discovery" || issuer.is_some();
        for name in SOURCES.into_iter().filter(offered) {
            found.extend(section.take(name).map(|node| (name, node)));
        }
        let fetch_at = fetch.as_ref().map(|fetch| fetch.span.clone());
        let fetched = |(name, _): &(&str, Node)| ["discovery", "jwks_uri"].contains(name);
        let times = self.fetch(match fetch {
            None if found.first().is_some_and(fetched) => Some(section.empty("fetch")),
            fetch => fetch,
        });
        if let [(first, _), .., (last, node)] = found.as_slice() {
            let message = format!("give one of `{first}` and `{last}`");
            self.report("E1005", message, &node.span);
            return None;
        }
        let Some((name, node)) = found.into_iter().next() else {
            for (key, at) in [("fetch", fetch_at), ("algorithms", algorithms_at)] {
                if let Some(at) = at {
                    let message = format!("`{key}` says something of keys, and there are none");
                    let problem = Diagnostic::error("E1006", message).at(&at);
                    let help = "say where they are, for example `jwks_uri: URL`, or leave it out";
                    self.problems.push(problem.help(help));
                }
            }
            return None;
        };
        let location = match name {
            "discovery" => self.discovery(&node, issuer??)?,
            "jwks_uri" => Location::Jwks(self.endpoint(&node)?),
            _ => {
                if let Some(at) = fetch_at {
                    self.report("E1006", "`fetch` is for keys that are fetched", &at);
                }
                return self.fixed(name, &node, &algorithms);
            }
        };
        let settings = Settings {
            realm: self.realm.clone(),
            owner,
            location,
            algorithms,
            times,
        };
        let remote = Remote::kept(settings, self.services, self.known);
        Some(KeySource::Remote(remote))
    }

    /// `algorithms: [ES256]`, sorted, and where it stands. None at all would mean all, so a list that is empty is
    /// refused.
    fn algorithms(&mut self, section: &mut Section) -> (Vec<Algorithm>, Option<Span>) {
        let Some(node) = section.take("algorithms") else {
            return (Vec::new(), None);
        };
        let at = node.span.clone();
        let nodes = node.list();
        if nodes.is_empty() {
            let message = "`algorithms` is empty: no key could be used";
            let problem = Diagnostic::error("E1005", message).at(&at);
            let help = "name some, or leave it out for all that there are";
            self.problems.push(problem.help(help));
        }
        let found: BTreeSet<Algorithm> = nodes
            .iter()
            .filter_map(|node| node.parse(self.problems))
            .collect();
        (found.into_iter().collect(), Some(at))
    }

    /// `fetch: { refresh: 10m, max_stale: 1d, timeout: 3s, miss_interval: 5s }`.
    fn fetch(&mut self, section: Option<Section>) -> Times {
        let mut section = section;
        let mut seconds = |key, default, range| {
            let read = section.as_mut();
            let read = read.map(|section| self.seconds(section, key, default, range));
            Duration::from_secs(u64::try_from(read.unwrap_or(default)).unwrap_or_default())
        };
        let times = Times {
            refresh: seconds("refresh", 600, 60..=86_400),
            max_stale: seconds("max_stale", 86_400, 60..=2_592_000),
            timeout: seconds("timeout", 3, 1..=30),
            miss_interval: seconds("miss_interval", 5, 1..=3_600),
        };
        if let Some(section) = section {
            if times.max_stale < times.refresh {
                let message = "`max_stale` is shorter than `refresh`: good keys would be dropped";
                self.report("E1006", message, &section.span);
            }
            section.finish(self.problems);
        }
        times
    }

    /// `openid` (OpenID Connect Discovery §4), `oauth` (RFC 8414 §3), or the document's URL.
    fn discovery(&mut self, node: &Node, id: &Issuer) -> Option<Location> {
        let text = node.text(self.problems)?;
        let url = match &*text {
            "openid" => well_known_openid(id),
            "oauth" => well_known_oauth(id),
            url if !url.contains(':') => {
                let message = format!("`{url}` is neither `openid`, `oauth` nor a URL");
                let problem = Diagnostic::error("E1006", message).at(&node.span);
                self.problems
                    .push(problem.suggest(url, ["openid", "oauth"]));
                return None;
            }
            url => Some(url.to_owned()),
        };
        let Some(url) = url else {
            let message = format!("`{id}` is no https URL that metadata could be found under");
            let problem = Diagnostic::error("E1006", message).at(&node.span);
            self.problems
                .push(problem.help("say where it is: `discovery: https://…`"));
            return None;
        };
        let span = node.span.clone();
        let value = Value::Scalar(Arc::from(url));
        Some(Location::Discovery {
            document: self.endpoint(&Node { span, value })?,
            issuer: id.clone(),
        })
    }

    fn endpoint(&mut self, node: &Node) -> Option<Endpoint> {
        let uri: Uri = node.parse(self.problems)?;
        self.reachable(&uri, Endpoint::try_from(&uri), &node.span)
    }

    /// The endpoint, if there is one at an address that may be connected to.
    pub(super) fn reachable(
        &mut self,
        uri: &Uri,
        parsed: Result<Endpoint, EndpointError>,
        span: &Span,
    ) -> Option<Endpoint> {
        match parsed {
            Ok(endpoint) if self.services.net.refuses(&endpoint) => {
                let message = format!("`{uri}` has an address that is never connected to");
                let problem = Diagnostic::error("E1006", message).at(span);
                let help = "where it is meant, list it: `outbound: { allow_addresses: [PREFIX] }`";
                self.problems.push(problem.help(help));
                None
            }
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                self.report("E1006", format!("`{uri}` {error}"), span);
                None
            }
        }
    }

    /// `jwks_file: PATH` or inline `jwks: { keys: [..] }`.
    fn fixed(&mut self, name: &str, node: &Node, algorithms: &[Algorithm]) -> Option<KeySource> {
        let span = &node.span;
        let loaded = match name {
            "jwks_file" => {
                let name = node.text(self.problems)?;
                let bytes = self.sources.bytes(&name, Some(span), self.problems)?;
                KeySet::from_jwks(&bytes, algorithms)
            }
            _ => KeySet::from_jwks_value(&json(node), algorithms),
        };
        match loaded {
            Ok((keys, skipped)) => {
                for key in skipped {
                    let message = format!(
                        "key {}{} is not used: {}",
                        key.index,
                        named(key.kid.as_deref()),
                        key.reason
                    );
                    let problem = Diagnostic::warning("E1014", message).at(span);
                    self.problems.push(conceal(problem, &[key]));
                }
                Some(KeySource::Fixed(keys))
            }
            Err(error) => {
                let mut problem =
                    Diagnostic::error("E1011", format!("this is no usable JWKS: {error}")).at(span);
                if let JwksError::NoUsableKey(skipped) = &error {
                    problem = conceal(problem, skipped);
                    for key in skipped {
                        problem = problem.help(format!(
                            "key {}{}: {}",
                            key.index,
                            named(key.kid.as_deref()),
                            key.reason
                        ));
                    }
                }
                self.problems.push(problem);
                None
            }
        }
    }
}

/// Where an issuer's metadata is: the path is appended (OpenID Connect Discovery §4.1).
#[must_use]
pub fn well_known_openid(id: &Issuer) -> Option<String> {
    let base = id.as_str().trim_end_matches('/');
    (base.contains("://") && !base.contains('?'))
        .then(|| format!("{base}/.well-known/openid-configuration"))
}

/// Where an issuer's metadata is: the path goes between the host and that of the issuer (RFC 8414 §3.1).
#[must_use]
pub fn well_known_oauth(id: &Issuer) -> Option<String> {
    let base = id.as_str().trim_end_matches('/');
    let (scheme, rest) = base.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let slash = if path.is_empty() { "" } else { "/" };
    (!base.contains('?'))
        .then(|| format!("{scheme}://{host}/.well-known/oauth-authorization-server{slash}{path}"))
}

/// A key that should have been kept secret is not shown.
fn conceal(problem: Diagnostic, skipped: &[SkippedKey]) -> Diagnostic {
    let secret = |key: &SkippedKey| matches!(key.reason, "symmetric" | "private_member");
    match skipped.iter().any(secret) {
        true => problem.concealed(),
        false => problem,
    }
}

fn named(kid: Option<&str>) -> String {
    kid.map(|kid| format!(" (`{kid}`)")).unwrap_or_default()
}

/// A JWKS written as YAML: everything in it is text, lists and mappings.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Scalar(text) => (**text).into(),
        Value::Null => serde_json::Value::Null,
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.name.to_string(), json(node)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_metadata_is_found() {
        for (issuer, openid, oauth) in [
            (
                "https://idp.example.com",
                "https://idp.example.com/.well-known/openid-configuration",
                "https://idp.example.com/.well-known/oauth-authorization-server",
            ),
            (
                "https://tenant.example.com/",
                "https://tenant.example.com/.well-known/openid-configuration",
                "https://tenant.example.com/.well-known/oauth-authorization-server",
            ),
            (
                "https://sso.example.com/realms/corp",
                "https://sso.example.com/realms/corp/.well-known/openid-configuration",
                "https://sso.example.com/.well-known/oauth-authorization-server/realms/corp",
            ),
        ] {
            let id = issuer.parse().unwrap();
            assert_eq!(well_known_openid(&id).as_deref(), Some(openid));
            assert_eq!(well_known_oauth(&id).as_deref(), Some(oauth));
        }
        let odd = "accounts.example.com".parse().unwrap();
        assert_eq!(
            (well_known_openid(&odd), well_known_oauth(&odd)),
            (None, None)
        );
    }
}
