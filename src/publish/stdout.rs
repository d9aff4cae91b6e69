//! `stdout:` in place of a broker: deliveries as NDJSON, to try Hookswitch without any other software.

use std::{io::Write, time::Duration};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::{DeliveryId, Owed, Refused},
    event::Fault,
    journal::{DeliveryPayload, FeedItem, PayloadUnavailable, Settlement},
    route::{Address, Destination, QUARANTINE},
    status::DestinationState,
};

use super::{
    PublishError, Publisher,
    broker_object::broker_objects,
    destination_status::DestinationStatuses,
    message::is_quarantine,
    metrics::{PublishMetrics, PublishResult},
    ndjson_body::NdjsonBody,
};

/// Feed items printed and settled together.
const BATCH: usize = 64;

/// How soon the journal is asked again for a delivery that it could not read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// One delivery, under the names of the AMQP headers without their prefix.
#[derive(Debug, Serialize)]
struct DeliveryLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<i64>,
    app: &'a str,
    kind: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<&'a str>,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    instance: &'a str,
    delivery: String,
    received: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<&'a Fault>,
    event: NdjsonBody<'a>,
}

/// Prints all pending deliveries, one line each and in order, until `stop`, or after `drain` until nothing is pending.
pub(super) async fn run(
    mut publisher: Publisher,
    metrics: &PublishMetrics,
    drain: CancellationToken,
    stop: CancellationToken,
) -> Result<(), PublishError> {
    let broker_objects = broker_objects(&publisher.routes);
    let mut statuses =
        DestinationStatuses::new(publisher.health.clone(), metrics.clone(), &broker_objects);
    for object in &broker_objects {
        statuses.set(&object.name(), DestinationState::Ready, None);
    }
    publisher.health.update(|view| view.broker.connected = true);
    metrics.connected.set(1);
    let instance = publisher.instance.to_string();
    let mut items = Vec::with_capacity(BATCH);
    loop {
        if drain.is_cancelled() && publisher.feed.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            taken = publisher.feed.recv_many(&mut items, BATCH) => if taken == 0 {
                // The journal has closed: nothing more follows.
                tokio::select! { () = drain.cancelled() => {}, () = stop.cancelled() => {} }
                return Ok(());
            },
            () = drain.cancelled() => continue,
        }
        for item in items.drain(..) {
            // A withdrawn delivery was already printed.
            let FeedItem::Owed(owed) = item else { continue };
            let (text, settlements) = tokio::select! {
                printed = print(&publisher, &instance, &owed) => printed,
                () = stop.cancelled() => return Ok(()),
            };
            let writing = tokio::task::spawn_blocking(move || {
                let mut out = std::io::stdout().lock();
                out.write_all(text.as_bytes())?;
                out.flush()
            });
            // A reader that has stopped reading blocks the write for as long as it likes; what was not printed stays
            // pending.
            tokio::select! {
                written = writing => written
                    .map_err(|_| PublishError::EndedAttempt { part: "printer" })?
                    .map_err(PublishError::Stdout)?,
                () = stop.cancelled() => return Ok(()),
            }
            for settlement in &settlements {
                metrics.published(match settlement {
                    Settlement::Delivered(_) => PublishResult::Ack,
                    Settlement::Poisoned(..) | Settlement::Forgotten(_) => PublishResult::Error,
                });
            }
            publisher.settle.report(settlements);
        }
    }
}

async fn print(publisher: &Publisher, instance: &str, owed: &[Owed]) -> (String, Vec<Settlement>) {
    let mut text = String::new();
    let mut settlements = Vec::with_capacity(owed.len());
    for owed in owed {
        let delivery = owed.delivery;
        match fetch(publisher, delivery).await {
            Some(payload) => {
                text.push_str(&line(&payload, instance, publisher.boot, delivery));
                settlements.push(Settlement::Delivered(delivery));
            }
            // As on AMQP: it moves to quarantine, and leaves that with a line that says so.
            None if !in_quarantine(publisher, owed) => settlements.push(Settlement::Poisoned(
                delivery,
                Refused {
                    code: 0,
                    text: "unreadable: the journal's record is damaged".to_owned(),
                },
            )),
            None => {
                text.push_str(&format!(
                    "{{\"queue\":\"{QUARANTINE}\",\"delivery\":\"{}-{}\",\"reason\":\"unreadable\"}}\n",
                    publisher.boot, delivery.0
                ));
                settlements.push(Settlement::Delivered(delivery));
            }
        }
    }
    (text, settlements)
}

/// `None` if the record is damaged; waits for a disk that cannot be read for now.
async fn fetch(publisher: &Publisher, delivery: DeliveryId) -> Option<DeliveryPayload> {
    loop {
        match publisher.payloads.fetch(delivery).await {
            Ok(payload) => return Some(payload),
            Err(PayloadUnavailable::Unreadable) => return None,
            Err(PayloadUnavailable::NotNow) => tokio::time::sleep(READ_AGAIN).await,
        }
    }
}

fn in_quarantine(publisher: &Publisher, owed: &Owed) -> bool {
    publisher
        .destinations
        .get(owed.destination)
        .is_some_and(|destination| is_quarantine(&destination))
}

fn line(payload: &DeliveryPayload, instance: &str, boot: u64, delivery: DeliveryId) -> String {
    let facts = &payload.record.facts;
    let (queue, exchange, routing_key) = address(&payload.destination);
    let reasons = [payload.moved.as_ref(), facts.quarantine.as_ref()];
    let body = &payload.record.body;
    let line = DeliveryLine {
        queue,
        exchange,
        routing_key,
        call: payload.record.call.as_ref().map(|call| call.as_str()),
        sequence: payload.sequence,
        app: facts.app.as_str(),
        kind: facts.kind.as_str(),
        event_type: &facts.event_type,
        generation: facts
            .generation
            .as_ref()
            .map(|generation| generation.as_str()),
        id: &facts.event_id,
        correlation_id: facts.correlation_id.as_deref(),
        instance,
        delivery: format!("{boot}-{}", delivery.0),
        received: format!("{:.3}", facts.received),
        path: facts.path.as_deref(),
        query: facts.query.as_deref(),
        traceparent: facts.traceparent.as_deref(),
        reason: reasons
            .into_iter()
            .flatten()
            .next()
            .map(|why| why.reason.as_str()),
        errors: reasons
            .into_iter()
            .flatten()
            .flat_map(|why| &why.faults)
            .collect(),
        event: NdjsonBody::of(body),
    };
    let mut text = serde_json::to_string(&line).expect("text, numbers and checked JSON");
    text.push('\n');
    text
}

fn address(destination: &Destination) -> (Option<&str>, Option<&str>, Option<&str>) {
    match &destination.address {
        Address::Queue { name, .. } => (Some(name), None, None),
        Address::Exchange {
            exchange,
            routing_key,
        } => (None, Some(exchange), Some(routing_key)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        admit::EventFacts,
        dispatch::RecordId,
        event::{AppName, CallKey, Kind},
        journal::Record,
        route::QueueType,
    };

    use super::*;

    fn shown(body: &'static str) -> serde_json::Value {
        let payload = DeliveryPayload {
            record: Arc::new(Record {
                id: RecordId(1),
                call: CallKey::new("c"),
                facts: Arc::new(EventFacts {
                    kind: Kind::Hold,
                    event_type: "T".into(),
                    event_id: "e".into(),
                    ..EventFacts::new(
                        AppName::try_from("dev".to_owned()).unwrap(),
                        "2026-01-02T03:04:05Z".parse().unwrap(),
                    )
                }),
                body: bytes::Bytes::from_static(body.as_bytes()),
            }),
            destination: Arc::new(Destination {
                address: Address::Queue {
                    name: "q".into(),
                    queue_type: QueueType::Quorum,
                },
                family: "queue q".into(),
            }),
            sequence: Some(3),
            moved: None,
        };
        let text = line(&payload, "i", 1, DeliveryId(2));
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_delivery_is_one_line_whatever_its_body_looks_like() {
        let event = shown("{\n \"a\": \"b \\\" c\"\n}");
        assert_eq!(event["event"]["a"], "b \" c");
        assert_eq!(event["queue"], "q");
        assert_eq!(event["sequence"], 3);
        assert_eq!(shown("no\njson")["event"], "no\njson");
    }
}
