//! `cambist test --generate`: tests at the boundaries of the rules, as a policy file.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::{Exit, GOOD, RealmDirectory, complain, could_not, loaded, say, services};
use crate::oauth::id::RuleId;
use crate::policy::generate::{blocks, file, representatives};
use crate::provider::Processor;
use crate::snapshot::Realm;

/// The module of what is written where no module was named.
const MODULE: &str = "generated";

/// Where generated tests go, and of which rules.
#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// Print tests at the boundaries of the rules, as a policy file of their own: for each rule and deny a request
    /// that it decides, and for rules those that miss it by one thing, with what the policies make of them now.
    #[arg(long, conflicts_with_all = ["filter", "coverage", "threshold", "format"])]
    generate: bool,
    /// Only for the rules and denies of this module.
    #[arg(long, value_name = "NAME", requires = "generate")]
    module: Option<String>,
    /// Write them to a new file.
    #[arg(long, value_name = "FILE", requires = "generate")]
    output: Option<PathBuf>,
    /// Replace that file where it is there.
    #[arg(long, requires = "output")]
    force: bool,
}

impl Generate {
    pub(super) fn asked(&self) -> bool {
        self.generate
    }

    pub(super) fn run(&self, directory: &RealmDirectory) -> Exit {
        let services = services()?;
        let snapshot = loaded(&directory.dir, &services, directory.realm.as_deref())?;
        let realm = directory.one(&snapshot, None)?;
        let text = self.text(realm)?;
        match &self.output {
            None => say(&text)?,
            Some(path) => {
                let mut options = OpenOptions::new();
                options.write(true);
                match self.force {
                    true => options.create(true).truncate(true),
                    false => options.create_new(true),
                };
                let written = options
                    .open(path)
                    .and_then(|mut file| file.write_all(text.as_bytes()));
                written.map_err(|error| {
                    let code = could_not(format!("cannot write {}: {error}", path.display()));
                    if error.kind() == ErrorKind::AlreadyExists {
                        complain("help: `--force` replaces it\n");
                    }
                    code
                })?;
            }
        }
        Ok(GOOD)
    }

    fn text(&self, realm: &Realm) -> Result<String, u8> {
        let set = &realm.policies;
        let (mut found, mut missing) = representatives(set, &realm.schema);
        let of_module = |id: &RuleId| self.module.as_ref().is_none_or(|name| *id.module == **name);
        found.retain(|one| of_module(&one.rule));
        missing.retain(of_module);
        if let Some(name) = self
            .module
            .as_ref()
            .filter(|_| found.is_empty() && missing.is_empty())
        {
            return Err(could_not(format!("no module `{name}` has a rule")));
        }
        let name = |processor: &Arc<Processor>| processor.id.to_string();
        let generated = blocks(set, &realm.schema, &found, name);
        for id in &missing {
            complain(&format!("note: no request was found that {id} decides\n"));
        }
        for (test, reason) in &generated.left_out {
            complain(&format!("note: left out `{test}`: {reason}\n"));
        }
        if generated.tests.is_empty() {
            return Err(could_not(
                "there is no rule that a test could be written for",
            ));
        }
        let module = self.module.as_deref().unwrap_or(MODULE);
        Ok(file(&format!("{module}-tests"), generated.tests))
    }
}
