//! Payloads of recently accepted deliveries, so that the path from accept to publish never reads the disk.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::dispatch::DeliveryId;

use super::DeliveryPayload;

/// Approximate size of a payload besides its texts.
const OVERHEAD_BYTES: usize = 512;

/// The newest payloads of pending deliveries, up to a number of bytes. When it is full the oldest are dropped: they
/// belong to a destination that does not accept them, and the others should not suffer from that.
#[derive(Debug)]
pub(super) struct PayloadCache {
    limit_bytes: usize,
    held: Mutex<CachedPayloads>,
}

#[derive(Debug, Default)]
struct CachedPayloads {
    payloads: BTreeMap<DeliveryId, DeliveryPayload>,
    bytes: usize,
}

impl PayloadCache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            held: Mutex::default(),
        }
    }

    pub(super) fn get(&self, delivery: DeliveryId) -> Option<DeliveryPayload> {
        self.lock().payloads.get(&delivery).cloned()
    }

    pub(super) fn insert_all(
        &self,
        payloads: impl IntoIterator<Item = (DeliveryId, DeliveryPayload)>,
    ) {
        let mut held = self.lock();
        for (delivery, payload) in payloads {
            held.bytes += size(&payload);
            held.payloads.insert(delivery, payload);
        }
        while held.bytes > self.limit_bytes {
            let Some((_, oldest)) = held.payloads.pop_first() else {
                break;
            };
            held.bytes -= size(&oldest);
        }
    }

    pub(super) fn remove(&self, delivery: DeliveryId) -> Option<DeliveryPayload> {
        let mut held = self.lock();
        let payload = held.payloads.remove(&delivery)?;
        held.bytes -= size(&payload);
        Some(payload)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CachedPayloads> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sender can make the facts of an event many times as large as its body.
fn size(payload: &DeliveryPayload) -> usize {
    let facts = &payload.record.facts;
    let texts = [
        &facts.path,
        &facts.query,
        &facts.traceparent,
        &facts.tracestate,
        &facts.correlation_id,
    ];
    let faults = facts.quarantine.iter().flat_map(|why| &why.faults);
    payload.record.body.len()
        + OVERHEAD_BYTES
        + facts.event_type.len()
        + facts.event_id.len()
        + payload
            .record
            .call
            .as_ref()
            .map_or(0, |call| call.as_str().len())
        + texts.into_iter().flatten().map(String::len).sum::<usize>()
        + faults
            .map(|fault| fault.pointer.len() + fault.message.len())
            .sum::<usize>()
}
