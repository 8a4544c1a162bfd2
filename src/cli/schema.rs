//! `cambist schema`: the JSON Schema of cambist.yaml.

use super::{Exit, GOOD, say};
use crate::config::schema::json_schema;

/// Print the JSON Schema (2020-12) of cambist.yaml, for editors.
///
/// It says which keys there are, what each takes, and what holds where it is not written. What it cannot say, such
/// as whether a file is there, `cambist check` does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  cambist schema > cambist.schema.json

and at the top of cambist.yaml, for editors with the YAML language server:
  # yaml-language-server: $schema=cambist.schema.json")]
pub(super) struct Schema {}

pub(super) fn run(_verb: &Schema) -> Exit {
    say(&format!("{:#}\n", json_schema()))?;
    Ok(GOOD)
}
