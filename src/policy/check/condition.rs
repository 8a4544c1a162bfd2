//! Conditions: names and types, and the way from the tree to negation normal form.

use std::sync::Arc;

use super::{Checker, Resolved, absence};
use crate::diagnostic::{Diagnostic, Span};
use crate::oauth::scope::Scopes;
use crate::oauth::target::Audience;
use crate::oauth::token_type::TokenType;
use crate::policy::pattern::UriPattern;
use crate::policy::rule::{Atom, Condition, Constant, Operand, Test};
use crate::policy::schema::{Names, Type};
use crate::policy::syntax::ast::{self, ItemKind, Literal, Operator, Spanned, Text};

/// A side of a comparison, resolved.
enum Side {
    Attribute(Resolved, Option<Constant>, Span),
    Literal(Spanned<Literal>),
    List(Vec<Spanned<Literal>>),
}

impl Checker<'_> {
    /// All `when` clauses joined with `and`. `None` when there was an error.
    pub(super) fn when(
        &mut self,
        conditions: &[&ast::Condition],
        issuers: &[usize],
        kind: ItemKind,
    ) -> Option<Condition> {
        let parts: Option<Vec<Condition>> = {
            // Every condition is looked at, so that all problems are reported.
            let parts: Vec<_> = conditions
                .iter()
                .map(|c| self.condition(c, issuers, false))
                .collect();
            parts.into_iter().collect()
        };
        let whole = flatten(Condition::All(parts?));
        let mut found = crate::diagnostic::Diagnostics::default();
        absence::check(
            &whole,
            kind,
            |path| self.optional(path, issuers),
            &mut found,
        );
        self.problems.extend(found);
        Some(whole)
    }

    /// The type of an attribute that may be absent.
    fn optional(&self, path: &str, issuers: &[usize]) -> Option<Type> {
        let text = Text {
            value: Arc::from(path),
            span: Span::new(&Arc::from(""), 0..0),
        };
        let mut quiet = Checker {
            schema: self.schema,
            problems: crate::diagnostic::Diagnostics::default(),
        };
        quiet
            .resolve(&text, issuers)
            .filter(|resolved| resolved.optional)
            .map(|resolved| resolved.ty)
    }

    fn condition(
        &mut self,
        condition: &ast::Condition,
        issuers: &[usize],
        negated: bool,
    ) -> Option<Condition> {
        match condition {
            ast::Condition::And(parts) | ast::Condition::Or(parts) => {
                let parts: Vec<_> = parts
                    .iter()
                    .map(|part| self.condition(part, issuers, negated))
                    .collect();
                let parts: Vec<Condition> = parts.into_iter().collect::<Option<_>>()?;
                let all = matches!(condition, ast::Condition::And(_)) != negated;
                Some(if all {
                    Condition::All(parts)
                } else {
                    Condition::Any(parts)
                })
            }
            ast::Condition::Not(inner) => self.condition(inner, issuers, !negated),
            ast::Condition::Presence {
                present,
                path,
                span,
            } => {
                let resolved = self.resolve(path, issuers)?;
                if !resolved.optional {
                    let message = format!("`{}` is always present", path.value);
                    self.report(Diagnostic::warning("E0311", message).at(span));
                }
                let left = Operand {
                    attribute: resolved.attribute,
                    default: None,
                };
                Some(atom(left, Test::Present, !*present, negated, span))
            }
            ast::Condition::Comparison {
                left,
                operator,
                right,
                span,
            } => self.comparison(left, operator, right, span, issuers, negated),
            _ => None,
        }
    }

    fn side(&mut self, operand: &ast::Operand, issuers: &[usize]) -> Option<Side> {
        Some(match operand {
            ast::Operand::List(items, _) => Side::List(items.clone()),
            ast::Operand::ListName(_) => return None,
            ast::Operand::Literal(literal) => Side::Literal(literal.clone()),
            ast::Operand::Path(path, default) => {
                let resolved = self.resolve(path, issuers)?;
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
        left: &ast::Operand,
        operator: &Spanned<Operator>,
        right: &ast::Operand,
        span: &Span,
        issuers: &[usize],
        negated: bool,
    ) -> Option<Condition> {
        let (left, right) = (self.side(left, issuers), self.side(right, issuers));
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
        let (positive, complement) = match operator.value {
            Operator::NotEqual => (Operator::Equal, true),
            Operator::NotIn => (Operator::In, true),
            Operator::NotLike => (Operator::Like, true),
            other => (other, false),
        };
        let test = self.test(&resolved, positive, right, operator)?;
        let left = Operand {
            attribute: resolved.attribute,
            default,
        };
        Some(atom(left, test, complement, negated, span))
    }

    fn test(
        &mut self,
        left: &Resolved,
        operator: Operator,
        right: Side,
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
                Type::String => Some(Test::Like(self.glob(&text, &left.separators, &span)?)),
                Type::Uri => Some(Test::LikeUri(self.uri_pattern(
                    &text,
                    UriPattern::like,
                    &span,
                )?)),
                Type::Int | Type::Bool | Type::Set | Type::UriSet | Type::Name(_) => {
                    self.inapplicable(ty, written)
                }
            },
            (Operator::Under, right @ (Side::Literal(_) | Side::List(_))) if ty == Type::Uri => {
                let literals = match right {
                    Side::List(items) => items,
                    Side::Literal(literal) => vec![literal],
                    Side::Attribute(..) => return None,
                };
                self.not_empty(&literals, written)?;
                let mut patterns = Vec::new();
                for literal in &literals {
                    match &literal.value {
                        Literal::String(text) => {
                            patterns.push(self.uri_pattern(
                                text,
                                UriPattern::under,
                                &literal.span,
                            )?);
                        }
                        Literal::Int(_) | Literal::Bool(_) | Literal::Duration(_) | Literal::Instant(..) => {
                            self.constant(literal, Type::Uri)?;
                        }
                    }
                }
                Some(Test::Under(patterns))
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
            (Operator::Only, Side::List(items)) if ty.is_set() => {
                self.not_empty(&items, written)?;
                Some(Test::Only(self.constants(&items, left)?))
            }
            _ => self.inapplicable(ty, written),
        }
    }

    fn inapplicable(&mut self, ty: Type, operator: &Spanned<Operator>) -> Option<Test> {
        let message = format!(
            "`{}` does not apply to type {} like this",
            operator.value.text(),
            ty.name()
        );
        let help = match ty {
            Type::Set | Type::UriSet => "sets take `has VALUE`, `only [..]` and `== [..]`",
            Type::String => {
                "strings take `== \"…\"`, `!= \"…\"`, `in [..]`, `in SET`, `like \"…\"`"
            }
            Type::Uri => "URIs take `==`, `!=`, `in [..]`, `like \"…\"`, `under \"…\"`",
            Type::Int | Type::Bool | Type::Name(_) => "it takes `==`, `!=`, `in [..]`",
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
    fn constants(&mut self, items: &[Spanned<Literal>], of: &Resolved) -> Option<Vec<Constant>> {
        let ty = if of.ty.is_set() {
            element(of.ty)
        } else {
            of.ty
        };
        let constants: Vec<_> = items
            .iter()
            .map(|item| {
                let constant = self.constant(item, ty)?;
                self.possible(of, constant, &item.span)
            })
            .collect();
        constants.into_iter().collect()
    }

    fn not_empty(
        &mut self,
        items: &[Spanned<Literal>],
        operator: &Spanned<Operator>,
    ) -> Option<()> {
        if items.is_empty() {
            let message = format!("`{} []` holds for nothing", operator.value.text());
            let help = "for a set without members, write `== []`";
            let problem = Diagnostic::error("E0208", message).at(&operator.span);
            self.report(problem.help(help));
            return None;
        }
        Some(())
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

    fn constant(&mut self, literal: &Spanned<Literal>, ty: Type) -> Option<Constant> {
        match (&literal.value, ty) {
            (Literal::String(text), Type::String) => Some(Constant::Text(Arc::clone(text))),
            (Literal::String(text), Type::Name(names)) => {
                self.name(text, names, &literal.span).map(Constant::Text)
            }
            (Literal::String(text), Type::Uri) => self.uri(text, &literal.span).map(Constant::Uri),
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
                let message = format!("expected type {}, found {found}", ty.name());
                self.report(Diagnostic::error("E0202", message).at(&literal.span));
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

/// An atom whose text says the complement or not, under a `not` or not.
fn atom(left: Operand, test: Test, complement: bool, inverted: bool, span: &Span) -> Condition {
    Condition::Atom(Atom {
        left,
        test,
        negated: complement != inverted,
        inverted,
        span: span.clone(),
    })
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
