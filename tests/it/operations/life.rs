//! The life of a process, with the real program: what its supervisor is told, how it stops, and how another one
//! takes over, while it is used.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use cambist::clock::Clock;
use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{body, idp, secret, write_realm};
use crate::support::{basic, call, claims};

/// A realm whose `server:` has these keys, and a request that it answers with a token.
fn realm(server: &str) -> (TempDir, Arc<String>) {
    let (dir, idp) = (tempfile::tempdir().unwrap(), idp());
    let more = format!(
        "server: {{ listen: 127.0.0.1:0{server} }}\nadmin: {{ listen: 127.0.0.1:0 }}\naudit: {{ file: audit.jsonl }}\n"
    );
    write_realm(
        dir.path(),
        "https://as.example.com",
        &more,
        &secret("rs08"),
        &idp,
    );
    let now = Clock::system().now();
    let token = idp.token(&claims(
        json!({ "iat": now.0 - 10, "exp": now.0 + 3600, "scope": "api" }),
    ));
    let body = body(&token);
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: as.example.com\r\nAuthorization: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        basic("rs08", &secret("rs08")),
        body.len()
    );
    (dir, Arc::new(format!("{request}CONNECTION\r\n{body}")))
}

/// The program, serving, until this is dropped.
struct Process {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    /// Starts it, and waits until it serves.
    fn serve(dir: &Path) -> Self {
        Self::with(dir, |_| {})
    }

    fn with(dir: &Path, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
        prepare(command.args(["serve", "--log-format", "json"]).arg(dir));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serving = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find(|line| line.contains("token_endpoint"))
            .expect("it did not start");
        std::thread::spawn(move || lines.for_each(drop));
        let log: Value = serde_json::from_str(&serving).unwrap();
        let address = |name: &str| {
            let url = log[name].as_str().unwrap().split("//").nth(1).unwrap();
            url.split('/').next().unwrap().parse().unwrap()
        };
        let (address, admin) = (address("token_endpoint"), address("admin"));
        Self {
            child,
            address,
            admin,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The exit code, once it has ended.
    async fn ended(mut self) -> Option<i32> {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ask(&self, path: &str) -> crate::support::Answer {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        call(self.admin, request.as_bytes()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What clients that never stop asking got.
#[derive(Default)]
struct Traffic {
    good: AtomicUsize,
    bad: AtomicUsize,
    stop: AtomicBool,
}

impl Traffic {
    /// Clients of three kinds: one connection for as many requests as the server allows, one for each request, and
    /// one for each that says nothing for a while first.
    fn start(
        address: SocketAddr,
        request: &Arc<String>,
    ) -> (Arc<Self>, Vec<tokio::task::JoinHandle<()>>) {
        let traffic = Arc::new(Self::default());
        let clients = (0..9).map(|number| {
            let (traffic, request) = (Arc::clone(&traffic), Arc::clone(request));
            let pause = (number % 3 == 2).then(|| Duration::from_millis(5));
            tokio::spawn(async move {
                let keep = number % 3 == 0;
                traffic.client(address, &request, keep, pause).await;
            })
        });
        let clients = clients.collect();
        (traffic, clients)
    }

    async fn client(
        &self,
        address: SocketAddr,
        request: &str,
        keep: bool,
        pause: Option<Duration>,
    ) {
        let connection = if keep { "" } else { "Connection: close\r\n" };
        let request = request.replace("CONNECTION\r\n", &format!("{connection}\r\n"));
        let mut open: Option<TcpStream> = None;
        while !self.stop.load(Ordering::SeqCst) {
            match exchange(&mut open, address, &request, pause).await {
                Ok(200) => self.good.fetch_add(1, Ordering::SeqCst),
                _ => {
                    open = None;
                    self.bad.fetch_add(1, Ordering::SeqCst)
                }
            };
        }
    }

    /// Waits for so many more good answers.
    async fn more(&self, count: usize) {
        let wanted = self.good.load(Ordering::SeqCst) + count;
        while self.good.load(Ordering::SeqCst) < wanted {
            assert!(self.bad.load(Ordering::SeqCst) < 1000, "nothing works");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops the clients, and gives how many answers were good and how many were not.
    async fn end(&self, clients: Vec<tokio::task::JoinHandle<()>>) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
        (
            self.good.load(Ordering::SeqCst),
            self.bad.load(Ordering::SeqCst),
        )
    }
}

/// One exchange, on the open connection where there is one.
async fn exchange(
    open: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &str,
    pause: Option<Duration>,
) -> std::io::Result<u16> {
    let mut stream = match open.take() {
        Some(stream) => stream,
        None => TcpStream::connect(address).await?,
    };
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.unwrap().parse::<usize>().unwrap() {
            continue;
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if !head.contains("connection: close") {
            *open = Some(stream);
        }
        return Ok(status);
    }
}

/// Hands a socket over, as a supervisor does.
fn hand_over(command: &mut Command, socket: &TcpListener, name: &str) {
    let parent_fd: OwnedFd = socket.try_clone().unwrap().into();
    command
        .fd_mappings(vec![FdMapping {
            parent_fd,
            child_fd: 3,
        }])
        .unwrap()
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name);
}

/// Another process takes over the socket, and the first one is told to stop: nobody who asks meanwhile is
/// refused or reset.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_load_refuses_nobody() {
    let (dir, request) = realm(", drain_delay: 3s");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let old = Process::with(dir.path(), |command| hand_over(command, &socket, "token"));
    assert_eq!(old.address, address);
    let (traffic, clients) = Traffic::start(address, &request);
    traffic.more(200).await;
    // Whoever starts anew has other keys here; what matters is that each request is answered.
    let new = Process::with(dir.path(), |command| hand_over(command, &socket, "token"));
    old.signal(Signal::TERM);
    assert_eq!(old.ended().await, Some(0));
    traffic.more(200).await;
    let (good, bad) = traffic.end(clients).await;
    println!("upgrade under load: {good} answered, {bad} refused or reset");
    assert_eq!(bad, 0);
    assert!(good >= 400);
    new.signal(Signal::INT);
    assert_eq!(new.ended().await, Some(0));
}

/// F17: told to stop under load behind something that asks whether it is ready: first not ready, then no more
/// connections, and everything that came is answered.
#[tokio::test(flavor = "multi_thread")]
async fn f17_stopping_under_load_loses_nothing() {
    let (dir, request) = realm(", drain_delay: 5s");
    let process = Process::serve(dir.path());
    let (traffic, clients) = Traffic::start(process.address, &request);
    traffic.more(200).await;
    process.signal(Signal::TERM);
    // What a load balancer does.
    while process.ask("/readyz").await.status == 200 {}
    let said = process.ask("/readyz?verbose").await;
    assert_eq!(said.status, 503);
    assert!(
        said.body.contains("[-] the process is about to stop"),
        "{}",
        said.body
    );
    assert_eq!(process.ask("/livez").await.status, 200);
    assert!(
        process
            .ask("/metrics")
            .await
            .body
            .contains("cambist_draining 1\n")
    );
    // It still answers who has not heard of it.
    traffic.more(50).await;
    let (good, bad) = traffic.end(clients).await;
    println!("stopping under load: {good} answered, {bad} refused or reset");
    assert_eq!(bad, 0);
    let address = process.address;
    assert_eq!(process.ended().await, Some(0));
    assert!(TcpStream::connect(address).await.is_err());
    let records = fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    let issued = records
        .lines()
        .filter(|line| line.contains("\"outcome\":\"issued\""));
    assert_eq!(issued.count(), good, "every answer has its record");
}

/// F18: SIGINT does not wait for others to hear of it; a second signal waits for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn f18_signals_mean_what_they_say() {
    let (dir, _) = realm(", drain_delay: 1h");
    let process = Process::serve(dir.path());
    process.signal(Signal::INT);
    assert_eq!(process.ended().await, Some(0));
    let process = Process::serve(dir.path());
    process.signal(Signal::TERM);
    while process.ask("/readyz").await.status == 200 {}
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await, Some(1));
}

/// A supervisor that listens.
struct Supervisor {
    socket: UnixDatagram,
    told: mpsc::Receiver<String>,
}

impl Supervisor {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        let (to, told) = mpsc::channel();
        let ears = socket.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = ears.recv(&mut bytes) {
                if to
                    .send(String::from_utf8_lossy(&bytes[..length]).into_owned())
                    .is_err()
                {
                    return;
                }
            }
        });
        Self { socket, told }
    }

    /// The next message that is about more than being alive.
    fn next(&self) -> String {
        loop {
            let told = self
                .told
                .recv_timeout(Duration::from_secs(30))
                .expect("nothing was said");
            if told != "WATCHDOG=1\n" {
                return told;
            }
        }
    }

    /// Waits until it is told that the process is alive.
    fn alive(&self) {
        while self
            .told
            .recv_timeout(Duration::from_secs(30))
            .expect("nothing was said")
            != "WATCHDOG=1\n"
        {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_is_told_how_it_stands() {
    let (dir, _) = realm(", drain_delay: 0s");
    let path = dir.path().join("notify.sock");
    let supervisor = Supervisor::listen(&path);
    let process = Process::with(dir.path(), |command| {
        command
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "200000");
    });
    assert!(supervisor.next().starts_with("READY=1\n"));
    supervisor.alive();
    supervisor.alive();
    // `systemctl reload`: it waits for a time that is not before it asked.
    for (policy, status) in [
        ("rule renamed", "applied"),
        ("rule {", "rejected"),
        ("rule renamed", "unchanged"),
    ] {
        let text = super::RULES.replace("rule trade", policy);
        fs::write(dir.path().join("main.policy"), text).unwrap();
        // Saving is enough; whatever it told by then was not about this signal.
        process.signal(Signal::HUP);
        let mut told = supervisor.next();
        while !told.starts_with("RELOADING=1\n") {
            told = supervisor.next();
        }
        let at = told
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(at.unwrap().parse::<u64>().unwrap() > 0, "{told}");
        let done = supervisor.next();
        assert!(done.starts_with("READY=1\nSTATUS="), "{done}");
        let fits = done.contains(&format!("STATUS={status}")) || done.contains("STATUS=unchanged");
        assert!(fits, "{done}");
    }
    process.signal(Signal::TERM);
    let mut told = supervisor.next();
    while told.starts_with("READY=1\n") {
        told = supervisor.next();
    }
    assert_eq!(told, "STOPPING=1\n");
    assert_eq!(process.ended().await, Some(0));
    supervisor
        .socket
        .shutdown(std::net::Shutdown::Both)
        .unwrap();
}

/// What was handed over is held to the same rules as what is configured.
#[test]
fn a_socket_that_reaches_further_than_the_configuration_allows_is_refused() {
    let (dir, _) = realm("");
    let refused = |address: &str, name: &str| {
        let socket = TcpListener::bind(address).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cambist"));
        hand_over(command.arg("serve").arg(dir.path()), &socket, name);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let token = refused("0.0.0.0:0", "token");
    assert!(
        token.contains("which is not loopback") && token.contains("`server:`"),
        "{token}"
    );
    let admin = refused("0.0.0.0:0", "admin");
    assert!(
        admin.contains("which is not loopback") && admin.contains("`admin:`"),
        "{admin}"
    );
    assert!(refused("127.0.0.1:0", "other").contains("none of `token`, `admin`"));
}

/// F20: more connections than there are file descriptors: those that fit are served, the others are turned
/// away, and the admin listener, the records and the next requests do not notice.
#[tokio::test(flavor = "multi_thread")]
async fn f20_file_descriptors_that_run_out_come_back() {
    let (dir, request) = realm(", trusted_proxies: [127.0.0.0/8]");
    let script = format!(
        "ulimit -n 80; exec {} serve --log-format json \"$0\"",
        env!("CARGO_BIN_EXE_cambist")
    );
    let mut process = Process::with(dir.path(), |command| {
        let path = dir.path().to_owned();
        *command = Command::new("sh");
        command.args(["-c", &script]).arg(path);
    });
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(TcpStream::connect(process.address).await.unwrap());
    }
    // Those that do not fit have been let go, and the rest is a known number.
    loop {
        let status = process.ask("/status").await.json();
        let metrics = process.ask("/metrics").await.body;
        let away = metrics.lines().find_map(|line| {
            line.strip_prefix(
                "cambist_connections_total{listener=\"token\",result=\"turned_away\"} ",
            )
        });
        if status["load"]["connections"] == 48 && away.is_some_and(|away| away == "152") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(process.ask("/readyz").await.status, 200);
    drop(held);
    let (traffic, clients) = Traffic::start(process.address, &request);
    while traffic.good.load(Ordering::SeqCst) < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    traffic.end(clients).await;
    assert!(process.child.try_wait().unwrap().is_none());
    process.signal(Signal::INT);
    assert_eq!(process.ended().await, Some(0));
}

/// F5: where the system gives no file events at all, looking from time to time is what is left, and everybody
/// is told so.
#[test]
fn f5_without_file_events_it_looks_from_time_to_time() {
    // A namespace of users in which there may be no inotify instance.
    let allowed = Command::new("unshare").args(["-Ur", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("no namespaces of users here: not tried");
        return;
    }
    let (dir, _) = realm("");
    let script = format!(
        "echo 0 > /proc/sys/user/max_inotify_instances && exec {} serve --log-format json \"$0\"",
        env!("CARGO_BIN_EXE_cambist")
    );
    let mut process = Process::with(dir.path(), |command| {
        *command = Command::new("unshare");
        command.args(["-Ur", "sh", "-c", &script]).arg(dir.path());
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let watch = runtime.block_on(async {
        loop {
            let status = process.ask("/status").await.json();
            // After its first look, which nobody asked for.
            let metrics = process.ask("/metrics").await.body;
            if metrics.contains("cambist_config_reloads_total{result=\"unchanged\"} 1") {
                return status["watch"].as_str().unwrap().to_owned();
            }
        }
    });
    assert!(watch.starts_with("slow poll only"), "{watch}");
    // SIGHUP does not wait for the next look.
    let text = super::RULES.replace("rule trade", "rule renamed");
    fs::write(dir.path().join("main.policy"), text).unwrap();
    process.signal(Signal::HUP);
    runtime.block_on(async {
        loop {
            let changes = process.ask("/changes").await.json();
            let last = &changes["changes"][0];
            if last["cause"] == "signal" {
                assert_eq!(last["items"]["default"]["added"], json!(["main.renamed"]));
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    process.child.kill().unwrap();
    process.child.wait().unwrap();
}
