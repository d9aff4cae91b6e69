//! The promises over a longer time: the receiver is killed or stopped again and again while connections are cut, and the
//! conservation laws are checked as often as possible while events have every possible outcome.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Load, Node, Receiver, Scraper, call_events, check_three_queues,
    goes_on_while_connections_are_closed, post, three_queues, unique, until_nothing_pending,
};

/// A pause that differs from round to round, so that the end hits another point of the work each time.
fn odd_pause(round: u64) -> Duration {
    Duration::from_millis(150 + (round * 7_919) % 900)
}

/// How a round ends.
#[derive(Clone, Copy)]
enum End {
    Kill,
    Stop,
}

/// Ends the receiver `rounds` times under load and starts it again; returns the repeats in the queues.
async fn ended_again_and_again(rounds: u64, end: End) -> usize {
    let node = Node::start();
    let stem = unique("soak");
    let mut receiver = Receiver::new(&three_queues(node.url(), &stem));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    node.close_connections_every_second(300);

    let load = Load::new(24, 250);
    let url = receiver.callback_url("it");
    let ending = async {
        for round in 0..rounds {
            tokio::time::sleep(odd_pause(round)).await;
            match end {
                // At any point, including its start.
                End::Kill => {
                    receiver.kill();
                    receiver.spawn();
                }
                End::Stop => {
                    assert_eq!(receiver.stop_under_load().await, Some(0));
                    receiver.start().await;
                }
            }
        }
    };
    tokio::join!(load.send(&url, 8), ending);
    assert_eq!(load.sent.load(Ordering::Relaxed), load.total());

    goes_on_while_connections_are_closed(&receiver, &node).await;
    until_nothing_pending(&receiver).await;
    scraper.finish().await;
    let repeats = check_three_queues(node.url(), &stem, &load).await;
    assert_eq!(receiver.stop(), Some(0));
    repeats
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_in_a_row_lose_nothing_and_keep_order() {
    let repeats = ended_again_and_again(20, End::Kill).await;
    println!("20 kills: none lost, none out of order, {repeats} repeats in a row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_orderly_stops_under_load_lose_nothing_and_keep_order() {
    let repeats = ended_again_and_again(10, End::Stop).await;
    println!("10 stops: none lost, none out of order, {repeats} repeats in a row");
}

/// A small journal, an app that rejects, one that quarantines, and a broker that refuses large messages.
fn everything(url: &str, stem: &str) -> String {
    format!(
        r#"
limit_bytes = 4000000

[broker]
url = "{url}"

[[apps]]
name = "it"
auth = "none"
on_unknown = "quarantine"

[[apps]]
name = "strict"
auth = "none"
on_invalid = "reject"
on_unknown = "reject"

[[routes]]
name = "all"
queue = "{stem}.calls"
partitions = 2

[[routes]]
name = "digits"
kinds = ["DtmfReceived"]
queue = "{stem}.digits"
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_conservation_laws_hold_in_every_scrape_whatever_happens() {
    let node = Node::start_with("max_message_size = 50000\n");
    let stem = unique("laws");
    let mut receiver = Receiver::new(&everything(node.url(), &stem));
    receiver.start().await;
    node.close_connections_every_second(120);
    let scraper = Scraper::every(Duration::from_millis(5), receiver.metrics_url());
    let over = CancellationToken::new();
    let (it, strict) = (receiver.callback_url("it"), receiver.callback_url("strict"));

    let senders = join_all((0..6).map(|sender| {
        let (it, strict, over) = (it.clone(), strict.clone(), over.clone());
        async move {
            let client = reqwest::Client::new();
            let hasty = reqwest::Client::builder()
                .timeout(Duration::from_millis(4))
                .build()
                .expect("a client");
            let mut statuses = std::collections::BTreeSet::new();
            let mut n = 0_usize;
            while !over.is_cancelled() {
                n += 1;
                let call = format!("{sender}-{n}");
                let (_, good) = call_events(&call, 3).pop().expect("three");
                let invalid = good.replace("callConnectionId", "noConnectionId");
                let unknown = good.replace("Microsoft.Communication.", "Contoso.");
                let large = good.replace(&format!("correlation-{call}"), &"x".repeat(60_000));
                for (url, body) in [
                    (&it, &good),
                    (&it, &good),
                    (&it, &invalid),
                    (&it, &unknown),
                    (&it, &large),
                    (&strict, &invalid),
                    (&strict, &unknown),
                    (&strict, &good),
                ] {
                    if let Ok(answer) = post(&client, url, body).await {
                        statuses.insert(answer.status().as_u16());
                    }
                }
                // Usually hangs up before the answer.
                drop(post(&hasty, &it, &good.replace(&call, "hasty")).await);
            }
            statuses
        }
    }));
    let ending = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        // The journal fills up.
        node.stop();
        tokio::time::sleep(Duration::from_secs(15)).await;
        over.cancel();
    };
    let (statuses, ()) = tokio::join!(senders, ending);
    let statuses: std::collections::BTreeSet<u16> = statuses.into_iter().flatten().collect();
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [202, 422, 503]);
    node.start_again();
    until_nothing_pending(&receiver).await;
    let scrapes = scraper.finish().await;
    println!("{scrapes} scrapes held");
    assert_eq!(receiver.stop(), Some(0));
}
