//! The words between the dispatcher and its neighbours.

use std::time::Duration;

use crate::route::DestinationId;

/// A record in the journal. Grows in order of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// One event owed to one destination. Grows in order of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// One publish of one delivery; never used twice within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// One AMQP channel: a queue (partition), or an exchange with all its routing keys (docs/src/internals/delivery.md,
/// "Channels and windows").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

/// The line in which deliveries wait for each other: one call within one family of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// Interned [`crate::route::Destination::family`].
    pub family: u32,
    /// Interned call key, unique per (app, key).
    pub call: u64,
}

/// A delivery as the dispatcher knows it; the body stays in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Which one.
    pub delivery: DeliveryId,
    /// Where it goes: what a return holds.
    pub destination: DestinationId,
    /// Whose window it counts against; always the same for one destination.
    pub channel: ChannelId,
    /// What it waits in line with; `None` for unkeyed events, which wait for nothing.
    pub lane: Option<Lane>,
    /// True when an earlier process may already have sent it: it waits for the first fence, or for nothing
    /// where this process has seen a fence before.
    pub unknown: bool,
}

/// How a channel was lost, and so what is known about the publishes that it had not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelLoss {
    /// The broker said Close or Close-Ok: nothing of this channel can land any more. Unconfirmed ones may be resent.
    Settled,
    /// The connection went without a word: copies may still land until the fence is declared.
    Unfenced,
    /// The broker closed the channel or its connection because it would not take a message (406, 501, 502, …).
    /// Every unconfirmed delivery of the channel is a suspect and is sent alone. `fenced` as in the two above:
    /// true where Close was seen on the channel only.
    Refused {
        /// Whether copies may still land (false: wait for the fence first).
        settled: bool,
    },
}

/// Why the broker refused a message that was sent alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// AMQP reply code.
    pub code: u16,
    /// AMQP reply text.
    pub text: String,
}

/// What the dispatcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DispatcherInput {
    /// The journal accepted a delivery. Given in order of admission.
    Accepted(Owed),
    /// A channel is open, in confirm mode, and its topology was found good.
    Opened {
        /// Which one.
        channel: ChannelId,
    },
    /// The broker took responsibility, after returns were attributed.
    Confirmed {
        /// Of which publish.
        attempt: AttemptId,
    },
    /// The broker said `basic.nack`: back off and send again.
    Nacked {
        /// Of which publish.
        attempt: AttemptId,
    },
    /// The broker could not route it: the destination is held until [`DispatcherInput::Rechecked`] says it is there again.
    Returned {
        /// Of which publish.
        attempt: AttemptId,
    },
    /// The journal could not read what was to be sent, or the like: never sent, try again after a back-off.
    NotSent {
        /// Of which publish.
        attempt: AttemptId,
    },
    /// A channel is gone.
    ChannelLost {
        /// Which one.
        channel: ChannelId,
        /// What that means for its unconfirmed publishes.
        loss: ChannelLoss,
    },
    /// The fence of the lost publishing connection (or of the process before this one) was declared by the new one:
    /// nothing sent on the old one can land any more. Covers every loss that was told before it; so it must not be
    /// told for one connection after the loss of the next.
    ///
    /// Also told where the fence was passed by because the broker node of the old connection is gone. A copy may then
    /// land after newer events of its call. It is a copy of what was sent again, so a consumer that goes by the sequence
    /// drops it; in `confirm` mode also of what was withdrawn.
    Fenced,
    /// The journal has made durable that this delivery is done or poisoned (with [`DispatcherSettings::await_settled`] only): its lane goes on.
    Settled {
        /// Which one.
        delivery: DeliveryId,
    },
    /// Answer to [`DispatcherOutput::Recheck`].
    Rechecked {
        /// Which destination.
        destination: DestinationId,
        /// Whether it can be published to.
        usable: bool,
    },
    /// A message sent alone was refused: it is poison. Also for any attempt of which it was found before sending that
    /// it can never be sent (too large, …).
    AloneRefused {
        /// Of which publish.
        attempt: AttemptId,
        /// What the broker said.
        refused: Refused,
    },
    /// A message sent alone has no outcome (its own connection was lost and fenced): it is tried again, alone. Nothing
    /// here times a publish that is sent alone: its sender bounds the wait and says this.
    AloneUnknown {
        /// Of which publish.
        attempt: AttemptId,
    },
    /// The delivery is not to be sent any more where that is still possible (`confirm` mode, after its timeout). Sent
    /// already: its outcome is awaited, but a failure is not repaired.
    Withdraw {
        /// Which one.
        delivery: DeliveryId,
    },
    /// `connection.blocked` / `unblocked` of the publishing connection: nothing new is handed to the socket and the
    /// stall clock stands still.
    Blocked(bool),
    /// Time has passed.
    Tick,
}

/// What the dispatcher wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DispatcherOutput {
    /// Publish this delivery on its channel.
    Publish {
        /// Name of this publish, for the answer.
        attempt: AttemptId,
        /// What to send.
        delivery: DeliveryId,
        /// Where.
        destination: DestinationId,
        /// On which channel.
        channel: ChannelId,
        /// How often it was handed out by this process, this time included: `hookswitch-attempt`.
        count: u32,
        /// On a connection of its own, because the broker refused something beside it (docs/src/internals/delivery.md,
        /// "Messages that the broker refuses").
        alone: bool,
    },
    /// Confirmed: the journal may forget it.
    Done {
        /// Which one.
        delivery: DeliveryId,
    },
    /// Refused alone: it moves to quarantine with the reason, and its lane goes on.
    Poisoned {
        /// Which one.
        delivery: DeliveryId,
        /// What the broker said.
        refused: Refused,
    },
    /// Withdrawn before it was (or after it failed to be) delivered: forgotten.
    Forgotten {
        /// Which one.
        delivery: DeliveryId,
    },
    /// See whether this destination is there again; answer with [`DispatcherInput::Rechecked`].
    Recheck {
        /// Which one.
        destination: DestinationId,
    },
    /// A publish was not confirmed within `stall_timeout`: close this channel; answer with [`DispatcherInput::ChannelLost`].
    CloseChannel {
        /// Which one.
        channel: ChannelId,
    },
    /// Close-Ok did not come within `close_timeout`: cut the publishing connection.
    CutConnection,
}

/// The dispatcher's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatcherSettings {
    /// Unconfirmed publishes per channel, 1 to 200.
    pub window: u32,
    /// How long a publish may stay unconfirmed before its channel is closed; the clock stands while blocked.
    pub stall_timeout: Duration,
    /// How long Close-Ok may take before the connection is cut.
    pub close_timeout: Duration,
    /// First back-off after a nack, a return, or a failed send.
    pub backoff_initial: Duration,
    /// Ceiling of the back-off.
    pub backoff_max: Duration,
    /// After [`DispatcherOutput::Done`] and [`DispatcherOutput::Poisoned`] a lane waits for [`DispatcherInput::Settled`]. Without it a process that is killed between a confirm
    /// and the journal's next commit leaves a delivery owed whose successor may be in the queue already; the next
    /// process then sends an older one after a newer one, which P2 excludes. For `journal` mode; in `confirm` mode
    /// nothing is remembered that could be sent again.
    pub await_settled: bool,
}

impl Default for DispatcherSettings {
    fn default() -> Self {
        Self {
            window: 128,
            stall_timeout: Duration::from_secs(120),
            close_timeout: Duration::from_secs(120),
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            await_settled: false,
        }
    }
}
