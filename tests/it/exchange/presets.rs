//! Presets: a minimal realm for each, a token as the vendor writes it, and tokens that are nearly right.

use cambist::config::PRESETS;
use cambist::jose::Algorithm;
use serde_json::{Value, json};

use crate::support::{
    ACCESS_TOKEN, Gateway, ID_TOKEN, Idp, JWT, NOW, REALM, RULES, basic, with, without,
};

/// One vendor's tokens.
struct Vendor {
    preset: &'static str,
    issuer: &'static str,
    /// What the operator writes besides the preset and the keys.
    yaml: &'static str,
    /// The header besides `alg` and `kid`; `null` for no `typ`.
    typ: Value,
    declared: &'static str,
    good: Value,
    /// Facts that a rule may rest on: a condition that holds for the good token.
    when: &'static str,
    /// The client that the token was issued to.
    client: Option<&'static str>,
    /// Changes that make it another tenant's or another kind of token, and the reason why it is refused.
    bad: Vec<(&'static str, Value, &'static str)>,
}

fn vendors() -> Vec<Vendor> {
    let times = |claims: Value| {
        with(
            &json!({ "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300 }),
            &claims,
        )
    };
    let cut = |claims: Value, name: &str| without(&claims, name);
    vec![
        Vendor {
            preset: "keycloak",
            issuer: "https://sso.example.com/realms/corp",
            yaml: "issuer: https://sso.example.com/realms/corp, audience: exchange",
            typ: json!("JWT"),
            declared: ACCESS_TOKEN,
            good: cut(
                times(json!({
                    "auth_time": NOW - 100, "jti": "onrtac:17b94735", "aud": ["exchange", "account"],
                    "sub": "09a3ceb7-fb2e-4983-9f19-cd6b236e050e", "typ": "Bearer", "azp": "web",
                    "sid": "fd0d6f25", "acr": "1", "allowed-origins": ["http://localhost:8050"],
                    "realm_access": { "roles": ["offline_access", "clerk"] },
                    "resource_access": { "account": { "roles": ["manage-account"] } },
                    "scope": "openid api", "email_verified": false, "preferred_username": "alice",
                })),
                "nbf",
            ),
            when: "subject.claims.realm_roles has \"clerk\"",
            client: Some("web"),
            bad: vec![
                ("an ID token", json!({ "typ": "ID" }), "token_of_other_kind"),
                (
                    "a refresh token",
                    json!({ "typ": "Refresh" }),
                    "token_of_other_kind",
                ),
                (
                    "a logout token",
                    json!({ "typ": "Logout", "events": {} }),
                    "token_is_event",
                ),
                (
                    "another realm",
                    json!({ "iss": "https://sso.example.com/realms/other" }),
                    "issuer_unknown",
                ),
                ("for another", json!({ "aud": "account" }), "audience_wrong"),
                (
                    "roles of another shape",
                    json!({ "realm_access": { "roles": 7 } }),
                    "claim_invalid",
                ),
            ],
        },
        Vendor {
            preset: "entra",
            issuer: "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
            yaml: "issuer: https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0, \
                   audience: 6e74172b-be56-4843-9ff4-e66a39bb12e3",
            typ: json!("JWT"),
            declared: ACCESS_TOKEN,
            good: times(json!({
                "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "azp": "7c9d1a2e", "azpacr": "1",
                "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "tid": "9188040d-6c67-4c5b-b112-36a304b66dad",
                "scp": "api Files.Read", "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
                "roles": ["Task.Write"], "ver": "2.0", "uti": "x", "rh": "y", "name": "Alice",
            })),
            when: "subject.claims.oid == \"690222be-ff1a-4d56-abd1-7e4f7d38e474\" and subject.claims.roles has \"Task.Write\"",
            client: Some("7c9d1a2e"),
            bad: vec![
                (
                    "another directory's issuer",
                    json!({ "iss": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0" }),
                    "issuer_unknown",
                ),
                (
                    "version 1.0",
                    json!({ "iss": "https://sts.windows.net/9188040d-6c67-4c5b-b112-36a304b66dad/" }),
                    "issuer_unknown",
                ),
                (
                    "an ID token, for the client",
                    json!({ "aud": "7c9d1a2e", "nonce": "n" }),
                    "token_of_other_kind",
                ),
                (
                    "for another",
                    json!({ "aud": "00000003-0000-0000-c000-000000000000" }),
                    "audience_wrong",
                ),
            ],
        },
        Vendor {
            preset: "okta",
            issuer: "https://corp.okta.com/oauth2/default",
            yaml: "issuer: https://corp.okta.com/oauth2/default, audience: \"api://default\"",
            typ: Value::Null,
            declared: ACCESS_TOKEN,
            good: cut(
                times(json!({
                    "ver": 1, "jti": "AT.MNAoEQ_jbKqoinrQo1D0XKjMX28U5d7ZszBceot7-Ts", "aud": "api://default",
                    "cid": "0oa1", "uid": "00u1", "scp": ["openid", "api"], "auth_time": NOW - 60,
                    "sub": "alice@example.com",
                })),
                "nbf",
            ),
            when: "subject.claims.uid == \"00u1\"",
            client: Some("0oa1"),
            bad: vec![
                (
                    "an ID token",
                    json!({ "aud": "0oa1", "at_hash": "h" }),
                    "token_of_other_kind",
                ),
                (
                    "the organisation's own server",
                    json!({ "iss": "https://corp.okta.com" }),
                    "issuer_unknown",
                ),
                (
                    "a scope that is text and number",
                    json!({ "scp": ["api", 7] }),
                    "claim_invalid",
                ),
            ],
        },
        Vendor {
            preset: "auth0",
            issuer: "https://corp.eu.auth0.com/",
            yaml: "issuer: https://corp.eu.auth0.com/, audience: https://api.example.com",
            typ: json!("JWT"),
            declared: ACCESS_TOKEN,
            good: cut(
                times(json!({
                    "sub": "auth0|6553da60", "aud": ["https://api.example.com", "https://corp.eu.auth0.com/userinfo"],
                    "azp": "K1AUPhZq", "scope": "openid api", "gty": "password", "org_id": "org_9ybsU1dN2dKfDkBi",
                    "permissions": ["read:patients"],
                })),
                "nbf",
            ),
            when: "subject.claims.permissions has \"read:patients\" and subject.claims.org_id == \"org_9ybsU1dN2dKfDkBi\"",
            client: Some("K1AUPhZq"),
            bad: vec![
                (
                    "without the slash",
                    json!({ "iss": "https://corp.eu.auth0.com" }),
                    "issuer_unknown",
                ),
                (
                    "an ID token",
                    json!({ "aud": "K1AUPhZq", "nonce": "n" }),
                    "token_of_other_kind",
                ),
                (
                    "for another",
                    json!({ "aud": "https://corp.eu.auth0.com/userinfo" }),
                    "audience_wrong",
                ),
            ],
        },
        Vendor {
            preset: "google",
            issuer: "https://accounts.google.com",
            yaml: "tenancy: { hd: example.com }",
            typ: json!("JWT"),
            declared: ID_TOKEN,
            good: cut(
                times(json!({
                    "azp": "rs08", "aud": "rs08", "sub": "110169484474386276334", "hd": "example.com",
                    "email": "alice@example.com", "email_verified": true, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
                    "nonce": "0394852-3190485-2490358",
                })),
                "nbf",
            ),
            when: "subject.claims.email_verified == true and subject.claims.email == \"alice@example.com\"",
            client: Some("rs08"),
            bad: vec![
                (
                    "another organisation",
                    json!({ "hd": "example.org" }),
                    "tenant_wrong",
                ),
                (
                    "another client",
                    json!({ "aud": "x", "azp": "x" }),
                    "audience_wrong",
                ),
                (
                    "issued to another client",
                    json!({ "azp": "x" }),
                    "audience_wrong",
                ),
                (
                    "without the scheme",
                    json!({ "iss": "accounts.google.com" }),
                    "issuer_unknown",
                ),
            ],
        },
        Vendor {
            preset: "github-actions",
            issuer: "https://token.actions.githubusercontent.com",
            yaml: "audience: self, tenancy: { repository_owner_id: \"2020\" }",
            typ: json!("JWT"),
            declared: JWT,
            good: times(json!({
                "jti": "example-id", "sub": "repo:demo-org/demo-repo:environment:production",
                "aud": "https://as.example.com", "actor": "demo-user", "actor_id": "1001",
                "base_ref": "", "environment": "production", "event_name": "workflow_dispatch", "head_ref": "",
                "job_workflow_ref": "demo-org/shared/.github/workflows/reusable.yml@refs/heads/main",
                "ref": "refs/heads/main", "ref_protected": "true", "ref_type": "branch",
                "repository": "demo-org/demo-repo", "repository_id": "424242", "repository_owner": "demo-org",
                "repository_owner_id": "2020", "repository_visibility": "private", "run_attempt": "1",
                "run_id": "22259804324", "run_number": "42", "runner_environment": "github-hosted",
                "sha": "c040cae0", "workflow": "CI",
                "workflow_ref": "demo-org/demo-repo/.github/workflows/ci.yml@refs/heads/main",
            })),
            when: "subject.claims.ref == \"refs/heads/main\" and subject.claims.environment == \"production\"",
            client: None,
            bad: vec![
                (
                    "another owner",
                    json!({ "repository_owner_id": "2021" }),
                    "tenant_wrong",
                ),
                (
                    "an owner of the same name",
                    json!({ "repository_owner_id": "9", "repository_owner": "demo-org" }),
                    "tenant_wrong",
                ),
                (
                    "for the owner, as by default",
                    json!({ "aud": "https://github.com/demo-org" }),
                    "audience_wrong",
                ),
                (
                    "an id that is a number",
                    json!({ "repository_owner_id": 2020 }),
                    "claim_invalid",
                ),
            ],
        },
        Vendor {
            preset: "gitlab-ci",
            issuer: "https://gitlab.com",
            yaml: "audience: self, tenancy: { namespace_id: [\"68413579\"] }",
            typ: json!("JWT"),
            declared: JWT,
            good: times(json!({
                "namespace_id": "68413579", "namespace_path": "org", "project_id": "46573356",
                "project_path": "org/repo", "user_id": "184239", "user_login": "user",
                "user_email": "user@example.com", "user_access_level": "owner", "pipeline_id": "1519139981",
                "pipeline_source": "push", "job_id": "8222997048", "ref": "main", "ref_type": "branch",
                "ref_path": "refs/heads/main", "ref_protected": "true", "runner_id": 12270835,
                "runner_environment": "gitlab-hosted", "sha": "8fe1b322", "project_visibility": "private",
                "groups_direct": ["org"], "jti": "a-b", "aud": "https://as.example.com",
                "sub": "project_path:org/repo:ref_type:branch:ref:main",
            })),
            when: "subject.claims.project_id == \"46573356\" and subject.claims.ref_protected == \"true\"",
            client: None,
            bad: vec![
                (
                    "another namespace",
                    json!({ "namespace_id": "68413580" }),
                    "tenant_wrong",
                ),
                (
                    "another instance",
                    json!({ "iss": "https://gitlab.example.com" }),
                    "issuer_unknown",
                ),
                (
                    "for the instance, as by default",
                    json!({ "aud": "https://gitlab.com" }),
                    "audience_wrong",
                ),
            ],
        },
        Vendor {
            preset: "kubernetes",
            issuer: "https://oidc.eks.eu-west-1.amazonaws.com/id/1A2B3C",
            yaml: "issuer: https://oidc.eks.eu-west-1.amazonaws.com/id/1A2B3C, audience: self",
            typ: Value::Null,
            declared: JWT,
            good: times(json!({
                "aud": ["https://as.example.com"], "jti": "aed34954-b33a-4142-b1ec-389d6bbb4936",
                "kubernetes.io": {
                    "namespace": "billing",
                    "node": { "name": "my-node", "uid": "646e7c5e" },
                    "pod": { "name": "worker-1", "uid": "5e0bd49b" },
                    "serviceaccount": { "name": "worker", "uid": "14ee3fa4" },
                    "warnafter": NOW + 3600,
                },
                "sub": "system:serviceaccount:billing:worker",
            })),
            when: "subject.claims.namespace == \"billing\" and subject.claims.serviceaccount_uid == \"14ee3fa4\"",
            client: None,
            bad: vec![
                (
                    "another cluster",
                    json!({ "iss": "https://oidc.eks.eu-west-1.amazonaws.com/id/FFFFFF" }),
                    "issuer_unknown",
                ),
                (
                    "for the cluster itself",
                    json!({ "aud": ["https://kubernetes.default.svc"] }),
                    "audience_wrong",
                ),
                (
                    "an old one, without its place",
                    json!({ "kubernetes.io": {} }),
                    "claim_invalid",
                ),
            ],
        },
    ]
}

#[tokio::test]
async fn every_preset_takes_its_vendors_tokens_and_refuses_what_is_nearly_one() {
    let vendors = vendors();
    let tried: Vec<&str> = vendors.iter().map(|vendor| vendor.preset).collect();
    let known: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    assert_eq!(tried, known);
    for vendor in vendors {
        let idp = Idp::new(vendor.issuer, Algorithm::RS256);
        let keys = idp.jwks();
        let issuer = format!(
            "  idp: {{ preset: {}, jwks_file: idp.json, {} }}\n",
            vendor.preset, vendor.yaml
        );
        let (before, rest) = REALM.split_once("  idp:").unwrap();
        let yaml = format!(
            "{before}{issuer}{}",
            &rest[rest.find("clients:").unwrap()..]
        );
        let when = match vendor.client {
            Some(client) => format!("{} and subject.client_id == \"{client}\"", vendor.when),
            None => vendor.when.to_owned(),
        };
        let rules = RULES.split("rule foreign").next().unwrap();
        let rules = rules.replace("from idp, self", "from idp").replace(
            "use  mint { scope: requested & subject.scope }",
            &format!(
                "when {}\n  use  mint {{ scope: requested & [\"api\"] beyond subject }}",
                when
            ),
        );
        let gateway = Gateway::start(&yaml, &rules, &[("idp.json", &keys)]).await;
        let header = match &vendor.typ {
            Value::Null => without(
                &serde_json::from_str(&idp.header(&json!({}))).unwrap(),
                "typ",
            )
            .to_string(),
            typ => idp.header(&json!({ "typ": typ })),
        };
        let token = |changes: &Value| idp.raw(&header, &idp.payload(&with(&vendor.good, changes)));
        let trade = async |token: String| {
            let parameters = [
                ("grant_type", crate::support::EXCHANGE),
                ("subject_token", &*token),
                ("subject_token_type", vendor.declared),
                ("resource", "https://backend.example.com/api"),
                ("scope", "api"),
            ];
            let authorization = basic("rs08", crate::support::SECRET);
            gateway.post(Some(&authorization), &parameters).await
        };
        let answer = trade(token(&json!({}))).await;
        let record = gateway.last();
        assert_eq!(
            answer.status, 200,
            "{}: {answer:?} {record:#}",
            vendor.preset
        );
        assert_eq!(gateway.open(&answer.token()).await["scope"], "api");
        for (what, changes, reason) in &vendor.bad {
            let answer = trade(token(changes)).await;
            let what = format!("{}: {what}", vendor.preset);
            assert_eq!(gateway.last()["reason"], *reason, "{what}: {answer:?}");
            assert_eq!(answer.status, 400, "{what}");
        }
    }
}
