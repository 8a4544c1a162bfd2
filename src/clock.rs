//! The time. Everything that needs it takes a [`Clock`], so that tests and `explain` can set it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::oauth::NumericDate;

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Fixed>>);

/// A clock that stands still has two hands: what time it is, and how much has passed. Seconds both.
#[derive(Debug)]
struct Fixed {
    wall: AtomicI64,
    elapsed: AtomicI64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is [set](Self::set).
    #[must_use]
    pub fn fixed(at: NumericDate) -> Self {
        Self(Some(Arc::new(Fixed {
            wall: AtomicI64::new(at.0),
            elapsed: AtomicI64::new(at.0),
        })))
    }

    /// Lets time pass on a fixed clock until it is so late; the machine's clock is not ours to set.
    pub fn set(&self, at: NumericDate) {
        if let Some(fixed) = &self.0 {
            let before = fixed.wall.swap(at.0, Ordering::SeqCst);
            let passed = at.0.saturating_sub(before);
            fixed.elapsed.fetch_add(passed, Ordering::SeqCst);
        }
    }

    /// Sets a fixed clock as a machine's clock is set: no time passes.
    pub fn step(&self, at: NumericDate) {
        if let Some(fixed) = &self.0 {
            fixed.wall.store(at.0, Ordering::SeqCst);
        }
    }

    /// The time in whole seconds. A machine clock before 1970 reads as 1970: every token is then in
    /// the future and refused.
    #[must_use]
    pub fn now(&self) -> NumericDate {
        match &self.0 {
            Some(fixed) => NumericDate(fixed.wall.load(Ordering::SeqCst)),
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
                let seconds = fixed.elapsed.load(Ordering::SeqCst);
                Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
            }
            None => BEGINNING.elapsed(),
        }
    }

    /// The time as RFC 3339 text with milliseconds.
    #[must_use]
    pub fn timestamp(&self) -> String {
        let milliseconds = match &self.0 {
            Some(_) => self.now().0.saturating_mul(1000),
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
