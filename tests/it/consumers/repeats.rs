//! A consumer with repeats, with poison messages, and at a stop.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};

use super::program::{Consumer, Program};
use crate::support::{connect, declare, delete, shared_amqp_url, take_all, unique};

/// A message as Hookswitch would publish it.
#[derive(Clone, Copy)]
struct Sample {
    id: &'static str,
    /// Call and sequence; none in `confirm` mode.
    line: Option<(&'static str, i64)>,
    instance: &'static str,
    received: &'static str,
    body: &'static str,
}

const GOOD: &str = r#"{"specversion":"1.0","type":"Microsoft.Communication.CallConnected"}"#;

/// The `n`th event of a call.
fn sample(call: &'static str, n: i64, id: &'static str) -> Sample {
    Sample {
        id,
        line: Some((call, n)),
        instance: "3f6c2a1e",
        received: "2026-01-02T03:04:05.678Z",
        body: GOOD,
    }
}

fn without_sequence(id: &'static str) -> Sample {
    let line = None;
    Sample {
        line,
        ..sample("", 0, id)
    }
}

async fn publish(channel: &Channel, queue: &str, sample: Sample) {
    let mut headers = FieldTable::default();
    let mut text = |name: &str, value: &str| {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    text("hookswitch-instance", sample.instance);
    text("hookswitch-received", sample.received);
    if let Some((call, sequence)) = sample.line {
        text("hookswitch-call", call);
        headers.insert(
            "hookswitch-sequence".into(),
            AMQPValue::LongLongInt(sequence),
        );
    }
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            sample.body.as_bytes(),
            BasicProperties::default()
                .with_message_id(sample.id.into())
                .with_type("Microsoft.Communication.CallConnected".into())
                .with_delivery_mode(2)
                .with_headers(headers),
        )
        .await
        .expect("published")
        .await
        .expect("confirmed");
}

async fn repeats_and_poison(program: Program) {
    let url = shared_amqp_url();
    let (queue, parking) = (unique("it"), unique("it-parking"));
    let broker = connect(&url).await;
    for queue in [&queue, &parking] {
        declare(&broker, queue, "quorum").await;
    }
    let channel = broker.create_channel().await.expect("a channel");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    let mut consumer = Consumer::new(
        program,
        &url,
        std::slice::from_ref(&queue),
        Duration::from_millis(10),
    )
    .with(&["--parking", &parking]);
    consumer.start();

    let dropped = [
        // The same sequence again, directly after itself; an older one, as a frozen node may deliver it.
        sample("a", 2, "a2"),
        sample("a", 1, "a1"),
        // Without a sequence the id and the content decide.
        without_sequence("x"),
        // From another instance: a sequence that is new, an event that is not.
        Sample {
            instance: "9d0b",
            ..sample("b", 9, "b1")
        },
    ];
    let [second_again, first_again, x_again, elsewhere_again] = dropped;
    let samples = [
        sample("a", 1, "a1"),
        sample("b", 1, "b1"),
        sample("a", 2, "a2"),
        second_again,
        first_again,
        without_sequence("x"),
        x_again,
        Sample {
            body: r#"{"specversion":"1.0","type":"Microsoft.Communication.CallDisconnected"}"#,
            ..without_sequence("x")
        },
        elsewhere_again,
        // Equal events of a sender that gives no ids: the sequence shows that there are two.
        sample("b", 2, "b1"),
        Sample {
            body: "not an event",
            ..sample("a", 3, "a3")
        },
        sample("a", 4, "a4"),
        // A day later the sequences of a silent call start again: an event, not a repeat.
        Sample {
            received: "2026-01-03T04:05:06.789Z",
            ..sample("a", 1, "a1-of-the-next-day")
        },
    ];
    for sample in samples {
        publish(&channel, &queue, sample).await;
    }
    let expected = ["a1", "b1", "a2", "x", "x", "b1", "a4", "a1-of-the-next-day"];
    consumer.until_handled(expected.len()).await;
    consumer.until_said("dropped ", dropped.len()).await;
    let ids: Vec<String> = consumer.rows().into_iter().map(|row| row.id).collect();
    assert_eq!(ids, expected, "{program:?}");

    // Stopped while it waits, and then during work: the current event is finished, the rest stays in order.
    assert_eq!(consumer.stop().await, Some(0), "{program:?}");
    for n in 2..40 {
        publish(
            &channel,
            &queue,
            Sample {
                received: "2026-01-03T04:05:06.789Z",
                ..sample("a", n, "later")
            },
        )
        .await;
    }
    consumer.start();
    consumer.until_handled(expected.len() + 5).await;
    assert_eq!(consumer.stop().await, Some(0), "{program:?}");
    let handled = consumer.rows().len();
    assert!(handled < expected.len() + 38, "{handled}: it was too late");
    consumer.start();
    consumer.until_handled(expected.len() + 38).await;
    let sequences: Vec<i64> = consumer
        .rows()
        .iter()
        .skip(expected.len())
        .filter_map(|row| row.sequence)
        .collect();
    let gapless: Vec<i64> = (2..40).collect();
    assert_eq!(sequences, gapless, "{program:?}");
    assert_eq!(consumer.stop().await, Some(0), "{program:?}");

    let parked = take_all(&url, &parking, Duration::from_secs(10), |taken| {
        !taken.is_empty()
    })
    .await;
    let [parked] = parked.as_slice() else {
        panic!("{program:?}: {} messages are parked", parked.len());
    };
    assert_eq!(
        (parked.id.as_str(), parked.call.as_deref()),
        ("a3", Some("a"))
    );
    assert_eq!(parked.body, b"not an event");
    assert_eq!(*parked.properties.delivery_mode(), Some(2));
    assert_eq!(parked.headers.get("parked-from"), Some(&queue));
    for queue in [&queue, &parking] {
        delete(&broker, queue).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_consumer_drops_repeats_parks_poison_and_stops_without_losing_its_place() {
    repeats_and_poison(Program::Python).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_consumer_drops_repeats_parks_poison_and_stops_without_losing_its_place() {
    repeats_and_poison(Program::Node).await;
}
