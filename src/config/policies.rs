//! `policies:`: the policy files, parsed, checked, and bound to the realm's processors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Sources, spelling};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::jose::{sha256, sha256_base64url};
use crate::oauth::id::ProcessorId;
use crate::policy::prove::{Verdicts, prove};
use crate::policy::schema::Schema;
use crate::policy::syntax::ast::{File, Item};
use crate::policy::syntax::print;
use crate::policy::trial::{self, Trial};
use crate::policy::{self, PolicySet};
use crate::provider::{Processor, ProcessorSet};
use crate::section::Section;

/// Reads and parses every file that the patterns name; each pattern must name one at least. Gives the
/// files that parsed.
pub(super) fn files(
    root: &mut Section,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Vec<File> {
    let Some(patterns) = root.require("policies", problems) else {
        return Vec::new();
    };
    let mut names: Vec<String> = Vec::new();
    let span = patterns.span.clone();
    let patterns = patterns.list();
    if patterns.is_empty() {
        problems.push(Diagnostic::error("E1005", "`policies` names no file").at(&span));
    }
    for node in patterns {
        let Some(pattern) = node.text(problems) else {
            continue;
        };
        let found = sources.glob(&pattern, &node.span, problems);
        if found.is_empty() {
            let problem =
                Diagnostic::error("E1007", format!("no file matches `{pattern}`")).at(&node.span);
            problems.push(problem.help("without a policy every exchange would be refused"));
        }
        for name in found {
            if !is_policy(&name) {
                let message = format!("`{name}` ends neither in `.policy` nor in `.policy.yaml`");
                problems.push(Diagnostic::error("E1007", message).at(&node.span));
            } else if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    manifest(&names, sources, problems);
    let mut files = Vec::new();
    for name in &names {
        let file = sources.label(name);
        let whole = Span::new(&file, 0..0);
        let Some(text) = sources.text(name, Some(&whole), problems) else {
            continue;
        };
        let parsed = match name.ends_with(YAML) {
            true => spelling::read(&file, &text),
            false => policy::parse(&file, &text),
        };
        match parsed {
            Ok(file) => files.push(file),
            Err(found) => problems.extend(found),
        }
    }
    files
}

/// How the files of the YAML spelling end.
const YAML: &str = ".policy.yaml";

/// Whether a file may hold a policy.
pub(super) fn is_policy(name: &str) -> bool {
    name.ends_with(".policy") || name.ends_with(YAML)
}

/// Where this file stands beside the others (`sha256sum *.policy > policies.sha256`), every policy file
/// must be in it with its hash, and every file in it must be loaded: a set that is only half written is
/// never taken, however sound it looks.
pub const MANIFEST: &str = "policies.sha256";

fn manifest(names: &[String], sources: &mut Sources, problems: &mut Diagnostics) {
    if !sources.path(MANIFEST).exists() {
        return;
    }
    let file = sources.label(MANIFEST);
    let whole = Span::new(&file, 0..0);
    let Some(text) = sources.text(MANIFEST, Some(&whole), problems) else {
        return;
    };
    let mut listed: BTreeMap<&str, &str> = BTreeMap::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let span = Span::new(&file, start..start + line.trim_end().len());
        start += line.len();
        let Some((hash, name)) = line.trim_end().split_once(' ') else {
            let message = "this line is not `HASH  NAME` as sha256sum writes it";
            problems.push(Diagnostic::error("E1016", message).at(&span));
            continue;
        };
        let name = name.trim_start_matches([' ', '*']);
        listed.insert(name, hash);
        if !names.iter().any(|loaded| loaded == name) {
            let message = format!("`{name}` is in the manifest, but not loaded");
            problems.push(Diagnostic::error("E1016", message).at(&span));
        }
    }
    for name in names {
        let policy = Span::new(&sources.label(name), 0..0);
        let Some(bytes) = sources.bytes(name, Some(&policy), problems) else {
            continue;
        };
        let hash: String = sha256(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let message = match listed.get(name.as_str()) {
            None => format!("`{name}` is not in the manifest"),
            Some(wanted) if *wanted != hash => format!(
                "`{name}` is not the file that the manifest names: it is half written, or the manifest is old"
            ),
            Some(_) => continue,
        };
        let problem = Diagnostic::error("E1016", message).at(&whole);
        problems.push(
            problem.help("write the files first, then `sha256sum *.policy > policies.sha256`"),
        );
    }
}

/// What every item of the files says, hashed, by what it is called: comments and layout are no part of it.
pub(super) fn items(files: &[File]) -> BTreeMap<String, String> {
    let mut items = BTreeMap::new();
    for file in files {
        for item in &file.items {
            let module = &file.module.value;
            let name = match item {
                Item::Rule(rule) => format!("{module}.{}", rule.name.value),
                Item::List(list) => format!("{module}.{}", list.name.value),
                Item::Def(def) => format!("{module}.{}", def.name.value),
                Item::Test(test) => format!("{module} test \"{}\"", test.name.value),
                Item::Proof(proof) => format!("{module} prove \"{}\"", proof.name.value),
            };
            items.insert(name, sha256_base64url(print::item(item).as_bytes()));
        }
    }
    items
}

/// Rules that select processors, the tests that stand beside them, and what was proved.
pub(super) type Compiled = (PolicySet<Arc<Processor>>, Vec<Trial>, Verdicts);

/// `accept_unknown: [NAME]`: questions that may stay without an answer.
pub(super) fn accepted(root: &mut Section, problems: &mut Diagnostics) -> BTreeSet<String> {
    let Some(node) = root.take("accept_unknown") else {
        return BTreeSet::new();
    };
    let names = node.list();
    names
        .iter()
        .filter_map(|node| node.text(problems))
        .map(|name| name.to_string())
        .collect()
}

/// Checks the files, proves what must hold of them, and replaces the processors' names with the processors.
pub(super) fn compile(
    files: &[File],
    schema: &Schema,
    processors: &ProcessorSet,
    accepted: &BTreeSet<String>,
    before: Option<&Verdicts>,
    problems: &mut Diagnostics,
) -> Option<Compiled> {
    let trials = trial::prepare(files, schema).map_err(|found| problems.extend(found));
    match policy::check(files, schema) {
        Ok((set, warnings)) => {
            problems.extend(warnings);
            let proved = prove(&set, schema, &ProcessorId::to_string, accepted, before);
            let sound = !proved.findings.has_errors();
            problems.extend(proved.findings);
            if !sound {
                return None;
            }
            match set.resolve(|id| processors.get(id).cloned()) {
                Ok(set) => Some((set, trials.ok()?, proved.verdicts)),
                Err(missing) => {
                    for id in missing {
                        problems.push(Diagnostic::error(
                            "E0207",
                            format!("no processor is called `{id}`"),
                        ));
                    }
                    None
                }
            }
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}
