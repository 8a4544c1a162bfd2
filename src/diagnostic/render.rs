//! Findings as text with excerpts, and as one line each.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::ops::Range;

use super::{Diagnostic, Diagnostics, Severity, SourceText, Span};

/// How many findings are shown; nobody mends more at a time, and each costs a walk through its file.
pub(super) const MAX_SHOWN: usize = 100;

/// Whether to colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// No escape codes.
    Plain,
    /// Terminal colours.
    Coloured,
}

impl Diagnostics {
    /// All findings with excerpts, a blank line between them, and a count at the end.
    #[must_use]
    pub fn render(&self, sources: &SourceText, style: Style) -> String {
        let mut out = String::new();
        let items = self.sorted();
        for item in items.iter().take(MAX_SHOWN) {
            out.push_str(&item.render(sources, style));
            out.push_str("\n\n");
        }
        if items.len() > MAX_SHOWN {
            out.push_str(&format!("… and {} more\n\n", items.len() - MAX_SHOWN));
        }
        out
    }
}

impl Diagnostic {
    /// One finding with its excerpt.
    #[must_use]
    pub fn render(&self, sources: &SourceText, style: Style) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()).id(self.code));
        if let Some(span) = &self.span {
            group = match sources.text(&span.file).filter(|_| !self.concealed) {
                Some(source) => self.excerpts(group, sources, span, source),
                None => group.element(origin(sources, span)),
            };
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note));
        }
        for help in self.help_lines(sources) {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let report: &[Group<'_>] = &[group];
        renderer.render(report)
    }

    /// The lines of help; the one that a machine can follow says how. Text that is of no directory cannot
    /// be checked from the command line.
    fn help_lines(&self, sources: &SourceText) -> Vec<String> {
        let mut lines = self.help.clone();
        let offer = self.only_offer(sources);
        let offer = offer.filter(|_| sources.directory().is_some());
        if let Some(line) = offer.and_then(|(fix, _)| lines.get_mut(fix.help)) {
            line.push_str(" (`cambist check --fix` applies this)");
        }
        lines
    }

    fn excerpts<'a>(
        &'a self,
        mut group: Group<'a>,
        sources: &'a SourceText,
        span: &Span,
        source: &'a str,
    ) -> Group<'a> {
        let context = |source, span: &Span, label: &'a str| {
            AnnotationKind::Context
                .span(clamp(source, span))
                .label(label)
        };
        let mark = AnnotationKind::Primary
            .span(clamp(source, span))
            .label(self.label.as_deref());
        let mut snippet = Snippet::source(source)
            .path(sources.shown(&span.file))
            .annotation(mark);
        let (here, elsewhere): (Vec<_>, Vec<_>) = self
            .related
            .iter()
            .partition(|(other, _)| other.file == span.file);
        for (other, label) in here {
            snippet = snippet.annotation(context(source, other, label));
        }
        group = group.element(snippet);
        for (other, label) in elsewhere {
            if let Some(source) = sources.text(&other.file) {
                let path = sources.shown(&other.file);
                group = group.element(
                    Snippet::source(source)
                        .path(path)
                        .annotation(context(source, other, label)),
                );
            }
        }
        group
    }

    /// `file:line:column: error[E0204]: message`.
    #[must_use]
    pub fn one_line(&self, sources: &SourceText) -> String {
        let place = match self
            .span
            .as_ref()
            .map(|span| (span, sources.line_column(span)))
        {
            Some((span, Some((line, column)))) => {
                format!("{}:{line}:{column}: ", sources.shown(&span.file))
            }
            Some((span, None)) => format!("{}: ", sources.shown(&span.file)),
            None => String::new(),
        };
        format!(
            "{place}{}[{}]: {}",
            self.severity.name(),
            self.code,
            self.message
        )
    }
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place without its line.
fn origin<'a>(sources: &SourceText, span: &Span) -> Origin<'a> {
    let origin = Origin::path(sources.shown(&span.file));
    match sources.line_column(span) {
        Some((line, column)) => origin.line(line).char_column(column),
        None => origin,
    }
}

/// A range that lies within the text and on character boundaries, whatever the span says.
fn clamp(source: &str, span: &Span) -> Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(span.start);
    start..boundary(span.end).max(start)
}
