//! Syntax errors in the words of an author: what was expected, and which slip it probably was.

use std::sync::{Mutex, PoisonError};

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

use super::grammar::{Grammar, Rule};
use super::parse::Place;
use super::word::CLAUSES;
use crate::diagnostic::{Diagnostic, Diagnostics};

/// What other languages write, what to say, and what to write in its place where that is sure. Signs are
/// looked at as a whole run, words as whole words, whatever their case.
const SLIPS: &[(&str, &str, Option<&str>)] = &[
    ("&&", "write `and`", Some("and")),
    (
        "&",
        "write `and`; in `use`, `&` joins what bounds `scope`",
        None,
    ),
    ("||", "write `or`", Some("or")),
    ("|", "write `or`", None),
    ("!", "write `not`", Some("not ")),
    ("===", "write `==`", Some("==")),
    ("!==", "write `!=`", Some("!=")),
    ("<>", "write `!=`", Some("!=")),
    (
        "=~",
        "there are no regular expressions; write `like \"a*\"`",
        None,
    ),
    ("=<", "write `<=`", None),
    ("=>", "write `>=`", None),
    (";", "nothing ends with `;`", None),
    ("'", "write strings in double quotes", None),
    ("“", "write strings in straight double quotes", None),
    ("”", "write strings in straight double quotes", None),
    ("//", "comments begin with `#`", Some("#")),
    ("/*", "comments begin with `#`", None),
    ("--", "comments begin with `#`", None),
    ("resources", "write `resource`", Some("resource")),
    ("audiences", "write `audience`", Some("audience")),
    ("clients", "write `client`", Some("client")),
    ("scopes", "write `scope`", Some("scope")),
    ("contains", "write `has`", None),
    ("includes", "write `has`", None),
    (
        "matches",
        "there are no regular expressions; write `like \"a*\"`",
        None,
    ),
    ("startswith", "write `like \"x**\"`", None),
    ("starts", "write `like \"x**\"`", None),
    ("endswith", "write `like \"**x\"`", None),
    ("exists", "write `present ATTRIBUTE`", None),
    ("null", "write `absent ATTRIBUTE`", None),
    ("nil", "write `absent ATTRIBUTE`", None),
    ("unless", "write `when not (…)`", None),
    ("if", "write `when`", None),
    (
        "priority",
        "there are no priorities: `overrides RULE` says which of two rules wins",
        None,
    ),
];
/// The same where a rule may begin.
const ITEM_SLIPS: &[(&str, &str, Option<&str>)] = &[
    ("allow", "write `rule`", Some("rule")),
    ("permit", "write `rule`", Some("rule")),
    ("forbid", "write `deny`", Some("deny")),
    ("import", "imports stand right after `module NAME`", None),
    ("proof", "write `prove`", Some("prove")),
    ("assert", "write `prove`", Some("prove")),
    ("invariant", "write `prove`", Some("prove")),
    ("never", "claims stand in `prove \"…\" { … }`", None),
    ("always", "claims stand in `prove \"…\" { … }`", None),
    ("disjoint", "claims stand in `prove \"…\" { … }`", None),
    ("reachable", "claims stand in `prove \"…\" { … }`", None),
];
/// The same where a test says what it expects.
const EXPECT_SLIPS: &[(&str, &str, Option<&str>)] = &[
    ("allow", "write `expect use PROCESSOR`", None),
    ("permit", "write `expect use PROCESSOR`", None),
    ("deny", "write `expect refuse`", Some("refuse")),
    ("denied", "write `expect refuse`", Some("refuse")),
];
/// The same where a claim goes on after `never` or `always`.
const CLAIM_SLIPS: &[(&str, &str, Option<&str>)] = &[
    ("allow", "write `use`", Some("use")),
    ("permit", "write `use`", Some("use")),
    ("select", "write `use`", Some("use")),
    ("deny", "write `never use when CONDITION`", None),
    ("refuse", "write `never use when CONDITION`", None),
    (
        "issue",
        "what is issued is bounded with `never`: `never issue scope not in [\"a\"]`",
        None,
    ),
    ("scope", "write `never issue scope …`", None),
    ("audience", "write `never issue audience …`", None),
    ("lifetime", "write `never issue lifetime > 10m`", None),
];

/// The same error with what was tried where. That costs more than the parse, so that only a text that
/// failed pays for it; the switch is pest's own, for all threads.
pub(super) fn detailed(
    text: &str,
    production: Rule,
    error: pest::error::Error<Rule>,
) -> pest::error::Error<Rule> {
    static SWITCH: Mutex<()> = Mutex::new(());
    let _held = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
    pest::set_error_detail(true);
    let detailed = Grammar::parse(production, text).err().unwrap_or(error);
    pest::set_error_detail(false);
    detailed
}

/// pest's error in the words of an author.
pub(super) fn explain(place: &Place, text: &str, error: &pest::error::Error<Rule>) -> Diagnostics {
    let mut start = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let productions = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
        ErrorVariant::CustomError { message } => {
            let message = format!("the file cannot be parsed: {message}");
            let span = place.span(start..start);
            return Diagnostic::error("E0101", message).at(&span).into();
        }
    };
    let mut wanted: Vec<String> = productions.iter().map(|p| words(*p)).collect();
    if let Some(attempts) = error.parse_attempts() {
        let furthest = attempts.max_position;
        // Productions fail where they begin; the character that stopped the last one may stand later.
        if furthest > start && !splits_word(text, start, furthest) {
            if let Some(problem) = in_string(place, text, start, furthest) {
                return problem.into();
            }
            start = furthest;
            wanted.clear();
        }
        if furthest == start {
            let words_too = wanted.is_empty();
            let signs = attempts.expected_tokens().into_iter();
            wanted.extend(signs.filter_map(|token| sign(&token.to_string(), words_too)));
        }
    }
    let rest = text.get(start..).unwrap_or_default();
    let word = first_word(rest);
    let span = place.span(start..start + word.len());
    let rest_before = text.get(..start).unwrap_or_default();
    let before = rest_before.trim_end();
    let before_words = before
        .strip_suffix(last_word(before))
        .unwrap_or(before)
        .trim_end();
    let before_start = before.len() - last_word(before).len();
    let before_span = place.span(before_start..before.len());
    let before = last_word(before);
    let operator = productions.contains(&Rule::operator) && wanted.contains(&words(Rule::operator));

    let ends = |word| matches!(word, "" | "\n" | "and" | "or" | ")" | "{" | "}" | "]");
    let wants_operator = || CLAUSES.contains(&word) || ends(word);
    if operator && CLAUSES.contains(&before) {
        let message = format!("expected a condition, found the clause `{before}`");
        return Diagnostic::error("E0100", message).at(&before_span).into();
    }
    if operator && before.is_empty() && wants_operator() {
        let end = rest_before.trim_end().len();
        let problem = Diagnostic::error("E0100", "a constant stands here alone");
        let help = "write every comparison out, or `ATTRIBUTE in [\"a\", \"b\"]`";
        return problem.at(&place.span(end..end)).help(help).into();
    }
    if operator && wants_operator() {
        let message = format!("`{before}` is not compared with anything");
        let problem = Diagnostic::error("E0100", message).at(&before_span);
        return match before {
            "true" => problem.help("what always holds needs no `when`"),
            "false" => problem.help("what never holds needs no rule"),
            _ => problem
                .help(format!("whether it is there: `present {before}`"))
                .help(format!("for a truth value: `{before} == true`")),
        }
        .into();
    }

    if let Some(both) = wanted
        .iter()
        .position(|name| *name == words(Rule::connective))
    {
        wanted.splice(both..=both, ["`and`".to_owned(), "`or`".to_owned()]);
    }
    wanted.sort_unstable();
    wanted.dedup();
    // Rare forms would only hide the common ones.
    for rare in ["`is`", "`beyond`"] {
        if wanted.len() > 1 {
            wanted.retain(|name| name != rare);
        }
    }
    let of_clause = |name: &String| CLAUSES.iter().any(|word| *name == format!("`{word}`"));
    if wanted.iter().filter(|name| of_clause(name)).count() > 3 {
        wanted.retain(|name| !of_clause(name));
        wanted.push("another clause".to_owned());
    }
    let found = match word {
        "" => "the end of the file".to_owned(),
        "\n" | "\r" => "the end of the line".to_owned(),
        "\"" => "a string".to_owned(),
        word => format!("`{word}`"),
    };
    let message = match wanted.as_slice() {
        [] => format!("{found} cannot stand here"),
        [one] => format!("expected {one}, found {found}"),
        [many @ .., last] => format!("expected {} or {last}, found {found}", many.join(", ")),
    };
    let wants = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let mut problem = Diagnostic::error("E0100", message).at(&span);
    if wanted.contains(&words(Rule::file)) {
        problem = problem.help("a policy file begins with `policy 1 module NAME`");
    } else if let Some((range, advice, instead)) = slip(rest, word, &wanted, operator) {
        let range = start + range.start..start + range.end;
        problem = match instead {
            Some(instead) => mended(problem, place, range, advice, &instead),
            None => problem.help(advice),
        };
    } else if signs(rest) == "=" && rest_before.ends_with('=') {
        let range = start - 1..start + 1;
        problem = problem.at(&place.span(range.clone()));
        problem = mended(problem, place, range, "a test gives with one `=`", "=");
    } else if word == ">" && rest_before.ends_with('<') {
        let range = start - 1..start + 1;
        problem = problem.at(&place.span(range.clone()));
        problem = mended(problem, place, range, "write `!=`", "!=");
    } else if rest.starts_with('.') && before_words.ends_with("time in") {
        problem = problem.help("write the time zone first: `time in \"Europe/Zurich\" mon..fri`");
    } else if word == "," && wants("`}`") && wants(&words(Rule::path)) {
        let advice = "settings are not separated by commas";
        problem = mended(problem, place, start..start + 1, advice, "");
    } else if word == ":" && CLAUSES.contains(&before) {
        problem = mended(
            problem,
            place,
            start..start + 1,
            "no `:` stands after a clause's word",
            "",
        );
    } else if word == ":" && (wanted.is_empty() || wants("`=`")) {
        problem = mended(
            problem,
            place,
            start..start + 1,
            "`given` sets with `=`",
            " =",
        );
    } else if matches!(word, "{" | "(") && (wants(&words(Rule::list)) || wants("`[`")) {
        problem = problem.help("lists stand in `[ ]`");
    } else if matches!(word, "resource" | "audience") && wants("another clause") {
        problem = problem.help(format!("write `to {word} …`"));
    } else if word == "\"" && wants(&words(Rule::target_kind)) {
        problem = problem.help("write `to resource \"URI\"` or `to audience \"NAME\"`");
    } else if matches!(word, "under" | "like") && wants(&words(Rule::target_kind)) {
        problem = problem.help(format!("write `to resource {word} \"URI\"`"));
    } else if word == "\"" && (wants(&words(Rule::issuer)) || before == "from") {
        problem = problem.help("an issuer's alias stands without quotes");
    } else if word == "[" && matches!(before, "any" | "all") {
        problem = mended(
            problem,
            place,
            start..start,
            "write `has any of […]`, `has all of […]`",
            "of ",
        );
    } else if wants(&words(Rule::claim)) && matches!(word, "from" | "by" | "to" | "actor" | "via") {
        problem =
            problem.help("a claim has no headers: say it in `when`, as in `client.id == \"…\"`");
    } else if wants(&words(Rule::claim)) && is_name(word) && !wants("`,`") && !wants("`when`") {
        problem = problem.help("say what never or always happens: `never use when CONDITION`");
    } else if before_words.ends_with("always use") && wants("`when`") {
        problem = problem.help(format!(
            "say of which requests: `always use {before} when …`"
        ));
    } else if operator && before_words.ends_with("never issue") {
        problem = problem.help(format!("write `never issue {before} == \"…\"` or `like`"));
    } else if word == "-" || (operator && word.starts_with('-')) {
        problem = problem.help("a name in a path has no `-`");
    } else if wants(&words(Rule::w_client)) && (word == "\"" || is_name(word)) {
        let name = word.trim_matches('"');
        let name = if name.is_empty() { "…" } else { name };
        problem = problem.help(format!("write `by client \"{name}\"`"));
    } else if is_name(word)
        && !matches!(word, "in" | "has" | "as" | "and" | "or")
        && wants(&words(Rule::string))
    {
        let end = rest.find([' ', '\t', '\n', '\r', ',', ']', '}', ')']);
        let whole = rest.get(..end.unwrap_or(rest.len())).unwrap_or(word);
        let whole = if whole.len() > 128 { word } else { whole };
        problem = problem.help(format!("write strings in double quotes: `\"{whole}\"`"));
    } else if (word == "\"" || is_name(word)) && wants("`,`") {
        problem = problem.help("a comma is missing before this");
    } else if let Some(lower) = lower_case(word, &wanted) {
        let advice = format!("words of the language are in lower case: `{lower}`");
        problem = mended(problem, place, start..start + word.len(), &advice, &lower);
    }
    problem.into()
}

/// A slip: how long it is, what to say, and what to write instead.
type Slip = (std::ops::Range<usize>, &'static str, Option<String>);

/// The slip that a text begins with.
fn slip(rest: &str, word: &str, wanted: &[String], operator: bool) -> Option<Slip> {
    let run = signs(rest);
    let spaced = rest.get(run.len()..).is_some_and(|after| {
        after.starts_with([' ', '\t', '"', '[', '@']) || after.starts_with(char::is_alphanumeric)
    });
    if operator && run == "=" && spaced {
        return Some((0..1, "write `==` to compare", Some("==".to_owned())));
    }
    let after = rest.get(run.len()..).unwrap_or_default();
    if run == "!" && !after.starts_with(|c: char| c.is_alphabetic() || c == '(') {
        return Some((0..1, "write `not`", None));
    }
    if let Some((end, text)) = quoted(rest) {
        let advice = "write strings in double quotes";
        return Some((0..end, advice, Some(format!("\"{text}\""))));
    }
    let wants = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let tables = [
        (wants("`rule`"), ITEM_SLIPS),
        (wants("`refuse`"), EXPECT_SLIPS),
        (wants("`use`") && !wants("`refuse`"), CLAIM_SLIPS),
        (true, SLIPS),
    ];
    let mut entries = tables
        .into_iter()
        .filter(|(here, _)| *here)
        .flat_map(|(_, table)| table);
    let found = entries.find(|(slip, ..)| {
        let is_word = slip.starts_with(|c: char| c.is_ascii_alphabetic());
        match is_word {
            true => word.eq_ignore_ascii_case(slip),
            false => run == *slip || (run.is_empty() && word == *slip) || opens(rest, slip),
        }
    });
    found.map(|(slip, advice, instead)| (0..slip.len(), *advice, instead.map(str::to_owned)))
}

/// Whether a text begins with what opens a comment elsewhere.
fn opens(rest: &str, slip: &str) -> bool {
    matches!(slip, "//" | "/*") && rest.starts_with(slip)
}

/// The signs of operators that a text begins with, all of them.
fn signs(rest: &str) -> &str {
    let end = rest.find(|c| !matches!(c, '=' | '!' | '<' | '>' | '&' | '|' | '~'));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

/// A string in single quotes: how long it is, and its text.
fn quoted(rest: &str) -> Option<(usize, &str)> {
    let text = rest.strip_prefix('\'')?;
    let text = text.get(..text.find('\'')?)?;
    let plain = !text.contains(['"', '\\', '\n']);
    plain.then_some((text.len() + 2, text))
}

fn is_name(word: &str) -> bool {
    word.starts_with(char::is_alphabetic)
}

/// A word of the language that is only spelled with capitals.
fn lower_case(word: &str, wanted: &[String]) -> Option<String> {
    let lower = word.to_lowercase();
    let of_clause = wanted.iter().any(|name| name == "another clause");
    let known = wanted.contains(&format!("`{lower}`"))
        || (of_clause && CLAUSES.contains(&&*lower))
        || (matches!(&*lower, "and" | "or")
            && wanted.iter().any(|name| *name == format!("`{lower}`")));
    (lower != word && known).then_some(lower)
}

/// Advice that can be carried out, unless the text stands otherwise in its file.
fn mended(
    problem: Diagnostic,
    place: &Place,
    range: std::ops::Range<usize>,
    advice: &str,
    instead: &str,
) -> Diagnostic {
    match place.is_file() {
        true => problem.fix(advice, &place.span(range), instead),
        false => problem.help(advice),
    }
}

/// Whether a position stands inside a word, or at the end of the one that stands at `start`.
fn splits_word(text: &str, start: usize, at: usize) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let inside = text.get(..at).is_none_or(|text| text.ends_with(word))
        && text.get(at..).is_none_or(|text| text.starts_with(word));
    inside
        || text
            .get(start..at)
            .is_none_or(|text| text.chars().all(word))
}

/// A mistake inside a string that was begun.
fn in_string(place: &Place, text: &str, start: usize, at: usize) -> Option<Diagnostic> {
    let inside = text.get(start..at)?;
    let open = inside.rfind('"')? + start;
    let rest = text.get(at..)?;
    let line_end = rest.is_empty() || rest.starts_with(['\n', '\r']);
    if rest.starts_with('\\') || inside.ends_with('\\') {
        let at = if inside.ends_with('\\') { at - 1 } else { at };
        let escape = text
            .get(at..)?
            .chars()
            .nth(1)
            .map_or(1, |c| 1 + c.len_utf8());
        let problem = Diagnostic::error("E0100", "a string has no such escape");
        return Some(
            problem
                .at(&place.span(at..at + escape))
                .help("`\\\"` and `\\\\` are all that there is"),
        );
    }
    line_end.then(|| {
        Diagnostic::error("E0100", "the string is not closed on its line").at(&place.span(open..at))
    })
}

/// The word, number or sign at the start of a text; of a very long one, the start.
fn first_word(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .unwrap_or(text.len());
    let end = end.max(text.chars().next().map_or(0, char::len_utf8));
    let shown = text.char_indices().nth(64).map_or(end, |(at, _)| at);
    text.get(..end.min(shown)).unwrap_or_default()
}

/// The word or path at the end of a text.
fn last_word(text: &str) -> &str {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    text.get(text.trim_end_matches(word).len()..)
        .unwrap_or_default()
}

/// A token that pest wanted, if it is a sign; a word too where nothing else is known.
fn sign(token: &str, words_too: bool) -> Option<String> {
    let plain = token.trim_matches(['"', '`', '\'']);
    let is_word = plain.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let is_sign = matches!(plain, "," | ":" | "]" | ")" | "}" | "{" | "&" | "[");
    (is_sign || (words_too && is_word && plain.chars().all(|c| c.is_ascii_lowercase())))
        .then(|| format!("`{plain}`"))
}

/// What a production is called in messages.
fn words(production: Rule) -> String {
    let fixed = match production {
        Rule::file | Rule::header | Rule::w_policy => "`policy 1 module NAME`",
        Rule::rule => "`rule`",
        Rule::deny => "`deny`",
        Rule::import => "`import`",
        Rule::list_def => "`list`",
        Rule::def => "`def`",
        Rule::test => "`test`",
        Rule::proof => "`prove`",
        Rule::never_use | Rule::never_issue => "`never`",
        Rule::always_use => "`always`",
        Rule::disjoint => "`disjoint`",
        Rule::reachable => "`reachable`",
        Rule::used => "the name of a processor",
        Rule::issued => "`scope`, `audience` or `lifetime`",
        Rule::claim_when => "`when`",
        Rule::every_rule => "`all`",
        Rule::claim => "a claim (`never`, `always`, `disjoint`, `reachable`)",
        Rule::overrides => "`overrides`",
        Rule::given => "`given`",
        Rule::expect => "`expect`",
        Rule::expect_use => "`use`",
        Rule::expect_refuse => "`refuse`",
        Rule::setting | Rule::field => "a setting (`client.id = \"…\"`)",
        Rule::given_value => "a value",
        Rule::party => "an issuer and what its token has (`corp { sub: \"…\" }`)",
        Rule::list_name => "the name of a list (`@NAME`)",
        Rule::imported => "a name to import (`@LIST` or `DEF`)",
        Rule::rule_name => "a rule's name",
        Rule::quantifier => "`any`, `all` or `none`",
        Rule::quantified | Rule::where_ | Rule::counted | Rule::time_in | Rule::emptiness => {
            "a condition"
        }
        Rule::reference => "the name of a `def`",
        Rule::days | Rule::day_range | Rule::day => "days (`mon..fri`)",
        Rule::hours | Rule::clock_time => "hours (`08:00..18:00`)",
        Rule::beyond => "`beyond subject`",
        Rule::map | Rule::fields => "`{`",
        Rule::instant => "an instant (`2026-12-01T08:00:00Z`)",
        Rule::EOI => "the end of the file",
        Rule::from => "`from`",
        Rule::by => "`by`",
        Rule::to => "`to`",
        Rule::actor => "`actor`",
        Rule::via => "`via`",
        Rule::issue => "`issue`",
        Rule::when => "`when`",
        Rule::use_ => "`use`",
        Rule::because => "`because`",
        Rule::tell => "`tell`",
        Rule::error_ => "`error`",
        Rule::any_issuer => "`any issuer`",
        Rule::any_client => "`any client`",
        Rule::any_target => "`any target`",
        Rule::no_target => "`no target`",
        Rule::issuer => "an issuer's alias",
        Rule::target_kind | Rule::target | Rule::targets => "`resource` or `audience`",
        Rule::match_kind => "`under` or `like`",
        Rule::string | Rule::strings | Rule::matcher => "a string",
        Rule::string_body | Rule::escape => "the rest of a string",
        Rule::condition | Rule::term => "a condition",
        Rule::negation => "`not`",
        Rule::connective => "`and` or `or`",
        Rule::presence => "`present` or `absent`",
        Rule::operator => {
            "an operator (`==`, `!=`, `<`, `<=`, `in`, `like`, `under`, `has`, `only`)"
        }
        Rule::group => "`(`",
        Rule::comparison | Rule::operand | Rule::path => "an attribute",
        Rule::list => "a list",
        Rule::literal => "a constant",
        Rule::name => "a name",
        Rule::parameter => "a parameter (`name: value`)",
        Rule::value => "a value",
        Rule::version => "the version `1`",
        Rule::duration | Rule::at_most => "a duration (`60s`, `5m`)",
        Rule::actor_form => "`none`, `client`, `named`, `required` or `optional`",
        _ => "",
    };
    if !fixed.is_empty() {
        return fixed.to_owned();
    }
    // The words of the grammar are called `w_WORD` there.
    match format!("{production:?}").strip_prefix("w_") {
        Some(word) => format!("`{word}`"),
        None => "something else".to_owned(),
    }
}
