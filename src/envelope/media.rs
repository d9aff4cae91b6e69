//! Content types, as design 4 takes them.

use super::DecodeError;

/// What a `Content-Type` says about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// A CloudEvents media type in JSON: structured or batched.
    CloudEvents,
    /// Absent, `application/json` or another `+json`.
    Json,
    /// Something else: taken if the body is JSON all the same.
    Other,
}

impl Media {
    /// # Errors
    /// A charset that is not UTF-8: read as UTF-8, the same bytes would say something else than the sender meant.
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
                        && !value.eq_ignore_ascii_case("utf-8")
                        && !value.eq_ignore_ascii_case("utf8")
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
}
