//! Files that are looked at again and again. Polling, because a mounted Secret changes by a swapped symbolic link, of which
//! file system events say little.

use std::{io, path::PathBuf, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::sleep;

use crate::config::read_bounded;

/// Files that belong together, and what they were when they were last told of.
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    every: Duration,
    told: Option<Look>,
}

/// Of each file a digest of its contents, or why there are none.
type Look = Vec<Result<Vec<u8>, io::ErrorKind>>;

impl Watched {
    /// Begins with something to tell: what changed before this instant was seen by nobody else.
    pub(crate) fn new(paths: Vec<PathBuf>, every: Duration) -> Self {
        Self {
            paths,
            every,
            told: None,
        }
    }

    /// Waits until the files are others than last time, and were so twice in a row: a writer may be in the middle.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn changed(&mut self) {
        let mut before = None;
        loop {
            let now = Some(look(self.paths.clone()).await);
            if now != self.told && now == before {
                self.told = now;
                return;
            }
            before = now;
            sleep(self.every).await;
        }
    }
}

async fn look(paths: Vec<PathBuf>) -> Look {
    let count = paths.len();
    let read = move || {
        let digests = paths.iter().map(|path| {
            read_bounded(path)
                .map(|bytes| digest(&SHA256, &bytes).as_ref().to_vec())
                .map_err(|error| error.kind())
        });
        digests.collect()
    };
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|_| vec![Err(io::ErrorKind::Other); count])
}
