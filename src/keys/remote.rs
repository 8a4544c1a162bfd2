//! Keys that are fetched: what is held, who may wait for what, and one fetch at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::document::{Document, Fetched, fetch};
use super::pace::{Budget, wait};
use super::{FetchError, KeysError, Location, jittered};
use crate::clock::Clock;
use crate::jose::{Algorithm, Header, KeySet, SkippedKey};
use crate::metrics::{Metrics, Upstream};
use crate::net::{Endpoint, Limits, Net, NetError};
use crate::oauth::id::RealmName;
use crate::services::Services;
use crate::swap::Swap;
use crate::trace;

/// The largest document: a thousand RSA keys would fit.
const MAX_BODY: usize = 512 * 1024;
/// How many of the keys that are not used a log line names, and how much of each name it has.
const NAMED: usize = 3;
const SHORT: usize = 32;
/// However short its owner says that a set is good for, it is good for this long.
const LEAST_FRESH: Duration = Duration::from_secs(60);

/// Whose keys they are, where they are, and how they are kept. A reload keeps what was fetched where these
/// are the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The realm that they are for.
    pub realm: RealmName,
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
    upstream: Upstream,
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
    /// What is held came another way out, by other roots or to other addresses, and this one has brought
    /// nothing yet.
    on_trial: bool,
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

/// What one look found.
#[derive(Clone, Debug)]
pub struct Look {
    /// Where the keys are.
    pub from: Endpoint,
    /// Those that can be used.
    pub keys: KeySet,
    /// Those that cannot, and why.
    pub skipped: Vec<SkippedKey>,
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
            on_trial: false,
        };
        let Settings { realm, owner, .. } = &settings;
        Self {
            upstream: services.metrics.upstream(realm, "keys", owner),
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
    /// the same place, to be kept otherwise or fetched another way from now on, is at hand until it has been
    /// fetched anew, which is due at once: a change of a time or of a root must not be an outage. But where it
    /// turns out that the new way does not lead there, what was brought the old way goes.
    pub fn kept<'a>(
        settings: Settings,
        services: &Services,
        known: impl IntoIterator<Item = &'a Arc<Self>>,
    ) -> Arc<Self> {
        let same_keys = |remote: &&Arc<Self>| {
            remote.settings.realm == settings.realm
                && remote.settings.owner == settings.owner
                && remote.settings.location == settings.location
                && remote.settings.algorithms == settings.algorithms
        };
        let same_way = |remote: &Self| remote.net.outbound() == services.net.outbound();
        match known.into_iter().find(same_keys) {
            Some(remote) if remote.settings == settings && same_way(remote) => Arc::clone(remote),
            Some(remote) => {
                let new = Self::new(settings, services);
                new.state().on_trial = !same_way(remote) || remote.state().on_trial;
                new.held.store(remote.held.load());
                Arc::new(new)
            }
            None => Arc::new(Self::new(settings, services)),
        }
    }

    /// Looks at the keys once, as they are now, and keeps nothing: for whoever wants to know whether they can be
    /// had.
    ///
    /// # Errors
    /// Why they cannot.
    pub async fn look(&self) -> Result<Look, FetchError> {
        let Settings {
            location,
            algorithms,
            ..
        } = &self.settings;
        let limits = self.limits();
        let fetched = fetch(
            &self.net,
            &self.upstream,
            location,
            algorithms,
            &limits,
            None,
        );
        match fetched.await? {
            Fetched::New(document) => Ok(Look {
                from: document.from,
                keys: document.keys,
                skipped: document.skipped,
            }),
            // Nobody said what is here already.
            Fetched::Unchanged(_) => Err(FetchError::Status(304)),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            timeout: self.settings.times.timeout,
            max_body: MAX_BODY,
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
        let work = async move {
            let mut landing = landing;
            let remote = &landing.remote;
            let held = remote.held.load();
            let limits = remote.limits();
            let fetched = fetch(
                &remote.net,
                &remote.upstream,
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
        };
        tokio::spawn(trace::detached(&self.upstream, work));
        flight
    }

    fn land(&self, result: Result<Fetched, FetchError>, answers: Option<u64>) {
        let now = self.clock.elapsed();
        let (realm, owner) = (&self.settings.realm, &*self.settings.owner);
        let word = match &result {
            Ok(Fetched::New(_)) => "fetched",
            Ok(Fetched::Unchanged(_)) => "unchanged",
            Err(error) => error.reason(),
        };
        self.metrics.jwks_fetch(realm, owner, word);
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
        if known != Some(&document.skipped) && !document.skipped.is_empty() {
            let (count, first) = (document.skipped.len(), named(&document.skipped));
            tracing::warn!(%realm, owner, count, first, "keys are not used");
        }
        let fresh = document.max_age.unwrap_or(self.settings.times.refresh);
        let fresh = fresh.max(LEAST_FRESH).min(self.settings.times.refresh);
        self.held.store(Arc::new(Some(Held {
            document,
            seen: now,
        })));
        let mut state = self.state();
        if state.failures > 0 {
            tracing::info!(%realm, owner, "the keys can be fetched again");
        }
        state.failures = 0;
        state.last_error = None;
        state.on_trial = false;
        state.answered = answers.unwrap_or(state.answered);
        state.due = now + jittered(fresh, 0.75);
        drop(state);
        self.measure();
    }

    fn failed(&self, now: Duration, error: FetchError) {
        let mut state = self.state();
        let misled = matches!(
            error,
            FetchError::Net(NetError::Tls(_) | NetError::Forbidden)
        );
        if state.on_trial && misled {
            self.held.store(Arc::new(None));
        }
        let usable = self.usable().is_some();
        state.failures = state.failures.saturating_add(1);
        state.due = now + wait(state.failures, usable);
        let known = state.last_error.as_ref().map(FetchError::reason);
        if known != Some(error.reason()) {
            let Settings {
                realm,
                owner,
                location: from,
                ..
            } = &self.settings;
            let meanwhile = match (usable, self.held.load().is_some()) {
                (true, _) => "what is here is used",
                (false, true) => "what is here is too old to be used",
                (false, false) => "there are none yet",
            };
            tracing::warn!(%realm, owner = &**owner, %from, %error, "the keys cannot be fetched; {meanwhile}");
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
        let (realm, owner) = (&self.settings.realm, &self.settings.owner);
        self.metrics
            .jwks_state(realm, owner, keys, report.skipped, age);
    }

    /// Somebody uses these keys, perhaps again.
    pub(super) fn remember(&self) {
        self.forgotten.store(false, Ordering::SeqCst);
    }

    /// Nobody uses these keys any more. The gauges go too, unless they are `another`'s now.
    pub(super) fn forget(&self, another: bool) {
        self.forgotten.store(true, Ordering::SeqCst);
        if !another {
            let (realm, owner) = (&self.settings.realm, &self.settings.owner);
            self.metrics.jwks_forget(realm, owner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first few of the keys that are not used, by name or place, and why.
fn named(skipped: &[SkippedKey]) -> String {
    let named = skipped.iter().take(NAMED).map(|key| {
        let kid = key
            .kid
            .as_ref()
            .map(|kid| match kid.char_indices().nth(SHORT) {
                Some((end, _)) => format!("{}…", kid.get(..end).unwrap_or_default()),
                None => kid.clone(),
            });
        let name = kid.unwrap_or_else(|| format!("#{}", key.index));
        format!("{name} ({})", key.reason)
    });
    named.collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::oauth::NumericDate;

    /// Where a test's log lines go.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// One line for each kind of failure, not for each failure; it says what that means for tokens.
    #[test]
    fn a_failure_is_logged_when_its_kind_changes() {
        let clock = Clock::fixed(NumericDate(1_000_000));
        let services = Services::new(clock.clone()).unwrap();
        let minute = Duration::from_secs(60);
        let settings = Settings {
            realm: RealmName::default(),
            owner: Arc::from("idp"),
            location: Location::Jwks("https://idp.example.com/jwks".parse().unwrap()),
            algorithms: Vec::new(),
            times: Times {
                refresh: minute,
                max_stale: minute,
                timeout: minute,
                miss_interval: minute,
            },
        };
        let remote = Remote::new(settings, &services);
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let said = || {
            let bytes = std::mem::take(&mut *lines.0.lock().unwrap());
            String::from_utf8(bytes).unwrap()
        };
        tracing::subscriber::with_default(log, || {
            let fail = |status| remote.land(Err(FetchError::Status(status)), None);
            fail(500);
            assert!(said().contains("there are none yet"));
            fail(502);
            assert_eq!(said(), "");
            remote.land(Err(NetError::Timeout.into()), None);
            assert_eq!(said().lines().count(), 1);

            let key = crate::jose::SigningKey::generate(Algorithm::ES256).unwrap();
            let mut keys = vec![key.public_jwk()];
            keys.extend((0..40).map(|n| serde_json::json!({ "kty": "oct", "kid": n.to_string() })));
            let set = serde_json::json!({ "keys": keys });
            let (keys, skipped) = KeySet::from_jwks_value(&set, &[]).unwrap();
            let document = Document {
                keys,
                skipped,
                from: "https://idp.example.com/jwks".parse().unwrap(),
                etag: None,
                max_age: None,
            };
            remote.land(Ok(Fetched::New(document.clone())), None);
            let lines = said();
            assert_eq!(lines.matches("keys are not used").count(), 1, "{lines}");
            assert!(lines.contains("count=40"), "{lines}");
            remote.land(Ok(Fetched::New(document)), None);
            assert_eq!(said(), "");

            fail(500);
            assert!(said().contains("what is here is used"));
            clock.set(NumericDate(1_000_000 + 61));
            fail(302);
            assert!(said().contains("too old to be used"));
        });
    }

    #[test]
    fn a_log_line_names_a_few_keys_and_no_more() {
        let key = |index, kid: Option<&str>| SkippedKey {
            index,
            kid: kid.map(str::to_owned),
            reason: "symmetric",
        };
        let long = "é".repeat(200);
        let mut keys = vec![key(0, Some("a")), key(1, None), key(2, Some(&long))];
        keys.extend((3..500).map(|index| key(index, Some("more"))));
        let shortened = "é".repeat(SHORT);
        assert_eq!(
            named(&keys),
            format!("a (symmetric), #1 (symmetric), {shortened}… (symmetric)")
        );
        assert_eq!(named(&[]), "");
    }
}
