//! What an engine is given when it is made, and never changes hands.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{dispatch::Dispatcher, journal::Settle, status::Health};

use super::{
    channel::{ChannelNews, Teller},
    line::LinkWatch,
    metrics::PublishMetrics,
    place::Place,
    publication::{Press, Sheet},
    surveyor::{Finding, Survey},
};

/// What an engine is given.
pub(super) struct Parts {
    pub(super) dispatcher: Dispatcher,
    /// Unconfirmed publishes per channel.
    pub(super) window: usize,
    pub(super) press: Arc<Press>,
    pub(super) survey: Survey,
    pub(super) line: LinkWatch,
    pub(super) settle: Settle,
    pub(super) health: Arc<Health>,
    pub(super) metrics: PublishMetrics,
    pub(super) places: Vec<Place>,
    pub(super) channel_news: mpsc::Sender<(Teller, ChannelNews)>,
    pub(super) findings: mpsc::Sender<Finding>,
    pub(super) alone: mpsc::Sender<Sheet>,
    /// Ends the channels' tasks.
    pub(super) halt_desks: CancellationToken,
}
