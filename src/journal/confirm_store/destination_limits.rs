//! Prevents a queue or exchange that does not confirm from using up the permits of the callbacks for all others.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::journal::{Callback, JournalRefusal, LimitReached, handles::ShareId};

use super::{ConfirmStore, WaitedEvent};

/// With fewer waiting callbacks in total there are enough permits, and none is refused early.
const CROWD: usize = 16;

/// Callbacks that wait for the broker, by the queue or exchange that they wait for.
#[derive(Debug)]
pub(super) struct WaitingByShare {
    /// For one queue or exchange.
    limit: u64,
    /// A destination that confirmed nothing for this long while callbacks wait for it is held up.
    timeout: Duration,
    shares: HashMap<ShareId, DestinationLoad>,
}

#[derive(Debug)]
struct DestinationLoad {
    waiting: u64,
    /// The last confirm, or when the first of the waiting callbacks arrived.
    progress: Instant,
}

impl WaitingByShare {
    pub(super) fn new(limit: u64, timeout: Duration) -> Self {
        Self {
            limit,
            timeout,
            shares: HashMap::new(),
        }
    }

    pub(super) fn begin(&mut self, shares: &[ShareId]) {
        for share in shares {
            let load = self
                .shares
                .entry(*share)
                .or_insert_with(|| DestinationLoad {
                    waiting: 0,
                    progress: Instant::now(),
                });
            load.waiting += 1;
        }
    }

    pub(super) fn end(&mut self, shares: &[ShareId]) {
        for share in shares {
            if let Some(load) = self.shares.get_mut(share) {
                load.waiting -= 1;
                if load.waiting == 0 {
                    self.shares.remove(share);
                }
            }
        }
    }

    pub(super) fn confirmed(&mut self, share: ShareId) {
        if let Some(load) = self.shares.get_mut(&share) {
            load.progress = Instant::now();
        }
    }
}

impl ConfirmStore {
    /// The shares that a callback with these events waits for, each once.
    pub(super) fn shares(&mut self, events: &[WaitedEvent]) -> Vec<ShareId> {
        let mut shares = Vec::new();
        for event in events {
            let destinations = self.destinations.clone();
            for place in &self.known(event.which).places {
                if let Some(share) = destinations.share(place.destination)
                    && !shares.contains(&share)
                {
                    shares.push(share);
                }
            }
        }
        shares
    }

    /// Why a callback is refused at once instead of after the timeout: for one of its destinations the limit of waiting
    /// callbacks is reached, or nothing was confirmed for a while. The callbacks that already wait show when it
    /// recovers.
    pub(super) fn is_held_up(&mut self, callback: &Callback) -> Option<JournalRefusal> {
        if self.callbacks.len() < CROWD {
            return None;
        }
        for offer in &callback.offers {
            let call = offer.own_key();
            for target in &offer.targets {
                let destination = target.place(call.as_ref());
                let id = self.routing_keys.id(&callback.app, destination);
                let Some(share) = self.destinations.share(id) else {
                    continue;
                };
                let Some(load) = self.waiting.shares.get(&share) else {
                    continue;
                };
                if load.waiting >= self.waiting.limit {
                    return Some(JournalRefusal::DestinationFull {
                        destination: self.destinations.share_name(share).unwrap_or_default(),
                        bound: LimitReached {
                            used: load.waiting,
                            needed: 1,
                            limit: self.waiting.limit,
                            unit: "callbacks",
                        },
                    });
                }
                if load.progress.elapsed() >= self.waiting.timeout {
                    return Some(JournalRefusal::NotConfirmed);
                }
            }
        }
        None
    }
}
