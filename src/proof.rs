//! A check is a value: what was verified has another type than what was not.

/// A value that some check vouched for. The only way to make one is `Verified::assertion`, which is
/// crate-private and called in a handful of files: `rg '::assertion\('` is the security review's
/// table of contents.
#[derive(Debug, Clone)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// States that `value` was verified. Each caller says by what.
    pub(crate) fn assertion(value: T) -> Self {
        Self(value)
    }

    /// Gives the value up.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
