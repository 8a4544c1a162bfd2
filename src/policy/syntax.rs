//! Policy text ⇄ tree. The only place that names `pest`; it decides nothing.

pub mod ast;
mod parse;

pub use parse::parse;
