//! The pending deliveries in memory: about 60 bytes per delivery, no bodies.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    admit::LruSlot,
    dispatch::{DeliveryId, RecordId},
    route::DestinationId,
};

use super::{LimitReached, handles::ShareId};

/// A pending delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexedDelivery {
    pub(super) record: RecordId,
    pub(super) destination: DestinationId,
    /// The share of the journal that it counts against.
    pub(super) share: ShareId,
    /// Its line; see [`crate::admit::Line`].
    pub(super) line: Option<LruSlot>,
    /// Size of its record.
    pub(super) bytes: u32,
    /// Seconds since the epoch at which its record was received.
    pub(super) received: u32,
}

/// All pending deliveries.
#[derive(Debug, Default)]
pub(super) struct PendingIndex {
    pending: BTreeMap<DeliveryId, IndexedDelivery>,
    /// Number of pending deliveries of records that have more than one.
    shared: HashMap<RecordId, u32>,
    /// Records with a delivery that moved to quarantine: its id is apart from its siblings'.
    moved: HashSet<RecordId>,
    records: u64,
    bytes: u64,
    /// By share. A record counts once for each of its deliveries.
    pending_by_share: Vec<PendingAmount>,
}

/// Limits of what may be pending.
#[derive(Clone, Copy, Debug)]
pub(super) struct JournalBounds {
    pub(super) total: PendingAmount,
    /// For one queue or exchange.
    pub(super) share: PendingAmount,
}

/// An amount of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PendingAmount {
    pub(super) bytes: u64,
    pub(super) deliveries: u64,
}

impl PendingAmount {
    /// One delivery of a record of this size.
    pub(super) fn delivery(bytes: u32) -> Self {
        Self {
            bytes: bytes.into(),
            deliveries: 1,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.deliveries += other.deliveries;
    }

    /// The limit that would be exceeded if `needed` were added to this.
    pub(super) fn exceeds(self, needed: Self, limit: Self) -> Option<LimitReached> {
        [
            (self.bytes, needed.bytes, limit.bytes, "bytes"),
            (
                self.deliveries,
                needed.deliveries,
                limit.deliveries,
                "deliveries",
            ),
        ]
        .into_iter()
        .find(|(used, needed, limit, _)| used + needed > *limit)
        .map(|(used, needed, limit, unit)| LimitReached {
            used,
            needed,
            limit,
            unit,
        })
    }

    fn subtract(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.deliveries = self.deliveries.saturating_sub(other.deliveries);
    }
}

impl PendingIndex {
    /// Adds a delivery; in order of their ids. A record has the id of its first delivery and the others follow it,
    /// except those that `moved` to quarantine.
    pub(super) fn add(&mut self, delivery: DeliveryId, pending: IndexedDelivery, moved: bool) {
        self.share_mut(pending.share)
            .add(PendingAmount::delivery(pending.bytes));
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

    /// Removes a delivery; also true if that was the last one of its record.
    pub(super) fn remove(&mut self, delivery: DeliveryId) -> Option<(IndexedDelivery, bool)> {
        let pending = self.pending.remove(&delivery)?;
        self.share_mut(pending.share)
            .subtract(PendingAmount::delivery(pending.bytes));
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

    /// Puts the delivery `new` in the place of the pending `old`: same record, other destination, no line.
    pub(super) fn replace(
        &mut self,
        old: DeliveryId,
        new: DeliveryId,
        destination: DestinationId,
        share: ShareId,
    ) {
        let Some(mut pending) = self.pending.remove(&old) else {
            return;
        };
        let amount = PendingAmount::delivery(pending.bytes);
        self.share_mut(pending.share).subtract(amount);
        self.share_mut(share).add(amount);
        pending.destination = destination;
        pending.share = share;
        pending.line = None;
        self.pending.insert(new, pending);
    }

    pub(super) fn get(&self, delivery: DeliveryId) -> Option<&IndexedDelivery> {
        self.pending.get(&delivery)
    }

    /// Everything, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DeliveryId, &IndexedDelivery)> {
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

    /// The total that is pending: each record's bytes once, and all deliveries.
    pub(super) fn amount(&self) -> PendingAmount {
        PendingAmount {
            bytes: self.bytes,
            deliveries: self.deliveries(),
        }
    }

    /// The amount pending for a queue with all its partitions, or an exchange with all its routing keys.
    pub(super) fn pending_for(&self, share: ShareId) -> PendingAmount {
        self.pending_by_share
            .get(share.0 as usize)
            .copied()
            .unwrap_or_default()
    }

    /// When the oldest was received, in seconds since the epoch.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.pending
            .first_key_value()
            .map(|(_, pending)| pending.received)
    }

    fn share_mut(&mut self, share: ShareId) -> &mut PendingAmount {
        let position = share.0 as usize;
        if self.pending_by_share.len() <= position {
            self.pending_by_share
                .resize(position + 1, PendingAmount::default());
        }
        self.pending_by_share
            .get_mut(position)
            .expect("made long enough just above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(record: u64, destination: u32) -> IndexedDelivery {
        IndexedDelivery {
            record: RecordId(record),
            destination: DestinationId(destination),
            share: ShareId(destination / 2),
            line: None,
            bytes: 100,
            received: 7,
        }
    }

    #[test]
    fn a_record_counts_once_in_total_and_once_for_each_delivery() {
        let mut index = PendingIndex::default();
        for (delivery, destination) in [(1, 0), (2, 1), (3, 2)] {
            index.add(DeliveryId(delivery), pending(1, destination), false);
        }
        index.add(DeliveryId(4), pending(4, 0), false);
        assert_eq!(
            (index.bytes(), index.records(), index.deliveries()),
            (200, 2, 4)
        );
        // Destinations 0 and 1 are one share.
        let amount = |bytes, deliveries| PendingAmount { bytes, deliveries };
        assert_eq!(index.pending_for(ShareId(0)), amount(300, 3));
        assert_eq!(index.pending_for(ShareId(1)), amount(100, 1));
        assert!(!index.remove(DeliveryId(2)).unwrap().1);
        assert!(!index.remove(DeliveryId(1)).unwrap().1);
        assert!(index.remove(DeliveryId(3)).unwrap().1);
        assert_eq!((index.bytes(), index.records()), (100, 1));
        assert!(index.remove(DeliveryId(3)).is_none());
    }

    #[test]
    fn a_delivery_that_moves_keeps_its_record_alive() {
        let mut index = PendingIndex::default();
        index.add(DeliveryId(1), pending(1, 0), false);
        index.add(DeliveryId(2), pending(2, 0), false);
        index.replace(DeliveryId(1), DeliveryId(3), DestinationId(4), ShareId(2));
        assert_eq!((index.bytes(), index.deliveries()), (200, 2));
        assert_eq!(index.pending_for(ShareId(0)), PendingAmount::delivery(100));
        assert_eq!(index.pending_for(ShareId(2)), PendingAmount::delivery(100));
        assert!(index.remove(DeliveryId(3)).unwrap().1);
    }

    #[test]
    fn deliveries_that_moved_before_a_restart_are_known_as_siblings() {
        let mut index = PendingIndex::default();
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
