//! regorus: rules as code, compiled; and as its users would, rules as data filed under keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cambist::context::ExchangeContext;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{CompiledPolicy, Engine as Rego, Value};
use serde_json::json;

use crate::workloads::{Answer, DENIED, Engine, LookUnder, To, View, When, Workload, one};

const ANSWER: &str = "data.cambist.answer";

fn head(console: &str) -> String {
    format!(
        "package cambist\nimport rego.v1\n\ndefault denied := false\n\
         denied if {{ \"{DENIED}\" in input.scope; input.client != \"{console}\" }}\n\
         answer := {{\"denied\": denied, \"matched\": matched}}\n\
         under(text, container) if text == container\n\
         under(text, container) if startswith(text, concat(\"\", [container, \"/\"]))\n"
    )
}

/// A rule in Rego for each rule, in files below the megabyte that regorus takes.
pub fn code(workload: &Workload) -> Vec<String> {
    let mut files = vec![head(workload.console)];
    for (number, rule) in workload.rules.iter().enumerate() {
        if number % 2_000 == 1_999 {
            files.push("package cambist\nimport rego.v1\n\n".to_owned());
        }
        let Some(text) = files.last_mut() else {
            continue;
        };
        let mut when = vec![
            format!("input.client == \"{}\"", rule.client),
            format!("input.issuer == \"{}\"", rule.issuer),
        ];
        match &rule.to {
            To::Audience(name) => when.push(format!("input.audience == \"{name}\"")),
            To::Under(uri) => when.push(format!("under(input.resource, \"{uri}\")")),
            To::Hosts(rest, path) => {
                when.push(format!("input.rest == \"{rest}\""));
                when.push(format!("under(input.path, \"{path}\")"));
            }
        }
        let scope: Vec<String> = rule
            .scope
            .iter()
            .map(|scope| format!("\"{scope}\""))
            .collect();
        when.push("count(input.scope) > 0".to_owned());
        when.push(format!(
            "every s in input.scope {{ s in {{{}}} }}",
            scope.join(", ")
        ));
        if !rule.when.iter().any(|when| matches!(when, When::Agent)) {
            when.push("input.actor == \"\"; input.depth == 0".to_owned());
        }
        for test in &rule.when {
            when.push(match test {
                When::SubIs(sub) => format!("input.sub == \"{sub}\""),
                When::SubBegins(begin) => format!("startswith(input.sub, \"{begin}\")"),
                When::SubHolds(part) => format!("contains(input.sub, \"{part}\")"),
                When::Claim(name, value) => format!("input.{name} == \"{value}\""),
                When::Group(group) => format!("\"{group}\" in input.groups"),
                When::Agent => "input.actor == input.client; input.depth < 2".to_owned(),
                When::AuthAge(most) => format!("input.auth_age <= {most}"),
            });
        }
        writeln!(
            text,
            "matched contains {number} if {{ {} }}",
            when.join("; ")
        )
        .expect("text takes all");
    }
    files
}

/// The one policy that reads rules from data.
pub fn policy(console: &str) -> String {
    head(console)
        + "acting(r) if { not r.agent; input.actor == \"\"; input.depth == 0 }\n\
           acting(r) if { r.agent; input.actor == input.client; input.depth < 2 }\n\
           target(r) if { r.to == \"audience\"; input.audience == r.audience }\n\
           target(r) if { r.to == \"under\"; under(input.resource, r.uri) }\n\
           target(r) if { r.to == \"hosts\"; input.rest == r.rest; under(input.path, r.path) }\n\
           group(r) if r.group == \"\"\n\
           group(r) if r.group in input.groups\n\
           matched contains r.id if {\n\
           some key in input.keys\nsome r in data.rules[key]\n\
           r.client == input.client\nr.issuer == input.issuer\ntarget(r)\n\
           count(input.scope) > 0\nevery s in input.scope { s in r.scope }\nacting(r)\n\
           r.sub_is in {\"\", input.sub}\nstartswith(input.sub, r.sub_begins)\n\
           contains(input.sub, r.sub_holds)\nr.tenant in {\"\", input.tenant}\ngroup(r)\n\
           input.auth_age <= r.auth_age\n}\n"
}

/// The rules as JSON, filed under the author's keys.
pub fn data(workload: &Workload) -> String {
    let mut filed: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for (number, rule) in workload.rules.iter().enumerate() {
        let mut fields = json!({
            "id": number, "client": rule.client, "issuer": rule.issuer, "scope": rule.scope,
            "agent": false, "sub_is": "", "sub_begins": "", "sub_holds": "", "tenant": "",
            "group": "", "auth_age": i64::MAX,
        });
        let to = match &rule.to {
            To::Audience(name) => json!({ "to": "audience", "audience": name }),
            To::Under(uri) => json!({ "to": "under", "uri": uri }),
            To::Hosts(rest, path) => json!({ "to": "hosts", "rest": rest, "path": path }),
        };
        let whens = rule.when.iter().map(|when| match when {
            When::SubIs(sub) => json!({ "sub_is": sub }),
            When::SubBegins(begin) => json!({ "sub_begins": begin }),
            When::SubHolds(part) => json!({ "sub_holds": part }),
            When::Claim(name, value) => json!({ *name: value }),
            When::Group(group) => json!({ "group": group }),
            When::Agent => json!({ "agent": true }),
            When::AuthAge(most) => json!({ "auth_age": most }),
        });
        for more in whens.chain([to]) {
            for (name, value) in more.as_object().expect("an object") {
                fields[name] = value.clone();
            }
        }
        filed
            .entry((workload.file_under)(rule))
            .or_default()
            .push(fields);
    }
    json!({ "rules": filed }).to_string()
}

fn input(view: &View<'_>, keys: Option<LookUnder>) -> Value {
    let list = |texts: &mut dyn Iterator<Item = &str>| {
        Value::from(texts.map(Value::from).collect::<Vec<Value>>())
    };
    let rest = view.host.split_once('.').map_or("", |(_, rest)| rest);
    let mut fields: BTreeMap<Value, Value> = [
        ("client", Value::from(view.client)),
        ("issuer", view.issuer.into()),
        ("sub", view.sub.into()),
        ("audience", view.audience.into()),
        ("resource", view.resource.into()),
        ("rest", rest.into()),
        ("path", view.path.into()),
        ("scope", list(&mut view.scope.iter().map(|scope| &**scope))),
        (
            "groups",
            list(&mut view.groups.into_iter().flatten().map(|group| &**group)),
        ),
        ("tenant", view.claim("tenant").into()),
        ("actor", view.actor.into()),
        ("depth", (view.depth as u64).into()),
        ("auth_age", view.auth_age.unwrap_or(i64::MAX).into()),
    ]
    .into_iter()
    .map(|(name, value)| (Value::from(name), value))
    .collect();
    if let Some(look_under) = keys {
        let mut found = Vec::new();
        look_under(view, &mut |key| found.push(Value::from(key)));
        fields.insert("keys".into(), found.into());
    }
    fields.into()
}

fn answer(value: &Value) -> Answer {
    let denied = value["denied"].as_bool().expect("denied");
    if *denied {
        return Answer::Denied;
    }
    let matched = value["matched"].as_set().expect("a set");
    one(matched
        .iter()
        .map(|id| id.as_u64().expect("a number") as usize))
}

/// Rules as code, compiled once.
pub fn compile(code: &[String]) -> CompiledPolicy {
    let mut rego = Rego::new();
    for (number, text) in code.iter().enumerate() {
        rego.add_policy(format!("rules{number}.rego"), text.clone())
            .expect("Rego");
    }
    rego.compile_with_entrypoint(&ANSWER.into())
        .expect("a compiled policy")
}

pub fn as_code(policy: CompiledPolicy) -> impl Engine {
    move |context: &ExchangeContext| {
        let input = input(&View::new(context), None);
        answer(&policy.eval_with_input(input).expect("an answer"))
    }
}

/// Rules as data, the policy compiled for the virtual machine.
pub fn machine(policy: String, data: &str) -> RegoVM {
    let data = Value::from_json_str(data).expect("JSON");
    let mut rego = Rego::new();
    rego.add_policy("rules.rego".to_owned(), policy)
        .expect("Rego");
    rego.add_data(data.clone()).expect("data");
    let compiled = rego
        .compile_with_entrypoint(&ANSWER.into())
        .expect("a compiled policy");
    let program = Compiler::compile_from_policy(&compiled, &[ANSWER]).expect("a program");
    let mut machine = RegoVM::new_with_policy(compiled);
    machine.load_program(program);
    machine.set_max_instructions(usize::MAX);
    machine.set_data(data).expect("data");
    machine
}

pub fn as_data(workload: &Workload) -> impl Engine + use<> {
    let mut machine = machine(policy(workload.console), &data(workload));
    let look_under = workload.look_under;
    move |context: &ExchangeContext| {
        machine.set_input(input(&View::new(context), Some(look_under)));
        answer(&machine.execute().expect("an answer"))
    }
}
