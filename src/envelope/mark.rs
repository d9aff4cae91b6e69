//! Byte order marks at the beginning of a body.

use bytes::Bytes;

use super::{DecodeError, JsonProblem};

/// U+FEFF in UTF-8.
const UTF_8: &[u8] = b"\xef\xbb\xbf";

/// U+FEFF in other encodings. UTF-32 comes first, because in little-endian order its mark begins like that of UTF-16.
const OTHERS: [(&[u8], &str); 4] = [
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// Length of the UTF-8 byte order mark of `body`, 0 without one. RFC 8259 section 8.1: a sender must not write it, a parser
/// may ignore it. Common libraries on Windows write it.
pub(super) fn length(body: &[u8]) -> usize {
    if body.starts_with(UTF_8) {
        UTF_8.len()
    } else {
        0
    }
}

/// Whether a body is an array, after a byte order mark and whitespace.
#[must_use]
pub fn is_array(body: &[u8]) -> bool {
    let text = body.get(length(body)..).unwrap_or_default();
    text.trim_ascii_start().starts_with(b"[")
}

/// The slice of `body` after its byte order mark.
pub(super) fn without(body: &Bytes) -> Bytes {
    body.slice(length(body)..)
}

/// Refuses a body with the byte order mark of UTF-16 or UTF-32. Otherwise the sender would only be told "not UTF-8".
///
/// # Errors
/// [`JsonProblem::Encoding`].
pub(super) fn refuse_other_encodings(body: &[u8]) -> Result<(), DecodeError> {
    match OTHERS.iter().find(|(mark, _)| body.starts_with(mark)) {
        None => Ok(()),
        Some((_, encoding)) => Err(DecodeError::Json {
            offset: 0,
            problem: JsonProblem::Encoding(encoding),
        }),
    }
}
