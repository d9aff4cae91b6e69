//! Reading the ids of an event by pointer, else out of its `subject` or `source`. Which call
//! they make is decided in `src/admit/admission/resolve.rs`.

use regex::Regex;
use serde_json::Value;

use crate::event::{CallIds, Event};

use super::{pointer::Pointer, recording_id, table::IdSet};

/// The ids that a pattern may capture, by the names of its groups.
const NAMES: [&str; 5] = [
    "connection",
    "server_call",
    "recording",
    "operation_context",
    "correlation",
];

/// A compiled id set.
#[derive(Debug)]
pub(super) struct IdReader {
    connection: Vec<Pointer>,
    server_call: Vec<Pointer>,
    recording: Vec<Pointer>,
    operation_context: Vec<Pointer>,
    correlation: Vec<Pointer>,
    patterns: Vec<Regex>,
}

impl IdReader {
    /// # Errors
    /// What is wrong with the set.
    pub(super) fn compile(set: &IdSet) -> Result<Self, String> {
        let pointers = |texts: &[String]| {
            texts
                .iter()
                .map(|text| {
                    Pointer::parse(text).ok_or_else(|| {
                        format!("{text:?} is not a JSON Pointer: it must start with '/'")
                    })
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            connection: pointers(&set.connection)?,
            server_call: pointers(&set.server_call)?,
            recording: pointers(&set.recording)?,
            operation_context: pointers(&set.operation_context)?,
            correlation: pointers(&set.correlation)?,
            patterns: set
                .patterns
                .iter()
                .map(|text| pattern(text))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The ids of `event`; for each the first location that holds a non-empty string.
    pub(super) fn read(&self, event: &Event) -> CallIds {
        let find = |name, pointers| {
            in_data(pointers, &event.data).or_else(|| self.in_attributes(name, event))
        };
        let recording = find("recording", &self.recording);
        let (connection, recording_endpoint) = match in_data(&self.connection, &event.data) {
            Some(id) if self.is_recording_endpoint(&id, recording.as_deref(), event) => {
                (None, Some(id))
            }
            Some(id) => (Some(id), None),
            None => (self.in_attributes("connection", event), None),
        };
        CallIds {
            connection,
            recording_endpoint,
            server_call: find("server_call", &self.server_call),
            recording,
            operation_context: find("operation_context", &self.operation_context),
            correlation: find("correlation", &self.correlation),
        }
    }

    /// Whether the connection id in the data of `event` is the endpoint inside the id of the recording that its `source`
    /// or `subject` names. GUIDs compare without letter case (RFC 9562, section 4).
    fn is_recording_endpoint(&self, id: &str, recording: Option<&str>, event: &Event) -> bool {
        recording.is_some_and(|recording| {
            self.in_attributes("recording", event).is_some()
                && recording_id::endpoint(recording)
                    .is_some_and(|endpoint| endpoint.eq_ignore_ascii_case(id))
        })
    }

    fn in_attributes(&self, name: &str, event: &Event) -> Option<String> {
        let texts = [&event.attributes.subject, &event.attributes.source];
        self.patterns
            .iter()
            .filter(|pattern| pattern.capture_names().flatten().any(|group| group == name))
            .flat_map(|pattern| texts.into_iter().flatten().map(move |text| (pattern, text)))
            .find_map(|(pattern, text)| {
                let id = pattern.captures(text)?.name(name)?.as_str();
                (!id.is_empty()).then(|| id.to_owned())
            })
    }
}

fn in_data(pointers: &[Pointer], data: &Value) -> Option<String> {
    pointers
        .iter()
        .filter_map(|pointer| pointer.find(data)?.as_str())
        .find(|id| !id.is_empty())
        .map(str::to_owned)
}

fn pattern(text: &str) -> Result<Regex, String> {
    let pattern = Regex::new(text)
        .map_err(|error| format!("the pattern {text:?} does not compile: {error}"))?;
    let groups: Vec<&str> = pattern.capture_names().flatten().collect();
    if let Some(strange) = groups.iter().find(|group| !NAMES.contains(group)) {
        return Err(format!(
            "the pattern {text:?} captures {strange:?}; the ids are {}",
            NAMES.join(", ")
        ));
    }
    if groups.is_empty() {
        return Err(format!(
            "the pattern {text:?} captures nothing; name a group after one of {}",
            NAMES.join(", ")
        ));
    }
    Ok(pattern)
}
