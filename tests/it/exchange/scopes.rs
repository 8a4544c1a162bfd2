//! What a token may do: never more than the subject token, the rule and the request say.

use serde_json::{Value, json};

use super::{World, active};
use crate::support::{ACCESS_TOKEN, RULES, Reply, claims, with, without};

/// What is granted: the scope that the client is told, or the error.
async fn granted(world: &World, token: &str, scope: Option<&str>) -> String {
    let mut parameters = vec![
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://backend.example.com"),
    ];
    parameters.extend(scope.map(|scope| ("scope", scope)));
    let answer = world.gateway.exchange(&parameters).await;
    if answer.status != 200 {
        return answer.error();
    }
    let told = answer.json()["scope"].clone();
    let issued = world.gateway.open(&answer.token()).await["scope"].clone();
    assert_eq!(
        told, issued,
        "the client is told something else than the token says"
    );
    told.as_str().unwrap_or("(none)").to_owned()
}

/// (the subject's, asked, granted)
const CASES: [(&str, Option<&str>, &str); 11] = [
    ("api profile", None, "api profile"),
    ("api profile", Some("api"), "api"),
    ("api profile", Some("profile api"), "api profile"),
    ("api", Some("api profile"), "api"), // a4: never more than the subject
    ("api", Some("profile"), "invalid_scope"),
    ("admin", None, "(none)"), // the backend does not offer it
    ("admin", Some("admin"), "invalid_scope"),
    ("api admin", None, "api"),
    ("", None, "(none)"),
    ("", Some("api"), "invalid_scope"),
    ("API", Some("api"), "invalid_scope"),
];

#[tokio::test]
async fn a4_a21_scope_from_the_claim() {
    let world = World::start().await;
    for (subject, asked, want) in CASES {
        let token = world.idp.token(&claims(json!({ "scope": subject })));
        assert_eq!(
            granted(&world, &token, asked).await,
            want,
            "{subject:?} {asked:?}"
        );
    }
    // The same where nothing is said, and where it is said as a list.
    let silent = world.idp.token(&without(&claims(json!({})), "scope"));
    assert_eq!(granted(&world, &silent, None).await, "(none)");
    assert_eq!(granted(&world, &silent, Some("api")).await, "invalid_scope");
    let list = world
        .idp
        .token(&claims(json!({ "scope": ["profile", "api"] })));
    assert_eq!(granted(&world, &list, None).await, "api profile");
    let empty = world.idp.token(&claims(json!({ "scope": [] })));
    assert_eq!(granted(&world, &empty, Some("api")).await, "invalid_scope");
}

#[tokio::test]
async fn scope_from_another_claim() {
    let world = World::start().await;
    let ours = json!({ "aud": "https://as.example.com" });
    for (subject, asked, want) in CASES {
        for scp in [
            json!(subject),
            Value::from_iter(subject.split_terminator(' ')),
        ] {
            let token = world
                .partner
                .token(&claims(with(&ours, &json!({ "scp": scp }))));
            assert_eq!(
                granted(&world, &token, asked).await,
                want,
                "{scp} {asked:?}"
            );
        }
    }
    // `scope` means nothing there.
    let token = world.partner.token(&claims(ours));
    assert_eq!(granted(&world, &token, Some("api")).await, "invalid_scope");
}

#[tokio::test]
async fn scope_from_introspection() {
    let world = World::start().await;
    for (subject, asked, want) in CASES {
        world
            .op
            .says(move |_| Reply::Json(with(&active(), &json!({ "scope": subject }))));
        assert_eq!(
            granted(&world, "opaque", asked).await,
            want,
            "{subject:?} {asked:?}"
        );
    }
}

/// An issuer without scopes bounds nothing; the rule has a ceiling, and the client asks by name.
#[tokio::test]
async fn scope_of_an_issuer_without_scopes_is_under_the_ceiling_of_the_rule() {
    let rules = RULES
        .replacen(
            "requested & subject.scope }",
            "requested & [\"api\", \"admin\"] }",
            1,
        )
        .replace("from idp, self", "from idp");
    let world = World::with(
        |yaml| yaml.replacen("scope: claim", "scope: none", 1),
        &rules,
    )
    .await;
    let token = world.idp.token(&claims(json!({ "scope": "profile" })));
    for (asked, want) in [
        (None, "(none)"),
        (Some("api"), "api"),
        (Some("api profile"), "api"),
        (Some("api admin"), "api"), // the backend does not offer `admin`
        (Some("profile"), "invalid_scope"),
    ] {
        assert_eq!(granted(&world, &token, asked).await, want, "{asked:?}");
    }
}

/// A1: leaving the parameter out must not pass a condition that sending it would not.
#[tokio::test]
async fn a1_leaving_scope_out_bypasses_no_rule() {
    let rules = format!(
        "{RULES}\ndeny no-admin {{ because \"no\"  error invalid_scope  when scope has \"admin\" }}\n"
    );
    let world = World::with(|yaml| yaml, &rules).await;
    let token = world.idp.token(&claims(json!({ "scope": "api admin" })));
    assert_eq!(granted(&world, &token, None).await, "invalid_scope");
    assert_eq!(
        granted(&world, &token, Some("admin")).await,
        "invalid_scope"
    );
    assert_eq!(granted(&world, &token, Some("api")).await, "api");
}
