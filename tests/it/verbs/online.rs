//! `cambist check --online`: everybody is asked once, and what is wrong is named at its key.

use std::fs;

use cambist::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Introspection, Page, Reply, Site, cambist};

/// A realm whose issuers and client are all somewhere else; `SITE` and `OP` stand for addresses.
const REALM: &str = r#"issuer: https://as.example.com
keys: [ { ephemeral: ES256 } ]
issuers:
  listed: { issuer: https://listed.example.com, jwks_uri: http://SITE/keys, audience: client, scope: none, subjects: local }
  found: { issuer: "http://SITE/realms/corp", discovery: openid, audience: client, scope: none }
  asked:
    issuer: https://asked.example.com
    introspection: { endpoint: "http://OP/introspect", client_id: cambist, secret_file: op.secret }
    audience: client
    scope: claim
    token_types: [access_token]
  gone: { issuer: https://gone.example.com, jwks_uri: http://SITE/gone, enabled: false, audience: client, scope: none }
clients:
  signs: { auth: { private_key_jwt: { jwks_uri: http://SITE/client } } }
processors: { mint: { provider: mint } }
policies: [main.policy]
"#;

const SECRET: &str = "a-secret-of-some-length-that-nobody-may-see";

fn realm(site: &Site, op: &Introspection) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let yaml = REALM.replace("SITE", &site.address.to_string());
    for (name, text) in [
        ("cambist.yaml", yaml.replace("OP", &op.address.to_string())),
        (
            "main.policy",
            "policy 1 module main\nrule r { from listed by client \"signs\" to audience \"x\"\nuse mint { scope: [] } }\n"
                .to_owned(),
        ),
        ("op.secret", SECRET.to_owned()),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

async fn site(broken: &'static str, page: fn() -> Page) -> Site {
    let key = |algorithm| SigningKey::generate(algorithm).unwrap().public_jwk();
    let two = json!({ "keys": [key(Algorithm::ES256), key(Algorithm::EdDSA), { "kty": "oct", "k": "AAAA" }] });
    let one = json!({ "keys": [key(Algorithm::ES384)] });
    let (two, one) = (two.to_string(), one.to_string());
    Site::start(move |path, head| {
        let host = head.lines().find_map(|line| line.strip_prefix("host: "));
        let base = format!("http://{}/realms/corp", host.unwrap_or_default());
        match path {
            path if path == broken && !broken.is_empty() => page(),
            "/keys" => Page::json(&two),
            "/realms/corp/.well-known/openid-configuration" => {
                let metadata = json!({ "issuer": base, "jwks_uri": format!("{base}/keys") });
                Page::json(&metadata.to_string())
            }
            "/realms/corp/keys" | "/client" => Page::json(&one),
            _ => Page::http("404 Not Found", "", ""),
        }
    })
    .await
}

async fn op(answer: Value) -> Introspection {
    Introspection::start(move |_| Reply::Json(answer.clone())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_asked_once_and_named_with_what_they_have() {
    let site = site("", || Page::Hang).await;
    let op = op(json!({ "active": false })).await;
    let dir = realm(&site, &op);
    let (code, shown, errors) = cambist(dir.path(), &["check", "--online", "."]);
    assert_eq!(code, 0, "{shown}{errors}");
    let at = site.address;
    for line in [
        format!(
            "issuer `listed`: 2 keys (ES256, EdDSA) at http://{at}/keys; not used: key 2 (symmetric)\n"
        ),
        format!("issuer `found`: 1 key (ES384) at http://{at}/realms/corp/keys\n"),
        format!(
            "issuer `asked`: answers at http://{}/introspect\n",
            op.address
        ),
        format!("client `signs`: 1 key (ES384) at http://{at}/client\n"),
    ] {
        assert!(shown.contains(&line), "{line}\n{shown}");
    }
    assert!(
        errors.starts_with("asking 4 …\n") && errors.matches('✓').count() == 4,
        "{errors}"
    );
    for path in ["/keys", "/client", "/realms/corp/keys"] {
        assert_eq!(site.calls(path).len(), 1, "{path}");
    }
    assert_eq!(site.calls("/gone").len(), 0, "who is disabled is not asked");
    // Without it, nobody is.
    assert_eq!(cambist(dir.path(), &["check", "."]).0, 0);
    assert_eq!(site.calls("/keys").len(), 1);
    let (code, shown, errors) =
        cambist(dir.path(), &["check", "--online", "--format", "json", "."]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(serde_json::from_str::<Value>(&shown).unwrap().is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_named_at_its_key() {
    type Made = fn() -> Page;
    let missing: Made = || Page::http("404 Not Found", "", "");
    let html: Made = || Page::http("200 OK", "Content-Type: text/html\r\n", "<p>");
    let other: Made = || Page::json("{\"issuer\":\"https://evil.example.com\"}");
    let none: Made = || Page::json("{\"keys\":[]}");
    for (path, page, key, says) in [
        (
            "/keys",
            missing,
            "jwks_uri: http://",
            "the keys of issuer `listed` cannot be had: the answer has the status 404",
        ),
        (
            "/keys",
            none,
            "jwks_uri: http://",
            "none of the 0 keys in the set is usable",
        ),
        (
            "/client",
            html,
            "jwks_uri: http://",
            "the keys of client `signs` cannot be had: the answer is not JSON",
        ),
        (
            "/realms/corp/.well-known/openid-configuration",
            other,
            "discovery: openid",
            "the metadata is that of another issuer",
        ),
    ] {
        let site = site(path, page).await;
        let op = op(json!({ "active": false })).await;
        let dir = realm(&site, &op);
        let (code, shown, errors) = cambist(dir.path(), &["check", "--online", "."]);
        assert_eq!(code, 1, "{shown}{errors}");
        assert!(
            errors.contains("error[E1040]: ") && errors.contains(says),
            "{errors}"
        );
        assert!(
            errors.contains(key) && errors.contains("--> ./cambist.yaml:"),
            "{errors}"
        );
        assert!(
            errors.contains("1 error, 2 warnings") && errors.contains("✗"),
            "{errors}"
        );
        let (code, shown, _) = cambist(dir.path(), &["check", "--online", "--format", "json", "."]);
        assert_eq!(code, 1);
        let findings: Vec<Value> = serde_json::from_str(&shown).unwrap();
        assert!(
            findings.iter().any(|finding| finding["code"] == "E1040"),
            "{shown}"
        );
    }
    // Nobody listens.
    let mut site = site("", missing).await;
    let op = op(json!({ "active": false })).await;
    let dir = realm(&site, &op);
    site.close().await;
    let (code, _, errors) = cambist(dir.path(), &["check", "--online", "."]);
    assert_eq!(code, 1);
    assert_eq!(
        errors.matches("the connection was refused").count(),
        3,
        "{errors}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_must_know_us_and_must_not_vouch_for_anything() {
    let site = site("", || Page::Hang).await;
    for (reply, says) in [
        (
            Reply::http("401 Unauthorized", "text/plain", "no"),
            "it refuses our credentials (status 401)",
        ),
        (
            Reply::http("500 Internal Server Error", "text/plain", "no"),
            "the answer has the status 500",
        ),
        (
            Reply::Json(json!({ "active": true })),
            "is active that nobody ever issued",
        ),
        (
            Reply::Json(json!({ "error": "x" })),
            "no `application/json` object",
        ),
    ] {
        let op = Introspection::start(move |_| reply.clone()).await;
        let dir = realm(&site, &op);
        let (code, shown, errors) = cambist(dir.path(), &["check", "--online", "."]);
        assert_eq!(code, 1, "{shown}{errors}");
        assert!(
            errors.contains("error[E1041]: issuer `asked` cannot be asked"),
            "{errors}"
        );
        assert!(errors.contains(says), "{errors}");
        assert!(!errors.contains(SECRET) && !shown.contains(SECRET));
    }
}
