//! Access to the journal's directory and files: they contain events in clear text, so only their owner may read them.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Access of the group and of all others.
const OTHERS: u32 = 0o077;

/// A directory in which all users may create files, like `/tmp`.
const STICKY: u32 = 0o1000;

/// Special bits and the owner's access: what [`tighten`] leaves.
const KEPT: u32 = 0o7700;

/// Options that give only the owner access to a new file.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

/// As [`File::create`], with access for the owner only.
pub(super) fn create(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

/// Creates a directory with access for the owner only; its parent must exist.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY_MODE).create(path)
}

/// Removes the access of all users except the owner from the directory of a journal and the files in it for which
/// `is_ours` holds. A directory with other files in it stays as it is, and so does what belongs to another user: a
/// volume may be mounted that way. Changes are logged.
pub(super) fn tighten(directory: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
    let mut shared = false;
    let mut tightened = 0_u64;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_str().is_some_and(&is_ours) {
            shared |= name != "lost+found";
            continue;
        }
        tighten_all(&entry.path(), &entry.metadata()?, &mut tightened)?;
    }
    let path = directory.display();
    if tightened > 0 {
        tracing::info!(%path, files = tightened, "files of the journal could be read by others: now only by their owner");
    }
    let found = fs::metadata(directory)?;
    let mode = found.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let octal = format!("{:o}", mode & 0o7777);
    if shared || mode & STICKY != 0 {
        tracing::info!(%path, mode = octal, "the journal's directory is used for other files, too: its access stays as it is");
    } else if take_access(directory, &found) {
        tracing::info!(%path, mode = octal, "other users had access to the journal's directory: now only its owner has");
    } else {
        tracing::info!(%path, mode = octal, "the journal's directory belongs to another user: its access stays as it is");
    }
    Ok(())
}

/// A file, or a directory with everything in it. Links are not followed.
fn tighten_all(path: &Path, found: &Metadata, tightened: &mut u64) -> io::Result<()> {
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            tighten_all(&entry.path(), &entry.metadata()?, tightened)?;
        }
    } else if !found.is_file() {
        return Ok(());
    }
    if found.permissions().mode() & OTHERS == 0 {
        return Ok(());
    }
    if take_access(path, found) {
        *tightened += 1;
    } else {
        tracing::warn!(path = %path.display(), "a file of the journal belongs to another user: its access stays as it is");
    }
    Ok(())
}

/// False if it belongs to another user, or if the file system has no permissions.
fn take_access(path: &Path, found: &Metadata) -> bool {
    let mode = found.permissions().mode() & KEPT;
    fs::set_permissions(path, Permissions::from_mode(mode)).is_ok()
}
