//! What the verbs leave behind when something goes wrong: reports that a machine can read, and exit codes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{POLICY, cambist, realm};

/// A test that passes and one that fails, and text that XML has to escape.
const TESTS: &str = "
test \"<works> & \\\"fine\\\"\" { given { client.id = \"orders-api\" subject = corp { sub: \"a\" } } expect refuse }
test \"fails\" { given { client.id = \"orders-api\" subject = corp { sub: \"a\" } } expect use mint }
";

fn tested() -> tempfile::TempDir {
    realm(&[], &format!("{POLICY}{TESTS}"))
}

/// Runs the binary with a standard output of its own: exit code, standard error.
fn into(inside: &Path, arguments: &[&str], out: impl Into<Stdio>) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cambist"))
        .args(arguments)
        .current_dir(inside)
        .stdout(out)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), err)
}

#[test]
fn output_that_is_lost_is_no_success() {
    let dir = realm(&[], POLICY);
    fs::write(dir.path().join("loose.policy"), "policy 1 module loose").unwrap();
    let explain = [
        "explain",
        ".",
        "--issuer",
        "corp",
        "--sub",
        "a",
        "--client",
        "orders-api",
    ];
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in [
        &["version"][..],
        &["reference"],
        &["reference", "E0100"],
        &["keys", "new"],
        &["secret", "new"],
        &["check", "."],
        &["check", ".", "--format", "json"],
        &["check", ".", "--format", "sarif"],
        &["check", ".", "--format", "github"],
        &["test", "."],
        &["test", ".", "--format", "json"],
        &["test", ".", "--format", "junit"],
        &explain,
        &[&explain[..], &["--json"]].concat(),
        &["fmt", "--to", "yaml", "main.policy"],
        &["fmt", "--check", "loose.policy"],
        &["fmt", "--diff", "loose.policy"],
        &["fmt", "loose.policy"],
    ] {
        let (code, err) = into(dir.path(), arguments, full());
        let said = "error: cannot write to standard output: ";
        assert!(
            code == 2 && err.contains(said),
            "{arguments:?}: {code} {err}"
        );
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let dir = realm(&[], POLICY);
    for arguments in [&["reference"][..], &["check", ".", "--format", "json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, err) = into(dir.path(), arguments, writer);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn a_test_is_named_by_file_and_line_as_findings_are() {
    let dir = tested();
    let (code, out, _) = cambist(dir.path(), &["test", ".", "--format", "junit"]);
    assert_eq!(code, 1);
    let cases: Vec<&str> = out
        .lines()
        .filter(|line| line.contains("<testcase"))
        .collect();
    assert!(
        cases[0].contains("name=\"&lt;works&gt; &amp; &quot;fine&quot;\""),
        "{out}"
    );
    assert!(
        cases[0].contains(" file=\"./main.policy\" line=\"10\" "),
        "{out}"
    );
    assert!(
        cases[1].contains(" file=\"./main.policy\" line=\"11\" "),
        "{out}"
    );

    let (code, out, _) = cambist(dir.path(), &["test", ".", "--format", "json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&out).unwrap();
    let (_, found, _) = cambist(dir.path(), &["check", ".", "--format", "json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let failed = found.as_array().unwrap().iter();
    let mut failed = failed.filter(|finding| finding["code"] == "E0701");
    let at = &failed.next().unwrap()["at"];
    assert_eq!(report["tests"][1]["at"], *at);
    assert_eq!(at["line"], 11);
    assert_eq!(
        report["coverage"]["by_rule"][0]["at"]["file"],
        "./main.policy"
    );
}

#[test]
fn a_load_that_fails_is_a_report_too() {
    let dir = realm(&[], &POLICY.replace("corp", "crop<&>"));
    let (code, out, err) = cambist(dir.path(), &["test", ".", "--format", "json"]);
    assert_eq!(code, 2, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let (_, found, _) = cambist(dir.path(), &["check", ".", "--format", "json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(
        report,
        json!({
            "passed": 0, "failed": 0,
            "error": "the configuration has errors", "findings": found,
        })
    );
    let (code, out, _) = cambist(dir.path(), &["test", ".", "--format", "junit"]);
    assert_eq!(code, 2);
    let begin = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <testsuites tests=\"1\" failures=\"0\" errors=\"1\">\n  \
        <testsuite name=\"configuration\" tests=\"1\" failures=\"0\" errors=\"1\">\n    \
        <testcase classname=\"configuration\" name=\"load\">\n      \
        <error message=\"the configuration has errors\">";
    assert!(out.starts_with(begin), "{out}");
    assert!(out.contains("from  crop&lt;&amp;&gt;"), "{out}");
    let end = "</error>\n    </testcase>\n  </testsuite>\n</testsuites>\n";
    assert!(out.ends_with(end), "{out}");
}

/// XML 1.0 has no spelling at all for these (section 2.2); they are not in a policy, but in what is said
/// about one.
#[test]
fn a_report_in_xml_has_only_what_xml_can_hold() {
    for c in [
        '\u{fffe}',
        '\u{ffff}',
        '\u{1}',
        '\u{1b}',
        '\0',
        '\u{85}',
        '\u{9f}',
        '\u{1fffe}',
    ] {
        let dir = realm(&[], &format!("{POLICY}# x{c}y\n{TESTS}"));
        let (_, out, _) = cambist(dir.path(), &["test", ".", "--format", "junit"]);
        let held = |c: char| c >= ' ' && !('\u{fffe}'..='\u{ffff}').contains(&c);
        assert!(out.chars().all(|c| c == '\n' || held(c)), "{out:?}");
        assert_eq!(out.contains("[E0104]"), c != '\u{1fffe}', "{out:?}");
    }
}

#[test]
fn coverage_is_asked_for_where_it_can_be_shown() {
    let dir = tested();
    for arguments in [
        &["--coverage", "--format", "junit"][..],
        &["--coverage", "--filter", "fails"],
    ] {
        let (code, out, err) = cambist(dir.path(), &[&["test", "."], arguments].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(
            err.starts_with("error: ") && err.contains("--coverage"),
            "{err}"
        );
    }
    // Some tests say nothing about all rules.
    let (code, out, _) = cambist(dir.path(), &["test", ".", "--filter", "fine"]);
    assert_eq!(code, 0);
    assert!(out.ends_with("\n1 passed, 0 failed\n"), "{out}");
    let filtered = ["test", ".", "--filter", "fine", "--format", "json"];
    let (_, out, _) = cambist(dir.path(), &filtered);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report.get("coverage").is_none(), "{out}");
    let (_, out, _) = cambist(dir.path(), &["test", "."]);
    assert!(
        out.contains("1 passed, 1 failed; 0 of 1 rules and denies decided a test"),
        "{out}"
    );
}

#[test]
fn a_directory_that_is_not_there_is_one_finding() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for name in ["absent", "file"] {
        for verb in ["check", "test", "explain", "serve"] {
            let (code, out, err) = cambist(dir.path(), &[verb, name]);
            assert_eq!((code, out.as_str()), (2, ""), "{verb}");
            let said = format!("`{name}` is not a directory");
            assert_eq!(err.matches(&said).count(), 1, "{verb}: {err}");
            assert!(!err.contains("cambist.yaml`"), "{verb}: {err}");
        }
    }
}
