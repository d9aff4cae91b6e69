//! Journals that were damaged, and one of an old format.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use crate::journal::test_support::{Running, event};

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

/// A closed journal with `count` pending events of three calls.
pub(super) fn closed(path: &Path, count: u32) {
    runtime().block_on(async {
        let running = Running::open(path);
        for id in 0..count {
            let call = ["a", "b", "c"][id as usize % 3];
            running
                .accept(vec![event(call, &format!("{id:04}"), &["q"])])
                .await;
        }
        running.close();
    });
}

pub(super) fn salvaged(running: &Running, outcome: &str) -> u64 {
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&running.status.registry.gather())
        .unwrap();
    let name = format!("hookswitch_journal_salvaged_records_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find(|line| line.starts_with(&name)).unwrap();
    line.strip_prefix(&name).unwrap().parse().unwrap()
}

/// Opens it and checks that everything it still has is whole, in order and numbered from 1 without gaps where the
/// journal is a new one. The answer: how many it has, how many it could not read, whether it was salvaged.
pub(super) fn survivors(path: &Path) -> (u64, u64, bool) {
    runtime().block_on(async {
        let mut running = Running::open(path);
        let recovered = running.check_law().recovered;
        let lost = salvaged(&running, "lost");
        let was_salvaged = !running.status.health.view().notices.is_empty();
        let owed = running.owed(usize::try_from(recovered).unwrap()).await;
        let mut unreadable = 0;
        let mut last = std::collections::HashMap::new();
        for owed in owed {
            let Ok(payload) = running.journal.payloads.fetch(owed.delivery).await else {
                unreadable += 1;
                continue;
            };
            let facts = &payload.record.facts;
            assert_eq!(
                payload.record.body,
                crate::journal::test_support::body(&facts.event_id)
            );
            assert_eq!(facts.recovered, was_salvaged);
            let call = payload.record.call.clone().unwrap();
            let (id, sequence) = last.entry(call).or_insert((String::new(), 0));
            assert!(*id < facts.event_id, "{id} before {}", facts.event_id);
            if was_salvaged {
                assert_eq!(payload.sequence, Some(*sequence + 1));
            }
            *id = facts.event_id.clone();
            *sequence = payload.sequence.unwrap();
        }
        // It is a working journal.
        running.accept(vec![event("new", "new", &["q"])]).await;
        running.close();
        (recovered - unreadable, lost + unreadable, was_salvaged)
    })
}

pub(super) fn database(path: &Path) -> PathBuf {
    path.join("journal.db")
}

#[test]
fn a_damaged_page_costs_its_records_and_the_rest_moves_to_a_new_journal() {
    let directory = tempfile::tempdir().unwrap();
    closed(directory.path(), 300);
    let mut bytes = fs::read(database(directory.path())).unwrap();
    // A page of bodies in the middle of the file.
    let page = (bytes.len() / 4096 / 2) * 4096;
    bytes[page..page + 4096].fill(0xA5);
    fs::write(database(directory.path()), bytes).unwrap();
    let (kept, lost, was_salvaged) = survivors(directory.path());
    assert!(was_salvaged);
    assert_eq!(kept + lost, 300);
    assert!((280..300).contains(&kept), "{kept} kept");
    let aside = fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("damaged-")
        })
        .count();
    assert_eq!(aside, 1, "the damaged database is kept");
    // Once is enough.
    let (again, _, was_salvaged) = survivors_again(directory.path());
    assert_eq!(again, kept + 1);
    assert!(!was_salvaged);
}

fn survivors_again(path: &Path) -> (u64, u64, bool) {
    let running = Running::open(path);
    let recovered = running.check_law().recovered;
    let was_salvaged = !running.status.health.view().notices.is_empty();
    running.close();
    (recovered, 0, was_salvaged)
}

#[test]
fn a_wrong_body_is_noticed_when_it_is_read_and_left_behind_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    closed(directory.path(), 30);
    let connection = rusqlite::Connection::open(database(directory.path())).unwrap();
    connection
        .execute("UPDATE record SET body = x'7b7d' WHERE id = 7", [])
        .unwrap();
    drop(connection);
    let (kept, unreadable, was_salvaged) = survivors(directory.path());
    assert_eq!((kept, unreadable, was_salvaged), (29, 1, false));
    let running = Running::open(directory.path());
    assert_eq!(salvaged(&running, "recovered"), 30, "29 and the new one");
    assert_eq!(salvaged(&running, "lost"), 1);
    running.close();
}

#[test]
fn a_file_that_is_not_a_database_gives_back_what_its_pages_hold() {
    let directory = tempfile::tempdir().unwrap();
    closed(directory.path(), 50);
    let mut bytes = fs::read(database(directory.path())).unwrap();
    bytes[..24].fill(0);
    fs::write(database(directory.path()), bytes).unwrap();
    assert_eq!(survivors(directory.path()), (50, 0, true));
}

#[test]
fn a_salvage_that_was_cut_short_after_its_work_is_finished_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    closed(directory.path(), 5);
    fs::rename(
        database(directory.path()),
        directory.path().join("salvaged.db"),
    )
    .unwrap();
    fs::write(database(directory.path()), "damaged").unwrap();
    let running = Running::open(directory.path());
    assert_eq!(running.check_law().recovered, 5);
    running.close();
}

/// Each column of a delivery in turn says something else that is possible.
#[test]
fn a_delivery_that_was_changed_on_disk_is_noticed_and_never_sent_in_the_place_of_another() {
    for change in [
        "record = 1",
        "sequence = sequence - 1",
        "line = (SELECT min(id) FROM sequence)",
        "received = received + 1",
        "bytes = bytes + 1",
        "moved = '{\"reason\":\"invalid\",\"faults\":[]}'",
    ] {
        let directory = tempfile::tempdir().unwrap();
        closed(directory.path(), 60);
        let connection = rusqlite::Connection::open(database(directory.path())).unwrap();
        let changed = connection
            .execute(&format!("UPDATE delivery SET {change} WHERE id = 39"), [])
            .unwrap();
        assert_eq!(changed, 1);
        drop(connection);
        // Its record knows where it was to go.
        assert_eq!(survivors(directory.path()), (60, 0, true), "{change}");
    }
}

/// One destination of an event is not lost because of a damaged row, whatever is known of the other.
#[test]
fn a_damaged_delivery_of_an_event_with_two_costs_neither() {
    for settled in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let mut running = Running::open(directory.path());
            running.accept(vec![event("a", "0000", &["q", "r"])]).await;
            let owed = running.owed(2).await;
            if settled {
                running.deliver([owed[1].delivery]);
                running.settled().await;
            }
            running.close();
            let connection = rusqlite::Connection::open(database(directory.path())).unwrap();
            let changed = connection
                .execute(
                    "UPDATE delivery SET received = received + 1 WHERE id = 1",
                    [],
                )
                .unwrap();
            assert_eq!(changed, 1);
            drop(connection);
            let mut running = Running::open(directory.path());
            assert_eq!(salvaged(&running, "lost"), 0);
            let recovered = running.check_law().recovered;
            // Without a readable row it is unknown that the other one was settled.
            assert_eq!(recovered, 2, "{settled}");
            let owed = running.owed(2).await;
            let mut queues = Vec::new();
            for owed in owed {
                let payload = running.journal.payloads.fetch(owed.delivery).await.unwrap();
                queues.push(crate::journal::stage::name(&payload.destination));
            }
            assert_eq!(queues, ["q", "r"]);
            running.close();
        });
    }
}

/// What had moved to quarantine is there with its number and its reason after a salvage.
#[test]
fn a_salvage_keeps_what_has_moved_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let mut running = Running::open(directory.path());
        running.accept(vec![event("a", "0000", &["q"])]).await;
        let owed = running.owed(1).await;
        running.poison(owed[0].delivery);
        running.owed(1).await;
        running.close();
        fs::write(directory.path().join("mark"), "damaged").unwrap();
        let mut running = Running::open(directory.path());
        assert_eq!(salvaged(&running, "recovered"), 1);
        let owed = running.owed(1).await;
        let payload = running
            .journal
            .payloads
            .fetch(owed[0].delivery)
            .await
            .unwrap();
        assert_eq!(payload.sequence, Some(1));
        assert!(payload.moved.is_some());
        running.close();
    });
}

/// A journal with sixty pending events, made once: its database and its mark.
fn sixty() -> (Vec<u8>, Vec<u8>) {
    static MADE: std::sync::OnceLock<(Vec<u8>, Vec<u8>)> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        closed(directory.path(), 60);
        let read = |name| fs::read(directory.path().join(name)).unwrap();
        (read("journal.db"), read("mark"))
    })
    .clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_cut_or_flipped_it_starts_and_what_it_has_is_whole(
        cut in proptest::option::of(0.0..1.0_f64),
        flips in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 0..6),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (mut bytes, mark) = sixty();
        let whole = bytes.clone();
        for (offset, value) in flips {
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a place in a small file")]
            let offset = (offset * bytes.len() as f64) as usize;
            bytes[offset] = value;
        }
        if let Some(cut) = cut {
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a place in a small file")]
            let length = (cut * bytes.len() as f64) as usize;
            bytes.truncate(length);
        }
        fs::write(database(directory.path()), &bytes).unwrap();
        fs::write(directory.path().join("mark"), mark).unwrap();
        let (kept, lost, was_salvaged) = survivors(directory.path());
        prop_assert!(kept <= 60);
        prop_assert!(kept + lost >= 60, "{kept} kept, {lost} lost");
        if bytes == whole {
            prop_assert_eq!((kept, was_salvaged), (60, false));
        }
    }
}

fn fixture(kind: &str) -> PathBuf {
    let format = crate::journal::store::FORMAT;
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/journal/format-{format}.{kind}"))
}

/// The file was made by the first version that had this format, and killed: everything is still in the log of commits.
#[test]
fn a_journal_of_this_format_keeps_its_pending_deliveries() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(fixture("db"), database(directory.path())).unwrap();
    fs::copy(fixture("mark"), directory.path().join("mark")).unwrap();
    runtime().block_on(async {
        let mut running = Running::open(directory.path());
        assert_eq!(running.journal.boot, 2);
        let owed = running.owed(3).await;
        let expected = [("0000", 1), ("0001", 1), ("0002", 1)]
            .map(|(id, sequence)| (id.to_owned(), Some(sequence)));
        assert_eq!(running.read(&owed).await, expected);
        running.accept(vec![event("a", "0003", &["q"])]).await;
        let owed = running.owed(1).await;
        assert_eq!(running.read(&owed).await, [("0003".to_owned(), Some(2))]);
        running.close();
    });
}

#[test]
fn a_destroyed_first_page_costs_no_record() {
    let directory = tempfile::tempdir().unwrap();
    closed(directory.path(), 100);
    let database = directory.path().join("journal.db");
    let mut bytes = fs::read(&database).unwrap();
    for (offset, byte) in bytes[..3_072].iter_mut().enumerate() {
        *byte = u8::try_from(offset * 7 % 251).unwrap();
    }
    fs::write(&database, bytes).unwrap();
    let (recovered, lost, salvaged) = survivors(directory.path());
    assert_eq!((recovered, lost, salvaged), (100, 0, true));
}

/// `cargo test --lib -- --ignored the_fixture_of_this_format` writes it, once for each format.
#[test]
#[ignore = "writes a file that then stays as it is"]
fn the_fixture_of_this_format() {
    let made = fixture("db");
    assert!(!made.exists(), "{} is there", made.display());
    fs::create_dir_all(made.parent().unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let running = Running::open(directory.path());
        for (call, id) in [("a", "0000"), ("b", "0001"), ("c", "0002")] {
            running.accept(vec![event(call, id, &["q"])]).await;
        }
        let connection = rusqlite::Connection::open(database(directory.path())).unwrap();
        connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .unwrap();
        fs::copy(database(directory.path()), made).unwrap();
        fs::copy(directory.path().join("mark"), fixture("mark")).unwrap();
        running.close();
    });
}
