//! The types that enter and leave the journal, for both stores.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;

use crate::{
    admit::{EventFacts, Offer, Quarantine},
    dispatch::{DeliveryId, RecordId, Refused},
    event::{AppName, CallKey},
    route::Destination,
    status::{Health, Ledger, LiveFeed},
};

/// One callback offered to the journal.
#[derive(Debug)]
pub struct Callback {
    /// Order of arrival: taken when the request's head was read; lower comes first within a commit group.
    pub arrival: u64,
    /// The app of its path.
    pub app: AppName,
    /// Its events, in the order of its array.
    pub offers: Vec<Offer>,
}

/// The outcome of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Durable, and pending for its destinations.
    Accepted,
    /// Already known; nothing new is pending.
    Duplicate,
    /// Durable, and pending for the quarantine.
    Quarantined,
}

/// Proof that every event of a callback is durable. Only `journal` can make one, and a 2xx needs it.
#[must_use]
#[derive(Debug)]
pub struct Receipt {
    pub(super) outcomes: Vec<Admitted>,
}

impl Receipt {
    /// The outcome of each event, in the order of the callback.
    #[must_use]
    pub fn outcomes(&self) -> &[Admitted] {
        &self.outcomes
    }
}

/// A limit of what may be pending, and the amounts at a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// How much is already pending.
    pub used: u64,
    /// How much more the callback needs.
    pub needed: u64,
    /// How much may be pending.
    pub limit: u64,
    /// `bytes` or `deliveries`.
    pub unit: &'static str,
}

/// Why a callback was refused. Nothing of it is durable, and nothing of it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalRefusal {
    /// The journal has reached its limit.
    #[error("journal is full: {} of {} {} are pending", .0.used, .0.limit, .0.unit)]
    Full(LimitReached),
    /// The limit for one queue or exchange is reached (`journal.destination_share`).
    #[error("{destination} is full: {} of its {} {} are pending", bound.used, bound.limit, bound.unit)]
    DestinationFull {
        /// The queue without its partition, or the exchange.
        destination: String,
        /// The amounts.
        bound: LimitReached,
    },
    /// The callback alone exceeds what may be pending at once: retrying does not help.
    #[error("the callback needs {} {} where at most {} may be pending", .0.needed, .0.unit, .0.limit)]
    NeverFits(LimitReached),
    /// No room on the disk; accepting resumes by itself.
    #[error("no space left on the journal's disk")]
    DiskFull,
    /// A write or fsync failed; callbacks are refused until restart.
    #[error("the journal failed and accepts nothing until restart")]
    Failed,
    /// A commit does not finish, or another program holds the database locked; accepting resumes by itself.
    #[error("the journal is stalled")]
    Stalled,
    /// Too many callbacks wait for the writer.
    #[error("too many callbacks wait for the journal")]
    Busy,
    /// The process is stopping.
    #[error("shutting down")]
    Closing,
    /// `confirm` mode: the broker did not confirm every delivery in time.
    #[error("the broker did not confirm in time")]
    NotConfirmed,
}

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its row.
    pub id: RecordId,
    /// Call key; `None` for unkeyed events.
    pub call: Option<CallKey>,
    pub facts: Arc<EventFacts>,
    /// The bytes to publish.
    pub body: Bytes,
}

impl Record {
    /// Its facts and its call.
    pub(super) fn about(&self) -> (&EventFacts, Option<&CallKey>) {
        (&self.facts, self.call.as_ref())
    }
}

/// Everything the publisher needs to make the message of one delivery.
#[derive(Clone, Debug)]
pub struct DeliveryPayload {
    pub record: Arc<Record>,
    pub destination: Arc<Destination>,
    /// `hookswitch-sequence`; `None` for unkeyed events and in `confirm` mode.
    pub sequence: Option<i64>,
    /// Set when this delivery moved to quarantine because it could not be sent to its first destination.
    pub moved: Option<Quarantine>,
}

/// The outcome of a delivery, for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Confirmed by the broker.
    Delivered(DeliveryId),
    /// Moved to quarantine: in one transaction the delivery is deleted and one pending for the quarantine replaces it.
    Poisoned(DeliveryId, Refused),
    /// Withdrawn in `confirm` mode.
    Forgotten(DeliveryId),
}

/// Why a journal cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory cannot be created or written.
    #[error("cannot use {path} as journal directory")]
    JournalDirectory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error(
        "the journal in {path} is in use by another process: give each instance its own journal.path"
    )]
    Locked { path: PathBuf },
    /// It was written by another version of hookswitch.
    #[error(
        "the journal in {path} has format {found}, this hookswitch reads format {known}: start the version that wrote it, let it deliver everything, and move the directory away"
    )]
    Format {
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The one that this version reads.
        known: i64,
    },
    /// The database failed.
    #[error("journal in {path}: cannot {doing}")]
    Database {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: rusqlite::Error,
    },
}

/// Where a journal writes its status.
#[derive(Clone, Debug)]
pub struct StatusHandles {
    /// The counters of P3.
    pub ledger: Arc<Ledger>,
    /// The health status.
    pub health: Arc<Health>,
    /// Lines for `hookswitch tail`.
    pub live: LiveFeed,
    /// Where its own metrics are registered, once.
    pub registry: prometheus::Registry,
}
