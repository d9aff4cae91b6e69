//! The plan of the modules (ARCHITECTURE.md, "Modules"): which module may use which, and where the large libraries may
//! be named. A dependency in the wrong direction fails here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each module with the modules it may use. Every other use is refused.
const ALLOWED: [(&str, &[&str]); 18] = [
    ("event", &[]),
    ("report", &[]),
    ("envelope", &["event"]),
    ("catalog", &["event"]),
    ("route", &["event"]),
    ("dispatch", &["route"]),
    ("files", &["config"]),
    ("status", &[]),
    ("http", &["report", "config", "files"]),
    ("admin", &["event", "http", "status"]),
    ("admit", &["event", "route"]),
    ("config", &["event", "catalog", "route", "report"]),
    (
        "auth",
        &["event", "http", "status", "config", "files", "report"],
    ),
    (
        "journal",
        &[
            "event", "route", "admit", "dispatch", "status", "config", "report",
        ],
    ),
    (
        "ingress",
        &[
            "event", "envelope", "catalog", "route", "admit", "auth", "http", "journal", "status",
            "config", "report",
        ],
    ),
    (
        "publish",
        &[
            "event", "route", "admit", "dispatch", "journal", "status", "config", "report",
        ],
    ),
    (
        "app",
        &[
            "event", "catalog", "route", "auth", "http", "journal", "ingress", "publish", "admin",
            "status", "config", "report", "dispatch",
        ],
    ),
    (
        "cli",
        &[
            "event", "envelope", "catalog", "route", "admit", "ingress", "journal", "publish",
            "status", "config", "report", "app", "http",
        ],
    ),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module a file belongs to: the first part of its path below `src`.
fn module(path: &Path) -> String {
    let below = path
        .strip_prefix(src())
        .expect("the file lies below src")
        .iter()
        .next()
        .expect("a first part");
    below
        .to_str()
        .expect("UTF-8")
        .trim_end_matches(".rs")
        .to_owned()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file without its unit tests and comments: tests may use other modules for their fixtures.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .to_owned();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Modules named after `crate::`, also inside a group `use crate::{a::X, b::Y}`.
fn modules_used(code: &str, modules: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            let mut depth = 0_i32;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 && (c.is_alphanumeric() || c == '_') {
                    word.push(c);
                } else {
                    if modules.contains(word.as_str()) {
                        used.insert(word.clone());
                    }
                    word.clear();
                }
            }
        } else {
            let word: String = part
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if modules.contains(word.as_str()) {
                used.insert(word);
            }
        }
    }
    used
}

#[test]
fn every_dependency_between_modules_is_in_the_plan() {
    let plan: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let modules: BTreeSet<&str> = plan.keys().copied().collect();
    let mut files = Vec::new();
    sources(&src(), &mut files);
    let mut wrong = Vec::new();
    let mut dependencies = 0;
    for path in files {
        let from = module(&path);
        if from == "main" || from == "lib" {
            continue;
        }
        let Some(allowed) = plan.get(from.as_str()) else {
            wrong.push(format!(
                "{}: module {from} is not in the plan",
                path.display()
            ));
            continue;
        };
        for to in modules_used(&code(&path), &modules) {
            dependencies += 1;
            if to != from && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{}: {from} -> {to}", path.display()));
            }
        }
    }
    assert!(dependencies > 20, "the dependencies are found at all");
    assert!(wrong.is_empty(), "not in the plan:\n{}", wrong.join("\n"));
}

#[test]
fn the_plan_has_no_cycle() {
    let plan: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < plan.len() {
        let next = plan
            .iter()
            .find(|(module, uses)| {
                !done.contains(*module) && uses.iter().all(|used| done.contains(used))
            })
            .map(|(module, _)| *module);
        match next {
            Some(module) => done.insert(module),
            None => panic!(
                "a cycle among {:?}",
                plan.keys().filter(|module| !done.contains(*module))
            ),
        };
    }
}

#[test]
fn the_large_libraries_stay_in_their_modules() {
    let mut files = Vec::new();
    sources(&src(), &mut files);
    let mut named = 0;
    for path in files {
        let (module, code) = (module(&path), code(&path));
        let file = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        for (library, modules) in [
            ("actix_web", &["http", "ingress", "admin"][..]),
            ("lapin", &["publish"][..]),
            ("rusqlite", &["journal"][..]),
            ("jsonschema", &["catalog"][..]),
        ] {
            if !code.contains(&format!("{library}::")) {
                continue;
            }
            named += 1;
            // The commands that consume and the check of broker URLs name lapin too.
            let exception = library == "lapin"
                && matches!((module.as_str(), file), ("cli", "consume") | ("config", _));
            assert!(
                modules.contains(&module.as_str()) || exception,
                "{} names {library}",
                path.display()
            );
        }
    }
    assert!(named >= 4, "the libraries are found at all");
}
