//! The journal's metrics, present from the start.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Numbers that the writer updates and a scrape reads.
#[derive(Debug, Default)]
pub(super) struct JournalGauges {
    pub(super) bytes: AtomicU64,
    pub(super) records: AtomicU64,
    /// Seconds since the epoch at which the oldest record was received; 0 if none is pending.
    pub(super) oldest: AtomicI64,
}

/// The journal's metrics.
#[derive(Clone, Debug)]
pub(super) struct JournalMetrics {
    pub(super) gauges: Arc<JournalGauges>,
    pub(super) fsync_seconds: Histogram,
    pub(super) batch_size: Histogram,
    pub(super) write_errors: IntCounter,
    pub(super) duplicates_evicted: IntCounter,
    pub(super) calls_evicted: IntCounter,
    pub(super) call_keys: IntGauge,
    pub(super) keys_diverted: IntCounter,
    pub(super) unreadable: IntCounter,
    pub(super) salvages: IntCounter,
    pub(super) salvaged: IntCounter,
    pub(super) lost: IntCounter,
}

impl JournalMetrics {
    /// Makes and registers them; once per registry.
    pub(super) fn register(registry: &Registry, limit_bytes: u64) -> prometheus::Result<Self> {
        let salvaged = IntCounterVec::new(
            Opts::new(
                "hookswitch_journal_salvaged_records_total",
                "Records of a damaged journal, by outcome",
            ),
            &["outcome"],
        )?;
        let limit = IntGauge::new(
            "hookswitch_journal_limit_bytes",
            "Limit of live records (journal.limit_bytes)",
        )?;
        limit.set(i64::try_from(limit_bytes).unwrap_or(i64::MAX));
        let metrics = Self {
            gauges: Arc::default(),
            fsync_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "hookswitch_journal_fsync_duration_seconds",
                    "How long a commit with its fsync took",
                )
                .buckets(vec![
                    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
                    0.25, 0.5, 1.0, 2.5,
                ]),
            )?,
            batch_size: Histogram::with_opts(
                HistogramOpts::new(
                    "hookswitch_journal_batch_size",
                    "Events made durable by one commit",
                )
                .buckets(vec![
                    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
                ]),
            )?,
            write_errors: IntCounter::new(
                "hookswitch_journal_write_errors_total",
                "Commits that failed, a full disk included",
            )?,
            duplicates_evicted: IntCounter::new(
                "hookswitch_duplicates_evicted_total",
                "Duplicate keys forgotten early because the window was full",
            )?,
            calls_evicted: IntCounter::new(
                "hookswitch_call_keys_evicted_total",
                "Call keys, bindings and sequences forgotten early because there were too many",
            )?,
            call_keys: IntGauge::new("hookswitch_call_keys", "Call keys in use")?,
            keys_diverted: IntCounter::new(
                "hookswitch_routing_keys_diverted_total",
                "Deliveries to an exchange that went to hookswitch.unrouted because their app has too many routing keys",
            )?,
            unreadable: IntCounter::new(
                "hookswitch_journal_unreadable_records_total",
                "Reads of records that are damaged on disk",
            )?,
            salvages: IntCounter::new(
                "hookswitch_journal_salvages_total",
                "Damaged journals that were salvaged at start",
            )?,
            salvaged: salvaged.with_label_values(&["recovered"]),
            lost: salvaged.with_label_values(&["lost"]),
        };
        let collectors: [Box<dyn Collector>; 12] = [
            Box::new(metrics.fsync_seconds.clone()),
            Box::new(metrics.batch_size.clone()),
            Box::new(metrics.write_errors.clone()),
            Box::new(metrics.duplicates_evicted.clone()),
            Box::new(metrics.calls_evicted.clone()),
            Box::new(metrics.call_keys.clone()),
            Box::new(metrics.keys_diverted.clone()),
            Box::new(metrics.unreadable.clone()),
            Box::new(metrics.salvages.clone()),
            Box::new(salvaged),
            Box::new(limit),
            Box::new(GaugesCollector::new(metrics.gauges.clone())?),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        Ok(metrics)
    }
}

/// The age must be right at the time of the scrape, not of the last commit.
#[derive(Debug)]
struct GaugesCollector {
    gauges: Arc<JournalGauges>,
    bytes: IntGauge,
    records: IntGauge,
    age: Gauge,
}

impl GaugesCollector {
    fn new(gauges: Arc<JournalGauges>) -> prometheus::Result<Self> {
        Ok(Self {
            gauges,
            bytes: IntGauge::new(
                "hookswitch_journal_bytes",
                "Bytes of live records: events and their facts",
            )?,
            records: IntGauge::new("hookswitch_journal_records", "Live records")?,
            age: Gauge::new(
                "hookswitch_journal_oldest_unpublished_age_seconds",
                "Age of the oldest pending record; 0 if there is none",
            )?,
        })
    }
}

impl Collector for GaugesCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.bytes.desc(), self.records.desc(), self.age.desc()].concat()
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "an age in seconds is far below 2^52"
    )]
    fn collect(&self) -> Vec<MetricFamily> {
        let read =
            |value: &AtomicU64| i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        self.bytes.set(read(&self.gauges.bytes));
        self.records.set(read(&self.gauges.records));
        let oldest = self.gauges.oldest.load(Ordering::Relaxed);
        self.age.set(match oldest {
            0 => 0.0,
            since => (jiff::Timestamp::now().as_second() - since).max(0) as f64,
        });
        [
            self.bytes.collect(),
            self.records.collect(),
            self.age.collect(),
        ]
        .concat()
    }
}
