//! Public keys in configuration: `jwks_file: PATH` or inline `jwks: { keys: [..] }`.

use super::Sources;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::jose::{JwksError, KeySet, SkippedKey};
use crate::section::{Node, Section, Value};

/// Reads the key set of a section; `None` where there is none, or where what is wrong with it was
/// reported.
pub(super) fn key_set(
    section: &mut Section,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Option<KeySet> {
    let (loaded, span) = match (section.take("jwks_file"), section.take("jwks")) {
        (None, None) => return None,
        (Some(node), None) => {
            let name = node.text(problems)?;
            let bytes = sources.bytes(&name, Some(&node.span), problems)?;
            (KeySet::from_jwks(&bytes, &[]), node.span)
        }
        (None, Some(node)) => (KeySet::from_jwks_value(&json(&node), &[]), node.span),
        (Some(_), Some(node)) => {
            let message = "give one of `jwks_file` and `jwks`";
            problems.push(Diagnostic::error("E1005", message).at(&node.span));
            return None;
        }
    };
    let named = |kid: Option<&str>| kid.map(|kid| format!(" (`{kid}`)")).unwrap_or_default();
    match loaded {
        Ok((keys, skipped)) => {
            for key in skipped {
                let name = named(key.kid.as_deref());
                let message = format!("key {}{name} is not used: {}", key.index, key.reason);
                let problem = Diagnostic::warning("E1014", message).at(&span);
                problems.push(conceal(problem, &[key]));
            }
            Some(keys)
        }
        Err(error) => {
            let message = format!("this is no usable JWKS: {error}");
            let mut problem = Diagnostic::error("E1011", message).at(&span);
            if let JwksError::NoUsableKey(skipped) = &error {
                problem = conceal(problem, skipped);
                for key in skipped {
                    let name = named(key.kid.as_deref());
                    problem = problem.help(format!("key {}{name}: {}", key.index, key.reason));
                }
            }
            problems.push(problem);
            None
        }
    }
}

/// A key that should have been kept secret is not shown.
fn conceal(problem: Diagnostic, skipped: &[SkippedKey]) -> Diagnostic {
    let secret = |key: &SkippedKey| matches!(key.reason, "symmetric" | "private_member");
    match skipped.iter().any(secret) {
        true => problem.concealed(),
        false => problem,
    }
}

/// A JWKS written as YAML: everything in it is text, lists and mappings.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Scalar(text) => (**text).into(),
        Value::Null => serde_json::Value::Null,
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.name.to_string(), json(node)))
            .collect(),
    }
}
