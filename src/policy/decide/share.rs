//! Where rules lie in memory. What many have in common is kept once, and what one rule has by itself lies
//! together: a decision among a hundred thousand rules takes as long as it waits for memory.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use crate::oauth::id::IssuerAlias;
use crate::policy::rule::{
    ActorForm, Atom, AudienceMatch, Clients, Condition, Constant, Constants, DenyRule, Headers,
    TargetsMatch, Test, UseRule,
};
use crate::policy::schema::AttributeRef;

/// Settles rules. They are as before, in other places.
pub(super) fn settle<P>(rules: &mut [UseRule<P>], denies: &mut [DenyRule]) {
    let mut shared = Shared::default();
    // What is given back at once would be taken for the next rule, here and there.
    let mut left = Vec::new();
    for rule in rules {
        let mut headers = rule.headers.clone();
        shared.headers(&mut headers);
        let mut scope_when = rule.scope_when.clone();
        shared.condition(&mut scope_when);
        let mut when = rule.when.clone();
        shared.condition(&mut when);
        left.push((
            std::mem::replace(&mut rule.headers, headers),
            std::mem::replace(&mut rule.scope_when, scope_when),
            std::mem::replace(&mut rule.when, when),
        ));
    }
    for deny in denies {
        shared.headers(&mut deny.headers);
        shared.condition(&mut deny.when);
    }
}

/// What was met already.
#[derive(Debug, Default)]
struct Shared {
    texts: HashSet<Arc<str>>,
    aliases: HashSet<IssuerAlias>,
    lists: HashSet<Constants>,
}

/// Replaces `value` by the equal one that was met first, or by a new one.
fn share<T: Clone + Eq + Hash>(value: &mut T, met: &mut HashSet<T>, new: impl FnOnce(&T) -> T) {
    match met.get(value) {
        Some(first) => *value = first.clone(),
        None => {
            *value = new(value);
            met.insert(value.clone());
        }
    }
}

/// The same text, just put down.
fn anew(text: &Arc<str>) -> Arc<str> {
    Arc::from(&**text)
}

fn constant_anew(constant: &Constant) -> Constant {
    match constant {
        Constant::Text(text) => Constant::Text(anew(text)),
        other => other.clone(),
    }
}

impl Shared {
    fn headers(&mut self, headers: &mut Headers) {
        if let Some(by) = &mut headers.by
            && let Clients::Ids(ids) = &mut by.value
        {
            let anew = ids
                .iter()
                .map(|id| id.as_str().parse().unwrap_or_else(|_| id.clone()));
            *ids = anew.collect();
        }
        for issuer in headers.from.iter_mut().flat_map(|from| &mut from.value) {
            share(&mut issuer.alias, &mut self.aliases, Clone::clone);
        }
        for form in headers.to.iter_mut().flat_map(|to| &mut to.value) {
            if let TargetsMatch::Parts {
                audience: Some(AudienceMatch::Equal(names)),
                ..
            } = form
            {
                *names = names.iter().map(anew).collect::<BTreeSet<Arc<str>>>();
            }
        }
        if let Some(via) = &mut headers.via {
            share(&mut via.value, &mut self.texts, anew);
        }
        if let Some(actor) = &mut headers.actor
            && let ActorForm::Named(from) | ActorForm::Required(from) | ActorForm::Optional(from) =
                &mut actor.value.form
        {
            let shared = std::mem::take(from).into_iter().map(|mut alias| {
                share(&mut alias, &mut self.aliases, Clone::clone);
                alias
            });
            *from = shared.collect();
        }
    }

    fn condition(&mut self, condition: &mut Condition) {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter_mut().for_each(|part| self.condition(part));
            }
            Condition::Atom(atom) => self.atom(atom),
        }
    }

    fn atom(&mut self, atom: &mut Atom) {
        if let AttributeRef::Claim(name)
        | AttributeRef::ActorClaim(name)
        | AttributeRef::ClientAttribute(name) = &mut atom.left.attribute
        {
            share(name, &mut self.texts, anew);
        }
        if let Test::In(list)
        | Test::HasAny(list)
        | Test::HasAll(list)
        | Test::Only(list)
        | Test::SetEquals(list) = &mut atom.test
        {
            share(list, &mut self.lists, |list| {
                Constants::new(list.iter().map(constant_anew).collect())
            });
        }
        if let Test::Equals(constant) | Test::Has(constant) = &mut atom.test {
            *constant = constant_anew(constant);
        }
    }
}
