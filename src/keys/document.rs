//! One look at somebody's keys: where they are, what comes back, and whether it is a key set.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::jose::{Algorithm, JwksError, KeySet, Object, SkippedKey, parse_object};
use crate::metrics::Upstream;
use crate::net::{Answer, Edition, Endpoint, EndpointError, Limits, Net, NetError};
use crate::oauth::id::Issuer;
use crate::oauth::uri::Uri;

/// Where keys are fetched from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// A JWKS document.
    Jwks(Endpoint),
    /// The metadata of an issuer, which names its JWKS document (RFC 8414 §2, OpenID Connect Discovery §3).
    Discovery {
        /// The metadata document.
        document: Endpoint,
        /// Whose it must say it is, byte for byte (RFC 8414 §3.3).
        issuer: Issuer,
    },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwks(endpoint)
            | Self::Discovery {
                document: endpoint, ..
            } => endpoint.fmt(f),
        }
    }
}

/// Why a fetch gave no key set. What was had before is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// There was no complete answer.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The answer has another status than 200, a redirect among them.
    #[error("the answer has the status {0}")]
    Status(u16),
    /// The answer does not say that it is JSON.
    #[error("the answer is not JSON by its content type: {0}")]
    ContentType(String),
    /// The document is no usable key set.
    #[error(transparent)]
    Jwks(#[from] JwksError),
    /// The metadata is not a JSON object.
    #[error("the metadata is not a JSON object")]
    Metadata,
    /// The metadata is that of another issuer (RFC 8414 §3.3).
    #[error("the metadata is that of another issuer")]
    OtherIssuer,
    /// The metadata names no key set.
    #[error("the metadata has no `jwks_uri`")]
    NoJwksUri,
    /// The metadata names a key set where none may be.
    #[error("the metadata's `jwks_uri` {0}")]
    JwksUri(#[from] EndpointError),
    /// The fetch was ended from outside.
    #[error("the fetch was not finished")]
    Unfinished,
}

impl FetchError {
    /// One word, for metrics and records.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Net(error) => error.reason(),
            Self::Status(300..=399) => "redirect",
            Self::Status(_) => "status",
            Self::ContentType(_) => "content_type",
            Self::Jwks(JwksError::NoUsableKey(_)) => "no_usable_key",
            Self::Jwks(_) => "not_a_key_set",
            Self::Metadata => "metadata_invalid",
            Self::OtherIssuer => "metadata_issuer",
            Self::NoJwksUri => "metadata_without_jwks_uri",
            Self::JwksUri(_) => "jwks_uri_refused",
            Self::Unfinished => "unfinished",
        }
    }
}

/// A key set as it was fetched.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub keys: KeySet,
    pub skipped: Vec<SkippedKey>,
    /// Where it was.
    pub from: Endpoint,
    pub etag: Option<String>,
    /// How long its owner says that it is good for.
    pub max_age: Option<Duration>,
}

/// What a fetch brought.
pub(super) enum Fetched {
    /// A key set.
    New(Document),
    /// The one that is here already is still good, for so long by its owner's word.
    Unchanged(Option<Duration>),
}

/// Looks at the keys; `held` is what is here already, if that will do where it is still good. Without, the
/// newest edition is asked for. Everything together stays within the limits' time.
pub(super) async fn fetch(
    net: &Net,
    upstream: &Upstream,
    location: &Location,
    algorithms: &[Algorithm],
    limits: &Limits,
    held: Option<&Document>,
) -> Result<Fetched, FetchError> {
    let work = async {
        let any = match held {
            Some(_) => Edition::Any,
            None => Edition::Newest,
        };
        let from = match location {
            Location::Jwks(endpoint) => endpoint.clone(),
            Location::Discovery { document, issuer } => {
                discover(net, upstream, document, issuer, any, limits).await?
            }
        };
        let held = held.filter(|held| held.from == from);
        let etag = held.and_then(|held| held.etag.as_deref());
        let accept = "application/jwk-set+json, application/json";
        let answer = net
            .get(
                upstream,
                &from,
                accept,
                etag.map_or(any, Edition::Other),
                limits,
            )
            .await?;
        let max_age = max_age(&answer);
        if answer.status == 304 && etag.is_some() {
            return Ok(Fetched::Unchanged(max_age));
        }
        let body = json(&answer)?;
        let (keys, skipped) = KeySet::from_jwks(body, algorithms)?;
        // What could not be sent back is not kept.
        let etag = answer.etag.filter(|etag| etag.len() <= 256);
        Ok(Fetched::New(Document {
            keys,
            skipped,
            from,
            etag,
            max_age,
        }))
    };
    tokio::time::timeout(limits.timeout, work)
        .await
        .unwrap_or(Err(FetchError::Net(NetError::Timeout)))
}

/// The metadata of an issuer (RFC 8414 §3, OpenID Connect Discovery §4).
///
/// Whose it says it is, is for the caller to compare (RFC 8414 §3.3).
///
/// # Errors
/// A [`FetchError`] when there is none.
pub async fn metadata(
    net: &Net,
    upstream: &Upstream,
    document: &Endpoint,
    edition: Edition<'_>,
    limits: &Limits,
) -> Result<Object, FetchError> {
    let answer = net
        .get(upstream, document, "application/json", edition, limits)
        .await?;
    parse_object(json(&answer)?).map_err(|_| FetchError::Metadata)
}

/// The JWKS document that an issuer's metadata names.
async fn discover(
    net: &Net,
    upstream: &Upstream,
    document: &Endpoint,
    issuer: &Issuer,
    edition: Edition<'_>,
    limits: &Limits,
) -> Result<Endpoint, FetchError> {
    let metadata = metadata(net, upstream, document, edition, limits).await?;
    if metadata.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
        return Err(FetchError::OtherIssuer);
    }
    let named = metadata.get("jwks_uri").and_then(Value::as_str);
    let uri: Uri = named
        .ok_or(FetchError::NoJwksUri)?
        .parse()
        .map_err(EndpointError::Uri)?;
    Ok(Endpoint::named_by(&uri, document)?)
}

/// The body of a good answer that says it is JSON: `application/json`, or any type that ends in `+json`.
fn json(answer: &Answer) -> Result<&[u8], FetchError> {
    if answer.status != 200 {
        return Err(FetchError::Status(answer.status));
    }
    let sent = answer.content_type.as_deref().unwrap_or_default();
    let kind = sent.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    match kind == "application/json" || kind.ends_with("+json") {
        true => Ok(&answer.body),
        false => Err(FetchError::ContentType(match &answer.content_type {
            Some(_) => format!("it is `{}`", kind.chars().take(64).collect::<String>()),
            None => "it has none".to_owned(),
        })),
    }
}

/// `max-age` (RFC 9111 §5.2.2.1); `no-store` and `no-cache` count as none at all.
fn max_age(answer: &Answer) -> Option<Duration> {
    let directives = answer.cache_control.as_deref()?.split(',').map(str::trim);
    let mut seconds = None;
    for directive in directives {
        let directive = directive.to_ascii_lowercase();
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(value) = directive.strip_prefix("max-age=") {
            // The strictest of several wins; one that cannot be read is as if it were not there.
            let value: Option<u64> = value.trim_matches('"').parse().ok();
            seconds = value
                .map(|new| seconds.map_or(new, |old: u64| old.min(new)))
                .or(seconds);
        }
    }
    seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(content_type: Option<&str>, cache_control: Option<&str>) -> Answer {
        Answer {
            status: 200,
            content_type: content_type.map(str::to_owned),
            etag: None,
            cache_control: cache_control.map(str::to_owned),
            body: Vec::new(),
        }
    }

    #[test]
    fn what_says_that_it_is_json() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/jwk-set+json",
        ] {
            assert!(json(&answer(Some(good), None)).is_ok(), "{good}");
        }
        let long = "x".repeat(500);
        let shortened = format!("it is `{}`", "x".repeat(64));
        for (bad, says) in [
            (None, "it has none"),
            (Some(""), "it is ``"),
            (Some("Text/HTML; charset=utf-8"), "it is `text/html`"),
            (Some("application/jsonp"), "it is `application/jsonp`"),
            (Some(&*long), &*shortened),
        ] {
            let answer = answer(bad, None);
            let error = FetchError::ContentType(says.to_owned());
            assert_eq!(json(&answer), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn how_long_its_owner_says_that_it_is_good_for() {
        for (sent, seconds) in [
            ("public, max-age=19000, must-revalidate", Some(19_000)),
            ("Max-Age=\"60\"", Some(60)),
            ("max-age=60, max-age=10", Some(10)),
            ("no-store", Some(0)),
            ("max-age=600, no-cache", Some(0)),
            ("max-age=-1", None),
            ("max-age=99999999999999999999999", None),
            ("private", None),
        ] {
            let found = max_age(&answer(None, Some(sent)));
            assert_eq!(found, seconds.map(Duration::from_secs), "{sent}");
        }
        assert_eq!(max_age(&answer(None, None)), None);
    }
}
