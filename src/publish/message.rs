//! A delivery on the wire: properties, headers and body exactly as in docs/src/consumer/messages.md, "Queues,
//! properties, headers". Pure.

use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    admit::ERRORS_LIMIT_BYTES,
    dispatch::{AttemptId, DeliveryId, Refused},
    event::Fault,
    journal::DeliveryPayload,
    route::{Address, Destination, QUARANTINE},
};

/// AMQP short strings: properties and routing keys (AMQP 0-9-1, 4.2.5.3).
const SHORT_LIMIT_BYTES: usize = 255;
/// A header frame is never split, and brokers accept frames of 128 KiB by default: half of that leaves room.
const HEADER_FRAME_LIMIT_BYTES: usize = 64 * 1024;
/// The length to which a header is cut if a quarantined message would not fit otherwise.
const CUT_HEADER_BYTES: usize = 2 * 1024;
/// Reply code of a message that was found unsendable before publishing: AMQP's own `CONTENT_TOO_LARGE`.
const CONTENT_TOO_LARGE: u16 = 311;

/// The facts of one publish, which are not those of the delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptInfo<'a> {
    /// The journal's UUID.
    pub(super) instance: &'a str,
    /// This opening of the journal.
    pub(super) boot: u64,
    pub(super) delivery: DeliveryId,
    pub(super) attempt: AttemptId,
    /// `hookswitch-attempt`.
    pub(super) count: u32,
}

impl AttemptInfo<'_> {
    /// `hookswitch-delivery`: unique across attempts and, with the boot, across restarts.
    fn tag(&self) -> String {
        format!("{}-{}-{}", self.boot, self.delivery.0, self.attempt.0)
    }
}

/// The limits of the broker side.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageOptions<'a> {
    /// Exchange of queue destinations.
    pub(super) exchange: &'a str,
    /// `broker.max_message_bytes`.
    pub(super) max_message_bytes: usize,
    /// The broker refused the whole body in quarantine too: send the facts without the body.
    pub(super) without_body: bool,
}

/// A message ready to be published.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// True for the destination of messages that cannot be sent anywhere else, which therefore must always be sendable.
pub(super) fn is_quarantine(destination: &Destination) -> bool {
    matches!(&destination.address, Address::Queue { name, .. } if name == QUARANTINE)
}

/// Makes the message of one publish.
///
/// # Errors
/// A message that no broker should be asked to accept: a body over `max_message_bytes`, a header frame over 64 KiB.
/// Never for the quarantine: there the body is cut to what fits, and long headers too, because a message refused by the
/// last destination would be lost.
pub(super) fn compose(
    payload: &DeliveryPayload,
    attempt_info: &AttemptInfo<'_>,
    rules: &MessageOptions<'_>,
) -> Result<Message, Refused> {
    let last_resort = is_quarantine(&payload.destination);
    let whole = payload.record.body.len();
    let fits = if rules.without_body {
        0
    } else {
        rules.max_message_bytes
    };
    if whole > fits && !last_resort {
        return Err(Refused {
            code: CONTENT_TOO_LARGE,
            text: format!("body of {whole} bytes is over broker.max_message_bytes = {fits}"),
        });
    }
    let body = payload.record.body.slice(..whole.min(fits));
    let mut message = assemble(payload, attempt_info, rules, body, usize::MAX);
    let size = header_frame_bytes(&message.properties);
    if size > HEADER_FRAME_LIMIT_BYTES {
        if !last_resort {
            return Err(Refused {
                code: CONTENT_TOO_LARGE,
                text: format!(
                    "properties and headers of {size} bytes are over the limit of {HEADER_FRAME_LIMIT_BYTES}"
                ),
            });
        }
        let body = message.body;
        message = assemble(payload, attempt_info, rules, body, CUT_HEADER_BYTES);
    }
    Ok(message)
}

/// The message in quarantine for a record that the journal cannot read any more: nothing is lost silently.
pub(super) fn tombstone(attempt_info: &AttemptInfo<'_>, rules: &MessageOptions<'_>) -> Message {
    let mut headers = Headers::new(usize::MAX);
    headers.text("hookswitch-instance", attempt_info.instance);
    headers.text("hookswitch-delivery", &attempt_info.tag());
    headers.number("hookswitch-attempt", attempt_info.count.into());
    headers.text("hookswitch-reason", "unreadable");
    headers.text(
        "hookswitch-errors",
        &errors_json(
            [Fault::new(
                "",
                format!(
                    "the journal could not read delivery {}",
                    attempt_info.delivery.0
                ),
            )]
            .iter(),
        ),
    );
    let (exchange, routing_key) = headers.address(
        rules.exchange,
        &Address::Queue {
            name: QUARANTINE.to_owned(),
            queue_type: crate::route::QueueType::default(),
        },
    );
    Message {
        exchange,
        routing_key,
        properties: BasicProperties::default()
            .with_delivery_mode(2)
            .with_headers(headers.table),
        body: Bytes::new(),
    }
}

/// The headers whose value is text, an integer or a boolean; all of ours are.
pub(super) fn header_values(properties: &BasicProperties) -> impl Iterator<Item = (&str, Value)> {
    let headers = properties.headers().iter().flat_map(|table| table.inner());
    headers.filter_map(|(name, value)| {
        let value = match value {
            AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
            AMQPValue::LongLongInt(number) => (*number).into(),
            AMQPValue::LongInt(number) => (*number).into(),
            AMQPValue::Boolean(truth) => (*truth).into(),
            _ => return None,
        };
        Some((name.as_str(), value))
    })
}

/// The attempt that a returned message belongs to; `None` if it does not belong to this opening of the journal.
pub(super) fn attempt_of(properties: &BasicProperties, boot: u64) -> Option<AttemptId> {
    let AMQPValue::LongString(tag) = properties
        .headers()
        .as_ref()?
        .inner()
        .get("hookswitch-delivery")?
    else {
        return None;
    };
    let mut parts = std::str::from_utf8(tag.as_bytes()).ok()?.split('-');
    let its_boot: u64 = parts.next()?.parse().ok()?;
    let _delivery = parts.next()?;
    let attempt = parts.next()?.parse().ok()?;
    (its_boot == boot && parts.next().is_none()).then_some(AttemptId(attempt))
}

fn assemble(
    payload: &DeliveryPayload,
    attempt_info: &AttemptInfo<'_>,
    rules: &MessageOptions<'_>,
    body: Bytes,
    cut: usize,
) -> Message {
    let facts = &payload.record.facts;
    let mut headers = Headers::new(cut);
    headers.text("hookswitch-instance", attempt_info.instance);
    headers.text("hookswitch-delivery", &attempt_info.tag());
    headers.number("hookswitch-attempt", attempt_info.count.into());
    headers.text("hookswitch-app", facts.app.as_str());
    headers.text("hookswitch-kind", facts.kind.as_str());
    headers.text("hookswitch-received", &format!("{:.3}", facts.received));
    if let Some(sequence) = payload.sequence {
        headers.number("hookswitch-sequence", sequence);
    }
    for (name, value) in [
        (
            "hookswitch-call",
            payload.record.call.as_ref().map(|call| call.as_str()),
        ),
        (
            "hookswitch-generation",
            facts
                .generation
                .as_ref()
                .map(|generation| generation.as_str()),
        ),
        ("hookswitch-path", facts.path.as_deref()),
        ("hookswitch-query", facts.query.as_deref()),
        ("traceparent", facts.traceparent.as_deref()),
        ("tracestate", facts.tracestate.as_deref()),
    ] {
        if let Some(value) = value {
            headers.text(name, value);
        }
    }
    if facts.recovered {
        headers.flag("hookswitch-recovered");
    }
    // A moved delivery gives the reason of its move first; an event that was quarantined on receipt gives its faults.
    let reasons = [payload.moved.as_ref(), facts.quarantine.as_ref()];
    if let Some(first) = reasons.into_iter().flatten().next() {
        headers.text("hookswitch-reason", first.reason.as_str());
        let faults = reasons.into_iter().flatten().flat_map(|why| &why.faults);
        // Already cut by whole entries, so that it stays JSON.
        headers.whole("hookswitch-errors", &errors_json(faults));
    }
    if body.len() < payload.record.body.len() {
        headers.number(
            "hookswitch-body-bytes",
            i64::try_from(payload.record.body.len()).unwrap_or(i64::MAX),
        );
    }
    let (exchange, routing_key) = headers.address(rules.exchange, &payload.destination.address);
    let mut properties = BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2)
        .with_timestamp(u64::try_from(facts.received.as_second()).unwrap_or(0))
        .with_app_id(headers.short("hookswitch-app", facts.app.as_str()))
        .with_message_id(headers.short("hookswitch-message-id", &facts.event_id));
    if !facts.event_type.is_empty() {
        properties = properties.with_type(headers.short("hookswitch-type", &facts.event_type));
    }
    if let Some(id) = &facts.correlation_id {
        properties = properties.with_correlation_id(headers.short("hookswitch-correlation-id", id));
    }
    Message {
        exchange,
        routing_key,
        properties: properties.with_headers(headers.table),
        body,
    }
}

/// A header table under construction.
struct Headers {
    table: FieldTable,
    cut: usize,
}

impl Headers {
    fn new(cut: usize) -> Self {
        Self {
            table: FieldTable::default(),
            cut,
        }
    }

    fn text(&mut self, name: &'static str, value: &str) {
        let mut end = value.len().min(self.cut);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.whole(name, value.get(..end).unwrap_or_default());
    }

    fn whole(&mut self, name: &'static str, value: &str) {
        self.table.insert(
            name.into(),
            AMQPValue::LongString(LongString::from(value.as_bytes())),
        );
    }

    fn number(&mut self, name: &'static str, value: i64) {
        self.table
            .insert(name.into(), AMQPValue::LongLongInt(value));
    }

    fn flag(&mut self, name: &'static str) {
        self.table.insert(name.into(), AMQPValue::Boolean(true));
    }

    /// `value` as a short string; if it does not fit, its digest, with the full value in the header `name`.
    fn short(&mut self, name: &'static str, value: &str) -> ShortString {
        if value.len() <= SHORT_LIMIT_BYTES {
            return value.into();
        }
        self.text(name, value);
        let mut digest = String::from("sha256:");
        for byte in Sha256::digest(value.as_bytes()) {
            digest.push_str(&format!("{byte:02x}"));
        }
        digest.into()
    }

    fn address(&mut self, queues: &str, address: &Address) -> (ShortString, ShortString) {
        let (exchange, key) = match address {
            Address::Queue { name, .. } => (queues, name),
            Address::Exchange {
                exchange,
                routing_key,
            } => (exchange.as_str(), routing_key),
        };
        (
            self.short("hookswitch-exchange", exchange),
            self.short("hookswitch-routing-key", key),
        )
    }
}

/// A JSON array of as many whole entries as fit `hookswitch-errors`.
fn errors_json<'a>(faults: impl Iterator<Item = &'a Fault>) -> String {
    let mut json = String::from("[");
    for fault in faults {
        let entry = serde_json::to_string(fault).expect("two strings are always JSON");
        let comma = usize::from(json.len() > 1);
        if json.len() + comma + entry.len() + 1 > ERRORS_LIMIT_BYTES {
            continue;
        }
        if comma > 0 {
            json.push(',');
        }
        json.push_str(&entry);
    }
    json.push(']');
    json
}

/// An upper bound of the header frame's size: frame (8), class, weight, size and flags (14), properties, table.
fn header_frame_bytes(properties: &BasicProperties) -> usize {
    let short = |value: &Option<ShortString>| value.as_ref().map_or(0, |v| 1 + v.as_str().len());
    let table: usize = properties.headers().as_ref().map_or(0, |headers| {
        headers
            .inner()
            .iter()
            .map(|(name, value)| {
                2 + name.as_str().len()
                    + match value {
                        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
                        _ => 8,
                    }
            })
            .sum()
    });
    8 + 14
        + 4
        + table
        + short(properties.content_type())
        + short(properties.message_id())
        + short(properties.correlation_id())
        + short(properties.kind())
        + short(properties.app_id())
        + 1
        + 8
}

#[cfg(test)]
mod tests;
