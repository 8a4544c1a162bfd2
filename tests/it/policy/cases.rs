//! The golden files of `tests/data/policy`: `parse` (text → tree), `check` (text → rules), `prove`
//! (rules → what holds of every request), `decide` (rules and requests → decisions) and `test` (the tests that stand in policies).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use cambist::context::{ExchangeContext, Hop};
use cambist::diagnostic::{Diagnostics, SourceText, Style};
use cambist::oauth::NumericDate;
use cambist::oauth::id::{ProcessorId, RuleId};
use cambist::policy::decide::Reason;
use cambist::policy::prove::prove;
use cambist::policy::{Decision, PolicySet, check, facts, parse, trial};
use serde_json::{Map, Value};

use super::golden::{all, golden};
use super::{realm, tree};

#[test]
fn policies_are_read() {
    golden("parse", |input| {
        let (name, sources) = source(input);
        match parse(&name, input) {
            Ok(file) => tree::render(&file, &sources),
            Err(problems) => problems.render(&sources, Style::Plain),
        }
    });
}

#[test]
fn policies_are_checked() {
    golden("check", |input| {
        let (result, sources) = load(&files(input));
        match result {
            Ok((_, warnings)) => format!("ok\n{}", warnings.render(&sources, Style::Plain)),
            Err(problems) => problems.render(&sources, Style::Plain),
        }
    });
}

#[test]
fn policies_are_proved() {
    golden("prove", |input| {
        let (result, sources) = load(&files(input));
        match result {
            Ok((set, _)) => {
                let name = |id: &ProcessorId| id.to_string();
                let accepted = [String::from("main.hostile-one and main.hostile-two")].into();
                let accepted = match input.contains("# accepted") {
                    true => accepted,
                    false => BTreeSet::new(),
                };
                let proved = prove(&set, &realm::schema(), &name, &accepted, None);
                format!(
                    "{}\n{}",
                    if proved.findings.has_errors() {
                        "refused"
                    } else {
                        "ok"
                    },
                    proved.findings.render(&sources, Style::Plain)
                )
            }
            Err(problems) => problems.render(&sources, Style::Plain),
        }
    });
}

#[test]
fn requests_are_decided() {
    golden("decide", |input| {
        let (policy, requests) = input.split_once("-- requests\n").unwrap();
        let (result, sources) = load(&files(policy));
        let set = match result {
            Ok((set, _)) => set,
            Err(problems) => return problems.render(&sources, Style::Plain),
        };
        let mut out = String::new();
        for line in requests.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(comment) = line.strip_prefix('#') {
                out.push_str(&format!("#{comment}\n"));
                continue;
            }
            out.push_str(&match context(line) {
                Ok(context) => {
                    super::properties::trace_agrees(&set, &context);
                    decided(&set, &context)
                }
                Err(problems) => format!("no context: {}", problems.join("; ")),
            });
            out.push('\n');
        }
        out
    });
}

#[test]
fn tests_are_run() {
    golden("test", |input| {
        let files = files(input);
        let (result, sources) = load(&files);
        let set = match result {
            Ok((set, _)) => set,
            Err(problems) => return problems.render(&sources, Style::Plain),
        };
        let trees: Vec<_> = files
            .iter()
            .map(|(name, text)| parse(&Arc::from(name.as_str()), text).unwrap())
            .collect();
        let trials = match trial::prepare(&trees, &realm::schema()) {
            Ok(trials) => trials,
            Err(problems) => return problems.render(&sources, Style::Plain),
        };
        let mut problems = Diagnostics::default();
        let mut coverage = set.coverage();
        let mut out = String::new();
        for trial in &trials {
            let verdict = trial.run(&set, &sources, ToString::to_string);
            set.cover(trial.context(), &mut coverage);
            if verdict.passed() {
                out.push_str(&format!("passed: {}\n", trial.name));
            } else {
                problems.push(trial::failure(trial, &verdict));
            }
        }
        for (id, rule) in &coverage.rules {
            out.push_str(&format!("{id}: matched by {}\n", rule.matched));
            for condition in &rule.conditions {
                let (held, failed) = (condition.held, condition.failed);
                let place = tree::place(&condition.span, &sources);
                out.push_str(&format!("  {place}: held {held}, failed {failed}\n"));
            }
        }
        let (rules, conditions) = (coverage.rules(), coverage.conditions());
        out.push_str(&format!(
            "covered: rules {rules:?}, conditions {conditions:?}\n\n"
        ));
        out + &problems.render(&sources, Style::Plain)
    });
}

/// Every code that the policy engine can give stands in what some golden expects.
#[test]
fn every_diagnostic_has_a_golden() {
    let mut expected = String::new();
    for dir in ["parse", "check", "prove", "decide", "test"] {
        all(dir)
            .iter()
            .for_each(|file| expected.push_str(&file.expected));
    }
    let mut codes = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect_codes(&root.join("policy.rs"), &mut codes);
    collect_codes(&root.join("policy"), &mut codes);
    assert!(codes.len() > 30, "{codes:?}");
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| !expected.contains(&format!("[{code}]")))
        .collect();
    assert!(missing.is_empty(), "no golden for {missing:?}");
}

fn collect_codes(path: &Path, codes: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect_codes(&entry.unwrap().path(), codes);
        }
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    for (at, _) in text.match_indices("\"E") {
        let code = text.get(at + 1..at + 6).unwrap_or_default();
        let closed = text.get(at + 6..at + 7) == Some("\"");
        if closed && code.bytes().skip(1).all(|b| b.is_ascii_digit()) {
            codes.insert(code.to_owned());
        }
    }
}

fn source(text: &str) -> (Arc<str>, SourceText) {
    let name: Arc<str> = Arc::from("t.policy");
    let mut sources = SourceText::default();
    sources.insert(Arc::clone(&name), Arc::from(text));
    (name, sources)
}

/// A policy of one file, or of several, each after a line `-- file NAME`.
/// The files of a golden.
pub fn files(input: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    for line in input.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix("-- file ") {
            files.push((name.trim().to_owned(), String::new()));
        } else if let Some((_, text)) = files.last_mut() {
            text.push_str(line);
        } else {
            files.push(("t.policy".to_owned(), line.to_owned()));
        }
    }
    files
}

type Checked = Result<(PolicySet<ProcessorId>, Diagnostics), Diagnostics>;

/// Parses and checks files against the realm of these tests.
pub fn load(files: &[(String, String)]) -> (Checked, SourceText) {
    let mut sources = SourceText::default();
    let mut trees = Vec::new();
    for (name, text) in files {
        let name: Arc<str> = Arc::from(name.as_str());
        sources.insert(Arc::clone(&name), Arc::from(text.as_str()));
        match parse(&name, text) {
            Ok(tree) => trees.push(tree),
            Err(problems) => return (Err(problems), sources),
        }
    }
    (check(&trees, &realm::schema()), sources)
}

/// A context from one line of JSON.
pub fn context(line: &str) -> Result<ExchangeContext, Vec<String>> {
    let facts: Map<String, Value> = serde_json::from_str(line).unwrap();
    facts::assemble(&facts, &realm::schema(), NumericDate(realm::NOW))
}

/// A decision in one line.
pub fn decided(set: &PolicySet<ProcessorId>, context: &ExchangeContext) -> String {
    match set.decide(context) {
        Decision::Permit(processor, permit) => {
            let allowance = permit.allowance();
            let mut out = format!(
                "permit {processor} by {} {{audience: {:?}, scope: \"{}\", expires_in: {}, sub: {:?}, type: {}",
                permit.rule(),
                allowance.audience,
                allowance.scope,
                allowance.expires_at.since(context.now),
                allowance.subject.as_str(),
                allowance.token_type,
            );
            for (name, text) in permit
                .parameters()
                .iter()
                .filter(|(name, _)| **name != "sub")
            {
                out.push_str(&format!(", {name}: {text}"));
            }
            if !allowance.act.is_empty() {
                out.push_str(&format!(", act: {}", Hop::nested_json(&allowance.act)));
            }
            if let Some(may_act) = &allowance.may_act {
                out.push_str(&format!(", may_act: {}", may_act.claim()));
            }
            out.push('}');
            out
        }
        Decision::Deny(denial) => {
            let mut out = format!("refuse {} {}", denial.code.as_str(), denial.reason.name());
            if let Some((rule, _)) = &denial.rule {
                out.push_str(&format!(" {rule}"));
            }
            if let Reason::DeniedBy(all) | Reason::Ambiguous(all) = &denial.reason {
                let all: Vec<String> = all.iter().map(RuleId::to_string).collect();
                out.push_str(&format!(" of [{}]", all.join(", ")));
            }
            if let Some(because) = &denial.because {
                out.push_str(&format!(" because {because:?}"));
            }
            if let Some(tell) = &denial.tell {
                out.push_str(&format!(" tell {tell:?}"));
            }
            out
        }
    }
}
