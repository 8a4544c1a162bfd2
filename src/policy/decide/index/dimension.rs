//! Dimensions: the sides of a request by which rules can be told apart.

use std::collections::HashMap;

use crate::policy::schema::{ATTRIBUTES, AttributeRef};

/// A side of a request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Dimension {
    /// The value of an attribute, or that it is absent.
    Scalar(AttributeRef),
    /// Any member of a set, or that there is none.
    Member(AttributeRef),
    /// The first member of a set: where every member must pass, that one must.
    First(AttributeRef),
    /// The first target: a rule must match every one, so it must match that one.
    FirstTarget,
    /// Any target, for denies.
    SomeTarget,
}

impl Dimension {
    /// An attribute that every realm has.
    pub(super) fn fixed(path: &str) -> Option<Self> {
        let attribute = ATTRIBUTES.iter().find(|attribute| attribute.path == path)?;
        Some(Self::Scalar(AttributeRef::Fixed(attribute)))
    }

    /// Whether every request has a value of it.
    pub(super) fn is_always_there(&self) -> bool {
        matches!(self, Self::Scalar(AttributeRef::Fixed(attribute)) if !attribute.optional)
    }

    /// Whether one request can have several values of it.
    pub(super) fn is_many(&self) -> bool {
        matches!(self, Self::Member(_) | Self::SomeTarget)
    }

    /// What `check --index` calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Scalar(attribute) => attribute.path(),
            Self::Member(attribute) => format!("any of {}", attribute.path()),
            Self::First(attribute) => format!("first of {}", attribute.path()),
            Self::FirstTarget => "first target".to_owned(),
            Self::SomeTarget => "any target".to_owned(),
        }
    }
}

/// Dimensions by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Dimensions {
    all: Vec<Dimension>,
    places: HashMap<Dimension, u32>,
}

impl Dimensions {
    /// The number of a dimension.
    pub(super) fn number(&mut self, dimension: Dimension) -> u32 {
        if let Some(place) = self.places.get(&dimension) {
            return *place;
        }
        let place = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(dimension.clone());
        self.places.insert(dimension, place);
        place
    }

    pub(super) fn get(&self, number: u32) -> Option<&Dimension> {
        self.all.get(usize::try_from(number).ok()?)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}
