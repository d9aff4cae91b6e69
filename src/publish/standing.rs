//! What the boards say of an open channel. Pure.

use crate::{
    dispatch::{ChannelView, HeldFor},
    status::DestinationState,
};

use super::{place::Place, slots::Slot, topology::Verdict};

/// How a channel stands of which a publish was not confirmed in time. It stays so until the broker answers one, whether
/// its channel is open again or not: only an answer shows that the queue moves.
pub(super) fn stalled() -> (DestinationState, Option<String>) {
    (
        DestinationState::Stalled,
        Some("a publish was not confirmed within delivery.stall_timeout".to_owned()),
    )
}

/// What the boards say of a channel that is found to stand like this, where it may be stalled.
pub(super) fn shown(
    state: DestinationState,
    why: Option<String>,
    is_stalled: bool,
) -> (DestinationState, Option<String>) {
    match state {
        DestinationState::Ready | DestinationState::Held if is_stalled => stalled(),
        // A queue that is gone, or another one by now, will not answer any more.
        _ => (state, why),
    }
}

/// How an open channel stands, from what the dispatcher holds back.
pub(super) fn standing_of(slot: &Slot, view: &ChannelView) -> (DestinationState, Option<String>) {
    if view.stalled {
        return stalled();
    }
    let returned = view
        .held
        .iter()
        .filter(|(_, why)| *why == HeldFor::Return)
        .count();
    match (&slot.found, returned, view.held.len()) {
        (_, _, 0) => (DestinationState::Ready, None),
        (Some(verdict), 1.., _) if *verdict != Verdict::Good => verdict.standing(),
        (_, 1.., _) => match slot.place {
            Place::Queue { .. } => (
                DestinationState::Missing,
                Some("the broker returned a message: no such queue, or it is not bound".to_owned()),
            ),
            // The exchange is there; only these keys lead nowhere.
            Place::Exchange { .. } => (
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
