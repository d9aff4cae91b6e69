//! From files to a usable catalogue. All or nothing: with one problem anywhere the whole directory is refused.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use jsonschema::{Draft, Registry, Validator};
use serde_json::Value;

use super::{
    Catalog, CatalogEntry, CatalogError, CatalogProblem,
    call_ids::IdReader,
    files::{self, Files, TABLE},
    references,
    shape::ShapeBuilder,
    table::CatalogTable,
};

/// The id set for types without a row.
const DEFAULT_IDS: &str = "default";
/// Base URI of the files for the validator, which needs absolute names. Nothing is ever read from there.
const BASE: &str = "hookswitch:///schemas/";
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

impl Catalog {
    /// The catalogue that is compiled into the binary.
    ///
    /// # Errors
    /// Only if the binary was built from broken files; a test prevents that.
    pub fn builtin() -> Result<Self, CatalogError> {
        let files = files::builtin();
        let table = parse_table(&files)?;
        assemble(files, table, &[])
    }

    /// The built-in catalogue overlaid by an operator's directory: rows of the same type and generation and schema
    /// files of the same path replace ours, others are added and tried first.
    ///
    /// # Errors
    /// Every problem found in the directory; then the whole directory is refused.
    pub fn with_directory(directory: &Path) -> Result<Self, CatalogError> {
        let mut files = files::builtin();
        let mut table = parse_table(&files)?;
        let mut own = files::read(directory).map_err(|problems| CatalogError { problems })?;
        if own.contains_key(TABLE) {
            table.overlay(parse_table(&own)?);
            let text = serde_json::to_string_pretty(&table)
                .map_err(|error| CatalogProblem::new(TABLE, error.to_string()))?;
            own.insert(TABLE.to_owned(), text + "\n");
        }
        let names: Vec<String> = own
            .keys()
            .filter(|name| *name != TABLE && !files.contains_key(*name))
            .cloned()
            .collect();
        files.extend(own);
        assemble(files, table, &names)
    }
}

fn parse_table(files: &Files) -> Result<CatalogTable, CatalogProblem> {
    let text = files
        .get(TABLE)
        .ok_or_else(|| CatalogProblem::new(TABLE, "does not exist"))?;
    CatalogTable::parse(text)
}

/// `new_files` must be used by some row or `$ref`: an unused file is a misspelt name.
fn assemble(
    files: Files,
    table: CatalogTable,
    new_files: &[String],
) -> Result<Catalog, CatalogError> {
    let mut problems = Vec::new();
    table.check(&mut problems);
    let id_sets = compile_id_sets(&table, &mut problems);
    let schemas = parse_schemas(&files, &mut problems);

    let mut used: Vec<String> = table.events.iter().map(|row| row.schema.clone()).collect();
    for name in schemas.keys() {
        references::check(name, &schemas, &mut used, &mut problems);
    }
    let used: HashSet<String> = used.into_iter().collect();
    for name in new_files.iter().filter(|name| !used.contains(*name)) {
        problems.push(CatalogProblem::new(
            name,
            format!("no row of {TABLE} and no $ref names this file, and it replaces none of ours"),
        ));
    }
    for row in &table.events {
        if !files.contains_key(&row.schema) {
            problems.push(CatalogProblem::new(
                TABLE,
                format!(
                    "row {} of {}: the schema {:?} does not exist",
                    row.event_type, row.generation, row.schema
                ),
            ));
        }
    }
    // A validator error on top of a known problem would only repeat it, less clearly.
    if !problems.is_empty() {
        return Err(CatalogError { problems });
    }

    let validators = compile_schemas(&schemas, &table, &mut problems);
    let mut shapes = ShapeBuilder::new(&schemas);
    let mut entries = Vec::new();
    let mut by_type: HashMap<String, Vec<usize>> = HashMap::new();
    for row in table.events {
        // Whatever is missing here has already been noted as a problem.
        let (Some(validator), Some(ids)) = (validators.get(&row.schema), id_sets.get(&row.ids))
        else {
            continue;
        };
        by_type
            .entry(row.event_type.clone())
            .or_default()
            .push(entries.len());
        entries.push(CatalogEntry {
            shape: shapes.shape_of_file(&row.schema),
            validator: validator.clone(),
            ids: ids.clone(),
            row,
        });
    }
    let default_ids = id_sets.get(DEFAULT_IDS).cloned();
    match default_ids {
        Some(default_ids) if problems.is_empty() => Ok(Catalog {
            short_types: entries
                .iter()
                .filter_map(|entry| entry.row.event_type.rsplit('.').next())
                .map(str::to_owned)
                .collect(),
            shapes: shapes.finish(),
            entries,
            by_type,
            default_ids,
            files,
        }),
        _ => Err(CatalogError { problems }),
    }
}

fn compile_id_sets(
    table: &CatalogTable,
    problems: &mut Vec<CatalogProblem>,
) -> HashMap<String, std::sync::Arc<IdReader>> {
    if !table.ids.contains_key(DEFAULT_IDS) {
        problems.push(CatalogProblem::new(
            TABLE,
            format!("no id set is called {DEFAULT_IDS:?}"),
        ));
    }
    let mut compiled = HashMap::new();
    for (name, set) in &table.ids {
        match IdReader::compile(set) {
            Ok(reader) => {
                compiled.insert(name.clone(), std::sync::Arc::new(reader));
            }
            Err(what) => problems.push(CatalogProblem::new(
                TABLE,
                format!("id set {name:?}: {what}"),
            )),
        }
    }
    compiled
}

fn parse_schemas(files: &Files, problems: &mut Vec<CatalogProblem>) -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    for (name, text) in files.iter().filter(|(name, _)| *name != TABLE) {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(mut schema)) => {
                match schema.get("$schema") {
                    None => {}
                    Some(Value::String(dialect)) if dialect.trim_end_matches('#') == DIALECT => {}
                    Some(_) => problems.push(CatalogProblem::new(
                        name,
                        format!("$schema is not {DIALECT}; other drafts are not taken"),
                    )),
                }
                // A file is named by its path in the directory; another name would change its relative references.
                schema.remove("$id");
                let schema = Value::Object(schema);
                if let Err(error) = jsonschema::draft202012::meta::validate(&schema) {
                    problems.push(CatalogProblem::new(
                        name,
                        format!(
                            "no valid JSON Schema 2020-12: at {:?}: {error}",
                            error.instance_path().as_str()
                        ),
                    ));
                }
                schemas.insert(name.clone(), schema);
            }
            Ok(_) => problems.push(CatalogProblem::new(name, "a schema must be a JSON object")),
            Err(error) => problems.push(CatalogProblem::new(name, format!("not JSON: {error}"))),
        }
    }
    schemas
}

fn compile_schemas(
    schemas: &BTreeMap<String, Value>,
    table: &CatalogTable,
    problems: &mut Vec<CatalogProblem>,
) -> HashMap<String, std::sync::Arc<Validator>> {
    let mut compiled = HashMap::new();
    let registry = Registry::new()
        .draft(Draft::Draft202012)
        .extend(
            schemas
                .iter()
                .map(|(name, schema)| (format!("{BASE}{name}"), schema)),
        )
        .and_then(jsonschema::RegistryBuilder::prepare);
    let registry = match registry {
        Ok(registry) => registry,
        Err(error) => {
            problems.push(CatalogProblem::new(
                TABLE,
                format!("schemas do not fit together: {error}"),
            ));
            return compiled;
        }
    };
    for row in &table.events {
        let (name, Some(schema)) = (&row.schema, schemas.get(&row.schema)) else {
            continue;
        };
        if compiled.contains_key(name) {
            continue;
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .with_registry(&registry)
            .with_base_uri(format!("{BASE}{name}"))
            .build(schema);
        match validator {
            Ok(validator) => {
                compiled.insert(name.clone(), std::sync::Arc::new(validator));
            }
            Err(error) => problems.push(CatalogProblem::new(
                name,
                format!("does not compile: {error}"),
            )),
        }
    }
    compiled
}
