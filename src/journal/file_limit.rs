//! The system's limit on the size of a file (`ulimit -f`): for the journal a disk of that size.
//!
//! Beyond it a write fails with EFBIG, unless the signal SIGXFSZ kills the process first. SQLite has no error code of
//! its own for that; so the database is given its maximum size and fails with `SQLITE_FULL`, as on a full disk. Only
//! the write-ahead log, which the next checkpoint truncates, can still reach the limit itself.

use rustix::process::{Resource, getrlimit};

use super::header::PAGE_BYTES;

/// `None` if the size of files is not limited.
pub(super) fn bytes() -> Option<u64> {
    getrlimit(Resource::Fsize).current
}

/// The maximum size of a database under a limit of this many bytes.
pub(super) fn pages(bytes: u64) -> i64 {
    i64::try_from(bytes / u64::from(PAGE_BYTES))
        .unwrap_or(i64::MAX)
        .max(1)
}
