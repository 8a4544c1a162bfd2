//! URIs that patterns tell apart, part by part: scheme and host first, then the path, then the query.

use std::collections::BTreeSet;

use super::domain::{Language, of_uris};
use super::text::{Pattern, Shape, TooMany, samples};
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
        // Most hosts of constants are no pattern's; the constants themselves are there already.
        let mut paths = Vec::new();
        for pattern in &here {
            match pattern.parts().3 {
                Path::Like(glob) => paths.push(Pattern::glob(glob)),
                Path::Under(path) => {
                    let path = path.strip_suffix('/').unwrap_or(path);
                    paths.push(Pattern::exactly(path));
                    paths.push(Pattern::begins(&format!("{path}/")));
                }
            }
        }
        let origin = format!("{scheme}://{authority}");
        let held: BTreeSet<String> = taken
            .iter()
            .filter_map(|text| text.strip_prefix(&*origin))
            .map(|rest| rest.split('?').next().unwrap_or_default().to_owned())
            .collect();
        let may_stand = |c: char| c.is_ascii_graphic() && !"?#[]\"<>\\^`{|}".contains(c);
        let all = samples(&paths, Shape::Path, each + TRIES, &held, OTHERS, may_stand)?;
        for path in all {
            for query in ["", "?x"] {
                let text = format!("{origin}{path}{query}");
                let uri = text.parse::<Uri>().ok().filter(Uri::is_canonical);
                match uri {
                    Some(uri) => found.push(uri),
                    None => doubtful.push((here.clone(), path.clone(), !query.is_empty())),
                }
            }
        }
    }
    // What has no host matches no pattern.
    found.extend("urn:example:x".parse::<Uri>().ok());
    found.sort_by_key(|uri| (uri.has_query(), uri.canonical().len()));
    constants.extend(found);
    constants.retain(Uri::is_canonical);
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
