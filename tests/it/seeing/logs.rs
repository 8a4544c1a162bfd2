//! The log of a process: for machines, for people, and for nobody who collects secrets.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Served, assert_without, exchanges};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Every line is an object with the same beginning, also where libraries say all that they can.
#[tokio::test]
async fn json_lines_are_objects_with_stable_fields_and_hold_no_secret() {
    let variables = [("CAMBIST_LOG", "trace")];
    let mut served = Served::start(&["--log-format", "json"], &variables).await;
    let secrets = exchanges(&served).await;
    let header = format!("traceparent: {PARENT}\r\n");
    let token = served.token(&serde_json::json!({}));
    let parameters = [("subject_token", token.as_str())];
    let traced = served
        .exchange(&header, crate::support::SECRET, &parameters)
        .await;
    assert_eq!(traced.status, 200, "{traced:?}");
    let (scrape, records) = (served.admin("/metrics").await.body, served.records());
    let recorded = served.exchanges_recorded();
    let log = served.stop();
    assert_without("the log", &log, &secrets);
    assert_without("/metrics", &scrape, &secrets);
    assert_without("the records", &records, &secrets);

    let lines = log.lines().map(|line| {
        let object: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for name in ["timestamp", "level", "message"] {
            assert!(object[name].is_string(), "{name} is missing: {line}");
        }
        object
    });
    let lines: Vec<Value> = lines.collect();
    let exchanges: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "exchange")
        .collect();
    assert_eq!(exchanges.len(), recorded.len());
    for (line, record) in exchanges.iter().zip(&recorded) {
        assert_eq!(line["request_id"], record["request_id"]);
        assert_eq!(line["realm"], "default");
        assert_eq!(line["outcome"], record["outcome"]);
        assert_eq!(line["trace_id"], record["trace_id"]);
    }
    let id = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(exchanges.last().unwrap()["trace_id"], id);
    // Without a tracer there is no trace but the one that a request brings.
    if cfg!(not(feature = "otel")) {
        assert!(exchanges[0]["trace_id"].is_null());
    }
}

#[tokio::test]
async fn text_lines_are_for_people() {
    let variables = [("CAMBIST_LOG", "info,cambist=debug")];
    let mut served = Served::start(&["--log-format", "text"], &variables).await;
    let secrets = exchanges(&served).await;
    let log = served.stop();
    assert_without("the log", &log, &secrets);
    let exchanges = log.lines().filter(|line| line.contains(" exchange "));
    let levels: BTreeSet<&str> = exchanges
        .map(|line| {
            assert!(line.contains(" request_id=") && line.contains(" realm=default "));
            assert!(
                line.contains(" outcome=") && !line.contains('\u{1b}'),
                "{line}"
            );
            line.split_whitespace().nth(1).unwrap()
        })
        .collect();
    assert_eq!(levels, BTreeSet::from(["DEBUG"]));
}
