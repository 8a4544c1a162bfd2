//! A tree of tables: every node asks one dimension of a request and leads on to the rules that need one
//! of the keys found, and to those that do not ask that dimension.
//!
//! Which dimension a node asks is chosen where the tree is built: the one that leaves the fewest rules.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use super::dimension::{Dimension, Dimensions};
use super::key::{Asked, How, Key, SpreadState, joined};
use super::need::Need;
use crate::context::ExchangeContext;

/// How often all rules together may stand in one tree, per rule; and in any case, so that a rule may name many
/// values.
const MOST_COPIES: usize = 16;
const COPIES_IN_ANY_CASE: usize = 2_000_000;

/// What a tree is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To find the rules that match. Requests are like rules: most of them meet one.
    Rules,
    /// To find the denies that match. Most requests meet none.
    Denies,
}

impl Purpose {
    /// So few rules are tested rather than told apart.
    fn few(self) -> usize {
        match self {
            Self::Rules => 4,
            Self::Denies => 0,
        }
    }
}

/// Rules by number, to be found by what they need.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: Node,
    worst: Bound,
    splits: Vec<Split>,
    /// The rules at the leaves.
    rules: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    /// These of `rules`.
    Leaf(u32, u32),
    /// This of `splits`.
    Split(u32),
}

/// The most that one request can meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bound {
    /// So many rules are tested.
    pub rules: usize,
    /// With so many headers and conditions in all.
    pub tests: usize,
}

impl Bound {
    fn and(self, other: Self) -> Self {
        Self {
            rules: self.rules.saturating_add(other.rules),
            tests: self.tests.saturating_add(other.tests),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            rules: self.rules.max(other.rules),
            tests: self.tests.max(other.tests),
        }
    }
}

#[derive(Clone, Debug)]
struct Split {
    dimension: u32,
    asked: Asked,
    table: HashMap<u64, Node, SpreadState>,
    /// The rules that do not ask the dimension.
    others: Node,
}

/// One rule and what it needs.
#[derive(Clone, Debug)]
pub(super) struct Item<'n> {
    pub(super) rule: u32,
    /// How many headers and conditions it has.
    pub(super) tests: usize,
    pub(super) needs: Vec<&'n Need>,
}

impl Tree {
    /// Files rules under what they need.
    pub(super) fn new(items: &[Item<'_>], dimensions: &Dimensions, purpose: Purpose) -> Self {
        let mut builder = Builder {
            items,
            dimensions,
            purpose,
            used: vec![false; dimensions.count()],
            left: items
                .len()
                .saturating_mul(MOST_COPIES)
                .max(COPIES_IN_ANY_CASE),
            tree: Self {
                root: Node::Leaf(0, 0),
                worst: Bound::default(),
                splits: Vec::new(),
                rules: Vec::new(),
            },
        };
        let all: Vec<u32> = (0..items.len())
            .filter_map(|place| place.try_into().ok())
            .collect();
        let (root, worst) = builder.node(&all);
        let mut tree = Self {
            root,
            worst,
            ..builder.tree
        };
        tree.splits.shrink_to_fit();
        tree.rules.shrink_to_fit();
        tree
    }

    /// Calls `visit` with every rule whose needs a request meets, and with some others; now and then
    /// twice with the same.
    pub(super) fn find(
        &self,
        dimensions: &Dimensions,
        context: &ExchangeContext,
        visit: &mut impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.walk(self.root, dimensions, context, visit)
    }

    fn walk<F: FnMut(usize) -> ControlFlow<()>>(
        &self,
        node: Node,
        dimensions: &Dimensions,
        context: &ExchangeContext,
        visit: &mut F,
    ) -> ControlFlow<()> {
        let split = match node {
            Node::Leaf(start, end) => {
                return self
                    .leaf(start, end)
                    .iter()
                    .try_for_each(|rule| visit(*rule as usize));
            }
            Node::Split(place) => self.splits.get(place as usize),
        };
        let Some((split, dimension)) =
            split.and_then(|split| Some((split, dimensions.get(split.dimension)?)))
        else {
            return ControlFlow::Continue(());
        };
        let mut flow = ControlFlow::Continue(());
        split.asked.keys(dimension, context, &mut |key| {
            if flow.is_continue()
                && let Some(next) = split.table.get(&key)
            {
                flow = self.walk(*next, dimensions, context, visit);
            }
        });
        flow?;
        self.walk(split.others, dimensions, context, visit)
    }

    /// The most that one request can meet.
    pub(super) fn worst(&self) -> Bound {
        self.worst
    }

    /// The rules that stand under no key: every request meets them.
    pub(super) fn always(&self) -> &[u32] {
        let mut node = self.root;
        loop {
            match node {
                Node::Leaf(start, end) => return self.leaf(start, end),
                Node::Split(place) => match self.splits.get(place as usize) {
                    Some(split) => node = split.others,
                    None => return &[],
                },
            }
        }
    }

    /// The sizes of the leaves that have any rule.
    pub(super) fn leaves(&self) -> impl Iterator<Item = usize> {
        let below = |split: &Split| {
            let under = split.table.values().copied();
            under.chain([split.others]).collect::<Vec<Node>>()
        };
        let nodes = self.splits.iter().flat_map(below).chain([self.root]);
        nodes.filter_map(|node| match node {
            Node::Leaf(start, end) if end > start => Some((end - start) as usize),
            Node::Leaf(..) | Node::Split(_) => None,
        })
    }

    /// For each table, the dimension that it asks and how many keys it has.
    pub(super) fn tables(&self) -> impl Iterator<Item = (u32, usize)> {
        let splits = self.splits.iter();
        splits.map(|split| (split.dimension, split.table.len()))
    }

    fn leaf(&self, start: u32, end: u32) -> &[u32] {
        self.rules
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }
}

struct Builder<'n> {
    items: &'n [Item<'n>],
    dimensions: &'n Dimensions,
    purpose: Purpose,
    /// The dimensions asked on the way from the root.
    used: Vec<bool>,
    /// How many more copies of rules there may be.
    left: usize,
    tree: Tree,
}

/// What asking one dimension would do.
#[derive(Clone, Copy, Default)]
struct Effect {
    /// Rules that ask it.
    asking: usize,
    /// How many times they would stand in the table.
    copies: usize,
    /// The sum of the squares of what stands under each key.
    squares: u64,
}

impl Builder<'_> {
    fn node(&mut self, places: &[u32]) -> (Node, Bound) {
        let chosen = match places.len() > self.purpose.few() {
            true => self.choose(places),
            false => None,
        };
        match chosen {
            Some(dimension) => self.split(dimension, places),
            None => self.leaf(places),
        }
    }

    fn leaf(&mut self, places: &[u32]) -> (Node, Bound) {
        let start = self.tree.rules.len();
        let items = places
            .iter()
            .filter_map(|place| self.items.get(*place as usize));
        let mut bound = Bound::default();
        for item in items {
            self.tree.rules.push(item.rule);
            bound = bound.and(Bound {
                rules: 1,
                tests: item.tests,
            });
        }
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        (
            Node::Leaf(number(start), number(self.tree.rules.len())),
            bound,
        )
    }

    /// The dimension that leaves the fewest rules to a request that meets one of them.
    fn choose(&self, places: &[u32]) -> Option<u32> {
        let mut effects = vec![Effect::default(); self.used.len()];
        let mut counts: HashMap<u64, u32, SpreadState> = HashMap::default();
        for place in places {
            for need in self.needs(*place) {
                let Some(effect) = effects.get_mut(need.dimension as usize) else {
                    continue;
                };
                effect.asking += 1;
                effect.copies += need.keys.len();
                for key in &need.keys {
                    let count = counts.entry(joined(need.dimension, key.hash)).or_default();
                    effect.squares += 2 * u64::from(*count) + 1;
                    *count += 1;
                }
            }
        }
        let all = places.len() as f64;
        let rest = |effect: &Effect| {
            let others = places.len().saturating_sub(effect.asking) as f64;
            let found = effect.squares as f64 / effect.copies.max(1) as f64;
            match self.purpose {
                Purpose::Rules => others + found,
                Purpose::Denies => others + found / 2.0,
            }
        };
        let bound = match self.purpose {
            Purpose::Rules => 0.75 * all,
            Purpose::Denies => all - 0.25,
        };
        let fits = |effect: &Effect| effect.asking > 0 && effect.copies <= self.left;
        effects
            .iter()
            .enumerate()
            .filter(|(_, effect)| fits(effect))
            .map(|(dimension, effect)| (dimension, rest(effect), effect.copies))
            .filter(|(_, rest, _)| *rest < bound)
            .min_by(|(_, a, x), (_, b, y)| a.total_cmp(b).then(x.cmp(y)))
            .and_then(|(dimension, _, _)| dimension.try_into().ok())
    }

    /// What a rule needs of the dimensions that are still to ask: of each, the fewest keys.
    fn needs(&self, place: u32) -> impl Iterator<Item = &Need> {
        let needs = self
            .items
            .get(place as usize)
            .map_or(&[][..], |item| &item.needs);
        let open = |need: &&&Need| {
            !self
                .used
                .get(need.dimension as usize)
                .is_some_and(|used| *used)
        };
        needs.iter().filter(open).copied()
    }

    fn split(&mut self, dimension: u32, places: &[u32]) -> (Node, Bound) {
        let mut filed: Vec<(Key, u32)> = Vec::new();
        let mut others: Vec<u32> = Vec::new();
        for place in places {
            let mut needs = self
                .needs(*place)
                .filter(|need| need.dimension == dimension);
            match needs.next() {
                Some(need) => filed.extend(need.keys.iter().map(|key| (*key, *place))),
                None => others.push(*place),
            }
        }
        self.left = self.left.saturating_sub(filed.len());
        filed.sort_unstable_by_key(|(key, place)| (key.hash, *place));
        let mut asked = Asked::default();
        let mut table: HashMap<u64, Node, SpreadState> = HashMap::default();
        self.mark(dimension, true);
        let many = self
            .dimensions
            .get(dimension)
            .is_some_and(Dimension::is_many);
        // Of the keys of one kind a value has one, and a set may have all.
        let mut kinds: BTreeMap<How, Bound> = BTreeMap::new();
        let mut under: Vec<u32> = Vec::new();
        for group in filed.chunk_by(|(a, _), (b, _)| a.hash == b.hash) {
            let Some((first, _)) = group.first() else {
                continue;
            };
            group.iter().for_each(|(key, _)| asked.add(*key));
            under.clear();
            under.extend(group.iter().map(|(_, place)| *place));
            under.dedup();
            let (node, bound) = self.node(&under.clone());
            table.insert(first.hash, node);
            let worst = kinds.entry(first.how).or_default();
            *worst = match many {
                true => worst.and(bound),
                false => worst.or(bound),
            };
        }
        let (others, rest) = self.node(&others);
        let bound = kinds.into_values().fold(rest, Bound::and);
        self.mark(dimension, false);
        table.shrink_to_fit();
        let place = u32::try_from(self.tree.splits.len()).unwrap_or(u32::MAX);
        self.tree.splits.push(Split {
            dimension,
            asked,
            table,
            others,
        });
        (Node::Split(place), bound)
    }

    fn mark(&mut self, dimension: u32, used: bool) {
        if let Some(mark) = self.used.get_mut(dimension as usize) {
            *mark = used;
        }
    }
}
