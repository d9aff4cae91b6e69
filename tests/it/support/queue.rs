//! Reads queues to the end and checks promise P2 on their messages.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};

/// One message as a consumer sees it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) id: String,
    pub(crate) call: Option<String>,
    pub(crate) sequence: Option<i64>,
    pub(crate) instance: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: lapin::BasicProperties,
}

pub(crate) async fn connect(url: &str) -> Connection {
    super::eventually(
        "a connection to the broker",
        Duration::from_secs(30),
        || async {
            Connection::connect(url, ConnectionProperties::default())
                .await
                .ok()
        },
    )
    .await
}

/// Declares a queue as the receiver does.
pub(crate) async fn declare(connection: &Connection, queue: &str, queue_type: &str) {
    let channel = connection.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString(queue_type.into()),
    );
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    channel
        .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments)
        .await
        .expect("the queue is declared");
}

pub(crate) async fn delete(connection: &Connection, queue: &str) {
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await
        .expect("the queue is deleted");
}

/// Takes messages from `queue` until `enough` returns true or nothing came for `idle_timeout`.
pub(crate) async fn take_all(
    url: &str,
    queue: &str,
    idle_timeout: Duration,
    mut enough: impl FnMut(&[Taken]) -> bool,
) -> Vec<Taken> {
    // The receiver may be about to declare it. Consuming from a missing queue costs the channel, and consuming at the instant
    // at which a quorum queue is created crashes it inside RabbitMQ 3.10 (541), which costs the connection.
    let (connection, mut consumer) = super::eventually(
        &format!("queue {queue}"),
        Duration::from_secs(30),
        || async {
            let connection = Connection::connect(url, ConnectionProperties::default())
                .await
                .ok()?;
            let channel = connection.create_channel().await.ok()?;
            channel
                .basic_qos(500, BasicQosOptions::default())
                .await
                .ok()?;
            let consumer = channel
                .basic_consume(
                    queue.into(),
                    "test".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await
                .ok()?;
            Some((connection, consumer))
        },
    )
    .await;
    let mut taken = Vec::new();
    while !enough(&taken) {
        let Ok(Some(delivery)) = tokio::time::timeout(idle_timeout, consumer.next()).await else {
            break;
        };
        let delivery = delivery.expect("a delivery");
        taken.push(read(&delivery));
        delivery
            .ack(BasicAckOptions::default())
            .await
            .expect("acknowledged");
    }
    connection.close(200, "done".into()).await.expect("closed");
    taken
}

fn read(delivery: &lapin::message::Delivery) -> Taken {
    let mut headers = BTreeMap::new();
    let mut sequence = None;
    if let Some(table) = delivery.properties.headers() {
        for (name, value) in table.inner() {
            let text = match value {
                AMQPValue::LongString(text) => {
                    String::from_utf8_lossy(text.as_bytes()).into_owned()
                }
                AMQPValue::LongLongInt(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            if let ("hookswitch-sequence", AMQPValue::LongLongInt(number)) = (name.as_str(), value)
            {
                sequence = Some(*number);
            }
            headers.insert(name.to_string(), text);
        }
    }
    Taken {
        id: delivery
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        call: headers.get("hookswitch-call").cloned(),
        sequence,
        instance: headers
            .get("hookswitch-instance")
            .cloned()
            .unwrap_or_default(),
        headers,
        body: delivery.data.clone(),
        properties: delivery.properties.clone(),
    }
}

/// The expected content of a queue: for each call the ids in order.
pub(crate) type Expected = HashMap<String, Vec<String>>;

/// Checks P2 for all calls over the given queues: every id is there, in order, repeats are only in a row, sequences are
/// 1, 2, 3 without gaps on one instance, and no message is unknown. Returns the number of repeats.
pub(crate) fn check_calls(what: &str, queues: &[Vec<Taken>], expected: &Expected) -> usize {
    let mut repeats = 0;
    // For each call its queue, and the ids and sequences of its messages there.
    let mut queue_of: HashMap<&str, usize> = HashMap::new();
    let mut seen: HashMap<&str, Vec<(&str, i64)>> = HashMap::new();
    for (queue, messages) in queues.iter().enumerate() {
        for message in messages {
            let call = message.call.as_deref().expect("keyed events only");
            assert!(
                expected.contains_key(call),
                "{what}: call {call} was never sent"
            );
            let first_queue = *queue_of.entry(call).or_insert(queue);
            assert_eq!(first_queue, queue, "{what}: call {call} is in two queues");
            let events = seen.entry(call).or_default();
            let sequence = message.sequence.expect("a sequence");
            if events.last() == Some(&(message.id.as_str(), sequence)) {
                repeats += 1;
            } else {
                events.push((&message.id, sequence));
            }
        }
    }
    for (call, ids) in expected {
        let got = seen.get(call.as_str()).map_or(&[][..], Vec::as_slice);
        let got_ids: Vec<&str> = got.iter().map(|(id, _)| *id).collect();
        assert_eq!(&got_ids, ids, "{what}: events of call {call}");
        let sequences: Vec<i64> = got.iter().map(|(_, sequence)| *sequence).collect();
        let gapless: Vec<i64> = (1..).take(ids.len()).collect();
        assert_eq!(sequences, gapless, "{what}: sequences of call {call}");
    }
    let instances: std::collections::HashSet<&str> = queues
        .iter()
        .flatten()
        .map(|message| message.instance.as_str())
        .collect();
    assert!(instances.len() <= 1, "{what}: one journal, one instance");
    repeats
}
