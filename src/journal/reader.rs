//! Reads payloads that are no longer in memory, on a thread and a connection of its own.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
};

use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::oneshot;

use crate::{
    dispatch::{DeliveryId, RecordId},
    route::DestinationId,
};

use super::{
    DeliveryPayload, Destinations, Record,
    cache::PayloadCache,
    directory::JournalDirectory,
    handles::{Fetch, FetchPayload, PayloadUnavailable},
    metrics::JournalMetrics,
    rows::{DELIVERY_COLUMNS, DeliveryColumns},
    stage::Placement,
    store::checksum,
};

/// How many damaged deliveries are logged, once each; further ones are only counted.
const LOGGED_LIMIT: usize = 1_000;

/// A request to the reader.
#[derive(Debug)]
pub(super) enum ReadRequest {
    Fetch(
        DeliveryId,
        oneshot::Sender<Result<DeliveryPayload, PayloadUnavailable>>,
    ),
    Stop,
}

/// Where publish asks: first the memory, then the reader's thread.
#[derive(Debug)]
pub(super) struct CachedPayloadSource {
    pub(super) cache: Arc<PayloadCache>,
    pub(super) requests: Sender<ReadRequest>,
}

impl FetchPayload for CachedPayloadSource {
    fn fetch(&self, delivery: DeliveryId) -> Fetch {
        if let Some(payload) = self.cache.get(delivery) {
            return Fetch::Ready(Ok(payload));
        }
        let (reply, answer) = oneshot::channel();
        // After the journal has closed there is no answer, which reads as `NotNow`.
        drop(self.requests.send(ReadRequest::Fetch(delivery, reply)));
        Fetch::Later(answer)
    }
}

/// Why a payload cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the database cannot be read")]
    Database(#[from] rusqlite::Error),
    #[error("its record is missing")]
    Missing,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its facts are no longer JSON of this format")]
    Facts(#[from] serde_json::Error),
    #[error("its destination is unknown")]
    Destination,
}

/// The reader's thread.
#[derive(Debug)]
pub(super) struct PayloadReader {
    pub(super) connection: Connection,
    pub(super) destinations: Destinations,
    pub(super) directory: Arc<JournalDirectory>,
    pub(super) metrics: JournalMetrics,
    pub(super) logged: HashSet<DeliveryId>,
}

impl PayloadReader {
    pub(super) fn run(mut self, requests: &Receiver<ReadRequest>) {
        while let Ok(ReadRequest::Fetch(delivery, reply)) = requests.recv() {
            if reply.is_closed() {
                continue;
            }
            let payload = read_payload(&self.connection, &self.destinations, delivery)
                .and_then(|payload| payload.ok_or(ReadError::Missing))
                .map_err(|error| self.no_payload(delivery, &error));
            drop(reply.send(payload));
        }
    }

    /// An error of the disk may pass, and what it hides is sent when it has passed; only damage on the disk needs a
    /// salvage.
    fn no_payload(&mut self, delivery: DeliveryId, error: &ReadError) -> PayloadUnavailable {
        if matches!(error, ReadError::Database(error) if !super::load::is_damage(error)) {
            tracing::warn!(
                delivery = delivery.0,
                error = ?error,
                path = %self.directory.path().display(),
                "the journal cannot be read for now"
            );
            return PayloadUnavailable::NotNow;
        }
        self.metrics.unreadable.inc();
        if self.logged.len() < LOGGED_LIMIT && self.logged.insert(delivery) {
            tracing::error!(
                delivery = delivery.0,
                error = ?error,
                path = %self.directory.path().display(),
                "a record is damaged on disk: restart to salvage the journal"
            );
            self.directory.mark_damaged();
        }
        PayloadUnavailable::Unreadable
    }
}

/// The payload of a pending delivery; `None` if there is no record for it.
///
/// Its row comes first: a delivery that has moved to quarantine has one as soon as it is pending, and differs from what
/// its record says. One that is still in the log of commits has none.
pub(super) fn read_payload(
    connection: &Connection,
    destinations: &Destinations,
    delivery: DeliveryId,
) -> Result<Option<DeliveryPayload>, ReadError> {
    let id = delivery.0.cast_signed();
    let row = connection
        .prepare_cached(&format!(
            "SELECT {DELIVERY_COLUMNS} FROM delivery WHERE id = ?1"
        ))?
        .query_row([id], DeliveryColumns::read)
        .optional()?;
    let (record, destination, sequence, moved) = if let Some(row) = row {
        let row = row.ok_or(ReadError::Checksum)?;
        let query = "SELECT id, facts, body, crc FROM record WHERE id = ?1";
        let (record, _) = read_record(connection, query, row.record)?.ok_or(ReadError::Missing)?;
        let moved = row.moved.as_deref().map(serde_json::from_str).transpose()?;
        let destination = DestinationId(row.destination);
        (record, destination, row.sequence, moved)
    } else {
        let query =
            "SELECT id, facts, body, crc FROM record WHERE id <= ?1 ORDER BY id DESC LIMIT 1";
        let Some((record, placement)) = read_record(connection, query, id)? else {
            return Ok(None);
        };
        let index = usize::try_from(delivery.0 - record.id.0).unwrap_or(usize::MAX);
        let Some(&(destination, sequence)) = placement.to.get(index) else {
            return Ok(None);
        };
        (record, destination, sequence, None)
    };
    Ok(Some(DeliveryPayload {
        record: Arc::new(record),
        destination: destinations
            .get(destination)
            .ok_or(ReadError::Destination)?,
        sequence,
        moved,
    }))
}

fn read_record(
    connection: &Connection,
    query: &str,
    id: i64,
) -> Result<Option<(Record, Placement)>, ReadError> {
    let row = connection
        .prepare_cached(query)?
        .query_row([id], |row| {
            Ok((
                row.get(0)?,
                row.get::<_, String>(1)?,
                row.get(2)?,
                row.get(3)?,
            ))
        })
        .optional()?;
    row.map(|(id, facts, body, crc)| check_record(id, &facts, body, crc))
        .transpose()
}

/// Makes a record from its columns, if they are as written.
pub(super) fn check_record(
    id: i64,
    facts: &str,
    body: Vec<u8>,
    crc: u32,
) -> Result<(Record, Placement), ReadError> {
    if checksum(facts, &body) != crc {
        return Err(ReadError::Checksum);
    }
    let placement: Placement = serde_json::from_str(facts)?;
    let record = Record {
        id: RecordId(id.cast_unsigned()),
        call: placement.call.clone(),
        facts: serde_json::from_str(facts)?,
        body: body.into(),
    };
    Ok((record, placement))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_for_now_is_not_taken_for_damage() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("locked.db");
        let holder = Connection::open(&path).unwrap();
        holder.execute_batch("CREATE TABLE t (a)").unwrap();
        let mut reader = PayloadReader {
            connection: Connection::open(&path).unwrap(),
            destinations: Destinations::default(),
            directory: Arc::new(JournalDirectory::open(directory.path()).unwrap()),
            metrics: JournalMetrics::register(&prometheus::Registry::new(), 1).unwrap(),
            logged: HashSet::new(),
        };
        reader
            .connection
            .busy_timeout(std::time::Duration::ZERO)
            .unwrap();
        let mut read = || {
            let error = read_payload(&reader.connection, &reader.destinations, DeliveryId(1));
            let none = reader.no_payload(DeliveryId(1), &error.unwrap_err());
            (none, reader.directory.is_marked_damaged())
        };
        holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert_eq!(read(), (PayloadUnavailable::NotNow, false));
        holder.execute_batch("ROLLBACK").unwrap();
        // The table does not exist: that is damage.
        assert_eq!(read(), (PayloadUnavailable::Unreadable, true));
    }
}
