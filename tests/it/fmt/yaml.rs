//! Tree → YAML → tree, and what YAML may not do.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cambist::config::spelling::{normal, read, write};
use cambist::diagnostic::{SourceText, Style};
use cambist::policy::syntax::ast::{Clause, File, Item, TargetsForm};
use cambist::policy::syntax::{parse, print, word};
use proptest::prelude::*;

use super::{print as text, trees};

fn name() -> Arc<str> {
    Arc::from("t.policy.yaml")
}

/// Reads YAML that must be a policy.
fn yaml(text: &str) -> File {
    read(&name(), text).unwrap_or_else(|problems| panic!("{}\n{text}", shown(text, &problems)))
}

fn shown(text: &str, problems: &cambist::diagnostic::Diagnostics) -> String {
    let mut sources = SourceText::default();
    sources.insert(name(), Arc::from(text));
    problems.render(&sources, Style::Plain)
}

/// The tree without what YAML has no second place for.
fn sayable(mut file: File) -> File {
    let mut names = HashSet::new();
    file.items.retain(|item| match item {
        Item::List(list) => names.insert(format!("list {}", list.name.value)),
        Item::Def(def) => names.insert(format!("def {}", def.name.value)),
        Item::Rule(rule) => names.insert(format!("{:?} {}", rule.kind, rule.name.value)),
        Item::Test(_) | Item::Proof(_) => true,
    });
    for item in &mut file.items {
        if let Item::Rule(rule) = item {
            let mut words = HashSet::new();
            rule.clauses.retain(|clause| {
                matches!(clause.value, Clause::When(_)) || words.insert(clause.value.word())
            });
        }
    }
    file
}

/// What is written is read as the same, and stays as it is.
fn holds(file: &File) -> String {
    let written = write(file).unwrap_or_else(|problems| panic!("{}", shown("", &problems)));
    let again = yaml(&written);
    assert!(
        again == normal(file),
        "not the same:\n{}\n=>\n{written}\n=>\n{}",
        print(file, None),
        print(&again, None)
    );
    assert_eq!(write(&again).unwrap(), written, "not stable");
    assert!(again == yaml(&written.replace('\n', "\r\n")));
    written
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3_000 }))]

    #[test]
    fn a_written_tree_is_read_as_the_same_tree(file in trees::file()) {
        holds(&sayable(file));
    }

    /// Text → YAML → text: the second text says what the first did.
    #[test]
    fn both_spellings_say_the_same(file in trees::file()) {
        let file = normal(&sayable(file));
        let through = print(&yaml(&holds(&file)), None);
        prop_assert_eq!(&through, &print(&file, None));
        prop_assert!(text::read(&through) == file);
    }

    /// Whatever stands in a scalar, it is one name or one string, or it is refused.
    #[test]
    fn a_scalar_brings_no_structure(scalar in "[ -~\n\t]{0,20}|[a-z\"\\\\@{}\\[\\](),:.=-]{0,20}") {
        let quoted = serde_json::to_string(&scalar).unwrap();
        for around in [
            "policy: 1\nmodule: X\n",
            "policy: 1\nmodule: m\nimports: { X: [X] }\n",
            "policy: 1\nmodule: m\nlists: { X: { type: X, members: [X] } }\n",
            "policy: 1\nmodule: m\ndefs: { X: a }\n",
            "policy: 1\nmodule: m\nrules: { X: { doc: X } }\n",
            "policy: 1\nmodule: m\nrules: { a: { from: [X], via: X, issue: X, because: X, error: X } }\n",
            "policy: 1\nmodule: m\nrules: { a: { from: { X: X }, overrides: X, tell: X } }\n",
            "policy: 1\nmodule: m\nrules: { a: { by: { client: [a, X] }, to: { audience: X } } }\n",
            "policy: 1\nmodule: m\nrules: { a: { actor: { named: X }, use: X } }\n",
            "policy: 1\nmodule: m\nrules: { a: { use: { X: { X: 'a' } } } }\n",
            "policy: 1\nmodule: m\ntests: [{ name: X, given: { X: a }, expect: { use: X, by: X, issued: { X: a } } }]\n",
            "policy: 1\nmodule: m\ntests: [{ name: X, expect: { refuse: X } }]\n",
            "policy: 1\nmodule: m\nproofs: [{ name: X, doc: X, prove: [X, 'reachable all'] }]\n",
        ] {
            let written = around.replace('X', &quoted);
            if let Ok(tree) = read(&name(), &written) {
                let again = text::read(&print(&tree, None));
                prop_assert!(again == tree, "{}", written);
            }
        }
    }

    /// What is a name here is one for the grammar.
    #[test]
    fn names_are_those_of_the_grammar(text in "[a-z@._ \"é-]{0,6}|[a-z]{2,6}|@[a-z-]{0,3}|[a-z]\\.[a-z-]{1,3}") {
        let read = |policy: String| parse(&Arc::from("t"), &policy);
        let names = |file: File| match file.items.into_iter().next() {
            Some(Item::Rule(rule)) => match &rule.clauses[0].value {
                Clause::Overrides(names) => names[0].value.to_string(),
                Clause::Via(name) => name.value.to_string(),
                other => format!("{other:?}"),
            },
            Some(Item::List(list)) => list.name.value.to_string(),
            other => format!("{other:?}"),
        };
        let is = |policy: String| read(policy).is_ok_and(|file| names(file) == text);
        prop_assert_eq!(word::is_name(&text), is(format!("policy 1 module m rule a {{ via {text} }}")));
        prop_assert_eq!(word::is_rule_name(&text), is(format!("policy 1 module m rule a {{ overrides {text} }}")));
        prop_assert_eq!(word::is_list_name(&text), is(format!("policy 1 module m list {text} : string = []")));
        let code = read(format!("policy 1 module m test \"\" {{ expect refuse {text} }}"));
        let code = code.is_ok_and(|file| print(&file, None).contains(&format!("refuse {text}\n")));
        prop_assert_eq!(word::is_code(&text), code && !text.is_empty());
        let given = read(format!("policy 1 module m test \"\" {{ given {{ {text} = 1 }} expect refuse }}"));
        let path = given.is_ok_and(|file| print(&file, None).contains(&format!("    {text} = 1\n")));
        prop_assert_eq!(word::is_path(&text), path && !text.is_empty());
    }
}

/// Holds a text against a file; `UPDATE_GOLDEN=1` writes it.
fn is(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, text).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        text,
        "{}",
        path.display()
    );
}

#[test]
fn shipped_policies_can_be_said_in_yaml() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in [
        "policies/main.policy",
        "examples/services/main.policy",
        "tests/data/wire/realm/main.policy",
    ] {
        holds(&text::read(&fs::read_to_string(root.join(path)).unwrap()));
    }
}

#[test]
fn a_policy_in_yaml() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fmt");
    let canonical = text::read(&fs::read_to_string(dir.join("canonical.policy")).unwrap());
    is(&dir.join("canonical.policy.yaml"), &holds(&canonical));
}

/// A block ends in a line end that is none of the text's, whatever its first letter is.
#[test]
fn docs_of_every_style_are_read() {
    for (doc, lines) in [
        ("|\n      \"x\" y\n", "\"x\" y"),
        ("|\n      a\n\n      b\n\n", "a\n\nb"),
        (">-\n      a\n      b\n", "a b"),
        ("\"a \\n b\\n\\n\"", "a\n b"),
        ("''", ""),
    ] {
        let tree = yaml(&format!(
            "policy: 1\nmodule: m\nrules:\n  a:\n    doc: {doc}\n"
        ));
        let found = tree.items[0].doc().unwrap();
        assert_eq!(&**found, lines, "{doc}");
        holds(&tree);
    }
}

/// Every way to write something, and what it is in the text spelling.
#[test]
fn every_form_is_read() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fmt");
    let tree = yaml(&fs::read_to_string(dir.join("forms.policy.yaml")).unwrap());
    is(&dir.join("forms.policy"), &print(&tree, None));
    holds(&tree);
}

/// `tests/data/fmt/refused.case`: pieces of YAML, and what is said about each.
#[test]
fn what_is_no_policy_is_refused_where_it_stands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fmt/refused.case");
    let cases = fs::read_to_string(&path).unwrap();
    let mut out = String::new();
    for case in cases.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').unwrap();
        let input = rest.split("----------\n").next().unwrap();
        let said = match read(&name(), input) {
            Ok(tree) => panic!("{title} was read:\n{}", print(&tree, None)),
            Err(problems) => shown(input, &problems),
        };
        let said = said.trim_end();
        out.push_str(&format!("=== {title}\n{input}----------\n{said}\n\n"));
    }
    is(&path, &out);
}

#[test]
fn large_and_deep_files_are_refused_quickly() {
    const MB: usize = 1024 * 1024;
    let header = "policy: 1\nmodule: m\n";
    let mut keys = String::from(header);
    for index in 0..100_000 {
        keys.push_str(&format!("k{index}: 1\n"));
    }
    let depth = 10_000;
    let nested = |open: &str, close: &str| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        [
            format!("{header}rules: {open}1{close}\n"),
            format!("{header}rules: {{ a: {{ when: '{open}a{close}' }} }}\n"),
            format!("{header}rules: {{ a: {{ use: {{ mint: {{ x: '{open}' }} }} }} }}\n"),
        ]
    };
    let mut all = vec![
        keys,
        format!(
            "{header}rules: {{ a: {{ when: '{}' }} }}\n",
            "a and ".repeat(2_000)
        ),
        format!("{header}x: {}\n", "y".repeat(MB)),
        format!(
            "{header}rules: {{ a: {{ because: {} }} }}\n",
            "y".repeat(MB)
        ),
        format!("{header}rules:\n{}", "  a:\n".repeat(MB / 5)),
        format!("{header}{}", "- ".repeat(MB / 2)),
        "[".repeat(MB),
        "?".repeat(MB),
        "\"".repeat(MB),
        "{a: ".repeat(MB / 4),
    ];
    all.extend(
        [("(", ")"), ("[", "]"), ("{", "}"), ("[{a: ", "}]")]
            .into_iter()
            .flat_map(|(a, b)| nested(a, b)),
    );
    for text in all {
        let start = Instant::now();
        let problems = read(&name(), &text).unwrap_err();
        assert!(problems.has_errors());
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}: {}", &text[..60]);
    }
}

/// One limit for both spellings: what YAML lets pass can be written as text.
#[test]
fn nesting_is_counted_as_in_text() {
    for (before, after, room) in [
        ("defs: { a: '", "' }", 32),
        ("rules: { a: { when: '", "' } }", 31),
    ] {
        for (depth, fits) in [(room, true), (room + 1, false)] {
            let (open, close) = ("not (not (".repeat(20), "))".repeat(20));
            let (open, close) = (&open[..depth * 5], &close[..depth]);
            let text = format!("policy: 1\nmodule: m\n{before}{open}a{close}{after}\n");
            assert_eq!(read(&name(), &text).is_ok(), fits, "{text}");
        }
    }
}

#[test]
fn what_yaml_has_no_place_for_is_not_written() {
    for policy in [
        "rule a {} rule a {}",
        "deny a { because \"x\" because \"y\" }",
        "rule a { to resource \"a\", resource \"b\" }",
        "rule a { use b { \"<<\": 1 } }",
    ] {
        let tree = text::read(&format!("policy 1 module m {policy}"));
        let problems = write(&tree).unwrap_err();
        assert!(shown("", &problems).contains("error[E0105]"), "{policy}");
    }
    let both = text::read("policy 1 module m import a from b import c from b rule x {} deny x {}");
    assert!(matches!(holds(&both).matches("x: {}").count(), 2));
    // The forms of `to` are told apart by the shape alone.
    let forms = text::read("policy 1 module m rule a { to any target or no target }");
    let Item::Rule(rule) = &yaml(&write(&forms).unwrap()).items[0] else {
        panic!("a rule")
    };
    let to = vec![TargetsForm::Any, TargetsForm::None];
    assert_eq!(rule.clauses[0].value, Clause::To(to));
}
