//! Proofs that were wrong once: what was taken for one request where it was several, or for none.

use std::collections::BTreeSet;
use std::sync::Arc;

use cambist::oauth::claims::{ClaimDeclaration, ClaimType, ClaimValue};
use cambist::oauth::id::ProcessorId;
use cambist::policy::prove::prove;
use cambist::policy::schema::{ClientSchema, Schema};
use cambist::policy::{check, parse};

use super::realm;

/// What is concluded of two rules of different outcomes, `a` and `b`, with the same clauses.
fn concluded(schema: &Schema, clauses: &str) -> Vec<&'static str> {
    let rule = |name: &str, lifetime: &str| {
        format!(
            "rule {name} {{\n  from corp\n  {clauses}\n  use mint {{ lifetime: {lifetime} }}\n}}\n"
        )
    };
    let text = format!("policy 1 module m\n{}{}", rule("a", "5s"), rule("b", "6s"));
    let file = parse(&Arc::from("m.policy"), &text).unwrap();
    let (set, _) = check(&[file], schema).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    let name = |id: &ProcessorId| id.to_string();
    let proved = prove(&set, schema, &name, &BTreeSet::new(), None);
    proved
        .conclusions
        .into_iter()
        .map(|(code, _)| code)
        .collect()
}

/// So many clients that those of a kind are taken for one.
fn many(attributes: impl Fn(&str) -> Option<String>) -> Schema {
    let ids = ["a b", "k1", "k2", "k3", "k4", "k5", "k6"];
    let client = |id: &&str| {
        let owner = attributes(id).map(|owner| {
            let name: Arc<str> = Arc::from("tier");
            (name, ClaimValue::String(Arc::from(owner)))
        });
        ClientSchema {
            id: id.parse().unwrap(),
            names: [Arc::from(*id)].into(),
            attributes: owner.into_iter().collect(),
            auth: Vec::new(),
        }
    };
    Schema {
        clients: ids.iter().map(client).collect(),
        ..realm::schema()
    }
}

const OVERLAP: [&str; 1] = ["E0501"];

#[test]
fn a_client_whose_attribute_is_its_own_id_is_not_as_the_others() {
    let schema = many(|_| Some("k3".to_owned()));
    let when = "by any client to audience \"x\" when client.attr.tier == client.id";
    assert_eq!(concluded(&schema, when), OVERLAP);
}

#[test]
fn a_client_that_is_called_as_an_actor_of_nobody_is_not_as_the_others() {
    let mut schema = many(|_| None);
    let unknown = ClientSchema {
        id: "unknown".parse().unwrap(),
        names: [Arc::from("unknown")].into(),
        ..schema.clients[0].clone()
    };
    schema.clients.push(unknown);
    let when = "by any client to audience \"x\" actor client when subject.act.issuer == client.id";
    assert_eq!(concluded(&schema, when), OVERLAP);
}

#[test]
fn a_client_that_can_be_a_scope_token_is_not_as_one_that_cannot() {
    let schema = many(|_| None);
    for when in ["client.id in scope", "scope has client.id"] {
        let when = format!("by any client to audience \"x\" when {when}");
        assert_eq!(concluded(&schema, &when), OVERLAP, "{when}");
    }
}

#[test]
fn a_client_that_is_called_as_a_tenant_is_not_as_the_others() {
    let mut schema = many(|_| None);
    let org: Arc<str> = Arc::from("org");
    let corp = schema
        .issuers
        .iter_mut()
        .find(|i| i.alias.as_str() == "corp");
    let corp = corp.unwrap();
    let declared = ClaimDeclaration {
        ty: ClaimType::String,
        optional: false,
        pointer: "/org".to_owned(),
        separators: String::new(),
    };
    corp.claims.insert(Arc::clone(&org), declared);
    corp.tenants.insert(org, [Arc::from("k5")].into());
    let when = "by any client to audience \"x\" when subject.claims.org == client.id";
    assert_eq!(concluded(&schema, when), OVERLAP);
}

#[test]
fn hours_come_twice_or_begin_late_where_clocks_change() {
    for (from, to, hours) in [
        (
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:10:00Z",
            "02:00..02:30",
        ),
        (
            "2026-03-29T00:50:00Z",
            "2026-03-29T01:20:00Z",
            "02:30..03:30",
        ),
    ] {
        let when = format!(
            "by client \"rs08\" to audience \"x\"\n  when now >= {from} and now < {to} and time in \"Europe/Zurich\" sun {hours}"
        );
        assert_eq!(concluded(&realm::schema(), &when), OVERLAP, "{when}");
    }
}

/// One resource, however many rules and patterns name it, is one member of a set.
#[test]
fn a_set_of_one_has_no_two_members() {
    let when = "by client \"rs08\" to resource under \"https://r.example.com\"\n  when resource == [\"https://r.example.com\"] and count(resource) == 2";
    assert_eq!(concluded(&realm::schema(), when), ["E0502", "E0502"]);
}
