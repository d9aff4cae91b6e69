//! Missing, mismatched, retired destinations; returns.

use std::time::Duration;

use hookswitch::{
    config::Config,
    publish::{TopologyStatus, compare},
    route::{QueueType, Target},
    status::DestinationState,
};
use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions},
    types::FieldTable,
};

use crate::support::{
    Expected, check_calls, connect, declare, delete, eventually, shared_amqp_url, take_all, unique,
};

use super::world::{Plan, TIMEOUT, World, to_queue};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_holds_only_itself_and_catches_up_when_it_is_there() {
    let url = shared_amqp_url();
    let (there, missing) = (unique("there"), unique("missing"));
    let connection = connect(&url).await;
    declare(&connection, &there, "classic").await;
    let mut plan = Plan::new(&url)
        .queue(&there, QueueType::Classic)
        .queue(&missing, QueueType::Classic);
    plan.broker.declare = false;
    let world = World::open(&plan);
    let mut expected = [Expected::new(), Expected::new()];
    for (queue, expected) in [&missing, &there].into_iter().zip(&mut expected) {
        let target = to_queue(queue, QueueType::Classic);
        expected.insert(
            "call".to_owned(),
            world.submit(&target, "call", 0..20).await,
        );
    }
    let why = world
        .until_state(&format!("queue {missing}"), DestinationState::Missing)
        .await;
    assert!(why.unwrap().contains("no queue"));
    eventually("the other queue is served", TIMEOUT, || async {
        (world.pending() == 20).then_some(())
    })
    .await;
    declare(&connection, &missing, "classic").await;
    world.until_delivered().await;
    for (queue, expected) in [&missing, &there].into_iter().zip(&expected) {
        let taken = take_all(&url, queue, Duration::from_secs(10), |taken| {
            taken.len() >= 20
        })
        .await;
        check_calls(queue, &[taken], expected);
    }

    // Deleted meanwhile: returned messages are sent again, in order, once it is declared.
    delete(&connection, &missing).await;
    let target = to_queue(&missing, QueueType::Classic);
    let ids = world.submit(&target, "later", 0..10).await;
    world
        .until_state(&format!("queue {missing}"), DestinationState::Missing)
        .await;
    assert!(world.metric("hookswitch_publish_total{result=\"returned\"}") >= 1.0);
    declare(&connection, &missing, "classic").await;
    world.until_delivered().await;
    let taken = take_all(&url, &missing, Duration::from_secs(10), |taken| {
        taken.len() >= 10
    })
    .await;
    check_calls(
        &missing,
        &[taken],
        &Expected::from([("later".to_owned(), ids)]),
    );
    world.drain().await;
    delete(&connection, &there).await;
    delete(&connection, &missing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mismatched_queue_holds_only_itself_and_both_sides_are_named() {
    let url = shared_amqp_url();
    let (wrong, right) = (unique("wrong"), unique("right"));
    let connection = connect(&url).await;
    declare(&connection, &wrong, "classic").await;
    let world = World::open(
        &Plan::new(&url)
            .queue(&wrong, QueueType::Quorum)
            .queue(&right, QueueType::Quorum),
    );
    let wrongs = world
        .submit(&to_queue(&wrong, QueueType::Quorum), "w", 0..5)
        .await;
    world
        .submit(&to_queue(&right, QueueType::Quorum), "r", 0..5)
        .await;
    let why = world
        .until_state(&format!("queue {wrong}"), DestinationState::Mismatched)
        .await
        .unwrap();
    assert!(why.contains("quorum") && why.contains("classic"), "{why}");
    world
        .until_state(&format!("queue {right}"), DestinationState::Ready)
        .await;
    assert_eq!(
        world.metric(&format!(
            "hookswitch_destination_state{{destination=\"queue {wrong}\",state=\"mismatched\"}}"
        )),
        1.0
    );
    eventually("the other queue is served", TIMEOUT, || async {
        (world.pending() == 5).then_some(())
    })
    .await;
    delete(&connection, &wrong).await;
    world.until_delivered().await;
    let taken = take_all(&url, &wrong, Duration::from_secs(10), |taken| {
        taken.len() >= 5
    })
    .await;
    check_calls(
        &wrong,
        &[taken],
        &Expected::from([("w".to_owned(), wrongs)]),
    );
    world.drain().await;
    delete(&connection, &wrong).await;
    delete(&connection, &right).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_holds_its_routing_key_and_no_other() {
    let url = shared_amqp_url();
    let (exchange, queue, late) = (unique("exchange"), unique("bound"), unique("late"));
    let connection = connect(&url).await;
    let channel = connection.create_channel().await.unwrap();
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Topic,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let bind = |queue: String, key: &'static str| {
        let (connection, channel, exchange) = (&connection, &channel, exchange.clone());
        async move {
            declare(connection, &queue, "classic").await;
            channel
                .queue_bind(
                    queue.into(),
                    exchange.into(),
                    key.into(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                )
                .await
                .unwrap();
        }
    };
    bind(queue.clone(), "bound").await;
    let world = World::open(&Plan::new(&url));
    let target = |key: &str| Target::Exchange {
        exchange: exchange.as_str().into(),
        routing_key: key.into(),
    };
    let mut expected = [Expected::new(), Expected::new()];
    for n in 0..20 {
        for call in ["x", "y", "z"] {
            for (key, expected) in ["bound", "unbound"].iter().zip(&mut expected) {
                let name = format!("{call}-{key}");
                let ids = world.submit(&target(key), &name, n..n + 1).await;
                expected.entry(name).or_default().extend(ids);
            }
        }
    }
    eventually("the bound key is served", TIMEOUT, || async {
        (world.pending() == 60).then_some(())
    })
    .await;
    assert!(world.metric("hookswitch_publish_total{result=\"returned\"}") >= 1.0);
    bind(late.clone(), "unbound").await;
    world.until_delivered().await;
    for (queue, expected) in [&queue, &late].into_iter().zip(&expected) {
        let taken = take_all(&url, queue, Duration::from_secs(10), |taken| {
            taken.len() >= 60
        })
        .await;
        check_calls(queue, &[taken], expected);
        delete(&connection, queue).await;
    }
    world.drain().await;
    channel
        .exchange_delete(exchange.into(), ExchangeDeleteOptions::default())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_left_the_configuration_is_served_and_forgotten() {
    let url = shared_amqp_url();
    let queue = unique("retired");
    let name = format!("queue {queue}");
    let target = to_queue(&queue, QueueType::Classic);
    let away = Plan::new("amqp://guest:guest@127.0.0.1:1/%2f").queue(&queue, QueueType::Classic);
    let world = World::open(&away);
    world.submit(&target, "call", 0..3).await;
    let dir = world.stop().await;
    let world = World::open_in(dir, &Plan::new(&url), |_| {});
    world.until_state(&name, DestinationState::Retired).await;
    world.until_delivered().await;
    eventually("it is no longer listed", TIMEOUT, || async {
        (!world.health.view().destinations.contains_key(&name)).then_some(())
    })
    .await;
    world.drain().await;
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_compares_and_changes_nothing() {
    let url = shared_amqp_url();
    let (good, absent, wrong) = (unique("good"), unique("absent"), unique("wrong"));
    let connection = connect(&url).await;
    declare(&connection, &good, "quorum").await;
    declare(&connection, &wrong, "classic").await;
    let plan = [&good, &absent, &wrong]
        .into_iter()
        .fold(Plan::new(&url), |plan, name| {
            plan.queue(name, QueueType::Quorum)
        });
    let config = |declare: bool| Config {
        broker: hookswitch::config::Broker {
            declare,
            ..plan.broker.clone()
        },
        routes: plan.routes.clone(),
        ..some_config()
    };
    let status = async |declare: bool, queue: &str| {
        let findings = compare(&config(declare)).await.unwrap();
        let finding = findings
            .iter()
            .find(|finding| finding.destination == format!("queue {queue}"))
            .unwrap();
        (finding.status, finding.detail.clone())
    };
    assert_eq!(status(true, &good).await.0, TopologyStatus::Good);
    assert_eq!(status(true, &absent).await.0, TopologyStatus::ToBeDeclared);
    assert_eq!(status(false, &absent).await.0, TopologyStatus::Missing);
    let (found, detail) = status(true, &wrong).await;
    assert_eq!(found, TopologyStatus::Mismatched);
    assert!(
        detail.contains("quorum") && detail.contains("classic"),
        "{detail}"
    );
    delete(&connection, &good).await;
    delete(&connection, &wrong).await;
}

/// A configuration whose other parts do not matter here.
fn some_config() -> Config {
    let mut sources = hookswitch::config::Sources::development(std::path::Path::new("unused"));
    sources.environment.clear();
    hookswitch::config::load(&sources)
        .expect("the built-in configuration is good")
        .0
}
