//! `cambist keys` and `cambist secret`; what is more than making one is in a file of its own.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Exit, GOOD, could_not, keys, rotate, say};
use crate::client::SaltedHash;
use crate::jose::{Algorithm, SigningKey, base64url, random};
use crate::oauth::secret::Secret;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a signing key: PKCS#8 PEM, on standard output or in a new file that only you can read.
    #[command(after_help = "Examples:
  cambist keys new --out as.pem
  cambist keys new --alg PS256 | kubectl create secret generic as --from-file=as.pem=/dev/stdin")]
    New {
        /// ES256, ES384, EdDSA, or one of RSA's: RS256, PS256, …
        #[arg(long, default_value = "ES256")]
        alg: Algorithm,
        /// The file to make; it must not be there yet.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Show the signing keys of a configuration, and what each is there for.
    List(keys::List),
    /// Make a new signing key and put it first; the present one goes on until verifiers know the new one.
    Rotate(rotate::Rotate),
}

#[derive(Debug, Subcommand)]
pub(super) enum Secrets {
    /// Draw a client secret and print it once, with the hash that belongs in cambist.yaml.
    New,
}

pub(super) fn keys(verb: &Keys) -> Exit {
    match verb {
        Keys::New { alg, out } => new_key(*alg, out.as_deref()),
        Keys::List(verb) => keys::run(verb),
        Keys::Rotate(verb) => rotate::run(verb),
    }
}

fn new_key(alg: Algorithm, out: Option<&Path>) -> Exit {
    let pem = SigningKey::generate_pem(alg).map_err(could_not)?;
    let Some(path) = out else {
        say(&pem)?;
        return Ok(GOOD);
    };
    match write_private(path, pem.as_bytes()) {
        Ok(()) => {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            // A file says that a key is RSA's, but not for which of its algorithms.
            let alg = match alg.is_rsa() && alg != Algorithm::RS256 {
                true => format!(", alg: {alg}"),
                false => String::new(),
            };
            say(&format!(
                "wrote {}\nin cambist.yaml, with the file beside it:  keys: [ {{ file: {name}{alg} }} ]\n",
                path.display()
            ))?;
            Ok(GOOD)
        }
        Err(error) => Err(could_not(format!(
            "cannot write {}: {error}",
            path.display()
        ))),
    }
}

pub(super) fn secret(verb: &Secrets) -> Exit {
    let Secrets::New = verb;
    let made = random::<32>()
        .map_err(|error| error.to_string())
        .and_then(|bytes| {
            let secret = Secret::new(base64url::encode(bytes));
            let hash = SaltedHash::new(&secret).map_err(|error| error.to_string())?;
            Ok((secret, hash))
        });
    match made {
        Ok((secret, hash)) => {
            say(&format!(
                "secret:        {}\nsecret_sha256: \"{hash}\"\n",
                secret.expose()
            ))?;
            Ok(GOOD)
        }
        Err(error) => Err(could_not(error)),
    }
}

/// Writes a new file that only its owner can read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
