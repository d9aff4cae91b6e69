//! A bounded table of recently used entries: in the order of their last use, pinned ones outside that order.

use hashbrown::HashTable;

/// No entry: the end of the list.
const NIL: u32 = u32::MAX;

/// The slot of an entry in an `LruTable`. Valid until its entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LruSlot(pub(super) u32);

/// How a key is found again: 64 well-mixed bits of it.
pub(crate) trait Hashed: Eq {
    fn hash(&self) -> u64;
}

impl Hashed for u128 {
    /// The keys are already digests.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "half of a digest is a digest"
    )]
    fn hash(&self) -> u64 {
        *self as u64
    }
}

#[derive(Debug)]
struct LruNode<K, V> {
    key: K,
    value: V,
    /// Identifies the entry on disk and, unlike its slot, is never reused.
    row: i64,
    /// Time of last use, and the one stored on disk.
    used: i64,
    stored: i64,
    /// Reasons to keep it; while there is one it is in no list.
    pins: u32,
    older: u32,
    newer: u32,
    free: bool,
}

/// Entries by key, in the order of their last use.
#[derive(Debug)]
pub(crate) struct LruTable<K, V> {
    table: HashTable<u32>,
    nodes: Vec<LruNode<K, V>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    next_row: i64,
}

impl<K: Hashed + Copy + Default, V: Default> LruTable<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            table: HashTable::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            oldest: NIL,
            newest: NIL,
            next_row: 1,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn find(&self, key: &K) -> Option<LruSlot> {
        self.table
            .find(key.hash(), |&index| self.node(index).key == *key)
            .map(|&index| LruSlot(index))
    }

    /// Adds a new entry at the newest end, under a row of its own.
    pub(crate) fn insert(&mut self, key: K, value: V, used: i64) -> LruSlot {
        let row = self.next_row;
        // Never equal to `used`, so that a new entry always counts as not stored.
        self.insert_row(key, value, row, used, i64::MIN)
    }

    /// As [`LruTable::insert`] for an entry from disk. Entries are passed oldest first.
    pub(crate) fn restore(&mut self, key: K, value: V, row: i64, used: i64) -> LruSlot {
        self.insert_row(key, value, row, used, used)
    }

    /// A row that is on disk until the next commit and never enters this table: no new entry may get it, or that commit
    /// would delete the new one.
    pub(crate) fn leave_out(&mut self, row: i64) {
        self.next_row = self.next_row.max(row + 1);
    }

    fn insert_row(&mut self, key: K, value: V, row: i64, used: i64, stored: i64) -> LruSlot {
        self.next_row = self.next_row.max(row + 1);
        let node = LruNode {
            key,
            value,
            row,
            used,
            stored,
            pins: 0,
            older: NIL,
            newer: NIL,
            free: false,
        };
        let index = if let Some(index) = self.free.pop() {
            *self.node_mut(index) = node;
            index
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("a table holds far less than 2^32 entries")
        };
        self.link(index);
        let nodes = &self.nodes;
        self.table.insert_unique(key.hash(), index, |&other| {
            nodes
                .get(other as usize)
                .expect("the table names existing nodes")
                .key
                .hash()
        });
        LruSlot(index)
    }

    pub(crate) fn remove(&mut self, slot: LruSlot) -> V {
        let LruSlot(index) = slot;
        if self.node(index).pins == 0 {
            self.unlink(index);
        }
        let key = self.node(index).key;
        if let Ok(entry) = self.table.find_entry(key.hash(), |&other| other == index) {
            entry.remove();
        }
        self.free.push(index);
        let node = self.node_mut(index);
        node.free = true;
        node.pins = 0;
        std::mem::take(&mut node.value)
    }

    /// Whether `slot` still holds the entry with this row.
    pub(crate) fn holds(&self, slot: LruSlot, row: i64) -> bool {
        self.nodes
            .get(slot.0 as usize)
            .is_some_and(|node| !node.free && node.row == row)
    }

    pub(crate) fn row(&self, slot: LruSlot) -> i64 {
        self.node(slot.0).row
    }

    pub(crate) fn key(&self, slot: LruSlot) -> K {
        self.node(slot.0).key
    }

    pub(crate) fn value(&self, slot: LruSlot) -> &V {
        &self.node(slot.0).value
    }

    pub(crate) fn value_mut(&mut self, slot: LruSlot) -> &mut V {
        &mut self.node_mut(slot.0).value
    }

    pub(crate) fn stored(&self, slot: LruSlot) -> i64 {
        self.node(slot.0).stored
    }

    pub(crate) fn set_stored(&mut self, slot: LruSlot, used: i64) {
        self.node_mut(slot.0).stored = used;
    }

    /// Used at `now`: moves to the newest end.
    pub(crate) fn touch(&mut self, slot: LruSlot, now: i64) {
        let LruSlot(index) = slot;
        let node = self.node_mut(index);
        node.used = now;
        if node.pins == 0 {
            self.unlink(index);
            self.link(index);
        }
    }

    /// Keeps the entry, however old it becomes.
    pub(crate) fn pin(&mut self, slot: LruSlot) {
        let LruSlot(index) = slot;
        if self.node(index).pins == 0 {
            self.unlink(index);
        }
        self.node_mut(index).pins += 1;
    }

    /// Removes one pin. Having been pinned until now counts as a use.
    pub(crate) fn unpin(&mut self, slot: LruSlot, now: i64) {
        let LruSlot(index) = slot;
        let node = self.node_mut(index);
        node.pins = node.pins.saturating_sub(1);
        if node.pins == 0 {
            node.used = node.used.max(now);
            self.link(index);
        }
    }

    /// The least recently used entry that is not pinned, with the time of its use.
    pub(crate) fn oldest(&self) -> Option<(LruSlot, i64)> {
        (self.oldest != NIL).then(|| (LruSlot(self.oldest), self.node(self.oldest).used))
    }

    pub(crate) fn is_pinned(&self, slot: LruSlot) -> bool {
        self.node(slot.0).pins > 0
    }

    fn link(&mut self, index: u32) {
        let newest = self.newest;
        let node = self.node_mut(index);
        node.older = newest;
        node.newer = NIL;
        match newest {
            NIL => self.oldest = index,
            newest => self.node_mut(newest).newer = index,
        }
        self.newest = index;
    }

    fn unlink(&mut self, index: u32) {
        let (older, newer) = (self.node(index).older, self.node(index).newer);
        match older {
            NIL => self.oldest = newer,
            older => self.node_mut(older).newer = newer,
        }
        match newer {
            NIL => self.newest = older,
            newer => self.node_mut(newer).older = older,
        }
    }

    fn node(&self, index: u32) -> &LruNode<K, V> {
        self.nodes
            .get(index as usize)
            .expect("slots are handed out by this table and nodes never leave it")
    }

    fn node_mut(&mut self, index: u32) -> &mut LruNode<K, V> {
        self.nodes
            .get_mut(index as usize)
            .expect("slots are handed out by this table and nodes never leave it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_lately_used_entry_is_the_oldest() {
        let mut table = LruTable::<u128, &str>::new();
        let a = table.insert(1, "a", 10);
        let b = table.insert(2, "b", 20);
        assert_eq!(table.oldest(), Some((a, 10)));
        table.touch(a, 30);
        assert_eq!(table.oldest(), Some((b, 20)));
        assert_eq!(table.remove(b), "b");
        assert_eq!((table.find(&2), table.len()), (None, 1));
    }

    #[test]
    fn a_pinned_entry_is_never_the_oldest_until_its_last_pin_is_gone() {
        let mut table = LruTable::<u128, &str>::new();
        let a = table.insert(1, "a", 10);
        table.pin(a);
        table.pin(a);
        assert_eq!(table.oldest(), None);
        table.unpin(a, 40);
        assert_eq!(table.oldest(), None);
        table.unpin(a, 50);
        assert_eq!(table.oldest(), Some((a, 50)));
    }

    #[test]
    fn a_row_that_was_left_out_is_not_used_again() {
        let mut table = LruTable::<u128, &str>::new();
        table.restore(1, "a", 3, 10);
        table.leave_out(7);
        let b = table.insert(2, "b", 20);
        assert_eq!(table.row(b), 8);
    }

    #[test]
    fn a_slot_used_again_is_not_taken_for_its_former_entry() {
        let mut table = LruTable::<u128, &str>::new();
        let a = table.insert(1, "a", 10);
        let row = table.row(a);
        table.remove(a);
        let b = table.insert(2, "b", 20);
        assert_eq!(a, b);
        assert!(!table.holds(a, row));
        assert!(table.holds(b, table.row(b)));
    }
}
