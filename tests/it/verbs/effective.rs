//! `cambist config print`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cambist::clock::Clock;
use cambist::jose::{Algorithm, SigningKey};
use cambist::services::Services;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{cambist, whole};

const HASH: &str = "sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E";
const SECRET: &str = "a-secret-of-some-length-that-nobody-may-see";

const YAML: &str = r#"# What is shown of this.
server: { header_timeout: 7s }
providers: { mint: { lifetime: 2m } }
issuer: https://as.example.com
keys: [ { ephemeral: ES256 } ]
issuers:
  corp:
    preset: keycloak
    issuer: https://sso.example.com/realms/corp
    audience: client
    subjects: local
    claims: { email?: bool, site: { type: string, at: /org/site } }
  op:
    issuer: https://op.example.com
    introspection: { endpoint: https://op.example.com/i, client_id: cambist, secret_file: op.secret }
    audience: client
    scope: claim
    token_types: { access_token: }
clients:
  web: { auth: { client_secret_basic: { secret_sha256: "HASH" } } }
  signs: { auth: { private_key_jwt: { jwks_uri: https://signs.example.com/keys, fetch: { timeout: 9s } } } }
processors:
  short: { provider: mint }
  long: { provider: mint, lifetime: 3m }
policies: main.policy
"#;

fn realm(dir: &Path, yaml: &str) {
    fs::create_dir_all(dir).unwrap();
    for (name, text) in [
        ("cambist.yaml", yaml),
        (
            "main.policy",
            "policy 1 module main\nrule r { from corp by client \"web\" to audience \"x\"\nuse short { scope: [] } }\n",
        ),
        ("op.secret", SECRET),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
}

fn alone() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    realm(dir.path(), &YAML.replace("HASH", HASH));
    dir
}

fn print(dir: &Path, arguments: &[&str]) -> String {
    let all = [&["config", "print", "."], arguments].concat();
    let (code, out, errors) = cambist(dir, &all);
    assert_eq!(code, 0, "{errors}");
    for secret in [HASH, &HASH[7..], &HASH[30..], SECRET] {
        assert!(!out.contains(secret) && !errors.contains(secret), "{out}");
    }
    out
}

#[test]
fn it_is_shown_as_it_is_written_but_for_what_is_secret() {
    let dir = alone();
    let shown = print(dir.path(), &[]);
    let stars = "*".repeat(HASH.len() + 2);
    assert_eq!(shown, YAML.replace("\"HASH\"", &stars));
    let shown: Value = serde_json::from_str(&print(dir.path(), &["--format", "json"])).unwrap();
    let file = &shown["cambist.yaml"];
    let secrets = &file["clients"]["web"]["auth"]["client_secret_basic"];
    assert_eq!(secrets["secret_sha256"], "[redacted]");
    assert_eq!(
        file["issuers"]["op"]["introspection"]["secret_file"],
        "op.secret"
    );
    assert!(
        file["server"]["listen"].is_null(),
        "nothing is added: {file}"
    );
}

#[test]
fn what_is_in_force_is_what_readers_found() {
    let dir = alone();
    let shown = print(dir.path(), &["--effective", "--format", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let at = |pointer: &str| {
        let found = shown["cambist.yaml"].pointer(pointer);
        found
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{pointer}: {shown:#}"))
    };
    for (pointer, value) in [
        ("/server/header_timeout", "7s"),
        ("/server/listen", "127.0.0.1:8080"),
        ("/server/max_connections_per_peer", "2500"),
        ("/admin/listen", "127.0.0.1:9090"),
        ("/replay/capacity", "1000000"),
        ("/key_rotation/publish_before_use", "10m"),
        ("/token_path", "/token"),
        ("/issuers/corp/discovery", "openid"),
        ("/issuers/corp/fetch/refresh", "10m"),
        ("/issuers/corp/claims/email?", "bool"),
        ("/issuers/corp/claims/groups?", "set<string>"),
        ("/issuers/corp/leeway", "30s"),
        ("/issuers/op/introspection/method", "client_secret_basic"),
        ("/issuers/op/introspection/timeout", "3s"),
        ("/clients/web/enabled", "true"),
        (
            "/clients/web/auth/client_secret_basic/secret_sha256",
            "[redacted]",
        ),
        ("/clients/signs/auth/private_key_jwt/fetch/timeout", "9s"),
        ("/clients/signs/auth/private_key_jwt/fetch/refresh", "10m"),
        ("/clients/signs/auth/private_key_jwt/max_lifetime", "5m"),
        ("/processors/short/lifetime", "2m"),
        ("/processors/short/max_lifetime", "1h"),
        ("/processors/long/lifetime", "3m"),
    ] {
        assert_eq!(at(pointer), value, "{pointer}");
    }
    let file = &shown["cambist.yaml"];
    assert!(
        file["issuers"]["op"]["fetch"].is_null(),
        "it has no keys that are fetched"
    );
    let claims = &file["issuers"]["op"]["client_claim"];
    assert_eq!(*claims, json!(["client_id", "azp"]));
    assert_eq!(
        file["issuers"]["corp"]["client_claim"],
        serde_json::json!(["azp", "client_id"])
    );
}

/// A key set may have a private or a shared key in it by mistake; a load warns, and shows nothing of it.
#[test]
fn keys_that_should_not_be_there_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let good = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk();
    let shared = json!({ "kty": "oct", "kid": "m", "k": "c2hhcmVkLXNlY3JldA" });
    let keys = json!({ "keys": [good, shared] });
    let yaml = YAML.replace("HASH", HASH).replace(
        "    preset: keycloak\n",
        &format!("    preset: keycloak\n    jwks: {keys}\n"),
    );
    realm(dir.path(), &yaml);
    for arguments in [&[][..], &["--effective"], &["--format", "json"]] {
        let shown = print(dir.path(), arguments);
        assert!(!shown.contains("c2hhcmVkLXNlY3JldA"), "{shown}");
        assert!(shown.contains(good["x"].as_str().unwrap()), "{shown}");
    }
}

/// Loading what is in force says the same, and is the same.
#[test]
fn what_is_in_force_stays_so_when_it_is_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let services = Services::new(Clock::system()).unwrap();
    let mut dirs: BTreeMap<String, TempDir> = BTreeMap::from([("own".to_owned(), alone())]);
    for name in ["policies", "examples/company", "examples/services"] {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(root.join(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        dirs.insert(name.to_owned(), dir);
    }
    for (name, dir) in dirs {
        let path = dir.path().join("cambist.yaml");
        let before = whole(dir.path(), &services).unwrap();
        let (code, shown, errors) = cambist(dir.path(), &["config", "print", ".", "--effective"]);
        assert_eq!(code, 0, "{name}: {errors}");
        let put_back = shown.replace("\"[redacted]\"", &format!("\"{HASH}\""));
        fs::write(&path, &put_back).unwrap();
        let (code, again, errors) = cambist(dir.path(), &["config", "print", ".", "--effective"]);
        assert_eq!(code, 0, "{name}: {errors}\n{put_back}");
        assert_eq!(again, shown, "{name}");
        let after = whole(dir.path(), &services).unwrap();
        assert_eq!(
            format!("{:?}", after.settings),
            format!("{:?}", before.settings),
            "{name}"
        );
        let (before, after) = (before.first(), after.first());
        assert_eq!(after.metadata, before.metadata);
        let said = |realm: &cambist::snapshot::Realm| {
            let issuers: Vec<String> = realm
                .issuers
                .iter()
                .map(|it| {
                    format!(
                        "{:?} {:?} {:?} {:?}",
                        it.alias, it.accepts, it.claims, it.client_claims
                    )
                })
                .collect();
            let kept = realm.known_remotes();
            let kept = kept
                .iter()
                .map(|it| format!("{:?}", it.settings()))
                .collect::<Vec<_>>();
            let made = realm.processors.iter();
            let made = made
                .map(|(id, it)| format!("{id} {:?}", it.schema))
                .collect::<Vec<_>>();
            (issuers, kept, made)
        };
        assert_eq!(said(after), said(before), "{name}");
    }
}

#[test]
fn of_several_realms_each_has_its_file() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let yaml = YAML.replace("HASH", HASH);
        let own = yaml.replace(
            "https://as.example.com",
            &format!("https://as.example.com/{name}"),
        );
        let lines = own
            .lines()
            .filter(|line| !line.starts_with("server:") && !line.starts_with("providers:"));
        realm(
            &dir.path().join(name),
            &lines.map(|line| format!("{line}\n")).collect::<String>(),
        );
    }
    fs::write(
        dir.path().join("cambist.yaml"),
        "realms: { a: a, b: b }\nproviders: { mint: { lifetime: 4m } }\n",
    )
    .unwrap();
    let shown: Value =
        serde_json::from_str(&print(dir.path(), &["--effective", "--format", "json"])).unwrap();
    let files: Vec<_> = shown.as_object().unwrap().keys().collect();
    assert_eq!(files, ["a/cambist.yaml", "b/cambist.yaml", "cambist.yaml"]);
    assert_eq!(
        shown["b/cambist.yaml"]["processors"]["short"]["lifetime"],
        "4m"
    );
    assert_eq!(shown["cambist.yaml"]["server"]["header_timeout"], "10s");
    let one = print(dir.path(), &["--effective", "--realm", "b"]);
    assert!(
        one.starts_with("# b/cambist.yaml, as it is in force\n") && !one.contains("\n---"),
        "{one}"
    );
    fs::write(dir.path().join("a/main.policy"), "nonsense").unwrap();
    let (code, out, errors) = cambist(dir.path(), &["config", "print", "."]);
    assert_eq!((code, out.as_str()), (1, ""), "{errors}");
}
