//! Tree + schema → rules. Collects every problem; decides nothing about requests.

mod absence;
mod condition;
mod header;
mod outcome;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::decide::PolicySet;
use super::rule::{Condition, DenyRule, Headers, TargetsMatch, UseRule};
use super::schema::{ATTRIBUTES, AttributeRef, CLAIMS, CLIENT_ATTRIBUTES, LATER, Schema, Type};
use super::syntax::ast::{self, Clause, ItemKind, Spanned, Text};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::oauth::error::{ErrorCode, is_description};
use crate::oauth::id::{ProcessorId, RuleId};

/// Checks files against a realm.
///
/// # Errors
/// Every problem of every file, warnings among them.
pub fn check(
    files: &[ast::File],
    schema: &Schema,
) -> Result<(PolicySet<ProcessorId>, Diagnostics), Diagnostics> {
    let mut checker = Checker {
        schema,
        problems: Diagnostics::default(),
    };
    let mut rules = Vec::new();
    let mut denies = Vec::new();
    checker.modules(files);
    for file in files {
        checker.names(file);
        for item in file.rules() {
            match item.kind {
                ItemKind::Rule => rules.extend(checker.rule(&file.module, item)),
                ItemKind::Deny => denies.extend(checker.deny(&file.module, item)),
            }
        }
    }
    let items: usize = files.iter().map(|file| file.rules().count()).sum();
    if !checker.problems.has_errors() && rules.len() + denies.len() != items {
        // Never seen; a deny that is lost without a word would let pass what it forbids.
        let message = "the checker lost a rule without a reason";
        checker.report(Diagnostic::error("E0100", message));
    }
    if checker.problems.has_errors() {
        return Err(checker.problems);
    }
    number_outcomes(&mut rules);
    Ok((
        PolicySet::new(rules, denies, schema.resources.clone()),
        checker.problems,
    ))
}

/// Gives rules with equal outcomes equal numbers.
fn number_outcomes(rules: &mut [UseRule<ProcessorId>]) {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for rule in rules {
        let next = numbers.len();
        rule.outcome_number = *numbers.entry(rule.outcome.identity()).or_insert(next);
    }
}

struct Checker<'a> {
    schema: &'a Schema,
    problems: Diagnostics,
}

/// A clause's content, and its place.
struct Found<'a, T> {
    value: &'a T,
    span: &'a Span,
}

/// The clauses of one item, each at most once but for `when`.
#[derive(Default)]
struct Clauses<'a> {
    from: Option<Found<'a, Option<Vec<ast::IssuerRef>>>>,
    by: Option<Found<'a, Option<ast::Matcher>>>,
    to: Option<Found<'a, Vec<ast::TargetsForm>>>,
    actor: Option<Found<'a, ast::ActorForm>>,
    via: Option<Found<'a, Text>>,
    issue: Option<Found<'a, Text>>,
    when: Vec<&'a ast::Condition>,
    use_: Option<(&'a Text, &'a [ast::Parameter])>,
    because: Option<&'a Text>,
    tell: Option<&'a Text>,
    error: Option<&'a Text>,
}

impl Checker<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.problems.push(diagnostic);
    }

    fn modules(&mut self, files: &[ast::File]) {
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        for file in files {
            let module = &file.module;
            if let Some(first) = seen.insert(&module.value, &module.span) {
                let problem = Diagnostic::error(
                    "E0206",
                    format!("module `{}` is declared twice", module.value),
                );
                self.report(
                    problem
                        .at(&module.span)
                        .related(first, "first declared here"),
                );
            }
        }
    }

    fn names(&mut self, file: &ast::File) {
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        for item in file.rules() {
            if let Some(first) = seen.insert(&item.name.value, &item.name.span) {
                let problem = Diagnostic::error(
                    "E0206",
                    format!("the name `{}` is used twice", item.name.value),
                );
                self.report(
                    problem
                        .at(&item.name.span)
                        .related(first, "first used here"),
                );
            }
        }
    }

    fn rule(&mut self, module: &Text, item: &ast::Rule) -> Option<UseRule<ProcessorId>> {
        let clauses = self.clauses(item);
        for (there, word) in [
            (clauses.from.is_some(), "from"),
            (clauses.by.is_some(), "by"),
            (clauses.to.is_some(), "to"),
            (clauses.use_.is_some(), "use"),
        ] {
            if !there {
                let message = format!("rule `{}` has no `{word}`", item.name.value);
                let help = match word {
                    "from" => "say whose tokens: `from ALIAS`, or `from any issuer`",
                    "by" => "say which client: `by client \"ID\"`, or `by any client`",
                    "to" => {
                        "say which targets: `to resource under \"URI\"`, `to any target` or `to no target`"
                    }
                    _ => "say which processor: `use NAME`",
                };
                self.report(
                    Diagnostic::error("E0120", message)
                        .at(&item.name.span)
                        .help(help),
                );
            }
        }
        let headers = self.headers(&clauses, item);
        let scope = self.claim_scope(&clauses);
        let when = self.when(&clauses.when, &scope, ItemKind::Rule);
        let outcome = self.outcome(&clauses, &headers, &scope, when.as_ref(), item);
        let (scope_when, when) = split_scope(when?);
        Some(UseRule {
            id: rule_id(module, item),
            span: item.name.span.clone(),
            headers,
            scope_when,
            when,
            outcome: outcome?,
            outcome_number: 0,
        })
    }

    fn deny(&mut self, module: &Text, item: &ast::Rule) -> Option<DenyRule> {
        let clauses = self.clauses(item);
        let headers = self.headers(&clauses, item);
        let scope = self.claim_scope(&clauses);
        let when = self.when(&clauses.when, &scope, ItemKind::Deny);
        if headers.is_empty() && clauses.when.is_empty() {
            let message = format!(
                "deny `{}` has no header and no `when`: it would refuse everything",
                item.name.value
            );
            self.report(Diagnostic::error("E0124", message).at(&item.name.span));
        }
        if let Some(to) = &headers.to
            && to
                .value
                .iter()
                .any(|form| matches!(form, TargetsMatch::None))
            && !to
                .value
                .iter()
                .any(|form| matches!(form, TargetsMatch::Any))
        {
            self.report(absence::slips_past(&to.span));
        }
        let error = match clauses.error {
            None => ErrorCode::InvalidRequest,
            Some(text) => self.deny_error(text),
        };
        if let Some(tell) = clauses.tell
            && !is_description(&tell.value)
        {
            let message =
                "`tell` may hold printable ASCII without `\"` and `\\` only (RFC 6749 section 5.2)";
            self.report(Diagnostic::error("E0125", message).at(&tell.span));
        }
        Some(DenyRule {
            id: rule_id(module, item),
            span: item.name.span.clone(),
            headers,
            when: when?,
            error,
            because: clauses.because.map(|text| Arc::clone(&text.value)),
            tell: clauses.tell.map(|text| Arc::clone(&text.value)),
        })
    }

    fn deny_error(&mut self, text: &Text) -> ErrorCode {
        let allowed = [
            ErrorCode::InvalidRequest,
            ErrorCode::InvalidTarget,
            ErrorCode::InvalidScope,
            ErrorCode::UnauthorizedClient,
        ];
        match allowed
            .into_iter()
            .find(|code| code.as_str() == &*text.value)
        {
            Some(code) => code,
            None => {
                let problem =
                    Diagnostic::error("E0123", format!("a deny cannot answer `{}`", text.value));
                self.report(
                    problem
                        .at(&text.span)
                        .suggest(&text.value, allowed.map(ErrorCode::as_str)),
                );
                ErrorCode::InvalidRequest
            }
        }
    }

    fn clauses<'a>(&mut self, item: &'a ast::Rule) -> Clauses<'a> {
        let mut clauses = Clauses::default();
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        for Spanned { value, span } in &item.clauses {
            let word = value.word();
            let misplaced = match item.kind {
                ItemKind::Rule => matches!(
                    value,
                    Clause::Because(_) | Clause::Tell(_) | Clause::Error(_)
                ),
                ItemKind::Deny => matches!(value, Clause::Use { .. }),
            };
            if misplaced {
                let kind = if item.kind == ItemKind::Rule {
                    "rule"
                } else {
                    "deny"
                };
                self.report(
                    Diagnostic::error("E0122", format!("a {kind} has no `{word}`")).at(span),
                );
            }
            if word != "when"
                && let Some(first) = seen.insert(word, span)
            {
                let problem = Diagnostic::error("E0121", format!("`{word}` is written twice"));
                self.report(problem.at(span).related(first, "first written here"));
            }
            match value {
                Clause::From(value) => clauses.from = Some(Found { value, span }),
                Clause::By(value) => clauses.by = Some(Found { value, span }),
                Clause::To(value) => clauses.to = Some(Found { value, span }),
                Clause::Actor {
                    form,
                    may_act_ignored,
                } => {
                    if let Some(span) = may_act_ignored {
                        self.not_in_this_build("may_act ignored", "delegation", span);
                    }
                    clauses.actor = Some(Found { value: form, span });
                }
                Clause::Via(value) => clauses.via = Some(Found { value, span }),
                Clause::Issue(value) => clauses.issue = Some(Found { value, span }),
                Clause::When(condition) => clauses.when.push(condition),
                Clause::Use {
                    processor,
                    parameters,
                } => clauses.use_ = Some((processor, parameters)),
                Clause::Overrides(_) => {}
                Clause::Because(text) => clauses.because = Some(text),
                Clause::Tell(text) => clauses.tell = Some(text),
                Clause::Error(text) => clauses.error = Some(text),
            }
        }
        clauses
    }

    fn not_in_this_build(&mut self, what: &str, needs: &str, span: &Span) {
        let message = format!("`{what}` needs {needs}, which this build does not have");
        self.report(Diagnostic::error("E0203", message).at(span));
    }

    /// The issuers whose claims a rule's conditions may name: those of `from`, else all.
    fn claim_scope(&self, clauses: &Clauses<'_>) -> Vec<usize> {
        let named = clauses.from.as_ref().and_then(|found| found.value.as_ref());
        self.schema
            .issuers
            .iter()
            .enumerate()
            .filter(|(_, issuer)| match named {
                Some(list) => list
                    .iter()
                    .any(|r| *r.alias.value == *issuer.alias.as_str()),
                None => true,
            })
            .map(|(index, _)| index)
            .collect()
    }

    /// What a path names: the attribute, its type, whether it may be absent, its separators.
    fn resolve(&mut self, path: &Text, issuers: &[usize]) -> Option<Resolved> {
        let text = &*path.value;
        if let Some(attribute) = ATTRIBUTES.iter().find(|a| a.path == text) {
            return Some(Resolved {
                attribute: AttributeRef::Fixed(attribute),
                ty: attribute.ty,
                optional: attribute.optional,
                separators: attribute.separators.to_owned(),
            });
        }
        if let Some(name) = text.strip_prefix(CLAIMS) {
            return self.resolve_claim(name, path, issuers);
        }
        if let Some(name) = text.strip_prefix(CLIENT_ATTRIBUTES) {
            if let Some((key, ty)) = self.schema.client_attributes.get_key_value(name) {
                return Some(Resolved {
                    attribute: AttributeRef::ClientAttribute(Arc::clone(key)),
                    ty: (*ty).into(),
                    optional: true,
                    separators: ":/".to_owned(),
                });
            }
            let known = self.schema.client_attributes.keys().map(|name| &**name);
            let problem = Diagnostic::error(
                "E0204",
                format!("client attribute `{name}` is not declared"),
            );
            self.report(
                problem
                    .at(&path.span)
                    .suggest(name, known)
                    .help("declare it in `client_attributes:`"),
            );
            return None;
        }
        let later = LATER.iter().find(|(prefix, _)| {
            text == *prefix
                || text
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        if let Some((_, needs)) = later {
            self.not_in_this_build(text, needs, &path.span);
            return None;
        }
        let problem =
            Diagnostic::error("E0204", format!("unknown attribute `{text}`")).at(&path.span);
        self.report(problem.suggest(text, ATTRIBUTES.iter().map(|a| a.path)));
        None
    }

    fn resolve_claim(&mut self, name: &str, path: &Text, issuers: &[usize]) -> Option<Resolved> {
        let schemas: Vec<_> = issuers
            .iter()
            .filter_map(|index| self.schema.issuers.get(*index))
            .collect();
        let declared: Vec<_> = schemas
            .iter()
            .filter_map(|s| s.claims.get_key_value(name).map(|c| (s, c)))
            .collect();
        let Some((first_issuer, (key, first))) = declared.first() else {
            if schemas.is_empty() && self.problems.has_errors() {
                return None; // none of the rule's issuers exists, which was said
            }
            let known: BTreeSet<&str> = schemas
                .iter()
                .flat_map(|s| s.claims.keys().map(|name| &**name))
                .collect();
            let aliases: Vec<&str> = schemas.iter().map(|s| s.alias.as_str()).collect();
            let message = format!(
                "claim `{name}` is not declared by `{}`",
                aliases.join("`, `")
            );
            let problem = Diagnostic::error("E0204", message).at(&path.span);
            let problem = problem.suggest(name, known);
            self.report(problem.help("declare it under the issuer's `claims:`"));
            return None;
        };
        if let Some((other, (_, claim))) =
            declared.iter().find(|(_, (_, claim))| claim.ty != first.ty)
        {
            let message = format!(
                "claim `{name}` is of type {} from `{}` and of type {} from `{}`",
                first.ty.name(),
                first_issuer.alias,
                claim.ty.name(),
                other.alias
            );
            self.report(
                Diagnostic::error("E0202", message)
                    .at(&path.span)
                    .help("narrow `from`, or declare one type"),
            );
            return None;
        }
        let optional =
            declared.len() < schemas.len() || declared.iter().any(|(_, (_, claim))| claim.optional);
        Some(Resolved {
            attribute: AttributeRef::Claim(Arc::clone(key)),
            ty: first.ty.into(),
            optional,
            // What any of them separates, all of them do: the narrower pattern is the safer one.
            separators: declared
                .iter()
                .flat_map(|(_, (_, claim))| claim.separators.chars())
                .collect(),
        })
    }
}

struct Resolved {
    attribute: AttributeRef,
    ty: Type,
    optional: bool,
    separators: String,
}

fn rule_id(module: &Text, item: &ast::Rule) -> RuleId {
    RuleId {
        module: Arc::clone(&module.value),
        name: Arc::clone(&item.name.value),
    }
}

/// Splits `when` into the part that speaks of scope alone, and the rest.
fn split_scope(condition: Condition) -> (Condition, Condition) {
    let parts = match condition {
        Condition::All(parts) => parts,
        other => vec![other],
    };
    let about_scope = |part: &Condition| {
        let (mut scope, mut other) = (0, 0);
        part.atoms(&mut |atom| match atom.left.attribute.path().as_str() {
            "scope" | "request.scope" => scope += 1,
            _ => other += 1,
        });
        scope > 0 && other == 0
    };
    let (scope, rest): (Vec<_>, Vec<_>) = parts.into_iter().partition(about_scope);
    (Condition::All(scope), Condition::All(rest))
}

impl Headers {
    /// Whether no header was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from.is_none()
            && self.by.is_none()
            && self.to.is_none()
            && self.actor.is_none()
            && self.via.is_none()
            && self.issue.is_none()
    }
}
