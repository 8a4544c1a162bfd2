//! Absolute URIs, parsed once, refused when they could be read in two ways.
//!
//! Gateways have been passed with look-alikes (`/a/../b`, `%2e%2e`, `host\@evil`, `0x7f.1`), so a
//! value that is not plainly canonical is refused, never repaired. Three things only are
//! normalised: the case of scheme and host, the default port, and percent-encoded unreserved
//! characters (RFC 3986 §6.2.2). Whatever is accepted must come out of a second, independent parser
//! (the WHATWG one) unchanged, so that no difference between parsers can hide another host.
//!
//! The spelling that was sent is kept beside the canonical form: what is issued is what was sent.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

/// The longest URI that is accepted, in bytes.
pub const MAX_LENGTH: usize = 2048;

/// Why a URI was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// There is no scheme.
    #[error("is not an absolute URI")]
    Relative,
    /// RFC 8693 §2.1 and RFC 8707 §2 forbid it.
    #[error("has a fragment")]
    Fragment,
    /// `user@host`.
    #[error("has user information before the host")]
    UserInfo,
    /// A character outside RFC 3986, a backslash, a control, or non-ASCII.
    #[error("has a character that a URI may not have")]
    Character,
    /// `%` without two hexadecimal digits, or an encoded slash, backslash or control character.
    #[error("has a percent-encoding that is broken or hides a separator")]
    Encoding,
    /// `.` or `..`, also percent-encoded.
    #[error("has a dot segment")]
    DotSegment,
    /// `//` inside the path.
    #[error("has an empty path segment")]
    EmptySegment,
    /// No host, an empty label, a final dot, a numeric host that is not a dotted quad, …
    #[error("has a host that is not canonical")]
    Host,
    /// Port 0, empty, or not a number up to 65535.
    #[error("has a port that is not canonical")]
    Port,
    /// Longer than [`MAX_LENGTH`].
    #[error("is too long")]
    TooLong,
    /// The second parser reads it otherwise.
    #[error("is read differently by other parsers")]
    Ambiguous,
}

/// An absolute URI without fragment, and its canonical form. Equality is that of the canonical form.
#[derive(Clone)]
pub struct Uri {
    raw: Arc<str>,
    canonical: Arc<str>,
    /// Where the scheme ends (at the colon).
    scheme: usize,
    /// The authority without `//`; `None` for opaque URIs such as `urn:…`.
    authority: Option<Range<usize>>,
    path: Range<usize>,
    query: bool,
}

impl Uri {
    /// The value as it was sent or configured.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The canonical form.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.canonical.get(..self.scheme).unwrap_or_default()
    }

    /// Host and, where it is not the default, port; `None` for opaque URIs.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority
            .clone()
            .and_then(|range| self.canonical.get(range))
    }

    /// Everything up to the path: `https://host:port`, or `urn:`.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.canonical.get(..self.path.start).unwrap_or_default()
    }

    /// The path, empty for a bare origin.
    #[must_use]
    pub fn path(&self) -> &str {
        self.canonical.get(self.path.clone()).unwrap_or_default()
    }

    /// Whether there is a query.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.query
    }

    /// Whether the canonical form is what was written.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.raw == self.canonical
    }

    /// Containment: the same scheme, host and port, and `container`'s path is a prefix that ends at a
    /// segment boundary. A query takes no part. An opaque URI is contained in itself only.
    #[must_use]
    pub fn is_under(&self, container: &Self) -> bool {
        if self.authority.is_none() || container.authority.is_none() {
            return self == container;
        }
        self.origin() == container.origin() && path_is_under(self.path(), container.path())
    }
}

/// Whether `path` is `container` or lies below it; a final slash of `container` means nothing.
#[must_use]
pub fn path_is_under(path: &str, container: &str) -> bool {
    let container = container.strip_suffix('/').unwrap_or(container);
    match path.strip_prefix(container) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Uri {}

impl PartialOrd for Uri {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Uri {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.canonical.cmp(&other.canonical)
    }
}

impl std::hash::Hash for Uri {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.raw)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(raw: &str) -> Result<Self, UriError> {
        if raw.len() > MAX_LENGTH {
            return Err(UriError::TooLong);
        }
        if raw.contains('#') {
            return Err(UriError::Fragment);
        }
        if !raw
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&b))
        {
            return Err(UriError::Character);
        }
        let (scheme, rest) = raw.split_once(':').ok_or(UriError::Relative)?;
        if !is_scheme(scheme) {
            return Err(UriError::Relative);
        }
        let scheme = scheme.to_ascii_lowercase();
        let (body, query) = match rest.split_once('?') {
            Some((body, query)) => (body, Some(normalise(query)?)),
            None => (rest, None),
        };
        let mut canonical = format!("{scheme}:");
        let mut authority = None;
        let path;
        if let Some(hierarchical) = body.strip_prefix("//") {
            let end = hierarchical.find('/').unwrap_or(hierarchical.len());
            let (sent, rest) = hierarchical.split_at(end);
            canonical.push_str("//");
            let start = canonical.len();
            canonical.push_str(&canonical_authority(&scheme, sent)?);
            authority = Some(start..canonical.len());
            path = normalise(rest)?;
            check_segments(&path)?;
        } else {
            // Opaque: `urn:` and its like. `https:/x` is neither and would be guessed at by others.
            if body.is_empty() || body.starts_with('/') || is_web(&scheme) {
                return Err(UriError::Host);
            }
            path = canonical_opaque(&scheme, body)?;
        }
        let start = canonical.len();
        canonical.push_str(&path);
        let path = start..canonical.len();
        if let Some(query) = &query {
            canonical.push('?');
            canonical.push_str(query);
        }
        if scheme == "spiffe" && (query.is_some() || raw.contains('%') || raw != canonical) {
            return Err(UriError::Character);
        }
        agrees_with_second_parser(&canonical, &path, authority.is_some() && is_web(&scheme))?;
        Ok(Self {
            raw: Arc::from(raw),
            canonical: Arc::from(canonical),
            scheme: scheme.len(),
            authority,
            path,
            query: query.is_some(),
        })
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// The schemes that browsers and the WHATWG parser treat specially, as far as we meet them.
fn is_web(scheme: &str) -> bool {
    matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp" | "file")
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        "ftp" => Some(21),
        _ => None,
    }
}

fn canonical_authority(scheme: &str, sent: &str) -> Result<String, UriError> {
    if sent.contains('@') {
        return Err(UriError::UserInfo);
    }
    let (host, port) = match sent.rfind(']') {
        Some(end) => {
            let (host, rest) = sent.split_at(end + 1);
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(UriError::Host),
            }
        }
        None => match sent.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (sent, None),
        },
    };
    let host = host.to_ascii_lowercase();
    check_host(scheme, &host)?;
    let Some(port) = port else { return Ok(host) };
    if port.is_empty()
        || port.starts_with('0')
        || !port.bytes().all(|b| b.is_ascii_digit())
        || scheme == "spiffe"
    {
        return Err(UriError::Port);
    }
    let port: u16 = port.parse().map_err(|_| UriError::Port)?;
    Ok(if default_port(scheme) == Some(port) {
        host
    } else {
        format!("{host}:{port}")
    })
}

fn check_host(scheme: &str, host: &str) -> Result<(), UriError> {
    if let Some(literal) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        // RFC 5952: exactly the form in which the address prints.
        let address: Ipv6Addr = literal.parse().map_err(|_| UriError::Host)?;
        return if address.to_string() == literal {
            Ok(())
        } else {
            Err(UriError::Host)
        };
    }
    let labels_are_plain = host.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    if host.len() > 253 || !labels_are_plain {
        return Err(UriError::Host);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    if numeric && is_web(scheme) {
        // `127.1`, `0x7f.0.0.1`, `2130706433`, `010.0.0.1`: other programs read them as addresses.
        let address: Ipv4Addr = host.parse().map_err(|_| UriError::Host)?;
        return if address.to_string() == host {
            Ok(())
        } else {
            Err(UriError::Host)
        };
    }
    Ok(())
}

/// Decodes percent-encoded unreserved characters; refuses the encodings that hide something.
fn normalise(text: &str) -> Result<String, UriError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '%' => {
                let digits = (rest.next(), rest.next());
                let (Some(high), Some(low)) = digits else {
                    return Err(UriError::Encoding);
                };
                let byte = match (high.to_digit(16), low.to_digit(16)) {
                    (Some(h), Some(l)) => {
                        u8::try_from(h * 16 + l).map_err(|_| UriError::Encoding)?
                    }
                    _ => return Err(UriError::Encoding),
                };
                match byte {
                    b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(UriError::Encoding),
                    b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                        out.push(char::from(b))
                    }
                    _ => out.extend(['%', high, low]),
                }
            }
            '[' | ']' => return Err(UriError::Character),
            other => out.push(other),
        }
    }
    Ok(out)
}

fn check_segments(path: &str) -> Result<(), UriError> {
    let Some(path) = path.strip_prefix('/') else {
        return Ok(());
    };
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if segments.peek().is_some() => return Err(UriError::EmptySegment),
            "." | ".." => return Err(UriError::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// `urn:NID:NSS`: the namespace in lower case (RFC 8141 §3.1); other opaque URIs as they stand.
fn canonical_opaque(scheme: &str, body: &str) -> Result<String, UriError> {
    let body = normalise(body)?;
    if scheme != "urn" {
        return Ok(body);
    }
    match body.split_once(':') {
        Some((nid, nss)) if !nid.is_empty() && !nss.is_empty() => {
            Ok(format!("{}:{nss}", nid.to_ascii_lowercase()))
        }
        _ => Err(UriError::Host),
    }
}

fn agrees_with_second_parser(
    canonical: &str,
    path: &Range<usize>,
    web: bool,
) -> Result<(), UriError> {
    let parsed = url::Url::parse(canonical).map_err(|_| UriError::Ambiguous)?;
    // The WHATWG parser writes the empty path of a web origin as `/`; nothing else may differ.
    let expected = if web && path.is_empty() {
        let (origin, rest) = canonical.split_at(path.start);
        format!("{origin}/{rest}")
    } else {
        canonical.to_owned()
    };
    if parsed.as_str() == expected {
        Ok(())
    } else {
        Err(UriError::Ambiguous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn containment_is_by_segment() {
        let orders = uri("https://api.example.com/orders");
        for inside in [
            "https://api.example.com/orders",
            "https://api.example.com/orders/",
            "https://api.example.com/orders/7",
            "https://API.example.com:443/orders",
            "HTTPS://api.example.com/%6frders/7?q=1",
        ] {
            assert!(uri(inside).is_under(&orders), "{inside}");
        }
        for outside in [
            "https://api.example.com/orders-evil",
            "https://api.example.com/ordersX",
            "https://api.example.com/",
            "https://api.example.com",
            "https://api.example.com.evil.com/orders",
            "http://api.example.com/orders",
            "https://api.example.com:8443/orders",
            "https://api.example.com/Orders",
            "urn:example:orders",
        ] {
            assert!(!uri(outside).is_under(&orders), "{outside}");
        }
        assert!(uri("https://api.example.com/a").is_under(&uri("https://api.example.com")));
        assert!(uri("https://api.example.com").is_under(&uri("https://api.example.com/")));
    }

    #[test]
    fn look_alikes_are_refused() {
        use UriError as E;
        for (text, error) in [
            ("/api", E::Relative),
            ("api.example.com/x", E::Relative),
            ("", E::Relative),
            ("1https://a", E::Relative),
            ("https://a/x#y", E::Fragment),
            ("https://api.example.com@evil.com/orders", E::UserInfo),
            ("https://api.example.com\\@evil.com", E::Character),
            ("https://api.example.com/a b", E::Character),
            ("https://api.example.com/\u{e9}", E::Character),
            ("https://api.example.com/a\nb", E::Character),
            ("https://api.example.com/{x}", E::Character),
            ("https://api.example.com%2eevil.com", E::Host),
            ("https://api.example.com/orders/../admin", E::DotSegment),
            ("https://api.example.com/orders/%2e%2E/admin", E::DotSegment),
            ("https://api.example.com/orders/.", E::DotSegment),
            ("https://api.example.com/orders//x", E::EmptySegment),
            ("https://api.example.com//", E::EmptySegment),
            ("https://api.example.com/orders%2f..", E::Encoding),
            ("https://api.example.com/a%5Cb", E::Encoding),
            ("https://api.example.com/a%00", E::Encoding),
            ("https://api.example.com/a%0d%0aX", E::Encoding),
            ("https://api.example.com/a%", E::Encoding),
            ("https://api.example.com/a%2", E::Encoding),
            ("https://api.example.com/a%zz", E::Encoding),
            ("https://api.example.com./a", E::Host),
            ("https://.example.com/a", E::Host),
            ("https://a..b/", E::Host),
            ("https:///a", E::Host),
            ("https://", E::Host),
            ("https:/a", E::Host),
            ("https:a", E::Host),
            ("https://127.1/", E::Host),
            ("https://2130706433/", E::Host),
            ("https://0x7f.0.0.1/", E::Host),
            ("https://0x7f000001/", E::Host),
            ("https://010.0.0.1/", E::Host),
            ("https://1.2.3.4.5/", E::Host),
            ("https://[::0:1]/", E::Host),
            ("https://[::1%25eth0]/", E::Host),
            ("https://[::1]x/", E::Host),
            ("https://a:0/", E::Port),
            ("https://a:/", E::Port),
            ("https://a:080/", E::Port),
            ("https://a:65536/", E::Port),
            ("https://a:1:2/", E::Port),
            ("https://xn--a/", E::Ambiguous),
            ("urn:", E::Host),
            ("urn:x", E::Host),
            ("spiffe://Example.com/a", E::Character),
            ("spiffe://example.com:80/a", E::Port),
            ("spiffe://example.com/a?x", E::Character),
        ] {
            assert_eq!(text.parse::<Uri>().err(), Some(error), "{text}");
        }
        assert_eq!(
            format!("https://a/{}", "x".repeat(2048))
                .parse::<Uri>()
                .err(),
            Some(E::TooLong)
        );
    }

    #[test]
    fn only_case_default_port_and_unreserved_are_normalised() {
        for (sent, canonical) in [
            (
                "HTTPS://API.Example.com:443/%7Ea/%41?B=%7e",
                "https://api.example.com/~a/A?B=~",
            ),
            ("http://a:443/", "http://a:443/"),
            (
                "https://[2001:DB8::1]:8443/x",
                "https://[2001:db8::1]:8443/x",
            ),
            ("https://10.0.0.1/x", "https://10.0.0.1/x"),
            ("urn:Example:A:b", "urn:example:A:b"),
            ("api://0f1e/x", "api://0f1e/x"),
            (
                "spiffe://prod.example.com/ns/billing",
                "spiffe://prod.example.com/ns/billing",
            ),
            ("https://a/%3a%3A", "https://a/%3a%3A"),
        ] {
            let parsed = uri(sent);
            assert_eq!(parsed.canonical(), canonical);
            assert_eq!(parsed.raw(), sent);
            assert_eq!(
                uri(parsed.canonical()).canonical(),
                canonical,
                "canonical is a fixed point"
            );
        }
    }
}
