//! What every part of a configuration is read with.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Sources;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::keys::Remote;
use crate::oauth::id::RealmName;
use crate::section::{Node, Seconds, Section, Value};
use crate::services::Services;

/// The files, what the process has, what was fetched for the configuration that runs, and what is wrong.
pub(super) struct Reader<'a> {
    pub sources: &'a mut Sources,
    pub services: &'a Services,
    /// The realm that is read.
    pub realm: &'a RealmName,
    /// What was fetched for the configuration that runs.
    pub known: &'a [Arc<Remote>],
    pub problems: &'a mut Diagnostics,
}

impl Reader<'_> {
    pub(super) fn report(&mut self, code: &'static str, message: impl Into<String>, span: &Span) {
        self.problems
            .push(Diagnostic::error(code, message).at(span));
    }

    /// What stands under names (`NAME: VALUE`), or is only named (a list, or one alone).
    pub(super) fn named(&mut self, node: Node) -> Vec<(Arc<str>, Span, Option<Node>)> {
        match node.value {
            Value::Map(entries) => entries
                .into_iter()
                .map(|(key, node)| (key.name, key.span, Some(node)))
                .collect(),
            _ => node
                .list()
                .into_iter()
                .filter_map(|node| Some((node.text(self.problems)?, node.span, None)))
                .collect(),
        }
    }

    pub(super) fn seconds(
        &mut self,
        section: &mut Section,
        key: &'static str,
        default: i64,
        range: RangeInclusive<i64>,
    ) -> i64 {
        let Some(node) = section.take(key) else {
            section.falls_back(key, Seconds(default));
            return default;
        };
        let (least, most) = (*range.start(), *range.end());
        match node.parse::<Seconds>(self.problems) {
            Some(Seconds(seconds)) if range.contains(&seconds) => return seconds,
            Some(_) if least == 0 => {
                self.report(
                    "E1006",
                    format!("`{key}` must be at most {most}s"),
                    &node.span,
                );
            }
            Some(_) => {
                let message = format!("`{key}` must be from {least}s to {most}s");
                self.report("E1006", message, &node.span);
            }
            None => {}
        }
        default
    }
}
