//! Random realms, policy sets as text, and requests that lie where those policies change their mind:
//! made of the constants that the policies name, and of near misses of them. The same seed always gives
//! the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cambist::context::ExchangeContext;
use cambist::diagnostic::SourceText;
use cambist::oauth::NumericDate;
use cambist::oauth::claims::{ClaimDeclaration, ClaimType, ClaimValue};
use cambist::oauth::id::ProcessorId;
use cambist::oauth::scope::Scopes;
use cambist::oauth::target::{RegisteredResource, ResourceRegistry};
use cambist::oauth::token_type::TokenType;
use cambist::policy::schema::{
    ClientSchema, IssuerSchema, ParameterKind, ParameterSchema, ProcessorSchema, Schema,
};
use cambist::policy::{PolicySet, check, facts, parse};
use serde_json::{Map, Value, json};

/// When random requests are made, unless they say otherwise.
pub const NOW: i64 = 1_800_000_000;

/// Numbers that look random (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// In `percent` of all cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub fn word(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len())]
    }

    /// At least one of them, at most `most`, each once, in their order.
    pub fn some<'a, T>(&mut self, of: &'a [T], most: usize) -> Vec<&'a T> {
        let count = 1 + self.below(most.min(of.len()));
        let mut places: BTreeSet<usize> = BTreeSet::new();
        while places.len() < count {
            places.insert(self.below(of.len()));
        }
        places.into_iter().map(|place| &of[place]).collect()
    }
}

const CLIENTS: [&str; 8] = [
    "web",
    "web-1",
    "agent-1",
    "agent-22",
    "orders-api",
    "api",
    "svc-7",
    "svc-70",
];
const CLIENT_GLOBS: [&str; 7] = ["agent-*", "*-api", "*", "web*", "svc-7*", "a*t-*", "**"];
const SCOPES: [&str; 7] = [
    "a",
    "b",
    "a:b",
    "orders:read",
    "orders:write",
    "admin:x",
    "admin:x:y",
];
const SCOPE_GLOBS: [&str; 6] = ["orders:*", "admin:**", "*", "a*", "*:read", "**x**"];
const AUDIENCES: [&str; 5] = ["x", "x:y", "orders", "api", "agent-1"];
const AUDIENCE_GLOBS: [&str; 5] = ["x*", "x:*", "*", "**", "*rs"];
const URIS: [&str; 12] = [
    "https://a.example",
    "https://a.example/",
    "https://a.example/v1",
    "https://a.example/v1/orders/7",
    "https://a.example/v1/orders?x=1",
    "https://a.example/v10",
    "https://b.a.example/v1",
    "https://c.b.a.example/v1/orders",
    "https://a.example:8443/v1",
    "http://a.example/v1",
    "https://a.example.evil.com/v1",
    "urn:a:b",
];
const UNDER: [&str; 7] = [
    "https://a.example",
    "https://a.example/v1",
    "https://a.example/v1/",
    "https://a.example/v1/orders",
    "https://*.a.example/v1",
    "https://**.a.example",
    "https://a.example:8443",
];
const LIKE: [&str; 7] = [
    "https://a.example/*",
    "https://a.example/**",
    "https://a.example/v1*",
    "https://a.example/*/orders/**",
    "https://*.a.example/**",
    "https://**.a.example/v1/*",
    "https://a.example/v1",
];
const TEXTS: [&str; 9] = [
    "x",
    "y",
    "urn:z",
    "urn:z:1",
    "agent-1",
    "main",
    "ref/heads/main",
    "ref/heads/a/b",
    "web",
];
const TEXT_GLOBS: [&str; 9] = [
    "urn:*",
    "urn:**",
    "*",
    "**",
    "ref/heads/*",
    "ref/**",
    "*-1",
    "a*1",
    "ma*",
];
const ADDRESSES: [&str; 5] = [
    "10.0.0.1",
    "10.255.0.1",
    "11.0.0.1",
    "2001:db8::1",
    "192.0.2.1",
];
const TYPES: [TokenType; 3] = [TokenType::AccessToken, TokenType::IdToken, TokenType::Jwt];

const SUB: ParameterSchema = ParameterSchema {
    name: "sub",
    kind: ParameterKind::Text,
    doc: "the subject",
};
const NOTE: ParameterSchema = ParameterSchema {
    name: "note",
    kind: ParameterKind::Text,
    doc: "any text",
};

/// A realm: some issuers with some claims, some clients, three processors.
pub fn realm(random: &mut Random) -> Schema {
    let pool: [(&str, ClaimType); 7] = [
        ("tenant", ClaimType::String),
        ("ref", ClaimType::String),
        ("groups", ClaimType::StringSet),
        ("level", ClaimType::Int),
        ("flag", ClaimType::Bool),
        ("home", ClaimType::Uri),
        ("role", ClaimType::String),
    ];
    let mut issuers = Vec::new();
    for alias in ["corp", "partner", "ci", "agents"] {
        if alias != "corp" && random.chance(35) {
            continue;
        }
        let mut claims: BTreeMap<Arc<str>, ClaimDeclaration> = BTreeMap::new();
        for (name, ty) in random.some(&pool, pool.len()) {
            claims.insert(
                Arc::from(*name),
                ClaimDeclaration {
                    ty: *ty,
                    optional: random.chance(60),
                    pointer: format!("/{name}"),
                    separators: "/".to_owned(),
                },
            );
        }
        issuers.push(IssuerSchema {
            alias: alias.parse().unwrap(),
            local: alias == "corp",
            token_types: random.some(&TYPES, 3).into_iter().cloned().collect(),
            has_scope: alias != "ci",
            claims,
            may_act_namespace: BTreeSet::new(),
            tenancy: Vec::new(),
            tenants: BTreeMap::new(),
        });
    }
    issuers.push(IssuerSchema {
        alias: "self".parse().unwrap(),
        local: true,
        token_types: vec![TokenType::AccessToken],
        has_scope: true,
        claims: BTreeMap::new(),
        may_act_namespace: BTreeSet::new(),
        tenancy: Vec::new(),
        tenants: BTreeMap::new(),
    });
    let clients = CLIENTS.iter().map(|id| {
        let tier = random.chance(50).then(|| {
            let tier: Arc<str> = Arc::from(*random.pick(&TEXTS));
            (Arc::from("tier"), ClaimValue::String(tier))
        });
        ClientSchema {
            id: id.parse().unwrap(),
            names: [Arc::from(*id)].into(),
            attributes: tier.into_iter().collect(),
            auth: Vec::new(),
        }
    });
    let clients = clients.collect();
    let processor = |carries_scope| ProcessorSchema {
        accepts: TYPES.to_vec(),
        issues: vec![TokenType::AccessToken, TokenType::Jwt],
        carries_scope,
        carries_act: carries_scope,
        parameters: &[SUB, NOTE],
        lifetime: 60,
        max_lifetime: 3600,
    };
    let entry = |under: &str, audience: &str, scopes: Option<&[&str]>| RegisteredResource {
        under: under.parse().unwrap(),
        audience: audience.parse().unwrap(),
        scopes: scopes.map(|tokens| Scopes::from_tokens(tokens.iter().copied()).unwrap()),
    };
    Schema {
        issuers,
        clients,
        client_attributes: [(Arc::from("tier"), ClaimType::String)].into(),
        auth_methods: vec!["client_secret_basic", "private_key_jwt"],
        grant_types: vec!["token_exchange", "other_grant"],
        processors: [
            (Arc::from("mint"), processor(true)),
            (Arc::from("other"), processor(true)),
            (Arc::from("bare"), processor(false)),
        ]
        .into(),
        resources: ResourceRegistry(vec![
            entry("https://a.example/v1", "api", None),
            entry(
                "https://a.example/v1/orders",
                "orders",
                Some(&["orders:read", "a"]),
            ),
        ]),
    }
}

/// A policy set that checks, and its text.
#[derive(Debug)]
pub struct Sample {
    pub schema: Schema,
    /// One file.
    pub text: String,
    pub set: PolicySet<ProcessorId>,
}

/// A random policy set of about `size` rules and denies.
pub fn sample(random: &mut Random, size: usize) -> Sample {
    let schema = realm(random);
    let mut items: Vec<String> = Vec::new();
    let mut rules: Vec<usize> = Vec::new();
    for number in 0..size {
        let is_rule = number == 0 || random.chance(88);
        // What does not check is drawn again; most does.
        let item = (0..50).find_map(|_| {
            let mut item = match is_rule {
                true => rule(random, number, &schema),
                false => deny(random, number, &schema),
            };
            if is_rule && !rules.is_empty() && random.chance(15) {
                // What is overridden was written before: there is no circle.
                let overridden = format!("  overrides i{}\n}}\n", random.pick(&rules));
                let alone = item.clone();
                checks(&text(&[alone]), &schema)?;
                item.truncate(item.len() - 2);
                return Some(item + &overridden);
            }
            checks(&text(std::slice::from_ref(&item)), &schema)?;
            Some(item)
        });
        if let Some(item) = item {
            if is_rule {
                rules.push(number);
            }
            items.push(item);
        }
    }
    let text = text(&items);
    let set = checks(&text, &schema).unwrap_or_else(|| {
        let problems = check(
            &[parse(&Arc::from("random.policy"), &text).unwrap()],
            &schema,
        );
        let mut sources = SourceText::default();
        sources.insert(Arc::from("random.policy"), Arc::from(&*text));
        let problems = problems.err().unwrap();
        panic!(
            "{}",
            problems.render(&sources, cambist::diagnostic::Style::Plain)
        );
    });
    Sample { schema, text, set }
}

fn text(items: &[String]) -> String {
    format!(
        "policy 1 module random\n\
         list @texts : string = [\"x\", \"urn:z\", \"main\"]\n\
         list @scopes : string = [\"a\", \"orders:read\"]\n{}",
        items.concat()
    )
}

/// A policy set of one file, if it is right.
pub fn checks(text: &str, schema: &Schema) -> Option<PolicySet<ProcessorId>> {
    let file = parse(&Arc::from("random.policy"), text).ok()?;
    check(&[file], schema).ok().map(|(set, _)| set)
}

fn quoted(items: &[&&str]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", items.join(", "))
}

fn from(random: &mut Random, schema: &Schema) -> String {
    if random.chance(10) {
        let all: Vec<&str> = schema
            .issuers
            .iter()
            .map(|issuer| issuer.alias.as_str())
            .collect();
        return format!("from {}", all.join(", "));
    }
    let issuers = random.some(&schema.issuers, 2);
    let issuers = issuers.into_iter().map(|issuer| {
        let narrowed = random.chance(20) && issuer.token_types.len() > 1;
        match narrowed {
            true => format!(
                "{} as {}",
                issuer.alias,
                random.pick(&issuer.token_types).name()
            ),
            false => issuer.alias.to_string(),
        }
    });
    format!("from {}", issuers.collect::<Vec<_>>().join(", "))
}

fn by(random: &mut Random) -> String {
    match random.below(10) {
        0 => "by any client".to_owned(),
        1 | 2 => format!("by client like {}", quoted(&random.some(&CLIENT_GLOBS, 2))),
        _ => format!("by client {}", quoted(&random.some(&CLIENTS, 3))),
    }
}

fn to(random: &mut Random, deny: bool) -> String {
    let part = |random: &mut Random| match random.below(9) {
        0 => "any target".to_owned(),
        1 | 2 => format!("resource {}", quoted(&random.some(&URIS, 3))),
        3 | 4 => format!("resource under {}", quoted(&random.some(&UNDER, 2))),
        5 => format!("resource like {}", quoted(&random.some(&LIKE, 2))),
        6 => format!("audience like {}", quoted(&random.some(&AUDIENCE_GLOBS, 2))),
        7 => format!(
            "resource under {}, audience {}",
            quoted(&random.some(&UNDER, 2)),
            quoted(&random.some(&AUDIENCES, 2))
        ),
        _ => format!("audience {}", quoted(&random.some(&AUDIENCES, 3))),
    };
    let mut parts = vec![part(random)];
    if random.chance(20) {
        parts.push(part(random));
    }
    if deny && random.chance(10) {
        parts.push("no target".to_owned());
    }
    format!("to {}", parts.join(" or "))
}

fn actor(random: &mut Random, schema: &Schema) -> String {
    let issuers = random.some(&schema.issuers, 2);
    let issuers: Vec<&str> = issuers.iter().map(|issuer| issuer.alias.as_str()).collect();
    let issuers = issuers.join(", ");
    match random.below(6) {
        0 => "actor none".to_owned(),
        1 | 2 => "actor client".to_owned(),
        3 => format!("actor named from {issuers}"),
        4 => format!("actor required from {issuers}"),
        _ => format!("actor optional from {issuers}"),
    }
}

fn rule(random: &mut Random, number: usize, schema: &Schema) -> String {
    let processor = *random.pick(&["mint", "mint", "mint", "other", "bare"]);
    let mut clauses = vec![from(random, schema), by(random)];
    let mut audience = "";
    match random.chance(8) {
        true => {
            clauses.push("to no target".to_owned());
            audience = ", audience: \"home\"";
        }
        false => clauses.push(to(random, false)),
    }
    if random.chance(35) {
        clauses.push(actor(random, schema));
    }
    if random.chance(5) {
        clauses.push("via other_grant".to_owned());
    }
    if random.chance(10) {
        clauses.push("issue jwt".to_owned());
    }
    for _ in 0..random.below(4).saturating_sub(1) {
        clauses.push(format!("when {}", condition(random, schema, 2)));
    }
    let ceiling = quoted(&random.some(&SCOPES, 5));
    let lifetime = random.pick(&["1h", "at_most 5s", "60s"]);
    clauses.push(format!(
        "use {processor} {{ sub: \"${{subject.issuer}}|${{subject.sub}}\", scope: {ceiling}, \
         lifetime: {lifetime}{audience} }}"
    ));
    format!("rule i{number} {{\n  {}\n}}\n", clauses.join("\n  "))
}

fn deny(random: &mut Random, number: usize, schema: &Schema) -> String {
    let mut clauses = Vec::new();
    if random.chance(50) {
        clauses.push(from(random, schema));
    }
    if random.chance(50) {
        clauses.push(by(random));
    }
    if random.chance(25) {
        clauses.push(to(random, true));
    }
    if random.chance(15) {
        clauses.push(actor(random, schema));
    }
    for _ in 0..1 + random.below(3) {
        clauses.push(format!("when {}", condition(random, schema, 2)));
    }
    let error = *random.pick(&["invalid_scope", "invalid_target", "unauthorized_client"]);
    clauses.push(format!("error {error}"));
    format!("deny i{number} {{\n  {}\n}}\n", clauses.join("\n  "))
}

/// A condition, of at most `depth` levels of `and`, `or` and `not`.
pub fn condition(random: &mut Random, schema: &Schema, depth: usize) -> String {
    if depth == 0 || random.chance(60) {
        return atom(random, schema);
    }
    let parts = |random: &mut Random, word: &str| {
        let count = 2 + random.below(2);
        let parts: Vec<String> = (0..count)
            .map(|_| condition(random, schema, depth - 1))
            .collect();
        format!("({})", parts.join(word))
    };
    match random.below(5) {
        0 | 1 => parts(random, " and "),
        2 | 3 => parts(random, " or "),
        _ => format!("not ({})", condition(random, schema, depth - 1)),
    }
}

/// A test; where its attribute may be absent it is mostly guarded.
fn atom(random: &mut Random, schema: &Schema) -> String {
    match random.below(24) {
        0 => format!("scope only {}", quoted(&random.some(&SCOPES, 4))),
        1 => format!("scope has \"{}\"", random.pick(&SCOPES)),
        2 => format!("scope == {}", quoted(&random.some(&SCOPES, 2))),
        3 => {
            let word = random.pick(&["any of", "all of"]);
            format!("scope has {word} {}", quoted(&random.some(&SCOPES, 3)))
        }
        4 => {
            let quantifier = random.pick(&["any", "all", "none"]);
            let glob = random.pick(&SCOPE_GLOBS);
            format!("{quantifier} scope like \"{glob}\"")
        }
        5 => format!("count(scope) {} {}", compared(random), random.below(4)),
        6 => format!(
            "{} is empty",
            random.pick(&["scope", "audience", "resource"])
        ),
        7 => {
            let quantifier = random.pick(&["any", "all", "none"]);
            format!("{quantifier} resource under \"{}\"", random.pick(&UNDER))
        }
        8 => format!("resource has \"{}\"", random.pick(&URIS)),
        9 => match random.below(3) {
            0 => format!("audience only {}", quoted(&random.some(&AUDIENCES, 3))),
            1 => format!("audience has \"{}\"", random.pick(&AUDIENCES)),
            _ => "client.id in audience".to_owned(),
        },
        10 | 11 => text_test(random, "subject.sub"),
        12 => text_test(random, "client.id"),
        13 => {
            let alias = random.pick(&schema.issuers).alias.to_string();
            format!("subject.issuer {} \"{alias}\"", random.pick(&["==", "!="]))
        }
        14 => match random.below(3) {
            0 => format!(
                "conn.ip {} [\"10.0.0.0/8\", \"2001:db8::/32\"]",
                in_(random)
            ),
            1 => format!("conn.ip {} \"10.0.0.1\"", random.pick(&["==", "!="])),
            _ => format!("now {} 2027-01-15T08:00:00Z", random.pick(&["<", ">="])),
        },
        15 => {
            let hours = random.pick(&["mon..fri", "sat, sun", "08:00..18:00"]);
            format!("time in \"Europe/Zurich\" {hours}")
        }
        16 => {
            let test = format!("subject.auth_age {} {}", compared(random), duration(random));
            guarded(random, "subject.auth_age", test, Some("2h"))
        }
        17 => {
            let path = random.pick(&["subject.acr", "subject.client_id", "client.attr.tier"]);
            let test = text_test(random, path);
            guarded(random, path, test, Some("\"y\""))
        }
        18 => {
            let path = *random.pick(&[
                "actor.sub",
                "actor.client_id",
                "subject.act.sub",
                "subject.may_act.sub",
            ]);
            let test = match random.chance(30) {
                true => format!("{path} == client.id"),
                false => text_test(random, path),
            };
            guarded(random, path, test, Some("\"y\""))
        }
        19 => {
            let path = random.pick(&["subject.scope", "request.scope"]);
            let test = match random.below(3) {
                0 => format!("{path} has \"{}\"", random.pick(&SCOPES)),
                1 => format!("{path} only @scopes"),
                _ => format!("any {path} like \"{}\"", random.pick(&SCOPE_GLOBS)),
            };
            guarded(random, path, test, None)
        }
        20 => match random.below(3) {
            0 => "any subject.chain where (it.issuer == unknown)".to_owned(),
            1 => format!(
                "subject.chain.depth {} {}",
                compared(random),
                random.below(3)
            ),
            _ => format!(
                "client.auth {} \"private_key_jwt\"",
                random.pick(&["==", "!="])
            ),
        },
        _ => claim(random, schema),
    }
}

fn in_(random: &mut Random) -> &'static str {
    random.word(&["in", "not in"])
}

fn compared(random: &mut Random) -> &'static str {
    random.word(&["<", "<=", ">", ">=", "=="])
}

fn duration(random: &mut Random) -> &'static str {
    random.word(&["1m", "5m", "1h"])
}

fn text_test(random: &mut Random, path: &str) -> String {
    let globs: &[&str] = match path {
        "client.id" | "subject.client_id" | "actor.client_id" => &CLIENT_GLOBS,
        _ => &TEXT_GLOBS,
    };
    let texts: &[&str] = match path {
        "client.id" => &CLIENTS,
        _ => &TEXTS,
    };
    match random.below(8) {
        0..=2 => format!("{path} == \"{}\"", random.pick(texts)),
        3 => format!("{path} != \"{}\"", random.pick(texts)),
        4 => format!("{path} {} {}", in_(random), quoted(&random.some(texts, 3))),
        5 => format!("{path} in @texts"),
        6 => format!("{path} not like \"{}\"", random.pick(globs)),
        _ => format!("{path} like \"{}\"", random.pick(globs)),
    }
}

/// A test of what may be absent, in one of the forms that say what absence means, or bare, which is fine
/// where absence refuses.
fn guarded(random: &mut Random, path: &str, test: String, default: Option<&str>) -> String {
    match (random.below(4), default) {
        (0, Some(default)) => test.replacen(path, &format!("{path} ?? {default}"), 1),
        (1, _) => format!("(absent {path} or {test})"),
        (2, _) => test,
        _ => format!("(present {path} and {test})"),
    }
}

fn claim(random: &mut Random, schema: &Schema) -> String {
    let issuer = random.pick(&schema.issuers);
    let claims: Vec<(&Arc<str>, &ClaimDeclaration)> = issuer.claims.iter().collect();
    if claims.is_empty() {
        return format!("scope has \"{}\"", random.pick(&SCOPES));
    }
    let (name, claim) = random.pick(&claims);
    let path = format!("subject.claims.{name}");
    let (test, default) = match claim.ty {
        ClaimType::String => (text_test(random, &path), Some("\"y\"")),
        ClaimType::Int => (
            format!("{path} {} {}", compared(random), random.below(4)),
            Some("2"),
        ),
        ClaimType::Bool => {
            let truth = random.pick(&["true", "false"]);
            (
                format!("{path} {} {truth}", random.pick(&["==", "!="])),
                Some("false"),
            )
        }
        ClaimType::Uri => match random.below(3) {
            0 => (format!("{path} == \"{}\"", random.pick(&URIS)), None),
            1 => (format!("{path} under \"{}\"", random.pick(&UNDER)), None),
            _ => (format!("{path} like \"{}\"", random.pick(&LIKE)), None),
        },
        ClaimType::StringSet => match random.below(4) {
            0 => (format!("{path} has \"{}\"", random.pick(&TEXTS)), None),
            1 => (
                format!("{path} has any of {}", quoted(&random.some(&TEXTS, 3))),
                None,
            ),
            2 => (
                format!("{path} only {}", quoted(&random.some(&TEXTS, 4))),
                None,
            ),
            _ => (
                format!("any {path} like \"{}\"", random.pick(&TEXT_GLOBS)),
                None,
            ),
        },
    };
    if random.chance(8) {
        return format!("{} {path}", random.pick(&["present", "absent"]));
    }
    guarded(random, &path, test, default)
}

/// A text that a policy may name, or one that is nearly the same.
fn text_near(random: &mut Random, of: &[&str]) -> String {
    let text = (*random.pick(of)).to_owned();
    match random.below(10) {
        0 => format!("{text}1"),
        1 => format!("{text}/a"),
        2 => format!("x{text}"),
        _ => text,
    }
}

fn uri_near(random: &mut Random) -> String {
    let uri = (*random.pick(&URIS)).to_owned();
    let plain = !uri.contains('?') && uri.starts_with("http") && !uri.ends_with('/');
    match random.below(8) {
        0 if plain => format!("{uri}/x"),
        1 if plain => format!("{uri}?q"),
        2 => uri.replace("https://a.", "https://x.a."),
        _ => uri,
    }
}

fn values(items: Vec<String>) -> Value {
    let items: BTreeSet<String> = items.into_iter().collect();
    items.into_iter().map(Value::from).collect()
}

fn few(random: &mut Random, most: usize, mut item: impl FnMut(&mut Random) -> String) -> Value {
    let count = random.below(most + 1);
    values((0..count).map(|_| item(random)).collect())
}

/// A request as a table of facts, for [`facts::assemble`].
pub fn request(random: &mut Random, schema: &Schema) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut set = |path: &str, value: Value| {
        facts.insert(path.to_owned(), value);
    };
    set("client.id", (*random.pick(&CLIENTS)).into());
    set("client.auth", (*random.pick(&schema.auth_methods)).into());
    let issuer = random.pick(&schema.issuers);
    let scope = |random: &mut Random| (*random.pick(&SCOPES)).to_owned();
    set("subject.issuer", issuer.alias.as_str().into());
    set("subject.sub", text_near(random, &TEXTS).into());
    set(
        "subject.token_type",
        random.pick(&issuer.token_types).name().into(),
    );
    for (name, claim) in &issuer.claims {
        if claim.optional && random.chance(40) {
            continue;
        }
        let value = match claim.ty {
            ClaimType::String => text_near(random, &TEXTS).into(),
            ClaimType::Int => random.below(5).into(),
            ClaimType::Bool => random.chance(50).into(),
            ClaimType::Uri => uri_near(random).into(),
            ClaimType::StringSet => few(random, 3, |random| text_near(random, &TEXTS)),
        };
        set(&format!("subject.claims.{name}"), value);
    }
    if issuer.has_scope && random.chance(70) {
        set("subject.scope", few(random, 4, scope));
    }
    if random.chance(60) {
        let mut scopes = few(random, 3, scope);
        if random.chance(5) {
            scopes = json!(["a:bc"]);
        }
        set("request.scope", scopes);
    }
    for path in ["subject.acr", "subject.client_id"] {
        if random.chance(50) {
            set(path, text_near(random, &TEXTS).into());
        }
    }
    if random.chance(50) {
        set(
            "subject.auth_age",
            (*random.pick(&[0, 60, 61, 300, 3600, 9000])).into(),
        );
    }
    if random.chance(8) {
        let hop = |random: &mut Random| {
            let alias = match random.chance(20) {
                true => "unknown".to_owned(),
                false => random.pick(&schema.issuers).alias.to_string(),
            };
            json!({ "issuer": alias, "sub": random.pick(&TEXTS) })
        };
        let chain: Vec<Value> = (0..1 + random.below(2)).map(|_| hop(random)).collect();
        set("subject.chain", chain.into());
    }
    let acting = random.chance(15).then(|| random.pick(&schema.issuers));
    if let Some(issuer) = acting {
        set("actor.issuer", issuer.alias.as_str().into());
        set("actor.sub", text_near(random, &TEXTS).into());
        set(
            "actor.token_type",
            random.pick(&issuer.token_types).name().into(),
        );
        if random.chance(50) {
            set("actor.client_id", (*random.pick(&TEXTS)).into());
        }
        for (name, claim) in issuer.claims.iter().filter(|(_, claim)| !claim.optional) {
            let value = match claim.ty {
                ClaimType::String => "x".into(),
                ClaimType::Int => 0.into(),
                ClaimType::Bool => false.into(),
                ClaimType::Uri => "https://a.example".into(),
                ClaimType::StringSet => json!([]),
            };
            set(&format!("actor.claims.{name}"), value);
        }
    }
    if random.chance(10) {
        let alias = match acting {
            Some(issuer) if random.chance(80) => issuer.alias.to_string(),
            _ => "self".to_owned(),
        };
        let value = match random.chance(50) {
            true => json!({ "issuer": alias, "sub": random.pick(&TEXTS) }),
            false => json!({ "issuer": "self", "client_id": random.pick(&CLIENTS) }),
        };
        set("subject.may_act", value);
    }
    let kind = random.below(10);
    if kind < 6 || kind == 9 {
        let count = 1 + usize::from(random.chance(25));
        set("resource", (0..count).map(|_| uri_near(random)).collect());
    }
    if (5..9).contains(&kind) {
        let count = 1 + usize::from(random.chance(25));
        set(
            "audience",
            values((0..count).map(|_| text_near(random, &AUDIENCES)).collect()),
        );
    }
    if random.chance(10) {
        set(
            "request.requested_token_type",
            random.pick(&TYPES).name().into(),
        );
    }
    set(
        "request.grant_type",
        if random.chance(5) {
            "other_grant"
        } else {
            "token_exchange"
        }
        .into(),
    );
    set("conn.ip", (*random.pick(&ADDRESSES)).into());
    let now = NOW + 3600 * i64::try_from(random.below(200)).unwrap();
    set("now", now.into());
    set("subject.exp", (now + *random.pick(&[1, 60, 3600])).into());
    facts
}

/// A request that can be made in a realm.
pub fn context(random: &mut Random, schema: &Schema) -> ExchangeContext {
    loop {
        let facts = request(random, schema);
        match facts::assemble(&facts, schema, NumericDate(NOW)) {
            Ok(context) => return context,
            Err(problems) => assert!(
                // Two spellings of one resource, and the like: no request either.
                !problems.is_empty(),
                "{facts:?}"
            ),
        }
    }
}
