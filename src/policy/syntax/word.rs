//! What the grammar calls a name, for text that comes from another spelling.
//!
//! The same as the productions of these names; a test holds them against the parser.

use super::limits;

/// `name`: letters, digits, `_` and `-`, beginning with a letter or `_`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let rest = text.strip_prefix(|c: char| c.is_ascii_alphabetic() || c == '_');
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.len() <= limits::MAX_WORD && rest.is_some_and(|rest| rest.chars().all(in_word))
}

/// The words with which clauses begin.
pub const CLAUSES: [&str; 12] = [
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
/// Those with which items, and the parts of a test, begin.
const ITEMS: [&str; 8] = [
    "rule", "deny", "list", "def", "test", "import", "given", "expect",
];
/// Those that a condition is made of.
pub const OF_CONDITIONS: [&str; 11] = [
    "any", "all", "none", "count", "not", "and", "or", "present", "absent", "true", "false",
];

/// A name that is none of the words that begin something (`reserved`), as the code of an answer must be.
#[must_use]
pub fn is_code(text: &str) -> bool {
    let reserved = CLAUSES.iter().chain(&ITEMS).chain(&OF_CONDITIONS);
    is_name(text) && !reserved.into_iter().any(|word| *word == text)
}

/// `list_name`: a name behind `@`.
#[must_use]
pub fn is_list_name(text: &str) -> bool {
    text.strip_prefix('@').is_some_and(is_name)
}

/// `rule_name`: a name, or two with a point between them.
#[must_use]
pub fn is_rule_name(text: &str) -> bool {
    let (module, rule) = text.split_once('.').unwrap_or(("_", text));
    text.len() <= limits::MAX_WORD && is_name(module) && is_name(rule)
}

/// `path`: names without `-`, with points between them.
#[must_use]
pub fn is_path(text: &str) -> bool {
    let mut parts = text.split('.');
    text.len() <= limits::MAX_WORD && parts.all(|part| is_name(part) && !part.contains('-'))
}

/// Whether a text can be the content of a string.
#[must_use]
pub fn is_string(text: &str) -> bool {
    let escapes = text.matches(['"', '\\']).count();
    text.len() + escapes <= limits::MAX_STRING && is_plain(text) && !text.contains('\n')
}

/// Whether a text has only characters that may stand in a policy.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    limits::hidden(text).is_none()
}
