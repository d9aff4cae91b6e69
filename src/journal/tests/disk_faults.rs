//! A journal on a disk that fails at any change, and on one that loses its power at any of them.
//!
//! A child process, with a library preloaded that stands before the disk, accepts events, delivers some and notes what
//! it was answered. Then this process looks at what is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use tempfile::TempDir;

use super::recovery::runtime;
use crate::journal::{
    open::Tuning,
    test_support::{Running, event, settings},
};

const SECTOR: usize = 512;

/// The library.
fn disk() -> &'static Path {
    static COMPILED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = COMPILED.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("disk_faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/journal/tests/disk_faults.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .status()
            .expect("cc, which the build of SQLite needs as well, runs");
        assert!(compiled.success(), "{} is compiled", source.display());
        (directory, library)
    });
    library
}

/// An empty directory with a reserve file: writing one takes longer than everything else.
fn empty() -> TempDir {
    static RESERVE: OnceLock<TempDir> = OnceLock::new();
    let from = RESERVE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        Running::open(directory.path()).close();
        directory
    });
    let to = tempfile::tempdir().unwrap();
    fs::hard_link(from.path().join("reserve"), to.path().join("reserve")).unwrap();
    to
}

/// Runs the child in this directory.
fn child(path: &Path, variables: &[(&str, &str)]) {
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("journal::tests::disk_faults::a_process_that_uses_its_disk")
        .env("HOOKSWITCH_TEST_JOURNAL", path)
        .env("LD_PRELOAD", disk())
        .env("DISK_DIRECTORY", path)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(ended.success(), "{variables:?}: {ended}");
}

/// The poisoned one of these events: it goes on in the quarantine.
const POISONED: &str = "03-0";

#[test]
#[ignore = "the tests of this file start it"]
fn a_process_that_uses_its_disk() {
    let Some(path) = std::env::var_os("HOOKSWITCH_TEST_JOURNAL") else {
        return;
    };
    let path = Path::new(&path);
    let mut answers = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path.join("answers"))
        .unwrap();
    let tuning = Tuning {
        // Of the commits below some fold the log.
        fold_bytes: 500,
        ..Tuning::default()
    };
    runtime().block_on(async {
        let Ok(mut running) = Running::tuned(&settings(path), tuning) else {
            return;
        };
        let mut pending = Vec::new();
        for number in 0..7 {
            let call = ["a", "b"][number % 2];
            let ids = [0, 1].map(|part| format!("{number:02}-{part}"));
            let events = ids.iter().map(|id| event(call, id, &["q"])).collect();
            if running.submit(events).await.is_err() {
                continue;
            }
            for (id, delivery) in ids.iter().zip(running.owed(2).await) {
                writeln!(answers, "A {id}").unwrap();
                pending.push((id.clone(), delivery.delivery));
            }
            if number % 2 == 1 {
                let (id, delivery) = pending.remove(0);
                writeln!(answers, "D {id}").unwrap();
                running.deliver([delivery]);
            }
        }
        if let Some((_, delivery)) = pending.iter().find(|(id, _)| id == POISONED) {
            running.poison(*delivery);
        }
        if running
            .submit(vec![event("a", "08-0", &["q"])])
            .await
            .is_ok()
        {
            writeln!(answers, "A 08-0").unwrap();
        }
        // Nothing is waited for: whatever this was told it has on disk.
        running.journal.closer.close();
    });
}

/// What must be there of what the child noted: answered, and not confirmed.
fn required(answers: &str) -> BTreeSet<String> {
    let mut required = BTreeSet::new();
    for line in answers.lines() {
        match line.split_once(' ') {
            Some(("A", id)) => required.insert(id.to_owned()),
            Some(("D", id)) => required.remove(id),
            _ => panic!("{line:?}"),
        };
    }
    required
}

/// Opens what is left and checks that nothing that was answered is missing, comes twice or is out of order. True if it
/// had to be salvaged.
fn check(path: &Path, answers: &str, what: &str) -> bool {
    runtime().block_on(async {
        let mut running = Running::open(path);
        let salvaged = !running.status.health.view().notices.is_empty();
        let recovered = usize::try_from(running.check_law().recovered).unwrap();
        let owed = running.owed(recovered).await;
        let left: Vec<String> = running
            .read(&owed)
            .await
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let unique: BTreeSet<&String> = left.iter().collect();
        assert_eq!(unique.len(), left.len(), "{what}: {left:?}");
        for id in required(answers) {
            assert!(unique.contains(&id), "{what}: {id} is missing: {left:?}");
        }
        for call in [0, 1] {
            let of_call = left.iter().filter(|id| {
                let (number, _) = id.split_once('-').unwrap();
                *id != POISONED && number.parse::<usize>().unwrap() % 2 == call
            });
            assert!(of_call.is_sorted(), "{what}: {left:?}");
        }
        // It is a working journal.
        running.accept(vec![event("new", "new", &["q"])]).await;
        running.close();
        salvaged
    })
}

#[test]
fn whichever_change_of_the_disk_fails_no_answered_event_is_lost() {
    let kinds = [
        ("eio", false),
        ("eio", true),
        ("enospc", false),
        ("enospc", true),
        ("torn", false),
    ];
    // Most of the time they wait for the disk.
    let changes = std::thread::scope(|scope| {
        let sweeps = kinds.map(|(with, on)| scope.spawn(move || sweep(with, on)));
        sweeps.map(|sweep| sweep.join().unwrap())
    });
    println!("failed at each change: {changes:?} of {kinds:?}");
    assert!(changes.iter().all(|changes| *changes > 150), "{changes:?}");
}

/// Lets each change of the disk fail in turn; returns how many there are.
fn sweep(with: &str, on: bool) -> u32 {
    for number in 1.. {
        let directory = empty();
        let elsewhere = tempfile::tempdir().unwrap();
        let hit = elsewhere.path().join("hit");
        let at = number.to_string();
        let mut variables = vec![
            ("DISK_FAIL_AT", at.as_str()),
            ("DISK_FAIL_WITH", with),
            ("DISK_HIT", hit.to_str().unwrap()),
        ];
        if on {
            variables.push(("DISK_FAIL_ON", "1"));
        }
        child(directory.path(), &variables);
        let what = format!("{with} at change {number}, on: {on}");
        let answers = fs::read_to_string(directory.path().join("answers")).unwrap();
        check(directory.path(), &answers, &what);
        if !hit.exists() {
            // Without a fault all are answered.
            assert_eq!(answers.matches('A').count(), 15, "{what}");
            return number - 1;
        }
    }
    unreachable!("a process does not change its disk without end")
}

/// A change of a file, as traced.
#[derive(Debug)]
enum Change {
    Create,
    Write(usize, Vec<u8>),
    Truncate(usize),
    Unlink,
    Rename(String),
    Sync,
}

fn trace(path: &Path) -> Vec<(String, Change)> {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut changes = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 1..];
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, name, offset, length] = words[..] else {
            panic!("{line:?}");
        };
        let (offset, length) = (offset.parse().unwrap(), length.parse::<usize>().unwrap());
        let mut data = |length| {
            let (data, more) = rest.split_at(length);
            rest = more;
            data.to_vec()
        };
        let change = match kind {
            "C" => Change::Create,
            "W" => Change::Write(offset, data(length)),
            "T" => Change::Truncate(offset),
            "U" => Change::Unlink,
            "R" => Change::Rename(String::from_utf8(data(length)).unwrap()),
            "S" => Change::Sync,
            other => panic!("{other:?}"),
        };
        changes.push((name.to_owned(), change));
    }
    changes
}

/// A file: what a sync has made durable of it, and what was changed since.
#[derive(Clone, Debug, Default)]
struct Traced {
    durable: Vec<u8>,
    since: Vec<(usize, Option<Vec<u8>>)>,
}

impl Traced {
    fn apply(content: &mut Vec<u8>, offset: usize, data: Option<&[u8]>) {
        match data {
            None => content.resize(offset, 0),
            Some(data) => {
                let end = offset + data.len();
                content.resize(content.len().max(end), 0);
                content[offset..end].copy_from_slice(data);
            }
        }
    }

    fn sync(&mut self) {
        for (offset, data) in std::mem::take(&mut self.since) {
            Self::apply(&mut self.durable, offset, data.as_deref());
        }
    }

    /// The content after a power loss; `kept` says of each sector of what was not synced whether it reached the disk.
    fn after(&self, mut kept: impl FnMut() -> bool) -> Vec<u8> {
        let mut content = self.durable.clone();
        for (offset, data) in &self.since {
            let Some(data) = data else {
                if kept() {
                    Self::apply(&mut content, *offset, None);
                }
                continue;
            };
            let first = SECTOR - offset % SECTOR;
            let (head, tail) = data.split_at(first.min(data.len()));
            let mut at = *offset;
            for part in std::iter::once(head).chain(tail.chunks(SECTOR)) {
                if kept() {
                    Self::apply(&mut content, at, Some(part));
                }
                at += part.len();
            }
        }
        content
    }
}

/// The directory: its names as last synced, and as they are.
#[derive(Clone, Debug, Default)]
struct TracedDirectory {
    files: Vec<Traced>,
    durable: BTreeMap<String, usize>,
    now: BTreeMap<String, usize>,
}

impl TracedDirectory {
    fn apply(&mut self, name: &str, change: &Change) {
        // A file that is still open may have no name any more.
        let open = self.now.get(name).copied();
        let file = open.and_then(|place| self.files.get_mut(place));
        match (change, file) {
            (Change::Create, _) => {
                self.files.push(Traced::default());
                self.now.insert(name.to_owned(), self.files.len() - 1);
            }
            (Change::Write(offset, data), Some(file)) => {
                file.since.push((*offset, Some(data.clone())));
            }
            (Change::Truncate(length), Some(file)) => file.since.push((*length, None)),
            (Change::Unlink, _) => {
                self.now.remove(name);
            }
            (Change::Rename(to), _) => {
                if let Some(file) = self.now.remove(name) {
                    self.now.insert(to.clone(), file);
                }
            }
            (Change::Sync, _) if name == "." => self.durable = self.now.clone(),
            (Change::Sync, Some(file)) => {
                file.sync();
                // A file system that keeps a synced file keeps its name.
                self.durable
                    .extend(open.map(|place| (name.to_owned(), place)));
            }
            (_, None) => {}
        }
    }

    fn write(&self, names: &BTreeMap<String, usize>, kept: &mut dyn FnMut() -> bool) -> TempDir {
        let directory = empty();
        for (name, file) in names {
            if ["answers", "reserve", "journal.db-shm"].contains(&name.as_str()) {
                continue;
            }
            let mut out = File::create(directory.path().join(name)).unwrap();
            out.write_all(&self.files[*file].after(&mut *kept)).unwrap();
        }
        directory
    }
}

#[test]
fn whenever_the_power_is_lost_every_answered_event_is_there() {
    let directory = empty();
    let elsewhere = tempfile::tempdir().unwrap();
    let traced = elsewhere.path().join("trace");
    child(
        directory.path(),
        &[("DISK_TRACE", traced.to_str().unwrap())],
    );
    let changes = trace(&traced);
    let mut disk = TracedDirectory::default();
    let mut answers = String::new();
    let mut states = 0;
    // Xorshift: the same sectors reach the disk in every run.
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for (number, (name, change)) in changes.iter().enumerate() {
        disk.apply(name, change);
        if name == "answers" {
            if let Change::Write(_, line) = change {
                answers.push_str(std::str::from_utf8(line).unwrap());
            }
            continue;
        }
        let what = format!("power lost after change {number}, of {name}");
        let nothing = disk.write(&disk.durable, &mut || false);
        check(
            nothing.path(),
            &answers,
            &format!("{what}: nothing since the sync"),
        );
        for share in [2, 3] {
            let mut some = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.is_multiple_of(share)
            };
            let some = disk.write(&disk.now, &mut some);
            check(some.path(), &answers, &format!("{what}: some sectors"));
        }
        let all = disk.write(&disk.now, &mut || true);
        let salvaged = check(all.path(), &answers, &format!("{what}: all of it"));
        assert!(!salvaged, "{what}");
        states += 4;
    }
    println!("{states} states after {} changes", changes.len());
    assert_eq!(required(&answers).len(), 15 - answers.matches('D').count());
}
