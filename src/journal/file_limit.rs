//! The system's limit on the size of a file (`ulimit -f`): for the journal a disk of that size.
//!
//! Beyond it a write fails with EFBIG, once the signal SIGXFSZ does not kill the process. SQLite has no word of its own for
//! that error; so the database is told its largest size and fails with `SQLITE_FULL`, as on a full disk. Only the
//! write-ahead log, which the next checkpoint makes short again, can still hit the limit itself.

use rustix::process::{Resource, getrlimit};

use super::header::PAGE_BYTES;

/// `None` where files may grow as they like.
pub(super) fn bytes() -> Option<u64> {
    getrlimit(Resource::Fsize).current
}

/// What a database may have at most under a limit of so many bytes.
pub(super) fn pages(bytes: u64) -> i64 {
    i64::try_from(bytes / u64::from(PAGE_BYTES))
        .unwrap_or(i64::MAX)
        .max(1)
}
