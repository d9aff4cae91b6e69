//! Lost connections, the fence, nacks.

use std::time::Duration;

use hookswitch::{route::QueueType, status::DestinationState};
use lapin::{
    options::QueueDeclareOptions,
    types::{AMQPValue, FieldTable},
};

use crate::support::{
    Expected, Proxy, check_calls, connect, delete, eventually, shared_amqp_url, take_all, unique,
};

use super::world::{Plan, TIMEOUT, World, to_queue};

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_nothing_and_repeat_only_in_a_row() {
    let url = shared_amqp_url();
    let proxy = Proxy::before(&url).await;
    let queues = [
        (unique("cut"), QueueType::Quorum),
        (unique("cut"), QueueType::Classic),
    ];
    let plan = queues
        .iter()
        .fold(Plan::new(&proxy.url(&url)), |plan, (name, queue_type)| {
            plan.queue(name, *queue_type)
        });
    let world = World::open(&plan);
    let mut expected = [Expected::new(), Expected::new()];
    for n in 0..60 {
        for ((name, queue_type), expected) in queues.iter().zip(&mut expected) {
            for call in 0..8 {
                let call = format!("{name}-{call}");
                let target = to_queue(name, *queue_type);
                let ids = world.submit(&target, &call, n..n + 1).await;
                expected.entry(call).or_default().extend(ids);
            }
        }
        if n % 6 == 5 {
            // Each time in the middle of publishing.
            eventually("it is connected", TIMEOUT, || async {
                (world.metric("hookswitch_broker_connected") == 1.0).then_some(())
            })
            .await;
            proxy.cut();
        }
    }
    world.until_delivered().await;
    assert!(world.metric("hookswitch_broker_reconnects_total") >= 1.0);
    for ((name, _), expected) in queues.iter().zip(&expected) {
        let taken = take_all(&url, name, Duration::from_secs(2), |_| false).await;
        check_calls(name, &[taken], expected);
    }
    world.drain().await;
    let connection = connect(&url).await;
    for (name, _) in &queues {
        delete(&connection, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_another_connection_holds_the_fence() {
    nothing_is_sent_past_fence(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_an_earlier_process_may_still_send_something_alone() {
    nothing_is_sent_past_fence(1).await;
}

async fn nothing_is_sent_past_fence(n: u8) {
    let url = shared_amqp_url();
    let queue = unique("fence");
    let target = to_queue(&queue, QueueType::Classic);
    let plan = Plan::new(&url).queue(&queue, QueueType::Classic);
    let world = World::open(&plan);
    let instance = world.instance;
    let dir = world.drain().await;

    let holder = connect(&url).await;
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    eventually("the fence is free", TIMEOUT, || async {
        let channel = holder.create_channel().await.ok()?;
        channel
            .queue_declare(
                format!("hookswitch.fence.{instance}.{n}").into(),
                exclusive,
                FieldTable::default(),
            )
            .await
            .ok()
    })
    .await;
    let world = World::open_in(dir, &plan, |_| {});
    world.submit(&target, "call", 0..5).await;
    let quiet = tokio::time::timeout(Duration::from_secs(2), world.until_delivered()).await;
    assert!(quiet.is_err(), "a message was sent without the fence");
    assert_eq!(world.metric("hookswitch_broker_connected"), 0.0);
    // Closing waits for the channels that were refused the fence, and fails on them; dropping closes, too.
    drop(holder.close(200, "OK".into()).await);
    drop(holder);
    world.until_delivered().await;
    world.drain().await;
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_nacks_and_is_filled_in_order_as_it_empties() {
    let url = shared_amqp_url();
    let full = unique("full");
    let other = unique("other");
    let connection = connect(&url).await;
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(5));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    channel
        .queue_declare(
            full.as_str().into(),
            QueueDeclareOptions::durable(),
            arguments,
        )
        .await
        .unwrap();
    channel
        .queue_declare(
            other.as_str().into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let mut plan = Plan::new(&url)
        .queue(&full, QueueType::Classic)
        .queue(&other, QueueType::Classic);
    plan.broker.declare = false;
    let world = World::open(&plan);
    let mut expected = Expected::new();
    for call in ["a", "b", "c", "d"] {
        let target = to_queue(&full, QueueType::Classic);
        expected.insert(call.to_owned(), world.submit(&target, call, 0..10).await);
    }
    eventually("the broker nacks", TIMEOUT, || async {
        (world.metric("hookswitch_publish_total{result=\"nack\"}") >= 1.0).then_some(())
    })
    .await;
    // P4: the other queue is not affected.
    let target = to_queue(&other, QueueType::Classic);
    let mut others = Expected::new();
    others.insert("e".to_owned(), world.submit(&target, "e", 0..10).await);
    let taken = take_all(&url, &other, Duration::from_secs(10), |taken| {
        taken.len() >= 10
    })
    .await;
    check_calls(&other, &[taken], &others);
    let taken = take_all(&url, &full, Duration::from_secs(30), |taken| {
        taken.len() >= 40
    })
    .await;
    check_calls(&full, &[taken], &expected);
    world
        .until_state(&format!("queue {full}"), DestinationState::Ready)
        .await;
    world.drain().await;
    delete(&connection, &full).await;
    delete(&connection, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_is_given_up_and_fenced() {
    let url = shared_amqp_url();
    let proxy = Proxy::before(&url).await;
    let queue = unique("silent");
    let target = to_queue(&queue, QueueType::Classic);
    let world = World::open(&Plan::new(&proxy.url(&url)).queue(&queue, QueueType::Classic));
    let mut ids = world.submit(&target, "call", 0..5).await;
    world.until_delivered().await;
    proxy.mute(true);
    // These messages reach the broker, but its confirms do not come back.
    ids.extend(world.submit(&target, "call", 5..10).await);
    eventually("the connection is given up", TIMEOUT, || async {
        (world.metric("hookswitch_broker_connected") == 0.0).then_some(())
    })
    .await;
    proxy.cut();
    proxy.mute(false);
    world.until_delivered().await;
    let taken = take_all(&url, &queue, Duration::from_secs(2), |_| false).await;
    let expected = Expected::from([("call".to_owned(), ids)]);
    let repeats = check_calls(&queue, &[taken], &expected);
    assert_eq!(repeats, 1, "the one that was unconfirmed");
    world.drain().await;
    delete(&connect(&url).await, &queue).await;
}
