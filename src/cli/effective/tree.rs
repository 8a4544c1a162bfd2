//! A configuration to be printed, as YAML that reads back as the same, or as JSON.

use std::sync::Arc;

use serde_json::{Map, Value};

/// A piece of it, in the order written.
pub(super) enum Tree {
    Null,
    Scalar(Arc<str>),
    List(Vec<Tree>),
    Map(Vec<(Arc<str>, Tree)>),
}

impl Tree {
    /// Scalars are text, as they are in the file.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Scalar(text) => (**text).into(),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Map(members) => {
                let members = members
                    .iter()
                    .map(|(key, tree)| (key.to_string(), tree.json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    pub(super) fn yaml(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Map(members) if !members.is_empty() => block(&mut out, members, 0),
            other => out.push_str(&format!("{}\n", other.flow())),
        }
        out
    }

    /// On one line.
    fn flow(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Scalar(text) => scalar(text),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::flow).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Map(members) if members.is_empty() => "{}".to_owned(),
            Self::Map(members) => {
                let members = members.iter();
                let members =
                    members.map(|(key, tree)| format!("{}: {}", scalar(key), tree.flow()));
                format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn block(out: &mut String, members: &[(Arc<str>, Tree)], depth: usize) {
    let indent = "  ".repeat(depth);
    for (key, tree) in members {
        let key = scalar(key);
        match tree {
            Tree::Map(members) if !members.is_empty() => {
                out.push_str(&format!("{indent}{key}:\n"));
                block(out, members, depth + 1);
            }
            tree => out.push_str(&format!("{indent}{key}: {}\n", tree.flow())),
        }
    }
}

/// Bare where nobody could read it otherwise; else in JSON's quotes, which are YAML's too.
fn scalar(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_');
    let bare =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | ':' | '-' | '+');
    let special = matches!(text, "null" | "") || text.ends_with(':');
    match first && text.chars().all(bare) && !special {
        true => text.to_owned(),
        false => Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section::{Node, Value as Yaml, parse};

    fn of(node: &Node) -> Tree {
        match &node.value {
            Yaml::Null => Tree::Null,
            Yaml::Scalar(text) => Tree::Scalar(Arc::clone(text)),
            Yaml::List(items) => Tree::List(items.iter().map(of).collect()),
            Yaml::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, node)| (Arc::clone(&key.name), of(node)));
                Tree::Map(entries.collect())
            }
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        let file = Arc::from("f");
        for text in [
            "{}",
            "a: { b: [], c: {}, d: ~, e: null, f: 'null', g: '' }",
            "a: [x, 'y: z', \"#\", '- a', '*x', 'tr\u{e9}s', \"a\\nb\", 'it''s', '\"']",
            "'a b': { 'c:': d, 'groups?': set<string>, at: /a/b, u: https://x.example:8080/y?z=1#q }",
            "a: [ { b: 1, c: [ { d: 5m } ] }, [e, [f]] ]",
            "a: 'yes'\nb: 0x10\nc: 1e3\nd: '~'\ne: '[redacted]'\nf: '@list'\ng: '%'\nh: '!x'",
        ] {
            let tree = of(&parse(&file, text).unwrap());
            let again = of(&parse(&file, &tree.yaml()).unwrap());
            assert_eq!(tree.json(), again.json(), "{}", tree.yaml());
            let flow = of(&parse(&file, &tree.flow()).unwrap());
            assert_eq!(tree.json(), flow.json(), "{}", tree.flow());
        }
    }
}
