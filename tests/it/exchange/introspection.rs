//! Opaque tokens (RFC 7662), and an endpoint that does everything wrong that an endpoint can.

use std::time::{Duration, Instant};

use cambist::oauth::form::TokenForm;
use serde_json::{Value, json};

use super::{OP_SECRET, World, active};
use crate::support::{Introspection, NOW, RULES, Reply, basic, with, without};

#[tokio::test]
async fn a_good_answer() {
    let world = World::start().await;
    let answer = world.gateway.trade("opaque").await;
    let issued = world.issued("good", &answer).await;
    assert_eq!(
        (&issued["sub"], &issued["scope"]),
        (&json!("op|bob"), &json!("api profile"))
    );
    let calls = world.op.calls();
    let (head, body) = calls[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /introspect HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("authorization: {}", basic("cambist", OP_SECRET))),
        "{head}"
    );
    assert!(head.contains("accept: application/json"), "{head}");
    let form = TokenForm::parse(body.as_bytes()).unwrap();
    assert_eq!(
        (form.value("token"), form.value("token_type_hint")),
        (Some("opaque"), Some("access_token"))
    );
    assert_eq!(world.gateway.last()["subject"]["token_id"], "opaque-1");
}

#[tokio::test]
async fn what_the_issuer_says_is_checked_like_a_token() {
    let world = World::start().await;
    for (what, changes, reason) in [
        ("not active", json!({ "active": false }), "token_inactive"),
        (
            "another issuer",
            json!({ "iss": "https://idp.example.com" }),
            "issuer_differs",
        ),
        (
            "an issuer that only looks the same",
            json!({ "iss": "https://op.example.com/" }),
            "issuer_differs",
        ),
        (
            "iss an array",
            json!({ "iss": ["https://op.example.com"] }),
            "claim_invalid",
        ),
        (
            "a7: a DPoP token",
            json!({ "token_type": "DPoP" }),
            "token_not_bearer",
        ),
        (
            "a token of no type we know",
            json!({ "token_type": "N_A" }),
            "token_not_bearer",
        ),
        ("a7: cnf", json!({ "cnf": { "jkt": "x" } }), "token_has_cnf"),
        (
            "a1: act",
            json!({ "act": { "sub": "x" } }),
            "no_rule_for_actor",
        ),
        ("a1: act of nobody", json!({ "act": {} }), "claim_invalid"),
        (
            "a1: may_act",
            json!({ "may_act": { "sub": "x" } }),
            "no_rule_for_actor",
        ),
        (
            "a1: may_act of a kind that is not understood",
            json!({ "may_act": { "sub": "x", "group": "y" } }),
            "claim_invalid",
        ),
        (
            "expired, whatever active says",
            json!({ "exp": NOW }),
            "token_expired",
        ),
        ("exp a string", json!({ "exp": "1" }), "claim_invalid"),
        (
            "nbf in the future",
            json!({ "nbf": NOW + 31 }),
            "token_not_yet_valid",
        ),
        ("sub empty", json!({ "sub": "" }), "claim_invalid"),
        ("sub a number", json!({ "sub": 1 }), "claim_invalid"),
        ("scope an object", json!({ "scope": {} }), "claim_invalid"),
        ("a logout token", json!({ "events": {} }), "token_is_event"),
    ] {
        world
            .op
            .says(move |_| Reply::Json(with(&active(), &changes)));
        let answer = world.gateway.trade("opaque").await;
        world.refused(what, &answer, "invalid_request", reason);
    }
    for name in ["sub", "exp"] {
        world
            .op
            .says(move |_| Reply::Json(without(&active(), name)));
        let answer = world.gateway.trade("opaque").await;
        world.refused(name, &answer, "invalid_request", "claim_invalid");
    }
    for (what, says) in [
        ("no iss", without(&active(), "iss")),
        ("no token_type", without(&active(), "token_type")),
        (
            "bearer in other capitals",
            with(&active(), &json!({ "token_type": "bEARER" })),
        ),
        (
            "aud, where any will do",
            with(&active(), &json!({ "aud": "whoever" })),
        ),
    ] {
        world.op.says(move |_| Reply::Json(says.clone()));
        world
            .issued(what, &world.gateway.trade("opaque").await)
            .await;
    }
}

/// F11, F15: whatever goes wrong there is our trouble, not the client's, and it may come back.
#[tokio::test]
async fn an_endpoint_that_fails_is_answered_503_and_nothing_of_it_is_told() {
    let world = World::start().await;
    let json = "application/json";
    let good = active().to_string();
    let raw = |text: String| Reply::Raw(text.into_bytes());
    let elsewhere = Introspection::start(|_| Reply::Json(active())).await;
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/introspect\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.address
    );
    let large = with(&active(), &json!({ "x": "x".repeat(12 * 1024 * 1024) })).to_string();
    let invalid = "issuer_answer_invalid";
    let unavailable = "issuer_unavailable";
    let cases: Vec<(&str, Reply, &str)> = vec![
        (
            "500",
            Reply::http("500 Internal Server Error", json, &good),
            invalid,
        ),
        (
            "401: our own secret is wrong",
            Reply::http("401 Unauthorized", json, &good),
            invalid,
        ),
        ("201", Reply::http("201 Created", json, &good), invalid),
        (
            "HTML",
            Reply::http("200 OK", "text/html", "<html>sign in</html>"),
            invalid,
        ),
        (
            "JSON that says it is HTML",
            Reply::http("200 OK", "text/html", &good),
            invalid,
        ),
        (
            "a signed answer (RFC 9701)",
            Reply::http(
                "200 OK",
                "application/token-introspection+jwt",
                "e30.e30.AA",
            ),
            invalid,
        ),
        (
            "no JSON",
            Reply::http("200 OK", json, "active=true"),
            invalid,
        ),
        ("nothing", Reply::http("200 OK", json, ""), invalid),
        ("an array", Reply::http("200 OK", json, "[]"), invalid),
        (
            "a member twice",
            Reply::http("200 OK", json, &good.replacen('{', "{\"active\":false,", 1)),
            invalid,
        ),
        (
            "bytes after it",
            Reply::http("200 OK", json, &format!("{good}x")),
            invalid,
        ),
        (
            "active missing",
            Reply::Json(without(&active(), "active")),
            invalid,
        ),
        (
            "active a string",
            Reply::Json(with(&active(), &json!({ "active": "true" }))),
            invalid,
        ),
        (
            "active a number",
            Reply::Json(with(&active(), &json!({ "active": 1 }))),
            invalid,
        ),
        (
            "active null",
            Reply::Json(with(&active(), &json!({ "active": null }))),
            invalid,
        ),
        ("a redirect", raw(redirect), invalid),
        ("12 MB", Reply::http("200 OK", json, &large), unavailable),
        (
            "truncated",
            raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {json}\r\nContent-Length: {}\r\n\r\n{good}",
                good.len() + 1
            )),
            unavailable,
        ),
        ("closed", raw(String::new()), unavailable),
        (
            "no HTTP",
            raw("220 smtp.example.com ESMTP\r\n".to_owned()),
            unavailable,
        ),
        (
            "two lengths",
            raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {json}\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}} "
            )),
            unavailable,
        ),
    ];
    for (what, reply, reason) in cases {
        let calls = world.op.calls().len();
        world.op.says(move |_| reply.clone());
        failed(&world, what, reason).await;
        assert_eq!(
            world.op.calls().len(),
            calls + 1,
            "{what}: asked once, never again"
        );
    }
    assert_eq!(
        elsewhere.calls(),
        [] as [String; 0],
        "the redirect was followed"
    );
    // And it recovers by itself.
    world.op.says(|_| Reply::Json(active()));
    world
        .issued("recovered", &world.gateway.trade("opaque").await)
        .await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_answered_503_within_the_timeout() {
    let world = World::start().await;
    world.op.says(|_| Reply::Hang);
    let started = Instant::now();
    failed(&world, "hang", "issuer_unavailable").await;
    let took = started.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    // Others are not held up by it.
    let token = world.idp.token(&crate::support::claims(json!({})));
    let hanging = world.gateway.trade("opaque");
    let (slow, quick) = tokio::join!(hanging, async {
        let answer = world.gateway.trade(&token).await;
        (answer, Instant::now())
    });
    assert_eq!((slow.status, quick.0.status), (503, 200));
    assert!(
        quick.1.elapsed() > Duration::from_millis(100),
        "the quick one waited for the slow one"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_answered_503() {
    let nowhere = Introspection::nowhere().await;
    let change = |yaml: String| {
        let (left, rest) = yaml.split_once("endpoint: \"http://").unwrap();
        let (_, right) = rest.split_once('/').unwrap();
        format!("{left}endpoint: \"http://{nowhere}/{right}")
    };
    let world = World::with(change, RULES).await;
    failed(&world, "refused", "issuer_unavailable").await;
}

async fn failed(world: &World, what: &str, reason: &str) {
    let answer = world.gateway.trade("opaque").await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("2")),
        "{what}: {answer:?}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-cache, no-store"));
    let mut body = answer.json();
    body["request_id"].take();
    assert_eq!(
        body,
        json!({
            "error": "temporarily_unavailable", "request_id": null,
            "error_description": "subject_token: the token could not be verified now",
        }),
        "{what}"
    );
    let record = world.gateway.last();
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("failed"), &json!(reason)),
        "{what}: {record:#}"
    );
    assert_eq!(record["client"]["id"], "rs08", "{what}");
}

#[tokio::test]
async fn without_exp_a_token_counts_as_valid_for_that_long() {
    let change = |yaml: String| yaml.replace("audience: any", "audience: any\n    without_exp: 7s");
    let world = World::with(change, RULES).await;
    world.op.says(|_| Reply::Json(without(&active(), "exp")));
    let answer = world.gateway.trade("opaque").await;
    assert_eq!(world.issued("without exp", &answer).await["exp"], NOW + 7);
    assert_eq!(answer.json()["expires_in"], 7);
    // It does not lengthen or shorten what has one.
    world
        .op
        .says(|_| Reply::Json(with(&active(), &json!({ "exp": NOW + 30 }))));
    assert_eq!(
        world
            .issued("with exp", &world.gateway.trade("opaque").await)
            .await["exp"],
        NOW + 30
    );
    world
        .op
        .says(|_| Reply::Json(with(&active(), &json!({ "exp": null }))));
    let answer = world.gateway.trade("opaque").await;
    world.refused(
        "null is not absent",
        &answer,
        "invalid_request",
        "claim_invalid",
    );
}

/// The audience rule holds for an answer, too; an answer without `aud` is addressed to nobody.
#[tokio::test]
async fn audience_rules_for_opaque_tokens() {
    let change = |yaml: String| yaml.replace("audience: any", "audience: client");
    let world = World::with(change, RULES).await;
    for (aud, good) in [
        (json!("rs08"), true),
        (json!(["x", "rs08"]), true),
        (json!("other"), false),
    ] {
        let says = with(&active(), &json!({ "aud": aud }));
        world.op.says(move |_| Reply::Json(says.clone()));
        let answer = world.gateway.trade("opaque").await;
        if good {
            world.issued(&aud.to_string(), &answer).await;
        } else {
            world.refused(
                &aud.to_string(),
                &answer,
                "invalid_request",
                "audience_wrong",
            );
        }
    }
    world.op.says(|_| Reply::Json(active()));
    let answer = world.gateway.trade("opaque").await;
    world.refused("no aud", &answer, "invalid_request", "audience_wrong");
}

/// A26, A10: nothing is remembered; what was revoked is refused at the very next request.
#[tokio::test]
async fn a10_every_exchange_asks_again() {
    let world = World::start().await;
    world
        .issued("active", &world.gateway.trade("opaque").await)
        .await;
    world
        .op
        .says(|_| Reply::Json(json!({ "active": false, "sub": "bob" })));
    let answer = world.gateway.trade("opaque").await;
    world.refused("revoked", &answer, "invalid_request", "token_inactive");
    assert_eq!(world.op.calls().len(), 2);
    assert_eq!(world.gateway.last()["subject"]["sub"], Value::Null);
}

/// A JWT of an issuer that is asked by introspection: the answer vouches for it, but what the token says
/// of itself still binds, also where the answer leaves it out (Keycloak #53029).
#[tokio::test]
async fn a18_a_jwt_keeps_its_constraints_where_only_introspection_vouches_for_it() {
    let world = World::with(
        |yaml| {
            yaml.replace(
                "token_types: [access_token]",
                "token_types: [access_token, jwt]",
            )
        },
        RULES,
    )
    .await;
    let op = crate::support::Idp::new("https://op.example.com", cambist::jose::Algorithm::ES256);
    let token = |changes: Value| {
        let base = crate::support::claims(json!({ "iss": "https://op.example.com", "sub": "bob" }));
        op.token(&with(&base, &changes))
    };
    let good = world.gateway.trade(&token(json!({}))).await;
    assert_eq!(good.status, 200, "{good:?}");
    for (changes, reason) in [
        (json!({ "act": { "sub": "x" } }), "delegation_lost"),
        (json!({ "may_act": { "sub": "x" } }), "delegation_lost"),
        (json!({ "act": [] }), "claim_invalid"),
        (json!({ "may_act": {} }), "claim_invalid"),
        (json!({ "cnf": { "jkt": "x" } }), "token_has_cnf"),
        (json!({ "events": {} }), "token_is_event"),
        (json!({ "typ": "ID" }), "token_of_other_kind"),
    ] {
        let answer = world.gateway.trade(&token(changes)).await;
        world.refused(reason, &answer, "invalid_request", reason);
    }
    // Said by both in the same way, it is there for the policy; in another way, it is nowhere.
    let said = json!({ "act": { "sub": "x" }, "may_act": { "sub": "y" } });
    for (answered, reason) in [
        (said.clone(), "no_rule_for_actor"),
        (
            with(&said, &json!({ "act": { "sub": "z" } })),
            "delegation_lost",
        ),
        (
            with(&said, &json!({ "may_act": { "sub": "z" } })),
            "delegation_lost",
        ),
    ] {
        let answered = with(&active(), &answered);
        world.op.says(move |_| Reply::Json(answered.clone()));
        let answer = world.gateway.trade(&token(said.clone())).await;
        world.refused(reason, &answer, "invalid_request", reason);
    }
    let logout = op.typed(
        "logout+jwt",
        &crate::support::claims(json!({ "iss": "https://op.example.com" })),
    );
    let answer = world.gateway.trade(&logout).await;
    world.refused("a logout token", &answer, "invalid_request", "typ_wrong");
}

/// What is a JWT but for a stray sign is nobody else's to look up.
#[tokio::test]
async fn rule_12_a_nearly_signed_token_is_shown_to_nobody() {
    let world = World::start().await;
    let token = world.partner.token(&crate::support::claims(
        json!({ "iss": "https://partner.example.com" }),
    ));
    for nearly in [
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        token.replacen('.', "=.", 1),
    ] {
        let answer = world.gateway.trade(&nearly).await;
        assert_eq!(answer.status, 400, "{nearly:?}");
    }
    assert_eq!(world.op.calls(), Vec::<String>::new());
}

/// Answers as real servers write them, and what a JWT's own claims add to them.
#[tokio::test]
async fn what_real_servers_say_is_understood() {
    let world = World::start().await;
    for changes in [
        json!({ "token_use": "access_token", "aud": [] }), // Ory Hydra
        json!({ "typ": "Bearer", "nonce": "n" }),          // Keycloak
        json!({ "token_type": "bearer", "nonce": "n", "amr": [] }),
    ] {
        let answer = with(&active(), &changes);
        world.op.says(move |_| Reply::Json(answer.clone()));
        let answer = world.gateway.trade("opaque").await;
        assert_eq!(answer.status, 200, "{changes}: {answer:?}");
    }
    let refresh = with(&active(), &json!({ "typ": "Refresh" }));
    world.op.says(move |_| Reply::Json(refresh.clone()));
    let answer = world.gateway.trade("opaque").await;
    world.refused(
        "a refresh token",
        &answer,
        "invalid_request",
        "token_of_other_kind",
    );

    // A JWT whose header says nothing, of an issuer that vouches for it; its own end still counts.
    world.op.says(|_| Reply::Json(active()));
    let op = crate::support::Idp::new("https://op.example.com", cambist::jose::Algorithm::ES256);
    let ends = |at: i64| {
        let claims = crate::support::claims(
            json!({ "iss": "https://op.example.com", "sub": "bob", "exp": at }),
        );
        op.typed("JWT", &claims)
    };
    let answer = world.gateway.trade(&ends(NOW + 30)).await;
    assert_eq!(
        (answer.status, &answer.json()["expires_in"]),
        (200, &json!(30))
    );
    let answer = world.gateway.trade(&ends(NOW)).await;
    world.refused(
        "expired by its own word",
        &answer,
        "invalid_request",
        "token_expired",
    );
    // The commonest slip is not shown to the issuer of opaque tokens.
    let before = world.op.calls().len();
    let answer = world.gateway.trade("Bearer abc").await;
    world.refused(
        "with its scheme",
        &answer,
        "invalid_request",
        "token_malformed",
    );
    assert_eq!(world.op.calls().len(), before);
}
