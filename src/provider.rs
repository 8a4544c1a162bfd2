//! What carries an exchange out: kinds compiled in, and configured instances of them.
//!
//! A *factory* is a kind (`provider: mint`); a *provider* is its behaviour; a *processor* is a named
//! instance with its own configuration, over the defaults that the kind has in `providers:`. No
//! provider ever says whether it supports a request: the policy selects exactly one processor, and a
//! provider can only be called with the [`Permit`] that the policy made.

mod mint;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::jose::SigningKeys;
use crate::oauth::error::ErrorCode;
use crate::oauth::id::{Issuer, ProcessorId};
use crate::oauth::response::IssuedToken;
use crate::oauth::token_type::TokenType;
use crate::policy::Permit;
use crate::policy::schema::{ParameterSchema, ProcessorSchema};
use crate::section::{Seconds, Section};
use crate::services::Services;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What makes, fetches or converts a token.
pub trait Provider: Send + Sync + fmt::Debug {
    /// Carries out what was permitted.
    fn exchange<'a>(
        &'a self,
        permit: &'a Permit<'a>,
    ) -> BoxFuture<'a, Result<IssuedToken, ProviderError>>;
}

/// Why a provider issued nothing. There is no falling through to another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Signing or building the token failed: our own fault.
    #[error("the token could not be made: {0}")]
    Failed(String),
}

impl ProviderError {
    /// What the client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Failed(_) => ErrorCode::ServerError,
        }
    }
}

/// A kind of provider.
pub struct ProviderFactory {
    /// `provider:` in configuration.
    pub kind: &'static str,
    /// One line for the reference.
    pub doc: &'static str,
    /// A configured instance, in YAML. A test builds it, the reference prints it.
    pub example: &'static str,
    /// What it takes and makes; a rule that admits more is a load error.
    pub capabilities: Capabilities,
    /// What a rule's `use` may pass.
    pub parameters: &'static [ParameterSchema],
    /// Builds an instance. Pure: no network, no thread.
    pub build: fn(&mut Section, &Material<'_>, &mut Diagnostics) -> Option<Arc<dyn Provider>>,
}

impl fmt::Debug for ProviderFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

/// What a kind of provider can do.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// The subject token types that it takes.
    pub accepts: &'static [TokenType],
    /// The token types that it makes.
    pub issues: &'static [TokenType],
    /// Whether what it makes can carry a scope.
    pub carries_scope: bool,
    /// Whether what it makes can say who acts (`act`, `may_act`; RFC 8693 §4).
    pub carries_act: bool,
}

/// What a factory may build from, besides its own configuration.
#[derive(Debug)]
pub struct Material<'a> {
    /// The process's services.
    pub services: &'a Services,
    /// The realm's issuer identifier.
    pub issuer: &'a Issuer,
    /// The realm's signing keys.
    pub keys: &'a SigningKeys,
}

/// All kinds of this build.
pub static FACTORIES: &[&ProviderFactory] = &[&mint::FACTORY];

/// The default lifetime of what is issued, in seconds.
const LIFETIME: i64 = 60;
/// The default ceiling of lifetimes, in seconds.
const MAX_LIFETIME: i64 = 3600;

/// A configured provider instance.
#[derive(Debug)]
pub struct Processor {
    /// Its name.
    pub id: ProcessorId,
    /// Its kind.
    pub kind: &'static str,
    /// Its behaviour.
    pub provider: Arc<dyn Provider>,
    /// What policies know of it.
    pub schema: ProcessorSchema,
}

/// The processors of a realm.
pub type ProcessorSet = BTreeMap<ProcessorId, Arc<Processor>>;

/// Finds a kind.
pub fn factory(kind: &str) -> Option<&'static ProviderFactory> {
    FACTORIES
        .iter()
        .find(|factory| factory.kind == kind)
        .copied()
}

/// Builds a processor from its configuration; `section` has the kind's defaults merged in. Without
/// material (the realm's keys or issuer are at fault) what needs none is checked all the same.
pub fn processor(
    id: ProcessorId,
    factory: &'static ProviderFactory,
    mut section: Section,
    material: Option<&Material<'_>>,
    problems: &mut Diagnostics,
) -> Option<Processor> {
    let span = section.span.clone();
    let mut seconds = |key, default| {
        let Some(node) = section.take(key) else {
            section.falls_back(key, Seconds(default));
            return default;
        };
        let read = node.parse::<Seconds>(problems);
        read.map_or(default, |seconds| seconds.0)
    };
    let lifetime = seconds("lifetime", LIFETIME);
    let max_lifetime = seconds("max_lifetime", MAX_LIFETIME);
    if lifetime < 1 || max_lifetime < lifetime {
        let message = format!(
            "`lifetime` ({lifetime}s) must be at least 1s and at most `max_lifetime` ({max_lifetime}s)"
        );
        problems.push(Diagnostic::error("E1006", message).at(&span));
    }
    let provider = (factory.build)(&mut section, material?, problems);
    section.finish(problems);
    let schema = ProcessorSchema {
        accepts: factory.capabilities.accepts.to_vec(),
        issues: factory.capabilities.issues.to_vec(),
        carries_scope: factory.capabilities.carries_scope,
        carries_act: factory.capabilities.carries_act,
        parameters: factory.parameters,
        lifetime,
        max_lifetime,
    };
    Some(Processor {
        id,
        kind: factory.kind,
        provider: provider?,
        schema,
    })
}
