//! The database: its tables, and every statement that the writer runs on them.

use std::{cell::Cell, path::Path, time::Duration};

use rusqlite::{
    CachedStatement, Connection, OpenFlags, OptionalExtension as _, params, types::Type,
};

use crate::{
    admit::{Changes, DuplicateWindowName},
    dispatch::RecordId,
    route::{Destination, DestinationId},
};

use super::{
    Record,
    clock::Stamp,
    commit_log::{FoldedLog, LogEntry},
    file_limit,
    header::{store_number, stored_number},
    private,
    rows::{DeliveryColumns, DuplicateKeys},
};

/// The format that this version reads and writes.
pub(super) const FORMAT: i64 = 3;

/// Statements kept prepared; there are about twenty.
const STATEMENTS: usize = 64;

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE destination (id INTEGER PRIMARY KEY, destination TEXT NOT NULL);
CREATE TABLE record (id INTEGER PRIMARY KEY, facts TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY, record INTEGER NOT NULL, destination INTEGER NOT NULL, sequence INTEGER, line INTEGER,
    bytes INTEGER NOT NULL, received INTEGER NOT NULL, moved TEXT, crc INTEGER);
CREATE TABLE duplicate (
    which INTEGER NOT NULL, last INTEGER NOT NULL, keys BLOB NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (which, last)) WITHOUT ROWID;
CREATE TABLE call (id INTEGER PRIMARY KEY, app TEXT NOT NULL, key TEXT NOT NULL, used INTEGER NOT NULL);
CREATE TABLE binding (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, call INTEGER, used INTEGER NOT NULL);
CREATE TABLE sequence (
    id INTEGER PRIMARY KEY, call INTEGER NOT NULL, destination INTEGER NOT NULL, next INTEGER NOT NULL,
    used INTEGER NOT NULL);
CREATE TABLE log (id INTEGER PRIMARY KEY, entry BLOB NOT NULL, crc INTEGER NOT NULL);
";

/// Where the log of commits ends.
#[derive(Clone, Copy, Debug, Default)]
struct LogPosition {
    /// Row of the last entry.
    last: i64,
    /// All entries together.
    bytes: usize,
}

/// The writer's connection.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    /// Number of the last commit; `None` while they are not numbered.
    number: Cell<Option<u64>>,
    log: Cell<LogPosition>,
    /// As it was before the open transaction.
    committed_log: Cell<LogPosition>,
    /// Where tests make a commit fail.
    #[cfg(test)]
    fault: super::fault_injection::FaultInjector,
}

impl Store {
    /// Opens the database at `path`, and creates it if there is none.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        // SQLite gives its log and the log's index the access of the database. If it cannot be created, opening it says
        // why.
        drop(private::options().write(true).create_new(true).open(path));
        let connection = Connection::open(path)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // These two must come before the first table; on an existing database they change nothing.
        connection.pragma_update(None, "page_size", 4096)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 2000)?;
        connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        connection.pragma_update(None, "cache_size", -16_384)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        if let Some(bytes) = file_limit::bytes() {
            connection.pragma_update(None, "max_page_count", file_limit::pages(bytes))?;
        }
        let store = Self {
            connection,
            number: Cell::new(None),
            log: Cell::default(),
            committed_log: Cell::default(),
            #[cfg(test)]
            fault: super::fault_injection::FaultInjector::default(),
        };
        let tables: i64 =
            store
                .connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            store.create()?;
        }
        Ok(store)
    }

    fn create(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch(&format!("BEGIN;{SCHEMA}"))?;
        for (key, value) in [("format", FORMAT), ("boot", 0), ("folded", 0)] {
            self.connection
                .execute("INSERT INTO meta VALUES (?1, ?2)", params![key, value])?;
        }
        self.connection.execute(
            "INSERT INTO meta VALUES ('instance', ?1)",
            [uuid::Uuid::new_v4().to_string()],
        )?;
        self.connection.execute_batch("COMMIT")
    }

    #[cfg(test)]
    pub(super) fn with_fault(self, fault: super::fault_injection::FaultInjector) -> Self {
        Self { fault, ..self }
    }

    /// A second connection to the database at `path`, for reading.
    pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.pragma_update(None, "cache_size", -4096)?;
        Ok(connection)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Waits no longer than this for another program's lock.
    pub(super) fn wait_for_locks(&self, limit: Duration) -> rusqlite::Result<()> {
        self.connection.busy_timeout(limit)
    }

    pub(super) fn begin(&self) -> rusqlite::Result<()> {
        self.execute("BEGIN IMMEDIATE", params![])
    }

    /// Numbers commits from now on, also in the database: there must be a mark that records it.
    pub(super) fn number_commits(&self) -> rusqlite::Result<()> {
        self.number.set(Some(stored_number(&self.connection)?));
        Ok(())
    }

    /// Finds the end of the log of commits.
    pub(super) fn find_log(&self) -> rusqlite::Result<()> {
        let position = self.connection.query_row(
            "SELECT (SELECT value FROM meta WHERE key = 'folded'), max(id), total(length(entry)) FROM log",
            [],
            |row| {
                let bytes: f64 = row.get(2)?;
                Ok(LogPosition {
                    last: row.get::<_, Option<i64>>(1)?.unwrap_or(row.get(0)?),
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a sum of lengths"
                    )]
                    bytes: bytes as usize,
                })
            },
        )?;
        self.log.set(position);
        self.committed_log.set(position);
        Ok(())
    }

    /// Number of the last commit; `None` if they are not numbered.
    pub(super) fn number(&self) -> Option<u64> {
        self.number.get()
    }

    /// Ends the transaction; everything of it is on disk, after an fsync, when this returns.
    pub(super) fn commit(&self) -> rusqlite::Result<()> {
        #[cfg(test)]
        self.fault.strike()?;
        let number = self.number.get().map(|number| number + 1);
        if let Some(number) = number {
            store_number(&self.connection, number)?;
        }
        self.execute("COMMIT", params![])?;
        self.number.set(number);
        self.committed_log.set(self.log.get());
        Ok(())
    }

    /// Rolls the transaction back. An error is irrelevant: SQLite has already done it then.
    pub(super) fn roll_back(&self) {
        self.log.set(self.committed_log.get());
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK", params![])
        {
            tracing::debug!(%error, "rollback failed");
        }
    }

    /// Writes the journal's time.
    pub(super) fn write_stamp(&self, stamp: &Stamp) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO meta VALUES ('clock', ?1)",
            params![json(stamp)],
        )
    }

    /// The last written time. An invalid one counts as absent.
    pub(super) fn stamp(&self) -> rusqlite::Result<Option<Stamp>> {
        let mut statement = self
            .connection
            .prepare("SELECT value FROM meta WHERE key = 'clock'")?;
        let text: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    pub(super) fn insert_destination(
        &self,
        id: DestinationId,
        destination: &Destination,
    ) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO destination VALUES (?1, ?2)",
            params![id.0, json(destination)],
        )
    }

    /// Writes records with their facts as JSON.
    pub(super) fn insert_records<'a>(
        &self,
        records: impl Iterator<Item = (&'a Record, &'a str)>,
    ) -> rusqlite::Result<()> {
        self.each(
            "INSERT INTO record VALUES (?1, ?2, ?3, ?4)",
            records,
            |statement, (record, facts)| {
                statement.execute(params![
                    number(record.id.0),
                    facts,
                    &record.body[..],
                    checksum(facts, &record.body)
                ])
            },
        )
    }

    pub(super) fn insert_deliveries<'a>(
        &self,
        rows: impl Iterator<Item = &'a DeliveryColumns>,
    ) -> rusqlite::Result<()> {
        self.each(
            "INSERT INTO delivery VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            rows,
            |statement, row| {
                statement.execute(params![
                    row.id,
                    row.record,
                    row.destination,
                    row.sequence,
                    row.line,
                    row.bytes,
                    row.received,
                    row.moved,
                    row.checksum(),
                ])
            },
        )
    }

    /// Deletes records; runs of consecutive ids at once.
    pub(super) fn delete_records(&self, ids: &[RecordId]) -> rusqlite::Result<()> {
        let mut ids: Vec<i64> = ids.iter().map(|id| number(id.0)).collect();
        ids.sort_unstable();
        self.each(
            "DELETE FROM record WHERE id BETWEEN ?1 AND ?2",
            ids.chunk_by(|one, next| one + 1 == *next),
            |statement, run| statement.execute([run.first(), run.last()]),
        )
    }

    /// Appends what this commit changes besides its records.
    pub(super) fn append_to_log(&self, entry: &LogEntry) -> rusqlite::Result<()> {
        let (bytes, crc) = entry.encode();
        let LogPosition { last, bytes: held } = self.log.get();
        let position = LogPosition {
            last: last + 1,
            bytes: held + bytes.len(),
        };
        self.execute(
            "INSERT INTO log VALUES (?1, ?2, ?3)",
            params![position.last, bytes, crc],
        )?;
        self.log.set(position);
        Ok(())
    }

    /// Length of the log of commits.
    pub(super) fn log_bytes(&self) -> usize {
        self.log.get().bytes
    }

    /// Applies the log to the tables and empties it, within the open transaction. An entry that is missing or not what
    /// was written is an error of conversion.
    pub(super) fn fold_log(&self) -> rusqlite::Result<()> {
        let folded: i64 = self.connection.query_row(
            "SELECT value FROM meta WHERE key = 'folded'",
            [],
            |row| row.get(0),
        )?;
        let mut last = folded;
        let mut sum = FoldedLog::default();
        {
            let mut statement = self
                .connection
                .prepare_cached("SELECT id, entry, crc FROM log ORDER BY id")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let bytes = row.get_ref(1)?.as_blob().unwrap_or_default();
                let entry = LogEntry::decode(bytes, row.get(2)?);
                let (Some(entry), true) = (entry, row.get::<_, i64>(0)? == last + 1) else {
                    return Err(rusqlite::Error::FromSqlConversionFailure(
                        1,
                        Type::Blob,
                        "the log of commits is not what was written".into(),
                    ));
                };
                sum.add(entry);
                last += 1;
            }
        }
        if last > folded {
            self.delete_deliveries(&sum.settled)?;
            self.insert_deliveries(sum.pending.values())?;
            self.write(sum.changes)?;
            self.execute("DELETE FROM log", params![])?;
            self.execute(
                "UPDATE meta SET value = ?1 WHERE key = 'folded'",
                params![last],
            )?;
        }
        self.log.set(LogPosition { last, bytes: 0 });
        Ok(())
    }

    fn delete_deliveries(&self, ids: &[i64]) -> rusqlite::Result<()> {
        self.each(
            "DELETE FROM delivery WHERE id = ?1",
            ids.iter(),
            |statement, id| statement.execute([id]),
        )
    }

    /// Applies the decisions of admission to their tables.
    pub(super) fn write(&self, changes: Changes) -> rusqlite::Result<()> {
        let changes = changes.once_each();
        for window in [DuplicateWindowName::Named, DuplicateWindowName::Unnamed] {
            let first = changes
                .forget_before
                .iter()
                .filter_map(|&(of, first)| (of == window).then_some(first))
                .max()
                .unwrap_or(i64::MIN);
            let rows = changes.duplicates.iter();
            let keys =
                DuplicateKeys::of(rows.filter(|row| row.window == window && row.position >= first));
            if let Some(keys) = keys {
                self.execute(
                    "INSERT OR REPLACE INTO duplicate VALUES (?1, ?2, ?3, ?4)",
                    params![
                        window.number(),
                        keys.last,
                        keys.bytes,
                        crc32c::crc32c(&keys.bytes)
                    ],
                )?;
            }
            self.execute(
                "DELETE FROM duplicate WHERE which = ?1 AND last < ?2",
                params![window.number(), first],
            )?;
        }
        self.each(
            "INSERT OR REPLACE INTO call VALUES (?1, ?2, ?3, ?4)",
            changes.calls.iter(),
            |statement, row| {
                statement.execute(params![
                    row.row,
                    row.app.as_str(),
                    row.key.as_str(),
                    row.used
                ])
            },
        )?;
        self.each(
            "INSERT OR REPLACE INTO binding VALUES (?1, ?2, ?3, ?4)",
            changes.bindings.iter(),
            |statement, row| {
                statement.execute(params![row.row, row.id.to_be_bytes(), row.call, row.used])
            },
        )?;
        self.each(
            "INSERT OR REPLACE INTO sequence VALUES (?1, ?2, ?3, ?4, ?5)",
            changes.sequences.iter(),
            |statement, row| {
                statement.execute(params![
                    row.row,
                    row.call,
                    row.destination.0,
                    row.next,
                    row.used
                ])
            },
        )?;
        for (sql, rows) in [
            ("DELETE FROM call WHERE id = ?1", &changes.calls_gone),
            ("DELETE FROM binding WHERE id = ?1", &changes.bindings_gone),
            (
                "DELETE FROM sequence WHERE id = ?1",
                &changes.sequences_gone,
            ),
        ] {
            self.each(sql, rows.iter(), |statement, row| statement.execute([row]))?;
        }
        Ok(())
    }

    /// Number of unused pages.
    pub(super) fn free_pages(&self) -> rusqlite::Result<i64> {
        self.connection
            .pragma_query_value(None, "freelist_count", |row| row.get(0))
    }

    /// Whether the database has room for `pages` more within its maximum size.
    pub(super) fn has_room(&self, pages: i64) -> rusqlite::Result<bool> {
        let value = |name| {
            self.connection
                .pragma_query_value(None, name, |row| row.get(0))
        };
        let (most, now): (i64, i64) = (value("max_page_count")?, value("page_count")?);
        Ok(most - now + self.free_pages()? >= pages)
    }

    /// Returns up to `pages` free pages to the file system.
    pub(super) fn vacuum(&self, pages: u32) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        // Each step frees one page.
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// Moves all of the log into the database; false if a reader prevents it.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<bool> {
        let mut statement = self.connection.prepare("PRAGMA wal_checkpoint(TRUNCATE)")?;
        statement.query_row([], |row| row.get(0).map(|busy: i64| busy == 0))
    }

    /// Moves the log into the database and closes it.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        let checkpoint = self.checkpoint().map(drop);
        self.connection.flush_prepared_statement_cache();
        let closed = self.connection.close().map_err(|(_, error)| error);
        checkpoint.and(closed)
    }

    /// Runs one statement for each of `rows`: looked up in the statement cache once and not for every row.
    fn each<T>(
        &self,
        sql: &str,
        rows: impl Iterator<Item = T>,
        mut run: impl FnMut(&mut CachedStatement<'_>, T) -> rusqlite::Result<usize>,
    ) -> rusqlite::Result<()> {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut statement = self.connection.prepare_cached(sql)?;
        rows.try_for_each(|row| run(&mut statement, row).map(drop))
    }

    fn execute(&self, statement: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute(params)?;
        Ok(())
    }
}

/// CRC32C over the facts and the body as stored.
pub(super) fn checksum(facts: &str, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(facts.as_bytes()), body)
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have string keys and no failing serializers")
}

/// Ids count up from 1 by one: they never reach 2^63.
fn number(id: u64) -> i64 {
    id.cast_signed()
}
