//! Policy text ⇄ tree. The only place that names `pest`; it decides nothing.

pub mod ast;
pub mod comments;
mod limits;
mod parse;
mod slips;

pub use parse::{Place, Values, condition, given, parse, values};

mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/policy.pest"]
    pub struct Grammar;
}
