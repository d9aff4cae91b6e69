//! Helpers of the integration tests: a broker node, a receiver process, senders, and a reader of queues.

mod balancer;
mod calls;
mod emulator;
mod event;
pub(crate) mod leak_canary;
mod load;
mod metrics;
mod node;
mod outcome;
mod proxy;
mod queue;
mod receiver;
mod sender;
mod token;
mod tools;

pub(crate) use balancer::Balancer;
pub(crate) use calls::Calls;
pub(crate) use emulator::Emulator;
pub(crate) use event::call_events;
pub(crate) use load::{
    Load, check_three_queues, goes_on_while_connections_are_closed, partitions, take_distinct,
    three_queues, until_nothing_pending,
};
pub(crate) use metrics::Scraper;
pub(crate) use node::{Cluster, Node, rabbitmq_version, shared_amqp_url};
pub(crate) use outcome::{counted, skipped};
pub(crate) use proxy::Proxy;
pub(crate) use queue::{Expected, Taken, check_calls, connect, declare, delete, take_all};
pub(crate) use receiver::{Receiver, free_port};
pub(crate) use sender::{post, post_until_accepted};
pub(crate) use token::Issuer;
pub(crate) use tools::{file, tools};

use std::{future::Future, time::Duration};

/// Polls `probe` until it returns a value; panics with `what` after `limit`.
pub(crate) async fn eventually<T, F>(what: &str, limit: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {limit:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A name that no other test and no other run uses.
pub(crate) fn unique(stem: &str) -> String {
    format!("{stem}-{}", uuid::Uuid::new_v4().simple())
}

/// Checks repeatedly for `time`; panics with `what` as soon as `holds` returns false.
pub(crate) async fn throughout<F>(what: &str, time: Duration, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        assert!(holds().await, "not throughout {time:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Keeps the output of a program in the folder that `HOOKSWITCH_TEST_OUTPUT` names: `dev/leak-check` searches it when all tests
/// are over.
fn keep(dir: &std::path::Path, names: &[&str]) {
    let Some(folder) = std::env::var_os("HOOKSWITCH_TEST_OUTPUT") else {
        return;
    };
    for name in names.iter().filter(|name| dir.join(name).exists()) {
        let kept = std::path::Path::new(&folder).join(unique(name));
        // This may run while a test fails, whose message must come first.
        if let Err(error) = std::fs::copy(dir.join(name), kept) {
            eprintln!("cannot keep the output of a program: {error}");
        }
    }
}
