//! Keys: what a rule must find in a request, as one number that a table can look up.
//!
//! A key only ever leads to a rule, which is then tested itself. Two values that happen to have the same
//! key cost one test more and change nothing.

use std::hash::{BuildHasherDefault, Hasher};

use super::dimension::Dimension;
use crate::context::ExchangeContext;
use crate::oauth::uri::Uri;
use crate::policy::pattern::{Anchor, Glob, UriPattern};
use crate::policy::rule::Constant;
use crate::policy::schema::Value;

/// One key, and how requests come to have it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Key {
    pub(super) hash: u64,
    /// Of the keys of one kind, one value has at most one.
    pub(super) how: How,
}

/// How requests come to have a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum How {
    /// By a fact that has no text: there is a value, there is none.
    Plain,
    /// By the whole value.
    Whole,
    /// By the first so many bytes of a text.
    Begin(u8),
    /// By the last so many.
    End(u8),
    /// By a URI up to the end of one of its segments, of so many bytes.
    Segments(usize),
    /// By the scheme of a URI and what follows a dot in its host, of so many bytes.
    Host(usize),
}

const fn plain(number: u64) -> Key {
    Key {
        hash: mix(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        how: How::Plain,
    }
}

impl Key {
    /// There is no value, no member, no target.
    pub(super) const ABSENT: Self = plain(1);
    /// There is one.
    pub(super) const PRESENT: Self = plain(2);
    /// The target that counts is a resource.
    pub(super) const RESOURCE: Self = plain(3);
    /// It is an audience.
    pub(super) const AUDIENCE: Self = plain(4);

    /// The key of a constant.
    pub(super) fn constant(constant: &Constant) -> Option<Self> {
        whole(constant.value()).map(|hash| Self {
            hash,
            how: How::Whole,
        })
    }

    /// The key of a text.
    pub(super) fn text(text: &str) -> Self {
        Self {
            hash: bytes(TEXT, text.as_bytes()),
            how: How::Whole,
        }
    }

    /// The key of a URI.
    pub(super) fn uri(uri: &Uri) -> Self {
        Self {
            hash: bytes(URI, uri.canonical().as_bytes()),
            how: How::Whole,
        }
    }

    /// The key of a number.
    pub(super) fn number(number: i64) -> Self {
        Self {
            hash: int(number),
            how: How::Whole,
        }
    }

    /// A key that every match of a pattern has; `None` where only a walk can tell.
    pub(super) fn glob(glob: &Glob) -> Option<Self> {
        let (begins, ends) = glob.ends();
        if !glob.has_stars() {
            return Some(Self::text(begins));
        }
        let length = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
        match (length(begins), length(ends)) {
            (0, 0) => None,
            (0, count) => {
                let start = ends.len().saturating_sub(count.into());
                let part = ends.as_bytes().get(start..).unwrap_or_default();
                Some(Self {
                    hash: mix(part.iter().rev().fold(END, step)),
                    how: How::End(count),
                })
            }
            (count, _) => Some(Self {
                hash: mix(begins
                    .bytes()
                    .take(count.into())
                    .fold(BEGIN, |hash, byte| step(hash, &byte))),
                how: How::Begin(count),
            }),
        }
    }

    /// A key that every match of a pattern has.
    pub(super) fn pattern(pattern: &UriPattern) -> Self {
        match pattern.anchor() {
            Anchor::Segments(begins) => Self {
                hash: mix(begins.as_bytes().iter().fold(SEGMENTS, step)),
                how: How::Segments(begins.len()),
            },
            Anchor::Host(scheme, rest) => Self {
                hash: host(scheme, rest),
                how: How::Host(rest.len()),
            },
        }
    }
}

const TEXT: u64 = 0x51;
const URI: u64 = 0xa7;
const INT: u64 = 0x3b;
const BOOL: u64 = 0x8d;
const IP: u64 = 0xc5;
const HOST: u64 = 0x6f;
/// Where walks byte by byte begin: FNV-1a's number, and others.
const BEGIN: u64 = 0xcbf2_9ce4_8422_2325;
const END: u64 = 0x84_2223_25cb_f29c;
const SEGMENTS: u64 = 0x9ce4_8422_2325_cbf2;

/// Spreads every bit over all others (MurmurHash3's last step).
const fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// One byte of a walk (FNV-1a).
fn step(hash: u64, byte: &u8) -> u64 {
    (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
}

/// All bytes, eight at a time.
fn bytes(tag: u64, mut rest: &[u8]) -> u64 {
    let mut hash = tag ^ (rest.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        hash = round(hash, u64::from_le_bytes(*chunk));
        rest = after;
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    mix(round(hash, u64::from_le_bytes(last)))
}

fn round(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

fn int(number: i64) -> u64 {
    bytes(INT, &number.to_le_bytes())
}

fn host(scheme: &str, rest: &str) -> u64 {
    bytes(bytes(HOST, scheme.as_bytes()), rest.as_bytes())
}

/// The key of a whole value; `None` of what no constant can be.
fn whole(value: Value<'_>) -> Option<u64> {
    Some(match value {
        Value::Text(text) => bytes(TEXT, text.as_bytes()),
        Value::Uri(uri) => bytes(URI, uri.canonical().as_bytes()),
        Value::Int(number) => int(number),
        Value::Bool(truth) => bytes(BOOL, &[u8::from(truth)]),
        Value::Ip(std::net::IpAddr::V4(ip)) => bytes(IP, &ip.octets()),
        Value::Ip(std::net::IpAddr::V6(ip)) => bytes(IP, &ip.octets()),
        Value::Set(_) | Value::Uris(_) | Value::Hops(_) | Value::Hop(_) | Value::MayAct(_) => {
            return None;
        }
    })
}

/// Which keys a table has, so that a request only works out those.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    plain: bool,
    whole: bool,
    segments: bool,
    host: bool,
    begin: Lengths,
    end: Lengths,
}

/// A set of lengths, and the greatest of them.
#[derive(Clone, Debug, Default)]
struct Lengths {
    of: [u64; 4],
    most: u8,
}

impl Lengths {
    fn add(&mut self, length: u8) {
        if let Some(word) = self.of.get_mut(usize::from(length / 64)) {
            *word |= 1 << (length % 64);
        }
        self.most = self.most.max(length);
    }

    fn has(&self, length: usize) -> bool {
        let word = self.of.get(length / 64);
        word.is_some_and(|word| word >> (length % 64) & 1 == 1)
    }

    /// The keys of the first so many of `bytes`, for every length in the set.
    fn walk<'b>(
        &self,
        start: u64,
        bytes: impl Iterator<Item = &'b u8>,
        found: &mut impl FnMut(u64),
    ) {
        let mut hash = start;
        for (index, byte) in bytes.take(self.most.into()).enumerate() {
            hash = step(hash, byte);
            if self.has(index + 1) {
                found(mix(hash));
            }
        }
    }
}

impl Asked {
    pub(super) fn add(&mut self, key: Key) {
        match key.how {
            How::Plain => self.plain = true,
            How::Whole => self.whole = true,
            How::Segments(_) => self.segments = true,
            How::Host(_) => self.host = true,
            How::Begin(length) => self.begin.add(length),
            How::End(length) => self.end.add(length),
        }
    }

    /// Calls `found` with every key of a dimension that a request has and a table asks for; now and then
    /// twice with the same.
    pub(super) fn keys(
        &self,
        dimension: &Dimension,
        context: &ExchangeContext,
        found: &mut impl FnMut(u64),
    ) {
        match dimension {
            Dimension::Scalar(attribute) => match attribute.get(context) {
                None => self.plain(Key::ABSENT, found),
                Some(value) => {
                    self.plain(Key::PRESENT, found);
                    self.value(value, found);
                }
            },
            Dimension::Member(attribute) => self.members(attribute.get(context), false, found),
            Dimension::First(attribute) => self.members(attribute.get(context), true, found),
            Dimension::FirstTarget => {
                let targets = &context.request.targets;
                match (targets.resources.first(), targets.audiences.first()) {
                    (Some(uri), _) => self.target(Key::RESOURCE, Value::Uri(uri), found),
                    (None, Some(name)) => self.target(Key::AUDIENCE, Value::Text(name), found),
                    (None, None) => self.plain(Key::ABSENT, found),
                }
            }
            Dimension::SomeTarget => {
                let targets = &context.request.targets;
                for uri in &targets.resources {
                    self.target(Key::RESOURCE, Value::Uri(uri), found);
                }
                for name in &targets.audiences {
                    self.target(Key::AUDIENCE, Value::Text(name), found);
                }
                if targets.is_empty() {
                    self.plain(Key::ABSENT, found);
                }
            }
        }
    }

    fn target(&self, kind: Key, value: Value<'_>, found: &mut impl FnMut(u64)) {
        self.plain(kind, found);
        self.value(value, found);
    }

    /// The keys of a set's members, or of its first one.
    fn members(&self, set: Option<Value<'_>>, first: bool, found: &mut impl FnMut(u64)) {
        let most = if first { 1 } else { usize::MAX };
        let empty = match set {
            Some(Value::Set(set)) => {
                for text in set.iter().take(most) {
                    self.value(Value::Text(text), found);
                }
                set.is_empty()
            }
            Some(Value::Uris(uris)) => {
                for uri in uris.iter().take(most) {
                    self.value(Value::Uri(uri), found);
                }
                uris.is_empty()
            }
            Some(Value::Hops(hops)) => hops.is_empty(),
            _ => true,
        };
        self.plain(if empty { Key::ABSENT } else { Key::PRESENT }, found);
    }

    fn plain(&self, key: Key, found: &mut impl FnMut(u64)) {
        if self.plain {
            found(key.hash);
        }
    }

    fn value(&self, value: Value<'_>, found: &mut impl FnMut(u64)) {
        if self.whole
            && let Some(hash) = whole(value)
        {
            found(hash);
        }
        match value {
            Value::Text(text) => {
                self.begin.walk(BEGIN, text.as_bytes().iter(), found);
                self.end.walk(END, text.as_bytes().iter().rev(), found);
            }
            Value::Uri(uri) => self.parts(uri, found),
            _ => {}
        }
    }

    /// The keys of a URI's beginnings, segment by segment, and of the ends of its host.
    fn parts(&self, uri: &Uri, found: &mut impl FnMut(u64)) {
        let Some(authority) = uri.authority() else {
            return;
        };
        if self.segments {
            let mut hash = uri.origin().as_bytes().iter().fold(SEGMENTS, step);
            for byte in uri.path().as_bytes() {
                if *byte == b'/' {
                    found(mix(hash));
                }
                hash = step(hash, byte);
            }
            found(mix(hash));
        }
        if self.host {
            for (dot, _) in authority.match_indices('.') {
                let rest = authority.get(dot + 1..).unwrap_or_default();
                found(host(uri.scheme(), rest));
            }
        }
    }
}

/// Keys are spread already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread(u64);

/// Builds tables by keys.
pub(super) type SpreadState = BuildHasherDefault<Spread>;

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, other: &[u8]) {
        self.0 = bytes(self.0, other);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// One key out of two numbers.
pub(super) fn joined(dimension: u32, hash: u64) -> u64 {
    mix(hash ^ (u64::from(dimension) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
