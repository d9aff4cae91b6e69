//! What the journal forgets after 24 h, and that no change of the wall clock makes it forget sooner or later.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use uuid::Uuid;

use crate::journal::{
    Admitted,
    clock::{Machine, Reading},
    confirm_store::volatile_on,
    open::Tuning,
    test_support::{Running, callback, event, settings, status},
};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 8_766 * HOUR;

/// A machine with a journal on it.
struct World {
    directory: tempfile::TempDir,
    reading: Arc<Mutex<Reading>>,
}

impl World {
    fn new() -> Self {
        let reading = Reading {
            wall: 56 * YEAR,
            since_boot: HOUR,
            boot: Some(Uuid::from_u128(1)),
        };
        Self {
            directory: tempfile::tempdir().unwrap(),
            reading: Arc::new(Mutex::new(reading)),
        }
    }

    fn machine(&self) -> Machine {
        Machine::Set(self.reading.clone())
    }

    fn open(&self) -> Running {
        let tuning = Tuning {
            machine: self.machine(),
            ..Tuning::default()
        };
        Running::tuned(&settings(self.directory.path()), tuning).unwrap()
    }

    fn database(&self) -> PathBuf {
        self.directory.path().join("journal.db")
    }

    fn pass(&self, time: i64) {
        let mut now = self.reading.lock().unwrap();
        now.wall += time;
        now.since_boot += time;
    }

    fn set_wall(&self, change: i64) {
        self.reading.lock().unwrap().wall += change;
    }

    fn reboot(&self) {
        let mut now = self.reading.lock().unwrap();
        now.since_boot = 5_000;
        now.boot = Some(Uuid::new_v4());
    }
}

/// The sequence of a new event of `call`; it is delivered when this returns.
async fn sequence(running: &mut Running, call: &str) -> i64 {
    let id = Uuid::new_v4().to_string();
    running.accept(vec![event(call, &id, &["q"])]).await;
    delivered(running).await
}

async fn delivered(running: &mut Running) -> i64 {
    let owed = running.owed(1).await;
    let read = running.read(&owed).await;
    running.deliver([owed[0].delivery]);
    running
        .until("delivered", |counts| counts.pending == 0)
        .await;
    read[0].1.unwrap()
}

async fn is_known(running: &Running) -> bool {
    let first = vec![event("a", "first", &["q"])];
    running.submit(first).await.unwrap() == [Admitted::Duplicate]
}

enum Step {
    /// An event of another call, after which expired entries are gone.
    Other,
    /// Sets the wall clock forward or back.
    Set(i64),
    Restart,
}

/// Two events of call `a`, then `steps`; nothing may have been forgotten. A day later by every clock it must have been.
async fn check(what: &str, steps: &[Step]) {
    let world = World::new();
    let mut running = world.open();
    running.accept(vec![event("a", "first", &["q"])]).await;
    assert_eq!(delivered(&mut running).await, 1);
    assert_eq!(sequence(&mut running, "a").await, 2);
    for step in steps {
        match step {
            Step::Other => drop(sequence(&mut running, "b").await),
            Step::Set(change) => world.set_wall(*change),
            Step::Restart => {
                running.close();
                running = world.open();
            }
        }
        world.pass(60_000);
    }
    assert!(is_known(&running).await, "{what}: a duplicate is taken");
    assert_eq!(sequence(&mut running, "a").await, 3, "{what}");
    world.pass(25 * HOUR);
    assert!(!is_known(&running).await, "{what}: never forgotten");
    assert_eq!(delivered(&mut running).await, 1, "{what}: never dropped");
    running.close();
}

#[tokio::test]
async fn a_wall_clock_that_is_set_forgets_nothing_and_keeps_nothing() {
    use Step::{Other, Restart, Set};
    check("an hour back", &[Set(-HOUR), Other]).await;
    check("an hour back, restart", &[Set(-HOUR), Restart, Other]).await;
    let day = 25 * HOUR;
    check("a day ahead for one event", &[Set(day), Other, Set(-day)]).await;
    check("a day ahead, to stay", &[Set(day), Other, Restart, Other]).await;
    check(
        "a day ahead over a restart, and back over another",
        &[Set(day), Restart, Other, Set(-day), Restart],
    )
    .await;
    check(
        "ten years ahead and back",
        &[Set(10 * YEAR), Other, Set(-10 * YEAR), Other, Restart],
    )
    .await;
    check("to 1971", &[Set(-55 * YEAR), Other, Restart, Other]).await;
}

#[tokio::test]
async fn a_stop_counts_as_long_as_it_was_and_after_a_boot_the_wall_clock_says_so() {
    for (what, boot, change, stopped, next) in [
        ("a restart after an hour", false, 0, HOUR, 2),
        ("a restart after a week", false, 0, 168 * HOUR, 1),
        (
            "the same, and the clock was put back",
            false,
            -300 * HOUR,
            168 * HOUR,
            1,
        ),
        ("a boot after an hour", true, 0, HOUR, 2),
        ("a boot after a week", true, 0, 168 * HOUR, 1),
        (
            "a boot after which the clock is wrong",
            true,
            -50 * YEAR,
            HOUR,
            2,
        ),
    ] {
        let world = World::new();
        let mut running = world.open();
        assert_eq!(sequence(&mut running, "a").await, 1);
        running.close();
        world.pass(stopped);
        world.set_wall(change);
        if boot {
            world.reboot();
        }
        let mut running = world.open();
        assert_eq!(sequence(&mut running, "a").await, next, "{what}");
        world.pass(25 * HOUR);
        assert_eq!(
            sequence(&mut running, "a").await,
            1,
            "{what}: never dropped"
        );
        running.close();
    }
}

#[tokio::test]
async fn a_journal_of_an_earlier_version_goes_on_from_the_wall_clock() {
    for (what, change, next) in [
        ("an hour later", HOUR, 2),
        ("a day later", 25 * HOUR, 1),
        ("with a clock that was put back", -50 * YEAR, 2),
    ] {
        let world = World::new();
        let mut running = world.open();
        assert_eq!(sequence(&mut running, "a").await, 1);
        running.close();
        let database = rusqlite::Connection::open(world.database()).unwrap();
        let removed = database.execute("DELETE FROM meta WHERE key = 'clock'", []);
        assert_eq!(removed.unwrap(), 1);
        drop(database);
        world.set_wall(change);
        let mut running = world.open();
        assert_eq!(sequence(&mut running, "a").await, next, "{what}");
        world.pass(25 * HOUR);
        assert_eq!(
            sequence(&mut running, "a").await,
            1,
            "{what}: never dropped"
        );
        running.close();
    }
}

#[tokio::test]
async fn a_salvaged_journal_keeps_its_time() {
    let world = World::new();
    let mut running = world.open();
    // From now on its time is two days behind the wall clock.
    world.set_wall(48 * HOUR);
    running.accept(vec![event("a", "first", &["q"])]).await;
    delivered(&mut running).await;
    running.close();
    std::fs::write(world.directory.path().join("damaged-found"), "").unwrap();
    let running = world.open();
    assert_eq!(running.status.health.view().notices.len(), 1, "salvaged");
    assert!(is_known(&running).await);
    world.pass(25 * HOUR);
    assert!(!is_known(&running).await);
    running.close();
}

#[tokio::test]
async fn a_delivery_pending_for_days_keeps_its_sequence() {
    let world = World::new();
    let mut running = world.open();
    running.accept(vec![event("a", "first", &["q"])]).await;
    // The broker is away, and no other event arrives.
    world.pass(72 * HOUR);
    assert_eq!(delivered(&mut running).await, 1);
    world.pass(HOUR);
    assert_eq!(sequence(&mut running, "a").await, 2);
    running.close();
}

#[tokio::test]
async fn confirm_mode_forgets_by_the_same_time() {
    let world = World::new();
    let status = status();
    let journal = volatile_on(
        world.machine(),
        Duration::from_secs(60),
        1_000,
        &settings(world.directory.path()),
        &status,
    );
    let mut running = Running {
        journal: journal.unwrap(),
        status,
    };
    accept_confirmed(&mut running, "first").await;
    world.set_wall(25 * HOUR);
    accept_confirmed(&mut running, "second").await;
    assert!(is_known(&running).await);
    world.set_wall(-100 * HOUR);
    world.pass(25 * HOUR);
    accept_confirmed(&mut running, "first").await;
    running.close();
}

/// An event that is new, and that the broker confirms.
async fn accept_confirmed(running: &mut Running, id: &str) {
    let intake = running.journal.intake.clone();
    let answer = intake.submit(callback(vec![event("a", id, &["q"])]));
    let confirm = async {
        let owed = running.owed(1).await;
        running.deliver([owed[0].delivery]);
    };
    let (answer, ()) = tokio::join!(answer, confirm);
    assert_eq!(answer.unwrap().outcomes(), [Admitted::Accepted]);
}
