//! `use`: the processor, what it can do, and the parameters that bound what is issued.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Checker, Clauses, Parties, Scope};
use crate::diagnostic::{Diagnostic, Span};
use crate::oauth::id::ProcessorId;
use crate::oauth::scope::Scopes;
use crate::oauth::target::Audience;
use crate::oauth::token_type::TokenType;
use crate::policy::rule::{
    ActorForm, Condition, Headers, Outcome, ParameterValue, Piece, ResourceMatch, TargetsMatch,
    Template, Test,
};
use crate::policy::schema::{AttributeRef, ParameterKind, ProcessorSchema, Type};
use crate::policy::syntax::ast::{self, Literal, Spanned, Text, Value};

/// Parameters that mean the same for every processor.
const OF_THE_LANGUAGE: [&str; 4] = ["audience", "scope", "lifetime", "act"];
/// Those that later builds bring.
const LATER: [(&str, &str); 1] = [("bind", "sender-constrained tokens")];

impl<'a> Checker<'a> {
    pub(super) fn outcome(
        &mut self,
        clauses: &Clauses<'a>,
        headers: &Headers,
        parties: &Parties,
        when: Option<&Condition>,
        item: &ast::Rule,
    ) -> Option<Outcome<ProcessorId>> {
        let (name, parameters) = clauses.use_?;
        let Some(processor) = self.schema.processors.get(&*name.value) else {
            let known = self.schema.processors.keys().map(|known| &**known);
            let problem =
                Diagnostic::error("E0207", format!("no processor is called `{}`", name.value));
            let problem = problem.at(&name.span).suggest(&name.value, known);
            self.report(
                problem.help("processors are declared under `processors:` in cambist.yaml"),
            );
            return None;
        };
        let issue = headers
            .issue
            .as_ref()
            .map_or(TokenType::AccessToken, |header| header.value.clone());
        // Without `from` there is an error already, and nothing to say about issuers.
        let nobody = Parties {
            subject: Vec::new(),
            actor: parties.actor.clone(),
            acting: parties.acting,
            nobody: parties.nobody,
        };
        let parties = if clauses.from.is_some() {
            parties
        } else {
            &nobody
        };
        let issuers = &parties.subject;
        self.capabilities(processor, &issue, headers, issuers, name);
        let mut outcome = Outcome {
            processor: name.value.parse().ok()?,
            issue,
            audience: None,
            scope_ceiling: None,
            beyond_subject: false,
            acts: headers
                .actor
                .as_ref()
                .is_some_and(|header| header.value.form != ActorForm::None),
            lifetime: processor.lifetime.min(processor.max_lifetime),
            carries_scope: processor.carries_scope,
            parameters: BTreeMap::new(),
        };
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        let scope = Scope {
            parties,
            kind: item.kind,
            hop: false,
        };
        for parameter in parameters {
            if let Some(first) = seen.insert(&parameter.name.value, &parameter.name.span) {
                let message = format!("`{}` is given twice", parameter.name.value);
                let problem = Diagnostic::error("E0121", message).at(&parameter.name.span);
                self.report(problem.related(first, "first given here"));
            }
            self.parameter(parameter, processor, scope, when, &mut outcome);
        }
        self.act_fits(parameters, headers, processor, name);
        self.audience_fits(&outcome, headers, item);
        self.foreign_issuers(&outcome, issuers, name);
        Some(outcome)
    }

    /// What the processor can take and make (LANGUAGE: capabilities need no solver).
    fn capabilities(
        &mut self,
        processor: &ProcessorSchema,
        issue: &TokenType,
        headers: &Headers,
        issuers: &[usize],
        name: &Text,
    ) {
        if !processor.issues.contains(issue) {
            let problem = Diagnostic::error(
                "E0611",
                format!("processor `{}` makes no `{issue}`", name.value),
            );
            let made = processor.issues.iter().map(TokenType::name);
            self.report(problem.at(&name.span).suggest(issue.name(), made));
        }
        for issuer in issuers
            .iter()
            .filter_map(|index| self.schema.issuers.get(*index))
        {
            let narrowed: Vec<&TokenType> = headers
                .from
                .iter()
                .flat_map(|header| &header.value)
                .filter(|from| from.alias == issuer.alias)
                .filter_map(|from| from.token_type.as_ref())
                .collect();
            let types = if narrowed.is_empty() {
                issuer.token_types.iter().collect()
            } else {
                narrowed
            };
            let missing =
                |t: &&TokenType| !processor.accepts.contains(t) && issuer.token_types.contains(t);
            for token_type in types.into_iter().filter(missing) {
                let message = format!(
                    "processor `{}` does not take the `{token_type}` of `{}`",
                    name.value, issuer.alias
                );
                let problem = Diagnostic::error("E0612", message).at(&name.span);
                self.problems
                    .push(problem.help("narrow it: `from ALIAS as TYPE`"));
            }
        }
    }

    fn parameter(
        &mut self,
        parameter: &'a ast::Parameter,
        processor: &ProcessorSchema,
        scope: Scope<'_>,
        when: Option<&Condition>,
        outcome: &mut Outcome<ProcessorId>,
    ) {
        let name = &parameter.name;
        if let Some(span) = parameter
            .beyond
            .as_ref()
            .filter(|_| &*name.value != "scope")
        {
            self.wrong_value(span, "`beyond subject` is for `scope`");
        }
        match &*name.value {
            "audience" => outcome.audience = self.audience_parameter(parameter),
            "scope" => {
                outcome.scope_ceiling = self.scope_parameter(parameter, &scope.parties.subject);
                outcome.beyond_subject = parameter.beyond.is_some();
            }
            "lifetime" => {
                if let Some(lifetime) = self.lifetime_parameter(parameter, processor) {
                    outcome.lifetime = lifetime;
                }
            }
            "act" => outcome.acts &= !self.act_parameter(parameter),
            other => match processor
                .parameters
                .iter()
                .find(|known| known.name == other)
            {
                Some(known) => {
                    let value = match known.kind {
                        ParameterKind::Text => {
                            let template = self.template_parameter(parameter, scope, when);
                            if let (Some(template), "sub") = (&template, known.name) {
                                self.subjects_apart(template, &scope.parties.subject, &name.span);
                            }
                            template.map(ParameterValue::Text)
                        }
                        ParameterKind::Map { reserved, own } => {
                            self.map_parameter(parameter, reserved, own, scope)
                        }
                    };
                    if let Some(value) = value {
                        outcome.parameters.insert(known.name, value);
                    }
                }
                None => self.unknown_parameter(name, processor),
            },
        }
    }

    /// `{ tenant: "acme", groups: subject.claims.groups }`
    fn map_parameter(
        &mut self,
        parameter: &'a ast::Parameter,
        reserved: &[&str],
        own: &[(&str, &str)],
        scope: Scope<'_>,
    ) -> Option<ParameterValue> {
        let [
            Spanned {
                value: Value::Map(entries),
                ..
            },
        ] = parameter.values.as_slice()
        else {
            let message = "this parameter takes names and values: `{ name: value }`";
            self.wrong_value(&parameter.name.span, message);
            return None;
        };
        for entry in entries {
            // Some readers of JSON do not look at the case of names.
            let named = |name: &str| entry.name.value.eq_ignore_ascii_case(name);
            if let Some((name, attribute)) = own.iter().find(|(name, _)| named(name)) {
                let same = |value: &Spanned<Value>| matches!(&value.value, Value::Path(path) if &**path == *attribute);
                let [only] = entry.values.as_slice() else {
                    continue;
                };
                if !same(only) || &*entry.name.value != *name {
                    let message = format!(
                        "`{name}` says how the subject logged in; a rule can only pass it on"
                    );
                    let problem = Diagnostic::error("E0613", message).at(&entry.name.span);
                    self.report(problem.help(format!("write `{name}: {attribute}`")));
                }
                continue;
            }
            if reserved.iter().any(|name| named(name)) {
                let message = format!("`{}` is not for a rule to set here", entry.name.value);
                let problem = Diagnostic::error("E0613", message).at(&entry.name.span);
                self.report(problem.help("the token's own claims follow from the decision; `sub`, `scope`, `audience` and `lifetime` are parameters of `use`"));
            }
        }
        self.entries(entries, scope).map(ParameterValue::Map)
    }

    fn entries(
        &mut self,
        entries: &'a [ast::Parameter],
        scope: Scope<'_>,
    ) -> Option<BTreeMap<Arc<str>, ParameterValue>> {
        let mut out = BTreeMap::new();
        let mut sound = true;
        for entry in entries {
            let name = &entry.name;
            if name.value.is_empty() {
                self.wrong_value(&name.span, "a name must not be empty");
            }
            if let Some(span) = &entry.beyond {
                self.wrong_value(span, "`beyond subject` is for `scope`");
            }
            let value = match entry.values.as_slice() {
                [value] => self.entry(value, scope),
                _ => {
                    self.wrong_value(&name.span, "`&` is for `scope`; give one value");
                    None
                }
            };
            sound &= value.is_some();
            if let Some(value) = value
                && out.insert(Arc::clone(&name.value), value).is_some()
            {
                let message = format!("`{}` is given twice", name.value);
                self.report(Diagnostic::error("E0613", message).at(&name.span));
            }
        }
        sound.then_some(out)
    }

    fn entry(&mut self, value: &'a Spanned<Value>, scope: Scope<'_>) -> Option<ParameterValue> {
        let span = &value.span;
        Some(match &value.value {
            Value::Map(entries) => ParameterValue::Map(self.entries(entries, scope)?),
            Value::Path(path) => {
                let text = Text {
                    value: Arc::clone(path),
                    span: span.clone(),
                };
                let resolved = self.resolve(&text, scope)?;
                if matches!(resolved.ty, Type::Hops | Type::Actor) {
                    self.wrong_value(span, "actors are passed on in `act`, not otherwise");
                }
                ParameterValue::Attribute(resolved.attribute)
            }
            Value::Literal(Literal::String(text)) => {
                let mut pieces = self.template(text, span, scope, None)?;
                if pieces.is_empty() {
                    pieces.push(Piece::Text(Arc::from("")));
                }
                self.apart(&pieces, span);
                ParameterValue::Text(Template(pieces))
            }
            Value::Literal(Literal::Int(number)) => ParameterValue::Int(*number),
            Value::Literal(Literal::Bool(truth)) => ParameterValue::Bool(*truth),
            Value::Literal(Literal::Duration(duration)) => ParameterValue::Int(duration.seconds),
            Value::Literal(Literal::Instant(instant, _)) => ParameterValue::Int(*instant),
            Value::List(_) | Value::ListName(_) => {
                let strings = self.strings(value, "a list here holds strings")?;
                ParameterValue::Strings(strings.into_iter().map(|(text, _)| text).collect())
            }
            Value::AtMost(_) => {
                self.wrong_value(span, "`at_most` is for `lifetime`");
                return None;
            }
        })
    }

    fn unknown_parameter(&mut self, name: &Text, processor: &ProcessorSchema) {
        if let Some((_, needs)) = LATER.iter().find(|(later, _)| *later == &*name.value) {
            self.not_in_this_build(&name.value, needs, &name.span);
            return;
        }
        let known = OF_THE_LANGUAGE
            .into_iter()
            .chain(processor.parameters.iter().map(|p| p.name));
        let problem = Diagnostic::error("E0601", format!("unknown parameter `{}`", name.value));
        self.report(problem.at(&name.span).correct(&name.value, known));
    }

    fn wrong_value(&mut self, span: &Span, message: &str) {
        self.report(Diagnostic::error("E0602", message).at(span));
    }

    /// `act: dropped`
    fn act_parameter(&mut self, parameter: &ast::Parameter) -> bool {
        let dropped = matches!(
            parameter.values.as_slice(),
            [Spanned { value: Value::Path(word), .. }] if &**word == "dropped"
        );
        if !dropped {
            let message = "`act` takes `dropped`; left out, who acts is written into the token";
            self.wrong_value(&parameter.name.span, message);
        }
        dropped
    }

    /// Who acts must be said, or be left out on purpose, and the processor must be able to say it.
    fn act_fits(
        &mut self,
        parameters: &[ast::Parameter],
        headers: &Headers,
        processor: &ProcessorSchema,
        name: &Text,
    ) {
        let actor = headers.actor.as_ref();
        let form = actor.map(|header| &header.value.form);
        if let Some(parameter) = parameters.iter().find(|p| &*p.name.value == "act") {
            match form {
                None | Some(ActorForm::Client) => {}
                Some(ActorForm::None) => {
                    let message = "nobody acts under `actor none`: there is nothing to drop";
                    self.wrong_value(&parameter.name.span, message);
                }
                Some(ActorForm::Named(_) | ActorForm::Required(_) | ActorForm::Optional(_)) => {
                    let message = "where an actor token is brought, its party must be written down";
                    self.wrong_value(&parameter.name.span, message);
                }
            }
        }
        // A token that is let in with a chain or a `may_act` must not come out without.
        let plain = actor.is_none_or(|header| {
            header.value.form == ActorForm::None && !header.value.may_act_ignored
        });
        if !plain && !processor.carries_act {
            let message = format!("what processor `{}` makes cannot say who acts", name.value);
            let problem = Diagnostic::error("E0614", message).at(&name.span);
            self.report(problem.help("it can only carry out rules with `actor none`"));
        }
    }

    /// Constants, as a set of strings.
    fn strings(
        &mut self,
        value: &'a Spanned<Value>,
        message: &str,
    ) -> Option<Vec<(Arc<str>, Span)>> {
        let mut strings = Vec::new();
        let literals = match &value.value {
            Value::List(items) => items.as_slice(),
            Value::Literal(Literal::String(text)) => {
                strings.push((Arc::clone(text), value.span.clone()));
                &[]
            }
            Value::ListName(name) => {
                let name = Text {
                    value: Arc::clone(name),
                    span: value.span.clone(),
                };
                let list = self.list(&name)?;
                self.list_is(list, Type::String, &name.span)?;
                &list.members
            }
            Value::Literal(_) | Value::Path(_) | Value::AtMost(_) | Value::Map(_) => {
                self.wrong_value(&value.span, message);
                return None;
            }
        };
        for literal in literals {
            match &literal.value {
                Literal::String(text) => strings.push((Arc::clone(text), literal.span.clone())),
                Literal::Int(_)
                | Literal::Bool(_)
                | Literal::Duration(_)
                | Literal::Instant(..) => self.wrong_value(&literal.span, message),
            }
        }
        Some(strings)
    }

    fn audience_parameter(&mut self, parameter: &'a ast::Parameter) -> Option<BTreeSet<Arc<str>>> {
        const MESSAGE: &str = "`audience` takes one string or a list of strings";
        let [value] = parameter.values.as_slice() else {
            self.wrong_value(&parameter.name.span, MESSAGE);
            return None;
        };
        let strings = self.strings(value, MESSAGE)?;
        if strings.is_empty() {
            self.wrong_value(&value.span, "an audience must not be empty");
        }
        for (text, span) in &strings {
            if let Err(error) = text.parse::<Audience>() {
                self.wrong_value(span, &format!("an audience {error}"));
            }
        }
        Some(strings.into_iter().map(|(text, _)| text).collect())
    }

    /// `requested & subject.scope & [..]`: the first two always hold, the second unless `beyond subject`
    /// says otherwise; lists are a ceiling.
    fn scope_parameter(
        &mut self,
        parameter: &'a ast::Parameter,
        issuers: &[usize],
    ) -> Option<Scopes> {
        const MESSAGE: &str =
            "`scope` takes `requested`, `subject.scope` and lists of strings, joined with `&`";
        let mut ceiling: Option<Scopes> = None;
        for value in &parameter.values {
            match &value.value {
                Value::Path(path) if &**path == "requested" => continue,
                Value::Path(path) if &**path == "subject.scope" => {
                    if let Some(beyond) = &parameter.beyond {
                        let message = "`subject.scope` and `beyond subject` contradict each other";
                        self.wrong_value(beyond, message);
                    }
                    self.subject_has_scope(&value.span, issuers);
                    continue;
                }
                Value::Path(path) if &**path == "grant.scope" => {
                    self.not_in_this_build(path, "stored exchange grants", &value.span);
                    continue;
                }
                _ => {}
            }
            let strings = self.strings(value, MESSAGE)?;
            let mut tokens = Vec::new();
            for (text, span) in &strings {
                if Scopes::is_token(text) {
                    tokens.push(&**text);
                } else {
                    self.wrong_value(span, &format!("`{text}` is not a scope token"));
                }
            }
            let Ok(listed) = Scopes::from_tokens(tokens) else {
                self.wrong_value(&value.span, "too many scope tokens");
                continue;
            };
            ceiling = Some(
                ceiling.map_or_else(|| listed.clone(), |earlier| earlier.intersection(&listed)),
            );
        }
        match (&parameter.beyond, &ceiling) {
            (Some(beyond), None) => {
                let message = "`beyond subject` without a list would grant whatever is asked for";
                let problem = Diagnostic::error("E0609", message).at(beyond);
                self.report(problem.help("say what: `requested & [\"…\"] beyond subject`"));
            }
            (Some(beyond), Some(_)) => {
                let message = "this rule grants scope that the subject's token does not have";
                self.report(Diagnostic::warning("E0407", message).at(beyond));
            }
            (None, _) => {}
        }
        ceiling
    }

    /// Where tokens have no scope, `& subject.scope` would say that nothing is granted.
    fn subject_has_scope(&mut self, span: &Span, issuers: &[usize]) {
        let schema = self.schema;
        let without = issuers
            .iter()
            .filter_map(|index| schema.issuers.get(*index))
            .find(|issuer| !issuer.has_scope);
        if let Some(issuer) = without {
            let message = format!(
                "`subject.scope`: tokens of `{}` have no scope",
                issuer.alias
            );
            let problem = Diagnostic::error("E0608", message).at(span);
            self.report(problem.help("say what may be granted: `requested & [\"…\"]`"));
        }
    }

    /// `5m` sets the lifetime, `at_most 5m` lowers the processor's.
    fn lifetime_parameter(
        &mut self,
        parameter: &ast::Parameter,
        processor: &ProcessorSchema,
    ) -> Option<i64> {
        let seconds = match parameter.values.as_slice() {
            [
                Spanned {
                    value: Value::AtMost(seconds),
                    ..
                },
            ] => processor
                .lifetime
                .min(processor.max_lifetime)
                .min(seconds.seconds),
            [
                Spanned {
                    value: Value::Literal(Literal::Duration(seconds)),
                    ..
                },
            ] => seconds.seconds,
            _ => {
                self.wrong_value(
                    &parameter.name.span,
                    "`lifetime` takes `5m` or `at_most 5m`",
                );
                return None;
            }
        };
        let span = parameter
            .values
            .first()
            .map_or(&parameter.name.span, |value| &value.span);
        if seconds < 1 {
            self.wrong_value(span, "a token must live for a second at least");
        } else if seconds > processor.max_lifetime {
            let message = format!(
                "longer than the processor's `max_lifetime` of {}s",
                processor.max_lifetime
            );
            self.report(Diagnostic::error("E0605", message).at(span));
        }
        Some(seconds)
    }

    fn template_parameter(
        &mut self,
        parameter: &ast::Parameter,
        scope: Scope<'_>,
        when: Option<&Condition>,
    ) -> Option<Template> {
        let [value] = parameter.values.as_slice() else {
            self.wrong_value(&parameter.name.span, "this parameter takes one value");
            return None;
        };
        let pieces = match &value.value {
            Value::Path(path) => vec![self.piece(path, &value.span, scope, Some(when))?],
            Value::Literal(Literal::String(text)) => {
                self.template(text, &value.span, scope, Some(when))?
            }
            Value::Literal(_)
            | Value::List(_)
            | Value::AtMost(_)
            | Value::ListName(_)
            | Value::Map(_) => {
                self.wrong_value(
                    &value.span,
                    "this parameter takes an attribute or text with `${attribute}` in it",
                );
                return None;
            }
        };
        if pieces.is_empty() {
            self.wrong_value(&value.span, "this parameter must not be empty");
        }
        self.apart(&pieces, &value.span);
        Some(Template(pieces))
    }

    /// Attributes in a template need text between them.
    fn apart(&mut self, pieces: &[Piece], span: &Span) {
        let adjacent = pieces
            .windows(2)
            .any(|w| matches!(w, [Piece::Attribute(_), Piece::Attribute(_)]));
        if adjacent {
            let message = "two attributes stand side by side: nothing would tell them apart";
            self.report(
                Diagnostic::error("E0603", message)
                    .at(span)
                    .help("put a separator between them"),
            );
        }
    }

    /// `when` is the rule's condition where an attribute that may be absent must be guarded; without it,
    /// a value whose attribute is absent is left out.
    fn template(
        &mut self,
        text: &str,
        span: &Span,
        scope: Scope<'_>,
        when: Option<Option<&Condition>>,
    ) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((path, tail)) = after.split_once('}') else {
                self.wrong_value(span, "`${` is not closed with `}`");
                return None;
            };
            self.plain_text(before, span, &mut pieces);
            pieces.push(self.piece(path, span, scope, when)?);
            rest = tail;
        }
        self.plain_text(rest, span, &mut pieces);
        Some(pieces)
    }

    /// The text between attributes. A brace in it is an attribute that was misspelt: `{subject.sub}` would
    /// give everybody the same name.
    fn plain_text(&mut self, text: &str, span: &Span, pieces: &mut Vec<Piece>) {
        if text.contains(['{', '}']) {
            let message = "a brace stands outside `${attribute}`";
            self.wrong_value(span, message);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(Arc::from(text)));
        }
    }

    fn piece(
        &mut self,
        path: &str,
        span: &Span,
        scope: Scope<'_>,
        when: Option<Option<&Condition>>,
    ) -> Option<Piece> {
        let text = Text {
            value: Arc::from(path),
            span: span.clone(),
        };
        let resolved = self.resolve(&text, scope)?;
        if resolved.ty.is_set() || matches!(resolved.ty, Type::Bool | Type::Hops | Type::Actor) {
            self.wrong_value(
                span,
                &format!(
                    "`{path}` is of type {}; this parameter takes text",
                    resolved.ty.name()
                ),
            );
        }
        let guarded = |when: Option<&Condition>| when.is_some_and(|when| guards(when, path));
        if resolved.optional && when.is_some_and(|when| !guarded(when)) {
            let message = format!("`{path}` may be absent, and then this parameter has no value");
            let help = format!("add `when present {path}` to the rule");
            self.report(Diagnostic::error("E0312", message).at(span).help(help));
        }
        Some(Piece::Attribute(resolved.attribute))
    }

    /// A constant audience fits one place only, and no target needs one.
    fn audience_fits(
        &mut self,
        outcome: &Outcome<ProcessorId>,
        headers: &Headers,
        item: &ast::Rule,
    ) {
        let Some(to) = &headers.to else { return };
        match &outcome.audience {
            None if to
                .value
                .iter()
                .any(|form| matches!(form, TargetsMatch::None)) =>
            {
                let problem = Diagnostic::error(
                    "E0606",
                    "a token without a target needs a constant audience",
                );
                self.report(
                    problem
                        .at(&to.span)
                        .help("add it: `use NAME { audience: \"…\" }`"),
                );
            }
            Some(_) => {
                let mut hosts: BTreeSet<&str> = BTreeSet::new();
                let mut open = false;
                for form in &to.value {
                    match form {
                        TargetsMatch::Any => open = true,
                        TargetsMatch::None => {}
                        TargetsMatch::Parts { resource, .. } => match resource {
                            None => {}
                            Some(ResourceMatch::Equal(uris)) => {
                                hosts.extend(
                                    uris.iter()
                                        .map(|uri| uri.authority().unwrap_or_else(|| uri.raw())),
                                );
                            }
                            Some(ResourceMatch::Pattern(patterns)) => {
                                for pattern in patterns {
                                    match pattern.fixed_authority() {
                                        Some(host) => drop(hosts.insert(host)),
                                        None => open = true,
                                    }
                                }
                            }
                        },
                    }
                }
                if open || hosts.len() > 1 {
                    let message = format!(
                        "rule `{}` has one audience for several hosts",
                        item.name.value
                    );
                    let problem = Diagnostic::error("E0607", message).at(&to.span);
                    self.report(
                        problem
                            .help("a token for one host would be good at another; split the rule"),
                    );
                }
            }
            None => {}
        }
    }

    /// A `sub` that two issuers' subjects could share. Explicit, so that it loads.
    fn subjects_apart(&mut self, template: &Template, issuers: &[usize], span: &Span) {
        for path in template.attributes().map(AttributeRef::path) {
            let acts = ["actor.", "subject.act", "subject.may_act"];
            if acts.iter().any(|begins| path.starts_with(begins)) {
                let message =
                    format!("`{path}` is not the subject: who acts is written into `act`");
                self.wrong_value(span, &message);
            } else if path.starts_with("client.") && template.0.len() == 1 {
                let message = format!("`{path}` alone could be taken for a user of that name");
                let problem = Diagnostic::error("E0602", message).at(span);
                self.report(problem.help(format!("for example `sub: \"client|${{{path}}}\"`")));
            }
        }
        let schema = self.schema;
        let issuers: Vec<_> = issuers
            .iter()
            .filter_map(|index| schema.issuers.get(*index))
            .collect();
        let Some(foreign) = issuers.iter().find(|issuer| !issuer.local) else {
            return;
        };
        let names_issuer = template
            .attributes()
            .any(|attribute| attribute.path() == "subject.issuer");
        let has_text = template
            .0
            .iter()
            .any(|piece| matches!(piece, Piece::Text(_)));
        if !names_issuer && (issuers.len() > 1 || !has_text) {
            let message = format!(
                "subjects of `{}` may get the same `sub` as those of another issuer",
                foreign.alias
            );
            let problem = Diagnostic::warning("E0406", message).at(span);
            self.report(
                problem.help("name the issuer: `sub: \"${subject.issuer}|${subject.sub}\"`"),
            );
        }
    }

    /// What a rule must say about issuers that are not the realm's own.
    fn foreign_issuers(&mut self, outcome: &Outcome<ProcessorId>, issuers: &[usize], name: &Text) {
        let schema = self.schema;
        for issuer in issuers
            .iter()
            .filter_map(|index| schema.issuers.get(*index))
        {
            if !issuer.local && !outcome.parameters.contains_key("sub") {
                let message = format!(
                    "the subjects of `{}` are not local: this rule must say their `sub`",
                    issuer.alias
                );
                let help = format!("for example `sub: \"{}|${{subject.sub}}\"`", issuer.alias);
                self.report(
                    Diagnostic::error("E0405", message)
                        .at(&name.span)
                        .help(help),
                );
            }
            if !issuer.has_scope && outcome.scope_ceiling.is_none() && outcome.carries_scope {
                let message = format!(
                    "tokens of `{}` have no scope: this rule must say what may be granted",
                    issuer.alias
                );
                let problem = Diagnostic::error("E0608", message).at(&name.span);
                self.report(problem.help("add `scope: [\"…\"]`, or `scope: []` for none"));
            }
        }
    }
}

/// Whether a condition holds only where `path` is present: some top-level part says so.
fn guards(condition: &Condition, path: &str) -> bool {
    let positive = |part: &Condition| match part {
        Condition::Atom(atom) => {
            !atom.negated
                && atom.left.attribute.path() == path
                && (matches!(atom.test, Test::Present) || atom.left.default.is_none())
        }
        Condition::All(_) | Condition::Any(_) => false,
    };
    match condition {
        Condition::All(parts) => parts.iter().any(positive),
        other => positive(other),
    }
}
