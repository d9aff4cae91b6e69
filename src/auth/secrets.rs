//! Shared secrets: digests of the current ones. The values themselves are not kept.

use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{Digest, SHA256, digest},
};

use crate::config::{SecretFileError, read_secrets};

/// The values of one file.
pub(super) struct Secrets {
    path: PathBuf,
    good: ArcSwap<Vec<Digest>>,
}

impl Secrets {
    pub(super) fn load(path: &Path) -> Result<Self, SecretFileError> {
        Ok(Self {
            path: path.to_owned(),
            good: ArcSwap::from_pointee(digests(path)?),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again; if that fails, the previous secrets stay. True if the secrets changed.
    pub(super) fn reload(&self) -> Result<bool, SecretFileError> {
        let fresh = digests(&self.path)?;
        let bytes = |digests: &[Digest]| -> Vec<Vec<u8>> {
            digests.iter().map(|one| one.as_ref().to_vec()).collect()
        };
        let changed = bytes(&fresh) != bytes(&self.good.load());
        self.good.store(fresh.into());
        Ok(changed)
    }

    /// Whether `given` is one of the values. Takes the same time for any value of its length: digests are compared in
    /// constant time, and all of them.
    pub(super) fn hold(&self, given: &[u8]) -> bool {
        let given = digest(&SHA256, given);
        self.good.load().iter().fold(false, |found, good| {
            found | verify_slices_are_equal(good.as_ref(), given.as_ref()).is_ok()
        })
    }
}

fn digests(path: &Path) -> Result<Vec<Digest>, SecretFileError> {
    let secrets = read_secrets(path)?;
    let bytes = secrets.iter().map(|secret| secret.expose().as_bytes());
    Ok(bytes.map(|value| digest(&SHA256, value)).collect())
}
