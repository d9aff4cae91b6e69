//! Checks whether the files of an open journal are still in place. SQLite continues to write to files that were removed
//! or replaced, and none of that is there for the next process.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::directory::JournalDirectory;

/// How often the files are checked under load. Not with each commit: that would cost a quarter of a small one.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The identity of a file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

/// What is wrong with the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MissingFiles {
    /// The reason, as text for the operator.
    pub(super) why: String,
    /// Only the log: everything can still be moved into the database.
    pub(super) log_only: bool,
}

/// The database and its log as they were when the journal was opened.
#[derive(Debug)]
pub(super) struct FileWatch {
    database: (PathBuf, FileIdentity),
    log: (PathBuf, FileIdentity),
    looked: Instant,
}

impl FileWatch {
    /// Both files are there: the journal is open and its first commit is done.
    pub(super) fn begin(directory: &JournalDirectory) -> io::Result<Self> {
        let watched = |path: PathBuf| {
            let identity = FileIdentity::of(&fs::metadata(&path)?);
            Ok::<_, io::Error>((path, identity))
        };
        Ok(Self {
            database: watched(directory.database())?,
            log: watched(directory.log())?,
            looked: Instant::now(),
        })
    }

    /// Whether it is time to check again; true resets the interval.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.looked.elapsed() >= LOOK_INTERVAL;
        if due {
            self.looked = Instant::now();
        }
        due
    }

    /// What is wrong now.
    pub(super) fn look(&self) -> Option<MissingFiles> {
        let (database, log) = (look(&self.database), look(&self.log));
        let directory = self.database.0.parent().unwrap_or(Path::new("."));
        match (database, log) {
            (None, None) => None,
            (Some(_), _) if !directory.is_dir() => Some(MissingFiles {
                why: "the directory was removed".to_owned(),
                log_only: false,
            }),
            (Some(why), _) => Some(MissingFiles {
                why: format!("the database {why}"),
                log_only: false,
            }),
            (None, Some(why)) => Some(MissingFiles {
                why: format!("the write-ahead log {why}"),
                log_only: true,
            }),
        }
    }
}

fn look((path, identity): &(PathBuf, FileIdentity)) -> Option<String> {
    match fs::metadata(path) {
        Ok(found) if FileIdentity::of(&found) != *identity => Some("was replaced".to_owned()),
        // SQLite writes the first page of a database before its log.
        Ok(found) if found.len() == 0 && !path.to_string_lossy().ends_with("-wal") => {
            Some("was emptied".to_owned())
        }
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("was removed".to_owned()),
        Err(error) => Some(format!("cannot be looked at: {error}")),
    }
}
