//! Over the tables: names unique, docs there, every example builds.

use std::collections::BTreeSet;
use std::fs;

use crate::support::whole;
use cambist::client::METHODS;
use cambist::clock::Clock;
use cambist::exchange::GRANTS;
use cambist::metrics::METRICS;
use cambist::oauth::form::TokenForm;
use cambist::oauth::request::{TokenRequest, UNSUPPORTED};
use cambist::oauth::secret::Secret;
use cambist::policy::schema::ATTRIBUTES;
use cambist::provider::FACTORIES;
use cambist::services::Services;

fn unique<'a>(names: impl Iterator<Item = &'a str> + Clone) {
    assert_eq!(names.clone().collect::<BTreeSet<_>>().len(), names.count());
}

#[test]
fn names_are_unique_and_documented() {
    unique(METHODS.iter().map(|method| method.name));
    unique(GRANTS.iter().map(|grant| grant.name));
    unique(GRANTS.iter().map(|grant| grant.grant_type));
    unique(METRICS.iter().map(|metric| metric.name));
    unique(UNSUPPORTED.iter().map(|entry| entry.name));
    unique(FACTORIES.iter().map(|factory| factory.kind));
    unique(ATTRIBUTES.iter().map(|attribute| attribute.path));
    assert!(METHODS.iter().all(|method| !method.doc.is_empty()));
    assert!(FACTORIES.iter().all(|factory| !factory.doc.is_empty()));
    assert!(
        METRICS
            .iter()
            .all(|metric| metric.name.starts_with("cambist_") && metric.help.ends_with('.'))
    );
}

/// So that a method which is added takes part in the rule of one method a request.
#[test]
fn methods_present_what_is_theirs_and_nothing_else() {
    let ask = |form: &str| TokenRequest {
        peer: std::net::IpAddr::from([127, 0, 0, 1]),
        form: TokenForm::parse(form.as_bytes()).unwrap(),
        authorization: Vec::new(),
        unsupported_headers: Vec::new(),
    };
    let basic = TokenRequest {
        authorization: vec![Secret::new("Basic YTpi".to_owned())],
        ..ask("")
    };
    let jwt = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    for (request, of) in [
        (ask("grant_type=x"), None),
        (basic, Some("client_secret_basic")),
        (
            ask("client_id=a&client_secret=b"),
            Some("client_secret_post"),
        ),
        (
            ask(&format!("client_assertion_type={jwt}&client_assertion=a")),
            Some("private_key_jwt"),
        ),
        (ask("client_id=a"), Some("none")),
    ] {
        let presented = METHODS
            .iter()
            .filter(|method| (method.present)(&request).unwrap().is_some())
            .map(|method| method.name);
        assert_eq!(presented.collect::<Vec<_>>(), Vec::from_iter(of));
    }
    let covered = 4;
    assert_eq!(METHODS.len(), covered, "add the new method above");
}

#[test]
fn every_provider_example_builds() {
    let sample = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/policies/cambist.yaml"
    ))
    .unwrap();
    let policy = include_str!("../../policies/main.policy");
    for factory in FACTORIES {
        let dir = tempfile::tempdir().unwrap();
        let yaml = sample.replace("{ provider: mint, lifetime: 60s }", factory.example);
        assert!(yaml.contains(factory.example), "the sample has changed");
        fs::write(dir.path().join("cambist.yaml"), yaml).unwrap();
        fs::write(dir.path().join("main.policy"), policy).unwrap();
        let services = Services::new(Clock::system()).unwrap();
        let loaded = whole(dir.path(), &services);
        assert!(
            loaded.is_ok(),
            "{}: {:?}",
            factory.kind,
            loaded.err().map(|error| error.diagnostics)
        );
    }
}
