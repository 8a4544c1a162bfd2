//! The policy engine: what is read, what is refused and why, and what is decided.

mod adversarial;
mod cases;
mod compare;
mod equal;
mod generate;
mod golden;
mod properties;
mod realm;
mod reviewed;
mod smt;
mod sound;
mod tree;
