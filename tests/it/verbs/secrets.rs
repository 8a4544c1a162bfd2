//! Every secret of cambist.yaml can lie in a file or in the environment, and in no other way but as a hash.

use std::fs;
use std::process::Command;

const SECRET: &str = "a-secret-of-some-length-that-nobody-may-see";

/// Each place that takes a secret; `HERE` stands for how it is given.
const YAML: &str = r#"
admin: { tokens: { ops: { HERE } } }
issuer: https://as.example.com
keys: [ { ephemeral: ES256 } ]
issuers:
  op:
    issuer: https://op.example.com
    introspection: { endpoint: https://op.example.com/i, client_id: cambist, HERE }
    audience: client
    scope: claim
clients:
  basic: { auth: { client_secret_basic: { HERE } } }
  post: { auth: { client_secret_post: [ { HERE }, { HERE } ] } }
processors: { mint: { provider: mint } }
policies: main.policy
"#;

/// Exit code, and everything that was said.
fn check(here: &str, set: bool) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("cambist.yaml", &YAML.replace("HERE", here));
    write(
        "main.policy",
        "policy 1 module main\nrule r { from op by client \"basic\" to audience \"x\" use mint { scope: [] } }\n",
    );
    write("the.secret", &format!("{SECRET}\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
    command.args(["check", "."]).current_dir(dir.path());
    command.env_remove("THE_SECRET");
    if set {
        command.env("THE_SECRET", SECRET);
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains(SECRET), "{said}");
    (output.status.code().unwrap(), said)
}

#[test]
fn every_place_takes_a_file_or_a_variable() {
    for here in ["secret_file: the.secret", "secret_env: THE_SECRET"] {
        let (code, said) = check(here, true);
        assert_eq!(code, 0, "{said}");
    }
    let places = YAML.matches("HERE").count();
    for (here, set, says) in [
        (
            "secret_env: THE_SECRET",
            false,
            "the environment variable `THE_SECRET` is not set",
        ),
        ("secret_file: no.secret", true, "there is no such file"),
        (
            "secret_file: the.secret, secret_env: THE_SECRET",
            true,
            "give one of",
        ),
        (
            &format!("secret: {SECRET}"),
            true,
            "a secret does not belong in this file",
        ),
    ] {
        let (code, said) = check(here, set);
        assert_eq!(code, 1, "{said}");
        assert_eq!(said.matches(says).count(), places, "{said}");
    }
}
