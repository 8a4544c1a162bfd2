//! The policies of our documents: each is loaded with the realm that its page speaks of, and its tests run.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::whole;
use cambist::clock::Clock;
use cambist::config;
use cambist::diagnostic::Style;
use cambist::jose::{Algorithm, SigningKey};
use cambist::services::Services;

/// The fenced blocks of a page that are of one language, each with its line.
fn fences(page: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, &str, String)> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(of), None) => open = Some((index + 2, of, String::new())),
            (Some(_), Some(_)) => {
                let (line, of, block) = open.take().unwrap();
                if of == language {
                    found.push((line, block));
                }
            }
            (None, Some((_, _, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    found
}

/// The policy files of a page: a block that begins a file is one; every other belongs to the page's first.
fn files(page: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    let mut fragments = String::new();
    for (line, block) in fences(page, "policy") {
        if block.starts_with("policy 1 module ") {
            files.push((format!("line-{line}.policy"), block));
        } else {
            fragments.push_str(&block);
        }
    }
    if files.is_empty() && !fragments.is_empty() {
        files.push((
            "page.policy".to_owned(),
            "policy 1 module page\n".to_owned(),
        ));
    }
    if let Some((_, first)) = files.first_mut() {
        first.push_str(&fragments);
    }
    for (line, block) in fences(page, "yaml") {
        if block.starts_with("policy: 1") {
            files.push((format!("line-{line}.policy.yaml"), block));
        }
    }
    files
}

/// A page with its realm in place of that realm's own policies: what a load says, and how many tests ran.
fn load(page: &Path, realm: &Path) -> (String, usize) {
    let text = fs::read_to_string(page).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(realm).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(".policy") && path.is_file() {
            fs::copy(&path, dir.path().join(name)).unwrap();
        }
    }
    let yaml = fs::read_to_string(dir.path().join("cambist.yaml")).unwrap();
    let patterns = "policies: [\"*.policy\", \"*.policy.yaml\"]";
    let files = files(&text);
    let patterns = match files.iter().any(|(name, _)| name.ends_with(".yaml")) {
        true => patterns,
        false => "policies: [\"*.policy\"]",
    };
    let yaml = yaml.replace("policies: [\"*.policy\"]", patterns);
    fs::write(dir.path().join("cambist.yaml"), yaml).unwrap();
    for (name, text) in &files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let services = Services::new(Clock::system()).unwrap();
    match whole(dir.path(), &services) {
        Ok(snapshot) => (String::new(), snapshot.first().tests),
        Err(error) => (
            format!(
                "{}: {}",
                page.display(),
                error.diagnostics.render(&error.sources, Style::Plain)
            ),
            0,
        ),
    }
}

#[test]
fn every_policy_of_our_pages_loads_and_passes_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<(PathBuf, PathBuf)> = vec![
        (root.join("README.md"), root.join("policies")),
        (
            root.join("grammar/README.md"),
            root.join("examples/company"),
        ),
    ];
    for entry in fs::read_dir(root.join("examples")).unwrap() {
        let dir = entry.unwrap().path();
        if dir.join("README.md").is_file() {
            pages.push((dir.join("README.md"), dir));
        }
    }
    let mut problems = String::new();
    let mut tests = 0;
    for (page, realm) in &pages {
        let text = fs::read_to_string(page).unwrap();
        // A block that looks like a policy and is not marked as one would not be looked at.
        for (line, block) in fences(&text, "") {
            let looks = ["rule ", "deny ", "policy 1", "test \"", "list @", "def "];
            assert!(
                !looks.iter().any(|word| block.starts_with(word)),
                "{}:{line}: mark this block as ```policy",
                page.display()
            );
        }
        if files(&text).is_empty() {
            continue;
        }
        let (found, ran) = load(page, realm);
        problems.push_str(&found);
        tests += ran;
    }
    assert!(problems.is_empty(), "{problems}");
    assert!(tests >= 2, "the tests of the guide were not run");
}

/// What the first page shows of `cambist.yaml` stands in place of the sample's own keys, with every file that
/// it names beside it.
#[test]
fn the_configuration_that_our_first_page_shows_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("README.md")).unwrap();
    let sample = fs::read_to_string(root.join("policies/cambist.yaml")).unwrap();
    let policy = fs::read_to_string(root.join("policies/main.policy")).unwrap();
    let blocks = fences(&page, "yaml");
    assert!(blocks.len() >= 2, "the blocks were not found");
    for (line, block) in blocks {
        // A whole one is loaded by itself, below.
        if block.starts_with(WHOLE) {
            continue;
        }
        let top = |text: &str| {
            let keys = text.lines().filter_map(|line| line.split_once(':'));
            let keys = keys.map(|(key, _)| key.to_owned());
            keys.filter(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
                .collect::<Vec<_>>()
        };
        let shown = top(&block);
        let mut yaml = String::new();
        let mut keep = true;
        for line in sample.lines() {
            if let [key] = top(line).as_slice() {
                keep = !shown.contains(key);
            }
            if keep {
                yaml.push_str(line);
                yaml.push('\n');
            }
        }
        yaml.push_str(&block);
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for word in block.split([' ', ',', '{', '}', '\n']) {
            let pem = SigningKey::generate_pem(Algorithm::ES256).unwrap();
            let key = SigningKey::from_pem(pem.as_bytes()).unwrap();
            match word.rsplit_once('.') {
                Some((_, "pem")) => write(word, &pem),
                Some((_, "json")) => write(
                    word,
                    &serde_json::json!({ "keys": [key.public_jwk()] }).to_string(),
                ),
                Some((_, "secret" | "token")) => {
                    write(word, "a-secret-that-a-machine-might-have-drawn");
                }
                Some((_, "crt")) => write(word, include_str!("../data/tls/one.crt")),
                Some((_, "key")) => write(word, include_str!("../data/tls/one.key")),
                _ => {}
            }
        }
        write("cambist.yaml", &yaml);
        write("main.policy", &policy);
        let services = Services::new(Clock::system()).unwrap();
        if let Err(error) = whole(dir.path(), &services) {
            let problems = error.diagnostics.render(&error.sources, Style::Plain);
            panic!("README.md:{line}:\n{problems}");
        }
    }
}

/// How a configuration that is shown whole begins.
const WHOLE: &str = "# cambist.yaml\n";

/// A configuration that a page shows whole loads, with the files that it names.
#[test]
fn every_whole_configuration_of_our_pages_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("README.md")).unwrap();
    let mut whole = 0;
    for (line, block) in fences(&page, "yaml") {
        if !block.starts_with(WHOLE) {
            continue;
        }
        whole += 1;
        let dir = tempfile::tempdir().unwrap();
        let key = cambist::jose::SigningKey::generate_pem(cambist::jose::Algorithm::ES256).unwrap();
        let rule = "policy 1 module main\nrule r { from corp, ci, partner by client \"web\" to audience \"x\"\n\
                    use mint { scope: [], sub: \"x|${subject.sub}\" } }\n";
        for (name, text) in [
            ("cambist.yaml", &*block),
            ("main.policy", rule),
            ("as.pem", &**key),
            ("corp-ca.pem", include_str!("../data/tls/root.pem")),
            ("introspection.secret", "a-secret-of-some-length"),
            ("web.secret", "another-secret-of-some-length"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let services = Services::new(Clock::system()).unwrap();
        let loaded = crate::support::whole(dir.path(), &services);
        assert!(
            loaded.is_ok(),
            "README.md:{line}: {}",
            loaded
                .err()
                .map(|error| error.diagnostics.render(&error.sources, Style::Plain))
                .unwrap_or_default()
        );
    }
    assert!(whole >= 1, "no whole configuration was found");
    for preset in config::PRESETS {
        let name = format!("`{}`", preset.name);
        assert!(page.contains(&name), "the README does not name {name}");
    }
}
