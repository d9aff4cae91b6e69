//! What the tests of the whole stand on: a broker node, a receiver process, senders, and a reader of queues.

mod balancer;
mod calls;
mod emulator;
mod event;
mod metrics;
mod node;
mod proxy;
mod queue;
mod receiver;
mod sender;
mod tools;

pub(crate) use balancer::Balancer;
pub(crate) use calls::Calls;
pub(crate) use emulator::Emulator;
pub(crate) use event::call_events;
pub(crate) use metrics::Scraper;
pub(crate) use node::{Node, shared_amqp_url};
pub(crate) use proxy::Proxy;
pub(crate) use queue::{Expected, Taken, check_calls, connect, declare, delete, take_all};
pub(crate) use receiver::{Receiver, free_port};
pub(crate) use sender::{post, post_until_accepted};
pub(crate) use tools::{file, tools};

use std::{future::Future, time::Duration};

/// Polls `probe` until it gives a value; panics with `what` after `limit`.
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

/// Looks again and again for `time`; panics with `what` as soon as `holds` says no.
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
