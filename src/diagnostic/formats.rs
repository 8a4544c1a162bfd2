//! Findings for machines: JSON, SARIF 2.1.0, GitHub's workflow commands. Every format lists all findings,
//! in the order of [`Diagnostics::sorted`]; only text for people stops at a number, because a machine
//! that got a part would take it for the whole.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::codes::{self, Code};
use super::render::MAX_SHOWN;
use super::{Diagnostic, Diagnostics, Replacement, SourceText, Span};

/// A form that machines read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A JSON array.
    Json,
    /// One SARIF 2.1.0 log with one run (OASIS, 2020).
    Sarif,
    /// One workflow command a line, as GitHub Actions reads them.
    Github,
}

impl Diagnostics {
    /// All findings in a form for machines, with a line's end.
    #[must_use]
    pub fn format(&self, format: Format, sources: &SourceText) -> String {
        let items = self.sorted();
        match format {
            Format::Json => format!("{:#}\n", self.all_to_json(sources)),
            Format::Sarif => format!("{:#}\n", sarif(&items, sources)),
            Format::Github => items.iter().map(|item| item.to_github(sources)).collect(),
        }
    }

    /// All findings as a JSON array.
    #[must_use]
    pub fn all_to_json(&self, sources: &SourceText) -> Value {
        let items = self.sorted().into_iter();
        items.map(|item| item.to_json(sources)).collect()
    }

    /// The first findings as a JSON array, for `/status`, which people look at.
    #[must_use]
    pub fn to_json(&self, sources: &SourceText) -> Value {
        self.sorted()
            .into_iter()
            .take(MAX_SHOWN)
            .map(|item| item.to_json(sources))
            .collect()
    }
}

impl SourceText {
    /// A place as JSON. Lines and columns are from 1, columns in characters, ends one past the last.
    #[must_use]
    pub fn place_to_json(&self, span: &Span) -> Value {
        let ((line, column), (end_line, end_column)) = extent(span, self);
        json!({
            "file": self.shown(&span.file),
            "line": line, "column": column, "end_line": end_line, "end_column": end_column,
        })
    }
}

/// Where a place begins and ends: at the beginning of a file whose text is not known.
fn extent(span: &Span, sources: &SourceText) -> ((usize, usize), (usize, usize)) {
    let start = sources.line_column(span).unwrap_or((1, 1));
    (start, sources.end_line_column(span).unwrap_or(start))
}

impl Diagnostic {
    /// The finding as JSON.
    #[must_use]
    pub fn to_json(&self, sources: &SourceText) -> Value {
        let place = |span: &Span| sources.place_to_json(span);
        let related = self.related.iter();
        let related = related.map(|(span, label)| json!({ "at": place(span), "label": label }));
        let edit = |one: &Replacement| json!({ "at": place(&one.span), "replacement": one.text });
        let fixes = self.offers(sources).into_iter().map(|(fix, edits)| {
            json!({ "title": fix.title, "edits": edits.iter().map(edit).collect::<Value>() })
        });
        json!({
            "code": self.code,
            "severity": self.severity.name(),
            "message": self.message,
            "at": self.span.as_ref().map(place),
            "label": self.label,
            "related": related.collect::<Value>(),
            "help": self.help,
            "notes": self.notes,
            "fixes": fixes.collect::<Value>(),
        })
    }

    /// `::error file=…,line=…,endLine=…,col=…,endColumn=…,title=E0204::message`.
    fn to_github(&self, sources: &SourceText) -> String {
        let mut properties = Vec::new();
        if let Some(span) = sources.whereabouts(self) {
            let (start, end) = extent(&span, sources);
            properties.push(("file", relative(&sources.shown(&span.file)).to_owned()));
            properties.push(("line", start.0.to_string()));
            properties.push(("endLine", end.0.to_string()));
            properties.push(("col", start.1.to_string()));
            properties.push(("endColumn", end.1.to_string()));
        }
        properties.push(("title", self.code.to_owned()));
        let properties: Vec<String> = properties
            .into_iter()
            .map(|(name, value)| format!("{name}={}", escape_property(&value)))
            .collect();
        let (level, message) = (self.severity.name(), escape_data(&self.whole_message()));
        format!("::{level} {}::{message}\n", properties.join(","))
    }

    /// The message, with the help on lines of its own, for those who show nothing else.
    fn whole_message(&self) -> String {
        let notes = self.notes.iter().map(|note| format!("\n{note}"));
        let help = self.help.iter().map(|help| format!("\nhelp: {help}"));
        std::iter::once(self.message.clone())
            .chain(notes)
            .chain(help)
            .collect()
    }
}

/// What `actions/toolkit` escapes in a command's message.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// What it escapes in a command's properties.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A path without the `./` with which it was given.
fn relative(path: &str) -> &str {
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix("./") {
        rest = shorter.trim_start_matches('/');
    }
    rest
}

/// The name of the directory where it was given as an absolute path, so that every URI of a file is
/// relative.
const BASE: &str = "DIR";

fn sarif(items: &[&Diagnostic], sources: &SourceText) -> Value {
    let used: BTreeSet<&str> = items.iter().map(|item| item.code).collect();
    let rules: Vec<&Code> = used.into_iter().filter_map(codes::find).collect();
    let results = items.iter().map(|item| result(item, &rules, sources));
    let base = sources.directory().filter(|dir| dir.starts_with('/'));
    let base = base.map(|dir| format!("file://{}/", percent(dir.trim_end_matches('/'))));
    let run = object([
        (
            "tool",
            Some(json!({ "driver": {
                "name": "cambist",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|code| rule(code)).collect::<Value>(),
            } })),
        ),
        ("columnKind", Some(json!("unicodeCodePoints"))),
        (
            "originalUriBaseIds",
            base.map(|uri| json!({ BASE: { "uri": uri } })),
        ),
        ("results", Some(results.collect())),
    ]);
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    })
}

/// An object of the members that are there: most of SARIF is optional, and `null` is not allowed.
fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let there = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect())
}

fn rule(code: &Code) -> Value {
    json!({
        "id": code.code,
        "shortDescription": { "text": code.title },
        "help": { "text": code.page, "markdown": code.page },
    })
}

fn result(item: &Diagnostic, rules: &[&Code], sources: &SourceText) -> Value {
    let location = |span: &Span, message: Option<&String>| {
        let place = object([
            ("artifactLocation", Some(artifact(&span.file, sources))),
            ("region", Some(region(span, sources))),
        ]);
        object([
            ("physicalLocation", Some(place)),
            ("message", message.map(|text| json!({ "text": text }))),
        ])
    };
    // Code scanning refuses a whole log for one result that stands nowhere.
    let locations = sources.whereabouts(item).into_iter();
    let locations = locations.map(|span| location(&span, item.label.as_ref()));
    let related = item.related.iter();
    let related = related.map(|(span, label)| location(span, Some(label)));
    let fixes = item.offers(sources).into_iter().map(|(fix, edits)| {
        let replacement = |one: &Replacement| {
            json!({
                "deletedRegion": region(&one.span, sources),
                "insertedContent": { "text": one.text },
            })
        };
        let file = edits.first().map(|one| artifact(&one.span.file, sources));
        json!({
            "description": { "text": fix.title },
            "artifactChanges": [{
                "artifactLocation": file,
                "replacements": edits.iter().map(replacement).collect::<Value>(),
            }],
        })
    });
    let index = rules.iter().position(|code| code.code == item.code);
    object([
        ("ruleId", Some(json!(item.code))),
        ("ruleIndex", index.map(|index| json!(index))),
        ("level", Some(json!(item.severity.name()))),
        ("message", Some(json!({ "text": item.whole_message() }))),
        ("locations", Some(locations.collect())),
        ("relatedLocations", Some(related.collect())),
        ("fixes", Some(fixes.collect())),
    ])
}

fn artifact(file: &str, sources: &SourceText) -> Value {
    let absolute = |path: &str| path.starts_with('/');
    match sources.directory() {
        _ if absolute(file) => json!({ "uri": format!("file://{}", percent(file)) }),
        Some(dir) if absolute(dir) => json!({ "uri": percent(file), "uriBaseId": BASE }),
        _ => json!({ "uri": percent(relative(&sources.shown(file))) }),
    }
}

/// Lines and columns from 1, the end one past the last character.
fn region(span: &Span, sources: &SourceText) -> Value {
    let ((line, column), (end_line, end_column)) = extent(span, sources);
    json!({
        "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
    })
}

/// A path as a URI reference (RFC 3986 §3.3).
fn percent(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
