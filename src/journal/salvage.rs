//! Copies what can be read of a damaged journal into a new one with an id of its own.
//!
//! The new database is built beside the damaged one and replaces it when it is complete: if the process dies meanwhile,
//! the next one starts again. Rows are read by id, and an id whose page is damaged is skipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, Row, types::Value};

use crate::{
    admit::{Admission, AdmissionLimits, EventFacts, PlacedDelivery},
    dispatch::RecordId,
    route::{Destination, DestinationId},
};

use super::{
    Destinations, Record,
    commit_log::{FoldedLog, LogEntry},
    directory::JournalDirectory,
    header::PAGE_BYTES,
    inspect::JournalFiles,
    load::{LoadError, load_admission},
    private,
    reader::check_record,
    rows::{DELIVERY_COLUMNS, DeliveryColumns, KEY_BYTES},
    stage::{Placement, new_record},
    store::{Store, json},
    wal::WalWriter,
};

/// Ids tried beyond the last readable one if the last id itself cannot be read.
const BLIND_STEPS: i64 = 100_000;

/// Records in one transaction of the new journal.
const CHUNK: u64 = 10_000;

/// The result of a salvage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    pub(super) recovered: u64,
    /// Records known to be lost, at least for one of their destinations: something of them could not be read, or the
    /// mark says that there were more.
    pub(super) lost: u64,
}

/// A delivery of the damaged journal.
#[derive(Debug)]
struct OldDelivery {
    destination: DestinationId,
    sequence: Option<i64>,
    moved: Option<String>,
}

/// Builds the new database next to the damaged one; see [`JournalDirectory::take_salvaged`].
pub(super) fn salvage(
    directory: &JournalDirectory,
    files: &JournalFiles,
    limits: AdmissionLimits,
) -> Result<Salvaged, LoadError> {
    let target = directory.salvaging()?;
    // Closed once, so that its first page is in the file and not in the log.
    Store::open(&target)?.close()?;
    let mut fresh = vec![0; PAGE_BYTES as usize];
    File::open(&target)?.read_exact(&mut fresh)?;
    let store = Store::open(&target)?;
    let mut salvaged = Salvaged::default();
    match open_damaged(directory, files, fresh)? {
        Some(damaged) => copy(&damaged, &store, limits, &mut salvaged)?,
        None => {
            tracing::error!("nothing of the damaged journal can be read");
        }
    }
    store.close()?;
    directory.readable()?;
    directory.finish_salvaging()?;
    let owed = files.kept.marked().map_or(0, |marked| marked.records);
    salvaged.lost = salvaged.lost.max(owed.saturating_sub(salvaged.recovered));
    Ok(salvaged)
}

/// `None` if nothing can be read.
fn open_damaged(
    directory: &JournalDirectory,
    files: &JournalFiles,
    fresh: Vec<u8>,
) -> io::Result<Option<Connection>> {
    let open = |path: &Path| {
        let connection = Store::reader(path)?;
        // Each is answered from the schema alone.
        for table in ["record", "delivery", "destination"] {
            connection.prepare(&format!("SELECT id FROM {table}"))?;
        }
        Ok(connection)
    };
    let Some(path) = make_readable(directory, files, None)? else {
        return Ok(None);
    };
    let as_it_is: rusqlite::Result<Connection> = open(&path);
    match as_it_is {
        Ok(damaged) => return Ok(Some(damaged)),
        Err(error) => {
            tracing::warn!(%error, "the damaged journal is read with the first page of a new one");
        }
    }
    let Some(path) = make_readable(directory, files, Some(fresh))? else {
        return Ok(None);
    };
    match open(&path) {
        Ok(damaged) => Ok(Some(damaged)),
        Err(error) => {
            tracing::error!(%error, "the damaged journal cannot be opened");
            Ok(None)
        }
    }
}

/// Makes files that SQLite can open from what is there, without changing it: the database under another name, and with
/// it a log of all readable pages of the damaged log.
///
/// The first page contains the header and the schema (SQLite file format, 1.3 and 2.6). Every journal of this format
/// creates its tables in the same order in an empty file, so they begin at the same pages, and a new journal's
/// `first_page` fits an old one's file except for the size.
fn make_readable(
    directory: &JournalDirectory,
    files: &JournalFiles,
    first_page: Option<Vec<u8>>,
) -> io::Result<Option<PathBuf>> {
    let base = files.base.filter(|base| base.bytes > 0);
    let frames = files.readable().frames;
    let log = files.log.as_ref().filter(|_| frames > 0);
    let size = match (log, base) {
        (Some(log), _) => log.pages_after(frames),
        (None, Some(base)) => base.pages(),
        (None, None) => return Ok(None),
    };
    let path = directory.readable()?;
    if base.is_some() {
        // A second name needs no room; not every file system supports it.
        let database = directory.database();
        fs::hard_link(&database, &path).or_else(|_| fs::copy(&database, &path).map(drop))?;
    } else {
        // With an empty database SQLite would discard the log.
        private::create(&path)?.set_len(u64::from(size) * u64::from(PAGE_BYTES))?;
    }
    let mut pages = log.map(|log| log.pages(frames)).unwrap_or_default();
    pages.retain(|page, _| *page <= size);
    let first_page = first_page.map(|mut page| {
        // Size in pages; no free pages are known.
        for (offset, value) in [(28, size), (32, 0), (36, 0)] {
            if let Some(field) = page.get_mut(offset..offset + 4) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        }
        pages.remove(&1);
        page
    });
    if pages.is_empty() && first_page.is_none() {
        return Ok(Some(path));
    }
    let mut wal = path.clone().into_os_string();
    wal.push("-wal");
    let mut out = WalWriter::create(Path::new(&wal), size.max(1))?;
    if let Some(page) = first_page {
        out.add(1, &page, pages.is_empty())?;
    }
    let last = pages.keys().next_back().copied();
    for (page, frame) in pages {
        if let Some(log) = log {
            out.add(page, &log.page(frame)?, Some(page) == last)?;
        }
    }
    out.finish()?;
    Ok(Some(path))
}

fn copy(
    damaged: &Connection,
    store: &Store,
    limits: AdmissionLimits,
    salvaged: &mut Salvaged,
) -> Result<(), LoadError> {
    let mut admission = Admission::new(limits);
    let (
        FoldedLog {
            pending,
            settled,
            mut changes,
        },
        log_complete,
    ) = read_log(damaged);
    // Sequences restart under the new journal's id.
    changes.sequences.clear();
    store.begin()?;
    copy_admission(damaged, store)?;
    store.write(changes)?;
    store.commit()?;
    drop(load_admission(store.connection(), &mut admission)?);

    let places = read_destinations(damaged);
    let mut deliveries = OldDeliveries::read(damaged, pending, settled);
    deliveries.complete &= log_complete;
    let destinations = Destinations::default();
    let mut stored = 0;
    let mut next_id = 1;
    store.begin()?;
    let mut failed = None;
    let last = last_id(damaged, "record").max(deliveries.by_record.keys().next_back().copied());
    scan(
        damaged,
        "SELECT id, facts, body, crc FROM record WHERE id >= ?1 ORDER BY id",
        &[],
        last,
        |row| {
            let id: i64 = row.get(0)?;
            let record = (|| {
                let facts: String = row.get(1)?;
                check_record(id, &facts, row.get(2)?, row.get(3)?)
            })();
            let Ok((record, placement)) = record else {
                deliveries.by_record.remove(&id);
                salvaged.lost += 1;
                return Ok(());
            };
            let owed = deliveries.of(id, placement);
            let count = owed.len();
            let owed: Vec<_> = owed
                .into_iter()
                .filter_map(|delivery| {
                    Some((places.get(&delivery.destination.0)?.clone(), delivery))
                })
                .collect();
            if owed.len() < count {
                salvaged.lost += 1;
            }
            if owed.is_empty() {
                return Ok(());
            }
            let record = Record {
                id: RecordId(next_id),
                facts: Arc::new(EventFacts {
                    recovered: true,
                    ..Arc::unwrap_or_clone(record.facts)
                }),
                ..record
            };
            next_id += owed.len() as u64;
            salvaged.recovered += 1;
            let written = write_record(
                store,
                &mut admission,
                &destinations,
                &mut stored,
                record,
                owed,
            );
            if let Err(error) = written {
                failed = Some(error);
            } else if salvaged.recovered.is_multiple_of(CHUNK) {
                failed = next_chunk(store, &mut admission).err();
            }
            if failed.is_some() {
                return Err(rusqlite::Error::QueryReturnedNoRows);
            }
            Ok(())
        },
    );
    if let Some(error) = failed {
        return Err(error.into());
    }
    // Their records were not found.
    salvaged.lost += deliveries.by_record.len() as u64;
    store.write(admission.changes())?;
    store.commit()?;
    Ok(())
}

fn next_chunk(store: &Store, admission: &mut Admission) -> rusqlite::Result<()> {
    store.write(admission.changes())?;
    store.commit()?;
    admission.commit();
    store.begin()
}

fn write_record(
    store: &Store,
    admission: &mut Admission,
    destinations: &Destinations,
    stored: &mut u32,
    record: Record,
    owed: Vec<(Destination, OldDelivery)>,
) -> rusqlite::Result<()> {
    let mut placed = Vec::new();
    let mut moved = Vec::new();
    for (destination, old) in owed {
        let id = destinations.intern(destination);
        // What moved to quarantine keeps its number there and is in no line.
        let in_line = old.moved.is_none() && record.facts.quarantine.is_none();
        let call = record.call.as_ref().filter(|_| in_line);
        let place: PlacedDelivery = admission.readmit(&record.facts.app, call, id);
        if let Some(interned) = destinations.interned(id) {
            placed.push((place, interned));
            moved.push((old.moved, old.sequence));
        }
    }
    while *stored < destinations.count() {
        let id = DestinationId(*stored);
        if let Some(destination) = destinations.get(id) {
            store.insert_destination(id, &destination)?;
        }
        *stored += 1;
    }
    let facts = json(&*record.facts);
    let new = new_record(Arc::new(record), &facts, &placed);
    store.insert_records([(&*new.record, new.facts.as_str())].into_iter())?;
    for (delivery, (moved, sequence)) in new.deliveries.into_iter().zip(moved) {
        let mut row = delivery.row;
        if let Some(moved) = moved {
            row.moved = Some(moved);
            row.sequence = sequence;
        }
        store.insert_deliveries([&row].into_iter())?;
    }
    Ok(())
}

/// Duplicate keys, call keys and bindings are copied unchanged.
fn copy_admission(damaged: &Connection, store: &Store) -> rusqlite::Result<()> {
    // Their rows age by this time; if it cannot be read, by the wall clock.
    let clock: rusqlite::Result<String> =
        damaged.query_row("SELECT value FROM meta WHERE key = 'clock'", [], |row| {
            row.get(0)
        });
    if let Ok(clock) = clock {
        let insert = "INSERT OR REPLACE INTO meta VALUES ('clock', ?1)";
        store.connection().execute(insert, [clock])?;
    }
    for which in [0, 1] {
        copy_rows(
            damaged,
            store,
            "SELECT last, which, keys, crc FROM duplicate WHERE last >= ?1 AND which = ?2 ORDER BY last",
            &[which],
            "INSERT OR REPLACE INTO duplicate (last, which, keys, crc) VALUES (?1, ?2, ?3, ?4)",
        )?;
    }
    copy_rows(
        damaged,
        store,
        "SELECT id, app, key, used FROM call WHERE id >= ?1 ORDER BY id",
        &[],
        "INSERT OR REPLACE INTO call (id, app, key, used) VALUES (?1, ?2, ?3, ?4)",
    )?;
    copy_rows(
        damaged,
        store,
        "SELECT id, digest, call, used FROM binding WHERE id >= ?1 ORDER BY id",
        &[],
        "INSERT OR REPLACE INTO binding (id, digest, call, used) VALUES (?1, ?2, ?3, ?4)",
    )
}

fn copy_rows(
    damaged: &Connection,
    store: &Store,
    query: &str,
    more: &[i64],
    insert: &str,
) -> rusqlite::Result<()> {
    let mut failed = None;
    scan(damaged, query, more, None, |row| {
        let values: Vec<Value> = (0..4)
            .map(|column| row.get(column))
            .collect::<Result<_, _>>()?;
        if !plausible(&values) {
            return Ok(());
        }
        let written = store
            .connection()
            .prepare_cached(insert)
            .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(values)));
        if let Err(error) = written {
            failed = Some(error);
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
        Ok(())
    });
    failed.map_or(Ok(()), Err)
}

/// Rows of admission with visible damage would make the new journal damaged too.
fn plausible(values: &[Value]) -> bool {
    match values {
        // A binding.
        [
            _,
            Value::Blob(digest),
            Value::Integer(_) | Value::Null,
            Value::Integer(_),
        ] => digest.len() == 16,
        // Keys of a duplicate window.
        [
            _,
            Value::Integer(0 | 1),
            Value::Blob(keys),
            Value::Integer(crc),
        ] => keys.len() % KEY_BYTES == 0 && i64::from(crc32c::crc32c(keys)) == *crc,
        [_, Value::Text(app), Value::Text(key), Value::Integer(_)] => {
            crate::event::AppName::try_from(app.clone()).is_ok() && !key.is_empty()
        }
        _ => false,
    }
}

fn read_destinations(damaged: &Connection) -> BTreeMap<u32, Destination> {
    let mut destinations = BTreeMap::new();
    scan(
        damaged,
        "SELECT id, destination FROM destination WHERE id >= ?1 ORDER BY id",
        &[],
        None,
        |row| {
            let text: String = row.get(1)?;
            if let Ok(destination) = serde_json::from_str(&text) {
                destinations.insert(row.get(0)?, destination);
            }
            Ok(())
        },
    );
    destinations
}

/// The sum of all readable entries, and whether these are all.
fn read_log(damaged: &Connection) -> (FoldedLog, bool) {
    let mut sum = FoldedLog::default();
    let mut sound = true;
    let complete = scan(
        damaged,
        "SELECT id, entry, crc FROM log WHERE id >= ?1 ORDER BY id",
        &[],
        last_id(damaged, "log"),
        |row| {
            let entry: Vec<u8> = row.get(1)?;
            match LogEntry::decode(&entry, row.get(2)?) {
                Some(entry) => sum.add(entry),
                None => sound = false,
            }
            Ok(())
        },
    );
    (sum, complete && sound)
}

/// The deliveries of the damaged journal.
#[derive(Debug, Default)]
struct OldDeliveries {
    /// Those that can be read, by record and id.
    by_record: BTreeMap<i64, BTreeMap<i64, OldDelivery>>,
    /// Rows that are not what was written.
    unreadable: BTreeSet<i64>,
    /// Settled since the last fold.
    settled: BTreeSet<i64>,
    /// Nothing else can be missing.
    complete: bool,
}

impl OldDeliveries {
    /// Those in the table, with the log applied.
    fn read(
        damaged: &Connection,
        logged: BTreeMap<i64, DeliveryColumns>,
        settled: Vec<i64>,
    ) -> Self {
        let mut deliveries = Self::default();
        let mut pending = BTreeMap::new();
        deliveries.complete = scan(
            damaged,
            &format!("SELECT {DELIVERY_COLUMNS} FROM delivery WHERE id >= ?1 ORDER BY id"),
            &[],
            last_id(damaged, "delivery").max(last_id(damaged, "record")),
            |row| {
                match DeliveryColumns::read(row)? {
                    Some(columns) => drop(pending.insert(columns.id, columns)),
                    None => drop(deliveries.unreadable.insert(row.get(0)?)),
                }
                Ok(())
            },
        );
        for delivery in &settled {
            pending.remove(delivery);
        }
        pending.extend(logged);
        for columns in pending.into_values() {
            let delivery = OldDelivery {
                destination: DestinationId(columns.destination),
                sequence: columns.sequence,
                moved: columns.moved,
            };
            let of_record = deliveries.by_record.entry(columns.record).or_default();
            of_record.insert(columns.id, delivery);
        }
        deliveries.settled = settled.into_iter().collect();
        deliveries
    }

    /// What is pending of a record: what can be read, and of its placement what cannot. A record is deleted together
    /// with its last delivery, so without any that can be read all are missing. Where it is unknown whether one was
    /// settled, it is sent again.
    fn of(&mut self, record: i64, placement: Placement) -> Vec<OldDelivery> {
        let mut known = self.by_record.remove(&record).unwrap_or_default();
        let nothing = known.is_empty();
        for (id, (destination, sequence)) in (record..).zip(placement.to) {
            let missing = nothing || !self.complete || self.unreadable.contains(&id);
            if missing && !self.settled.contains(&id) {
                known.entry(id).or_insert(OldDelivery {
                    destination,
                    sequence,
                    moved: None,
                });
            }
        }
        known.into_values().collect()
    }
}

fn last_id(damaged: &Connection, table: &str) -> Option<i64> {
    damaged
        .query_row(
            &format!("SELECT id FROM {table} ORDER BY id DESC LIMIT 1"),
            [],
            |row| row.get(0),
        )
        .ok()
}

/// Passes on every readable row, in order of the first column, which the query compares with `?1`; true if all were
/// readable. A row with invalid values is left out; `take` ends the scan with
/// [`rusqlite::Error::QueryReturnedNoRows`].
fn scan(
    damaged: &Connection,
    query: &str,
    more: &[i64],
    last: Option<i64>,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> bool {
    let Ok(mut statement) = damaged.prepare(query) else {
        return false;
    };
    let mut from = i64::MIN;
    let mut good = 0;
    let mut complete = true;
    loop {
        let bound = std::iter::once(&from).chain(more);
        let Ok(mut rows) = statement.query(rusqlite::params_from_iter(bound)) else {
            return false;
        };
        loop {
            match rows.next() {
                Ok(None) => return complete,
                Ok(Some(row)) => {
                    let Ok(id) = row.get::<_, i64>(0) else { break };
                    if id < from {
                        // Pages that form a cycle.
                        break;
                    }
                    good = id;
                    from = id.saturating_add(1);
                    match take(row) {
                        Ok(()) => {}
                        Err(rusqlite::Error::QueryReturnedNoRows) => return complete,
                        Err(_) => complete = false,
                    }
                }
                Err(_) => break,
            }
        }
        complete = false;
        // Skips the damaged page, id by id.
        from = from.max(0).saturating_add(1);
        if from > last.unwrap_or(0).max(good.saturating_add(BLIND_STEPS)) {
            return false;
        }
    }
}
