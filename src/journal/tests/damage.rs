//! Files that were damaged, cut, removed or replaced, between two processes and under a running one; and what must not
//! be taken for damage.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use tempfile::TempDir;

use super::recovery::{closed, database, runtime, salvaged, survivors};
use crate::journal::{
    JournalRefusal,
    fault_injection::InjectedFault,
    header::{DatabaseFile, PAGE_BYTES},
    high_water_mark::{HighWaterMark, StoredMark},
    inspect::JournalFiles,
    open::Tuning,
    test_support::{Running, event, settings},
    wal::WalFile,
};
use crate::status::JournalState;

const FILES: [&str; 3] = ["journal.db", "journal.db-wal", "mark"];
const FRAME: u64 = 24 + PAGE_BYTES as u64;

fn log(path: &Path) -> PathBuf {
    path.join("journal.db-wal")
}

/// What SIGKILL would leave of a journal that runs in `from`.
fn copy(from: &Path) -> TempDir {
    let to = empty(from);
    put(from, to.path(), &FILES);
    to
}

/// A directory beside `from`, with its reserve file: writing one takes longer than everything else.
fn empty(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    fs::hard_link(from.join("reserve"), to.path().join("reserve")).unwrap();
    to
}

fn put(from: &Path, to: &Path, files: &[&str]) {
    for file in files {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// A journal after SIGKILL, and an older copy of it.
struct Killed {
    instance: uuid::Uuid,
    older: TempDir,
    now: TempDir,
}

impl Killed {
    /// It has sixty pending events. With `checkpointed` the first thirty are in the database and the others in the log;
    /// otherwise all are in the log. The older copy has forty.
    fn new(checkpointed: bool) -> Self {
        static MADE: [OnceLock<Killed>; 2] = [OnceLock::new(), OnceLock::new()];
        let made = MADE[usize::from(checkpointed)].get_or_init(|| Self::make(checkpointed));
        Self {
            instance: made.instance,
            older: copy(made.older.path()),
            now: copy(made.now.path()),
        }
    }

    fn make(checkpointed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let running = Running::open(directory.path());
            let accept = async |ids: std::ops::Range<u32>| {
                for id in ids {
                    let call = ["a", "b", "c"][id as usize % 3];
                    running
                        .accept(vec![event(call, &format!("{id:04}"), &["q"])])
                        .await;
                }
            };
            accept(0..30).await;
            if checkpointed {
                checkpoint(directory.path());
            }
            accept(30..40).await;
            let older = copy(directory.path());
            accept(40..60).await;
            let now = copy(directory.path());
            let instance = running.journal.instance;
            running.close();
            Self {
                instance,
                older,
                now,
            }
        })
    }

    fn path(&self) -> &Path {
        self.now.path()
    }

    /// The frames since the log last restarted; older ones may follow.
    fn frames(&self) -> u64 {
        let read = WalFile::read(&log(self.path())).unwrap().unwrap();
        read.commits().frames as u64
    }

    fn flip(&self, file: &str, offset: u64) {
        let path = self.path().join(file);
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    }

    fn zero(&self, file: &str, offset: u64, length: u64) {
        let file = File::options()
            .write(true)
            .open(self.path().join(file))
            .unwrap();
        let zeros = vec![0; usize::try_from(length).unwrap()];
        file.write_all_at(&zeros, offset).unwrap();
    }

    fn cut(&self, file: &str, length: u64) {
        let file = File::options()
            .write(true)
            .open(self.path().join(file))
            .unwrap();
        file.set_len(length).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }

    /// Opens what is left, as the next process would: how many events it has, how many it reports as lost, and whether
    /// all of the loss was noticed.
    fn check(self, what: &str, noticed: bool) -> (u64, u64) {
        let (kept, lost, was_salvaged) = survivors(self.path());
        assert_eq!(was_salvaged, noticed, "{what}");
        // One salvage is enough, and it is another journal.
        let running = Running::open(self.path());
        assert!(running.status.health.view().notices.is_empty(), "{what}");
        assert_eq!(running.journal.instance != self.instance, noticed, "{what}");
        running.close();
        (kept, lost)
    }
}

/// Moves everything into the database; the log restarts with the next commit.
fn checkpoint(path: &Path) {
    let connection = rusqlite::Connection::open(database(path)).unwrap();
    connection
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .unwrap();
}

#[test]
fn every_damage_of_the_log_is_noticed_and_the_rest_is_kept() {
    for checkpointed in [false, true] {
        let killed = || Killed::new(checkpointed);
        let middle = |killed: &Killed| 32 + FRAME * (killed.frames() / 2);
        let what = |what: &str| format!("{what}, checkpointed: {checkpointed}");

        // In a page, in each field of a frame's header.
        for offset in [24 + 300, 24 + 4_000, 0, 3, 4, 8, 15, 16, 23] {
            let damaged = killed();
            damaged.flip("journal.db-wal", middle(&damaged) + offset);
            let what = what(&format!("byte {offset} of a frame in the middle flipped"));
            let (kept, lost) = damaged.check(&what, true);
            // A page has four records.
            assert!(kept >= 56 && kept + lost >= 60, "{kept}, {lost}: {what}");
        }
        let damaged = killed();
        damaged.zero("journal.db-wal", middle(&damaged), FRAME);
        let (kept, lost) = damaged.check(&what("a frame zeroed"), true);
        assert!(kept >= 57 && kept + lost >= 60, "{kept}, {lost}");

        for offset in [0, 3, 5, 10, 14, 18, 22, 26, 31] {
            let damaged = killed();
            damaged.flip("journal.db-wal", offset);
            let kept = damaged.check(&what(&format!("byte {offset} of the header flipped")), true);
            assert_eq!(kept, (60, 0), "{offset}");
        }

        let last_frame = |killed: &Killed| 32 + FRAME * (killed.frames() - 1);
        let damaged = killed();
        damaged.flip("journal.db-wal", last_frame(&damaged) + 100);
        let (kept, lost) = damaged.check(&what("the last commit flipped"), true);
        assert!(kept >= 59 && kept + lost >= 60, "{kept}, {lost}");

        for parts in 1..8 {
            let damaged = killed();
            let length = 32 + FRAME * damaged.frames() * parts / 8;
            damaged.cut("journal.db-wal", length);
            let (kept, lost) = damaged.check(&what("the log cut"), true);
            assert!(kept < 60 && kept + lost == 60, "{kept}, {lost}");
        }

        let damaged = killed();
        damaged.cut("journal.db-wal", last_frame(&damaged));
        let cut = damaged.check(&what("one frame cut off"), true);
        assert_eq!(cut, (59, 1));

        let base = if checkpointed { 30 } else { 0 };
        let damaged = killed();
        damaged.cut("journal.db-wal", 0);
        let emptied = damaged.check(&what("the log emptied"), true);
        assert_eq!(emptied, (base, 60 - base));
        let damaged = killed();
        damaged.zero("journal.db-wal", 0, 32 + FRAME * damaged.frames());
        let zeroed = damaged.check(&what("the log zeroed"), true);
        assert_eq!(zeroed, (base, 60 - base));
        let damaged = killed();
        damaged.remove("journal.db-wal");
        let removed = damaged.check(&what("the log removed"), true);
        assert_eq!(removed, (base, 60 - base));

        let damaged = killed();
        put(damaged.older.path(), damaged.path(), &["journal.db-wal"]);
        let (kept, lost) = damaged.check(&what("an older log put back"), true);
        assert_eq!((kept, lost), (40, 20));
    }
}

#[test]
fn every_damage_of_the_database_is_noticed_and_the_rest_is_kept() {
    for checkpointed in [false, true] {
        let killed = || Killed::new(checkpointed);
        let what = |what: &str| format!("{what}, checkpointed: {checkpointed}");

        type Harm = (&'static str, fn(&Killed));
        let harms: [Harm; 2] = [
            ("removed", |killed| killed.remove("journal.db")),
            ("emptied", |killed| killed.cut("journal.db", 0)),
        ];
        for (name, harm) in harms {
            let damaged = killed();
            harm(&damaged);
            let (kept, lost) = damaged.check(&what(name), true);
            // All of it is in the log. With a checkpoint before it the tables' first pages are not.
            assert!(checkpointed || kept == 60, "{kept}: {name}");
            assert!(kept + lost >= 60, "{kept}, {lost}: {name}");

            let damaged = killed();
            harm(&damaged);
            damaged.remove("journal.db-wal");
            assert_eq!(damaged.check(&what(name), true), (0, 60), "with its log");
        }

        let damaged = killed();
        put(damaged.older.path(), damaged.path(), &FILES[..2]);
        assert_eq!(
            damaged.check(&what("an older copy put back"), true),
            (40, 20)
        );

        let damaged = killed();
        damaged.remove("mark");
        assert_eq!(damaged.check(&what("the mark removed"), true), (60, 0));
        let damaged = killed();
        damaged.cut("mark", 0);
        assert_eq!(damaged.check(&what("the mark emptied"), true), (60, 0));
    }

    // Nothing that is in the log is missing.
    let damaged = Killed::new(false);
    damaged.cut("journal.db", u64::from(PAGE_BYTES));
    assert_eq!(
        damaged.check("the database cut, and all in the log", false),
        (60, 0)
    );
    let damaged = Killed::new(true);
    let pages = fs::metadata(database(damaged.path())).unwrap().len() / u64::from(PAGE_BYTES);
    damaged.cut("journal.db", pages * 2 / 3 * u64::from(PAGE_BYTES));
    let (kept, lost) = damaged.check("the database cut", true);
    assert!(kept >= 10 && kept + lost >= 60, "{kept}, {lost}");
}

#[test]
fn a_database_of_another_time_than_its_log_is_noticed() {
    // The database and the log of the same journal, from before and after the log restarted.
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = runtime().block_on(async {
        let running = Running::open(directory.path());
        let accept = async |id: u32| {
            running
                .accept(vec![event("a", &format!("{id:04}"), &["q"])])
                .await;
        };
        accept(0).await;
        checkpoint(directory.path());
        accept(1).await;
        let before = copy(directory.path());
        accept(2).await;
        checkpoint(directory.path());
        for id in 3..6 {
            accept(id).await;
        }
        let after = copy(directory.path());
        running.close();
        (before, after)
    });
    for (older, newer) in [
        ("journal.db", "journal.db-wal"),
        ("journal.db-wal", "journal.db"),
    ] {
        let mixed = empty(before.path());
        put(before.path(), mixed.path(), &[older]);
        put(after.path(), mixed.path(), &[newer, "mark"]);
        let (kept, lost, was_salvaged) = survivors(mixed.path());
        assert!(was_salvaged, "older {older}");
        assert!(
            kept + lost >= 6 && kept >= 1,
            "{kept}, {lost}: older {older}"
        );
    }
}

#[test]
fn a_database_that_is_cut_is_noticed_at_any_length() {
    let directory = tempfile::tempdir().unwrap();
    closed(directory.path(), 40);
    let whole = fs::read(database(directory.path())).unwrap();
    for length in (0..whole.len()).step_by(2_777) {
        let trial = empty(directory.path());
        fs::write(database(trial.path()), &whole[..length]).unwrap();
        put(directory.path(), trial.path(), &["mark"]);
        let (kept, lost, was_salvaged) = survivors(trial.path());
        assert!(
            was_salvaged && kept + lost >= 40,
            "{kept}, {lost}: cut at {length}"
        );
    }
}

#[test]
fn a_mark_of_another_journal_is_noticed() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    closed(one.path(), 5);
    closed(other.path(), 3);
    put(other.path(), one.path(), &["mark"]);
    assert_eq!(survivors(one.path()), (5, 0, true));
}

#[test]
fn nothing_is_wrong_after_a_kill_at_any_commit_a_clean_stop_or_a_damaged_index() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for round in 0..6 {
        let copies = runtime().block_on(async {
            let running = Running::open(directory.path());
            let mut copies = Vec::new();
            for _ in 0..7 {
                running
                    .accept(vec![event("a", &format!("{count:04}"), &["q"])])
                    .await;
                count += 1;
                copies.push((copy(directory.path()), count));
                if count % 5 == 0 {
                    checkpoint(directory.path());
                    copies.push((copy(directory.path()), count));
                }
            }
            running.close();
            copies
        });
        for (killed, count) in copies {
            if count % 3 == 0 {
                fs::write(killed.path().join("journal.db-shm"), vec![0xA5; 32_768]).unwrap();
            }
            assert_eq!(survivors(killed.path()), (count, 0, false), "round {round}");
        }
    }
    assert_eq!(survivors(directory.path()), (count, 0, false));
}

/// What a power loss may leave of the last commit: any part of it, in any order, and the mark of the commit before.
#[test]
fn an_unanswered_last_commit_may_be_torn_at_any_byte() {
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = runtime().block_on(async {
        let running = Running::open(directory.path());
        for id in 0..12 {
            running
                .accept(vec![event("a", &format!("{id:04}"), &["q"])])
                .await;
        }
        let before = copy(directory.path());
        let last = ["0012", "0013"].map(|id| event("a", id, &["q"]));
        running.accept(last.into()).await;
        let after = copy(directory.path());
        running.close();
        (before, after)
    });
    let (old, new) = (
        fs::read(log(before.path())).unwrap(),
        fs::read(log(after.path())).unwrap(),
    );
    let check = |bytes: &[u8], expected: u64, what: &str| {
        let trial = empty(before.path());
        put(before.path(), trial.path(), &["journal.db", "mark"]);
        fs::write(log(trial.path()), bytes).unwrap();
        let (kept, lost, was_salvaged) = survivors(trial.path());
        assert_eq!((kept, lost, was_salvaged), (expected, 0, false), "{what}");
    };
    for cut in (old.len()..new.len()).step_by(431) {
        check(&new[..cut], 12, &format!("cut at {cut}"));
    }
    // Without the answer it may also be there.
    check(&new, 14, "whole");
    for hole in (old.len()..new.len()).step_by(512) {
        let mut bytes = new.clone();
        let end = (hole + 512).min(bytes.len());
        bytes[hole..end].fill(0);
        let expected = if bytes == new { 14 } else { 12 };
        check(&bytes, expected, &format!("nothing at {hole}"));
    }
}

#[test]
fn a_log_cut_at_any_byte_keeps_every_whole_commit_before_the_cut() {
    let directory = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    runtime().block_on(async {
        let running = Running::open(directory.path());
        for id in 0..12 {
            running
                .accept(vec![event("a", &format!("{id:04}"), &["q"])])
                .await;
            copies.push(copy(directory.path()));
        }
        running.close();
    });
    let lengths: Vec<_> = copies
        .iter()
        .map(|copy| fs::metadata(log(copy.path())).unwrap().len())
        .collect();
    let last = copies.last().unwrap().path();
    for cut in (lengths[0]..=*lengths.last().unwrap()).step_by(1_531) {
        let whole = lengths.iter().filter(|length| **length <= cut).count();
        // With the mark of that time it is a torn end; with the mark of the last commit it is a loss.
        for (mark, noticed) in [(copies[whole - 1].path(), false), (last, whole < 12)] {
            let trial = empty(last);
            put(last, trial.path(), &FILES[..2]);
            put(mark, trial.path(), &["mark"]);
            let file = File::options().write(true).open(log(trial.path())).unwrap();
            file.set_len(cut).unwrap();
            let lost = if noticed { 12 - whole as u64 } else { 0 };
            assert_eq!(
                survivors(trial.path()),
                (whole as u64, lost, noticed),
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn a_mark_that_a_power_loss_left_behind_is_no_damage_and_what_is_older_than_it_still_is() {
    let killed = Killed::new(true);
    put(killed.older.path(), killed.path(), &["mark"]);
    assert_eq!(
        killed.check("the mark is twenty commits behind", false),
        (60, 0)
    );
    let killed = Killed::new(true);
    put(killed.older.path(), killed.path(), &["mark"]);
    killed.remove("journal.db-wal");
    assert_eq!(killed.check("and the log is gone", true), (30, 10));
}

#[test]
fn a_journal_without_mark_or_numbers_gets_them_and_what_can_be_seen_in_its_log_is_noticed() {
    let killed = |removed: bool| {
        // As left by versions without the mark.
        let killed = Killed::new(false);
        let numbered = Running::open(killed.path());
        numbered.close();
        let connection = rusqlite::Connection::open(database(killed.path())).unwrap();
        connection.pragma_update(None, "user_version", 0).unwrap();
        drop(connection);
        killed.remove("mark");
        if removed {
            fs::remove_dir_all(killed.older.path()).unwrap();
        }
        killed
    };
    assert_eq!(killed(false).check("an old journal", false), (60, 0));
    let old = killed(true);
    let running = Running::open(old.path());
    let StoredMark::Is(marked) = StoredMark::read(&old.path().join("mark")).unwrap() else {
        panic!("no mark was made");
    };
    assert_eq!(
        (marked.instance, marked.records),
        (running.journal.instance, 60)
    );
    assert!(marked.commit > 0);
    running.close();
}

#[test]
fn a_salvage_says_why_and_counts_once() {
    let killed = Killed::new(false);
    killed.remove("journal.db-wal");
    let running = Running::open(killed.path());
    let notices = running.status.health.view().notices;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("answered"), "{notices:?}");
    assert_eq!(
        (salvaged(&running, "recovered"), salvaged(&running, "lost")),
        (0, 60)
    );
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&running.status.registry.gather())
        .unwrap();
    assert!(
        text.contains("\nhookswitch_journal_salvages_total 1\n"),
        "{text}"
    );
    running.close();
}

/// The child of the next test: it prints how many events it was answered for, until it is killed.
#[test]
#[ignore = "the next test starts it"]
fn a_process_that_accepts_until_it_is_killed() {
    let Some(path) = std::env::var_os("HOOKSWITCH_TEST_JOURNAL") else {
        return;
    };
    runtime().block_on(async {
        let running = Running::open(Path::new(&path));
        let before = running.status.ledger.snapshot().recovered;
        for number in 0.. {
            let several = (0..=number % 4).map(|part| {
                let id = format!("{before}-{number}-{part}");
                running.accept(vec![event("a", &id, &["q"])])
            });
            futures_util::future::join_all(several).await;
            println!("\nanswered {}", running.status.ledger.snapshot().accepted);
        }
    });
}

#[test]
fn no_kill_under_load_is_taken_for_damage_or_costs_an_answered_event() {
    let directory = tempfile::tempdir().unwrap();
    let first = Running::open(directory.path());
    let instance = first.journal.instance;
    first.close();
    let mut kept = 0;
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("journal::tests::damage::a_process_that_accepts_until_it_is_killed")
            .env("HOOKSWITCH_TEST_JOURNAL", directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut answered =
            || lines.find_map(|line| line.unwrap().strip_prefix("answered ")?.parse::<u64>().ok());
        let mut last = 0;
        for _ in 0..=(round * 37) % 70 {
            last = answered().expect("it runs");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it printed before it was killed.
        last = std::iter::from_fn(answered).last().unwrap_or(last);
        let files = JournalFiles::read_in(directory.path()).unwrap();
        assert_eq!(files.damage(), None, "round {round}");
        let running = Running::open(directory.path());
        assert_eq!(running.journal.instance, instance, "round {round}");
        let recovered = running.check_law().recovered;
        assert!(
            (kept + last..=kept + last + 4).contains(&recovered),
            "{recovered} after {kept} and {last} in round {round}"
        );
        kept = recovered;
        running.close();
    }
}

#[test]
fn a_half_write_on_a_full_disk_is_not_damage() {
    let directory = tempfile::tempdir().unwrap();
    let tuning = Tuning::default();
    let fault = tuning.fault.clone();
    runtime().block_on(async {
        let settings = settings(directory.path());
        let running = Running::tuned(&settings, tuning).unwrap();
        for id in 0..5 {
            answer(&running, &format!("{id:04}")).await.unwrap();
        }
        for trouble in [InjectedFault::DiskFullOnce, InjectedFault::DiskFull] {
            fault.set(Some(trouble));
            assert_eq!(
                answer(&running, "full").await,
                Err(JournalRefusal::DiskFull)
            );
            let files = JournalFiles::read_in(copy_files(directory.path()).path()).unwrap();
            assert_eq!(files.damage(), None);
            let marked = files.kept.marked().unwrap();
            assert_eq!(marked.records, 5, "what was refused is not pending");
        }
        fault.set(None);
        state(&running, JournalState::Writable).await;
        answer(&running, "0005").await.unwrap();
        running.close();
    });
    assert_eq!(survivors(directory.path()), (6, 0, false));
}

/// As [`copy`], where there may be no reserve file.
fn copy_files(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    put(from, to.path(), &FILES);
    to
}

/// A running journal's answer to one event.
async fn answer(running: &Running, id: &str) -> Result<usize, JournalRefusal> {
    let answer = running.submit(vec![event("a", id, &["q"])]).await;
    answer.map(|outcomes| outcomes.len())
}

async fn state(running: &Running, expected: JournalState) -> Option<String> {
    let shown = async {
        loop {
            let view = running.status.health.view();
            if view.journal == expected {
                return view.journal_why;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), shown)
        .await
        .unwrap_or_else(|_| panic!("{expected:?}: {:?}", running.status.health.view()))
}

#[test]
fn a_removed_database_is_noticed_after_pending_deliveries() {
    type Harm = (&'static str, &'static str, fn(&Path));
    let harms: [Harm; 4] = [
        ("removed", "the database was removed", |path| {
            fs::remove_file(database(path)).unwrap();
        }),
        ("replaced", "the database was replaced", |path| {
            fs::copy(database(path), path.join("copy")).unwrap();
            fs::rename(path.join("copy"), database(path)).unwrap();
        }),
        ("directory", "the directory was removed", |path| {
            fs::remove_dir_all(path).unwrap();
        }),
        ("everything", "the database was removed", |path| {
            for file in FILES {
                fs::remove_file(path.join(file)).unwrap();
            }
        }),
    ];
    for (what, expected, harm) in harms {
        runtime().block_on(async {
            let parent = tempfile::tempdir().unwrap();
            let path = parent.path().join("journal");
            let mut running = Running::open(&path);
            let instance = running.journal.instance;
            for id in 0..3 {
                answer(&running, &format!("{id:04}")).await.unwrap();
            }
            let owed = running.owed(3).await;
            harm(&path);
            let why = state(&running, JournalState::FilesGone).await;
            assert_eq!(why.as_deref(), Some(expected), "{what}");
            assert_eq!(answer(&running, "0003").await, Err(JournalRefusal::Failed));
            // A restart now would lose these.
            assert_eq!(running.read(&owed).await.len(), 3);
            running.deliver(owed.iter().map(|owed| owed.delivery));
            assert_eq!(running.settled().await.len(), 3);
            let why = state(&running, JournalState::Failed).await;
            assert_eq!(why.as_deref(), Some(expected), "{what}");
            running.close();
            let next = Running::open(&path);
            assert_ne!(next.journal.instance, instance, "{what}");
            let noticed = !next.status.health.view().notices.is_empty();
            assert_eq!(noticed, what != "directory", "{what}");
            answer(&next, "0003").await.unwrap();
            next.close();
        });
    }
}

#[test]
fn files_that_come_back_are_used_again() {
    let parent = tempfile::tempdir().unwrap();
    let (path, away) = (parent.path().join("journal"), parent.path().join("away"));
    runtime().block_on(async {
        let running = Running::open(&path);
        answer(&running, "0000").await.unwrap();
        fs::rename(&path, &away).unwrap();
        state(&running, JournalState::FilesGone).await;
        assert_eq!(answer(&running, "0001").await, Err(JournalRefusal::Failed));
        fs::rename(&away, &path).unwrap();
        state(&running, JournalState::Writable).await;
        answer(&running, "0001").await.unwrap();
        running.close();
    });
    assert_eq!(survivors(&path), (2, 0, false));
}

#[test]
fn a_log_that_goes_while_running_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let killed = runtime().block_on(async {
        let running = Running::open(directory.path());
        for id in 0..3 {
            answer(&running, &format!("{id:04}")).await.unwrap();
        }
        fs::remove_file(log(directory.path())).unwrap();
        let why = state(&running, JournalState::Failed).await;
        assert_eq!(why.as_deref(), Some("the write-ahead log was removed"));
        assert_eq!(answer(&running, "0003").await, Err(JournalRefusal::Failed));
        let killed = empty(directory.path());
        put(directory.path(), killed.path(), &["journal.db", "mark"]);
        running.close();
        killed
    });
    assert_eq!(survivors(killed.path()), (3, 0, false), "after a kill");
    assert_eq!(survivors(directory.path()), (3, 0, false), "after a stop");
}

#[test]
fn a_mark_that_goes_while_running_is_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark");
    runtime().block_on(async {
        let running = Running::open(directory.path());
        answer(&running, "0000").await.unwrap();
        fs::remove_file(&mark).unwrap();
        let back = async {
            while !mark.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), back)
            .await
            .unwrap();
        answer(&running, "0001").await.unwrap();
        running.close();
    });
    assert_eq!(survivors(directory.path()), (2, 0, false));
}

/// A log is read as SQLite reads it, whatever it contains.
#[test]
fn a_log_is_read_as_sqlite_reads_it() {
    for checkpointed in [false, true] {
        let killed = Killed::new(checkpointed);
        let read = WalFile::read(&log(killed.path())).unwrap().unwrap();
        let commits = read.commits();
        assert!(!read.goes_on_behind_damage());
        let files = JournalFiles::read_in(killed.path()).unwrap();
        assert_eq!(files.damage(), None);
        let marked = files.kept.marked().unwrap();
        assert_eq!(commits.last, Some(marked.commit));
        let connection = rusqlite::Connection::open(database(killed.path())).unwrap();
        assert_eq!(
            crate::journal::header::stored_number(&connection).unwrap(),
            marked.commit
        );
        drop(connection);
        // Closing it has moved the log into the database.
        let base = DatabaseFile::read(&database(killed.path()))
            .unwrap()
            .unwrap();
        assert_eq!(base.header.unwrap().number, marked.commit);
        assert_eq!(base.header.unwrap().pages, Some(base.pages()));
    }
}

#[test]
fn a_mark_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    closed(directory.path(), 4);
    let path = directory.path().join("mark");
    let before = StoredMark::read(&path).unwrap().marked().unwrap();
    drop(HighWaterMark::resume(&path, before).unwrap());
    closed(directory.path(), 0);
    let after = StoredMark::read(&path).unwrap().marked().unwrap();
    assert_eq!((after.instance, after.records), (before.instance, 4));
    assert_eq!(after.commit, before.commit + 1, "one opening");
}
