//! The values that a question can tell apart: for every kind of attribute, a few values of each
//! combination of tests that some value passes.
//!
//! What a test asks of one value is a [`Language`]. A question names finitely many; the values fall into
//! classes that no language of the question separates, and of each class a few members do for all
//! (ANALYSIS: minterms). INVARIANT: a class that has a value is never left out, since a class that is
//! missing would prove what does not hold. Where a class may be there, but no value of it is found,
//! it has a [`Sample::Phantom`]: what rests on it alone is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::hours;
use super::text::{Pattern, Shape, TooMany, Work, samples};
use super::uris;
use crate::oauth::scope::Scopes;
use crate::oauth::target::ResourceRegistry;
use crate::oauth::token_type::TokenType;
use crate::oauth::uri::Uri;
use crate::policy::pattern::{Glob, UriPattern};
use crate::policy::rule::{
    AudienceMatch, Comparison, Constant, Constants, Hours, Prefixes, ResourceMatch,
};

/// What one value is tested for. Data that a rule owns is borrowed from it.
#[derive(Clone, Debug)]
pub(super) enum Language<'a> {
    /// One value.
    One(Constant),
    /// One of these.
    OneOf(&'a Constants),
    /// One of these texts.
    Texts(Arc<BTreeSet<Arc<str>>>),
    /// `like`, text.
    Like(&'a Glob),
    /// What an `audience` header asks of every audience.
    Audience(&'a AudienceMatch),
    /// What a `resource` header asks of every resource.
    Resource(&'a ResourceMatch),
    /// `like`, URI.
    LikeUri(&'a UriPattern),
    /// A URI of a form that no rule owns.
    Form(Arc<UriPattern>),
    /// `under`.
    Under(&'a [UriPattern]),
    /// A comparison with a number.
    Compare(Comparison, i64),
    /// In one of these prefixes.
    Prefixes(&'a Prefixes),
    /// In these hours.
    Hours(&'a Hours),
    /// A token of this scope.
    Scopes(&'a Scopes),
    /// A resource whose longest entry in the registry is this one; without one, that has none.
    Registered(&'a ResourceRegistry, Option<usize>),
    /// What a kind of attribute can be at all.
    Base(Kind),
}

/// What kind of values an attribute has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// Text that is not empty and has no control characters.
    Name,
    /// A scope token (RFC 6749 §3.3).
    ScopeToken,
    /// A token type, by its short name where it has one.
    TokenType,
    /// One of these names.
    OneOf(Arc<BTreeSet<Arc<str>>>),
    /// A canonical URI.
    Uri,
    /// A whole number, from the first to the second.
    Int(i64, i64),
    /// A truth value.
    Bool,
    /// An address.
    Ip,
    /// The time of the decision, in seconds.
    Now,
    /// Nothing but whether it is there.
    Flag,
}

impl Kind {
    /// Whether two attributes of these kinds can be equal at all.
    pub(super) fn textual(&self) -> bool {
        matches!(
            self,
            Self::Text | Self::Name | Self::ScopeToken | Self::TokenType | Self::OneOf(_)
        )
    }

    /// Whether a character may stand in a value.
    fn may_stand(&self, c: char) -> bool {
        match self {
            Self::ScopeToken => Scopes::is_token(c.encode_utf8(&mut [0; 4])),
            Self::Name => !c.is_control(),
            _ => true,
        }
    }

    fn contains(&self, value: &Constant) -> bool {
        match (self, value) {
            (Self::Text, Constant::Text(_))
            | (Self::Uri, Constant::Uri(_))
            | (Self::Bool, Constant::Bool(_))
            | (Self::Ip, Constant::Ip(_)) => true,
            (Self::Name, Constant::Text(text)) => {
                !text.is_empty() && !text.chars().any(char::is_control)
            }
            (Self::ScopeToken, Constant::Text(text)) => Scopes::is_token(text),
            (Self::TokenType, Constant::Text(text)) => {
                TokenType::from_name(text).is_ok_and(|token_type| token_type.name() == &**text)
            }
            (Self::OneOf(names), Constant::Text(text)) => names.contains(text),
            (Self::Int(least, most), Constant::Int(number)) => (least..=most).contains(&number),
            (Self::Now, Constant::Int(number)) => (0..=hours::LAST).contains(number),
            _ => false,
        }
    }
}

impl Language<'_> {
    /// Whether a value is in it.
    pub(super) fn contains(&self, value: &Constant) -> bool {
        match (self, value) {
            (Self::One(constant), value) => constant == value,
            (Self::OneOf(constants), value) => constants.contains(value.value()),
            (Self::Texts(texts), Constant::Text(text)) => texts.contains(text),
            (Self::Like(glob), Constant::Text(text)) => glob.matches(text),
            (Self::Audience(AudienceMatch::Equal(names)), Constant::Text(text)) => {
                names.contains(text)
            }
            (Self::Audience(AudienceMatch::Like(globs)), Constant::Text(text)) => {
                globs.iter().any(|glob| glob.matches(text))
            }
            (Self::Resource(ResourceMatch::Equal(uris)), Constant::Uri(uri)) => uris.contains(uri),
            (Self::Resource(ResourceMatch::Pattern(patterns)), Constant::Uri(uri)) => {
                patterns.iter().any(|pattern| pattern.matches(uri))
            }
            (Self::LikeUri(pattern), Constant::Uri(uri)) => pattern.matches(uri),
            (Self::Form(pattern), Constant::Uri(uri)) => pattern.matches(uri),
            (Self::Under(patterns), Constant::Uri(uri)) => {
                patterns.iter().any(|pattern| pattern.matches(uri))
            }
            (Self::Compare(comparison, limit), Constant::Int(number)) => {
                comparison.holds(*number, *limit)
            }
            (Self::Prefixes(prefixes), Constant::Ip(ip)) => prefixes.contain(*ip),
            (Self::Hours(hours), Constant::Int(instant)) => hours.contains(*instant),
            (Self::Scopes(scopes), Constant::Text(text)) => scopes.contains(text),
            (Self::Registered(registry, place), Constant::Uri(uri)) => {
                let found = registry.find(uri);
                let entry = place.and_then(|place| registry.0.get(place));
                match (found, entry) {
                    (Some(found), Some(entry)) => std::ptr::eq(found, entry),
                    (None, None) => place.is_none(),
                    _ => false,
                }
            }
            (Self::Base(kind), value) => kind.contains(value),
            _ => false,
        }
    }
}

/// A member of a class.
#[derive(Clone, Debug)]
pub(super) enum Sample {
    /// A value.
    Value(Constant),
    /// The class may have a value, and none was found.
    Phantom,
}

/// Values of attributes that are compared with each other, or of one alone, and which languages hold.
#[derive(Debug)]
pub(super) struct Domain {
    /// The values.
    pub samples: Vec<Sample>,
    /// By language, by value.
    holds: Vec<Vec<bool>>,
}

impl Domain {
    /// By value, whether a language holds.
    pub(super) fn holds(&self, language: usize) -> &[bool] {
        self.holds.get(language).map_or(&[], Vec::as_slice)
    }

    /// `each` members of every class, or all that it has. `kinds` are those of the attributes.
    pub(super) fn new(
        kinds: &[Kind],
        languages: &[Language<'_>],
        each: usize,
        work: &Work,
    ) -> Result<Self, TooMany> {
        let first = kinds.first();
        let mut phantoms = Vec::new();
        let candidates: Vec<Constant> = match first {
            Some(Kind::Bool) => vec![Constant::Bool(false), Constant::Bool(true)],
            Some(Kind::Int(..)) => numbers(languages, each),
            Some(Kind::Now) => {
                let (found, unseen) = hours::instants(languages)?;
                phantoms = unseen;
                found.into_iter().map(Constant::Int).collect()
            }
            Some(Kind::Ip) => addresses(languages),
            Some(Kind::Uri) => {
                let (found, unseen) = uris::candidates(languages, each, work)?;
                phantoms = unseen;
                found.into_iter().map(Constant::Uri).collect()
            }
            Some(Kind::Flag) | None => Vec::new(),
            Some(_) => texts(kinds, languages, each, work)?
                .into_iter()
                .map(Constant::Text)
                .collect(),
        };
        let mut seen: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
        let mut samples = Vec::new();
        let mut holds = vec![Vec::new(); languages.len()];
        let mut add = |sample: Sample, vector: &[bool]| {
            for (column, truth) in holds.iter_mut().zip(vector) {
                column.push(*truth);
            }
            samples.push(sample);
        };
        for value in candidates {
            if !kinds.iter().any(|kind| kind.contains(&value)) {
                continue;
            }
            let vector: Vec<bool> = languages.iter().map(|l| l.contains(&value)).collect();
            let count = seen.entry(vector.clone()).or_default();
            if *count < each {
                *count += 1;
                add(Sample::Value(value), &vector);
            }
        }
        for vector in phantoms {
            if !seen.contains_key(&vector) {
                seen.insert(vector.clone(), each);
                add(Sample::Phantom, &vector);
            }
        }
        Ok(Self { samples, holds })
    }
}

/// Characters for strings that nobody named, the most readable first.
const OTHERS: &[char] = &[
    'x', 'y', 'z', 'w', 'q', 'k', 'j', 'v', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'l', 'm',
    'n', 'o', 'p', 'r', 's', 't', 'u', 'X', 'Y', 'Z', 'W', 'Q', 'K', 'J', 'V', 'A', 'B', 'C', 'D',
    'E', 'F', 'G', 'H', 'I', 'L', 'M', 'N', 'O', 'P', 'R', 'S', 'T', 'U', '0', '1', '2', '3', '4',
    '5', '6', '7', '8', '9', '_', '-', '~', '.', '!', '$', '\'', '(', ')', '+', ',', ';', '=', '@',
    '&', '*', '#', '<', '>', '[', ']', '^', '`', '{', '|', '}', ':', '/', '?', '%', 'é', 'ü', 'ß',
];

fn texts(
    kinds: &[Kind],
    languages: &[Language<'_>],
    each: usize,
    work: &Work,
) -> Result<Vec<Arc<str>>, TooMany> {
    let mut constants: Vec<Arc<str>> = Vec::new();
    let mut patterns = Vec::new();
    for language in languages {
        match language {
            Language::One(Constant::Text(text)) => constants.push(Arc::clone(text)),
            Language::OneOf(list) => constants.extend(list.iter().filter_map(|item| match item {
                Constant::Text(text) => Some(Arc::clone(text)),
                _ => None,
            })),
            Language::Texts(texts) => constants.extend(texts.iter().cloned()),
            Language::Audience(AudienceMatch::Equal(names)) => {
                constants.extend(names.iter().cloned());
            }
            Language::Audience(AudienceMatch::Like(globs)) => {
                patterns.extend(globs.iter().map(Pattern::glob));
            }
            Language::Like(glob) => patterns.push(Pattern::glob(glob)),
            Language::Scopes(scopes) => constants.extend(scopes.iter().map(Arc::from)),
            _ => {}
        }
    }
    let mut open = Vec::new();
    for kind in kinds {
        match kind {
            Kind::OneOf(names) => constants.extend(names.iter().cloned()),
            Kind::TokenType => {
                constants.extend(TokenType::names().map(Arc::from));
                let other = |n: usize| Arc::from(format!("urn:example:token-type:other{n}"));
                constants.extend((0..each).map(other));
            }
            other if !open.contains(&other) => open.push(other),
            _ => {}
        }
    }
    let mut taken: BTreeSet<String> = constants.iter().map(|text| text.to_string()).collect();
    taken.insert(String::new());
    let mut found = constants;
    for kind in open {
        let may_stand = |c| kind.may_stand(c);
        let others: Vec<char> = OTHERS.iter().copied().filter(|c| may_stand(*c)).collect();
        let fresh = samples(
            &patterns,
            Shape::Any,
            each,
            &taken,
            &others,
            may_stand,
            work,
        )?;
        found.extend(fresh.into_iter().map(Arc::from));
    }
    found.push(Arc::from(""));
    let mut unique = BTreeSet::new();
    found.retain(|text| unique.insert(Arc::clone(text)));
    Ok(found)
}

fn numbers(languages: &[Language<'_>], each: usize) -> Vec<Constant> {
    let mut limits = BTreeSet::from([0, i64::MIN, i64::MAX]);
    for language in languages {
        match language {
            Language::Compare(_, limit) | Language::One(Constant::Int(limit)) => {
                limits.insert(*limit);
            }
            Language::OneOf(list) => limits.extend(list.iter().filter_map(|item| match item {
                Constant::Int(number) => Some(*number),
                _ => None,
            })),
            Language::Base(Kind::Int(least, most)) => {
                limits.extend([*least, *most]);
            }
            _ => {}
        }
    }
    let count = i64::try_from(each).unwrap_or(i64::MAX);
    // Around every limit, `each` to both sides: no interval between two of them has fewer, or all are there.
    let mut found = BTreeSet::new();
    for limit in limits {
        for step in 0..=count {
            found.insert(limit.saturating_sub(step));
            found.insert(limit.saturating_add(step));
        }
    }
    // Small ones first: a witness should not have numbers that nobody would send.
    let mut found: Vec<i64> = found.into_iter().collect();
    found.sort_by_key(|number| (number.unsigned_abs(), *number < 0));
    found.into_iter().map(Constant::Int).collect()
}

/// The first address of every stretch that no prefix divides.
fn addresses(languages: &[Language<'_>]) -> Vec<Constant> {
    let mut four: BTreeSet<u32> = BTreeSet::from([0]);
    let mut six: BTreeSet<u128> = BTreeSet::from([0]);
    let mut add = |first: IpAddr, last: IpAddr| match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            four.insert(first.to_bits());
            four.extend(last.to_bits().checked_add(1));
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            six.insert(first.to_bits());
            six.extend(last.to_bits().checked_add(1));
        }
        _ => {}
    };
    for language in languages {
        match language {
            Language::Prefixes(prefixes) => prefixes
                .iter()
                .for_each(|prefix| add(prefix.network(), prefix.broadcast())),
            Language::One(Constant::Ip(ip)) => add(*ip, *ip),
            Language::OneOf(list) => {
                for item in list.iter() {
                    if let Constant::Ip(ip) = item {
                        add(*ip, *ip);
                    }
                }
            }
            _ => {}
        }
    }
    // Addresses of documentation first (RFC 5737): the likeliest to be in no prefix, and plainly made up.
    let made_up = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
    let four = four.into_iter().map(|bits| IpAddr::V4(bits.into()));
    // A mapped address is read as the one that it maps (`ExchangeContext`), so it is none of its own; what
    // comes after them is.
    let after_mapped = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff).to_bits() + 1;
    let mapped = |ip: &IpAddr| ip.to_canonical() != *ip;
    let six = six
        .into_iter()
        .chain([after_mapped])
        .map(|bits| IpAddr::V6(bits.into()));
    made_up
        .into_iter()
        .chain(four)
        .chain(six.filter(|ip| !mapped(ip)))
        .map(Constant::Ip)
        .collect()
}

/// Every URI pattern and every URI that a language names.
pub(super) fn of_uris<'a>(language: &'a Language<'_>) -> (Vec<&'a UriPattern>, Vec<&'a Uri>) {
    match language {
        Language::LikeUri(pattern) => (vec![*pattern], Vec::new()),
        Language::Form(pattern) => (vec![&**pattern], Vec::new()),
        Language::Under(patterns) => (patterns.iter().collect(), Vec::new()),
        Language::Resource(ResourceMatch::Pattern(patterns)) => {
            (patterns.iter().collect(), Vec::new())
        }
        Language::Resource(ResourceMatch::Equal(uris)) => (Vec::new(), uris.iter().collect()),
        Language::One(Constant::Uri(uri)) => (Vec::new(), vec![uri]),
        Language::OneOf(list) => {
            let uri = |item: &'a Constant| match item {
                Constant::Uri(uri) => Some(uri),
                _ => None,
            };
            (Vec::new(), list.iter().filter_map(uri).collect())
        }
        _ => (Vec::new(), Vec::new()),
    }
}
