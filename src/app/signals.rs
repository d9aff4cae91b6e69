//! SIGTERM and SIGINT stop, SIGHUP reloads, SIGXFSZ becomes an error of the write that caused it.

use std::sync::Arc;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use super::AppError;

/// The signals that the receiver handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    reload: Arc<Notify>,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, AppError> {
        let on = |kind| signal(kind).map_err(AppError::Signals);
        // Without a handler the signal kills the process when a file reaches its limit (`ulimit -f`). With one,
        // although nothing waits for it, the write fails, and the journal treats that as a full disk. The handler stays
        // for the life of the process.
        drop(on(SignalKind::from_raw(
            rustix::process::Signal::XFSZ.as_raw(),
        ))?);
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
            reload: Arc::new(Notify::new()),
        })
    }

    /// Notified on each SIGHUP while [`Self::stop`] is awaited.
    pub(super) fn reload(&self) -> Arc<Notify> {
        self.reload.clone()
    }

    /// Waits for a signal to stop.
    pub(super) async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => self.reload.notify_one(),
            }
        }
    }
}
