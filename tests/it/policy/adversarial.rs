//! Input that means harm: an answer in good time, never a panic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cambist::diagnostic::{SourceText, Style};
use cambist::policy::parse;

use super::cases::load;
use super::golden::all;

/// A second for an optimised build; debug builds on a busy machine get more.
const LIMIT: u64 = if cfg!(debug_assertions) { 10 } else { 1 };

/// Parses, checks what was parsed, renders what was found; whether it is valid.
fn survives(what: &str, text: &str) -> bool {
    let start = Instant::now();
    let name: Arc<str> = Arc::from("t.policy");
    let mut sources = SourceText::default();
    sources.insert(Arc::clone(&name), Arc::from(text));
    let parsed = match parse(&name, text) {
        Ok(_) => {
            let (result, _) = load(&[("t.policy".to_owned(), text.to_owned())]);
            result.is_ok()
        }
        Err(problems) => {
            assert!(problems.has_errors(), "{what}");
            let shown = problems.render(&sources, Style::Plain);
            assert!(
                ["E01", "E0203", "E0218"]
                    .iter()
                    .any(|code| shown.contains(&format!("error[{code}"))),
                "{what}: {shown}"
            );
            false
        }
    };
    let took = start.elapsed();
    assert!(took < Duration::from_secs(LIMIT), "{what} took {took:?}");
    parsed
}

fn deny(condition: &str) -> String {
    format!("policy 1 module t\ndeny a {{ when {condition} }}\n")
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{", "}"),
        ("not (", ")"),
        ("(not ", ")"),
    ] {
        let (open, close) = (open.repeat(10_000), close.repeat(10_000));
        for text in [
            format!("{open}scope has \"a\"{close}"),
            open.clone(),
            close.clone(),
            format!("scope has {open}\"a\"{close}"),
        ] {
            assert!(!survives("nesting", &deny(&text)));
            assert!(!survives("nesting", &text));
        }
    }
    // The brackets of strings and comments do not count, and hide nothing.
    let many = "(".repeat(100);
    assert!(!survives(
        "in a string",
        &deny(&format!("scope has \"a\\\"{many}\\\\\""))
    ));
    assert!(survives(
        "in a string",
        &deny(&format!("subject.sub == \"a\\\"{many}\\\\\""))
    ));
    assert!(survives(
        "in a comment",
        &deny(&format!("scope has \"a\" # \" {many}\n"))
    ));
    let hidden = "(".repeat(10_000);
    assert!(!survives(
        "after a comment",
        &deny(&format!("# a\r{hidden}"))
    ));
    assert!(!survives(
        "after a string",
        &deny(&format!("subject.sub == \"a\\\\\" and {hidden}"))
    ));
}

#[test]
fn long_rows_are_read_in_good_time() {
    assert!(survives(
        "not",
        &deny(&format!("{}scope has \"a\"", "not ".repeat(10_000)))
    ));
    assert!(!survives("not", &deny(&"not ".repeat(10_000))));
    let atoms = vec!["scope has \"a\""; 2_000];
    assert!(survives("and", &deny(&atoms.join(" and "))));
    assert!(survives("or", &deny(&atoms.join(" or "))));
    assert!(!survives(
        "mixed",
        &deny(&atoms.join(" and ").replacen("and", "or", 1))
    ));
    let list = vec!["\"a\""; 20_000].join(",");
    assert!(survives("list", &deny(&format!("subject.sub in [{list}]"))));
    assert!(!survives(
        "list",
        &deny(&format!("subject.sub in [{list},,]"))
    ));
}

#[test]
fn much_of_anything_is_refused() {
    const MB: usize = 1024 * 1024;
    let header = "policy 1 module t\n";
    for unit in [
        "a",
        "(",
        "\"",
        "\\",
        "#",
        "\n",
        "not ",
        "rule ",
        "rule a { }",
        "deny a {",
        "\"a\" ",
        "{\"",
        "policy 1 module t\n",
        "é",
        "\u{1f980}",
        "\0",
        "\r",
        "\u{feff}",
        "0",
        "-",
        ".",
        "==",
        "when scope has \"a\" ",
        "&",
    ] {
        assert!(!survives(unit, &unit.repeat(MB / unit.len())), "{unit:?}");
        let text = unit.repeat(MB / 16 / unit.len());
        let blank = matches!(unit, "#" | "\n");
        assert_eq!(
            survives(unit, &format!("{header}{text}")),
            blank,
            "{unit:?}"
        );
        if unit != "\n" && unit != "#" {
            assert!(!survives(unit, &deny(&text)), "{unit:?}");
            assert!(
                !survives(unit, &deny(&format!("scope has {text}"))),
                "{unit:?}"
            );
        }
    }
    assert!(!survives("too large", &"#".repeat(5 * MB)));
}

#[test]
fn pseudo_random_bytes_are_refused() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let alphabet = "policy module rule deny from by to when use { } [ ] ( ) , . : \" \\ # \n \r \0 == != in has not and or ?? & 1 5m a é";
    let words: Vec<&str> = alphabet.split(' ').collect();
    for round in 0..200 {
        let mut text = String::from(if round % 2 == 0 {
            "policy 1 module t "
        } else {
            ""
        });
        for _ in 0..500 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(words[usize::try_from(state % words.len() as u64).unwrap()]);
            if state & 1 << 40 == 0 {
                text.push(' ');
            }
        }
        survives("random", &text);
    }
}

/// Every prefix, and every policy with one byte gone or another, of every golden file that is small.
#[test]
fn damaged_policies_are_refused_or_read() {
    let mut cases = 0;
    for file in ["parse", "check"].into_iter().flat_map(all) {
        if file.input.len() > 700 {
            continue;
        }
        for (at, _) in file.input.char_indices().step_by(13) {
            let (before, after) = file.input.split_at(at);
            survives("cut", before);
            let rest = after
                .get(after.chars().next().map_or(0, char::len_utf8)..)
                .unwrap();
            survives("gone", &format!("{before}{rest}"));
            survives("other", &format!("{before}\"{rest}"));
            cases += 3;
        }
    }
    println!("{cases} damaged policies");
    let everything = all("parse")
        .into_iter()
        .find(|f| f.path.ends_with("everything.policy"))
        .unwrap();
    for (at, _) in everything.input.char_indices() {
        survives("cut", &everything.input[..at]);
    }
}

#[test]
fn ten_thousand_rules() {
    let mut text = String::from("policy 1 module t\n");
    for index in 0..10_000 {
        text.push_str(&format!(
            "rule r{index} {{\n  from corp, self\n  by client [\"rs08\", \"orders-api\"]\n  to resource under \"https://api.example.com/v1/orders/{index}\"\n  when scope only [\"a:{index}\", \"b\"] and subject.claims.employee_id == \"e{index}\"\n  use mint {{ scope: requested & subject.scope, lifetime: at_most 5m, sub: \"x:${{subject.sub}}\" }}\n}}\n"
        ));
    }
    let name: Arc<str> = Arc::from("t.policy");
    let start = Instant::now();
    let tree = parse(&name, &text).unwrap_or_else(|_| panic!("not parsed"));
    let parsed = start.elapsed();
    let result = cambist::policy::check(&[tree], &super::realm::schema());
    println!(
        "10,000 rules ({} KiB): parse {parsed:?}, check {:?}",
        text.len() / 1024,
        start.elapsed() - parsed
    );
    match result {
        Ok((set, _)) => assert_eq!(set.counts(), (10_000, 0)),
        Err(problems) => panic!("{:?}", problems.counts()),
    }
    // Many mistakes.
    let end = text.find("rule r3000 ").unwrap();
    let wrong = text[..end].replace("employee_id", "employe");
    let start = Instant::now();
    let tree = parse(&name, &wrong).unwrap_or_else(|_| panic!("not parsed"));
    assert!(cambist::policy::check(&[tree], &super::realm::schema()).is_err());
    println!("3,000 mistakes: {:?}", start.elapsed());
}
