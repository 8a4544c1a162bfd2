//! Where an issuer's metadata says that its keys are (OpenID Connect Discovery §4, RFC 8414 §3).

use serde_json::{Value, json};

use super::World;
use crate::support::{Page, Site, with};

/// The issuer's keys are found through its metadata.
const DISCOVERED: &str = "  idp: { issuer: https://idp.example.com, discovery: \"http://SITE/metadata\", audience: client, scope: claim, fetch: { timeout: 1s } }\n";

/// A site with metadata, changed as a test wants it, and keys.
async fn world(changes: Value) -> World {
    let world = World::cold(DISCOVERED, |_| Page::Hang).await;
    let good = json!({
        "issuer": "https://idp.example.com",
        "jwks_uri": format!("http://{}/jwks", world.site.address),
    });
    let (metadata, keys) = (with(&good, &changes).to_string(), world.idp.jwks());
    world.site.says(move |path, _| match path {
        "/metadata" => Page::json(&metadata),
        _ => Page::json(&keys),
    });
    world.pass(61);
    world
}

#[tokio::test]
async fn the_keys_are_where_the_metadata_says() {
    let world = world(json!({})).await;
    world.until_ready().await;
    world.good("discovered").await;
    // It is read again together with the keys.
    let metadata = world.site.calls("/metadata").len();
    world.pass(601);
    world.result("fetched", 2).await;
    assert_eq!(world.site.calls("/metadata").len(), metadata + 1);
    // The keys have moved, and are found there at once.
    let next = crate::support::Idp::new("https://idp.example.com", cambist::jose::Algorithm::ES256);
    let keys = next.jwks();
    let moved = json!({
        "issuer": "https://idp.example.com",
        "jwks_uri": format!("http://{}/moved", world.site.address),
    });
    world.site.says(move |path, _| match path {
        "/metadata" => Page::json(&moved.to_string()),
        "/moved" => Page::json(&keys),
        _ => Page::http("404 Not Found", "", ""),
    });
    let token = next.token(&crate::support::claims(
        json!({ "exp": super::NOW + 10_000 }),
    ));
    let answer = world.gateway.trade(&token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// An `ETag` means nothing elsewhere: what has moved is asked for anew.
#[tokio::test]
async fn keys_that_have_moved_are_not_taken_for_unchanged() {
    let world = world(json!({})).await;
    let next = crate::support::Idp::new("https://idp.example.com", cambist::jose::Algorithm::ES256);
    let at = |path: &str| {
        let uri = format!("http://{}{path}", world.site.address);
        json!({ "issuer": "https://idp.example.com", "jwks_uri": uri }).to_string()
    };
    let site = |metadata: String, keys: String| {
        world.site.says(move |path, head| match path {
            "/metadata" => Page::json(&metadata),
            _ if head.contains("if-none-match") => Page::http("304 Not Modified", "", ""),
            _ => Page::http(
                "200 OK",
                "Content-Type: application/json\r\nETag: \"1\"\r\n",
                &keys,
            ),
        });
    };
    site(at("/jwks"), world.idp.jwks());
    world.until_ready().await;
    world.pass(601);
    world.result("unchanged", 1).await;
    site(at("/moved"), next.jwks());
    world.pass(601);
    world.result("fetched", 2).await;
    let exp = json!({ "exp": super::NOW + 10_000 });
    let answer = world
        .gateway
        .trade(&next.token(&crate::support::claims(exp)))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn metadata_that_is_not_the_issuers_is_not_believed() {
    for (what, changes, word) in [
        (
            "another issuer",
            json!({ "issuer": "https://evil.example.com" }),
            "metadata_issuer",
        ),
        (
            "a slash more",
            json!({ "issuer": "https://idp.example.com/" }),
            "metadata_issuer",
        ),
        (
            "other capitals",
            json!({ "issuer": "https://IDP.example.com" }),
            "metadata_issuer",
        ),
        (
            "a list",
            json!({ "issuer": ["https://idp.example.com"] }),
            "metadata_issuer",
        ),
        ("no issuer", json!({ "issuer": null }), "metadata_issuer"),
        (
            "no jwks_uri",
            json!({ "jwks_uri": null }),
            "metadata_without_jwks_uri",
        ),
        ("no URI", json!({ "jwks_uri": "/jwks" }), "jwks_uri_refused"),
        (
            "plain http",
            json!({ "jwks_uri": "http://idp.example.com/jwks" }),
            "jwks_uri_refused",
        ),
        (
            "a file",
            json!({ "jwks_uri": "file:///etc/passwd" }),
            "jwks_uri_refused",
        ),
        (
            "the link",
            json!({ "jwks_uri": "https://169.254.169.254/jwks" }),
            "address_forbidden",
        ),
    ] {
        let world = world(changes).await;
        world.result(word, 1).await;
        world
            .bad(what, &world.token(), 503, "keys_unavailable")
            .await;
        assert_eq!(world.fetches(), 0, "{what}");
    }
}

#[tokio::test]
async fn metadata_that_cannot_be_had_leaves_what_is_known() {
    let elsewhere = Site::start(|_, _| Page::Hang).await;
    let redirect = format!("Location: http://{}/metadata\r\n", elsewhere.address);
    for (what, page, word) in [
        (
            "redirect",
            Page::http("302 Found", &redirect, ""),
            "redirect",
        ),
        (
            "html",
            Page::http("200 OK", "Content-Type: text/html\r\n", "<p>"),
            "content_type",
        ),
        ("no JSON", Page::json("{"), "metadata_invalid"),
        ("gone", Page::http("410 Gone", "", ""), "status"),
        ("hang", Page::Hang, "timeout"),
    ] {
        let world = world(json!({})).await;
        world.until_ready().await;
        world.site.says(move |_, _| page.clone());
        world.pass(3_600);
        world.good(what).await;
        world.result(word, 1).await;
        world.good(what).await;
    }
    assert_eq!(elsewhere.calls("/metadata"), [] as [String; 0]);
}
