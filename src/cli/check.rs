//! `cambist check DIR`: loads it as `serve` would, and touches nothing else.

use super::{
    Directory, FINDINGS, GOOD, complain, complain_about, complain_about_load, could_not, say,
    services,
};
use crate::config;

/// Say everything that is wrong with a configuration directory.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    directory: Directory,
    /// Print findings as JSON on standard output.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: &Check) -> u8 {
    let services = match services() {
        Ok(services) => services,
        Err(code) => return code,
    };
    let dir = &verb.directory.dir;
    if !dir.is_dir() {
        let code = could_not(format!("`{}` is not a directory", dir.display()));
        complain("help: give the directory that holds cambist.yaml\n");
        return code;
    }
    match config::load(dir, &services, None) {
        Ok(snapshot) => {
            if verb.json {
                say(&format!(
                    "{:#}\n",
                    snapshot.warnings.to_json(&snapshot.sources)
                ));
                return GOOD;
            }
            complain_about(&snapshot.warnings, &snapshot.sources);
            let (rules, denies) = snapshot.realm.policies.counts();
            let plural = |count, one: &str, many: &str| {
                format!("{count} {}", if count == 1 { one } else { many })
            };
            say(&format!(
                "ok: {}, {}, {}, {}  {}\n",
                plural(rules, "rule", "rules"),
                plural(denies, "deny", "denies"),
                plural(snapshot.realm.clients.len(), "client", "clients"),
                plural(snapshot.warnings.counts().1, "warning", "warnings"),
                snapshot.hash
            ));
            GOOD
        }
        Err(error) => {
            if verb.json {
                say(&format!(
                    "{:#}\n",
                    error.diagnostics.to_json(&error.sources)
                ));
            } else {
                complain_about_load(&error);
            }
            FINDINGS
        }
    }
}
