//! What a message may be made of: the event byte for byte, or, for events that are not CloudEvents, a CloudEvent with
//! the same attributes and the same bytes of `data`. Written from the standards, with none of the receiver's code.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

use super::generation::Form;

/// What a mapping must carry over.
pub(super) struct Mapped<'a> {
    id: Option<&'a str>,
    source: Option<&'a str>,
    event_type: &'a str,
    subject: Option<&'a str>,
    time: Option<&'a str>,
    data: Option<&'a str>,
}

/// An event in Event Grid's shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Grid<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    event_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Grid<'_> {
    pub(super) fn as_mapped(&self) -> Mapped<'_> {
        Mapped {
            id: self.id.as_deref(),
            source: self.topic.as_deref(),
            event_type: &self.event_type,
            subject: self.subject.as_deref(),
            time: self.event_time.as_deref(),
            data: self.data.map(RawValue::get),
        }
    }
}

/// A CloudEvent 1.0 as a message holds it.
#[derive(Deserialize)]
struct CloudEvent<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Digest of what the body says as a CloudEvent; `None` where it is not one.
pub(super) fn message_digest(form: Form, body: &[u8]) -> Option<u128> {
    let event: CloudEvent<'_> = serde_json::from_slice(body).ok()?;
    // CloudEvents 1.0.2, section 3.1: id and source are required and not empty, whatever made them.
    if event.specversion != "1.0" || event.id.is_empty() || event.source.is_empty() {
        return None;
    }
    let mapped = Mapped {
        id: Some(&event.id),
        source: Some(&event.source),
        event_type: &event.event_type,
        subject: event.subject.as_deref(),
        time: event.time.as_deref(),
        data: event.data.map(RawValue::get),
    };
    Some(mapped_digest(form, &mapped))
}

/// Digest of what must be the same on both sides. The private preview has neither id nor topic, so what a receiver
/// makes of them is not compared.
pub(super) fn mapped_digest(form: Form, mapped: &Mapped<'_>) -> u128 {
    let (id, source) = match form {
        Form::PrivatePreview => (None, None),
        Form::CloudEvent | Form::EventGrid => (mapped.id, mapped.source),
    };
    let mut digest = Xxh3::new();
    for part in [
        id,
        source,
        Some(mapped.event_type),
        mapped.subject,
        mapped.time,
        mapped.data,
    ] {
        match part {
            // The length comes first: the content of one attribute cannot pass for the beginning of the next.
            Some(text) => {
                digest.update(&(text.len() as u64).to_be_bytes());
                digest.update(text.as_bytes());
            }
            None => digest.update(&u64::MAX.to_be_bytes()),
        }
    }
    digest.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: &str = r#"{"id":"e","topic":"/t","subject":"s","data":{"a": 1},"eventType":"T","dataVersion":"1","metadataVersion":"1","eventTime":"2025-01-01T00:00:00Z"}"#;
    const CLOUD: &str = r#"{"specversion":"1.0","id":"e","source":"/t","type":"T","subject":"s","time":"2025-01-01T00:00:00Z","dataversion":"1","data":{"a": 1}}"#;

    fn sent(form: Form, text: &str) -> u128 {
        let grid: Grid<'_> = serde_json::from_str(text).unwrap();
        mapped_digest(form, &grid.as_mapped())
    }

    #[test]
    fn an_event_is_recognised_in_the_cloud_event_made_of_it() {
        let form = Form::EventGrid;
        assert_eq!(
            message_digest(form, CLOUD.as_bytes()),
            Some(sent(form, GRID))
        );
    }

    #[test]
    fn another_attribute_or_other_bytes_of_data_are_seen() {
        let form = Form::EventGrid;
        for (old, new) in [
            (r#""id":"e""#, r#""id":"f""#),
            ("/t", "/u"),
            (r#""type":"T""#, r#""type":"U""#),
            (r#""subject":"s","#, ""),
            ("2025-01", "2025-02"),
            (r#"{"a": 1}"#, r#"{"a":1}"#),
        ] {
            let other = CLOUD.replace(old, new);
            assert_ne!(other, CLOUD);
            assert_ne!(
                message_digest(form, other.as_bytes()),
                Some(sent(form, GRID)),
                "{other}"
            );
        }
        let other = CLOUD.replace(r#""specversion":"1.0""#, r#""specversion":"0.3""#);
        assert_eq!(message_digest(form, other.as_bytes()), None);
        assert_eq!(message_digest(form, b"[1]"), None);
    }

    #[test]
    fn the_private_preview_leaves_id_and_source_to_the_receiver() {
        let form = Form::PrivatePreview;
        let grid = GRID.replace(r#""e""#, "null").replace(r#""/t""#, "null");
        let made = CLOUD
            .replace(r#""e""#, r#""made""#)
            .replace("/t", "calling/x");
        assert_eq!(
            message_digest(form, made.as_bytes()),
            Some(sent(form, &grid))
        );
        let empty = made.replace(r#""made""#, r#""""#);
        assert_eq!(message_digest(form, empty.as_bytes()), None);
    }
}
