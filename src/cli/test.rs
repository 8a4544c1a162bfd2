//! `cambist test DIR`: every test of the policies by itself, and what they have seen of the rules.

mod generate;

use std::time::{Duration, Instant};

use clap::ValueEnum;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use serde_json::{Value, json};

use super::{
    Exit, FINDINGS, GOOD, RealmDirectory, complain, complain_about_load, could_not, one_of, say,
    services,
};
use crate::config::{self, LoadError, Tests};
use crate::diagnostic::{Severity, SourceText, Span, Style};
use crate::policy::decide::Coverage;
use crate::policy::trial::{Trial, Verdict};
use crate::snapshot::Realm;

/// Run the tests that stand in the policies of a configuration directory, once their proofs hold.
///
/// `check` and every reload run them too, and stop at one that fails; this verb shows each, with its
/// time and what differed, and which rules and conditions no test has seen.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cambist test policies --threshold 80\n  cambist test --generate --module payments policies\n\nExit codes: 0 all passed, 1 one failed or the coverage is below the threshold, 2 could not run."
)]
pub(super) struct Test {
    #[command(flatten)]
    directory: RealmDirectory,
    #[command(flatten)]
    generate: generate::Generate,
    /// Only tests whose `module` or name has this text in it; then nothing is said of coverage.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Name what no test has seen.
    #[arg(long, conflicts_with = "filter")]
    coverage: bool,
    /// Fail when less than this part of the rules, or of the conditions, is covered.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100), conflicts_with = "filter")]
    threshold: Option<u8>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
    /// JUnit's XML, for build servers.
    Junit,
}

/// One test and how it ended.
struct Result<'a> {
    trial: &'a Trial,
    verdict: Verdict,
    elapsed: Duration,
}

pub(super) fn run(verb: &Test) -> Exit {
    if verb.generate.asked() {
        return verb.generate.run(&verb.directory);
    }
    if verb.coverage && verb.format == Format::Junit {
        let code = could_not("`--coverage` has no place in `--format junit`");
        complain("help: `--format json` has it\n");
        return Err(code);
    }
    let services = services()?;
    let loaded = config::load(&verb.directory.dir, &services, None, Tests::Keep);
    let snapshot = match one_of(loaded, verb.directory.realm.as_deref()) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            complain_about_load(&error);
            // A proof that fails, or rules that select two outcomes, are what this verb is there to find.
            let code = match proofs_alone(&error) {
                true => {
                    complain("error: what must hold of every request does not\n");
                    FINDINGS
                }
                false => could_not(NOT_LOADED),
            };
            match verb.format {
                Format::Text => {}
                Format::Json => say(&format!("{:#}\n", not_loaded_json(&error)))?,
                Format::Junit => say(&not_loaded_junit(&error).map_err(could_not)?)?,
            }
            return Err(code);
        }
    };
    let realms = verb.directory.realms(&snapshot)?;
    let several = snapshot.realms.len() > 1;
    let reports: Vec<Report<'_>> = realms
        .into_iter()
        .map(|realm| Report::run(verb, realm, several))
        .collect();
    if let (Some(text), true) = (
        &verb.filter,
        reports.iter().all(|one| one.results.is_empty()),
    ) {
        return Err(could_not(format!(
            "no test has `{text}` in its module or name"
        )));
    }
    match verb.format {
        Format::Text => {
            for report in &reports {
                say(&report.text(verb.coverage || verb.threshold.is_some()))?;
            }
        }
        Format::Json => say(&format!("{:#}\n", json_of(&reports)))?,
        Format::Junit => say(&junit(|writer| write_junit(&reports, writer)).map_err(could_not)?)?,
    }
    let failed = reports.iter().any(|report| report.failures() > 0);
    let mut short = false;
    for report in &reports {
        if let Some(lacks) = verb.threshold.and_then(|wanted| report.short_of(wanted)) {
            complain(&format!("error: {}{lacks}\n", report.of_realm()));
            short = true;
        }
    }
    if failed || short {
        Ok(FINDINGS)
    } else {
        Ok(GOOD)
    }
}

/// One object for one realm; for several, one of each by its name.
fn json_of(reports: &[Report<'_>]) -> Value {
    match reports {
        [only] if !only.several => only.json(),
        all => {
            let by_name = all
                .iter()
                .map(|one| (one.realm.name.to_string(), one.json()));
            json!({
                "passed": all.iter().map(|one| one.results.len() - one.failures()).sum::<usize>(),
                "failed": all.iter().map(Report::failures).sum::<usize>(),
                "realms": Value::Object(by_name.collect()),
            })
        }
    }
}

/// Whether nothing is wrong but what is proved of the policies.
fn proofs_alone(error: &LoadError) -> bool {
    let proved = ["E0501", "E0502", "E0705", "E0902"];
    let errors = error.diagnostics.sorted();
    let mut errors = errors
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    errors.all(|finding| proved.contains(&finding.code))
}

/// Why there are no results.
const NOT_LOADED: &str = "the configuration has errors";

/// The report where no test could be run, for those who read nothing else.
fn not_loaded_json(error: &LoadError) -> Value {
    json!({
        "passed": 0,
        "failed": 0,
        "error": NOT_LOADED,
        "findings": error.diagnostics.all_to_json(&error.sources),
    })
}

fn not_loaded_junit(error: &LoadError) -> std::io::Result<String> {
    let findings = error.diagnostics.render(&error.sources, Style::Plain);
    junit(|writer| {
        let counts = [("tests", "1"), ("failures", "0"), ("errors", "1")];
        let counts = counts.map(|(name, count)| (name, count.to_owned()));
        let name = |name: &str| ("name", name.to_owned());
        writer.write_event(Event::Start(element("testsuites", &counts)))?;
        let suite = [&[name("configuration")], counts.as_slice()].concat();
        writer.write_event(Event::Start(element("testsuite", &suite)))?;
        let case = [("classname", "configuration".to_owned()), name("load")];
        writer.write_event(Event::Start(element("testcase", &case)))?;
        let message = [("message", NOT_LOADED.to_owned())];
        writer.write_event(Event::Start(element("error", &message)))?;
        writer.write_event(Event::Text(BytesText::new(&characters(&findings))))?;
        for name in ["error", "testcase", "testsuite", "testsuites"] {
            writer.write_event(Event::End(BytesEnd::new(name)))?;
        }
        Ok(())
    })
}

type XmlWriter = quick_xml::Writer<Vec<u8>>;

/// An XML document of what is written.
fn junit(write: impl FnOnce(&mut XmlWriter) -> std::io::Result<()>) -> std::io::Result<String> {
    let mut writer = quick_xml::Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    write(&mut writer)?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(std::io::Error::other)
}

fn element(name: &'static str, attributes: &[(&str, String)]) -> BytesStart<'static> {
    let mut start = BytesStart::new(name);
    for (name, value) in attributes {
        start.push_attribute((*name, characters(value).as_str()));
    }
    start
}

/// The text with a mark for what XML 1.0 cannot hold in any spelling (section 2.2).
fn characters(text: &str) -> String {
    let allowed = |c: char| match c {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => c >= ' ',
    };
    let mark = |c| {
        if allowed(c) {
            c
        } else {
            char::REPLACEMENT_CHARACTER
        }
    };
    text.chars().map(mark).collect()
}

/// The tests of a realm.
struct Report<'a> {
    realm: &'a Realm,
    /// Whether there are other realms.
    several: bool,
    results: Vec<Result<'a>>,
    /// What the tests have seen, if all of them were run.
    coverage: Option<Coverage>,
}

impl<'a> Report<'a> {
    fn run(verb: &Test, realm: &'a Realm, several: bool) -> Self {
        let set = &realm.policies;
        let mut coverage = set.coverage();
        let wanted = |trial: &&Trial| {
            let name = format!("{} {}", trial.module, trial.name);
            verb.filter.as_ref().is_none_or(|text| name.contains(text))
        };
        let mut results = Vec::new();
        for trial in realm.trials.iter().filter(wanted) {
            let begin = Instant::now();
            let verdict = trial.run(set, &realm.sources, |processor| processor.id.to_string());
            let elapsed = begin.elapsed();
            set.cover(trial.context(), &mut coverage);
            results.push(Result {
                trial,
                verdict,
                elapsed,
            });
        }
        Self {
            realm,
            several,
            results,
            coverage: verb.filter.is_none().then_some(coverage),
        }
    }

    /// `realm corp: `, where there are others.
    fn of_realm(&self) -> String {
        match self.several {
            true => format!("realm {}: ", self.realm.name),
            false => String::new(),
        }
    }

    fn failures(&self) -> usize {
        let failed = self
            .results
            .iter()
            .filter(|result| !result.verdict.passed());
        failed.count()
    }

    fn text(&self, coverage: bool) -> String {
        let sources = &self.realm.sources;
        let mut out = String::new();
        let mut file = None;
        for result in &self.results {
            let span = &result.trial.span;
            if file != Some(&span.file) {
                out.push_str(&format!("{}\n", sources.shown(&span.file)));
                file = Some(&span.file);
            }
            let mark = if result.verdict.passed() {
                '✓'
            } else {
                '✗'
            };
            let name = &result.trial.name;
            out.push_str(&format!(
                "  {mark} {name}  {}\n",
                milliseconds(result.elapsed)
            ));
            if !result.verdict.passed() {
                out.push_str(&format!("      at {}\n", sources.place(span)));
            }
            for line in &result.verdict.differences {
                out.push_str(&format!("      {line}\n"));
            }
            for line in &result.verdict.hints {
                out.push_str(&format!("      | {line}\n"));
            }
        }
        if let (Some(seen), true) = (&self.coverage, coverage) {
            out.push_str(&unseen(seen, sources));
        }
        let failed = self.failures();
        let passed = self.results.len() - failed;
        out.push_str(&format!(
            "{}{passed} passed, {failed} failed",
            self.of_realm()
        ));
        match self.realm.proofs() {
            0 => {}
            1 => out.push_str("; 1 proof holds"),
            many => out.push_str(&format!("; {many} proofs hold")),
        }
        if let Some(seen) = &self.coverage {
            let (rules, all_rules) = seen.rules();
            let (conditions, all_conditions) = seen.conditions();
            out.push_str(&format!(
                "; {rules} of {all_rules} rules and denies decided a test, {conditions} of {all_conditions} conditions seen both ways"
            ));
        }
        out + "\n"
    }

    fn json(&self) -> Value {
        let sources = &self.realm.sources;
        let tests: Vec<Value> = self
            .results
            .iter()
            .map(|result| {
                json!({
                    "module": &*result.trial.module,
                    "name": &*result.trial.name,
                    "at": sources.place_to_json(&result.trial.span),
                    "passed": result.verdict.passed(),
                    "duration_us": u64::try_from(result.elapsed.as_micros()).unwrap_or(u64::MAX),
                    "differences": result.verdict.differences,
                    "hints": result.verdict.hints,
                })
            })
            .collect();
        let mut report = json!({
            "passed": self.results.len() - self.failures(),
            "failed": self.failures(),
            "proofs": self.realm.proofs(),
            "tests": tests,
        });
        if let (Some(seen), Some(members)) = (&self.coverage, report.as_object_mut()) {
            members.insert("coverage".to_owned(), coverage_json(seen, sources));
        }
        report
    }

    /// What is covered too little; each kind must reach the threshold by itself.
    fn short_of(&self, wanted: u8) -> Option<String> {
        if self.results.is_empty() && wanted > 0 {
            return Some(format!(
                "below the threshold of {wanted} %: there are no tests"
            ));
        }
        let coverage = self.coverage.as_ref()?;
        let parts = [
            ("rules", coverage.rules()),
            ("conditions", coverage.conditions()),
        ];
        let short: Vec<String> = parts
            .into_iter()
            .filter(|(_, (seen, all))| seen * 100 < all * usize::from(wanted))
            .map(|(what, (seen, all))| format!("{seen} of {all} {what}"))
            .collect();
        (!short.is_empty())
            .then(|| format!("below the threshold of {wanted} %: {}", short.join(", ")))
    }
}

/// One suite for each module of each realm, as build servers read it.
fn write_junit(reports: &[Report<'_>], writer: &mut XmlWriter) -> std::io::Result<()> {
    let seconds = |elapsed: Duration| format!("{:.6}", elapsed.as_secs_f64());
    let counts = |results: &[&Result<'_>]| {
        let failed = results.iter().filter(|r| !r.verdict.passed()).count();
        let time: Duration = results.iter().map(|r| r.elapsed).sum();
        [
            ("tests", results.len().to_string()),
            ("failures", failed.to_string()),
            ("errors", "0".to_owned()),
            ("time", seconds(time)),
        ]
    };
    let all: Vec<&Result<'_>> = reports.iter().flat_map(|report| &report.results).collect();
    writer.write_event(Event::Start(element("testsuites", &counts(&all))))?;
    for report in reports {
        let results: Vec<&Result<'_>> = report.results.iter().collect();
        let mut rest = results.as_slice();
        while let Some(first) = rest.first() {
            let same = rest
                .iter()
                .take_while(|result| result.trial.module == first.trial.module);
            let (suite, others) = rest.split_at(same.count());
            rest = others;
            let mut attributes = vec![(
                "name",
                match report.several {
                    true => format!("{}/{}", report.realm.name, first.trial.module),
                    false => first.trial.module.to_string(),
                },
            )];
            attributes.extend(counts(suite));
            writer.write_event(Event::Start(element("testsuite", &attributes)))?;
            for result in suite {
                let trial = result.trial;
                let sources = &report.realm.sources;
                let (line, _) = sources.line_column(&trial.span).unwrap_or((1, 1));
                let attributes = [
                    ("classname", trial.module.to_string()),
                    ("name", trial.name.to_string()),
                    ("file", sources.shown(&trial.span.file)),
                    ("line", line.to_string()),
                    ("time", seconds(result.elapsed)),
                ];
                let case = element("testcase", &attributes);
                if result.verdict.passed() {
                    writer.write_event(Event::Empty(case))?;
                    continue;
                }
                writer.write_event(Event::Start(case))?;
                let message = result.verdict.differences.join("; ");
                let failure = element("failure", &[("message", message)]);
                writer.write_event(Event::Start(failure))?;
                let lines = result.verdict.differences.iter();
                let lines: Vec<&str> = lines
                    .chain(&result.verdict.hints)
                    .map(String::as_str)
                    .collect();
                writer.write_event(Event::Text(BytesText::new(&characters(&lines.join("\n")))))?;
                writer.write_event(Event::End(BytesEnd::new("failure")))?;
                writer.write_event(Event::End(BytesEnd::new("testcase")))?;
            }
            writer.write_event(Event::End(BytesEnd::new("testsuite")))?;
        }
    }
    writer.write_event(Event::End(BytesEnd::new("testsuites")))?;
    Ok(())
}

/// What no test has seen, by rule.
fn unseen(coverage: &Coverage, sources: &SourceText) -> String {
    let mut out = String::new();
    for (id, rule) in &coverage.rules {
        let mut lines = Vec::new();
        if rule.matched == 0 {
            lines.push("it decides no test".to_owned());
        }
        for condition in &rule.conditions {
            let seen = match (condition.held, condition.failed) {
                (0, 0) => "never looked at",
                (0, _) => "never true",
                (_, 0) => "never false",
                _ => continue,
            };
            let span = &condition.span;
            let text = sources
                .text(&span.file)
                .and_then(|text| text.get(span.start..span.end))
                .unwrap_or_default();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            lines.push(format!("{seen}: {text}  ({})", sources.place(span)));
        }
        if !lines.is_empty() {
            out.push_str(&format!("  {id}  {}\n", sources.place(&rule.span)));
            for line in lines {
                out.push_str(&format!("      {line}\n"));
            }
        }
    }
    if out.is_empty() {
        out
    } else {
        format!("not covered\n{out}")
    }
}

fn coverage_json(coverage: &Coverage, sources: &SourceText) -> Value {
    let at = |span: &Span| sources.place_to_json(span);
    let rules: Vec<Value> = coverage
        .rules
        .iter()
        .map(|(id, rule)| {
            let conditions = rule.conditions.iter();
            let conditions =
                conditions.map(|c| json!({ "at": at(&c.span), "true": c.held, "false": c.failed }));
            json!({
                "id": id.to_string(),
                "at": at(&rule.span),
                "deny": rule.deny,
                "matched": rule.matched,
                "conditions": conditions.collect::<Value>(),
            })
        })
        .collect();
    let part = |(seen, all): (usize, usize)| json!({ "covered": seen, "all": all });
    json!({
        "rules": part(coverage.rules()),
        "conditions": part(coverage.conditions()),
        "by_rule": rules,
    })
}

fn milliseconds(elapsed: Duration) -> String {
    format!("{:.2} ms", elapsed.as_secs_f64() * 1000.0)
}
