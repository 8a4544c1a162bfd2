//! `providers:` and `processors:`: kinds with their defaults, and named instances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::oauth::id::ProcessorId;
use crate::provider::{self, FACTORIES, Material, ProcessorSet};
use crate::section::Section;

/// `providers:`: what every processor of a kind has unless it says otherwise.
pub(super) fn defaults(
    root: &mut Section,
    problems: &mut Diagnostics,
) -> BTreeMap<&'static str, Section> {
    let mut out = BTreeMap::new();
    let Some(section) = root.section("providers", problems) else {
        return out;
    };
    for (key, node) in section.into_entries() {
        match provider::factory(&key.name) {
            Some(factory) => {
                if let Some(section) = node.section_of(&key, problems) {
                    out.insert(factory.kind, section);
                }
            }
            None => unknown_kind(&key.name, &key.span, problems),
        }
    }
    out
}

fn unknown_kind(kind: &str, span: &Span, problems: &mut Diagnostics) {
    let problem = Diagnostic::error(
        "E1006",
        format!("no provider is called `{kind}` in this build"),
    )
    .at(span);
    problems.push(problem.suggest(kind, FACTORIES.iter().map(|factory| factory.kind)));
}

/// Builds every processor; without material, what needs none is checked all the same.
pub(super) fn processors(
    root: &mut Section,
    defaults: &BTreeMap<&'static str, Section>,
    material: Option<&Material<'_>>,
    problems: &mut Diagnostics,
) -> ProcessorSet {
    let mut set = ProcessorSet::new();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let entries = root
        .section("processors", problems)
        .map(Section::into_entries)
        .unwrap_or_default();
    for (key, node) in entries {
        let id = crate::section::name::<ProcessorId>(&key, problems);
        let Some(mut section) = node.section_of(&key, problems) else {
            continue;
        };
        let Some(kind_node) = section.require("provider", problems) else {
            continue;
        };
        let Some(kind) = kind_node.text(problems) else {
            continue;
        };
        let Some(factory) = provider::factory(&kind) else {
            unknown_kind(&kind, &kind_node.span, problems);
            continue;
        };
        if let Some(inherited) = defaults.get(factory.kind) {
            section.inherit(inherited);
            used.insert(factory.kind);
        }
        let Some(id) = id else { continue };
        if let Some(processor) =
            provider::processor(id.clone(), factory, section, material, problems)
        {
            set.insert(id, Arc::new(processor));
        }
    }
    // Defaults that no processor uses are checked all the same: a typing error must not wait there.
    for (kind, section) in defaults.iter().filter(|(kind, _)| !used.contains(**kind)) {
        if let (Some(factory), Ok(id)) = (provider::factory(kind), "unused".parse()) {
            provider::processor(id, factory, section.clone(), material, problems);
        }
    }
    set
}
