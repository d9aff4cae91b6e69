//! Two receivers in `confirm` mode behind a plain load balancer. Senders wait for their 2xx and send the same bytes again
//! until it comes. If a receiver dies, stops, hangs or loses its broker, each queue still holds every event that was
//! answered 2xx, and each call is in order once repeats by `message_id` are dropped.
//!
//! The reason: the first copy of an event that a receiver confirmed is in the queue before its sender gets the answer, and
//! so before the next event of the call is sent. Any later copy, from either receiver, is a repeat.

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;

use crate::support::{
    Balancer, Expected, Node, Proxy, Receiver, Scraper, Taken, call_events, connect, delete,
    post_until_accepted, shared_amqp_url, take_all, unique,
};

const SENDERS: usize = 32;
/// The number of calls: many for a kill under load, some if the fault slows everything down.
const MANY: usize = 104;
const SOME: usize = 48;
const EVENTS: usize = 30;

/// All events in a partitioned quorum queue and in a classic one, digits in a third.
fn config(url: &str, stem: &str, confirm_timeout: &str) -> String {
    format!(
        r#"
[delivery]
accept_after = "confirm"
confirm_timeout = "{confirm_timeout}"

[broker]
url = "{url}"

[[apps]]
name = "it"
auth = "none"

[[routes]]
name = "all"
queue = "{stem}.calls"
partitions = 2

[[routes]]
name = "again"
queue = "{stem}.again"
queue_type = "classic"

[[routes]]
name = "digits"
kinds = ["DtmfReceived"]
queue = "{stem}.digits"
"#
    )
}

/// Calls whose events are sent in callbacks of `batch` events, one callback of a call after the other.
struct Load {
    /// Callback bodies, by call.
    calls: Vec<Vec<String>>,
    expected: Expected,
    expected_digits: Expected,
    accepted: AtomicUsize,
    total: usize,
}

impl Load {
    fn new(calls: usize, batch: usize) -> Self {
        let mut load = Self {
            calls: Vec::new(),
            expected: Expected::new(),
            expected_digits: Expected::new(),
            accepted: AtomicUsize::new(0),
            total: calls * EVENTS.div_ceil(batch),
        };
        for _ in 0..calls {
            let call = uuid::Uuid::new_v4().to_string();
            let events = call_events(&call, EVENTS);
            let callbacks = events.chunks(batch).map(|events| {
                let events = events.iter().map(|(_, body)| {
                    let body = body.strip_prefix('[').and_then(|b| b.strip_suffix(']'));
                    body.expect("an array of one")
                });
                format!("[{}]", events.collect::<Vec<_>>().join(","))
            });
            load.calls.push(callbacks.collect());
            let ids = |digits: bool| {
                let events = events.iter();
                events
                    .filter(|(_, body)| !digits || body.contains("ToneReceived"))
                    .map(|(id, _)| id.clone())
                    .collect()
            };
            load.expected_digits.insert(call.clone(), ids(true));
            load.expected.insert(call, ids(false));
        }
        load
    }

    async fn send(&self, url: &str) {
        let share = self.calls.len().div_ceil(SENDERS);
        join_all(self.calls.chunks(share).map(|calls| async move {
            let client = reqwest::Client::new();
            let longest = calls.iter().map(Vec::len).max().unwrap_or(0);
            for n in 0..longest {
                for body in calls.iter().filter_map(|bodies| bodies.get(n)) {
                    // Panics on any answer except 202 and 503.
                    post_until_accepted(&client, url, body).await;
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                }
            }
        }))
        .await;
    }

    fn is_over(&self) -> bool {
        self.accepted.load(Ordering::Relaxed) == self.total
    }
}

/// Two receivers, a balancer, and the load that goes through it.
struct Site {
    url: String,
    stem: String,
    receivers: [Receiver; 2],
    balancer: Balancer,
    load: Load,
}

/// The messages in the queues beyond one copy of each event.
#[derive(Default)]
struct Repeats {
    in_a_row: usize,
    later: usize,
}

impl Site {
    async fn open(url: &str, confirm_timeout: &str, timeout: Duration, load: Load) -> Self {
        let stem = unique("replicas");
        let config = config(url, &stem, confirm_timeout);
        let mut receivers = [Receiver::new(&config), Receiver::new(&config)];
        for receiver in &mut receivers {
            receiver.start().await;
        }
        let ports = receivers.each_ref().map(|receiver| receiver.port);
        Self {
            url: url.to_owned(),
            stem,
            balancer: Balancer::before(&ports, timeout).await,
            receivers,
            load,
        }
    }

    /// Sends everything while `trouble` affects one receiver after the other; returns the number of rounds.
    async fn run(&mut self, mut trouble: impl AsyncFnMut(&mut Receiver)) -> usize {
        let scrapers = self
            .receivers
            .each_ref()
            .map(|receiver| Scraper::start(receiver.metrics_url()));
        let (load, receivers) = (&self.load, &mut self.receivers);
        let url = self.balancer.callback_url("it");
        let troubling = async {
            let mut rounds = 0;
            loop {
                for receiver in receivers.iter_mut() {
                    odd_pause(rounds).await;
                    if load.is_over() {
                        return rounds;
                    }
                    trouble(receiver).await;
                    rounds += 1;
                }
            }
        };
        let ((), rounds) = tokio::join!(load.send(&url), troubling);
        for scraper in scrapers {
            scraper.finish().await;
        }
        rounds
    }

    /// Stops both receivers, reads the queues to their ends and checks the messages.
    async fn check(&mut self, what: &str, rounds: usize) {
        assert!(rounds > 0, "{what} before all was sent");
        let answered = self.balancer.answered();
        let share = self.load.total / 10;
        assert!(answered.iter().all(|count| *count > share), "{answered:?}");
        for receiver in &mut self.receivers {
            let connected = "hookswitch_broker_connected";
            receiver.until_metric(connected, |is| is == 1.0).await;
            assert_eq!(receiver.stop(), Some(0));
        }
        let mut repeats = Repeats::default();
        let (all, digits) = (&self.load.expected, &self.load.expected_digits);
        let families = [
            (&["calls.0", "calls.1"][..], all),
            (&["again"], all),
            (&["digits"], digits),
        ];
        let connection = connect(&self.url).await;
        for (names, expected) in families {
            let names = names.iter().map(|name| format!("{}.{name}", self.stem));
            let names: Vec<String> = names.collect();
            let queues = join_all(
                names
                    .iter()
                    .map(|name| take_all(&self.url, name, Duration::from_secs(2), |_| false)),
            )
            .await;
            check_order(&names.join(", "), &queues, expected, &mut repeats);
            for name in &names {
                delete(&connection, name).await;
            }
        }
        println!(
            "{what}, {rounds} times: {} callbacks through two receivers ({answered:?} answers, {} not answered): none lost, \
             none out of order, {} repeats in a row, {} later ones",
            self.load.total,
            self.balancer.given_up(),
            repeats.in_a_row,
            repeats.later,
        );
    }
}

/// A pause that differs from round to round, so that the fault hits another point of the work each time.
async fn odd_pause(round: usize) {
    let spread = u64::try_from(round).expect("small") * 7_919 % 400;
    // The test varies the instant, so there is no condition to wait for.
    tokio::time::sleep(Duration::from_millis(50 + spread)).await;
}

/// Starts a killed receiver and waits until it can publish: if both were always killed before that, no callback would ever
/// be accepted. It does not wait for readiness, which takes two seconds more.
async fn revive(receiver: &mut Receiver) {
    receiver.spawn();
    let connected = "hookswitch_broker_connected";
    receiver.until_metric(connected, |is| is == 1.0).await;
}

/// Each call is in one queue, which holds exactly the events that were answered 2xx, in order, once repeats by
/// `message_id` are dropped.
fn check_order(what: &str, queues: &[Vec<Taken>], expected: &Expected, repeats: &mut Repeats) {
    let mut calls: HashMap<&str, (usize, Vec<&str>)> = HashMap::new();
    for (queue, messages) in queues.iter().enumerate() {
        let mut known = BTreeSet::new();
        let mut last: HashMap<&str, &str> = HashMap::new();
        for message in messages {
            let call = message.call.as_deref().expect("keyed events only");
            assert_eq!(message.sequence, None, "{what}: no sequence in this mode");
            let (first_queue, ids) = calls.entry(call).or_insert((queue, Vec::new()));
            assert_eq!(*first_queue, queue, "{what}: call {call} is in two queues");
            if known.insert(message.id.as_str()) {
                ids.push(&message.id);
            } else if last.get(call) == Some(&message.id.as_str()) {
                repeats.in_a_row += 1;
            } else {
                repeats.later += 1;
            }
            last.insert(call, &message.id);
        }
    }
    for (call, ids) in expected {
        let got = calls.remove(call.as_str()).map(|(_, ids)| ids);
        assert_eq!(
            &got.unwrap_or_default(),
            ids,
            "{what}: events of call {call}"
        );
    }
    assert!(calls.is_empty(), "{what}: calls that were never sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_loses_nothing_and_keeps_order() {
    let timeout = Duration::from_secs(10);
    let mut site = Site::open(&shared_amqp_url(), "2s", timeout, Load::new(MANY, 1)).await;
    let kills = site
        .run(async |receiver| {
            receiver.kill();
            odd_pause(3).await;
            revive(receiver).await;
        })
        .await;
    site.check("killed", kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_keep_order_too_while_replicas_are_killed() {
    let timeout = Duration::from_secs(10);
    let mut site = Site::open(&shared_amqp_url(), "2s", timeout, Load::new(MANY, 5)).await;
    let kills = site
        .run(async |receiver| {
            receiver.kill();
            revive(receiver).await;
        })
        .await;
    site.check("killed while batches came", kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_answers_202_or_503_or_closes_and_loses_nothing() {
    let timeout = Duration::from_secs(10);
    let mut site = Site::open(&shared_amqp_url(), "2s", timeout, Load::new(MANY, 1)).await;
    let restarts = site
        .run(async |receiver| {
            assert_eq!(receiver.stop_under_load().await, Some(0));
            receiver.start().await;
        })
        .await;
    site.check("stopped in order and started again", restarts)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_whose_broker_connections_are_closed_keep_order() {
    let node = Node::start();
    let timeout = Duration::from_secs(10);
    let mut site = Site::open(node.url(), "1s", timeout, Load::new(SOME, 1)).await;
    node.close_connections_every_second(300);
    let kills = site
        .run(async |receiver| {
            receiver.kill();
            revive(receiver).await;
            // Some seconds of work between two kills, in which only connections are lost.
            tokio::time::sleep(Duration::from_secs(3)).await;
        })
        .await;
    // The reader's own connections would be closed, too.
    node.leave_connections_open();
    site.check("killed while connections were closed", kills)
        .await;
}

/// The balancer gives up first; then the stopped receiver resumes with requests that were sent again to the other long ago.
async fn sleepers(what: &str, load: Load) {
    let timeout = Duration::from_millis(400);
    let mut site = Site::open(&shared_amqp_url(), "300ms", timeout, load).await;
    let sleeps = site
        .run(async |receiver| {
            receiver.suspend();
            tokio::time::sleep(Duration::from_secs(1)).await;
            receiver.resume();
        })
        .await;
    site.check(what, sleeps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_replica_that_wakes_after_the_resend_only_repeats() {
    sleepers("suspended", Load::new(SOME, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_keep_order_too_while_replicas_are_stopped() {
    sleepers("suspended while batches came", Load::new(SOME, 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_keep_order_too_while_what_was_sent_is_lost_on_its_way() {
    let url = shared_amqp_url();
    let proxy = Proxy::before(&url).await;
    let timeout = Duration::from_secs(5);
    let load = Load::new(SOME, 3);
    let mut site = Site::open(&proxy.url(&url), "300ms", timeout, load).await;
    let losses = site
        .run(async |receiver| {
            // Longer than the wait of a callback: by then it was sent again, perhaps to the same receiver.
            proxy.hold_up();
            tokio::time::sleep(Duration::from_millis(700)).await;
            proxy.cut();
            proxy.let_go();
            let connected = "hookswitch_broker_connected";
            receiver.until_metric(connected, |is| is == 0.0).await;
            receiver.until_metric(connected, |is| is == 1.0).await;
            // Some work between two losses.
            tokio::time::sleep(Duration::from_secs(1)).await;
        })
        .await;
    site.check("lost on the way while batches came", losses)
        .await;
}
