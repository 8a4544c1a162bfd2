//! `cambist serve DIR`.

use super::{
    COULD_NOT, Directory, Exit, FINDINGS, GOOD, LogFormat, complain, complain_about,
    complain_about_load, could_not, runtime, start_logs,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::clock::Clock;
use crate::reload::ReloadOutcome;
use crate::reload::watch::Settle;
use crate::run::{Options, Running, StartError};

/// Serve a configuration directory until told to stop.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    directory: Directory,
    /// How logs are written.
    #[arg(long, value_enum, default_value = "auto")]
    log_format: LogFormat,
}

pub(super) fn run(verb: &Serve) -> Exit {
    // To the end: what is left of the traces is sent then.
    let _tracer = start_logs(verb.log_format);
    Ok(runtime()?.block_on(serve(verb)))
}

async fn serve(verb: &Serve) -> u8 {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return could_not(format!("cannot listen for signals: {error}")),
    };
    let options = Options {
        clock: Clock::system(),
        audit: None,
        settle: Some(Settle::default()),
        any_port: false,
        tell: Box::new(log_reload),
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
    tracing::info!(
        token_endpoint = %format!("http://{}{}", running.address, snapshot.realm.token_path),
        admin = %format!("http://{}", running.admin),
        issuer = %snapshot.realm.issuer,
        config = %snapshot.hash,
        "serving"
    );
    drop(snapshot);
    signals.stop().await;
    tracing::info!("stopping: finishing what is in flight");
    tokio::select! {
        () = running.stop() => GOOD,
        () = signals.stop() => {
            tracing::warn!("stopping at once: what was in flight is lost");
            FINDINGS
        }
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
        StartError::Audit(_) => {
            complain("help: see `audit:` in cambist.yaml; no token leaves without its record\n")
        }
        _ => {}
    }
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
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn log_reload(outcome: &ReloadOutcome) {
    match outcome {
        ReloadOutcome::Applied(snapshot) => {
            let (rules, denies) = snapshot.realm.policies.counts();
            tracing::info!(config = %snapshot.hash, rules, denies, "the new configuration is live");
            for warning in snapshot.warnings.sorted() {
                tracing::warn!("{}", warning.one_line(&snapshot.sources));
            }
        }
        ReloadOutcome::Unchanged => tracing::info!("what is on disk is what runs"),
        ReloadOutcome::Rejected(error) => {
            for finding in error.diagnostics.sorted() {
                tracing::error!("{}", finding.one_line(&error.sources));
            }
            tracing::error!("the new configuration was rejected; the old one keeps serving");
        }
        ReloadOutcome::NeedsRestart(restart) => {
            tracing::warn!(
                "the new configuration needs a restart ({}); the old one keeps serving",
                restart.fields.join(", ")
            );
        }
    }
}
