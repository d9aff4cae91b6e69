//! The publisher's metrics; every series is present from the start.

use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use strum::{IntoStaticStr, VariantArray};

/// What became of one publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum PublishResult {
    /// The broker took responsibility.
    Ack,
    /// It refused responsibility.
    Nack,
    /// It could not route it.
    Returned,
    /// Its channel or connection was lost before the broker answered.
    Lost,
    /// It could not be read, composed or accepted: nothing of it is at the broker.
    Error,
}

impl PublishResult {
    fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The publisher's metrics, registered.
#[derive(Clone, Debug)]
pub(super) struct PublishMetrics {
    published: IntCounterVec,
    pub(super) confirm_duration: HistogramVec,
    pub(super) in_flight: IntGauge,
    pub(super) connected: IntGauge,
    pub(super) blocked: IntGauge,
    pub(super) reconnects: IntCounter,
    pub(super) fences_passed: IntCounter,
    pub(super) oldest_unconfirmed: Gauge,
    pub(super) destination_state: IntGaugeVec,
}

impl PublishMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If one of the names is already used on this registry.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            published: IntCounterVec::new(
                Opts::new(
                    "hookswitch_publish_total",
                    "Publishes by outcome; lost: the outcome is unknown, the message is sent again",
                ),
                &["result"],
            )?,
            confirm_duration: HistogramVec::new(
                HistogramOpts::new(
                    "hookswitch_publish_confirm_duration_seconds",
                    "From handing a message to the connection to the broker's confirm, by configured destination; `other` for those that left the configuration",
                )
                .buckets(vec![
                    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
                    30.0, 120.0,
                ]),
                &["destination"],
            )?,
            in_flight: IntGauge::new(
                "hookswitch_publish_in_flight",
                "Publishes that the broker has not answered",
            )?,
            connected: IntGauge::new(
                "hookswitch_broker_connected",
                "1 while the publishing connection is open and holds its fence",
            )?,
            blocked: IntGauge::new(
                "hookswitch_broker_blocked",
                "1 while the broker blocks publishing (memory or disk alarm)",
            )?,
            reconnects: IntCounter::new(
                "hookswitch_broker_reconnects_total",
                "How often the publishing connection was reopened after a loss",
            )?,
            fences_passed: IntCounter::new(
                "hookswitch_broker_fences_passed_total",
                "Lost connections that the broker did not release in time, as after the death of a node: copies of unconfirmed events may follow newer ones",
            )?,
            oldest_unconfirmed: Gauge::new(
                "hookswitch_publish_oldest_unconfirmed_age_seconds",
                "Age of the oldest publish that the broker has not answered, 0 if there is none",
            )?,
            destination_state: IntGaugeVec::new(
                Opts::new(
                    "hookswitch_destination_state",
                    "1 for the state that a configured destination is in; `other` counts those that left the configuration",
                ),
                &["destination", "state"],
            )?,
        };
        for result in PublishResult::VARIANTS {
            metrics.published.with_label_values(&[result.as_str()]);
        }
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.confirm_duration.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.connected.clone()))?;
        registry.register(Box::new(metrics.blocked.clone()))?;
        registry.register(Box::new(metrics.reconnects.clone()))?;
        registry.register(Box::new(metrics.fences_passed.clone()))?;
        registry.register(Box::new(metrics.oldest_unconfirmed.clone()))?;
        registry.register(Box::new(metrics.destination_state.clone()))?;
        Ok(metrics)
    }

    pub(super) fn published(&self, result: PublishResult) {
        self.published.with_label_values(&[result.as_str()]).inc();
    }
}
