//! Cedar: one `permit` per rule, the deny as a `forbid`; the determining policies are the answer.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::str::FromStr as _;

use cambist::context::ExchangeContext;
use cedar_policy::{
    Authorizer, Context, Entities, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};

use crate::workloads::{Answer, DENIED, Engine, Rule, To, View, When, Workload, one};

fn deny(console: &str) -> String {
    format!(
        "forbid(principal, action, resource) when \
         {{ context.scope.contains(\"{DENIED}\") && principal != Client::\"{console}\" }};\n"
    )
}

fn permit(text: &mut String, rule: &Rule) {
    let mut when = vec![format!("context.issuer == \"{}\"", rule.issuer)];
    let resource = match &rule.to {
        To::Audience(name) => format!("resource == Target::\"{name}\""),
        To::Under(uri) => {
            when.push(format!(
                "(context.resource == \"{uri}\" || context.resource like \"{uri}/*\")"
            ));
            "resource".to_owned()
        }
        To::Hosts(rest, path) => {
            when.push(format!("context.rest == \"{rest}\""));
            when.push(format!(
                "(context.path == \"{path}\" || context.path like \"{path}/*\")"
            ));
            "resource".to_owned()
        }
    };
    let scope: Vec<String> = rule
        .scope
        .iter()
        .map(|scope| format!("\"{scope}\""))
        .collect();
    when.push("!context.scope.isEmpty()".to_owned());
    when.push(format!("[{}].containsAll(context.scope)", scope.join(", ")));
    if !rule.when.iter().any(|when| matches!(when, When::Agent)) {
        when.push("context.actor == \"\" && context.depth == 0".to_owned());
    }
    for test in &rule.when {
        when.push(match test {
            When::SubIs(sub) => format!("context.sub == \"{sub}\""),
            When::SubBegins(begin) => format!("context.sub like \"{begin}*\""),
            When::SubHolds(part) => format!("context.sub like \"*{part}*\""),
            When::Claim(name, value) => format!("context.{name} == \"{value}\""),
            When::Group(group) => format!("context.groups.contains(\"{group}\")"),
            When::Agent => "context.actor == context.client && context.depth < 2".to_owned(),
            When::AuthAge(most) => format!("context.auth_age <= {most}"),
        });
    }
    writeln!(
        text,
        "permit(principal == Client::\"{}\", action == Action::\"exchange\", {resource}) when {{ {} }};",
        rule.client,
        when.join(" && ")
    )
    .expect("text takes all");
}

/// All rules in Cedar's language.
pub fn text(workload: &Workload) -> String {
    let mut text = deny(workload.console);
    workload
        .rules
        .iter()
        .for_each(|rule| permit(&mut text, rule));
    text
}

struct Names {
    client: EntityTypeName,
    target: EntityTypeName,
    action: EntityUid,
}

impl Names {
    fn new() -> Self {
        Self {
            client: EntityTypeName::from_str("Client").expect("a name"),
            target: EntityTypeName::from_str("Target").expect("a name"),
            action: EntityUid::from_str("Action::\"exchange\"").expect("an action"),
        }
    }

    fn request(&self, view: &View<'_>) -> Request {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let texts = |texts: &mut dyn Iterator<Item = &str>| {
            RestrictedExpression::new_set(texts.map(text).collect::<Vec<_>>())
        };
        let number = RestrictedExpression::new_long;
        let rest = view.host.split_once('.').map_or("", |(_, rest)| rest);
        let pairs = [
            ("client", text(view.client)),
            ("issuer", text(view.issuer)),
            ("sub", text(view.sub)),
            ("resource", text(view.resource)),
            ("rest", text(rest)),
            ("path", text(view.path)),
            ("scope", texts(&mut view.scope.iter().map(|scope| &**scope))),
            (
                "groups",
                texts(&mut view.groups.into_iter().flatten().map(|group| &**group)),
            ),
            ("tenant", text(view.claim("tenant"))),
            ("actor", text(view.actor)),
            ("depth", number(view.depth as i64)),
            ("auth_age", number(view.auth_age.unwrap_or(i64::MAX))),
        ];
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        let entity = |ty: &EntityTypeName, id: &str| {
            EntityUid::from_type_name_and_id(ty.clone(), EntityId::new(id))
        };
        let target = if view.audience.is_empty() {
            view.resource
        } else {
            view.audience
        };
        Request::new(
            entity(&self.client, view.client),
            self.action.clone(),
            entity(&self.target, target),
            Context::from_pairs(pairs).expect("a context"),
            None,
        )
        .expect("a request")
    }
}

/// The numbers of policies; the deny is the first.
fn answer(
    authorizer: &Authorizer,
    set: &PolicySet,
    request: &Request,
    entities: &Entities,
    number: impl Fn(usize) -> usize,
) -> Answer {
    let response = authorizer.is_authorized(request, set, entities);
    let diagnostics = response.diagnostics();
    assert_eq!(diagnostics.errors().next().map(ToString::to_string), None);
    let ids = diagnostics.reason().map(|id| {
        let id: &str = id.as_ref();
        id.strip_prefix("policy")
            .and_then(|id| id.parse::<usize>().ok())
            .expect("policyN")
    });
    let mut ids = ids.peekable();
    match ids.peek() {
        Some(0) => Answer::Denied,
        _ => one(ids.map(|id| number(id - 1))),
    }
}

/// One policy set of all.
pub fn whole(set: PolicySet) -> impl Engine {
    let (names, authorizer, entities) = (Names::new(), Authorizer::new(), Entities::empty());
    move |context: &ExchangeContext| {
        let request = names.request(&View::new(context));
        answer(&authorizer, &set, &request, &entities, |number| number)
    }
}

/// A policy set for each key by which the author files rules.
pub fn keyed(workload: &Workload) -> impl Engine + use<> {
    let mut filed: BTreeMap<String, (String, Vec<usize>)> = BTreeMap::new();
    for (number, rule) in workload.rules.iter().enumerate() {
        let (text, numbers) = filed
            .entry((workload.file_under)(rule))
            .or_insert_with(|| (deny(workload.console), Vec::new()));
        permit(text, rule);
        numbers.push(number);
    }
    let parsed = |(key, (text, numbers)): (String, (String, Vec<usize>))| {
        (
            key,
            (PolicySet::from_str(&text).expect("Cedar's text"), numbers),
        )
    };
    let sets: HashMap<String, (PolicySet, Vec<usize>)> = filed.into_iter().map(parsed).collect();
    let denies = PolicySet::from_str(&deny(workload.console)).expect("Cedar's text");
    let look_under = workload.look_under;
    let (names, authorizer, entities) = (Names::new(), Authorizer::new(), Entities::empty());
    move |context: &ExchangeContext| {
        let view = View::new(context);
        let request = names.request(&view);
        let mut found = Answer::None;
        let mut asked = false;
        look_under(&view, &mut |key| {
            if let Some((set, numbers)) = sets.get(key) {
                asked = true;
                let answer = answer(&authorizer, set, &request, &entities, |place| {
                    numbers[place]
                });
                if answer != Answer::None {
                    found = answer;
                }
            }
        });
        if !asked {
            found = answer(&authorizer, &denies, &request, &entities, |number| number);
        }
        found
    }
}
