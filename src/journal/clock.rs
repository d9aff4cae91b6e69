//! The journal's own time, by which duplicates, call keys, bindings and sequences expire.
//!
//! It counts elapsed milliseconds and never uses a wall clock, which can be set: while the process runs, and for a
//! later process of the same boot, it uses the system's time since boot. Only across a boot, or on another machine, the
//! wall clock is the only way to tell how long the journal was closed. Then the difference counts if it is forwards,
//! whatever its size: beyond 24 h all differences have the same effect. It begins at the wall clock's time.

use std::{cell::Cell, fs};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How old the stored stamp may become before the next commit writes a new one.
const STAMP_INTERVAL: i64 = 60 * 1_000;

/// Also counts while the machine is suspended.
#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// Where Linux shows the id of the boot, the same in all containers of a machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The readings of the machine's clocks, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) wall: i64,
    pub(super) since_boot: i64,
    /// `None` if the system has no boot id.
    pub(super) boot: Option<Uuid>,
}

/// The clocks of the machine.
#[derive(Clone, Debug, Default)]
pub(super) enum Machine {
    #[default]
    Real,
    /// Set by a test.
    #[cfg(test)]
    Set(std::sync::Arc<std::sync::Mutex<Reading>>),
}

impl Machine {
    fn read(&self) -> Reading {
        match self {
            Self::Real => Reading {
                wall: Timestamp::now().as_millisecond(),
                since_boot: since_boot(),
                boot: fs::read_to_string(BOOT_ID)
                    .ok()
                    .and_then(|id| id.trim().parse().ok()),
            },
            #[cfg(test)]
            Self::Set(reading) => *reading.lock().unwrap(),
        }
    }

    fn since_boot(&self) -> i64 {
        match self {
            Self::Real => since_boot(),
            #[cfg(test)]
            Self::Set(reading) => reading.lock().unwrap().since_boot,
        }
    }
}

fn since_boot() -> i64 {
    let now = clock_gettime(SINCE_BOOT);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

/// The journal's time at one moment, with the readings of the machine's clocks; stored with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    time: i64,
    wall: i64,
    since_boot: i64,
    boot: Option<Uuid>,
}

impl Stamp {
    fn time_at(&self, now: &Reading) -> i64 {
        let same_boot = self.boot.is_some() && self.boot == now.boot;
        let passed = match now.since_boot.checked_sub(self.since_boot) {
            Some(passed) if same_boot && passed >= 0 => passed,
            // Another boot, or a machine that was reset to an earlier state.
            _ => now.wall.saturating_sub(self.wall).max(0),
        };
        self.time.saturating_add(passed)
    }
}

/// The time of an open journal.
#[derive(Debug)]
pub(super) struct Clock {
    machine: Machine,
    /// When the journal was opened.
    opened: Stamp,
    /// The time of the last stored stamp.
    stored: Cell<i64>,
}

impl Clock {
    /// Continues from `stored`; without one, as in a new journal, from the wall clock.
    /// Never from before `latest`, the latest time in the journal's rows.
    pub(super) fn resume(machine: Machine, stored: Option<Stamp>, latest: i64) -> Self {
        let now = machine.read();
        let time = stored.map_or(now.wall, |stamp| stamp.time_at(&now));
        let opened = Stamp {
            time: time.max(latest),
            wall: now.wall,
            since_boot: now.since_boot,
            boot: now.boot,
        };
        Self {
            machine,
            opened,
            stored: Cell::new(opened.time),
        }
    }

    /// Milliseconds; never less than before.
    pub(super) fn now(&self) -> i64 {
        self.at(self.machine.since_boot())
    }

    fn at(&self, since_boot: i64) -> i64 {
        let passed = since_boot.saturating_sub(self.opened.since_boot).max(0);
        self.opened.time.saturating_add(passed)
    }

    /// The stamp that an opening stores.
    pub(super) fn opened(&self) -> Stamp {
        self.opened
    }

    /// A stamp to store with the next commit, if the last one is old enough.
    pub(super) fn due(&self) -> Option<Stamp> {
        if self.now() < self.stored.get().saturating_add(STAMP_INTERVAL) {
            return None;
        }
        let now = self.machine.read();
        Some(Stamp {
            time: self.at(now.since_boot),
            wall: now.wall,
            since_boot: now.since_boot,
            boot: now.boot,
        })
    }

    /// The commit with this stamp is durable.
    pub(super) fn set_stored(&self, stamp: &Stamp) {
        self.stored.set(stamp.time);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn the_clocks_of_this_machine_can_be_read() {
        let (first, second) = (Machine::Real.read(), Machine::Real.read());
        assert!(first.since_boot > 0 && first.since_boot <= second.since_boot);
        assert_eq!(first.boot, second.boot);
        assert_eq!(first.boot.is_some(), cfg!(target_os = "linux"));
    }

    /// What happens to a machine and its journal.
    #[derive(Clone, Debug)]
    enum Step {
        Pass(i64),
        /// A person or a time service changes the wall clock by this much.
        SetWall(i64),
        /// With a callback, so that the commit may write a stamp.
        Commit,
        /// The process ends, cleanly or not, and starts again after this long.
        Restart(i64),
        /// The machine restarts as well, or the journal moves to another one whose wall clock differs by this much.
        Reboot(i64, i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let time = || prop_oneof![0..5_000_i64, 0..3 * HOUR, 0..10 * 24 * HOUR];
        let jump = || {
            prop_oneof![
                Just(0_i64),
                -30 * HOUR..30 * HOUR,
                Just(87_600 * HOUR),
                Just(-400_000 * HOUR)
            ]
        };
        let step = prop_oneof![
            3 => time().prop_map(Step::Pass),
            1 => jump().prop_map(Step::SetWall),
            3 => Just(Step::Commit),
            1 => time().prop_map(Step::Restart),
            1 => (time(), jump()).prop_map(|(time, jump)| Step::Reboot(time, jump)),
        ];
        prop::collection::vec(step, 1..40)
    }

    proptest! {
        /// Compared with a model that knows how much time really passed.
        #[test]
        fn time_is_what_passed_except_across_a_boot_where_the_wall_clock_says_it(steps in steps()) {
            let reading = Arc::new(Mutex::new(Reading {
                wall: 500_000 * HOUR,
                since_boot: HOUR,
                boot: Some(Uuid::from_u128(1)),
            }));
            let machine = Machine::Set(reading.clone());
            let mut clock = Clock::resume(machine.clone(), None, i64::MIN / 2);
            // The stamp on disk, and the expected time of the journal.
            let mut stored = clock.opened();
            let mut expected = 500_000 * HOUR;
            let pass = |time: i64| {
                let mut now = reading.lock().unwrap();
                now.wall += time;
                now.since_boot += time;
            };
            for step in steps {
                match step {
                    Step::Pass(time) => {
                        pass(time);
                        expected += time;
                    }
                    Step::SetWall(jump) => reading.lock().unwrap().wall += jump,
                    Step::Commit => {
                        if let Some(stamp) = clock.due() {
                            clock.set_stored(&stamp);
                            stored = stamp;
                        }
                        let late = clock.now() - stored.time;
                        prop_assert!((0..STAMP_INTERVAL).contains(&late), "the stamp is {} ms old", late);
                    }
                    Step::Restart(time) => {
                        pass(time);
                        expected += time;
                        clock = Clock::resume(machine.clone(), Some(stored), i64::MIN / 2);
                        stored = clock.opened();
                    }
                    Step::Reboot(time, jump) => {
                        // The rows have no later time than this.
                        let latest = clock.now();
                        pass(time);
                        {
                            let mut now = reading.lock().unwrap();
                            now.wall += jump;
                            now.since_boot = 7_000;
                            now.boot = now.boot.map(|boot| Uuid::from_u128(boot.as_u128() + 1));
                        }
                        let wall = reading.lock().unwrap().wall;
                        expected = latest.max(stored.time + (wall - stored.wall).max(0));
                        clock = Clock::resume(machine.clone(), Some(stored), latest);
                        stored = clock.opened();
                    }
                }
                prop_assert_eq!(clock.now(), expected);
            }
        }
    }

    fn reading(wall: i64, since_boot: i64, boot: Option<u128>) -> Machine {
        Machine::Set(Arc::new(Mutex::new(Reading {
            wall,
            since_boot,
            boot: boot.map(Uuid::from_u128),
        })))
    }

    #[test]
    fn without_the_name_of_the_boot_the_wall_clock_says_how_long_it_was_closed() {
        let stamp = Clock::resume(reading(100, 50, None), None, 0).opened();
        let later = |wall| Clock::resume(reading(wall, 90, None), Some(stamp), 0).now();
        assert_eq!((later(130), later(20)), (130, 100));
    }

    #[test]
    fn a_machine_that_was_put_back_to_an_earlier_state_is_as_another_boot() {
        let stamp = Clock::resume(reading(100, 50, Some(1)), None, 0).opened();
        let clock = Clock::resume(reading(107, 20, Some(1)), Some(stamp), 0);
        assert_eq!(clock.now(), 107);
    }
}
