//! Pieces of text → lines: what fits on a line stays on it, what does not is broken at the places that
//! were meant for it. Knows nothing of policies.
//!
//! A comment ends its line wherever it stands, so that a group with a comment in it is always broken;
//! that is how comments stay where they were written without the pieces around them knowing of them.

/// How long a line may be, in characters.
const WIDTH: usize = 100;

/// A piece of text.
#[derive(Clone, Debug)]
pub(super) enum Doc {
    /// Text without a line end.
    Text(String),
    /// A space, or a line end where its group is broken.
    Line,
    /// Nothing, or a line end where its group is broken.
    Soft,
    /// A line end.
    Hard,
    /// An empty line before what follows, but not at the start of a block.
    Blank,
    /// Text for a broken group only.
    IfBroken(&'static str),
    /// What is broken at all of its places or at none.
    Group(Vec<Doc>),
    /// What stands further to the right where lines are broken.
    Indent(usize, Vec<Doc>),
    /// A comment.
    Comment {
        /// With its `#`.
        text: String,
        /// Whether it stands on a line of its own.
        own_line: bool,
    },
}

/// Lays out pieces: as lines, or all on one line.
pub(super) fn render(docs: &[Doc], lines: bool) -> String {
    let mut page = Page {
        out: String::new(),
        column: None,
        indent: 0,
        blank: false,
        space: false,
        opened: true,
    };
    let mut stack: Vec<Piece<'_>> = Vec::new();
    push(&mut stack, docs, 0, !lines);
    while let Some(piece) = stack.pop() {
        match piece.doc {
            Doc::Text(text) => page.text(text),
            Doc::IfBroken(text) if !piece.flat => page.text(text),
            Doc::IfBroken(_) => {}
            Doc::Line if piece.flat => page.space = true,
            Doc::Soft if piece.flat => {}
            Doc::Line | Doc::Soft | Doc::Hard => page.line(piece.indent),
            Doc::Blank => page.blank = true,
            Doc::Group(docs) => {
                let flat = piece.flat || fits(docs, &stack, page.left());
                push(&mut stack, docs, piece.indent, flat);
            }
            Doc::Indent(by, docs) => push(&mut stack, docs, piece.indent + by, piece.flat),
            Doc::Comment { text, own_line } => page.comment(text, *own_line, piece.indent),
        }
    }
    page.out
}

#[derive(Clone, Copy)]
struct Piece<'a> {
    doc: &'a Doc,
    indent: usize,
    flat: bool,
}

fn push<'a>(stack: &mut Vec<Piece<'a>>, docs: &'a [Doc], indent: usize, flat: bool) {
    stack.extend(docs.iter().rev().map(|doc| Piece { doc, indent, flat }));
}

/// Whether a group, and what follows it up to the next line end, fits into what is left of a line.
fn fits(docs: &[Doc], rest: &[Piece<'_>], left: usize) -> bool {
    let mut left = left;
    let mut inside: Vec<Piece<'_>> = Vec::new();
    push(&mut inside, docs, 0, true);
    let mut rest = rest.iter().rev();
    // What follows the group is looked at in the same way, but a line end there is the end.
    let mut following = false;
    loop {
        let piece = match inside.pop() {
            Some(piece) => piece,
            None => match rest.next() {
                Some(piece) => {
                    following = true;
                    *piece
                }
                None => return true,
            },
        };
        let used = match piece.doc {
            Doc::Text(text) => text.chars().count(),
            Doc::IfBroken(text) if !piece.flat => text.len(),
            Doc::IfBroken(_) | Doc::Blank => 0,
            Doc::Hard | Doc::Comment { .. } => return following,
            Doc::Line | Doc::Soft if !piece.flat => return true,
            Doc::Line => 1,
            Doc::Soft => 0,
            // A group that follows may be broken by itself.
            Doc::Group(_) if following && !piece.flat => return true,
            Doc::Group(docs) | Doc::Indent(_, docs) => {
                push(&mut inside, docs, 0, piece.flat);
                0
            }
        };
        match left.checked_sub(used) {
            Some(now) => left = now,
            None => return false,
        }
    }
}

/// What is written so far, and what is owed before the next piece.
struct Page {
    out: String,
    /// How many characters the line has; `None` at its start.
    column: Option<usize>,
    /// How far to the right the line begins.
    indent: usize,
    blank: bool,
    space: bool,
    /// Whether a block has just begun.
    opened: bool,
}

impl Page {
    fn left(&self) -> usize {
        let owed = usize::from(self.space);
        WIDTH.saturating_sub(self.column.unwrap_or(self.indent) + owed)
    }

    fn line(&mut self, indent: usize) {
        if self.column.is_some() {
            self.trim();
            self.out.push('\n');
        }
        (self.column, self.space, self.indent) = (None, false, indent);
    }

    /// Takes back the space behind what turned out to be the end of its line.
    fn trim(&mut self) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.write(text);
        self.opened = text.ends_with(['{', '[', '(']);
    }

    fn write(&mut self, text: &str) {
        if self.column.is_none() {
            if self.blank && !self.opened {
                self.out.push('\n');
            }
            self.out.extend(std::iter::repeat_n(' ', self.indent));
            self.column = Some(self.indent);
        } else if self.space {
            self.out.push(' ');
        }
        (self.blank, self.space) = (false, false);
        self.out.push_str(text);
        let column = self.column.unwrap_or_default() + text.chars().count();
        self.column = Some(column);
    }

    /// What follows a comment in the middle of something stands a little to the right.
    fn comment(&mut self, text: &str, own_line: bool, indent: usize) {
        match self.column {
            Some(_) if own_line => self.line(indent + 2),
            Some(_) => {
                self.trim();
                self.space = true;
                self.indent = indent + 2;
            }
            None => {}
        }
        let indent = self.indent;
        self.write(text);
        self.opened = false;
        self.line(indent);
    }
}
