//! What is owed, in memory: about 60 bytes a delivery, no bodies.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    admit::Slot,
    dispatch::{DeliveryId, RecordId},
    route::DestinationId,
};

/// A delivery that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) record: RecordId,
    pub(super) destination: DestinationId,
    /// Its line; see [`crate::admit::Line`].
    pub(super) line: Option<Slot>,
    /// Size of its record.
    pub(super) bytes: u32,
    /// Seconds since the epoch at which its record was received.
    pub(super) received: u32,
}

/// Everything that is owed.
#[derive(Debug, Default)]
pub(super) struct Index {
    pending: BTreeMap<DeliveryId, Pending>,
    /// Deliveries still owed of records that have more than one.
    shared: HashMap<RecordId, u32>,
    /// Records with a delivery that moved to quarantine: it stands apart from its siblings.
    moved: HashSet<RecordId>,
    records: u64,
    bytes: u64,
    /// By destination: what it owes. A record counts once for each of its destinations.
    owed_bytes: Vec<u64>,
}

impl Index {
    /// Adds a delivery; in order of their ids. A record has the id of its first delivery and the others follow it,
    /// except those that `moved` to quarantine.
    pub(super) fn add(&mut self, delivery: DeliveryId, pending: Pending, moved: bool) {
        *self.owed_mut(pending.destination) += u64::from(pending.bytes);
        let shared = if moved {
            !self.moved.insert(pending.record)
                || self
                    .pending
                    .range(DeliveryId(pending.record.0)..)
                    .next()
                    .is_some_and(|(_, sibling)| sibling.record == pending.record)
        } else {
            self.pending
                .last_key_value()
                .is_some_and(|(_, last)| last.record == pending.record)
        };
        if shared {
            *self.shared.entry(pending.record).or_insert(1) += 1;
        } else {
            self.records += 1;
            self.bytes += u64::from(pending.bytes);
        }
        self.pending.insert(delivery, pending);
    }

    /// Takes a delivery out; true beside it when that was the last one of its record.
    pub(super) fn remove(&mut self, delivery: DeliveryId) -> Option<(Pending, bool)> {
        let pending = self.pending.remove(&delivery)?;
        let owed = self.owed_mut(pending.destination);
        *owed = owed.saturating_sub(u64::from(pending.bytes));
        let last = match self.shared.get_mut(&pending.record) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) => {
                self.shared.remove(&pending.record);
                true
            }
            None => true,
        };
        if last {
            self.moved.remove(&pending.record);
            self.records -= 1;
            self.bytes -= u64::from(pending.bytes);
        }
        Some((pending, last))
    }

    /// Puts the delivery `new` in the place of `old`, which is owed: same record, other destination, no line.
    pub(super) fn replace(&mut self, old: DeliveryId, new: DeliveryId, destination: DestinationId) {
        let Some(mut pending) = self.pending.remove(&old) else {
            return;
        };
        let bytes = u64::from(pending.bytes);
        let owed = self.owed_mut(pending.destination);
        *owed = owed.saturating_sub(bytes);
        *self.owed_mut(destination) += bytes;
        pending.destination = destination;
        pending.line = None;
        self.pending.insert(new, pending);
    }

    pub(super) fn get(&self, delivery: DeliveryId) -> Option<&Pending> {
        self.pending.get(&delivery)
    }

    /// Everything, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DeliveryId, &Pending)> {
        self.pending.iter().map(|(id, pending)| (*id, pending))
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.pending.len() as u64
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What one destination owes.
    pub(super) fn owed_bytes(&self, destination: DestinationId) -> u64 {
        self.owed_bytes
            .get(destination.0 as usize)
            .copied()
            .unwrap_or(0)
    }

    /// When the oldest was received, in seconds since the epoch.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.pending
            .first_key_value()
            .map(|(_, pending)| pending.received)
    }

    fn owed_mut(&mut self, destination: DestinationId) -> &mut u64 {
        let place = destination.0 as usize;
        if self.owed_bytes.len() <= place {
            self.owed_bytes.resize(place + 1, 0);
        }
        self.owed_bytes
            .get_mut(place)
            .expect("made long enough just above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(record: u64, destination: u32) -> Pending {
        Pending {
            record: RecordId(record),
            destination: DestinationId(destination),
            line: None,
            bytes: 100,
            received: 7,
        }
    }

    #[test]
    fn a_record_counts_once_in_total_and_once_for_each_destination() {
        let mut index = Index::default();
        for (delivery, destination) in [(1, 0), (2, 1), (3, 2)] {
            index.add(DeliveryId(delivery), pending(1, destination), false);
        }
        index.add(DeliveryId(4), pending(4, 0), false);
        assert_eq!(
            (index.bytes(), index.records(), index.deliveries()),
            (200, 2, 4)
        );
        assert_eq!(index.owed_bytes(DestinationId(0)), 200);
        assert!(!index.remove(DeliveryId(2)).unwrap().1);
        assert!(!index.remove(DeliveryId(1)).unwrap().1);
        assert!(index.remove(DeliveryId(3)).unwrap().1);
        assert_eq!((index.bytes(), index.records()), (100, 1));
        assert!(index.remove(DeliveryId(3)).is_none());
    }

    #[test]
    fn a_delivery_that_moves_keeps_its_record_alive() {
        let mut index = Index::default();
        index.add(DeliveryId(1), pending(1, 0), false);
        index.add(DeliveryId(2), pending(2, 0), false);
        index.replace(DeliveryId(1), DeliveryId(3), DestinationId(1));
        assert_eq!((index.bytes(), index.deliveries()), (200, 2));
        assert_eq!(index.owed_bytes(DestinationId(1)), 100);
        assert!(index.remove(DeliveryId(3)).unwrap().1);
    }

    #[test]
    fn deliveries_that_moved_before_a_restart_are_known_as_siblings() {
        let mut index = Index::default();
        index.add(DeliveryId(2), pending(1, 0), false);
        index.add(DeliveryId(4), pending(4, 0), false);
        index.add(DeliveryId(7), pending(1, 9), true);
        index.add(DeliveryId(8), pending(4, 9), true);
        index.add(DeliveryId(9), pending(1, 9), true);
        assert_eq!((index.records(), index.bytes()), (2, 200));
        assert!(!index.remove(DeliveryId(2)).unwrap().1);
        assert!(!index.remove(DeliveryId(9)).unwrap().1);
        assert!(index.remove(DeliveryId(7)).unwrap().1);
    }
}
