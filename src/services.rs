//! Long-lived things that factories may take from. Requests never see them.

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::net::Net;

/// What the process has, whatever the configuration says.
#[derive(Clone, Debug)]
pub struct Services {
    /// The time.
    pub clock: Clock,
    /// The outbound HTTP client.
    pub net: Net,
    /// The metrics.
    pub metrics: Metrics,
}

impl Services {
    /// The services of a running process.
    ///
    /// # Errors
    /// When the TLS library or the metrics registry cannot be set up.
    pub fn new(clock: Clock) -> Result<Self, String> {
        let net = Net::new().map_err(|error| error.to_string())?;
        Ok(Self {
            clock,
            net,
            metrics: Metrics::new()?,
        })
    }
}
