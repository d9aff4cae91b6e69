//! Unix time in microseconds that never runs backwards.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Read once from the system, then counted on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    zero: Instant,
    zero_us: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            zero: Instant::now(),
            zero_us: whole_us(since),
        }
    }

    pub(super) fn now_us(&self) -> u64 {
        self.zero_us + whole_us(self.zero.elapsed())
    }
}

/// Microseconds, cut off.
pub(super) fn whole_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
