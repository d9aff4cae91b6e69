//! Parcels of what was accepted lately, so that the way from accept to publish never reads the disk.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::dispatch::DeliveryId;

use super::Parcel;

/// What a parcel takes besides its texts, roughly.
const OVERHEAD_BYTES: usize = 512;

/// The newest parcels that are owed, up to a number of bytes. When it is full the oldest leave: they belong to a
/// destination that does not take them, and the others should not suffer from that.
#[derive(Debug)]
pub(super) struct Cache {
    limit_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    parcels: BTreeMap<DeliveryId, Parcel>,
    bytes: usize,
}

impl Cache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            held: Mutex::default(),
        }
    }

    pub(super) fn get(&self, delivery: DeliveryId) -> Option<Parcel> {
        self.lock().parcels.get(&delivery).cloned()
    }

    pub(super) fn insert_all(&self, parcels: impl IntoIterator<Item = (DeliveryId, Parcel)>) {
        let mut held = self.lock();
        for (delivery, parcel) in parcels {
            held.bytes += size(&parcel);
            held.parcels.insert(delivery, parcel);
        }
        while held.bytes > self.limit_bytes {
            let Some((_, oldest)) = held.parcels.pop_first() else {
                break;
            };
            held.bytes -= size(&oldest);
        }
    }

    pub(super) fn remove(&self, delivery: DeliveryId) -> Option<Parcel> {
        let mut held = self.lock();
        let parcel = held.parcels.remove(&delivery)?;
        held.bytes -= size(&parcel);
        Some(parcel)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sender can make the facts of an event many times as large as its body.
fn size(parcel: &Parcel) -> usize {
    let facts = &parcel.record.facts;
    let texts = [
        &facts.path,
        &facts.query,
        &facts.traceparent,
        &facts.tracestate,
        &facts.correlation_id,
    ];
    let faults = facts.quarantine.iter().flat_map(|why| &why.faults);
    parcel.record.body.len()
        + OVERHEAD_BYTES
        + facts.event_type.len()
        + facts.event_id.len()
        + facts.call.as_ref().map_or(0, |call| call.as_str().len())
        + texts.into_iter().flatten().map(String::len).sum::<usize>()
        + faults
            .map(|fault| fault.pointer.len() + fault.message.len())
            .sum::<usize>()
}
