//! A file that is looked at again and again. Polling, because a mounted Secret changes by a swapped symbolic link, of which
//! file system events say little.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::sleep;

use crate::config::read_bounded;

/// A file and what it was when it was last told of.
pub(super) struct Watched {
    path: PathBuf,
    every: Duration,
    told: Option<Look>,
}

/// A digest of the contents, or why there are none.
type Look = Result<Vec<u8>, io::ErrorKind>;

impl Watched {
    /// Begins with something to tell: what changed before this instant was seen by nobody else.
    pub(super) fn new(path: &Path, every: Duration) -> Self {
        Self {
            path: path.to_owned(),
            every,
            told: None,
        }
    }

    /// Waits until the file is another one than last time, and was so twice in a row: a writer may be in the middle.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn changed(&mut self) {
        let mut before = None;
        loop {
            let now = Some(look(self.path.clone()).await);
            if now != self.told && now == before {
                self.told = now;
                return;
            }
            before = now;
            sleep(self.every).await;
        }
    }
}

async fn look(path: PathBuf) -> Look {
    let read = move || read_bounded(&path).map(|bytes| digest(&SHA256, &bytes).as_ref().to_vec());
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(|error| error.kind())
}
