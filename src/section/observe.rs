//! What readers ask of the mappings of a file, while somebody watches: so that what is said of keys and of their
//! defaults can be held against, or taken from, those who read them.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Node, Section};
use crate::diagnostic::Span;

thread_local! {
    /// A load reads on one thread, from its beginning to its end.
    static WATCHED: RefCell<Option<Vec<Asked>>> = const { RefCell::new(None) };
}

/// Where a mapping stands, or would stand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// The first byte of it, or of the one that it would stand in.
    pub start: usize,
    /// The byte behind it.
    pub end: usize,
    /// The keys that lead to it from there, where it is not written.
    pub below: Vec<&'static str>,
}

impl Place {
    /// That of a mapping that is written.
    #[must_use]
    pub fn of(span: &Span) -> Self {
        Self {
            file: Arc::clone(&span.file),
            start: span.start,
            end: span.end,
            below: Vec::new(),
        }
    }

    pub(super) fn below(&self, key: &'static str) -> Self {
        let mut below = self.clone();
        below.below.push(key);
        below
    }
}

/// A key that a reader asked a mapping for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The mapping.
    pub place: Place,
    /// The key.
    pub key: &'static str,
    /// What it got.
    pub found: Found,
}

/// What a reader got for a key.
#[derive(Clone, Debug)]
pub enum Found {
    /// What is written, there or in what the mapping inherits from; the last word where there are several.
    Written(Node),
    /// Nothing is written, and this holds.
    Default(Node),
    /// Nothing.
    Nothing,
}

/// Runs a reader, and gives what it asked for.
pub fn observed<T>(read: impl FnOnce() -> T) -> (T, Vec<Asked>) {
    let before = WATCHED.replace(Some(Vec::new()));
    let result = read();
    let asked = WATCHED.replace(before);
    (result, asked.unwrap_or_default())
}

pub(super) fn note(section: &Section, key: &'static str, found: impl FnOnce() -> Found) {
    WATCHED.with_borrow_mut(|watched| {
        if let Some(watched) = watched {
            watched.push(Asked {
                place: section.place.clone(),
                key,
                found: found(),
            });
        }
    });
}
