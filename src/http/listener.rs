//! A running HTTP listener: how both listeners are supervised and stopped.

use std::{io, net::SocketAddr, time::Duration};

use actix_web::dev::{Server, ServerHandle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// One thread for every two cores, and at least one: the journal, the publisher and the kernel's side of both need the
/// others, and more threads than that only compete for the cores (benches/README.md).
#[must_use]
pub fn threads_for_two_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// A running listener. Dropping it stops it without waiting for anything.
pub struct Listening {
    address: SocketAddr,
    handle: ServerHandle,
    stopping: CancellationToken,
    /// The server, and what runs beside it until the listener stops.
    tasks: JoinSet<io::Result<()>>,
}

impl Listening {
    /// Runs `server` on the current runtime. `stopping` tells its handlers that the listener is about to stop.
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

    /// Waits until the listener ends without having been stopped, which must stop the process.
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

    /// Stops accepting, closes idle connections, answers what is in flight with `Connection: close`. True when all of
    /// it was answered within `deadline`; connections that remain are cut.
    ///
    /// # Cancel safety
    /// Dropping the future stops the listener at once.
    pub async fn stop(self, deadline: Duration) -> bool {
        self.stop_or(deadline, || {}).await
    }

    /// [`Self::stop`] that calls `late` at the deadline, before the rest is cut: then it can still be counted.
    ///
    /// # Cancel safety
    /// Dropping the future stops the listener at once.
    pub async fn stop_or(mut self, deadline: Duration, late: impl FnOnce()) -> bool {
        self.stopping.cancel();
        let graceful = self.handle.stop(true);
        let all = async {
            graceful.await;
            while self.tasks.join_next().await.is_some() {}
        };
        let answered = tokio::time::timeout(deadline, all).await.is_ok();
        if !answered {
            late();
        }
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
