//! From what a search found to a request that anybody can send to `explain`: a table of facts, made as small
//! as it can be while the evaluator still says the same.

use serde_json::{Map, Value as Json};

use super::ask::Ground;
use super::formula::Formula;
use super::model::Model;
use super::solve::{Assignment, Given};
use crate::context::ExchangeContext;
use crate::policy::facts;
use crate::policy::rule::Constant;
use crate::policy::trial::NOW;

/// A request, and the table that it was made of.
#[derive(Clone, Debug)]
pub struct Witness {
    /// By path, as `explain` and tests take it.
    pub facts: Map<String, Json>,
    /// The request.
    pub context: ExchangeContext,
}

impl Witness {
    /// The request of a table, with what every request has.
    pub(super) fn of<P>(mut facts: Map<String, Json>, ground: &Ground<'_, P>) -> Option<Self> {
        facts::placeholders(&mut facts, ground.schema);
        let context = ground.assembler.assemble(&facts, NOW).ok()?;
        Some(Self { facts, context })
    }

    /// The request that an assignment describes, if the evaluator agrees that the question holds of it; or why
    /// there is no such request.
    pub(super) fn confirmed<P>(
        model: &Model<'_>,
        assignment: &Assignment,
        formula: &Formula<'_, P>,
        ground: &Ground<'_, P>,
    ) -> Result<Option<Self>, String> {
        let mut facts = table(model, assignment);
        facts::placeholders(&mut facts, ground.schema);
        let context = ground.assembler.assemble(&facts, NOW);
        let context = context.map_err(|problems| problems.join("; "))?;
        let holds = formula.holds(ground.set, &context);
        Ok(holds.then_some(Self { facts, context }))
    }

    /// The same with less in it, where what `holds` asks holds of that as well.
    pub(super) fn smaller<P>(
        mut self,
        ground: &Ground<'_, P>,
        holds: impl Fn(&Self) -> bool,
    ) -> Self {
        let paths: Vec<String> = self.facts.keys().cloned().collect();
        for path in paths {
            let mut without = self.facts.clone();
            without.remove(&path);
            if let Some(smaller) = Self::of(without, ground)
                && smaller.facts.len() < self.facts.len()
                && holds(&smaller)
            {
                self = smaller;
                continue;
            }
            // Members of a set, one after the other.
            let members = self.facts.get(&path).and_then(Json::as_array);
            for place in (0..members.map_or(0, Vec::len)).rev() {
                let mut less = self.facts.clone();
                if let Some(Json::Array(members)) = less.get_mut(&path)
                    && members.len() > 1
                {
                    members.remove(place);
                } else {
                    continue;
                }
                if let Some(smaller) = Self::of(less, ground)
                    && holds(&smaller)
                {
                    self = smaller;
                }
            }
        }
        self
    }

    /// Lines for people: who asks, whose token, for what.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |name: &str, value: String| lines.push(format!("{name:<9}{value}"));
        let text = |path: &str| match self.facts.get(path) {
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let mut client = text("client.id");
        if self.facts.contains_key("client.auth") {
            client = format!("{client} by {}", text("client.auth"));
        }
        line("client", client);
        for party in facts::PARTIES {
            let issuer = party.path("issuer");
            if !self.facts.contains_key(&issuer) {
                continue;
            }
            let begins = format!("{}.", party.name);
            let said: Vec<String> = self
                .facts
                .iter()
                // What every token of the issuer has, and nothing rests on.
                .filter(|(path, value)| **path != issuer && value.as_str() != Some("placeholder"))
                .filter_map(|(path, value)| {
                    let name = path
                        .strip_prefix(party.claims)
                        .or_else(|| path.strip_prefix(&*begins))?;
                    Some(format!("{name}: {value}"))
                })
                .collect();
            line(
                party.name,
                match said.is_empty() {
                    true => text(&issuer),
                    false => format!("{} {{ {} }}", text(&issuer), said.join(", ")),
                },
            );
        }
        for (path, value) in &self.facts {
            let name = match path.as_str() {
                "resource" | "audience" | "now" => path.as_str(),
                "request.scope" => "scope",
                "request.requested_token_type" => "asks for",
                "request.grant_type" => "grant",
                "conn.ip" => "from",
                _ => continue,
            };
            line(
                name,
                match (name, value) {
                    ("now", Json::Number(number)) => match number.as_i64().and_then(instant) {
                        // As people read it, and as `explain` and records have it.
                        Some(at) => format!("{at} ({number})"),
                        None => value.to_string(),
                    },
                    (_, Json::String(text)) => text.clone(),
                    _ => value.to_string(),
                },
            );
        }
        lines
    }
}

/// An instant as people write it.
fn instant(seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(seconds)
        .ok()
        .map(|at| at.to_string())
}

/// An assignment as a table.
fn table(model: &Model<'_>, assignment: &Assignment) -> Map<String, Json> {
    let mut table = Map::new();
    if let Some(client) = model.schema.clients.get(assignment.client) {
        table.insert("client.id".to_owned(), client.id.as_str().into());
    }
    let mut hops: Vec<Map<String, Json>> = Vec::new();
    let mut may_act: Option<Map<String, Json>> = None;
    let mut acting = false;
    for (variable, given) in model.variables.iter().zip(&assignment.values) {
        let Some(given) = given else { continue };
        let path = variable.path.split('\u{0}').next().unwrap_or_default();
        let value = match given {
            Given::Flag => Json::Null,
            Given::One(value) => json(value),
            Given::Set(members) => members.iter().map(json).collect(),
        };
        if let Some(rest) = path.strip_prefix("hop") {
            let (place, name) = rest.split_once('.').unwrap_or((rest, ""));
            let place: usize = place.parse().unwrap_or_default();
            if hops.len() <= place {
                hops.resize(place + 1, Map::new());
            }
            if let (Some(hop), false) = (hops.get_mut(place), name.is_empty()) {
                hop.insert(name.to_owned(), value);
            }
        } else if let Some(name) = path.strip_prefix("subject.may_act") {
            let members = may_act.get_or_insert_with(Map::new);
            if let Some(name) = name.strip_prefix('.') {
                members.insert(name.to_owned(), value);
            }
        } else if path == "actor" {
            acting = true;
        } else if path != "scope" && !path.starts_with("doubt ") {
            table.insert(path.to_owned(), value);
        }
    }
    // Who is there, but not asked about, has a name all the same.
    let named = |mut members: Map<String, Json>| {
        if !members.contains_key("sub") && !members.contains_key("client_id") {
            members.insert("sub".to_owned(), "somebody".into());
        }
        Json::Object(members)
    };
    if !hops.is_empty() {
        let chain: Vec<Json> = hops.into_iter().map(named).collect();
        table.insert("subject.chain".to_owned(), chain.into());
    }
    if let Some(members) = may_act {
        table.insert("subject.may_act".to_owned(), named(members));
    }
    if acting && !table.contains_key("actor.issuer") {
        let others = model.schema.issuers.iter().find(|i| !i.alias.is_own());
        let issuer = others.or(model.schema.issuers.first());
        if let Some(issuer) = issuer {
            table.insert("actor.issuer".to_owned(), issuer.alias.as_str().into());
        }
    }
    table
}

fn json(value: &Constant) -> Json {
    match value {
        Constant::Text(text) => (**text).into(),
        Constant::Int(number) => (*number).into(),
        Constant::Bool(truth) => (*truth).into(),
        Constant::Uri(uri) => uri.raw().into(),
        Constant::Ip(ip) => ip.to_string().into(),
    }
}
