//! The request headers from which an envelope is recognised.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::media::MediaType;

/// What the envelope needs of a request's head. Filled by [`CallbackHead::header`], one header at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackHead<'a> {
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// CloudEvents attributes of binary mode: lower-case name after `ce-`, decoded value; `Err` where the value is
    /// not UTF-8 after decoding.
    pub(super) ce: Vec<(String, Result<String, NotText>)>,
}

/// A header value that is not UTF-8 after percent-decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotText;

impl<'a> CallbackHead<'a> {
    /// Records one request header; headers that are irrelevant to the envelope are skipped. Names are compared
    /// case-insensitively.
    pub fn header(&mut self, name: &str, value: &'a [u8]) {
        // No media type and no coding has bytes outside ASCII, so a value with such bytes fails the later checks
        // anyway.
        let text = || std::str::from_utf8(value).unwrap_or("\u{fffd}");
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(text());
        } else if name.eq_ignore_ascii_case("content-encoding") {
            self.content_encoding = Some(text());
        } else if let Some(attribute) = attribute_name(name) {
            self.ce.push((attribute, decoded(value)));
        }
    }

    /// The content coding of the body, if any: nothing is decompressed before the sender is trusted.
    pub(super) fn inflating_encoding(&self) -> Option<&'a str> {
        self.content_encoding.filter(|encoding| {
            let encoding = encoding.trim();
            !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity")
        })
    }

    /// CloudEvents HTTP binding 1.0.2 section 3: a CloudEvents media type means structured or batched mode, whatever
    /// other headers say; else `ce-specversion` means binary mode.
    pub(super) fn is_binary(&self, media: MediaType) -> bool {
        media != MediaType::CloudEvents && self.ce.iter().any(|(name, _)| name == "specversion")
    }
}

/// CloudEvents 1.0.2 section 3 names attributes with a to z and 0 to 9 only; other headers with this prefix, and
/// `data`, which is not an attribute, do not belong to the event.
fn attribute_name(header: &str) -> Option<String> {
    let (prefix, name) = header.split_at_checked(3)?;
    let is_attribute = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (prefix.eq_ignore_ascii_case("ce-") && is_attribute && !name.eq_ignore_ascii_case("data"))
        .then(|| name.to_ascii_lowercase())
}

/// CloudEvents HTTP binding 1.0.2 section 3.1.3.2: first the quoted string of RFC 7230 is unwrapped, then one round of
/// percent-decoding.
fn decoded(value: &[u8]) -> Result<String, NotText> {
    let value = value.trim_ascii();
    percent_decode(&unquoted(value))
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| NotText)
}

fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
    else {
        return Cow::Borrowed(value);
    };
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        // A backslash escapes the next byte.
        let byte = if byte == b'\\' {
            bytes.next().copied().unwrap_or(byte)
        } else {
            byte
        };
        text.push(byte);
    }
    Cow::Owned(text)
}
