//! How the journal stands, and what it does when the disk does not take what it writes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{ErrorCode, ffi};

use crate::{
    dispatch::Owed,
    ops::{Health, JournalState},
};

use super::{
    Refusal,
    index::{Amount, Index},
    poison::Moved,
    stage::Staged,
    writer::{Bounds, Deletes, Writer},
};

/// How often a full disk is tried again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether the journal takes records, and if not, why.
#[derive(Debug)]
pub(super) struct Condition {
    /// The disk is full since then, or was when it was last tried.
    disk_full: Option<Instant>,
    /// Deletes found no room either at that time.
    deletes_failed: Option<Instant>,
    failed: bool,
    /// For this there was no room.
    full: Option<Amount>,
    shown: JournalState,
}

impl Condition {
    pub(super) fn new() -> Self {
        Self {
            disk_full: None,
            deletes_failed: None,
            failed: false,
            full: None,
            shown: JournalState::Opening,
        }
    }

    /// Whether anything may still be written.
    pub(super) fn writes(&self) -> bool {
        !self.failed
    }

    pub(super) fn disk_full(&self) -> bool {
        self.disk_full.is_some()
    }

    pub(super) fn found_disk_full(&mut self) {
        self.disk_full = Some(Instant::now());
    }

    pub(super) fn found_full(&mut self, needed: Amount) {
        self.full = Some(needed);
    }

    pub(super) fn state(&self) -> JournalState {
        if self.failed {
            JournalState::Failed
        } else if self.disk_full.is_some() {
            JournalState::DiskFull
        } else if self.full.is_some() {
            JournalState::Full
        } else {
            JournalState::Writable
        }
    }

    /// The state, if it is another than the one last shown.
    pub(super) fn news(&mut self, index: &Index, bounds: &Bounds) -> Option<JournalState> {
        if let Some(needed) = self.full
            && index.amount().exceeds(needed, bounds.total).is_none()
        {
            self.full = None;
        }
        let state = self.state();
        (std::mem::replace(&mut self.shown, state) != state).then_some(state)
    }

    /// While the disk is full deletes are tried again and again, but not with every command.
    fn may_delete(&self) -> bool {
        self.disk_full.is_none()
            || self
                .deletes_failed
                .is_none_or(|since| since.elapsed() >= PROBE_INTERVAL)
    }

    /// Whether it is time to look for room on the disk.
    fn probe_due(&self) -> bool {
        self.disk_full
            .is_some_and(|since| since.elapsed() >= PROBE_INTERVAL)
    }
}

/// What a call of [`Writer::write`] did.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// False where there was nothing to write.
    pub(super) committed: bool,
    /// Deliveries to the quarantine that are owed in the place of poisoned ones.
    pub(super) moved: Vec<Owed>,
}

/// Whether the error says that there is no room: everything else means that the disk cannot be trusted.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if failure.code == ErrorCode::DiskFull
            // Growing the index of the log: SQLite has no other word for that.
            || failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

/// Whether somebody's tool holds a lock for longer than SQLite waits: nothing was written and nothing is wrong.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if matches!(failure.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Says on the health board that a journal's thread has panicked: nothing is accepted without it.
#[derive(Debug)]
pub(super) struct PanicNotice(pub(super) Arc<Health>);

impl Drop for PanicNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.update(|view| view.journal = JournalState::Failed);
        }
    }
}

impl Writer {
    /// Commits what is staged together with everything that has left. On failure nothing of `staged` is durable.
    pub(super) fn write(&mut self, staged: &[Staged]) -> Result<Written, Refusal> {
        let new = staged.iter().any(|callback| !callback.records.is_empty());
        if !self.condition.writes() {
            return if staged.is_empty() {
                Ok(Written::default())
            } else {
                Err(Refusal::Failed)
            };
        }
        let leftovers = self.has_leftovers() && self.condition.may_delete();
        if !new && !leftovers {
            return Ok(Written::default());
        }
        let moved = self.move_poisoned();
        let Err(error) = self.transaction(staged, &moved) else {
            self.deletes = Deletes::default();
            self.stored_destinations = self.destinations.count();
            return Ok(Written {
                committed: true,
                moved: self.moved(moved),
            });
        };
        self.store.roll_back();
        if is_busy(&error) {
            tracing::warn!(%error, path = %self.directory.path().display(), "somebody else holds the journal's database locked");
            self.metrics.write_errors.inc();
            return Err(Refusal::Busy);
        }
        self.failed(&error);
        if !self.condition.writes() {
            return Err(Refusal::Failed);
        }
        // With the reserve given up there may be room enough to delete what was confirmed.
        self.admission.roll_back();
        let without_new = self.transaction(&[], &[]);
        match without_new {
            Ok(()) => {
                self.admission.commit();
                self.deletes = Deletes::default();
                self.stored_destinations = self.destinations.count();
            }
            Err(error) => {
                self.store.roll_back();
                self.condition.deletes_failed = Some(Instant::now());
                if !is_disk_full(&error) {
                    self.failed(&error);
                }
            }
        }
        Err(Refusal::DiskFull)
    }

    /// Takes note of a failed write.
    pub(super) fn failed(&mut self, error: &rusqlite::Error) {
        self.metrics.write_errors.inc();
        if is_disk_full(error) {
            if !self.condition.disk_full() {
                tracing::error!(%error, path = %self.directory.path().display(), "the journal's disk is full");
            }
            self.condition.disk_full = Some(Instant::now());
            self.directory.give_up_reserve();
            return;
        }
        tracing::error!(
            %error,
            path = %self.directory.path().display(),
            "a write to the journal failed: nothing is accepted until restart"
        );
        self.condition.failed = true;
        if super::load::is_damage(error) {
            self.directory.mark_damaged();
        }
        // What these rows stand for is known in memory; on disk it stays until restart.
        self.deletes = Deletes::default();
    }

    /// Looks whether there is room on the disk again: the reserve must fit, and more than that.
    pub(super) fn probe(&mut self) {
        if !self.condition.probe_due() {
            return;
        }
        self.condition.disk_full = match self.directory.make_reserve_again() {
            Ok(()) => None,
            Err(_) => Some(Instant::now()),
        };
    }

    pub(super) fn has_leftovers(&self) -> bool {
        self.condition.writes() && !(self.deletes.deliveries.is_empty() && self.poisoned.is_empty())
    }

    fn transaction(&self, staged: &[Staged], moved: &[Moved]) -> rusqlite::Result<()> {
        let store = &self.store;
        store.begin()?;
        for id in self.stored_destinations..self.destinations.count() {
            let id = crate::route::DestinationId(id);
            if let Some(destination) = self.destinations.get(id) {
                store.insert_destination(id, &destination)?;
            }
        }
        store.delete_deliveries(self.deletes.deliveries.iter().copied())?;
        store.delete_records(self.deletes.records.iter().copied())?;
        let records = || staged.iter().flat_map(|callback| &callback.records);
        store.insert_records(records().map(|new| (&*new.record, new.facts.as_str())))?;
        store.insert_deliveries(
            records()
                .flat_map(|new| &new.deliveries)
                .map(|delivery| &delivery.row),
        )?;
        store.delete_deliveries(moved.iter().map(|moved| moved.old))?;
        store.insert_deliveries(moved.iter().map(|moved| &moved.row))?;
        store.write(&self.admission.changes())?;
        let begun = Instant::now();
        let committed = store.commit();
        self.metrics
            .fsync_seconds
            .observe(begun.elapsed().as_secs_f64());
        committed
    }
}
