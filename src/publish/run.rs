//! Starting, running and stopping the publisher.

use std::{sync::Arc, time::Duration};

use prometheus::Registry;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{AcceptAfter, Broker, BrokerEndpoint, Delivery},
    dispatch::{Dispatcher, Settings},
    journal::{Destinations, Feed, Parcels, Settle},
    route::Route,
    status::Health,
};

use super::{
    PublishError,
    alone::{AloneNews, Booth},
    channel::{ChannelNews, Teller},
    engine::Engine,
    fence::Fences,
    line::{self, LineNews},
    link::Dialer,
    metrics::PublishMetrics,
    parts::Parts,
    place::places,
    publication::Press,
    stdout,
    surveyor::{Finding, survey},
};

/// News of channels that may wait for the engine; whoever has more waits with it.
const NEWS_LIMIT: usize = 1_024;
/// Feed items taken in one turn.
const FEED_BATCH: usize = 64;
/// News taken in one turn.
const NEWS_BATCH: usize = 256;
/// How often boards and gauges are brought up to date.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Channels, and after them connections, are given so long to close.
const FAREWELL: Duration = Duration::from_secs(4);

/// What the publisher works with: its doors of an open journal, its part of the configuration, its boards.
#[derive(Debug)]
pub struct Publisher {
    /// The journal's UUID.
    pub instance: uuid::Uuid,
    /// Grows with every opening.
    pub boot: u64,
    /// What is owed.
    pub feed: Feed,
    /// Where outcomes are reported.
    pub settle: Settle,
    /// Where bodies and facts are fetched.
    pub parcels: Parcels,
    /// Where deliveries go.
    pub destinations: Destinations,
    /// `server.instance`: in the broker's list of connections.
    pub name: String,
    /// `[broker]`.
    pub broker: Broker,
    /// `[delivery]`.
    pub delivery: Delivery,
    /// `[[routes]]`: what is declared and watched from the start.
    pub routes: Vec<Route>,
    /// `/readyz`.
    pub health: Arc<Health>,
    /// `/metrics`.
    pub registry: Registry,
}

/// Publishes what the journal owes until `stop`; after `drain` until nothing is owed any more. A broker that is
/// absent is waited for. Nothing that was owed when it returns is lost: the journal's next process owes it.
///
/// # Errors
/// [`PublishError::Stdout`] where deliveries go to standard output and that is gone, [`PublishError::Ended`] for a
/// bug, [`PublishError::Metrics`] on a second run with one registry. The broker's troubles are no errors here.
///
/// # Cancel safety
/// None: cancel `stop` and wait for it.
pub async fn run(
    publisher: Publisher,
    drain: CancellationToken,
    stop: CancellationToken,
) -> Result<(), PublishError> {
    let metrics = PublishMetrics::register(&publisher.registry)?;
    if publisher.broker.endpoint == BrokerEndpoint::Stdout {
        return stdout::run(publisher, &metrics, drain, stop).await;
    }
    Office::open(publisher, metrics).run(drain, stop).await
}

/// Everything that runs.
struct Office {
    engine: Engine,
    feed: Feed,
    line_news: mpsc::Receiver<LineNews>,
    channel_news: mpsc::Receiver<(Teller, ChannelNews)>,
    alone_news: mpsc::Receiver<AloneNews>,
    findings: mpsc::Receiver<Finding>,
    /// The line, the survey and the booth.
    links: JoinSet<&'static str>,
    halt_desks: CancellationToken,
    halt_links: CancellationToken,
}

impl Office {
    fn open(publisher: Publisher, metrics: PublishMetrics) -> Self {
        let (broker, delivery) = (publisher.broker, publisher.delivery);
        let instance = publisher.instance.to_string();
        let name = publisher.name;
        let settings = Settings {
            window: delivery.window,
            stall_timeout: delivery.stall_timeout,
            // As long again for Close-Ok (docs/src/internals/delivery.md, "Unknown outcomes").
            close_timeout: delivery.stall_timeout,
            await_settled: delivery.accept_after == AcceptAfter::Journal,
            ..Settings::default()
        };
        let press = Arc::new(Press {
            parcels: publisher.parcels,
            destinations: publisher.destinations,
            instance: instance.clone(),
            boot: publisher.boot,
            exchange: broker.exchange.clone(),
            max_message_bytes: broker.max_message_bytes,
        });
        let halt_desks = CancellationToken::new();
        let halt_links = CancellationToken::new();
        let dialer = |what: &str| Dialer::new(broker.clone(), format!("hookswitch {name}{what}"));
        let mut links = JoinSet::new();

        let (line_sender, line_watch) = watch::channel(None);
        let (line_news_sender, line_news) = mpsc::channel(NEWS_LIMIT);
        let fences = Fences::new(&instance, metrics.fences_passed.clone());
        let holding = line::hold(
            dialer(""),
            fences.publishing(),
            line_sender,
            line_news_sender,
            halt_links.clone(),
        );
        links.spawn(async move {
            holding.await;
            "publishing connection"
        });

        let (survey, answering) = survey(dialer(" topology"), broker.clone(), halt_links.clone());
        links.spawn(async move {
            answering.await;
            "topology connection"
        });

        let (alone, alone_orders) = mpsc::channel(1);
        let (alone_news_sender, alone_news) = mpsc::channel(1);
        let booth = Booth {
            dialer: dialer(" alone"),
            fence: fences.single_messages(),
            press: press.clone(),
            stall_timeout: settings.stall_timeout,
            close_timeout: settings.close_timeout,
            news: alone_news_sender,
            halt: halt_links.clone(),
        };
        links.spawn(async move {
            booth.serve(alone_orders).await;
            "connection for single messages"
        });

        let (channel_news_sender, channel_news) = mpsc::channel(NEWS_LIMIT);
        let (findings_sender, findings) = mpsc::channel(NEWS_LIMIT);
        let engine = Engine::new(Parts {
            dispatcher: Dispatcher::new(settings),
            window: usize::try_from(settings.window).unwrap_or(usize::MAX),
            press,
            survey,
            line: line_watch,
            settle: publisher.settle,
            health: publisher.health,
            metrics,
            places: places(&publisher.routes),
            channel_news: channel_news_sender,
            findings: findings_sender,
            alone,
            halt_desks: halt_desks.clone(),
        });
        Self {
            engine,
            feed: publisher.feed,
            line_news,
            channel_news,
            alone_news,
            findings,
            links,
            halt_desks,
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
        let mut news = Vec::with_capacity(NEWS_BATCH);
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
                Some(line) = self.line_news.recv() => self.engine.line(line),
                _ = self.channel_news.recv_many(&mut news, NEWS_BATCH) => {
                    for (teller, news) in news.drain(..) {
                        self.engine.channel(teller, news);
                    }
                }
                Some(alone) = self.alone_news.recv() => self.engine.alone(alone),
                Some(finding) = self.findings.recv() => self.engine.found(finding),
                () = until(deadline) => self.engine.tick(),
                _ = second.tick() => self.engine.look(),
                () = drain.cancelled(), if !draining => draining = true,
                Some(ended) = self.links.join_next() => return Err(early(ended)),
                Some(ended) = self.engine.desks.join_next() => expected(ended)?,
                Some(ended) = self.engine.helpers.join_next() => expected(ended)?,
                taken = self.feed.recv_many(&mut items, FEED_BATCH), if feeding => {
                    // A journal that has closed owes nothing new, but what it owed is still sent.
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
        self.halt_desks.cancel();
        let engine = &mut self.engine;
        let channel_news = &mut self.channel_news;
        let closing = async {
            loop {
                tokio::select! {
                    biased;
                    Some((teller, news)) = channel_news.recv() => engine.channel(teller, news),
                    ended = engine.desks.join_next() => if ended.is_none() { break },
                }
            }
        };
        if tokio::time::timeout(FAREWELL, closing).await.is_err() {
            tracing::warn!(
                channels = self.engine.desks.len(),
                "channels did not close in time"
            );
        }
        while let Ok((teller, news)) = self.channel_news.try_recv() {
            self.engine.channel(teller, news);
        }
        self.engine.stopped();
        self.engine.desks.shutdown().await;
        self.engine.helpers.shutdown().await;
        self.halt_links.cancel();
        let closing = async { while self.links.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, closing).await.is_err() {
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

/// A channel's task ends when its destination is retired; a panic in it is a bug that must not go unseen.
fn expected(ended: Result<(), JoinError>) -> Result<(), PublishError> {
    ended.map_err(|error| {
        tracing::error!(%error, "a task of the publisher failed");
        PublishError::Ended { part: "task" }
    })
}

fn early(ended: Result<&'static str, JoinError>) -> PublishError {
    match ended {
        Ok(part) => PublishError::Ended { part },
        Err(error) => {
            tracing::error!(%error, "a connection's task failed");
            PublishError::Ended { part: "connection" }
        }
    }
}
