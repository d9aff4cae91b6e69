//! `$ref`: only from file to file within the catalogue, by relative path. Nothing is ever fetched.

use std::collections::BTreeMap;

use serde_json::Value;

use super::CatalogProblem;

/// The file and JSON Pointer that `reference`, written in `file`, names; `None` where it leaves the catalogue or uses
/// an anchor instead of a pointer.
pub(super) fn resolve(file: &str, reference: &str) -> Option<(String, String)> {
    let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    if !(fragment.is_empty() || fragment.starts_with('/')) {
        return None;
    }
    Some((target_file(file, path)?, fragment.to_owned()))
}

fn target_file(file: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(file.to_owned());
    }
    if path.starts_with('/') || path.contains(':') {
        return None;
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Notes which references of `file` lead nowhere, and records in `used` the files that the others name.
pub(super) fn check(
    file: &str,
    files: &BTreeMap<String, Value>,
    used: &mut Vec<String>,
    problems: &mut Vec<CatalogProblem>,
) {
    let mut open: Vec<&Value> = files.get(file).into_iter().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => {
                open.extend(members.values());
                if let Some(Value::String(reference)) = members.get("$ref") {
                    match look_up(file, reference, files) {
                        Ok(target) => used.push(target),
                        Err(what) => problems.push(CatalogProblem::new(file, what)),
                    }
                }
            }
            _ => {}
        }
    }
}

fn look_up(file: &str, reference: &str, files: &BTreeMap<String, Value>) -> Result<String, String> {
    let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let target = target_file(file, path).ok_or_else(|| {
        format!(
            "$ref {reference:?} leaves the catalogue: only relative paths to its own files are followed, nothing is fetched"
        )
    })?;
    let schema = files
        .get(&target)
        .ok_or_else(|| format!("$ref {reference:?} names {target}, which does not exist"))?;
    if fragment.starts_with('/') && schema.pointer(fragment).is_none() {
        return Err(format!(
            "$ref {reference:?}: {target} has nothing at {fragment}"
        ));
    }
    Ok(target)
}
