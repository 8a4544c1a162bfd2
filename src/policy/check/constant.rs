//! Constants: what an attribute can be compared with, and what it could never be.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::condition::{Members, element};
use super::{Checker, Resolved};
use crate::context::Hop;
use crate::diagnostic::{Diagnostic, Span};
use crate::oauth::scope::Scopes;
use crate::oauth::target::Audience;
use crate::oauth::token_type::TokenType;
use crate::policy::pattern::{PrefixError, UriPattern, prefix};
use crate::policy::rule::{Constant, Constants};
use crate::policy::schema::{Names, Type};
use crate::policy::syntax::ast::{Literal, Spanned};

impl<'a> Checker<'a> {
    /// A list for an attribute, or for the elements of a set.
    pub(super) fn constants(&mut self, members: &Members<'a>, of: &Resolved) -> Option<Constants> {
        let ty = if of.ty.is_set() {
            element(of.ty)
        } else {
            of.ty
        };
        self.list_of(members, ty)?;
        let make = |checker: &mut Self| {
            let constants: Vec<_> = members
                .items
                .iter()
                .map(|item| {
                    let constant = checker.constant(item, ty)?;
                    checker.possible(of, constant, &item.span)
                })
                .collect();
            constants
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .map(Constants::new)
        };
        match &members.named {
            Some((list, _)) => {
                let key = (
                    list.span.0.clone(),
                    format!("{} {}", ty.name(), of.attribute.path()),
                );
                self.shared(&key, |m| &mut m.constants, make)
            }
            None => make(self),
        }
    }

    /// A list that has a name has a type, and it must be this one.
    pub(super) fn list_of(&mut self, members: &Members<'a>, ty: Type) -> Option<()> {
        match &members.named {
            Some((list, span)) => self.list_is(list, ty, span),
            None => Some(()),
        }
    }

    /// What `under` is followed by.
    pub(super) fn container(&mut self, literal: &Spanned<Literal>) -> Option<UriPattern> {
        match &literal.value {
            Literal::String(text) => self.uri_pattern(text, UriPattern::under, &literal.span),
            Literal::Int(_) | Literal::Bool(_) | Literal::Duration(_) | Literal::Instant(..) => {
                self.constant(literal, Type::Uri);
                None
            }
        }
    }

    /// An address, or a prefix of addresses without host bits.
    pub(super) fn prefix(&mut self, literal: &Spanned<Literal>) -> Option<IpNet> {
        let Literal::String(text) = &literal.value else {
            self.constant(literal, Type::Ip);
            return None;
        };
        let problem = |message: String| Diagnostic::error("E0212", message).at(&literal.span);
        let found = prefix(text);
        if let Ok(net) | Err(PrefixError::HostBits(net)) = found
            && matches!(net.addr(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
        {
            let message =
                format!("`{text}` would hold for nothing: requests over IPv4 have IPv4 addresses");
            self.report(problem(message).help("write the IPv4 prefix"));
            return None;
        }
        found
            .map_err(|error| {
                let help = match error {
                    PrefixError::Malformed => {
                        "for example `10.0.0.0/8`, `2001:db8::/32`".to_owned()
                    }
                    PrefixError::HostBits(_) => error.help(),
                };
                self.report(problem(format!("`{text}` {error}")).help(help));
            })
            .ok()
    }

    /// A constant that an attribute can never have would be a condition that silently never holds, and a
    /// deny that never fires.
    pub(super) fn possible(
        &mut self,
        of: &Resolved,
        constant: Constant,
        span: &Span,
    ) -> Option<Constant> {
        let Constant::Text(text) = &constant else {
            return Some(constant);
        };
        let clients = &self.schema.clients;
        let (what, known): (_, Vec<&str>) = match of.attribute.path().as_str() {
            "scope" | "request.scope" | "subject.scope" if !Scopes::is_token(text) => {
                ("scope token", Vec::new())
            }
            "audience" if text.parse::<Audience>().is_err() => ("audience", Vec::new()),
            "client.id" if clients.iter().all(|client| client.id.as_str() != &**text) => {
                let ids = clients.iter().map(|client| client.id.as_str());
                ("client's id", ids.collect())
            }
            "client.names" if clients.iter().all(|client| !client.names.contains(text)) => {
                let names = clients.iter().flat_map(|client| &client.names);
                ("client's name", names.map(|name| &**name).collect())
            }
            _ => return Some(constant),
        };
        let problem = Diagnostic::error("E0207", format!("`{text}` is no {what}")).at(span);
        let same = clients.iter().find(|client| client.names.contains(text));
        let problem = match same {
            Some(client) => problem.help(format!("the client's id is `{}`", client.id)),
            None => problem.suggest(text, known),
        };
        self.report(problem);
        None
    }

    pub(super) fn constant(&mut self, literal: &Spanned<Literal>, ty: Type) -> Option<Constant> {
        match (&literal.value, ty) {
            (Literal::String(text), Type::String) => Some(Constant::Text(Arc::clone(text))),
            (Literal::String(text), Type::Name(names)) => {
                self.name(text, names, &literal.span).map(Constant::Text)
            }
            (Literal::String(text), Type::Uri) => self.uri(text, &literal.span).map(Constant::Uri),
            (Literal::Duration(duration), Type::Duration) => Some(Constant::Int(duration.seconds)),
            (Literal::Instant(instant, _), Type::Instant) => Some(Constant::Int(*instant)),
            (Literal::String(text), Type::Ip) => match text.parse::<IpAddr>() {
                Ok(ip) => Some(Constant::Ip(ip.to_canonical())),
                Err(_) => {
                    let message = format!("`{text}` is no IP address");
                    let problem = Diagnostic::error("E0212", message).at(&literal.span);
                    self.report(problem.help("for a prefix, write `in [\"10.0.0.0/8\"]`"));
                    None
                }
            },
            (Literal::Int(number), Type::Int) => Some(Constant::Int(*number)),
            (Literal::Bool(truth), Type::Bool) => Some(Constant::Bool(*truth)),
            (other, ty) => {
                let found = match other {
                    Literal::String(_) => "string",
                    Literal::Int(_) => "int",
                    Literal::Bool(_) => "bool",
                    Literal::Duration(_) => "duration",
                    Literal::Instant(..) => "instant",
                };
                let help = match ty {
                    Type::Duration => Some("write a duration: `30s`, `5m`, `12h`, `7d`"),
                    Type::Instant => Some("write an instant: `2026-12-01T08:00:00Z`"),
                    Type::Int if matches!(other, Literal::String(_)) => {
                        Some("write it without quotes")
                    }
                    Type::String | Type::Uri | Type::Ip | Type::Name(_) => {
                        Some("write it in double quotes")
                    }
                    _ => None,
                };
                let message = format!("expected type {}, found {found}", ty.name());
                let problem = Diagnostic::error("E0202", message).at(&literal.span);
                self.report(match help {
                    Some(help) => problem.help(help),
                    None => problem,
                });
                None
            }
        }
    }

    /// A misspelled name would be a condition that silently never holds.
    pub(super) fn name(&mut self, text: &Arc<str>, names: Names, span: &Span) -> Option<Arc<str>> {
        let known: Vec<&str> = match names {
            Names::Issuer => self
                .schema
                .issuers
                .iter()
                .map(|issuer| issuer.alias.as_str())
                .collect(),
            Names::HopIssuer => {
                let issuers = self.schema.issuers.iter();
                issuers
                    .map(|issuer| issuer.alias.as_str())
                    .chain([Hop::UNKNOWN])
                    .collect()
            }
            Names::AuthMethod => self.schema.auth_methods.clone(),
            Names::GrantType => self.schema.grant_types.clone(),
            Names::TokenType => match TokenType::from_name(text) {
                // A registered type is called by its short name, whichever way it was written.
                Ok(token_type) => return Some(Arc::from(token_type.name())),
                Err(_) => TokenType::names().collect(),
            },
        };
        if known.contains(&&**text) {
            return Some(Arc::clone(text));
        }
        let problem = Diagnostic::error(
            "E0207",
            format!("`{text}` is no {}", Type::Name(names).name()),
        );
        self.report(problem.at(span).suggest(text, known));
        None
    }
}
