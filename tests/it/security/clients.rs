//! Clients that are not who they say, or say more than they may: A12, A13, A15, A16, A22, A28, rules 21 to
//! 25.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cambist::jose::{Algorithm, base64url};
use cambist::oauth::NumericDate;
use serde_json::{Value, json};

use crate::exchange::assertions::{Asserting, JWT_BEARER, T};
use crate::exchange::client_auth::{SECRET_OF_NOBODY, replace_auth};
use crate::exchange::{OP_SECRET, World};
use crate::support::{
    ACCESS_TOKEN, Answer, EXCHANGE, Gateway, Idp, JWT, RULES, SECRET, basic, claims, form, head,
    with,
};

/// The realm with further clients; each has the secret [`OP_SECRET`] where it has one.
fn with_clients(yaml: &str, entries: &str) -> String {
    yaml.replace("\nresources:", &format!("\n{entries}resources:"))
}

/// The usual request with a good token for `rs08`, and further parameters and headers.
async fn ask(world: &World, headers: &[(&str, &str)], more: &[(&str, &str)]) -> Answer {
    let token = world
        .idp
        .token(&claims(json!({ "aud": ["rs08", "other", "public"] })));
    let mut all = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://backend.example.com"),
    ];
    all.extend(more);
    let body = form(&all);
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = head(None, body.len()).replacen("\r\n", &format!("\r\n{lines}"), 1);
    world.gateway.send(format!("{head}{body}").as_bytes()).await
}

/// A12: a rule asks for a signed assertion. One that is sent and not used, while a secret authenticates,
/// does not satisfy it.
#[tokio::test]
async fn a12_an_assertion_beside_a_secret_satisfies_no_rule() {
    let client = Idp::new("rs08", Algorithm::ES256);
    let auth = format!(
        "client_secret_basic: {{ secret_file: op.secret }}, private_key_jwt: {{ jwks: {} }}",
        client.jwks()
    );
    let rules = RULES.replace(
        "  use ",
        "  when client.auth == \"private_key_jwt\"\n  use ",
    );
    let world = World::with(|yaml| replace_auth(&yaml, &auth), &rules).await;
    world.gateway.clock.set(NumericDate(T));
    let header = basic("rs08", OP_SECRET);
    let alone = ask(&world, &[("Authorization", &header)], &[]).await;
    assert_eq!(alone.status, 400, "a secret alone: {alone:?}");
    assert_eq!(
        world.gateway.last()["client"]["auth"],
        "client_secret_basic"
    );
    let good = json!({
        "iss": "rs08", "sub": "rs08", "aud": "https://as.example.com", "iat": T, "exp": T + 60,
        "jti": "good",
    });
    let unsigned = format!(
        "{}.{}.",
        base64url::encode(r#"{"alg":"none"}"#),
        base64url::encode(good.to_string())
    );
    let stranger = Idp::new("rs08", Algorithm::ES256).typed("JWT", &good);
    let signed = client.typed("JWT", &good);
    let kind = ("client_assertion_type", JWT_BEARER);
    for (what, more) in [
        ("unsigned", vec![kind, ("client_assertion", &*unsigned)]),
        ("a stranger's", vec![kind, ("client_assertion", &*stranger)]),
        ("its own", vec![kind, ("client_assertion", &*signed)]),
        ("nonsense", vec![kind, ("client_assertion", "x")]),
        ("the type alone", vec![kind]),
        ("without its type", vec![("client_assertion", &*signed)]),
    ] {
        for secret in ["header", "form"] {
            let mut more = more.clone();
            let answer = if secret == "header" {
                ask(&world, &[("Authorization", &header)], &more).await
            } else {
                more.extend([("client_id", "rs08"), ("client_secret", OP_SECRET)]);
                ask(&world, &[], &more).await
            };
            world.refused(what, &answer, "invalid_request", "client_auth_several");
        }
    }
    let control = ask(&world, &[], &[kind, ("client_assertion", &signed)]).await;
    world.issued("control", &control).await;
}

/// A13: what policies know of a client stands in the configuration. Nothing that the client sends is taken
/// for it.
#[tokio::test]
async fn a13_what_a_client_says_of_itself_has_no_part_in_decisions() {
    let rules = RULES
        .replace("by   client \"rs08\"", "by   client [\"rs08\", \"other\"]")
        .replace("  use ", "  when client.attr.tier == \"gold\"\n  use ");
    let keys = [
        Idp::new("rs08", Algorithm::ES256),
        Idp::new("other", Algorithm::ES256),
    ];
    let world = World::with(
        |yaml| {
            let auth = |at: usize| format!("private_key_jwt: {{ jwks: {} }}", keys[at].jwks());
            let yaml = replace_auth(&yaml, &auth(0));
            let entries = format!(
                "    attributes: {{ tier: iron }}\n  other: {{ auth: {{ {} }}, attributes: {{ tier: gold }} }}\nclient_attributes: {{ tier: string }}\n",
                auth(1)
            );
            with_clients(&yaml, &entries)
        },
        &rules,
    )
    .await;
    world.gateway.clock.set(NumericDate(T));
    let said = json!({
        "tier": "gold", "client.attr.tier": "gold", "attributes": { "tier": "gold" },
        "client": { "attr": { "tier": "gold" } }, "metadata": { "tier": "gold" },
        "client_attributes": { "tier": "gold" },
    });
    let form = [
        ("tier", "gold"),
        ("client.attr.tier", "gold"),
        ("attributes", "{\"tier\":\"gold\"}"),
        ("client_metadata", "{\"tier\":\"gold\"}"),
        (
            "software_statement",
            "eyJhbGciOiJub25lIn0.eyJ0aWVyIjoiZ29sZCJ9.",
        ),
    ];
    for (at, accepted) in [(0, false), (1, true)] {
        let id = keys[at].issuer;
        for (number, (assertion, token, parameters)) in [
            (json!({}), json!({}), &form[..0]),
            (said.clone(), json!({}), &form[..0]),
            (json!({}), said.clone(), &form[..0]),
            (json!({}), json!({}), &form[..]),
            (said.clone(), said.clone(), &form[..]),
        ]
        .into_iter()
        .enumerate()
        {
            let own = json!({
                "iss": id, "sub": id, "aud": "https://as.example.com", "iat": T, "exp": T + 60,
                "jti": format!("{id}-{number}"),
            });
            let header = keys[at].header(&with(&json!({ "typ": "JWT" }), &assertion));
            let assertion = keys[at].raw(&header, &with(&own, &assertion).to_string());
            let token = world
                .idp
                .token(&claims(with(&json!({ "aud": ["rs08", "other"] }), &token)));
            let mut all = vec![
                ("grant_type", EXCHANGE),
                ("subject_token", &*token),
                ("subject_token_type", ACCESS_TOKEN),
                ("resource", "https://backend.example.com"),
                ("client_assertion_type", JWT_BEARER),
                ("client_assertion", &assertion),
            ];
            all.extend(parameters);
            let answer = world.gateway.post(None, &all).await;
            let what = format!("{id} {number}");
            match accepted {
                true => drop(world.issued(&what, &answer).await),
                false => world.refused(&what, &answer, "invalid_request", "no_rule"),
            }
        }
    }
}

/// A15: what one client uses up is not used up for another, however their names and ids run together.
#[tokio::test]
async fn a15_identifiers_of_two_clients_never_meet() {
    let names = ["a", "a:b", "a:b:c", "a|b", "client_assertion", "ab"];
    let keys = names.map(|name| Idp::new(name, Algorithm::ES256));
    let world = World::with(
        |yaml| {
            let entries: String = keys
                .iter()
                .map(|key| {
                    let (id, jwks) = (key.issuer, key.jwks());
                    format!("  \"{id}\": {{ auth: {{ private_key_jwt: {{ jwks: {jwks} }} }} }}\n")
                })
                .collect();
            with_clients(&yaml, &entries)
        },
        &RULES.replace("client \"rs08\"", "any client"),
    )
    .await;
    world.gateway.clock.set(NumericDate(T));
    let token = world.idp.token(&claims(json!({ "aud": names })));
    for round in 0..2 {
        for key in &keys {
            for jti in [
                "c", "b:c", "b", ":b:c", "a", "a:a", "|b", "\u{0}b", "b\u{0}",
            ] {
                let assertion = key.typed(
                    "JWT",
                    &json!({
                        "iss": key.issuer, "sub": key.issuer, "aud": "https://as.example.com",
                        "iat": T, "exp": T + 60, "jti": jti,
                    }),
                );
                let answer = world
                    .gateway
                    .post(
                        None,
                        &[
                            ("grant_type", EXCHANGE),
                            ("subject_token", &token),
                            ("subject_token_type", ACCESS_TOKEN),
                            ("resource", "https://backend.example.com"),
                            ("client_assertion_type", JWT_BEARER),
                            ("client_assertion", &assertion),
                        ],
                    )
                    .await;
                let what = format!("{} {jti:?}", key.issuer);
                match round {
                    0 => drop(world.issued(&what, &answer).await),
                    _ => world.refused(&what, &answer, "invalid_client", "assertion_replayed"),
                }
            }
        }
    }
}

/// A16: a real restart, with an assertion that the first process has taken.
#[tokio::test]
async fn a16_an_assertion_used_before_a_restart_is_refused_after_it() {
    let a = Asserting::start().await;
    let used = a.assertion(json!({}));
    a.taken("before the restart", &used).await;
    let dir = a.world.gateway.dir();
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let files = ["idp.json", "partner.json", "op.secret"].map(|name| (name, read(name)));
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    // The process starts anew a second later, and knows nothing of the first one.
    let start = T + 1;
    let again = Gateway::start_at(start, &read("cambist.yaml"), &read("main.policy"), &files).await;
    let token = a.world.idp.token(&claims(json!({})));
    let send = |assertion: String| {
        let (again, token) = (&again, &token);
        async move {
            again
                .post(
                    None,
                    &[
                        ("grant_type", EXCHANGE),
                        ("subject_token", token),
                        ("subject_token_type", ACCESS_TOKEN),
                        ("resource", "https://backend.example.com"),
                        ("client_assertion_type", JWT_BEARER),
                        ("client_assertion", &assertion),
                    ],
                )
                .await
        }
    };
    for now in [start, start + 1, start + 40] {
        again.clock.set(NumericDate(now));
        let answer = send(used.clone()).await;
        assert_ne!(answer.status, 200, "{now}: {answer:?}");
        assert_eq!(again.last()["reason"], "assertion_before_start", "{now}");
    }
    // Nor is anything else that may have been used then, however fresh; a clock may be ahead by the leeway.
    again.clock.set(NumericDate(start + 30));
    for iat in [start - 100, start - 1, start, start + 5] {
        let old = a.assertion(json!({ "iat": iat, "exp": iat + 200 }));
        let answer = send(old).await;
        assert_ne!(answer.status, 200, "{iat}: {answer:?}");
        assert_eq!(again.last()["reason"], "assertion_before_start", "{iat}");
    }
    let fresh = a.assertion(json!({ "iat": start + 6, "exp": start + 60 }));
    let answer = send(fresh.clone()).await;
    assert_eq!(answer.status, 200, "control: {answer:?}");
    assert_eq!(send(fresh).await.error(), "invalid_client");
}

/// A22: a token that was issued for another party's use, though its issuer is trusted and the rule fits.
#[tokio::test]
async fn a22_tokens_issued_to_other_clients_are_refused_for_every_type() {
    let change = |yaml: String| {
        yaml.replace(
            "subjects: local",
            "subjects: local, token_types: [access_token, jwt, id_token]",
        )
        .replace("audience: any", "audience: client")
    };
    let world = World::with(change, RULES.replace("from idp, self", "from idp").as_str()).await;
    for (aud, more, accepted) in [
        (json!("rs08"), json!({}), true),
        (json!("https://frontend.example.com"), json!({}), true),
        (json!("other"), json!({}), false),
        // That it was issued to this client does not make it addressed to it, nor the other way round.
        (
            json!("other"),
            json!({ "azp": "rs08", "client_id": "rs08" }),
            false,
        ),
        (
            json!("https://as.example.com"),
            json!({ "client_id": "rs08" }),
            false,
        ),
        (
            json!(["other", "https://backend.example.com"]),
            json!({}),
            false,
        ),
        (json!("rs0"), json!({}), false),
        (json!("rs08 other"), json!({}), false),
        (json!("*"), json!({}), false),
    ] {
        let changed = with(&json!({ "aud": aud }), &more);
        let answered = with(&crate::exchange::active(), &changed);
        world
            .op
            .says(move |_| crate::support::Reply::Json(answered.clone()));
        let good = claims(changed.clone());
        for (declared, token) in [
            (ACCESS_TOKEN, world.idp.token(&good)),
            (JWT, world.idp.typed("JWT", &good)),
            (crate::support::ID_TOKEN, world.idp.typed("JWT", &good)),
            (ACCESS_TOKEN, "opaque".to_owned()),
        ] {
            let what = format!("{changed} as {declared}");
            let answer = world.gateway.trade_as(declared, &token).await;
            match accepted {
                true => drop(world.issued(&what, &answer).await),
                false => world.refused(&what, &answer, "invalid_request", "audience_wrong"),
            }
        }
    }
}

/// A28, rule 21: every way in, with what is nearly right. None of them gets a token, and none is answered
/// as another than one of two refusals.
#[tokio::test]
async fn a28_rules_21_22_nearly_right_credentials_for_every_method() {
    let key = Idp::new("keyed", Algorithm::ES256);
    let world = World::with(
        |yaml| {
            let entries = format!(
                "  other: {{ auth: {{ client_secret_basic: {{ secret_file: op.secret }} }} }}\n  poster: {{ auth: {{ client_secret_post: {{ secret_file: op.secret }} }} }}\n  keyed: {{ auth: {{ private_key_jwt: {{ jwks: {} }} }} }}\n  public: {{ auth: {{ none: {{}} }} }}\n",
                key.jwks()
            );
            with_clients(&yaml, &entries)
        },
        &RULES.replace("client \"rs08\"", "any client"),
    )
    .await;
    world.gateway.clock.set(NumericDate(T));
    let encode = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
    let mut tried = 0;
    // In the header.
    let near = |secret: &str| {
        [
            String::new(),
            " ".to_owned(),
            "\u{0}".to_owned(),
            format!("{secret} "),
            format!(" {secret}"),
            format!("{secret}\u{0}"),
            format!("{secret}%00"),
            format!("{secret}\n"),
            secret.to_uppercase(),
            secret[1..].to_owned(),
            secret[..secret.len() - 1].to_owned(),
            secret.repeat(2),
            format!("{secret}:{secret}"),
            "*".to_owned(),
            "null".to_owned(),
            "undefined".to_owned(),
            "true".to_owned(),
            "' OR '1'='1".to_owned(),
            SECRET_OF_NOBODY.to_owned(),
            "sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E".to_owned(),
        ]
    };
    let mut headers: Vec<String> = near(SECRET)
        .iter()
        .flat_map(|secret| [basic("rs08", secret), encode(&format!("rs08:{secret}"))])
        .collect();
    for id in [
        "",
        " ",
        "rs08 ",
        " rs08",
        "RS08",
        "rs08\u{0}",
        "rs0",
        "rs080",
        "*",
        "public",
        "poster",
        "keyed",
        "nobody",
        "https://frontend.example.com",
    ] {
        headers.push(basic(id, SECRET));
        headers.push(encode(&format!("{id}:{SECRET}")));
    }
    // Another client's secret, a public client with one, and one that is registered for another method.
    for (id, secret) in [
        ("rs08", OP_SECRET),
        ("other", SECRET),
        ("public", OP_SECRET),
        ("poster", OP_SECRET),
        ("keyed", OP_SECRET),
    ] {
        headers.push(basic(id, secret));
    }
    headers.extend(
        [
            "Basic",
            "Basic ",
            "Basic :",
            "Basic Og==",
            "Basic cnMwOA==",
            "Basic cnMwODo=",
            "Basic ====",
            "basic",
            "Bearer x",
            "Digest username=\"rs08\"",
            "rs08",
            "Negotiate",
            "DPoP x",
        ]
        .map(str::to_owned),
    );
    headers.push(encode(&format!("rs08:{SECRET}")).replace("Basic ", "Basic"));
    headers.push(format!(
        "{}, {}",
        basic("rs08", SECRET),
        basic("other", OP_SECRET)
    ));
    for header in &headers {
        let answer = ask(&world, &[("Authorization", header)], &[]).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (401, "invalid_client"),
            "{header:?}: {answer:?}"
        );
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic "), "{challenge}");
        tried += 1;
    }
    // In the form.
    let mut forms: Vec<(String, String)> = near(OP_SECRET)
        .into_iter()
        .filter(|secret| !secret.is_empty())
        .map(|secret| ("poster".to_owned(), secret))
        .collect();
    for id in [
        " ",
        "poster ",
        "POSTER",
        "poster\u{0}",
        "rs08",
        "other",
        "keyed",
        "public",
        "nobody",
        "*",
    ] {
        forms.push((id.to_owned(), OP_SECRET.to_owned()));
    }
    forms.push(("poster".to_owned(), SECRET.to_owned()));
    for (id, secret) in &forms {
        let answer = ask(&world, &[], &[("client_id", id), ("client_secret", secret)]).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (401, "invalid_client"),
            "{id:?} {secret:?}: {answer:?}"
        );
        tried += 1;
    }
    // By name alone, where that is not enough.
    for id in [
        "",
        " ",
        "rs08",
        "other",
        "poster",
        "keyed",
        "nobody",
        "PUBLIC",
        "public ",
        "public\u{0}",
        "*",
    ] {
        for more in [
            vec![("client_id", id)],
            vec![("client_id", id), ("client_secret", "")],
        ] {
            let answer = ask(&world, &[], &more).await;
            assert_eq!(answer.error(), "invalid_client", "{id:?}: {answer:?}");
            tried += 1;
        }
    }
    // By assertion: with another's key, of another's name, as one that has no key at all.
    let good = |id: &str, jti: &str| {
        json!({
            "iss": id, "sub": id, "aud": "https://as.example.com", "iat": T, "exp": T + 60, "jti": jti,
        })
    };
    let stranger = Idp::new("keyed", Algorithm::ES256);
    let header = key.header(&json!({ "typ": "JWT" }));
    let assertions = [
        String::new(),
        " ".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "null".to_owned(),
        stranger.typed("JWT", &good("keyed", "1")),
        stranger.raw(&header, &good("keyed", "2").to_string()),
        world.idp.typed("JWT", &good("keyed", "3")),
        key.typed("JWT", &good("rs08", "4")),
        key.typed("JWT", &good("public", "5")),
        key.typed("JWT", &good("nobody", "6")),
        key.typed("JWT", &good("", "7")),
        key.typed("JWT", &good("KEYED", "8")),
        key.typed("JWT", &good("keyed\u{0}", "9")),
        key.typed(
            "JWT",
            &with(&good("keyed", "10"), &json!({ "iss": "other" })),
        ),
        key.typed(
            "JWT",
            &with(&good("keyed", "11"), &json!({ "sub": "public" })),
        ),
        key.typed(
            "JWT",
            &with(&good("keyed", "12"), &json!({ "sub": ["keyed"] })),
        ),
    ];
    for assertion in &assertions {
        for id in [None, Some("keyed"), Some("public"), Some("rs08")] {
            let mut more = vec![
                ("client_assertion_type", JWT_BEARER),
                ("client_assertion", assertion.as_str()),
            ];
            more.extend(id.map(|id| ("client_id", id)));
            let answer = ask(&world, &[], &more).await;
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (401, "invalid_client"),
                "{assertion:?} {id:?}: {answer:?}"
            );
            tried += 1;
        }
    }
    println!("client authentication: {tried} attempts refused");
    // Two methods at once are refused even where both are right.
    let right = basic("other", OP_SECRET);
    let assertion = key.typed("JWT", &good("keyed", "good"));
    for (headers, more) in [
        (
            vec![("Authorization", &*right)],
            vec![("client_id", "poster"), ("client_secret", OP_SECRET)],
        ),
        (
            vec![("Authorization", &*right)],
            vec![
                ("client_assertion_type", JWT_BEARER),
                ("client_assertion", &*assertion),
            ],
        ),
        (
            vec![("Authorization", &*right), ("Authorization", &*right)],
            vec![],
        ),
        (
            vec![],
            vec![
                ("client_id", "poster"),
                ("client_secret", OP_SECRET),
                ("client_assertion_type", JWT_BEARER),
                ("client_assertion", &*assertion),
            ],
        ),
    ] {
        let answer = ask(&world, &headers, &more).await;
        world.refused("two", &answer, "invalid_request", "client_auth_several");
    }
    // And each alone is let in.
    let reached = |answer: Answer, id: &str| {
        let record = world.gateway.last();
        assert_eq!(record["client"]["id"], id, "{answer:?}");
        assert_eq!(record["client"].get("authenticated"), None, "{answer:?}");
    };
    reached(
        ask(&world, &[("Authorization", &basic("rs08", SECRET))], &[]).await,
        "rs08",
    );
    reached(
        ask(&world, &[("Authorization", &right)], &[]).await,
        "other",
    );
    reached(
        ask(
            &world,
            &[],
            &[("client_id", "poster"), ("client_secret", OP_SECRET)],
        )
        .await,
        "poster",
    );
    reached(
        ask(
            &world,
            &[],
            &[
                ("client_assertion_type", JWT_BEARER),
                ("client_assertion", &assertion),
            ],
        )
        .await,
        "keyed",
    );
    reached(ask(&world, &[], &[("client_id", "public")]).await, "public");
}

/// Rule 25: this build authenticates nobody by certificate, so no header that a proxy may write for one is
/// believed: not instead of credentials, and not beside them.
#[tokio::test]
async fn rule_25_client_certificates_in_headers_are_never_believed() {
    let world = World::start().await;
    let certificate = BASE64_STANDARD.encode([0x30; 64]);
    let names = [
        "Client-Cert",
        "Client-Cert-Chain",
        "X-Client-Cert",
        "X-SSL-Cert",
        "X-SSL-Client-Cert",
        "SSL_CLIENT_CERT",
        "X-SSL-Client-S-DN",
        "X-SSL-Client-Verify",
        "X-Forwarded-Client-Cert",
        "X-ARR-ClientCert",
        "X-Amzn-Mtls-Clientcert",
        "X-Remote-User",
        "Remote-User",
        "X-Forwarded-User",
        "X-Client-Id",
    ];
    for name in names {
        for value in [
            format!(":{certificate}:"),
            "CN=rs08".to_owned(),
            "rs08".to_owned(),
            "SUCCESS".to_owned(),
        ] {
            let wrong = basic("rs08", SECRET_OF_NOBODY);
            for (headers, more) in [
                (vec![(name, &*value)], vec![]),
                (vec![(name, &*value)], vec![("client_id", "rs08")]),
                (vec![(name, &*value), ("Authorization", &wrong)], vec![]),
            ] {
                let answer = ask(&world, &headers, &more).await;
                assert_eq!(answer.error(), "invalid_client", "{name}: {answer:?}");
            }
        }
        // Nor does one change who has authenticated.
        let right = basic("rs08", SECRET);
        let answer = ask(
            &world,
            &[(name, "CN=other"), ("Authorization", &right)],
            &[],
        )
        .await;
        world.issued(name, &answer).await;
        assert_eq!(
            world.gateway.last()["client"],
            json!({ "id": "rs08", "auth": "client_secret_basic" })
        );
    }
    let metadata: Value = world
        .gateway
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    let methods = metadata["token_endpoint_auth_methods_supported"].to_string();
    assert!(!methods.contains("tls"), "{methods}");
}
