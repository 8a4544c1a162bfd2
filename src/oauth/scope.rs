//! Scope (RFC 6749 §3.3): case-sensitive tokens, a set, printed in a fixed order.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::id::NameError;

/// A set of scope tokens. An empty set means none, never all.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Scopes(BTreeSet<Arc<str>>);

/// As many scope tokens as a request or a token may name.
pub const MAX_SCOPES: usize = 256;

impl Scopes {
    /// Whether `text` is one scope token: one or more NQCHAR (RFC 6749 §3.3).
    #[must_use]
    pub fn is_token(text: &str) -> bool {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    }

    /// A set of tokens.
    ///
    /// # Errors
    /// When one is not a scope token, or there are more than [`MAX_SCOPES`].
    pub fn from_tokens<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Result<Self, NameError> {
        let mut set = BTreeSet::new();
        for token in tokens {
            if !Self::is_token(token) {
                return Err(NameError("has a character that no scope token may have"));
            }
            set.insert(Arc::from(token));
            if set.len() > MAX_SCOPES {
                return Err(NameError("has too many scope tokens"));
            }
        }
        Ok(Self(set))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `token` is in the set.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Whether every token of `self` is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The tokens that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The tokens that are in one of them.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The tokens, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|token| &**token)
    }

    /// The underlying ordered set.
    #[must_use]
    pub fn as_set(&self) -> &BTreeSet<Arc<str>> {
        &self.0
    }
}

impl FromStr for Scopes {
    type Err = NameError;

    /// Tokens separated by single spaces, in any order; repeats mean nothing.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::from_tokens(text.split(' '))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_syntax_is_that_of_rfc6749_section_3_3() {
        assert_eq!("b a b".parse::<Scopes>().unwrap().to_string(), "a b");
        for bad in ["a  b", " a", "a ", "a\tb", "a\"b", "a\\b", "é"] {
            assert!(bad.parse::<Scopes>().is_err(), "{bad:?}");
        }
        assert!("".parse::<Scopes>().unwrap().is_empty());
    }
}
