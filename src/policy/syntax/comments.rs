//! Comments: where they stand, and which `##` lines document an item.

use crate::diagnostic::Span;
use std::sync::Arc;

/// A comment, from its `#` to the end of its line.
#[derive(Clone, Debug)]
pub struct Comment {
    /// Its text, `#` included, white space at the end not.
    pub text: Arc<str>,
    /// Where it stands.
    pub span: Span,
    /// Whether nothing else stands before it on its line.
    pub own_line: bool,
    /// Whether it documents the item below it.
    pub doc: bool,
}

/// Every comment of a text, in order.
pub(super) fn scan(file: &Arc<str>, text: &str) -> Vec<Comment> {
    let mut comments = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(at) = begins(line) {
            let body = line.get(at..).unwrap_or_default().trim_end();
            comments.push(Comment {
                text: Arc::from(body),
                span: Span::new(file, line_start + at..line_start + at + body.len()),
                own_line: line
                    .get(..at)
                    .is_some_and(|before| before.trim().is_empty()),
                doc: false,
            });
        }
        line_start += line.len();
    }
    comments
}

/// Where a line's comment begins; strings never span lines.
#[must_use]
pub fn begins(line: &str) -> Option<usize> {
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'#' if !in_string => return Some(at),
            b'\\' if in_string => escaped = !escaped,
            b'"' if escaped => escaped = false,
            b'"' => in_string = !in_string,
            _ => escaped = false,
        }
    }
    None
}

/// Marks the `##` lines that stand directly above `start`, and gives their text: an item's documentation.
pub(super) fn take_doc(comments: &mut [Comment], text: &str, start: usize) -> Option<Arc<str>> {
    let last = comments.partition_point(|comment| comment.span.start < start);
    let above = comments.get_mut(..last)?;
    let mut lines: Vec<Arc<str>> = Vec::new();
    let mut below = start;
    for comment in above.iter_mut().rev() {
        let between = text.get(comment.span.end..below).unwrap_or_default();
        let adjacent = between.trim().is_empty() && between.matches('\n').count() == 1;
        let Some(body) = comment.text.strip_prefix("##") else {
            break;
        };
        if !(comment.own_line && adjacent) {
            break;
        }
        comment.doc = true;
        below = comment.span.start;
        lines.push(Arc::from(body.strip_prefix(' ').unwrap_or(body)));
    }
    lines.reverse();
    (!lines.is_empty()).then(|| Arc::from(lines.join("\n")))
}
