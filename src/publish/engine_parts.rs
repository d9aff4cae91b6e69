//! The parts that an engine is created with.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{dispatch::Dispatcher, journal::SettlementSender, status::Health};

use super::{
    broker_object::BrokerObject,
    channel::{ChannelEvent, TaskId},
    metrics::PublishMetrics,
    publish_request::{PublishContext, PublishRequest},
    stdout::Printer,
    supervisor::ConnectionWatch,
    topology_checker::{TopologyChecker, TopologyReport},
};

pub(super) struct EngineParts {
    pub(super) dispatcher: Dispatcher,
    /// Unconfirmed publishes per channel.
    pub(super) window: usize,
    pub(super) context: Arc<PublishContext>,
    pub(super) topology_checker: TopologyChecker,
    pub(super) sink: Sink,
    pub(super) settle: SettlementSender,
    pub(super) health: Arc<Health>,
    pub(super) metrics: PublishMetrics,
    pub(super) broker_objects: Vec<BrokerObject>,
    pub(super) channel_events: mpsc::Sender<(TaskId, ChannelEvent)>,
    pub(super) topology_reports: mpsc::Sender<TopologyReport>,
    pub(super) alone: mpsc::Sender<PublishRequest>,
    /// Ends the channels' tasks.
    pub(super) halt_channels: CancellationToken,
}

/// Where the channels' tasks send messages.
pub(super) enum Sink {
    Broker(ConnectionWatch),
    Stdout(Printer),
}
