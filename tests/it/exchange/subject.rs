//! JWTs as subject tokens, rule by rule (RFC 7519, 7523, 8693, 8725, 9068) and incident by incident.

use cambist::jose::{Algorithm, base64url};
use cambist::oauth::NumericDate;
use serde_json::{Value, json};

use super::World;
use crate::support::{ACCESS_TOKEN, Gateway, Idp, JWT, NOW, RULES, claims, with, without};

const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Claims that are refused, each with what is changed and the reason in the record.
async fn all_refused(cases: &[(&str, Value, &str)]) {
    let world = World::start().await;
    for (what, changes, reason) in cases {
        let token = world.idp.token(&claims(changes.clone()));
        let answer = world.gateway.trade(&token).await;
        world.refused(what, &answer, "invalid_request", reason);
    }
    assert_eq!(world.op.calls(), [] as [String; 0]);
    // Nothing else was wrong with them.
    let answer = world
        .gateway
        .trade(&world.idp.token(&claims(json!({}))))
        .await;
    world.issued("unchanged", &answer).await;
}

#[tokio::test]
async fn rule_36_a_good_token_gives_one_of_ours() {
    let world = World::start().await;
    let answer = world
        .gateway
        .trade(
            &world
                .idp
                .token(&claims(json!({ "email": "a@example.com" }))),
        )
        .await;
    let mut issued = world.issued("good", &answer).await;
    issued["jti"].take();
    // Rule 39: no claim that is not named is copied.
    assert_eq!(
        issued,
        json!({
            "iss": "https://as.example.com", "sub": "alice", "aud": "https://backend.example.com",
            "client_id": "rs08", "scope": "api profile", "iat": NOW, "exp": NOW + 60, "jti": null,
        })
    );
}

#[tokio::test]
async fn rule_1_one_key_one_algorithm_for_each_that_we_make() {
    for algorithm in [
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
        Algorithm::RS256,
    ] {
        let idp = Idp::new("https://idp.example.com", algorithm);
        let world = World::with(
            |yaml| yaml.replace("jwks_file: idp.json", &format!("jwks: {}", idp.jwks())),
            RULES,
        )
        .await;
        let answer = world.gateway.trade(&idp.token(&claims(json!({})))).await;
        world.issued(algorithm.as_str(), &answer).await;
        for other in ["ES256", "ES384", "EdDSA", "RS256", "RS512", "PS256"] {
            if other != algorithm.as_str() {
                let header = idp.header(&json!({ "alg": other }));
                let token = idp.raw(&header, &idp.payload(&claims(json!({}))));
                let answer = world.gateway.trade(&token).await;
                world.refused(other, &answer, "invalid_request", "alg_not_of_key");
            }
        }
    }
}

#[tokio::test]
async fn rule_1_algorithms_narrow_what_an_issuer_may_use() {
    let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
    let jwks =
        json!({ "keys": [idp.key.public_jwk(), Idp::new("x", Algorithm::EdDSA).key.public_jwk()] });
    let change = |yaml: String| {
        yaml.replace(
            "jwks_file: idp.json",
            &format!("algorithms: [EdDSA], jwks: {jwks}"),
        )
    };
    let world = World::with(change, RULES).await;
    let answer = world.gateway.trade(&idp.token(&claims(json!({})))).await;
    // Its key is not even in the set.
    world.refused("ES256", &answer, "invalid_request", "kid_unknown");
}

#[tokio::test]
async fn a11_b2_rules_2_3_10_13_headers_that_are_refused() {
    let world = World::start().await;
    let idp = &world.idp;
    let payload = idp.payload(&claims(json!({})));
    let signed = |changes: Value| idp.raw(&idp.header(&changes), &payload);
    let unsigned = |alg: &str| {
        let header = idp.header(&json!({ "alg": alg }));
        format!(
            "{}.{}.",
            base64url::encode(header),
            base64url::encode(&payload)
        )
    };
    // The public key as the secret of an HMAC, as the classic attack has it: no key of ours could
    // check it, whatever stands behind the last dot.
    let public = idp.key.public_jwk().to_string();
    let mut duplicate = idp.header(&json!({}));
    duplicate.insert_str(1, "\"alg\":\"none\",");
    let cases = [
        ("alg none", unsigned("none"), "alg_none"),
        ("alg None", unsigned("None"), "alg_none"),
        (
            "alg none, signed",
            signed(json!({ "alg": "none" })),
            "alg_none",
        ),
        (
            "alg HS256 with the public key",
            signed(json!({ "alg": "HS256", "k": public })),
            "alg_symmetric",
        ),
        (
            "alg HS512",
            signed(json!({ "alg": "HS512" })),
            "alg_symmetric",
        ),
        (
            "alg es256",
            signed(json!({ "alg": "es256" })),
            "alg_unsupported",
        ),
        (
            "alg a number",
            signed(json!({ "alg": 256 })),
            "alg_malformed",
        ),
        ("no signature", unsigned("ES256"), "signature_missing"),
        (
            "rule 10: crit",
            signed(json!({ "crit": ["exp"], "exp": NOW })),
            "crit_unknown",
        ),
        (
            "rule 10: crit empty",
            signed(json!({ "crit": [] })),
            "crit_unknown",
        ),
        (
            "rule 10: crit null",
            signed(json!({ "crit": null })),
            "crit_unknown",
        ),
        (
            "rule 10: b64",
            signed(json!({ "b64": false })),
            "b64_unsupported",
        ),
        ("zip", signed(json!({ "zip": "DEF" })), "zip_unsupported"),
        (
            "rule 3: nested",
            signed(json!({ "cty": "JWT" })),
            "nested_jwt",
        ),
        (
            "rule 3: alg of a JWE",
            signed(json!({ "alg": "RSA-OAEP" })),
            "jwe_not_jws",
        ),
        (
            "rule 13: kid unknown",
            signed(json!({ "kid": "other" })),
            "kid_unknown",
        ),
        (
            "rule 13: kid a path",
            signed(json!({ "kid": "../../etc/passwd" })),
            "kid_unknown",
        ),
        (
            "rule 13: kid a number",
            signed(json!({ "kid": 1 })),
            "kid_malformed",
        ),
        (
            "rule 13: kid too long",
            signed(json!({ "kid": "k".repeat(257) })),
            "kid_malformed",
        ),
        (
            "rule 11: a header member twice",
            idp.raw(&duplicate, &payload),
            "header_invalid_json",
        ),
        (
            "rule 11: bytes after the header",
            idp.raw(&format!("{} {{}}", idp.header(&json!({}))), &payload),
            "header_invalid_json",
        ),
    ];
    for (what, token, reason) in cases {
        let answer = world.gateway.trade(&token).await;
        world.refused(what, &answer, "invalid_request", reason);
    }
    // A key in the header is nobody's: neither trusted nor fetched (B7).
    let stranger = Idp::new("https://idp.example.com", Algorithm::ES256);
    for (what, changes) in [
        (
            "jwk",
            json!({ "kid": idp.key.kid(), "jwk": stranger.key.public_jwk() }),
        ),
        (
            "jku",
            json!({ "kid": idp.key.kid(), "jku": format!("http://{}/jwks", world.op.address) }),
        ),
        (
            "x5u",
            json!({ "kid": idp.key.kid(), "x5u": format!("http://{}/cert", world.op.address) }),
        ),
    ] {
        let token = stranger.raw(&stranger.header(&changes), &payload);
        let answer = world.gateway.trade(&token).await;
        world.refused(what, &answer, "invalid_request", "signature_invalid");
    }
    assert_eq!(world.op.calls(), [] as [String; 0]);
}

#[tokio::test]
async fn rule_3_encrypted_tokens_are_refused_unread() {
    let world = World::start().await;
    let header = base64url::encode(r#"{"alg":"dir","enc":"A128GCM"}"#);
    let answer = world
        .gateway
        .trade(&format!("{header}..AAAA.AAAA.AAAA"))
        .await;
    world.refused("JWE", &answer, "invalid_request", "jwe_not_jws");
    assert_eq!(world.op.calls(), [] as [String; 0]);
}

#[tokio::test]
async fn rule_4_keys_are_bound_to_the_issuer() {
    let world = World::start().await;
    let (idp, partner) = (&world.idp, &world.partner);
    // The partner signs, with its own key and kid, what claims to be from the idp.
    let lie = partner.token(&claims(json!({ "iss": idp.issuer })));
    let answer = world.gateway.trade(&lie).await;
    world.refused(
        "the partner's kid",
        &answer,
        "invalid_request",
        "kid_unknown",
    );
    // The same under the idp's kid.
    let header = partner.header(&json!({ "kid": idp.key.kid(), "alg": "ES256" }));
    let other = Idp::new("https://idp.example.com", Algorithm::ES256);
    let answer = world
        .gateway
        .trade(&other.raw(&header, &other.payload(&claims(json!({})))))
        .await;
    world.refused(
        "the idp's kid",
        &answer,
        "invalid_request",
        "signature_invalid",
    );
    // And an idp that speaks for the partner.
    let lie = idp.token(&claims(
        json!({ "iss": partner.issuer, "aud": "https://as.example.com" }),
    ));
    let answer = world.gateway.trade(&lie).await;
    world.refused(
        "the idp for the partner",
        &answer,
        "invalid_request",
        "kid_unknown",
    );
}

#[tokio::test]
async fn rule_4_two_issuers_with_keys_of_one_algorithm_and_one_kid() {
    let (a, b) = (
        Idp::new("https://idp.example.com", Algorithm::ES256),
        Idp::new("https://partner.example.com", Algorithm::ES256),
    );
    let jwks =
        |idp: &Idp| json!({ "keys": [with(&idp.key.public_jwk(), &json!({ "kid": "same" }))] });
    let change = |yaml: String| {
        yaml.replace("jwks_file: idp.json", &format!("jwks: {}", jwks(&a)))
            .replace("jwks_file: partner.json", &format!("jwks: {}", jwks(&b)))
    };
    let world = World::with(change, RULES).await;
    let sign = |by: &Idp, claims: Value| {
        by.raw(&by.header(&json!({ "kid": "same" })), &claims.to_string())
    };
    let for_a = with(&claims(json!({})), &json!({ "iss": a.issuer }));
    let answer = world.gateway.trade(&sign(&a, for_a.clone())).await;
    world.issued("A by A", &answer).await;
    let answer = world.gateway.trade(&sign(&b, for_a)).await;
    world.refused("A by B", &answer, "invalid_request", "signature_invalid");
}

#[tokio::test]
async fn b3_rule_5_iss_is_a_string_byte_equal_to_a_configured_issuer() {
    all_refused(&[
        (
            "unknown",
            json!({ "iss": "https://nobody.example.com" }),
            "issuer_unknown",
        ),
        (
            "b3: an array",
            json!({ "iss": ["https://idp.example.com"] }),
            "iss_malformed",
        ),
        ("a number", json!({ "iss": 1 }), "iss_malformed"),
        ("null", json!({ "iss": null }), "iss_malformed"),
        ("empty", json!({ "iss": "" }), "issuer_unknown"),
        (
            "with a slash",
            json!({ "iss": "https://idp.example.com/" }),
            "issuer_unknown",
        ),
        (
            "in capitals",
            json!({ "iss": "https://IDP.example.com" }),
            "issuer_unknown",
        ),
        (
            "with a space",
            json!({ "iss": "https://idp.example.com " }),
            "issuer_unknown",
        ),
        (
            "longer",
            json!({ "iss": "https://idp.example.com.evil.example" }),
            "issuer_unknown",
        ),
        ("an alias", json!({ "iss": "idp" }), "issuer_unknown"),
    ])
    .await;
    let world = World::start().await;
    let idp = &world.idp;
    let answer = world
        .gateway
        .trade(&idp.raw(&idp.header(&json!({})), &claims(json!({})).to_string()))
        .await;
    world.refused("missing", &answer, "invalid_request", "iss_missing");
}

#[tokio::test]
async fn a22_a23_b4_rule_6_aud_is_addressed_to_the_client_byte_for_byte() {
    all_refused(&[
        ("b4: an empty array", json!({ "aud": [] }), "claim_invalid"),
        ("empty", json!({ "aud": "" }), "claim_invalid"),
        (
            "an empty member",
            json!({ "aud": ["rs08", ""] }),
            "claim_invalid",
        ),
        ("b1: a number", json!({ "aud": 8 }), "claim_invalid"),
        ("null", json!({ "aud": null }), "claim_invalid"),
        (
            "a mixed array",
            json!({ "aud": ["rs08", 8] }),
            "claim_invalid",
        ),
        (
            "an object",
            json!({ "aud": { "rs08": true } }),
            "claim_invalid",
        ),
        (
            "a22: another client",
            json!({ "aud": "other" }),
            "audience_wrong",
        ),
        (
            "us, where the client is wanted",
            json!({ "aud": "https://as.example.com" }),
            "audience_wrong",
        ),
        ("a23: a prefix", json!({ "aud": "rs0" }), "audience_wrong"),
        (
            "a23: longer",
            json!({ "aud": "rs08-evil" }),
            "audience_wrong",
        ),
        (
            "a23: inside",
            json!({ "aud": "x rs08 y" }),
            "audience_wrong",
        ),
        ("capitals", json!({ "aud": "RS08" }), "audience_wrong"),
        ("any is no name", json!({ "aud": "any" }), "audience_wrong"),
    ])
    .await;
    let world = World::start().await;
    let missing = without(&claims(json!({})), "aud");
    let answer = world.gateway.trade(&world.idp.token(&missing)).await;
    world.refused("missing", &answer, "invalid_request", "claim_invalid");
    for aud in [
        json!("rs08"),
        json!(["rs08"]),
        json!(["x", "rs08"]),
        json!("https://frontend.example.com"),
    ] {
        let answer = world
            .gateway
            .trade(&world.idp.token(&claims(json!({ "aud": aud }))))
            .await;
        world.issued(&aud.to_string(), &answer).await;
    }
}

#[tokio::test]
async fn rule_6_aud_by_the_other_rules_of_an_issuer() {
    for (rule, good, bad) in [
        ("self", "https://as.example.com", "rs08"),
        ("[api-one, api-two]", "api-two", "api-three"),
    ] {
        let world = World::with(
            |yaml| yaml.replace("audience: client", &format!("audience: {rule}")),
            RULES,
        )
        .await;
        let token = |aud: &str| world.idp.token(&claims(json!({ "aud": aud })));
        world
            .issued(rule, &world.gateway.trade(&token(good)).await)
            .await;
        let answer = world.gateway.trade(&token(bad)).await;
        world.refused(rule, &answer, "invalid_request", "audience_wrong");
    }
    let world = World::with(
        |yaml| yaml.replace("audience: client", "audience: any"),
        RULES,
    )
    .await;
    let answer = world
        .gateway
        .trade(&world.idp.token(&claims(json!({ "aud": "whoever" }))))
        .await;
    world.issued("any", &answer).await;
    let answer = world
        .gateway
        .trade(&world.idp.token(&without(&claims(json!({})), "aud")))
        .await;
    world.refused(
        "any, but there is none",
        &answer,
        "invalid_request",
        "claim_invalid",
    );
}

#[tokio::test]
async fn rule_7_exp_is_a_number_in_the_future() {
    all_refused(&[
        ("past", json!({ "exp": NOW - 1 }), "token_expired"),
        ("now", json!({ "exp": NOW }), "token_expired"),
        ("long ago", json!({ "exp": 0 }), "token_expired"),
        (
            "half a second ago",
            json!({ "exp": NOW as f64 - 0.5 }),
            "token_expired",
        ),
        (
            "within this second",
            json!({ "exp": NOW as f64 + 0.9 }),
            "token_expired",
        ),
        (
            "b1: a string",
            json!({ "exp": (NOW + 600).to_string() }),
            "claim_invalid",
        ),
        ("null", json!({ "exp": null }), "claim_invalid"),
        ("1e300", json!({ "exp": 1e300 }), "claim_invalid"),
        ("b6: negative", json!({ "exp": -1 }), "claim_invalid"),
        ("b6: the least", json!({ "exp": i64::MIN }), "claim_invalid"),
        ("the largest", json!({ "exp": u64::MAX }), "claim_invalid"),
        ("an array", json!({ "exp": [NOW + 600] }), "claim_invalid"),
    ])
    .await;
    let world = World::start().await;
    let missing = without(&claims(json!({})), "exp");
    let answer = world.gateway.trade(&world.idp.token(&missing)).await;
    world.refused("missing", &answer, "invalid_request", "claim_invalid");
    // The end of time is no reason to issue for longer than the rule says.
    let token = world
        .idp
        .token(&claims(json!({ "exp": 253_402_300_799_i64 })));
    let answer = world.gateway.trade(&token).await;
    assert_eq!(
        world.issued("the year 9999", &answer).await["exp"],
        NOW + 60
    );
    let answer = world
        .gateway
        .trade(
            &world
                .idp
                .token(&claims(json!({ "exp": NOW as f64 + 30.5 }))),
        )
        .await;
    assert_eq!(world.issued("a fraction", &answer).await["exp"], NOW + 30);
}

#[tokio::test]
async fn rule_8_nbf_and_iat_are_numbers_and_not_in_the_future_beyond_leeway() {
    let mut cases = Vec::new();
    for name in ["nbf", "iat", "auth_time"] {
        cases.push((
            "beyond the leeway",
            json!({ name: NOW + 31 }),
            "token_not_yet_valid",
        ));
        cases.push((
            "a string",
            json!({ name: NOW.to_string() }),
            "claim_invalid",
        ));
        cases.push(("null", json!({ name: null }), "claim_invalid"));
        cases.push(("negative", json!({ name: -5 }), "claim_invalid"));
    }
    all_refused(&cases).await;
    let world = World::start().await;
    for name in ["nbf", "iat", "auth_time"] {
        let answer = world
            .gateway
            .trade(&world.idp.token(&claims(json!({ name: NOW + 30 }))))
            .await;
        world.issued(name, &answer).await;
    }
    let strict = World::with(
        |yaml| yaml.replace("subjects: local", "subjects: local, leeway: 0s"),
        RULES,
    )
    .await;
    let answer = strict
        .gateway
        .trade(&strict.idp.token(&claims(json!({ "nbf": NOW + 1 }))))
        .await;
    strict.refused(
        "no leeway",
        &answer,
        "invalid_request",
        "token_not_yet_valid",
    );
}

#[tokio::test]
async fn rule_9_sub_is_a_string_that_is_not_empty() {
    all_refused(&[
        ("empty", json!({ "sub": "" }), "claim_invalid"),
        ("b1: a number", json!({ "sub": 7 }), "claim_invalid"),
        ("null", json!({ "sub": null }), "claim_invalid"),
        ("an array", json!({ "sub": ["alice"] }), "claim_invalid"),
        (
            "with a line end",
            json!({ "sub": "alice\nbob" }),
            "claim_invalid",
        ),
        (
            "too long",
            json!({ "sub": "a".repeat(1025) }),
            "claim_invalid",
        ),
    ])
    .await;
    let world = World::start().await;
    let missing = without(&claims(json!({})), "sub");
    let answer = world.gateway.trade(&world.idp.token(&missing)).await;
    world.refused("missing", &answer, "invalid_request", "claim_invalid");
}

#[tokio::test]
async fn b1_rule_9_other_registered_claims_have_their_types_too() {
    all_refused(&[
        ("client_id", json!({ "client_id": 1 }), "claim_invalid"),
        ("azp", json!({ "azp": [] }), "claim_invalid"),
        ("acr", json!({ "acr": 1 }), "claim_invalid"),
        ("amr", json!({ "amr": [1] }), "claim_invalid"),
        ("jti", json!({ "jti": 1 }), "claim_invalid"),
        ("scope", json!({ "scope": 1 }), "claim_invalid"),
        (
            "scope with a tab",
            json!({ "scope": "api\tprofile" }),
            "claim_invalid",
        ),
        ("scope null", json!({ "scope": null }), "claim_invalid"),
    ])
    .await;
}

#[tokio::test]
async fn rule_11_duplicate_members_and_trailing_bytes() {
    let world = World::start().await;
    let idp = &world.idp;
    let good = idp.payload(&claims(json!({})));
    let twice = good.replacen('{', r#"{"sub":"mallory","#, 1);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep = good.replacen('{', &format!(r#"{{"x":{deep},"#), 1);
    for (what, payload) in [
        ("a member twice", twice.as_str()),
        ("bytes after it", &format!("{good}x")),
        ("a second object", &format!("{good}{good}")),
        ("b8: 200 levels deep", &deep),
        ("an array", "[]"),
        ("a string", "\"x\""),
        ("not UTF-8", "{\"iss\":\"\u{0}\"}"),
        ("nothing that is JSON", "iss=https://idp.example.com"),
    ] {
        let answer = world
            .gateway
            .trade(&idp.raw(&idp.header(&json!({})), payload))
            .await;
        assert_eq!(answer.error(), "invalid_request", "{what}");
        let reason = world.gateway.last()["reason"].clone();
        assert!(
            ["payload_invalid_json", "issuer_unknown"].contains(&reason.as_str().unwrap()),
            "{what}: {reason}"
        );
    }
    assert_eq!(world.op.calls(), [] as [String; 0]);
}

#[tokio::test]
async fn a2_rule_12_too_long_a_token_is_refused() {
    let world = World::start().await;
    let token = world
        .idp
        .token(&claims(json!({ "x": "x".repeat(16 * 1024) })));
    let answer = world.gateway.trade(&token).await;
    world.refused(
        "a2: long tokens are refused, not dropped",
        &answer,
        "invalid_request",
        "token_too_large",
    );
}

#[tokio::test]
async fn rule_14_typ_goes_with_the_declared_type() {
    let world = World::start().await;
    let token = |typ: &str| world.idp.typed(typ, &claims(json!({})));
    // (typ, as an access token, as a JWT)
    for (typ, access, jwt) in [
        ("at+jwt", true, true),
        ("AT+JWT", true, true),
        ("application/at+jwt", true, true),
        ("JWT", false, true), // an ID token, most often
        ("application/jwt", false, true),
        ("logout+jwt", false, false), // a14
        ("dpop+jwt", false, false),
        ("secevent+jwt", false, false),
        ("client-authentication+jwt", false, false),
        ("oauth-id-jag+jwt", false, false),
        ("txntoken+jwt", false, false),
        ("wit+jwt", false, false),
        ("at+jwt ", false, false),
        ("", false, true),
    ] {
        for (token_type, accepted) in [(ACCESS_TOKEN, access), (JWT, jwt)] {
            let answer = world.gateway.trade_as(token_type, &token(typ)).await;
            let what = format!("{typ:?} as {token_type}");
            if accepted {
                world.issued(&what, &answer).await;
            } else {
                world.refused(&what, &answer, "invalid_request", "typ_wrong");
            }
        }
    }
    let idp = &world.idp;
    let absent = without(
        &serde_json::from_str(&idp.header(&json!({}))).unwrap(),
        "typ",
    )
    .to_string();
    let absent = idp.raw(&absent, &idp.payload(&claims(json!({}))));
    let answer = world.gateway.trade(&absent).await;
    world.refused(
        "no typ as an access token",
        &answer,
        "invalid_request",
        "typ_wrong",
    );
    let answer = world.gateway.trade_as(JWT, &absent).await;
    world.issued("no typ as a JWT", &answer).await;
    let number = idp.raw(
        &idp.header(&json!({ "typ": 1 })),
        &idp.payload(&claims(json!({}))),
    );
    let answer = world.gateway.trade(&number).await;
    world.refused("typ a number", &answer, "invalid_request", "typ_malformed");
}

/// OpenID Connect Back-Channel Logout 1.0 §2.4 recommends `typ: logout+jwt` only; RFC 8417 leaves it out
/// too. What always tells such a token is `events`.
#[tokio::test]
async fn a14_a_logout_token_without_its_typ_is_no_subject_token() {
    let world = World::start().await;
    let events = json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } });
    for (typ, events) in [
        ("JWT", events.clone()),
        ("at+jwt", events),
        ("JWT", json!({ "events": null })),
    ] {
        let token = world.idp.typed(typ, &claims(events));
        let answer = world.gateway.trade_as(JWT, &token).await;
        world.refused(typ, &answer, "invalid_request", "token_is_event");
    }
}

#[tokio::test]
async fn rule_15_the_declared_type_is_one_that_the_issuer_gives() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    for token_type in [
        ID_TOKEN,
        "urn:ietf:params:oauth:token-type:refresh_token",
        "urn:ietf:params:oauth:token-type:saml2",
        "urn:example:own",
    ] {
        let answer = world.gateway.trade_as(token_type, &token).await;
        world.refused(
            token_type,
            &answer,
            "invalid_request",
            "token_type_not_accepted",
        );
    }
    let change =
        |yaml: String| yaml.replace("subjects: local", "subjects: local, token_types: [jwt]");
    let world = World::with(change, RULES).await;
    let token = world.idp.token(&claims(json!({})));
    let answer = world.gateway.trade(&token).await;
    world.refused(
        "narrowed",
        &answer,
        "invalid_request",
        "token_type_not_accepted",
    );
    world
        .issued("narrowed", &world.gateway.trade_as(JWT, &token).await)
        .await;
}

/// A1, A7, rules 32, 33, 37: what constrains a token is never dropped, whatever its value.
#[tokio::test]
async fn a1_a7_rules_32_33_37_act_may_act_and_cnf_are_refused_each_with_its_reason() {
    let mut cases = Vec::new();
    for (name, sound, unsound) in [
        ("act", "no_rule_for_actor", "claim_invalid"),
        ("may_act", "no_rule_for_actor", "claim_invalid"),
        ("cnf", "token_has_cnf", "token_has_cnf"),
    ] {
        cases.push((name, json!({ name: { "sub": "x" } }), sound));
        for value in [json!({}), json!(null), json!(false), json!(""), json!([])] {
            cases.push((name, json!({ name: value }), unsound));
        }
    }
    all_refused(&cases).await;
}

/// Rule 35, F24: not a second beyond the subject's own expiry, and nothing at all in its last one.
#[tokio::test]
async fn rule_35_lifetime_ends_with_the_subject_token() {
    let world = World::start().await;
    for (left, lifetime) in [(600, 60), (61, 60), (60, 60), (59, 59), (1, 1)] {
        let token = world.idp.token(&claims(json!({ "exp": NOW + left })));
        let answer = world.gateway.trade(&token).await;
        let issued = world.issued(&format!("{left}s left"), &answer).await;
        assert_eq!(
            (&issued["exp"], &answer.json()["expires_in"]),
            (&json!(NOW + lifetime), &json!(lifetime))
        );
    }
    let token = world.idp.token(&claims(json!({ "exp": NOW + 1 })));
    world.gateway.clock.set(NumericDate(NOW + 1));
    let answer = world.gateway.trade(&token).await;
    world.refused(
        "a26: at use, not at some sweep",
        &answer,
        "invalid_request",
        "token_expired",
    );
    // A clock that is set back does not bring anything back that is not valid at that time.
    world.gateway.clock.set(NumericDate(NOW - 100));
    let answer = world.gateway.trade(&token).await;
    world.refused(
        "issued in the future",
        &answer,
        "invalid_request",
        "token_not_yet_valid",
    );
}

/// Our own tokens are taken back (`self`), addressed to the client that brings them.
#[tokio::test]
async fn self_issued_tokens_as_subject() {
    let change = |yaml: String| {
        yaml.replace(
            "audience: https://backend.example.com, scopes",
            "audience: rs08, scopes",
        )
    };
    let world = World::with(change, RULES).await;
    let first = world
        .gateway
        .trade(&world.idp.token(&claims(json!({ "exp": NOW + 40 }))))
        .await;
    let first = first.token();
    world.gateway.clock.set(NumericDate(NOW + 10));
    for token_type in [ACCESS_TOKEN, JWT] {
        let answer = world.gateway.trade_as(token_type, &first).await;
        let issued = world.issued("ours", &answer).await;
        // A chain never lives longer than its first link.
        assert_eq!(
            (&issued["sub"], &issued["exp"]),
            (&json!("alice"), &json!(NOW + 40))
        );
        assert_eq!(world.gateway.last()["subject"]["issuer"], "self");
    }
    let elsewhere = World::start().await;
    let token = elsewhere
        .gateway
        .trade(&elsewhere.idp.token(&claims(json!({}))))
        .await
        .token();
    let answer = elsewhere.gateway.trade(&token).await;
    elsewhere.refused(
        "addressed to the backend",
        &answer,
        "invalid_request",
        "audience_wrong",
    );
    // Another gateway's key under our name.
    let answer = elsewhere.gateway.trade(&first).await;
    elsewhere.refused("not our key", &answer, "invalid_request", "kid_unknown");
    let forged = Idp::new("https://as.example.com", Algorithm::ES256).token(&claims(json!({})));
    let answer = elsewhere.gateway.trade(&forged).await;
    elsewhere.refused("forged", &answer, "invalid_request", "kid_unknown");
}

/// There is never a second try: what looks like a JWT is for the issuer that it names, the rest for the
/// one that is marked, and what neither takes is refused.
#[tokio::test]
async fn a_token_is_tried_with_one_issuer_only() {
    let world = World::start().await;
    let good = world.idp.token(&claims(json!({})));
    let (left, right) = good.rsplit_once('.').unwrap();
    for (what, token) in [
        (
            "issuer unknown",
            world
                .idp
                .token(&claims(json!({ "iss": "https://nobody.example.com" }))),
        ),
        (
            "expired",
            world.idp.token(&claims(json!({ "exp": NOW - 1 }))),
        ),
        ("signature cut", left.to_owned() + "."),
        (
            "signature changed",
            format!("{left}.{}", right.chars().rev().collect::<String>()),
        ),
        (
            "header only",
            good.split('.').next().unwrap().to_owned() + "..",
        ),
    ] {
        let answer = world.gateway.trade(&token).await;
        assert_eq!(answer.error(), "invalid_request", "{what}");
        assert_eq!(world.op.calls(), [] as [String; 0], "{what}");
    }
    world
        .issued("opaque", &world.gateway.trade("not-a-jwt").await)
        .await;
    assert_eq!(world.op.calls().len(), 1);
    // A JWT of the issuer that is asked about tokens is looked up there, once.
    let jwt = Idp::new("https://op.example.com", Algorithm::ES256)
        .token(&claims(json!({ "sub": "bob" })));
    world
        .issued("the op's own", &world.gateway.trade(&jwt).await)
        .await;
    assert_eq!(world.op.calls().len(), 2);
}

#[tokio::test]
async fn opaque_tokens_where_no_issuer_takes_them() {
    let rules = RULES.split("rule asked").next().unwrap();
    let change = |yaml: String| {
        let (left, right) = yaml.split_once("  op:").unwrap();
        format!("{left}{}", &right[right.find("clients:").unwrap()..])
    };
    let world = World::with(change, rules).await;
    let answer = world.gateway.trade("not-a-jwt").await;
    world.refused("opaque", &answer, "invalid_request", "opaque_not_accepted");
}

/// Two issuers' `alice` never meet.
#[tokio::test]
async fn rule_38_subjects_of_two_issuers_do_not_collide() {
    let world = World::start().await;
    let theirs = json!({ "aud": "https://as.example.com", "scp": "api" });
    let answer = world
        .gateway
        .trade(&world.partner.token(&claims(theirs)))
        .await;
    assert_eq!(
        world.issued("partner", &answer).await["sub"],
        "partner|alice"
    );
    let collide = json!({ "sub": "partner|alice" });
    let answer = world
        .gateway
        .trade(&world.idp.token(&claims(collide)))
        .await;
    assert_eq!(world.gateway.last()["subject"]["issuer"], "idp");
    world.refused("collides", &answer, "invalid_request", "subject_taken");
    for sub in ["partner|", "partner|x|y", "op|bob"] {
        let answer = world
            .gateway
            .trade(&world.idp.token(&claims(json!({ "sub": sub }))))
            .await;
        world.refused(sub, &answer, "invalid_request", "subject_taken");
    }
    for sub in ["partner", "Partner|alice", "|partner|alice"] {
        let answer = world
            .gateway
            .trade(&world.idp.token(&claims(json!({ "sub": sub }))))
            .await;
        assert_eq!(world.issued(sub, &answer).await["sub"], sub);
    }
}

/// A declared claim is there with its type, or the token is refused before any rule.
#[tokio::test]
async fn declared_claims_are_typed() {
    let change = |yaml: String| {
        yaml.replace(
            "subjects: local",
            "subjects: local, claims: { tenant: string, groups?: \"set<string>\" }",
        )
    };
    let world = World::with(change, RULES).await;
    for (what, changes, good) in [
        ("there", json!({ "tenant": "t" }), true),
        ("missing", json!({}), false),
        ("a number", json!({ "tenant": 1 }), false),
        ("null", json!({ "tenant": null }), false),
        (
            "an optional one of the wrong type",
            json!({ "tenant": "t", "groups": [1] }),
            false,
        ),
        (
            "an optional one that is null",
            json!({ "tenant": "t", "groups": null }),
            false,
        ),
        (
            "a set written as a string",
            json!({ "tenant": "t", "groups": "g" }),
            true,
        ),
    ] {
        let answer = world
            .gateway
            .trade(&world.idp.token(&claims(changes)))
            .await;
        if good {
            world.issued(what, &answer).await;
        } else {
            world.refused(what, &answer, "invalid_request", "claim_invalid");
        }
    }
}

/// A5, A6, A8: what a rule demands holds for each declared type alike.
#[tokio::test]
async fn a5_a6_a8_the_same_refusal_under_every_declared_type() {
    let rules =
        format!("{RULES}\ndeny nobody-from-idp {{ from idp  when subject.sub == \"alice\" }}\n");
    let world = World::with(|yaml| yaml, &rules).await;
    for token_type in [ACCESS_TOKEN, JWT] {
        let answer = world
            .gateway
            .trade_as(token_type, &world.idp.token(&claims(json!({}))))
            .await;
        world.refused(token_type, &answer, "invalid_request", "denied");
        assert_eq!(world.gateway.last()["rule"]["id"], "main.nobody-from-idp");
    }
    assert!(Gateway::is_strict_json(
        &world.gateway.get("/jwks").await.body
    ));
}

/// RFC 8725 §3.11: tokens of other kinds, whatever type they are declared as and whatever `typ` they have.
#[tokio::test]
async fn rule_14_id_tokens_and_refresh_tokens_are_no_access_tokens() {
    let world = World::start().await;
    for (what, changes) in [
        ("an ID token with a nonce", json!({ "nonce": "n" })),
        ("an ID token with at_hash", json!({ "at_hash": "h" })),
        ("an ID token with c_hash", json!({ "c_hash": "h" })),
        ("a refresh token that says so", json!({ "typ": "Refresh" })),
        ("an ID token that says so", json!({ "typ": "ID" })),
        ("an ID token by token_use", json!({ "token_use": "id" })),
    ] {
        // Declared as `jwt`, whose header need not say what it is for.
        let token = world.idp.typed("JWT", &claims(changes));
        let answer = world.gateway.trade_as(JWT, &token).await;
        world.refused(what, &answer, "invalid_request", "token_of_other_kind");
    }
    // A header that says access does not outweigh a payload that says otherwise.
    let refresh = claims(json!({ "typ": "Refresh" }));
    let answer = world.gateway.trade(&world.idp.token(&refresh)).await;
    world.refused(
        "at+jwt that says Refresh",
        &answer,
        "invalid_request",
        "token_of_other_kind",
    );
    for good in [
        json!({ "typ": "Bearer" }),
        json!({ "token_use": "access" }),
        json!({ "typ": "JWT" }),
        json!({ "nonce": "n" }), // the header says at+jwt
        json!({ "amr": [] }),
    ] {
        let answer = world.gateway.trade(&world.idp.token(&claims(good))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
