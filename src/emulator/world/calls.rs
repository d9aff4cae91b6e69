//! Calls begin and end.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::RngExt;

use super::{
    super::{
        event::{Generation, GridHappened, Happened, Participant, ResultInformation},
        fault::Fault,
        identity::Identifier,
        scenario::Answering,
    },
    Act, Answer, CallView, Connect, Create, Operation, Place, Transfer, World,
    conversation::{Conversation, Invitation, Leg, LegState, Pending},
    guid, new_server_call,
    request::{Api, Media, Wants},
};

/// A call that came in and that nobody has answered.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    conversation: u64,
    from: Identifier,
    to: Identifier,
}

/// A transfer that the target has not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Transferring {
    target: Identifier,
    transferee: Identifier,
    operation: Operation,
    pending: String,
}

/// What a new leg is made of.
struct NewLeg {
    conversation: u64,
    api: Api,
    callback: String,
    context: Option<String>,
    wants: Wants,
    source: Identifier,
    media: Media,
}

impl World {
    /// Calls the targets; the application's leg is connected when the first of them accepts.
    pub(crate) fn create(&mut self, request: Create) -> Result<String, Fault> {
        let phones = request
            .targets
            .iter()
            .any(|target| matches!(target, Identifier::Phone { .. }));
        if phones && request.caller_id.is_none() {
            return Err(Fault::bad_request(match request.api.generation {
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

    /// Takes a call that came in.
    pub(crate) fn answer(&mut self, request: Answer) -> Result<String, Fault> {
        let incoming = self.take_incoming(&request.token)?;
        let source = request
            .answered_by
            .clone()
            .unwrap_or_else(|| match &incoming.to {
                user @ Identifier::User { .. } => user.clone(),
                _ => self.identity(),
            });
        let leg = self.new_leg(NewLeg {
            conversation: incoming.conversation,
            api: request.api,
            callback: request.callback,
            context: request.context,
            wants: EVERYTHING,
            source,
            media: request.media,
        });
        if let Some(known) = self.legs.get_mut(&leg) {
            known.targets = vec![incoming.from.clone()];
            known.answered_by = request.answered_by;
            if let Identifier::Phone { number } = &incoming.to {
                known.answered_for = Some(number.clone());
            }
        }
        let ring = self.setup.scenario.line.latency;
        self.after(ring, Act::Joined { leg: leg.clone() });
        Ok(leg)
    }

    /// Sends a call that came in to somebody else.
    pub(crate) fn redirect(
        &mut self,
        token: &str,
        target: Option<Identifier>,
    ) -> Result<(), Fault> {
        if target.is_none() {
            return Err(Fault::bad_request("target is missing: who gets the call?"));
        }
        // What becomes of it there is not this application's any more.
        self.forget_incoming(token)
    }

    /// Does not take a call that came in.
    pub(crate) fn reject(&mut self, token: &str, reason: Option<&str>) -> Result<(), Fault> {
        if let Some(reason) = reason
            && !["none", "busy", "forbidden"].contains(&reason)
        {
            return Err(Fault::bad_request(format!(
                "callRejectReason is none, busy or forbidden, not {reason:?}"
            )));
        }
        self.forget_incoming(token)
    }

    /// Joins a conversation.
    pub(crate) fn connect(&mut self, request: Connect) -> Result<String, Fault> {
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
                return Err(Fault::not_found(format!("there is no conversation {id}")));
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
            // GA takes the request and says so later (ConnectFailed).
            let operation = self.operation_of(&leg);
            self.fail_leg(
                &leg,
                &operation,
                ResultInformation::new(404, 0, "There is no such call."),
                Happened::ConnectFailed,
            );
            return Ok(leg);
        }
        self.tell(&leg, &Operation::default(), None, Happened::Connecting);
        let latency = self.setup.scenario.line.latency;
        self.after(latency, Act::Joined { leg: leg.clone() });
        Ok(leg)
    }

    /// A leg of the application in that conversation, for operations of 2021 on conversations and server calls.
    pub(crate) fn leg_of(&self, place: &Place) -> Result<String, Fault> {
        self.conversation_at(place)
            .and_then(|conversation| self.legs_in(conversation).into_iter().next())
            .ok_or_else(|| Fault::not_found("there is no such conversation, or it has ended"))
    }

    /// `CallConnectionProperties`.
    pub(crate) fn call(&self, id: &str) -> Result<CallView, Fault> {
        let leg = self.live(id)?;
        let conversation = self
            .conversations
            .get(&leg.conversation)
            .ok_or_else(|| Fault::not_found(format!("there is no call {id}")))?;
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

    /// The application leaves; the others stay, if they are two.
    pub(crate) fn hang_up(&mut self, id: &str) -> Result<(), Fault> {
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

    /// The call ends for everybody.
    pub(crate) fn terminate(&mut self, id: &str) -> Result<(), Fault> {
        let conversation = self.live(id)?.conversation;
        self.end_conversation(conversation, &ended_by_application());
        Ok(())
    }

    /// Hands a participant over to somebody else.
    pub(crate) fn transfer(&mut self, id: &str, request: Transfer) -> Result<(), Fault> {
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
            (Some(who), _) => return Err(nobody(&who.raw_id())),
            (None, [only]) => only.clone(),
            (None, _) => {
                return Err(Fault::bad_request(
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
            return Err(Fault::conflict("the call is being transferred already"));
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
            Act::Transferred {
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

    /// Lets a call come in now; gives its `incomingCallContext`.
    pub(crate) fn incoming(
        &mut self,
        from: Identifier,
        to: Identifier,
        display_name: String,
    ) -> String {
        let conversation = self.new_conversation(from.clone(), None, None);
        let secret: Vec<u8> = (0..900).map(|_| self.rng.random()).collect();
        let token = BASE64_URL_SAFE_NO_PAD.encode(secret);
        self.incoming.insert(
            token.clone(),
            Incoming {
                conversation,
                from: from.clone(),
                to: to.clone(),
            },
        );
        self.tell_grid(
            conversation,
            GridHappened::IncomingCall {
                from,
                to,
                display_name,
                context_token: token.clone(),
            },
        );
        token
    }

    pub(super) fn comes_in(&mut self, index: usize, left: u32) {
        let Some(incoming) = self.setup.scenario.incoming.get(index).cloned() else {
            return;
        };
        let who = |text: &str| {
            if text.starts_with('+') {
                Identifier::Phone {
                    number: text.to_owned(),
                }
            } else {
                Identifier::from_raw_id(text)
            }
        };
        self.incoming(
            who(&incoming.from),
            who(&incoming.to),
            incoming.display_name,
        );
        if let Some(left) = left.checked_sub(1) {
            self.after(incoming.every, Act::Incoming { index, left });
        }
    }

    /// A leg that the application asked for is there.
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

    /// The leg is connected: says so, and lets begin what begins with it.
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
        // Recorded in both orders (events.md 7.1). 2021 is documented with the state first.
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

    /// Ends a leg that was connected, or was about to be.
    pub(super) fn end_leg(&mut self, id: &str, result: ResultInformation) {
        self.cancel_everything(id);
        self.fail_pending(id);
        self.tell(id, &Operation::default(), None, Happened::Disconnecting);
        let operation = self.operation_of(id);
        self.tell(id, &operation, Some(result), Happened::Disconnected);
        self.close_leg(id);
    }

    /// What was taken and has no outcome yet has one now (rest-api.md 3).
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

    /// An operation is taken whose outcome comes later.
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

    /// Its outcome is there: whether it was pending until now.
    pub(super) fn no_longer_pending(&mut self, id: &str, pending: &str) -> bool {
        let Some(leg) = self.legs.get_mut(id) else {
            return false;
        };
        let before = leg.pending.len();
        leg.pending.retain(|known| known.id != pending);
        leg.pending.len() < before
    }

    /// Ends a leg that never was connected: CallDisconnected and the event of the failure, in this order
    /// (rest-api.md 6).
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

    /// Everybody leaves.
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

    /// Event Grid tells of users of the resource only (events.md 6.2).
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

    fn new_conversation(
        &mut self,
        started_by: Identifier,
        group: Option<String>,
        room: Option<String>,
    ) -> u64 {
        let mut rng = self.chance_of(b'c', self.last_conversation + 1);
        let conversation = Conversation {
            server_call: new_server_call(&mut rng),
            correlation: guid(&mut rng),
            group,
            room,
            started_by,
            started: None,
            ended: false,
            participants: Vec::new(),
            invitations: Vec::new(),
        };
        self.last_conversation += 1;
        self.conversations
            .insert(self.last_conversation, conversation);
        self.forget_the_oldest();
        self.last_conversation
    }

    /// An emulator may run for weeks: of conversations that nobody of us is in only the last ones are kept, to be looked at.
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

    fn new_leg(&mut self, new: NewLeg) -> String {
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

    fn take_incoming(&mut self, token: &str) -> Result<Incoming, Fault> {
        self.incoming.remove(token).ok_or_else(|| {
            Fault::not_found(
                "incomingCallContext names no call that is ringing: it was answered, redirected, rejected, or never came",
            )
        })
    }

    fn forget_incoming(&mut self, token: &str) -> Result<(), Fault> {
        let incoming = self.take_incoming(token)?;
        if let Some(conversation) = self.conversations.get_mut(&incoming.conversation) {
            conversation.ended = true;
        }
        Ok(())
    }

    /// Calls somebody into a conversation.
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
            Act::Rung {
                conversation,
                invitation: id,
            },
        );
        participant_id
    }
}

/// How many conversations are known at least.
const KEPT: usize = 10_000;

/// GA asks for no events: it gets all.
pub(super) const EVERYTHING: Wants = Wants {
    participants: true,
    tones: false,
};

/// A GUID in capitals is the same.
fn same(known: Option<&String>, id: &str) -> bool {
    known.is_some_and(|known| known.eq_ignore_ascii_case(id))
}

pub(super) fn nobody(raw_id: &str) -> Fault {
    Fault::not_found(format!("{raw_id} is not in the call"))
}

fn ended_by_application() -> ResultInformation {
    ResultInformation::new(200, 7000, "The conversation has ended. DiagCode: 0#7000.@")
}

/// Nobody but the application is left.
pub(super) fn ended_by_participants() -> ResultInformation {
    ResultInformation::new(200, 5001, "The conversation has ended. DiagCode: 0#5001.@")
}

/// What the service says of a callee that did not take the call. The codes are SIP's; the service's own are not documented.
pub(super) fn refusal(answer: Answering) -> ResultInformation {
    match answer {
        Answering::Accept => ResultInformation::fine(),
        Answering::Decline => ResultInformation::new(603, 0, "The callee declined the call."),
        Answering::Busy => ResultInformation::new(486, 0, "The callee is busy."),
        Answering::NoAnswer => ResultInformation::new(480, 0, "The callee did not answer."),
    }
}
