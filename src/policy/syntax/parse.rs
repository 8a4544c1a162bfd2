//! pest's pairs → the tree. Limits stand before the parser, because a parser is no place to run out
//! of stack: size and nesting are counted over the bytes first, pest's call limit is the second fence.

use std::sync::{Arc, Mutex, Once, PoisonError};

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
/// The longest name or path, in bytes.
const MAX_WORD: usize = 256;
/// The longest string, in bytes; what it may hold is limited where it is used.
const MAX_STRING: usize = 4096;
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
    check_characters(file, text)?;
    let mut pairs = Grammar::parse(Rule::file, text)
        .map_err(|error| explain(file, text, &detailed(text, error)))?;
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

fn check_limits(file: &Arc<str>, text: &str) -> Result<(), Diagnostics> {
    let at = |range| Span::new(file, range);
    if text.len() > MAX_FILE {
        let message = format!("the file is larger than {MAX_FILE} bytes");
        return Err(Diagnostic::error("E0101", message).at(&at(0..0)).into());
    }
    let refused = |message: String, range| {
        let problem = Diagnostic::error("E0101", message).at(&at(range));
        Err(Diagnostics::from(problem))
    };
    let (mut depth, mut in_string, mut in_comment, mut escaped) = (0_usize, false, false, false);
    // Where the string or the word began that the byte belongs to.
    let mut begin = 0;
    for (index, byte) in text.bytes().enumerate() {
        let in_word = in_string || byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if in_comment || !in_word {
            begin = index + 1;
        } else if in_string && index - begin > MAX_STRING {
            let message = format!("the string is longer than {MAX_STRING} bytes");
            return refused(message, begin..begin + 1);
        } else if !in_string && index - begin >= MAX_WORD {
            let message = format!("the name is longer than {MAX_WORD} bytes");
            return refused(message, begin..index);
        }
        match byte {
            b'\n' => (in_comment, in_string, escaped) = (false, false, false),
            _ if in_comment => {}
            b'\\' if in_string => escaped = !escaped,
            b'"' if in_string && escaped => escaped = false,
            b'"' => {
                in_string = !in_string;
                begin = index + 1;
            }
            _ if in_string => escaped = false,
            b'#' => in_comment = true,
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > MAX_NESTING {
                    let message = format!("nested more than {MAX_NESTING} levels deep");
                    return refused(message, index..index + 1);
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what would be read otherwise than it is shown: control characters (a carriage return of its
/// own ends a comment, and no editor shows that) and marks that turn the direction of text.
fn check_characters(file: &Arc<str>, text: &str) -> Result<(), Diagnostics> {
    let mut rest = text.char_indices().peekable();
    while let Some((index, c)) = rest.next() {
        let next = rest.peek().map(|(_, next)| *next);
        let help = match c {
            '\n' | '\t' => continue,
            '\r' if next == Some('\n') => continue,
            '\r' => "end lines with LF, or with CR and LF",
            '\u{feff}' if index == 0 => "save the file as UTF-8 without a byte order mark",
            '\u{feff}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' => "what is shown would not be what is read; remove it",
            c if c.is_control() => "remove it",
            _ => continue,
        };
        let message = format!(
            "the invisible character U+{:04X} may not stand here",
            u32::from(c)
        );
        let span = Span::new(file, index..index + c.len_utf8());
        return Err(Diagnostic::error("E0104", message)
            .at(&span)
            .help(help)
            .into());
    }
    Ok(())
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

/// Words and signs of the language that later builds bring.
const LATER: &[&str] = &[
    "overrides",
    "import",
    "list",
    "def",
    "test",
    "prove",
    "is",
    "beyond",
    "<",
    ">",
    "@",
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "sat",
    "sun",
];
/// The same, where they stand before what cannot be read: `any scope like …`, `count(scope) …`.
const LATER_BEFORE: &[&str] = &["any", "all", "none", "count"];

/// Slips that come from other languages, and what to write here.
const SLIPS: &[(&str, &str)] = &[
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("!", "write `not`"),
    ("'", "write strings in double quotes"),
    ("//", "comments begin with `#`"),
    ("/*", "comments begin with `#`"),
    ("resources", "write `resource`"),
    ("audiences", "write `audience`"),
    ("clients", "write `client`"),
    ("scopes", "write `scope`"),
    ("allow", "write `rule`"),
    ("permit", "write `rule`"),
    ("forbid", "write `deny`"),
    (
        "priority",
        "there are no priorities: exactly one outcome may match",
    ),
];

/// The words with which clauses begin.
const CLAUSES: [&str; 11] = [
    "from", "by", "to", "actor", "via", "issue", "when", "use", "because", "tell", "error",
];

/// The same error with what was tried where. That costs more than the parse, so that only a text that
/// failed pays for it; the switch is pest's own, for all threads.
fn detailed(text: &str, error: pest::error::Error<Rule>) -> pest::error::Error<Rule> {
    static SWITCH: Mutex<()> = Mutex::new(());
    let _held = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
    pest::set_error_detail(true);
    let detailed = Grammar::parse(Rule::file, text).err().unwrap_or(error);
    pest::set_error_detail(false);
    detailed
}

/// pest's error in the words of an author.
fn explain(file: &Arc<str>, text: &str, error: &pest::error::Error<Rule>) -> Diagnostics {
    let mut start = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let productions = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
        ErrorVariant::CustomError { message } => {
            let message = format!("the file cannot be parsed: {message}");
            let span = Span::new(file, start..start);
            return Diagnostic::error("E0101", message).at(&span).into();
        }
    };
    let mut wanted: Vec<String> = productions.iter().map(|p| words(*p)).collect();
    if let Some(attempts) = error.parse_attempts() {
        let furthest = attempts.max_position;
        // Productions fail where they begin; the character that stopped the last one may stand later.
        if furthest > start && !splits_word(text, start, furthest) {
            if let Some(problem) = in_string(file, text, start, furthest) {
                return problem.into();
            }
            start = furthest;
            wanted.clear();
        }
        if furthest == start {
            let words_too = wanted.is_empty();
            let signs = attempts.expected_tokens().into_iter();
            wanted.extend(signs.filter_map(|token| sign(&token.to_string(), words_too)));
        }
    }
    let rest = text.get(start..).unwrap_or_default();
    let word = first_word(rest);
    let span = Span::new(file, start..start + word.len());
    let before = text.get(..start).unwrap_or_default().trim_end();
    let before_start = before.len() - last_word(before).len();
    let before_span = Span::new(file, before_start..before.len());
    let before = last_word(before);
    let operator = productions.contains(&Rule::operator) && wanted.contains(&words(Rule::operator));

    let later = if LATER.contains(&word) {
        Some((word, &span))
    } else if LATER_BEFORE.contains(&before) && (operator || word == "of") {
        Some((before, &before_span))
    } else if word == "{" && wanted.contains(&words(Rule::value)) {
        Some(("{ … }", &span))
    } else {
        None
    };
    if let Some((word, span)) = later {
        let message = format!("`{word}` is of the language, but not of this build");
        return Diagnostic::error("E0203", message).at(span).into();
    }
    let ends = |word| matches!(word, "" | "\n" | "and" | "or" | ")" | "{" | "}");
    if operator && CLAUSES.contains(&before) {
        let message = format!("expected a condition, found the clause `{before}`");
        return Diagnostic::error("E0100", message).at(&before_span).into();
    }
    if operator && (CLAUSES.contains(&word) || ends(word)) {
        let message = format!("`{before}` is not compared with anything");
        let help = format!("for a truth value, write `{before} == true`");
        let problem = Diagnostic::error("E0100", message).at(&before_span);
        return problem.help(help).into();
    }

    if let Some(both) = wanted
        .iter()
        .position(|name| *name == words(Rule::connective))
    {
        wanted.splice(both..=both, ["`and`".to_owned(), "`or`".to_owned()]);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let of_clause = |name: &String| CLAUSES.iter().any(|word| *name == format!("`{word}`"));
    if wanted.iter().filter(|name| of_clause(name)).count() > 3 {
        wanted.retain(|name| !of_clause(name));
        wanted.push("another clause".to_owned());
    }
    let found = match word {
        "" => "the end of the file".to_owned(),
        "\n" | "\r" => "the end of the line".to_owned(),
        "\"" => "a string".to_owned(),
        word => format!("`{word}`"),
    };
    let message = match wanted.as_slice() {
        [] => format!("{found} cannot stand here"),
        [one] => format!("expected {one}, found {found}"),
        [many @ .., last] => format!("expected {} or {last}, found {found}", many.join(", ")),
    };
    let mut problem = Diagnostic::error("E0100", message).at(&span);
    if wanted.contains(&words(Rule::file)) {
        problem = problem.help("a policy file begins with `policy 1 module NAME`");
    } else if operator && word == "=" {
        problem = problem.help("write `==` to compare");
    } else if let Some((_, advice)) = SLIPS.iter().find(|(slip, _)| rest.starts_with(slip)) {
        problem = problem.help(*advice);
    } else if word == "-" || (operator && word.starts_with('-')) {
        problem = problem.help("a name in a path has no `-`");
    } else if word.starts_with(char::is_alphabetic)
        && !matches!(word, "in" | "has" | "as" | "and" | "or")
        && wanted.contains(&words(Rule::string))
    {
        problem = problem.help(format!("write strings in double quotes: `\"{word}\"`"));
    } else if word == "\"" && wanted.contains(&words(Rule::w_client)) {
        problem = problem.help("write `by client \"…\"`");
    }
    problem.into()
}

/// Whether a position stands inside a word, or at the end of the one that stands at `start`.
fn splits_word(text: &str, start: usize, at: usize) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let inside = text.get(..at).is_none_or(|text| text.ends_with(word))
        && text.get(at..).is_none_or(|text| text.starts_with(word));
    inside
        || text
            .get(start..at)
            .is_none_or(|text| text.chars().all(word))
}

/// A mistake inside a string that was begun.
fn in_string(file: &Arc<str>, text: &str, start: usize, at: usize) -> Option<Diagnostic> {
    let inside = text.get(start..at)?;
    let open = inside.rfind('"')? + start;
    let rest = text.get(at..)?;
    let line_end = rest.is_empty() || rest.starts_with(['\n', '\r']);
    if rest.starts_with('\\') || inside.ends_with('\\') {
        let at = if inside.ends_with('\\') { at - 1 } else { at };
        let escape = text
            .get(at..)?
            .chars()
            .nth(1)
            .map_or(1, |c| 1 + c.len_utf8());
        let problem = Diagnostic::error("E0100", "a string has no such escape");
        return Some(
            problem
                .at(&Span::new(file, at..at + escape))
                .help("`\\\"` and `\\\\` are all that there is"),
        );
    }
    line_end.then(|| {
        Diagnostic::error("E0100", "the string is not closed on its line")
            .at(&Span::new(file, open..at))
    })
}

/// The word, number or sign at the start of a text; of a very long one, the start.
fn first_word(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .unwrap_or(text.len());
    let end = end.max(text.chars().next().map_or(0, char::len_utf8));
    let shown = text.char_indices().nth(64).map_or(end, |(at, _)| at);
    text.get(..end.min(shown)).unwrap_or_default()
}

/// The word or path at the end of a text.
fn last_word(text: &str) -> &str {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    text.get(text.trim_end_matches(word).len()..)
        .unwrap_or_default()
}

/// A token that pest wanted, if it is a sign; a word too where nothing else is known.
fn sign(token: &str, words_too: bool) -> Option<String> {
    let plain = token.trim_matches(['"', '`', '\'']);
    let is_word = plain.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let is_sign = matches!(plain, "," | ":" | "]" | ")" | "}" | "{" | "&" | "[");
    (is_sign || (words_too && is_word && plain.chars().all(|c| c.is_ascii_lowercase())))
        .then(|| format!("`{plain}`"))
}

/// What a production is called in messages.
fn words(production: Rule) -> String {
    let fixed = match production {
        Rule::file | Rule::header | Rule::w_policy => "`policy 1 module NAME`",
        Rule::rule => "`rule`",
        Rule::deny => "`deny`",
        Rule::EOI => "the end of the file",
        Rule::from => "`from`",
        Rule::by => "`by`",
        Rule::to => "`to`",
        Rule::actor => "`actor`",
        Rule::via => "`via`",
        Rule::issue => "`issue`",
        Rule::when => "`when`",
        Rule::use_ => "`use`",
        Rule::because => "`because`",
        Rule::tell => "`tell`",
        Rule::error_ => "`error`",
        Rule::any_issuer => "`any issuer`",
        Rule::any_client => "`any client`",
        Rule::any_target => "`any target`",
        Rule::no_target => "`no target`",
        Rule::issuer => "an issuer's alias",
        Rule::target_kind | Rule::target | Rule::targets => "`resource` or `audience`",
        Rule::match_kind => "`under` or `like`",
        Rule::string | Rule::strings | Rule::matcher => "a string",
        Rule::string_body | Rule::escape => "the rest of a string",
        Rule::condition | Rule::term => "a condition",
        Rule::negation => "`not`",
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
        Rule::duration | Rule::at_most => "a duration (`60s`, `5m`)",
        Rule::actor_form => "`none`, `client`, `named`, `required` or `optional`",
        _ => "",
    };
    if !fixed.is_empty() {
        return fixed.to_owned();
    }
    // The words of the grammar are called `w_WORD` there.
    match format!("{production:?}").strip_prefix("w_") {
        Some(word) => format!("`{word}`"),
        None => "something else".to_owned(),
    }
}
