//! `cambist check --fix`: what it changes, and what it leaves alone.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use super::{POLICY, cambist, read, realm, set_mode};

fn fix(dir: &Path) -> (i32, String) {
    let (code, out, err) = cambist(dir, &["check", ".", "--fix"]);
    (code, out + &err)
}

/// A policy with a misspelled attribute.
fn misspelled() -> String {
    POLICY.replace("  use ", "  when  scop has \"staff\"\n  use ")
}

fn mended() -> String {
    misspelled().replace("scop ", "scope ")
}

#[test]
fn a_fix_is_offered_with_the_help_that_says_it() {
    let dir = realm(&[], &misspelled());
    let (code, _, err) = cambist(dir.path(), &["check", "."]);
    assert_eq!(code, 1);
    let offered = "= help: did you mean `scope`? (`cambist check --fix` applies this)\n";
    assert!(err.contains(offered), "{err}");
    assert_eq!(
        read(dir.path(), "main.policy"),
        misspelled(),
        "check touches nothing"
    );
}

#[test]
fn paths_strings_and_names_are_mended_and_each_place_is_said() {
    let policy = "policy 1 module shop\n\
        # ü and € stand before the places\n\
        rule a {\n  from corp\n  by client 'orders-api'\n  to any target\n\
        \x20 when subject.sub = \"é\" && scop has \"x\"\n  use mint { lifetme: 5m }\n}\n";
    let dir = realm(&[], policy);
    let (code, said) = fix(dir.path());
    assert_eq!(code, 0, "{said}");
    let now = policy
        .replace("'orders-api'", "\"orders-api\"")
        .replace(" = \"é\"", " == \"é\"")
        .replace("&&", "and")
        .replace("scop ", "scope ")
        .replace("lifetme", "lifetime");
    assert_eq!(read(dir.path(), "main.policy"), now);
    for line in [
        "fixed ./main.policy:5: write strings in double quotes\n",
        "fixed ./main.policy:7: write `==` to compare\n",
        "fixed ./main.policy:7: write `and`\n",
        "fixed ./main.policy:7: replace `scop` by `scope`\n",
        "fixed ./main.policy:8: replace `lifetme` by `lifetime`\n",
        "ok: 1 rule",
    ] {
        assert!(said.contains(line), "{line}{said}");
    }
    assert_eq!(said.matches("fixed ").count(), 5, "{said}");
    // Nothing is left to do, and nothing is done.
    let before = fs::metadata(dir.path().join("main.policy")).unwrap();
    let (code, said) = fix(dir.path());
    assert_eq!((code, said.matches("fixed ").count()), (0, 0), "{said}");
    let after = fs::metadata(dir.path().join("main.policy")).unwrap();
    assert_eq!(before.ino(), after.ino());
}

#[test]
fn yaml_keeps_its_quotes_and_its_secrets() {
    let hash = "\"sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E\"";
    let issuers = "
  'corp':
    issuer: 'https://login.example.com' # ü
    introspection: { endpoint: \"https://login.example.com/i\", unauthenticated: true }
    audience: clinet-of-ours
    scope: claim
    token_types: ['acess_token', \"jtw\"]
    claims: { groups?: \"set<strng>\", level: strig }";
    let clients = format!(
        "{{ orders-api: {{ auth: {{ client_secret_basc: {{ secret_sha256: {hash} }} }} }} }}"
    );
    let dir = realm(
        &[
            ("issuers", Some(issuers)),
            ("issuer", Some("\"https://AS.example.com:443\"")),
            ("clients", Some(&clients)),
            (
                "audit",
                Some("{ \"fil\": audit.jsonl, 'redct': [subject.sub] }"),
            ),
        ],
        &misspelled(),
    );
    let before = read(dir.path(), "cambist.yaml");
    let (code, said) = fix(dir.path());
    assert_eq!(code, 0, "{said}");
    let mut now = before;
    for (from, to) in [
        ("'acess_token'", "'access_token'"),
        ("\"jtw\"", "\"jwt\""),
        ("\"set<strng>\"", "\"set<string>\""),
        ("strig }", "string }"),
        (
            "\"https://AS.example.com:443\"",
            "\"https://as.example.com\"",
        ),
        ("client_secret_basc", "client_secret_basic"),
        ("\"fil\"", "\"file\""),
        ("'redct'", "'redact'"),
    ] {
        assert!(now.contains(from), "{from}");
        now = now.replace(from, to);
    }
    assert_eq!(read(dir.path(), "cambist.yaml"), now, "{said}");
    // The policy can be checked only when the realm is sound.
    assert_eq!(read(dir.path(), "main.policy"), mended());
    assert!(now.contains(hash) && !said.contains("XnHNtf3K"), "{said}");
}

#[test]
fn line_ends_and_permissions_stay() {
    let policy = misspelled().replace('\n', "\r\n");
    let dir = realm(&[], &policy);
    let file = dir.path().join("main.policy");
    set_mode(&file, 0o640);
    let before = fs::metadata(&file).unwrap();
    let (code, said) = fix(dir.path());
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        read(dir.path(), "main.policy"),
        policy.replace("scop ", "scope ")
    );
    assert!(said.contains("fixed ./main.policy:7: "), "{said}");
    let after = fs::metadata(&file).unwrap();
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    // Nothing is left beside it.
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["cambist.yaml", "main.policy", "old.secret", "orders.secret"]
    );
}

#[test]
fn a_read_only_file_stays_and_the_others_are_mended() {
    let dir = realm(&[], &misspelled());
    let second = misspelled().replace("module shop", "module second");
    fs::write(dir.path().join("second.policy"), &second).unwrap();
    set_mode(&dir.path().join("main.policy"), 0o444);
    let (code, said) = fix(dir.path());
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("not fixed ./main.policy: it is read-only\n"),
        "{said}"
    );
    assert_eq!(
        said.matches("not fixed").count(),
        1,
        "said once, not at each pass: {said}"
    );
    assert_eq!(read(dir.path(), "main.policy"), misspelled());
    assert_eq!(
        read(dir.path(), "second.policy"),
        second.replace("scop ", "scope ")
    );
    assert!(
        said.contains("error[E0204]"),
        "what is left is reported: {said}"
    );
}

#[test]
fn a_directory_that_is_no_place_for_files_loses_nothing() {
    let dir = realm(&[], &misspelled());
    // Root may write anywhere, so the name of the file beside is taken instead: it is one long enough
    // that nothing can be added to it.
    let long = format!("{}.policy", "x".repeat(248));
    fs::rename(dir.path().join("main.policy"), dir.path().join(&long)).unwrap();
    let (code, said) = fix(dir.path());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not fixed ./xxx"), "{said}");
    assert_eq!(read(dir.path(), &long), misspelled());
}

#[test]
fn files_outside_of_the_directory_are_never_touched() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("linked"), misspelled()).unwrap();
    fs::create_dir(outer.path().join("beside")).unwrap();
    let beside = outer.path().join("beside/other.policy");
    fs::write(&beside, misspelled().replace("module shop", "module other")).unwrap();
    let inner = realm(
        &[("policies", Some("[\"*.policy\", \"../beside/*.policy\"]"))],
        POLICY,
    );
    let dir = outer.path().join("realm");
    fs::rename(inner.path(), &dir).unwrap();
    fs::remove_file(dir.join("main.policy")).unwrap();
    symlink("../linked", dir.join("main.policy")).unwrap();
    let (code, said) = fix(&dir);
    assert_eq!(code, 1, "{said}");
    assert_eq!(
        said.matches("it is outside of the configuration directory")
            .count(),
        2,
        "{said}"
    );
    assert_eq!(read(outer.path(), "linked"), misspelled());
    assert!(fs::read_to_string(beside).unwrap().contains("scop "));
}

#[test]
fn a_link_inside_of_the_directory_stays_a_link() {
    let dir = realm(&[], POLICY);
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/real"), misspelled()).unwrap();
    fs::remove_file(dir.path().join("main.policy")).unwrap();
    symlink("data/real", dir.path().join("main.policy")).unwrap();
    let (code, said) = fix(dir.path());
    assert_eq!(code, 0, "{said}");
    assert!(dir.path().join("main.policy").is_symlink());
    assert_eq!(read(dir.path(), "data/real"), mended());
}

#[test]
fn what_needs_a_choice_is_left_to_people() {
    // Two words are as close, or the key that was meant is there already.
    let dir = realm(
        &[
            (
                "server",
                Some("{ listen: 127.0.0.1:0, lisen: 127.0.0.1:1 }"),
            ),
            ("admin", Some("{ lisen: 127.0.0.1:0, listn: 127.0.0.1:0 }")),
            (
                "processors",
                Some("{ mint: { provider: mint, alg: RS256 } }"),
            ),
            (
                "keys",
                Some("[ { ephemeral: ES256 }, { ephemeral: ES384 } ]"),
            ),
        ],
        POLICY,
    );
    let before = read(dir.path(), "cambist.yaml");
    let (code, said) = fix(dir.path());
    assert_eq!(code, 1, "{said}");
    // Of two keys that mean the same, one is mended; it cannot be told which is right.
    let now = before.replace("admin: { lisen", "admin: { listen");
    assert_eq!(read(dir.path(), "cambist.yaml"), now, "{said}");
    assert_eq!(said.matches("unknown key").count(), 2, "{said}");
}

#[test]
fn a_finding_beside_a_secret_is_never_fixed() {
    let clients =
        "{ orders-api: { auth: { client_secret_basic: { secret_fil: orders.secret } } } }";
    let dir = realm(&[("clients", Some(clients))], POLICY);
    let before = read(dir.path(), "cambist.yaml");
    let (code, said) = fix(dir.path());
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("unknown key `secret_fil`") && !said.contains("fixed"),
        "{said}"
    );
    assert_eq!(read(dir.path(), "cambist.yaml"), before);
}

#[test]
fn the_manifest_has_to_be_written_anew() {
    let dir = realm(&[], &misspelled());
    fs::write(dir.path().join("policies.sha256"), "00  main.policy\n").unwrap();
    let (code, said) = fix(dir.path());
    assert_eq!(code, 1, "{said}");
    assert_eq!(read(dir.path(), "main.policy"), mended());
    assert_eq!(read(dir.path(), "policies.sha256"), "00  main.policy\n");
    let note = "policies.sha256 must be written anew: `sha256sum *.policy > policies.sha256`\n";
    assert!(said.contains(note) && said.contains("E1016"), "{said}");
}

#[test]
fn what_is_left_is_reported_in_the_format_that_was_asked_for() {
    let dir = realm(&[], &misspelled());
    let arguments = ["check", ".", "--fix", "--format", "json"];
    let (code, out, err) = cambist(dir.path(), &arguments);
    assert_eq!(code, 0, "{err}");
    let left: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        left.as_array().unwrap().len(),
        1,
        "the warning about the key: {out}"
    );
    assert_eq!(err, "fixed ./main.policy:7: replace `scop` by `scope`\n");
}

/// A name that is near another may be one that is not declared yet: nothing is put in its place.
#[test]
fn no_fix_gives_the_rights_of_one_name_to_another() {
    let policy = "policy 1 module shop\n\
        rule a {\n  from corq\n  by client \"orders-apj\"\n  to any target\n\
        \x20 when subject.claims.grops has \"staff\" and conn.ip in [\"10.1.2.3/8\"]\n  use mnt\n}\n";
    let dir = realm(&[], policy);
    let (code, said) = fix(dir.path());
    assert_eq!(code, 1);
    assert_eq!(read(dir.path(), "main.policy"), policy, "{said}");
    assert!(said.contains("did you mean `corp`?\n"), "{said}");
    assert!(said.contains("did you mean `orders-api`?\n"), "{said}");
    assert!(
        said.contains("write `10.1.2.3` for the one address, `10.0.0.0/8` for the network"),
        "{said}"
    );
}

/// A parse shows one slip at a time; every one is mended, and what is no slip stays as it is.
#[test]
fn many_slips_are_mended_one_after_the_other_and_no_sign_is_cut_in_two() {
    let terms = vec!["subject.sub = \"x\""; 30].join(" && ");
    let policy = POLICY.replace("  use ", &format!("  when  {terms}\n  use "));
    let dir = realm(&[], &policy);
    let (code, said) = fix(dir.path());
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("fixed ").count(), 59);
    for sign in ["=~", "=>", "=<", "&&&", "! =", "& ", "=‹"] {
        let policy = POLICY.replace(
            "  use ",
            &format!("  when  subject.sub {sign} \"x\"\n  use "),
        );
        let dir = realm(&[], &policy);
        let (code, said) = fix(dir.path());
        assert_eq!(code, 1, "{sign}: {said}");
        assert_eq!(read(dir.path(), "main.policy"), policy, "{sign}: {said}");
    }
}

/// In YAML, quotes and signs are those of YAML too.
#[test]
fn slips_inside_yaml_are_said_and_not_mended() {
    let dir = realm(&[("policies", Some("[\"*.policy.yaml\"]"))], POLICY);
    let yaml = "policy: 1\nmodule: m\nrules:\n  a:\n    from: corp\n    by: { client: orders-api }\n    \
        to: any target\n    when: \"subject.sub == 'a'\"\n    use: mint\n";
    fs::write(dir.path().join("m.policy.yaml"), yaml).unwrap();
    let (code, said) = fix(dir.path());
    assert_eq!(code, 1);
    assert!(said.contains("write strings in double quotes"), "{said}");
    assert_eq!(read(dir.path(), "m.policy.yaml"), yaml);
}
