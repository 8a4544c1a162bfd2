//! What is shipped works: every realm loads, the demonstration runs, the README is true.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::whole;
use cambist::clock::Clock;
use cambist::services::Services;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Directories with a `cambist.yaml` under `policies` and `examples`.
fn realms() -> Vec<PathBuf> {
    let examples = fs::read_dir(root().join("examples"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let all = examples.chain([root().join("policies")]);
    all.filter(|dir| dir.join("cambist.yaml").is_file())
        .collect()
}

#[test]
fn every_shipped_realm_loads_without_errors() {
    let services = Services::new(Clock::system()).unwrap();
    let realms = realms();
    assert!(!realms.is_empty());
    for dir in realms {
        let loaded = whole(&dir, &services);
        assert!(
            loaded.is_ok(),
            "{}: {:?}",
            dir.display(),
            loaded.err().map(|error| error.diagnostics)
        );
    }
}

#[test]
fn every_example_says_what_it_is() {
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let dir = entry.unwrap().path();
        assert!(dir.join("README.md").is_file(), "{}", dir.display());
    }
}

/// What is deployed names keys and secrets that nobody ships; with them, it loads.
#[test]
fn every_deployment_loads_with_secrets_of_its_own() {
    for name in ["examples/systemd/etc", "examples/kubernetes/config"] {
        let dir = tempfile::tempdir().unwrap();
        let copy = |from: PathBuf, to: &str| fs::copy(from, dir.path().join(to)).unwrap();
        for entry in fs::read_dir(root().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            copy(path, &file);
        }
        copy(root().join("tests/data/tls/one.crt"), "tls.crt");
        copy(root().join("tests/data/tls/one.key"), "tls.key");
        for secret in ["orders-api.secret", "prometheus.token"] {
            fs::write(dir.path().join(secret), "long-secure-random-secret\n").unwrap();
        }
        let dir = dir.path().to_str().unwrap();
        let (code, _, err) = cambist(&["keys", "new", "--out", &format!("{dir}/as.pem")]);
        assert_eq!(code, 0, "{err}");
        let (code, out, err) = cambist(&["check", dir]);
        assert_eq!(code, 0, "{name}: {out}{err}");
    }
}

/// A copy of the sample realm on ports that are free now.
fn copy() -> tempfile::TempDir {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let idp = free().local_addr().unwrap().to_string();
    let yaml = fs::read_to_string(root().join("policies/cambist.yaml")).unwrap();
    let yaml = yaml
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9090", "127.0.0.1:0")
        .replace("127.0.0.1:7001", &idp);
    fs::write(dir.path().join("cambist.yaml"), yaml).unwrap();
    fs::copy(
        root().join("policies/main.policy"),
        dir.path().join("main.policy"),
    )
    .unwrap();
    dir
}

fn cambist(arguments: &[&str]) -> (i32, String, String) {
    crate::support::cambist(root(), arguments)
}

#[test]
fn the_demonstration_runs_to_the_end() {
    let dir = copy();
    let (code, out, err) = cambist(&["demo", dir.path().to_str().unwrap(), "--once", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let play: serde_json::Value = serde_json::from_str(&out).unwrap();
    let claims = &play["token"]["payload"];
    assert_eq!(claims["iss"], "https://as.example.com");
    assert_eq!(claims["sub"], "bdc@example.com");
    assert_eq!(claims["aud"], "https://backend.example.com");
    assert_eq!(claims["scope"], "api");
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        60
    );
    assert_eq!(play["token"]["header"]["alg"], "ES256");
    assert_eq!(play["backend"]["status"], 200);
    assert!(
        play["exchange"]["request"]
            .as_str()
            .unwrap()
            .ends_with(cambist::demo::toys::BODY)
    );
    assert_eq!(play["record"]["rule"]["id"], "main.frontend-to-backend");
    // The records that it leaves can be explained.
    let id = play["record"]["request_id"].as_str().unwrap();
    let (code, out, err) = cambist(&["explain", dir.path().to_str().unwrap(), "--id", id]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("PERMIT by main.frontend-to-backend with backend-token"),
        "{out}"
    );
}

#[test]
fn the_demonstration_ends_with_1_when_the_policy_refuses() {
    let dir = copy();
    fs::write(
        dir.path().join("main.policy"),
        "policy 1 module main\ndeny all { to any target }\n",
    )
    .unwrap();
    let (code, out, _) = cambist(&["demo", dir.path().to_str().unwrap(), "--once"]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("REFUSE invalid_request: denied by main.all"),
        "{out}"
    );
}

#[test]
fn a_taken_port_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = copy();
    let path = dir.path().join("cambist.yaml");
    let yaml = fs::read_to_string(&path)
        .unwrap()
        .replacen("127.0.0.1:0", &address, 1);
    fs::write(&path, yaml).unwrap();
    let (code, _, err) = cambist(&["serve", dir.path().to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(
        err.contains(&address) && err.contains("`server.listen`"),
        "{err}"
    );
    // The demonstration shows the same thing on any port.
    let (code, out, err) = cambist(&["demo", dir.path().to_str().unwrap(), "--once"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn exit_codes_are_0_1_2() {
    let dir = copy();
    let dir_text = dir.path().to_str().unwrap().to_owned();
    assert_eq!(cambist(&["check", &dir_text]).0, 0);
    assert_eq!(cambist(&["version"]).0, 0);
    let permitted = [
        "explain",
        &dir_text,
        "--client",
        "rs08",
        "--subject-scope",
        "api",
        "--resource",
        "https://backend.example.com/x",
    ];
    assert_eq!(cambist(&permitted).0, 0);
    let (code, out, _) = cambist(&[
        "explain",
        &dir_text,
        "--client",
        "rs08",
        "--subject-scope",
        "api",
        "--resource",
        "https://backend.example.com.evil.com/x",
    ]);
    assert_eq!(code, 1);
    assert!(
        out.contains("REFUSE invalid_target") && out.contains("nearest miss, 1 away"),
        "{out}"
    );
    assert_eq!(
        cambist(&["explain", &dir_text, "--client", "nobody?!\u{7f}"]).0,
        2
    );
    assert_eq!(cambist(&["check", "/nonexistent"]).0, 2);
    assert_eq!(cambist(&["serve", "/nonexistent"]).0, 2);
    assert_eq!(cambist(&["frobnicate"]).0, 2);
    fs::write(dir.path().join("main.policy"), "policy 2 module main\n").unwrap();
    let (code, _, err) = cambist(&["check", &dir_text]);
    assert_eq!(code, 1);
    assert!(err.contains("E0102"), "{err}");
}

#[test]
fn made_keys_and_secrets_fit_where_they_belong() {
    let dir = copy();
    let out = dir.path().join("as.pem");
    for alg in ["ES256", "EdDSA", "RS256"] {
        let _ = fs::remove_file(&out);
        let (code, _, err) =
            cambist(&["keys", "new", "--alg", alg, "--out", out.to_str().unwrap()]);
        assert_eq!(code, 0, "{err}");
        let (_, secret, _) = cambist(&["secret", "new"]);
        let hash = secret
            .lines()
            .find_map(|line| line.strip_prefix("secret_sha256: "))
            .unwrap();
        let yaml = fs::read_to_string(root().join("policies/cambist.yaml")).unwrap();
        let old = "\"sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E\"";
        let yaml = yaml
            .replace("{ ephemeral: ES256 }", "{ file: as.pem }")
            .replace(old, hash);
        fs::write(dir.path().join("cambist.yaml"), yaml).unwrap();
        let (code, out, err) = cambist(&["check", dir.path().to_str().unwrap()]);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
    }
    // A key is never overwritten.
    let (code, _, err) = cambist(&["keys", "new", "--out", out.to_str().unwrap()]);
    assert_eq!(code, 2, "{err}");
}

/// What we ship is written as we write it.
#[test]
fn every_shipped_policy_is_formatted() {
    let (code, said, _) = cambist(&["fmt", "--check", "policies", "examples"]);
    assert_eq!(code, 0, "{said}");
}
