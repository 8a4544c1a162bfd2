//! Proofs: what they claim, checked as far as words go. Whether it is true is asked elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::condition::{compared, positive};
use super::{Checker, Parties, no_rule, referenced, rule_id};
use crate::diagnostic::{Diagnostic, Span};
use crate::oauth::id::RuleId;
use crate::policy::rule::{Claim, ClaimKind, Condition, Constant, IssuedTest, Proof};
use crate::policy::schema::Type;
use crate::policy::syntax::ast::{self, Issued, ItemKind, Operand, Operator, Spanned, Text};

/// The rules and denies of all files, by name.
type Rules<'a> = BTreeMap<RuleId, &'a ast::Rule>;

impl<'a> Checker<'a> {
    /// Every proof of the files that says something that can be asked.
    pub(super) fn proofs(&mut self, files: &'a [ast::File]) -> Vec<Proof> {
        let rules: Rules<'a> = files
            .iter()
            .flat_map(|file| {
                let named = |rule| (rule_id(&file.module, rule), rule);
                file.rules().map(named)
            })
            .collect();
        let everybody = self.everybody();
        self.of_proof = true;
        let mut proofs = Vec::new();
        for (index, file) in files.iter().enumerate() {
            self.module = index;
            for proof in file.proofs() {
                proofs.extend(self.proof(&file.module, proof, &rules, &everybody));
            }
        }
        self.of_proof = false;
        proofs
    }

    fn proof(
        &mut self,
        module: &Text,
        proof: &'a ast::Proof,
        rules: &Rules<'a>,
        everybody: &Parties,
    ) -> Option<Proof> {
        self.item = Some(&proof.name.span);
        if proof.name.value.trim().is_empty() {
            self.cannot_be_asked(
                &proof.name.span,
                "a proof needs a name",
                "say in a few words what it shows",
            );
        }
        if proof.claims.is_empty() {
            self.cannot_be_asked(
                &proof.name.span,
                format!("proof `{}` claims nothing", proof.name.value),
                "write `never use … when …`, `always use … when …`, `never issue …`, `disjoint a, b` or `reachable all`",
            );
        }
        // Every claim is looked at, so that all problems are reported.
        let claims: Vec<Option<Claim>> = proof
            .claims
            .iter()
            .map(|claim| {
                self.tests = 0;
                let kind = self.claim(&claim.value, &claim.span, module, rules, everybody)?;
                let span = claim.span.clone();
                Some(Claim { span, kind })
            })
            .collect();
        Some(Proof {
            module: Arc::clone(&module.value),
            name: Arc::clone(&proof.name.value),
            span: proof.name.span.clone(),
            doc: proof.doc.clone(),
            claims: claims.into_iter().collect::<Option<_>>()?,
        })
    }

    fn cannot_be_asked(&mut self, at: &Span, message: impl Into<String>, help: &str) {
        let problem = Diagnostic::error("E0704", message).at(at);
        self.report(problem.help(help));
    }

    fn claim(
        &mut self,
        claim: &'a ast::Claim,
        span: &Span,
        module: &Text,
        rules: &Rules<'a>,
        everybody: &Parties,
    ) -> Option<ClaimKind> {
        match claim {
            ast::Claim::NeverUse { processor, when } => {
                let processor = self.processor(processor.as_ref());
                let when = self.claim_when(when.as_ref(), everybody, true);
                Some(ClaimKind::NeverUse {
                    processor: processor?,
                    when: when?,
                })
            }
            ast::Claim::AlwaysUse { processor, when } => {
                let processor = self.processor(processor.as_ref());
                let when = self.claim_when(Some(when), everybody, false);
                Some(ClaimKind::AlwaysUse {
                    processor: processor?,
                    when: when?,
                })
            }
            ast::Claim::NeverIssue {
                what,
                operator,
                right,
                when,
            } => {
                let what = self.issued(what, operator, right, everybody);
                let when = self.claim_when(when.as_ref(), everybody, true);
                Some(ClaimKind::NeverIssue {
                    what: what?,
                    when: when?,
                })
            }
            ast::Claim::Disjoint(names) => {
                let ids = self.rules_named(names, module, rules);
                if names.len() < 2 {
                    let message = "`disjoint` is said of two rules at least";
                    self.cannot_be_asked(span, message, "write `disjoint a, b`");
                    return None;
                }
                Some(ClaimKind::Disjoint(ids?))
            }
            ast::Claim::Reachable(None) => Some(ClaimKind::Reachable(None)),
            ast::Claim::Reachable(Some(names)) => {
                let ids = self.rules_named(names, module, rules)?;
                Some(ClaimKind::Reachable(Some(ids)))
            }
        }
    }

    /// The processor that a claim speaks of, if it speaks of one.
    fn processor(&mut self, name: Option<&Text>) -> Option<Option<Arc<str>>> {
        let Some(name) = name else {
            return Some(None);
        };
        if let Some((key, _)) = self.schema.processors.get_key_value(&*name.value) {
            return Some(Some(Arc::clone(key)));
        }
        let known = self.schema.processors.keys().map(|known| &**known);
        let message = format!("no processor is called `{}`", name.value);
        let problem = Diagnostic::error("E0207", message).at(&name.span);
        self.report(problem.suggest(&name.value, known));
        None
    }

    fn claim_when(
        &mut self,
        when: Option<&'a ast::Condition>,
        everybody: &Parties,
        refuses: bool,
    ) -> Option<Condition> {
        match when {
            None => Some(Condition::always()),
            Some(when) => self.of_any_request(when, everybody, refuses),
        }
    }

    fn issued(
        &mut self,
        what: &Spanned<Issued>,
        operator: &Spanned<Operator>,
        right: &'a Operand,
        everybody: &Parties,
    ) -> Option<IssuedTest> {
        let (word, form) = match what.value {
            Issued::Lifetime => return self.lifetime(operator, right),
            Issued::Scope => ("scope", IssuedTest::Scope as fn(_) -> _),
            Issued::Audience => ("audience", IssuedTest::Audience as fn(_) -> _),
        };
        let of_sets = matches!(
            operator.value,
            Operator::Has | Operator::HasAnyOf | Operator::HasAllOf | Operator::Only
        );
        let is_list = matches!(right, Operand::List(..) | Operand::ListName(_));
        let equals = matches!(operator.value, Operator::Equal | Operator::NotEqual);
        if of_sets || (equals && is_list) {
            let message = format!("`never issue {word}` looks at each {word} by itself");
            let help = format!(
                "write `never issue {word} == \"x\"`, `in [\"x\", \"y\"]` or `like \"x:**\"`"
            );
            self.cannot_be_asked(&operator.span, message, &help);
            return None;
        }
        self.member_like(word, operator, right, everybody).map(form)
    }

    fn lifetime(&mut self, operator: &Spanned<Operator>, right: &Operand) -> Option<IssuedTest> {
        let (positive, complement) = positive(operator.value);
        let comparison = compared(positive).filter(|_| !complement);
        let (Some(comparison), Operand::Literal(literal)) = (comparison, right) else {
            let message = "a lifetime is compared with a duration";
            let help = "write `never issue lifetime > 10m`";
            self.cannot_be_asked(&operator.span, message, help);
            return None;
        };
        match self.constant(literal, Type::Duration)? {
            Constant::Int(seconds) => Some(IssuedTest::Lifetime(comparison, seconds)),
            Constant::Text(_) | Constant::Bool(_) | Constant::Uri(_) | Constant::Ip(_) => None,
        }
    }

    /// The rules that a claim names. A deny is none: it is never selected, and may overlap as it likes.
    fn rules_named(
        &mut self,
        names: &[Text],
        module: &Text,
        rules: &Rules<'a>,
    ) -> Option<Vec<RuleId>> {
        let mut seen: BTreeMap<RuleId, &Span> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for name in names {
            let id = referenced(module, &name.value);
            if let Some(first) = seen.insert(id.clone(), &name.span) {
                let message = format!("`{}` is listed twice", name.value);
                let problem = Diagnostic::error("E0121", message).at(&name.span);
                self.report(problem.related(first, "first listed here"));
            }
            match rules.get(&id) {
                Some(rule) if rule.kind == ItemKind::Rule => {
                    found.insert(id);
                }
                Some(deny) => {
                    let message = format!("`{}` is a deny: no request selects it", name.value);
                    let problem = Diagnostic::error("E0704", message).at(&name.span);
                    let help = "what a deny keeps out is said so: `never use when CONDITION`";
                    self.report(problem.related(&deny.name.span, "this deny").help(help));
                }
                None => {
                    let known = rules.iter().filter(|(_, rule)| rule.kind == ItemKind::Rule);
                    let known = known.map(|(id, _)| id);
                    self.report(no_rule("E0207", &id, name, module, known));
                }
            }
        }
        let all = names.len() == found.len();
        all.then(|| {
            let written = names.iter().map(|name| referenced(module, &name.value));
            written.collect()
        })
    }
}
