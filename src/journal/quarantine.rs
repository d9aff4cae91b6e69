//! Deliveries that the broker will never accept: they move to the quarantine and keep their sequence number.

use crate::{
    admit::{Quarantine, QuarantineReason},
    dispatch::{DeliveryId, PendingDelivery, Refused},
    event::Fault,
    route::{Destination, QUARANTINE, Target},
    status::LiveStage,
};

use super::{
    DeliveryPayload, handles::ShareId, reader::read_payload, rows::DeliveryColumns,
    stage::live_line, store::json, writer::JournalWriter,
};

/// A delivery that replaces another one.
#[derive(Debug)]
pub(super) struct MovedDelivery {
    pub(super) old: DeliveryId,
    pub(super) row: DeliveryColumns,
    pub(super) owed: PendingDelivery,
    pub(super) share: ShareId,
    pub(super) payload: Option<DeliveryPayload>,
    pub(super) line: Option<crate::admit::LruSlot>,
}

/// Where quarantined deliveries go.
pub(super) fn quarantine() -> Destination {
    Target::quarantine().place(None)
}

/// Why a refused delivery is in quarantine.
pub(super) fn note(refused: &Refused) -> Quarantine {
    Quarantine {
        reason: QuarantineReason::Unsendable,
        faults: vec![Fault::new(
            "",
            format!("the broker refused it: {} {}", refused.code, refused.text),
        )],
    }
}

impl JournalWriter {
    /// Prepares the pending moves. A message that the quarantine itself refused stays pending where it is.
    pub(super) fn move_poisoned(&mut self) -> Vec<MovedDelivery> {
        if self.poisoned.is_empty() {
            return Vec::new();
        }
        let poisoned = std::mem::take(&mut self.poisoned);
        let (parked, movable): (Vec<_>, Vec<_>) =
            poisoned.into_iter().partition(|(delivery, _)| {
                self.index.get(*delivery).is_some_and(|pending| {
                    self.destinations
                        .get(pending.destination)
                        .is_some_and(|destination| *destination == quarantine())
                })
            });
        for (delivery, refused) in parked {
            self.park(delivery, &refused);
        }
        // Kept until the move is durable.
        self.poisoned = movable;
        let destination = self.destinations.intern(quarantine());
        let Some(interned) = self.destinations.interned(destination) else {
            return Vec::new();
        };
        let mut moved = Vec::new();
        for (old, refused) in &self.poisoned {
            let Some(pending) = self.index.get(*old) else {
                continue;
            };
            let payload = self.cache.get(*old).or_else(|| {
                read_payload(self.store.connection(), &self.destinations, *old)
                    .ok()
                    .flatten()
            });
            let note = note(refused);
            let new = DeliveryId(self.next_id);
            self.next_id += 1;
            moved.push(MovedDelivery {
                old: *old,
                row: DeliveryColumns {
                    id: new.0.cast_signed(),
                    record: pending.record.0.cast_signed(),
                    destination: destination.0,
                    sequence: payload.as_ref().and_then(|payload| payload.sequence),
                    line: None,
                    bytes: pending.bytes,
                    received: pending.received,
                    moved: Some(json(&note)),
                },
                share: interned.share,
                owed: PendingDelivery {
                    delivery: new,
                    destination,
                    channel: interned.channel,
                    lane: None,
                    unknown: false,
                },
                payload: payload.map(|payload| DeliveryPayload {
                    destination: interned.destination.clone(),
                    moved: Some(note),
                    ..payload
                }),
                line: pending.line,
            });
        }
        moved
    }

    /// The moves are durable; returns the deliveries that are pending now.
    pub(super) fn moved(&mut self, moved: Vec<MovedDelivery>) -> Vec<PendingDelivery> {
        self.poisoned.clear();
        self.count_moved(moved.len() as u64);
        let mut owed = Vec::new();
        for one in moved {
            self.index
                .replace(one.old, one.owed.delivery, one.owed.destination, one.share);
            self.cache.remove(one.old);
            if let Some(line) = one.line {
                self.admission.settled(line);
            }
            if let Some(payload) = one.payload {
                self.status.live.send(|| {
                    live_line(
                        LiveStage::Quarantined,
                        payload.record.about(),
                        Some(&payload),
                    )
                });
                self.cache.insert_all([(one.owed.delivery, payload)]);
            }
            owed.push(one.owed);
        }
        owed
    }

    fn park(&self, delivery: DeliveryId, refused: &Refused) {
        tracing::error!(
            delivery = delivery.0,
            code = refused.code,
            text = refused.text,
            "the broker refused a delivery to the quarantine itself: it is kept, and tried again after a restart"
        );
        self.status.health.update(|view| {
            let notice = format!(
                "a delivery to {QUARANTINE} was refused by the broker; it is kept in the journal and tried again after a restart"
            );
            if !view.notices.contains(&notice) {
                view.notices.push(notice);
            }
        });
    }
}
