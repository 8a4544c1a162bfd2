//! A whole gateway in this process: port 0, a clock that stands still, records in memory.

use std::path::Path;
use std::sync::{Arc, Mutex};

use cambist::audit::sink::Target;
use cambist::clock::Clock;
use cambist::jose::{Compact, KeySet, parse_object};
use cambist::oauth::NumericDate;
use cambist::run::{Options, Running};
use serde_json::Value;
use tempfile::TempDir;

use super::{ACCESS_TOKEN, Answer, EXCHANGE, NOW, basic, call, form, head};

/// The secret of the client `rs08`.
pub const SECRET: &str = "long-secure-random-secret";

/// The realm that most tests use. `idp` and `partner` sign JWTs, `op` is asked about opaque tokens.
/// `OP` stands for its address.
pub const REALM: &str = r#"
server: { listen: 127.0.0.1:0 }
admin:  { listen: 127.0.0.1:0 }
issuer: https://as.example.com
keys: [ { ephemeral: ES256 } ]
issuers:
  idp:     { issuer: https://idp.example.com, jwks_file: idp.json, audience: client, scope: claim, subjects: local }
  partner: { issuer: https://partner.example.com, jwks_file: partner.json, audience: self, scope: scp }
  op:
    issuer: https://op.example.com
    introspection: { endpoint: "http://OP/introspect", client_id: cambist, secret_file: op.secret, timeout: 1s }
    audience: any
    scope: claim
clients:
  rs08:
    identifiers: [https://frontend.example.com]
    auth: { client_secret_basic: { secret_sha256: "sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E" } }
resources:
  backend: { under: https://backend.example.com, audience: https://backend.example.com, scopes: [api, profile] }
processors:
  mint: { provider: mint, lifetime: 60s }
policies: [main.policy]
"#;

/// The rules that go with [`REALM`].
pub const RULES: &str = r#"policy 1 module main

rule local {
  from idp, self
  by   client "rs08"
  to   resource under "https://backend.example.com"
  use  mint { scope: requested & subject.scope }
}
rule foreign {
  from partner
  by   client "rs08"
  to   resource under "https://backend.example.com"
  use  mint { scope: requested & subject.scope, sub: "partner|${subject.sub}" }
}
rule asked {
  from op
  by   client "rs08"
  to   resource under "https://backend.example.com"
  use  mint { scope: requested & subject.scope, sub: "op|${subject.sub}" }
}
"#;

/// A running gateway and its directory.
pub struct Gateway {
    /// The gateway.
    pub running: Running,
    /// Its time.
    pub clock: Clock,
    records: Arc<Mutex<Vec<u8>>>,
    /// Its configuration, as long as it runs.
    pub dir: TempDir,
}

impl Gateway {
    /// Starts a gateway from `cambist.yaml`, `main.policy` and further files.
    pub async fn start(yaml: &str, policy: &str, files: &[(&str, &str)]) -> Self {
        let records = Arc::new(Mutex::new(Vec::new()));
        let target = Target::Memory(Arc::clone(&records));
        Self::start_with(NOW, yaml, policy, files, target, records).await
    }

    /// The same at another time.
    pub async fn start_at(now: i64, yaml: &str, policy: &str, files: &[(&str, &str)]) -> Self {
        let records = Arc::new(Mutex::new(Vec::new()));
        let target = Target::Memory(Arc::clone(&records));
        Self::start_with(now, yaml, policy, files, target, records).await
    }

    /// The same with its records elsewhere; [`Self::records`] has nothing then.
    pub async fn recording_to(target: Target, yaml: &str, policy: &str) -> Self {
        Self::start_with(NOW, yaml, policy, &[], target, Arc::default()).await
    }

    async fn start_with(
        now: i64,
        yaml: &str,
        policy: &str,
        files: &[(&str, &str)],
        target: Target,
        records: Arc<Mutex<Vec<u8>>>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("cambist.yaml", yaml), ("main.policy", policy)]
            .iter()
            .chain(files)
        {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let clock = Clock::fixed(NumericDate(now));
        let options = Options {
            clock: clock.clone(),
            audit: Some(target),
            settle: None,
            ..Options::of(Clock::system())
        };
        let running = Running::start(dir.path(), options)
            .await
            .unwrap_or_else(|error| panic!("{error}: {error:?}"));
        Self {
            running,
            clock,
            records,
            dir,
        }
    }

    /// Where its configuration lies.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Sends bytes to the token listener.
    pub async fn send(&self, request: &[u8]) -> Answer {
        call(self.running.address, request).await
    }

    /// Asks the token listener for a document.
    pub async fn get(&self, path: &str) -> Answer {
        call(self.running.address, get(path).as_bytes()).await
    }

    /// Asks the admin listener for a document.
    pub async fn admin(&self, path: &str) -> Answer {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        call(self.running.admin, request.as_bytes()).await
    }

    /// Posts a form to `/token` with these credentials.
    pub async fn post(&self, authorization: Option<&str>, parameters: &[(&str, &str)]) -> Answer {
        let body = form(parameters);
        self.send(format!("{}{body}", head(authorization, body.len())).as_bytes())
            .await
    }

    /// Exchanges as `rs08`. The grant type is added, the other parameters are the caller's.
    pub async fn exchange(&self, parameters: &[(&str, &str)]) -> Answer {
        let mut all = vec![("grant_type", EXCHANGE)];
        all.extend(parameters);
        self.post(Some(&basic("rs08", SECRET)), &all).await
    }

    /// Exchanges an access token as `rs08` for one for the backend.
    pub async fn trade(&self, subject_token: &str) -> Answer {
        self.trade_as(ACCESS_TOKEN, subject_token).await
    }

    /// The same under another declared type.
    pub async fn trade_as(&self, token_type: &str, subject_token: &str) -> Answer {
        self.exchange(&[
            ("subject_token", subject_token),
            ("subject_token_type", token_type),
            ("resource", "https://backend.example.com/api"),
        ])
        .await
    }

    /// Every record of an exchange so far.
    pub fn records(&self) -> Vec<Value> {
        let mut records = self.all_records();
        records.retain(|record| record["event"] == "exchange");
        records
    }

    /// Every record so far, also those of the configuration's changes.
    pub fn all_records(&self) -> Vec<Value> {
        let bytes = self.records.lock().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The last record.
    pub fn last(&self) -> Value {
        self.records().pop().unwrap_or_default()
    }

    /// The claims of what was issued.
    pub async fn issued(&self, what: &str, answer: &Answer) -> Value {
        assert_eq!(answer.status, 200, "{what}: {answer:?} {:#}", self.last());
        self.open(&answer.token()).await
    }

    /// The claims of a token of this gateway, checked with the keys that it publishes.
    pub async fn open(&self, token: &str) -> Value {
        let path = self.running.gateway.live.load().first().jwks_path.clone();
        let (keys, skipped) =
            KeySet::from_jwks(self.get(&path).await.body.as_bytes(), &[]).unwrap();
        assert_eq!(skipped, []);
        let compact = Compact::parse(token).unwrap();
        assert_eq!(compact.header().typ.as_deref(), Some("at+jwt"));
        assert!(compact.header().kid.is_some());
        compact.verify(&keys).unwrap().into()
    }

    /// Whether the text parses as JSON the strict way.
    pub fn is_strict_json(text: &str) -> bool {
        parse_object(text.as_bytes()).is_ok()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: as.example.com\r\nConnection: close\r\n\r\n")
}
