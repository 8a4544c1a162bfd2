//! Representative requests, found rule by rule: one that the rule selects, and those that miss it by one
//! thing.
//!
//! A guess is made of what headers and conditions ask for, and the evaluator says whether it is right. Where no
//! guess is, the analyser is asked. What is not found is said; nothing is concluded from it.

mod meet;

use serde_json::{Map, Value as Json, json};

use super::Representative;
use crate::oauth::id::RuleId;
use crate::oauth::token_type::TokenType;
use crate::policy::decide::{Decision, PolicySet, Reason};
use crate::policy::facts::{self, SUBJECT};
use crate::policy::prove::{Answer, Formula, Ground, ask};
use crate::policy::rule::{
    ActorForm, AudienceMatch, Clients, Condition, Headers, ResourceMatch, TargetsMatch, UseRule,
};
use crate::policy::schema::Schema;
use crate::policy::trial::NOW;
use meet::{ELSEWHERE, example, example_uri, meet, miss};

/// How many ways of meeting a condition with `or` are tried.
const MOST: usize = 64;
/// How many ways to be selected, or refused, are shown of a rule.
const SHOWN: usize = 4;
/// How many clients, of those that a header admits.
const CLIENTS: usize = 16;

type Facts = Map<String, Json>;

/// Requests that show where the rules begin and end, and the rules and denies for which none was found.
#[must_use]
pub fn representatives<P>(
    set: &PolicySet<P>,
    schema: &Schema,
) -> (Vec<Representative>, Vec<RuleId>) {
    let ground = Ground::new(set, schema);
    let search = Search {
        set,
        schema,
        ground,
    };
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let mut selected: Vec<Facts> = Vec::new();
    for rule in set.rules() {
        let conditions = [&rule.scope_when, &rule.when];
        let ceiling = rule
            .outcome
            .scope_ceiling
            .as_ref()
            .map(|scope| scope.iter());
        let scope: Vec<&str> = ceiling.into_iter().flatten().collect();
        let issue = Some(&rule.outcome.issue);
        let selects = |facts: &Facts| search.decided(facts) == Some(Decided::By(rule.id.clone()));
        let forms = rule.headers.to.as_ref().map_or(1, |to| to.value.len());
        let met = (0..forms.min(SHOWN)).flat_map(|form| {
            let begun = search.begun(&rule.headers, form, issue, &scope);
            search.met(&begun, &conditions, selects)
        });
        let mut met: Vec<Facts> = met.collect();
        if met.is_empty() {
            met.extend(search.asked(&selected_alone(set, rule)).filter(selects));
        }
        let Some(first) = met.first().cloned() else {
            missing.push(rule.id.clone());
            continue;
        };
        let mut add = |about: &str, facts: Facts| {
            found.push(Representative {
                about: about.to_owned(),
                rule: rule.id.clone(),
                facts,
            });
        };
        met.into_iter().for_each(|facts| add("selected", facts));
        for (about, missed) in search.misses(&conditions, &first, selects) {
            // What does not matter shows nothing.
            let decided = search.decided(&missed);
            if decided.is_some_and(|other| other != Decided::By(rule.id.clone())) {
                add(&about, missed);
            }
        }
        selected.push(first);
    }
    for deny in set.denies() {
        let refuses = |facts: &Facts| match search.decided(facts) {
            Some(Decided::DeniedBy(rules)) => rules.contains(&deny.id),
            _ => false,
        };
        // What a rule would have let pass shows a deny best.
        let passed = selected.iter().take(MOST);
        let mut begun: Vec<Facts> = passed
            .map(|facts| search.over(facts, &deny.headers))
            .collect();
        begun.extend(search.begun(&deny.headers, 0, None, &[]));
        let mut met = search.met(&begun, &[&deny.when], refuses);
        if met.is_empty() {
            met.extend(search.asked(&Formula::Deny(deny)).filter(refuses));
        }
        if met.is_empty() {
            missing.push(deny.id.clone());
        }
        found.extend(met.into_iter().map(|facts| Representative {
            about: "refused".to_owned(),
            rule: deny.id.clone(),
            facts,
        }));
    }
    (found, missing)
}

/// What came out.
#[derive(PartialEq, Eq)]
enum Decided {
    By(RuleId),
    DeniedBy(Vec<RuleId>),
    Otherwise,
}

/// A rule matches, and nothing stands before it.
fn selected_alone<'a, P>(set: &'a PolicySet<P>, rule: &'a UseRule<P>) -> Formula<'a, P> {
    let denies = set.denies().iter().map(Formula::Deny);
    let above = set
        .rules()
        .iter()
        .filter(|other| other.overrides.contains(&rule.id));
    let before = denies.chain(above.map(Formula::Rule)).collect();
    Formula::All(vec![
        Formula::Rule(rule),
        Formula::Granted(rule),
        Formula::Any(before).not(),
    ])
}

struct Search<'a, P> {
    set: &'a PolicySet<P>,
    schema: &'a Schema,
    ground: Ground<'a, P>,
}

impl<P> Search<'_, P> {
    /// What the policies make of a table; nothing where it is no request.
    fn decided(&self, facts: &Facts) -> Option<Decided> {
        let mut facts = facts.clone();
        facts::placeholders(&mut facts, self.schema);
        let context = facts::assemble(&facts, self.schema, NOW).ok()?;
        Some(match self.set.decide(&context) {
            Decision::Permit(_, permit) => Decided::By(permit.rule().clone()),
            Decision::Deny(denial) => match denial.reason {
                Reason::DeniedBy(rules) => Decided::DeniedBy(rules),
                _ => Decided::Otherwise,
            },
        })
    }

    /// A request of which the analyser says that something holds of it.
    fn asked(&self, formula: &Formula<'_, P>) -> Option<Facts> {
        match ask(&self.ground, formula) {
            Answer::Of(witness) => Some(witness.facts),
            Answer::Never | Answer::Unknown(_) => None,
        }
    }

    /// For each way to meet the conditions the first request, over all beginnings, of which something is true.
    fn met(
        &self,
        begun: &[Facts],
        conditions: &[&Condition],
        is: impl Fn(&Facts) -> bool,
    ) -> Vec<Facts> {
        let ways: usize = conditions.iter().map(|condition| ways(condition)).product();
        let mut met: Vec<Facts> = Vec::new();
        for way in 0..ways.clamp(1, MOST) {
            let mut tries = begun
                .iter()
                .map(|facts| self.one_way(facts, conditions, way));
            if let Some(facts) = tries.find(&is)
                && !met.contains(&facts)
            {
                met.push(facts);
            }
            if met.len() == SHOWN {
                break;
            }
        }
        met
    }

    /// A beginning with what the conditions ask for, where `way` says which parts of each `or`.
    fn one_way(&self, begun: &Facts, conditions: &[&Condition], way: usize) -> Facts {
        let mut facts = begun.clone();
        // Twice, since one test may rest on what another one gives.
        for _ in 0..2 {
            let mut way = way;
            for condition in conditions {
                self.satisfy(condition, &mut facts, &mut way);
            }
        }
        self.cover_scope(&mut facts);
        name_the_actor(&mut facts);
        facts
    }

    fn satisfy(&self, condition: &Condition, facts: &mut Facts, way: &mut usize) {
        match condition {
            Condition::All(parts) => {
                parts.iter().for_each(|part| self.satisfy(part, facts, way));
            }
            Condition::Any(parts) => {
                let arms = parts.len().max(1);
                if let Some(part) = parts.get(*way % arms) {
                    *way /= arms;
                    self.satisfy(part, facts, way);
                }
            }
            Condition::Atom(atom) => meet(atom, facts),
        }
    }

    /// The subject may have what is asked for.
    fn cover_scope(&self, facts: &mut Facts) {
        let has_scope = SUBJECT
            .issuer(facts, self.schema)
            .is_some_and(|issuer| issuer.has_scope);
        let Some(Json::Array(asked)) = facts.get("request.scope").cloned() else {
            return;
        };
        if !has_scope {
            facts.remove("subject.scope");
            return;
        }
        let mut whole = facts
            .get("subject.scope")
            .and_then(Json::as_array)
            .cloned()
            .unwrap_or_default();
        whole.extend(
            asked
                .into_iter()
                .filter(|token| !whole.contains(token))
                .collect::<Vec<_>>(),
        );
        facts.insert("subject.scope".to_owned(), whole.into());
    }

    /// What the headers of a rule ask for, for each issuer and client; of targets in the given form.
    fn begun(
        &self,
        headers: &Headers,
        form: usize,
        issue: Option<&TokenType>,
        scope: &[&str],
    ) -> Vec<Facts> {
        let from = headers.from.as_ref().map(|header| header.value.iter());
        let issuers: Vec<(&str, Option<&TokenType>)> = match from {
            Some(issuers) => issuers
                .map(|one| (one.alias.as_str(), one.token_type.as_ref()))
                .collect(),
            None => {
                let issuers = self.schema.issuers.iter();
                let others = issuers.filter(|issuer| !issuer.alias.is_own());
                others.map(|issuer| (issuer.alias.as_str(), None)).collect()
            }
        };
        let begin = |client: Option<&str>, (issuer, ty): &(&str, Option<&TokenType>)| {
            let mut facts = Facts::new();
            let mut add = |path: &str, value: Json| drop(facts.insert(path.to_owned(), value));
            client
                .into_iter()
                .for_each(|client| add("client.id", client.into()));
            add("subject.issuer", (*issuer).into());
            ty.iter()
                .for_each(|ty| add("subject.token_type", ty.name().into()));
            if let Some(issue) = issue.filter(|ty| **ty != TokenType::AccessToken) {
                add("request.requested_token_type", issue.name().into());
            }
            if !scope.is_empty() {
                add("request.scope", scope.to_vec().into());
            }
            self.headers(headers, form, &mut facts);
            facts
        };
        let clients = self.clients(headers);
        let clients: Vec<Option<&str>> = match clients.is_empty() {
            true => vec![None],
            false => clients.into_iter().map(Some).collect(),
        };
        let pairs = issuers
            .iter()
            .flat_map(|issuer| clients.iter().map(move |client| (client, issuer)));
        pairs
            .map(|(client, issuer)| begin(*client, issuer))
            .collect()
    }

    /// The first clients that a header admits.
    fn clients<'h>(&'h self, headers: &'h Headers) -> Vec<&'h str> {
        let registered = self.schema.clients.iter().map(|client| client.id.as_str());
        match headers.by.as_ref().map(|header| &header.value) {
            Some(Clients::Ids(ids)) => ids.iter().map(|id| id.as_str()).take(CLIENTS).collect(),
            Some(Clients::Like(globs)) => {
                let named = registered.filter(|id| globs.iter().any(|glob| glob.matches(id)));
                named.take(CLIENTS).collect()
            }
            None => registered.take(CLIENTS).collect(),
        }
    }

    /// A request of another rule with what a deny's headers ask for.
    fn over(&self, facts: &Facts, headers: &Headers) -> Facts {
        let mut facts = facts.clone();
        let from = headers.from.as_ref().map(|header| &header.value);
        if let Some(issuers) = from
            && let Some(first) = issuers.first()
        {
            let is =
                |alias: &str| facts.get("subject.issuer").and_then(Json::as_str) == Some(alias);
            if !issuers.iter().any(|issuer| is(issuer.alias.as_str())) {
                facts.retain(|path, _| !path.starts_with("subject."));
                facts.insert("subject.issuer".to_owned(), first.alias.as_str().into());
            }
        }
        let is = facts.get("client.id").and_then(Json::as_str);
        let clients = self.clients(headers);
        if headers.by.is_some()
            && !is.is_some_and(|is| clients.contains(&is))
            && let Some(client) = clients.first()
        {
            facts.insert("client.id".to_owned(), (*client).into());
        }
        self.headers(headers, 0, &mut facts);
        facts
    }

    fn headers(&self, headers: &Headers, form: usize, facts: &mut Facts) {
        if let Some(header) = &headers.to
            && let Some(form) = header.value.get(form)
        {
            facts.remove("resource");
            facts.remove("audience");
            match form {
                TargetsMatch::None => {}
                TargetsMatch::Any => drop(facts.insert("audience".to_owned(), json!([ELSEWHERE]))),
                TargetsMatch::Parts { resource, audience } => {
                    let resource = resource.as_ref().and_then(|one| match one {
                        ResourceMatch::Equal(uris) => uris.first().map(|uri| uri.raw().to_owned()),
                        ResourceMatch::Pattern(patterns) => patterns.first().map(example_uri),
                    });
                    let audience = audience.as_ref().and_then(|one| match one {
                        AudienceMatch::Equal(names) => names.first().map(|name| name.to_string()),
                        AudienceMatch::Like(globs) => globs.first().map(example),
                    });
                    if let Some(resource) = resource {
                        facts.insert("resource".to_owned(), json!([resource]));
                    } else if let Some(audience) = audience {
                        facts.insert("audience".to_owned(), json!([audience]));
                    }
                }
            }
        }
        if let Some(header) = &headers.actor {
            match &header.value.form {
                ActorForm::Named(issuers) | ActorForm::Required(issuers) => {
                    let alias = issuers
                        .first()
                        .map(|alias| alias.as_str())
                        .unwrap_or_default();
                    facts.insert("actor.issuer".to_owned(), alias.into());
                    facts.insert("actor.sub".to_owned(), "actor".into());
                    if let ActorForm::Named(_) = &header.value.form {
                        facts.insert("subject.may_act.issuer".to_owned(), alias.into());
                        facts.insert("subject.may_act.sub".to_owned(), "actor".into());
                    }
                }
                ActorForm::None | ActorForm::Client | ActorForm::Optional(_) => {}
            }
        }
    }

    /// Requests that differ from one in one thing, and what it is.
    fn misses(
        &self,
        conditions: &[&Condition],
        facts: &Facts,
        selects: impl Fn(&Facts) -> bool,
    ) -> Vec<(String, Facts)> {
        let mut missed = Vec::new();
        // Of all clients, the first one for which it makes a difference.
        let is = facts.get("client.id").and_then(Json::as_str);
        let ids = self.schema.clients.iter().map(|client| client.id.as_str());
        let others = ids.filter(|other| Some(*other) != is).map(|other| {
            let mut facts = facts.clone();
            facts.insert("client.id".to_owned(), other.into());
            facts
        });
        if let Some(other) = others.take(CLIENTS).find(|facts| !selects(facts)) {
            missed.push(("another client".to_owned(), other));
        }
        let mut change = |about: &str, change: &dyn Fn(&mut Facts)| {
            let mut facts = facts.clone();
            change(&mut facts);
            missed.push((about.to_owned(), facts));
        };
        let asks = |path| {
            facts
                .get(path)
                .and_then(Json::as_array)
                .is_some_and(|set| !set.is_empty())
        };
        if asks("resource") {
            change("another resource", &|facts| {
                let elsewhere = format!("https://{ELSEWHERE}.example");
                facts.insert("resource".to_owned(), json!([elsewhere]));
            });
        }
        if asks("audience") {
            change("another audience", &|facts| {
                facts.insert("audience".to_owned(), json!([ELSEWHERE]));
            });
        }
        if facts.contains_key("actor.issuer") {
            change("nobody acts", &|facts| {
                facts.retain(|path, _| !path.starts_with("actor."));
            });
        }
        let mut atoms = Vec::new();
        for condition in conditions {
            condition.atoms(&mut |atom| atoms.push(atom));
        }
        for atom in atoms {
            for (about, missing) in miss(atom, facts) {
                let mut facts = missing;
                if atom.left.attribute.path() == "scope" {
                    self.cover_scope(&mut facts);
                }
                missed.push((about, facts));
            }
        }
        missed
    }
}

/// Whom `may_act` names, where it names the actor.
fn name_the_actor(facts: &mut Facts) {
    let actor = facts.get("actor.sub").cloned();
    if let (Some(named), Some(actor)) = (facts.get_mut("subject.may_act.sub"), actor) {
        *named = actor;
    }
}

/// In how many ways a condition can be met, as far as `or` goes.
fn ways(condition: &Condition) -> usize {
    let many = |parts: &[Condition]| parts.iter().map(ways).fold(1, usize::saturating_mul);
    match condition {
        Condition::Atom(_) => 1,
        Condition::All(parts) => many(parts).min(MOST),
        Condition::Any(parts) => many(parts).saturating_mul(parts.len()).min(MOST),
    }
}
