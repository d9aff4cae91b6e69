//! The handles of an open journal: thin senders to the thread that owns the store.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, mpsc::Sender},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    dispatch::{ChannelId, DeliveryId, PendingDelivery},
    event::AppName,
    route::{Address, Destination, DestinationId, Target},
    status::{EventOutcome, Ledger, StallDetector},
};

use super::{
    Callback, DeliveryPayload, JournalRefusal, Receipt, Settlement,
    reply::{PendingReply, ReplyReceiver, ReplySender},
};

/// Callbacks that may wait for the writer; beyond that [`JournalRefusal::Busy`].
const WAITING_LIMIT: usize = 4_096;

/// Number of routing keys of one app from which on a new one does not become a destination of its own.
const KEYS_LIMIT: usize = 1_000;

/// The commands of the writer.
#[derive(Debug)]
pub(super) enum WriterCommand {
    Append(PendingCallback),
    Settle(Vec<Settlement>),
    Close,
}

/// A callback that waits for its answer.
#[derive(Debug)]
pub(super) struct PendingCallback {
    pub(super) callback: Arc<Callback>,
    pub(super) reply: PendingReply,
    /// Its permit among the callbacks that may wait. Held here and not by the caller: a sender that hangs up leaves its
    /// callback behind.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Where ingress offers callbacks.
#[derive(Clone, Debug)]
pub struct Intake {
    commands: Sender<WriterCommand>,
    room: Arc<Semaphore>,
    ledger: Arc<Ledger>,
    stall: Arc<StallDetector>,
    /// Where answers are collected for the thread that uses this intake.
    counter: Option<ReplySender>,
}

impl Intake {
    pub(super) fn new(
        commands: Sender<WriterCommand>,
        ledger: Arc<Ledger>,
        stall: Arc<StallDetector>,
    ) -> Self {
        Self {
            commands,
            room: Arc::new(Semaphore::new(WAITING_LIMIT)),
            ledger,
            stall,
            counter: None,
        }
    }

    /// The same intake for use on one thread, on which the receiver delivers the answers of one commit together.
    #[must_use]
    pub fn for_thread(&self) -> (Self, ReplyReceiver) {
        let (counter, mailbox) = ReplySender::open();
        let intake = Self {
            counter: Some(counter),
            ..self.clone()
        };
        (intake, mailbox)
    }

    /// Makes every event of `callback` durable, or none of them. The outcome of each of its events, including refusals,
    /// is counted in the ledger before the answer is given.
    ///
    /// # Errors
    /// Every [`JournalRefusal`]; the sender still owns the events.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the callback back: it may still become durable. This happens when a sender
    /// hangs up, and a resend is then a duplicate.
    pub async fn submit(&self, callback: Arc<Callback>) -> Result<Receipt, JournalRefusal> {
        let events = callback.offers.len();
        if self.stall.stall(Instant::now()).is_some() {
            return Err(self.refused(events, JournalRefusal::Stalled));
        }
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            return Err(self.refused(events, JournalRefusal::Busy));
        };
        let (waiting, answer) = oneshot::channel();
        let append = PendingCallback {
            callback,
            reply: PendingReply {
                waiting,
                counter: self.counter.clone(),
            },
            permit,
        };
        if self.commands.send(WriterCommand::Append(append)).is_err() {
            return Err(self.refused(events, JournalRefusal::Closing));
        }
        match answer.await {
            Ok(answer) => answer,
            // It was sent after the journal had been told to close.
            Err(_) => Err(self.refused(events, JournalRefusal::Closing)),
        }
    }

    /// Ends when a callback has waited long enough: after `limit`, or as soon as the journal is stalled. It may still
    /// become durable.
    pub async fn overdue(&self, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            let now = Instant::now();
            if now >= end || self.stall.stall(now).is_some() {
                return;
            }
            let due = self.stall.due(now).map_or(end, |due| due.min(end));
            tokio::time::sleep_until(due.into()).await;
        }
    }

    fn refused(&self, events: usize, refusal: JournalRefusal) -> JournalRefusal {
        self.ledger
            .decide(std::iter::repeat_n(EventOutcome::Refused, events));
        refusal
    }
}

/// Where publish reports the outcomes of deliveries. Bounded by what is in flight at the broker.
#[derive(Clone, Debug)]
pub struct SettlementSender(pub(super) Sender<WriterCommand>);

impl SettlementSender {
    /// Reports; the journal deletes the deliveries with its next commit. Never fails for the caller: after the journal
    /// has closed, what was reported is sent again by the next process.
    pub fn report(&self, settlements: Vec<Settlement>) {
        drop(self.0.send(WriterCommand::Settle(settlements)));
    }
}

/// All pending deliveries, oldest first at start, then as they are accepted. Bounded by `limit_deliveries`.
pub type Feed = mpsc::UnboundedReceiver<FeedItem>;

/// An item for the publisher.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// These deliveries are pending now, in order of admission.
    Pending(Vec<PendingDelivery>),
    /// It is durable that these are no longer pending: the next of their lanes may be sent. If it were sent earlier, a
    /// process that is killed in between would let the next process send an older event after a newer one.
    Settled(Vec<DeliveryId>),
    /// `confirm` mode: no callback waits for these any more.
    Withdraw(Vec<DeliveryId>),
}

/// Fetches the payload of a message.
#[derive(Clone)]
pub struct PayloadSource(pub(super) Arc<dyn FetchPayload>);

pub(super) trait FetchPayload: Send + Sync {
    fn fetch(&self, delivery: DeliveryId) -> Fetch;
}

/// A payload, now or later.
pub(super) enum Fetch {
    /// From memory.
    Ready(Result<DeliveryPayload, PayloadUnavailable>),
    /// The answer will come from the disk.
    Later(oneshot::Receiver<Result<DeliveryPayload, PayloadUnavailable>>),
}

/// Why there is no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadUnavailable {
    /// Its record is damaged on disk, counted and logged by the journal. Asking again does not help.
    #[error("the journal's record is damaged")]
    Unreadable,
    /// The disk cannot be read now, or the journal is closing: the record need not be damaged. Ask again later.
    #[error("the journal cannot be read for now")]
    NotNow,
}

impl PayloadSource {
    /// The payload of a pending delivery.
    ///
    /// # Errors
    /// [`PayloadUnavailable`]: whether to give up or to ask again.
    pub async fn fetch(&self, delivery: DeliveryId) -> Result<DeliveryPayload, PayloadUnavailable> {
        match self.0.fetch(delivery) {
            Fetch::Ready(payload) => payload,
            Fetch::Later(answer) => answer.await.unwrap_or(Err(PayloadUnavailable::NotNow)),
        }
    }
}

impl std::fmt::Debug for PayloadSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PayloadSource")
    }
}

/// Every destination with pending or past deliveries; only grows. A destination that is no longer referenced is dropped
/// at the next start.
#[derive(Clone, Debug, Default)]
pub struct Destinations(Arc<RwLock<DestinationTable>>);

#[derive(Debug, Default)]
struct DestinationTable {
    rows: Vec<Option<DestinationRow>>,
    ids: HashMap<Arc<Destination>, DestinationId>,
    channels: Vec<String>,
    channel_ids: HashMap<String, ChannelId>,
    family_ids: HashMap<String, u32>,
    shares: Vec<String>,
    share_ids: HashMap<String, ShareId>,
    /// How many routing keys this process has seen of each app.
    keys: HashMap<AppName, usize>,
}

#[derive(Clone, Debug)]
struct DestinationRow {
    destination: Arc<Destination>,
    channel: ChannelId,
    family: u32,
    share: ShareId,
}

/// The unit of a share of the journal, see [`Destination::share_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShareId(pub(super) u32);

/// A destination with the numbers that the dispatcher uses for it.
#[derive(Clone, Debug)]
pub(super) struct KnownDestination {
    pub(super) destination: Arc<Destination>,
    pub(super) channel: ChannelId,
    pub(super) family: u32,
    pub(super) share: ShareId,
}

/// The result of [`Destinations::intern_bounded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interning {
    /// The destination itself.
    Own(DestinationId),
    /// The unrouted queue, because the app has too many routing keys.
    Diverted(DestinationId),
}

impl Destinations {
    /// The destination with this id.
    #[must_use]
    pub fn get(&self, id: DestinationId) -> Option<Arc<Destination>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(id.0)
            .ok()
            .and_then(|index| table.rows.get(index)?.as_ref())
            .map(|row| row.destination.clone())
    }

    /// The name of a channel, as in [`Destination::channel_name`].
    #[must_use]
    pub fn channel_name(&self, id: ChannelId) -> Option<String> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(id.0)
            .ok()
            .and_then(|index| table.channels.get(index).cloned())
    }

    /// All current ones.
    #[must_use]
    pub fn all(&self) -> Vec<(DestinationId, Arc<Destination>)> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table
            .ids
            .iter()
            .map(|(destination, id)| (*id, destination.clone()))
            .collect()
    }

    /// The id of `destination`, a new one when it is seen for the first time.
    pub(super) fn intern(&self, destination: Destination) -> DestinationId {
        if let Some(id) = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .ids
            .get(&destination)
        {
            return *id;
        }
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .add(destination)
    }

    /// Restores a destination that had this id in an earlier process; in order of their ids. False if it cannot have
    /// had it.
    pub(super) fn restore(&self, id: DestinationId, destination: Destination) -> bool {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Ok(position) = usize::try_from(id.0) else {
            return false;
        };
        if position < table.rows.len() || table.ids.contains_key(&destination) {
            return false;
        }
        table.rows.resize(position, None);
        table.add(destination) == id
    }

    /// As [`Destinations::intern`], for a destination that an event of `app` has just named. Entries stay here, so
    /// beyond [`KEYS_LIMIT`] a new routing key of the app is [`Interning::Diverted`] to the unrouted queue.
    pub(super) fn intern_bounded(&self, app: &AppName, destination: Destination) -> Interning {
        if matches!(destination.address, Address::Exchange { .. }) {
            let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if !table.ids.contains_key(&destination) {
                let keys = table.keys.entry(app.clone()).or_default();
                if *keys >= KEYS_LIMIT {
                    drop(table);
                    return Interning::Diverted(self.intern(Target::unrouted().place(None)));
                }
                *keys += 1;
            }
        }
        Interning::Own(self.intern(destination))
    }

    pub(super) fn interned(&self, id: DestinationId) -> Option<KnownDestination> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let row = table.rows.get(usize::try_from(id.0).ok()?)?.clone()?;
        Some(KnownDestination {
            destination: row.destination,
            channel: row.channel,
            family: row.family,
            share: row.share,
        })
    }

    pub(super) fn share(&self, id: DestinationId) -> Option<ShareId> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let row = table.rows.get(usize::try_from(id.0).ok()?)?.as_ref()?;
        Some(row.share)
    }

    pub(super) fn share_name(&self, share: ShareId) -> Option<String> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.shares.get(usize::try_from(share.0).ok()?).cloned()
    }

    pub(super) fn count(&self) -> u32 {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        short(table.rows.len())
    }
}

impl DestinationTable {
    fn add(&mut self, destination: Destination) -> DestinationId {
        let destination = Arc::new(destination);
        let name = destination.channel_name();
        let channel = match self.channel_ids.get(&name) {
            Some(channel) => *channel,
            None => {
                let channel = ChannelId(short(self.channels.len()));
                self.channels.push(name.clone());
                self.channel_ids.insert(name, channel);
                channel
            }
        };
        let next_family = short(self.family_ids.len());
        let family = *self
            .family_ids
            .entry(destination.family.clone())
            .or_insert(next_family);
        let share = self.share(destination.share_name());
        let id = DestinationId(short(self.rows.len()));
        self.ids.insert(destination.clone(), id);
        self.rows.push(Some(DestinationRow {
            destination,
            channel,
            family,
            share,
        }));
        id
    }

    fn share(&mut self, name: String) -> ShareId {
        if let Some(share) = self.share_ids.get(&name) {
            return *share;
        }
        let share = ShareId(short(self.shares.len()));
        self.shares.push(name.clone());
        self.share_ids.insert(name, share);
        share
    }
}

fn short(count: usize) -> u32 {
    u32::try_from(count).expect("there are far less than 2^32 destinations")
}

/// An open journal.
#[derive(Debug)]
pub struct OpenJournal {
    /// The journal's UUID: `hookswitch-instance` and part of the fence's name.
    pub instance: uuid::Uuid,
    /// Grows with every opening of this journal: makes `hookswitch-delivery` unique across restarts.
    pub boot: u64,
    /// For ingress.
    pub intake: Intake,
    /// For publish.
    pub feed: Feed,
    /// For publish.
    pub settle: SettlementSender,
    /// For publish.
    pub payloads: PayloadSource,
    /// For publish.
    pub destinations: Destinations,
    /// For app.
    pub closer: JournalCloser,
}

#[derive(Debug)]
pub struct JournalCloser {
    pub(super) commands: Sender<WriterCommand>,
    pub(super) thread: std::thread::JoinHandle<()>,
}

impl JournalCloser {
    /// Accepts no more callbacks, commits what was sent before this call, closes the store and waits for its thread.
    /// Blocking: call it from a blocking context.
    pub fn close(self) {
        drop(self.commands.send(WriterCommand::Close));
        if self.thread.join().is_err() {
            tracing::error!("the journal thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Destination {
        let target = Target::Exchange {
            exchange: "x".into(),
            routing_key: format!("key.{n}").into(),
        };
        target.place(None)
    }

    fn app(name: &str) -> AppName {
        AppName::try_from(name.to_owned()).unwrap()
    }

    #[test]
    fn routing_keys_without_end_divert_their_own_app_only() {
        let destinations = Destinations::default();
        for n in 0..KEYS_LIMIT {
            destinations.intern_bounded(&app("a"), key(n));
        }
        let Interning::Own(known) = destinations.intern_bounded(&app("a"), key(7)) else {
            panic!("a known key was diverted");
        };
        assert_eq!(*destinations.get(known).unwrap(), key(7));
        for n in 0..100 {
            let key = key(KEYS_LIMIT + n);
            let Interning::Diverted(id) = destinations.intern_bounded(&app("a"), key.clone())
            else {
                panic!("{key:?} is its own");
            };
            let unrouted = Target::unrouted().place(None);
            assert_eq!(*destinations.get(id).unwrap(), unrouted);
        }
        assert_eq!(destinations.all().len(), KEYS_LIMIT + 1);
        let other = destinations.intern_bounded(&app("b"), key(KEYS_LIMIT));
        assert!(matches!(other, Interning::Own(_)));
    }

    #[test]
    fn ids_are_kept_across_destinations_that_were_left_out() {
        let destinations = Destinations::default();
        assert!(destinations.restore(DestinationId(2), key(2)));
        assert!(destinations.restore(DestinationId(5), key(5)));
        for (id, n) in [(5, 6), (4, 4), (9, 2)] {
            assert!(!destinations.restore(DestinationId(id), key(n)), "{id}");
        }
        assert_eq!(*destinations.get(DestinationId(5)).unwrap(), key(5));
        assert!(destinations.get(DestinationId(3)).is_none());
        assert!(destinations.interned(DestinationId(0)).is_none());
        assert_eq!(destinations.intern(key(6)), DestinationId(6));
    }
}
