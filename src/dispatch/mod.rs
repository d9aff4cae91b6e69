//! Which delivery may be published now: the state machine of docs/src/internals/delivery.md. Pure: no I/O, no async, no
//! clock of its own.
//!
//! Inputs are facts (accepted, confirmed, lost, …) with the time at which they became known; outputs are orders for the
//! publisher and results for the journal. Every scheduling rule is here so that a property test can run millions of
//! fault schedules against it.

mod backoff;
mod channel;
mod confirms;
mod dispatcher;
#[cfg(test)]
mod property;
mod protocol;
mod sending;
mod table;
#[cfg(test)]
mod tests;

pub use channel::{ChannelStatus, HeldReason};
pub use confirms::{BrokerReply, PublishOutcome, ReturnedMessage, UnconfirmedPublishes};
pub use dispatcher::Dispatcher;
pub use protocol::{
    AttemptId, ChannelId, ChannelLoss, DeliveryId, DispatcherInput, DispatcherOutput,
    DispatcherSettings, InFlight, Lane, PendingDelivery, RecordId, Refused,
};
