//! An event as the envelope module passes it on: attributes by their CloudEvents names, `data` parsed once.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The envelope of an event; the words of `validate --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvelopeForm {
    /// CloudEvents 1.0, structured, batched or binary.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// Event Grid schema.
    EventGrid,
    /// The Event-Grid-like shape of the 2021 private preview, most members null (docs/src/reference/acs-events.md, "The
    /// private preview").
    PrivatePreview,
}

impl EnvelopeForm {
    /// The word in logs, metrics and `validate --json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloudEvents => "cloudevents",
            Self::EventGrid => "event-grid",
            Self::PrivatePreview => "private-preview",
        }
    }
}

/// CloudEvents context attributes, whatever the envelope calls them on the wire (`eventType` is `event_type` here).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `id` as received; `None` if the sender gave none (2021-private sends null).
    pub id: Option<String>,
    /// `source`; for Event Grid its `topic`; `None` where there is none.
    pub source: Option<String>,
    /// `type` / `eventType`, full wire name.
    pub event_type: String,
    pub subject: Option<String>,
    /// `time` / `eventTime` as received; never used for ordering.
    pub time: Option<String>,
    /// Every other attribute, by its CloudEvents name (extensions, `datacontenttype`, …); numbers and booleans as their
    /// JSON text.
    pub other: Vec<(String, String)>,
}

impl Attributes {
    /// The value of the attribute with the CloudEvents name `name`, for filters.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        match name {
            "id" => self.id.as_deref(),
            "source" => self.source.as_deref(),
            "type" => Some(&self.event_type),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            other => self
                .other
                .iter()
                .find(|(key, _)| key == other)
                .map(|(_, value)| value.as_str()),
        }
    }

    /// The last part of the type: `CallConnected` of `Microsoft.Communication.CallConnected`.
    #[must_use]
    pub fn short_type(&self) -> &str {
        self.event_type
            .rsplit('.')
            .next()
            .unwrap_or(&self.event_type)
    }
}

/// One event with a recognised envelope. Made by `envelope` only.
#[derive(Clone, Debug)]
pub struct Event {
    pub form: EnvelopeForm,
    /// Context attributes.
    pub attributes: Attributes,
    /// The payload, parsed once; `Value::Null` where there was none.
    pub data: Value,
    /// The event's bytes as received in the callback (in binary mode: the body). Duplicates are compared by these
    /// bytes, and a quarantined event is kept as them.
    pub raw: Bytes,
    /// One CloudEvents 1.0 JSON object in structured mode: the published message. The same bytes as `raw` for a
    /// structured CloudEvent (docs/src/consumer/messages.md, "Queues, properties, headers").
    pub cloud_event: Bytes,
}

/// A fault of an event, by location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON Pointer (RFC 6901) from the event's root: `/data/callConnectionId`.
    pub pointer: String,
    /// What is wrong. Never a value of the event: values may be personal data.
    pub message: String,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }
}

/// An element of a callback without a recognised envelope, beside others with one.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// The element's bytes as received.
    pub raw: Bytes,
    /// `id`, where one could be read.
    pub id: Option<String>,
    /// `type` or `eventType`, where one could be read.
    pub event_type: Option<String>,
    /// Why it is not an event.
    pub faults: Vec<Fault>,
}
