//! What differs between two realms, apart from their rules: whose tokens are read and how, which clients there
//! are, and what resources are called and offer.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::schema::{ClientSchema, IssuerSchema, Schema};

/// In words, and whether it may let more happen: what is not plainly narrower may.
pub(super) fn differences(old: &Schema, new: &Schema) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    clients(old, new, &mut found);
    issuers(old, new, &mut found);
    if format!("{:?}", old.resources) != format!("{:?}", new.resources) {
        let what = "`resources:` differs: what is issued for a resource may be called otherwise, and offer another scope";
        found.push((what.to_owned(), true));
    }
    found
}

fn clients(old: &Schema, new: &Schema, found: &mut Vec<(String, bool)>) {
    let by_id = |schema: &'_ Schema| -> BTreeMap<String, ClientSchema> {
        let clients = schema.clients.iter();
        clients
            .map(|client| (client.id.to_string(), client.clone()))
            .collect()
    };
    let (was, is) = (by_id(old), by_id(new));
    for (id, client) in &is {
        match was.get(id) {
            None => found.push((format!("client `{id}` is new"), true)),
            Some(before) if format!("{before:?}") != format!("{client:?}") => found.push((
                format!("client `{id}` has other names, attributes or methods"),
                true,
            )),
            Some(_) => {}
        }
    }
    for id in was.keys().filter(|id| !is.contains_key(*id)) {
        found.push((format!("client `{id}` is gone"), false));
    }
}

fn issuers(old: &Schema, new: &Schema, found: &mut Vec<(String, bool)>) {
    for issuer in &new.issuers {
        let alias = &issuer.alias;
        let Some(was) = old.issuer(alias.as_str()) else {
            found.push((format!("issuer `{alias}` is new"), true));
            continue;
        };
        let mut differs = |what: &str, widens: bool| {
            found.push((format!("issuer `{alias}`: {what}"), widens));
        };
        let types = |issuer: &IssuerSchema| -> BTreeSet<String> {
            issuer
                .token_types
                .iter()
                .map(|ty| ty.name().to_owned())
                .collect()
        };
        if types(was) != types(issuer) {
            differs(
                "it gives tokens of other types",
                !types(issuer).is_subset(&types(was)),
            );
        }
        if was.tenants != issuer.tenants || was.tenancy != issuer.tenancy {
            let narrower = issuer.tenancy.is_empty()
                && was.tenants.iter().all(|(claim, tenants)| {
                    issuer
                        .tenants
                        .get(claim)
                        .is_some_and(|now| now.is_subset(tenants))
                });
            differs("other tenants are taken", !narrower);
        }
        // One that is read besides opens nothing by itself: rules that test it are held against rules.
        let kept = was
            .claims
            .iter()
            .all(|(name, claim)| match issuer.claims.get(name) {
                Some(now) => now == claim,
                None => claim.optional,
            });
        if was.claims != issuer.claims {
            differs("its claims are declared otherwise", !kept);
        }
        if was.has_scope != issuer.has_scope || was.local != issuer.local {
            differs("its scope or its subjects are read otherwise", true);
        }
        if was.may_act_namespace != issuer.may_act_namespace {
            differs("its `may_act` means others", true);
        }
    }
    for was in &old.issuers {
        if new.issuer(was.alias.as_str()).is_none() {
            found.push((format!("issuer `{}` is gone", was.alias), false));
        }
    }
}
