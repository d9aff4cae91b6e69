//! Byte positions of errors: the sender needs them to find the location. They are computed only when a body is refused.

/// The byte at which `serde_json` stopped: it counts lines from 1, and within a line the bytes up to and including that
/// one; a line break at which it stopped is column 0 of the next line. An error at the end of the text has no byte, so
/// the result is the length.
pub(super) fn of_error(error: &serde_json::Error, text: &str) -> usize {
    if error.is_eof() {
        return text.len();
    }
    let before: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    (before + error.column()).saturating_sub(1).min(text.len())
}

/// Where the last member name before `stopped` begins: `serde_json` stops at what follows a refused name, so the last
/// quote is the closing one.
pub(super) fn of_name(text: &str, stopped: usize) -> usize {
    let bytes = text.as_bytes();
    let read = bytes.get(..=stopped).unwrap_or(bytes);
    let closing = read.iter().rposition(|byte| *byte == b'"');
    let name = closing.and_then(|at| read.get(..at)).unwrap_or(read);
    // Within a string every quote is preceded by an odd number of backslashes, and the opening quote by none.
    // Backslashes are counted only before quotes, so that each is visited once: the name may be as long as the body.
    name.iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'"')
        .find(|(at, _)| {
            let before = name.get(..*at).unwrap_or_default();
            let slashes = before.iter().rev().take_while(|byte| **byte == b'\\');
            slashes.count() % 2 == 0
        })
        .map_or(stopped, |(at, _)| at)
}

/// The bracket that opens level `depth` + 1 of a text that is JSON up to there.
pub(super) fn of_level_beyond(text: &str, depth: usize) -> usize {
    let mut open = 0;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string && open == depth => return at,
            b'[' | b'{' if !in_string => open += 1,
            b']' | b'}' if !in_string => open -= 1,
            _ => {}
        }
    }
    text.len()
}
