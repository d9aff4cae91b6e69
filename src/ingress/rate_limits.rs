//! Rate limits of each app: of its callbacks, if it has a `rate_limit`, and of Event Grid's validation requests without
//! credentials, if it answers them.

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use prometheus::IntCounter;

use crate::{
    config::{App, EventGrid, Rate},
    event::AppName,
};

use super::IngressMetrics;

/// Validation requests without credentials that are answered per minute, and as a burst. Event Grid sends one for each
/// subscription that is created, and repeats it if it fails; a script that creates a dozen subscriptions succeeds.
const HANDSHAKES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(6).expect("not zero");
const HANDSHAKES_AT_ONCE: NonZeroU32 = NonZeroU32::new(12).expect("not zero");

/// The token buckets. Shared by all threads: a limit is of the app, not of a thread.
pub(super) struct RateLimits {
    clock: DefaultClock,
    buckets: HashMap<AppName, AppRate>,
    /// Of the apps with `handshake = "open"`.
    handshakes: HashMap<AppName, DefaultDirectRateLimiter>,
}

struct AppRate {
    limiter: DefaultDirectRateLimiter,
    refused: IntCounter,
}

impl RateLimits {
    pub(super) fn new<'a>(
        apps: impl Iterator<Item = &'a App> + Clone,
        metrics: &IngressMetrics,
    ) -> Self {
        let open = apps.clone().filter(|app| app.event_grid == EventGrid::Open);
        let handshakes = open.map(|app| {
            let quota = Quota::per_minute(HANDSHAKES_PER_MINUTE).allow_burst(HANDSHAKES_AT_ONCE);
            (app.name.clone(), RateLimiter::direct(quota))
        });
        let buckets = apps.filter_map(|app| {
            let Rate { per_second, burst } = app.rate?;
            let quota = Quota::per_second(per_second).allow_burst(burst);
            let bucket = AppRate {
                limiter: RateLimiter::direct(quota),
                refused: metrics.rate_limited(&app.name),
            };
            Some((app.name.clone(), bucket))
        });
        Self {
            clock: DefaultClock::default(),
            buckets: buckets.collect(),
            handshakes: handshakes.collect(),
        }
    }

    /// Takes one validation request without credentials for `app`, or says how long until the next is answered. Apps
    /// without `handshake = "open"` answer none.
    pub(super) fn take_handshake(&self, app: &AppName) -> Result<(), Duration> {
        let Some(limiter) = self.handshakes.get(app) else {
            return Err(Duration::from_hours(1));
        };
        limiter
            .check()
            .map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Accepts one callback, or says how long until one is accepted.
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
