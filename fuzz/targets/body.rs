//! Body to events: whatever is accepted is published byte for byte, and an error points into the body.
//!
//! The input is a body, with a head before it where it begins with `@`: lines `name: value`, then an empty line.

use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hookswitch::{
    admit::Offer,
    config::{self, App, Sources},
    envelope::{CallbackHead, Element},
    event::{AppName, EnvelopeForm},
    ingress::{Pipeline, Rejection, RequestFacts},
};
use serde_json::{Value, value::RawValue};

use super::seeds;

/// Most events in one callback.
const BATCH: usize = 100;

/// One app that keeps events that it does not understand, one that refuses them.
const CONFIG: &str = r#"
[server]
batch_limit = 100
[broker]
url = "stdout:"
[[apps]]
name = "lenient"
auth = "none"
[[apps]]
name = "strict"
auth = "none"
on_invalid = "reject"
on_unknown = "reject"
[[routes]]
name = "calls"
queue = "calls"
partitions = 4
[[routes]]
name = "some"
queue = "some"
filter = [{ prefix = { subject = "calling/" } }, { exact = { "data.operationContext" = "survey" } }]
"#;

static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let (config, catalog) =
        config::load(&Sources::text("fuzz", CONFIG)).expect("the configuration is good");
    Pipeline::new(
        config.apps,
        config.routes,
        BATCH,
        Arc::new(ArcSwap::from_pointee(catalog)),
    )
});

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut all = seeds::payloads();
    all.extend(
        seeds::files(&seeds::root().join("tests/data/json"), ".tsv")
            .iter()
            .flat_map(|table| {
                // The third column is the body, escaped; it is a good seed as it is.
                let lines = table.split(|byte| *byte == b'\n');
                lines
                    .filter_map(|line| line.split(|byte| *byte == b'\t').nth(2).map(<[u8]>::to_vec))
            }),
    );
    all.push(
        b"@content-type: application/json\nce-specversion: 1.0\nce-id: a%20b\nce-source: \"s\"\nce-type: T\nce-time: now\n\n{\"a\" : [1, 2.50e3]}"
            .to_vec(),
    );
    all.push(b"@content-type: application/json; charset=us-ascii\nce-specversion: 1.0\nce-id: a\nce-source: s\nce-type: T\n\n\xef\xbb\xbf{\"a\":1}".to_vec());
    all.push(b"\xef\xbb\xbf[{\"eventType\":\"E\",\"data\":{}}]".to_vec());
    all.push(b"@content-type: text/plain; charset=utf-8\n\n{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"T\"}".to_vec());
    all.push(b"@content-type: application/cloudevents-batch+json\n\n[ {\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"T\",\"data\": {\"\\u00e4\":1.0}} ,\n{\"eventType\":\"E\",\"data\" : null}, 5]".to_vec());
    all
}

pub(crate) fn run(input: &[u8]) {
    let (head, body) = split(input);
    let body = Bytes::copy_from_slice(body);
    match PIPELINE.read(&head, &body) {
        Ok(elements) => {
            // A byte order mark is skipped: what is published begins after it.
            let mark = "\u{feff}".as_bytes();
            let text = if body.starts_with(mark) {
                body.slice(mark.len()..)
            } else {
                body
            };
            accepted(&text, elements);
        }
        Err(Rejection::Envelope(error)) => {
            assert!([400, 413, 415].contains(&error.status()), "{error}");
            assert!(
                error.offset().is_none_or(|offset| offset <= body.len()),
                "{error}"
            );
            for fault in error.errors() {
                assert!(
                    fault.offset.is_none_or(|offset| offset <= body.len()),
                    "{error}"
                );
            }
        }
        Err(Rejection::Events { .. }) => unreachable!("no event was looked at yet"),
    }
}

/// What ingress would offer to the journal for this callback, and its app.
pub(crate) fn offers(body: &str) -> (AppName, Vec<Offer>) {
    let app = PIPELINE.app("lenient").expect("it is configured");
    let body = Bytes::copy_from_slice(body.as_bytes());
    let offers = PIPELINE
        .read(&CallbackHead::default(), &body)
        .and_then(|elements| PIPELINE.prepare(app, elements, &RequestFacts::default()))
        .expect("it is a good callback");
    (app.name.clone(), offers)
}

fn split(input: &[u8]) -> (CallbackHead<'_>, &[u8]) {
    let mut head = CallbackHead::default();
    let Some(rest) = input.strip_prefix(b"@") else {
        return (head, input);
    };
    let Some(end) = rest.windows(2).position(|two| two == b"\n\n") else {
        return (head, rest);
    };
    let (lines, body) = rest.split_at(end);
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next(), parts.next());
        if let (Some(Ok(name)), Some(value)) = (name.map(std::str::from_utf8), value) {
            head.header(name, value.trim_ascii());
        }
    }
    (head, body.strip_prefix(b"\n\n").unwrap_or(body))
}

fn accepted(body: &Bytes, elements: Vec<Element>) {
    assert!((1..=BATCH).contains(&elements.len()));
    // The text between the events makes them an array, and nothing else.
    let mut between = Vec::new();
    let mut end = 0;
    for element in &elements {
        let raw = match element {
            Element::Event(event) => &event.raw,
            Element::Malformed(malformed) => &malformed.raw,
        };
        let start = place(body, raw);
        assert!(
            start >= end,
            "an event begins before the one before it ends"
        );
        between.extend_from_slice(body.get(end..start).expect("it is within the body"));
        between.push(b'.');
        end = start + raw.len();
        check(body, element);
    }
    between.extend_from_slice(body.get(end..).expect("it is within the body"));
    between.retain(|byte| !byte.is_ascii_whitespace());
    let dots = vec!["."; elements.len()].join(",");
    assert!(
        between == dots.as_bytes() || between == format!("[{dots}]").as_bytes(),
        "left out: {}",
        String::from_utf8_lossy(&between)
    );
    published(elements);
}

/// The position of the slice, by its address and not by its content.
fn place(body: &Bytes, slice: &Bytes) -> usize {
    let start = (slice.as_ptr() as usize).checked_sub(body.as_ptr() as usize);
    let start = start.expect("an event is a slice of the body");
    assert!(
        start + slice.len() <= body.len(),
        "an event is a slice of the body"
    );
    start
}

fn check(body: &Bytes, element: &Element) {
    let Element::Event(event) = element else {
        return;
    };
    assert!(!event.attributes.event_type.is_empty());
    // Another reader finds the same in the published bytes.
    let published: Value =
        serde_json::from_slice(&event.cloud_event).expect("what is published is JSON");
    assert_eq!(published.get("specversion"), Some(&"1.0".into()));
    assert_eq!(
        published.get("type"),
        Some(&event.attributes.event_type.as_str().into())
    );
    assert_eq!(published.get("data").unwrap_or(&Value::Null), &event.data);
    let structured = event.form == EnvelopeForm::CloudEvents && event.cloud_event == event.raw;
    if structured {
        return;
    }
    // The data are unchanged: the same text as received.
    let data = match event.form {
        EnvelopeForm::CloudEvents => {
            assert_eq!(&event.raw, body, "in binary mode the body is the data");
            (!event.raw.is_empty()).then(|| event.raw.trim_ascii().to_vec())
        }
        EnvelopeForm::EventGrid | EnvelopeForm::PrivatePreview => {
            let members: std::collections::HashMap<String, Box<RawValue>> =
                serde_json::from_slice(&event.raw).expect("it was accepted as an object");
            members
                .get("data")
                .map(|data| data.get().as_bytes().to_vec())
        }
    };
    let ending = match data {
        Some(data) => [b",\"data\":", data.as_slice(), b"}"].concat(),
        None => b"}".to_vec(),
    };
    assert!(
        event.cloud_event.ends_with(&ending),
        "the data were changed"
    );
}

/// The journal gets the CloudEvent, or for the quarantine the bytes as received.
fn published(elements: Vec<Element>) {
    let expected: Vec<[Bytes; 2]> = elements
        .iter()
        .map(|element| match element {
            Element::Event(event) => [event.cloud_event.clone(), event.raw.clone()],
            Element::Malformed(malformed) => [malformed.raw.clone(), malformed.raw.clone()],
        })
        .collect();
    let app = |name: &str| -> &App { PIPELINE.app(name).expect("it is configured") };
    let request = RequestFacts {
        path: Some("a/path".to_owned()),
        ..RequestFacts::default()
    };
    let offers = PIPELINE
        .prepare(app("lenient"), elements.clone(), &request)
        .expect("this app keeps everything");
    assert_eq!(offers.len(), expected.len());
    for (offer, [cloud_event, raw]) in offers.iter().zip(&expected) {
        assert!(!offer.targets.is_empty(), "every event has a target");
        let body = match offer.facts.quarantine {
            None => offer.body == cloud_event,
            Some(_) => offer.body == raw || offer.body == cloud_event,
        };
        assert!(body, "something else is published");
    }
    let is_strange =
        |offer: &Offer| offer.facts.quarantine.is_some() || offer.facts.generation.is_none();
    let refused = PIPELINE.prepare(app("strict"), elements, &request).is_err();
    assert_eq!(
        refused,
        offers.iter().any(is_strange),
        "the two apps judge differently"
    );
}
