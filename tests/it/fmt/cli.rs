//! `cambist fmt`, and realms whose policies are YAML.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Runs the binary in a directory: its exit code, standard output and standard error.
fn cambist(dir: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cambist"))
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A verb that reads nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

fn fmt(dir: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    cambist(dir.path(), &[&["fmt"], arguments].concat(), "")
}

const CARELESS: &str = "policy 1 module m # head\ndeny a{when scope has \"x\"}\n";
const GOOD: &str = "policy 1 module m # head\n\ndeny a {\n  when  scope has \"x\"\n}\n";
const BROKEN: &str = "policy 1 module m\ndeny a { when scope has }\n";
const YAML: &str = "policy: 1\nmodule: m\n\ndenies:\n  a:\n    when: ['scope has \"x\"']\n";

fn room(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn text(dir: &TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap()
}

#[test]
fn files_are_rewritten_where_that_changes_them() {
    let dir = room(&[
        ("a.policy", CARELESS),
        ("b.policy", GOOD),
        ("below/c.policy", CARELESS),
        ("below/d.policy.yaml", "module: m\npolicy: 1\n"),
        ("below/.hidden/e.policy", CARELESS),
        ("below/f.txt", CARELESS),
    ]);
    let path = dir.path().join("a.policy");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(dir.path().join("b.policy"))
        .unwrap()
        .modified()
        .unwrap();
    let (code, out, err) = fmt(&dir, &["."]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "wrote ./a.policy\nwrote ./below/c.policy\nwrote ./below/d.policy.yaml\n"
    );
    assert_eq!(text(&dir, "a.policy"), GOOD);
    assert_eq!(text(&dir, "below/c.policy"), GOOD);
    assert_eq!(text(&dir, "below/d.policy.yaml"), "policy: 1\nmodule: m\n");
    assert_eq!(text(&dir, "below/.hidden/e.policy"), CARELESS);
    assert_eq!(text(&dir, "below/f.txt"), CARELESS);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    let after = fs::metadata(dir.path().join("b.policy"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
    // Nothing is left beside the files, and nothing is left to do.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    assert_eq!(fmt(&dir, &["."]), (0, String::new(), String::new()));
}

#[test]
fn a_link_stays_a_link() {
    let dir = room(&[("real/a.policy", CARELESS)]);
    symlink("real/a.policy", dir.path().join("a.policy")).unwrap();
    symlink("..", dir.path().join("real/up")).unwrap();
    assert_eq!(fmt(&dir, &["a.policy"]).0, 0);
    assert!(
        fs::symlink_metadata(dir.path().join("a.policy"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(text(&dir, "real/a.policy"), GOOD);
    assert_eq!(fmt(&dir, &["."]).0, 0);
}

#[test]
fn check_and_diff_change_nothing() {
    let dir = room(&[
        ("a.policy", CARELESS),
        ("b.policy", GOOD),
        ("c.policy.yaml", YAML),
    ]);
    let (code, out, _) = fmt(&dir, &["--check", "a.policy", "b.policy", "c.policy.yaml"]);
    assert_eq!((code, out.as_str()), (1, "a.policy\n"));
    let (code, out, _) = fmt(&dir, &["--diff", "."]);
    assert_eq!(code, 1);
    assert_eq!(
        out,
        "--- a/./a.policy\n+++ b/./a.policy\n@@ -1,2 +1,5 @@\n policy 1 module m # head\n\
         -deny a{when scope has \"x\"}\n+\n+deny a {\n+  when  scope has \"x\"\n+}\n"
    );
    assert_eq!(text(&dir, "a.policy"), CARELESS);
    assert_eq!(
        fmt(&dir, &["--check", "b.policy"]),
        (0, String::new(), String::new())
    );
    assert_eq!(
        fmt(&dir, &["--diff", "b.policy"]),
        (0, String::new(), String::new())
    );
}

#[test]
fn what_cannot_be_read_is_reported_and_left_alone() {
    let dir = room(&[
        ("a.policy", BROKEN),
        ("b.policy", CARELESS),
        ("c.policy.yaml", "policy: 1\nmodule: a b\n"),
    ]);
    fs::write(dir.path().join("d.policy"), b"policy 1 module m # \xff").unwrap();
    let (code, out, err) = fmt(&dir, &["."]);
    assert_eq!((code, out.as_str()), (1, "wrote ./b.policy\n"));
    assert!(
        err.contains("./a.policy:2:25") && err.contains("./c.policy.yaml:2:9"),
        "{err}"
    );
    assert!(err.contains("`./d.policy` is not UTF-8 text"), "{err}");
    assert_eq!(text(&dir, "a.policy"), BROKEN);
    let (code, _, err) = fmt(&dir, &["absent.policy", "b.policy"]);
    assert!(
        code == 2 && err.contains("cannot read `absent.policy`"),
        "{err}"
    );
    fs::create_dir(dir.path().join("empty")).unwrap();
    let (code, _, err) = fmt(&dir, &["empty"]);
    assert!(
        code == 2 && err.contains("no policy file is in `empty`"),
        "{err}"
    );
    fs::write(dir.path().join("e.txt"), CARELESS).unwrap();
    assert_eq!(fmt(&dir, &["e.txt"]).0, 2);
    assert_eq!(fmt(&dir, &["--from", "policy", "e.txt"]).0, 0);
    assert_eq!(text(&dir, "e.txt"), GOOD);
    assert_eq!(fmt(&dir, &[]).0, 2);
}

#[test]
fn standard_input_goes_to_standard_output() {
    let dir = room(&[]);
    let run =
        |arguments: &[&str], input| cambist(dir.path(), &[&["fmt"], arguments].concat(), input);
    assert_eq!(run(&["-"], CARELESS), (0, GOOD.to_owned(), String::new()));
    assert_eq!(run(&["-", "--check"], GOOD).0, 0);
    assert_eq!(run(&["-", "--check"], CARELESS).0, 1);
    let loose = "module: m\npolicy: 1\ndenies: { a: { when: 'scope has \"x\"' } }\n";
    assert_eq!(run(&["-", "--from", "yaml"], loose).1, YAML);
    assert_eq!(run(&["-"], BROKEN).0, 1);
    assert_eq!(run(&["-", "a.policy"], GOOD).0, 2);
}

#[test]
fn one_spelling_becomes_the_other() {
    let dir = room(&[
        ("a.policy", CARELESS),
        ("b.policy.yaml", YAML),
        ("c.policy", GOOD),
    ]);
    let (code, out, err) = fmt(&dir, &["--to", "yaml", "a.policy"]);
    assert_eq!((code, out.as_str()), (0, YAML));
    assert!(
        err.contains("a.policy: comments that document no item are not kept"),
        "{err}"
    );
    let without = GOOD.replace(" # head", "");
    assert_eq!(
        fmt(&dir, &["--to", "policy", "b.policy.yaml"]),
        (0, without.clone(), String::new())
    );
    let (code, out, _) = fmt(
        &dir,
        &["--to", "policy", "b.policy.yaml", "--out", "new.policy"],
    );
    assert_eq!((code, out.as_str()), (0, "wrote new.policy\n"));
    assert_eq!(text(&dir, "new.policy"), without);
    assert_eq!(fmt(&dir, &["--to", "yaml", "."]).0, 2);
    assert_eq!(fmt(&dir, &["--out", "x", "a.policy"]).0, 2);
    // What YAML cannot say is said instead of being lost.
    fs::write(
        dir.path().join("d.policy"),
        "policy 1 module m deny a {} deny a {}",
    )
    .unwrap();
    let (code, out, err) = fmt(&dir, &["--to", "yaml", "d.policy"]);
    assert!(
        code == 1 && out.is_empty() && err.contains("E0105"),
        "{err}"
    );
    // Nested as deeply as one spelling allows is not too deep for the other.
    let deep = format!(
        "policy 1 module m def a = {}b{}",
        "not (not (".repeat(16),
        "))".repeat(16)
    );
    fs::write(dir.path().join("e.policy"), deep).unwrap();
    assert_eq!(fmt(&dir, &["--to", "yaml", "e.policy"]).0, 0);
}

#[test]
fn yaml_with_comments_is_left_alone() {
    let loose = "module: m # why\npolicy: 1\n";
    let dir = room(&[
        ("a.policy.yaml", loose),
        (
            "b.policy.yaml",
            "module: 'm'\npolicy: 1\nlists:\n  '@a': { doc: 'a # b', type: string, members: [\"#\", a#b] }\n",
        ),
    ]);
    let (code, out, err) = fmt(&dir, &["a.policy.yaml"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(
        err,
        "a.policy.yaml: left alone: it has comments, which could not be kept\n"
    );
    assert_eq!(text(&dir, "a.policy.yaml"), loose);
    // That is no reason for CI to fail for ever.
    for option in ["--check", "--diff"] {
        assert_eq!(
            fmt(&dir, &[option, "a.policy.yaml"]),
            (0, String::new(), err.clone())
        );
    }
    // What looks like a comment in a string is none.
    assert_eq!(fmt(&dir, &["b.policy.yaml"]).1, "wrote b.policy.yaml\n");
}

fn pipe(dir: &TempDir, name: &str) {
    let made = Command::new("mkfifo")
        .arg(dir.path().join(name))
        .status()
        .unwrap();
    assert!(made.success());
}

#[test]
fn what_is_no_regular_file_stays_what_it_is() {
    let dir = room(&[("b.policy", CARELESS)]);
    let to = |out: &str| fmt(&dir, &["--to", "yaml", "b.policy", "--out", out]);
    // A device of our own, so that a mistake costs nothing.
    pipe(&dir, "p");
    let reader = {
        let path = dir.path().join("p");
        std::thread::spawn(move || fs::read_to_string(path).unwrap())
    };
    let (code, out, _) = to("p");
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(reader.join().unwrap(), YAML);
    let kind = fs::symlink_metadata(dir.path().join("p"))
        .unwrap()
        .file_type();
    assert!(!kind.is_file());
    assert_eq!(to("-").1, YAML);
    assert!(!dir.path().join("-").exists());
    // A link to nothing would have to be replaced.
    symlink("absent/x", dir.path().join("l.policy.yaml")).unwrap();
    let (code, _, err) = to("l.policy.yaml");
    let said = "cannot write `l.policy.yaml`: it is a link to what is not there";
    assert!(code == 2 && err.contains(said), "{err}");
    assert!(dir.path().join("l.policy.yaml").is_symlink());
    assert_eq!(to(".").0, 2);
    // A link to a file stays one.
    fs::write(dir.path().join("real"), "old").unwrap();
    symlink("real", dir.path().join("m.policy.yaml")).unwrap();
    assert_eq!(to("m.policy.yaml").0, 0);
    assert!(dir.path().join("m.policy.yaml").is_symlink());
    assert_eq!(text(&dir, "real"), YAML);
}

#[test]
fn a_read_only_file_is_left_alone() {
    let dir = room(&[("a.policy", CARELESS), ("b.policy", CARELESS)]);
    let path = dir.path().join("a.policy");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let (code, out, err) = fmt(&dir, &["."]);
    assert_eq!((code, out.as_str()), (2, "wrote ./b.policy\n"));
    assert_eq!(err, "error: cannot write `./a.policy`: it is read-only\n");
    assert_eq!(text(&dir, "a.policy"), CARELESS);
}

#[test]
fn one_bad_entry_does_not_keep_the_others_from_being_formatted() {
    let dir = room(&[("a/c.policy", CARELESS), ("z.policy", CARELESS)]);
    symlink("absent", dir.path().join("a/b.policy")).unwrap();
    symlink("absent", dir.path().join("a/b.txt")).unwrap();
    pipe(&dir, "d.policy");
    pipe(&dir, "d.txt");
    let (code, out, err) = fmt(&dir, &["."]);
    assert_eq!(
        (code, out.as_str()),
        (2, "wrote ./a/c.policy\nwrote ./z.policy\n")
    );
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(
        err.contains("cannot read `./a/b.policy`: ")
            && err.contains("cannot read `./d.policy`: it is not a regular file"),
        "{err}"
    );
}

#[test]
fn a_file_that_is_named_twice_is_formatted_once() {
    let dir = room(&[("a.policy", CARELESS)]);
    let absolute = dir.path().join("a.policy");
    let arguments = ["--check", "./a.policy", "a.policy", "."];
    let (code, out, err) = fmt(
        &dir,
        &[&arguments[..], &[absolute.to_str().unwrap()]].concat(),
    );
    assert_eq!((code, out.as_str(), err.as_str()), (1, "./a.policy\n", ""));
}

#[test]
fn no_more_is_read_than_a_policy_may_hold() {
    let dir = room(&[("b.policy", GOOD)]);
    for (path, said) in [("policy", "E0101"), ("yaml", "E1001")] {
        let (code, out, err) = fmt(&dir, &["--from", path, "/dev/zero"]);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains(said) && err.len() < 500, "{err}");
    }
    // The limit cuts the last letter in two.
    let large = format!("#{}", "é".repeat(3 << 20));
    let (code, _, err) = cambist(dir.path(), &["fmt", "-"], &large);
    assert!(code == 1 && err.contains("E0101"), "{err}");
}

#[test]
fn the_other_spelling_never_takes_a_name_that_is_not_its_own() {
    let dir = room(&[("x.policy", CARELESS), ("y.policy.yaml", YAML)]);
    symlink("x.policy", dir.path().join("l.policy")).unwrap();
    for (to, from, out, said) in [
        ("yaml", "x.policy", "x.policy", "must end in `.policy.yaml`"),
        ("yaml", "x.policy", "new.yaml", "must end in `.policy.yaml`"),
        ("policy", "y.policy.yaml", "new", "must end in `.policy`"),
        (
            "policy",
            "y.policy.yaml",
            "y.policy.yaml",
            "must end in `.policy`",
        ),
        ("policy", "x.policy", "x.policy", "is the file that is read"),
        ("policy", "x.policy", "l.policy", "is the file that is read"),
    ] {
        let (code, printed, err) = fmt(&dir, &["--to", to, from, "--out", out]);
        assert_eq!((code, printed.as_str()), (2, ""), "{out}");
        assert!(err.contains(said), "{err}");
    }
    assert_eq!(text(&dir, "x.policy"), CARELESS);
    assert_eq!(text(&dir, "y.policy.yaml"), YAML);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    // The name of a file and `--from` agree, or nothing is read.
    let (code, _, err) = fmt(&dir, &["--from", "yaml", "x.policy"]);
    assert!(
        code == 2 && err.contains("`--from` says otherwise"),
        "{err}"
    );
    assert_eq!(fmt(&dir, &["--from", "policy", "--check", "x.policy"]).0, 1);
}

/// The shipped realm with its policy in YAML decides as it does with the policy as text.
#[test]
fn a_realm_in_yaml_decides_the_same() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let (policy, root) = (
        fs::read_to_string(shipped.join("main.policy")).unwrap(),
        fs::read_to_string(shipped.join("cambist.yaml")).unwrap(),
    );
    let dir = room(&[
        ("text/cambist.yaml", &root),
        ("text/main.policy", &policy),
        (
            "yaml/cambist.yaml",
            &root.replace("*.policy", "*.policy.yaml"),
        ),
    ]);
    let arguments = [
        "--to",
        "yaml",
        "text/main.policy",
        "--out",
        "yaml/main.policy.yaml",
    ];
    assert_eq!(fmt(&dir, &arguments).0, 0);
    let check = |which| cambist(dir.path(), &["check", which], "").1;
    let (one, other) = (check("text"), check("yaml"));
    assert!(one.starts_with("ok: 1 rule, 1 deny"), "{one}");
    assert_eq!(
        one.rsplit_once(' ').unwrap().0,
        other.rsplit_once(' ').unwrap().0
    );
    for (scope, resource, code) in [
        ("api", "https://backend.example.com/x", 0),
        ("api", "https://backend.example.com.evil.com/x", 1),
        ("api admin", "https://backend.example.com/x", 1),
    ] {
        let explain = |which| {
            let (code, out, err) = cambist(
                dir.path(),
                &[
                    "explain",
                    which,
                    "--client",
                    "rs08",
                    "--subject-scope",
                    scope,
                    "--resource",
                    resource,
                ],
                "",
            );
            // The clauses are shown as they are written, what comes out is the same.
            let decision = out.lines().next().unwrap().to_owned();
            let issued = out
                .split_once("issues")
                .map(|(_, issued)| issued.to_owned());
            (code, decision, issued, err)
        };
        let (one, other) = (explain("text"), explain("yaml"));
        assert_eq!(one, other);
        assert_eq!(one.0, code, "{}{}", one.1, one.3);
        assert_eq!(one.2.is_some(), code == 0);
    }
    // Findings point into the YAML.
    let broken = text(&dir, "yaml/main.policy.yaml").replace("\"admin\"", "admin.");
    fs::write(dir.path().join("yaml/main.policy.yaml"), broken).unwrap();
    let (code, _, err) = cambist(dir.path(), &["check", "yaml"], "");
    assert!(code == 1 && err.contains("yaml/main.policy.yaml:"), "{err}");
}
