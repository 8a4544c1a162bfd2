//! pest's pairs → the tree. `limits` stands before it, pest's call limit is the second fence.

use std::ops::Range;
use std::sync::{Arc, Once};

use pest::Parser;
use pest::iterators::Pair;

use super::ast::{
    self, ActorForm, At, Claim, Clause, Condition, Day, Def, Duration, Expectation, Field, File,
    GivenValue, Import, Issued, IssuerRef, Item, ItemKind, ListDef, Literal, MatchKind, Matcher,
    Operand, Operator, Parameter, Proof, Quantifier, Spanned, Strings, Target, TargetsForm, Test,
    Text, Unit, Value,
};
use super::comments::{self, Comment};
use super::grammar::{Grammar, Rule};
use super::{limits, pieces, slips};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};

/// pest counts every attempt; a megabyte of ordinary rules takes a few million.
const CALL_LIMIT: usize = 200_000_000;

/// Parses one file.
///
/// # Errors
/// The first syntax error, or all mistakes in how clauses are put together.
pub fn parse(file: &Arc<str>, text: &str) -> Result<File, Diagnostics> {
    let pieces = pieces::of(text);
    if let [_, _, ..] = pieces.as_slice()
        && let Some(tree) = by_pieces(file, text, &pieces)
    {
        return Ok(tree);
    }
    as_a_whole(file, text)
}

fn as_a_whole(file: &Arc<str>, text: &str) -> Result<File, Diagnostics> {
    tree(Place::whole(file), text, Rule::file, |builder, pair| {
        builder.file(pair)
    })
}

/// Where a text stands that is not a whole file: `at` in its file, or, where its characters are not
/// those of the file (escapes of another spelling), all of it at one place.
#[derive(Clone, Debug)]
pub struct Place {
    file: Arc<str>,
    start: usize,
    whole: Option<Span>,
    /// How many brackets are open around it, of those that a limit counts.
    pub(super) depth: usize,
    is_file: bool,
}

impl Place {
    fn whole(file: &Arc<str>) -> Self {
        Self {
            is_file: true,
            ..Self::at(file, 0)
        }
    }

    /// A text that begins at a byte of the file and is written there as it is.
    #[must_use]
    pub fn at(file: &Arc<str>, start: usize) -> Self {
        Self {
            file: Arc::clone(file),
            start,
            whole: None,
            depth: 0,
            is_file: false,
        }
    }

    /// A text that is written otherwise in the file: everything in it stands at this place.
    #[must_use]
    pub fn within(span: &Span) -> Self {
        Self {
            file: Arc::clone(&span.file),
            start: span.start,
            whole: Some(span.clone()),
            depth: 0,
            is_file: false,
        }
    }

    /// Whether the text is a file of its own: in another spelling, quotes and signs mean other things.
    pub(super) fn is_file(&self) -> bool {
        self.is_file
    }

    /// The same, with so many brackets open around it in the text spelling.
    #[must_use]
    pub fn nested(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    pub(super) fn span(&self, range: std::ops::Range<usize>) -> Span {
        match &self.whole {
            Some(span) => span.clone(),
            None => Span::new(&self.file, self.start + range.start..self.start + range.end),
        }
    }
}

/// Parses a condition that stands by itself.
///
/// # Errors
/// As for a file.
pub fn condition(place: Place, text: &str) -> Result<Condition, Diagnostics> {
    tree(place, text, Rule::only_condition, |builder, pair| {
        builder.condition(pair.into_inner().next()?)
    })
}

/// The values of a parameter of `use`, and `beyond subject`.
pub type Values = (Vec<Spanned<Value>>, Option<At>);

/// Parses the value of a parameter that stands by itself.
///
/// # Errors
/// As for a file.
pub fn values(place: Place, text: &str) -> Result<Values, Diagnostics> {
    tree(place, text, Rule::only_value, |builder, pair| {
        builder.values(pair.into_inner())
    })
}

/// Parses a value of a test's `given` that stands by itself.
///
/// # Errors
/// As for a file.
pub fn given(place: Place, text: &str) -> Result<Spanned<GivenValue>, Diagnostics> {
    tree(place, text, Rule::only_given, |builder, pair| {
        builder.given_value(pair.into_inner().next()?)
    })
}

/// Parses a claim of a proof that stands by itself.
///
/// # Errors
/// As for a file.
pub fn claim(place: Place, text: &str) -> Result<Spanned<Claim>, Diagnostics> {
    tree(place, text, Rule::only_claim, |builder, pair| {
        builder.claim(pair.into_inner().next()?)
    })
}

/// Parses a file piece by piece; `None` where anything is wrong, which is found by reading it as a whole.
fn by_pieces(file: &Arc<str>, text: &str, pieces: &[Range<usize>]) -> Option<File> {
    limit_calls();
    limits::check(&Place::whole(file), text).ok()?;
    let mut whole: Option<File> = None;
    for range in pieces {
        let piece = text.get(range.clone())?;
        let production = match whole {
            None => Rule::file,
            Some(_) => Rule::only_items,
        };
        let mut builder = Builder {
            comments: comments::scan(file, piece),
            place: Place {
                start: range.start,
                ..Place::whole(file)
            },
            text: piece,
            problems: Diagnostics::default(),
        };
        let pair = Grammar::parse(production, piece).ok()?.next()?;
        let parts = builder.parts(pair);
        if !builder.problems.is_empty() {
            return None;
        }
        let comments = parts.comments.into_iter().map(|mut comment| {
            comment.span.start += range.start;
            comment.span.end += range.start;
            comment
        });
        match &mut whole {
            None => {
                whole = Some(File {
                    module: parts.module?,
                    imports: parts.imports,
                    items: parts.items,
                    comments: comments.collect(),
                });
            }
            Some(whole) => {
                whole.items.extend(parts.items);
                whole.comments.extend(comments);
            }
        }
    }
    whole
}

fn limit_calls() {
    static LIMIT: Once = Once::new();
    LIMIT.call_once(|| pest::set_call_limit(std::num::NonZeroUsize::new(CALL_LIMIT)));
}

fn tree<T>(
    place: Place,
    text: &str,
    production: Rule,
    build: impl FnOnce(&mut Builder<'_>, Pair<'_, Rule>) -> Option<T>,
) -> Result<T, Diagnostics> {
    limit_calls();
    limits::check(&place, text)?;
    let mut pairs = Grammar::parse(production, text)
        .map_err(|error| slips::explain(&place, text, &slips::detailed(text, production, error)))?;
    let whole = place.span(0..text.len());
    let mut builder = Builder {
        comments: comments::scan(&place.file, text),
        place,
        text,
        problems: Diagnostics::default(),
    };
    let tree = pairs.next().and_then(|pair| build(&mut builder, pair));
    match tree {
        Some(tree) if !builder.problems.has_errors() => Ok(tree),
        _ if builder.problems.has_errors() => Err(builder.problems),
        _ => Err(disagreement(&whole).into()),
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

/// The words of a piece of text, one space between them, comments left out.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let end = comments::begins(line).unwrap_or(line.len());
        line.get(..end).unwrap_or(line)
    });
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

/// What a file has, or a piece of one.
struct Parts {
    module: Option<Text>,
    imports: Vec<Import>,
    items: Vec<Item>,
    comments: Vec<Comment>,
}

struct Builder<'a> {
    place: Place,
    text: &'a str,
    /// By their places in `text`.
    comments: Vec<Comment>,
    problems: Diagnostics,
}

impl Builder<'_> {
    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let whole = pair.as_span();
        self.place
            .span(whole.start()..self.end(whole.start(), whole.end()))
    }

    /// The end of a piece without the white space and comments that pest counts in after the last token.
    fn end(&self, start: usize, end: usize) -> usize {
        let trimmed = |end| {
            let text = self.text.get(start..end).unwrap_or_default();
            start + text.trim_end().len()
        };
        let mut end = trimmed(end);
        loop {
            let before = self
                .comments
                .partition_point(|comment| comment.span.start < end);
            let last = before.checked_sub(1).and_then(|at| self.comments.get(at));
            match last.filter(|last| last.span.end == end && last.span.start >= start) {
                Some(last) => end = trimmed(last.span.start),
                None => return end,
            }
        }
    }

    fn at(&self, pair: &Pair<'_, Rule>) -> At {
        At(self.span(pair))
    }

    /// The `##` lines above a piece.
    fn doc(&mut self, pair: &Pair<'_, Rule>) -> Option<Arc<str>> {
        comments::take_doc(&mut self.comments, self.text, pair.as_span().start())
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
        let parts = self.parts(pair);
        Some(File {
            module: parts.module?,
            imports: parts.imports,
            items: parts.items,
            comments: parts.comments,
        })
    }

    fn parts(&mut self, pair: Pair<'_, Rule>) -> Parts {
        let mut module = None;
        let mut imports = Vec::new();
        let mut items = Vec::new();
        for part in pair.into_inner() {
            let at = self.span(&part);
            let item = match part.as_rule() {
                Rule::header => {
                    module = self.header(part);
                    continue;
                }
                Rule::import => {
                    imports.extend(self.import(part));
                    continue;
                }
                Rule::rule => self.rule(ItemKind::Rule, part).map(Item::Rule),
                Rule::deny => self.rule(ItemKind::Deny, part).map(Item::Rule),
                Rule::list_def => self.list_def(part).map(Item::List),
                Rule::def => self.def(part).map(Item::Def),
                Rule::test => self.test(part).map(Item::Test),
                Rule::proof => self.proof(part).map(Item::Proof),
                _ => continue,
            };
            match item {
                Some(item) => items.push(item),
                None if self.problems.has_errors() => {}
                None => self.problems.push(disagreement(&at)),
            }
        }
        let mut comments = std::mem::take(&mut self.comments);
        comments.retain(|comment| !comment.doc);
        Parts {
            module,
            imports,
            items,
            comments,
        }
    }

    fn import(&mut self, pair: Pair<'_, Rule>) -> Option<Import> {
        let span = self.at(&pair);
        let mut names = Vec::new();
        let mut module = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::imported => names.push(self.text(&part)),
                Rule::name => module = Some(self.text(&part)),
                _ => {}
            }
        }
        Some(Import {
            names,
            module: module?,
            span,
        })
    }

    fn list_def(&mut self, pair: Pair<'_, Rule>) -> Option<ListDef> {
        let (span, doc) = (self.at(&pair), self.doc(&pair));
        let mut inner = pair.into_inner().skip(1);
        Some(ListDef {
            name: self.text(&inner.next()?),
            ty: self.text(&inner.next()?),
            members: self.literals(inner.next()?)?,
            doc,
            span,
        })
    }

    fn def(&mut self, pair: Pair<'_, Rule>) -> Option<Def> {
        let (span, doc) = (self.at(&pair), self.doc(&pair));
        let mut inner = pair.into_inner().skip(1);
        Some(Def {
            name: self.text(&inner.next()?),
            condition: self.condition(inner.next()?)?,
            doc,
            span,
        })
    }

    fn test(&mut self, pair: Pair<'_, Rule>) -> Option<Test> {
        let (span, doc) = (self.at(&pair), self.doc(&pair));
        let mut name = None;
        let mut given: Option<Vec<Field>> = None;
        let mut expect: Option<Spanned<Expectation>> = None;
        for part in pair.into_inner() {
            let at = self.span(&part);
            let (word, twice) = match part.as_rule() {
                Rule::string => {
                    name = Some(self.string(part));
                    continue;
                }
                Rule::given => {
                    let twice = given.is_some();
                    let settings = part.into_inner().skip(1);
                    given = Some(every(settings.map(|setting| self.field(setting)))?);
                    ("given", twice)
                }
                Rule::expect => {
                    let twice = expect.is_some();
                    let value = self.expectation(part.into_inner().nth(1)?)?;
                    expect = Some(Spanned {
                        value,
                        span: at.clone(),
                    });
                    ("expect", twice)
                }
                _ => continue,
            };
            if twice {
                let problem = Diagnostic::error("E0121", format!("`{word}` is written twice"));
                self.problems.push(problem.at(&at));
            }
        }
        let name = name?;
        let Some(expect) = expect else {
            let message = format!("test `{}` has no `expect`", name.value);
            let help = "say what must come out: `expect use PROCESSOR` or `expect refuse CODE`";
            let problem = Diagnostic::error("E0120", message).at(&name.span);
            self.problems.push(problem.help(help));
            return None;
        };
        Some(Test {
            name,
            given: given.unwrap_or_default(),
            expect,
            doc,
            span,
        })
    }

    fn field(&mut self, pair: Pair<'_, Rule>) -> Option<Field> {
        let mut inner = pair.into_inner();
        Some(Field {
            name: self.name_or_string(inner.next()?),
            value: self.given_value(inner.next()?)?,
        })
    }

    fn fields(&mut self, pair: Pair<'_, Rule>) -> Option<Vec<Field>> {
        every(pair.into_inner().map(|field| self.field(field)))
    }

    fn given_value(&mut self, pair: Pair<'_, Rule>) -> Option<Spanned<GivenValue>> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next()?;
        let value = match inner.as_rule() {
            Rule::list => GivenValue::List(self.literals(inner)?),
            Rule::literal => GivenValue::Literal(self.literal(inner)?.value),
            Rule::word => GivenValue::Word(self.text(&inner).value),
            Rule::fields => GivenValue::Fields(self.fields(inner)?),
            _ => {
                let mut inner = inner.into_inner();
                let issuer = self.text(&inner.next()?);
                GivenValue::Party(issuer, self.fields(inner.next()?)?)
            }
        };
        Some(Spanned { value, span })
    }

    fn expectation(&mut self, pair: Pair<'_, Rule>) -> Option<Expectation> {
        let uses = pair.as_rule() == Rule::expect_use;
        let (mut name, mut by, mut fields) = (None, None, Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::name => name = Some(self.text(&part)),
                Rule::rule_name => by = Some(self.text(&part)),
                Rule::fields => fields = self.fields(part)?,
                _ => {}
            }
        }
        Some(if uses {
            Expectation::Use {
                processor: name?,
                by,
                fields,
            }
        } else {
            Expectation::Refuse { code: name, by }
        })
    }

    fn proof(&mut self, pair: Pair<'_, Rule>) -> Option<Proof> {
        let (span, doc) = (self.at(&pair), self.doc(&pair));
        let mut inner = pair.into_inner().skip(1);
        Some(Proof {
            name: self.string(inner.next()?),
            claims: every(inner.map(|claim| self.claim(claim)))?,
            doc,
            span,
        })
    }

    fn claim(&mut self, pair: Pair<'_, Rule>) -> Option<Spanned<Claim>> {
        let span = self.span(&pair);
        let claim = pair.into_inner().next()?;
        let production = claim.as_rule();
        let (mut processor, mut what, mut operator, mut right, mut when) =
            (None, None, None, None, None);
        let (mut rules, mut every) = (Vec::new(), false);
        for part in claim.into_inner() {
            match part.as_rule() {
                Rule::used => {
                    let name = part
                        .into_inner()
                        .find(|part| part.as_rule() == Rule::name)?;
                    processor = Some(self.text(&name));
                }
                Rule::issued => {
                    let value = match part.clone().into_inner().next()?.as_rule() {
                        Rule::w_scope => Issued::Scope,
                        Rule::w_audience => Issued::Audience,
                        _ => Issued::Lifetime,
                    };
                    let span = self.span(&part);
                    what = Some(Spanned { value, span });
                }
                Rule::operator => operator = Some(self.operator(&part)?),
                Rule::operand => right = Some(self.operand(part)?),
                Rule::claim_when => when = Some(self.condition(part.into_inner().nth(1)?)?),
                Rule::rule_name => rules.push(self.text(&part)),
                Rule::every_rule => every = true,
                _ => {}
            }
        }
        let value = match production {
            Rule::never_use => Claim::NeverUse { processor, when },
            Rule::always_use => Claim::AlwaysUse {
                processor,
                when: when?,
            },
            Rule::never_issue => Claim::NeverIssue {
                what: what?,
                operator: operator?,
                right: right?,
                when,
            },
            Rule::disjoint => Claim::Disjoint(rules),
            Rule::reachable => Claim::Reachable((!every).then_some(rules)),
            _ => return None,
        };
        Some(Spanned { value, span })
    }

    fn name_or_string(&self, pair: Pair<'_, Rule>) -> Text {
        if pair.as_rule() == Rule::string {
            self.string(pair)
        } else {
            self.text(&pair)
        }
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

    fn rule(&mut self, kind: ItemKind, pair: Pair<'_, Rule>) -> Option<ast::Rule> {
        let (span, doc) = (self.at(&pair), self.doc(&pair));
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
        clauses.shrink_to_fit();
        Some(ast::Rule {
            kind,
            name: name?,
            clauses,
            doc,
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
                    may_act_ignored: inner.next().map(|pair| self.at(&pair)),
                }
            }
            Rule::via => Clause::Via(self.text(&inner.next()?)),
            Rule::issue => Clause::Issue(self.token_type(inner.next()?)?),
            Rule::when => Clause::When(self.condition(inner.next()?)?),
            Rule::use_ => Clause::Use {
                processor: self.text(&inner.next()?),
                parameters: every(inner.map(|parameter| self.parameter(parameter)))?,
            },
            Rule::overrides => Clause::Overrides(inner.map(|name| self.text(&name)).collect()),
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
        Some(self.name_or_string(pair.into_inner().next()?))
    }

    fn matcher(&mut self, pair: Pair<'_, Rule>) -> Option<Matcher> {
        let mut kind = MatchKind::Equal;
        let mut strings = Strings::Written(Vec::new());
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::match_kind if part.as_str().starts_with("under") => kind = MatchKind::Under,
                Rule::match_kind => kind = MatchKind::Like,
                _ => {
                    let inner = part.into_inner();
                    strings = match inner.peek()? {
                        name if name.as_rule() == Rule::list_name => {
                            Strings::List(self.text(&name))
                        }
                        _ => Strings::Written(inner.map(|string| self.string(string)).collect()),
                    }
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
                    let span = self.at(&part);
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
        let (mut ands, mut ors) = (0, 0);
        let parts = pair.into_inner();
        for part in parts.clone() {
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
            let shown: Vec<String> = parts.map(|part| plain(part.as_str())).collect();
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
            let span = self.at(&part);
            match part.as_rule() {
                Rule::negation => negated = !negated,
                Rule::group => condition = self.condition(part.into_inner().next()?),
                _ => condition = self.test_of(part, span),
            }
        }
        if negated {
            condition.map(|c| Condition::Not(Box::new(c)))
        } else {
            condition
        }
    }

    /// One test: a term without `not` and parentheses.
    fn test_of(&mut self, pair: Pair<'_, Rule>, span: At) -> Option<Condition> {
        let production = pair.as_rule();
        let mut inner = pair.into_inner();
        Some(match production {
            Rule::presence => Condition::Presence {
                present: inner.next()?.as_rule() == Rule::w_present,
                path: self.text(&inner.next()?),
                span,
            },
            Rule::time_in => self.time(inner, span)?,
            Rule::counted => {
                let mut inner = inner.skip(1);
                let path = self.text(&inner.next()?);
                let operator = self.operator(&inner.next()?)?;
                let number = inner.next()?;
                Condition::Count {
                    path,
                    operator,
                    number: Spanned {
                        span: self.span(&number),
                        value: self.integer(&number)?,
                    },
                    span,
                }
            }
            Rule::where_ => Condition::Where {
                quantifier: quantifier(&inner.next()?)?,
                path: self.text(&inner.next()?),
                condition: Box::new(self.condition(inner.nth(1)?)?),
                span,
            },
            Rule::quantified => Condition::Quantified {
                quantifier: quantifier(&inner.next()?)?,
                path: self.text(&inner.next()?),
                operator: self.operator(&inner.next()?)?,
                right: self.operand(inner.next()?)?,
                span,
            },
            Rule::emptiness => Condition::Empty {
                path: self.text(&inner.next()?),
                span,
            },
            Rule::reference => {
                Condition::Reference(self.text(&inner.find(|p| p.as_rule() == Rule::name)?))
            }
            Rule::comparison => Condition::Comparison {
                left: self.operand(inner.next()?)?,
                operator: self.operator(&inner.next()?)?,
                right: self.operand(inner.next()?)?,
                span,
            },
            _ => return None,
        })
    }

    fn time(&mut self, inner: pest::iterators::Pairs<'_, Rule>, span: At) -> Option<Condition> {
        let (mut zone, mut days, mut hours) = (None, Vec::new(), None);
        for part in inner {
            let at = self.span(&part);
            match part.as_rule() {
                Rule::string => zone = Some(self.string(part)),
                Rule::days => {
                    for range in part.into_inner() {
                        let at = self.span(&range);
                        let mut ends = range.into_inner();
                        let first = day(&ends.next()?)?;
                        let last = match ends.next() {
                            Some(last) => day(&last)?,
                            None => first,
                        };
                        days.push(Spanned {
                            value: (first, last),
                            span: at,
                        });
                    }
                }
                Rule::hours => {
                    let mut ends = part.into_inner();
                    let value = (self.clock(&ends.next()?)?, self.clock(&ends.next()?)?);
                    hours = Some(Spanned { value, span: at });
                }
                _ => {}
            }
        }
        Some(Condition::Time {
            zone: zone?,
            days,
            hours,
            span,
        })
    }

    /// `08:00` in minutes; `24:00` is the end of a day.
    fn clock(&mut self, pair: &Pair<'_, Rule>) -> Option<u16> {
        let (hour, minute) = pair.as_str().split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let minutes = hour * 60 + minute;
        if minute > 59 || minutes > 24 * 60 {
            let message = format!("`{}` is no time of day", pair.as_str());
            let problem = Diagnostic::error("E0103", message).at(&self.span(pair));
            self.problems.push(problem.help("from `00:00` to `24:00`"));
            return None;
        }
        Some(minutes)
    }

    fn operator(&self, pair: &Pair<'_, Rule>) -> Option<Spanned<Operator>> {
        // By production, not by text: a comment may stand between `not` and `in`.
        let value = match pair.clone().into_inner().next().map(|word| word.as_rule()) {
            None if pair.as_str().starts_with("==") => Operator::Equal,
            None if pair.as_str().starts_with("!=") => Operator::NotEqual,
            None if pair.as_str().starts_with("<=") => Operator::AtMost,
            None if pair.as_str().starts_with(">=") => Operator::AtLeast,
            None if pair.as_str().starts_with('<') => Operator::Less,
            None if pair.as_str().starts_with('>') => Operator::Greater,
            Some(Rule::has_any) => Operator::HasAnyOf,
            Some(Rule::has_all) => Operator::HasAllOf,
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
            Rule::list => Operand::List(self.literals(first)?, At(span)),
            Rule::list_name => Operand::ListName(self.text(&first)),
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
            Rule::instant => match inner.as_str().parse::<jiff::Timestamp>() {
                Ok(instant) => Literal::Instant(instant.as_second(), Arc::from(inner.as_str())),
                Err(_) => {
                    let message = format!("`{}` is no instant", inner.as_str());
                    let problem = Diagnostic::error("E0218", message).at(&span);
                    self.problems
                        .push(problem.help("as in RFC 3339: `2026-12-01T08:00:00Z`"));
                    return None;
                }
            },
            _ => Literal::Int(self.integer(&inner)?),
        };
        Some(Spanned { value, span })
    }

    fn integer(&mut self, pair: &Pair<'_, Rule>) -> Option<i64> {
        let number = pair.as_str().parse().ok();
        if number.is_none() {
            let message = format!(
                "`{}` is outside the range of 64-bit integers",
                pair.as_str()
            );
            let problem = Diagnostic::error("E0103", message).at(&self.span(pair));
            self.problems.push(problem);
        }
        number
    }

    fn duration(&mut self, pair: &Pair<'_, Rule>) -> Option<Duration> {
        let (digits, unit) = pair.as_str().split_at(pair.as_str().len() - 1);
        let unit = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            _ => Unit::Day,
        };
        let seconds = digits
            .parse::<i64>()
            .ok()
            .and_then(|count| count.checked_mul(unit.parts().1));
        if seconds.is_none() {
            let problem = Diagnostic::error(
                "E0103",
                format!("the duration `{}` is too long", pair.as_str()),
            );
            self.problems.push(problem.at(&self.span(pair)));
        }
        seconds.map(|seconds| Duration { seconds, unit })
    }

    fn parameter(&mut self, pair: Pair<'_, Rule>) -> Option<Parameter> {
        let mut inner = pair.into_inner();
        let name = self.name_or_string(inner.next()?);
        let (values, beyond) = self.values(inner)?;
        Some(Parameter {
            name,
            values,
            beyond,
        })
    }

    fn values(&mut self, pairs: pest::iterators::Pairs<'_, Rule>) -> Option<Values> {
        let (mut values, mut beyond) = (Vec::new(), None);
        for pair in pairs {
            match pair.as_rule() {
                Rule::beyond => beyond = Some(self.at(&pair)),
                Rule::value => values.push(self.value(pair)?),
                _ => {}
            }
        }
        Some((values, beyond))
    }

    fn value(&mut self, pair: Pair<'_, Rule>) -> Option<Spanned<Value>> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next()?;
        let value = match inner.as_rule() {
            Rule::at_most => Value::AtMost(self.duration(&inner.into_inner().nth(1)?)?),
            Rule::list => Value::List(self.literals(inner)?),
            Rule::list_name => Value::ListName(self.text(&inner).value),
            Rule::literal => Value::Literal(self.literal(inner)?.value),
            Rule::map => Value::Map(every(inner.into_inner().map(|p| self.parameter(p)))?),
            _ => Value::Path(Arc::from(inner.as_str())),
        };
        Some(Spanned { value, span })
    }
}

fn quantifier(pair: &Pair<'_, Rule>) -> Option<Quantifier> {
    let words = [Quantifier::Any, Quantifier::All, Quantifier::None];
    words
        .into_iter()
        .find(|word| pair.as_str().starts_with(word.text()))
}

fn day(pair: &Pair<'_, Rule>) -> Option<Day> {
    Day::ALL.into_iter().find(|day| day.text() == pair.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items of all kinds, with comments in all places, as large as several pieces.
    fn large() -> String {
        let mut text = "policy 1 module large # here\n\nimport @a from other\n".to_owned();
        for number in 0..2_000 {
            text.push_str(&format!(
                "## documented\n## twice\nrule r{number} {{ # \"}}\n  from any issuer\n  by client \"a\\\"}}\" \
                 # b\n  to audience \"{{{number}\"\n  when (scope has \"x\")\n  use mint {{ scope: [\"x\"] }}\n}} # after\n\
                 # alone\ndef d{number} = scope has \"y\"\nlist @l{number} : string = [\n  \"a\", # in\n]\n"
            ));
        }
        text
    }

    #[test]
    fn a_large_file_reads_the_same_in_pieces() {
        let (file, text) = (Arc::from("large.policy"), large());
        let pieces = pieces::of(&text);
        assert!(pieces.len() > 3, "{pieces:?}");
        let whole = as_a_whole(&file, &text).unwrap();
        let read = by_pieces(&file, &text, &pieces).unwrap();
        assert_eq!(format!("{read:?}"), format!("{whole:?}"));
    }

    #[test]
    fn what_is_wrong_in_a_piece_is_said_of_the_whole() {
        let file = Arc::from("large.policy");
        for (wrong, by) in [
            ("} # after", "} } # after"),
            ("use mint", "use"),
            (
                "has \"y\"",
                "has \"y\" and scope has \"z\" or scope has \"w\"",
            ),
        ] {
            let text = large();
            let at = text.rfind(wrong).unwrap();
            let text = format!("{}{by}{}", &text[..at], &text[at + wrong.len()..]);
            let whole = as_a_whole(&file, &text).unwrap_err();
            let read = parse(&file, &text).unwrap_err();
            assert_eq!(format!("{read:?}"), format!("{whole:?}"));
        }
    }
}
