//! What the tests run against: a whole gateway in this process, issuers that sign, and an
//! introspection endpoint that says what it is told to. The clock stands still at [`NOW`].

mod gateway;
mod http;
mod idp;
mod introspection;
pub mod random_policies;
mod site;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use cambist::config::{self, LoadError, Loaded, Tests};
use cambist::services::Services;
use cambist::snapshot::Snapshot;

pub use gateway::{Gateway, REALM, RULES, SECRET};
pub use http::{Answer, basic, call, form, head};
pub use idp::{Idp, claims, with, without};
pub use introspection::{Introspection, Reply};
pub use site::{Page, Site};

/// The time of the tests, 2026-09-21T14:13:20Z.
pub const NOW: i64 = 1_790_000_000;

/// The type of an access token, as a request spells it.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The type of a JWT, as a request spells it.
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// The type of an ID token, as a request spells it.
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// The type of a refresh token, as a request spells it.
pub const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
/// The grant type, as a request spells it.
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Loads a directory, all realms of it, and runs its tests.
pub fn whole(dir: &Path, services: &Services) -> Result<Snapshot, Box<LoadError>> {
    config::load(dir, services, None, Tests::Run).and_then(Loaded::whole)
}

/// Runs the binary in a directory: exit code, standard output, standard error.
pub fn cambist(inside: &Path, arguments: &[&str]) -> (i32, String, String) {
    cambist_reads(inside, arguments, "")
}

/// The same, with something on standard input.
pub fn cambist_reads(inside: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cambist"))
        .args(arguments)
        .current_dir(inside)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Whoever does not read it may have ended before.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}
