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
mod rendered;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

pub use self::grid::GridSchema;
pub(crate) use self::{
    grid::{Resource, render_grid},
    rendered::Rendered,
};
use super::event::{Generation, Happened, Notice};

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
