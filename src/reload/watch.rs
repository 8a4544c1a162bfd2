//! Says that something may have changed, nothing else.
//!
//! The only file that names `notify`. Owns when to look again: after events in the directories that
//! matter, after SIGHUP, when asked, and from time to time whatever happens. Reads no file and knows
//! not what changed, so that it cannot be wrong about it: a watch on a file goes deaf at the first
//! rename over it, and an event in a directory does not bear the name of the file that changed behind
//! a link. Hence directories are watched, no event is filtered by its name, and whoever is told
//! compares contents.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// As many links in one path as Linux follows.
const MAX_LINKS: usize = 40;
/// How often directories that change while they are found are found anew.
const TRIES: usize = 4;

/// Watches the files that a load has read.
pub struct Watch {
    files: BTreeSet<PathBuf>,
    settle: Settle,
    make: Make,
    watcher: Option<RecommendedWatcher>,
    /// Each watched directory, links resolved, and which one it was.
    watched: BTreeMap<PathBuf, Option<Identity>>,
    state: WatchState,
    events: Arc<Notify>,
    asked: Arc<Notify>,
    hangup: Option<Signal>,
    pending: Option<Pending>,
    next_poll: Instant,
}

/// Something may have changed, and why we think so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    /// Something happened in a directory that matters.
    Files,
    /// Time to look, for what brings no events: network file systems, lost events.
    Poll,
    /// SIGHUP.
    Signal,
    /// Somebody asked.
    Asked,
}

/// When to tell.
#[derive(Clone, Copy, Debug)]
pub struct Settle {
    /// How long it must have been quiet after an event.
    pub quiet: Duration,
    /// But not longer than this after the first.
    pub max_wait: Duration,
    /// How long to go without looking.
    pub poll: Duration,
}

impl Default for Settle {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(500),
            max_wait: Duration::from_secs(3),
            poll: Duration::from_secs(30),
        }
    }
}

/// Whether changes are seen as they happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchState {
    /// They are.
    Events,
    /// Not all of them before the next poll.
    PollOnly {
        /// What is in the way.
        why: String,
    },
}

impl Watch {
    /// Watches `files`, every one as it was opened, links and all; a directory among them is watched
    /// for what comes and goes in it. Where events cannot be had, the polls go on. To be called
    /// within a runtime; from then on SIGHUP no longer ends the process. `asked` makes it look at once; asking
    /// several times before that is asking once.
    #[must_use]
    pub fn start(files: &BTreeSet<PathBuf>, settle: Settle, asked: Arc<Notify>) -> Self {
        let hangup = signal(SignalKind::hangup());
        if let Err(error) = &hangup {
            tracing::warn!(%error, "SIGHUP will not reload");
        }
        Self::start_with(files, settle, make, hangup.ok(), asked)
    }

    /// Watches these files from now on.
    pub fn update(&mut self, files: &BTreeSet<PathBuf>) {
        self.files.clone_from(files);
        self.rewatch();
    }

    /// Whether changes are seen as they happen.
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.state.clone()
    }

    /// Waits until something may have changed. Nothing is lost when this is given up and called anew,
    /// nor what happens between two calls.
    pub async fn next(&mut self) -> Hint {
        let hint = loop {
            let settled = self.pending.map(|pending| pending.settled(&self.settle));
            // What is being written is not looked at before it has settled, not even by a poll.
            let wake = settled.unwrap_or(self.next_poll);
            tokio::select! {
                biased;
                () = self.asked.notified() => break Hint::Asked,
                () = hung_up(&mut self.hangup) => break Hint::Signal,
                () = sleep_until(wake) => {
                    // Where something is always being written, the poll comes when it pauses.
                    let due = Instant::now() >= self.next_poll;
                    let settled = self.pending.take().is_some();
                    break if settled && !due { Hint::Files } else { Hint::Poll };
                }
                () = self.events.notified() => {
                    let now = Instant::now();
                    let first = self.pending.map_or(now, |pending| pending.first);
                    self.pending = Some(Pending { first, last: now });
                }
            }
        };
        // Before the caller looks: what changes after that, the new watches see.
        self.rewatch();
        // Events may be about nothing that matters: they do not put the poll off.
        if hint != Hint::Files {
            self.next_poll = Instant::now() + self.settle.poll;
        }
        hint
    }

    fn start_with(
        files: &BTreeSet<PathBuf>,
        settle: Settle,
        make: Make,
        hangup: Option<Signal>,
        asked: Arc<Notify>,
    ) -> Self {
        let mut watch = Self {
            files: files.clone(),
            settle,
            make,
            watcher: None,
            watched: BTreeMap::new(),
            state: WatchState::Events,
            events: Arc::new(Notify::new()),
            asked,
            hangup,
            pending: None,
            next_poll: Instant::now() + settle.poll,
        };
        watch.rewatch();
        watch
    }

    /// Finds the directories anew and watches them, all of them: the watch of a directory that was
    /// replaced has died, and may have died without our noticing.
    fn rewatch(&mut self) {
        let state = match self.try_rewatch() {
            Ok(()) => WatchState::Events,
            Err(why) => WatchState::PollOnly { why },
        };
        if state != self.state {
            match &state {
                WatchState::Events => {
                    tracing::info!("changes of files are seen as they happen again")
                }
                WatchState::PollOnly { why } => {
                    tracing::warn!(
                        why,
                        "changes of files are only seen by looking from time to time"
                    );
                }
            }
            self.state = state;
        }
    }

    fn try_rewatch(&mut self) -> Result<(), String> {
        if self.watcher.is_none() {
            let made = (self.make)(&self.events).map_err(|error| error.to_string())?;
            self.watcher = Some(made);
        }
        let mut result = Ok(());
        for _ in 0..TRIES {
            result = self.apply(self.wanted());
            // What was found may have been replaced before it was watched.
            if self.wanted() == self.watched {
                break;
            }
        }
        result
    }

    fn wanted(&self) -> BTreeMap<PathBuf, Option<Identity>> {
        let found: BTreeSet<_> = self
            .files
            .iter()
            .flat_map(|file| directories(file))
            .collect();
        found
            .into_iter()
            .map(|directory| (directory.clone(), identity(&directory)))
            .collect()
    }

    fn apply(&mut self, wanted: BTreeMap<PathBuf, Option<Identity>>) -> Result<(), String> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(());
        };
        for (directory, identity) in &self.watched {
            if wanted.get(directory) != Some(identity) {
                // It is an error where the watch died with the directory.
                let _ = watcher.unwatch(directory);
            }
        }
        let mut result = Ok(());
        for directory in wanted.keys() {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                result = Err(format!("{}: {error}", directory.display()));
            }
        }
        self.watched = wanted;
        result
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("state", &self.state)
            .field("watched", &self.watched)
            .finish_non_exhaustive()
    }
}

type Make = fn(&Arc<Notify>) -> notify::Result<RecommendedWatcher>;

/// Device and inode.
type Identity = (u64, u64);

/// Events that were not told yet.
#[derive(Clone, Copy)]
struct Pending {
    first: Instant,
    last: Instant,
}

impl Pending {
    fn settled(&self, settle: &Settle) -> Instant {
        (self.last + settle.quiet).min(self.first + settle.max_wait)
    }
}

fn make(events: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let events = Arc::clone(events);
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error, too, may hide a change.
        if event.map_or(true, |event| may_change(event.kind)) {
            events.notify_one();
        }
    })
}

/// Our own reading must not make us read again.
fn may_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

async fn hung_up(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

fn identity(directory: &Path) -> Option<Identity> {
    fs::metadata(directory)
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Every directory in which something can happen that makes `path` lead elsewhere or to something
/// else: the one of each link on the way, and the one of what it finally leads to. Where the way ends
/// early, the last directory on it. None of them contains a link, so that each is named in one way
/// only: watches are kept by directory, not by name.
fn directories(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(path) = std::path::absolute(path) else {
        return found;
    };
    let mut here = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = names(&path).collect();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let there = here.join(&name);
        let Ok(metadata) = fs::symlink_metadata(&there) else {
            found.push(here);
            return found;
        };
        if metadata.is_symlink() {
            found.push(here.clone());
            links += 1;
            let Ok(target) = fs::read_link(&there) else {
                return found;
            };
            if links > MAX_LINKS {
                return found;
            }
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                rest.push_front(name);
            }
        } else if metadata.is_dir() {
            if rest.is_empty() {
                found.push(here.clone());
            }
            here = there;
        } else {
            break;
        }
    }
    found.push(here);
    found
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    const GUARD: Duration = Duration::from_secs(10);
    const HOUR: Duration = Duration::from_secs(3600);
    const QUICK: Settle = Settle {
        quiet: Duration::from_millis(20),
        max_wait: Duration::from_millis(200),
        poll: HOUR,
    };

    struct Room {
        // Deleted at the end.
        _directory: TempDir,
        path: PathBuf,
    }

    impl Room {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().canonicalize().unwrap();
            Self {
                _directory: directory,
                path,
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.path.join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        /// What the kubelet does: a new directory, a new link over the old one, the old directory gone.
        fn publish(&self, version: &str, old: Option<&str>) {
            fs::create_dir(self.path(version)).unwrap();
            self.write(&format!("{version}/p.yaml"), version);
            symlink(version, self.path("..data_tmp")).unwrap();
            fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
            if let Some(old) = old {
                fs::remove_dir_all(self.path(old)).unwrap();
            }
        }
    }

    /// Without SIGHUP, which another test sends to this process.
    fn watch(files: &[PathBuf], settle: Settle) -> Watch {
        let files = files.iter().cloned().collect();
        let watch = Watch::start_with(&files, settle, make, None, Arc::default());
        assert_eq!(watch.state(), WatchState::Events);
        watch
    }

    async fn hint(watch: &mut Watch) -> Hint {
        timeout(GUARD, watch.next()).await.expect("no hint")
    }

    /// Until the last event of what was done so far has come.
    async fn quiet(watch: &mut Watch) {
        while timeout(Duration::from_millis(150), watch.next())
            .await
            .is_ok()
        {}
    }

    async fn nothing(watch: &mut Watch) {
        let bounded = timeout(Duration::from_millis(150), watch.next()).await;
        assert!(bounded.is_err(), "{bounded:?}");
    }

    #[tokio::test]
    async fn a_write_is_seen_and_reading_is_not() {
        let room = Room::new();
        room.write("a", "1");
        let mut watch = watch(&[room.path("a")], QUICK);
        for _ in 0..2 {
            room.write("a", "2");
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
            assert_eq!(fs::read(room.path("a")).unwrap(), b"2");
            assert_eq!(fs::read_dir(&room.path).unwrap().count(), 1);
            nothing(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn a_file_renamed_over_is_seen_every_time() {
        let room = Room::new();
        room.write("a", "1");
        let mut watch = watch(&[room.path("a")], QUICK);
        for text in ["2", "3", "4"] {
            room.write("a.tmp", text);
            fs::rename(room.path("a.tmp"), room.path("a")).unwrap();
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn a_config_map_is_seen_every_time() {
        let room = Room::new();
        room.publish("..1", None);
        symlink("..data/p.yaml", room.path("p.yaml")).unwrap();
        let mut watch = watch(&[room.path("p.yaml")], QUICK);
        for (old, new) in [("..1", "..2"), ("..2", "..3"), ("..3", "..4")] {
            room.publish(new, Some(old));
            assert_eq!(hint(&mut watch).await, Hint::Files);
            assert_eq!(fs::read_to_string(room.path("p.yaml")).unwrap(), new);
            quiet(&mut watch).await;
            // The directory that is live now is watched as well.
            room.write(&format!("{new}/p.yaml"), "by hand");
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn a_directory_that_vanished_and_came_back_is_watched_again() {
        let room = Room::new();
        let recreate = || {
            fs::create_dir(room.path("d")).unwrap();
            room.write("d/a", "1");
        };
        recreate();
        let mut watch = watch(&[room.path("d/a")], QUICK);
        for _ in 0..3 {
            fs::remove_dir_all(room.path("d")).unwrap();
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
            recreate();
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
            room.write("d/a", "2");
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
            // At once, so that both fall into one hint.
            fs::remove_dir_all(room.path("d")).unwrap();
            recreate();
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
            // Replaced by another.
            fs::rename(room.path("d"), room.path("old")).unwrap();
            recreate();
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
            fs::remove_dir_all(room.path("old")).unwrap();
            quiet(&mut watch).await;
            room.write("d/a", "3");
            assert_eq!(hint(&mut watch).await, Hint::Files);
            quiet(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn links_are_followed_to_every_directory_they_pass() {
        let room = Room::new();
        for directory in ["x", "y", "z", "w"] {
            fs::create_dir(room.path(directory)).unwrap();
        }
        room.write("z/real", "1");
        symlink("../z/real", room.path("y/link")).unwrap();
        symlink(room.path("y/link"), room.path("x/link")).unwrap();
        symlink("x", room.path("current")).unwrap();
        let found = directories(&room.path("current/./../current/link"));
        let expected = ["", "", "x", "y", "z"].map(|name| room.path.join(name));
        assert_eq!(found, expected);
        assert_eq!(directories(&room.path("z/missing/deep")), [room.path("z")]);
        assert_eq!(directories(&room.path("z/real/deep")), [room.path("z")]);
        assert_eq!(
            directories(&room.path("w")),
            [room.path.clone(), room.path("w")]
        );
        symlink("loop", room.path("loop")).unwrap();
        assert_eq!(directories(&room.path("loop")).len(), MAX_LINKS + 1);

        let mut watch = watch(&[room.path("current/link")], QUICK);
        for name in ["new", "x/new", "y/new", "z/new"] {
            room.write(name, "");
            assert_eq!(hint(&mut watch).await, Hint::Files, "{name}");
            quiet(&mut watch).await;
        }
        room.write("w/new", "");
        nothing(&mut watch).await;
        watch.update(&BTreeSet::from([room.path("w/new")]));
        room.write("z/new", "");
        nothing(&mut watch).await;
        room.write("w/new", "");
        assert_eq!(hint(&mut watch).await, Hint::Files);
    }

    #[tokio::test]
    async fn a_storm_is_told_of_before_it_ends() {
        let room = Room::new();
        let settle = Settle {
            quiet: HOUR,
            ..QUICK
        };
        let mut watch = watch(&[room.path("a")], settle);
        room.write("a", "");
        // Given up and called anew.
        for _ in 0..3 {
            let _ = timeout(Duration::from_millis(10), watch.next()).await;
        }
        assert_eq!(hint(&mut watch).await, Hint::Files);
    }

    #[tokio::test]
    async fn asking_and_sighup_are_answered_at_once() {
        let room = Room::new();
        let settle = Settle {
            quiet: HOUR,
            max_wait: HOUR,
            poll: HOUR,
        };
        let mut watch = Watch::start(&BTreeSet::from([room.path("a")]), settle, Arc::default());
        let asked = Arc::clone(&watch.asked);
        room.write("a", "");
        asked.notify_one();
        asked.notify_one();
        assert_eq!(hint(&mut watch).await, Hint::Asked);
        nothing(&mut watch).await;
        let process = std::process::id().to_string();
        assert!(
            Command::new("kill")
                .args(["-HUP", &process])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(hint(&mut watch).await, Hint::Signal);
    }

    #[tokio::test]
    async fn without_events_the_polls_go_on_until_there_are_events() {
        let room = Room::new();
        let settle = Settle {
            poll: Duration::from_millis(20),
            ..QUICK
        };
        let none: Make = |_| Err(notify::Error::generic("too many open files"));
        let mut watch = Watch::start_with(
            &BTreeSet::from([room.path("a")]),
            settle,
            none,
            None,
            Arc::default(),
        );
        for _ in 0..3 {
            assert_eq!(
                watch.state(),
                WatchState::PollOnly {
                    why: "too many open files".to_owned()
                }
            );
            assert_eq!(hint(&mut watch).await, Hint::Poll);
        }
        watch.make = make;
        assert_eq!(hint(&mut watch).await, Hint::Poll);
        assert_eq!(watch.state(), WatchState::Events);
        watch.settle.poll = HOUR;
        assert_eq!(hint(&mut watch).await, Hint::Poll);
        room.write("a", "");
        assert_eq!(hint(&mut watch).await, Hint::Files);
    }

    #[tokio::test]
    async fn events_that_never_end_do_not_put_the_poll_off() {
        let room = Room::new();
        room.write("a.policy", "1");
        let settle = Settle {
            poll: Duration::from_millis(300),
            ..QUICK
        };
        let mut watch = Watch::start(&[room.path("a.policy")].into(), settle, Arc::default());
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let path = room.path("audit.jsonl");
        let writer = std::thread::spawn(move || {
            while stopped.try_recv().is_err() {
                fs::write(&path, "{}").unwrap();
            }
        });
        let polled = timeout(GUARD, async { while watch.next().await != Hint::Poll {} });
        let polled = polled.await;
        stop.send(()).unwrap();
        writer.join().unwrap();
        assert!(polled.is_ok(), "the poll never came");
    }
}
