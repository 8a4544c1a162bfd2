//! The workloads of the decision benches: rules as plain data, written out as Cambist's text here and as
//! other engines' text in `benches/peers`, and requests that meet them.
//!
//! | | rules | told apart by |
//! |---|---|---|
//! | services | four for each client: an allow-list | client and audience |
//! | ci | a repository each, for eight clients | a pattern on `sub` |
//! | agents | an agent each, acting for a user, short chains | client and actor |
//! | partners | a partner each, for sixteen gateways | host, or the end of a host, and path |
//! | adversarial | all share issuer, client and host | a claim |
//! | unindexable | all share everything | a number compared, a text inside `sub` |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use cambist::context::ExchangeContext;
use cambist::oauth::NumericDate;
use cambist::oauth::claims::{ClaimDeclaration, ClaimType, ClaimValue};
use cambist::oauth::id::ProcessorId;
use cambist::oauth::target::ResourceRegistry;
use cambist::oauth::token_type::TokenType;
use cambist::policy::schema::{
    ClientSchema, IssuerSchema, ParameterKind, ParameterSchema, ProcessorSchema, Schema,
};
use cambist::policy::{PolicySet, check, facts, parse};
use serde_json::{Map, Value, json};

const NOW: i64 = 1_800_000_000;
/// How many requests each corpus has.
pub const CORPUS: usize = 2048;
/// So many rules stand in one file.
const PER_FILE: usize = 5_000;

/// What a target must be.
#[derive(Clone, Debug)]
pub enum To {
    Audience(String),
    /// This URI, or below it.
    Under(String),
    /// A label, this rest of a host, and this path or below it.
    Hosts(String, String),
}

/// A condition besides that on scope.
#[derive(Clone, Debug)]
pub enum When {
    SubIs(String),
    SubBegins(String),
    SubHolds(String),
    Claim(&'static str, String),
    Group(String),
    /// An actor of `agents` acts, whose `sub` is the client's id; the chain is short.
    Agent,
    AuthAge(i64),
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub client: String,
    pub issuer: &'static str,
    pub to: To,
    /// The scope may have these and no others.
    pub scope: Vec<String>,
    pub when: Vec<When>,
}

/// Calls back with every key under which a request must be looked for.
pub type LookUnder = fn(&View<'_>, &mut dyn FnMut(&str));

/// Everything that one engine is given.
pub struct Workload {
    pub name: &'static str,
    pub rules: Vec<Rule>,
    /// Who may ask for the scope that all others are denied.
    pub console: &'static str,
    pub schema: Schema,
    pub requests: Vec<ExchangeContext>,
    /// Under which keys an author would file a rule by hand.
    pub file_under: fn(&Rule) -> String,
    /// Under which of them a request must be looked for.
    pub look_under: LookUnder,
}

/// What a workload's realm has; the rules are not kept.
pub fn schema_of(name: &str, size: usize) -> Schema {
    let mut clients: BTreeSet<String> = (0..size).map(|number| rule(name, number).client).collect();
    clients.insert(CONSOLE.to_owned());
    schema(&clients)
}

/// The one client that may ask for [`DENIED`].
pub const CONSOLE: &str = "console";
/// The scope that one client may ask for.
pub const DENIED: &str = "admin";

/// What was decided: by which rule, by the deny, or by nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Rule(usize),
    Denied,
    None,
}

pub const NAMES: [&str; 6] = [
    "services",
    "ci",
    "agents",
    "partners",
    "adversarial",
    "unindexable",
];

/// What the rules look at, borrowed from a context.
pub struct View<'a> {
    pub client: &'a str,
    pub issuer: &'a str,
    pub sub: &'a str,
    pub audience: &'a str,
    pub resource: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub scope: &'a BTreeSet<Arc<str>>,
    pub groups: Option<&'a BTreeSet<Arc<str>>>,
    pub actor: &'a str,
    pub depth: usize,
    pub auth_age: Option<i64>,
    pub context: &'a ExchangeContext,
}

impl<'a> View<'a> {
    pub fn new(context: &'a ExchangeContext) -> Self {
        let resource = context.request.targets.resources.first();
        let audience = context.request.targets.audiences.first();
        Self {
            client: context.client.id.as_str(),
            issuer: context.subject.issuer.as_str(),
            sub: context.subject.subject.as_str(),
            audience: audience.map_or("", |name| name),
            resource: resource.map_or("", |uri| uri.canonical()),
            host: resource.and_then(|uri| uri.authority()).unwrap_or_default(),
            path: resource.map_or("", |uri| uri.path()),
            scope: context.scope.as_set(),
            groups: match context.subject.claims.get("groups") {
                Some(ClaimValue::StringSet(set)) => Some(set),
                _ => None,
            },
            actor: context
                .actor
                .as_ref()
                .map_or("", |actor| actor.subject.as_str()),
            depth: context.subject.chain.len(),
            auth_age: context
                .subject
                .auth_time
                .map(|at| context.now.since(at).max(0)),
            context,
        }
    }

    pub fn claim(&self, name: &str) -> &'a str {
        match self.context.subject.claims.get(name) {
            Some(ClaimValue::String(text)) => text,
            _ => "",
        }
    }
}

/// Numbers that look random (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

fn rule(name: &str, number: usize) -> Rule {
    let scope = (0..4).map(|s| format!("s{}:{s}", number % 7)).collect();
    let of = |client: String, issuer, to, when| Rule {
        client,
        issuer,
        to,
        scope,
        when,
    };
    match name {
        "services" => {
            let when = match number % 10 {
                9 => vec![When::Group(format!("team-{}", number % 50))],
                _ => Vec::new(),
            };
            of(
                format!("service-{}", number / 4),
                "corp",
                To::Audience(format!("api-{number}")),
                when,
            )
        }
        "ci" => of(
            format!("ci-{}", number % 8),
            "ci",
            To::Audience("deploy".to_owned()),
            vec![match number % 4 {
                3 => When::SubIs(format!("repo:acme/app-{number}:environment:production")),
                _ => When::SubBegins(format!("repo:acme/app-{number}:ref:refs/heads/")),
            }],
        ),
        "agents" => of(
            format!("agent-{number}"),
            "corp",
            To::Under(format!("https://mcp-{}.example.com/tools", number % 100)),
            vec![When::Agent],
        ),
        "partners" => {
            let to = match number % 5 {
                4 => To::Hosts(format!("p{number}.example.net"), "/v1".to_owned()),
                _ => To::Under(format!(
                    "https://api-{}.example.com/v1/p{number}",
                    number % 200
                )),
            };
            of(
                format!("gateway-{}", number % 16),
                "partner",
                to,
                Vec::new(),
            )
        }
        "adversarial" => of(
            "shared".to_owned(),
            "partner",
            To::Under("https://api.example.com/v1".to_owned()),
            vec![When::Claim("tenant", format!("t{number}"))],
        ),
        // Each rule has its own part of `sub`; the number is the same for all requests but few.
        "unindexable" => of(
            "shared".to_owned(),
            "partner",
            To::Under("https://api.example.com/v1".to_owned()),
            vec![
                When::AuthAge(600 + (number % 2) as i64),
                When::SubHolds(format!("-x{number}-")),
            ],
        ),
        other => unreachable!("{other}"),
    }
}

fn file_under(name: &str) -> fn(&Rule) -> String {
    match name {
        "services" | "agents" => |rule| rule.client.clone(),
        "ci" => |rule| match rule.when.first() {
            Some(When::SubIs(sub) | When::SubBegins(sub)) => repository(sub).to_owned(),
            _ => String::new(),
        },
        "partners" => |rule| match &rule.to {
            To::Under(uri) => uri.clone(),
            To::Hosts(rest, _) => rest.clone(),
            To::Audience(name) => name.clone(),
        },
        "adversarial" => |rule| match rule.when.first() {
            Some(When::Claim(_, tenant)) => tenant.clone(),
            _ => String::new(),
        },
        _ => |_| String::new(),
    }
}

fn look_under(name: &str) -> LookUnder {
    match name {
        "services" | "agents" => |view, find| find(view.client),
        "ci" => |view, find| find(repository(view.sub)),
        // What every URI here has: a scheme, a host, a version, a partner.
        "partners" => |view, find| {
            let mut ends = view.resource.match_indices('/').map(|(at, _)| at);
            let end = ends.nth(4).unwrap_or(view.resource.len());
            find(&view.resource[..end]);
            if let Some((_, rest)) = view.host.split_once('.') {
                find(rest);
            }
        },
        "adversarial" => |view, find| find(view.claim("tenant")),
        _ => |_, find| find(""),
    }
}

/// `repo:acme/app` of a CI's `sub`.
fn repository(sub: &str) -> &str {
    let second = sub.match_indices(':').nth(1).map(|(at, _)| at);
    sub.get(..second.unwrap_or(sub.len())).unwrap_or_default()
}

impl Workload {
    /// One of [`NAMES`], of a size.
    pub fn new(name: &'static str, size: usize) -> Self {
        let rules: Vec<Rule> = (0..size).map(|number| rule(name, number)).collect();
        let schema = schema_of(name, size);
        let small = self::schema(&BTreeSet::new());
        let mut random = Random::new(7);
        let requests = (0..CORPUS)
            .map(|_| request(&mut random, name, &rules, &small))
            .collect();
        Self {
            name,
            rules,
            console: CONSOLE,
            schema,
            requests,
            file_under: file_under(name),
            look_under: look_under(name),
        }
    }

    /// The rules in Cambist's language.
    pub fn files(&self) -> Vec<String> {
        let deny = format!(
            "deny admin {{\n  because \"for the console\"\n  error invalid_scope\n  \
             when scope has \"{DENIED}\" and client.id != \"{}\"\n}}\n",
            self.console
        );
        let chunks = self.rules.chunks(PER_FILE).enumerate();
        let files = chunks.map(|(file, rules)| {
            let mut text = format!("policy 1 module m{file}\n");
            if file == 0 {
                text.push_str(&deny);
            }
            for (number, rule) in rules.iter().enumerate() {
                write_rule(&mut text, file * PER_FILE + number, rule);
            }
            text
        });
        files.collect()
    }

    /// What every engine must answer.
    pub fn expected(&self, context: &ExchangeContext) -> Answer {
        let view = View::new(context);
        if view.scope.contains(DENIED) && view.client != self.console {
            return Answer::Denied;
        }
        let rules = self.rules.iter().position(|rule| rule.matches(&view));
        rules.map_or(Answer::None, Answer::Rule)
    }
}

/// A workload's rules, loaded by Cambist.
pub fn loaded(workload: &Workload) -> PolicySet<ProcessorId> {
    load(&workload.files(), &workload.schema)
}

/// Loads files of rules.
pub fn load(files: &[String], schema: &Schema) -> PolicySet<ProcessorId> {
    let trees = files.iter().enumerate().map(|(number, text)| {
        parse(&Arc::from(format!("m{number}.policy")), text).expect("a policy that parses")
    });
    let trees: Vec<_> = trees.collect();
    match check(&trees, schema) {
        Ok((set, _)) => set,
        Err(problems) => panic!("{problems:?}"),
    }
}

/// The number of a rule, from the name that [`Workload::files`] gave it.
pub fn number_of(rule: &str) -> usize {
    rule.rsplit('r')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("r and a number")
}

impl Rule {
    /// Whether it matches, written by hand.
    pub fn matches(&self, view: &View<'_>) -> bool {
        let agent = self.when.iter().any(|when| matches!(when, When::Agent));
        self.client == view.client
            && self.issuer == view.issuer
            && (agent || view.actor.is_empty() && view.depth == 0)
            && match &self.to {
                To::Audience(name) => name == view.audience,
                To::Under(uri) => is_under(view.resource, uri),
                To::Hosts(rest, path) => {
                    view.host
                        .split_once('.')
                        .is_some_and(|(_, after)| after == rest)
                        && is_under(view.path, path)
                }
            }
            && !view.scope.is_empty()
            && view
                .scope
                .iter()
                .all(|scope| self.scope.iter().any(|allowed| **allowed == **scope))
            && self.when.iter().all(|when| match when {
                When::SubIs(sub) => sub == view.sub,
                When::SubBegins(begin) => view.sub.starts_with(&**begin),
                When::SubHolds(part) => view.sub.contains(&**part),
                When::Claim(name, value) => view.claim(name) == value,
                When::Group(group) => view.groups.is_some_and(|groups| groups.contains(&**group)),
                When::Agent => view.actor == view.client && view.depth < 2,
                When::AuthAge(most) => view.auth_age.is_some_and(|age| age <= *most),
            })
    }
}

fn is_under(text: &str, container: &str) -> bool {
    let rest = text.strip_prefix(container);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn write_rule(text: &mut String, number: usize, rule: &Rule) {
    let list = |items: &[String]| {
        let items: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
        format!("[{}]", items.join(", "))
    };
    let to = match &rule.to {
        To::Audience(name) => format!("audience \"{name}\""),
        To::Under(uri) => format!("resource under \"{uri}\""),
        To::Hosts(rest, path) => format!("resource under \"https://*.{rest}{path}\""),
    };
    let mut when = vec![format!("scope only {}", list(&rule.scope))];
    let mut actor = "";
    for test in &rule.when {
        let test = match test {
            When::SubIs(sub) => format!("subject.sub == \"{sub}\""),
            When::SubBegins(begin) => format!("subject.sub like \"{begin}**\""),
            When::SubHolds(part) => format!("subject.sub like \"**{part}**\""),
            When::Claim(name, value) => format!("subject.claims.{name} == \"{value}\""),
            When::Group(group) => format!("subject.claims.groups has \"{group}\""),
            When::Agent => {
                actor = "  actor required from agents\n";
                when.push("actor.sub == client.id".to_owned());
                "subject.chain.depth < 2".to_owned()
            }
            When::AuthAge(most) => format!("subject.auth_age <= {most}s"),
        };
        when.push(test);
    }
    let sub = match rule.issuer {
        "corp" => "",
        _ => ", sub: \"${subject.issuer}|${subject.sub}\"",
    };
    writeln!(
        text,
        "rule r{number} {{\n  from  {}\n  by    client \"{}\"\n  to    {to}\n{actor}  when  {}\n  \
         use   mint {{ scope: {}{sub} }}\n}}",
        rule.issuer,
        rule.client,
        when.join("\n    and "),
        list(&rule.scope),
    )
    .expect("text takes all");
}

/// 80 of 100 meet a rule, 15 miss one in something, 5 are denied.
fn request(random: &mut Random, name: &str, rules: &[Rule], schema: &Schema) -> ExchangeContext {
    let number = random.below(rules.len());
    let rule = &rules[number];
    let mut client = rule.client.clone();
    let kind = random.below(100);
    let mut scopes: BTreeSet<String> = BTreeSet::new();
    for _ in 0..1 + random.below(3) {
        scopes.insert(rule.scope[random.below(rule.scope.len())].clone());
    }
    let mut sub = format!("user-{}", random.below(100_000));
    let mut claims: BTreeMap<&str, Value> = BTreeMap::new();
    let mut auth_age = 60 + random.below(300) as i64;
    let mut facts = Map::new();
    let mut agent = false;
    for when in &rule.when {
        match when {
            When::SubIs(is) => sub = is.clone(),
            When::SubBegins(begin) => sub = format!("{begin}feature-{}", random.below(100)),
            When::SubHolds(part) => sub = format!("user{part}{}", random.below(1000)),
            When::Claim(name, value) => drop(claims.insert(name, value.as_str().into())),
            When::Group(group) => drop(claims.insert("groups", json!(["everybody", group]))),
            When::Agent => agent = true,
            When::AuthAge(_) => {}
        }
    }
    let mut audience = match &rule.to {
        To::Audience(name) => name.clone(),
        _ => String::new(),
    };
    let mut resource = match &rule.to {
        To::Audience(_) => String::new(),
        To::Under(uri) => format!("{uri}/items/{}", random.below(1000)),
        To::Hosts(rest, path) => format!("https://eu.{rest}{path}/items"),
    };
    match kind {
        0..80 => {}
        80..95 => match random.below(4) {
            0 => client = rules[random.below(rules.len())].client.clone() + "x",
            1 => {
                audience = audience.clone() + if audience.is_empty() { "" } else { "-x" };
                resource = resource.replace("https://", "https://x");
            }
            2 => drop(scopes.insert("other".to_owned())),
            _ => {
                sub = sub.replace("heads", "tags").replace("-x", "-y");
                auth_age = 6000;
                agent = false;
                claims.insert("tenant", "nobody".into());
                claims.remove("groups");
            }
        },
        _ => drop(scopes.insert(DENIED.to_owned())),
    }
    let mut set = |path: &str, value: Value| {
        facts.insert(path.to_owned(), value);
    };
    set("client.id", client.as_str().into());
    set("subject.issuer", rule.issuer.into());
    set("subject.sub", sub.into());
    set("subject.auth_age", auth_age.into());
    if name == "partners" || name == "adversarial" || name == "unindexable" {
        claims.entry("tenant").or_insert_with(|| "t".into());
    } else {
        claims.remove("tenant");
    }
    for (name, value) in claims {
        set(&format!("subject.claims.{name}"), value);
    }
    let scopes: Vec<String> = scopes.into_iter().collect();
    if rule.issuer != "ci" {
        set("subject.scope", scopes.clone().into());
    }
    set("request.scope", scopes.into());
    if agent {
        set("actor.issuer", "agents".into());
        set("actor.sub", client.into());
    }
    if !audience.is_empty() {
        set("audience", vec![audience].into());
    }
    if !resource.is_empty() {
        set("resource", vec![resource].into());
    }
    facts::assemble(&facts, schema, NumericDate(NOW))
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn schema(clients: &BTreeSet<String>) -> Schema {
    const SUB: ParameterSchema = ParameterSchema {
        name: "sub",
        kind: ParameterKind::Text,
        doc: "the subject",
    };
    let issuer = |alias: &str, local, has_scope, claims: &[(&str, ClaimType)]| IssuerSchema {
        alias: alias.parse().expect("an alias"),
        local,
        token_types: vec![TokenType::AccessToken],
        has_scope,
        claims: claims
            .iter()
            .map(|(name, ty)| {
                let claim = ClaimDeclaration {
                    ty: *ty,
                    optional: true,
                    pointer: format!("/{name}"),
                    separators: String::new(),
                };
                (Arc::from(*name), claim)
            })
            .collect(),
        may_act_namespace: BTreeSet::new(),
        tenancy: Vec::new(),
        tenants: BTreeMap::new(),
    };
    let client = |id: &String| ClientSchema {
        id: id.parse().expect("a client's id"),
        names: [Arc::from(&**id)].into(),
        attributes: BTreeMap::new(),
        auth: Vec::new(),
    };
    let mint = ProcessorSchema {
        accepts: vec![TokenType::AccessToken],
        issues: vec![TokenType::AccessToken],
        carries_scope: true,
        carries_act: true,
        parameters: &[SUB],
        lifetime: 60,
        max_lifetime: 3600,
    };
    Schema {
        issuers: vec![
            issuer("corp", true, true, &[("groups", ClaimType::StringSet)]),
            issuer("ci", false, false, &[]),
            issuer("partner", false, true, &[("tenant", ClaimType::String)]),
            issuer("agents", false, true, &[]),
            issuer("self", true, true, &[]),
        ],
        clients: clients.iter().map(client).collect(),
        client_attributes: BTreeMap::new(),
        auth_methods: vec!["client_secret_basic"],
        grant_types: vec!["token_exchange"],
        processors: [(Arc::from("mint"), mint)].into(),
        resources: ResourceRegistry(Vec::new()),
    }
}

/// An engine, loaded.
pub trait Engine {
    fn decide(&mut self, context: &ExchangeContext) -> Answer;
}

impl<F: FnMut(&ExchangeContext) -> Answer> Engine for F {
    fn decide(&mut self, context: &ExchangeContext) -> Answer {
        self(context)
    }
}

/// Reads a selection.
fn answer(
    set: &PolicySet<ProcessorId>,
    numbers: &[usize],
    selection: cambist::policy::decide::Selection,
) -> Answer {
    use cambist::policy::decide::Selection;
    match selection {
        Selection::Denied => Answer::Denied,
        Selection::Rule(place) => Answer::Rule(numbers[place]),
        Selection::NoRule(_) => Answer::None,
        Selection::Ambiguous => panic!("ambiguous: {:?}", set.counts()),
    }
}

/// Cambist by its index: which rule is selected.
pub fn indexed(set: PolicySet<ProcessorId>) -> impl Engine {
    let numbers = numbers(&set);
    move |context: &ExchangeContext| answer(&set, &numbers, set.select(context))
}

/// Cambist by its index, and what the rule permits.
pub fn permitted(set: PolicySet<ProcessorId>) -> impl Engine {
    use cambist::policy::Decision;
    use cambist::policy::decide::Reason;
    move |context: &ExchangeContext| match set.decide(context) {
        Decision::Permit(_, permit) => {
            Answer::Rule(number_of(&std::hint::black_box(&permit).rule().name))
        }
        Decision::Deny(denial) => match denial.reason {
            Reason::DeniedBy(_) => Answer::Denied,
            Reason::NoRule(_) => Answer::None,
            other => panic!("{other:?}"),
        },
    }
}

/// Cambist rule by rule.
pub fn scanned(set: PolicySet<ProcessorId>) -> impl Engine {
    let numbers = numbers(&set);
    move |context: &ExchangeContext| answer(&set, &numbers, set.select_by_scan(context))
}

fn numbers(set: &PolicySet<ProcessorId>) -> Vec<usize> {
    set.rules()
        .iter()
        .map(|rule| number_of(&rule.id.name))
        .collect()
}

/// By hand: one closure for each rule, all of them called, since exactly one may match.
pub fn closures(workload: &Workload) -> impl Engine + use<> {
    type Closure = Box<dyn Fn(&View<'_>) -> bool>;
    let rules: Vec<Closure> = workload
        .rules
        .iter()
        .cloned()
        .map(|rule| Box::new(move |view: &View<'_>| rule.matches(view)) as Closure)
        .collect();
    let console = workload.console;
    move |context: &ExchangeContext| {
        let view = View::new(context);
        if view.scope.contains(DENIED) && view.client != console {
            return Answer::Denied;
        }
        one(rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule(&view))
            .map(|(number, _)| number))
    }
}

/// By hand: a hash table by what the author knows to be selective.
pub fn hash_index(workload: &Workload) -> impl Engine + use<> {
    let mut table: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, rule) in workload.rules.iter().enumerate() {
        table
            .entry((workload.file_under)(rule))
            .or_default()
            .push(number);
    }
    let rules = workload.rules.clone();
    let (console, look_under) = (workload.console, workload.look_under);
    move |context: &ExchangeContext| {
        let view = View::new(context);
        if view.scope.contains(DENIED) && view.client != console {
            return Answer::Denied;
        }
        let mut found = Answer::None;
        look_under(&view, &mut |key| {
            for number in table.get(key).into_iter().flatten() {
                if rules[*number].matches(&view) {
                    assert_eq!(found, Answer::None, "two rules match");
                    found = Answer::Rule(*number);
                }
            }
        });
        found
    }
}

/// The one of them; none.
pub fn one(mut numbers: impl Iterator<Item = usize>) -> Answer {
    let Some(first) = numbers.next() else {
        return Answer::None;
    };
    assert_eq!(numbers.next(), None, "two rules match");
    Answer::Rule(first)
}
