//! Latencies in a histogram of microseconds with three significant digits.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Durations of one kind.
#[derive(Clone)]
pub(super) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new(3).expect("three significant digits are allowed"))
    }
}

/// Percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Percentiles {
    /// Half were not above this.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    pub(super) fn record(&mut self, microseconds: u64) {
        // The histogram grows as needed; only values near 2^63 do not fit.
        if self.0.record(microseconds).is_err() {
            self.0.saturating_record(microseconds);
        }
    }

    /// `None` where nothing was recorded.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        if self.0.is_empty() {
            return None;
        }
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile));
        Some(Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(self.0.max()),
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a run are far below 2^52"
)]
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds_and_absent_without_a_value() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentiles(), None);
        for value in 1..=1_000 {
            latency.record(value * 1_000);
        }
        let read = latency.percentiles().unwrap();
        let near = |value: f64, expected: f64| (value - expected).abs() / expected < 0.01;
        assert!(near(read.p50, 500.0) && near(read.p99, 990.0), "{read:?}");
        assert!(near(read.max, 1_000.0), "{read:?}");
    }
}
