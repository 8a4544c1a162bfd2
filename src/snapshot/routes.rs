//! Which realm answers a request: by its path, and by its host where two realms share a path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Realm;
use crate::oauth::id::RealmName;

/// What a realm answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// The token endpoint (RFC 6749 §3.2).
    Token,
    /// The metadata document (RFC 8414 §3).
    Metadata,
    /// Our public keys (RFC 7517 §5).
    Jwks,
}

/// Every path that is answered, and by whom.
#[derive(Debug, Default)]
pub struct Routes(HashMap<String, Vec<Route>>);

#[derive(Debug)]
struct Route {
    realm: Arc<Realm>,
    endpoint: Endpoint,
}

impl Route {
    fn answers(&self, host: &str) -> bool {
        self.realm.hosts.is_empty() || self.realm.hosts.contains(host)
    }
}

/// Two realms that would answer the same request, or be the same issuer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The first by name.
    pub first: RealmName,
    /// The other one.
    pub second: RealmName,
    /// What both would be or answer, in words that follow their names.
    pub over: String,
}

impl Routes {
    /// The routes of these realms.
    ///
    /// # Errors
    /// Every pair that could not be told apart.
    pub fn new(realms: &BTreeMap<RealmName, Arc<Realm>>) -> Result<Self, Vec<Conflict>> {
        let mut routes: HashMap<String, Vec<Route>> = HashMap::new();
        let mut issuers: BTreeMap<&str, &RealmName> = BTreeMap::new();
        let mut conflicts = Vec::new();
        for (name, realm) in realms {
            if let Some(first) = issuers.insert(realm.issuer.as_str(), name) {
                conflicts.push(Conflict {
                    first: first.clone(),
                    second: name.clone(),
                    over: format!("have the same issuer identifier `{}`", realm.issuer),
                });
            }
            for (path, endpoint) in [
                (&realm.token_path, Endpoint::Token),
                (&realm.metadata_path, Endpoint::Metadata),
                (&realm.jwks_path, Endpoint::Jwks),
            ] {
                let there = routes.entry(path.clone()).or_default();
                let both = there.iter().find_map(|route| {
                    let over = shared(&route.realm.hosts, &realm.hosts)?;
                    Some((route.realm.name.clone(), over))
                });
                if let Some((first, host)) = both {
                    conflicts.push(Conflict {
                        first,
                        second: name.clone(),
                        over: format!("both answer `{path}` {host}"),
                    });
                }
                there.push(Route {
                    realm: Arc::clone(realm),
                    endpoint,
                });
            }
        }
        conflicts.dedup_by(|a, b| a.first == b.first && a.second == b.second);
        match conflicts.is_empty() {
            true => Ok(Self(routes)),
            false => Err(conflicts),
        }
    }

    /// Who answers this path under this host (in lower case, without a port), if anybody does. There is one at
    /// most.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<(&Arc<Realm>, Endpoint)> {
        let there = self.0.get(path)?;
        let route = there.iter().find(|route| route.answers(host))?;
        Some((&route.realm, route.endpoint))
    }
}

/// The hosts on which two would both answer, in words; `None` where there are none.
fn shared(one: &BTreeSet<String>, other: &BTreeSet<String>) -> Option<String> {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => Some("on any host".to_owned()),
        (true, false) => other.first().map(|host| format!("on `{host}`")),
        (false, true) => one.first().map(|host| format!("on `{host}`")),
        (false, false) => one
            .intersection(other)
            .next()
            .map(|host| format!("on `{host}`")),
    }
}
