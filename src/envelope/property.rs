//! Properties that hold for any bytes.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::event::EnvelopeForm;

use super::{CallbackHead, DecodeLimits, Element, decode, json};

const LIMITS: DecodeLimits = DecodeLimits::new(64);

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// JSON text with optional whitespace, so that slices do not equal re-serialized values by accident.
fn spaced(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

fn cloud_event() -> impl Strategy<Value = String> {
    (".{1,8}", ".{1,8}", ".{1,8}", any_json()).prop_map(|(id, source, kind, data)| {
        let member = |text: &str| serde_json::to_string(text).unwrap();
        format!(
            "{{\"data\" :{} , \"specversion\":\"1.0\",\n\"id\":{},\"source\":{},\"type\":{}}}",
            spaced(&data),
            member(&id),
            member(&source),
            member(&kind)
        )
    })
}

fn event_grid() -> impl Strategy<Value = (String, String)> {
    (
        prop::option::of(".{0,8}"),
        prop::option::of(".{0,8}"),
        prop::option::of("(callLeg/)?.{0,8}"),
        ".{1,8}",
        any_json(),
    )
        .prop_map(|(id, topic, subject, kind, data)| {
            let member = |text: &Option<String>| serde_json::to_string(text).unwrap();
            let data = spaced(&data);
            let event = format!(
                "{{\"id\":{},\"topic\":{},\"data\" : {data} ,\"subject\":{},\"eventType\":{}}}",
                member(&id),
                member(&topic),
                member(&subject),
                serde_json::to_string(&kind).unwrap()
            );
            (event, data)
        })
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail_and_errors_point_into_the_body(
        body in prop::collection::vec(any::<u8>(), 0..200),
        content_type in prop::option::of(".{0,30}"),
        names in prop::collection::vec(("ce-[a-z]{0,3}|ce-id|ce-source|ce-type|ce-specversion", prop::collection::vec(any::<u8>(), 0..8)), 0..6),
    ) {
        let mut head = CallbackHead::default();
        for (name, value) in &names {
            head.header(name, value);
        }
        if let Some(content_type) = &content_type {
            head.header("content-type", content_type.as_bytes());
        }
        if let Err(error) = decode(&head, &Bytes::from(body.clone()), &LIMITS) {
            prop_assert!(error.offset().is_none_or(|offset| offset <= body.len()));
            prop_assert!([400, 413, 415].contains(&error.status()));
        }
    }

    #[test]
    fn what_is_nearly_json_decodes_or_fails(body in r#"[\[\]{},:"\\ud8019eE.\- ]{0,60}"#) {
        if let Err(error) = decode(&CallbackHead::default(), &Bytes::from(body.clone()), &LIMITS) {
            prop_assert!(error.offset().is_none_or(|offset| offset <= body.len()));
        }
    }

    #[test]
    fn a_good_body_with_one_byte_changed_decodes_or_fails(event in event_grid(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut body = event.0.into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(elements) = decode(&CallbackHead::default(), &Bytes::from(body), &LIMITS) {
            prop_assert_eq!(elements.len(), 1);
        }
    }

    #[test]
    fn the_strict_reader_reads_what_serde_json_reads(value in any_json()) {
        let body = Bytes::from(spaced(&value));
        let read = json::read_one(&body, &LIMITS).unwrap();
        prop_assert_eq!(&read.value, &serde_json::from_slice::<Value>(&body).unwrap());
        prop_assert_eq!(read.raw, body);
    }

    #[test]
    fn a_structured_cloud_event_is_its_slice_of_the_body(events in prop::collection::vec(cloud_event(), 1..5)) {
        let body = Bytes::from(format!("[ {}\n]", events.join(" , ")));
        let elements = decode(&CallbackHead::default(), &body, &LIMITS).unwrap();
        prop_assert_eq!(elements.len(), events.len());
        for (element, text) in elements.iter().zip(&events) {
            let Element::Event(event) = element else { panic!("malformed: {element:?}") };
            prop_assert_eq!(&event.cloud_event, text);
            prop_assert_eq!(&event.raw, text);
        }
    }

    #[test]
    fn a_mapped_event_is_a_cloud_event_with_the_data_of_the_body((text, data) in event_grid()) {
        let elements = decode(&CallbackHead::default(), &Bytes::from(text), &LIMITS).unwrap();
        let [Element::Event(mapped)] = elements.as_slice() else { panic!("{elements:?}") };
        prop_assert!(mapped.form != EnvelopeForm::CloudEvents);
        let ending = format!(",\"data\":{data}}}");
        prop_assert!(mapped.cloud_event.ends_with(ending.as_bytes()));
        // The CloudEvent that we write is itself an accepted envelope with the same content.
        let again = decode(&CallbackHead::default(), &mapped.cloud_event, &LIMITS).unwrap();
        let [Element::Event(again)] = again.as_slice() else { panic!("{again:?}") };
        prop_assert_eq!(again.form, EnvelopeForm::CloudEvents);
        prop_assert_eq!(&again.data, &mapped.data);
        prop_assert_eq!(&again.attributes.event_type, &mapped.attributes.event_type);
        let id = super::event_id(mapped);
        let source = super::event_source(mapped);
        prop_assert_eq!(again.attributes.id.as_deref(), Some(id.as_ref()));
        prop_assert_eq!(again.attributes.source.as_deref(), Some(source.as_ref()));
    }
}
