//! Metadata (RFC 8414), keys (RFC 7517), and the example of RFC 8693 §2.3 with the realm that is shipped.

use std::path::Path;

use cambist::demo::toys;
use cambist::jose::{Algorithm, Compact, KeySet};
use serde_json::{Value, json};

use crate::support::{Gateway, Introspection, NOW, REALM, RULES, Reply};

#[tokio::test]
async fn rfc8693_section_2_3_with_the_shipped_realm() {
    let op = Introspection::start(|token| match token {
        toys::BEARER => Reply::Json(json!({
            "active": true, "iss": "https://op.example.com", "sub": "bdc@example.com",
            "scope": "api profile", "client_id": "https://app.example.com",
            "token_type": "Bearer", "iat": NOW, "exp": NOW + 3600,
        })),
        _ => Reply::Json(json!({ "active": false })),
    })
    .await;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let read = |name: &str| std::fs::read_to_string(shipped.join(name)).unwrap();
    let yaml = read("cambist.yaml")
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9090", "127.0.0.1:0")
        .replace("127.0.0.1:7001", &op.address.to_string());
    let gateway = Gateway::start(&yaml, &read("main.policy"), &[]).await;

    // The RFC's own bytes: its body, its `Authorization`, its path and host.
    let request = toys::exchange_request(toys::BEARER);
    let body = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
                &resource=https%3A%2F%2Fbackend.example.com%2Fapi%20\
                &subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC\
                &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
        .replace("%20", "");
    assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
    assert!(request.starts_with(
        "POST /as/token.oauth2 HTTP/1.1\r\nHost: as.example.com\r\n\
                                 Authorization: Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0\r\n\
                                 Content-Type: application/x-www-form-urlencoded\r\n"
    ));

    let answer = gateway.send(request.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-cache, no-store"));
    let mut body = answer.json();
    let token = body["access_token"].take();
    let token = token.as_str().unwrap();
    assert_eq!(
        body,
        json!({
            "access_token": null,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 60,
            "scope": "api",
        })
    );
    assert_eq!(
        Compact::parse(token).unwrap().header().alg,
        Algorithm::ES256
    );
    let mut claims = gateway.open(token).await;
    assert_ne!(claims["jti"].take(), Value::Null);
    assert_eq!(
        claims,
        json!({
            "iss": "https://as.example.com", "sub": "bdc@example.com",
            "aud": "https://backend.example.com", "scope": "api", "client_id": "rs08",
            "iat": NOW, "exp": NOW + 60, "jti": null,
        })
    );
    assert_eq!(op.calls().len(), 1);
}

#[tokio::test]
async fn two_answers_have_two_tokens_and_two_ids() {
    let (gateway, _op) = plain("").await;
    let (one, two) = (gateway.trade("t").await, gateway.trade("t").await);
    assert_ne!(one.token(), two.token());
    assert_ne!(
        gateway.open(&one.token()).await["jti"],
        gateway.open(&two.token()).await["jti"]
    );
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

/// RFC 8414 §3.1 puts the issuer's path behind the well-known part, RFC 8414 §3.3 wants `issuer`
/// identical to what the client started from.
#[tokio::test]
async fn documents_of_an_issuer_with_a_path() {
    for (issuer, path) in [
        ("https://as.example.com", ""),
        ("https://as.example.com/", ""),
        ("https://as.example.com/tenant/one", "/tenant/one"),
        ("https://as.example.com/tenant/", "/tenant"),
    ] {
        let (gateway, _op) = plain(issuer).await;
        let well_known = format!("/.well-known/oauth-authorization-server{path}");
        let metadata = gateway.get(&well_known).await;
        assert_eq!(metadata.status, 200, "{issuer}");
        let origin = "https://as.example.com";
        assert_eq!(
            metadata.json(),
            json!({
                "issuer": issuer,
                "token_endpoint": format!("{origin}{path}/token"),
                "jwks_uri": format!("{origin}{path}/jwks"),
                "response_types_supported": [],
                "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            })
        );
        // Each address of the metadata leads somewhere, and the token names the same issuer.
        let jwks = gateway.get(&format!("{path}/jwks")).await.json();
        assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(1), "{issuer}");
        let wrong_path = gateway
            .get("/.well-known/oauth-authorization-server/other")
            .await;
        assert_eq!(wrong_path.status, 404);
        let request = format!("POST {path}/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(
            gateway.send(request.as_bytes()).await.status,
            400,
            "{issuer}"
        );
        let token = trade_at(&gateway, &format!("{path}/token")).await;
        assert_eq!(gateway.open(&token).await["iss"], issuer);
    }
}

#[tokio::test]
async fn the_published_keys_have_no_private_member() {
    let keys = "[ { ephemeral: ES256 }, { ephemeral: RS256, kid: second }, { ephemeral: EdDSA } ]";
    let yaml = REALM.replace("[ { ephemeral: ES256 } ]", keys);
    let (gateway, _op) = with_realm(&yaml).await;
    let answer = gateway.get("/jwks").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let (set, skipped) = KeySet::from_jwks(answer.body.as_bytes(), &[]).unwrap();
    assert_eq!((set.keys().len(), skipped), (3, vec![]));
    let json = answer.json();
    let keys = json["keys"].as_array().unwrap();
    let names = |key: &Value| {
        key.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        keys.iter().map(names).collect::<Vec<_>>(),
        [
            "alg crv kid kty use x y",
            "alg e kid kty n use",
            "alg crv kid kty use x"
        ]
    );
    // The first one signs.
    let token = gateway.trade("t").await.token();
    let header = Compact::parse(&token).unwrap().header().clone();
    assert_eq!(
        (header.alg, header.kid.as_deref()),
        (Algorithm::ES256, keys[0]["kid"].as_str())
    );
}

#[tokio::test]
async fn head_says_what_get_says_without_the_body() {
    let (gateway, _op) = plain("").await;
    for path in [
        "/jwks",
        "/.well-known/oauth-authorization-server",
        "/nowhere",
    ] {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let head = gateway.send(request.as_bytes()).await;
        let get = gateway.get(path).await;
        assert_eq!((head.status, head.body.as_str()), (get.status, ""));
        let same = |name: &str| assert_eq!(head.header(name), get.header(name), "{path} {name}");
        ["content-type", "content-length", "cache-control"]
            .into_iter()
            .for_each(same);
        assert_eq!(
            get.header("content-length"),
            Some(get.body.len().to_string().as_str())
        );
    }
}

async fn plain(issuer: &str) -> (Gateway, Introspection) {
    if issuer.is_empty() {
        return with_realm(REALM).await;
    }
    with_realm(&REALM.replace(
        "issuer: https://as.example.com\n",
        &format!("issuer: {issuer}\n"),
    ))
    .await
}

async fn with_realm(yaml: &str) -> (Gateway, Introspection) {
    let op = Introspection::start(|_| {
        Reply::Json(json!({ "active": true, "sub": "bob", "scope": "api", "exp": NOW + 600 }))
    })
    .await;
    let idp = crate::support::Idp::new("https://idp.example.com", Algorithm::ES256).jwks();
    let yaml = yaml.replace("OP", &op.address.to_string());
    let files = [
        ("idp.json", &*idp),
        ("partner.json", &*idp),
        ("op.secret", "s"),
    ];
    (Gateway::start(&yaml, RULES, &files).await, op)
}

async fn trade_at(gateway: &Gateway, path: &str) -> String {
    use crate::support::{ACCESS_TOKEN, EXCHANGE, SECRET, basic, form, head};
    let body = form(&[
        ("grant_type", EXCHANGE),
        ("subject_token", "t"),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://backend.example.com/api"),
    ]);
    let head = head(Some(&basic("rs08", SECRET)), body.len()).replace("/token", path);
    gateway
        .send(format!("{head}{body}").as_bytes())
        .await
        .token()
}
