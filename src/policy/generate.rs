//! Requests → tests: each asks what a representative request asks, and expects what the policies make of it.
//!
//! Where the representatives come from is another question: [`representatives`] looks at each rule alone.

mod given;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

pub use search::representatives;

use super::decide::{Decision, Denial, Permit, PolicySet, Reason};
use super::facts;
use super::schema::{ParameterKind, Schema};
use super::syntax::ast::{Expectation, Field, File, GivenValue, Item, Test};
use super::syntax::{print, word};
use super::trial;
use crate::context::{Hop, MayAct};
use crate::oauth::id::RuleId;
use given::{field, spanned, table, text};

/// A request that shows something about a rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Representative {
    /// What it shows, in a few words: `selected`, `another client`.
    pub about: String,
    /// The rule or deny that it is about.
    pub rule: RuleId,
    /// Its attributes, as [`facts::assemble`] takes them.
    pub facts: Map<String, Json>,
}

/// Tests, and what none could be written for.
#[derive(Debug, Default)]
pub struct Generated {
    /// The tests, in the order of the representatives; their names are unique.
    pub tests: Vec<Test>,
    /// What was left out, by the name that its test would have, and why.
    pub left_out: Vec<(String, String)>,
}

/// A test for each representative that one can be written for. `name` is what people call a processor.
pub fn blocks<P>(
    set: &PolicySet<P>,
    schema: &Schema,
    representatives: &[Representative],
    name: impl Fn(&P) -> String,
) -> Generated {
    let mut generated = Generated::default();
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    for one in representatives {
        let title = format!("{}: {}", one.rule, one.about);
        match block(set, schema, one, &name) {
            // What asks the same once more shows nothing more.
            Ok((_, request)) if !asked.insert(request.clone()) => {}
            Ok((mut test, _)) => {
                test.name = text(&unique(&title, &mut names));
                generated.tests.push(test);
            }
            Err(reason) => generated.left_out.push((title, reason)),
        }
    }
    generated
}

/// Tests as a policy file of their own.
#[must_use]
pub fn file(module: &str, tests: Vec<Test>) -> String {
    let file = File {
        module: text(module),
        imports: Vec::new(),
        items: tests.into_iter().map(Item::Test).collect(),
        comments: Vec::new(),
    };
    format!(
        "# Written by `cambist test --generate`: requests at the boundaries of rules, and what the policies made of
# them. Read before you keep them: a test that shows what nobody wants shows a mistake in a rule.
{}",
        print(&file, None)
    )
}

/// A name that no test has yet, and that can stand in a string.
fn unique(wanted: &str, names: &mut BTreeSet<String>) -> String {
    let plain = |c: char| {
        if word::is_plain(&c.to_string()) && c != '\n' {
            c
        } else {
            ' '
        }
    };
    let wanted: String = wanted.chars().take(200).map(plain).collect();
    let mut name = wanted.clone();
    let mut number = 1;
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{wanted} ({number})");
    }
    name
}

/// The test, and all that its request has.
fn block<P>(
    set: &PolicySet<P>,
    schema: &Schema,
    one: &Representative,
    name: impl Fn(&P) -> String,
) -> Result<(Test, String), String> {
    let mut facts = one.facts.clone();
    facts::placeholders(&mut facts, schema);
    let wanted = facts::assemble(&facts, schema, trial::NOW)
        .map_err(|problems| problems.into_iter().next().unwrap_or_default())?;
    let wanted = table(&wanted, schema);
    let mut test = Test {
        name: text(&one.about),
        given: given::settings(&wanted, schema)?,
        // What is expected is not known before the request is.
        expect: spanned(Expectation::Refuse {
            code: None,
            by: None,
        }),
        doc: None,
        span: given::at(),
    };
    let request = |test: &Test| trial::request(test, schema);
    let whole = request(&test).map_err(|problems| {
        let first = problems.sorted().first().map(|first| first.message.clone());
        first.unwrap_or_default()
    })?;
    let told = table(&whole, schema);
    if let Some(path) = differing(&wanted, &told) {
        return Err(format!("a test cannot say this of `{path}`"));
    }
    given::shorten(&mut test, |test| {
        request(test).is_ok_and(|context| table(&context, schema) == told)
    });
    let context = request(&test).map_err(|_| "it cannot be asked".to_owned())?;
    test.expect = spanned(match set.decide(&context) {
        Decision::Permit(processor, permit) => issued(&name(processor), &permit, schema),
        Decision::Deny(denial) => refused(&denial)?,
    });
    Ok((test, Json::from(told).to_string()))
}

/// The first path of which two requests say different things.
fn differing<'t>(one: &'t Map<String, Json>, other: &'t Map<String, Json>) -> Option<&'t String> {
    let paths = one.keys().chain(other.keys());
    let mut paths = paths.filter(|path| one.get(*path) != other.get(*path));
    paths.next()
}

fn refused(denial: &Denial) -> Result<Expectation, String> {
    if let Reason::Ambiguous(_) = denial.reason {
        return Err("rules disagree about it, which no test should keep".to_owned());
    }
    let by = denial.rule.as_ref();
    Ok(Expectation::Refuse {
        code: Some(text(denial.code.as_str())),
        by: by.map(|(id, _)| text(&id.to_string())),
    })
}

fn issued(processor: &str, permit: &Permit<'_>, schema: &Schema) -> Expectation {
    let allowed = permit.allowance();
    let list = |items: &BTreeSet<Arc<str>>| {
        let items = items.iter().map(|item| Json::from(&**item)).collect();
        given::value(&Json::Array(items))
    };
    let seconds = allowed.expires_at.since(permit.context().now);
    let mut fields: Vec<Option<Field>> = vec![
        list(&allowed.audience).map(|value| field("audience", value)),
        list(allowed.scope.as_set()).map(|value| field("scope", value)),
        Some(field("lifetime", given::duration(seconds))),
        given::value(&allowed.subject.as_str().into()).map(|value| field("sub", value)),
    ];
    if !allowed.act.is_empty() {
        let act = given::value(&Hop::nested_json(&allowed.act));
        fields.push(act.map(|value| field("act", value)));
    }
    if let Some(may_act) = allowed.may_act.as_ref().map(MayAct::to_json) {
        fields.push(given::value(&may_act).map(|value| field("may_act", value)));
    }
    let own: BTreeMap<&str, &ParameterKind> = schema
        .processors
        .get(processor)
        .into_iter()
        .flat_map(|schema| schema.parameters)
        .map(|parameter| (parameter.name, &parameter.kind))
        .collect();
    for (name, value) in permit
        .parameters()
        .iter()
        .filter(|(name, _)| **name != "sub")
    {
        let value = given::value(value);
        let sayable = value.filter(|value| match own.get(*name) {
            Some(ParameterKind::Map { .. }) => matches!(value, GivenValue::Fields(_)),
            Some(ParameterKind::Text) | None => matches!(value, GivenValue::Literal(_)),
        });
        fields.push(sayable.map(|value| field(name, value)));
    }
    Expectation::Use {
        processor: text(processor),
        by: Some(text(&permit.rule().to_string())),
        fields: fields.into_iter().flatten().collect(),
    }
}
