//! Syntax errors in the words of an author: what was expected, and which slip it probably was.

use std::sync::{Mutex, PoisonError};

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

use super::grammar::{Grammar, Rule};
use super::parse::Place;
use crate::diagnostic::{Diagnostic, Diagnostics};

/// Words of the language that later builds bring.
const LATER: &[&str] = &["prove"];

/// Slips that come from other languages, what to say, and what to write in their place where that is sure.
const SLIPS: &[(&str, &str, Option<&str>)] = &[
    ("&&", "write `and`", Some("and")),
    ("||", "write `or`", Some("or")),
    ("!", "write `not`", Some("not ")),
    ("'", "write strings in double quotes", None),
    ("//", "comments begin with `#`", Some("#")),
    ("/*", "comments begin with `#`", None),
    ("resources", "write `resource`", Some("resource")),
    ("audiences", "write `audience`", Some("audience")),
    ("clients", "write `client`", Some("client")),
    ("scopes", "write `scope`", Some("scope")),
    ("allow", "write `rule`", Some("rule")),
    ("permit", "write `rule`", Some("rule")),
    ("forbid", "write `deny`", Some("deny")),
    (
        "priority",
        "there are no priorities: `overrides RULE` says which of two rules wins",
        None,
    ),
];

/// The words with which clauses begin.
const CLAUSES: [&str; 12] = [
    "from",
    "by",
    "to",
    "actor",
    "via",
    "issue",
    "when",
    "use",
    "overrides",
    "because",
    "tell",
    "error",
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

    if LATER.contains(&word) {
        let message = format!("`{word}` is of the language, but not of this build");
        return Diagnostic::error("E0203", message).at(&span).into();
    }
    let ends = |word| matches!(word, "" | "\n" | "and" | "or" | ")" | "{" | "}");
    if operator && CLAUSES.contains(&before) {
        let message = format!("expected a condition, found the clause `{before}`");
        return Diagnostic::error("E0100", message).at(&before_span).into();
    }
    if operator && (CLAUSES.contains(&word) || ends(word)) {
        let message = format!("`{before}` is not compared with anything");
        let help = format!("for a truth value, write `{before} == true`");
        let problem = Diagnostic::error("E0100", message).at(&before_span);
        return problem.help(help).into();
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
    let mut problem = Diagnostic::error("E0100", message).at(&span);
    if wanted.contains(&words(Rule::file)) {
        problem = problem.help("a policy file begins with `policy 1 module NAME`");
    } else if operator && word == "=" {
        problem = mended(
            problem,
            place,
            start..start + 1,
            "write `==` to compare",
            "==",
        );
    } else if word == "=" && rest_before.ends_with('=') {
        let range = start - 1..start + 1;
        problem = problem.at(&place.span(range.clone()));
        problem = mended(problem, place, range, "a test gives with one `=`", "=");
    } else if rest.starts_with('.') && before_words.ends_with("time in") {
        problem = problem.help("write the time zone first: `time in \"Europe/Zurich\" mon..fri`");
    } else if word == "import" {
        problem = problem.help("imports stand right after `module NAME`");
    } else if word == ","
        && wanted.contains(&"`}`".to_owned())
        && wanted.contains(&words(Rule::path))
    {
        let advice = "settings are not separated by commas";
        problem = mended(problem, place, start..start + 1, advice, "");
    } else if let Some((slip, advice, instead)) = slip(rest, word) {
        problem = match (instead, quoted(rest)) {
            (Some(instead), _) => {
                mended(problem, place, start..start + slip.len(), advice, instead)
            }
            (None, Some((end, text))) => mended(
                problem,
                place,
                start..start + end,
                advice,
                &format!("\"{text}\""),
            ),
            (None, None) => problem.help(advice),
        };
    } else if word == "-" || (operator && word.starts_with('-')) {
        problem = problem.help("a name in a path has no `-`");
    } else if word.starts_with(char::is_alphabetic)
        && !matches!(word, "in" | "has" | "as" | "and" | "or")
        && wanted.contains(&words(Rule::string))
    {
        problem = problem.help(format!("write strings in double quotes: `\"{word}\"`"));
    } else if word == "\"" && wanted.contains(&words(Rule::w_client)) {
        problem = problem.help("write `by client \"…\"`");
    }
    problem.into()
}

/// The slip that a text begins with; words must be whole.
fn slip(rest: &str, word: &str) -> Option<(&'static str, &'static str, Option<&'static str>)> {
    let found = SLIPS.iter().find(|(slip, ..)| {
        *slip == word || (rest.starts_with(slip) && !slip.starts_with(char::is_alphabetic))
    });
    found.copied()
}

/// A string in single quotes: how long it is, and its text.
fn quoted(rest: &str) -> Option<(usize, &str)> {
    let text = rest.strip_prefix('\'')?;
    let text = text.get(..text.find('\'')?)?;
    let plain = !text.contains(['"', '\\', '\n']);
    plain.then_some((text.len() + 2, text))
}

/// Advice that can be carried out, unless the text stands otherwise in its file.
fn mended(
    problem: Diagnostic,
    place: &Place,
    range: std::ops::Range<usize>,
    advice: &str,
    instead: &str,
) -> Diagnostic {
    match place.is_exact() {
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
