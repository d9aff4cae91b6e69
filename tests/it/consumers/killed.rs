//! Both consumers behind a receiver, each with a copy of every event, while connections are closed and the consumers are
//! killed.

use std::time::Duration;

use super::{
    program::{Consumer, Program},
    store::check,
};
use crate::support::{Load, Node, Receiver, unique};

const CALLS: usize = 30;
const EVENTS: usize = 20;
/// Events of each call that are sent while connections are closed, and while no consumer runs. The rest is sent while the
/// consumers are killed, so that they are busy.
const CUT: usize = 8;
const AWAY: usize = 18;
const CONNECTIONS: usize = 10;
/// Long enough that a killed consumer is nearly always in the middle of an event.
const WORK: Duration = Duration::from_millis(15);

fn two_destinations(url: &str, stem: &str) -> String {
    let route = |program: Program| {
        let name = program.name();
        format!(
            "[[routes]]\nname = \"{name}\"\napp = \"it\"\nqueue = \"{stem}.{name}\"\npartitions = 2\n\n"
        )
    };
    format!(
        "[broker]\nurl = \"{url}\"\n\n[[apps]]\nname = \"it\"\nauth = \"none\"\n\n{}{}",
        route(Program::Python),
        route(Program::Node)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_are_cut_off_and_killed_half_way_handle_each_event_once_and_in_order() {
    let node = Node::start();
    let stem = unique("it");
    let mut receiver = Receiver::new(&two_destinations(node.url(), &stem));
    receiver.start().await;
    let [mut python, mut javascript] = [Program::Python, Program::Node].map(|program| {
        let queues = [0, 1].map(|n| format!("{stem}.{}.{n}", program.name()));
        let mut consumer = Consumer::new(program, node.url(), &queues, WORK);
        consumer.start();
        consumer
    });
    let load = Load::new(CALLS, EVENTS);
    let url = receiver.callback_url("it");

    let cutting = async {
        for consumer in [&python, &javascript] {
            consumer.until_handled(CALLS).await;
        }
        node.close_connections_every_second(1);
        for consumer in [&python, &javascript] {
            // Once for each of its queues.
            consumer.until_said("again in about", 2).await;
        }
    };
    tokio::join!(load.send_part(&url, CONNECTIONS, 0..CUT), cutting);

    for consumer in [&mut python, &mut javascript] {
        assert_eq!(consumer.stop().await, Some(0));
    }
    load.send_part(&url, CONNECTIONS, CUT..AWAY).await;
    for consumer in [&mut python, &mut javascript] {
        consumer.start();
    }
    let killing = async {
        tokio::join!(kill_half_way(&mut python), kill_half_way(&mut javascript));
    };
    tokio::join!(load.send_part(&url, CONNECTIONS, AWAY..EVENTS), killing);

    for consumer in [&mut python, &mut javascript] {
        consumer.until_handled(load.total()).await;
        assert_eq!(consumer.stop().await, Some(0));
    }
    receiver.until_nothing_pending().await;
    check("Python", &python.rows(), &load.calls);
    check("Node", &javascript.rows(), &load.calls);
    println!(
        "{} events to each consumer, cut off, stopped and killed: each handled once, in order; {} and {} repeats dropped",
        load.total(),
        python.said("dropped"),
        javascript.said("dropped")
    );
    assert_eq!(receiver.stop(), Some(0));
}

async fn kill_half_way(consumer: &mut Consumer) {
    consumer.until_handled(CALLS * EVENTS / 2).await;
    let before = consumer.said("(redelivered)");
    consumer.kill();
    let handled = consumer.rows().len();
    assert!(handled < CALLS * EVENTS, "{handled}: it was too late");
    consumer.start();
    // Its current event is redelivered.
    consumer.until_said("(redelivered)", before + 1).await;
}
