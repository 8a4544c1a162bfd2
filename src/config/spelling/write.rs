//! Tree → YAML. A scalar is plain where no reader of YAML could take it for anything but that text.

use std::collections::HashSet;
use std::sync::Arc;

use super::LITERAL_TYPES;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::syntax::ast::{
    ActorForm, Claim, Clause, Condition, Expectation, Field, File, Import, IssuerRef, Item,
    ItemKind, Literal, MatchKind, Matcher, Parameter, Proof, Rule, Spanned, Strings, TargetsForm,
    Test, Text,
};
use crate::policy::syntax::print;

/// How long a line of brackets may be, in characters.
const WIDTH: usize = 100;
/// The longest key that YAML reads without further signs, in characters.
const MAX_KEY: usize = 1024;

/// The tree as the YAML spelling has it: one import of each module, then lists, defs, rules, denies,
/// tests and proofs, each in the order written; the conditions of several `when` joined with `and`; no empty
/// lines at the end of a `##` comment. None of that changes what a policy says.
#[must_use]
pub fn normal(file: &File) -> File {
    let mut imports: Vec<Import> = Vec::new();
    for import in &file.imports {
        let same = |other: &&mut Import| other.module == import.module;
        match imports.iter_mut().find(same) {
            Some(first) => first.names.extend(import.names.iter().cloned()),
            None => imports.push(import.clone()),
        }
    }
    let mut items = file.items.clone();
    items.sort_by_key(|item| match item {
        Item::List(_) => 0,
        Item::Def(_) => 1,
        Item::Rule(rule) if rule.kind == ItemKind::Rule => 2,
        Item::Rule(_) => 3,
        Item::Test(_) => 4,
        Item::Proof(_) => 5,
    });
    for item in &mut items {
        let doc = match item {
            Item::List(list) => &mut list.doc,
            Item::Def(def) => &mut def.doc,
            Item::Rule(rule) => {
                join_conditions(rule);
                &mut rule.doc
            }
            Item::Test(test) => &mut test.doc,
            Item::Proof(proof) => &mut proof.doc,
        };
        *doc = doc
            .as_ref()
            .map(|doc| Arc::from(doc.trim_end_matches('\n')));
    }
    File {
        module: file.module.clone(),
        imports,
        items,
        comments: file.comments.clone(),
    }
}

fn join_conditions(rule: &mut Rule) {
    let mut conditions = Vec::new();
    rule.clauses.retain(|clause| match &clause.value {
        Clause::When(condition) => {
            conditions.push(condition.clone());
            conditions.len() == 1
        }
        _ => true,
    });
    if conditions.len() < 2 {
        return;
    }
    let when = rule
        .clauses
        .iter_mut()
        .find_map(|clause| match &mut clause.value {
            Clause::When(condition) => Some(condition),
            _ => None,
        });
    if let Some(when) = when {
        *when = Condition::And(conditions);
    }
}

/// The YAML of a tree.
///
/// # Errors
/// What YAML cannot say: two things of one name where the spelling has a mapping.
pub fn write(file: &File) -> Result<String, Diagnostics> {
    let yaml = file_yaml(&normal(file));
    let mut problems = Diagnostics::default();
    check(&yaml, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let mut out = String::from("policy: 1\n");
    block(&yaml, 0, &mut out);
    Ok(out)
}

enum Yaml {
    Text(String),
    /// A list, in brackets where it fits.
    List(Vec<Yaml>),
    /// A mapping, in braces where it fits.
    Map(Vec<(String, Yaml)>),
    /// A list that has a line for each member.
    Lines(Vec<Yaml>),
    /// A mapping that has a line for each key.
    Block(Vec<(String, Yaml)>),
}

impl Yaml {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn list<T>(items: &[T], yaml: impl Fn(&T) -> Self) -> Self {
        Self::List(items.iter().map(yaml).collect())
    }

    fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        let entries = entries.into_iter();
        Self::Map(entries.map(|(key, yaml)| (key.to_owned(), yaml)).collect())
    }
}

fn check(yaml: &Yaml, problems: &mut Diagnostics) {
    match yaml {
        Yaml::Text(_) => {}
        Yaml::List(items) | Yaml::Lines(items) => {
            items.iter().for_each(|item| check(item, problems));
        }
        Yaml::Map(entries) | Yaml::Block(entries) => {
            let mut seen = HashSet::new();
            for (key, value) in entries {
                let message = if !seen.insert(key) {
                    format!("`{key}` is there twice, and a mapping of YAML has it once")
                } else if key == "<<" || key.chars().count() + 2 > MAX_KEY {
                    "the YAML spelling cannot have this name".to_owned()
                } else {
                    check(value, problems);
                    continue;
                };
                problems.push(Diagnostic::error("E0105", message));
            }
        }
    }
}

// ── the shape ───────────────────────────────────────────────────────────────────────────────────

fn file_yaml(file: &File) -> Yaml {
    let mut entries = vec![("module".to_owned(), name(&file.module))];
    let mut section = |key: &str, yaml: Vec<(String, Yaml)>| {
        if !yaml.is_empty() {
            entries.push((key.to_owned(), Yaml::Block(yaml)));
        }
    };
    let imports = file.imports.iter();
    section(
        "imports",
        imports
            .map(|import| {
                (
                    import.module.value.to_string(),
                    Yaml::list(&import.names, name),
                )
            })
            .collect(),
    );
    section(
        "lists",
        file.lists()
            .map(|list| {
                let literals = LITERAL_TYPES.contains(&&*list.ty.value);
                let member = |it: &Spanned<Literal>| member(&it.value, literals);
                let mut entries = doc(list.doc.as_ref());
                entries.push(("type".to_owned(), name(&list.ty)));
                entries.push(("members".to_owned(), Yaml::list(&list.members, member)));
                (list.name.value.to_string(), Yaml::Map(entries))
            })
            .collect(),
    );
    section(
        "defs",
        file.defs()
            .map(|def| {
                let mut entries = doc(def.doc.as_ref());
                let yaml = if entries.is_empty() {
                    Yaml::text(print::condition(&def.condition))
                } else {
                    entries.push(("when".to_owned(), conditions(&def.condition)));
                    Yaml::Map(entries)
                };
                (def.name.value.to_string(), yaml)
            })
            .collect(),
    );
    for (key, kind) in [("rules", ItemKind::Rule), ("denies", ItemKind::Deny)] {
        let rules = file.rules().filter(|rule| rule.kind == kind);
        let rules = rules.map(|item| (item.name.value.to_string(), rule(item)));
        section(key, rules.collect());
    }
    let tests: Vec<Yaml> = file.tests().map(test).collect();
    if !tests.is_empty() {
        entries.push(("tests".to_owned(), Yaml::Lines(tests)));
    }
    let proofs: Vec<Yaml> = file.proofs().map(proof).collect();
    if !proofs.is_empty() {
        entries.push(("proofs".to_owned(), Yaml::Lines(proofs)));
    }
    Yaml::Block(entries)
}

fn doc(doc: Option<&Arc<str>>) -> Vec<(String, Yaml)> {
    let doc = doc.map(|doc| ("doc".to_owned(), Yaml::text(&**doc)));
    doc.into_iter().collect()
}

fn name(text: &Text) -> Yaml {
    Yaml::text(&*text.value)
}

fn member(member: &Literal, literals: bool) -> Yaml {
    match member {
        Literal::String(text) if !literals => Yaml::text(&**text),
        other if literals => Yaml::text(print::literal(other)),
        other => Yaml::map([("literal", Yaml::text(print::literal(other)))]),
    }
}

fn conditions(condition: &Condition) -> Yaml {
    let text = |condition: &Condition| Yaml::text(print::condition(condition));
    match condition {
        Condition::And(terms) if terms.len() > 1 => Yaml::list(terms, text),
        one => Yaml::List(vec![text(one)]),
    }
}

fn rule(rule: &Rule) -> Yaml {
    let mut entries = doc(rule.doc.as_ref());
    for clause in &rule.clauses {
        let word = clause.value.word().to_owned();
        entries.push((word, self::clause(&clause.value)));
    }
    Yaml::Block(entries)
}

fn clause(clause: &Clause) -> Yaml {
    match clause {
        Clause::From(None) => Yaml::text("any issuer"),
        Clause::From(Some(issuers)) => Yaml::list(issuers, issuer),
        Clause::By(None) => Yaml::text("any client"),
        Clause::By(Some(clients)) => Yaml::map([("client", matcher(clients))]),
        Clause::To(forms) => match forms.as_slice() {
            [form] => targets(form),
            forms => Yaml::list(forms, targets),
        },
        Clause::Actor {
            form,
            may_act_ignored,
        } => {
            let (key, yaml) = match form {
                ActorForm::None => ("is", Yaml::text("none")),
                ActorForm::Client => ("is", Yaml::text("client")),
                ActorForm::Token(word, issuers) => (&*word.value, Yaml::list(issuers, name)),
            };
            match (form, may_act_ignored) {
                (_, Some(_)) => Yaml::map([(key, yaml), ("may_act", Yaml::text("ignored"))]),
                (ActorForm::None | ActorForm::Client, None) => yaml,
                (ActorForm::Token(..), None) => Yaml::map([(key, yaml)]),
            }
        }
        Clause::Via(text)
        | Clause::Issue(text)
        | Clause::Because(text)
        | Clause::Tell(text)
        | Clause::Error(text) => name(text),
        Clause::When(condition) => conditions(condition),
        Clause::Use {
            processor,
            parameters,
        } => {
            if parameters.is_empty() {
                return name(processor);
            }
            let parameters = parameters.iter().map(parameter).collect();
            Yaml::Map(vec![(processor.value.to_string(), Yaml::Map(parameters))])
        }
        Clause::Overrides(rules) => match rules.as_slice() {
            [rule] => name(rule),
            rules => Yaml::list(rules, name),
        },
    }
}

fn issuer(issuer: &IssuerRef) -> Yaml {
    match &issuer.token_type {
        None => name(&issuer.alias),
        Some(ty) => Yaml::map([(&*issuer.alias.value, name(ty))]),
    }
}

fn matcher(matcher: &Matcher) -> Yaml {
    let string = |text: &Text| match text.value.starts_with('@') {
        true => Yaml::map([("string", name(text))]),
        false => name(text),
    };
    let strings = match &matcher.strings {
        Strings::List(list) => name(list),
        Strings::Written(texts) => match texts.as_slice() {
            [text] => string(text),
            texts => Yaml::list(texts, string),
        },
    };
    match matcher.kind {
        MatchKind::Equal => strings,
        MatchKind::Under => Yaml::map([("under", strings)]),
        MatchKind::Like => Yaml::map([("like", strings)]),
    }
}

fn targets(form: &TargetsForm) -> Yaml {
    match form {
        TargetsForm::Any => Yaml::text("any target"),
        TargetsForm::None => Yaml::text("no target"),
        TargetsForm::Parts(parts) => {
            let parts = parts.iter().map(|part| {
                let kind = if part.resource {
                    "resource"
                } else {
                    "audience"
                };
                (kind.to_owned(), matcher(&part.matcher))
            });
            Yaml::Map(parts.collect())
        }
    }
}

fn parameter(parameter: &Parameter) -> (String, Yaml) {
    let values = print::values(&parameter.values, parameter.beyond.as_ref());
    (parameter.name.value.to_string(), Yaml::text(values))
}

fn fields(fields: &[Field]) -> Vec<(String, Yaml)> {
    let field = |field: &Field| {
        let value = Yaml::text(print::given(&field.value));
        (field.name.value.to_string(), value)
    };
    fields.iter().map(field).collect()
}

fn test(test: &Test) -> Yaml {
    let mut entries = vec![("name".to_owned(), name(&test.name))];
    entries.extend(doc(test.doc.as_ref()));
    if !test.given.is_empty() {
        entries.push(("given".to_owned(), Yaml::Block(fields(&test.given))));
    }
    let (mut expect, by) = match &test.expect.value {
        Expectation::Use { processor, by, .. } => (vec![("use", name(processor))], by),
        Expectation::Refuse { code, by } => {
            let code = code.as_ref().map_or(Yaml::text("any"), name);
            (vec![("refuse", code)], by)
        }
    };
    expect.extend(by.as_ref().map(|by| ("by", name(by))));
    if let Expectation::Use { fields: issued, .. } = &test.expect.value
        && !issued.is_empty()
    {
        expect.push(("issued", Yaml::Map(fields(issued))));
    }
    let expect = expect.into_iter().map(|(key, yaml)| (key.to_owned(), yaml));
    entries.push(("expect".to_owned(), Yaml::Map(expect.collect())));
    Yaml::Block(entries)
}

fn proof(proof: &Proof) -> Yaml {
    let mut entries = vec![("name".to_owned(), name(&proof.name))];
    entries.extend(doc(proof.doc.as_ref()));
    let claim = |claim: &Spanned<Claim>| Yaml::text(print::claim(&claim.value));
    entries.push(("prove".to_owned(), Yaml::list(&proof.claims, claim)));
    Yaml::Block(entries)
}

// ── the text ────────────────────────────────────────────────────────────────────────────────────

/// Writes the lines of a mapping or a list, each `indent` to the right.
fn block(yaml: &Yaml, indent: usize, out: &mut String) {
    match yaml {
        Yaml::Map(entries) | Yaml::Block(entries) => {
            for (index, (key, value)) in entries.iter().enumerate() {
                // Top level sections and what stands in them are easier to find apart.
                let apart = indent == 0 && index > 0;
                if apart && !matches!(value, Yaml::Text(_)) {
                    out.push('\n');
                }
                out.push_str(&" ".repeat(indent));
                entry(key, value, indent, out);
            }
        }
        Yaml::List(items) | Yaml::Lines(items) => {
            for item in items {
                let mut lines = String::new();
                if is_nested(item, indent + 2) {
                    block(item, indent + 2, &mut lines);
                } else {
                    lines = format!("{}\n", inline(item));
                }
                out.push_str(&" ".repeat(indent));
                out.push_str("- ");
                out.push_str(lines.trim_start_matches(' '));
            }
        }
        Yaml::Text(text) => out.push_str(&format!("{}\n", scalar(text))),
    }
}

fn entry(key: &str, value: &Yaml, indent: usize, out: &mut String) {
    out.push_str(&scalar(key));
    out.push(':');
    match value {
        Yaml::Text(text) if is_block_text(text) => {
            out.push_str(" |-\n");
            for line in text.split('\n') {
                if !line.is_empty() {
                    out.push_str(&" ".repeat(indent + 2));
                    out.push_str(line);
                }
                out.push('\n');
            }
        }
        value if is_nested(value, indent + key.chars().count() + 4) => {
            out.push('\n');
            block(value, indent + 2, out);
        }
        value => out.push_str(&format!(" {}\n", inline(value))),
    }
}

/// Whether a value has lines of its own, where so many characters of its line are taken.
fn is_nested(yaml: &Yaml, taken: usize) -> bool {
    match yaml {
        Yaml::Text(_) => false,
        Yaml::Lines(items) => !items.is_empty(),
        Yaml::Block(entries) => !entries.is_empty(),
        Yaml::List(items) if items.is_empty() => false,
        Yaml::Map(entries) if entries.is_empty() => false,
        Yaml::List(_) | Yaml::Map(_) => {
            has_lines(yaml) || taken + inline(yaml).chars().count() > WIDTH
        }
    }
}

/// Whether there is text of several lines in it.
fn has_lines(yaml: &Yaml) -> bool {
    match yaml {
        Yaml::Text(text) => text.contains('\n'),
        Yaml::List(items) | Yaml::Lines(items) => items.iter().any(has_lines),
        Yaml::Map(entries) | Yaml::Block(entries) => entries.iter().any(|(_, it)| has_lines(it)),
    }
}

fn inline(yaml: &Yaml) -> String {
    match yaml {
        Yaml::Text(text) => scalar(text),
        Yaml::List(items) | Yaml::Lines(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Yaml::Map(entries) | Yaml::Block(entries) if entries.is_empty() => "{}".to_owned(),
        Yaml::Map(entries) | Yaml::Block(entries) => {
            let entry =
                |(key, value): &(String, Yaml)| format!("{}: {}", scalar(key), inline(value));
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// Lines that can stand below `|-` as they are.
fn is_block_text(text: &str) -> bool {
    let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
    text.contains('\n') && !blank(text.chars().next()) && !blank(text.chars().next_back())
}

/// One scalar on one line.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    // What YAML does not call printable, a policy cannot have either.
    if !text.contains('\n') {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '"' | '\\' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a text can stand without quotes, also between brackets, and whether no reader would take it
/// for a number, a truth value or nothing.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan",
    ];
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./@&*+=<>$() ".contains(c);
    // A colon belongs to the text where no space follows: `urn:x`, `https://a.example`.
    let mut chars = text.chars().peekable();
    let mut all_safe = true;
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        all_safe &= safe(c) || c == ':' && next.is_some_and(|next| safe(next) && next != ' ');
    }
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !text.ends_with(' ')
        && !WORDS.contains(&&*text.to_ascii_lowercase())
        && all_safe
}
