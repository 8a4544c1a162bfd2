//! `cambist keys list` and `cambist keys rotate`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cambist::jose::{Algorithm, SigningKey};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::cambist;

/// A realm in a directory, with a key in `old.pem`; `KEYS` stands for the lines of `keys:`.
fn realm(at: &Path, keys: &str) {
    fs::create_dir_all(at.join("secrets")).unwrap();
    let write = |name: &str, text: &str| fs::write(at.join(name), text).unwrap();
    for name in ["old.pem", "secrets/old.pem"] {
        write(name, &SigningKey::generate_pem(Algorithm::ES256).unwrap());
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    write(
        "rsa.pem",
        &SigningKey::generate_pem(Algorithm::RS256).unwrap(),
    );
    fs::set_permissions(at.join("rsa.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    write(
        "main.policy",
        "policy 1 module main\nrule r { from self by client \"c\" to audience \"x\"\nuse mint { scope: [] } }\n",
    );
    let yaml = r#"# The realm.
issuer: https://as.example.com   # ours
KEYS
clients:
  c: { auth: { client_secret_basic: { secret_sha256: "sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E" } } }
processors: { mint: { provider: mint, lifetime: 60s } }
policies: [main.policy]
"#;
    write("cambist.yaml", &yaml.replace("KEYS\n", keys));
}

fn alone(keys: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    realm(dir.path(), keys);
    dir
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn list(dir: &Path) -> Vec<Value> {
    let (code, out, errors) = cambist(dir, &["keys", "list", ".", "--json"]);
    assert_eq!(code, 0, "{errors}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn keys_are_listed_with_what_each_is_there_for() {
    let dir = alone(
        "keys: [ { file: old.pem }, { file: secrets/old.pem, kid: second }, { file: rsa.pem, alg: PS256 } ]\n",
    );
    fs::set_permissions(
        dir.path().join("rsa.pem"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let realms = list(dir.path());
    let [realm] = realms.as_slice() else {
        panic!("{realms:?}")
    };
    assert_eq!(realm["issuer"], "https://as.example.com");
    let keys = realm["keys"].as_array().unwrap();
    let shown = |member: &str| {
        keys.iter()
            .map(|key| key[member].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(shown("file"), ["old.pem", "secrets/old.pem", "rsa.pem"]);
    assert_eq!(shown("alg"), ["ES256", "ES256", "PS256"]);
    assert_eq!(shown("state"), ["signs_later", "signs", "signs"]);
    assert_eq!(keys[1]["kid"], "second");
    assert_eq!(keys[0]["kid"], keys[0]["thumbprint"]);
    assert_eq!(keys[0]["warnings"], serde_json::json!([]));
    let warning = keys[2]["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("everybody") && warning.ends_with("(E1010)"),
        "{warning}"
    );
    let (_, text, _) = cambist(dir.path(), &["keys", "list", "."]);
    assert!(text.contains("old.pem  published, signs from 20"), "{text}");
    assert!(
        text.contains("second  ES256  secrets/old.pem  signs\n    thumbprint "),
        "{text}"
    );
    let dir = alone("keys: [ { ephemeral: EdDSA } ]\n");
    let realms = list(dir.path());
    assert_eq!(realms[0]["keys"][0]["ephemeral"], true);
    let (code, _, errors) = cambist(dir.path(), &["keys", "list", "nowhere"]);
    assert_eq!(code, 2, "{errors}");
}

/// Every way to write the list, and what it becomes.
#[test]
fn a_rotation_changes_one_place_and_nothing_else() {
    for (keys, becomes) in [
        (
            "keys: [ { file: old.pem } ]   # the first signs\n",
            "keys: [ { file: NEW }, { file: old.pem } ]   # the first signs\n",
        ),
        (
            "keys: [{file: old.pem}]\n",
            "keys: [ { file: NEW },{file: old.pem}]\n",
        ),
        (
            "keys: [\n  { file: old.pem },   # of last year\n]\n",
            "keys: [ { file: NEW },\n  { file: old.pem },   # of last year\n]\n",
        ),
        (
            "keys:   # ours\n  # of last year\n  - file: old.pem\n    kid: old   # kept\n",
            "keys:   # ours\n  - { file: NEW }\n  # of last year\n  - file: old.pem\n    kid: old   # kept\n",
        ),
        (
            "keys:\n- { file: \"old.pem\" }\n- { file: rsa.pem, alg: PS256 }\n",
            "keys:\n- { file: NEW }\n- { file: \"old.pem\" }\n- { file: rsa.pem, alg: PS256 }\n",
        ),
        (
            "keys:\r\n  - file: old.pem\r\n",
            "keys:\r\n  - { file: NEW }\r\n  - file: old.pem\r\n",
        ),
        (
            "keys: [ { file: secrets/old.pem } ]\n",
            "keys: [ { file: secrets/NEW }, { file: secrets/old.pem } ]\n",
        ),
    ] {
        let dir = alone(keys);
        let yaml = || fs::read_to_string(dir.path().join("cambist.yaml")).unwrap();
        let (before, files) = (yaml(), names(dir.path()));
        let (code, shown, errors) = cambist(dir.path(), &["keys", "rotate", ".", "--dry-run"]);
        assert_eq!(code, 0, "{errors}");
        assert!(
            shown.contains("\n+") && shown.contains("signing-"),
            "{shown}"
        );
        assert_eq!(
            (yaml(), names(dir.path())),
            (before.clone(), files),
            "a dry run"
        );
        let (code, shown, errors) = cambist(dir.path(), &["keys", "rotate", "."]);
        assert_eq!(code, 0, "{keys}: {errors}");
        let listed = list(dir.path());
        let file = listed[0]["keys"][0]["file"].as_str().unwrap().to_owned();
        let new = file.rsplit('/').next().unwrap();
        assert!(
            new.starts_with("signing-20") && new.ends_with(".pem"),
            "{new}"
        );
        assert_eq!(yaml(), before.replace(keys, &becomes.replace("NEW", new)));
        let mode = fs::metadata(dir.path().join(&file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(
            mode & 0o777,
            0o640,
            "whoever read the old one can read it, and nobody else"
        );
        let states: Vec<_> = listed[0]["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["state"].clone())
            .collect();
        assert_eq!(states[..2], ["signs_later", "signs"]);
        assert!(
            shown.contains("goes on signing\n") && shown.contains("it signs"),
            "{shown}"
        );
        let text = fs::read_to_string(dir.path().join(&file)).unwrap();
        let secret = text.lines().nth(1).unwrap();
        assert!(!shown.contains(secret) && !errors.contains(secret));
        // Again on the same day.
        let (code, _, errors) = cambist(dir.path(), &["keys", "rotate", "."]);
        assert_eq!(code, 0, "{errors}");
        let listed = list(dir.path());
        assert!(
            listed[0]["keys"][0]["file"]
                .as_str()
                .unwrap()
                .ends_with("-2.pem")
        );
    }
}

#[test]
fn another_algorithm_is_asked_for_by_name() {
    let dir = alone("keys: [ { file: old.pem } ]\n");
    let (code, shown, errors) = cambist(dir.path(), &["keys", "rotate", ".", "--alg", "PS256"]);
    assert_eq!(code, 0, "{errors}");
    assert!(shown.contains("start no gateway until then"), "{shown}");
    let listed = list(dir.path());
    assert_eq!(listed[0]["keys"][0]["alg"], "PS256");
    let yaml = fs::read_to_string(dir.path().join("cambist.yaml")).unwrap();
    assert!(
        yaml.contains(".pem, alg: PS256 }, { file: old.pem } ]"),
        "{yaml}"
    );
}

#[test]
fn what_cannot_be_rotated_safely_is_left_alone_with_help() {
    for (keys, says) in [
        (
            "keys: [ { ephemeral: ES256 } ]\n",
            "cambist keys new --out as.pem",
        ),
        (
            "keys: { file: old.pem }\n",
            "write `keys: [ { file: KEY.pem } ]`",
        ),
    ] {
        let dir = alone(keys);
        let before = names(dir.path());
        let yaml = || fs::read_to_string(dir.path().join("cambist.yaml")).unwrap();
        let was = yaml();
        let (code, out, errors) = cambist(dir.path(), &["keys", "rotate", "."]);
        assert_eq!((code, out.as_str()), (2, ""), "{keys}");
        assert!(errors.contains(says), "{errors}");
        assert_eq!((yaml(), names(dir.path())), (was, before));
    }
    let dir = alone("keys: [ { file: old.pem } ]\n");
    let before = names(dir.path());
    let yaml = dir.path().join("cambist.yaml");
    fs::set_permissions(&yaml, fs::Permissions::from_mode(0o444)).unwrap();
    let (code, _, errors) = cambist(dir.path(), &["keys", "rotate", "."]);
    assert_eq!(code, 2);
    assert!(errors.contains("it is read-only"), "{errors}");
    assert_eq!(names(dir.path()), before, "no key is left over");
    fs::write(dir.path().join("main.policy"), "nonsense").unwrap();
    let (code, _, errors) = cambist(dir.path(), &["keys", "rotate", "."]);
    assert_eq!(code, 2, "{errors}");
}

#[test]
fn of_several_realms_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (name, issuer) in [
        ("a", "https://a.example.com"),
        ("b", "https://b.example.com"),
    ] {
        let at = dir.path().join(name);
        realm(&at, "keys: [ { file: old.pem } ]\n");
        let yaml = fs::read_to_string(at.join("cambist.yaml")).unwrap();
        let path = format!("issuer: {issuer}/{name}");
        fs::write(
            at.join("cambist.yaml"),
            yaml.replace("issuer: https://as.example.com", &path),
        )
        .unwrap();
    }
    fs::write(
        dir.path().join("cambist.yaml"),
        "realms: { a: a, b: ./b }\n",
    )
    .unwrap();
    let files = list(dir.path());
    let files: Vec<_> = files
        .iter()
        .map(|realm| realm["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["./a/cambist.yaml", "././b/cambist.yaml"]);
    let (code, _, errors) = cambist(dir.path(), &["keys", "rotate", "."]);
    assert_eq!(code, 2);
    assert!(
        errors.contains("--realm NAME") && errors.contains("the realms are a, b"),
        "{errors}"
    );
    let (code, _, errors) = cambist(dir.path(), &["keys", "rotate", ".", "--realm", "b"]);
    assert_eq!(code, 0, "{errors}");
    let count = |realm: &Value| realm["keys"].as_array().unwrap().len();
    let listed = list(dir.path());
    assert_eq!(listed.iter().map(count).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_key_of_the_environment_is_listed_and_has_no_file_to_go_beside() {
    let dir = alone("keys: [ { env: THE_KEY } ]\n");
    let pem = fs::read_to_string(dir.path().join("old.pem")).unwrap();
    let run = |verb: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cambist"));
        command.args(["keys", verb, "."]).current_dir(dir.path());
        let output = command.env("THE_KEY", &pem).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(said).unwrap(),
        )
    };
    let (code, said) = run("list");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("  ES256  $THE_KEY  signs\n"), "{said}");
    let (code, said) = run("rotate");
    assert_eq!(code, 2);
    assert!(
        said.contains("is no file") && said.contains("cambist keys new --out NEW.pem"),
        "{said}"
    );
    assert!(!said.contains(pem.lines().nth(1).unwrap()));
}
