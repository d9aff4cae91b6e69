//! How calls and connections begin.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use rand::RngExt;

use super::{
    super::{
        api_error::ApiError,
        event::{Generation, GridHappened, Happened, Participant, ResultInformation},
        identity::Identifier,
        scenario::Answering,
    },
    CallView, Connect, Create, Operation, Place, PlannedAct, World,
    conversation::{Conversation, Invitation, Leg, LegState},
    guid, new_server_call,
    request::{Api, Media, Wants},
};

/// The properties of a new leg.
pub(super) struct NewLeg {
    pub(super) conversation: u64,
    pub(super) api: Api,
    pub(super) callback: String,
    pub(super) context: Option<String>,
    pub(super) wants: Wants,
    pub(super) source: Identifier,
    pub(super) media: Media,
}

impl World {
    /// Calls the targets; the application's leg is connected when the first of them accepts.
    pub(crate) fn create(&mut self, request: Create) -> Result<String, ApiError> {
        let phones = request
            .targets
            .iter()
            .any(|target| matches!(target, Identifier::Phone { .. }));
        if phones && request.caller_id.is_none() {
            return Err(ApiError::bad_request(match request.api.generation {
                Generation::Ga => {
                    "a call to a phone number needs sourceCallerIdNumber, the number that it shows"
                }
                Generation::Private | Generation::Public => {
                    "a call to a phone number needs alternateCallerId, the number that it shows"
                }
            }));
        }
        let source = request.source.unwrap_or_else(|| self.identity());
        let conversation = self.new_conversation(source.clone(), None, None);
        let leg = self.new_leg(NewLeg {
            conversation,
            api: request.api,
            callback: request.callback,
            context: request.context,
            wants: request.wants,
            source,
            media: request.media,
        });
        if let Some(known) = self.legs.get_mut(&leg) {
            known.caller_id = request.caller_id;
            known.display_name = request.display_name;
            known.targets.clone_from(&request.targets);
        }
        self.tell(&leg, &Operation::default(), None, Happened::Connecting);
        for target in request.targets {
            self.invite(&leg, target, None, None);
        }
        Ok(leg)
    }

    /// Joins a conversation.
    pub(crate) fn connect(&mut self, request: Connect) -> Result<String, ApiError> {
        let found = self.conversation_at(&request.place);
        let ga = request.api.generation == Generation::Ga;
        let source = request.source.unwrap_or_else(|| self.identity());
        let conversation = match (&request.place, found) {
            (_, Some(conversation)) => conversation,
            (Place::Group(group), None) => {
                self.new_conversation(source.clone(), Some(group.clone()), None)
            }
            (Place::Room(room), None) => {
                self.new_conversation(source.clone(), None, Some(room.clone()))
            }
            (Place::ServerCall(_), None) if ga => self.new_conversation(source.clone(), None, None),
            (Place::ServerCall(id), None) => {
                return Err(ApiError::not_found(format!(
                    "there is no conversation {id}"
                )));
            }
        };
        let leg = self.new_leg(NewLeg {
            conversation,
            api: request.api,
            callback: request.callback,
            context: request.context,
            wants: request.wants,
            source,
            media: request.media,
        });
        if found.is_none() && matches!(request.place, Place::ServerCall(_)) {
            // GA accepts the request and reports the failure later (ConnectFailed).
            let operation = self.operation_of(&leg);
            self.fail_leg(
                &leg,
                &operation,
                ResultInformation::new(404, 0, "The call does not exist."),
                Happened::ConnectFailed,
            );
            return Ok(leg);
        }
        self.tell(&leg, &Operation::default(), None, Happened::Connecting);
        let latency = self.setup.scenario.line.latency;
        self.after(latency, PlannedAct::Joined { leg: leg.clone() });
        Ok(leg)
    }

    /// A leg of the application in that conversation, for operations of 2021 on conversations and server calls.
    pub(crate) fn leg_of(&self, place: &Place) -> Result<String, ApiError> {
        self.conversation_at(place)
            .and_then(|conversation| self.legs_in(conversation).into_iter().next())
            .ok_or_else(|| ApiError::not_found("the conversation does not exist, or it has ended"))
    }

    /// `CallConnectionProperties`.
    pub(crate) fn call(&self, id: &str) -> Result<CallView, ApiError> {
        let leg = self.live(id)?;
        let conversation = self
            .conversations
            .get(&leg.conversation)
            .ok_or_else(|| ApiError::not_found(format!("there is no call {id}")))?;
        Ok(CallView {
            connection: id.to_owned(),
            server_call: conversation.server_call(leg.api.generation),
            correlation: conversation.correlation.clone(),
            targets: leg.targets.clone(),
            state: leg.state.name(),
            callback: leg.callback.clone(),
            caller_id: leg.caller_id.clone(),
            display_name: leg.display_name.clone(),
            source: Some(leg.source.clone()),
            answered_by: leg.answered_by.clone(),
            answered_for: leg.answered_for.clone(),
            media: leg.media.clone(),
            streaming_on: leg.streaming,
            transcription_on: leg.transcribing,
        })
    }

    /// A leg that the application asked for is established.
    pub(super) fn joined(&mut self, id: &str) {
        let Ok(leg) = self.live(id) else { return };
        let (key, source, targets, answered) = (
            leg.conversation,
            leg.source.clone(),
            leg.targets.clone(),
            self.conversations
                .get(&leg.conversation)
                .is_some_and(|conversation| conversation.started.is_none())
                && leg.caller_id.is_none()
                && !leg.targets.is_empty(),
        );
        if answered
            && let Some(caller) = targets.first()
            && self.callee(caller).answer != Answering::Accept
        {
            let operation = self.operation_of(id);
            self.fail_leg(
                id,
                &operation,
                ResultInformation::new(487, 0, "The caller has hung up."),
                Happened::AnswerFailed,
            );
            return;
        }
        for who in targets {
            self.add_participant(key, who, None);
        }
        self.connect_leg(id, source);
    }

    /// The leg is connected: reports it, and starts what begins with the connection.
    pub(super) fn connect_leg(&mut self, id: &str, source: Identifier) {
        let Some(leg) = self.legs.get_mut(id) else {
            return;
        };
        leg.state = LegState::Connected;
        let (key, media) = (leg.conversation, leg.media.clone());
        self.add_participant(key, source, None);
        let begun = self.begin(key);
        let operation = self.operation_of(id);
        let connected = |world: &mut Self| {
            world.tell(
                id,
                &operation,
                Some(ResultInformation::fine()),
                Happened::Connected,
            );
        };
        // Recorded in both orders (docs/src/reference/acs-events.md, "How callbacks are delivered"). 2021 is documented
        // with the state first.
        let ga = self
            .legs
            .get(id)
            .filter(|leg| leg.api.generation == Generation::Ga);
        if ga.is_some_and(|leg| self.chance_of(b'o', leg.ordinal).random_bool(0.5)) {
            self.participants_updated(key);
            connected(self);
        } else {
            connected(self);
            self.participants_updated(key);
        }
        if begun {
            self.tell_of_beginning(key);
        }
        if media.streaming.is_some_and(|streaming| streaming.at_once) {
            drop(self.start_streaming(id, operation.clone()));
        }
        if let Some(transcription) = media.transcription.filter(|wanted| wanted.at_once) {
            drop(self.start_transcription(id, transcription.locale, operation.clone()));
        }
        self.listen_as_wanted(id);
    }

    /// True if the conversation begins with this.
    fn begin(&mut self, key: u64) -> bool {
        let now = self.now;
        self.conversations
            .get_mut(&key)
            .is_some_and(|conversation| match conversation.started {
                Some(_) => false,
                None => {
                    conversation.started = Some(now);
                    true
                }
            })
    }

    fn tell_of_beginning(&mut self, key: u64) {
        let Some(conversation) = self.conversations.get(&key) else {
            return;
        };
        let by = conversation.started_by.clone();
        let room = conversation.room.clone();
        let two_party = conversation.participants.len() <= 2;
        let there = conversation.participants.clone();
        self.tell_grid(
            key,
            GridHappened::CallStarted {
                by: by.clone(),
                two_party,
                room: room.clone(),
            },
        );
        for user in there {
            self.tell_of_user(key, user, true);
        }
    }

    /// Event Grid reports only users of the resource (docs/src/reference/acs-events.md, "Event Grid events").
    pub(super) fn tell_of_user(&mut self, key: u64, user: Participant, added: bool) {
        if !matches!(user.identifier, Identifier::User { .. }) {
            return;
        }
        let Some(conversation) = self.conversations.get(&key) else {
            return;
        };
        let (started_by, room) = (conversation.started_by.clone(), conversation.room.clone());
        let display_name = String::new();
        self.tell_grid(
            key,
            if added {
                GridHappened::ParticipantAdded {
                    started_by,
                    user,
                    display_name,
                    room,
                }
            } else {
                GridHappened::ParticipantRemoved {
                    started_by,
                    user,
                    display_name,
                    room,
                }
            },
        );
    }

    /// The context of the request that made the call: its own events carry it.
    pub(super) fn operation_of(&self, leg: &str) -> Operation {
        Operation {
            context: self.legs.get(leg).and_then(|leg| leg.context.clone()),
            callback: None,
        }
    }

    pub(super) fn new_conversation(
        &mut self,
        started_by: Identifier,
        group: Option<String>,
        room: Option<String>,
    ) -> u64 {
        let ordinal = self.last_conversation + 1;
        let mut rng = self.chance_of(b'c', ordinal);
        let conversation = Conversation {
            server_call: new_server_call(&mut rng, ordinal),
            correlation: guid(&mut rng),
            group,
            room,
            started_by,
            started: None,
            ended: false,
            participants: Vec::new(),
            invitations: Vec::new(),
            recordings: self.chance_of(b'r', ordinal),
        };
        self.last_conversation = ordinal;
        self.conversations
            .insert(self.last_conversation, conversation);
        self.forget_the_oldest();
        self.last_conversation
    }

    /// An emulator may run for weeks: of conversations without a leg of the application only the last ones are kept for
    /// inspection.
    fn forget_the_oldest(&mut self) {
        if self.conversations.len() <= KEPT {
            return;
        }
        let live: BTreeSet<u64> = self
            .legs
            .values()
            .filter(|leg| leg.state != LegState::Disconnected)
            .map(|leg| leg.conversation)
            .collect();
        let oldest = self
            .conversations
            .keys()
            .find(|key| !live.contains(key))
            .copied();
        if let Some(oldest) = oldest {
            self.conversations.remove(&oldest);
            self.legs.retain(|_, leg| leg.conversation != oldest);
            self.incoming
                .retain(|_, incoming| incoming.conversation != oldest);
        }
    }

    pub(super) fn new_leg(&mut self, new: NewLeg) -> String {
        self.last_leg += 1;
        let id = guid(&mut self.chance_of(b'l', self.last_leg));
        let leg = Leg {
            ordinal: self.last_leg,
            conversation: new.conversation,
            api: new.api,
            state: LegState::Connecting,
            callback: new.callback,
            context: new.context,
            wants: new.wants,
            source: new.source,
            caller_id: None,
            display_name: None,
            targets: Vec::new(),
            answered_by: None,
            answered_for: None,
            media: new.media,
            streaming: false,
            transcribing: false,
            sequence: 0,
            playing: None,
            waiting: VecDeque::new(),
            listening: Vec::new(),
            pending: Vec::new(),
        };
        self.legs.insert(id.clone(), leg);
        id
    }

    pub(super) fn conversation_at(&self, place: &Place) -> Option<u64> {
        self.conversations
            .iter()
            .filter(|(_, conversation)| !conversation.ended)
            .find(|(_, conversation)| match place {
                Place::ServerCall(id) => conversation.is(id),
                Place::Group(id) => same(conversation.group.as_ref(), id),
                Place::Room(id) => same(conversation.room.as_ref(), id),
            })
            .map(|(key, _)| *key)
    }

    /// Invites a participant into a conversation.
    pub(super) fn invite(
        &mut self,
        leg: &str,
        who: Identifier,
        timeout: Option<Duration>,
        added: Option<(String, Operation)>,
    ) -> String {
        let callee = self.callee(&who);
        let longest = timeout.unwrap_or(self.setup.scenario.line.ring);
        let (answer, rings) = if callee.answer == Answering::NoAnswer || callee.after > longest {
            (Answering::NoAnswer, longest)
        } else {
            (callee.answer, callee.after)
        };
        let participant_id = self.guid();
        let (id, added) = match added {
            Some((id, operation)) => (id, Some(operation)),
            None => (self.guid(), None),
        };
        let Some((conversation, known)) = self.conversation_of(leg) else {
            return participant_id;
        };
        known.invitations.push(Invitation {
            id: id.clone(),
            leg: leg.to_owned(),
            who,
            participant_id: participant_id.clone(),
            answer,
            added,
        });
        self.after(
            rings,
            PlannedAct::Rung {
                conversation,
                invitation: id,
            },
        );
        participant_id
    }
}

/// How many conversations are known at least.
const KEPT: usize = 10_000;

/// GA does not ask for events: it gets all of them.
pub(super) const EVERYTHING: Wants = Wants {
    participants: true,
    tones: false,
};

/// A GUID in capitals is the same.
fn same(known: Option<&String>, id: &str) -> bool {
    known.is_some_and(|known| known.eq_ignore_ascii_case(id))
}

pub(super) fn participant_not_found(raw_id: &str) -> ApiError {
    ApiError::not_found(format!("{raw_id} is not in the call"))
}

/// What the service reports for a callee that did not take the call. The codes are SIP's; the service's own are not
/// documented.
pub(super) fn refusal(answer: Answering) -> ResultInformation {
    match answer {
        Answering::Accept => ResultInformation::fine(),
        Answering::Decline => ResultInformation::new(603, 0, "The callee declined the call."),
        Answering::Busy => ResultInformation::new(486, 0, "The callee is busy."),
        Answering::NoAnswer => ResultInformation::new(480, 0, "The callee did not answer."),
    }
}
