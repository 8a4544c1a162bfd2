//! Our own keys over time, on disk and over HTTP: published before use, kept until the last token expires.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cambist::jose::{Algorithm, Compact, KeySet, SigningKey};
use cambist::oauth::NumericDate;
use cambist::reload::reload;
use serde_json::{Value, json};

use crate::support::{Gateway, Idp, NOW, REALM, RULES, cambist, claims};

const NOTICE: i64 = 120;
const LIFE: i64 = 60;

struct World {
    gateway: Gateway,
    idp: Idp,
    now: i64,
}

impl World {
    /// A gateway with one key in a file, which it publishes for two minutes before use.
    async fn start(more: &str) -> Self {
        let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
        let jwks = idp.jwks();
        let yaml = with_keys("{ file: a.pem }", more);
        let pems = ["a.pem", "b.pem", "c.pem"].map(|name| (name, pem()));
        let mut files = vec![("idp.json", &*jwks), ("partner.json", &*jwks)];
        files.push(("op.secret", "secret-for-the-introspection-endpoint"));
        files.extend(pems.iter().map(|(name, text)| (*name, text.as_str())));
        let gateway = Gateway::start(&yaml, RULES, &files).await;
        Self {
            gateway,
            idp,
            now: NOW,
        }
    }

    fn at(&mut self, seconds: i64) {
        self.now = NOW + seconds;
        self.gateway.clock.set(NumericDate(self.now));
    }

    /// Another process with the same files, which knows nothing of this one.
    async fn restart(&mut self, seconds: i64) {
        self.now = NOW + seconds;
        let read = |name: &str| fs::read_to_string(self.dir().join(name)).unwrap();
        let names = [
            "idp.json",
            "partner.json",
            "op.secret",
            "a.pem",
            "b.pem",
            "c.pem",
        ];
        let files = names.map(|name| (name, read(name)));
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, &**text)).collect();
        let (yaml, rules) = (read("cambist.yaml"), read("main.policy"));
        self.gateway = Gateway::start_at(self.now, &yaml, &rules, &files).await;
    }

    fn dir(&self) -> &Path {
        self.gateway.dir()
    }

    /// Lists these keys, and reloads.
    fn list(&self, keys: &str, more: &str) -> &'static str {
        fs::write(self.dir().join("cambist.yaml"), with_keys(keys, more)).unwrap();
        self.reload()
    }

    fn reload(&self) -> &'static str {
        reload(&self.gateway.running.gateway, self.dir()).name()
    }

    async fn token(&self) -> String {
        let times = json!({ "iat": self.now, "exp": self.now + 600 });
        let answer = self.gateway.trade(&self.idp.token(&claims(times))).await;
        assert_eq!(answer.status, 200, "{answer:?} {:#}", self.gateway.last());
        answer.token()
    }

    /// Who signs now.
    async fn kid(&self) -> String {
        kid(&self.token().await)
    }

    async fn published(&self) -> Vec<String> {
        let document = self.gateway.get("/jwks").await.json();
        let keys = document["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }

    fn kid_of(&self, file: &str) -> String {
        let pem = fs::read(self.dir().join(file)).unwrap();
        SigningKey::from_pem(&pem).unwrap().kid().to_owned()
    }
}

fn pem() -> String {
    SigningKey::generate_pem(Algorithm::ES256)
        .unwrap()
        .to_string()
}

fn with_keys(keys: &str, more: &str) -> String {
    let own = "keys: [ { ephemeral: ES256 } ]";
    let rotation = format!("keys: [ {keys} ]\nkey_rotation: {{ publish_before_use: {NOTICE}s }}");
    // Nobody is asked about opaque tokens here.
    let yaml = REALM.replace(own, &rotation).replace("OP", "127.0.0.1:9");
    yaml.replace("lifetime: 60s", "lifetime: 60s, max_lifetime: 60s") + more
}

fn kid(token: &str) -> String {
    let compact = Compact::parse(token).unwrap();
    compact.header().kid.clone().unwrap()
}

#[tokio::test]
async fn a_key_is_rotated_by_its_file_without_a_restart() {
    let mut world = World::start("").await;
    let (a, b) = (world.kid_of("a.pem"), world.kid_of("b.pem"));
    assert_eq!(world.kid().await, a);
    let answer = world.gateway.get("/jwks").await;
    assert_eq!(
        answer.header("cache-control"),
        Some("public, max-age=60"),
        "half of the time before use"
    );

    world.at(1000);
    assert_eq!(world.list("{ file: b.pem }", ""), "applied");
    assert_eq!(world.published().await, [b.clone(), a.clone()]);
    let early = world.token().await;
    assert_eq!(kid(&early), a, "the old one, from memory");
    // Its file may go; what runs does not need it.
    fs::remove_file(world.dir().join("a.pem")).unwrap();
    assert_eq!(world.reload(), "unchanged");
    world.at(1000 + NOTICE - 1);
    let late = world.token().await;
    assert_eq!(kid(&late), a);
    world.at(1000 + NOTICE);
    assert_eq!(world.kid().await, b);

    // Our own tokens come back for another: also those of the key that signs no more, until they expire.
    let ours = |token: &str| {
        let claims = Compact::parse(token).unwrap();
        claims.peek_claims_unverified().unwrap()["exp"].clone()
    };
    assert_eq!(ours(&late), json!(NOW + 1000 + NOTICE - 1 + LIFE));
    let again = world.gateway.trade(&late).await;
    assert_eq!(again.status, 400, "it is addressed to the backend");
    assert_eq!(world.gateway.last()["reason"], "audience_wrong");

    // The private half goes with the next look at the disk, the public half with its last token.
    assert!(held(&world).contains(&a));
    assert_eq!(world.reload(), "unchanged");
    assert!(!held(&world).contains(&a));
    assert_eq!(world.published().await, [b.clone(), a.clone()]);
    world.at(1000 + NOTICE + LIFE);
    assert_eq!(world.reload(), "unchanged");
    assert_eq!(world.published().await, [b.clone(), a.clone()]);
    world.at(1000 + NOTICE + LIFE + 1);
    assert_eq!(world.reload(), "unchanged");
    assert_eq!(world.published().await, [b]);
    let again = world.gateway.trade(&late).await;
    assert_eq!(again.error(), "invalid_request");
    assert_eq!(world.gateway.last()["reason"], "kid_unknown");
}

/// The keys that can sign, as far as one can see from outside: at some time from now on.
fn held(world: &World) -> BTreeSet<String> {
    let snapshot = world.gateway.running.gateway.live.load();
    let text = format!("{:?}", snapshot.first().keys);
    let private = text.split("SigningKey { kid: \"").skip(1);
    private
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

/// `self`: what a client got here, and brings back, is taken until it expires, whoever signed it.
#[tokio::test]
async fn tokens_of_a_retired_key_are_taken_back_until_they_expire() {
    let rules = RULES.replace(
        "from idp, self\n  by   client \"rs08\"\n  to   resource under \"https://backend.example.com\"",
        "from idp, self\n  by   client \"rs08\"\n  to   audience \"rs08\", resource under \"https://backend.example.com\"",
    );
    let mut world = World::start("").await;
    fs::write(world.dir().join("main.policy"), rules).unwrap();
    assert_eq!(
        world.list("{ file: a.pem }", "  # audience rs08\n"),
        "applied"
    );
    let times = json!({ "iat": world.now, "exp": world.now + 600 });
    let subject = world.idp.token(&claims(times));
    let to_client = world
        .gateway
        .exchange(&[
            ("subject_token", &subject),
            ("subject_token_type", crate::support::ACCESS_TOKEN),
            ("audience", "rs08"),
        ])
        .await;
    assert_eq!(
        to_client.status,
        200,
        "{to_client:?} {:#}",
        world.gateway.last()
    );
    let ours = to_client.token();
    assert_eq!(kid(&ours), world.kid_of("a.pem"));
    assert_eq!(world.list("{ file: b.pem }", ""), "applied");
    assert_eq!(world.gateway.trade(&ours).await.status, 200);
    world.at(LIFE - 1);
    assert_eq!(world.gateway.trade(&ours).await.status, 200);
    world.at(LIFE);
    assert_eq!(world.gateway.trade(&ours).await.error(), "invalid_request");
    assert_eq!(world.gateway.last()["reason"], "token_expired");
}

/// What `cambist keys new` prints is what configuration takes, and a token is signed with it.
#[tokio::test]
async fn every_kind_of_key_is_made_read_and_signed_with() {
    for algorithm in Algorithm::ALL {
        let mut world = World::start("").await;
        let made = [
            "keys",
            "new",
            "--alg",
            algorithm.as_str(),
            "--out",
            "new.pem",
        ];
        let (code, out, err) = cambist(world.dir(), &made);
        assert_eq!((code, err.as_str()), (0, ""), "{algorithm}");
        let keys = out.split_once("keys: [ ").unwrap().1;
        let keys = keys.trim_end().strip_suffix(" ]").unwrap();
        assert_eq!(world.list(keys, ""), "applied", "{keys}");
        world.at(NOTICE);
        let token = world.token().await;
        let header = Compact::parse(&token).unwrap().header().clone();
        assert_eq!(header.alg, algorithm, "{keys}");
        assert_eq!(world.gateway.open(&token).await["sub"], "alice");
    }
}

#[tokio::test]
async fn status_says_what_each_key_is_there_for() {
    let mut world = World::start("").await;
    world.at(10);
    world.list("{ file: b.pem }, { file: c.pem }", "");
    let states = |status: Value| {
        let keys = status["realms"]["default"]["keys"]
            .as_array()
            .unwrap()
            .clone();
        keys.iter()
            .map(|key| key["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let status = world.gateway.admin("/status").await.json();
    assert_eq!(
        status["realms"]["default"]["keys"][0]["from"],
        "2026-09-21T14:15:30Z"
    );
    assert_eq!(states(status), ["signs_later", "published", "signs"]);
    world.at(10 + NOTICE);
    let status = world.gateway.admin("/status").await.json();
    assert_eq!(states(status), ["signs", "published", "retired"]);
}

/// A restart, or a new replica, in the middle of a rotation: who verifies has had no time to learn of the new
/// key, and the old one, listed behind it, signs on.
#[tokio::test]
async fn a_start_within_the_notice_signs_with_a_key_that_is_known() {
    let mut world = World::start("").await;
    let (a, b) = (world.kid_of("a.pem"), world.kid_of("b.pem"));
    world.at(1000);
    world.list("{ file: b.pem }, { file: a.pem }", "");
    assert_eq!(world.kid().await, a);
    world.restart(1000 + NOTICE / 2).await;
    assert_eq!(world.published().await, [b.clone(), a.clone()]);
    assert_eq!(world.kid().await, a);
    let status = world.gateway.admin("/status").await.json();
    let keys = &status["realms"]["default"]["keys"];
    assert_eq!(
        (&keys[0]["state"], &keys[1]["state"]),
        (&json!("signs_later"), &json!("signs")),
        "{keys}"
    );
    world.at(1000 + NOTICE / 2 + NOTICE - 1);
    assert_eq!(world.kid().await, a);
    world.at(1000 + NOTICE / 2 + NOTICE);
    assert_eq!(world.kid().await, b);
    // The old one's tokens are gone, and it from the list: the one key signs at once.
    world.list("{ file: b.pem }", "");
    world.restart(5000).await;
    assert_eq!(world.kid().await, b);
}

#[tokio::test]
async fn a_kid_in_use_is_not_given_to_another_key() {
    let mut world = World::start("").await;
    world.at(10);
    assert_eq!(world.list("{ file: a.pem, kid: ours }", ""), "applied");
    world.at(10 + NOTICE);
    assert_eq!(world.list("{ file: b.pem, kid: ours }", ""), "rejected");
    let status = world.gateway.admin("/status").await.body;
    assert!(
        status.contains("give the new key another `kid`"),
        "{status}"
    );
    // The same key for another algorithm has a `kid` already, and not by anybody's choice.
    let rsa = SigningKey::generate_pem(Algorithm::RS256).unwrap();
    fs::write(world.dir().join("rsa.pem"), &*rsa).unwrap();
    assert_eq!(world.list("{ file: rsa.pem }", ""), "applied");
    world.at(10 + 2 * NOTICE);
    assert_eq!(world.list("{ file: rsa.pem, alg: PS256 }", ""), "rejected");
    let status = world.gateway.admin("/status").await.body;
    assert!(status.contains("give it a `kid` of its own"), "{status}");
    assert_eq!(
        world.list("{ file: rsa.pem, alg: PS256, kid: other }", ""),
        "applied"
    );
}

/// F14 over HTTP: a file is rotated every other minute; a verifier that keeps what it fetched as long as it is
/// told to checks every token from its first second to its last.
#[tokio::test]
async fn f14_a_verifier_with_a_cache_rejects_no_good_token() {
    let mut world = World::start("").await;
    let mut cache: Option<(i64, KeySet)> = None;
    let mut live: Vec<(String, i64)> = Vec::new();
    let mut signers = BTreeSet::new();
    let mut checked = 0;
    for step in 0..200_i64 {
        world.at(step * 7);
        if step % 23 == 22 {
            // A new key under the old name, as a secret that is mounted is rotated.
            let name = ["a.pem", "b.pem", "c.pem"][usize::try_from(step / 23 % 3).unwrap()];
            fs::write(world.dir().join(name), pem()).unwrap();
            assert_eq!(world.list(&format!("{{ file: {name} }}"), ""), "applied");
        } else if step % 5 == 0 {
            world.reload();
        }
        let token = world.token().await;
        signers.insert(kid(&token));
        live.push((token, world.now + LIFE));
        live.retain(|(_, end)| *end > world.now);
        let stale = |(at, _): &(i64, KeySet)| world.now - at >= NOTICE / 2;
        if cache.as_ref().is_none_or(stale) {
            let body = world.gateway.get("/jwks").await.body;
            let (keys, skipped) = KeySet::from_jwks(body.as_bytes(), &[]).unwrap();
            assert_eq!(skipped, []);
            cache = Some((world.now, keys));
        }
        let (at, keys) = cache.as_ref().unwrap();
        for (token, _) in &live {
            let verified = Compact::parse(token).unwrap().verify(keys);
            assert!(
                verified.is_ok(),
                "at {} with keys of {at}: {verified:?}",
                world.now
            );
            checked += 1;
        }
    }
    assert!(
        signers.len() >= 7 && checked > 1000,
        "{} {checked}",
        signers.len()
    );
    // Nothing piles up.
    world.at(200 * 7 + 1000);
    world.reload();
    assert_eq!(world.published().await.len(), 1);
}
