//! pest's pairs → the tree. `limits` stands before it, pest's call limit is the second fence.

use std::sync::{Arc, Once};

use pest::Parser;
use pest::iterators::Pair;

use super::ast::{
    ActorForm, Clause, Condition, File, IssuerRef, Item, ItemKind, Literal, MatchKind, Matcher,
    Operand, Operator, Parameter, Spanned, Target, TargetsForm, Text, Value,
};
use super::grammar::{Grammar, Rule};
use super::{limits, slips};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};

/// pest counts every attempt; a megabyte of ordinary rules takes a few million.
const CALL_LIMIT: usize = 200_000_000;

/// Parses one file.
///
/// # Errors
/// The first syntax error, or all mistakes in how clauses are put together.
pub fn parse(file: &Arc<str>, text: &str) -> Result<File, Diagnostics> {
    static LIMIT: Once = Once::new();
    LIMIT.call_once(|| pest::set_call_limit(std::num::NonZeroUsize::new(CALL_LIMIT)));
    limits::check(file, text)?;
    let mut pairs = Grammar::parse(Rule::file, text)
        .map_err(|error| slips::explain(file, text, &slips::detailed(text, error)))?;
    let mut builder = Builder {
        file,
        problems: Diagnostics::default(),
    };
    let tree = pairs.next().and_then(|pair| builder.file(pair));
    match tree {
        Some(tree) if !builder.problems.has_errors() => Ok(tree),
        _ if builder.problems.has_errors() => Err(builder.problems),
        _ => Err(disagreement(&Span::new(file, 0..text.len())).into()),
    }
}

/// Never seen; dropping the piece instead would drop what it demands.
fn disagreement(span: &Span) -> Diagnostic {
    Diagnostic::error(
        "E0100",
        "the grammar and the tree builder disagree about this",
    )
    .at(span)
}

/// All of them, or nothing when one is missing; every one is looked at, so that all problems are found.
fn every<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    items.collect::<Vec<_>>().into_iter().collect()
}

/// The length of `text` up to the white space and comments that pest counts in after the last token.
fn without_trailing_comments(text: &str) -> usize {
    let (mut end, mut in_string, mut in_comment, mut escaped) = (0, false, false, false);
    for (index, c) in text.char_indices() {
        match c {
            '\n' => in_comment = false,
            _ if in_comment => continue,
            '#' if !in_string => in_comment = true,
            c if c.is_whitespace() && !in_string => {}
            c => {
                in_string ^= c == '"' && !escaped;
                escaped = in_string && c == '\\' && !escaped;
                end = index + c.len_utf8();
            }
        }
    }
    end
}

struct Builder<'a> {
    file: &'a Arc<str>,
    problems: Diagnostics,
}

impl Builder<'_> {
    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let whole = pair.as_span();
        Span::new(
            self.file,
            whole.start()..whole.start() + without_trailing_comments(whole.as_str()),
        )
    }

    fn text(&self, pair: &Pair<'_, Rule>) -> Text {
        Spanned {
            value: Arc::from(pair.as_str()),
            span: self.span(pair),
        }
    }

    fn string(&self, pair: Pair<'_, Rule>) -> Text {
        let span = self.span(&pair);
        let body = pair.into_inner().next().map_or("", |body| body.as_str());
        let mut out = String::with_capacity(body.len());
        let mut rest = body.chars();
        while let Some(c) = rest.next() {
            out.extend(if c == '\\' { rest.next() } else { Some(c) });
        }
        Spanned {
            value: Arc::from(out),
            span,
        }
    }

    fn file(&mut self, pair: Pair<'_, Rule>) -> Option<File> {
        let mut module = None;
        let mut items = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::header => module = self.header(part),
                Rule::rule => items.extend(self.item(ItemKind::Rule, part)),
                Rule::deny => items.extend(self.item(ItemKind::Deny, part)),
                _ => {}
            }
        }
        Some(File {
            module: module?,
            items,
        })
    }

    fn header(&mut self, pair: Pair<'_, Rule>) -> Option<Text> {
        let mut module = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::version if part.as_str() != "1" => {
                    let message = format!(
                        "this build reads version 1 of the policy language, not {}",
                        part.as_str()
                    );
                    self.problems
                        .push(Diagnostic::error("E0102", message).at(&self.span(&part)));
                }
                Rule::name => module = Some(self.text(&part)),
                _ => {}
            }
        }
        module
    }

    fn item(&mut self, kind: ItemKind, pair: Pair<'_, Rule>) -> Option<Item> {
        let span = self.span(&pair);
        let mut name = None;
        let mut clauses = Vec::new();
        for part in pair.into_inner() {
            let at = self.span(&part);
            match part.as_rule() {
                Rule::name => name = Some(self.text(&part)),
                Rule::w_rule | Rule::w_deny => {}
                _ => match self.clause(part) {
                    Some(value) => clauses.push(Spanned { value, span: at }),
                    None if self.problems.has_errors() => {}
                    None => self.problems.push(disagreement(&at)),
                },
            }
        }
        Some(Item {
            kind,
            name: name?,
            clauses,
            span,
        })
    }

    fn clause(&mut self, pair: Pair<'_, Rule>) -> Option<Clause> {
        let production = pair.as_rule();
        let mut inner = pair.into_inner();
        inner.next(); // the clause's own word
        Some(match production {
            Rule::from => match inner.peek()?.as_rule() {
                Rule::any_issuer => Clause::From(None),
                _ => Clause::From(Some(every(inner.map(|issuer| self.issuer(issuer)))?)),
            },
            Rule::by => match inner.next()? {
                any if any.as_rule() == Rule::any_client => Clause::By(None),
                _word => Clause::By(Some(self.matcher(inner.next()?)?)),
            },
            Rule::to => Clause::To(every(
                inner
                    .filter(|p| p.as_rule() == Rule::targets)
                    .map(|targets| self.targets(targets)),
            )?),
            Rule::actor => {
                let form = self.actor_form(inner.next()?)?;
                Clause::Actor {
                    form,
                    may_act_ignored: inner.next().map(|pair| self.span(&pair)),
                }
            }
            Rule::via => Clause::Via(self.text(&inner.next()?)),
            Rule::issue => Clause::Issue(self.token_type(inner.next()?)?),
            Rule::when => Clause::When(self.condition(inner.next()?)?),
            Rule::use_ => Clause::Use {
                processor: self.text(&inner.next()?),
                parameters: every(inner.map(|parameter| self.parameter(parameter)))?,
            },
            Rule::because => Clause::Because(self.string(inner.next()?)),
            Rule::tell => Clause::Tell(self.string(inner.next()?)),
            Rule::error_ => Clause::Error(self.text(&inner.next()?)),
            _ => return None,
        })
    }

    fn issuer(&mut self, pair: Pair<'_, Rule>) -> Option<IssuerRef> {
        let mut inner = pair.into_inner();
        let alias = self.text(&inner.next()?);
        let token_type = match inner.nth(1) {
            Some(pair) => Some(self.token_type(pair)?),
            None => None,
        };
        Some(IssuerRef { alias, token_type })
    }

    fn token_type(&mut self, pair: Pair<'_, Rule>) -> Option<Text> {
        let inner = pair.into_inner().next()?;
        Some(if inner.as_rule() == Rule::string {
            self.string(inner)
        } else {
            self.text(&inner)
        })
    }

    fn matcher(&mut self, pair: Pair<'_, Rule>) -> Option<Matcher> {
        let mut kind = MatchKind::Equal;
        let mut strings = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::match_kind if part.as_str().starts_with("under") => kind = MatchKind::Under,
                Rule::match_kind => kind = MatchKind::Like,
                _ => {
                    strings = part
                        .into_inner()
                        .map(|string| self.string(string))
                        .collect()
                }
            }
        }
        Some(Matcher { kind, strings })
    }

    fn targets(&mut self, pair: Pair<'_, Rule>) -> Option<TargetsForm> {
        let mut parts = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::any_target => return Some(TargetsForm::Any),
                Rule::no_target => return Some(TargetsForm::None),
                _ => {
                    let span = self.span(&part);
                    let mut inner = part.into_inner();
                    let resource = inner.next()?.as_str().starts_with("resource");
                    parts.push(Target {
                        resource,
                        matcher: self.matcher(inner.next()?)?,
                        span,
                    });
                }
            }
        }
        Some(TargetsForm::Parts(parts))
    }

    fn actor_form(&mut self, pair: Pair<'_, Rule>) -> Option<ActorForm> {
        let mut inner = pair.into_inner();
        let word = inner.next()?;
        Some(match word.as_rule() {
            Rule::w_none => ActorForm::None,
            Rule::w_client => ActorForm::Client,
            _ => ActorForm::Token(
                self.text(&word),
                inner
                    .filter(|p| p.as_rule() == Rule::name)
                    .map(|name| self.text(&name))
                    .collect(),
            ),
        })
    }

    fn condition(&mut self, pair: Pair<'_, Rule>) -> Option<Condition> {
        let span = self.span(&pair);
        let mut terms = Vec::new();
        let mut shown: Vec<String> = Vec::new();
        let (mut ands, mut ors) = (0, 0);
        for part in pair.into_inner() {
            let words = part.as_str().lines().map(|line| {
                let words = line.get(..without_trailing_comments(line)).unwrap_or(line);
                words.split_whitespace().collect::<Vec<_>>().join(" ")
            });
            shown.push(
                words
                    .filter(|w| !w.is_empty())
                    .collect::<Vec<_>>()
                    .join(" "),
            );
            match part.as_rule() {
                Rule::connective if part.as_str().starts_with("and") => ands += 1,
                Rule::connective => ors += 1,
                _ => terms.push(self.term(part)?),
            }
        }
        if ands > 0 && ors > 0 {
            let problem =
                Diagnostic::error("E0110", "`and` and `or` are mixed without parentheses")
                    .at(&span);
            let reading = |loose: &str| {
                let groups = shown.split(|word| word == loose).map(|group| match group {
                    [one] => one.clone(),
                    many => format!("({})", many.join(" ")),
                });
                groups.collect::<Vec<_>>().join(&format!(" {loose} "))
            };
            self.problems.push(
                problem
                    .help(format!("either  {}", reading("or")))
                    .help(format!("or      {}", reading("and"))),
            );
        }
        match (terms.len(), ors) {
            (1, _) => terms.pop(),
            (_, 0) => Some(Condition::And(terms)),
            _ => Some(Condition::Or(terms)),
        }
    }

    fn term(&mut self, pair: Pair<'_, Rule>) -> Option<Condition> {
        let mut negated = false;
        let mut condition = None;
        for part in pair.into_inner() {
            let span = self.span(&part);
            match part.as_rule() {
                Rule::negation => negated = !negated,
                Rule::group => condition = self.condition(part.into_inner().next()?),
                Rule::presence => {
                    let mut inner = part.into_inner();
                    let present = inner.next()?.as_rule() == Rule::w_present;
                    condition = Some(Condition::Presence {
                        present,
                        path: self.text(&inner.next()?),
                        span,
                    });
                }
                _ => {
                    let mut inner = part.into_inner();
                    let left = self.operand(inner.next()?)?;
                    let operator = self.operator(&inner.next()?)?;
                    let right = self.operand(inner.next()?)?;
                    condition = Some(Condition::Comparison {
                        left,
                        operator,
                        right,
                        span,
                    });
                }
            }
        }
        if negated {
            condition.map(|c| Condition::Not(Box::new(c)))
        } else {
            condition
        }
    }

    fn operator(&self, pair: &Pair<'_, Rule>) -> Option<Spanned<Operator>> {
        // By production, not by text: a comment may stand between `not` and `in`.
        let value = match pair.clone().into_inner().next().map(|word| word.as_rule()) {
            None if pair.as_str().starts_with("==") => Operator::Equal,
            None if pair.as_str().starts_with("!=") => Operator::NotEqual,
            Some(Rule::w_in) => Operator::In,
            Some(Rule::not_in) => Operator::NotIn,
            Some(Rule::w_like) => Operator::Like,
            Some(Rule::not_like) => Operator::NotLike,
            Some(Rule::w_under) => Operator::Under,
            Some(Rule::w_has) => Operator::Has,
            Some(Rule::w_only) => Operator::Only,
            _ => return None,
        };
        Some(Spanned {
            value,
            span: self.span(pair),
        })
    }

    fn operand(&mut self, pair: Pair<'_, Rule>) -> Option<Operand> {
        let span = self.span(&pair);
        let mut inner = pair.into_inner();
        let first = inner.next()?;
        Some(match first.as_rule() {
            Rule::list => Operand::List(self.literals(first)?, span),
            Rule::literal => Operand::Literal(self.literal(first)?),
            _ => {
                let default = match inner.next() {
                    Some(literal) => Some(self.literal(literal)?),
                    None => None,
                };
                Operand::Path(self.text(&first), default)
            }
        })
    }

    fn literals(&mut self, list: Pair<'_, Rule>) -> Option<Vec<Spanned<Literal>>> {
        every(list.into_inner().map(|literal| self.literal(literal)))
    }

    fn literal(&mut self, pair: Pair<'_, Rule>) -> Option<Spanned<Literal>> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next()?;
        let value = match inner.as_rule() {
            Rule::string => Literal::String(self.string(inner).value),
            Rule::boolean => Literal::Bool(inner.as_str() == "true"),
            Rule::duration => Literal::Duration(self.duration(&inner)?),
            _ => match inner.as_str().parse() {
                Ok(number) => Literal::Int(number),
                Err(_) => {
                    let message = format!(
                        "`{}` is outside the range of 64-bit integers",
                        inner.as_str()
                    );
                    self.problems
                        .push(Diagnostic::error("E0103", message).at(&span));
                    return None;
                }
            },
        };
        Some(Spanned { value, span })
    }

    fn duration(&mut self, pair: &Pair<'_, Rule>) -> Option<i64> {
        let (digits, unit) = pair.as_str().split_at(pair.as_str().len() - 1);
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => 86_400,
        };
        let seconds = digits
            .parse::<i64>()
            .ok()
            .and_then(|count| count.checked_mul(factor));
        if seconds.is_none() {
            let problem = Diagnostic::error(
                "E0103",
                format!("the duration `{}` is too long", pair.as_str()),
            );
            self.problems.push(problem.at(&self.span(pair)));
        }
        seconds
    }

    fn parameter(&mut self, pair: Pair<'_, Rule>) -> Option<Parameter> {
        let mut inner = pair.into_inner();
        let name = self.text(&inner.next()?);
        let values = every(inner.map(|value| self.value(value)))?;
        Some(Parameter { name, values })
    }

    fn value(&mut self, pair: Pair<'_, Rule>) -> Option<Spanned<Value>> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next()?;
        let value = match inner.as_rule() {
            Rule::at_most => Value::AtMost(self.duration(&inner.into_inner().nth(1)?)?),
            Rule::list => Value::List(self.literals(inner)?),
            Rule::literal => Value::Literal(self.literal(inner)?.value),
            _ => Value::Path(Arc::from(inner.as_str())),
        };
        Some(Spanned { value, span })
    }
}
