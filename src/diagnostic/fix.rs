//! What a machine can do about a finding: edits that say what they expect to find.
//!
//! A fix is only a proposal. Whether it can be carried out is decided with the text at hand, and one that
//! does not fit is neither offered nor applied. Who writes files is elsewhere.

use std::ops::Range;
use std::sync::Arc;

use super::{Diagnostic, SourceText, Span};

/// One way to mend a finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    /// What it does, for people: imperative, lower case, no full stop.
    pub title: String,
    /// Everything that has to change, together.
    pub edits: Vec<Edit>,
    /// Which line of the finding's help says the same.
    pub(super) help: usize,
}

/// One change of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// What to replace; `None` is the finding's own place.
    pub span: Option<Span>,
    /// The word that must stand there, bare or in quotes, or as the last part of a path; the quotes and
    /// the rest of the path stay. `None` replaces whatever stands there.
    pub written: Option<String>,
    /// What to write.
    pub replacement: String,
}

/// An edit that fits the text: these bytes become this.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Replacement {
    /// The place, without the quotes that stay.
    pub span: Span,
    /// What to write.
    pub text: String,
}

impl Diagnostic {
    /// Adds a fix that replaces what stands at `span`; its title is a line of help too.
    #[must_use]
    pub fn fix(
        self,
        title: impl Into<String>,
        span: &Span,
        replacement: impl Into<String>,
    ) -> Self {
        let title = title.into();
        let edit = Edit {
            span: Some(span.clone()),
            written: None,
            replacement: replacement.into(),
        };
        self.help(title.clone()).with_fix(title, edit)
    }

    /// Adds a fix that replaces one word or string at the finding's own place, in the quotes that it has;
    /// the help says `write …`.
    #[must_use]
    pub fn rewrite(self, written: &str, replacement: &str) -> Self {
        self.help(format!("write `{replacement}`"))
            .with_word_fix(written, replacement)
    }

    /// The fix of the last line of help.
    pub(super) fn with_word_fix(self, written: &str, replacement: &str) -> Self {
        let title = format!("replace `{written}` by `{replacement}`");
        let edit = Edit {
            span: None,
            written: Some(written.to_owned()),
            replacement: replacement.to_owned(),
        };
        self.with_fix(title, edit)
    }

    fn with_fix(mut self, title: String, edit: Edit) -> Self {
        self.fixes.push(Fix {
            title,
            edits: vec![edit],
            help: self.help.len().saturating_sub(1),
        });
        self
    }

    /// The fixes that fit the text, with what each replaces. A concealed finding has none: nobody could
    /// see what was changed.
    #[must_use]
    pub fn offers(&self, sources: &SourceText) -> Vec<(&Fix, Vec<Replacement>)> {
        if self.concealed {
            return Vec::new();
        }
        let fits = |fix| Some((fix, self.replacements(fix, sources)?));
        self.fixes.iter().filter_map(fits).collect()
    }

    /// The fix that needs nobody to choose: the only one.
    #[must_use]
    pub fn only_offer(&self, sources: &SourceText) -> Option<(&Fix, Vec<Replacement>)> {
        let mut offers = self.offers(sources);
        let only = offers.pop();
        only.filter(|_| offers.is_empty())
    }

    /// `None` unless every edit fits and all are in one file, so that a fix is applied whole or not at all.
    fn replacements(&self, fix: &Fix, sources: &SourceText) -> Option<Vec<Replacement>> {
        let fitted = fix.edits.iter().map(|edit| {
            let span = edit.span.as_ref().or(self.span.as_ref())?;
            edit.fit(span, sources.text(&span.file)?)
        });
        let mut all: Vec<Replacement> = fitted.collect::<Option<_>>()?;
        all.sort();
        let file = Arc::clone(&all.first()?.span.file);
        let apart = all.is_sorted_by(|one, next| !one.overlaps(next));
        (apart && all.iter().all(|one| one.span.file == file)).then_some(all)
    }
}

impl Edit {
    fn fit(&self, span: &Span, text: &str) -> Option<Replacement> {
        let found = text.get(span.start..span.end)?;
        let range = match &self.written {
            None => 0..found.len(),
            Some(written) => within(found, written, &self.replacement)?,
        };
        let range = span.start + range.start..span.start + range.end;
        Some(Replacement {
            span: Span::new(&span.file, range),
            text: self.replacement.clone(),
        })
    }
}

impl Replacement {
    /// Whether two cannot both be made. Two that begin at the same place cannot, even if one is empty:
    /// their order would be a guess.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (&self.span, &other.span);
        a.file == b.file && (a.start == b.start || (a.start < b.end && b.start < a.end))
    }
}

/// Where the word stands in what was found, if the other word can stand there as it is: nothing is
/// escaped here, so that no rule of quoting has to be known.
fn within(found: &str, written: &str, replacement: &str) -> Option<Range<usize>> {
    let found = found.trim_end();
    if written.is_empty() || replacement.chars().any(char::is_control) {
        return None;
    }
    for quote in ['"', '\''] {
        let inner = found
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            let plain = !replacement.contains(['"', '\'', '\\']);
            return (inner == written && plain).then_some(1..1 + written.len());
        }
    }
    // A bare word stays one: letters, digits, and signs that the written word has too.
    let bare = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '-' | '.')
            || (matches!(c, ':' | '/') && written.contains(c))
    };
    let word = replacement.chars().all(bare)
        && replacement.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !replacement.ends_with(':')
        && replacement != "null";
    let path = |before: &str| {
        before.is_empty()
            || (before.ends_with('.')
                && before
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))
    };
    let before = found.strip_suffix(written).filter(|before| path(before))?;
    word.then_some(before.len()..found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_bare_quoted_or_at_the_end_of_a_path() {
        for (found, written, replacement, range) in [
            ("grop", "grop", "group", Some(0..4)),
            ("\"grop\"", "grop", "group", Some(1..5)),
            ("'grop'", "grop", "group", Some(1..5)),
            ("subject.claims.grop", "grop", "group", Some(15..19)),
            ("grop \n", "grop", "group", Some(0..4)),
            ("\"é\"", "é", "e", Some(1..3)),
            // What stands there is something else.
            ("agrop", "grop", "group", None),
            ("\"a grop\"", "grop", "group", None),
            ("\"${subject.grop}\"", "subject.grop", "subject.group", None),
            ("[grop]", "grop", "group", None),
            ("grop:", "grop", "group", None),
            ("", "", "group", None),
            // What is written would not be read as it is.
            ("\"grop\"", "grop", "gr\"oup", None),
            ("'grop'", "grop", "it's", None),
            ("grop", "grop", "gro up", None),
            ("grop", "grop", "urn:group", None),
            ("nul", "nul", "null", None),
            ("http://x", "http://x", "https://x", Some(0..8)),
            ("\"a\"", "a", "a\nb", None),
        ] {
            assert_eq!(within(found, written, replacement), range, "{found}");
        }
    }

    #[test]
    fn a_word_of_the_language_is_corrected_where_it_is_one_slip_away_and_a_name_never() {
        let mut sources = SourceText::default();
        let file: Arc<str> = Arc::from("f");
        for (written, known, fixed) in [
            ("lifetme", &["lifetime", "scope"][..], true),
            ("subject.sbu", &["subject.sub", "subject.aud"], true),
            (
                "client_secret_pst",
                &["client_secret_post", "client_secret_basic"],
                true,
            ),
            ("scop", &["scope", "sub"], true),
            ("lost", &["list", "last"], false),
            ("lists", &["list", "lasts"], false),
            ("scpoo", &["scope"], false),
            ("subject.email", &["subject.chain"], false),
            ("groups", &["groups"], false),
            ("nothing", &["groups"], false),
        ] {
            sources.insert(Arc::clone(&file), Arc::from(written));
            let at = Span::new(&file, 0..written.len());
            let known = || known.iter().copied();
            let finding = Diagnostic::error("E0204", "unknown").at(&at);
            let corrected = finding.clone().correct(written, known());
            assert_eq!(corrected.only_offer(&sources).is_some(), fixed, "{written}");
            // What is declared is suggested at most.
            let suggested = finding.suggest(written, known());
            assert!(suggested.only_offer(&sources).is_none());
            assert_eq!(suggested.help, corrected.help);
        }
    }

    #[test]
    fn what_begins_at_the_same_place_overlaps() {
        let file = Arc::from("f");
        let at = |range| Replacement {
            span: Span::new(&file, range),
            text: String::new(),
        };
        assert!(at(1..3).overlaps(&at(2..4)));
        assert!(at(1..1).overlaps(&at(1..1)));
        assert!(at(1..1).overlaps(&at(1..3)));
        assert!(!at(1..3).overlaps(&at(3..4)));
        assert!(!at(3..3).overlaps(&at(1..3)));
    }
}
