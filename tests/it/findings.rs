//! Findings as people and machines get them: the codes and their pages, `cambist reference`, the formats
//! of `cambist check`, and `--fix`.

mod fixes;
mod formats;
mod pages;
mod verbs;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::cambist;

/// The realm that findings are looked for in, by the keys of its root file.
const REALM: &[(&str, &str)] = &[
    ("server", "{ listen: 127.0.0.1:0 }"),
    ("admin", "{ listen: 127.0.0.1:0 }"),
    ("issuer", "https://as.example.com"),
    ("keys", "[ { ephemeral: ES256 } ]"),
    (
        "issuers",
        "
  corp:
    issuer: https://login.example.com
    jwks: { keys: [ { kty: EC, crv: P-256, use: sig, kid: a, x: MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4, y: 4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM } ] }
    audience: client
    scope: claim
    subjects: local
    token_types: [access_token]
    claims: { groups?: set<string>, employee_id?: string, level: string }
  partner:
    issuer: https://partner.example.com
    introspection: { endpoint: https://partner.example.com/introspect, unauthenticated: true }
    audience: client
    scope: claim
    claims: { tenant: string }
  ci:
    issuer: https://ci.example.com
    jwks: { keys: [ { kty: EC, crv: P-256, use: sig, kid: a, x: MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4, y: 4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM } ] }
    audience: self
    scope: none
    claims: { ref: string }
  cloud:
    issuer: https://cloud.example.com
    jwks: { keys: [ { kty: EC, crv: P-256, use: sig, kid: a, x: MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4, y: 4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM } ] }
    audience: self
    scope: none
    claims: { owner_id: string }
    tenancy: owner_id",
    ),
    (
        "clients",
        "
  orders-api:
    identifiers: [https://orders.example.com]
    auth: { client_secret_basic: { secret_file: orders.secret } }
  hr-portal:
    auth: { client_secret_basic: { secret_file: orders.secret } }",
    ),
    (
        "processors",
        "
  mint: { provider: mint, lifetime: 5m, max_lifetime: 30m }",
    ),
    ("policies", "[\"*.policy\"]"),
];

const POLICY: &str = "policy 1 module shop

rule orders-to-payments {
  from  corp
  by    client \"orders-api\"
  to    resource under \"https://payments.example.com/v1\"
  use   mint
}
";

/// A configuration directory; `changes` are keys of the root file with other values, `None` for not there.
fn realm(changes: &[(&str, Option<&str>)], policy: &str) -> tempfile::TempDir {
    let mut keys: BTreeMap<&str, &str> = REALM.iter().copied().collect();
    for (key, value) in changes {
        match value {
            Some(value) => keys.insert(key, value),
            None => keys.remove(key),
        };
    }
    let yaml: String = keys
        .iter()
        .map(|(key, value)| format!("{key}: {value}\n"))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cambist.yaml"), yaml).unwrap();
    fs::write(dir.path().join("main.policy"), policy).unwrap();
    for (name, secret, mode) in [
        (
            "orders.secret",
            "long-secure-random-secret-0123456789",
            0o600,
        ),
        ("old.secret", "hunter2", 0o644),
    ] {
        fs::write(dir.path().join(name), secret).unwrap();
        set_mode(&dir.path().join(name), mode);
    }
    dir
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}
