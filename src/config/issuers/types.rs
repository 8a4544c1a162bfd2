//! `token_types:`, `audience:` and `scope:`: what an issuer's tokens may be presented as, and what each
//! must be like then.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::reader::Reader;
use crate::diagnostic::{Diagnostic, Span};
use crate::oauth::token_type::TokenType;
use crate::section::{Node, Section};
use crate::token::{AcceptedType, AudienceRule, OTHER_KINDS};

/// The types that an issuer's tokens have where nothing is said.
pub(super) const BY_DEFAULT: [TokenType; 2] = [TokenType::AccessToken, TokenType::Jwt];

/// The types that have a name and that this build verifies; any other absolute URI is verified as `jwt` is.
const VERIFIED: [TokenType; 4] = [
    TokenType::AccessToken,
    TokenType::Jwt,
    TokenType::IdToken,
    TokenType::RefreshToken,
];

/// The `typ` that goes with a type by default; empty text stands for none.
fn default_typ(token_type: &TokenType) -> &'static [&'static str] {
    match token_type {
        TokenType::AccessToken => &["at+jwt"],
        // OpenID Connect Core names no `typ`; what is written is `JWT`, where anything is.
        TokenType::IdToken => &["jwt", ""],
        // Its issuer is asked, whatever it looks like.
        TokenType::RefreshToken => &[],
        _ => &["jwt", "at+jwt", ""],
    }
}

/// What holds for all types of an issuer, unless one says otherwise.
struct Common {
    audience: Option<AudienceRule>,
    /// Whether `audience` was written, if only badly.
    audience_said: bool,
    scope: Option<Option<String>>,
    scope_said: bool,
    has_keys: bool,
    has_introspection: bool,
    span: Span,
}

impl Reader<'_> {
    /// `token_types: [access_token, jwt]`, or a mapping that says what each must be like.
    pub(super) fn accepts(
        &mut self,
        section: &mut Section,
        has_keys: bool,
        has_introspection: bool,
    ) -> Option<Vec<AcceptedType>> {
        let (before, _) = self.problems.counts();
        let audience = section.take("audience");
        let scope = section.take("scope");
        let common = Common {
            audience_said: audience.is_some(),
            audience: audience.and_then(|node| self.audience(node)),
            scope_said: scope.is_some(),
            scope: scope.and_then(|node| self.scope(&node)),
            has_keys,
            has_introspection,
            span: section.span.clone(),
        };
        let (named, span) = match section.take("token_types") {
            None => {
                let names: Vec<&str> = BY_DEFAULT.iter().map(TokenType::name).collect();
                section.falls_back_to("token_types", &names);
                let named = BY_DEFAULT.map(|token_type| {
                    let name = Arc::from(token_type.name());
                    (name, common.span.clone(), None)
                });
                (named.to_vec(), common.span.clone())
            }
            Some(node) => {
                let span = node.span.clone();
                (self.named(node), span)
            }
        };
        let mut accepts: Vec<AcceptedType> = Vec::new();
        let mut missing: BTreeSet<&'static str> = BTreeSet::new();
        for (name, at, details) in named {
            let Some(token_type) = self.verified_type(&name, &at) else {
                continue;
            };
            if accepts.iter().any(|a| a.token_type == token_type) {
                self.report("E1003", format!("`{name}` is listed twice"), &at);
                continue;
            }
            let details = details.and_then(|node| node.section(self.problems));
            accepts.extend(self.accepted(token_type, &at, details, &common, &mut missing));
        }
        for key in missing {
            self.report("E1005", format!("`{key}` is missing here"), &common.span);
        }
        if accepts.is_empty() && self.problems.counts().0 == before {
            let message = "an issuer must give tokens of one type at least";
            self.report("E1005", message, &span);
        }
        (self.problems.counts().0 == before).then_some(accepts)
    }

    fn verified_type(&mut self, name: &str, at: &Span) -> Option<TokenType> {
        let known = VERIFIED.iter().find(|known| known.name() == name);
        match (known, TokenType::from_name(name)) {
            (Some(known), _) => Some(known.clone()),
            (None, Ok(other @ TokenType::Other(_))) => Some(other),
            (None, Ok(known)) if VERIFIED.contains(&known) => Some(known),
            _ => {
                let message = format!("this build verifies no `{name}`");
                let problem = Diagnostic::error("E1008", message).at(at);
                let known = VERIFIED.iter().map(TokenType::name);
                self.problems.push(problem.correct(name, known));
                None
            }
        }
    }

    fn accepted(
        &mut self,
        token_type: TokenType,
        at: &Span,
        details: Option<Section>,
        common: &Common,
        missing: &mut BTreeSet<&'static str>,
    ) -> Option<AcceptedType> {
        let mut details = details;
        let mut take = |key| details.as_mut().and_then(|section| section.take(key));
        let (typ, audience, scope, by) = (take("typ"), take("audience"), take("scope"), take("by"));
        if let Some(section) = details {
            section.finish(self.problems);
        }
        let refresh = token_type == TokenType::RefreshToken;
        let id = token_type == TokenType::IdToken;
        if let (true, Some(node)) = (refresh, &typ) {
            let message = "`typ` is not looked at: refresh tokens are verified by introspection";
            self.report("E1006", message, &node.span);
        }
        let default = default_typ(&token_type);
        let typ = match typ {
            Some(node) => self.typ(node),
            None => default.iter().map(|text| (*text).to_owned()).collect(),
        };
        let audience = match audience {
            Some(node) => self.audience(node),
            // Both are for the client that they were issued to, and for nobody else.
            None if refresh || id => Some(AudienceRule::Client),
            None => {
                if !common.audience_said {
                    missing.insert("audience");
                }
                common.audience.clone()
            }
        };
        let scope = match scope {
            Some(node) => self.scope(&node),
            None if id => Some(None),
            None => {
                if !common.scope_said {
                    missing.insert("scope");
                }
                common.scope.clone()
            }
        };
        let (by_keys, by_introspection) = self.way(by, refresh, at, common);
        Some(AcceptedType {
            token_type,
            typ,
            audience: audience?,
            scope_claim: scope?,
            by_keys,
            by_introspection,
        })
    }

    /// `by: keys` or `by: introspection`; where nothing is said, JWTs by keys where there are any, and
    /// everything else by introspection.
    fn way(&mut self, by: Option<Node>, refresh: bool, at: &Span, common: &Common) -> (bool, bool) {
        let has = (common.has_keys && !refresh, common.has_introspection);
        let said = by.as_ref().and_then(|node| node.text(self.problems));
        if refresh && !common.has_introspection && (common.has_keys || said.is_some()) {
            let message = "refresh tokens are verified by introspection only";
            let problem = Diagnostic::error("E1005", message).at(at);
            self.problems.push(problem.help("give `introspection:`"));
            return has;
        }
        let (Some(said), Some(node)) = (said, by) else {
            return has;
        };
        match (&*said, has) {
            ("keys", (true, _)) => (true, false),
            ("introspection", (_, true)) => (false, true),
            ("keys" | "introspection", _) => {
                let message = format!("tokens of this type cannot be verified by {said} here");
                self.report("E1005", message, &node.span);
                has
            }
            _ => {
                let message = format!("`{said}` is neither `keys` nor `introspection`");
                self.report("E1006", message, &node.span);
                has
            }
        }
    }

    /// The values of `typ`, normalised; `absent` stands for none.
    fn typ(&mut self, node: Node) -> BTreeSet<String> {
        let span = node.span.clone();
        let mut typ = BTreeSet::new();
        let nodes = node.list();
        if nodes.is_empty() {
            let message = "`typ` lists nothing: no token could have it";
            self.report("E1005", message, &span);
        }
        for node in nodes {
            let Some(text) = node.text(self.problems) else {
                continue;
            };
            let text = text.to_lowercase();
            let normal = match &*text {
                "absent" => "",
                other => other.strip_prefix("application/").unwrap_or(other),
            };
            if OTHER_KINDS.contains(&normal) {
                let message = format!("a token of `typ` `{normal}` is never a subject token");
                self.report("E1006", message, &node.span);
            }
            typ.insert(normal.to_owned());
        }
        typ
    }

    /// `scope: claim`, `none`, or the claim's name; `Some(None)` is `none`.
    fn scope(&mut self, node: &Node) -> Option<Option<String>> {
        match &*node.text(self.problems)? {
            "none" => Some(None),
            "claim" => Some(Some("scope".to_owned())),
            "" => {
                self.report("E1006", "`scope` is empty text", &node.span);
                None
            }
            name => Some(Some(name.to_owned())),
        }
    }

    pub(super) fn audience(&mut self, node: Node) -> Option<AudienceRule> {
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
}
