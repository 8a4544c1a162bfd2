//! What an issuer's tokens may be presented as, how each type is verified, whose tenants are taken.

use cambist::jose::Algorithm;
use serde_json::{Value, json};

use super::{World, active};
use crate::support::{
    ACCESS_TOKEN, ID_TOKEN, Idp, JWT, NOW, REFRESH_TOKEN, RULES, Reply, claims, with, without,
};

/// The issuer `idp` with keys and, under the usual address, an introspection endpoint.
fn both(types: &str) -> impl Fn(String) -> String + '_ {
    move |yaml: String| {
        let (head, rest) = yaml.split_once("  op:\n").unwrap();
        let endpoint = rest.split("endpoint: ").nth(1).unwrap();
        let endpoint = endpoint.split(',').next().unwrap();
        let clients = &rest[rest.find("clients:").unwrap()..];
        let head = head.replace(
            "subjects: local",
            &format!(
                "subjects: local, token_types: {types}, \
                 introspection: {{ endpoint: {endpoint}, client_id: cambist, secret_file: op.secret }}"
            ),
        );
        format!("{head}{clients}")
    }
}

fn rules() -> &'static str {
    RULES.split("rule asked").next().unwrap()
}

fn says(changes: &Value) -> Value {
    let base = with(&active(), &json!({ "iss": "https://idp.example.com" }));
    with(&base, changes)
}

/// An access token by its signature, a refresh token by asking, in one issuer; each only as itself.
#[tokio::test]
async fn one_issuer_may_verify_each_type_in_its_own_way() {
    let world = World::with(both("[access_token, refresh_token]"), rules()).await;
    let token = world.idp.token(&claims(json!({ "sub": "bob" })));
    let answer = world.gateway.trade(&token).await;
    world.issued("by its keys", &answer).await;
    assert_eq!(world.op.calls(), [] as [String; 0], "nobody was asked");
    // What is issued for a refresh token never comes from its own claims: the endpoint says who it is for.
    let refresh = says(&json!({ "client_id": "rs08", "typ": "Refresh" }));
    world.op.says(move |_| Reply::Json(refresh.clone()));
    let answer = world.gateway.trade_as(REFRESH_TOKEN, "opaque").await;
    world.issued("by asking", &answer).await;
    assert!(world.op.calls()[0].contains("token_type_hint=refresh_token"));
    assert_eq!(
        world.gateway.last()["subject"]["token_type"],
        "refresh_token"
    );
    // Issuers sign their refresh tokens with keys of their own, which is nobody's business.
    let jwt = |iss: &str, changes: Value| {
        let payload = with(
            &claims(json!({ "iss": iss, "typ": "Refresh", "sub": "bob" })),
            &changes,
        );
        world.idp.raw(
            r#"{"alg":"HS512","kid":"x","typ":"JWT"}"#,
            &payload.to_string(),
        )
    };
    let ours = "https://idp.example.com";
    let answer = world
        .gateway
        .trade_as(REFRESH_TOKEN, &jwt(ours, json!({})))
        .await;
    world
        .issued("a JWT that only its issuer can check", &answer)
        .await;
    let asked = world.op.calls().len();
    for (what, token, reason) in [
        (
            "a stranger's",
            jwt("https://x.example.com", json!({})),
            "issuer_unknown",
        ),
        (
            "an access token",
            jwt(ours, json!({ "typ": "Bearer" })),
            "token_of_other_kind",
        ),
        (
            "an ended one",
            jwt(ours, json!({ "exp": NOW })),
            "token_expired",
        ),
        (
            "an event",
            jwt(ours, json!({ "events": {} })),
            "token_is_event",
        ),
        (
            "a bound one",
            jwt(ours, json!({ "cnf": {} })),
            "token_has_cnf",
        ),
        (
            "no iss",
            world.idp.raw(r#"{"alg":"HS512"}"#, "{}"),
            "iss_missing",
        ),
        (
            "no payload",
            "eyJ9.eyJ9.eyJ9".to_owned(),
            "payload_invalid_json",
        ),
    ] {
        let answer = world.gateway.trade_as(REFRESH_TOKEN, &token).await;
        world.refused(what, &answer, "invalid_request", reason);
    }
    assert_eq!(world.op.calls().len(), asked, "nobody was shown them");
    // Each type only as itself.
    let answer = world.gateway.trade_as(REFRESH_TOKEN, &token).await;
    assert_eq!(
        answer.status, 200,
        "the endpoint vouches for it: {answer:?}"
    );
    let access = says(&json!({ "client_id": "rs08", "typ": "Bearer" }));
    world.op.says(move |_| Reply::Json(access.clone()));
    let answer = world.gateway.trade_as(REFRESH_TOKEN, "opaque").await;
    world.refused(
        "an access token",
        &answer,
        "invalid_request",
        "token_of_other_kind",
    );
    let answer = world.gateway.trade_as(JWT, "opaque").await;
    world.refused(
        "not listed",
        &answer,
        "invalid_request",
        "token_type_not_accepted",
    );
}

/// RFC 6749 §6: a refresh token is its client's own.
#[tokio::test]
async fn a_refresh_token_is_brought_by_the_client_that_it_was_issued_to() {
    let world = World::with(both("[access_token, refresh_token]"), rules()).await;
    for (changes, good) in [
        (json!({ "client_id": "rs08" }), true),
        (
            json!({ "azp": "https://frontend.example.com", "aud": "x" }),
            true,
        ),
        (json!({ "client_id": "other", "aud": "rs08" }), false),
        (json!({ "client_id": "other", "azp": "rs08" }), false),
        (json!({ "aud": "rs08" }), false),
        (json!({}), false),
    ] {
        let answer = says(&changes);
        world.op.says(move |_| Reply::Json(answer.clone()));
        let answer = world.gateway.trade_as(REFRESH_TOKEN, "opaque").await;
        match good {
            true => drop(world.issued("own", &answer).await),
            false => world.refused("another's", &answer, "invalid_request", "audience_wrong"),
        }
    }
}

/// With an audience of its own, a type goes by that: to be the token's client is not enough for a refresh
/// token, and not needed for an ID token.
#[tokio::test]
async fn the_audience_of_a_type_is_as_configured() {
    let types = "{ access_token: {}, refresh_token: { audience: [api-one] }, \
                 id_token: { audience: any, by: keys } }";
    let rules = rules().replace(
        "mint { scope: requested & subject.scope }",
        "mint { scope: requested & [\"api\"] beyond subject }",
    );
    let world = World::with(both(types), &rules).await;
    for (aud, good) in [("api-one", true), ("rs08", false), ("x", false)] {
        let answer = says(&json!({ "client_id": "rs08", "aud": aud }));
        world.op.says(move |_| Reply::Json(answer.clone()));
        let answer = world.gateway.trade_as(REFRESH_TOKEN, "opaque").await;
        match good {
            true => drop(world.issued(aud, &answer).await),
            false => world.refused(aud, &answer, "invalid_request", "audience_wrong"),
        }
    }
    for changes in [
        json!({ "aud": "x", "azp": "x" }),
        json!({ "aud": ["x", "y"] }),
    ] {
        let claims = with(&without(&claims(json!({})), "scope"), &changes);
        let id = world.idp.typed("JWT", &claims);
        let answer = world.gateway.trade_as(ID_TOKEN, &id).await;
        world.issued("an ID token", &answer).await;
    }
}

/// `by:` narrows the ways of a type.
#[tokio::test]
async fn a_type_is_verified_as_it_says() {
    let types = "{ access_token: { by: introspection }, jwt: { by: keys } }";
    let world = World::with(both(types), rules()).await;
    let good = says(&json!({ "aud": "rs08" }));
    world.op.says(move |_| Reply::Json(good.clone()));
    let token = world.idp.token(&claims(json!({ "sub": "bob" })));
    let forged = world
        .partner
        .token(&claims(json!({ "iss": "https://idp.example.com" })));
    world
        .issued("asked", &world.gateway.trade(&token).await)
        .await;
    assert_eq!(world.op.calls().len(), 1);
    world
        .issued("by keys", &world.gateway.trade_as(JWT, &token).await)
        .await;
    let answer = world.gateway.trade_as(JWT, &forged).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = world.gateway.trade_as(JWT, "opaque").await;
    world.refused(
        "opaque",
        &answer,
        "invalid_request",
        "token_type_not_accepted",
    );
    assert_eq!(world.op.calls().len(), 1);
}

/// OpenID Connect Core §2, §3.1.3.7: an ID token is for the client that it was issued to.
#[tokio::test]
async fn id_tokens_are_taken_as_id_tokens_only() {
    let types = "token_types: { access_token: { typ: [at+jwt, JWT] }, jwt: {}, id_token: {} }";
    let change =
        |yaml: String| yaml.replace("subjects: local", &format!("subjects: local, {types}"));
    let rules = RULES.replace(
        "mint { scope: requested & subject.scope }",
        "mint { scope: requested & [\"api\"] beyond subject }",
    );
    let world = World::with(change, &rules).await;
    let id = |changes: Value| {
        let claims = with(
            &without(&claims(json!({ "nonce": "n", "at_hash": "h" })), "scope"),
            &changes,
        );
        world.idp.typed("JWT", &claims)
    };
    for (what, changes) in [
        ("for the client", json!({})),
        (
            "by an identifier",
            json!({ "aud": ["https://frontend.example.com"] }),
        ),
        (
            "for several",
            json!({ "aud": ["rs08", "x"], "azp": "rs08" }),
        ),
        ("says so", json!({ "typ": "ID" })),
        ("says so otherwise", json!({ "token_use": "id" })),
        ("no nonce", json!({ "nonce": "", "c_hash": "h" })),
    ] {
        let answer = world.gateway.trade_as(ID_TOKEN, &id(changes)).await;
        let issued = world.issued(what, &answer).await;
        assert_eq!(issued.get("scope"), None, "it has none to give: {issued}");
        assert_eq!(world.gateway.last()["subject"]["token_type"], "id_token");
    }
    for (what, changes, reason) in [
        ("for another", json!({ "aud": "other" }), "audience_wrong"),
        (
            "for several, no azp",
            json!({ "aud": ["rs08", "x"] }),
            "audience_wrong",
        ),
        ("issued to another", json!({ "azp": "x" }), "audience_wrong"),
        (
            "issued to another of several",
            json!({ "aud": ["rs08", "x"], "azp": "x" }),
            "audience_wrong",
        ),
        ("azp a list", json!({ "azp": ["rs08"] }), "claim_invalid"),
        (
            "an access token",
            json!({ "typ": "Bearer" }),
            "token_of_other_kind",
        ),
        (
            "an access token by its use",
            json!({ "token_use": "access" }),
            "token_of_other_kind",
        ),
        (
            "a logout token",
            json!({ "events": {}, "nonce": "n" }),
            "token_is_event",
        ),
        (
            "a refresh token",
            json!({ "typ": "Refresh" }),
            "token_of_other_kind",
        ),
    ] {
        let answer = world.gateway.trade_as(ID_TOKEN, &id(changes)).await;
        world.refused(what, &answer, "invalid_request", reason);
    }
    let access = world.idp.token(&claims(json!({})));
    let answer = world.gateway.trade_as(ID_TOKEN, &access).await;
    world.refused("at+jwt", &answer, "invalid_request", "typ_wrong");
    for declared in [ACCESS_TOKEN, JWT] {
        let answer = world.gateway.trade_as(declared, &id(json!({}))).await;
        world.refused(declared, &answer, "invalid_request", "token_of_other_kind");
    }
    let logout = world.idp.typed("logout+jwt", &claims(json!({})));
    let answer = world.gateway.trade_as(ID_TOKEN, &logout).await;
    world.refused("logout+jwt", &answer, "invalid_request", "typ_wrong");
}

/// The same where the issuer is asked: its answer vouches for the token, not for what it is.
#[tokio::test]
async fn id_tokens_by_introspection_are_no_access_tokens() {
    let change = |yaml: String| {
        let (left, right) = yaml.split_once("    audience: any").unwrap();
        format!("{left}    token_types: [id_token]\n    audience: any{right}")
    };
    let rules = RULES.replace(
        "mint { scope: requested & subject.scope, sub: \"op|",
        "mint { scope: [], sub: \"op|",
    );
    let world = World::with(change, &rules).await;
    let answer = with(&without(&active(), "token_type"), &json!({ "aud": "rs08" }));
    world.op.says(move |_| Reply::Json(answer.clone()));
    let op = Idp::new("https://op.example.com", Algorithm::ES256);
    let id = op.typed("JWT", &claims(json!({ "nonce": "n", "sub": "bob" })));
    let answer = world.gateway.trade_as(ID_TOKEN, &id).await;
    world.issued("an ID token", &answer).await;
    let asked = world.op.calls().len();
    let answer = world
        .gateway
        .trade_as(ID_TOKEN, &op.token(&claims(json!({}))))
        .await;
    world.refused("at+jwt", &answer, "invalid_request", "typ_wrong");
    assert_eq!(world.op.calls().len(), asked);
}

/// A type of the realm's own is what a `jwt` is, under another name, with rules of its own.
#[tokio::test]
async fn a_type_of_the_realms_own() {
    let own = "urn:example:params:ticket";
    let types = format!("{{ {own:?}: {{ typ: ticket+jwt, audience: self, scope: rights }} }}");
    let change = |yaml: String| {
        yaml.replace(
            "subjects: local",
            &format!("subjects: local, token_types: {types}"),
        )
    };
    let world = World::with(change, RULES).await;
    let ticket = |changes: Value| {
        let base = claims(json!({ "aud": "https://as.example.com", "rights": "api" }));
        world.idp.typed("ticket+jwt", &with(&base, &changes))
    };
    let answer = world.gateway.trade_as(own, &ticket(json!({}))).await;
    assert_eq!(world.issued("ticket", &answer).await["scope"], "api");
    assert_eq!(world.gateway.last()["subject"]["token_type"], own);
    let answer = world
        .gateway
        .trade_as(own, &ticket(json!({ "aud": "rs08" })))
        .await;
    world.refused("audience", &answer, "invalid_request", "audience_wrong");
    let answer = world
        .gateway
        .trade_as(own, &world.idp.token(&claims(json!({}))))
        .await;
    world.refused("typ", &answer, "invalid_request", "typ_wrong");
    let answer = world.gateway.trade_as(JWT, &ticket(json!({}))).await;
    world.refused(
        "as jwt",
        &answer,
        "invalid_request",
        "token_type_not_accepted",
    );
}

/// A9: a disabled issuer is found on no path, and its opaque tokens are shown to nobody.
#[tokio::test]
async fn a9_a_disabled_issuer_is_never_found_by_another_path() {
    let change = |yaml: String| {
        yaml.replace(
            "issuer: https://op.example.com",
            "issuer: https://op.example.com\n    enabled: false",
        )
        .replace("subjects: local", "subjects: local, enabled: false")
    };
    let world = World::with(change, RULES).await;
    let opaque = world.gateway.trade("opaque").await;
    world.refused("opaque", &opaque, "invalid_request", "issuer_disabled");
    let told = "subject_token: opaque tokens are not accepted here";
    assert_eq!(opaque.json()["error_description"], told);
    let op = Idp::new("https://op.example.com", Algorithm::ES256);
    for token in [
        world.idp.token(&claims(json!({}))),
        op.token(&claims(json!({}))),
        // The signature is another issuer's, that is trusted: still the disabled one's.
        world
            .partner
            .token(&claims(json!({ "iss": "https://idp.example.com" }))),
    ] {
        for declared in [ACCESS_TOKEN, JWT] {
            let answer = world.gateway.trade_as(declared, &token).await;
            world.refused(declared, &answer, "invalid_request", "issuer_disabled");
            let told = "subject_token: the token's issuer is not known here";
            assert_eq!(answer.json()["error_description"], told);
        }
    }
    assert_eq!(world.op.calls(), [] as [String; 0]);
}

/// `tenancy:` with values: tokens of other tenants of a shared issuer are refused before any rule.
#[tokio::test]
async fn a27_only_the_realms_own_tenants_of_a_shared_issuer() {
    let change = |yaml: String| {
        yaml.replace(
            "subjects: local",
            "subjects: local, claims: { tid: string, orgs?: \"set<string>\", plan?: int }, \
             tenancy: { tid: [t-1, t-2], plan: 7, orgs: [a, b] }",
        )
    };
    let world = World::with(change, RULES).await;
    let token = |changes: Value| {
        let base = claims(json!({ "tid": "t-1", "plan": 7, "orgs": ["a"] }));
        world.idp.token(&with(&base, &changes))
    };
    for good in [
        json!({}),
        json!({ "tid": "t-2", "orgs": ["a", "b"] }),
        json!({ "orgs": "b" }),
    ] {
        let answer = world.gateway.trade(&token(good)).await;
        world.issued("ours", &answer).await;
    }
    for bad in [
        json!({ "tid": "t-3" }),
        json!({ "tid": "T-1" }),
        json!({ "tid": "t-1 " }),
        json!({ "plan": 8 }),
        json!({ "orgs": ["a", "c"] }),
        json!({ "orgs": [] }),
    ] {
        let answer = world.gateway.trade(&token(bad.clone())).await;
        world.refused(&bad.to_string(), &answer, "invalid_request", "tenant_wrong");
        assert!(!answer.body.contains("tid"), "{answer:?}");
    }
    let lacking = without(
        &claims(json!({ "tid": "t-1", "orgs": ["a"], "plan": 7 })),
        "plan",
    );
    let answer = world.gateway.trade(&world.idp.token(&lacking)).await;
    world.refused("no plan", &answer, "invalid_request", "tenant_wrong");
}

/// The client that a token was issued to, under the name that its issuer has for it.
#[tokio::test]
async fn the_claim_that_names_the_client_is_configurable() {
    let rules = format!(
        "{RULES}\ndeny theirs {{ from idp  when subject.client_id ?? \"none\" == \"theirs\" }}\n"
    );
    let change = |yaml: String| {
        yaml.replace(
            "subjects: local",
            "subjects: local, client_claim: [cid, client_id]",
        )
    };
    let world = World::with(change, &rules).await;
    for (changes, denied) in [
        (json!({ "cid": "theirs" }), true),
        (json!({ "client_id": "theirs" }), true),
        (json!({ "cid": "ours", "client_id": "theirs" }), false),
        (json!({ "azp": "theirs" }), false),
    ] {
        let answer = world
            .gateway
            .trade(&world.idp.token(&claims(changes.clone())))
            .await;
        match denied {
            true => world.refused(&changes.to_string(), &answer, "invalid_request", "denied"),
            false => drop(world.issued(&changes.to_string(), &answer).await),
        }
    }
    let answer = world
        .gateway
        .trade(&world.idp.token(&claims(json!({ "cid": 7 }))))
        .await;
    world.refused("not text", &answer, "invalid_request", "claim_invalid");
}

/// `client_secret_post` (RFC 6749 §2.3.1), where an endpoint knows no Basic.
#[tokio::test]
async fn introspection_with_the_secret_in_the_form() {
    let change = |yaml: String| {
        yaml.replace(
            "client_id: cambist,",
            "client_id: cambist, method: client_secret_post,",
        )
    };
    let world = World::with(change, RULES).await;
    world
        .issued("asked", &world.gateway.trade("opaque").await)
        .await;
    let call = &world.op.calls()[0];
    assert!(!call.contains("authorization:"), "{call}");
    let (_, body) = call.split_once("\r\n\r\n").unwrap();
    let form = cambist::oauth::form::TokenForm::parse(body.as_bytes()).unwrap();
    assert_eq!(
        (form.value("client_id"), form.value("client_secret")),
        (Some("cambist"), Some(super::OP_SECRET))
    );
}
