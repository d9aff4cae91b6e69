//! Rows as they stand in the tables, with their checksums.

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use crate::admit::{DuplicateRow, DuplicateWindowName};

/// A pending delivery as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeliveryColumns {
    pub(super) id: i64,
    pub(super) record: i64,
    pub(super) destination: u32,
    pub(super) sequence: Option<i64>,
    /// Row of its sequence.
    pub(super) line: Option<i64>,
    pub(super) bytes: u32,
    pub(super) received: u32,
    /// JSON of why it moved to quarantine.
    pub(super) moved: Option<String>,
}

/// What [`DeliveryColumns::read`] reads.
pub(super) const DELIVERY_COLUMNS: &str =
    "id, record, destination, sequence, line, bytes, received, moved, crc";

impl DeliveryColumns {
    /// Reads [`DELIVERY_COLUMNS`]; `None` where they are not what was written.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let columns = Self {
            id: row.get(0)?,
            record: row.get(1)?,
            destination: row.get(2)?,
            sequence: row.get(3)?,
            line: row.get(4)?,
            bytes: row.get(5)?,
            received: row.get(6)?,
            moved: row.get(7)?,
        };
        let crc: u32 = row.get(8)?;
        Ok((crc == columns.checksum()).then_some(columns))
    }

    /// CRC32C over all columns. SQLite has no checksums of pages: without this one a flipped bit in a row could send an
    /// event in the place of another one.
    pub(super) fn checksum(&self) -> u32 {
        let numbers = [
            Some(self.id),
            Some(self.record),
            Some(i64::from(self.destination)),
            self.sequence,
            self.line,
            Some(i64::from(self.bytes)),
            Some(i64::from(self.received)),
        ];
        let crc = numbers.into_iter().fold(0, |crc, number| match number {
            None => crc32c::crc32c_append(crc, &[0]),
            Some(number) => {
                crc32c::crc32c_append(crc32c::crc32c_append(crc, &[1]), &number.to_le_bytes())
            }
        });
        crc32c::crc32c_append(crc, self.moved.as_deref().unwrap_or_default().as_bytes())
    }
}

/// Keys of a duplicate window in a row: those at consecutive positions up to `last`, each as 16 bytes of its key and 8 of
/// its time, big-endian.
#[derive(Debug)]
pub(super) struct DuplicateKeys {
    pub(super) last: i64,
    pub(super) bytes: Vec<u8>,
}

/// Bytes of one key.
pub(super) const KEY_BYTES: usize = 24;

impl DuplicateKeys {
    /// `None` without any.
    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a DuplicateRow>) -> Option<Self> {
        let mut last = None;
        let mut bytes = Vec::new();
        for row in rows {
            last = Some(row.position);
            bytes.extend(row.key.to_be_bytes());
            bytes.extend(row.at.to_be_bytes());
        }
        last.map(|last| Self { last, bytes })
    }

    /// The keys with their positions; `None` if these are not the bytes that were written.
    pub(super) fn rows(
        &self,
        window: DuplicateWindowName,
        crc: u32,
    ) -> Option<impl Iterator<Item = DuplicateRow> + '_> {
        let (keys, rest) = self.bytes.as_chunks::<KEY_BYTES>();
        if !rest.is_empty() || crc32c::crc32c(&self.bytes) != crc {
            return None;
        }
        let first = self.last + 1 - i64::try_from(keys.len()).ok()?;
        Some((first..).zip(keys).map(move |(position, key)| {
            let both = u128::from_be_bytes(*key.first_chunk().expect("24 bytes"));
            let at = i64::from_be_bytes(*key.last_chunk().expect("24 bytes"));
            DuplicateRow {
                window,
                position,
                key: both,
                at,
            }
        }))
    }
}
