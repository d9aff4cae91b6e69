//! Where an event is still pending, and the deliveries that go there.

use std::{collections::HashSet, sync::Arc};

use crate::{
    admit::Offer,
    dispatch::{DeliveryId, Lane, PendingDelivery, RecordId},
    event::CallKey,
    journal::{Callback, DeliveryPayload, JournalRefusal, Record},
    route::{Destination, DestinationId},
};

use super::{
    ConfirmStore, DeliveryPlace, DeliveryProgress, EventSlot, InFlightDelivery, KnownEvent, size,
};

impl ConfirmStore {
    /// Finds or creates the state of an event, and sends it to each destination where it is pending and no delivery is
    /// trying. The answer is pinned.
    pub(super) fn admit(&mut self, callback: &Callback, offer: &Offer) -> EventSlot {
        let (window, key) = self.digester.identity(&callback.app, &offer.identity);
        let now = self.now;
        let window_table = self.window_table(window);
        let slot = window_table
            .find(&key)
            .unwrap_or_else(|| window_table.insert(key, KnownEvent::default(), now));
        window_table.pin(slot);
        let which = EventSlot { window, slot };
        if self.known(which).answered {
            return which;
        }
        // Every replica computes the same one.
        let call = offer.own_key();
        let lane = call.as_ref().map(|key| self.lane(callback, key));
        let targets: Vec<Destination> = offer
            .targets
            .iter()
            .map(|target| target.place(call.as_ref()))
            .collect();
        let mut record = None;
        for target in targets {
            let destination = self.routing_keys.id(&callback.app, target);
            let known = self.known(which);
            let place = match known
                .places
                .iter()
                .position(|place| place.destination == destination)
            {
                Some(place) => place,
                None => {
                    known.places.push(DeliveryPlace {
                        destination,
                        state: DeliveryProgress::Pending,
                    });
                    known.places.len() - 1
                }
            };
            if known.places.get(place).map(|place| place.state) == Some(DeliveryProgress::Pending) {
                let record = record.get_or_insert_with(|| {
                    Arc::new(Record {
                        id: RecordId(self.next_id),
                        call: call.clone(),
                        facts: offer.facts.clone(),
                        body: offer.body.clone(),
                    })
                });
                let record = record.clone();
                self.send(which, place, destination, lane, record);
            }
        }
        which
    }

    /// Whether an event of this callback is still being withdrawn while a later one of its call would be sent now. If
    /// the withdrawn one failed, it would be sent again, after the later one; its outcome is near, and the sender will
    /// retry.
    pub(super) fn would_overtake_itself(&mut self, callback: &Callback) -> Option<JournalRefusal> {
        let mut later = HashSet::new();
        for offer in callback.offers.iter().rev() {
            let Some(call) = offer.own_key() else {
                continue;
            };
            if later.insert(call) {
                continue;
            }
            let (window, key) = self.digester.identity(&callback.app, &offer.identity);
            let Some(slot) = self.window_table(window).find(&key) else {
                continue;
            };
            let known = self.window_table(window).value(slot);
            let under_way: Vec<_> = known.places.iter().map(|place| place.state).collect();
            let is_withdrawn = |state: &DeliveryProgress| match state {
                DeliveryProgress::InFlightDelivery(delivery) => self
                    .deliveries
                    .get(delivery)
                    .is_some_and(|delivery| delivery.withdrawn),
                DeliveryProgress::Pending | DeliveryProgress::Delivered => false,
            };
            if under_way.iter().any(is_withdrawn) {
                return Some(JournalRefusal::NotConfirmed);
            }
        }
        None
    }

    fn lane(&mut self, callback: &Callback, key: &CallKey) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "half of a digest is a digest; two calls that share one would only wait for each other"
        )]
        let call = self.digester.call(&callback.app, key) as u64;
        call
    }

    fn send(
        &mut self,
        which: EventSlot,
        place: usize,
        destination: DestinationId,
        call: Option<u64>,
        record: Arc<Record>,
    ) {
        let Some(interned) = self.destinations.interned(destination) else {
            return;
        };
        let payload = DeliveryPayload {
            record,
            destination: interned.destination,
            sequence: None,
            moved: None,
        };
        let lane = call.map(|call| Lane {
            family: interned.family,
            call,
        });
        let owed = PendingDelivery {
            delivery: DeliveryId(0),
            destination,
            channel: interned.channel,
            lane,
            unknown: false,
        };
        self.under_way(which, place, owed, payload);
    }

    /// Gives a delivery to the publisher under a new id.
    pub(super) fn under_way(
        &mut self,
        which: EventSlot,
        place: usize,
        owed: PendingDelivery,
        payload: DeliveryPayload,
    ) {
        let delivery = DeliveryId(self.next_id);
        self.next_id += 1;
        let owed = PendingDelivery { delivery, ..owed };
        let bytes = size(&payload.record.body);
        self.bytes += bytes;
        self.set(which, place, DeliveryProgress::InFlightDelivery(delivery));
        self.window_table(which.window).pin(which.slot);
        self.payloads
            .with(|payloads| payloads.insert(delivery, payload));
        self.deliveries.insert(
            delivery,
            InFlightDelivery {
                which,
                place,
                withdrawn: false,
                bytes,
                owed,
            },
        );
        self.owed.push(owed);
    }
}
