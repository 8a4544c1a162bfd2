//! A report for people: on a terminal, and in a pull request.

use super::report::{Audit, Group, Presence, RealmReport, Replay, Report};
use crate::policy::compare::{Change, Side};
use crate::policy::prove::Differences;

/// What is shown of a request, beside its id.
const SHOWN: [&str; 6] = [
    "client.id",
    "subject.issuer",
    "subject.sub",
    "resource",
    "audience",
    "request.scope",
];

impl Report {
    pub(super) fn text(&self) -> String {
        let mut out = format!("{} → {}\n", self.old, self.new);
        for realm in &self.realms {
            out.push('\n');
            realm.text(&mut out);
        }
        let notes = self.audit.notes();
        if !notes.is_empty() {
            out.push('\n');
        }
        for note in notes {
            out.push_str(&format!("note: {}\n", shown(&note)));
        }
        out.push_str(match self.widens() {
            true => "\nsomething widens\n",
            false => "\nnothing widens\n",
        });
        out
    }

    pub(super) fn markdown(&self) -> String {
        let verdict = match self.widens() {
            true => "**Something widens.**",
            false => "Nothing widens.",
        };
        let (old, new) = (code(&self.old), code(&self.new));
        let mut out = format!("## Policy diff: {old} → {new}\n\n{verdict}\n");
        for realm in &self.realms {
            realm.markdown(&mut out);
        }
        let notes = self.audit.notes();
        if !notes.is_empty() {
            out.push('\n');
        }
        for note in notes {
            out.push_str(&format!("- {}\n", escaped(&note)));
        }
        out
    }
}

impl RealmReport {
    /// What became of the requests, in one line.
    fn summary(&self) -> String {
        match (self.presence, &self.replay) {
            (Presence::Gone, _) => "is gone: nothing is issued there any more".to_owned(),
            (Presence::New, _) => "is new: what it issues, nothing issued before".to_owned(),
            (Presence::Both, None) => match &self.possible {
                Some(possible) => possible_summary(possible),
                None => "was not compared".to_owned(),
            },
            (Presence::Both, Some(replay)) => {
                let (changed, widened) = replay.changes();
                format!(
                    "{} replayed: {} decided as before, {changed} otherwise, of which {widened} {}",
                    requests(replay.requests),
                    replay.same,
                    if widened == 1 { "widens" } else { "widen" },
                )
            }
        }
    }

    /// What the comparison of rules says nothing about.
    fn beyond_note(&self) -> Option<String> {
        if self.beyond.is_empty() {
            return None;
        }
        Some(format!(
            "{} differs; what it says of issuers' addresses and keys, credentials and processors is not compared, and counts as wider",
            self.beyond.join(", ")
        ))
    }

    fn text(&self, out: &mut String) {
        out.push_str(&format!("realm {}: {}\n", self.name, self.summary()));
        for item in self.items.signed() {
            out.push_str(&format!("  {item}\n"));
        }
        if let Some(possible) = &self.possible {
            if !possible.realm.is_empty() {
                out.push('\n');
            }
            for (what, widens) in &possible.realm {
                let wide = if *widens { "  WIDENS" } else { "" };
                out.push_str(&format!("  {}{wide}\n", shown(what)));
            }
            for change in &possible.changes {
                possible_text(change, out);
            }
            let unknown = possible.unknown.iter();
            unknown.for_each(|what| out.push_str(&format!("\n  unknown: {}\n", shown(what))));
        }
        if let Some(note) = self.beyond_note() {
            out.push_str(&format!("\n  note: {}\n", shown(&note)));
        }
        let Some(replay) = &self.replay else { return };
        if let Some(possible) = &self.possible {
            out.push_str(&format!("\n  {}\n", possible_summary(possible)));
        }
        for group in &replay.groups {
            group.text(out);
        }
        let notes = replay.notes();
        if !notes.is_empty() {
            out.push('\n');
        }
        for note in notes {
            out.push_str(&format!("  note: {}\n", shown(&note)));
        }
    }

    fn markdown(&self, out: &mut String) {
        out.push_str(&format!(
            "\n### Realm {}\n\n{}.\n",
            code(self.name.as_str()),
            first_upper(&self.summary())
        ));
        if let Some(possible) = &self.possible {
            if self.replay.is_some() {
                out.push_str(&format!(
                    "\n{}.\n",
                    first_upper(&possible_summary(possible))
                ));
            }
            if !possible.realm.is_empty() {
                out.push('\n');
            }
            for (what, widens) in &possible.realm {
                let wide = if *widens { " **widens**" } else { "" };
                out.push_str(&format!("- {}{wide}\n", escaped(what)));
            }
            if !possible.changes.is_empty() {
                out.push_str("\n| | before | after | differs | for example |\n");
                out.push_str("|---|---|---|---|---|\n");
                for change in &possible.changes {
                    possible_markdown(change, out);
                }
            }
            for what in &possible.unknown {
                out.push_str(&format!("- unknown: {}\n", escaped(what)));
            }
        }
        if let Some(note) = self.beyond_note() {
            out.push_str(&format!("\nNote: {}.\n", escaped(&note)));
        }
        if let Some(replay) = self.replay.as_ref().filter(|it| !it.groups.is_empty()) {
            out.push_str("\n| requests | | before | after | differs | example |\n");
            out.push_str("|---:|---|---|---|---|---|\n");
            for group in &replay.groups {
                group.markdown(out);
            }
        }
        let notes = self.replay.as_ref().map(Replay::notes).unwrap_or_default();
        if !notes.is_empty() {
            out.push('\n');
        }
        for note in notes {
            out.push_str(&format!("- {}\n", escaped(&note)));
        }
        let items = self.items.signed();
        if !items.is_empty() {
            let count = items.len();
            out.push_str(&format!(
                "\n<details><summary>What differs in the files: {count}</summary>\n\n"
            ));
            for item in items {
                out.push_str(&format!("- {}\n", code(&item)));
            }
            out.push_str("\n</details>\n");
        }
    }
}

/// How many changes of outcome there can be.
fn possible_summary(possible: &Differences) -> String {
    let wide = possible.changes.iter().filter(|one| one.widens).count();
    let unknown = match possible.unknown.len() {
        0 => String::new(),
        some => format!(", and {some} that could not be worked out"),
    };
    match possible.changes.len() {
        0 => format!("no request is decided otherwise by the rules{unknown}"),
        1 => format!("1 change of outcome, {wide} widens{unknown}"),
        many => format!("{many} changes of outcome, {wide} widen{unknown}"),
    }
}

/// A request that nobody sent: its attributes, but those that it has as any other.
fn made_up(change: &Change) -> Vec<String> {
    let facts = change.witness.iter();
    let told = facts.filter_map(|(path, value)| Some((path, plain(value)?)));
    told.map(|(path, value)| format!("{path} {value}"))
        .collect()
}

/// What it was, what it is, and what differs.
fn told(change: &Change, line: &mut impl FnMut(&str, &str)) {
    line("before", &change.before.line());
    line("after", &change.after.line());
    for difference in &change.differences {
        let wide = if difference.widens { "  (wider)" } else { "" };
        line("differs", &format!("{}{wide}", difference.text(false)));
    }
}

/// The same as cells of a table; without what a person could be known by where `private`.
fn cells(change: &Change, private: bool) -> [String; 3] {
    let side = |side: &Side| {
        let bounds = side.bounds().filter(|_| change.differences.is_empty());
        let bounds = bounds.map_or(String::new(), |bounds| format!("<br>{}", code(&bounds)));
        format!("{}{bounds}", code(&side.line()))
    };
    let differs = change.differences.iter().map(|one| {
        let wide = if one.widens { " **wider**" } else { "" };
        format!("{}{wide}", code(&one.text(private)))
    });
    let differs: Vec<String> = differs.collect();
    [
        side(&change.before),
        side(&change.after),
        differs.join("<br>"),
    ]
}

fn possible_text(change: &Change, out: &mut String) {
    let wide = if change.widens { "  WIDENS" } else { "" };
    out.push_str(&format!("\n  {}{wide}\n", change.kind.text()));
    let mut line = |word: &str, text: &str| {
        out.push_str(&format!("    {word:9}{}\n", shown(text)));
    };
    told(change, &mut line);
    for side in [&change.before, &change.after] {
        if let Some(bounds) = side.bounds().filter(|_| change.differences.is_empty()) {
            line("bounds", &bounds);
        }
    }
    for (place, fact) in made_up(change).iter().enumerate() {
        line(if place == 0 { "request" } else { "" }, fact);
    }
}

fn possible_markdown(change: &Change, out: &mut String) {
    let wide = if change.widens { "**widens**" } else { "" };
    // Nobody is known by what the analyser made up.
    let [before, after, differs] = cells(change, false);
    let request: Vec<String> = made_up(change).iter().map(|fact| code(fact)).collect();
    out.push_str(&format!(
        "| {}{wide} | {} | {} | {} | {} |\n",
        escaped(&format!("{} ", change.kind.text())),
        before,
        after,
        differs,
        request.join("<br>"),
    ));
}

impl Replay {
    /// What one should know of what was replayed, and what was not.
    fn notes(&self) -> Vec<String> {
        let reasons = self.not_replayed.iter();
        let mut notes: Vec<String> = reasons
            .map(|(reason, count)| format!("{} not replayed: {reason}", requests(*count)))
            .collect();
        notes.extend(self.absent.iter().map(|(path, count)| {
            let count = requests(*count);
            format!(
                "of {count} `{path}` was not recorded, which NEW asks for; it was taken as absent"
            )
        }));
        if self.otherwise > 0 {
            let count = requests(self.otherwise);
            notes.push(format!(
                "{count} ended otherwise than OLD decides: another configuration was in force"
            ));
        }
        notes
    }
}

impl Audit {
    fn notes(&self) -> Vec<String> {
        let realms = self.of_other_realms.iter();
        let mut notes: Vec<String> = realms
            .map(|(realm, count)| format!("{} not replayed: of realm `{realm}`", requests(*count)))
            .collect();
        if self.unreadable > 0 {
            notes.push(format!("lines that are no records: {}", self.unreadable));
        }
        if self.others > 0 {
            notes.push(format!(
                "records of something else than requests: {}",
                self.others
            ));
        }
        notes
    }
}

impl Group {
    fn text(&self, out: &mut String) {
        let change = &self.change;
        let wide = if change.widens { "  WIDENS" } else { "" };
        let count = requests(self.count);
        out.push_str(&format!("\n  {count}: {}{wide}\n", change.kind.text()));
        let mut line = |word: &str, text: &str| {
            out.push_str(&format!("    {word:9}{}\n", shown(text)));
        };
        told(change, &mut line);
        line(
            "example",
            &format!("{}, {}", self.example.request_id, self.example.time),
        );
        let request: Vec<String> = SHOWN
            .iter()
            .filter_map(|path| {
                let value = change.witness.get(*path)?;
                Some(format!("{path} {}", plain(value)?))
            })
            .collect();
        line("", &request.join(", "));
        for side in [&change.before, &change.after] {
            // Of two permits, `differs` says it all.
            if let Some(bounds) = side.bounds().filter(|_| change.differences.is_empty()) {
                line("", &bounds);
            }
        }
    }

    fn markdown(&self, out: &mut String) {
        let change = &self.change;
        let wide = if change.widens { "**widens**" } else { "" };
        let [before, after, differs] = cells(change, true);
        out.push_str(&format!(
            "| {} | {wide} | {} | {} | {} | {} {} |\n",
            self.count,
            before,
            after,
            differs,
            code(&self.example.request_id),
            escaped(&self.example.time),
        ));
    }
}

/// Text as a terminal may have it: what requests hold is not ours.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

/// A value in words; nothing for an empty list.
fn plain(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(items) if items.is_empty() => None,
        serde_json::Value::Array(items) if items.iter().all(serde_json::Value::is_string) => {
            let items: Vec<&str> = items.iter().filter_map(serde_json::Value::as_str).collect();
            Some(items.join(" "))
        }
        other => Some(other.to_string()),
    }
}

fn requests(count: usize) -> String {
    match count {
        1 => "1 request".to_owned(),
        many => format!("{many} requests"),
    }
}

fn first_upper(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

/// Text in a cell, without any meaning for Markdown: names come from requests.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '@' | '#' | '~' | '!' => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The same, as code: no name of anybody is called in it.
fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}
