//! Policy text ⇄ tree. The only place that names `pest`; it decides nothing.

pub mod ast;
pub mod comments;
mod layout;
mod limits;
mod parse;
pub mod print;
mod slips;
pub mod word;

pub use parse::{Place, Values, condition, given, parse, values};
pub use print::print;

mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/policy.pest"]
    pub struct Grammar;
}
