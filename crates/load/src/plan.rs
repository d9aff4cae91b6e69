//! The plan of a run, checked.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use super::{Content, Target, WatchedQueue};

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was or will be sent.
    pub source: Source,
    /// What is read and verified; `None`: only send.
    pub watch: Option<ConsumePlan>,
    /// Inversions that are tolerated.
    pub inverted_allowed: u64,
}

/// The record of what was sent.
#[derive(Clone, Debug)]
pub enum Source {
    /// It is sent now.
    Send {
        /// How.
        traffic: Traffic,
        /// Where what was sent is written down.
        ledger: Option<PathBuf>,
    },
    /// It was sent by an earlier run, which wrote this ledger.
    Ledger(PathBuf),
}

/// How callbacks are sent.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The content of the callbacks.
    pub content: Content,
    /// Where they go; connections are spread over them.
    pub targets: Vec<Target>,
    /// Keep-alive connections.
    pub connections: NonZeroU32,
    /// Calls in progress at the same time.
    pub active: NonZeroU32,
    /// When they are due.
    pub pace: SendSchedule,
    /// How often a callback is sent at most until it is answered 2xx.
    pub attempts: NonZeroU32,
}

/// When callbacks are due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SendSchedule {
    /// Closed loop: each connection posts the next one as soon as it has its answer.
    Closed,
    /// Open loop: this many per second on a fixed schedule.
    Rate(f64),
    /// Open loop: the callbacks of a call this far apart, whatever the answers.
    Burst(Duration),
}

/// The queues to consume.
#[derive(Clone, Debug)]
pub struct ConsumePlan {
    /// The broker.
    pub url: String,
    /// For `amqps`.
    pub tls: BrokerTls,
    /// Every queue that an event may come out of.
    pub queues: Vec<WatchedQueue>,
    /// Whether foreign messages are acknowledged too.
    pub drain_foreign: bool,
    /// How long the queues may be silent while something is missing.
    pub idle: Duration,
}

/// PEM files for a broker with TLS.
#[derive(Clone, Debug, Default)]
pub struct BrokerTls {
    /// Certificates of authorities.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}
