//! How a command ends, and the exit code of that.

use std::{io, process::ExitCode};

use crate::{app::AppError, config::Problems};

/// How a command ended that did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandOutcome {
    Good,
    /// The check found something.
    Found,
    /// It was stopped by Ctrl-C before its end.
    #[cfg(any(feature = "load", feature = "emulate"))]
    Interrupted,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandFailure {
    /// The arguments contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The configuration, or what it names, cannot be used.
    #[error(transparent)]
    Configuration(#[from] Problems),
    /// The receiver did not start, or stopped by itself.
    #[error(transparent)]
    Receiver(#[from] AppError),
    /// Anything else.
    #[error(transparent)]
    Work(#[from] anyhow::Error),
}

impl From<io::Error> for CommandFailure {
    fn from(error: io::Error) -> Self {
        Self::Work(error.into())
    }
}

impl CommandFailure {
    /// True where the reader of our output has closed the pipe (`hookswitch schemas list | head`), which is not a
    /// failure.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Work(error) => error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe),
            Self::Usage(_) | Self::Configuration(_) | Self::Receiver(_) => false,
        }
    }

    /// The exit code of `sysexits.h`, where it has one for this.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(64),
            Self::Configuration(_) => ExitCode::from(78),
            Self::Receiver(error) => ExitCode::from(error.exit_code()),
            Self::Work(_) => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_not_a_failure_and_other_errors_are() {
        let error = |kind| CommandFailure::from(io::Error::from(kind));
        assert!(error(io::ErrorKind::BrokenPipe).is_closed_pipe());
        assert!(!error(io::ErrorKind::StorageFull).is_closed_pipe());
    }
}
