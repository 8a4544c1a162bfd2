//! Replacing a file: whole or not at all, and only while it still holds what was read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

/// What cannot be replaced, in the words of a message.
const NOT_REGULAR: &str = "it is not a regular file";

/// Gives a regular file another text. A link stays a link, and owner and permissions stay what they are.
///
/// `change` gets what the file holds now, and gives nothing where that is not what was read.
///
/// # Errors
/// Why the file was left alone.
pub(super) fn rewrite(
    path: &Path,
    change: impl FnOnce(&[u8]) -> Option<String>,
) -> Result<(), String> {
    let path = path.canonicalize().map_err(said)?;
    let meta = fs::metadata(&path).map_err(said)?;
    if !meta.is_file() {
        return Err(NOT_REGULAR.to_owned());
    }
    // Replacing it would succeed all the same, against what its owner said.
    if meta.permissions().readonly() {
        return Err("it is read-only".to_owned());
    }
    let now = fs::read(&path).map_err(said)?;
    let text = change(&now).ok_or("it has changed since it was read")?;
    replace(&path, text.as_bytes(), Some(&meta)).map_err(said)
}

/// Writes a text where somebody said: into a new file, over a regular one, or into what is neither, such
/// as a device or a pipe, which stays what it is.
///
/// # Errors
/// Why nothing was written.
pub(super) fn put(path: &Path, text: &str) -> Result<(), String> {
    match kind(path)? {
        Kind::New => replace(path, text.as_bytes(), None).map_err(said),
        Kind::Regular => rewrite(path, |_| Some(text.to_owned())),
        Kind::Special => {
            let file = fs::OpenOptions::new().write(true).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(said)
        }
    }
}

/// What stands where something is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    New,
    /// A regular file, or a link to one.
    Regular,
    /// A device, a pipe, a socket.
    Special,
}

/// What stands there.
///
/// # Errors
/// Why nothing can be written there: a directory, or a link to nothing, which would have to be replaced.
pub(super) fn kind(path: &Path) -> Result<Kind, String> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Kind::Regular),
        Ok(meta) if meta.is_dir() => Err("it is a directory".to_owned()),
        Ok(_) => Ok(Kind::Special),
        Err(_) if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) => {
            Err("it is a link to what is not there".to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Kind::New),
        Err(error) => Err(said(error)),
    }
}

/// Writes beside the file and renames over it, with the owner and the permissions of the one that it
/// replaces: whoever reads it, sees the old text or the new.
fn replace(path: &Path, bytes: &[u8], old: Option<&fs::Metadata>) -> std::io::Result<()> {
    let temporary = beside(path);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if old.is_some() { 0o600 } else { 0o666 })
        .open(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| {
            let Some(old) = old else { return Ok(()) };
            let made = file.metadata()?;
            if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
                chown(&temporary, Some(old.uid()), Some(old.gid()))?;
            }
            fs::set_permissions(&temporary, old.permissions())
        })
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn said(error: std::io::Error) -> String {
    error.to_string()
}
