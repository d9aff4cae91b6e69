//! From the bytes of a callback to what is offered for admission: envelope, catalogue, policies, routes. No HTTP.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::{
    admit::{CallRule, EventIdentity, Offer, Quarantine, QuarantineReason},
    catalog::{Catalog, CatalogMatch, Validity},
    config::{App, OnInvalid, OnUnknown},
    envelope::{self, CallbackHead, DecodeError, DecodeLimits, Element},
    event::{CallIds, CallKey, EnvelopeForm, Event, Fault, Kind, Malformed},
    route::{Route, Router, Target},
};

use super::RejectReason;

/// The label of types and generations that the catalogue does not know.
const OTHER: &str = "other";

/// Every decision about a callback that does not depend on other callbacks.
#[derive(Debug)]
pub struct Pipeline {
    apps: HashMap<String, App>,
    catalog: Arc<ArcSwap<Catalog>>,
    router: Router,
    limits: DecodeLimits,
}

/// A callback that may be offered to the journal.
#[derive(Debug)]
pub struct PreparedCallback {
    /// Its events, in the order of its array.
    pub offers: Vec<Offer>,
    /// One for each offer.
    pub summaries: Vec<EventSummary>,
}

/// The facts of one event for answers, logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSummary {
    /// Its id as received.
    pub id: Option<String>,
    /// Its type as received.
    pub event_type: Option<String>,
    /// Its type for metrics: a type of the catalogue, or `other`.
    pub type_label: String,
    /// Its generation for metrics: one of the catalogue, or `other`.
    pub generation_label: String,
    /// ACS call connection id, for logs.
    pub connection: Option<String>,
    /// ACS correlation id, for logs.
    pub correlation: Option<String>,
    /// Its faults, by JSON Pointer from its root; empty for a valid event.
    pub faults: Vec<Fault>,
    /// Its drift: where it contains what its schema does not know.
    pub drift: Vec<String>,
}

/// Why a callback is refused before the journal.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// Its envelope was not recognised.
    #[error("the envelope was not recognised")]
    Envelope(#[from] DecodeError),
    /// The app refuses a callback with an event like this as a whole (`on_invalid`, `on_unknown`).
    #[error("{} of {} events are refused", .summaries.iter().filter(|note| !note.faults.is_empty()).count(), .summaries.len())]
    Events {
        reason: RejectReason,
        /// One for each event, including valid ones.
        summaries: Vec<EventSummary>,
    },
}

/// The result of a policy for one event.
enum EventPolicy {
    Route,
    Quarantine(QuarantineReason),
    Reject(RejectReason),
}

impl Pipeline {
    /// For these apps and routes. The catalogue may be swapped at any time; each callback sees one.
    #[must_use]
    pub fn new(
        apps: Vec<App>,
        routes: Vec<Route>,
        batch_limit: usize,
        catalog: Arc<ArcSwap<Catalog>>,
    ) -> Self {
        Self {
            apps: apps
                .into_iter()
                .map(|app| (app.name.as_str().to_owned(), app))
                .collect(),
            catalog,
            router: Router::new(routes),
            limits: DecodeLimits::new(batch_limit),
        }
    }

    #[must_use]
    pub fn app(&self, name: &str) -> Option<&App> {
        self.apps.get(name)
    }

    /// All of them.
    pub(super) fn apps(&self) -> impl Iterator<Item = &App> + Clone {
        self.apps.values()
    }

    /// Decodes the events of a callback.
    ///
    /// # Errors
    /// [`Rejection::Envelope`].
    pub fn read(&self, head: &CallbackHead<'_>, body: &Bytes) -> Result<Vec<Element>, Rejection> {
        Ok(envelope::decode(head, body, &self.limits)?)
    }

    /// Decides for each event of a callback where it goes. `path` is the rest of the callback's path after the app.
    ///
    /// # Errors
    /// [`Rejection::Events`].
    pub fn prepare(
        &self,
        app: &App,
        elements: Vec<Element>,
        path: Option<&str>,
    ) -> Result<PreparedCallback, Rejection> {
        let catalog = self.catalog.load();
        let mut prepared = PreparedCallback {
            offers: Vec::with_capacity(elements.len()),
            summaries: Vec::with_capacity(elements.len()),
        };
        let mut rejected: Option<RejectReason> = None;
        for element in elements {
            let (offer, note, fate) = match element {
                Element::Event(event) => self.event(app, event, &catalog, path),
                Element::Malformed(malformed) => malformed_event(app, malformed, path),
            };
            if let EventPolicy::Reject(reason) = fate {
                // Invalid has priority if a callback has both.
                if rejected != Some(RejectReason::Invalid) {
                    rejected = Some(reason);
                }
            }
            prepared.offers.push(offer);
            prepared.summaries.push(note);
        }
        match rejected {
            Some(reason) => Err(Rejection::Events {
                reason,
                summaries: prepared.summaries,
            }),
            None => Ok(prepared),
        }
    }

    fn event(
        &self,
        app: &App,
        event: Event,
        catalog: &Catalog,
        path: Option<&str>,
    ) -> (Offer, EventSummary, EventPolicy) {
        let CatalogMatch {
            kind,
            generation,
            ids,
            verdict,
            drift,
        } = catalog.examine(&event);
        let known = verdict != Validity::Unknown;
        let (fate, faults) = match verdict {
            Validity::Valid => (EventPolicy::Route, Vec::new()),
            Validity::Invalid(faults) => (on_invalid(app, QuarantineReason::Invalid), faults),
            Validity::Unknown => match app.on_unknown {
                OnUnknown::Route => (EventPolicy::Route, Vec::new()),
                OnUnknown::Quarantine => (
                    EventPolicy::Quarantine(QuarantineReason::Unknown),
                    vec![unknown_type(&event)],
                ),
                OnUnknown::Reject => (
                    EventPolicy::Reject(RejectReason::Unknown),
                    vec![unknown_type(&event)],
                ),
            },
        };
        let note = EventSummary {
            id: event.attributes.id.clone(),
            event_type: Some(event.attributes.event_type.clone()),
            type_label: if known {
                event.attributes.event_type.clone()
            } else {
                OTHER.to_owned()
            },
            generation_label: generation.as_ref().map_or_else(
                || OTHER.to_owned(),
                |generation| generation.as_str().to_owned(),
            ),
            connection: ids.connection.clone(),
            correlation: ids.correlation.clone(),
            faults: faults.clone(),
            drift,
        };
        let identity = EventIdentity {
            named: event
                .attributes
                .id
                .as_ref()
                .map(|id| (envelope::event_source(&event).into_owned(), id.clone())),
            digest: envelope::digest(&event.raw),
        };
        let (body, targets, quarantine) = match fate {
            EventPolicy::Quarantine(reason) => (
                match event.form {
                    // The same bytes, except in binary mode: there the attributes came as headers and would be lost.
                    EnvelopeForm::CloudEvents => event.cloud_event.clone(),
                    EnvelopeForm::EventGrid | EnvelopeForm::PrivatePreview => event.raw.clone(),
                },
                vec![Target::quarantine()],
                Some(Quarantine::new(reason, faults)),
            ),
            // A rejected event is never offered, so its target does not matter.
            EventPolicy::Route | EventPolicy::Reject(_) => (
                event.cloud_event.clone(),
                self.router
                    .route(&app.name, &event, kind, generation.as_ref()),
                None,
            ),
        };
        let offer = Offer {
            body,
            event_id: envelope::event_id(&event).into_owned(),
            event_type: event.attributes.event_type,
            kind,
            generation,
            correlation_id: ids.correlation.clone(),
            identity,
            call: call_rule(app, ids, path),
            targets,
            quarantine,
        };
        (offer, note, fate)
    }
}

fn malformed_event(
    app: &App,
    malformed: Malformed,
    path: Option<&str>,
) -> (Offer, EventSummary, EventPolicy) {
    let Malformed {
        raw,
        id,
        event_type,
        faults,
    } = malformed;
    let digest = envelope::digest(&raw);
    let note = EventSummary {
        id: id.clone(),
        event_type: event_type.clone(),
        type_label: OTHER.to_owned(),
        generation_label: OTHER.to_owned(),
        connection: None,
        correlation: None,
        faults: faults.clone(),
        drift: Vec::new(),
    };
    let offer = Offer {
        body: raw,
        event_type: event_type.unwrap_or_default(),
        event_id: id.unwrap_or_else(|| format!("{digest:032x}")),
        kind: Kind::Unknown,
        generation: None,
        correlation_id: None,
        // Without an envelope the namespace of its id is unknown: it is compared by content.
        identity: EventIdentity {
            named: None,
            digest,
        },
        call: call_rule(app, CallIds::default(), path),
        targets: vec![Target::quarantine()],
        quarantine: Some(Quarantine::new(QuarantineReason::Malformed, faults)),
    };
    (offer, note, on_invalid(app, QuarantineReason::Malformed))
}

fn on_invalid(app: &App, reason: QuarantineReason) -> EventPolicy {
    match app.on_invalid {
        OnInvalid::Quarantine => EventPolicy::Quarantine(reason),
        OnInvalid::Reject => EventPolicy::Reject(RejectReason::Invalid),
    }
}

fn call_rule(app: &App, ids: CallIds, path: Option<&str>) -> CallRule {
    if app.call_key_from_path {
        CallRule::Path(path.and_then(CallKey::new))
    } else {
        CallRule::Auto(ids)
    }
}

fn unknown_type(event: &Event) -> Fault {
    let pointer = match event.form {
        EnvelopeForm::CloudEvents => "/type",
        EnvelopeForm::EventGrid | EnvelopeForm::PrivatePreview => "/eventType",
    };
    Fault::new(pointer, "the catalogue does not know this type")
}
