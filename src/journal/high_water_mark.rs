//! The mark: the journal's last commit, kept outside its database, so that a start notices when the database or its log
//! is shorter, older or gone.
//!
//! Each commit of the writer has a number, which is in the database's header (see [`super::store`]). The mark says
//! "commit N was answered": it is written after the commit's fsync has returned and before any answer is given, so it
//! is never ahead of what is durable, and a process that is killed leaves it exact (or one commit behind, which was not
//! answered). It does not add an fsync to the commit: a thread syncs it once a second. After a power loss it may be
//! behind by that much, never ahead.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use uuid::Uuid;

use super::private;

/// How often the mark is made durable while it changes: a power loss may undo this much of it.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Two slots, written in turn, each in a block of its own: a torn write damages only one of them.
const SLOTS: u64 = 2;
const SLOT_BYTES: u64 = 4_096;

/// More than the longest line needs.
const LINE_BYTES: usize = 160;

const WORD: &str = "hookswitch-mark-1";

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkValue {
    pub(super) instance: Uuid,
    /// Its last answered commit.
    pub(super) commit: u64,
    /// Records that were pending then.
    pub(super) records: u64,
}

impl MarkValue {
    fn line(&self) -> String {
        let Self {
            instance,
            commit,
            records,
        } = self;
        let text = format!("{WORD} {instance} {commit} {records}");
        format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }

    fn parse(slot: &[u8]) -> Option<Self> {
        let line = slot.split(|byte| *byte == b'\n').next()?;
        let (text, crc) = std::str::from_utf8(line).ok()?.rsplit_once(' ')?;
        if u32::from_str_radix(crc, 16) != Ok(crc32c::crc32c(text.as_bytes())) {
            return None;
        }
        let mut words = text.split(' ');
        if words.next()? != WORD {
            return None;
        }
        Some(Self {
            instance: words.next()?.parse().ok()?,
            commit: words.next()?.parse().ok()?,
            records: words.next()?.parse().ok()?,
        })
    }
}

/// A mark as found at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredMark {
    /// There is none: a new journal, or one of a version without marks.
    Absent,
    /// There is a file, and neither slot is valid.
    Unreadable,
    Is(MarkValue),
}

impl StoredMark {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Absent),
            Err(error) => return Err(error),
        };
        let found = (0..SLOTS).filter_map(|slot| MarkValue::parse(&read_slot(&file, slot)));
        Ok(found
            .max_by_key(|marked| marked.commit)
            .map_or(Self::Unreadable, Self::Is))
    }

    pub(super) fn marked(self) -> Option<MarkValue> {
        match self {
            Self::Is(marked) => Some(marked),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

fn read_slot(file: &File, slot: u64) -> Vec<u8> {
    let mut line = vec![0; LINE_BYTES];
    let length = file.read_at(&mut line, slot * SLOT_BYTES).unwrap_or(0);
    line.truncate(length);
    line
}

/// The mark of an open journal.
#[derive(Clone, Debug)]
pub(super) struct HighWaterMark(Arc<SharedMark>);

#[derive(Debug)]
struct SharedMark {
    path: PathBuf,
    inner: Mutex<MarkFile>,
    unsynced: AtomicBool,
    complained: AtomicBool,
}

#[derive(Debug)]
struct MarkFile {
    file: Arc<File>,
    marked: MarkValue,
    slot: u64,
}

impl HighWaterMark {
    /// Writes a new mark at `path`, durably.
    pub(super) fn make(path: &Path, marked: MarkValue) -> io::Result<Self> {
        Ok(Self::of(path, make_file(path, &marked)?, marked, 0))
    }

    /// Continues with the mark at `path`, from which `marked` was read.
    pub(super) fn resume(path: &Path, marked: MarkValue) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let newest = |slot: &u64| MarkValue::parse(&read_slot(&file, *slot)) == Some(marked);
        let slot = (0..SLOTS).find(newest).unwrap_or(0);
        Ok(Self::of(path, file, marked, slot))
    }

    fn of(path: &Path, file: File, marked: MarkValue, slot: u64) -> Self {
        Self(Arc::new(SharedMark {
            path: path.to_owned(),
            inner: Mutex::new(MarkFile {
                file: Arc::new(file),
                marked,
                slot,
            }),
            unsynced: AtomicBool::new(false),
            complained: AtomicBool::new(false),
        }))
    }

    /// Commit `commit` is durable, with this many pending records. A failure does not affect the commit: it leaves the
    /// mark behind, which is logged once.
    pub(super) fn set(&self, commit: u64, records: u64) {
        let mut inner = self.0.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.marked.commit = commit;
        inner.marked.records = records;
        inner.slot = (inner.slot + 1) % SLOTS;
        let line = inner.marked.line();
        let written = inner
            .file
            .write_all_at(line.as_bytes(), inner.slot * SLOT_BYTES);
        drop(inner);
        self.0.unsynced.store(true, Ordering::Release);
        self.complain("write", written);
    }

    /// Syncs it once a second if it changed, and once more at the end: until the sender of `stop` is gone.
    pub(super) fn sync_until(&self, stop: &Receiver<()>) {
        loop {
            let goes_on = stop.recv_timeout(SYNC_INTERVAL) == Err(RecvTimeoutError::Timeout);
            self.sync();
            if !goes_on {
                return;
            }
        }
    }

    fn sync(&self) {
        let inner = || self.0.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.unsynced.swap(false, Ordering::Acquire) {
            // Not under the lock: the writer must not wait for this.
            let file = inner().file.clone();
            self.complain("sync", file.sync_data());
        }
        let file = inner().file.clone();
        if self.is_in_place(&file) || !self.0.path.parent().is_some_and(Path::is_dir) {
            return;
        }
        // Removed, or replaced by an older one. Its value is still true, and the next start needs it.
        tracing::warn!(path = %self.0.path.display(), "the journal's mark was removed or replaced: it is written again");
        let mut inner = inner();
        match make_file(&self.0.path, &inner.marked) {
            Ok(file) => inner.file = Arc::new(file),
            Err(error) => self.complain("write", Err(error)),
        }
    }

    fn is_in_place(&self, file: &File) -> bool {
        let identity =
            |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
        identity(fs::metadata(&self.0.path)) == identity(file.metadata())
    }

    fn complain(&self, doing: &str, result: io::Result<()>) {
        if let Err(error) = result
            && !self.0.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, doing, path = %self.0.path.display(), "the journal's mark is left behind: damage may go unnoticed");
        }
    }
}

fn make_file(path: &Path, marked: &MarkValue) -> io::Result<File> {
    let beside = path.with_extension("new");
    let mut options = private::options();
    options.create(true).truncate(true).read(true).write(true);
    let mut file = options.open(&beside)?;
    // In full: overwriting it later needs no room on the disk.
    let length = usize::try_from(SLOTS * SLOT_BYTES).unwrap_or(usize::MAX);
    file.write_all(&vec![b'\n'; length])?;
    file.write_all_at(marked.line().as_bytes(), 0)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(commit: u64) -> MarkValue {
        MarkValue {
            instance: Uuid::from_u128(7),
            commit,
            records: commit / 2,
        }
    }

    #[test]
    fn the_newest_whole_slot_counts_and_a_torn_one_leaves_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        assert_eq!(StoredMark::read(&path).unwrap(), StoredMark::Absent);
        let mark = HighWaterMark::make(&path, marked(0)).unwrap();
        for commit in 1..=1_000 {
            mark.set(commit, commit / 2);
            assert_eq!(
                StoredMark::read(&path).unwrap(),
                StoredMark::Is(marked(commit))
            );
        }
        // The next process overwrites the older slot, too.
        let mark = HighWaterMark::resume(&path, marked(1_000)).unwrap();
        mark.set(1_001, 500);
        let good = fs::read(&path).unwrap();
        let newest = usize::try_from(SLOT_BYTES).unwrap();
        let length = marked(1_001).line().len();
        for torn in newest..newest + length - 1 {
            let mut bytes = good.clone();
            bytes[torn] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(
                StoredMark::read(&path).unwrap(),
                StoredMark::Is(marked(1_000)),
                "{torn}"
            );
        }
        for gone in [Vec::new(), vec![0; 8_192], b"no mark\n".to_vec()] {
            fs::write(&path, gone).unwrap();
            assert_eq!(StoredMark::read(&path).unwrap(), StoredMark::Unreadable);
        }
    }

    #[test]
    fn a_mark_that_was_removed_or_replaced_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        let mark = HighWaterMark::make(&path, marked(3)).unwrap();
        let older = fs::read(&path).unwrap();
        mark.set(4, 2);
        fs::remove_file(&path).unwrap();
        mark.sync();
        assert_eq!(StoredMark::read(&path).unwrap(), StoredMark::Is(marked(4)));
        fs::remove_file(&path).unwrap();
        fs::write(&path, older).unwrap();
        mark.sync();
        assert_eq!(StoredMark::read(&path).unwrap(), StoredMark::Is(marked(4)));
        mark.set(5, 2);
        assert_eq!(StoredMark::read(&path).unwrap(), StoredMark::Is(marked(5)));
    }
}
