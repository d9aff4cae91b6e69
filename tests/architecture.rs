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

/// Imports that close a circle between the files of one module.
const KNOWN_CIRCLES: [&str; 1] = [
    // Methods of the store in a file of their own.
    "src::journal::confirm_store::destination_limits imports src::journal::confirm_store::mod",
];

fn and_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once("::")?.0))
}

/// `path` as `module` names it, from the crate's root on; a path of another crate is not there.
fn absolute(module: &str, path: &str) -> String {
    match path.split_once("::") {
        Some(("crate", rest)) => format!("::{rest}"),
        Some(("super", rest)) => match and_above(module).nth(1) {
            Some(above) => absolute(above, rest),
            None => path.to_owned(),
        },
        _ => format!("{module}::{}", path.trim_start_matches("self::")),
    }
}

/// Each module of a crate (`::journal::store`) with the modules whose items its code names, without tests.
fn imports(root: &Path) -> BTreeSet<(String, String)> {
    let [group, public, test, name] = [
        r"((?:\w+::)+)\{([^{}]*?),?\s*\}",
        r"\bpub(?:\(\w+\))? use ([^;]+);",
        r"#\[cfg\(test\)\]\n(?:#.*\n)*(?:pub(?:\(\w+\))? )?mod (\w+);",
        r"(?:\b\w+::)*\w+",
    ]
    .map(|pattern| regex::Regex::new(pattern).expect("a pattern"));
    let (mut files, mut modules, mut tests) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    let mut exports: BTreeMap<String, String> = BTreeMap::new();
    sources(root, &mut files);
    for file in files {
        let below = file.strip_prefix(root).expect("below").with_extension("");
        let parts = below.iter().map(|part| format!("::{}", part.display()));
        let parts = parts.filter(|part| part != "::mod" && part != "::lib");
        let module: String = parts.collect();
        let mut code = code(&file);
        // `a::{b, c::d}` is `a::b, a::c::d`.
        while let Some(found) = group.captures(&code) {
            let parts = found[2]
                .split(',')
                .map(|part| found[1].to_owned() + part.trim());
            code = code.replace(&found[0], &parts.collect::<Vec<_>>().join(", "));
        }
        for found in public.captures_iter(&code) {
            for path in found[1].split(',') {
                let path = absolute(&module, path.trim());
                let name = path.rsplit("::").next().unwrap_or_default();
                exports.insert(format!("{module}::{name}"), path.clone());
            }
        }
        let found = test.captures_iter(&code);
        tests.extend(found.map(|found| format!("{module}::{}", &found[1])));
        modules.insert(module, public.replace_all(&code, "").into_owned());
    }
    let is_test = |path: &str| and_above(path).any(|path| tests.contains(path));
    let mut imports = BTreeSet::new();
    for (module, code) in modules.iter().filter(|(module, _)| !is_test(module)) {
        for name in name.find_iter(code).map(|name| name.as_str()) {
            let path = absolute(module, name);
            let path = match and_above(&path).find_map(|path| exports.get(path)) {
                Some(exported) => exported,
                // What stands alone is imported above, or is of this file.
                None if !name.contains("::") => continue,
                None => &path,
            };
            let mut home = and_above(path).filter(|path| modules.contains_key(*path));
            if let Some(home) = home.next().filter(|home| !is_test(home)) {
                imports.insert((module.clone(), home.to_owned()));
            }
        }
    }
    imports
}

#[test]
fn the_files_of_a_module_import_each_other_in_one_direction() {
    let mut known = BTreeSet::from(KNOWN_CIRCLES);
    let mut circles = Vec::new();
    for source in ["src", "crates/emulator/src", "crates/load/src"] {
        let imports = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source));
        assert!(imports.len() > 50, "{source}: the imports are found at all");
        let files = imports.iter().map(|(from, _)| from);
        let directories: BTreeSet<&str> = files.filter_map(|file| and_above(file).nth(1)).collect();
        for directory in directories {
            // A file of the directory, or all of a directory in it.
            let file = |path: &str| {
                let path = format!("{path}::");
                let below = path.strip_prefix(&format!("{directory}::"))?;
                let name = below.split("::").next().filter(|name| !name.is_empty());
                Some(format!("{source}{directory}::{}", name.unwrap_or("mod")))
            };
            let edges = imports
                .iter()
                .filter_map(|(from, to)| Some((file(from)?, file(to)?)));
            let mut edges: BTreeSet<_> = edges.filter(|(from, to)| from != to).collect();
            edges.retain(|(from, to)| !known.remove(format!("{from} imports {to}").as_str()));
            // A file is in no circle if it imports nothing, or nothing imports it, of what is left.
            for _ in 0..edges.len() {
                let (from, to): (BTreeSet<_>, BTreeSet<_>) = edges.iter().cloned().unzip();
                edges.retain(|edge| to.contains(&edge.0) && from.contains(&edge.1));
            }
            circles.extend(edges);
        }
    }
    assert!(circles.is_empty(), "circles: {circles:#?}");
    assert!(known.is_empty(), "not there any more: {known:?}");
}
