//! The receiver as a whole: what is started in which order, and how it stops (ARCHITECTURE.md, "Stopping").

mod error;
mod open_files;
mod reload;
mod signals;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    admin::{self, Admin},
    auth::Authenticators,
    catalog::Catalog,
    config::{self, AcceptAfter, Config},
    http::{self, Certificate, ConnectionMetrics, ListenerName, Listening, watch_certificates},
    ingress::{self, Ingress, IngressMetrics, IngressSettings, Pipeline},
    journal::{self, StatusHandles},
    publish::{self, PublishError, Publisher},
    status::{self, DriftCounts, Health, Ledger, LedgerCollector, LiveFeed},
};

pub use error::AppError;

/// Runs the receiver until a signal stops it. `catalog` is the one that `config` was checked against.
///
/// # Errors
/// Why it could not start, or which part ended by itself.
pub async fn serve(config: Config, catalog: Catalog) -> Result<(), AppError> {
    let deadline = config.server.shutdown_timeout;
    let mut signals = signals::Signals::listen()?;
    let mut parts = start(config, catalog, &signals).await?;
    let ended = tokio::select! {
        () = signals.stop() => None,
        error = parts.ended() => Some(error),
    };
    let hurry = CancellationToken::new();
    let stopping = parts.stop(deadline, hurry.clone());
    tokio::pin!(stopping);
    tokio::select! {
        () = &mut stopping => {}
        () = signals.stop() => {
            warn!("second signal: pending deliveries stay in the journal for the next start");
            hurry.cancel();
            stopping.await;
        }
    }
    ended.map_or(Ok(()), Err)
}

struct RunningParts {
    health: Arc<Health>,
    ledger: Arc<Ledger>,
    admin: Listening,
    ingress: Listening,
    callbacks: IngressMetrics,
    publisher: JoinSet<Result<(), PublishError>>,
    drain: CancellationToken,
    cut: CancellationToken,
    reloads: JoinSet<()>,
    closer: journal::JournalCloser,
}

async fn start(
    config: Config,
    catalog: Catalog,
    signals: &signals::Signals,
) -> Result<RunningParts, AppError> {
    let health = Arc::new(Health::default());
    let ledger = Arc::new(Ledger::default());
    let drift = Arc::new(DriftCounts::default());
    let live = LiveFeed::default();
    let registry = status::new_registry()?;
    registry.register(Box::new(LedgerCollector::new(ledger.clone())?))?;
    let mut settings = IngressSettings::new(config.server.limits, &config.delivery);
    let (connections, short) = open_files::connections(settings.limits.connection_limit);
    if connections < settings.limits.connection_limit {
        settings.limits.connection_limit = connections;
        // Still no single peer may have every place.
        settings.limits.peer_connection_limit = settings
            .limits
            .peer_connection_limit
            .min(connections.div_ceil(2));
    }
    let of_types = config::type_notices(&config.apps, &config.routes, &catalog);
    let mut notices = config.notices();
    notices.extend(short);
    notices.extend(of_types.iter().cloned());
    for notice in &notices {
        warn!("{notice}");
    }
    health.update(|view| {
        view.needs_broker = config.delivery.accept_after == AcceptAfter::Confirm;
        view.notices = notices;
    });

    let catalog = Arc::new(ArcSwap::from_pointee(catalog));
    let identity = |name, files: &Option<config::KeyPair>| {
        let loaded = files.as_ref().map(|files| Certificate::load(name, files));
        loaded.transpose()
    };
    let admin_identity = identity(ListenerName::Admin, &config.server.admin_tls)?;
    let public_identity = identity(ListenerName::Public, &config.server.tls)?;

    // The admin listener answers before the journal is open: recovery may take long, and `/startupz` reports it.
    let admin_socket = bind("server.admin_listen", config.server.admin_listen)?;
    let public_socket = bind("server.listen", config.server.listen)?;
    let journal_id = Arc::new(OnceLock::new());
    let connection_metrics = ConnectionMetrics::register(&registry)?;
    let admin = admin::serve(
        admin_socket,
        Admin {
            health: health.clone(),
            drift: drift.clone(),
            live: live.clone(),
            registry: registry.clone(),
            instance: config.server.instance.clone(),
            journal: journal_id.clone(),
            connection_metrics: connection_metrics.clone(),
            identity: admin_identity.clone(),
        },
    )
    .map_err(AppError::Listener)?;
    info!(address = %admin.address(), "admin listener is up");

    // Before the journal, whose recovery may take longer than fetching the keys.
    let (authenticators, refresher) = Authenticators::new(&config.apps, &registry, health.clone())?;
    let mut reloads = JoinSet::new();
    reloads.spawn(refresher.run());
    let identities = [admin_identity, public_identity.clone()];
    reloads.spawn(watch_certificates(
        identities.into_iter().flatten().collect(),
        connection_metrics.clone(),
        notice_updates(health.clone()),
    ));

    let handles = StatusHandles {
        ledger: ledger.clone(),
        health: health.clone(),
        live: live.clone(),
        registry: registry.clone(),
    };
    let opened = open_journal(&config, handles).await?;
    journal_id.get_or_init(|| opened.instance);

    let drain = CancellationToken::new();
    let cut = CancellationToken::new();
    let mut publisher = JoinSet::new();
    publisher.spawn(publish::run(
        Publisher {
            instance: opened.instance,
            boot: opened.boot,
            feed: opened.feed,
            settle: opened.settle,
            payloads: opened.payloads,
            destinations: opened.destinations,
            name: config.server.instance.clone(),
            broker: config.broker.clone(),
            delivery: config.delivery,
            routes: config.routes.clone(),
            health: health.clone(),
            registry: registry.clone(),
        },
        drain.clone(),
        cut.clone(),
    ));

    if let Some(path) = config.schemas.path.clone() {
        reloads.spawn(reload::watch(
            path,
            catalog.clone(),
            reload::TypeNotices {
                apps: config.apps.clone(),
                routes: config.routes.clone(),
                health: health.clone(),
                shown: of_types,
            },
            signals.reload(),
            reload::failures(&registry)?,
        ));
    } else {
        // Present at zero, like every metric, although there is nothing to reload.
        reload::failures(&registry)?;
    }

    authenticators.first_keys(FIRST_KEYS).await;
    let callbacks = IngressMetrics::register(&registry)?;
    let ingress = ingress::serve(
        public_socket,
        Ingress {
            settings,
            authenticators: Arc::new(authenticators),
            pipeline: Arc::new(Pipeline::new(
                config.apps.clone(),
                config.routes.clone(),
                config.server.batch_limit,
                catalog,
            )),
            intake: opened.intake,
            ledger: ledger.clone(),
            drift,
            metrics: callbacks.clone(),
            connection_metrics,
            identity: public_identity,
        },
    )
    .map_err(AppError::Listener)?;
    health.update(|view| view.started = true);
    info!(address = %ingress.address(), instance = %opened.instance, "ready for callbacks");
    Ok(RunningParts {
        health,
        ledger,
        admin,
        ingress,
        callbacks,
        publisher,
        drain,
        cut,
        reloads,
        closer: opened.closer,
    })
}

impl RunningParts {
    /// Waits for a part that ends without having been stopped, which stops the process.
    async fn ended(&mut self) -> AppError {
        tokio::select! {
            error = self.admin.ended() => AppError::Listener(error),
            error = self.ingress.ended() => AppError::Listener(error),
            Some(ended) = self.publisher.join_next() => match ended {
                Ok(Ok(())) => AppError::Ended("the publisher"),
                Ok(Err(error)) => AppError::Publish(error),
                Err(_) => AppError::Ended("the publisher's task"),
            },
            Some(_) = self.reloads.join_next() => AppError::Ended("the watch over schemas, secrets, keys and certificates"),
        }
    }

    /// Front to back, under one deadline; `hurry` ends the draining early. What was answered 2xx is already on disk, so
    /// nothing that is cut short here is lost.
    async fn stop(mut self, timeout: Duration, hurry: CancellationToken) {
        // Closing channels, connections and the journal takes time too, at most a third of this each.
        let closing = CLOSING.min(timeout / 4);
        let deadline = Instant::now() + timeout.saturating_sub(closing);
        info!("stopping");
        self.health.update(|view| view.draining = true);
        self.reloads.shutdown().await;
        // A good part of the time is reserved for what follows.
        let mut callbacks = 0;
        let late = || callbacks = self.callbacks.in_flight();
        let in_time = self.ingress.stop_or(timeout / 2, late).await;
        if callbacks > 0 {
            warn!(
                callbacks,
                "callbacks in progress were cut: their senders got no answer"
            );
        } else if !in_time {
            info!("connections without a callback in progress were cut");
        }
        self.drain.cancel();
        tokio::select! {
            () = finished(&mut self.publisher) => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = broker_away(&self.health) => {}
            () = hurry.cancelled() => {}
        }
        self.cut.cancel();
        let closed = finished(&mut self.publisher);
        if timeout_at(deadline + closing / 3, closed).await.is_err() {
            warn!(
                "the publisher did not close in time; what it held is sent again by the next start"
            );
        }
        let pending = self.ledger.snapshot().pending;
        if pending > 0 {
            warn!(pending, "deliveries stay in the journal for the next start");
        }
        let closer = self.closer;
        let closed = tokio::task::spawn_blocking(move || closer.close());
        // A hanging disk would keep the process running without end; what was answered 2xx is already on it.
        if !matches!(
            timeout_at(deadline + closing * 2 / 3, closed).await,
            Ok(Ok(()))
        ) {
            warn!("the journal could not be closed cleanly; its next start recovers it");
        }
        self.admin.stop(closing / 3).await;
        info!("stopped");
    }
}

/// How long a start waits for the keys of issuers; without them it continues, and callbacks that need them get 503.
const FIRST_KEYS: Duration = Duration::from_secs(2);

/// How much time a stop reserves for its last steps.
const CLOSING: Duration = Duration::from_secs(4);

/// Waits until there is no broker to drain to. If the broker returns, the next process delivers.
async fn broker_away(health: &Health) {
    while health.view().broker.connected {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn finished(publisher: &mut JoinSet<Result<(), PublishError>>) {
    while publisher.join_next().await.is_some() {}
}

async fn open_journal(
    config: &Config,
    handles: StatusHandles,
) -> Result<journal::OpenJournal, AppError> {
    match config.delivery.accept_after {
        AcceptAfter::Confirm => {
            let in_flight = config.server.limits.in_flight_limit as u64;
            let waiting_limit = config.journal.share_of(in_flight);
            let timeout = config.delivery.confirm_timeout;
            journal::volatile(timeout, waiting_limit, &config.journal, &handles)
                .map_err(AppError::Journal)
        }
        AcceptAfter::Journal => {
            let settings = config.journal.clone();
            tokio::task::spawn_blocking(move || journal::open(&settings, &handles))
                .await
                .map_err(|_| AppError::Ended("opening the journal"))?
                .map_err(AppError::Journal)
        }
    }
}

/// Adds a notice for the operator to `health`, or removes it.
fn notice_updates(health: Arc<Health>) -> impl Fn(&str, bool) {
    move |notice, holds| {
        health.update(|view| {
            view.notices.retain(|known| known != notice);
            if holds {
                view.notices.push(notice.to_owned());
            }
        });
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    http::bind(address).map_err(|source| AppError::Bind {
        key,
        address,
        source,
    })
}
