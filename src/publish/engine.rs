//! The one owner of the dispatcher: events become its inputs, its outputs become orders.

use std::{
    collections::{HashSet, VecDeque},
    time::Instant,
};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::{
        AttemptId, ChannelId, DeliveryId, DispatcherInput, DispatcherOutput, PendingDelivery,
        PublishOutcome, Refused,
    },
    journal::{FeedItem, Settlement},
    route::DestinationId,
    status::DestinationState,
};

use super::{
    broker_object::BrokerObject,
    channel::{ChannelCommand, ChannelEvent, ChannelTask, TaskId},
    channel_slots::{ChannelOpening, ChannelSlot, ChannelSlots},
    channel_status::{shown, stalled, status_of},
    destination_status::DestinationStatuses,
    engine_parts::{EngineParts, Sink},
    isolated::IsolatedEvent,
    metrics::PublishResult,
    publish_request::{AttemptEnd, EndedAttempt, NotSent, PublishRequest},
    supervisor::ConnectionEvent,
    topology::TopologyCheck,
    topology_checker::{TopologyReport, watch},
};

/// Besides a window of publishes, a channel can be ordered to close.
const SPARE_ORDERS: usize = 8;

/// The engine: all of this is changed by one task only.
pub(super) struct Engine {
    parts: EngineParts,
    pub(super) statuses: DestinationStatuses,
    pub(super) channel_tasks: JoinSet<()>,
    /// Rechecks and topology surveys in progress.
    pub(super) helpers: JoinSet<()>,
    origin: Instant,
    slots: ChannelSlots,
    outputs: Vec<DispatcherOutput>,
    /// Inputs that result from handling outputs.
    inputs: VecDeque<DispatcherInput>,
    settlements: Vec<Settlement>,
    /// Messages to be sent in isolation, one after the other.
    waiting: VecDeque<PublishRequest>,
    sending_alone: bool,
    /// Quarantine messages whose body the broker refused even in isolation.
    without_body: HashSet<DeliveryId>,
    connected: bool,
    lost_before: bool,
    /// Tasks of channels started so far.
    tasks: u64,
    /// Ends the current survey when a newer one begins.
    survey_round: CancellationToken,
}

impl Engine {
    pub(super) fn new(parts: EngineParts) -> Self {
        let statuses = DestinationStatuses::new(
            parts.health.clone(),
            parts.metrics.clone(),
            &parts.broker_objects,
        );
        let mut engine = Self {
            parts,
            statuses,
            channel_tasks: JoinSet::new(),
            helpers: JoinSet::new(),
            origin: Instant::now(),
            slots: ChannelSlots::default(),
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

    /// Deliveries still pending.
    pub(super) fn pending(&self) -> usize {
        self.parts.dispatcher.pending()
    }

    /// The dispatcher's deadline has passed.
    pub(super) fn tick(&mut self) {
        self.step(DispatcherInput::Tick);
    }

    /// An item of the journal's feed.
    pub(super) fn fed(&mut self, item: FeedItem) {
        match item {
            FeedItem::Pending(owed) => {
                for owed in owed {
                    self.seat(&owed);
                    self.step(DispatcherInput::Accepted(owed));
                }
            }
            FeedItem::Settled(deliveries) => {
                for delivery in deliveries {
                    self.step(DispatcherInput::Settled { delivery });
                }
            }
            FeedItem::Withdraw(deliveries) => {
                for delivery in deliveries {
                    self.step(DispatcherInput::Withdraw { delivery });
                }
            }
        }
    }

    /// An event of the publishing connection.
    pub(super) fn line(&mut self, news: ConnectionEvent) {
        match news {
            ConnectionEvent::Fenced(link) => {
                self.connected = true;
                if std::mem::take(&mut self.lost_before) {
                    self.parts.metrics.reconnects.inc();
                }
                self.broker(true, false);
                self.slots.fenced(link);
                self.pass_fence();
                self.survey_all();
            }
            ConnectionEvent::Lost(why) => {
                self.lost_before = true;
                self.slots.unfenced();
                self.step(DispatcherInput::Blocked(false));
                self.down(&why);
            }
            ConnectionEvent::Trouble(why) => self.down(&why),
            ConnectionEvent::Blocked(reason) => {
                self.broker(true, reason.is_some());
                self.step(DispatcherInput::Blocked(reason.is_some()));
            }
        }
    }

    /// An event of a channel.
    pub(super) fn channel(&mut self, task_id: TaskId, news: ChannelEvent) {
        let id = task_id.channel;
        if self
            .slots
            .all
            .get(&id)
            .is_none_or(|slot| slot.task != task_id.task)
        {
            // The last event of a task that was released: its loss has already been counted.
            return;
        }
        match news {
            ChannelEvent::Opened { epoch, link } => {
                self.slots.opened(id, ChannelOpening { epoch, link });
                self.stand(id, DestinationState::Ready, None);
                self.step(DispatcherInput::Opened { channel: id });
            }
            ChannelEvent::AttemptsEnded(all) => {
                for ended in all {
                    self.ended(ended);
                }
            }
            ChannelEvent::Lost { loss, why } => {
                self.slots.lost(id, loss);
                for _ in 0..self.parts.dispatcher.in_flight_on(id) {
                    self.parts.metrics.published(PublishResult::Lost);
                }
                self.stand(id, DestinationState::Held, Some(why));
                self.step(DispatcherInput::ChannelLost { channel: id, loss });
                self.pass_fence();
            }
            ChannelEvent::TopologyStatus(state, why) => self.stand(id, state, why),
        }
    }

    /// An event of the message that is sent in isolation.
    pub(super) fn alone(&mut self, news: IsolatedEvent) {
        self.sending_alone = false;
        match news {
            IsolatedEvent::EndedAttempt(ended) => self.ended(ended),
            IsolatedEvent::Refused { attempt, refused } => {
                self.parts.metrics.published(PublishResult::Error);
                self.refused(attempt, refused);
            }
            IsolatedEvent::NotSent { attempt, why } => {
                tracing::warn!(error = why, "an isolated message was not accepted");
                self.parts.metrics.published(PublishResult::Error);
                self.step(DispatcherInput::NotSent { attempt });
            }
            IsolatedEvent::Unknown { attempt } => {
                self.parts.metrics.published(PublishResult::Lost);
                self.step(DispatcherInput::AloneUnknown { attempt });
            }
        }
        self.next_alone();
    }

    /// A report of the topology checker.
    pub(super) fn found(&mut self, finding: TopologyReport) {
        match finding {
            TopologyReport::Rechecked(destination, verdict) => {
                let usable = verdict == TopologyCheck::Good;
                let name = self
                    .parts
                    .context
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
                self.step(DispatcherInput::Rechecked {
                    destination,
                    usable,
                });
            }
            TopologyReport::Surveyed(object, verdict) => {
                let name = object.name();
                // A destination that has a channel reports its own status.
                let has_channel = self.slots.all.values().any(|slot| slot.name == name);
                if !has_channel && (self.connected || verdict != TopologyCheck::Good) {
                    let (state, why) = verdict.status();
                    self.statuses.set(&name, state, why);
                }
            }
        }
    }

    /// Checks every channel: for the status, the gauges, and retired destinations without pending deliveries.
    pub(super) fn look(&mut self) {
        let now = self.origin.elapsed();
        let mut in_flight = 0;
        let mut oldest = None;
        let mut status = Vec::new();
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
            if view.owed == 0 && !self.statuses.is_configured(&slot.name) {
                gone.push(view.channel);
            } else if slot.open.is_some() {
                status.push((view.channel, status_of(slot, &view)));
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
        for (id, (state, why)) in status {
            self.stand(id, state, why);
        }
        for id in gone {
            if let Some(slot) = self.slots.all.remove(&id) {
                slot.halt.cancel();
                self.statuses.remove(&slot.name);
                // Its task reports this too, but the engine does not know that task any more.
                self.step(DispatcherInput::ChannelLost {
                    channel: id,
                    loss: crate::dispatch::ChannelLoss::Settled,
                });
            }
        }
    }

    /// Reports what was settled since the last call.
    pub(super) fn report(&mut self) {
        if !self.settlements.is_empty() {
            self.parts
                .settle
                .report(std::mem::take(&mut self.settlements));
        }
    }

    /// Nothing is in flight any more: sets the status as after a regular end.
    pub(super) fn stopped(&mut self) {
        self.broker(false, false);
        self.report();
    }

    fn ended(&mut self, ended: EndedAttempt) {
        let attempt = ended.attempt;
        match ended.how {
            AttemptEnd::PublishOutcome(outcome) => {
                let in_flight = self.parts.dispatcher.in_flight(attempt);
                if let Some(in_flight) = in_flight {
                    self.without_body.remove(&in_flight.delivery);
                }
                let metrics = &self.parts.metrics;
                let input = match outcome {
                    PublishOutcome::Confirmed => {
                        metrics.published(PublishResult::Ack);
                        if let Some(slot) =
                            in_flight.and_then(|in_flight| self.slots.all.get(&in_flight.channel))
                        {
                            slot.confirm_duration.observe(ended.took.as_secs_f64());
                        }
                        DispatcherInput::Confirmed { attempt }
                    }
                    PublishOutcome::Nacked => {
                        metrics.published(PublishResult::Nack);
                        DispatcherInput::Nacked { attempt }
                    }
                    PublishOutcome::Returned => {
                        metrics.published(PublishResult::Returned);
                        DispatcherInput::Returned { attempt }
                    }
                };
                self.step(input);
            }
            AttemptEnd::NotSent(NotSent::NotNow) => self.step(DispatcherInput::NotSent { attempt }),
            AttemptEnd::NotSent(NotSent::Unsendable(refused)) => {
                self.parts.metrics.published(PublishResult::Error);
                self.refused(attempt, refused);
            }
        }
    }

    /// A message can never be sent as it is. It goes to quarantine; a quarantined one is sent without its body.
    fn refused(&mut self, attempt: AttemptId, refused: Refused) {
        if let Some(in_flight) = self.parts.dispatcher.in_flight(attempt)
            && self.parts.context.is_quarantine(in_flight.destination)
            && self.without_body.insert(in_flight.delivery)
        {
            tracing::warn!(
                code = refused.code,
                reason = refused.text,
                "the broker refuses a quarantined event: sending its facts without its body"
            );
            self.step(DispatcherInput::AloneUnknown { attempt });
            return;
        }
        tracing::warn!(
            code = refused.code,
            reason = refused.text,
            "a message cannot be sent: it goes to quarantine"
        );
        self.step(DispatcherInput::AloneRefused { attempt, refused });
    }

    fn step(&mut self, input: DispatcherInput) {
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

    fn carry_out(&mut self, output: DispatcherOutput) {
        match output {
            DispatcherOutput::Publish {
                attempt,
                delivery,
                destination,
                channel,
                count,
                alone,
            } => {
                let request = PublishRequest {
                    attempt,
                    delivery,
                    destination,
                    count,
                    without_body: self.without_body.contains(&delivery),
                };
                if alone {
                    self.waiting.push_back(request);
                    self.next_alone();
                } else if !self.order(channel, |epoch| ChannelCommand::Publish { epoch, request }) {
                    self.inputs.push_back(DispatcherInput::NotSent { attempt });
                }
            }
            DispatcherOutput::Done { delivery } => {
                self.settlements.push(Settlement::Delivered(delivery))
            }
            DispatcherOutput::Poisoned { delivery, refused } => self
                .settlements
                .push(Settlement::Poisoned(delivery, refused)),
            DispatcherOutput::Forgotten { delivery } => {
                self.settlements.push(Settlement::Forgotten(delivery));
            }
            DispatcherOutput::Recheck { destination } => self.recheck(destination),
            DispatcherOutput::CloseChannel { channel } => {
                let (state, why) = stalled();
                self.stand(channel, state, why);
                self.order(channel, |epoch| ChannelCommand::Close { epoch });
            }
            DispatcherOutput::CutConnection => {
                // A write to standard output ends when its reader reads again, and not before.
                let Sink::Broker(line) = &self.parts.sink else {
                    return;
                };
                tracing::warn!("the broker does not answer channel.close: cutting the connection");
                if let Some(link) = &*line.borrow() {
                    link.cut();
                }
            }
        }
    }

    /// Gives an order to an open channel. The queue has room for more than a whole window, and the dispatcher never has
    /// more in flight, so a failure means that the channel is ending, or a bug.
    fn order(&self, channel: ChannelId, order: impl FnOnce(u64) -> ChannelCommand) -> bool {
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
        if let Some(request) = self.waiting.pop_front() {
            self.sending_alone = self.parts.alone.try_send(request).is_ok();
            if !self.sending_alone {
                tracing::error!("the isolated publisher takes no orders");
                self.waiting.push_front(request);
            }
        }
    }

    /// Makes sure that a delivery's channel has a task.
    fn seat(&mut self, owed: &PendingDelivery) {
        if self.slots.all.contains_key(&owed.channel) {
            return;
        }
        let Some(destination) = self.parts.context.destinations.get(owed.destination) else {
            tracing::error!(
                destination = owed.destination.0,
                "the journal has a pending delivery for a destination that it does not know"
            );
            return;
        };
        let object = BrokerObject::of(&destination);
        let name = object.name();
        // A window that was lost with the channel may still be in the queue when the next window arrives.
        let (orders, taken) = mpsc::channel(2 * self.parts.window + SPARE_ORDERS);
        let halt = self.parts.halt_channels.child_token();
        self.tasks += 1;
        let channel_task = ChannelTask {
            task_id: TaskId {
                channel: owed.channel,
                task: self.tasks,
            },
            object: object.clone(),
            context: self.parts.context.clone(),
            topology_checker: self.parts.topology_checker.clone(),
            news: self.parts.channel_events.clone(),
            halt: halt.clone(),
        };
        match &self.parts.sink {
            Sink::Broker(line) => self
                .channel_tasks
                .spawn(channel_task.serve(line.clone(), taken)),
            Sink::Stdout(printer) => self
                .channel_tasks
                .spawn(channel_task.print(printer.clone(), taken)),
        };
        let why = if self.connected {
            "its channel is being opened"
        } else {
            "not connected to the broker"
        };
        self.statuses
            .set(&name, DestinationState::Held, Some(why.to_owned()));
        self.slots.all.insert(
            owed.channel,
            ChannelSlot {
                object,
                confirm_duration: self.statuses.confirm_duration(&name),
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
        let Some(destination) = self.parts.context.destinations.get(id) else {
            return;
        };
        let (topology_checker, topology_reports) = (
            self.parts.topology_checker.clone(),
            self.parts.topology_reports.clone(),
        );
        self.helpers.spawn(async move {
            let verdict = topology_checker.ask(BrokerObject::of(&destination)).await;
            drop(
                topology_reports
                    .send(TopologyReport::Rechecked(id, verdict))
                    .await,
            );
        });
    }

    /// Declares or checks every configured object, repeatedly until each was found good. Not only those with pending
    /// deliveries: a consumer may arrive before the first event.
    fn survey_all(&mut self) {
        self.survey_round.cancel();
        let round = self.parts.halt_channels.child_token();
        self.survey_round = round.clone();
        for object in self.parts.broker_objects.clone() {
            let (topology_checker, topology_reports) = (
                self.parts.topology_checker.clone(),
                self.parts.topology_reports.clone(),
            );
            let round = round.clone();
            self.helpers
                .spawn(watch(object, topology_checker, topology_reports, round));
        }
    }

    fn pass_fence(&mut self) {
        if self.slots.take_fence() {
            self.step(DispatcherInput::Fenced);
        }
    }

    fn stand(&mut self, id: ChannelId, state: DestinationState, why: Option<String>) {
        if let Some(slot) = self.slots.all.get(&id) {
            let (state, why) = shown(state, why, self.parts.dispatcher.is_stalled(id));
            self.statuses.set(&slot.name, state, why);
        }
    }

    /// There is no publishing connection.
    fn down(&mut self, why: &str) {
        self.connected = false;
        self.broker(false, false);
        let names: Vec<_> = self
            .parts
            .broker_objects
            .iter()
            .map(BrokerObject::name)
            .chain(self.slots.all.values().map(|slot| slot.name.clone()))
            .collect();
        for name in names {
            // A state that is known to be missing or mismatched does not improve by a lost connection.
            if matches!(
                self.statuses.state(&name),
                None | Some(
                    DestinationState::Ready | DestinationState::Held | DestinationState::Stalled
                )
            ) {
                self.statuses
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
