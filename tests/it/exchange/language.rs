//! What the policy language says, seen in tokens and records.

use serde_json::json;

use super::World;
use crate::support::{ACCESS_TOKEN, NOW, basic, call, claims, form, head};

const POLICY: &str = r#"policy 1 module main

## Tokens with claims of their own.
rule claims {
  from idp
  by   client "rs08"
  to   audience "claims"
  use  mint { claims: { tenant: "acme", origin: conn.ip, methods: subject.amr, deep: { who: "u|${subject.sub}" }, none: subject.acr } }
}
rule past {
  from idp
  by   client "rs08"
  to   audience "past"
  use  mint { scope: requested & ["api", "extra"] beyond subject }
}
rule office {
  from idp
  by   client "rs08"
  to   audience "office"
  when conn.ip in ["203.0.113.0/24"]
  use  mint
}
rule fresh {
  from idp
  by   client "rs08"
  to   audience "fresh"
  when subject.auth_age <= 5m
  use  mint
}
"#;

const PROXIED: &str = "listen: 127.0.0.1:0, trusted_proxies: [127.0.0.1]";

async fn world() -> World {
    World::with(
        |yaml| yaml.replacen("listen: 127.0.0.1:0", PROXIED, 1),
        POLICY,
    )
    .await
}

fn asks<'a>(token: &'a str, audience: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", audience),
    ]
}

#[tokio::test]
async fn claims_of_a_rule_stand_in_the_token_and_nothing_of_the_decision_gives_way() {
    let world = world().await;
    let token = world.idp.token(&claims(json!({ "amr": ["pwd", "otp"] })));
    let answer = world.gateway.exchange(&asks(&token, "claims")).await;
    let issued = world.gateway.open(&answer.token()).await;
    assert_eq!(issued["tenant"], "acme");
    assert_eq!(issued["origin"], "127.0.0.1");
    assert_eq!(issued["methods"], json!(["otp", "pwd"]));
    assert_eq!(issued["deep"], json!({ "who": "u|alice" }));
    assert!(issued.get("none").is_none());
    assert_eq!(issued["aud"], "claims");
    assert_eq!(issued["sub"], "alice");
    let record = world.gateway.last();
    assert_eq!(record["rule"]["doc"], "Tokens with claims of their own.");
    assert!(record["granted"].get("beyond_subject").is_none());
}

#[tokio::test]
async fn what_goes_beyond_the_subject_is_in_the_record() {
    let world = world().await;
    let token = world.idp.token(&claims(json!({ "scope": "api" })));
    let mut parameters = asks(&token, "past");
    parameters.push(("scope", "extra other"));
    let answer = world.gateway.exchange(&parameters).await;
    assert_eq!(answer.json()["scope"], "extra");
    let record = world.gateway.last();
    assert_eq!(record["granted"]["beyond_subject"], true);
    assert_eq!(record["granted"]["scope"], "extra");
}

#[tokio::test]
async fn the_origin_is_what_a_trusted_proxy_says_and_what_it_cannot_read_is_refused() {
    let world = world().await;
    let token = world.idp.token(&claims(json!({})));
    let mut parameters = asks(&token, "office");
    parameters.push((
        "grant_type",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ));
    let body = form(&parameters);
    let authorization = basic("rs08", crate::support::SECRET);
    // (X-Forwarded-For, status, what the record says of the origin)
    for (forwarded, status, origin) in [
        (None, 400, json!("127.0.0.1")),
        (Some("203.0.113.9"), 200, json!("203.0.113.9")),
        (
            Some("203.0.113.9, 198.51.100.7"),
            400,
            json!("198.51.100.7"),
        ),
        (Some("evil, 203.0.113.9"), 200, json!("203.0.113.9")),
        (Some("somewhere"), 400, json!(null)),
    ] {
        let head = head(Some(&authorization), body.len());
        let head = match forwarded {
            Some(value) => head.replacen("\r\n", &format!("\r\nX-Forwarded-For: {value}\r\n"), 1),
            None => head,
        };
        let request = format!("{head}{body}");
        let answer = call(world.gateway.running.address, request.as_bytes()).await;
        assert_eq!(answer.status, status, "{forwarded:?} {}", answer.body);
        let record = world.gateway.last();
        assert_eq!(record["context"]["conn.ip"], origin, "{forwarded:?}");
    }
}

#[tokio::test]
async fn the_age_of_a_login_counts_from_its_auth_time() {
    let world = world().await;
    for (auth_time, status) in [(Some(NOW - 300), 200), (Some(NOW - 301), 400), (None, 400)] {
        let mut said = claims(json!({}));
        if let Some(at) = auth_time {
            said["auth_time"] = at.into();
        }
        let token = world.idp.token(&said);
        let answer = world.gateway.exchange(&asks(&token, "fresh")).await;
        assert_eq!(answer.status, status, "{auth_time:?} {}", answer.body);
    }
}
