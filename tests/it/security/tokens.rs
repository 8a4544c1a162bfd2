//! Tokens that are not what they seem: A2, A8, A11, A18, A24, A26, A29, B1, B5 to B8, rules 13, 36 and 37.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::hmac;
use cambist::jose::{Algorithm, JwksError, KeySet, base64url};
use cambist::oauth::NumericDate;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::exchange::assertions::Asserting;
use crate::exchange::delegation::Court;
use crate::exchange::{World, active};
use crate::support::{
    ACCESS_TOKEN, ID_TOKEN, Idp, JWT, NOW, REFRESH_TOKEN, RULES, Reply, claims, with, without,
};

const SAML1: &str = "urn:ietf:params:oauth:token-type:saml1";
const SAML2: &str = "urn:ietf:params:oauth:token-type:saml2";

/// A2: whatever its length, a subject token is looked at whole or refused. Nothing is answered instead.
#[tokio::test]
async fn a2_a_long_subject_token_is_used_whole_or_refused_and_never_dropped() {
    let world = World::start().await;
    let padded = |length: usize| claims(json!({ "pad": "x".repeat(length) }));
    for (length, accepted) in [(0, true), (5_000, true), (11_000, true), (20_000, false)] {
        for declared in [ACCESS_TOKEN, JWT] {
            let answer = world
                .gateway
                .trade_as(declared, &world.idp.token(&padded(length)))
                .await;
            let what = format!("{length} as {declared}");
            if accepted {
                assert_eq!(world.issued(&what, &answer).await["sub"], "alice", "{what}");
            } else {
                world.refused(&what, &answer, "invalid_request", "token_too_large");
            }
        }
    }
    // An opaque one is shown to its issuer as it is; whom it is for, only that one says.
    world.op.says(|token| {
        Reply::Json(match token.len() {
            4_000 | 20_000 => active(),
            _ => json!({ "active": false }),
        })
    });
    for (length, accepted) in [
        (4_000, true),
        (4_001, false),
        (20_000, true),
        (19_999, false),
    ] {
        let answer = world.gateway.trade(&"o".repeat(length)).await;
        match accepted {
            true => assert_eq!(world.issued("opaque", &answer).await["sub"], "op|bob"),
            false => world.refused("opaque", &answer, "invalid_request", "token_inactive"),
        }
    }
    // Nor is an actor token dropped for its length.
    let court = Court::start().await;
    let subject = court.subject("optional", &json!({}));
    let good = court.actor("optional", &json!({}));
    let answer = court.trade("optional", &subject, Some(&good)).await;
    let issued = court.opened("actor", &answer).await;
    assert_eq!(issued["act"]["sub"], "bot");
    let long = court.actor("optional", &json!({ "pad": "x".repeat(20_000) }));
    let answer = court.trade("optional", &subject, Some(&long)).await;
    court.refused("long actor", &answer, "invalid_request", "token_too_large");
}

/// A8: what a rule asks of the token, and what the realm asks of its issuer, holds for every declared type
/// and for both ways of verification.
#[tokio::test]
async fn a8_one_predicate_for_every_declared_type() {
    let rules = RULES.replace(
        "  use ",
        "  when subject.claims.hd == \"example.com\"\n  use ",
    );
    let rules = rules.replace("from idp, self", "from idp");
    for (pinned, reason) in [
        ("", "no_rule"),
        (", tenancy: { hd: example.com }", "tenant_wrong"),
    ] {
        let declared = format!("claims: {{ hd?: string }}{pinned}");
        let change = |yaml: String| {
            yaml.replace(
                "subjects: local",
                &format!("subjects: local, token_types: [access_token, jwt, id_token], {declared}"),
            )
            .replace("scope: scp", &format!("scope: scp, {declared}"))
            .replace(
                "audience: any\n    scope: claim",
                &format!(
                    "audience: any\n    scope: claim\n    token_types: [access_token, refresh_token]\n    {}",
                    declared.replace(", tenancy", "\n    tenancy")
                ),
            )
        };
        let world = World::with(change, &rules).await;
        let ours = json!({ "aud": "https://as.example.com", "scp": "api" });
        for (hd, accepted) in [
            (Some(json!("example.com")), true),
            (Some(json!("example.org")), false),
            (Some(json!("example.com.evil.example")), false),
            (Some(json!("EXAMPLE.com")), false),
            (Some(json!("")), false),
            (None, false),
        ] {
            let hosted = |base: &Value| match &hd {
                Some(hd) => with(base, &json!({ "hd": hd })),
                None => base.clone(),
            };
            let answer = with(&hosted(&active()), &json!({ "client_id": "rs08" }));
            world.op.says(move |_| Reply::Json(answer.clone()));
            let good = hosted(&claims(json!({})));
            for (declared, token) in [
                (ACCESS_TOKEN, world.idp.token(&good)),
                (JWT, world.idp.token(&good)),
                (JWT, world.idp.typed("JWT", &good)),
                (ID_TOKEN, world.idp.typed("JWT", &good)),
                (JWT, world.partner.token(&with(&good, &ours))),
                (ACCESS_TOKEN, "opaque".to_owned()),
                (REFRESH_TOKEN, "opaque".to_owned()),
            ] {
                let what = format!("{hd:?} as {declared} {pinned}");
                let answer = world.gateway.trade_as(declared, &token).await;
                if accepted {
                    drop(world.issued(&what, &answer).await);
                    continue;
                }
                assert_eq!(answer.status, 400, "{what}: {answer:?}");
                assert_eq!(world.gateway.last()["reason"], reason, "{what}");
            }
        }
    }
}

/// A11: the public key as the secret of an HMAC, in each form in which it is published or kept; the
/// algorithm of another family; none in all its forms.
#[tokio::test]
async fn a11_algorithms_are_never_confused() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::RS256] {
        let idp = Idp::new("https://idp.example.com", algorithm);
        let change =
            |yaml: String| yaml.replace("jwks_file: idp.json", &format!("jwks: {}", idp.jwks()));
        let world = World::with(change, RULES).await;
        let payload = idp.payload(&claims(json!({})));
        let sound = world
            .gateway
            .trade(&idp.raw(&idp.header(&json!({})), &payload))
            .await;
        world.issued("control", &sound).await;
        let jwk = idp.key.public_jwk();
        let member = |name: &str| {
            let text = jwk.get(name).and_then(Value::as_str).unwrap_or_default();
            base64url::decode(text).unwrap()
        };
        let mut secrets = vec![
            Vec::new(),
            jwk.to_string().into_bytes(),
            idp.jwks().into_bytes(),
            member("x"),
            member("n"),
        ];
        if algorithm == Algorithm::ES256 {
            let head = [
                0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
                0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
            ];
            let der = [&head[..], &member("x"), &member("y")].concat();
            let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &der);
            let (one, two) = base64.split_at(64);
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{one}\n{two}\n-----END PUBLIC KEY-----");
            secrets.extend([der, format!("{pem}\n").into_bytes(), pem.into_bytes()]);
        }
        for (alg, hash) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            for secret in &secrets {
                let header = base64url::encode(idp.header(&json!({ "alg": alg })));
                let input = format!("{header}.{}", base64url::encode(&payload));
                let tag = hmac::sign(&hmac::Key::new(hash, secret), input.as_bytes());
                let token = format!("{input}.{}", base64url::encode(tag.as_ref()));
                let answer = world.gateway.trade(&token).await;
                world.refused(alg, &answer, "invalid_request", "alg_symmetric");
            }
        }
        for alg in [
            "ES256",
            "ES384",
            "ES512",
            "EdDSA",
            "RS256",
            "RS384",
            "PS256",
            "none",
            "NONE",
            "nOnE",
            "",
            "HS256 ",
            "es256",
            "RS256\u{0}",
        ] {
            if alg == algorithm.as_str() {
                continue;
            }
            let header = idp.header(&json!({ "alg": alg }));
            for token in [
                idp.raw(&header, &payload),
                format!(
                    "{}.{}.",
                    base64url::encode(&header),
                    base64url::encode(&payload)
                ),
            ] {
                let answer = world.gateway.trade(&token).await;
                assert_eq!(answer.error(), "invalid_request", "{algorithm} {alg:?}");
                let reason = world.gateway.last()["reason"].clone();
                let reason = reason.as_str().unwrap();
                assert!(
                    reason.starts_with("alg_") || reason == "signature_missing",
                    "{algorithm} {alg:?}: {reason}"
                );
            }
        }
        assert_eq!(world.op.calls(), [] as [String; 0]);
    }
}

/// A24: this build reads no SAML, so it takes none: not as an opaque token either, whose issuer would have
/// to know of conditions, recipients and times.
#[tokio::test]
async fn a24_rule_15_saml_is_refused_unread_and_shown_to_nobody() {
    let world = World::start().await;
    let xml =
        "<saml:Assertion><saml:Conditions NotOnOrAfter=\"2001-01-01T00:00:00Z\"/></saml:Assertion>";
    let encoded = base64url::encode(xml);
    for declared in [SAML1, SAML2] {
        for token in [xml, &encoded, "opaque"] {
            let answer = world.gateway.trade_as(declared, token).await;
            world.refused(
                declared,
                &answer,
                "invalid_request",
                "token_type_not_accepted",
            );
        }
        let subject = world.idp.token(&claims(json!({})));
        let answer = world
            .gateway
            .exchange(&[
                ("subject_token", &subject),
                ("subject_token_type", ACCESS_TOKEN),
                ("actor_token", &encoded),
                ("actor_token_type", declared),
                ("resource", "https://backend.example.com"),
            ])
            .await;
        world.refused(
            "actor",
            &answer,
            "invalid_request",
            "token_type_not_accepted",
        );
    }
    // XML under another name has letters that no token has.
    let answer = world.gateway.trade(xml).await;
    world.refused("XML", &answer, "invalid_request", "token_malformed");
    assert_eq!(world.op.calls(), [] as [String; 0]);
    let grant = (
        "grant_type",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
    );
    let answer = world
        .gateway
        .post(
            Some(&crate::support::basic("rs08", crate::support::SECRET)),
            &[grant, ("assertion", &encoded)],
        )
        .await;
    assert_eq!(answer.error(), "unsupported_grant_type");
    let control = world.gateway.trade("opaque").await;
    world.issued("control", &control).await;
    // An operator cannot ask for it either.
    for name in ["saml1", "saml2", SAML2] {
        let error = super::load_error(|yaml| {
            yaml.replace(
                "subjects: local",
                &format!("subjects: local, token_types: [{name:?}]"),
            )
        });
        assert!(error.contains("E1008"), "{name}: {error}");
    }
}

/// A26: every expiry counts at the moment of use, whoever vouches for the token and whatever was said of it
/// a second before.
#[tokio::test]
async fn a26_every_expiry_counts_at_use() {
    let court = Court::start().await;
    let clock = |now: i64| court.gateway.clock.set(NumericDate(now));
    let short = json!({ "exp": NOW + 30 });
    let (subject, lasting) = (
        court.subject("required", &short),
        court.subject("required", &json!({})),
    );
    let actor = court.actor("required", &short);
    let lasting_actor = court.actor("required", &json!({}));
    for (now, ends) in [
        (NOW, false),
        (NOW + 29, false),
        (NOW + 30, true),
        (NOW + 31, true),
    ] {
        clock(now);
        for (what, subject, actor) in [
            ("subject", &subject, &lasting_actor),
            ("actor", &lasting, &actor),
        ] {
            let answer = court.trade("required", subject, Some(actor)).await;
            match ends {
                false => {
                    let issued = court.opened(what, &answer).await;
                    assert_eq!(issued["exp"], NOW + 30, "{what} at {now}");
                }
                true => court.refused(what, &answer, "invalid_request", "token_expired"),
            }
        }
        let control = court
            .trade("required", &lasting, Some(&lasting_actor))
            .await;
        court.opened("control", &control).await;
    }
    // An answer that says `active` does not outweigh its own `exp`.
    let world = World::start().await;
    world
        .op
        .says(|_| Reply::Json(with(&active(), &json!({ "exp": NOW + 30 }))));
    for (now, ends) in [(NOW + 29, false), (NOW + 30, true), (NOW + 3000, true)] {
        world.gateway.clock.set(NumericDate(now));
        let answer = world.gateway.trade("opaque").await;
        match ends {
            false => drop(world.issued("opaque", &answer).await),
            true => world.refused("opaque", &answer, "invalid_request", "token_expired"),
        }
    }
}

/// A29: no token, no assertion and no parameter makes us connect to anybody.
#[tokio::test]
async fn a29_nothing_in_a_request_chooses_where_we_connect_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trap = format!("http://{}", listener.local_addr().unwrap());
    let caught = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&caught);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let a = Asserting::start().await;
    let header = json!({
        "jku": format!("{trap}/jwks"), "x5u": format!("{trap}/cert"), "kid": format!("{trap}/key"),
        "jwk": a.world.idp.key.public_jwk(), "x5c": ["AAAA"], "iss": trap,
    });
    let own_kid = |idp: &Idp| with(&header, &json!({ "kid": idp.key.kid() }));
    let named = json!({ "iss": trap, "jku": trap, "iss_jwks": trap, "resource": trap });
    let idp = &a.world.idp;
    let good = idp.payload(&claims(json!({})));
    let trapped = with(&claims(json!({})), &named).to_string();
    let subjects = [
        idp.raw(&idp.header(&header), &good),
        idp.raw(&idp.header(&header), &trapped),
        idp.raw(&idp.header(&own_kid(idp)), &trapped),
        Idp::new("https://idp.example.com", Algorithm::ES256)
            .raw(&idp.header(&own_kid(idp)), &good),
    ];
    for subject in &subjects {
        let assertion = a.assertion(json!({}));
        let parameters = [
            ("grant_type", crate::support::EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", "https://backend.example.com"),
            (
                "client_assertion_type",
                crate::exchange::assertions::JWT_BEARER,
            ),
            ("client_assertion", &assertion),
            ("jku", &trap),
            ("jwks_uri", &trap),
            ("iss", &trap),
            ("request_uri", &trap),
            ("sector_identifier_uri", &trap),
        ];
        let answer = a.world.gateway.post(None, &parameters).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let client = &a.client;
    for (header, payload) in [
        (
            client.header(&with(&header, &json!({ "typ": "JWT" }))),
            a.claims(json!({})),
        ),
        (
            client.header(&with(&own_kid(client), &json!({ "typ": "JWT" }))),
            a.claims(named.clone()),
        ),
    ] {
        let answer = a.ask(&client.raw(&header, &payload.to_string()), &[]).await;
        assert_eq!(answer.error(), "invalid_client", "{answer:?}");
    }
    // With the right `kid` and signature, what else stands in the header is not even looked at.
    let answer = a.world.gateway.trade("x").await;
    assert_eq!(answer.error(), "invalid_client");
    let passed = client.raw(
        &client.header(&with(&own_kid(client), &json!({ "typ": "JWT" }))),
        &a.claims(json!({})).to_string(),
    );
    let answer = a.ask(&passed, &[("jku", &trap)]).await;
    a.world.issued("control", &answer).await;
    assert_eq!(caught.load(Ordering::SeqCst), 0);
    assert_eq!(a.world.op.calls(), [] as [String; 0]);
}

/// B1: a registered claim of the wrong JSON type is never an absent one.
#[tokio::test]
async fn b1_a_claim_of_the_wrong_type_is_refused_and_never_absent() {
    let world = World::start().await;
    let (text, number, truth, object, list) = (
        json!("text"),
        json!(7),
        json!(true),
        json!({ "a": "b" }),
        json!([["a"]]),
    );
    let none = Value::Null;
    let numbers = [&text, &truth, &object, &list, &none];
    let strings = [&number, &truth, &object, &list, &none];
    let lists = [&number, &truth, &object, &list, &none];
    let objects = [&text, &number, &truth, &list, &none];
    let mut tried = 0;
    for (claim, wrong) in [
        ("iss", strings),
        ("sub", strings),
        ("aud", lists),
        ("exp", numbers),
        ("nbf", numbers),
        ("iat", numbers),
        ("jti", strings),
        ("scope", lists),
        ("client_id", strings),
        ("azp", strings),
        ("auth_time", numbers),
        ("acr", strings),
        ("amr", lists),
        ("act", objects),
        ("may_act", objects),
        ("typ", strings),
        ("token_use", strings),
    ] {
        for value in wrong {
            for declared in [ACCESS_TOKEN, JWT] {
                let token = world.idp.token(&claims(json!({ claim: value })));
                let answer = world.gateway.trade_as(declared, &token).await;
                let reason = if claim == "iss" {
                    "iss_malformed"
                } else {
                    "claim_invalid"
                };
                let what = format!("{claim} {value} as {declared}");
                world.refused(&what, &answer, "invalid_request", reason);
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 17 * 5 * 2);
    // Absent, those that may be are; and said in their own types they are good.
    let absent = without(&without(&claims(json!({})), "jti"), "iat");
    for good in [
        absent.clone(),
        with(
            &absent,
            &json!({
                "nbf": NOW, "iat": NOW, "jti": "1", "client_id": "x", "azp": "rs08", "acr": "1",
                "auth_time": NOW - 5, "amr": ["pwd"], "typ": "Bearer", "aud": ["rs08"],
                "scope": ["api"], "token_use": "access",
            }),
        ),
    ] {
        let answer = world.gateway.trade(&world.idp.token(&good)).await;
        world.issued("control", &answer).await;
    }
}

/// B1 once more, where an introspection answer is in place of a token.
#[tokio::test]
async fn b1_a_member_of_the_wrong_type_in_an_answer_is_refused() {
    let world = World::start().await;
    for (member, value) in [
        ("sub", json!(7)),
        ("sub", json!(["bob"])),
        ("sub", json!(null)),
        ("exp", json!("1790000600")),
        ("exp", json!(null)),
        ("exp", json!([NOW + 600])),
        ("nbf", json!("now")),
        ("iat", json!({})),
        ("iss", json!(["https://op.example.com"])),
        ("iss", json!(7)),
        ("aud", json!({ "rs08": true })),
        ("aud", json!([7])),
        ("scope", json!(7)),
        ("scope", json!({ "api": true })),
        ("client_id", json!(["rs08"])),
        ("token_type", json!(["Bearer"])),
        ("act", json!("admin")),
        ("may_act", json!(["admin"])),
        ("jti", json!(7)),
    ] {
        let changed = with(&active(), &json!({ member: value }));
        world.op.says(move |_| Reply::Json(changed.clone()));
        let answer = world.gateway.trade("opaque").await;
        world.refused(
            &format!("{member} {value}"),
            &answer,
            "invalid_request",
            "claim_invalid",
        );
    }
    for value in [
        json!("true"),
        json!(1),
        json!(null),
        json!([true]),
        json!({}),
    ] {
        let changed = with(&active(), &json!({ "active": value }));
        world.op.says(move |_| Reply::Json(changed.clone()));
        let answer = world.gateway.trade("opaque").await;
        let what = format!("active {value}");
        world.refused(
            &what,
            &answer,
            "temporarily_unavailable",
            "issuer_answer_invalid",
        );
    }
    world.op.says(|_| Reply::Json(active()));
    let answer = world.gateway.trade("opaque").await;
    world.issued("control", &answer).await;
}

/// B5: what is encrypted, or says so, is nobody's signed token, and is shown to nobody.
#[tokio::test]
async fn b5_rule_3_encrypted_nested_and_confused_tokens_are_refused() {
    let world = World::start().await;
    let idp = &world.idp;
    let payload = idp.payload(&claims(json!({})));
    let inner = idp.token(&claims(json!({})));
    let encoded = |header: Value| base64url::encode(header.to_string());
    let jwe = |header: Value, parts: usize| encoded(header) + &".AAAA".repeat(parts - 1);
    let direct = json!({ "alg": "dir", "enc": "A128GCM" });
    let signed = |changes: Value, payload: &str| idp.raw(&idp.header(&changes), payload);
    let cases = [
        ("five parts", jwe(direct.clone(), 5), "jwe_not_jws"),
        (
            "five parts, a key of a password",
            jwe(
                json!({ "alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": i64::MAX }),
                5,
            ),
            "jwe_not_jws",
        ),
        (
            "five parts that say ES256",
            jwe(json!({ "alg": "ES256" }), 5),
            "jwe_not_jws",
        ),
        (
            "three parts of an encrypted one",
            jwe(direct, 3),
            "jwe_not_jws",
        ),
        (
            "signed, with the header of the other",
            signed(json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM" }), &payload),
            "jwe_not_jws",
        ),
        (
            "signed, and says enc",
            signed(json!({ "enc": "A256GCM" }), &payload),
            "jwe_not_jws",
        ),
        (
            "a token in a token",
            signed(json!({ "cty": "JWT" }), &inner),
            "nested_jwt",
        ),
        (
            "the same in small letters",
            signed(json!({ "cty": "application/jwt" }), &inner),
            "nested_jwt",
        ),
        (
            "a token in a token that does not say so",
            signed(json!({}), &inner),
            "payload_invalid_json",
        ),
    ];
    for (what, token, reason) in &cases {
        for declared in [ACCESS_TOKEN, JWT] {
            let answer = world.gateway.trade_as(declared, token).await;
            assert_eq!(answer.error(), "invalid_request", "{what}");
            assert_eq!(world.gateway.last()["reason"], *reason, "{what}");
        }
    }
    assert_eq!(world.op.calls(), [] as [String; 0]);
    let control = world.gateway.trade(&inner).await;
    world.issued("control", &control).await;
    // The same in the place of a client assertion.
    let a = Asserting::start().await;
    for (what, token, _) in &cases {
        let answer = a.ask(token, &[]).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (401, "invalid_client"),
            "{what}"
        );
    }
    a.taken("control", &a.assertion(json!({}))).await;
}

/// B6: times below zero, beyond all clocks, and numbers that are none.
#[tokio::test]
async fn b6_rules_7_8_times_that_no_clock_has_seen() {
    let world = World::start().await;
    let idp = &world.idp;
    let signed = |claim: &str, number: &str| {
        let marked = claims(json!({ claim: "NUMBER" }));
        let payload = idp.payload(&marked).replace("\"NUMBER\"", number);
        idp.raw(&idp.header(&json!({})), &payload)
    };
    // (number, as `exp`, as `nbf`); whatever is not taken is refused, whatever for.
    let far = "9999999999";
    for (number, exp, nbf) in [
        ("0", false, true),
        ("-1", false, false),
        ("-9223372036854775808", false, false),
        ("-9223372036854775809", false, false),
        ("-1e300", false, false),
        ("-0.0", false, true),
        ("1e300", false, false),
        ("1e999", false, false),
        ("9223372036854775807", false, false),
        ("9223372036854775808", false, false),
        ("18446744073709551615", false, false),
        ("340282366920938463463374607431768211456", false, false),
        ("NaN", false, false),
        ("Infinity", false, false),
        ("-Infinity", false, false),
        ("\"1790000600\"", false, false),
        ("\"NaN\"", false, false),
        ("[1790000600]", false, false),
        ("0x6AB1A5C0", false, false),
        ("01790000600", false, false),
        ("1790000600000", false, false), // milliseconds: some ten thousand years from now
        (far, true, false),
        ("1790000600.5", true, false),
        ("1.7900006e9", true, false),
        ("1.79e9", false, true),
        ("1789999999.9", false, true),
    ] {
        for (claim, good) in [("exp", exp), ("nbf", nbf), ("iat", nbf)] {
            let answer = world.gateway.trade(&signed(claim, number)).await;
            let what = format!("{claim} {number}");
            let reason = world.gateway.last()["reason"].clone();
            assert!(answer.status < 500, "{what}: {answer:?}");
            assert_eq!(answer.status == 200, good, "{what}: {answer:?} {reason}");
            if good {
                // However long the subject lives, what is issued lives as long as the rule says.
                assert_eq!(world.issued(&what, &answer).await["exp"], NOW + 60);
            }
        }
    }
    // Beyond all clocks in an answer of introspection.
    for (exp, good) in [
        (json!(-1), false),
        (json!(i64::MIN), false),
        (json!(u64::MAX), false),
        (json!(1e300), false),
        (json!(9_999_999_999_i64), true),
    ] {
        let changed = with(&active(), &json!({ "exp": exp }));
        world.op.says(move |_| Reply::Json(changed.clone()));
        let answer = world.gateway.trade("opaque").await;
        assert_eq!(
            answer.status,
            if good { 200 } else { 400 },
            "{exp}: {answer:?}"
        );
    }
}

/// B7: signatures that hold for every message where nobody checks their range, and keys that a token
/// brings along.
#[tokio::test]
async fn b7_psychic_signatures_and_embedded_keys_get_no_token() {
    let order_256 = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order_384 = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    for (algorithm, order) in [(Algorithm::ES256, order_256), (Algorithm::ES384, order_384)] {
        let idp = Idp::new("https://idp.example.com", algorithm);
        let change =
            |yaml: String| yaml.replace("jwks_file: idp.json", &format!("jwks: {}", idp.jwks()));
        let world = World::with(change, RULES).await;
        let n: Vec<u8> = (0..order.len() / 2)
            .map(|at| u8::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let zero = vec![0; n.len()];
        let mut one = zero.clone();
        *one.last_mut().unwrap() = 1;
        let full = vec![0xff; n.len()];
        let payload = idp.payload(&claims(json!({})));
        let input = format!(
            "{}.{}",
            base64url::encode(idp.header(&json!({}))),
            base64url::encode(&payload)
        );
        let mut tried = 0;
        for r in [&zero, &one, &n, &full] {
            for s in [&zero, &one, &n, &full] {
                let signature = base64url::encode([r.as_slice(), s.as_slice()].concat());
                let answer = world.gateway.trade(&format!("{input}.{signature}")).await;
                world.refused("r, s", &answer, "invalid_request", "signature_invalid");
                tried += 1;
            }
        }
        assert_eq!(tried, 16);
        let stranger = Idp::new("https://idp.example.com", algorithm);
        for changes in [
            json!({ "jwk": stranger.key.public_jwk(), "kid": idp.key.kid() }),
            json!({ "jwk": stranger.key.public_jwk(), "kid": stranger.key.kid() }),
            json!({ "jwk": stranger.key.public_jwk() }),
            json!({ "x5c": ["AAAA"], "jwk": stranger.key.public_jwk(), "kid": idp.key.kid() }),
        ] {
            let mut header: Value = serde_json::from_str(&stranger.header(&changes)).unwrap();
            if changes.get("kid").is_none() {
                header = without(&header, "kid");
            }
            let token = stranger.raw(&header.to_string(), &payload);
            let answer = world.gateway.trade(&token).await;
            assert_eq!(answer.error(), "invalid_request", "{changes}");
            let reason = world.gateway.last()["reason"].clone();
            let reason = reason.as_str().unwrap();
            assert!(
                ["signature_invalid", "kid_unknown"].contains(&reason),
                "{reason}"
            );
        }
        let control = world
            .gateway
            .trade(&idp.raw(&idp.header(&json!({})), &payload))
            .await;
        world.issued("control", &control).await;
    }
}

/// B8: no depth of JSON reaches the end of the stack, wherever it stands.
#[tokio::test]
async fn b8_deep_json_is_refused_wherever_it_stands() {
    let world = World::start().await;
    let idp = &world.idp;
    let deep = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    let objects =
        |depth: usize| ["{\"a\":".repeat(depth), "1".to_owned(), "}".repeat(depth)].concat();
    // As deep as is allowed, in what nobody looks at.
    let payload = |text: &str| {
        idp.payload(&claims(json!({ "x": "DEEP" })))
            .replace("\"DEEP\"", text)
    };
    let good = idp.raw(&idp.header(&json!({})), &payload(&deep(8)));
    world
        .issued("control", &world.gateway.trade(&good).await)
        .await;
    for depth in [1_000, 5_500] {
        for text in [deep(depth), "[".repeat(depth)] {
            let header = idp
                .header(&json!({ "x": "DEEP" }))
                .replace("\"DEEP\"", &text);
            for token in [
                idp.raw(&idp.header(&json!({})), &payload(&text)),
                idp.raw(&header, &payload("1")),
            ] {
                let answer = world.gateway.trade(&token).await;
                assert_eq!(answer.error(), "invalid_request", "{answer:?}");
                let reason = world.gateway.last()["reason"].clone();
                assert!(
                    reason.as_str().unwrap().ends_with("_invalid_json"),
                    "{reason}"
                );
            }
        }
    }
    // In what an issuer answers, and in what it publishes.
    for text in [
        deep(5_000),
        deep(30_000),
        objects(5_000),
        "[".repeat(60_000),
    ] {
        let body = format!("{{\"active\":true,\"sub\":\"bob\",\"x\":{text}}}");
        world
            .op
            .says(move |_| Reply::http("200 OK", "application/json", &body));
        let answer = world.gateway.trade("opaque").await;
        assert_eq!(answer.status, 503, "{answer:?}");
        let set = format!("{{\"keys\":[{{\"kty\":\"EC\",\"x\":{text}}}]}}");
        assert!(matches!(
            KeySet::from_jwks(set.as_bytes(), &[]),
            Err(JwksError::Json(_))
        ));
    }
    world.op.says(|_| Reply::Json(active()));
    world
        .issued("control", &world.gateway.trade("opaque").await)
        .await;
    // In `act`, where depth has a meaning of its own.
    for depth in [9, 100, 1_000] {
        let act = (0..depth).fold("{\"sub\":\"a\"}".to_owned(), |act, _| {
            format!("{{\"sub\":\"a\",\"act\":{act}}}")
        });
        let marked = idp.payload(&claims(json!({ "act": "ACT" })));
        let token = idp.raw(&idp.header(&json!({})), &marked.replace("\"ACT\"", &act));
        let answer = world.gateway.trade(&token).await;
        assert_eq!(answer.error(), "invalid_request", "{depth}: {answer:?}");
    }
}

/// Rule 36: RFC 9068 §2 in what is issued, whichever key signs.
#[tokio::test]
async fn rule_36_what_is_issued_has_the_header_and_the_claims_of_rfc_9068() {
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        let change =
            |yaml: String| yaml.replace("ephemeral: ES256", &format!("ephemeral: {algorithm}"));
        let world = World::with(change, RULES).await;
        let mut ids = std::collections::BTreeSet::new();
        for (subject, sub) in [
            (
                world.idp.token(&claims(
                    json!({ "client_id": "somebody-else", "jti": "theirs" }),
                )),
                "alice",
            ),
            ("opaque".to_owned(), "op|bob"),
        ] {
            let answer = world.gateway.trade(&subject).await;
            let issued = world.issued(algorithm, &answer).await;
            let token = answer.token();
            let header = base64url::decode(token.split('.').next().unwrap()).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            let members: Vec<&str> = header
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(members, ["alg", "kid", "typ"]);
            assert_eq!(
                (&header["alg"], &header["typ"]),
                (&json!(algorithm), &json!("at+jwt"))
            );
            let published: Value =
                serde_json::from_str(&world.gateway.get("/jwks").await.body).unwrap();
            assert_eq!(published["keys"][0]["kid"], header["kid"]);
            let expected = json!({
                "iss": "https://as.example.com", "aud": "https://backend.example.com", "sub": sub,
                "client_id": "rs08", "iat": NOW, "exp": NOW + 60, "scope": "api profile",
                "jti": issued["jti"],
            });
            assert_eq!(issued, expected);
            assert!(ids.insert(issued["jti"].as_str().unwrap().to_owned()));
        }
        assert!(!ids.contains("theirs") && !ids.contains("opaque-1"));
    }
}

/// A7, rule 37: what is bound to a key is refused, in whichever way it says so, and no plain token is made
/// of it.
#[tokio::test]
async fn a7_rules_26_37_bound_tokens_and_proofs_never_yield_a_bearer_token() {
    let world = World::start().await;
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let bindings = [
        json!({ "jkt": thumbprint }),
        json!({ "x5t#S256": thumbprint }),
        json!({ "jwk": world.idp.key.public_jwk() }),
        json!({ "kid": "key" }),
        json!({}),
        json!(null),
        json!("jkt"),
        json!([]),
    ];
    for cnf in &bindings {
        for declared in [ACCESS_TOKEN, JWT] {
            let token = world.idp.token(&claims(json!({ "cnf": cnf })));
            let answer = world.gateway.trade_as(declared, &token).await;
            world.refused(
                &cnf.to_string(),
                &answer,
                "invalid_request",
                "token_has_cnf",
            );
        }
        let bound = with(&active(), &json!({ "cnf": cnf }));
        world.op.says(move |_| Reply::Json(bound.clone()));
        let answer = world.gateway.trade("opaque").await;
        world.refused(
            &cnf.to_string(),
            &answer,
            "invalid_request",
            "token_has_cnf",
        );
    }
    for kind in ["DPoP", "dpop", "PoP", "N_A", "mac", ""] {
        let bound = with(&active(), &json!({ "token_type": kind }));
        world.op.says(move |_| Reply::Json(bound.clone()));
        let answer = world.gateway.trade("opaque").await;
        world.refused(kind, &answer, "invalid_request", "token_not_bearer");
    }
    // A bound actor token does not lose its binding either.
    let court = Court::start().await;
    let subject = court.subject("required", &json!({}));
    for cnf in &bindings {
        let actor = court.actor("required", &json!({ "cnf": cnf }));
        let answer = court.trade("required", &subject, Some(&actor)).await;
        court.refused(
            &cnf.to_string(),
            &answer,
            "invalid_request",
            "token_has_cnf",
        );
    }
    let actor = court.actor("required", &json!({}));
    let answer = court.trade("required", &subject, Some(&actor)).await;
    court.opened("control", &answer).await;
    // A proof of possession asks for a bound token: it is refused by name, good or bad.
    let good = world.idp.token(&claims(json!({})));
    let proof = world.idp.typed(
        "dpop+jwt",
        &json!({ "htm": "POST", "htu": "https://as.example.com/token", "iat": NOW, "jti": "1" }),
    );
    let body = crate::support::form(&[
        ("grant_type", crate::support::EXCHANGE),
        ("subject_token", &good),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://backend.example.com"),
    ]);
    let basic = crate::support::basic("rs08", crate::support::SECRET);
    let head = crate::support::head(Some(&basic), body.len());
    for (headers, accepted) in [
        (String::new(), true),
        (format!("DPoP: {proof}\r\n"), false),
        (format!("dpop: {proof}\r\n"), false),
        (format!("DPoP: {proof}\r\nDPoP: {proof}\r\n"), false),
        ("DPoP: \r\n".to_owned(), false),
        ("DPoP: nonsense\r\n".to_owned(), false),
    ] {
        let request = format!(
            "{}{body}",
            head.replacen("\r\n", &format!("\r\n{headers}"), 1)
        );
        let answer = world.gateway.send(request.as_bytes()).await;
        match accepted {
            true => {
                let issued = world.issued("control", &answer).await;
                assert_eq!(answer.json()["token_type"], "Bearer");
                assert_eq!(issued.get("cnf"), None);
            }
            false => world.refused(&headers, &answer, "invalid_request", "not_supported"),
        }
    }
}
