//! Every metric, in one table. The only file that names `prometheus`.
//!
//! Label values come from closed sets: this build's words, or names of the loaded configuration. None
//! is taken from a request.

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};

/// A metric, as the reference lists it.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const EXCHANGES: Metric = Metric {
    name: "cambist_exchanges_total",
    labels: &["outcome", "reason", "processor"],
    help: "Token exchange requests answered, by outcome, reason and selected processor.",
};
const DURATION: Metric = Metric {
    name: "cambist_exchange_duration_seconds",
    labels: &["outcome"],
    help: "Time from the whole request to the answer.",
};
const AMBIGUOUS: Metric = Metric {
    name: "cambist_policy_ambiguous_total",
    labels: &[],
    help: "Requests that two rules with different outcomes matched; refused.",
};
const RELOADS: Metric = Metric {
    name: "cambist_config_reloads_total",
    labels: &["result"],
    help: "Loads of the configuration after the first, by result.",
};
const RELOAD_OK: Metric = Metric {
    name: "cambist_config_last_reload_successful",
    labels: &[],
    help: "1 when what is on disk is what runs, 0 when the last change was rejected.",
};
const RELOAD_TIME: Metric = Metric {
    name: "cambist_config_last_reload_success_timestamp_seconds",
    labels: &[],
    help: "When what runs was last found to be what is on disk.",
};
const POLICY: Metric = Metric {
    name: "cambist_policy_rules",
    labels: &["kind"],
    help: "Rules and denies in the running policy set.",
};
const AUDIT: Metric = Metric {
    name: "cambist_audit_failures_total",
    labels: &["reason"],
    help: "Answers withheld because their audit record could not be written.",
};
const CONNECTIONS: Metric = Metric {
    name: "cambist_connections_total",
    labels: &["result"],
    help: "Connections to the token listener, accepted and turned away.",
};
const JWKS_FETCHES: Metric = Metric {
    name: "cambist_jwks_fetches_total",
    labels: &["issuer", "result"],
    help: "Looks at the published keys of an issuer, by result; `fetched` and `unchanged` are good.",
};
const JWKS_KEYS: Metric = Metric {
    name: "cambist_jwks_keys",
    labels: &["issuer", "state"],
    help: "Keys of an issuer that can be used now, and those in its set that are not used.",
};
const JWKS_AGE: Metric = Metric {
    name: "cambist_jwks_age_seconds",
    labels: &["issuer"],
    help: "How long ago the keys of an issuer were last found to be current.",
};
const REPLAY_REFUSED: Metric = Metric {
    name: "cambist_replay_refused_total",
    labels: &["reason"],
    help: "Identifiers for one use, such as a client assertion's, that were refused.",
};
const REPLAY_ENTRIES: Metric = Metric {
    name: "cambist_replay_entries",
    labels: &[],
    help: "Used identifiers that are remembered until they end.",
};
const BUILD: Metric = Metric {
    name: "cambist_build_info",
    labels: &["version"],
    help: "1, labelled with the version.",
};

/// All of them.
pub static METRICS: &[&Metric] = &[
    &EXCHANGES,
    &DURATION,
    &AMBIGUOUS,
    &RELOADS,
    &RELOAD_OK,
    &RELOAD_TIME,
    &POLICY,
    &AUDIT,
    &CONNECTIONS,
    &JWKS_FETCHES,
    &JWKS_KEYS,
    &JWKS_AGE,
    &REPLAY_REFUSED,
    &REPLAY_ENTRIES,
    &BUILD,
];

/// The process's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    exchanges: IntCounterVec,
    duration: HistogramVec,
    ambiguous: IntCounterVec,
    reloads: IntCounterVec,
    reload_ok: GaugeVec,
    reload_time: GaugeVec,
    policy: GaugeVec,
    audit: IntCounterVec,
    connections: IntCounterVec,
    jwks_fetches: IntCounterVec,
    jwks_keys: GaugeVec,
    jwks_age: GaugeVec,
    replay_refused: IntCounterVec,
    replay_entries: GaugeVec,
}

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// When the table above is at odds with itself; a test builds one.
    pub fn new() -> Result<Self, String> {
        Self::build().map_err(|error| error.to_string())
    }

    fn build() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |metric: &Metric| -> Result<IntCounterVec, prometheus::Error> {
            let vec = IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok(vec)
        };
        let gauge = |metric: &Metric| -> Result<GaugeVec, prometheus::Error> {
            let vec = GaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok(vec)
        };
        let buckets = vec![
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
            1.0, 2.5, 5.0, 10.0,
        ];
        let duration = HistogramVec::new(
            HistogramOpts::new(DURATION.name, DURATION.help).buckets(buckets),
            DURATION.labels,
        )?;
        registry.register(Box::new(duration.clone()))?;
        gauge(&BUILD)?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let metrics = Self {
            exchanges: counter(&EXCHANGES)?,
            duration,
            ambiguous: counter(&AMBIGUOUS)?,
            reloads: counter(&RELOADS)?,
            reload_ok: gauge(&RELOAD_OK)?,
            reload_time: gauge(&RELOAD_TIME)?,
            policy: gauge(&POLICY)?,
            audit: counter(&AUDIT)?,
            connections: counter(&CONNECTIONS)?,
            jwks_fetches: counter(&JWKS_FETCHES)?,
            jwks_keys: gauge(&JWKS_KEYS)?,
            jwks_age: gauge(&JWKS_AGE)?,
            replay_refused: counter(&REPLAY_REFUSED)?,
            replay_entries: gauge(&REPLAY_ENTRIES)?,
            registry: registry.clone(),
        };
        // Series that an alert rests on exist from the start.
        metrics.ambiguous.with_label_values::<&str>(&[]).inc_by(0);
        metrics.reload_ok.with_label_values::<&str>(&[]).set(0.0);
        metrics.reload_time.with_label_values::<&str>(&[]).set(0.0);
        metrics
            .replay_entries
            .with_label_values::<&str>(&[])
            .set(0.0);
        for reason in ["full", "owner_full"] {
            metrics
                .replay_refused
                .with_label_values(&[reason])
                .inc_by(0);
        }
        Ok(metrics)
    }

    /// One answered exchange. `processor` is empty where none was selected.
    pub fn exchange(
        &self,
        outcome: &'static str,
        reason: &'static str,
        processor: &str,
        seconds: f64,
    ) {
        self.exchanges
            .with_label_values(&[outcome, reason, processor])
            .inc();
        self.duration.with_label_values(&[outcome]).observe(seconds);
    }

    /// One request that two rules with different outcomes matched.
    pub fn ambiguous(&self) {
        self.ambiguous.with_label_values::<&str>(&[]).inc();
    }

    /// One load after the first: `applied`, `unchanged`, `rejected` or `needs_restart`.
    pub fn reload(&self, result: &'static str) {
        self.reloads.with_label_values(&[result]).inc();
    }

    /// Whether what is on disk is what runs, and since when that is known (seconds since 1970).
    pub fn in_step(&self, in_step: bool, now: i64) {
        self.reload_ok
            .with_label_values::<&str>(&[])
            .set(f64::from(u8::from(in_step)));
        if in_step {
            #[expect(
                clippy::cast_precision_loss,
                reason = "seconds fit a double until long after the year 9999"
            )]
            self.reload_time
                .with_label_values::<&str>(&[])
                .set(now as f64);
        }
    }

    /// The size of the running policy set.
    pub fn policy(&self, _realm: &str, rules: usize, denies: usize) {
        for (kind, count) in [("rule", rules), ("deny", denies)] {
            #[expect(clippy::cast_precision_loss, reason = "a count of rules")]
            self.policy.with_label_values(&[kind]).set(count as f64);
        }
    }

    /// One answer withheld for want of an audit record.
    pub fn audit_failure(&self, reason: &'static str) {
        self.audit.with_label_values(&[reason]).inc();
    }

    /// One connection: `accepted` or `turned_away`.
    pub fn connection(&self, result: &'static str) {
        self.connections.with_label_values(&[result]).inc();
    }

    /// One look at the published keys of a configured party.
    pub fn jwks_fetch(&self, owner: &str, result: &'static str) {
        self.jwks_fetches.with_label_values(&[owner, result]).inc();
    }

    /// How it stands with the keys of a configured party; `age` in seconds, where there ever were any.
    pub fn jwks_state(&self, owner: &str, usable: usize, skipped: usize, age: Option<f64>) {
        for (state, count) in [("usable", usable), ("skipped", skipped)] {
            #[expect(clippy::cast_precision_loss, reason = "a count of keys")]
            self.jwks_keys
                .with_label_values(&[owner, state])
                .set(count as f64);
        }
        if let Some(age) = age {
            self.jwks_age.with_label_values(&[owner]).set(age);
        }
    }

    /// The party is not configured any more.
    pub fn jwks_forget(&self, owner: &str) {
        // What is not there need not go.
        let _ = self.jwks_age.remove_label_values(&[owner]);
        for state in ["usable", "skipped"] {
            let _ = self.jwks_keys.remove_label_values(&[owner, state]);
        }
    }

    /// One identifier for one use that was refused.
    pub fn replay_refused(&self, reason: &'static str) {
        self.replay_refused.with_label_values(&[reason]).inc();
    }

    /// How many used identifiers are remembered.
    pub fn replay_entries(&self, entries: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a count of entries in memory")]
        self.replay_entries
            .with_label_values::<&str>(&[])
            .set(entries as f64);
    }

    /// TEMP
    pub fn tls_handshake(&self, _r: &'static str) {}
    /// TEMP
    pub fn shed(&self, _r: &'static str) {}
    /// TEMP
    pub fn reload_took(&self, _r: &'static str, _s: f64) {}
    /// TEMP
    pub fn config_hash(&self, _h: &str) {}
    /// TEMP
    pub fn realms<'a>(&self, _r: impl Iterator<Item = (&'a str, bool, bool)>) {}
    /// TEMP
    pub fn certificates<'a>(&self, _r: impl Iterator<Item = (&'a str, i64)>) {}
    /// TEMP
    pub fn count_rules(&self, _c: usize, _r: impl Iterator<Item = (String, String)>) {}
    /// TEMP
    pub fn draining(&self) {}
    /// TEMP
    pub fn admin_request(&self, _r: &'static str, _s: u16) {}
    /// TEMP
    pub fn load(&self, _c: usize, _a: usize, _e: usize) {}
    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn scrape(&self) -> String {
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8(out).unwrap_or_default(),
            Err(error) => format!("# {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_table_is_scraped_with_help() {
        let metrics = Metrics::new().unwrap();
        metrics.exchange("issued", "", "p", 0.001);
        metrics.ambiguous();
        metrics.reload("applied");
        metrics.in_step(true, 1);
        metrics.policy("default", 1, 2);
        metrics.audit_failure("busy");
        metrics.connection("accepted");
        metrics.jwks_fetch("idp", "fetched");
        metrics.jwks_state("idp", 1, 0, Some(1.0));
        let text = metrics.scrape();
        for metric in METRICS {
            assert!(
                text.contains(&format!("# HELP {} {}", metric.name, metric.help)),
                "{}",
                metric.name
            );
        }
    }
}
