//! One record for every answer, before the answer, or no token.

use std::collections::BTreeSet;
use std::fs;

use cambist::audit::sink::Target;
use cambist::jose::sha256_base64url;
use serde_json::{Value, json};

use super::World;
use crate::support::{
    ACCESS_TOKEN, Gateway, Introspection, NOW, REALM, RULES, Reply, basic, claims,
};

#[tokio::test]
async fn the_record_of_a_token() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    let answer = world
        .gateway
        .exchange(&[
            ("subject_token", &token),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", "https://backend.example.com/api"),
            ("scope", "api"),
        ])
        .await;
    let issued = world.issued("good", &answer).await;
    let mut record = world.gateway.last();
    assert!(
        record["duration_us"]
            .take()
            .as_u64()
            .is_some_and(|duration| duration > 0)
    );
    assert_eq!(
        record["config"].take(),
        world.gateway.running.gateway.live.load().hash
    );
    let at = record["rule"]["at"].take();
    assert_eq!(at, "main.policy:3");
    assert_eq!(
        record,
        json!({
            "time": "2026-09-21T14:13:20.000Z",
            "event": "exchange",
            "realm": "default",
            "request_id": answer.header("x-request-id"),
            "outcome": "issued",
            "rule": { "id": "main.local", "at": null },
            "processor": "mint",
            "client": { "id": "rs08", "auth": "client_secret_basic" },
            "subject": {
                "token_sha256": sha256_base64url(token.as_bytes()),
                "issuer": "idp", "sub": "alice", "token_type": "access_token",
                "token_id": "subject-token-1", "expires_at": NOW + 600,
            },
            "asked": {
                "resource": ["https://backend.example.com/api"], "audience": [], "scope": "api",
                "requested_token_type": null, "subject_token_type": "access_token",
                "actor_token_type": null,
            },
            "granted": {
                "audience": ["https://backend.example.com"], "scope": "api", "expires_at": NOW + 60,
                "token_type": "access_token", "sub": "alice", "token_id": issued["jti"],
                "token_sha256": sha256_base64url(answer.token().as_bytes()),
            },
            "context": {
                "audience": [], "client.auth": "client_secret_basic", "client.id": "rs08", "now": NOW,
                "request.grant_type": "token_exchange",
                "request.scope": ["api"], "resource": ["https://backend.example.com/api"],
                "subject.exp": NOW + 600, "subject.issuer": "idp",
                "subject.scope": ["api", "profile"], "subject.sub": "alice", "subject.token_type": "access_token",
            },
            "config": null,
            "duration_us": null,
        })
    );
}

/// What was known when a request was refused is in its record: the further it came, the more.
#[tokio::test]
async fn the_records_of_refusals() {
    let rules = format!(
        "{RULES}\ndeny never {{ because \"for the audit\"  tell \"for the client\"  error invalid_target  to resource under \"https://backend.example.com/never\" }}\n"
    );
    let world = World::with(|yaml| yaml, &rules).await;
    let good = world.idp.token(&claims(json!({})));
    let has = |record: &Value| {
        ["asked", "client", "subject", "context", "rule", "granted"]
            .map(|part| !record[part].is_null())
    };

    let no_form = world
        .gateway
        .send(b"POST /token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let record = world.gateway.last();
    assert_eq!(
        record["request_id"].as_str(),
        no_form.header("x-request-id")
    );
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("refused"), &json!("content_type"))
    );
    assert_eq!(has(&record), [false; 6]);

    world
        .gateway
        .post(
            Some(&basic("rs08", "wrong")),
            &[
                ("grant_type", crate::support::EXCHANGE),
                ("subject_token", &good),
                ("subject_token_type", ACCESS_TOKEN),
            ],
        )
        .await;
    let record = world.gateway.last();
    assert_eq!(record["reason"], "client_auth_failed");
    // Nothing that a stranger wrote: records are no place to fill a disk from.
    assert_eq!(has(&record), [false, true, false, false, false, false]);
    assert_eq!(
        record["client"],
        json!({ "id": "rs08", "authenticated": false })
    );

    world.gateway.trade("e30.e30.AA").await;
    let record = world.gateway.last();
    assert_eq!(
        (&record["reason"], &record["error"]),
        (&json!("alg_missing"), &json!("invalid_request"))
    );
    assert_eq!(has(&record), [true, true, true, false, false, false]);
    assert_eq!(record["subject"]["sub"], Value::Null);

    world
        .gateway
        .exchange(&[
            ("subject_token", &good),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", "https://elsewhere.example.com"),
        ])
        .await;
    let record = world.gateway.last();
    assert_eq!(
        (&record["reason"], &record["detail"]),
        (
            &json!("no_rule_for_target"),
            &json!("no rule is left at stage `targets`")
        )
    );
    assert_eq!(has(&record), [true, true, true, true, false, false]);

    let denied = world
        .gateway
        .exchange(&[
            ("subject_token", &good),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", "https://backend.example.com/never"),
        ])
        .await;
    assert_eq!(denied.json()["error_description"], "for the client");
    let record = world.gateway.last();
    assert_eq!(
        (&record["reason"], &record["detail"]),
        (&json!("denied"), &json!("for the audit"))
    );
    assert_eq!(
        record["rule"],
        json!({ "id": "main.never", "at": "main.policy:22" })
    );
    assert_eq!(has(&record), [true, true, true, true, true, false]);

    assert_eq!(world.gateway.records().len(), 5);
}

#[tokio::test]
async fn redact_hides_values_wherever_they_stand() {
    let change =
        |yaml: String| format!("audit: {{ redact: [subject.sub, subject.scope] }}\n{yaml}");
    let world = World::with(change, RULES).await;
    let token = world
        .idp
        .token(&claims(json!({ "sub": "alice-the-unnamed" })));
    let answer = world.gateway.trade(&token).await;
    world.issued("redacted", &answer).await;
    let record = world.gateway.last();
    assert_eq!(record["subject"]["sub"], "[redacted]");
    assert_eq!(record["granted"]["sub"], "[redacted]");
    assert_eq!(record["context"]["subject.sub"], "[redacted]");
    assert_eq!(record["context"]["subject.scope"], "[redacted]");
    assert!(
        !record.to_string().contains("alice-the-unnamed"),
        "{record:#}"
    );
    let templated = world.partner.token(&claims(
        json!({ "sub": "alice-the-unnamed", "aud": "https://as.example.com" }),
    ));
    world.gateway.trade(&templated).await;
    assert!(
        !world
            .gateway
            .last()
            .to_string()
            .contains("alice-the-unnamed"),
        "{:#}",
        world.gateway.last()
    );
}

/// F8: no token without a record. The file is gone with its directory, then is there again.
#[tokio::test]
async fn f8_without_a_record_there_is_no_answer_but_503() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let path = logs.join("audit.jsonl");
    let target = Target::File {
        path: path.clone(),
        fsync: true,
    };
    let op = Introspection::start(|_| Reply::Json(super::active())).await;
    let yaml = REALM.replace("OP", &op.address.to_string());
    // Only opaque tokens here: without its signed issuers, the realm needs no key files.
    let yaml: String = yaml
        .lines()
        .filter(|line| !line.contains("jwks_file"))
        .map(|line| format!("{line}\n"))
        .collect();
    let yaml = yaml.replace(
        "client_id: cambist, secret_file: op.secret",
        "unauthenticated: true",
    );
    let asked = RULES.find("rule asked").unwrap();
    let gateway = Gateway::recording_to(
        target,
        &yaml,
        &format!("policy 1 module main\n{}", &RULES[asked..]),
    )
    .await;
    let lines = || {
        fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.contains("\"event\":\"exchange\""))
            .count()
    };
    let metric = |reason: &str| format!("cambist_audit_failures_total{{reason=\"{reason}\"}}");

    assert_eq!(gateway.trade("opaque").await.status, 200);
    assert_eq!(lines(), 1);
    assert_eq!(gateway.admin("/readyz").await.status, 200);

    fs::rename(&logs, dir.path().join("gone")).unwrap();
    for good in [true, false] {
        let answer = match good {
            true => gateway.trade("opaque").await,
            // A refusal leaves no sooner than a token.
            false => gateway.exchange(&[]).await,
        };
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (503, "temporarily_unavailable"),
            "{answer:?}"
        );
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert!(
            !answer.body.contains("access_token") && !answer.body.contains("eyJ"),
            "{answer:?}"
        );
    }
    assert_eq!(gateway.admin("/readyz").await.status, 503);
    assert!(
        gateway
            .admin("/metrics")
            .await
            .body
            .contains(&format!("{} 2", metric("failed")))
    );

    // A directory where the file should be is no better.
    fs::create_dir_all(&path).unwrap();
    assert_eq!(gateway.trade("opaque").await.status, 503);
    fs::remove_dir(&path).unwrap();

    // It recovers by itself, with the next line.
    assert_eq!(gateway.trade("opaque").await.status, 200);
    assert_eq!(lines(), 1);
    assert_eq!(gateway.admin("/readyz").await.status, 200);
    // Rotated away: the next line is in a new file.
    fs::rename(&path, logs.join("audit.jsonl.1")).unwrap();
    assert_eq!(gateway.trade("opaque").await.status, 200);
    assert_eq!(lines(), 1);
}

/// The record is there before the answer is: whoever has the answer can look it up.
#[tokio::test]
async fn the_record_is_written_before_the_answer_leaves() {
    let world = World::start().await;
    let token = world.idp.token(&claims(json!({})));
    let requests = (0..20).map(|_| async {
        let answer = world.gateway.trade(&token).await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        let mine = |record: &Value| record["request_id"] == id.as_str();
        assert_eq!(
            world
                .gateway
                .records()
                .iter()
                .filter(|record| mine(record))
                .count(),
            1
        );
    });
    futures_util::future::join_all(requests).await;
    assert_eq!(world.gateway.records().len(), 20);
}

/// F27, T2: a value of the client's choice cannot break a line in two.
#[tokio::test]
async fn t2_one_line_for_one_record_whatever_is_in_it() {
    let world = World::start().await;
    let token = world.idp.token(&claims(
        json!({ "sub": "\u{2028}\"},{\"outcome\":\"issued\u{85}"  }),
    ));
    let answer = world
        .gateway
        .exchange(&[
            ("subject_token", &token),
            ("subject_token_type", ACCESS_TOKEN),
            ("audience", "a\"}\u{2028}{\"b"),
            ("requested_token_type", "urn:x:\\n\"}"),
        ])
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(world.gateway.records().len(), 1);
    assert_eq!(
        world.gateway.last()["request_id"].as_str(),
        answer.header("x-request-id")
    );
}

/// What two rules decide differently is refused, and is our fault, not the client's.
#[tokio::test]
async fn two_rules_in_conflict_are_a_server_error() {
    // A load proves that no request selects two outcomes. What it cannot prove, and somebody accepted, is
    // refused where it happens.
    let hostile: Vec<String> = (0..16)
        .map(|n| format!("subject.sub not like \"**{n:x}q{n:x}**\""))
        .collect();
    let conflict = format!(
        r#"
rule also {{
  from idp
  by   client "rs08"
  to   resource under "https://backend.example.com/api"
  when {}
  use  mint {{ scope: requested & subject.scope, lifetime: at_most 5s }}
}}
"#,
        hostile.join(" and ")
    );
    let accepted = |yaml| format!("{yaml}accept_unknown: [\"main.also and main.local\"]\n");
    let world = World::with(accepted, &format!("{RULES}{conflict}")).await;
    let token = world.idp.token(&claims(json!({})));
    let answer = world.gateway.trade(&token).await;
    world.refused("conflict", &answer, "server_error", "ambiguous");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("cache-control"), Some("no-cache, no-store"));
    assert_eq!(answer.header("retry-after"), None);
    // The client is not told the names of the rules; the operator is.
    assert!(!answer.body.contains("also") && !answer.body.contains("main"));
    let record = world.gateway.last();
    assert_eq!(
        (&record["outcome"], &record["rule"]["id"]),
        (&json!("failed"), &json!("main.also"))
    );
    assert_eq!(record["also"], json!(["main.local"]));
    let scrape = world.gateway.admin("/metrics").await.body;
    assert!(
        scrape.contains("cambist_policy_ambiguous_total{realm=\"default\"} 1"),
        "{scrape}"
    );
}

/// F29: no client can make series, and no value of a request is a label.
#[tokio::test]
async fn f29_metrics_hold_no_value_of_a_request() {
    let counted = |yaml: String| yaml + "metrics: { rules: 2 }\n";
    let world = World::with(counted, RULES).await;
    let token = world.idp.token(&claims(json!({})));
    world.gateway.trade(&token).await;
    let series = |scrape: &str| -> BTreeSet<String> {
        let samples = scrape.lines().filter(|line| !line.starts_with('#'));
        let names = samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        names.collect()
    };
    let refuse = |number: usize| {
        let (gateway, idp, token) = (&world.gateway, &world.idp, &token);
        async move {
            let name = format!("cardinality-{number}");
            let uri = format!("https://{name}.example.com/");
            let (kind, id) = (format!("urn:{name}:x"), basic(&name, &name));
            let good = ("subject_token", token.as_str());
            let typed = ("subject_token_type", ACCESS_TOKEN);
            gateway.exchange(&[good, typed, ("resource", &uri)]).await;
            gateway.exchange(&[good, typed, ("audience", &name)]).await;
            gateway
                .exchange(&[good, typed, ("audience", &name), ("scope", &name)])
                .await;
            gateway
                .exchange(&[good, ("subject_token_type", &kind)])
                .await;
            gateway.exchange(&[("subject_token", &name), typed]).await;
            gateway.post(Some(&id), &[("grant_type", &name)]).await;
            // What it says of itself in a token that is signed as it should be.
            for odd in [
                json!({ "iss": uri }),
                json!({ "sub": name, "jti": name, "scope": name, "client_id": name }),
                json!({ "act": { "sub": name, "iss": uri } }),
                json!({ "aud": name }),
            ] {
                gateway.trade(&idp.token(&claims(odd))).await;
            }
            gateway
                .post(
                    Some(&id),
                    &[("grant_type", crate::support::EXCHANGE), good, typed],
                )
                .await;
            gateway.get(&format!("/{name}")).await;
        }
    };
    refuse(0).await;
    // The scrapes are counted too.
    world.gateway.admin("/metrics").await;
    let before = world.gateway.admin("/metrics").await.body;
    for number in 1..5 {
        refuse(number).await;
    }
    let after = world.gateway.admin("/metrics").await.body;
    assert_eq!(series(&before), series(&after));
    assert!(series(&after).len() > 100, "{after}");
    assert!(!after.contains("cardinality"), "{after}");
    let issued = "cambist_exchanges_total{outcome=\"issued\",processor=\"mint\",realm=\"default\",reason=\"\"} 6";
    assert!(after.contains(issued), "{after}");
    let rule =
        "cambist_rule_decisions_total{outcome=\"permitted\",realm=\"default\",rule=\"other\"} 6";
    assert!(after.contains(rule), "{after}");
    let failed = "cambist_exchanges_total{outcome=\"refused\",processor=\"\",realm=\"default\",reason=\"client_auth_failed\"} 5";
    assert!(after.contains(failed), "{after}");
}

/// A change of the configuration that could not be recorded is recorded before anything else is.
#[tokio::test]
async fn a_change_that_waits_for_its_record_gets_it_first() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let path = logs.join("audit.jsonl");
    let target = Target::File {
        path: path.clone(),
        fsync: false,
    };
    let audit = cambist::audit::Audit::to(target).unwrap();
    fs::rename(&logs, dir.path().join("gone")).unwrap();
    let change = |new: &str| cambist::snapshot::Change {
        time: "2026-11-28T12:00:00.000Z".to_owned(),
        event: "config",
        cause: "files",
        principal: None,
        result: "applied",
        old: None,
        new: new.to_owned(),
        files: cambist::snapshot::Names::default(),
        items: std::collections::BTreeMap::new(),
        rejected: Vec::new(),
        details: Vec::new(),
    };
    for new in ["one", "two"] {
        assert!(audit.record_change(&change(new)).await.is_err());
    }
    assert!(!audit.probe("2026-11-28T12:00:01.000Z".to_owned()).await);
    fs::rename(dir.path().join("gone"), &logs).unwrap();
    while !audit.probe("2026-11-28T12:00:02.000Z".to_owned()).await {}
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let new: Vec<&Value> = lines
        .iter()
        .filter(|line| line["event"] == "config")
        .map(|line| &line["new"])
        .collect();
    assert_eq!(new, ["one", "two"], "{text}");
    assert_eq!(lines[0]["new"], "one");
}
