//! The engine's view of the channels: which are open, and on which connection.

use std::collections::HashMap;

use prometheus::Histogram;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{ChannelId, ChannelLoss};

use super::{broker_object::BrokerObject, channel::ChannelCommand, topology::TopologyCheck};

pub(super) struct ChannelSlot {
    pub(super) object: BrokerObject,
    /// The name in status and metrics.
    pub(super) name: String,
    /// The current task of the channel: events of an earlier task are ignored.
    pub(super) task: u64,
    pub(super) orders: mpsc::Sender<ChannelCommand>,
    pub(super) open: Option<ChannelOpening>,
    /// The histogram of its confirms.
    pub(super) confirm_duration: Histogram,
    /// The result of the last recheck, while the destination is held.
    pub(super) found: Option<TopologyCheck>,
    /// Ends its task.
    pub(super) halt: CancellationToken,
}

/// One opening of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelOpening {
    pub(super) epoch: u64,
    /// The connection that it is on.
    pub(super) link: u64,
}

#[derive(Default)]
pub(super) struct ChannelSlots {
    pub(super) all: HashMap<ChannelId, ChannelSlot>,
    /// The connection whose fence is declared, until every channel of those before it has reported its end.
    fence: Option<u64>,
    /// The same, for as long as that connection lives.
    held: Option<u64>,
}

impl ChannelSlots {
    pub(super) fn opened(&mut self, channel: ChannelId, opening: ChannelOpening) {
        if let Some(slot) = self.all.get_mut(&channel) {
            slot.open = Some(opening);
            slot.found = None;
        }
    }

    pub(super) fn lost(&mut self, channel: ChannelId, loss: ChannelLoss) {
        let opening = self.all.get_mut(&channel).and_then(|slot| slot.open.take());
        let settled = matches!(
            loss,
            ChannelLoss::Settled | ChannelLoss::Refused { settled: true }
        );
        if !settled && let (Some(opening), Some(held)) = (opening, self.held) {
            if held <= opening.link {
                // The connection that holds the fence is gone itself: its fence proves nothing about what was sent on
                // it.
                self.unfenced();
            } else {
                // Events of channels and of the connection arrive through different queues. If the opening of this
                // channel arrived only after the fence of the next connection had been passed on, that fence covers its
                // loss too, and no other fence would follow for it.
                self.fence = Some(held);
            }
        }
    }

    /// Connection `link` holds the fence.
    pub(super) fn fenced(&mut self, link: u64) {
        self.fence = Some(link);
        self.held = Some(link);
    }

    /// The connection is down: a fence that was not passed on yet is void.
    pub(super) fn unfenced(&mut self) {
        self.fence = None;
        self.held = None;
    }

    /// Whether the fence may be passed on now: only when every channel of the connections before it has reported its
    /// end. Events of channels and of the connection arrive through different queues, and a loss that arrives after its
    /// own fence would wait for the next one.
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

    fn slots(open_on: &[u64]) -> ChannelSlots {
        let mut slots = ChannelSlots::default();
        for (id, link) in (0_u32..).zip(open_on) {
            slots.all.insert(
                ChannelId(id),
                ChannelSlot {
                    object: BrokerObject::Exchange { name: "x".into() },
                    name: "exchange x".into(),
                    task: 1,
                    orders: mpsc::channel(1).0,
                    open: Some(ChannelOpening {
                        epoch: 1,
                        link: *link,
                    }),
                    confirm_duration: Histogram::with_opts(prometheus::HistogramOpts::new(
                        "a", "b",
                    ))
                    .unwrap(),
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
        slots.lost(ChannelId(0), ChannelLoss::Unfenced);
        assert!(!slots.take_fence());
        slots.opened(ChannelId(0), ChannelOpening { epoch: 2, link: 2 });
        slots.lost(ChannelId(1), ChannelLoss::Unfenced);
        assert!(slots.take_fence());
        assert!(!slots.take_fence(), "once is enough");
    }

    #[test]
    fn a_fence_whose_own_connection_is_lost_meanwhile_is_worth_nothing() {
        let mut slots = slots(&[1, 2]);
        slots.fenced(2);
        slots.lost(ChannelId(1), ChannelLoss::Unfenced);
        slots.lost(ChannelId(0), ChannelLoss::Unfenced);
        assert!(!slots.take_fence(), "what connection 2 sent may still land");
        slots.fenced(3);
        assert!(slots.take_fence());
    }

    #[test]
    fn a_channel_whose_opening_is_heard_of_after_the_next_fence_is_covered_by_it() {
        let mut slots = slots(&[1]);
        slots.all.get_mut(&ChannelId(0)).unwrap().open = None;
        slots.fenced(2);
        assert!(slots.take_fence());
        slots.opened(ChannelId(0), ChannelOpening { epoch: 1, link: 1 });
        slots.lost(ChannelId(0), ChannelLoss::Unfenced);
        assert!(slots.take_fence(), "no other fence comes for it");
        assert!(!slots.take_fence());
    }

    #[test]
    fn a_fence_that_was_passed_on_covers_nothing_once_its_own_connection_is_lost() {
        let mut slots = slots(&[1, 2]);
        slots.all.get_mut(&ChannelId(0)).unwrap().open = None;
        slots.fenced(2);
        assert!(slots.take_fence());
        slots.opened(ChannelId(0), ChannelOpening { epoch: 1, link: 1 });
        slots.lost(ChannelId(1), ChannelLoss::Unfenced);
        slots.lost(ChannelId(0), ChannelLoss::Unfenced);
        assert!(!slots.take_fence(), "what connection 2 sent may still land");
    }

    #[test]
    fn a_channel_that_the_broker_closed_leaves_the_fence_in_force() {
        let mut slots = slots(&[2, 1]);
        slots.fenced(2);
        slots.lost(ChannelId(0), ChannelLoss::Settled);
        slots.lost(ChannelId(1), ChannelLoss::Unfenced);
        assert!(slots.take_fence());
    }
}
