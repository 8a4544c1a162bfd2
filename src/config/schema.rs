//! What may stand in cambist.yaml, said once for editors (JSON Schema 2020-12) and for the reference.
//!
//! The readers do not go by these tables, since each knows its own keys; `tests/it/schema.rs` watches the readers at
//! work and holds what they ask for, and what holds where nothing is written, against them, both ways.

mod json;
mod tables;

pub use json::json_schema;
pub use tables::{PROVIDERS, ROOT};

/// A mapping with keys of its own.
#[derive(Debug)]
pub struct Shape {
    /// What it is called among the definitions.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key of a mapping.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What it says.
    pub doc: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds where it is not written.
    pub default: Default,
    /// Whether it must be written.
    pub required: bool,
    /// A value, in YAML of one line; empty where its kind shows what it takes.
    pub example: &'static str,
}

/// What holds where a key is not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    /// Nothing that could be written.
    Nothing,
    /// This value.
    Is(&'static str),
    /// What follows from something else; its documentation says what.
    Follows,
}

/// What a key takes.
#[derive(Debug)]
pub enum Kind {
    /// Text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A length of time: `90s`, `5m`, `2h`, `1d`.
    Duration,
    /// A whole number, from the one to the other.
    Count(u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of the names of a table.
    Table(fn() -> Vec<&'static str>),
    /// One of the names of a table, or any other text.
    Open(fn() -> Vec<&'static str>),
    /// One, or a list.
    List(&'static Kind),
    /// A mapping with keys of its own.
    Section(&'static Shape),
    /// A mapping of names that whoever writes it chooses.
    Map(&'static Map),
    /// One of several.
    Either(&'static [Kind]),
    /// A processor: a mapping whose key `provider` says which other keys it has.
    Processor,
    /// Whatever JSON there is.
    Json,
}

/// A mapping of names.
#[derive(Debug)]
pub struct Map {
    /// What a name is for.
    pub doc: &'static str,
    /// Names that have a meaning of their own.
    pub fixed: &'static [(&'static str, Kind)],
    /// What stands behind any other; nothing where there is no other.
    pub value: Option<Kind>,
}
