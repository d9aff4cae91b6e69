//! What all forms share: faults of attributes, and the CloudEvents that we write ourselves.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::event::{Event, Fault, Malformed};

/// `source` of an event whose sender named none and whose subject names no call leg.
const NO_SOURCE: &str = "hookswitch:no-source";

/// One element of a callback.
#[derive(Clone, Debug)]
pub enum Element {
    /// Its envelope was recognised.
    Event(Event),
    /// It was not, but the envelope of another element was.
    Malformed(Malformed),
}

/// The 128-bit XXH3 of an event's raw bytes: its content, for duplicates and for generated ids.
#[must_use]
pub fn digest(raw: &[u8]) -> u128 {
    xxh3_128(raw)
}

/// The `id` of the published CloudEvent: the sender's, or 32 hex digits of the [`digest`] if the sender gave none.
#[must_use]
pub fn event_id(event: &Event) -> Cow<'_, str> {
    id_or_made(event.attributes.id.as_deref(), &event.raw)
}

/// The `source` of the published CloudEvent: the sender's; for private-preview events, which have none,
/// `calling/callLegs/{id}` of their subject `callLeg/{id}/…`; else the constant `hookswitch:no-source`.
#[must_use]
pub fn event_source(event: &Event) -> Cow<'_, str> {
    let attributes = &event.attributes;
    source_or_made(attributes.source.as_deref(), attributes.subject.as_deref())
}

pub(super) fn id_or_made<'a>(id: Option<&'a str>, raw: &[u8]) -> Cow<'a, str> {
    id.map_or_else(
        || Cow::Owned(format!("{:032x}", digest(raw))),
        Cow::Borrowed,
    )
}

pub(super) fn source_or_made<'a>(source: Option<&'a str>, subject: Option<&str>) -> Cow<'a, str> {
    let leg = || {
        let leg = subject?.strip_prefix("callLeg/")?.split('/').next()?;
        // Anything else would have to be escaped in a URI reference, and call legs are GUIDs.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        (!leg.is_empty() && leg.bytes().all(plain)).then(|| format!("calling/callLegs/{leg}"))
    };
    match source {
        Some(source) => Cow::Borrowed(source),
        None => leg().map_or(Cow::Borrowed(NO_SOURCE), Cow::Owned),
    }
}

/// Collects the faults of one event's attributes.
pub(super) struct MappedMembers<'m> {
    pub(super) members: &'m Map<String, Value>,
    pub(super) faults: Vec<Fault>,
}

impl<'m> MappedMembers<'m> {
    pub(super) fn new(members: &'m Map<String, Value>) -> Self {
        Self {
            members,
            faults: Vec::new(),
        }
    }

    /// A required non-empty string.
    pub(super) fn required(&mut self, name: &str) -> String {
        match self.members.get(name) {
            Some(Value::String(text)) if !text.is_empty() => return text.clone(),
            Some(Value::String(_)) => self.fault(name, "must not be empty"),
            None | Some(Value::Null) => self.fault(name, "is missing"),
            Some(_) => self.fault(name, "must be a string"),
        }
        String::new()
    }

    /// A string, absent or null; the last two mean the same.
    pub(super) fn optional(&mut self, name: &str) -> Option<String> {
        match self.members.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.fault(name, "must be a string");
                None
            }
        }
    }

    pub(super) fn fault(&mut self, name: &str, message: &str) {
        self.faults.push(Fault::new(format!("/{name}"), message));
    }
}

/// The text of an attribute as CloudEvents 1.0.2 section 3.1 writes it; objects and arrays are not attribute values.
pub(super) fn attribute_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn malformed(raw: Bytes, members: &Map<String, Value>, faults: Vec<Fault>) -> Element {
    let text = |name| members.get(name).and_then(Value::as_str).map(str::to_owned);
    Element::Malformed(Malformed {
        raw,
        id: text("id"),
        event_type: text("type").or_else(|| text("eventType")),
        faults,
    })
}

pub(super) fn not_an_object() -> Fault {
    Fault::new("", "must be a JSON object")
}

/// What an object lacks to be an event, for the form that it is nearest to.
pub(super) fn no_envelope(members: &Map<String, Value>) -> Fault {
    if members.contains_key("type") || members.contains_key("source") {
        Fault::new("/specversion", "is missing")
    } else if members.contains_key("eventTime") || members.contains_key("topic") {
        Fault::new("/eventType", "is missing")
    } else {
        Fault::new(
            "",
            "has no envelope: neither specversion (CloudEvents) nor eventType (Event Grid)",
        )
    }
}

/// Writes one CloudEvents 1.0 JSON object in structured mode, with `data` byte for byte.
pub(super) fn cloud_event<'a>(
    attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    data: Option<&[u8]>,
) -> Bytes {
    let mut out = br#"{"specversion":"1.0""#.to_vec();
    let text = |out: &mut Vec<u8>, value: &str| {
        serde_json::to_writer(out, value).expect("a string is written to memory without error");
    };
    for (name, value) in attributes {
        out.push(b',');
        text(&mut out, name);
        out.push(b':');
        text(&mut out, value);
    }
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data);
    }
    out.push(b'}');
    out.into()
}
