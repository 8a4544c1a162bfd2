//! Conditions: attributes and operators, and the way from the tree to negation normal form.

use std::sync::Arc;

use super::expand::MAX_DEPTH;
use super::{Checker, Parties, Resolved, Scope, absence};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::policy::pattern::UriPattern;
use crate::policy::rule::{
    Atom, Comparison, Condition, Constant, Constants, MemberTest, Operand, Prefixes, Test,
};
use crate::policy::schema::{ATTRIBUTES, AttributeRef, Names, Type};
use crate::policy::syntax::ast::{self, ItemKind, Literal, Operator, Quantifier, Spanned, Text};

/// A side of a comparison, resolved.
enum Side<'a> {
    Attribute(Resolved, Option<Constant>, Span),
    Literal(Spanned<Literal>),
    List(Members<'a>),
}

/// The members of a list, and its definition where it has one.
#[derive(Clone)]
pub(super) struct Members<'a> {
    pub(super) items: &'a [Spanned<Literal>],
    pub(super) named: Option<(&'a ast::ListDef, Span)>,
}

impl<'a> Checker<'a> {
    /// All `when` clauses joined with `and`. `None` when there was an error.
    pub(super) fn when(
        &mut self,
        conditions: &[&'a ast::Condition],
        parties: &Parties,
        kind: ItemKind,
    ) -> Option<Condition> {
        let scope = Scope {
            parties,
            kind,
            hop: false,
        };
        // Every condition is looked at, so that all problems are reported.
        let parts: Vec<_> = conditions
            .iter()
            .map(|c| self.condition(c, scope, false))
            .collect();
        let parts: Option<Vec<Condition>> = parts.into_iter().collect();
        let mut whole = flatten(Condition::All(parts?));
        any_query_where_matching_refuses(&mut whole, kind == ItemKind::Deny);
        if kind == ItemKind::Rule {
            let mut found = Vec::new();
            whole.atoms(&mut |atom| found.extend(absence::longer_chains(atom)));
            self.problems.extend(Diagnostics::from_iter(found));
        }
        let mut found = Diagnostics::default();
        let optional = |attribute: &AttributeRef| self.optional(attribute, scope);
        absence::check(&whole, kind, optional, &mut found);
        self.problems.extend(found);
        Some(whole)
    }

    /// The condition of a claim, which speaks of any request: absence opens nothing there. `refuses` is
    /// whether the claim says that something does not happen where it holds.
    pub(super) fn of_any_request(
        &mut self,
        condition: &'a ast::Condition,
        parties: &Parties,
        refuses: bool,
    ) -> Option<Condition> {
        let scope = Scope {
            parties,
            kind: ItemKind::Deny,
            hop: false,
        };
        let mut whole = flatten(self.condition(condition, scope, false)?);
        any_query_where_matching_refuses(&mut whole, refuses);
        Some(whole)
    }

    /// How each member of a set is tested that is no attribute of a request, but has the form of one.
    pub(super) fn member_like(
        &mut self,
        attribute: &'static str,
        operator: &Spanned<Operator>,
        right: &'a ast::Operand,
        parties: &Parties,
    ) -> Option<MemberTest> {
        let scope = Scope {
            parties,
            kind: ItemKind::Deny,
            hop: false,
        };
        let path = Text {
            value: Arc::from(attribute),
            span: operator.span.clone(),
        };
        let set = self.resolve(&path, scope)?;
        self.member_test(&set, operator, right, scope)
    }

    /// Checks a def that no rule uses, as far as that can be done.
    pub(super) fn def_alone(&mut self, def: &'a ast::Def, parties: &Parties) {
        self.tests = 0;
        self.item = Some(&def.name.span);
        self.expanding.push((self.module, def));
        let scope = Scope {
            parties,
            kind: ItemKind::Deny,
            hop: false,
        };
        self.condition(&def.condition, scope, false);
        self.expanding.pop();
    }

    pub(super) fn condition(
        &mut self,
        condition: &'a ast::Condition,
        scope: Scope<'_>,
        negated: bool,
    ) -> Option<Condition> {
        self.count_test(condition.span())?;
        self.depth += 1;
        let built = match self.depth > MAX_DEPTH {
            true => {
                let message = format!(
                    "nested more than {MAX_DEPTH} levels deep when all defs are written out"
                );
                self.too_much(message, condition.span());
                None
            }
            false => self.part(condition, scope, negated),
        };
        self.depth -= 1;
        built
    }

    fn part(
        &mut self,
        condition: &'a ast::Condition,
        scope: Scope<'_>,
        negated: bool,
    ) -> Option<Condition> {
        match condition {
            ast::Condition::And(parts) | ast::Condition::Or(parts) => {
                let parts: Vec<_> = parts
                    .iter()
                    .map(|part| self.condition(part, scope, negated))
                    .collect();
                let parts: Vec<Condition> = parts.into_iter().collect::<Option<_>>()?;
                let all = matches!(condition, ast::Condition::And(_)) != negated;
                Some(if all {
                    Condition::All(parts)
                } else {
                    Condition::Any(parts)
                })
            }
            ast::Condition::Not(inner) => self.condition(inner, scope, !negated),
            ast::Condition::Reference(name) => self.expand(name, scope, negated),
            ast::Condition::Presence { span, .. }
            | ast::Condition::Comparison { span, .. }
            | ast::Condition::Empty { span, .. }
            | ast::Condition::Count { span, .. }
            | ast::Condition::Quantified { span, .. }
            | ast::Condition::Where { span, .. }
            | ast::Condition::Time { span, .. } => {
                let (left, test, complement) = self.atom(condition, scope)?;
                Some(Condition::Atom(Atom {
                    left,
                    test,
                    negated: complement != negated,
                    inverted: negated,
                    span: span.0.clone(),
                }))
            }
        }
    }

    /// One test: its attribute, how it is tested, and whether its text says the complement.
    fn atom(
        &mut self,
        condition: &'a ast::Condition,
        scope: Scope<'_>,
    ) -> Option<(Operand, Test, bool)> {
        match condition {
            ast::Condition::Presence {
                present,
                path,
                span,
            } => {
                let resolved = self.resolve(path, scope)?;
                if !resolved.optional {
                    let message = format!("`{}` is always present", path.value);
                    self.report(Diagnostic::warning("E0311", message).at(span));
                }
                Some((plain(resolved), Test::Present, !*present))
            }
            ast::Condition::Comparison {
                left,
                operator,
                right,
                span,
            } => self.comparison(left, operator, right, span, scope),
            ast::Condition::Empty { path, .. } => {
                let set = self.set(path, scope, "is empty")?;
                Some((
                    plain(set),
                    Test::SetEquals(Constants::new(Vec::new())),
                    false,
                ))
            }
            ast::Condition::Count {
                path,
                operator,
                number,
                ..
            } => {
                let set = self.set(path, scope, "count")?;
                let (positive, complement) = positive(operator.value);
                let Some(comparison) = compared(positive) else {
                    let problem = Diagnostic::error("E0208", "a count is compared with a number")
                        .at(&operator.span);
                    self.report(problem.help("write `==`, `!=`, `<`, `<=`, `>` or `>=`"));
                    return None;
                };
                Some((
                    plain(set),
                    Test::Count(comparison, number.value),
                    complement,
                ))
            }
            ast::Condition::Quantified {
                quantifier,
                path,
                operator,
                right,
                ..
            } => self.quantified(*quantifier, path, operator, right, scope),
            ast::Condition::Where {
                quantifier,
                path,
                condition,
                ..
            } => {
                let list = self.resolve(path, scope)?;
                if list.ty != Type::Hops {
                    let message = format!("`{}` is no list of actors", path.value);
                    let problem = Diagnostic::error("E0208", message).at(&path.span);
                    self.report(problem.help("sets are tested so: `any SET like \"…\"`"));
                    return None;
                }
                let inner = self.condition(condition, Scope { hop: true, ..scope }, false)?;
                let inner = Box::new(flatten(inner));
                let (test, complement) = match quantifier {
                    Quantifier::Any => (Test::AnyHop(inner), false),
                    Quantifier::None => (Test::AnyHop(inner), true),
                    Quantifier::All => (Test::EveryHop(inner), false),
                };
                Some((plain(list), test, complement))
            }
            ast::Condition::Time {
                zone,
                days,
                hours,
                span,
            } => {
                let hours = self.hours(zone, days, hours.as_ref(), span)?;
                let now = Text {
                    value: Arc::from("now"),
                    span: span.0.clone(),
                };
                let now = self.resolve(&now, scope)?;
                Some((plain(now), Test::Hours(Box::new(hours)), false))
            }
            ast::Condition::And(_)
            | ast::Condition::Or(_)
            | ast::Condition::Not(_)
            | ast::Condition::Reference(_) => None,
        }
    }

    /// A path that must be a set.
    fn set(&mut self, path: &Text, scope: Scope<'_>, what: &str) -> Option<Resolved> {
        let resolved = self.resolve(path, scope)?;
        if resolved.ty.is_set() {
            return Some(resolved);
        }
        let message = format!(
            "`{what}` is for sets, and `{}` is of type {}",
            path.value,
            resolved.ty.name()
        );
        let problem = Diagnostic::error("E0208", message).at(&path.span);
        self.report(match resolved.ty {
            Type::Hops => problem.help("write `subject.chain.depth`"),
            _ => problem,
        });
        None
    }

    fn quantified(
        &mut self,
        quantifier: Quantifier,
        path: &Text,
        operator: &Spanned<Operator>,
        right: &'a ast::Operand,
        scope: Scope<'_>,
    ) -> Option<(Operand, Test, bool)> {
        let set = self.set(path, scope, quantifier.text())?;
        let inner = Box::new(self.member_test(&set, operator, right, scope)?);
        let (test, complement) = match quantifier {
            Quantifier::Any => (Test::AnyMember(inner), false),
            Quantifier::None => (Test::AnyMember(inner), true),
            Quantifier::All => (Test::EveryMember(inner), false),
        };
        Some((plain(set), test, complement))
    }

    /// How every member of a set is tested.
    fn member_test(
        &mut self,
        set: &Resolved,
        operator: &Spanned<Operator>,
        right: &'a ast::Operand,
        scope: Scope<'_>,
    ) -> Option<MemberTest> {
        let right = match right {
            ast::Operand::Path(path, _) => {
                let problem = Diagnostic::error(
                    "E0208",
                    "the members of a set are compared with constants only",
                );
                self.report(
                    problem
                        .at(&path.span)
                        .help("for one of a set's members, write `SET has ATTRIBUTE`"),
                );
                return None;
            }
            other => self.side(other, scope)?,
        };
        let member = Resolved {
            ty: element(set.ty),
            ..set.clone()
        };
        let (positive, negated) = positive(operator.value);
        let test = self.test(&member, positive, right, operator)?;
        Some(MemberTest { test, negated })
    }

    fn side(&mut self, operand: &'a ast::Operand, scope: Scope<'_>) -> Option<Side<'a>> {
        Some(match operand {
            ast::Operand::List(items, _) => Side::List(Members { items, named: None }),
            ast::Operand::ListName(name) => {
                let list = self.list(name)?;
                Side::List(Members {
                    items: &list.members,
                    named: Some((list, name.span.clone())),
                })
            }
            ast::Operand::Literal(literal) => Side::Literal(literal.clone()),
            ast::Operand::Path(path, default) => {
                let resolved = self.resolve(path, scope)?;
                let default = match default {
                    None => None,
                    Some(literal) => {
                        if !resolved.optional {
                            let message = format!(
                                "`{}` is always present; the default is never used",
                                path.value
                            );
                            self.report(Diagnostic::warning("E0311", message).at(&literal.span));
                        }
                        let constant = self.constant(literal, resolved.ty)?;
                        Some(self.possible(&resolved, constant, &literal.span)?)
                    }
                };
                Side::Attribute(resolved, default, path.span.clone())
            }
        })
    }

    fn comparison(
        &mut self,
        left: &'a ast::Operand,
        operator: &Spanned<Operator>,
        right: &'a ast::Operand,
        span: &Span,
        scope: Scope<'_>,
    ) -> Option<(Operand, Test, bool)> {
        let left = self.side(left, scope);
        let right = match (right, &left) {
            // A name may be written without quotes: `it.issuer == unknown`.
            (ast::Operand::Path(word, None), Some(Side::Attribute(resolved, ..)))
                if matches!(resolved.ty, Type::Name(_)) && is_word(&word.value) =>
            {
                Some(Side::Literal(Spanned {
                    value: Literal::String(Arc::clone(&word.value)),
                    span: word.span.clone(),
                }))
            }
            _ => self.side(right, scope),
        };
        let (left, right) = (left?, right?);
        let Side::Attribute(resolved, default, _) = left else {
            let problem = Diagnostic::error(
                "E0208",
                "the left side of a comparison must be an attribute",
            );
            let problem = match operator.value {
                Operator::In => problem.help("write `SET has VALUE`"),
                _ => problem.help("write the attribute first"),
            };
            self.report(problem.at(span));
            return None;
        };
        if let (true, Side::Attribute(_, _, at)) = (scope.hop, &right) {
            let problem = Diagnostic::error("E0208", "an actor is compared with constants only");
            self.report(problem.at(at));
            return None;
        }
        let (positive, complement) = positive(operator.value);
        let test = self.test(&resolved, positive, right, operator)?;
        let left = Operand {
            attribute: resolved.attribute,
            default,
        };
        Some((left, test, complement))
    }

    fn test(
        &mut self,
        left: &Resolved,
        operator: Operator,
        right: Side<'a>,
        written: &Spanned<Operator>,
    ) -> Option<Test> {
        let ty = left.ty;
        if matches!(ty, Type::Actor | Type::Hops) {
            return self.inapplicable(ty, written);
        }
        match (operator, right) {
            (Operator::Equal, Side::Literal(literal)) if !ty.is_set() => {
                let constant = self.constant(&literal, ty)?;
                Some(Test::Equals(self.possible(
                    left,
                    constant,
                    &literal.span,
                )?))
            }
            (Operator::Equal, Side::List(items)) if ty.is_set() => {
                Some(Test::SetEquals(self.constants(&items, left)?))
            }
            (
                Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast,
                Side::Literal(literal),
            ) if matches!(ty, Type::Int | Type::Duration | Type::Instant) => {
                let Constant::Int(limit) = self.constant(&literal, ty)? else {
                    return None;
                };
                Some(Test::Compare(compared(operator)?, limit))
            }
            (Operator::In, Side::List(items)) if ty == Type::Ip => {
                self.not_empty(&items, written)?;
                self.list_of(&items, ty)?;
                let make = |checker: &mut Self| {
                    let prefixes = items.items.iter().map(|item| checker.prefix(item));
                    let prefixes: Vec<_> = prefixes.collect();
                    Some(Prefixes::new(
                        &prefixes.into_iter().collect::<Option<Vec<_>>>()?,
                    ))
                };
                Some(Test::Prefixes(match &items.named {
                    Some((list, _)) => self.shared(&list.span.0, |m| &mut m.prefixes, make)?,
                    None => make(self)?,
                }))
            }
            (Operator::Equal, Side::Attribute(other, default, span)) if !ty.is_set() => {
                self.same_type(ty, other.ty, &span)?;
                Some(Test::EqualsAttribute(Operand {
                    attribute: other.attribute,
                    default,
                }))
            }
            (Operator::In, Side::List(items)) if !ty.is_set() => {
                self.not_empty(&items, written)?;
                Some(Test::In(self.constants(&items, left)?))
            }
            (Operator::In, Side::Attribute(other, None, span))
                if !ty.is_set() && other.ty.is_set() =>
            {
                self.same_type(ty, element(other.ty), &span)?;
                Some(Test::InAttribute(other.attribute))
            }
            (
                Operator::Like,
                Side::Literal(Spanned {
                    value: Literal::String(text),
                    span,
                }),
            ) => match ty {
                Type::String if left.mixed => {
                    let path = left.attribute.path();
                    let message = format!(
                        "`*` in a pattern of `{path}` would mean another thing for each issuer: their `separators` differ"
                    );
                    let problem = Diagnostic::error("E0202", message).at(&span);
                    self.report(problem.help(match self.of_proof {
                        true => "a proof speaks of every issuer: declare the same `separators`",
                        false => "narrow `from`, or declare the same `separators`",
                    }));
                    None
                }
                Type::String => Some(Test::Like(self.glob(&text, &left.separators, &span)?)),
                Type::Uri => Some(Test::LikeUri(self.uri_pattern(
                    &text,
                    UriPattern::like,
                    &span,
                )?)),
                Type::Set | Type::UriSet => {
                    let literal = Spanned {
                        value: Literal::String(text),
                        span,
                    };
                    self.one_value(operator, &literal, left, written)
                }
                Type::Int
                | Type::Bool
                | Type::Duration
                | Type::Instant
                | Type::Ip
                | Type::Hops
                | Type::Actor
                | Type::Name(_) => self.inapplicable(ty, written),
            },
            (Operator::Under, Side::Literal(literal)) if ty == Type::Uri => {
                Some(Test::Under([self.container(&literal)?].into()))
            }
            (Operator::Under, Side::List(items)) if ty == Type::Uri => {
                self.not_empty(&items, written)?;
                self.list_of(&items, ty)?;
                let make = |checker: &mut Self| {
                    let patterns = items.items.iter().map(|item| checker.container(item));
                    let patterns: Vec<_> = patterns.collect();
                    Some(patterns.into_iter().collect::<Option<Vec<_>>>()?.into())
                };
                Some(Test::Under(match &items.named {
                    Some((list, _)) => self.shared(&list.span.0, |m| &mut m.patterns, make)?,
                    None => make(self)?,
                }))
            }
            (Operator::Has, Side::Literal(literal)) if ty.is_set() => {
                let constant = self.constant(&literal, element(ty))?;
                Some(Test::Has(self.possible(left, constant, &literal.span)?))
            }
            (Operator::Has, Side::Attribute(other, default, span))
                if ty.is_set() && !other.ty.is_set() =>
            {
                self.same_type(element(ty), other.ty, &span)?;
                Some(Test::HasAttribute(Operand {
                    attribute: other.attribute,
                    default,
                }))
            }
            (Operator::Only | Operator::HasAnyOf | Operator::HasAllOf, Side::List(items))
                if ty.is_set() =>
            {
                self.not_empty(&items, written)?;
                let constants = self.constants(&items, left)?;
                Some(match operator {
                    Operator::HasAnyOf => Test::HasAny(constants),
                    Operator::HasAllOf => Test::HasAll(constants),
                    _ => Test::Only(constants),
                })
            }
            (operator, Side::Literal(literal)) if ty.is_set() => {
                self.one_value(operator, &literal, left, written)
            }
            _ => self.inapplicable(ty, written),
        }
    }

    /// A set compared with one value, where one of three things may be meant.
    fn one_value(
        &mut self,
        operator: Operator,
        literal: &Spanned<Literal>,
        left: &Resolved,
        written: &Spanned<Operator>,
    ) -> Option<Test> {
        let path = left.attribute.path();
        let Literal::String(text) = &literal.value else {
            return self.inapplicable(left.ty, written);
        };
        let message = format!("`{path}` is a set, and this is one value");
        let problem = Diagnostic::error("E0208", message).at(&literal.span);
        self.report(match operator {
            Operator::Equal | Operator::In => problem
                .help(format!("one of its members: `{path} has \"{text}\"`"))
                .help(format!("its only member: `{path} == [\"{text}\"]`")),
            Operator::Like | Operator::Under => problem.help(format!(
                "some member: `any {path} {} \"{text}\"`; every member: `all {path} …`",
                operator.text()
            )),
            other => problem.help(format!("write `{path} {} [\"{text}\"]`", other.text())),
        });
        None
    }

    fn inapplicable(&mut self, ty: Type, operator: &Spanned<Operator>) -> Option<Test> {
        let message = format!(
            "`{}` does not apply to type {} like this",
            operator.value.text(),
            ty.name()
        );
        let help = match ty {
            Type::Set | Type::UriSet => {
                "sets take `has VALUE`, `has any of [..]`, `has all of [..]`, `only [..]`, `== [..]`, `is empty`; their members `any SET like \"…\"`, `all`, `none`"
            }
            Type::String => {
                "strings take `== \"…\"`, `!= \"…\"`, `in [..]`, `in SET`, `like \"…\"`"
            }
            Type::Uri => "URIs take `==`, `!=`, `in [..]`, `like \"…\"`, `under \"…\"`",
            Type::Int => "whole numbers take `==`, `!=`, `in [..]`, `<`, `<=`, `>`, `>=`",
            Type::Duration => "durations take `<`, `<=`, `>`, `>=`, `==`: `subject.auth_age <= 5m`",
            Type::Instant => "instants take `<`, `<=`, `>`, `>=`: `now < 2026-12-01T00:00:00Z`",
            Type::Ip => "addresses take `in [\"10.0.0.0/8\"]`, `not in [..]`, `==`",
            Type::Hops => "lists of actors take `any LIST where (it.issuer == \"…\")`",
            Type::Actor => {
                "an actor is `present` or `absent`; its `.issuer`, `.sub` and `.client_id` are compared"
            }
            Type::Bool | Type::Name(_) => "it takes `==`, `!=`, `in [..]`",
        };
        self.report(
            Diagnostic::error("E0208", message)
                .at(&operator.span)
                .help(help),
        );
        None
    }

    fn same_type(&mut self, left: Type, right: Type, span: &Span) -> Option<()> {
        let textual = |ty| matches!(ty, Type::String | Type::Name(_));
        // Two kinds of names have no name in common: a comparison of them would never hold.
        let one_is_text = left == Type::String || right == Type::String;
        let issuers = |ty| matches!(ty, Type::Name(Names::Issuer | Names::HopIssuer));
        if left == right
            || (one_is_text && textual(left) && textual(right))
            || (issuers(left) && issuers(right))
        {
            return Some(());
        }
        let message = format!(
            "types {} and {} cannot be compared",
            left.name(),
            right.name()
        );
        self.report(Diagnostic::error("E0202", message).at(span));
        None
    }

    fn not_empty(&mut self, members: &Members<'a>, operator: &Spanned<Operator>) -> Option<()> {
        if members.items.is_empty() {
            let message = format!("`{} []` holds for nothing", operator.value.text());
            let help = "for a set without members, write `is empty`";
            let problem = Diagnostic::error("E0208", message).at(&operator.span);
            self.report(problem.help(help));
            return None;
        }
        Some(())
    }
}

pub(super) fn element(ty: Type) -> Type {
    match ty {
        Type::UriSet => Type::Uri,
        _ => Type::String,
    }
}

fn plain(resolved: Resolved) -> Operand {
    Operand {
        attribute: resolved.attribute,
        default: None,
    }
}

/// Where a match refuses (in a deny, or under a negation in a rule), `?x` must not slip past a pattern;
/// where it permits, a pattern without a query means none.
fn any_query_where_matching_refuses(condition: &mut Condition, refuses: bool) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts
            .iter_mut()
            .for_each(|part| any_query_where_matching_refuses(part, refuses)),
        Condition::Atom(atom) => any_query(&mut atom.test, refuses != atom.negated),
    }
}

fn any_query(test: &mut Test, refuses: bool) {
    match test {
        Test::LikeUri(pattern) if refuses => *pattern = pattern.clone().any_query(),
        Test::AnyMember(inner) | Test::EveryMember(inner) => {
            any_query(&mut inner.test, refuses != inner.negated);
        }
        _ => {}
    }
}

/// An operator without its negation, and whether it had one.
pub(super) fn positive(operator: Operator) -> (Operator, bool) {
    match operator {
        Operator::NotEqual => (Operator::Equal, true),
        Operator::NotIn => (Operator::In, true),
        Operator::NotLike => (Operator::Like, true),
        other => (other, false),
    }
}

/// How numbers are compared, by the operator.
pub(super) fn compared(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Equal => Comparison::Equal,
        Operator::Less => Comparison::Less,
        Operator::AtMost => Comparison::AtMost,
        Operator::Greater => Comparison::Greater,
        Operator::AtLeast => Comparison::AtLeast,
        _ => return None,
    })
}

/// A path of one part that is no attribute: a name.
fn is_word(path: &str) -> bool {
    !path.contains('.') && ATTRIBUTES.iter().all(|attribute| attribute.path != path)
}

/// Joins nested `and`s and `or`s of the same kind.
fn flatten(condition: Condition) -> Condition {
    let is_all = matches!(condition, Condition::All(_));
    match condition {
        Condition::Atom(atom) => Condition::Atom(atom),
        Condition::All(parts) | Condition::Any(parts) => {
            let mut out = Vec::new();
            for part in parts.into_iter().map(flatten) {
                match part {
                    Condition::All(inner) if is_all => out.extend(inner),
                    Condition::Any(inner) if !is_all => out.extend(inner),
                    other => out.push(other),
                }
            }
            if is_all {
                Condition::All(out)
            } else {
                Condition::Any(out)
            }
        }
    }
}
