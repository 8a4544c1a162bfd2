//! The headers: `from`, `by`, `to`, `actor`, `via`, `issue`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Checker, Clauses, FoundActor};
use crate::diagnostic::{Diagnostic, Span};
use crate::oauth::id::ClientId;
use crate::oauth::target::Audience;
use crate::oauth::token_type::TokenType;
use crate::oauth::uri::Uri;
use crate::policy::pattern::{Glob, PatternError, UriPattern};
use crate::policy::rule::{
    ActorForm, ActorMatch, AudienceMatch, Clients, FromIssuer, Header, Headers, ResourceMatch,
    TargetsMatch,
};
use crate::policy::schema::Type;
use crate::policy::syntax::ast::{self, ItemKind, MatchKind, TargetsForm, Text};

/// Grant types of the language that later builds bring.
const LATER_GRANTS: [&str; 1] = ["jwt_bearer"];

impl<'a> Checker<'a> {
    pub(super) fn headers(&mut self, clauses: &Clauses<'a>, item: &ast::Rule) -> Headers {
        let is_rule = item.kind == ItemKind::Rule;
        let default = |value| Some(value).filter(|_| is_rule);
        let name = &item.name.span;
        Headers {
            from: clauses.from.as_ref().and_then(|found| {
                let list = found.value.as_ref()?;
                Some(Header {
                    value: self.from(list),
                    span: found.span.clone(),
                })
            }),
            by: clauses.by.as_ref().and_then(|found| {
                let matcher = found.value.as_ref()?;
                Some(Header {
                    value: self.clients(matcher),
                    span: found.span.clone(),
                })
            }),
            to: clauses.to.as_ref().map(|found| {
                if !is_rule {
                    self.slips_past(found.value);
                }
                let value = found
                    .value
                    .iter()
                    .filter_map(|form| self.targets(form, item.kind))
                    .collect();
                Header {
                    value,
                    span: found.span.clone(),
                }
            }),
            actor: match &clauses.actor {
                Some(found) => Some(Header {
                    value: self.actor(found, item.kind),
                    span: found.span.clone(),
                }),
                None => default("").map(|_| Header {
                    value: ActorMatch {
                        form: ActorForm::None,
                        may_act_ignored: false,
                    },
                    span: name.clone(),
                }),
            },
            via: match &clauses.via {
                Some(found) => {
                    self.grant_type(found.value);
                    Some(Header {
                        value: Arc::clone(&found.value.value),
                        span: found.span.clone(),
                    })
                }
                None => default("token_exchange").map(|v| Header {
                    value: Arc::from(v),
                    span: name.clone(),
                }),
            },
            issue: match &clauses.issue {
                Some(found) => self.token_type(found.value).map(|value| Header {
                    value,
                    span: found.span.clone(),
                }),
                None => default("").map(|_| Header {
                    value: TokenType::AccessToken,
                    span: name.clone(),
                }),
            },
        }
    }

    fn actor(&mut self, found: &FoundActor<'a>, kind: ItemKind) -> ActorMatch {
        let mut known = |aliases: &[Text]| {
            let mut out = BTreeSet::new();
            for alias in aliases {
                self.issuer_exists(alias);
                if let Ok(found) = alias.value.parse()
                    && !out.insert(found)
                {
                    let message = format!("`{}` is listed twice", alias.value);
                    self.report(Diagnostic::error("E0121", message).at(&alias.span));
                }
            }
            out
        };
        let form = match found.form {
            ast::ActorForm::None => ActorForm::None,
            ast::ActorForm::Client => ActorForm::Client,
            ast::ActorForm::Token(word, aliases) => match &*word.value {
                "named" => ActorForm::Named(known(aliases)),
                "optional" => ActorForm::Optional(known(aliases)),
                _ => ActorForm::Required(known(aliases)),
            },
        };
        if let Some(span) = found.may_act_ignored {
            match (kind, &form) {
                (ItemKind::Deny, _) => {
                    let message = "a deny has no `may_act ignored`: only `named` asks for it there";
                    self.report(Diagnostic::error("E0122", message).at(span));
                }
                (ItemKind::Rule, ActorForm::Named(_)) => {
                    let message = "`named` asks for the very `may_act` that is to be ignored";
                    let problem = Diagnostic::error("E0122", message).at(span);
                    self.report(problem.help("write `required from …, may_act ignored`"));
                }
                (ItemKind::Rule, _) => {
                    let message = "this rule lets others act than the subject's token names";
                    self.report(Diagnostic::warning("E0403", message).at(span));
                }
            }
        }
        let slips = !matches!(form, ActorForm::Named(_) | ActorForm::Required(_));
        if kind == ItemKind::Deny && slips {
            let problem = Diagnostic::warning("E0330", "an actor token would slip past this deny");
            let problem = problem.at(found.span);
            self.report(
                problem.help("leave `actor` out: what a deny does not mention, it takes any"),
            );
        }
        ActorMatch {
            form,
            may_act_ignored: found.may_act_ignored.is_some(),
        }
    }

    fn issuer_exists(&mut self, alias: &Text) {
        let known = self
            .schema
            .issuers
            .iter()
            .map(|issuer| issuer.alias.as_str());
        if known.clone().all(|name| name != &*alias.value) {
            let problem =
                Diagnostic::error("E0207", format!("no issuer is called `{}`", alias.value));
            let problem = problem.at(&alias.span).suggest(&alias.value, known);
            if &*alias.value == "any" {
                self.report(problem.help("write `from any issuer`"));
                return;
            }
            self.report(problem.help("issuers are declared under `issuers:` in cambist.yaml"));
        }
    }

    fn from(&mut self, list: &[ast::IssuerRef]) -> Vec<FromIssuer> {
        let mut out: Vec<FromIssuer> = Vec::new();
        for issuer in list {
            self.issuer_exists(&issuer.alias);
            let token_type = issuer
                .token_type
                .as_ref()
                .and_then(|text| self.token_type(text));
            let schema = self.schema.issuer(&issuer.alias.value);
            if let (Some(schema), Some(wanted), Some(text)) =
                (schema, &token_type, &issuer.token_type)
                && !schema.token_types.contains(wanted)
            {
                let problem =
                    Diagnostic::error("E0610", format!("`{}` gives no `{wanted}`", schema.alias));
                let accepted = schema.token_types.iter().map(TokenType::name);
                self.report(problem.at(&text.span).suggest(wanted.name(), accepted));
            }
            if let Ok(alias) = issuer.alias.value.parse() {
                let entry = FromIssuer { alias, token_type };
                let same = out.iter().filter(|other| other.alias == entry.alias);
                // `corp, corp as id_token` would read as narrowed, and not be.
                let open = |other: &FromIssuer| {
                    other.token_type.is_none() || entry.token_type.is_none() || *other == entry
                };
                if same.into_iter().any(open) {
                    let message = format!("`{}` is listed twice", issuer.alias.value);
                    let problem = Diagnostic::error("E0121", message).at(&issuer.alias.span);
                    self.report(problem.help("list it once, or each time with another `as TYPE`"));
                }
                out.push(entry);
            }
        }
        out
    }

    fn clients(&mut self, matcher: &'a ast::Matcher) -> Clients {
        let strings = self.header_strings(&matcher.strings, Type::String);
        match matcher.kind {
            MatchKind::Like => {
                let globs = self.globs(&strings, "");
                for (glob, text) in globs.iter().zip(&strings) {
                    let mut clients = self.schema.clients.iter();
                    if !clients.any(|client| glob.matches(client.id.as_str())) {
                        let message = format!("no client's id is like `{}`", text.value);
                        let problem = Diagnostic::warning("E0219", message).at(&text.span);
                        self.report(problem.help("this holds for nobody"));
                    }
                }
                Clients::Like(globs)
            }
            MatchKind::Equal => Clients::Ids(
                strings
                    .iter()
                    .filter_map(|text| self.client(text))
                    .collect(),
            ),
            MatchKind::Under => {
                self.misused(
                    "under",
                    "clients are compared with `client \"ID\"` or `client like \"…\"`",
                    &strings,
                );
                Clients::Ids(BTreeSet::new())
            }
        }
    }

    /// A client's id, by its id or one of its identifiers.
    fn client(&mut self, text: &Text) -> Option<ClientId> {
        let found = self.clients.get(&*text.value).copied();
        if found.is_none() {
            let names = self
                .schema
                .clients
                .iter()
                .flat_map(|client| client.names.iter().map(|name| &**name));
            let problem =
                Diagnostic::error("E0207", format!("no client is called `{}`", text.value));
            let problem = problem.at(&text.span).suggest(&text.value, names);
            self.report(problem.help("clients are declared under `clients:` in cambist.yaml"));
        }
        found.map(|client| client.id.clone())
    }

    /// The same target can be asked for in more than one way; a deny should know them.
    fn slips_past(&mut self, forms: &'a [TargetsForm]) {
        let parts = || {
            forms.iter().flat_map(|form| match form {
                TargetsForm::Parts(parts) => parts.as_slice(),
                TargetsForm::Any | TargetsForm::None => &[],
            })
        };
        let everything = forms.contains(&TargetsForm::Any);
        let exact = |part: &&ast::Target| part.resource && part.matcher.kind == MatchKind::Equal;
        if let Some(part) = parts().find(exact) {
            let message = "a final slash or a query would slip past this deny";
            let problem = Diagnostic::warning("E0331", message).at(&part.span);
            self.report(problem.help("write `resource under \"…\"`"));
        }
        if let (Some(part), false, false) = (
            parts().find(|part| part.resource),
            everything,
            parts().any(|part| !part.resource),
        ) {
            let message = "the same target asked for by `audience` would slip past this deny";
            let problem = Diagnostic::warning("E0332", message).at(&part.span);
            self.report(
                problem.help(
                    "in a deny either kind is enough: `resource under \"…\", audience \"…\"`",
                ),
            );
        }
    }

    fn targets(&mut self, form: &'a TargetsForm, kind: ItemKind) -> Option<TargetsMatch> {
        let parts = match form {
            TargetsForm::Any => return Some(TargetsMatch::Any),
            TargetsForm::None => return Some(TargetsMatch::None),
            TargetsForm::Parts(parts) => parts,
        };
        let (mut resource, mut audience) = (None, None);
        for part in parts {
            let repeated = if part.resource {
                resource.is_some()
            } else {
                audience.is_some()
            };
            if repeated {
                let word = if part.resource {
                    "resource"
                } else {
                    "audience"
                };
                let message = format!("`{word}` is written twice in one `to`");
                let problem = Diagnostic::error("E0121", message).at(&part.span);
                self.report(problem.help("give a list: `[\"a\", \"b\"]`"));
            }
            if part.resource {
                resource = Some(self.resource(&part.matcher, kind));
            } else {
                audience = Some(self.audience(&part.matcher));
            }
        }
        Some(TargetsMatch::Parts { resource, audience })
    }

    fn resource(&mut self, matcher: &'a ast::Matcher, kind: ItemKind) -> ResourceMatch {
        let strings = self.header_strings(&matcher.strings, Type::Uri);
        match matcher.kind {
            MatchKind::Equal => ResourceMatch::Equal(
                strings
                    .iter()
                    .filter_map(|text| self.uri(&text.value, &text.span))
                    .collect(),
            ),
            MatchKind::Under => {
                ResourceMatch::Pattern(self.uri_patterns(&strings, UriPattern::under))
            }
            MatchKind::Like => {
                let mut patterns = self.uri_patterns(&strings, UriPattern::like);
                if kind == ItemKind::Deny {
                    // What a deny does not mention is unconstrained; `?x` must not slip past it.
                    patterns = patterns.into_iter().map(UriPattern::any_query).collect();
                }
                ResourceMatch::Pattern(patterns)
            }
        }
    }

    fn audience(&mut self, matcher: &'a ast::Matcher) -> AudienceMatch {
        let strings = self.header_strings(&matcher.strings, Type::String);
        match matcher.kind {
            MatchKind::Like => AudienceMatch::Like(self.globs(&strings, ":/")),
            MatchKind::Equal => AudienceMatch::Equal(
                strings
                    .iter()
                    .map(|text| {
                        if let Err(error) = text.value.parse::<Audience>() {
                            let message = format!("an audience {error}");
                            self.report(Diagnostic::error("E0207", message).at(&text.span));
                        }
                        Arc::clone(&text.value)
                    })
                    .collect(),
            ),
            MatchKind::Under => {
                self.misused(
                    "under",
                    "an audience is a name; use `audience \"…\"` or `audience like \"…\"`",
                    &strings,
                );
                AudienceMatch::Equal(BTreeSet::new())
            }
        }
    }

    fn misused(&mut self, word: &str, help: &str, strings: &[Text]) {
        if let Some(text) = strings.first() {
            let problem = Diagnostic::error("E0208", format!("`{word}` does not apply here"));
            self.report(problem.at(&text.span).help(help));
        }
    }

    fn globs(&mut self, strings: &[Text], separators: &str) -> Vec<Glob> {
        strings
            .iter()
            .filter_map(|text| self.glob(&text.value, separators, &text.span))
            .collect()
    }

    pub(super) fn glob(&mut self, text: &str, separators: &str, span: &Span) -> Option<Glob> {
        Glob::new(text, separators)
            .map_err(|error| self.pattern_error(text, &error, span))
            .ok()
    }

    fn uri_patterns(
        &mut self,
        strings: &[Text],
        parse: fn(&str) -> Result<UriPattern, PatternError>,
    ) -> Vec<UriPattern> {
        strings
            .iter()
            .filter_map(|text| self.uri_pattern(&text.value, parse, &text.span))
            .collect()
    }

    pub(super) fn uri_pattern(
        &mut self,
        text: &str,
        parse: fn(&str) -> Result<UriPattern, PatternError>,
        span: &Span,
    ) -> Option<UriPattern> {
        parse(text)
            .map_err(|error| self.pattern_error(text, &error, span))
            .ok()
    }

    fn pattern_error(&mut self, text: &str, error: &PatternError, span: &Span) {
        let code = match error {
            PatternError::HostWildcard => "E0213",
            PatternError::NotCanonical(_) => "E0210",
            PatternError::TooLong
            | PatternError::Stars
            | PatternError::Uri(_)
            | PatternError::Query
            | PatternError::Opaque
            | PatternError::PathWildcard => "E0211",
        };
        let problem = Diagnostic::error(code, error.to_string()).at(span);
        self.report(match error {
            PatternError::NotCanonical(canonical) => problem.rewrite(text, canonical),
            _ => problem,
        });
    }

    /// A constant URI; it must be canonical, so that what is read is what is compared.
    pub(super) fn uri(&mut self, text: &str, span: &Span) -> Option<Uri> {
        match text.parse::<Uri>() {
            Ok(uri) if uri.is_canonical() => return Some(uri),
            Ok(uri) => {
                let problem = Diagnostic::error("E0210", "the URI is not canonical");
                self.report(problem.at(span).rewrite(text, uri.canonical()));
            }
            Err(error) => {
                self.report(Diagnostic::error("E0211", format!("`{text}` {error}")).at(span))
            }
        }
        None
    }

    pub(super) fn token_type(&mut self, text: &Text) -> Option<TokenType> {
        match TokenType::from_name(&text.value) {
            Ok(token_type) => Some(token_type),
            Err(error) => {
                let problem =
                    Diagnostic::error("E0207", format!("`{}` {error}", text.value)).at(&text.span);
                self.report(problem.correct(&text.value, TokenType::names()));
                None
            }
        }
    }

    fn grant_type(&mut self, text: &Text) {
        if LATER_GRANTS.contains(&&*text.value) {
            self.not_in_this_build(
                &format!("via {}", text.value),
                "another grant type",
                &text.span,
            );
        } else if !self.schema.grant_types.contains(&&*text.value) {
            let problem =
                Diagnostic::error("E0207", format!("no grant type is called `{}`", text.value));
            self.report(
                problem
                    .at(&text.span)
                    .correct(&text.value, self.schema.grant_types.iter().copied()),
            );
        }
    }
}
