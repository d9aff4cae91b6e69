//! Why nobody can be let in, and why somebody is not.

use std::path::PathBuf;

use crate::config::{KeySetError, SecretFileError};

use super::FetchError;

/// Why the gates cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A file of shared secrets is no good.
    #[error("cannot use the shared secrets of app {app}")]
    Secrets {
        /// Whose.
        app: String,
        /// Why.
        #[source]
        source: SecretFileError,
    },
    /// A file of keys cannot be read.
    #[error("cannot read the keys in {path}")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of keys holds none.
    #[error("cannot use the keys in {path}")]
    Keys {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeySetError,
    },
    /// There is no client to fetch keys with.
    #[error("cannot set up the client that fetches keys")]
    Client(#[source] FetchError),
    /// A metric is there already.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// What a 401 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthChallenge {
    /// A bearer token.
    Bearer,
    /// Another bearer token than the one that came.
    InvalidToken,
    /// A shared secret; no standard names a scheme for it.
    SharedSecret,
}

/// Why a callback is not let in. Says no more than its class: the operator's log says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthRefusal {
    /// Nothing that this app asks for is in the request.
    #[error("credentials are missing")]
    Missing(AuthChallenge),
    /// What is in it is proven to be no good.
    #[error("the credentials are not good for this app")]
    Wrong(AuthChallenge),
    /// A good token, but its `nbf` is up to five minutes ahead of our clock.
    #[error("the token is not valid yet: the clocks of its issuer and of the receiver differ")]
    NotYetValid {
        /// Seconds until it is valid.
        retry_after: u16,
    },
    /// It cannot be judged now.
    #[error("the keys that the token would be checked with are not at hand")]
    NoKeys {
        /// Seconds after which it may be.
        retry_after: u16,
    },
}
