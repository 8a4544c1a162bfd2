//! The tree of a policy file as text: one line per clause, its place before it.

use cambist::diagnostic::{SourceText, Span};
use cambist::policy::syntax::ast::{
    ActorForm, Claim, Clause, Condition, Expectation, Field, File, GivenValue, Item, ItemKind,
    Literal, MatchKind, Matcher, Operand, Parameter, Rule, Spanned, Strings, TargetsForm, Text,
    Value,
};

pub fn render(file: &File, sources: &SourceText) -> String {
    let mut out = format!("module {}\n", file.module.value);
    for import in &file.imports {
        let names = list(import.names.iter().map(|name| name.value.to_string()));
        let place = place(&import.span, sources);
        out.push_str(&format!(
            "{place} import {names} from {}\n",
            import.module.value
        ));
    }
    for item in &file.items {
        let place = place(item.span(), sources);
        for line in item.doc().iter().flat_map(|doc| doc.lines()) {
            out.push_str(&format!("## {line}\n"));
        }
        match item {
            Item::Rule(item) => rule(item, &place, sources, &mut out),
            Item::List(item) => {
                let members = list(item.members.iter().map(|item| literal(&item.value)));
                let (name, ty) = (&item.name.value, &item.ty.value);
                out.push_str(&format!("{place} list {name} of {ty}: {members}\n"));
            }
            Item::Def(item) => {
                let condition = condition(&item.condition);
                out.push_str(&format!("{place} def {}: {condition}\n", item.name.value));
            }
            Item::Test(item) => {
                out.push_str(&format!("{place} test {:?}\n", item.name.value));
                for field in &item.given {
                    out.push_str(&format!("  given {}\n", self::field(field)));
                }
                out.push_str(&format!("  expect {}\n", expectation(&item.expect.value)));
            }
            Item::Proof(item) => {
                out.push_str(&format!("{place} prove {:?}\n", item.name.value));
                for Spanned { value, span } in &item.claims {
                    let place = self::place(span, sources);
                    out.push_str(&format!("  {place} {}\n", claim(value)));
                }
            }
        }
    }
    for comment in &file.comments {
        let place = place(&comment.span, sources);
        out.push_str(&format!("{place} comment {:?}\n", comment.text));
    }
    out
}

fn rule(item: &Rule, place: &str, sources: &SourceText, out: &mut String) {
    let kind = match item.kind {
        ItemKind::Rule => "rule",
        ItemKind::Deny => "deny",
    };
    out.push_str(&format!("{place} {kind} {}\n", item.name.value));
    for Spanned { value, span } in &item.clauses {
        let place = self::place(span, sources);
        out.push_str(&format!("  {place} {}\n", clause(value)));
    }
}

fn claim(it: &Claim) -> String {
    let named = |name: &Option<Text>| {
        let name = name.as_ref();
        name.map_or("anything".to_owned(), |name| name.value.to_string())
    };
    let when = |when: &Option<Condition>| {
        let when = when.as_ref().map(condition);
        when.map_or(String::new(), |when| format!(" when {when}"))
    };
    let rules = |names: &[Text]| list(names.iter().map(|name| name.value.to_string()));
    match it {
        Claim::NeverUse {
            processor,
            when: of,
        } => {
            format!("never use {}{}", named(processor), when(of))
        }
        Claim::AlwaysUse { processor, when } => {
            format!("always use {} when {}", named(processor), condition(when))
        }
        Claim::NeverIssue {
            what,
            operator,
            right,
            when: of,
        } => {
            let (what, operator) = (what.value.text(), operator.value.text());
            format!(
                "never issue ({what} {operator} {}){}",
                operand(right),
                when(of)
            )
        }
        Claim::Disjoint(names) => format!("disjoint {}", rules(names)),
        Claim::Reachable(Some(names)) => format!("reachable {}", rules(names)),
        Claim::Reachable(None) => "reachable all".to_owned(),
    }
}

fn field(it: &Field) -> String {
    format!("{} = {}", it.name.value, given(&it.value.value))
}

fn given(it: &GivenValue) -> String {
    match it {
        GivenValue::Literal(item) => literal(item),
        GivenValue::List(items) => list(items.iter().map(|item| literal(&item.value))),
        GivenValue::Word(word) => word.to_string(),
        GivenValue::Party(issuer, fields) => {
            format!("{} {}", issuer.value, list(fields.iter().map(field)))
        }
        GivenValue::Fields(fields) => list(fields.iter().map(field)),
    }
}

fn expectation(it: &Expectation) -> String {
    let by = |by: &Option<Text>| {
        by.as_ref()
            .map_or(String::new(), |by| format!(" by {}", by.value))
    };
    match it {
        Expectation::Use {
            processor,
            by: rule,
            fields,
        } => {
            let fields = list(fields.iter().map(field));
            format!("use {}{} {fields}", processor.value, by(rule))
        }
        Expectation::Refuse { code, by: deny } => {
            let code = code.as_ref().map_or("any", |code| &code.value);
            format!("refuse {code}{}", by(deny))
        }
    }
}

/// `line:column-line:column`, the last character's.
pub fn place(span: &Span, sources: &SourceText) -> String {
    let at = |byte| {
        let (line, column) = sources
            .line_column(&Span::new(&span.file, byte..byte))
            .unwrap();
        format!("{line}:{column}")
    };
    format!("{}-{}", at(span.start), at(span.end - 1))
}

fn clause(clause: &Clause) -> String {
    let content = match clause {
        Clause::From(None) | Clause::By(None) => "any".to_owned(),
        Clause::From(Some(issuers)) => list(issuers.iter().map(|issuer| {
            let narrowed = issuer.token_type.as_ref();
            let narrowed = narrowed.map_or(String::new(), |t| format!(" as {:?}", t.value));
            format!("{}{narrowed}", issuer.alias.value)
        })),
        Clause::By(Some(clients)) => matcher(clients),
        Clause::To(forms) => {
            let forms: Vec<String> = forms.iter().map(targets).collect();
            forms.join(" or ")
        }
        Clause::Actor {
            form,
            may_act_ignored,
        } => {
            let form = match form {
                ActorForm::None => "none".to_owned(),
                ActorForm::Client => "client".to_owned(),
                ActorForm::Token(word, from) => {
                    format!(
                        "{} {}",
                        word.value,
                        list(from.iter().map(|n| n.value.to_string()))
                    )
                }
            };
            let ignored = if may_act_ignored.is_some() {
                ", may_act ignored"
            } else {
                ""
            };
            format!("{form}{ignored}")
        }
        Clause::Via(text) | Clause::Issue(text) | Clause::Error(text) => text.value.to_string(),
        Clause::When(when) => condition(when),
        Clause::Use {
            processor,
            parameters,
        } => {
            let parameters: Vec<String> = parameters.iter().map(parameter).collect();
            format!("{} {{{}}}", processor.value, parameters.join(", "))
        }
        Clause::Overrides(names) => list(names.iter().map(|name| name.value.to_string())),
        Clause::Because(text) | Clause::Tell(text) => format!("{:?}", text.value),
    };
    format!("{}: {content}", clause.word())
}

fn parameter(it: &Parameter) -> String {
    let values: Vec<String> = it.values.iter().map(|v| value(&v.value)).collect();
    let beyond = if it.beyond.is_some() {
        " beyond subject"
    } else {
        ""
    };
    format!("{}: {}{beyond}", it.name.value, values.join(" & "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn strings(strings: &Strings) -> String {
    match strings {
        Strings::Written(texts) => list(texts.iter().map(|text| format!("{:?}", text.value))),
        Strings::List(name) => name.value.to_string(),
    }
}

fn matcher(matcher: &Matcher) -> String {
    let word = match matcher.kind {
        MatchKind::Equal => "equal",
        MatchKind::Under => "under",
        MatchKind::Like => "like",
    };
    format!("{word} {}", strings(&matcher.strings))
}

fn targets(form: &TargetsForm) -> String {
    match form {
        TargetsForm::Any => "any".to_owned(),
        TargetsForm::None => "none".to_owned(),
        TargetsForm::Parts(parts) => list(parts.iter().map(|part| {
            let kind = if part.resource {
                "resource"
            } else {
                "audience"
            };
            format!("{kind} {}", matcher(&part.matcher))
        })),
    }
}

fn condition(it: &Condition) -> String {
    match it {
        Condition::And(parts) => format!("all{}", list(parts.iter().map(condition))),
        Condition::Or(parts) => format!("any{}", list(parts.iter().map(condition))),
        Condition::Not(part) => format!("not({})", condition(part)),
        Condition::Presence { present, path, .. } => {
            let word = if *present { "present" } else { "absent" };
            format!("{word}({})", path.value)
        }
        Condition::Comparison {
            left,
            operator,
            right,
            ..
        } => format!(
            "({} {} {})",
            operand(left),
            operator.value.text(),
            operand(right)
        ),
        Condition::Empty { path, .. } => format!("empty({})", path.value),
        Condition::Count {
            path,
            operator,
            number,
            ..
        } => format!(
            "(count({}) {} {})",
            path.value,
            operator.value.text(),
            number.value
        ),
        Condition::Quantified {
            quantifier,
            path,
            operator,
            right,
            ..
        } => format!(
            "({} of {} {} {})",
            quantifier.text(),
            path.value,
            operator.value.text(),
            operand(right)
        ),
        Condition::Where {
            quantifier,
            path,
            condition: inner,
            ..
        } => format!(
            "{} of {} where {}",
            quantifier.text(),
            path.value,
            condition(inner)
        ),
        Condition::Time {
            zone, days, hours, ..
        } => {
            let days = list(
                days.iter()
                    .map(|d| format!("{}..{}", d.value.0.text(), d.value.1.text())),
            );
            let hours = hours.as_ref().map(|hours| hours.value);
            format!("time({:?} {days} {hours:?})", zone.value)
        }
        Condition::Reference(name) => format!("def({})", name.value),
    }
}

fn operand(it: &Operand) -> String {
    match it {
        Operand::List(items, _) => list(items.iter().map(|item| literal(&item.value))),
        Operand::ListName(name) => name.value.to_string(),
        Operand::Literal(item) => literal(&item.value),
        Operand::Path(path, None) => path.value.to_string(),
        Operand::Path(path, Some(default)) => {
            format!("{} ?? {}", path.value, literal(&default.value))
        }
    }
}

fn literal(it: &Literal) -> String {
    match it {
        Literal::String(text) => format!("{text:?}"),
        Literal::Int(number) => number.to_string(),
        Literal::Bool(truth) => truth.to_string(),
        Literal::Duration(duration) => format!("{}s", duration.seconds),
        Literal::Instant(seconds, _) => format!("@{seconds}"),
    }
}

fn value(it: &Value) -> String {
    match it {
        Value::AtMost(duration) => format!("at_most {}s", duration.seconds),
        Value::ListName(name) => name.to_string(),
        Value::Map(entries) => format!("map{}", list(entries.iter().map(parameter))),
        Value::List(items) => list(items.iter().map(|item| literal(&item.value))),
        Value::Literal(item) => literal(item),
        Value::Path(path) => path.to_string(),
    }
}
