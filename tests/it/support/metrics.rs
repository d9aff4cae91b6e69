//! Scrapes `/metrics`, twice a second unless told otherwise, and checks the conservation laws of P3 in every scrape.

use std::{collections::HashMap, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A scraper that runs until it is asked for its result.
pub(crate) struct Scraper {
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl Scraper {
    pub(crate) fn start(url: String) -> Self {
        Self::every(Duration::from_millis(500), url)
    }

    pub(crate) fn every(pause: Duration, url: String) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "the test joins it in `finish`, and a dropped runtime ends it"
        )]
        let task = tokio::spawn(async move {
            let client = reqwest::Client::new();
            let mut scrapes = 0;
            while !stopped.is_cancelled() {
                // A receiver that is being killed does not answer; that does not count as a scrape.
                if let Ok(text) = scrape(&client, &url).await {
                    check_laws(&text);
                    scrapes += 1;
                }
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            scrapes
        });
        Self { stop, task }
    }

    /// The number of scrapes; panics if the laws did not hold in one of them.
    pub(crate) async fn finish(self) -> usize {
        self.stop.cancel();
        let scrapes = self.task.await.expect("every scrape held");
        assert!(scrapes > 0, "there was at least one scrape");
        scrapes
    }
}

async fn scrape(client: &reqwest::Client, url: &str) -> reqwest::Result<String> {
    client
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await
}

pub(crate) fn check_laws(text: &str) {
    let values: HashMap<&str, f64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let value = |name: &str| {
        *values
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing in\n{text}"))
    };
    let outcome = |name: &str| value(&format!("hookswitch_events_total{{outcome=\"{name}\"}}"));
    let settled = |name: &str| {
        value(&format!(
            "hookswitch_deliveries_total{{outcome=\"{name}\"}}"
        ))
    };
    assert_eq!(
        value("hookswitch_events_received_total"),
        outcome("accepted") + outcome("duplicate") + outcome("quarantined") + outcome("refused"),
        "the law of received events"
    );
    assert_eq!(
        value("hookswitch_deliveries_owed_total") + value("hookswitch_deliveries_recovered"),
        settled("delivered") + settled("quarantined") + value("hookswitch_deliveries_pending"),
        "the law of deliveries"
    );
}
