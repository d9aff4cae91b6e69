//! A queue whose process inside the broker is suspended: no confirm, no nack (P4).

use std::time::{Duration, Instant};

use crate::support::{Calls, Node, Receiver, Scraper, check_calls, take_all, throughout};

use super::{app, url};

/// `stall_timeout`.
const STALL_SECONDS: u64 = 3;

async fn a_stuck_queue_stalls_alone(queue_type: &str) {
    let node = Node::start();
    let mut receiver = Receiver::new(&format!(
        "[delivery]\nstall_timeout = \"{STALL_SECONDS}s\"\n\n[broker]\n{}\n\n{}{}",
        url(node.url()),
        app("stuck", "stuck", queue_type),
        app("free", "free", queue_type),
    ));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut stuck = Calls::new(receiver.callback_url("stuck"), 4);
    let mut free = Calls::new(receiver.callback_url("free"), 2);
    stuck.send(3).await;
    free.send(3).await;
    receiver.until_nothing_pending().await;

    let suspended = Instant::now();
    node.suspend("stuck", true);
    stuck.send(5).await;
    // P4: only the deliveries of the stuck queue are pending, long before the stall timeout.
    free.send(5).await;
    receiver
        .until_metric("hookswitch_deliveries_pending", |pending| pending == 20.0)
        .await;
    let why = receiver.until_destination("queue stuck", "stalled").await;
    assert!(why.contains("stall_timeout"), "{why}");
    // Twice the time after which the channel is closed and opened again. An open channel does not mean that the queue works.
    throughout(
        "the stuck queue is not called ready, the other one not stalled",
        Duration::from_secs(8),
        || async {
            let stuck = receiver.destination("queue stuck").await.expect("there");
            assert_ne!(stuck.0, "ready", "{stuck:?}");
            let free = receiver.destination("queue free").await.expect("there");
            assert_ne!(free.0, "stalled", "{free:?}");
            receiver.ready().await.expect("an answer").0 == 200
        },
    )
    .await;
    free.send(5).await;
    receiver
        .until_metric("hookswitch_deliveries_pending", |pending| pending == 20.0)
        .await;

    node.suspend("stuck", false);
    let tries = suspended.elapsed().as_secs() / STALL_SECONDS + 1;
    stuck.send(1).await;
    receiver.until_nothing_pending().await;
    receiver.until_destination("queue stuck", "ready").await;
    scraper.finish().await;
    for (queue, calls) in [("stuck", &stuck), ("free", &free)] {
        let taken = take_all(node.url(), queue, Duration::from_secs(1), |_| false).await;
        let repeats = check_calls(queue, &[taken], &calls.expected());
        println!("{queue_type} queue {queue}: {repeats} repeats in a row");
        // Four calls were sent at once, and after that one message at a time, each until it stalled.
        let bound = 4 + usize::try_from(tries).expect("few");
        assert!(repeats <= bound, "{queue}: {repeats} repeats, not {bound}");
    }
    assert_eq!(receiver.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_classic_queue_is_held_alone_and_catches_up_in_order() {
    a_stuck_queue_stalls_alone("classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_quorum_queue_is_held_alone_and_catches_up_in_order() {
    a_stuck_queue_stalls_alone("quorum").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_does_not_even_close_is_cut_with_its_connection() {
    let node = Node::start();
    let mut receiver = Receiver::new(&format!(
        "[delivery]\nstall_timeout = \"2s\"\n\n[broker]\n{}\n\n{}{}",
        url(node.url()),
        app("stuck", "stuck", "quorum"),
        app("free", "free", "quorum"),
    ));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut stuck = Calls::new(receiver.callback_url("stuck"), 4);
    let mut free = Calls::new(receiver.callback_url("free"), 2);
    stuck.send(2).await;
    free.send(2).await;
    receiver.until_nothing_pending().await;

    // First the queue, so that its channel has unconfirmed messages; then that channel instead of the queue.
    node.suspend_channel_of("stuck");
    stuck.send(3).await;
    receiver
        .until_metric("hookswitch_broker_reconnects_total", |count| count == 1.0)
        .await;
    let log = receiver.log();
    assert!(log.contains("cutting the connection"), "{log}");
    free.send(5).await;
    stuck.send(5).await;
    receiver.until_nothing_pending().await;
    receiver.until_destination("queue stuck", "ready").await;
    scraper.finish().await;
    for (queue, calls) in [("stuck", &stuck), ("free", &free)] {
        let taken = take_all(node.url(), queue, Duration::from_secs(1), |_| false).await;
        let repeats = check_calls(queue, &[taken], &calls.expected());
        println!("cut, queue {queue}: {repeats} repeats in a row");
    }
    assert_eq!(receiver.stop(), Some(0));
}
