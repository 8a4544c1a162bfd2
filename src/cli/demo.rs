//! `cambist demo`: plays the example, says what happened, and keeps serving.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::serve::{Signals, complain_about_start};
use super::{
    COULD_NOT, Exit, FINDINGS, GOOD, complain, complain_about, could_not, counted, runtime, say,
};
use crate::audit::Record;
use crate::clock::Clock;
use crate::config::Rejected;
use crate::demo::{self, Play, PlayError, Stage};
use crate::diagnostic::Style;
use crate::reload::ReloadOutcome;
use crate::reload::watch::Settle;
use crate::run::Options;

/// Run the example.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// The realm to run; by default `./policies` in a checkout, else a copy in `./cambist-demo`.
    dir: Option<PathBuf>,
    /// Play once and end: 0 when the backend accepted the new token, 1 when not.
    #[arg(long)]
    once: bool,
    /// Print one JSON document for each play.
    #[arg(long)]
    json: bool,
}

/// What the reload has to say.
enum News {
    Applied,
    Kept(String),
}

pub(super) fn run(verb: &Demo) -> Exit {
    let dir = verb.dir.clone().map_or_else(demo::directory, Ok);
    let dir = dir.map_err(|error| could_not(format!("cannot write the sample realm: {error}")))?;
    runtime()?.block_on(play(verb, dir))
}

async fn play(verb: &Demo, dir: PathBuf) -> Exit {
    let mut signals = Signals::listen()
        .map_err(|error| could_not(format!("cannot listen for signals: {error}")))?;
    let (news_to, mut news) = mpsc::unbounded_channel();
    let tell = move |outcome: &ReloadOutcome| {
        let _ = news_to.send(news_of(outcome)); // nobody listening: the demo is over
    };
    let options = Options {
        settle: (!verb.once).then(Settle::default),
        any_port: true,
        tell: Box::new(tell),
        ..Options::of(Clock::system())
    };
    let stage = match demo::play(&dir, options).await {
        Ok(stage) => stage,
        Err(error) => {
            match &error {
                PlayError::Start(error) => complain_about_start(error),
                PlayError::Toy { .. } => complain(&format!(
                    "error: {error}\nhelp: another process has this address; change the endpoint in {}/cambist.yaml\n",
                    dir.display()
                )),
                other => complain(&format!("error: {other}\n")),
            }
            return Err(COULD_NOT);
        }
    };
    if !verb.json {
        introduce(&stage, &dir)?;
    }
    let first = match stage.act().await {
        Ok(play) => play,
        Err(error) => return Err(could_not(error)),
    };
    if verb.json {
        say(&format!("{:#}\n", first.to_json()))?;
    } else {
        show(&first)?;
    }
    if verb.once {
        stage.running.stop().await;
        return Ok(if first.succeeded() { GOOD } else { FINDINGS });
    }
    if !verb.json {
        invite(&stage, &dir)?;
    }
    let followed = follow(verb, &stage, &mut news, &mut signals).await;
    stage.running.stop().await;
    followed.map(|()| GOOD)
}

fn news_of(outcome: &ReloadOutcome) -> News {
    match outcome {
        ReloadOutcome::Applied(..) => News::Applied,
        ReloadOutcome::Unchanged => News::Kept("what is on disk is what runs again\n".to_owned()),
        ReloadOutcome::Rejected(Rejected { error, .. }) => News::Kept(format!(
            "{}{}: rejected, the old configuration keeps serving\n",
            error.diagnostics.render(&error.sources, Style::Plain),
            counted(&error.diagnostics)
        )),
        ReloadOutcome::NeedsRestart(restart) => News::Kept(format!(
            "this change needs a restart ({}); the old configuration keeps serving\n",
            restart.fields.join(", ")
        )),
    }
}

/// Plays again after every change, and shows what others ask.
async fn follow(
    verb: &Demo,
    stage: &Stage,
    news: &mut mpsc::UnboundedReceiver<News>,
    signals: &mut Signals,
) -> Result<(), u8> {
    let mut records = stage.running.gateway.audit.listen();
    let mut own = String::new();
    loop {
        tokio::select! {
            _ = signals.stop() => return Ok(()),
            Some(news) = news.recv() => {
                match news {
                    News::Kept(text) if !verb.json => say(&format!("\n{text}"))?,
                    News::Kept(text) => complain(&text),
                    News::Applied => match stage.act().await {
                        Ok(play) if verb.json => say(&format!("{:#}\n", play.to_json()))?,
                        Ok(play) => {
                            own.clone_from(&play.record.request_id);
                            say(&format!("\nthe new configuration is live; the same exchange again:\n  {}\n", line(&play.record)))?;
                            if let Some(explanation) = &play.explanation {
                                say(&indent(&explanation.render(&play.snapshot.sources, false)))?;
                            }
                        }
                        Err(error) => complain(&format!("error: {error}\n")),
                    },
                }
            }
            record = records.recv() => match record {
                Ok(record) if !verb.json && record.request_id != own => say(&format!("  {}\n", line(&record)))?,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}

fn introduce(stage: &Stage, dir: &std::path::Path) -> Result<(), u8> {
    let snapshot = stage.running.gateway.live.load();
    let realm = snapshot.first();
    let (rules, denies) = realm.policies.counts();
    say("cambist demo: one token exchange (RFC 8693), over real HTTP on this machine\n\n")?;
    let base = format!("http://{}", stage.running.address);
    for (who, at, what) in [
        (
            "identity provider (toy)",
            format!("http://{}", stage.identity_provider),
            "introspection (RFC 7662)".to_owned(),
        ),
        (
            "cambist",
            base,
            format!(
                "token endpoint {}, metadata {}",
                realm.token_path, realm.metadata_path
            ),
        ),
        (
            "cambist, admin",
            format!("http://{}", stage.running.admin),
            "/metrics /readyz?verbose /status".to_owned(),
        ),
        (
            "frontend (toy)",
            format!("http://{}", stage.frontend),
            "client `rs08`".to_owned(),
        ),
        (
            "backend (toy)",
            format!("http://{}", stage.backend),
            "verifies with /jwks".to_owned(),
        ),
        (
            "policy",
            dir.display().to_string(),
            format!("rules: {rules}, denies: {denies}"),
        ),
    ] {
        say(&format!("  ✓ {who:<24} {at:<24} {what}\n"))?;
    }
    let settings = &snapshot.settings;
    for (wanted, bound) in [
        (settings.listen, stage.running.address),
        (settings.admin.listen, stage.running.admin),
    ] {
        if wanted.port() != 0 && wanted != bound {
            say(&format!(
                "    {wanted} is taken by another process: {bound} instead\n"
            ))?;
        }
    }
    say("\n")?;
    complain_about(&snapshot.warnings, &snapshot.sources);
    Ok(())
}

fn show(play: &Play) -> Result<(), u8> {
    say("1. A user calls the frontend with a bearer token. The frontend exchanges it:\n\n")?;
    say(&quote('>', &play.transcript.request))?;
    say("\n2. Cambist answers:\n\n")?;
    say(&quote('<', &play.transcript.response))?;
    if let Some(claims) = &play.claims {
        say(&format!(
            "\n   The new token holds (only decoded here; the backend verifies it):\n\n{}\n",
            indent(&format!("{claims:#}"))
        ))?;
    }
    say("3. Why:\n\n")?;
    match &play.explanation {
        Some(explanation) => say(&indent(&explanation.render(&play.snapshot.sources, false)))?,
        None => say(&format!("   {}\n", line(&play.record)))?,
    }
    say(&format!(
        "\n4. The backend answers {} {}\n",
        play.status, play.answer
    ))?;
    say(if play.succeeded() {
        "   It accepted the new token.\n"
    } else {
        "   The frontend got nowhere.\n"
    })
}

fn invite(stage: &Stage, dir: &std::path::Path) -> Result<(), u8> {
    say(&format!(
        "\nStill serving. Edit {}/main.policy and save: what is sound goes live, what is not changes nothing.\n\
         The same request by hand:\n\n  curl -s http://{}{} -u rs08:long-secure-random-secret \\\n    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \\\n    -d resource=https://backend.example.com/api \\\n    -d subject_token={} \\\n    -d subject_token_type=urn:ietf:params:oauth:token-type:access_token\n\nWhat is asked from now on (Ctrl-C ends):\n\n",
        dir.display(),
        stage.running.address,
        stage.running.gateway.live.load().first().token_path,
        demo::toys::BEARER
    ))
}

fn quote(mark: char, text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| format!("   {mark} {line}").trim_end().to_owned() + "\n");
    lines.collect()
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("   {line}").trim_end().to_owned() + "\n")
        .collect()
}

/// One record on one line.
fn line(record: &Arc<Record>) -> String {
    let time = record.time.get(11..19).unwrap_or(&record.time);
    let pick = |value: &Option<serde_json::Value>, key: &str| {
        let text = value
            .as_ref()
            .and_then(|v| v.get(key))
            .and_then(serde_json::Value::as_str);
        text.unwrap_or("-").to_owned()
    };
    let asked = record.asked.as_ref();
    let targets: Vec<&str> = ["resource", "audience"]
        .into_iter()
        .filter_map(|key| asked?.get(key)?.as_array())
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect();
    let who = format!(
        "{}  {} → {}",
        pick(&record.client, "id"),
        pick(&record.subject, "sub"),
        targets.join(", ")
    );
    let milliseconds = format!(
        "{}.{:03} ms",
        record.duration_us / 1000,
        record.duration_us % 1000
    );
    match &record.rule {
        Some(rule) if record.outcome == "issued" => {
            format!(
                "{time}  ISSUED   {who}  by {} {}  scope `{}`  {milliseconds}",
                rule.id,
                rule.at,
                pick(&record.granted, "scope")
            )
        }
        rule => {
            let by = rule
                .as_ref()
                .map(|rule| format!("  by {} {}", rule.id, rule.at))
                .unwrap_or_default();
            let detail = record.detail.as_deref().unwrap_or_default();
            format!(
                "{time}  {}  {who}{by}  {}: {detail}  {milliseconds}  (request {})",
                record.outcome.to_uppercase(),
                record.error.unwrap_or_default(),
                record.request_id
            )
        }
    }
}
