//! Parcels of what was accepted lately, so that the way from accept to publish never reads the disk.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::dispatch::DeliveryId;

use super::Parcel;

/// What a parcel takes besides its bytes, roughly.
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

fn size(parcel: &Parcel) -> usize {
    parcel.record.body.len() + OVERHEAD_BYTES
}
