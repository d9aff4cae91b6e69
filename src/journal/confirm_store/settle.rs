//! The outcomes of deliveries, and the answers that follow from them.

use crate::{
    dispatch::{DeliveryId, PendingDelivery, Refused},
    journal::{
        Admitted, DeliveryPayload, Receipt, quarantine,
        stage::{live_line, outcome},
    },
    status::LiveStage,
};

use super::{ConfirmStore, DeliveryProgress, EventSlot, InFlightDelivery};

impl ConfirmStore {
    /// Removes a delivery; its event stays pinned for the caller.
    fn remove(
        &mut self,
        delivery: DeliveryId,
    ) -> Option<(InFlightDelivery, Option<DeliveryPayload>)> {
        let under_way = self.deliveries.remove(&delivery)?;
        self.bytes -= under_way.bytes;
        let payload = self.payloads.with(|payloads| payloads.remove(&delivery));
        Some((under_way, payload))
    }

    pub(super) fn delivered(&mut self, delivery: DeliveryId) {
        let Some((under_way, payload)) = self.remove(delivery) else {
            return;
        };
        // A delivery is counted when it is settled: these counters never show a pending one.
        self.update(|counts| {
            counts.owed += 1;
            counts.delivered += 1;
        });
        if let Some(payload) = &payload {
            self.status
                .live
                .send(|| live_line(LiveStage::Delivered, payload.record.about(), Some(payload)));
        }
        if let Some(share) = self.destinations.share(under_way.owed.destination) {
            self.waiting.confirmed(share);
        }
        let which = under_way.which;
        self.set(which, under_way.place, DeliveryProgress::Delivered);
        let known = self.known(which);
        let waiters = if known.is_complete() {
            known.waiters.clone()
        } else {
            Vec::new()
        };
        for callback in waiters {
            if let Some(waiting) = self.callbacks.get_mut(&callback) {
                waiting.open -= 1;
                if waiting.open == 0 {
                    self.answer(callback);
                }
            }
        }
        self.release(which);
    }

    pub(super) fn forgotten(&mut self, delivery: DeliveryId) {
        let Some((under_way, payload)) = self.remove(delivery) else {
            return;
        };
        let which = under_way.which;
        self.set(which, under_way.place, DeliveryProgress::Pending);
        // A resend arrived while it was being withdrawn, and waits.
        if !self.known(which).waiters.is_empty()
            && let Some(payload) = payload
        {
            self.under_way(which, under_way.place, under_way.owed, payload);
        }
        self.release(which);
    }

    pub(super) fn poisoned(&mut self, delivery: DeliveryId, refused: &Refused) {
        let Some((under_way, payload)) = self.remove(delivery) else {
            return;
        };
        let InFlightDelivery { which, place, .. } = under_way;
        self.set(which, place, DeliveryProgress::Pending);
        let quarantine = quarantine::quarantine();
        match payload {
            Some(payload) if *payload.destination == quarantine => {
                tracing::error!(
                    code = refused.code,
                    text = refused.text,
                    "the broker refused a delivery to the quarantine itself: its callback will be refused"
                );
            }
            Some(payload) if !self.known(which).waiters.is_empty() => {
                let destination = self.destinations.intern(quarantine);
                if let Some(interned) = self.destinations.interned(destination) {
                    self.update(|counts| {
                        counts.owed += 1;
                        counts.moved += 1;
                    });
                    let payload = DeliveryPayload {
                        destination: interned.destination,
                        moved: Some(quarantine::note(refused)),
                        ..payload
                    };
                    self.status.live.send(|| {
                        live_line(
                            LiveStage::Quarantined,
                            payload.record.about(),
                            Some(&payload),
                        )
                    });
                    let owed = PendingDelivery {
                        destination,
                        channel: interned.channel,
                        lane: None,
                        ..under_way.owed
                    };
                    self.under_way(which, place, owed, payload);
                }
            }
            // No callback waits for it any more; a resend starts again.
            _ => {}
        }
        self.release(which);
    }

    /// Removes one pin from an event. An event that is not needed and that no destination has is forgotten: a refused
    /// event never enters the window.
    fn release(&mut self, which: EventSlot) {
        let now = self.now;
        let known = self.known(which);
        let has_delivered = known
            .places
            .iter()
            .any(|place| place.state == DeliveryProgress::Delivered);
        let idle = known.waiters.is_empty()
            && !known
                .places
                .iter()
                .any(|place| matches!(place.state, DeliveryProgress::InFlightDelivery(_)));
        if known.answered && idle {
            known.places = Vec::new();
            known.waiters = Vec::new();
        }
        let forget = idle && !known.answered && !has_delivered;
        let window_table = self.window_table(which.window);
        window_table.unpin(which.slot, now);
        if forget && !window_table.is_pinned(which.slot) {
            window_table.remove(which.slot);
        }
    }

    /// Every delivery of the callback is confirmed.
    pub(super) fn answer(&mut self, callback: u64) {
        let Some(waiting) = self.callbacks.remove(&callback) else {
            return;
        };
        self.waiting.end(&waiting.shares);
        let mut outcomes = Vec::with_capacity(waiting.events.len());
        for event in &waiting.events {
            let known = self.known(event.which);
            outcomes.push(if std::mem::replace(&mut known.answered, true) {
                Admitted::Duplicate
            } else if event.quarantined {
                Admitted::Quarantined
            } else {
                Admitted::Accepted
            });
        }
        for (event, admitted) in waiting.events.into_iter().zip(&outcomes) {
            self.leave(event.which, callback);
            if let Some(line) = event.line
                && *admitted != Admitted::Duplicate
            {
                self.status.live.send(|| *line);
            }
        }
        self.status
            .ledger
            .decide(outcomes.iter().copied().map(outcome));
        waiting.reply.send(Ok(Receipt { outcomes }));
    }

    /// The callback no longer waits for this event.
    pub(super) fn leave(&mut self, which: EventSlot, callback: u64) {
        let known = self.known(which);
        if let Some(place) = known.waiters.iter().position(|id| *id == callback) {
            known.waiters.remove(place);
        }
        self.release(which);
    }
}
