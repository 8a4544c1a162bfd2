//! Pieces of SMT-LIB text, and the languages of values.

use cambist::policy::pattern::{Glob, UriPattern};

/// A piece of SMT-LIB text.
pub type Term = String;

/// What values are made of: a part of what they may be made of. What is found with these characters is a
/// request all the same.
const PLAIN: &str = "(re.union (re.range \"-\" \":\") (re.range \"a\" \"z\"))";
/// Within a host or a path.
const LETTERS: &str = "(re.union (re.range \"0\" \"9\") (re.range \"a\" \"z\"))";

pub fn all(parts: impl IntoIterator<Item = Term>) -> Term {
    joined("and", "true", "false", parts)
}

pub fn any(parts: impl IntoIterator<Item = Term>) -> Term {
    joined("or", "false", "true", parts)
}

fn joined(word: &str, of_none: &str, decides: &str, parts: impl IntoIterator<Item = Term>) -> Term {
    let mut kept: Vec<Term> = Vec::new();
    for part in parts {
        if part == decides {
            return part;
        }
        if part != of_none {
            kept.push(part);
        }
    }
    match kept.len() {
        0 => of_none.to_owned(),
        1 => kept.remove(0),
        _ => format!("({word} {})", kept.join(" ")),
    }
}

pub fn not(part: Term) -> Term {
    match part.as_str() {
        "true" => "false".to_owned(),
        "false" => "true".to_owned(),
        _ => format!("(not {part})"),
    }
}

pub fn implies(when: Term, then: Term) -> Term {
    any([not(when), then])
}

pub fn equal(one: &str, other: &str) -> Term {
    format!("(= {one} {other})")
}

pub fn literal(text: &str) -> Term {
    assert!(
        text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'\\'),
        "no way to write {text:?}"
    );
    format!("\"{}\"", text.replace('"', "\"\""))
}

pub fn number(of: i128) -> Term {
    match of < 0 {
        true => format!("(- {})", of.unsigned_abs()),
        false => of.to_string(),
    }
}

pub fn within(text: &str, language: &str) -> Term {
    format!("(str.in_re {text} {language})")
}

/// Any text.
pub fn texts() -> Term {
    format!("(re.* {PLAIN})")
}

/// Any text but the empty one: names and scope tokens.
pub fn names() -> Term {
    format!("(re.+ {PLAIN})")
}

/// Canonical hosts, with and without a port.
pub fn authorities() -> Term {
    let label = format!("(re.++ (re.range \"a\" \"z\") (re.* {LETTERS}))");
    format!(
        "(re.++ {label} (re.* (re.++ (str.to_re \".\") {label})) (re.opt (re.union (str.to_re \":8443\") (str.to_re \":8444\"))))"
    )
}

/// Canonical paths.
pub fn paths() -> Term {
    let segment = format!("(re.++ (str.to_re \"/\") (re.+ {LETTERS}))");
    format!("(re.++ (re.* {segment}) (re.opt (str.to_re \"/\")))")
}

/// What follows `urn:`.
pub fn opaque() -> Term {
    format!("(re.++ (re.+ (re.range \"a\" \"z\")) (str.to_re \":\") (re.+ {LETTERS}))")
}

/// What follows `?`.
pub fn queries() -> Term {
    format!("(re.* (re.union (str.to_re \"=\") {LETTERS}))")
}

/// What a glob matches: `*` stops at the separators, `**` does not.
pub fn glob(source: &str, separators: &str) -> Term {
    let visible = "(re.range \"!\" \"~\")".to_owned();
    let mut rest = source.chars().peekable();
    let mut pieces = vec!["(str.to_re \"\")".to_owned(); 2];
    let mut text = String::new();
    let flush = |text: &mut String, pieces: &mut Vec<Term>| {
        if !text.is_empty() {
            pieces.push(format!("(str.to_re {})", literal(text)));
            text.clear();
        }
    };
    while let Some(c) = rest.next() {
        if c != '*' {
            text.push(c);
            continue;
        }
        flush(&mut text, &mut pieces);
        let crosses = rest.next_if_eq(&'*').is_some() || separators.is_empty();
        let of = match crosses {
            true => visible.clone(),
            false => all_but(separators),
        };
        pieces.push(format!("(re.* {of})"));
    }
    flush(&mut text, &mut pieces);
    format!("(re.++ {})", pieces.join(" "))
}

/// Visible characters but these.
fn all_but(separators: &str) -> Term {
    let mut stops: Vec<u8> = separators.bytes().collect();
    stops.sort_unstable();
    let mut ranges = Vec::new();
    let mut from = b'!';
    for stop in stops.into_iter().chain([b'~' + 1]) {
        if from < stop {
            let (first, last) = (char::from(from), char::from(stop - 1));
            let [first, last] = [first, last].map(|c| literal(&c.to_string()));
            ranges.push(format!("(re.range {first} {last})"));
        }
        from = stop + 1;
    }
    match ranges.len() {
        1 => ranges.remove(0),
        _ => format!("(re.union {})", ranges.join(" ")),
    }
}

pub fn like(text: &str, of: &Glob, separators: &str) -> Term {
    match of.source().contains('*') {
        true => within(text, &glob(of.source(), separators)),
        false => equal(text, &literal(of.source())),
    }
}

/// A URI, part by part.
#[derive(Clone, Debug)]
pub struct UriTerm {
    /// Whether there is an authority.
    pub hierarchical: Term,
    pub scheme: Term,
    pub authority: Term,
    pub path: Term,
    /// Whether there is a query.
    pub queried: Term,
    pub query: Term,
}

impl UriTerm {
    /// One of the configuration's.
    pub fn of(uri: &cambist::oauth::uri::Uri) -> Self {
        let query = uri.canonical().split_once('?').map(|(_, query)| query);
        Self {
            hierarchical: uri.authority().is_some().to_string(),
            scheme: literal(uri.scheme()),
            authority: literal(uri.authority().unwrap_or_default()),
            path: literal(uri.path()),
            queried: uri.has_query().to_string(),
            query: literal(query.unwrap_or_default()),
        }
    }

    pub fn equal(&self, other: &Self) -> Term {
        let parts = |uri: &Self| {
            [
                &uri.hierarchical,
                &uri.scheme,
                &uri.authority,
                &uri.path,
                &uri.queried,
                &uri.query,
            ]
            .map(Clone::clone)
        };
        let both = parts(self).into_iter().zip(parts(other));
        all(both.map(|(one, other)| equal(&one, &other)))
    }

    /// At or below another.
    pub fn under(&self, container: &cambist::oauth::uri::Uri) -> Term {
        let origin = [
            self.hierarchical.clone(),
            equal(&self.scheme, &literal(container.scheme())),
            equal(
                &self.authority,
                &literal(container.authority().unwrap_or_default()),
            ),
            self.path_under(container.path()),
        ];
        all(origin)
    }

    fn path_under(&self, container: &str) -> Term {
        let container = container.strip_suffix('/').unwrap_or(container);
        let below = format!("{container}/");
        any([
            equal(&self.path, &literal(container)),
            format!("(str.prefixof {} {})", literal(&below), self.path),
        ])
    }

    /// What a pattern says, read off its source; what its source does not tell (whether it is `under` or
    /// `like`, and whether queries match) off what it matches.
    pub fn matches(&self, pattern: &UriPattern) -> Term {
        let source = pattern.source();
        let (scheme, rest) = source.split_once("://").unwrap();
        let (wild, rest) = match (rest.strip_prefix("**."), rest.strip_prefix("*.")) {
            (Some(rest), _) => (2, rest),
            (None, Some(rest)) => (1, rest),
            (None, None) => (0, rest),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let first = if wild > 0 { "z." } else { "" };
        let sample = format!("{scheme}://{first}{authority}{}", path.replace('*', "z"));
        let holds = |text: String| pattern.matches(&text.parse().unwrap());
        let below = format!("{}/zz", sample.trim_end_matches('/'));
        let is_under = !path.contains('*') && holds(below);
        let host = match wild {
            0 => equal(&self.authority, &literal(authority)),
            _ => {
                let label = match wild {
                    1 => all_but("."),
                    _ => "(re.range \"!\" \"~\")".to_owned(),
                };
                let rest = literal(&format!(".{authority}"));
                within(
                    &self.authority,
                    &format!("(re.++ (re.+ {label}) (str.to_re {rest}))"),
                )
            }
        };
        let path = match is_under {
            true => self.path_under(path),
            false if path.contains('*') => within(&self.path, &glob(path, "/")),
            false => equal(&self.path, &literal(path)),
        };
        let query = match holds(format!("{sample}?q")) {
            true => "true".to_owned(),
            false => not(self.queried.clone()),
        };
        all([
            self.hierarchical.clone(),
            equal(&self.scheme, &literal(scheme)),
            host,
            path,
            query,
        ])
    }
}
