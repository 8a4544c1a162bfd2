//! One running gateway: configuration, records, listeners, reload. `serve`, `demo` and the tests start
//! it here, and nowhere else.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::audit::Audit;
use crate::audit::sink::{AuditError, Target};
use crate::clock::Clock;
use crate::config::{self, LoadError, Rejected, Tests};
use crate::reload::watch::Settle;
use crate::reload::{self, ReloadOutcome};
use crate::server::front::{Socket, SocketFile};
use crate::server::load::Load;
use crate::server::{Gateway, Phase, Reach};
use crate::services::Services;
use crate::snapshot::{Live, Settings};
use crate::system::{self, Inherited};
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
    /// A socket was handed over that reaches further than the configuration allows.
    #[error(
        "the socket that was handed over listens on {address}, which is not loopback, and `{key}` in cambist.yaml does not allow that"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
        /// The section that would have to.
        key: &'static str,
    },
    /// The thread of the admin listener cannot be started.
    #[error("the admin listener cannot be started: {0}")]
    Admin(std::io::Error),
    /// The Unix socket cannot be made.
    #[error("cannot listen on the socket {} (`admin.socket` in cambist.yaml): {source}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
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
    /// Whether every realm must be loaded for any to be served.
    pub all_realms: bool,
    /// Sockets that are open already.
    pub inherited: Inherited,
    /// Gets every reload that is news.
    pub tell: Box<dyn Fn(&ReloadOutcome) + Send>,
}

impl Options {
    /// Nothing is followed, and everything is as the configuration says.
    #[must_use]
    pub fn of(clock: Clock) -> Self {
        Self {
            clock,
            audit: None,
            settle: None,
            any_port: false,
            all_realms: true,
            inherited: Inherited::default(),
            tell: Box::new(|_| {}),
        }
    }
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
    /// The realms that it started without.
    pub rejected: Option<Rejected>,
    server: JoinHandle<()>,
    admin_thread: Option<std::thread::JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

impl Running {
    /// Loads a directory and serves it. A realm among several that cannot be loaded is left out.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(dir: &Path, options: Options) -> Result<Self, StartError> {
        let services = Services::new(options.clock).map_err(StartError::Services)?;
        let loaded = config::load(dir, &services, None, Tests::Run).map_err(StartError::Config)?;
        let loaded = match options.all_realms {
            true => loaded.all().map_err(StartError::Config)?,
            false => loaded,
        };
        let settings = loaded.snapshot.settings.clone();
        let audit = match options.audit {
            Some(target) => Audit::to(target)?,
            None => Audit::open(&settings.audit)?,
        };
        let any = options.any_port;
        let Inherited {
            token,
            admin,
            admin_socket,
        } = options.inherited;
        let (listener, address) = match token {
            Some(socket) => adopt(socket, "server.listen")?,
            None => bind(settings.listen, "server.listen", any).await?,
        };
        let (admin_listener, admin) = match admin {
            Some(socket) => adopt(socket, "admin.listen")?,
            None => bind(settings.admin.listen, "admin.listen", any).await?,
        };
        let reach = Reach {
            token: !address.ip().is_loopback(),
            admin: !admin.ip().is_loopback(),
        };
        if let Some(key) = reach.exposed(&settings) {
            let address = if key == "server" { address } else { admin };
            return Err(StartError::Exposed { address, key });
        }
        let mut admin_listeners = vec![Socket::Tcp(admin_listener)];
        admin_listeners.extend(unix(admin_socket, &settings)?);
        let descriptors = system::connections_that_fit();
        if let Some(fit) = descriptors.filter(|fit| *fit < settings.max_connections) {
            let wanted = settings.max_connections;
            tracing::warn!(
                "file descriptors are enough for {fit} connections only, not for `server.max_connections: {wanted}`; raise the limit (LimitNOFILE=, ulimit -n)"
            );
        }
        let waiting = loaded.rejected.as_ref().map(|_| loaded.disk.clone());
        let rejected = loaded.rejected;
        let out_of_step = rejected.iter().flat_map(|rejected| rejected.realms.clone());
        let details = reload::details(rejected.as_ref());
        let live = Live::new(loaded.snapshot, out_of_step.collect(), details);
        if options.settle.is_some() {
            live.note_watch("not yet".to_owned());
        }
        let gateway = Arc::new(Gateway {
            live,
            services,
            audit,
            load: Load::default(),
            phase: watch::Sender::new(Phase::Serving),
            descriptors,
            reach,
        });
        reload::started(&gateway, rejected.as_ref()).await;
        let admin_thread = admin::start(admin_listeners, admin, Arc::clone(&gateway));
        let admin_thread = admin_thread.map_err(StartError::Admin)?;
        let token = Socket::Tcp(listener).listen();
        let token = token.map_err(|source| StartError::Bind {
            address,
            key: "server.listen",
            source,
        })?;
        let server = tokio::spawn(server::serve(token, Arc::clone(&gateway)));
        let line = Arc::clone(&gateway);
        let keep = keys::keep(move || line.live.load().remotes());
        let mut others = vec![tokio::spawn(keep)];
        if let Some(settle) = options.settle {
            let dir: PathBuf = dir.to_owned();
            others.push(tokio::spawn(reload::run(
                Arc::clone(&gateway),
                dir,
                settle,
                waiting,
                options.tell,
            )));
        }
        Ok(Self {
            gateway,
            address,
            admin,
            rejected,
            server,
            admin_thread: Some(admin_thread),
            others,
        })
    }

    /// Says that it will not serve for long: not ready from now on, and connections end with their answers.
    /// It still answers everything.
    pub fn drain(&self) {
        self.gateway.phase.send_replace(Phase::Draining);
        self.gateway.services.metrics.draining(true);
    }

    /// Stops accepting, lets requests in flight finish, and ends. Gives whether they all did in time.
    pub async fn stop(mut self) -> bool {
        self.gateway.phase.send_replace(Phase::Stopping);
        let _ = (&mut self.server).await;
        let finished = server::finished(&self.gateway).await;
        if !finished {
            tracing::warn!("some requests did not end in time");
        }
        self.gateway.phase.send_replace(Phase::Stopped);
        self.others.iter().for_each(JoinHandle::abort);
        if let Some(thread) = self.admin_thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        finished
    }
}

impl Drop for Running {
    /// A gateway that nobody stops ends too: its listeners close.
    fn drop(&mut self) {
        self.gateway.phase.send_replace(Phase::Stopped);
        self.others.iter().for_each(JoinHandle::abort);
    }
}

/// Takes a socket that was open before.
fn adopt(socket: TcpListener, key: &'static str) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        key,
        source,
    };
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

/// The admin's Unix socket: the one that was handed over, or the one that is configured. Only its owner may
/// open it.
fn unix(
    inherited: Option<UnixListener>,
    settings: &Settings,
) -> Result<Option<Socket>, StartError> {
    let path = settings.admin.socket.clone().unwrap_or_default();
    let failed = |source| StartError::Socket {
        path: path.clone(),
        source,
    };
    if let Some(socket) = inherited {
        // Its file belongs to whoever made it.
        return Ok(Some(Socket::Unix(socket, None)));
    }
    if settings.admin.socket.is_none() {
        return Ok(None);
    }
    // Made under another name, so that nobody opens it who may not, and put in the place of what another
    // process has left there, or listens on: that one is about to stop. What is no socket is not replaced.
    if std::fs::symlink_metadata(&path).is_ok_and(|meta| !meta.file_type().is_socket()) {
        return Err(failed(ErrorKind::AlreadyExists.into()));
    }
    let made = path.with_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&made); // of a process that had this number before
    let socket = UnixListener::bind(&made).map_err(failed)?;
    let private = std::fs::Permissions::from_mode(0o600);
    let placed = std::fs::set_permissions(&made, private)
        .and_then(|()| std::fs::rename(&made, &path))
        .and_then(|()| SocketFile::new(path.clone()));
    let file = placed.map_err(|error| {
        let _ = std::fs::remove_file(&made); // it may have been renamed
        failed(error)
    })?;
    Ok(Some(Socket::Unix(socket, Some(file))))
}

async fn bind(
    address: SocketAddr,
    key: &'static str,
    any_port: bool,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind {
        address,
        key,
        source,
    };
    let bound = match tokio::net::TcpListener::bind(address).await {
        Err(error) if any_port && error.kind() == ErrorKind::AddrInUse => {
            tokio::net::TcpListener::bind((address.ip(), 0)).await
        }
        bound => bound,
    };
    let socket = bound.and_then(tokio::net::TcpListener::into_std);
    let socket = socket.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}
