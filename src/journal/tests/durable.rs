//! The durable journal while it runs, and across clean restarts.

use futures_util::future::join_all;

use crate::{
    admit::{Offer, QuarantineReason},
    dispatch::Refused,
    event::CallIds,
    route::{Address, QUARANTINE, QueueType, Target},
    status::JournalState,
};

use crate::journal::{
    Admitted, JournalError, JournalRefusal, LimitReached, Settlement,
    fault_injection::{FaultInjector, InjectedFault},
    open::Tuning,
    test_support::{Running, broken, callback, event, event_of, settings},
};

fn refused() -> Refused {
    Refused {
        code: 406,
        text: "PRECONDITION_FAILED".into(),
    }
}

fn unlimited() -> Tuning {
    Tuning::default()
}

fn with_fault() -> (Tuning, FaultInjector) {
    let tuning = Tuning::default();
    let fault = tuning.fault.clone();
    (tuning, fault)
}

#[tokio::test]
async fn accepted_events_are_pending_after_a_restart_in_order_and_marked_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Running::open(directory.path());
    for id in 0..5 {
        first
            .accept(vec![event("c", &id.to_string(), &["q", "r"])])
            .await;
    }
    let owed = first.owed(10).await;
    assert!(owed.iter().all(|owed| !owed.unknown && owed.lane.is_some()));
    // Delivered to one of two queues: the record stays for the other.
    first.deliver([owed[0].delivery, owed[2].delivery, owed[3].delivery]);
    first.until("settled", |counts| counts.delivered == 3).await;
    let instance = first.journal.instance;
    let boot = first.journal.boot;
    assert_eq!(first.close().pending, 7);

    let mut second = Running::open(directory.path());
    assert_eq!(second.journal.instance, instance);
    assert_eq!(second.journal.boot, boot + 1);
    assert_eq!(second.check_law().recovered, 7);
    let owed = second.owed(7).await;
    assert!(owed.iter().all(|owed| owed.unknown && owed.lane.is_some()));
    let expected: Vec<_> = [(0, 1), (2, 3), (2, 3), (3, 4), (3, 4), (4, 5), (4, 5)]
        .map(|(id, sequence)| (id.to_string(), Some(sequence)))
        .into();
    assert_eq!(second.read(&owed).await, expected);
    second.deliver(owed.iter().map(|owed| owed.delivery));
    second
        .until("all settled", |counts| counts.pending == 0)
        .await;
    second.close();
    assert_eq!(Running::open(directory.path()).close().pending, 0);
}

#[tokio::test]
async fn a_process_that_dies_without_closing_keeps_what_it_answered() {
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut first = Running::open(directory.path());
    for id in 0..20 {
        first
            .accept(vec![event("c", &id.to_string(), &["q"])])
            .await;
    }
    let owed = first.owed(20).await;
    first.deliver(owed[..5].iter().map(|owed| owed.delivery));
    first.until("settled", |counts| counts.delivered == 5).await;
    // The files as a kill would leave them: not closed, no checkpoint.
    for file in ["journal.db", "journal.db-wal", "mark"] {
        std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    }
    let mut second = Running::open(copy.path());
    let owed = second.owed(15).await;
    let expected: Vec<_> = (5..20).map(|id| (id.to_string(), Some(id + 1))).collect();
    assert_eq!(second.read(&owed).await, expected);
    assert_eq!(
        second.submit(vec![event("c", "7", &["q"])]).await,
        Ok(vec![Admitted::Duplicate])
    );
    second.close();
    first.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_of_one_group_are_admitted_in_order_of_arrival() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::open(directory.path());
    let mut callbacks: Vec<_> = (0..200)
        .map(|id| callback(vec![event("c", &format!("{id:03}"), &["q"])]))
        .collect();
    callbacks.reverse();
    // The writer is kept busy meanwhile, so that the rest becomes one group.
    let gate = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
    gate.execute_batch("BEGIN IMMEDIATE").unwrap();
    let fate = running
        .journal
        .intake
        .submit(callback(vec![event("x", "first", &["q"])]));
    let mut fate = Box::pin(fate);
    assert!(futures_util::poll!(&mut fate).is_pending());
    let mut waiting: Vec<_> = callbacks
        .into_iter()
        .map(|callback| Box::pin(running.journal.intake.submit(callback)))
        .collect();
    for future in &mut waiting {
        assert!(futures_util::poll!(future).is_pending());
    }
    gate.execute_batch("ROLLBACK").unwrap();
    fate.await.map(drop).unwrap();
    for answer in join_all(waiting).await {
        assert_eq!(answer.unwrap().outcomes(), [Admitted::Accepted]);
    }
    let owed = running.owed(201).await;
    let read = running.read(&owed).await;
    let mut ids: Vec<_> = read.into_iter().map(|(id, _)| id).collect();
    ids.retain(|id| id != "first");
    // What the writer had collected when it was blocked is one group, and everything that waited behind it is another:
    // these were offered later, so their arrival numbers are the earlier ones.
    let groups: Vec<_> = ids.chunk_by(|one, next| one < next).collect();
    assert!(groups.len() <= 2, "{ids:?}");
    running.close();
}

#[tokio::test]
async fn a_second_process_is_refused_and_so_is_another_format() {
    let directory = tempfile::tempdir().unwrap();
    let first = Running::open(directory.path());
    let second = Running::tuned(&settings(directory.path()), unlimited());
    assert!(matches!(second, Err(JournalError::Locked { .. })));
    first.close();
    for other in [2, 7] {
        let database = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
        database
            .execute("UPDATE meta SET value = ?1 WHERE key = 'format'", [other])
            .unwrap();
        drop(database);
        match Running::tuned(&settings(directory.path()), unlimited()) {
            Err(JournalError::Format { found, known, .. }) => {
                assert_eq!((found, known), (other, 3));
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("format {other} was opened"),
        }
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_an_error_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let opened = Running::tuned(&settings(&file.join("journal")), unlimited());
    assert!(matches!(opened, Err(JournalError::JournalDirectory { .. })));
}

#[tokio::test]
async fn duplicates_are_known_across_a_restart_and_owe_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let first = Running::open(directory.path());
    let twice = vec![event("c", "1", &["q"]), event("c", "1", &["q"])];
    assert_eq!(
        first.submit(twice).await,
        Ok(vec![Admitted::Accepted, Admitted::Duplicate])
    );
    let mut other = event("c", "1", &["q"]);
    other.identity.digest = 1;
    assert_eq!(
        first.submit(vec![other]).await,
        Ok(vec![Admitted::Accepted])
    );
    assert_eq!(first.close().owed, 2);
    let second = Running::open(directory.path());
    let again = vec![event("c", "1", &["q"])];
    assert_eq!(second.submit(again).await, Ok(vec![Admitted::Duplicate]));
    assert_eq!(second.close().owed, 0);
}

#[tokio::test]
async fn sequences_and_bindings_go_on_across_a_restart_without_gaps() {
    let directory = tempfile::tempdir().unwrap();
    let both = CallIds {
        connection: Some("c".into()),
        server_call: Some("s".into()),
        recording: Some("r".into()),
        ..CallIds::default()
    };
    let recording = CallIds {
        recording: Some("r".into()),
        ..CallIds::default()
    };
    let mut first = Running::open(directory.path());
    first.accept(vec![event_of(both, "1", &["q"])]).await;
    let owed = first.owed(1).await;
    first.deliver([owed[0].delivery]);
    first.until("settled", |counts| counts.delivered == 1).await;
    first.close();
    let mut second = Running::open(directory.path());
    second.accept(vec![event_of(recording, "2", &["q"])]).await;
    let owed = second.owed(1).await;
    assert_eq!(second.read(&owed).await, [("2".to_owned(), Some(2))]);
    let payload = second
        .journal
        .payloads
        .fetch(owed[0].delivery)
        .await
        .unwrap();
    assert_eq!(payload.record.call.as_ref().unwrap().as_str(), "c");
    second.close();
}

#[tokio::test]
async fn a_full_journal_takes_nothing_new_and_forgets_what_it_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut tight = settings(directory.path());
    tight.limit_deliveries = 2;
    tight.destination_share = 1.0;
    let mut running = Running::tuned(&tight, unlimited()).unwrap();
    running.accept(vec![event("c", "1", &["q"])]).await;
    let two = vec![event("c", "2", &["q"]), event("c", "3", &["q"])];
    assert!(matches!(
        running.submit(two.clone()).await,
        Err(JournalRefusal::Full(LimitReached {
            used: 1,
            needed: 2,
            limit: 2,
            unit: "deliveries"
        }))
    ));
    assert_eq!(running.status.health.view().journal, JournalState::Full);
    assert_eq!(running.check_law().refused, 2);
    assert_eq!(
        running.submit(vec![event("c", "1", &["q"])]).await,
        Ok(vec![Admitted::Duplicate])
    );
    let owed = running.owed(1).await;
    running.deliver([owed[0].delivery]);
    running.until("settled", |counts| counts.pending == 0).await;
    assert_eq!(running.status.health.view().journal, JournalState::Writable);
    running.accept(two).await;
    let owed = running.owed(2).await;
    let expected = [("2".to_owned(), Some(2)), ("3".to_owned(), Some(3))];
    assert_eq!(running.read(&owed).await, expected);
    running.close();
}

#[tokio::test]
async fn a_destination_with_a_full_share_refuses_its_own_callbacks_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut tight = settings(directory.path());
    tight.limit_bytes = 8_000;
    tight.destination_share = 0.25;
    let running = Running::tuned(&tight, unlimited()).unwrap();
    running.accept(vec![event("c", "1", &["stuck"])]).await;
    running.accept(vec![event("c", "2", &["stuck"])]).await;
    let both = running
        .submit(vec![event("c", "3", &["fine", "stuck"])])
        .await;
    assert!(
        matches!(both, Err(JournalRefusal::DestinationFull { destination, .. }) if destination == "queue stuck")
    );
    running.accept(vec![event("c", "3", &["fine"])]).await;
    assert_eq!(running.status.health.view().journal, JournalState::Writable);
    running.close();
}

/// `count` events of calls of their own, for this target.
fn events_for(target: &Target, count: usize) -> Vec<Offer> {
    (0..count)
        .map(|n| Offer {
            targets: vec![target.clone()],
            ..event(
                &uuid::Uuid::new_v4().to_string(),
                &format!("{target:?} {n}"),
                &[],
            )
        })
        .collect()
}

#[tokio::test]
async fn the_partitions_of_a_queue_and_the_keys_of_an_exchange_have_one_share() {
    let directory = tempfile::tempdir().unwrap();
    let mut tight = settings(directory.path());
    tight.limit_deliveries = 40;
    tight.destination_share = 0.25;
    let running = Running::tuned(&tight, unlimited()).unwrap();
    let partitioned = Target::Queue {
        name: "stuck".into(),
        partitions: std::num::NonZeroU32::new(4),
        queue_type: QueueType::Quorum,
    };
    running.accept(events_for(&partitioned, 10)).await;
    let one_more = vec![event("c", "p", &["fine"]), {
        let mut more = events_for(&partitioned, 11);
        more.remove(10)
    }];
    assert_eq!(
        running.submit(one_more).await,
        Err(JournalRefusal::DestinationFull {
            destination: "queue stuck".into(),
            bound: LimitReached {
                used: 10,
                needed: 1,
                limit: 10,
                unit: "deliveries"
            }
        })
    );
    for n in 0..10 {
        let key = Target::Exchange {
            exchange: "stuck".into(),
            routing_key: format!("key.{n}").into(),
        };
        running.accept(events_for(&key, 1)).await;
    }
    let key = Target::Exchange {
        exchange: "stuck".into(),
        routing_key: "another".into(),
    };
    let refused = running.submit(events_for(&key, 1)).await;
    assert!(
        matches!(&refused, Err(JournalRefusal::DestinationFull { destination, .. }) if destination == "exchange stuck"),
        "{refused:?}"
    );
    for id in 0..10 {
        let id = id.to_string();
        running.accept(vec![event(&id, &id, &["fine"])]).await;
    }
    assert_eq!(running.status.health.view().journal, JournalState::Writable);
    running.close();

    // The same after a restart.
    let running = Running::tuned(&tight, unlimited()).unwrap();
    let refused = running.submit(events_for(&key, 1)).await;
    assert!(matches!(
        refused,
        Err(JournalRefusal::DestinationFull { .. })
    ));
    running.close();
}

#[tokio::test]
async fn what_never_fits_is_told_so_and_leaves_the_journal_writable() {
    let directory = tempfile::tempdir().unwrap();
    let mut tight = settings(directory.path());
    tight.limit_deliveries = 40;
    tight.destination_share = 0.25;
    let running = Running::tuned(&tight, unlimited()).unwrap();
    for (queues, count, limit) in [(&["q"][..], 11, 10), (&["a", "b", "c", "d", "e"], 9, 40)] {
        let many = (0..count)
            .map(|n| event(&n.to_string(), &n.to_string(), queues))
            .collect();
        let Err(JournalRefusal::NeverFits(bound)) = running.submit(many).await else {
            panic!("taken");
        };
        assert_eq!((bound.used, bound.limit), (0, limit));
        assert_eq!(running.status.health.view().journal, JournalState::Writable);
    }
    running.accept(vec![event("c", "1", &["q"])]).await;
    running.close();
}

#[tokio::test]
async fn evicted_payloads_are_read_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let tuning = Tuning {
        cache_bytes: 4_000,
        ..Tuning::default()
    };
    let mut running = Running::tuned(&settings(directory.path()), tuning).unwrap();
    for id in 0..50 {
        running
            .accept(vec![event("c", &id.to_string(), &["q"])])
            .await;
    }
    let owed = running.owed(50).await;
    let expected: Vec<_> = (0..50).map(|id| (id.to_string(), Some(id + 1))).collect();
    assert_eq!(running.read(&owed).await, expected);
    running.close();
}

#[tokio::test]
async fn a_poisoned_delivery_moves_to_quarantine_with_its_number_and_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::open(directory.path());
    running.accept(vec![event("c", "1", &["q", "r"])]).await;
    let owed = running.owed(2).await;
    let poisoned = Settlement::Poisoned(owed[0].delivery, refused());
    running
        .journal
        .settle
        .report(vec![poisoned.clone(), poisoned]);
    let moved = running.owed(1).await;
    assert_eq!(moved[0].lane, None);
    let counts = running.check_law();
    assert_eq!((counts.owed, counts.moved, counts.pending), (3, 1, 2));
    // The other delivery of its record goes, the record stays.
    running.deliver([owed[1].delivery]);
    running
        .until("settled", |counts| counts.delivered == 1)
        .await;
    running.close();

    let mut again = Running::open(directory.path());
    let owed = again.owed(1).await;
    assert_eq!(again.read(&owed).await, [("1".to_owned(), Some(1))]);
    let payload = again
        .journal
        .payloads
        .fetch(owed[0].delivery)
        .await
        .unwrap();
    assert!(
        matches!(&payload.destination.address, Address::Queue { name, .. } if name == QUARANTINE)
    );
    assert_eq!(payload.moved.unwrap().reason, QuarantineReason::Unsendable);
    // Refused by the quarantine itself: it stays where it is and this process does not retry it.
    again
        .journal
        .settle
        .report(vec![Settlement::Poisoned(owed[0].delivery, refused())]);
    again.accept(vec![event("c", "2", &["q"])]).await;
    assert_eq!(again.check_law().pending, 2);
    assert_eq!(again.status.health.view().notices.len(), 1);
    again.close();
    assert_eq!(Running::open(directory.path()).close().pending, 2);
}

#[tokio::test]
async fn a_broken_event_is_kept_for_the_quarantine_without_a_number() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::open(directory.path());
    assert_eq!(
        running
            .submit(vec![broken("1"), event("c", "2", &["q"])])
            .await,
        Ok(vec![Admitted::Quarantined, Admitted::Accepted])
    );
    let owed = running.owed(2).await;
    assert_eq!(owed[0].lane, None);
    let expected = [("1".to_owned(), None), ("2".to_owned(), Some(1))];
    assert_eq!(running.read(&owed).await, expected);
    running.close();
}

#[tokio::test]
async fn a_full_disk_refuses_and_what_it_refused_is_taken_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let (tuning, fault) = with_fault();
    let mut running = Running::tuned(&settings(directory.path()), tuning).unwrap();
    running.accept(vec![event("c", "1", &["q"])]).await;
    let owed = running.owed(1).await;
    fault.set(Some(InjectedFault::DiskFull));
    let offered = vec![event("c", "2", &["q"])];
    assert_eq!(
        running.submit(offered.clone()).await,
        Err(JournalRefusal::DiskFull)
    );
    assert_eq!(running.status.health.view().journal, JournalState::DiskFull);
    assert!(!directory.path().join("reserve").exists());
    // What is confirmed meanwhile is confirmed, although it cannot be deleted.
    running.deliver([owed[0].delivery]);
    running
        .until("settled", |counts| counts.delivered == 1)
        .await;
    fault.set(None);
    running
        .until("room again", |_| {
            running.status.health.view().journal == JournalState::Writable
        })
        .await;
    assert!(directory.path().join("reserve").exists());
    running.accept(offered).await;
    let owed = running.owed(1).await;
    assert_eq!(running.read(&owed).await, [("2".to_owned(), Some(2))]);
    assert_eq!(running.close().pending, 1);
    assert_eq!(Running::open(directory.path()).close().recovered, 1);
}

#[tokio::test]
async fn a_failed_fsync_refuses_until_restart_and_lets_no_lane_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (tuning, fault) = with_fault();
    let mut running = Running::tuned(&settings(directory.path()), tuning).unwrap();
    running.accept(vec![event("c", "1", &["q"])]).await;
    let owed = running.owed(1).await;
    fault.set(Some(InjectedFault::Fsync));
    let offered = vec![event("c", "2", &["q"])];
    assert_eq!(
        running.submit(offered.clone()).await,
        Err(JournalRefusal::Failed)
    );
    fault.set(None);
    assert_eq!(
        running.submit(offered.clone()).await,
        Err(JournalRefusal::Failed)
    );
    assert_eq!(running.status.health.view().journal, JournalState::Failed);
    assert_eq!(running.read(&owed).await, [("1".to_owned(), Some(1))]);
    running.deliver([owed[0].delivery]);
    running.until("settled", |counts| counts.pending == 0).await;
    // If its lane were released, the next process would send it again after a newer one.
    assert!(running.journal.feed.try_recv().is_err());
    running.close();
    // Its delete was never written: it is sent once more, which a consumer can tell by its number.
    let mut again = Running::open(directory.path());
    let owed = again.owed(1).await;
    assert_eq!(again.read(&owed).await, [("1".to_owned(), Some(1))]);
    again.accept(offered).await;
    again.close();
}

#[tokio::test]
async fn after_closing_the_answer_is_that_it_is_closing() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::open(directory.path());
    let intake = running.journal.intake.clone();
    running.close();
    let answer = intake.submit(callback(vec![event("c", "1", &["q"])])).await;
    assert_eq!(
        answer.map(|receipt| receipt.outcomes().len()),
        Err(JournalRefusal::Closing)
    );
}

#[tokio::test]
async fn every_metric_is_there_from_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::open(directory.path());
    let text = |running: &Running| {
        prometheus::TextEncoder::new()
            .encode_to_string(&running.status.registry.gather())
            .unwrap()
    };
    let first = text(&running);
    for line in [
        "hookswitch_journal_bytes 0",
        "hookswitch_journal_records 0",
        "hookswitch_journal_oldest_unpublished_age_seconds 0",
        "hookswitch_journal_write_errors_total 0",
        "hookswitch_journal_limit_bytes 67108864",
        "hookswitch_duplicates_evicted_total 0",
        "hookswitch_call_keys 0",
        "hookswitch_journal_salvaged_records_total{outcome=\"lost\"} 0",
        "hookswitch_journal_salvaged_records_total{outcome=\"recovered\"} 0",
        "hookswitch_journal_fsync_duration_seconds_count 0",
        "hookswitch_journal_batch_size_count 0",
    ] {
        assert!(first.contains(line), "{line} is missing in\n{first}");
    }
    running.accept(vec![event("c", "1", &["q"])]).await;
    let owed = running.owed(1).await;
    assert!(text(&running).contains("hookswitch_journal_records 1"));
    running.deliver([owed[0].delivery]);
    running.until("settled", |counts| counts.pending == 0).await;
    running.accept(vec![event("c", "2", &["q"])]).await;
    assert!(text(&running).contains("hookswitch_journal_records 1"));
    running.close();
}

#[tokio::test]
async fn a_lane_goes_on_only_once_its_delivery_has_left_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::open(directory.path());
    running.accept(vec![event("a", "1", &["q"])]).await;
    let owed = running.owed(1).await;
    running.deliver([owed[0].delivery]);
    assert_eq!(running.settled().await, [owed[0].delivery]);
    // As after a SIGKILL at this instant: what another process finds on the disk.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    assert_eq!(Running::open(copy.path()).check_law().recovered, 0);
    running.close();
}

#[tokio::test]
async fn a_move_to_quarantine_that_finds_no_room_holds_up_no_other_call() {
    let directory = tempfile::tempdir().unwrap();
    let (tuning, fault) = with_fault();
    let mut running = Running::tuned(&settings(directory.path()), tuning).unwrap();
    running
        .accept(vec![event("a", "1", &["q"]), event("b", "2", &["q"])])
        .await;
    let owed = running.owed(2).await;
    fault.set(Some(InjectedFault::DiskFullOnce));
    running.journal.settle.report(vec![
        Settlement::Delivered(owed[0].delivery),
        Settlement::Poisoned(owed[1].delivery, refused()),
    ]);
    assert_eq!(running.settled().await, [owed[0].delivery]);
    let moved = running.owed(1).await;
    assert_eq!(running.settled().await, [owed[1].delivery]);
    running.deliver([moved[0].delivery]);
    running.until("settled", |counts| counts.pending == 0).await;
    running.close();
}
