//! One running gateway: configuration, records, listeners, reload. `serve`, `demo` and the tests start
//! it here, and nowhere else.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::audit::Audit;
use crate::audit::sink::{AuditError, Target};
use crate::clock::Clock;
use crate::config::{self, LoadError};
use crate::reload::watch::Settle;
use crate::reload::{self, ReloadOutcome};
use crate::server::Gateway;
use crate::services::Services;
use crate::snapshot::Live;
use crate::{admin, keys, server};

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has errors.
    #[error("the configuration has errors")]
    Config(Box<LoadError>),
    /// A library could not be set up.
    #[error("{0}")]
    Services(String),
    /// The audit file cannot be opened.
    #[error("the audit records have nowhere to go: {0}")]
    Audit(#[from] AuditError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} (`{key}` in cambist.yaml): {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The key that names it.
        key: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// What a caller may set otherwise than `serve` does.
pub struct Options {
    /// The time.
    pub clock: Clock,
    /// Where records go, if not where the configuration says.
    pub audit: Option<Target>,
    /// How quickly changes on disk are followed; `None` does not follow them.
    pub settle: Option<Settle>,
    /// Whether any free port will do where the configured one is taken.
    pub any_port: bool,
    /// Gets every reload that is news.
    pub tell: Box<dyn Fn(&ReloadOutcome) + Send>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Running {
    /// What it serves from.
    pub gateway: Arc<Gateway>,
    /// Where the token listener is.
    pub address: SocketAddr,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

impl Running {
    /// Loads a directory and serves it.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(dir: &Path, options: Options) -> Result<Self, StartError> {
        let services = Services::new(options.clock).map_err(StartError::Services)?;
        let snapshot = config::load(dir, &services, None).map_err(StartError::Config)?;
        let settings = snapshot.settings.clone();
        let audit = match options.audit {
            Some(target) => Audit::to(target)?,
            None => Audit::open(&settings.audit)?,
        };
        let listener = bind(settings.listen, "server.listen", options.any_port).await?;
        let admin_listener = bind(settings.admin, "admin.listen", options.any_port).await?;
        let local = |listener: &TcpListener, wanted| listener.local_addr().unwrap_or(wanted);
        let (address, admin) = (
            local(&listener, settings.listen),
            local(&admin_listener, settings.admin),
        );
        let gateway = Arc::new(Gateway {
            live: Live::new(snapshot),
            services,
            audit,
        });
        reload::started(&gateway);
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(server::serve(
            listener,
            Arc::clone(&gateway),
            stopped.clone(),
        ));
        let mut others = vec![tokio::spawn(admin::serve(
            admin_listener,
            Arc::clone(&gateway),
            stopped,
        ))];
        let line = Arc::clone(&gateway);
        others.push(tokio::spawn(keys::keep(move || {
            line.live.load().realm.remotes()
        })));
        if let Some(settle) = options.settle {
            let dir: PathBuf = dir.to_owned();
            others.push(tokio::spawn(reload::run(
                Arc::clone(&gateway),
                dir,
                settle,
                options.tell,
            )));
        }
        Ok(Self {
            gateway,
            address,
            admin,
            stop,
            server,
            others,
        })
    }

    /// Stops accepting, lets requests in flight finish, and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.server.await;
        self.others.iter().for_each(JoinHandle::abort);
    }
}

async fn bind(
    address: SocketAddr,
    key: &'static str,
    any_port: bool,
) -> Result<TcpListener, StartError> {
    let bound = match TcpListener::bind(address).await {
        Err(error) if any_port && error.kind() == ErrorKind::AddrInUse => {
            TcpListener::bind((address.ip(), 0)).await
        }
        bound => bound,
    };
    bound.map_err(|source| StartError::Bind {
        address,
        key,
        source,
    })
}
