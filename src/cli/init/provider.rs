//! An identity provider, as its metadata describes it (RFC 8414, OpenID Connect Discovery).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::config::{well_known_oauth, well_known_openid};
use crate::jose::{Algorithm, Object};
use crate::keys::{FetchError, metadata};
use crate::net::{Edition, Endpoint, Limits};
use crate::oauth::id::{Issuer, RealmName};
use crate::oauth::scope::Scopes;
use crate::oauth::uri::Uri;
use crate::services::Services;

/// For one document.
const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    max_body: 1024 * 1024,
};
/// The most scopes that rules are drafted for.
const SCOPES: usize = 20;

/// What an identity provider says of itself.
#[derive(Debug)]
pub(super) struct Provider {
    pub issuer: Issuer,
    /// `discovery:`.
    pub discovery: &'static str,
    /// The preset that knows more of it.
    pub preset: Option<&'static str>,
    /// What it says that it signs with, of what is spoken here.
    pub algorithms: Vec<Algorithm>,
    /// Where it can be asked about its tokens.
    pub introspection: Option<Endpoint>,
    pub scopes: Vec<Arc<str>>,
    /// How many more it has.
    pub further_scopes: usize,
}

/// What is wrong, and what to do about it.
type Refusal = (String, String);

/// Fetches the metadata, from where the URL says it is or where it must be.
pub(super) async fn read(url: &str, services: &Services) -> Result<Provider, Refusal> {
    let url = url.trim();
    let places = places(url)?;
    let mut failed: Option<FetchError> = None;
    for (document, discovery) in &places {
        match fetch(document, services).await {
            Ok(found) => return provider(url, document, discovery.as_deref(), &found),
            // Another place may have it; the first is where most have it.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let why = failed.map_or_else(String::new, |error| error.to_string());
    let tried: Vec<String> = places.iter().map(|(place, _)| place.to_string()).collect();
    Err((
        format!("no metadata could be had of `{url}`: {why}"),
        format!("looked at {}", tried.join(" and ")),
    ))
}

/// Where the document may be, and whose it must be then: any issuer's that has its metadata there, where the
/// document itself was named.
fn places(url: &str) -> Result<Vec<(Endpoint, Option<String>)>, Refusal> {
    let help = "give the issuer identifier, or the URL of its metadata, such as \
                `https://idp.example.com` (plain http only on this machine)";
    let endpoint = |text: &str| {
        text.parse::<Endpoint>()
            .map_err(|error| (format!("`{text}` {error}"), help.to_owned()))
    };
    if url.contains("/.well-known/") {
        return Ok(vec![(endpoint(url)?, None)]);
    }
    endpoint(url)?;
    let issuer: Issuer = url
        .parse()
        .map_err(|error| (format!("`{url}` {error}"), help.to_owned()))?;
    let known = [well_known_openid(&issuer), well_known_oauth(&issuer)];
    known
        .into_iter()
        .flatten()
        .map(|place| Ok((endpoint(&place)?, Some(url.to_owned()))))
        .collect()
}

async fn fetch(document: &Endpoint, services: &Services) -> Result<Object, FetchError> {
    let upstream = services
        .metrics
        .upstream(&RealmName::default(), "keys", &Arc::from("init"));
    let work = metadata(&services.net, &upstream, document, Edition::Newest, &LIMITS);
    work.await
}

/// Reads the metadata; it must be that of who was asked for (RFC 8414 §3.3).
fn provider(
    url: &str,
    document: &Endpoint,
    asked: Option<&str>,
    found: &Object,
) -> Result<Provider, Refusal> {
    let says = found.get("issuer").and_then(Value::as_str);
    let issuer: Option<Issuer> = says.and_then(|says| says.parse().ok());
    let Some(issuer) = issuer else {
        return Err((
            format!("the metadata at {document} has no `issuer`"),
            "it is no metadata of an issuer".to_owned(),
        ));
    };
    if asked.is_some_and(|asked| asked != issuer.as_str()) {
        return Err((
            format!("the metadata at {document} is that of another issuer: `{issuer}`"),
            format!(
                "where that one is meant: `--from {issuer}` (they must be equal, byte for byte)"
            ),
        ));
    }
    let at = document.to_string();
    let is = |place: Option<String>| place.is_some_and(|place| place == at);
    let discovery = match (
        is(well_known_openid(&issuer)),
        is(well_known_oauth(&issuer)),
    ) {
        (true, _) => "openid",
        (_, true) => "oauth",
        _ => {
            return Err((
                format!("`{issuer}`, which {url} speaks of, has its metadata elsewhere"),
                format!("try `--from {issuer}`"),
            ));
        }
    };
    if found.get("jwks_uri").and_then(Value::as_str).is_none() {
        return Err((
            format!("`{issuer}` publishes no keys (`jwks_uri`)"),
            "begin with `cambist init`, and write its `introspection:` into cambist.yaml"
                .to_owned(),
        ));
    }
    Ok(Provider {
        preset: preset(&issuer),
        discovery,
        algorithms: algorithms(found),
        introspection: text(found, "introspection_endpoint").and_then(|text| text.parse().ok()),
        further_scopes: scopes(found).skip(SCOPES).count(),
        scopes: scopes(found).take(SCOPES).collect(),
        issuer,
    })
}

fn text<'a>(found: &'a Object, member: &str) -> Option<&'a str> {
    found.get(member).and_then(Value::as_str)
}

fn list<'a>(found: &'a Object, member: &str) -> impl Iterator<Item = &'a str> {
    let list = found.get(member).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Of access tokens nothing is said there; of ID tokens it is, and one key signs both nearly everywhere.
fn algorithms(found: &Object) -> Vec<Algorithm> {
    let mut all: Vec<Algorithm> = list(found, "id_token_signing_alg_values_supported")
        .filter_map(|name| name.parse().ok())
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The scopes but those that ask for an ID token, for what stands in it, or for a refresh token.
fn scopes(found: &Object) -> impl Iterator<Item = Arc<str>> {
    const OF_LOGIN: [&str; 6] = [
        "openid",
        "profile",
        "email",
        "address",
        "phone",
        "offline_access",
    ];
    let mut seen = std::collections::BTreeSet::new();
    list(found, "scopes_supported")
        .filter(|scope| !OF_LOGIN.contains(scope))
        .filter(|scope| scope.len() <= 128 && Scopes::from_tokens([*scope]).is_ok())
        .filter(move |scope| seen.insert(*scope))
        .map(Arc::from)
}

/// The preset of a vendor, by where its issuers are.
pub(super) fn preset(issuer: &Issuer) -> Option<&'static str> {
    let uri: Uri = issuer.as_str().parse().ok()?;
    let authority = uri.authority()?;
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, port)| {
            match port.bytes().all(|b| b.is_ascii_digit()) {
                true => host,
                false => authority,
            }
        });
    let below = |domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    Some(match uri.path() {
        "/" | "" if host == "accounts.google.com" => "google",
        "/" | "" if host == "token.actions.githubusercontent.com" => "github-actions",
        "/" | "" if host == "gitlab.com" || host.starts_with("gitlab.") => "gitlab-ci",
        _ if host == "login.microsoftonline.com" || below("ciamlogin.com") => "entra",
        _ if below("okta.com") || below("oktapreview.com") || below("okta-emea.com") => "okta",
        _ if below("auth0.com") => "auth0",
        path if path.contains("/realms/") => "keycloak",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_are_known_by_where_they_are() {
        for (issuer, known) in [
            ("https://sso.example.com/realms/corp", Some("keycloak")),
            ("https://sso.example.com/auth/realms/corp", Some("keycloak")),
            ("https://login.microsoftonline.com/0000/v2.0", Some("entra")),
            ("https://corp.okta.com/oauth2/default", Some("okta")),
            ("https://corp.eu.auth0.com/", Some("auth0")),
            ("https://accounts.google.com", Some("google")),
            (
                "https://token.actions.githubusercontent.com",
                Some("github-actions"),
            ),
            ("https://gitlab.com", Some("gitlab-ci")),
            ("https://gitlab.example.com", Some("gitlab-ci")),
            ("http://127.0.0.1:8080/realms/corp", Some("keycloak")),
            ("https://idp.example.com", None),
            ("https://evilokta.com", None),
            ("https://okta.com.example.com", None),
            ("accounts.google.com", None),
        ] {
            assert_eq!(preset(&issuer.parse().unwrap()), known, "{issuer}");
        }
    }

    #[test]
    fn metadata_must_be_that_of_who_was_asked_for() {
        let read = |url: &str, text: serde_json::Value| {
            let (document, asked) = places(url).unwrap().remove(0);
            let found = text.as_object().unwrap().clone();
            provider(url, &document, asked.as_deref(), &found)
        };
        let good = serde_json::json!({
            "issuer": "https://idp.example.com", "jwks_uri": "https://idp.example.com/keys",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "none", "HS256", "RS256"],
            "scopes_supported": ["openid", "read", "a b", "read", "write"],
            "introspection_endpoint": "http://elsewhere.example.com/i",
        });
        for url in [
            "https://idp.example.com",
            "https://idp.example.com/.well-known/openid-configuration",
            "https://idp.example.com/.well-known/oauth-authorization-server",
        ] {
            let found = read(url, good.clone()).unwrap();
            assert_eq!(found.algorithms, [Algorithm::ES256, Algorithm::RS256]);
            assert_eq!(found.scopes, [Arc::from("read"), Arc::from("write")]);
            assert!(found.introspection.is_none(), "plain http elsewhere");
        }
        for (url, says) in [
            ("https://idp.example.com/", "another issuer"),
            ("https://other.example.com", "another issuer"),
            (
                "https://other.example.com/.well-known/openid-configuration",
                "elsewhere",
            ),
        ] {
            let (why, help) = read(url, good.clone()).unwrap_err();
            assert!(why.contains(says), "{why}");
            assert!(help.contains("--from https://idp.example.com"), "{help}");
        }
        let mut keyless = good.clone();
        keyless.as_object_mut().unwrap().remove("jwks_uri");
        let (why, _) = read("https://idp.example.com", keyless).unwrap_err();
        assert!(why.contains("publishes no keys"), "{why}");
        for bad in [
            "http://idp.example.com",
            "idp.example.com",
            "file:///etc/passwd",
            "",
        ] {
            assert!(places(bad).is_err(), "{bad}");
        }
    }
}
