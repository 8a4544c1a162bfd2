//! Cambist: a policy-driven token exchange gateway.

pub mod oauth;
pub mod proof;
pub mod diagnostic;
pub mod context;
pub mod clock;
pub mod swap;
pub mod section;
pub mod jose;
pub mod policy;
pub mod net;
pub mod audit;
pub mod reload;
