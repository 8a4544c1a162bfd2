//! CEL, the Common Expression Language: one compiled program for each rule.

use std::collections::HashMap;

use cambist::context::ExchangeContext;
use cel::{Context, Program, Value};

use crate::workloads::{Answer, DENIED, Engine, Rule, To, View, When, Workload, one};

/// One rule as an expression.
pub fn text(rule: &Rule) -> String {
    let mut when = vec![
        format!("client == \"{}\"", rule.client),
        format!("issuer == \"{}\"", rule.issuer),
    ];
    match &rule.to {
        To::Audience(name) => when.push(format!("audience == \"{name}\"")),
        To::Under(uri) => when.push(format!(
            "(resource == \"{uri}\" || resource.startsWith(\"{uri}/\"))"
        )),
        To::Hosts(rest, path) => {
            when.push(format!("rest == \"{rest}\""));
            when.push(format!(
                "(path == \"{path}\" || path.startsWith(\"{path}/\"))"
            ));
        }
    }
    let scope: Vec<String> = rule
        .scope
        .iter()
        .map(|scope| format!("\"{scope}\""))
        .collect();
    if !rule.when.iter().any(|when| matches!(when, When::Agent)) {
        when.push("actor == \"\" && depth == 0".to_owned());
    }
    for test in &rule.when {
        when.push(match test {
            When::SubIs(sub) => format!("sub == \"{sub}\""),
            When::SubBegins(begin) => format!("sub.startsWith(\"{begin}\")"),
            When::SubHolds(part) => format!("sub.contains(\"{part}\")"),
            When::Claim(name, value) => format!("{name} == \"{value}\""),
            When::Group(group) => format!("\"{group}\" in groups"),
            When::Agent => "actor == client && depth < 2".to_owned(),
            When::AuthAge(most) => format!("auth_age <= {most}"),
        });
    }
    when.push("size(scope) > 0".to_owned());
    when.push(format!("scope.all(s, s in [{}])", scope.join(", ")));
    when.join(" && ")
}

fn deny(console: &str) -> Program {
    compile(&format!("\"{DENIED}\" in scope && client != \"{console}\""))
}

pub fn compile(text: &str) -> Program {
    Program::compile(text).expect("CEL")
}

/// What a request says, over the functions that all share.
fn variables<'b>(base: &'b Context<'_, 'static>, view: &View<'_>) -> Context<'b, 'static> {
    let mut context = base.new_inner_scope();
    let rest = view.host.split_once('.').map_or("", |(_, rest)| rest);
    let texts = [
        ("client", view.client),
        ("issuer", view.issuer),
        ("sub", view.sub),
        ("audience", view.audience),
        ("resource", view.resource),
        ("rest", rest),
        ("path", view.path),
        ("tenant", view.claim("tenant")),
        ("actor", view.actor),
    ];
    for (name, text) in texts {
        context.add_variable_from_value(name, text);
    }
    let list = |texts: &mut dyn Iterator<Item = &str>| texts.map(Value::from).collect::<Vec<_>>();
    let scope = list(&mut view.scope.iter().map(|scope| &**scope));
    context.add_variable_from_value("scope", scope);
    let groups = list(&mut view.groups.into_iter().flatten().map(|group| &**group));
    context.add_variable_from_value("groups", groups);
    context.add_variable_from_value("depth", view.depth as i64);
    context.add_variable_from_value("auth_age", view.auth_age.unwrap_or(i64::MAX));
    context
}

fn holds(program: &Program, context: &Context<'_, '_>) -> bool {
    match program.execute(context).expect("an answer") {
        Value::Bool(truth) => truth,
        other => panic!("{other:?}"),
    }
}

/// All of them, one after the other.
pub fn whole(workload: &Workload) -> impl Engine + use<> {
    let (base, deny) = (Context::default(), deny(workload.console));
    let rules: Vec<Program> = workload
        .rules
        .iter()
        .map(|rule| compile(&text(rule)))
        .collect();
    move |context: &ExchangeContext| {
        let variables = variables(&base, &View::new(context));
        if holds(&deny, &variables) {
            return Answer::Denied;
        }
        let matching = rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| holds(rule, &variables));
        one(matching.map(|(number, _)| number))
    }
}

/// Those under the author's keys.
pub fn keyed(workload: &Workload) -> impl Engine + use<> {
    let (base, deny) = (Context::default(), deny(workload.console));
    let mut filed: HashMap<String, Vec<(usize, Program)>> = HashMap::new();
    for (number, rule) in workload.rules.iter().enumerate() {
        let programs = filed.entry((workload.file_under)(rule)).or_default();
        programs.push((number, compile(&text(rule))));
    }
    let look_under = workload.look_under;
    move |context: &ExchangeContext| {
        let view = View::new(context);
        let variables = variables(&base, &view);
        if holds(&deny, &variables) {
            return Answer::Denied;
        }
        let mut found = Answer::None;
        look_under(&view, &mut |key| {
            let programs = filed.get(key).into_iter().flatten();
            let matching = programs.filter(|(_, rule)| holds(rule, &variables));
            let answer = one(matching.map(|(number, _)| *number));
            if answer != Answer::None {
                assert_eq!(found, Answer::None, "two rules match");
                found = answer;
            }
        });
        found
    }
}
