//! Which rules may match the same request, without asking the solver: those that no header and no constant
//! keeps apart. Pairs are never counted out one by one: rules are divided by what they name, until few
//! are left together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::policy::pattern::{Host, Path, UriPattern};
use crate::policy::rule::{
    ActorForm, AudienceMatch, Clients, Condition, Constant, Headers, ResourceMatch, TargetsMatch,
    Test, UseRule,
};

/// Up to so many rules, every pair is held against each other.
const FEW: usize = 24;
/// As many pairs are looked at.
const MAX_PAIRS: usize = 20_000_000;
/// As many of them are left to the solver.
const MAX_LEFT: usize = 500_000;
/// Lists longer than this do not divide.
const MAX_KEYS: usize = 512;
/// How many characters of a beginning tell texts and globs apart.
const BEGINNINGS: [usize; 6] = [4, 8, 12, 16, 24, 40];

/// What a rule names, by what it is about: every request that the rule matches has one of the values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys(Vec<(u32, Vec<u32>)>);

impl Keys {
    /// Whether a request could have one of the values of each, in everything that both name.
    pub(super) fn meet(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some((a, some)), Some((b, others))) = (mine.peek(), theirs.peek()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => drop(mine.next()),
                std::cmp::Ordering::Greater => drop(theirs.next()),
                std::cmp::Ordering::Equal => {
                    if !common(some, others) {
                        return false;
                    }
                    mine.next();
                    theirs.next();
                }
            }
        }
        true
    }

    fn of(&self, dimension: u32) -> Option<&[u32]> {
        let place = self.0.binary_search_by_key(&dimension, |(d, _)| *d).ok()?;
        self.0.get(place).map(|(_, keys)| keys.as_slice())
    }
}

fn common(one: &[u32], other: &[u32]) -> bool {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(a), Some(b)) = (one.peek(), other.peek()) {
        match a.cmp(b) {
            std::cmp::Ordering::Less => drop(one.next()),
            std::cmp::Ordering::Greater => drop(other.next()),
            std::cmp::Ordering::Equal => return true,
        }
    }
    false
}

/// Numbers for what rules are about, and for the values.
#[derive(Debug, Default)]
pub(super) struct Names {
    dimensions: HashMap<String, u32>,
    values: HashMap<String, u32>,
}

impl Names {
    fn dimension(&mut self, name: &str) -> u32 {
        number(&mut self.dimensions, name)
    }

    fn keys(&mut self, values: impl IntoIterator<Item = String>) -> Vec<u32> {
        let keys: BTreeSet<u32> = values
            .into_iter()
            .map(|value| number(&mut self.values, &value))
            .collect();
        keys.into_iter().collect()
    }

    /// What a rule names.
    pub(super) fn of_rule<P>(
        &mut self,
        rule: &UseRule<P>,
        like: impl FnMut(&Clients) -> Vec<String>,
    ) -> Keys {
        let mut found = BTreeMap::new();
        self.headers(&rule.headers, like, &mut found);
        self.condition(&rule.scope_when, &mut found);
        self.condition(&rule.when, &mut found);
        sorted(found)
    }

    /// What a condition names.
    pub(super) fn of_condition(&mut self, condition: &Condition) -> Keys {
        let mut found = BTreeMap::new();
        self.condition(condition, &mut found);
        sorted(found)
    }

    fn add(
        &mut self,
        found: &mut BTreeMap<u32, Vec<u32>>,
        dimension: &str,
        values: impl IntoIterator<Item = String>,
    ) {
        let dimension = self.dimension(dimension);
        let keys = self.keys(values);
        if keys.len() > MAX_KEYS {
            return;
        }
        // Of two lists for the same, a request has one of each: those in both are left.
        let keys = match found.remove(&dimension) {
            Some(before) => keys
                .into_iter()
                .filter(|key| before.contains(key))
                .collect(),
            None => keys,
        };
        found.insert(dimension, keys);
    }

    fn headers(
        &mut self,
        headers: &Headers,
        mut like: impl FnMut(&Clients) -> Vec<String>,
        found: &mut BTreeMap<u32, Vec<u32>>,
    ) {
        if let Some(by) = &headers.by {
            let ids: Vec<String> = match &by.value {
                Clients::Ids(ids) => ids.iter().map(ToString::to_string).collect(),
                globs @ Clients::Like(_) => like(globs),
            };
            self.add(found, "client.id", ids.iter().map(|id| text(id)));
        }
        if let Some(from) = &headers.from {
            let aliases = from.value.iter().map(|from| text(from.alias.as_str()));
            self.add(found, "subject.issuer", aliases);
        }
        if let Some(actor) = &headers.actor {
            let acting: &[&str] = match actor.value.form {
                ActorForm::None | ActorForm::Client => &["no"],
                ActorForm::Named(_) | ActorForm::Required(_) => &["yes"],
                ActorForm::Optional(_) => &["no", "yes"],
            };
            self.add(found, "actor", acting.iter().map(|word| (*word).to_owned()));
        }
        if let Some(via) = &headers.via {
            self.add(found, "via", [via.value.to_string()]);
        }
        if let Some(issue) = &headers.issue {
            self.add(found, "issue", [issue.value.name().to_owned()]);
        }
        if let Some(to) = &headers.to {
            let mut keys = Vec::new();
            if to.value.iter().all(|form| targets(form, &mut keys)) {
                self.add(found, "target", keys);
            }
        }
    }

    /// Tests that must hold whatever else does.
    fn condition(&mut self, condition: &Condition, found: &mut BTreeMap<u32, Vec<u32>>) {
        match condition {
            Condition::All(parts) => parts.iter().for_each(|part| self.condition(part, found)),
            Condition::Any(_) => {}
            Condition::Atom(atom) => {
                if atom.negated || atom.left.default.is_some() {
                    return;
                }
                let path = atom.left.attribute.path();
                match &atom.test {
                    Test::Like(glob) => self.begins(found, &path, glob.ends().0),
                    Test::Equals(Constant::Text(text)) => self.begins(found, &path, text),
                    _ => {}
                }
                let values: Vec<String> = match &atom.test {
                    Test::Equals(constant) => vec![spelled(constant)],
                    Test::In(list) | Test::Only(list) => list.iter().map(spelled).collect(),
                    // One that is not empty; the empty set has no value to name.
                    Test::SetEquals(list) if !list.is_empty() => list.iter().map(spelled).collect(),
                    Test::EveryMember(inner) if !inner.negated => match &inner.test {
                        Test::Equals(constant) => vec![spelled(constant)],
                        Test::In(list) => list.iter().map(spelled).collect(),
                        _ => return,
                    },
                    _ => return,
                };
                self.add(found, &path, values);
            }
        }
    }

    /// Two texts that begin differently are not the same, whatever follows.
    fn begins(&mut self, found: &mut BTreeMap<u32, Vec<u32>>, path: &str, begins: &str) {
        for length in BEGINNINGS {
            let text: String = begins.chars().take(length).collect();
            if text.chars().count() == length {
                self.add(found, &format!("{path} begins {length}"), [text]);
            }
        }
    }
}

fn sorted(found: BTreeMap<u32, Vec<u32>>) -> Keys {
    Keys(found.into_iter().collect())
}

fn number(numbers: &mut HashMap<String, u32>, name: &str) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let number = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    numbers.insert(name.to_owned(), number);
    number
}

/// Text as [`spelled`] has it: headers and conditions may name the same.
fn text(value: &str) -> String {
    format!("t:{value}")
}

fn spelled(constant: &Constant) -> String {
    match constant {
        Constant::Text(value) => text(value),
        Constant::Uri(uri) => format!("u:{}", uri.canonical()),
        Constant::Int(number) => format!("i:{number}"),
        Constant::Bool(truth) => format!("b:{truth}"),
        Constant::Ip(ip) => format!("p:{ip}"),
    }
}

/// Where the targets of a form lie: of every request that it matches, each target lies in one of these
/// places. `false` where they may lie anywhere.
fn targets(form: &TargetsMatch, keys: &mut Vec<String>) -> bool {
    let TargetsMatch::Parts { resource, audience } = form else {
        return false;
    };
    match audience {
        None => {}
        Some(AudienceMatch::Equal(names)) => keys.extend(names.iter().map(|n| format!("a:{n}"))),
        Some(AudienceMatch::Like(_)) => return false,
    }
    match resource {
        None => true,
        Some(ResourceMatch::Equal(uris)) => {
            keys.extend(uris.iter().map(|uri| format!("r:{}", uri.origin())));
            true
        }
        Some(ResourceMatch::Pattern(patterns)) => patterns.iter().all(|pattern| {
            let (scheme, host, authority, _) = pattern.parts();
            keys.push(format!("r:{scheme}://{authority}"));
            host == Host::Exact
        }),
    }
}

/// Whether all resources of both rules would have to lie in two places that no resource lies in both of.
pub(super) fn targets_apart<P>(one: &UseRule<P>, other: &UseRule<P>) -> bool {
    let places = |rule: &UseRule<P>| -> Option<Vec<UriPattern>> {
        let to = rule.headers.to.as_ref()?;
        let mut places = Vec::new();
        for form in &to.value {
            let TargetsMatch::Parts {
                resource: Some(ResourceMatch::Pattern(patterns)),
                audience: None,
            } = form
            else {
                return None;
            };
            places.extend(patterns.iter().cloned());
        }
        Some(places)
    };
    let (Some(one), Some(other)) = (places(one), places(other)) else {
        return false;
    };
    one.iter()
        .all(|one| other.iter().all(|other| apart(one, other)))
}

/// Whether some attribute would have to begin in two ways: texts and patterns that both rules ask of it.
pub(super) fn texts_apart<P>(one: &UseRule<P>, other: &UseRule<P>) -> bool {
    let (one, other) = (beginnings(one), beginnings(other));
    one.iter().any(|(path, begins, whole)| {
        other.iter().any(|(other_path, other_begins, other_whole)| {
            path == other_path
                && match (whole, other_whole) {
                    (true, true) => begins != other_begins,
                    (true, false) => !begins.starts_with(other_begins),
                    (false, true) => !other_begins.starts_with(begins),
                    (false, false) => {
                        !begins.starts_with(other_begins) && !other_begins.starts_with(begins)
                    }
                }
        })
    })
}

/// How attributes begin that a rule tests whatever else it does, and whether that is the whole of them.
fn beginnings<P>(rule: &UseRule<P>) -> Vec<(String, &str, bool)> {
    fn of<'c>(condition: &'c Condition, found: &mut Vec<(String, &'c str, bool)>) {
        match condition {
            Condition::All(parts) => parts.iter().for_each(|part| of(part, found)),
            Condition::Atom(atom) if !atom.negated && atom.left.default.is_none() => {
                let path = || atom.left.attribute.path();
                match &atom.test {
                    Test::Like(glob) => found.push((path(), glob.ends().0, !glob.has_stars())),
                    Test::Equals(Constant::Text(text)) => found.push((path(), text, true)),
                    _ => {}
                }
            }
            Condition::Any(_) | Condition::Atom(_) => {}
        }
    }
    let mut found = Vec::new();
    of(&rule.scope_when, &mut found);
    of(&rule.when, &mut found);
    found
}

/// Two containers with the same host of which neither lies in the other.
fn apart(one: &UriPattern, other: &UriPattern) -> bool {
    let ((scheme, host, authority, path), (their_scheme, their_host, their_authority, their_path)) =
        (one.parts(), other.parts());
    if scheme != their_scheme {
        return true;
    }
    if host != Host::Exact || their_host != Host::Exact {
        return false;
    }
    if authority != their_authority {
        return true;
    }
    match (path, their_path) {
        (Path::Under(mine), Path::Under(theirs)) => {
            let within = crate::oauth::uri::path_is_under;
            !within(mine, theirs) && !within(theirs, mine)
        }
        _ => false,
    }
}

/// Every pair of rules that may match the same request, by their places, each once; `None` when there are
/// more than are looked at. `wanted` tells which are of interest.
pub(super) fn candidates(
    keys: &[Keys],
    wanted: impl Fn(usize, usize) -> bool,
) -> Option<Vec<(usize, usize)>> {
    let all: Vec<usize> = (0..keys.len()).collect();
    let mut found = Division {
        keys,
        wanted: &wanted,
        pairs: HashSet::new(),
        looked_at: 0,
    };
    found.divide(&all, &[], &mut Vec::new())?;
    let mut pairs: Vec<(usize, usize)> = found.pairs.into_iter().collect();
    pairs.sort_unstable();
    Some(pairs)
}

/// What a dimension would divide: rules and others by value, and how many of each have it.
type Divided = (HashMap<u32, (u64, u64)>, u64, u64);

struct Division<'k, W> {
    keys: &'k [Keys],
    wanted: &'k W,
    pairs: HashSet<(usize, usize)>,
    looked_at: usize,
}

impl<W: Fn(usize, usize) -> bool> Division<'_, W> {
    /// Pairs within `rules`, and of those with `others`; not of `others` among themselves.
    fn divide(&mut self, rules: &[usize], others: &[usize], used: &mut Vec<u32>) -> Option<()> {
        if rules.is_empty() || rules.len() + others.len() < 2 {
            return Some(());
        }
        let best = match rules.len() + others.len() > FEW {
            true => self.best(rules, others, used),
            false => None,
        };
        let Some(dimension) = best else {
            return self.each(rules, others);
        };
        let mut groups: BTreeMap<u32, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        let (mut open, mut open_others) = (Vec::new(), Vec::new());
        for (list, first) in [(rules, true), (others, false)] {
            for rule in list {
                match self.keys.get(*rule).and_then(|keys| keys.of(dimension)) {
                    None if first => open.push(*rule),
                    None => open_others.push(*rule),
                    Some(keys) => {
                        for key in keys {
                            let group = groups.entry(*key).or_default();
                            match first {
                                true => group.0.push(*rule),
                                false => group.1.push(*rule),
                            }
                        }
                    }
                }
            }
        }
        used.push(dimension);
        for (mine, theirs) in groups.values() {
            let mut against = theirs.clone();
            against.extend(&open);
            against.extend(&open_others);
            self.divide(mine, &against, used)?;
        }
        // Those that do not name it, against each other and against all others.
        self.divide(&open, others, used)?;
        used.pop();
        Some(())
    }

    /// What divides best, if it divides at all.
    fn best(&self, rules: &[usize], others: &[usize], used: &[u32]) -> Option<u32> {
        let mut counts: HashMap<u32, Divided> = HashMap::new();
        for (list, first) in [(rules, true), (others, false)] {
            for rule in list {
                for (dimension, values) in self.keys.get(*rule).map_or(&[][..], |k| &k.0) {
                    if used.contains(dimension) {
                        continue;
                    }
                    let (groups, mine, theirs) = counts.entry(*dimension).or_default();
                    match first {
                        true => *mine += 1,
                        false => *theirs += 1,
                    }
                    for value in values {
                        let group = groups.entry(*value).or_default();
                        match first {
                            true => group.0 += 1,
                            false => group.1 += 1,
                        }
                    }
                }
            }
        }
        let as_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let (all, rest) = (as_u64(rules.len()), as_u64(others.len()));
        let whole = all * (all + rest);
        let cost = |(groups, mine, theirs): &Divided| {
            let (open, open_others) = (all - mine, rest - theirs);
            let divided: u64 = groups
                .values()
                .map(|(mine, theirs)| mine * (mine + theirs + open + open_others))
                .sum();
            divided + open * (open + rest)
        };
        let best = counts
            .iter()
            .map(|(dimension, count)| (cost(count), *dimension))
            .min()?;
        (best.0 < whole / 4 * 3).then_some(best.1)
    }

    fn each(&mut self, rules: &[usize], others: &[usize]) -> Option<()> {
        for (place, one) in rules.iter().enumerate() {
            for other in rules.iter().skip(place + 1).chain(others) {
                let pair = (*one.min(other), *one.max(other));
                if one == other || !(self.wanted)(pair.0, pair.1) {
                    continue;
                }
                self.looked_at += 1;
                if self.looked_at > MAX_PAIRS {
                    return None;
                }
                if let (Some(one), Some(other)) = (self.keys.get(pair.0), self.keys.get(pair.1))
                    && one.meet(other)
                {
                    self.pairs.insert(pair);
                    if self.pairs.len() > MAX_LEFT {
                        return None;
                    }
                }
            }
        }
        Some(())
    }
}
