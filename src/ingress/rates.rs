//! How many callbacks each app may send: a bucket for every app that has a limit.

use std::{collections::HashMap, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use prometheus::IntCounter;

use crate::{
    config::{App, Rate},
    event::AppName,
};

use super::IngressMetrics;

/// The buckets. One for all threads: a limit is of the app, not of a thread.
pub(super) struct Rates {
    clock: DefaultClock,
    buckets: HashMap<AppName, Bucket>,
}

struct Bucket {
    limiter: DefaultDirectRateLimiter,
    refused: IntCounter,
}

impl Rates {
    pub(super) fn new<'a>(apps: impl Iterator<Item = &'a App>, metrics: &IngressMetrics) -> Self {
        let buckets = apps.filter_map(|app| {
            let Rate { per_second, burst } = app.rate?;
            let quota = Quota::per_second(per_second).allow_burst(burst);
            let bucket = Bucket {
                limiter: RateLimiter::direct(quota),
                refused: metrics.rate_limited(&app.name),
            };
            Some((app.name.clone(), bucket))
        });
        Self {
            clock: DefaultClock::default(),
            buckets: buckets.collect(),
        }
    }

    /// Lets one callback through, or says how long until there is room for one.
    pub(super) fn take(&self, app: &AppName) -> Result<(), Duration> {
        let Some(bucket) = self.buckets.get(app) else {
            return Ok(());
        };
        bucket.limiter.check().map_err(|until| {
            bucket.refused.inc();
            until.wait_time_from(self.clock.now())
        })
    }
}
