//! The store of `confirm` mode: nothing on disk, a callback is answered once the broker has confirmed every delivery
//! of it, or refused at its timeout (docs/src/internals/confirm-mode.md).
//!
//! What is remembered of an event is its state at each of its destinations: a resend after a 503 is delivered only
//! where it is still pending, and waits for deliveries that are still in flight.

mod admit;
mod destination_limits;
mod settle;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, mpsc::UnboundedSender};

use crate::{
    admit::{Digester, DuplicateWindowName, LruSlot, LruTable, Offer},
    config,
    dispatch::{DeliveryId, PendingDelivery},
    route::DestinationId,
    status::{JournalState, LedgerCounts, LiveEvent, LiveStage},
};

use self::destination_limits::WaitingByShare;

use super::{
    DeliveryPayload, Destinations, FeedItem, Intake, JournalCloser, JournalError, JournalRefusal,
    OpenJournal, PayloadSource, Settlement, SettlementSender, StatusHandles,
    clock::{Clock, Machine},
    disk_state::PanicGuard,
    handles::{Fetch, FetchPayload, PayloadUnavailable, PendingCallback, ShareId, WriterCommand},
    index::PendingAmount,
    metrics::JournalMetrics,
    open::spawn,
    reply::PendingReply,
    routing_keys::RoutingKeys,
    stage::live_line,
};

const DAY: i64 = 24 * 60 * 60 * 1_000;
const MINUTE: i64 = 60 * 1_000;

/// Events remembered in each window.
const REMEMBERED_LIMIT: usize = 1_000_000;

/// Commands taken at once.
const GROUP_LIMIT: usize = 512;

/// How long the thread sleeps when no callback waits.
const IDLE: Duration = Duration::from_secs(60);

/// Approximate memory of a delivery besides its bytes.
const OVERHEAD_BYTES: u64 = 512;

/// Opens the store of `confirm` mode. Of `settings` only `limit_bytes` and `limit_deliveries` are used: they limit what
/// is held in memory. At most `waiting_limit` callbacks wait for one queue or exchange.
///
/// # Errors
/// [`JournalError::JournalDirectory`] if the system cannot start a thread.
pub fn volatile(
    confirm_timeout: Duration,
    waiting_limit: u64,
    settings: &config::Journal,
    status: &StatusHandles,
) -> Result<OpenJournal, JournalError> {
    volatile_on(
        Machine::default(),
        confirm_timeout,
        waiting_limit,
        settings,
        status,
    )
}

/// The same, with these clocks.
#[expect(
    clippy::disallowed_methods,
    reason = "the feed is bounded by limit_deliveries and limit_bytes"
)]
pub(super) fn volatile_on(
    machine: Machine,
    confirm_timeout: Duration,
    waiting_limit: u64,
    settings: &config::Journal,
    status: &StatusHandles,
) -> Result<OpenJournal, JournalError> {
    let clock = Clock::resume(machine, None, 0);
    let (commands, told) = mpsc::channel();
    let (feed_sender, feed) = tokio::sync::mpsc::unbounded_channel();
    let destinations = Destinations::default();
    let payloads = Arc::new(PayloadMemory::default());
    let metrics = JournalMetrics::register(&status.registry, settings.limit_bytes)
        .expect("the metrics are well named and a registry has one journal");
    let routing_keys = RoutingKeys::new(
        destinations.clone(),
        status.health.clone(),
        metrics.keys_diverted.clone(),
    );
    let store = ConfirmStore {
        metrics,
        timeout: confirm_timeout,
        waiting: WaitingByShare::new(waiting_limit, confirm_timeout / 2),
        limit: PendingAmount {
            bytes: settings.limit_bytes,
            deliveries: settings.limit_deliveries,
        },
        status: status.clone(),
        destinations: destinations.clone(),
        routing_keys,
        payloads: payloads.clone(),
        feed: feed_sender,
        digester: Digester::default(),
        now: clock.now(),
        clock,
        named: LruTable::new(),
        unnamed: LruTable::new(),
        callbacks: HashMap::new(),
        deadlines: VecDeque::new(),
        deliveries: HashMap::new(),
        bytes: 0,
        next_callback: 1,
        next_id: 1,
        full: None,
        owed: Vec::new(),
    };
    status.health.update(|view| {
        view.journal = JournalState::Writable;
        view.needs_broker = true;
    });
    let health = status.health.clone();
    let thread = spawn("confirm-store", &settings.path, move || {
        let _notice = PanicGuard(health);
        store.run(&told);
    })?;
    Ok(OpenJournal {
        instance: uuid::Uuid::new_v4(),
        boot: 1,
        intake: Intake::new(commands.clone(), status.ledger.clone(), Arc::default()),
        feed,
        settle: SettlementSender(commands.clone()),
        payloads: PayloadSource(payloads),
        destinations,
        closer: JournalCloser { commands, thread },
    })
}

/// The payloads of all deliveries in flight.
#[derive(Debug, Default)]
struct PayloadMemory(Mutex<HashMap<DeliveryId, DeliveryPayload>>);

impl PayloadMemory {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<DeliveryId, DeliveryPayload>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl FetchPayload for PayloadMemory {
    fn fetch(&self, delivery: DeliveryId) -> Fetch {
        let payload = self.with(|payloads| payloads.get(&delivery).cloned());
        Fetch::Ready(payload.ok_or(PayloadUnavailable::Unreadable))
    }
}

/// An event in the duplicate window.
#[derive(Debug, Default)]
struct KnownEvent {
    places: Vec<DeliveryPlace>,
    /// Callbacks that wait for it, in order of arrival; once for each time that they contain it.
    waiters: Vec<u64>,
    /// A callback with it was answered 2xx: from then on it is a duplicate.
    answered: bool,
}

impl KnownEvent {
    fn is_complete(&self) -> bool {
        self.places
            .iter()
            .all(|place| place.state == DeliveryProgress::Delivered)
    }
}

#[derive(Clone, Copy, Debug)]
struct DeliveryPlace {
    destination: DestinationId,
    state: DeliveryProgress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeliveryProgress {
    /// Pending, and no delivery is trying.
    Pending,
    InFlightDelivery(DeliveryId),
    Delivered,
}

/// One event; pinned while one of these is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EventSlot {
    window: DuplicateWindowName,
    slot: LruSlot,
}

/// A callback that waits for the broker.
#[derive(Debug)]
struct WaitingCallback {
    reply: PendingReply,
    /// Released with the answer.
    _permit: OwnedSemaphorePermit,
    events: Vec<WaitedEvent>,
    /// The shares of its destinations.
    shares: Vec<ShareId>,
    /// Events of it that are not complete.
    open: usize,
}

#[derive(Debug)]
struct WaitedEvent {
    which: EventSlot,
    quarantined: bool,
    /// For `hookswitch tail`, if there was a listener when it arrived.
    line: Option<Box<LiveEvent>>,
}

/// A delivery that was handed to the publisher.
#[derive(Debug)]
struct InFlightDelivery {
    which: EventSlot,
    /// Its index among those of its event.
    place: usize,
    /// No callback waits for it: if it has not been sent yet, it will not be.
    withdrawn: bool,
    bytes: u64,
    owed: PendingDelivery,
}

#[derive(Debug)]
struct ConfirmStore {
    timeout: Duration,
    waiting: WaitingByShare,
    limit: PendingAmount,
    metrics: JournalMetrics,
    status: StatusHandles,
    destinations: Destinations,
    routing_keys: RoutingKeys,
    payloads: Arc<PayloadMemory>,
    feed: UnboundedSender<FeedItem>,
    digester: Digester,
    /// For this process only, like everything here.
    clock: Clock,
    now: i64,
    named: LruTable<u128, KnownEvent>,
    unnamed: LruTable<u128, KnownEvent>,
    callbacks: HashMap<u64, WaitingCallback>,
    /// All callbacks have the same timeout, so they are in the order of their deadlines.
    deadlines: VecDeque<(Instant, u64)>,
    deliveries: HashMap<DeliveryId, InFlightDelivery>,
    bytes: u64,
    next_callback: u64,
    next_id: u64,
    /// The amount for which there was no room.
    full: Option<PendingAmount>,
    /// For the next item of the feed.
    owed: Vec<PendingDelivery>,
}

impl ConfirmStore {
    fn run(mut self, commands: &Receiver<WriterCommand>) {
        loop {
            let timeout = self.deadlines.front().map_or(IDLE, |(deadline, _)| {
                deadline.saturating_duration_since(Instant::now())
            });
            let mut appends = Vec::new();
            let mut closing = false;
            match commands.recv_timeout(timeout) {
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
            appends.sort_by_key(|append: &PendingCallback| append.callback.arrival);
            for append in appends {
                self.append(append);
            }
            self.deliver();
            self.report_space();
            if closing {
                break;
            }
        }
        let waiting: Vec<u64> = self.callbacks.keys().copied().collect();
        for callback in waiting {
            self.refuse_waiting(callback, JournalRefusal::Closing);
        }
    }

    /// Settles at once what is settled, sets aside what is offered. True when it is time to stop.
    fn take(&mut self, command: WriterCommand, appends: &mut Vec<PendingCallback>) -> bool {
        match command {
            WriterCommand::Append(append) => appends.push(append),
            WriterCommand::Settle(settlements) => {
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
            WriterCommand::Close => return true,
        }
        false
    }

    fn window_table(&mut self, window: DuplicateWindowName) -> &mut LruTable<u128, KnownEvent> {
        match window {
            DuplicateWindowName::Named => &mut self.named,
            DuplicateWindowName::Unnamed => &mut self.unnamed,
        }
    }

    fn known(&mut self, which: EventSlot) -> &mut KnownEvent {
        self.window_table(which.window).value_mut(which.slot)
    }

    fn append(&mut self, append: PendingCallback) {
        let PendingCallback {
            callback,
            reply,
            permit,
        } = append;
        self.begin(self.clock.now());
        let refusal = self
            .no_space(&callback.offers)
            .or_else(|| self.is_held_up(&callback))
            .or_else(|| self.would_overtake_itself(&callback));
        if let Some(refusal) = refusal {
            self.update(|counts| refuse(counts, callback.offers.len()));
            reply.send(Err(refusal));
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
            let line = self.status.live.has_listeners().then(|| {
                let stage = match offer.facts.quarantine {
                    Some(_) => LiveStage::Quarantined,
                    None => LiveStage::Accepted,
                };
                let call = offer.own_key();
                Box::new(live_line(stage, (&offer.facts, call.as_ref()), None))
            });
            events.push(WaitedEvent {
                which,
                quarantined: offer.facts.quarantine.is_some(),
                line,
            });
        }
        let shares = self.shares(&events);
        self.waiting.begin(&shares);
        self.callbacks.insert(
            id,
            WaitingCallback {
                reply,
                _permit: permit,
                events,
                shares,
                open,
            },
        );
        self.deadlines
            .push_back((Instant::now() + self.timeout, id));
        if open == 0 {
            self.answer(id);
        }
    }

    fn set(&mut self, which: EventSlot, place: usize, state: DeliveryProgress) {
        if let Some(place) = self.known(which).places.get_mut(place) {
            place.state = state;
        }
    }

    fn refuse_waiting(&mut self, callback: u64, refusal: JournalRefusal) {
        let Some(waiting) = self.callbacks.remove(&callback) else {
            return;
        };
        self.waiting.end(&waiting.shares);
        let mut withdrawn = Vec::new();
        for event in &waiting.events {
            let known = self.known(event.which);
            let others = known.waiters.iter().any(|id| *id != callback);
            let under_way: HashSet<DeliveryId> = known
                .places
                .iter()
                .filter_map(|place| match place.state {
                    DeliveryProgress::InFlightDelivery(delivery) if !others => Some(delivery),
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
        self.update(|counts| refuse(counts, waiting.events.len()));
        waiting.reply.send(Err(refusal));
        if !withdrawn.is_empty() {
            // A withdrawn delivery may not have been handed out yet.
            self.deliver();
            // The last ones first: if the head of a lane were withdrawn alone, the next one would be sent in its place.
            withdrawn.sort_unstable_by(|one, other| other.cmp(one));
            drop(self.feed.send(FeedItem::Withdraw(withdrawn)));
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((deadline, callback)) = self.deadlines.front().copied() {
            // Answered ones are dropped along the way: they hold nothing, but they would make the queue long.
            if deadline > now && self.callbacks.contains_key(&callback) {
                break;
            }
            self.deadlines.pop_front();
            self.refuse_waiting(callback, JournalRefusal::NotConfirmed);
        }
    }

    /// Advances the time; entries outside the windows are dropped.
    fn begin(&mut self, now: i64) {
        self.now = self.now.max(now);
        let mut early = 0;
        for (window_table, span) in [(&mut self.named, DAY), (&mut self.unnamed, MINUTE)] {
            while let Some((slot, used)) = window_table.oldest() {
                if used.saturating_add(span) > self.now {
                    if window_table.len() <= REMEMBERED_LIMIT {
                        break;
                    }
                    early += 1;
                }
                window_table.remove(slot);
            }
        }
        self.metrics.duplicates_evicted.inc_by(early);
    }

    /// Counts each event as new: near the limit a resend may be refused once more, which is acceptable.
    fn no_space(&mut self, offers: &[Offer]) -> Option<JournalRefusal> {
        let mut needed = PendingAmount::default();
        for offer in offers {
            let targets = offer.targets.len() as u64;
            needed.bytes += targets * size(&offer.body);
            needed.deliveries += targets;
        }
        if let Some(bound) = PendingAmount::default().exceeds(needed, self.limit) {
            return Some(JournalRefusal::NeverFits(bound));
        }
        let bound = self.held().exceeds(needed, self.limit)?;
        self.full = Some(needed);
        Some(JournalRefusal::Full(bound))
    }

    /// The amount in flight.
    fn held(&self) -> PendingAmount {
        PendingAmount {
            bytes: self.bytes,
            deliveries: self.deliveries.len() as u64,
        }
    }

    fn report_space(&mut self) {
        if let Some(needed) = self.full
            && self.held().exceeds(needed, self.limit).is_none()
        {
            self.full = None;
        }
        let state = if self.full.is_some() {
            JournalState::Full
        } else {
            JournalState::Writable
        };
        self.status.health.update(|view| view.journal = state);
        self.metrics
            .gauges
            .bytes
            .store(self.bytes, Ordering::Relaxed);
    }

    fn deliver(&mut self) {
        if !self.owed.is_empty() {
            // The publisher has ended: the callbacks run into their timeout.
            drop(
                self.feed
                    .send(FeedItem::Pending(std::mem::take(&mut self.owed))),
            );
        }
    }

    fn update(&self, change: impl FnOnce(&mut LedgerCounts)) {
        self.status.ledger.update(change);
    }
}

fn refuse(counts: &mut LedgerCounts, events: usize) {
    counts.received += events as u64;
    counts.refused += events as u64;
}

fn size(body: &[u8]) -> u64 {
    body.len() as u64 + OVERHEAD_BYTES
}
