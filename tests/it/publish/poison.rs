//! A message that can never be sent goes to quarantine, and its call continues.

use std::{collections::HashMap, time::Duration};

use hookswitch::route::{QUARANTINE, QueueType};

use crate::support::{Node, Taken, take_all, unique};

use super::world::{Plan, World, to_queue};

/// Sends ten events, of which the fourth is too large; returns the messages of the queue and of the quarantine.
async fn with_one_too_large(plan: impl FnOnce(&mut Plan), node: &Node) -> (Vec<Taken>, Vec<Taken>) {
    let queue = unique("poison");
    let mut arranged = Plan::new(node.url()).queue(&queue, QueueType::Quorum);
    plan(&mut arranged);
    let world = World::open(&arranged);
    let target = to_queue(&queue, QueueType::Quorum);
    for n in 0..10 {
        let padding = if n == 3 { 100_000 } else { 0 };
        world.submit_sized(&target, "call", n, padding).await;
    }
    // Other messages in the same window as the refused one.
    let mut others = Vec::new();
    for call in 0..5 {
        others.extend(world.submit(&target, &format!("other-{call}"), 0..10).await);
    }
    world.until_delivered().await;
    let counts = world.ledger.snapshot();
    assert_eq!(counts.moved, 1);
    assert_eq!(counts.owed, counts.delivered + counts.moved);
    // Messages beside the refused one are sent again, and may be repeated in a row.
    let mut taken = take_all(node.url(), &queue, Duration::from_secs(2), |_| false).await;
    let mut last = HashMap::new();
    taken.retain(|message| {
        last.insert(message.call.clone(), message.sequence) != Some(message.sequence)
    });
    assert_eq!(taken.len(), 9 + others.len());
    let quarantined = take_all(node.url(), QUARANTINE, Duration::from_secs(2), |_| false).await;
    world.drain().await;
    (
        taken
            .into_iter()
            .filter(|message| message.call.as_deref() == Some("call"))
            .collect(),
        quarantined,
    )
}

fn check(taken: &[Taken], quarantined: &[Taken]) {
    let sequences: Vec<_> = taken
        .iter()
        .filter_map(|message| message.sequence)
        .collect();
    assert_eq!(
        sequences,
        [1, 2, 3, 5, 6, 7, 8, 9, 10],
        "4 keeps its number"
    );
    let [message] = quarantined else {
        panic!("one message in quarantine, not {}", quarantined.len());
    };
    assert_eq!(message.id, "call/3");
    let header = |name: &str| message.headers.get(name).map(String::as_str);
    assert_eq!(header("hookswitch-reason"), Some("unsendable"));
    assert!(header("hookswitch-errors").is_some_and(|errors| errors.starts_with('[')));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_over_max_message_bytes_goes_to_quarantine_cut_to_size() {
    let node = Node::start();
    let (taken, quarantined) =
        with_one_too_large(|plan| plan.broker.max_message_bytes = 50_000, &node).await;
    check(&taken, &quarantined);
    assert_eq!(quarantined[0].body.len(), 50_000);
    assert!(quarantined[0].headers.contains_key("hookswitch-body-bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_broker_refuses_is_found_by_sending_it_alone() {
    let node = Node::start_with("max_message_size = 50000\n");
    let (taken, quarantined) = with_one_too_large(|_| {}, &node).await;
    check(&taken, &quarantined);
    // The broker refuses the body there, too; the headers and properties are kept.
    assert!(quarantined[0].body.is_empty());
}
