//! `cambist completions SHELL` and `cambist man`: what the command line says of itself, for shells and for
//! `man`. Both come from the same definitions as `--help`.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Arguments, Exit, GOOD, could_not, say};

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist completions bash > ~/.local/share/bash-completion/completions/cambist
  cambist completions zsh > ~/.zfunc/_cambist        # with ~/.zfunc in $fpath
  cambist completions fish > ~/.config/fish/completions/cambist.fish")]
pub(super) struct Completions {
    /// The shell that reads them.
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page, or write one for each verb.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist man | man -l -
  cambist man --out ~/.local/share/man/man1")]
pub(super) struct Manual {
    /// The directory that takes the pages of the program and of all its verbs; it is made where it is missing.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(super) fn completions(verb: &Completions) -> Exit {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(verb.shell, &mut command, "cambist", &mut script);
    say(&String::from_utf8_lossy(&script))?;
    Ok(GOOD)
}

pub(super) fn manual(verb: &Manual) -> Exit {
    let mut command = Arguments::command().name("cambist");
    // Gives the verbs of verbs their full names, which their pages have.
    command.build();
    let Some(dir) = &verb.out else {
        let page = page(&command, "cambist").map_err(could_not)?;
        say(&String::from_utf8_lossy(&page))?;
        return Ok(GOOD);
    };
    std::fs::create_dir_all(dir)
        .map_err(|error| could_not(format!("cannot make `{}`: {error}", dir.display())))?;
    write(&command, "cambist", dir).map_err(could_not)?;
    Ok(GOOD)
}

/// The page of a command and those of its verbs, as `NAME.1`.
fn write(command: &Command, name: &str, dir: &Path) -> Result<(), String> {
    let path = dir.join(format!("{name}.1"));
    let written = page(command, name).and_then(|page| std::fs::write(&path, page));
    written.map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    for verb in command.get_subcommands().filter(|verb| is_page(verb)) {
        write(verb, &format!("{name}-{}", verb.get_name()), dir)?;
    }
    Ok(())
}

/// `help` only prints what the pages say.
fn is_page(verb: &Command) -> bool {
    verb.get_name() != "help" && !verb.is_hide_set()
}

fn page(command: &Command, name: &str) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let title = name.to_uppercase();
    Man::new(command.clone())
        .title(title)
        .source(format!("cambist {}", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    Ok(page)
}
