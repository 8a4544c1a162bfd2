//! When to ask: the waits after failures, and the budget for keys that nobody has heard of.
//!
//! Pure: times go in, answers come out. All times are those of one [`Clock`](crate::clock::Clock).

use std::time::Duration;

use super::jittered;

/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long to wait after so many failures in a row.
pub(super) fn wait(failures: u32) -> Duration {
    let doubled = 1u32
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u32::MAX);
    jittered(FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT), 0.5)
}

/// How many extra fetches unknown `kid`s may cause: a few at once, so that a rotation lands at once, then
/// one per interval. What asks beyond that is told to come back: whatever fetch there is serves all.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    interval: Duration,
    next: Duration,
}

impl Budget {
    /// What may happen at once.
    pub(super) const BURST: u32 = 2;

    pub(super) fn new(interval: Duration) -> Self {
        Self {
            left: Self::BURST,
            interval,
            next: Duration::ZERO,
        }
    }

    /// Takes one, if there is one left.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        while self.left < Self::BURST && now >= self.next {
            self.left += 1;
            // An interval is at least what is configured, and a little more at random.
            self.next += self.interval + jittered(self.interval, 0.0) / 5;
        }
        if self.left == 0 {
            return false;
        }
        if self.left == Self::BURST {
            self.next = now + self.interval + jittered(self.interval, 0.0) / 5;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_a_minute() {
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (7, 60), (40, 60), (u32::MAX, 60)] {
            let wait = wait(failures);
            assert!(
                wait >= SECOND * longest / 2 && wait <= SECOND * longest,
                "{failures}: {wait:?}"
            );
        }
    }

    #[test]
    fn a_flood_gets_the_burst_and_then_one_per_interval() {
        let mut budget = Budget::new(30 * SECOND);
        let taken = (0..3_000)
            .filter(|second| budget.take(SECOND * *second))
            .count();
        // 3000 seconds hold at most 100 intervals.
        assert!((80..=102).contains(&taken), "{taken}");
        let mut budget = Budget::new(30 * SECOND);
        let at_once = (0..100).filter(|_| budget.take(SECOND * 7)).count();
        assert_eq!(at_once, 2);
    }

    #[test]
    fn what_was_not_used_does_not_pile_up() {
        let mut budget = Budget::new(30 * SECOND);
        assert!(budget.take(SECOND));
        let later = (0..100).filter(|_| budget.take(SECOND * 100_000)).count();
        assert_eq!(later, 2);
    }
}
