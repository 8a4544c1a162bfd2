//! `claims:`, `client_claim:` and `tenancy:`: what policies may know of an issuer's tokens, and which of
//! their claims matter to whether they are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::clients::{claim_type, is_word, not_a_word};
use crate::config::reader::Reader;
use crate::diagnostic::{Diagnostic, Span};
use crate::oauth::claims::ClaimDeclaration;
use crate::section::{Key, Node, Section, Value};

/// The claims that say which client a token was issued to, where nothing is said (RFC 9068 §2.2,
/// OpenID Connect Core §2).
pub(super) const CLIENT: [&str; 2] = ["client_id", "azp"];

/// Declared claims by name.
type Claims = BTreeMap<Arc<str>, ClaimDeclaration>;
/// The values that a claim may have, by its name.
type Tenants = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

impl Reader<'_> {
    /// `claims: { groups?: set<string>, namespace: { type: string, at: /a/b } }`. What the preset declares
    /// is added where the section does not declare it otherwise.
    pub(super) fn claims(&mut self, section: &mut Section, preset: Option<Section>) -> Claims {
        let mut claims = Claims::new();
        let own = section.section("claims", self.problems);
        let mut all = Vec::new();
        for (key, node) in own.map(Section::into_entries).unwrap_or_default() {
            all.push((key.clone(), node.clone()));
            let Some((name, declaration)) = self.claim(&key, node) else {
                continue;
            };
            if claims.insert(Arc::clone(&name), declaration).is_some() {
                let message = format!("claim `{name}` is declared twice");
                self.report("E1003", message, &key.span);
            }
        }
        for (key, node) in preset.map(Section::into_entries).unwrap_or_default() {
            let written = (key.clone(), node.clone());
            if let Some((name, declaration)) = self.claim(&key, node)
                && !claims.contains_key(&name)
            {
                claims.insert(name, declaration);
                all.push(written);
            }
        }
        if !all.is_empty() {
            section.holds("claims", all);
        }
        claims
    }

    fn claim(&mut self, key: &Key, node: Node) -> Option<(Arc<str>, ClaimDeclaration)> {
        let (name, optional) = match key.name.strip_suffix('?') {
            Some(name) => (name, true),
            None => (&*key.name, false),
        };
        if !is_word(name) {
            self.problems.push(
                not_a_word(name, &key.span).help("name it otherwise and say `at: /its/place`"),
            );
            return None;
        }
        let mut pointer = format!("/{name}");
        let mut separators = ":/".to_owned();
        let span = key.span.clone();
        let ty = if let Value::Map(_) = node.value {
            let mut details = node.section_of(key, self.problems)?;
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
                    let message = format!("`{text}` is not a JSON pointer such as `/a/b`");
                    self.report("E1006", message, &at.span);
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
        if let Some(constraint) = constraint(&pointer) {
            self.constrained(constraint, &span);
        }
        let declaration = ClaimDeclaration {
            ty: ty?,
            optional,
            pointer,
            separators,
        };
        Some((Arc::from(name), declaration))
    }

    /// `client_claim: cid`, or several of which the first that is there counts.
    pub(super) fn client_claims(&mut self, section: &mut Section) -> Vec<Arc<str>> {
        let Some(node) = section.take("client_claim") else {
            section.falls_back_to("client_claim", &CLIENT);
            return CLIENT.iter().map(|name| Arc::from(*name)).collect();
        };
        let span = node.span.clone();
        let mut names = Vec::new();
        for node in node.list() {
            names.extend(node.text(self.problems));
        }
        if names.is_empty() || names.iter().any(|name| name.is_empty()) {
            self.report("E1006", "`client_claim` names no claim", &span);
        }
        if let Some(constraint) = names
            .iter()
            .find_map(|name| constraint(&format!("/{name}")))
        {
            self.constrained(constraint, &span);
        }
        names
    }

    fn constrained(&mut self, constraint: &str, span: &Span) {
        let message = format!("`{constraint}` binds a token, and is no claim like others");
        let problem = Diagnostic::error("E1006", message).at(span);
        let help =
            "policies see it as `subject.act`, `subject.may_act`, and in a deny `subject.chain`";
        self.problems.push(problem.help(help));
    }

    /// `tenancy: tid` or a list: the declared claims that tell the tenants of a shared issuer apart.
    /// `tenancy: { tid: [ID, ID] }`: the same, and the realm's own tenants; any other's tokens are refused.
    pub(super) fn tenancy(
        &mut self,
        section: &mut Section,
        claims: &Claims,
    ) -> (Vec<Arc<str>>, Tenants) {
        let Some(node) = section.take("tenancy") else {
            return (Vec::new(), Tenants::new());
        };
        let mut free = Vec::new();
        let mut tenants = Tenants::new();
        let span = node.span.clone();
        if matches!(&node.value, Value::Scalar(text) if &**text == "none") {
            let message = "tokens of every tenant of this issuer are taken, whatever a rule says";
            self.problems
                .push(Diagnostic::warning("E1031", message).at(&span));
            return (free, tenants);
        }
        let entries = self.named(node);
        if entries.is_empty() {
            let problem = Diagnostic::error("E1005", "`tenancy` names no claim").at(&span);
            let help = "to take tokens of every tenant, say `tenancy: none`";
            self.problems.push(problem.help(help));
        }
        for (name, at, values) in entries {
            if !claims.contains_key(&name) {
                let message = format!("`{name}` is no declared claim of this issuer");
                let problem = Diagnostic::error("E1006", message).at(&at);
                let problem = problem.suggest(&name, claims.keys().map(|name| &**name));
                let help = format!("declare it in `claims:`, for example `{name}: string`");
                self.problems.push(problem.help(help));
                continue;
            }
            let Some(values) = values else {
                free.push(name);
                continue;
            };
            let mut known = BTreeSet::new();
            for node in values.list() {
                known.extend(node.text(self.problems));
            }
            if known.is_empty() || known.iter().any(|value| value.is_empty()) {
                let message = format!("`{name}` lists no tenant: every token would be refused");
                self.report("E1005", message, &at);
            }
            tenants.insert(name, known);
        }
        (free, tenants)
    }
}

/// The claim that a pointer leads into, where it is one of those that bind a token to somebody.
fn constraint(pointer: &str) -> Option<&'static str> {
    let first = pointer.split('/').nth(1);
    ["act", "may_act", "cnf"]
        .into_iter()
        .find(|name| first == Some(*name))
}
