//! Inspects the files of a journal before SQLite does: the database, its log and the mark, and whether they belong
//! together and are complete. SQLite cannot know that: a missing or cut log reads as a shorter one, an older copy as a
//! valid database.

use std::io;

use super::{
    directory::JournalDirectory,
    header::{DatabaseFile, PAGE_BYTES},
    high_water_mark::StoredMark,
    wal::{WalCommits, WalFile},
};

/// The page that SQLite never writes: it holds its locks (file format, 1.4).
const LOCK_PAGE: u32 = (1 << 30) / PAGE_BYTES + 1;

/// The files of a journal that is not open.
#[derive(Debug)]
pub(super) struct JournalFiles {
    /// `None` if the database is missing.
    pub(super) base: Option<DatabaseFile>,
    /// `None` if the log is missing or empty.
    pub(super) log: Option<WalFile>,
    pub(super) kept: StoredMark,
}

impl JournalFiles {
    pub(super) fn read(directory: &JournalDirectory) -> io::Result<Self> {
        Ok(Self {
            base: DatabaseFile::read(&directory.database())?,
            log: WalFile::read(&directory.log())?,
            kept: StoredMark::read(&directory.mark())?,
        })
    }

    #[cfg(test)]
    pub(super) fn read_in(path: &std::path::Path) -> io::Result<Self> {
        let directory = JournalDirectory::open(path).map_err(io::Error::other)?;
        Self::read(&directory)
    }

    /// Why these are not the files that the last process left, if so.
    pub(super) fn damage(&self) -> Option<String> {
        let log_has_commits =
            |log: &WalFile| log.everything().frames > 0 || log.goes_on_behind_damage();
        let Some(base) = self.base.filter(|base| base.bytes > 0) else {
            let what = if self.base.is_some() {
                "empty"
            } else {
                "missing"
            };
            let was_there =
                self.kept != StoredMark::Absent || self.log.as_ref().is_some_and(log_has_commits);
            return was_there.then(|| format!("its database is {what}"));
        };
        if self
            .log
            .as_ref()
            .is_some_and(WalFile::goes_on_behind_damage)
        {
            return Some(
                "its write-ahead log has commits after a damaged frame, at which SQLite stops"
                    .to_owned(),
            );
        }
        let commits = self.commits();
        if let Some(header) = base.header {
            if let Some(last) = commits.last
                && header.number > last
            {
                return Some(format!(
                    "its write-ahead log ends with commit {last}, and the database has commit {} already",
                    header.number
                ));
            }
            if let Some(first) = commits.first
                && first > header.number + 1
            {
                return Some(format!(
                    "its write-ahead log begins with commit {first}, and the database ends with commit {}",
                    header.number
                ));
            }
            if self.is_cut(base, header.pages.unwrap_or(0), commits) {
                return Some("its database is shorter than it was".to_owned());
            }
        }
        let number = self.last_commit(commits);
        match self.kept {
            StoredMark::Is(marked) if marked.commit > number => Some(format!(
                "commit {} was answered, and it ends with commit {number}",
                marked.commit
            )),
            StoredMark::Absent if number > 0 => {
                Some("its mark is missing: it may be an older copy".to_owned())
            }
            StoredMark::Unreadable if number > 0 => {
                Some("its mark cannot be read: it may be an older copy".to_owned())
            }
            StoredMark::Is(_) | StoredMark::Absent | StoredMark::Unreadable => None,
        }
    }

    /// The part of the log that SQLite will use.
    fn commits(&self) -> WalCommits {
        self.log.as_ref().map(WalFile::commits).unwrap_or_default()
    }

    /// The number of the last commit that SQLite will find.
    fn last_commit(&self, commits: WalCommits) -> u64 {
        let header = self.base.and_then(|base| base.header);
        let of_base = header.map_or(0, |header| header.number);
        commits.last.unwrap_or(of_base)
    }

    /// Whether a page is missing at the end of the database that is not in the log either.
    fn is_cut(&self, base: DatabaseFile, pages: u32, commits: WalCommits) -> bool {
        let first_missing = base.pages() + 1;
        let log = self.log.as_ref().filter(|_| commits.frames > 0);
        // A checkpoint that was interrupted may have made the file shorter without having reached its first page.
        let pages = log.map_or(pages, |log| pages.min(log.pages_after(commits.frames)));
        if first_missing > pages {
            return false;
        }
        let logged = log.map(|log| log.pages(commits.frames));
        let logged = logged.unwrap_or_default();
        (first_missing..=pages).any(|page| page != LOCK_PAGE && !logged.contains_key(&page))
    }

    /// The part of the log that can be salvaged: more than SQLite would use if it had been answered.
    pub(super) fn readable(&self) -> WalCommits {
        let Some(log) = &self.log else {
            return WalCommits::default();
        };
        let commits = self.commits();
        let answered = self.kept.marked().map_or(0, |marked| marked.commit);
        let without_base = self.base.is_none_or(|base| base.bytes == 0);
        let readable = if without_base
            || log.goes_on_behind_damage()
            || answered > self.last_commit(commits)
        {
            log.everything()
        } else {
            commits
        };
        // Everything in it is already in the database, where it is newer.
        let header = self.base.and_then(|base| base.header);
        let in_base = header.map_or(0, |header| header.number);
        if readable
            .last
            .is_some_and(|last| last > 0 && last <= in_base)
        {
            return WalCommits::default();
        }
        readable
    }
}
