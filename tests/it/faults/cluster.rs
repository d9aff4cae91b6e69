//! In a cluster the node dies that the receiver is connected to.

use std::{
    collections::HashMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::support::{
    Cluster, Expected, Load, Receiver, Scraper, Taken, call_events, eventually, post,
    post_until_accepted, rabbitmq_version, take_all, unique,
};

/// How long the test waits for delivery to continue. The actual interruption is printed.
const TIMEOUT: Duration = Duration::from_secs(120);

fn config(cluster: &Cluster, delivery: &str, stem: &str) -> String {
    format!(
        "[delivery]\n{delivery}\n\n[broker]\nurl = {}\n\n[[apps]]\nname = \"it\"\nauth = \"none\"\n\n[[routes]]\nname = \"all\"\nqueue = \"{stem}\"\npartitions = 3\n",
        cluster.urls()
    )
}

/// The events of a consumer that drops every message not above the last sequence of its call: each event once, in order.
fn check_by_sequence(queues: &[Vec<Taken>], expected: &Expected) -> usize {
    let mut handled: HashMap<&str, (i64, Vec<String>)> = HashMap::new();
    let mut dropped = 0;
    for message in queues.iter().flatten() {
        let call = message.call.as_deref().expect("keyed events only");
        let (last, ids) = handled.entry(call).or_default();
        let sequence = message.sequence.expect("a sequence");
        if sequence > *last {
            *last = sequence;
            ids.push(message.id.clone());
        } else {
            dropped += 1;
        }
    }
    for (call, ids) in expected {
        let got = handled.remove(call.as_str()).unwrap_or_default().1;
        assert_eq!(&got, ids, "events of call {call}");
    }
    assert!(handled.is_empty(), "calls that were never sent");
    dropped
}

async fn take_partitions(url: &str, stem: &str) -> Vec<Vec<Taken>> {
    join_all((0..3).map(|n| async move {
        take_all(url, &format!("{stem}.{n}"), Duration::from_secs(3), |_| {
            false
        })
        .await
    }))
    .await
}

async fn confirmed(receiver: &Receiver) -> Option<f64> {
    receiver
        .metric("hookswitch_publish_total{result=\"ack\"}")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_goes_on_after_the_death_of_the_receivers_node() {
    let version = rabbitmq_version();
    let cluster = Cluster::start();
    let (stem, confirm_stem) = (unique("cluster"), unique("cluster-confirm"));
    let mut receiver = Receiver::new(&config(&cluster, "", &stem));
    receiver.start().await;
    let mut confirming = Receiver::new(&config(
        &cluster,
        "accept_after = \"confirm\"\nconfirm_timeout = \"2s\"",
        &confirm_stem,
    ));
    confirming.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let load = Load::new(30, 100);
    let client = reqwest::Client::new();
    let events = call_events("call-1", 2);
    let confirm_url = confirming.callback_url("it");
    post_until_accepted(&client, &confirm_url, &events[0].1).await;

    // Both use the first URL of the list.
    let fault = async {
        let enough = load.total() / 4;
        eventually("a part is sent", Duration::from_secs(120), || async {
            (load.sent.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
        cluster.nodes[0].kill();
        let dead = Instant::now();
        let before = confirmed(&receiver).await.expect("a count");
        let going_on = async {
            // Earlier confirms may still be counted, but at most one window of them.
            eventually("delivery continues", TIMEOUT, || async {
                (confirmed(&receiver).await? > before + 400.0).then_some(())
            })
            .await;
            dead.elapsed()
        };
        let accepting = async {
            eventually("confirm mode accepts again", TIMEOUT, || async {
                let answer = post(&client, &confirm_url, &events[1].1).await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await;
            dead.elapsed()
        };
        tokio::join!(going_on, accepting)
    };
    let callback_url = receiver.callback_url("it");
    let (_, (delivered, accepted)) = tokio::join!(load.send(&callback_url, 8), fault);
    receiver.until_nothing_pending().await;
    let passed = "hookswitch_broker_fences_passed_total";
    if version.starts_with("RabbitMQ 4.3") {
        assert_eq!(receiver.metric(passed).await, Some(1.0));
        let log = receiver.log();
        assert_eq!(log.matches("passed by the fence").count(), 1, "{log}");
    }
    scraper.finish().await;

    // The next process knows of the dead connection only from its journal, and the node is still away.
    receiver.kill();
    let restarted = Instant::now();
    receiver.start().await;
    let connected = "hookswitch_broker_connected";
    receiver.until_metric(connected, |is| is == 1.0).await;
    let restarted = restarted.elapsed();
    let more = Load::new(3, 10);
    more.send(&callback_url, 3).await;
    receiver.until_nothing_pending().await;

    let url = cluster.nodes[1].url();
    let taken = take_partitions(url, &stem).await;
    let mut expected = load.expected();
    expected.extend(more.expected());
    let dropped = check_by_sequence(&taken, &expected);
    let mut ids: Vec<String> = take_partitions(url, &confirm_stem)
        .await
        .into_iter()
        .flatten()
        .map(|message| message.id)
        .collect();
    ids.dedup();
    let sent: Vec<_> = events.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids, sent);
    println!(
        "{version}, node killed: delivery continued after {:.1} s, confirm mode after {:.1} s, a restarted receiver published \
         after {:.1} s; {dropped} repeats",
        delivered.as_secs_f64(),
        accepted.as_secs_f64(),
        restarted.as_secs_f64()
    );
    assert_eq!(receiver.stop(), Some(0));
    assert_eq!(confirming.stop(), Some(0));
}
