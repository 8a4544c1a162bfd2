//! The command line: one file per verb. Exit codes: 0 good, 1 findings or refusal, 2 could not run.

mod check;
mod demo;
mod diff;
mod effective;
mod explain;
mod fmt;
mod help;
mod init;
mod keys;
mod make;
mod reference;
mod replace;
mod rotate;
mod schema;
mod serve;
mod test;
mod token;
mod tracer;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};

use crate::clock::Clock;
use crate::config::{self, LoadError, Loaded, Tests};
use crate::diagnostic::{Diagnostics, SourceText, Style};
use crate::services::Services;
use crate::snapshot::{Realm, Snapshot};

/// A policy-driven token exchange gateway (OAuth 2.0 Token Exchange, RFC 8693).
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 good, 1 findings or a refusal, 2 could not run."
)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve a configuration directory until told to stop.
    Serve(serve::Serve),
    /// Make a configuration to begin with.
    Init(init::Init),
    /// Say everything that is wrong with a configuration directory.
    Check(check::Check),
    /// Show a configuration as it is in force.
    #[command(subcommand)]
    Config(effective::Config),
    /// Run the tests that stand in the policies.
    Test(test::Test),
    /// Look things up: attributes, providers, metrics, codes of findings, …
    Reference(reference::Reference),
    /// Print the JSON Schema of cambist.yaml, for editors.
    Schema(schema::Schema),
    /// Say why an exchange is refused or allowed.
    Explain(Box<explain::Explain>),
    /// Say which requests two configurations decide differently, and whether anything widens.
    Diff(diff::Diff),
    /// Write policies as they should be written, or in YAML.
    Fmt(fmt::Fmt),
    /// Run the example: a toy identity provider, frontend and backend around a real gateway.
    Demo(demo::Demo),
    /// Make, list and rotate signing keys.
    #[command(subcommand)]
    Keys(make::Keys),
    /// Make client secrets.
    #[command(subcommand)]
    Secret(make::Secrets),
    /// Look into tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Print the completions of a shell.
    Completions(help::Completions),
    /// Print the manual page, or write one for each verb.
    Man(help::Manual),
    /// Print the version.
    Version,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Whether lines are JSON here and now.
    fn is_json(self) -> bool {
        match self {
            Self::Json => true,
            Self::Text => false,
            Self::Auto => !std::io::stderr().is_terminal(),
        }
    }
}

/// Good.
const GOOD: u8 = 0;
/// Findings, or a refusal.
const FINDINGS: u8 = 1;
/// Could not run.
const COULD_NOT: u8 = 2;

/// How a verb ends: the exit code of one that ran to its end, or of one that could not.
type Exit = Result<u8, u8>;

/// Runs what the command line says.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let (Ok(code) | Err(code)) = match arguments.verb {
        Verb::Serve(verb) => serve::run(&verb),
        Verb::Init(verb) => init::run(&verb),
        Verb::Check(verb) => check::run(&verb),
        Verb::Config(verb) => effective::run(&verb),
        Verb::Test(verb) => test::run(&verb),
        Verb::Reference(verb) => reference::run(&verb),
        Verb::Schema(verb) => schema::run(&verb),
        Verb::Explain(verb) => explain::run(&verb),
        Verb::Diff(verb) => diff::run(&verb),
        Verb::Fmt(verb) => fmt::run(&verb),
        Verb::Demo(verb) => demo::run(&verb),
        Verb::Keys(verb) => make::keys(&verb),
        Verb::Secret(verb) => make::secret(&verb),
        Verb::Token(verb) => token::run(&verb),
        Verb::Completions(verb) => help::completions(&verb),
        Verb::Man(verb) => help::manual(&verb),
        Verb::Version => say(&format!("cambist {}\n", env!("CARGO_PKG_VERSION"))).map(|()| GOOD),
    };
    ExitCode::from(code)
}

/// Writes to standard output, or says why that is lost. A reader that has gone is no reason to fail.
fn say(text: &str) -> Result<(), u8> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(could_not(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Writes to standard error.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[expect(
    clippy::disallowed_methods,
    reason = "NO_COLOR is a convention of the command line"
)]
fn style(terminal: bool) -> Style {
    let no_color = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
    if terminal && !no_color {
        Style::Coloured
    } else {
        Style::Plain
    }
}

/// Says why a verb could not run.
fn could_not(error: impl std::fmt::Display) -> u8 {
    complain(&format!("error: {error}\n"));
    COULD_NOT
}

/// The services of a verb, or the reason why there are none.
fn services() -> Result<Services, u8> {
    Services::new(Clock::system()).map_err(could_not)
}

/// What a directory says, whether or not the tests of its policies pass: of one realm among several, whatever is
/// wrong with the others, or else of all; or why that cannot be had.
fn loaded(dir: &Path, services: &Services, realm: Option<&str>) -> Result<Snapshot, u8> {
    let loaded = config::load(dir, services, None, Tests::Keep);
    one_of(loaded, realm).map_err(|error| {
        complain_about_load(&error);
        could_not("the configuration has errors")
    })
}

/// The snapshot that was loaded: without its rejected realms, where a sound one is meant, and whole else.
fn one_of(
    loaded: Result<Loaded, Box<LoadError>>,
    realm: Option<&str>,
) -> Result<Snapshot, Box<LoadError>> {
    let loaded = loaded?;
    let sound = realm.is_some_and(|name| loaded.snapshot.realm(Some(name)).is_some());
    match (&loaded.rejected, sound) {
        (Some(rejected), true) => {
            for name in &rejected.realms {
                complain(&format!(
                    "note: the realm `{name}` cannot be loaded; `cambist check` says why\n"
                ));
            }
            Ok(loaded.snapshot)
        }
        _ => loaded.whole(),
    }
}

/// Shows findings on standard error.
fn complain_about(diagnostics: &Diagnostics, sources: &SourceText) {
    complain(&diagnostics.render(sources, style(std::io::stderr().is_terminal())));
}

/// `2 errors, 1 warning`.
fn counted(diagnostics: &Diagnostics) -> String {
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        many => format!("{many} {word}s"),
    };
    let (errors, warnings) = diagnostics.counts();
    format!(
        "{}, {}",
        plural(errors, "error"),
        plural(warnings, "warning")
    )
}

fn complain_about_load(error: &LoadError) {
    complain_about(&error.diagnostics, &error.sources);
    complain(&format!("{}\n", counted(&error.diagnostics)));
}

/// A runtime, or the reason why there is none.
fn runtime() -> Result<tokio::runtime::Runtime, u8> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| could_not(format!("cannot start: {error}")))
}

/// What `CAMBIST_LOG` says; `info` where it says nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "what is logged is told by the environment"
)]
fn log_filter() -> Result<tracing_subscriber::EnvFilter, u8> {
    let said = std::env::var("CAMBIST_LOG").unwrap_or_default();
    let said = match said.trim() {
        "" => "info",
        said => said,
    };
    tracing_subscriber::EnvFilter::try_new(said).map_err(|error| {
        let code = could_not(format!("`CAMBIST_LOG` is `{said}`: {error}"));
        complain(
            "help: a level (`warn`, `info`, `debug`), or one for a part: `info,cambist=debug`\n",
        );
        code
    })
}

/// Logs go to standard error; `CAMBIST_LOG` filters them (`info`, `cambist=debug`). In JSON, `timestamp`,
/// `level`, `message` and what else there is stand side by side.
///
/// Keep what this returns to the end: with the feature `otel` it is the tracer, where there is one.
///
/// # Errors
/// When the variable says nothing that can be understood, which was told.
fn start_logs(format: LogFormat) -> Result<tracer::Tracer, u8> {
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    use tracing_subscriber::{Layer as _, filter};

    let tracer = tracer::Tracer::start();
    let words = log_filter()?;
    let terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let layer = if format.is_json() {
        let layer = layer.json().flatten_event(true);
        layer.with_current_span(false).with_span_list(false).boxed()
    } else {
        let colour = style(terminal) == Style::Coloured;
        layer.with_ansi(colour).boxed()
    };
    // Spans that are for a tracer are for it alone.
    let ours = filter::filter_fn(|metadata| metadata.target() != crate::trace::TARGET);
    let layer = layer.with_filter(ours).with_filter(words);
    let registry = tracing_subscriber::registry().with(layer);
    let _ = registry.with(tracer.layer()).try_init();
    tracer.complain();
    Ok(tracer)
}

/// The directory argument that several verbs share.
#[derive(Debug, clap::Args)]
struct Directory {
    /// The configuration directory: `cambist.yaml` and the files that it names.
    dir: PathBuf,
}

/// The directory argument of verbs that are about one realm, or each.
#[derive(Debug, clap::Args)]
struct RealmDirectory {
    /// The configuration directory: `cambist.yaml` and the files that it names.
    dir: PathBuf,
    /// The realm, where there are several.
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
}

impl RealmDirectory {
    /// The realms that are meant: the one that was named, or all.
    fn realms<'a>(&self, snapshot: &'a Snapshot) -> Result<Vec<&'a Realm>, u8> {
        match &self.realm {
            Some(name) => Ok(vec![self.one(snapshot, Some(name))?]),
            None => Ok(snapshot.realms.values().map(Arc::as_ref).collect()),
        }
    }

    /// The realm that is meant: the one that was named, the one that goes without saying, or the only one.
    fn one<'a>(&self, snapshot: &'a Snapshot, said: Option<&str>) -> Result<&'a Realm, u8> {
        let wanted = self.realm.as_deref().or(said);
        if let Some(realm) = snapshot.realm(wanted) {
            return Ok(realm);
        }
        let names: Vec<&str> = snapshot.realms.keys().map(|name| name.as_str()).collect();
        let code = match wanted {
            Some(name) => could_not(format!("no realm is called `{name}`")),
            None => could_not("there are several realms here; say which with `--realm NAME`"),
        };
        complain(&format!("help: the realms are {}\n", names.join(", ")));
        Err(code)
    }
}
