//! Events for the tests of this module, made from whole bodies without the envelope module, so that its bugs do not
//! affect these tests.

use std::{fs, path::PathBuf, sync::LazyLock};

use bytes::Bytes;
use serde_json::Value;

use crate::event::{Attributes, EnvelopeForm, Event};

use super::Catalog;

/// Compiling all schemas takes a while in a debug build; the tests share one catalogue.
pub(super) static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every JSON file below `directory`, sorted, by path relative to it.
pub(super) fn json_files(directory: &str) -> Vec<(String, Value)> {
    let directory = root().join(directory);
    let mut found = Vec::new();
    let mut open = vec![directory.clone()];
    while let Some(here) = open.pop() {
        for entry in fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let name = path.strip_prefix(&directory).unwrap().to_str().unwrap();
                found.push((name.to_owned(), read_json(&path)));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

pub(super) fn read_json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The events of a body: one object or an array.
pub(super) fn events_of(body: &Value) -> Vec<Event> {
    match body {
        Value::Array(items) => items.iter().map(event_of).collect(),
        one => vec![event_of(one)],
    }
}

pub(super) fn event_of(body: &Value) -> Event {
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let form = if body.get("specversion").is_some() {
        EnvelopeForm::CloudEvents
    } else if body.get("topic").is_none_or(Value::is_null) {
        EnvelopeForm::PrivatePreview
    } else {
        EnvelopeForm::EventGrid
    };
    let attributes = match form {
        EnvelopeForm::CloudEvents => Attributes {
            id: text("id"),
            source: text("source"),
            event_type: text("type").unwrap(),
            subject: text("subject"),
            time: text("time"),
            other: Vec::new(),
        },
        EnvelopeForm::EventGrid | EnvelopeForm::PrivatePreview => Attributes {
            id: text("id"),
            source: text("topic"),
            event_type: text("eventType").unwrap(),
            subject: text("subject"),
            time: text("eventTime"),
            other: Vec::new(),
        },
    };
    let raw = Bytes::from(body.to_string());
    Event {
        form,
        attributes,
        data: body.get("data").cloned().unwrap_or(Value::Null),
        cloud_event: raw.clone(),
        raw,
    }
}

/// A CloudEvent of `short_type` around `data`, as the service wraps it.
pub(super) fn cloud_event(short_type: &str, data: Value) -> Event {
    event_of(&serde_json::json!({
        "id": "1",
        "source": "calling/callConnections/from-source",
        "type": format!("Microsoft.Communication.{short_type}"),
        "subject": "calling/callConnections/from-subject",
        "time": "2025-06-20T08:00:05Z",
        "specversion": "1.0",
        "data": data,
    }))
}
