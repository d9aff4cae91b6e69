//! From the bytes of a callback to what is offered for admission: envelope, catalogue, policies, routes. No HTTP.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    admit::{CallRule, EventFacts, EventIdentity, Offer, Quarantine, QuarantineReason},
    catalog::{Catalog, CatalogMatch, Validity},
    config::{App, OnInvalid, OnUnknown},
    envelope::{self, CallbackHead, DecodeError, DecodeLimits, Element},
    event::{CallIds, CallKey, EnvelopeForm, Event, Fault, Malformed},
    route::{Route, Router, Target},
};

use super::RejectReason;

/// Every decision about a callback that does not depend on other callbacks.
#[derive(Debug)]
pub struct Pipeline {
    apps: HashMap<String, App>,
    catalog: Arc<ArcSwap<Catalog>>,
    router: Router,
    limits: DecodeLimits,
}

/// What each event of a callback takes over from its request.
#[derive(Clone, Debug, Default)]
pub struct RequestFacts {
    /// When the callback was received.
    pub received: Timestamp,
    /// The rest of the path after `/callbacks/{app}/`, percent-encoded as received; `None` if there was none.
    pub path: Option<String>,
    /// The parameters named in `pass_query`, as a query string; `None` if there were none.
    pub query: Option<String>,
    /// W3C `traceparent`.
    pub traceparent: Option<String>,
    /// W3C `tracestate`.
    pub tracestate: Option<String>,
    /// Length of its body.
    pub body_bytes: usize,
}

impl RequestFacts {
    /// The bytes of an event, in a buffer of their own where the callback's is much larger: it would stay in memory as
    /// long as the event does.
    fn detach(&self, bytes: &Bytes) -> Bytes {
        if bytes.len() >= self.body_bytes / 2 {
            bytes.clone()
        } else {
            Bytes::copy_from_slice(bytes)
        }
    }
}

/// Why a callback is refused before the journal.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// Its envelope was not recognised.
    #[error("the envelope was not recognised")]
    Envelope(#[from] DecodeError),
    /// The app refuses a callback with an event like this as a whole (`on_invalid`, `on_unknown`).
    #[error("{} of {} events are refused", .offers.iter().filter(|offer| !offer.faults.is_empty()).count(), .offers.len())]
    Events {
        reason: RejectReason,
        /// All of its events, including valid ones.
        offers: Vec<Offer>,
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

    /// Decides for each event of a callback where it goes, in the order of its array.
    ///
    /// # Errors
    /// [`Rejection::Events`].
    pub fn prepare(
        &self,
        app: &App,
        elements: Vec<Element>,
        request: &RequestFacts,
    ) -> Result<Vec<Offer>, Rejection> {
        let catalog = self.catalog.load();
        let mut offers = Vec::with_capacity(elements.len());
        let mut rejected: Option<RejectReason> = None;
        for element in elements {
            let (offer, fate) = match element {
                Element::Event(event) => self.event(app, event, &catalog, request),
                Element::Malformed(malformed) => malformed_event(app, malformed, request),
            };
            if let EventPolicy::Reject(reason) = fate {
                // Invalid has priority if a callback has both.
                if rejected != Some(RejectReason::Invalid) {
                    rejected = Some(reason);
                }
            }
            offers.push(offer);
        }
        match rejected {
            Some(reason) => Err(Rejection::Events { reason, offers }),
            None => Ok(offers),
        }
    }

    fn event(
        &self,
        app: &App,
        event: Event,
        catalog: &Catalog,
        request: &RequestFacts,
    ) -> (Offer, EventPolicy) {
        let CatalogMatch {
            kind,
            generation,
            mut ids,
            verdict,
            drift,
        } = catalog.examine(&event);
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
        let (body, targets, quarantine) = match fate {
            EventPolicy::Quarantine(reason) => (
                match event.form {
                    // The same bytes, except in binary mode: there the attributes came as headers and would be lost.
                    EnvelopeForm::CloudEvents => &event.cloud_event,
                    EnvelopeForm::EventGrid | EnvelopeForm::PrivatePreview => &event.raw,
                },
                vec![Target::quarantine()],
                Some(Quarantine::new(reason, faults.clone())),
            ),
            // A rejected event is never offered, so its target does not matter.
            EventPolicy::Route | EventPolicy::Reject(_) => (
                &event.cloud_event,
                self.router
                    .route(&app.name, &event, kind, generation.as_ref()),
                None,
            ),
        };
        let body = request.detach(body);
        let identity = EventIdentity {
            named: event
                .attributes
                .id
                .as_ref()
                .map(|id| (envelope::event_source(&event).into_owned(), id.clone())),
            digest: envelope::digest(&event.raw),
        };
        let has_id = event.attributes.id.is_some();
        let facts = EventFacts {
            kind,
            generation,
            event_id: envelope::event_id(&event).into_owned(),
            event_type: event.attributes.event_type,
            correlation_id: ids.correlation.take(),
            quarantine,
            ..facts(app, request)
        };
        let offer = Offer {
            has_id,
            faults,
            drift,
            ..Offer::new(
                identity,
                (ids, call_rule(app, request)),
                targets,
                facts,
                body,
            )
        };
        (offer, fate)
    }
}

fn malformed_event(
    app: &App,
    malformed: Malformed,
    request: &RequestFacts,
) -> (Offer, EventPolicy) {
    let Malformed {
        raw,
        id,
        event_type,
        faults,
    } = malformed;
    let digest = envelope::digest(&raw);
    let has_id = id.is_some();
    let facts = EventFacts {
        event_type: event_type.unwrap_or_default(),
        event_id: id.unwrap_or_else(|| format!("{digest:032x}")),
        quarantine: Some(Quarantine::new(QuarantineReason::Malformed, faults.clone())),
        ..facts(app, request)
    };
    // Without an envelope the namespace of its id is unknown: it is compared by content.
    let identity = EventIdentity {
        named: None,
        digest,
    };
    let call = (CallIds::default(), call_rule(app, request));
    let targets = vec![Target::quarantine()];
    let offer = Offer {
        has_id,
        faults,
        ..Offer::new(identity, call, targets, facts, request.detach(&raw))
    };
    (offer, on_invalid(app, QuarantineReason::Malformed))
}

/// The facts of an event of which nothing is known but its request.
fn facts(app: &App, request: &RequestFacts) -> EventFacts {
    EventFacts {
        path: request.path.clone(),
        query: request.query.clone(),
        traceparent: request.traceparent.clone(),
        tracestate: request.tracestate.clone(),
        ..EventFacts::new(app.name.clone(), request.received)
    }
}

fn on_invalid(app: &App, reason: QuarantineReason) -> EventPolicy {
    match app.on_invalid {
        OnInvalid::Quarantine => EventPolicy::Quarantine(reason),
        OnInvalid::Reject => EventPolicy::Reject(RejectReason::Invalid),
    }
}

fn call_rule(app: &App, request: &RequestFacts) -> CallRule {
    if app.call_key_from_path {
        CallRule::Path(request.path.as_deref().and_then(CallKey::new))
    } else {
        CallRule::Auto
    }
}

fn unknown_type(event: &Event) -> Fault {
    let pointer = match event.form {
        EnvelopeForm::CloudEvents => "/type",
        EnvelopeForm::EventGrid | EnvelopeForm::PrivatePreview => "/eventType",
    };
    Fault::new(pointer, "the catalogue does not know this type")
}
