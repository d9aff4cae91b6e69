//! The store of `confirm` mode.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{
    dispatch::{DeliveryId, PendingDelivery, Refused},
    event::CallIds,
    status::JournalState,
};

use crate::journal::{
    Admitted, Callback, FeedItem, JournalRefusal, LimitReached, OpenJournal, Receipt, Settlement,
    test_support::{Running, broken, callback, event, event_of, settings, status},
    volatile,
};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);
const TIMEOUT: Duration = Duration::from_secs(10);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Receipt, JournalRefusal>> + 'a>>;

fn open(timeout: Duration, limit_bytes: u64) -> Running {
    let status = status();
    let mut settings = settings(std::path::Path::new("nowhere"));
    settings.limit_bytes = limit_bytes;
    let journal = volatile(timeout, 1_000, &settings, &status).unwrap();
    Running { journal, status }
}

/// Offers a callback without waiting for the answer.
async fn offer(journal: &OpenJournal, callback: Arc<Callback>) -> Answer<'static> {
    let intake = journal.intake.clone();
    let mut answer: Answer<'static> = Box::pin(async move { intake.submit(callback).await });
    assert!(futures_util::poll!(answer.as_mut()).is_pending());
    answer
}

async fn outcomes(answer: Answer<'_>) -> Result<Vec<Admitted>, JournalRefusal> {
    tokio::time::timeout(TIMEOUT, answer)
        .await
        .expect("the answer comes in time")
        .map(|receipt| receipt.outcomes().to_vec())
}

async fn item(running: &mut Running) -> FeedItem {
    tokio::time::timeout(TIMEOUT, running.journal.feed.recv())
        .await
        .expect("an item comes in time")
        .expect("the feed is open")
}

async fn withdrawn(running: &mut Running) -> Vec<DeliveryId> {
    match item(running).await {
        FeedItem::Withdraw(ids) => ids,
        other => panic!("not withdrawn: {other:?}"),
    }
}

fn forget(running: &Running, owed: &[PendingDelivery]) {
    let forgotten = owed
        .iter()
        .map(|owed| Settlement::Forgotten(owed.delivery))
        .collect();
    running.journal.settle.report(forgotten);
}

#[tokio::test]
async fn the_answer_comes_when_the_last_delivery_is_confirmed() {
    let mut running = open(LONG, 1_000_000);
    let answer = offer(
        &running.journal,
        callback(vec![event("c", "1", &["q", "r"]), broken("2")]),
    )
    .await;
    let owed = running.owed(3).await;
    assert_eq!(
        owed[0].lane.map(|lane| lane.call),
        owed[1].lane.map(|lane| lane.call)
    );
    assert!(owed[0].lane.is_some() && owed[2].lane.is_none());
    let expected = [("1", None), ("1", None), ("2", None)].map(|(id, n)| (id.to_owned(), n));
    assert_eq!(running.read(&owed).await, expected);
    running.deliver([owed[0].delivery, owed[2].delivery]);
    running.until("two", |counts| counts.delivered == 2).await;
    assert_eq!(
        running.check_law().received,
        0,
        "no callback was answered yet"
    );
    running.deliver([owed[1].delivery]);
    assert_eq!(
        outcomes(answer).await,
        Ok(vec![Admitted::Accepted, Admitted::Quarantined])
    );
    let counts = running.check_law();
    assert_eq!((counts.owed, counts.delivered, counts.pending), (3, 3, 0));
    assert!(
        running
            .journal
            .payloads
            .fetch(owed[0].delivery)
            .await
            .is_err()
    );
    // From now on it is a duplicate.
    assert_eq!(
        running.submit(vec![event("c", "1", &["q", "r"])]).await,
        Ok(vec![Admitted::Duplicate])
    );
    running.close();
}

#[tokio::test]
async fn at_the_timeout_what_is_not_settled_is_withdrawn_and_a_resend_goes_only_where_it_is_pending()
 {
    let mut running = open(SHORT, 1_000_000);
    let answer = offer(
        &running.journal,
        callback(vec![event("c", "1", &["q", "r"])]),
    )
    .await;
    let owed = running.owed(2).await;
    running.deliver([owed[0].delivery]);
    assert_eq!(outcomes(answer).await, Err(JournalRefusal::NotConfirmed));
    assert_eq!(withdrawn(&mut running).await, [owed[1].delivery]);
    let counts = running.check_law();
    assert_eq!((counts.refused, counts.delivered), (1, 1));
    forget(&running, &owed[1..]);

    let answer = offer(
        &running.journal,
        callback(vec![event("c", "1", &["q", "r"])]),
    )
    .await;
    let again = running.owed(1).await;
    assert_eq!(again[0].destination, owed[1].destination);
    assert_ne!(again[0].delivery, owed[1].delivery);
    running.deliver([again[0].delivery]);
    assert_eq!(outcomes(answer).await, Ok(vec![Admitted::Accepted]));
    running.close();
}

#[tokio::test]
async fn an_undelivered_refused_event_is_new_when_resent() {
    let mut running = open(SHORT, 1_000_000);
    let answer = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
    let owed = running.owed(1).await;
    assert_eq!(outcomes(answer).await, Err(JournalRefusal::NotConfirmed));
    withdrawn(&mut running).await;
    forget(&running, &owed);
    let answer = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
    let again = running.owed(1).await;
    running.deliver([again[0].delivery]);
    assert_eq!(outcomes(answer).await, Ok(vec![Admitted::Accepted]));
    running.close();
}

#[tokio::test]
async fn a_duplicate_waits_for_the_outcome_of_the_first_and_is_not_sent_again() {
    let mut running = open(LONG, 1_000_000);
    let first = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
    let twice = vec![event("c", "1", &["q"]), event("c", "1", &["q"])];
    let second = offer(&running.journal, callback(twice)).await;
    let third = offer(&running.journal, callback(vec![event("c", "2", &["q"])])).await;
    let owed = running.owed(2).await;
    running.deliver(owed.iter().map(|owed| owed.delivery));
    assert_eq!(outcomes(first).await, Ok(vec![Admitted::Accepted]));
    assert_eq!(
        outcomes(second).await,
        Ok(vec![Admitted::Duplicate, Admitted::Duplicate])
    );
    assert_eq!(outcomes(third).await, Ok(vec![Admitted::Accepted]));
    running.close();
}

#[tokio::test]
async fn a_resend_while_the_first_is_being_withdrawn_gets_what_lands_or_a_new_delivery() {
    for lands in [true, false] {
        let mut running = open(Duration::from_millis(300), 1_000_000);
        let first = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
        let owed = running.owed(1).await;
        assert_eq!(outcomes(first).await, Err(JournalRefusal::NotConfirmed));
        assert_eq!(withdrawn(&mut running).await, [owed[0].delivery]);
        let second = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
        // An event after it in the same queue shows that the resend has been processed.
        let marker = offer(&running.journal, callback(vec![event("d", "2", &["q"])])).await;
        let marked = running.owed(1).await;
        if lands {
            running.deliver([owed[0].delivery]);
        } else {
            forget(&running, &owed);
            let again = running.owed(1).await;
            running.deliver([again[0].delivery]);
        }
        running.deliver([marked[0].delivery]);
        assert_eq!(outcomes(second).await, Ok(vec![Admitted::Accepted]));
        assert_eq!(outcomes(marker).await, Ok(vec![Admitted::Accepted]));
        running.close();
    }
}

#[tokio::test]
async fn a_batch_that_comes_again_while_its_first_event_may_still_fail_is_not_overtaken_by_itself()
{
    let batch = || vec![event("c", "1", &["q"]), event("c", "2", &["q"])];
    let mut running = open(Duration::from_secs(1), 1_000_000);
    let first = offer(&running.journal, callback(batch())).await;
    let owed = running.owed(2).await;
    assert_eq!(outcomes(first).await, Err(JournalRefusal::NotConfirmed));
    // The last one first: if the first one were withdrawn alone, the second would be sent in its place.
    assert_eq!(
        withdrawn(&mut running).await,
        [owed[1].delivery, owed[0].delivery]
    );
    // The second waited behind the first, which was sent, and it is unknown whether it arrived.
    forget(&running, &owed[1..]);
    assert_eq!(
        running.submit(batch()).await,
        Err(JournalRefusal::NotConfirmed)
    );
    // An event that is alone in its call waits as usual.
    let alone = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
    forget(&running, &owed[..1]);
    let again = running.owed(1).await;
    let second = offer(&running.journal, callback(batch())).await;
    let behind = running.owed(1).await;
    let ids = running.read(&[again[0], behind[0]]).await;
    assert_eq!(ids, [("1".to_owned(), None), ("2".to_owned(), None)]);
    running.deliver([again[0].delivery, behind[0].delivery]);
    assert_eq!(outcomes(alone).await, Ok(vec![Admitted::Accepted]));
    assert_eq!(
        outcomes(second).await,
        Ok(vec![Admitted::Duplicate, Admitted::Accepted])
    );
    running.check_law();
    running.close();
}

#[tokio::test]
async fn a_poisoned_delivery_is_waited_for_in_the_quarantine() {
    let mut running = open(LONG, 1_000_000);
    let answer = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
    let owed = running.owed(1).await;
    let refused = Refused {
        code: 406,
        text: "too large".into(),
    };
    running
        .journal
        .settle
        .report(vec![Settlement::Poisoned(owed[0].delivery, refused)]);
    let moved = running.owed(1).await;
    let payload = running
        .journal
        .payloads
        .fetch(moved[0].delivery)
        .await
        .unwrap();
    assert_eq!(
        payload.destination.channel_name(),
        "queue hookswitch.quarantine"
    );
    assert!(payload.moved.is_some());
    running.deliver([moved[0].delivery]);
    assert_eq!(outcomes(answer).await, Ok(vec![Admitted::Accepted]));
    let counts = running.check_law();
    assert_eq!((counts.owed, counts.moved, counts.delivered), (2, 1, 1));
    running.close();
}

#[tokio::test]
async fn the_call_key_is_a_function_of_the_event_alone() {
    let mut running = open(LONG, 1_000_000);
    let both = CallIds {
        connection: Some("c".into()),
        server_call: Some("s".into()),
        ..CallIds::default()
    };
    let server = CallIds {
        server_call: Some("s".into()),
        ..CallIds::default()
    };
    let answer = offer(
        &running.journal,
        callback(vec![
            event_of(both, "1", &["q"]),
            event_of(server, "2", &["q"]),
        ]),
    )
    .await;
    let owed = running.owed(2).await;
    let payload = running
        .journal
        .payloads
        .fetch(owed[1].delivery)
        .await
        .unwrap();
    assert_eq!(payload.record.call.as_ref().unwrap().as_str(), "s");
    running.deliver(owed.iter().map(|owed| owed.delivery));
    assert!(outcomes(answer).await.is_ok());
    running.close();
}

#[tokio::test]
async fn beyond_its_memory_it_is_full_and_recovers() {
    let mut running = open(LONG, 2_500);
    let first = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
    let owed = running.owed(1).await;
    let much = vec![event("c", "2", &["q"]), event("c", "3", &["q"])];
    assert!(matches!(
        running.submit(much).await,
        Err(JournalRefusal::Full(LimitReached { unit: "bytes", .. }))
    ));
    running.deliver([owed[0].delivery]);
    assert_eq!(outcomes(first).await, Ok(vec![Admitted::Accepted]));
    let again = offer(&running.journal, callback(vec![event("c", "2", &["q"])])).await;
    let owed = running.owed(1).await;
    running.deliver([owed[0].delivery]);
    assert_eq!(outcomes(again).await, Ok(vec![Admitted::Accepted]));
    running.close();
}

#[tokio::test]
async fn it_says_full_until_what_was_refused_would_fit_whatever_the_bound() {
    let status = status();
    let mut settings = settings(std::path::Path::new("nowhere"));
    settings.limit_deliveries = 2;
    let journal = volatile(LONG, 1_000, &settings, &status).unwrap();
    let mut running = Running { journal, status };
    let state = |running: &Running| running.status.health.view().journal;
    let both = vec![event("c", "1", &["q"]), event("d", "2", &["q"])];
    let first = offer(&running.journal, callback(both)).await;
    let owed = running.owed(2).await;
    let refused = running.submit(vec![event("e", "3", &["q"])]).await;
    assert!(matches!(
        refused,
        Err(JournalRefusal::Full(LimitReached {
            unit: "deliveries",
            ..
        }))
    ));
    running
        .until("said", |_| state(&running) == JournalState::Full)
        .await;
    // A callback larger than the total limit says nothing about the current room.
    let many = (0..3).map(|n| event("e", &n.to_string(), &["q"])).collect();
    let refused = running.submit(many).await;
    assert!(matches!(refused, Err(JournalRefusal::NeverFits(_))));
    running.deliver(owed.iter().map(|owed| owed.delivery));
    assert!(outcomes(first).await.is_ok());
    running
        .until("said", |_| state(&running) == JournalState::Writable)
        .await;
    running.close();
}

/// A store in which `count` callbacks wait for the queue `stuck`, and their deliveries.
async fn waiting_for_stuck(
    timeout: Duration,
    waiting_limit: u64,
    count: usize,
) -> (Running, Vec<Answer<'static>>, Vec<PendingDelivery>) {
    let status = status();
    let settings = settings(std::path::Path::new("nowhere"));
    let journal = volatile(timeout, waiting_limit, &settings, &status).unwrap();
    let mut running = Running { journal, status };
    let mut waiting = Vec::new();
    for n in 0..count {
        let n = n.to_string();
        waiting.push(offer(&running.journal, callback(vec![event(&n, &n, &["stuck"])])).await);
    }
    let owed = running.owed(count).await;
    (running, waiting, owed)
}

#[tokio::test]
async fn a_queue_that_does_not_confirm_has_a_share_of_those_that_wait() {
    let (mut running, mut waiting, owed) = waiting_for_stuck(LONG, 20, 20).await;
    let both = vec![event("c", "both", &["fine", "stuck"])];
    assert_eq!(
        running.submit(both.clone()).await,
        Err(JournalRefusal::DestinationFull {
            destination: "queue stuck".into(),
            bound: LimitReached {
                used: 20,
                needed: 1,
                limit: 20,
                unit: "callbacks"
            }
        })
    );
    let fine = offer(&running.journal, callback(vec![event("c", "f", &["fine"])])).await;
    let another = running.owed(1).await;
    running.deliver([another[0].delivery]);
    assert!(outcomes(fine).await.is_ok());
    // With one confirm there is a permit again.
    running.deliver([owed[0].delivery]);
    assert!(outcomes(waiting.remove(0)).await.is_ok());
    let again = offer(&running.journal, callback(both)).await;
    let more = running.owed(2).await;
    running.deliver(more.iter().chain(&owed).map(|owed| owed.delivery));
    assert!(outcomes(again).await.is_ok());
    running.close();
}

#[tokio::test]
async fn what_goes_to_a_queue_that_stands_still_is_refused_at_once() {
    let timeout = Duration::from_secs(20);
    let patience = timeout / 2;
    let (mut running, mut waiting, owed) = waiting_for_stuck(timeout, 1_000, 16).await;
    std::thread::sleep(patience);
    let late = vec![event("late", "late", &["stuck"])];
    assert_eq!(
        running.submit(late.clone()).await,
        Err(JournalRefusal::NotConfirmed)
    );
    // Earlier callbacks keep waiting, and other queues are not affected.
    assert!(futures_util::poll!(waiting[0].as_mut()).is_pending());
    let fine = offer(&running.journal, callback(vec![event("c", "f", &["fine"])])).await;
    let another = running.owed(1).await;
    running.deliver([another[0].delivery]);
    assert!(outcomes(fine).await.is_ok());
    // It recovers with the first confirm.
    running.deliver([owed[0].delivery]);
    assert!(outcomes(waiting.remove(0)).await.is_ok());
    let late = offer(&running.journal, callback(late)).await;
    let more = running.owed(1).await;
    running.deliver(owed.iter().chain(&more).map(|owed| owed.delivery));
    assert!(outcomes(late).await.is_ok());
    running.close();
}

#[tokio::test]
async fn waiting_callbacks_are_refused_at_close() {
    let mut running = open(LONG, 1_000_000);
    let answer = offer(&running.journal, callback(vec![event("c", "1", &["q"])])).await;
    running.owed(1).await;
    let counts = running.close();
    assert_eq!(outcomes(answer).await, Err(JournalRefusal::Closing));
    assert_eq!((counts.refused, counts.owed), (1, 0));
}
