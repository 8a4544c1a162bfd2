//! `cambist completions` and `cambist man`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::cambist;

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// The verbs that `cambist help` lists.
fn verbs() -> BTreeSet<String> {
    let (code, help, _) = cambist(Path::new("."), &["help"]);
    assert_eq!(code, 0);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let names = list.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?;
        (!name.starts_with(' ')).then(|| name.split(' ').next().unwrap_or_default().to_owned())
    });
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_shell_is_told_every_verb() {
    let verbs = verbs();
    assert!(verbs.contains("serve") && verbs.len() > 8, "{verbs:?}");
    for shell in SHELLS {
        let (code, script, errors) = cambist(Path::new("."), &["completions", shell]);
        assert_eq!((code, errors.as_str()), (0, ""), "{shell}");
        for verb in &verbs {
            assert!(script.contains(verb.as_str()), "{shell} is not told {verb}");
        }
    }
    let (code, _, errors) = cambist(Path::new("."), &["completions", "cmd"]);
    assert_eq!(code, 2);
    for shell in SHELLS {
        assert!(errors.contains(shell), "{errors}");
    }
}

#[test]
fn bash_accepts_its_script() {
    let dir = tempfile::tempdir().unwrap();
    let (_, script, _) = cambist(dir.path(), &["completions", "bash"]);
    let file = dir.path().join("cambist.bash");
    fs::write(&file, script).unwrap();
    let output = Command::new("bash").arg("-n").arg(&file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn every_verb_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, errors) = cambist(dir.path(), &["man", "--out", "new/man1"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let pages = dir.path().join("new/man1");
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    for verb in verbs() {
        let text = page(&format!("cambist-{verb}.1"));
        let title = format!(".TH CAMBIST-{} 1", verb.to_uppercase());
        assert!(text.contains(&title), "{title}\n{text}");
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"));
    }
    assert!(page("cambist-keys-new.1").contains(".TH CAMBIST-KEYS-NEW 1"));
    assert!(!pages.join("cambist-help.1").exists());
    let (code, main, _) = cambist(dir.path(), &["man"]);
    assert_eq!((code, main.as_str()), (0, page("cambist.1").as_str()));
    assert!(main.contains(".TH CAMBIST 1") && main.contains("cambist\\-serve(1)"));
    assert!(main.contains("Exit codes: 0 good"));
}

#[test]
fn what_cannot_be_written_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let (code, _, errors) = cambist(dir.path(), &["man", "--out", "file"]);
    assert_eq!(code, 2);
    assert!(errors.contains("cannot make `file`"), "{errors}");
}
