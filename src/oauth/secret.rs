//! Values that must never be shown.
//!
//! `Debug` prints `[redacted]`; there is no `Display` and no `Serialize`. Memory is wiped on drop.

use std::fmt;
use zeroize::Zeroizing;

/// A password, a client secret, a key in text form.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Every caller of this is a place to review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A token as it came over the wire: not verified, not to be shown, not visible to policies.
#[derive(Clone, Debug)]
pub struct RawToken(Secret);

impl RawToken {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Secret::new(text))
    }

    /// The text. Every caller of this is a place to review.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}
