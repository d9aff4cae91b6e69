//! Events as JSON, in the form that each generation of the service gives them (docs/src/reference/acs-events.md).
//!
//! The members are structs and not maps, because they go out in the order of the recordings.

mod ga;
mod grid;
mod identifier;
mod private;
mod public;
#[cfg(test)]
mod published_shape;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use jiff::{Timestamp, tz::Offset};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

pub(crate) use self::grid::{Resource, render_grid};
use super::{
    event::{Generation, Happened, Notice},
    settings::GridSchema,
};

/// One event in the form in which it is posted, alone or in an array.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    /// Of the event. The private preview leaves most events without one; then it is only for the emulator's own
    /// accounting.
    pub(crate) id: String,
    /// The event's type on the wire, like `Microsoft.Communication.CallConnected`.
    pub(crate) kind: String,
    /// The object.
    pub(crate) event: Box<RawValue>,
    /// No more events of the call are expected after it. After the `CallDisconnected` of a call that could not be made
    /// there is still a `CreateCallFailed`, as the service has it.
    pub(crate) last: bool,
}

/// What is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) content_type: &'static str,
}

/// Gives `notice` the form of its generation; `None` where that generation does not have the event.
pub(crate) fn render(notice: &Notice, id: Uuid, at: Timestamp) -> Option<Rendered> {
    let (kind, event) = match notice.call.generation {
        Generation::Private => private::event(notice, id, at),
        Generation::Public => public::event(notice, id, at),
        Generation::Ga => ga::event(notice, id, at),
    }?;
    Some(Rendered {
        id: id.to_string(),
        kind,
        event,
        last: matches!(
            notice.happened,
            Happened::Disconnected
                | Happened::CreateCallFailed
                | Happened::AnswerFailed
                | Happened::ConnectFailed
        ),
    })
}

/// The body of a callback. GA always sends an array (recorded), 2021 an object where it is alone (as its pages print it;
/// no recording exists). No source names the content type.
pub(crate) fn body(generation: Generation, events: &[&Rendered]) -> Body {
    let bytes = match (generation, events) {
        (Generation::Private | Generation::Public, [alone]) => single(alone),
        _ => array(events),
    };
    Body {
        bytes: bytes.into(),
        content_type: "application/json",
    }
}

/// The body of a delivery of Event Grid: its own schema is always an array, CloudEvents one event or a batch.
pub(crate) fn grid_body(schema: GridSchema, events: &[&Rendered]) -> Body {
    let (bytes, content_type) = match (schema, events) {
        (GridSchema::EventGrid, _) => (array(events), "application/json"),
        (GridSchema::CloudEvents, [alone]) => (single(alone), "application/cloudevents+json"),
        (GridSchema::CloudEvents, _) => (array(events), "application/cloudevents-batch+json"),
    };
    Body {
        bytes: bytes.into(),
        content_type,
    }
}

fn single(event: &Rendered) -> Vec<u8> {
    event.event.get().as_bytes().to_vec()
}

fn array(events: &[&Rendered]) -> Vec<u8> {
    let objects: Vec<&str> = events.iter().map(|event| event.event.get()).collect();
    format!("[{}]", objects.join(",")).into_bytes()
}

/// The type on the wire of the event `name`.
fn kind_of(name: &str) -> String {
    format!("Microsoft.Communication.{name}")
}

fn object(event: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(event).expect("texts, numbers and lists of them become JSON")
}

/// As callbacks write a time: 7 digits and an offset.
fn time_with_offset(at: Timestamp) -> String {
    format!("{:.7}", at.display_with_offset(Offset::UTC))
}

/// `startDateTime` of a recording's events: as recorded, only the digits that are needed, and the year 1 before it starts.
fn start_of_recording(started: Option<Timestamp>) -> String {
    let Some(at) = started else {
        return "0001-01-01T00:00:00+00:00".to_owned();
    };
    let text = time_with_z(at);
    let digits = text.trim_end_matches('Z').trim_end_matches('0');
    format!("{}+00:00", digits.trim_end_matches('.'))
}

/// As the private preview and Event Grid write a time: 7 digits and `Z`.
fn time_with_z(at: Timestamp) -> String {
    format!("{at:.7}")
}

/// A structured CloudEvent as callbacks are, from 2021-06-15-preview on.
#[derive(Serialize)]
struct CallbackEvent<'a, D> {
    id: Uuid,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    data: D,
    time: String,
    specversion: &'static str,
    datacontenttype: &'static str,
    subject: &'a str,
}

impl<'a, D> CallbackEvent<'a, D> {
    fn new(id: Uuid, at: Timestamp, source: &'a str, kind: &'a str, data: D) -> Self {
        Self {
            id,
            source,
            kind,
            data,
            time: time_with_offset(at),
            specversion: "1.0",
            datacontenttype: "application/json",
            // The same in every sample that was found.
            subject: source,
        }
    }
}
