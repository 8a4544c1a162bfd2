//! Where a token is to be used: `resource` and `audience` (RFC 8693 §2.1, RFC 8707 §2).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::id::NameError;
use super::scope::Scopes;
use super::uri::Uri;

/// As many targets as one request may name, resources and audiences together.
pub const MAX_TARGETS: usize = 32;

/// A logical name of a target service: any text without controls, 1,024 bytes at most.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(Arc<str>);

impl Audience {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Audience {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "" => Err(NameError("must not be empty")),
            t if t.len() > 1024 => Err(NameError("is too long")),
            t if t.chars().any(char::is_control) => Err(NameError("has a control character")),
            t => Ok(Self(Arc::from(t))),
        }
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Every target of one request; both lists may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// The `resource` parameters, in the order sent.
    pub resources: Vec<Uri>,
    /// The `audience` parameters, as a set.
    pub audiences: BTreeSet<Arc<str>>,
}

impl Targets {
    /// Whether no target was named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.audiences.is_empty()
    }
}

/// An entry of a realm's `resources:` registry: what lies under a URI has this audience.
#[derive(Clone, Debug)]
pub struct RegisteredResource {
    /// Everything at or below this URI.
    pub under: Uri,
    /// The `aud` of tokens issued for it.
    pub audience: Audience,
    /// The scopes that may be issued for it; `None` where the entry does not say.
    pub scopes: Option<Scopes>,
}

/// A realm's `resources:` registry.
#[derive(Clone, Debug, Default)]
pub struct ResourceRegistry(pub Vec<RegisteredResource>);

impl ResourceRegistry {
    /// The scopes offered under an audience's name: those of all entries that have it; `None` where there
    /// is none, or one of them does not say.
    #[must_use]
    pub fn offered(&self, audience: &str) -> Option<Scopes> {
        let mut entries = self
            .0
            .iter()
            .filter(|entry| entry.audience.as_str() == audience)
            .peekable();
        entries.peek()?;
        entries.try_fold(Scopes::default(), |all, entry| {
            entry.scopes.as_ref().map(|scopes| all.union(scopes))
        })
    }

    /// Whether an entry has this audience.
    #[must_use]
    pub fn has_audience(&self, audience: &str) -> bool {
        self.0
            .iter()
            .any(|entry| entry.audience.as_str() == audience)
    }

    /// The longest entry that contains `resource`.
    #[must_use]
    pub fn find(&self, resource: &Uri) -> Option<&RegisteredResource> {
        self.0
            .iter()
            .filter(|entry| resource.is_under(&entry.under))
            .max_by_key(|entry| entry.under.path().trim_end_matches('/').len())
    }
}
