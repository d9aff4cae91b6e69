//! Starts, runs and stops the publisher.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use prometheus::Registry;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{AcceptAfter, Broker, BrokerEndpoint, Delivery},
    dispatch::{Dispatcher, DispatcherSettings},
    journal::{Destinations, Feed, PayloadSource, SettlementSender},
    route::Route,
    status::Health,
};

use super::{
    PublishError,
    broker_object::broker_objects,
    channel::{ChannelEvent, TaskId},
    connection::Dialer,
    engine::Engine,
    engine_parts::{EngineParts, Sink},
    fence::Fences,
    isolated::{IsolatedEvent, IsolatedPublisher},
    metrics::PublishMetrics,
    publish_request::PublishContext,
    stdout::Printer,
    supervisor::{self, ConnectionEvent},
    topology_checker::{TopologyChecker, TopologyReport, topology_checker},
};

/// Events of channels that may be queued for the engine; a channel with more waits.
const EVENT_LIMIT: usize = 1_024;
/// Feed items processed in one turn.
const FEED_BATCH: usize = 64;
/// Events processed in one turn.
const EVENT_BATCH: usize = 256;
/// How often status and gauges are updated.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long channels, and after them connections, may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// What the publisher works with: its handles of an open journal, its part of the configuration, its status.
#[derive(Debug)]
pub struct Publisher {
    /// The journal's UUID.
    pub instance: uuid::Uuid,
    /// Grows with every opening of the journal.
    pub boot: u64,
    /// The pending deliveries.
    pub feed: Feed,
    /// Where outcomes are reported.
    pub settle: SettlementSender,
    /// Where bodies and facts are fetched.
    pub payloads: PayloadSource,
    /// Where deliveries go.
    pub destinations: Destinations,
    /// `server.instance`: in the broker's list of connections.
    pub name: String,
    pub broker: Broker,
    pub delivery: Delivery,
    /// `[[routes]]`: what is declared and watched from the start.
    pub routes: Vec<Route>,
    /// The health status, for `/readyz`.
    pub health: Arc<Health>,
    /// The registry, for `/metrics`.
    pub registry: Registry,
}

/// Publishes the journal's pending deliveries until `stop`; after `drain` until nothing is pending any more. It waits
/// for a broker that is absent. What is pending when it returns is not lost: it stays in the journal for the next
/// process.
///
/// # Errors
/// [`PublishError::Stdout`] if deliveries go to standard output and that is closed, [`PublishError::PartEnded`] for
/// a bug, [`PublishError::Metrics`] on a second run with one registry. Faults of the broker are not errors here.
///
/// # Cancel safety
/// None: cancel `stop` and wait for it.
pub async fn run(
    publisher: Publisher,
    drain: CancellationToken,
    stop: CancellationToken,
) -> Result<(), PublishError> {
    let metrics = PublishMetrics::register(&publisher.registry)?;
    PublisherLoop::open(publisher, metrics)
        .run(drain, stop)
        .await
}

struct PublisherLoop {
    engine: Engine,
    feed: Feed,
    connection_events: mpsc::Receiver<ConnectionEvent>,
    channel_events: mpsc::Receiver<(TaskId, ChannelEvent)>,
    isolated_events: mpsc::Receiver<IsolatedEvent>,
    topology_reports: mpsc::Receiver<TopologyReport>,
    /// The connection supervisor, the topology checker and the isolated publisher; or the printer. Each says what it means
    /// that it ended.
    links: JoinSet<PublishError>,
    halt_channels: CancellationToken,
    halt_links: CancellationToken,
}

impl PublisherLoop {
    fn open(publisher: Publisher, metrics: PublishMetrics) -> Self {
        let (broker, delivery) = (publisher.broker, publisher.delivery);
        let instance = publisher.instance.to_string();
        let name = publisher.name;
        let settings = DispatcherSettings {
            window: delivery.window,
            stall_timeout: delivery.stall_timeout,
            // The same time again for Close-Ok (docs/src/internals/delivery.md, "Unknown outcomes").
            close_timeout: delivery.stall_timeout,
            await_settled: delivery.accept_after == AcceptAfter::Journal,
            ..DispatcherSettings::default()
        };
        let context = Arc::new(PublishContext {
            payloads: publisher.payloads,
            destinations: publisher.destinations,
            instance: instance.clone(),
            boot: publisher.boot,
            exchange: broker.exchange.clone(),
            max_message_bytes: broker.max_message_bytes,
        });
        let halt_channels = CancellationToken::new();
        let halt_links = CancellationToken::new();
        let mut links = JoinSet::new();
        let (connection_event_sender, connection_events) = mpsc::channel(EVENT_LIMIT);
        let (alone, alone_orders) = mpsc::channel(1);
        let (isolated_event_sender, isolated_events) = mpsc::channel(1);
        let (sink, topology_checker) = if broker.endpoint == BrokerEndpoint::Stdout {
            let (printer, writing) = Printer::new(std::io::stdout());
            let halt = halt_links.clone();
            links.spawn(async move {
                tokio::select! { error = writing => error, () = halt.cancelled() => ended("printer") }
            });
            // Nothing that an earlier process printed is still on its way.
            drop(connection_event_sender.try_send(ConnectionEvent::Fenced(1)));
            (Sink::Stdout(printer), TopologyChecker::WITHOUT_BROKER)
        } else {
            let dialer =
                |what: &str| Dialer::new(broker.clone(), format!("hookswitch {name}{what}"));
            let (line_sender, line) = watch::channel(None);
            let fences = Fences::new(&instance, metrics.fences_passed.clone());
            let holding = supervisor::hold(
                dialer(""),
                fences.publishing(),
                line_sender,
                connection_event_sender,
                halt_links.clone(),
            );
            links.spawn(holding.map(|()| ended("publishing connection")));
            let (topology_checker, answering) =
                topology_checker(dialer(" topology"), broker.clone(), halt_links.clone());
            links.spawn(answering.map(|()| ended("topology connection")));
            let isolated_publisher = IsolatedPublisher {
                dialer: dialer(" alone"),
                fence: fences.single_messages(),
                context: context.clone(),
                stall_timeout: settings.stall_timeout,
                close_timeout: settings.close_timeout,
                news: isolated_event_sender,
                halt: halt_links.clone(),
            };
            let sending = isolated_publisher.serve(alone_orders);
            links.spawn(sending.map(|()| ended("connection for single messages")));
            (Sink::Broker(line), topology_checker)
        };
        let (channel_event_sender, channel_events) = mpsc::channel(EVENT_LIMIT);
        let (findings_sender, topology_reports) = mpsc::channel(EVENT_LIMIT);
        let engine = Engine::new(EngineParts {
            dispatcher: Dispatcher::new(settings),
            window: usize::try_from(settings.window).unwrap_or(usize::MAX),
            context,
            topology_checker,
            sink,
            settle: publisher.settle,
            health: publisher.health,
            metrics,
            broker_objects: broker_objects(&publisher.routes),
            channel_events: channel_event_sender,
            topology_reports: findings_sender,
            alone,
            halt_channels: halt_channels.clone(),
        });
        Self {
            engine,
            feed: publisher.feed,
            connection_events,
            channel_events,
            isolated_events,
            topology_reports,
            links,
            halt_channels,
            halt_links,
        }
    }

    async fn run(
        mut self,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Result<(), PublishError> {
        let outcome = self.work(&drain, &stop).await;
        self.close().await;
        outcome
    }

    async fn work(
        &mut self,
        drain: &CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), PublishError> {
        let mut second = interval(LOOK_EVERY);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut items = Vec::with_capacity(FEED_BATCH);
        let mut news = Vec::with_capacity(EVENT_BATCH);
        let mut feeding = true;
        let mut draining = false;
        loop {
            self.engine.report();
            if draining && self.engine.pending() == 0 && self.feed.is_empty() {
                return Ok(());
            }
            let deadline = self.engine.deadline();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(line) = self.connection_events.recv() => self.engine.line(line),
                _ = self.channel_events.recv_many(&mut news, EVENT_BATCH) => {
                    for (task_id, news) in news.drain(..) {
                        self.engine.channel(task_id, news);
                    }
                }
                Some(alone) = self.isolated_events.recv() => self.engine.alone(alone),
                Some(finding) = self.topology_reports.recv() => self.engine.found(finding),
                () = until(deadline) => self.engine.tick(),
                _ = second.tick() => self.engine.look(),
                () = drain.cancelled(), if !draining => draining = true,
                Some(ended) = self.links.join_next() => return Err(ended.unwrap_or_else(failed)),
                Some(ended) = self.engine.channel_tasks.join_next() => expected(ended)?,
                Some(ended) = self.engine.helpers.join_next() => expected(ended)?,
                taken = self.feed.recv_many(&mut items, FEED_BATCH), if feeding => {
                    // A closed journal adds no deliveries, but the pending ones are still sent.
                    feeding = taken > 0;
                    for item in items.drain(..) {
                        self.engine.fed(item);
                    }
                }
            }
        }
    }

    /// Channels first, so that what the broker still confirms counts; their connections last.
    async fn close(&mut self) {
        self.halt_channels.cancel();
        let engine = &mut self.engine;
        let channel_events = &mut self.channel_events;
        let closing = async {
            loop {
                tokio::select! {
                    biased;
                    Some((task_id, news)) = channel_events.recv() => engine.channel(task_id, news),
                    ended = engine.channel_tasks.join_next() => if ended.is_none() { break },
                }
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!(
                channels = self.engine.channel_tasks.len(),
                "channels did not close in time"
            );
        }
        while let Ok((task_id, news)) = self.channel_events.try_recv() {
            self.engine.channel(task_id, news);
        }
        self.engine.stopped();
        self.engine.channel_tasks.shutdown().await;
        self.engine.helpers.shutdown().await;
        self.halt_links.cancel();
        let closing = async { while self.links.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!("connections did not close in time");
        }
        self.links.shutdown().await;
    }
}

async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(Instant::from_std(deadline)).await,
        None => std::future::pending().await,
    }
}

/// A channel's task ends when its destination is retired; a panic in it is a bug that must be noticed.
fn expected(ended: Result<(), JoinError>) -> Result<(), PublishError> {
    ended.map_err(failed)
}

fn failed(error: JoinError) -> PublishError {
    tracing::error!(%error, "a task of the publisher failed");
    ended("task")
}

fn ended(part: &'static str) -> PublishError {
    PublishError::PartEnded { part }
}
