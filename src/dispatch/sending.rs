//! When a delivery is sent: turns, windows, holds, timers, stalls.

use std::time::Duration;

use crate::route::DestinationId;

use super::{
    AttemptId, ChannelId, DispatcherOutput,
    channel::{ChannelQueue, ChannelState, DestinationHold, UnconfirmedAttempt},
    dispatcher::{Dispatcher, ListEnd, Timer},
    table::{DeliveryStage, EntryIndex},
};

impl Dispatcher {
    /// A delivery may be sent as soon as its channel and its destination permit.
    pub(super) fn queue(&mut self, slot: EntryIndex, end: ListEnd) {
        let entry = &mut self.entries[slot];
        entry.stage = DeliveryStage::Queued;
        let (id, suspect) = (entry.destination, entry.suspect);
        let Some(destination) = self.destinations.get_mut(&id) else {
            return;
        };
        let list = if suspect {
            &mut destination.suspects
        } else {
            &mut destination.ready
        };
        match end {
            ListEnd::Front => self.entries.push_front(list, slot),
            ListEnd::Back => self.entries.push_back(list, slot),
        }
        self.give_turn(id);
    }

    /// Adds a destination to those that its channel takes in turn, if it has something to send and may send it.
    fn give_turn(&mut self, id: DestinationId) {
        let Some(destination) = self.destinations.get_mut(&id) else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&destination.channel) else {
            return;
        };
        if !destination.hold.lets_send() {
            return;
        }
        if !destination.has_turn && !destination.ready.is_empty() {
            destination.has_turn = true;
            channel.turns.push_back(id);
        }
        if !destination.has_turn_alone && !destination.suspects.is_empty() {
            destination.has_turn_alone = true;
            channel.turns_alone.push_back(id);
        }
        let channel = destination.channel;
        self.wake(channel);
    }

    /// Changes the hold of a destination, and its timer with it.
    pub(super) fn hold(&mut self, id: DestinationId, hold: DestinationHold) {
        let before = std::mem::replace(&mut self.destination(id).hold, hold);
        if let Some(until) = before.until() {
            self.timers.remove(&(until, Timer::DestinationQueue(id)));
        }
        if let Some(until) = hold.until() {
            self.timers.insert((until, Timer::DestinationQueue(id)));
        }
        self.give_turn(id);
    }

    /// Lists a channel for [`Self::send_ready`] before this step ends.
    pub(super) fn wake(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id)
            && !std::mem::replace(&mut channel.woken, true)
        {
            self.woken.push(id);
        }
    }

    /// Publishes whatever may be published now.
    pub(super) fn send_ready(&mut self, out: &mut Vec<DispatcherOutput>) {
        while let Some(id) = self.woken.pop() {
            if let Some(channel) = self.channels.get_mut(&id) {
                channel.woken = false;
            }
            if self.has_capacity(id, |channel, _| channel.alone.is_none())
                && let Some(slot) = self.next(id, true)
            {
                self.publish(id, slot, true, out);
            }
            while self.has_capacity(id, |channel, window| channel.in_flight.len() < window)
                && let Some(slot) = self.next(id, false)
            {
                self.publish(id, slot, false, out);
            }
        }
    }

    fn has_capacity(&self, id: ChannelId, room: impl FnOnce(&ChannelQueue, usize) -> bool) -> bool {
        let window = usize::try_from(self.settings.window.max(1)).unwrap_or(usize::MAX);
        !self.blocked
            && self
                .channels
                .get(&id)
                .is_some_and(|channel| channel.state == ChannelState::Open && room(channel, window))
    }

    /// The next delivery of a channel, its destinations taken in turn.
    fn next(&mut self, id: ChannelId, alone: bool) -> Option<EntryIndex> {
        loop {
            let channel = self.channels.get_mut(&id)?;
            let turns = if alone {
                &mut channel.turns_alone
            } else {
                &mut channel.turns
            };
            let name = turns.pop_front()?;
            let destination = self.destinations.get_mut(&name)?;
            let (list, has_turn) = if alone {
                (&mut destination.suspects, &mut destination.has_turn_alone)
            } else {
                (&mut destination.ready, &mut destination.has_turn)
            };
            *has_turn = false;
            // Held since it was given its turn: it gets another one when the hold ends.
            if !destination.hold.lets_send() {
                continue;
            }
            // Empty if everything that was ready was withdrawn.
            if let Some(slot) = self.entries.pop_front(list) {
                self.give_turn(name);
                return Some(slot);
            }
        }
    }

    fn publish(
        &mut self,
        id: ChannelId,
        slot: EntryIndex,
        alone: bool,
        out: &mut Vec<DispatcherOutput>,
    ) {
        self.attempts += 1;
        let attempt = AttemptId(self.attempts);
        let entry = &mut self.entries[slot];
        entry.stage = DeliveryStage::Sent;
        entry.count = entry.count.saturating_add(1);
        let (delivery, name, count) = (entry.delivery, entry.destination, entry.count);
        let flight = UnconfirmedAttempt {
            slot,
            channel: id,
            alone,
            sent: self.now,
            sent_unblocked: self.unblocked,
        };
        self.flights.insert(attempt, flight);
        if let Some(channel) = self.channels.get_mut(&id) {
            if alone {
                channel.alone = Some(attempt);
            } else {
                channel.in_flight.insert(attempt);
            }
        }
        let destination = self.destination(name);
        if destination.hold == DestinationHold::Probing(None) {
            destination.hold = DestinationHold::Probing(Some(attempt));
        }
        self.watch(id);
        out.push(DispatcherOutput::Publish {
            attempt,
            delivery,
            destination: name,
            channel: id,
            count,
            alone,
        });
    }

    /// The broker answered a publish, whatever the answer: its channel is not stalled any more.
    pub(super) fn answered(&mut self, attempt: AttemptId) -> Option<EntryIndex> {
        let channel = self.flights.get(&attempt)?.channel;
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.stalled = false;
        }
        self.land(attempt)
    }

    /// A publish has its answer, or will never have one: makes room for another. `None`: this publish is not in flight.
    pub(super) fn land(&mut self, attempt: AttemptId) -> Option<EntryIndex> {
        let flight = self.flights.remove(&attempt)?;
        if let Some(channel) = self.channels.get_mut(&flight.channel) {
            if flight.alone {
                channel.alone = None;
            } else {
                channel.in_flight.remove(&attempt);
            }
        }
        self.watch(flight.channel);
        self.wake(flight.channel);
        let destination = self.entries[flight.slot].destination;
        if self.destination(destination).hold == DestinationHold::Probing(Some(attempt)) {
            self.hold(destination, DestinationHold::Probing(None));
        }
        Some(flight.slot)
    }

    /// Ends the holds and back-offs that are due.
    pub(super) fn ring_timers(&mut self, out: &mut Vec<DispatcherOutput>) {
        while let Some(&(until, timer)) = self.timers.first()
            && until <= self.now
        {
            self.timers.pop_first();
            match timer {
                Timer::DestinationQueue(id) => match self.destination(id).hold {
                    DestinationHold::BackingOff { .. } => {
                        self.hold(id, DestinationHold::Probing(None))
                    }
                    DestinationHold::RecheckAt { .. } => {
                        self.hold(id, DestinationHold::Rechecking);
                        out.push(DispatcherOutput::Recheck { destination: id });
                    }
                    DestinationHold::Free
                    | DestinationHold::Rechecking
                    | DestinationHold::Probing(_) => {}
                },
                Timer::Delivery(slot) => {
                    if let Some(delay) = self.delays.get_mut(&slot) {
                        delay.until = None;
                        self.queue(slot, ListEnd::Back);
                    }
                }
            }
        }
    }

    /// Closes channels whose oldest publish has waited too long, and cuts the connection of those that do not close.
    pub(super) fn close_overdue(&mut self, out: &mut Vec<DispatcherOutput>) {
        while let Some(&(due, id)) = self.overdue.first()
            && due <= self.unblocked
        {
            let Some(channel) = self.channels.get_mut(&id) else {
                return;
            };
            if channel.state == ChannelState::Open {
                channel.state = ChannelState::Closing {
                    asked: self.unblocked,
                };
                channel.stalled = true;
                out.push(DispatcherOutput::CloseChannel { channel: id });
            } else {
                channel.state = ChannelState::Cutting;
                if !std::mem::replace(&mut self.cutting, true) {
                    out.push(DispatcherOutput::CutConnection);
                }
            }
            self.watch(id);
        }
    }

    /// Sets the instant at which a channel is overdue, after any change that affects it.
    pub(super) fn watch(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let due: Option<Duration> = match channel.state {
            ChannelState::Open => channel
                .in_flight
                .first()
                .and_then(|attempt| self.flights.get(attempt))
                .map(|flight| flight.sent_unblocked + self.settings.stall_timeout),
            ChannelState::Closing { asked } => Some(asked + self.settings.close_timeout),
            ChannelState::Closed | ChannelState::Cutting => None,
        };
        if due != channel.overdue {
            if let Some(before) = channel.overdue {
                self.overdue.remove(&(before, id));
            }
            if let Some(due) = due {
                self.overdue.insert((due, id));
            }
            channel.overdue = due;
        }
    }
}
