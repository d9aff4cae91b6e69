//! What the senders and the consumers share. Everything except the schedule is on one thread, so there is no contention
//! for the lock; it is held for a few lines and never across an `await`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{latency::Latency, sent_events::SentEvents, verifier::Verifier};

/// See the module.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<RunState>>);

pub(super) struct RunState {
    pub(super) sent_events: SentEvents,
    pub(super) tally: Tally,
    /// `None` where nothing is verified.
    pub(super) verifier: Option<Verifier>,
    /// Since when the consumers are connected, Unix time in microseconds; `None` while they are not.
    pub(super) connected_us: Option<u64>,
}

/// The counters of the senders.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) callbacks: u64,
    /// Answers by status, and lost connections.
    pub(super) answers: BTreeMap<u16, u64>,
    pub(super) lost_connections: u64,
    /// Callbacks sent twice on purpose.
    pub(super) duplicates: u64,
    /// Times that a callback was sent again because it was not answered 2xx.
    pub(super) resent: u64,
    /// Events given up.
    pub(super) refused: u64,
    /// Examples of those.
    pub(super) refusals: Vec<String>,
    /// From when a callback was due to its 2xx.
    pub(super) latency: Latency,
    /// From when a callback was due to when a connection took it up: how far we ourselves are behind the schedule.
    pub(super) late: Latency,
}

impl Shared {
    pub(super) fn new(sent_events: SentEvents, verifier: Option<Verifier>) -> Self {
        Self(Arc::new(Mutex::new(RunState {
            sent_events,
            tally: Tally::default(),
            verifier,
            connected_us: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RunState> {
        // A panic leaves nothing inconsistent in here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
