//! A broker and its client library, reduced to what the dispatcher's promises depend on. For the property test.

use std::collections::{BTreeMap, VecDeque};

use crate::dispatch::{
    AttemptId, BrokerReply, DeliveryId, PublishOutcome, ReturnedMessage, UnconfirmedPublishes,
};

/// A random source that is a function of its seed, so that a schedule is just a list of numbers.
#[derive(Clone, Debug)]
pub(super) struct RandomSource(u64);

impl RandomSource {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((value ^ (value >> 31)) % bound.max(1) as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// How a queue behaves now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueBehaviour {
    /// It accepts messages.
    Well,
    /// It does not exist: returns, then acks.
    Missing,
    /// It is full: nacks.
    Full,
    /// It has no quorum: accepts messages and confirms none.
    Stuck,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SentMessage {
    pub(super) attempt: AttemptId,
    pub(super) delivery: DeliveryId,
    pub(super) queue: usize,
    /// The broker refuses it by closing the channel.
    pub(super) poison: bool,
}

/// The result of one message at the broker.
pub(super) enum MessageFate {
    /// It is in the queue.
    Landed(SentMessage),
    /// It is not.
    Not,
    /// The channel is closed because of it.
    Refused,
}

/// One open channel: the socket, the broker's side, the library's side, and the publisher's use of it.
#[derive(Debug, Default)]
pub(super) struct ModelChannel {
    /// Written, and not read by the broker yet.
    pub(super) socket: VecDeque<SentMessage>,
    /// Read by the broker, with the ack or nack still to come.
    owes: Vec<(SentMessage, BrokerReply)>,
    /// The library's queued returns.
    returns: VecDeque<AttemptId>,
    /// Confirmations that the library has resolved and that have not been polled.
    resolved: BTreeMap<AttemptId, (BrokerReply, ReturnedMessage)>,
    /// The publisher's side: confirmations still to be polled in this round …
    round: Vec<AttemptId>,
    /// … and those whose confirmations it holds.
    held: Vec<AttemptId>,
    pub(super) outstanding: UnconfirmedPublishes,
    /// Returns that were attached to another message's confirmation.
    pub(super) mispaired: u64,
}

impl ModelChannel {
    pub(super) fn new(polls_all: bool) -> Self {
        let mut session = Self::default();
        session.outstanding.skips_polling = !polls_all;
        session
    }

    /// The publisher hands a message to the library.
    pub(super) fn send(&mut self, message: SentMessage) {
        self.outstanding.sent(message.attempt);
        self.held.push(message.attempt);
        self.socket.push_back(message);
    }

    /// The broker reads one message.
    pub(super) fn read(&mut self, mood: impl Fn(usize) -> QueueBehaviour) -> Option<MessageFate> {
        let message = self.socket.pop_front()?;
        if message.poison {
            return Some(MessageFate::Refused);
        }
        let (taken, verdict) = match mood(message.queue) {
            QueueBehaviour::Well | QueueBehaviour::Stuck => {
                (MessageFate::Landed(message), BrokerReply::Ack)
            }
            QueueBehaviour::Full => (MessageFate::Not, BrokerReply::Nack),
            QueueBehaviour::Missing => {
                self.returns.push_back(message.attempt);
                (MessageFate::Not, BrokerReply::Ack)
            }
        };
        self.owes.push((message, verdict));
        Some(taken)
    }

    /// The broker answers: one message, or several at once, which the library then resolves in any order.
    pub(super) fn answer(
        &mut self,
        dice: &mut RandomSource,
        mood: impl Fn(usize) -> QueueBehaviour,
    ) {
        let several = 1 + if dice.one_in(3) { dice.below(6) } else { 0 };
        for _ in 0..several {
            let ready: Vec<_> = (0..self.owes.len())
                .filter(|index| mood(self.owes[*index].0.queue) != QueueBehaviour::Stuck)
                .collect();
            if ready.is_empty() {
                return;
            }
            let (message, verdict) = self.owes.remove(ready[dice.below(ready.len())]);
            let attached = match self.returns.pop_front() {
                None => ReturnedMessage::Nothing,
                Some(returned) => {
                    self.mispaired += u64::from(returned != message.attempt);
                    ReturnedMessage::Return(returned)
                }
            };
            self.resolved.insert(message.attempt, (verdict, attached));
        }
    }

    /// The publisher polls some of its confirmations, one after the other, in any order.
    pub(super) fn poll(
        &mut self,
        dice: &mut RandomSource,
        polls: usize,
        out: &mut Vec<(AttemptId, PublishOutcome)>,
    ) {
        for _ in 0..polls {
            if self.round.is_empty() {
                self.round.clone_from(&self.held);
            }
            if !self.round.is_empty() {
                let attempt = self.round.swap_remove(dice.below(self.round.len()));
                if let Some((verdict, attached)) = self.resolved.remove(&attempt) {
                    self.held.retain(|held| *held != attempt);
                    self.outstanding.resolved(attempt, verdict, attached, out);
                }
            }
            // Whether to poll again at once is a matter of speed: here it always happens.
            if self.round.is_empty() {
                let _again = self.outstanding.round_over(out);
            }
        }
    }

    /// The channel is gone: what the publisher can still learn from the confirmations that the library had resolved
    /// before.
    pub(super) fn last_words(
        &mut self,
        dice: &mut RandomSource,
        out: &mut Vec<(AttemptId, PublishOutcome)>,
    ) {
        for attempt in self.held.clone() {
            if !self.resolved.contains_key(&attempt) {
                self.held.retain(|held| *held != attempt);
                self.round.retain(|waiting| *waiting != attempt);
                self.outstanding.failed(attempt);
            }
        }
        for _ in 0..4 {
            let polls = self.round.len() + self.held.len() + 1;
            self.poll(dice, polls, out);
        }
    }
}
