//! The schema of cambist.yaml cannot drift: readers are watched while they load every case, example and sample
//! that there is, and what they ask for and fall back to is held against the tables, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boon::{Compiler, Schemas};
use cambist::client::METHODS;
use cambist::clock::Clock;
use cambist::config::schema::{Default, Kind, Map, PROVIDERS, ROOT, Shape, json_schema};
use cambist::config::{self, PRESETS, Tests};
use cambist::diagnostic::Diagnostics;
use cambist::provider::FACTORIES;
use cambist::section::{self, Asked, Found, Node, Place, Value};
use cambist::services::Services;

use crate::config::write_files;
use crate::support::cambist;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directories that we ship.
fn shipped() -> Vec<PathBuf> {
    let examples = fs::read_dir(root().join("examples")).unwrap();
    let examples = examples.map(|entry| entry.unwrap().path());
    let found = examples.filter(|dir| dir.join("cambist.yaml").is_file());
    found.chain([root().join("policies")]).collect()
}

/// Every configuration of the cases, written to a directory of its own.
fn cases() -> Vec<tempfile::TempDir> {
    let entries = fs::read_dir(root().join("tests/data/config")).unwrap();
    let cases = entries.map(|entry| {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), text.split("\n----------\n").next().unwrap());
        dir
    });
    cases.collect()
}

/// Every mapping of a tree that has a shape, by its place.
struct Shapes(BTreeMap<Place, &'static Shape>);

impl Shapes {
    fn of(label: &str, text: &str) -> Self {
        let mut shapes = Self(BTreeMap::new());
        if let Ok(node) = section::parse(&Arc::from(label), text) {
            shapes.shape(&node, &ROOT);
        }
        shapes
    }

    fn shape(&mut self, node: &Node, shape: &'static Shape) {
        self.0.insert(Place::of(&node.span), shape);
        let Value::Map(entries) = &node.value else {
            return;
        };
        for (name, node) in entries {
            if let Some(key) = shape.keys.iter().find(|key| key.name == &*name.name) {
                self.kind(node, &key.kind);
            }
        }
    }

    fn kind(&mut self, node: &Node, kind: &'static Kind) {
        match (kind, &node.value) {
            (Kind::Section(shape), _) => self.shape(node, shape),
            (Kind::Map(map), Value::Map(entries)) => {
                for (name, node) in entries {
                    self.named(&name.name, node, map);
                }
            }
            (Kind::List(item), Value::List(nodes)) => {
                nodes.iter().for_each(|node| self.kind(node, item));
            }
            (Kind::List(item), _) => self.kind(node, item),
            (Kind::Either(kinds), value) => {
                let fits = |kind: &&Kind| {
                    let mapping = matches!(kind, Kind::Map(_) | Kind::Section(_));
                    mapping == matches!(value, Value::Map(_))
                };
                kinds
                    .iter()
                    .filter(fits)
                    .for_each(|kind| self.kind(node, kind));
            }
            (Kind::Processor, Value::Map(entries)) => {
                let says = |(key, node): &&(section::Key, Node)| {
                    (&*key.name == "provider")
                        .then(|| node.text(&mut Diagnostics::default()))
                        .flatten()
                };
                let kind = entries.iter().find_map(|entry| says(&entry));
                let found = PROVIDERS
                    .iter()
                    .find(|(name, _)| Some(*name) == kind.as_deref());
                if let Some((_, shape)) = found {
                    self.shape(node, shape);
                }
            }
            _ => {}
        }
    }

    fn named(&mut self, name: &str, node: &Node, map: &'static Map) {
        let fixed = map.fixed.iter().find(|(fixed, _)| *fixed == name);
        if let Some(kind) = fixed.map(|(_, kind)| kind).or(map.value.as_ref()) {
            self.kind(node, kind);
        }
    }

    /// The shape of a mapping, also of one that is not written.
    fn find(&self, place: &Place) -> Option<&'static Shape> {
        let written = Place {
            below: Vec::new(),
            ..place.clone()
        };
        place
            .below
            .iter()
            .try_fold(*self.0.get(&written)?, |shape, name| {
                let key = shape.keys.iter().find(|key| key.name == *name)?;
                match &key.kind {
                    Kind::Section(shape) => Some(*shape),
                    _ => None,
                }
            })
    }
}

/// All shapes that there are.
fn all() -> BTreeMap<&'static str, &'static Shape> {
    fn shape(found: &mut BTreeMap<&'static str, &'static Shape>, shape: &'static Shape) {
        if found.insert(shape.name, shape).is_none() {
            shape.keys.iter().for_each(|key| kind(found, &key.kind));
        }
    }
    fn kind(found: &mut BTreeMap<&'static str, &'static Shape>, of: &'static Kind) {
        match of {
            Kind::Section(section) => shape(found, section),
            Kind::List(item) => kind(found, item),
            Kind::Either(kinds) => kinds.iter().for_each(|each| kind(found, each)),
            Kind::Map(map) => {
                map.fixed.iter().for_each(|(_, each)| kind(found, each));
                map.value.iter().for_each(|each| kind(found, each));
            }
            Kind::Processor => PROVIDERS.iter().for_each(|(_, each)| shape(found, each)),
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    shape(&mut found, &ROOT);
    found
}

/// What readers asked for and fell back to, by shape and key.
struct Seen(BTreeMap<(&'static str, &'static str), BTreeSet<String>>);

impl Seen {
    fn load(&mut self, dir: &Path) {
        let services = Services::new(Clock::system()).unwrap();
        let (_, asked) = section::observed(|| config::load(dir, &services, None, Tests::Keep));
        let mut files: BTreeMap<Arc<str>, Shapes> = BTreeMap::new();
        for asked in asked {
            // Presets and policies have shapes of their own.
            if !asked.place.file.ends_with("cambist.yaml") {
                continue;
            }
            let label = Arc::clone(&asked.place.file);
            let shapes = files.entry(Arc::clone(&label)).or_insert_with(|| {
                Shapes::of(&label, &fs::read_to_string(dir.join(&*label)).unwrap())
            });
            self.asked(asked, shapes, dir);
        }
    }

    fn asked(&mut self, asked: Asked, shapes: &Shapes, dir: &Path) {
        let Asked { place, key, found } = asked;
        let Some(shape) = shapes.find(&place) else {
            // Of a kind that there is not, nobody can say which keys it has.
            if key == "provider" {
                return;
            }
            panic!(
                "{}: nothing is said of the mapping at {place:?}, asked for `{key}`",
                dir.display()
            );
        };
        let tag = PROVIDERS.iter().any(|(_, kind)| kind.name == shape.name) && key == "provider";
        let known = tag || shape.keys.iter().any(|known| known.name == key);
        assert!(
            known,
            "`{}` has a key `{key}` that the schema does not say",
            shape.name
        );
        let fallbacks = self.0.entry((shape.name, key)).or_default();
        if let Found::Default(node) = found {
            let text = |node: &Node| node.text(&mut Diagnostics::default()).unwrap().to_string();
            fallbacks.insert(match &node.value {
                Value::List(items) => {
                    let items: Vec<String> = items.iter().map(text).collect();
                    format!("[{}]", items.join(", "))
                }
                _ => text(&node),
            });
        }
    }
}

#[test]
fn readers_ask_for_the_keys_of_the_schema_and_for_no_others() {
    let mut seen = Seen(BTreeMap::new());
    let cases = cases();
    assert!(cases.len() > 50, "the cases were not found");
    cases.iter().for_each(|case| seen.load(case.path()));
    shipped().iter().for_each(|dir| seen.load(dir));
    for (name, shape) in all() {
        for key in shape.keys {
            let place = format!("`{}` of `{name}`", key.name);
            let Some(fallbacks) = seen.0.get(&(name, key.name)) else {
                panic!("no reader asks for {place}");
            };
            let fallbacks: Vec<&str> = fallbacks.iter().map(String::as_str).collect();
            match key.default {
                Default::Is(value) => assert_eq!(fallbacks, [value], "{place}"),
                Default::Nothing => assert!(fallbacks.is_empty(), "{place}: {fallbacks:?}"),
                Default::Follows => assert!(!fallbacks.is_empty(), "{place}"),
            }
        }
    }
}

#[test]
fn every_key_is_documented_and_the_tables_agree_with_the_program() {
    for (name, shape) in all() {
        assert!(shape.doc.ends_with('.'), "{name}");
        let names: BTreeSet<_> = shape.keys.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), shape.keys.len(), "{name} has a key twice");
        for key in shape.keys {
            assert!(
                key.doc.ends_with('.') && key.doc.len() > 12,
                "{name}: {}",
                key.name
            );
        }
    }
    let kinds: BTreeSet<_> = FACTORIES.iter().map(|factory| factory.kind).collect();
    assert_eq!(
        PROVIDERS
            .iter()
            .map(|(kind, _)| *kind)
            .collect::<BTreeSet<_>>(),
        kinds
    );
    let schema = json_schema();
    let names = |pointer: &str| {
        let members = schema.pointer(pointer).unwrap().as_object().unwrap();
        members.keys().cloned().collect::<BTreeSet<_>>()
    };
    let methods: BTreeSet<_> = METHODS
        .iter()
        .map(|method| method.name.to_owned())
        .collect();
    assert_eq!(names("/$defs/client/properties/auth/properties"), methods);
    let kinds: BTreeSet<_> = kinds.into_iter().map(str::to_owned).collect();
    assert_eq!(names("/properties/providers/properties"), kinds);
}

/// A file as an editor sees it: plain scalars have types.
fn json(node: &Node, text: &str) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Scalar(value) => {
            let quoted = text[node.span.start..].starts_with(['"', '\'']);
            match (value.parse::<bool>(), value.parse::<i64>()) {
                (Ok(flag), _) if !quoted => flag.into(),
                (_, Ok(number)) if !quoted => number.into(),
                _ => (&**value).into(),
            }
        }
        Value::List(items) => items.iter().map(|item| json(item, text)).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.name.to_string(), json(node, text)))
            .collect(),
    }
}

/// What a real validator has against a file.
struct Validator {
    schemas: Schemas,
    index: boon::SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let (code, printed, errors) = cambist(root(), &["schema"]);
        assert_eq!((code, errors.as_str()), (0, ""));
        let schema: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(schema, json_schema());
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler
            .add_resource("cambist.schema.json", schema)
            .unwrap();
        let index = compiler
            .compile("cambist.schema.json", &mut schemas)
            .unwrap();
        Self { schemas, index }
    }

    fn objects(&self, text: &str) -> Option<String> {
        let node = section::parse(&Arc::from("cambist.yaml"), text).unwrap();
        let value = json(&node, text);
        let valid = self.schemas.validate(&value, self.index);
        valid.err().map(|error| error.to_string())
    }
}

#[test]
fn every_file_that_loads_is_valid() {
    let validator = Validator::new();
    let services = Services::new(Clock::system()).unwrap();
    let mut loaded = 0;
    let cases = cases();
    let dirs = cases.iter().map(|case| case.path().to_owned());
    for dir in dirs.chain(shipped()) {
        let Ok(text) = fs::read_to_string(dir.join("cambist.yaml")) else {
            continue;
        };
        if crate::support::whole(&dir, &services).is_ok() {
            assert_eq!(validator.objects(&text), None, "{text}");
            loaded += 1;
        }
    }
    assert!(loaded > 12, "only {loaded} were loaded");
    for preset in PRESETS {
        let issuer = preset.text.replace('\n', "\n    ");
        let text = format!("realms: {{ a: a }}\nissuers:\n  x:\n    {issuer}\n");
        assert_eq!(validator.objects(&text), None, "{text}");
    }
}

#[test]
fn what_is_wrong_is_not_valid() {
    let validator = Validator::new();
    let good =
        "issuer: https://as.example.com\nkeys: [ { file: as.pem } ]\npolicies: main.policy\n";
    assert_eq!(validator.objects(good), None);
    assert_eq!(validator.objects("realms: { a: a }\n"), None);
    for bad in [
        "{}",
        "issuer: https://as.example.com",
        &format!("{good}isuers: {{}}"),
        &format!("{good}server: {{ listen: 127.0.0.1:8080, behind_tls: perhaps }}"),
        &format!("{good}server: {{ max_connections: 0 }}"),
        &format!("{good}server: {{ header_timeout: 5 }}"),
        &format!("{good}issuers: {{ a: {{ issuer: x, preset: keycloack }} }}"),
        &format!("{good}issuers: {{ a: {{ issuer: x, algorithms: [HS256] }} }}"),
        &format!("{good}issuers: {{ self: {{ issuer: x }} }}"),
        &format!("{good}clients: {{ c: {{ auth: {{ client_secret_jwt: {{}} }} }} }}"),
        &format!("{good}clients: {{ c: {{}} }}"),
        &format!("{good}clients: {{ c: {{ auth: {{ none: {{ secret: x }} }} }} }}"),
        &format!("{good}processors: {{ p: {{ provider: mnit }} }}"),
        &format!("{good}processors: {{ p: {{ lifetime: 5m }} }}"),
        &format!("{good}resources: {{ r: {{ under: x }} }}"),
    ] {
        assert!(validator.objects(bad).is_some(), "{bad}");
    }
}
