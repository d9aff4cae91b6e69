//! The commit: staged records and settled deliveries, in one transaction with one fsync, and how a failure is handled.

use std::time::Instant;

use crate::dispatch::PendingDelivery;

use super::{
    JournalRefusal,
    commit_log::LogEntry,
    directory::HEADROOM_BYTES,
    disk_state::{is_busy, is_disk_full},
    file_limit,
    header::PAGE_BYTES,
    quarantine::MovedDelivery,
    stage::StagedCallback,
    writer::{JournalWriter, PendingDeletes},
};

/// The result of a call of [`JournalWriter::write`].
#[derive(Debug, Default)]
pub(super) struct CommitResult {
    /// False where there was nothing to write.
    pub(super) committed: bool,
    /// Deliveries pending for the quarantine in place of poisoned ones.
    pub(super) moved: Vec<PendingDelivery>,
}

impl JournalWriter {
    /// Commits the staged records together with everything settled. On failure nothing of `staged` may be
    /// answered 2xx; after a failed fsync it may be durable all the same.
    pub(super) fn write(
        &mut self,
        staged: &[StagedCallback],
    ) -> Result<CommitResult, JournalRefusal> {
        let new = staged.iter().any(|callback| !callback.records.is_empty());
        if !self.condition.writes() {
            return if staged.is_empty() {
                Ok(CommitResult::default())
            } else {
                Err(JournalRefusal::Failed)
            };
        }
        let leftovers = self.has_leftovers() && self.condition.may_delete();
        if !new && !leftovers {
            return Ok(CommitResult::default());
        }
        let moved = self.move_poisoned();
        let Err(error) = self.transaction(staged, &moved) else {
            self.set_mark(0);
            self.deletes = PendingDeletes::default();
            self.stored_destinations = self.destinations.count();
            return Ok(CommitResult {
                committed: true,
                moved: self.moved(moved),
            });
        };
        self.store.roll_back();
        if is_busy(&error) {
            self.lock_refused(&error);
            return Err(JournalRefusal::Stalled);
        }
        self.failed(&error);
        if !self.condition.writes() {
            return Err(JournalRefusal::Failed);
        }
        // With the reserve released there may be enough room to delete what was confirmed.
        self.admission.roll_back();
        let without_new = self.transaction(&[], &[]);
        match without_new {
            Ok(()) => {
                let refused = staged.iter().flat_map(|callback| &callback.records);
                self.set_mark(refused.filter(|new| !new.deliveries.is_empty()).count());
                self.admission.commit();
                self.deletes = PendingDeletes::default();
                self.stored_destinations = self.destinations.count();
            }
            Err(error) => {
                self.store.roll_back();
                self.condition.deletes_failed = Some(Instant::now());
                if is_busy(&error) {
                    self.lock_refused(&error);
                } else if !is_disk_full(&error) {
                    self.failed(&error);
                }
            }
        }
        Err(JournalRefusal::DiskFull)
    }

    /// Another program holds the write lock for longer than SQLite waits.
    fn lock_refused(&self, error: &rusqlite::Error) {
        let path = self.directory.path().display();
        tracing::warn!(%error, %path, "another program holds a write lock on the journal's database");
        self.metrics.write_errors.inc();
        self.stall.lock_refused();
    }

    /// Takes the write lock, and records how long that takes.
    fn lock(&self) -> rusqlite::Result<()> {
        self.stall.waits_for_lock(true);
        self.store.begin()?;
        self.stall.waits_for_lock(false);
        self.stall.lock_taken();
        Ok(())
    }

    /// Checks whether locks would permit storing the next callback: without callbacks nothing else tries it.
    pub(super) fn try_lock(&mut self) {
        if !self.condition.writes() {
            return;
        }
        match self.lock() {
            Ok(()) => self.store.roll_back(),
            Err(error) if is_busy(&error) => self.lock_refused(&error),
            Err(error) => self.failed(&error),
        }
    }

    /// A commit is durable: from now on a journal without it is damaged. `refused` records are in the index but not in
    /// the commit.
    fn set_mark(&self, refused: usize) {
        if let (Some(mark), Some(number)) = (&self.mark, self.store.number()) {
            let records = self.index.records().saturating_sub(refused as u64);
            mark.set(number, records);
        }
    }

    /// Checks whether the files are still in place. While they are not, nothing new is accepted, because it would be
    /// lost with this process; pending deliveries are still delivered, because the next process cannot deliver them.
    /// After that a restart is needed.
    pub(super) fn look_after_files(&mut self) {
        if !self.condition.writes() || !self.watch.is_due() {
            return;
        }
        let path = self.directory.path().display();
        let Some(gone) = self.watch.look() else {
            if self.condition.files_gone.take().is_some() {
                tracing::warn!(%path, "the journal's files are back");
            }
            return;
        };
        if self.condition.files_gone.as_ref() != Some(&gone.why) {
            tracing::error!(why = gone.why, %path, "the journal's files are gone: nothing is accepted");
        }
        self.condition.files_gone = Some(gone.why);
        // Without its log the database has everything after a checkpoint, and the next process delivers it.
        let safe = gone.log_only && matches!(self.store.checkpoint(), Ok(true));
        if safe || (self.index.deliveries() == 0 && !self.has_leftovers()) {
            self.condition.failed = true;
        }
    }

    /// Records a failed write.
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
        // The effect of these rows is known in memory; on disk they stay until restart.
        self.deletes = PendingDeletes::default();
    }

    /// Checks whether there is room on the disk again: for the reserve, and some more.
    pub(super) fn probe(&mut self) {
        if !self.condition.probe_due() {
            return;
        }
        let has_room = self.files_have_space() && self.directory.make_reserve_again().is_ok();
        self.condition.disk_full = (!has_room).then(Instant::now);
    }

    /// Under a limit on the size of files free space on the disk is not enough.
    fn files_have_space(&self) -> bool {
        if file_limit::bytes().is_none() {
            return true;
        }
        // A log that has reached the limit restarts after this. A failure shows in the next commit.
        drop(self.store.checkpoint());
        let pages = i64::try_from(HEADROOM_BYTES / PAGE_BYTES as usize).unwrap_or(i64::MAX);
        self.store.has_room(pages).unwrap_or(false)
    }

    pub(super) fn has_leftovers(&self) -> bool {
        self.condition.writes() && !(self.deletes.deliveries.is_empty() && self.poisoned.is_empty())
    }

    /// Leaves nothing in the log of commits, so that a start has nothing to do.
    pub(super) fn fold_log(&self) -> rusqlite::Result<()> {
        if !self.condition.writes() || self.store.log_bytes() == 0 {
            return Ok(());
        }
        self.store.begin()?;
        let folded = self.store.fold_log().and_then(|()| self.store.commit());
        if folded.is_ok() {
            self.set_mark(0);
        } else {
            self.store.roll_back();
        }
        folded
    }

    fn transaction(
        &self,
        staged: &[StagedCallback],
        moved: &[MovedDelivery],
    ) -> rusqlite::Result<()> {
        self.lock()?;
        let store = &self.store;
        for id in self.stored_destinations..self.destinations.count() {
            let id = crate::route::DestinationId(id);
            if let Some(destination) = self.destinations.get(id) {
                store.insert_destination(id, &destination)?;
            }
        }
        store.delete_records(&self.deletes.records)?;
        let records = staged.iter().flat_map(|callback| &callback.records);
        store.insert_records(records.map(|new| (&*new.record, new.facts.as_str())))?;
        let new = staged.iter().flat_map(StagedCallback::deliveries);
        let settled = self.deletes.deliveries.iter().copied();
        store.append_to_log(&LogEntry {
            pending: new
                .map(|delivery| delivery.row.clone())
                .chain(moved.iter().map(|moved| moved.row.clone()))
                .collect(),
            settled: settled
                .chain(moved.iter().map(|moved| moved.old))
                .map(|delivery| delivery.0.cast_signed())
                .collect(),
            changes: self.admission.changes(),
        })?;
        // A moved delivery can be found only by its row. If nothing new is staged, the disk may be full, and the fold
        // can wait.
        let new = staged.iter().any(|callback| !callback.records.is_empty());
        if !moved.is_empty() || (new && store.log_bytes() >= self.fold_bytes) {
            store.fold_log()?;
        }
        let stamp = self.clock.due();
        if let Some(stamp) = &stamp {
            store.write_stamp(stamp)?;
        }
        let begun = Instant::now();
        let committed = store.commit();
        self.metrics
            .fsync_seconds
            .observe(begun.elapsed().as_secs_f64());
        if let (Ok(()), Some(stamp)) = (&committed, &stamp) {
            self.clock.set_stored(stamp);
        }
        committed
    }
}
