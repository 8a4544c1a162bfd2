//! The families: each is written once, here, and is listed, registered and reached from that.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::Metric;

type Counter = IntCounterVec;
type Gauge = GaugeVec;
type Histogram = HistogramVec;

/// Seconds, for what waits for the network or the disk.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Seconds, for what only computes.
const MICROSECONDS: &[f64] = &[
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.01,
    0.1,
];
/// Not a histogram.
const NONE: &[f64] = &[];

/// `field: Type(buckets) "name" [labels] "help";` is a family.
macro_rules! families {
    ($($field:ident: $kind:ident($buckets:ident) $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// All of them.
        pub static METRICS: &[Metric] = &[$(Metric {
            name: $name,
            labels: &[$($label),*],
            help: $help,
            buckets: $buckets,
        }),*];

        /// All of them, registered.
        #[derive(Debug)]
        pub(super) struct Families {
            $(pub $field: $kind,)*
        }

        impl Families {
            pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
                let mut table = METRICS.iter();
                $(let $field = $kind::register(registry, table.next())?;)*
                Ok(Self { $($field,)* })
            }

            /// Drops every series that `keep` does not want.
            pub(super) fn retain(&self, keep: &dyn Fn(&HashMap<&str, &str>) -> bool) {
                $(retain(&self.$field, keep);)*
            }
        }
    };
}

families! {
    exchanges: Counter(NONE) "cambist_exchanges_total" ["realm", "outcome", "reason", "processor"]
        "Answers of the token endpoint. `refused` is the client's or the policy's doing, look at `reason`; `failed` is ours, look at the log.";
    exchange_duration: Histogram(SECONDS) "cambist_exchange_duration_seconds" ["realm", "outcome"]
        "Time from the head of a request to its answer, the record included. Compare with the upstream, decision and audit durations to see what takes it.";
    exchanges_in_flight: Gauge(NONE) "cambist_exchanges_in_flight" []
        "Exchanges that have begun and have no answer yet. Grows when an issuer or the disk is slow.";
    decision_duration: Histogram(MICROSECONDS) "cambist_policy_decision_duration_seconds" ["realm"]
        "Time that the policy took to decide, and nothing else. Grows with the number of rules that one request must look at.";
    ambiguous: Counter(NONE) "cambist_policy_ambiguous_total" ["realm"]
        "Requests that rules with different outcomes matched; refused. Find them in the audit and make the rules exclusive.";
    rules: Gauge(NONE) "cambist_policy_rules" ["realm", "kind"]
        "Rules and denies in the running policy set. A drop that nobody meant is a lost file.";
    rule_decisions: Counter(NONE) "cambist_rule_decisions_total" ["realm", "rule", "outcome"]
        "Decisions by rule, where `metrics.rules` asks for them. Rules beyond its cap are counted as `other`.";
    upstream_duration: Histogram(SECONDS) "cambist_upstream_request_duration_seconds" ["realm", "kind", "owner", "result"]
        "Requests to others: introspection, keys. `ok` is an answer below status 400; the other results say who to ask.";
    jwks_fetches: Counter(NONE) "cambist_jwks_fetches_total" ["realm", "issuer", "result"]
        "Looks at the published keys of an issuer or client, by result; `fetched` and `unchanged` are good.";
    jwks_keys: Gauge(NONE) "cambist_jwks_keys" ["realm", "issuer", "state"]
        "Keys of an issuer or client that can be used now, and those in its set that are not used. Without a usable one its tokens are answered 503.";
    jwks_age: Gauge(NONE) "cambist_jwks_age_seconds" ["realm", "issuer"]
        "How long ago the keys of an issuer or client were last found to be current. At `max_stale` they are not used any more.";
    signing_keys: Gauge(NONE) "cambist_signing_keys" ["realm", "state"]
        "Our own keys, by what they are there for. Without one that `signs` nothing can be issued.";
    realm_loaded: Gauge(NONE) "cambist_realm_loaded" ["realm"]
        "1 for a realm that serves, 0 for one that is configured and was never sound.";
    realm_reload_ok: Gauge(NONE) "cambist_realm_last_reload_successful" ["realm"]
        "1 when what is on disk for the realm is what runs, 0 when its last change was rejected: `cambist check` says why.";
    reloads: Counter(NONE) "cambist_config_reloads_total" ["result"]
        "Loads of the configuration after the first, by result.";
    reload_duration: Histogram(SECONDS) "cambist_config_reload_duration_seconds" []
        "Time to read, check and compile the configuration, the tests of its policies included.";
    reload_ok: Gauge(NONE) "cambist_config_last_reload_successful" []
        "1 when what is on disk is what runs, 0 when the last change was rejected or needs a restart: see /status.";
    reload_time: Gauge(NONE) "cambist_config_last_reload_success_timestamp_seconds" []
        "When what runs was last found to be what is on disk.";
    config_hash: Gauge(NONE) "cambist_config_hash" []
        "A number made of the hash of what runs. Replicas that differ run different configurations.";
    audit_duration: Histogram(SECONDS) "cambist_audit_write_duration_seconds" []
        "Time that an answer waits for its audit record, with `fsync` for the disk.";
    audit_failures: Counter(NONE) "cambist_audit_failures_total" ["reason"]
        "Answers withheld because their audit record could not be written. Free the disk, or see why the file cannot be opened.";
    connections: Counter(NONE) "cambist_connections_total" ["listener", "result"]
        "Connections by listener: accepted, turned away at a limit (`server.max_connections`), or failed for want of file descriptors.";
    connections_open: Gauge(NONE) "cambist_connections_open" ["listener"]
        "Connections that are open now, by listener.";
    shed: Counter(NONE) "cambist_requests_shed_total" ["reason"]
        "Requests turned away unread to protect the rest, by the limit that was reached.";
    tls_handshakes: Counter(NONE) "cambist_tls_handshakes_total" ["result"]
        "TLS handshakes with clients, by result; `failed` ones do not trust our certificate, or are none.";
    tls_expiry: Gauge(NONE) "cambist_tls_certificate_expiry_timestamp_seconds" ["file"]
        "When the certificate in a file ends. Replace the file before; no restart is needed.";
    replay_refused: Counter(NONE) "cambist_replay_refused_total" ["reason"]
        "Identifiers for one use, such as a client assertion's, that were refused. `full` and `owner_full` want a larger `replay.capacity` or fewer tokens.";
    replay_entries: Gauge(NONE) "cambist_replay_entries" []
        "Used identifiers that are remembered until they end; `replay.capacity` is the most.";
    admin_requests: Counter(NONE) "cambist_admin_requests_total" ["route", "status"]
        "Requests to the admin listener, by route and status.";
    clock: Gauge(NONE) "cambist_clock_timestamp_seconds" []
        "The time by which tokens are judged, at the scrape. Off the time of others, good tokens are refused.";
    draining: Gauge(NONE) "cambist_draining" []
        "1 while the process finishes what is in flight and takes nothing new.";
    build: Gauge(NONE) "cambist_build_info" ["version"]
        "1, labelled with the version.";
}

/// What every type of family can do.
trait Family: Sized {
    fn build(metric: &Metric) -> Result<Self, prometheus::Error>;

    fn register(registry: &Registry, metric: Option<&Metric>) -> Result<Self, prometheus::Error>
    where
        Self: Collector + Clone + 'static,
    {
        let metric = metric.ok_or_else(|| prometheus::Error::Msg("no such family".to_owned()))?;
        let family = Self::build(metric)?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

impl Family for Counter {
    fn build(metric: &Metric) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(metric.name, metric.help), metric.labels)
    }
}

impl Family for Gauge {
    fn build(metric: &Metric) -> Result<Self, prometheus::Error> {
        Self::new(Opts::new(metric.name, metric.help), metric.labels)
    }
}

impl Family for Histogram {
    fn build(metric: &Metric) -> Result<Self, prometheus::Error> {
        let opts = HistogramOpts::new(metric.name, metric.help).buckets(metric.buckets.to_vec());
        Self::new(opts, metric.labels)
    }
}

/// Drops the series of a family that `keep` does not want.
pub(super) fn retain<T: MetricVecBuilder>(
    family: &MetricVec<T>,
    keep: &dyn Fn(&HashMap<&str, &str>) -> bool,
) {
    for collected in family.collect() {
        for series in collected.get_metric() {
            let labels = series.get_label().iter();
            let labels = labels.map(|pair| (pair.name(), pair.value())).collect();
            if !keep(&labels) {
                // What is not there need not go.
                let _ = family.remove(&labels);
            }
        }
    }
}
