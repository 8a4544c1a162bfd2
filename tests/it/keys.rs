//! Keys that are fetched (F11, F12, F13, F30): faults, floods, rotation, discovery, reload. The clock is
//! stepped; nothing waits for time to pass but what waits for an answer that does not come.

mod discovery;
mod faults;
mod floods;
mod kept;
mod tls;

use std::sync::Mutex;
use std::time::Duration;

use cambist::jose::Algorithm;
use cambist::oauth::NumericDate;
use serde_json::{Value, json};

use crate::support::{Answer, Gateway, Idp, NOW, Page, REALM, RULES, Site, claims};

/// A gateway that fetches the keys of `idp`, and where it fetches them.
struct World {
    gateway: Gateway,
    idp: Idp,
    site: Site,
    time: Mutex<i64>,
}

/// The issuer's keys are fetched, and nobody else's tokens are taken.
const FETCHED: &str = "  idp: { issuer: https://idp.example.com, jwks_uri: \"http://SITE/jwks\", audience: client, scope: claim, fetch: { timeout: 1s } }\n";

/// The usual realm with these issuers only, and rules that go with them.
fn realm(issuers: &str) -> (String, String) {
    let (before, rest) = REALM.split_once("  idp:").unwrap();
    let after = &rest[rest.find("clients:").unwrap()..];
    let rules = RULES.split("rule foreign").next().unwrap();
    (format!("{before}{issuers}{after}"), rules.to_owned())
}

impl World {
    /// A good set, fetched.
    async fn start() -> Self {
        let world = Self::cold(FETCHED, Page::json).await;
        world.fetched(1).await;
        world.until_ready().await;
        world
    }

    /// With these issuers, and whatever the site says; the script gets the good set.
    async fn cold(issuers: &str, page: impl Fn(&str) -> Page + Send + Sync + 'static) -> Self {
        let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
        let keys = idp.jwks();
        let site = Site::start(move |_, _| page(&keys)).await;
        let (yaml, rules) = realm(issuers);
        let yaml = yaml.replace("SITE", &site.address.to_string());
        let gateway = Gateway::start(&yaml, &rules, &[]).await;
        let time = Mutex::new(NOW);
        Self {
            gateway,
            idp,
            site,
            time,
        }
    }

    /// Lets seconds pass.
    fn pass(&self, seconds: i64) {
        let mut time = self.time.lock().unwrap();
        *time += seconds;
        self.gateway.clock.set(NumericDate(*time));
    }

    /// A token that is good whatever the time.
    fn token(&self) -> String {
        self.idp.token(&claims(json!({ "exp": NOW + 10_000_000 })))
    }

    /// A token with a `kid` that nobody has.
    fn forged(&self, kid: &str) -> String {
        let payload = self
            .idp
            .payload(&claims(json!({ "exp": NOW + 10_000_000 })));
        self.idp
            .raw(&self.idp.header(&json!({ "kid": kid })), &payload)
    }

    async fn good(&self, what: &str) {
        let answer = self.gateway.trade(&self.token()).await;
        assert_eq!(
            answer.status,
            200,
            "{what}: {answer:?} {:#}",
            self.gateway.last()
        );
    }

    /// Refused with this status, and for this reason in the record.
    async fn bad(&self, what: &str, token: &str, status: u16, reason: &str) -> Answer {
        let answer = self.gateway.trade(token).await;
        let record = self.gateway.last();
        assert_eq!(
            (answer.status, &record["reason"]),
            (status, &json!(reason)),
            "{what}: {answer:?}"
        );
        answer
    }

    fn fetches(&self) -> usize {
        self.site.calls("/jwks").len()
    }

    /// Waits until so many fetches have begun.
    async fn fetched(&self, count: usize) {
        eventually(&format!("{count} fetches"), || self.fetches() >= count).await;
        assert_eq!(self.fetches(), count);
    }

    /// Waits until the metric counts this result.
    async fn result(&self, result: &str, count: u64) {
        for _ in 0..PATIENCE {
            let text = self.gateway.admin("/metrics").await.body;
            let line = format!("issuer=\"idp\",realm=\"default\",result=\"{result}\"}} {count}\n");
            if text.contains(&line) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let text = self.gateway.admin("/metrics").await.body;
        panic!("{result} {count} is not in {text}");
    }

    async fn until_ready(&self) {
        for _ in 0..PATIENCE {
            if self.gateway.admin("/readyz").await.status == 200 {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{:?}", self.gateway.admin("/readyz?verbose").await);
    }
}

const PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: usize = 1500;

/// Waits for what happens in the background.
async fn eventually(what: &str, happened: impl Fn() -> bool) {
    for _ in 0..PATIENCE {
        if happened() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("never: {what}");
}

/// A set of several issuers' keys.
fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
