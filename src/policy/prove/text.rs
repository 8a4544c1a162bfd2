//! Which strings globs tell apart: a walk through the product of their automata.
//!
//! [`samples`] gives, for every combination of "matches, matches not" that some string has, the
//! shortest strings that have it. The walk is bounded in states; beyond that it gives up and says so.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::policy::pattern::{Glob, Piece};

/// The most states that the product of the globs on one attribute may have.
const MAX_STATES: usize = 20_000;
/// The most that all questions of one load may walk through together: states, times the patterns in each.
const MAX_STEPS_IN_ALL: usize = 6_000_000;

/// How much was walked through so far. A bound on steps, not on time: every replica comes to the same
/// verdicts.
#[derive(Debug, Default)]
pub(super) struct Work(Cell<usize>);

impl Work {
    /// So much was done; fails once it is too much.
    fn spend(&self, steps: usize) -> Result<(), TooMany> {
        self.charge(steps);
        match self.0.get() > MAX_STEPS_IN_ALL {
            true => Err(TooMany),
            false => Ok(()),
        }
    }

    /// So much was done at an earlier load for an answer that is taken from there: what is left for other
    /// questions must not depend on what was kept.
    pub(super) fn charge(&self, steps: usize) {
        self.0.set(self.0.get().saturating_add(steps));
    }

    /// How much was done so far.
    pub(super) fn done(&self) -> usize {
        self.0.get()
    }
}

/// A whole-value pattern: literal characters and stars, as [`Glob`] has them.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
    separators: String,
}

impl Pattern {
    /// A glob.
    pub(super) fn glob(glob: &Glob) -> Self {
        Self {
            pieces: glob.pieces().to_vec(),
            separators: glob.separators().to_owned(),
        }
    }

    /// Exactly a text.
    pub(super) fn exactly(text: &str) -> Self {
        Self {
            pieces: text.chars().map(Piece::Char).collect(),
            separators: String::new(),
        }
    }

    /// Whatever begins with a text.
    pub(super) fn begins(text: &str) -> Self {
        let mut pattern = Self::exactly(text);
        pattern.pieces.push(Piece::DoubleStar);
        pattern
    }

    /// The characters that it tells from others.
    fn alphabet(&self, into: &mut BTreeSet<char>) {
        let own = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Char(c) => Some(*c),
            Piece::Star | Piece::DoubleStar => None,
        });
        into.extend(own);
        // Only a star that stops somewhere tells separators from other characters.
        if self.pieces.contains(&Piece::Star) {
            into.extend(self.separators.chars());
        }
    }

    /// Strings that match and strings that do not, without a walk; `None` where they are not plain to see.
    fn both_ways(
        &self,
        other: char,
        each: usize,
        taken: &BTreeSet<String>,
        may_stand: impl Fn(char) -> bool,
    ) -> Option<Vec<String>> {
        let filled = |length: usize| -> String {
            let mut first = true;
            let piece = |piece: &Piece| match piece {
                Piece::Char(c) => c.to_string(),
                // The first star takes it all; the others may be empty.
                Piece::Star | Piece::DoubleStar => {
                    let times = if std::mem::take(&mut first) {
                        length
                    } else {
                        0
                    };
                    other.to_string().repeat(times)
                }
            };
            self.pieces.iter().map(piece).collect()
        };
        let stars = self
            .pieces
            .iter()
            .any(|piece| !matches!(piece, Piece::Char(_)));
        let plain = |text: &String| !taken.contains(text) && text.chars().all(&may_stand);
        let most = each + taken.len() + 1;
        let lengths = 0..if stars { most } else { 1 };
        let mut found: Vec<String> = lengths.map(filled).filter(plain).take(each).collect();
        // What has no star matches one string; others that it might have are told by a walk.
        if !stars || found.len() < each {
            return None;
        }
        let misses = (1..=most).map(|length| other.to_string().repeat(length));
        let misses = misses.filter(|text| plain(text) && !self.matches(text));
        let before = found.len();
        found.extend(misses.take(each));
        (found.len() == before + each).then_some(found)
    }

    fn matches(&self, text: &str) -> bool {
        let start = self.start();
        let end = text.chars().fold(start, |at, c| self.step(&at, c));
        end.has(self.pieces.len())
    }

    fn start(&self) -> Places {
        let mut places = Places::default();
        self.enter(&mut places, 0);
        places
    }

    fn step(&self, at: &Places, c: char) -> Places {
        let mut next = Places::default();
        for (index, piece) in self.pieces.iter().enumerate() {
            if !at.has(index) {
                continue;
            }
            match piece {
                Piece::Char(wanted) if *wanted == c => self.enter(&mut next, index + 1),
                Piece::Star if !self.separators.contains(c) => self.enter(&mut next, index),
                Piece::DoubleStar => self.enter(&mut next, index),
                Piece::Char(_) | Piece::Star => {}
            }
        }
        next
    }

    fn enter(&self, places: &mut Places, mut index: usize) {
        places.add(index);
        while matches!(
            self.pieces.get(index),
            Some(Piece::Star | Piece::DoubleStar)
        ) {
            index += 1;
            places.add(index);
        }
    }
}

/// Places in a pattern.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
struct Places(Vec<u64>);

impl Places {
    fn add(&mut self, index: usize) {
        if self.0.len() <= index / 64 {
            self.0.resize(index / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    fn has(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }
}

/// Which strings there are at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// Any.
    Any,
    /// The path of a canonical URI: empty, or segments, none of them empty but the last, none of dots.
    Path,
}

impl Shape {
    /// Characters that it tells from others.
    fn alphabet(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Path => "/.",
        }
    }

    fn step(self, state: u8, c: char) -> Option<u8> {
        const START: u8 = 0;
        const SLASH: u8 = 1;
        const SEGMENT: u8 = 2;
        const DOT: u8 = 3;
        const DOTS: u8 = 4;
        match self {
            Self::Any => Some(START),
            Self::Path => match (state, c) {
                (START, '/') | (SEGMENT, '/') => Some(SLASH),
                (START, _) | (_, '/') => None,
                (SLASH, '.') => Some(DOT),
                (DOT, '.') => Some(DOTS),
                _ => Some(SEGMENT),
            },
        }
    }

    fn ends(self, state: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Path => state < 3,
        }
    }
}

/// The product has more states than are walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooMany;

/// The shortest strings of every combination of matches: at least `each` of a combination, where it has as
/// many that `taken` does not hold.
///
/// `others` are characters that may stand in such a string, those that read well; `may_stand` tells all that may.
pub(super) fn samples(
    patterns: &[Pattern],
    shape: Shape,
    each: usize,
    taken: &BTreeSet<String>,
    others: &[char],
    may_stand: impl Fn(char) -> bool,
    work: &Work,
) -> Result<Vec<String>, TooMany> {
    let mut known: BTreeSet<char> = shape.alphabet().chars().collect();
    for pattern in patterns {
        pattern.alphabet(&mut known);
    }
    let held: BTreeSet<char> = taken.iter().flat_map(|text| text.chars()).collect();
    // One character stands for all that no pattern tells apart; one that no constant has, if there is any.
    // Those that nobody would like to read come last.
    let readable = || others.iter().copied();
    let all = || readable().chain('!'..='~').chain('\u{a1}'..='\u{2ff}');
    let fresh = |avoid: &dyn Fn(&char) -> bool| {
        all().find(|c| may_stand(*c) && !known.contains(c) && !avoid(c))
    };
    let other = fresh(&|c| held.contains(c)).or_else(|| fresh(&|_| false));
    // A percent sign is no character of a path by itself, but what it begins is.
    let hidden = shape == Shape::Path && other.is_none_or(|other| other == '%');
    if hidden && !known.contains(&'%') {
        return Err(TooMany);
    }
    let alphabet: Vec<char> = other
        .into_iter()
        .chain(known.iter().copied().filter(|c| may_stand(*c)))
        .collect();
    if let (true, Shape::Any, Some(other)) = (patterns.is_empty(), shape, other) {
        // Nothing to tell apart: any strings will do.
        let texts = (1..).map(|length| std::iter::repeat_n(other, length).collect::<String>());
        let free = texts.filter(|text| !taken.contains(text));
        return Ok(free.take(each).collect());
    }
    if let ([pattern], Shape::Any, Some(other)) = (patterns, shape, other)
        && let Some(found) = pattern.both_ways(other, each, taken, &may_stand)
    {
        return Ok(found);
    }
    let mut budget = each.saturating_add(1);
    loop {
        let (found, whole) = walk(patterns, shape, budget, &alphabet, work)?;
        let mut short = false;
        let mut samples = Vec::new();
        for (texts, exhausted) in found {
            let before = samples.len();
            let free = texts.into_iter().filter(|text| !taken.contains(text));
            samples.extend(free.take(each));
            short |= samples.len() - before < each && !exhausted;
        }
        if !short || whole || budget > each.saturating_add(taken.len()) {
            return Ok(samples);
        }
        budget = budget.saturating_mul(4);
    }
}

/// For every combination, its shortest strings, and whether they are all of them; and whether every one is.
type Walked = (Vec<(Vec<String>, bool)>, bool);

/// Every state is left `budget` times at most: so every combination has as many strings as `budget`, or all
/// that it has.
fn walk(
    patterns: &[Pattern],
    shape: Shape,
    budget: usize,
    alphabet: &[char],
    work: &Work,
) -> Result<Walked, TooMany> {
    type State = (Vec<Places>, u8);
    let start: State = (patterns.iter().map(Pattern::start).collect(), 0);
    let mut numbers: HashMap<State, usize> = HashMap::from([(start.clone(), 0)]);
    let mut states: Vec<State> = vec![start];
    let mut next: Vec<Option<Vec<Option<usize>>>> = vec![None];
    let mut left: Vec<usize> = vec![0];
    let mut queue: VecDeque<(usize, String)> = VecDeque::from([(0, String::new())]);
    let mut classes: HashMap<Vec<bool>, Vec<String>> = HashMap::new();
    let mut order: Vec<Vec<bool>> = Vec::new();
    let mut cut = false;
    while let Some((number, text)) = queue.pop_front() {
        let Some(count) = left.get_mut(number) else {
            continue;
        };
        if *count >= budget {
            cut = true;
            continue;
        }
        *count += 1;
        let Some(state) = states.get(number).cloned() else {
            continue;
        };
        if shape.ends(state.1) {
            let class: Vec<bool> = patterns
                .iter()
                .zip(&state.0)
                .map(|(pattern, places)| places.has(pattern.pieces.len()))
                .collect();
            let texts = classes.entry(class.clone()).or_insert_with(|| {
                order.push(class);
                Vec::new()
            });
            texts.push(text.clone());
        }
        if next.get(number).is_some_and(Option::is_none) {
            work.spend(patterns.len() + 1)?;
            let mut row = Vec::with_capacity(alphabet.len());
            for c in alphabet {
                let Some(within) = shape.step(state.1, *c) else {
                    row.push(None);
                    continue;
                };
                let places = patterns.iter().zip(&state.0);
                let to: State = (places.map(|(p, at)| p.step(at, *c)).collect(), within);
                let fresh = numbers.len();
                let to = *numbers.entry(to.clone()).or_insert_with(|| {
                    states.push(to);
                    next.push(None);
                    left.push(0);
                    fresh
                });
                row.push(Some(to));
            }
            if numbers.len() > MAX_STATES {
                return Err(TooMany);
            }
            if let Some(slot) = next.get_mut(number) {
                *slot = Some(row);
            }
        }
        let Some(Some(row)) = next.get(number) else {
            continue;
        };
        for (c, to) in alphabet.iter().zip(row) {
            let Some(to) = to else { continue };
            if left.get(*to).is_some_and(|count| *count < budget) {
                let mut longer = text.clone();
                longer.push(*c);
                queue.push_back((*to, longer));
            } else {
                cut = true;
            }
        }
    }
    let found = order
        .into_iter()
        .filter_map(|class| classes.remove(&class))
        .map(|texts| {
            let exhausted = texts.len() < budget && !cut;
            (texts, exhausted)
        })
        .collect();
    Ok((found, !cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(globs: &[&str], each: usize, taken: &[&str]) -> Vec<String> {
        let patterns: Vec<Pattern> = globs
            .iter()
            .map(|glob| Pattern::glob(&Glob::new(glob, ":/").unwrap()))
            .collect();
        let taken = taken.iter().map(|t| (*t).to_owned()).collect();
        samples(
            &patterns,
            Shape::Any,
            each,
            &taken,
            &['x', 'y', 'z'],
            |_| true,
            &Work::default(),
        )
        .unwrap()
    }

    #[test]
    fn every_combination_has_its_shortest_strings() {
        assert_eq!(classes(&["a*"], 1, &[]), ["a", "x"]);
        // Both, one, the other, neither.
        assert_eq!(classes(&["a*", "*b"], 1, &[]).len(), 4);
        assert_eq!(classes(&["a:*", "a:**"], 1, &[]).len(), 3);
        // `*a` and `a*` but not `a*a`: only `a` itself.
        let all = classes(&["*a", "a*", "a*a"], 9, &[]);
        let only: Vec<_> = all.iter().filter(|t| *t == "a").collect();
        assert_eq!(only.len(), 1);
    }

    #[test]
    fn one_pattern_needs_no_walk() {
        let others = ['x', 'y', 'z'];
        for glob in ["a*", "**b", "*", "**", "a:*", "x**", "**x**", "*a*b"] {
            let pattern = Pattern::glob(&Glob::new(glob, ":/").unwrap());
            let taken = BTreeSet::from(["x".to_owned(), "a".to_owned()]);
            let glob = Glob::new(glob, ":/").unwrap();
            let all = samples(
                &[pattern],
                Shape::Any,
                2,
                &taken,
                &others,
                |_| true,
                &Work::default(),
            );
            let all = all.unwrap();
            let count = |wanted: bool| all.iter().filter(|t| glob.matches(t) == wanted).count();
            assert!(count(true) >= 2, "{glob:?} {all:?}");
            // Whatever there is besides a colon matches `*`; everything matches `**`.
            assert_eq!(count(false) >= 2, glob.source() != "**", "{glob:?} {all:?}");
            assert!(all.iter().all(|text| !taken.contains(text)));
        }
    }

    #[test]
    fn strings_that_are_taken_are_passed_over() {
        let found = classes(&["a*"], 1, &["", "a", "ax"]);
        let glob = Glob::new("a*", ":/").unwrap();
        assert!(found.iter().any(|text| glob.matches(text)));
        assert!(found.iter().any(|text| !glob.matches(text)));
        assert!(!found.iter().any(|text| ["", "a", "ax"].contains(&&**text)));
    }

    #[test]
    fn paths_have_no_empty_segments_and_no_dots() {
        let patterns = [Pattern::exactly("/a"), Pattern::begins("/a/")];
        let none = BTreeSet::new();
        let found = samples(
            &patterns,
            Shape::Path,
            8,
            &none,
            &['x'],
            |_| true,
            &Work::default(),
        )
        .unwrap();
        for text in &found {
            let uri = format!("https://h.example{text}");
            assert!(uri.parse::<crate::oauth::uri::Uri>().is_ok(), "{uri}");
        }
        assert!(found.contains(&"/a".to_owned()) && found.contains(&"/a/x".to_owned()));
    }

    #[test]
    fn a_character_that_nobody_thought_of_may_stand_there() {
        let patterns: Vec<Pattern> = ["x", "y"].map(Pattern::begins).to_vec();
        let none = BTreeSet::from([String::new()]);
        let found = samples(
            &patterns,
            Shape::Any,
            1,
            &none,
            &['x', 'y'],
            |_| true,
            &Work::default(),
        );
        let neither = |text: &&String| !text.is_empty() && !text.starts_with(['x', 'y']);
        assert!(found.unwrap().iter().any(|text| neither(&text)));
        // Nor is a path without any known character thought not to be.
        let all: Vec<Pattern> = ('!'..='~')
            .filter(|c| *c != '%')
            .map(|c| Pattern::begins(&format!("/{c}")))
            .collect();
        let plain = |c: char| c.is_ascii() && c != '%';
        let found = samples(&all, Shape::Path, 1, &none, &['x'], plain, &Work::default());
        assert_eq!(found, Err(TooMany));
    }

    #[test]
    fn hostile_patterns_are_given_up() {
        let globs: Vec<Pattern> = (0..16)
            .map(|i| Pattern::glob(&Glob::new(&format!("**{i:x}a{i:x}**"), "").unwrap()))
            .collect();
        let none = BTreeSet::new();
        let found = samples(
            &globs,
            Shape::Any,
            1,
            &none,
            &['x'],
            |_| true,
            &Work::default(),
        );
        assert_eq!(found, Err(TooMany));
    }
}
