//! The promises while the broker dies, the network delays packets, or the receiver is stopped for so long that the broker
//! closes its connections.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;

use crate::support::{
    Load, Node, Proxy, Receiver, Scraper, Taken, check_calls, check_three_queues, eventually,
    goes_on_while_connections_are_closed, take_all, three_queues, unique, until_nothing_pending,
};

/// A receiver under load with a proxy before its broker.
struct Scene {
    node: Arc<Node>,
    proxy: Proxy,
    stem: String,
    receiver: Receiver,
    load: Load,
}

impl Scene {
    async fn open(calls: usize, events: usize) -> Self {
        let node = Arc::new(Node::start());
        let proxy = Proxy::before(node.url()).await;
        let stem = unique("outage");
        let mut receiver = Receiver::new(&three_queues(&proxy.url(node.url()), &stem));
        receiver.start().await;
        Self {
            node,
            proxy,
            stem,
            receiver,
            load: Load::new(calls, events),
        }
    }

    /// Sends everything while `trouble` runs, then checks all queues; returns the repeats.
    async fn run(mut self, trouble: impl AsyncFnOnce(&Self)) -> usize {
        let scraper = Scraper::start(self.receiver.metrics_url());
        let url = self.receiver.callback_url("it");
        tokio::join!(self.load.send(&url, 16), async {
            self.after(4).await;
            trouble(&self).await;
        });
        until_nothing_pending(&self.receiver).await;
        scraper.finish().await;
        let repeats = check_three_queues(self.node.url(), &self.stem, &self.load).await;
        assert_eq!(self.receiver.stop(), Some(0));
        repeats
    }

    /// Waits until this part of the load is accepted.
    async fn after(&self, part: usize) {
        let (sent, enough) = (&self.load.sent, self.load.total() / part);
        eventually("a part is sent", Duration::from_secs(120), || async {
            (sent.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
    }

    /// Runs a slow operation on the node while the senders continue.
    async fn apart<T: Send + 'static>(&self, act: impl FnOnce(&Node) -> T + Send + 'static) -> T {
        let node = self.node.clone();
        let acting = tokio::task::spawn_blocking(move || act(&node));
        acting.await.expect("the operation on the node succeeds")
    }

    async fn until_logged(&self, words: &str, times: usize) {
        eventually(words, Duration::from_secs(60), || async {
            (self.receiver.log().matches(words).count() >= times).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_messages_of_a_lost_connection_arrive_before_new_ones() {
    let scene = Scene::open(60, 50).await;
    let repeats = scene
        .run(async |scene| {
            for times in 1..=5 {
                scene.proxy.hold_up_and_hang_up();
                // The broker does not see the end of the connection, and messages sent on it are still on their way.
                scene.until_logged("waiting for its fence", times).await;
                scene.proxy.let_go();
                let connected = "hookswitch_broker_connected";
                scene.receiver.until_metric(connected, |is| is == 1.0).await;
            }
        })
        .await;
    println!("held up and let go five times: {repeats} repeats in a row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_closed_connection_do_not_arrive_later() {
    let scene = Scene::open(60, 50).await;
    let repeats = scene
        .run(async |scene| {
            scene.proxy.hold_up();
            let reconnected = "hookswitch_broker_reconnects_total";
            scene
                .receiver
                .until_metric(reconnected, |count| count >= 1.0)
                .await;
            until_nothing_pending(&scene.receiver).await;
            scene.proxy.let_go();
            // The broker detects the dead connection itself, and gets the time for that.
            let passed = "hookswitch_broker_fences_passed_total";
            assert_eq!(scene.receiver.metric(passed).await, Some(0.0));
        })
        .await;
    println!("held up until the end: {repeats} repeats in a row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_was_stopped_until_the_broker_closed_its_connection_goes_on_in_order() {
    let scene = Scene::open(60, 50).await;
    let repeats = scene
        .run(async |scene| {
            scene.receiver.suspend();
            // Heartbeats are exchanged every ten seconds; the broker waits for three.
            eventually(
                "the broker has given up",
                Duration::from_secs(90),
                || async {
                    let connections = scene.node.ctl(&["list_connections", "name"]);
                    connections.trim().is_empty().then_some(())
                },
            )
            .await;
            scene.receiver.resume();
        })
        .await;
    println!("stopped: {repeats} repeats in a row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_keeps_what_it_confirmed() {
    let scene = Scene::open(60, 100).await;
    let repeats = scene
        .run(async |scene| {
            for part in [4, 3, 2] {
                scene.after(part).await;
                scene
                    .apart(|node| {
                        node.kill();
                        node.start_again();
                    })
                    .await;
            }
        })
        .await;
    println!("broker killed three times: {repeats} repeats in a row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_journals_fill_the_same_queues_each_in_its_own_order() {
    let node = Node::start();
    let stem = unique("shared");
    let config = three_queues(node.url(), &stem);
    let mut receivers = [Receiver::new(&config), Receiver::new(&config)];
    for receiver in &mut receivers {
        receiver.start().await;
    }
    node.close_connections_every_second(300);
    let loads = [Load::new(40, 30), Load::new(40, 30)];
    let urls = receivers.each_ref().map(|one| one.callback_url("it"));
    tokio::join!(
        loads[0].send(&urls[0], 8),
        loads[1].send(&urls[1], 8),
        async {
            for receiver in &mut receivers {
                eventually("it publishes", Duration::from_secs(60), || async {
                    let acked = "hookswitch_publish_total{result=\"ack\"}";
                    receiver.metric(acked).await.filter(|acked| *acked > 50.0)
                })
                .await;
                receiver.kill();
                receiver.spawn();
            }
        }
    );
    goes_on_while_connections_are_closed(&receivers[1], &node).await;
    for receiver in &receivers {
        until_nothing_pending(receiver).await;
    }
    let queues: [String; 4] = std::array::from_fn(|n| format!("{stem}.calls.{n}"));
    let idle_timeout = Duration::from_secs(2);
    let taken = join_all(
        queues
            .iter()
            .map(|queue| take_all(node.url(), queue, idle_timeout, |_| false)),
    )
    .await;
    let mut repeats = 0;
    for load in &loads {
        let expected = load.expected();
        let its_own = |message: &&Taken| {
            let call = message.call.as_deref().expect("keyed events only");
            expected.contains_key(call)
        };
        let queues: Vec<Vec<Taken>> = taken
            .iter()
            .map(|queue| queue.iter().filter(its_own).cloned().collect())
            .collect();
        repeats += check_calls("one journal's", &queues, &expected);
    }
    println!("two journals, two kills: {repeats} repeats in a row");
}
