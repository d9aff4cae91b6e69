//! Why a run could not be done. What the run finds wrong is not an error: it is in the summary.

use std::{io, path::PathBuf, time::Duration};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A target that cannot be posted to.
    #[error(
        "{url} is not a target: write a URL like http://127.0.0.1:8080/callbacks/dev (https is not supported)"
    )]
    Target {
        /// As given.
        url: String,
    },
    /// Nothing listens at the target.
    #[error("cannot connect to {target}: is the receiver running there?")]
    Unreachable {
        /// Which target.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The broker's URL.
    #[error("the broker URL cannot be used: {reason}")]
    BrokerUrl {
        /// Why.
        reason: String,
    },
    /// A file of the broker's TLS settings.
    #[error("cannot read {path}")]
    TlsFile {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The broker refuses the connection.
    #[error("cannot connect to the broker at {host}")]
    Broker {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: Box<lapin::Error>,
    },
    /// The broker does not answer.
    #[error("the broker at {host} did not answer within {after:?}")]
    BrokerSilent {
        /// Host and port.
        host: String,
        /// How long we waited.
        after: Duration,
    },
    /// A queue that does not exist.
    #[error(
        "cannot look at queue {queue}: start the receiver first, which declares it, or declare it yourself"
    )]
    Queue {
        /// Which one.
        queue: String,
        /// What the broker says.
        #[source]
        source: Box<lapin::Error>,
    },
    /// A queue with old messages.
    #[error(
        "queue {queue} holds {messages} messages already, and verifying consumes what it finds: empty it first, take them too with --drain-foreign, or verify them with --verify-only and their ledger"
    )]
    NotEmpty {
        /// Which one.
        queue: String,
        /// How many.
        messages: u32,
    },
    /// A queue with another consumer.
    #[error(
        "queue {queue} has {consumers} other consumers: stop them, or messages would be missed"
    )]
    Occupied {
        /// Which one.
        queue: String,
        /// How many.
        consumers: u32,
    },
    /// A queue that gives only foreign messages.
    #[error(
        "queue {queue} gives only messages that are not of this run: stop their publisher, or take them too with --drain-foreign"
    )]
    OnlyForeign {
        /// Which one.
        queue: String,
    },
    /// The ledger cannot be written or read.
    #[error("cannot {what} the ledger {path}")]
    Ledger {
        /// Write or read.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of the ledger that cannot be read.
    #[error("line {line} of the ledger {path}: {reason}")]
    LedgerLine {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// The thread that keeps the schedule.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}
