//! What was found out about a token, for people and for machines. Never the token, nor its signature.

use serde_json::{Map, Value, json};

use super::{Findings, Verdict};
use crate::clock::rfc3339;
use crate::oauth::NumericDate;
use crate::oauth::claims::Claims;
use crate::token::TokenError;

/// The claims that are times (RFC 7519 §4.1, OpenID Connect Core §2, RFC 8417 §2.2).
const TIMES: [&str; 6] = ["exp", "nbf", "iat", "auth_time", "updated_at", "toe"];

/// For people.
pub(super) fn text(findings: &Findings) -> String {
    let mut out = String::new();
    match &findings.signature {
        Ok(checked) => {
            let key = match &checked.kid {
                Some(kid) => format!("key {}", visible(&Value::from(kid.as_str()))),
                None => "the only key".to_owned(),
            };
            out.push_str(&format!(
                "verified with {key} {}\n",
                visible_text(&checked.by)
            ));
        }
        Err(unchecked) => {
            let verdict = match findings.kind {
                "jwe" => "ENCRYPTED",
                "opaque" => "OPAQUE",
                _ => "DECODED, NOT VERIFIED",
            };
            out.push_str(&format!("{verdict}: {}\n", visible_text(&unchecked.why)));
            if let Some(help) = &unchecked.help {
                out.push_str(&format!("help: {}\n", visible_text(help)));
            }
        }
    }
    for objection in &findings.times {
        out.push_str(&format!("not good now: {objection}\n"));
    }
    if findings.kind != "opaque" {
        out.push_str("\nheader\n");
        members(&mut out, &findings.header, findings.now);
    }
    match &findings.claims {
        Some(claims) => {
            out.push_str("\nclaims\n");
            members(&mut out, claims, findings.now);
        }
        None if findings.kind == "jws" => {
            out.push_str("\nits payload is no JSON object in base64url\n");
        }
        None => {}
    }
    if !findings.gateway.is_empty() {
        out.push_str("\nthe gateway\n");
        for verdict in &findings.gateway {
            gateway(&mut out, verdict, findings.signature.is_ok());
        }
    }
    out
}

fn gateway(out: &mut String, verdict: &Verdict, verified: bool) {
    let Verdict {
        realm, token_type, ..
    } = verdict;
    let title = format!("  {realm}: as {}", visible_text(token_type));
    if verdict.objections.is_empty() {
        let clients = match &verdict.clients {
            None => "any client".to_owned(),
            Some(clients) => clients.join(", "),
        };
        let signed = if verified { "" } else { ", were it verified" };
        out.push_str(&format!("{title}: takes it from {clients}{signed}\n"));
    }
    for objection in &verdict.objections {
        out.push_str(&format!(
            "{title}: refuses it: {} ({})\n",
            visible_text(&objection.to_string()),
            objection.reason()
        ));
    }
}

fn members(out: &mut String, object: &Map<String, Value>, now: NumericDate) {
    let width = object.keys().map(|name| name.chars().count()).max();
    let width = width.unwrap_or_default().min(24);
    let dates = Claims::new(object.clone());
    for (written, value) in object {
        let name = visible_text(written);
        out.push_str(&format!("  {name:width$}  {}", visible(value)));
        if let Some((date, says)) = time(&dates, written, now) {
            out.push_str(&format!("  {date}, {says}"));
        }
        out.push('\n');
    }
}

/// When it is, and how far from now.
fn time(claims: &Claims, name: &str, now: NumericDate) -> Option<(String, String)> {
    if !TIMES.contains(&name) {
        return None;
    }
    let date = claims.date(name).ok().flatten()?;
    let away = date.since(now);
    let ago = away <= 0;
    let length = length(away.unsigned_abs());
    let says = match (name, ago) {
        ("exp", true) => format!("expired {length} ago"),
        ("exp", false) => format!("expires in {length}"),
        (_, true) => format!("{length} ago"),
        (_, false) => format!("in {length}, not yet"),
    };
    Some((rfc3339(date), says))
}

/// `3m`, `2h 5m`, `4d 3h`.
fn length(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut said: Vec<String> = Vec::new();
    for (size, unit) in units {
        let count = left / size;
        left %= size;
        // Two units are enough for anybody, and they are neighbours.
        if count > 0 {
            said.push(format!("{count}{unit}"));
        } else if !said.is_empty() {
            break;
        }
        if said.len() == 2 {
            break;
        }
    }
    match said.is_empty() {
        true => "0s".to_owned(),
        false => said.join(" "),
    }
}

/// For machines.
pub(super) fn json(findings: &Findings) -> String {
    let objections = |list: &[TokenError]| {
        let list = list.iter().map(
            |objection| json!({ "reason": objection.reason(), "message": objection.to_string() }),
        );
        list.collect::<Value>()
    };
    let (verified, not_verified) = match &findings.signature {
        Ok(checked) => (json!({ "kid": checked.kid, "by": checked.by }), Value::Null),
        Err(unchecked) => (
            Value::Null,
            json!({
                "reason": unchecked.reason, "message": unchecked.why, "help": unchecked.help,
            }),
        ),
    };
    let times: Map<String, Value> = findings
        .claims
        .iter()
        .flat_map(|claims| {
            let dates = Claims::new(claims.clone());
            let known = TIMES.iter().filter_map(move |name| {
                let (at, says) = time(&dates, name, findings.now)?;
                Some(((*name).to_owned(), json!({ "at": at, "says": says })))
            });
            known.collect::<Vec<_>>()
        })
        .collect();
    let gateway = findings.gateway.iter().map(|verdict| {
        json!({
            "realm": verdict.realm, "as": verdict.token_type, "clients": verdict.clients,
            "objections": objections(&verdict.objections),
        })
    });
    let all = json!({
        "kind": findings.kind,
        "good": findings.good(),
        "verified": verified,
        "not_verified": not_verified,
        "header": findings.header,
        "claims": findings.claims,
        "times": times,
        "not_good_now": objections(&findings.times),
        "gateway": gateway.collect::<Value>(),
    });
    // Every line that ends here is one of the form: those of values are escaped.
    let lines = format!("{all:#}");
    let lines = lines.lines().map(|line| visible_text(line) + "\n");
    lines.collect()
}

/// A value as JSON on one line.
fn visible(value: &Value) -> String {
    visible_text(&value.to_string())
}

/// Text of a stranger, in which nothing moves the cursor, hides or turns the direction: what JSON leaves as it is
/// and a terminal does not show as it is, is written as JSON writes it.
fn visible_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        for (seconds, said) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (185, "3m 5s"),
            (3600, "1h"),
            (3601, "1h"),
            (90_061, "1d 1h"),
        ] {
            assert_eq!(length(seconds), said);
        }
    }

    #[test]
    fn a_stranger_moves_no_cursor() {
        let value = json!({ "a\u{1b}[2J": "b\u{9b}31m\u{202e}c" });
        let shown = visible(&value);
        assert_eq!(shown, r#"{"a\u001b[2J":"b\u009b31m\u202ec"}"#);
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
