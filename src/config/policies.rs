//! `policies:`: the policy files, parsed, checked, and bound to the realm's processors.

use std::sync::Arc;

use super::Sources;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::schema::Schema;
use crate::policy::syntax::ast::File;
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
    for node in patterns.list() {
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
            if !name.ends_with(".policy") {
                let message = format!("`{name}` does not end in `.policy`");
                problems.push(Diagnostic::error("E1007", message).at(&node.span));
            } else if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut files = Vec::new();
    for name in &names {
        let Some(text) = sources.text(name, None, problems) else {
            continue;
        };
        match policy::parse(&Arc::from(name.as_str()), &text) {
            Ok(file) => files.push(file),
            Err(found) => problems.extend(found),
        }
    }
    files
}

/// Checks the files and replaces the processors' names with the processors.
pub(super) fn compile(
    files: &[File],
    schema: &Schema,
    processors: &ProcessorSet,
    problems: &mut Diagnostics,
) -> Option<PolicySet<Arc<Processor>>> {
    match policy::check(files, schema) {
        Ok((set, warnings)) => {
            problems.extend(warnings);
            match set.resolve(|id| processors.get(id).cloned()) {
                Ok(set) => Some(set),
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
