//! Reloads the schemas when their directory changes or on SIGHUP: all or nothing, and the old set stays when the new one
//! is no good.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use notify::{Config, PollWatcher, RecursiveMode, Watcher};
use prometheus::{IntCounter, Registry};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::{catalog::Catalog, report::Chain};

/// How often the directory is looked at. Polling, because a mounted ConfigMap changes by a swapped symbolic link, of which
/// file system events say little.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Writers seldom change one file only: a change must be this old before it is read.
const SETTLED: Duration = Duration::from_millis(500);

/// The counter of reloads that failed.
pub(super) fn failures(registry: &Registry) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(
        "hookswitch_schema_reload_failures_total",
        "Reloads of schemas.path that failed; the schemas before stayed in force",
    )?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// Runs until it is dropped.
pub(super) async fn watch(
    path: PathBuf,
    catalog: Arc<ArcSwap<Catalog>>,
    signal: Arc<Notify>,
    failures: IntCounter,
) {
    let changed = Arc::new(Notify::new());
    let seen = changed.clone();
    let directory = path.clone();
    // It reads the whole directory, to know what it looks like now.
    let watcher = tokio::task::spawn_blocking(move || watcher(&directory, seen)).await;
    match &watcher {
        Ok(Ok(_)) => {
            // What changed between the start and this instant is seen by nobody else.
            changed.notify_one();
        }
        Ok(Err(error)) => {
            warn!(error = %Chain(error), "cannot watch schemas.path; SIGHUP still reloads it");
        }
        Err(_) => warn!("watching schemas.path panicked; SIGHUP still reloads it"),
    }
    loop {
        tokio::select! {
            () = changed.notified() => {
                while tokio::time::timeout(SETTLED, changed.notified()).await.is_ok() {}
            }
            () = signal.notified() => {}
        }
        let directory = path.clone();
        match tokio::task::spawn_blocking(move || Catalog::with_directory(&directory)).await {
            Ok(Ok(fresh)) => {
                catalog.store(Arc::new(fresh));
                info!(path = %path.display(), "schemas reloaded");
            }
            Ok(Err(cause)) => {
                failures.inc();
                error!(path = %path.display(), error = %Chain(&cause), "schemas not reloaded; those before stay in force");
            }
            Err(_) => {
                failures.inc();
                error!(path = %path.display(), "loading the schemas panicked; those before stay in force");
            }
        }
    }
}

fn watcher(path: &Path, seen: Arc<Notify>) -> notify::Result<PollWatcher> {
    let mut watcher = PollWatcher::new(
        move |event: notify::Result<notify::Event>| {
            if event.is_ok() {
                seen.notify_one();
            }
        },
        Config::default()
            .with_poll_interval(LOOK_EVERY)
            .with_compare_contents(true),
    )?;
    watcher.watch(path, RecursiveMode::Recursive)?;
    Ok(watcher)
}
