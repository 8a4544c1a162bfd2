//! The polarity check: no place where an absent attribute would make the gateway more permissive.
//!
//! An absent attribute makes a test false and its complement true. So in a `rule` an optional
//! attribute may not stand in negative position, in a `deny` not in positive position, unless that
//! occurrence is guarded by `present p` (joined with `and`), paired with `absent p` (joined with
//! `or`), or defaulted with `??`.

use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::policy::rule::{Atom, Comparison, Condition, Constant, Test};
use crate::policy::schema::{AttributeRef, Type};
use crate::policy::syntax::ast::ItemKind;

/// Reports every unguarded occurrence, and what a deny should not rest on. `optional` gives the type of
/// an attribute that may be absent.
pub fn check(
    condition: &Condition,
    kind: ItemKind,
    optional: impl Fn(&AttributeRef) -> Option<Type>,
    problems: &mut Diagnostics,
) {
    walk(condition, kind, false, &optional, &mut Vec::new(), problems);
    other_spellings(condition, kind, problems);
}

fn walk(
    condition: &Condition,
    kind: ItemKind,
    under_not: bool,
    optional: &impl Fn(&AttributeRef) -> Option<Type>,
    guarded: &mut Vec<String>,
    problems: &mut Diagnostics,
) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            // `present p and …` and `absent p or …` are the two forms that say what absence means.
            // Under a quantifier that is negated, `and` means `or`.
            let wants_absent = matches!(condition, Condition::Any(_)) != under_not;
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
                .for_each(|part| walk(part, kind, under_not, optional, guarded, problems));
            guarded.truncate(before);
        }
        Condition::Atom(atom) => {
            if let ItemKind::Deny = kind {
                falsifiable(atom, problems);
            }
            if let Test::AnyHop(inner) | Test::EveryHop(inner) = &atom.test {
                let under_not = under_not != atom.negated;
                walk(inner, kind, under_not, optional, &mut Vec::new(), problems);
            }
            if matches!(atom.test, Test::Present) {
                return;
            }
            let negated = atom.negated != under_not;
            let fails_open = match kind {
                ItemKind::Rule => negated,
                ItemKind::Deny => !negated,
            };
            if !fails_open {
                return;
            }
            for attribute in operands(atom) {
                let path = attribute.path();
                let Some(ty) = optional(attribute).filter(|_| !guarded.contains(&path)) else {
                    continue;
                };
                let (what, then) = match kind {
                    ItemKind::Rule => ("rule", "this holds, so the rule would let it pass"),
                    ItemKind::Deny => ("deny", "this does not hold, so the deny would not fire"),
                };
                let message = format!("absence of `{path}` would make this {what} fail open");
                let join = match kind {
                    ItemKind::Rule => format!("say it: `present {path} and …`"),
                    ItemKind::Deny => format!("say it: `absent {path} or …`"),
                };
                let mut problem = Diagnostic::error("E0310", message)
                    .at(&atom.span)
                    .label(format!("when it is absent, {then}"))
                    .help(join);
                if !ty.is_set() {
                    problem = problem.help(format!("or give a default: `{path} ?? …`"));
                }
                if kind == ItemKind::Deny {
                    let help = format!("where its absence is fine: `present {path} and …`");
                    problem = problem.help(help);
                }
                problems.push(problem);
            }
        }
    }
}

/// The same target can be asked for in more than one way; what refuses should know them.
fn other_spellings(condition: &Condition, kind: ItemKind, problems: &mut Diagnostics) {
    let mut names_audience = false;
    let mut of_resource: Vec<&Atom> = Vec::new();
    condition.atoms(&mut |atom| match atom.left.attribute.path().as_str() {
        "audience" => names_audience = true,
        // Where a match refuses: in a deny, or under a negation in a rule.
        "resource" if (kind == ItemKind::Deny) != atom.negated => of_resource.push(atom),
        _ => {}
    });
    for atom in &of_resource {
        let exact = match &atom.test {
            Test::Has(_) | Test::HasAny(_) | Test::HasAll(_) | Test::HasAttribute(_) => true,
            Test::AnyMember(inner) | Test::EveryMember(inner) => {
                !inner.negated && matches!(inner.test, Test::Equals(_) | Test::In(_))
            }
            _ => continue,
        };
        if exact {
            let message = match kind {
                ItemKind::Deny => "a final slash or a query would slip past this deny",
                ItemKind::Rule => "a final slash or a query would slip past this condition",
            };
            let problem = Diagnostic::warning("E0331", message).at(&atom.span);
            problems.push(problem.help("write `any resource under \"…\"`"));
        }
    }
    if let (ItemKind::Deny, false, Some(atom)) = (kind, names_audience, of_resource.first())
        && !matches!(atom.test, Test::SetEquals(_) | Test::Count(..))
    {
        let message = "the same target asked for by `audience` would slip past this deny";
        let problem = Diagnostic::warning("E0332", message).at(&atom.span);
        problems.push(problem.help("refuse its name too: `… or audience has \"…\"`"));
    }
}

/// The attributes of an atom that have no default.
fn operands(atom: &Atom) -> impl Iterator<Item = &AttributeRef> {
    both(atom)
        .filter(|(_, default)| !default)
        .map(|(attribute, _)| attribute)
}

/// The attributes of an atom, and whether each has a default.
fn both(atom: &Atom) -> impl Iterator<Item = (&AttributeRef, bool)> {
    let left = (&atom.left.attribute, atom.left.default.is_some());
    std::iter::once(left).chain(atom.test.right())
}

/// A deny should stay true when a request asks for more, or comes by way of more actors (monotone deny).
fn falsifiable(atom: &Atom, problems: &mut Diagnostics) {
    let grows = |path: String| {
        matches!(
            path.as_str(),
            "resource"
                | "audience"
                | "scope"
                | "request.scope"
                | "subject.chain"
                | "subject.chain.depth"
        )
    };
    let left = grows(atom.left.attribute.path());
    // With an actor token, what was absent is there: what holds of nobody need not hold of somebody.
    let of_actor = both(atom)
        .filter(|(attribute, _)| attribute.path().starts_with("actor."))
        .any(|(_, default)| atom.negated || default);
    if of_actor {
        problems.push(slips_past(&atom.span));
        return;
    }
    // Whoever acts next stands where the outermost actor stood.
    let outermost = both(atom).any(|(attribute, _)| attribute.path().starts_with("subject.act"));
    if outermost && (atom.negated || !matches!(atom.test, Test::Present)) {
        let message = "one more actor would slip past this deny";
        let problem = Diagnostic::warning("E0330", message).at(&atom.span);
        problems.push(problem.help("look at all of them: `any subject.chain where (it.sub == …)`"));
        return;
    }
    let falsifiable = match &atom.test {
        // From nothing to a listed member, `only` and `==` become true; from that to another, false.
        Test::SetEquals(wanted) => left && !(atom.negated && wanted.is_empty()),
        Test::Only(_) | Test::EveryMember(_) | Test::EveryHop(_) => left,
        Test::Has(_)
        | Test::HasAttribute(_)
        | Test::HasAny(_)
        | Test::HasAll(_)
        | Test::AnyMember(_)
        | Test::AnyHop(_)
        | Test::Present => left && atom.negated,
        Test::InAttribute(set) => grows(set.path()) && atom.negated,
        Test::Count(comparison, _) | Test::Compare(comparison, _) => {
            let grows_into = match comparison {
                Comparison::Greater | Comparison::AtLeast => !atom.negated,
                Comparison::Less | Comparison::AtMost => atom.negated,
                Comparison::Equal => false,
            };
            left && !grows_into
        }
        // Of these, only the depth of a chain can grow.
        Test::Equals(_) | Test::In(_) => left,
        Test::EqualsAttribute(other) => left || grows(other.attribute.path()),
        Test::Prefixes(_) | Test::Hours(_) | Test::Like(_) | Test::LikeUri(_) | Test::Under(_) => {
            false
        }
    };
    if falsifiable {
        problems.push(slips_past(&atom.span));
    }
}

/// In a rule, earlier actors give no rights (RFC 8693 §4.1): a chain may be too long, not too short.
pub fn longer_chains(atom: &Atom) -> Option<Diagnostic> {
    let depth = |attribute: &AttributeRef| attribute.path() == "subject.chain.depth";
    if !both(atom).any(|(attribute, _)| depth(attribute)) {
        return None;
    }
    let bounds = match &atom.test {
        Test::Compare(Comparison::Less | Comparison::AtMost, _) => !atom.negated,
        Test::Compare(Comparison::Greater | Comparison::AtLeast, _) => atom.negated,
        Test::Compare(Comparison::Equal, 0) | Test::Equals(Constant::Int(0)) => !atom.negated,
        _ => false,
    };
    let message = "a rule can only say how long a chain may be at most";
    let problem = Diagnostic::error("E0217", message).at(&atom.span);
    let help =
        "earlier actors give no rights (RFC 8693 section 4.1): write `subject.chain.depth < 3`";
    (!bounds).then(|| problem.help(help))
}

/// The warning for a deny that a request escapes by asking for more.
pub fn slips_past(span: &Span) -> Diagnostic {
    Diagnostic::warning("E0330", "asking for more would slip past this deny")
        .at(span)
        .label("a request for which this holds may no longer do so with one more element")
        .help("say with `has` or `to` what must not be asked for")
}
