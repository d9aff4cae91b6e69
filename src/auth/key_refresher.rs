//! Keeps secrets and keys fresh: one loop for each file and each issuer, so that no two fetches of the same run at
//! once.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::{config::KeySource, files::Watched, report::Chain, status::Health};

use super::{
    fetch::Fetcher,
    key_source::{RefreshPace, Source, read_keys},
    metrics::AuthMetrics,
    secrets::Secrets,
};

/// Everything that must be read or fetched again. [`KeyRefresher::run`] must run as long as callbacks are accepted.
pub struct KeyRefresher {
    pub(super) secrets: Vec<Arc<Secrets>>,
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) fetcher: Fetcher,
    pub(super) metrics: AuthMetrics,
    pub(super) health: Arc<Health>,
    pub(super) pace: RefreshPace,
}

impl KeyRefresher {
    /// Runs until it is dropped.
    pub async fn run(self) {
        let Self {
            secrets,
            sources,
            fetcher,
            metrics,
            health,
            pace,
        } = self;
        let secrets = secrets
            .iter()
            .map(|secrets| keep_secrets(secrets, pace.look, &metrics).boxed());
        let sources = sources.iter().map(|source| match &source.place {
            KeySource::File(path) => keep_key_file(source, path, &metrics).boxed(),
            KeySource::Url(_) | KeySource::Discovery(_) => {
                keep_keys(source, &fetcher, &metrics, &health).boxed()
            }
        });
        let all: Vec<BoxFuture<'_, ()>> = secrets.chain(sources).collect();
        join_all(all).await;
        // Without anything to refresh it must not end either: the parent takes an end for a fault.
        std::future::pending::<()>().await;
    }
}

async fn keep_secrets(secrets: &Arc<Secrets>, look: Duration, metrics: &AuthMetrics) {
    let mut file = Watched::new(vec![secrets.path().to_owned()], look);
    loop {
        file.changed().await;
        let again = secrets.clone();
        let path = secrets.path().display();
        match tokio::task::spawn_blocking(move || again.reload()).await {
            Ok(Ok(true)) => info!(%path, "shared secrets reloaded"),
            Ok(Ok(false)) => {}
            Ok(Err(cause)) => {
                metrics.reload_failed();
                error!(%path, error = %Chain(&cause), "shared secrets not reloaded; the previous ones stay valid");
            }
            Err(cause) => {
                metrics.reload_failed();
                error!(%path, error = %Chain(&cause), "shared secrets not reloaded; the previous ones stay valid");
            }
        }
    }
}

async fn keep_key_file(source: &Source, path: &Path, metrics: &AuthMetrics) {
    let mut file = Watched::new(vec![path.to_owned()], source.pace.look);
    loop {
        file.changed().await;
        let owned = path.to_owned();
        let path = path.display();
        match tokio::task::spawn_blocking(move || read_keys(&owned)).await {
            Ok(Ok(keys)) => {
                source.ends(Instant::now(), Some(keys), None);
                info!(%path, issuer = source.issuer, "keys read");
            }
            Ok(Err(cause)) => {
                metrics.reload_failed();
                error!(%path, error = %Chain(&cause), "keys not read; the previous ones stay valid");
            }
            Err(cause) => {
                metrics.reload_failed();
                error!(%path, error = %Chain(&cause), "keys not read; the previous ones stay valid");
            }
        }
    }
}

async fn keep_keys(source: &Source, fetcher: &Fetcher, metrics: &AuthMetrics, health: &Health) {
    let notice = format!("the keys of issuer {} cannot be fetched", source.issuer);
    let mut failures = 0_u32;
    loop {
        let begun = Instant::now();
        source.begins(begun);
        let fetched = fetcher.keys(&source.place, &source.issuer).await;
        metrics.fetched(fetched.is_ok());
        health.update(|view| view.notices.retain(|known| *known != notice));
        let (keys, wait) = match fetched {
            Ok(keys) => {
                if failures > 0 {
                    info!(issuer = source.issuer, "keys fetched again");
                }
                failures = 0;
                (Some(keys), source.pace.refresh)
            }
            Err(cause) => {
                failures = failures.saturating_add(1);
                health.update(|view| view.notices.push(notice.clone()));
                warn!(
                    issuer = source.issuer,
                    error = %Chain(&cause),
                    "keys not fetched; the last good ones are used for a day, without any its callbacks get 503"
                );
                (None, retry(source, failures))
            }
        };
        // Receivers that started together should not keep asking at the same moment.
        let due = begun + wait.mul_f64(rand::random_range(0.9..1.0));
        source.ends(begun, keys, Some(due));
        tokio::select! {
            () = sleep_until(due) => {}
            () = source.wanted() => sleep_until(due.min(begun + source.pace.unknown)).await,
        }
    }
}

/// Soon while there are no keys, because then callbacks are refused.
fn retry(source: &Source, failures: u32) -> Duration {
    if source.keys(Instant::now()).is_some() {
        return source.pace.unknown;
    }
    let doubled = source
        .pace
        .retry
        .saturating_mul(2_u32.saturating_pow(failures - 1));
    doubled.min(source.pace.unknown)
}
