//! The play: everybody on stage, one exchange from the user's call to the backend's answer.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::sync::broadcast::error::TryRecvError;

use super::toys::{self, Transcript};
use crate::audit::Record;
use crate::clock::Clock;
use crate::jose::base64url;
use crate::policy::explain::{Explanation, explain};
use crate::policy::facts;
use crate::run::{Options, Running, StartError};
use crate::snapshot::Snapshot;

/// Why the play did not begin.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The gateway did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A toy could not listen.
    #[error("the toy {who} cannot listen on {address}: {source}")]
    Toy {
        /// Which.
        who: &'static str,
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The realm has no introspection endpoint on loopback for the toy identity provider to be.
    #[error(
        "the demo needs an issuer whose `introspection:` endpoint is `http://127.0.0.1:PORT/…`"
    )]
    NoEndpoint,
    /// Listening for records failed.
    #[error("the gateway wrote no record of the exchange")]
    NoRecord,
}

/// Everybody on stage.
#[derive(Debug)]
pub struct Stage {
    /// The gateway.
    pub running: Running,
    /// The toy identity provider.
    pub identity_provider: SocketAddr,
    /// The toy frontend.
    pub frontend: SocketAddr,
    /// The toy backend.
    pub backend: SocketAddr,
    transcript: Arc<Mutex<Transcript>>,
}

/// One exchange, as everybody saw it.
#[derive(Debug)]
pub struct Play {
    /// Request and response of the exchange.
    pub transcript: Transcript,
    /// The claims in the issued token, where one was issued.
    pub claims: Option<Value>,
    /// The gateway's record.
    pub record: Arc<Record>,
    /// The decision, explained, where it came to one.
    pub explanation: Option<Explanation>,
    /// What the frontend answered the user: the backend's answer.
    pub status: u16,
    /// The same, its body.
    pub answer: String,
    /// The configuration at that time.
    pub snapshot: Arc<Snapshot>,
}

/// Puts everybody on stage.
///
/// # Errors
/// See [`PlayError`].
pub async fn play(dir: &Path, options: Options) -> Result<Stage, PlayError> {
    let clock: Clock = options.clock.clone();
    let running = Running::start(dir, options).await?;
    let snapshot = running.gateway.live.load();
    let endpoint = snapshot
        .first()
        .issuers
        .iter()
        .find_map(|issuer| issuer.introspection.as_ref());
    let address =
        endpoint.and_then(|introspection| toy_address(&introspection.endpoint.to_string()));
    let address = address.ok_or(PlayError::NoEndpoint)?;
    let toy = |who, address: SocketAddr| {
        move |source| PlayError::Toy {
            who,
            address: address.to_string(),
            source,
        }
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let identity_provider = toys::identity_provider(address, clock.clone())
        .await
        .map_err(toy("identity provider", address))?;
    let backend = toys::backend(any, running.address, clock)
        .await
        .map_err(toy("backend", any))?;
    let transcript = Arc::new(Mutex::new(Transcript::default()));
    let frontend = toys::frontend(any, running.address, backend, Arc::clone(&transcript)).await;
    let frontend = frontend.map_err(toy("frontend", any))?;
    Ok(Stage {
        running,
        identity_provider,
        frontend,
        backend,
        transcript,
    })
}

fn toy_address(endpoint: &str) -> Option<SocketAddr> {
    endpoint
        .strip_prefix("http://")?
        .split('/')
        .next()?
        .parse()
        .ok()
}

impl Stage {
    /// A user calls the frontend, and everything follows from that.
    ///
    /// # Errors
    /// When the gateway wrote no record.
    pub async fn act(&self) -> Result<Play, PlayError> {
        let snapshot = self.running.gateway.live.load();
        let mut records = self.running.gateway.audit.listen();
        let request = format!(
            "GET /resource HTTP/1.1\r\nHost: frontend.example.com\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            toys::BEARER
        );
        let response = toys::call(self.frontend, &request)
            .await
            .unwrap_or_default();
        let transcript = self
            .transcript
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let answer: Value = toys::body(&transcript.response)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        // Other requests may come in between: the record is the one with this request's id.
        let header = |line: &str| line.strip_prefix("x-request-id: ").map(str::to_owned);
        let id = transcript
            .response
            .lines()
            .find_map(header)
            .ok_or(PlayError::NoRecord)?;
        // It was written before the answer left, so it is there already.
        let record = loop {
            match records.try_recv() {
                Ok(record) if record.request_id == id => break record,
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Err(PlayError::NoRecord),
            }
        };
        let clock = &self.running.gateway.services.clock;
        let context = record
            .context
            .as_ref()
            .and_then(|facts| facts::assemble(facts, &snapshot.first().schema, clock.now()).ok());
        let explanation = context.map(|context| {
            explain(&snapshot.first().policies, &context, |processor| {
                processor.id.to_string()
            })
        });
        Ok(Play {
            claims: answer
                .get("access_token")
                .and_then(Value::as_str)
                .and_then(decode),
            transcript,
            record,
            explanation,
            status: toys::status(&response),
            answer: toys::body(&response).unwrap_or_default().to_owned(),
            snapshot,
        })
    }
}

/// Header and payload of a JWT, only decoded: the backend is the one that verifies.
fn decode(token: &str) -> Option<Value> {
    let mut parts = token.split('.').map(|part| {
        let bytes = base64url::decode(part).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    });
    Some(json!({ "header": parts.next()??, "payload": parts.next()?? }))
}

impl Play {
    /// Whether the backend accepted the new token.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status == 200
    }

    /// As one JSON document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "exchange": { "request": self.transcript.request, "response": self.transcript.response },
            "token": self.claims,
            "record": *self.record,
            "decision": self.explanation.as_ref().map(|e| e.to_json(&self.snapshot.sources)),
            "backend": { "status": self.status, "body": self.answer },
            "succeeded": self.succeeded(),
        })
    }
}
