//! The polarity check: no place where an absent attribute would make the gateway more permissive.
//!
//! An absent attribute makes a test false and its complement true. So in a `rule` an optional
//! attribute may not stand in negative position, in a `deny` not in positive position, unless that
//! occurrence is guarded by `present p` (joined with `and`), paired with `absent p` (joined with
//! `or`), or defaulted with `??`.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::rule::{Atom, Condition, Operand, Test};
use crate::policy::syntax::ast::ItemKind;

/// Reports every unguarded occurrence, and what a deny should not rest on.
pub fn check(
    condition: &Condition,
    kind: ItemKind,
    optional: impl Fn(&str) -> bool,
    problems: &mut Diagnostics,
) {
    walk(condition, kind, &optional, &mut Vec::new(), problems);
}

fn walk(
    condition: &Condition,
    kind: ItemKind,
    optional: &impl Fn(&str) -> bool,
    guarded: &mut Vec<String>,
    problems: &mut Diagnostics,
) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            // `present p and …` and `absent p or …` are the two forms that say what absence means.
            let wants_absent = matches!(condition, Condition::Any(_));
            let before = guarded.len();
            for part in parts {
                if let Condition::Atom(Atom {
                    left,
                    test: Test::Present,
                    negated,
                    ..
                }) = part
                    && *negated == wants_absent
                {
                    guarded.push(left.attribute.path());
                }
            }
            parts
                .iter()
                .for_each(|part| walk(part, kind, optional, guarded, problems));
            guarded.truncate(before);
        }
        Condition::Atom(atom) => {
            if let ItemKind::Deny = kind {
                falsifiable(atom, problems);
            }
            if matches!(atom.test, Test::Present) {
                return;
            }
            let fails_open = match kind {
                ItemKind::Rule => atom.negated,
                ItemKind::Deny => !atom.negated,
            };
            if !fails_open {
                return;
            }
            for path in operands(atom)
                .into_iter()
                .filter(|path| optional(path) && !guarded.contains(path))
            {
                let (what, then) = match kind {
                    ItemKind::Rule => ("rule", "this holds, so the rule would let it pass"),
                    ItemKind::Deny => ("deny", "this does not hold, so the deny would not fire"),
                };
                let message = format!("absence of `{path}` would make this {what} fail open");
                let join = match kind {
                    ItemKind::Rule => format!("say it: `present {path} and …`"),
                    ItemKind::Deny => format!("say it: `absent {path} or …`"),
                };
                problems.push(
                    Diagnostic::error("E0310", message)
                        .at(&atom.span)
                        .label(format!("when it is absent, {then}"))
                        .help(join)
                        .help(format!("or give a default: `{path} ?? …`")),
                );
            }
        }
    }
}

/// The attributes of an atom that have no default.
fn operands(atom: &Atom) -> Vec<String> {
    let bare = |operand: &Operand| operand.default.is_none().then(|| operand.attribute.path());
    let mut paths: Vec<String> = bare(&atom.left).into_iter().collect();
    match &atom.test {
        Test::EqualsAttribute(other) | Test::HasAttribute(other) => paths.extend(bare(other)),
        Test::InAttribute(other) => paths.push(other.path()),
        Test::Present
        | Test::Equals(_)
        | Test::In(_)
        | Test::Like(_)
        | Test::LikeUri(_)
        | Test::Under(_)
        | Test::Has(_)
        | Test::Only(_)
        | Test::SetEquals(_) => {}
    }
    paths
}

/// A deny should stay true when a request asks for more (monotone deny).
fn falsifiable(atom: &Atom, problems: &mut Diagnostics) {
    let of_request = matches!(
        atom.left.attribute.path().as_str(),
        "resource" | "audience" | "scope" | "request.scope"
    );
    let falsifiable = match atom.test {
        Test::Only(_) | Test::SetEquals(_) => !atom.negated,
        Test::Has(_) | Test::HasAttribute(_) | Test::Present => atom.negated,
        Test::Equals(_)
        | Test::In(_)
        | Test::EqualsAttribute(_)
        | Test::InAttribute(_)
        | Test::Like(_)
        | Test::LikeUri(_)
        | Test::Under(_) => false,
    };
    if of_request && falsifiable {
        problems.push(
            Diagnostic::warning("E0330", "asking for more would slip past this deny")
                .at(&atom.span)
                .help("test with `has` what must not be there"),
        );
    }
}
