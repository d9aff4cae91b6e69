//! Only the owner may read the journal's directory.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use crate::journal::test_support::{Running, event};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Every directory and file from `path` on is accessible by its owner only; returns the files.
fn check(path: &Path) -> Vec<String> {
    assert_eq!(mode(path), 0o700, "{}", path.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(check(&entry.path()));
        } else {
            assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
            files.push(entry.file_name().into_string().unwrap());
        }
    }
    files.sort();
    files
}

fn widen(path: &Path) {
    set_mode(path, if path.is_dir() { 0o755 } else { 0o644 });
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            widen(&entry.unwrap().path());
        }
    }
}

#[tokio::test]
async fn a_new_journal_and_a_salvaged_one_are_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let above = directory.path().join("above");
    let path = above.join("journal");
    let running = Running::open(&path);
    running.accept(vec![event("c", "1", &["q"])]).await;
    let files = [
        "journal.db",
        "journal.db-shm",
        "journal.db-wal",
        "lock",
        "mark",
        "reserve",
    ];
    assert_eq!(check(&path), files);
    assert_ne!(
        mode(&above) & 0o055,
        0,
        "what is above it is as the umask says"
    );
    running.close();
    // As an earlier version left it, and damaged.
    fs::write(path.join("journal.db"), "damaged").unwrap();
    widen(&path);
    let running = Running::open(&path);
    running.accept(vec![event("c", "2", &["q"])]).await;
    let mut files = Vec::from(files.map(str::to_owned));
    files.extend(["journal.db", "mark"].map(str::to_owned));
    files.sort();
    assert_eq!(check(&path), files, "with those that were set aside");
    running.close();
}

#[tokio::test]
async fn a_journal_that_others_could_read_is_tightened_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let running = Running::open(&path);
    running.accept(vec![event("c", "1", &["q"])]).await;
    running.close();
    fs::create_dir(path.join("damaged-20260101T000000000Z")).unwrap();
    fs::write(path.join("damaged-20260101T000000000Z/journal.db"), "old").unwrap();
    widen(&path);
    // A volume whose group is ours.
    set_mode(&path, 0o2775);
    let running = Running::open(&path);
    assert_eq!(mode(&path), 0o2700, "special bits stay");
    set_mode(&path, 0o700);
    assert!(check(&path).len() > 4);
    running.close();
}

#[tokio::test]
async fn a_directory_that_has_other_files_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("notes");
    fs::write(&other, "of another program").unwrap();
    set_mode(&other, 0o644);
    set_mode(directory.path(), 0o755);
    let running = Running::open(directory.path());
    running.accept(vec![event("c", "1", &["q"])]).await;
    assert_eq!(mode(directory.path()), 0o755);
    assert_eq!(mode(&other), 0o644);
    assert_eq!(mode(&directory.path().join("journal.db")), 0o600);
    assert_eq!(mode(&directory.path().join("journal.db-wal")), 0o600);
    running.close();
    fs::remove_file(other).unwrap();
    set_mode(directory.path(), 0o1777);
    Running::open(directory.path()).close();
    assert_eq!(mode(directory.path()), 0o1777, "as /tmp");
}
