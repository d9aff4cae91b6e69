//! How calls and connections end, and everything that was still pending with them.

use std::collections::VecDeque;

use super::{
    super::{
        api_error::ApiError,
        event::{GridHappened, Happened, ResultInformation},
    },
    Operation, World,
    conversation::{Invitation, LegState, Pending},
};

impl World {
    /// The application leaves; the others stay, if there are two.
    pub(crate) fn hang_up(&mut self, id: &str) -> Result<(), ApiError> {
        let leg = self.live(id)?;
        let (conversation, source) = (leg.conversation, leg.source.raw_id());
        let mut others = self.legs_in(conversation);
        others.retain(|other| other != id);
        let people = self
            .conversations
            .get(&conversation)
            .map_or(0, |known| known.participants.len());
        // The application is one of them.
        if others.is_empty() && people < 3 {
            self.end_conversation(conversation, &ended_by_application());
            return Ok(());
        }
        self.end_leg(id, ended_by_application());
        let shared = others
            .iter()
            .filter_map(|other| self.legs.get(other))
            .any(|other| other.source.raw_id() == source);
        if !shared {
            self.remove_participant(conversation, &source);
        }
        Ok(())
    }

    /// The call ends for all participants.
    pub(crate) fn terminate(&mut self, id: &str) -> Result<(), ApiError> {
        let conversation = self.live(id)?.conversation;
        self.end_conversation(conversation, &ended_by_application());
        Ok(())
    }

    /// Ends a leg that was connected, or was about to be.
    pub(super) fn end_leg(&mut self, id: &str, result: ResultInformation) {
        self.cancel_everything(id);
        self.fail_pending(id);
        self.tell(id, &Operation::default(), None, Happened::Disconnecting);
        let operation = self.operation_of(id);
        self.tell(id, &operation, Some(result), Happened::Disconnected);
        self.close_leg(id);
    }

    /// What was accepted and has no outcome yet gets one now (docs/src/reference/acs-rest-api.md, "GA").
    fn fail_pending(&mut self, id: &str) {
        let why = || ResultInformation::new(487, 0, "The call has ended.");
        let pending = self
            .legs
            .get_mut(id)
            .map(|leg| std::mem::take(&mut leg.pending))
            .unwrap_or_default();
        for pending in pending {
            self.tell(id, &pending.operation, Some(why()), pending.failed);
        }
        let Some((_, conversation)) = self.conversation_of(id) else {
            return;
        };
        let of_it = |invitation: &mut Invitation| invitation.leg == id;
        let invitations: Vec<_> = conversation.invitations.extract_if(.., of_it).collect();
        for invitation in invitations {
            if let Some(operation) = invitation.added {
                let participants = vec![invitation.who];
                self.tell(
                    id,
                    &operation,
                    Some(why()),
                    Happened::AddParticipantFailed { participants },
                );
            }
        }
    }

    /// Records an accepted operation whose outcome comes later.
    pub(super) fn pend(&mut self, id: &str, operation: Operation, failed: Happened) -> String {
        let pending = self.guid();
        if let Some(leg) = self.legs.get_mut(id) {
            leg.pending.push(Pending {
                id: pending.clone(),
                operation,
                failed,
            });
        }
        pending
    }

    /// Removes an operation whose outcome is known; returns whether it was pending until now.
    pub(super) fn no_longer_pending(&mut self, id: &str, pending: &str) -> bool {
        let Some(leg) = self.legs.get_mut(id) else {
            return false;
        };
        let before = leg.pending.len();
        leg.pending.retain(|known| known.id != pending);
        leg.pending.len() < before
    }

    /// Ends a leg that was never connected: CallDisconnected and the event of the failure, in this order
    /// (docs/src/reference/acs-rest-api.md, "What each operation causes").
    pub(super) fn fail_leg(
        &mut self,
        id: &str,
        operation: &Operation,
        why: ResultInformation,
        failed: Happened,
    ) {
        self.tell(id, &Operation::default(), None, Happened::Disconnecting);
        self.tell(id, operation, Some(why.clone()), Happened::Disconnected);
        self.tell(id, operation, Some(why), failed);
        self.close_leg(id);
        let Some((key, _)) = self.conversation_of(id) else {
            return;
        };
        if self.legs_in(key).is_empty()
            && let Some(conversation) = self.conversations.get_mut(&key)
        {
            conversation.ended = true;
            conversation.invitations.clear();
            self.plan.forget(Some(key), id);
        }
    }

    fn close_leg(&mut self, id: &str) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.state = LegState::Disconnected;
            leg.playing = None;
            leg.waiting = VecDeque::new();
            leg.listening.clear();
        }
        self.plan.forget(None, id);
    }

    /// All participants leave.
    pub(super) fn end_conversation(&mut self, key: u64, result: &ResultInformation) {
        self.stop_recordings_of(key);
        for leg in self.legs_in(key) {
            self.end_leg(&leg, result.clone());
        }
        let now = self.now;
        let Some(conversation) = self.conversations.get_mut(&key) else {
            return;
        };
        conversation.invitations.clear();
        self.plan.forget(Some(key), "");
        let there = std::mem::take(&mut conversation.participants);
        let was_over = std::mem::replace(&mut conversation.ended, true);
        let (by, room) = (conversation.started_by.clone(), conversation.room.clone());
        if let Some(started) = conversation.started
            && !was_over
        {
            let two_party = there.len() <= 2;
            for user in there {
                self.tell_of_user(key, user, false);
            }
            self.tell_grid(
                key,
                GridHappened::CallEnded {
                    started_by: by,
                    two_party,
                    room,
                    duration_seconds: now.saturating_sub(started).as_secs_f64(),
                    code: result.code,
                    sub_code: result.sub_code,
                },
            );
        }
    }
}

fn ended_by_application() -> ResultInformation {
    ResultInformation::new(200, 7000, "The conversation has ended. DiagCode: 0#7000.@")
}

/// Only the application is left.
pub(super) fn ended_by_participants() -> ResultInformation {
    ResultInformation::new(200, 5001, "The conversation has ended. DiagCode: 0#5001.@")
}
