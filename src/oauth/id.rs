//! Names on the wire and in configuration, each its own type, so that none stands for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub &'static str);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(Arc::from(text)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// A client's `client_id`: one or more VSCHAR (RFC 6749 appendix A.1), 256 bytes at most.
    ClientId,
    vschars
);
name!(
    /// An issuer identifier, compared as a string, byte for byte (RFC 8414 §2, RFC 7519 §4.1.1).
    Issuer,
    issuer
);
name!(
    /// What a realm's configuration calls an issuer; rules speak of issuers by alias only.
    IssuerAlias,
    word
);
name!(
    /// What a realm's configuration calls a processor (a configured provider instance).
    ProcessorId,
    word
);
name!(
    /// What the root configuration calls a realm: one issuer's whole configuration.
    RealmName,
    word
);
name!(
    /// What configuration calls somebody who administers the process.
    PrincipalName,
    word
);
name!(
    /// A `sub` claim: not empty, no control characters, 1,024 bytes at most.
    Subject,
    subject
);
name!(
    /// A request's own id: in every answer, log line and audit record of that request.
    RequestId,
    word
);

impl RequestId {
    /// Of a request that could not be given an id.
    #[must_use]
    pub fn unknown() -> Self {
        Self(Arc::from("unknown"))
    }
}

impl RealmName {
    /// The name of the one realm of a configuration without `realms:`.
    pub const DEFAULT: &str = "default";
}

impl Default for RealmName {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }
}

impl IssuerAlias {
    /// The alias of our own tokens.
    #[must_use]
    pub fn own() -> Self {
        Self(Arc::from("self"))
    }

    /// Whether this is the alias of our own tokens.
    #[must_use]
    pub fn is_own(&self) -> bool {
        &*self.0 == "self"
    }
}

/// A rule's full name, `module.rule`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId {
    /// The module that its file declares.
    pub module: Arc<str>,
    /// Its name in that module.
    pub name: Arc<str>,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

fn vschars(text: &str) -> Result<(), NameError> {
    match text {
        "" => Err(NameError("must not be empty")),
        t if t.len() > 256 => Err(NameError("must be at most 256 bytes long")),
        t if !t.bytes().all(|b| (0x20..=0x7e).contains(&b)) => {
            Err(NameError("must be printable ASCII"))
        }
        _ => Ok(()),
    }
}

fn issuer(text: &str) -> Result<(), NameError> {
    vschars(text)?;
    if text.contains(' ') {
        Err(NameError("must not contain a space"))
    } else {
        Ok(())
    }
}

fn word(text: &str) -> Result<(), NameError> {
    let mut bytes = text.bytes();
    let first = bytes.next().ok_or(NameError("must not be empty"))?;
    if text.len() > 128 {
        return Err(NameError("must be at most 128 bytes long"));
    }
    if !(first.is_ascii_alphanumeric() || first == b'_') {
        return Err(NameError("must start with a letter or digit"));
    }
    if bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        Ok(())
    } else {
        Err(NameError("may hold letters, digits, `-` and `_` only"))
    }
}

fn subject(text: &str) -> Result<(), NameError> {
    match text {
        "" => Err(NameError("must not be empty")),
        t if t.len() > 1024 => Err(NameError("must be at most 1024 bytes long")),
        t if t.chars().any(char::is_control) => {
            Err(NameError("must not contain control characters"))
        }
        _ => Ok(()),
    }
}
