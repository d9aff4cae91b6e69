//! Reloads the schemas when their directory changes or on SIGHUP: all or nothing, and the old set stays if the new one
//! is not usable.

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

use crate::{
    catalog::Catalog,
    config::{self, App},
    report::Chain,
    route::Route,
    status::Health,
};

/// How often the directory is checked. Polling, because a mounted ConfigMap changes by a swapped symbolic link, which
/// file system events report poorly.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A writer often changes several files: a change must be this old before it is read.
const SETTLED: Duration = Duration::from_millis(500);

/// The counter of reloads that failed.
pub(super) fn failures(registry: &Registry) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(
        "hookswitch_schema_reload_failures_total",
        "Reloads of schemas.path that failed; the previous schemas stay in use",
    )?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// The notices about types that routes name and the catalogue does not have. Events of these types are still routed,
/// because routes compare names and do not use the catalogue.
pub(super) struct TypeNotices {
    pub(super) apps: Vec<App>,
    pub(super) routes: Vec<Route>,
    pub(super) health: Arc<Health>,
    pub(super) shown: Vec<String>,
}

impl TypeNotices {
    /// Replaces the notices in `health` by those for `catalog`, and logs the new ones.
    fn renew(&mut self, catalog: &Catalog) {
        let fresh = config::type_notices(&self.apps, &self.routes, catalog);
        for notice in fresh.iter().filter(|notice| !self.shown.contains(notice)) {
            warn!("{notice}");
        }
        self.health.update(|view| {
            view.notices.retain(|notice| !self.shown.contains(notice));
            view.notices.extend(fresh.iter().cloned());
        });
        self.shown = fresh;
    }
}

/// Runs until it is dropped.
pub(super) async fn watch(
    path: PathBuf,
    catalog: Arc<ArcSwap<Catalog>>,
    mut notices: TypeNotices,
    signal: Arc<Notify>,
    failures: IntCounter,
) {
    let changed = Arc::new(Notify::new());
    let seen = changed.clone();
    let directory = path.clone();
    // It reads the whole directory, to record its current state.
    let watcher = tokio::task::spawn_blocking(move || watcher(&directory, seen)).await;
    match &watcher {
        Ok(Ok(_)) => {
            // A change between the start and this instant would otherwise be missed.
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
                notices.renew(&fresh);
                catalog.store(Arc::new(fresh));
                info!(path = %path.display(), "schemas reloaded");
            }
            Ok(Err(cause)) => {
                failures.inc();
                error!(path = %path.display(), error = %Chain(&cause), "schemas not reloaded; the previous ones stay in use");
            }
            Err(_) => {
                failures.inc();
                error!(path = %path.display(), "loading the schemas panicked; the previous ones stay in use");
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

#[cfg(test)]
mod tests {
    use crate::config::Sources;

    use super::*;

    const CONFIG: &str = "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"a\"\nauth = \"none\"\n\
        [[routes]]\nname = \"r\"\nqueue = \"q\"\ntypes = [\"Contoso.Calling.BellRang\"]\n";

    /// The built-in catalogue with this type added.
    fn with(event_type: &str) -> Catalog {
        let directory = tempfile::tempdir().unwrap();
        let table = serde_json::json!({
            "ids": { "bell": {} },
            "events": [{
                "type": event_type, "generation": "test", "kind": "CallState",
                "schema": "test/Bell.schema.json", "ids": "bell",
            }],
        });
        let schema =
            r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}"#;
        std::fs::create_dir(directory.path().join("test")).unwrap();
        std::fs::write(directory.path().join("catalog.json"), table.to_string()).unwrap();
        std::fs::write(directory.path().join("test/Bell.schema.json"), schema).unwrap();
        Catalog::with_directory(directory.path()).unwrap()
    }

    #[test]
    fn after_each_reload_the_notices_name_the_types_that_are_not_in_the_catalogue() {
        let (config, catalog) = config::load(&Sources::text("f.toml", CONFIG)).unwrap();
        let shown = config::type_notices(&config.apps, &config.routes, &catalog);
        assert_eq!(shown.len(), 1, "{shown:?}");
        let health = Arc::new(Health::default());
        health.update(|view| {
            view.notices.push("another".to_owned());
            view.notices.extend(shown.iter().cloned());
        });
        let mut notices = TypeNotices {
            apps: config.apps,
            routes: config.routes,
            health: health.clone(),
            shown: shown.clone(),
        };
        let listed = || health.view().notices;
        notices.renew(&with("Contoso.Calling.BellRang"));
        assert_eq!(listed(), ["another"]);
        for _ in 0..2 {
            notices.renew(&with("Contoso.Calling.Other"));
            assert_eq!(listed(), ["another", shown[0].as_str()]);
        }
    }
}
