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

pub use error::{DecodeError, DecodeFault, JsonProblem};
pub use head::CallbackHead;
pub use json::DecodeLimits;
pub use mapping::{Element, digest, event_id, event_source};
pub use mark::is_array;

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
        media
            .judge(error, head.content_type)
            .moved_by(mark::length(body))
    })?;
    let has_event = elements
        .iter()
        .any(|element| matches!(element, Element::Event(_)));
    if has_event {
        return Ok(elements);
    }
    let malformed = elements.into_iter().filter_map(|element| match element {
        Element::Malformed(malformed) => Some(malformed),
        Element::Event(_) => None,
    });
    Err(DecodeError::no_envelope(malformed))
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
