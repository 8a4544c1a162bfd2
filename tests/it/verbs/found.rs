//! What reviewers found, and must not come back.

use std::fs;
use std::process::Command;

use crate::support::cambist;

/// The sample realm, and more.
fn sample() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        (
            "cambist.yaml",
            include_str!("../../../policies/cambist.yaml"),
        ),
        ("main.policy", include_str!("../../../policies/main.policy")),
    ];
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn a_repository_keeps_what_it_ignores() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".gitignore"), "target\n").unwrap();
    let (code, _, said) = cambist(dir.path(), &["init"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("note: .gitignore was there"), "{said}");
    assert_eq!(
        fs::read_to_string(dir.path().join(".gitignore")).unwrap(),
        "target\n"
    );
    assert_eq!(cambist(dir.path(), &["check", "."]).0, 0);
}

/// An empty variable says nothing; one that cannot be understood is not passed over.
#[test]
fn the_filter_of_logs_is_understood_or_refused() {
    let serve = |said: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_cambist"))
            .args(["serve", "nowhere"])
            .env("CAMBIST_LOG", said)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    for good in ["", " ", "warn", "info,cambist=debug"] {
        assert!(
            serve(good).contains("`nowhere` is not a directory"),
            "{good}"
        );
    }
    for bad in ["cambist=nosuchlevel", "[[["] {
        let said = serve(bad);
        assert!(
            said.contains("`CAMBIST_LOG` is") && said.contains("help: a level"),
            "{bad}: {said}"
        );
    }
}

#[test]
fn what_is_printed_shows_no_secret_that_somebody_left_in_a_comment_or_a_url() {
    let dir = sample();
    let file = dir.path().join("cambist.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    let yaml = yaml.replace("/introspect", "/introspect?api_key=QUERYSECRET")
        + "\n# secret: COMMENTSECRET\n";
    assert!(yaml.contains("QUERYSECRET"));
    fs::write(&file, yaml).unwrap();
    for arguments in [
        &["config", "print", "."][..],
        &["config", "print", ".", "--effective"],
        &["config", "print", ".", "--format", "json"],
    ] {
        let (code, out, said) = cambist(dir.path(), arguments);
        assert_eq!(code, 0, "{said}");
        assert!(out.contains("introspect?"), "{out}");
        assert!(
            !out.contains("QUERYSECRET") && !out.contains("COMMENTSECRET"),
            "{out}"
        );
    }
}

/// One broken realm keeps nobody from looking at another.
#[test]
fn verbs_work_on_a_sound_realm_beside_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/realms");
    for name in ["cambist.yaml", "realms/corp", "realms/partner"] {
        let (from, to) = (shipped.join(name), dir.path().join(name));
        if from.is_file() {
            fs::copy(from, to).unwrap();
            continue;
        }
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    fs::write(dir.path().join("realms/partner/cambist.yaml"), "garbage: [").unwrap();
    for verb in [&["keys", "list"][..], &["config", "print"], &["test"]] {
        let all = [verb, &["."]].concat();
        assert_ne!(cambist(dir.path(), &all).0, 0, "{verb:?}");
        let one = [verb, &[".", "--realm", "corp"]].concat();
        let (code, _, said) = cambist(dir.path(), &one);
        assert_eq!(code, 0, "{verb:?}: {said}");
        assert!(
            said.contains("the realm `partner` cannot be loaded"),
            "{said}"
        );
        let broken = [verb, &[".", "--realm", "partner"]].concat();
        assert_ne!(cambist(dir.path(), &broken).0, 0, "{verb:?}");
    }
    assert_eq!(cambist(dir.path(), &["check", "."]).0, 1);
}

#[test]
fn a_client_that_is_not_there_is_no_fault_of_the_token() {
    let dir = sample();
    let arguments = [
        "token",
        "inspect",
        "e30.e30.x",
        "--dir",
        ".",
        "--client",
        "nosuch",
    ];
    let (code, _, said) = cambist(dir.path(), &arguments);
    assert_eq!(code, 2);
    assert!(said.contains("no client is called `nosuch`"), "{said}");
}
