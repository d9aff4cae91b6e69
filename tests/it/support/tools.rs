//! Programs of the repository in other languages, and their packages.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Runs `dev/tools`. Without Python, Node or a package registry it fails with a message that names what is missing.
pub(crate) fn tools(kind: &str, what: &str) -> String {
    let output = Command::new(file("dev/tools"))
        .args([kind, what])
        .output()
        .expect("dev/tools runs");
    assert!(
        output.status.success(),
        "dev/tools {kind} {what}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).expect("dev/tools prints UTF-8");
    printed.trim().to_owned()
}

/// A file of the repository.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
