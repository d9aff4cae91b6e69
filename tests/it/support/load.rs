//! A load of many calls for three queues, and the check of what the queues hold afterwards.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;

use super::{
    Expected, Node, Receiver, Taken, call_events, check_calls, eventually, post_until_accepted,
    take_all,
};

/// Three destinations: all events in a partitioned queue, all in a classic one, digits in a third.
pub(crate) fn three_queues(url: &str, stem: &str) -> String {
    format!(
        r#"
[broker]
url = "{url}"

[[apps]]
name = "it"
auth = "none"

[[routes]]
name = "all"
app = "it"
queue = "{stem}.calls"
partitions = 4

[[routes]]
name = "again"
app = "it"
queue = "{stem}.again"
queue_type = "classic"

[[routes]]
name = "digits"
app = "it"
kinds = ["DtmfReceived"]
queue = "{stem}.digits"
"#
    )
}

pub(crate) fn partitions(stem: &str) -> Vec<String> {
    (0..4).map(|n| format!("{stem}.calls.{n}")).collect()
}

/// Calls of `events` events each, interleaved over `connections` senders: each sender walks its calls in turn and
/// waits for every answer, so the order of arrival within a call is known.
pub(crate) struct Load {
    pub(crate) calls: Vec<(String, Vec<(String, String)>)>,
    pub(crate) sent: AtomicUsize,
}

impl Load {
    pub(crate) fn new(calls: usize, events: usize) -> Self {
        let calls = (0..calls)
            .map(|_| {
                let call = uuid::Uuid::new_v4().to_string();
                let bodies = call_events(&call, events);
                (call, bodies)
            })
            .collect();
        Self {
            calls,
            sent: AtomicUsize::new(0),
        }
    }

    pub(crate) async fn send(&self, url: &str, connections: usize) {
        let longest = self.calls.iter().map(|(_, bodies)| bodies.len()).max();
        self.send_part(url, connections, 0..longest.unwrap_or(0))
            .await;
    }

    /// Sends these events of each call.
    pub(crate) async fn send_part(&self, url: &str, connections: usize, part: Range<usize>) {
        let share = self.calls.len().div_ceil(connections);
        join_all(self.calls.chunks(share).map(|calls| {
            let part = part.clone();
            async move {
                let client = reqwest::Client::new();
                for n in part {
                    for (_, body) in calls.iter().filter_map(|(_, bodies)| bodies.get(n)) {
                        post_until_accepted(&client, url, body).await;
                        self.sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }))
        .await;
    }

    pub(crate) fn total(&self) -> usize {
        self.calls.iter().map(|(_, bodies)| bodies.len()).sum()
    }

    pub(crate) fn expected(&self) -> Expected {
        self.calls
            .iter()
            .map(|(call, bodies)| {
                (
                    call.clone(),
                    bodies.iter().map(|(id, _)| id.clone()).collect(),
                )
            })
            .collect()
    }

    pub(crate) fn expected_digits(&self) -> Expected {
        self.calls
            .iter()
            .map(|(call, bodies)| {
                let ids = bodies
                    .iter()
                    .filter(|(_, body)| body.contains("ToneReceived"))
                    .map(|(id, _)| id.clone())
                    .collect();
                (call.clone(), ids)
            })
            .collect()
    }
}

/// Waits until more deliveries are confirmed while the node closes connections, or until nothing is pending. Then the node
/// leaves them open: a busy machine would need minutes for the rest.
pub(crate) async fn goes_on_while_connections_are_closed(receiver: &Receiver, node: &Node) {
    const MORE: f64 = 300.0;
    let acked = "hookswitch_publish_total{result=\"ack\"}";
    let before = receiver.until_metric(acked, |_| true).await;
    eventually(
        "more is confirmed while connections are closed",
        Duration::from_secs(300),
        || async {
            let pending = receiver.metric("hookswitch_deliveries_pending").await?;
            let acked = receiver.metric(acked).await?;
            (pending == 0.0 || acked >= before + MORE).then_some(())
        },
    )
    .await;
    node.leave_connections_open();
}

/// Waits until nothing is pending: long enough for a busy machine, which needs most of a second until queues are ready
/// again after a cut, and longer than the cuts last.
pub(crate) async fn until_nothing_pending(receiver: &Receiver) {
    let url = receiver.metrics_url();
    eventually("nothing is pending", Duration::from_secs(420), || async {
        let text = reqwest::get(&url).await.ok()?.text().await.ok()?;
        text.lines()
            .any(|line| line == "hookswitch_deliveries_pending 0")
            .then_some(())
    })
    .await;
}

pub(crate) async fn take_distinct(url: &str, queue: &str) -> Vec<Taken> {
    // Nothing is pending any more, so everything is in the queue: a pause means its end.
    take_all(url, queue, Duration::from_secs(2), |_| false).await
}

pub(crate) async fn check_three_queues(url: &str, stem: &str, load: &Load) -> usize {
    let parts = join_all(
        partitions(stem)
            .iter()
            .map(|queue| take_distinct(url, queue)),
    )
    .await;
    let again = take_distinct(url, &format!("{stem}.again")).await;
    let digits = take_distinct(url, &format!("{stem}.digits")).await;
    check_calls("partitioned", &parts, &load.expected())
        + check_calls("classic", &[again], &load.expected())
        + check_calls("digits", &[digits], &load.expected_digits())
}
