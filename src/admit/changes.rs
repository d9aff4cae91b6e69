//! The changes that admission wants written, as rows of its tables.

use crate::{
    event::{AppName, CallKey},
    route::DestinationId,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of a table")]
pub struct DuplicateRow {
    pub window: DuplicateWindowName,
    pub position: i64,
    pub key: u128,
    /// By the caller's clock, in milliseconds.
    pub at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of a table")]
pub struct CallRow<'a> {
    pub row: i64,
    pub app: &'a AppName,
    pub key: &'a CallKey,
    pub used: i64,
}

/// The meaning of another id of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of a table")]
pub struct BindingRow {
    pub row: i64,
    /// Digest of app, kind of id, and id.
    pub id: u128,
    /// Row of the call; `None` where more than one call has used it.
    pub call: Option<i64>,
    pub used: i64,
}

/// The sequence of a call at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of a table")]
pub struct SequenceRow {
    pub row: i64,
    pub call: i64,
    pub destination: DestinationId,
    /// The number that the next delivery gets.
    pub next: i64,
    pub used: i64,
}

/// Rows to write (insert or replace, by row) and to delete.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "one member for each table")]
pub struct Changes<'a> {
    pub duplicates: Vec<DuplicateRow>,
    /// Keys before this position have left the window.
    pub forget_before: Vec<(DuplicateWindowName, i64)>,
    pub calls: Vec<CallRow<'a>>,
    pub bindings: Vec<BindingRow>,
    pub sequences: Vec<SequenceRow>,
    pub calls_gone: &'a [i64],
    pub bindings_gone: &'a [i64],
    pub sequences_gone: &'a [i64],
}
