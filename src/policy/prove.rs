//! Proofs: whether something holds of every request, or the request of which it does not.
//!
//! A question is a formula over checked rules (`formula`). It becomes a proposition about single
//! values (`lower`, `model`), those fall into finitely many classes (`domain`, with `text`, `uris` and
//! `hours`), and a SAT solver looks for a choice of classes (`solve`). What it finds is made into a request
//! and held against the evaluator (`witness`); what it does not find is not there. `questions` has what
//! every load asks, `pairs` which rules are held against each other at all, `verdicts` what need not be
//! asked again.
//!
//! INVARIANT: "no request" is an answer about every request; "this request" is one that the evaluator agrees
//! with; everything else is unknown, and says why.

mod ask;
mod diff;
mod domain;
mod finding;
mod formula;
mod ground;
mod hours;
mod lower;
mod model;
mod pairs;
mod questions;
mod solve;
pub(super) mod spell;
mod text;
mod uris;
mod verdicts;
mod witness;

use std::collections::BTreeSet;

pub(super) use ask::{Answer, Ground, ask};
pub use diff::{Checked, Differences, diff};
pub(super) use formula::Formula;
pub use solve::Why;
pub use verdicts::Verdicts;
pub use witness::Witness;

use super::decide::PolicySet;
use super::schema::Schema;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::oauth::id::RuleId;
use finding::Finding;
use questions::Questions;

/// What people call a processor.
pub type Name<'n, P> = &'n dyn Fn(&P) -> String;

/// What was proved of a policy set.
#[derive(Debug)]
pub struct Proved {
    /// What was found: errors where a load must not go on.
    pub findings: Diagnostics,
    /// The same as data: the code, and the rules and denies that it is about. What is not there was proved.
    pub conclusions: Vec<(&'static str, Vec<RuleId>)>,
    /// For the next load.
    pub verdicts: Verdicts,
}

/// Proves what must hold of a policy set (that no request selects two outcomes, and what its own proofs
/// claim), and finds what cannot be meant: rules that are never selected, conditions that always hold,
/// `overrides` without effect.
///
/// `accepted` names questions that may stay without an answer. `before` has the verdicts of a load before,
/// of which those are taken over that still hold.
pub fn prove<P>(
    set: &PolicySet<P>,
    schema: &Schema,
    name: Name<'_, P>,
    accepted: &BTreeSet<String>,
    before: Option<&Verdicts>,
) -> Proved {
    let mut questions = Questions::new(set, schema, name, before);
    let mut found: Vec<Finding> = Vec::new();
    questions.overlaps(&mut found);
    questions.unreachable(&mut found);
    questions.useless_overrides(&mut found);
    questions.always_true(&mut found);
    questions.proofs(&mut found);
    let mut findings = Diagnostics::default();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut conclusions = Vec::new();
    for Finding {
        diagnostic,
        rules,
        unknown,
    } in found
    {
        conclusions.push((diagnostic.code, rules));
        match unknown.as_ref().and_then(|name| accepted.get(name)) {
            Some(name) => {
                used.insert(name);
                findings.push(Diagnostic {
                    severity: crate::diagnostic::Severity::Warning,
                    help: vec!["the configuration accepts it: `accept_unknown`".to_owned()],
                    ..diagnostic
                });
            }
            None => findings.push(diagnostic),
        }
    }
    for name in accepted.iter().filter(|name| !used.contains(name.as_str())) {
        let message =
            format!("`accept_unknown` has `{name}`, and no question of that name is open");
        findings.push(Diagnostic::warning("E0903", message).help("delete it"));
    }
    Proved {
        findings,
        conclusions,
        verdicts: questions.verdicts,
    }
}
