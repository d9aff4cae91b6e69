//! Transfer of a participant to another target.

use super::{
    super::{
        api_error::ApiError,
        event::{Happened, ResultInformation},
        scenario::Answering,
    },
    PlannedAct, Transfer, World,
    calls::{participant_not_found, refusal},
    conversation::LegState,
    plan::Transferring,
};

impl World {
    /// Transfers a participant to another target.
    pub(crate) fn transfer(&mut self, id: &str, request: Transfer) -> Result<(), ApiError> {
        let leg = self.connected(id)?;
        let (conversation, source) = (leg.conversation, leg.source.raw_id());
        let others: Vec<_> = self
            .conversations
            .get(&conversation)
            .map(|conversation| conversation.participants.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|participant| participant.identifier.clone())
            .filter(|identifier| identifier.raw_id() != source)
            .collect();
        let transferee = match (request.transferee, others.as_slice()) {
            (Some(who), _) if others.iter().any(|other| other.raw_id() == who.raw_id()) => who,
            (Some(who), _) => return Err(participant_not_found(&who.raw_id())),
            (None, [only]) => only.clone(),
            (None, _) => {
                return Err(ApiError::bad_request(
                    "transferee is missing, and the call has not just one other participant",
                ));
            }
        };
        let leg = self.connected(id)?;
        if leg
            .pending
            .iter()
            .any(|pending| pending.failed == Happened::TransferFailed)
        {
            return Err(ApiError::conflict("the call is being transferred already"));
        }
        let after = self.callee(&request.target).after;
        let pending = self.pend(id, request.operation.clone(), Happened::TransferFailed);
        let transfer = Box::new(Transferring {
            target: request.target,
            transferee,
            operation: request.operation,
            pending,
        });
        self.after(
            after,
            PlannedAct::Transferred {
                leg: id.to_owned(),
                transfer,
            },
        );
        Ok(())
    }

    pub(super) fn transferred(&mut self, id: &str, transfer: Transferring) {
        if self.connected(id).is_err() || !self.no_longer_pending(id, &transfer.pending) {
            return;
        }
        let callee = self.callee(&transfer.target);
        let gone = self
            .participant(id, &transfer.transferee.raw_id())
            .is_err()
            .then(|| ResultInformation::new(400, 0, "The transferee has left the call."));
        let refused = (callee.answer != Answering::Accept).then(|| refusal(callee.answer));
        if let Some(why) = gone.or(refused) {
            self.tell(id, &transfer.operation, Some(why), Happened::TransferFailed);
            return;
        }
        let Some(leg) = self.legs.get_mut(id) else {
            return;
        };
        let conversation = leg.conversation;
        let alone = self
            .conversations
            .get(&conversation)
            .is_some_and(|conversation| conversation.participants.len() <= 2);
        if alone && let Some(leg) = self.legs.get_mut(id) {
            leg.state = LegState::TransferAccepted;
        }
        self.tell(
            id,
            &transfer.operation,
            Some(ResultInformation::completed()),
            Happened::TransferAccepted {
                target: transfer.target,
                transferee: transfer.transferee.clone(),
            },
        );
        self.remove_participant(conversation, &transfer.transferee.raw_id());
    }
}
