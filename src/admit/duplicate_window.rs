//! The duplicate window: digests in order of arrival, found by their value. About 35 bytes per key.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::lru_table::Hashed;

#[derive(Clone, Copy, Debug)]
struct WindowEntry {
    /// As two words: a `u128` would pad the entry to 32 bytes.
    key: [u64; 2],
    at: i64,
}

impl WindowEntry {
    fn key(&self) -> u128 {
        let [high, low] = self.key;
        (u128::from(high) << 64) | u128::from(low)
    }
}

/// Keys of the last `span` milliseconds, at most `limit` of them.
#[derive(Debug)]
pub(super) struct DuplicateWindow {
    span: i64,
    limit: usize,
    ring: VecDeque<WindowEntry>,
    /// Position of the front of the ring; positions only grow, and identify the rows on disk.
    first: i64,
    /// Positions modulo 2^32: the ring is far shorter than that.
    table: HashTable<u32>,
}

impl DuplicateWindow {
    pub(super) fn new(span: i64, limit: usize) -> Self {
        Self {
            span,
            limit,
            ring: VecDeque::new(),
            first: 1,
            table: HashTable::new(),
        }
    }

    pub(super) fn contains(&self, key: u128) -> bool {
        self.table
            .find(key.hash(), |&place| self.key_at(place) == Some(key))
            .is_some()
    }

    /// Adds a key that is not in the window; returns its position.
    pub(super) fn push(&mut self, key: u128, at: i64) -> i64 {
        let position = self.first + i64::try_from(self.ring.len()).unwrap_or(i64::MAX);
        self.ring.push_back(entry(key, at));
        let (ring, first) = (&self.ring, self.first);
        self.table
            .insert_unique(key.hash(), low(position), |&place| {
                at_place(ring, first, place).map_or(0, |entry| entry.key().hash())
            });
        position
    }

    /// As [`DuplicateWindow::push`] for a key from disk, in order of position. It keeps its position, so that new ones
    /// come after all that are on disk. Of equal keys the last one counts.
    pub(super) fn restore(&mut self, position: i64, key: u128, at: i64) {
        let gap = usize::try_from(position - self.next()).unwrap_or(0);
        if self.ring.is_empty() || gap > self.limit {
            self.ring.clear();
            self.table.clear();
            self.first = position;
        } else {
            // Places without a key: the table does not have them.
            self.ring.extend(std::iter::repeat_n(entry(0, at), gap));
        }
        let (ring, first) = (&self.ring, self.first);
        if let Ok(earlier) = self.table.find_entry(key.hash(), |&place| {
            at_place(ring, first, place).map(WindowEntry::key) == Some(key)
        }) {
            earlier.remove();
        }
        self.push(key, at);
    }

    /// Removes the last key, because its event did not become durable.
    pub(super) fn pop(&mut self) {
        let position = self.next() - 1;
        if let Some(last) = self.ring.pop_back() {
            self.forget(last.key(), position);
        }
    }

    /// Drops the keys that are outside the window at `now`; returns how many were dropped early because of the limit.
    pub(super) fn trim(&mut self, now: i64) -> u64 {
        let mut early = 0;
        while let Some(front) = self.ring.front().copied() {
            let expired = front.at.saturating_add(self.span) <= now;
            if !expired {
                if self.ring.len() <= self.limit {
                    break;
                }
                early += 1;
            }
            // The table must be changed first: it finds a key through the ring.
            let first = self.first;
            self.forget(front.key(), first);
            self.ring.pop_front();
            self.first += 1;
        }
        early
    }

    /// Position of the oldest key kept: rows before it may be deleted.
    pub(super) fn first(&self) -> i64 {
        self.first
    }

    /// Position that the next key will have.
    pub(super) fn next(&self) -> i64 {
        self.first + i64::try_from(self.ring.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn get(&self, position: i64) -> Option<(u128, i64)> {
        let entry = at_place(&self.ring, self.first, low(position))?;
        Some((entry.key(), entry.at))
    }

    fn forget(&mut self, key: u128, position: i64) {
        if let Ok(entry) = self
            .table
            .find_entry(key.hash(), |&place| place == low(position))
        {
            entry.remove();
        }
    }

    fn key_at(&self, place: u32) -> Option<u128> {
        at_place(&self.ring, self.first, place).map(WindowEntry::key)
    }
}

fn entry(key: u128, at: i64) -> WindowEntry {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what is meant"
    )]
    let halves = [(key >> 64) as u64, key as u64];
    WindowEntry { key: halves, at }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are kept modulo 2^32 on purpose"
)]
fn low(position: i64) -> u32 {
    position as u32
}

fn at_place(ring: &VecDeque<WindowEntry>, first: i64, place: u32) -> Option<&WindowEntry> {
    ring.get(place.wrapping_sub(low(first)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_until_its_span_has_passed() {
        let mut window = DuplicateWindow::new(60, 10);
        window.push(7, 0);
        assert_eq!(window.trim(59), 0);
        assert!(window.contains(7));
        assert_eq!(window.trim(60), 0);
        assert!(!window.contains(7));
    }

    #[test]
    fn beyond_the_limit_the_oldest_key_leaves_early_and_is_counted() {
        let mut window = DuplicateWindow::new(60, 2);
        for key in 1..=3 {
            window.push(key, 0);
        }
        assert_eq!(window.trim(0), 1);
        assert!(!window.contains(1) && window.contains(2) && window.contains(3));
    }

    #[test]
    fn a_key_that_was_taken_back_is_unknown() {
        let mut window = DuplicateWindow::new(60, 10);
        window.push(1, 0);
        let position = window.push(2, 0);
        window.pop();
        assert!(window.contains(1) && !window.contains(2));
        assert_eq!(window.push(3, 0), position);
        assert_eq!(window.get(position), Some((3, 0)));
    }

    #[test]
    fn restored_keys_keep_their_positions_and_the_last_of_equal_ones_counts() {
        let mut window = DuplicateWindow::new(60, 10);
        for (position, key, at) in [(5, 1, 0), (6, 2, 1), (7, 1, 50), (9, 3, 51)] {
            window.restore(position, key, at);
        }
        assert_eq!(window.next(), 10);
        assert_eq!(window.get(9), Some((3, 51)));
        window.trim(61);
        assert!(window.contains(1) && !window.contains(2) && window.contains(3));
        window.restore(1_000, 4, 52);
        assert!(!window.contains(1) && window.contains(4));
        assert_eq!(window.push(5, 53), 1_001);
    }

    #[test]
    fn positions_go_on_where_the_disk_stopped() {
        let mut window = DuplicateWindow::new(60, 10);
        window.restore(5_000_000_000, 1, 0);
        assert_eq!(window.push(2, 1), 5_000_000_001);
        assert_eq!(window.first(), 5_000_000_000);
        assert!(window.contains(1) && window.contains(2));
    }
}
