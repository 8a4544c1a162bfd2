//! What the verbs leave behind when something goes wrong: reports that a machine can read, and exit codes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{POLICY, realm};

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
