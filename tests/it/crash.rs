//! The promises under fire: connections cut, the receiver killed, the broker away, a queue deleted. The conservation
//! laws are checked twice a second throughout.

use std::{
    collections::HashMap,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;

use crate::harness::{
    Expected, Node, Receiver, Scraper, call_events, check_calls, connect, declare, delete,
    eventually, post_until_accepted, shared_amqp_url, take_all, unique,
};

/// Three destinations: everything in a partitioned queue, everything in a classic one, digits in a third.
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

fn partitions(stem: &str) -> Vec<String> {
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

    fn expected_digits(&self) -> Expected {
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

/// Waits until the receiver owes nothing: long enough for a busy machine, where most of a second goes by until queues whose
/// connection is cut each second are ready again, and longer than such cuts go on.
pub(crate) async fn owes_nothing(receiver: &Receiver) {
    let url = receiver.metrics_url();
    eventually("nothing is owed", Duration::from_secs(420), || async {
        let text = reqwest::get(&url).await.ok()?.text().await.ok()?;
        text.lines()
            .any(|line| line == "hookswitch_deliveries_pending 0")
            .then_some(())
    })
    .await;
}

async fn take_distinct(url: &str, queue: &str) -> Vec<crate::harness::Taken> {
    // Nothing is owed any more, so everything is in the queue: a pause means its end.
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

    owes_nothing(&receiver).await;
    let salvages = receiver.metric("hookswitch_journal_salvages_total").await;
    assert_eq!(salvages, Some(0.0), "a kill was taken for damage");
    let scrapes = scraper.finish().await;
    // The reader's own connections would be cut as well.
    node.stop();
    node.start_again();
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

    owes_nothing(&receiver).await;
    let scrapes = scraper.finish().await;
    let repeats = check_three_queues(node.url(), &stem, &load).await;
    assert_eq!(repeats, 0, "nothing was sent before the kill");
    println!(
        "{} events kept while the broker was away: all in order, {scrapes} scrapes held",
        load.total()
    );
}

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
        // What a consumer took before the deletion is gone with the queue; what follows must join on to it.
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

    // The other two go on: everything of theirs is confirmed while the third is missing and confirms nothing.
    let expected = load.total() + load.expected_digits().values().map(Vec::len).sum::<usize>();
    assert!(others < expected, "the deletion came under load");
    eventually("the others go on", Duration::from_secs(60), || async {
        (confirms(&receiver, &stem).await.others >= expected).then_some(())
    })
    .await;
    let missing = confirms(&receiver, &stem).await.deleted;
    assert_eq!(missing, once_missing, "nothing is there to confirm");
    assert!(missing < load.total(), "it owes what it could not confirm");
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
        "one missing queue takes nobody out of service"
    );
    let ready = ready.text().await.expect("a body");
    assert!(ready.contains("missing"), "{ready}");

    declare(&admin, &deleted, "classic").await;
    owes_nothing(&receiver).await;
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
        "{} events, one of three queues deleted under load: the others went on, it caught up, {scrapes} scrapes held",
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

/// A queue was deleted with what lay in it, so each call may miss a run in the middle: confirmed before the deletion,
/// not yet taken by the test. What came after must be in order, without gaps, to the end.
fn check_tail(
    what: &str,
    before: &[crate::harness::Taken],
    after: &[crate::harness::Taken],
    expected: &Expected,
) {
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
            "{what}: call {call} went on after the deletion"
        );
        assert!(
            taken <= first,
            "{what}: call {call} goes back before what was taken"
        );
    }
    assert!(calls.is_empty(), "{what}: calls that were never sent");
}
