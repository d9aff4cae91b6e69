//! Takes events from a queue, for `hookswitch consume`.

use std::{collections::BTreeMap, io, time::Duration};

use futures_util::StreamExt;
use lapin::{
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::config::Broker;

use super::{PublishError, connection::Dialer, message::header_values, ndjson_body::NdjsonBody};

/// Messages in flight to us at once. More than one, so that a queue is emptied at the speed of the printer; still in
/// order, because nothing is ever requeued.
const PREFETCH: u16 = 64;

/// When taking ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeLimit {
    /// After this many events.
    pub count: Option<u64>,
    /// When nothing arrived for this long.
    pub idle: Option<Duration>,
}

/// One event as printed.
#[derive(Debug, Serialize)]
pub struct TakenEvent<'a> {
    /// The queue it was taken from.
    pub queue: &'a str,
    /// `hookswitch-call`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// `hookswitch-sequence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// AMQP `type`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// AMQP `message_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Every header whose value is text, an integer or a boolean; all of ours are.
    pub headers: BTreeMap<&'a str, Value>,
    /// The body: the JSON itself, or its text if it is not JSON.
    pub event: NdjsonBody<'a>,
}

/// Takes events from `queue` until there were enough or `stop`, and returns their number. Each is acknowledged after
/// `show` returned: an interrupted one stays in the queue.
///
/// # Errors
/// If the broker cannot be reached, the queue does not exist, or `show` fails.
pub async fn take(
    broker: &Broker,
    queue: &str,
    enough: TakeLimit,
    stop: &CancellationToken,
    mut show: impl FnMut(&TakenEvent<'_>) -> io::Result<()>,
) -> Result<u64, PublishError> {
    let failed = |doing| move |error| PublishError::broker(doing, error);
    let mut dialer = Dialer::new(broker.clone(), "hookswitch consume".to_owned());
    let link = dialer.dial_any().await?;
    let channel = link
        .connection
        .create_channel()
        .await
        .map_err(failed("open a channel"))?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await
        .map_err(failed("set the prefetch count"))?;
    let mut messages = channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(failed("consume the queue"))?;
    let mut taken = 0;
    while enough.count.is_none_or(|count| taken < count) {
        let next = tokio::select! {
            next = messages.next() => next,
            () = pause(enough.idle) => break,
            () = stop.cancelled() => break,
        };
        let delivery = match next {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(failed("take a message")(error)),
            // The queue was deleted.
            None => break,
        };
        show(&event(queue, &delivery)).map_err(PublishError::Stdout)?;
        delivery
            .ack(BasicAckOptions::default())
            .await
            .map_err(failed("acknowledge a message"))?;
        taken += 1;
    }
    link.close().await;
    Ok(taken)
}

async fn pause(idle: Option<Duration>) {
    match idle {
        Some(idle) => tokio::time::sleep(idle).await,
        None => std::future::pending().await,
    }
}

fn event<'a>(queue: &'a str, delivery: &'a Delivery) -> TakenEvent<'a> {
    let properties = &delivery.properties;
    let headers: BTreeMap<&str, Value> = header_values(properties).collect();
    let header = |name: &str| headers.get(name);
    TakenEvent {
        queue,
        call: header("hookswitch-call")
            .and_then(Value::as_str)
            .map(str::to_owned),
        sequence: header("hookswitch-sequence").and_then(Value::as_i64),
        event_type: properties.kind().as_ref().map(ToString::to_string),
        id: properties.message_id().as_ref().map(ToString::to_string),
        event: NdjsonBody::of(&delivery.data),
        headers,
    }
}
