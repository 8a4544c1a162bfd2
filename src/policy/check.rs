//! Tree + schema → rules. Collects every problem; decides nothing about requests.

mod absence;
mod condition;
mod constant;
mod expand;
mod header;
mod hours;
mod modules;
mod outcome;
mod proof;
mod tenant;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::decide::PolicySet;
use super::rule::{Condition, DenyRule, Headers, TargetsMatch, UseRule};
use super::schema::{
    ACTOR_CLAIMS, ATTRIBUTES, AttributeRef, CLAIMS, CLIENT_ATTRIBUTES, ClientSchema, FIELDS, LATER,
    Schema, Type,
};
use super::syntax::ast::{self, Clause, ItemKind, Spanned, Text};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::oauth::error::{ErrorCode, is_description};
use crate::oauth::id::{ProcessorId, RuleId};
use modules::Modules;

/// The most tests that one rule may have when its defs are written out, and the most of all rules.
const MAX_TESTS: usize = 10_000;
const MAX_TESTS_IN_ALL: usize = 1_000_000;

/// What every actor token has.
const OF_ACTORS: [&str; 4] = [
    "actor.issuer",
    "actor.sub",
    "actor.token_type",
    "actor.expires_in",
];

/// What a deny can answer.
pub(super) const DENY_ERRORS: [ErrorCode; 4] = [
    ErrorCode::InvalidRequest,
    ErrorCode::InvalidTarget,
    ErrorCode::InvalidScope,
    ErrorCode::UnauthorizedClient,
];

/// Checks files against a realm.
///
/// # Errors
/// Every problem of every file, warnings among them.
pub fn check(
    files: &[ast::File],
    schema: &Schema,
) -> Result<(PolicySet<ProcessorId>, Diagnostics), Diagnostics> {
    let mut clients = HashMap::new();
    for client in &schema.clients {
        for name in &client.names {
            clients.entry(&**name).or_insert(client);
        }
    }
    let mut checker = Checker {
        schema,
        clients,
        modules: Modules::default(),
        module: 0,
        expanding: Vec::new(),
        item: None,
        of_proof: false,
        tests: 0,
        tests_in_all: 0,
        depth: 0,
        problems: Diagnostics::default(),
    };
    // A rule is large, and there may be many: no room is taken twice over.
    let count = |kind| {
        let items = files.iter().flat_map(ast::File::rules);
        items.filter(|item| item.kind == kind).count()
    };
    let mut rules = Vec::with_capacity(count(ItemKind::Rule));
    let mut denies = Vec::with_capacity(count(ItemKind::Deny));
    checker.collect(files);
    for (index, file) in files.iter().enumerate() {
        for item in file.rules() {
            checker.module = index;
            checker.item = Some(&item.name.span);
            match item.kind {
                ItemKind::Rule => rules.extend(checker.rule(&file.module, item)),
                ItemKind::Deny => denies.extend(checker.deny(&file.module, item)),
            }
        }
    }
    checker.overrides(files);
    let proofs = checker.proofs(files);
    checker.unused(files);
    let items: usize = files.iter().map(|file| file.rules().count()).sum();
    let claimed: usize = files.iter().map(|file| file.proofs().count()).sum();
    if !checker.problems.has_errors()
        && (rules.len() + denies.len() != items || proofs.len() != claimed)
    {
        // Never seen; a deny that is lost without a word would let pass what it forbids.
        let message = "the checker lost a rule or a proof without a reason";
        checker.report(Diagnostic::error("E0100", message));
    }
    if checker.problems.has_errors() {
        return Err(checker.problems);
    }
    number_outcomes(&mut rules);
    let aliases = schema.issuers.iter().map(|issuer| issuer.alias.clone());
    let aliases: Vec<_> = aliases.collect();
    Ok((
        PolicySet::new(rules, denies, schema.resources.clone(), &aliases).with_proofs(proofs),
        checker.problems,
    ))
}

/// The edges of a graph that close a circle, when it is walked in order.
fn circles(below: &[Vec<usize>]) -> Vec<(usize, usize)> {
    let mut closing = Vec::new();
    // Not seen yet, on the way to the node at hand, done.
    let mut state = vec![0_u8; below.len()];
    for start in 0..below.len() {
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        if state.get(start).is_none_or(|state| *state != 0) {
            continue;
        }
        if let Some(state) = state.get_mut(start) {
            *state = 1;
        }
        while let Some((node, next)) = path.last_mut() {
            let (node, edge) = (*node, *next);
            *next += 1;
            match below.get(node).and_then(|below| below.get(edge)) {
                None => {
                    if let Some(state) = state.get_mut(node) {
                        *state = 2;
                    }
                    path.pop();
                }
                Some(to) => match state.get_mut(*to) {
                    Some(state @ 0) => {
                        *state = 1;
                        path.push((*to, 0));
                    }
                    // On the way that led here.
                    Some(1) => closing.push((node, *to)),
                    _ => {}
                },
            }
        }
    }
    closing
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
    /// The clients by every name of theirs: a rule names one, and there may be many of both.
    clients: HashMap<&'a str, &'a ClientSchema>,
    modules: Modules<'a>,
    /// The module whose names count.
    module: usize,
    /// The defs that are being written out, with their modules.
    expanding: Vec<(usize, &'a ast::Def)>,
    /// The name of the rule at hand.
    item: Option<&'a Span>,
    /// Whether a proof is at hand, whose conditions cannot be of some issuers only.
    of_proof: bool,
    /// How many tests the rule at hand has so far, and all rules.
    tests: usize,
    tests_in_all: usize,
    /// How deep the part at hand is nested.
    depth: usize,
    problems: Diagnostics,
}

/// Where a condition stands: what it may name.
#[derive(Clone, Copy)]
struct Scope<'s> {
    /// Whose claims it may name.
    parties: &'s Parties,
    /// In a rule or in a deny.
    kind: ItemKind,
    /// Inside `where (…)`, where `it` is an actor.
    hop: bool,
}

/// The issuers whose claims a rule may name, by their places in the schema.
struct Parties {
    /// Those of `from`, else all.
    subject: Vec<usize>,
    /// Those of `actor`; in a deny without one, all; `None` where there is no actor token.
    actor: Option<Vec<usize>>,
    /// Whether there always is an actor token.
    acting: bool,
    /// Whether nobody has acted, nor is named to.
    nobody: bool,
}

/// A clause's content, and its place.
struct Found<'a, T> {
    value: &'a T,
    span: &'a Span,
}

/// An `actor` clause.
struct FoundActor<'a> {
    form: &'a ast::ActorForm,
    may_act_ignored: Option<&'a Span>,
    span: &'a Span,
}

/// The clauses of one item, each at most once but for `when`.
#[derive(Default)]
struct Clauses<'a> {
    from: Option<Found<'a, Option<Vec<ast::IssuerRef>>>>,
    by: Option<Found<'a, Option<ast::Matcher>>>,
    to: Option<Found<'a, Vec<ast::TargetsForm>>>,
    actor: Option<FoundActor<'a>>,
    via: Option<Found<'a, Text>>,
    issue: Option<Found<'a, Text>>,
    when: Vec<&'a ast::Condition>,
    use_: Option<(&'a Text, &'a [ast::Parameter])>,
    overrides: &'a [Text],
    because: Option<&'a Text>,
    tell: Option<&'a Text>,
    error: Option<&'a Text>,
}

impl<'a> Checker<'a> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.problems.push(diagnostic);
    }

    fn rule(&mut self, module: &Text, item: &'a ast::Rule) -> Option<UseRule<ProcessorId>> {
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
        let parties = self.parties(&clauses, ItemKind::Rule);
        self.tests = 0;
        let when = self.when(&clauses.when, &parties, ItemKind::Rule);
        // Without `from` there is an error already.
        if clauses.from.is_some() {
            self.tenants(when.as_ref(), &parties, item);
        }
        let outcome = self.outcome(&clauses, &headers, &parties, when.as_ref(), item);
        let (scope_when, when) = split_scope(when?);
        Some(UseRule {
            id: rule_id(module, item),
            span: item.name.span.clone(),
            doc: item.doc.clone(),
            overrides: clauses
                .overrides
                .iter()
                .map(|name| referenced(module, &name.value))
                .collect(),
            headers,
            scope_when,
            when,
            outcome: outcome?,
            outcome_number: 0,
        })
    }

    fn deny(&mut self, module: &Text, item: &'a ast::Rule) -> Option<DenyRule> {
        let clauses = self.clauses(item);
        let headers = self.headers(&clauses, item);
        let parties = self.parties(&clauses, ItemKind::Deny);
        self.tests = 0;
        let when = self.when(&clauses.when, &parties, ItemKind::Deny);
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
            doc: item.doc.clone(),
            headers,
            when: when?,
            error,
            because: clauses.because.map(|text| Arc::clone(&text.value)),
            tell: clauses.tell.map(|text| Arc::clone(&text.value)),
        })
    }

    fn deny_error(&mut self, text: &Text) -> ErrorCode {
        match DENY_ERRORS
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
                        .correct(&text.value, DENY_ERRORS.map(ErrorCode::as_str)),
                );
                ErrorCode::InvalidRequest
            }
        }
    }

    fn clauses(&mut self, item: &'a ast::Rule) -> Clauses<'a> {
        let mut clauses = Clauses::default();
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        for Spanned { value, span } in &item.clauses {
            let word = value.word();
            let misplaced = match item.kind {
                ItemKind::Rule => matches!(
                    value,
                    Clause::Because(_) | Clause::Tell(_) | Clause::Error(_)
                ),
                ItemKind::Deny => matches!(value, Clause::Use { .. } | Clause::Overrides(_)),
            };
            if misplaced {
                let kind = if item.kind == ItemKind::Rule {
                    "rule"
                } else {
                    "deny"
                };
                let problem = Diagnostic::error("E0122", format!("a {kind} has no `{word}`"));
                let problem = match (item.kind, value) {
                    (ItemKind::Deny, Clause::Overrides(_)) => {
                        problem.help("a deny beats every rule as it is")
                    }
                    _ => problem,
                };
                self.report(problem.at(span));
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
                    clauses.actor = Some(FoundActor {
                        form,
                        may_act_ignored: may_act_ignored.as_deref(),
                        span,
                    });
                }
                Clause::Via(value) => clauses.via = Some(Found { value, span }),
                Clause::Issue(value) => clauses.issue = Some(Found { value, span }),
                Clause::When(condition) => clauses.when.push(condition),
                Clause::Use {
                    processor,
                    parameters,
                } => clauses.use_ = Some((processor, parameters)),
                Clause::Overrides(names) => clauses.overrides = names,
                Clause::Because(text) => clauses.because = Some(text),
                Clause::Tell(text) => clauses.tell = Some(text),
                Clause::Error(text) => clauses.error = Some(text),
            }
        }
        clauses
    }

    /// What rules override must be rules, and no rule may override itself by way of others.
    fn overrides(&mut self, files: &'a [ast::File]) {
        let mut places: BTreeMap<RuleId, (usize, &'a ast::Rule)> = BTreeMap::new();
        let rules = || files.iter().flat_map(|f| f.rules().map(move |r| (f, r)));
        for (index, (file, rule)) in rules().enumerate() {
            places.insert(rule_id(&file.module, rule), (index, rule));
        }
        let mut below: Vec<Vec<usize>> = Vec::new();
        let mut clauses: Vec<Vec<(usize, &'a Span)>> = Vec::new();
        for (file, rule) in rules() {
            let mut mine = Vec::new();
            let mut seen: BTreeMap<RuleId, &Span> = BTreeMap::new();
            let mut mine_at = Vec::new();
            for clause in &rule.clauses {
                let Clause::Overrides(names) = &clause.value else {
                    continue;
                };
                for name in names {
                    let id = referenced(&file.module, &name.value);
                    if let Some(first) = seen.insert(id.clone(), &name.span) {
                        let message = format!("`{}` is listed twice", name.value);
                        let problem = Diagnostic::error("E0121", message).at(&name.span);
                        self.report(problem.related(first, "first listed here"));
                    }
                    match places.get(&id) {
                        Some((_, other)) if other.kind == ItemKind::Deny => {
                            let message =
                                format!("`{}` is a deny: nothing overrides it", name.value);
                            let problem = Diagnostic::error("E0505", message).at(&name.span);
                            let help = "say the exception in the deny's own `when`";
                            self.report(problem.related(&other.name.span, "this deny").help(help));
                        }
                        Some((index, _)) => {
                            mine.push(*index);
                            mine_at.push((*index, &name.span));
                        }
                        None => {
                            let rules = places
                                .iter()
                                .filter(|(_, (_, rule))| rule.kind == ItemKind::Rule)
                                .map(|(id, _)| id);
                            self.report(no_rule("E0207", &id, name, &file.module, rules));
                        }
                    }
                }
            }
            below.push(mine);
            clauses.push(mine_at);
        }
        for (from, to) in circles(&below) {
            let mut names = clauses.get(from).into_iter().flatten();
            if let Some((_, span)) = names.find(|(index, _)| *index == to) {
                let message = if from == to {
                    "a rule cannot override itself"
                } else {
                    "these rules override each other in a circle: none would win"
                };
                self.report(Diagnostic::error("E0504", message).at(span));
            }
        }
    }

    fn not_in_this_build(&mut self, what: &str, needs: &str, span: &Span) {
        self.report(not_in_this_build(what, needs, span));
    }

    /// Whose claims a rule's conditions may name.
    fn parties(&self, clauses: &Clauses<'_>, kind: ItemKind) -> Parties {
        let from = clauses.from.as_ref().and_then(|found| found.value.as_ref());
        let from: Option<Vec<&Text>> =
            from.map(|list| list.iter().map(|issuer| &issuer.alias).collect());
        let (actor, acting) = match clauses.actor.as_ref().map(|found| found.form) {
            Some(ast::ActorForm::Token(word, aliases)) => {
                let aliases: Vec<&Text> = aliases.iter().collect();
                (
                    Some(self.of_issuers(Some(&aliases))),
                    &*word.value != "optional",
                )
            }
            Some(ast::ActorForm::None | ast::ActorForm::Client) => (None, false),
            None => (
                Some(self.of_issuers(None)).filter(|_| kind == ItemKind::Deny),
                false,
            ),
        };
        let form = clauses.actor.as_ref();
        let ignored = form.is_some_and(|found| found.may_act_ignored.is_some());
        let none = form.is_none_or(|found| *found.form == ast::ActorForm::None);
        Parties {
            subject: self.of_issuers(from.as_deref()),
            actor,
            acting,
            nobody: kind == ItemKind::Rule && none && !ignored,
        }
    }

    /// Any issuer, and anybody who acts.
    fn everybody(&self) -> Parties {
        Parties {
            subject: self.of_issuers(None),
            actor: Some(self.of_issuers(None)),
            acting: false,
            nobody: false,
        }
    }

    /// The places of the issuers with these aliases; of all, where none are named.
    fn of_issuers(&self, named: Option<&[&Text]>) -> Vec<usize> {
        let issuers = self.schema.issuers.iter().enumerate();
        issuers
            .filter(|(_, issuer)| {
                named.is_none_or(|list| list.iter().any(|t| *t.value == *issuer.alias.as_str()))
            })
            .map(|(index, _)| index)
            .collect()
    }

    /// What a path names; reports a path that names nothing here.
    fn resolve(&mut self, path: &Text, scope: Scope<'_>) -> Option<Resolved> {
        self.lookup(path, scope)
            .map_err(|problem| self.problems.extend(problem))
            .ok()
    }

    /// The type of an attribute that may be absent here.
    fn optional(&self, attribute: &AttributeRef, scope: Scope<'_>) -> Option<Type> {
        let (ty, optional) = match attribute {
            AttributeRef::Field(field) => (field.ty, field.optional),
            AttributeRef::Fixed(_)
            | AttributeRef::Claim(_)
            | AttributeRef::ActorClaim(_)
            | AttributeRef::ClientAttribute(_) => {
                let text = Text {
                    value: Arc::from(attribute.path()),
                    span: Span::new(&Arc::from(""), 0..0),
                };
                let resolved = self
                    .lookup(
                        &text,
                        Scope {
                            hop: false,
                            ..scope
                        },
                    )
                    .ok()?;
                (resolved.ty, resolved.optional)
            }
        };
        optional.then_some(ty)
    }

    /// What a path names: the attribute, its type, whether it may be absent, its separators.
    fn lookup(&self, path: &Text, scope: Scope<'_>) -> Result<Resolved, Diagnostics> {
        let text = &*path.value;
        let wrong = |code, message: String| Diagnostic::error(code, message).at(&path.span);
        if text == "it" || text.starts_with("it.") {
            let Some(field) = FIELDS.iter().find(|field| field.path == text) else {
                let problem = wrong("E0204", format!("unknown attribute `{text}`"));
                let known = FIELDS.iter().map(|field| field.path);
                return Err(problem.suggest(text, known).into());
            };
            if !scope.hop {
                let problem = wrong(
                    "E0204",
                    format!("`{text}` means something in `where (…)` only"),
                );
                let help = "write `any subject.chain where (it.issuer == \"unknown\")`";
                return Err(problem.help(help).into());
            }
            return Ok(Resolved {
                attribute: AttributeRef::Field(field),
                ty: field.ty,
                optional: field.optional,
                separators: field.separators.to_owned(),
                mixed: false,
            });
        }
        if scope.hop {
            let problem = wrong("E0208", format!("`{text}` cannot be tested in `where (…)`"));
            return Err(problem
                .help("there, `it` is the actor: `it.issuer`, `it.sub`, `it.client_id`")
                .into());
        }
        let acted = ["subject.act", "subject.may_act"];
        if scope.parties.nobody && acted.iter().any(|begins| text.starts_with(begins)) {
            let problem = wrong(
                "E0208",
                format!("`{text}`: under `actor none` there is none"),
            );
            let help = "a rule without `actor` takes no token that has one: write `actor client`";
            return Err(problem.help(help).into());
        }
        let found = ATTRIBUTES.iter().find(|a| a.path == text);
        let of_actor = found.is_some() || text.starts_with(ACTOR_CLAIMS);
        if of_actor && text.starts_with("actor.") && scope.parties.actor.is_none() {
            let problem = wrong("E0208", format!("`{text}`: this rule takes no actor token"));
            let help = "say whose: `actor required from ALIAS`";
            return Err(problem.help(help).into());
        }
        if let Some(attribute) = found {
            if attribute.ty == Type::Hops && scope.kind == ItemKind::Rule {
                let problem = wrong("E0217", format!("a rule cannot test `{text}`"));
                let help = "earlier actors give no rights (RFC 8693 section 4.1); a deny may refuse for them";
                return Err(problem.help(help).into());
            }
            return Ok(Resolved {
                attribute: AttributeRef::Fixed(attribute),
                ty: attribute.ty,
                optional: attribute.optional
                    && !(scope.parties.acting && OF_ACTORS.contains(&attribute.path)),
                separators: attribute.separators.to_owned(),
                mixed: false,
            });
        }
        if let Some(name) = text.strip_prefix(CLAIMS) {
            return self.lookup_claim(name, path, &scope.parties.subject, AttributeRef::Claim);
        }
        if let Some(name) = text.strip_prefix(ACTOR_CLAIMS) {
            let actor = scope.parties.actor.as_deref().unwrap_or_default();
            let mut resolved = self.lookup_claim(name, path, actor, AttributeRef::ActorClaim)?;
            resolved.optional |= !scope.parties.acting;
            return Ok(resolved);
        }
        if let Some(name) = text.strip_prefix(CLIENT_ATTRIBUTES) {
            if let Some((key, ty)) = self.schema.client_attributes.get_key_value(name) {
                return Ok(Resolved {
                    attribute: AttributeRef::ClientAttribute(Arc::clone(key)),
                    ty: (*ty).into(),
                    optional: true,
                    separators: ":/".to_owned(),
                    mixed: false,
                });
            }
            let known = self.schema.client_attributes.keys().map(|name| &**name);
            let problem = wrong(
                "E0204",
                format!("client attribute `{name}` is not declared"),
            );
            let problem = problem.suggest(name, known);
            return Err(problem.help("declare it in `client_attributes:`").into());
        }
        let later = LATER.iter().find(|(prefix, _)| {
            text == *prefix
                || text
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        if let Some((_, needs)) = later {
            return Err(not_in_this_build(text, needs, &path.span).into());
        }
        let problem = wrong("E0204", format!("unknown attribute `{text}`"));
        if matches!(text, "null" | "nil" | "undefined") {
            let help = "what is not there is said with `absent ATTRIBUTE`";
            return Err(problem.help(help).into());
        }
        Err(problem
            .correct(text, ATTRIBUTES.iter().map(|a| a.path))
            .into())
    }

    fn lookup_claim(
        &self,
        name: &str,
        path: &Text,
        issuers: &[usize],
        reference: fn(Arc<str>) -> AttributeRef,
    ) -> Result<Resolved, Diagnostics> {
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
                return Err(Diagnostics::default()); // none of the rule's issuers exists, which was said
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
            return Err(problem
                .help("declare it under the issuer's `claims:`")
                .into());
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
            let problem = Diagnostic::error("E0202", message).at(&path.span);
            let help = match self.of_proof {
                true => "a proof speaks of every issuer: declare one type",
                false => "narrow `from`, or declare one type",
            };
            return Err(problem.help(help).into());
        }
        let optional =
            declared.len() < schemas.len() || declared.iter().any(|(_, (_, claim))| claim.optional);
        Ok(Resolved {
            attribute: reference(Arc::clone(key)),
            ty: first.ty.into(),
            optional,
            separators: first.separators.clone(),
            mixed: declared.iter().any(|(_, (_, claim))| {
                let of = |text: &str| text.chars().collect::<BTreeSet<char>>();
                of(&claim.separators) != of(&first.separators)
            }),
        })
    }
}

#[derive(Clone)]
struct Resolved {
    attribute: AttributeRef,
    ty: Type,
    optional: bool,
    separators: String,
    /// Whether issuers declare different separators for it.
    mixed: bool,
}

fn not_in_this_build(what: &str, needs: &str, span: &Span) -> Diagnostic {
    let message = format!("`{what}` needs {needs}, which this build does not have");
    Diagnostic::error("E0203", message).at(span)
}

/// The rule that a name means in a module: one of its own, or `module.rule`.
pub(super) fn referenced(module: &Text, name: &str) -> RuleId {
    match name.split_once('.') {
        Some((module, name)) => RuleId {
            module: Arc::from(module),
            name: Arc::from(name),
        },
        None => RuleId {
            module: Arc::clone(&module.value),
            name: Arc::from(name),
        },
    }
}

/// The finding for the name of a rule that is not there: another module may have it.
pub(super) fn no_rule<'a>(
    code: &'static str,
    id: &RuleId,
    written: &Text,
    module: &Text,
    rules: impl Iterator<Item = &'a RuleId>,
) -> Diagnostic {
    let problem = Diagnostic::error(code, format!("no rule is called `{id}`")).at(&written.span);
    let known: Vec<&RuleId> = rules.collect();
    let mut elsewhere = known.iter().filter(|other| other.name == id.name);
    if let (Some(other), None) = (elsewhere.next(), elsewhere.next()) {
        return problem.help(format!("did you mean `{other}`?"));
    }
    let here = format!("{}.", module.value);
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    let known = known
        .iter()
        .map(|id| id.strip_prefix(&here).unwrap_or(id.as_str()));
    problem.suggest(&written.value, known)
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
    let (mut scope, mut rest): (Vec<_>, Vec<_>) = parts.into_iter().partition(about_scope);
    scope.shrink_to_fit();
    rest.shrink_to_fit();
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
