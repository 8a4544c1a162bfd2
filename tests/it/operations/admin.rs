//! The admin API: who may what, under which name, and that its description says what it does.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cambist::admin::{Access, OPENAPI, ROUTES};
use cambist::audit::sink::Target;
use cambist::clock::Clock;
use cambist::reload::watch::Settle;
use cambist::run::{Options, Running};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{RULES, admin, idp, secret, write_realm};
use crate::support::{Answer, call};

const TOKEN: &str = "a-token-of-the-operators-that-nobody-guesses";

struct World {
    running: Running,
    dir: TempDir,
    records: Arc<Mutex<Vec<u8>>>,
}

/// A realm that follows its files only when it is asked to; these are more keys of `admin:`.
async fn world(more: &str) -> World {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ops.token"), TOKEN).unwrap();
    let more = format!(
        "server: {{ listen: 127.0.0.1:0 }}\nadmin: {{ listen: 127.0.0.1:0, socket: admin.sock, \
         tokens: {{ ops: {{ secret_file: ops.token }} }}{more} }}\n"
    );
    write_realm(
        dir.path(),
        "https://as.example.com",
        &more,
        &secret("rs08"),
        &idp(),
    );
    let records = Arc::new(Mutex::new(Vec::new()));
    let long = Duration::from_secs(3600);
    let options = Options {
        audit: Some(Target::Memory(Arc::clone(&records))),
        settle: Some(Settle {
            quiet: long,
            max_wait: long,
            poll: long,
        }),
        ..Options::of(Clock::system())
    };
    let running = Running::start(dir.path(), options).await.unwrap();
    // The first look at the files, which nobody asked for.
    while ["off", "not yet"].contains(&running.gateway.live.watch().as_str()) {
        tokio::task::yield_now().await;
    }
    World {
        running,
        dir,
        records,
    }
}

impl World {
    fn changes(&self) -> Vec<Value> {
        let bytes = self.records.lock().unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        let records = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        records
            .filter(|record| record["event"] == "config")
            .collect()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        admin(&self.running, method, path, headers).await
    }

    async fn reload(&self) -> Answer {
        let headers = format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n");
        self.ask("POST", "/reload", &headers).await
    }

    /// Asks over the Unix socket.
    async fn local(&self, method: &str, path: &str) -> Answer {
        let mut stream = UnixStream::connect(self.dir.path().join("admin.sock"))
            .await
            .unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: anything.example\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        Answer::parse(&answer)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_ours_is_refused() {
    let world = world(", hosts: [ops.example.com]").await;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:9090", 200),
        ("127.0.0.1:9090", 200),
        ("[::1]:9090", 200),
        ("10.1.2.3", 200),
        ("ops.example.com", 200),
        ("Ops.Example.com:1", 200),
        ("evil.example.com", 403),
        ("localhost.evil.example", 403),
        ("ops.example.com.", 403),
        ("", 403),
        ("a b", 400),
    ] {
        let request = format!("GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = call(world.running.admin, request.as_bytes()).await;
        assert_eq!(answer.status, status, "{host}: {answer:?}");
    }
    let none = call(
        world.running.admin,
        b"GET /status HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(none.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_something_needs_somebody_who_is_known() {
    let world = world("").await;
    for headers in [
        String::new(),
        "Authorization: Bearer wrong\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Bearer {TOKEN}x\r\n"),
        format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n"),
        format!("X-Authorization: Bearer {TOKEN}\r\n"),
    ] {
        let answer = world.ask("POST", "/reload", &headers).await;
        assert_eq!(answer.status, 401, "{headers}");
        assert!(
            answer
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let headers = format!("Authorization: Bearer {TOKEN}\r\n");
        let answer = world.ask(method, "/reload", &headers).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("POST")),
            "{method}"
        );
    }
    assert_eq!(
        world
            .ask("POST", "/status", "Content-Length: 0\r\n")
            .await
            .status,
        405
    );
    assert_eq!(world.ask("GET", "/", "").await.status, 404);
    assert_eq!(world.reload().await.status, 200);
    let lower = format!("authorization: bearer {TOKEN}\r\nContent-Length: 0\r\n");
    assert_eq!(world.ask("POST", "/reload", &lower).await.status, 200);
    // Whoever may open the socket is known, under whatever name it goes; nobody else may open it.
    assert_eq!(world.local("POST", "/reload").await.status, 200);
    let mode = fs::metadata(world.dir.path().join("admin.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let socket = world.dir.path().join("admin.sock");
    world.running.stop().await;
    assert!(!socket.exists());
}

/// Reads are open on loopback alone: see `Access::Readers`. A listener beyond it is one that was handed over.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_this_machine_reading_needs_somebody_who_is_known_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ops.token"), TOKEN).unwrap();
    let more = "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 0.0.0.0:0, insecure_http: true, \
                tokens: { ops: { secret_file: ops.token } } }\n";
    write_realm(
        dir.path(),
        "https://as.example.com",
        more,
        &secret("rs08"),
        &idp(),
    );
    let running = super::start(dir.path()).await;
    let known = format!("Authorization: Bearer {TOKEN}\r\n");
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        let open = route.access == Access::Everybody;
        let (answer, with) = (
            admin(&running, "GET", route.path, "").await,
            admin(&running, "GET", route.path, &known).await,
        );
        assert_eq!(
            answer.status,
            if open { 200 } else { 401 },
            "{}",
            route.path
        );
        assert_eq!(with.status, 200, "{}", route.path);
    }
    let verbose = admin(&running, "GET", "/readyz?verbose", "").await;
    assert_eq!((verbose.status, verbose.body.as_str()), (200, "ready\n"));
    let verbose = admin(&running, "GET", "/readyz?verbose", &known).await;
    assert!(verbose.body.contains("[+] issuer idp"), "{}", verbose.body);
}

/// Row M23: when, why, what and who, in the audit and under `/changes`.
#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_on_record_with_who_asked_for_it() {
    let world = world("").await;
    let first = world.running.gateway.live.load().hash.clone();
    let answer = world.reload().await;
    assert_eq!(
        (answer.status, answer.json()["result"].as_str()),
        (200, Some("unchanged"))
    );
    let start = world.changes();
    assert_eq!(
        start.len(),
        1,
        "what changes nothing is no change: {start:#?}"
    );
    assert_eq!(
        (&start[0]["cause"], &start[0]["new"]),
        (&json!("start"), &json!(first))
    );

    let more = RULES.replace("rule trade", "list @x : string = [\"y\"]\nrule again")
        + "\ndeny never { error invalid_target to resource under \"https://never.example.com\" }\n";
    world.write("main.policy", &more);
    let answer = world.reload().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let second = answer.json()["config"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let change = world.changes().pop().unwrap();
    let expected = json!({
        "time": change["time"], "event": "config", "cause": "api", "principal": "ops",
        "result": "applied", "old": first, "new": second,
        "files": { "changed": ["main.policy"] },
        "items": { "default": {
            "added": ["main.@x", "main.again", "main.never"], "removed": ["main.trade"],
        } },
    });
    assert_eq!(change, expected);

    // Comments and layout are no change of a rule; the file has changed all the same.
    world.write(
        "main.policy",
        &more.replace("rule again {", "# why\nrule   again {"),
    );
    assert_eq!(world.local("POST", "/reload").await.status, 200);
    let change = world.changes().pop().unwrap();
    assert_eq!(
        (&change["items"], &change["files"]["changed"]),
        (&Value::Null, &json!(["main.policy"]))
    );
    assert!(
        change["principal"].as_str().unwrap().starts_with("uid "),
        "{change}"
    );

    // What is rejected is on record once, with its reasons, and what ran runs on.
    world.write("main.policy", "policy 1 module main\nrule {\n");
    for _ in 0..2 {
        let answer = world.reload().await;
        assert_eq!(
            (answer.status, answer.json()["result"].as_str()),
            (422, Some("rejected"))
        );
        let details = answer.json()["details"].clone();
        let error = |one: &&Value| one["severity"] == "error";
        let errors: Vec<_> = details.as_array().unwrap().iter().filter(error).collect();
        assert_eq!((errors.len(), &errors[0]["code"]), (1, &json!("E0100")));
    }
    let changes = world.changes();
    let change = changes.last().unwrap();
    assert_eq!(
        (&change["result"], &change["rejected"]),
        (&json!("rejected"), &json!(["default"]))
    );
    assert!(
        change["details"][0]
            .as_str()
            .unwrap()
            .contains("main.policy:2"),
        "{change}"
    );
    assert_eq!(changes.len(), 4);
    // Going back is on record too.
    world.write(
        "main.policy",
        &more.replace("rule again {", "# why\nrule   again {"),
    );
    assert_eq!(world.reload().await.json()["result"], "unchanged");
    assert_eq!(world.changes().len(), 5);
    let yaml = fs::read_to_string(world.dir.path().join("cambist.yaml")).unwrap();
    world.write(
        "cambist.yaml",
        &yaml.replace("socket: admin.sock", "socket: other.sock"),
    );
    let answer = world.reload().await;
    assert_eq!(
        (answer.status, answer.json()["details"].clone()),
        (409, json!(["admin.socket"]))
    );
    let listed = world.ask("GET", "/changes", "").await.json();
    let listed = listed["changes"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 6);
    let recorded: Vec<Value> = world.changes().into_iter().rev().collect();
    assert_eq!(listed, recorded);
    // No hash of a file stands anywhere: that of a secret could be guessed.
    let text = format!("{listed:?}{}", world.ask("GET", "/status", "").await.body);
    for secret in ["rs08.secret", "ops.token"] {
        let bytes = fs::read(world.dir.path().join(secret)).unwrap();
        assert!(!text.contains(&cambist::jose::sha256_base64url(&bytes)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_follow_files_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ops.token"), TOKEN).unwrap();
    let more = "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0, tokens: { ops: { secret_file: ops.token } } }\n";
    write_realm(
        dir.path(),
        "https://as.example.com",
        more,
        &secret("rs08"),
        &idp(),
    );
    let running = super::start(dir.path()).await;
    let headers = format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n");
    assert_eq!(
        admin(&running, "POST", "/reload", &headers).await.status,
        503
    );
}

/// Every path, method, status and body of the description, held against the running process, and the other
/// way round.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_says_what_the_api_does() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .keys()
                .map(move |m| (m.to_uppercase(), path.clone()))
        })
        .collect();
    let served = ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), route.path.to_owned()));
    assert_eq!(described, served.collect());

    let world = world("").await;
    let known = format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n");
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let mut check = |method: &str, path: &str, answer: &Answer| {
        let bare = path.split('?').next().unwrap();
        let operation = &document["paths"][bare][method.to_lowercase()];
        let mut said = &operation["responses"][answer.status.to_string()];
        if let Some(name) = said["$ref"].as_str() {
            said = document.pointer(name.trim_start_matches('#')).unwrap();
        }
        let content = said["content"]
            .as_object()
            .unwrap_or_else(|| panic!("{method} {path}: {}", answer.status));
        let kind = answer
            .header("content-type")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let schema = &content
            .get(&kind)
            .unwrap_or_else(|| panic!("{method} {path}: {kind}"))["schema"];
        let body = match kind.as_str() {
            "application/json" => answer.json(),
            _ => Value::String(answer.body.clone()),
        };
        let wrong = mismatches(&document, schema, &body, path);
        assert!(
            wrong.is_empty(),
            "{method} {path} {}: {wrong:#?}\n{body:#}",
            answer.status
        );
        seen.insert((format!("{method} {bare}"), answer.status.to_string()));
    };
    for route in ROUTES {
        let answer = world.ask(route.method, route.path, &known).await;
        check(route.method, route.path, &answer);
        let evil = format!(
            "{} {} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            route.method, route.path
        );
        check(
            route.method,
            route.path,
            &call(world.running.admin, evil.as_bytes()).await,
        );
    }
    check(
        "GET",
        "/readyz?verbose",
        &world.ask("GET", "/readyz?verbose", "").await,
    );
    check("POST", "/reload", &world.ask("POST", "/reload", "").await);
    world.write("main.policy", "policy 1 module main\nrule {\n");
    check("POST", "/reload", &world.reload().await);
    for path in ["/status", "/changes"] {
        check("GET", path, &world.ask("GET", path, "").await);
    }
    world.write("main.policy", RULES);
    let yaml = fs::read_to_string(world.dir.path().join("cambist.yaml")).unwrap();
    world.write(
        "cambist.yaml",
        &yaml.replace("socket: admin.sock", "socket: other.sock"),
    );
    check("POST", "/reload", &world.reload().await);
    check("GET", "/status", &world.ask("GET", "/status", "").await);
    world.running.drain();
    check("GET", "/readyz", &world.ask("GET", "/readyz", "").await);
    check("GET", "/status", &world.ask("GET", "/status", "").await);
    // What cannot be had here: a load that does not end, or takes a minute, or that nobody makes; and reads
    // that need somebody, which only a listener beyond loopback has.
    let mut left: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                left.insert((format!("{} {path}", method.to_uppercase()), status.clone()));
            }
        }
    }
    let left: Vec<_> = left.difference(&seen).cloned().collect();
    let expected = [
        ("GET /changes", "401"),
        ("GET /metrics", "401"),
        ("GET /openapi.json", "401"),
        ("GET /status", "401"),
        ("POST /reload", "500"),
        ("POST /reload", "503"),
        ("POST /reload", "504"),
    ];
    assert_eq!(
        left,
        expected.map(|(route, status)| (route.to_owned(), status.to_owned()))
    );
}

/// Where a value is not what a schema says: as much of JSON Schema as the description uses.
fn mismatches(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).unwrap();
        return mismatches(document, schema, value, at);
    }
    let known = [
        "type",
        "enum",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "anyOf",
        "description",
        "format",
    ];
    for keyword in schema.as_object().unwrap().keys() {
        assert!(
            known.contains(&keyword.as_str()),
            "{keyword} is not looked at"
        );
    }
    let mut wrong = Vec::new();
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = any
            .iter()
            .any(|one| mismatches(document, one, value, at).is_empty());
        return if fits {
            wrong
        } else {
            vec![format!("{at}: fits nothing")]
        };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(some) => some.iter().map(|one| one.as_str().unwrap()).collect(),
        other => panic!("{at}: {other}"),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&is) {
        wrong.push(format!("{at}: {is}, not {types:?}"));
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|some| !some.contains(value))
    {
        wrong.push(format!("{at}: {value} is not of the set"));
    }
    if let (Some("date-time"), Some(text)) = (schema["format"].as_str(), value.as_str())
        && text.parse::<jiff::Timestamp>().is_err()
    {
        wrong.push(format!("{at}: {text} is no time"));
    }
    for item in value.as_array().into_iter().flatten() {
        wrong.extend(mismatches(
            document,
            &schema["items"],
            item,
            &format!("{at}[]"),
        ));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            wrong.push(format!("{at}: no {name}"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null | Value::Bool(true)) => {
                // An object that lists its members lists all of them, but for findings and documents.
                let open =
                    schema["properties"].is_null() || schema["properties"]["code"].is_object();
                if !open {
                    wrong.push(format!("{at}: not described"));
                }
            }
            (Value::Null, Value::Bool(false)) => wrong.push(format!("{at}: not allowed")),
            (Value::Null, more) => wrong.extend(mismatches(document, more, member, &at)),
            (schema, _) => wrong.extend(mismatches(document, schema, member, &at)),
        }
    }
    wrong
}

/// A socket that a process left behind is taken over; one that is listened on is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_was_left_behind_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let more =
        "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0, socket: admin.sock }\n";
    write_realm(
        dir.path(),
        "https://as.example.com",
        more,
        &secret("rs08"),
        &idp(),
    );
    let socket: &Path = &dir.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    assert!(socket.exists());
    let running = super::start(dir.path()).await;
    assert!(UnixStream::connect(socket).await.is_ok());
    // Another process takes it over, and the first one leaves it alone when it goes.
    let second = super::start(dir.path()).await;
    running.stop().await;
    assert!(UnixStream::connect(socket).await.is_ok());
    second.stop().await;
    assert!(!socket.exists());
    // What is no socket is not removed.
    fs::write(socket, "precious").unwrap();
    assert!(super::try_start(dir.path()).await.is_err());
    assert_eq!(fs::read_to_string(socket).unwrap(), "precious");
}
