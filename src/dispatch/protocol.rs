//! The types between the dispatcher and its neighbours.

use std::time::Duration;

use crate::route::DestinationId;

/// The position of a record in the journal. Grows in order of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// One event pending for one destination. Grows in order of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// One publish of one delivery; never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// One AMQP channel: a queue (partition), or an exchange with all its routing keys (docs/src/internals/delivery.md,
/// "Channels and windows").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

/// The lane in which deliveries wait for each other: one call within one family of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// Interned [`crate::route::Destination::family`].
    pub family: u32,
    /// Interned call key, unique per (app, key).
    pub call: u64,
}

/// A delivery as the dispatcher knows it; the body stays in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingDelivery {
    pub delivery: DeliveryId,
    /// Its destination: a return holds the whole destination.
    pub destination: DestinationId,
    /// The channel whose window it counts against; always the same for one destination.
    pub channel: ChannelId,
    /// The lane that it waits in; `None` for unkeyed events, which wait for nothing.
    pub lane: Option<Lane>,
    /// True if an earlier process may already have sent it: it waits for the first fence, or for nothing if this
    /// process has declared a fence before.
    pub unknown: bool,
}

/// How a channel was lost, and so what is known about its unconfirmed publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelLoss {
    /// The broker sent Close or Close-Ok: nothing of this channel can arrive any more. Unconfirmed ones may be resent.
    Settled,
    /// The connection ended without a reply: copies may still arrive until the fence is declared.
    Unfenced,
    /// The broker closed the channel or its connection because it refused a message (406, 501, 502, …). Every
    /// unconfirmed delivery of the channel is a suspect and is sent in isolation. `settled` distinguishes the two cases
    /// above: true where Close was seen on the channel only.
    Refused {
        /// Whether no copy can arrive any more (false: wait for the fence first).
        settled: bool,
    },
}

/// Why the broker refused a message that was sent in isolation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// AMQP reply code.
    pub code: u16,
    /// AMQP reply text.
    pub text: String,
}

/// The facts that the dispatcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DispatcherInput {
    /// The journal accepted a delivery. Given in order of admission.
    Accepted(PendingDelivery),
    /// A channel is open, in confirm mode, and its topology was found good.
    Opened { channel: ChannelId },
    /// The broker took responsibility, after returns were attributed.
    Confirmed { attempt: AttemptId },
    /// The broker said `basic.nack`: back off and send again.
    Nacked { attempt: AttemptId },
    /// The broker could not route it: the destination is held until [`DispatcherInput::Rechecked`] says it is there again.
    Returned { attempt: AttemptId },
    /// The message could not be sent, for example because the journal could not read it: never sent, try again after a
    /// back-off.
    NotSent { attempt: AttemptId },
    /// A channel is gone.
    ChannelLost {
        channel: ChannelId,
        /// What is known about its unconfirmed publishes.
        loss: ChannelLoss,
    },
    /// The fence of the lost publishing connection (or of the process before this one) was declared by the new one:
    /// nothing sent on the old one can arrive any more. Covers every loss that was reported before it; so it must not
    /// be reported for one connection after the loss of the next.
    ///
    /// Also reported if the fence was passed over because the broker node of the old connection is gone. A copy may
    /// then arrive after newer events of its call. It is a copy of a message that was sent again, so a consumer that
    /// uses the sequence drops it; in `confirm` mode also of one that was withdrawn.
    Fenced,
    /// The journal has made durable that this delivery is done or poisoned (with [`DispatcherSettings::await_settled`]
    /// only): its lane continues.
    Settled { delivery: DeliveryId },
    /// Answer to [`DispatcherOutput::Recheck`].
    Rechecked {
        destination: DestinationId,
        /// Whether it can be published to.
        usable: bool,
    },
    /// A message sent in isolation was refused: it is poison. Also for any attempt that was found unsendable before
    /// sending (too large, …).
    AloneRefused {
        attempt: AttemptId,
        refused: Refused,
    },
    /// A message sent in isolation has no outcome (its own connection was lost and fenced): it is tried again, in
    /// isolation. The dispatcher does not time an isolated publish: its publisher limits the wait and reports this.
    AloneUnknown { attempt: AttemptId },
    /// The delivery is not to be sent any more if that is still possible (`confirm` mode, after its timeout). If
    /// already sent, its outcome is awaited, but a failure is not retried.
    Withdraw { delivery: DeliveryId },
    /// `connection.blocked` / `unblocked` of the publishing connection: nothing new is handed to the socket and the
    /// stall clock is paused.
    Blocked(bool),
    /// Time has passed.
    Tick,
}

/// The dispatcher's orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DispatcherOutput {
    /// Publish this delivery on its channel.
    Publish {
        /// Name of this publish, for the answer.
        attempt: AttemptId,
        delivery: DeliveryId,
        destination: DestinationId,
        channel: ChannelId,
        /// How often this process has handed it out, this time included: `hookswitch-attempt`.
        count: u32,
        /// On a connection of its own, because the broker refused it or a message beside it
        /// (docs/src/internals/delivery.md, "Messages that the broker refuses").
        alone: bool,
    },
    /// Confirmed: the journal may forget it.
    Done { delivery: DeliveryId },
    /// Refused in isolation: it moves to quarantine with the reason, and its lane continues.
    Poisoned {
        delivery: DeliveryId,
        refused: Refused,
    },
    /// Withdrawn before it was (or after it failed to be) delivered: forgotten.
    Forgotten { delivery: DeliveryId },
    /// Check whether this destination is available again; answer with [`DispatcherInput::Rechecked`].
    Recheck { destination: DestinationId },
    /// A publish was not confirmed within `stall_timeout`: close this channel; answer with [`DispatcherInput::ChannelLost`].
    CloseChannel { channel: ChannelId },
    /// Close-Ok did not arrive within `close_timeout`: cut the publishing connection.
    CutConnection,
}

/// A publish without an answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    pub delivery: DeliveryId,
    pub destination: DestinationId,
    pub channel: ChannelId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatcherSettings {
    /// Unconfirmed publishes per channel, 1 to 200.
    pub window: u32,
    /// How long a publish may stay unconfirmed before its channel is closed; the clock is paused while blocked.
    pub stall_timeout: Duration,
    /// How long Close-Ok may take before the connection is cut.
    pub close_timeout: Duration,
    /// First back-off after a nack, a return, or a failed send.
    pub backoff_initial: Duration,
    /// Ceiling of the back-off.
    pub backoff_max: Duration,
    /// After [`DispatcherOutput::Done`] and [`DispatcherOutput::Poisoned`] a lane waits for
    /// [`DispatcherInput::Settled`]. Without it a process that is killed between a confirm and the journal's next
    /// commit leaves a pending delivery whose successor may already be in the queue; the next process then sends an
    /// older one after a newer one, which P2 excludes. For `journal` mode; in `confirm` mode nothing is stored that
    /// could be sent again.
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
