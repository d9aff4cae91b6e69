//! The files of a catalogue: those compiled into the binary, overlaid by an operator's directory.

use std::{collections::BTreeMap, fs, path::Path};

use super::CatalogProblem;

/// The name of the table among the files.
pub(super) const TABLE: &str = "catalog.json";
const SCHEMA_SUFFIX: &str = ".schema.json";
/// `generation/Type.schema.json` needs two; a link that leads back up must end somewhere.
const DEPTH_LIMIT: usize = 4;

static BUILTIN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/schemas.rs"));

/// Text by path relative to the schema directory, with `/` between the parts.
pub(super) type Files = BTreeMap<String, String>;

pub(super) fn builtin() -> Files {
    BUILTIN
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

/// Reads `catalog.json` and every `*.schema.json` below `directory`. Other files (a README) are ignored.
pub(super) fn read(directory: &Path) -> Result<Files, Vec<CatalogProblem>> {
    let mut files = Files::new();
    let mut problems = Vec::new();
    walk(directory, "", 0, &mut files, &mut problems);
    if problems.is_empty() && files.is_empty() {
        problems.push(CatalogProblem::new(
            directory.display().to_string(),
            format!("neither {TABLE} nor any *{SCHEMA_SUFFIX} is in this directory"),
        ));
    }
    if problems.is_empty() {
        Ok(files)
    } else {
        Err(problems)
    }
}

fn walk(
    directory: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Files,
    problems: &mut Vec<CatalogProblem>,
) {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        CatalogProblem::new(path.display().to_string(), format!("cannot read: {error}"))
    };
    if depth > DEPTH_LIMIT {
        problems.push(CatalogProblem::new(
            directory.display().to_string(),
            format!("more than {DEPTH_LIMIT} directories deep"),
        ));
        return;
    }
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return problems.push(failed(directory, &error)),
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                problems.push(failed(directory, &error));
                continue;
            }
        };
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            problems.push(CatalogProblem::new(
                path.display().to_string(),
                "the name is not UTF-8",
            ));
            continue;
        };
        // A mounted ConfigMap holds its files twice: behind `..data`, and as links to there.
        if name.starts_with('.') {
            continue;
        }
        let relative = format!("{prefix}{name}");
        if path.is_dir() {
            walk(&path, &format!("{relative}/"), depth + 1, files, problems);
        } else if relative == TABLE || name.ends_with(SCHEMA_SUFFIX) {
            match fs::read_to_string(&path) {
                Ok(text) => {
                    files.insert(relative, text);
                }
                Err(error) => problems.push(failed(&path, &error)),
            }
        }
    }
}
