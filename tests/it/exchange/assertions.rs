//! `private_key_jwt` (RFC 7521 §4.2, RFC 7523 §3): one test or one line for each rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cambist::jose::{Algorithm, SigningKey, base64url};
use cambist::oauth::NumericDate;
use cambist::reload::reload;
use serde_json::{Value, json};

use super::World;
use super::client_auth::replace_auth;
use crate::support::{
    ACCESS_TOKEN, Answer, EXCHANGE, Idp, NOW, Page, RULES, Site, basic, claims, with, without,
};

/// The time of these tests: long enough after the start that no assertion may be from before it.
pub const T: i64 = NOW + 60;
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `rs08` with a key of its own, and what it does with it.
pub struct Asserting {
    pub world: World,
    pub client: Idp,
    ids: AtomicU32,
}

impl Asserting {
    pub async fn start() -> Self {
        Self::with(Algorithm::ES256, "", |yaml| yaml).await
    }

    /// With further settings of the method, and a changed realm.
    pub async fn with(algorithm: Algorithm, more: &str, change: impl Fn(String) -> String) -> Self {
        let client = Idp::new("rs08", algorithm);
        let auth = format!("private_key_jwt: {{ jwks: {}{more} }}", client.jwks());
        let world = World::with(|yaml| change(replace_auth(&yaml, &auth)), RULES).await;
        world.gateway.clock.set(NumericDate(T));
        Self {
            world,
            client,
            ids: AtomicU32::new(0),
        }
    }

    /// A good assertion but for what is changed; each has an id of its own.
    pub fn claims(&self, changes: Value) -> Value {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let good = json!({
            "iss": "rs08", "sub": "rs08", "aud": "https://as.example.com",
            "iat": T, "exp": T + 60, "jti": format!("assertion-{id}"),
        });
        with(&good, &changes)
    }

    pub fn assertion(&self, changes: Value) -> String {
        self.client.typed("JWT", &self.claims(changes))
    }

    /// Exchanges with an assertion and further parameters.
    pub async fn ask(&self, assertion: &str, more: &[(&str, &str)]) -> Answer {
        let token = self.world.idp.token(&claims(json!({})));
        let mut all = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", "https://backend.example.com"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ];
        all.extend(more);
        self.world.gateway.post(None, &all).await
    }

    pub async fn taken(&self, what: &str, assertion: &str) {
        let answer = self.ask(assertion, &[]).await;
        self.world.issued(what, &answer).await;
        let who = json!({ "id": "rs08", "auth": "private_key_jwt" });
        assert_eq!(self.world.gateway.last()["client"], who, "{what}");
    }

    pub async fn refused(&self, what: &str, assertion: &str, reason: &str) -> Answer {
        let answer = self.ask(assertion, &[]).await;
        let unauthorized = answer.header("www-authenticate").is_some();
        assert_eq!((answer.status, unauthorized), (401, true), "{what}");
        self.world.refused(what, &answer, "invalid_client", reason);
        answer
    }
}

/// A client's keys may be fetched as an issuer's are: a rotation lands with its first assertion, and where the
/// keys cannot be had, nobody is let in and nobody is blamed.
#[tokio::test]
async fn the_keys_of_a_client_may_be_fetched() {
    let first = Idp::new("rs08", Algorithm::ES256);
    let jwks = first.jwks();
    let site = Site::start(move |_, _| Page::json(&jwks)).await;
    let auth = format!(
        "private_key_jwt: {{ jwks_uri: \"http://{}/jwks\", algorithms: [ES256], fetch: {{ timeout: 1s }} }}",
        site.address
    );
    let world = World::with(|yaml| replace_auth(&yaml, &auth), RULES).await;
    world.gateway.clock.set(NumericDate(T));
    let asserting = Asserting {
        world,
        client: first,
        ids: AtomicU32::new(0),
    };
    let good = asserting.assertion(json!({}));
    asserting.taken("the first key", &good).await;
    let metadata = asserting
        .world
        .gateway
        .get("/.well-known/oauth-authorization-server");
    assert_eq!(
        metadata.await.json()["token_endpoint_auth_signing_alg_values_supported"],
        json!(["ES256"])
    );
    let second = Idp::new("rs08", Algorithm::ES256);
    let jwks = second.jwks();
    site.says(move |_, _| Page::json(&jwks));
    let rotated = second.typed("JWT", &asserting.claims(json!({})));
    asserting.taken("the next key", &rotated).await;
    let withdrawn = asserting.assertion(json!({}));
    asserting
        .refused("withdrawn", &withdrawn, "assertion_kid")
        .await;
    // A key that nobody can be asked about.
    site.says(|_, _| Page::http("500 Internal Server Error", "", ""));
    asserting.world.gateway.clock.set(NumericDate(T + 120));
    let later = json!({ "iat": T + 120, "exp": T + 180 });
    let unknown = Idp::new("rs08", Algorithm::ES256).typed("JWT", &asserting.claims(later.clone()));
    let answer = asserting.ask(&unknown, &[]).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    asserting.world.refused(
        "not to be had",
        &answer,
        "temporarily_unavailable",
        "client_keys_unavailable",
    );
    let known = second.typed("JWT", &asserting.claims(later));
    asserting.taken("known keys serve", &known).await;
}

/// Strangers know ids of clients. What they send causes a look at a client's keys only where it could be that
/// client's, and none at all for a client that is disabled.
#[tokio::test]
async fn strangers_cause_no_fetches() {
    let client = Idp::new("rs08", Algorithm::ES256);
    let gone = Idp::new("gone", Algorithm::ES256);
    let (jwks, theirs) = (client.jwks(), gone.jwks());
    let site = Site::start(move |path, _| match path {
        "/jwks" => Page::json(&jwks),
        _ => Page::json(&theirs),
    })
    .await;
    let auth = |path: &str| {
        let at = site.address;
        format!("private_key_jwt: {{ jwks_uri: \"http://{at}{path}\", fetch: {{ timeout: 1s }} }}")
    };
    let disabled = format!(
        "clients:\n  gone: {{ enabled: false, auth: {{ {} }} }}\n",
        auth("/gone")
    );
    let change = |yaml: String| {
        let yaml = replace_auth(&yaml, &auth("/jwks"));
        yaml.replace("clients:\n", &disabled)
    };
    let world = World::with(change, RULES).await;
    world.gateway.clock.set(NumericDate(T));
    let a = Asserting {
        world,
        client,
        ids: AtomicU32::new(0),
    };
    a.taken("the client's", &a.assertion(json!({}))).await;
    let looks = site.calls("/jwks").len();
    let stranger = Idp::new("rs08", Algorithm::ES256);
    for changes in [
        json!({ "iss": "other" }),
        json!({ "aud": "https://other.example.com" }),
        json!({ "exp": T }),
        json!({ "iat": T + 6 }),
        json!({ "exp": T + 301 }),
        json!({ "jti": "" }),
        json!({ "jti": 7 }),
    ] {
        let what = changes.to_string();
        let forged = stranger.typed("JWT", &a.claims(changes));
        let answer = a.refused(&what, &forged, "assertion_kid").await;
        let text = &answer.json()["error_description"];
        assert_eq!(text, "client authentication failed", "{what}");
    }
    assert_eq!(site.calls("/jwks").len(), looks);
    // One that could be its own: its owner is asked.
    let forged = stranger.typed("JWT", &a.claims(json!({})));
    a.refused("well made", &forged, "assertion_kid").await;
    assert_eq!(site.calls("/jwks").len(), looks + 1);

    for key in [&gone, &stranger] {
        let named = json!({ "iss": "gone", "sub": "gone" });
        let assertion = key.typed("JWT", &a.claims(named));
        let answer = a.refused("disabled", &assertion, "client_disabled").await;
        let text = &answer.json()["error_description"];
        assert_eq!(text, "client authentication failed");
    }
    assert_eq!(site.calls("/gone"), [] as [String; 0]);
}

#[tokio::test]
async fn every_algorithm_that_we_verify_is_taken() {
    for algorithm in Algorithm::ALL {
        let asserting = Asserting::with(algorithm, "", |yaml| yaml).await;
        let good = asserting.assertion(json!({}));
        asserting.taken(algorithm.as_str(), &good).await;
        let metadata = asserting
            .world
            .gateway
            .get("/.well-known/oauth-authorization-server")
            .await
            .json();
        assert_eq!(
            (
                &metadata["token_endpoint_auth_methods_supported"],
                &metadata["token_endpoint_auth_signing_alg_values_supported"],
            ),
            (&json!(["private_key_jwt"]), &json!([algorithm.as_str()]))
        );
    }
}

#[tokio::test]
async fn what_an_assertion_may_be_like() {
    let a = Asserting::start().await;
    for changes in [
        json!({ "aud": ["https://as.example.com"] }),
        json!({ "nbf": T }),
        json!({ "nbf": T + 5, "iat": T + 5 }),
        json!({ "exp": T + 1 }),
        json!({ "iat": T - 50, "exp": T + 250 }),
        json!({ "exp": T + 60, "iat": f64::from(u32::try_from(T).unwrap()) - 0.5 }),
        json!({ "jti": "x".repeat(256) }),
        // Of no meaning here.
        json!({ "act": { "sub": "admin" }, "cnf": { "jkt": "x" }, "events": {}, "nonce": "n", "scope": "all" }),
    ] {
        let what = changes.to_string();
        a.taken(&what, &a.assertion(changes)).await;
    }
    for typ in ["jwt", "application/jwt", "client-authentication+jwt"] {
        a.taken(typ, &a.client.typed(typ, &a.claims(json!({}))))
            .await;
    }
    let header = without(
        &serde_json::from_str(&a.client.header(&json!({}))).unwrap(),
        "typ",
    );
    let payload = a.claims(json!({})).to_string();
    a.taken("without typ", &a.client.raw(&header.to_string(), &payload))
        .await;
    let header = without(&header, "kid").to_string();
    let payload = a.claims(json!({})).to_string();
    a.taken("the only key", &a.client.raw(&header, &payload))
        .await;
    let agrees = a
        .ask(&a.assertion(json!({})), &[("client_id", "rs08")])
        .await;
    assert_eq!(agrees.status, 200);
}

/// One line for each rule. None of them uses anything up.
#[tokio::test]
async fn rules_23_24_a_bad_assertion_for_each_rule() {
    let a = Asserting::start().await;
    let claims = |changes: Value| a.claims(with(&json!({ "jti": "the same" }), &changes));
    let signed = |changes: Value| a.client.typed("JWT", &claims(changes));
    let lacking = |name: &str| a.client.typed("JWT", &without(&claims(json!({})), name));
    let headed = |changes: Value| {
        let header = a.client.header(&with(&json!({ "typ": "JWT" }), &changes));
        a.client.raw(&header, &claims(json!({})).to_string())
    };
    let stranger = Idp::new("rs08", Algorithm::ES256);
    let same_kid = SigningKey::generate(Algorithm::ES256)
        .unwrap()
        .with_kid(a.client.key.kid().to_owned());
    let good = signed(json!({}));
    let unsigned = good.rsplit_once('.').unwrap().0;
    let hmac = format!(
        "{}.{}.{}",
        base64url::encode(r#"{"alg":"HS256"}"#),
        base64url::encode(claims(json!({})).to_string()),
        base64url::encode([7; 32])
    );
    let told = [
        // RFC 7523 §3 items 1, 2: `iss` and `sub`, strings, the client's id
        (
            "iss of another",
            signed(json!({ "iss": "other" })),
            "assertion_issuer",
        ),
        (
            "iss in a list",
            signed(json!({ "iss": ["rs08"] })),
            "assertion_claim",
        ),
        (
            "no sub",
            a.client.typed(
                "JWT",
                &with(&without(&claims(json!({})), "sub"), &json!({})),
            ),
            "client_auth_failed",
        ),
        (
            "sub in a list",
            signed(json!({ "sub": ["rs08"] })),
            "client_auth_failed",
        ),
        (
            "iss by an identifier",
            signed(json!({ "iss": "https://frontend.example.com" })),
            "assertion_issuer",
        ),
        // item 3 and its successor: us, alone
        ("no aud", lacking("aud"), "assertion_claim"),
        (
            "aud of another",
            signed(json!({ "aud": "https://other.example.com" })),
            "assertion_audience",
        ),
        (
            "aud with a slash",
            signed(json!({ "aud": "https://as.example.com/" })),
            "assertion_audience",
        ),
        (
            "aud of us and another",
            signed(json!({ "aud": ["https://as.example.com", "https://other.example.com"] })),
            "assertion_audience",
        ),
        (
            "aud of us twice",
            signed(json!({ "aud": ["https://as.example.com", "https://as.example.com"] })),
            "assertion_audience",
        ),
        (
            "aud the token endpoint",
            signed(json!({ "aud": "https://as.example.com/token" })),
            "assertion_audience",
        ),
        ("aud empty", signed(json!({ "aud": [] })), "assertion_claim"),
        (
            "aud a number",
            signed(json!({ "aud": 7 })),
            "assertion_claim",
        ),
        // item 4: `exp`
        ("no exp", lacking("exp"), "assertion_claim"),
        (
            "exp in words",
            signed(json!({ "exp": "1790000120" })),
            "assertion_claim",
        ),
        ("exp now", signed(json!({ "exp": T })), "assertion_expired"),
        (
            "exp past",
            signed(json!({ "iat": T - 100, "exp": T - 1 })),
            "assertion_expired",
        ),
        (
            "exp too far",
            signed(json!({ "exp": T + 301 })),
            "assertion_lifetime",
        ),
        (
            "exp before iat",
            signed(json!({ "iat": T + 4, "exp": T + 3 })),
            "assertion_lifetime",
        ),
        (
            "exp at iat",
            signed(json!({ "iat": T + 4, "exp": T + 4 })),
            "assertion_lifetime",
        ),
        (
            "iat too long ago",
            signed(json!({ "iat": T - 250 })),
            "assertion_lifetime",
        ),
        // items 5, 6: `nbf`, `iat`
        (
            "nbf later",
            signed(json!({ "nbf": T + 6 })),
            "assertion_not_yet",
        ),
        (
            "nbf null",
            signed(json!({ "nbf": null })),
            "assertion_claim",
        ),
        ("no iat", lacking("iat"), "assertion_claim"),
        (
            "iat later",
            signed(json!({ "iat": T + 6 })),
            "assertion_not_yet",
        ),
        (
            "iat in words",
            signed(json!({ "iat": "now" })),
            "assertion_claim",
        ),
        // item 7: `jti`
        ("no jti", lacking("jti"), "assertion_claim"),
        (
            "jti a number",
            signed(json!({ "jti": 7 })),
            "assertion_claim",
        ),
        ("jti empty", signed(json!({ "jti": "" })), "assertion_jti"),
        (
            "jti too long",
            signed(json!({ "jti": "x".repeat(257) })),
            "assertion_jti",
        ),
        // RFC 8725 §3.1, §3.11 and the envelope
        (
            "typ of an access token",
            headed(json!({ "typ": "at+jwt" })),
            "assertion_typ",
        ),
        (
            "typ of a DPoP proof",
            headed(json!({ "typ": "dpop+jwt" })),
            "assertion_typ",
        ),
        (
            "crit",
            headed(json!({ "crit": ["exp"] })),
            "assertion_malformed",
        ),
        (
            "alg none",
            headed(json!({ "alg": "none" })),
            "assertion_alg",
        ),
        (
            "alg of nobody",
            headed(json!({ "alg": "ES512" })),
            "assertion_alg",
        ),
        (
            "alg of another key",
            headed(json!({ "alg": "ES384" })),
            "assertion_alg",
        ),
        ("client_secret_jwt", hmac, "assertion_hmac"),
        (
            "kid unknown",
            headed(json!({ "kid": "other" })),
            "assertion_kid",
        ),
        ("kid a number", headed(json!({ "kid": 7 })), "assertion_kid"),
        (
            "no signature",
            format!("{unsigned}."),
            "assertion_signature",
        ),
        ("two parts", unsigned.to_owned(), "assertion_malformed"),
        (
            "of a stranger",
            stranger.typed("JWT", &claims(json!({}))),
            "assertion_kid",
        ),
        (
            "of a stranger with our kid",
            same_kid.compact("JWT", &claims(json!({}))).unwrap(),
            "assertion_signature",
        ),
        (
            "no JSON",
            a.client
                .raw(&a.client.header(&json!({ "typ": "JWT" })), "nonsense"),
            "client_auth_failed",
        ),
        (
            "sub twice",
            a.client.raw(
                &a.client.header(&json!({ "typ": "JWT" })),
                r#"{"sub":"rs08","sub":"rs08"}"#,
            ),
            "client_auth_failed",
        ),
    ];
    for (what, assertion, reason) in &told {
        let answer = a.refused(what, assertion, reason).await;
        let text = answer.json()["error_description"]
            .as_str()
            .unwrap()
            .to_owned();
        // What only depends on whom we know is not told.
        let silent = matches!(
            *reason,
            "assertion_kid" | "assertion_signature" | "client_auth_failed"
        ) && !["kid a number", "no signature"].contains(what);
        assert_eq!(
            text == "client authentication failed",
            silent || *what == "alg of another key",
            "{what}: {text}"
        );
        assert!(
            !a.world
                .gateway
                .last()
                .to_string()
                .contains(assertion.as_str()),
            "{what}"
        );
    }
    a.taken("nothing was used up", &good).await;
    a.refused("and now it is", &good, "assertion_replayed")
        .await;
    let other = signed(json!({ "exp": T + 61 }));
    a.refused("also under another signature", &other, "assertion_replayed")
        .await;
}

#[tokio::test]
async fn a12_rules_21_22_an_assertion_beside_anything_else_is_refused() {
    let a = Asserting::start().await;
    let good = a.assertion(json!({}));
    let secret = [("client_id", "rs08"), ("client_secret", "whatever")];
    for more in [&secret[..], &secret[1..]] {
        let answer = a.ask(&good, more).await;
        a.world.refused(
            "a12: secret",
            &answer,
            "invalid_request",
            "client_auth_several",
        );
    }
    let token = a.world.idp.token(&claims(json!({})));
    let all = [
        ("grant_type", EXCHANGE),
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://backend.example.com"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", &good),
    ];
    let header = basic("rs08", super::client_auth::SECRET_OF_NOBODY);
    let answer = a.world.gateway.post(Some(&header), &all).await;
    a.world.refused(
        "a12: basic",
        &answer,
        "invalid_request",
        "client_auth_several",
    );
    let answer = a.ask(&good, &[("client_id", "other")]).await;
    a.world.refused(
        "rfc7521 4.2",
        &answer,
        "invalid_client",
        "client_id_disagrees",
    );
    a.taken("nothing was used up", &good).await;
}

#[tokio::test]
async fn rule_14_one_token_has_one_meaning() {
    let a = Asserting::start().await;
    let token = a.world.idp.token(&claims(json!({})));
    a.refused("a subject token", &token, "assertion_typ").await;
    let typed = a
        .world
        .idp
        .typed("JWT", &claims(json!({ "sub": "rs08", "iss": "rs08" })));
    a.refused("a subject token of that name", &typed, "assertion_kid")
        .await;
    let good = a.assertion(json!({}));
    let subject = a.world.idp.token(&claims(json!({})));
    for more in [
        vec![
            ("subject_token", &*good),
            ("subject_token_type", ACCESS_TOKEN),
        ],
        vec![
            ("subject_token", &*good),
            ("subject_token_type", crate::support::JWT),
        ],
        vec![
            ("subject_token", &*subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("actor_token", &*good),
            ("actor_token_type", crate::support::JWT),
        ],
    ] {
        let mut all = vec![
            ("grant_type", EXCHANGE),
            ("resource", "https://backend.example.com"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &*good),
        ];
        all.extend(more);
        let answer = a.world.gateway.post(None, &all).await;
        a.world
            .refused("both", &answer, "invalid_client", "assertion_other_use");
    }
    a.taken("nothing was used up", &good).await;
}

#[tokio::test]
async fn the_token_endpoint_is_an_audience_only_where_configured() {
    let a = Asserting::with(
        Algorithm::ES256,
        ", legacy_audience: token_endpoint",
        |yaml| yaml,
    )
    .await;
    for aud in [
        json!("https://as.example.com"),
        json!("https://as.example.com/token"),
        json!(["https://as.example.com/token"]),
    ] {
        a.taken(&aud.to_string(), &a.assertion(json!({ "aud": aud })))
            .await;
    }
    for aud in [
        json!(["https://as.example.com", "https://as.example.com/token"]),
        json!("https://as.example.com/token/"),
        json!("https://as.example.com/jwks"),
    ] {
        let bad = a.assertion(json!({ "aud": aud }));
        a.refused(&aud.to_string(), &bad, "assertion_audience")
            .await;
    }
}

#[tokio::test]
async fn lifetime_and_leeway_are_as_configured() {
    let a = Asserting::with(Algorithm::ES256, ", max_lifetime: 1h, leeway: 0s", |yaml| {
        yaml
    })
    .await;
    a.taken("an hour", &a.assertion(json!({ "exp": T + 3600 })))
        .await;
    let bad = a.assertion(json!({ "exp": T + 3601 }));
    a.refused("longer", &bad, "assertion_lifetime").await;
    let bad = a.assertion(json!({ "iat": T + 1 }));
    a.refused("ahead", &bad, "assertion_not_yet").await;
}

#[tokio::test]
async fn two_keys_during_a_rotation_are_told_apart_by_kid() {
    let next = Idp::new("rs08", Algorithm::ES256);
    let a = Asserting::with(Algorithm::ES256, "", |yaml| {
        let key = next.key.public_jwk().to_string();
        yaml.replace("jwks: {\"keys\":[", &format!("jwks: {{\"keys\":[{key},"))
    })
    .await;
    a.taken("the old one", &a.assertion(json!({}))).await;
    a.taken("the new one", &next.typed("JWT", &a.claims(json!({}))))
        .await;
    let header = json!({ "alg": "ES256" }).to_string();
    let unnamed = a.client.raw(&header, &a.claims(json!({})).to_string());
    a.refused("without kid", &unnamed, "assertion_kid").await;
}

/// A key is its client's, and nobody else's.
#[tokio::test]
async fn a28_rule_22_a_client_cannot_speak_for_another() {
    let other = Idp::new("other", Algorithm::ES256);
    let a = Asserting::with(Algorithm::ES256, "", |yaml| {
        let entry = format!(
            "  other: {{ auth: {{ private_key_jwt: {{ jwks: {} }} }} }}\nresources:",
            other.jwks()
        );
        yaml.replace("resources:", &entry)
    })
    .await;
    let forged = other.typed("JWT", &a.claims(json!({})));
    a.refused("rs08 by other", &forged, "assertion_kid").await;
    // Ids of two clients do not meet: `other` used it, `rs08` still may.
    let id = json!({ "jti": "one" });
    let theirs = other.typed(
        "JWT",
        &a.claims(with(&id, &json!({ "iss": "other", "sub": "other" }))),
    );
    let answer = a.ask(&theirs, &[]).await;
    a.world.refused(
        "no rule for other",
        &answer,
        "invalid_request",
        "audience_wrong",
    );
    assert_eq!(a.world.gateway.last()["client"]["id"], "other");
    a.taken("rs08", &a.assertion(id)).await;
    let answer = a.ask(&theirs, &[]).await;
    a.world
        .refused("used", &answer, "invalid_client", "assertion_replayed");
}

/// A25, under a race: fifty requests at once with one assertion.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a25_rule_24_of_fifty_requests_with_one_assertion_one_is_answered() {
    let a = Arc::new(Asserting::start().await);
    for round in 0..3 {
        let assertion = Arc::new(a.assertion(json!({})));
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let (a, assertion) = (Arc::clone(&a), Arc::clone(&assertion));
                tokio::spawn(async move { a.ask(&assertion, &[]).await.status })
            })
            .collect();
        let mut answers = Vec::new();
        for request in requests {
            answers.push(request.await.unwrap());
        }
        answers.sort_unstable();
        assert_eq!(answers[0], 200, "round {round}");
        assert!(
            answers[1..].iter().all(|status| *status == 401),
            "{answers:?}"
        );
    }
    let records = a.world.gateway.records();
    let replayed = |record: &&Value| record["reason"] == "assertion_replayed";
    assert_eq!(records.iter().filter(replayed).count(), 3 * 49);
}

#[tokio::test]
async fn where_there_is_no_room_nobody_is_let_in_and_nothing_is_forgotten() {
    let other = Idp::new("other", Algorithm::ES256);
    let a = Asserting::with(Algorithm::ES256, "", |yaml| {
        let entry = format!(
            "  other: {{ auth: {{ private_key_jwt: {{ jwks: {} }} }} }}\n\
             replay: {{ capacity: 4, per_client: 3 }}\nresources:",
            other.jwks()
        );
        yaml.replace("resources:", &entry)
    })
    .await;
    let used: Vec<String> = (0..3).map(|_| a.assertion(json!({}))).collect();
    for assertion in &used {
        a.taken("room", assertion).await;
    }
    let unavailable = |answer: &Answer, reason: &str| {
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("2"))
        );
        a.world
            .refused(reason, answer, "temporarily_unavailable", reason);
    };
    let waiting = a.assertion(json!({}));
    let answer = a.ask(&waiting, &[]).await;
    unavailable(&answer, "assertion_no_room_for_client");
    let theirs = |id: &str| {
        let claims = json!({ "iss": "other", "sub": "other", "jti": id });
        other.typed("JWT", &a.claims(claims))
    };
    let answer = a.ask(&theirs("1"), &[]).await;
    a.world.refused(
        "others have room",
        &answer,
        "invalid_request",
        "audience_wrong",
    );
    let answer = a.ask(&theirs("2"), &[]).await;
    unavailable(&answer, "assertion_no_room");
    for assertion in &used {
        a.refused("used", assertion, "assertion_replayed").await;
    }
    // Whoever cannot sign for a client takes no room away.
    let forged = Idp::new("rs08", Algorithm::ES256).typed("JWT", &a.claims(json!({})));
    a.refused("forged", &forged, "assertion_kid").await;
    let metrics = a.world.gateway.admin("/metrics").await.body;
    for line in [
        "cambist_replay_refused_total{reason=\"full\"} 1",
        "cambist_replay_refused_total{reason=\"owner_full\"} 1",
        "cambist_replay_entries 4",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // When they have expired, there is room.
    a.world.gateway.clock.set(NumericDate(T + 80));
    let later = a.assertion(json!({ "iat": T + 80, "exp": T + 120 }));
    a.taken("room again", &later).await;
}

/// A16: what was used before a restart cannot be known; so nothing from before it is taken.
#[tokio::test]
async fn a16_nothing_from_before_the_start_is_taken() {
    let a = Asserting::start().await;
    let at = |now: i64| a.world.gateway.clock.set(NumericDate(now));
    let issued = |iat: i64| a.assertion(json!({ "iat": iat, "exp": iat + 120 }));
    at(NOW);
    let first = issued(NOW);
    let answer = a.ask(&first, &[]).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("2"))
    );
    a.world.refused(
        "now",
        &answer,
        "temporarily_unavailable",
        "assertion_before_start",
    );
    // As it was told, the client comes back with a new one; a clock may be ahead by the leeway.
    at(NOW + 5);
    let answer = a.ask(&issued(NOW + 5), &[]).await;
    assert_eq!(answer.status, 503);
    at(NOW + 6);
    a.taken("after the leeway", &issued(NOW + 6)).await;
    at(NOW + 31);
    a.refused("kept for later", &first, "assertion_before_start")
        .await;
}

/// F24, and: a reload forgets nothing.
#[tokio::test]
async fn neither_a_reload_nor_a_clock_that_steps_back_brings_an_assertion_back() {
    let a = Asserting::start().await;
    let gateway = &a.world.gateway;
    let used = a.assertion(json!({}));
    a.taken("once", &used).await;
    std::fs::write(
        gateway.dir().join("main.policy"),
        format!("{RULES}\n# again\n"),
    )
    .unwrap();
    let outcome = reload(&gateway.running.gateway, gateway.dir());
    assert_eq!(outcome.name(), "applied");
    a.refused("after a reload", &used, "assertion_replayed")
        .await;
    gateway.clock.set(NumericDate(T + 200));
    a.refused("expired", &used, "assertion_expired").await;
    for _ in 0..40 {
        let fresh = a.assertion(json!({ "iat": T + 200, "exp": T + 260 }));
        a.taken("meanwhile", &fresh).await;
    }
    gateway.clock.set(NumericDate(T));
    let answer = a.ask(&used, &[]).await;
    let reason = gateway.last()["reason"].clone();
    assert!(
        (answer.status, &reason) == (401, &json!("assertion_replayed"))
            || (answer.status, &reason) == (503, &json!("assertion_clock")),
        "{answer:?} {reason}"
    );
}

/// After a start it is not ready until a client's new assertion can be told from one that was used before.
#[tokio::test]
async fn a16_not_ready_before_assertions_can_be_told_apart() {
    let asserting = Asserting::start().await;
    let gateway = &asserting.world.gateway;
    for (after, status) in [(0, 503), (5, 503), (6, 200)] {
        gateway.clock.set(NumericDate(NOW + after));
        let answer = gateway.admin("/readyz?verbose").await;
        assert_eq!(answer.status, status, "{after}: {}", answer.body);
        assert!(answer.body.contains("client assertions"), "{}", answer.body);
    }
}
