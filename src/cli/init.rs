//! `cambist init [DIR]`: a configuration to begin with, which loads, passes its tests and serves.
//!
//! Nothing that is there is touched: either all files are made, or none.

mod files;
mod provider;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{
    COULD_NOT, Exit, GOOD, complain, complain_about_load, could_not, runtime, say, services,
};
use crate::client::SaltedHash;
use crate::config::{self, Loaded, Tests};
use crate::jose::{Algorithm, SigningKey, base64url, random};
use crate::oauth::secret::Secret;
use crate::services::Services;
use provider::Provider;

/// Make a configuration to begin with: cambist.yaml, a policy with a test, a signing key, a client.
///
/// It asks nothing and overwrites nothing. With `--from`, it reads the metadata of your identity provider and fills
/// in what that says.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist init my-gateway
  cambist init my-gateway --from https://sso.example.com/realms/corp
  cambist init my-gateway --from https://idp.example.com/.well-known/openid-configuration")]
pub(super) struct Init {
    /// The directory; it is made where it is missing.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The identity provider: its issuer identifier, or the URL of its metadata (RFC 8414, OpenID Connect
    /// Discovery).
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

/// A file to make.
pub(super) struct File {
    name: &'static str,
    text: String,
    /// Whether only its owner may read it.
    private: bool,
}

pub(super) fn run(verb: &Init) -> Exit {
    let services = services()?;
    let there = |name: &&str| fs::symlink_metadata(verb.dir.join(name)).is_ok();
    // A repository has one of its own.
    let keeps_ignored = there(&files::IGNORED);
    let in_the_way: Vec<&str> = files::NAMES
        .into_iter()
        .filter(|name| *name != files::IGNORED && there(name))
        .collect();
    if !in_the_way.is_empty() {
        return Err(refuse(&verb.dir, &in_the_way));
    }
    let provider = match &verb.from {
        None => None,
        Some(url) => Some(read(url, &services)?),
    };
    let (secret, hash) = draw().map_err(could_not)?;
    let pem = SigningKey::generate_pem(Algorithm::ES256).map_err(could_not)?;
    let mut made = files::all(provider.as_ref(), &hash, &pem);
    made.retain(|file| !keeps_ignored || file.name != files::IGNORED);
    make(&verb.dir, &made).map_err(could_not)?;
    // What is handed over must be good: a template that is not would be ours to mend.
    let loaded = config::load(&verb.dir, &services, None, Tests::Run).and_then(Loaded::whole);
    if let Err(error) = loaded {
        complain_about_load(&error);
        remove(&verb.dir, &made);
        return Err(could_not(
            "what was made is no sound configuration with what lies here already; nothing was kept",
        ));
    }
    say(&report(&verb.dir, &made, provider.as_ref(), &secret))?;
    if keeps_ignored {
        complain(
            "note: .gitignore was there, and is as it was; *.pem, *.secret and audit.jsonl do not belong into a repository\n",
        );
    }
    Ok(GOOD)
}

fn refuse(dir: &Path, names: &[&str]) -> u8 {
    let code = could_not(format!("there is something in `{}` already", dir.display()));
    for name in names {
        complain(&format!("  in the way: {}\n", dir.join(name).display()));
    }
    complain("help: name another directory: `cambist init DIR`; nothing is ever overwritten\n");
    code
}

fn read(url: &str, services: &Services) -> Result<Provider, u8> {
    complain(&format!("reading the metadata of {url} …\n"));
    let found = runtime()?.block_on(provider::read(url, services));
    found.map_err(|(why, help)| {
        let _ = could_not(why);
        complain(&format!("help: {help}\n"));
        COULD_NOT
    })
}

fn draw() -> Result<(Secret, SaltedHash), String> {
    let bytes = random::<32>().map_err(|error| error.to_string())?;
    let secret = Secret::new(base64url::encode(bytes));
    let hash = SaltedHash::new(&secret).map_err(|error| error.to_string())?;
    Ok((secret, hash))
}

/// Makes all of the files, or none.
fn make(dir: &Path, files: &[File]) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| format!("cannot make `{}`: {error}", dir.display()))?;
    for (index, file) in files.iter().enumerate() {
        let path = dir.join(file.name);
        if let Err(error) = write(&path, file) {
            let made = files.get(..index).unwrap_or_default();
            remove(dir, made);
            return Err(format!("cannot make `{}`: {error}", path.display()));
        }
    }
    Ok(())
}

fn write(path: &Path, file: &File) -> std::io::Result<()> {
    let mode = if file.private { 0o600 } else { 0o666 };
    let mut options = fs::OpenOptions::new();
    let mut opened = options.write(true).create_new(true).mode(mode).open(path)?;
    let written = opened
        .write_all(file.text.as_bytes())
        .and_then(|()| opened.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Takes away what was made.
fn remove(dir: &Path, files: &[File]) {
    for file in files {
        let _ = fs::remove_file(dir.join(file.name));
    }
}

fn report(dir: &Path, made: &[File], provider: Option<&Provider>, secret: &Secret) -> String {
    let shown = dir.display();
    let mut out = String::new();
    for file in made {
        out.push_str(&format!("wrote {}\n", dir.join(file.name).display()));
    }
    out.push_str(&format!(
        "\nthe secret of the client `app`, shown this once; cambist.yaml has its hash only:\n  {}\n\nnext\n",
        secret.expose()
    ));
    out.push_str(&match provider {
        None => format!(
            "  put your identity provider into {0}, or begin with `cambist init --from URL`\n",
            dir.join(config::ROOT).display()
        ),
        Some(provider) => match provider.preset {
            Some(preset) => {
                format!("  `cambist reference {preset}` shows what is known of this provider\n")
            }
            None => String::new(),
        },
    });
    out.push_str(&format!(
        "  say in {} what may be exchanged for what\n  cambist check {shown}\n  cambist serve {shown}\n",
        dir.join(files::POLICY).display()
    ));
    out
}
