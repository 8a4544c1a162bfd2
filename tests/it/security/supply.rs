//! What the binary is made of: B9.

use std::collections::BTreeSet;
use std::path::Path;

/// B9: RUSTSEC-2023-0071 has no fixed version, so the `rsa` crate is not here. RSA is that of aws-lc-rs.
#[test]
fn b9_no_rsa_crate_and_one_library_for_cryptography() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let packages: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .collect();
    assert!(packages.contains(&"aws-lc-rs"), "the lock file is read");
    // What `jsonwebtoken` would bring with its feature `rust_crypto`, and other libraries that sign.
    for name in [
        "rsa",
        "p256",
        "p384",
        "ed25519-dalek",
        "hmac",
        "openssl",
        "openssl-sys",
        "native-tls",
        "josekit",
        "jsonwebtoken-openssl",
    ] {
        assert!(!packages.contains(&name), "{name} is in Cargo.lock");
    }
    // `ring` stands in the lock file as an option of libraries for TLS. Nobody takes it.
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for name in ["ring", "rsa"] {
        let own = manifest
            .lines()
            .any(|line| line.starts_with(&format!("{name} = ")));
        assert!(!own, "{name} is in Cargo.toml");
    }
    for library in ["jsonwebtoken", "rustls", "hyper-rustls"] {
        let line = manifest
            .lines()
            .find(|line| line.starts_with(&format!("{library} = ")))
            .unwrap();
        let (features, _) = line.split_once(']').unwrap();
        assert!(features.contains("default-features = false"), "{line}");
        assert!(
            features.contains("\"aws_lc_rs\"") || features.contains("\"aws-lc-rs\""),
            "{line}"
        );
        assert!(
            !features.contains("ring") && !features.contains("rust_crypto"),
            "{line}"
        );
    }
    let mut linked = BTreeSet::new();
    for package in lock.split("[[package]]") {
        if package.contains("\n \"ring\"") || package.contains("\n \"ring ") {
            let name = package
                .lines()
                .find_map(|line| line.strip_prefix("name = \""))
                .unwrap();
            linked.insert(name.trim_end_matches('"').to_owned());
        }
    }
    assert!(
        linked
            .iter()
            .all(|name| ["rustls", "rustls-webpki"].contains(&name.as_str())),
        "{linked:?}"
    );
    // Whatever signs or verifies in here, aws-lc-rs does it: nothing else is called.
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert!(text(&root.join("src/jose/sign.rs")).contains("aws_lc_rs::"));
    for file in &files {
        let text = text(file);
        for call in [
            "jsonwebtoken::encode",
            "jsonwebtoken::decode",
            "jsonwebtoken::crypto",
            "EncodingKey",
            "DecodingKey",
        ] {
            assert!(!text.contains(call), "{}: {call}", file.display());
        }
    }
}

fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
