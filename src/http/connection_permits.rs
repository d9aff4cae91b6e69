//! Connection permits: how many connections there may be, in total and per peer.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    metrics::{ConnectionCounts, ConnectionLimitReached},
    peer::Peer,
};

/// The connection permits of one listener. Its lock is taken when a connection is accepted and when it ends.
pub(super) struct ConnectionPermits {
    limit: usize,
    limit_per_peer: usize,
    taken: Mutex<OpenConnections>,
    counts: Arc<ConnectionCounts>,
}

#[derive(Default)]
struct OpenConnections {
    total: usize,
    by_peer: HashMap<Peer, usize>,
}

impl ConnectionPermits {
    pub(super) fn new(limit: usize, limit_per_peer: usize, counts: Arc<ConnectionCounts>) -> Self {
        Self {
            limit,
            limit_per_peer,
            taken: Mutex::default(),
            counts,
        }
    }

    /// Takes a permit for a connection from `address`.
    pub(super) fn take(
        self: &Arc<Self>,
        address: IpAddr,
    ) -> Result<ConnectionPermit, ConnectionLimitReached> {
        let peer = Peer::of(address);
        let taken = self.taken();
        if taken.total >= self.limit {
            return Err(ConnectionLimitReached::Total);
        }
        let of_peer = taken.by_peer.get(&peer).copied().unwrap_or(0);
        if of_peer >= self.limit_per_peer {
            return Err(ConnectionLimitReached::Peer);
        }
        Ok(self.place(taken, peer))
    }

    /// Takes over the permit of a connection that is about to end.
    pub(super) fn take_over(self: &Arc<Self>, address: IpAddr) -> ConnectionPermit {
        self.place(self.taken(), Peer::of(address))
    }

    fn place(
        self: &Arc<Self>,
        mut taken: MutexGuard<'_, OpenConnections>,
        peer: Peer,
    ) -> ConnectionPermit {
        *taken.by_peer.entry(peer).or_default() += 1;
        taken.total += 1;
        self.counts.open.inc();
        ConnectionPermit {
            permits: self.clone(),
            peer,
        }
    }

    fn taken(&self) -> MutexGuard<'_, OpenConnections> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's permit, given back when it is dropped.
pub(super) struct ConnectionPermit {
    permits: Arc<ConnectionPermits>,
    peer: Peer,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.permits.taken();
        taken.total -= 1;
        // A peer without connections uses no memory.
        if let Entry::Occupied(mut of_peer) = taken.by_peer.entry(self.peer) {
            *of_peer.get_mut() -= 1;
            if *of_peer.get() == 0 {
                of_peer.remove();
            }
        }
        self.permits.counts.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{ConnectionMetrics, ListenerName};

    #[test]
    fn a_returned_permit_can_be_taken_again() {
        let metrics = ConnectionMetrics::register(&prometheus::Registry::new()).unwrap();
        let permits = Arc::new(ConnectionPermits::new(
            3,
            2,
            metrics.of(ListenerName::Public),
        ));
        let [one, other, third] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| text.parse::<IpAddr>().unwrap());
        let first = permits.take(one).ok();
        let _second = permits.take(one).ok().unwrap();
        assert_eq!(permits.take(one).err(), Some(ConnectionLimitReached::Peer));
        let _third = permits.take(other).ok().unwrap();
        assert_eq!(
            permits.take(third).err(),
            Some(ConnectionLimitReached::Total)
        );
        // The total comes first: it tells the operator more about what to do.
        assert_eq!(permits.take(one).err(), Some(ConnectionLimitReached::Total));
        assert_eq!(permits.counts.open.get(), 3);
        drop(first);
        let again = permits.take(third).ok().unwrap();
        assert_eq!(permits.taken().by_peer.len(), 3);
        drop(again);
        assert_eq!(permits.taken().by_peer.len(), 2);
        assert_eq!(permits.counts.open.get(), 2);
    }
}
