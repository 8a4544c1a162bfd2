//! From changed files to a new live configuration.

pub mod watch;
