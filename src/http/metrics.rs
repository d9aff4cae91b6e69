//! Connection metrics. Labels come from closed sets and are present at zero from the start.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use strum::{IntoStaticStr, VariantArray};

/// Which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ListenerName {
    /// Callbacks.
    Public,
    /// Health, metrics, live feed.
    Admin,
}

impl ListenerName {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The setting of its certificate.
    #[must_use]
    pub const fn tls_setting(self) -> &'static str {
        match self {
            Self::Public => "server.tls",
            Self::Admin => "server.admin_tls",
        }
    }
}

/// Why one more connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum ConnectionLimitReached {
    /// The limit of all connections.
    Total,
    /// The limit of connections of this peer.
    Peer,
}

impl ConnectionLimitReached {
    fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a connection was ended although its peer did not want that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum CutReason {
    /// It sent something that is not a request; answered 400.
    Malformed,
    /// A head was not complete in time; answered 408.
    LateHead,
    /// A head is larger than the limit; answered 431.
    HeadTooLarge,
    /// It went on sending a body that had been refused.
    UnreadBody,
    /// It did not read its answer.
    UnreadAnswer,
    /// Its TLS handshake failed or did not come to an end in time.
    #[strum(serialize = "tls_handshake")]
    Handshake,
    /// It had been idle the longest when another one arrived at the limit.
    Evicted,
}

impl CutReason {
    fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The metrics of both listeners' connections.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    open: IntGaugeVec,
    refused: IntCounterVec,
    cut: IntCounterVec,
    expiry: IntGaugeVec,
    reload_failures: IntCounterVec,
}

impl ConnectionMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// If they are on `registry` already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            open: IntGaugeVec::new(
                Opts::new("hookswitch_connections", "Open connections by listener"),
                &["listener"],
            )?,
            refused: IntCounterVec::new(
                Opts::new(
                    "hookswitch_connections_refused_total",
                    "Connections refused because of a limit, by listener and limit",
                ),
                &["listener", "reason"],
            )?,
            cut: IntCounterVec::new(
                Opts::new(
                    "hookswitch_connections_cut_total",
                    "Connections that the listener ended before a request was handled or after its answer, by listener and reason",
                ),
                &["listener", "reason"],
            )?,
            expiry: IntGaugeVec::new(
                Opts::new(
                    "hookswitch_tls_certificate_expiry_timestamp_seconds",
                    "When the certificate of a listener expires; absent for a listener without TLS",
                ),
                &["listener"],
            )?,
            reload_failures: IntCounterVec::new(
                Opts::new(
                    "hookswitch_tls_reload_failures_total",
                    "Changed certificates or keys that could not be used, by listener; the previous ones stay in use",
                ),
                &["listener"],
            )?,
        };
        for &name in ListenerName::VARIANTS {
            metrics.of(name);
            metrics.reload_failures.with_label_values(&[name.as_str()]);
        }
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.cut.clone()))?;
        registry.register(Box::new(metrics.expiry.clone()))?;
        registry.register(Box::new(metrics.reload_failures.clone()))?;
        Ok(metrics)
    }

    /// Shows when the certificate of a listener expires.
    pub(super) fn expires(&self, name: ListenerName, at: Option<i64>) {
        if let Some(at) = at {
            self.expiry.with_label_values(&[name.as_str()]).set(at);
        }
    }

    pub(super) fn reload_failed(&self, name: ListenerName) {
        self.reload_failures
            .with_label_values(&[name.as_str()])
            .inc();
    }

    pub(super) fn of(&self, name: ListenerName) -> Arc<ConnectionCounts> {
        let name = name.as_str();
        Arc::new(ConnectionCounts {
            open: self.open.with_label_values(&[name]),
            refused: ConnectionLimitReached::VARIANTS
                .iter()
                .map(|why| (*why, self.refused.with_label_values(&[name, why.as_str()])))
                .collect(),
            cut: CutReason::VARIANTS
                .iter()
                .map(|why| (*why, self.cut.with_label_values(&[name, why.as_str()])))
                .collect(),
        })
    }
}

/// The counters of one listener.
pub(super) struct ConnectionCounts {
    pub(super) open: IntGauge,
    refused: Vec<(ConnectionLimitReached, IntCounter)>,
    cut: Vec<(CutReason, IntCounter)>,
}

impl ConnectionCounts {
    pub(super) fn refused(&self, why: ConnectionLimitReached) {
        for (_, counter) in self.refused.iter().filter(|(full, _)| *full == why) {
            counter.inc();
        }
    }

    pub(super) fn cut(&self, why: CutReason) {
        for (_, counter) in self.cut.iter().filter(|(cut, _)| *cut == why) {
            counter.inc();
        }
    }
}
