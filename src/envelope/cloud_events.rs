//! CloudEvents 1.0: structured (alone or in a batch) and binary mode.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::event::{Attributes, EnvelopeForm, Event, Fault};

use super::{
    CallbackHead, DecodeError, DecodeLimits, Element,
    head::NotText,
    json,
    mapping::{self, MappedMembers},
    media::MediaType,
};

/// The members of [`Attributes`] that have a field of their own, and members that are not attributes.
const NOT_OTHER: [&str; 7] = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "data",
    "data_base64",
];

/// An object with `specversion`: passed on byte for byte.
pub(super) fn structured(raw: Bytes, mut members: Map<String, Value>) -> Element {
    match attributes(&members) {
        Err(faults) => mapping::malformed(raw, &members, faults),
        Ok(attributes) => Element::Event(Event {
            form: EnvelopeForm::CloudEvents,
            attributes,
            data: members.remove("data").unwrap_or_default(),
            cloud_event: raw.clone(),
            raw,
        }),
    }
}

fn attributes(members: &Map<String, Value>) -> Result<Attributes, Vec<Fault>> {
    let mut reader = MappedMembers::new(members);
    if members.get("specversion").and_then(Value::as_str) != Some("1.0") {
        reader.fault("specversion", "must be \"1.0\"");
    }
    let attributes = Attributes {
        id: Some(reader.required("id")),
        source: Some(reader.required("source")),
        event_type: reader.required("type"),
        subject: reader.optional("subject"),
        time: reader.optional("time"),
        other: members
            .iter()
            .filter(|(name, _)| !NOT_OTHER.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.clone(), mapping::attribute_text(value)?)))
            .collect(),
    };
    if reader.faults.is_empty() {
        Ok(attributes)
    } else {
        Err(reader.faults)
    }
}

/// Binary mode: attributes in `ce-` headers, the body is the data. The result is the equivalent structured CloudEvent,
/// with the data's bytes unchanged.
///
/// # Errors
/// A body that is not JSON: our consumers get JSON only.
pub(super) fn binary(
    head: &CallbackHead<'_>,
    media: MediaType,
    body: &Bytes,
    limits: &DecodeLimits,
) -> Result<Element, DecodeError> {
    // An event without data has an empty body and no meaningful content type.
    let data = if body.is_empty() {
        None
    } else {
        Some(json::read_one(body, limits)?)
    };
    // If the sender's content type is not JSON, the body is read as JSON nevertheless, and labelled so.
    let content_type = match (&data, media, head.content_type) {
        (None, ..) => None,
        (Some(_), MediaType::Json, Some(content_type)) => Some(content_type),
        (Some(_), ..) => Some("application/json"),
    };

    // The same checks as for structured mode, on the same member names.
    let mut members = Map::new();
    let mut faults = Vec::new();
    for (name, value) in &head.ce {
        let pointer = format!("/{name}");
        match value {
            Err(NotText) => faults.push(Fault::new(pointer, "is not UTF-8 after percent-decoding")),
            Ok(value) => {
                if members
                    .insert(name.clone(), value.as_str().into())
                    .is_some()
                {
                    faults.push(Fault::new(pointer, "is given twice"));
                }
            }
        }
    }
    if let Some(content_type) = content_type {
        members.insert("datacontenttype".to_owned(), content_type.into());
    }
    let attributes = match attributes(&members) {
        Ok(attributes) if faults.is_empty() => attributes,
        Ok(_) => return Ok(mapping::malformed(body.clone(), &members, faults)),
        Err(more) => {
            // A value that cannot be read is not also reported as missing.
            let read = |fault: &Fault| faults.iter().all(|known| known.pointer != fault.pointer);
            let more: Vec<_> = more.into_iter().filter(read).collect();
            faults.extend(more);
            return Ok(mapping::malformed(body.clone(), &members, faults));
        }
    };
    let texts = members
        .iter()
        .filter(|(name, _)| *name != "specversion")
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let cloud_event = mapping::cloud_event(texts, data.as_ref().map(|data| data.raw.as_ref()));
    Ok(Element::Event(Event {
        form: EnvelopeForm::CloudEvents,
        attributes,
        data: data.map_or(Value::Null, |data| data.value),
        raw: body.clone(),
        cloud_event,
    }))
}
