//! What `check --index` says about an index.

use std::collections::BTreeMap;

use super::dimension::Dimensions;
use super::tree::{Bound, Tree};
use crate::oauth::id::RuleId;
use crate::policy::decide::PolicySet;

/// How a policy set was indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexReport {
    /// The rules that let exchanges happen.
    pub rules: TreeReport,
    /// The rules that forbid them.
    pub denies: TreeReport,
}

/// How rules or denies were filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeReport {
    /// How many there are.
    pub count: usize,
    /// What is asked of a request, the most tables first.
    pub asked: Vec<Asked>,
    /// How many buckets of rules there are that a request can be led to.
    pub buckets: usize,
    /// How many rules the largest has.
    pub largest: usize,
    /// What every request meets, since nothing that it needs is rare.
    pub always: Vec<RuleId>,
    /// The most that one request can meet.
    pub worst: Bound,
}

/// One side of a request that an index asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// An attribute, `any of` or `first of` one, or a target.
    pub what: String,
    /// In how many tables.
    pub tables: usize,
    /// How many keys they have together.
    pub keys: usize,
}

impl TreeReport {
    fn new(
        tree: &Tree,
        dimensions: &Dimensions,
        count: usize,
        id: impl Fn(usize) -> Option<RuleId>,
    ) -> Self {
        let mut asked: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (dimension, keys) in tree.tables() {
            let (tables, all) = asked.entry(dimension).or_default();
            *tables += 1;
            *all += keys;
        }
        let named = |(dimension, (tables, keys))| {
            let what = dimensions.get(dimension)?.name();
            Some(Asked { what, tables, keys })
        };
        let mut asked: Vec<Asked> = asked.into_iter().filter_map(named).collect();
        asked.sort_by(|a, b| b.tables.cmp(&a.tables).then_with(|| a.what.cmp(&b.what)));
        let mut always: Vec<RuleId> = tree
            .always()
            .iter()
            .filter_map(|place| id(*place as usize))
            .collect();
        always.sort();
        Self {
            count,
            asked,
            buckets: tree.leaves().count(),
            largest: tree.leaves().max().unwrap_or(0),
            always,
            worst: tree.worst(),
        }
    }
}

impl<P> PolicySet<P> {
    /// How the set was indexed, and the most that one request can make it do.
    #[must_use]
    pub fn index_report(&self) -> IndexReport {
        let index = &self.index;
        let (rules, denies) = self.counts();
        let rule = |place: usize| self.rules.get(place).map(|rule| rule.id.clone());
        let deny = |place: usize| self.denies.get(place).map(|deny| deny.id.clone());
        IndexReport {
            rules: TreeReport::new(&index.rules, &index.dimensions, rules, rule),
            denies: TreeReport::new(&index.denies, &index.dimensions, denies, deny),
        }
    }
}
