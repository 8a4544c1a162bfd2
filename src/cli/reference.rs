//! `cambist reference [CODE]`: what every code of a finding means, and what each preset says.

use super::{COULD_NOT, Exit, GOOD, complain, could_not, say};
use crate::config::PRESETS;
use crate::diagnostic::close;
use crate::diagnostic::codes::{self, CODES};

/// List the codes of findings, or explain one; `presets` lists the presets of issuers, and a preset's name
/// shows it.
#[derive(Debug, clap::Args)]
pub(super) struct Reference {
    /// The code, for example E0204, or a preset, for example `keycloak`; without one, all codes are listed.
    code: Option<String>,
}

pub(super) fn run(verb: &Reference) -> Exit {
    let Some(written) = &verb.code else {
        let lines = CODES.iter();
        let lines = lines.map(|entry| format!("{}  {}\n", entry.code, entry.title));
        say(&lines.collect::<String>())?;
        return Ok(GOOD);
    };
    if let Some(found) = codes::find(&written.to_uppercase()) {
        say(found.page)?;
        return Ok(GOOD);
    }
    if written == "presets" {
        let lines = PRESETS.iter().map(|preset| format!("{}\n", preset.name));
        say(&lines.collect::<String>())?;
        return Ok(GOOD);
    }
    if let Some(preset) = PRESETS.iter().find(|preset| preset.name == written) {
        say(preset.text)?;
        return Ok(GOOD);
    }
    let _ = could_not(format!("no finding has the code `{written}`"));
    let known: Vec<&str> = CODES.iter().map(|entry| entry.code).collect();
    if let Some((_, first)) = close(written, &known).first() {
        complain(&format!("help: did you mean `{first}`?\n"));
    }
    complain("help: `cambist reference` lists all codes\n");
    Err(COULD_NOT)
}
