//! The catalogue: the known wire types, in which generation, with which schema (schemas/README.md).
//!
//! `schemas/` is compiled in; an operator's directory may overlay it. An event is dispatched on its type, then on the
//! signs that `catalog.json` gives for each generation, and only then validated: never one big `oneOf`.

mod call_ids;
mod error;
mod fault;
mod files;
mod load;
mod pointer;
mod recording_id;
mod references;
mod shape;
mod table;

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    path::Path,
    sync::Arc,
};

use jsonschema::Validator;

use crate::event::{CallIds, Event, Fault, Generation, Kind};

use self::{
    call_ids::IdReader,
    files::Files,
    shape::{ShapeId, Shapes},
};

pub use error::{CatalogError, CatalogProblem};
pub use table::CatalogRow;

/// Maximum number of schema errors reported for one event; the first ones say enough, and a large hostile body must not
/// fill the answer.
const FAULT_LIMIT: usize = 100;

/// The catalogue's result for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogMatch {
    /// What the event is about; [`Kind::Unknown`] for a type without a row.
    pub kind: Kind,
    /// Its generation; for an invalid event the nearest one. `None` for a type without a row.
    pub generation: Option<Generation>,
    /// Its ids, read even where the event is invalid or unknown.
    pub ids: CallIds,
    pub verdict: Validity,
    /// Members and enum values of a valid event that its schema does not know, as JSON Pointers. Array indices are `*`,
    /// each pointer is there once, at most 64.
    pub drift: Vec<String>,
}

/// Whether an event is what its type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Its data fits the schema of its generation.
    Valid,
    /// No row has its type.
    Unknown,
    /// Its data fits no generation of its type: the errors of the nearest one, 1 to 100.
    Invalid(Vec<Fault>),
}

/// Compiled rows and schemas. Built once, never changed: to reload, build another one and swap.
#[derive(Debug)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
    /// Indices into `entries`, in the order in which rows are tried.
    by_type: HashMap<String, Vec<usize>>,
    short_types: HashSet<String>,
    default_ids: Arc<IdReader>,
    shapes: Shapes,
    files: Files,
}

#[derive(Debug)]
struct CatalogEntry {
    row: CatalogRow,
    validator: Arc<Validator>,
    ids: Arc<IdReader>,
    shape: ShapeId,
}

impl Catalog {
    /// Dispatches `event` on its type and shape, validates its data and reads its ids.
    #[must_use]
    pub fn examine(&self, event: &Event) -> CatalogMatch {
        let Some(rows) = self.by_type.get(&event.attributes.event_type) else {
            return CatalogMatch {
                kind: Kind::Unknown,
                generation: None,
                ids: self.default_ids.read(event),
                verdict: Validity::Unknown,
                drift: Vec::new(),
            };
        };
        let candidates = self.candidates(rows, event);
        let fitting = candidates
            .iter()
            .find(|entry| entry.validator.is_valid(&event.data));
        if let Some(entry) = fitting {
            let drift = self.shapes.drift(entry.shape, &event.data);
            return entry.finding(event, Validity::Valid, drift);
        }
        let (entry, faults) = candidates
            .into_iter()
            .map(|entry| (entry, entry.faults(event)))
            .min_by_key(|(_, faults)| faults.len())
            .expect("a type is in `by_type` only with a row");
        entry.finding(event, Validity::Invalid(faults), Vec::new())
    }

    /// The entries among `rows` that may be the generation of `event`: those whose signs are present; without any,
    /// those that need no sign; without any, all. A sign is binding, because schemas are open: what is broken in one
    /// generation would pass as an unknown member of another.
    fn candidates(&self, rows: &[usize], event: &Event) -> Vec<&CatalogEntry> {
        let entries = || rows.iter().filter_map(|row| self.entries.get(*row));
        let mut found: Vec<&CatalogEntry> = entries()
            .filter(|entry| entry.row.has_signs_in(event))
            .collect();
        if found.is_empty() {
            found.extend(entries().filter(|entry| entry.row.when.is_empty()));
        }
        if found.is_empty() {
            found.extend(entries());
        }
        found
    }

    /// Every row, in the order of the table.
    pub fn rows(&self) -> impl Iterator<Item = &CatalogRow> {
        self.entries.iter().map(|entry| &entry.row)
    }

    /// Whether `name` is a known wire type, in full or its last part.
    #[must_use]
    pub fn knows_type(&self, name: &str) -> bool {
        self.by_type.contains_key(name) || self.short_types.contains(name)
    }

    /// Every full wire type, sorted, each once.
    #[must_use]
    pub fn types(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self.rows().map(|row| row.event_type.as_str()).collect();
        all.into_iter().collect()
    }

    /// Every generation, sorted, each once.
    #[must_use]
    pub fn generations(&self) -> Vec<Generation> {
        let all: BTreeSet<Generation> = self.rows().map(|row| row.generation.clone()).collect();
        all.into_iter().collect()
    }

    /// The rows of a type (full or short name), with the text of their schemas; of one generation only if given.
    #[must_use]
    pub fn schemas_of(&self, name: &str, generation: Option<&str>) -> Vec<(&CatalogRow, &str)> {
        self.rows()
            .filter(|row| row.event_type == name || row.event_type.rsplit('.').next() == Some(name))
            .filter(|row| generation.is_none_or(|wanted| row.generation.as_str() == wanted))
            .filter_map(|row| Some((row, self.files.get(&row.schema)?.as_str())))
            .collect()
    }

    /// Every file of the effective catalogue, by its path below the schema directory.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Writes every file below `directory`, which is created if missing; returns how many. The directory can be read
    /// back with [`Catalog::with_directory`].
    ///
    /// # Errors
    /// The first file that could not be written.
    pub fn export(&self, directory: &Path) -> io::Result<usize> {
        for (name, text) in self.files() {
            let path = directory.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
        }
        Ok(self.files.len())
    }
}

impl CatalogEntry {
    fn finding(&self, event: &Event, verdict: Validity, drift: Vec<String>) -> CatalogMatch {
        CatalogMatch {
            kind: self.row.kind,
            generation: Some(self.row.generation.clone()),
            ids: self.ids.read(event),
            verdict,
            drift,
        }
    }

    /// The faults of `event` according to this entry; each one once, even if several parts of a schema report it.
    fn faults(&self, event: &Event) -> Vec<Fault> {
        let mut faults = Vec::new();
        for error in self.validator.iter_errors(&event.data).take(FAULT_LIMIT) {
            let fault = fault::fault(&error);
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        faults
    }
}
