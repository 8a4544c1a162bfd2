//! The tables as JSON Schema (2020-12).

use std::collections::BTreeMap;

use serde_json::{Map as Object, Value, json};

use super::{Default, Key, Kind, Map, PROVIDERS, ROOT, Shape};

/// The schema of cambist.yaml, for editors and whoever else checks files before they get here.
#[must_use]
pub fn json_schema() -> Value {
    let mut definitions = BTreeMap::new();
    let mut root = body(&ROOT, &mut definitions);
    let realm = ["issuer", "keys", "policies"];
    if let Some(members) = root.as_object_mut() {
        members.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        members.insert("title".to_owned(), "cambist.yaml".into());
        members.insert(
            "anyOf".to_owned(),
            json!([{ "required": ["realms"] }, { "required": realm }]),
        );
        let definitions: Object<String, Value> = definitions
            .into_iter()
            .map(|(name, definition)| (name.to_owned(), definition))
            .collect();
        members.insert("$defs".to_owned(), definitions.into());
    }
    root
}

type Definitions = BTreeMap<&'static str, Value>;

fn body(shape: &'static Shape, definitions: &mut Definitions) -> Value {
    let properties: Object<String, Value> = shape
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key, definitions)))
        .collect();
    let required: Vec<&str> = shape
        .keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "description": shape.doc,
        // A key with nothing behind it is a mapping with nothing in it.
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    });
    if let (Some(members), false) = (schema.as_object_mut(), required.is_empty()) {
        members.insert("required".to_owned(), required.into());
    }
    schema
}

fn property(key: &'static Key, definitions: &mut Definitions) -> Value {
    let mut schema = of(&key.kind, definitions);
    let Some(members) = schema.as_object_mut() else {
        return schema;
    };
    members.insert("description".to_owned(), key.doc.into());
    if let Default::Is(value) = key.default {
        members.insert("default".to_owned(), example(value));
    }
    if !key.example.is_empty() {
        members.insert("examples".to_owned(), json!([example(key.example)]));
    }
    schema
}

/// A value as YAML reads it.
fn scalar(text: &str) -> Value {
    match (text.parse::<bool>(), text.parse::<i64>()) {
        (Ok(flag), _) => flag.into(),
        (_, Ok(number)) => number.into(),
        _ => text.into(),
    }
}

/// A value as JSON: what it would be in a file.
fn example(text: &str) -> Value {
    let parsed = crate::section::parse(&"example".into(), text);
    parsed.map_or_else(|_| text.into(), |node| tree(&node))
}

fn tree(node: &crate::section::Node) -> Value {
    use crate::section::Value as Yaml;
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Scalar(text) => scalar(text),
        Yaml::List(items) => items.iter().map(tree).collect(),
        Yaml::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.name.to_string(), tree(node)))
            .collect(),
    }
}

fn of(kind: &'static Kind, definitions: &mut Definitions) -> Value {
    match kind {
        // Scalars are read as their source text, whatever YAML would make of them.
        Kind::Text => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+[smhd]$" }),
        Kind::Count(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Words(words) => json!({ "enum": words }),
        Kind::Table(names) => json!({ "enum": names() }),
        Kind::Open(names) => json!({
            "anyOf": [{ "enum": names() }, { "type": ["string", "number", "boolean"] }],
        }),
        Kind::List(item) => {
            let item = of(item, definitions);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Kind::Section(shape) => reference(shape, definitions),
        Kind::Map(map) => mapping(map, definitions),
        Kind::Either(kinds) => {
            let kinds: Vec<Value> = kinds.iter().map(|kind| of(kind, definitions)).collect();
            json!({ "anyOf": kinds })
        }
        Kind::Processor => {
            let kinds: Vec<Value> = PROVIDERS
                .iter()
                .map(|(kind, shape)| processor(kind, shape, definitions))
                .collect();
            json!({ "anyOf": kinds })
        }
        Kind::Json => json!({ "type": "object" }),
    }
}

fn reference(shape: &'static Shape, definitions: &mut Definitions) -> Value {
    if !definitions.contains_key(shape.name) {
        // Before the body, which may come back here.
        definitions.insert(shape.name, Value::Null);
        let body = body(shape, definitions);
        definitions.insert(shape.name, body);
    }
    json!({ "$ref": format!("#/$defs/{}", shape.name) })
}

/// A mapping whose keys are names.
fn mapping(map: &'static Map, definitions: &mut Definitions) -> Value {
    let fixed: Object<String, Value> = map
        .fixed
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), of(kind, definitions)))
        .collect();
    let others = match &map.value {
        Some(kind) => of(kind, definitions),
        None => Value::Bool(false),
    };
    json!({
        "type": ["object", "null"],
        "properties": fixed,
        "additionalProperties": others,
        "propertyNames": { "description": map.doc },
    })
}

/// The mapping of a kind, with the key that says which it is.
fn processor(kind: &str, shape: &'static Shape, definitions: &mut Definitions) -> Value {
    let mut schema = body(shape, definitions);
    if let Some(members) = schema.as_object_mut() {
        members.insert("type".to_owned(), "object".into());
        members.insert("required".to_owned(), json!(["provider"]));
        if let Some(Value::Object(properties)) = members.get_mut("properties") {
            let provider = json!({ "const": kind, "description": "The kind of processor." });
            properties.insert("provider".to_owned(), provider);
        }
    }
    schema
}
