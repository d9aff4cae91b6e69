//! The status shown for an open channel. Pure.

use crate::{
    dispatch::{ChannelStatus, HeldReason},
    status::DestinationState,
};

use super::{broker_object::BrokerObject, channel_slots::ChannelSlot, topology::TopologyCheck};

/// The status of a channel with a publish that was not confirmed in time. It stays until the broker answers a publish,
/// whether the channel is open again or not: only an answer shows that the queue moves.
pub(super) fn stalled() -> (DestinationState, Option<String>) {
    (
        DestinationState::Stalled,
        Some("a publish was not confirmed within delivery.stall_timeout".to_owned()),
    )
}

/// The status to show for a channel with this state, which may also be stalled.
pub(super) fn shown(
    state: DestinationState,
    why: Option<String>,
    is_stalled: bool,
) -> (DestinationState, Option<String>) {
    match state {
        DestinationState::Ready | DestinationState::Held if is_stalled => stalled(),
        // A queue that is gone, or was replaced, will not answer any more.
        _ => (state, why),
    }
}

/// The status of an open channel, from what the dispatcher holds back.
pub(super) fn status_of(
    slot: &ChannelSlot,
    view: &ChannelStatus,
) -> (DestinationState, Option<String>) {
    if view.stalled {
        return stalled();
    }
    let returned = view
        .held
        .iter()
        .filter(|(_, why)| *why == HeldReason::Return)
        .count();
    match (&slot.found, returned, view.held.len()) {
        (_, _, 0) => (DestinationState::Ready, None),
        (Some(verdict), 1.., _) if *verdict != TopologyCheck::Good => verdict.status(),
        (_, 1.., _) => match slot.object {
            BrokerObject::Queue { .. } => (
                DestinationState::Missing,
                Some(
                    "the broker returned a message: the queue does not exist, or is not bound"
                        .to_owned(),
                ),
            ),
            // The exchange exists; only these keys have no binding.
            BrokerObject::Exchange { .. } => (
                DestinationState::Held,
                Some(format!(
                    "nothing is bound for {returned} of its routing keys"
                )),
            ),
        },
        (_, 0, _) => (
            DestinationState::Held,
            Some("the broker refuses messages for now (basic.nack)".to_owned()),
        ),
    }
}
