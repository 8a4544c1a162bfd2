//! `cambist keys rotate DIR`: a new signing key, first in `keys:` of cambist.yaml.
//!
//! The file is edited as text, so that comments and layout stay. What comes out is read again before anything is
//! replaced: it must be the same tree, with one entry more.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::keys::{Listed, listed, text_of};
use super::make::write_private;
use super::{Exit, GOOD, RealmDirectory, complain, could_not, loaded, replace, say, services};
use crate::clock::{Clock, rfc3339};
use crate::jose::{Algorithm, KeyState, SigningKey};
use crate::oauth::NumericDate;
use crate::section::{self, Node, Value};
use crate::snapshot::Realm;

/// Make a new signing key and put it first; the present one goes on until verifiers know the new one.
///
/// Nothing is taken off the list: when the old key may go depends on when each gateway has loaded the new one,
/// and this says how to tell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist keys rotate policies
  cambist keys rotate policies --realm corp --alg EdDSA
  cambist keys rotate policies --dry-run         what would change, and nothing else")]
pub(super) struct Rotate {
    #[command(flatten)]
    directory: RealmDirectory,
    /// The algorithm of the new key; by default that of the one that stands first.
    #[arg(long)]
    alg: Option<Algorithm>,
    /// Change nothing; show what would change in cambist.yaml.
    #[arg(long)]
    dry_run: bool,
}

/// A new key, and the file that it is for.
struct Plan {
    path: PathBuf,
    /// The file of the key that stands first now.
    present: PathBuf,
    pem: zeroize::Zeroizing<String>,
    key: SigningKey,
    /// What cambist.yaml will hold.
    text: String,
}

pub(super) fn run(verb: &Rotate) -> Exit {
    let services = services()?;
    let dir = &verb.directory.dir;
    let named = verb.directory.realm.as_deref();
    let snapshot = loaded(dir, &services, named)?;
    let realm = verb.directory.one(&snapshot, None)?;
    let listed = listed(dir, realm, &snapshot).map_err(could_not)?;
    let plan = match plan(verb, realm, &listed, &services.clock) {
        Ok(plan) => plan,
        Err((why, help)) => {
            let code = could_not(why);
            complain(&format!("help: {help}\n"));
            return Err(code);
        }
    };
    if verb.dry_run {
        say(&diff(&listed, &plan))?;
        return Ok(GOOD);
    }
    carry_out(&listed, &plan).map_err(could_not)?;
    // What was proved of the text, once more of what lies there.
    let after = loaded(dir, &services, named).inspect_err(|_| undo(&listed, &plan))?;
    let Some(after) = after.realms.get(&realm.name) else {
        undo(&listed, &plan);
        return Err(could_not(
            "the realm is not there any more; nothing was changed",
        ));
    };
    say(&report(&listed, &plan, realm, after, services.clock.now()))?;
    Ok(GOOD)
}

type Refusal = (String, String);

fn plan(verb: &Rotate, realm: &Realm, listed: &Listed, clock: &Clock) -> Result<Plan, Refusal> {
    let shown = listed.path.display();
    let Value::List(entries) = &listed.keys.value else {
        return Err((
            format!("`keys:` in {shown} is no list"),
            "write `keys: [ { file: KEY.pem } ]`, and try again".to_owned(),
        ));
    };
    if entries
        .iter()
        .any(|entry| text_of(entry, "ephemeral").is_some())
    {
        return Err((
            format!("{shown} has a key that is made anew at every start: there is nothing to rotate"),
            "make a lasting one: `cambist keys new --out as.pem`, then `keys: [ { file: as.pem } ]`"
                .to_owned(),
        ));
    }
    let first = entries.first().and_then(|entry| text_of(entry, "file"));
    let (Some(first), Some(signs)) = (first, realm.keys.iter().next()) else {
        return Err((
            format!(
                "the first of `keys:` in {shown} is no file, so there is no place for a new one beside it"
            ),
            by_hand("NEW.pem"),
        ));
    };
    let algorithm = verb.alg.unwrap_or(signs.algorithm());
    let home = listed.path.parent().unwrap_or(Path::new("."));
    let (name, path) = free_name(&first, home, clock);
    let made = SigningKey::generate_pem(algorithm).and_then(|pem| {
        let key = SigningKey::from_pem(pem.as_bytes())?.for_algorithm(algorithm)?;
        Ok((pem, key))
    });
    let (pem, key) = made.map_err(|error| (error.to_string(), "try again".to_owned()))?;
    let entry = entry(&name, algorithm);
    let text = inserted(listed, &entry).filter(|text| is_one_more(listed, text, &name, algorithm));
    let text = text.ok_or_else(|| {
        (
            format!("`keys:` in {shown} is written in a way that cannot be edited safely"),
            by_hand(&name),
        )
    })?;
    Ok(Plan {
        path,
        present: home.join(first),
        pem,
        key,
        text,
    })
}

fn by_hand(name: &str) -> String {
    format!(
        "make the key with `cambist keys new --out {name}`, and put `{{ file: {name} }}` first in `keys:`"
    )
}

/// A name beside the present key: the day, and a number where that is taken.
fn free_name(first: &str, home: &Path, clock: &Clock) -> (String, PathBuf) {
    let before = match first.rsplit_once('/') {
        Some((dir, _)) => format!("{dir}/"),
        None => String::new(),
    };
    let now = clock.timestamp();
    let day = now.get(..10).unwrap_or("new");
    let names = (1..).map(|count| match count {
        1 => format!("{before}signing-{day}.pem"),
        count => format!("{before}signing-{day}-{count}.pem"),
    });
    let mut names = names.map(|name| (home.join(&name), name));
    let free = names.find(|(path, _)| fs::symlink_metadata(path).is_err());
    let (path, name) = free.unwrap_or_default();
    (name, path)
}

/// The entry in flow style.
fn entry(name: &str, algorithm: Algorithm) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
    let name = match name.chars().all(plain) && !name.starts_with('-') {
        true => name.to_owned(),
        // What JSON quotes, YAML reads.
        false => serde_json::Value::from(name).to_string(),
    };
    match algorithm.is_rsa() && algorithm != Algorithm::RS256 {
        true => format!("{{ file: {name}, alg: {algorithm} }}"),
        false => format!("{{ file: {name} }}"),
    }
}

/// The text with the entry before all others.
fn inserted(listed: &Listed, entry: &str) -> Option<String> {
    let text = listed.text.as_str();
    let at = listed.keys.span.start;
    let (at, new) = match text.get(at..)?.chars().next()? {
        '[' => (at + 1, format!(" {entry},")),
        _ => {
            // One `-` a line, the first on a line below `keys:`: the new one goes right below it, so that comments
            // stay with what they were written for.
            let Value::List(entries) = &listed.keys.value else {
                return None;
            };
            let dash = text.get(..entries.first()?.span.start)?.rfind('-')?;
            let line = text.get(..dash)?.rfind('\n')? + 1;
            let indent = text.get(line..dash)?;
            if !indent.bytes().all(|byte| byte == b' ') || line <= listed.key.end {
                return None;
            }
            let below = listed.key.end + text.get(listed.key.end..)?.find('\n')? + 1;
            let end = match text.get(..below)?.ends_with("\r\n") {
                true => "\r\n",
                false => "\n",
            };
            (below, format!("{indent}- {entry}{end}"))
        }
    };
    let (before, after) = text.split_at_checked(at)?;
    Some(format!("{before}{new}{after}"))
}

/// Whether a text says what the file says, with the new key before the others and nothing else.
fn is_one_more(listed: &Listed, text: &str, name: &str, algorithm: Algorithm) -> bool {
    let Ok(Node {
        value: Value::Map(new),
        ..
    }) = section::parse(&listed.label, text)
    else {
        return false;
    };
    let Value::Map(old) = &listed.root.value else {
        return false;
    };
    let wanted = |entry: &Node| {
        let alg = (algorithm.is_rsa() && algorithm != Algorithm::RS256)
            .then(|| algorithm.as_str().to_owned());
        let members = match &entry.value {
            Value::Map(members) => members.len(),
            _ => 0,
        };
        text_of(entry, "file").as_deref() == Some(name)
            && text_of(entry, "alg") == alg
            && members == 1 + usize::from(alg.is_some())
    };
    old.len() == new.len()
        && old.iter().zip(&new).all(|((key, was), (new_key, is))| {
            let same_value = match (&*key.name, &was.value, &is.value) {
                ("keys", Value::List(was), Value::List(is)) => {
                    let (first, rest) = match is.split_first() {
                        Some((first, rest)) => (Some(first), rest),
                        None => (None, &[][..]),
                    };
                    first.is_some_and(wanted)
                        && rest.len() == was.len()
                        && was.iter().zip(rest).all(|(was, is)| same(was, is))
                }
                _ => same(was, is),
            };
            key.name == new_key.name && same_value
        })
}

/// Whether two nodes say the same, wherever they stand.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar(a), Value::Scalar(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let both = || a.iter().zip(b);
            a.len() == b.len() && both().all(|((a, x), (b, y))| a.name == b.name && same(x, y))
        }
        _ => false,
    }
}

fn diff(listed: &Listed, plan: &Plan) -> String {
    let path = listed.path.display().to_string();
    let diff = TextDiff::from_lines(listed.text.as_str(), plan.text.as_str());
    let mut diff = diff.unified_diff();
    diff.header(&path, &path).to_string()
}

/// The key first, then the file that names it: at no time does that name what is not there.
fn carry_out(listed: &Listed, plan: &Plan) -> Result<(), String> {
    let shown = plan.path.display();
    write_private(&plan.path, plan.pem.as_bytes())
        .map_err(|error| format!("cannot write {shown}: {error}"))?;
    if let Err(why) = alike(&plan.present, &plan.path) {
        // A gateway that cannot read its key takes no reload, and does not start.
        let _ = fs::remove_file(&plan.path);
        return Err(format!(
            "{shown} could not be made readable for whoever reads {}: {why}; run this as the owner of that file, or as root. Nothing was changed",
            plan.present.display()
        ));
    }
    let unchanged = |bytes: &[u8]| bytes == listed.text.as_bytes();
    replace::rewrite(&listed.path, |bytes| {
        unchanged(bytes).then(|| plan.text.clone())
    })
    .map_err(|why| {
        let _ = fs::remove_file(&plan.path);
        format!("cannot write {}: {why}", listed.path.display())
    })
}

/// Whoever reads the present key must be able to read the new one; nobody else, and never everybody.
fn alike(present: &Path, new: &Path) -> std::io::Result<()> {
    let (old, made) = (fs::metadata(present)?, fs::metadata(new)?);
    let of_group = old.permissions().mode() & 0o040;
    if old.gid() != made.gid() {
        // Without it, the group has no part in a file that only its owner reads.
        chown(new, None, Some(old.gid())).or_else(|error| match of_group {
            0 => Ok(()),
            _ => Err(error),
        })?;
    }
    if old.uid() != made.uid() {
        chown(new, Some(old.uid()), None)?;
    }
    let mode = 0o600 | of_group;
    fs::set_permissions(new, fs::Permissions::from_mode(mode))
}

/// Puts back what was there.
fn undo(listed: &Listed, plan: &Plan) {
    let ours = |bytes: &[u8]| bytes == plan.text.as_bytes();
    let back = replace::rewrite(&listed.path, |bytes| {
        ours(bytes).then(|| listed.text.clone())
    });
    match back {
        Ok(()) => {
            let _ = fs::remove_file(&plan.path);
            complain("note: nothing was changed\n");
        }
        Err(why) => {
            complain(&format!("error: {}: {why}\n", listed.path.display()));
        }
    }
}

/// What was done, and what comes next.
fn report(listed: &Listed, plan: &Plan, before: &Realm, after: &Realm, now: NumericDate) -> String {
    let kid = plan.key.kid();
    let present = before.keys.signer(None, now);
    let present = present.map_or("the present key", |key| key.kid());
    let mut out = format!(
        "wrote {} ({}, kid {kid})\n{}: it stands first in `keys:`\n\nnext\n",
        plan.path.display(),
        plan.key.algorithm(),
        listed.path.display()
    );
    let mut keys = after.keys.iter();
    let state = keys
        .find(|key| key.kid() == kid)
        .map(|key| after.keys.state(key, now));
    let from = match state {
        Some(KeyState::SignsFrom(at)) => at,
        _ => now,
    };
    let notice = from.since(now);
    out.push_str(&format!(
        "  within seconds        a gateway that runs publishes it; {present} goes on signing\n"
    ));
    if matches!(state, Some(KeyState::SignsFrom(_))) {
        out.push_str(&format!(
            "  {}  it signs (`publish_before_use`, {notice}s after it was loaded)\n",
            rfc3339(from)
        ));
    } else {
        out.push_str(
            "  after `publish_before_use`  it signs; a start signs with it at once: start no gateway until then\n",
        );
    }
    let longest = before.longest_lifetime();
    let text = format!(
        "  {}  the last token of the old key has expired (the longest lives {longest}s), if every\n  \
         gateway loaded the new one by now and none starts until then. A start begins anew: it signs with the old\n  \
         key for `publish_before_use`, and both times count from it. When /status of every gateway says that the\n  \
         new key signs, and {longest}s more have passed, take the old one out of `keys:`, and delete its file\n",
        rfc3339(from.plus(longest))
    );
    out.push_str(&text);
    out
}
