//! A large file in pieces of whole items: pest's pairs take forty times the room of their text, and those
//! of one piece are gone before the next is read.

use std::ops::Range;

use super::comments;

/// The least that a piece has, in bytes, but for the last.
const PIECE: usize = 64 * 1024;

/// Where pieces begin and end: after a line with which a rule, a deny or a test ends, so that the comments before
/// an item stay with it. Of a text that is
/// no policy they mean nothing, and do no harm: what does not parse is parsed again as a whole.
pub(super) fn of(text: &str) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut begin, mut at, mut depth) = (0, 0, 0_usize);
    for line in text.split_inclusive('\n') {
        let code = line.get(..comments::begins(line).unwrap_or(line.len()));
        let (mut in_string, mut escaped) = (false, false);
        let mut last = b' ';
        for byte in code.unwrap_or_default().bytes() {
            if !byte.is_ascii_whitespace() {
                last = byte;
            }
            match byte {
                b'\\' if in_string => escaped = !escaped,
                b'"' if in_string && escaped => escaped = false,
                b'"' => in_string = !in_string,
                _ if in_string => escaped = false,
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        at += line.len();
        if depth == 0 && last == b'}' && at - begin >= PIECE {
            pieces.push(begin..at);
            begin = at;
        }
    }
    pieces.push(begin..text.len());
    pieces
}
