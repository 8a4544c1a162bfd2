//! No secret comes out where it does not belong, whatever goes in.

use cambist::oauth::request::TokenRequest;
use cambist::oauth::response::ExchangeResponse;
use cambist::oauth::secret::{RawToken, Secret};
use serde_json::json;

use super::{OP_SECRET, World};
use crate::support::{
    ACCESS_TOKEN, Answer, EXCHANGE, JWT, NOW, RULES, Reply, SECRET, basic, claims,
};

const POST_SECRET: &str = "secret-in-the-body-of-a-request";
const WRONG_SECRET: &str = "wrong-secret-that-is-a-secret-all-the-same";
const OPAQUE: &str = "opaque-token-nobody-may-see";

#[tokio::test]
async fn no_token_and_no_secret_in_records_metrics_status_errors_or_debug() {
    let change = |yaml: String| {
        yaml.replace(
            "resources:",
            "  poster: { auth: { client_secret_post: { secret_file: op.secret } } }\nresources:",
        )
    };
    let world = World::with(change, RULES).await;
    let gateway = &world.gateway;
    let mut secrets: Vec<(String, String)> = [
        ("rs08's secret", SECRET),
        ("a secret in a body", POST_SECRET),
        ("a wrong secret", WRONG_SECRET),
        ("the introspection secret", OP_SECRET),
        ("an opaque token", OPAQUE),
    ]
    .map(|(what, secret)| (what.to_owned(), secret.to_owned()))
    .into();
    let good = world.idp.token(&claims(json!({})));
    let subjects = [
        ("good", good.clone()),
        (
            "expired",
            world.idp.token(&claims(json!({ "exp": NOW - 1 }))),
        ),
        (
            "unknown issuer",
            world
                .idp
                .token(&claims(json!({ "iss": "https://nobody.example.com" }))),
        ),
        (
            "delegated",
            world.idp.token(&claims(json!({ "act": { "sub": "x" } }))),
        ),
        ("logout", world.idp.typed("logout+jwt", &claims(json!({})))),
        (
            "partner",
            world
                .partner
                .token(&claims(json!({ "aud": "https://as.example.com" }))),
        ),
        (
            "signature",
            good.rsplit_once('.').unwrap().0.to_owned() + ".AAAA",
        ),
        (
            "unsigned",
            good.rsplit_once('.').unwrap().0.to_owned() + ".",
        ),
        ("encrypted", format!("{good}.AAAA.AAAA")),
        ("not quite a JWT", format!("{good}=")),
        ("opaque", OPAQUE.to_owned()),
    ];
    for (what, token) in &subjects {
        secrets.push((format!("subject token: {what}"), token.clone()));
        // Its signature alone, too, where it has one.
        if let Some(signature) = token.rsplit('.').next().filter(|part| part.len() > 20) {
            secrets.push((format!("signature: {what}"), signature.to_owned()));
        }
    }
    let good_basic = basic("rs08", SECRET);
    let wrong_basic = basic("rs08", WRONG_SECRET);
    for value in [&good_basic, &wrong_basic] {
        secrets.push((
            "an Authorization value".to_owned(),
            value["Basic ".len()..].to_owned(),
        ));
    }

    let mut errors: Vec<Answer> = Vec::new();
    let mut issued = Vec::new();
    for (_, token) in &subjects {
        for token_type in [ACCESS_TOKEN, JWT, "urn:example:other"] {
            for resource in [
                "https://backend.example.com/api",
                "https://elsewhere.example.com",
                "relative",
            ] {
                for scope in ["api", "admin", "a\"b"] {
                    let answer = gateway
                        .exchange(&[
                            ("subject_token", token),
                            ("subject_token_type", token_type),
                            ("resource", resource),
                            ("scope", scope),
                        ])
                        .await;
                    match answer.status {
                        200 => issued.push(answer.token()),
                        _ => errors.push(answer),
                    }
                }
            }
        }
    }
    let form = |extra: &[(&'static str, &'static str)]| {
        let mut all = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", good.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", "https://backend.example.com"),
        ];
        all.extend(extra);
        all
    };
    for (authorization, extra) in [
        (Some(wrong_basic.as_str()), vec![]),
        (
            None,
            vec![("client_id", "poster"), ("client_secret", POST_SECRET)],
        ),
        (
            None,
            vec![("client_id", "poster"), ("client_secret", OP_SECRET)],
        ), // known, but no rule names it
        (
            Some(good_basic.as_str()),
            vec![("client_id", "rs08"), ("client_secret", POST_SECRET)],
        ),
        (
            Some(good_basic.as_str()),
            vec![("actor_token", OPAQUE), ("actor_token_type", ACCESS_TOKEN)],
        ),
        (
            Some(good_basic.as_str()),
            vec![("client_assertion", OPAQUE)],
        ),
        (Some(good_basic.as_str()), vec![("subject_token", OPAQUE)]),
        (Some("Bearer opaque-token-nobody-may-see"), vec![]),
    ] {
        errors.push(gateway.post(authorization, &form(&extra)).await);
    }
    world.op.says(|token| {
        Reply::http(
            "500 Internal Server Error",
            "text/html",
            &format!("<p>{token}</p>"),
        )
    });
    errors.push(gateway.trade(OPAQUE).await);
    world
        .op
        .says(|token| Reply::Json(json!({ "active": true, "iss": token, "token_type": token })));
    errors.push(gateway.trade(OPAQUE).await);

    // The run was one of all kinds.
    assert!(
        issued.len() > 3 && errors.len() > 200,
        "{} {}",
        issued.len(),
        errors.len()
    );
    assert!(errors.iter().all(|answer| answer.status >= 400));
    secrets.extend(
        issued
            .iter()
            .map(|token| ("an issued token".to_owned(), token.clone())),
    );

    let records: Vec<String> = gateway.records().iter().map(ToString::to_string).collect();
    assert_eq!(records.len(), errors.len() + issued.len());
    let live = gateway.running.gateway.live.load();
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let request = TokenRequest {
        peer,
        form: cambist::oauth::form::TokenForm::parse(
            format!("subject_token={good}&client_secret={POST_SECRET}").as_bytes(),
        )
        .unwrap(),
        authorization: vec![Secret::new(good_basic.clone())],
        unsupported_headers: vec![],
    };
    let exchange = cambist::oauth::request::ExchangeRequest::try_from(&TokenRequest {
        form: cambist::oauth::form::TokenForm::parse(
            format!("subject_token={good}&subject_token_type={ACCESS_TOKEN}").as_bytes(),
        )
        .unwrap(),
        peer,
        authorization: vec![],
        unsupported_headers: vec![],
    })
    .unwrap();
    let places: Vec<(&str, String)> = vec![
        ("records", records.join("\n")),
        ("/metrics", gateway.admin("/metrics").await.body),
        ("/status", gateway.admin("/status").await.body),
        ("/readyz", gateway.admin("/readyz?verbose").await.body),
        (
            "metadata",
            gateway
                .get("/.well-known/oauth-authorization-server")
                .await
                .body,
        ),
        ("errors", format!("{errors:?}")),
        (
            "Debug of the gateway",
            format!("{:?}", gateway.running.gateway),
        ),
        ("Debug of the snapshot", format!("{live:?}")),
        ("Debug of the running", format!("{:#?}", gateway.running)),
        ("Debug of a request", format!("{request:?} {exchange:?}")),
        (
            "Debug of a token and a secret",
            format!(
                "{:?} {:?}",
                RawToken::new(good.clone()),
                Secret::new(SECRET.to_owned())
            ),
        ),
        ("Debug of a response", format!("{:?}", response(&issued[0]))),
    ];
    for (place, text) in &places {
        assert!(text.len() > 10, "{place} is empty");
        for (what, secret) in &secrets {
            assert!(!text.contains(secret.as_str()), "{what} stands in {place}");
        }
    }
    // The search itself finds something that is there.
    assert!(places[0].1.contains("main.local") && places[6].1.contains("main.policy"));
}

fn response(token: &str) -> ExchangeResponse {
    use cambist::oauth::response::{Fact, Facts, IssuedToken};
    let issued = IssuedToken {
        token: RawToken::new(token.to_owned()),
        issued_token_type: cambist::oauth::token_type::TokenType::AccessToken,
        token_type: "Bearer",
        token_id: None,
        facts: Facts {
            audience: Fact::Unknown,
            scope: Fact::Unknown,
            expires_at: Fact::Unknown,
            subject: Fact::Unknown,
            act: Fact::Unknown,
            may_act: Fact::Unknown,
            confirmation: Fact::Unknown,
        },
    };
    ExchangeResponse::new(&issued, &"api".parse().unwrap(), 60)
}

/// RFC 6749 §5.2: `error_description` has no character that it may not have, whatever was sent.
#[tokio::test]
async fn rule_29_descriptions_hold_nothing_of_the_request() {
    let world = World::start().await;
    for value in ["\"", "\\", "\u{7f}", "é", "<script>", "a\r\nSet-Cookie: x"] {
        for name in [
            "scope",
            "audience",
            "resource",
            "requested_token_type",
            "subject_token",
            "subject_token_type",
        ] {
            let mut parameters = vec![
                ("subject_token", "opaque"),
                ("subject_token_type", ACCESS_TOKEN),
                ("audience", "x"),
            ];
            parameters.retain(|(other, _)| *other != name);
            parameters.push((name, value));
            let answer = world.gateway.exchange(&parameters).await;
            let json = answer.json();
            let text = json["error_description"].as_str().unwrap();
            assert!(cambist::oauth::error::is_description(text), "{text}");
            assert!(
                !text.contains("script") && !answer.line.contains("Cookie"),
                "{answer:?}"
            );
            assert!(answer.header("set-cookie").is_none());
        }
    }
}
