//! The conservation counters of promise P3: events received and deliveries pending, always read as one snapshot.

use std::sync::{Mutex, PoisonError};

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// The outcome of one received event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventOutcome {
    /// Durable and pending for its destinations.
    Accepted,
    /// Already known.
    Duplicate,
    /// Kept in quarantine.
    Quarantined,
    /// The callback was refused with an error status after its envelope was decoded.
    Refused,
}

/// The numbers of both laws (P3; docs/src/operator/health.md, "Conservation laws"). Counters are per process, gauges
/// are current values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerCounts {
    /// Events whose outcome is decided.
    pub received: u64,
    /// … accepted.
    pub accepted: u64,
    /// … already known.
    pub duplicate: u64,
    /// … quarantined on receipt.
    pub quarantined: u64,
    /// … refused.
    pub refused: u64,
    /// Deliveries enqueued by this process.
    pub owed: u64,
    /// Deliveries that were pending in the journal when this process opened it.
    pub recovered: u64,
    /// Deliveries confirmed by the broker.
    pub delivered: u64,
    /// Deliveries given up and moved to quarantine (each then adds one pending delivery to the quarantine).
    pub moved: u64,
    /// Deliveries pending now: counted by the journal's index, not derived from the others.
    pub pending: u64,
}

impl LedgerCounts {
    /// The only place where a received event is counted: as received and under its outcome, in one step.
    pub fn decide(&mut self, outcomes: impl IntoIterator<Item = EventOutcome>) {
        for outcome in outcomes {
            self.received += 1;
            match outcome {
                EventOutcome::Accepted => self.accepted += 1,
                EventOutcome::Duplicate => self.duplicate += 1,
                EventOutcome::Quarantined => self.quarantined += 1,
                EventOutcome::Refused => self.refused += 1,
            }
        }
    }
}

/// One lock around all of [`LedgerCounts`], so that a scrape never sees half a step.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<LedgerCounts>);

impl Ledger {
    /// Counts the decided outcomes of one callback's events.
    pub fn decide(&self, outcomes: impl IntoIterator<Item = EventOutcome>) {
        self.update(|counts| counts.decide(outcomes));
    }

    /// Changes several numbers in one step that no snapshot can split.
    pub fn update<T>(&self, change: impl FnOnce(&mut LedgerCounts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All numbers at one instant.
    #[must_use]
    pub fn snapshot(&self) -> LedgerCounts {
        self.update(|counts| *counts)
    }
}

/// Shows a [`Ledger`] on `/metrics`.
#[derive(Debug)]
pub struct LedgerCollector {
    ledger: std::sync::Arc<Ledger>,
    descs: Vec<Desc>,
}

impl LedgerCollector {
    /// A collector to register once.
    ///
    /// # Errors
    /// Only if a metric name is malformed, which a test rules out.
    pub fn new(ledger: std::sync::Arc<Ledger>) -> prometheus::Result<Self> {
        let families = LedgerFamilies::of(LedgerCounts::default())?;
        let descs = families
            .collectors()
            .iter()
            .flat_map(|collector| collector.desc().into_iter().cloned())
            .collect();
        Ok(Self { ledger, descs })
    }
}

impl Collector for LedgerCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        LedgerFamilies::of(self.ledger.snapshot())
            .map(|families| {
                families
                    .collectors()
                    .iter()
                    .flat_map(|collector| collector.collect())
                    .collect()
            })
            .unwrap_or_default()
    }
}

struct LedgerFamilies {
    received: IntCounter,
    events: IntCounterVec,
    owed: IntCounter,
    deliveries: IntCounterVec,
    recovered: IntGauge,
    pending: IntGauge,
}

impl LedgerFamilies {
    fn of(counts: LedgerCounts) -> prometheus::Result<Self> {
        let families = Self {
            received: IntCounter::new(
                "hookswitch_events_received_total",
                "Events whose outcome is decided: the sum of hookswitch_events_total over its outcomes",
            )?,
            events: IntCounterVec::new(
                Opts::new("hookswitch_events_total", "Events received, by outcome"),
                &["outcome"],
            )?,
            owed: IntCounter::new(
                "hookswitch_deliveries_owed_total",
                "Deliveries enqueued by this process",
            )?,
            deliveries: IntCounterVec::new(
                Opts::new(
                    "hookswitch_deliveries_total",
                    "Deliveries that are no longer pending, by outcome",
                ),
                &["outcome"],
            )?,
            recovered: IntGauge::new(
                "hookswitch_deliveries_recovered",
                "Deliveries that were pending in the journal when this process opened it",
            )?,
            pending: IntGauge::new(
                "hookswitch_deliveries_pending",
                "Deliveries pending now, as counted by the journal's index",
            )?,
        };
        families.received.inc_by(counts.received);
        for (outcome, count) in [
            ("accepted", counts.accepted),
            ("duplicate", counts.duplicate),
            ("quarantined", counts.quarantined),
            ("refused", counts.refused),
        ] {
            families.events.with_label_values(&[outcome]).inc_by(count);
        }
        families.owed.inc_by(counts.owed);
        for (outcome, count) in [
            ("delivered", counts.delivered),
            ("quarantined", counts.moved),
        ] {
            families
                .deliveries
                .with_label_values(&[outcome])
                .inc_by(count);
        }
        families
            .recovered
            .set(i64::try_from(counts.recovered).unwrap_or(i64::MAX));
        families
            .pending
            .set(i64::try_from(counts.pending).unwrap_or(i64::MAX));
        Ok(families)
    }

    fn collectors(&self) -> [&dyn Collector; 6] {
        [
            &self.received,
            &self.events,
            &self.owed,
            &self.deliveries,
            &self.recovered,
            &self.pending,
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_scrape_shows_every_series_from_the_start() {
        let registry = prometheus::Registry::new();
        let ledger = Arc::new(Ledger::default());
        registry
            .register(Box::new(LedgerCollector::new(ledger.clone()).unwrap()))
            .unwrap();
        ledger.decide([EventOutcome::Accepted, EventOutcome::Refused]);
        ledger.update(|counts| {
            counts.owed += 2;
            counts.pending = 2;
        });
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "hookswitch_events_received_total 2",
            "hookswitch_events_total{outcome=\"accepted\"} 1",
            "hookswitch_events_total{outcome=\"duplicate\"} 0",
            "hookswitch_deliveries_total{outcome=\"delivered\"} 0",
            "hookswitch_deliveries_pending 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
