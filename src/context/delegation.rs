//! Who acts for whom: the chain of actors and the leave to act (RFC 8693 §4.1, §4.4).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{ClientFacts, Party};
use crate::oauth::claims::Identity;
use crate::oauth::id::{Issuer, IssuerAlias};

/// The longest chain of actors that is taken or made.
pub const MAX_DEPTH: usize = 8;

/// One actor of a delegation chain. It has a `sub` or a `client_id`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The alias of its issuer, or `unknown`.
    pub issuer: Arc<str>,
    /// The identifier of its issuer: its own `iss`, else that of the token that it stands in.
    pub iss: Arc<str>,
    /// Its `sub`.
    pub sub: Option<Arc<str>>,
    /// Its `client_id`.
    pub client_id: Option<Arc<str>>,
}

impl Hop {
    /// The issuer of a hop that the realm does not trust.
    pub const UNKNOWN: &'static str = "unknown";

    /// As policies, tests and the audit write it: the issuer by its alias, and by its identifier where it
    /// has none.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let unknown = *self.issuer == *Self::UNKNOWN && self.iss != self.issuer;
        members([
            ("issuer", Some(&self.issuer)),
            ("iss", Some(&self.iss).filter(|_| unknown)),
            ("sub", self.sub.as_ref()),
            ("client_id", self.client_id.as_ref()),
        ])
    }

    /// The same for a whole chain, each actor within the one that acted after it; `{}` for none.
    #[must_use]
    pub fn nested_json(chain: &[Self]) -> Value {
        nested(chain, Self::to_json).unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// The claim `act` for a chain, the outermost actor first; `None` for none. `iss` is always
    /// written: a `sub` means nothing under another issuer.
    #[must_use]
    pub fn act_claim(chain: &[Self]) -> Option<Value> {
        nested(chain, |hop| {
            members([
                ("iss", Some(&hop.iss)),
                ("sub", hop.sub.as_ref()),
                ("client_id", hop.client_id.as_ref()),
            ])
        })
    }
}

/// Each object within the one before it, as `act`.
fn nested(chain: &[Hop], object: impl Fn(&Hop) -> Value) -> Option<Value> {
    chain.iter().rev().fold(None, |within, hop| {
        let mut object = object(hop);
        if let (Some(within), Some(members)) = (within, object.as_object_mut()) {
            members.insert("act".to_owned(), within);
        }
        Some(object)
    })
}

fn members<'a>(members: impl IntoIterator<Item = (&'a str, Option<&'a Arc<str>>)>) -> Value {
    let said = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), Value::from(&**value?))));
    Value::Object(said.collect())
}

/// Whom a token allows to act for its subject (`may_act`). Every member that is there must be the acting
/// party's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MayAct {
    /// The alias of its `iss`, or `unknown`; `None` where it says none.
    pub issuer: Option<Arc<str>>,
    /// The members as the token has them.
    pub identity: Identity,
    /// The issuer of the token that it stands in.
    pub within: (IssuerAlias, Issuer),
    /// Whose names it may mean besides that issuer's, where it says no `iss` (`may_act_namespace`).
    pub namespace: BTreeSet<IssuerAlias>,
}

/// Who acts: the party of the actor token, else the authenticated client.
#[derive(Clone, Copy, Debug)]
pub enum ActingParty<'a> {
    /// The party of the actor token.
    Actor(&'a Party),
    /// The authenticated client.
    Client(&'a ClientFacts),
}

impl MayAct {
    /// Whether it names the acting party: all that it says is true of it, and it says something.
    #[must_use]
    pub fn names(&self, party: ActingParty<'_>) -> bool {
        let own = IssuerAlias::own();
        let issuer = match party {
            ActingParty::Actor(party) => &party.issuer,
            ActingParty::Client(_) => &own,
        };
        let of_issuer = match &self.issuer {
            Some(said) => **said == *issuer.as_str(),
            None => self.within.0 == *issuer || self.namespace.contains(issuer),
        };
        let said = |wanted: &Option<Arc<str>>, is: &dyn Fn(&str) -> bool| {
            wanted.as_ref().is_none_or(|wanted| is(wanted))
        };
        let Identity {
            iss: _,
            sub,
            client_id,
        } = &self.identity;
        match party {
            ActingParty::Actor(party) => {
                // A client alone is named by its own token, not by that of everybody who uses it.
                let named = sub.as_ref().or(client_id.as_ref());
                of_issuer
                    && said(&named.cloned(), &|sub| sub == party.subject.as_str())
                    && said(client_id, &|id| party.client_id.as_deref() == Some(id))
            }
            ActingParty::Client(client) => {
                let mine = |name: &str| client.names.contains(name);
                // `client_id` alone is about clients of this server, whoever says it.
                let about_clients = self.issuer.is_none() && sub.is_none();
                (of_issuer || about_clients) && said(sub, &mine) && said(client_id, &mine)
            }
        }
    }

    /// As policies, tests and the audit write it: the issuer by its alias.
    #[must_use]
    pub fn to_json(&self) -> Value {
        members([
            ("issuer", self.issuer.as_ref()),
            ("sub", self.identity.sub.as_ref()),
            ("client_id", self.identity.client_id.as_ref()),
        ])
    }

    /// The claim for a token of our own that carries it on. Where it said no `iss`, a `sub` gets that of
    /// the token that it stood in: under ours it would mean somebody else.
    #[must_use]
    pub fn claim(&self) -> Value {
        let within: Arc<str> = Arc::from(self.within.1.as_str());
        let Identity {
            iss,
            sub,
            client_id,
        } = &self.identity;
        let iss = iss.as_ref().or(sub.as_ref().map(|_| &within));
        members([
            ("iss", iss),
            ("sub", sub.as_ref()),
            ("client_id", client_id.as_ref()),
        ])
    }
}
