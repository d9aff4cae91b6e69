//! The 202: the answer to the sender of a durable callback. The status of a refusal is decided in `error.rs`
//! (`status_of`).

use actix_web::{HttpResponse, http::header};
use serde::Serialize;

use crate::{
    admit::Offer,
    event::Fault,
    journal::{Admitted, Receipt},
};

/// Errors listed in one answer: a large batch of hostile events must not get an answer larger than itself.
pub(super) const ERRORS_SHOWN: usize = 1_000;

/// Body of the 202.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Accepted<'a> {
    /// Events that are durable and pending.
    pub accepted: usize,
    /// Events that were already known.
    pub duplicates: usize,
    /// Events that are kept in quarantine.
    pub quarantined: Vec<Kept<'a>>,
}

/// One event kept in quarantine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Kept<'a> {
    /// Its index in the callback, from 0.
    pub index: usize,
    /// Its id, if one could be read.
    pub id: Option<&'a str>,
    /// Its type, if one could be read.
    #[serde(rename = "type")]
    pub event_type: Option<&'a str>,
    /// What is wrong with it, by JSON Pointer from its root; at most 1,000 in one answer.
    pub errors: &'a [Fault],
}

impl<'a> Accepted<'a> {
    /// Counts the outcomes of `offers`.
    #[must_use]
    pub fn new(outcomes: &[Admitted], offers: &'a [Offer]) -> Self {
        let mut answer = Self {
            accepted: 0,
            duplicates: 0,
            quarantined: Vec::new(),
        };
        let mut room = ERRORS_SHOWN;
        for (index, (outcome, offer)) in outcomes.iter().zip(offers).enumerate() {
            match outcome {
                Admitted::Accepted => answer.accepted += 1,
                Admitted::Duplicate => answer.duplicates += 1,
                Admitted::Quarantined => {
                    let shown = offer.faults.len().min(room);
                    room -= shown;
                    answer.quarantined.push(Kept {
                        index,
                        id: offer.id(),
                        event_type: offer.event_type(),
                        errors: offer.faults.get(..shown).unwrap_or_default(),
                    });
                }
            }
        }
        answer
    }
}

/// The only place that answers a callback with 2xx. It requires the proof that everything is durable (P1).
pub(super) fn accepted(receipt: &Receipt, offers: &[Offer]) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(Accepted::new(receipt.outcomes(), offers))
}
