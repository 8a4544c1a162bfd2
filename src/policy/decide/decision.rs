//! What comes out of a decision.

use std::sync::Arc;

use super::allowance::{Allowance, Parameters};
use crate::context::ExchangeContext;
use crate::diagnostic::Span;
use crate::oauth::error::ErrorCode;
use crate::oauth::id::RuleId;

/// The outcome.
#[derive(Debug)]
pub enum Decision<'a, P> {
    /// This processor, within these bounds.
    Permit(&'a P, Permit<'a>),
    /// Nothing is issued.
    Deny(Denial),
}

impl<'a, P> Decision<'a, P> {
    /// The permit, or the denial as an error.
    ///
    /// # Errors
    /// The denial.
    pub fn permitted(self) -> Result<(&'a P, Permit<'a>), Denial> {
        match self {
            Self::Permit(processor, permit) => Ok((processor, permit)),
            Self::Deny(denial) => Err(denial),
        }
    }
}

/// Leave to issue one token. Made by [`decide`](super::PolicySet::decide), nowhere else; a provider can
/// only be called with one.
#[derive(Debug)]
pub struct Permit<'a> {
    pub(super) rule: &'a RuleId,
    pub(super) span: &'a Span,
    pub(super) beyond_subject: bool,
    pub(super) allowance: Allowance,
    pub(super) parameters: Parameters,
    pub(super) context: &'a ExchangeContext,
}

impl<'a> Permit<'a> {
    /// The rule that permits.
    #[must_use]
    pub fn rule(&self) -> &'a RuleId {
        self.rule
    }

    /// Where that rule stands.
    #[must_use]
    pub fn span(&self) -> &'a Span {
        self.span
    }

    /// Whether the rule grants past the subject's own scope (`beyond subject`).
    #[must_use]
    pub fn beyond_subject(&self) -> bool {
        self.beyond_subject
    }

    /// The most that may be issued.
    #[must_use]
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// The processor's own parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The context that was decided.
    #[must_use]
    pub fn context(&self) -> &'a ExchangeContext {
        self.context
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What the client is told.
    pub code: ErrorCode,
    /// Why.
    pub reason: Reason,
    /// The rule that refused, or whose permit could not be carried out, and where it stands.
    pub rule: Option<(RuleId, Span)>,
    /// Its `because`.
    pub because: Option<Arc<str>>,
    /// Its `tell`: the only text of a policy that a client sees.
    pub tell: Option<Arc<str>>,
}

impl Denial {
    /// No rule was left at this stage.
    pub(super) fn by_no_rule(stage: Stage) -> Self {
        Self {
            code: stage.code(),
            reason: Reason::NoRule(stage),
            rule: None,
            because: None,
            tell: None,
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// By these denies; the first one's code is the answer.
    DeniedBy(Vec<RuleId>),
    /// At this stage no rule was left.
    NoRule(Stage),
    /// These rules match and select different outcomes.
    Ambiguous(Vec<RuleId>),
    /// Scope was asked for and none of it may be granted.
    NothingGranted,
    /// The subject token ends to be valid within a second.
    SubjectExpires,
    /// The actor token does.
    ActorExpires,
    /// The subject's name begins as those that a rule gives to others.
    SubjectTaken,
    /// With one more actor, the chain of actors would be longer than may be.
    ChainTooLong,
    /// A template's value holds the character that separates it from what follows.
    Template(&'static str),
}

impl Reason {
    /// The rules that it names.
    #[must_use]
    pub fn rules(&self) -> &[RuleId] {
        match self {
            Self::DeniedBy(rules) | Self::Ambiguous(rules) => rules,
            Self::NoRule(_)
            | Self::NothingGranted
            | Self::SubjectExpires
            | Self::ActorExpires
            | Self::SubjectTaken
            | Self::ChainTooLong
            | Self::Template(_) => &[],
        }
    }

    /// A word for logs and metrics, from a closed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeniedBy(_) => "denied",
            Self::NoRule(stage) => stage.reason(),
            Self::Ambiguous(_) => "ambiguous",
            Self::NothingGranted => "nothing_granted",
            Self::SubjectExpires => "subject_expires",
            Self::ActorExpires => "actor_expires",
            Self::SubjectTaken => "subject_taken",
            Self::ChainTooLong => "chain_too_long",
            Self::Template(_) => "template_value",
        }
    }
}

/// The stages of the funnel, in order. A refusal's code is that of the first stage at which no rule
/// is left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// `by`.
    Client,
    /// `from`.
    Issuer,
    /// `actor`.
    Actor,
    /// `to`.
    Targets,
    /// The conditions on scope alone.
    Scope,
    /// `via`, `issue` and the other conditions.
    Rest,
}

impl Stage {
    /// The code of a refusal at this stage, for the token exchange grant.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Client => ErrorCode::UnauthorizedClient,
            Self::Issuer | Self::Actor | Self::Rest => ErrorCode::InvalidRequest,
            Self::Targets => ErrorCode::InvalidTarget,
            Self::Scope => ErrorCode::InvalidScope,
        }
    }

    /// The one after it.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Client => Self::Issuer,
            Self::Issuer => Self::Actor,
            Self::Actor => Self::Targets,
            Self::Targets => Self::Scope,
            Self::Scope | Self::Rest => Self::Rest,
        }
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Issuer => "issuer and token type",
            Self::Actor => "actor",
            Self::Targets => "targets",
            Self::Scope => "scope",
            Self::Rest => "other conditions",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Client => "no_rule_for_client",
            Self::Issuer => "no_rule_for_issuer",
            Self::Actor => "no_rule_for_actor",
            Self::Targets => "no_rule_for_target",
            Self::Scope => "no_rule_for_scope",
            Self::Rest => "no_rule",
        }
    }
}
