//! What the forms of all generations share: the result, the name of a type, times, and CloudEvents.

use jiff::{Timestamp, tz::Offset};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

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

/// The type on the wire of the event `name`.
pub(super) fn kind_of(name: &str) -> String {
    format!("Microsoft.Communication.{name}")
}

pub(super) fn object(event: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(event).expect("texts, numbers and lists of them become JSON")
}

/// As callbacks write a time: 7 digits and an offset.
pub(super) fn time_with_offset(at: Timestamp) -> String {
    format!("{:.7}", at.display_with_offset(Offset::UTC))
}

/// `startDateTime` of a recording's events: as recorded, only the digits that are needed, and the year 1 before it starts.
pub(super) fn start_of_recording(started: Option<Timestamp>) -> String {
    let Some(at) = started else {
        return "0001-01-01T00:00:00+00:00".to_owned();
    };
    let text = time_with_z(at);
    let digits = text.trim_end_matches('Z').trim_end_matches('0');
    format!("{}+00:00", digits.trim_end_matches('.'))
}

/// As the private preview and Event Grid write a time: 7 digits and `Z`.
pub(super) fn time_with_z(at: Timestamp) -> String {
    format!("{at:.7}")
}

/// A structured CloudEvent as callbacks are, from 2021-06-15-preview on.
#[derive(Serialize)]
pub(super) struct CallbackEvent<'a, D> {
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
    pub(super) fn new(id: Uuid, at: Timestamp, source: &'a str, kind: &'a str, data: D) -> Self {
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
