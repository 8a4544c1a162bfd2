//! F11, F30: everything that a key endpoint can do wrong, while known keys serve as if nothing were.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{FETCHED, World};
use crate::support::{Introspection, Page, Site};

/// Every fault, and the word that the metric has for it.
async fn faults(elsewhere: &Site) -> Vec<(&'static str, Page, &'static str)> {
    let json = "Content-Type: application/json\r\n";
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(12 * 1024 * 1024));
    let redirect = format!("Location: http://{}/jwks\r\n", elsewhere.address);
    let symmetric = r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"x"}]}"#;
    let html = "<html><h1>down for maintenance</h1></html>";
    vec![
        ("hang", Page::Hang, "timeout"),
        ("trickle", Page::Trickle, "timeout"),
        (
            "500",
            Page::http("500 Internal Server Error", json, "{}"),
            "status",
        ),
        ("404", Page::http("404 Not Found", json, "{}"), "status"),
        (
            "304 unasked",
            Page::http("304 Not Modified", "", ""),
            "redirect",
        ),
        (
            "html",
            Page::http("200 OK", "Content-Type: text/html\r\n", html),
            "content_type",
        ),
        ("html as json", Page::json(html), "not_a_key_set"),
        (
            "no content type",
            Page::http("200 OK", "", "{\"keys\":[]}"),
            "content_type",
        ),
        ("empty", Page::json(""), "not_a_key_set"),
        ("an array", Page::json("[]"), "not_a_key_set"),
        ("no keys member", Page::json("{}"), "not_a_key_set"),
        (
            "a member twice",
            Page::json("{\"keys\":[],\"keys\":[]}"),
            "not_a_key_set",
        ),
        ("no keys", Page::json("{\"keys\":[]}"), "no_usable_key"),
        ("no usable key", Page::json(symmetric), "no_usable_key"),
        ("12 MB", Page::json(&large), "too_large"),
        (
            "redirect",
            Page::http("302 Found", &redirect, ""),
            "redirect",
        ),
        (
            "truncated",
            Page::Raw(
                format!("HTTP/1.1 200 OK\r\n{json}Content-Length: 500\r\n\r\n{{\"keys\"").into(),
            ),
            "truncated",
        ),
        ("closed", Page::Raw(Vec::new()), "closed"),
        (
            "no HTTP",
            Page::Raw(b"220 smtp.example.com ESMTP\r\n".to_vec()),
            "protocol",
        ),
    ]
}

#[tokio::test]
async fn f11_known_keys_serve_through_every_fault() {
    let elsewhere = Site::start(|_, _| Page::json("{\"keys\":[]}")).await;
    for (what, page, word) in faults(&elsewhere).await {
        let world = World::start().await;
        world.good(what).await;
        world.site.says(move |_, _| page.clone());
        // Every set is due by then, and none is too old.
        world.pass(3_600);
        let started = Instant::now();
        for _ in 0..3 {
            world.good(what).await;
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(2), "{what}: {took:?}");
        world.result(word, 1).await;
        world.good(what).await;
        // What is unknown cannot be judged now, which is nobody's fault; two at once change nothing (T1).
        let (one, two) = (world.forged("one"), world.forged("two"));
        let (one, two) = tokio::join!(world.gateway.trade(&one), world.gateway.trade(&two));
        for answer in [one, two] {
            assert_eq!(answer.status, 503, "{what}: {answer:?}");
            assert_eq!(answer.error(), "temporarily_unavailable");
            let text = &answer.json()["error_description"];
            assert_eq!(text, "subject_token: the token could not be verified now");
        }
        assert_eq!(world.gateway.last()["reason"], "keys_unavailable", "{what}");
        let ready = world.gateway.admin("/readyz?verbose").await;
        assert_eq!(ready.status, 200, "{what}: {ready:?}");
        assert!(
            ready.body.contains("[+] issuer idp: 1 keys, "),
            "{what}: {ready:?}"
        );
        assert!(ready.body.contains("last look failed"), "{what}: {ready:?}");
        // It recovers by itself, once the wait is over.
        let keys = world.idp.jwks();
        world.site.says(move |_, _| Page::json(&keys));
        world.pass(61);
        world.result("fetched", 2).await;
        world.good(what).await;
        world
            .bad(what, &world.forged("one"), 400, "kid_unknown")
            .await;
    }
    assert_eq!(
        elsewhere.calls("/jwks"),
        [] as [String; 0],
        "a redirect was followed"
    );
}

#[tokio::test]
async fn f11_known_keys_serve_while_nobody_listens() {
    let mut world = World::start().await;
    world.site.close().await;
    world.pass(3_600);
    world.good("refused").await;
    world.result("refused", 1).await;
    world.good("still").await;
    world
        .bad("unknown", &world.forged("x"), 503, "keys_unavailable")
        .await;
}

#[tokio::test]
async fn f30_without_any_keys_it_starts_and_is_not_ready_and_lets_nobody_in() {
    let nobody = Introspection::nowhere().await;
    let issuers = FETCHED.replace("SITE", &nobody.to_string());
    let world = World::cold(&issuers, Page::json).await;
    world.result("refused", 1).await;
    let ready = world.gateway.admin("/readyz?verbose").await;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(
        ready
            .body
            .contains("[-] issuer idp: no keys yet, last look failed: the connection was refused")
            && ready.body.ends_with("not ready\n"),
        "{ready:?}"
    );
    for (query, verbose) in [
        ("verbose", true),
        ("verbose=1", true),
        ("a=b&verbose=", true),
        ("verbosely", false),
        ("not=verbose", false),
        ("nonverbose=1", false),
    ] {
        let ready = world.gateway.admin(&format!("/readyz?{query}")).await;
        assert_eq!(ready.body.contains("issuer idp"), verbose, "{query}");
    }
    let answer = world
        .bad("cold", &world.token(), 503, "keys_unavailable")
        .await;
    assert_eq!(answer.header("retry-after"), Some("2"));
    let status = world.gateway.admin("/status").await.json();
    let issuers = status["realms"]["default"]["issuers"].as_array().unwrap();
    let idp = issuers
        .iter()
        .find(|issuer| issuer["alias"] == "idp")
        .unwrap();
    assert_eq!(idp["can_verify"], false, "{idp}");
    // Our own tokens do not make it ready.
    assert!(issuers.iter().any(|issuer| issuer["can_verify"] == true));
}

#[tokio::test]
async fn f30_one_issuer_that_can_be_verified_is_enough_to_be_ready() {
    let nobody = Introspection::nowhere().await;
    let other = "  other: { issuer: https://other.example.com, audience: client, scope: claim, \
                 introspection: { endpoint: \"http://SITE/x\", unauthenticated: true } }\n";
    let issuers = format!("{}{other}", FETCHED.replace("SITE", &nobody.to_string()));
    let issuers = issuers.replace("fetch:", "subjects: local, fetch:");
    let world = World::cold(&issuers, Page::json).await;
    world.result("refused", 1).await;
    let ready = world.gateway.admin("/readyz?verbose").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(
        ready.body.contains("[-] issuer idp: no keys yet"),
        "{ready:?}"
    );
    assert!(
        ready.body.contains("[+] issuer other: introspection"),
        "{ready:?}"
    );
}

/// A cold start in which the endpoint comes up late: the first requests are told to come back.
#[tokio::test]
async fn f30_it_becomes_ready_when_the_keys_come() {
    let world = World::cold(FETCHED, |_| Page::http("503 Service Unavailable", "", "")).await;
    world.result("status", 1).await;
    world
        .bad("down", &world.token(), 503, "keys_unavailable")
        .await;
    let keys = world.idp.jwks();
    world.site.says(move |_, _| Page::json(&keys));
    world.pass(61);
    world.until_ready().await;
    world.good("up").await;
}

/// F11: a fetch that is never answered holds a cold request no longer than its timeout, and others not at all.
#[tokio::test]
async fn f11_nobody_waits_longer_than_one_fetch_may_take() {
    let world = World::cold(FETCHED, |_| Page::Hang).await;
    let started = Instant::now();
    let token = world.token();
    let all = (0..20).map(|_| world.gateway.trade(&token));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// A wait ends within its own time even where a fetch and a second one would take longer together.
#[tokio::test]
async fn an_unknown_kid_in_a_hanging_refresh_costs_its_request_one_timeout() {
    let world = World::start().await;
    world.site.says(|_, _| Page::Hang);
    world.pass(3_600);
    let started = Instant::now();
    world
        .bad("hanging", &world.forged("x"), 503, "keys_unavailable")
        .await;
    assert!(
        started.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        started.elapsed()
    );
    world.good("meanwhile").await;
}

/// One bad key does not spoil the others; that it is there is told.
#[tokio::test]
async fn a_bad_key_in_the_set_is_left_out() {
    let world = World::cold(FETCHED, |keys| {
        let mut set: serde_json::Value = serde_json::from_str(keys).unwrap();
        let bad = json!({ "kty": "RSA", "kid": "bad", "n": "AQAB", "e": "AQAB" });
        set["keys"].as_array_mut().unwrap().push(bad);
        Page::json(&set.to_string())
    })
    .await;
    world.until_ready().await;
    world.good("beside a bad one").await;
    let metrics = world.gateway.admin("/metrics").await.body;
    for line in [
        "cambist_jwks_keys{issuer=\"idp\",realm=\"default\",state=\"usable\"} 1\n",
        "cambist_jwks_keys{issuer=\"idp\",realm=\"default\",state=\"skipped\"} 1\n",
        "cambist_jwks_age_seconds{issuer=\"idp\",realm=\"default\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line} {metrics}");
    }
    let ready = world.gateway.admin("/readyz?verbose").await.body;
    assert!(
        ready.contains("[+] issuer idp: 1 keys, current 0s ago, 1 not used"),
        "{ready}"
    );
}
