//! Tests that stand in policies: `test "…" { given { … } expect … }`.
//!
//! [`prepare`] makes a request of each, [`Trial::run`] holds it against the policies with the evaluator
//! that decides for real. What a test does not mention gets a placeholder that a real request could
//! have, and the time is fixed, so that a test says the same tomorrow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::check::{DENY_ERRORS, no_rule, referenced};
use super::decide::{Decision, Denial, Permit, PolicySet, Reason};
use super::facts::{self, Assembler};
use super::schema::{ATTRIBUTES, CLIENT_ATTRIBUTES, ClientSchema, ParameterKind, Schema, Type};
use super::syntax::ast::{self, Expectation, Field, GivenValue, Literal, Spanned, Text};
use crate::context::{ExchangeContext, Hop};
use crate::diagnostic::{Diagnostic, Diagnostics, SourceText, Span};
use crate::oauth::NumericDate;
use crate::oauth::error::ErrorCode;
use crate::oauth::id::RuleId;
use crate::oauth::token_type::TokenType;

/// When tests happen that do not say `now`: Monday 2026-01-05, 12:00 UTC.
pub const NOW: NumericDate = NumericDate(1_767_614_400);

/// What a test may expect of what is issued, besides a processor's own parameters.
const EXPECTED: [&str; 7] = [
    "audience",
    "scope",
    "lifetime",
    "sub",
    "token_type",
    "act",
    "may_act",
];

/// A test, ready to run.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Its module.
    pub module: Arc<str>,
    /// What it shows.
    pub name: Arc<str>,
    /// Where its name stands.
    pub span: Span,
    /// Its `##` lines.
    pub doc: Option<Arc<str>>,
    context: ExchangeContext,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    Use {
        processor: Arc<str>,
        by: Option<RuleId>,
        fields: BTreeMap<Arc<str>, Json>,
    },
    Refuse {
        code: Option<ErrorCode>,
        by: Option<RuleId>,
    },
}

/// Makes every test of the files ready.
///
/// # Errors
/// What a test gives that no request can have (E0702), and what it expects that cannot be (E0703).
pub fn prepare(files: &[ast::File], schema: &Schema) -> Result<Vec<Trial>, Diagnostics> {
    let rules: BTreeMap<RuleId, ast::ItemKind> = files
        .iter()
        .flat_map(|file| {
            let id = |rule: &ast::Rule| (referenced(&file.module, &rule.name.value), rule.kind);
            file.rules().map(id)
        })
        .collect();
    let mut preparing = Preparing::new(schema, rules);
    let trials: Vec<Trial> = files
        .iter()
        .flat_map(|file| file.tests().map(move |test| (&file.module, test)))
        .filter_map(|(module, test)| preparing.trial(module, test))
        .collect();
    if preparing.problems.has_errors() {
        return Err(preparing.problems);
    }
    Ok(trials)
}

/// The request that a test makes.
///
/// # Errors
/// What it gives that no request can have.
pub(super) fn request(test: &ast::Test, schema: &Schema) -> Result<ExchangeContext, Diagnostics> {
    let mut preparing = Preparing::new(schema, BTreeMap::new());
    match preparing.context(test) {
        Some(context) if !preparing.problems.has_errors() => Ok(context),
        _ => Err(preparing.problems),
    }
}

struct Preparing<'a> {
    schema: &'a Schema,
    assembler: Assembler<'a>,
    /// The paths that a request may have.
    paths: BTreeSet<String>,
    rules: BTreeMap<RuleId, ast::ItemKind>,
    problems: Diagnostics,
}

impl<'a> Preparing<'a> {
    fn new(schema: &'a Schema, rules: BTreeMap<RuleId, ast::ItemKind>) -> Self {
        Self {
            schema,
            assembler: Assembler::new(schema),
            // When it ends is given as `expires_in`.
            paths: facts::known_paths(schema)
                .into_iter()
                .filter(|path| facts::PARTIES.iter().all(|party| path != party.exp))
                .collect(),
            rules,
            problems: Diagnostics::default(),
        }
    }
}

impl Preparing<'_> {
    fn wrong(&mut self, code: &'static str, span: &Span, message: String) {
        self.problems
            .push(Diagnostic::error(code, message).at(span));
    }

    fn trial(&mut self, module: &Text, test: &ast::Test) -> Option<Trial> {
        if test.name.value.trim().is_empty() {
            self.wrong("E0702", &test.name.span, "a test needs a name".to_owned());
        }
        if test.given.is_empty() {
            let message = "this test gives nothing: it would say nothing about any rule".to_owned();
            self.wrong("E0702", &test.name.span, message);
        }
        let context = self.context(test);
        let expected = self.expected(module, &test.expect.value);
        Some(Trial {
            module: Arc::clone(&module.value),
            name: Arc::clone(&test.name.value),
            span: test.name.span.clone(),
            doc: test.doc.clone(),
            context: context?,
            expected: expected?,
        })
    }

    fn context(&mut self, test: &ast::Test) -> Option<ExchangeContext> {
        let before = self.problems.counts().0;
        let mut given = Given {
            facts: Map::new(),
            places: BTreeMap::new(),
        };
        for field in &test.given {
            match (&*field.name.value, &field.value.value) {
                (name @ ("subject" | "actor"), value) => {
                    let GivenValue::Party(issuer, fields) = value else {
                        let message = format!("`{name}` is given as `ISSUER {{ sub: \"…\" }}`");
                        self.wrong("E0702", &field.value.span, message);
                        continue;
                    };
                    let actor = name == facts::ACTOR.name;
                    let party = if actor { facts::ACTOR } else { facts::SUBJECT };
                    let alias = Json::from(&*issuer.value);
                    self.set(&mut given, &party.path("issuer"), alias, &issuer.span);
                    for field in fields {
                        let path = self.of_party(party, &field.name.value);
                        self.field(&mut given, &path, field);
                    }
                }
                // What is asked for is what was sent.
                ("scope", _) => self.field(&mut given, "request.scope", field),
                (path, _) => self.field(&mut given, path, field),
            }
        }
        facts::placeholders(&mut given.facts, self.schema);
        self.possible(&given, test);
        let sound = self.problems.counts().0 == before;
        let problems = match self.assembler.assemble(&given.facts, NOW) {
            Ok(context) => return Some(context).filter(|_| sound),
            Err(problems) => problems,
        };
        for problem in problems {
            let at = given
                .places
                .iter()
                .find(|(path, _)| problem.contains(&format!("`{path}`")));
            let span = at.map_or(&test.name.span, |(_, span)| span).clone();
            self.wrong("E0702", &span, problem);
        }
        None
    }

    /// The path of what stands in the braces of a party: an attribute's, else a claim's.
    fn of_party(&self, party: facts::Stated, name: &str) -> String {
        let path = party.path(name);
        match self.paths.contains(&path) {
            true => path,
            false => format!("{}{name}", party.claims),
        }
    }

    fn field(&mut self, given: &mut Given, path: &str, field: &Field) {
        if !self.paths.contains(path) {
            let message = format!("unknown attribute `{path}`");
            let problem = Diagnostic::error("E0702", message).at(&field.name.span);
            let known = self.paths.iter().filter(|path| self.declares(given, path));
            self.problems
                .push(problem.suggest(path, known.map(String::as_str)));
            return;
        }
        if let Some(wanted) = self.unit(path, &field.value.value) {
            let message = format!("`{path}` takes {wanted}");
            self.wrong("E0702", &field.value.span, message);
            return;
        }
        if let ("client.id", GivenValue::Literal(Literal::String(text)) | GivenValue::Word(text)) =
            (path, &field.value.value)
        {
            let clients = || self.schema.clients.iter().flat_map(|c| &c.names);
            if clients().all(|name| name != text) {
                let message = format!("no client is called `{text}`");
                let problem = Diagnostic::error("E0702", message).at(&field.value.span);
                let known = clients().map(|name| &**name);
                self.problems.push(problem.suggest(text, known));
                return;
            }
        }
        match json(&field.value) {
            Some(value) => self.set(given, path, value, &field.value.span),
            None => {
                let message = format!("`{path}` takes a constant or a list of constants");
                self.wrong("E0702", &field.value.span, message);
            }
        }
    }

    /// Whether the party's token may have what a path names, as far as it is known whose it is.
    fn declares(&self, given: &Given, path: &str) -> bool {
        facts::PARTIES.iter().all(|party| {
            let Some(name) = path.strip_prefix(party.claims) else {
                return true;
            };
            let said = given.facts.contains_key(&party.path("issuer"));
            let issuer = party.issuer(&given.facts, self.schema);
            !said || issuer.is_some_and(|issuer| issuer.claims.contains_key(name))
        })
    }

    /// What a path takes, where a constant is of another unit: seconds would mean another thing there.
    fn unit(&self, path: &str, value: &GivenValue) -> Option<&'static str> {
        let attribute = ATTRIBUTES.iter().find(|attribute| attribute.path == path);
        let ty = attribute.map(|attribute| attribute.ty);
        let GivenValue::Literal(literal) = value else {
            return None;
        };
        match (ty, literal) {
            (Some(Type::Instant), Literal::Instant(..)) => None,
            (Some(Type::Duration), Literal::Duration(_)) => None,
            (Some(Type::Instant), _) => Some("an instant: `2026-12-01T08:00:00Z`"),
            (Some(Type::Duration), _) => Some("a duration: `5m`"),
            (Some(_), Literal::Instant(..) | Literal::Duration(_)) => Some("no time"),
            _ => None,
        }
    }

    fn set(&mut self, given: &mut Given, path: &str, value: Json, span: &Span) {
        if let Some(first) = given.places.insert(path.to_owned(), span.clone()) {
            let problem = Diagnostic::error("E0702", format!("`{path}` is given twice")).at(span);
            self.problems
                .push(problem.related(&first, "first given here"));
        }
        given.facts.insert(path.to_owned(), value);
    }

    /// What the realm would never let as far as the policy.
    fn possible(&mut self, given: &Given, test: &ast::Test) {
        let text = |path: &str| given.facts.get(path).and_then(Json::as_str);
        let place = |path: &str| given.places.get(path).unwrap_or(&test.name.span).clone();
        let mut found = Vec::new();
        for party in facts::PARTIES {
            let Some(issuer) = party.issuer(&given.facts, self.schema) else {
                continue;
            };
            let path = party.path("token_type");
            if let Some(name) = text(&path)
                && let Ok(token_type) = TokenType::from_name(name)
                && !issuer.token_types.contains(&token_type)
            {
                found.push((
                    place(&path),
                    format!("`{}` gives no `{name}`", issuer.alias),
                ));
            }
            let path = party.path("expires_in");
            if given
                .facts
                .get(&path)
                .and_then(Json::as_i64)
                .is_some_and(|left| left < 1)
            {
                let message = "a token that has ended gets no answer".to_owned();
                found.push((place(&path), message));
            }
        }
        if let (Some(name), Some(method)) = (text("client.id"), text("client.auth")) {
            let mut clients = self.schema.clients.iter();
            let client = clients.find(|client| client.names.contains(name));
            let other =
                |client: &&ClientSchema| !client.auth.is_empty() && !client.auth.contains(&method);
            if let Some(client) = client.filter(other) {
                let message = format!("`{}` cannot authenticate by `{method}`", client.id);
                found.push((place("client.auth"), message));
            }
        }
        for path in given.facts.keys() {
            if path == "client.names" || path.starts_with(CLIENT_ATTRIBUTES) {
                let message = format!("`{path}` follows from the client: give `client.id`");
                found.push((place(path), message));
            }
        }
        for (span, message) in found {
            self.wrong("E0702", &span, message);
        }
    }

    fn expected(&mut self, module: &Text, expectation: &Expectation) -> Option<Expected> {
        match expectation {
            Expectation::Refuse { code, by } => {
                // What a request without a rule gets is among what a deny can answer.
                let known = || DENY_ERRORS.into_iter().chain([ErrorCode::ServerError]);
                let found = code.as_ref().map(|text| {
                    let code = known().find(|code| code.as_str() == &*text.value);
                    if code.is_none() {
                        let message = format!("no refusal has the code `{}`", text.value);
                        let problem = Diagnostic::error("E0703", message).at(&text.span);
                        let known = known().map(ErrorCode::as_str);
                        self.problems.push(problem.suggest(&text.value, known));
                    }
                    code
                });
                let by = by.as_ref().map(|name| self.rule(module, name, None));
                Some(Expected::Refuse {
                    code: found.map_or(Some(None), |code| code.map(Some))?,
                    by: by.map_or(Some(None), |by| by.map(Some))?,
                })
            }
            Expectation::Use {
                processor,
                by,
                fields,
            } => {
                if !self.schema.processors.contains_key(&processor.value) {
                    let message = format!("no processor is called `{}`", processor.value);
                    let problem = Diagnostic::error("E0703", message).at(&processor.span);
                    let known = self.schema.processors.keys().map(|known| &**known);
                    self.problems.push(problem.suggest(&processor.value, known));
                }
                let by = by
                    .as_ref()
                    .map(|name| self.rule(module, name, Some(ast::ItemKind::Rule)));
                self.once(fields);
                let fields: Vec<_> = fields
                    .iter()
                    .map(|field| self.expected_field(&processor.value, field))
                    .collect();
                Some(Expected::Use {
                    processor: Arc::clone(&processor.value),
                    by: by.map_or(Some(None), |by| by.map(Some))?,
                    fields: fields.into_iter().collect::<Option<_>>()?,
                })
            }
        }
    }

    /// No name may be given twice, at any depth: the last would win without a word.
    fn once(&mut self, fields: &[Field]) {
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        for field in fields {
            let name = &field.name;
            if let Some(first) = seen.insert(&name.value, &name.span) {
                let message = format!("`{}` is given twice", name.value);
                let problem = Diagnostic::error("E0121", message).at(&name.span);
                self.problems
                    .push(problem.related(first, "first given here"));
            }
            if let GivenValue::Fields(inner) = &field.value.value {
                self.once(inner);
            }
        }
    }

    fn expected_field(&mut self, processor: &str, field: &Field) -> Option<(Arc<str>, Json)> {
        let name = &field.name;
        let own = self.schema.processors.get(processor)?.parameters;
        let parameter = own.iter().find(|own| own.name == &*name.value);
        if parameter.is_none() && !EXPECTED.contains(&&*name.value) {
            let message = format!("nothing that is issued is called `{}`", name.value);
            let problem = Diagnostic::error("E0703", message).at(&name.span);
            let own = own.iter().map(|own| own.name);
            let known = EXPECTED
                .into_iter()
                .chain(own.filter(|own| !EXPECTED.contains(own)));
            self.problems.push(problem.suggest(&name.value, known));
            return None;
        }
        let value = json(&field.value);
        let value = match (&*name.value, &field.value.value, value) {
            ("audience" | "scope", _, Some(Json::String(one))) => Some(Json::from(vec![one])),
            ("audience" | "scope", GivenValue::List(_), Some(Json::Array(mut items))) => {
                items.sort_by_key(ToString::to_string);
                items.dedup();
                Some(items.into())
            }
            ("lifetime", GivenValue::Literal(Literal::Duration(_)), Some(value)) => Some(value),
            ("sub" | "token_type", _, Some(value @ Json::String(_))) => Some(value),
            ("act" | "may_act", GivenValue::Fields(_), value) => value,
            (name, ..) if EXPECTED.contains(&name) => None,
            (_, GivenValue::Fields(_), value)
                if parameter.is_some_and(|p| matches!(p.kind, ParameterKind::Map { .. })) =>
            {
                value
            }
            (_, GivenValue::Literal(_), value) => value,
            _ => None,
        };
        if value.is_none() {
            let wanted = match &*name.value {
                "audience" | "scope" => "a list of strings",
                "lifetime" => "a duration",
                "sub" | "token_type" => "a string",
                "act" | "may_act" => "an actor: `{ issuer: ALIAS, sub: \"…\" }`, or `{}` for none",
                _ => "what the parameter takes",
            };
            let message = format!("`{}` takes {wanted}", name.value);
            self.wrong("E0703", &field.value.span, message);
        }
        Some((Arc::clone(&name.value), value?))
    }

    /// A rule that a test names; of a kind, where only that could be.
    fn rule(&mut self, module: &Text, name: &Text, kind: Option<ast::ItemKind>) -> Option<RuleId> {
        let id = referenced(module, &name.value);
        match self.rules.get(&id) {
            Some(found) if kind.is_none_or(|kind| kind == *found) => return Some(id),
            Some(_) => {
                let message = format!("`{}` is a deny: nothing is issued by it", name.value);
                self.wrong("E0703", &name.span, message);
            }
            None => {
                let problem = no_rule("E0703", &id, name, module, self.rules.keys());
                self.problems.push(problem);
            }
        }
        None
    }
}

/// What a test says of a request.
struct Given {
    facts: Map<String, Json>,
    places: BTreeMap<String, Span>,
}

/// A value of a test as JSON; a subject has none.
fn json(value: &Spanned<GivenValue>) -> Option<Json> {
    Some(match &value.value {
        GivenValue::Literal(literal) => literal_json(literal),
        GivenValue::List(items) => items.iter().map(|item| literal_json(&item.value)).collect(),
        GivenValue::Word(word) => (&**word).into(),
        GivenValue::Fields(fields) => {
            let mut object = Map::new();
            for field in fields {
                object.insert(field.name.value.to_string(), json(&field.value)?);
            }
            object.into()
        }
        GivenValue::Party(..) => return None,
    })
}

fn literal_json(literal: &Literal) -> Json {
    match literal {
        Literal::String(text) => (&**text).into(),
        Literal::Int(number) => (*number).into(),
        Literal::Bool(truth) => (*truth).into(),
        Literal::Duration(duration) => duration.seconds.into(),
        Literal::Instant(seconds, _) => (*seconds).into(),
    }
}

/// How a test ended.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What differed, one line each; nothing where it passed.
    pub differences: Vec<String>,
    /// What would bring the outcome nearer, for people.
    pub hints: Vec<String>,
}

impl Verdict {
    /// Whether it passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Trial {
    /// The request that it makes.
    #[must_use]
    pub fn context(&self) -> &ExchangeContext {
        &self.context
    }

    /// Decides, and compares. `name` is what people call a processor.
    pub fn run<P>(
        &self,
        set: &PolicySet<P>,
        sources: &SourceText,
        name: impl Fn(&P) -> String,
    ) -> Verdict {
        let mut differences = Vec::new();
        match (set.decide(&self.context), &self.expected) {
            (
                Decision::Permit(processor, permit),
                Expected::Use {
                    processor: wanted,
                    by,
                    fields,
                },
            ) => {
                let processor = name(processor);
                if processor != **wanted {
                    differences.push(format!("processor: expected {wanted}, got {processor}"));
                }
                if let Some(by) = by.as_ref().filter(|by| *by != permit.rule()) {
                    differences.push(format!("rule: expected {by}, got {}", permit.rule()));
                }
                for (field, expected) in fields {
                    let got = self.issued(field, &permit);
                    if got != *expected {
                        let unit = if &**field == "lifetime" { "s" } else { "" };
                        differences.push(format!(
                            "{field}: expected {expected}{unit}, got {got}{unit}"
                        ));
                    }
                }
            }
            (Decision::Deny(denial), Expected::Refuse { code, by }) => {
                // Two rules that disagree are a mistake, and no refusal that anybody wanted.
                if let (None, Reason::Ambiguous(_)) = (code, &denial.reason) {
                    let why = why(&denial);
                    differences.push(format!("expected a refusal, got server_error: {why}"));
                }
                if let Some(code) = code.filter(|code| *code != denial.code) {
                    let (code, got) = (code.as_str(), denial.code.as_str());
                    differences.push(format!("error: expected {code}, got {got}"));
                }
                let refused_by = |id: &RuleId| match &denial.reason {
                    Reason::DeniedBy(rules) | Reason::Ambiguous(rules) => rules.contains(id),
                    _ => denial.rule.as_ref().is_some_and(|(rule, _)| rule == id),
                };
                if let Some(by) = by.as_ref().filter(|by| !refused_by(by)) {
                    differences.push(format!("refused by: expected {by}, got {}", why(&denial)));
                }
            }
            (Decision::Permit(processor, permit), Expected::Refuse { .. }) => {
                differences.push(format!(
                    "expected a refusal, got use {} by {}",
                    name(processor),
                    permit.rule()
                ));
            }
            (Decision::Deny(denial), Expected::Use { processor, .. }) => {
                differences.push(format!(
                    "expected use {processor}, got refuse {}: {}",
                    denial.code.as_str(),
                    why(&denial)
                ));
            }
        }
        let hints = match differences.is_empty() {
            true => Vec::new(),
            false => self.hints(set, sources),
        };
        Verdict { differences, hints }
    }

    fn issued(&self, field: &str, permit: &Permit<'_>) -> Json {
        let allowed = permit.allowance();
        match field {
            "audience" => sorted(allowed.audience.iter().map(|name| &**name)),
            "scope" => sorted(allowed.scope.as_set().iter().map(|token| &**token)),
            "lifetime" => allowed.expires_at.since(self.context.now).into(),
            "sub" => allowed.subject.as_str().into(),
            "token_type" => allowed.token_type.name().into(),
            "act" => Hop::nested_json(&allowed.act),
            "may_act" => match &allowed.may_act {
                Some(may_act) => may_act.to_json(),
                None => Map::new().into(),
            },
            other => permit.parameters().get(other).cloned().unwrap_or_default(),
        }
    }

    /// What the rule that the test names, or the one that came nearest, does not find.
    fn hints<P>(&self, set: &PolicySet<P>, sources: &SourceText) -> Vec<String> {
        let trace = set.trace(&self.context);
        let (Expected::Use { by, .. } | Expected::Refuse { by, .. }) = &self.expected;
        let named = trace
            .rules
            .iter()
            .find(|rule| Some(&rule.id) == by.as_ref() && !rule.matched);
        let Some(rule) = named.or_else(|| trace.nearest_miss()) else {
            return Vec::new();
        };
        let mut hints = vec![format!(
            "{} {} does not match:",
            rule.id,
            sources.place(&rule.span)
        )];
        for line in rule.lines.iter().filter(|line| !line.holds) {
            hints.push(format!("  {}", super::explain::line(line, sources)));
        }
        hints
    }
}

fn sorted<'a>(items: impl Iterator<Item = &'a str>) -> Json {
    let items: BTreeSet<String> = items.map(|item| Json::from(item).to_string()).collect();
    items
        .iter()
        .filter_map(|item| serde_json::from_str::<Json>(item).ok())
        .collect()
}

/// A refusal's reason in words.
fn why(denial: &Denial) -> String {
    super::explain::why(&denial.reason)
}

/// A failed test as a finding.
#[must_use]
pub fn failure(trial: &Trial, verdict: &Verdict) -> Diagnostic {
    let message = format!("test `{}` failed", trial.name);
    let problem = Diagnostic::error("E0701", message).at(&trial.span);
    let lines = verdict.differences.iter().chain(&verdict.hints);
    lines.fold(problem, |problem, line| problem.note(line.clone()))
}
