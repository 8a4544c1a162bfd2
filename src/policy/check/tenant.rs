//! Shared issuers: a rule must fix the tenant whose tokens it takes.
//!
//! One issuer speaks for every customer of a platform (CI services, cloud directories). Its signature says
//! that a token is genuine, not that it is from the right customer: only a claim says that.

use std::sync::Arc;

use super::{Checker, OF_ACTORS, Parties};
use crate::diagnostic::Diagnostic;
use crate::oauth::id::IssuerAlias;
use crate::policy::rule::{Condition, Test};
use crate::policy::schema::{ACTOR_CLAIMS, AttributeRef, CLAIMS, Value};
use crate::policy::syntax::ast;

impl Checker<'_> {
    pub(super) fn tenants(
        &mut self,
        when: Option<&Condition>,
        parties: &Parties,
        item: &ast::Rule,
    ) {
        let Some(when) = when else { return };
        let schema = self.schema;
        let subjects = parties.subject.iter().map(|index| (index, CLAIMS));
        let actors = parties
            .actor
            .iter()
            .flatten()
            .map(|index| (index, ACTOR_CLAIMS));
        for (index, family) in subjects.chain(actors) {
            let Some(issuer) = schema.issuers.get(*index) else {
                continue;
            };
            let Some(first) = issuer.tenancy.first() else {
                continue;
            };
            if !fixes(when, &issuer.alias, family, &issuer.tenancy) {
                let message = format!(
                    "`{}` gives tokens to many tenants, and this rule does not say whose it takes",
                    issuer.alias
                );
                let problem = Diagnostic::error("E0401", message).at(&item.name.span);
                let help = format!("say it: `when {family}{first} == \"…\"`, or `in [..]`");
                self.report(problem.help(help));
            }
        }
    }
}

/// Whether a condition holds for tokens of this issuer only where one of the claims is a constant.
fn fixes(condition: &Condition, issuer: &IssuerAlias, family: &str, claims: &[Arc<str>]) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().any(|part| fixes(part, issuer, family, claims)),
        Condition::Any(parts) => {
            !parts.is_empty() && parts.iter().all(|part| fixes(part, issuer, family, claims))
        }
        Condition::Atom(atom) if atom.left.default.is_some() => false,
        Condition::Atom(atom) => match (&atom.left.attribute, &atom.test, atom.negated) {
            (AttributeRef::Claim(name), Test::Equals(_) | Test::In(_), false) => {
                family == CLAIMS && claims.contains(name)
            }
            (AttributeRef::ActorClaim(name), Test::Equals(_) | Test::In(_), false) => {
                family == ACTOR_CLAIMS && claims.contains(name)
            }
            // Without an actor token there is none of a wrong tenant.
            (AttributeRef::Fixed(attribute), Test::Present, true) => {
                family == ACTOR_CLAIMS && OF_ACTORS.contains(&attribute.path)
            }
            // Of other issuers altogether.
            (AttributeRef::Fixed(attribute), test, negated) => {
                let party = match family == CLAIMS {
                    true => "subject.issuer",
                    false => "actor.issuer",
                };
                let this = Value::Text(issuer.as_str());
                let is = match test {
                    Test::Equals(other) => Some(other.value() == this),
                    Test::In(others) => Some(others.contains(this)),
                    _ => None,
                };
                attribute.path == party && is == Some(negated)
            }
            _ => false,
        },
    }
}
