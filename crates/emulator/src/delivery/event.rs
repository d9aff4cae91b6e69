//! Events in their final form, and the trait that renders them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use jiff::Timestamp;
use uuid::Uuid;

use super::super::{
    event::{Generation, GridNotice, Notice},
    wire::{Body, GridSchema, Rendered},
};

/// An Event Grid subscription of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGrid {
    /// The webhook.
    pub url: String,
    /// Its delivery schema.
    pub schema: GridSchema,
    /// Whether the webhook is asked for its consent before anything is delivered, as the service does.
    pub handshake: bool,
}

/// The target, whose events may share a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventTarget {
    Callback(Generation),
    Grid(GridSchema),
}

/// Gives events the form of their generation or schema (`wire`).
pub(crate) trait Form: Send + Sync + 'static {
    /// `None` where the generation does not have this event.
    fn callback(&self, notice: &Notice, id: Uuid, at: Timestamp) -> Option<Rendered>;
    /// The form of Event Grid.
    fn grid(&self, notice: &GridNotice, id: Uuid, at: Timestamp, schema: GridSchema) -> Rendered;
    /// At least one event.
    fn body(&self, dress: EventTarget, events: &[&Rendered]) -> Body;
}

/// An event on its way, and what became of it.
#[derive(Debug)]
pub(super) struct InFlightEvent {
    pub(super) rendered: Rendered,
    accepted: AtomicBool,
    lost: AtomicBool,
}

impl InFlightEvent {
    pub(super) fn new(rendered: Rendered) -> Self {
        Self {
            rendered,
            accepted: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    /// Marks it as accepted; returns whether this is the first time, and whether it had been counted as lost.
    pub(super) fn accept(&self) -> (bool, bool) {
        let first = !self.accepted.swap(true, Relaxed);
        (first, self.lost.load(Relaxed))
    }

    /// Marks it as lost unless it was accepted; true the first time.
    pub(super) fn lose(&self) -> bool {
        !self.accepted.load(Relaxed) && !self.lost.swap(true, Relaxed)
    }
}

#[cfg(test)]
impl Rendered {
    pub(super) fn for_tests(id: &str, last: bool) -> Self {
        let event = format!("{{\"id\":{id:?}}}");
        Self {
            id: id.to_owned(),
            kind: "Microsoft.Communication.Test".to_owned(),
            event: serde_json::value::RawValue::from_string(event).expect("JSON"),
            last,
        }
    }
}
