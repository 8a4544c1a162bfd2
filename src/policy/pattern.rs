//! Patterns: `like` globs and `under` containers. No regular expressions anywhere.
//!
//! A `*` never crosses a separator, `**` does. Matching walks the text once with a set of states, so
//! that no pattern costs more than its length per character.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::oauth::uri::{Uri, UriError, path_is_under};

/// The longest glob, in characters.
const MAX_GLOB: usize = 255;

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than a glob may be.
    #[error("the pattern is longer than {MAX_GLOB} characters")]
    TooLong,
    /// `***`.
    #[error("`***` means nothing; write `*` or `**`")]
    Stars,
    /// The part that is no wildcard is not a URI.
    #[error("the pattern {0}")]
    Uri(#[from] UriError),
    /// It is one, but not spelled canonically.
    #[error("the pattern is not canonical")]
    NotCanonical(String),
    /// `*example.com`, `api-*.example.com`, `https://a.*.com`.
    #[error("in a host, `*` or `**` stands alone as the first label: `*.example.com`")]
    HostWildcard,
    /// A pattern cannot speak of the query.
    #[error("a pattern has no query")]
    Query,
    /// `urn:a:*`, `under "urn:…"`.
    #[error("a pattern is a URI with a scheme and a host, such as `https://example.com/x`")]
    Opaque,
    /// `under "…/*"`.
    #[error("`under` takes no `*` in the path; it means everything below already")]
    PathWildcard,
}

/// Why a text is no prefix of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Neither an address nor a prefix.
    #[error("is no IP address and no prefix")]
    Malformed,
    /// `10.1.2.3/8`: the one address or the network may be meant.
    #[error("has bits set outside its prefix")]
    HostBits(IpNet),
}

impl PrefixError {
    /// What to write instead.
    #[must_use]
    pub fn help(self) -> String {
        match self {
            Self::Malformed => "for example `10.0.0.0/8`".to_owned(),
            Self::HostBits(prefix) => format!(
                "write `{}` for the one address, `{}` for the network",
                prefix.addr(),
                prefix.trunc()
            ),
        }
    }
}

/// Parses an address, or a prefix of addresses without host bits.
///
/// # Errors
/// When it is neither, or has bits set outside its prefix.
pub fn prefix(text: &str) -> Result<IpNet, PrefixError> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let found = text.parse().ok().or_else(address);
    match found.ok_or(PrefixError::Malformed)? {
        prefix if prefix.trunc() == prefix => Ok(prefix),
        prefix => Err(PrefixError::HostBits(prefix)),
    }
}

/// A piece of a [`Glob`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// This character.
    Char(char),
    /// Any characters but separators.
    Star,
    /// Any characters.
    DoubleStar,
}

/// A whole-value glob over text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    source: String,
    pieces: Vec<Piece>,
    separators: String,
    /// The texts between the stars: one more than there are stars.
    texts: Vec<String>,
    /// Whether no star stops at anything.
    free: bool,
}

impl Glob {
    /// Parses a glob whose `*` stops at any of `separators`.
    ///
    /// # Errors
    /// When it is too long or has three stars in a row.
    pub fn new(source: &str, separators: &str) -> Result<Self, PatternError> {
        if source.chars().count() > MAX_GLOB {
            return Err(PatternError::TooLong);
        }
        if source.contains("***") {
            return Err(PatternError::Stars);
        }
        let mut pieces = Vec::new();
        let mut rest = source.chars().peekable();
        while let Some(c) = rest.next() {
            pieces.push(match c {
                '*' if rest.next_if_eq(&'*').is_some() => Piece::DoubleStar,
                '*' => Piece::Star,
                other => Piece::Char(other),
            });
        }
        let mut texts = vec![String::new()];
        for piece in &pieces {
            match (piece, texts.last_mut()) {
                (Piece::Char(c), Some(text)) => text.push(*c),
                _ => texts.push(String::new()),
            }
        }
        Ok(Self {
            free: separators.is_empty() || !pieces.contains(&Piece::Star),
            source: source.to_owned(),
            pieces,
            separators: separators.to_owned(),
            texts,
        })
    }

    /// As written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its pieces, in order.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The characters that a `*` in it does not cross.
    pub(super) fn separators(&self) -> &str {
        &self.separators
    }

    /// The texts that every match begins and ends with; of a pattern without stars, the whole of it twice.
    pub(super) fn ends(&self) -> (&str, &str) {
        let begins = self.texts.first().map_or("", String::as_str);
        (begins, self.texts.last().map_or("", String::as_str))
    }

    /// Whether there is a star in it.
    pub(super) fn has_stars(&self) -> bool {
        self.texts.len() > 1
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (begins, ends) = self.ends();
        if !self.has_stars() {
            return text == begins;
        }
        let rest = text.strip_prefix(begins);
        let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(ends)) else {
            return false;
        };
        let between = self.texts.get(1..self.texts.len() - 1).unwrap_or_default();
        if self.free {
            // The first place that fits leaves the most for what follows.
            return between
                .iter()
                .all(|wanted| match rest.split_once(&**wanted) {
                    Some((_, after)) => {
                        rest = after;
                        true
                    }
                    None => false,
                });
        }
        match between.is_empty() {
            true => !rest.contains(|c| self.separators.contains(c)),
            false => self.walk(text),
        }
    }

    /// The same with all states that a part of the text can lead to.
    fn walk(&self, text: &str) -> bool {
        let mut states = States::default();
        self.enter(&mut states, 0);
        for c in text.chars() {
            let mut next = States::default();
            for (index, piece) in self
                .pieces
                .iter()
                .enumerate()
                .filter(|(index, _)| states.has(*index))
            {
                match piece {
                    Piece::Char(wanted) if *wanted == c => self.enter(&mut next, index + 1),
                    Piece::Star if !self.separators.contains(c) => self.enter(&mut next, index),
                    Piece::DoubleStar => self.enter(&mut next, index),
                    Piece::Char(_) | Piece::Star => {}
                }
            }
            states = next;
        }
        states.has(self.pieces.len())
    }

    /// Enters a state and those that it reaches without a character.
    fn enter(&self, states: &mut States, mut index: usize) {
        states.add(index);
        while matches!(
            self.pieces.get(index),
            Some(Piece::Star | Piece::DoubleStar)
        ) {
            index += 1;
            states.add(index);
        }
    }
}

/// A set of up to 256 states.
#[derive(Default)]
struct States([u64; 4]);

impl States {
    fn add(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    fn has(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }
}

/// How a host is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Host {
    /// As it stands.
    Exact,
    /// `*.`: exactly one label before the rest.
    OneLabel,
    /// `**.`: one or more.
    Labels,
}

/// A URI whose host may begin with a wildcard label, as a container (`under`) or a glob (`like`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UriPattern {
    source: String,
    scheme: String,
    host: Host,
    /// The authority, after the wildcard label where there is one.
    authority: String,
    path: Path,
    /// Whether URIs with a query match.
    queries: bool,
}

/// How a path is matched.
/// What every match of a [`UriPattern`] has.
#[derive(Debug)]
pub(super) enum Anchor<'a> {
    /// Its canonical form begins so, up to the end of a segment.
    Segments(String),
    /// This scheme, and a host of which this is the rest after a label.
    Host(&'a str, &'a str),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Path {
    /// This path, and everything below it.
    Under(String),
    /// Paths of this form.
    Like(Glob),
}

impl UriPattern {
    /// Everything at or below `source`.
    ///
    /// # Errors
    /// When it is not a canonical URI (but for a wildcard label), or has a `*` in the path or a query.
    pub fn under(source: &str) -> Result<Self, PatternError> {
        let (host, uri) = split(source)?;
        if uri.path().contains('*') {
            return Err(PatternError::PathWildcard);
        }
        Ok(Self::from_parts(
            source,
            host,
            &uri,
            Path::Under(uri.path().to_owned()),
        ))
    }

    /// Every URI of this form: the path is a glob with `/` as separator.
    ///
    /// # Errors
    /// When what is no wildcard is not a canonical URI, or has a query.
    pub fn like(source: &str) -> Result<Self, PatternError> {
        let (host, uri) = split(source)?;
        let path = Path::Like(Glob::new(uri.path(), "/")?);
        Ok(Self::from_parts(source, host, &uri, path))
    }

    fn from_parts(source: &str, host: Host, uri: &Uri, path: Path) -> Self {
        Self {
            source: source.to_owned(),
            scheme: uri.scheme().to_owned(),
            host,
            authority: uri.authority().unwrap_or_default().to_owned(),
            queries: matches!(path, Path::Under(_)),
            path,
        }
    }

    /// The same for URIs with a query too, whatever it is; `under` takes them already.
    #[must_use]
    pub fn any_query(mut self) -> Self {
        self.queries = true;
        self
    }

    /// As written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The scheme, how the host is matched, the authority (after the wildcard label, where there is one),
    /// and how the path is matched.
    pub(super) fn parts(&self) -> (&str, Host, &str, &Path) {
        (&self.scheme, self.host, &self.authority, &self.path)
    }

    /// The host and port that every match has, unless the host has a wildcard.
    #[must_use]
    pub fn fixed_authority(&self) -> Option<&str> {
        (self.host == Host::Exact).then_some(&*self.authority)
    }

    /// What every match has, for looking up.
    pub(super) fn anchor(&self) -> Anchor<'_> {
        if self.host != Host::Exact {
            return Anchor::Host(&self.scheme, &self.authority);
        }
        let path = match &self.path {
            Path::Under(container) => container.strip_suffix('/').unwrap_or(container).to_owned(),
            Path::Like(glob) => {
                let (begins, _) = glob.ends();
                // A star may stand within a segment; what comes before that segment is sure.
                let sure = match glob.has_stars() {
                    true => begins.rfind('/').unwrap_or(0),
                    false => begins.len(),
                };
                begins.get(..sure).unwrap_or_default().to_owned()
            }
        };
        Anchor::Segments(format!("{}://{}{path}", self.scheme, self.authority))
    }

    /// Whether `uri` matches.
    #[must_use]
    pub fn matches(&self, uri: &Uri) -> bool {
        let Some(authority) = uri.authority() else {
            return false;
        };
        self.may_be_at(uri.scheme(), authority)
            && (self.queries || !uri.has_query())
            && self.path_matches(uri.path())
    }

    /// Whether URIs with this scheme and authority can match.
    pub(super) fn may_be_at(&self, scheme: &str, authority: &str) -> bool {
        scheme == self.scheme && self.host_matches(authority)
    }

    /// Whether URIs with this path can match.
    pub(super) fn path_matches(&self, path: &str) -> bool {
        match &self.path {
            Path::Under(container) => path_is_under(path, container),
            Path::Like(glob) => glob.matches(path),
        }
    }

    /// Whether URIs with a query match.
    pub(super) fn takes_queries(&self) -> bool {
        self.queries
    }

    fn host_matches(&self, authority: &str) -> bool {
        let labels = || {
            authority
                .strip_suffix(&*self.authority)
                .and_then(|rest| rest.strip_suffix('.'))
        };
        match self.host {
            Host::Exact => authority == self.authority,
            Host::OneLabel => {
                labels().is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }
            Host::Labels => labels().is_some_and(|label| !label.is_empty()),
        }
    }
}

/// Takes the wildcard label off the host; what is left must be a canonical URI with a host.
fn split(source: &str) -> Result<(Host, Uri), PatternError> {
    let Some((scheme, rest)) = source.split_once("://") else {
        return Err(PatternError::Opaque);
    };
    let (host, rest) = match (rest.strip_prefix("**."), rest.strip_prefix("*.")) {
        (Some(rest), _) => (Host::Labels, rest),
        (None, Some(rest)) => (Host::OneLabel, rest),
        (None, None) => (Host::Exact, rest),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let labels = authority.split('.').count();
    if scheme.contains('*') || authority.contains('*') || (host != Host::Exact && labels < 2) {
        return Err(PatternError::HostWildcard);
    }
    if rest.contains('?') {
        return Err(PatternError::Query);
    }
    let wildcard = match host {
        Host::Exact => "",
        Host::OneLabel => "*.",
        Host::Labels => "**.",
    };
    let uri: Uri = format!("{scheme}://{rest}").parse()?;
    if !uri.is_canonical() {
        let canonical = uri
            .canonical()
            .replacen("://", &format!("://{wildcard}"), 1);
        return Err(PatternError::NotCanonical(canonical));
    }
    Ok((host, uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_does_not_cross_a_separator_and_two_do() {
        for (pattern, text, expected) in [
            ("admin:*", "admin:x", true),
            ("admin:*", "admin:", true),
            ("admin:*", "admin:x:y", false),
            ("admin:*", "xadmin:x", false),
            ("admin:**", "admin:x/y:z", true),
            ("**", "", true),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "aXbX", false),
            ("a", "ab", false),
            ("", "", true),
            ("", "a", false),
            ("é*", "éü", true),
        ] {
            assert_eq!(
                Glob::new(pattern, ":/").unwrap().matches(text),
                expected,
                "{pattern} {text}"
            );
        }
        assert_eq!(Glob::new("a***", ":").unwrap_err(), PatternError::Stars);
        assert_eq!(
            Glob::new(&"*".repeat(2).repeat(200), ":").unwrap_err(),
            PatternError::TooLong
        );
    }

    #[test]
    fn shortcuts_match_as_the_walk_does() {
        let texts = [
            "", "a", "b", "ab", "ba", "aab", "a/b", "/", "a/", "/a", "ab/ab", "a//b", "aa/a",
        ];
        let pieces = ["a", "b", "/", "*", "**"];
        let mut patterns = vec![String::new()];
        for _ in 0..4 {
            let longer = patterns
                .iter()
                .flat_map(|p| pieces.map(|piece| format!("{p}{piece}")));
            patterns.extend(longer.collect::<Vec<String>>());
        }
        for pattern in patterns.iter().filter(|pattern| !pattern.contains("***")) {
            for separators in ["", "/"] {
                let glob = Glob::new(pattern, separators).unwrap();
                for text in texts {
                    assert_eq!(glob.matches(text), glob.walk(text), "{pattern} {text}");
                }
            }
        }
    }

    #[test]
    fn many_stars_match_in_one_walk() {
        // A backtracking matcher would need longer than the universe has for this.
        let pattern = Glob::new(&"*a".repeat(60), "").unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(2000))));
        assert!(pattern.matches(&"a".repeat(2000)));
    }

    #[test]
    fn host_wildcards_are_whole_labels() {
        let one = UriPattern::under("https://*.example.com/v1").unwrap();
        let many = UriPattern::under("https://**.example.com/v1").unwrap();
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        for (text, one_matches, many_match) in [
            ("https://a.example.com/v1", true, true),
            ("https://a.b.example.com/v1/x", false, true),
            ("https://example.com/v1", false, false),
            ("https://evilexample.com/v1", false, false),
            ("https://a.example.com.evil.com/v1", false, false),
            ("https://a.example.com/v2", false, false),
            ("http://a.example.com/v1", false, false),
            ("https://a.example.com:8443/v1", false, false),
        ] {
            assert_eq!(one.matches(&uri(text)), one_matches, "{text}");
            assert_eq!(many.matches(&uri(text)), many_match, "{text}");
        }
    }

    #[test]
    fn patterns_must_be_canonical_and_wildcards_alone() {
        use PatternError as E;
        for (text, error) in [
            ("https://*example.com/", E::HostWildcard),
            ("https://api-*.example.com/", E::HostWildcard),
            ("https://*.com", E::HostWildcard),
            ("https://*/x", E::HostWildcard),
            ("http*://a.b/x", E::HostWildcard),
            (
                "https://A.example.com:443/x",
                E::NotCanonical("https://a.example.com/x".into()),
            ),
            (
                "https://*.Example.com/x",
                E::NotCanonical("https://*.example.com/x".into()),
            ),
            ("https://a.b/x?y", E::Query),
            ("https://a.b/x#y", E::Uri(UriError::Fragment)),
            ("https://a.b/x/*", E::PathWildcard),
            ("urn:a:b", E::Opaque),
            ("/x", E::Opaque),
        ] {
            assert_eq!(UriPattern::under(text).unwrap_err(), error, "{text}");
        }
        let like = UriPattern::like("https://a.example.com/*/orders/**").unwrap();
        assert!(like.matches(&"https://a.example.com/v1/orders/7/8".parse().unwrap()));
        assert!(!like.matches(&"https://a.example.com/v1/x/orders/7".parse().unwrap()));
        assert!(!like.matches(&"https://a.example.com/v1/orders/7?x".parse().unwrap()));
    }
}
