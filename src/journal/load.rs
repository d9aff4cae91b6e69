//! Reads everything except the bodies when a journal is opened.

use std::collections::HashMap;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row};
use uuid::Uuid;

use crate::{
    admit::{Admission, AdmissionLimits, DuplicateWindowName},
    dispatch::{DeliveryId, Lane, PendingDelivery, RecordId},
    event::{AppName, CallKey},
    route::DestinationId,
};

use super::{
    Destinations,
    clock::Stamp,
    index::{IndexedDelivery, PendingIndex},
    rows::{DELIVERY_COLUMNS, DeliveryColumns, DuplicateKeys},
    stage::Placement,
    store::{FORMAT, Store},
};

/// Databases up to this size are checked page by page; larger ones would delay a restart.
const CHECKED_PAGES: i64 = 16_384;

/// From this many destinations on, a start drops those without pending deliveries and without a sequence: most of them
/// are routing keys. With fewer it is not worth reading all deliveries.
const KEPT_DESTINATIONS: i64 = 256;

/// The content of a journal when it was opened.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) instance: Uuid,
    /// 0 until the opening is counted.
    pub(super) boot: u64,
    pub(super) destinations: Destinations,
    pub(super) admission: Admission,
    /// `None` in a new journal, and if it cannot be read.
    pub(super) stamp: Option<Stamp>,
    pub(super) index: PendingIndex,
    /// The first delivery id that no pending record or delivery has.
    pub(super) next_id: u64,
}

/// Why a journal could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("its format is {0}")]
    Format(i64),
    /// It can be opened, but its content is inconsistent: salvage what can be read.
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("the database failed")]
    Database(#[source] rusqlite::Error),
    #[error("its files cannot be used")]
    JournalFiles(#[from] std::io::Error),
}

impl From<rusqlite::Error> for LoadError {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Database(error)
        }
    }
}

/// Whether a read error means that the file is not what was written.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(
                failure.code,
                // `Unknown` is SQLITE_ERROR: a missing table or column.
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown
            ) || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_READ
                || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_CORRUPTFS
        }
        // Every other error of rusqlite is about a value that does not have the type or number that was written.
        _ => true,
    }
}

/// Loads the journal in `store`, and begins the transaction that [`count_opening`] commits.
pub(super) fn load(store: &Store, limits: AdmissionLimits) -> Result<Loaded, LoadError> {
    let connection = store.connection();
    let format: i64 = meta(connection, "format")?;
    if format != FORMAT {
        return Err(LoadError::Format(format));
    }
    check(connection)?;
    store.begin()?;
    store.find_log()?;
    store.fold_log()?;
    let instance: String = meta(connection, "instance")?;
    let instance = Uuid::parse_str(&instance)
        .map_err(|_| LoadError::Damaged("its instance id is no UUID".to_owned()))?;
    let destinations = load_destinations(connection)?;
    let mut admission = Admission::new(limits);
    let sequences = load_admission(connection, &mut admission)?;
    let (index, next_id) = load_index(connection, &destinations, &mut admission, &sequences)?;
    Ok(Loaded {
        instance,
        boot: 0,
        destinations,
        stamp: store.stamp()?,
        admission,
        index,
        next_id,
    })
}

/// Counts an opening at this time; returns its number.
pub(super) fn count_opening(store: &Store, opened: &Stamp) -> rusqlite::Result<u64> {
    let connection = store.connection();
    let boot: i64 = meta(connection, "boot")?;
    let boot = boot + 1;
    connection.execute("UPDATE meta SET value = ?1 WHERE key = 'boot'", [boot])?;
    store.write_stamp(opened)?;
    store.commit()?;
    Ok(boot.cast_unsigned())
}

fn meta<T: rusqlite::types::FromSql>(connection: &Connection, key: &str) -> rusqlite::Result<T> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
        row.get(0)
    })
}

fn check(connection: &Connection) -> Result<(), LoadError> {
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages > CHECKED_PAGES {
        return Ok(());
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(LoadError::Damaged(verdict))
    }
}

fn load_destinations(connection: &Connection) -> Result<Destinations, LoadError> {
    let stored: i64 =
        connection.query_row("SELECT count(*) FROM destination", [], |row| row.get(0))?;
    if stored > KEPT_DESTINATIONS {
        connection.execute(
            "DELETE FROM destination WHERE id NOT IN (SELECT destination FROM delivery)
             AND id NOT IN (SELECT destination FROM sequence)",
            [],
        )?;
    }
    let destinations = Destinations::default();
    each(
        connection,
        "SELECT id, destination FROM destination ORDER BY id",
        |row| {
            let destination: String = row.get(1)?;
            let destination = serde_json::from_str(&destination).map_err(|error| {
                LoadError::Damaged(format!("a destination is not JSON: {error}"))
            })?;
            if destinations.restore(DestinationId(row.get(0)?), destination) {
                Ok(())
            } else {
                Err(LoadError::Damaged("a destination occurs twice".to_owned()))
            }
        },
    )?;
    Ok(destinations)
}

/// Fills `admission`; the result finds sequences by row.
pub(super) fn load_admission(
    connection: &Connection,
    admission: &mut Admission,
) -> Result<HashMap<i64, crate::admit::LruSlot>, LoadError> {
    each(
        connection,
        "SELECT which, last, keys, crc FROM duplicate ORDER BY which, last",
        |row| {
            let window = DuplicateWindowName::from_number(row.get(0)?)
                .ok_or_else(|| LoadError::Damaged("unknown duplicate window".to_owned()))?;
            let keys = DuplicateKeys {
                last: row.get(1)?,
                bytes: row.get(2)?,
            };
            let rows = keys.rows(window, row.get(3)?).ok_or_else(|| {
                LoadError::Damaged("duplicate keys are not what was written".to_owned())
            })?;
            rows.for_each(|row| admission.restore_duplicate(row));
            Ok(())
        },
    )?;
    let mut calls = HashMap::new();
    each(
        connection,
        "SELECT id, app, key, used FROM call ORDER BY used, id",
        |row| {
            let app = AppName::try_from(row.get::<_, String>(1)?)
                .map_err(|error| LoadError::Damaged(error.to_string()))?;
            let key = CallKey::new(row.get::<_, String>(2)?)
                .ok_or_else(|| LoadError::Damaged("an empty call key".to_owned()))?;
            let id = row.get(0)?;
            calls.insert(id, admission.restore_call(id, app, key, row.get(3)?));
            Ok(())
        },
    )?;
    each(
        connection,
        "SELECT id, digest, call, used FROM binding ORDER BY used, id",
        |row| {
            let id = row.get(0)?;
            let call = match row.get::<_, Option<i64>>(2)? {
                None => None,
                Some(call) => match calls.get(&call) {
                    Some(slot) => Some(*slot),
                    None => {
                        admission.drop_binding(id);
                        return Ok(());
                    }
                },
            };
            let digest = u128::from_be_bytes(row.get(1)?);
            admission.restore_binding(id, digest, call, row.get(3)?);
            Ok(())
        },
    )?;
    let mut sequences = HashMap::new();
    each(
        connection,
        "SELECT id, call, destination, next, used FROM sequence ORDER BY used, id",
        |row| {
            let id = row.get(0)?;
            let Some(call) = calls.get(&row.get::<_, i64>(1)?) else {
                admission.drop_sequence(id);
                return Ok(());
            };
            let destination = DestinationId(row.get(2)?);
            let slot = admission.restore_sequence(id, *call, destination, row.get(3)?, row.get(4)?);
            sequences.insert(id, slot);
            Ok(())
        },
    )?;
    Ok(sequences)
}

fn load_index(
    connection: &Connection,
    destinations: &Destinations,
    admission: &mut Admission,
    sequences: &HashMap<i64, crate::admit::LruSlot>,
) -> Result<(PendingIndex, u64), LoadError> {
    let mut index = PendingIndex::default();
    let mut last = 0;
    each(
        connection,
        &format!("SELECT {DELIVERY_COLUMNS} FROM delivery ORDER BY id"),
        |row| {
            let Some(columns) = DeliveryColumns::read(row)? else {
                return Err(LoadError::Damaged(
                    "a delivery is not what was written".to_owned(),
                ));
            };
            let destination = DestinationId(columns.destination);
            let Some(interned) = destinations.interned(destination) else {
                return Err(LoadError::Damaged(
                    "a delivery to an unknown destination".to_owned(),
                ));
            };
            let line = match columns.line {
                None => None,
                Some(line) => Some(*sequences.get(&line).ok_or_else(|| {
                    LoadError::Damaged("a delivery without its sequence".to_owned())
                })?),
            };
            if let Some(line) = line {
                admission.restore_pending(line);
            }
            let pending = IndexedDelivery {
                record: RecordId(columns.record.cast_unsigned()),
                destination,
                share: interned.share,
                line,
                bytes: columns.bytes,
                received: columns.received,
            };
            last = columns.id.cast_unsigned();
            index.add(DeliveryId(last), pending, columns.moved.is_some());
            Ok(())
        },
    )?;
    // The ids of the last record's deliveries are its own, also those that are settled.
    let taken = last_taken(connection)?.unwrap_or(0).max(last);
    Ok((index, taken + 1))
}

/// The last id that the last record has for one of its deliveries; `None` without a record.
fn last_taken(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let query = "SELECT id, facts FROM record ORDER BY id DESC LIMIT 1";
    let record = connection
        .query_row(query, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    Ok(record.map(|(id, facts)| {
        // Whether it is damaged shows when it is read.
        let placement: Placement = serde_json::from_str(&facts).unwrap_or_default();
        id.cast_unsigned() + (placement.to.len() as u64).saturating_sub(1)
    }))
}

/// A delivery that an earlier process may have sent, for the dispatcher.
pub(super) fn pending_at_open(
    delivery: DeliveryId,
    pending: &IndexedDelivery,
    destinations: &Destinations,
    admission: &Admission,
) -> Option<PendingDelivery> {
    let interned = destinations.interned(pending.destination)?;
    Some(PendingDelivery {
        delivery,
        destination: pending.destination,
        channel: interned.channel,
        lane: pending.line.map(|line| Lane {
            family: interned.family,
            call: admission.call_of(line),
        }),
        unknown: true,
    })
}

fn each(
    connection: &Connection,
    query: &str,
    mut take: impl FnMut(&Row<'_>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}
