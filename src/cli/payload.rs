//! A callback body in a file, and the catalogue's result for it: `validate` prints it and `explain` begins with it.

use std::{
    io::{self, Read},
    path::Path,
};

use anyhow::Context;
use bytes::Bytes;
use serde::Serialize;

use crate::{
    catalog::{Catalog, CatalogMatch, Validity},
    envelope::{self, CallbackHead, DecodeError, DecodeLimits, Element},
    event::{EnvelopeForm, Fault, Generation, Kind},
};

/// Reads the body; `-` is standard input.
pub(super) fn read(file: &Path) -> anyhow::Result<Bytes> {
    let body = if file.as_os_str() == "-" {
        let mut body = Vec::new();
        io::stdin().lock().read_to_end(&mut body).map(|_| body)
    } else {
        std::fs::read(file)
    };
    body.map(Bytes::from)
        .with_context(|| format!("cannot read {}", file.display()))
}

/// Decodes the events of a body, as the receiver does for a request without a `Content-Type`.
pub(super) fn decode(body: &Bytes, batch_limit: usize) -> Result<Vec<Element>, DecodeError> {
    envelope::decode(
        &CallbackHead::default(),
        body,
        &DecodeLimits::new(batch_limit),
    )
}

/// What is wrong with a body as a whole: the error, and below it each fault by location.
pub(super) fn describe(error: &DecodeError) -> String {
    let mut text = error.to_string();
    for detail in error.errors() {
        // If the body is not JSON, the error says everything.
        if let Some(index) = detail.index {
            let Fault { pointer, message } = detail.fault;
            text.push_str(&format!("; event {index} {pointer}: {message}"));
        }
    }
    text
}

/// One event as `validate` shows it. The members are public interface.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) index: usize,
    pub(super) id: Option<String>,
    #[serde(rename = "type")]
    pub(super) event_type: Option<String>,
    pub(super) envelope: Option<EnvelopeForm>,
    pub(super) generation: Option<Generation>,
    pub(super) kind: Kind,
    pub(super) call_key: Option<String>,
    pub(super) valid: bool,
    pub(super) errors: Vec<Fault>,
}

impl Report {
    /// The result for the element at `index`.
    pub(super) fn of(index: usize, element: &Element, catalog: &Catalog) -> Self {
        match element {
            Element::Event(event) => {
                let CatalogMatch {
                    kind,
                    generation,
                    ids,
                    verdict,
                    ..
                } = catalog.examine(event);
                // An unknown type is not an error: the service adds types, and by default they are routed.
                let errors = match verdict {
                    Validity::Valid | Validity::Unknown => Vec::new(),
                    Validity::Invalid(faults) => faults,
                };
                Self {
                    index,
                    id: event.attributes.id.clone(),
                    event_type: Some(event.attributes.event_type.clone()),
                    envelope: Some(event.form),
                    generation,
                    kind,
                    call_key: ids.own_key().map(|key| key.as_str().to_owned()),
                    valid: errors.is_empty(),
                    errors,
                }
            }
            Element::Malformed(malformed) => Self {
                index,
                id: malformed.id.clone(),
                event_type: malformed.event_type.clone(),
                envelope: None,
                generation: None,
                kind: Kind::Unknown,
                call_key: None,
                valid: false,
                errors: malformed.faults.clone(),
            },
        }
    }

    /// The event in one line of text, and each of its errors in one below.
    pub(super) fn lines(&self) -> String {
        let word = match self {
            Self { valid: false, .. } => "invalid",
            Self {
                kind: Kind::Unknown,
                ..
            } => "unknown",
            _ => "valid",
        };
        let mut text = format!(
            "[{}] {word}: {} · {} · {} · {} · call {}",
            self.index,
            self.event_type.as_deref().unwrap_or("no type"),
            self.envelope.map_or("no envelope", EnvelopeForm::as_str),
            self.generation
                .as_ref()
                .map_or("no generation", Generation::as_str),
            self.kind,
            self.call_key.as_deref().unwrap_or("unkeyed"),
        );
        for Fault { pointer, message } in &self.errors {
            text.push_str(&format!("\n    {pointer}: {message}"));
        }
        text.chars()
            .map(|c| {
                if c.is_control() && c != '\n' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect()
    }
}
