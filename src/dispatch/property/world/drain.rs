//! The end of a schedule: all parts behave correctly, and everything has to drain (P4).

use std::collections::BTreeSet;

use crate::dispatch::DispatcherInput;

use super::{
    super::broker::{MessageFate, QueueBehaviour, RandomSource},
    Accepted, CHANNELS, DESTINATIONS, State, World,
};

impl World {
    /// The end of a schedule (P4): all faults stop except those of one destination, and everything that does not wait
    /// for that one must drain; then its faults stop too, and everything must drain.
    pub(in crate::dispatch::property) fn finish(&mut self, number: u64) {
        let mut dice = RandomSource::new(number);
        let bad = dice.below(DESTINATIONS.len());
        let bad_channel = usize::try_from(DESTINATIONS[bad].0).unwrap();
        self.moods = [QueueBehaviour::Well; DESTINATIONS.len()];
        self.shut = [false; CHANNELS];
        // A channel that does not open and a queue that does not confirm block their whole channel, the other faults
        // only their destination.
        let whole_channel = match dice.below(4) {
            0 => {
                self.shut[bad_channel] = true;
                self.lose_settled(bad_channel, &mut dice);
                true
            }
            1 => {
                self.moods[bad] = QueueBehaviour::Stuck;
                true
            }
            2 => {
                self.moods[bad] = QueueBehaviour::Missing;
                false
            }
            _ => {
                self.moods[bad] = QueueBehaviour::Full;
                false
            }
        };
        let is_bad = |destination: usize| {
            destination == bad
                || whole_channel
                    && usize::try_from(DESTINATIONS[destination].0).unwrap() == bad_channel
        };
        self.drain(&mut dice, |world| world.is_drained_but(is_bad));
        if !self.is_drained_but(is_bad) {
            let left = self.left();
            let moods = self.moods;
            self.broken(format!(
                "P4: with trouble only at {bad} ({moods:?}) these stay: {left:?}"
            ));
        }
        self.moods = [QueueBehaviour::Well; DESTINATIONS.len()];
        self.shut = [false; CHANNELS];
        self.drain(&mut dice, |world| world.dispatcher.pending() == 0);
        if self.dispatcher.pending() > 0 {
            let left = self.left();
            self.broken(format!("P4: without any trouble these stay: {left:?}"));
        }
        if let Some(id) = (0..self.accepted.len()).find(|id| {
            let delivery = &self.accepted[*id];
            delivery.state == State::Done && delivery.landed == 0
        }) {
            self.broken(format!("P3: {id} is done and in no queue"));
        }
        for session in self.sessions.iter().flatten() {
            self.figures.mispaired += session.mispaired;
        }
    }

    fn left(&self) -> Vec<(usize, &Accepted)> {
        self.accepted
            .iter()
            .enumerate()
            .filter(|(_, delivery)| delivery.state == State::Pending)
            .collect()
    }

    fn is_drained_but(&self, is_bad: impl Fn(usize) -> bool) -> bool {
        let mut waits = BTreeSet::new();
        self.accepted.iter().all(|delivery| {
            if delivery.state != State::Pending {
                return true;
            }
            let lane = delivery.lane.map(|lane| (lane.family, lane.call));
            // A delivery behind one that waits for the faulty destination waits too.
            if is_bad(delivery.destination) || lane.is_some_and(|lane| waits.contains(&lane)) {
                waits.extend(lane);
                return true;
            }
            false
        })
    }

    /// All parts behave correctly until it is enough.
    fn drain(&mut self, dice: &mut RandomSource, enough: impl Fn(&Self) -> bool) {
        if std::mem::take(&mut self.blocked) {
            self.inbox.push_back(DispatcherInput::Blocked(false));
        }
        for _ in 0..2_000 {
            if self.broken.is_some() || (self.inbox.is_empty() && enough(self)) {
                return;
            }
            self.close(dice);
            self.fence(dice);
            self.land_stray(dice);
            for channel in 0..CHANNELS {
                self.open_channel(channel);
            }
            self.deliver(dice);
            self.read_everything(dice);
            for _ in 0..4 {
                self.answer_alone(dice, true);
            }
            self.answer_recheck();
            self.commit();
            self.wait(dice);
            self.deliver(dice);
        }
    }

    fn read_everything(&mut self, dice: &mut RandomSource) {
        let moods = self.moods;
        for channel in 0..CHANNELS {
            for _ in 0..8 {
                match self.sessions[channel]
                    .as_mut()
                    .and_then(|session| session.read(|queue| moods[queue]))
                {
                    Some(MessageFate::Landed(message)) => self.land(message, false),
                    Some(MessageFate::Refused) => self.refuse(channel, dice),
                    Some(MessageFate::Not) => {}
                    None => break,
                }
                if let Some(session) = &mut self.sessions[channel] {
                    session.answer(dice, |queue| moods[queue]);
                }
            }
            if let Some(session) = &mut self.sessions[channel] {
                for _ in 0..8 {
                    session.answer(dice, |queue| moods[queue]);
                }
            }
            self.poll_channel(channel, 40, dice);
        }
    }
}
