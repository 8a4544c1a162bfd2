//! Tree → text → tree, and comments.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cambist::diagnostic::{SourceText, Style};
use cambist::policy::syntax::ast::File;
use cambist::policy::syntax::{parse, print};
use proptest::prelude::*;

use super::trees;

/// Reads a text that must be a policy.
pub fn read(text: &str) -> File {
    let name: Arc<str> = Arc::from("t.policy");
    parse(&name, text).unwrap_or_else(|problems| {
        let mut sources = SourceText::default();
        sources.insert(name, Arc::from(text));
        panic!("{}\n{text}", problems.render(&sources, Style::Plain))
    })
}

/// What is formatted says the same, keeps every comment in order, and stays as it is.
fn holds(text: &str) -> String {
    let tree = read(text);
    let printed = print(&tree, Some(text));
    let again = read(&printed);
    assert!(again == tree, "not the same:\n{text}\n=>\n{printed}");
    let comments = |file: &File| -> Vec<String> {
        let all = file.comments.iter();
        all.map(|comment| comment.text.to_string()).collect()
    };
    assert_eq!(comments(&again), comments(&tree), "{text}\n=>\n{printed}");
    let twice = print(&again, Some(&printed));
    assert_eq!(twice, printed, "not stable, from:\n{text}");
    assert!(printed.ends_with('\n') && !printed.ends_with("\n\n"));
    for line in printed.lines() {
        assert!(!line.ends_with(' '), "white space at the end of {line:?}");
    }
    printed
}

/// Every place between two words or signs of a text, outside strings and comments.
fn boundaries(text: &str) -> Vec<usize> {
    let (mut places, mut in_string, mut in_comment, mut escaped) = (vec![], false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            '\n' => in_comment = false,
            _ if in_comment => {}
            '\\' if in_string => escaped = !escaped,
            '"' if escaped => escaped = false,
            '"' => in_string = !in_string,
            '#' if !in_string => in_comment = true,
            ' ' if !in_string => places.push(at),
            _ => escaped = false,
        }
        if c == '\n' {
            places.push(at);
        }
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3_000 }))]

    #[test]
    fn a_printed_tree_is_read_as_the_same_tree(file in trees::file()) {
        let printed = print(&file, None);
        let again = read(&printed);
        prop_assert!(again == file, "{printed}");
        prop_assert_eq!(print(&again, Some(&printed)), printed.clone());
        prop_assert_eq!(print(&again, None), print(&file, None));
    }

    /// Comments of every kind, anywhere; a name is not torn apart.
    #[test]
    fn comments_stay(
        file in trees::file(),
        places in proptest::collection::vec((any::<prop::sample::Index>(), 0..7_u8), 0..12),
    ) {
        let text = print(&file, None);
        let all = boundaries(&text);
        let mut chosen: Vec<(usize, u8)> = places
            .iter()
            .map(|(index, kind)| (all[index.index(all.len())], *kind))
            .collect();
        chosen.sort_unstable();
        chosen.dedup_by_key(|(place, _)| *place);
        let (mut out, mut from) = (String::new(), 0);
        for (number, (place, kind)) in chosen.into_iter().enumerate() {
            out.push_str(&text[from..place]);
            from = place;
            out.push_str(&match kind {
                0 => format!(" # c{number}\n"),
                1 => format!("\n# c{number}\n"),
                2 => format!("\n\n   # c{number}\n\n\n"),
                3 => format!("\n## c{number}\n"),
                4 => format!(" ## c{number}\n"),
                5 => format!("\n\n## c{number} {{\n\n"),
                _ => format!(" # c{number}\n# d{number} (\n\n# e{number} \"\n"),
            });
        }
        out.push_str(&text[from..]);
        // A comment may have become documentation; what is read is the measure.
        holds(&out);
    }
}

fn policies(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            policies(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "policy")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_policy_of_this_repository_stays_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for dir in ["policies", "examples", "tests/data"] {
        policies(&root.join(dir), &mut paths);
    }
    let mut count = 0;
    for path in &paths {
        let text = fs::read_to_string(path).unwrap();
        let input = text.split("----------\n").next().unwrap();
        if parse(&Arc::from("t.policy"), input).is_ok() {
            holds(input);
            // With the line ends of another system as well.
            holds(&input.replace("\r\n", "\n").replace('\n', "\r\n"));
            count += 1;
        }
    }
    assert!(count > 50, "only {count} policies were read");
}

#[test]
fn a_policy_as_it_should_be_written() {
    let text = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fmt/canonical.policy"),
    )
    .unwrap();
    let careless = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fmt/careless.policy"),
    )
    .unwrap();
    assert_eq!(holds(&careless), text);
    assert_eq!(holds(&text), text);
}

#[test]
fn comments_stay_where_they_stood() {
    for (before, after) in [
        // Above and behind what they are about.
        (
            "policy 1 module t # m\ndeny a { # a\n# w\nwhen scope has \"x\" # t\n# z\n}",
            "policy 1 module t # m\n\ndeny a { # a\n  # w\n  when  scope has \"x\" # t\n  # z\n}\n",
        ),
        // A comment inside breaks what would fit.
        (
            "policy 1 module t\ndeny a { when x == [\"a\", # one\n\"b\" # two\n] and # both\n y has 1 }",
            "policy 1 module t\n\ndeny a {\n  when  x == [\n      \"a\", # one\n      \"b\", # two\n    ] # both\n    and y has 1\n}\n",
        ),
        // What was no documentation does not become any.
        (
            "policy 1 module t\n## no\n\nlist @a : string = [] ## neither\n## doc\ndef b = c",
            "policy 1 module t\n## no\n\nlist @a : string = [] ## neither\n\n## doc\ndef b = c\n",
        ),
        // Nothing leaves its item.
        (
            "policy 1 module t\ndef a = (b\n## b\n)\ndef c = d",
            "policy 1 module t\n\ndef a =\n  ## b\n  b\ndef c = d\n",
        ),
        (
            "policy 1 module t\nlist # x\n@a : string = [\n# y\n]",
            "policy 1 module t\n\nlist @a : string = [ # x\n  # y\n]\n",
        ),
    ] {
        assert_eq!(holds(before), after);
    }
}
