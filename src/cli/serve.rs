//! `cambist serve DIR`.

use std::net::SocketAddr;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    COULD_NOT, Directory, Exit, FINDINGS, GOOD, LogFormat, complain, complain_about,
    complain_about_load, could_not, runtime, start_logs,
};
use crate::clock::Clock;
use crate::config::Rejected;
use crate::reload::ReloadOutcome;
use crate::reload::watch::Settle;
use crate::run::{Options, Running, StartError};
use crate::snapshot::Snapshot;
use crate::system::{self, Inherited, State};

/// Serve a configuration directory until told to stop.
///
/// SIGHUP loads the configuration again. SIGTERM stops in peace: not ready at once, no more connections after
/// `server.drain_delay`, and the end when everything is answered. SIGINT does the same without the delay. A
/// second SIGTERM or SIGINT ends it at once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Sockets that a supervisor hands over (LISTEN_FDS; named `token`, `admin` and `admin-socket`, or in that order) are used in place of those that cambist.yaml names.\n\nExit codes: 0 stopped and everything answered, 1 stopped and something was lost, 2 could not start."
)]
pub(super) struct Serve {
    #[command(flatten)]
    directory: Directory,
    /// How logs are written.
    #[arg(long, value_enum, default_value = "auto")]
    log_format: LogFormat,
    /// Do not start while any realm cannot be loaded; otherwise the others are served.
    #[arg(long)]
    all_realms: bool,
}

pub(super) fn run(verb: &Serve) -> Exit {
    // Before any thread but the first, which only waits: it changes the environment.
    let inherited = inherited().map_err(could_not)?;
    // To the end: what is left of the traces is sent then.
    let _tracer = start_logs(verb.log_format)?;
    let runtime = runtime()?;
    let code = runtime.block_on(serve(verb, inherited));
    // What hangs, such as a reload that reads from where nobody answers, is not waited for.
    runtime.shutdown_background();
    Ok(code)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how sockets are handed over is told by the environment"
)]
fn inherited() -> Result<Inherited, system::InheritError> {
    Inherited::take(std::env::var("LISTEN_FDNAMES").ok().as_deref())
}

async fn serve(verb: &Serve, inherited: Inherited) -> u8 {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return could_not(format!("cannot listen for signals: {error}")),
    };
    let options = Options {
        settle: Some(Settle::default()),
        all_realms: verb.all_realms,
        inherited,
        tell: Box::new(log_reload),
        ..Options::of(Clock::system())
    };
    let running = match Running::start(&verb.directory.dir, options).await {
        Ok(running) => running,
        Err(error) => {
            complain_about_start(&error);
            return COULD_NOT;
        }
    };
    let snapshot = running.gateway.live.load();
    if verb.log_format.is_json() {
        for warning in snapshot.warnings.sorted() {
            tracing::warn!("{}", warning.one_line(&snapshot.sources));
        }
    } else {
        complain_about(&snapshot.warnings, &snapshot.sources);
    }
    if let Some(rejected) = &running.rejected {
        log_rejected(rejected, "not served");
    }
    log_start(&running, &snapshot);
    let drain_delay = snapshot.settings.drain_delay;
    drop(snapshot);
    system::tell(State::Ready("serving"));
    let pulse = tokio::spawn(alive());
    let asked = signals.stop().await;
    system::tell(State::Stopping);
    let stop = async {
        running.drain();
        if asked == Asked::Terminate {
            tracing::info!(
                ?drain_delay,
                "stopping: not ready, and accepting connections a little longer"
            );
            tokio::time::sleep(drain_delay).await;
        }
        tracing::info!("stopping: finishing what is in flight");
        running.stop().await
    };
    let code = tokio::select! {
        finished = stop => if finished { GOOD } else { FINDINGS },
        _ = signals.stop() => {
            tracing::warn!("stopping at once: what was in flight is lost");
            FINDINGS
        }
    };
    pulse.abort();
    code
}

/// Tells the supervisor again and again that the process is alive, as long as it is.
async fn alive() {
    let Some(every) = system::pulse() else {
        return;
    };
    loop {
        system::tell(State::Alive);
        tokio::time::sleep(every).await;
    }
}

fn log_start(running: &Running, snapshot: &Snapshot) {
    let url = |address: SocketAddr, tls: bool| {
        format!("{}://{address}", if tls { "https" } else { "http" })
    };
    let settings = &snapshot.settings;
    let base = url(running.address, settings.tls.is_some());
    for (name, realm) in &snapshot.realms {
        tracing::info!(
            realm = %name,
            token_endpoint = %format!("{base}{}", realm.token_path),
            admin = %url(running.admin, settings.admin.tls.is_some()),
            issuer = %realm.issuer,
            config = %realm.hash,
            "serving"
        );
    }
}

/// Why nothing started, with findings where files are at fault.
pub(super) fn complain_about_start(error: &StartError) {
    if let StartError::Config(load) = error {
        complain_about_load(load);
    }
    complain(&format!("error: {error}\n"));
    match error {
        StartError::Bind { source, key, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            complain(&format!(
                "help: another process has this address; stop it, or change `{key}`\n"
            ));
        }
        StartError::Exposed { key, .. } => complain(&format!(
            "help: see `tls` and `insecure_http` of `{key}:` (and `tokens` of `admin:`)\n"
        )),
        StartError::Audit(_) => {
            complain("help: see `audit:` in cambist.yaml; no token leaves without its record\n")
        }
        _ => {}
    }
}

/// What a process is told that is to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// By whoever supervises it: others must learn of it first.
    Terminate,
    /// By whoever sits before it.
    Interrupt,
}

/// The signals of a running process, from the moment this is made: before anything else, so that none of
/// them ends a process that is only starting.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    _reload: Signal,
}

impl Signals {
    /// Listens.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            // Heard by the reload; until that listens, it must not be what ends the process.
            _reload: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or Ctrl-C.
    pub(super) async fn stop(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }
}

/// What becomes of a realm that is rejected while it runs.
const KEPT: &str = "rejected; what ran keeps running";

fn log_reload(outcome: &ReloadOutcome) {
    match outcome {
        ReloadOutcome::Applied(snapshot, rejected) => {
            let (rules, denies) = snapshot.counts();
            tracing::info!(config = %snapshot.hash, rules, denies, "the new configuration is live");
            for warning in snapshot.warnings.sorted() {
                tracing::warn!("{}", warning.one_line(&snapshot.sources));
            }
            if let Some(rejected) = rejected {
                log_rejected(rejected, KEPT);
            }
        }
        ReloadOutcome::Unchanged => tracing::info!("what is on disk is what runs"),
        ReloadOutcome::Rejected(rejected) => log_rejected(rejected, KEPT),
        ReloadOutcome::NeedsRestart(restart) => {
            tracing::warn!(
                "the new configuration needs a restart ({}); the old one keeps serving",
                restart.fields.join(", ")
            );
        }
    }
}

fn log_rejected(rejected: &Rejected, what: &str) {
    let error = &rejected.error;
    for finding in error.diagnostics.sorted() {
        tracing::error!("{}", finding.one_line(&error.sources));
    }
    let names: Vec<String> = rejected.realms.iter().map(ToString::to_string).collect();
    tracing::error!(
        realms = names.join(", "),
        "the configuration on disk is {what}"
    );
}
