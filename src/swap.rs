//! A value that is replaced whole while others read it. The only file that names `arc_swap`.

use std::sync::Arc;

/// A handle on the current value.
#[derive(Debug)]
pub struct Swap<T>(arc_swap::ArcSwap<T>);

impl<T> Swap<T> {
    /// Starts with a value.
    pub fn new(value: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(value))
    }

    /// The current value. It does not change under whoever holds it.
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces the value for everybody who loads from now on.
    pub fn store(&self, value: Arc<T>) {
        self.0.store(value);
    }
}
