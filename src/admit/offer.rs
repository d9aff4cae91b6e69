//! What ingress offers for admission: an event with every decision that does not depend on other events.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::{
    event::{AppName, CallIds, CallKey, Fault, Generation, Kind},
    route::Target,
};

/// How a duplicate is recognised (docs/src/internals/journal.md, "Duplicates").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventIdentity {
    /// `source` and `id` where the event has an id; without one it is compared by content within 60 s.
    pub named: Option<(String, String)>,
    /// 128-bit digest (XXH3) of the event's raw bytes.
    pub digest: u128,
}

/// How an app groups its events (`apps.call_key`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallRule {
    /// By the ids of the event, with bindings learned from other events.
    Auto,
    /// By the rest of the callback path; `None` when there was none: unkeyed.
    Path(Option<CallKey>),
}

/// Why an event is in quarantine; the header `hookswitch-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "snake_case")]
pub enum QuarantineReason {
    /// Known type, but not valid against its schema.
    Invalid,
    /// A type that the catalogue does not know, and the app says `on_unknown = "quarantine"`.
    Unknown,
    /// No envelope was recognised.
    Malformed,
    /// It cannot be sent: too large, or the broker refused it alone.
    Unsendable,
}

/// Errors of a quarantined event that are kept, in bytes of JSON: the maximum of `hookswitch-errors`. A hostile event
/// can have many times its own size of them.
pub const ERRORS_LIMIT_BYTES: usize = 16 * 1024;

impl Quarantine {
    /// Keeps as many of the faults, in their order, as fit [`ERRORS_LIMIT_BYTES`].
    #[must_use]
    pub fn new(reason: QuarantineReason, faults: Vec<Fault>) -> Self {
        // The brackets; then each fault with a comma.
        let mut bytes = 2;
        let mut fits = |fault: &Fault| {
            let json = serde_json::to_vec(fault).expect("two strings are always JSON");
            let fits = bytes + json.len() < ERRORS_LIMIT_BYTES;
            if fits {
                bytes += json.len() + 1;
            }
            fits
        };
        Self {
            reason,
            faults: faults.into_iter().filter(|fault| fits(fault)).collect(),
        }
    }
}

impl QuarantineReason {
    /// The word in headers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why an event goes to quarantine, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    pub reason: QuarantineReason,
    /// By JSON Pointer; `hookswitch-errors` carries them as JSON, cut at 16 KiB.
    pub faults: Vec<Fault>,
}

/// The facts of an event besides its bytes, as far as they are known before admission; stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFacts {
    pub app: AppName,
    pub kind: Kind,
    /// The generation of the API; `None` for a type that the catalogue does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// Full wire type; empty where none could be read.
    pub event_type: String,
    /// Event id: as received, or generated from content if there was none (the `id` of the published event). AMQP
    /// `message_id`.
    pub event_id: String,
    /// ACS correlation id: AMQP `correlation_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// When it was accepted.
    pub received: Timestamp,
    /// `hookswitch-path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `hookswitch-query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// Set when the event goes to quarantine instead of its routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
    /// True for a record salvaged from a damaged journal: `hookswitch-recovered`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
}

impl EventFacts {
    /// An event of `app` of which nothing else is known.
    #[must_use]
    pub fn new(app: AppName, received: Timestamp) -> Self {
        Self {
            app,
            kind: Kind::Unknown,
            generation: None,
            event_type: String::new(),
            event_id: String::new(),
            correlation_id: None,
            received,
            path: None,
            query: None,
            traceparent: None,
            tracestate: None,
            quarantine: None,
            recovered: false,
        }
    }
}

/// One event of a callback, with everything about it that one thread can find out alone. The journal's thread, of which
/// there is one for all, only moves it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// How a repeat is recognised.
    pub identity: EventIdentity,
    /// Its ids, for its call key.
    pub ids: CallIds,
    pub call: CallRule,
    /// Its targets, without repeats, in the order of the routes; never empty (unrouted and quarantined events have
    /// their own queues).
    pub targets: Vec<Target>,
    /// What will be published: the CloudEvent, or for a quarantined event the bytes as received.
    pub body: Bytes,
    /// Shared with the record that the journal makes of it.
    pub facts: Arc<EventFacts>,
    /// `facts` as JSON.
    pub facts_json: String,
    /// False if the event id is generated.
    pub has_id: bool,
    /// Its faults, in full; empty for a valid event.
    pub faults: Vec<Fault>,
    /// Its drift: where it contains what its schema does not know.
    pub drift: Vec<String>,
}

impl Offer {
    /// A valid event without drift.
    #[must_use]
    pub fn new(
        identity: EventIdentity,
        (ids, call): (CallIds, CallRule),
        targets: Vec<Target>,
        facts: EventFacts,
        body: Bytes,
    ) -> Self {
        Self {
            identity,
            ids,
            call,
            targets,
            body,
            facts_json: serde_json::to_string(&facts)
                .expect("our own types have string keys and no failing serializers"),
            facts: Arc::new(facts),
            has_id: true,
            faults: Vec::new(),
            drift: Vec::new(),
        }
    }

    /// Its id as received.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.has_id.then_some(&self.facts.event_id)
    }

    /// Its type as received.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        Some(self.facts.event_type.as_str()).filter(|name| !name.is_empty())
    }

    /// The call key as a function of the event alone; none for a quarantined event.
    #[must_use]
    pub fn own_key(&self) -> Option<CallKey> {
        if self.facts.quarantine.is_some() {
            return None;
        }
        match &self.call {
            CallRule::Auto => self.ids.own_key(),
            CallRule::Path(key) => key.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_kept_up_to_what_a_header_carries() {
        let fault = |length: usize| Fault::new("/data/\"x\"", "é".repeat(length));
        let few = vec![fault(10), fault(20)];
        let kept = |faults: Vec<Fault>| Quarantine::new(QuarantineReason::Invalid, faults).faults;
        assert_eq!(kept(few.clone()), few);
        assert_eq!(kept(vec![fault(ERRORS_LIMIT_BYTES)]), []);
        let many = vec![fault(500); 100];
        let kept = kept([many.clone(), few].concat());
        let json = serde_json::to_vec(&kept).unwrap().len();
        assert!((15_000..=ERRORS_LIMIT_BYTES).contains(&json), "{json}");
    }
}
