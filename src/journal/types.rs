//! What goes in and out of the journal, whichever store is behind it.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    admit::{Offer, Quarantine},
    dispatch::{DeliveryId, RecordId, Refused},
    event::{AppName, CallKey, Generation, Kind},
    route::Destination,
    status::{Health, Ledger, LiveFeed},
};

/// One callback offered to the journal.
#[derive(Debug)]
pub struct Callback {
    /// Order of arrival: taken when the request's head was read; lower comes first within a commit group.
    pub arrival: u64,
    /// The app whose path it came in on.
    pub app: AppName,
    /// When it was received.
    pub received: Timestamp,
    /// What followed `/callbacks/{app}/`, percent-encoded as received; `None` where nothing did.
    pub path: Option<String>,
    /// The parameters named in `pass_query`, as a query string; `None` where there were none.
    pub query: Option<String>,
    /// W3C `traceparent`.
    pub traceparent: Option<String>,
    /// W3C `tracestate`.
    pub tracestate: Option<String>,
    /// Its events, in the order of its array.
    pub offers: Vec<Offer>,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Durable, and owed to its destinations.
    Accepted,
    /// Known already; nothing new is owed.
    Duplicate,
    /// Durable, and owed to the quarantine.
    Quarantined,
}

/// Proof that every event of a callback is durable. Only `journal` can make one, and a 2xx needs it.
#[must_use]
#[derive(Debug)]
pub struct Receipt {
    pub(super) outcomes: Vec<Admitted>,
}

impl Receipt {
    /// What became of each event, in the order of the callback.
    #[must_use]
    pub fn outcomes(&self) -> &[Admitted] {
        &self.outcomes
    }
}

/// A bound of what may be pending, and what a callback met there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// How much is pending already.
    pub used: u64,
    /// How much more the callback needs.
    pub needed: u64,
    /// How much may be.
    pub limit: u64,
    /// `bytes` or `deliveries`.
    pub unit: &'static str,
}

/// Why a callback was not taken. Nothing of it is durable, and nothing of it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalRefusal {
    /// The journal holds as much as it may.
    #[error("journal is full: {} of {} {} are pending", .0.used, .0.limit, .0.unit)]
    Full(LimitReached),
    /// As much is pending for one queue or exchange as may be (`journal.destination_share`).
    #[error("{destination} is full: {} of its {} {} are pending", bound.used, bound.limit, bound.unit)]
    DestinationFull {
        /// The queue without its partition, or the exchange.
        destination: String,
        /// How much, and how much may be.
        bound: LimitReached,
    },
    /// The callback alone is more than may be pending at once: trying again does not help.
    #[error("the callback needs {} {} where at most {} may be pending", .0.needed, .0.unit, .0.limit)]
    NeverFits(LimitReached),
    /// No room on the disk; accepting resumes by itself.
    #[error("no space left on the journal's disk")]
    DiskFull,
    /// A write or fsync failed; accepting is refused until restart.
    #[error("the journal failed and takes nothing until restart")]
    Failed,
    /// A commit does not come to an end, or another program holds the database locked; accepting resumes by itself.
    #[error("the journal is stalled")]
    Stalled,
    /// More callbacks wait for the writer than may.
    #[error("too many callbacks wait for the journal")]
    Busy,
    /// The process is stopping.
    #[error("shutting down")]
    Closing,
    /// `confirm` mode: the broker did not confirm every delivery in time.
    #[error("the broker did not confirm in time")]
    NotConfirmed,
}

/// The facts of a record besides its bytes; stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFacts {
    /// App.
    pub app: AppName,
    /// Call key; `None` for unkeyed events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallKey>,
    /// Kind.
    pub kind: Kind,
    /// Generation, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// Full wire type.
    pub event_type: String,
    /// Event id: AMQP `message_id`.
    pub event_id: String,
    /// AMQP `correlation_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// When it was accepted.
    pub received: Timestamp,
    /// `hookswitch-path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `hookswitch-query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// `tracestate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// Set when the event itself lies in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
    /// True for a record salvaged from a damaged journal: `hookswitch-recovered`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
}

/// An event as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its row.
    pub id: RecordId,
    /// What is known of it.
    pub facts: RecordFacts,
    /// What is published.
    pub body: Bytes,
}

/// Everything the publisher needs to make the message of one delivery.
#[derive(Clone, Debug)]
pub struct DeliveryPayload {
    /// The event.
    pub record: Arc<Record>,
    /// Where it goes.
    pub destination: Arc<Destination>,
    /// `hookswitch-sequence`; `None` for unkeyed events and in `confirm` mode.
    pub sequence: Option<i64>,
    /// Set when this delivery moved to quarantine because it could not be sent to where it was owed first.
    pub moved: Option<Quarantine>,
}

/// What became of a delivery, for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Confirmed by the broker.
    Delivered(DeliveryId),
    /// Moved to quarantine: in one transaction the delivery leaves and one owed to the quarantine takes its place.
    Poisoned(DeliveryId, Refused),
    /// Withdrawn in `confirm` mode.
    Forgotten(DeliveryId),
}

/// Why a journal cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory cannot be made or written.
    #[error("cannot use {path} as journal directory")]
    JournalDirectory {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "the journal in {path} is in use by another process: give each instance its own journal.path"
    )]
    Locked {
        /// Which one.
        path: PathBuf,
    },
    /// It was written by a newer hookswitch.
    #[error(
        "the journal in {path} has format {found}, this hookswitch reads up to {known}: start the newer version again or drain it there"
    )]
    Newer {
        /// Which one.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// The database failed.
    #[error("journal in {path}: cannot {doing}")]
    Database {
        /// Which one.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

/// The boards that a journal writes on.
#[derive(Clone, Debug)]
pub struct StatusHandles {
    /// The books of P3.
    pub ledger: Arc<Ledger>,
    /// How the journal stands.
    pub health: Arc<Health>,
    /// Lines for `hookswitch tail`.
    pub live: LiveFeed,
    /// Where its own metrics are registered, once.
    pub registry: prometheus::Registry,
}
