//! The dispatcher's state of each channel and of each destination on it.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use crate::route::DestinationId;

use super::{AttemptId, ChannelId, table::EntryIndex, table::EntryList};

/// Whether a channel may be published on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ChannelState {
    /// Not open: never opened, or lost.
    #[default]
    Closed,
    /// Open, in confirm mode, topology good.
    Open,
    /// Stalled, and asked to close at this instant of the clock that is paused while blocked.
    Closing { asked: Duration },
    /// It was not closed in time, and its connection is being cut.
    Cutting,
}

#[derive(Debug, Default)]
pub(super) struct ChannelQueue {
    pub(super) state: ChannelState,
    /// Deliveries pending on it, waiting ones included.
    pub(super) owed: usize,
    /// Its unconfirmed publishes. Attempts are numbered as they are sent, so the first is the oldest.
    pub(super) in_flight: BTreeSet<AttemptId>,
    /// The suspect of this channel that is being sent in isolation.
    pub(super) alone: Option<AttemptId>,
    /// Every destination that ever had a pending delivery on it.
    pub(super) destinations: Vec<DestinationId>,
    /// Destinations with something ready, taken in turn. May contain some that are held by now; they are skipped.
    pub(super) turns: VecDeque<DestinationId>,
    /// The same for suspects.
    pub(super) turns_alone: VecDeque<DestinationId>,
    /// When its oldest publish, or its closing, is overdue; on the clock that is paused while blocked.
    pub(super) overdue: Option<Duration>,
    /// A publish was not confirmed in time, and since then the broker has answered none.
    pub(super) stalled: bool,
    /// It is listed for a check before the step ends.
    pub(super) woken: bool,
}

/// Why nothing is sent to a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DestinationHold {
    /// Nothing holds it.
    #[default]
    Free,
    /// It nacked.
    BackingOff { until: Duration },
    /// A message was returned; the destination is checked again later.
    RecheckAt { until: Duration },
    /// A message was returned; the destination is being checked.
    Rechecking,
    /// After a hold, and after a stall, one message is sent first, and the others follow when that one is confirmed: a
    /// queue that is still full, missing or stuck does not get a whole window each time.
    Probing(Option<AttemptId>),
}

impl DestinationHold {
    pub(super) fn lets_send(self) -> bool {
        matches!(self, Self::Free | Self::Probing(None))
    }

    /// The timer that ends it.
    pub(super) fn until(self) -> Option<Duration> {
        match self {
            Self::BackingOff { until } | Self::RecheckAt { until } => Some(until),
            Self::Free | Self::Rechecking | Self::Probing(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct DestinationQueue {
    pub(super) channel: ChannelId,
    /// Ready heads of lanes and unkeyed deliveries, for the channel.
    pub(super) ready: EntryList,
    /// The same for suspects, to be sent in isolation.
    pub(super) suspects: EntryList,
    /// It is in [`ChannelQueue::turns`].
    pub(super) has_turn: bool,
    /// It is in [`ChannelQueue::turns_alone`].
    pub(super) has_turn_alone: bool,
    pub(super) hold: DestinationHold,
    /// Nacks and returns since the last confirm; a whole burst counts once.
    pub(super) failures: u32,
    /// The last failure was a return.
    pub(super) returned: bool,
}

impl DestinationQueue {
    pub(super) fn on(channel: ChannelId) -> Self {
        Self {
            channel,
            ready: EntryList::default(),
            suspects: EntryList::default(),
            has_turn: false,
            has_turn_alone: false,
            hold: DestinationHold::Free,
            failures: 0,
            returned: false,
        }
    }
}

/// A publish without an answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnconfirmedAttempt {
    pub(super) slot: EntryIndex,
    pub(super) channel: ChannelId,
    pub(super) alone: bool,
    /// When it was sent, by the caller's clock.
    pub(super) sent: Duration,
    /// The same on the clock that is paused while blocked.
    pub(super) sent_unblocked: Duration,
}

/// Why a destination is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldReason {
    /// The broker nacked: a full queue, or one without quorum.
    Nack,
    /// The broker returned: the queue, or a binding for the routing key, is missing.
    Return,
}

/// The status of one channel: for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelStatus {
    pub channel: ChannelId,
    /// Deliveries pending on it, sent or not.
    pub owed: usize,
    /// Of these, published and not yet answered, including the one sent in isolation.
    pub in_flight: usize,
    /// When the oldest unconfirmed publish on the channel itself was sent, by the caller's clock.
    pub oldest_unconfirmed_since: Option<Duration>,
    /// Destinations to which nothing, or only one probe, is sent at the moment, and why.
    pub held: Vec<(DestinationId, HeldReason)>,
    /// Open and publishing.
    pub open: bool,
    /// A publish was not confirmed in time, and since then the broker has answered none. It may be open again.
    pub stalled: bool,
}
