//! Every metric. The only room that names `prometheus`.
//!
//! INVARIANT: label values come from closed sets: this build's words, or names of the loaded
//! configuration. None is taken from a request, so that no client can make a series.

mod families;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use prometheus::{Encoder as _, Gauge, Registry, TextEncoder};

use crate::oauth::id::{RealmName, RuleId};
use crate::swap::Swap;
use families::Families;
pub use families::METRICS;

/// A metric, as the reference lists it.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, and what to do with that.
    pub help: &'static str,
    /// The bounds of its buckets, where it is a histogram.
    pub buckets: &'static [f64],
}

/// What the operating system says of the process; on Linux only. The names that Prometheus gives them
/// everywhere.
pub static PROCESS_METRICS: &[&str] = &[
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// The label of rules that are not counted one by one.
const OTHER: &str = "other";
const NO_LABELS: &[&str] = &[];

/// The process's metrics. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    families: Families,
    /// Which rules are counted, by realm; none where nobody asked.
    counted: Swap<HashMap<RealmName, HashMap<RuleId, Arc<str>>>>,
}

/// How it stands with one realm of the configuration.
#[derive(Debug)]
pub struct RealmState<'a> {
    /// Its name.
    pub name: &'a RealmName,
    /// Whether what is on disk for it is what runs.
    pub in_step: bool,
    /// What runs; nothing where it never was sound.
    pub loaded: Option<LoadedRealm<'a>>,
}

/// What of a realm runs.
#[derive(Debug)]
pub struct LoadedRealm<'a> {
    /// How many rules its policies have.
    pub rules: usize,
    /// How many denies.
    pub denies: usize,
    /// The names of its processors.
    pub processors: Vec<&'a str>,
}

/// One exchange that has been answered.
#[derive(Debug)]
pub struct Answered<'a> {
    /// Whose.
    pub realm: &'a RealmName,
    /// `issued`, `refused` or `failed`.
    pub outcome: &'static str,
    /// A word from a closed set; empty where a token was issued.
    pub reason: &'static str,
    /// The selected processor; empty where none was.
    pub processor: &'a str,
    /// How long it took.
    pub seconds: f64,
}

/// Somebody who is asked over the network, as metrics and traces call them.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The realm that asks.
    pub realm: RealmName,
    /// What for, from a closed set: `introspection`, `keys`.
    pub kind: &'static str,
    /// Who: a name of the configuration.
    pub owner: Arc<str>,
    metrics: Metrics,
}

/// Something that is counted in a gauge as long as this is kept.
#[derive(Debug)]
#[must_use]
pub struct Present(Gauge);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Present {
    fn of(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// When the table of families is at odds with itself; a test builds one.
    pub fn new() -> Result<Self, String> {
        Self::build().map_err(|error| error.to_string())
    }

    fn build() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let version = &[env!("CARGO_PKG_VERSION")];
        families.build.with_label_values(version).set(1.0);
        // Series that an alert rests on exist from the start: what appears with its first event has no rate.
        let one = &families;
        for gauge in [
            &one.reload_ok,
            &one.reload_time,
            &one.replay_entries,
            &one.exchanges_in_flight,
            &one.draining,
            &one.config_hash,
        ] {
            gauge.with_label_values(NO_LABELS).set(0.0);
        }
        for histogram in [&one.reload_duration, &one.audit_duration] {
            let _ = histogram.with_label_values(NO_LABELS);
        }
        for (counter, values) in [
            (&one.replay_refused, &["full", "owner_full"][..]),
            (&one.audit_failures, &["busy", "failed", "open", "timeout"]),
            (&one.shed, &["requests", "exchanges"]),
            (&one.tls_handshakes, &["ok", "failed", "timeout"]),
            (
                &one.reloads,
                &["applied", "unchanged", "rejected", "needs_restart"],
            ),
        ] {
            for value in values {
                let _ = counter.with_label_values(&[value]);
            }
        }
        for listener in ["token", "admin"] {
            let _ = one.connections_open.with_label_values(&[listener]);
            for result in ["accepted", "turned_away", "failed"] {
                let _ = one.connections.with_label_values(&[listener, result]);
            }
        }
        Ok(Self(Arc::new(Inner {
            registry,
            families,
            counted: Swap::new(HashMap::new()),
        })))
    }

    fn families(&self) -> &Families {
        &self.0.families
    }

    /// One exchange has begun; keep what this returns until it is answered.
    pub fn in_flight(&self) -> Present {
        let gauge = &self.families().exchanges_in_flight;
        Present::of(gauge.with_label_values(NO_LABELS))
    }

    /// One answered exchange.
    pub fn exchange(&self, answered: &Answered<'_>) {
        let (families, realm) = (self.families(), answered.realm.as_str());
        let labels = [realm, answered.outcome, answered.reason, answered.processor];
        families.exchanges.with_label_values(&labels).inc();
        families
            .exchange_duration
            .with_label_values(&[realm, answered.outcome])
            .observe(answered.seconds);
    }

    /// The policy of a realm has decided, which took so long.
    pub fn decision(&self, realm: &RealmName, seconds: f64) {
        let family = &self.families().decision_duration;
        family.with_label_values(&[realm.as_str()]).observe(seconds);
    }

    /// One request that rules with different outcomes matched.
    pub fn ambiguous(&self, realm: &RealmName) {
        let family = &self.families().ambiguous;
        family.with_label_values(&[realm.as_str()]).inc();
    }

    /// One decision of a rule (`permitted`, `denied`, `ambiguous`, `not_carried_out`), where rules are
    /// counted.
    pub fn rule_decision(&self, realm: &RealmName, rule: &RuleId, outcome: &'static str) {
        let counted = self.0.counted.load();
        let Some(rules) = counted.get(realm) else {
            return;
        };
        let rule = rules.get(rule).map_or(OTHER, |label| label);
        let labels = [realm.as_str(), rule, outcome];
        let family = &self.families().rule_decisions;
        family.with_label_values(&labels).inc();
    }

    /// Counts these rules one by one from now on, up to `cap`, and the rest of them as `other`; with a cap of
    /// none at all, nothing. Call it with all rules of all realms when what runs changes; series of rules
    /// that are gone go.
    pub fn rules<'a>(
        &self,
        cap: usize,
        rules: impl IntoIterator<Item = (&'a RealmName, &'a RuleId)>,
    ) {
        let mut counted: HashMap<RealmName, HashMap<RuleId, Arc<str>>> = HashMap::new();
        if cap > 0 {
            for (place, (realm, rule)) in rules.into_iter().enumerate() {
                let labels = counted.entry(realm.clone()).or_default();
                if place < cap {
                    labels.insert(rule.clone(), Arc::from(rule.to_string()));
                }
            }
        }
        let names: HashMap<&str, BTreeSet<&str>> = counted
            .iter()
            .map(|(realm, rules)| {
                let labels = rules.values().map(|label| &**label);
                (realm.as_str(), labels.chain([OTHER]).collect())
            })
            .collect();
        families::retain(&self.families().rule_decisions, &|labels| {
            let label = |name| labels.get(name).copied().unwrap_or_default();
            let known = names.get(label("realm"));
            known.is_some_and(|rules| rules.contains(label("rule")))
        });
        drop(names);
        self.0.counted.store(Arc::new(counted));
    }

    /// What runs now, realm by realm; series of realms that are gone go.
    pub fn realms(&self, realms: &[RealmState<'_>]) {
        let families = self.families();
        let names: BTreeSet<&str> = realms.iter().map(|realm| realm.name.as_str()).collect();
        families.retain(&|labels| labels.get("realm").is_none_or(|name| names.contains(name)));
        for realm in realms {
            let name = realm.name.as_str();
            let yes = |is: bool| f64::from(u8::from(is));
            families
                .realm_reload_ok
                .with_label_values(&[name])
                .set(yes(realm.in_step));
            families
                .realm_loaded
                .with_label_values(&[name])
                .set(yes(realm.loaded.is_some()));
            let Some(loaded) = &realm.loaded else {
                continue;
            };
            for (kind, count) in [("rule", loaded.rules), ("deny", loaded.denies)] {
                let family = &families.rules;
                family.with_label_values(&[name, kind]).set(counted(count));
            }
            // From the start, so that the first one has a rate.
            let _ = families.ambiguous.with_label_values(&[name]);
            let _ = families.decision_duration.with_label_values(&[name]);
            let issued = loaded.processors.iter().map(|id| ("issued", *id));
            for (outcome, processor) in issued.chain([("refused", ""), ("failed", "")]) {
                let labels = [name, outcome, "", processor];
                let _ = families.exchanges.with_label_values(&labels);
            }
        }
    }

    /// Our own keys in a realm: the state of each, `signs`, `signs_later`, `published` or `retired`. Time
    /// alone changes it, so call it before each scrape.
    pub fn signing_keys(&self, realm: &RealmName, states: impl IntoIterator<Item = &'static str>) {
        let mut counts = [
            ("signs", 0),
            ("signs_later", 0),
            ("published", 0),
            ("retired", 0),
        ];
        for state in states {
            for (_, count) in counts.iter_mut().filter(|(name, _)| *name == state) {
                *count += 1;
            }
        }
        let family = &self.families().signing_keys;
        for (state, count) in counts {
            let labels = [realm.as_str(), state];
            family.with_label_values(&labels).set(counted(count));
        }
    }

    /// One load after the first: `applied`, `unchanged`, `rejected` or `needs_restart`.
    pub fn reload(&self, result: &'static str) {
        self.families().reloads.with_label_values(&[result]).inc();
    }

    /// How long a load took, the first one's too.
    pub fn reload_took(&self, seconds: f64) {
        let family = &self.families().reload_duration;
        family.with_label_values(NO_LABELS).observe(seconds);
    }

    /// Whether what is on disk is what runs, and since when that is known (seconds since 1970).
    pub fn in_step(&self, in_step: bool, now: i64) {
        let families = self.families();
        let is = f64::from(u8::from(in_step));
        families.reload_ok.with_label_values(NO_LABELS).set(is);
        if in_step {
            let family = &families.reload_time;
            family.with_label_values(NO_LABELS).set(instant(now));
        }
    }

    /// The hash of what runs, whatever its letters are: 48 bits of it, which a double holds exactly.
    pub fn config_hash(&self, hash: &str) {
        let folded = hash.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) // FNV-1a
        });
        #[expect(clippy::cast_precision_loss, reason = "48 bits")]
        let number = (folded >> 16) as f64;
        let family = &self.families().config_hash;
        family.with_label_values(NO_LABELS).set(number);
    }

    /// How long one audit record took, written or not.
    pub fn audit_took(&self, seconds: f64) {
        let family = &self.families().audit_duration;
        family.with_label_values(NO_LABELS).observe(seconds);
    }

    /// One answer withheld for want of an audit record.
    pub fn audit_failure(&self, reason: &'static str) {
        let family = &self.families().audit_failures;
        family.with_label_values(&[reason]).inc();
    }

    /// One connection to a listener (`token`, `admin`): `accepted`, `turned_away`, or `failed` for want of file
    /// descriptors.
    pub fn connection(&self, listener: &'static str, result: &'static str) {
        let family = &self.families().connections;
        family.with_label_values(&[listener, result]).inc();
    }

    /// A connection to a listener (`token`, `admin`) is open; keep what this returns until it is closed.
    pub fn connection_open(&self, listener: &'static str) -> Present {
        let family = &self.families().connections_open;
        Present::of(family.with_label_values(&[listener]))
    }

    /// One request turned away unread, by the limit that was reached.
    pub fn shed(&self, reason: &'static str) {
        self.families().shed.with_label_values(&[reason]).inc();
    }

    /// One TLS handshake: `ok`, or a word for what went wrong.
    pub fn tls_handshake(&self, result: &'static str) {
        let family = &self.families().tls_handshakes;
        family.with_label_values(&[result]).inc();
    }

    /// The certificates that are in use: each file as the configuration names it, and when its certificate
    /// ends (seconds since 1970). Files that are not among them go.
    pub fn certificates<'a>(&self, files: impl IntoIterator<Item = (&'a str, i64)>) {
        let family = &self.families().tls_expiry;
        let files: HashMap<&str, i64> = files.into_iter().collect();
        families::retain(family, &|labels| {
            let file = labels.get("file");
            file.is_some_and(|file| files.contains_key(file))
        });
        for (file, end) in files {
            family.with_label_values(&[file]).set(instant(end));
        }
    }

    /// The time by which tokens are judged (seconds since 1970). Call it before each scrape.
    pub fn clock(&self, now: i64) {
        let family = &self.families().clock;
        family.with_label_values(NO_LABELS).set(instant(now));
    }

    /// Whether the process finishes what is in flight and takes nothing new.
    pub fn draining(&self, is: bool) {
        let family = &self.families().draining;
        family
            .with_label_values(NO_LABELS)
            .set(f64::from(u8::from(is)));
    }

    /// One request to the admin listener: the route as this build spells it, never a path that was sent.
    pub fn admin_request(&self, route: &'static str, status: u16) {
        let status = status.to_string();
        let family = &self.families().admin_requests;
        family.with_label_values(&[route, &status]).inc();
    }

    /// Somebody who is asked over the network.
    #[must_use]
    pub fn upstream(&self, realm: &RealmName, kind: &'static str, owner: &Arc<str>) -> Upstream {
        Upstream {
            realm: realm.clone(),
            kind,
            owner: Arc::clone(owner),
            metrics: self.clone(),
        }
    }

    /// One look at the keys of `owner`, by result.
    pub fn jwks_fetch(&self, realm: &RealmName, owner: &str, result: &'static str) {
        let labels = [realm.as_str(), owner, result];
        let family = &self.families().jwks_fetches;
        family.with_label_values(&labels).inc();
    }

    /// How it stands with the keys of `owner`; `age` in seconds, where there are any.
    pub fn jwks_state(
        &self,
        realm: &RealmName,
        owner: &str,
        usable: usize,
        skipped: usize,
        age: Option<f64>,
    ) {
        let families = self.families();
        for (state, count) in [("usable", usable), ("skipped", skipped)] {
            let labels = [realm.as_str(), owner, state];
            let gauge = families.jwks_keys.with_label_values(&labels);
            gauge.set(counted(count));
        }
        if let Some(age) = age {
            let labels = [realm.as_str(), owner];
            families.jwks_age.with_label_values(&labels).set(age);
        }
    }

    /// Nobody uses the keys of `owner` any more.
    pub fn jwks_forget(&self, realm: &RealmName, owner: &str) {
        let families = self.families();
        let others = |labels: &HashMap<&str, &str>| {
            let same = (labels.get("realm"), labels.get("issuer"));
            same != (Some(&realm.as_str()), Some(&owner))
        };
        families::retain(&families.jwks_age, &others);
        families::retain(&families.jwks_keys, &others);
    }

    /// One identifier for one use that was refused.
    pub fn replay_refused(&self, reason: &'static str) {
        let family = &self.families().replay_refused;
        family.with_label_values(&[reason]).inc();
    }

    /// How many used identifiers are remembered.
    pub fn replay_entries(&self, entries: usize) {
        let family = &self.families().replay_entries;
        family.with_label_values(NO_LABELS).set(counted(entries));
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn scrape(&self) -> String {
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.0.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8(out).unwrap_or_default(),
            Err(error) => format!("# {error}\n"),
        }
    }
}

impl Upstream {
    /// One request to it, by result (`ok`, or a word for what went wrong), and how long it took.
    pub fn asked(&self, result: &'static str, seconds: f64) {
        let labels = [self.realm.as_str(), self.kind, &self.owner, result];
        let family = &self.metrics.families().upstream_duration;
        family.with_label_values(&labels).observe(seconds);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of things in memory")]
fn counted(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds fit a double until long after the year 9999"
)]
fn instant(seconds: i64) -> f64 {
    seconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(name: &str) -> RealmName {
        name.parse().unwrap()
    }

    fn rule(module: &str, name: &str) -> RuleId {
        RuleId {
            module: Arc::from(module),
            name: Arc::from(name),
        }
    }

    fn loaded(name: &RealmName) -> RealmState<'_> {
        RealmState {
            name,
            in_step: true,
            loaded: Some(LoadedRealm {
                rules: 2,
                denies: 1,
                processors: vec!["mint"],
            }),
        }
    }

    /// The samples, without help.
    fn samples(metrics: &Metrics) -> Vec<String> {
        let text = metrics.scrape();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    /// Everything that can be counted, once, for this realm.
    fn everything(metrics: &Metrics, name: &RealmName) {
        metrics.realms(&[loaded(name)]);
        metrics.exchange(&Answered {
            realm: name,
            outcome: "issued",
            reason: "",
            processor: "mint",
            seconds: 0.001,
        });
        metrics.decision(name, 0.000_01);
        metrics.ambiguous(name);
        let id = rule("main", "a");
        metrics.rules(1, [(name, &id)]);
        metrics.rule_decision(name, &id, "permitted");
        let owner = Arc::from("idp");
        metrics.upstream(name, "keys", &owner).asked("ok", 0.02);
        metrics.jwks_fetch(name, "idp", "fetched");
        metrics.jwks_state(name, "idp", 1, 0, Some(1.0));
        metrics.signing_keys(name, ["signs"]);
        metrics.reload("applied");
        metrics.reload_took(0.1);
        metrics.in_step(true, 1);
        metrics.config_hash("abc");
        metrics.audit_took(0.001);
        metrics.audit_failure("busy");
        metrics.connection("token", "accepted");
        metrics.shed("requests");
        metrics.tls_handshake("ok");
        metrics.certificates([("tls.pem", 4)]);
        metrics.replay_entries(7);
        metrics.admin_request("/metrics", 200);
        metrics.clock(1);
        drop(metrics.connection_open("token"));
    }

    #[test]
    fn every_family_of_the_table_is_scraped_with_its_help_and_its_labels() {
        let metrics = Metrics::new().unwrap();
        everything(&metrics, &realm("default"));
        let text = metrics.scrape();
        for metric in METRICS {
            let help = format!("# HELP {} {}\n", metric.name, metric.help);
            assert!(text.contains(&help), "{}", metric.name);
        }
        if cfg!(target_os = "linux") {
            for name in PROCESS_METRICS {
                assert!(text.contains(&format!("\n{name} ")), "{name}");
            }
        }
    }

    #[test]
    fn what_alerts_rest_on_is_there_at_zero() {
        let metrics = Metrics::new().unwrap();
        let (one, broken) = (realm("one"), realm("broken"));
        metrics.realms(&[
            loaded(&one),
            RealmState {
                name: &broken,
                in_step: false,
                loaded: None,
            },
        ]);
        metrics.signing_keys(&one, ["signs", "retired", "retired"]);
        let samples = samples(&metrics);
        for line in [
            r#"cambist_audit_failures_total{reason="timeout"} 0"#,
            r#"cambist_connections_total{listener="token",result="turned_away"} 0"#,
            r#"cambist_requests_shed_total{reason="exchanges"} 0"#,
            r#"cambist_tls_handshakes_total{result="failed"} 0"#,
            r#"cambist_config_reloads_total{result="rejected"} 0"#,
            r#"cambist_replay_refused_total{reason="full"} 0"#,
            r#"cambist_policy_ambiguous_total{realm="one"} 0"#,
            r#"cambist_exchanges_total{outcome="issued",processor="mint",realm="one",reason=""} 0"#,
            r#"cambist_exchanges_total{outcome="refused",processor="",realm="one",reason=""} 0"#,
            r#"cambist_exchanges_total{outcome="failed",processor="",realm="one",reason=""} 0"#,
            r#"cambist_realm_loaded{realm="one"} 1"#,
            r#"cambist_realm_loaded{realm="broken"} 0"#,
            r#"cambist_realm_last_reload_successful{realm="broken"} 0"#,
            r#"cambist_signing_keys{realm="one",state="signs"} 1"#,
            r#"cambist_signing_keys{realm="one",state="signs_later"} 0"#,
            r#"cambist_signing_keys{realm="one",state="retired"} 2"#,
            "cambist_draining 0",
            "cambist_exchanges_in_flight 0",
        ] {
            assert!(samples.iter().any(|sample| sample == line), "{line}");
        }
    }

    #[test]
    fn a_realm_that_is_gone_leaves_no_series() {
        let metrics = Metrics::new().unwrap();
        let (one, two) = (realm("one"), realm("two"));
        everything(&metrics, &one);
        let of = |name: &str| {
            let label = format!("realm=\"{name}\"");
            let samples = samples(&metrics);
            samples.iter().filter(|line| line.contains(&label)).count()
        };
        assert!(of("one") > 20);
        metrics.realms(&[loaded(&one), loaded(&two)]);
        assert!(of("one") > 20 && of("two") > 5, "one did not stay");
        metrics.realms(&[loaded(&two)]);
        metrics.rules(1, [(&two, &rule("main", "a"))]);
        assert_eq!(of("one"), 0);
        // Nobody else's went with it.
        let samples = samples(&metrics);
        assert!(samples.contains(
            &r#"cambist_connections_total{listener="token",result="accepted"} 1"#.to_owned()
        ));
    }

    #[test]
    fn rules_are_counted_when_asked_for_and_up_to_the_cap() {
        let metrics = Metrics::new().unwrap();
        let name = realm("one");
        let [a, b, c] = ["a", "b", "c"].map(|name| rule("main", name));
        let counts = || {
            let found = samples(&metrics).into_iter().filter_map(|line| {
                let rest = line.strip_prefix("cambist_rule_decisions_total{")?;
                let (_, rule) = rest.split_once("rule=\"")?;
                let (rule, _) = rule.split_once('"')?;
                Some(format!("{rule} {}", rest.split_once("} ")?.1))
            });
            let mut found: Vec<_> = found.collect();
            found.sort();
            found
        };
        let decide = || {
            for id in [&a, &b, &c] {
                metrics.rule_decision(&name, id, "permitted");
            }
        };
        decide();
        assert_eq!(counts(), [""; 0]);
        metrics.rules(2, [(&name, &a), (&name, &b), (&name, &c)]);
        decide();
        decide();
        assert_eq!(counts(), ["main.a 2", "main.b 2", "other 2"]);
        // The count of a rule that stays goes on.
        metrics.rules(2, [(&name, &a), (&name, &c)]);
        decide();
        assert_eq!(counts(), ["main.a 3", "main.c 1", "other 3"]);
        metrics.rules(0, [(&name, &a)]);
        decide();
        assert_eq!(counts(), [""; 0]);
    }

    #[test]
    fn certificates_and_keys_that_are_gone_leave_no_series() {
        let metrics = Metrics::new().unwrap();
        let (one, two) = (realm("one"), realm("two"));
        metrics.certificates([("a.pem", 1_790_000_000), ("b.pem", 2)]);
        metrics.certificates([("b.pem", 3)]);
        for realm in [&one, &two] {
            metrics.jwks_state(realm, "idp", 1, 0, Some(1.0));
        }
        metrics.jwks_forget(&one, "idp");
        let samples = samples(&metrics);
        let of = |name: &str| {
            let of = samples.iter().filter(|line| line.starts_with(name));
            of.map(String::as_str).collect::<Vec<_>>()
        };
        assert_eq!(
            of("cambist_tls_certificate_expiry"),
            [r#"cambist_tls_certificate_expiry_timestamp_seconds{file="b.pem"} 3"#]
        );
        assert_eq!(
            of("cambist_jwks_age"),
            [r#"cambist_jwks_age_seconds{issuer="idp",realm="two"} 1"#]
        );
        assert_eq!(of("cambist_jwks_keys").len(), 2);
    }

    #[test]
    fn what_is_kept_is_counted_and_what_is_dropped_is_not() {
        let metrics = Metrics::new().unwrap();
        let says = |line: &str| assert!(samples(&metrics).contains(&line.to_owned()), "{line}");
        let (first, second) = (metrics.in_flight(), metrics.in_flight());
        says("cambist_exchanges_in_flight 2");
        drop(first);
        says("cambist_exchanges_in_flight 1");
        drop(second);
        says("cambist_exchanges_in_flight 0");
        metrics.draining(true);
        says("cambist_draining 1");
    }

    #[test]
    fn hashes_that_differ_are_numbers_that_differ() {
        let metrics = Metrics::new().unwrap();
        let number = |hash: &str| {
            metrics.config_hash(hash);
            let samples = samples(&metrics);
            let line = samples
                .iter()
                .find(|l| l.starts_with("cambist_config_hash"));
            let number: f64 = line.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            assert!(number > 0.0 && number.fract() == 0.0 && number < 281_474_976_710_656.0);
            number.to_bits()
        };
        assert_ne!(number("a1"), number("a2"));
        assert_eq!(number("a1"), number("a1"));
    }
}
