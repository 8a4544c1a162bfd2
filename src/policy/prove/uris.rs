//! URIs that patterns tell apart, part by part: scheme and host first, then the path, then the query.

use std::collections::BTreeSet;

use super::domain::{Language, of_uris};
use super::text::{Pattern, Shape, TooMany, Work, samples};
use crate::oauth::uri::Uri;
use crate::policy::pattern::{Host, Path, UriPattern};

/// Characters of paths that nobody named.
const OTHERS: &[char] = &[
    'x', 'y', 'z', 'w', 'q', 'k', 'j', 'v', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'l', 'm',
    'n', 'o', 'p', 'r', 's', 't', 'u', 'X', 'Y', 'Z', 'W', 'Q', 'K', 'J', 'V', 'A', 'B', 'C', 'D',
    'E', 'F', 'G', 'H', 'I', 'L', 'M', 'N', 'O', 'P', 'R', 'S', 'T', 'U', '0', '1', '2', '3', '4',
    '5', '6', '7', '8', '9', '_', '-', '~', '!', '$', '\'', '(', ')', '+', ',', ';', '=', '@', '&',
];
/// How many of a class are tried when the first are no URIs.
const TRIES: usize = 8;

/// URIs of every combination that was found, and the combinations of which none was.
pub(super) fn candidates(
    languages: &[Language<'_>],
    each: usize,
    work: &Work,
) -> Result<(Vec<Uri>, Vec<Vec<bool>>), TooMany> {
    let mut patterns: Vec<UriPattern> = Vec::new();
    let mut constants: Vec<Uri> = Vec::new();
    for language in languages {
        let (some, others) = of_uris(language);
        patterns.extend(some.into_iter().cloned());
        constants.extend(others.into_iter().cloned());
        if let Language::Registered(registry, _) = language {
            let under = registry.0.iter().map(|entry| entry.under.canonical());
            patterns.extend(under.filter_map(|under| UriPattern::under(under).ok()));
        }
    }
    let taken: BTreeSet<&str> = constants.iter().map(Uri::canonical).collect();
    let mut found: Vec<Uri> = Vec::new();
    let mut doubtful = Vec::new();
    for (scheme, authority) in hosts(&patterns, &constants) {
        let here = |pattern: &&UriPattern| pattern.may_be_at(&scheme, &authority);
        let here: Vec<&UriPattern> = patterns.iter().filter(here).collect();
        let origin = format!("{scheme}://{authority}");
        let mut add = |path: &str, query: &str| {
            let text = format!("{origin}{path}{query}");
            let uri = text.parse::<Uri>().ok().filter(Uri::is_canonical);
            match uri {
                Some(uri) => found.push(uri),
                None => doubtful.push((here.clone(), path.to_owned(), !query.is_empty())),
            }
        };
        // A query is told apart where some pattern takes none.
        let queries: &[&str] = match here.iter().all(|pattern| pattern.takes_queries()) {
            true => &[""],
            false => &["", "?x"],
        };
        let paths = paths(&here, each, &origin, &taken, work)?;
        for path in &paths {
            queries.iter().for_each(|query| add(path, query));
        }
    }
    // What has no host matches no pattern.
    found.extend("urn:example:x".parse::<Uri>().ok());
    found.sort_by_key(|uri| (uri.has_query(), uri.canonical().len()));
    constants.extend(found);
    // One URI twice would count as two members of a set.
    let mut unique = BTreeSet::new();
    constants.retain(|uri| unique.insert(uri.clone()));
    // A path that is no URI's as it stands says nothing about the class, if another of the class is one.
    let mut unseen = BTreeSet::new();
    for (here, path, query) in doubtful {
        let stands_for = stand_in(languages, &here, &path, query);
        let same = |uri: &Uri| {
            let value = crate::policy::rule::Constant::Uri(uri.clone());
            languages
                .iter()
                .zip(&stands_for)
                .all(|(language, truth)| language.contains(&value) == *truth)
        };
        if !constants.iter().any(same) {
            unseen.insert(stands_for);
        }
    }
    Ok((constants, unseen.into_iter().collect()))
}

/// Paths of every combination of patterns that a path at a host has.
fn paths(
    here: &[&UriPattern],
    each: usize,
    origin: &str,
    taken: &BTreeSet<&str>,
    work: &Work,
) -> Result<Vec<String>, TooMany> {
    let containers: Option<BTreeSet<&str>> = here
        .iter()
        .map(|pattern| match pattern.parts().3 {
            Path::Under(path) => Some(path.strip_suffix('/').unwrap_or(path)),
            Path::Like(_) => None,
        })
        .collect();
    if let Some(containers) = containers {
        // Which containers a path lies in is told by the innermost: so its own path stands for all of them,
        // with what lies below it that nobody names.
        let label = fresh_segment(&containers, taken);
        let below = |path: &str| -> Vec<String> {
            let deeper =
                (1..each + 1).map(|times| format!("{path}{}", format!("/{label}").repeat(times)));
            deeper.collect()
        };
        let mut paths: Vec<String> = containers.iter().map(|path| (*path).to_owned()).collect();
        paths.extend(containers.iter().flat_map(|path| below(path)));
        paths.extend(below(""));
        return Ok(paths);
    }
    let mut patterns = Vec::new();
    for pattern in here {
        match pattern.parts().3 {
            Path::Like(glob) => patterns.push(Pattern::glob(glob)),
            Path::Under(path) => {
                let path = path.strip_suffix('/').unwrap_or(path);
                patterns.push(Pattern::exactly(path));
                patterns.push(Pattern::begins(&format!("{path}/")));
            }
        }
    }
    let held: BTreeSet<String> = taken
        .iter()
        .filter_map(|text| text.strip_prefix(origin))
        .map(|rest| rest.split('?').next().unwrap_or_default().to_owned())
        .collect();
    let may_stand = |c: char| c.is_ascii_graphic() && !"?#[]\"<>\\^`{|}".contains(c);
    samples(
        &patterns,
        Shape::Path,
        each + TRIES,
        &held,
        OTHERS,
        may_stand,
        work,
    )
}

/// A segment that no container and no constant has.
fn fresh_segment(containers: &BTreeSet<&str>, taken: &BTreeSet<&str>) -> String {
    let has = |segment: &str| {
        let mut paths = containers.iter().chain(taken.iter());
        paths.any(|path| path.split(['/', '?']).any(|part| part == segment))
    };
    let mut number = 0_u32;
    loop {
        let segment = match number {
            0 => "x".to_owned(),
            n => format!("x{n}"),
        };
        if !has(&segment) {
            return segment;
        }
        number += 1;
    }
}

/// Every scheme with every host that the patterns tell apart: the hosts that they name, for every wildcard
/// one label and two that nobody names, and a host of nobody's.
fn hosts(patterns: &[UriPattern], constants: &[Uri]) -> Vec<(String, String)> {
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    for pattern in patterns {
        let (scheme, host, authority, _) = pattern.parts();
        if host == Host::Exact {
            named.insert((scheme.to_owned(), authority.to_owned()));
        }
    }
    let of_constants = constants.iter().filter_map(|uri| {
        let authority = uri.authority()?.to_owned();
        Some((uri.scheme().to_owned(), authority))
    });
    // Where a wildcard might match them.
    let of_constants: Vec<_> = of_constants.collect();
    let mut all: Vec<(String, String)> = named.iter().cloned().collect();
    let mut fresh = 0_u32;
    let mut label = || {
        // Labels that stand in no host of the question.
        loop {
            let label = match fresh {
                0 => "x".to_owned(),
                n => format!("x{n}"),
            };
            fresh += 1;
            let stands = |authority: &str| authority.split('.').any(|part| part == label);
            let in_patterns = patterns.iter().any(|pattern| stands(pattern.parts().2));
            if !in_patterns && !of_constants.iter().any(|(_, host)| stands(host)) {
                return label;
            }
        }
    };
    let (one, two) = (label(), label());
    for pattern in patterns {
        let (scheme, host, authority, _) = pattern.parts();
        if host != Host::Exact {
            all.push((scheme.to_owned(), format!("{one}.{authority}")));
            all.push((scheme.to_owned(), format!("{two}.{one}.{authority}")));
        }
    }
    all.extend(of_constants);
    all.push(("https".to_owned(), format!("{one}.example")));
    let mut unique = BTreeSet::new();
    all.retain(|host| unique.insert(host.clone()));
    all
}

/// Which languages a URI would be in, if it were one: by its parts.
fn stand_in(
    languages: &[Language<'_>],
    here: &[&UriPattern],
    path: &str,
    query: bool,
) -> Vec<bool> {
    let matches = |pattern: &UriPattern| {
        here.contains(&pattern) && pattern.path_matches(path) && (!query || pattern.takes_queries())
    };
    languages
        .iter()
        .map(|language| match language {
            Language::Base(_) => true,
            // The registry's entries may be any: it only narrows what is issued.
            Language::Registered(_, place) => place.is_none(),
            other => of_uris(other).0.into_iter().any(matches),
        })
        .collect()
}
