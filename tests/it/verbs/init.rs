//! `cambist init`: what it makes loads, passes its tests, serves and exchanges.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cambist::clock::Clock;
use cambist::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

use crate::support::{ACCESS_TOKEN, EXCHANGE, Page, Site, basic, call, cambist, form};

const FILES: [&str; 4] = [".gitignore", "as.pem", "cambist.yaml", "main.policy"];

fn files(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap();
    let files = entries.map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    files.collect()
}

/// The secret that was shown.
fn secret(shown: &str) -> String {
    let (_, rest) = shown.split_once("shown this once").unwrap();
    let line = rest.lines().nth(1).unwrap().trim();
    assert!(line.len() >= 40, "{line}");
    line.to_owned()
}

/// What was made is good.
fn is_good(dir: &Path) {
    let (code, _, errors) = cambist(dir, &["check", "."]);
    assert_eq!(code, 0, "{errors}");
    let (code, shown, errors) = cambist(dir, &["test", "."]);
    assert_eq!(code, 0, "{shown}{errors}");
    assert!(
        shown.contains("2 passed") || shown.matches('✓').count() >= 2,
        "{shown}"
    );
}

/// The real server, on ports of its own.
struct Serving {
    process: Child,
    address: SocketAddr,
}

impl Serving {
    fn start(dir: &Path) -> Self {
        let path = dir.join("cambist.yaml");
        let yaml = fs::read_to_string(&path).unwrap();
        let yaml = yaml.replace(
            "listen: 127.0.0.1:8080",
            "listen: 127.0.0.1:0, drain_delay: 0s",
        );
        let yaml = yaml.replace("listen: 127.0.0.1:9090", "listen: 127.0.0.1:0");
        fs::write(&path, yaml).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_cambist"))
            .args(["serve", ".", "--log-format", "json"])
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (tell, told) = std::sync::mpsc::channel();
        // Reads to the end: whoever stopped would stop the server in the end.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                let endpoint = line["token_endpoint"].as_str().unwrap_or_default();
                let address = endpoint.strip_prefix("http://").unwrap_or_default();
                if let Some(address) = address.strip_suffix("/token") {
                    let _ = tell.send(address.parse().unwrap());
                }
            }
        });
        let address = told.recv_timeout(Duration::from_secs(20));
        if address.is_err() {
            let _ = process.kill();
        }
        Self {
            process,
            address: address.expect("it serves"),
        }
    }

    async fn exchange(&self, secret: &str, token: &str) -> crate::support::Answer {
        let body = form(&[
            ("grant_type", EXCHANGE),
            ("subject_token_type", ACCESS_TOKEN),
            ("subject_token", token),
            ("resource", "https://backend.example.com/api"),
            ("scope", "read"),
        ]);
        let request = format!(
            "POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            basic("app", secret),
            body.len()
        );
        call(self.address, request.as_bytes()).await
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_a_server_that_knows_its_client() {
    let home = tempfile::tempdir().unwrap();
    let (code, shown, errors) = cambist(home.path(), &["init", "new/gateway"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let dir = home.path().join("new/gateway");
    let made = files(&dir);
    assert_eq!(made.keys().collect::<Vec<_>>(), FILES);
    let secret = secret(&shown);
    assert!(
        made.values().all(|text| !text.contains(&secret)),
        "its hash only"
    );
    let mode = fs::metadata(dir.join("as.pem"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(made[".gitignore"].lines().any(|line| line == "*.pem"));
    is_good(&dir);
    let serving = Serving::start(&dir);
    let answer = serving.exchange(&secret, "no-token").await;
    assert_eq!((answer.status, &*answer.error()), (400, "invalid_request"));
    let answer = serving.exchange("another", "no-token").await;
    assert_eq!((answer.status, &*answer.error()), (401, "invalid_client"));
}

#[test]
fn nothing_is_overwritten_and_all_that_is_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("as.pem"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("main.policy")).unwrap();
    let (code, shown, errors) = cambist(dir.path(), &["init"]);
    assert_eq!((code, shown.as_str()), (2, ""));
    for name in ["as.pem", "main.policy"] {
        assert!(
            errors.contains(&format!("in the way: ./{name}\n")),
            "{errors}"
        );
    }
    assert!(
        !errors.contains("cambist.yaml") && errors.contains("cambist init DIR"),
        "{errors}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_eq!(
        fs::read_to_string(dir.path().join("as.pem")).unwrap(),
        "mine"
    );
    // A second time is no better.
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(cambist(dir.path(), &["init"]).0, 0);
    let before = files(dir.path());
    assert_eq!(cambist(dir.path(), &["init", "."]).0, 2);
    assert_eq!(files(dir.path()), before);
    // What cannot be made leaves nothing behind.
    let (code, _, errors) = cambist(dir.path(), &["init", "as.pem/below"]);
    assert_eq!(code, 2, "{errors}");
}

/// An identity provider that serves metadata and keys, at `/realms/corp`.
async fn site(key: &SigningKey, change: fn(&str, Value) -> Value) -> Site {
    let jwks = json!({ "keys": [key.public_jwk()] }).to_string();
    Site::start(move |path, head| {
        let host = head.lines().find_map(|line| line.strip_prefix("host: "));
        let base = format!("http://{}/realms/corp", host.unwrap_or_default());
        let metadata = json!({
            "issuer": base, "jwks_uri": format!("{base}/keys"),
            "introspection_endpoint": format!("{base}/introspect"),
            "id_token_signing_alg_values_supported": ["ES256", "HS256"],
            "scopes_supported": ["openid", "read", "write:all"],
        });
        match path {
            "/realms/corp/keys" => Page::json(&jwks),
            "/realms/corp/.well-known/openid-configuration" => {
                Page::json(&change(&base, metadata).to_string())
            }
            _ => Page::http("404 Not Found", "", ""),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_identity_provider_to_an_exchange_of_its_tokens() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let site = site(&key, |_, metadata| metadata).await;
    let issuer = format!("http://{}/realms/corp", site.address);
    let document = format!("{issuer}/.well-known/openid-configuration");
    for url in [&issuer, &document] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        let (code, shown, errors) = cambist(dir, &["init", "--from", url]);
        assert_eq!(code, 0, "{errors}");
        let made = files(dir);
        let yaml = &made["cambist.yaml"];
        for line in [
            "preset: keycloak",
            &format!("issuer: \"{issuer}\""),
            "algorithms: [ES256]",
            &format!("#   endpoint: \"{issuer}/introspect\""),
        ] {
            assert!(yaml.contains(line), "{line}\n{yaml}");
        }
        let policy = &made["main.policy"];
        assert!(policy.contains("\n# rule for-write-all {\n"), "{policy}");
        assert!(!policy.contains("openid"), "{policy}");
        is_good(dir);
        let serving = Serving::start(dir);
        let now = Clock::system().now().0;
        let token = key
            .compact(
                "JWT",
                &json!({
                    "iss": issuer, "sub": "alice", "aud": "app", "azp": "app", "typ": "Bearer",
                    "iat": now - 5, "exp": now + 600, "scope": "openid read",
                }),
            )
            .unwrap();
        let answer = serving.exchange(&secret(&shown), &token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["scope"], "read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_not_what_was_asked_for_makes_nothing() {
    type Change = fn(&str, Value) -> Value;
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let other: Change = |_, mut metadata| {
        metadata["issuer"] = "https://evil.example.com".into();
        metadata
    };
    let slash: Change = |base, mut metadata| {
        metadata["issuer"] = format!("{base}/").into();
        metadata
    };
    let keyless: Change = |_, mut metadata| {
        metadata.as_object_mut().unwrap().remove("jwks_uri");
        metadata
    };
    let list: Change = |_, _| json!([]);
    for (change, says) in [
        (other, "that of another issuer: `https://evil.example.com`"),
        (
            slash,
            "help: where that one is meant: `--from http://127.0.0.1:",
        ),
        (keyless, "publishes no keys"),
        (list, "the metadata is not a JSON object"),
    ] {
        let site = site(&key, change).await;
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://{}/realms/corp", site.address);
        let (code, shown, errors) = cambist(dir.path(), &["init", "new", "--from", &url]);
        assert_eq!((code, shown.as_str()), (2, ""), "{errors}");
        assert!(errors.contains(says), "{errors}");
        assert!(!dir.path().join("new").exists());
    }
    let dir = tempfile::tempdir().unwrap();
    for (url, says) in [
        ("http://idp.example.com", "plain http to another machine"),
        ("idp.example.com", "help: give the issuer identifier"),
        ("http://127.0.0.1:1", "no metadata could be had"),
    ] {
        let (code, _, errors) = cambist(dir.path(), &["init", "--from", url]);
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains(says), "{errors}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
