//! Tree → text: the one way to write a policy, with every comment where it was.
//!
//! Reading what is printed gives the same tree, and printing that gives the same text. Comments keep
//! their order and their place between the words: one on a line of its own stands above the same words,
//! one behind words stands behind them. The exception is a comment inside what the tree does not keep
//! (needless parentheses, the head of an item, `policy 1 module`): it moves to the nearest place in the
//! same item.

use std::ops::Range;

use super::ast::{
    ActorForm, At, Claim, Clause, Condition, Def, Expectation, Field, File, GivenValue, Import,
    IssuerRef, Item, ItemKind, ListDef, Literal, MatchKind, Matcher, Operand, Parameter, Proof,
    Rule, Spanned, Strings, Target, TargetsForm, Test, Text, Value,
};
use super::comments::Comment;
use super::layout::{Doc, render};
use super::word;
use crate::diagnostic::Span;

/// The text of a file. `source` is what it was read from, for the empty lines that its author left
/// between clauses and comments; one at most is kept.
#[must_use]
pub fn print(file: &File, source: Option<&str>) -> String {
    let mut printer = Printer {
        comments: &file.comments,
        source: source.unwrap_or_default(),
        out: Vec::new(),
        tail: None,
    };
    printer.file(file);
    let mut text = render(&printer.out, true);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// One item, as it is written here, without comments.
#[must_use]
pub fn item(item: &Item) -> String {
    let mut printer = Printer {
        comments: &[],
        source: "",
        out: Vec::new(),
        tail: None,
    };
    printer.item(item);
    render(&printer.out, true)
}

/// A condition on one line.
#[must_use]
pub fn condition(condition: &Condition) -> String {
    one_line(|printer| printer.condition(condition))
}

/// The values of a parameter on one line.
#[must_use]
pub fn values(values: &[Spanned<Value>], beyond: Option<&At>) -> String {
    one_line(|printer| printer.values(values, beyond))
}

/// A value of a test on one line.
#[must_use]
pub fn given(value: &Spanned<GivenValue>) -> String {
    one_line(|printer| printer.given_value(value))
}

/// A claim of a proof on one line.
#[must_use]
pub fn claim(claim: &Claim) -> String {
    one_line(|printer| printer.claim(claim))
}

/// A string with its quotes.
#[must_use]
pub fn string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A constant.
#[must_use]
pub fn literal(literal: &Literal) -> String {
    match literal {
        Literal::String(text) => string(text),
        Literal::Int(number) => number.to_string(),
        Literal::Bool(value) => value.to_string(),
        Literal::Duration(duration) => duration.to_string(),
        Literal::Instant(_, written) => written.to_string(),
    }
}

fn one_line(print: impl FnOnce(&mut Printer<'_>)) -> String {
    let mut printer = Printer {
        comments: &[],
        source: "",
        out: Vec::new(),
        tail: None,
    };
    print(&mut printer);
    render(&printer.out, false)
}

const LIST: (&str, Doc, &str) = ("[", Doc::Soft, "]");
const MAP: (&str, Doc, &str) = ("{", Doc::Line, "}");

struct Printer<'a> {
    /// Those that are not printed yet.
    comments: &'a [Comment],
    source: &'a str,
    out: Vec<Doc>,
    /// Where the last words of an item begin and where the item ends, if comments stand between them:
    /// they are printed before these words, so that they stay in the item.
    tail: Option<(usize, usize)>,
}

impl Printer<'_> {
    /// Prints the comments that stand before a place.
    fn comments_before(&mut self, place: usize) {
        let place = match self.tail {
            Some((from, end)) if place >= from => place.max(end),
            _ => place,
        };
        while let Some((comment, rest)) = self.comments.split_first() {
            if comment.span.start >= place {
                break;
            }
            self.comments = rest;
            if comment.own_line {
                self.blank_before(comment.span.start);
            }
            self.comment(comment);
        }
    }

    fn comment(&mut self, comment: &Comment) {
        self.out.push(Doc::Comment {
            text: comment.text.to_string(),
            own_line: comment.own_line,
        });
    }

    /// Whether a comment stands before a place.
    fn has_comment(&self, place: usize) -> bool {
        let first = self.comments.first();
        first.is_some_and(|comment| comment.span.start < place)
    }

    /// Keeps the empty line that stands before a place.
    fn blank_before(&mut self, place: usize) {
        if self.is_blank_before(place) {
            self.out.push(Doc::Blank);
        }
    }

    fn is_blank_before(&self, place: usize) -> bool {
        let before = self.source.get(..place).unwrap_or_default();
        let gap = before.get(before.trim_end().len()..).unwrap_or_default();
        gap.matches('\n').count() > 1
    }

    /// Words that stand at a place of the source.
    fn at(&mut self, place: usize, text: impl Into<String>) {
        self.comments_before(place);
        self.out.push(Doc::Text(text.into()));
    }

    /// Words that stick to what was printed before them.
    fn add(&mut self, text: impl Into<String>) {
        self.out.push(Doc::Text(text.into()));
    }

    fn text(&mut self, text: &Text) {
        self.at(text.span.start, &*text.value);
    }

    fn wrap(&mut self, how: impl FnOnce(Vec<Doc>) -> Doc, inside: impl FnOnce(&mut Self)) {
        let before = std::mem::take(&mut self.out);
        inside(self);
        let docs = std::mem::replace(&mut self.out, before);
        self.out.push(how(docs));
    }

    fn group(&mut self, inside: impl FnOnce(&mut Self)) {
        self.wrap(Doc::Group, inside);
    }

    fn indent(&mut self, by: usize, inside: impl FnOnce(&mut Self)) {
        self.wrap(|docs| Doc::Indent(by, docs), inside);
    }

    /// A place to break before something: a comment behind what was printed stays there, the others
    /// stand above what comes.
    fn break_before(&mut self, gap: Doc, place: usize) {
        if let Some((comment, rest)) = self.comments.split_first()
            && !comment.own_line
            && comment.span.start < place
        {
            self.comments = rest;
            self.comment(comment);
        }
        self.out.push(gap);
        self.comments_before(place);
    }

    /// `a, b`, a line each where they do not fit.
    fn row<T>(&mut self, items: &[T], place: fn(&T) -> usize, mut item: impl FnMut(&mut Self, &T)) {
        for (index, each) in items.iter().enumerate() {
            if index > 0 {
                self.add(",");
                self.break_before(Doc::Line, place(each));
            }
            item(self, each);
        }
    }

    /// A row whose lines begin in the column of the values.
    fn aligned<T>(
        &mut self,
        column: usize,
        items: &[T],
        place: fn(&T) -> usize,
        item: impl FnMut(&mut Self, &T),
    ) {
        let by = if items.len() > 1 { column } else { 0 };
        self.group(|it| it.indent(by, |it| it.row(items, place, item)));
    }

    /// `[a, b]`, a line each where they do not fit; `end` is the place of the last sign.
    fn block<T>(
        &mut self,
        (open, gap, close): (&str, Doc, &str),
        end: usize,
        items: &[T],
        place: fn(&T) -> usize,
        item: impl FnMut(&mut Self, &T),
    ) {
        self.group(|it| {
            it.add(open);
            let mut empty = true;
            it.indent(2, |it| {
                if let Some(first) = items.first() {
                    it.break_before(gap.clone(), place(first));
                    it.row(items, place, item);
                    it.out.push(Doc::IfBroken(","));
                    empty = false;
                }
                if it.has_comment(end) {
                    it.break_before(Doc::Soft, end);
                    empty = false;
                }
            });
            if !empty {
                it.out.push(gap);
            }
            it.add(close);
        });
    }

    fn literals(&mut self, items: &[Spanned<Literal>], end: usize) {
        self.block(LIST, end, items, place_of, |it, member| {
            it.at(member.span.start, literal(&member.value));
        });
    }

    /// What stands between braces, always a line each.
    fn lines<T>(
        &mut self,
        end: usize,
        items: &[T],
        place: impl Fn(&T) -> usize,
        mut item: impl FnMut(&mut Self, &T),
    ) {
        let mut empty = true;
        self.indent(2, |it| {
            for each in items {
                it.break_before(Doc::Hard, place(each));
                it.blank_before(place(each));
                item(it, each);
                empty = false;
            }
            if it.has_comment(end) {
                it.break_before(Doc::Hard, end);
                empty = false;
            }
        });
        if !empty {
            self.out.push(Doc::Hard);
        }
        self.add("}");
    }

    // ── a file ──────────────────────────────────────────────────────────────────────────────────

    fn file(&mut self, file: &File) {
        self.comments_before(file.module.span.start);
        self.blank_before(next_word(self.source, 0));
        self.add(format!("policy 1 module {}", file.module.value));
        for (index, import) in file.imports.iter().enumerate() {
            self.separate(import.span.start, index == 0, false);
            self.import(import);
        }
        for (index, item) in file.items.iter().enumerate() {
            let lines = item.doc().map_or(0, |doc| doc.split('\n').count());
            let start = lines_above(self.source, item.span().start, lines);
            let before = index.checked_sub(1).and_then(|last| file.items.get(last));
            let table = before.is_some_and(is_short) && is_short(item) && lines == 0;
            self.separate(start, !table || self.source.is_empty(), true);
            self.item(item);
        }
        self.break_before(Doc::Hard, usize::MAX);
        self.out.push(Doc::Hard);
    }

    /// The line end before an import or an item, and the comments above it.
    fn separate(&mut self, start: usize, demand_blank: bool, is_item: bool) {
        let mut blank = self.is_blank_before(start);
        let above = |comment: &&Comment| comment.span.start < start;
        let above: Vec<&Comment> = self.comments.iter().take_while(above).collect();
        let own: Vec<&Comment> = above.into_iter().filter(|c| c.own_line).collect();
        // Directly above an item, it would become the item's documentation.
        let is_doc = |comment: &&Comment| comment.text.starts_with("##");
        blank |= is_item && own.last().is_some_and(is_doc);
        let mut missing = demand_blank && !blank;
        missing &= !own
            .iter()
            .any(|comment| self.is_blank_before(comment.span.start));
        let gap = if missing && !own.is_empty() {
            vec![Doc::Hard, Doc::Blank]
        } else {
            vec![Doc::Hard]
        };
        self.break_before(Doc::Indent(0, gap), start);
        if blank || missing {
            self.out.push(Doc::Blank);
        }
    }

    fn import(&mut self, import: &Import) {
        self.group(|it| {
            it.add("import ");
            it.indent(2, |it| {
                it.row(&import.names, place_of, Self::text);
                it.break_before(Doc::Line, import.module.span.start);
                it.add(format!("from {}", import.module.value));
            });
        });
    }

    fn item(&mut self, item: &Item) {
        for line in item.doc().iter().flat_map(|doc| doc.split('\n')) {
            let tight = line.is_empty() || line.starts_with('#');
            let gap = if tight { "" } else { " " };
            self.out.push(Doc::Comment {
                text: format!("##{gap}{line}"),
                own_line: true,
            });
        }
        match item {
            Item::List(list) => self.list(list),
            Item::Def(def) => self.def(def),
            Item::Rule(rule) => self.rule(rule),
            Item::Test(test) => self.test(test),
            Item::Proof(proof) => self.proof(proof),
        }
    }

    fn list(&mut self, list: &ListDef) {
        self.add(format!("list {} : {} = ", list.name.value, list.ty.value));
        self.literals(&list.members, last_sign(&list.span));
    }

    fn def(&mut self, def: &Def) {
        let (last, last_end) = last_leaf(&def.condition);
        let inside = |comment: &&Comment| comment.span.start < def.span.end;
        let mut inside = self.comments.iter().take_while(inside);
        if inside.any(|comment| comment.span.start >= last_end) {
            self.tail = Some((last, def.span.end));
        }
        self.add(format!("def {} = ", def.name.value));
        self.terms(&def.condition, 0);
        self.tail = None;
    }

    // ── rules ───────────────────────────────────────────────────────────────────────────────────

    fn rule(&mut self, rule: &Rule) {
        let word = match rule.kind {
            ItemKind::Rule => "rule",
            ItemKind::Deny => "deny",
        };
        self.add(format!("{word} {} {{", rule.name.value));
        // `overrides` is long and comes last; it would push all the others to the right.
        let words = rule.clauses.iter().map(|clause| clause.value.word());
        let words = words.filter(|word| *word != "overrides").map(str::len);
        let column = words.max().unwrap_or(0).max("issue".len()) + 1;
        let end = last_sign(&rule.span);
        self.lines(end, &rule.clauses, place_of, |it, clause| {
            let word = clause.value.word();
            let column = column.max(word.len() + 1);
            it.add(format!("{word:column$}"));
            it.clause(&clause.value, column, last_sign(&clause.span));
        });
    }

    fn clause(&mut self, clause: &Clause, column: usize, end: usize) {
        match clause {
            Clause::From(None) => self.add("any issuer"),
            Clause::From(Some(issuers)) => {
                let place = |issuer: &IssuerRef| issuer.alias.span.start;
                self.aligned(column, issuers, place, |it, issuer| {
                    it.text(&issuer.alias);
                    if let Some(ty) = &issuer.token_type {
                        it.add(" as ");
                        it.at(ty.span.start, name_or_string(ty));
                    }
                });
            }
            Clause::By(None) => self.add("any client"),
            Clause::By(Some(clients)) => {
                self.add("client ");
                self.matcher(clients, end);
            }
            Clause::To(forms) => self.to(forms, column),
            Clause::Actor {
                form,
                may_act_ignored,
            } => {
                match form {
                    ActorForm::None => self.add("none"),
                    ActorForm::Client => self.add("client"),
                    ActorForm::Token(word, issuers) => {
                        self.at(word.span.start, format!("{} from ", word.value));
                        self.aligned(column, issuers, place_of, Self::text);
                    }
                }
                if let Some(at) = may_act_ignored {
                    self.add(", ");
                    self.at(at.start, "may_act ignored");
                }
            }
            Clause::Via(name) | Clause::Error(name) => self.text(name),
            Clause::Issue(ty) => self.at(ty.span.start, name_or_string(ty)),
            Clause::When(condition) => self.terms(condition, column),
            Clause::Use {
                processor,
                parameters,
            } => {
                self.text(processor);
                if !parameters.is_empty() {
                    self.add(" ");
                    self.parameters(parameters, end);
                }
            }
            Clause::Overrides(names) => self.aligned(column, names, place_of, Self::text),
            Clause::Because(text) | Clause::Tell(text) => {
                self.at(text.span.start, string(&text.value));
            }
        }
    }

    fn to(&mut self, forms: &[TargetsForm], column: usize) {
        self.group(|it| {
            for (index, form) in forms.iter().enumerate() {
                let parts = match form {
                    TargetsForm::Parts(parts) => parts.as_slice(),
                    TargetsForm::Any | TargetsForm::None => &[],
                };
                if index > 0 {
                    let place = parts.first().map_or(0, |part| part.span.start);
                    it.indent(column - "or ".len(), |it| {
                        it.break_before(Doc::Line, place);
                        it.add("or ");
                    });
                }
                match form {
                    TargetsForm::Any => it.add("any target"),
                    TargetsForm::None => it.add("no target"),
                    TargetsForm::Parts(parts) => {
                        let place = |part: &Target| part.span.start;
                        it.aligned(column, parts, place, |it, part| {
                            let kind = if part.resource {
                                "resource "
                            } else {
                                "audience "
                            };
                            it.at(part.span.start, kind);
                            it.matcher(&part.matcher, last_sign(&part.span));
                        });
                    }
                }
            }
        });
    }

    fn matcher(&mut self, matcher: &Matcher, end: usize) {
        match matcher.kind {
            MatchKind::Equal => {}
            MatchKind::Under => self.add("under "),
            MatchKind::Like => self.add("like "),
        }
        let one = |it: &mut Self, text: &Text| it.at(text.span.start, string(&text.value));
        match &matcher.strings {
            Strings::List(name) => self.text(name),
            Strings::Written(texts) => match texts.as_slice() {
                [text] => one(self, text),
                texts => self.block(LIST, end, texts, place_of, one),
            },
        }
    }

    fn parameters(&mut self, parameters: &[Parameter], end: usize) {
        let place = |parameter: &Parameter| parameter.name.span.start;
        self.block(MAP, end, parameters, place, |it, parameter| {
            let name = name_or_string(&parameter.name);
            it.at(parameter.name.span.start, format!("{name}: "));
            it.values(&parameter.values, parameter.beyond.as_ref());
        });
    }

    fn values(&mut self, values: &[Spanned<Value>], beyond: Option<&At>) {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.add(" & ");
            }
            self.value(value);
        }
        if let Some(at) = beyond {
            self.add(" ");
            self.at(at.start, "beyond subject");
        }
    }

    fn value(&mut self, value: &Spanned<Value>) {
        self.comments_before(value.span.start);
        let end = last_sign(&value.span);
        match &value.value {
            Value::AtMost(duration) => self.add(format!("at_most {duration}")),
            Value::List(members) => self.literals(members, end),
            Value::ListName(name) => self.add(&**name),
            Value::Literal(constant) => self.add(literal(constant)),
            Value::Path(path) => self.add(&**path),
            Value::Map(parameters) => self.parameters(parameters, end),
        }
    }

    // ── conditions ──────────────────────────────────────────────────────────────────────────────

    /// A condition whose terms, where they do not fit, stand below each other with their connectives in
    /// front: `and` and `or` end where the column of the values begins.
    fn terms(&mut self, condition: &Condition, column: usize) {
        let connective = match condition {
            Condition::And(_) => "and ",
            Condition::Or(_) => "or ",
            one => return self.condition(one),
        };
        let by = column.saturating_sub(connective.len()).max(2);
        self.group(|it| it.indent(by, |it| it.condition(condition)));
    }

    fn connected(&mut self, terms: &[Condition], connective: &str) {
        for (index, term) in terms.iter().enumerate() {
            if index > 0 {
                self.break_before(Doc::Line, start(term));
                self.add(connective);
            }
            match term {
                Condition::And(_) | Condition::Or(_) => self.parentheses(term),
                _ => self.condition(term),
            }
        }
    }

    fn parentheses(&mut self, condition: &Condition) {
        self.comments_before(start(condition));
        self.group(|it| {
            it.add("(");
            it.indent(2, |it| {
                it.out.push(Doc::Soft);
                it.condition(condition);
            });
            it.out.push(Doc::Soft);
            it.add(")");
        });
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::And(terms) => self.connected(terms, "and "),
            Condition::Or(terms) => self.connected(terms, "or "),
            Condition::Not(inner) => {
                self.at(start(inner), "not ");
                match &**inner {
                    Condition::And(_) | Condition::Or(_) | Condition::Not(_) => {
                        self.parentheses(inner);
                    }
                    leaf if begins_with_operator(leaf) => self.parentheses(leaf),
                    leaf => self.condition(leaf),
                }
            }
            Condition::Presence {
                present,
                path,
                span,
            } => {
                let word = if *present { "present " } else { "absent " };
                self.at(span.start, word);
                self.text(path);
            }
            Condition::Comparison {
                left,
                operator,
                right,
                span,
            } => {
                self.comments_before(span.start);
                self.operand(left);
                self.add(" ");
                self.at(operator.span.start, operator.value.text());
                self.add(" ");
                self.operand(right);
            }
            Condition::Empty { path, span } => {
                self.comments_before(span.start);
                self.text(path);
                self.add(" is empty");
            }
            Condition::Count {
                path,
                operator,
                number,
                span,
            } => {
                self.at(span.start, "count(");
                self.text(path);
                self.add(") ");
                self.at(operator.span.start, operator.value.text());
                self.add(" ");
                self.at(number.span.start, number.value.to_string());
            }
            Condition::Quantified {
                quantifier,
                path,
                operator,
                right,
                span,
            } => {
                self.at(span.start, quantifier.text());
                self.add(" ");
                self.text(path);
                self.add(" ");
                self.at(operator.span.start, operator.value.text());
                self.add(" ");
                self.operand(right);
            }
            Condition::Where {
                quantifier,
                path,
                condition,
                span,
            } => {
                self.at(span.start, quantifier.text());
                self.add(" ");
                self.text(path);
                self.add(" where ");
                self.parentheses(condition);
            }
            Condition::Time {
                zone,
                days,
                hours,
                span,
            } => {
                self.at(span.start, "time in ");
                self.at(zone.span.start, string(&zone.value));
                for (index, range) in days.iter().enumerate() {
                    self.add(if index > 0 { ", " } else { " " });
                    let (first, last) = range.value;
                    self.at(range.span.start, first.text());
                    if first != last {
                        self.add(format!("..{}", last.text()));
                    }
                }
                if let Some(hours) = hours {
                    let (from, to) = hours.value;
                    self.add(" ");
                    self.at(hours.span.start, format!("{}..{}", clock(from), clock(to)));
                }
            }
            Condition::Reference(name) => self.text(name),
        }
    }

    fn operand(&mut self, operand: &Operand) {
        self.comments_before(operand.span().start);
        match operand {
            Operand::List(members, span) => self.literals(members, last_sign(span)),
            Operand::ListName(name) => self.text(name),
            Operand::Literal(constant) => self.add(literal(&constant.value)),
            Operand::Path(path, default) => {
                self.text(path);
                if let Some(default) = default {
                    self.add(" ?? ");
                    self.at(default.span.start, literal(&default.value));
                }
            }
        }
    }

    // ── tests ───────────────────────────────────────────────────────────────────────────────────

    fn test(&mut self, test: &Test) {
        self.add(format!("test {} {{", string(&test.name.value)));
        let expect = Part::Expect(&test.expect);
        // What stands first in the file is printed first, so that comments keep their order. The place
        // of the word `given` is not in the tree.
        let parts = match test.given.first() {
            None => vec![expect],
            Some(first) if test.expect.span.start < first.name.span.start => {
                let place = next_word(self.source, test.expect.span.end);
                vec![expect, Part::Given(&test.given, place)]
            }
            Some(_) => {
                let brace = next_word(self.source, test.name.span.end);
                let place = next_word(self.source, brace + 1);
                vec![Part::Given(&test.given, place), expect]
            }
        };
        self.lines(
            last_sign(&test.span),
            &parts,
            Part::place,
            |it, part| match part {
                Part::Given(settings, _) => it.settings(settings),
                Part::Expect(expect) => it.expectation(expect),
            },
        );
    }

    fn settings(&mut self, settings: &[Field]) {
        self.add("given {");
        let lengths = settings.iter().map(|field| field.name.value.len());
        let column = lengths.max().unwrap_or(0);
        // The place of the brace is not in the tree.
        let last = settings.last().map_or(0, |field| field.value.span.end);
        let end = next_word(self.source, last);
        let place = |setting: &Field| setting.name.span.start;
        self.lines(end, settings, place, |it, setting| {
            it.add(format!("{:column$} = ", setting.name.value));
            it.given_value(&setting.value);
        });
    }

    fn given_value(&mut self, value: &Spanned<GivenValue>) {
        self.comments_before(value.span.start);
        let end = last_sign(&value.span);
        match &value.value {
            GivenValue::Literal(constant) => self.add(literal(constant)),
            GivenValue::List(members) => self.literals(members, end),
            GivenValue::Word(word) => self.add(&**word),
            GivenValue::Party(issuer, fields) => {
                self.text(issuer);
                self.add(" ");
                self.fields(fields, end);
            }
            GivenValue::Fields(fields) => self.fields(fields, end),
        }
    }

    fn fields(&mut self, fields: &[Field], end: usize) {
        let place = |field: &Field| field.name.span.start;
        self.block(MAP, end, fields, place, |it, field| {
            let name = name_or_string(&field.name);
            it.at(field.name.span.start, format!("{name}: "));
            it.given_value(&field.value);
        });
    }

    fn expectation(&mut self, expect: &Spanned<Expectation>) {
        match &expect.value {
            Expectation::Use {
                processor,
                by,
                fields,
            } => {
                self.add("expect use ");
                self.text(processor);
                self.by(by.as_ref());
                if !fields.is_empty() {
                    self.add(" ");
                    self.fields(fields, last_sign(&expect.span));
                }
            }
            Expectation::Refuse { code, by } => {
                self.add("expect refuse");
                if let Some(code) = code {
                    self.add(" ");
                    self.text(code);
                }
                self.by(by.as_ref());
            }
        }
    }

    // ── proofs ──────────────────────────────────────────────────────────────────────────────────

    fn proof(&mut self, proof: &Proof) {
        self.add(format!("prove {} {{", string(&proof.name.value)));
        let end = last_sign(&proof.span);
        self.lines(end, &proof.claims, place_of, |it, claim| {
            it.claim(&claim.value);
        });
    }

    fn claim(&mut self, claim: &Claim) {
        match claim {
            Claim::NeverUse { processor, when } => {
                self.uses("never use", processor.as_ref(), when.as_ref());
            }
            Claim::AlwaysUse { processor, when } => {
                self.uses("always use", processor.as_ref(), Some(when));
            }
            Claim::NeverIssue {
                what,
                operator,
                right,
                when,
            } => self.group(|it| {
                it.add("never issue ");
                it.at(what.span.start, what.value.text());
                it.add(" ");
                it.at(operator.span.start, operator.value.text());
                it.add(" ");
                it.operand(right);
                it.claim_when(when.as_ref());
            }),
            Claim::Disjoint(rules) => self.rules("disjoint ", rules),
            Claim::Reachable(Some(rules)) => self.rules("reachable ", rules),
            Claim::Reachable(None) => self.add("reachable all"),
        }
    }

    fn uses(&mut self, words: &str, processor: Option<&Text>, when: Option<&Condition>) {
        self.group(|it| {
            it.add(words);
            if let Some(processor) = processor {
                it.add(" ");
                it.text(processor);
            }
            it.claim_when(when);
        });
    }

    /// Stands behind the claim where that fits, else below it.
    fn claim_when(&mut self, when: Option<&Condition>) {
        let Some(when) = when else { return };
        self.indent(2, |it| {
            it.break_before(Doc::Line, start(when));
            it.add("when ");
            it.terms(when, "when ".len());
        });
    }

    fn rules(&mut self, words: &str, rules: &[Text]) {
        self.add(words);
        self.aligned(words.len(), rules, place_of, Self::text);
    }

    fn by(&mut self, rule: Option<&Text>) {
        if let Some(rule) = rule {
            self.add(" ");
            self.at(rule.span.start, format!("by {}", rule.value));
        }
    }
}

/// What stands in a test.
enum Part<'a> {
    /// The settings, and the place of their first word.
    Given(&'a [Field], usize),
    Expect(&'a Spanned<Expectation>),
}

impl Part<'_> {
    fn place(&self) -> usize {
        match self {
            Self::Given(_, place) => *place,
            Self::Expect(expect) => expect.span.start,
        }
    }
}

/// A name where a name may stand, a string elsewhere.
fn name_or_string(text: &Text) -> String {
    if word::is_name(&text.value) {
        text.value.to_string()
    } else {
        string(&text.value)
    }
}

fn place_of<T>(spanned: &Spanned<T>) -> usize {
    spanned.span.start
}

fn last_sign(span: &Span) -> usize {
    span.end.saturating_sub(1)
}

/// Whether an item usually has one line; such items may stand together like the rows of a table.
fn is_short(item: &Item) -> bool {
    matches!(item, Item::List(_) | Item::Def(_))
}

/// Where a condition's first test begins; connectives, `not` and parentheses have no place of their own.
fn start(condition: &Condition) -> usize {
    match condition {
        Condition::And(terms) | Condition::Or(terms) => terms.first().map_or(0, start),
        Condition::Not(inner) => start(inner),
        leaf => leaf_range(leaf).start,
    }
}

/// Where a condition's last test begins and ends.
fn last_leaf(condition: &Condition) -> (usize, usize) {
    match condition {
        Condition::And(terms) | Condition::Or(terms) => terms.last().map_or((0, 0), last_leaf),
        Condition::Not(inner) => last_leaf(inner),
        leaf => (leaf_range(leaf).start, leaf_range(leaf).end),
    }
}

fn leaf_range(condition: &Condition) -> Range<usize> {
    match condition {
        Condition::Presence { span, .. }
        | Condition::Comparison { span, .. }
        | Condition::Empty { span, .. }
        | Condition::Count { span, .. }
        | Condition::Quantified { span, .. }
        | Condition::Where { span, .. }
        | Condition::Time { span, .. } => span.start..span.end,
        Condition::Reference(name) => name.span.start..name.span.end,
        Condition::And(_) | Condition::Or(_) | Condition::Not(_) => 0..0,
    }
}

/// Whether `not` in front of it would be read as `not in` or `not like`.
fn begins_with_operator(leaf: &Condition) -> bool {
    let first = match leaf {
        Condition::Comparison {
            left: Operand::Path(path, _),
            ..
        }
        | Condition::Empty { path, .. }
        | Condition::Reference(path) => path,
        _ => return false,
    };
    let first = first.value.split('.').next();
    matches!(first, Some("in" | "like"))
}

/// `08:00`, of minutes after midnight.
fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Where the line begins that stands so many lines above a place.
fn lines_above(source: &str, place: usize, lines: usize) -> usize {
    let before = source.get(..place).unwrap_or_default();
    if lines == 0 || before.is_empty() {
        return place;
    }
    let mut ends = before.rmatch_indices('\n');
    ends.nth(lines).map_or(0, |(at, _)| at + 1)
}

/// Where the next word or sign stands.
fn next_word(source: &str, from: usize) -> usize {
    let mut at = from;
    loop {
        let rest = source.get(at..).unwrap_or_default();
        at += rest.len() - rest.trim_start().len();
        match source.get(at..) {
            Some(comment) if comment.starts_with('#') => {
                at += comment.find('\n').unwrap_or(comment.len());
            }
            _ => return at,
        }
    }
}
