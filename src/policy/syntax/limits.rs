//! What stands before the parser, because a parser is no place to run out of stack: size and nesting,
//! counted over the bytes, and characters that a reader could not see.

use super::parse::Place;
use crate::diagnostic::{Diagnostic, Diagnostics};

/// The largest policy file, in bytes.
const MAX_FILE: usize = 4 * 1024 * 1024;
/// The deepest nesting of brackets.
const MAX_NESTING: usize = 32;
/// The longest name or path, in bytes.
pub(super) const MAX_WORD: usize = 256;
/// The longest string, in bytes; what it may hold is limited where it is used.
pub(super) const MAX_STRING: usize = 4096;

/// Refuses what is too large, too deep, or not plain text.
pub(super) fn check(place: &Place, text: &str) -> Result<(), Diagnostics> {
    check_size(place, text)?;
    check_characters(place, text)
}

fn check_size(place: &Place, text: &str) -> Result<(), Diagnostics> {
    let at = |range| place.span(range);
    if text.len() > MAX_FILE {
        let message = format!("the file is larger than {MAX_FILE} bytes");
        return Err(Diagnostic::error("E0101", message).at(&at(0..0)).into());
    }
    let refused = |message: String, range| {
        let problem = Diagnostic::error("E0101", message).at(&at(range));
        Err(Diagnostics::from(problem))
    };
    let (mut depth, mut in_string, mut in_comment, mut escaped) =
        (place.depth, false, false, false);
    // Where the string or the word began that the byte belongs to.
    let mut begin = 0;
    for (index, byte) in text.bytes().enumerate() {
        let in_word = in_string || byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if in_comment || !in_word {
            begin = index + 1;
        } else if in_string && index - begin > MAX_STRING {
            let message = format!("the string is longer than {MAX_STRING} bytes");
            return refused(message, begin..begin + 1);
        } else if !in_string && index - begin >= MAX_WORD {
            let message = format!("the name is longer than {MAX_WORD} bytes");
            return refused(message, begin..index);
        }
        match byte {
            b'\n' => (in_comment, in_string, escaped) = (false, false, false),
            _ if in_comment => {}
            b'\\' if in_string => escaped = !escaped,
            b'"' if in_string && escaped => escaped = false,
            b'"' => {
                in_string = !in_string;
                begin = index + 1;
            }
            _ if in_string => escaped = false,
            b'#' => in_comment = true,
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > MAX_NESTING {
                    let message = format!("nested more than {MAX_NESTING} levels deep");
                    return refused(message, index..index + 1);
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what would be read otherwise than it is shown: control characters (a carriage return of its
/// own ends a comment, and no editor shows that) and marks that turn the direction of text.
fn check_characters(place: &Place, text: &str) -> Result<(), Diagnostics> {
    let Some((index, c, help)) = hidden(text) else {
        return Ok(());
    };
    let message = format!(
        "the invisible character U+{:04X} may not stand here",
        u32::from(c)
    );
    let span = place.span(index..index + c.len_utf8());
    let problem = Diagnostic::error("E0104", message).at(&span);
    Err(problem.help(help).into())
}

/// The first character that may not stand in a policy, and what to do about it.
pub(super) fn hidden(text: &str) -> Option<(usize, char, &'static str)> {
    let mut rest = text.char_indices().peekable();
    while let Some((index, c)) = rest.next() {
        let next = rest.peek().map(|(_, next)| *next);
        let help = match c {
            '\n' | '\t' => continue,
            '\r' if next == Some('\n') => continue,
            '\r' => "end lines with LF, or with CR and LF",
            '\u{feff}' if index == 0 => "save the file as UTF-8 without a byte order mark",
            '\u{feff}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' => "what is shown would not be what is read; remove it",
            '\u{fffe}' | '\u{ffff}' => "it is no character; remove it",
            c if c.is_control() => "remove it",
            _ => continue,
        };
        return Some((index, c, help));
    }
    None
}
