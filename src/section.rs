//! YAML with its places: text → [`Node`]s with spans → typed values, every problem reported.
//!
//! The only file that names `serde_yaml` (a rename of serde-saphyr; its event parser gives the byte
//! range of every scalar, which Serde would lose, and Serde stops at the first problem). Anchors,
//! aliases, tags, merge keys, duplicate keys and further documents are errors. Scalars are read as
//! their source text, so that `on`, `no` or `1e3` never change type.

mod observe;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

pub use observe::{Asked, Found, Place, observed};
use serde_yaml::granit_parser::{Event, Parser, ScalarStyle};

use crate::diagnostic::{Diagnostic, Diagnostics, Span};

/// The largest file, in bytes.
pub const MAX_FILE: usize = 4 * 1024 * 1024;
const MAX_DEPTH: usize = 32;

/// A piece of YAML.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] is.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text as it stands in the source, quotes and escapes resolved.
    Scalar(Arc<str>),
    /// Nothing at all, `~` or `null`, unquoted.
    Null,
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A mapping's key.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub name: Arc<str>,
    /// Where it stands.
    pub span: Span,
}

/// Parses one YAML document.
///
/// # Errors
/// A syntax error ends the file at that place; duplicate keys, anchors and so on are all reported.
pub fn parse(file: &Arc<str>, text: &str) -> Result<Node, Diagnostics> {
    let whole = Span::new(file, 0..0);
    if text.len() > MAX_FILE {
        return Err(Diagnostic::error("E1001", "the file is too large")
            .at(&whole)
            .into());
    }
    let mut builder = Builder {
        file,
        problems: Diagnostics::default(),
        stack: Vec::new(),
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                let range = span.byte_range().unwrap_or(0..0);
                if let Err(problem) = builder.event(event, Span::new(file, range)) {
                    builder.problems.push(problem);
                    return Err(builder.problems);
                }
            }
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                let problem =
                    Diagnostic::error("E1001", format!("not valid YAML: {}", error.info()));
                builder.problems.push(problem.at(&Span::new(file, at..at)));
                return Err(builder.problems);
            }
        }
    }
    match builder.root {
        _ if builder.problems.has_errors() => Err(builder.problems),
        Some(root) => Ok(root),
        None => Ok(Node {
            span: whole,
            value: Value::Null,
        }),
    }
}

struct Builder<'a> {
    file: &'a Arc<str>,
    problems: Diagnostics,
    stack: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

/// The keys of a mapping, and where each was first written; a file may have very many.
type Seen = HashMap<Arc<str>, Span>;

enum Open {
    List(Range<usize>, Vec<Node>),
    Map(Range<usize>, Vec<(Key, Node)>, Option<Key>, Seen),
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        let plain = |anchor: usize, tagged: bool| match (anchor, tagged) {
            (0, false) => Ok(()),
            (_, true) => {
                Err(Diagnostic::error("E1001", "tags are not allowed in this file").at(&span))
            }
            (_, false) => {
                Err(Diagnostic::error("E1001", "anchors are not allowed in this file").at(&span))
            }
        };
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(
                        Diagnostic::error("E1001", "a second YAML document begins here").at(&span),
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                let bare = matches!(style, ScalarStyle::Plain);
                let value = match &*text {
                    "" | "~" | "null" if bare => Value::Null,
                    text => Value::Scalar(Arc::from(text)),
                };
                self.add(Node { span, value })?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                self.open(Open::List(span.start..span.end, Vec::new()), &span)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                self.open(
                    Open::Map(span.start..span.end, Vec::new(), None, Seen::new()),
                    &span,
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.stack.pop() {
                    Some(Open::List(start, items)) => Node {
                        span: Span::new(self.file, start.start..span.end.max(start.end)),
                        value: Value::List(items),
                    },
                    Some(Open::Map(start, entries, ..)) => Node {
                        span: Span::new(self.file, start.start..span.end.max(start.end)),
                        value: Value::Map(entries),
                    },
                    None => return Ok(()),
                };
                self.add(node)?;
            }
            Event::Alias(_) => {
                return Err(
                    Diagnostic::error("E1001", "aliases are not allowed in this file").at(&span),
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, open: Open, span: &Span) -> Result<(), Diagnostic> {
        if self.stack.len() == MAX_DEPTH {
            return Err(Diagnostic::error(
                "E1001",
                format!("nested more than {MAX_DEPTH} levels deep"),
            )
            .at(span));
        }
        self.stack.push(open);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), Diagnostic> {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, pending, seen)) => match pending.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let name = match &node.value {
                        Value::Scalar(text) => Arc::clone(text),
                        Value::Null | Value::List(_) | Value::Map(_) => {
                            return Err(
                                Diagnostic::error("E1001", "a key must be text").at(&node.span)
                            );
                        }
                    };
                    if &*name == "<<" {
                        return Err(Diagnostic::error(
                            "E1001",
                            "merge keys are not allowed in this file",
                        )
                        .at(&node.span));
                    }
                    if let Some(first) = seen.get(&name) {
                        let problem = Diagnostic::error(
                            "E1003",
                            format!("the key `{name}` is written twice"),
                        );
                        self.problems
                            .push(problem.at(&node.span).related(first, "first written here"));
                    } else {
                        seen.insert(Arc::clone(&name), node.span.clone());
                    }
                    *pending = Some(Key {
                        name,
                        span: node.span,
                    });
                }
            },
        }
        Ok(())
    }
}

impl Node {
    /// The node as a mapping to take keys from.
    ///
    /// # Errors
    /// Reports a node that is anything else.
    pub fn section(self, problems: &mut Diagnostics) -> Option<Section> {
        let span = self.span.clone();
        match self.value {
            Value::Map(entries) => Some(Section {
                place: Place::of(&span),
                span,
                entries,
                known: Vec::new(),
                taken: Vec::new(),
            }),
            Value::Null => Some(Section {
                place: Place::of(&span),
                span,
                entries: Vec::new(),
                known: Vec::new(),
                taken: Vec::new(),
            }),
            Value::Scalar(_) | Value::List(_) => {
                problems.push(
                    Diagnostic::error("E1004", "expected a mapping (`key: value`)").at(&span),
                );
                None
            }
        }
    }

    /// The same, with the key as its place: findings about what is missing belong there, not to the
    /// whole block.
    pub fn section_of(self, key: &Key, problems: &mut Diagnostics) -> Option<Section> {
        let section = self.section(problems)?;
        Some(Section {
            span: key.span.clone(),
            ..section
        })
    }

    /// The places of all values whose key says that they are secret, wherever they stand.
    #[must_use]
    pub fn secrets(&self) -> Vec<Span> {
        let mut found = Vec::new();
        self.find_secrets(&mut found);
        found
    }

    fn find_secrets(&self, found: &mut Vec<Span>) {
        match &self.value {
            Value::Map(entries) => {
                for (key, node) in entries {
                    if is_secret(&key.name) {
                        found.push(node.span.clone());
                    } else {
                        node.find_secrets(found);
                    }
                }
            }
            Value::List(items) => items.iter().for_each(|item| item.find_secrets(found)),
            Value::Scalar(_) | Value::Null => {}
        }
    }

    /// Whether there are comments in the text that the node, as a whole document, was parsed from: a `#`
    /// outside all scalars.
    #[must_use]
    pub fn has_comments(&self, text: &str) -> bool {
        let mut scalars = Vec::new();
        self.find_scalars(&mut scalars);
        scalars.push(Span::new(&self.span.file, text.len()..text.len()));
        let mut from = 0;
        scalars.into_iter().any(|scalar| {
            let gap = text.get(from..scalar.start).unwrap_or_default();
            from = from.max(scalar.end);
            gap.contains('#')
        })
    }

    /// The places of all scalars, keys included, in order.
    fn find_scalars(&self, found: &mut Vec<Span>) {
        match &self.value {
            Value::Map(entries) => {
                for (key, node) in entries {
                    found.push(key.span.clone());
                    node.find_scalars(found);
                }
            }
            Value::List(items) => items.iter().for_each(|item| item.find_scalars(found)),
            Value::Scalar(_) => found.push(self.span.clone()),
            Value::Null => {}
        }
    }

    /// The node as text.
    pub fn text(&self, problems: &mut Diagnostics) -> Option<Arc<str>> {
        match &self.value {
            Value::Scalar(text) => Some(Arc::clone(text)),
            Value::Null => {
                problems.push(Diagnostic::error("E1004", "a value is missing here").at(&self.span));
                None
            }
            Value::List(_) | Value::Map(_) => {
                problems.push(Diagnostic::error("E1004", "expected a single value").at(&self.span));
                None
            }
        }
    }

    /// The node as text that parses.
    pub fn parse<T: FromStr>(&self, problems: &mut Diagnostics) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(problems)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                problems
                    .push(Diagnostic::error("E1006", format!("`{text}` {error}")).at(&self.span));
                None
            }
        }
    }

    /// The node as a list; a single value is a list of one.
    #[must_use]
    pub fn list(self) -> Vec<Self> {
        match self.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) | Value::Null => vec![self],
        }
    }
}

/// Whether a key's value is a secret: `secret`, `secret_sha256`, `client_secret`, `password`, but not the
/// name of a file or variable that holds one.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let elsewhere = key.ends_with("_file") || key.ends_with("_env");
    (key.starts_with("secret") || key.ends_with("secret") || key.contains("passw")) && !elsewhere
}

/// A mapping from which keys are taken one by one; what is left at [`finish`](Self::finish) is unknown.
#[derive(Clone, Debug)]
pub struct Section {
    /// Where it stands.
    pub span: Span,
    place: Place,
    entries: Vec<(Key, Node)>,
    known: Vec<&'static str>,
    /// Those of them that were there.
    taken: Vec<&'static str>,
}

impl Section {
    /// Takes a key's value, if it is there and not null.
    pub fn take(&mut self, name: &'static str) -> Option<Node> {
        self.take_entry(name).map(|(_, node)| node)
    }

    /// Takes a key that must not be there, so that no message suggests it.
    pub fn take_forbidden(&mut self, name: &str) -> Option<Node> {
        let index = self
            .entries
            .iter()
            .position(|(key, _)| &*key.name == name)?;
        Some(self.entries.remove(index).1)
    }

    /// Takes a key with its place.
    pub fn take_entry(&mut self, name: &'static str) -> Option<(Key, Node)> {
        self.known.push(name);
        let found = self.remove(name);
        observe::note(self, name, || match &found {
            Some((_, node)) => Found::Written(node.clone()),
            None => Found::Nothing,
        });
        found
    }

    fn remove(&mut self, name: &'static str) -> Option<(Key, Node)> {
        let index = self
            .entries
            .iter()
            .position(|(key, _)| &*key.name == name)?;
        let (key, node) = self.entries.remove(index);
        self.taken.push(name);
        match node.value {
            Value::Null => None,
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => Some((key, node)),
        }
    }

    /// Says what holds for a key that is not there, to whoever watches.
    pub fn falls_back(&self, name: &'static str, value: impl std::fmt::Display) {
        observe::note(self, name, || {
            Found::Default(Node {
                span: self.span.clone(),
                value: Value::Scalar(Arc::from(value.to_string())),
            })
        });
    }

    /// Says which values hold for a key that is not there, to whoever watches.
    pub fn falls_back_to(&self, name: &'static str, values: &[&str]) {
        observe::note(self, name, || {
            let span = || self.span.clone();
            let values = values.iter().map(|value| Node {
                span: span(),
                value: Value::Scalar(Arc::from(*value)),
            });
            Found::Default(Node {
                span: span(),
                value: Value::List(values.collect()),
            })
        });
    }

    /// Says what holds for a key besides what is written there, to whoever watches.
    pub fn holds(&self, name: &'static str, entries: Vec<(Key, Node)>) {
        observe::note(self, name, || {
            Found::Written(Node {
                span: self.span.clone(),
                value: Value::Map(entries),
            })
        });
    }

    /// Takes a key that must be there.
    pub fn require(&mut self, name: &'static str, problems: &mut Diagnostics) -> Option<Node> {
        let taken = self.take(name);
        if taken.is_none() {
            problems.push(
                Diagnostic::error("E1005", format!("`{name}` is missing here")).at(&self.span),
            );
        }
        taken
    }

    /// Takes a key and parses it.
    pub fn parse<T: FromStr>(&mut self, name: &'static str, problems: &mut Diagnostics) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        self.take(name)?.parse(problems)
    }

    /// Takes a nested mapping.
    pub fn section(&mut self, name: &'static str, problems: &mut Diagnostics) -> Option<Self> {
        let (key, node) = self.take_entry(name)?;
        node.section_of(&key, problems)
    }

    /// Takes `true` or `false`; absent is `false`.
    pub fn flag(&mut self, name: &'static str, problems: &mut Diagnostics) -> bool {
        self.flag_or(name, false, problems)
    }

    /// Takes `true` or `false`; anything else, which is reported, is `false`.
    pub fn flag_or(
        &mut self,
        name: &'static str,
        absent: bool,
        problems: &mut Diagnostics,
    ) -> bool {
        let Some(node) = self.take(name) else {
            self.falls_back(name, absent);
            return absent;
        };
        match node.text(problems).as_deref() {
            Some("true") => true,
            Some("false") | None => false,
            Some(other) => {
                let message = format!("`{other}` is neither `true` nor `false`");
                problems.push(Diagnostic::error("E1006", message).at(&node.span));
                false
            }
        }
    }

    /// Takes a nested mapping; where there is none, one with nothing in it, so that what holds then is known in
    /// one place.
    pub fn section_or_empty(&mut self, name: &'static str, problems: &mut Diagnostics) -> Self {
        let taken = self.section(name, problems);
        taken.unwrap_or_else(|| self.empty(name))
    }

    /// A mapping with nothing in it, as if it stood under a key; what is missing is shown here.
    #[must_use]
    pub fn empty(&self, name: &'static str) -> Self {
        Self {
            span: self.span.clone(),
            place: self.place.below(name),
            entries: Vec::new(),
            known: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Whether a key is here, whatever its value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| &*key.name == name)
    }

    /// Adds the entries of `defaults` whose keys are not here.
    pub fn inherit(&mut self, defaults: &Self) {
        for (key, node) in &defaults.entries {
            if self.entries.iter().all(|(own, _)| own.name != key.name) {
                self.entries.push((key.clone(), node.clone()));
            }
        }
    }

    /// All entries of a mapping whose keys are names.
    #[must_use]
    pub fn into_entries(self) -> Vec<(Key, Node)> {
        self.entries
    }

    /// Reports every key that nobody took. Beside secrets, the line is not shown: a misspelled key may
    /// have one behind it.
    pub fn finish(self, problems: &mut Diagnostics) {
        let mut present: BTreeSet<String> = self.taken.iter().map(|key| key.to_string()).collect();
        // Nobody mends more by hand, and each takes a walk through the known keys.
        const SUGGESTED: usize = 100;
        for (index, (key, _)) in self.entries.iter().enumerate() {
            let problem = Diagnostic::error("E1002", format!("unknown key `{}`", key.name));
            let mut problem = problem.at(&key.span);
            if index < SUGGESTED {
                problem = problem.correct(&key.name, self.known.iter().copied());
            }
            // The key that was meant may stand here already; then nobody but its author can choose.
            problem.fixes.retain(|fix| {
                fix.edits
                    .iter()
                    .all(|edit| present.insert(edit.replacement.clone()))
            });
            problems.push(match self.known.contains(&"secret_file") {
                true => problem.concealed(),
                false => problem,
            });
        }
    }
}

/// A key as a name of some kind.
pub fn name<T: FromStr>(key: &Key, problems: &mut Diagnostics) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    match key.name.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            problems.push(
                Diagnostic::error("E1006", format!("the name `{}` {error}", key.name))
                    .at(&key.span),
            );
            None
        }
    }
}

impl std::fmt::Display for Seconds {
    /// In the largest unit that divides it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
        let whole = units
            .into_iter()
            .find(|(size, _)| self.0 != 0 && self.0 % size == 0);
        let (size, unit) = whole.unwrap_or((1, 's'));
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// A length of time in whole seconds, written `60s`, `5m`, `2h` or `1d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seconds(pub i64);

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const ERROR: &str = "is not a duration such as `60s`, `5m`, `2h` or `1d`";
        let unit = text.chars().last().ok_or(ERROR)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(ERROR),
        };
        let digits = text.strip_suffix(unit).ok_or(ERROR)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ERROR);
        }
        let count: i64 = digits.parse().map_err(|_| ERROR)?;
        count
            .checked_mul(factor)
            .filter(|seconds| *seconds <= 3_155_760_000)
            .map(Self)
            .ok_or(ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<&'static str> {
        match parse(&Arc::from("f"), text) {
            Ok(_) => vec![],
            Err(problems) => problems.sorted().iter().map(|p| p.code).collect(),
        }
    }

    #[test]
    fn what_yaml_may_hide_is_refused() {
        assert_eq!(codes("a: 1\nb: 2\na: 3\nb: 4\n"), ["E1003", "E1003"]);
        for bad in [
            "a: &x 1",
            "a: &x [*x]",
            "a: !!str 1",
            "<<: {a: 1}",
            "a: 1\n---\nb: 2",
            "[a]: 1",
            "a: [",
        ] {
            assert_eq!(codes(bad), ["E1001"], "{bad}");
        }
        assert_eq!(codes(&"[".repeat(40)), ["E1001"]);
        assert_eq!(codes(&format!("a: {}", "x".repeat(MAX_FILE))), ["E1001"]);
    }

    #[test]
    fn scalars_are_source_text() {
        let root = parse(
            &Arc::from("f"),
            "a: no\nb: 1e3\nc: 0777\nd: 'null'\ne: null\n",
        )
        .unwrap();
        let mut problems = Diagnostics::default();
        let mut section = root.section(&mut problems).unwrap();
        for (key, text) in [("a", "no"), ("b", "1e3"), ("c", "0777"), ("d", "null")] {
            assert_eq!(
                &*section.take(key).unwrap().text(&mut problems).unwrap(),
                text
            );
        }
        assert!(section.take("e").is_none() && problems.is_empty());
    }

    #[test]
    fn spans_are_bytes_even_after_non_ascii_text() {
        let root = parse(&Arc::from("f"), "é: ü\nbad: x\n").unwrap();
        let mut problems = Diagnostics::default();
        let mut section = root.section(&mut problems).unwrap();
        let node = section.take("bad").unwrap();
        assert_eq!((node.span.start, node.span.end), (12, 13));
    }

    #[test]
    fn durations() {
        assert_eq!("5m".parse(), Ok(Seconds(300)));
        for written in ["0s", "59s", "90s", "5m", "2h", "1d", "36h"] {
            assert_eq!(written.parse::<Seconds>().unwrap().to_string(), written);
        }
        for bad in [
            "",
            "5",
            "m",
            "-5m",
            "5 m",
            "1.5h",
            "99999999999999999999s",
            "5x",
            "5é",
        ] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }
}
