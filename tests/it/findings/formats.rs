//! `cambist check --format`: every form, on directories with findings of every kind.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{POLICY, cambist, realm};

/// A name that every format has to escape somewhere.
const DIR: &str = "a,b: 100% ü";

/// A directory of that name, in another one: an unknown key with a fix and the warning about the key in the
/// root file; in the policy an unknown claim behind a letter of two bytes, a name that another item has, and
/// words that mean something to the formats.
fn wrong() -> tempfile::TempDir {
    let policy = POLICY.replace(
        "  use ",
        "  when  subject.sub == \"é\" and subject.client_iq == \"staff\"\n  use ",
    );
    let policy = policy + "deny orders-to-payments { when scope has \"100%, a:b\" }\n";
    let inner = realm(
        &[("audit", Some("{ file: audit.jsonl, fsnc: true }"))],
        &policy,
    );
    let outer = tempfile::tempdir().unwrap();
    fs::rename(inner.path(), outer.path().join(DIR)).unwrap();
    outer
}

/// The codes of `wrong`, by file and place.
const CODES: [&str; 5] = ["E1002", "E1012", "E0204", "E0206", "E0207"];

fn check(inside: &Path, dir: &str, format: &str) -> (i32, String) {
    let (code, out, err) = cambist(inside, &["check", dir, "--format", format]);
    assert_eq!(err, "", "a format for machines is all on standard output");
    (code, out)
}

fn parsed(inside: &Path, dir: &str, format: &str) -> Value {
    let (_, out) = check(inside, dir, format);
    serde_json::from_str(&out).unwrap()
}

fn texts<'a>(items: &'a Value, key: &str) -> Vec<&'a str> {
    let items = items.as_array().unwrap().iter();
    items.map(|item| item[key].as_str().unwrap()).collect()
}

#[test]
fn every_format_lists_the_same_findings_in_the_same_order() {
    let outer = wrong();
    let (code, out, err) = cambist(outer.path(), &["check", DIR]);
    assert_eq!((code, out.as_str()), (1, ""));
    let shown: Vec<&str> = err
        .lines()
        .filter_map(|line| line.split_once("[E")?.1.get(..4))
        .collect();
    assert_eq!(shown, CODES.map(|code| &code[1..]), "{err}");
    assert!(err.ends_with("4 errors, 1 warning\n"), "{err}");

    let found = parsed(outer.path(), DIR, "json");
    assert_eq!(texts(&found, "code"), CODES);
    let found = parsed(outer.path(), DIR, "sarif");
    assert_eq!(texts(&found["runs"][0]["results"], "ruleId"), CODES);
    let (code, out) = check(outer.path(), DIR, "github");
    let titles = out
        .lines()
        .map(|line| &line.split_once("title=").unwrap().1[..5]);
    assert_eq!((code, titles.collect::<Vec<_>>()), (1, CODES.to_vec()));
}

#[test]
fn json_has_places_with_ends_related_places_and_fixes() {
    let outer = wrong();
    let found = parsed(outer.path(), DIR, "json");
    let place = |file: &str, from: (u32, u32), to: (u32, u32)| {
        json!({
            "file": format!("{DIR}/{file}"),
            "line": from.0, "column": from.1, "end_line": to.0, "end_column": to.1,
        })
    };
    let policy = |from, to| place("main.policy", from, to);
    assert_eq!(
        found[2],
        json!({
            "code": "E0204",
            "severity": "error",
            "message": "unknown attribute `subject.client_iq`",
            "at": policy((7, 32), (7, 49)),
            "label": null,
            "related": [],
            "help": ["did you mean `subject.client_id`?"],
            "notes": [],
            "fixes": [{
                "title": "replace `subject.client_iq` by `subject.client_id`",
                "edits": [{ "at": policy((7, 32), (7, 49)), "replacement": "subject.client_id" }],
            }],
        })
    );
    assert_eq!(found[3]["at"], policy((10, 6), (10, 24)));
    assert_eq!(
        found[3]["related"],
        json!([{ "at": policy((3, 6), (3, 24)), "label": "first used here" }])
    );
    assert_eq!(found[3]["fixes"], json!([]));
    assert_eq!(found[1]["severity"], "warning");
}

#[test]
fn github_commands_are_escaped_as_the_runner_reads_them() {
    let outer = wrong();
    let (_, out) = check(outer.path(), &format!("./{DIR}"), "github");
    let lines: Vec<&str> = out.lines().collect();
    let file = "file=a%2Cb%3A 100%25 ü/main.policy";
    assert_eq!(
        lines[2],
        format!(
            "::error {file},line=7,endLine=7,col=32,endColumn=49,title=E0204\
             ::unknown attribute `subject.client_iq`%0Ahelp: did you mean `subject.client_id`?"
        )
    );
    assert_eq!(
        lines[4],
        format!(
            "::error {file},line=10,endLine=10,col=42,endColumn=53,title=E0207\
             ::`100%25, a:b` is no scope token"
        )
    );
    assert!(lines[1].starts_with("::warning file="), "{out}");
}

/// What SARIF 2.1.0 requires of a log, a run, a driver, a rule and a result (sections 3.13, 3.14, 3.19,
/// 3.49, 3.27), and what code scanning shows.
fn valid(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(
        log["$schema"]
            .as_str()
            .unwrap()
            .ends_with("sarif-2.1.0.json")
    );
    let [run] = log["runs"].as_array().unwrap().as_slice() else {
        panic!("one run");
    };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "cambist");
    assert_eq!(driver["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        let page = rule["help"]["text"].as_str().unwrap();
        let title = rule["shortDescription"]["text"].as_str().unwrap();
        assert!(page.starts_with(&format!("# {}: {title}\n", rule["id"].as_str().unwrap())));
    }
    let region = |region: &Value| {
        let number = |key: &str| region[key].as_u64().unwrap();
        let start = (number("startLine"), number("startColumn"));
        let end = (number("endLine"), number("endColumn"));
        assert!(start.0 >= 1 && start.1 >= 1 && start <= end, "{region}");
    };
    let physical = |location: &Value| {
        let uri = location["artifactLocation"]["uri"].as_str().unwrap();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%".contains(&b);
        assert!(!uri.starts_with('/') && uri.bytes().all(plain), "{uri}");
        region(&location["region"]);
    };
    for result in run["results"].as_array().unwrap() {
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert_eq!(result["locations"].as_array().unwrap().len(), 1);
        let lists = ["locations", "relatedLocations"].map(|key| result[key].as_array());
        for location in lists.into_iter().flatten().flatten() {
            physical(&location["physicalLocation"]);
        }
        for fix in result["fixes"].as_array().into_iter().flatten() {
            assert!(fix["description"]["text"].is_string());
            for change in fix["artifactChanges"].as_array().unwrap() {
                assert!(change["artifactLocation"]["uri"].is_string());
                for replacement in change["replacements"].as_array().unwrap() {
                    region(&replacement["deletedRegion"]);
                    assert!(replacement["insertedContent"]["text"].is_string());
                }
            }
        }
    }
}

#[test]
fn sarif_has_what_the_specification_requires() {
    let outer = wrong();
    let log = parsed(outer.path(), DIR, "sarif");
    valid(&log);
    let run = &log["runs"][0];
    assert!(run.get("originalUriBaseIds").is_none());
    let rules = &run["tool"]["driver"]["rules"];
    assert_eq!(
        texts(rules, "id"),
        ["E0204", "E0206", "E0207", "E1002", "E1012"]
    );
    let uri = "a%2Cb%3A%20100%25%20%C3%BC/main.policy";
    let result = &run["results"][2];
    assert_eq!(
        result["locations"][0]["physicalLocation"],
        json!({
            "artifactLocation": { "uri": uri },
            "region": { "startLine": 7, "startColumn": 32, "endLine": 7, "endColumn": 49 },
        })
    );
    assert_eq!(
        result["fixes"],
        json!([{
            "description": { "text": "replace `subject.client_iq` by `subject.client_id`" },
            "artifactChanges": [{
                "artifactLocation": { "uri": uri },
                "replacements": [{
                    "deletedRegion":
                        { "startLine": 7, "startColumn": 32, "endLine": 7, "endColumn": 49 },
                    "insertedContent": { "text": "subject.client_id" },
                }],
            }],
        }])
    );
    let related = &run["results"][3]["relatedLocations"][0];
    assert_eq!(related["message"]["text"], "first used here");
    assert_eq!(related["physicalLocation"]["region"]["startLine"], 3);
}

#[test]
fn uris_stay_relative_where_the_directory_was_given_as_an_absolute_path() {
    let outer = wrong();
    let dir = outer.path().join(DIR);
    let log = parsed(outer.path(), dir.to_str().unwrap(), "sarif");
    valid(&log);
    let run = &log["runs"][0];
    let artifact = &run["results"][2]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(
        *artifact,
        json!({ "uri": "main.policy", "uriBaseId": "DIR" })
    );
    let base = run["originalUriBaseIds"]["DIR"]["uri"].as_str().unwrap();
    assert!(base.starts_with("file:///") && base.ends_with("a%2Cb%3A%20100%25%20%C3%BC/"));
}

#[test]
fn a_good_load_gives_its_warnings_in_every_format() {
    let dir = realm(&[], POLICY);
    let (code, out, err) = cambist(dir.path(), &["check", "."]);
    assert_eq!(code, 0);
    assert!(err.starts_with("warning[E1012]: "), "{err}");
    assert!(
        out.starts_with("ok: 1 rule, 0 denies, 0 tests, 0 proofs, 2 clients, 1 warning  "),
        "{out}"
    );
    for format in ["json", "sarif", "github"] {
        let (code, out) = check(dir.path(), ".", format);
        assert_eq!(code, 0, "{out}");
        assert_eq!(
            out.matches("::warning").count(),
            usize::from(format == "github")
        );
    }
    let found = parsed(dir.path(), ".", "json");
    assert_eq!(texts(&found, "code"), ["E1012"]);
    let log = parsed(dir.path(), ".", "sarif");
    valid(&log);
    assert_eq!(texts(&log["runs"][0]["results"], "level"), ["warning"]);
}

#[test]
fn nothing_found_is_an_empty_list_and_no_line() {
    let dir = realm(&[("keys", Some("[ { file: as.pem } ]"))], POLICY);
    let (code, _, err) = cambist(dir.path(), &["keys", "new", "--out", "as.pem"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(parsed(dir.path(), ".", "json"), json!([]));
    let log = parsed(dir.path(), ".", "sarif");
    valid(&log);
    assert_eq!(log["runs"][0]["results"], json!([]));
    assert_eq!(check(dir.path(), ".", "github"), (0, String::new()));
}

#[test]
fn a_finding_without_a_place_stands_in_the_root_file_where_one_is_asked_for() {
    let dir = realm(&[], POLICY);
    fs::remove_file(dir.path().join("cambist.yaml")).unwrap();
    assert_eq!(parsed(dir.path(), ".", "json")[0]["at"], Value::Null);
    let log = parsed(dir.path(), ".", "sarif");
    valid(&log);
    let region = json!({ "startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1 });
    assert_eq!(
        log["runs"][0]["results"][0]["locations"],
        json!([{ "physicalLocation": {
            "artifactLocation": { "uri": "cambist.yaml" }, "region": region,
        } }])
    );
    let (code, out) = check(dir.path(), ".", "github");
    assert_eq!(code, 1);
    let begin = "::error file=cambist.yaml,line=1,endLine=1,col=1,endColumn=1,title=E1007::cannot";
    assert!(out.starts_with(begin), "{out}");
}

#[test]
fn a_policy_that_cannot_be_read_is_where_the_finding_stands() {
    let dir = realm(&[], POLICY);
    fs::write(dir.path().join("main.policy"), b"policy 1 module \xff").unwrap();
    let found = parsed(dir.path(), ".", "json");
    assert_eq!(found[1]["at"]["file"], "./main.policy", "{found}");
    assert_eq!(found[1]["at"]["line"], 1, "{found}");
    let log = parsed(dir.path(), ".", "sarif");
    valid(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let uri = &results[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(uri, "main.policy");
}

#[test]
fn machines_get_all_findings_and_people_the_first_hundred() {
    let policy: String = (0..120)
        .map(|number| format!("deny d{number} {{ when subject.nothing{number} == \"x\" }}\n"))
        .collect();
    let dir = realm(&[], &format!("policy 1 module shop\n{policy}"));
    let (_, _, err) = cambist(dir.path(), &["check", "."]);
    assert_eq!(err.matches("[E").count(), 100);
    assert!(err.contains("… and 21 more\n"), "{err}");
    assert_eq!(
        parsed(dir.path(), ".", "json").as_array().unwrap().len(),
        121
    );
    let log = parsed(dir.path(), ".", "sarif");
    assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), 121);
    assert_eq!(check(dir.path(), ".", "github").1.lines().count(), 121);
}

#[test]
fn what_stands_beside_a_secret_is_in_no_format() {
    let clients =
        "{ orders-api: { auth: { client_secret_basic: { secrt_file: do-not-show-this } } } }";
    let dir = realm(&[("clients", Some(clients))], POLICY);
    for format in ["text", "json", "sarif", "github"] {
        let (code, out, err) = cambist(dir.path(), &["check", ".", "--format", format]);
        assert_eq!(code, 1);
        assert!(
            !(out.clone() + &err).contains("do-not-show-this"),
            "{out}{err}"
        );
        assert!(!(out.clone() + &err).contains("check --fix"), "{out}{err}");
        assert!(!out.contains("replace `"), "{out}");
    }
}

#[test]
fn an_unknown_format_is_no_load() {
    let dir = realm(&[], POLICY);
    let (code, out, _) = cambist(dir.path(), &["check", ".", "--format", "xml"]);
    assert_eq!((code, out.as_str()), (2, ""));
}
