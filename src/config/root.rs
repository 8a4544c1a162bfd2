//! The root file: how the process listens and records, and its realm, or where its realms are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::realm::{self, Ground};
use super::{LoadError, Loaded, ROOT, Rejected, Sources, Tests, outbound, processors, settings};
use crate::diagnostic::{Diagnostic, Diagnostics, SourceText, Span};
use crate::jose::sha256_base64url;
use crate::oauth::NumericDate;
use crate::oauth::id::RealmName;
use crate::section::{self, Key, Node, Section};
use crate::services::Services;
use crate::snapshot::{Conflict, Realm, Routes, Settings, Snapshot};
use crate::store::Limits;

/// What belongs to a realm, and not beside `realms:`.
const OF_REALMS: [&str; 11] = [
    "issuer",
    "token_path",
    "hosts",
    "keys",
    "key_rotation",
    "issuers",
    "clients",
    "client_attributes",
    "resources",
    "processors",
    "policies",
];

/// What belongs into the root, and not into a realm's own file.
const OF_ROOT: [&str; 6] = [
    "server",
    "admin",
    "metrics",
    "providers",
    "replay",
    "realms",
];

/// What the root says for all realms.
struct Common<'a> {
    dir: &'a Path,
    settings: Option<&'a Settings>,
    behind_proxy: bool,
    defaults: &'a BTreeMap<&'static str, Section>,
    services: &'a Services,
    limits: Limits,
    current: Option<&'a Snapshot>,
    tests: Tests,
    /// What of the root says something to realms, as it was read.
    hash: String,
    /// The root's text, for excerpts.
    text: SourceText,
}

/// Reads the whole file, and the realms that it names.
///
/// # Errors
/// Every problem, where there is nothing to go live with.
pub(super) fn load(
    dir: &Path,
    mut root: Section,
    mut sources: Sources,
    services: &Services,
    current: Option<&Snapshot>,
    tests: Tests,
) -> Result<Loaded, Box<LoadError>> {
    let mut found = Diagnostics::default();
    let problems = &mut found;
    let realms = root.take_entry("realms");
    let read = settings::settings(&mut root, services.clock.now(), &mut sources, problems);
    let defaults = processors::defaults(&mut root, problems);
    let limits = replay(&mut root, problems);
    let running = current
        .into_iter()
        .flat_map(|current| current.realms.values());
    let nets: Vec<_> = running.map(|realm| &realm.net).collect();
    // Realms go out as the root says, unless they say otherwise.
    let services = match realms {
        Some(_) => outbound::services(&mut root, &mut sources, services, &nets, problems),
        None => services.clone(),
    };
    let common = Common {
        dir,
        settings: read.settings.as_ref(),
        behind_proxy: read.behind_proxy.is_some(),
        defaults: &defaults,
        services: &services,
        limits,
        current,
        tests,
        hash: sources.hash(),
        text: sources.source_text().clone(),
    };
    let mut several = Several::default();
    let mut only = None;
    match realms {
        Some((_, node)) => {
            misplaced(&mut root, &read.redact, problems);
            several.read(node, &common, problems);
        }
        None => {
            let ground = common.ground(RealmName::default());
            let realm = realm::realm(&mut root, &ground, read.redact, &mut sources, problems);
            if let Some(realm) = &realm {
                common.proxied(realm, read.behind_proxy.as_ref(), problems);
            }
            only = realm;
        }
    }
    root.finish(problems);
    if let Some(settings) = &read.settings {
        settings::audit_file(settings, read.audit_at.as_ref(), &sources, problems);
    }
    if let (Some(realm), false) = (only, problems.has_errors()) {
        several.only(realm, &common, problems);
    }
    let now = services.clock.now();
    several.finish(sources, read.settings, found, now)
}

/// What stands beside `realms:` and belongs to one of them.
fn misplaced(root: &mut Section, redact: &[(String, Span)], problems: &mut Diagnostics) {
    for key in OF_REALMS {
        if let Some(node) = root.take_forbidden(key) {
            let message = format!("`{key}` belongs to a realm, and there are `realms:` here");
            let problem = Diagnostic::error("E1021", message).at(&node.span);
            let help = "move it into the cambist.yaml of that realm's directory";
            problems.push(problem.help(help).concealed());
        }
    }
    for (_, at) in redact {
        let message = "`redact` belongs to a realm, and there are `realms:` here";
        let problem = Diagnostic::error("E1021", message).at(at);
        problems.push(problem.help("say `audit: { redact: [..] }` in that realm's cambist.yaml"));
    }
}

/// `replay: { capacity: 1000000, per_client: 250000 }`: how much of what is good for one use is remembered.
fn replay(root: &mut Section, problems: &mut Diagnostics) -> Limits {
    const MOST: usize = 100_000_000;
    let mut section = root.section_or_empty("replay", problems);
    let capacity = settings::count(&mut section, "capacity", Limits::CAPACITY, MOST, problems);
    let share = Limits::new(capacity).per_owner;
    let per_owner = settings::count(&mut section, "per_client", share, capacity, problems);
    section.finish(problems);
    Limits {
        capacity,
        per_owner,
    }
}

impl<'a> Common<'a> {
    /// The hash of a realm that these were read for: what the root says is a part of it.
    fn hash_of(&self, sources: &Sources) -> String {
        sha256_base64url(format!("{}\n{}", self.hash, sources.hash()).as_bytes())
    }

    fn running(&self, name: &RealmName) -> Option<&'a Arc<Realm>> {
        self.current.and_then(|current| current.realms.get(name))
    }

    fn ground(&self, name: RealmName) -> Ground<'a> {
        let running = self.current.map(|current| current.settings.request_timeout);
        let in_flight = running.unwrap_or_default().as_secs();
        Ground {
            current: self.running(&name).map(Arc::as_ref),
            name,
            settings: self.settings,
            defaults: self.defaults,
            services: self.services,
            limits: self.limits,
            in_flight: i64::try_from(in_flight).unwrap_or(i64::MAX),
        }
    }

    /// Behind a proxy that nobody trusts, every request seems to come from it.
    fn proxied(&self, realm: &Realm, at: Option<&Span>, problems: &mut Diagnostics) {
        let untrusting = self
            .settings
            .is_some_and(|settings| settings.trusted_proxies.is_empty());
        if self.behind_proxy && untrusting && realm.policies.mentions("conn.ip") {
            let message = "policies test `conn.ip`, which is the proxy's address for every request";
            let mut problem = Diagnostic::warning("E1019", message);
            if let Some(at) = at {
                problem = problem.at(at);
            }
            let help = "say whose X-Forwarded-For is believed: `trusted_proxies: [10.0.0.0/8]`";
            problems.push(problem.help(help));
        }
    }

    /// Reads a realm from its directory.
    fn realm(
        &self,
        name: &RealmName,
        sources: &mut Sources,
        problems: &mut Diagnostics,
    ) -> Option<Realm> {
        let text = sources.text(ROOT, None, problems)?;
        let mut section = super::section(ROOT, &text, sources, problems)?;
        for key in OF_ROOT {
            if let Some(node) = section.take_forbidden(key) {
                let message = format!(
                    "`{key}` holds for all realms, and belongs into the root's cambist.yaml"
                );
                problems.push(
                    Diagnostic::error("E1021", message)
                        .at(&node.span)
                        .concealed(),
                );
            }
        }
        let redact = settings::redact(&mut section, problems);
        let realm = realm::realm(
            &mut section,
            &self.ground(name.clone()),
            redact,
            sources,
            problems,
        );
        section.finish(problems);
        self.proxied(realm.as_ref()?, None, problems);
        realm
    }

    /// Runs the tests of a realm, and gives the running one where nothing has changed.
    fn settled(
        &self,
        mut realm: Realm,
        mut warnings: Diagnostics,
    ) -> Result<Arc<Realm>, Diagnostics> {
        if self.tests == Tests::Run {
            realm.test(&mut warnings);
        }
        if warnings.has_errors() {
            return Err(warnings);
        }
        realm.warnings = warnings;
        let now = self.services.clock.now();
        let outlived = |running: &Realm| running.keys.outlived(now, running.longest_lifetime());
        Ok(match self.running(&realm.name) {
            // INVARIANT: the hash is over all that a realm is made of, the root included.
            Some(running) if running.hash == realm.hash && !outlived(running) => {
                Arc::clone(running)
            }
            _ => Arc::new(realm),
        })
    }
}

/// The realms of a load, as far as it has come.
#[derive(Default)]
struct Several {
    live: BTreeMap<RealmName, Arc<Realm>>,
    /// Those that are not taken as they are on disk, and why.
    rejected: BTreeMap<RealmName, Diagnostics>,
    /// The hash of each on disk.
    hashes: BTreeMap<RealmName, String>,
    files: BTreeSet<PathBuf>,
    /// The hash of each file and variable of each.
    contents: BTreeMap<String, String>,
    /// The texts of all that were read.
    texts: Vec<SourceText>,
    /// The keys of `realms:`.
    keys: BTreeMap<RealmName, Span>,
    /// Whether they stand under `realms:`.
    listed: bool,
}

impl Several {
    /// The one realm of a configuration without `realms:`: its file is the root.
    fn only(&mut self, realm: Realm, common: &Common<'_>, problems: &mut Diagnostics) {
        match common.settled(realm, Diagnostics::default()) {
            Ok(realm) => {
                self.live.insert(realm.name.clone(), realm);
            }
            Err(failed) => problems.extend(failed),
        }
    }

    /// `realms: { NAME: DIR }`.
    fn read(&mut self, node: Node, common: &Common<'_>, problems: &mut Diagnostics) {
        self.listed = true;
        let at = node.span.clone();
        let Some(entries) = node.section(problems).map(Section::into_entries) else {
            return;
        };
        if entries.is_empty() {
            problems.push(Diagnostic::error("E1005", "`realms` names no realm").at(&at));
        }
        let mut dirs: BTreeMap<PathBuf, Span> = BTreeMap::new();
        for (key, node) in entries {
            let Some(name) = section::name::<RealmName>(&key, problems) else {
                continue;
            };
            let Some(text) = node.text(problems) else {
                continue;
            };
            let path = common.dir.join(&*text);
            if !path.is_dir() {
                let message = format!("`{text}` is not a directory");
                let problem = Diagnostic::error("E1007", message).at(&node.span);
                let problem =
                    problem.help("give the directory that holds the realm's cambist.yaml");
                // Nothing of it can be read, but what runs of it may go on, and it is watched for.
                self.missing(name, &key, &text, problem, common);
                continue;
            }
            let real = std::fs::canonicalize(&path).unwrap_or(path);
            if let Some(first) = dirs.insert(real, node.span.clone()) {
                let problem = Diagnostic::error("E1020", "two realms have the same directory");
                problems.push(problem.at(&node.span).related(&first, "the first one"));
                continue;
            }
            self.add(name, &key, &text, common);
        }
        self.tell_apart(common, problems);
    }

    fn add(&mut self, name: RealmName, key: &Key, dir: &str, common: &Common<'_>) {
        let mut sources = Sources::below(common.dir, dir);
        let mut problems = Diagnostics::default();
        let realm = common.realm(&name, &mut sources, &mut problems);
        let hash = common.hash_of(&sources);
        self.hashes.insert(name.clone(), hash.clone());
        self.files.extend(sources.files());
        self.contents.extend(sources.contents());
        self.keys.insert(name.clone(), key.span.clone());
        let mut text = sources.into_text();
        self.texts.push(text.clone());
        text.absorb(common.text.clone());
        let settled = match realm {
            Some(realm) if !problems.has_errors() => {
                let realm = Realm {
                    sources: text,
                    hash,
                    ..realm
                };
                common.settled(realm, problems)
            }
            _ => Err(problems),
        };
        match settled {
            Ok(realm) => {
                self.live.insert(name, realm);
            }
            Err(problems) => self.reject(&name, problems, common),
        }
    }

    fn missing(
        &mut self,
        name: RealmName,
        key: &Key,
        dir: &str,
        problem: Diagnostic,
        common: &Common<'_>,
    ) {
        let mut sources = Sources::below(common.dir, dir);
        sources.text(ROOT, None, &mut Diagnostics::default());
        self.hashes.insert(name.clone(), common.hash_of(&sources));
        self.files.extend(sources.files());
        self.keys.insert(name.clone(), key.span.clone());
        self.reject(&name, problem.into(), common);
    }

    /// What runs under this name keeps running, if anything does.
    fn reject(&mut self, name: &RealmName, problems: Diagnostics, common: &Common<'_>) {
        self.rejected
            .entry(name.clone())
            .or_default()
            .extend(problems);
        match common.running(name) {
            Some(running) => self.live.insert(name.clone(), Arc::clone(running)),
            None => self.live.remove(name),
        };
    }

    /// Where two realms would answer the same request, those of them that have changed are not taken. What runs
    /// can be told apart, so this ends. At the start nobody can say which of them is right.
    fn tell_apart(&mut self, common: &Common<'_>, problems: &mut Diagnostics) {
        while let Err(conflicts) = Routes::new(&self.live) {
            let before = self.rejected.len();
            for conflict in conflicts {
                let both = [&conflict.first, &conflict.second];
                if common.current.is_none() {
                    both.iter()
                        .for_each(|name| problems.push(self.ambiguous(&conflict, name)));
                    continue;
                }
                let changed =
                    |name: &&&RealmName| match (self.live.get(**name), common.running(name)) {
                        (Some(live), Some(running)) => live.contents != running.contents,
                        (live, _) => live.is_some(),
                    };
                let other = |name: &&&RealmName| match (self.live.get(**name), common.running(name))
                {
                    (Some(live), Some(running)) => !Arc::ptr_eq(live, running),
                    (live, _) => live.is_some(),
                };
                let mut blamed: Vec<&RealmName> = both.iter().filter(changed).copied().collect();
                if blamed.is_empty() {
                    blamed = both.iter().filter(other).copied().collect();
                }
                for name in blamed {
                    let problem = self.ambiguous(&conflict, name);
                    self.reject(name, problem.into(), common);
                }
            }
            if self.rejected.len() == before {
                return;
            }
        }
    }

    fn ambiguous(&self, conflict: &Conflict, name: &RealmName) -> Diagnostic {
        let Conflict {
            first,
            second,
            over,
        } = conflict;
        let message = format!("the realms `{first}` and `{second}` {over}");
        let mut problem = Diagnostic::error("E1020", message);
        if let Some(at) = self.keys.get(name) {
            problem = problem.at(at);
        }
        problem.help("give each an `issuer` with a path of its own, or the `hosts` that it answers")
    }

    fn finish(
        self,
        sources: Sources,
        settings: Option<Settings>,
        mut found: Diagnostics,
        now: NumericDate,
    ) -> Result<Loaded, Box<LoadError>> {
        let mut files = sources.files();
        files.extend(self.files);
        let (hash, contents) = (sources.hash(), sources.contents());
        let together = |hashes: &mut dyn Iterator<Item = (&RealmName, &String)>| match self.listed {
            false => hash.clone(),
            true => {
                let lines = hashes.map(|(name, hash)| format!("{name}\0{hash}\n"));
                sha256_base64url(format!("{hash}\n{}", lines.collect::<String>()).as_bytes())
            }
        };
        let mut read = contents.clone();
        read.extend(self.contents);
        let disk = together(&mut self.hashes.iter());
        let live = self.live.iter().map(|(name, realm)| (name, &realm.hash));
        let live = together(&mut live.into_iter());
        let mut text = sources.into_text();
        self.texts.into_iter().for_each(|more| text.absorb(more));
        let realms: Vec<RealmName> = self.rejected.keys().cloned().collect();
        let mut diagnostics = Diagnostics::default();
        self.rejected
            .into_values()
            .for_each(|problems| diagnostics.extend(problems));
        let error = |diagnostics: Diagnostics| {
            Box::new(LoadError {
                diagnostics,
                sources: text.clone(),
                files: files.clone(),
                hash: disk.clone(),
                contents: read.clone(),
            })
        };
        let routes = Routes::new(&self.live).ok();
        let (Some(settings), Some(routes), false, false) =
            (settings, routes, found.has_errors(), self.live.is_empty())
        else {
            found.extend(diagnostics);
            for realm in self.live.values() {
                found.extend(realm.warnings.clone());
            }
            return Err(error(found));
        };
        let rejected = (!realms.is_empty()).then(|| Rejected {
            realms,
            error: error(diagnostics),
        });
        for realm in self.live.values() {
            found.extend(realm.warnings.clone());
        }
        Ok(Loaded {
            snapshot: Snapshot {
                realms: self.live,
                routes,
                settings,
                hash: live,
                loaded_at: now,
                files: files.clone(),
                contents,
                sources: text.clone(),
                warnings: found,
            },
            rejected,
            disk,
        })
    }
}
