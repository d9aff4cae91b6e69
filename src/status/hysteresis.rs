//! Readiness that follows the broker without flapping (`confirm` mode).

use std::time::{Duration, Instant};

/// How long the broker must be away before readiness shows it: callbacks that wait for their confirm bridge shorter
/// absences (a reconnect, a leader election).
pub(super) const AWAY: Duration = Duration::from_secs(10);

/// How long the broker must be back before readiness shows it.
pub(super) const BACK: Duration = Duration::from_secs(2);

/// Follows a flag, but only after it has stayed changed for a while. The time is passed in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hysteresis {
    /// The last value of the flag, and since when.
    flag: bool,
    since: Option<Instant>,
    /// The value shown.
    said: bool,
}

impl Hysteresis {
    /// Sets the flag.
    pub(super) fn tell(&mut self, flag: bool, now: Instant) {
        self.said = self.says(now);
        if flag != self.flag || self.since.is_none() {
            self.flag = flag;
            self.since = Some(now);
        }
    }

    /// The value to show at `now`.
    pub(super) fn says(&self, now: Instant) -> bool {
        let delay = if self.flag { BACK } else { AWAY };
        match self.since {
            Some(since) if now.saturating_duration_since(since) >= delay => self.flag,
            _ => self.said,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(steps: &[(u64, bool)], at: u64, expected: bool) {
        let start = Instant::now();
        let mut watch = Hysteresis::default();
        for (second, flag) in steps {
            watch.tell(*flag, start + Duration::from_secs(*second));
        }
        assert_eq!(
            watch.says(start + Duration::from_secs(at)),
            expected,
            "{steps:?} at {at}"
        );
    }

    #[test]
    fn nothing_counts_as_present_before_it_was_seen() {
        check(&[], 100, false);
        check(&[(0, false)], 100, false);
        check(&[(0, true)], 1, false);
        check(&[(0, true)], 2, true);
    }

    #[test]
    fn a_short_absence_does_not_show() {
        check(&[(0, true), (100, false)], 109, true);
        check(&[(0, true), (100, false), (105, true)], 105, true);
        check(&[(0, true), (100, false)], 110, false);
    }

    #[test]
    fn a_broker_that_flutters_after_a_long_absence_is_not_back() {
        check(
            &[(0, true), (10, false), (30, true), (31, false)],
            32,
            false,
        );
        check(&[(0, true), (10, false), (30, true)], 31, false);
        check(&[(0, true), (10, false), (30, true)], 32, true);
    }

    #[test]
    fn a_repeated_report_does_not_restart_the_clock() {
        check(
            &[(0, true), (10, false), (15, false), (19, false)],
            20,
            false,
        );
    }
}
