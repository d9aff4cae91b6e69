//! Whether the journal can write, and if not, why: a full disk or a failed write. A commit that does not end is not found
//! here but in `src/status/stall.rs`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{ErrorCode, ffi};

use crate::status::{Health, JournalState};

use super::{
    file_limit,
    index::{JournalBounds, PendingAmount, PendingIndex},
};

/// How often a full disk is tried again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the journal accepts records, and if not, why.
#[derive(Debug)]
pub(super) struct DiskState {
    /// Since when the disk is full, or when it was last tried.
    pub(super) disk_full: Option<Instant>,
    /// Deletes had no room either at that time.
    pub(super) deletes_failed: Option<Instant>,
    pub(super) failed: bool,
    /// Why files are not in place; pending deliveries can still be delivered.
    pub(super) files_gone: Option<String>,
    /// The amount for which there was no room.
    pub(super) full: Option<PendingAmount>,
    pub(super) shown: (JournalState, Option<String>),
}

impl DiskState {
    pub(super) fn new() -> Self {
        Self {
            disk_full: None,
            deletes_failed: None,
            failed: false,
            files_gone: None,
            full: None,
            shown: (JournalState::Opening, None),
        }
    }

    /// Whether anything may still be written.
    pub(super) fn writes(&self) -> bool {
        !self.failed
    }

    pub(super) fn disk_full(&self) -> bool {
        self.disk_full.is_some()
    }

    pub(super) fn files_gone(&self) -> bool {
        self.files_gone.is_some()
    }

    /// The reason for the state, if the state alone does not tell it.
    pub(super) fn why(&self) -> Option<String> {
        self.files_gone.clone()
    }

    pub(super) fn found_disk_full(&mut self) {
        self.disk_full = Some(Instant::now());
    }

    pub(super) fn found_full(&mut self, needed: PendingAmount) {
        self.full = Some(needed);
    }

    pub(super) fn state(&self) -> JournalState {
        if self.failed {
            JournalState::Failed
        } else if self.files_gone.is_some() {
            JournalState::FilesGone
        } else if self.disk_full.is_some() {
            JournalState::DiskFull
        } else if self.full.is_some() {
            JournalState::Full
        } else {
            JournalState::Writable
        }
    }

    /// The state, if it differs from the one last shown.
    pub(super) fn news(
        &mut self,
        index: &PendingIndex,
        bounds: &JournalBounds,
    ) -> Option<JournalState> {
        if let Some(needed) = self.full
            && index.amount().exceeds(needed, bounds.total).is_none()
        {
            self.full = None;
        }
        let now = (self.state(), self.why());
        let state = now.0;
        (std::mem::replace(&mut self.shown, now.clone()) != now).then_some(state)
    }

    /// While the disk is full deletes are retried, but not with every command.
    pub(super) fn may_delete(&self) -> bool {
        self.disk_full.is_none()
            || self
                .deletes_failed
                .is_none_or(|since| since.elapsed() >= PROBE_INTERVAL)
    }

    /// Whether it is time to check for room on the disk.
    pub(super) fn probe_due(&self) -> bool {
        self.disk_full
            .is_some_and(|since| since.elapsed() >= PROBE_INTERVAL)
    }
}

/// Whether the error means that there is no room: every other error means that the disk cannot be trusted.
pub(super) fn is_disk_full(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if failure.code == ErrorCode::DiskFull
            // Growing the index of the log: SQLite has no other error code for that.
            || failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE
            // Nor for a file that has reached the size limit of this process.
            || (failure.extended_code == ffi::SQLITE_IOERR_WRITE && file_limit::bytes().is_some()))
}

/// Whether another program holds a lock for longer than SQLite waits: nothing was written and nothing is wrong.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if matches!(failure.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Reports in the health status that a journal's thread has panicked: nothing is accepted without it.
#[derive(Debug)]
pub(super) struct PanicGuard(pub(super) Arc<Health>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.update(|view| view.journal = JournalState::Failed);
        }
    }
}
