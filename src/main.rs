//! The `cambist` program: argv → verb → exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread::{Builder, JoinHandle};

use clap::Parser as _;

/// The stack that a verb has.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    let arguments = cambist::cli::Arguments::parse();
    // Not in the first thread. The parser of policies asks how much stack is left, and of the first thread musl
    // knows only what it has touched so far, which is too little to begin.
    let verb = Builder::new()
        .name("cambist".to_owned())
        .stack_size(STACK)
        .spawn(|| cambist::cli::run(arguments));
    match verb.map(JoinHandle::join) {
        Ok(Ok(code)) => code,
        // The panic has been told already.
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: cannot start a thread: {error}");
            ExitCode::from(2)
        }
    }
}
