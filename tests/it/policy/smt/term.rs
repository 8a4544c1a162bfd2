//! Pieces of SMT-LIB text, and the languages of values.
//!
//! A text is a bit vector of as many bytes as any text may have here, with zeros after its end: what z3 has
//! for strings is too slow for thousands of questions. A number is a bit vector of its width.

use std::cell::RefCell;
use std::collections::BTreeMap;

use cambist::policy::pattern::{Glob, UriPattern};

/// A piece of SMT-LIB text.
pub type Term = String;

/// The longest text, in bytes. One that is found within this is a request all the same.
pub const LONGEST: usize = 20;
/// How wide a number is.
pub const NUMBER: u32 = 64;

thread_local! {
    /// Forms of text that questions use, by name: their definitions.
    static FORMS: RefCell<BTreeMap<String, Term>> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether a text has a form, which is written down once.
fn form(name: &str, text: &str, is: impl FnOnce(&str) -> Term) -> Term {
    let name = format!("|form {name}|");
    FORMS.with_borrow_mut(|forms| {
        if !forms.contains_key(&name) {
            forms.insert(name.clone(), is("t"));
        }
    });
    format!("({name} {text})")
}

/// What a script needs to be read.
pub fn definitions(script: &str) -> String {
    FORMS.with_borrow(|forms| {
        let used = forms.iter().filter(|(name, _)| script.contains(&**name));
        let width = 8 * LONGEST;
        let define = used
            .map(|(name, is)| format!("(define-fun {name} ((t (_ BitVec {width}))) Bool {is})\n"));
        define.collect()
    })
}

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

/// A text of the configuration.
pub fn literal(text: &str) -> Term {
    assert!(
        text.len() <= LONGEST && text.bytes().all(|b| (b'!'..=b'~').contains(&b)),
        "no way to write {text:?}"
    );
    let byte = |at: usize| text.as_bytes().get(at).copied().unwrap_or(0);
    let bytes = (0..LONGEST).map(|at| format!("{:02x}", byte(at)));
    format!("#x{}", bytes.collect::<String>())
}

pub fn number(of: i64) -> Term {
    format!("(_ bv{} {NUMBER})", of.cast_unsigned())
}

pub fn sum(parts: impl IntoIterator<Item = Term>) -> Term {
    let zero = number(0);
    parts
        .into_iter()
        .fold(zero, |sum, part| format!("(bvadd {sum} {part})"))
}

/// A byte of a text.
fn byte(text: &str, at: usize) -> Term {
    bytes(text, at, 1)
}

fn bytes(text: &str, at: usize, count: usize) -> Term {
    let high = 8 * (LONGEST - at) - 1;
    let low = 8 * (LONGEST - at - count);
    format!("((_ extract {high} {low}) {text})")
}

fn is(text: &str, at: usize, wanted: u8) -> Term {
    match at < LONGEST {
        true => equal(&byte(text, at), &format!("#x{wanted:02x}")),
        // There is nothing.
        false => (wanted == 0).to_string(),
    }
}

fn between(text: &str, at: usize, first: char, last: char) -> Term {
    let byte = byte(text, at);
    let (first, last) = (first as u32, last as u32);
    format!("(and (bvule #x{first:02x} {byte}) (bvule {byte} #x{last:02x}))")
}

/// What is true of every byte of a text, or the text is over there.
fn every_byte(text: &str, such: impl Fn(usize) -> Term) -> Term {
    let each = (0..LONGEST).map(|at| {
        let over = (at..LONGEST.min(at + 2)).map(|at| is(text, at, 0));
        any([all(over), such(at)])
    });
    all(each)
}

fn letter(text: &str, at: usize) -> Term {
    between(text, at, 'a', 'z')
}

fn alphanumeric(text: &str, at: usize) -> Term {
    any([letter(text, at), between(text, at, '0', '9')])
}

/// Any text of a part of the characters that there are.
pub fn is_text(text: &str) -> Term {
    form("text", text, |text| {
        every_byte(text, |at| {
            any([letter(text, at), between(text, at, '-', ':')])
        })
    })
}

/// Any but the empty one: names and scope tokens.
pub fn is_name(text: &str) -> Term {
    all([not(is(text, 0, 0)), is_text(text)])
}

/// Canonical hosts, with and without a port.
fn is_authority(text: &str) -> Term {
    form("authority", text, authority)
}

fn authority(text: &str) -> Term {
    let dot = |at| all([is(text, at, b'.'), letter_at(text, at + 1)]);
    let port = |at: usize| {
        let wanted = b":8443\0".iter().enumerate();
        all(wanted.map(|(place, wanted)| is(text, at + place, *wanted)))
    };
    let each = every_byte(text, |at| any([alphanumeric(text, at), dot(at), port(at)]));
    all([letter(text, 0), each])
}

fn letter_at(text: &str, at: usize) -> Term {
    match at < LONGEST {
        true => letter(text, at),
        false => "false".to_owned(),
    }
}

/// Canonical paths: a slash before every segment, and perhaps one at the end.
fn is_path(text: &str) -> Term {
    form("path", text, path)
}

fn path(text: &str) -> Term {
    let slash = |at| is(text, at, b'/');
    let single = |at: usize| all([slash(at), not(slash(at + 1))]);
    let each = every_byte(text, |at| any([alphanumeric(text, at), single(at)]));
    all([any([is(text, 0, 0), slash(0)]), each])
}

/// What follows `?`.
fn is_query(text: &str) -> Term {
    form("query", text, |text| {
        every_byte(text, |at| any([alphanumeric(text, at), is(text, at, b'=')]))
    })
}

/// A URI that can be asked for.
pub fn is_uri(uri: &UriTerm) -> Term {
    let scheme = |name: &str| equal(&uri.scheme, &literal(name));
    let path = |name: &str| equal(&uri.path, &literal(name));
    let web = all([
        any([scheme("https"), scheme("http")]),
        is_authority(&uri.authority),
        is_path(&uri.path),
    ]);
    let urn = all([
        scheme("urn"),
        equal(&uri.authority, &literal("")),
        any([path("a:b"), path("a:c")]),
        not(uri.queried.clone()),
    ]);
    let query = format!(
        "(ite {} {} {})",
        uri.queried,
        is_query(&uri.query),
        equal(&uri.query, &literal(""))
    );
    all([format!("(ite {} {web} {urn})", uri.hierarchical), query])
}

pub fn begins(text: &str, with: &str) -> Term {
    if with.is_empty() {
        return "true".to_owned();
    }
    if with.len() > LONGEST {
        return "false".to_owned();
    }
    let wanted: String = with.bytes().map(|byte| format!("{byte:02x}")).collect();
    equal(&bytes(text, 0, with.len()), &format!("#x{wanted}"))
}

/// A piece of a pattern.
enum Piece {
    /// This byte.
    Byte(u8),
    /// One that is none of these.
    One(Vec<u8>),
    /// Any number of those.
    Many(Vec<u8>),
}

/// The pieces of a glob: `*` stops at the separators, `**` does not.
fn pieces(source: &str, separators: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = source.bytes().peekable();
    while let Some(byte) = rest.next() {
        pieces.push(match byte {
            b'*' if rest.next_if_eq(&b'*').is_some() => Piece::Many(Vec::new()),
            b'*' => Piece::Many(separators.bytes().collect()),
            byte => Piece::Byte(byte),
        });
    }
    pieces
}

/// Whether the whole of a text has a form: at each place of the text, which places of the pattern can have
/// been reached; each is bound to a name, since what comes later needs it more than once.
fn has_form(text: &str, pieces: &[Piece]) -> Term {
    let none_of = |at: usize, stops: &[u8]| {
        let stops = stops.iter().chain([&0]);
        all(stops.map(|stop| not(is(text, at, *stop))))
    };
    // A name is bound for what is not plainly so or not.
    let mut bound: Vec<Vec<(String, Term)>> = Vec::new();
    let close = |reached: &mut Vec<Term>| {
        for (place, piece) in pieces.iter().enumerate() {
            if matches!(piece, Piece::Many(_)) {
                let (here, next) = (reached[place].clone(), reached[place + 1].clone());
                reached[place + 1] = any([here, next]);
            }
        }
    };
    let mut reached = vec!["false".to_owned(); pieces.len() + 1];
    reached[0] = "true".to_owned();
    close(&mut reached);
    let mut over = vec![all([reached[pieces.len()].clone(), is(text, 0, 0)])];
    for at in 0..LONGEST {
        let mut next = vec!["false".to_owned(); pieces.len() + 1];
        for (place, piece) in pieces.iter().enumerate() {
            let here = reached[place].clone();
            let (to, step) = match piece {
                Piece::Byte(byte) => (place + 1, is(text, at, *byte)),
                Piece::One(stops) => (place + 1, none_of(at, stops)),
                Piece::Many(stops) => (place, none_of(at, stops)),
            };
            let step = all([here, step]);
            next[to] = any([next[to].clone(), step]);
        }
        close(&mut next);
        let mut names = Vec::new();
        for (place, term) in next.iter_mut().enumerate() {
            if term.starts_with('(') {
                let name = format!("r{}.{place}", at + 1);
                names.push((name.clone(), std::mem::replace(term, name)));
            }
        }
        bound.push(names);
        over.push(all([next[pieces.len()].clone(), is(text, at + 1, 0)]));
        reached = next;
    }
    let mut term = any(over);
    for names in bound.into_iter().rev().filter(|names| !names.is_empty()) {
        let names = names.iter().map(|(name, term)| format!("({name} {term})"));
        term = format!("(let ({}) {term})", names.collect::<String>());
    }
    term
}

/// What a glob matches.
pub fn like(text: &str, of: &Glob, separators: &str) -> Term {
    matches(text, of.source(), separators)
}

fn matches(text: &str, source: &str, separators: &str) -> Term {
    match source.strip_suffix("**") {
        _ if !source.contains('*') => equal(text, &literal(source)),
        Some(start) if !start.contains('*') => begins(text, start),
        _ => form(&format!("{source} {separators}"), text, |text| {
            has_form(text, &pieces(source, separators))
        }),
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
            begins(&self.path, &below),
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
            wild => {
                let stops = if wild == 1 { b".".to_vec() } else { Vec::new() };
                let labels = [Piece::One(stops.clone()), Piece::Many(stops)];
                let rest = format!(".{authority}");
                let rest = rest.bytes().map(Piece::Byte);
                let pieces: Vec<Piece> = labels.into_iter().chain(rest).collect();
                let name = format!("host {wild} {authority}");
                form(&name, &self.authority, |text| has_form(text, &pieces))
            }
        };
        let path = match is_under {
            true => self.path_under(path),
            false if path.contains('*') => matches(&self.path, path, "/"),
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
