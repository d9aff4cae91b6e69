//! The dispatcher with a broker, a publisher and a journal that do everything they are allowed to do, for the property
//! test. Checks P2 and P3 whenever a message arrives or an outcome is reported.

mod acts;
mod drain;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::route::DestinationId;

use super::broker::{ModelChannel, QueueBehaviour, RandomSource, SentMessage};
use crate::dispatch::{
    AttemptId, ChannelId, DeliveryId, Dispatcher, DispatcherInput, DispatcherOutput,
    DispatcherSettings, Lane, PendingDelivery, PublishOutcome,
};

/// Channel and family of each destination: a queue of two partitions, a plain queue, an exchange with three keys of
/// which two are one family, and one more plain queue.
pub(super) const DESTINATIONS: [(u32, u32); 7] =
    [(0, 0), (1, 0), (2, 1), (3, 2), (3, 2), (3, 3), (4, 4)];
pub(super) const CHANNELS: usize = 5;

/// The rules that can be disabled.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnabledRules {
    pub(super) one_per_lane: bool,
    pub(super) fence: bool,
    pub(super) poll_all: bool,
    pub(super) await_settled: bool,
    /// Consumers drop what is not above the last sequence of its call.
    pub(super) drop_repeats: bool,
}

impl EnabledRules {
    pub(super) const ALL: Self = Self {
        one_per_lane: true,
        fence: true,
        poll_all: true,
        await_settled: true,
        drop_repeats: true,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Done,
    Poisoned,
    Forgotten,
}

#[derive(Debug)]
struct Accepted {
    lane: Option<Lane>,
    destination: usize,
    poison: bool,
    withdrawn: bool,
    state: State,
    /// The journal has deleted it.
    durable: bool,
    landed: u32,
}

/// Counts of what happened, over all schedules.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) steps: u64,
    pub(super) accepted: u64,
    pub(super) publishes: u64,
    pub(super) alone: u64,
    pub(super) losses: u64,
    pub(super) fences: u64,
    pub(super) passed: u64,
    pub(super) restarts: u64,
    pub(super) late: u64,
    pub(super) strays: u64,
    pub(super) landed: u64,
    pub(super) repeats: u64,
    pub(super) nacks: u64,
    pub(super) returns: u64,
    pub(super) mispaired: u64,
    pub(super) poisoned: u64,
    pub(super) forgotten: u64,
    pub(super) done: u64,
    pub(super) closes: u64,
    pub(super) cuts: u64,
}

impl Figures {
    pub(super) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.accepted += other.accepted;
        self.publishes += other.publishes;
        self.alone += other.alone;
        self.losses += other.losses;
        self.fences += other.fences;
        self.passed += other.passed;
        self.restarts += other.restarts;
        self.late += other.late;
        self.strays += other.strays;
        self.landed += other.landed;
        self.repeats += other.repeats;
        self.nacks += other.nacks;
        self.returns += other.returns;
        self.mispaired += other.mispaired;
        self.poisoned += other.poisoned;
        self.forgotten += other.forgotten;
        self.done += other.done;
        self.closes += other.closes;
        self.cuts += other.cuts;
    }
}

pub(super) struct World {
    kept: EnabledRules,
    /// `confirm` mode: deliveries are withdrawn, and there is no restart from a journal.
    confirm_mode: bool,
    dispatcher: Dispatcher,
    settings: DispatcherSettings,
    window: usize,
    now: Duration,
    inbox: VecDeque<DispatcherInput>,
    accepted: Vec<Accepted>,
    /// The deliveries of each lane in order of admission, and the place of the one that landed last.
    lanes: BTreeMap<(u32, u64), (Vec<usize>, Option<usize>)>,
    moods: [QueueBehaviour; DESTINATIONS.len()],
    sessions: Vec<Option<ModelChannel>>,
    /// A channel that does not open.
    shut: [bool; CHANNELS],
    /// Queues of copies on lost connections.
    late: Vec<VecDeque<SentMessage>>,
    /// The same for connections whose fence was passed over: they may arrive at any time, or never.
    strays: Vec<VecDeque<SentMessage>>,
    alone: Vec<SentMessage>,
    rechecks: Vec<DestinationId>,
    closing: Vec<usize>,
    cut: bool,
    blocked: bool,
    /// What the dispatcher was told about it, which may be outdated.
    told_open: [bool; CHANNELS],
    told_blocked: bool,
    fence_due: bool,
    pub(super) figures: Figures,
    pub(super) broken: Option<String>,
}

impl World {
    pub(super) fn new(kept: EnabledRules, seed: u64) -> Self {
        let mut dice = RandomSource::new(seed);
        let confirm_mode = dice.one_in(4);
        let settings = DispatcherSettings {
            window: u32::try_from(1 + dice.below(8)).unwrap(),
            stall_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(10),
            backoff_initial: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            await_settled: kept.await_settled && !confirm_mode,
        };
        let mut world = Self {
            kept,
            confirm_mode,
            dispatcher: Dispatcher::new(settings),
            settings,
            window: usize::try_from(settings.window).unwrap(),
            now: Duration::ZERO,
            inbox: VecDeque::new(),
            accepted: Vec::new(),
            lanes: BTreeMap::new(),
            moods: [QueueBehaviour::Well; DESTINATIONS.len()],
            sessions: (0..CHANNELS).map(|_| None).collect(),
            shut: [false; CHANNELS],
            late: Vec::new(),
            strays: Vec::new(),
            alone: Vec::new(),
            rechecks: Vec::new(),
            closing: Vec::new(),
            cut: false,
            blocked: false,
            told_open: [false; CHANNELS],
            told_blocked: false,
            fence_due: true,
            figures: Figures::default(),
            broken: None,
        };
        world.keep_rules();
        world
    }

    fn keep_rules(&mut self) {
        self.dispatcher.rules.one_per_lane = self.kept.one_per_lane;
        self.dispatcher.rules.fence = self.kept.fence;
    }

    fn broken(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Passes the new facts to the dispatcher, and follows its orders.
    fn deliver(&mut self, dice: &mut RandomSource) {
        if self.inbox.is_empty() {
            self.inbox.push_back(DispatcherInput::Tick);
        }
        let mut out = Vec::new();
        while let Some(input) = self.inbox.pop_front() {
            match &input {
                DispatcherInput::Blocked(blocked) => self.told_blocked = *blocked,
                DispatcherInput::Opened { channel } => self.tell_open(*channel, true),
                DispatcherInput::ChannelLost { channel, .. } => self.tell_open(*channel, false),
                _ => {}
            }
            self.dispatcher.step(self.now, input, &mut out);
            for output in std::mem::take(&mut out) {
                self.obey(output, dice);
            }
        }
        let (said, pending) = (self.dispatcher.pending(), self.count(State::Pending));
        if said != pending {
            self.broken(format!("P3: {said} pending, but {pending} have no outcome"));
        }
    }

    fn tell_open(&mut self, channel: ChannelId, open: bool) {
        if let Some(told) = self.told_open.get_mut(usize::try_from(channel.0).unwrap()) {
            *told = open;
        }
    }

    fn count(&self, state: State) -> usize {
        self.accepted
            .iter()
            .filter(|delivery| delivery.state == state)
            .count()
    }

    fn obey(&mut self, output: DispatcherOutput, dice: &mut RandomSource) {
        match output {
            DispatcherOutput::Publish {
                attempt,
                delivery,
                destination,
                channel,
                count,
                alone,
            } => {
                self.figures.publishes += 1;
                let queue = usize::try_from(destination.0).unwrap();
                let known = &self.accepted[usize::try_from(delivery.0).unwrap()];
                let message = SentMessage {
                    attempt,
                    delivery,
                    queue,
                    poison: known.poison,
                };
                if known.state != State::Pending || count == 0 || known.destination != queue {
                    self.broken(format!(
                        "P3: {delivery:?} is published but is not pending like this"
                    ));
                }
                let name = channel;
                let channel = usize::try_from(channel.0).unwrap();
                if self.told_blocked {
                    self.broken("a publish while blocked".to_owned());
                }
                if !self.told_open[channel] {
                    self.broken("a publish on a channel that is not open".to_owned());
                }
                // The channel is gone, and the dispatcher will be told in a moment: nothing can be sent on it.
                let gone = self.inbox.iter().any(
                    |input| matches!(input, DispatcherInput::ChannelLost { channel, .. } if *channel == name),
                );
                if gone && !alone {
                    return;
                }
                if dice.one_in(30) {
                    self.inbox.push_back(DispatcherInput::NotSent { attempt });
                } else if alone {
                    self.figures.alone += 1;
                    let same =
                        |other: &SentMessage| DESTINATIONS[other.queue].0 == DESTINATIONS[queue].0;
                    if self.alone.iter().any(same) {
                        self.broken("two of one channel are sent alone".to_owned());
                    }
                    self.alone.push(message);
                } else if let Some(session) = &mut self.sessions[channel] {
                    session.send(message);
                    if session.outstanding.len() > self.window {
                        self.broken(format!("a window of {} is exceeded", self.window));
                    }
                }
            }
            DispatcherOutput::Done { delivery } => self.end(delivery, State::Done),
            DispatcherOutput::Poisoned { delivery, .. } => self.end(delivery, State::Poisoned),
            DispatcherOutput::Forgotten { delivery } => self.end(delivery, State::Forgotten),
            DispatcherOutput::Recheck { destination } => self.rechecks.push(destination),
            DispatcherOutput::CloseChannel { channel } => {
                self.figures.closes += 1;
                self.closing.push(usize::try_from(channel.0).unwrap());
            }
            DispatcherOutput::CutConnection => {
                self.figures.cuts += 1;
                self.cut = true;
            }
        }
    }

    fn end(&mut self, id: DeliveryId, state: State) {
        let delivery = &mut self.accepted[usize::try_from(id.0).unwrap()];
        let before = std::mem::replace(&mut delivery.state, state);
        let (landed, poison, withdrawn) = (delivery.landed, delivery.poison, delivery.withdrawn);
        let good = match state {
            State::Pending => false,
            State::Done => landed > 0 && !poison,
            State::Poisoned => poison,
            State::Forgotten => withdrawn,
        };
        match state {
            State::Done => self.figures.done += 1,
            State::Poisoned => self.figures.poisoned += 1,
            State::Forgotten => self.figures.forgotten += 1,
            State::Pending => {}
        }
        if before != State::Pending || !good {
            self.broken(format!(
                "P3: {id:?} was {before:?} and is {state:?}; landed {landed} times, poison {poison}"
            ));
        }
    }

    /// A message enters its queue. This is where P2 can be broken. `stray`: it comes from before a fence that was
    /// passed over, so it may be an older one after a newer one, as long as it is only a repeat for a consumer that
    /// uses the sequence: of a message that was delivered, or of one that was refused to the sender.
    fn land(&mut self, message: SentMessage, stray: bool) {
        let id = usize::try_from(message.delivery.0).unwrap();
        let stray = stray && self.kept.drop_repeats;
        self.figures.landed += 1;
        self.accepted[id].landed += 1;
        let again = self.accepted[id].landed > 1;
        self.figures.repeats += u64::from(again);
        let forgotten = self.accepted[id].state == State::Forgotten;
        if forgotten && !stray {
            self.broken(format!("P2: delivery {id} landed after it was forgotten"));
        }
        let Some(lane) = self.accepted[id].lane else {
            return;
        };
        let Some((order, last)) = self.lanes.get_mut(&(lane.family, lane.call)) else {
            return;
        };
        let place = order.iter().position(|one| *one == id).unwrap();
        let first = last.map_or(0, |last| last + 1);
        let older = last.is_some_and(|last| place < last) && !(stray && (again || forgotten));
        let gap = order.get(first..place).is_some_and(|between| {
            between
                .iter()
                .any(|one| matches!(self.accepted[*one].state, State::Pending | State::Done))
        });
        *last = Some(place.max(last.unwrap_or(0)));
        if older || gap {
            let kind = if older {
                "an older one after a newer one"
            } else {
                "a gap"
            };
            self.broken(format!("P2: {kind}: delivery {id} of {lane:?}"));
        }
    }

    fn tell_accepted(&mut self, id: usize, unknown: bool) {
        let delivery = &self.accepted[id];
        self.inbox
            .push_back(DispatcherInput::Accepted(PendingDelivery {
                delivery: DeliveryId(id as u64),
                destination: DestinationId(u32::try_from(delivery.destination).unwrap()),
                channel: ChannelId(DESTINATIONS[delivery.destination].0),
                lane: delivery.lane,
                unknown,
            }));
    }

    fn tell(&mut self, outcomes: Vec<(AttemptId, PublishOutcome)>) {
        for (attempt, outcome) in outcomes {
            self.inbox.push_back(match outcome {
                PublishOutcome::Confirmed => DispatcherInput::Confirmed { attempt },
                PublishOutcome::Nacked => {
                    self.figures.nacks += 1;
                    DispatcherInput::Nacked { attempt }
                }
                PublishOutcome::Returned => {
                    self.figures.returns += 1;
                    DispatcherInput::Returned { attempt }
                }
            });
        }
    }
}
