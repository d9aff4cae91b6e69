//! Event Grid schema and the 2021 private-preview shape, mapped to CloudEvents 1.0.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::event::{Attributes, EnvelopeForm, Event};

use super::{
    Element,
    mapping::{self, MappedMembers},
};

/// Maps `eventType` to `type`, `eventTime` to `time`, `topic` to `source`, `dataVersion` to the extension
/// `dataversion`; `id` and `subject` keep their names, `data` keeps its bytes. `metadataVersion` only describes the
/// envelope that is removed, and is dropped with it. `time` is passed on as the sender wrote it.
pub(super) fn map(raw: Bytes, mut members: Map<String, Value>) -> Element {
    let mut reader = MappedMembers::new(&members);
    let event_type = reader.required("eventType");
    let id = reader.optional("id").filter(|id| !id.is_empty());
    let topic = reader.optional("topic").filter(|topic| !topic.is_empty());
    let subject = reader.optional("subject");
    let time = reader.optional("eventTime");
    let data_version = reader.optional("dataVersion");
    let metadata_version = reader.optional("metadataVersion");
    if !reader.faults.is_empty() {
        let faults = reader.faults;
        return mapping::malformed(raw, &members, faults);
    }
    // Event Grid itself always names the topic and its metadata version; the private preview left both null.
    let form = if topic.is_none() && metadata_version.is_none() {
        EnvelopeForm::PrivatePreview
    } else {
        EnvelopeForm::EventGrid
    };
    let mut other = vec![
        ("specversion".to_owned(), "1.0".to_owned()),
        ("datacontenttype".to_owned(), "application/json".to_owned()),
    ];
    other.extend(data_version.map(|version| ("dataversion".to_owned(), version)));

    let cloud_event = {
        let id = mapping::id_or_made(id.as_deref(), &raw);
        let source = mapping::source_or_made(topic.as_deref(), subject.as_deref());
        let attributes = [
            Some(("id", id.as_ref())),
            Some(("source", source.as_ref())),
            Some(("type", event_type.as_str())),
            // CloudEvents 1.0.2 section 3.1.2: a subject is not empty.
            subject
                .as_deref()
                .filter(|subject| !subject.is_empty())
                .map(|subject| ("subject", subject)),
            time.as_deref().map(|time| ("time", time)),
        ];
        let others = other
            .iter()
            .filter(|(name, _)| name != "specversion")
            .map(|(name, value)| (name.as_str(), value.as_str()));
        mapping::cloud_event(
            attributes.into_iter().flatten().chain(others),
            data_slice(&raw).map(str::as_bytes),
        )
    };
    Element::Event(Event {
        form,
        attributes: Attributes {
            id,
            source: topic,
            event_type,
            subject,
            time,
            other,
        },
        data: members.remove("data").unwrap_or_default(),
        raw,
        cloud_event,
    })
}

/// The bytes of `data`, whitespace around them left out; an explicit null is `null`.
fn data_slice(raw: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct WithData<'e> {
        #[serde(borrow, default, deserialize_with = "even_null")]
        data: Option<&'e RawValue>,
    }
    fn even_null<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<&'de RawValue>, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Some)
    }
    serde_json::from_slice::<WithData<'_>>(raw)
        .expect("the strict reader found a JSON object without repeated names here")
        .data
        .map(RawValue::get)
}
