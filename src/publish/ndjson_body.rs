//! A message's body as part of a line of NDJSON, on standard output and in `hookswitch consume`.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

/// A body on one line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum NdjsonBody<'a> {
    /// JSON, byte for byte except for line breaks, which become blanks.
    Json(Cow<'a, RawValue>),
    /// Anything else.
    Text(Cow<'a, str>),
}

impl<'a> NdjsonBody<'a> {
    /// JSON strings contain no raw line breaks (RFC 8259, section 7): those of a JSON text are between its tokens,
    /// where a blank means the same.
    pub(super) fn of(body: &'a [u8]) -> Self {
        let Ok(json) = serde_json::from_slice::<&RawValue>(body) else {
            return Self::Text(String::from_utf8_lossy(body));
        };
        if !json.get().contains(['\n', '\r']) {
            return Self::Json(Cow::Borrowed(json));
        }
        RawValue::from_string(json.get().replace(['\n', '\r'], " ")).map_or_else(
            |_| Self::Text(Cow::Borrowed(json.get())),
            |json| Self::Json(Cow::Owned(json)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_stays_as_it_is_and_on_one_line() {
        let shown = |data: &[u8]| serde_json::to_string(&NdjsonBody::of(data)).unwrap();
        assert_eq!(shown(br#"{"a" : 1.0}"#), r#"{"a" : 1.0}"#);
        assert_eq!(shown(b"not json"), r#""not json""#);
        assert_eq!(shown(b"{\n\"a\":\r\n1}"), "{ \"a\":  1}");
        assert_eq!(shown(br#"{"a":"\n"}"#), r#"{"a":"\n"}"#);
    }
}
