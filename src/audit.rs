//! What was decided, on durable record before anybody is told.

pub mod sink;
