//! The handles of an open journal: thin senders to the thread that owns the store.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    dispatch::{ChannelId, DeliveryId, Owed},
    route::{Destination, DestinationId},
};

use super::{Callback, Parcel, Receipt, Refusal, Settlement};

/// Callbacks that may wait for the writer; beyond that [`Refusal::Busy`].
const WAITING_LIMIT: usize = 4_096;

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        callback: Callback,
        reply: oneshot::Sender<Result<Receipt, Refusal>>,
    },
    Settle(Vec<Settlement>),
    Close,
}

/// Where ingress offers callbacks.
#[derive(Clone, Debug)]
pub struct Intake {
    commands: mpsc::UnboundedSender<Command>,
    room: Arc<Semaphore>,
}

impl Intake {
    pub(super) fn new(commands: mpsc::UnboundedSender<Command>) -> Self {
        Self {
            commands,
            room: Arc::new(Semaphore::new(WAITING_LIMIT)),
        }
    }

    /// Makes every event of `callback` durable, or nothing of it.
    ///
    /// # Errors
    /// Every [`Refusal`]; the sender still owns the events.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the callback back: it may still become durable. That is what happens when a
    /// sender hangs up, and a resend is then a duplicate.
    pub async fn submit(&self, callback: Callback) -> Result<Receipt, Refusal> {
        let Ok(_place) = self.room.try_acquire() else {
            return Err(Refusal::Busy);
        };
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Append { callback, reply })
            .map_err(|_| Refusal::Closing)?;
        answer.await.unwrap_or(Err(Refusal::Closing))
    }
}

/// Where publish reports what became of deliveries. Bounded by what is in flight at the broker.
#[derive(Clone, Debug)]
pub struct Settle(pub(super) mpsc::UnboundedSender<Command>);

impl Settle {
    /// Reports; the journal forgets them with its next commit. Never fails for the caller: after the journal has
    /// closed, what was reported is sent again by the next process.
    pub fn report(&self, settlements: Vec<Settlement>) {
        drop(self.0.send(Command::Settle(settlements)));
    }
}

/// Everything owed, oldest first at start, then as it is accepted. Bounded by `limit_deliveries`.
pub type Feed = mpsc::UnboundedReceiver<FeedItem>;

/// News for the publisher.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// These deliveries are owed now, in order of admission.
    Owed(Vec<Owed>),
    /// `confirm` mode: these are not waited for any more.
    Withdraw(Vec<DeliveryId>),
}

/// Fetches what is needed to make a message.
#[derive(Clone)]
pub struct Parcels(pub(super) Arc<dyn FetchParcel>);

pub(super) trait FetchParcel: Send + Sync {
    /// From memory where possible; `Err` carries the answer that will come from the disk.
    fn fetch(
        &self,
        delivery: DeliveryId,
    ) -> Result<Option<Parcel>, oneshot::Receiver<Option<Parcel>>>;
}

impl Parcels {
    /// The parcel of a delivery that is still owed; `None` if it cannot be read (damaged on disk, counted and logged
    /// by the journal).
    pub async fn fetch(&self, delivery: DeliveryId) -> Option<Parcel> {
        match self.0.fetch(delivery) {
            Ok(parcel) => parcel,
            Err(later) => later.await.ok().flatten(),
        }
    }
}

impl std::fmt::Debug for Parcels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parcels")
    }
}

/// Every destination that deliveries are or were owed to; grows only.
#[derive(Clone, Debug, Default)]
pub struct Destinations(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    rows: Vec<Arc<Destination>>,
    ids: std::collections::HashMap<Arc<Destination>, DestinationId>,
    channels: Vec<String>,
}

impl Destinations {
    /// The destination with this id.
    #[must_use]
    pub fn get(&self, id: DestinationId) -> Option<Arc<Destination>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(id.0)
            .ok()
            .and_then(|index| table.rows.get(index).cloned())
    }

    /// The name of a channel, as [`Destination::channel_name`] makes it.
    #[must_use]
    pub fn channel_name(&self, id: ChannelId) -> Option<String> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(id.0)
            .ok()
            .and_then(|index| table.channels.get(index).cloned())
    }

    /// All of them now.
    #[must_use]
    pub fn all(&self) -> Vec<(DestinationId, Arc<Destination>)> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table
            .ids
            .iter()
            .map(|(destination, id)| (*id, destination.clone()))
            .collect()
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Opened {
    /// The journal's UUID: `hookswitch-instance` and the name of the fence.
    pub instance: uuid::Uuid,
    /// Grows with every opening of this journal: makes `hookswitch-delivery` unique across restarts.
    pub boot: u64,
    /// For ingress.
    pub intake: Intake,
    /// For publish.
    pub feed: Feed,
    /// For publish.
    pub settle: Settle,
    /// For publish.
    pub parcels: Parcels,
    /// For publish.
    pub destinations: Destinations,
    /// For app.
    pub closer: Closer,
}

/// Closes the journal.
#[derive(Debug)]
pub struct Closer {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) thread: std::thread::JoinHandle<()>,
}

impl Closer {
    /// Takes no more callbacks, commits what was told before this call, closes the store and waits for its thread.
    /// Blocking: call it from a blocking context.
    pub fn close(self) {
        drop(self.commands.send(Command::Close));
        if self.thread.join().is_err() {
            tracing::error!("the journal thread panicked");
        }
    }
}
