//! What rules have in common is kept once. Ten thousand rules speak of a few issuers, claims and lists of
//! scope; a decision that reads them finds them near, and they take little room.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::oauth::id::IssuerAlias;
use crate::policy::rule::{ActorForm, Atom, Condition, Constants, Headers, Test};
use crate::policy::schema::AttributeRef;

/// What was met already.
#[derive(Debug, Default)]
pub(super) struct Shared {
    texts: HashSet<Arc<str>>,
    aliases: HashSet<IssuerAlias>,
    lists: HashSet<Constants>,
}

/// Replaces `value` by the equal one that was met first.
fn share<T: Clone + Eq + Hash>(value: &mut T, met: &mut HashSet<T>) {
    match met.get(value) {
        Some(first) => *value = first.clone(),
        None => {
            met.insert(value.clone());
        }
    }
}

impl Shared {
    pub(super) fn headers(&mut self, headers: &mut Headers) {
        for issuer in headers.from.iter_mut().flat_map(|from| &mut from.value) {
            share(&mut issuer.alias, &mut self.aliases);
        }
        if let Some(via) = &mut headers.via {
            share(&mut via.value, &mut self.texts);
        }
        if let Some(actor) = &mut headers.actor
            && let ActorForm::Named(from) | ActorForm::Required(from) | ActorForm::Optional(from) =
                &mut actor.value.form
        {
            let shared = std::mem::take(from).into_iter().map(|mut alias| {
                share(&mut alias, &mut self.aliases);
                alias
            });
            *from = shared.collect();
        }
    }

    pub(super) fn condition(&mut self, condition: &mut Condition) {
        match condition {
            Condition::All(parts) | Condition::Any(parts) => {
                parts.shrink_to_fit();
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
            share(name, &mut self.texts);
        }
        if let Test::In(list)
        | Test::HasAny(list)
        | Test::HasAll(list)
        | Test::Only(list)
        | Test::SetEquals(list) = &mut atom.test
        {
            share(list, &mut self.lists);
        }
    }
}
