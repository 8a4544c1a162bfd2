//! What the machine and a supervisor have for a process: sockets that are open already, file descriptors, and
//! somebody to tell how it stands.
//!
//! The only file that names `sd_notify`, `listenfd` and `rustix`. Where nobody supervises, all of it does
//! nothing.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;

/// What a process is told to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State<'a> {
    /// Started, or done with reloading; and what there is to say.
    Ready(&'a str),
    /// Asked to reload, and at it.
    Reloading,
    /// Told to stop, and at it.
    Stopping,
    /// Alive.
    Alive,
}

/// Tells the supervisor (`$NOTIFY_SOCKET`), where there is one.
pub fn tell(state: State<'_>) {
    let told = match state {
        State::Ready(status) => {
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
        }
        // Without its time, systemd waits for another one.
        State::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        State::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        State::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    if let Err(error) = told {
        tracing::debug!(%error, ?state, "the supervisor was not told");
    }
}

/// How often the supervisor wants to hear that the process is alive, where it does: twice as often as it must.
#[must_use]
pub fn pulse() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|interval| interval / 2)
}

/// Sockets that were open before the process started (`$LISTEN_FDS`), so that nobody who connects while one
/// process takes over from another is refused.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For the token listener.
    pub token: Option<TcpListener>,
    /// For the admin listener.
    pub admin: Option<TcpListener>,
    /// For the admin's Unix socket.
    pub admin_socket: Option<UnixListener>,
}

/// Why the sockets that were handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// A name that means nothing.
    #[error(
        "the socket that was handed over as `{0}` is none of `token`, `admin` and `admin-socket`"
    )]
    Name(String),
    /// Two of the same name.
    #[error("two sockets were handed over as `{0}`")]
    Twice(String),
    /// Not a listening socket of the right kind.
    #[error("the socket that was handed over as `{name}` cannot be used: {source}")]
    Socket {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Inherited {
    /// Takes them; to be called once, before anything else runs. `names` is `$LISTEN_FDNAMES`: without it (or
    /// with systemd's own name for a socket that has none), the first is `token` and the second `admin`.
    ///
    /// # Errors
    /// See [`InheritError`].
    pub fn take(names: Option<&str>) -> Result<Self, InheritError> {
        let mut sockets = ListenFd::from_env();
        let said: Vec<&str> = names
            .map(|names| names.split(':').collect())
            .unwrap_or_default();
        let mut inherited = Self::default();
        for index in 0..sockets.len() {
            let said = said.get(index).copied().filter(|name| {
                !matches!(*name, "" | "unknown" | "stored") && !name.ends_with(".socket")
            });
            let name = said.unwrap_or(match index {
                0 => "token",
                1 => "admin",
                _ => "",
            });
            let failed = |source| InheritError::Socket {
                name: name.to_owned(),
                source,
            };
            let twice = match name {
                "token" | "admin" => {
                    let slot = match name {
                        "token" => &mut inherited.token,
                        _ => &mut inherited.admin,
                    };
                    let twice = slot.is_some();
                    *slot = sockets.take_tcp_listener(index).map_err(failed)?;
                    twice
                }
                "admin-socket" => {
                    let twice = inherited.admin_socket.is_some();
                    inherited.admin_socket = sockets.take_unix_listener(index).map_err(failed)?;
                    twice
                }
                other => return Err(InheritError::Name(other.to_owned())),
            };
            if twice {
                return Err(InheritError::Twice(name.to_owned()));
            }
        }
        Ok(inherited)
    }
}

/// Raises the number of file descriptors to what it may be, and gives how many of them connections can have:
/// some are left for records, keys, reloads and the admin listener.
#[must_use]
pub fn connections_that_fit() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    let limit = usize::try_from(limit?).ok()?;
    let kept = (limit / 4).clamp(32, 1024);
    Some(limit.saturating_sub(kept).max(1))
}
