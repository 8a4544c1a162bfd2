//! What a request must have for a rule to match: read off the rule's clauses.
//!
//! Needs are weaker than the clauses that they come from, never stronger: a request that matches the
//! rule has, for each need, one of its keys.

use super::dimension::{Dimension, Dimensions};
use super::key::Key;
use crate::policy::rule::{
    ActorForm, ActorMatch, Atom, AudienceMatch, Clients, Comparison, Condition, Header, Headers,
    Operand, ResourceMatch, TargetsMatch, Test,
};
use crate::policy::schema::AttributeRef;

/// As many keys as one need may have; one with more leads nowhere.
const MAX_KEYS: usize = 256;

/// One of these keys of a dimension.
#[derive(Clone, Debug)]
pub(super) struct Need {
    pub(super) dimension: u32,
    pub(super) keys: Vec<Key>,
}

/// Needs that all must be met; `None` where no request can.
pub(super) type Needs = Option<Vec<Need>>;

/// Reads needs off clauses.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) dimensions: &'a mut Dimensions,
}

impl Reader<'_> {
    /// One need, or none where `keys` do not say.
    fn need(&mut self, dimension: Dimension, keys: Option<Vec<Key>>) -> Needs {
        let Some(mut keys) = keys else {
            return Some(Vec::new());
        };
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return None;
        }
        let has = |key| keys.contains(&key);
        let either = has(Key::PRESENT) && (has(Key::ABSENT) || dimension.is_always_there());
        if either || keys.len() > MAX_KEYS {
            return Some(Vec::new());
        }
        let dimension = self.dimensions.number(dimension);
        Some(vec![Need { dimension, keys }])
    }

    fn fixed(&mut self, path: &str, keys: Option<Vec<Key>>) -> Needs {
        match Dimension::fixed(path) {
            Some(dimension) => self.need(dimension, keys),
            None => Some(Vec::new()),
        }
    }

    /// `by`.
    pub(super) fn by(&mut self, headers: &Headers) -> Needs {
        let Some(by) = &headers.by else {
            return Some(Vec::new());
        };
        let keys = match &by.value {
            Clients::Ids(ids) => Some(ids.iter().map(|id| Key::text(id.as_str())).collect()),
            Clients::Like(globs) => globs.iter().map(Key::glob).collect(),
        };
        self.fixed("client.id", keys)
    }

    /// `from`.
    pub(super) fn from(&mut self, headers: &Headers) -> Needs {
        let Some(from) = &headers.from else {
            return Some(Vec::new());
        };
        let aliases = from.value.iter().map(|from| from.alias.as_str());
        let keys = aliases.map(Key::text).collect();
        self.fixed("subject.issuer", Some(keys))
    }

    /// `actor` of a rule, which always has one.
    pub(super) fn actor(&mut self, headers: &Headers) -> Needs {
        match &headers.actor {
            None => None,
            Some(actor) => self.acting(actor),
        }
    }

    fn acting(&mut self, actor: &Header<ActorMatch>) -> Needs {
        let mut keys = Vec::new();
        match &actor.value.form {
            ActorForm::None | ActorForm::Client => keys.push(Key::ABSENT),
            ActorForm::Named(from) | ActorForm::Required(from) => {
                keys.extend(from.iter().map(|alias| Key::text(alias.as_str())));
            }
            ActorForm::Optional(from) => {
                keys.push(Key::ABSENT);
                keys.extend(from.iter().map(|alias| Key::text(alias.as_str())));
            }
        }
        self.fixed("actor.issuer", Some(keys))
    }

    /// `to` of a rule: every target matches, so the first one does.
    pub(super) fn to(&mut self, headers: &Headers) -> Needs {
        self.targets(headers, Dimension::FirstTarget)
    }

    fn targets(&mut self, headers: &Headers, dimension: Dimension) -> Needs {
        let Some(to) = &headers.to else {
            return Some(Vec::new());
        };
        let keys = to.value.iter().flat_map(target_keys).collect();
        self.need(dimension, Some(keys))
    }

    /// `via` and `issue`.
    pub(super) fn rest(&mut self, headers: &Headers) -> Needs {
        let via = headers.via.as_ref().map(|via| vec![Key::text(&via.value)]);
        let issue = headers.issue.as_ref().map(|issue| {
            let mut keys = vec![Key::text(issue.value.name())];
            // `issue access_token` also holds where nothing was asked for.
            if issue.value == crate::oauth::token_type::TokenType::AccessToken {
                keys.push(Key::ABSENT);
            }
            keys
        });
        let via = self.fixed("request.grant_type", via);
        let issue = self.fixed("request.requested_token_type", issue);
        both(via, issue)
    }

    /// That no scope was asked for.
    pub(super) fn no_scope(&mut self) -> Needs {
        self.fixed("request.scope", Some(vec![Key::ABSENT]))
    }

    /// The headers of a deny: what it does not mention is unconstrained, and some target is enough.
    pub(super) fn deny(&mut self, headers: &Headers) -> Needs {
        let by = self.by(headers);
        let from = self.from(headers);
        let actor = match &headers.actor {
            None => Some(Vec::new()),
            Some(actor) => self.acting(actor),
        };
        let to = self.targets(headers, Dimension::SomeTarget);
        let rest = self.rest(headers);
        both(both(both(by, from), both(actor, to)), rest)
    }

    /// A condition.
    pub(super) fn condition(&mut self, condition: &Condition) -> Needs {
        match condition {
            Condition::All(parts) => parts.iter().try_fold(Vec::new(), |mut needs, part| {
                needs.extend(self.condition(part)?);
                Some(needs)
            }),
            Condition::Any(parts) => {
                // A part that nothing meets adds nothing.
                let mut parts = parts.iter().filter_map(|part| self.condition(part));
                let first = parts.next()?;
                Some(parts.fold(first, either))
            }
            Condition::Atom(atom) => self.atom(atom),
        }
    }

    /// That an attribute is absent: whichever way others ask for it, so that `absent p or p …` needs one of
    /// both.
    fn absent(&mut self, attribute: &AttributeRef) -> Needs {
        let known = match attribute {
            AttributeRef::Fixed(attribute) => Some(attribute.ty.is_set()),
            _ => None,
        };
        let absent = || Some(vec![Key::ABSENT]);
        let mut needs = self.need(Dimension::Scalar(attribute.clone()), absent());
        if known != Some(false) {
            let member = self.need(Dimension::Member(attribute.clone()), absent());
            let first = self.need(Dimension::First(attribute.clone()), absent());
            needs = both(needs, both(member, first));
        }
        needs
    }

    fn atom(&mut self, atom: &Atom) -> Needs {
        let Operand { attribute, default } = &atom.left;
        if matches!(attribute, AttributeRef::Field(_)) {
            return Some(Vec::new());
        }
        let scalar = Dimension::Scalar(attribute.clone());
        if atom.negated {
            // All other complements also hold of values that no list names.
            match matches!(atom.test, Test::Present) && default.is_none() {
                true => return self.absent(attribute),
                false => return Some(Vec::new()),
            }
        }
        if let Some((dimension, keys)) = set_keys(&atom.test, attribute) {
            if default.is_some() {
                return Some(Vec::new());
            }
            let mut needs = Vec::new();
            for keys in keys {
                needs.extend(self.need(dimension.clone(), Some(keys))?);
            }
            return Some(needs);
        }
        let mut keys = value_keys(&atom.test).unwrap_or_else(|| vec![Key::PRESENT]);
        if let Some(default) = default {
            let fails = match &atom.test {
                Test::Equals(wanted) => default != wanted,
                Test::In(wanted) => !wanted.contains(default.value()),
                _ => false,
            };
            if !fails {
                keys.push(Key::ABSENT);
            }
        }
        self.need(scalar, Some(keys))
    }
}

/// Both needs.
pub(super) fn both(left: Needs, right: Needs) -> Needs {
    let mut needs = left?;
    needs.extend(right?);
    Some(needs)
}

/// What is needed whichever of the two holds: one of either's keys, where both ask the same dimension.
fn either(left: Vec<Need>, right: Vec<Need>) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for mut need in left {
        let others = right
            .iter()
            .filter(|other| other.dimension == need.dimension);
        let Some(other) = others.min_by_key(|other| other.keys.len()) else {
            continue;
        };
        need.keys.extend(&other.keys);
        need.keys.sort_unstable();
        need.keys.dedup();
        let says = |key| need.keys.contains(&key);
        let nothing = says(Key::PRESENT) && says(Key::ABSENT);
        if !nothing && need.keys.len() <= MAX_KEYS {
            needs.push(need);
        }
    }
    needs
}

fn target_keys(form: &TargetsMatch) -> Vec<Key> {
    match form {
        TargetsMatch::Any => vec![Key::RESOURCE, Key::AUDIENCE],
        TargetsMatch::None => vec![Key::ABSENT],
        TargetsMatch::Parts { resource, audience } => {
            let mut keys = Vec::new();
            match resource {
                None => {}
                Some(ResourceMatch::Equal(uris)) => keys.extend(uris.iter().map(Key::uri)),
                Some(ResourceMatch::Pattern(patterns)) => {
                    keys.extend(patterns.iter().map(Key::pattern));
                }
            }
            match audience {
                None => {}
                Some(AudienceMatch::Equal(names)) => {
                    keys.extend(names.iter().map(|name| Key::text(name)));
                }
                Some(AudienceMatch::Like(globs)) => {
                    keys.extend(
                        globs
                            .iter()
                            .map(|glob| Key::glob(glob).unwrap_or(Key::AUDIENCE)),
                    );
                }
            }
            keys
        }
    }
}

/// The keys of a test of one value; `None` where it has none, and only asks that there be a value.
fn value_keys(test: &Test) -> Option<Vec<Key>> {
    match test {
        Test::Equals(wanted) => Some(vec![Key::constant(wanted)?]),
        Test::In(wanted) => wanted.iter().map(Key::constant).collect(),
        Test::Compare(Comparison::Equal, wanted) => Some(vec![Key::number(*wanted)]),
        Test::Like(glob) => Some(vec![Key::glob(glob)?]),
        Test::LikeUri(pattern) => Some(vec![Key::pattern(pattern)]),
        Test::Under(patterns) => Some(patterns.iter().map(Key::pattern).collect()),
        _ => None,
    }
}

/// The keys of a test of a set or a list, as needs that all must be met; `None` of a test of one value.
fn set_keys(test: &Test, attribute: &AttributeRef) -> Option<(Dimension, Vec<Vec<Key>>)> {
    let member = || Dimension::Member(attribute.clone());
    let first = || Dimension::First(attribute.clone());
    let some = || vec![vec![Key::PRESENT]];
    let one = |keys: Option<Vec<Key>>| keys.map_or_else(some, |keys| vec![keys]);
    Some(match test {
        Test::Has(wanted) => (member(), one(Key::constant(wanted).map(|key| vec![key]))),
        Test::HasAny(wanted) => (member(), one(wanted.iter().map(Key::constant).collect())),
        Test::HasAll(wanted) => {
            let keys: Option<Vec<Key>> = wanted.iter().map(Key::constant).collect();
            let each = keys.unwrap_or_default().into_iter().map(|key| vec![key]);
            (member(), each.collect())
        }
        Test::Only(allowed) => (first(), one(allowed.iter().map(Key::constant).collect())),
        Test::SetEquals(wanted) if wanted.is_empty() => (member(), vec![vec![Key::ABSENT]]),
        Test::SetEquals(wanted) => (first(), one(wanted.iter().map(Key::constant).collect())),
        Test::AnyMember(inner) if !inner.negated => (member(), one(value_keys(&inner.test))),
        Test::EveryMember(inner) if !inner.negated => (first(), one(value_keys(&inner.test))),
        Test::HasAttribute(_)
        | Test::AnyMember(_)
        | Test::EveryMember(_)
        | Test::AnyHop(_)
        | Test::EveryHop(_) => (member(), some()),
        // No member at all may be counted too.
        Test::Count(..) => (member(), Vec::new()),
        _ => return None,
    })
}
