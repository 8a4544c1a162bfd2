//! Whether the process is ready, and how it stands with what it depends on.

use crate::clock::rfc3339;
use crate::keys::{KeySource, Report};
use crate::server::{Gateway, Phase};
use crate::snapshot::Realm;
use crate::token::TrustedIssuer;

/// What `/readyz` says.
pub(super) struct Readiness {
    pub ready: bool,
    /// For people: a line for each thing that was looked at.
    pub lines: String,
}

/// Ready when exchanges can be answered: the process is not about to stop, records can be written, and a realm
/// can serve. A rejected reload is shown, but what runs is sound; a realm that cannot serve keeps nobody from
/// the others.
pub(super) async fn readiness(gateway: &Gateway) -> Readiness {
    let audit = gateway
        .audit
        .probe(gateway.services.clock.timestamp())
        .await;
    let staying = *gateway.phase.borrow() == Phase::Serving;
    let last = gateway.live.last_load();
    let snapshot = gateway.live.load();
    let several = snapshot.realms.len() + last.out_of_step.len() > 1;
    let mut lines = format!(
        "[+] configuration: {} loaded {}\n",
        snapshot.hash,
        rfc3339(snapshot.loaded_at)
    );
    let in_step = matches!(last.result, "applied" | "unchanged") && last.out_of_step.is_empty();
    lines.push_str(&format!(
        "{} last reload: {} at {} (what runs is sound)\n",
        mark(in_step),
        last.result,
        rfc3339(last.at)
    ));
    lines.push_str(&format!("[+] watch: {}\n", gateway.live.watch()));
    lines.push_str(&format!("{} audit\n", mark(audit)));
    if !staying {
        lines.push_str("[-] the process is about to stop\n");
    }
    let mut serves = false;
    for realm in snapshot.realms.values() {
        let state = of_realm(gateway, realm);
        serves |= state.serves;
        if several {
            lines.push_str(&format!("{} realm {}\n", mark(state.serves), realm.name));
        }
        if last.out_of_step.contains(&realm.name) && several {
            lines.push_str(&format!(
                "[-] realm {}: what is on disk was rejected, what ran before runs on\n",
                realm.name
            ));
        }
        for (good, line) in state.lines {
            let of = match several {
                true => format!("realm {}: ", realm.name),
                false => String::new(),
            };
            lines.push_str(&format!("{} {of}{line}\n", mark(good)));
        }
    }
    for name in &last.out_of_step {
        if !snapshot.realms.contains_key(name) {
            lines.push_str(&format!(
                "[-] realm {name}: not loaded, since what is on disk was rejected\n"
            ));
        }
    }
    Readiness {
        ready: audit && staying && serves,
        lines,
    }
}

fn mark(good: bool) -> &'static str {
    if good { "[+]" } else { "[-]" }
}

struct OfRealm {
    serves: bool,
    lines: Vec<(bool, String)>,
}

/// A realm serves when the tokens of one issuer at least can be verified, and clients that sign their assertions
/// are not turned away any more for what may have been used before the start. An issuer whose keys are not here
/// keeps nobody from the others.
fn of_realm(gateway: &Gateway, realm: &Realm) -> OfRealm {
    let issuers = issuers(realm);
    // Our own tokens alone are enough only where nobody else's are expected.
    let verifies = issuers.is_empty() || issuers.iter().any(|issuer| issuer.good);
    let (single_use, now) = (&gateway.services.single_use, gateway.services.clock.now());
    let quarantine = realm.clients.quarantine();
    let settled = quarantine.is_none_or(|ahead| single_use.settled(ahead, now));
    let mut lines = Vec::new();
    if quarantine.is_some() {
        let line = "client assertions: what may be from before the start is told apart";
        lines.push((settled, line.to_owned()));
    }
    for IssuerState { alias, good, says } in issuers {
        lines.push((good, format!("issuer {alias}: {says}")));
    }
    OfRealm {
        serves: verifies && settled,
        lines,
    }
}

/// How it stands with one issuer.
struct IssuerState<'a> {
    alias: &'a str,
    good: bool,
    says: String,
}

/// Everybody else's tokens that are taken, in the order of the configuration; the disabled issuers' are not.
fn issuers(realm: &Realm) -> Vec<IssuerState<'_>> {
    let issuers = realm.issuers.iter();
    let issuers = issuers.filter(|issuer| issuer.enabled && !issuer.alias.is_own());
    issuers
        .map(|issuer| IssuerState {
            alias: issuer.alias.as_str(),
            good: issuer.can_verify(),
            says: ways(issuer).join("; "),
        })
        .collect()
}

/// The ways in which an issuer's tokens are verified, and how each stands.
pub(super) fn ways(issuer: &TrustedIssuer) -> Vec<String> {
    let mut ways = Vec::new();
    match &issuer.keys {
        None => {}
        Some(KeySource::Fixed(keys)) => {
            ways.push(format!("{} configured keys", keys.keys().len()));
        }
        Some(KeySource::Remote(remote)) => ways.push(fetched(&remote.report())),
    }
    if issuer.introspection.is_some() {
        ways.push("introspection".to_owned());
    }
    ways
}

fn fetched(report: &Report) -> String {
    let age = report.age.map(|age| age.as_secs());
    let mut says = match (report.usable, age) {
        (true, Some(age)) => format!("{} keys, current {age}s ago", report.keys),
        (false, Some(age)) => format!("keys too old to be used, current {age}s ago"),
        (_, None) => "no keys yet".to_owned(),
    };
    if report.skipped > 0 {
        says.push_str(&format!(", {} not used", report.skipped));
    }
    if let Some(error) = &report.error {
        says.push_str(&format!(", last look failed: {error}"));
    }
    says
}
