//! A running HTTP listener: how both listeners are bounded, watched and stopped.

use std::{io, net::SocketAddr, time::Duration};

use actix_web::dev::{Server, ServerHandle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a listener may take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Threads that serve connections.
    pub workers: usize,
    /// Connections for each of them: actix bounds by worker.
    pub connections_per_worker: usize,
}

impl Bounds {
    /// Splits `connections` over at most `workers` threads so that their sum never exceeds it.
    #[must_use]
    pub fn new(connections: usize, workers: usize) -> Self {
        let workers = workers.clamp(1, connections.max(1));
        Self {
            workers,
            connections_per_worker: (connections / workers).max(1),
        }
    }

    /// One thread for every two cores: the journal, the publisher and the kernel's side of both need the others, and
    /// more threads than that only take turns (benches/README.md).
    #[must_use]
    pub fn per_two_cores(connections: usize) -> Self {
        Self::new(connections, threads_for_two_cores())
    }
}

/// Half as many threads as there are cores, and at least one.
#[must_use]
pub fn threads_for_two_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// A listener that serves. Dropping it stops it without waiting for anybody.
pub struct Listening {
    address: SocketAddr,
    handle: ServerHandle,
    stopping: CancellationToken,
    /// The server, and what runs beside it until the listener stops.
    tasks: JoinSet<io::Result<()>>,
}

impl Listening {
    /// Runs `server` on the current runtime. `stopping` is what its handlers look at to learn that the end is near.
    pub(crate) fn start(address: SocketAddr, server: Server, stopping: CancellationToken) -> Self {
        let handle = server.handle();
        let mut tasks = JoinSet::new();
        tasks.spawn(server);
        Self {
            address,
            handle,
            stopping,
            tasks,
        }
    }

    /// Runs `task` until the listener stops.
    pub(crate) fn beside(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            stopping.run_until_cancelled_owned(task).await;
            Ok(())
        });
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the listener ends although nobody stopped it, which must stop the process.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn ended(&mut self) -> io::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => io::Error::other(error),
            Some(Ok(Ok(()))) | None => io::Error::other("the listener ended by itself"),
        }
    }

    /// Stops accepting, closes idle connections, answers what is in flight with `Connection: close`. True when all of it
    /// was answered within `deadline`; what was not is cut.
    ///
    /// # Cancel safety
    /// Dropping the future stops the listener at once.
    pub async fn stop(mut self, deadline: Duration) -> bool {
        self.stopping.cancel();
        let graceful = self.handle.stop(true);
        let all = async {
            graceful.await;
            while self.tasks.join_next().await.is_some() {}
        };
        let answered = tokio::time::timeout(deadline, all).await.is_ok();
        // Dropping the server forces its workers to stop and cuts their connections.
        self.tasks.shutdown().await;
        answered
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_together_never_take_more_connections_than_allowed() {
        for (connections, workers) in [(1, 8), (7, 2), (10_000, 16), (3, 3), (0, 4)] {
            let bounds = Bounds::new(connections, workers);
            assert!(
                bounds.workers * bounds.connections_per_worker <= connections.max(1),
                "{bounds:?}"
            );
        }
    }
}
