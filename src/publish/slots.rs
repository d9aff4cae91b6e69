//! The engine's side of the channels: which are open, on which connection, and what is under way on them.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::{AttemptId, ChannelId, DeliveryId, Loss},
    route::DestinationId,
};

use super::{channel::Order, place::Place, topology::Verdict};

/// One channel.
pub(super) struct Slot {
    pub(super) place: Place,
    /// On the boards.
    pub(super) name: String,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) open: Option<Opening>,
    /// What the last recheck found, while the destination is held.
    pub(super) found: Option<Verdict>,
    /// Ends its task.
    pub(super) halt: CancellationToken,
}

/// One opening of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) epoch: u64,
    /// The connection that it is on.
    pub(super) link: u64,
}

/// A publish that has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) channel: ChannelId,
    pub(super) delivery: DeliveryId,
    pub(super) destination: DestinationId,
    pub(super) alone: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) all: HashMap<ChannelId, Slot>,
    pub(super) flights: HashMap<AttemptId, Flight>,
    /// The connection whose fence is declared, until every channel of those before it has reported its end.
    fence: Option<u64>,
}

impl Slots {
    /// A channel was opened.
    pub(super) fn opened(&mut self, channel: ChannelId, opening: Opening) {
        if let Some(slot) = self.all.get_mut(&channel) {
            slot.open = Some(opening);
            slot.found = None;
        }
    }

    /// A channel was lost: how many publishes were under way on it.
    pub(super) fn lost(&mut self, channel: ChannelId, loss: Loss) -> usize {
        let opening = self.all.get_mut(&channel).and_then(|slot| slot.open.take());
        let settled = matches!(loss, Loss::Settled | Loss::Refused { settled: true });
        // The connection whose fence is waited for is gone itself: its fence says nothing of what it sent.
        if !settled && opening.is_some_and(|opening| self.fence.is_some_and(|n| n <= opening.link))
        {
            self.fence = None;
        }
        let before = self.flights.len();
        self.flights
            .retain(|_, flight| flight.alone || flight.channel != channel);
        before - self.flights.len()
    }

    /// Connection `link` holds the fence.
    pub(super) fn fenced(&mut self, link: u64) {
        self.fence = Some(link);
    }

    /// The line is down: a fence that was not passed on yet is worth nothing.
    pub(super) fn unfenced(&mut self) {
        self.fence = None;
    }

    /// Whether the fence may be passed on now: only when every channel of the connections before it has said how it
    /// ended. News of channels and of the line come by different ways, and a loss that is heard of after its own
    /// fence would wait for the next one.
    pub(super) fn take_fence(&mut self) -> bool {
        let Some(link) = self.fence else {
            return false;
        };
        let waits = self
            .all
            .values()
            .filter_map(|slot| slot.open)
            .any(|opening| opening.link < link);
        if waits {
            return false;
        }
        self.fence = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(open_on: &[u64]) -> Slots {
        let mut slots = Slots::default();
        for (id, link) in (0_u32..).zip(open_on) {
            slots.all.insert(
                ChannelId(id),
                Slot {
                    place: Place::Exchange { name: "x".into() },
                    name: "exchange x".into(),
                    orders: mpsc::channel(1).0,
                    open: Some(Opening {
                        epoch: 1,
                        link: *link,
                    }),
                    found: None,
                    halt: CancellationToken::new(),
                },
            );
        }
        slots
    }

    #[test]
    fn a_fence_is_passed_on_after_the_last_loss_before_it() {
        let mut slots = slots(&[1, 1]);
        slots.fenced(2);
        assert!(!slots.take_fence());
        slots.lost(ChannelId(0), Loss::Unfenced);
        assert!(!slots.take_fence());
        slots.opened(ChannelId(0), Opening { epoch: 2, link: 2 });
        slots.lost(ChannelId(1), Loss::Unfenced);
        assert!(slots.take_fence());
        assert!(!slots.take_fence(), "once is enough");
    }

    #[test]
    fn a_fence_whose_own_connection_is_lost_meanwhile_is_worth_nothing() {
        let mut slots = slots(&[1, 2]);
        slots.fenced(2);
        slots.lost(ChannelId(1), Loss::Unfenced);
        slots.lost(ChannelId(0), Loss::Unfenced);
        assert!(!slots.take_fence(), "what connection 2 sent may still land");
        slots.fenced(3);
        assert!(slots.take_fence());
    }

    #[test]
    fn a_channel_that_the_broker_closed_leaves_the_fence_in_force() {
        let mut slots = slots(&[2, 1]);
        slots.fenced(2);
        slots.lost(ChannelId(0), Loss::Settled);
        slots.lost(ChannelId(1), Loss::Unfenced);
        assert!(slots.take_fence());
    }

    #[test]
    fn what_is_sent_alone_is_not_lost_with_its_destinations_channel() {
        let mut slots = slots(&[1]);
        for (attempt, alone) in [(1, false), (2, true), (3, false)] {
            slots.flights.insert(
                AttemptId(attempt),
                Flight {
                    channel: ChannelId(0),
                    delivery: DeliveryId(attempt),
                    destination: DestinationId(0),
                    alone,
                },
            );
        }
        assert_eq!(slots.lost(ChannelId(0), Loss::Settled), 2);
        assert!(slots.flights.contains_key(&AttemptId(2)));
    }
}
