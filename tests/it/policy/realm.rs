//! The realm that the policies of these tests are checked against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cambist::oauth::claims::{ClaimDeclaration, ClaimType, ClaimValue};
use cambist::oauth::scope::Scopes;
use cambist::oauth::target::{RegisteredResource, ResourceRegistry};
use cambist::oauth::token_type::TokenType;
use cambist::policy::schema::{
    ClientSchema, IssuerSchema, ParameterKind, ParameterSchema, ProcessorSchema, Schema,
};

/// When everything happens, unless a request says otherwise.
pub const NOW: i64 = 1_800_000_000;

const SUB: ParameterSchema = ParameterSchema {
    name: "sub",
    kind: ParameterKind::Text,
    doc: "the subject",
};
const NOTE: ParameterSchema = ParameterSchema {
    name: "note",
    kind: ParameterKind::Text,
    doc: "any text",
};

const CLAIMS: ParameterSchema = ParameterSchema {
    name: "claims",
    kind: ParameterKind::Map {
        reserved: &["sub", "scope"],
        own: &[("acr", "subject.acr")],
    },
    doc: "further claims",
};

pub fn schema() -> Schema {
    use TokenType::{AccessToken, IdToken, Jwt, Saml2};
    Schema {
        issuers: vec![
            IssuerSchema {
                // Its `may_act` may mean parties of `agents` too.
                may_act_namespace: ["agents".parse().unwrap()].into(),
                ..issuer(
                    "corp",
                    true,
                    true,
                    &[AccessToken, IdToken],
                    &[
                        ("groups", ClaimType::StringSet, true),
                        ("employee_id", ClaimType::String, true),
                        ("level", ClaimType::Int, false),
                        ("home", ClaimType::Uri, true),
                        ("manager", ClaimType::Bool, true),
                        ("role", ClaimType::String, true),
                    ],
                )
            },
            issuer(
                "partner",
                false,
                true,
                &[AccessToken],
                &[
                    ("tenant", ClaimType::String, false),
                    ("role", ClaimType::String, true),
                ],
            ),
            issuer(
                "ci",
                false,
                false,
                &[Jwt],
                &[
                    ("ref", ClaimType::String, false),
                    ("repository_id", ClaimType::String, false),
                    ("tenant", ClaimType::Int, false),
                ],
            ),
            IssuerSchema {
                tenancy: vec![Arc::from("owner_id")],
                ..issuer(
                    "cloud",
                    false,
                    false,
                    &[Jwt],
                    &[
                        ("owner_id", ClaimType::String, false),
                        ("project", ClaimType::String, true),
                    ],
                )
            },
            issuer(
                "agents",
                false,
                true,
                &[AccessToken],
                &[
                    ("kind", ClaimType::String, false),
                    ("model", ClaimType::String, true),
                ],
            ),
            issuer("self", true, true, &[AccessToken], &[]),
        ],
        clients: vec![
            client("rs08", &["https://frontend.example.com"], Some("gold")),
            client("orders-api", &[], None),
            client("agent-1", &[], Some("silver")),
            client("agent-2", &[], None),
            client("ci-exchange", &[], None),
            client("partner-gateway", &[], None),
        ],
        client_attributes: [
            (Arc::from("tier"), ClaimType::String),
            (Arc::from("roles"), ClaimType::StringSet),
        ]
        .into(),
        auth_methods: vec!["client_secret_basic", "private_key_jwt"],
        // One more than any build has, so that `via` can tell them apart.
        grant_types: vec!["token_exchange", "other_grant"],
        processors: [
            (
                Arc::from("mint"),
                processor(
                    &[AccessToken, IdToken, Jwt],
                    &[AccessToken, Jwt],
                    true,
                    &[SUB, NOTE, CLAIMS],
                ),
            ),
            (
                Arc::from("saml-bridge"),
                processor(&[AccessToken, IdToken], &[Saml2], false, &[SUB]),
            ),
            (
                Arc::from("bare"),
                processor(&[AccessToken, IdToken, Jwt], &[AccessToken], false, &[SUB]),
            ),
            (
                Arc::from("from-id-token"),
                processor(&[IdToken], &[AccessToken], true, &[SUB]),
            ),
        ]
        .into(),
        resources: ResourceRegistry(vec![
            entry("https://api.example.com/v1", "api", None),
            entry(
                "https://api.example.com/v1/orders",
                "orders",
                Some(&["orders:read", "orders:write"]),
            ),
            entry(
                "https://payments.example.com",
                "payments",
                Some(&["payments:read"]),
            ),
        ]),
    }
}

fn issuer(
    alias: &str,
    local: bool,
    has_scope: bool,
    token_types: &[TokenType],
    claims: &[(&str, ClaimType, bool)],
) -> IssuerSchema {
    let declaration = |(name, ty, optional): &(&str, ClaimType, bool)| {
        let claim = ClaimDeclaration {
            ty: *ty,
            optional: *optional,
            pointer: format!("/{name}"),
            // One claim that two issuers take apart in different ways.
            separators: if (alias, *name) == ("corp", "role") {
                ""
            } else {
                "/"
            }
            .to_owned(),
        };
        (Arc::from(*name), claim)
    };
    IssuerSchema {
        alias: alias.parse().unwrap(),
        local,
        token_types: token_types.to_vec(),
        has_scope,
        claims: claims.iter().map(declaration).collect(),
        may_act_namespace: BTreeSet::new(),
        tenancy: Vec::new(),
        tenants: BTreeMap::new(),
    }
}

fn client(id: &str, identifiers: &[&str], tier: Option<&str>) -> ClientSchema {
    let names: BTreeSet<Arc<str>> = identifiers
        .iter()
        .chain([&id])
        .map(|n| Arc::from(*n))
        .collect();
    let tier = tier.map(|tier| (Arc::from("tier"), ClaimValue::String(Arc::from(tier))));
    ClientSchema {
        id: id.parse().unwrap(),
        names,
        attributes: tier.into_iter().collect::<BTreeMap<_, _>>(),
        auth: Vec::new(),
    }
}

fn processor(
    accepts: &[TokenType],
    issues: &[TokenType],
    carries_scope: bool,
    parameters: &'static [ParameterSchema],
) -> ProcessorSchema {
    ProcessorSchema {
        accepts: accepts.to_vec(),
        issues: issues.to_vec(),
        carries_scope,
        carries_act: carries_scope,
        parameters,
        lifetime: 60,
        max_lifetime: 3600,
    }
}

fn entry(under: &str, audience: &str, scopes: Option<&[&str]>) -> RegisteredResource {
    RegisteredResource {
        under: under.parse().unwrap(),
        audience: audience.parse().unwrap(),
        scopes: scopes.map(|tokens| Scopes::from_tokens(tokens.iter().copied()).unwrap()),
    }
}
