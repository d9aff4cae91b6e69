//! What ingress offers for admission: an event with every decision that does not depend on other events.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::{
    event::{CallIds, CallKey, Fault, Generation, Kind},
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
    Auto(CallIds),
    /// By the rest of the callback path; `None` when there was none: unkeyed.
    Path(Option<CallKey>),
}

/// Why an event lies in quarantine; the header `hookswitch-reason`.
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

/// One event offered for admission.
#[derive(Clone, Debug)]
pub struct Offer {
    /// What will be published: the CloudEvent, or for a quarantined event the bytes as received.
    pub body: Bytes,
    /// Full wire type; empty where none could be read.
    pub event_type: String,
    /// Event id: as received, or generated from content if there was none (the `id` of `body`).
    pub event_id: String,
    pub kind: Kind,
    /// The generation of the API, if known.
    pub generation: Option<Generation>,
    /// ACS correlation id.
    pub correlation_id: Option<String>,
    /// How a repeat is recognised.
    pub identity: EventIdentity,
    /// What its call key is made from.
    pub call: CallRule,
    /// Its targets, without repeats, in the order of the routes; never empty (unrouted and quarantined events have
    /// their own queues).
    pub targets: Vec<Target>,
    /// Set when it goes to quarantine instead of its routes.
    pub quarantine: Option<Quarantine>,
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
