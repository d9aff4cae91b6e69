//! The store of `confirm` mode: nothing on disk, a callback is answered once the broker has confirmed every delivery
//! of it, or refused at its timeout (design 6, last part).
//!
//! What is remembered of an event is what became of it at each of its destinations: a resend after a 503 is delivered
//! only where that is still owed, and waits for what is still under way.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, mpsc::UnboundedSender, oneshot};

use crate::{
    admit::{CallRule, Digester, Offer, Shelf, Slot, WindowName},
    config,
    dispatch::{DeliveryId, Lane, Owed, RecordId, Refused},
    event::CallKey,
    ops::{Counts, JournalState, LiveEvent, LiveStage},
    route::{Destination, DestinationId},
};

use super::{
    Admitted, Boards, Callback, Closer, Destinations, FeedItem, Intake, JournalError, Opened,
    Parcel, Parcels, Receipt, Record, Refusal, Settle, Settlement,
    doors::{Append, Command, FetchParcel},
    open::spawn,
    poison,
    stage::{facts, live_line, outcome, own},
    trouble::PanicNotice,
};

const DAY: i64 = 24 * 60 * 60 * 1_000;
const MINUTE: i64 = 60 * 1_000;

/// Events remembered in each window.
const REMEMBERED_LIMIT: usize = 1_000_000;

/// Commands taken at once.
const GROUP_LIMIT: usize = 512;

/// How long the keeper sleeps when nobody waits.
const IDLE: Duration = Duration::from_secs(60);

/// What a delivery takes besides its bytes, roughly.
const OVERHEAD_BYTES: u64 = 512;

/// Opens the store of `confirm` mode. Of `settings` only `limit_bytes` and `limit_deliveries` count: what may be held
/// in memory.
///
/// # Errors
/// [`JournalError::Directory`] where the system gives no thread.
#[expect(
    clippy::disallowed_methods,
    reason = "the feed is bounded by limit_deliveries and limit_bytes"
)]
pub fn volatile(
    confirm_timeout: Duration,
    settings: &config::Journal,
    boards: &Boards,
) -> Result<Opened, JournalError> {
    let (commands, told) = mpsc::channel();
    let (feed_sender, feed) = tokio::sync::mpsc::unbounded_channel();
    let destinations = Destinations::default();
    let parcels = Arc::new(Memory::default());
    let keeper = Keeper {
        timeout: confirm_timeout,
        limit_bytes: settings.limit_bytes,
        limit_deliveries: settings.limit_deliveries,
        boards: boards.clone(),
        destinations: destinations.clone(),
        parcels: parcels.clone(),
        feed: feed_sender,
        digester: Digester::default(),
        now: 0,
        named: Shelf::new(),
        unnamed: Shelf::new(),
        callbacks: HashMap::new(),
        deadlines: VecDeque::new(),
        deliveries: HashMap::new(),
        bytes: 0,
        next_callback: 1,
        next_id: 1,
        full: false,
        owed: Vec::new(),
    };
    boards.health.update(|view| {
        view.journal = JournalState::Writable;
        view.needs_broker = true;
    });
    let health = boards.health.clone();
    let thread = spawn("confirm-keeper", &settings.path, move || {
        let _notice = PanicNotice(health);
        keeper.run(&told);
    })?;
    Ok(Opened {
        instance: uuid::Uuid::new_v4(),
        boot: 1,
        intake: Intake::new(commands.clone(), boards.ledger.clone()),
        feed,
        settle: Settle(commands.clone()),
        parcels: Parcels(parcels),
        destinations,
        closer: Closer { commands, thread },
    })
}

/// The parcels of everything that is under way.
#[derive(Debug, Default)]
struct Memory(Mutex<HashMap<DeliveryId, Parcel>>);

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<DeliveryId, Parcel>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl FetchParcel for Memory {
    fn fetch(
        &self,
        delivery: DeliveryId,
    ) -> Result<Option<Parcel>, oneshot::Receiver<Option<Parcel>>> {
        Ok(self.with(|parcels| parcels.get(&delivery).cloned()))
    }
}

/// An event in the duplicate window.
#[derive(Debug, Default)]
struct Known {
    places: Vec<Place>,
    /// Callbacks that wait for it, in order of arrival; once for each time that it stands in them.
    waiters: Vec<u64>,
    /// A callback with it was answered 2xx: from then on it is a duplicate.
    answered: bool,
}

impl Known {
    fn is_complete(&self) -> bool {
        self.places
            .iter()
            .all(|place| place.state == State::Delivered)
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    destination: DestinationId,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody tries.
    Owed,
    UnderWay(DeliveryId),
    Delivered,
}

/// Which event; pinned while anybody holds one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Which {
    window: WindowName,
    slot: Slot,
}

/// A callback that waits for the broker.
#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Result<Receipt, Refusal>>,
    /// Given back with the answer.
    _place: OwnedSemaphorePermit,
    events: Vec<Waited>,
    /// Events of it that are not complete.
    open: usize,
}

#[derive(Debug)]
struct Waited {
    which: Which,
    quarantined: bool,
    /// For `hookswitch tail`, where somebody listened when it came.
    line: Option<Box<LiveEvent>>,
}

/// A delivery that the publisher has.
#[derive(Debug)]
struct UnderWay {
    which: Which,
    /// Its place among those of its event.
    place: usize,
    /// Nobody waits for it: where it was not sent yet it will not be.
    withdrawn: bool,
    bytes: u64,
    owed: Owed,
}

#[derive(Debug)]
struct Keeper {
    timeout: Duration,
    limit_bytes: u64,
    limit_deliveries: u64,
    boards: Boards,
    destinations: Destinations,
    parcels: Arc<Memory>,
    feed: UnboundedSender<FeedItem>,
    digester: Digester,
    now: i64,
    named: Shelf<u128, Known>,
    unnamed: Shelf<u128, Known>,
    callbacks: HashMap<u64, Waiting>,
    /// All callbacks have the same time, so they stand in the order of their deadlines.
    deadlines: VecDeque<(Instant, u64)>,
    deliveries: HashMap<DeliveryId, UnderWay>,
    bytes: u64,
    next_callback: u64,
    next_id: u64,
    full: bool,
    /// For the next item of the feed.
    owed: Vec<Owed>,
}

impl Keeper {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let patience = self.deadlines.front().map_or(IDLE, |(deadline, _)| {
                deadline.saturating_duration_since(Instant::now())
            });
            let mut appends = Vec::new();
            let mut closing = false;
            match commands.recv_timeout(patience) {
                Ok(command) => {
                    closing = self.take(command, &mut appends);
                    let mut count = 1;
                    while count < GROUP_LIMIT
                        && !closing
                        && let Ok(command) = commands.try_recv()
                    {
                        closing = self.take(command, &mut appends);
                        count += 1;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => closing = true,
            }
            self.expire();
            appends.sort_by_key(|append: &Append| append.callback.arrival);
            for append in appends {
                self.append(append);
            }
            self.hand_out();
            self.show_room();
            if closing {
                break;
            }
        }
        let waiting: Vec<u64> = self.callbacks.keys().copied().collect();
        for callback in waiting {
            self.refuse_waiting(callback, Refusal::Closing);
        }
    }

    /// Settles at once what is settled, sets aside what is offered. True when it is time to stop.
    fn take(&mut self, command: Command, appends: &mut Vec<Append>) -> bool {
        match command {
            Command::Append(append) => appends.push(append),
            Command::Settle(settlements) => {
                for settlement in settlements {
                    match settlement {
                        Settlement::Delivered(delivery) => self.delivered(delivery),
                        Settlement::Poisoned(delivery, refused) => {
                            self.poisoned(delivery, &refused);
                        }
                        Settlement::Forgotten(delivery) => self.forgotten(delivery),
                    }
                }
            }
            Command::Close => return true,
        }
        false
    }

    fn shelf(&mut self, window: WindowName) -> &mut Shelf<u128, Known> {
        match window {
            WindowName::Named => &mut self.named,
            WindowName::Unnamed => &mut self.unnamed,
        }
    }

    fn known(&mut self, which: Which) -> &mut Known {
        self.shelf(which.window).value_mut(which.slot)
    }

    fn append(&mut self, append: Append) {
        let Append {
            callback,
            reply,
            place,
        } = append;
        self.begin(callback.received.as_millisecond());
        if let Some(refusal) = self.no_room(&callback.offers) {
            self.book(|counts| refuse(counts, callback.offers.len()));
            drop(reply.send(Err(refusal)));
            return;
        }
        let id = self.next_callback;
        self.next_callback += 1;
        let mut events = Vec::with_capacity(callback.offers.len());
        let mut open = 0;
        for offer in &callback.offers {
            let which = self.admit(&callback, offer);
            let known = self.known(which);
            known.waiters.push(id);
            if !known.is_complete() {
                open += 1;
            }
            let line = self.boards.live.has_listeners().then(|| {
                let facts = facts(&callback, offer, own_key(offer));
                let stage = match offer.quarantine {
                    Some(_) => LiveStage::Quarantined,
                    None => LiveStage::Accepted,
                };
                Box::new(live_line(stage, &facts, None))
            });
            events.push(Waited {
                which,
                quarantined: offer.quarantine.is_some(),
                line,
            });
        }
        self.callbacks.insert(
            id,
            Waiting {
                reply,
                _place: place,
                events,
                open,
            },
        );
        self.deadlines
            .push_back((Instant::now() + self.timeout, id));
        if open == 0 {
            self.answer(id);
        }
    }

    /// Finds or makes what is known of an event, and sends it where it is owed and nobody tries. The answer is pinned.
    fn admit(&mut self, callback: &Callback, offer: &Offer) -> Which {
        let (window, key) = self.digester.identity(&callback.app, &offer.identity);
        let now = self.now;
        let shelf = self.shelf(window);
        let slot = shelf
            .find(&key)
            .unwrap_or_else(|| shelf.insert(key, Known::default(), now));
        shelf.pin(slot);
        let which = Which { window, slot };
        if self.known(which).answered {
            return which;
        }
        let call = own_key(offer);
        let lane = call.as_ref().map(|key| self.lane(callback, key));
        let targets: Vec<Destination> = offer
            .targets
            .iter()
            .map(|target| target.place(call.as_ref()))
            .collect();
        let mut record = None;
        for target in targets {
            let destination = self.destinations.intern(target);
            let known = self.known(which);
            let place = match known
                .places
                .iter()
                .position(|place| place.destination == destination)
            {
                Some(place) => place,
                None => {
                    known.places.push(Place {
                        destination,
                        state: State::Owed,
                    });
                    known.places.len() - 1
                }
            };
            if known.places.get(place).map(|place| place.state) == Some(State::Owed) {
                let record = record.get_or_insert_with(|| {
                    Arc::new(Record {
                        id: RecordId(self.next_id),
                        facts: facts(callback, offer, call.clone()),
                        body: own(&offer.body),
                    })
                });
                let record = record.clone();
                self.send(which, place, destination, lane, record);
            }
        }
        which
    }

    fn lane(&mut self, callback: &Callback, key: &CallKey) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "half of a digest is a digest; two calls that share one would only wait for each other"
        )]
        let call = self.digester.call(&callback.app, key) as u64;
        call
    }

    fn send(
        &mut self,
        which: Which,
        place: usize,
        destination: DestinationId,
        call: Option<u64>,
        record: Arc<Record>,
    ) {
        let Some(interned) = self.destinations.interned(destination) else {
            return;
        };
        let parcel = Parcel {
            record,
            destination: interned.destination,
            sequence: None,
            moved: None,
        };
        let lane = call.map(|call| Lane {
            family: interned.family,
            call,
        });
        let owed = Owed {
            delivery: DeliveryId(0),
            destination,
            channel: interned.channel,
            lane,
            unknown: false,
        };
        self.under_way(which, place, owed, parcel);
    }

    /// Gives a delivery to the publisher under a new id.
    fn under_way(&mut self, which: Which, place: usize, owed: Owed, parcel: Parcel) {
        let delivery = DeliveryId(self.next_id);
        self.next_id += 1;
        let owed = Owed { delivery, ..owed };
        let bytes = size(&parcel.record.body);
        self.bytes += bytes;
        self.set(which, place, State::UnderWay(delivery));
        self.shelf(which.window).pin(which.slot);
        self.parcels
            .with(|parcels| parcels.insert(delivery, parcel));
        self.deliveries.insert(
            delivery,
            UnderWay {
                which,
                place,
                withdrawn: false,
                bytes,
                owed,
            },
        );
        self.owed.push(owed);
    }

    fn set(&mut self, which: Which, place: usize, state: State) {
        if let Some(place) = self.known(which).places.get_mut(place) {
            place.state = state;
        }
    }

    /// Takes a delivery out; its event stays pinned for the caller.
    fn remove(&mut self, delivery: DeliveryId) -> Option<(UnderWay, Option<Parcel>)> {
        let under_way = self.deliveries.remove(&delivery)?;
        self.bytes -= under_way.bytes;
        let parcel = self.parcels.with(|parcels| parcels.remove(&delivery));
        Some((under_way, parcel))
    }

    fn delivered(&mut self, delivery: DeliveryId) {
        let Some((under_way, parcel)) = self.remove(delivery) else {
            return;
        };
        // What is owed is booked when it is settled: nothing is ever pending in these books.
        self.book(|counts| {
            counts.owed += 1;
            counts.delivered += 1;
        });
        if let Some(parcel) = &parcel {
            self.boards
                .live
                .send(|| live_line(LiveStage::Delivered, &parcel.record.facts, Some(parcel)));
        }
        let which = under_way.which;
        self.set(which, under_way.place, State::Delivered);
        let known = self.known(which);
        let waiters = if known.is_complete() {
            known.waiters.clone()
        } else {
            Vec::new()
        };
        for callback in waiters {
            if let Some(waiting) = self.callbacks.get_mut(&callback) {
                waiting.open -= 1;
                if waiting.open == 0 {
                    self.answer(callback);
                }
            }
        }
        self.release(which);
    }

    fn forgotten(&mut self, delivery: DeliveryId) {
        let Some((under_way, parcel)) = self.remove(delivery) else {
            return;
        };
        let which = under_way.which;
        self.set(which, under_way.place, State::Owed);
        // A resend came while it was being withdrawn, and waits.
        if !self.known(which).waiters.is_empty()
            && let Some(parcel) = parcel
        {
            self.under_way(which, under_way.place, under_way.owed, parcel);
        }
        self.release(which);
    }

    fn poisoned(&mut self, delivery: DeliveryId, refused: &Refused) {
        let Some((under_way, parcel)) = self.remove(delivery) else {
            return;
        };
        let UnderWay { which, place, .. } = under_way;
        self.set(which, place, State::Owed);
        let quarantine = poison::quarantine();
        match parcel {
            Some(parcel) if *parcel.destination == quarantine => {
                tracing::error!(
                    code = refused.code,
                    text = refused.text,
                    "the broker refused a delivery to the quarantine itself: its callback will be refused"
                );
            }
            Some(parcel) if !self.known(which).waiters.is_empty() => {
                let destination = self.destinations.intern(quarantine);
                if let Some(interned) = self.destinations.interned(destination) {
                    self.book(|counts| {
                        counts.owed += 1;
                        counts.moved += 1;
                    });
                    let parcel = Parcel {
                        destination: interned.destination,
                        moved: Some(poison::note(refused)),
                        ..parcel
                    };
                    self.boards.live.send(|| {
                        live_line(LiveStage::Quarantined, &parcel.record.facts, Some(&parcel))
                    });
                    let owed = Owed {
                        destination,
                        channel: interned.channel,
                        lane: None,
                        ..under_way.owed
                    };
                    self.under_way(which, place, owed, parcel);
                }
            }
            // Nobody waits for it any more; a resend finds out again.
            _ => {}
        }
        self.release(which);
    }

    /// Takes one pin from an event. What nobody needs and no destination has is forgotten: a refused event never
    /// enters the window.
    fn release(&mut self, which: Which) {
        let now = self.now;
        let known = self.known(which);
        let has_delivered = known
            .places
            .iter()
            .any(|place| place.state == State::Delivered);
        let idle = known.waiters.is_empty()
            && !known
                .places
                .iter()
                .any(|place| matches!(place.state, State::UnderWay(_)));
        if known.answered && idle {
            known.places = Vec::new();
            known.waiters = Vec::new();
        }
        let forget = idle && !known.answered && !has_delivered;
        let shelf = self.shelf(which.window);
        shelf.unpin(which.slot, now);
        if forget && !shelf.is_pinned(which.slot) {
            shelf.remove(which.slot);
        }
    }

    /// Every delivery of the callback is confirmed.
    fn answer(&mut self, callback: u64) {
        let Some(waiting) = self.callbacks.remove(&callback) else {
            return;
        };
        let mut outcomes = Vec::with_capacity(waiting.events.len());
        for event in &waiting.events {
            let known = self.known(event.which);
            outcomes.push(if std::mem::replace(&mut known.answered, true) {
                Admitted::Duplicate
            } else if event.quarantined {
                Admitted::Quarantined
            } else {
                Admitted::Accepted
            });
        }
        for (event, admitted) in waiting.events.into_iter().zip(&outcomes) {
            self.leave(event.which, callback);
            if let Some(line) = event.line
                && *admitted != Admitted::Duplicate
            {
                self.boards.live.send(|| *line);
            }
        }
        self.boards
            .ledger
            .decide(outcomes.iter().copied().map(outcome));
        drop(waiting.reply.send(Ok(Receipt { outcomes })));
    }

    /// The callback waits for this event no longer.
    fn leave(&mut self, which: Which, callback: u64) {
        let known = self.known(which);
        if let Some(place) = known.waiters.iter().position(|id| *id == callback) {
            known.waiters.remove(place);
        }
        self.release(which);
    }

    fn refuse_waiting(&mut self, callback: u64, refusal: Refusal) {
        let Some(waiting) = self.callbacks.remove(&callback) else {
            return;
        };
        let mut withdrawn = Vec::new();
        for event in &waiting.events {
            let known = self.known(event.which);
            let others = known.waiters.iter().any(|id| *id != callback);
            let under_way: HashSet<DeliveryId> = known
                .places
                .iter()
                .filter_map(|place| match place.state {
                    State::UnderWay(delivery) if !others => Some(delivery),
                    _ => None,
                })
                .collect();
            for delivery in under_way {
                if let Some(found) = self.deliveries.get_mut(&delivery)
                    && !std::mem::replace(&mut found.withdrawn, true)
                {
                    withdrawn.push(delivery);
                }
            }
            self.leave(event.which, callback);
        }
        self.book(|counts| refuse(counts, waiting.events.len()));
        drop(waiting.reply.send(Err(refusal)));
        if !withdrawn.is_empty() {
            // What is withdrawn may not have been handed out yet.
            self.hand_out();
            withdrawn.sort_unstable();
            drop(self.feed.send(FeedItem::Withdraw(withdrawn)));
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((deadline, callback)) = self.deadlines.front().copied() {
            // Answered ones are dropped on the way: they hold nothing, but they would make the queue long.
            if deadline > now && self.callbacks.contains_key(&callback) {
                break;
            }
            self.deadlines.pop_front();
            self.refuse_waiting(callback, Refusal::NotConfirmed);
        }
    }

    /// Time goes on; what is out of the windows is forgotten.
    fn begin(&mut self, now: i64) {
        self.now = self.now.max(now);
        let mut early = 0;
        for (shelf, span) in [(&mut self.named, DAY), (&mut self.unnamed, MINUTE)] {
            while let Some((slot, used)) = shelf.oldest() {
                if used.saturating_add(span) > self.now {
                    if shelf.len() <= REMEMBERED_LIMIT {
                        break;
                    }
                    early += 1;
                }
                shelf.remove(slot);
            }
        }
        if early > 0 {
            tracing::debug!(early, "events left the duplicate window early");
        }
    }

    /// Counts each event as new: near the bound a resend may be refused once more, which it can bear.
    fn no_room(&mut self, offers: &[Offer]) -> Option<Refusal> {
        let mut needed = 0;
        let mut deliveries = 0;
        for offer in offers {
            let targets = offer.targets.len() as u64;
            needed += targets * size(&offer.body);
            deliveries += targets;
        }
        for (used, needed, limit, unit) in [
            (self.bytes, needed, self.limit_bytes, "bytes"),
            (
                self.deliveries.len() as u64,
                deliveries,
                self.limit_deliveries,
                "deliveries",
            ),
        ] {
            if used + needed > limit {
                self.full = true;
                return Some(Refusal::Full { used, limit, unit });
            }
        }
        None
    }

    fn show_room(&mut self) {
        if self.full && self.bytes < self.limit_bytes / 2 {
            self.full = false;
        }
        let state = if self.full {
            JournalState::Full
        } else {
            JournalState::Writable
        };
        self.boards.health.update(|view| view.journal = state);
    }

    fn hand_out(&mut self) {
        if !self.owed.is_empty() {
            // Nobody publishes any more: the callbacks run into their timeout.
            drop(
                self.feed
                    .send(FeedItem::Owed(std::mem::take(&mut self.owed))),
            );
        }
    }

    fn book(&self, change: impl FnOnce(&mut Counts)) {
        self.boards.ledger.book(change);
    }
}

fn refuse(counts: &mut Counts, events: usize) {
    counts.received += events as u64;
    counts.refused += events as u64;
}

fn size(body: &[u8]) -> u64 {
    body.len() as u64 + OVERHEAD_BYTES
}

/// The call key as a function of the event alone: every replica makes the same.
fn own_key(offer: &Offer) -> Option<CallKey> {
    if offer.quarantine.is_some() {
        return None;
    }
    match &offer.call {
        CallRule::Auto(ids) => ids.own_key(),
        CallRule::Path(key) => key.clone(),
    }
}
