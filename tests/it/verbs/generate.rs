//! `cambist test --generate`: what is printed is a policy whose tests pass.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::cambist;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Beside the policies of every example, it is as `fmt` would have it, passes, and covers every rule.
#[test]
fn the_tests_of_every_example_pass() {
    for example in ["policies", "examples/company", "examples/services"] {
        let dir = tempfile::tempdir().unwrap();
        copy(&root().join(example), dir.path());
        // Only what is generated shall count.
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "policy")
            {
                let text = fs::read_to_string(&path).unwrap();
                let rules = text.split("\ntest \"").next().unwrap().to_owned();
                fs::write(&path, rules + "\n").unwrap();
            }
        }
        let (code, out, err) = cambist(dir.path(), &["test", "--generate", "."]);
        assert_eq!((code, &*err), (0, ""), "{example}");
        // Where policies are named one by one, it stands at the end of one of them.
        let yaml = fs::read_to_string(dir.path().join("cambist.yaml")).unwrap();
        match yaml.contains("*.policy") {
            true => fs::write(dir.path().join("generated.policy"), &out).unwrap(),
            false => {
                let path = dir.path().join("main.policy");
                let rules = fs::read_to_string(&path).unwrap();
                let tests = out.split_once("-tests\n").unwrap().1;
                fs::write(path, rules + tests).unwrap();
            }
        }
        let (code, _, err) = cambist(dir.path(), &["check", "."]);
        assert_eq!(code, 0, "{example}: {err}");
        if yaml.contains("*.policy") {
            let (code, out, err) = cambist(dir.path(), &["fmt", "--check", "generated.policy"]);
            assert_eq!(code, 0, "{example}: {out}{err}");
        }
        let (code, out, err) = cambist(dir.path(), &["test", ".", "--threshold", "60"]);
        assert_eq!(code, 0, "{example}: {out}{err}");
        assert!(!out.contains("no test decided"), "{out}");
    }
}

/// `tests/data/generate`: what is written for a policy, and what is said of what was not found.
#[test]
fn what_is_written() {
    let dir = root().join("tests/data/generate");
    let (code, out, err) = cambist(&dir, &["test", "--generate", "config"]);
    assert_eq!(code, 0);
    for (name, text) in [("tests.policy", out), ("notes.txt", err)] {
        let path = dir.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn where_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    copy(&root().join("examples/company"), dir.path());
    let run =
        |arguments: &[&str]| cambist(dir.path(), &[&["test", "--generate"], arguments].concat());
    let (_, printed, _) = run(&[".", "--module", "ci"]);
    assert!(
        printed.contains("\npolicy 1 module ci-tests\n"),
        "{printed}"
    );
    assert!(!printed.contains("services."), "{printed}");

    let to = [".", "--module", "ci", "--output", "new.policy"];
    assert_eq!(run(&to), (0, String::new(), String::new()));
    let new = dir.path().join("new.policy");
    assert_eq!(fs::read_to_string(&new).unwrap(), printed);
    // What somebody has written is not lost.
    fs::write(&new, "policy 1 module mine\n").unwrap();
    let (code, out, err) = run(&to);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.contains("cannot write new.policy"), "{err}");
    assert!(err.contains("`--force` replaces it"), "{err}");
    assert_eq!(fs::read_to_string(&new).unwrap(), "policy 1 module mine\n");
    assert_eq!(run(&[&to[..], &["--force"]].concat()).0, 0);
    assert_eq!(fs::read_to_string(&new).unwrap(), printed);
    // Written once more with itself beside the rules, it is the same.
    assert_eq!(run(&[&to[..], &["--force"]].concat()).0, 0);
    assert_eq!(fs::read_to_string(&new).unwrap(), printed);
}

#[test]
fn what_cannot_be_asked() {
    let dir = root();
    let run = |arguments: &[&str]| cambist(&dir, &[&["test"], arguments].concat());
    for (arguments, said) in [
        (
            &["--generate", "--module", "none", "examples/company"][..],
            "no module `none` has a rule",
        ),
        (
            &["--generate", "examples/realms"],
            "say which with `--realm NAME`",
        ),
        (&["--generate", "--coverage", "policies"], "--coverage"),
        (&["--module", "ci", "policies"], "--generate"),
        (&["--generate", "--force", "policies"], "--output"),
        (&["--generate", "nowhere"], "nowhere"),
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, &*out), (2, ""), "{arguments:?}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}
