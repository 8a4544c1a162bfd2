//! Issuers that speak for many, and names that look alike: A23, A27, rule 38.

use serde_json::json;

use super::{load, load_error_with};
use crate::exchange::{World, active};
use crate::support::{ACCESS_TOKEN, RULES, Reply, claims, with};

/// The realm with `partner` as an issuer that is shared by many tenants.
fn shared(yaml: &str) -> String {
    yaml.replace(
        "scope: scp }",
        "scope: scp, claims: { owner_id: string, owner: string, repository?: string, environment?: string }, tenancy: owner_id }",
    )
}

/// The rules, with this condition on tokens of the shared issuer.
fn when(condition: &str) -> String {
    let (before, after) = RULES
        .split_once("  use  mint { scope: requested & subject.scope, sub: \"partner|")
        .unwrap();
    format!(
        "{before}{condition}\n  use  mint {{ scope: requested & subject.scope, sub: \"partner|{after}"
    )
}

/// A27: a rule that does not say whose tokens it takes does not load.
#[test]
fn a27_a_rule_that_fixes_no_tenant_of_a_shared_issuer_does_not_load() {
    let yaml = |yaml: String| shared(&yaml);
    for good in [
        "  when subject.claims.owner_id == \"1234567\"",
        "  when subject.claims.owner_id in [\"1234567\", \"7654321\"]",
        "  when subject.claims.owner_id == \"1234567\" and subject.claims.owner == \"octo\"",
        "  when (subject.claims.owner_id == \"1\" or subject.claims.owner_id == \"2\")",
    ] {
        load(yaml, &when(good)).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for bad in [
        "",
        // Names are given to somebody else when they are free.
        "  when subject.claims.owner == \"octo\"",
        "  when subject.sub == \"repo:octo/app:ref:refs/heads/main\"",
        "  when subject.sub like \"repo:octo/*\"",
        "  when subject.sub like \"repo:octo/app:*\"",
        "  when subject.sub like \"*\"",
        // Not in every way that the rule can match.
        "  when subject.claims.owner_id == \"1234567\" or subject.claims.owner == \"octo\"",
        "  when subject.claims.owner_id != \"1234567\"",
        "  when not subject.claims.owner_id == \"1234567\"",
        "  when subject.claims.owner_id like \"123*\"",
        "  when subject.claims.owner_id like \"*\"",
    ] {
        let error = load_error_with(yaml, &when(bad));
        assert!(error.contains("E0401"), "{bad}: {error}");
    }
}

/// A27: tenants whose names are like ours, in whatever way, are others.
#[tokio::test]
async fn a27_a23_look_alike_tenants_and_subjects_are_others() {
    let rules = when(
        "  when subject.claims.owner_id == \"1234567\" and subject.sub == \"repo:octo-org/app:environment:prod\"",
    );
    let world = World::with(|yaml| shared(&yaml), &rules).await;
    let ours = json!({
        "aud": "https://as.example.com", "scp": "api", "owner_id": "1234567", "owner": "octo-org",
        "sub": "repo:octo-org/app:environment:prod",
    });
    let answer = world
        .gateway
        .trade(&world.partner.token(&claims(ours.clone())))
        .await;
    world.issued("control", &answer).await;
    for changes in [
        // A recycled name: the same words, another owner.
        json!({ "owner_id": "7654321" }),
        json!({ "owner_id": "12345670" }),
        json!({ "owner_id": "123456" }),
        json!({ "owner_id": "1234567 " }),
        json!({ "owner_id": "\u{ff11}234567" }),
        json!({ "owner_id": "" }),
        json!({ "sub": "repo:octo-org/app:environment:prod-2" }),
        json!({ "sub": "repo:octo-org/app:environment:prod\n" }),
        json!({ "sub": "xrepo:octo-org/app:environment:prod" }),
        json!({ "sub": "repo:octo-org/app:environment:PROD" }),
        json!({ "sub": "repo:octo-org/app-environment:prod" }),
        json!({ "sub": "repo:octo/org-app:environment:prod" }),
        json!({ "sub": "repo:octo-org/app:pull_request" }),
        json!({ "sub": "repo:octo\u{2010}org/app:environment:prod" }),
        json!({ "sub": "*" }),
    ] {
        let token = world.partner.token(&claims(with(&ours, &changes)));
        let answer = world.gateway.trade(&token).await;
        assert_eq!(answer.status, 400, "{changes}: {answer:?}");
        let reason = world.gateway.last()["reason"].clone();
        let expected = ["no_rule", "claim_invalid"];
        assert!(
            expected.contains(&reason.as_str().unwrap()),
            "{changes}: {reason}"
        );
    }
    for changes in [
        json!({ "owner_id": 1_234_567 }),
        json!({ "owner_id": ["1234567"] }),
        json!({ "owner_id": null }),
    ] {
        let token = world.partner.token(&claims(with(&ours, &changes)));
        let answer = world.gateway.trade(&token).await;
        world.refused(
            &changes.to_string(),
            &answer,
            "invalid_request",
            "claim_invalid",
        );
    }
}

/// A27, as with the "immutable" subjects of April 2026: two parties whose names run together at a hyphen
/// must not get one subject. What would be ambiguous is refused.
#[tokio::test]
async fn a27_names_that_run_together_never_give_one_subject() {
    let rules =
        when("  when subject.claims.owner_id == \"1234567\" and present subject.claims.repository")
            .replace(
                "sub: \"partner|${subject.sub}\"",
                "sub: \"ci|${subject.claims.owner}-${subject.claims.repository}\"",
            );
    let world = World::with(|yaml| shared(&yaml), &rules).await;
    let mut subjects = std::collections::BTreeSet::new();
    for (owner, repository, accepted) in [
        ("octo", "app", true),
        ("octo", "org-app", true),
        ("octo-org", "app", false), // would be the one before
        ("octo", "org-app-", true),
        ("octo-org-app", "", false),
        ("octo-", "app", false),
        ("octo", "-app", true),
    ] {
        let token = world.partner.token(&claims(json!({
            "aud": "https://as.example.com", "scp": "api", "owner_id": "1234567", "owner": owner,
            "repository": repository,
        })));
        let what = format!("{owner} {repository}");
        let answer = world.gateway.trade(&token).await;
        match accepted {
            true => {
                let issued = world.issued(&what, &answer).await;
                assert!(
                    subjects.insert(issued["sub"].as_str().unwrap().to_owned()),
                    "{what}"
                );
            }
            false => world.refused(&what, &answer, "invalid_request", "template_value"),
        }
    }
    assert_eq!(subjects.len(), 4);
}

/// Rule 38: whatever two parties are called, what is issued for them has two different subjects.
#[tokio::test]
async fn rule_38_parties_of_different_issuers_and_kinds_never_get_one_subject() {
    let world = World::start().await;
    let mut subjects = std::collections::BTreeMap::new();
    for sub in [
        "alice",
        "rs08",
        "bob",
        "https://frontend.example.com",
        "a|b",
    ] {
        for issuer in ["idp", "partner", "op"] {
            let answered = with(&active(), &json!({ "sub": sub }));
            world.op.says(move |_| Reply::Json(answered.clone()));
            let token = match issuer {
                "idp" => world.idp.token(&claims(json!({ "sub": sub }))),
                "partner" => world.partner.token(&claims(
                    json!({ "sub": sub, "aud": "https://as.example.com", "scp": "api" }),
                )),
                _ => "opaque".to_owned(),
            };
            let answer = world.gateway.trade_as(ACCESS_TOKEN, &token).await;
            let issued = world.issued(sub, &answer).await;
            let twin = subjects.insert(issued["sub"].as_str().unwrap().to_owned(), (issuer, sub));
            assert_eq!(twin, None, "{issuer} {sub}");
            // A client that is called as a user is stays a client: it is never the subject.
            assert_eq!(issued["client_id"], "rs08");
        }
    }
    assert_eq!(subjects.len(), 15);
    // Two issuers that pass their subjects on as they are would make one of two: that does not load.
    let rules = RULES.replace(", sub: \"partner|${subject.sub}\"", "");
    let error = load_error_with(|yaml| yaml, &rules);
    assert!(error.contains("E0405"), "{error}");
    load(|yaml| yaml, RULES).unwrap();
}
