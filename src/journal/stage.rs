//! A callback on its way into a commit: what will be written of it, and the answer to its sender.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    admit::{EventFacts, PlacedDelivery},
    dispatch::{DeliveryId, Lane, PendingDelivery},
    event::CallKey,
    route::{Address, Destination, DestinationId},
    status::{EventOutcome, LiveEvent, LiveStage},
};

use super::{
    Admitted, DeliveryPayload, Record,
    handles::{KnownDestination, ShareId},
    reply::PendingReply,
    rows::DeliveryColumns,
    store::json,
};

/// An event to be written.
#[derive(Debug)]
pub(super) struct NewRecord {
    pub(super) record: Arc<Record>,
    /// Its facts and its placement as JSON.
    pub(super) facts: String,
    pub(super) deliveries: Vec<NewDelivery>,
}

/// A delivery to be written, with the dispatcher's and the publisher's view of it.
#[derive(Debug)]
pub(super) struct NewDelivery {
    pub(super) row: DeliveryColumns,
    pub(super) owed: PendingDelivery,
    pub(super) share: ShareId,
    pub(super) payload: DeliveryPayload,
    pub(super) line: Option<crate::admit::LruSlot>,
}

/// A callback with its outcome.
#[derive(Debug)]
pub(super) struct StagedCallback {
    pub(super) reply: PendingReply,
    /// Released when the answer is given.
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) events: usize,
    pub(super) outcomes: Vec<Admitted>,
    pub(super) records: Vec<NewRecord>,
}

impl StagedCallback {
    /// Its deliveries, in order of admission.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = &NewDelivery> {
        self.records.iter().flat_map(|record| &record.deliveries)
    }
}

/// How an outcome is counted.
pub(super) fn outcome(admitted: Admitted) -> EventOutcome {
    match admitted {
        Admitted::Accepted => EventOutcome::Accepted,
        Admitted::Duplicate => EventOutcome::Duplicate,
        Admitted::Quarantined => EventOutcome::Quarantined,
    }
}

/// What a record knows of its deliveries, stored with its facts: enough to send it if nothing else can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placement {
    /// Call key; `None` for unkeyed events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<CallKey>,
    /// Destination and sequence of each delivery: the first has the id of the record, and the others follow it.
    pub(super) to: Vec<(DestinationId, Option<i64>)>,
}

/// A record's facts as stored: those of its event and its placement, as one JSON object.
fn stored_facts(facts_json: &str, placement: &Placement) -> String {
    let placement = json(placement);
    let members = facts_json.strip_prefix('{').unwrap_or(facts_json);
    format!(
        "{},{members}",
        placement.strip_suffix('}').unwrap_or(&placement)
    )
}

/// A record with its deliveries; the first delivery has the same id as the record.
pub(super) fn new_record(
    record: Arc<Record>,
    facts_json: &str,
    placed: &[(PlacedDelivery, KnownDestination)],
) -> NewRecord {
    let placement = Placement {
        call: record.call.clone(),
        to: placed
            .iter()
            .map(|(placed, _)| (placed.destination, placed.line.map(|line| line.sequence)))
            .collect(),
    };
    let facts = stored_facts(facts_json, &placement);
    let bytes = u32::try_from(facts.len() + record.body.len()).unwrap_or(u32::MAX);
    let received = u32::try_from(record.facts.received.as_second().max(1)).unwrap_or(u32::MAX);
    let deliveries = (record.id.0..)
        .zip(placed)
        .map(|(id, (placed, interned))| {
            let sequence = placed.line.map(|line| line.sequence);
            NewDelivery {
                row: DeliveryColumns {
                    id: id.cast_signed(),
                    record: record.id.0.cast_signed(),
                    destination: placed.destination.0,
                    sequence,
                    line: placed.line.map(|line| line.row),
                    bytes,
                    received,
                    moved: None,
                },
                owed: PendingDelivery {
                    delivery: DeliveryId(id),
                    destination: placed.destination,
                    channel: interned.channel,
                    lane: placed.line.map(|line| Lane {
                        family: interned.family,
                        call: line.call,
                    }),
                    unknown: false,
                },
                share: interned.share,
                payload: DeliveryPayload {
                    record: record.clone(),
                    destination: interned.destination.clone(),
                    sequence,
                    moved: None,
                },
                line: placed.line.map(|line| line.slot),
            }
        })
        .collect();
    NewRecord {
        record,
        facts,
        deliveries,
    }
}

/// A line for `hookswitch tail`.
pub(super) fn live_line(
    stage: LiveStage,
    (facts, call): (&EventFacts, Option<&CallKey>),
    delivery: Option<&DeliveryPayload>,
) -> LiveEvent {
    LiveEvent {
        stage,
        at: jiff::Timestamp::now(),
        app: facts.app.to_string(),
        call: call.map(ToString::to_string),
        kind: facts.kind.to_string(),
        event_type: facts.event_type.clone(),
        id: facts.event_id.clone(),
        destination: delivery.map(|payload| name(&payload.destination)),
        sequence: delivery.and_then(|payload| payload.sequence),
    }
}

/// A destination as operators know it: the queue, or the exchange and the routing key.
pub(super) fn name(destination: &Destination) -> String {
    match &destination.address {
        Address::Queue { name, .. } => name.to_string(),
        Address::Exchange {
            exchange,
            routing_key,
        } => format!("{exchange} {routing_key}"),
    }
}
