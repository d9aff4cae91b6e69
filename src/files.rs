//! Files that are checked repeatedly. Polling, because a mounted Secret changes by a swapped symbolic link, which file
//! system events report poorly.

use std::{io, path::PathBuf, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::sleep;

use crate::config::read_bounded;

/// Files that belong together, and their last reported content.
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    every: Duration,
    told: Option<Look>,
}

/// Of each file a digest of its contents, or why it cannot be read.
type Look = Vec<Result<Vec<u8>, io::ErrorKind>>;

impl Watched {
    /// Begins with a change to report: a change before this instant would otherwise be missed.
    pub(crate) fn new(paths: Vec<PathBuf>, every: Duration) -> Self {
        Self {
            paths,
            every,
            told: None,
        }
    }

    /// Waits until the files differ from the last time, twice in a row with the same content: a writer may be in the
    /// middle.
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
