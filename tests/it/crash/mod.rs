//! The receiver is killed while it accepts events and while deliveries are pending. The conservation laws are checked
//! twice a second throughout.

use std::{sync::atomic::Ordering, time::Duration};

use crate::support::{
    Load, Node, Receiver, Scraper, check_three_queues, eventually,
    goes_on_while_connections_are_closed, three_queues, unique, until_nothing_pending,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_and_a_killed_receiver_lose_nothing_and_keep_order() {
    let node = Node::start();
    let stem = unique("it");
    let mut receiver = Receiver::new(&three_queues(node.url(), &stem));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    node.close_connections_every_second(300);

    let load = Load::new(100, 50);
    let url = receiver.callback_url("it");
    let killing = async {
        eventually("half is sent", Duration::from_secs(120), || async {
            (load.sent.load(Ordering::Relaxed) >= load.total() / 2).then_some(())
        })
        .await;
        receiver.kill();
        receiver.start().await;
    };
    tokio::join!(load.send(&url, 32), killing);

    goes_on_while_connections_are_closed(&receiver, &node).await;
    until_nothing_pending(&receiver).await;
    let salvages = receiver.metric("hookswitch_journal_salvages_total").await;
    assert_eq!(salvages, Some(0.0), "a kill was treated as damage");
    let scrapes = scraper.finish().await;
    let repeats = check_three_queues(node.url(), &stem, &load).await;
    println!(
        "{} events over 32 connections to 3 queues: none lost, none out of order, {repeats} repeats in a row, {scrapes} scrapes held",
        load.total()
    );
    assert_eq!(receiver.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_events_accepted_without_a_broker_arrive_in_order_after_a_kill() {
    let node = Node::stopped();
    let stem = unique("it");
    let mut receiver = Receiver::new(&three_queues(node.url(), &stem));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());

    let load = Load::new(200, 50);
    load.send(&receiver.callback_url("it"), 32).await;
    receiver.kill();
    receiver.start().await;
    node.start_again();

    until_nothing_pending(&receiver).await;
    let scrapes = scraper.finish().await;
    let repeats = check_three_queues(node.url(), &stem, &load).await;
    assert_eq!(repeats, 0, "nothing was sent before the kill");
    println!(
        "{} events kept while the broker was away: all in order, {scrapes} scrapes held",
        load.total()
    );
}
