//! What is loaded, what runs, and how the last load went.

use serde_json::{Value, json};

use super::health::ways;
use crate::clock::rfc3339;
use crate::jose::KeyState;
use crate::oauth::NumericDate;
use crate::server::{Gateway, Phase};
use crate::snapshot::Realm;

/// The document behind `/status`.
pub(super) fn status(gateway: &Gateway) -> Value {
    let snapshot = gateway.live.load();
    let last = gateway.live.last_load();
    let now = gateway.services.clock.now();
    let realms = snapshot.realms.iter().map(|(name, realm)| {
        let in_step = !last.out_of_step.contains(name);
        (name.to_string(), of_realm(realm, in_step, now))
    });
    let not_loaded = last.out_of_step.iter();
    let not_loaded = not_loaded.filter(|name| !snapshot.realms.contains_key(name));
    let not_loaded: Vec<&str> = not_loaded.map(|name| name.as_str()).collect();
    let certificates = snapshot.settings.certificates();
    let certificates = certificates
        .map(|one| json!({ "file": one.name(), "not_after": rfc3339(one.not_after()) }));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "phase": match *gateway.phase.borrow() {
            Phase::Serving => "serving",
            Phase::Draining => "draining",
            Phase::Stopping | Phase::Stopped => "stopping",
        },
        "config": {
            "hash": snapshot.hash,
            "loaded_at": rfc3339(snapshot.loaded_at),
            "files": snapshot.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "warnings": snapshot.warnings.to_json(&snapshot.sources),
        },
        "last_reload": { "at": rfc3339(last.at), "result": last.result, "details": last.details },
        "watch": *gateway.live.watch(),
        "load": {
            "connections": gateway.load.connections.now(),
            "requests": gateway.load.requests.now(),
            "exchanges": gateway.load.exchanges.now(),
        },
        "certificates": certificates.collect::<Vec<_>>(),
        "realms": Value::Object(realms.collect()),
        "realms_not_loaded": not_loaded,
    })
}

fn of_realm(realm: &Realm, in_step: bool, now: NumericDate) -> Value {
    let (rules, denies) = realm.policies.counts();
    let keys = realm.keys.iter().map(|key| {
        let state = realm.keys.state(key, now);
        let from = match state {
            KeyState::SignsFrom(at) => Some(rfc3339(at)),
            KeyState::Signs | KeyState::Listed | KeyState::Retired => None,
        };
        json!({
            "kid": key.kid(), "alg": key.algorithm().as_str(), "state": state.name(), "from": from,
        })
    });
    let issuers = realm.issuers.iter().map(|issuer| {
        json!({
            "alias": issuer.alias.as_str(),
            "issuer": issuer.id.as_str(),
            "enabled": issuer.enabled,
            "can_verify": issuer.can_verify(),
            "verifies_by": ways(issuer),
        })
    });
    let processors = realm.processors.values();
    let processors = processors.map(|one| json!({ "id": one.id.as_str(), "provider": one.kind }));
    json!({
        "issuer": realm.issuer.as_str(),
        "hosts": realm.hosts,
        "token_path": realm.token_path,
        "hash": realm.hash,
        "loaded_at": rfc3339(realm.loaded_at),
        "in_step": in_step,
        "rules": rules,
        "denies": denies,
        "issuers": issuers.collect::<Vec<_>>(),
        "clients": realm.clients.len(),
        "processors": processors.collect::<Vec<_>>(),
        "keys": keys.collect::<Vec<_>>(),
    })
}
