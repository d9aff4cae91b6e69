//! The dispatcher among a broker, a publisher and a journal that do everything they may do, for the property test.
//! Checks P2 and P3 whenever something lands or is said.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::route::DestinationId;

use super::{
    AttemptId, ChannelId, DeliveryId, Dispatcher, Input, Lane, Loss, Outcome, Output, Owed,
    Refused, Settings,
    broker_model::{Dice, Message, Mood, Session, Taken},
};

/// Channel and family of each destination: a queue of two partitions, a plain queue, an exchange with three keys of
/// which two are one family, and one more plain queue.
pub(super) const DESTINATIONS: [(u32, u32); 7] =
    [(0, 0), (1, 0), (2, 1), (3, 2), (3, 2), (3, 3), (4, 4)];
pub(super) const CHANNELS: usize = 5;

/// The rules that can be taken out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) one_per_lane: bool,
    pub(super) fence: bool,
    pub(super) poll_all: bool,
    pub(super) await_settled: bool,
}

impl Kept {
    pub(super) const ALL: Self = Self {
        one_per_lane: true,
        fence: true,
        poll_all: true,
        await_settled: true,
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

/// What happened, over all schedules.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) steps: u64,
    pub(super) accepted: u64,
    pub(super) publishes: u64,
    pub(super) alone: u64,
    pub(super) losses: u64,
    pub(super) fences: u64,
    pub(super) restarts: u64,
    pub(super) late: u64,
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
        self.restarts += other.restarts;
        self.late += other.late;
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
    kept: Kept,
    /// `confirm` mode: deliveries are withdrawn, and there is no restart from a journal.
    confirm_mode: bool,
    dispatcher: Dispatcher,
    settings: Settings,
    window: usize,
    now: Duration,
    inbox: VecDeque<Input>,
    accepted: Vec<Accepted>,
    /// The deliveries of each lane in order of admission, and the place of the one that landed last.
    lanes: BTreeMap<(u32, u64), (Vec<usize>, Option<usize>)>,
    moods: [Mood; DESTINATIONS.len()],
    sessions: Vec<Option<Session>>,
    /// A channel that does not open.
    shut: [bool; CHANNELS],
    /// Streams of copies on lost connections.
    late: Vec<VecDeque<Message>>,
    alone: Vec<Message>,
    rechecks: Vec<DestinationId>,
    closing: Vec<usize>,
    cut: bool,
    blocked: bool,
    /// What the dispatcher was told of it, which may be older than what is.
    told_open: [bool; CHANNELS],
    told_blocked: bool,
    fence_due: bool,
    pub(super) figures: Figures,
    pub(super) broken: Option<String>,
}

impl World {
    pub(super) fn new(kept: Kept, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let confirm_mode = dice.one_in(4);
        let settings = Settings {
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
            moods: [Mood::Well; DESTINATIONS.len()],
            sessions: (0..CHANNELS).map(|_| None).collect(),
            shut: [false; CHANNELS],
            late: Vec::new(),
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

    /// One step of a schedule; the number says which.
    pub(super) fn act(&mut self, number: u64) {
        self.figures.steps += 1;
        let mut dice = Dice::new(number);
        match dice.below(100) {
            0..24 => self.accept(&mut dice),
            24..37 => self.read(&mut dice),
            37..50 => self.answer(&mut dice),
            50..64 => self.poll(&mut dice),
            64..71 => self.open(&mut dice),
            71..75 => self.commit(),
            75..77 => self.fence(&mut dice),
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
                    Mood::Well,
                    Mood::Well,
                    Mood::Missing,
                    Mood::Missing,
                    Mood::Full,
                    Mood::Stuck,
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
                self.inbox.push_back(Input::Blocked(self.blocked));
            }
            95..96 => self.withdraw(&mut dice),
            96..97 => self.speak_nonsense(&mut dice),
            97..98 => self.now += Duration::from_secs(dice.below(15) as u64),
            _ => self.wait(&mut dice),
        }
        self.deliver(&mut dice);
    }

    /// Gives the dispatcher what has become known, and does what it says.
    fn deliver(&mut self, dice: &mut Dice) {
        if self.inbox.is_empty() {
            self.inbox.push_back(Input::Tick);
        }
        let mut out = Vec::new();
        while let Some(input) = self.inbox.pop_front() {
            match &input {
                Input::Blocked(blocked) => self.told_blocked = *blocked,
                Input::Opened { channel } => self.tell_open(*channel, true),
                Input::ChannelLost { channel, .. } => self.tell_open(*channel, false),
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

    fn obey(&mut self, output: Output, dice: &mut Dice) {
        match output {
            Output::Publish {
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
                let message = Message {
                    attempt,
                    delivery,
                    queue,
                    poison: known.poison,
                };
                if known.state != State::Pending || count == 0 || known.destination != queue {
                    self.broken(format!("P3: {delivery:?} is published but not owed so"));
                }
                let name = channel;
                let channel = usize::try_from(channel.0).unwrap();
                if self.told_blocked {
                    self.broken("a publish while blocked".to_owned());
                }
                if !self.told_open[channel] {
                    self.broken("a publish on a channel that is not open".to_owned());
                }
                // The channel is gone, and the dispatcher will hear of it in a moment: nothing can be sent on it.
                let gone = self.inbox.iter().any(
                    |input| matches!(input, Input::ChannelLost { channel, .. } if *channel == name),
                );
                if gone && !alone {
                    return;
                }
                if dice.one_in(30) {
                    self.inbox.push_back(Input::NotSent { attempt });
                } else if alone {
                    self.figures.alone += 1;
                    let same =
                        |other: &Message| DESTINATIONS[other.queue].0 == DESTINATIONS[queue].0;
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
            Output::Done { delivery } => self.end(delivery, State::Done),
            Output::Poisoned { delivery, .. } => self.end(delivery, State::Poisoned),
            Output::Forgotten { delivery } => self.end(delivery, State::Forgotten),
            Output::Recheck { destination } => self.rechecks.push(destination),
            Output::CloseChannel { channel } => {
                self.figures.closes += 1;
                self.closing.push(usize::try_from(channel.0).unwrap());
            }
            Output::CutConnection => {
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

    /// A message enters its queue. This is where P2 can be broken.
    fn land(&mut self, message: Message) {
        let id = usize::try_from(message.delivery.0).unwrap();
        self.figures.landed += 1;
        self.accepted[id].landed += 1;
        self.figures.repeats += u64::from(self.accepted[id].landed > 1);
        if self.accepted[id].state == State::Forgotten {
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
        let older = last.is_some_and(|last| place < last);
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

    fn accept(&mut self, dice: &mut Dice) {
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

    fn tell_accepted(&mut self, id: usize, unknown: bool) {
        let delivery = &self.accepted[id];
        self.inbox.push_back(Input::Accepted(Owed {
            delivery: DeliveryId(id as u64),
            destination: DestinationId(u32::try_from(delivery.destination).unwrap()),
            channel: ChannelId(DESTINATIONS[delivery.destination].0),
            lane: delivery.lane,
            unknown,
        }));
    }

    fn read(&mut self, dice: &mut Dice) {
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
                Some(Taken::Landed(message)) => self.land(message),
                Some(Taken::Refused) => return self.refuse(channel, dice),
                Some(Taken::Not) => {}
                None => return,
            }
        }
    }

    fn refuse(&mut self, channel: usize, dice: &mut Dice) {
        let settled = !dice.one_in(4);
        let rest = self.end_session(channel, dice);
        if !settled {
            self.leave_late(rest);
        }
        self.figures.losses += 1;
        self.inbox.push_back(Input::ChannelLost {
            channel: ChannelId(u32::try_from(channel).unwrap()),
            loss: Loss::Refused { settled },
        });
    }

    /// Closes a channel and gives what the broker had not read.
    fn end_session(&mut self, channel: usize, dice: &mut Dice) -> VecDeque<Message> {
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

    fn leave_late(&mut self, stream: VecDeque<Message>) {
        self.fence_due = true;
        self.late.push(stream);
    }

    fn answer(&mut self, dice: &mut Dice) {
        let moods = self.moods;
        let channel = dice.below(CHANNELS);
        if let Some(session) = &mut self.sessions[channel] {
            session.answer(dice, |queue| moods[queue]);
        }
    }

    fn poll(&mut self, dice: &mut Dice) {
        let channel = dice.below(CHANNELS);
        let polls = 1 + dice.below(12);
        self.poll_channel(channel, polls, dice);
    }

    fn poll_channel(&mut self, channel: usize, polls: usize, dice: &mut Dice) {
        let mut outcomes = Vec::new();
        if let Some(session) = &mut self.sessions[channel] {
            session.poll(dice, polls, &mut outcomes);
        }
        self.tell(outcomes);
    }

    fn tell(&mut self, outcomes: Vec<(AttemptId, Outcome)>) {
        for (attempt, outcome) in outcomes {
            self.inbox.push_back(match outcome {
                Outcome::Confirmed => Input::Confirmed { attempt },
                Outcome::Nacked => {
                    self.figures.nacks += 1;
                    Input::Nacked { attempt }
                }
                Outcome::Returned => {
                    self.figures.returns += 1;
                    Input::Returned { attempt }
                }
            });
        }
    }

    fn open(&mut self, dice: &mut Dice) {
        let channel = dice.below(CHANNELS);
        self.open_channel(channel);
    }

    fn open_channel(&mut self, channel: usize) {
        if self.sessions[channel].is_none() && !self.shut[channel] {
            self.sessions[channel] = Some(Session::new(self.kept.poll_all));
            self.inbox.push_back(Input::Opened {
                channel: ChannelId(u32::try_from(channel).unwrap()),
            });
        }
    }

    /// The journal commits what it was told.
    fn commit(&mut self) {
        for (id, delivery) in self.accepted.iter_mut().enumerate() {
            if delivery.state != State::Pending && !delivery.durable {
                delivery.durable = true;
                self.inbox.push_back(Input::Settled {
                    delivery: DeliveryId(id as u64),
                });
            }
        }
    }

    fn fence(&mut self, dice: &mut Dice) {
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
        self.inbox.push_back(Input::Fenced);
    }

    fn land_late(&mut self, dice: &mut Dice) {
        if self.late.is_empty() {
            return;
        }
        let stream = dice.below(self.late.len());
        match self.late[stream].pop_front() {
            None => {
                self.late.swap_remove(stream);
            }
            Some(message) => {
                if !message.poison && matches!(self.moods[message.queue], Mood::Well | Mood::Stuck)
                {
                    self.figures.late += 1;
                    self.land(message);
                }
            }
        }
    }

    fn answer_alone(&mut self, dice: &mut Dice, healthy: bool) {
        if self.alone.is_empty() {
            return;
        }
        let index = dice.below(self.alone.len());
        let message = self.alone[index];
        let attempt = message.attempt;
        let mood = self.moods[message.queue];
        let unknown = !healthy && dice.one_in(5);
        if mood == Mood::Stuck && !unknown {
            return;
        }
        self.alone.swap_remove(index);
        let input = if message.poison {
            Input::AloneRefused {
                attempt,
                refused: Refused {
                    code: 406,
                    text: "PRECONDITION_FAILED".to_owned(),
                },
            }
        } else {
            match mood {
                Mood::Missing => Input::Returned { attempt },
                Mood::Full => Input::Nacked { attempt },
                Mood::Well | Mood::Stuck => {
                    // Where the answer is lost, the message may have been too.
                    if !unknown || dice.one_in(2) {
                        self.land(message);
                    }
                    Input::Confirmed { attempt }
                }
            }
        };
        self.inbox.push_back(if unknown {
            Input::AloneUnknown { attempt }
        } else {
            input
        });
    }

    fn answer_recheck(&mut self) {
        for destination in std::mem::take(&mut self.rechecks) {
            let mood = self.moods[usize::try_from(destination.0).unwrap()];
            self.inbox.push_back(Input::Rechecked {
                destination,
                usable: mood != Mood::Missing,
            });
        }
    }

    /// What the dispatcher asked to be closed or cut.
    fn close(&mut self, dice: &mut Dice) {
        if std::mem::take(&mut self.cut) {
            self.lose_connection(dice);
        } else if let Some(channel) = self.closing.first().copied() {
            self.lose_settled(channel, dice);
        }
    }

    /// The broker says Close or Close-Ok: it has read a part of what was sent, and reads no more.
    fn lose_settled(&mut self, channel: usize, dice: &mut Dice) {
        let reads = dice.below(4);
        for _ in 0..reads {
            let moods = self.moods;
            match self.sessions[channel]
                .as_mut()
                .and_then(|session| session.read(|queue| moods[queue]))
            {
                Some(Taken::Landed(message)) => self.land(message),
                Some(Taken::Refused) => return self.refuse(channel, dice),
                Some(Taken::Not) => {}
                None => break,
            }
        }
        if self.sessions[channel].is_some() {
            self.end_session(channel, dice);
            self.figures.losses += 1;
            self.inbox.push_back(Input::ChannelLost {
                channel: ChannelId(u32::try_from(channel).unwrap()),
                loss: Loss::Settled,
            });
        }
    }

    fn lose_connection(&mut self, dice: &mut Dice) {
        self.fence_due = true;
        self.cut = false;
        for channel in 0..CHANNELS {
            if self.sessions[channel].is_some() {
                let stream = self.end_session(channel, dice);
                self.leave_late(stream);
                self.figures.losses += 1;
                self.inbox.push_back(Input::ChannelLost {
                    channel: ChannelId(u32::try_from(channel).unwrap()),
                    loss: Loss::Unfenced,
                });
            }
        }
        if std::mem::take(&mut self.blocked) {
            self.inbox.push_back(Input::Blocked(false));
        }
    }

    /// The process is killed: what the journal had not committed is owed again, and what was sent may still land.
    fn restart(&mut self, dice: &mut Dice) {
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
        // The law of P3 holds between the journal's recovery and the first new input, not within it.
        let mut out = Vec::new();
        while let Some(input) = self.inbox.pop_front() {
            self.dispatcher.step(self.now, input, &mut out);
        }
        if !out.is_empty() {
            self.broken(format!("recovery alone caused {out:?}"));
        }
    }

    fn withdraw(&mut self, dice: &mut Dice) {
        if !self.confirm_mode || self.accepted.is_empty() {
            return;
        }
        for _ in 0..=dice.below(4) {
            let id = dice.below(self.accepted.len());
            self.accepted[id].withdrawn = true;
            self.inbox.push_back(Input::Withdraw {
                delivery: DeliveryId(id as u64),
            });
        }
    }

    /// What nobody should say, and what must change nothing.
    fn speak_nonsense(&mut self, dice: &mut Dice) {
        let attempt = AttemptId(u64::MAX - dice.below(10) as u64);
        let delivery = DeliveryId(u64::MAX);
        self.inbox.extend([
            Input::Confirmed { attempt },
            Input::Nacked { attempt },
            Input::Returned { attempt },
            Input::NotSent { attempt },
            Input::AloneUnknown { attempt },
            Input::Withdraw { delivery },
            Input::Settled { delivery },
            Input::Rechecked {
                destination: DestinationId(99),
                usable: dice.one_in(2),
            },
            Input::ChannelLost {
                channel: ChannelId(99),
                loss: Loss::Unfenced,
            },
        ]);
        for channel in 0..CHANNELS {
            if self.sessions[channel].is_some() {
                self.inbox.push_back(Input::Opened {
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

    /// Time passes until the next thing is due, mostly not as long as a stall takes.
    fn wait(&mut self, dice: &mut Dice) {
        if let Some(deadline) = self.dispatcher.deadline()
            && (deadline < self.now + Duration::from_secs(6) || dice.one_in(4))
        {
            self.now = self.now.max(deadline);
        }
    }

    /// The end of a schedule (P4): all faults stop but those of one destination, and everything that does not wait
    /// for that one must drain; then its faults stop too, and everything must.
    pub(super) fn finish(&mut self, number: u64) {
        let mut dice = Dice::new(number);
        let bad = dice.below(DESTINATIONS.len());
        let bad_channel = usize::try_from(DESTINATIONS[bad].0).unwrap();
        self.moods = [Mood::Well; DESTINATIONS.len()];
        self.shut = [false; CHANNELS];
        // A channel that does not open and a queue that does not confirm hold their channel up, the others only
        // their destination.
        let whole_channel = match dice.below(4) {
            0 => {
                self.shut[bad_channel] = true;
                self.lose_settled(bad_channel, &mut dice);
                true
            }
            1 => {
                self.moods[bad] = Mood::Stuck;
                true
            }
            2 => {
                self.moods[bad] = Mood::Missing;
                false
            }
            _ => {
                self.moods[bad] = Mood::Full;
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
        self.moods = [Mood::Well; DESTINATIONS.len()];
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
        let mut waits = std::collections::BTreeSet::new();
        self.accepted.iter().all(|delivery| {
            if delivery.state != State::Pending {
                return true;
            }
            let lane = delivery.lane.map(|lane| (lane.family, lane.call));
            // What comes behind one that waits for the bad one waits with it.
            if is_bad(delivery.destination) || lane.is_some_and(|lane| waits.contains(&lane)) {
                waits.extend(lane);
                return true;
            }
            false
        })
    }

    /// Everybody does what they should until it is enough.
    fn drain(&mut self, dice: &mut Dice, enough: impl Fn(&Self) -> bool) {
        if std::mem::take(&mut self.blocked) {
            self.inbox.push_back(Input::Blocked(false));
        }
        for _ in 0..2_000 {
            if self.broken.is_some() || (self.inbox.is_empty() && enough(self)) {
                return;
            }
            self.close(dice);
            self.fence(dice);
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

    fn read_everything(&mut self, dice: &mut Dice) {
        let moods = self.moods;
        for channel in 0..CHANNELS {
            for _ in 0..8 {
                match self.sessions[channel]
                    .as_mut()
                    .and_then(|session| session.read(|queue| moods[queue]))
                {
                    Some(Taken::Landed(message)) => self.land(message),
                    Some(Taken::Refused) => self.refuse(channel, dice),
                    Some(Taken::Not) => {}
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
