//! The one owner of the dispatcher: news becomes its inputs, its outputs become orders.

use std::{
    collections::{HashSet, VecDeque},
    time::Instant,
};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::{AttemptId, ChannelId, DeliveryId, Input, Outcome, Output, Owed, Refused},
    journal::{FeedItem, Settlement},
    route::DestinationId,
    status::DestinationState,
};

use super::{
    alone::AloneNews,
    board::Board,
    channel::{ChannelNews, Desk, Ended, How, Order, Teller},
    line::LineNews,
    metrics::PublishResult,
    parts::Parts,
    place::Place,
    publication::Sheet,
    slots::{Flight, Opening, Slot, Slots},
    standing::{shown, stalled, standing_of},
    surveyor::{Finding, watch},
    topology::Verdict,
};

/// Beside a window of publishes, a channel can be ordered to close.
const SPARE_ORDERS: usize = 8;

/// The engine: everything here is changed by one task only.
pub(super) struct Engine {
    parts: Parts,
    pub(super) board: Board,
    /// The channels' tasks.
    pub(super) desks: JoinSet<()>,
    /// Rechecks and surveys under way.
    pub(super) helpers: JoinSet<()>,
    origin: Instant,
    slots: Slots,
    outputs: Vec<Output>,
    /// Inputs that handling outputs made necessary.
    inputs: VecDeque<Input>,
    settlements: Vec<Settlement>,
    /// Messages to be sent alone, one after the other.
    waiting: VecDeque<Sheet>,
    sending_alone: bool,
    /// Quarantine messages whose body the broker refused even alone.
    without_body: HashSet<DeliveryId>,
    connected: bool,
    lost_before: bool,
    /// Tasks of channels started so far.
    tasks: u64,
    /// Ends the survey that is under way when a newer one begins.
    survey_round: CancellationToken,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> Self {
        let board = Board::new(parts.health.clone(), parts.metrics.clone(), &parts.places);
        let mut engine = Self {
            parts,
            board,
            desks: JoinSet::new(),
            helpers: JoinSet::new(),
            origin: Instant::now(),
            slots: Slots::default(),
            outputs: Vec::new(),
            inputs: VecDeque::new(),
            settlements: Vec::new(),
            waiting: VecDeque::new(),
            sending_alone: false,
            without_body: HashSet::new(),
            connected: false,
            lost_before: false,
            tasks: 0,
            survey_round: CancellationToken::new(),
        };
        engine.survey_all();
        engine
    }

    /// When [`Self::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.parts
            .dispatcher
            .deadline()
            .map(|deadline| self.origin + deadline)
    }

    /// Deliveries still owed.
    pub(super) fn pending(&self) -> usize {
        self.parts.dispatcher.pending()
    }

    /// The dispatcher's clock has come to its deadline.
    pub(super) fn tick(&mut self) {
        self.step(Input::Tick);
    }

    /// News of the journal.
    pub(super) fn fed(&mut self, item: FeedItem) {
        match item {
            FeedItem::Owed(owed) => {
                for owed in owed {
                    self.seat(&owed);
                    self.step(Input::Accepted(owed));
                }
            }
            FeedItem::Settled(deliveries) => {
                for delivery in deliveries {
                    self.step(Input::Settled { delivery });
                }
            }
            FeedItem::Withdraw(deliveries) => {
                for delivery in deliveries {
                    self.step(Input::Withdraw { delivery });
                }
            }
        }
    }

    /// News of the publishing connection.
    pub(super) fn line(&mut self, news: LineNews) {
        match news {
            LineNews::Fenced(link) => {
                self.connected = true;
                if std::mem::take(&mut self.lost_before) {
                    self.parts.metrics.reconnects.inc();
                }
                self.broker(true, false);
                self.slots.fenced(link);
                self.pass_fence();
                self.survey_all();
            }
            LineNews::Lost(why) => {
                self.lost_before = true;
                self.slots.unfenced();
                self.step(Input::Blocked(false));
                self.down(&why);
            }
            LineNews::Trouble(why) => self.down(&why),
            LineNews::Blocked(reason) => {
                self.broker(true, reason.is_some());
                self.step(Input::Blocked(reason.is_some()));
            }
        }
    }

    /// News of a channel.
    pub(super) fn channel(&mut self, teller: Teller, news: ChannelNews) {
        let id = teller.channel;
        if self
            .slots
            .all
            .get(&id)
            .is_none_or(|slot| slot.task != teller.task)
        {
            // The last words of a task that was let go: its loss was booked then.
            return;
        }
        match news {
            ChannelNews::Opened { epoch, link } => {
                self.slots.opened(id, Opening { epoch, link });
                self.stand(id, DestinationState::Ready, None);
                self.step(Input::Opened { channel: id });
            }
            ChannelNews::Ended(all) => {
                for ended in all {
                    self.ended(ended);
                }
            }
            ChannelNews::Lost { loss, why } => {
                for _ in 0..self.slots.lost(id, loss) {
                    self.parts.metrics.published(PublishResult::Lost);
                }
                self.stand(id, DestinationState::Held, Some(why));
                self.step(Input::ChannelLost { channel: id, loss });
                self.pass_fence();
            }
            ChannelNews::Standing(state, why) => self.stand(id, state, why),
        }
    }

    /// News of the message that is sent alone.
    pub(super) fn alone(&mut self, news: AloneNews) {
        self.sending_alone = false;
        match news {
            AloneNews::Ended(ended) => self.ended(ended),
            AloneNews::Refused { attempt, refused } => {
                self.parts.metrics.published(PublishResult::Error);
                self.refused(attempt, refused);
            }
            AloneNews::NotSent { attempt, why } => {
                tracing::warn!(error = why, "a message sent alone was not taken");
                self.parts.metrics.published(PublishResult::Error);
                self.slots.flights.remove(&attempt);
                self.step(Input::NotSent { attempt });
            }
            AloneNews::Unknown { attempt } => {
                self.parts.metrics.published(PublishResult::Lost);
                self.slots.flights.remove(&attempt);
                self.step(Input::AloneUnknown { attempt });
            }
        }
        self.next_alone();
    }

    /// An answer of the survey.
    pub(super) fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Rechecked(destination, verdict) => {
                let usable = verdict == Verdict::Good;
                let name = self
                    .parts
                    .press
                    .destinations
                    .get(destination)
                    .map(|destination| destination.channel_name());
                if let Some(slot) = self
                    .slots
                    .all
                    .values_mut()
                    .find(|slot| Some(&slot.name) == name.as_ref())
                {
                    slot.found = Some(verdict);
                }
                self.step(Input::Rechecked {
                    destination,
                    usable,
                });
            }
            Finding::Surveyed(place, verdict) => {
                let name = place.name();
                // A destination that has a channel speaks for itself.
                let has_channel = self.slots.all.values().any(|slot| slot.name == name);
                if !has_channel && (self.connected || verdict != Verdict::Good) {
                    let (state, why) = verdict.standing();
                    self.board.set(&name, state, why);
                }
            }
        }
    }

    /// Looks at every channel: for the boards, the gauges, and retired destinations that owe nothing any more.
    pub(super) fn look(&mut self) {
        let now = self.origin.elapsed();
        let mut in_flight = 0;
        let mut oldest = None;
        let mut standing = Vec::new();
        let mut gone = Vec::new();
        for view in self.parts.dispatcher.channels() {
            in_flight += view.in_flight;
            oldest = view
                .oldest_unconfirmed_since
                .into_iter()
                .chain(oldest)
                .min();
            let Some(slot) = self.slots.all.get(&view.channel) else {
                continue;
            };
            if view.owed == 0 && !self.board.is_configured(&slot.name) {
                gone.push(view.channel);
            } else if slot.open.is_some() {
                standing.push((view.channel, standing_of(slot, &view)));
            }
        }
        self.parts
            .metrics
            .in_flight
            .set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.parts
            .metrics
            .oldest_unconfirmed
            .set(oldest.map_or(0.0, |since| now.saturating_sub(since).as_secs_f64()));
        for (id, (state, why)) in standing {
            self.stand(id, state, why);
        }
        for id in gone {
            if let Some(slot) = self.slots.all.remove(&id) {
                slot.halt.cancel();
                self.board.remove(&slot.name);
                // Its task says so too, but to an engine that does not know it any more.
                self.step(Input::ChannelLost {
                    channel: id,
                    loss: crate::dispatch::Loss::Settled,
                });
            }
        }
    }

    /// Reports what was settled since the last time.
    pub(super) fn report(&mut self) {
        if !self.settlements.is_empty() {
            self.parts
                .settle
                .report(std::mem::take(&mut self.settlements));
        }
    }

    /// Nothing is under way any more: the boards are left as after an orderly end.
    pub(super) fn stopped(&mut self) {
        self.broker(false, false);
        self.report();
    }

    fn ended(&mut self, ended: Ended) {
        let attempt = ended.attempt;
        match ended.how {
            How::Outcome(outcome) => {
                let flight = self.slots.flights.remove(&attempt);
                if let Some(flight) = flight {
                    self.without_body.remove(&flight.delivery);
                }
                let metrics = &self.parts.metrics;
                let input = match outcome {
                    Outcome::Confirmed => {
                        metrics.published(PublishResult::Ack);
                        if let Some(slot) =
                            flight.and_then(|flight| self.slots.all.get(&flight.channel))
                        {
                            slot.confirm_duration.observe(ended.took.as_secs_f64());
                        }
                        Input::Confirmed { attempt }
                    }
                    Outcome::Nacked => {
                        metrics.published(PublishResult::Nack);
                        Input::Nacked { attempt }
                    }
                    Outcome::Returned => {
                        metrics.published(PublishResult::Returned);
                        Input::Returned { attempt }
                    }
                };
                self.step(input);
            }
            How::NotNow => {
                self.slots.flights.remove(&attempt);
                self.step(Input::NotSent { attempt });
            }
            How::Unsendable(refused) => {
                self.parts.metrics.published(PublishResult::Error);
                self.refused(attempt, refused);
            }
        }
    }

    /// A message can never be sent as it is. It goes to quarantine; a quarantined one is sent without its body.
    fn refused(&mut self, attempt: AttemptId, refused: Refused) {
        let flight = self.slots.flights.remove(&attempt);
        if let Some(flight) = flight
            && self.parts.press.is_quarantine(flight.destination)
            && self.without_body.insert(flight.delivery)
        {
            tracing::warn!(
                code = refused.code,
                reason = refused.text,
                "the broker refuses a quarantined event: sending what is known of it without its body"
            );
            self.step(Input::AloneUnknown { attempt });
            return;
        }
        tracing::warn!(
            code = refused.code,
            reason = refused.text,
            "a message cannot be sent: it goes to quarantine"
        );
        self.step(Input::AloneRefused { attempt, refused });
    }

    fn step(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let mut outputs = std::mem::take(&mut self.outputs);
            self.parts
                .dispatcher
                .step(self.origin.elapsed(), input, &mut outputs);
            for output in outputs.drain(..) {
                self.carry_out(output);
            }
            self.outputs = outputs;
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Publish {
                attempt,
                delivery,
                destination,
                channel,
                count,
                alone,
            } => {
                let sheet = Sheet {
                    attempt,
                    delivery,
                    destination,
                    count,
                    without_body: self.without_body.contains(&delivery),
                };
                self.slots.flights.insert(
                    attempt,
                    Flight {
                        channel,
                        delivery,
                        destination,
                        alone,
                    },
                );
                if alone {
                    self.waiting.push_back(sheet);
                    self.next_alone();
                } else if !self.order(channel, |epoch| Order::Publish { epoch, sheet }) {
                    self.slots.flights.remove(&attempt);
                    self.inputs.push_back(Input::NotSent { attempt });
                }
            }
            Output::Done { delivery } => self.settlements.push(Settlement::Delivered(delivery)),
            Output::Poisoned { delivery, refused } => self
                .settlements
                .push(Settlement::Poisoned(delivery, refused)),
            Output::Forgotten { delivery } => {
                self.settlements.push(Settlement::Forgotten(delivery));
            }
            Output::Recheck { destination } => self.recheck(destination),
            Output::CloseChannel { channel } => {
                let (state, why) = stalled();
                self.stand(channel, state, why);
                self.order(channel, |epoch| Order::Close { epoch });
            }
            Output::CutConnection => {
                tracing::warn!("the broker does not answer channel.close: cutting the connection");
                if let Some(link) = &*self.parts.line.borrow() {
                    link.cut();
                }
            }
        }
    }

    /// Gives an order to an open channel. The queue has room for a whole window and more, and the dispatcher never has
    /// more under way, so that failing is either a channel that is just ending or a bug.
    fn order(&self, channel: ChannelId, order: impl FnOnce(u64) -> Order) -> bool {
        let Some(slot) = self.slots.all.get(&channel) else {
            return false;
        };
        let Some(opening) = slot.open else {
            return false;
        };
        match slot.orders.try_send(order(opening.epoch)) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(destination = slot.name, %error, "a channel's task takes no orders");
                false
            }
        }
    }

    fn next_alone(&mut self) {
        if self.sending_alone {
            return;
        }
        if let Some(sheet) = self.waiting.pop_front() {
            self.sending_alone = self.parts.alone.try_send(sheet).is_ok();
            if !self.sending_alone {
                tracing::error!("the task that sends messages alone takes no orders");
                self.waiting.push_front(sheet);
            }
        }
    }

    /// Makes sure that a delivery's channel has a task.
    fn seat(&mut self, owed: &Owed) {
        if self.slots.all.contains_key(&owed.channel) {
            return;
        }
        let Some(destination) = self.parts.press.destinations.get(owed.destination) else {
            tracing::error!(
                destination = owed.destination.0,
                "the journal owes something to a destination that it does not know"
            );
            return;
        };
        let place = Place::of(&destination);
        let name = place.name();
        // A window that was lost with the channel may still lie in the queue when the next window comes.
        let (orders, taken) = mpsc::channel(2 * self.parts.window + SPARE_ORDERS);
        let halt = self.parts.halt_desks.child_token();
        self.tasks += 1;
        let desk = Desk {
            teller: Teller {
                channel: owed.channel,
                task: self.tasks,
            },
            place: place.clone(),
            press: self.parts.press.clone(),
            survey: self.parts.survey.clone(),
            line: self.parts.line.clone(),
            news: self.parts.channel_news.clone(),
            halt: halt.clone(),
        };
        self.desks.spawn(desk.serve(taken));
        let why = if self.connected {
            "its channel is being opened"
        } else {
            "not connected to the broker"
        };
        self.board
            .set(&name, DestinationState::Held, Some(why.to_owned()));
        self.slots.all.insert(
            owed.channel,
            Slot {
                place,
                confirm_duration: self.board.confirm_duration(&name),
                name,
                task: self.tasks,
                orders,
                open: None,
                found: None,
                halt,
            },
        );
    }

    fn recheck(&mut self, id: DestinationId) {
        let Some(destination) = self.parts.press.destinations.get(id) else {
            return;
        };
        let (survey, findings) = (self.parts.survey.clone(), self.parts.findings.clone());
        self.helpers.spawn(async move {
            let verdict = survey.ask(Place::of(&destination)).await;
            drop(findings.send(Finding::Rechecked(id, verdict)).await);
        });
    }

    /// Declares or checks every configured place, again and again until each was found good. Not only those that are
    /// owed something: a consumer may come before the first event.
    fn survey_all(&mut self) {
        self.survey_round.cancel();
        let round = self.parts.halt_desks.child_token();
        self.survey_round = round.clone();
        for place in self.parts.places.clone() {
            let (survey, findings) = (self.parts.survey.clone(), self.parts.findings.clone());
            let round = round.clone();
            self.helpers.spawn(watch(place, survey, findings, round));
        }
    }

    fn pass_fence(&mut self) {
        if self.slots.take_fence() {
            self.step(Input::Fenced);
        }
    }

    fn stand(&mut self, id: ChannelId, state: DestinationState, why: Option<String>) {
        if let Some(slot) = self.slots.all.get(&id) {
            let (state, why) = shown(state, why, self.parts.dispatcher.is_stalled(id));
            self.board.set(&slot.name, state, why);
        }
    }

    /// There is no publishing connection.
    fn down(&mut self, why: &str) {
        self.connected = false;
        self.broker(false, false);
        let names: Vec<_> = self
            .parts
            .places
            .iter()
            .map(Place::name)
            .chain(self.slots.all.values().map(|slot| slot.name.clone()))
            .collect();
        for name in names {
            // What is known to be missing or mismatched does not become better by a lost connection.
            if matches!(
                self.board.state(&name),
                None | Some(
                    DestinationState::Ready | DestinationState::Held | DestinationState::Stalled
                )
            ) {
                self.board
                    .set(&name, DestinationState::Held, Some(why.to_owned()));
            }
        }
    }

    fn broker(&self, connected: bool, blocked: bool) {
        self.parts.metrics.connected.set(connected.into());
        self.parts.metrics.blocked.set(blocked.into());
        self.parts.health.update(|view| {
            view.broker.connected = connected;
            view.broker.blocked = blocked;
        });
    }
}
