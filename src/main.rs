//! The `cambist` program: argv → verb → exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    cambist::cli::run(cambist::cli::Arguments::parse())
}
