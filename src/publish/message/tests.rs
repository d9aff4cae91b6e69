//! Tests of the message that consumers see.

use std::sync::Arc;

use crate::{
    admit::{EventFacts, Quarantine, QuarantineReason},
    dispatch::RecordId,
    event::{AppName, CallKey, Generation, Kind},
    journal::Record,
    route::QueueType,
};

use super::*;

const STAMP: AttemptInfo<'static> = AttemptInfo {
    instance: "7f3c",
    boot: 4,
    delivery: DeliveryId(17),
    attempt: AttemptId(99),
    count: 2,
};

const RULES: MessageOptions<'static> = MessageOptions {
    exchange: "",
    max_message_bytes: 1_000,
    without_body: false,
};

fn payload(queue: &str, change: impl FnOnce(&mut EventFacts)) -> DeliveryPayload {
    let mut facts = EventFacts {
        app: AppName::try_from("contoso".to_owned()).unwrap(),
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
    DeliveryPayload {
        record: Arc::new(Record {
            id: RecordId(1),
            call: CallKey::new("call-1"),
            facts: Arc::new(facts),
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
    let message = compose(&payload("calls.0", |_| {}), &STAMP, &RULES).unwrap();
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
    let mut unkeyed = payload("q", |facts| {
        facts.correlation_id = None;
        facts.recovered = true;
    });
    Arc::get_mut(&mut unkeyed.record).unwrap().call = None;
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
    let message = compose(&payload("q", |_| {}), &STAMP, &RULES).unwrap();
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
        &payload("q", |facts| facts.event_id.clone_from(&long)),
        &STAMP,
        &RULES,
    )
    .unwrap();
    let id = short(message.properties.message_id()).unwrap();
    assert!(id.starts_with("sha256:") && id.len() == 7 + 64, "{id}");
    assert_eq!(header(&message, "hookswitch-message-id"), Some(long));
    // 255 bytes still fit.
    let message = compose(
        &payload("q", |facts| facts.event_id = "x".repeat(255)),
        &STAMP,
        &RULES,
    )
    .unwrap();
    assert_eq!(header(&message, "hookswitch-message-id"), None);
}

#[test]
fn what_no_broker_takes_is_refused_before_it_is_sent() {
    let small = MessageOptions {
        max_message_bytes: 11,
        ..RULES
    };
    let refused = compose(&payload("q", |_| {}), &STAMP, &small).unwrap_err();
    assert_eq!(refused.code, 311);
    assert!(refused.text.contains("12 bytes"), "{}", refused.text);
    let long = |facts: &mut EventFacts| facts.query = Some("q".repeat(70_000));
    let refused = compose(&payload("q", long), &STAMP, &RULES).unwrap_err();
    assert!(refused.text.contains("headers"), "{}", refused.text);
}

#[test]
fn the_quarantine_always_gets_something_that_fits() {
    let small = MessageOptions {
        max_message_bytes: 5,
        ..RULES
    };
    let quarantined = |facts: &mut EventFacts| {
        facts.query = Some("ß".repeat(70_000));
        facts.quarantine = Some(Quarantine {
            reason: QuarantineReason::Invalid,
            faults: (0..500)
                .map(|n| Fault::new(format!("/data/{n}"), "is not a string ".repeat(10)))
                .collect(),
        });
    };
    let message = compose(&payload(QUARANTINE, quarantined), &STAMP, &small).unwrap();
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
    let bodyless = MessageOptions {
        without_body: true,
        ..RULES
    };
    let message = compose(&payload(QUARANTINE, |_| {}), &STAMP, &bodyless).unwrap();
    assert!(message.body.is_empty());
}

#[test]
fn a_moved_delivery_says_why_it_moved() {
    let mut moved = payload(QUARANTINE, |_| {});
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
    let message = compose(&payload("q", |_| {}), &STAMP, &RULES).unwrap();
    let mut wire = Vec::new();
    for (name, value) in message.properties.headers().as_ref().unwrap().inner() {
        wire.extend(name.as_str().bytes());
        if let AMQPValue::LongString(text) = value {
            wire.extend(text.as_bytes());
        }
    }
    assert!(header_frame_bytes(&message.properties) > wire.len());
}
