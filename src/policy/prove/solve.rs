//! A proposition about a request, handed to a SAT solver; and what it found, as values.
//!
//! Every variable has one literal for each value of its domain: of a scalar one at most is true, of a set those
//! of its members. What the propositions of a question do not tell apart stands in one class, so an
//! answer "nothing" is one about every request.

use batsat::{Callbacks, ClauseKind, Lit, Solver, SolverInterface, SolverOpts, lbool};

use super::domain::{Domain, Kind, Sample};
use super::model::{Granted, Leaf, Model, Node};
use super::text::{TooMany, Work};
use crate::policy::rule::Constant;

/// As many conflicts one question may cost. Steps, not time: every replica comes to the same verdict.
const MAX_CONFLICTS: u64 = 50_000;
/// As many members of a set are counted.
const MAX_COUNT: i64 = 64;
/// As many literals one question may have.
const MAX_LITERALS: u32 = 2_000_000;

/// Why a question has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// The patterns on this attribute tell too much apart.
    Patterns(String),
    /// Members of this set are counted further than is worked out.
    Count(String),
    /// A value of this attribute may be, and none was found.
    Unseen(String),
    /// The search took too many steps.
    Steps,
    /// Too many denies and rules stand in the way, one after the other.
    Rounds,
    /// What was found is no request that gets as far as the policies, and why.
    NoRequest(String),
    /// What was found does not hold of the request that was made of it; the attributes of that request.
    Disagreement(Vec<String>),
    /// More clients are compared with what requests say than are told apart.
    Clients,
    /// There are more pairs of rules than are looked at.
    Pairs,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Patterns(path) => write!(
                f,
                "the patterns on `{path}` tell more apart than is worked out: use fewer patterns, or constants"
            ),
            Self::Count(path) => write!(
                f,
                "the members of `{path}` are counted further than {MAX_COUNT}"
            ),
            Self::Unseen(path) => write!(
                f,
                "of `{path}` a value may be that decides it, and none was found"
            ),
            Self::Steps => write!(f, "the search took more than {MAX_CONFLICTS} steps"),
            Self::Disagreement(paths) => write!(
                f,
                "the analyser and the evaluator disagree on a request with {}: this is a defect of this program, please report it",
                paths.join(", ")
            ),
            Self::Rounds => {
                f.write_str("too many rules and denies stand in the way, one after the other")
            }
            Self::NoRequest(problem) => write!(
                f,
                "what was found is no request that gets as far as the policies: {problem}"
            ),
            Self::Clients => f.write_str(
                "more clients are compared with what requests say than are told apart: name them in `by`",
            ),
            Self::Pairs => f.write_str("there are more pairs of rules than are looked at"),
        }
    }
}

/// A request, as far as a question is about it.
#[derive(Debug)]
pub(super) struct Assignment {
    /// The client, by its place in the schema.
    pub client: usize,
    /// By variable; `None` is absent.
    pub values: Vec<Option<Given>>,
}

/// The value of a variable.
#[derive(Debug)]
pub(super) enum Given {
    /// It is there.
    Flag,
    /// One value.
    One(Constant),
    /// Members.
    Set(Vec<Constant>),
}

/// Counts steps, and stops the solver when there were too many.
#[derive(Default)]
struct Steps {
    learnt: u64,
}

impl Callbacks for Steps {
    fn on_new_clause(&mut self, _: &[Lit], kind: ClauseKind) {
        if matches!(kind, ClauseKind::Learnt) {
            self.learnt += 1;
        }
    }

    fn stop(&self) -> bool {
        self.learnt > MAX_CONFLICTS
    }
}

/// The literals of a variable.
struct Literals {
    present: Lit,
    /// By value of its domain.
    values: Vec<Lit>,
    /// Its domain.
    domain: usize,
    /// Where its languages begin among those of the domain.
    offset: usize,
}

/// The solver with one question in it.
pub(super) struct Search<'m, 'a> {
    model: &'m Model<'a>,
    work: &'m Work,
    solver: Solver<Steps>,
    yes: Lit,
    domains: Vec<Domain>,
    literals: Vec<Literals>,
    clients: Vec<(usize, Lit)>,
    /// Literals of values that stand for classes of which no value was found, and of other doubts; and the
    /// attributes that they are about.
    phantoms: Vec<(Lit, String)>,
}

impl<'m, 'a> Search<'m, 'a> {
    /// Sets a question up: `node`, and the facts of the model.
    pub(super) fn new(model: &'m Model<'a>, node: &Node, work: &'m Work) -> Result<Self, Why> {
        let options = SolverOpts::default();
        let mut solver = Solver::new(options, Steps::default());
        let yes = Lit::new(solver.new_var(lbool::TRUE, true), true);
        let mut search = Self {
            model,
            work,
            solver,
            yes,
            domains: Vec::new(),
            literals: Vec::new(),
            clients: Vec::new(),
            phantoms: Vec::new(),
        };
        search.clause(&[yes]);
        search.variables()?;
        for (number, about) in &model.doubts {
            if let Some(literals) = search.literals.get(*number) {
                search
                    .phantoms
                    .push((literals.present, (*about).to_owned()));
            }
        }
        search.client();
        search.effective_scope();
        for fact in &model.facts {
            search.assert(fact)?;
        }
        search.assert(node)?;
        Ok(search)
    }

    fn clause(&mut self, literals: &[Lit]) {
        self.solver.add_clause_reuse(&mut literals.to_vec());
    }

    fn fresh(&mut self) -> Lit {
        Lit::new(self.solver.new_var(lbool::FALSE, true), true)
    }

    /// The domains, and the literals of every variable.
    fn variables(&mut self) -> Result<(), Why> {
        let model = self.model;
        let mut of_group: Vec<Option<usize>> = vec![None; model.variables.len()];
        for number in 0..model.variables.len() {
            let group = model.group(number);
            if group == number {
                let domain = self.domain(group)?;
                if let Some(slot) = of_group.get_mut(group) {
                    *slot = Some(self.domains.len());
                }
                self.domains.push(domain);
            }
            let place = of_group.get(group).copied().flatten().unwrap_or_default();
            let members = |of: usize| (0..of).filter(|other| model.group(*other) == group);
            let offset = members(number)
                .filter_map(|other| model.variables.get(other))
                .map(|other| other.languages.len())
                .sum();
            self.variable(number, place, offset);
        }
        Ok(())
    }

    fn domain(&self, group: usize) -> Result<Domain, Why> {
        let model = self.model;
        let members = || {
            let numbered = model.variables.iter().enumerate();
            numbered.filter(move |(number, _)| model.group(*number) == group)
        };
        let mut kinds: Vec<Kind> = Vec::new();
        let mut languages = Vec::new();
        let mut scalars = 0_usize;
        let mut sets = 0_usize;
        let mut counted = 0;
        for (_, variable) in members() {
            if !kinds.contains(&variable.kind) {
                kinds.push(variable.kind.clone());
            }
            languages.extend(variable.languages.iter().cloned());
            match variable.many {
                true => sets += 1,
                false => scalars += 1,
            }
            counted = counted.max(variable.counted);
        }
        let path = || {
            let first = members().next();
            first.map_or(String::new(), |(_, variable)| shown(&variable.path))
        };
        if counted > MAX_COUNT {
            return Err(Why::Count(path()));
        }
        // Of every class as many values as there can be need of that differ: one for each scalar, one for
        // each set besides, or as many as are counted and one more.
        let counted = usize::try_from(counted).unwrap_or(0);
        let members_of_sets = match (sets, counted) {
            (0, _) => 0,
            (_, 0) if model.grants => sets,
            (_, 0) => 1,
            (_, counted) => (counted + 1) * if model.grants { sets } else { 1 },
        };
        let each = match (scalars, sets) {
            (1, 0) => 1,
            _ => scalars + members_of_sets,
        };
        Domain::new(&kinds, &languages, each.max(1), self.work)
            .map_err(|TooMany| Why::Patterns(path()))
    }

    fn variable(&mut self, number: usize, domain: usize, offset: usize) {
        let model = self.model;
        let Some(variable) = model.variables.get(number) else {
            return;
        };
        let present = self.fresh();
        let samples = self.domains.get(domain).map_or(0, |d| d.samples.len());
        // Its own values are those of its kind: the first of its languages.
        let own: Vec<bool> = match self.domains.get(domain) {
            Some(domain) => domain.holds(offset).to_vec(),
            None => Vec::new(),
        };
        let mut values = Vec::with_capacity(samples);
        for place in 0..samples {
            let value = match own.get(place) {
                Some(true) => self.fresh(),
                _ => !self.yes,
            };
            let phantom = self.domains.get(domain).and_then(|d| d.samples.get(place));
            if value != !self.yes && matches!(phantom, Some(Sample::Phantom)) {
                self.phantoms.push((value, shown(&variable.path)));
            }
            values.push(value);
        }
        let live: Vec<Lit> = values.iter().copied().filter(|v| *v != !self.yes).collect();
        for value in &live {
            self.clause(&[!*value, present]);
        }
        if !variable.many && variable.kind != Kind::Flag {
            let mut one: Vec<Lit> = live.clone();
            one.push(!present);
            self.clause(&one);
            self.one_at_most(&live);
        }
        self.literals.push(Literals {
            present,
            values,
            domain,
            offset,
        });
    }

    /// At most one of the literals is true.
    fn one_at_most(&mut self, literals: &[Lit]) {
        if literals.len() <= 6 {
            for (place, one) in literals.iter().enumerate() {
                for other in literals.iter().skip(place + 1) {
                    self.clause(&[!*one, !*other]);
                }
            }
            return;
        }
        // One that is true bars all that come after it.
        let mut before: Option<Lit> = None;
        for literal in literals {
            let barred = self.fresh();
            self.clause(&[!*literal, barred]);
            if let Some(before) = before {
                self.clause(&[!before, barred]);
                self.clause(&[!before, !*literal]);
            }
            before = Some(barred);
        }
    }

    fn client(&mut self) {
        let clients: Vec<(usize, Lit)> = self
            .model
            .clients
            .iter()
            .map(|client| (*client, Lit::UNDEF))
            .collect();
        let clients: Vec<(usize, Lit)> = clients
            .into_iter()
            .map(|(client, _)| (client, self.fresh()))
            .collect();
        let literals: Vec<Lit> = clients.iter().map(|(_, literal)| *literal).collect();
        self.clause(&literals);
        self.one_at_most(&literals);
        self.clients = clients;
    }

    /// The effective scope: what was sent, else the subject's, else none.
    fn effective_scope(&mut self) {
        let of = |path| {
            self.model
                .find(path)
                .and_then(|number| self.literals.get(number))
        };
        let (Some(scope), Some(sent), Some(subject)) =
            (of("scope"), of("request.scope"), of("subject.scope"))
        else {
            return;
        };
        let mut clauses = Vec::new();
        for ((scope, sent_one), subject_one) in
            scope.values.iter().zip(&sent.values).zip(&subject.values)
        {
            clauses.push(vec![!sent.present, !*scope, *sent_one]);
            clauses.push(vec![!sent.present, *scope, !*sent_one]);
            clauses.push(vec![sent.present, !*scope, *subject_one]);
            clauses.push(vec![sent.present, *scope, !*subject_one]);
        }
        for clause in clauses {
            self.clause(&clause);
        }
    }

    /// A proposition that must hold: its parts by themselves, where they all must.
    fn assert(&mut self, node: &Node) -> Result<(), Why> {
        match node {
            Node::All(parts) => parts.iter().try_for_each(|part| self.assert(part)),
            Node::Any(parts) => {
                let each: Result<Vec<Lit>, Why> = parts.iter().map(|p| self.literal(p)).collect();
                self.clause(&each?);
                Ok(())
            }
            other => {
                let literal = self.literal(other)?;
                self.clause(&[literal]);
                Ok(())
            }
        }
    }

    /// A literal that is true just where a proposition is.
    fn literal(&mut self, node: &Node) -> Result<Lit, Why> {
        Ok(match node {
            Node::Constant(true) => self.yes,
            Node::Constant(false) => !self.yes,
            Node::Not(inner) => !self.literal(inner)?,
            Node::All(parts) => {
                let each: Result<Vec<Lit>, Why> =
                    parts.iter().map(|p| Ok(!self.literal(p)?)).collect();
                !self.one_of(&each?)
            }
            Node::Any(parts) => {
                let each: Result<Vec<Lit>, Why> = parts.iter().map(|p| self.literal(p)).collect();
                self.one_of(&each?)
            }
            Node::Leaf(leaf) => self.leaf(leaf)?,
        })
    }

    /// A literal that is true just where one of these is.
    fn one_of(&mut self, literals: &[Lit]) -> Lit {
        if literals.contains(&self.yes) {
            return self.yes;
        }
        let live: Vec<Lit> = literals
            .iter()
            .copied()
            .filter(|literal| *literal != !self.yes)
            .collect();
        match live.as_slice() {
            [] => !self.yes,
            [only] => *only,
            several => {
                let any = self.fresh();
                let mut clause = several.to_vec();
                clause.push(!any);
                self.clause(&clause);
                for one in several {
                    self.clause(&[!*one, any]);
                }
                any
            }
        }
    }

    /// Those values of a variable of which a language holds, or does not.
    fn values_in(&self, variable: usize, language: usize, holds: bool) -> Vec<Lit> {
        let Some(literals) = self.literals.get(variable) else {
            return Vec::new();
        };
        let Some(domain) = self.domains.get(literals.domain) else {
            return Vec::new();
        };
        let column = domain.holds(literals.offset + language);
        let values = literals.values.iter().zip(column);
        values
            .filter(|(_, truth)| **truth == holds)
            .map(|(value, _)| *value)
            .collect()
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<Lit, Why> {
        if self.solver.num_vars() > MAX_LITERALS {
            return Err(Why::Steps);
        }
        Ok(match leaf {
            Leaf::Present(variable) => self
                .literals
                .get(*variable)
                .map_or(!self.yes, |literals| literals.present),
            Leaf::Is(variable, language) => {
                let values = self.values_in(*variable, *language, true);
                self.one_of(&values)
            }
            Leaf::Has(variable, language, negated) => {
                let values = self.values_in(*variable, *language, !*negated);
                self.one_of(&values)
            }
            Leaf::Same(one, other) => {
                let pairs = self.pairs(*one, *other);
                self.both(&pairs)
            }
            Leaf::Member(one, set) => {
                let pairs = self.pairs(*one, *set);
                self.both(&pairs)
            }
            Leaf::Count(variable, comparison, limit) => {
                let values = match self.literals.get(*variable) {
                    Some(literals) => literals.values.clone(),
                    None => Vec::new(),
                };
                let present = self.literals.get(*variable).map(|l| l.present);
                let most = usize::try_from(limit.saturating_add(1)).unwrap_or(0);
                let reached = self.counted(&values, most);
                // By how many there are, up to one more than the limit: exactly so many.
                let mut each = Vec::new();
                for count in 0..=most {
                    let number = i64::try_from(count).unwrap_or(i64::MAX);
                    if !comparison.holds(number, *limit) {
                        continue;
                    }
                    let at_least = reached.get(count).copied().unwrap_or(!self.yes);
                    let more = match count == most {
                        // So many or more: no comparison tells them apart.
                        true => !self.yes,
                        false => reached.get(count + 1).copied().unwrap_or(!self.yes),
                    };
                    each.push(!self.one_of(&[!at_least, more]));
                }
                let any = self.one_of(&each);
                !self.one_of(&[!any, present.map_or(self.yes, |present| !present)])
            }
            Leaf::Client(client) => self
                .clients
                .iter()
                .find(|(known, _)| known == client)
                .map_or(!self.yes, |(_, literal)| *literal),
            Leaf::Granted(granted) => self.granted(granted)?,
        })
    }

    /// The literals of two variables for each value.
    fn pairs(&self, one: usize, other: usize) -> Vec<(Lit, Lit)> {
        let of = |variable: usize| self.literals.get(variable).map(|l| l.values.as_slice());
        let (Some(one), Some(other)) = (of(one), of(other)) else {
            return Vec::new();
        };
        one.iter().copied().zip(other.iter().copied()).collect()
    }

    /// A literal that is true just where both of some pair are.
    fn both(&mut self, pairs: &[(Lit, Lit)]) -> Lit {
        let mut each = Vec::new();
        for (one, other) in pairs {
            if *one == !self.yes || *other == !self.yes {
                continue;
            }
            each.push(!self.one_of(&[!*one, !*other]));
        }
        self.one_of(&each)
    }

    /// By number: whether at least so many of the literals are true, up to `most`.
    fn counted(&mut self, literals: &[Lit], most: usize) -> Vec<Lit> {
        let mut reached = vec![!self.yes; most + 1];
        if let Some(first) = reached.first_mut() {
            *first = self.yes;
        }
        for literal in literals {
            if *literal == !self.yes {
                continue;
            }
            let mut next = reached.clone();
            for count in 1..=most {
                let before = reached.get(count).copied().unwrap_or(!self.yes);
                let less = reached.get(count - 1).copied().unwrap_or(!self.yes);
                let now = !self.one_of(&[!less, !*literal]);
                let either = self.one_of(&[before, now]);
                if let Some(slot) = next.get_mut(count) {
                    *slot = either;
                }
            }
            reached = next;
        }
        reached
    }

    fn granted(&mut self, granted: &Granted) -> Result<Lit, Why> {
        let Some(scope) = self.model.find("scope") else {
            return Ok(!self.yes);
        };
        let free = self.literal(&granted.free)?;
        let mut offered = Vec::new();
        for (when, language) in &granted.offered {
            offered.push((self.literal(when)?, *language));
        }
        let subject = self.model.find("subject.scope");
        let of_subject: Vec<Lit> = match subject.and_then(|number| self.literals.get(number)) {
            Some(literals) => literals.values.clone(),
            None => Vec::new(),
        };
        let Some(literals) = self.literals.get(scope) else {
            return Ok(!self.yes);
        };
        let (values, place, offset) = (literals.values.clone(), literals.domain, literals.offset);
        let holds = |search: &Self, language: usize, value: usize| {
            let column = search
                .domains
                .get(place)
                .map(|d| d.holds(offset + language));
            column
                .and_then(|column| column.get(value).copied())
                .unwrap_or(false)
        };
        let mut each = Vec::new();
        for (number, value) in values.iter().enumerate() {
            let within = granted
                .within
                .iter()
                .all(|(language, negated)| holds(self, *language, number) != *negated);
            if *value == !self.yes || !within {
                continue;
            }
            let subject = of_subject.get(number).copied().unwrap_or(!self.yes);
            let bounded = self.one_of(&[free, subject]);
            let mut barred = vec![!*value, !bounded];
            for (when, language) in &offered {
                if !holds(self, *language, number) {
                    barred.push(*when);
                }
            }
            each.push(!self.one_of(&barred));
        }
        Ok(self.one_of(&each))
    }

    /// Looks for a request that `fits`; whether there is one. What does not fit is not found again.
    pub(super) fn find(
        &mut self,
        tries: usize,
        mut fits: impl FnMut(&Assignment) -> bool,
    ) -> Result<bool, Why> {
        let without: Vec<Lit> = self.phantoms.iter().map(|(literal, _)| !*literal).collect();
        let mut disagreed: Option<Vec<String>> = None;
        for _ in 0..tries {
            match self.ask(&without)? {
                false => break,
                true => {
                    let assignment = self.assignment();
                    if fits(&assignment) {
                        return Ok(true);
                    }
                    disagreed = Some(self.paths(&assignment));
                    self.bar(&assignment);
                }
            }
        }
        if let Some(paths) = disagreed {
            return Err(Why::Disagreement(paths));
        }
        if self.phantoms.is_empty() || !self.ask(&[])? {
            return Ok(false);
        }
        let there = |literal: Lit| self.solver.value_lit(literal) == lbool::TRUE;
        let phantom = self.phantoms.iter().find(|(literal, _)| there(*literal));
        let about = phantom.map_or(String::new(), |(_, about)| about.clone());
        Err(Why::Unseen(about))
    }

    fn ask(&mut self, assumed: &[Lit]) -> Result<bool, Why> {
        let answer = self.solver.solve_limited(assumed);
        if answer == lbool::TRUE {
            Ok(true)
        } else if answer == lbool::FALSE {
            Ok(false)
        } else {
            Err(Why::Steps)
        }
    }

    fn assignment(&self) -> Assignment {
        let there = |literal: Lit| self.solver.value_lit(literal) == lbool::TRUE;
        let client = self.clients.iter().find(|(_, literal)| there(*literal));
        let mut values = Vec::new();
        for (literals, variable) in self.literals.iter().zip(&self.model.variables) {
            let samples = self.domains.get(literals.domain);
            let samples = samples.map_or(&[][..], |domain| domain.samples.as_slice());
            let mut chosen = literals
                .values
                .iter()
                .zip(samples)
                .filter(|(literal, _)| there(**literal))
                .filter_map(|(_, sample)| match sample {
                    Sample::Value(value) => Some(value.clone()),
                    Sample::Phantom => None,
                });
            values.push(match (there(literals.present), variable.many) {
                (false, _) => None,
                (true, true) => Some(Given::Set(chosen.collect())),
                (true, false) => match chosen.next() {
                    Some(value) => Some(Given::One(value)),
                    None => Some(Given::Flag),
                },
            });
        }
        Assignment {
            client: client.map_or(0, |(client, _)| *client),
            values,
        }
    }

    fn paths(&self, assignment: &Assignment) -> Vec<String> {
        let given = self.model.variables.iter().zip(&assignment.values);
        given
            .filter(|(_, value)| value.is_some())
            .map(|(variable, _)| format!("`{}`", shown(&variable.path)))
            .collect()
    }

    /// Never this assignment again.
    fn bar(&mut self, assignment: &Assignment) {
        let mut clause = Vec::new();
        let there = |literal: Lit| self.solver.value_lit(literal) == lbool::TRUE;
        for (client, literal) in &self.clients {
            if *client == assignment.client {
                clause.push(!*literal);
            }
        }
        for literals in &self.literals {
            for literal in literals.values.iter().chain([&literals.present]) {
                if *literal != self.yes && *literal != !self.yes {
                    clause.push(if there(*literal) { !*literal } else { *literal });
                }
            }
        }
        self.clause(&clause);
    }
}

/// A variable's path as people write it.
pub(super) fn shown(path: &str) -> String {
    let path = path.split('\u{0}').next().unwrap_or(path);
    match path
        .strip_prefix("hop")
        .and_then(|rest| rest.split_once('.'))
    {
        Some((_, name)) => format!("subject.chain.{name}"),
        None if path.starts_with("hop") => "subject.chain".to_owned(),
        None => path.to_owned(),
    }
}
