//! Presets: what is known of the tokens of common identity providers, so that nobody has to find it out
//! again. Data, one file each; what the operator writes goes before it.

use std::sync::Arc;

use crate::config::key_source::SOURCES;
use crate::config::reader::Reader;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::oauth::id::Issuer;
use crate::section::{self, Section};

/// What is known of one identity provider.
#[derive(Debug)]
pub struct Preset {
    /// Its name in `preset:`.
    pub name: &'static str,
    /// Its keys of an issuer, in YAML, with the reasons.
    pub text: &'static str,
}

macro_rules! preset {
    ($name:literal) => {
        Preset {
            name: $name,
            text: include_str!(concat!("../presets/", $name, ".yaml")),
        }
    };
}

/// All presets of this build.
pub static PRESETS: &[Preset] = &[
    preset!("keycloak"),
    preset!("entra"),
    preset!("okta"),
    preset!("auth0"),
    preset!("google"),
    preset!("github-actions"),
    preset!("gitlab-ci"),
    preset!("kubernetes"),
];

impl Preset {
    /// Its keys.
    ///
    /// # Errors
    /// What is wrong with the file; a test reads them all.
    fn section(&self) -> Result<Section, Diagnostics> {
        let file: Arc<str> = Arc::from(format!("preset {}", self.name));
        let node = section::parse(&file, self.text)?;
        let mut problems = Diagnostics::default();
        node.section(&mut problems).ok_or(problems)
    }
}

/// A preset that is not there.
#[derive(Debug)]
pub(super) struct Unknown;

impl Reader<'_> {
    /// `preset: NAME`: adds what the section does not say itself. Gives the preset's claims, which are
    /// added to those of the section one by one.
    ///
    /// # Errors
    /// There is no such preset, which was reported.
    pub(super) fn preset(&mut self, section: &mut Section) -> Result<Option<Section>, Unknown> {
        let Some(node) = section.take("preset") else {
            return Ok(None);
        };
        let name = node.text(self.problems).ok_or(Unknown)?;
        let Some(preset) = PRESETS.iter().find(|preset| preset.name == &*name) else {
            let problem = Diagnostic::error("E1006", format!("no preset is called `{name}`"));
            let names = PRESETS.iter().map(|preset| preset.name);
            self.problems
                .push(problem.at(&node.span).correct(&name, names));
            return Err(Unknown);
        };
        let mut inherited = match preset.section() {
            Ok(inherited) => inherited,
            Err(problems) => {
                self.problems.extend(problems);
                return Err(Unknown);
            }
        };
        let claims = inherited.section("claims", self.problems);
        // Who says where the keys are has said it.
        if SOURCES.iter().any(|key| section.has(key)) {
            inherited.take("discovery");
        }
        section.inherit(&inherited);
        Ok(claims)
    }

    /// An issuer that everybody has tokens of, and for which nothing says whose are taken.
    pub(super) fn everybodys(&mut self, id: Option<&Issuer>, tenancy: &[Arc<str>], span: &Span) {
        let Some(id) = id.filter(|_| tenancy.is_empty()) else {
            return;
        };
        let shared = PRESETS.iter().find(|preset| {
            let says = |line: &str| line.strip_prefix("issuer: ") == Some(id.as_str());
            let shared = preset.text.lines().any(|line| line.starts_with("tenancy:"));
            shared && preset.text.lines().any(says)
        });
        if let Some(preset) = shared {
            let message =
                format!("`{id}` gives tokens to everybody, and nothing says whose are taken");
            let problem = Diagnostic::warning("E1031", message).at(span);
            let help = format!(
                "say `preset: {}`, or `tenancy:` with the claims that tell",
                preset.name
            );
            self.problems.push(problem.help(help));
        }
    }
}
