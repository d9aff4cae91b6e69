//! Reloads the listeners' certificates when their files change.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tracing::{info, warn};

use crate::{files::Watched, report::Chain};

use super::{ConnectionMetrics, certificate::Certificate};

/// How often the files are checked.
const LOOK: Duration = Duration::from_secs(1);

/// Checks the files of `identities` until it is dropped. `tell` is called for each listener whose files become unusable
/// (true), and when they are usable again (false), with a text for the operator.
pub async fn watch_certificates(
    identities: Vec<Arc<Certificate>>,
    metrics: ConnectionMetrics,
    tell: impl Fn(&str, bool),
) {
    let all = identities
        .iter()
        .map(|identity| keep(identity, &metrics, &tell));
    join_all(all).await;
    // Without TLS it must not end either: the parent takes an end for a fault.
    std::future::pending::<()>().await;
}

async fn keep(
    identity: &Arc<Certificate>,
    metrics: &ConnectionMetrics,
    tell: &impl Fn(&str, bool),
) {
    let listener = identity.name();
    let setting = listener.tls_setting();
    let notice = format!("the new files of {setting} cannot be used: those before still serve");
    let mut files = Watched::new(identity.files(), LOOK);
    loop {
        // The first change reports the files as read at start; reading them again does no harm.
        files.changed().await;
        let again = identity.clone();
        let failure = match tokio::task::spawn_blocking(move || again.reload()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Chain(&error).to_string()),
            Err(panic) => Some(panic.to_string()),
        };
        tell(&notice, failure.is_some());
        match failure {
            None => {
                info!(setting, "certificate and key read");
                metrics.expires(listener, identity.expires());
            }
            Some(error) => {
                metrics.reload_failed(listener);
                warn!(
                    setting,
                    error, "certificate and key not read; those before still serve"
                );
            }
        }
    }
}
