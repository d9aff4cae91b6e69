//! A queue is deleted under load.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use futures_util::future::join_all;

use crate::support::{
    Expected, Load, Receiver, Scraper, Taken, check_calls, connect, declare, delete, eventually,
    partitions, shared_amqp_url, take_all, take_distinct, three_queues, unique,
    until_nothing_pending,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_holds_up_only_itself_and_catches_up_when_it_is_declared_again() {
    let url = shared_amqp_url();
    let stem = unique("it");
    let admin = connect(&url).await;
    for queue in partitions(&stem).iter().chain([
        &format!("{stem}.digits"),
        &"hookswitch.unrouted".to_owned(),
        &"hookswitch.quarantine".to_owned(),
    ]) {
        declare(&admin, queue, "quorum").await;
    }
    declare(&admin, &format!("{stem}.again"), "classic").await;

    // The operator owns the topology here: otherwise the receiver would declare the queue again by itself.
    let config = three_queues(&url, &stem).replacen("[broker]\n", "[broker]\ndeclare = false\n", 1);
    let mut receiver = Receiver::new(&config);
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let load = Load::new(60, 50);
    let callback_url = receiver.callback_url("it");
    let deleted = format!("{stem}.again");

    let taken_before = std::sync::Mutex::new(Vec::new());
    let deleting = async {
        eventually("a third is sent", Duration::from_secs(120), || async {
            (load.sent.load(Ordering::Relaxed) >= load.total() / 3).then_some(())
        })
        .await;
        // The messages taken before the deletion are the beginning; the later ones must continue in order.
        let before = take_all(&url, &deleted, Duration::from_secs(5), |taken| {
            taken.len() >= 200
        })
        .await;
        *taken_before.lock().expect("no panic") = before;
        delete(&admin, &deleted).await;
        let others = confirms(&receiver, &stem).await.others;
        receiver
            .until_destination(&format!("queue {deleted}"), "missing")
            .await;
        (others, confirms(&receiver, &stem).await.deleted)
    };
    let ((), (others, once_missing)) = tokio::join!(load.send(&callback_url, 16), deleting);

    // The other two continue: all their messages are confirmed while the third is missing and confirms nothing.
    let expected = load.total() + load.expected_digits().values().map(Vec::len).sum::<usize>();
    assert!(others < expected, "the deletion came under load");
    eventually("the others continue", Duration::from_secs(60), || async {
        (confirms(&receiver, &stem).await.others >= expected).then_some(())
    })
    .await;
    let missing = confirms(&receiver, &stem).await.deleted;
    assert_eq!(missing, once_missing, "no queue exists that could confirm");
    assert!(
        missing < load.total(),
        "unconfirmed deliveries stay pending"
    );
    let parts = join_all(
        partitions(&stem)
            .iter()
            .map(|queue| async { take_all(&url, queue, Duration::from_secs(3), |_| false).await }),
    )
    .await;
    check_calls("partitioned", &parts, &load.expected());
    let digits = take_distinct(&url, &format!("{stem}.digits")).await;
    check_calls("digits", &[digits], &load.expected_digits());
    let ready_url = format!("http://127.0.0.1:{}/readyz", receiver.admin_port);
    let ready = reqwest::get(ready_url).await.expect("an answer");
    assert_eq!(
        ready.status(),
        200,
        "one missing queue does not make the instance unready"
    );
    let ready = ready.text().await.expect("a body");
    assert!(ready.contains("missing"), "{ready}");

    declare(&admin, &deleted, "classic").await;
    until_nothing_pending(&receiver).await;
    let scrapes = scraper.finish().await;
    let before = taken_before.into_inner().expect("no panic");
    let after = take_distinct(&url, &deleted).await;
    check_tail(
        "deleted and declared again",
        &before,
        &after,
        &load.expected(),
    );
    println!(
        "{} events, one of three queues deleted under load: the others continued, it caught up, {scrapes} scrapes held",
        load.total()
    );

    for queue in partitions(&stem)
        .iter()
        .chain([&format!("{stem}.digits"), &deleted])
    {
        delete(&admin, queue).await;
    }
}

/// Confirms so far, as `/metrics` counts them by destination.
struct Confirms {
    /// Of `{stem}.again`, which is deleted.
    deleted: usize,
    /// Of all others.
    others: usize,
}

async fn confirms(receiver: &Receiver, stem: &str) -> Confirms {
    let mut confirms = Confirms {
        deleted: 0,
        others: 0,
    };
    let again = format!("{stem}.again");
    for queue in partitions(stem)
        .into_iter()
        .chain([again.clone(), format!("{stem}.digits")])
    {
        let name = format!(
            "hookswitch_publish_confirm_duration_seconds_count{{destination=\"queue {queue}\"}}"
        );
        let count = receiver.until_metric(&name, |_| true).await;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of some thousands"
        )]
        let count = count as usize;
        if queue == again {
            confirms.deleted = count;
        } else {
            confirms.others += count;
        }
    }
    confirms
}

/// A queue was deleted with its messages, so each call may miss a run in the middle: confirmed before the deletion and
/// not taken by the test. The later events must be in order, without gaps, to the end.
fn check_tail(what: &str, before: &[Taken], after: &[Taken], expected: &Expected) {
    let mut calls: HashMap<&str, Vec<i64>> = HashMap::new();
    for message in after {
        let call = message.call.as_deref().expect("keyed events only");
        calls
            .entry(call)
            .or_default()
            .push(message.sequence.expect("a sequence"));
    }
    for (call, ids) in expected {
        let mut sequences = calls.remove(call.as_str()).unwrap_or_default();
        sequences.dedup();
        let last = i64::try_from(ids.len()).expect("small");
        let first = sequences.first().copied().unwrap_or(last + 1);
        let run: Vec<i64> = (first..=last).collect();
        assert_eq!(sequences, run, "{what}: call {call} from {first} on");
        let taken = before
            .iter()
            .filter(|message| message.call.as_deref() == Some(call))
            .filter_map(|message| message.sequence)
            .max()
            .unwrap_or(0);
        assert!(
            first <= last,
            "{what}: call {call} continued after the deletion"
        );
        assert!(
            taken <= first,
            "{what}: call {call} goes back before what was taken"
        );
    }
    assert!(calls.is_empty(), "{what}: calls that were never sent");
}
