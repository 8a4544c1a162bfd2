//! Cambist: a policy-driven token exchange gateway.

pub mod clock;
pub mod context;
pub mod diagnostic;
pub mod jose;
pub mod metrics;
pub mod oauth;
pub mod policy;
pub mod services;
pub mod token;
pub mod client;
pub mod provider;
pub mod snapshot;
pub mod exchange;
pub mod config;
pub mod proof;
pub mod section;
pub mod swap;
