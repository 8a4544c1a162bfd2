//! Tests that are written for requests: each is read, passes, and says what it is about.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use cambist::diagnostic::SourceText;
use cambist::oauth::id::ProcessorId;
use cambist::policy::generate::{Generated, blocks, file, representatives};
use cambist::policy::syntax::print;
use cambist::policy::{PolicySet, parse, trial};

use super::cases::load;
use super::realm;

/// Fails unless the tests, as a file beside the others, are as `fmt` would have them, pass, and have
/// names of their own.
pub fn pass(files: &[(String, String)], set: &PolicySet<ProcessorId>, generated: Generated) {
    if generated.tests.is_empty() {
        return;
    }
    let count = generated.tests.len();
    let text = file("generated-tests", generated.tests);
    let name: Arc<str> = Arc::from("generated.policy");
    let tree = parse(&name, &text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    assert_eq!(print::print(&tree, Some(&text)), text);
    let names: BTreeSet<&str> = tree.tests().map(|test| &*test.name.value).collect();
    assert_eq!(names.len(), count, "{text}");
    let mut trees = vec![tree];
    for (name, text) in files {
        trees.push(parse(&Arc::from(name.as_str()), text).unwrap());
    }
    let trials = trial::prepare(&trees, &realm::schema());
    let trials = trials.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    let trials = trials
        .iter()
        .filter(|trial| &*trial.module == "generated-tests");
    let mut run = 0;
    for trial in trials {
        let verdict = trial.run(set, &SourceText::default(), ToString::to_string);
        assert!(verdict.passed(), "{}: {verdict:?}\n{text}", trial.name);
        run += 1;
    }
    assert_eq!(run, count);
}

/// Every policy of the goldens that loads, but for those that are there for their size.
#[test]
fn tests_for_the_policies_of_the_goldens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/policy");
    let (mut sets, mut tests, mut found, mut missed) = (0, 0, 0, Vec::new());
    for dir in ["check", "decide", "test"] {
        for entry in std::fs::read_dir(root.join(dir)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let input = text.split("----------\n").next().unwrap();
            let input = input.split("-- requests\n").next().unwrap();
            let files = super::cases::files(input);
            let Ok((set, _)) = load(&files).0 else {
                continue;
            };
            let trees = files
                .iter()
                .map(|(name, text)| parse(&Arc::from(name.as_str()), text));
            let trees: Vec<_> = trees.map(Result::unwrap).collect();
            // Tests that cannot be run stand there on purpose.
            if trial::prepare(&trees, &realm::schema()).is_err() {
                continue;
            }
            let (asked, missing) = representatives(&set, &realm::schema());
            let rules: BTreeSet<_> = asked.iter().map(|one| &one.rule).collect();
            found += rules.len();
            missed.extend(missing.iter().map(|id| format!("{} {id}", path.display())));
            let generated = blocks(&set, &realm::schema(), &asked, ToString::to_string);
            tests += generated.tests.len();
            pass(&files, &set, generated);
            sets += 1;
        }
    }
    println!(
        "{tests} tests for {found} rules of {sets} sets, {} not found",
        missed.len()
    );
    assert!(sets > 20 && tests > 200, "{tests} tests of {sets} sets");
    // Rules that no request can meet stand in goldens on purpose; the search finds nearly all others.
    assert!(
        found > missed.len() * 4,
        "{found} found, not found:\n{}",
        missed.join("\n")
    );
}
