//! Names across files: modules, imports, lists and defs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Checker;
use crate::diagnostic::{Diagnostic, Span};
use crate::policy::pattern::UriPattern;
use crate::policy::rule::{Constants, Prefixes};
use crate::policy::schema::Type;
use crate::policy::syntax::ast::{self, Item, Literal, Spanned, Strings, Text};
use crate::policy::syntax::word::OF_CONDITIONS;

/// What lists may hold: the word for it, and the type.
const LIST_TYPES: [(&str, Type); 6] = [
    ("string", Type::String),
    ("uri", Type::Uri),
    ("ip", Type::Ip),
    ("int", Type::Int),
    ("duration", Type::Duration),
    ("instant", Type::Instant),
];

/// Names that would read as the attributes, or as what stands for them elsewhere, if a `def` had them.
const TAKEN: [&str; 8] = [
    "time",
    "scope",
    "resource",
    "audience",
    "now",
    "it",
    "self",
    "requested",
];

/// The names of one module.
#[derive(Default)]
struct Module<'a> {
    lists: HashMap<&'a str, &'a ast::ListDef>,
    defs: HashMap<&'a str, &'a ast::Def>,
    /// Where an imported name is defined.
    imports: HashMap<&'a str, usize>,
}

/// What the files define, and what of it was used.
#[derive(Default)]
pub(super) struct Modules<'a> {
    modules: Vec<Module<'a>>,
    /// Definitions and imports that something names, each by its module and name.
    used: BTreeSet<(usize, &'a str)>,
    /// Lists with members that are at fault, which was said, by place.
    unsound: BTreeSet<Span>,
    /// Members of lists as constants, by list (its place) and what they are compared with.
    pub(super) constants: HashMap<(Span, String), Option<Constants>>,
    /// The same as prefixes of addresses, and as containers of URIs.
    pub(super) prefixes: HashMap<Span, Option<Prefixes>>,
    pub(super) patterns: HashMap<Span, Option<Arc<[UriPattern]>>>,
}

impl<'a> Checker<'a> {
    /// Collects what the files define, and reports names that clash, imports that lead nowhere or in
    /// circles, and lists whose members are not of their type.
    pub(super) fn collect(&mut self, files: &'a [ast::File]) {
        self.clashes(files);
        let mut modules: Vec<Module<'a>> = Vec::new();
        for file in files {
            let mut module = Module::default();
            for list in file.lists() {
                module.lists.insert(&list.name.value, list);
                self.list_members(list);
            }
            for def in file.defs() {
                if OF_CONDITIONS.contains(&&*def.name.value) || TAKEN.contains(&&*def.name.value) {
                    let message = format!("`{}` is a word of the language", def.name.value);
                    self.report(Diagnostic::error("E0111", message).at(&def.name.span));
                }
                module.defs.insert(&def.name.value, def);
            }
            modules.push(module);
        }
        for (index, file) in files.iter().enumerate() {
            for import in &file.imports {
                self.import(import, index, files, &mut modules);
            }
        }
        self.import_circles(files);
        self.modules.modules = modules;
    }

    /// Names that are used twice: modules, and in each module its rules, lists, defs and imports.
    fn clashes(&mut self, files: &'a [ast::File]) {
        let mut modules: BTreeMap<&str, &Span> = BTreeMap::new();
        for file in files {
            if let Some(first) = modules.insert(&file.module.value, &file.module.span) {
                let message = format!("module `{}` is declared twice", file.module.value);
                let problem = Diagnostic::error("E0206", message).at(&file.module.span);
                self.report(problem.related(first, "first declared here"));
            }
            let mut rules: BTreeMap<&str, &Span> = BTreeMap::new();
            let mut names: BTreeMap<&str, &Span> = BTreeMap::new();
            let mut tests: BTreeMap<&str, &Span> = BTreeMap::new();
            let mut proofs: BTreeMap<&str, &Span> = BTreeMap::new();
            for name in file.imports.iter().flat_map(|import| &import.names) {
                self.once(&mut names, name);
            }
            for item in &file.items {
                match item {
                    Item::Rule(rule) => self.once(&mut rules, &rule.name),
                    Item::List(list) => self.once(&mut names, &list.name),
                    Item::Def(def) => self.once(&mut names, &def.name),
                    Item::Test(test) => self.once(&mut tests, &test.name),
                    Item::Proof(proof) => self.once(&mut proofs, &proof.name),
                }
            }
        }
    }

    fn once(&mut self, seen: &mut BTreeMap<&'a str, &'a Span>, name: &'a Text) {
        if let Some(first) = seen.insert(&name.value, &name.span) {
            let message = format!("the name `{}` is used twice", name.value);
            let problem = Diagnostic::error("E0206", message);
            self.report(problem.at(&name.span).related(first, "first used here"));
        }
    }

    fn import(
        &mut self,
        import: &'a ast::Import,
        index: usize,
        files: &'a [ast::File],
        modules: &mut [Module<'a>],
    ) {
        let wanted = &import.module;
        let found = files
            .iter()
            .position(|file| file.module.value == wanted.value);
        let Some(from) = found.filter(|from| *from != index) else {
            let message = match found {
                Some(_) => "a module cannot import from itself".to_owned(),
                None => format!("no module is called `{}`", wanted.value),
            };
            let known = files.iter().map(|file| &*file.module.value);
            let problem = Diagnostic::error("E0205", message).at(&wanted.span);
            self.report(match found {
                Some(_) => problem,
                None => problem.suggest(&wanted.value, known),
            });
            return;
        };
        for name in &import.names {
            let Some(module) = modules.get(from) else {
                continue;
            };
            let text = &*name.value;
            if module.lists.contains_key(text) || module.defs.contains_key(text) {
                if let Some(module) = modules.get_mut(index) {
                    module.imports.insert(text, from);
                }
                continue;
            }
            let kind = if text.starts_with('@') { "list" } else { "def" };
            let message = format!("module `{}` has no {kind} `{text}`", wanted.value);
            let known: BTreeSet<&str> = module
                .lists
                .keys()
                .chain(module.defs.keys())
                .copied()
                .collect();
            let problem = Diagnostic::error("E0205", message).at(&name.span);
            self.report(problem.suggest(text, known));
        }
    }

    /// Modules that import from one another in a circle; each circle is said once.
    fn import_circles(&mut self, files: &'a [ast::File]) {
        let places: HashMap<&str, usize> = files
            .iter()
            .enumerate()
            .map(|(index, file)| (&*file.module.value, index))
            .collect();
        let below: Vec<Vec<usize>> = files
            .iter()
            .map(|file| {
                let imports = file.imports.iter();
                imports
                    .filter_map(|import| places.get(&*import.module.value).copied())
                    .collect()
            })
            .collect();
        for (from, to) in super::circles(&below) {
            let leads = |import: &&ast::Import| places.get(&*import.module.value) == Some(&to);
            let import = files
                .get(from)
                .and_then(|file| file.imports.iter().find(leads));
            if let (Some(import), true) = (import, from != to) {
                let message = "these modules import from one another in a circle";
                self.report(
                    Diagnostic::error("E0209", message)
                        .at(&import.module.span)
                        .help("put what they share into a module of its own"),
                );
            }
        }
    }

    /// A list's members must be of its type, whoever uses it.
    fn list_members(&mut self, list: &'a ast::ListDef) {
        let before = self.problems.counts().0;
        self.list_member_types(list);
        if self.problems.counts().0 > before {
            self.modules.unsound.insert(list.span.0.clone());
        }
    }

    fn list_member_types(&mut self, list: &'a ast::ListDef) {
        let Some(ty) = list_type(&list.ty.value) else {
            let message = format!("a list cannot be of type `{}`", list.ty.value);
            let known = LIST_TYPES.iter().map(|(name, _)| *name);
            let problem = Diagnostic::error("E0202", message).at(&list.ty.span);
            self.report(problem.correct(&list.ty.value, known));
            return;
        };
        for member in &list.members {
            match (&member.value, ty) {
                (Literal::String(text), Type::Uri) => {
                    // A list of URIs may also be one of containers, whose host may have a wildcard.
                    if UriPattern::under(text).is_err() {
                        self.uri(text, &member.span);
                    }
                }
                (Literal::String(_), Type::Ip) => drop(self.prefix(member)),
                _ => drop(self.constant(member, ty)),
            }
        }
    }

    /// The list that a name means here.
    pub(super) fn list(&mut self, name: &Text) -> Option<&'a ast::ListDef> {
        let found = self.find(&name.value).and_then(|(from, key)| {
            let module = self.modules.modules.get(from)?;
            module.lists.get(key).copied()
        });
        if found.is_none() {
            self.not_defined(name, "list");
        }
        found
    }

    /// The def that a name means here, and its module.
    pub(super) fn def(&mut self, name: &Text) -> Option<(usize, &'a ast::Def)> {
        let found = self.find(&name.value).and_then(|(from, key)| {
            let module = self.modules.modules.get(from)?;
            Some((from, *module.defs.get(key)?))
        });
        if found.is_none() {
            self.not_defined(name, "def");
        }
        found
    }

    /// The module that defines a name, and the name as it stands there; marks it as used.
    fn find(&mut self, name: &str) -> Option<(usize, &'a str)> {
        let here = self.module;
        let module = self.modules.modules.get(here)?;
        if let Some((key, from)) = module.imports.get_key_value(name) {
            let (key, from) = (*key, *from);
            self.modules.used.insert((here, key));
            self.modules.used.insert((from, key));
            return Some((from, key));
        }
        let lists = module.lists.get_key_value(name).map(|(key, _)| *key);
        let key = lists.or_else(|| module.defs.get_key_value(name).map(|(key, _)| *key))?;
        self.modules.used.insert((here, key));
        Some((here, key))
    }

    fn not_defined(&mut self, name: &Text, kind: &str) {
        let message = format!("no {kind} is called `{}` here", name.value);
        let mut problem = Diagnostic::error("E0215", message).at(&name.span);
        let here = self.modules.modules.get(self.module);
        let other = self.modules.modules.iter().any(|module| {
            module.lists.contains_key(&*name.value) || module.defs.contains_key(&*name.value)
        });
        let attribute = crate::policy::schema::ATTRIBUTES
            .iter()
            .any(|attribute| attribute.path == &*name.value);
        if attribute {
            problem = problem.help(format!(
                "`{}` is an attribute: compare it with something",
                name.value
            ));
        } else if other {
            problem = problem.help(format!("import it: `import {} from MODULE`", name.value));
        } else if let Some(module) = here {
            let own = module.lists.keys().chain(module.defs.keys());
            let known: BTreeSet<&str> = own
                .chain(module.imports.keys())
                .copied()
                .filter(|known| known.starts_with('@') == (kind == "list"))
                .collect();
            problem = problem.suggest(&name.value, known);
        }
        self.report(problem);
    }

    /// Warns of definitions and imports that nothing names, and checks defs that no rule did.
    pub(super) fn unused(&mut self, files: &'a [ast::File]) {
        // Where something is at fault, what it names may look unused.
        let sound = !self.problems.has_errors();
        let before = self.modules.used.clone();
        let everybody = self.everybody();
        for (index, file) in files.iter().enumerate() {
            self.module = index;
            for def in file.defs() {
                if !before.contains(&(index, &*def.name.value)) {
                    self.def_alone(def, &everybody);
                }
            }
        }
        for (index, file) in files.iter().enumerate().filter(|_| sound) {
            let imports = file.imports.iter().flat_map(|import| &import.names);
            let lists = file.lists().map(|list| &list.name);
            let defs = file.defs().map(|def| &def.name);
            for name in imports.chain(lists).chain(defs) {
                if !self.modules.used.contains(&(index, &*name.value)) {
                    let message = format!("nothing uses `{}`", name.value);
                    self.report(Diagnostic::warning("E0216", message).at(&name.span));
                }
            }
        }
    }

    /// The strings of a header, where they are written or in a list of the given type.
    pub(super) fn header_strings(&mut self, strings: &'a Strings, ty: Type) -> Vec<Text> {
        let name = match strings {
            Strings::Written(texts) => return texts.clone(),
            Strings::List(name) => name,
        };
        let Some(list) = self.list(name) else {
            return Vec::new();
        };
        if self.list_is(list, ty, &name.span).is_none() {
            return Vec::new();
        }
        // A header has its strings for itself.
        if self
            .charge(list.members.len().max(2), Some(&name.span))
            .is_none()
        {
            return Vec::new();
        }
        if list.members.is_empty() {
            let message = format!("`{}` is empty: this holds for nothing", name.value);
            self.report(Diagnostic::error("E0208", message).at(&name.span));
        }
        let text = |member: &Spanned<Literal>| match &member.value {
            Literal::String(text) => Some(Text {
                value: Arc::clone(text),
                span: member.span.clone(),
            }),
            Literal::Int(_) | Literal::Bool(_) | Literal::Duration(_) | Literal::Instant(..) => {
                None
            }
        };
        list.members.iter().filter_map(text).collect()
    }

    /// Reports a list of another type than is wanted at `span`.
    pub(super) fn list_is(&mut self, list: &ast::ListDef, wanted: Type, span: &Span) -> Option<()> {
        if self.modules.unsound.contains(&list.span.0) {
            return None;
        }
        let found = list_type(&list.ty.value)?;
        let named = matches!(wanted, Type::Name(_)) && found == Type::String;
        if found == wanted || named {
            return Some(());
        }
        let message = format!(
            "`{}` is a list of type {}, and this is of type {}",
            list.name.value,
            found.name(),
            wanted.name()
        );
        let problem = Diagnostic::error("E0202", message).at(span);
        self.report(problem.related(&list.ty.span, "its type"));
        None
    }

    /// What `make` gives for a list, made once for all who use it in the same way.
    pub(super) fn shared<K: std::hash::Hash + Eq + Clone, T: Clone>(
        &mut self,
        key: &K,
        kept: impl for<'m> Fn(&'m mut Modules<'a>) -> &'m mut HashMap<K, Option<T>>,
        make: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        if let Some(made) = kept(&mut self.modules).get(key) {
            return made.clone();
        }
        let made = make(self);
        kept(&mut self.modules).insert(key.clone(), made.clone());
        made
    }
}

fn list_type(name: &str) -> Option<Type> {
    let found = LIST_TYPES.iter().find(|(known, _)| *known == name);
    found.map(|(_, ty)| *ty)
}
