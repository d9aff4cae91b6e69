//! The dispatcher: how each input changes the state. `sending` decides when a delivery is sent.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::route::DestinationId;

use super::{
    AttemptId, ChannelId, ChannelLoss, DeliveryId, DispatcherInput, DispatcherOutput,
    DispatcherSettings, InFlight, Lane, PendingDelivery, Refused,
    backoff::backoff,
    channel::{
        ChannelQueue, ChannelState, ChannelStatus, DestinationHold, DestinationQueue, HeldReason,
        UnconfirmedAttempt,
    },
    table::{DeliveryEntry, DeliveryStage, DeliveryTable, EntryIndex, EntryList},
};

/// Decides what may be published now (docs/src/internals/delivery.md). It is a function of its inputs and their times.
///
/// In memory it holds an index of the pending deliveries, about 80 bytes each. The cost of a step depends on what it
/// changes: nothing is searched, however much is waiting.
#[derive(Debug)]
pub struct Dispatcher {
    pub(super) settings: DispatcherSettings,
    pub(super) now: Duration,
    /// Time that passed while the connection was not blocked: stalls are measured on this clock.
    pub(super) unblocked: Duration,
    pub(super) blocked: bool,
    /// A fence was declared since this process started: no copy of an earlier process can arrive any more.
    fenced: bool,
    pub(super) attempts: u64,
    pub(super) entries: DeliveryTable,
    slots: BTreeMap<DeliveryId, EntryIndex>,
    /// Of these, done, but not yet recorded in the journal.
    settling: usize,
    /// For each lane with pending deliveries, those behind its head. The head is in another list.
    lines: HashMap<Lane, EntryList>,
    pub(super) destinations: BTreeMap<DestinationId, DestinationQueue>,
    pub(super) channels: BTreeMap<ChannelId, ChannelQueue>,
    pub(super) flights: BTreeMap<AttemptId, UnconfirmedAttempt>,
    /// Heads of lanes, and unkeyed deliveries, of which a copy may still arrive.
    unknown: EntryList,
    pub(super) delays: BTreeMap<EntryIndex, DeliveryBackoff>,
    pub(super) timers: BTreeSet<(Duration, Timer)>,
    /// Channels by the instant at which they are overdue, on the clock that is paused while blocked.
    pub(super) overdue: BTreeSet<(Duration, ChannelId)>,
    /// The connection is being cut, which closes all its channels: once is enough.
    pub(super) cutting: bool,
    /// Channels on which something may be sent after this step's input.
    pub(super) woken: Vec<ChannelId>,
    #[cfg(test)]
    pub(super) rules: DisabledRules,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The hold of a destination.
    DestinationQueue(DestinationId),
    /// One delivery's own back-off.
    Delivery(EntryIndex),
}

/// A back-off that concerns one delivery only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DeliveryBackoff {
    failures: u32,
    pub(super) until: Option<Duration>,
}

/// Which end of a list a delivery is added to.
#[derive(Clone, Copy)]
pub(super) enum ListEnd {
    Front,
    Back,
}

/// The rules that the property test disables, one at a time, to show that it would notice.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct DisabledRules {
    /// At most one delivery of a lane is unconfirmed.
    pub(super) one_per_lane: bool,
    /// What was lost without a reply waits for the fence.
    pub(super) fence: bool,
}

impl Dispatcher {
    /// A dispatcher without deliveries and channels.
    #[must_use]
    pub fn new(settings: DispatcherSettings) -> Self {
        Self {
            settings,
            now: Duration::ZERO,
            unblocked: Duration::ZERO,
            blocked: false,
            fenced: false,
            attempts: 0,
            entries: DeliveryTable::default(),
            slots: BTreeMap::new(),
            settling: 0,
            lines: HashMap::new(),
            destinations: BTreeMap::new(),
            channels: BTreeMap::new(),
            flights: BTreeMap::new(),
            unknown: EntryList::default(),
            delays: BTreeMap::new(),
            timers: BTreeSet::new(),
            overdue: BTreeSet::new(),
            cutting: false,
            woken: Vec::new(),
            #[cfg(test)]
            rules: DisabledRules {
                one_per_lane: true,
                fence: true,
            },
        }
    }

    /// Processes one fact and appends the resulting orders to `out`. `now` is the time since any fixed origin and never
    /// goes back. Facts about unknown (or no longer known) things change nothing.
    pub fn step(&mut self, now: Duration, input: DispatcherInput, out: &mut Vec<DispatcherOutput>) {
        self.pass_time(now);
        match input {
            DispatcherInput::Accepted(owed) => self.accept(owed),
            DispatcherInput::Opened { channel } => self.open(channel),
            DispatcherInput::Confirmed { attempt } => self.confirm(attempt, out),
            DispatcherInput::Nacked { attempt } => self.nack(attempt, out),
            DispatcherInput::Returned { attempt } => self.returned(attempt, out),
            DispatcherInput::NotSent { attempt } | DispatcherInput::AloneUnknown { attempt } => {
                if let Some(slot) = self.land(attempt) {
                    self.delay(slot, out);
                }
            }
            DispatcherInput::ChannelLost { channel, loss } => self.lose(channel, loss, out),
            DispatcherInput::Fenced => self.fence(out),
            DispatcherInput::Settled { delivery } => self.settled(delivery, out),
            DispatcherInput::Rechecked {
                destination,
                usable,
            } => self.rechecked(destination, usable),
            DispatcherInput::AloneRefused { attempt, refused } => {
                self.refuse(attempt, refused, out)
            }
            DispatcherInput::Withdraw { delivery } => self.withdraw(delivery, out),
            DispatcherInput::Blocked(blocked) => self.block(blocked),
            DispatcherInput::Tick => {}
        }
        self.ring_timers(out);
        self.close_overdue(out);
        self.send_ready(out);
    }

    /// When [`DispatcherInput::Tick`] must be given at the latest, if no other input comes before; `None`: nothing is timed.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let timer = self.timers.first().map(|(until, _)| *until);
        let overdue = self
            .overdue
            .first()
            .filter(|_| !self.blocked)
            .map(|(due, _)| self.now + due.saturating_sub(self.unblocked));
        timer.into_iter().chain(overdue).min()
    }

    /// Deliveries that are not done, poisoned or forgotten yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.slots.len() - self.settling
    }

    /// The status of each channel that ever had a pending delivery or was opened.
    pub fn channels(&self) -> impl Iterator<Item = ChannelStatus> {
        self.channels.iter().map(|(id, channel)| ChannelStatus {
            channel: *id,
            owed: channel.owed,
            in_flight: channel.in_flight.len() + usize::from(channel.alone.is_some()),
            oldest_unconfirmed_since: channel
                .in_flight
                .first()
                .and_then(|attempt| self.flights.get(attempt))
                .map(|flight| flight.sent),
            held: channel
                .destinations
                .iter()
                .filter_map(|id| Some((*id, self.destinations.get(id)?)))
                .filter(|(_, destination)| destination.hold != DestinationHold::Free)
                .map(|(id, destination)| {
                    let why = if destination.returned {
                        HeldReason::Return
                    } else {
                        HeldReason::Nack
                    };
                    (id, why)
                })
                .collect(),
            open: channel.state == ChannelState::Open,
            stalled: channel.stalled,
        })
    }

    /// What a publish is for; `None`: it has its answer, or will never have one.
    #[must_use]
    pub fn in_flight(&self, attempt: AttemptId) -> Option<InFlight> {
        let flight = self.flights.get(&attempt)?;
        let entry = &self.entries[flight.slot];
        Some(InFlight {
            delivery: entry.delivery,
            destination: entry.destination,
            channel: flight.channel,
        })
    }

    /// Publishes in flight on the channel itself, so without the one sent in isolation.
    #[must_use]
    pub fn in_flight_on(&self, id: ChannelId) -> usize {
        self.channels
            .get(&id)
            .map_or(0, |channel| channel.in_flight.len())
    }

    /// Whether a publish of this channel was not confirmed in time, and the broker has answered none since.
    #[must_use]
    pub fn is_stalled(&self, id: ChannelId) -> bool {
        self.channels
            .get(&id)
            .is_some_and(|channel| channel.stalled)
    }

    fn pass_time(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now);
        self.now += passed;
        if !self.blocked {
            self.unblocked += passed;
        }
    }

    fn accept(&mut self, owed: PendingDelivery) {
        if self.slots.contains_key(&owed.delivery) {
            return;
        }
        let destination = self
            .destinations
            .entry(owed.destination)
            .or_insert_with(|| {
                self.channels
                    .entry(owed.channel)
                    .or_default()
                    .destinations
                    .push(owed.destination);
                DestinationQueue::on(owed.channel)
            });
        if let Some(channel) = self.channels.get_mut(&destination.channel) {
            channel.owed += 1;
        }
        let slot = self.entries.insert(DeliveryEntry::new(
            owed.delivery,
            owed.lane.filter(|_| self.keeps_lanes()),
            owed.destination,
            owed.unknown,
        ));
        self.slots.insert(owed.delivery, slot);
        if let Some(lane) = self.entries[slot].lane() {
            if let Some(line) = self.lines.get_mut(&lane) {
                self.entries.push_back(line, slot);
                return;
            }
            self.lines.insert(lane, EntryList::default());
        }
        self.advance(slot);
    }

    /// A delivery has become the head of its lane.
    fn advance(&mut self, slot: EntryIndex) {
        if self.may_still_land(slot) {
            self.entries[slot].stage = DeliveryStage::Unknown;
            self.entries.push_back(&mut self.unknown, slot);
        } else {
            self.queue(slot, ListEnd::Back);
        }
    }

    /// Whether an earlier process may have sent it, and its message may still arrive.
    fn may_still_land(&self, slot: EntryIndex) -> bool {
        self.entries[slot].unknown && !self.fenced && self.keeps_fence()
    }

    fn open(&mut self, id: ChannelId) {
        let channel = self.channels.entry(id).or_default();
        if channel.state != ChannelState::Closed {
            return;
        }
        channel.state = ChannelState::Open;
        self.cutting = false;
        // Opening includes a check of the topology, so that nothing has to wait for its next recheck.
        for destination in channel.destinations.clone() {
            let hold = self.destination(destination).hold;
            if matches!(
                hold,
                DestinationHold::RecheckAt { .. } | DestinationHold::Rechecking
            ) {
                self.hold(destination, DestinationHold::Probing(None));
            }
        }
        self.wake(id);
    }

    fn confirm(&mut self, attempt: AttemptId, out: &mut Vec<DispatcherOutput>) {
        let Some(slot) = self.answered(attempt) else {
            return;
        };
        let id = self.entries[slot].destination;
        let destination = self.destination(id);
        destination.failures = 0;
        if matches!(destination.hold, DestinationHold::Probing(_)) {
            self.hold(id, DestinationHold::Free);
        }
        let delivery = self.entries[slot].delivery;
        self.end(slot, DispatcherOutput::Done { delivery }, out);
    }

    /// Done or poisoned: the lane continues, at once or when the journal has recorded it.
    fn end(&mut self, slot: EntryIndex, news: DispatcherOutput, out: &mut Vec<DispatcherOutput>) {
        if self.settings.await_settled && self.entries[slot].lane().is_some() {
            let destination = self.entries[slot].destination;
            self.entries[slot].stage = DeliveryStage::Settling;
            self.settling += 1;
            self.owe_less(destination);
            out.push(news);
        } else {
            self.settle(slot, news, out);
        }
    }

    fn settled(&mut self, delivery: DeliveryId, out: &mut Vec<DispatcherOutput>) {
        if let Some(&slot) = self.slots.get(&delivery)
            && self.entries[slot].stage == DeliveryStage::Settling
        {
            self.let_next_forward(slot, out);
        }
    }

    fn nack(&mut self, attempt: AttemptId, out: &mut Vec<DispatcherOutput>) {
        let Some(slot) = self.answered(attempt) else {
            return;
        };
        let id = self.entries[slot].destination;
        // The rest of a burst gives no new information.
        if matches!(
            self.destination(id).hold,
            DestinationHold::Free | DestinationHold::Probing(_)
        ) {
            self.destination(id).returned = false;
            let until = self.next_try(id);
            self.hold(id, DestinationHold::BackingOff { until });
        }
        self.retry(slot, ListEnd::Back, out);
    }

    fn returned(&mut self, attempt: AttemptId, out: &mut Vec<DispatcherOutput>) {
        let Some(slot) = self.answered(attempt) else {
            return;
        };
        let id = self.entries[slot].destination;
        let hold = self.destination(id).hold;
        let until = match hold {
            DestinationHold::Free | DestinationHold::Probing(_) => Some(self.next_try(id)),
            DestinationHold::BackingOff { until } => Some(until),
            DestinationHold::RecheckAt { .. } | DestinationHold::Rechecking => None,
        };
        if let Some(until) = until {
            self.destination(id).returned = true;
            self.hold(id, DestinationHold::RecheckAt { until });
        }
        self.retry(slot, ListEnd::Back, out);
    }

    fn rechecked(&mut self, id: DestinationId, usable: bool) {
        let Some(destination) = self.destinations.get(&id) else {
            return;
        };
        match (destination.hold, usable) {
            (DestinationHold::Rechecking | DestinationHold::RecheckAt { .. }, true) => {
                self.hold(id, DestinationHold::Probing(None));
            }
            (DestinationHold::Rechecking, false) => {
                let until = self.next_try(id);
                self.hold(id, DestinationHold::RecheckAt { until });
            }
            _ => {}
        }
    }

    /// Counts a failure of a destination and returns when to try again.
    fn next_try(&mut self, id: DestinationId) -> Duration {
        let destination = self.destination(id);
        destination.failures = destination.failures.saturating_add(1);
        let failures = destination.failures;
        self.now + backoff(&self.settings, u64::from(id.0), failures)
    }

    fn lose(&mut self, id: ChannelId, loss: ChannelLoss, out: &mut Vec<DispatcherOutput>) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.state = ChannelState::Closed;
        let attempts: Vec<_> = channel.in_flight.iter().copied().collect();
        // Each copy that is sent into a stuck queue becomes a repeat when the queue moves again: one at a time is
        // enough to notice that.
        if channel.stalled {
            for destination in channel.destinations.clone() {
                if self.destination(destination).hold == DestinationHold::Free {
                    self.hold(destination, DestinationHold::Probing(None));
                }
            }
        }
        let (certain, refused) = match loss {
            ChannelLoss::Settled => (true, false),
            ChannelLoss::Unfenced => (!self.keeps_fence(), false),
            ChannelLoss::Refused { settled } => (settled || !self.keeps_fence(), true),
        };
        // Backwards, each to the front: this restores the order in which they were sent.
        for attempt in attempts.into_iter().rev() {
            let Some(slot) = self.land(attempt) else {
                continue;
            };
            self.entries[slot].suspect |= refused;
            if certain {
                self.retry(slot, ListEnd::Front, out);
            } else {
                self.entries[slot].stage = DeliveryStage::Unknown;
                self.entries.push_front(&mut self.unknown, slot);
            }
        }
        self.watch(id);
    }

    fn fence(&mut self, out: &mut Vec<DispatcherOutput>) {
        self.fenced = true;
        let mut known = std::mem::take(&mut self.unknown);
        while let Some(slot) = self.entries.pop_back(&mut known) {
            self.retry(slot, ListEnd::Front, out);
        }
    }

    fn refuse(&mut self, attempt: AttemptId, refused: Refused, out: &mut Vec<DispatcherOutput>) {
        let Some(slot) = self.land(attempt) else {
            return;
        };
        let delivery = self.entries[slot].delivery;
        if self.entries[slot].withdrawn {
            self.settle(slot, DispatcherOutput::Forgotten { delivery }, out);
        } else {
            self.end(slot, DispatcherOutput::Poisoned { delivery, refused }, out);
        }
    }

    fn withdraw(&mut self, delivery: DeliveryId, out: &mut Vec<DispatcherOutput>) {
        let Some(&slot) = self.slots.get(&delivery) else {
            return;
        };
        match self.entries[slot].stage {
            // A copy may arrive: until the outcome is known the lane must wait.
            DeliveryStage::Sent | DeliveryStage::Unknown => self.entries[slot].withdrawn = true,
            DeliveryStage::InLine if self.may_still_land(slot) => {
                self.entries[slot].withdrawn = true
            }
            DeliveryStage::InLine => {
                if let Some(line) = self.entries[slot]
                    .lane()
                    .and_then(|lane| self.lines.get_mut(&lane))
                {
                    self.entries.unlink(line, slot);
                }
                out.push(DispatcherOutput::Forgotten { delivery });
                self.forget(slot);
            }
            DeliveryStage::Queued => {
                let id = self.entries[slot].destination;
                let suspect = self.entries[slot].suspect;
                if let Some(destination) = self.destinations.get_mut(&id) {
                    let list = if suspect {
                        &mut destination.suspects
                    } else {
                        &mut destination.ready
                    };
                    self.entries.unlink(list, slot);
                }
                self.settle(slot, DispatcherOutput::Forgotten { delivery }, out);
            }
            DeliveryStage::Delayed => {
                self.settle(slot, DispatcherOutput::Forgotten { delivery }, out)
            }
            DeliveryStage::Settling => {}
        }
    }

    fn block(&mut self, blocked: bool) {
        self.blocked = blocked;
        if !blocked {
            let channels: Vec<_> = self.channels.keys().copied().collect();
            for channel in channels {
                self.wake(channel);
            }
        }
    }

    /// A delivery failed, and no copy of it can arrive any more.
    fn retry(&mut self, slot: EntryIndex, end: ListEnd, out: &mut Vec<DispatcherOutput>) {
        if self.entries[slot].withdrawn {
            let delivery = self.entries[slot].delivery;
            self.settle(slot, DispatcherOutput::Forgotten { delivery }, out);
        } else {
            self.queue(slot, end);
        }
    }

    /// Like [`Self::retry`], after a back-off that does not delay other deliveries.
    fn delay(&mut self, slot: EntryIndex, out: &mut Vec<DispatcherOutput>) {
        if self.entries[slot].withdrawn {
            let delivery = self.entries[slot].delivery;
            return self.settle(slot, DispatcherOutput::Forgotten { delivery }, out);
        }
        let delay = self.delays.entry(slot).or_default();
        delay.failures = delay.failures.saturating_add(1);
        let seed = self.entries[slot].delivery.0;
        let until = self.now + backoff(&self.settings, seed, delay.failures);
        delay.until = Some(until);
        self.entries[slot].stage = DeliveryStage::Delayed;
        self.timers.insert((until, Timer::Delivery(slot)));
    }

    /// The end of a lane's head (or of an unkeyed delivery): it leaves, and the next of its lane becomes the head.
    fn settle(
        &mut self,
        slot: EntryIndex,
        news: DispatcherOutput,
        out: &mut Vec<DispatcherOutput>,
    ) {
        out.push(news);
        self.let_next_forward(slot, out);
    }

    fn let_next_forward(&mut self, slot: EntryIndex, out: &mut Vec<DispatcherOutput>) {
        let lane = self.entries[slot].lane();
        self.forget(slot);
        let Some(lane) = lane else { return };
        while let Some(line) = self.lines.get_mut(&lane) {
            let Some(next) = self.entries.pop_front(line) else {
                self.lines.remove(&lane);
                return;
            };
            if self.may_still_land(next) || !self.entries[next].withdrawn {
                return self.advance(next);
            }
            let delivery = self.entries[next].delivery;
            out.push(DispatcherOutput::Forgotten { delivery });
            self.forget(next);
        }
    }

    /// Drops the state of a delivery that is in no list any more.
    fn forget(&mut self, slot: EntryIndex) {
        let entry = &self.entries[slot];
        let (delivery, destination, stage) = (entry.delivery, entry.destination, entry.stage);
        self.slots.remove(&delivery);
        if stage == DeliveryStage::Settling {
            self.settling -= 1;
        } else {
            self.owe_less(destination);
        }
        if let Some(until) = self.delays.remove(&slot).and_then(|delay| delay.until) {
            self.timers.remove(&(until, Timer::Delivery(slot)));
        }
        self.entries.remove(slot);
    }

    fn owe_less(&mut self, id: DestinationId) {
        let channel = self.destination(id).channel;
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.owed = channel.owed.saturating_sub(1);
        }
    }

    pub(super) fn destination(&mut self, id: DestinationId) -> &mut DestinationQueue {
        self.destinations
            .get_mut(&id)
            .expect("a destination is entered with its first delivery and stays")
    }

    #[cfg(test)]
    fn keeps_lanes(&self) -> bool {
        self.rules.one_per_lane
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the property test takes this rule out")]
    fn keeps_lanes(&self) -> bool {
        true
    }

    #[cfg(test)]
    fn keeps_fence(&self) -> bool {
        self.rules.fence
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the property test takes this rule out")]
    fn keeps_fence(&self) -> bool {
        true
    }
}
