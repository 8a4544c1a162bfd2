//! Long-lived things that factories may take from. Requests never see them.

use std::sync::Arc;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::net::Net;
use crate::store::SingleUse;

/// What the process has, whatever the configuration says.
#[derive(Clone, Debug)]
pub struct Services {
    /// The time.
    pub clock: Clock,
    /// The outbound HTTP client.
    pub net: Net,
    /// The metrics.
    pub metrics: Metrics,
    /// What was used and may not be used again; a reload forgets nothing of it.
    pub single_use: Arc<SingleUse>,
}

impl Services {
    /// The services of a running process.
    ///
    /// # Errors
    /// When the TLS library or the metrics registry cannot be set up.
    pub fn new(clock: Clock) -> Result<Self, String> {
        let net = Net::new().map_err(|error| error.to_string())?;
        let metrics = Metrics::new()?;
        Ok(Self {
            single_use: Arc::new(SingleUse::new(clock.clone(), metrics.clone())),
            clock,
            net,
            metrics,
        })
    }
}
