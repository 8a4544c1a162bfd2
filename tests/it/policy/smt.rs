//! The analyser against an SMT solver: both are asked the same of random policy sets, and agree.
//!
//! What the rules say is written down once more, as SMT-LIB over bit vectors, from the checked rules and
//! from what the evaluator does with them; nothing of the analyser is used for it. A value has a flag for
//! whether it is there, a text has as many bytes as any may have here, a glob is the places of it that each
//! byte can lead to, a URI has its parts, and a set has as many members as the tests of a question can rest
//! on. Texts are made of a part of the characters that there are, and no longer than what policies name: what
//! is found with them is a request all the same.
//!
//! Compared are: every pair of rules with different outcomes of which none overrides the other (can a
//! request select both); every rule and deny (is it ever selected, does anything match); every `overrides`
//! (does a request match both rules); and proofs of the form `never use when …`, with what would be granted.
//! Not compared are questions with hours of the week, with claims that issuers declare with two types or
//! separators, and with tenants; other kinds of proofs; conditions that always hold; and where a set would
//! need more members than it has here, that nothing is found.
//!
//! `CAMBIST_SMT` names a z3, which must be there then; `CAMBIST_SMT_SETS` says how many sets,
//! `CAMBIST_SEED` which.

mod request;
mod rules;
mod solver;
mod term;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cambist::oauth::id::{ProcessorId, RuleId};
use cambist::policy::PolicySet;
use cambist::policy::prove::prove;
use cambist::policy::rule::{Claim, ClaimKind, Condition, DenyRule, UseRule};
use cambist::policy::schema::Schema;

use crate::support::random_policies::{Random, Sample, checks, condition, sample};
use request::{OutOfReach, Request};
use solver::{Answer, Solver};
use term::{Term, all, not};

/// How many policy sets.
const SETS: usize = 60;
/// The most members of a set: few at first, since few are mostly enough. What would need more than the
/// last is not compared where nothing is found.
const MEMBERS: [usize; 2] = [1, 5];

type Set = PolicySet<ProcessorId>;

/// A question, and whether the analyser says that a request has it.
struct Question<'a> {
    kind: &'static str,
    about: String,
    /// What must hold: one of these.
    any: Vec<Formula<'a>>,
    ours: bool,
}

/// What must hold of a request.
#[derive(Default)]
struct Formula<'a> {
    rules: Vec<&'a UseRule<ProcessorId>>,
    denies: Vec<&'a DenyRule>,
    when: Option<&'a Condition>,
    granted: Option<&'a UseRule<ProcessorId>>,
    /// And none of these.
    no_rules: Vec<&'a UseRule<ProcessorId>>,
    no_denies: Vec<&'a DenyRule>,
}

impl Formula<'_> {
    fn term(&self, request: &mut Request<'_>) -> Result<Term, OutOfReach> {
        let mut parts = Vec::new();
        for rule in &self.rules {
            parts.push(request.rule(rule)?);
        }
        for deny in &self.denies {
            parts.push(request.deny(deny)?);
        }
        if let Some(when) = self.when {
            parts.push(request.condition(when, None)?);
        }
        if let Some(rule) = self.granted {
            parts.push(request.granted(rule)?);
        }
        for rule in &self.no_rules {
            parts.push(not(request.rule(rule)?));
        }
        for deny in &self.no_denies {
            parts.push(not(request.deny(deny)?));
        }
        Ok(all(parts))
    }
}

/// What z3 says of a formula, with the script that it was asked last, and whether a set has fewer members
/// there than it should.
fn ask(
    formula: &Formula<'_>,
    schema: &Schema,
    solver: &mut Solver,
) -> Result<(Answer, String, bool), OutOfReach> {
    let mut counting = Request::new(schema);
    formula.term(&mut counting)?;
    let mut last = None;
    for most in MEMBERS {
        let mut request = counting.again(most);
        let term = formula.term(&mut request)?;
        let script = request.script(&[term]);
        let answer = solver.check(&script);
        let short = request.short;
        last = Some((answer, script, short));
        // What is found is there, however few there may be; what is not may need more.
        if answer == Answer::Sat || !short {
            break;
        }
    }
    Ok(last.unwrap())
}

/// The same of any of several.
fn ask_any(
    question: &Question<'_>,
    schema: &Schema,
    solver: &mut Solver,
) -> Result<(Answer, String, bool), OutOfReach> {
    let mut all = (Answer::Unsat, String::new(), false);
    for formula in &question.any {
        let (answer, script, short) = ask(formula, schema, solver)?;
        match answer {
            Answer::Sat => return Ok((answer, script, short)),
            Answer::Unknown => all.0 = answer,
            Answer::Unsat => {}
        }
        all.1 = script;
        all.2 |= short;
    }
    Ok(all)
}

/// What the analyser says, by code and the names between its quotes.
struct Said(Vec<(&'static str, String)>);

impl Said {
    fn has(&self, code: &str, message: &str) -> bool {
        self.0.iter().any(|(c, m)| *c == code && m == message)
    }

    /// That it does not know something about this.
    fn unknown(&self, name: &str) -> bool {
        let name = format!("`{name}`");
        self.0
            .iter()
            .any(|(code, message)| *code == "E0902" && message.contains(&name))
    }
}

/// The rules that override one, at once or by way of others.
fn overriders<'a>(set: &'a Set, rule: &RuleId) -> Vec<&'a UseRule<ProcessorId>> {
    let mut above: BTreeSet<&RuleId> = BTreeSet::new();
    loop {
        let more = set.rules().iter().filter(|other| {
            let over = |below: &RuleId| below == rule || above.contains(below);
            !above.contains(&other.id) && other.overrides.iter().any(over)
        });
        let more: Vec<&RuleId> = more.map(|rule| &rule.id).collect();
        if more.is_empty() {
            break;
        }
        above.extend(more);
    }
    let all = set.rules().iter();
    all.filter(|rule| above.contains(&rule.id)).collect()
}

/// All that is asked of a set; what the analyser does not know is left out and counted.
fn questions<'a>(
    set: &'a Set,
    said: &Said,
    count: &mut BTreeMap<String, usize>,
) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    let mut unknown = |kind: &str| *count.entry(format!("{kind} unknown to us")).or_default() += 1;
    let denies: Vec<&DenyRule> = set.denies().iter().collect();
    // That a rule decides.
    let decides = |rules: Vec<&'a UseRule<ProcessorId>>| Formula {
        no_rules: rules
            .iter()
            .flat_map(|rule| overriders(set, &rule.id))
            .collect(),
        rules,
        no_denies: denies.clone(),
        ..Formula::default()
    };
    for (place, rule) in set.rules().iter().enumerate() {
        let id = &rule.id;
        for other in &set.rules()[place + 1..] {
            let above = |one: &RuleId, other: &RuleId| {
                overriders(set, one).iter().any(|rule| rule.id == *other)
            };
            if rule.outcome_number == other.outcome_number
                || above(id, &other.id)
                || above(&other.id, id)
            {
                continue;
            }
            if said.has(
                "E0902",
                &format!(
                    "it cannot be proved that `{id}` and `{}` are disjoint",
                    other.id
                ),
            ) {
                unknown("overlap");
                continue;
            }
            let message = format!(
                "rules `{id}` and `{}` can select different outcomes for the same request",
                other.id
            );
            questions.push(Question {
                kind: "overlap",
                about: format!("a request that selects both `{id}` and `{}`", other.id),
                any: vec![decides(vec![rule, other])],
                ours: said.has("E0501", &message),
            });
        }
        let unmatched = said.has("E0502", &format!("no request matches rule `{id}`"));
        let unselected = said.has("E0503", &format!("rule `{id}` is never selected"));
        if said.has(
            "E0902",
            &format!("it cannot be said whether `{id}` can be selected"),
        ) {
            unknown("selected");
        } else {
            questions.push(Question {
                kind: "selected",
                about: format!("a request that selects `{id}`"),
                any: vec![decides(vec![rule])],
                ours: !unmatched && !unselected,
            });
            if unmatched || unselected {
                questions.push(Question {
                    kind: "matched",
                    about: format!("a request that `{id}` matches"),
                    any: vec![Formula {
                        rules: vec![rule],
                        ..Formula::default()
                    }],
                    ours: !unmatched,
                });
            }
        }
        for below in &rule.overrides {
            let other = set.rules().iter().find(|other| other.id == *below).unwrap();
            let message = format!("`overrides {}` in `{id}` has no effect", below.name);
            questions.push(Question {
                kind: "both matched",
                about: format!("a request that both `{id}` and `{below}` match"),
                any: vec![Formula {
                    rules: vec![rule, other],
                    ..Formula::default()
                }],
                ours: !said.has("E0507", &message),
            });
        }
    }
    for deny in set.denies() {
        let id = &deny.id;
        if said.has(
            "E0902",
            &format!("it cannot be said whether `{id}` refuses anything"),
        ) {
            unknown("denied");
            continue;
        }
        let message = format!("no request matches deny `{id}`: it protects nothing");
        questions.push(Question {
            kind: "denied",
            about: format!("a request that `{id}` matches"),
            any: vec![Formula {
                denies: vec![deny],
                ..Formula::default()
            }],
            ours: !said.has("E0502", &message),
        });
    }
    for proof in set.proofs() {
        if said.unknown(&proof.name) {
            unknown("permitted");
            continue;
        }
        for Claim { kind, .. } in &proof.claims {
            let ClaimKind::NeverUse {
                processor: None,
                when,
            } = kind
            else {
                continue;
            };
            let rules = set.rules().iter().map(|rule| Formula {
                when: Some(when),
                granted: Some(rule),
                ..decides(vec![rule])
            });
            questions.push(Question {
                kind: "permitted",
                about: format!("a request that `{}` says is never permitted", proof.name),
                any: rules.collect(),
                ours: said.has("E0705", &format!("proof `{}` fails", proof.name)),
            });
        }
    }
    questions
}

/// A random set, with proofs.
fn proved(random: &mut Random) -> Sample {
    let size = 2 + random.below(4);
    let Sample { schema, text, set } = sample(random, size);
    let mut sample = Sample { schema, text, set };
    for number in 0..2 {
        let more = (0..20).find_map(|_| {
            let when = condition(random, &sample.schema, 2);
            let text = format!(
                "{}prove \"p{number}\" {{ never use when {when} }}\n",
                sample.text
            );
            Some((checks(&text, &sample.schema)?, text))
        });
        if let Some((set, text)) = more {
            (sample.set, sample.text) = (set, text);
        }
    }
    sample
}

#[test]
fn the_analyser_and_an_smt_solver_agree() {
    let Some(mut solver) = Solver::start() else {
        println!("z3 is not installed: nothing was compared");
        return;
    };
    let given = |name: &str| std::env::var_os(name)?.to_str()?.parse::<usize>().ok();
    let sets = given("CAMBIST_SMT_SETS").unwrap_or(SETS);
    let seed = given("CAMBIST_SEED").unwrap_or(6) as u64;
    let mut random = Random::new(seed);
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    let (mut asked, mut unknown, mut differences) = (0, 0, Vec::new());
    for number in 0..sets {
        let sample = proved(&mut random);
        let name = |id: &ProcessorId| id.to_string();
        let findings = prove(&sample.set, &sample.schema, &name, &BTreeSet::new(), None).findings;
        let said = findings.sorted();
        let said = said.iter().map(|f| (f.code, f.message.clone()));
        let said = Said(said.collect());
        for question in questions(&sample.set, &said, &mut count) {
            let kind = question.kind;
            let mut counted = |verdict: &str| {
                *count.entry(format!("{kind} {verdict}")).or_default() += 1;
            };
            let asking = ask_any(&question, &sample.schema, &mut solver);
            let (theirs, script, short) = match asking {
                Ok(answer) => answer,
                Err(OutOfReach(what)) => {
                    counted(&format!("not compared ({what})"));
                    continue;
                }
            };
            asked += 1;
            match (theirs, question.ours) {
                (Answer::Unknown, _) => {
                    unknown += 1;
                    counted("unknown to z3");
                }
                (Answer::Sat, true) => counted("yes"),
                (Answer::Unsat, false) => counted("no"),
                // A longer set might have it.
                (Answer::Unsat, true) if short => counted("not compared (long sets)"),
                (Answer::Sat, false) => {
                    let model = solver.model(&script);
                    differences.push(format!(
                        "seed {seed}, set {number}: {}: we say no, z3 says yes\n{}\n{model}",
                        question.about, sample.text
                    ));
                }
                (Answer::Unsat, true) => {
                    differences.push(format!(
                        "seed {seed}, set {number}: {}: we say yes, z3 says no\n{}\n{}\n{script}",
                        question.about,
                        sample.text,
                        rendered(&findings, &sample.text),
                    ));
                }
            }
        }
    }
    println!(
        "{sets} policy sets, {asked} questions, {unknown} unknown to z3, {} differences: {count:?}",
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    // What is not answered shows nothing.
    assert!(unknown * 50 <= asked, "{unknown} of {asked} unknown to z3");
    // Nor does what we do not know: an answer that the evaluator does not confirm becomes one of these.
    let ours = count.iter().filter(|(kind, _)| kind.ends_with("to us"));
    let ours: usize = ours.map(|(_, count)| count).sum();
    assert!(ours * 50 <= asked, "{ours} unknown to us: {count:?}");
    for kind in ["overlap", "selected", "denied", "permitted"] {
        for verdict in ["yes", "no"] {
            let kind = format!("{kind} {verdict}");
            assert!(
                sets < SETS || count.contains_key(&kind),
                "{kind} never came up: {count:?}"
            );
        }
    }
}

fn rendered(findings: &cambist::diagnostic::Diagnostics, text: &str) -> String {
    let mut sources = cambist::diagnostic::SourceText::default();
    sources.insert(Arc::from("random.policy"), Arc::from(text));
    findings.render(&sources, cambist::diagnostic::Style::Plain)
}
