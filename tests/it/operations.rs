//! What an operator relies on: realms, listeners, limits, reloads, the admin API, the life of a process.

mod admin;
mod front;
mod life;
mod limits;
mod realms;
mod storm;

use std::path::Path;

use cambist::audit::sink::Target;
use cambist::clock::Clock;
use cambist::jose::Algorithm;
use cambist::oauth::NumericDate;
use cambist::run::{Options, Running};
use serde_json::Value;

use crate::support::{Answer, Idp, NOW, basic, call, claims, form};

/// The policy of every realm here.
const RULES: &str = "policy 1 module main\n\nrule trade {\n  from idp, self\n  by   client \"rs08\"\n  \
                     to   resource under \"https://backend.example.com\"\n  \
                     use  mint { scope: requested & subject.scope }\n}\n";

/// A realm's own keys; `ISSUER` is its identifier, `SECRET` its client's.
const REALM: &str = r#"issuer: ISSUER
keys: [ { ephemeral: ES256 } ]
issuers:
  idp: { issuer: https://idp.example.com, jwks_file: idp.json, audience: client, scope: claim, subjects: local }
clients:
  rs08: { auth: { client_secret_basic: { secret_file: rs08.secret } } }
resources:
  backend: { under: https://backend.example.com, audience: https://backend.example.com, scopes: [api] }
processors:
  mint: { provider: mint }
policies: [main.policy]
"#;

/// Writes a realm into a directory; more keys go before its own.
fn write_realm(dir: &Path, issuer: &str, more: &str, secret: &str, idp: &Idp) {
    std::fs::create_dir_all(dir).unwrap();
    let yaml = format!("{more}{}", REALM.replace("ISSUER", issuer));
    for (name, text) in [
        ("cambist.yaml", yaml.as_str()),
        ("main.policy", RULES),
        ("rs08.secret", secret),
        ("idp.json", &idp.jwks()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

/// A secret that nobody guesses.
fn secret(of: &str) -> String {
    format!("{of}-long-secure-random-secret-of-{of}")
}

/// Starts what lies in a directory, with its records in memory.
async fn start(dir: &Path) -> Running {
    try_start(dir)
        .await
        .unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

async fn try_start(dir: &Path) -> Result<Running, cambist::run::StartError> {
    let options = Options {
        audit: Some(Target::Memory(std::sync::Arc::default())),
        all_realms: false,
        ..Options::of(Clock::fixed(NumericDate(NOW)))
    };
    Running::start(dir, options).await
}

/// A subject token that the realms take.
fn subject_token(idp: &Idp) -> String {
    idp.token(&claims(serde_json::json!({ "scope": "api" })))
}

/// The issuer that the realms trust.
fn idp() -> Idp {
    Idp::new("https://idp.example.com", Algorithm::ES256)
}

/// The body of an exchange.
fn body(subject_token: &str) -> String {
    form(&[
        ("grant_type", crate::support::EXCHANGE),
        ("subject_token", subject_token),
        ("subject_token_type", crate::support::ACCESS_TOKEN),
        ("resource", "https://backend.example.com/api"),
    ])
}

/// Exchanges at a path of a host.
async fn trade(
    running: &Running,
    host: &str,
    path: &str,
    secret: &str,
    subject_token: &str,
) -> Answer {
    let body = body(subject_token);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        basic("rs08", secret),
        body.len()
    );
    call(running.address, request.as_bytes()).await
}

async fn get(running: &Running, host: &str, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    call(running.address, request.as_bytes()).await
}

/// Asks the admin listener.
async fn admin(running: &Running, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"
    );
    call(running.admin, request.as_bytes()).await
}

async fn status(running: &Running) -> Value {
    admin(running, "GET", "/status", "").await.json()
}
