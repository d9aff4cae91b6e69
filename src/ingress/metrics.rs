//! Ingress metrics. Labels come from closed sets and are present at zero from the start.

use std::time::Instant;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use strum::{IntoStaticStr, VariantArray};

use crate::{event::AppName, status::EventOutcome};

/// What became of one callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CallbackOutcome {
    /// 202.
    Accepted,
    /// 200: consent to events that were not sent yet.
    Handshake,
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    #[strum(serialize = "method_not_allowed")]
    Method,
    /// 408.
    Timeout,
    /// 413.
    TooLarge,
    /// 415.
    Unsupported,
    /// 422.
    Invalid,
    /// 429.
    TooOften,
    /// 431.
    HeadTooLarge,
    /// 503.
    Unavailable,
    /// 500.
    Error,
    /// The sender hung up before it was answered.
    Abandoned,
}

impl CallbackOutcome {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why the events of a callback with a known envelope were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RejectReason {
    /// At least one is invalid, and the app says `on_invalid = "reject"`.
    Invalid,
    /// At least one is of an unknown type, and the app says `on_unknown = "reject"`.
    Unknown,
    JournalFull,
    /// The limit of one destination is reached.
    DestinationFull,
    /// The callback exceeds what may be pending at once.
    NeverFits,
    /// No room on the journal's disk.
    DiskFull,
    JournalFailed,
    JournalStalled,
    /// Too many callbacks wait for the journal.
    Busy,
    /// Shutting down.
    Closing,
    /// The broker did not confirm in time.
    NotConfirmed,
}

impl RejectReason {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Who asks whether its events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum HandshakeKind {
    /// Event Grid's validation request.
    EventGrid,
    /// The same without credentials, at an app that answers it without.
    EventGridOpen,
    /// Any sender of CloudEvents, by `OPTIONS`.
    CloudEvents,
}

impl HandshakeKind {
    /// The label.
    fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Status codes that the public listener itself returns; actix answers a broken request line before we see it.
const CODES: [u16; 15] = [
    200, 202, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 431, 500, 503,
];

/// Bounds of both histograms, seconds: one fsync is around 1 ms on a good disk and 100 ms on a bad one.
const SECONDS: [f64; 13] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// The metrics of the public listener.
#[derive(Clone, Debug)]
pub struct IngressMetrics {
    callbacks: IntCounterVec,
    callback_seconds: Histogram,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGauge,
    by_type: IntCounterVec,
    rejected: IntCounterVec,
    drift: IntCounter,
    handshakes: IntCounterVec,
    rate_limited: IntCounterVec,
}

impl IngressMetrics {
    /// Creates all of them, with every series of a small label set at zero, and registers them.
    ///
    /// # Errors
    /// If they are on `registry` already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels)
        };
        let metrics = Self {
            callbacks: counters(
                "hookswitch_callbacks_total",
                "Callbacks by outcome; one refused before its envelope was decoded counts here only",
                &["outcome"],
            )?,
            callback_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "hookswitch_callback_duration_seconds",
                    "From the head of a callback to its answer",
                )
                .buckets(SECONDS.to_vec()),
            )?,
            requests: counters(
                "hookswitch_http_requests_total",
                "Requests to the public listener by route and status code",
                &["route", "code"],
            )?,
            request_seconds: HistogramVec::new(
                HistogramOpts::new(
                    "hookswitch_http_request_duration_seconds",
                    "From the head of a request to its answer, by route",
                )
                .buckets(SECONDS.to_vec()),
                &["route"],
            )?,
            in_flight: IntGauge::new(
                "hookswitch_callbacks_in_flight",
                "Callbacks in progress now",
            )?,
            by_type: counters(
                "hookswitch_events_by_type_total",
                "Events by type, generation and outcome; types that the catalogue does not know are other",
                &["type", "generation", "outcome"],
            )?,
            rejected: counters(
                "hookswitch_events_rejected_total",
                "Events of refused callbacks, by the reason of the refusal",
                &["reason"],
            )?,
            drift: IntCounter::new(
                "hookswitch_drift_total",
                "Members and enum values that the schemas do not know; /drift on the admin listener lists them",
            )?,
            handshakes: counters(
                "hookswitch_handshakes_total",
                "Requests for consent to events, by protocol (event_grid_open: without credentials) and result",
                &["kind", "outcome"],
            )?,
            rate_limited: counters(
                "hookswitch_rate_limited_total",
                "Callbacks answered 429, by app; of those that have a rate_limit",
                &["app"],
            )?,
        };
        for kind in HandshakeKind::VARIANTS {
            for outcome in ["granted", "refused"] {
                metrics
                    .handshakes
                    .with_label_values(&[kind.as_str(), outcome]);
            }
        }
        for outcome in CallbackOutcome::VARIANTS {
            metrics.callbacks.with_label_values(&[outcome.as_str()]);
        }
        for reason in RejectReason::VARIANTS {
            metrics.rejected.with_label_values(&[reason.as_str()]);
        }
        for code in CODES {
            metrics
                .requests
                .with_label_values(&["callbacks", &code.to_string()]);
        }
        metrics.requests.with_label_values(&["other", "404"]);
        for route in ["callbacks", "other"] {
            metrics.request_seconds.with_label_values(&[route]);
        }
        registry.register(Box::new(metrics.callbacks.clone()))?;
        registry.register(Box::new(metrics.callback_seconds.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.request_seconds.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.by_type.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.drift.clone()))?;
        registry.register(Box::new(metrics.handshakes.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        Ok(metrics)
    }

    /// Callbacks in progress now.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// Begins to count one request; `of_callbacks` says whether its path is a callback path.
    pub(super) fn timer(&self, of_callbacks: bool) -> RequestTimer<'_> {
        if of_callbacks {
            self.in_flight.inc();
        }
        RequestTimer {
            metrics: self,
            of_callbacks,
            begun: Instant::now(),
            answered: None,
        }
    }

    /// Counts one event whose outcome is decided. Both labels come from the catalogue or are `other`.
    pub(super) fn event(&self, event_type: &str, generation: &str, outcome: EventOutcome) {
        let outcome = match outcome {
            EventOutcome::Accepted => "accepted",
            EventOutcome::Duplicate => "duplicate",
            EventOutcome::Quarantined => "quarantined",
            EventOutcome::Refused => "refused",
        };
        self.by_type
            .with_label_values(&[event_type, generation, outcome])
            .inc();
    }

    /// Counts `events` of one refused callback.
    pub(super) fn rejected(&self, reason: RejectReason, events: usize) {
        self.rejected
            .with_label_values(&[reason.as_str()])
            .inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// The counter of an app's callbacks over its rate limit.
    pub(super) fn rate_limited(&self, app: &AppName) -> IntCounter {
        self.rate_limited.with_label_values(&[app.as_str()])
    }

    /// Counts one request for consent.
    pub(super) fn handshake(&self, kind: HandshakeKind, granted: bool) {
        let outcome = if granted { "granted" } else { "refused" };
        self.handshakes
            .with_label_values(&[kind.as_str(), outcome])
            .inc();
    }

    /// Counts one unknown member or enum value.
    pub(super) fn drift(&self) {
        self.drift.inc();
    }
}

/// A request being counted: it is counted even if its handler is dropped because the sender hung up.
pub(super) struct RequestTimer<'a> {
    metrics: &'a IngressMetrics,
    of_callbacks: bool,
    begun: Instant,
    answered: Option<(CallbackOutcome, u16)>,
}

impl RequestTimer<'_> {
    /// The request is answered.
    pub(super) fn answered(mut self, outcome: CallbackOutcome, code: u16) {
        self.answered = Some((outcome, code));
    }
}

impl Drop for RequestTimer<'_> {
    fn drop(&mut self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let route = if self.of_callbacks {
            "callbacks"
        } else {
            "other"
        };
        if self.of_callbacks {
            self.metrics.in_flight.dec();
            let outcome = self
                .answered
                .map_or(CallbackOutcome::Abandoned, |(outcome, _)| outcome);
            self.metrics
                .callbacks
                .with_label_values(&[outcome.as_str()])
                .inc();
            self.metrics.callback_seconds.observe(seconds);
        }
        if let Some((_, code)) = self.answered {
            self.metrics
                .requests
                .with_label_values(&[route, &code.to_string()])
                .inc();
            self.metrics
                .request_seconds
                .with_label_values(&[route])
                .observe(seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn check(registry: &Registry, lines: &[&str]) {
        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in lines {
            assert!(
                text.lines().any(|found| found == *line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn the_small_label_sets_stand_at_zero_from_the_start() {
        let registry = Registry::new();
        IngressMetrics::register(&registry).unwrap();
        let mut lines: Vec<String> = vec![
            "hookswitch_callbacks_in_flight 0".into(),
            "hookswitch_drift_total 0".into(),
            "hookswitch_handshakes_total{kind=\"cloud_events\",outcome=\"granted\"} 0".into(),
            "hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"refused\"} 0".into(),
            "hookswitch_handshakes_total{kind=\"event_grid_open\",outcome=\"granted\"} 0".into(),
            "hookswitch_callback_duration_seconds_count 0".into(),
            "hookswitch_http_request_duration_seconds_count{route=\"callbacks\"} 0".into(),
        ];
        for outcome in CallbackOutcome::VARIANTS {
            let outcome = outcome.as_str();
            lines.push(format!(
                "hookswitch_callbacks_total{{outcome=\"{outcome}\"}} 0"
            ));
        }
        for reason in RejectReason::VARIANTS {
            let reason = reason.as_str();
            lines.push(format!(
                "hookswitch_events_rejected_total{{reason=\"{reason}\"}} 0"
            ));
        }
        for code in CODES {
            lines.push(format!(
                "hookswitch_http_requests_total{{code=\"{code}\",route=\"callbacks\"}} 0"
            ));
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        check(&registry, &lines);
    }

    #[test]
    fn a_visit_is_counted_once_even_when_it_is_dropped_unanswered() {
        let registry = Registry::new();
        let metrics = IngressMetrics::register(&registry).unwrap();
        let timer = metrics.timer(true);
        check(&registry, &["hookswitch_callbacks_in_flight 1"]);
        drop(timer);
        metrics.timer(true).answered(CallbackOutcome::Accepted, 202);
        metrics
            .timer(false)
            .answered(CallbackOutcome::NotFound, 404);
        check(
            &registry,
            &[
                "hookswitch_callbacks_in_flight 0",
                "hookswitch_callbacks_total{outcome=\"abandoned\"} 1",
                "hookswitch_callbacks_total{outcome=\"accepted\"} 1",
                "hookswitch_callbacks_total{outcome=\"not_found\"} 0",
                "hookswitch_http_requests_total{code=\"202\",route=\"callbacks\"} 1",
                "hookswitch_http_requests_total{code=\"404\",route=\"other\"} 1",
            ],
        );
    }
}
