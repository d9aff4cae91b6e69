//! The log of commits: what each of them decided and settled besides its records, as one row.
//!
//! An event changes a row in each of five tables, and most of these are changed again soon: a delivery is settled, a
//! sequence goes on, a call is used. So a commit writes one row with all of it. From time to time, and at each start, the
//! rows are folded: summed up here, and what remains is applied to the tables by `Store::fold_log`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admit::Changes;

use super::rows::DeliveryColumns;

/// Size at which the next commit folds the log. It bounds the length of that commit and the work of a start; a larger one
/// saves writes of rows that soon change again.
pub(super) const FOLD_BYTES: usize = 2 * 1024 * 1024;

/// What a commit wrote besides its records.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct LogEntry {
    /// Deliveries that are pending from now on.
    pub(super) pending: Vec<DeliveryColumns>,
    /// Ids of deliveries that no longer are.
    pub(super) settled: Vec<i64>,
    pub(super) changes: Changes,
}

/// The sum of some entries.
#[derive(Debug, Default)]
pub(super) struct FoldedLog {
    /// Deliveries that became pending in them and still are.
    pub(super) pending: BTreeMap<i64, DeliveryColumns>,
    /// Deliveries that were settled in them and had been pending before.
    pub(super) settled: Vec<i64>,
    pub(super) changes: Changes,
}

impl LogEntry {
    /// The bytes that are stored, and their CRC32C.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let bytes = postcard::to_stdvec(self).expect("our own types can be serialized");
        let crc = crc32c::crc32c(&bytes);
        (bytes, crc)
    }

    /// `None` if it is not what was written.
    pub(super) fn decode(bytes: &[u8], crc: u32) -> Option<Self> {
        if crc32c::crc32c(bytes) != crc {
            return None;
        }
        postcard::from_bytes(bytes).ok()
    }
}

impl FoldedLog {
    /// Adds the next entry.
    pub(super) fn add(&mut self, entry: LogEntry) {
        self.pending
            .extend(entry.pending.into_iter().map(|row| (row.id, row)));
        for delivery in entry.settled {
            if self.pending.remove(&delivery).is_none() {
                self.settled.push(delivery);
            }
        }
        self.changes.add(entry.changes);
    }
}

#[cfg(test)]
mod tests {
    use crate::{admit::SequenceRow, route::DestinationId};

    use super::*;

    fn delivery(id: i64) -> DeliveryColumns {
        DeliveryColumns {
            id,
            record: id,
            destination: 0,
            sequence: Some(id),
            line: Some(1),
            bytes: 700,
            received: 7,
            moved: None,
        }
    }

    fn sequence(row: i64, next: i64) -> SequenceRow {
        SequenceRow {
            row,
            call: row,
            destination: DestinationId(0),
            next,
            used: 0,
        }
    }

    fn entry(pending: &[i64], settled: &[i64], sequences: &[(i64, i64)]) -> LogEntry {
        LogEntry {
            pending: pending.iter().copied().map(delivery).collect(),
            settled: settled.to_vec(),
            changes: Changes {
                sequences: sequences
                    .iter()
                    .map(|&(row, next)| sequence(row, next))
                    .collect(),
                ..Changes::default()
            },
        }
    }

    #[test]
    fn an_entry_is_read_back_and_any_flipped_bit_is_noticed() {
        let (bytes, crc) = entry(&[1, 2], &[300], &[(7, 3)]).encode();
        let read = LogEntry::decode(&bytes, crc).unwrap();
        assert_eq!(read.pending, [delivery(1), delivery(2)]);
        assert_eq!(
            (read.settled, read.changes.sequences),
            (vec![300], vec![sequence(7, 3)])
        );
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(LogEntry::decode(&flipped, crc).is_none(), "{bit}");
        }
    }

    #[test]
    fn the_sum_has_each_row_as_it_was_last() {
        let mut folded = FoldedLog::default();
        folded.add(entry(&[10, 11, 12], &[3], &[(1, 2), (2, 2)]));
        folded.add(entry(&[13], &[11, 4], &[(1, 5)]));
        let mut last = entry(&[], &[13], &[(3, 9)]);
        last.changes.sequences_gone = vec![2];
        folded.add(last);
        assert_eq!(folded.pending.keys().copied().collect::<Vec<_>>(), [10, 12]);
        assert_eq!(folded.settled, [3, 4]);
        let changes = folded.changes.once_each();
        assert_eq!(changes.sequences, [sequence(1, 5), sequence(3, 9)]);
        assert_eq!(changes.sequences_gone, [2]);
    }
}
