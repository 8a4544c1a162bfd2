//! For whom a token may be: the audience of what is issued, and that nothing wider is.

use serde_json::{Value, json};

use super::World;
use crate::support::{ACCESS_TOKEN, claims};

const RULES: &str = r#"policy 1 module main
rule read-orders {
  from idp
  by   client "rs08"
  to   resource under "https://orders.example.com/v1"
  use  mint { scope: requested & subject.scope }
}
rule logical {
  from idp
  by   client "rs08"
  to   audience ["billing", "reports"]
  use  mint { scope: requested & subject.scope }
}
rule constant {
  from idp
  by   client "rs08"
  to   no target
  use  mint { scope: requested & subject.scope, audience: "default-api" }
}
"#;

const RESOURCES: &str = "
  orders:  { under: https://orders.example.com/v1, audience: orders-api }
  admin:   { under: https://orders.example.com/v1/admin, audience: orders-admin-api, scopes: [api] }
";

async fn start() -> World {
    World::with(
        |yaml| yaml.replace("\nresources:\n", &format!("\nresources:{RESOURCES}")),
        RULES,
    )
    .await
}

async fn ask(world: &World, targets: &[(&str, &str)]) -> (String, Value) {
    let token = world.idp.token(&claims(json!({})));
    let mut parameters = vec![
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    parameters.extend(targets);
    let answer = world.gateway.exchange(&parameters).await;
    match answer.status {
        200 => (
            String::new(),
            world.gateway.open(&answer.token()).await["aud"].clone(),
        ),
        _ => (answer.error(), Value::Null),
    }
}

#[tokio::test]
async fn the_audience_is_what_the_registry_says_or_what_was_asked() {
    let world = start().await;
    let orders = "https://orders.example.com/v1";
    for (what, targets, aud) in [
        (
            "the entry itself",
            vec![("resource", orders)],
            json!("orders-api"),
        ),
        (
            "below it",
            vec![("resource", "https://orders.example.com/v1/7")],
            json!("orders-api"),
        ),
        (
            "the longest entry",
            vec![("resource", "https://orders.example.com/v1/admin/x")],
            json!("orders-admin-api"),
        ),
        (
            "not by characters",
            vec![("resource", "https://orders.example.com/v1/administrators")],
            json!("orders-api"),
        ),
        (
            "a logical name",
            vec![("audience", "billing")],
            json!("billing"),
        ),
        (
            "two names",
            vec![("audience", "reports"), ("audience", "billing")],
            json!(["billing", "reports"]),
        ),
        (
            "one name twice",
            vec![("audience", "billing"), ("audience", "billing")],
            json!("billing"),
        ),
        (
            "two resources of one audience",
            vec![
                ("resource", orders),
                ("resource", "https://orders.example.com/v1/7"),
            ],
            json!("orders-api"),
        ),
        (
            "two audiences",
            vec![
                ("resource", orders),
                ("resource", "https://orders.example.com/v1/admin"),
            ],
            json!(["orders-admin-api", "orders-api"]),
        ),
        ("no target", vec![], json!("default-api")),
    ] {
        assert_eq!(ask(&world, &targets).await, (String::new(), aud), "{what}");
    }
}

#[tokio::test]
async fn a_resource_in_two_spellings_is_one() {
    let world = start().await;
    let spellings = [
        "https://orders.example.com/v1",
        "HTTPS://Orders.Example.com:443/v1",
        "https://orders.example.com/%76%31",
    ];
    let asked = ask(&world, &spellings.map(|uri| ("resource", uri))).await;
    assert_eq!(asked, (String::new(), json!("orders-api")));
    assert_eq!(
        world.gateway.last()["asked"]["resource"],
        json!([spellings[0]])
    );
}

/// A3, A23: no target by syntax alone, none by prefix, none beside an allowed one.
#[tokio::test]
async fn a3_what_no_rule_names_is_refused_also_beside_what_one_does() {
    let world = start().await;
    let orders = ("resource", "https://orders.example.com/v1");
    for (what, targets) in [
        ("unknown", vec![("audience", "payroll")]),
        (
            "beside a known one",
            vec![("audience", "billing"), ("audience", "payroll")],
        ),
        (
            "a resource beside",
            vec![orders, ("resource", "https://payroll.example.com/")],
        ),
        (
            "a name beside a resource, each allowed alone",
            vec![orders, ("audience", "billing")],
        ),
        (
            "a resource sent as a name",
            vec![("audience", "https://orders.example.com/v1")],
        ),
        (
            "the registry's name sent as a name",
            vec![("audience", "orders-api")],
        ),
        ("a client's id", vec![("audience", "rs08")]),
        ("us", vec![("audience", "https://as.example.com")]),
        (
            "the parent",
            vec![("resource", "https://orders.example.com/")],
        ),
        (
            "a longer segment",
            vec![("resource", "https://orders.example.com/v10")],
        ),
    ] {
        assert_eq!(ask(&world, &targets).await.0, "invalid_target", "{what}");
        assert_eq!(
            world.gateway.last()["reason"],
            "no_rule_for_target",
            "{what}"
        );
    }
}

/// RFC 8693 §2.1.1: what is asked for is every scope at every target; one that does not offer a scope
/// takes it from all.
#[tokio::test]
async fn rule_20_scope_is_what_every_target_offers() {
    let world = start().await;
    let token = world.idp.token(&claims(json!({})));
    let orders = ("resource", "https://orders.example.com/v1");
    let admin = ("resource", "https://orders.example.com/v1/admin");
    for (targets, scope) in [
        (vec![orders], "api profile"),
        (vec![admin], "api"),
        (vec![orders, admin], "api"),
    ] {
        let mut parameters = vec![
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        parameters.extend(&targets);
        let answer = world.gateway.exchange(&parameters).await;
        assert_eq!(answer.json()["scope"], scope, "{targets:?}");
        parameters.push(("scope", "profile"));
        let answer = world.gateway.exchange(&parameters).await;
        let error = answer.json()["error"].clone();
        assert_eq!(
            error == "invalid_scope",
            scope == "api",
            "{targets:?}: {answer:?}"
        );
    }
}
