//! One test: what a request must have so that it holds, and so that it just fails.

use serde_json::{Map, Value as Json, json};

use crate::context::Hop;
use crate::policy::pattern::{Glob, UriPattern};
use crate::policy::rule::{Atom, Comparison, Condition, Constant, Constants, MemberTest, Test};
use crate::policy::trial::NOW;

/// What no rule is likely to name.
pub(super) const ELSEWHERE: &str = "elsewhere";
/// The subject's actors, and how many they are.
const CHAIN: &str = "subject.chain";
const DEPTH: &str = "subject.chain.depth";
/// How far ahead an instant is looked for, in hours: two weeks.
const HOURS: i64 = 14 * 24;

type Facts = Map<String, Json>;

/// Where a test's attribute is given: the effective scope is what was asked for.
fn place(atom: &Atom) -> String {
    match atom.left.attribute.path() {
        path if path == "scope" => "request.scope".to_owned(),
        path => path,
    }
}

/// Gives a request what a test asks for, where that is known.
pub(super) fn meet(atom: &Atom, facts: &mut Facts) {
    let path = place(atom);
    if is_of_client(&path) {
        return;
    }
    if let Some(value) = holding(atom, &path, facts, !atom.negated) {
        set(facts, path, value);
    }
}

/// Requests that fail a test which one meets, and in what.
pub(super) fn miss(atom: &Atom, facts: &Facts) -> Vec<(String, Facts)> {
    let path = place(atom);
    if is_of_client(&path) {
        return Vec::new();
    }
    let shown = atom.left.attribute.path();
    let mut missed = Vec::new();
    let mut add = |about: String, value: Json| {
        let mut facts = facts.clone();
        set(&mut facts, path.clone(), value);
        missed.push((about, facts));
    };
    if facts.contains_key(&path) {
        add(format!("without {shown}"), Json::Null);
    }
    match (&atom.test, facts.get(&path)) {
        (Test::Compare(..), _) => {
            if let Some(value) = holding(atom, &path, facts, atom.negated) {
                add(format!("just beyond the limit of {shown}"), value);
            }
        }
        (Test::Only(_) | Test::SetEquals(_) | Test::Count(..) | Test::EveryMember(_), is) => {
            let mut more = members(is);
            more.push(ELSEWHERE.into());
            add(format!("one more in {shown}"), more.into());
        }
        _ => {
            if let Some(value) = holding(atom, &path, facts, atom.negated) {
                add(format!("another {shown}"), value);
            }
        }
    }
    missed
}

/// Whether a path follows from who the client is, and is not given by itself.
fn is_of_client(path: &str) -> bool {
    path.starts_with("client.") && path != "client.auth"
}

fn set(facts: &mut Facts, path: String, value: Json) {
    match value {
        // So many actors, not the number of them.
        Json::Number(depth) if path == DEPTH => {
            let depth = depth.as_i64().unwrap_or_default().clamp(0, 16);
            let hops = (0..depth).map(|number| json!({ "sub": format!("actor-{number}") }));
            facts.insert(CHAIN.to_owned(), hops.collect());
        }
        Json::Null => drop(facts.remove(&path)),
        value => drop(facts.insert(path, value)),
    }
}

fn members(value: Option<&Json>) -> Vec<Json> {
    value.and_then(Json::as_array).cloned().unwrap_or_default()
}

/// A value with which a test holds, or does not; null is none at all.
fn holding(atom: &Atom, path: &str, facts: &Facts, wanted: bool) -> Option<Json> {
    let is = facts.get(path);
    let other = || match is {
        Some(Json::Number(number)) => number.as_i64().map(|number| Json::from(number + 1)),
        Some(Json::Bool(truth)) => Some((!truth).into()),
        Some(Json::Array(_)) => Some(vec![ELSEWHERE].into()),
        Some(_) => Some(ELSEWHERE.into()),
        None => None,
    };
    let with = |more: Vec<Json>| {
        let mut whole = members(is);
        whole.extend(more.into_iter().filter(|one| !members(is).contains(one)));
        Some(whole.into())
    };
    let without = |gone: Vec<Json>| {
        let mut left = members(is);
        left.retain(|one| !gone.contains(one));
        is.map(|_| left.into())
    };
    match &atom.test {
        Test::Present if wanted => is.is_none().then(|| "something".into()),
        Test::Present => Some(Json::Null),
        Test::Equals(constant) if wanted => Some(constant_json(constant)),
        Test::Equals(Constant::Bool(truth)) => Some((!truth).into()),
        Test::In(constants) if wanted => constants.iter().next().map(constant_json),
        Test::Compare(comparison, limit) => {
            let value = limit_of(*comparison, *limit, wanted)?;
            // An instant, a duration or a count of seconds below zero is none.
            (value >= 0).then(|| value.into())
        }
        Test::Prefixes(prefixes) if wanted => {
            let first = prefixes.iter().next()?;
            Some(first.network().to_string().into())
        }
        Test::Hours(hours) => {
            let later = (0..HOURS).map(|hour| NOW.0 + hour * 3600);
            let mut fitting = later.filter(|instant| hours.contains(*instant) == wanted);
            fitting.next().map(Json::from)
        }
        Test::EqualsAttribute(operand) if wanted => {
            let right = facts.get(&operand.attribute.path()).cloned();
            right.or(operand.default.as_ref().map(constant_json))
        }
        Test::InAttribute(attribute) if wanted => {
            members(facts.get(&attribute.path())).into_iter().next()
        }
        Test::Like(glob) if wanted => Some(example(glob).into()),
        Test::LikeUri(pattern) if wanted => Some(example_uri(pattern).into()),
        Test::Under(patterns) if wanted => patterns.first().map(|one| example_uri(one).into()),
        Test::Has(constant) if wanted => with(vec![constant_json(constant)]),
        Test::Has(constant) => without(vec![constant_json(constant)]),
        Test::HasAttribute(operand) if wanted => {
            with(vec![facts.get(&operand.attribute.path())?.clone()])
        }
        Test::HasAny(constants) if wanted => with(list(constants).into_iter().take(1).collect()),
        Test::HasAll(constants) if wanted => with(list(constants)),
        Test::HasAny(constants) | Test::HasAll(constants) => without(list(constants)),
        Test::Only(constants) if wanted => {
            let mut left = members(is);
            left.retain(|one| list(constants).contains(one));
            let left = if left.is_empty() {
                list(constants)
            } else {
                left
            };
            Some(left.into())
        }
        Test::SetEquals(constants) if wanted => Some(list(constants).into()),
        Test::Count(comparison, limit) => {
            let count = usize::try_from(limit_of(*comparison, *limit, wanted)?).ok()?;
            let mut whole = members(is);
            whole.truncate(count);
            let more = (whole.len()..count.min(64)).map(|number| format!("{ELSEWHERE}-{number}"));
            whole.extend(more.map(Json::from));
            Some(whole.into())
        }
        Test::AnyMember(inner) if wanted => with(vec![member(inner)?]),
        Test::EveryMember(inner) if wanted => Some(vec![member(inner)?].into()),
        Test::AnyMember(_) | Test::EveryMember(_) => is.map(|_| vec![ELSEWHERE].into()),
        Test::AnyHop(inner) | Test::EveryHop(inner) if wanted => Some(vec![hop(inner)].into()),
        Test::AnyHop(_) | Test::EveryHop(_) => is.map(|_| Vec::<Json>::new().into()),
        Test::Equals(_)
        | Test::In(_)
        | Test::Prefixes(_)
        | Test::EqualsAttribute(_)
        | Test::InAttribute(_)
        | Test::Like(_)
        | Test::LikeUri(_)
        | Test::Under(_)
        | Test::HasAttribute(_)
        | Test::Only(_)
        | Test::SetEquals(_) => other(),
    }
}

/// The number nearest to a limit that keeps it, or does not.
fn limit_of(comparison: Comparison, limit: i64, wanted: bool) -> Option<i64> {
    match (comparison, wanted) {
        (Comparison::Equal | Comparison::AtMost | Comparison::AtLeast, true)
        | (Comparison::Less | Comparison::Greater, false) => Some(limit),
        (Comparison::Less, true) | (Comparison::AtLeast, false) => limit.checked_sub(1),
        (Comparison::Greater, true) | (Comparison::AtMost | Comparison::Equal, false) => {
            limit.checked_add(1)
        }
    }
}

/// A member of a set that passes a test.
fn member(test: &MemberTest) -> Option<Json> {
    Some(match &test.test {
        _ if test.negated => ELSEWHERE.into(),
        Test::Equals(constant) => constant_json(constant),
        Test::In(constants) => constant_json(constants.iter().next()?),
        Test::Like(glob) => example(glob).into(),
        Test::LikeUri(pattern) => example_uri(pattern).into(),
        Test::Under(patterns) => example_uri(patterns.first()?).into(),
        _ => return None,
    })
}

/// An actor of which the tests of a condition are true that ask for one value.
fn hop(condition: &Condition) -> Json {
    let mut hop = Map::new();
    hop.insert("sub".to_owned(), "actor".into());
    condition.atoms(&mut |atom| {
        let path = atom.left.attribute.path();
        let value = holding(atom, &path, &Facts::new(), !atom.negated);
        if let (Some(name), Some(value)) = (path.strip_prefix("it."), value) {
            hop.insert(name.to_owned(), value);
        }
    });
    if hop.get("issuer").and_then(Json::as_str) == Some(Hop::UNKNOWN) {
        let identifier = format!("https://{ELSEWHERE}.example");
        hop.insert("iss".to_owned(), identifier.into());
    }
    hop.into()
}

fn list(constants: &Constants) -> Vec<Json> {
    constants.iter().map(constant_json).collect()
}

fn constant_json(constant: &Constant) -> Json {
    constant.value().to_json()
}

/// A text of a form.
pub(super) fn example(glob: &Glob) -> String {
    glob.source().replace("**", "x").replace('*', "x")
}

/// A URI of a form.
pub(super) fn example_uri(pattern: &UriPattern) -> String {
    pattern.source().replace("**", "x").replace('*', "x")
}
