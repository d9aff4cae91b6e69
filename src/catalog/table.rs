//! `catalog.json`: one row per (generation, wire type), named id sets, and the conditions that tell generations apart.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::event::{EnvelopeForm, Event, Generation, Kind};

use super::{CatalogProblem, files::TABLE, pointer::Pointer};

/// The file as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CatalogTable {
    #[serde(rename = "$comment", default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// Where ids are, by a name that rows refer to. `default` is used for types without a row.
    #[serde(default)]
    pub(super) ids: BTreeMap<String, IdSet>,
    #[serde(default)]
    pub(super) events: Vec<CatalogRow>,
}

/// One line of the catalogue: a wire type in one generation.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CatalogRow {
    /// Full wire type: `Microsoft.Communication.CallConnected`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The generation whose shape this is.
    pub generation: Generation,
    pub kind: Kind,
    /// The schema of `data`, relative to the schema directory.
    pub schema: String,
    /// The name of the id set.
    pub(super) ids: String,
    /// Signs of this generation: one of them is enough. A row without signs is taken where no other row's signs are
    /// present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) when: Vec<Condition>,
}

/// JSON Pointers into `data`, each list in order of preference, and patterns over `subject` and `source`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdSet {
    pub(super) connection: Vec<String>,
    pub(super) server_call: Vec<String>,
    pub(super) recording: Vec<String>,
    pub(super) operation_context: Vec<String>,
    pub(super) correlation: Vec<String>,
    /// Regular expressions whose capture groups are named like the ids above.
    pub(super) patterns: Vec<String>,
}

/// Signs of a generation; all given signs must be present.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Condition {
    /// The envelope is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    envelope: Vec<EnvelopeForm>,
    /// Each of these locations in `data` holds something other than null.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    present: Vec<Location>,
    /// None of these locations in `data` holds anything but null.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    absent: Vec<Location>,
    /// The event's time is this instant or later; an event without a readable time does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_from: Option<jiff::Timestamp>,
    /// The event's time is before this instant; an event without a readable time does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_before: Option<jiff::Timestamp>,
    /// `source` starts like this.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_prefix: Option<String>,
    /// `subject` starts like this.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_prefix: Option<String>,
}

/// A JSON Pointer as written, and split.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(try_from = "String", into = "String")]
struct Location {
    text: String,
    pointer: Pointer,
}

impl TryFrom<String> for Location {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Pointer::parse(&text) {
            Some(pointer) => Ok(Self { text, pointer }),
            None => Err(format!(
                "{text:?} is not a JSON Pointer: it must start with '/'"
            )),
        }
    }
}

impl From<Location> for String {
    fn from(place: Location) -> Self {
        place.text
    }
}

impl CatalogRow {
    /// Whether the signs of this row's generation are present; a row without `when` has none. Looks only at the shape,
    /// not at validity.
    pub(super) fn has_signs_in(&self, event: &Event) -> bool {
        self.when.iter().any(|condition| condition.holds(event))
    }
}

impl Condition {
    fn holds(&self, event: &Event) -> bool {
        let starts = |prefix: &Option<String>, text: &Option<String>| {
            prefix.as_ref().is_none_or(|prefix| {
                text.as_ref()
                    .is_some_and(|text| text.starts_with(prefix.as_str()))
            })
        };
        (self.envelope.is_empty() || self.envelope.contains(&event.form))
            && self
                .present
                .iter()
                .all(|place| place.pointer.find(&event.data).is_some())
            && self
                .absent
                .iter()
                .all(|place| place.pointer.find(&event.data).is_none())
            && starts(&self.source_prefix, &event.attributes.source)
            && starts(&self.subject_prefix, &event.attributes.subject)
            // Last, because reading the time costs more than the other checks.
            && self.holds_at(event.attributes.time.as_deref())
    }

    fn holds_at(&self, time: Option<&str>) -> bool {
        if self.time_from.is_none() && self.time_before.is_none() {
            return true;
        }
        time.and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .is_some_and(|time| {
                self.time_from.is_none_or(|start| start <= time)
                    && self.time_before.is_none_or(|end| time < end)
            })
    }
}

impl CatalogTable {
    pub(super) fn parse(text: &str) -> Result<Self, CatalogProblem> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let table: Self = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let place = error.path().to_string();
            CatalogProblem::new(TABLE, format!("at {place}: {}", error.into_inner()))
        })?;
        reader
            .end()
            .map_err(|error| CatalogProblem::new(TABLE, error.to_string()))?;
        Ok(table)
    }

    /// Every check of the rows alone.
    pub(super) fn check(&self, problems: &mut Vec<CatalogProblem>) {
        let mut seen = HashSet::new();
        for row in &self.events {
            let mut say = |what: String| {
                problems.push(CatalogProblem::new(
                    TABLE,
                    format!("row {} of {}: {what}", row.event_type, row.generation),
                ));
            };
            if row.event_type.is_empty() {
                say("the type is empty".to_owned());
            }
            if !is_generation_name(row.generation.as_str()) {
                say(format!(
                    "{:?} is not a generation: 1 to 64 of a-z, A-Z, 0-9, '.', '-' and '_'",
                    row.generation.as_str()
                ));
            }
            if !self.ids.contains_key(&row.ids) {
                say(format!("no id set is called {:?}", row.ids));
            }
            if !seen.insert((row.event_type.as_str(), row.generation.as_str())) {
                say("listed twice".to_owned());
            }
        }
    }

    /// Overlays an operator's table over this one. A row of the same type and generation replaces ours; a new one is
    /// tried before ours, because ours may match everything.
    pub(super) fn overlay(&mut self, other: Self) {
        self.ids.extend(other.ids);
        let mut new = Vec::new();
        for row in other.events {
            let same = self.events.iter_mut().find(|ours| {
                ours.event_type == row.event_type && ours.generation == row.generation
            });
            match same {
                Some(ours) => *ours = row,
                None => new.push(row),
            }
        }
        self.events.splice(0..0, new);
    }
}

/// It is used in a header, in metrics and in file names.
fn is_generation_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}
