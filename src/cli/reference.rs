//! `cambist reference [TOPIC|NAME]`: what there is, from the tables that the program goes by, and the pages of
//! findings' codes and presets.

mod topics;

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::{COULD_NOT, Exit, GOOD, complain, could_not, say};
use crate::config::PRESETS;
use crate::diagnostic::close;
use crate::diagnostic::codes::{self, CODES};
use topics::{Entry, TOPICS, Topic};

/// Look things up: attributes, providers, metrics, codes of findings, …
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cambist reference                               the topics, and the codes of findings
  cambist reference attributes                    what policies may name
  cambist reference E0204                         what a finding means, with a wrong and a right example
  cambist reference keycloak                      what a preset says, and why
  cambist reference metrics --format markdown")]
pub(super) struct Reference {
    /// A topic, a code such as E0204, or a preset such as `keycloak`; without one, topics and codes are listed.
    #[arg(value_name = "TOPIC|NAME")]
    asked: Option<String>,
    /// How a topic is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How a topic is printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// A table for a page.
    Markdown,
    /// For machines.
    Json,
}

pub(super) fn run(verb: &Reference) -> Exit {
    let Some(asked) = &verb.asked else {
        say(&contents(verb.format))?;
        return Ok(GOOD);
    };
    if let Some(topic) = TOPICS.iter().find(|topic| topic.name == asked) {
        say(&whole(topic, verb.format))?;
        return Ok(GOOD);
    }
    if let Some(found) = codes::find(&asked.to_uppercase()) {
        say(found.page)?;
        return Ok(GOOD);
    }
    if let Some(preset) = PRESETS.iter().find(|preset| preset.name == asked) {
        say(preset.text)?;
        return Ok(GOOD);
    }
    let is_code = |name: &str| name.starts_with(['E', 'e']) && name.contains(char::is_numeric);
    let _ = could_not(match is_code(asked) {
        true => format!("no finding has the code `{asked}`"),
        false => format!("nothing here is called `{asked}`"),
    });
    let codes = CODES.iter().map(|entry| entry.code);
    let topics = TOPICS.iter().map(|topic| topic.name);
    let presets = PRESETS.iter().map(|preset| preset.name);
    let known: Vec<&str> = codes.chain(topics).chain(presets).collect();
    if let Some((_, first)) = close(asked, &known).first() {
        complain(&format!("help: did you mean `{first}`?\n"));
    }
    complain("help: `cambist reference` lists all topics and codes\n");
    Err(COULD_NOT)
}

/// Topics first, then codes; for machines, everything.
fn contents(format: Format) -> String {
    match format {
        Format::Text => {
            let topics = TOPICS.iter().map(|topic| (topic.name, topic.about));
            let codes = CODES.iter().map(|entry| (entry.code, entry.title));
            format!("{}\n{}", columns(topics), columns(codes))
        }
        Format::Markdown => {
            let topics = TOPICS.iter().map(|topic| whole(topic, format));
            topics.collect::<Vec<_>>().join("\n")
        }
        Format::Json => {
            let all: Map<String, Value> = TOPICS
                .iter()
                .map(|topic| (topic.name.to_owned(), json(&(topic.entries)())))
                .collect();
            format!("{:#}\n", Value::Object(all))
        }
    }
}

fn columns<'a>(lines: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> String {
    let width = lines.clone().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let lines = lines.map(|(name, about)| format!("{name:width$}  {about}\n"));
    lines.collect()
}

fn whole(topic: &Topic, format: Format) -> String {
    let entries = (topic.entries)();
    match format {
        Format::Text => entries.iter().map(text).collect(),
        Format::Markdown => markdown(topic, &entries),
        Format::Json => format!("{:#}\n", json(&entries)),
    }
}

fn text(entry: &Entry) -> String {
    let mut out = format!("{}  {}\n", entry.name, entry.doc);
    for (name, value) in &entry.facts {
        if let Value::Array(list) = value
            && list.iter().any(Value::is_object)
        {
            for each in list {
                let of = |member: &str| shown(&each[member]);
                let (each, takes, doc) = (of("name"), of("takes"), of("doc"));
                out.push_str(&format!("    {name}: {each} ({takes}): {doc}\n"));
            }
        } else if !shown(value).is_empty() {
            out.push_str(&format!("    {name}: {}\n", shown(value)));
        }
    }
    out
}

/// A value in words.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(members) => members.values().map(shown).collect::<Vec<_>>().join(" "),
        Value::Number(number) => number.to_string(),
    }
}

fn markdown(topic: &Topic, entries: &[Entry]) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in entries.iter().flat_map(|entry| &entry.facts) {
        if !columns.contains(name) {
            columns.push(name);
        }
    }
    let title = [&["name"][..], &columns, &["what it is"]].concat();
    let rule = "---|".repeat(title.len());
    let mut out = format!(
        "## {}: {}\n\n| {} |\n|{rule}\n",
        topic.name,
        topic.about,
        title.join(" | ")
    );
    for entry in entries {
        out.push_str(&format!("| `{}` |", entry.name));
        for column in &columns {
            let fact = entry.facts.iter().find(|(name, _)| name == column);
            let fact = fact.map(|(_, value)| shown(value)).unwrap_or_default();
            out.push_str(&format!(" {} |", cell(&fact)));
        }
        out.push_str(&format!(" {} |\n", cell(&entry.doc)));
    }
    out
}

fn json(entries: &[Entry]) -> Value {
    let entries = entries.iter().map(|entry| {
        let mut members = Map::new();
        members.insert("name".to_owned(), entry.name.as_str().into());
        members.insert("doc".to_owned(), entry.doc.as_str().into());
        for (name, value) in &entry.facts {
            members.insert(name.replace(' ', "_"), value.clone());
        }
        Value::Object(members)
    });
    entries.collect()
}
