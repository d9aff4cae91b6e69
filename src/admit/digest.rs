//! The 128-bit digests under which ids are remembered (XXH3). Every part is preceded by its length, so that no two
//! lists of parts have the same bytes.

use xxhash_rust::xxh3::xxh3_128;

use crate::event::{AppName, CallKey};

use super::{EventIdentity, changes::DuplicateWindowName};

/// Makes digests; the buffer is only kept for reuse.
#[derive(Debug, Default)]
pub(crate) struct Digester(Vec<u8>);

impl Digester {
    /// The window in which an event is looked up, and its key there.
    pub(crate) fn identity(
        &mut self,
        app: &AppName,
        identity: &EventIdentity,
    ) -> (DuplicateWindowName, u128) {
        let digest = identity.digest.to_le_bytes();
        match &identity.named {
            Some((source, id)) => (
                DuplicateWindowName::Named,
                self.digest(&[
                    app.as_str().as_bytes(),
                    source.as_bytes(),
                    id.as_bytes(),
                    &digest,
                ]),
            ),
            None => (
                DuplicateWindowName::Unnamed,
                self.digest(&[app.as_str().as_bytes(), &digest]),
            ),
        }
    }

    pub(crate) fn call(&mut self, app: &AppName, key: &CallKey) -> u128 {
        self.digest(&[app.as_str().as_bytes(), key.as_str().as_bytes()])
    }

    pub(crate) fn binding(&mut self, app: &AppName, kind: &str, id: &str) -> u128 {
        self.digest(&[app.as_str().as_bytes(), kind.as_bytes(), id.as_bytes()])
    }

    fn digest(&mut self, parts: &[&[u8]]) -> u128 {
        self.0.clear();
        for part in parts {
            self.0.extend_from_slice(&(part.len() as u64).to_le_bytes());
            self.0.extend_from_slice(part);
        }
        xxh3_128(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_run_together_are_told_apart() {
        let mut digester = Digester::default();
        assert_ne!(
            digester.digest(&[b"ab", b"c"]),
            digester.digest(&[b"a", b"bc"])
        );
    }
}
