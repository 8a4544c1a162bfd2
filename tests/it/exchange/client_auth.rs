//! Who asks (RFC 6749 §2.3): what the wire goldens cannot show.

use cambist::client::SaltedHash;
use cambist::oauth::secret::Secret;
use serde_json::json;

use super::World;
/// A secret that no client has.
pub const SECRET_OF_NOBODY: &str = "secret-that-no-client-has";

use crate::support::{ACCESS_TOKEN, Answer, EXCHANGE, RULES, SECRET, basic, claims};

#[tokio::test]
async fn a28_a_wrong_secret_and_an_unknown_client_get_the_same_bytes() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    let plain = |answer: Answer| {
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(id.len(), 24);
        let text = format!("{answer:?}").replace(&id, "ID");
        let (left, rest) = text.split_once("(\"date\", \"").unwrap();
        format!("{left}{}", rest.split_once('"').unwrap().1)
    };
    let mut answers = Vec::new();
    // Only the record tells them apart; what is no registered id may be a secret in the wrong place.
    let known = json!({ "id": "rs08", "authenticated": false });
    for (id, secret, recorded) in [
        ("rs08", "wrong", known),
        ("nobody", "wrong", json!(null)),
        ("nobody", SECRET, json!(null)),
        ("RS08", SECRET, json!(null)),
        ("rs08 ", SECRET, json!(null)),
        (SECRET, "rs08", json!(null)),
    ] {
        answers.push(plain(ask(&world, &basic(id, secret), &token).await));
        let record = world.gateway.last();
        assert_eq!(record["reason"], "client_auth_failed", "{id}");
        assert_eq!(record["client"], recorded, "{id}");
    }
    assert!(answers[0].contains("401 Unauthorized") && answers[0].contains("www-authenticate"));
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    world
        .issued(
            "the right one",
            &ask(&world, &basic("rs08", SECRET), &token).await,
        )
        .await;
}

#[tokio::test]
async fn two_secrets_during_a_rotation() {
    let hash = |secret: &str| {
        SaltedHash::new(&Secret::new(secret.to_owned()))
            .unwrap()
            .to_string()
    };
    let two = format!(
        "client_secret_basic: [ {{ secret_sha256: \"{}\" }}, {{ secret_sha256: \"{}\" }} ]",
        hash("the-old-secret"),
        hash("the-new-secret")
    );
    let world = World::with(|yaml| replace_auth(&yaml, &two), RULES).await;
    let token = world.idp.token(&claims(json!({})));
    for secret in ["the-old-secret", "the-new-secret"] {
        world
            .issued(secret, &ask(&world, &basic("rs08", secret), &token).await)
            .await;
    }
    for secret in [SECRET, "the-old-secretthe-new-secret", "the-old", ""] {
        let answer = ask(&world, &basic("rs08", secret), &token).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (401, "invalid_client"),
            "{secret}"
        );
    }
}

#[tokio::test]
async fn a_client_may_have_a_method_each_with_its_own_secret() {
    let hash = |secret: &str| {
        SaltedHash::new(&Secret::new(secret.to_owned()))
            .unwrap()
            .to_string()
    };
    let both = format!(
        "client_secret_basic: {{ secret_sha256: \"{}\" }}, client_secret_post: {{ secret_sha256: \"{}\" }}",
        hash("secret-for-basic"),
        hash("secret-for-post")
    );
    let world = World::with(|yaml| replace_auth(&yaml, &both), RULES).await;
    let token = world.idp.token(&claims(json!({})));
    let post = |secret: &'static str| {
        let (gateway, token) = (&world.gateway, &token);
        async move {
            gateway
                .post(
                    None,
                    &[
                        ("grant_type", EXCHANGE),
                        ("subject_token", token),
                        ("subject_token_type", ACCESS_TOKEN),
                        ("resource", "https://backend.example.com"),
                        ("client_id", "rs08"),
                        ("client_secret", secret),
                    ],
                )
                .await
        }
    };
    world
        .issued(
            "basic",
            &ask(&world, &basic("rs08", "secret-for-basic"), &token).await,
        )
        .await;
    assert_eq!(
        world.gateway.last()["client"],
        json!({ "id": "rs08", "auth": "client_secret_basic" })
    );
    world.issued("post", &post("secret-for-post").await).await;
    assert_eq!(
        world.gateway.last()["client"],
        json!({ "id": "rs08", "auth": "client_secret_post" })
    );
    assert_eq!(post("secret-for-basic").await.error(), "invalid_client");
    assert_eq!(
        ask(&world, &basic("rs08", "secret-for-post"), &token)
            .await
            .error(),
        "invalid_client"
    );
    let metadata = world
        .gateway
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(
        metadata["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "client_secret_post"])
    );
}

/// A20: everything after authentication is about the client that authenticated.
#[tokio::test]
async fn a20_a22_rule_22_client_id_of_another_client_decides_nothing() {
    let other =
        "  other: { auth: { client_secret_basic: { secret_file: other.secret } } }\nresources:";
    let world = World::with(
        |yaml| {
            yaml.replace("resources:", other)
                .replace("other.secret", "op.secret")
        },
        RULES,
    )
    .await;
    let token = world
        .idp
        .token(&claims(json!({ "aud": ["rs08", "other"] })));
    // `other` has no rule. That it names `rs08` does not give it one.
    let secret = basic("other", super::OP_SECRET);
    let answer = ask(&world, &secret, &token).await;
    world.refused(
        "no rule",
        &answer,
        "unauthorized_client",
        "no_rule_for_client",
    );
    let answer = world
        .gateway
        .post(
            Some(&secret),
            &[
                ("grant_type", EXCHANGE),
                ("subject_token", &token),
                ("subject_token_type", ACCESS_TOKEN),
                ("resource", "https://backend.example.com"),
                ("client_id", "rs08"),
            ],
        )
        .await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (401, "invalid_client")
    );
    assert_eq!(world.gateway.last()["reason"], "client_id_disagrees");
    // Nor is a token for `rs08` good in the hands of `other`: its issuer wants it addressed to who brings it.
    let token = world.idp.token(&claims(json!({})));
    let answer = ask(&world, &secret, &token).await;
    world.refused(
        "a22: not theirs",
        &answer,
        "invalid_request",
        "audience_wrong",
    );
    assert_eq!(world.op.calls(), [] as [String; 0]);
}

/// The token is looked at only for a client that is known: an unknown one makes us ask nobody.
#[tokio::test]
async fn an_unknown_client_cannot_make_us_ask_anybody() {
    let world = World::start().await;
    let answer = ask(&world, &basic("rs08", "wrong"), "opaque").await;
    assert_eq!(answer.error(), "invalid_client");
    assert_eq!(world.op.calls(), [] as [String; 0]);
}

/// `none`: whoever says the id is the client, and whoever says more is not.
#[tokio::test]
async fn a28_a_public_client_sends_its_id_and_nothing_else() {
    let other =
        "  other: { auth: { client_secret_basic: { secret_file: op.secret } } }\nresources:";
    let world = World::with(
        |yaml| replace_auth(&yaml, "none: {}").replace("resources:", other),
        RULES,
    )
    .await;
    let token = world.idp.token(&claims(json!({})));
    let say = |more: Vec<(&'static str, &'static str)>, header: Option<String>| {
        let mut all = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", "https://backend.example.com"),
        ];
        all.extend(more);
        let gateway = &world.gateway;
        async move { gateway.post(header.as_deref(), &all).await }
    };
    world
        .issued("alone", &say(vec![("client_id", "rs08")], None).await)
        .await;
    assert_eq!(
        world.gateway.last()["client"],
        json!({ "id": "rs08", "auth": "none" })
    );
    let secret = ("client_secret", SECRET_OF_NOBODY);
    for (what, more, header, error, reason) in [
        (
            "a secret",
            vec![("client_id", "rs08"), secret],
            None,
            "invalid_client",
            "client_auth_failed",
        ),
        (
            "basic",
            vec![],
            Some(basic("rs08", SECRET)),
            "invalid_client",
            "client_auth_failed",
        ),
        (
            "basic and id",
            vec![("client_id", "rs08")],
            Some(basic("rs08", SECRET)),
            "invalid_client",
            "client_auth_failed",
        ),
        (
            "bearer",
            vec![("client_id", "rs08")],
            Some("Bearer x".to_owned()),
            "invalid_client",
            "client_auth_malformed",
        ),
        (
            "an assertion",
            vec![("client_id", "rs08"), ("client_assertion", "x")],
            None,
            "invalid_client",
            "assertion_type",
        ),
        (
            "nobody",
            vec![("client_id", "nobody")],
            None,
            "invalid_client",
            "client_auth_missing",
        ),
        (
            "one that has a secret",
            vec![("client_id", "other")],
            None,
            "invalid_client",
            "client_auth_missing",
        ),
        (
            "nothing",
            vec![],
            None,
            "invalid_client",
            "client_auth_missing",
        ),
    ] {
        let answer = say(more, header).await;
        world.refused(what, &answer, error, reason);
    }
    let metadata = world
        .gateway
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(
        metadata["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "none"])
    );
}

#[tokio::test]
async fn policies_see_a_public_client() {
    let rules = RULES.replace(
        "  use  mint { scope: requested & subject.scope }",
        "  when client.auth != \"none\"\n  use  mint { scope: requested & subject.scope }",
    );
    let world = World::with(|yaml| replace_auth(&yaml, "none: {}"), &rules).await;
    let token = world.idp.token(&claims(json!({})));
    let answer = world
        .gateway
        .post(
            None,
            &[
                ("grant_type", EXCHANGE),
                ("subject_token", &token),
                ("subject_token_type", ACCESS_TOKEN),
                ("resource", "https://backend.example.com"),
                ("client_id", "rs08"),
            ],
        )
        .await;
    assert_ne!(answer.status, 200, "{answer:?}");
    assert_eq!(world.gateway.last()["client"]["auth"], "none");
}

/// A9: what is disabled is as good as not there, except that the record says so.
#[tokio::test]
async fn a9_a_disabled_client_gets_what_a_wrong_secret_gets() {
    let other = "    enabled: false\n  other: { auth: { client_secret_post: { secret_file: op.secret } } }\nresources:";
    let world = World::with(|yaml| yaml.replace("resources:", other), RULES).await;
    let token = world.idp.token(&claims(json!({})));
    let right = ask(&world, &basic("rs08", SECRET), &token).await;
    world.refused("right", &right, "invalid_client", "client_disabled");
    let wrong = ask(&world, &basic("rs08", SECRET_OF_NOBODY), &token).await;
    // What it showed was not looked at: the record says the same of whoever names it.
    world.refused("wrong", &wrong, "invalid_client", "client_disabled");
    let nobody = ask(&world, &basic("nobody", SECRET), &token).await;
    world.refused("nobody", &nobody, "invalid_client", "client_auth_failed");
    let told = |answer: &Answer| (answer.json()["error_description"].clone(), answer.status);
    assert_eq!(told(&right), told(&nobody));
    assert_eq!(told(&wrong), told(&nobody));
    let metadata = world
        .gateway
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(
        metadata["token_endpoint_auth_methods_supported"],
        json!(["client_secret_post"])
    );
}

async fn ask(world: &World, authorization: &str, token: &str) -> Answer {
    world
        .gateway
        .post(
            Some(authorization),
            &[
                ("grant_type", EXCHANGE),
                ("subject_token", token),
                ("subject_token_type", ACCESS_TOKEN),
                ("resource", "https://backend.example.com"),
            ],
        )
        .await
}

/// The realm with another `auth` for `rs08`.
pub fn replace_auth(yaml: &str, auth: &str) -> String {
    let (left, rest) = yaml.split_once("auth: {").unwrap();
    let (_, right) = rest.split_once("\nresources").unwrap();
    format!("{left}auth: {{ {auth} }}\nresources{right}")
}
