//! The scrape of a process, as Prometheus sees it.

use cambist::jose::Algorithm;
use cambist::metrics::METRICS;
use cambist::reload::reload;

use super::{Served, exchanges, promtool};
use crate::exchange::OP_SECRET;
use crate::support::{Gateway, Idp, RULES};

#[tokio::test]
async fn the_scrape_is_what_promtool_wants() {
    let mut served = Served::start(&[], &[]).await;
    exchanges(&served).await;
    let scrape = served.admin("/metrics").await.body;
    served.stop();
    // Every sample belongs to a family of the table, or says how the process is.
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let of = |metric: &&cambist::metrics::Metric| {
            let rest = name.strip_prefix(metric.name);
            rest.is_some_and(|rest| {
                rest.is_empty()
                    || (!metric.buckets.is_empty() && ["_bucket", "_sum", "_count"].contains(&rest))
            })
        };
        assert!(
            METRICS.iter().any(|metric| of(&metric))
                || cambist::metrics::PROCESS_METRICS.contains(&name),
            "{line}"
        );
    }
    // What only time changes is as it is now.
    for line in [
        "cambist_signing_keys{realm=\"default\",state=\"signs\"} 1\n",
        "\ncambist_clock_timestamp_seconds 1",
    ] {
        assert!(scrape.contains(line), "{line} is not in {scrape}");
    }
    // `.ci/run` has it; what is above holds without.
    if let Some((content, says)) = promtool(&["check", "metrics"], &scrape) {
        assert!(content && says.is_empty(), "{says}");
    }
}

/// A realm that asks nobody, at a path of its own.
fn realm(name: &str) -> String {
    let own = crate::support::REALM.lines().filter(|line| {
        !["server:", "admin:"]
            .iter()
            .any(|key| line.starts_with(key))
    });
    let own = own.collect::<Vec<_>>().join("\n");
    let own = own.replace(
        "https://as.example.com",
        &format!("https://as.example.com/{name}"),
    );
    own.replace("OP", "127.0.0.1:1")
}

/// What is counted is counted for the realm that it happened in, and a realm that goes takes its series along.
#[tokio::test]
async fn realms_are_told_apart_and_leave_nothing_behind() {
    let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
    let (one, two) = (realm("one"), realm("two"));
    let (broken, keys) = (format!("{one}\nnonsense: true\n"), idp.jwks());
    let root = "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\nrealms: { one: one, two: two }\n";
    let dirs = ["one", "two", "broken"];
    let mut files = Vec::new();
    for (dir, yaml) in dirs.iter().zip([&one, &two, &broken]) {
        for (name, text) in [
            ("cambist.yaml", yaml.as_str()),
            ("main.policy", RULES),
            ("idp.json", &keys),
            ("partner.json", &keys),
            ("op.secret", OP_SECRET),
        ] {
            files.push((format!("{dir}/{name}"), text));
        }
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), *text))
        .collect();
    let gateway = Gateway::start(root, "policy 1 module main\n", &files).await;
    let path = {
        let live = gateway.running.gateway.live.load();
        let (_, two) = live
            .realms
            .iter()
            .find(|(name, _)| name.as_str() == "two")
            .unwrap();
        two.token_path.clone()
    };
    let body = "grant_type=password";
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: as.example.com\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(
        gateway.send(head.as_bytes()).await.error(),
        "unsupported_grant_type"
    );
    // One comes that is not sound, and keeps nobody from anything.
    let write = |realms: &str| {
        let text = root.replace("one: one, two: two", realms);
        std::fs::write(gateway.dir().join("cambist.yaml"), text).unwrap();
        reload(&gateway.running.gateway, gateway.dir())
    };
    write("one: one, two: two, broken: broken");
    let scrape = gateway.admin("/metrics").await.body;
    for line in [
        r#"cambist_exchanges_total{outcome="refused",processor="",realm="two",reason="grant_type"} 1"#,
        r#"cambist_exchanges_total{outcome="issued",processor="mint",realm="one",reason=""} 0"#,
        r#"cambist_realm_loaded{realm="one"} 1"#,
        r#"cambist_realm_loaded{realm="broken"} 0"#,
        r#"cambist_realm_last_reload_successful{realm="two"} 1"#,
        r#"cambist_realm_last_reload_successful{realm="broken"} 0"#,
        r#"cambist_policy_rules{kind="rule",realm="two"} 3"#,
        r#"cambist_signing_keys{realm="two",state="signs"} 1"#,
    ] {
        assert!(
            scrape.contains(&format!("{line}\n")),
            "{line} is not in {scrape}"
        );
    }
    assert!(!scrape.contains(r#"realm="one",reason="grant_type""#));
    // Two of them go.
    let outcome = write("one: one");
    assert_eq!(outcome.name(), "applied", "{outcome:?}");
    let scrape = gateway.admin("/metrics").await.body;
    assert!(scrape.contains(r#"realm="one""#));
    for gone in ["two", "broken"] {
        assert!(!scrape.contains(&format!("realm=\"{gone}\"")), "{scrape}");
    }
}
