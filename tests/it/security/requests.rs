//! The request and its answer: A3, A5, A6, A10, A13, A17, A19, rules 16 to 21 and 27 to 29. What is sent is
//! bytes, and so is what is looked at.

use cambist::reload::reload;
use serde_json::{Value, json};

use crate::exchange::{OP_SECRET, World, active};
use crate::support::{
    ACCESS_TOKEN, Answer, EXCHANGE, JWT, RULES, Reply, SECRET, basic, claims, form, head, with,
};

/// Posts this very body as `rs08`.
async fn post(world: &World, body: &str) -> Answer {
    let head = head(Some(&basic("rs08", SECRET)), body.len());
    world.gateway.send(format!("{head}{body}").as_bytes()).await
}

/// A good request for `rs08`, parameter by parameter.
fn good(token: &str) -> Vec<(String, String)> {
    [
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://backend.example.com/api"),
        ("scope", "api"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The same with changes: a parameter of that name is replaced, or else added.
fn changed(token: &str, changes: &[(&str, &str)]) -> String {
    let mut all = good(token);
    for (name, value) in changes {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = (*value).to_owned(),
            None => all.push(((*name).to_owned(), (*value).to_owned())),
        }
    }
    pairs(&all)
}

fn pairs(all: &[(String, String)]) -> String {
    let all: Vec<(&str, &str)> = all
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    form(&all)
}

/// A3: clients are no audiences. Naming one, whoever it is, gives nobody a token for it.
#[tokio::test]
async fn a3_a_client_that_is_named_as_audience_is_no_target() {
    let others = "  other: { identifiers: [\"https://other.example.com\"], auth: { client_secret_basic: { secret_file: op.secret } } }\nresources:";
    let rules = format!(
        "{RULES}rule named {{\n  from idp\n  by client \"rs08\"\n  to audience \"billing\"\n  use mint {{ scope: requested & subject.scope }}\n}}\n"
    );
    let world = World::with(|yaml| yaml.replace("resources:", others), &rules).await;
    let token = world.idp.token(&claims(
        json!({ "aud": ["rs08", "other", "https://other.example.com"] }),
    ));
    for (targets, accepted) in [
        (vec![("audience", "billing")], true),
        (vec![("audience", "other")], false),
        (vec![("audience", "rs08")], false),
        (vec![("audience", "https://other.example.com")], false),
        (vec![("resource", "https://other.example.com")], false),
        (vec![("audience", "billing"), ("audience", "other")], false),
        (
            vec![
                ("audience", "other"),
                ("resource", "https://backend.example.com"),
            ],
            false,
        ),
        (vec![("audience", "https://as.example.com")], false),
        (vec![("audience", "https://backend.example.com")], false),
        (vec![("audience", "backend")], false),
        (vec![("audience", "*")], false),
    ] {
        let mut all = vec![
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        all.extend(&targets);
        let answer = world.gateway.exchange(&all).await;
        let what = format!("{targets:?}");
        match accepted {
            true => assert_eq!(world.issued(&what, &answer).await["aud"], "billing"),
            false => world.refused(&what, &answer, "invalid_target", "no_rule_for_target"),
        }
    }
}

/// A5, A6: one decision, whichever way a request comes in: by each method of client authentication, as each
/// type of token, verified by keys or by introspection, for a resource or an audience.
#[tokio::test]
async fn a5_a6_every_way_in_leads_to_the_same_decision() {
    let key = crate::support::Idp::new("keyed", cambist::jose::Algorithm::ES256);
    let change = |yaml: String| {
        let entries = format!(
            "  poster: {{ auth: {{ client_secret_post: {{ secret_file: op.secret }} }} }}\n  keyed: {{ auth: {{ private_key_jwt: {{ jwks: {} }} }} }}\n  public: {{ auth: {{ none: {{}} }} }}\nresources:",
            key.jwks()
        );
        yaml.replace("resources:", &entries).replace(
            "audience: client, scope: claim",
            "audience: client, scope: claim, claims: { team?: string }",
        )
    };
    let to = |to: &str| {
        format!(
            "rule {to} {{\n  from idp, partner, op\n  by   client [\"rs08\", \"poster\", \"keyed\", \"public\"]\n  to   {}\n  use  mint {{ scope: requested & [\"api\", \"profile\"] beyond subject, sub: \"${{subject.issuer}}|${{subject.sub}}\" }}\n}}\n",
            match to {
                "named" => "audience \"billing\"",
                _ => "resource under \"https://backend.example.com\"",
            }
        )
    };
    let rules = format!(
        "policy 1 module main\n{}{}deny mallory {{ because \"no\"  when subject.sub == \"mallory\" }}\n",
        to("located"),
        to("named")
    );
    let world = World::with(change, &rules).await;
    world
        .gateway
        .clock
        .set(cambist::oauth::NumericDate(crate::exchange::assertions::T));
    let now = crate::exchange::assertions::T;
    let mut decisions = 0;
    for sub in ["alice", "mallory"] {
        let answered = with(&active(), &json!({ "sub": sub }));
        world.op.says(move |_| Reply::Json(answered.clone()));
        let good = claims(json!({ "sub": sub, "aud": ["rs08", "poster", "keyed", "public"] }));
        let ours = json!({ "aud": "https://as.example.com", "scp": "api" });
        for (issuer, declared, token) in [
            ("idp", ACCESS_TOKEN, world.idp.token(&good)),
            ("idp", JWT, world.idp.token(&good)),
            ("idp", JWT, world.idp.typed("JWT", &good)),
            ("partner", JWT, world.partner.token(&with(&good, &ours))),
            ("op", ACCESS_TOKEN, "opaque".to_owned()),
        ] {
            for client in ["rs08", "poster", "keyed", "public"] {
                for (name, target, accepted) in [
                    ("resource", "https://backend.example.com/api", true),
                    ("audience", "billing", true),
                    ("resource", "https://elsewhere.example.com/", false),
                    ("audience", "payroll", false),
                ] {
                    let id = format!("{sub}-{declared}-{token:.9}-{client}-{target}-{decisions}");
                    let assertion = key.typed(
                        "JWT",
                        &json!({
                            "iss": "keyed", "sub": "keyed", "aud": "https://as.example.com",
                            "iat": now, "exp": now + 60, "jti": id,
                        }),
                    );
                    let mut all = vec![
                        ("grant_type", EXCHANGE),
                        ("subject_token", token.as_str()),
                        ("subject_token_type", declared),
                        ("scope", "api"),
                        (name, target),
                    ];
                    let header = match client {
                        "rs08" => Some(basic("rs08", SECRET)),
                        "poster" => {
                            all.extend([("client_id", "poster"), ("client_secret", OP_SECRET)]);
                            None
                        }
                        "keyed" => {
                            all.extend([
                                (
                                    "client_assertion_type",
                                    crate::exchange::assertions::JWT_BEARER,
                                ),
                                ("client_assertion", &assertion),
                            ]);
                            None
                        }
                        _ => {
                            all.push(("client_id", "public"));
                            None
                        }
                    };
                    let answer = world.gateway.post(header.as_deref(), &all).await;
                    let what = format!("{sub} of {issuer} as {declared} by {client} to {target}");
                    let record = world.gateway.last();
                    assert_eq!(record["client"]["id"], client, "{what}");
                    decisions += 1;
                    match (sub, accepted) {
                        ("alice", true) => {
                            let issued = world.issued(&what, &answer).await;
                            assert_eq!(issued["sub"], format!("{issuer}|alice"), "{what}");
                            assert_eq!(issued["scope"], "api", "{what}");
                            assert_eq!(issued["client_id"], client, "{what}");
                        }
                        ("alice", false) => {
                            world.refused(&what, &answer, "invalid_target", "no_rule_for_target");
                        }
                        (_, true) => world.refused(&what, &answer, "invalid_request", "denied"),
                        _ => assert_eq!(answer.status, 400, "{what}: {answer:?}"),
                    }
                    // `cambist explain` decides a record with the evaluator that decided the request.
                    let snapshot = world.gateway.running.gateway.live.load();
                    let facts = record["context"].as_object().unwrap();
                    let context = cambist::policy::facts::assemble(
                        facts,
                        &snapshot.first().schema,
                        cambist::oauth::NumericDate(now),
                    )
                    .unwrap();
                    let again = snapshot.first().policies.decide(&context).permitted();
                    assert_eq!(again.is_ok(), answer.status == 200, "{what}");
                }
            }
        }
    }
    assert_eq!(decisions, 2 * 5 * 4 * 4);
}

/// A6: no rule, no token, whatever processors there are; and no client outside its rule.
#[tokio::test]
async fn a6_a_processor_without_a_rule_gives_nothing() {
    let nobody = RULES.replace("by   client \"rs08\"", "by   client \"other\"");
    let other =
        "  other: { auth: { client_secret_basic: { secret_file: op.secret } } }\nresources:";
    for (rules, accepted) in [(RULES.to_owned(), true), (nobody, false)] {
        let world = World::with(|yaml| yaml.replace("resources:", other), &rules).await;
        let answer = world
            .gateway
            .trade(&world.idp.token(&claims(json!({}))))
            .await;
        match accepted {
            true => drop(world.issued("control", &answer).await),
            false => world.refused(
                "nobody",
                &answer,
                "unauthorized_client",
                "no_rule_for_client",
            ),
        }
    }
}

/// A10: what the policy says from now on holds for the very next request, and so does what it no longer
/// says.
#[tokio::test]
async fn a10_a_target_that_was_taken_away_is_refused_at_once() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    for round in 0..2 {
        let answer = world.gateway.trade(&token).await;
        world
            .issued(&format!("with its rule, {round}"), &answer)
            .await;
        for (change, reason) in [
            (
                RULES.replace(
                    "https://backend.example.com\"",
                    "https://backend.example.com/other\"",
                ),
                "no_rule_for_target",
            ),
            (
                format!(
                    "{RULES}deny closed {{ because \"closed\"  when client.id == \"rs08\" }}\n"
                ),
                "denied",
            ),
            (RULES.to_owned(), ""),
        ] {
            std::fs::write(world.gateway.dir().join("main.policy"), &change).unwrap();
            let outcome = reload(&world.gateway.running.gateway, world.gateway.dir());
            assert_eq!(outcome.name(), "applied");
            let answer = world.gateway.trade(&token).await;
            match reason {
                "" => drop(world.issued("given back", &answer).await),
                reason => {
                    assert_eq!(answer.status, 400, "{answer:?}");
                    assert_eq!(world.gateway.last()["reason"], reason);
                }
            }
        }
    }
}

/// A17: nobody learns anything about a token here: there is no introspection for strangers, nor for
/// anybody; and an answer about a token for somebody else does not help whoever brings it.
#[tokio::test]
async fn a17_introspection_helps_nobody_whom_a_token_is_not_for() {
    let world = World::with(
        |yaml| yaml.replace("audience: any", "audience: client"),
        RULES,
    )
    .await;
    let token = world.idp.token(&claims(json!({})));
    let issued = world
        .issued("control", &world.gateway.trade(&token).await)
        .await;
    assert_eq!(issued["sub"], "alice");
    let body = form(&[("token", token.as_str())]);
    for path in [
        "/introspect",
        "/introspection",
        "/token/introspect",
        "/as/introspect.oauth2",
        "/userinfo",
        "/revoke",
    ] {
        for credentials in [None, Some(basic("rs08", SECRET))] {
            let head = head(credentials.as_deref(), body.len());
            let request = format!("{}{body}", head.replacen("/token", path, 1));
            let answer = world.gateway.send(request.as_bytes()).await;
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
            assert!(!answer.body.contains("alice"), "{path}: {answer:?}");
            let admin = crate::support::call(world.gateway.running.admin, request.as_bytes()).await;
            assert!(
                admin.status >= 400 && !admin.body.contains("alice"),
                "{path}: {admin:?}"
            );
        }
    }
    let metadata = world
        .gateway
        .get("/.well-known/oauth-authorization-server")
        .await
        .body;
    assert!(
        !metadata.contains("introspection") && !metadata.contains("revocation"),
        "{metadata}"
    );
    for (aud, accepted) in [
        (json!("rs08"), true),
        (json!(["other", "rs08"]), true),
        (json!("other"), false),
        (json!(["other"]), false),
        (json!([]), false),
        (json!("rs08x"), false),
    ] {
        let answered = with(&active(), &json!({ "aud": aud }));
        world.op.says(move |_| Reply::Json(answered.clone()));
        let answer = world.gateway.trade("opaque").await;
        match accepted {
            true => drop(world.issued(&aud.to_string(), &answer).await),
            false => world.refused(
                &aud.to_string(),
                &answer,
                "invalid_request",
                "audience_wrong",
            ),
        }
    }
    // An answer of another form (`jwt`, RFC 9701) is no answer: it is not read past its checks.
    let signed = world.idp.token(&claims(json!({})));
    for (kind, body) in [
        ("application/token-introspection+jwt", signed.clone()),
        (
            "application/json",
            json!({ "active": false, "jwt": signed }).to_string(),
        ),
        ("application/json", json!({ "jwt": signed }).to_string()),
    ] {
        world.op.says(move |_| Reply::http("200 OK", kind, &body));
        let answer = world.gateway.trade("opaque").await;
        assert_ne!(answer.status, 200, "{kind}: {answer:?}");
    }
}

/// Values that somebody may send where another kind is meant.
fn odd() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(1e308),
        json!(-1e-308),
        json!(""),
        json!(" "),
        json!("\u{0}"),
        json!("\r\nX-Injected: 1"),
        json!("a|b|c"),
        json!("${subject.sub}"),
        json!("%s%n%{x}"),
        json!("../../etc/passwd"),
        json!("\u{202e}\u{feff}\u{10ffff}"),
        json!("x".repeat(6_000)),
        json!([]),
        json!([[]]),
        json!([null, 1, "a"]),
        json!(vec!["a"; 500]),
        json!({}),
        json!({ "": "" }),
        json!({ "sub": { "sub": {} } }),
        json!({ "a": { "b": { "c": { "d": [1, 2, { "e": null }] } } } }),
    ]
}

/// A19: whatever a token, an answer or a parameter holds, there is a decision, and never a server error.
#[tokio::test]
async fn a19_hostile_input_is_refused_and_never_a_server_error() {
    let change = |yaml: String| {
        yaml.replace(
            "subjects: local",
            "subjects: local, claims: { name?: string, age?: int, on?: bool, home?: uri, groups?: \"set<string>\" }",
        )
    };
    let rules = RULES.replacen(
        "sub: \"partner|",
        "claims: { who: \"p|${subject.sub}\", from: conn.ip, acr: subject.acr }, sub: \"partner|",
        1,
    );
    let rules = format!(
        "{rules}deny named {{ from idp  when subject.claims.name ?? \"\" like \"mal*\" }}\n"
    );
    let world = World::with(change, &rules).await;
    let decided = |what: &str, answer: &Answer| {
        assert!((200..500).contains(&answer.status), "{what}: {answer:?}");
        let names: Vec<&str> = answer
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert!(!names.contains(&"x-injected"), "{what}: {answer:?}");
        assert!(
            crate::support::Gateway::is_strict_json(&answer.body),
            "{what}: {answer:?}"
        );
    };
    let mut sent = 0;
    let registered = [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "scope",
        "scp",
        "client_id",
        "azp",
        "act",
        "may_act",
        "cnf",
        "acr",
        "amr",
        "auth_time",
        "typ",
        "token_use",
        "nonce",
        "events",
        "name",
        "age",
        "on",
        "home",
        "groups",
        "active",
        "token_type",
        "tenant",
        "",
    ];
    for claim in registered {
        for value in odd() {
            let token = world.idp.token(&claims(json!({ claim: value })));
            decided(claim, &world.gateway.trade(&token).await);
            let ours = json!({ "aud": "https://as.example.com", "scp": "api" });
            let theirs = claims(with(&ours, &json!({ claim: value })));
            decided(
                claim,
                &world
                    .gateway
                    .trade_as(JWT, &world.partner.token(&theirs))
                    .await,
            );
            sent += 2;
        }
    }
    // In the header.
    for member in [
        "alg", "typ", "kid", "cty", "crit", "b64", "zip", "enc", "jwk", "jku", "x5c", "x5t", "",
        "url",
    ] {
        for value in odd() {
            let header = world.idp.header(&json!({ member: value }));
            let token = world
                .idp
                .raw(&header, &world.idp.payload(&claims(json!({}))));
            decided(member, &world.gateway.trade(&token).await);
            sent += 1;
        }
    }
    // In the form.
    let token = world.idp.token(&claims(json!({})));
    let names = [
        "grant_type",
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "resource",
        "audience",
        "scope",
        "requested_token_type",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "authorization_details",
        "unknown",
        "",
    ];
    for name in names {
        for value in odd() {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            decided(
                name,
                &post(&world, &changed(&token, &[(name, &text)])).await,
            );
            sent += 1;
        }
    }
    // Bodies that are hardly forms.
    for body in [
        "&",
        "=",
        "==",
        "&&&&",
        "%",
        "%zz",
        "a",
        "a=%ff",
        "%00=%00",
        "{}",
        "[",
        "\u{0}",
        "grant_type",
        "=grant_type",
        "+=+",
    ] {
        decided(body, &post(&world, body).await);
        sent += 1;
    }
    println!("hostile input: {sent} requests decided");
    let records = world.gateway.records();
    assert!(records.iter().all(|record| record["outcome"] != "failed"));
    assert_eq!(records.len(), sent);
    // What an issuer answers may be its fault; it is said to be, and nothing breaks.
    for member in registered {
        for value in odd() {
            let answered = with(&active(), &json!({ member: value }));
            world.op.says(move |_| Reply::Json(answered.clone()));
            let answer = world.gateway.trade("opaque").await;
            let fine = match answer.status {
                503 => member == "active",
                status => (200..500).contains(&status),
            };
            assert!(fine, "{member} {value}: {answer:?}");
        }
    }
    world.op.says(|_| Reply::Json(active()));
    world
        .issued("control", &world.gateway.trade(&token).await)
        .await;
    world
        .issued("control", &world.gateway.trade("opaque").await)
        .await;
}

/// Rule 16: one method, one content type, one place for parameters.
#[tokio::test]
async fn rule_16_a_post_of_a_form_and_nothing_from_the_uri() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    let body = pairs(&good(&token));
    let head = head(Some(&basic("rs08", SECRET)), body.len());
    let form_type = "application/x-www-form-urlencoded";
    let send = |head: String, body: &str| {
        let request = format!("{head}{body}");
        let gateway = &world.gateway;
        async move { gateway.send(request.as_bytes()).await }
    };
    for kind in [
        form_type.to_owned(),
        format!("{form_type}; charset=UTF-8"),
        form_type.to_uppercase(),
    ] {
        let answer = send(head.replace(form_type, &kind), &body).await;
        world.issued(&kind, &answer).await;
    }
    for kind in [
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=iso-8859-1",
        "application/x-www-form-urlencoded-2",
        "",
    ] {
        let answer = send(head.replace(form_type, kind), &body).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "invalid_request"),
            "{kind}"
        );
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY"] {
        let answer = send(head.replacen("POST", method, 1), &body).await;
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
    // All of it in the URI, some of it, and something of no meaning.
    for query in [
        format!("?{body}"),
        "?scope=api".to_owned(),
        "?client_id=rs08".to_owned(),
        "?x".to_owned(),
        "?".to_owned(),
    ] {
        let answer = send(head.replacen("/token", &format!("/token{query}"), 1), &body).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "invalid_request"),
            "{query}"
        );
    }
    for bytes in [
        &b"scope=\xff"[..],
        b"scope=%ff",
        b"scope=%C0%AF",
        b"scope=%ED%A0%80",
    ] {
        let mut request = head
            .replace(
                &format!("Content-Length: {}", body.len()),
                &format!("Content-Length: {}", bytes.len()),
            )
            .into_bytes();
        request.extend_from_slice(bytes);
        let answer = world.gateway.send(&request).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "invalid_request"),
            "{bytes:?}"
        );
    }
}

/// Rules 17, 18: what must be there, what is as good as absent, what means nothing, what is said twice.
#[tokio::test]
async fn rules_17_18_absent_empty_unknown_and_repeated_parameters() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    let good = good(&token);
    world
        .issued("control", &post(&world, &pairs(&good)).await)
        .await;
    for name in ["grant_type", "subject_token", "subject_token_type"] {
        let without: Vec<_> = good
            .iter()
            .filter(|(known, _)| known != name)
            .cloned()
            .collect();
        for body in [
            pairs(&without),
            format!("{}&{name}=", pairs(&without)),
            format!("{}&{name}", pairs(&without)),
        ] {
            let answer = post(&world, &body).await;
            assert_eq!(answer.error(), "invalid_request", "{name}: {answer:?}");
            let text = answer.json()["error_description"]
                .as_str()
                .unwrap()
                .to_owned();
            assert_eq!(text, format!("'{name}' is missing"));
        }
    }
    // Empty is absent, so nothing is asked for by it.
    let empty =
        "&resource=&audience=&actor_token=&actor_token_type=&requested_token_type=&client_id=";
    let answer = post(
        &world,
        &format!(
            "{}{empty}",
            pairs(&good).replace("&resource=https", "&resource=&resource=https")
        ),
    )
    .await;
    world.issued("empty", &answer).await;
    let unknown =
        "&refresh_token=x&assertion=y&code=z&password=p&is_admin=true&sub=root&exp=9999999999";
    let issued = world
        .issued(
            "unknown",
            &post(&world, &format!("{}{unknown}", pairs(&good))).await,
        )
        .await;
    assert_eq!(
        (&issued["sub"], &issued["exp"]),
        (&json!("alice"), &json!(crate::support::NOW + 60))
    );
    for name in [
        "grant_type",
        "subject_token",
        "subject_token_type",
        "scope",
        "requested_token_type",
        "client_id",
        "actor_token",
        "actor_token_type",
        "whatever",
    ] {
        let value = good
            .iter()
            .find(|(known, _)| known == name)
            .map_or("x", |(_, value)| value);
        let twice = form(&[(name, value), (name, value)]);
        let rest: Vec<_> = good
            .iter()
            .filter(|(known, _)| known != name)
            .cloned()
            .collect();
        for body in [
            format!("{}&{twice}", pairs(&rest)),
            format!("{}&{}&{name}=", pairs(&rest), form(&[(name, value)])),
        ] {
            let answer = post(&world, &body).await;
            assert_eq!(
                answer.error(),
                "invalid_request",
                "{name} twice: {answer:?}"
            );
            let text = answer.json()["error_description"]
                .as_str()
                .unwrap()
                .to_owned();
            assert!(text.contains("a parameter is repeated"), "{name}: {text}");
        }
    }
    let again = format!(
        "{}&{}",
        pairs(&good),
        form(&[("resource", "https://backend.example.com/more")])
    );
    world
        .issued("two resources", &post(&world, &again).await)
        .await;
}

/// Rule 19: a resource is absolute, canonical and compared by segment.
#[tokio::test]
async fn rule_19_resources_that_are_like_one_of_ours_are_others() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    for (resource, accepted) in [
        ("https://backend.example.com", true),
        ("https://backend.example.com/", true),
        ("https://backend.example.com/api/v1", true),
        ("https://backend.example.com:443/api", true),
        ("https://BACKEND.example.com/api", true),
        ("https://backend.example.com/api#", false),
        ("https://backend.example.com/#x", false),
        ("backend.example.com", false),
        ("/api", false),
        ("//backend.example.com", false),
        ("https:backend.example.com", false),
        ("http://backend.example.com", false),
        ("https://backend.example.com.evil.example", false),
        ("https://evil.example/https://backend.example.com", false),
        ("https://backend.example.com@evil.example", false),
        ("https://evil.example@backend.example.com", false),
        ("https://backend.example.com:444", false),
        ("https://backend.example.com./", false),
        ("https://xbackend.example.com", false),
        ("https://example.com", false),
        ("https://backend.example.com/a/../b", false),
        ("https://backend.example.com/%2e%2e/x", false),
        ("https://backend.example.com/a%2fb", false),
        ("https://backend.example.com\\@evil.example", false),
        ("https://backend.example.com/\t", false),
        (" https://backend.example.com", false),
        ("https://b\u{430}ckend.example.com", false),
        ("https://backend\u{3002}example.com", false),
        ("javascript:alert(1)", false),
        ("urn:backend", false),
    ] {
        let answer = post(&world, &changed(&token, &[("resource", resource)])).await;
        match accepted {
            true => {
                let issued = world.issued(resource, &answer).await;
                assert_eq!(issued["aud"], "https://backend.example.com", "{resource}");
            }
            false => assert_eq!(answer.error(), "invalid_target", "{resource}: {answer:?}"),
        }
    }
}

/// Rule 20: a scope is spelled as it is registered, and as RFC 6749 §3.3 lets it be.
#[tokio::test]
async fn rule_20_scopes_differ_by_case_and_have_a_syntax() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    for (scope, granted) in [
        ("api", Some("api")),
        ("profile api", Some("api profile")),
        ("api api", Some("api")),
        ("API", None),
        ("Api", None),
        ("api ", None),
        (" api", None),
        ("api  profile", None),
        ("api\tprofile", None),
        ("api,profile", None),
        ("ap", None),
        ("apis", None),
        ("*", None),
        ("\"api\"", None),
        ("a\\pi", None),
        ("\u{430}pi", None),
    ] {
        let answer = post(&world, &changed(&token, &[("scope", scope)])).await;
        match granted {
            Some(granted) => {
                assert_eq!(
                    world.issued(scope, &answer).await["scope"],
                    granted,
                    "{scope}"
                );
                assert_eq!(answer.json()["scope"], granted, "{scope}");
            }
            None => assert_eq!(answer.error(), "invalid_scope", "{scope:?}: {answer:?}"),
        }
    }
}

/// Rule 27: byte by byte, what a success says and that nobody keeps it.
#[tokio::test]
async fn rule_27_a_success_says_what_was_issued_and_is_not_stored() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    let answer = post(&world, &pairs(&good(&token))).await;
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("cache-control").unwrap().contains("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    assert_eq!(answer.header("www-authenticate"), None);
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert_eq!(length, answer.body.len());
    let mut json = answer.json();
    let issued = json["access_token"].take();
    assert_eq!(issued.as_str().unwrap().split('.').count(), 3);
    assert_eq!(
        json,
        json!({
            "access_token": null, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer",
            "expires_in": 60, "scope": "api",
        })
    );
    // A scope is said wherever it is not the one that was asked for.
    for (asked, said) in [
        ("api profile admin", "api profile"),
        ("", "api profile"),
        ("api", "api"),
    ] {
        let answer = post(&world, &changed(&token, &[("scope", asked)])).await;
        assert_eq!(answer.json()["scope"], said, "{asked:?}");
    }
    // An error is kept by nobody either.
    let answer = post(&world, "").await;
    assert!(answer.header("cache-control").unwrap().contains("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

/// Rules 28, 29: the code and the status of every kind of refusal, and the letters of what is said.
#[tokio::test]
async fn rules_28_29_the_code_of_each_refusal_and_the_letters_of_its_description() {
    let other =
        "  other: { auth: { client_secret_basic: { secret_file: op.secret } } }\nresources:";
    let world = World::with(|yaml| yaml.replace("resources:", other), RULES).await;
    let idp = &world.idp;
    let token = idp.token(&claims(json!({ "aud": ["rs08", "other"] })));
    let (rs08, stranger) = (basic("rs08", SECRET), basic("other", OP_SECRET));
    let hostile = "\"\\\u{7f}\u{e9}\u{1f980}<script>";
    let tokens = |token: &str| changed(token, &[]);
    for (what, header, body, status, code) in [
        ("nothing", &rs08, String::new(), 400, "invalid_request"),
        (
            "no grant",
            &rs08,
            changed(&token, &[("grant_type", "")]),
            400,
            "invalid_request",
        ),
        (
            "another grant",
            &rs08,
            changed(&token, &[("grant_type", "client_credentials")]),
            400,
            "unsupported_grant_type",
        ),
        (
            "a grant of letters",
            &rs08,
            changed(&token, &[("grant_type", hostile)]),
            400,
            "unsupported_grant_type",
        ),
        (
            "expired",
            &rs08,
            tokens(&idp.token(&claims(json!({ "exp": 1 })))),
            400,
            "invalid_request",
        ),
        (
            "of nobody",
            &rs08,
            tokens(&idp.token(&claims(json!({ "iss": hostile })))),
            400,
            "invalid_request",
        ),
        ("malformed", &rs08, tokens(hostile), 400, "invalid_request"),
        (
            "another type",
            &rs08,
            changed(&token, &[("subject_token_type", hostile)]),
            400,
            "invalid_request",
        ),
        (
            "an actor of nobody",
            &rs08,
            changed(
                &token,
                &[("actor_token", "a.b.c"), ("actor_token_type", JWT)],
            ),
            400,
            "invalid_request",
        ),
        (
            "an issued type",
            &rs08,
            changed(&token, &[("requested_token_type", JWT)]),
            400,
            "invalid_request",
        ),
        (
            "another target",
            &rs08,
            changed(&token, &[("resource", "https://payroll.example.com")]),
            400,
            "invalid_target",
        ),
        (
            "no resource",
            &rs08,
            changed(&token, &[("resource", hostile)]),
            400,
            "invalid_target",
        ),
        (
            "another audience",
            &rs08,
            changed(&token, &[("audience", "payroll")]),
            400,
            "invalid_target",
        ),
        (
            "another scope",
            &rs08,
            changed(&token, &[("scope", "admin")]),
            400,
            "invalid_scope",
        ),
        (
            "no scope",
            &rs08,
            changed(&token, &[("scope", hostile)]),
            400,
            "invalid_scope",
        ),
        (
            "a client without rules",
            &stranger,
            tokens(&token),
            400,
            "unauthorized_client",
        ),
        (
            "a wrong secret",
            &basic("rs08", hostile),
            tokens(&token),
            401,
            "invalid_client",
        ),
        (
            "a wrong name",
            &basic(hostile, SECRET),
            tokens(&token),
            401,
            "invalid_client",
        ),
        (
            "another scheme",
            &"Bearer x".to_owned(),
            tokens(&token),
            401,
            "invalid_client",
        ),
        (
            "another client_id",
            &rs08,
            changed(&token, &[("client_id", hostile)]),
            401,
            "invalid_client",
        ),
        (
            "two methods",
            &rs08,
            changed(&token, &[("client_id", "rs08"), ("client_secret", "x")]),
            400,
            "invalid_request",
        ),
    ] {
        let head = head(Some(header), body.len());
        let answer = world.gateway.send(format!("{head}{body}").as_bytes()).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (status, code),
            "{what}: {answer:?}"
        );
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge.is_some(), status == 401, "{what}: {answer:?}");
        assert!(
            challenge.is_none_or(|challenge| challenge.starts_with("Basic ")),
            "{what}"
        );
        assert!(
            answer.header("cache-control").unwrap().contains("no-store"),
            "{what}"
        );
        let json = answer.json();
        for member in ["error", "error_description"] {
            let text = json[member].as_str().unwrap();
            // RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E.
            let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(
                !text.is_empty() && text.bytes().all(allowed),
                "{what}: {text}"
            );
            assert!(!text.contains("script"), "{what}: {text}");
        }
    }
    let control = post(&world, &tokens(&token)).await;
    world.issued("control", &control).await;
}
