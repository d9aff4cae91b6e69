//! Deliveries arrive in the order of their call (P2).

use std::time::Duration;

use hookswitch::{
    publish::{TakeLimit, take},
    route::QueueType,
};
use tokio_util::sync::CancellationToken;

use crate::support::{Expected, check_calls, connect, delete, shared_amqp_url, take_all, unique};

use super::world::{Plan, World, to_queue};

#[tokio::test(flavor = "multi_thread")]
async fn every_call_arrives_in_order_on_quorum_and_classic_queues() {
    let url = shared_amqp_url();
    for queue_type in [QueueType::Quorum, QueueType::Classic] {
        let queue = unique("order");
        let world = World::open(&Plan::new(&url).queue(&queue, queue_type));
        let target = to_queue(&queue, queue_type);
        let mut expected = Expected::new();
        for n in 0..20 {
            for call in 0..15 {
                let call = format!("call-{call}");
                let ids = world.submit(&target, &call, n..n + 1).await;
                expected.entry(call).or_default().extend(ids);
            }
        }
        world.until_delivered().await;
        let taken = take_all(&url, &queue, Duration::from_secs(10), |taken| {
            taken.len() >= 300
        })
        .await;
        assert_eq!(check_calls(&queue, &[taken], &expected), 0, "no repeats");
        assert_eq!(
            world.metric("hookswitch_publish_total{result=\"ack\"}"),
            300.0
        );
        assert_eq!(world.metric("hookswitch_broker_connected"), 1.0);
        world.drain().await;
        delete(&connect(&url).await, &queue).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_events_of_an_earlier_process_are_delivered_before_newer_ones_of_their_call() {
    let url = shared_amqp_url();
    let queue = unique("restart");
    let target = to_queue(&queue, QueueType::Classic);
    // The first process never reaches the broker: nothing listens on port 1.
    let away = Plan::new("amqp://guest:guest@127.0.0.1:1/%2f").queue(&queue, QueueType::Classic);
    let world = World::open(&away);
    let mut expected = Expected::new();
    let mut ids = world.submit(&target, "call", 0..30).await;
    let dir = world.stop().await;

    let plan = Plan::new(&url).queue(&queue, QueueType::Classic);
    let world = World::open_in(dir, &plan, |_| {});
    ids.extend(world.submit(&target, "call", 30..60).await);
    expected.insert("call".to_owned(), ids);
    world.until_delivered().await;
    let taken = take_all(&url, &queue, Duration::from_secs(10), |taken| {
        taken.len() >= 60
    })
    .await;
    check_calls(&queue, &[taken], &expected);
    world.drain().await;
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consume_shows_events_in_order_and_leaves_what_it_did_not_show() {
    let url = shared_amqp_url();
    let queue = unique("consume");
    let target = to_queue(&queue, QueueType::Quorum);
    let plan = Plan::new(&url).queue(&queue, QueueType::Quorum);
    let world = World::open(&plan);
    let ids = world.submit(&target, "call", 0..10).await;
    world.until_delivered().await;
    let mut shown = Vec::new();
    for (count, idle) in [(Some(4), None), (None, Some(Duration::from_secs(1)))] {
        let enough = TakeLimit { count, idle };
        let stop = CancellationToken::new();
        take(&plan.broker, &queue, enough, &stop, |event| {
            shown.push(serde_json::to_value(event).map_err(std::io::Error::other)?);
            Ok(())
        })
        .await
        .unwrap();
    }
    let got: Vec<_> = shown
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!(got, ids);
    assert_eq!(shown[9]["sequence"], 10);
    assert_eq!(shown[9]["event"]["id"], "call/9");
    assert_eq!(shown[9]["queue"], queue);
    world.drain().await;
    delete(&connect(&url).await, &queue).await;
}
