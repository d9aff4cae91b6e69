//! Lists every file under `schemas/` so that the catalogue is compiled into the binary, and says whether published
//! payloads are there for the tests.
//!
//! Written here instead of with a crate: the crates for it cannot tell Cargo about new files on a stable compiler,
//! and "adding an event is a row, a schema file and a sample" must not need a `cargo clean`.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Names the folder with payloads that others have published. They are not part of the repository.
const SAMPLES: &str = "HOOKSWITCH_SAMPLES";

fn main() -> Result<(), Box<dyn Error>> {
    // Tests that need the payloads are ignored without this, so that they show as ignored and not as passed.
    println!("cargo::rustc-check-cfg=cfg(samples)");
    println!("cargo::rerun-if-env-changed={SAMPLES}");
    if env::var_os(SAMPLES).is_some_and(|folder| !folder.is_empty()) {
        println!("cargo::rustc-cfg=samples");
    }

    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?;
    let root = Path::new(&manifest_dir).join("schemas");
    // Cargo watches everything below it.
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file
            .strip_prefix(&root)?
            .to_str()
            .ok_or("a schema file's name is not UTF-8")?
            .replace('\\', "/");
        writeln!(list, "    ({name:?}, include_str!({file:?})),")?;
    }
    list.push_str("]\n");
    let target =
        PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("schemas.rs");
    fs::write(target, list)?;
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    Ok(())
}
