//! z3 as a process that is asked through a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What a question may cost z3, in steps of its own: the same answer on every machine.
const STEPS: u64 = 4_000_000;

/// How it goes about it: everything into bits, and then a SAT solver, twice as fast as what z3 would choose.
const CHECK: &str = "(check-sat-using (then simplify propagate-values bit-blast sat))";

/// What z3 says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Something has it.
    Sat,
    /// Nothing has it.
    Unsat,
    /// It gave up.
    Unknown,
}

/// A z3 that runs.
#[derive(Debug)]
pub struct Solver {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Solver {
    /// Starts the one that `CAMBIST_SMT` names, which must be there then, else the one on the path.
    pub fn start() -> Option<Self> {
        let named = std::env::var_os("CAMBIST_SMT").and_then(|name| name.into_string().ok());
        let program = named.as_deref().unwrap_or("z3");
        let started = Command::new(program)
            .arg("-in")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = match (started, &named) {
            (Ok(process), _) => process,
            (Err(error), Some(named)) => panic!("CAMBIST_SMT=`{named}` cannot be run: {error}"),
            (Err(_), None) => return None,
        };
        let mut solver = Self {
            to: process.stdin.take().unwrap(),
            from: BufReader::new(process.stdout.take().unwrap()),
            process,
        };
        solver.say("(echo \"ready\")\n");
        assert_eq!(solver.line(), "ready", "`{program}` is no z3");
        Some(solver)
    }

    /// Whether all that is asserted can be.
    pub fn check(&mut self, script: &str) -> Answer {
        self.say(&format!(
            "(reset)\n(set-option :rlimit {STEPS})\n(set-logic QF_BV)\n{script}{CHECK}\n"
        ));
        let line = self.line();
        match line.as_str() {
            "sat" => Answer::Sat,
            "unsat" => Answer::Unsat,
            "unknown" => Answer::Unknown,
            _ => panic!("z3 says `{line}` of\n{script}"),
        }
    }

    /// What a question that something has is true of.
    pub fn model(&mut self, script: &str) -> String {
        self.say(&format!(
            "(reset)\n(set-logic QF_BV)\n{script}{CHECK}\n(get-model)\n(echo \"done\")\n"
        ));
        let lines = std::iter::from_fn(|| Some(self.line()).filter(|line| line != "done"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn say(&mut self, text: &str) {
        self.to.write_all(text.as_bytes()).unwrap();
        self.to.flush().unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.from.read_line(&mut line).unwrap();
        assert!(read > 0, "z3 stopped");
        line.trim_end().to_owned()
    }
}

impl Drop for Solver {
    fn drop(&mut self) {
        let _ = self.to.write_all(b"(exit)\n");
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
