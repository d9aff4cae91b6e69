//! Why the receiver did not start, or stopped by itself.

use std::{io, net::SocketAddr};

use crate::{
    auth::AuthError, http::CertificateError, journal::JournalError, publish::PublishError,
};

/// Errors that end the receiver.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A port is in use, or an address does not belong to this machine.
    #[error(
        "cannot listen on {address} ({key}): is another program, or another hookswitch, using it?"
    )]
    Bind {
        key: &'static str,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The journal cannot be opened.
    #[error("cannot open the journal (journal.path)")]
    Journal(#[source] JournalError),
    /// The files that `apps.auth` names cannot be used.
    #[error("cannot set up the authentication of callbacks")]
    Auth(#[from] AuthError),
    /// The certificate of a listener, or its key, cannot be used.
    #[error("cannot set up TLS")]
    Tls(#[from] CertificateError),
    /// A listener ended.
    #[error("a listener failed")]
    Listener(#[source] io::Error),
    #[error("the publisher failed")]
    Publish(#[source] PublishError),
    /// Signals cannot be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    /// A metric was registered twice or has a malformed name.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    /// A part ended before the stop.
    #[error("{0} ended by itself")]
    Ended(&'static str),
}

impl AppError {
    /// The process's exit code: 78 where the configuration or a file that it names must change, 70 for a bug.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } | Self::Journal(_) | Self::Auth(_) | Self::Tls(_) => 78,
            Self::Listener(_)
            | Self::Publish(_)
            | Self::Signals(_)
            | Self::Metrics(_)
            | Self::Ended(_) => 70,
        }
    }
}
