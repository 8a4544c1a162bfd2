//! Checked rules as text again: for messages, and to know a rule that has not changed. Two rules have the
//! same text only where they match the same requests and select the same.

use std::fmt::Write as _;

use crate::policy::rule::{
    ActorForm, Atom, AudienceMatch, Clients, Comparison, Condition, Constant, Constants, DenyRule,
    Headers, IssuedTest, MemberTest, Operand, Outcome, ResourceMatch, TargetsMatch, Test, UseRule,
};
use crate::policy::schema::Type;

/// A condition, in parentheses where it has parts.
pub(in crate::policy) fn condition(condition: &Condition) -> String {
    let joined = |parts: &[Condition], word: &str| {
        let parts: Vec<String> = parts
            .iter()
            .map(|part| match part {
                Condition::Atom(_) => self::condition(part),
                several => format!("({})", self::condition(several)),
            })
            .collect();
        parts.join(word)
    };
    match condition {
        Condition::All(parts) => joined(parts, " and "),
        Condition::Any(parts) => joined(parts, " or "),
        Condition::Atom(atom) => self::atom(atom),
    }
}

fn atom(atom: &Atom) -> String {
    let left = operand(&atom.left);
    let (plain, negated) = test(&left, &atom.test, &atom.left);
    match atom.negated {
        false => plain,
        true => negated.unwrap_or_else(|| format!("not ({plain})")),
    }
}

fn operand(operand: &Operand) -> String {
    let path = operand.attribute.path();
    match &operand.default {
        Some(default) => format!("{path} ?? {}", constant(default, operand)),
        None => path,
    }
}

/// A test and, where the language has a word for it, its contrary.
fn test(left: &str, test: &Test, of: &Operand) -> (String, Option<String>) {
    let pair = |plain: &str, contrary: &str, right: String| {
        (
            format!("{left} {plain} {right}"),
            Some(format!("{left} {contrary} {right}")),
        )
    };
    let alone = |text: String| (text, None);
    match test {
        Test::Present => (format!("present {left}"), Some(format!("absent {left}"))),
        Test::Equals(value) => pair("==", "!=", constant(value, of)),
        Test::EqualsAttribute(other) => pair("==", "!=", operand(other)),
        Test::In(list) => pair("in", "not in", constants(list)),
        Test::InAttribute(set) => pair("in", "not in", set.path()),
        Test::Like(glob) => pair("like", "not like", quoted(glob.source())),
        Test::LikeUri(pattern) => pair("like", "not like", quoted(pattern.source())),
        Test::Compare(comparison, limit) => {
            let limit = constant(&Constant::Int(*limit), of);
            alone(format!("{left} {} {limit}", comparison.symbol()))
        }
        Test::Prefixes(prefixes) => {
            let list: Vec<String> = prefixes.iter().map(|p| quoted(&p.to_string())).collect();
            pair("in", "not in", format!("[{}]", list.join(", ")))
        }
        Test::Hours(hours) => {
            let zone = hours.zone.iana_name().unwrap_or("UTC");
            let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let days = names.iter().zip(hours.days).filter(|(_, on)| *on);
            let days: Vec<&str> = days.map(|(name, _)| *name).collect();
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            alone(format!(
                "time in {} {} {}..{}",
                quoted(zone),
                days.join(", "),
                clock(hours.from),
                clock(hours.to)
            ))
        }
        Test::Under(patterns) => {
            let list: Vec<String> = patterns.iter().map(|p| quoted(p.source())).collect();
            alone(match list.as_slice() {
                [only] => format!("{left} under {only}"),
                several => format!("{left} under [{}]", several.join(", ")),
            })
        }
        Test::Has(value) => alone(format!("{left} has {}", constant(value, of))),
        Test::HasAttribute(other) => alone(format!("{left} has {}", operand(other))),
        Test::HasAny(list) => alone(format!("{left} has any of {}", constants(list))),
        Test::HasAll(list) => alone(format!("{left} has all of {}", constants(list))),
        Test::Only(list) => alone(format!("{left} only {}", constants(list))),
        Test::SetEquals(list) if list.is_empty() => alone(format!("{left} is empty")),
        Test::SetEquals(list) => alone(format!("{left} == {}", constants(list))),
        Test::Count(comparison, limit) => {
            alone(format!("count({left}) {} {limit}", comparison.symbol()))
        }
        Test::AnyMember(inner) => (
            format!("any {}", member(left, inner, of)),
            Some(format!("none {}", member(left, inner, of))),
        ),
        Test::EveryMember(inner) => alone(format!("all {}", member(left, inner, of))),
        Test::AnyHop(inner) => (
            format!("any {left} where ({})", condition(inner)),
            Some(format!("none {left} where ({})", condition(inner))),
        ),
        Test::EveryHop(inner) => alone(format!("all {left} where ({})", condition(inner))),
    }
}

fn member(left: &str, inner: &MemberTest, of: &Operand) -> String {
    let (plain, contrary) = test(left, &inner.test, of);
    match inner.negated {
        false => plain,
        true => contrary.unwrap_or_else(|| format!("not {plain}")),
    }
}

/// A test of what is issued.
pub(super) fn issued(issued: &IssuedTest) -> String {
    let of = |name: &str, inner: &MemberTest| {
        // Its constants are text, whatever the attribute.
        let (plain, contrary) = plain_test(name, &inner.test);
        if inner.negated { contrary } else { plain }
    };
    match issued {
        IssuedTest::Scope(inner) => of("scope", inner),
        IssuedTest::Audience(inner) => of("audience", inner),
        IssuedTest::Lifetime(comparison, seconds) => {
            format!("lifetime {} {seconds}s", comparison.symbol())
        }
    }
}

fn plain_test(left: &str, test: &Test) -> (String, String) {
    let right = match test {
        Test::Equals(Constant::Text(text)) => format!("== {}", quoted(text)),
        Test::In(list) => format!("in {}", constants(list)),
        Test::Like(glob) => format!("like {}", quoted(glob.source())),
        other => format!("{other:?}"),
    };
    (format!("{left} {right}"), format!("{left} not {right}"))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn constant(value: &Constant, of: &Operand) -> String {
    let unit = match &of.attribute {
        crate::policy::schema::AttributeRef::Fixed(fixed) => Some(fixed.ty),
        _ => None,
    };
    match (value, unit) {
        (Constant::Int(seconds), Some(Type::Duration)) => format!("{seconds}s"),
        (Constant::Int(at), Some(Type::Instant)) => jiff::Timestamp::from_second(*at)
            .map_or_else(|_| at.to_string(), |instant| instant.to_string()),
        (value, _) => bare(value),
    }
}

fn bare(value: &Constant) -> String {
    match value {
        Constant::Text(text) => quoted(text),
        Constant::Int(number) => number.to_string(),
        Constant::Bool(truth) => truth.to_string(),
        Constant::Uri(uri) => quoted(uri.raw()),
        Constant::Ip(ip) => quoted(&ip.to_string()),
    }
}

fn constants(list: &Constants) -> String {
    let list: Vec<String> = list.iter().map(bare).collect();
    format!("[{}]", list.join(", "))
}

/// Everything by which a rule matches and what it selects.
pub(super) fn rule<P>(rule: &UseRule<P>, name: &str) -> String {
    format!(
        "rule {} {{ {} when {} and {} use {} carries {} }}",
        rule.id,
        headers(&rule.headers),
        condition(&rule.scope_when),
        condition(&rule.when),
        outcome(&rule.outcome, name),
        rule.outcome.carries_scope,
    )
}

/// Everything by which a deny matches.
pub(super) fn deny(deny: &DenyRule) -> String {
    format!(
        "deny {} {{ {} when {} }}",
        deny.id,
        headers(&deny.headers),
        condition(&deny.when)
    )
}

fn headers(headers: &Headers) -> String {
    let mut out = String::new();
    if let Some(from) = &headers.from {
        let list = from.value.iter().map(|from| match &from.token_type {
            Some(token_type) => format!("{} as {}", from.alias, token_type.name()),
            None => from.alias.to_string(),
        });
        let _ = write!(out, "from {}; ", list.collect::<Vec<_>>().join(", "));
    }
    match headers.by.as_ref().map(|by| &by.value) {
        Some(Clients::Ids(ids)) => {
            let list: Vec<String> = ids.iter().map(|id| quoted(id.as_str())).collect();
            let _ = write!(out, "by client [{}]; ", list.join(", "));
        }
        Some(Clients::Like(globs)) => {
            let list: Vec<String> = globs.iter().map(|glob| quoted(glob.source())).collect();
            let _ = write!(out, "by client like [{}]; ", list.join(", "));
        }
        None => {}
    }
    if let Some(to) = &headers.to {
        let list: Vec<String> = to.value.iter().map(targets).collect();
        let _ = write!(out, "to {}; ", list.join(" or "));
    }
    if let Some(actor) = &headers.actor {
        let from = |word: &str, from: &std::collections::BTreeSet<_>| {
            let list: Vec<String> = from
                .iter()
                .map(|alias: &crate::oauth::id::IssuerAlias| alias.to_string())
                .collect();
            format!("{word} from {}", list.join(", "))
        };
        let form = match &actor.value.form {
            ActorForm::None => "none".to_owned(),
            ActorForm::Client => "client".to_owned(),
            ActorForm::Named(aliases) => from("named", aliases),
            ActorForm::Required(aliases) => from("required", aliases),
            ActorForm::Optional(aliases) => from("optional", aliases),
        };
        let ignored = match actor.value.may_act_ignored {
            true => ", may_act ignored",
            false => "",
        };
        let _ = write!(out, "actor {form}{ignored}; ");
    }
    if let Some(via) = &headers.via {
        let _ = write!(out, "via {}; ", via.value);
    }
    if let Some(issue) = &headers.issue {
        let _ = write!(out, "issue {}; ", issue.value.name());
    }
    out
}

fn targets(form: &TargetsMatch) -> String {
    let list = |word: &str, texts: Vec<String>| {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        format!("{word} [{}]", texts.join(", "))
    };
    match form {
        TargetsMatch::Any => "any target".to_owned(),
        TargetsMatch::None => "no target".to_owned(),
        TargetsMatch::Parts { resource, audience } => {
            let mut parts = Vec::new();
            match resource {
                Some(ResourceMatch::Equal(uris)) => {
                    let texts = uris.iter().map(|uri| uri.canonical().to_owned());
                    parts.push(list("resource", texts.collect()));
                }
                Some(ResourceMatch::Pattern(patterns)) => {
                    // `under` and `like` are told apart by what they are, and queries count.
                    let text = |p: &crate::policy::pattern::UriPattern| format!("{p:?}");
                    parts.push(list("resource", patterns.iter().map(text).collect()));
                }
                None => {}
            }
            match audience {
                Some(AudienceMatch::Equal(names)) => {
                    let texts = names.iter().map(|name| name.to_string());
                    parts.push(list("audience", texts.collect()));
                }
                Some(AudienceMatch::Like(globs)) => {
                    let texts = globs.iter().map(|glob| glob.source().to_owned());
                    parts.push(list("audience like", texts.collect()));
                }
                None => {}
            }
            parts.join(", ")
        }
    }
}

/// What a rule selects: `mint { scope: requested & ["a"], lifetime: at_most 60s }`.
pub(super) fn outcome<P>(outcome: &Outcome<P>, processor: &str) -> String {
    let mut parts = Vec::new();
    if let Some(audience) = &outcome.audience {
        let list: Vec<String> = audience.iter().map(|name| quoted(name)).collect();
        parts.push(format!("audience: [{}]", list.join(", ")));
    }
    if let Some(ceiling) = &outcome.scope_ceiling {
        let list: Vec<String> = ceiling.iter().map(quoted).collect();
        let beyond = if outcome.beyond_subject {
            " beyond subject"
        } else {
            ""
        };
        parts.push(format!("scope: requested & [{}]{beyond}", list.join(", ")));
    }
    parts.push(format!("lifetime: at_most {}s", outcome.lifetime));
    for (name, value) in &outcome.parameters {
        parts.push(format!("{name}: {}", value.shown()));
    }
    let issue = match outcome.issue.name() {
        "access_token" => String::new(),
        other => format!(" issue {other}"),
    };
    let acts = if outcome.acts { " with act" } else { "" };
    format!("{processor} {{ {} }}{issue}{acts}", parts.join(", "))
}

impl Comparison {
    /// As policies write it.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
}
