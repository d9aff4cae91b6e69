//! The index of pending deliveries: one small entry per delivery, and the lists of entries.
//!
//! A million deliveries may be pending, so an entry owns nothing on the heap, and the lists run through the entries
//! themselves: adding at either end and removing from the middle cost the same whatever the length.

use std::{
    num::NonZeroU32,
    ops::{Index, IndexMut},
};

use crate::route::DestinationId;

use super::{DeliveryId, Lane};

/// The index of an entry in the [`DeliveryTable`]. Reused after [`DeliveryTable::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryIndex(NonZeroU32);

/// What a delivery waits for; determines which list it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryStage {
    /// For the one before it: in its lane's list.
    InLine,
    /// For the fence, because a copy may still arrive: in the dispatcher's list of unknown ones.
    Unknown,
    /// For its turn: in its destination's list of ready ones, or of suspects.
    Queued,
    /// For a timer of its own: in no list.
    Delayed,
    /// For the broker's answer: in no list.
    Sent,
    /// For the journal, after it was confirmed: in no list, and no longer pending.
    Settling,
}

/// One pending delivery.
#[derive(Debug)]
pub(super) struct DeliveryEntry {
    pub(super) delivery: DeliveryId,
    // The fields of a lane: an `Option<Lane>` would make each entry eight bytes larger.
    call: u64,
    family: u32,
    keyed: bool,
    pub(super) stage: DeliveryStage,
    /// An earlier process may have sent it.
    pub(super) unknown: bool,
    /// The broker refused it or a message beside it: it is sent in isolation.
    pub(super) suspect: bool,
    /// It is not to be delivered any more.
    pub(super) withdrawn: bool,
    pub(super) destination: DestinationId,
    /// How often it was handed out.
    pub(super) count: u32,
    before: Option<EntryIndex>,
    after: Option<EntryIndex>,
}

impl DeliveryEntry {
    pub(super) fn new(
        delivery: DeliveryId,
        lane: Option<Lane>,
        destination: DestinationId,
        unknown: bool,
    ) -> Self {
        Self {
            delivery,
            call: lane.map_or(0, |lane| lane.call),
            family: lane.map_or(0, |lane| lane.family),
            keyed: lane.is_some(),
            stage: DeliveryStage::InLine,
            unknown,
            suspect: false,
            withdrawn: false,
            destination,
            count: 0,
            before: None,
            after: None,
        }
    }

    pub(super) fn lane(&self) -> Option<Lane> {
        self.keyed.then_some(Lane {
            family: self.family,
            call: self.call,
        })
    }
}

/// The ends of a list of entries. An entry is in one list at most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EntryList {
    first: Option<EntryIndex>,
    last: Option<EntryIndex>,
}

impl EntryList {
    pub(super) fn is_empty(self) -> bool {
        self.first.is_none()
    }
}

#[derive(Debug, Default)]
pub(super) struct DeliveryTable {
    entries: Vec<DeliveryEntry>,
    free: Vec<EntryIndex>,
}

impl DeliveryTable {
    /// Adds an entry that is in no list yet.
    pub(super) fn insert(&mut self, entry: DeliveryEntry) -> EntryIndex {
        if let Some(slot) = self.free.pop() {
            self[slot] = entry;
            return slot;
        }
        self.entries.push(entry);
        let count = u32::try_from(self.entries.len()).expect("the journal bounds what is pending");
        EntryIndex(NonZeroU32::new(count).expect("an entry was just put in"))
    }

    /// Removes an entry that is in no list any more.
    pub(super) fn remove(&mut self, slot: EntryIndex) {
        self.free.push(slot);
    }

    pub(super) fn push_back(&mut self, list: &mut EntryList, slot: EntryIndex) {
        self[slot].before = list.last;
        self[slot].after = None;
        match list.last {
            Some(last) => self[last].after = Some(slot),
            None => list.first = Some(slot),
        }
        list.last = Some(slot);
    }

    pub(super) fn push_front(&mut self, list: &mut EntryList, slot: EntryIndex) {
        self[slot].before = None;
        self[slot].after = list.first;
        match list.first {
            Some(first) => self[first].before = Some(slot),
            None => list.last = Some(slot),
        }
        list.first = Some(slot);
    }

    pub(super) fn pop_front(&mut self, list: &mut EntryList) -> Option<EntryIndex> {
        let slot = list.first?;
        self.unlink(list, slot);
        Some(slot)
    }

    pub(super) fn pop_back(&mut self, list: &mut EntryList) -> Option<EntryIndex> {
        let slot = list.last?;
        self.unlink(list, slot);
        Some(slot)
    }

    /// Removes an entry from its list.
    pub(super) fn unlink(&mut self, list: &mut EntryList, slot: EntryIndex) {
        let (before, after) = (self[slot].before.take(), self[slot].after.take());
        match before {
            Some(before) => self[before].after = after,
            None => list.first = after,
        }
        match after {
            Some(after) => self[after].before = before,
            None => list.last = before,
        }
    }
}

fn position(slot: EntryIndex) -> usize {
    usize::try_from(slot.0.get() - 1).expect("a 32 bit index fits")
}

impl Index<EntryIndex> for DeliveryTable {
    type Output = DeliveryEntry;

    fn index(&self, slot: EntryIndex) -> &DeliveryEntry {
        self.entries
            .get(position(slot))
            .expect("slots are made by this table, which never shrinks")
    }
}

impl IndexMut<EntryIndex> for DeliveryTable {
    fn index_mut(&mut self, slot: EntryIndex) -> &mut DeliveryEntry {
        self.entries
            .get_mut(position(slot))
            .expect("slots are made by this table, which never shrinks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_of(count: u64) -> (DeliveryTable, Vec<EntryIndex>) {
        let mut table = DeliveryTable::default();
        let slots = (0..count)
            .map(|id| {
                table.insert(DeliveryEntry::new(
                    DeliveryId(id),
                    None,
                    DestinationId(0),
                    false,
                ))
            })
            .collect();
        (table, slots)
    }

    fn drain(table: &mut DeliveryTable, list: &mut EntryList) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Some(slot) = table.pop_front(list) {
            ids.push(table[slot].delivery.0);
        }
        ids
    }

    #[test]
    fn an_entry_leaves_from_the_front_the_middle_and_the_back() {
        let (mut table, slots) = table_of(6);
        let mut list = EntryList::default();
        for slot in &slots[1..] {
            table.push_back(&mut list, *slot);
        }
        table.push_front(&mut list, slots[0]);
        for leaver in [0, 3, 5] {
            table.unlink(&mut list, slots[leaver]);
        }
        assert_eq!(table.pop_back(&mut list), Some(slots[4]));
        assert_eq!(drain(&mut table, &mut list), [1, 2]);
        assert!(list.is_empty());
    }

    #[test]
    fn a_slot_is_used_again_after_its_entry_left() {
        let (mut table, slots) = table_of(2);
        table.remove(slots[0]);
        let again = table.insert(DeliveryEntry::new(
            DeliveryId(9),
            None,
            DestinationId(0),
            false,
        ));
        assert_eq!(again, slots[0]);
        assert_eq!(table[again].delivery, DeliveryId(9));
    }

    #[test]
    fn an_entry_is_small_enough_for_a_million_of_them() {
        assert!(
            size_of::<DeliveryEntry>() <= 48,
            "{} bytes",
            size_of::<DeliveryEntry>()
        );
    }
}
