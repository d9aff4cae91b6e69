//! The request headers that an envelope is recognised by.

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
    /// Takes note of one request header; those that say nothing about the envelope are passed over. Names are
    /// compared without regard to case.
    pub fn header(&mut self, name: &str, value: &'a [u8]) {
        // No media type and no coding has bytes outside ASCII, so such a value fails the later checks by itself.
        let text = || std::str::from_utf8(value).unwrap_or("\u{fffd}");
        if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(text());
        } else if name.eq_ignore_ascii_case("content-encoding") {
            self.content_encoding = Some(text());
        } else if let Some(attribute) = attribute_name(name) {
            self.ce.push((attribute, decoded(value)));
        }
    }

    /// The coding of the body where there is one: nothing is inflated before it is trusted.
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

/// CloudEvents 1.0.2 section 3 names attributes with a to z and 0 to 9 only; other headers that happen to begin like
/// ours, and `data`, which is no attribute, are none of the event's.
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
        // A backslash stands for the byte after it.
        let byte = if byte == b'\\' {
            bytes.next().copied().unwrap_or(byte)
        } else {
            byte
        };
        text.push(byte);
    }
    Cow::Owned(text)
}
