//! YAML → tree. What YAML gives is data: a name must be a name and a string stays a string, so that no
//! scalar can bring structure with it.

use std::sync::Arc;

use super::LITERAL_TYPES;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::policy::syntax::ast::{
    ActorForm, At, Clause, Condition, Def, Expectation, Field, File, GivenValue, Import, IssuerRef,
    Item, ItemKind, ListDef, Literal, MatchKind, Matcher, Parameter, Proof, Rule, Spanned, Strings,
    Target, TargetsForm, Test, Text,
};
use crate::policy::syntax::{self, Place, comments, word};
use crate::section::{self, Key, Node, Value};

/// Reads a policy in the YAML spelling.
///
/// # Errors
/// Everything that is wrong with it; a mistake in the YAML itself ends the file there.
pub fn read(file: &Arc<str>, text: &str) -> Result<File, Diagnostics> {
    let root = section::parse(file, text)?;
    let mut reader = Reader {
        text,
        problems: Diagnostics::default(),
    };
    match reader.file(root) {
        Some(tree) if !reader.problems.has_errors() => Ok(tree),
        _ => Err(reader.problems),
    }
}

/// How many brackets of the text spelling are open around a piece, so that both have one limit.
const IN_ITEM: usize = 1;
const IN_BLOCK: usize = 2;

/// A message about a piece of text, the author's words as they are.
fn of_text(message: &str) -> String {
    let parts = message.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => part.replace("the end of the file", "the end of the text"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

struct Reader<'a> {
    text: &'a str,
    problems: Diagnostics,
}

impl Reader<'_> {
    fn problem(&mut self, span: &Span, message: impl Into<String>, help: &str) {
        let problem = Diagnostic::error("E0105", message).at(span);
        self.problems.push(problem.help(help));
    }

    fn unknown(&mut self, key: &Key, known: &[&str]) {
        let problem = Diagnostic::error("E1002", format!("unknown key `{}`", key.name));
        let problem = problem.at(&key.span);
        self.problems
            .push(problem.correct(&key.name, known.iter().copied()));
    }

    /// The entries of a mapping.
    fn entries(&mut self, node: Node) -> Vec<(Key, Node)> {
        let section = node.section(&mut self.problems);
        section.map_or(Vec::new(), section::Section::into_entries)
    }

    /// A scalar that must be of some form.
    fn word(&mut self, node: &Node, what: &str, is: fn(&str) -> bool) -> Option<Text> {
        let value = node.text(&mut self.problems)?;
        self.checked(value, &node.span, what, is)
    }

    fn key(&mut self, key: &Key, what: &str, is: fn(&str) -> bool) -> Option<Text> {
        self.checked(Arc::clone(&key.name), &key.span, what, is)
    }

    fn checked(
        &mut self,
        value: Arc<str>,
        span: &Span,
        what: &str,
        is: fn(&str) -> bool,
    ) -> Option<Text> {
        if is(&value) {
            let span = span.clone();
            return Some(Spanned { value, span });
        }
        let (message, help) = if what == STRING {
            let help = "at most 4096 bytes on one line, without invisible characters";
            ("this cannot be a string of a policy".to_owned(), help)
        } else {
            let shown: String = value.chars().filter(|c| !c.is_control()).take(64).collect();
            let help = "names have letters, digits, `_` and `-`, and begin with a letter or `_`";
            (format!("`{shown}` is no {what}"), help)
        };
        self.problem(span, message, help);
        None
    }

    fn name(&mut self, node: &Node) -> Option<Text> {
        self.word(node, "name", word::is_name)
    }

    fn string(&mut self, node: &Node) -> Option<Text> {
        self.word(node, STRING, word::is_string)
    }

    /// All of them, or nothing when one is missing; every one is looked at.
    fn every<T>(
        &mut self,
        nodes: Vec<Node>,
        mut read: impl FnMut(&mut Self, Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let read: Vec<Option<T>> = nodes.into_iter().map(|node| read(self, node)).collect();
        read.into_iter().collect()
    }

    /// One or more.
    fn some<T>(
        &mut self,
        node: Node,
        read: impl FnMut(&mut Self, Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let span = node.span.clone();
        let nodes = node.list();
        if nodes.is_empty() {
            self.problem(
                &span,
                "this list is empty",
                "an empty list would match nothing",
            );
            return None;
        }
        self.every(nodes, read)
    }

    /// Text of the language, and where it stands: where it is written as it is, to the byte.
    fn language<'n>(&mut self, node: &'n Node, depth: usize) -> Option<(Place, &'n str)> {
        let text = match &node.value {
            Value::Scalar(text) => text,
            Value::Null => {
                node.text(&mut self.problems);
                return None;
            }
            Value::List(_) | Value::Map(_) => {
                let help = "write it as a policy would have it, in quotes: `'[\"a\", \"b\"]'`";
                self.problem(&node.span, "expected text of the policy language", help);
                return None;
            }
        };
        let span = &node.span;
        let written = self.text.get(span.start..span.end).unwrap_or_default();
        if written.contains(['\n', '\r']) || text.contains('\n') {
            let help = "conditions and values stand on one line, plain or in quotes";
            self.problem(span, "this text has more than one line", help);
            return None;
        }
        let inner = written.get(1..written.len().saturating_sub(1));
        let start = if written == &**text {
            Some(span.start)
        } else if inner == Some(&**text) {
            Some(span.start + 1)
        } else {
            None
        };
        if let Some(at) = comments::begins(text) {
            let at = start.map(|start| Span::new(&span.file, start + at..start + text.len()));
            let help =
                "write it as a comment of the YAML: behind the quotes, or on a line of its own";
            let message = "a comment cannot stand in text of the policy language here";
            self.problem(&at.unwrap_or_else(|| span.clone()), message, help);
            return None;
        }
        let place = match start {
            Some(start) => Place::at(&span.file, start),
            None => Place::within(span),
        };
        Some((place.nested(depth), text))
    }

    /// What was read of a piece of text; what its end is called is put right, which is not the file's.
    fn keep<T>(&mut self, result: Result<T, Diagnostics>) -> Option<T> {
        let keep = |found: Diagnostics| {
            for finding in found.sorted() {
                let message = of_text(&finding.message);
                self.problems.push(Diagnostic {
                    message,
                    ..finding.clone()
                });
            }
        };
        result.map_err(keep).ok()
    }

    // ── a file ──────────────────────────────────────────────────────────────────────────────────

    fn file(&mut self, root: Node) -> Option<File> {
        let mut section = root.section(&mut self.problems)?;
        // What the file as a whole lacks is shown at its first line.
        section.span.end = section.span.start;
        if let Some(version) = section.require("policy", &mut self.problems)
            && let Some(text) = version.text(&mut self.problems)
            && &*text != "1"
        {
            let message = format!("this build reads version 1 of the policy language, not {text}");
            let problem = Diagnostic::error("E0102", message).at(&version.span);
            self.problems.push(problem);
        }
        let module = section.require("module", &mut self.problems);
        let module = module.and_then(|module| self.name(&module));
        let mut take = |name| {
            section
                .take(name)
                .map_or(Vec::new(), |node| self.entries(node))
        };
        let (imports, lists, defs) = (take("imports"), take("lists"), take("defs"));
        let (rules, denies) = (take("rules"), take("denies"));
        let (tests, proofs) = (section.take("tests"), section.take("proofs"));
        section.finish(&mut self.problems);

        let imports = imports
            .into_iter()
            .map(|(key, node)| self.import(&key, node));
        let imports: Vec<Option<Import>> = imports.collect();
        let mut items: Vec<Option<Item>> = Vec::new();
        for (key, node) in lists {
            items.push(self.list(&key, node).map(Item::List));
        }
        for (key, node) in defs {
            items.push(self.def(&key, node).map(Item::Def));
        }
        for (key, node) in rules {
            items.push(self.rule(ItemKind::Rule, &key, node).map(Item::Rule));
        }
        for (key, node) in denies {
            items.push(self.rule(ItemKind::Deny, &key, node).map(Item::Rule));
        }
        for node in self.named("tests", tests) {
            items.push(self.test(node).map(Item::Test));
        }
        for node in self.named("proofs", proofs) {
            items.push(self.proof(node).map(Item::Proof));
        }
        Some(File {
            module: module?,
            imports: imports.into_iter().collect::<Option<_>>()?,
            items: items.into_iter().collect::<Option<_>>()?,
            comments: Vec::new(),
        })
    }

    /// What stands under a key whose items have their names inside.
    fn named(&mut self, key: &str, node: Option<Node>) -> Vec<Node> {
        match node.map(|node| (node.span, node.value)) {
            None => Vec::new(),
            Some((_, Value::List(nodes))) => nodes,
            Some((span, _)) => {
                let help = "each begins with `- name: …`";
                self.problem(&span, format!("`{key}` is a list"), help);
                Vec::new()
            }
        }
    }

    fn import(&mut self, key: &Key, node: Node) -> Option<Import> {
        let span = At(whole(key, &node));
        let module = self.key(key, "name", word::is_name);
        let is = |text: &str| word::is_name(text) || word::is_list_name(text);
        let names = self.some(node, |it, node| it.word(&node, "name", is));
        Some(Import {
            names: names?,
            module: module?,
            span,
        })
    }

    /// The lines of a `##` comment.
    fn doc(&mut self, node: &Node) -> Option<Arc<str>> {
        let text = node.text(&mut self.problems)?;
        // A block (`|`) ends in the line end of its last line, which is no line of its own.
        let text = text.trim_end_matches('\n');
        if !word::is_plain(text) {
            let help = "remove it; other spellings could not show it";
            self.problem(
                &node.span,
                "an invisible character stands in this text",
                help,
            );
            return None;
        }
        let lines: Vec<&str> = text.split('\n').map(str::trim_end).collect();
        Some(Arc::from(lines.join("\n").trim_end_matches('\n')))
    }

    fn list(&mut self, key: &Key, node: Node) -> Option<ListDef> {
        let span = At(whole(key, &node));
        let name = self.key(key, "name of a list (`@name`)", word::is_list_name);
        let mut section = node.section_of(key, &mut self.problems)?;
        let doc = section.take("doc").map(|node| self.doc(&node));
        let ty = section.require("type", &mut self.problems);
        let ty = ty.and_then(|ty| self.name(&ty));
        let members = section.require("members", &mut self.problems);
        section.finish(&mut self.problems);
        let (ty, members) = (ty?, members?);
        let literals = LITERAL_TYPES.contains(&&*ty.value);
        let Value::List(members) = members.value else {
            let problem = Diagnostic::error("E1004", "expected a list").at(&members.span);
            self.problems.push(problem);
            return None;
        };
        let members = self.every(members, |it, node| it.member(node, literals));
        Some(ListDef {
            name: name?,
            ty,
            members: members?,
            doc: transpose(doc)?,
            span,
        })
    }

    fn member(&mut self, node: Node, literal: bool) -> Option<Spanned<Literal>> {
        if let Value::Map(_) = node.value {
            let span = node.span.clone();
            let mut entries = self.entries(node).into_iter();
            return match (entries.next(), entries.next()) {
                (Some((key, node)), None) if &*key.name == "literal" => self.literal(&node),
                _ => {
                    let help = "write a string, or `{ literal: '5m' }`";
                    self.problem(&span, "this is no member of a list", help);
                    None
                }
            };
        }
        if literal {
            return self.literal(&node);
        }
        let text = self.string(&node)?;
        Some(Spanned {
            value: Literal::String(text.value),
            span: text.span,
        })
    }

    fn literal(&mut self, node: &Node) -> Option<Spanned<Literal>> {
        let (place, text) = self.language(node, IN_ITEM)?;
        let given = self.keep(syntax::given(place, text))?;
        match given.value {
            GivenValue::Literal(value) => Some(Spanned {
                value,
                span: given.span,
            }),
            _ => {
                let help = "as in `5m`, `12`, `true`, `2026-12-01T08:00:00Z` or `'\"text\"'`";
                self.problem(&node.span, "expected a constant", help);
                None
            }
        }
    }

    fn def(&mut self, key: &Key, node: Node) -> Option<Def> {
        let span = At(whole(key, &node));
        let name = self.key(key, "name", word::is_name);
        let (doc, condition) = match node.value {
            Value::Map(_) => {
                let mut section = node.section_of(key, &mut self.problems)?;
                let doc = section.take("doc").map(|node| self.doc(&node));
                let when = section.require("when", &mut self.problems);
                section.finish(&mut self.problems);
                (doc, when.and_then(|when| self.conditions(when, 0)))
            }
            _ => (None, self.conditions(node, 0)),
        };
        Some(Def {
            name: name?,
            condition: condition?,
            doc: transpose(doc)?,
            span,
        })
    }

    /// One condition, or a list of them joined with `and`.
    fn conditions(&mut self, node: Node, depth: usize) -> Option<Condition> {
        let read = |it: &mut Self, node: Node| {
            let (place, text) = it.language(&node, depth)?;
            it.keep(syntax::condition(place, text))
        };
        let mut terms = self.some(node, read)?;
        match terms.len() {
            1 => terms.pop(),
            _ => Some(Condition::And(terms)),
        }
    }

    // ── rules ───────────────────────────────────────────────────────────────────────────────────

    fn rule(&mut self, kind: ItemKind, key: &Key, node: Node) -> Option<Rule> {
        let span = At(whole(key, &node));
        let name = self.key(key, "name", word::is_name);
        let mut doc = None;
        let mut clauses = Vec::new();
        for (key, node) in self.entries(node) {
            let span = whole(&key, &node);
            if &*key.name == "doc" {
                doc = Some(self.doc(&node));
            } else if word::CLAUSES.contains(&&*key.name) {
                let clause = self.clause(&key, node);
                clauses.push(clause.map(|value| Spanned { value, span }));
            } else {
                self.unknown(&key, &[&["doc"][..], &word::CLAUSES].concat());
            }
        }
        Some(Rule {
            kind,
            name: name?,
            clauses: clauses.into_iter().collect::<Option<_>>()?,
            doc: transpose(doc)?,
            span,
        })
    }

    fn clause(&mut self, key: &Key, node: Node) -> Option<Clause> {
        Some(match &*key.name {
            "from" if is(&node, "any issuer") => Clause::From(None),
            "from" => Clause::From(Some(self.some(node, Self::issuer)?)),
            "by" if is(&node, "any client") => Clause::By(None),
            "by" => {
                let mut section = node.section_of(key, &mut self.problems)?;
                let client = section.require("client", &mut self.problems);
                section.finish(&mut self.problems);
                Clause::By(Some(self.matcher(client?)?))
            }
            "to" => Clause::To(self.some(node, Self::targets)?),
            "actor" => self.actor(node)?,
            "via" => Clause::Via(self.name(&node)?),
            "issue" => Clause::Issue(self.string(&node)?),
            "when" => Clause::When(self.conditions(node, IN_ITEM)?),
            "use" => self.uses(node)?,
            "overrides" => Clause::Overrides(self.some(node, |it, node| {
                it.word(&node, "name of a rule", word::is_rule_name)
            })?),
            "because" => Clause::Because(self.string(&node)?),
            "tell" => Clause::Tell(self.string(&node)?),
            _ => Clause::Error(self.name(&node)?),
        })
    }

    fn issuer(&mut self, node: Node) -> Option<IssuerRef> {
        let Value::Map(_) = node.value else {
            let alias = self.word(&node, "alias of an issuer", word::is_name)?;
            return Some(IssuerRef {
                alias,
                token_type: None,
            });
        };
        let span = node.span.clone();
        let mut entries = self.entries(node).into_iter();
        let (Some((key, node)), None) = (entries.next(), entries.next()) else {
            let help = "one issuer and the type of its token: `{ corp: id_token }`";
            self.problem(&span, "this is no issuer", help);
            return None;
        };
        let alias = self.key(&key, "alias of an issuer", word::is_name);
        let token_type = self.string(&node);
        Some(IssuerRef {
            alias: alias?,
            token_type: Some(token_type?),
        })
    }

    fn matcher(&mut self, node: Node) -> Option<Matcher> {
        let equal = |strings| Matcher {
            kind: MatchKind::Equal,
            strings,
        };
        let Value::Map(entries) = &node.value else {
            return self.strings(node).map(equal);
        };
        let kind = match entries.as_slice() {
            [(key, _)] if &*key.name == "under" => MatchKind::Under,
            [(key, _)] if &*key.name == "like" => MatchKind::Like,
            [(key, _)] if &*key.name == "string" => return self.strings(node).map(equal),
            _ => {
                let help = "write a string, a list of them, `{ under: … }` or `{ like: … }`";
                self.problem(&node.span, "this says not what must match", help);
                return None;
            }
        };
        let (_, strings) = self.entries(node).pop()?;
        let strings = self.strings(strings)?;
        Some(Matcher { kind, strings })
    }

    /// A list of the policy, or strings.
    fn strings(&mut self, node: Node) -> Option<Strings> {
        match &node.value {
            Value::Scalar(text) if text.starts_with('@') => {
                let name = self.word(&node, "name of a list (`@name`)", word::is_list_name)?;
                Some(Strings::List(name))
            }
            _ => Some(Strings::Written(self.some(node, Self::one_string)?)),
        }
    }

    /// A string; one that begins with `@` must say that it is one.
    fn one_string(&mut self, node: Node) -> Option<Text> {
        let help =
            "a list of the policy stands alone (`'@x'`), a string is written `{ string: '@x' }`";
        match &node.value {
            Value::Map(entries) => match entries.as_slice() {
                [(key, node)] if &*key.name == "string" => self.string(node),
                _ => {
                    self.problem(&node.span, "expected a string", help);
                    None
                }
            },
            Value::Scalar(text) if text.starts_with('@') => {
                let message = "this may be the name of a list or a string";
                self.problem(&node.span, message, help);
                None
            }
            _ => self.string(&node),
        }
    }

    fn targets(&mut self, node: Node) -> Option<TargetsForm> {
        if is(&node, "any target") {
            return Some(TargetsForm::Any);
        }
        if is(&node, "no target") {
            return Some(TargetsForm::None);
        }
        let span = node.span.clone();
        let entries = self.entries(node);
        if entries.is_empty() {
            let help = "`any target`, `no target`, or `{ resource: …, audience: … }`";
            self.problem(&span, "no target is named here", help);
            return None;
        }
        let mut parts = Vec::new();
        for (key, node) in entries {
            let span = At(whole(&key, &node));
            let resource = &*key.name == "resource";
            if !resource && &*key.name != "audience" {
                self.unknown(&key, &["resource", "audience"]);
                continue;
            }
            let matcher = self.matcher(node);
            parts.push(matcher.map(|matcher| Target {
                resource,
                matcher,
                span,
            }));
        }
        let parts: Option<Vec<Target>> = parts.into_iter().collect();
        parts.map(TargetsForm::Parts)
    }

    fn actor(&mut self, node: Node) -> Option<Clause> {
        const KNOWN: [&str; 5] = ["is", "named", "required", "optional", "may_act"];
        const HELP: &str =
            "`none`, `client`, or one of `{ named: … }`, `{ required: … }`, `{ optional: … }`";
        let Value::Map(_) = node.value else {
            let form = self.simple_actor(&node, HELP)?;
            return Some(Clause::Actor {
                form,
                may_act_ignored: None,
            });
        };
        let span = node.span.clone();
        let (mut forms, mut may_act_ignored) = (Vec::new(), None);
        for (key, node) in self.entries(node) {
            match &*key.name {
                "is" => forms.push(self.simple_actor(&node, HELP)),
                "named" | "required" | "optional" => {
                    let word = Spanned {
                        value: Arc::clone(&key.name),
                        span: key.span.clone(),
                    };
                    let issuers = self.some(node, |it, node| {
                        it.word(&node, "alias of an issuer", word::is_name)
                    });
                    forms.push(issuers.map(|issuers| ActorForm::Token(word, issuers)));
                }
                "may_act" if is(&node, "ignored") => may_act_ignored = Some(At(whole(&key, &node))),
                "may_act" => {
                    let help = "leave it out where it counts";
                    self.problem(&node.span, "`may_act` can only be `ignored`", help);
                }
                _ => self.unknown(&key, &KNOWN),
            }
        }
        if forms.len() != 1 {
            self.problem(&span, "`actor` says one thing", HELP);
            return None;
        }
        Some(Clause::Actor {
            form: forms.pop()??,
            may_act_ignored,
        })
    }

    fn simple_actor(&mut self, node: &Node, help: &str) -> Option<ActorForm> {
        match &*node.text(&mut self.problems)? {
            "none" => Some(ActorForm::None),
            "client" => Some(ActorForm::Client),
            _ => {
                self.problem(&node.span, "this is no actor", help);
                None
            }
        }
    }

    fn uses(&mut self, node: Node) -> Option<Clause> {
        let Value::Map(_) = node.value else {
            let processor = self.word(&node, "id of a processor", word::is_name)?;
            return Some(Clause::Use {
                processor,
                parameters: Vec::new(),
            });
        };
        let span = node.span.clone();
        let mut entries = self.entries(node).into_iter();
        let (Some((key, node)), None) = (entries.next(), entries.next()) else {
            let help = "`use: mint`, or `use: { mint: { lifetime: at_most 5m } }`";
            self.problem(&span, "`use` names one processor", help);
            return None;
        };
        let processor = self.key(&key, "id of a processor", word::is_name);
        let mut parameters = Vec::new();
        for (key, node) in self.entries(node) {
            parameters.push(self.parameter(&key, &node));
        }
        Some(Clause::Use {
            processor: processor?,
            parameters: parameters.into_iter().collect::<Option<_>>()?,
        })
    }

    fn parameter(&mut self, key: &Key, node: &Node) -> Option<Parameter> {
        let name = self.key(key, STRING, word::is_string);
        let (place, text) = self.language(node, IN_BLOCK)?;
        let (values, beyond) = self.keep(syntax::values(place, text))?;
        Some(Parameter {
            name: name?,
            values,
            beyond,
        })
    }

    // ── tests ───────────────────────────────────────────────────────────────────────────────────

    fn test(&mut self, node: Node) -> Option<Test> {
        let span = At(node.span.clone());
        let mut section = node.section(&mut self.problems)?;
        section.span.end = section.span.start;
        let name = section.require("name", &mut self.problems);
        let name = name.and_then(|name| self.string(&name));
        let doc = section.take("doc").map(|node| self.doc(&node));
        let given = section.take("given");
        let expect = section.require("expect", &mut self.problems);
        section.finish(&mut self.problems);
        let given = given.map_or(Some(Vec::new()), |node| {
            self.fields(node, "path", word::is_path)
        });
        let expect = expect.and_then(|node| {
            let span = node.span.clone();
            let value = self.expectation(node)?;
            Some(Spanned { value, span })
        });
        Some(Test {
            name: name?,
            given: given?,
            expect: expect?,
            doc: transpose(doc)?,
            span,
        })
    }

    fn fields(&mut self, node: Node, what: &str, is: fn(&str) -> bool) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        for (key, node) in self.entries(node) {
            let name = self.key(&key, what, is);
            let text = self.language(&node, IN_BLOCK);
            let value = text.and_then(|(place, text)| self.keep(syntax::given(place, text)));
            fields.push(name.zip(value).map(|(name, value)| Field { name, value }));
        }
        fields.into_iter().collect()
    }

    fn expectation(&mut self, node: Node) -> Option<Expectation> {
        const KNOWN: [&str; 4] = ["use", "refuse", "by", "issued"];
        let span = node.span.clone();
        let (mut uses, mut refuse, mut by, mut issued) = (None, None, None, None);
        for (key, node) in self.entries(node) {
            match &*key.name {
                "use" => uses = Some(self.word(&node, "id of a processor", word::is_name)?),
                "refuse" if is(&node, "any") => refuse = Some(None),
                "refuse" => refuse = Some(Some(self.word(&node, "code", word::is_code)?)),
                "by" => by = Some(self.word(&node, "name of a rule", word::is_rule_name)?),
                "issued" => {
                    let fields = self.fields(node, STRING, word::is_string)?;
                    issued = Some((key.span, fields));
                }
                _ => self.unknown(&key, &KNOWN),
            }
        }
        match (uses, refuse, issued) {
            (Some(processor), None, issued) => Some(Expectation::Use {
                processor,
                by,
                fields: issued.map_or(Vec::new(), |(_, fields)| fields),
            }),
            (None, Some(code), None) => Some(Expectation::Refuse { code, by }),
            (None, Some(_), Some((span, _))) => {
                let help = "`issued` goes with `use`";
                self.problem(&span, "nothing is issued where a request is refused", help);
                None
            }
            _ => {
                let help = "`{ use: mint }`, `{ refuse: invalid_target }` or `{ refuse: any }`";
                self.problem(&span, "a test expects one of `use` and `refuse`", help);
                None
            }
        }
    }

    // ── proofs ──────────────────────────────────────────────────────────────────────────────────

    fn proof(&mut self, node: Node) -> Option<Proof> {
        let span = At(node.span.clone());
        let mut section = node.section(&mut self.problems)?;
        section.span.end = section.span.start;
        let name = section.require("name", &mut self.problems);
        let name = name.and_then(|name| self.string(&name));
        let doc = section.take("doc").map(|node| self.doc(&node));
        let claims = section.require("prove", &mut self.problems);
        section.finish(&mut self.problems);
        let claims = self.every(claims?.list(), |it, node| {
            let (place, text) = it.language(&node, IN_ITEM)?;
            it.keep(syntax::claim(place, text))
        });
        Some(Proof {
            name: name?,
            claims: claims?,
            doc: transpose(doc)?,
            span,
        })
    }
}

/// What a string is called where it is refused.
const STRING: &str = "string";

fn is(node: &Node, text: &str) -> bool {
    matches!(&node.value, Value::Scalar(value) if &**value == text)
}

/// A key and its value.
fn whole(key: &Key, node: &Node) -> Span {
    let start = key.span.start;
    // Quoted keys and values end behind their quotes; an empty block has no extent of its own.
    let end = node.span.end.max(key.span.end);
    Span::new(&key.span.file, start..end)
}

/// What was there and could not be read is nothing at all.
fn transpose<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(None) => None,
        Some(some) => Some(some),
    }
}
