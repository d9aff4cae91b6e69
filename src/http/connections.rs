//! The connections of one thread: a stop must reach those that only wait for their peer.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use super::{
    connection_state::ConnectionState,
    metrics::{ConnectionCounts, CutReason},
    server::ConnectionLimits,
};

/// What the connections of one thread share.
pub(super) struct Connections {
    pub(super) limits: ConnectionLimits,
    pub(super) counts: Arc<ConnectionCounts>,
    closed: Cell<bool>,
    next: Cell<u64>,
    inside: RefCell<HashMap<u64, Rc<ConnectionState>>>,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits, counts: Arc<ConnectionCounts>) -> Self {
        Self {
            limits,
            counts,
            closed: Cell::new(false),
            next: Cell::new(0),
            inside: RefCell::default(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// From now on each connection ends when none of its handlers is at work.
    pub(super) fn close(&self) {
        self.closed.set(true);
        for state in self.inside.borrow().values() {
            state.wake();
        }
    }

    /// Ends the connection that has waited for its peer the longest. False if there is none.
    pub(super) fn evict_longest_idle(&self) -> bool {
        let inside = self.inside.borrow();
        let longest = inside
            .values()
            .filter_map(|state| Some((state.waits_since()?, state)))
            .min_by_key(|(since, _)| *since);
        let Some((_, state)) = longest else {
            return false;
        };
        state.evict();
        self.counts.cut(CutReason::Evicted);
        true
    }

    pub(super) fn enter(self: &Rc<Self>, state: Rc<ConnectionState>) -> ConnectionGuard {
        let number = self.next.get();
        self.next.set(number + 1);
        self.inside.borrow_mut().insert(number, state);
        ConnectionGuard {
            connections: self.clone(),
            number,
        }
    }
}

/// Registers one connection until it is dropped.
pub(super) struct ConnectionGuard {
    pub(super) connections: Rc<Connections>,
    number: u64,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.connections.inside.borrow_mut().remove(&self.number);
    }
}
