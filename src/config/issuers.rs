//! `issuers:`: whose tokens are trusted, under which conditions.

mod claims;
mod introspection;
pub(super) mod presets;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::reader::Reader;
use crate::context::Hop;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::jose::SigningKeys;
use crate::keys::KeySource;
use crate::oauth::id::{Issuer, IssuerAlias};
use crate::policy::schema::IssuerSchema;
use crate::section::{Key, Node, Seconds, Section};
use crate::token::{AcceptedType, AudienceRule, IssuerSet, TrustedIssuer};

/// An issuer, and what the list as a whole must know of it.
struct Read {
    issuer: TrustedIssuer,
    /// `subjects: local` or `foreign`, where it is said.
    local: Option<bool>,
    /// The claims of `tenancy:` that the realm does not pin.
    tenancy: Vec<Arc<str>>,
    /// Where `act_namespace` and `may_act_namespace` name each alias.
    namespace: Vec<(IssuerAlias, Span)>,
    span: Span,
}

/// Reads every issuer, and adds our own tokens as `self`.
pub(super) fn issuers(
    root: &mut Section,
    own: Option<(&Issuer, &SigningKeys)>,
    reader: &mut Reader<'_>,
) -> Option<(IssuerSet, Vec<IssuerSchema>)> {
    let entries = root
        .section("issuers", reader.problems)
        .map(Section::into_entries)
        .unwrap_or_default();
    let only_one = entries
        .iter()
        .filter(|(key, _)| &*key.name != "self")
        .count()
        == 1;
    let mut aliases: BTreeSet<String> = ["self".to_owned()].into();
    let mut all: Vec<Read> = Vec::new();
    let mut own_section = None;
    for (key, node) in entries {
        aliases.insert(key.name.to_string());
        if &*key.name == "self" {
            own_section = node.section_of(&key, reader.problems);
            continue;
        }
        all.extend(reader.issuer(&key, node));
    }
    check_together(&all, &aliases, own.map(|(id, _)| id), reader.problems);
    let mut schemas = Vec::new();
    let mut trusted = Vec::new();
    let own_issuer = own.map(|(id, keys)| reader.own(own_section, id, keys));
    let foreign = all.into_iter().map(|read| {
        let local = read.local.unwrap_or(only_one);
        (read.issuer, local, read.tenancy)
    });
    let own_issuer = own_issuer.map(|issuer| (issuer, true, Vec::new()));
    for (issuer, local, tenancy) in foreign.chain(own_issuer) {
        schemas.push(IssuerSchema {
            alias: issuer.alias.clone(),
            local,
            token_types: issuer
                .accepts
                .iter()
                .map(|accepted| accepted.token_type.clone())
                .collect(),
            has_scope: issuer.has_scope(),
            claims: issuer.claims.clone(),
            may_act_namespace: issuer.may_act_namespace.clone(),
            tenancy,
            tenants: issuer.tenants.clone(),
        });
        trusted.push(Arc::new(issuer));
    }
    let (own, _) = own?;
    Some((IssuerSet::new(trusted, own.clone()), schemas))
}

/// What only the whole list can say.
fn check_together(
    all: &[Read],
    aliases: &BTreeSet<String>,
    own: Option<&Issuer>,
    problems: &mut Diagnostics,
) {
    let mut ids: BTreeMap<&str, &Span> = BTreeMap::new();
    let mut takes_opaque: BTreeMap<&str, &Span> = BTreeMap::new();
    for Read {
        issuer,
        namespace,
        span,
        ..
    } in all
    {
        if let Some(first) = ids.insert(issuer.id.as_str(), span) {
            let problem =
                Diagnostic::error("E1006", format!("two issuers are `{}`", issuer.id)).at(span);
            problems.push(problem.related(first, "the first one"));
        }
        if own == Some(&issuer.id) {
            let problem = Diagnostic::error("E1006", "this is our own issuer identifier").at(span);
            problems.push(problem.help("our own tokens are trusted as `self`"));
        }
        // A disabled one counts: what is its own must not be shown to another meanwhile.
        let opaque = issuer.accepts.iter().filter(|a| a.by_introspection);
        let mut taken = opaque.filter_map(|accepted| {
            let name = accepted.token_type.name();
            Some((name, *takes_opaque.get(name)?))
        });
        if let Some((name, first)) = taken.next_back() {
            let message = format!("only one issuer of a realm can take opaque tokens as `{name}`");
            let problem = Diagnostic::error("E1006", message).at(span);
            let problem = problem.related(first, "the first one");
            problems.push(problem.help("narrow `token_types:` of one, or say `by: keys` there"));
        }
        for accepted in issuer.accepts.iter().filter(|a| a.by_introspection) {
            takes_opaque.insert(accepted.token_type.name(), span);
        }
        for (alias, at) in namespace {
            if !aliases.contains(alias.as_str()) {
                let message = format!("no issuer of this realm is called `{alias}`");
                let problem = Diagnostic::error("E1006", message).at(at);
                problems.push(problem.suggest(alias.as_str(), aliases.iter().map(|a| &**a)));
            }
        }
    }
    let local: Vec<&Read> = all.iter().filter(|read| read.local == Some(true)).collect();
    if let [first, .., last] = local.as_slice() {
        let message = "only one issuer of a realm can be `subjects: local`";
        let problem = Diagnostic::error("E1006", message).at(&last.span);
        problems.push(problem.related(&first.span, "the first one"));
    }
}

impl Reader<'_> {
    fn issuer(&mut self, key: &Key, node: Node) -> Option<Read> {
        let (before, _) = self.problems.counts();
        let alias = crate::section::name::<IssuerAlias>(key, self.problems);
        if [Hop::UNKNOWN, "any"].contains(&&*key.name) {
            let message = format!("`{}` has a meaning of its own in policies", key.name);
            self.report("E1006", message, &key.span);
        }
        let mut section = node.section_of(key, self.problems)?;
        let span = section.span.clone();
        // Whose preset is not known lacks everything, for one reason only.
        let said = section.has("preset");
        let preset_claims = self.preset(&mut section).ok()?;
        let id: Option<Issuer> = section
            .require("issuer", self.problems)
            .and_then(|node| node.parse(self.problems));
        let enabled = self.enabled(&mut section);
        let keys = self.key_source(&mut section, Arc::clone(&key.name), Some(id.as_ref()));
        let introspection = section
            .section("introspection", self.problems)
            .and_then(|s| self.introspection(&key.name, s));
        let verifiable = keys.is_some() || introspection.is_some();
        if !verifiable && self.problems.counts().0 == before {
            let problem =
                Diagnostic::error("E1005", "this issuer's tokens cannot be verified").at(&span);
            self.problems.push(problem.help(
                "give `discovery: openid`, `jwks_uri: URL`, `jwks_file: PATH`, inline `jwks:`, or `introspection:`",
            ));
        }
        let accepts = self.accepts(&mut section, keys.is_some(), introspection.is_some());
        let local = self.local(&mut section);
        let claims = self.claims(&mut section, preset_claims);
        let (tenancy, tenants) = self.tenancy(&mut section, &claims);
        if !said && tenants.is_empty() {
            self.everybodys(id.as_ref(), &tenancy, &span);
        }
        let client_claims = self.client_claims(&mut section);
        let act_namespace = self.namespace(&mut section, "act_namespace");
        let may_act_namespace = self.namespace(&mut section, "may_act_namespace");
        let named = |namespace: &[(IssuerAlias, Span)]| {
            namespace.iter().map(|(alias, _)| alias.clone()).collect()
        };
        let leeway = self.seconds(&mut section, "leeway", 30, 0..=300);
        let without_exp = section.take("without_exp").and_then(|node| {
            let seconds = node.parse::<Seconds>(self.problems)?.0;
            if !(1..=86_400).contains(&seconds) {
                self.report("E1006", "`without_exp` must be from 1s to 1d", &node.span);
            }
            Some((seconds, node.span))
        });
        section.finish(self.problems);
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
            enabled,
            accepts: accepts?,
            client_claims,
            claims,
            tenants,
            act_namespace: named(&act_namespace),
            may_act_namespace: named(&may_act_namespace),
            leeway,
            without_exp: without_exp.map(|(seconds, _)| seconds),
            keys,
            introspection,
        };
        Some(Read {
            issuer,
            local,
            tenancy,
            namespace: [act_namespace, may_act_namespace].concat(),
            span,
        })
    }

    /// `enabled: false`: its tokens are refused; everything that names it still loads.
    fn enabled(&mut self, section: &mut Section) -> bool {
        let Some(node) = section.take("enabled") else {
            section.falls_back("enabled", true);
            return true;
        };
        match node.text(self.problems).as_deref() {
            Some("false") => false,
            Some("true") | None => true,
            Some(other) => {
                let message = format!("`{other}` is neither `true` nor `false`");
                self.report("E1006", message, &node.span);
                true
            }
        }
    }

    fn local(&mut self, section: &mut Section) -> Option<bool> {
        let node = section.take("subjects")?;
        match &*node.text(self.problems)? {
            "local" => Some(true),
            "foreign" => Some(false),
            other => {
                let message = format!("`{other}` is neither `local` nor `foreign`");
                self.report("E1006", message, &node.span);
                None
            }
        }
    }

    /// `may_act_namespace: [corp]`.
    fn namespace(&mut self, section: &mut Section, key: &'static str) -> Vec<(IssuerAlias, Span)> {
        let nodes = section.take(key).map(Node::list);
        let nodes = nodes.unwrap_or_default().into_iter();
        nodes
            .filter_map(|node| Some((node.parse(self.problems)?, node.span)))
            .collect()
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
        let audience = audience.unwrap_or(AudienceRule::Client);
        TrustedIssuer {
            alias: IssuerAlias::own(),
            id: own.clone(),
            enabled: true,
            accepts: types::BY_DEFAULT
                .into_iter()
                .map(|token_type| AcceptedType {
                    token_type,
                    typ: ["at+jwt".to_owned()].into(),
                    audience: audience.clone(),
                    scope_claim: Some("scope".to_owned()),
                    by_keys: true,
                    by_introspection: false,
                })
                .collect(),
            client_claims: claims::CLIENT.iter().map(|name| Arc::from(*name)).collect(),
            claims: BTreeMap::new(),
            tenants: BTreeMap::new(),
            act_namespace: BTreeSet::new(),
            may_act_namespace: BTreeSet::new(),
            leeway: 0,
            without_exp: None,
            keys: Some(KeySource::Fixed(keys.verifier())),
            introspection: None,
        }
    }
}
