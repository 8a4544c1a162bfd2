//! Who acted, and who may act, from a table: what no token can say is refused here too.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::Reader;
use crate::context::{Hop, MayAct};
use crate::oauth::claims::{Identity, is_name};
use crate::policy::schema::{IssuerSchema, Schema};

const CHAIN: &str = "subject.chain";
const DEPTH: &str = "subject.chain.depth";
const ACT: &str = "subject.act";
const MAY_ACT: &str = "subject.may_act";
/// What an actor is stated with; `iss` stands in records, where the issuer is unknown.
const MEMBERS: [&str; 4] = ["issuer", "iss", "sub", "client_id"];
/// The longest chain that is read from a depth alone.
const MOST: i64 = 64;

impl Reader<'_> {
    /// The subject's actors: a list, `[{ "issuer": "corp", "sub": "x" }]`, or the outermost one with those
    /// before it within, `{ "sub": "x", "act": { … } }`, or the members of the outermost, each by itself.
    pub(super) fn chain(&mut self, issuer: &IssuerSchema, schema: &Schema) -> Vec<Hop> {
        let own = issuer.alias.as_str();
        let mut hops = Vec::new();
        if let Some(value) = self.facts.get(CHAIN) {
            for item in value.as_array().unwrap_or(&Vec::new()) {
                hops.extend(self.hop(CHAIN, item, false, own, schema));
            }
            if !value.is_array() {
                self.wrong(CHAIN, "a list of actors: `{ issuer, sub, client_id }`");
            }
        } else if let Some(mut next) = self.facts.get(ACT).or(self.parts(ACT).as_ref()).cloned() {
            loop {
                hops.extend(self.hop(ACT, &next, true, own, schema));
                match next.get("act") {
                    Some(inner) => next = inner.clone(),
                    None => break,
                }
            }
        }
        let depth = self.int(DEPTH);
        if let (Some(depth), true) = (depth, hops.is_empty()) {
            // A record may have the depth alone; who the actors are made no difference then.
            let unknown = Hop {
                issuer: Arc::from(Hop::UNKNOWN),
                iss: Arc::from(Hop::UNKNOWN),
                sub: None,
                client_id: None,
            };
            if !(0..=MOST).contains(&depth) {
                self.wrong(DEPTH, "how many actors there are");
            }
            return vec![unknown; usize::try_from(depth.clamp(0, MOST)).unwrap_or(0)];
        }
        let said = usize::try_from(depth.unwrap_or(-1)).ok();
        if depth.is_some() && said != Some(hops.len()) {
            self.wrong(DEPTH, "as many as the chain has actors");
        }
        let outermost = hops.first().map(Hop::to_json);
        self.agrees(ACT, outermost.as_ref());
        hops
    }

    pub(super) fn may_act(&mut self, issuer: &IssuerSchema, schema: &Schema) -> Option<MayAct> {
        let stated = self.facts.get(MAY_ACT).cloned().or(self.parts(MAY_ACT))?;
        // Of one that says no issuer, that stays unsaid.
        let hop = self.hop(MAY_ACT, &stated, false, Hop::UNKNOWN, schema)?;
        let said = stated.get("issuer").map(|_| Arc::clone(&hop.issuer));
        let may_act = MayAct {
            identity: Identity {
                iss: said.clone(),
                sub: hop.sub,
                client_id: hop.client_id,
            },
            issuer: said,
            within: (issuer.alias.clone(), issuer.alias.as_str().parse().ok()?),
            namespace: issuer.may_act_namespace.clone(),
        };
        self.agrees(MAY_ACT, Some(&may_act.to_json()));
        Some(may_act)
    }

    /// The members of an actor that are stated each by itself.
    fn parts(&self, path: &str) -> Option<Json> {
        let part = |name: &str| {
            let value = self.facts.get(&format!("{path}.{name}"))?;
            Some((name.to_owned(), value.clone()))
        };
        let parts: Map<String, Json> = MEMBERS.into_iter().filter_map(part).collect();
        (!parts.is_empty()).then(|| parts.into())
    }

    /// What is stated of an actor in more than one way must be the same.
    fn agrees(&mut self, path: &str, actor: Option<&Json>) {
        let stated: Vec<(String, &Json)> = MEMBERS
            .iter()
            .filter_map(|name| {
                let path = format!("{path}.{name}");
                let value = self.facts.get(&path)?;
                Some((path, value))
            })
            .collect();
        for (path, value) in stated {
            let name = path.rsplit('.').next().unwrap_or_default().to_owned();
            if actor.and_then(|actor| actor.get(&name)) != Some(value) {
                self.wrong(&path, "what is said of that actor elsewhere");
            }
        }
        let Some(Json::Object(whole)) = self.facts.get(path) else {
            return;
        };
        let same = |(name, value): (&String, &Json)| {
            name == "act" || actor.and_then(|actor| actor.get(name)) == Some(value)
        };
        if !whole.iter().all(same) {
            self.wrong(path, "what is said of that actor elsewhere");
        }
    }

    /// One actor; `issuer` is that of one that says none.
    fn hop(
        &mut self,
        path: &str,
        value: &Json,
        nested: bool,
        issuer: &str,
        schema: &Schema,
    ) -> Option<Hop> {
        let text = |name: &str| value.get(name).and_then(Json::as_str).map(Arc::<str>::from);
        let member = |(name, value): (&String, &Json)| {
            (nested && name == "act")
                || (MEMBERS.contains(&&**name) && value.as_str().is_some_and(is_name))
        };
        let sound = value.as_object().is_some_and(|object| {
            object.iter().all(member)
                && (object.contains_key("sub") || object.contains_key("client_id"))
        });
        if !sound {
            let wanted = "an actor: `{ issuer, sub, client_id }`, the latter or one of them";
            self.wrong(path, wanted);
            return None;
        }
        let alias = text("issuer").unwrap_or_else(|| Arc::from(issuer));
        if *alias != *Hop::UNKNOWN && schema.issuer(&alias).is_none() {
            self.problems
                .push(format!("`{path}`: no issuer is called `{alias}`"));
            return None;
        }
        Some(Hop {
            iss: text("iss").unwrap_or_else(|| Arc::clone(&alias)),
            issuer: alias,
            sub: text("sub"),
            client_id: text("client_id"),
        })
    }
}
