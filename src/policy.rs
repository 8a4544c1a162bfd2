//! The policy engine: text → tree → checked rules → decision.
//!
//! Knows no provider, no network, no clock and no YAML. Time reaches it as `context.now`; what a
//! realm has (issuers, clients, processors) reaches it as a [`schema::Schema`].

pub mod check;
pub mod compare;
pub mod decide;
pub mod explain;
pub mod facts;
pub mod generate;
pub mod pattern;
pub mod prove;
pub mod rule;
pub mod schema;
pub mod syntax;
pub mod trial;

pub use check::check;
pub use decide::{Decision, Denial, Permit, PolicySet};
pub use syntax::parse;
