//! A policy of the operator limits a queue, which nacks when it is full.

use std::time::Duration;

use crate::support::{Calls, Node, Receiver, Scraper, check_calls, take_all};

use super::{app, url};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_a_policy_bounds_is_held_alone_and_filled_in_order_as_it_empties() {
    let node = Node::start();
    node.ctl(&[
        "set_policy",
        "bounded",
        "^bounded",
        r#"{"max-length": 5, "overflow": "reject-publish"}"#,
        "--apply-to",
        "queues",
    ]);
    let mut receiver = Receiver::new(&format!(
        "[broker]\n{}\n\n{}{}{}",
        url(node.url()),
        app("one", "bounded.quorum", "quorum"),
        app("two", "bounded.classic", "classic"),
        app("free", "free", "quorum"),
    ));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut bounded = [
        Calls::new(receiver.callback_url("one"), 6),
        Calls::new(receiver.callback_url("two"), 6),
    ];
    for calls in &mut bounded {
        calls.send(10).await;
    }
    let why = receiver
        .until_destination("queue bounded.quorum", "held")
        .await;
    assert!(why.contains("nack"), "{why}");
    receiver
        .until_destination("queue bounded.classic", "held")
        .await;

    let mut free = Calls::new(receiver.callback_url("free"), 4);
    free.send(10).await;
    let taken = take_all(node.url(), "free", Duration::from_secs(10), |taken| {
        taken.len() == 40
    })
    .await;
    assert_eq!(check_calls("free", &[taken], &free.expected()), 0);
    assert_eq!(
        receiver.destination("queue free").await.expect("there").0,
        "ready"
    );
    assert!(
        receiver
            .metric("hookswitch_publish_total{result=\"nack\"}")
            .await
            >= Some(2.0)
    );

    for (calls, queue) in bounded.iter().zip(["bounded.quorum", "bounded.classic"]) {
        let taken = take_all(node.url(), queue, Duration::from_secs(12), |taken| {
            taken.len() == 60
        })
        .await;
        // A nacked message is not in the queue, so there are no repeats.
        assert_eq!(check_calls(queue, &[taken], &calls.expected()), 0);
        receiver
            .until_destination(&format!("queue {queue}"), "ready")
            .await;
    }
    receiver.until_nothing_pending().await;
    scraper.finish().await;
    assert_eq!(receiver.stop(), Some(0));
}
