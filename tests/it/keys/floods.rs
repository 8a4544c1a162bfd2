//! F12, F13: forged `kid`s within a budget, one fetch for all who wait, rotation that lands at once.

use std::time::Duration;

use cambist::jose::Algorithm;
use serde_json::json;

use super::{FETCHED, World, set};
use crate::support::{Idp, Page, claims, with};

/// As many as may be caused at once.
const BURST: usize = 2;

#[tokio::test]
async fn f12_forged_kids_one_after_the_other_cause_a_budgeted_number_of_fetches() {
    let world = World::start().await;
    // Who was looked for is told; who was not is told to come back.
    let flood = async |name: &str, count: usize, looks: usize| {
        for number in 0..count {
            let token = world.forged(&format!("{name}-{number}"));
            let (status, reason) = match number < looks {
                true => (400, "kid_unknown"),
                false => (503, "keys_unavailable"),
            };
            let answer = world.bad(name, &token, status, reason).await;
            assert_eq!(answer.header("retry-after").is_some(), status == 503);
        }
    };
    flood("forged", 100, BURST).await;
    assert_eq!(world.fetches(), 1 + BURST);
    // One more for each interval that passes.
    for round in 1..=3 {
        world.pass(6);
        flood("later", 20, 1).await;
        assert_eq!(world.fetches(), 1 + BURST + round);
    }
    world.good("in the flood").await;
}

#[tokio::test]
async fn f12_forged_kids_all_at_once_cause_a_budgeted_number_of_fetches() {
    let world = World::start().await;
    let tokens: Vec<String> = (0..200)
        .map(|n| world.forged(&format!("forged-{n}")))
        .collect();
    let all = tokens.iter().map(|token| world.gateway.trade(token));
    for answer in futures_util::future::join_all(all).await {
        assert!(matches!(answer.status, 400 | 503), "{answer:?}");
    }
    assert!(world.fetches() <= 1 + BURST, "{}", world.fetches());
    world.good("after the flood").await;
}

/// F13: the new key is accepted with its first token, the old one until it is withdrawn.
#[tokio::test]
async fn f13_a_rotation_lands_at_once_and_so_does_a_withdrawal() {
    let world = World::start().await;
    let old = world.idp.key.public_jwk();
    let next = Idp::new("https://idp.example.com", Algorithm::ES256);
    let token = |idp: &Idp| idp.token(&claims(json!({ "exp": super::NOW + 10_000_000 })));
    let both = set(&[old, next.key.public_jwk()]);
    world.site.says(move |_, _| Page::json(&both));
    let answer = world.gateway.trade(&token(&next)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.good("the old key").await;
    assert_eq!(world.fetches(), 2);
    // A set with fewer keys is a good set.
    let only = next.jwks();
    world.site.says(move |_, _| Page::json(&only));
    world.pass(601);
    world.result("fetched", 3).await;
    world
        .bad("withdrawn", &world.token(), 400, "kid_unknown")
        .await;
    assert_eq!(world.gateway.trade(&token(&next)).await.status, 200);
}

/// F13 in a flood: the budget is gone, and nobody says of the new key that it is unknown until its owner was
/// asked for it. The next fetch that there is brings it, whoever caused that.
#[tokio::test]
async fn f13_a_rotation_lands_in_a_flood_within_one_interval() {
    let world = World::start().await;
    for number in 0..20 {
        world
            .gateway
            .trade(&world.forged(&format!("forged-{number}")))
            .await;
    }
    let next = Idp::new("https://idp.example.com", Algorithm::ES256);
    let both = set(&[world.idp.key.public_jwk(), next.key.public_jwk()]);
    world.site.says(move |_, _| Page::json(&both));
    let token = next.token(&claims(json!({})));
    for _ in 0..3 {
        world.bad("too soon", &token, 503, "keys_unavailable").await;
    }
    world.pass(6);
    // The flood goes on, and comes first.
    world.gateway.trade(&world.forged("once-more")).await;
    assert_eq!(world.gateway.trade(&token).await.status, 200);
}

/// What no fetch can cure is refused at once, and leaves the budget to what one can: a key that is there and
/// of no use, an algorithm that is not the issuer's, a token that says nothing of which key it is.
#[tokio::test]
async fn what_no_fetch_cures_causes_none() {
    let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
    let other = Idp::new("https://idp.example.com", Algorithm::ES256);
    let foreign = Idp::new("https://idp.example.com", Algorithm::EdDSA);
    let useless = json!({ "kty": "RSA", "kid": "useless", "n": "AQAB", "e": "AQAB" });
    let keys = set(&[idp.key.public_jwk(), other.key.public_jwk(), useless]);
    let issuers = FETCHED.replace("fetch:", "algorithms: [ES256], fetch:");
    let world = World::cold(&issuers, move |_| Page::json(&keys)).await;
    world.until_ready().await;
    let payload = idp.payload(&claims(json!({})));
    let nameless = json!({ "alg": "ES256", "typ": "at+jwt" }).to_string();
    for (what, token, reason) in [
        (
            "skipped",
            idp.raw(&idp.header(&json!({ "kid": "useless" })), &payload),
            "kid_unknown",
        ),
        (
            "not its algorithm",
            foreign.token(&claims(json!({}))),
            "kid_unknown",
        ),
        ("no kid", idp.raw(&nameless, &payload), "kid_missing"),
    ] {
        for _ in 0..2 * BURST {
            world.bad(what, &token, 400, reason).await;
        }
    }
    assert_eq!(world.fetches(), 1);
    world
        .bad("unknown", &world.forged("x"), 400, "kid_unknown")
        .await;
    assert_eq!(world.fetches(), 2);
}

/// A look for a key that nobody has heard of is answered by its owner, not by what is here or on the way.
#[tokio::test]
async fn a_look_for_an_unknown_kid_is_unconditional() {
    let world = World::cold(FETCHED, |keys| {
        let headers = "Content-Type: application/json\r\nETag: \"v1\"\r\n";
        Page::http("200 OK", headers, keys)
    })
    .await;
    world.until_ready().await;
    let both = |next: &Idp| set(&[world.idp.key.public_jwk(), next.key.public_jwk()]);
    let next = Idp::new("https://idp.example.com", Algorithm::ES256);
    let new = both(&next);
    // A careless server: new keys under the old tag, and a cache before them.
    world.site.says(move |_, head| {
        match head.contains("cache-control: no-cache\r\n") && !head.contains("if-none-match") {
            true => Page::json(&new),
            false => Page::http("304 Not Modified", "", ""),
        }
    });
    let token = next.token(&claims(json!({})));
    assert_eq!(world.gateway.trade(&token).await.status, 200);
}

/// Many who wait share one fetch; that the first of them goes away changes nothing for the others.
#[tokio::test]
async fn one_fetch_for_all_who_wait_and_none_can_spoil_it() {
    let world = World::cold(FETCHED, |good| {
        let Page::Raw(bytes) = Page::json(good) else {
            unreachable!()
        };
        Page::Slow(Duration::from_millis(400), bytes)
    })
    .await;
    let token = world.token();
    let gone = world.gateway.trade(&token);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), gone)
            .await
            .is_err()
    );
    let all = (0..30).map(|_| world.gateway.trade(&token));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(world.fetches(), 1);
}

/// Two issuers may use one `kid`; neither's key ever checks the other's tokens.
#[tokio::test]
async fn rule_4_two_issuers_that_share_a_kid_never_share_a_key() {
    let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
    let other = Idp::new("https://other.example.com", Algorithm::ES256);
    let named = |idp: &Idp| with(&idp.key.public_jwk(), &json!({ "kid": "same" }));
    let (one, two) = (set(&[named(&idp)]), set(&[named(&other)]));
    let issuers = format!(
        "{}{}",
        FETCHED.replace("fetch:", "subjects: local, fetch:"),
        FETCHED
            .replace("idp", "other")
            .replace("/jwks", "/other")
            .replace("fetch:", "subjects: foreign, fetch:")
    );
    let world = World::cold(&issuers, |_| Page::Hang).await;
    world
        .site
        .says(move |path, _| Page::json(if path == "/jwks" { &one } else { &two }));
    world.pass(61);
    let token = |key: &Idp, iss: &str| {
        let payload = key.payload(&claims(json!({ "iss": iss })));
        key.raw(&key.header(&json!({ "kid": "same" })), &payload)
    };
    let good = token(&idp, "https://idp.example.com");
    super::eventually("both sets", || !world.site.calls("/other").is_empty()).await;
    world.result("fetched", 1).await;
    assert_eq!(world.gateway.trade(&good).await.status, 200);
    for crossed in [
        token(&other, "https://idp.example.com"),
        token(&idp, "https://other.example.com"),
    ] {
        world
            .bad("crossed", &crossed, 400, "signature_invalid")
            .await;
    }
    // The policy has no rule for the other issuer; its own token gets that far.
    world
        .bad(
            "its own",
            &token(&other, "https://other.example.com"),
            400,
            "no_rule_for_issuer",
        )
        .await;
}

/// A29: a token chooses no URL, and an issuer that is not configured causes no fetch.
#[tokio::test]
async fn a29_a_token_never_chooses_what_is_fetched() {
    let world = World::start().await;
    let before = world.fetches();
    let theirs = format!("http://{}/theirs", world.site.address);
    let claims = world.idp.payload(&claims(json!({})));
    for header in [
        json!({ "jku": theirs }),
        json!({ "x5u": theirs }),
        json!({ "jku": theirs, "x5u": theirs, "jwk": world.idp.key.public_jwk() }),
    ] {
        let token = world.idp.raw(&world.idp.header(&header), &claims);
        let answer = world.gateway.trade(&token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let stranger = format!("http://{}", world.site.address);
    let stranger = world.idp.raw(
        &world.idp.header(&json!({ "kid": "x" })),
        &json!({ "iss": stranger, "sub": "a" }).to_string(),
    );
    world
        .bad("a stranger", &stranger, 400, "issuer_unknown")
        .await;
    assert_eq!(world.fetches(), before);
    assert_eq!(world.site.calls("/theirs"), [] as [String; 0]);
}
