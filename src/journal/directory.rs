//! The journal's directory: its lock, its reserve of disk space, the file that requests a salvage.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{JournalError, private};

/// Released when the disk is full, so that what was confirmed can still be deleted.
const RESERVE_BYTES: usize = 16 * 1024 * 1024;

/// Room that must exist besides the reserve before a disk that was full counts as having room. Without it the space
/// that the reserve itself released would be enough, and the journal would alternate between writable and full. The
/// size is that to which the database's log grows before a checkpoint.
pub(super) const HEADROOM_BYTES: usize = 8 * 1024 * 1024;

const DATABASE: &str = "journal.db";
const RESERVE: &str = "reserve";
const DAMAGED: &str = "damaged-found";
const SALVAGING: &str = "salvaging.db";
const SALVAGED: &str = "salvaged.db";
const READABLE: &str = "readable.db";
const MARK: &str = "mark";
const NEW_MARK: &str = "mark.new";
const LOCK: &str = "lock";
const PROBE: &str = "probe";

/// Prefix of the directory that a damaged journal is moved to; the time follows.
const ASIDE: &str = "damaged-";

/// A directory that only this process uses, as long as this value lives.
#[derive(Debug)]
pub(super) struct JournalDirectory {
    path: PathBuf,
    /// Unlocked by the system when it is closed, however the process ends.
    _lock: File,
}

impl JournalDirectory {
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::JournalDirectory {
            path: path.to_owned(),
            source,
        };
        make(path).map_err(failed)?;
        let lock = private::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // A directory that can be read but not written is found here and not at the first callback.
        let probe = path.join(PROBE);
        private::create(&probe).map_err(failed)?;
        fs::remove_file(&probe).map_err(failed)?;
        if let Err(error) = private::tighten(path, is_ours) {
            tracing::warn!(%error, path = %path.display(), "cannot check the access to the journal's files");
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join(format!("{DATABASE}-wal"))
    }

    pub(super) fn mark(&self) -> PathBuf {
        self.path.join(MARK)
    }

    /// Writes the reserve in full (a sparse file would reserve nothing). On failure nothing of it is left.
    pub(super) fn make_reserve(&self) -> io::Result<()> {
        let path = self.path.join(RESERVE);
        if fs::metadata(&path).is_ok_and(|found| found.len() >= RESERVE_BYTES as u64) {
            return Ok(());
        }
        self.write_reserve(RESERVE_BYTES)
    }

    /// The same on a disk that was full, and only if there is additional room.
    pub(super) fn make_reserve_again(&self) -> io::Result<()> {
        self.write_reserve(RESERVE_BYTES + HEADROOM_BYTES)
    }

    fn write_reserve(&self, room: usize) -> io::Result<()> {
        let written = private::create(&self.path.join(RESERVE)).and_then(|mut file| {
            let block = vec![0_u8; 1024 * 1024];
            for _ in 0..room / block.len() {
                file.write_all(&block)?;
            }
            file.set_len(RESERVE_BYTES as u64)?;
            file.sync_all()
        });
        if written.is_err() {
            self.give_up_reserve();
        }
        written
    }

    pub(super) fn give_up_reserve(&self) {
        if let Err(error) = fs::remove_file(self.path.join(RESERVE))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot release the journal's reserve file");
        }
    }

    /// Makes the next start salvage this journal: damage was found where opening does not check.
    pub(super) fn mark_damaged(&self) {
        if let Err(error) = private::create(&self.path.join(DAMAGED)) {
            tracing::warn!(%error, path = %self.path.display(), "cannot mark the journal as damaged");
        }
    }

    pub(super) fn is_marked_damaged(&self) -> bool {
        self.path.join(DAMAGED).exists()
    }

    /// Moves the database with its log and mark aside; returns the directory that contains them now.
    pub(super) fn set_aside(&self) -> Result<PathBuf, JournalError> {
        let failed = |source| JournalError::JournalDirectory {
            path: self.path.clone(),
            source,
        };
        let stamp = jiff::Timestamp::now()
            .strftime("%Y%m%dT%H%M%S%3fZ")
            .to_string();
        let aside = self.path.join(format!("{ASIDE}{stamp}"));
        private::create_directory(&aside).map_err(failed)?;
        for name in [DATABASE, &format!("{DATABASE}-wal"), MARK] {
            match fs::rename(self.path.join(name), aside.join(name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        // The index of the log is rebuilt from the log.
        drop(fs::remove_file(self.path.join(format!("{DATABASE}-shm"))));
        self.sync().map_err(failed)?;
        Ok(aside)
    }

    /// The directory in which a salvage builds the new database; leftovers of an earlier attempt are removed.
    pub(super) fn salvaging(&self) -> io::Result<PathBuf> {
        self.cleared(SALVAGING)
    }

    /// The directory in which a salvage gets the damaged database with everything that can be read of its log.
    pub(super) fn readable(&self) -> io::Result<PathBuf> {
        self.cleared(READABLE)
    }

    fn cleared(&self, name: &str) -> io::Result<PathBuf> {
        for suffix in ["", "-wal", "-shm"] {
            remove_if_there(&self.path.join(format!("{name}{suffix}")))?;
        }
        Ok(self.path.join(name))
    }

    /// The new database is complete: from now on it is the journal, whatever happens to this process.
    pub(super) fn finish_salvaging(&self) -> io::Result<()> {
        let made = self.path.join(SALVAGING);
        File::open(&made)?.sync_all()?;
        fs::rename(made, self.path.join(SALVAGED))?;
        self.sync()
    }

    /// Replaces the damaged database by a complete salvaged one, if there is one.
    pub(super) fn take_salvaged(&self) -> Result<(), JournalError> {
        let salvaged = self.path.join(SALVAGED);
        if !salvaged.exists() {
            return Ok(());
        }
        if self.database().exists() {
            self.set_aside()?;
        }
        let take = || {
            for suffix in ["-wal", "-shm"] {
                remove_if_there(&self.path.join(format!("{DATABASE}{suffix}")))?;
            }
            // It belongs to the other database.
            remove_if_there(&self.mark())?;
            fs::rename(&salvaged, self.database())?;
            remove_if_there(&self.path.join(DAMAGED))?;
            self.sync()
        };
        take().map_err(|source| JournalError::JournalDirectory {
            path: self.path.clone(),
            source,
        })
    }

    /// Makes the directory's entries durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Whether a file of the directory belongs to the journal.
fn is_ours(name: &str) -> bool {
    let databases = [DATABASE, SALVAGING, SALVAGED, READABLE];
    let is_of = |database: &&str| {
        let suffix = name.strip_prefix(*database);
        matches!(suffix, Some("" | "-wal" | "-shm" | "-journal"))
    };
    [MARK, NEW_MARK, LOCK, PROBE, RESERVE, DAMAGED].contains(&name)
        || databases.iter().any(is_of)
        || name.starts_with(ASIDE)
}

/// Creates `path`, accessible by its owner only, with its parents, durably: a journal is only as durable as the
/// directory entries that lead to it.
fn make(path: &Path) -> io::Result<()> {
    make_by(path, private::create_directory)
}

fn make_by(path: &Path, create: fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return create(path),
    };
    make_by(parent, |above| fs::create_dir(above))?;
    match create(path) {
        // Created by another process meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    match File::open(parent) {
        Ok(parent) => parent.sync_all(),
        // A directory may be writable and not readable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
