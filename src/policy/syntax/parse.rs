//! pest's pairs → the tree. Limits stand before the parser, because a parser is no place to run out
//! of stack: size and nesting are counted over the bytes first, pest's call limit is the second fence.

use std::sync::{Arc, Once};

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::Pair;

use super::ast::{
    ActorForm, Clause, Condition, File, IssuerRef, Item, ItemKind, Literal, MatchKind, Matcher,
    Operand, Operator, Parameter, Spanned, Target, TargetsForm, Text, Value,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};

mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/policy.pest"]
    pub struct Grammar;
}
use grammar::{Grammar, Rule};

/// The largest policy file, in bytes.
pub const MAX_FILE: usize = 4 * 1024 * 1024;
/// The deepest nesting of brackets.
const MAX_NESTING: usize = 32;
/// pest counts every attempt; a megabyte of ordinary rules takes a few million.
const CALL_LIMIT: usize = 200_000_000;

/// Parses one file.
///
/// # Errors
/// The first syntax error, or all mistakes in how clauses are put together.
pub fn parse(file: &Arc<str>, text: &str) -> Result<File, Diagnostics> {
    static LIMIT: Once = Once::new();
    LIMIT.call_once(|| pest::set_call_limit(std::num::NonZeroUsize::new(CALL_LIMIT)));
    check_limits(file, text)?;
    let mut pairs =
        Grammar::parse(Rule::file, text).map_err(|error| explain(file, text, &error))?;
    let mut builder = Builder {
        file,
        problems: Diagnostics::default(),
    };
    let tree = pairs.next().and_then(|pair| builder.file(pair));
    match tree {
        Some(tree) if !builder.problems.has_errors() => Ok(tree),
        _ if builder.problems.has_errors() => Err(builder.problems),
        _ => Err(Diagnostic::error(
            "E0100",
            "the grammar and the tree builder disagree about this file",
        )
        .at(&Span::new(file, 0..text.len()))
        .into()),
    }
}

fn check_limits(file: &Arc<str>, text: &str) -> Result<(), Diagnostics> {
    let at = |range| Span::new(file, range);
    if text.len() > MAX_FILE {
        let message = format!("the file is larger than {MAX_FILE} bytes");
        return Err(Diagnostic::error("E0101", message).at(&at(0..0)).into());
    }
    let (mut depth, mut in_string, mut in_comment, mut escaped) = (0_usize, false, false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'\n' => (in_comment, in_string, escaped) = (false, false, false),
            _ if in_comment => {}
            b'\\' if in_string => escaped = !escaped,
            b'"' if in_string && escaped => escaped = false,
            b'"' => in_string = !in_string,
            _ if in_string => escaped = false,
            b'#' => in_comment = true,
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > MAX_NESTING {
                    let message = format!("nested more than {MAX_NESTING} levels deep");
                    return Err(Diagnostic::error("E0101", message)
                        .at(&at(index..index + 1))
                        .into());
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

struct Builder<'a> {
    file: &'a Arc<str>,
    problems: Diagnostics,
}

impl Builder<'_> {
    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let inner = pair.as_span();
        let trimmed = inner.as_str().trim_end();
        Span::new(self.file, inner.start()..inner.start() + trimmed.len())
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
                _ => clauses.extend(self.clause(part).map(|value| Spanned { value, span: at })),
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
                _ => Clause::From(Some(
                    inner.filter_map(|issuer| self.issuer(issuer)).collect(),
                )),
            },
            Rule::by => match inner.next()? {
                any if any.as_rule() == Rule::any_client => Clause::By(None),
                _word => Clause::By(Some(self.matcher(inner.next()?)?)),
            },
            Rule::to => Clause::To(
                inner
                    .filter(|p| p.as_rule() == Rule::targets)
                    .filter_map(|targets| self.targets(targets))
                    .collect(),
            ),
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
                parameters: inner
                    .filter_map(|parameter| self.parameter(parameter))
                    .collect(),
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
        let token_type = inner.nth(1).and_then(|pair| self.token_type(pair));
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
            shown.push(
                part.as_str()
                    .split_whitespace()
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
        let words = pair
            .as_str()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let all = [
            Operator::Equal,
            Operator::NotEqual,
            Operator::In,
            Operator::NotIn,
            Operator::Like,
            Operator::NotLike,
            Operator::Under,
            Operator::Has,
            Operator::Only,
        ];
        let value = all.into_iter().find(|operator| operator.text() == words)?;
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
            Rule::list => Operand::List(self.literals(first), span),
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

    fn literals(&mut self, list: Pair<'_, Rule>) -> Vec<Spanned<Literal>> {
        list.into_inner()
            .filter_map(|literal| self.literal(literal))
            .collect()
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
        let values = inner.filter_map(|value| self.value(value)).collect();
        Some(Parameter { name, values })
    }

    fn value(&mut self, pair: Pair<'_, Rule>) -> Option<Spanned<Value>> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next()?;
        let value = match inner.as_rule() {
            Rule::at_most => Value::AtMost(self.duration(&inner.into_inner().nth(1)?)?),
            Rule::list => Value::List(self.literals(inner)),
            Rule::literal => Value::Literal(self.literal(inner)?.value),
            _ => Value::Path(Arc::from(inner.as_str())),
        };
        Some(Spanned { value, span })
    }
}

/// Words of the language that later builds bring.
const LATER: &[&str] = &[
    "overrides",
    "import",
    "list",
    "def",
    "test",
    "prove",
    "any",
    "all",
    "none",
    "count",
    "time",
    "is",
    "beyond",
];

/// Slips that come from other languages, and what to write here.
const SLIPS: &[(&str, &str)] = &[
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("!", "write `not`"),
    ("=", "write `==` to compare"),
    ("'", "write strings in double quotes"),
    ("//", "comments begin with `#`"),
    ("resources", "write `resource`"),
    ("audiences", "write `audience`"),
    ("clients", "write `client`"),
    ("scopes", "write `scope`"),
    ("allow", "write `rule`"),
    ("permit", "write `rule`"),
    ("forbid", "write `deny`"),
];

fn explain(file: &Arc<str>, text: &str, error: &pest::error::Error<Rule>) -> Diagnostics {
    let start = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let rest = text.get(start..).unwrap_or_default();
    let length = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .unwrap_or(rest.len());
    let length = length.max(rest.chars().next().map_or(0, char::len_utf8));
    let word = rest.get(..length).unwrap_or_default();
    let span = Span::new(file, start..start + length);
    let mut wanted: Vec<&str> = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives
            .iter()
            .map(|production| words(*production))
            .collect(),
        ErrorVariant::CustomError { message } => {
            let message = format!("the file cannot be parsed: {message}");
            return Diagnostic::error("E0101", message).at(&span).into();
        }
    };
    wanted.sort_unstable();
    wanted.dedup();
    let found = match word {
        "" | "\n" => "the end of the file or line".to_owned(),
        word => format!("`{word}`"),
    };
    let message = match wanted.as_slice() {
        [] => format!("{found} cannot stand here"),
        [one] => format!("expected {one}, found {found}"),
        [many @ .., last] => format!("expected {} or {last}, found {found}", many.join(", ")),
    };
    let mut problem = Diagnostic::error("E0100", message).at(&span);
    if start == 0 && !text.starts_with("policy") {
        problem = problem.help("a policy file begins with `policy 1 module NAME`");
    } else if let Some((_, advice)) = SLIPS.iter().find(|(slip, _)| rest.starts_with(slip)) {
        problem = problem.help(*advice);
    } else if LATER.contains(&word) {
        problem = problem.help(format!(
            "`{word}` is a word of the language that this build does not have"
        ));
    } else if rest.starts_with('"')
        && !rest
            .lines()
            .next()
            .unwrap_or_default()
            .get(1..)
            .unwrap_or_default()
            .contains('"')
    {
        problem = problem.help("the string is not closed on its line");
    }
    problem.into()
}

/// What a production is called in messages.
fn words(production: Rule) -> &'static str {
    match production {
        Rule::file | Rule::header | Rule::w_policy => "`policy 1 module NAME`",
        Rule::rule | Rule::w_rule => "`rule`",
        Rule::deny | Rule::w_deny => "`deny`",
        Rule::EOI => "the end of the file",
        Rule::from | Rule::w_from => "`from`",
        Rule::by | Rule::w_by => "`by`",
        Rule::to | Rule::w_to => "`to`",
        Rule::actor | Rule::w_actor => "`actor`",
        Rule::via | Rule::w_via => "`via`",
        Rule::issue | Rule::w_issue => "`issue`",
        Rule::when | Rule::w_when => "`when`",
        Rule::use_ | Rule::w_use => "`use`",
        Rule::because | Rule::w_because => "`because`",
        Rule::tell | Rule::w_tell => "`tell`",
        Rule::error_ | Rule::w_error => "`error`",
        Rule::any_issuer => "`any issuer`",
        Rule::any_client => "`any client`",
        Rule::any_target => "`any target`",
        Rule::no_target => "`no target`",
        Rule::issuer => "an issuer's alias",
        Rule::w_client => "`client`",
        Rule::target_kind | Rule::target | Rule::targets => "`resource` or `audience`",
        Rule::match_kind => "`under` or `like`",
        Rule::string | Rule::strings | Rule::matcher => "a string",
        Rule::string_body | Rule::escape => "the rest of a string",
        Rule::condition | Rule::term => "a condition",
        Rule::negation | Rule::w_not => "`not`",
        Rule::connective => "`and` or `or`",
        Rule::presence => "`present` or `absent`",
        Rule::operator => "an operator (`==`, `!=`, `in`, `like`, `under`, `has`, `only`)",
        Rule::group => "`(`",
        Rule::comparison | Rule::operand | Rule::path => "an attribute",
        Rule::list => "a list",
        Rule::literal => "a constant",
        Rule::name => "a name",
        Rule::parameter => "a parameter (`name: value`)",
        Rule::value => "a value",
        Rule::version => "the version `1`",
        Rule::w_module => "`module`",
        Rule::duration | Rule::at_most => "a duration (`60s`, `5m`)",
        Rule::actor_form => "`none`, `client`, `named`, `required` or `optional`",
        _ => "another word",
    }
}
