//! Reads the store that both consumers write.

use std::{collections::HashMap, path::Path};

use rusqlite::{Connection, OpenFlags};

/// One event as a consumer handled it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) queue: String,
    pub(super) instance: String,
    pub(super) call: Option<String>,
    pub(super) sequence: Option<i64>,
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// The number of its events; 0 if there is no store yet.
pub(super) fn count(path: &Path) -> usize {
    let count = || -> rusqlite::Result<u32> {
        open(path)?.query_row("SELECT count(*) FROM events", [], |row| row.get(0))
    };
    count().map_or(0, |count| count as usize)
}

/// All events, in the order in which they were handled.
pub(super) fn read(path: &Path) -> Vec<Row> {
    let store = open(path).expect("the store opens");
    let mut rows = store
        .prepare(
            "SELECT queue, instance, call, sequence, message_id, body FROM events ORDER BY position",
        )
        .expect("its table");
    rows.query_map([], |row| {
        Ok(Row {
            queue: row.get(0)?,
            instance: row.get(1)?,
            call: row.get(2)?,
            sequence: row.get(3)?,
            id: row.get(4)?,
            body: row.get(5)?,
        })
    })
    .expect("its rows")
    .collect::<rusqlite::Result<_>>()
    .expect("a row")
}

/// Checks that each event of each call was handled exactly once, in order, byte for byte. `calls` holds what was sent:
/// for each call the ids and the bodies of its callbacks, each an array of one event.
pub(super) fn check(what: &str, rows: &[Row], calls: &[(String, Vec<(String, String)>)]) {
    let mut handled: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in rows {
        let call = row.call.as_deref().expect("keyed events only");
        handled.entry(call).or_default().push(row);
    }
    assert_eq!(handled.len(), calls.len(), "{what}: calls");
    for (call, sent) in calls {
        let events = handled.get(call.as_str()).map_or(&[][..], Vec::as_slice);
        let ids: Vec<&str> = events.iter().map(|row| row.id.as_str()).collect();
        let sent_ids: Vec<&str> = sent.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, sent_ids, "{what}: events of call {call}");
        let sequences: Vec<i64> = events.iter().filter_map(|row| row.sequence).collect();
        let gapless: Vec<i64> = (1..).take(sent.len()).collect();
        assert_eq!(sequences, gapless, "{what}: sequences of call {call}");
        for (row, (id, body)) in events.iter().zip(sent) {
            let event = body.trim_start_matches('[').trim_end_matches(']');
            assert_eq!(row.body, event.as_bytes(), "{what}: body of {id}");
            let first = events.first().expect("this call exists");
            assert_eq!(row.queue, first.queue, "{what}: queue of {id}");
            assert_eq!(row.instance, first.instance, "{what}: instance of {id}");
        }
    }
}
