//! What the process remembers between requests, whatever the configuration says.
//!
//! One contract per file, sliced small. They live in the process's services, so that no reload forgets
//! anything. In this build they live in memory: a process knows nothing of another one, nor of itself
//! before its start, and says so where it matters.

mod single_use;

pub use single_use::{Limits, Refusal, SingleUse, Ticket};
