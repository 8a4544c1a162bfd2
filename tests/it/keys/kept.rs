//! How long a set is good for, what a reload keeps, and what an outage leaves.

use std::fs;

use cambist::jose::Algorithm;
use cambist::reload::reload;
use serde_json::json;

use super::{FETCHED, NOW, World};
use crate::support::{Idp, Page, claims};

const DAY: i64 = 86_400;

/// The set serves through an outage for a day, and not a second longer.
#[tokio::test]
async fn f11_a_stale_set_serves_for_max_stale_and_then_nobody_is_let_in() {
    let world = World::start().await;
    world
        .site
        .says(|_, _| Page::http("500 Internal Server Error", "", ""));
    for _ in 0..24 {
        world.pass(DAY / 24);
        world.good("stale").await;
    }
    world.pass(1);
    world
        .bad("too old", &world.token(), 503, "keys_unavailable")
        .await;
    let ready = world.gateway.admin("/readyz?verbose").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready
            .body
            .contains("[-] issuer idp: keys too old to be used"),
        "{ready:?}"
    );
    let keys = world.idp.jwks();
    world.site.says(move |_, _| Page::json(&keys));
    world.pass(61);
    world.until_ready().await;
    world.good("back").await;
}

#[tokio::test]
async fn an_unchanged_set_is_asked_for_by_its_etag_and_counts_as_new() {
    let world = World::cold(FETCHED, |keys| {
        Page::http(
            "200 OK",
            "Content-Type: application/json\r\nETag: \"v1\"\r\n",
            keys,
        )
    })
    .await;
    world.until_ready().await;
    world.site.says(|_, head| {
        assert!(head.contains("if-none-match: \"v1\"\r\n"), "{head}");
        Page::http("304 Not Modified", "ETag: \"v1\"\r\n", "")
    });
    // Far longer than a set is kept without a word from its owner.
    for round in 1..=10 {
        world.pass(DAY / 2);
        world.result("unchanged", round).await;
        world.good("unchanged").await;
    }
    let metrics = world.gateway.admin("/metrics").await.body;
    assert!(
        metrics.contains("cambist_jwks_age_seconds{issuer=\"idp\",realm=\"default\"} 0\n"),
        "{metrics}"
    );
}

/// An issuer that sends an `ETag` changes its keys as any other does.
#[tokio::test]
async fn a_changed_set_is_taken_although_the_old_one_had_an_etag() {
    let tagged = |tag: &str, keys: &str| {
        let headers = format!("Content-Type: application/json\r\nETag: \"{tag}\"\r\n");
        Page::http("200 OK", &headers, keys)
    };
    let world = World::cold(FETCHED, move |keys| tagged("v1", keys)).await;
    world.until_ready().await;
    let next = Idp::new("https://idp.example.com", Algorithm::ES256);
    let keys = next.jwks();
    world.site.says(move |_, _| tagged("v2", &keys));
    world.pass(601);
    world.result("fetched", 2).await;
    let token = next.token(&claims(json!({ "exp": NOW + 10_000 })));
    let answer = world.gateway.trade(&token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world
        .bad("by the old key", &world.token(), 400, "kid_unknown")
        .await;
}

/// RFC 9110 §15.4.5: "not modified" answers only whoever said what it has.
#[tokio::test]
async fn not_modified_is_no_answer_to_a_plain_question() {
    let long = "x".repeat(255);
    for (etag, kept) in [
        ("", false),
        ("\"v1\"", true),
        (&format!("\"{long}\""), false),
    ] {
        let headers = match etag {
            "" => "Content-Type: application/json\r\n".to_owned(),
            etag => format!("Content-Type: application/json\r\nETag: {etag}\r\n"),
        };
        let page = move |keys: &str| Page::http("200 OK", &headers, keys);
        let world = World::cold(FETCHED, page).await;
        world.until_ready().await;
        world
            .site
            .says(|_, _| Page::http("304 Not Modified", "", ""));
        world.pass(601);
        let word = if kept { "unchanged" } else { "redirect" };
        world.result(word, 1).await;
        let asked = world.site.calls("/jwks").pop().unwrap();
        assert_eq!(asked.contains("if-none-match"), kept, "{asked}");
    }
}

/// What its owner says of how long it is good for is followed between a minute and `refresh`.
#[tokio::test]
async fn max_age_is_followed_within_bounds() {
    // (what is sent, not yet due after, due after)
    for (sent, early, late) in [
        ("", 440, 601),
        ("Cache-Control: max-age=200\r\n", 145, 201),
        ("Cache-Control: max-age=1\r\n", 40, 61),
        ("Cache-Control: no-store\r\n", 40, 61),
        ("Cache-Control: public, max-age=999999\r\n", 440, 601),
    ] {
        let world = World::cold(FETCHED, move |keys| {
            let headers = format!("Content-Type: application/jwk-set+json\r\n{sent}");
            Page::http("200 OK", &headers, keys)
        })
        .await;
        world.until_ready().await;
        world.pass(early);
        world.good("early").await;
        // The keeper had its chance.
        world.gateway.admin("/metrics").await;
        assert_eq!(world.fetches(), 1, "{sent}");
        world.pass(late - early);
        world.good("late").await;
        world.fetched(2).await;
    }
}

/// A reload keeps what was fetched where nothing about it has changed, and nothing else.
#[tokio::test]
async fn a_reload_keeps_the_keys_of_what_has_not_changed() {
    let world = World::start().await;
    let dir = world.gateway.dir.path();
    let running = &world.gateway.running.gateway;
    world.site.says(|_, _| Page::Hang);
    let policy = fs::read_to_string(dir.join("main.policy")).unwrap();
    fs::write(dir.join("main.policy"), format!("{policy}\n# a comment\n")).unwrap();
    assert_eq!(reload(running, dir).name(), "applied");
    world.good("after a reload").await;
    assert_eq!(world.fetches(), 1);

    // To be kept otherwise is no reason to forget them, least of all while they cannot be fetched.
    let yaml = fs::read_to_string(dir.join("cambist.yaml")).unwrap();
    let otherwise = yaml.replace("timeout: 1s", "timeout: 2s, refresh: 5m");
    fs::write(dir.join("cambist.yaml"), otherwise).unwrap();
    assert_eq!(reload(running, dir).name(), "applied");
    world.good("after a change of times").await;

    let keys = world.idp.jwks();
    world.site.says(move |_, _| Page::json(&keys));
    fs::write(dir.join("cambist.yaml"), yaml.replace("/jwks", "/moved")).unwrap();
    assert_eq!(reload(running, dir).name(), "applied");
    // Warmed without a request.
    super::eventually("warmed", || world.site.calls("/moved").len() == 1).await;
    world.good("moved").await;

    // An issuer that is gone leaves no gauge behind.
    let gone = yaml.replace("  idp:", "  renamed:");
    fs::write(dir.join("cambist.yaml"), gone).unwrap();
    fs::write(dir.join("main.policy"), policy.replace("idp", "renamed")).unwrap();
    assert_eq!(reload(running, dir).name(), "applied");
    for _ in 0..super::PATIENCE {
        if !world
            .gateway
            .admin("/metrics")
            .await
            .body
            .contains("cambist_jwks_keys{issuer=\"idp\",realm=\"default\"")
        {
            return;
        }
        tokio::time::sleep(super::PAUSE).await;
    }
    panic!("the gauge is still there");
}

/// Whom we trust and where we may go is no reason to forget keys, and neither is the order of a list: what is
/// here serves until the new way has been tried, through any fault but those of the way itself.
#[tokio::test]
async fn a_change_of_the_way_out_is_no_outage() {
    let issuers = FETCHED.replace("fetch:", "algorithms: [RS256, ES256], fetch:");
    let world = World::cold(&issuers, Page::json).await;
    world.until_ready().await;
    let dir = world.gateway.dir.path();
    let running = &world.gateway.running.gateway;
    world
        .site
        .says(|_, _| Page::http("500 Internal Server Error", "", ""));
    let yaml = fs::read_to_string(dir.join("cambist.yaml")).unwrap();
    let sorted = yaml.replace("[RS256, ES256]", "[ES256, RS256]");
    fs::write(dir.join("cambist.yaml"), &sorted).unwrap();
    assert_eq!(reload(running, dir).name(), "applied");
    world.good("another order").await;
    assert_eq!(world.fetches(), 1);

    let elsewhere = format!("outbound: {{ allow_addresses: [169.254.1.0/24] }}\n{sorted}");
    fs::write(dir.join("cambist.yaml"), &elsewhere).unwrap();
    assert_eq!(reload(running, dir).name(), "applied");
    world.result("status", 1).await;
    world.good("another way out").await;
    let keys = world.idp.jwks();
    world.site.says(move |_, _| Page::json(&keys));
    world.pass(61);
    world.result("fetched", 2).await;
    world.good("fetched that way").await;
}

/// `enabled: false`: nothing is fetched, and its tokens are those of a stranger.
#[tokio::test]
async fn a9_a_disabled_issuer_is_refused_and_not_asked() {
    let issuers = FETCHED.replace("fetch:", "enabled: false, fetch:");
    let world = World::cold(&issuers, Page::json).await;
    let disabled = world
        .bad("disabled", &world.token(), 400, "issuer_disabled")
        .await;
    let text = &disabled.json()["error_description"];
    assert_eq!(text, "subject_token: the token's issuer is not known here");
    world.gateway.admin("/readyz?verbose").await;
    assert_eq!(world.fetches(), 0);
    // It is known the moment it is enabled: a reload is enough, for the very next request.
    let dir = world.gateway.dir.path();
    let yaml = fs::read_to_string(dir.join("cambist.yaml")).unwrap();
    let enabled = yaml.replace("enabled: false", "enabled: true");
    fs::write(dir.join("cambist.yaml"), enabled).unwrap();
    reload(&world.gateway.running.gateway, dir);
    world.good("enabled").await;
    fs::write(dir.join("cambist.yaml"), yaml).unwrap();
    reload(&world.gateway.running.gateway, dir);
    world
        .bad("disabled again", &world.token(), 400, "issuer_disabled")
        .await;
    // What was fetched is at hand when it comes back, and nothing was fetched meanwhile.
    let fetches = world.fetches();
    world.site.says(|_, _| Page::Hang);
    world.pass(3600);
    world.gateway.admin("/readyz").await;
    assert_eq!(world.fetches(), fetches);
    let yaml = fs::read_to_string(dir.join("cambist.yaml")).unwrap();
    let enabled = yaml.replace("enabled: false", "enabled: true");
    fs::write(dir.join("cambist.yaml"), enabled).unwrap();
    reload(&world.gateway.running.gateway, dir);
    world.good("enabled while nobody answers").await;
    for _ in 0..super::PATIENCE {
        let metrics = world.gateway.admin("/metrics").await.body;
        if metrics
            .contains("cambist_jwks_keys{issuer=\"idp\",realm=\"default\",state=\"usable\"} 1\n")
        {
            return;
        }
        tokio::time::sleep(super::PAUSE).await;
    }
    panic!("the gauge did not come back");
}
