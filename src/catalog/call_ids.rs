//! Reading the ids of an event by pointer, else out of its `subject` or `source` (design 5, "Call key").

use regex::Regex;
use serde_json::Value;

use crate::event::{CallIds, Event};

use super::{pointer::Pointer, table::IdSet};

/// The fields of [`CallIds`], in their order.
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
    /// In the order of [`NAMES`].
    pointers: [Vec<Pointer>; 5],
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
                        format!("{text:?} is no JSON Pointer: it must start with '/'")
                    })
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            pointers: [
                pointers(&set.connection)?,
                pointers(&set.server_call)?,
                pointers(&set.recording)?,
                pointers(&set.operation_context)?,
                pointers(&set.correlation)?,
            ],
            patterns: set
                .patterns
                .iter()
                .map(|text| pattern(text))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The ids of `event`; for each the first place that holds a string which is not empty.
    pub(super) fn read(&self, event: &Event) -> CallIds {
        let mut found = NAMES.iter().zip(&self.pointers).map(|(name, pointers)| {
            in_data(pointers, &event.data).or_else(|| self.in_attributes(name, event))
        });
        let mut next = || found.next().flatten();
        CallIds {
            connection: next(),
            server_call: next(),
            recording: next(),
            operation_context: next(),
            correlation: next(),
        }
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
