//! `cambist diff`: goldens of the report in `tests/data/diff`, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::exchange::World;
use crate::support::{ACCESS_TOKEN, cambist, cambist_reads, claims};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/diff")
}

fn diff(arguments: &[&str]) -> (i32, String, String) {
    cambist(&data(), &[&["diff"], arguments].concat())
}

/// A copy of one side, to be changed.
fn copy(side: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(data().join(side)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_report_in_every_format() {
    for (format, golden) in [
        ("text", "report.txt"),
        ("json", "report.json"),
        ("markdown", "report.md"),
    ] {
        let (code, out, err) = diff(&["old", "new", "--audit", "audit.jsonl", "--format", format]);
        assert_eq!((code, &*err), (1, ""), "{format}");
        let path = data().join(golden);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &out).unwrap();
        }
        assert_eq!(out, fs::read_to_string(&path).unwrap(), "{golden}");
    }
}

/// Every line of the file is in one of the numbers.
#[test]
fn nothing_is_dropped_in_silence() {
    let (_, out, _) = diff(&["old", "new", "--audit", "audit.jsonl", "--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let sum = |value: &Value| -> u64 { value.as_object().unwrap().values().map(number).sum() };
    let (audit, replay) = (&report["audit"], &report["realms"]["default"]["replay"]);
    let counted = number(&audit["unreadable_lines"])
        + number(&audit["other_records"])
        + sum(&audit["of_other_realms"])
        + sum(&replay["not_replayed"])
        + number(&replay["requests"]);
    let text = fs::read_to_string(data().join("audit.jsonl")).unwrap();
    assert_eq!(counted, text.lines().count() as u64);
    assert_eq!(
        number(&replay["requests"]),
        number(&replay["same"]) + number(&replay["changed"])
    );
    assert_eq!(sum(&replay["kinds"]), number(&replay["changed"]));
    let changes = replay["changes"].as_array().unwrap();
    let counts = changes.iter().map(|change| number(&change["count"]));
    assert_eq!(counts.sum::<u64>(), number(&replay["changed"]));
}

/// What a pull request shows to everybody names nobody, and means nothing to Markdown.
#[test]
fn markdown_names_no_subject() {
    let dir = tempfile::tempdir().unwrap();
    copy("old", &dir.path().join("old"));
    copy("new", &dir.path().join("new"));
    let record = |id: &str, sub: &str, audience: &str| {
        json!({
            "time": "2026-11-28T10:00:00.000Z", "event": "exchange", "realm": "default",
            "request_id": id, "outcome": "issued", "config": "x",
            "context": {
                "client.id": "orders", "client.auth": "client_secret_basic", "now": 1,
                "subject.issuer": "corp", "subject.sub": sub, "subject.exp": 9999,
                "subject.token_type": "access_token", "audience": [audience],
            },
        })
        .to_string()
    };
    let lines = [
        record("a", "very-secret-name", "ledger"),
        record("b|`<b>@team", "very-secret-name", "reports"),
    ];
    let arguments = ["diff", "old", "new", "--audit", "-", "--format", "markdown"];
    let (code, out, _) = cambist_reads(dir.path(), &arguments, &lines.join("\n"));
    assert_eq!(code, 1, "{out}");
    assert!(!out.contains("very-secret-name"), "{out}");
    assert!(out.contains("b&#124;&#96;&lt;b&gt;&#64;team"), "{out}");
}

#[test]
fn how_it_ends() {
    let audit = ["--audit", "audit.jsonl"];
    // What is narrower, and nothing at all, is no reason to fail.
    for (old, new, code) in [("old", "new", 1), ("old", "old", 0)] {
        let (ended, out, err) = diff(&[&[old, new], &audit[..]].concat());
        assert_eq!(ended, code, "{old} {new}: {out}{err}");
    }
    let (code, out, _) = diff(&["old", "new", "--audit", "audit.jsonl", "--allow-widening"]);
    assert_eq!(code, 0);
    assert!(out.ends_with("\nsomething widens\n"), "{out}");
    // A gate through which nothing went proves nothing.
    let arguments = ["diff", "old", "new", "--audit", "-"];
    for input in ["", "{}\n", "{\"event\":\"probe\"}\n"] {
        let (code, _, err) = cambist_reads(&data(), &arguments, input);
        assert_eq!(code, 2, "{input}");
        assert!(err.contains("no recorded request"), "{err}");
    }
    for (arguments, said) in [
        (["old", "new", "--audit", "none.jsonl"], "none.jsonl"),
        (["old", "nowhere", "--audit", "audit.jsonl"], "`nowhere`"),
    ] {
        let (code, _, err) = diff(&arguments);
        assert_eq!(code, 2);
        assert!(err.contains(said), "{err}");
    }
    let realm = |name: &str| diff(&["old", "new", "--audit", "audit.jsonl", "--realm", name]);
    assert_eq!(realm("default").0, 1);
    assert_eq!(realm("none").0, 2);
}

/// Realms are compared by name; one that is new may issue what nobody did.
#[test]
fn realms_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = |side: &str, realms: &[(&str, &str)]| {
        let side = dir.path().join(side);
        let mut yaml =
            "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\nrealms:\n".to_owned();
        for (name, like) in realms {
            copy(like, &side.join(name));
            let path = side.join(name).join("cambist.yaml");
            let text = fs::read_to_string(&path).unwrap();
            let of_realm = text.split_inclusive('\n').skip(2).collect::<String>();
            fs::write(
                path,
                of_realm.replace("as.example.com", &format!("as.example.com/{name}")),
            )
            .unwrap();
            yaml.push_str(&format!("  {name}: {name}\n"));
        }
        fs::write(side.join("cambist.yaml"), yaml).unwrap();
    };
    root("one", &[("a", "old"), ("b", "old")]);
    root("two", &[("b", "old"), ("c", "old")]);
    let text = fs::read_to_string(data().join("audit.jsonl")).unwrap();
    let text = text.replace("\"realm\": \"default\"", "\"realm\": \"b\"");
    let run = |arguments: &[&str]| cambist_reads(dir.path(), arguments, &text);
    let (code, out, err) = run(&["diff", "one", "two", "--audit", "-", "--format", "json"]);
    assert_eq!(code, 1, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let of = |name: &str| {
        (
            report["realms"][name]["in"].clone(),
            report["realms"][name]["widens"].clone(),
        )
    };
    assert_eq!(of("a"), (json!("old"), json!(false)));
    assert_eq!(of("b"), (json!("both"), json!(false)));
    assert_eq!(of("c"), (json!("new"), json!(true)));
    let (code, out, _) = run(&["diff", "one", "two", "--audit", "-", "--realm", "b"]);
    assert_eq!(code, 0, "{out}");
    assert!(!out.contains("realm a"), "{out}");
}

/// What the gateway itself recorded is decided again as it was.
#[tokio::test]
async fn records_of_the_gateway_are_decided_as_they_were() {
    let audit = tempfile::tempdir().unwrap();
    let World { gateway, idp, .. } = World::start().await;
    let token = idp.token(&claims(json!({})));
    for scope in ["api", "unheard-of"] {
        gateway
            .exchange(&[
                ("subject_token", &token),
                ("subject_token_type", ACCESS_TOKEN),
                ("resource", "https://backend.example.com/api"),
                ("scope", scope),
            ])
            .await;
    }
    let dir = gateway.dir().to_str().unwrap();
    let records: Vec<String> = gateway.records().iter().map(Value::to_string).collect();
    let (code, out, err) = cambist_reads(
        audit.path(),
        &["diff", dir, dir, "--audit", "-", "--format", "json"],
        &records.join("\n"),
    );
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let replay = &report["realms"]["default"]["replay"];
    let numbers = ["requests", "same", "changed", "decided_otherwise_then"];
    let numbers = numbers.map(|name| replay[name].as_u64().unwrap());
    assert_eq!(numbers, [2, 2, 0, 0], "{replay:#}");
    assert_eq!(replay["not_replayed"], json!({}));
    assert_eq!(replay["taken_as_absent"], json!({}));
}
