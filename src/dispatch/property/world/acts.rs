//! Everything that can happen in a schedule.

use std::{collections::VecDeque, time::Duration};

use crate::{
    dispatch::{
        AttemptId, ChannelId, ChannelLoss, DeliveryId, Dispatcher, DispatcherInput, Lane, Refused,
    },
    route::DestinationId,
};

use super::{
    super::broker::{MessageFate, ModelChannel, QueueBehaviour, RandomSource, SentMessage},
    Accepted, CHANNELS, DESTINATIONS, State, World,
};

impl World {
    /// One step of a schedule; the number says which.
    pub(in crate::dispatch::property) fn act(&mut self, number: u64) {
        self.figures.steps += 1;
        let mut dice = RandomSource::new(number);
        match dice.below(100) {
            0..24 => self.accept(&mut dice),
            24..37 => self.read(&mut dice),
            37..50 => self.answer(&mut dice),
            50..64 => self.poll(&mut dice),
            64..71 => self.open(&mut dice),
            71..75 => self.commit(),
            75..77 if dice.one_in(3) => self.pass_fence(),
            75..77 => self.fence(&mut dice),
            77..80 if dice.one_in(3) => self.land_stray(&mut dice),
            77..80 => self.land_late(&mut dice),
            80..83 => self.answer_alone(&mut dice, false),
            83..85 => self.answer_recheck(),
            85..87 => self.close(&mut dice),
            87..88 => {
                let channel = dice.below(CHANNELS);
                self.lose_settled(channel, &mut dice);
            }
            88..89 => self.lose_connection(&mut dice),
            89..90 => self.restart(&mut dice),
            90..93 => {
                let moods = [
                    QueueBehaviour::Well,
                    QueueBehaviour::Well,
                    QueueBehaviour::Missing,
                    QueueBehaviour::Missing,
                    QueueBehaviour::Full,
                    QueueBehaviour::Stuck,
                ];
                let queue = dice.below(self.moods.len());
                self.moods[queue] = moods[dice.below(moods.len())];
            }
            93..94 => {
                let channel = dice.below(CHANNELS);
                self.shut[channel] = !self.shut[channel];
            }
            94..95 => {
                self.blocked = !self.blocked;
                self.inbox.push_back(DispatcherInput::Blocked(self.blocked));
            }
            95..96 => self.withdraw(&mut dice),
            96..97 => self.speak_nonsense(&mut dice),
            97..98 => self.now += Duration::from_secs(dice.below(15) as u64),
            _ => self.wait(&mut dice),
        }
        self.deliver(&mut dice);
    }

    fn accept(&mut self, dice: &mut RandomSource) {
        for _ in 0..=dice.below(3) {
            let destination = dice.below(DESTINATIONS.len());
            let (_, family) = DESTINATIONS[destination];
            let lane = (!dice.one_in(8)).then(|| Lane {
                family,
                call: dice.below(3) as u64,
            });
            let id = self.accepted.len();
            self.accepted.push(Accepted {
                lane,
                destination,
                poison: dice.one_in(40),
                withdrawn: false,
                state: State::Pending,
                durable: false,
                landed: 0,
            });
            if let Some(lane) = lane {
                self.lanes
                    .entry((lane.family, lane.call))
                    .or_default()
                    .0
                    .push(id);
            }
            self.figures.accepted += 1;
            self.tell_accepted(id, false);
        }
    }

    fn read(&mut self, dice: &mut RandomSource) {
        if self.blocked {
            return;
        }
        let channel = dice.below(CHANNELS);
        for _ in 0..=dice.below(4) {
            let moods = self.moods;
            let Some(session) = &mut self.sessions[channel] else {
                return;
            };
            match session.read(|queue| moods[queue]) {
                Some(MessageFate::Landed(message)) => self.land(message, false),
                Some(MessageFate::Refused) => return self.refuse(channel, dice),
                Some(MessageFate::Not) => {}
                None => return,
            }
        }
    }

    pub(super) fn refuse(&mut self, channel: usize, dice: &mut RandomSource) {
        let settled = !dice.one_in(4);
        let rest = self.end_session(channel, dice);
        if !settled {
            self.leave_late(rest);
        }
        self.figures.losses += 1;
        self.inbox.push_back(DispatcherInput::ChannelLost {
            channel: ChannelId(u32::try_from(channel).unwrap()),
            loss: ChannelLoss::Refused { settled },
        });
    }

    /// Closes a channel and returns what the broker had not read.
    fn end_session(&mut self, channel: usize, dice: &mut RandomSource) -> VecDeque<SentMessage> {
        self.closing.retain(|one| *one != channel);
        let Some(mut session) = self.sessions[channel].take() else {
            return VecDeque::new();
        };
        self.figures.mispaired += session.mispaired;
        if dice.one_in(2) {
            let mut outcomes = Vec::new();
            session.last_words(dice, &mut outcomes);
            self.tell(outcomes);
        }
        session.socket
    }

    fn leave_late(&mut self, stream: VecDeque<SentMessage>) {
        self.fence_due = true;
        self.late.push(stream);
    }

    fn answer(&mut self, dice: &mut RandomSource) {
        let moods = self.moods;
        let channel = dice.below(CHANNELS);
        if let Some(session) = &mut self.sessions[channel] {
            session.answer(dice, |queue| moods[queue]);
        }
    }

    fn poll(&mut self, dice: &mut RandomSource) {
        let channel = dice.below(CHANNELS);
        let polls = 1 + dice.below(12);
        self.poll_channel(channel, polls, dice);
    }

    pub(super) fn poll_channel(&mut self, channel: usize, polls: usize, dice: &mut RandomSource) {
        let mut outcomes = Vec::new();
        if let Some(session) = &mut self.sessions[channel] {
            session.poll(dice, polls, &mut outcomes);
        }
        self.tell(outcomes);
    }

    fn open(&mut self, dice: &mut RandomSource) {
        let channel = dice.below(CHANNELS);
        self.open_channel(channel);
    }

    pub(super) fn open_channel(&mut self, channel: usize) {
        if self.sessions[channel].is_none() && !self.shut[channel] {
            self.sessions[channel] = Some(ModelChannel::new(self.kept.poll_all));
            self.inbox.push_back(DispatcherInput::Opened {
                channel: ChannelId(u32::try_from(channel).unwrap()),
            });
        }
    }

    /// The journal commits what was reported to it.
    pub(super) fn commit(&mut self) {
        for (id, delivery) in self.accepted.iter_mut().enumerate() {
            if delivery.state != State::Pending && !delivery.durable {
                delivery.durable = true;
                self.inbox.push_back(DispatcherInput::Settled {
                    delivery: DeliveryId(id as u64),
                });
            }
        }
    }

    pub(super) fn fence(&mut self, dice: &mut RandomSource) {
        if !self.fence_due {
            return;
        }
        while !self.late.is_empty() {
            if dice.one_in(2) {
                self.late.clear();
            } else {
                self.land_late(dice);
            }
        }
        self.fence_due = false;
        self.figures.fences += 1;
        self.inbox.push_back(DispatcherInput::Fenced);
    }

    /// The fence could not be declared in time: what it would have prevented may still arrive.
    fn pass_fence(&mut self) {
        if std::mem::take(&mut self.fence_due) {
            self.strays.append(&mut self.late);
            self.figures.passed += 1;
            self.inbox.push_back(DispatcherInput::Fenced);
        }
    }

    fn land_late(&mut self, dice: &mut RandomSource) {
        if let Some(message) = next_of(&mut self.late, dice)
            && self.takes(message)
        {
            self.figures.late += 1;
            self.land(message, false);
        }
    }

    pub(super) fn land_stray(&mut self, dice: &mut RandomSource) {
        if let Some(message) = next_of(&mut self.strays, dice)
            && self.takes(message)
        {
            self.figures.strays += 1;
            self.land(message, true);
        }
    }

    fn takes(&self, message: SentMessage) -> bool {
        !message.poison
            && matches!(
                self.moods[message.queue],
                QueueBehaviour::Well | QueueBehaviour::Stuck
            )
    }

    pub(super) fn answer_alone(&mut self, dice: &mut RandomSource, healthy: bool) {
        if self.alone.is_empty() {
            return;
        }
        let index = dice.below(self.alone.len());
        let message = self.alone[index];
        let attempt = message.attempt;
        let mood = self.moods[message.queue];
        let unknown = !healthy && dice.one_in(5);
        if mood == QueueBehaviour::Stuck && !unknown {
            return;
        }
        self.alone.swap_remove(index);
        let input = if message.poison {
            DispatcherInput::AloneRefused {
                attempt,
                refused: Refused {
                    code: 406,
                    text: "PRECONDITION_FAILED".to_owned(),
                },
            }
        } else {
            match mood {
                QueueBehaviour::Missing => DispatcherInput::Returned { attempt },
                QueueBehaviour::Full => DispatcherInput::Nacked { attempt },
                QueueBehaviour::Well | QueueBehaviour::Stuck => {
                    // If the answer is lost, the message may have been lost too.
                    if !unknown || dice.one_in(2) {
                        self.land(message, false);
                    }
                    DispatcherInput::Confirmed { attempt }
                }
            }
        };
        self.inbox.push_back(if unknown {
            DispatcherInput::AloneUnknown { attempt }
        } else {
            input
        });
    }

    pub(super) fn answer_recheck(&mut self) {
        for destination in std::mem::take(&mut self.rechecks) {
            let mood = self.moods[usize::try_from(destination.0).unwrap()];
            self.inbox.push_back(DispatcherInput::Rechecked {
                destination,
                usable: mood != QueueBehaviour::Missing,
            });
        }
    }

    /// Closes or cuts what the dispatcher ordered to be closed or cut.
    pub(super) fn close(&mut self, dice: &mut RandomSource) {
        if std::mem::take(&mut self.cut) {
            self.lose_connection(dice);
        } else if let Some(channel) = self.closing.first().copied() {
            self.lose_settled(channel, dice);
        }
    }

    /// The broker sends Close or Close-Ok: it has read a part of what was sent, and reads no more.
    pub(super) fn lose_settled(&mut self, channel: usize, dice: &mut RandomSource) {
        let reads = dice.below(4);
        for _ in 0..reads {
            let moods = self.moods;
            match self.sessions[channel]
                .as_mut()
                .and_then(|session| session.read(|queue| moods[queue]))
            {
                Some(MessageFate::Landed(message)) => self.land(message, false),
                Some(MessageFate::Refused) => return self.refuse(channel, dice),
                Some(MessageFate::Not) => {}
                None => break,
            }
        }
        if self.sessions[channel].is_some() {
            self.end_session(channel, dice);
            self.figures.losses += 1;
            self.inbox.push_back(DispatcherInput::ChannelLost {
                channel: ChannelId(u32::try_from(channel).unwrap()),
                loss: ChannelLoss::Settled,
            });
        }
    }

    fn lose_connection(&mut self, dice: &mut RandomSource) {
        self.fence_due = true;
        self.cut = false;
        for channel in 0..CHANNELS {
            if self.sessions[channel].is_some() {
                let stream = self.end_session(channel, dice);
                self.leave_late(stream);
                self.figures.losses += 1;
                self.inbox.push_back(DispatcherInput::ChannelLost {
                    channel: ChannelId(u32::try_from(channel).unwrap()),
                    loss: ChannelLoss::Unfenced,
                });
            }
        }
        if std::mem::take(&mut self.blocked) {
            self.inbox.push_back(DispatcherInput::Blocked(false));
        }
    }

    /// The process is killed: what the journal had not committed is pending again, and what was sent may still arrive.
    fn restart(&mut self, dice: &mut RandomSource) {
        if self.confirm_mode {
            return;
        }
        self.figures.restarts += 1;
        self.deliver(dice);
        self.lose_connection(dice);
        let alone = std::mem::take(&mut self.alone);
        for message in alone {
            self.leave_late([message].into());
        }
        self.inbox.clear();
        self.rechecks.clear();
        self.closing.clear();
        self.told_open = [false; CHANNELS];
        self.told_blocked = false;
        self.dispatcher = Dispatcher::new(self.settings);
        self.keep_rules();
        for id in 0..self.accepted.len() {
            let delivery = &mut self.accepted[id];
            if !delivery.durable {
                delivery.state = State::Pending;
                self.tell_accepted(id, true);
            }
        }
        // P3 holds between the journal's recovery and the first new input, not within it.
        let mut out = Vec::new();
        while let Some(input) = self.inbox.pop_front() {
            self.dispatcher.step(self.now, input, &mut out);
        }
        if !out.is_empty() {
            self.broken(format!("recovery alone caused {out:?}"));
        }
    }

    fn withdraw(&mut self, dice: &mut RandomSource) {
        if !self.confirm_mode || self.accepted.is_empty() {
            return;
        }
        for _ in 0..=dice.below(4) {
            let id = dice.below(self.accepted.len());
            self.accepted[id].withdrawn = true;
            self.inbox.push_back(DispatcherInput::Withdraw {
                delivery: DeliveryId(id as u64),
            });
        }
    }

    /// Facts that should never be reported, and that must change nothing.
    fn speak_nonsense(&mut self, dice: &mut RandomSource) {
        let attempt = AttemptId(u64::MAX - dice.below(10) as u64);
        let delivery = DeliveryId(u64::MAX);
        self.inbox.extend([
            DispatcherInput::Confirmed { attempt },
            DispatcherInput::Nacked { attempt },
            DispatcherInput::Returned { attempt },
            DispatcherInput::NotSent { attempt },
            DispatcherInput::AloneUnknown { attempt },
            DispatcherInput::Withdraw { delivery },
            DispatcherInput::Settled { delivery },
            DispatcherInput::Rechecked {
                destination: DestinationId(99),
                usable: dice.one_in(2),
            },
            DispatcherInput::ChannelLost {
                channel: ChannelId(99),
                loss: ChannelLoss::Unfenced,
            },
        ]);
        for channel in 0..CHANNELS {
            if self.sessions[channel].is_some() {
                self.inbox.push_back(DispatcherInput::Opened {
                    channel: ChannelId(u32::try_from(channel).unwrap()),
                });
            }
        }
        if let Some(id) = self.accepted.len().checked_sub(1)
            && self.accepted[id].state == State::Pending
        {
            self.tell_accepted(id, true);
        }
    }

    /// Time passes until the next timer is due, usually less than a stall takes.
    pub(super) fn wait(&mut self, dice: &mut RandomSource) {
        if let Some(deadline) = self.dispatcher.deadline()
            && (deadline < self.now + Duration::from_secs(6) || dice.one_in(4))
        {
            self.now = self.now.max(deadline);
        }
    }
}

/// The next message of one of the queues.
fn next_of(
    streams: &mut Vec<VecDeque<SentMessage>>,
    dice: &mut RandomSource,
) -> Option<SentMessage> {
    if streams.is_empty() {
        return None;
    }
    let stream = dice.below(streams.len());
    let message = streams[stream].pop_front();
    if message.is_none() {
        streams.swap_remove(stream);
    }
    message
}
