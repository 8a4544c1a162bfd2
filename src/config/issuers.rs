//! `issuers:`: whose tokens are trusted, under which conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Sources;
use super::clients::{Found, claim_type, is_word, not_a_word, secret_from};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::jose::{Algorithm, JwksError, KeySet, SigningKeys};
use crate::net::{Endpoint, Limits, basic};
use crate::oauth::claims::ClaimDeclaration;
use crate::oauth::id::{Issuer, IssuerAlias};
use crate::oauth::token_type::TokenType;
use crate::oauth::uri::Uri;
use crate::policy::schema::IssuerSchema;
use crate::section::{Key, Node, Seconds, Section, Value};
use crate::services::Services;
use crate::token::{AcceptedType, AudienceRule, Introspection, IssuerSet, TrustedIssuer};

/// The largest introspection response.
const MAX_ANSWER: usize = 64 * 1024;

/// The token types that this build verifies, and the `typ` that goes with each by default. A token
/// without `typ` is written `absent`.
const TOKEN_TYPES: [(TokenType, &[&str]); 2] = [
    (TokenType::AccessToken, &["at+jwt"]),
    (TokenType::Jwt, &["jwt", "at+jwt", ""]),
];

struct Reader<'a> {
    sources: &'a mut Sources,
    services: &'a Services,
    problems: &'a mut Diagnostics,
}

/// Reads every issuer, and adds our own tokens as `self`.
pub(super) fn issuers(
    root: &mut Section,
    own: Option<&Issuer>,
    keys: Option<&SigningKeys>,
    sources: &mut Sources,
    services: &Services,
    problems: &mut Diagnostics,
) -> Option<(IssuerSet, Vec<IssuerSchema>)> {
    let entries = root
        .section("issuers", problems)
        .map(Section::into_entries)
        .unwrap_or_default();
    let only_one = entries
        .iter()
        .filter(|(key, _)| &*key.name != "self")
        .count()
        == 1;
    let mut reader = Reader {
        sources,
        services,
        problems,
    };
    let mut all: Vec<(TrustedIssuer, Option<bool>, Span)> = Vec::new();
    let mut own_section = None;
    for (key, node) in entries {
        if &*key.name == "self" {
            own_section = node.section_of(&key, reader.problems);
            continue;
        }
        all.extend(
            reader
                .issuer(&key, node)
                .map(|(issuer, local)| (issuer, local, key.span.clone())),
        );
    }
    check_together(&all, own, reader.problems);
    let mut schemas = Vec::new();
    let mut trusted = Vec::new();
    let own_issuer = own
        .zip(keys)
        .map(|(own, keys)| reader.own(own_section, own, keys));
    let foreign = all
        .into_iter()
        .map(|(issuer, local, _)| (issuer, local.unwrap_or(only_one)));
    for (issuer, local) in foreign.chain(own_issuer.map(|issuer| (issuer, true))) {
        schemas.push(IssuerSchema {
            alias: issuer.alias.clone(),
            local,
            token_types: issuer
                .accepts
                .iter()
                .map(|accepted| accepted.token_type.clone())
                .collect(),
            has_scope: issuer.scope_claim.is_some(),
            claims: issuer.claims.clone(),
            may_act_namespace: issuer.may_act_namespace.clone(),
            tenancy: Vec::new(),
        });
        trusted.push(Arc::new(issuer));
    }
    Some((IssuerSet::new(trusted, own?.clone()), schemas))
}

/// What only the whole list can say.
fn check_together(
    all: &[(TrustedIssuer, Option<bool>, Span)],
    own: Option<&Issuer>,
    problems: &mut Diagnostics,
) {
    let mut ids: BTreeMap<&str, &Span> = BTreeMap::new();
    for (issuer, _, span) in all {
        if let Some(first) = ids.insert(issuer.id.as_str(), span) {
            let problem =
                Diagnostic::error("E1006", format!("two issuers are `{}`", issuer.id)).at(span);
            problems.push(problem.related(first, "the first one"));
        }
        if own == Some(&issuer.id) {
            let problem = Diagnostic::error("E1006", "this is our own issuer identifier").at(span);
            problems.push(problem.help("our own tokens are trusted as `self`"));
        }
    }
    for (what, of) in [
        (
            "take opaque tokens (`introspection:`)",
            all.iter()
                .filter(|(i, ..)| i.introspection.is_some())
                .collect::<Vec<_>>(),
        ),
        (
            "be `subjects: local`",
            all.iter()
                .filter(|(_, local, _)| *local == Some(true))
                .collect(),
        ),
    ] {
        if let [(.., first), .., (.., last)] = of.as_slice() {
            let problem =
                Diagnostic::error("E1006", format!("only one issuer of a realm can {what}"))
                    .at(last);
            problems.push(problem.related(first, "the first one"));
        }
    }
}

impl Reader<'_> {
    fn report(&mut self, code: &'static str, message: impl Into<String>, span: &Span) {
        self.problems
            .push(Diagnostic::error(code, message).at(span));
    }

    fn issuer(&mut self, key: &Key, node: Node) -> Option<(TrustedIssuer, Option<bool>)> {
        let (before, _) = self.problems.counts();
        let alias = crate::section::name::<IssuerAlias>(key, self.problems);
        let mut section = node.section_of(key, self.problems)?;
        let span = section.span.clone();
        let id = section
            .require("issuer", self.problems)
            .and_then(|node| node.parse(self.problems));
        let algorithms = self.algorithms(&mut section);
        let keys = self.keys(&mut section, &algorithms);
        let introspection = section
            .section("introspection", self.problems)
            .and_then(|s| self.introspection(s));
        let accepts = self.token_types(&mut section);
        let audience = section
            .require("audience", self.problems)
            .and_then(|node| self.audience(node));
        let scope_claim = match section
            .require("scope", self.problems)
            .and_then(|node| node.text(self.problems))
        {
            None => None,
            Some(text) if &*text == "none" => None,
            Some(text) if &*text == "claim" => Some("scope".to_owned()),
            Some(text) if text.is_empty() => {
                self.report("E1006", "`scope` is empty text", &span);
                None
            }
            Some(text) => Some(text.to_string()),
        };
        let local =
            section
                .take("subjects")
                .and_then(|node| match node.text(self.problems).as_deref() {
                    Some("local") => Some(true),
                    Some("foreign") => Some(false),
                    Some(other) => {
                        self.report(
                            "E1006",
                            format!("`{other}` is neither `local` nor `foreign`"),
                            &node.span,
                        );
                        None
                    }
                    None => None,
                });
        let claims = self.claims(&mut section);
        let leeway = self.seconds(&mut section, "leeway", 30, 300);
        let without_exp = section.take("without_exp").and_then(|node| {
            let seconds = node.parse::<Seconds>(self.problems)?.0;
            if !(1..=86_400).contains(&seconds) {
                self.report("E1006", "`without_exp` must be from 1s to 1d", &node.span);
            }
            Some((seconds, node.span))
        });
        section.finish(self.problems);
        if keys.is_none() && introspection.is_none() && self.problems.counts().0 == before {
            let problem =
                Diagnostic::error("E1005", "this issuer's tokens cannot be verified").at(&span);
            self.problems
                .push(problem.help("give `jwks_file: PATH`, inline `jwks:`, or `introspection:`"));
        }
        if let (Some((_, at)), None) = (&without_exp, &introspection) {
            self.report(
                "E1006",
                "`without_exp` is for introspected tokens; a JWT always needs `exp`",
                at,
            );
        }
        let issuer = TrustedIssuer {
            alias: alias?,
            id: id?,
            accepts: accepts?,
            audience: audience?,
            scope_claim,
            claims,
            leeway,
            without_exp: without_exp.map(|(seconds, _)| seconds),
            may_act_namespace: BTreeSet::new(),
            keys,
            introspection,
        };
        Some((issuer, local))
    }

    /// Our own tokens: our keys, `at+jwt` only, addressed to the client that brings them.
    fn own(&mut self, section: Option<Section>, own: &Issuer, keys: &SigningKeys) -> TrustedIssuer {
        let mut audience = None;
        if let Some(mut section) = section {
            audience = section
                .take("audience")
                .and_then(|node| self.audience(node));
            section.finish(self.problems);
        }
        TrustedIssuer {
            alias: IssuerAlias::own(),
            id: own.clone(),
            accepts: TOKEN_TYPES
                .into_iter()
                .map(|(token_type, _)| AcceptedType {
                    token_type,
                    typ: ["at+jwt".to_owned()].into(),
                })
                .collect(),
            audience: audience.unwrap_or(AudienceRule::Client),
            scope_claim: Some("scope".to_owned()),
            claims: BTreeMap::new(),
            leeway: 0,
            without_exp: None,
            may_act_namespace: BTreeSet::new(),
            keys: Some(keys.verifier()),
            introspection: None,
        }
    }

    fn seconds(&mut self, section: &mut Section, key: &'static str, default: i64, max: i64) -> i64 {
        let Some(node) = section.take(key) else {
            return default;
        };
        match node.parse::<Seconds>(self.problems) {
            Some(Seconds(seconds)) if seconds <= max => seconds,
            Some(_) => {
                self.report(
                    "E1006",
                    format!("`{key}` must be at most {max}s"),
                    &node.span,
                );
                default
            }
            None => default,
        }
    }

    fn algorithms(&mut self, section: &mut Section) -> Vec<Algorithm> {
        let nodes = section
            .take("algorithms")
            .map(Node::list)
            .unwrap_or_default();
        nodes
            .iter()
            .filter_map(|node| node.parse(self.problems))
            .collect()
    }

    /// `jwks_file: PATH` or inline `jwks: { keys: [..] }`.
    fn keys(&mut self, section: &mut Section, algorithms: &[Algorithm]) -> Option<KeySet> {
        let file = section.take("jwks_file");
        let inline = section.take("jwks");
        let (loaded, span) = match (file, inline) {
            (None, None) => return None,
            (Some(node), None) => {
                let name = node.text(self.problems)?;
                let bytes = self.sources.bytes(&name, Some(&node.span), self.problems)?;
                (KeySet::from_jwks(&bytes, algorithms), node.span)
            }
            (None, Some(node)) => (KeySet::from_jwks_value(&json(&node), algorithms), node.span),
            (Some(_), Some(node)) => {
                self.report("E1005", "give one of `jwks_file` and `jwks`", &node.span);
                return None;
            }
        };
        match loaded {
            Ok((keys, skipped)) => {
                for key in skipped {
                    let message = format!(
                        "key {}{} is not used: {}",
                        key.index,
                        named(key.kid.as_deref()),
                        key.reason
                    );
                    self.problems
                        .push(Diagnostic::warning("E1014", message).at(&span));
                }
                Some(keys)
            }
            Err(error) => {
                let mut problem =
                    Diagnostic::error("E1011", format!("this is no usable JWKS: {error}"))
                        .at(&span);
                if let JwksError::NoUsableKey(skipped) = &error {
                    for key in skipped {
                        problem = problem.help(format!(
                            "key {}{}: {}",
                            key.index,
                            named(key.kid.as_deref()),
                            key.reason
                        ));
                    }
                }
                self.problems.push(problem);
                None
            }
        }
    }

    fn introspection(&mut self, mut section: Section) -> Option<Introspection> {
        let span = section.span.clone();
        let endpoint = section.require("endpoint", self.problems);
        let allow_http = section.flag("insecure_http", self.problems);
        let client_id = section
            .take("client_id")
            .and_then(|node| node.text(self.problems));
        let secret = secret_from(&mut section, self.sources, self.problems);
        let unauthenticated = section.flag("unauthenticated", self.problems);
        let timeout = self.seconds(&mut section, "timeout", 3, 60).max(1);
        section.finish(self.problems);
        let endpoint = endpoint.and_then(|node| {
            let uri: Uri = node.parse(self.problems)?;
            let parsed = if allow_http {
                Endpoint::allow_http(&uri)
            } else {
                Endpoint::try_from(&uri)
            };
            let refused = |error| self.report("E1006", format!("`{uri}` {error}"), &node.span);
            parsed.map_err(refused).ok()
        });
        let authorization = match (client_id, secret) {
            (None, Found::None) if unauthenticated => None,
            (None, Found::None) => {
                let message =
                    "say how this server authenticates to the endpoint (RFC 7662 section 2.1)";
                let problem = Diagnostic::error("E1005", message).at(&span);
                let problem = problem.help("give `client_id` and `secret_file` or `secret_env`");
                self.problems.push(
                    problem.help("for an endpoint that asks for none, say `unauthenticated: true`"),
                );
                None
            }
            (Some(_), Found::Secret(_)) if unauthenticated => {
                self.report("E1005", "`unauthenticated` contradicts `client_id`", &span);
                None
            }
            (Some(id), Found::Secret(secret)) => Some(basic(&id, &secret)),
            (_, Found::Broken) => None,
            _ => {
                self.report("E1005", "`client_id` and a secret go together", &span);
                None
            }
        };
        let timeout = Duration::from_secs(u64::try_from(timeout).unwrap_or(3));
        Some(Introspection {
            net: self.services.net.clone(),
            endpoint: endpoint?,
            authorization,
            limits: Limits {
                timeout,
                max_body: MAX_ANSWER,
            },
        })
    }

    /// `token_types: [access_token, jwt]`, or a mapping that says which `typ` each may have.
    fn token_types(&mut self, section: &mut Section) -> Option<Vec<AcceptedType>> {
        let all = || {
            TOKEN_TYPES
                .into_iter()
                .map(|(token_type, typ)| (token_type, set(typ)))
        };
        let Some(node) = section.take("token_types") else {
            return Some(
                all()
                    .map(|(token_type, typ)| AcceptedType { token_type, typ })
                    .collect(),
            );
        };
        let span = node.span.clone();
        let (before, _) = self.problems.counts();
        let named: Vec<(Arc<str>, Span, Option<Node>)> = match node.value {
            Value::Map(entries) => entries
                .into_iter()
                .map(|(key, node)| (key.name, key.span, Some(node)))
                .collect(),
            _ => node
                .list()
                .into_iter()
                .filter_map(|node| Some((node.text(self.problems)?, node.span, None)))
                .collect(),
        };
        let mut accepts = Vec::new();
        for (name, at, details) in named {
            let Some((token_type, default)) =
                all().find(|(token_type, _)| token_type.name() == &*name)
            else {
                let problem =
                    Diagnostic::error("E1008", format!("this build verifies no `{name}`")).at(&at);
                self.problems
                    .push(problem.correct(&name, TOKEN_TYPES.iter().map(|(t, _)| t.name())));
                continue;
            };
            let typ = details.and_then(|node| self.typ(node)).unwrap_or(default);
            accepts.push(AcceptedType { token_type, typ });
        }
        if accepts.is_empty() && self.problems.counts().0 == before {
            self.report(
                "E1005",
                "an issuer must give tokens of one type at least",
                &span,
            );
        }
        Some(accepts)
    }

    fn typ(&mut self, node: Node) -> Option<BTreeSet<String>> {
        let span = node.span.clone();
        let mut section = node.section(self.problems)?;
        let nodes = section.take("typ").map(Node::list);
        section.finish(self.problems);
        let texts = nodes?
            .iter()
            .filter_map(|node| node.text(self.problems))
            .collect::<Vec<_>>();
        let normal = |text: &Arc<str>| match text.to_lowercase().as_str() {
            "absent" => String::new(),
            other => other
                .strip_prefix("application/")
                .unwrap_or(other)
                .to_owned(),
        };
        if texts.is_empty() {
            self.report(
                "E1005",
                "`typ` lists nothing: no token could have it",
                &span,
            );
        }
        Some(texts.iter().map(normal).collect())
    }

    fn audience(&mut self, node: Node) -> Option<AudienceRule> {
        let span = node.span.clone();
        let nodes = node.list();
        let names: Vec<Arc<str>> = nodes
            .iter()
            .filter_map(|node| node.text(self.problems))
            .collect();
        match names
            .iter()
            .map(|name| &**name)
            .collect::<Vec<_>>()
            .as_slice()
        {
            [] => {
                self.report(
                    "E1005",
                    "`audience` is empty: no token could be addressed to nobody",
                    &span,
                );
                None
            }
            [""] => {
                self.report("E1006", "`audience` is empty text", &span);
                None
            }
            [word]
                if ["any", "client", "self"]
                    .iter()
                    .any(|known| word != known && word.eq_ignore_ascii_case(known)) =>
            {
                let problem =
                    Diagnostic::error("E1006", format!("`{word}` is read as a name")).at(&span);
                let problem = problem.suggest(word, ["any", "client", "self"]);
                // Whose tokens are taken is nothing that a machine should widen.
                self.problems.push(problem);
                None
            }
            ["any"] => Some(AudienceRule::Any),
            ["client"] => Some(AudienceRule::Client),
            ["self"] => Some(AudienceRule::Own),
            many if many
                .iter()
                .any(|name| matches!(*name, "any" | "client" | "self")) =>
            {
                self.report("E1006", "`any`, `client` and `self` stand alone", &span);
                None
            }
            _ => Some(AudienceRule::OneOf(names.into_iter().collect())),
        }
    }

    /// `claims: { groups?: set<string>, namespace: { type: string, at: /a/b } }`.
    fn claims(&mut self, section: &mut Section) -> BTreeMap<Arc<str>, ClaimDeclaration> {
        let mut claims = BTreeMap::new();
        let Some(section) = section.section("claims", self.problems) else {
            return claims;
        };
        for (key, node) in section.into_entries() {
            let (name, optional) = match key.name.strip_suffix('?') {
                Some(name) => (name, true),
                None => (&*key.name, false),
            };
            if !is_word(name) {
                self.problems.push(
                    not_a_word(name, &key.span).help("name it otherwise and say `at: /its/place`"),
                );
                continue;
            }
            let mut pointer = format!("/{name}");
            let mut separators = ":/".to_owned();
            let ty = if let Value::Map(_) = node.value {
                let Some(mut details) = node.section_of(&key, self.problems) else {
                    continue;
                };
                let ty = details
                    .require("type", self.problems)
                    .and_then(|node| claim_type(&node, self.problems));
                if let Some(at) = details.take("at")
                    && let Some(text) = at.text(self.problems)
                {
                    let escapes_right = text
                        .split('~')
                        .skip(1)
                        .all(|rest| rest.starts_with(['0', '1']));
                    if !text.starts_with('/') || !escapes_right {
                        self.report(
                            "E1006",
                            format!("`{text}` is not a JSON pointer such as `/a/b`"),
                            &at.span,
                        );
                    }
                    pointer = text.to_string();
                }
                if let Some(text) = details
                    .take("separators")
                    .and_then(|node| node.text(self.problems))
                {
                    separators = text.to_string();
                }
                details.finish(self.problems);
                ty
            } else {
                claim_type(&node, self.problems)
            };
            if let Some(ty) = ty
                && claims
                    .insert(
                        Arc::from(name),
                        ClaimDeclaration {
                            ty,
                            optional,
                            pointer,
                            separators,
                        },
                    )
                    .is_some()
            {
                self.report(
                    "E1003",
                    format!("claim `{name}` is declared twice"),
                    &key.span,
                );
            }
        }
        claims
    }
}

fn set(typ: &[&str]) -> BTreeSet<String> {
    typ.iter().map(|text| (*text).to_owned()).collect()
}

fn named(kid: Option<&str>) -> String {
    kid.map(|kid| format!(" (`{kid}`)")).unwrap_or_default()
}

/// A JWKS written as YAML: everything in it is text, lists and mappings.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Scalar(text) => (**text).into(),
        Value::Null => serde_json::Value::Null,
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.name.to_string(), json(node)))
            .collect(),
    }
}
