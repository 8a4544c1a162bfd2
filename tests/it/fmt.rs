//! Trees ⇄ text ⇄ YAML: nothing is lost, and what is formatted stays as it is.

mod cli;
mod print;
mod trees;
mod yaml;
