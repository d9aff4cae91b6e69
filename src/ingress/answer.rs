//! The 202: what a sender is told about a callback that is durable.

use actix_web::{HttpResponse, http::header};
use serde::Serialize;

use crate::{
    event::Fault,
    journal::{Admitted, Receipt},
};

use super::EventSummary;

/// Errors listed in one answer: a large batch of hostile events must not be answered with more than it was.
pub(super) const ERRORS_SHOWN: usize = 1_000;

/// Body of the 202.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Accepted<'a> {
    /// Events that are durable and owed.
    pub accepted: usize,
    /// Events that were known already.
    pub duplicates: usize,
    /// Events that are kept in quarantine.
    pub quarantined: Vec<Kept<'a>>,
}

/// One event kept in quarantine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Kept<'a> {
    /// Its place in the callback, from 0.
    pub index: usize,
    /// Its id, where one could be read.
    pub id: Option<&'a str>,
    /// Its type, where one could be read.
    #[serde(rename = "type")]
    pub event_type: Option<&'a str>,
    /// What is wrong with it, by JSON Pointer from its root; at most 1,000 in one answer.
    pub errors: &'a [Fault],
}

impl<'a> Accepted<'a> {
    /// Counts what became of the events that `summaries` stand for.
    #[must_use]
    pub fn new(outcomes: &[Admitted], summaries: &'a [EventSummary]) -> Self {
        let mut answer = Self {
            accepted: 0,
            duplicates: 0,
            quarantined: Vec::new(),
        };
        let mut room = ERRORS_SHOWN;
        for (index, (outcome, note)) in outcomes.iter().zip(summaries).enumerate() {
            match outcome {
                Admitted::Accepted => answer.accepted += 1,
                Admitted::Duplicate => answer.duplicates += 1,
                Admitted::Quarantined => {
                    let shown = note.faults.len().min(room);
                    room -= shown;
                    answer.quarantined.push(Kept {
                        index,
                        id: note.id.as_deref(),
                        event_type: note.event_type.as_deref(),
                        errors: note.faults.get(..shown).unwrap_or_default(),
                    });
                }
            }
        }
        answer
    }
}

/// The only place that answers a callback 2xx, and it takes the proof that everything is durable (P1).
pub(super) fn accepted(receipt: &Receipt, summaries: &[EventSummary]) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(Accepted::new(receipt.outcomes(), summaries))
}
