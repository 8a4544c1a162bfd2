//! The scrape of a process, as Prometheus sees it.

use cambist::metrics::METRICS;

use super::{Served, exchanges, promtool};

#[tokio::test]
async fn the_scrape_is_what_promtool_wants() {
    let mut served = Served::start(&[], &[]).await;
    exchanges(&served).await;
    let scrape = served.admin("/metrics").await.body;
    served.stop();
    // Every sample belongs to a family of the table, or says how the process is.
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let of = |metric: &&cambist::metrics::Metric| {
            let rest = name.strip_prefix(metric.name);
            rest.is_some_and(|rest| {
                rest.is_empty()
                    || (!metric.buckets.is_empty() && ["_bucket", "_sum", "_count"].contains(&rest))
            })
        };
        assert!(
            METRICS.iter().any(|metric| of(&metric))
                || cambist::metrics::PROCESS_METRICS.contains(&name),
            "{line}"
        );
    }
    // What only time changes is as it is now.
    for line in [
        "cambist_signing_keys{realm=\"default\",state=\"signs\"} 1\n",
        "\ncambist_clock_timestamp_seconds 1",
    ] {
        assert!(scrape.contains(line), "{line} is not in {scrape}");
    }
    // `.ci/run` has it; what is above holds without.
    if let Some((content, says)) = promtool(&["check", "metrics"], &scrape) {
        assert!(content && says.is_empty(), "{says}");
    }
}
