//! Cambist: a policy-driven token exchange gateway.

pub mod jose;
