//! Auth metrics. Labels come from the configuration and from closed sets, and are present at zero from the start.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use strum::{IntoStaticStr, VariantArray};

use crate::event::AppName;

/// What was wrong with a callback's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum RefusalClass {
    /// There are none.
    Missing,
    /// A token is proven bad.
    Token,
    /// A shared secret is wrong.
    SharedSecret,
    /// A token is good, but its `nbf` is ahead of our clock: one of the two clocks is wrong.
    NotYetValid,
    /// A token names a key that is not among those held, which may be too old to know it. Any client can write such a
    /// token.
    UnknownKey,
    /// There never were keys, or they are too old: no callback can be judged.
    Keys,
}

impl RefusalClass {
    fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The metrics of this module.
#[derive(Clone, Debug)]
pub(super) struct AuthMetrics {
    refusals: IntCounterVec,
    fetches: IntCounterVec,
    reload_failures: IntCounter,
}

impl AuthMetrics {
    pub(super) fn register<'a>(
        registry: &Registry,
        apps: impl Iterator<Item = &'a AppName>,
    ) -> prometheus::Result<Self> {
        let metrics = Self {
            refusals: IntCounterVec::new(
                Opts::new(
                    "hookswitch_auth_refusals_total",
                    "Callbacks not accepted, by app and what their credentials lacked; not_yet_valid, unknown_key, keys: answered 503, because they may be valid",
                ),
                &["app", "class"],
            )?,
            fetches: IntCounterVec::new(
                Opts::new(
                    "hookswitch_auth_key_fetches_total",
                    "Fetches of issuers' keys by outcome",
                ),
                &["outcome"],
            )?,
            reload_failures: IntCounter::new(
                "hookswitch_auth_reload_failures_total",
                "Changed files of secrets or keys that could not be used; the previous ones stay in use",
            )?,
        };
        for app in apps {
            for class in RefusalClass::VARIANTS {
                metrics
                    .refusals
                    .with_label_values(&[app.as_str(), class.as_str()]);
            }
        }
        for outcome in ["ok", "failed"] {
            metrics.fetches.with_label_values(&[outcome]);
        }
        registry.register(Box::new(metrics.refusals.clone()))?;
        registry.register(Box::new(metrics.fetches.clone()))?;
        registry.register(Box::new(metrics.reload_failures.clone()))?;
        Ok(metrics)
    }

    pub(super) fn refused(&self, app: &AppName, class: RefusalClass) {
        self.refusals
            .with_label_values(&[app.as_str(), class.as_str()])
            .inc();
    }

    pub(super) fn fetched(&self, ok: bool) {
        let outcome = if ok { "ok" } else { "failed" };
        self.fetches.with_label_values(&[outcome]).inc();
    }

    pub(super) fn reload_failed(&self) {
        self.reload_failures.inc();
    }
}
