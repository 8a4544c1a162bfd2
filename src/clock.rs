//! The time. Everything that needs it takes a [`Clock`], so that tests and `explain` can set it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::oauth::NumericDate;

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is [set](Self::set).
    #[must_use]
    pub fn fixed(at: NumericDate) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.0))))
    }

    /// Sets a fixed clock; the machine's clock is not ours to set.
    pub fn set(&self, at: NumericDate) {
        if let Some(fixed) = &self.0 {
            fixed.store(at.0, Ordering::SeqCst);
        }
    }

    /// The time in whole seconds. A machine clock before 1970 reads as 1970: every token is then in
    /// the future and refused.
    #[must_use]
    pub fn now(&self) -> NumericDate {
        match &self.0 {
            Some(fixed) => NumericDate(fixed.load(Ordering::SeqCst)),
            None => NumericDate(i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)),
        }
    }

    /// A time that only grows, from no particular beginning: for ages and waits, which a machine whose
    /// clock is set must not stretch. A fixed clock's grows as it is set.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.0 {
            Some(fixed) => {
                Duration::from_secs(u64::try_from(fixed.load(Ordering::SeqCst)).unwrap_or(0))
            }
            None => BEGINNING.elapsed(),
        }
    }

    /// The time as RFC 3339 text with milliseconds.
    #[must_use]
    pub fn timestamp(&self) -> String {
        let milliseconds = match &self.0 {
            Some(fixed) => fixed.load(Ordering::SeqCst).saturating_mul(1000),
            None => i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX),
        };
        jiff::Timestamp::from_millisecond(milliseconds)
            .map_or_else(|_| "?".to_owned(), |t| format!("{t:.3}"))
    }
}

/// A time as RFC 3339 text.
#[must_use]
pub fn rfc3339(date: NumericDate) -> String {
    jiff::Timestamp::from_second(date.0).map_or_else(|_| "?".to_owned(), |t| t.to_string())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that asks the machine"
)]
fn since_epoch() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
