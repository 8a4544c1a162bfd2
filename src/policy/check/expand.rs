//! Defs written out where they are named, and the bounds of what that may come to.

use super::{Checker, MAX_TESTS, MAX_TESTS_IN_ALL, Scope};
use crate::diagnostic::{Diagnostic, Span};
use crate::policy::rule::Condition;
use crate::policy::syntax::ast::{self, Text};

/// How many defs may name one another in a row.
const MAX_DEFS_DEEP: usize = 32;
/// How deep a condition may be nested when its defs are written out: every level is a call, here and for
/// every request.
pub(super) const MAX_DEPTH: usize = 128;

impl<'a> Checker<'a> {
    /// Writes a def out where it is named, with the names of its own module.
    pub(super) fn expand(
        &mut self,
        name: &Text,
        scope: Scope<'_>,
        negated: bool,
    ) -> Option<Condition> {
        let (module, def) = self.def(name)?;
        let same = |(of, other): &(usize, &ast::Def)| *of == module && std::ptr::eq(*other, def);
        if let Some(begin) = self.expanding.iter().position(same) {
            // One place for a circle, wherever it is entered.
            let circle = self.expanding.iter().skip(begin).map(|(_, def)| *def);
            if let Some(def) = circle.min_by_key(|def| &def.name.span) {
                let message = format!("`{}` is defined by way of itself", def.name.value);
                self.report(Diagnostic::error("E0209", message).at(&def.name.span));
            }
            return None;
        }
        if self.expanding.len() == MAX_DEFS_DEEP {
            let message = format!("more than {MAX_DEFS_DEEP} defs name one another in a row");
            let problem = Diagnostic::error("E0901", message).at(&name.span);
            self.report(match self.item {
                Some(item) => problem.related(item, "named here, by way of others"),
                None => problem,
            });
            return None;
        }
        let here = std::mem::replace(&mut self.module, module);
        self.expanding.push((module, def));
        let condition = self.condition(&def.condition, scope, negated);
        self.expanding.pop();
        self.module = here;
        condition
    }

    /// Keeps conditions within bounds that their defs, written out, could leave by far. Once they are
    /// left, nothing more is looked at: what is written in a line may mean more than could ever be read.
    pub(super) fn count_test(&mut self, span: Option<&Span>) -> Option<()> {
        self.charge(1, span)
    }

    /// The same for so many constants at once, where every use of a list costs its length.
    pub(super) fn charge(&mut self, parts: usize, span: Option<&Span>) -> Option<()> {
        if self.tests > MAX_TESTS || self.tests_in_all > MAX_TESTS_IN_ALL {
            return None;
        }
        self.tests += usize::from(parts == 1);
        self.tests_in_all += parts;
        if self.tests <= MAX_TESTS && self.tests_in_all <= MAX_TESTS_IN_ALL {
            return Some(());
        }
        let message = "too many tests and constants when all defs are written out".to_owned();
        self.too_much(message, span);
        None
    }

    pub(super) fn too_much(&mut self, message: String, span: Option<&Span>) {
        let help = format!(
            "a rule may have {MAX_TESTS} parts, all rules together {MAX_TESTS_IN_ALL}; a list of strings costs nothing where it is used again"
        );
        let problem = Diagnostic::error("E0901", message).help(help);
        self.report(match self.item.or(span) {
            Some(place) => problem.at(place),
            None => problem,
        });
    }
}
