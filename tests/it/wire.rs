//! The token listener byte by byte: `tests/data/wire/**.http`, one request a file, named after the
//! sentence that it is about.
//!
//! A file is a request, a line of dashes, the answer, a line of dashes, and what was recorded. In a
//! request, line ends of the head become CR LF; the lines of a body are joined; `Content-Length: *` is
//! worked out; and braces make what nobody wants to read ([`expand`]). In an answer, the date and
//! random values are replaced; a token is shown as what it says, after its signature was checked with
//! the published keys. `UPDATE_GOLDEN=1` writes answers; a file without one fails.

mod documents;
mod limits;

use std::path::{Path, PathBuf};

use cambist::oauth::request::{Place, UNSUPPORTED};
use serde_json::{Value, json};

use crate::support::{Answer, Gateway, Introspection, NOW, Reply, with};

const DASHES: &str = "----------";

#[tokio::test]
async fn every_request_gets_the_answer_in_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 150, "only {} files found", files.len());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (gateway, _op) = realm(&root.join("realm")).await;
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let text = std::fs::read_to_string(file).unwrap();
        let (request, expected) = match text.split_once(&format!("\n{DASHES}\n")) {
            Some((request, expected)) => (request, Some(expected)),
            None => (text.trim_end_matches('\n'), None),
        };
        let before = gateway.records().len();
        let answer = gateway.send(&bytes(request)).await;
        let shown = show(&gateway, &name, &answer, before).await;
        if expected == Some(shown.as_str()) {
            continue;
        }
        if update {
            std::fs::write(file, format!("{request}\n{DASHES}\n{shown}")).unwrap();
        } else {
            let expected =
                expected.unwrap_or("(nothing: run with UPDATE_GOLDEN=1 and read what it writes)");
            wrong.push(format!(
                "=== {name}\n--- expected\n{expected}\n--- got\n{shown}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Whoever adds something to the table of what is refused by name adds a request here.
#[test]
fn everything_that_is_not_supported_has_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire");
    for entry in UNSUPPORTED {
        let file = match (entry.place, entry.name) {
            (_, "actor_token") => "rfc8693-2.1/actor_token-is-refused-by-name.http".to_owned(),
            (Place::Parameter, name) => format!("unsupported/parameter-{name}.http"),
            (Place::Header, name) => format!("unsupported/header-{name}.http"),
        };
        let text = std::fs::read_to_string(root.join(&file)).unwrap_or_default();
        let says = format!("'{}' is not supported by this server", entry.name);
        assert!(text.contains(&says), "{file} is missing or says otherwise");
        assert!(
            text.contains(&format!("\"error\": \"{}\"", entry.code.as_str())),
            "{file}"
        );
    }
}

/// The gateway that the requests go to, and the issuer behind it.
async fn realm(dir: &Path) -> (Gateway, Introspection) {
    let op = Introspection::start(tokens).await;
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let yaml = read("cambist.yaml").replace("OP", &op.address.to_string());
    let names = ["poster.secret", "tenant.secret", "stranger.secret"];
    let secrets = names.map(|name| (name, read(name)));
    let files = secrets
        .each_ref()
        .map(|(name, text)| (*name, text.as_str()));
    let gateway = Gateway::start(&yaml, &read("main.policy"), &files).await;
    (gateway, op)
}

/// What the issuer says of each token in the files.
fn tokens(token: &str) -> Reply {
    let good = json!({
        "active": true, "iss": "https://op.example.com", "sub": "bdc@example.com",
        "scope": "api profile", "token_type": "Bearer", "iat": NOW, "exp": NOW + 3600,
    });
    let but = |changes: Value| Reply::Json(with(&good, &changes));
    match token {
        cambist::demo::toys::BEARER => Reply::Json(good),
        "expired" => but(json!({ "exp": NOW - 1 })),
        "expires-now" => but(json!({ "exp": NOW })),
        "short-lived" => but(json!({ "exp": NOW + 7 })),
        "eternal" => Reply::Json(crate::support::without(&good, "exp")),
        "scopeless" => Reply::Json(crate::support::without(&good, "scope")),
        "delegated" => but(json!({ "act": { "sub": "admin@example.com" } })),
        "delegable" => but(json!({ "may_act": { "sub": "admin@example.com" } })),
        "bound" => but(json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } })),
        "failing" => Reply::http("500 Internal Server Error", "application/json", "{}"),
        _ => Reply::Json(json!({ "active": false })),
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "http")
        {
            files.push(path);
        }
    }
}

/// A request as it goes over the wire.
fn bytes(request: &str) -> Vec<u8> {
    let (head, body) = request
        .split_once("\n\n")
        .unwrap_or((request.trim_end(), ""));
    let body = expand(body.replace('\n', ""), 0);
    let head = expand(head.to_owned(), 0);
    let mut out = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        match line {
            b"Content-Length: *" => out.extend(format!("Content-Length: {}", body.len()).bytes()),
            line => out.extend(line),
        }
        out.extend(b"\r\n");
    }
    out.extend(b"\r\n");
    out.extend(body);
    out
}

/// `{hex:ff}` is that byte, `{crlf}` a line end, `{repeat:a:3}` is `aaa`, `{fill:9}` as many `a` as make
/// nine bytes in all, `{params:2:p}` is `&p0=0&p1=1` (the same name again for one that may repeat),
/// `{scopes:2}` is `+s0+s1`, and `{headers:2}` two header lines.
fn expand(text: String, before: usize) -> Vec<u8> {
    let Some((left, rest)) = text.split_once('{') else {
        return text.into_bytes();
    };
    let Some((inner, right)) = rest.split_once('}') else {
        return text.into_bytes();
    };
    let parts: Vec<&str> = inner.split(':').collect();
    let many = |make: &dyn Fn(usize) -> String, count: &str| -> Vec<u8> {
        (0..count.parse().unwrap())
            .map(make)
            .collect::<String>()
            .into_bytes()
    };
    let made = match parts.as_slice() {
        ["hex", hex] => vec![u8::from_str_radix(hex, 16).unwrap()],
        ["crlf"] => b"\r\n".to_vec(),
        ["repeat", what, count] => what.repeat(count.parse().unwrap()).into_bytes(),
        ["fill", size] => {
            let size: usize = size.parse().unwrap();
            vec![b'a'; size - before - left.len() - right.len()]
        }
        ["params", count, "audience"] => many(&|n| format!("&audience={n}"), count),
        ["params", count, name] => many(&|n| format!("&{name}{n}={n}"), count),
        ["scopes", count] => many(&|n| format!("+s{n}"), count),
        ["headers", count] => {
            let lines = many(&|n| format!("X-{n}: {n}\n"), count);
            lines.strip_suffix(b"\n").unwrap().to_vec()
        }
        _ => format!("{{{inner}}}").into_bytes(),
    };
    let mut out = left.as_bytes().to_vec();
    out.extend(made);
    out.extend(expand(right.to_owned(), before + left.len()));
    out
}

/// The answer and its record as the files have them.
async fn show(gateway: &Gateway, name: &str, answer: &Answer, before: usize) -> String {
    let mut out = format!("{}\n", answer.line);
    let mut headers = answer.headers.clone();
    headers.sort();
    let id = answer.header("x-request-id").unwrap_or_default().to_owned();
    for (header, value) in headers {
        match header.as_str() {
            "content-length" if !name.contains("head") => {}
            "date" => {}
            "x-request-id" => out.push_str("x-request-id: <id>\n"),
            _ => out.push_str(&format!("{header}: {value}\n")),
        }
    }
    if !answer.body.is_empty() {
        assert!(Gateway::is_strict_json(&answer.body), "{name}: {answer:?}");
        let mut json = answer.json();
        if let Some(token) = json["access_token"].as_str() {
            json["access_token"] = claims(gateway, token).await;
        }
        if json["request_id"].is_string() {
            assert_eq!(json["request_id"], id, "{name}");
            json["request_id"] = "<id>".into();
        }
        let keys = json.get_mut("keys").and_then(Value::as_array_mut);
        for key in keys.unwrap_or(&mut Vec::new()) {
            for random in ["kid", "x", "y"] {
                assert_ne!(key[random].as_str().unwrap(), "", "{name}");
                key[random] = format!("<{random}>").into();
            }
        }
        out.push_str(&format!("\n{json:#}\n"));
    }
    out.push_str(&format!("{DASHES}\n"));
    let records = gateway.records().split_off(before);
    assert_eq!(
        records.len(),
        usize::from(!id.is_empty()),
        "{name}: one record for an answer, none for the rest"
    );
    match records.first() {
        None => out.push_str("not recorded\n"),
        Some(record) => {
            assert_eq!(record["request_id"], id, "{name}");
            let word = |field: &str| record[field].as_str().unwrap_or("-").to_owned();
            let rule = record["rule"]["id"].as_str().unwrap_or("-");
            let client = record["client"]["id"].as_str().unwrap_or("-");
            let unproved = record["client"]["authenticated"] == false;
            let claimed = if unproved { " (not authenticated)" } else { "" };
            out.push_str(&format!(
                "{} {} {}\nclient {client}{claimed}, rule {rule}\n",
                word("outcome"),
                word("error"),
                word("reason"),
            ));
            if let Some(detail) = record["detail"].as_str() {
                out.push_str(&format!("{detail}\n"));
            }
        }
    }
    out
}

async fn claims(gateway: &Gateway, token: &str) -> Value {
    let mut claims = gateway.open(token).await;
    assert_eq!(claims["jti"].as_str().map(str::len), Some(22));
    claims["jti"] = "<jti>".into();
    claims
}
