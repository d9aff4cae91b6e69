//! Errors of a catalogue, written for its author.

use std::fmt;

/// One problem in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogProblem {
    /// The file, relative to the schema directory; the directory itself where no file could be read.
    pub file: String,
    /// What is wrong and what to do.
    pub what: String,
}

impl CatalogProblem {
    pub(super) fn new(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for CatalogProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.what)
    }
}

/// Why a catalogue was refused: every problem found, so that the operator can correct them all at once. The causes are
/// in the texts because there may be many; there is no single `source`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot load the catalogue: {}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct CatalogError {
    /// At least one.
    pub problems: Vec<CatalogProblem>,
}

impl From<CatalogProblem> for CatalogError {
    fn from(problem: CatalogProblem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}
