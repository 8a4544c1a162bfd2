//! The durable line writer: a line is in the file, or the caller learns that it may not be.
//!
//! Owns the file, on a thread of its own, and how it is followed through rotation, full disks and
//! torn lines. Knows nothing of what a line says. Everything that is queued is written, and where
//! asked synced, at once; each caller is answered after that. A line whose caller gave up or was
//! told of a failure may still be in the file: a record without an answer is safe, an answer
//! without a record is not.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc as done;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

const QUEUE: usize = 1024;
const DEADLINE: Duration = Duration::from_secs(2);

/// Where lines go.
#[derive(Clone, Debug)]
pub enum Target {
    /// A regular file, created for its owner alone (0600) where it is not there, always appended to.
    /// Must be readable as well: its last byte tells whether the last line is whole.
    File {
        /// Its path, looked up again when another program has moved or removed the file.
        path: PathBuf,
        /// Whether a line counts as written only when the disk has it.
        fsync: bool,
    },
    /// Standard output, whatever that is.
    Stdout,
    /// Memory, for tests.
    Memory(Arc<Mutex<Vec<u8>>>),
}

/// Why a line may not be on record.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread cannot be started, or standard output is not there.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// A line with a line break in it.
    #[error("the record contains a line break")]
    LineBreak,
    /// The queue is full.
    #[error("too many records are waiting")]
    Busy,
    /// Writing failed.
    #[error("writing failed: {0}")]
    Failed(io::ErrorKind),
    /// Not written in time. It may still be.
    #[error("not written in time")]
    Timeout,
}

impl AuditError {
    /// A word for metrics, from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Start(_) => "open",
            Self::LineBreak => "line_break",
            Self::Busy => "busy",
            Self::Failed(_) => "failed",
            Self::Timeout => "timeout",
        }
    }
}

/// The writer. Dropping it writes what is queued, for which it waits as long as one line may take.
#[derive(Debug)]
pub struct AuditSink {
    queue: Option<mpsc::Sender<Entry>>,
    health: Arc<Mutex<Health>>,
    deadline: Duration,
    thread: Option<JoinHandle<()>>,
    /// A receiver cannot be shared between threads without the lock, which nobody contends for.
    done: Mutex<done::Receiver<()>>,
}

impl AuditSink {
    /// Opens the target and starts the thread.
    ///
    /// # Errors
    /// Refuses what cannot be opened and anything but a regular file.
    pub fn open(target: Target) -> Result<Self, AuditError> {
        Self::start(target, &Rules::default())
    }

    /// Appends a line, to which the line break is added. Returns when it is written, and synced where
    /// that is asked for.
    ///
    /// # Errors
    /// Fails at once when the queue is full, when writing fails, and after two seconds.
    pub async fn write(&self, line: String) -> Result<(), AuditError> {
        if line.contains('\n') {
            return Err(AuditError::LineBreak);
        }
        let (written, mut answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(STOPPED)?;
        queue
            .try_send(Entry { line, written })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AuditError::Busy,
                mpsc::error::TrySendError::Closed(_) => STOPPED,
            })?;
        let result = match tokio::time::timeout(self.deadline, &mut answer).await {
            Ok(result) => result.map_err(|_| STOPPED)?,
            Err(_) => answer.try_recv().map_err(|_| AuditError::Timeout)?,
        };
        result.map_err(AuditError::Failed)
    }

    /// Whether the last write succeeded and none is stuck. After a failure only the next line can tell
    /// that the trouble is over, so do not stop sending lines because of it.
    #[must_use]
    pub fn healthy(&self) -> bool {
        let health = lock(&self.health);
        health.last_failed.is_none()
            && health
                .since
                .is_none_or(|since| since.elapsed() < self.deadline)
    }

    fn start(target: Target, rules: &Rules) -> Result<Self, AuditError> {
        let output = match target {
            Target::File { path, fsync } => Output::File(LogFile::open(path, fsync, rules)?),
            Target::Stdout => {
                let descriptor = io::stdout()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(AuditError::Start)?;
                Output::Stdout {
                    file: File::from(descriptor),
                    torn: false,
                }
            }
            Target::Memory(bytes) => Output::Memory(bytes),
        };
        let (queue, entries) = mpsc::channel(QUEUE);
        let (finished, done) = done::channel();
        let health = Arc::new(Mutex::new(Health::default()));
        let shared = Arc::clone(&health);
        let work = move || {
            run(entries, output, &shared);
            drop(finished);
        };
        let thread = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(work)
            .map_err(AuditError::Start)?;
        Ok(Self {
            queue: Some(queue),
            health,
            deadline: rules.deadline,
            thread: Some(thread),
            done: Mutex::new(done),
        })
    }
}

impl Drop for AuditSink {
    fn drop(&mut self) {
        self.queue = None;
        // The thread never sends: the channel ends with it. A reader that has stopped must not keep
        // the process from stopping.
        let ended = lock(&self.done).recv_timeout(self.deadline);
        if ended == Err(done::RecvTimeoutError::Disconnected) {
            let _ = self.thread.take().map(JoinHandle::join);
        } else {
            tracing::error!("the audit log did not take the last records in time");
        }
    }
}

/// The thread is gone, which only a bug can do.
const STOPPED: AuditError = AuditError::Failed(io::ErrorKind::BrokenPipe);

#[derive(Debug)]
struct Entry {
    line: String,
    written: oneshot::Sender<Result<(), io::ErrorKind>>,
}

#[derive(Debug, Default)]
struct Health {
    last_failed: Option<io::ErrorKind>,
    /// Since when a batch is being written.
    since: Option<Instant>,
}

/// What the tests have otherwise.
struct Rules {
    deadline: Duration,
    accept: fn(&FileType) -> bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            deadline: DEADLINE,
            accept: FileType::is_file,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(mut entries: mpsc::Receiver<Entry>, mut output: Output, health: &Mutex<Health>) {
    while let Some(first) = entries.blocking_recv() {
        let mut bytes = Vec::new();
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(entry) = next {
            bytes.extend_from_slice(entry.line.as_bytes());
            bytes.push(b'\n');
            waiting.push(entry.written);
            // Not more than the queue holds: those who write without pause must not keep the first
            // one waiting.
            next = if waiting.len() < QUEUE {
                entries.try_recv().ok()
            } else {
                None
            };
        }
        lock(health).since = Some(Instant::now());
        let result = output.append(&bytes);
        let failed = result.as_ref().err().map(io::Error::kind);
        let before = {
            let mut health = lock(health);
            health.since = None;
            std::mem::replace(&mut health.last_failed, failed)
        };
        match (before, &result) {
            (None, Err(error)) => tracing::error!(%error, "the audit log cannot be written"),
            (Some(_), Ok(())) => tracing::info!("the audit log can be written again"),
            _ => {}
        }
        for written in waiting {
            // A caller who gave up is fine.
            let _ = written.send(failed.map_or(Ok(()), Err));
        }
    }
}

enum Output {
    File(LogFile),
    Stdout { file: File, torn: bool },
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl Output {
    /// Appends whole lines, all or none as far as the caller may believe.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(log) => log.append(lines),
            Self::Stdout { file, torn } => write_framed(file, torn, lines),
            Self::Memory(bytes) => {
                lock(bytes).extend_from_slice(lines);
                Ok(())
            }
        }
    }
}

struct LogFile {
    path: PathBuf,
    fsync: bool,
    /// `None` after an error: what the descriptor still holds is unknown.
    open: Option<Open>,
    accept: fn(&FileType) -> bool,
}

struct Open {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    /// Whether the last line in it has no end.
    torn: bool,
}

impl LogFile {
    fn open(path: PathBuf, fsync: bool, rules: &Rules) -> Result<Self, AuditError> {
        match open(&path, fsync, rules.accept) {
            Ok(open) => {
                let accept = rules.accept;
                Ok(Self {
                    path,
                    fsync,
                    open: Some(open),
                    accept,
                })
            }
            Err(source) => Err(AuditError::Open { path, source }),
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) if !self.is_gone(&open) => open,
            _ => open(&self.path, self.fsync, self.accept)?,
        };
        write_framed(&mut open.file, &mut open.torn, lines)?;
        if self.fsync {
            open.file.sync_data()?;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Whether the path leads to something else by now: moved, removed, another disk.
    fn is_gone(&self, open: &Open) -> bool {
        fs::metadata(&self.path).map_or(true, |now| (now.dev(), now.ino()) != open.identity)
    }
}

/// Looks before it opens, since opening a FIFO waits for its reader, and after.
fn open(path: &Path, fsync: bool, accept: fn(&FileType) -> bool) -> io::Result<Open> {
    let check = |kind: FileType| {
        if accept(&kind) {
            Ok(())
        } else {
            Err(io::Error::other("not a regular file"))
        }
    };
    match fs::metadata(path) {
        Ok(there) => check(there.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let metadata = file.metadata()?;
    check(metadata.file_type())?;
    let torn = match metadata.len().checked_sub(1) {
        Some(last) => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, last)?;
            byte != *b"\n"
        }
        None => false,
    };
    if fsync {
        // The entry in the directory is what makes a new file durable.
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()?;
    }
    Ok(Open {
        file,
        identity: (metadata.dev(), metadata.ino()),
        torn,
    })
}

/// Ends a torn line before it begins the next one, and remembers whether one is torn.
fn write_framed(to: &mut impl Write, torn: &mut bool, lines: &[u8]) -> io::Result<()> {
    if *torn {
        write_whole(to, b"\n", torn)?;
    }
    write_whole(to, lines, torn)
}

fn write_whole(to: &mut impl Write, mut bytes: &[u8], torn: &mut bool) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                let (written, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
                *torn = !written.ends_with(b"\n");
                bytes = rest;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;

    fn temporary() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        (directory, path)
    }

    fn file(path: &Path) -> Target {
        Target::File {
            path: path.to_owned(),
            fsync: true,
        }
    }

    /// Takes devices.
    fn watchful() -> Rules {
        Rules {
            accept: |kind| !kind.is_dir(),
            ..Rules::default()
        }
    }

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path)
            .unwrap()
            .split_inclusive('\n')
            .map(str::to_owned)
            .collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_line_is_there_once_and_whole() {
        let (_directory, path) = temporary();
        let sink = Arc::new(AuditSink::open(file(&path)).unwrap());
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..100 {
            let sink = Arc::clone(&sink);
            writers.spawn(async move {
                for line in 0..10 {
                    sink.write(format!("{writer}/{line} {}", "x".repeat(1000)))
                        .await
                        .unwrap();
                }
            });
        }
        writers.join_all().await;
        // No drop has flushed anything: what was acknowledged is there.
        let mut seen = lines(&path);
        seen.sort_unstable();
        let mut expected: Vec<_> = (0..100)
            .flat_map(|writer| {
                (0..10).map(move |line| format!("{writer}/{line} {}\n", "x".repeat(1000)))
            })
            .collect();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        assert!(sink.healthy());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(matches!(
            sink.write("a\nb".to_owned()).await,
            Err(AuditError::LineBreak)
        ));
    }

    #[tokio::test]
    async fn a_file_that_was_moved_or_removed_is_begun_anew() {
        let (directory, path) = temporary();
        let sink = AuditSink::start(file(&path), &watchful()).unwrap();
        sink.write("1".to_owned()).await.unwrap();
        let rotated = directory.path().join("audit.log.1");
        fs::rename(&path, &rotated).unwrap();
        sink.write("2".to_owned()).await.unwrap();
        assert_eq!(
            (lines(&rotated), lines(&path)),
            (vec!["1\n".to_owned()], vec!["2\n".to_owned()])
        );
        fs::remove_file(&path).unwrap();
        sink.write("3".to_owned()).await.unwrap();
        assert_eq!(lines(&path), ["3\n"]);
    }

    #[tokio::test]
    async fn a_full_disk_fails_and_recovers_by_itself() {
        let (directory, path) = temporary();
        symlink("/dev/full", &path).unwrap();
        let target = Target::File {
            path: path.clone(),
            fsync: false,
        };
        let sink = AuditSink::start(target, &watchful()).unwrap();
        assert!(sink.healthy());
        for _ in 0..2 {
            let error = sink.write("1".to_owned()).await.unwrap_err();
            assert!(
                matches!(error, AuditError::Failed(io::ErrorKind::StorageFull)),
                "{error:?}"
            );
            assert!(!sink.healthy());
        }
        let real = directory.path().join("real");
        fs::remove_file(&path).unwrap();
        symlink(&real, &path).unwrap();
        sink.write("2".to_owned()).await.unwrap();
        assert!(sink.healthy());
        assert_eq!(lines(&real), ["2\n"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(
            sink.write("3".to_owned()).await,
            Err(AuditError::Failed(_))
        ));
    }

    #[tokio::test]
    async fn a_torn_line_is_ended_before_the_next_begins() {
        let (_directory, path) = temporary();
        fs::write(&path, "whole\n{\"torn").unwrap();
        let sink = AuditSink::open(file(&path)).unwrap();
        sink.write("a".to_owned()).await.unwrap();
        sink.write("b".to_owned()).await.unwrap();
        assert_eq!(lines(&path), ["whole\n", "{\"torn\n", "a\n", "b\n"]);
    }

    #[test]
    fn a_write_that_fails_half_way_tears_a_line_only_inside_it() {
        /// Takes so many bytes, then no more.
        struct Narrow(Vec<u8>, usize);
        impl Write for Narrow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                match bytes.len().min(self.1 - self.0.len()) {
                    0 => Err(io::ErrorKind::StorageFull.into()),
                    count => self.0.write(&bytes[..count]),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (room, expected) in [
            (0, "cc\n"),
            (1, "a\ncc\n"),
            (3, "aa\ncc\n"),
            (4, "aa\nb\ncc\n"),
        ] {
            let (mut to, mut torn) = (Narrow(Vec::new(), room), false);
            write_framed(&mut to, &mut torn, b"aa\nbb\n").unwrap_err();
            to.1 = usize::MAX;
            write_framed(&mut to, &mut torn, b"cc\n").unwrap();
            assert_eq!(String::from_utf8(to.0).unwrap(), expected);
        }
    }

    #[test]
    fn only_a_regular_file_will_do() {
        let (directory, path) = temporary();
        let fifo = directory.path().join("fifo");
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        symlink(&fifo, directory.path().join("link")).unwrap();
        for bad in ["", "fifo", "link", "no/such/directory"] {
            let error = AuditSink::open(file(&directory.path().join(bad))).unwrap_err();
            assert!(matches!(error, AuditError::Open { .. }), "{bad}: {error:?}");
        }
        assert!(AuditSink::open(file(Path::new("/dev/null"))).is_err());
        assert!(!path.exists());
        assert!(AuditSink::open(file(&path)).is_ok());
    }

    #[tokio::test]
    async fn a_stalled_target_times_out_then_refuses_and_loses_nothing() {
        let memory = Arc::new(Mutex::new(Vec::new()));
        let rules = Rules {
            deadline: Duration::from_millis(50),
            ..Rules::default()
        };
        let sink = AuditSink::start(Target::Memory(Arc::clone(&memory)), &rules).unwrap();
        let (stall, release) = (done::channel::<()>(), done::channel::<()>());
        let held = Arc::clone(&memory);
        let holder = thread::spawn(move || {
            let _guard = lock(&held);
            stall.0.send(()).unwrap();
            let _ = release.1.recv();
        });
        stall.1.recv().unwrap();
        let stuck = sink.write("stuck".to_owned()).await;
        assert!(matches!(stuck, Err(AuditError::Timeout)), "{stuck:?}");
        let queued =
            futures_util::future::join_all((0..=QUEUE).map(|i| sink.write(i.to_string()))).await;
        let count = |kind: fn(&AuditError) -> bool| {
            queued
                .iter()
                .filter(|result| result.as_ref().is_err_and(kind))
                .count()
        };
        assert_eq!(count(|error| matches!(error, AuditError::Busy)), 1);
        assert_eq!(count(|error| matches!(error, AuditError::Timeout)), QUEUE);
        assert!(!sink.healthy());
        release.0.send(()).unwrap();
        holder.join().unwrap();
        while sink.write("last".to_owned()).await.is_err() {}
        assert!(sink.healthy());
        let written = String::from_utf8(lock(&memory).clone()).unwrap();
        assert_eq!(
            written.lines().filter(|line| *line != "last").count(),
            QUEUE + 1
        );
    }

    #[tokio::test]
    async fn dropping_writes_what_is_queued() {
        let (_directory, path) = temporary();
        let sink = AuditSink::open(file(&path)).unwrap();
        for i in 0..100 {
            // Polled once, hence queued; then given up.
            let _ = tokio::time::timeout(Duration::ZERO, sink.write(i.to_string())).await;
        }
        drop(sink);
        assert_eq!(lines(&path).len(), 100);
    }

    #[tokio::test]
    async fn standard_output_takes_lines() {
        let sink = AuditSink::open(Target::Stdout).unwrap();
        sink.write("{\"audit\": \"a line on standard output\"}".to_owned())
            .await
            .unwrap();
        assert!(sink.healthy());
    }
}
