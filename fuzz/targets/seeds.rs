//! Seed files: our own, and the published payloads of others if `HOOKSWITCH_SAMPLES` names their folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The repository's root, from this package or from that of `fuzz/`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|folder| folder.join("tests/data").is_dir())
        .expect("the repository has tests/data")
        .to_owned()
}

/// The contents of every file below `folder` whose name ends like this; nothing if the folder does not exist.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry
                .expect("a folder of the repository can be read")
                .path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(fs::read(&path).expect("a file of the repository can be read"));
            }
        }
    }
    found.sort();
    found
}

/// The payloads of the repository, and the published ones.
pub(crate) fn payloads() -> Vec<Vec<u8>> {
    let root = root();
    let mut all = files(&root.join("tests/data/events"), ".json");
    all.extend(files(&root.join("tests/data/counter"), ".json"));
    all.extend(published());
    all
}

/// The payloads in the folders `samples` and `samples-2` of `HOOKSWITCH_SAMPLES`; none without it.
pub(crate) fn published() -> Vec<Vec<u8>> {
    let Some(folder) = std::env::var_os("HOOKSWITCH_SAMPLES") else {
        return Vec::new();
    };
    let folder = Path::new(&folder);
    ["samples", "samples-2"]
        .into_iter()
        .flat_map(|corpus| files(&folder.join(corpus), ".json"))
        .collect()
}
