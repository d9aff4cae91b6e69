//! The changes that admission wants written, as rows of its tables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    event::{AppName, CallKey},
    route::DestinationId,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DuplicateWindowName {
    /// Events with an id: 24 h.
    Named,
    /// Events without: 60 s.
    Unnamed,
}

impl DuplicateWindowName {
    /// Its number on disk.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Named => 0,
            Self::Unnamed => 1,
        }
    }

    /// The window with this number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Named),
            1 => Some(Self::Unnamed),
            _ => None,
        }
    }
}

/// A key of a duplicate window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateRow {
    pub window: DuplicateWindowName,
    pub position: i64,
    pub key: u128,
    /// By the caller's clock, in milliseconds.
    pub at: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRow {
    pub row: i64,
    pub app: AppName,
    pub key: CallKey,
    pub used: i64,
}

/// The meaning of another id of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingRow {
    pub row: i64,
    /// Digest of app, kind of id, and id.
    pub id: u128,
    /// Row of the call; `None` where more than one call has used it.
    pub call: Option<i64>,
    pub used: i64,
}

/// The sequence of a call at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRow {
    pub row: i64,
    pub call: i64,
    pub destination: DestinationId,
    /// The number that the next delivery gets.
    pub next: i64,
    pub used: i64,
}

/// Rows to write (insert or replace, by row) and to delete. Rows are never used again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    /// By window, in order of position and without gaps.
    pub duplicates: Vec<DuplicateRow>,
    /// Keys before this position have left the window.
    pub forget_before: Vec<(DuplicateWindowName, i64)>,
    pub calls: Vec<CallRow>,
    pub bindings: Vec<BindingRow>,
    pub sequences: Vec<SequenceRow>,
    pub calls_gone: Vec<i64>,
    pub bindings_gone: Vec<i64>,
    pub sequences_gone: Vec<i64>,
}

impl Changes {
    /// Adds the changes of the next commit. Afterwards [`Changes::once_each`] removes what they have replaced.
    pub fn add(&mut self, next: Self) {
        self.duplicates.extend(next.duplicates);
        self.forget_before.extend(next.forget_before);
        self.calls.extend(next.calls);
        self.bindings.extend(next.bindings);
        self.sequences.extend(next.sequences);
        self.calls_gone.extend(next.calls_gone);
        self.bindings_gone.extend(next.bindings_gone);
        self.sequences_gone.extend(next.sequences_gone);
    }

    /// The same changes with each row once, as it was written last.
    #[must_use]
    pub fn once_each(mut self) -> Self {
        self.calls = last_of_each(self.calls, |row| row.row, &self.calls_gone);
        self.bindings = last_of_each(self.bindings, |row| row.row, &self.bindings_gone);
        self.sequences = last_of_each(self.sequences, |row| row.row, &self.sequences_gone);
        self
    }
}

fn last_of_each<T>(rows: Vec<T>, row: impl Fn(&T) -> i64, gone: &[i64]) -> Vec<T> {
    let mut last: BTreeMap<i64, T> = rows.into_iter().map(|one| (row(&one), one)).collect();
    for row in gone {
        last.remove(row);
    }
    last.into_values().collect()
}
