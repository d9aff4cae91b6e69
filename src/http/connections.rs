//! The connections of one thread: a stop must reach those that only wait for their peer.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{
    connection_state::ConnectionState,
    metrics::{ConnectionCounts, CutReason},
};

/// The bounds of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in total.
    pub connections: usize,
    /// Connections of one peer: one address of IPv4, one /64 of IPv6.
    pub connections_per_peer: usize,
    /// Request line and headers, in bytes as received.
    pub head_bytes: usize,
    /// From the first byte of a head (for the first request: from the start of the connection) to its last; also how
    /// long the rest of a refused body is read.
    pub head_timeout: Duration,
    /// From an answer to the first byte of the next request.
    pub idle_timeout: Duration,
    /// How long a part of an answer may wait for the peer to read it.
    pub answer_timeout: Duration,
    /// Whether a new connection at the limit replaces the one that has waited for its peer the longest. For a listener
    /// of one thread: a thread ends its own connections only.
    pub evicts_idle: bool,
}

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
