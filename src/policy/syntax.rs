//! Policy text ⇄ tree. The only place that names `pest`; it decides nothing.

pub mod ast;
mod limits;
mod parse;
mod slips;

pub use parse::parse;

mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/policy.pest"]
    pub struct Grammar;
}
