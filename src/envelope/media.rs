//! Content types that are accepted (docs/src/sender/answers.md, "Envelopes").

use super::DecodeError;

/// Charsets that may be read as UTF-8: UTF-8 and its subset US-ASCII, by all names and aliases in the IANA registry of character
/// sets, and `utf8`, which is not registered but common. RFC 8259 section 11 defines no charset parameter for JSON and gives
/// it no effect, so only a charset that contradicts UTF-8 is refused.
const UTF_8: [&str; 13] = [
    "utf-8",
    "utf8",
    "csutf8",
    "us-ascii",
    "iso-ir-6",
    "ansi_x3.4-1968",
    "ansi_x3.4-1986",
    "iso_646.irv:1991",
    "iso646-us",
    "us",
    "ibm367",
    "cp367",
    "csascii",
];

/// What a `Content-Type` says about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// A CloudEvents media type in JSON: structured or batched.
    CloudEvents,
    /// Absent, `application/json` or another `+json`.
    Json,
    /// Something else: accepted if the body is JSON nevertheless.
    Other,
}

impl MediaType {
    /// # Errors
    /// A charset that is neither UTF-8 nor its subset US-ASCII: read as UTF-8, the same bytes would have another
    /// meaning than the sender's.
    pub(super) fn of(content_type: Option<&str>) -> Result<Self, DecodeError> {
        let Some(content_type) = content_type else {
            return Ok(Self::Json);
        };
        let mut parts = content_type.split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let other_charset =
            parts
                .filter_map(|parameter| parameter.split_once('='))
                .any(|(name, value)| {
                    let value = value.trim().trim_matches('"');
                    name.trim().eq_ignore_ascii_case("charset")
                        && !UTF_8.iter().any(|name| value.eq_ignore_ascii_case(name))
                });
        if other_charset {
            return Err(DecodeError::media_type(Some(content_type)));
        }
        Ok(match essence.as_str() {
            "" | "application/json" | "text/json" => Self::Json,
            "application/cloudevents+json" | "application/cloudevents-batch+json" => {
                Self::CloudEvents
            }
            other if other.ends_with("+json") => Self::Json,
            _ => Self::Other,
        })
    }

    /// The error of a body of this media type: one that is neither JSON nor labelled as JSON is 415
    /// (docs/src/sender/answers.md, "Envelopes").
    pub(super) fn judge(self, error: DecodeError, content_type: Option<&str>) -> DecodeError {
        match (&error, self) {
            (DecodeError::Json { problem, .. }, Self::Other) if problem.is_no_json_at_all() => {
                DecodeError::media_type(content_type)
            }
            _ => error,
        }
    }
}
