//! The tree of a policy file as text: one line per clause, its place before it.

use cambist::diagnostic::{SourceText, Span};
use cambist::policy::syntax::ast::{
    ActorForm, Clause, Condition, File, ItemKind, Literal, MatchKind, Matcher, Operand, Spanned,
    TargetsForm, Text, Value,
};

pub fn render(file: &File, sources: &SourceText) -> String {
    let mut out = format!("module {}\n", file.module.value);
    for item in &file.items {
        let kind = match item.kind {
            ItemKind::Rule => "rule",
            ItemKind::Deny => "deny",
        };
        let place = place(&item.span, sources);
        out.push_str(&format!("{place} {kind} {}\n", item.name.value));
        for Spanned { value, span } in &item.clauses {
            out.push_str(&format!(
                "  {} {}\n",
                self::place(span, sources),
                clause(value)
            ));
        }
    }
    out
}

/// `line:column-line:column`, the last character's.
fn place(span: &Span, sources: &SourceText) -> String {
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
            let parameters = parameters.iter().map(|parameter| {
                let values: Vec<String> =
                    parameter.values.iter().map(|v| value(&v.value)).collect();
                format!("{}: {}", parameter.name.value, values.join(" & "))
            });
            let parameters: Vec<String> = parameters.collect();
            format!("{} {{{}}}", processor.value, parameters.join(", "))
        }
        Clause::Because(text) | Clause::Tell(text) => format!("{:?}", text.value),
    };
    format!("{}: {content}", clause.word())
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn strings(strings: &[Text]) -> String {
    list(strings.iter().map(|text| format!("{:?}", text.value)))
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
    }
}

fn operand(it: &Operand) -> String {
    match it {
        Operand::List(items, _) => list(items.iter().map(|item| literal(&item.value))),
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
        Literal::Duration(seconds) => format!("{seconds}s"),
    }
}

fn value(it: &Value) -> String {
    match it {
        Value::AtMost(seconds) => format!("at_most {seconds}s"),
        Value::List(items) => list(items.iter().map(|item| literal(&item.value))),
        Value::Literal(item) => literal(item),
        Value::Path(path) => path.to_string(),
    }
}
