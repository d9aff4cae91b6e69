//! A delivery on the wire: properties, headers and body exactly as the table of design 8 says. Pure.

use bytes::Bytes;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use sha2::{Digest, Sha256};

use crate::{
    dispatch::{AttemptId, DeliveryId, Refused},
    event::Fault,
    journal::Parcel,
    route::{Address, Destination, QUARANTINE},
};

/// AMQP short strings: properties and routing keys (AMQP 0-9-1, 4.2.5.3).
const SHORT_LIMIT_BYTES: usize = 255;
/// A header frame is never split, and brokers take frames of 128 KiB by default: half of that leaves room.
const HEADER_FRAME_LIMIT_BYTES: usize = 64 * 1024;
/// `hookswitch-errors` (design 8).
const ERRORS_LIMIT_BYTES: usize = 16 * 1024;
/// To what a header is cut where a quarantined message would not fit otherwise.
const CUT_HEADER_BYTES: usize = 2 * 1024;
/// Reply code of a message that was found unsendable here: AMQP's own `CONTENT_TOO_LARGE`.
const CONTENT_TOO_LARGE: u16 = 311;

/// What is true of one publish and not of the delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp<'a> {
    /// The journal's UUID.
    pub(super) instance: &'a str,
    /// This opening of the journal.
    pub(super) boot: u64,
    pub(super) delivery: DeliveryId,
    pub(super) attempt: AttemptId,
    /// `hookswitch-attempt`.
    pub(super) count: u32,
}

impl Stamp<'_> {
    /// `hookswitch-delivery`: unique across attempts and, with the boot, across restarts.
    fn tag(&self) -> String {
        format!("{}-{}-{}", self.boot, self.delivery.0, self.attempt.0)
    }
}

/// What the broker side bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Exchange of queue destinations.
    pub(super) exchange: &'a str,
    /// `broker.max_message_bytes`.
    pub(super) max_message_bytes: usize,
    /// The broker refused the whole body in quarantine too: send what is known of it without its body.
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

/// True for the destination that takes what can be sent nowhere else, and so must always be given something sendable.
pub(super) fn is_quarantine(destination: &Destination) -> bool {
    matches!(&destination.address, Address::Queue { name, .. } if name == QUARANTINE)
}

/// Makes the message of one publish.
///
/// # Errors
/// What no broker should be asked to take: a body over `max_message_bytes`, a header frame over 64 KiB. Never for the
/// quarantine: there the body is cut to what fits, and long headers too, because what is refused by the last place
/// would be lost.
pub(super) fn compose(
    parcel: &Parcel,
    stamp: &Stamp<'_>,
    rules: &Rules<'_>,
) -> Result<Message, Refused> {
    let last_resort = is_quarantine(&parcel.destination);
    let whole = parcel.record.body.len();
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
    let body = parcel.record.body.slice(..whole.min(fits));
    let mut message = assemble(parcel, stamp, rules, body, usize::MAX);
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
        message = assemble(parcel, stamp, rules, body, CUT_HEADER_BYTES);
    }
    Ok(message)
}

/// What goes to quarantine in place of a record that the journal cannot read any more: nothing vanishes silently.
pub(super) fn tombstone(stamp: &Stamp<'_>, rules: &Rules<'_>) -> Message {
    let mut headers = Headers::new(usize::MAX);
    headers.text("hookswitch-instance", stamp.instance);
    headers.text("hookswitch-delivery", &stamp.tag());
    headers.number("hookswitch-attempt", stamp.count.into());
    headers.text("hookswitch-reason", "unreadable");
    headers.text(
        "hookswitch-errors",
        &errors_json(
            [Fault::new(
                "",
                format!("the journal could not read delivery {}", stamp.delivery.0),
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

/// The attempt that a returned message belongs to; `None` if it is none of this opening of the journal.
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
    parcel: &Parcel,
    stamp: &Stamp<'_>,
    rules: &Rules<'_>,
    body: Bytes,
    cut: usize,
) -> Message {
    let facts = &parcel.record.facts;
    let mut headers = Headers::new(cut);
    headers.text("hookswitch-instance", stamp.instance);
    headers.text("hookswitch-delivery", &stamp.tag());
    headers.number("hookswitch-attempt", stamp.count.into());
    headers.text("hookswitch-app", facts.app.as_str());
    headers.text("hookswitch-kind", facts.kind.as_str());
    headers.text("hookswitch-received", &format!("{:.3}", facts.received));
    if let Some(sequence) = parcel.sequence {
        headers.number("hookswitch-sequence", sequence);
    }
    for (name, value) in [
        (
            "hookswitch-call",
            facts.call.as_ref().map(|call| call.as_str()),
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
    // A delivery that moved says why it moved first; an event that was quarantined at the door says what was wrong.
    let reasons = [parcel.moved.as_ref(), facts.quarantine.as_ref()];
    if let Some(first) = reasons.into_iter().flatten().next() {
        headers.text("hookswitch-reason", first.reason.as_str());
        let faults = reasons.into_iter().flatten().flat_map(|why| &why.faults);
        // Cut by whole entries already, so that it stays JSON.
        headers.whole("hookswitch-errors", &errors_json(faults));
    }
    if body.len() < parcel.record.body.len() {
        headers.number(
            "hookswitch-body-bytes",
            i64::try_from(parcel.record.body.len()).unwrap_or(i64::MAX),
        );
    }
    let (exchange, routing_key) = headers.address(rules.exchange, &parcel.destination.address);
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

/// Headers in the making.
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

    /// `value` as a short string; where it does not fit, its digest, with the whole of it in the header `name`.
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
mod tests {
    use std::sync::Arc;

    use crate::{
        admit::{Quarantine, QuarantineReason},
        dispatch::RecordId,
        event::{AppName, CallKey, Generation, Kind},
        journal::{Facts, Record},
        route::QueueType,
    };

    use super::*;

    const STAMP: Stamp<'static> = Stamp {
        instance: "7f3c",
        boot: 4,
        delivery: DeliveryId(17),
        attempt: AttemptId(99),
        count: 2,
    };

    const RULES: Rules<'static> = Rules {
        exchange: "",
        max_message_bytes: 1_000,
        without_body: false,
    };

    fn parcel(queue: &str, change: impl FnOnce(&mut Facts)) -> Parcel {
        let mut facts = Facts {
            app: AppName::try_from("contoso".to_owned()).unwrap(),
            call: CallKey::new("call-1"),
            kind: Kind::CallState,
            generation: Some(Generation::new("ga")),
            event_type: "Microsoft.Communication.CallConnected".into(),
            event_id: "e-1".into(),
            correlation_id: Some("c-1".into()),
            received: "2026-01-02T03:04:05.6789Z".parse().unwrap(),
            path: Some("tenant/7".into()),
            query: Some("callerId=42".into()),
            traceparent: Some("00-a-b-01".into()),
            tracestate: Some("vendor=1".into()),
            quarantine: None,
            recovered: false,
        };
        change(&mut facts);
        Parcel {
            record: Arc::new(Record {
                id: RecordId(1),
                facts,
                body: Bytes::from_static(br#"{"id":"e-1"}"#),
            }),
            destination: Arc::new(Destination {
                address: Address::Queue {
                    name: queue.into(),
                    queue_type: QueueType::Quorum,
                },
                family: format!("queue {queue}"),
            }),
            sequence: Some(12),
            moved: None,
        }
    }

    fn header(message: &Message, name: &str) -> Option<String> {
        let headers = message.properties.headers().as_ref().unwrap();
        Some(match headers.inner().get(name)? {
            AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).unwrap(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            AMQPValue::Boolean(flag) => flag.to_string(),
            other => panic!("{other:?}"),
        })
    }

    fn short(value: &Option<ShortString>) -> Option<&str> {
        value.as_ref().map(ShortString::as_str)
    }

    #[test]
    fn every_property_and_header_is_as_the_contract_says() {
        let message = compose(&parcel("calls.0", |_| {}), &STAMP, &RULES).unwrap();
        assert_eq!(message.exchange.as_str(), "");
        assert_eq!(message.routing_key.as_str(), "calls.0");
        assert_eq!(&message.body[..], br#"{"id":"e-1"}"#);
        let properties = &message.properties;
        assert_eq!(
            short(properties.content_type()),
            Some("application/cloudevents+json")
        );
        assert_eq!(short(properties.message_id()), Some("e-1"));
        assert_eq!(
            short(properties.kind()),
            Some("Microsoft.Communication.CallConnected")
        );
        assert_eq!(short(properties.app_id()), Some("contoso"));
        assert_eq!(short(properties.correlation_id()), Some("c-1"));
        assert_eq!(*properties.timestamp(), Some(1_767_323_045));
        assert_eq!(*properties.delivery_mode(), Some(2));
        let expected = [
            ("hookswitch-app", "contoso"),
            ("hookswitch-attempt", "2"),
            ("hookswitch-call", "call-1"),
            ("hookswitch-delivery", "4-17-99"),
            ("hookswitch-generation", "ga"),
            ("hookswitch-instance", "7f3c"),
            ("hookswitch-kind", "CallState"),
            ("hookswitch-path", "tenant/7"),
            ("hookswitch-query", "callerId=42"),
            ("hookswitch-received", "2026-01-02T03:04:05.678Z"),
            ("hookswitch-sequence", "12"),
            ("traceparent", "00-a-b-01"),
            ("tracestate", "vendor=1"),
        ];
        let names: Vec<_> = properties
            .headers()
            .as_ref()
            .unwrap()
            .inner()
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        assert_eq!(names, expected.map(|(name, _)| name));
        for (name, value) in expected {
            assert_eq!(header(&message, name).as_deref(), Some(value), "{name}");
        }
    }

    #[test]
    fn an_unkeyed_event_has_no_call_and_an_event_without_correlation_none() {
        let mut unkeyed = parcel("q", |facts| {
            facts.call = None;
            facts.correlation_id = None;
            facts.recovered = true;
        });
        unkeyed.sequence = None;
        let message = compose(&unkeyed, &STAMP, &RULES).unwrap();
        for name in ["hookswitch-call", "hookswitch-sequence"] {
            assert_eq!(header(&message, name), None, "{name}");
        }
        assert_eq!(*message.properties.correlation_id(), None);
        assert_eq!(
            header(&message, "hookswitch-recovered").as_deref(),
            Some("true")
        );
    }

    #[test]
    fn a_returned_message_names_its_attempt_and_no_one_elses() {
        let message = compose(&parcel("q", |_| {}), &STAMP, &RULES).unwrap();
        assert_eq!(
            attempt_of(&message.properties, STAMP.boot),
            Some(AttemptId(99))
        );
        assert_eq!(attempt_of(&message.properties, STAMP.boot + 1), None);
        assert_eq!(attempt_of(&BasicProperties::default(), STAMP.boot), None);
    }

    #[test]
    fn what_is_too_long_for_a_property_becomes_a_digest_and_a_header() {
        let long = "é".repeat(128);
        let message = compose(
            &parcel("q", |facts| facts.event_id.clone_from(&long)),
            &STAMP,
            &RULES,
        )
        .unwrap();
        let id = short(message.properties.message_id()).unwrap();
        assert!(id.starts_with("sha256:") && id.len() == 7 + 64, "{id}");
        assert_eq!(header(&message, "hookswitch-message-id"), Some(long));
        // 255 bytes still fit.
        let message = compose(
            &parcel("q", |facts| facts.event_id = "x".repeat(255)),
            &STAMP,
            &RULES,
        )
        .unwrap();
        assert_eq!(header(&message, "hookswitch-message-id"), None);
    }

    #[test]
    fn what_no_broker_takes_is_refused_before_it_is_sent() {
        let small = Rules {
            max_message_bytes: 11,
            ..RULES
        };
        let refused = compose(&parcel("q", |_| {}), &STAMP, &small).unwrap_err();
        assert_eq!(refused.code, 311);
        assert!(refused.text.contains("12 bytes"), "{}", refused.text);
        let long = |facts: &mut Facts| facts.query = Some("q".repeat(70_000));
        let refused = compose(&parcel("q", long), &STAMP, &RULES).unwrap_err();
        assert!(refused.text.contains("headers"), "{}", refused.text);
    }

    #[test]
    fn the_quarantine_always_gets_something_that_fits() {
        let small = Rules {
            max_message_bytes: 5,
            ..RULES
        };
        let quarantined = |facts: &mut Facts| {
            facts.query = Some("ß".repeat(70_000));
            facts.quarantine = Some(Quarantine {
                reason: QuarantineReason::Invalid,
                faults: (0..500)
                    .map(|n| Fault::new(format!("/data/{n}"), "is not a string ".repeat(10)))
                    .collect(),
            });
        };
        let message = compose(&parcel(QUARANTINE, quarantined), &STAMP, &small).unwrap();
        assert_eq!(&message.body[..], br#"{"id""#);
        assert_eq!(
            header(&message, "hookswitch-body-bytes").as_deref(),
            Some("12")
        );
        assert_eq!(
            header(&message, "hookswitch-reason").as_deref(),
            Some("invalid")
        );
        let errors = header(&message, "hookswitch-errors").unwrap();
        assert!(errors.len() <= ERRORS_LIMIT_BYTES);
        let errors: Vec<Fault> = serde_json::from_str(&errors).unwrap();
        assert!(errors.len() > 50);
        assert!(header_frame_bytes(&message.properties) <= HEADER_FRAME_LIMIT_BYTES);
        let bodyless = Rules {
            without_body: true,
            ..RULES
        };
        let message = compose(&parcel(QUARANTINE, |_| {}), &STAMP, &bodyless).unwrap();
        assert!(message.body.is_empty());
    }

    #[test]
    fn a_moved_delivery_says_why_it_moved() {
        let mut moved = parcel(QUARANTINE, |_| {});
        moved.moved = Some(Quarantine {
            reason: QuarantineReason::Unsendable,
            faults: vec![Fault::new("", "the broker refused it: 406")],
        });
        let message = compose(&moved, &STAMP, &RULES).unwrap();
        assert_eq!(
            header(&message, "hookswitch-reason").as_deref(),
            Some("unsendable")
        );
        assert_eq!(
            header(&message, "hookswitch-errors").as_deref(),
            Some(r#"[{"pointer":"","message":"the broker refused it: 406"}]"#)
        );
        assert_eq!(
            header(&message, "hookswitch-sequence").as_deref(),
            Some("12")
        );
    }

    #[test]
    fn the_size_of_the_header_frame_is_never_underestimated() {
        let message = compose(&parcel("q", |_| {}), &STAMP, &RULES).unwrap();
        let mut wire = Vec::new();
        for (name, value) in message.properties.headers().as_ref().unwrap().inner() {
            wire.extend(name.as_str().bytes());
            if let AMQPValue::LongString(text) = value {
                wire.extend(text.as_bytes());
            }
        }
        assert!(header_frame_bytes(&message.properties) > wire.len());
    }
}
