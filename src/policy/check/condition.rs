//! Conditions: names and types, and the way from the tree to negation normal form.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Checker, MAX_TESTS, MAX_TESTS_IN_ALL, Resolved, Scope, absence};
use crate::context::Hop;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::oauth::scope::Scopes;
use crate::oauth::target::Audience;
use crate::oauth::token_type::TokenType;
use crate::policy::pattern::UriPattern;
use crate::policy::rule::{
    Atom, Comparison, Condition, Constant, Constants, Hours, MemberTest, Operand, Prefixes, Test,
};
use crate::policy::schema::{ATTRIBUTES, AttributeRef, Names, Type};
use crate::policy::syntax::ast::{
    self, Day, ItemKind, Literal, Operator, Quantifier, Spanned, Text,
};

/// How many defs may name one another in a row.
const MAX_DEFS_DEEP: usize = 32;
/// How deep a condition may be nested when its defs are written out: every level is a call, here and for
/// every request.
const MAX_DEPTH: usize = 128;

/// A side of a comparison, resolved.
enum Side<'a> {
    Attribute(Resolved, Option<Constant>, Span),
    Literal(Spanned<Literal>),
    List(Members<'a>),
}

/// The members of a list, and its definition where it has one.
#[derive(Clone)]
struct Members<'a> {
    items: &'a [Spanned<Literal>],
    named: Option<(&'a ast::ListDef, Span)>,
}

impl<'a> Checker<'a> {
    /// All `when` clauses joined with `and`. `None` when there was an error.
    pub(super) fn when(
        &mut self,
        conditions: &[&'a ast::Condition],
        issuers: &[usize],
        kind: ItemKind,
    ) -> Option<Condition> {
        let scope = Scope {
            issuers,
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
        let mut found = Diagnostics::default();
        let optional = |attribute: &AttributeRef| self.optional(attribute, scope);
        absence::check(&whole, kind, optional, &mut found);
        self.problems.extend(found);
        Some(whole)
    }

    /// Checks a def that no rule uses, as far as that can be done.
    pub(super) fn def_alone(&mut self, def: &'a ast::Def, issuers: &[usize]) {
        self.tests = 0;
        self.item = Some(&def.name.span);
        self.expanding.push((self.module, def));
        let scope = Scope {
            issuers,
            kind: ItemKind::Deny,
            hop: false,
        };
        self.condition(&def.condition, scope, false);
        self.expanding.pop();
    }

    fn condition(
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

    /// Writes a def out where it is named, with the names of its own module.
    fn expand(&mut self, name: &Text, scope: Scope<'_>, negated: bool) -> Option<Condition> {
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
    fn count_test(&mut self, span: Option<&Span>) -> Option<()> {
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

    fn too_much(&mut self, message: String, span: Option<&Span>) {
        let help = format!(
            "a rule may have {MAX_TESTS} parts, all rules together {MAX_TESTS_IN_ALL}; a list of strings costs nothing where it is used again"
        );
        let problem = Diagnostic::error("E0901", message).help(help);
        self.report(match self.item.or(span) {
            Some(place) => problem.at(place),
            None => problem,
        });
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
        let inner = Box::new(MemberTest { test, negated });
        let (test, complement) = match quantifier {
            Quantifier::Any => (Test::AnyMember(inner), false),
            Quantifier::None => (Test::AnyMember(inner), true),
            Quantifier::All => (Test::EveryMember(inner), false),
        };
        Some((plain(set), test, complement))
    }

    fn hours(
        &mut self,
        zone: &Text,
        days: &[Spanned<(Day, Day)>],
        hours: Option<&Spanned<(u16, u16)>>,
        span: &Span,
    ) -> Option<Hours> {
        let mut wrong = |at: &Span, message: &str, help: String| {
            self.report(Diagnostic::error("E0214", message).at(at).help(help));
        };
        let found = jiff::tz::TimeZoneDatabase::bundled().get(&zone.value).ok();
        if found.is_none() {
            let message = format!("no time zone is called `{}`", zone.value);
            wrong(
                &zone.span,
                &message,
                "names are those of the IANA database: `Europe/Zurich`, `UTC`".to_owned(),
            );
        }
        if days.is_empty() && hours.is_none() {
            wrong(
                span,
                "this says neither days nor hours, and would always hold",
                "add `mon..fri`, `08:00..18:00`, or both".to_owned(),
            );
            return None;
        }
        let mut week = [days.is_empty(); 7];
        for range in days {
            let (first, last) = range.value;
            if last < first {
                let week = Day::ALL.map(|day| day >= first || day <= last);
                let help = format!("write `{}`", shown_days(&week));
                wrong(&range.span, "the week begins on Monday", help);
            }
            for (day, on) in Day::ALL.into_iter().zip(&mut week) {
                *on |= (first..=last).contains(&day);
            }
        }
        let (from, to) = hours.map_or((0, 24 * 60), |hours| hours.value);
        if let Some(hours) = hours.filter(|_| from >= to) {
            let (message, help) = if from == to {
                (
                    "these hours are empty",
                    "the end is not part of it; a whole day is `00:00..24:00`".to_owned(),
                )
            } else {
                (
                    "hours do not go over midnight",
                    over_midnight(&zone.value, days, from, to),
                )
            };
            wrong(&hours.span, message, help);
            return None;
        }
        Some(Hours {
            zone: found?,
            days: week,
            from,
            to,
        })
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
                    self.report(problem.help("narrow `from`, or declare the same `separators`"));
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
        if left == right || (one_is_text && textual(left) && textual(right)) {
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

    /// A list for an attribute, or for the elements of a set.
    fn constants(&mut self, members: &Members<'a>, of: &Resolved) -> Option<Constants> {
        let ty = if of.ty.is_set() {
            element(of.ty)
        } else {
            of.ty
        };
        self.list_of(members, ty)?;
        let make = |checker: &mut Self| {
            let constants: Vec<_> = members
                .items
                .iter()
                .map(|item| {
                    let constant = checker.constant(item, ty)?;
                    checker.possible(of, constant, &item.span)
                })
                .collect();
            constants
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .map(Constants::new)
        };
        match &members.named {
            Some((list, _)) => {
                let key = (
                    list.span.0.clone(),
                    format!("{} {}", ty.name(), of.attribute.path()),
                );
                self.shared(&key, |m| &mut m.constants, make)
            }
            None => make(self),
        }
    }

    /// A list that has a name has a type, and it must be this one.
    fn list_of(&mut self, members: &Members<'a>, ty: Type) -> Option<()> {
        match &members.named {
            Some((list, span)) => self.list_is(list, ty, span),
            None => Some(()),
        }
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

    /// What `under` is followed by.
    fn container(&mut self, literal: &Spanned<Literal>) -> Option<UriPattern> {
        match &literal.value {
            Literal::String(text) => self.uri_pattern(text, UriPattern::under, &literal.span),
            Literal::Int(_) | Literal::Bool(_) | Literal::Duration(_) | Literal::Instant(..) => {
                self.constant(literal, Type::Uri);
                None
            }
        }
    }

    /// An address, or a prefix of addresses without host bits.
    pub(super) fn prefix(&mut self, literal: &Spanned<Literal>) -> Option<IpNet> {
        let Literal::String(text) = &literal.value else {
            self.constant(literal, Type::Ip);
            return None;
        };
        let problem = |message: String| Diagnostic::error("E0212", message).at(&literal.span);
        let found = match text.parse::<IpNet>() {
            Ok(prefix) => prefix,
            Err(_) => match text.parse::<IpAddr>() {
                Ok(ip) => IpNet::from(ip),
                Err(_) => {
                    let message = format!("`{text}` is no IP address and no prefix");
                    self.report(problem(message).help("for example `10.0.0.0/8`, `2001:db8::/32`"));
                    return None;
                }
            },
        };
        let mapped = matches!(found.addr(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        if mapped {
            let message =
                format!("`{text}` would hold for nothing: requests over IPv4 have IPv4 addresses");
            self.report(problem(message).help("write the IPv4 prefix"));
            return None;
        }
        if found.trunc() != found {
            let message = format!("`{text}` has bits set outside its prefix");
            let (one, all) = (found.addr(), found.trunc());
            self.report(problem(message).help(format!(
                "write `{one}` for the one address, `{all}` for the network"
            )));
            return None;
        }
        Some(found)
    }

    /// A constant that an attribute can never have would be a condition that silently never holds, and a
    /// deny that never fires.
    fn possible(&mut self, of: &Resolved, constant: Constant, span: &Span) -> Option<Constant> {
        let Constant::Text(text) = &constant else {
            return Some(constant);
        };
        let clients = &self.schema.clients;
        let (what, known): (_, Vec<&str>) = match of.attribute.path().as_str() {
            "scope" | "request.scope" | "subject.scope" if !Scopes::is_token(text) => {
                ("scope token", Vec::new())
            }
            "audience" if text.parse::<Audience>().is_err() => ("audience", Vec::new()),
            "client.id" if clients.iter().all(|client| client.id.as_str() != &**text) => {
                let ids = clients.iter().map(|client| client.id.as_str());
                ("client's id", ids.collect())
            }
            "client.names" if clients.iter().all(|client| !client.names.contains(text)) => {
                let names = clients.iter().flat_map(|client| &client.names);
                ("client's name", names.map(|name| &**name).collect())
            }
            _ => return Some(constant),
        };
        let problem = Diagnostic::error("E0207", format!("`{text}` is no {what}")).at(span);
        let same = clients.iter().find(|client| client.names.contains(text));
        let problem = match same {
            Some(client) => problem.help(format!("the client's id is `{}`", client.id)),
            None => problem.suggest(text, known),
        };
        self.report(problem);
        None
    }

    pub(super) fn constant(&mut self, literal: &Spanned<Literal>, ty: Type) -> Option<Constant> {
        match (&literal.value, ty) {
            (Literal::String(text), Type::String) => Some(Constant::Text(Arc::clone(text))),
            (Literal::String(text), Type::Name(names)) => {
                self.name(text, names, &literal.span).map(Constant::Text)
            }
            (Literal::String(text), Type::Uri) => self.uri(text, &literal.span).map(Constant::Uri),
            (Literal::Duration(duration), Type::Duration) => Some(Constant::Int(duration.seconds)),
            (Literal::Instant(instant, _), Type::Instant) => Some(Constant::Int(*instant)),
            (Literal::String(text), Type::Ip) => match text.parse::<IpAddr>() {
                Ok(ip) => Some(Constant::Ip(ip.to_canonical())),
                Err(_) => {
                    let message = format!("`{text}` is no IP address");
                    let problem = Diagnostic::error("E0212", message).at(&literal.span);
                    self.report(problem.help("for a prefix, write `in [\"10.0.0.0/8\"]`"));
                    None
                }
            },
            (Literal::Int(number), Type::Int) => Some(Constant::Int(*number)),
            (Literal::Bool(truth), Type::Bool) => Some(Constant::Bool(*truth)),
            (other, ty) => {
                let found = match other {
                    Literal::String(_) => "string",
                    Literal::Int(_) => "int",
                    Literal::Bool(_) => "bool",
                    Literal::Duration(_) => "duration",
                    Literal::Instant(..) => "instant",
                };
                let help = match ty {
                    Type::Duration => Some("write a duration: `30s`, `5m`, `12h`, `7d`"),
                    Type::Instant => Some("write an instant: `2026-12-01T08:00:00Z`"),
                    Type::Int if matches!(other, Literal::String(_)) => {
                        Some("write it without quotes")
                    }
                    Type::String | Type::Uri | Type::Ip | Type::Name(_) => {
                        Some("write it in double quotes")
                    }
                    _ => None,
                };
                let message = format!("expected type {}, found {found}", ty.name());
                let problem = Diagnostic::error("E0202", message).at(&literal.span);
                self.report(match help {
                    Some(help) => problem.help(help),
                    None => problem,
                });
                None
            }
        }
    }

    /// A misspelled name would be a condition that silently never holds.
    fn name(&mut self, text: &Arc<str>, names: Names, span: &Span) -> Option<Arc<str>> {
        let known: Vec<&str> = match names {
            Names::Issuer => self
                .schema
                .issuers
                .iter()
                .map(|issuer| issuer.alias.as_str())
                .collect(),
            Names::HopIssuer => {
                let issuers = self.schema.issuers.iter();
                issuers
                    .map(|issuer| issuer.alias.as_str())
                    .chain([Hop::UNKNOWN])
                    .collect()
            }
            Names::AuthMethod => self.schema.auth_methods.clone(),
            Names::GrantType => self.schema.grant_types.clone(),
            Names::TokenType => match TokenType::from_name(text) {
                // A registered type is called by its short name, whichever way it was written.
                Ok(token_type) => return Some(Arc::from(token_type.name())),
                Err(_) => TokenType::names().collect(),
            },
        };
        if known.contains(&&**text) {
            return Some(Arc::clone(text));
        }
        let problem = Diagnostic::error(
            "E0207",
            format!("`{text}` is no {}", Type::Name(names).name()),
        );
        self.report(problem.at(span).suggest(text, known));
        None
    }
}

fn element(ty: Type) -> Type {
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
fn positive(operator: Operator) -> (Operator, bool) {
    match operator {
        Operator::NotEqual => (Operator::Equal, true),
        Operator::NotIn => (Operator::In, true),
        Operator::NotLike => (Operator::Like, true),
        other => (other, false),
    }
}

/// How numbers are compared, by the operator.
fn compared(operator: Operator) -> Option<Comparison> {
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

/// Days as an author writes them: `mon..wed, fri`.
fn shown_days(week: &[bool; 7]) -> String {
    let days: Vec<(Day, bool)> = Day::ALL.into_iter().zip(week.iter().copied()).collect();
    let runs = days.chunk_by(|(_, a), (_, b)| a == b);
    let shown = runs.filter_map(|run| match run {
        [(day, true)] => Some(day.text().to_owned()),
        [(first, true), .., (last, _)] => Some(format!("{}..{}", first.text(), last.text())),
        _ => None,
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The two conditions that say what hours over midnight mean.
fn over_midnight(zone: &str, days: &[Spanned<(Day, Day)>], from: u16, to: u16) -> String {
    let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let list = |next: usize| {
        let mut on = [false; 7];
        for range in days {
            for (index, day) in Day::ALL.into_iter().enumerate() {
                if (range.value.0..=range.value.1).contains(&day)
                    && let Some(on) = on.get_mut((index + next) % 7)
                {
                    *on = true;
                }
            }
        }
        shown_days(&on)
    };
    let part = |days: String, hours: String| {
        let days = if days.is_empty() {
            days
        } else {
            format!("{days} ")
        };
        format!("time in \"{zone}\" {days}{hours}")
    };
    let evening = part(list(0), format!("{}..24:00", clock(from)));
    if to == 0 {
        return format!("write `{evening}`");
    }
    let morning = part(list(1), format!("00:00..{}", clock(to)));
    format!("write `({evening} or {morning})`")
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
