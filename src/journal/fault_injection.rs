//! Makes commits fail in tests: a full disk and a failing fsync are hard to produce.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::ffi;

/// The result of the next commits, until it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InjectedFault {
    DiskFull,
    /// For the next commit only.
    DiskFullOnce,
    Fsync,
    /// Until it is changed.
    Hang,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FaultInjector(Arc<Mutex<Option<InjectedFault>>>);

impl FaultInjector {
    pub(super) fn set(&self, trouble: Option<InjectedFault>) {
        *self.0.lock().unwrap() = trouble;
    }

    pub(super) fn strike(&self) -> rusqlite::Result<()> {
        while *self.0.lock().unwrap() == Some(InjectedFault::Hang) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut trouble = self.0.lock().unwrap();
        let code = match *trouble {
            None | Some(InjectedFault::Hang) => return Ok(()),
            Some(InjectedFault::DiskFullOnce) => {
                *trouble = None;
                ffi::SQLITE_FULL
            }
            Some(InjectedFault::DiskFull) => ffi::SQLITE_FULL,
            Some(InjectedFault::Fsync) => ffi::SQLITE_IOERR_FSYNC,
        };
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }
}
