//! Notices that the journal's writer makes no progress: a disk that does not finish a commit, or a lock that another
//! program holds on the database. Written by the writer, read by the probes and by waiting callbacks.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long an open commit may take.
#[derive(Clone, Copy, Debug)]
pub struct StallLimits {
    /// The instance is not ready, and callbacks are refused at once.
    pub stalled: Duration,
    /// Liveness fails.
    pub dead: Duration,
}

/// What is wrong, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Since the commit began that is still open, or the first of those that another program's lock refused.
    pub age: Duration,
    /// Another program holds a write lock.
    pub locked: bool,
    /// Liveness fails.
    pub dead: bool,
}

impl Stall {
    /// The reason as text.
    #[must_use]
    pub fn why(&self) -> String {
        let age = self.age.as_secs();
        if self.locked {
            format!(
                "another program has held a write lock on the journal's database for {age} s: end it"
            )
        } else {
            format!("the journal's disk has not finished a commit for {age} s")
        }
    }
}

/// Times the work of the journal's writer.
#[derive(Debug)]
pub struct StallDetector {
    limits: StallLimits,
    work: Mutex<WriterWork>,
}

#[derive(Debug, Default)]
struct WriterWork {
    /// Since when the writer is at work, or was refused.
    since: Option<Instant>,
    waits_for_lock: bool,
    /// A lock refused the last commit: the end of the work was no progress.
    refused: bool,
    logged: bool,
}

/// For a store that cannot stall: no work begins.
impl Default for StallDetector {
    fn default() -> Self {
        Self::new(StallLimits {
            stalled: Duration::MAX,
            dead: Duration::MAX,
        })
    }
}

impl StallDetector {
    /// A detector without work.
    #[must_use]
    pub fn new(limits: StallLimits) -> Self {
        Self {
            limits,
            work: Mutex::default(),
        }
    }

    /// The writer begins work that touches the disk.
    pub fn begin(&self) {
        self.work().since.get_or_insert_with(Instant::now);
    }

    /// The writer waits for the database's write lock, or has it.
    pub fn waits_for_lock(&self, waits: bool) {
        self.work().waits_for_lock = waits;
    }

    pub fn lock_refused(&self) {
        self.work().refused = true;
    }

    /// The lock was taken, so its previous holder has released it.
    pub fn lock_taken(&self) {
        self.work().refused = false;
    }

    /// The work is done. If the lock was refused, the time keeps running.
    pub fn end(&self) {
        let mut work = self.work();
        if work.refused {
            return;
        }
        if work.logged
            && let Some(since) = work.since
        {
            tracing::warn!(seconds = since.elapsed().as_secs(), "the journal continues");
        }
        *work = WriterWork::default();
    }

    /// What is wrong now, if anything.
    #[must_use]
    pub fn stall(&self, now: Instant) -> Option<Stall> {
        let mut work = self.work();
        let age = now.saturating_duration_since(work.since?);
        if age < self.limits.stalled {
            return None;
        }
        let stall = Stall {
            age,
            locked: work.waits_for_lock || work.refused,
            dead: age >= self.limits.dead,
        };
        if !std::mem::replace(&mut work.logged, true) {
            tracing::error!(
                why = stall.why(),
                "the journal is stalled: nothing is accepted"
            );
        }
        Some(stall)
    }

    /// When the current work, or else work that begins now, counts as stalled; `None` if never.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let since = self.work().since.unwrap_or(now);
        since.checked_add(self.limits.stalled)
    }

    fn work(&self) -> MutexGuard<'_, WriterWork> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StallLimits = StallLimits {
        stalled: Duration::from_secs(3),
        dead: Duration::from_secs(60),
    };

    fn check(detector: &StallDetector, seconds: u64, expected: Option<(bool, bool)>) {
        let found = detector.stall(Instant::now() + Duration::from_secs(seconds));
        let found = found.map(|stall| (stall.locked, stall.dead));
        assert_eq!(found, expected, "{seconds} s from now: {detector:?}");
    }

    #[test]
    fn a_commit_that_stays_open_is_a_stall_and_later_dead() {
        let detector = StallDetector::new(LIMITS);
        check(&detector, 100, None);
        detector.begin();
        check(&detector, 2, None);
        check(&detector, 4, Some((false, false)));
        check(&detector, 61, Some((false, true)));
        detector.end();
        check(&detector, 100, None);
    }

    #[test]
    fn a_refused_lock_counts_from_the_first_refusal_until_the_lock_is_had() {
        let detector = StallDetector::new(LIMITS);
        for _ in 0..3 {
            detector.begin();
            detector.waits_for_lock(true);
            check(&detector, 4, Some((true, false)));
            detector.lock_refused();
            detector.end();
            check(&detector, 61, Some((true, true)));
        }
        detector.begin();
        detector.waits_for_lock(true);
        detector.waits_for_lock(false);
        detector.lock_taken();
        // The disk may hang as well.
        check(&detector, 4, Some((false, false)));
        detector.end();
        check(&detector, 100, None);
    }

    #[test]
    fn the_reason_says_what_to_do() {
        let stall = |locked| Stall {
            age: Duration::from_millis(12_900),
            locked,
            dead: false,
        };
        for (locked, expected) in [
            (true, "another program has held a write lock"),
            (false, "has not finished a commit for 12 s"),
        ] {
            let why = stall(locked).why();
            assert!(why.contains(expected), "{why}");
        }
    }
}
