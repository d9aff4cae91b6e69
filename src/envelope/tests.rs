//! Each form and each refusal, through the function that ingress uses.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::event::{EnvelopeForm, Event, Malformed};

use super::{
    CallbackHead, DecodeError, DecodeLimits, Element, JsonProblem, decode, digest, event_id,
    event_source,
};

const LIMITS: DecodeLimits = DecodeLimits::new(5_000);

const STRUCTURED: &str = r#"{ "id":"e1", "source":"calling/callConnections/c1","type":"Microsoft.Communication.CallConnected",
  "specversion":"1.0", "time":"2026-01-02T03:04:05.1234567\u002B00:00", "datacontenttype":"application/json",
  "subject":"calling/callConnections/c1", "data": {"callConnectionId":"c1" , "n":1.50}}"#;

const EVENT_GRID: &str = r#"{"id":"e2","topic":"/subscriptions/s/providers/p","subject":"call/sc1","data" : { "serverCallId":"sc1",
  "x": 1e2 } ,"eventType":"Microsoft.Communication.CallStarted","dataVersion":"1.0","metadataVersion":"1","eventTime":"2026-01-02T03:04:05Z"}"#;

const PRIVATE: &str = r#"{"id":null,"topic":null,"subject":"callLeg/leg-1/callState","data":{"CallLegId":"leg-1","CallState":"Established"},
  "eventType":"Microsoft.Communication.CallLegStateChanged","eventTime":"2026-01-02T03:04:05.1234567Z","metadataVersion":null,"dataVersion":null}"#;

fn check(headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Result<Vec<Element>, DecodeError> {
    let mut head = CallbackHead::default();
    for (name, value) in headers {
        head.header(name, value.as_bytes());
    }
    decode(&head, &Bytes::copy_from_slice(body.as_ref()), &LIMITS)
}

fn events(elements: Vec<Element>) -> Vec<Event> {
    let event = |element| match element {
        Element::Event(event) => event,
        Element::Malformed(malformed) => panic!("malformed: {malformed:?}"),
    };
    elements.into_iter().map(event).collect()
}

fn one(headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Event {
    let mut events = events(check(headers, body).unwrap());
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn bad(element: &Element) -> &Malformed {
    match element {
        Element::Malformed(malformed) => malformed,
        Element::Event(event) => panic!("an event: {event:?}"),
    }
}

fn published(event: &Event) -> Value {
    serde_json::from_slice(&event.cloud_event).unwrap()
}

/// Why a body is refused, and at which byte.
fn refused(body: impl AsRef<[u8]>) -> (usize, JsonProblem) {
    match check(&[], body) {
        Err(error @ DecodeError::Json { .. }) => {
            assert_eq!(error.status(), 400);
            let offset = error.offset().unwrap();
            assert!(error.to_string().contains(&format!("at byte {offset}")));
            let entry = serde_json::to_value(error.errors()).unwrap();
            assert_eq!(entry[0]["offset"], offset);
            assert_eq!(entry[0]["pointer"], "");
            let DecodeError::Json { problem, .. } = error else {
                unreachable!()
            };
            (offset, problem)
        }
        other => panic!("not refused as JSON: {other:?}"),
    }
}

#[test]
fn a_structured_cloud_event_is_passed_on_byte_for_byte_without_a_copy() {
    let body = Bytes::from(format!(" \n[{STRUCTURED} ,{STRUCTURED}]\r\n"));
    let events = events(decode(&CallbackHead::default(), &body, &LIMITS).unwrap());
    assert_eq!(events.len(), 2);
    for event in &events {
        assert_eq!(event.form, EnvelopeForm::CloudEvents);
        assert_eq!(event.cloud_event, STRUCTURED);
        assert_eq!(event.raw, STRUCTURED);
        assert!(body.as_ptr_range().contains(&event.raw.as_ptr()), "a copy");
        assert_eq!(event.cloud_event.as_ptr(), event.raw.as_ptr());
        assert_eq!(event.data, json!({"callConnectionId": "c1", "n": 1.5}));
        let attributes = &event.attributes;
        assert_eq!(attributes.id.as_deref(), Some("e1"));
        assert_eq!(
            attributes.get("type"),
            Some("Microsoft.Communication.CallConnected")
        );
        assert_eq!(attributes.get("datacontenttype"), Some("application/json"));
        assert_eq!(attributes.get("specversion"), Some("1.0"));
        assert_eq!(
            attributes.get("time"),
            Some("2026-01-02T03:04:05.1234567+00:00")
        );
        assert_eq!(attributes.get("data"), None);
    }
    assert_eq!(event_id(&events[0]), "e1");
    assert_eq!(event_source(&events[0]), "calling/callConnections/c1");
}

#[test]
fn extension_attributes_of_every_scalar_type_are_read_as_their_text() {
    let event = one(
        &[],
        r#"{"id":"e","source":"s","type":"t","specversion":"1.0","flag":true,"count":3,"word":"w","none":null,"deep":{}}"#,
    );
    assert_eq!(event.attributes.get("flag"), Some("true"));
    assert_eq!(event.attributes.get("count"), Some("3"));
    assert_eq!(event.attributes.get("word"), Some("w"));
    assert_eq!(event.attributes.get("none"), None);
    assert_eq!(event.attributes.get("deep"), None);
    assert_eq!(event.data, Value::Null);
}

#[test]
fn an_event_grid_event_is_mapped_with_its_data_untouched() {
    let event = one(
        &[("aeg-event-type", "Notification")],
        format!("[{EVENT_GRID}]"),
    );
    assert_eq!(event.form, EnvelopeForm::EventGrid);
    assert_eq!(event.raw, EVENT_GRID);
    let text = std::str::from_utf8(&event.cloud_event).unwrap();
    assert!(
        text.ends_with(",\"data\":{ \"serverCallId\":\"sc1\",\n  \"x\": 1e2 }}"),
        "{text}"
    );
    assert_eq!(
        published(&event),
        json!({
            "specversion": "1.0", "id": "e2", "source": "/subscriptions/s/providers/p",
            "type": "Microsoft.Communication.CallStarted", "subject": "call/sc1",
            "time": "2026-01-02T03:04:05Z", "datacontenttype": "application/json", "dataversion": "1.0",
            "data": {"serverCallId": "sc1", "x": 100.0},
        })
    );
    assert_eq!(event.attributes.get("dataversion"), Some("1.0"));
    assert_eq!(
        event.attributes.source.as_deref(),
        Some("/subscriptions/s/providers/p")
    );
}

#[test]
fn a_private_preview_event_gets_an_id_of_its_content_and_a_source_of_its_call_leg() {
    let event = one(&[("content-type", "application/json")], PRIVATE);
    assert_eq!(event.form, EnvelopeForm::PrivatePreview);
    assert_eq!(event.attributes.id, None);
    assert_eq!(event.attributes.source, None);
    let made = format!("{:032x}", digest(PRIVATE.as_bytes()));
    assert_eq!(event_id(&event), made);
    assert_eq!(event_source(&event), "calling/callLegs/leg-1");
    assert_eq!(
        published(&event),
        json!({
            "specversion": "1.0", "id": made, "source": "calling/callLegs/leg-1",
            "type": "Microsoft.Communication.CallLegStateChanged", "subject": "callLeg/leg-1/callState",
            "time": "2026-01-02T03:04:05.1234567Z", "datacontenttype": "application/json",
            "data": {"CallLegId": "leg-1", "CallState": "Established"},
        })
    );
}

#[test]
fn a_private_preview_event_keeps_the_id_that_it_has() {
    let event = one(&[], PRIVATE.replace(r#""id":null"#, r#""id":"own""#));
    assert_eq!(event.form, EnvelopeForm::PrivatePreview);
    assert_eq!(published(&event)["id"], "own");
}

#[test]
fn without_a_call_leg_the_source_is_a_constant() {
    for subject in [
        "null",
        r#""""#,
        r#""callLeg/""#,
        r#""callLeg/a b/callState""#,
        r#""other/x""#,
    ] {
        let event = one(
            &[],
            format!(r#"{{"eventType":"T","subject":{subject},"data":{{}}}}"#),
        );
        assert_eq!(
            published(&event)["source"],
            "hookswitch:no-source",
            "{subject}"
        );
    }
}

#[test]
fn data_of_a_mapped_event_is_kept_as_it_is_even_if_null_and_left_out_if_absent() {
    let null = one(&[], r#"{"eventType":"T","data": null }"#);
    assert!(null.cloud_event.ends_with(br#","data":null}"#));
    let absent = one(&[], r#"{"eventType":"T"}"#);
    assert_eq!(published(&absent).get("data"), None);
    let escaped = one(&[], r#"{"eventType":"T","d\u0061ta":"\u0061"}"#);
    assert!(escaped.cloud_event.ends_with(br#","data":"\u0061"}"#));
}

#[test]
fn a_mixed_array_keeps_its_order_and_names_what_is_wrong_with_bad_elements() {
    let body = format!(
        r#"[{PRIVATE},17,{STRUCTURED},{{"specversion":"1.0","id":"","type":4,"subject":[]}},{EVENT_GRID},
            {{"specversion":"0.3","id":"i","source":"s","type":"t"}},{{"id":"i","source":"s","type":"t"}},
            {{"eventType":"","id":4}},{{"eventTime":"x"}},{{}}]"#
    );
    let elements = check(&[], body).unwrap();
    let forms: Vec<_> = elements
        .iter()
        .map(|element| match element {
            Element::Event(event) => event.form.as_str(),
            Element::Malformed(_) => "-",
        })
        .collect();
    assert_eq!(
        forms,
        [
            "private-preview",
            "-",
            "cloudevents",
            "-",
            "event-grid",
            "-",
            "-",
            "-",
            "-",
            "-"
        ]
    );
    let pointers = |index: usize| -> Vec<&str> {
        let faults = &bad(&elements[index]).faults;
        faults.iter().map(|fault| fault.pointer.as_str()).collect()
    };
    assert_eq!(pointers(1), [""]);
    assert_eq!(pointers(3), ["/id", "/source", "/type", "/subject"]);
    assert_eq!(pointers(5), ["/specversion"]);
    assert_eq!(pointers(6), ["/specversion"]);
    assert_eq!(pointers(7), ["/eventType", "/id"]);
    assert_eq!(pointers(8), ["/eventType"]);
    assert_eq!(pointers(9), [""]);
    assert_eq!(bad(&elements[1]).raw, "17");
    assert_eq!(bad(&elements[6]).id.as_deref(), Some("i"));
    assert_eq!(bad(&elements[6]).event_type.as_deref(), Some("t"));
}

#[test]
fn binary_mode_becomes_a_structured_event_with_the_body_as_data() {
    let body = "{ \"callConnectionId\":\"c1\", \"n\": 1.0 }";
    let event = one(
        &[
            ("CE-SpecVersion", "1.0"),
            ("ce-id", "e%201"),
            ("ce-type", "Microsoft.Communication.PlayCompleted"),
            ("ce-source", "calling/callConnections/c1"),
            ("ce-subject", "\"quoted \\\"%C3%A4\\\"\""),
            ("ce-tenant", "t1"),
            ("ce-not-an-attribute", "x"),
            ("ce-data", "x"),
            ("Content-Type", "application/json; charset=\"UTF-8\""),
        ],
        body,
    );
    assert_eq!(event.form, EnvelopeForm::CloudEvents);
    assert_eq!(event.raw, body);
    assert!(
        event
            .cloud_event
            .ends_with(format!(",\"data\":{body}}}").as_bytes())
    );
    assert_eq!(
        published(&event),
        json!({
            "specversion": "1.0", "id": "e 1", "type": "Microsoft.Communication.PlayCompleted",
            "source": "calling/callConnections/c1", "subject": "quoted \"ä\"", "tenant": "t1",
            "datacontenttype": "application/json; charset=\"UTF-8\"",
            "data": {"callConnectionId": "c1", "n": 1.0},
        })
    );
    assert_eq!(event.data["n"], 1.0);
    assert_eq!(event.attributes.get("tenant"), Some("t1"));
}

const BINARY: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "e"),
    ("ce-type", "t"),
    ("ce-source", "s"),
];

#[test]
fn binary_mode_without_a_body_is_an_event_without_data() {
    let event = one(&BINARY, "");
    assert_eq!(event.data, Value::Null);
    assert_eq!(
        published(&event),
        json!({"specversion": "1.0", "id": "e", "type": "t", "source": "s"})
    );
}

#[test]
fn binary_mode_with_json_under_another_label_is_labelled_json() {
    let headers: Vec<_> = BINARY
        .into_iter()
        .chain([("content-type", "text/plain")])
        .collect();
    assert_eq!(
        published(&one(&headers, "{}"))["datacontenttype"],
        "application/json"
    );
    let error = check(&headers, "hello").unwrap_err();
    assert_eq!(error.status(), 415);
}

#[test]
fn bad_headers_of_binary_mode_are_named_by_attribute() {
    let check_pointer = |headers: &[(&str, &str)], pointer: &str| {
        let error = check(headers, "{}").unwrap_err();
        assert_eq!(error.status(), 400);
        let errors = error.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].fault.pointer, pointer);
        assert_eq!(errors[0].index, Some(0));
    };
    check_pointer(&BINARY[..3], "/source");
    check_pointer(&[&BINARY[..3], &[("ce-source", "%FF")]].concat(), "/source");
    check_pointer(&[&BINARY[..], &[("ce-id", "f")]].concat(), "/id");
    check_pointer(
        &[&BINARY[1..], &[("ce-specversion", "0.3")]].concat(),
        "/specversion",
    );
}

#[test]
fn a_cloud_events_media_type_means_structured_whatever_other_headers_say() {
    let headers: Vec<_> = BINARY
        .into_iter()
        .chain([(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        )])
        .collect();
    assert_eq!(
        one(&headers, STRUCTURED).attributes.id.as_deref(),
        Some("e1")
    );
    // A label that says batch on one object, or the reverse, is not a reason to lose an event.
    let batch = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(one(&batch, STRUCTURED).cloud_event, STRUCTURED);
    assert_eq!(
        one(&headers, format!("[{STRUCTURED}]")).cloud_event,
        STRUCTURED
    );
}

#[test]
fn what_is_not_json_is_refused_with_its_byte() {
    use JsonProblem::*;
    let syntax = |body: &str| match refused(body) {
        (offset, Syntax(_)) => offset,
        other => panic!("{body:?}: {other:?}"),
    };
    assert_eq!(refused(""), (0, Empty));
    assert_eq!(refused(" \r\n\t"), (4, Empty));
    assert_eq!(refused("\u{feff}"), (3, Empty));
    assert_eq!(refused("\u{feff} \n"), (5, Empty));
    assert_eq!(refused(b"{\"a\":\"\xff\"}"), (6, NotUtf8));
    assert_eq!(refused(b"[{}, \xc3\x28]"), (5, NotUtf8));
    assert_eq!(syntax("hello"), 0);
    assert_eq!(syntax("{} x"), 3);
    assert_eq!(syntax("[{}] ]"), 5);
    assert_eq!(syntax("[{}"), 3);
    assert_eq!(syntax("[{},]"), 4);
    assert_eq!(syntax("[{} {}]"), 4);
    assert_eq!(syntax("["), 1);
    assert_eq!(syntax("{\"a\":"), 5);
    assert_eq!(syntax("{\"a\":nul}"), 8);
    assert_eq!(syntax("{\"a\":01}"), 6);
    assert_eq!(syntax("{\"a\":NaN}"), 5);
    assert_eq!(syntax("{\n\"a\":1,\n  b}"), 11);
    assert_eq!(syntax("[{},\n{\n\"ä\" x}]"), 12);
    assert_eq!(syntax("{\"a\":\"\u{1}\"}"), 6);
    assert_eq!(syntax("{'a':1}"), 1);
    assert_eq!(syntax("// no\n{}"), 0);
    // After a byte order mark positions still count from the first byte of the body. A second mark is not whitespace.
    assert_eq!(syntax("\u{feff}[{},]"), 7);
    assert_eq!(syntax("\u{feff}\u{feff}{}"), 3);
    assert_eq!(syntax(" \u{feff}{}"), 1);
    assert_eq!(refused(b"\xef\xbb\xbf{\"a\":\"\xff\"}"), (9, NotUtf8));
    assert_eq!(refused("\u{feff}{\"a\":1,\"a\":2}"), (10, DuplicateName));
}

#[test]
fn a_body_in_another_encoding_is_refused_by_its_mark() {
    let utf_16 = |mark: [u8; 2], of: fn(u16) -> [u8; 2]| {
        let text = STRUCTURED.encode_utf16().flat_map(of);
        mark.into_iter().chain(text).collect::<Vec<u8>>()
    };
    let utf_32 = |mark: [u8; 4], of: fn(u32) -> [u8; 4]| {
        let text = STRUCTURED.chars().flat_map(|c| of(u32::from(c)));
        mark.into_iter().chain(text).collect::<Vec<u8>>()
    };
    for (body, encoding) in [
        (utf_16([0xff, 0xfe], u16::to_le_bytes), "UTF-16"),
        (utf_16([0xfe, 0xff], u16::to_be_bytes), "UTF-16"),
        (utf_32([0xff, 0xfe, 0, 0], u32::to_le_bytes), "UTF-32"),
        (utf_32([0, 0, 0xfe, 0xff], u32::to_be_bytes), "UTF-32"),
    ] {
        for headers in [&[("content-type", "application/json")][..], &BINARY] {
            let error = check(headers, &body).unwrap_err();
            assert_eq!((error.status(), error.offset()), (400, Some(0)));
            let words = format!("byte order mark of {encoding}: send UTF-8");
            assert!(error.to_string().contains(&words), "{error}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_skipped_and_never_published() {
    let marked = |text: &str| format!("\u{feff}{text}");
    for (plain, form) in [
        (STRUCTURED, EnvelopeForm::CloudEvents),
        (EVENT_GRID, EnvelopeForm::EventGrid),
        (PRIVATE, EnvelopeForm::PrivatePreview),
    ] {
        let event = one(&[], marked(plain));
        assert_eq!(event.form, form);
        // Generated ids and the duplicate check use these bytes, so a resend without the mark is a duplicate.
        assert_eq!(event.raw, plain);
        assert_eq!(event.cloud_event, one(&[], plain).cloud_event);
    }
    let batch = events(check(&[], marked(&format!("\r\n[{STRUCTURED},{EVENT_GRID}]"))).unwrap());
    assert_eq!(batch[0].cloud_event, STRUCTURED);
    assert_eq!(batch[1].raw, EVENT_GRID);
    let malformed = check(&[], marked(&format!("[7,{STRUCTURED}]"))).unwrap();
    assert_eq!(bad(&malformed[0]).raw, "7");
    let binary = one(&BINARY, marked("{\"n\":1.50}"));
    assert_eq!(binary.raw, "{\"n\":1.50}");
    assert!(binary.cloud_event.ends_with(b",\"data\":{\"n\":1.50}}"));
    assert_eq!(published(&one(&BINARY, marked(""))).get("data"), None);
}

#[test]
fn two_members_of_one_name_are_refused_at_any_depth_even_when_spelt_differently() {
    use JsonProblem::DuplicateName;
    assert_eq!(refused(r#"{"a":1,"a":2}"#), (7, DuplicateName));
    assert_eq!(refused(r#"{"a":1,"\u0061":2}"#), (7, DuplicateName));
    assert_eq!(refused(r#"{"\\\"":1, "\\\""  :2}"#), (11, DuplicateName));
    assert_eq!(
        refused("[{},\n{\"d\":{\"x\":[{\"b\":1, \"b\" :2}]}}]"),
        (24, DuplicateName)
    );
    assert_eq!(refused(r#"{"":1,"" }"#), (6, DuplicateName));
    assert!(matches!(
        check(&[], r#"{"a":1,"A":2}"#),
        Err(DecodeError::NoEnvelope { .. })
    ));
}

#[test]
fn refusing_a_body_costs_no_more_than_reading_it() {
    // A quadratic step over any of these takes most of an hour, so this test would not end.
    let long = 300_000;
    for unit in [r"\\", r#"\""#, "x"] {
        let name = unit.repeat(long);
        let body = format!("{{\"{name}\":1,\"{name}\":2}}");
        assert_eq!(refused(body).0, name.len() + 6);
    }
    let many = "{},\n".repeat(4_000);
    assert_eq!(refused(format!("[{many}x]")).0, many.len() + 1);
    assert_eq!(refused(" ".repeat(long) + "x").0, long);
}

#[test]
fn sixty_four_levels_are_read_and_one_more_is_refused() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(matches!(
        check(&[], nested(64)),
        Err(DecodeError::NoEnvelope { .. })
    ));
    assert_eq!(
        refused(nested(65)),
        (64, JsonProblem::TooDeep { limit: 64 })
    );
    assert_eq!(
        refused(nested(100_000)),
        (64, JsonProblem::TooDeep { limit: 64 })
    );
    let event = |levels: usize| {
        let data = "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
        format!(r#"{{"specversion":"1.0","id":"i","source":"s","type":"t","data":{data}}}"#)
    };
    assert!(check(&[], event(63)).is_ok());
    assert!(matches!(
        refused(event(64)),
        (_, JsonProblem::TooDeep { limit: 64 })
    ));
    assert!(check(&[], format!("[{}]", event(62))).is_ok());
    assert!(matches!(
        refused(format!("[{}]", event(63))),
        (_, JsonProblem::TooDeep { .. })
    ));
}

#[test]
fn numbers_that_no_double_holds_are_refused_and_long_integers_pass_as_they_are() {
    assert_eq!(refused(r#"{"a":1e999}"#).1, JsonProblem::NumberOutOfRange);
    assert_eq!(
        refused(r#"[{"a":[-1E400]}]"#).1,
        JsonProblem::NumberOutOfRange
    );
    let long = STRUCTURED.replace("1.50", "123456789012345678901234567890");
    assert_eq!(one(&[], &long).cloud_event, long);
}

#[test]
fn lone_surrogates_are_refused_and_pairs_pass() {
    use JsonProblem::LoneSurrogate;
    for body in [
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00"}"#,
        r#"{"a":"\ud800x"}"#,
        r#"{"a":"\ud800\n"}"#,
        r#"{"a":"\ud800\ud800"}"#,
        r#"{"\udfff":1}"#,
    ] {
        let (offset, problem) = refused(body);
        assert_eq!(problem, LoneSurrogate, "{body}");
        assert!((7..body.len()).contains(&offset), "{body}: {offset}");
    }
    let pair = STRUCTURED.replace("\"n\"", r#""\ud83d\ude00""#);
    assert_eq!(one(&[], &pair).data["😀"], 1.5);
}

#[test]
fn bodies_without_an_envelope_are_refused() {
    assert_eq!(check(&[], "[ ]").unwrap_err(), DecodeError::EmptyArray);
    assert_eq!(DecodeError::EmptyArray.status(), 400);
    for body in [
        "null",
        "7",
        "\"x\"",
        "{}",
        "[[]]",
        r#"{"specversion":null,"eventType":null}"#,
    ] {
        let error = check(&[], body).unwrap_err();
        assert!(
            matches!(error, DecodeError::NoEnvelope { .. }),
            "{body}: {error:?}"
        );
        assert_eq!(error.status(), 400);
        assert_eq!(error.errors().len(), 1, "{body}");
    }
    let many = format!("[{}]", vec!["0"; 1_000].join(","));
    assert_eq!(check(&[], many).unwrap_err().errors().len(), 32);
}

#[test]
fn media_types_are_accepted_as_documented() {
    for good in [
        "application/json",
        "Application/JSON;charset=utf-8",
        "application/json ; charset=\"UTF-8\"",
        "application/json; charset=utf8",
        "application/json; charset=us-ascii",
        "application/json; charset=\"US-ASCII\"",
        "application/cloudevents+json; Charset=Us-Ascii; x=y",
        "text/plain;charset=ANSI_X3.4-1968",
        "application/cloudevents+json",
        "application/cloudevents-batch+json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
    ] {
        assert!(
            check(&[("content-type", good)], STRUCTURED).is_ok(),
            "{good}"
        );
    }
    let status = |content_type, body| {
        check(&[("content-type", content_type)], body)
            .unwrap_err()
            .status()
    };
    assert_eq!(status("text/plain", "hello"), 415);
    assert_eq!(status("application/xml", "<a/>"), 415);
    assert_eq!(status("application/octet-stream", ""), 415);
    assert_eq!(status("application/json", "<a/>"), 400);
    // RFC 2046 (4.1.2): the name "ASCII" is reserved and must not be used.
    for charset in ["iso-8859-1", "utf-16", "utf-7", "ascii", ""] {
        let other = format!("application/json; charset={charset}");
        let error = check(&[("content-type", &other)], STRUCTURED).expect_err(&other);
        assert_eq!(error.status(), 415, "{other}");
    }
    assert_eq!(status("text/plain", "{}"), 400);
    assert_eq!(status("text/plain", r#"{"a":1,"a":2}"#), 400);
}

#[test]
fn an_encoded_body_is_refused_before_it_is_looked_at() {
    for encoding in ["gzip", "br", "identity, gzip", "\u{7f}"] {
        let error = check(&[("Content-Encoding", encoding)], STRUCTURED).unwrap_err();
        assert_eq!(error.status(), 415, "{encoding}");
        assert!(matches!(error, DecodeError::ContentEncoding { .. }));
    }
    assert!(check(&[("content-encoding", "Identity")], STRUCTURED).is_ok());
}

#[test]
fn a_batch_up_to_the_limit_is_taken_and_one_more_is_413() {
    let batch = |count| Bytes::from(format!("[{}]", vec![EVENT_GRID; count].join(",\n")));
    let full = events(decode(&CallbackHead::default(), &batch(5_000), &LIMITS).unwrap());
    assert_eq!(full.len(), 5_000);
    assert!(full.iter().all(|event| event.raw == EVENT_GRID));
    let error = decode(&CallbackHead::default(), &batch(5_001), &LIMITS).unwrap_err();
    assert_eq!(error, DecodeError::TooManyEvents { limit: 5_000 });
    assert_eq!(error.status(), 413);
}

#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn published_samples_decode_in_the_form_that_their_name_says() {
    let folder = std::env::var_os("HOOKSWITCH_SAMPLES").expect("HOOKSWITCH_SAMPLES is set");
    let folder = Path::new(&folder).join("samples");
    let mut checked = 0;
    for path in std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
    {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("fragment-") || !name.ends_with(".json") {
            continue;
        }
        let form = match name {
            _ if name.starts_with("2021-private-") => EnvelopeForm::PrivatePreview,
            _ if name.starts_with("eg-") => EnvelopeForm::EventGrid,
            _ => EnvelopeForm::CloudEvents,
        };
        for event in events(check(&[], std::fs::read(&path).unwrap()).unwrap()) {
            assert_eq!(event.form, form, "{name}");
            assert_eq!(published(&event)["data"], event.data, "{name}");
        }
        checked += 1;
    }
    assert!(
        checked > 20,
        "only {checked} samples in {}",
        folder.display()
    );
}
