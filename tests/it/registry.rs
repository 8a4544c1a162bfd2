//! Over the tables: names unique, docs there, every example builds.

use std::collections::BTreeSet;
use std::fs;

use cambist::client::METHODS;
use cambist::clock::Clock;
use cambist::config;
use cambist::exchange::GRANTS;
use cambist::metrics::METRICS;
use cambist::oauth::request::UNSUPPORTED;
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
        let loaded = config::load(dir.path(), &services, None);
        assert!(
            loaded.is_ok(),
            "{}: {:?}",
            factory.kind,
            loaded.err().map(|error| error.diagnostics)
        );
    }
}
