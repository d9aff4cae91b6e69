//! The header of an SQLite database, the first 100 bytes of its first page (file format, 1.3), and the number of the
//! writer's last commit, which we store there.
//!
//! The number is in two fields that SQLite leaves to the application: its lower 31 bits in `user_version`, the rest in
//! `application_id`. Every commit of the writer changes it, so every commit in the log contains page 1, and the commits
//! of a database or a log can be determined without opening it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rusqlite::Connection;

pub(super) const PAGE_BYTES: u32 = 4_096;

const HEADER_BYTES: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
const LOW_BITS: u32 = 31;

/// The big-endian word at `offset`; 0 beyond the end.
pub(super) fn word(bytes: &[u8], offset: usize) -> u32 {
    let four = bytes
        .get(offset..offset + 4)
        .and_then(|four| four.try_into().ok());
    u32::from_be_bytes(four.unwrap_or_default())
}

/// The number of the commit that a first page belongs to; 0 if commits are not numbered.
pub(super) fn commit_number(first_page: &[u8]) -> u64 {
    joined(word(first_page, 68), word(first_page, 60))
}

fn joined(high: u32, low: u32) -> u64 {
    (u64::from(high) << LOW_BITS) | u64::from(low & (u32::MAX >> 1))
}

/// The number as read through SQLite.
pub(super) fn stored_number(connection: &Connection) -> rusqlite::Result<u64> {
    let field = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (high, low) = (field("application_id")?, field("user_version")?);
    Ok(joined(high.cast_unsigned(), low.cast_unsigned()))
}

/// Writes the number as part of a transaction.
pub(super) fn store_number(connection: &Connection, number: u64) -> rusqlite::Result<()> {
    let low = number & u64::from(u32::MAX >> 1);
    if low == 0 {
        connection.pragma_update(None, "application_id", (number >> LOW_BITS).cast_signed())?;
    }
    connection.pragma_update(None, "user_version", low.cast_signed())
}

/// What the database file says about itself, without the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DatabaseFile {
    pub(super) bytes: u64,
    /// `None` if this is not a header of an SQLite database.
    pub(super) header: Option<DatabaseHeader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DatabaseHeader {
    pub(super) number: u64,
    /// Size of the database, if known.
    pub(super) pages: Option<u32>,
}

impl DatabaseFile {
    /// `None` if the file does not exist. It must not be open in this process: closing a file releases SQLite's locks.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = file.metadata()?.len();
        let mut head = Vec::new();
        file.take(HEADER_BYTES as u64).read_to_end(&mut head)?;
        let is_header = head.len() == HEADER_BYTES && head.starts_with(MAGIC);
        Ok(Some(Self {
            bytes,
            header: is_header.then(|| DatabaseHeader {
                number: commit_number(&head),
                // It is valid if it was written together with the change counter.
                pages: (word(&head, 24) == word(&head, 92)).then(|| word(&head, 28)),
            }),
        }))
    }

    pub(super) fn pages(&self) -> u32 {
        u32::try_from(self.bytes / u64::from(PAGE_BYTES)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_number_is_read_back_from_the_file_as_from_sqlite() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE t (a)").unwrap();
        let last = u64::from(u32::MAX >> 1);
        let mut before = 0;
        for number in [1, 2, last - 1, last, last + 1, last + 2, 2 * last + 2] {
            // It counts up by one: the upper part is written only when the lower one wraps.
            if number >> LOW_BITS != before >> LOW_BITS {
                store_number(&connection, number & !last).unwrap();
            }
            before = number;
            store_number(&connection, number).unwrap();
            assert_eq!(stored_number(&connection).unwrap(), number);
            let head = std::fs::read(&path).unwrap();
            assert_eq!(commit_number(&head), number);
        }
    }
}
