//! Why authenticators cannot be built, and why a callback is not accepted.

use std::path::PathBuf;

use crate::config::{KeySetError, SecretFileError};

use super::FetchError;

/// Why the authenticators cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file of shared secrets is not usable.
    #[error("cannot use the shared secrets of app {app}")]
    Secrets {
        app: String,
        #[source]
        source: SecretFileError,
    },
    /// A file of keys cannot be read.
    #[error("cannot read the keys in {path}")]
    KeyFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file of keys holds no usable key.
    #[error("cannot use the keys in {path}")]
    Keys {
        path: PathBuf,
        #[source]
        source: KeySetError,
    },
    /// The client that fetches keys cannot be built.
    #[error("cannot set up the client that fetches keys")]
    Client(#[source] FetchError),
    /// A metric is already registered.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// What a 401 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthChallenge {
    Bearer,
    /// Another bearer token than the one sent.
    InvalidToken,
    /// A shared secret; no standard names a scheme for it.
    SharedSecret,
}

/// Why a callback is not accepted. Says no more than its class: the operator's log says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthRefusal {
    /// None of the credentials that this app asks for is in the request.
    #[error("credentials are missing")]
    Missing(AuthChallenge),
    /// The credentials are proven to be bad.
    #[error("the credentials are not valid for this app")]
    Wrong(AuthChallenge),
    /// A good token, but its `nbf` is up to five minutes ahead of our clock.
    #[error("the token is not valid yet: the clocks of its issuer and of the receiver differ")]
    NotYetValid {
        /// Seconds until it is valid.
        retry_after: u16,
    },
    /// The credentials cannot be judged now.
    #[error("the keys to check the token are not available")]
    NoKeys {
        /// Seconds after which it may be.
        retry_after: u16,
    },
}
