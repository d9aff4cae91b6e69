//! Participants of a call: invited, added, removed, moved, muted, held.

use super::{
    super::{
        api_error::ApiError,
        event::{Generation, Happened, Participant, ResultInformation},
        identity::Identifier,
        scenario::Answering,
    },
    Add, Operation, PlannedAct, Source, World,
    calls::{participant_not_found, refusal},
    conversation::LegState,
    ending::ended_by_participants,
};

/// What is known of an invitation when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddedParticipant {
    /// `invitationId` of GA: of the first participant.
    pub(crate) invitation: String,
    /// `participantId` of 2021, in the order of the request.
    pub(crate) participant_ids: Vec<String>,
}

impl World {
    /// All participants of the call, including the application.
    pub(crate) fn participants(&mut self, id: &str) -> Result<Vec<Participant>, ApiError> {
        self.live(id)?;
        Ok(self
            .conversation_of(id)
            .map(|(_, conversation)| conversation.participants.clone())
            .unwrap_or_default())
    }

    pub(crate) fn participant(&mut self, id: &str, raw_id: &str) -> Result<Participant, ApiError> {
        self.participants(id)?
            .into_iter()
            .find(|participant| participant.identifier.raw_id() == raw_id)
            .ok_or_else(|| participant_not_found(raw_id))
    }

    /// Invites a participant into the call.
    pub(crate) fn add(&mut self, id: &str, request: Add) -> Result<AddedParticipant, ApiError> {
        self.connected(id)?;
        let there = self.participants(id)?;
        for who in &request.participants {
            if there
                .iter()
                .any(|participant| participant.identifier.raw_id() == who.raw_id())
            {
                return Err(ApiError::conflict(format!(
                    "{} is in the call already",
                    who.raw_id()
                )));
            }
            let rings = self.conversation_of(id).is_some_and(|(_, conversation)| {
                let mut rings = conversation.invitations.iter();
                rings.any(|invitation| invitation.who.raw_id() == who.raw_id())
            });
            if rings {
                return Err(ApiError::conflict(format!(
                    "{} is being called already",
                    who.raw_id()
                )));
            }
        }
        let mut invitation = None;
        let mut participant_ids = Vec::new();
        for who in request.participants {
            let one = self.guid();
            invitation.get_or_insert_with(|| one.clone());
            participant_ids.push(self.invite(
                id,
                who,
                request.timeout,
                Some((one, request.operation.clone())),
            ));
        }
        Ok(AddedParticipant {
            invitation: invitation
                .ok_or_else(|| ApiError::bad_request("no participant is named to be added"))?,
            participant_ids,
        })
    }

    /// Takes an invitation back. The result is reported later, as the service does.
    pub(crate) fn cancel_add(
        &mut self,
        id: &str,
        invitation: &str,
        operation: Operation,
    ) -> Result<(), ApiError> {
        self.connected(id)?;
        let canceled = self.conversation_of(id).and_then(|(_, conversation)| {
            let found = conversation
                .invitations
                .iter()
                .position(|known| known.id == invitation && known.added.is_some())?;
            Some(conversation.invitations.remove(found))
        });
        let invitation = invitation.to_owned();
        let (result, happened) = match canceled {
            // Recorded with this code: it is not a failure (docs/src/reference/acs-events.md, "Result codes").
            Some(canceled) => (
                ResultInformation::new(
                    487,
                    5234,
                    format!(
                        "addParticipants failed for participant {}. Underlying reason: The Call Has Been Cancelled. DiagCode: 487#5234.@",
                        canceled.who.raw_id()
                    ),
                ),
                Happened::AddParticipantCanceled { invitation },
            ),
            None => (
                ResultInformation::new(
                    400,
                    0,
                    "The invitation does not exist, or it has been answered.",
                ),
                Happened::CancelAddParticipantFailed { invitation },
            ),
        };
        self.tell(id, &operation, Some(result), happened);
        Ok(())
    }

    pub(crate) fn remove(
        &mut self,
        id: &str,
        who: &Identifier,
        operation: Operation,
    ) -> Result<(), ApiError> {
        self.connected(id)?;
        let raw_id = who.raw_id();
        let participant = self.participant(id, &raw_id)?.identifier;
        self.not_the_application(id, who)?;
        if !self.callee(&participant).obliging {
            self.tell(
                id,
                &operation,
                Some(operation_failed("The participant cannot be removed.")),
                Happened::RemoveParticipantFailed { participant },
            );
            return Ok(());
        }
        self.tell(
            id,
            &operation,
            Some(ResultInformation::fine()),
            Happened::ParticipantRemoved { participant },
        );
        if let Some((key, _)) = self.conversation_of(id) {
            self.remove_participant(key, &raw_id);
        }
        Ok(())
    }

    /// 2021: by `participantId`, or by raw id. Success is reported only through the list of participants.
    pub(crate) fn remove_by_id(&mut self, id: &str, participant_id: &str) -> Result<(), ApiError> {
        self.connected(id)?;
        let who = self
            .participants(id)?
            .into_iter()
            .find(|participant| {
                participant.participant_id == participant_id
                    || participant.identifier.raw_id() == participant_id
            })
            .ok_or_else(|| participant_not_found(participant_id))?;
        self.not_the_application(id, &who.identifier)?;
        if let Some((key, _)) = self.conversation_of(id) {
            self.remove_participant(key, &who.identifier.raw_id());
        }
        Ok(())
    }

    /// An application leaves by hanging up; it cannot be removed or moved.
    fn not_the_application(&self, id: &str, who: &Identifier) -> Result<(), ApiError> {
        let conversation = self.live(id)?.conversation;
        let ours = self
            .legs_in(conversation)
            .iter()
            .filter_map(|leg| self.legs.get(leg))
            .any(|leg| leg.source.raw_id() == who.raw_id());
        if ours {
            return Err(ApiError::bad_request(format!(
                "{} is the application itself: it leaves a call by hanging up",
                who.raw_id()
            )));
        }
        Ok(())
    }

    pub(crate) fn mute(
        &mut self,
        id: &str,
        who: &[Identifier],
        _context: Option<String>,
    ) -> Result<(), ApiError> {
        self.connected(id)?;
        for identifier in who {
            self.participant(id, &identifier.raw_id())?;
        }
        self.change(id, who, |participant| participant.muted = true);
        Ok(())
    }

    pub(crate) fn hold(
        &mut self,
        id: &str,
        who: &Identifier,
        music: Option<Source>,
        operation: Operation,
    ) -> Result<(), ApiError> {
        // Only the participant on hold hears the hold music: it is not reported.
        drop(music);
        self.set_hold(id, who, operation, true)
    }

    pub(crate) fn unhold(
        &mut self,
        id: &str,
        who: &Identifier,
        operation: Operation,
    ) -> Result<(), ApiError> {
        self.set_hold(id, who, operation, false)
    }

    fn set_hold(
        &mut self,
        id: &str,
        who: &Identifier,
        operation: Operation,
        on_hold: bool,
    ) -> Result<(), ApiError> {
        self.connected(id)?;
        let participant = self.participant(id, &who.raw_id())?;
        if participant.on_hold == on_hold {
            return Err(ApiError::conflict(format!(
                "{} is {} already",
                who.raw_id(),
                if on_hold { "on hold" } else { "off hold" }
            )));
        }
        if self.callee(who).obliging {
            self.change(id, std::slice::from_ref(who), |participant| {
                participant.on_hold = on_hold;
            });
        } else {
            self.tell(
                id,
                &operation,
                Some(operation_failed("The participant cannot be put on hold.")),
                Happened::HoldFailed,
            );
        }
        Ok(())
    }

    /// Changes participants and reports it to every leg.
    fn change(&mut self, id: &str, who: &[Identifier], how: impl Fn(&mut Participant)) {
        let Some((key, conversation)) = self.conversation_of(id) else {
            return;
        };
        for identifier in who {
            if let Some(participant) = conversation.participant(&identifier.raw_id()) {
                how(participant);
            }
        }
        self.participants_updated(key);
    }

    /// Moves participants of another call of the application into this one.
    pub(crate) fn move_here(
        &mut self,
        id: &str,
        from_call: &str,
        who: &[Identifier],
        operation: Operation,
    ) -> Result<Vec<Participant>, ApiError> {
        self.connected(id)?;
        self.connected(from_call)?;
        if id == from_call {
            return Err(ApiError::bad_request("fromCall is the call itself"));
        }
        let mut moved: Vec<Participant> = Vec::new();
        for identifier in who {
            let participant = self.participant(from_call, &identifier.raw_id())?;
            self.not_the_application(from_call, identifier)?;
            if !moved.contains(&participant) {
                moved.push(participant);
            }
        }
        for participant in &moved {
            let identifier = participant.identifier.clone();
            let from_call = from_call.to_owned();
            if !self.callee(&identifier).obliging {
                self.tell(
                    id,
                    &operation,
                    Some(operation_failed("The participant cannot be moved.")),
                    Happened::MoveParticipantFailed {
                        participant: identifier,
                        from_call,
                    },
                );
                continue;
            }
            if let Some((there, _)) = self.conversation_of(&from_call) {
                self.remove_participant(there, &identifier.raw_id());
            }
            self.tell(
                id,
                &operation,
                Some(ResultInformation::fine()),
                Happened::ParticipantMoved {
                    participant: identifier.clone(),
                    from_call,
                },
            );
            if let Some((here, _)) = self.conversation_of(id) {
                self.add_participant(here, identifier, None);
                self.participants_updated(here);
            }
        }
        Ok(moved)
    }

    /// A callee does what the scenario says.
    pub(super) fn rung(&mut self, key: u64, invitation: &str) {
        let Some(conversation) = self.conversations.get_mut(&key) else {
            return;
        };
        let Some(found) = conversation
            .invitations
            .iter()
            .position(|known| known.id == invitation)
        else {
            return;
        };
        let invited = conversation.invitations.remove(found);
        let ringing = conversation
            .invitations
            .iter()
            .any(|other| other.leg == invited.leg && other.added.is_none());
        let Some(leg) = self.legs.get(&invited.leg) else {
            return;
        };
        let (state, source) = (leg.state, leg.source.clone());
        let accepted = invited.answer == Answering::Accept;
        match invited.added {
            None if accepted => {
                self.add_participant(key, invited.who, Some(invited.participant_id));
                match state {
                    LegState::Connecting => self.connect_leg(&invited.leg, source),
                    LegState::Connected | LegState::TransferAccepted => {
                        self.participants_updated(key);
                    }
                    LegState::Disconnected => {}
                }
            }
            // Of a call to several, the others may still accept.
            None if state == LegState::Connecting && !ringing => {
                let operation = self.operation_of(&invited.leg);
                self.fail_leg(
                    &invited.leg,
                    &operation,
                    refusal(invited.answer),
                    Happened::CreateCallFailed,
                );
            }
            None => {}
            Some(operation) => {
                if state != LegState::Connected {
                    return;
                }
                let participants = vec![invited.who.clone()];
                if accepted {
                    self.add_participant(key, invited.who, Some(invited.participant_id));
                    self.participants_updated(key);
                    self.tell(
                        &invited.leg,
                        &operation,
                        Some(ResultInformation::fine()),
                        Happened::ParticipantAdded { participants },
                    );
                    self.listen_as_wanted(&invited.leg);
                } else {
                    self.tell(
                        &invited.leg,
                        &operation,
                        Some(refusal(invited.answer)),
                        Happened::AddParticipantFailed { participants },
                    );
                }
            }
        }
    }

    /// A participant hangs up by itself.
    pub(super) fn leaves(&mut self, key: u64, participant: &str) {
        let there = self.conversations.get(&key).and_then(|conversation| {
            let mut there = conversation.participants.iter();
            there.find(|known| known.participant_id == participant)
        });
        if let Some(raw_id) = there.map(|known| known.identifier.raw_id()) {
            self.remove_participant(key, &raw_id);
        }
    }

    pub(super) fn add_participant(
        &mut self,
        key: u64,
        identifier: Identifier,
        participant_id: Option<String>,
    ) {
        let raw_id = identifier.raw_id();
        let is_leg = self
            .legs
            .values()
            .any(|leg| leg.conversation == key && leg.source.raw_id() == raw_id);
        let hangs_up = self.callee(&identifier).hang_up_after.filter(|_| !is_leg);
        let participant_id = participant_id.unwrap_or_else(|| self.guid());
        let Some(conversation) = self.conversations.get_mut(&key) else {
            return;
        };
        if conversation.participant(&raw_id).is_some() {
            return;
        }
        let participation = participant_id.clone();
        let participant = Participant {
            identifier,
            participant_id,
            muted: false,
            on_hold: false,
        };
        conversation.participants.push(participant.clone());
        let goes_on = conversation.started.is_some();
        if goes_on {
            self.tell_of_user(key, participant, true);
        }
        if let Some(after) = hangs_up {
            self.after(
                after,
                PlannedAct::Leaves {
                    conversation: key,
                    participant: participation,
                },
            );
        }
    }

    /// Removes a participant. The call ends when only the application is left in it, or one participant without an
    /// application.
    pub(super) fn remove_participant(&mut self, key: u64, raw_id: &str) {
        let Some(conversation) = self.conversations.get_mut(&key) else {
            return;
        };
        let Some(found) = conversation
            .participants
            .iter()
            .position(|participant| participant.identifier.raw_id() == raw_id)
        else {
            // The participant was never in it: the application left while it still rang.
            if self.legs_in(key).is_empty() {
                self.end_conversation(key, &ended_by_participants());
            }
            return;
        };
        let gone = conversation.participants.remove(found);
        self.tell_of_user(key, gone, false);
        let applications: Vec<_> = self
            .legs_in(key)
            .iter()
            .filter_map(|leg| self.legs.get(leg))
            .map(|leg| leg.source.raw_id())
            .collect();
        let others = self.conversations.get(&key).map_or(0, |conversation| {
            conversation
                .participants
                .iter()
                .filter(|who| !applications.contains(&who.identifier.raw_id()))
                .count()
        });
        // In a room or a group call a single participant may stay.
        let stands = !applications.is_empty()
            && self
                .conversations
                .get(&key)
                .is_some_and(|known| known.room.is_some() || known.group.is_some());
        if (others == 0 && !stands) || (applications.is_empty() && others < 2) {
            self.participants_updated(key);
            self.end_conversation(key, &ended_by_participants());
        } else {
            self.participants_updated(key);
        }
    }

    /// Reports the current participants to every leg that asked for it.
    pub(super) fn participants_updated(&mut self, key: u64) {
        let Some(conversation) = self.conversations.get(&key) else {
            return;
        };
        let participants = conversation.participants.clone();
        for id in self.legs_in(key) {
            let Some(leg) = self.legs.get_mut(&id) else {
                continue;
            };
            let connected = leg.state != LegState::Connecting;
            let wanted = leg.wants.participants || leg.api.generation == Generation::Ga;
            if !connected || !wanted {
                continue;
            }
            leg.sequence += 1;
            let sequence = leg.sequence;
            self.tell(
                &id,
                &Operation::default(),
                Some(ResultInformation::fine()),
                Happened::ParticipantsUpdated {
                    sequence,
                    participants: participants.clone(),
                },
            );
        }
    }
}

/// The scenario says that operations on this callee fail.
pub(super) fn operation_failed(why: &str) -> ResultInformation {
    ResultInformation::new(500, 9999, why)
}
