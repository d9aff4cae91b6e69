//! Envelopes: turns the bytes of a callback into events, whichever envelope the sender used
//! (docs/src/sender/answers.md, "Envelopes"). No actix types.
//!
//! The form is recognised from headers and body, never from configuration. Each body is parsed once, into `serde_json`
//! values and the byte slices they came from; a structured CloudEvent is passed on as its slice, so not a byte of it
//! changes.

mod cloud_events;
mod error;
mod event_grid;
mod head;
mod json;
mod mapping;
mod mark;
mod media;
mod position;
#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::event::{Event, Malformed};

pub use error::{DecodeError, DecodeFault, JsonProblem};
pub use head::CallbackHead;
pub use mapping::{digest, event_id, event_source};
pub use mark::is_array;

/// The limits of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most events in one callback.
    pub batch: usize,
    /// How deeply arrays and objects may be nested, the batch's array included; at most 127, where the JSON parser
    /// itself stops.
    pub depth: usize,
}

impl DecodeLimits {
    /// Nesting beyond this is refused (docs/src/operator/limits.md).
    pub const DEPTH: usize = 64;

    /// At most `batch` events, nested no deeper than [`DecodeLimits::DEPTH`].
    #[must_use]
    pub const fn new(batch: usize) -> Self {
        Self {
            batch,
            depth: Self::DEPTH,
        }
    }
}

/// One element of a callback.
#[derive(Clone, Debug)]
pub enum Element {
    /// Its envelope was recognised.
    Event(Event),
    /// It was not, but the envelope of another element was.
    Malformed(Malformed),
}

/// Decodes the events of a callback, in the order of its array. At least one element is an [`Element::Event`].
///
/// # Errors
/// What makes the whole callback unreadable, see [`DecodeError`].
pub fn decode(
    head: &CallbackHead<'_>,
    body: &Bytes,
    limits: &DecodeLimits,
) -> Result<Vec<Element>, DecodeError> {
    if let Some(encoding) = head.inflating_encoding() {
        return Err(DecodeError::content_encoding(encoding));
    }
    let media = media::MediaType::of(head.content_type)?;
    // Everything below reads the text after the mark, so slices do not contain it and a resend without it is a duplicate.
    let text = mark::without(body);
    let read = mark::refuse_other_encodings(body).and_then(|()| {
        if head.is_binary(media) {
            return Ok(vec![cloud_events::binary(head, media, &text, limits)?]);
        }
        let parsed = json::read(&text, limits)?;
        Ok(parsed.into_iter().map(recognise).collect())
    });
    let elements: Vec<Element> = read.map_err(|error| {
        error
            .under(media, head.content_type)
            .moved_by(mark::length(body))
    })?;
    let has_event = elements
        .iter()
        .any(|element| matches!(element, Element::Event(_)));
    if has_event {
        Ok(elements)
    } else {
        Err(DecodeError::no_envelope(elements))
    }
}

/// Tells the forms apart: CloudEvents have `specversion`, Event Grid and the private preview have `eventType`.
fn recognise(parsed: json::ParsedEvent) -> Element {
    let json::ParsedEvent { raw, value } = parsed;
    let serde_json::Value::Object(members) = value else {
        return mapping::malformed(raw, &serde_json::Map::new(), vec![mapping::not_an_object()]);
    };
    let has = |name| members.get(name).is_some_and(|value| !value.is_null());
    if has("specversion") {
        cloud_events::structured(raw, members)
    } else if has("eventType") {
        event_grid::map(raw, members)
    } else {
        let faults = vec![mapping::no_envelope(&members)];
        mapping::malformed(raw, &members, faults)
    }
}
