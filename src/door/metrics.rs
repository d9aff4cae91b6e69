//! What is counted of connections. Labels come from closed sets and stand at zero from the start.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::places::Full;

/// Which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Callbacks.
    Public,
    /// Health, metrics, live feed.
    Admin,
}

impl Name {
    const ALL: [Self; 2] = [Self::Public, Self::Admin];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }
}

/// Why a connection was ended although its peer did not want that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It sent what is no request; answered 400.
    Malformed,
    /// A head did not come in time; answered 408.
    LateHead,
    /// A head is larger than can be read; answered 431.
    HeadTooLarge,
    /// It went on with a body that was refused long ago.
    UnreadBody,
    /// It did not take its answer.
    UnreadAnswer,
}

impl Cut {
    const ALL: [Self; 5] = [
        Self::Malformed,
        Self::LateHead,
        Self::HeadTooLarge,
        Self::UnreadBody,
        Self::UnreadAnswer,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::LateHead => "late_head",
            Self::HeadTooLarge => "head_too_large",
            Self::UnreadBody => "unread_body",
            Self::UnreadAnswer => "unread_answer",
        }
    }
}

/// The metrics of both listeners' connections.
#[derive(Clone, Debug)]
pub struct DoorMetrics {
    open: IntGaugeVec,
    refused: IntCounterVec,
    cut: IntCounterVec,
}

impl DoorMetrics {
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
                    "Connections that found no place, by listener and which limit was reached",
                ),
                &["listener", "reason"],
            )?,
            cut: IntCounterVec::new(
                Opts::new(
                    "hookswitch_connections_cut_total",
                    "Connections ended before a handler was asked or after it answered, by listener and what their peer did wrong",
                ),
                &["listener", "reason"],
            )?,
        };
        for name in Name::ALL {
            metrics.of(name);
        }
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.cut.clone()))?;
        Ok(metrics)
    }

    pub(super) fn of(&self, name: Name) -> Arc<Counts> {
        let name = name.as_str();
        Arc::new(Counts {
            open: self.open.with_label_values(&[name]),
            refused: Full::ALL
                .map(|why| (why, self.refused.with_label_values(&[name, why.as_str()]))),
            cut: Cut::ALL.map(|why| (why, self.cut.with_label_values(&[name, why.as_str()]))),
        })
    }
}

/// Those of one listener.
pub(super) struct Counts {
    pub(super) open: IntGauge,
    refused: [(Full, IntCounter); 2],
    cut: [(Cut, IntCounter); Cut::ALL.len()],
}

impl Counts {
    pub(super) fn refused(&self, why: Full) {
        for (_, counter) in self.refused.iter().filter(|(full, _)| *full == why) {
            counter.inc();
        }
    }

    pub(super) fn cut(&self, why: Cut) {
        for (_, counter) in self.cut.iter().filter(|(cut, _)| *cut == why) {
            counter.inc();
        }
    }
}
