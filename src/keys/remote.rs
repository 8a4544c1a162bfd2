//! Keys that are fetched: what is held, who may wait for what, and one fetch at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::document::{Document, Fetched, fetch};
use super::pace::{Budget, wait};
use super::{FetchError, KeysError, Location, jittered};
use crate::clock::Clock;
use crate::jose::{Algorithm, Header, KeySet};
use crate::metrics::Metrics;
use crate::net::{Limits, Net};
use crate::services::Services;
use crate::swap::Swap;

/// The largest document: a thousand RSA keys would fit.
const MAX_BODY: usize = 512 * 1024;
/// However short its owner says that a set is good for, it is good for this long.
const LEAST_FRESH: Duration = Duration::from_secs(60);

/// Whose keys they are, where they are, and how they are kept. A reload keeps what was fetched where these
/// are the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Whose they are, for logs and metrics: a name of the configuration.
    pub owner: Arc<str>,
    /// Where they are.
    pub location: Location,
    /// The algorithms that their owner may sign with; none means all.
    pub algorithms: Vec<Algorithm>,
    /// How they are kept.
    pub times: Times,
}

/// How fetched keys are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// How long a set is good for at most before it is looked at again.
    pub refresh: Duration,
    /// How long a set is used while it cannot be looked at.
    pub max_stale: Duration,
    /// How long one look may take.
    pub timeout: Duration,
    /// How often unknown `kid`s may cause a look, after the first ones.
    pub miss_interval: Duration,
}

/// Keys that are fetched.
pub struct Remote {
    settings: Settings,
    net: Net,
    clock: Clock,
    metrics: Metrics,
    held: Swap<Option<Held>>,
    state: Mutex<State>,
    /// Nobody uses these keys any more; what still lands says nothing.
    forgotten: AtomicBool,
}

/// What was fetched last.
#[derive(Clone)]
struct Held {
    document: Document,
    /// When it was last found to be good.
    seen: Duration,
}

struct State {
    /// Ends when the fetch that is under way does.
    flight: Option<watch::Receiver<()>>,
    /// How many were begun.
    begun: u64,
    /// Which was the last one that brought what the owner has at that time, by no cache's word.
    answered: u64,
    /// When to look again, on our own account.
    due: Duration,
    failures: u32,
    last_error: Option<FetchError>,
    budget: Budget,
}

/// How it stands with somebody's keys, for people and probes.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether a token could be verified now.
    pub usable: bool,
    /// How many keys there are.
    pub keys: usize,
    /// How many keys of the set are not used.
    pub skipped: usize,
    /// How long ago the set was last found to be good; `None` where there never was one.
    pub age: Option<Duration>,
    /// Why the last look failed, where it did.
    pub error: Option<FetchError>,
}

/// What somebody who lacks a key may do.
enum Turn {
    /// A fetch is under way.
    Fly(watch::Receiver<()>),
    /// Not now.
    Denied,
}

impl Remote {
    /// Keys of which nothing is known yet. Fetches nothing.
    #[must_use]
    pub fn new(settings: Settings, services: &Services) -> Self {
        let state = State {
            flight: None,
            begun: 0,
            answered: 0,
            due: Duration::ZERO,
            failures: 0,
            last_error: None,
            budget: Budget::new(settings.times.miss_interval),
        };
        Self {
            settings,
            net: services.net.clone(),
            clock: services.clock.clone(),
            metrics: services.metrics.clone(),
            held: Swap::new(None),
            state: Mutex::new(state),
            forgotten: AtomicBool::new(false),
        }
    }

    /// The one among `known` with these settings and the same way out, or a new one. What was fetched from
    /// the same place, to be kept otherwise from now on, is at hand until it has been fetched anew: a change
    /// of a time must not be an outage.
    pub fn kept<'a>(
        settings: Settings,
        services: &Services,
        known: impl IntoIterator<Item = &'a Arc<Self>>,
    ) -> Arc<Self> {
        let same_keys = |remote: &&Arc<Self>| {
            remote.settings.owner == settings.owner
                && remote.settings.location == settings.location
                && remote.settings.algorithms == settings.algorithms
                && remote.net.outbound() == services.net.outbound()
        };
        match known.into_iter().find(same_keys) {
            Some(remote) if remote.settings == settings => Arc::clone(remote),
            Some(remote) => {
                let new = Self::new(settings, services);
                new.held.store(remote.held.load());
                Arc::new(new)
            }
            None => Arc::new(Self::new(settings, services)),
        }
    }

    /// Whose keys they are, and how they are kept.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// See [`KeySource::find`](super::KeySource::find).
    pub(super) async fn find(self: &Arc<Self>, header: &Header) -> Result<KeySet, KeysError> {
        if let Some(keys) = self.enough(header) {
            self.refresh_if_due();
            return Ok(keys);
        }
        let came = self.state().begun;
        // Whoever waits goes on when the time of one fetch is over, however many it would take.
        let waiting = self.wait_for(header, came);
        let _ = tokio::time::timeout(self.settings.times.timeout, waiting).await;
        if let Some(keys) = self.enough(header) {
            return Ok(keys);
        }
        let (usable, state) = (self.usable(), self.state());
        match (usable, &state.last_error) {
            // INVARIANT: its owner was asked after the token came, and does not have it. Only then is the
            // token at fault: in a flood of forged ones a good one is not told that it is bad.
            (Some(keys), _) if state.answered > came => Ok(keys),
            (_, Some(error)) => Err(KeysError::Fetch(error.clone())),
            (_, None) => Err(KeysError::NotYet),
        }
    }

    /// Waits for the fetch that is under way, and for one more if that one began too early to know.
    async fn wait_for(self: &Arc<Self>, header: &Header, came: u64) {
        loop {
            match self.turn() {
                Turn::Fly(flight) => landed(flight).await,
                Turn::Denied => return,
            }
            if self.state().answered > came || self.enough(header).is_some() {
                return;
            }
        }
    }

    /// The set, if it is usable and no other could be better for this token.
    fn enough(&self, header: &Header) -> Option<KeySet> {
        let held = self.held.load();
        let held = held.as_ref().as_ref();
        let held = held.filter(|held| self.is_usable(held))?;
        let (keys, skipped) = (&held.document.keys, &held.document.skipped);
        // No fetch cures a key that its owner may not use, nor one that is of no use as it is published.
        let said = &self.settings.algorithms;
        let curable = (said.is_empty() || said.contains(&header.alg))
            && !skipped
                .iter()
                .any(|key| key.kid.is_some() && key.kid == header.kid);
        (!curable || !keys.lacks(header)).then(|| keys.clone())
    }

    fn turn(self: &Arc<Self>) -> Turn {
        let now = self.clock.elapsed();
        let usable = self.usable().is_some();
        let mut state = self.state();
        if let Some(flight) = &state.flight {
            return Turn::Fly(flight.clone());
        }
        let after_failure = state.failures > 0 && now < state.due;
        if after_failure || (usable && !state.budget.take(now)) {
            return Turn::Denied;
        }
        Turn::Fly(self.begin(&mut state, true))
    }

    /// Looks at the keys if it is time, without waiting for it.
    pub(super) fn refresh_if_due(self: &Arc<Self>) {
        let now = self.clock.elapsed();
        let mut state = self.state();
        if state.flight.is_none() && now >= state.due {
            self.begin(&mut state, false);
        }
    }

    /// Begins a fetch, in a task of its own: whoever began it may go away, and it still lands. `anew` asks
    /// for what the owner has now, whatever is here and in caches on the way.
    fn begin(self: &Arc<Self>, state: &mut State, anew: bool) -> watch::Receiver<()> {
        let anew = anew || self.held.load().is_none();
        let (end, flight) = watch::channel(());
        state.flight = Some(flight.clone());
        state.begun += 1;
        let landing = Landing {
            remote: Arc::clone(self),
            result: None,
            answers: anew.then_some(state.begun),
            end,
        };
        tokio::spawn(async move {
            let mut landing = landing;
            let remote = &landing.remote;
            let held = remote.held.load();
            let limits = Limits {
                timeout: remote.settings.times.timeout,
                max_body: MAX_BODY,
            };
            let fetched = fetch(
                &remote.net,
                &remote.settings.location,
                &remote.settings.algorithms,
                &limits,
                held.as_ref()
                    .as_ref()
                    .filter(|_| !anew)
                    .map(|held| &held.document),
            );
            let fetched = fetched.await;
            landing.result = Some(fetched);
        });
        flight
    }

    fn land(&self, result: Result<Fetched, FetchError>, answers: Option<u64>) {
        let now = self.clock.elapsed();
        let owner = &*self.settings.owner;
        let word = match &result {
            Ok(Fetched::New(_)) => "fetched",
            Ok(Fetched::Unchanged(_)) => "unchanged",
            Err(error) => error.reason(),
        };
        self.metrics.jwks_fetch(owner, word);
        let before = self.held.load();
        let before = before.as_ref().as_ref();
        let document = match result {
            Ok(Fetched::New(document)) => Some(document),
            Ok(Fetched::Unchanged(max_age)) => before.map(|held| Document {
                max_age,
                ..held.document.clone()
            }),
            Err(error) => return self.failed(now, error),
        };
        let Some(document) = document else {
            return self.failed(now, FetchError::Unfinished);
        };
        let known = before.map(|held| &held.document.skipped);
        if known != Some(&document.skipped) {
            for key in &document.skipped {
                let (kid, reason) = (key.kid.as_deref().unwrap_or(""), key.reason);
                tracing::warn!(owner, index = key.index, kid, reason, "a key is not used");
            }
        }
        let fresh = document.max_age.unwrap_or(self.settings.times.refresh);
        let fresh = fresh.max(LEAST_FRESH).min(self.settings.times.refresh);
        self.held.store(Arc::new(Some(Held {
            document,
            seen: now,
        })));
        let mut state = self.state();
        if state.failures > 0 {
            tracing::info!(owner, "the keys can be fetched again");
        }
        state.failures = 0;
        state.last_error = None;
        state.answered = answers.unwrap_or(state.answered);
        state.due = now + jittered(fresh, 0.75);
        drop(state);
        self.measure();
    }

    fn failed(&self, now: Duration, error: FetchError) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        state.due = now + wait(state.failures);
        if state.failures == 1 {
            let (owner, from) = (&*self.settings.owner, self.settings.location.to_string());
            tracing::warn!(owner, from, %error, "the keys cannot be fetched; what is here is used");
        }
        state.last_error = Some(error);
        drop(state);
        self.measure();
    }

    /// The set, unless it is too old to be used.
    pub(super) fn usable(&self) -> Option<KeySet> {
        let held = self.held.load();
        let held = held.as_ref().as_ref();
        let held = held.filter(|held| self.is_usable(held))?;
        Some(held.document.keys.clone())
    }

    fn is_usable(&self, held: &Held) -> bool {
        self.clock.elapsed().saturating_sub(held.seen) <= self.settings.times.max_stale
    }

    /// How it stands.
    #[must_use]
    pub fn report(&self) -> Report {
        let held = self.held.load();
        let held = held.as_ref().as_ref();
        Report {
            usable: self.usable().is_some(),
            keys: held.map_or(0, |held| held.document.keys.keys().len()),
            skipped: held.map_or(0, |held| held.document.skipped.len()),
            age: held.map(|held| self.clock.elapsed().saturating_sub(held.seen)),
            error: self.state().last_error.clone(),
        }
    }

    /// Makes the gauges say how it stands.
    pub(super) fn measure(&self) {
        if self.forgotten.load(Ordering::SeqCst) {
            return;
        }
        let report = self.report();
        let keys = if report.usable { report.keys } else { 0 };
        let age = report.age.map(|age| age.as_secs_f64());
        self.metrics
            .jwks_state(&self.settings.owner, keys, report.skipped, age);
    }

    /// Nobody uses these keys any more. The gauges go too, unless they are `another`'s now.
    pub(super) fn forget(&self, another: bool) {
        self.forgotten.store(true, Ordering::SeqCst);
        if !another {
            self.metrics.jwks_forget(&self.settings.owner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a fetch has ended, however it ended.
async fn landed(mut flight: watch::Receiver<()>) {
    // Nothing is ever sent: the other half is dropped.
    let _ = flight.changed().await;
}

/// Ends a fetch also where its task is dropped or panics: first what it brought is in place, then nobody
/// finds it under way, then whoever waits goes on.
struct Landing {
    remote: Arc<Remote>,
    result: Option<Result<Fetched, FetchError>>,
    /// Its number, where it brings what the owner has now.
    answers: Option<u64>,
    end: watch::Sender<()>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let result = self.result.take();
        self.remote
            .land(result.unwrap_or(Err(FetchError::Unfinished)), self.answers);
        self.remote.state().flight = None;
        let _ = self.end.send(());
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("settings", &self.settings)
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}
